/* SPDX-License-Identifier: Apache-2.0
 * The channel numbers of an allocation: which are given, kept, renewed and taken again. */
#include <stdlib.h>

#include "core/turn/turn_chan.h"
#include "tests/t.h"

#define MIN (60 * NS_PER_SEC)

static struct turn_chans c;
static uint64_t now;

static void start(void)
{
	now = 1000 * NS_PER_SEC;
	turn_chans_init(&c, 99);
}

static struct endpoint peer(unsigned n)
{
	return (struct endpoint){.ip = ipaddr_v4(10, 0, (uint8_t)(n >> 8), (uint8_t)n),
				 .port = 1000};
}

static unsigned take(unsigned n)
{
	struct endpoint p = peer(n);

	return turn_chan_take(&c, &p, now);
}

static unsigned bind(unsigned n)
{
	unsigned i = take(n);

	if (i != TURN_CHAN_NONE)
		turn_chan_confirm(&c, i, now);
	return i;
}

/* Events told and forgotten. */
static unsigned drain(unsigned *ups)
{
	unsigned i, downs = 0;
	bool up;

	*ups = 0;
	while (turn_chan_news(&c, &i, &up, now))
		up ? ++*ups : ++downs;
	return downs;
}

static unsigned due(void)
{
	unsigned pos = 0, i, n = 0;

	while ((i = turn_chan_due(&c, &pos, now)) != TURN_CHAN_NONE)
		n++;
	return n;
}

/* Let all that is told lapse. */
static void lapse(uint64_t span)
{
	unsigned ups;

	drain(&ups);
	now += span;
	due();
	drain(&ups);
}

static void test_01_first_number_is_4000(void)
{
	start();
	T_EQ(turn_chan_number(bind(1)), 0x4000);
	T_EQ(turn_chan_number(bind(2)), 0x4001);
}

static void test_02_all_numbers_then_none_then_the_first_again(void)
{
	start();
	for (unsigned n = 0; n < TURN_CHANS_MAX; n++)
		if (bind(n) != n)
			T_EQ(n, TURN_CHAN_NONE);
	T_EQ(take(5000), TURN_CHAN_NONE);
	lapse(14 * MIN);
	T_EQ(take(5000), TURN_CHAN_NONE);
	lapse(1 * MIN);
	T_EQ(turn_chan_number(take(5000)), 0x4000);
	T_EQ(c.n_used, TURN_CHANS_MAX);
}

static void test_03_unused_numbers_before_lapsed_ones(void)
{
	start();
	for (unsigned n = 0; n < 100; n++)
		bind(n);
	lapse(15 * MIN);
	T_EQ(turn_chan_number(bind(500)), 0x4000 + 100);
}

static void test_04_the_cursor_moves_on(void)
{
	start();
	for (unsigned n = 0; n < TURN_CHANS_MAX; n++) {
		if (n == TURN_CHANS_MAX - 1)
			lapse(10 * MIN);
		bind(n);
	}
	lapse(5 * MIN);
	for (unsigned n = 0; n < TURN_CHANS_MAX - 1; n++)
		if (bind(5000 + n) != n)
			T_EQ(n, TURN_CHAN_NONE);
	T_EQ(take(20000), TURN_CHAN_NONE); /* the last one was bound later */
	start();
	for (unsigned n = 0; n < TURN_CHANS_MAX; n++)
		bind(n);
	lapse(15 * MIN);
	T_EQ(turn_chan_number(take(5000)), 0x4000);
	T_EQ(turn_chan_number(take(5001)), 0x4001);
}

static void test_08_same_peer_same_number_during_cool_down(void)
{
	unsigned a, b;

	start();
	bind(1);
	a = bind(2);
	lapse(12 * MIN);
	T(!turn_chan_connected(&c.at[a], now));
	b = take(2);
	T_EQ(a, b);
	T_EQ(c.n_used, 2);
}

static struct turn_chan entry(uint64_t age, bool heard)
{
	return (struct turn_chan){.used = true,
				  .confirmed = true,
				  .bound_at = now - age,
				  .heard_at = now - age + (heard ? MIN : 0)};
}

static void test_09_12_refresh_predicate(void)
{
	static const struct {
		uint64_t age;
		bool heard, want;
	} row[] = {
		{4 * MIN, false, false},
		{4 * MIN, true, false},
		{6 * MIN, false, false},
		{6 * MIN, true, true},
		{5 * MIN - NS_PER_SEC, true, false},
		{5 * MIN, true, true},
	};

	start();
	for (unsigned i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct turn_chan e = entry(row[i].age, row[i].heard);

		T_EQ(turn_chan_wants_refresh(&e, now), row[i].want);
		e.in_flight = true;
		T(!turn_chan_wants_refresh(&e, now));
	}
}

static void test_13_14_rebindable_after_the_cool_down(void)
{
	struct turn_chan e;

	start();
	e = entry(10 * MIN + NS_PER_SEC, false);
	T(!turn_chan_rebindable(&e, now));
	T(!turn_chan_connected(&e, now));
	e = entry(15 * MIN, false);
	T(turn_chan_rebindable(&e, now));
	e = entry(15 * MIN, true);
	T(!turn_chan_rebindable(&e, now));
	e = entry(15 * MIN, false);
	e.in_flight = true;
	T(!turn_chan_rebindable(&e, now));
}

static void test_lapsing_is_told_once(void)
{
	unsigned ups, downs;

	start();
	bind(1);
	T_EQ(drain(&ups), 0);
	T_EQ(ups, 1);
	T_EQ(c.next_at, now + 10 * MIN);
	now += 10 * MIN - 1;
	T_EQ(due(), 0);
	T_EQ(drain(&ups), 0);
	now += 1;
	T_EQ(due(), 0);
	downs = drain(&ups);
	T_EQ(downs, 1);
	T_EQ(ups, 0);
	T_EQ(c.next_at, TIME_NEVER);
	now += 10 * MIN;
	T_EQ(due(), 0);
	T_EQ(drain(&ups), 0);
}

static void test_cleared_numbers_wait_until_their_end_is_told(void)
{
	unsigned i, ups;
	bool up;

	start();
	bind(1);
	drain(&ups);
	bind(2); /* not told */
	turn_chans_clear(&c);
	T_EQ(c.n_used, 0);
	c.cursor = 0;
	T_EQ(take(3), 1);
	T(turn_chan_news(&c, &i, &up, now));
	T_EQ(i, 0);
	T(!up);
	T(endpoint_eq(&c.at[0].peer,
		      &(struct endpoint){.ip = ipaddr_v4(10, 0, 0, 1), .port = 1000}));
	T(!turn_chan_news(&c, &i, &up, now));
	c.cursor = 0;
	T_EQ(take(4), 0);
}

static void test_heard_channels_are_due_at_five_minutes(void)
{
	unsigned i, ups;

	start();
	i = bind(1);
	drain(&ups);
	now += MIN;
	turn_chan_heard(&c, i, now);
	T_EQ(c.next_at, now + 4 * MIN);
	now += 4 * MIN;
	T_EQ(due(), 1);
	T_EQ(c.next_at, now + NS_PER_SEC); /* nobody asked: again soon */
	now += NS_PER_SEC;
	c.at[i].in_flight = true;
	T_EQ(due(), 0);
}

/* The index by peer against a plain search, over a long life. */
static void test_peer_index_against_a_search(void)
{
	uint64_t seed = t_seed();
	unsigned wrong = 0;

	start();
	for (unsigned step = 0; step < 30000; step++) {
		unsigned n = (unsigned)(t_rand(&seed) % 300), found, slow = TURN_CHAN_NONE;
		struct endpoint p = peer(n);

		found = turn_chan_find(&c, &p);
		for (unsigned i = 0; i < TURN_CHANS_MAX && slow == TURN_CHAN_NONE; i++)
			if (c.at[i].used && endpoint_eq(&c.at[i].peer, &p))
				slow = i;
		wrong += found != slow;
		if (found == TURN_CHAN_NONE)
			take(n);
		else if (t_rand(&seed) % 2)
			turn_chan_drop(&c, found);
	}
	T_EQ(wrong, 0);
	turn_chans_clear(&c);
	for (unsigned i = 0; i < TURN_CHAN_HASH; i++)
		wrong += c.by_peer[i] != 0;
	T_EQ(wrong, 0);
}

static void test_numbers_out_of_range_are_nobodys(void)
{
	start();
	bind(1);
	T_EQ(turn_chan_of_number(&c, 0x4000), 0);
	T_EQ(turn_chan_of_number(&c, 0x4001), TURN_CHAN_NONE);
	T_EQ(turn_chan_of_number(&c, 0x3fff), TURN_CHAN_NONE);
	T_EQ(turn_chan_of_number(&c, 0x5000), TURN_CHAN_NONE);
	T_EQ(turn_chan_of_number(&c, 0x7fff), TURN_CHAN_NONE);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_01_first_number_is_4000);
	T_RUN(test_02_all_numbers_then_none_then_the_first_again);
	T_RUN(test_03_unused_numbers_before_lapsed_ones);
	T_RUN(test_04_the_cursor_moves_on);
	T_RUN(test_08_same_peer_same_number_during_cool_down);
	T_RUN(test_09_12_refresh_predicate);
	T_RUN(test_13_14_rebindable_after_the_cool_down);
	T_RUN(test_lapsing_is_told_once);
	T_RUN(test_cleared_numbers_wait_until_their_end_is_told);
	T_RUN(test_heard_channels_are_due_at_five_minutes);
	T_RUN(test_peer_index_against_a_search);
	T_RUN(test_numbers_out_of_range_are_nobodys);
	return t_done();
}
