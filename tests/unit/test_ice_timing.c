/* SPDX-License-Identifier: Apache-2.0
 * When checks go out and when a pair is given up: the tables of ice_pair.h, priorities, grace,
 * roles. */
#include "tests/unit/ice_rig.h"

/* Checks of a pair until it is dead; answered_until: every check up to then is answered at once. */
static unsigned schedule_run(const struct ice_timing *t, uint64_t answered_until, uint64_t *at,
			     unsigned cap, uint64_t *dead_at)
{
	struct ice_pair p = ice_pair_make(0, 0, 1, 0);
	uint64_t now = 0;
	unsigned n = 0;
	uint8_t tail[8] = {0};

	while (!ice_pair_dead(&p, t, now)) {
		if (now >= p.next_at && !ice_pair_spent(&p, t)) {
			tail[0]++;
			ice_pair_sent(&p, t, tail, true, now);
			if (n < cap && (!answered_until || now >= answered_until))
				at[n++] = now;
			if (now < answered_until)
				ice_pair_answered(&p, t, ice_pair_check_find(&p, tail), now);
		}
		if (ice_pair_wake(&p, t) > now)
			now = ice_pair_wake(&p, t);
	}
	*dead_at = now;
	return n;
}

static void check_schedule(const struct ice_timing *t, uint64_t answered_until, const unsigned *ms,
			   unsigned n, unsigned dead_ms)
{
	uint64_t at[64], dead;
	unsigned got = schedule_run(t, answered_until, at, 64, &dead);
	unsigned first = (unsigned)(at[0] / NS_PER_MS);

	T_EQ(got, t->max_retransmits);
	for (unsigned i = 0; i < n; i++)
		T_EQ(at[i] / NS_PER_MS - first, ms[i]);
	T_EQ(dead / NS_PER_MS - first, dead_ms);
}

static void test_never_answered(void)
{
	static const unsigned active[] = {0,	250,  750,  1750,  3250,  4750,
					  6250, 7750, 9250, 10750, 12250, 13750};
	static const unsigned idle[] = {0, 25000, 50000, 75000};

	check_schedule(&ICE_TIMING_ACTIVE, 0, active, 12, 15250);
	check_schedule(&ICE_TIMING_IDLE, 0, idle, 4, 100000);
}

static void test_previously_healthy(void)
{
	static const unsigned active[] = {0,	1500, 2000,  3000,  4500,  6000,
					  7500, 9000, 10500, 12000, 13500, 15000};
	static const unsigned idle[] = {0, 25000, 50000, 75000};

	check_schedule(&ICE_TIMING_ACTIVE, 60 * NS_PER_SEC, active, 12, 16500);
	check_schedule(&ICE_TIMING_IDLE, 600 * NS_PER_SEC, idle, 4, 100000);
	check_schedule(&ICE_TIMING_GATEWAY_ACTIVE, 1000 * NS_PER_SEC, NULL, 0, 615500);
	check_schedule(&ICE_TIMING_GATEWAY_IDLE, 2000 * NS_PER_SEC, NULL, 0, 1000000);
}

static void test_delay(void)
{
	static const unsigned ms[] = {250, 500, 1000, 1500, 1500};

	for (unsigned i = 0; i < 5; i++)
		T_EQ(ice_delay(&ICE_TIMING_ACTIVE, i + 1), ms[i] * NS_PER_MS);
	T_EQ(ice_delay(&ICE_TIMING_ACTIVE, 65535), 1500 * NS_PER_MS);
	T_EQ(ice_delay(&ICE_TIMING_GATEWAY_ACTIVE, 7), 15 * NS_PER_SEC);
}

/* A late answer to an old check counts, and only the checks after it are lost. */
static void test_late_answer(void)
{
	struct ice_pair p = ice_pair_make(0, 0, 1, 0);
	uint8_t tail[8] = {0};

	for (unsigned i = 0; i < 4; i++) {
		tail[0] = (uint8_t)i;
		ice_pair_sent(&p, &ICE_TIMING_ACTIVE, tail, true, i * NS_PER_SEC);
	}
	T_EQ(p.n_lost, 4);
	tail[0] = 1;
	ice_pair_answered(&p, &ICE_TIMING_ACTIVE, ice_pair_check_find(&p, tail), 3100 * NS_PER_MS);
	T_EQ(p.n_lost, 2);
	T_EQ(p.first_lost_at, 2 * NS_PER_SEC);
	T_EQ(p.rtt_ns, 2100 * NS_PER_MS);
	/* its duplicate measures nothing */
	ice_pair_answered(&p, &ICE_TIMING_ACTIVE, ice_pair_check_find(&p, tail), 3900 * NS_PER_MS);
	T_EQ(p.rtt_ns, 2100 * NS_PER_MS);
	T_EQ(p.state, ICE_PAIR_SUCCEEDED);
	tail[0] = 0;
	ice_pair_answered(&p, &ICE_TIMING_ACTIVE, ice_pair_check_find(&p, tail), 3200 * NS_PER_MS);
	T_EQ(p.n_lost, 2);
	tail[0] = 3;
	ice_pair_answered(&p, &ICE_TIMING_ACTIVE, ice_pair_check_find(&p, tail), 3300 * NS_PER_MS);
	T_EQ(p.n_lost, 0);
	for (unsigned i = 0; i < ICE_CHECKS_KEPT; i++) {
		tail[0] = (uint8_t)(10 + i);
		ice_pair_sent(&p, &ICE_TIMING_ACTIVE, tail, true, 4 * NS_PER_SEC);
	}
	tail[0] = 3;
	T_EQ(ice_pair_check_find(&p, tail), -1);
}

/* A nomination goes out at once and is repeated at the pace of a new pair, not of a settled one. */
static void test_nomination_pace(void)
{
	struct ice_pair p = ice_pair_make(0, 0, 1, 0);
	uint8_t tail[8] = {0};

	for (unsigned i = 0; i < 12; i++) {
		tail[0] = (uint8_t)i;
		ice_pair_sent(&p, &ICE_TIMING_ACTIVE, tail, true, i * NS_PER_SEC);
		ice_pair_answered(&p, &ICE_TIMING_ACTIVE, ice_pair_check_find(&p, tail),
				  i * NS_PER_SEC);
	}
	T_EQ(p.next_at, 12500 * NS_PER_MS);
	ice_pair_nominate(&p, 12 * NS_PER_SEC);
	T_EQ(ice_pair_wake(&p, &ICE_TIMING_ACTIVE), 12 * NS_PER_SEC);
	tail[0] = 50;
	ice_pair_sent(&p, &ICE_TIMING_ACTIVE, tail, true, 12 * NS_PER_SEC);
	T_EQ(p.next_at, 12250 * NS_PER_MS);
	tail[0] = 51;
	ice_pair_sent(&p, &ICE_TIMING_ACTIVE, tail, true, p.next_at);
	T_EQ(p.next_at, 12750 * NS_PER_MS);
}

/* Known values of peers on the wire. */
static void test_priorities(void)
{
	static const struct {
		enum cand_kind kind;
		uint8_t family, via;
		unsigned n_same;
		uint32_t prio;
	} rows[] = {
		{CAND_HOST, 4, 0, 0, 2130706175},	{CAND_HOST, 6, 0, 0, 2130706431},
		{CAND_SRFLX, 4, 0, 0, 1686109951},	{CAND_SRFLX, 6, 0, 0, 1686110207},
		{CAND_RELAY, 4, 4, 0, 37748479},	{CAND_RELAY, 6, 6, 0, 37748735},
		{CAND_RELAY, 6, 4, 0, 37492735},	{CAND_RELAY, 4, 6, 0, 37492479},
		{CAND_HOST, 4, 0, 1, 2130706175 - 512}, {CAND_HOST, 6, 0, 3, 2130706431 - 1536},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		T_EQ(ice_priority(rows[i].kind, ice_local_pref(rows[i].kind, rows[i].family,
							       rows[i].n_same, rows[i].via)),
		     rows[i].prio);
	/* srflx of peers that do not number them with their hosts' base */
	T_EQ(ice_priority(CAND_SRFLX, 65534), 1694498559);
	T_EQ(ice_priority(CAND_SRFLX, 65535), 1694498815);
	T_EQ(ice_pair_priority(5, 3), (3ULL << 32) + 10 + 1);
	T_EQ(ice_pair_priority(3, 5), (3ULL << 32) + 10);
	T_EQ(ice_pair_priority(UINT32_MAX, UINT32_MAX),
	     ((uint64_t)UINT32_MAX << 32) + 2ULL * UINT32_MAX);
}

/* Local preference, all rows: base − IPv4 − 2·same − 1000 over the other family. */
static void test_local_pref(void)
{
	static const struct {
		enum cand_kind kind;
		uint8_t family;
		unsigned n_same;
		uint8_t via;
		unsigned pref;
	} rows[] = {
		{CAND_HOST, 6, 0, 0, 65535},  {CAND_HOST, 4, 0, 0, 65534},
		{CAND_HOST, 4, 2, 0, 65530},  {CAND_PRFLX, 6, 0, 0, 49151},
		{CAND_PRFLX, 4, 0, 0, 49150}, {CAND_SRFLX, 6, 0, 0, 32767},
		{CAND_SRFLX, 4, 1, 0, 32764}, {CAND_RELAY, 6, 0, 6, 16383},
		{CAND_RELAY, 4, 0, 4, 16382}, {CAND_RELAY, 4, 0, 6, 15382},
		{CAND_RELAY, 6, 0, 4, 15383}, {CAND_RELAY, 6, 1, 4, 15381},
		{CAND_HOST, 4, 0, 6, 65534},  {CAND_HOST, 6, 1000000, 0, 63535},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		T_EQ(ice_local_pref(rows[i].kind, rows[i].family, rows[i].n_same, rows[i].via),
		     rows[i].pref);
}

static void test_role_truth_table(void)
{
	static const struct {
		bool controlling;
		uint64_t mine, theirs;
		enum ice_conflict want;
	} rows[] = {
		{true, 2, 1, ICE_CONFLICT_KEEP},    {true, 1, 1, ICE_CONFLICT_KEEP},
		{true, 1, 2, ICE_CONFLICT_SWITCH},  {false, 2, 1, ICE_CONFLICT_SWITCH},
		{false, 1, 1, ICE_CONFLICT_SWITCH}, {false, 1, 2, ICE_CONFLICT_KEEP},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		T_EQ(ice_role_on_conflict(rows[i].controlling, rows[i].mine, rows[i].theirs),
		     rows[i].want);
}

static void test_grace(void)
{
	static const enum ice_state cancels[] = {ICE_NEW, ICE_CHECKING, ICE_CONNECTED,
						 ICE_COMPLETED};
	struct ice_grace g;

	for (unsigned i = 0; i < 4; i++) {
		ice_grace_init(&g);
		T_EQ(ice_grace_deadline(&g).at, TIME_NEVER);
		ice_grace_state(&g, ICE_DISCONNECTED, 10 * NS_PER_SEC);
		T_EQ(ice_grace_deadline(&g).at, 12 * NS_PER_SEC);
		T(!ice_grace_timeout(&g, 12 * NS_PER_SEC - 1));
		ice_grace_state(&g, cancels[i], 12 * NS_PER_SEC - 1);
		T(!ice_grace_timeout(&g, 100 * NS_PER_SEC));
		T_EQ(ice_grace_deadline(&g).at, TIME_NEVER);
		ice_grace_state(&g, ICE_DISCONNECTED, 200 * NS_PER_SEC);
		ice_grace_state(&g, ICE_DISCONNECTED, 201 * NS_PER_SEC);
		T(ice_grace_timeout(&g, 202 * NS_PER_SEC));
		/* For good. */
		ice_grace_state(&g, ICE_CONNECTED, 203 * NS_PER_SEC);
		T(ice_grace_timeout(&g, 203 * NS_PER_SEC));
		T_EQ(ice_grace_deadline(&g).at, TIME_NEVER);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_delay);
	T_RUN(test_never_answered);
	T_RUN(test_previously_healthy);
	T_RUN(test_late_answer);
	T_RUN(test_nomination_pace);
	T_RUN(test_priorities);
	T_RUN(test_local_pref);
	T_RUN(test_role_truth_table);
	T_RUN(test_grace);
	return t_done();
}
