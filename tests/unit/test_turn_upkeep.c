/* SPDX-License-Identifier: Apache-2.0
 * The TURN client over time: round trips, keep-alives that wait for data, a changed network, full
 * tables, and what the kernel reports instead of this machine seeing it. */
#include "tests/unit/turn_rig.h"

#define SEC NS_PER_SEC
#define MS  NS_PER_MS

/* Answer tx so long after it was sent. */
static void binding_after(const struct turn_tx *tx, uint64_t span)
{
	struct endpoint mapped = ep("203.0.113.1:4000");
	struct turn_data d;
	struct ans a;

	rig.now += span;
	rig_drive();
	ans_init(&a, tx, STUN_SUCCESS);
	stun_put_xor_addr(&a.e, STUN_A_XOR_MAPPED_ADDRESS, &mapped);
	ans_done(&a, false);
	T_EQ(rig_give(&tx->remote, a.buf, a.len, &d), TURN_RX_CONTROL);
	rig_drive();
}

static void test_round_trip_is_measured_and_smoothed(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	T_EQ(turn_rtt_ns(&rig.t), 0);
	tx = rig_take(STUN_BINDING);
	binding_after(&tx, 80 * MS);
	T_EQ(turn_rtt_ns(&rig.t), 80 * MS);
	tx = rig_take(STUN_ALLOCATE);
	rig.now += 150 * MS;
	challenge(&tx, 401, "n"); /* 10 ms more */
	T_EQ(turn_rtt_ns(&rig.t), (7 * 80 + 160) * MS / 8);
	/* Of a retransmitted request the first copy counts: the answer may be to that one. */
	rig_init("192.0.2.1:3478", NULL);
	tx = rig_take(STUN_BINDING);
	rig.now += SEC;
	rig_drive();
	binding_after(&tx, SEC / 2);
	T_EQ(turn_rtt_ns(&rig.t), 1500 * MS);
	T_EQ(turn_state(&rig.t), TURN_ALLOCATING);
}

/* A copy has the transaction id of the first, so a slow answer still counts. */
static void test_late_answer_to_an_earlier_copy_counts(void)
{
	struct turn_tx first, copy;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	first = rig_take(STUN_ALLOCATE);
	rig_run(2600 * MS);
	T_EQ(rig_count(STUN_ALLOCATE), 2);
	copy = rig_take(STUN_ALLOCATE);
	T_MEM(first.buf + 8, copy.buf + 8, 12);
	T_EQ(ok_allocate(&first), TURN_RX_CONTROL);
	T_EQ(err(&copy, 437), TURN_RX_UNKNOWN);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

static void test_keep_alive_waits_for_channel_data(void)
{
	struct turn_data d;
	uint16_t n;

	rig_ready();
	n = rig_bound("198.51.100.1:1000");
	for (unsigned i = 0; i < 20; i++) {
		rig_run(10 * SEC);
		T_EQ(rig_data(n, "x", &d), TURN_RX_DATA);
		turn_sent(&rig.t, rig.now);
	}
	T_EQ(rig_count(STUN_BINDING), 0);
	rig_run(25 * SEC - 1);
	T_EQ(rig_count(STUN_BINDING), 0);
	rig_run(1);
	T_EQ(rig_count(STUN_BINDING), 1);
}

/* A relay that does not know us any more drops our data in silence. */
static void test_keep_alive_does_not_wait_for_one_way_data(void)
{
	unsigned sent = 0;

	rig_ready();
	while (sent++ < 10 && !rig_count(STUN_BINDING)) {
		rig_run(10 * SEC);
		turn_sent(&rig.t, rig.now);
	}
	T(rig_count(STUN_BINDING) > 0);
	T(sent <= 6); /* heard until 0 s, put off until 20 + 25 s */
}

static void test_restart_keeps_the_credentials(void)
{
	struct turn_tx tx;

	rig_ready();
	rig_bound("198.51.100.1:1000");
	rig_ready();
	rig.n_ev = 0;
	turn_restart(&rig.t, rig.now);
	rig_drive();
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_HOST, "192.0.2.7:52625"));
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_SRFLX, "203.0.113.1:4000"));
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_RELAY, RELAYED4));
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_RELAY, RELAYED6));
	T_EQ(rig.n_ev, 4);
	T_EQ(turn_rtt_ns(&rig.t), 0);
	rig.local4 = ep("198.18.0.5:52625");
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_HOST, "198.18.0.5:52625"));
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), "nonce-1");
	ok_allocate(&tx);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

/* The NAT gave us another port: to the relay that is another client. Seen by the keep-alive. */
static void test_changed_mapping_asks_for_the_allocation_at_once(void)
{
	struct turn_tx tx;

	rig_ready();
	rig_run(25 * SEC);
	tx = rig_take(STUN_BINDING);
	ok_binding_as(&tx, "203.0.113.1:4999");
	T_EQ(rig_saw(TURN_EV_CAND_GONE), 0);
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_SRFLX, "203.0.113.1:4999"));
	tx = rig_take(STUN_REFRESH);
	err(&tx, 437);
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(ok_allocate_as(&tx, "198.51.100.9:50001", NULL, 600), TURN_RX_CONTROL);
	T_EQ(rig_saw(TURN_EV_CAND_GONE), 2);
}

static void test_probe_finds_a_dead_relay_in_a_second(void)
{
	struct endpoint peer = ep("198.51.100.1:1000");

	rig_ready();
	turn_refresh(&rig.t, rig.now);
	rig_run(SEC - 1);
	T_EQ(turn_state(&rig.t), TURN_READY);
	T_EQ(rig_count(STUN_REFRESH), 1);
	rig_run(1);
	T_EQ(turn_state(&rig.t), TURN_UNREACHABLE);
	T_EQ(rig_saw(TURN_EV_CAND_GONE), 2);
	T_STR(freeable(), "no response, is STUN blocked?");
	T_EQ(turn_bind(&rig.t, &peer, rig.now), TURN_BIND_NONE);
}

/* The end of candidates must reach the caller before the relay may be freed. */
static void test_not_freeable_before_all_is_told(void)
{
	struct turn_event ev;
	const char *why;

	rig_ready();
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	rig.now += SEC;
	turn_timeout(&rig.t, rig.now);
	T_EQ(turn_state(&rig.t), TURN_UNREACHABLE);
	T(!turn_freeable(&rig.t, &why));
	T_EQ(turn_deadline(&rig.t).at, rig.now);
	T(turn_poll_event(&rig.t, &ev, rig.now));
	T(!turn_freeable(&rig.t, &why));
	T(turn_poll_event(&rig.t, &ev, rig.now));
	T(turn_freeable(&rig.t, &why));
}

/* What the kernel switched is reported by number and keeps the channel. */
static void test_data_seen_elsewhere_renews_the_channel(void)
{
	struct turn_tx tx;
	uint16_t n;

	rig_ready();
	n = rig_bound("198.51.100.1:1000");
	live(10 * SEC);
	turn_heard(&rig.t, n, rig.now);
	turn_heard(&rig.t, (uint16_t)(n + 1), rig.now);
	turn_heard(&rig.t, 0, rig.now);
	live(290 * SEC + SEC / 2);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 1);
	tx = rig_take(STUN_CHANNEL_BIND);
	T_EQ(tx_channel(&tx), n);
}

static struct endpoint nth_peer(unsigned n)
{
	return (struct endpoint){.ip = ipaddr_v4(100, 64, (uint8_t)(n >> 8), (uint8_t)n),
				 .port = 1000};
}

static void test_ring_drops_its_oldest(void)
{
	struct endpoint got, second = nth_peer(1), last = nth_peer(TURN_RING_MAX);
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	for (unsigned i = 0; i <= TURN_RING_MAX; i++) {
		struct endpoint e = nth_peer(i);

		T_EQ(turn_bind(&rig.t, &e, rig.now), TURN_BIND_BUFFERED);
	}
	T_EQ(rig.t.acct.ring_dropped, 1);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	T_EQ(rig_count(STUN_CHANNEL_BIND), TURN_RING_MAX);
	tx = rig_take(STUN_CHANNEL_BIND);
	got = tx_peer(&tx);
	T(endpoint_eq(&got, &second));
	while (rig_count(STUN_CHANNEL_BIND))
		tx = rig_take(STUN_CHANNEL_BIND);
	got = tx_peer(&tx);
	T(endpoint_eq(&got, &last));
}

/* More wishes than requests: the rest waits its turn, and control requests always find room. */
static void test_more_binds_than_requests(void)
{
	unsigned sent = 0, buffered = 0, confirmed = 0;
	struct turn_tx tx;

	rig_ready();
	for (unsigned i = 0; i < 200; i++) {
		struct endpoint e = nth_peer(i);
		enum turn_bind b = turn_bind(&rig.t, &e, rig.now);

		sent += b == TURN_BIND_SENT;
		buffered += b == TURN_BIND_BUFFERED;
	}
	T_EQ(sent, TURN_REQS_MAX - TURN_REQS_KEPT);
	T_EQ(sent + buffered, 200);
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	T_EQ(rig_count(STUN_REFRESH), 1);
	tx = rig_take(STUN_REFRESH);
	ok(&tx, 600);
	for (unsigned i = 0; i < 400 && rig_count(STUN_CHANNEL_BIND); i++) {
		struct turn_data d;
		struct ans a;

		tx = rig_take(STUN_CHANNEL_BIND);
		ans_init(&a, &tx, STUN_SUCCESS);
		ans_done(&a, true);
		confirmed += rig_give(&tx.remote, a.buf, a.len, &d) == TURN_RX_CONTROL;
		rig_drive();
	}
	T_EQ(confirmed, 200);
	T_EQ(turn_n_channels(&rig.t), 200);
	T_EQ(rig.t.acct.reqs_full, 0);
	T_EQ(rig.t.n_reqs, 0);
}

static void test_refused_refresh_is_tried_again(void)
{
	struct turn_tx tx;

	rig_ready();
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	tx = rig_take(STUN_REFRESH);
	T_EQ(err(&tx, 500), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
	T_EQ(rig.t.refresh_at, rig.now + (rig.t.expires_at - rig.now) / 2);
	/* Not faster and faster towards the end. */
	for (unsigned i = 0; i < 200 && turn_state(&rig.t) == TURN_READY; i++) {
		rig_run(SEC);
		while (rig_count(STUN_BINDING)) {
			tx = rig_take(STUN_BINDING);
			ok_binding(&tx);
		}
		while (rig_count(STUN_REFRESH)) {
			tx = rig_take(STUN_REFRESH);
			err(&tx, 500);
		}
	}
	T(rig.t.acct.errors < 50);
}

static void test_several_hosts_per_family(void)
{
	struct turn_tx tx;
	char text[32];

	rig_ready();
	T_EQ(rig.t.acct.hosts_replaced, 0);
	for (unsigned i = 0; i < TURN_HOSTS_MAX + 2; i++) {
		snprintf(text, sizeof(text), "192.0.2.%u:52625", 50 + i);
		rig.local4 = ep(text);
		rig_run(25 * SEC);
		tx = rig_take(STUN_BINDING);
		rig.n_ev = 0;
		ok_binding(&tx);
		T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_HOST, text));
		T_EQ(rig_saw(TURN_EV_CAND_GONE), 0);
		rig_drop_out();
		rig.t.refresh_at = TIME_NEVER;
	}
	T_EQ(rig.t.acct.hosts_replaced, 3);
}

/* However many reasons there are to ask, one REFRESH is out. */
static void test_one_refresh_at_a_time(void)
{
	struct turn_tx tx;

	rig_ready();
	rig_run(25 * SEC);
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	tx = rig_take(STUN_BINDING);
	ok_binding_as(&tx, "203.0.113.1:4999");
	T_EQ(rig_count(STUN_REFRESH), 1);
}

/* All channels are due at once: as many as there is room for, the others a second later. */
static void test_more_refreshes_than_requests(void)
{
	struct endpoint peer;
	struct turn_tx tx;
	unsigned n;

	rig_ready();
	for (unsigned i = 0; i < 200; i++) {
		peer = nth_peer(i);
		rig.t.chans.at[turn_chan_take(&rig.t.chans, &peer, rig.now)].in_flight = false;
		turn_chan_confirm(&rig.t.chans, i, rig.now);
	}
	turn_queue(&rig.t, rig.now);
	live(SEC);
	for (unsigned i = 0; i < 200; i++)
		turn_heard(&rig.t, turn_chan_number(i), rig.now);
	live(299 * SEC);
	rig_drive();
	n = rig_count(STUN_CHANNEL_BIND); /* keep-alive and REFRESH may be out as well */
	T(n <= TURN_REQS_MAX - TURN_REQS_KEPT && n >= TURN_REQS_MAX - TURN_REQS_KEPT - 2);
	T_EQ(rig.t.acct.reqs_full, 0);
	while (rig_count(STUN_CHANNEL_BIND)) {
		struct turn_data d;
		struct ans a;

		tx = rig_take(STUN_CHANNEL_BIND);
		ans_init(&a, &tx, STUN_SUCCESS);
		ans_done(&a, true);
		T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_CONTROL);
	}
	live(2 * SEC);
	T(rig_count(STUN_CHANNEL_BIND) >= 200 - n);
}

static void test_restart_forgets_what_was_asked(void)
{
	rig_init("192.0.2.1:3478", "[2001:db8::1]:3478");
	rig_drop_out();
	turn_restart(&rig.t, rig.now);
	rig_drive();
	T_EQ(rig_count(STUN_BINDING), 2);
	T_EQ(rig.t.n_reqs, 2);
}

/* Lost and made again before anybody asked: the old one's end is told before the new one. */
static void test_replaced_candidate_is_told_in_order(void)
{
	struct endpoint e = ep("198.51.100.9:50077");
	struct turn_data d;
	struct turn_tx tx;
	struct ans a;

	rig_ready_as(RELAYED4, NULL);
	turn_refresh(&rig.t, rig.now);
	T(turn_poll_tx(&rig.t, &tx, rig.now));
	ans_init(&a, &tx, STUN_ERROR);
	stun_put_error(&a.e, 437, "no");
	ans_done(&a, true);
	T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_CONTROL);
	T(turn_poll_tx(&rig.t, &tx, rig.now));
	ans_init(&a, &tx, STUN_SUCCESS);
	stun_put_xor_addr(&a.e, STUN_A_XOR_RELAYED_ADDRESS, &e);
	stun_put_u32(&a.e, STUN_A_LIFETIME, 600);
	ans_done(&a, true);
	T_EQ(rig_give(&tx.remote, a.buf, a.len, &d), TURN_RX_CONTROL);
	rig_drive();
	T_EQ(rig.n_ev, 2);
	T_EQ(rig.ev[0].kind, TURN_EV_CAND_GONE);
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_RELAY, RELAYED4));
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_RELAY, "198.51.100.9:50077"));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_round_trip_is_measured_and_smoothed);
	T_RUN(test_late_answer_to_an_earlier_copy_counts);
	T_RUN(test_keep_alive_waits_for_channel_data);
	T_RUN(test_keep_alive_does_not_wait_for_one_way_data);
	T_RUN(test_restart_keeps_the_credentials);
	T_RUN(test_changed_mapping_asks_for_the_allocation_at_once);
	T_RUN(test_probe_finds_a_dead_relay_in_a_second);
	T_RUN(test_not_freeable_before_all_is_told);
	T_RUN(test_data_seen_elsewhere_renews_the_channel);
	T_RUN(test_ring_drops_its_oldest);
	T_RUN(test_more_binds_than_requests);
	T_RUN(test_refused_refresh_is_tried_again);
	T_RUN(test_several_hosts_per_family);
	T_RUN(test_one_refresh_at_a_time);
	T_RUN(test_more_refreshes_than_requests);
	T_RUN(test_restart_forgets_what_was_asked);
	T_RUN(test_replaced_candidate_is_told_in_order);
	return t_done();
}
