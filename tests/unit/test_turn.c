/* SPDX-License-Identifier: Apache-2.0
 * The TURN client against a relay in the test's hands: binds, channels, authentication. The numbers
 * are those of the acceptance list (1..14: test_turn_chan.c, 29..55: test_turn_life.c). */
#include "tests/unit/turn_rig.h"

#define SEC NS_PER_SEC

/* ---- channels of an allocation ---- */

static void test_05_data_on_a_bound_channel_is_its_peers(void)
{
	struct endpoint peer, relayed = ep(RELAYED6);
	struct turn_data d = {0};
	uint16_t a, b;

	rig_ready();
	a = rig_bound("198.51.100.1:1000");
	b = rig_bound("[2001:db8:1::1]:1001");
	T(a != b);
	peer = ep("[2001:db8:1::1]:1001");
	T_EQ(rig_data(b, "hello", &d), TURN_RX_DATA);
	T(endpoint_eq(&d.peer, &peer));
	T(endpoint_eq(&d.local, &relayed));
	T_EQ(d.off, 4);
	T_EQ(d.len, 5);
	T_EQ(d.number, b);
	peer = ep("198.51.100.1:1000");
	relayed = ep(RELAYED4);
	T_EQ(rig_data(a, "", &d), TURN_RX_DATA);
	T(endpoint_eq(&d.peer, &peer));
	T(endpoint_eq(&d.local, &relayed));
	T_EQ(rig_data((uint16_t)(b + 1), "hello", &d), TURN_RX_NO_CHANNEL);
	T_EQ(rig_data(0x7fff, "hello", &d), TURN_RX_NO_CHANNEL);
}

static void test_06_active_channel_is_refreshed_unless_in_flight(void)
{
	struct turn_data d;
	struct turn_tx tx;
	uint16_t n;

	rig_ready();
	n = rig_bound("198.51.100.1:1000");
	live(60 * SEC);
	T_EQ(rig_data(n, "x", &d), TURN_RX_DATA);
	live(239 * SEC);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 0);
	live(SEC);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 1);
	live(SEC / 2);
	T_EQ(rig_data(n, "x", &d), TURN_RX_DATA);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 1);
	tx = rig_take(STUN_CHANNEL_BIND);
	T_EQ(tx_channel(&tx), n);
	rig.n_ev = 0;
	T_EQ(ok(&tx, KEEP), TURN_RX_CONTROL);
	T_EQ(rig_saw(TURN_EV_CHANNEL_UP), 1); /* until later now */
	T_EQ(rig.ev[0].until, rig.now + 600 * SEC);
	live(SEC);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 0);
}

static void test_07_inactive_channel_is_not_refreshed(void)
{
	struct endpoint peer = ep("198.51.100.1:1000");
	uint16_t n;

	rig_ready();
	rig_bound("198.51.100.1:1000");
	live(599 * SEC);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 0);
	T(turn_channel(&rig.t, &peer, rig.now, &n));
	rig.n_ev = 0;
	live(2 * SEC);
	T(!turn_channel(&rig.t, &peer, rig.now, &n));
	T_EQ(rig_saw(TURN_EV_CHANNEL_DOWN), 1);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 0);
}

static void test_08_lapsed_peer_gets_its_number_again(void)
{
	struct turn_tx tx;
	uint16_t n;

	rig_ready();
	n = rig_bound("198.51.100.1:1000");
	rig_bound("198.51.100.2:1000");
	live(720 * SEC);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_SENT);
	tx = rig_take(STUN_CHANNEL_BIND);
	T_EQ(tx_channel(&tx), n);
}

/* ---- binds ---- */

static void test_15_binds_wait_for_the_allocation(void)
{
	struct endpoint a = ep("198.51.100.1:1000"), got;
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_BUFFERED);
	rig_challenged();
	T_EQ(want("198.51.100.2:1000"), TURN_BIND_BUFFERED);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 0);
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 2);
	tx = rig_take(STUN_CHANNEL_BIND);
	got = tx_peer(&tx);
	T(endpoint_eq(&got, &a));
	T_EQ(tx_channel(&tx), 0x4000);
}

static void test_16_data_goes_to_the_active_socket(void)
{
	struct endpoint peer = ep("198.51.100.1:1000"), local, server;
	uint16_t n, m = 0;

	rig_ready();
	n = rig_bound("198.51.100.1:1000");
	T(turn_channel(&rig.t, &peer, rig.now, &m));
	T_EQ(n, m);
	T(turn_route(&rig.t, &local, &server));
	T(endpoint_eq(&server, &rig.server4));
	T(endpoint_eq(&local, &rig.local4));
	T_EQ(rig_saw(TURN_EV_CHANNEL_UP), 1);
	for (unsigned i = 0; i < rig.n_ev; i++) {
		if (rig.ev[i].kind != TURN_EV_CHANNEL_UP)
			continue;
		T(endpoint_eq(&rig.ev[i].server, &rig.server4));
		T(endpoint_eq(&rig.ev[i].local, &rig.local4));
		T(endpoint_eq(&rig.ev[i].peer, &peer));
		T_EQ(rig.ev[i].number, n);
		T_EQ(rig.ev[i].until, rig.now + 600 * SEC);
	}
}

/* Sending may use a bind that is in flight; receiving may not; one that lapsed is neither. */
static void test_17_unconfirmed_channels(void)
{
	struct endpoint peer = ep("198.51.100.1:1000"), got;
	struct turn_data d;
	struct turn_tx tx;
	uint16_t n = 0;

	rig_ready();
	T(!turn_channel(&rig.t, &peer, rig.now, &n));
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_SENT);
	T(turn_channel(&rig.t, &peer, rig.now, &n));
	T_EQ(n, 0x4000);
	T_EQ(rig_data(n, "x", &d), TURN_RX_NO_CHANNEL);
	T(!turn_channel_peer(&rig.t, n, rig.now, &got));
	T_EQ(rig_saw(TURN_EV_CHANNEL_UP), 0);
	tx = rig_take(STUN_CHANNEL_BIND);
	ok(&tx, KEEP);
	T_EQ(rig_data(n, "x", &d), TURN_RX_DATA);
	T(turn_channel_peer(&rig.t, n, rig.now, &got));
	T(endpoint_eq(&got, &peer));
	T_EQ(rig_saw(TURN_EV_CHANNEL_UP), 1);
	rig_ready();
	n = rig_bound("198.51.100.1:1000");
	live(601 * SEC);
	T(!turn_channel(&rig.t, &peer, rig.now, &n));
	T_EQ(rig_data(n, "x", &d), TURN_RX_NO_CHANNEL);
}

static void test_18_failed_bind_forgets_the_channel(void)
{
	struct endpoint peer = ep("198.51.100.1:1000");
	struct turn_tx tx;
	uint16_t n;

	rig_ready();
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_SENT);
	tx = rig_take(STUN_CHANNEL_BIND);
	T_EQ(err(&tx, 400), TURN_RX_CONTROL);
	T(!turn_channel(&rig.t, &peer, rig.now, &n));
	T_EQ(turn_n_channels(&rig.t), 0);
	T_EQ(turn_state(&rig.t), TURN_READY);
	T_EQ(rig.t.acct.last_error, 400);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_SENT);
}

static void test_19_bind_of_a_bound_peer_sends_nothing(void)
{
	rig_ready();
	rig_bound("198.51.100.1:1000");
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_THERE);
	T_EQ(rig_count(0), 0);
}

static void test_20_retry_schedule_and_end(void)
{
	static const uint64_t at_ms[] = {0, 1000, 2500, 4750};
	unsigned n = 0, wrong = 0;
	uint64_t start;

	rig_init("192.0.2.1:3478", NULL);
	start = rig.now;
	for (unsigned ms = 0; ms <= 9000; ms += 100) { /* however often it is asked */
		rig.now = start + ms * NS_PER_MS;
		rig_drive();
		if (!rig.n_out)
			continue;
		wrong += rig.n_out != 1 || n == 4 || ms < at_ms[n] || ms >= at_ms[n] + 100;
		n += rig.n_out;
		rig.n_out = 0;
	}
	T_EQ(n, 4);
	T_EQ(wrong, 0);
	T_EQ(turn_state(&rig.t), TURN_UNREACHABLE);
	rig_init("192.0.2.1:3478", NULL);
	rig_run(8124 * NS_PER_MS);
	T_EQ(turn_state(&rig.t), TURN_PROBING);
	T_EQ(rig.n_out, 4);
	rig_run(1 * NS_PER_MS);
	T_EQ(turn_state(&rig.t), TURN_UNREACHABLE);
	T_EQ(rig.n_out, 4);
}

static void test_21_22_no_bind_without_an_address_of_that_family(void)
{
	rig_ready_as(RELAYED4, NULL);
	T_EQ(want("[2001:db8:1::1]:1001"), TURN_BIND_FAMILY);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_SENT);
	rig_ready_as(NULL, RELAYED6);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_FAMILY);
	T_EQ(want("[2001:db8:1::1]:1001"), TURN_BIND_SENT);
	T_EQ(rig_count(0), 1);
}

static void test_23_buffered_bind_of_a_missing_family_is_dropped(void)
{
	struct endpoint got, want4 = ep("198.51.100.1:1000");
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	want("[2001:db8:1::1]:1001");
	want("198.51.100.1:1000");
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate_as(&tx, RELAYED4, NULL, 600);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 1);
	tx = rig_take(STUN_CHANNEL_BIND);
	got = tx_peer(&tx);
	T(endpoint_eq(&got, &want4));
	T_EQ(rig.t.n_ring, 0);
	T_EQ(rig.t.acct.bind[TURN_BIND_FAMILY], 1);
}

/* ---- authentication ---- */

static void test_24_25_first_allocate(void)
{
	struct turn_tx tx;
	struct stun_msg m;
	uint32_t v;

	rig_init("192.0.2.1:3478", NULL);
	tx = rig_take(STUN_BINDING);
	T(!tx_has(&tx, STUN_A_MESSAGE_INTEGRITY));
	T(!tx_has(&tx, STUN_A_USERNAME));
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_USERNAME), "1892160000:salt");
	T_STR(tx_text(&tx, STUN_A_REALM), "firezone");
	T(!tx_has(&tx, STUN_A_NONCE));
	T(!tx_has(&tx, STUN_A_LIFETIME));
	T_EQ(stun_decode(&m, tx.buf, tx.len), STUN_OK);
	T(stun_integrity_ok(&m, rig.key, sizeof(rig.key)));
	T(stun_u32(&m, STUN_A_REQUESTED_TRANSPORT, &v) && v == 17U << 24);
	T(stun_u32(&m, STUN_A_ADDITIONAL_ADDRESS_FAMILY, &v) && v == 2U << 24);
}

static void test_26_stale_nonce_is_replaced(void)
{
	struct turn_tx tx, first;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	first = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&first, STUN_A_NONCE), "nonce-1");
	T_EQ(challenge(&first, 438, "nonce-2"), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), "nonce-2");
	T(memcmp(tx.buf + 8, first.buf + 8, 12));
	T_EQ(challenge(&first, 438, "nonce-3"), TURN_RX_UNKNOWN);
	T_EQ(ok_allocate(&tx), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

static void test_27_unauthorized_after_a_nonce_is_final(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(challenge(&tx, 401, "nonce-2"), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_REFUSED);
	T_EQ(rig_count(0), 0);
	T_STR(freeable(), "authentication error");
}

static void test_28_success_tells_srflx_then_relay(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	T_EQ(rig.n_ev, 2);
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_HOST, "192.0.2.7:52625"));
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_SRFLX, "203.0.113.1:4000"));
	T(endpoint_eq(&rig.ev[1].cand.base, &rig.local4));
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	T_EQ(rig.n_ev, 4);
	T_EQ(rig.ev[2].cand.kind, TURN_CAND_RELAY);
	T_EQ(rig.ev[3].cand.kind, TURN_CAND_RELAY);
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_RELAY, RELAYED4));
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_RELAY, RELAYED6));
	T_EQ(rig.ev[3].cand.via_family, 4);
	T(endpoint_eq(&rig.ev[3].cand.via, &rig.local4));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_05_data_on_a_bound_channel_is_its_peers);
	T_RUN(test_06_active_channel_is_refreshed_unless_in_flight);
	T_RUN(test_07_inactive_channel_is_not_refreshed);
	T_RUN(test_08_lapsed_peer_gets_its_number_again);
	T_RUN(test_15_binds_wait_for_the_allocation);
	T_RUN(test_16_data_goes_to_the_active_socket);
	T_RUN(test_17_unconfirmed_channels);
	T_RUN(test_18_failed_bind_forgets_the_channel);
	T_RUN(test_19_bind_of_a_bound_peer_sends_nothing);
	T_RUN(test_20_retry_schedule_and_end);
	T_RUN(test_21_22_no_bind_without_an_address_of_that_family);
	T_RUN(test_23_buffered_bind_of_a_missing_family_is_dropped);
	T_RUN(test_24_25_first_allocate);
	T_RUN(test_26_stale_nonce_is_replaced);
	T_RUN(test_27_unauthorized_after_a_nonce_is_final);
	T_RUN(test_28_success_tells_srflx_then_relay);
	return t_done();
}
