/* SPDX-License-Identifier: Apache-2.0
 * The life of a TURN client against a relay in the test's hands: refresh, loss, expiry, both
 * address families. The numbers are those of the acceptance list. */
#include "tests/unit/turn_rig.h"

#define SEC NS_PER_SEC

/* ---- refresh ---- */

static void test_29_refresh_of_an_allocation_keeps_it(void)
{
	struct turn_tx tx;

	rig_ready();
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	T_EQ(rig_count(0), 1);
	tx = rig_take(STUN_REFRESH);
	T(!tx_has(&tx, STUN_A_LIFETIME)); /* the relay's default */
	T(tx_has(&tx, STUN_A_MESSAGE_INTEGRITY));
	T_EQ(ok(&tx, 600), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
	T_EQ(rig.n_ev, 0);
}

static void test_30_31_mismatch_on_refresh_voids_candidates_and_channels(void)
{
	struct endpoint peer = ep("198.51.100.1:1000");
	struct turn_data d;
	struct turn_tx tx;
	uint16_t n, m;

	rig_ready();
	n = rig_bound("198.51.100.1:1000");
	rig.n_ev = 0;
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	tx = rig_take(STUN_REFRESH);
	T_EQ(err(&tx, 437), TURN_RX_CONTROL);
	T_EQ(rig.n_ev, 3);
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_RELAY, RELAYED4));
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_RELAY, RELAYED6));
	T_EQ(rig_saw(TURN_EV_CHANNEL_DOWN), 1);
	T_EQ(rig.ev[2].number, n);
	T(endpoint_eq(&rig.ev[2].peer, &peer));
	T(endpoint_eq(&rig.ev[2].server, &rig.server4));
	T_EQ(turn_n_channels(&rig.t), 0);
	T(!turn_channel(&rig.t, &peer, rig.now, &m));
	T_EQ(rig_data(n, "x", &d), TURN_RX_NO_CHANNEL);
}

static void test_32_refresh_before_the_allocation_does_nothing(void)
{
	rig_init("192.0.2.1:3478", NULL);
	rig_drop_out();
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	T_EQ(rig_count(0), 0);
	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	rig_drop_out();
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	T_EQ(rig_count(0), 0);
}

static void test_33_mismatch_on_refresh_allocates(void)
{
	struct turn_tx tx;

	rig_ready();
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	tx = rig_take(STUN_REFRESH);
	err(&tx, 437);
	tx = rig_take(STUN_ALLOCATE);
	T_STR(tx_text(&tx, STUN_A_NONCE), "nonce-1");
	rig.n_ev = 0;
	T_EQ(ok_allocate_as(&tx, "198.51.100.9:50001", NULL, 600), TURN_RX_CONTROL);
	T_EQ(rig.n_ev, 1);
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_RELAY, "198.51.100.9:50001"));
}

static void test_34_35_refreshed_once_at_half_the_lifetime(void)
{
	struct turn_tx tx;
	uint64_t made;

	rig_ready();
	made = rig.now;
	while (rig.now < made + 299 * SEC)
		live(SEC);
	T_EQ(rig.t.expires_at, made + 600 * SEC);
	while (!rig_count(STUN_REFRESH) && rig.now < made + 400 * SEC) {
		rig_run(NS_PER_SEC / 10);
		while (rig_count(STUN_BINDING)) {
			tx = rig_take(STUN_BINDING);
			ok_binding(&tx);
		}
	}
	T(rig.now >= made + 300 * SEC && rig.now < made + 301 * SEC);
	rig_run(NS_PER_SEC / 2);
	T_EQ(rig_count(STUN_REFRESH), 1);
	tx = rig_take(STUN_REFRESH);
	T_EQ(ok(&tx, 600), TURN_RX_CONTROL);
	T(rig.t.expires_at > made + 890 * SEC);
	rig_run(20 * SEC);
	T_EQ(rig_count(STUN_REFRESH), 0);
}

static void test_36_refresh_after_a_failed_allocate_starts_again(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	err(&tx, 508);
	T_EQ(turn_state(&rig.t), TURN_SUSPENDED);
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	T_EQ(rig_count(0), 1);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	T_EQ(turn_state(&rig.t), TURN_READY);
}

static void test_37_failed_allocate_forgets_the_buffered_binds(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	want("198.51.100.1:1000");
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	err(&tx, 508);
	T_EQ(rig.t.n_ring, 0);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_NONE);
	T_EQ(rig.t.n_ring, 0);
}

static void test_38_mismatch_on_bind_allocates_and_binds_again(void)
{
	struct endpoint got, a = ep("198.51.100.1:1000");
	struct turn_tx tx;

	rig_ready();
	want("198.51.100.1:1000");
	tx = rig_take(STUN_CHANNEL_BIND);
	err(&tx, 437);
	T_EQ(turn_state(&rig.t), TURN_ALLOCATING);
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 1);
	tx = rig_take(STUN_CHANNEL_BIND);
	got = tx_peer(&tx);
	T(endpoint_eq(&got, &a));
	T_EQ(ok(&tx, KEEP), TURN_RX_CONTROL);
	T_EQ(rig_saw(TURN_EV_CHANNEL_UP), 1);
}

static void test_39_40_buffered_binds_are_collapsed_by_peer(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_BUFFERED);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_THERE);
	T_EQ(want("198.51.100.1:1001"), TURN_BIND_BUFFERED);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 2);
}

static void test_41_42_no_second_bind_in_flight_for_a_peer(void)
{
	rig_ready();
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_SENT);
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_THERE);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 1);
	T_EQ(want("198.51.100.2:1000"), TURN_BIND_SENT);
	T_EQ(rig_count(STUN_CHANNEL_BIND), 2);
}

static void test_43_failed_allocation_is_suspended(void)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	err(&tx, 508);
	T_EQ(turn_state(&rig.t), TURN_SUSPENDED);
	rig_run(3600 * SEC);
	T_EQ(rig_count(0), 0);
	T_EQ(turn_deadline(&rig.t).at, TIME_NEVER);
	T_STR(freeable(), "");
}

static void test_44_unanswered_keep_alive_voids_the_candidates(void)
{
	rig_ready();
	rig_run(25 * SEC + 8124 * NS_PER_MS);
	T_EQ(rig_count(STUN_BINDING), 4);
	T_EQ(rig_saw(TURN_EV_CAND_GONE), 0);
	rig_run(1 * NS_PER_MS);
	T_EQ(rig_saw(TURN_EV_CAND_GONE), 2);
	T(rig_saw_cand(TURN_EV_CAND_GONE, TURN_CAND_RELAY, RELAYED4));
	T_EQ(turn_state(&rig.t), TURN_UNREACHABLE);
	T_STR(freeable(), "no response, is STUN blocked?");
}

/* Nobody asked the machine for a while (a sleeping host): the allocation is over. */
static void test_45_expiry_voids_the_candidates(void)
{
	rig_ready();
	rig.now = rig.t.expires_at;
	rig_drive();
	T_EQ(rig_saw(TURN_EV_CAND_GONE), 2);
	T_EQ(turn_state(&rig.t), TURN_ALLOCATING);
	T_EQ(rig_count(STUN_ALLOCATE), 1);
}

static void test_46_wrong_credentials_end_it(void)
{
	struct turn_tx tx;

	rig_ready();
	rig_bound("198.51.100.1:1000");
	rig.n_ev = 0;
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	tx = rig_take(STUN_REFRESH);
	T_EQ(challenge(&tx, 401, "nonce-9"), TURN_RX_CONTROL);
	T_EQ(rig_saw(TURN_EV_CAND_GONE), 2);
	T_EQ(rig_saw(TURN_EV_CHANNEL_DOWN), 1);
	T_EQ(turn_deadline(&rig.t).at, TIME_NEVER);
	turn_refresh(&rig.t, rig.now);
	rig_run(3600 * SEC);
	T_EQ(rig_count(0), 0);
	T_STR(freeable(), "authentication error");
	T_EQ(want("198.51.100.1:1000"), TURN_BIND_NONE);
}

static void test_47_not_freeable_at_the_start(void)
{
	rig_init("192.0.2.1:3478", NULL);
	T_STR(freeable(), "");
	rig_challenged();
	T_STR(freeable(), "");
}

/* ---- addresses ---- */

static void test_48_50_address_matching(void)
{
	static const char *const v4 = "192.0.2.1:3478", *const v6 = "[2001:db8::1]:3478";
	static const struct {
		bool has4, has6;
	} row[] = {{true, false}, {false, true}, {true, true}};

	for (unsigned i = 0; i < 3; i++) {
		struct endpoint a = ep(v4), b = ep(v6), other = ep("192.0.2.1:3479"), none = {0};

		rig_init(row[i].has4 ? v4 : NULL, row[i].has6 ? v6 : NULL);
		T_EQ(turn_is_server(&rig.t, &a), row[i].has4);
		T_EQ(turn_is_server(&rig.t, &b), row[i].has6);
		T(!turn_is_server(&rig.t, &other));
		T(!turn_is_server(&rig.t, &none));
		T_EQ(rig_count(STUN_BINDING), row[i].has4 + row[i].has6);
	}
}

static void dual(void)
{
	rig_init("192.0.2.1:3478", "[2001:db8::1]:3478");
}

static void test_51_first_answer_picks_the_socket(void)
{
	struct turn_tx four, six, tx;

	dual();
	four = rig_take(STUN_BINDING);
	six = rig_take(STUN_BINDING);
	T_EQ(six.remote.ip.family, 6);
	ok_binding(&six);
	T_EQ(rig_count(STUN_ALLOCATE), 1);
	tx = rig_take(STUN_ALLOCATE);
	T(endpoint_eq(&tx.remote, &rig.server6));
	ok_binding(&four);
	T_EQ(rig_count(STUN_ALLOCATE), 0);
	T_EQ(rig.t.active, 1);
	dual();
	four = rig_take(STUN_BINDING);
	ok_binding(&four);
	tx = rig_take(STUN_ALLOCATE);
	T(endpoint_eq(&tx.remote, &rig.server4));
}

static void test_52_both_answers_give_candidates(void)
{
	struct turn_tx tx;

	dual();
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_SRFLX, "203.0.113.1:4000"));
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_SRFLX, "[2001:db8:f::1]:4000"));
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_HOST, "192.0.2.7:52625"));
	T(rig_saw_cand(TURN_EV_CAND, TURN_CAND_HOST, "[2001:db8::7]:52625"));
	T_EQ(rig.n_ev, 4);
}

static void test_53_unanswered_other_family_gives_up_quietly(void)
{
	struct turn_tx tx;

	dual();
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	challenge(&tx, 401, "nonce-1");
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	rig.n_ev = 0;
	rig_run(20 * SEC);
	T_EQ(rig_count(STUN_BINDING), 4);
	for (unsigned i = 0; i < rig.n_out; i++)
		T_EQ(rig.out[i].remote.ip.family, 6);
	T_EQ(turn_state(&rig.t), TURN_READY);
	T_EQ(rig.n_ev, 0);
	T_EQ(rig.t.acct.timeouts, 1);
}

static void test_54_all_timed_out_is_freeable(void)
{
	dual();
	rig_run(8124 * NS_PER_MS);
	T_STR(freeable(), "");
	rig_run(1 * NS_PER_MS);
	T_STR(freeable(), "no response, is STUN blocked?");
	T_EQ(rig_count(STUN_BINDING), 8);
	rig_drop_out();
	turn_refresh(&rig.t, rig.now);
	rig_drive();
	T_EQ(rig_count(STUN_BINDING), 2);
	T_STR(freeable(), "");
}

static void test_55_keep_alive_goes_to_the_active_socket(void)
{
	struct turn_tx tx;

	dual();
	rig_take(STUN_BINDING);
	tx = rig_take(STUN_BINDING);
	ok_binding(&tx);
	tx = rig_take(STUN_ALLOCATE);
	challenge(&tx, 401, "nonce-1");
	tx = rig_take(STUN_ALLOCATE);
	ok_allocate(&tx);
	rig_run(10 * SEC);
	rig_drop_out();
	rig_run(15 * SEC - 1);
	T_EQ(rig_count(0), 0);
	rig_run(1);
	T_EQ(rig_count(0), 1);
	tx = rig_take(STUN_BINDING);
	T_EQ(tx.remote.ip.family, 6);
	T_EQ(ok_binding(&tx), TURN_RX_CONTROL);
	rig_run(25 * SEC - RIG_RTT);
	T_EQ(rig_count(STUN_BINDING), 1);
}

/* A relay that makes and loses allocations in turn, as one of several behind one address would, or
 * one that means harm: each allocation is news to every peer, so they come at a pace. */
static void test_allocations_lost_at_once_are_asked_for_at_a_pace(void)
{
	unsigned n = 0, asked = 0;
	uint64_t end;

	rig_ready();
	for (end = rig.now + 120 * SEC; rig.now < end && n < 10000; n++) {
		while (rig_count(STUN_ALLOCATE)) {
			struct turn_tx tx = rig_take(STUN_ALLOCATE);

			asked++;
			ok_allocate_as(&tx, "198.51.100.9:50001", NULL, n & 1 ? 1 : 600);
		}
		turn_refresh(&rig.t, rig.now);
		rig_drive();
		while (rig_count(STUN_REFRESH)) {
			struct turn_tx tx = rig_take(STUN_REFRESH);

			if (n % 3)
				err(&tx, 437);
			else
				ok(&tx, 0);
		}
		while (rig_count(STUN_BINDING))
			rig_take(STUN_BINDING);
		rig.n_ev = 0;
		rig_run(10 * NS_PER_MS);
	}
	T(asked >= 10);
	T(asked <= 14);
}

static void test_a_relayed_address_that_cannot_be_one(void)
{
	static const char *const bad[] = {"127.0.0.1:50000", "169.254.1.1:50000", "192.0.2.1:3478",
					  "192.0.2.7:52625"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct turn_tx tx;

		rig_init("192.0.2.1:3478", NULL);
		tx = rig_take(STUN_BINDING);
		T_EQ(ok_binding_as(&tx, "127.0.0.1:4000"), TURN_RX_MALFORMED);
		T_EQ(ok_binding(&tx), TURN_RX_CONTROL);
		tx = rig_take(STUN_ALLOCATE);
		challenge(&tx, 401, "nonce-1");
		tx = rig_take(STUN_ALLOCATE);
		T_EQ(ok_allocate_as(&tx, bad[i], NULL, 600), TURN_RX_MALFORMED);
		T_EQ(ok_allocate_as(&tx, RELAYED4, NULL, 600), TURN_RX_CONTROL);
	}
	/* On the loopback all are. */
	rig_init("127.0.0.1:3478", NULL);
	rig.local4 = ep("127.0.0.1:52625");
	for (unsigned i = 0; i < 2; i++) {
		struct turn_tx tx = rig_take(i ? STUN_ALLOCATE : STUN_BINDING);

		T_EQ(i ? challenge(&tx, 401, "nonce-1") : ok_binding_as(&tx, "127.0.0.1:52625"),
		     TURN_RX_CONTROL);
	}
	{
		struct turn_tx tx = rig_take(STUN_ALLOCATE);

		T_EQ(ok_allocate_as(&tx, "127.0.0.1:50000", NULL, 600), TURN_RX_CONTROL);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_29_refresh_of_an_allocation_keeps_it);
	T_RUN(test_30_31_mismatch_on_refresh_voids_candidates_and_channels);
	T_RUN(test_32_refresh_before_the_allocation_does_nothing);
	T_RUN(test_33_mismatch_on_refresh_allocates);
	T_RUN(test_34_35_refreshed_once_at_half_the_lifetime);
	T_RUN(test_36_refresh_after_a_failed_allocate_starts_again);
	T_RUN(test_37_failed_allocate_forgets_the_buffered_binds);
	T_RUN(test_38_mismatch_on_bind_allocates_and_binds_again);
	T_RUN(test_39_40_buffered_binds_are_collapsed_by_peer);
	T_RUN(test_41_42_no_second_bind_in_flight_for_a_peer);
	T_RUN(test_43_failed_allocation_is_suspended);
	T_RUN(test_44_unanswered_keep_alive_voids_the_candidates);
	T_RUN(test_45_expiry_voids_the_candidates);
	T_RUN(test_46_wrong_credentials_end_it);
	T_RUN(test_47_not_freeable_at_the_start);
	T_RUN(test_48_50_address_matching);
	T_RUN(test_51_first_answer_picks_the_socket);
	T_RUN(test_52_both_answers_give_candidates);
	T_RUN(test_53_unanswered_other_family_gives_up_quietly);
	T_RUN(test_54_all_timed_out_is_freeable);
	T_RUN(test_55_keep_alive_goes_to_the_active_socket);
	T_RUN(test_allocations_lost_at_once_are_asked_for_at_a_pace);
	T_RUN(test_a_relayed_address_that_cannot_be_one);
	return t_done();
}
