/* SPDX-License-Identifier: Apache-2.0
 * The agent's behaviour towards a peer: connecting, losing, migrating, coming back. Rules about
 * single datagrams and about the lists are in test_ice_rules.c. */
#include "tests/unit/ice_rig.h"

#define A1 "192.0.2.1:1000"
#define A2 "192.0.2.2:1000"
#define B1 "198.51.100.1:2000"
#define B2 "198.51.100.2:2000"

static struct rig r;

static bool is(const struct endpoint *e, const char *text)
{
	struct endpoint want = ep(text);

	return endpoint_eq(e, &want);
}

static void connect_hosts(void)
{
	rig_init(&r);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
}

static void test_host_to_host(void)
{
	struct ice_path p;

	rig_init(&r);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	rig_run(&r, 100 * NS_PER_MS);
	T_EQ(ice_state(&r.a), ICE_COMPLETED);
	T_EQ(ice_state(&r.b), ICE_COMPLETED);
	T(r.a.acct.tx_checks <= 3 && r.b.acct.tx_checks <= 3);
	T_EQ(r.a.acct.rx[ICE_RX_OK], r.b.acct.tx_replies + r.b.acct.tx_checks);
	T_EQ(r.la.n_nominated, 1);
	T_EQ(r.lb.n_nominated, 1);
	T(ice_selected(&r.a, &p));
	T_EQ(p.rtt_ns, 2 * r.latency);
	T(endpoint_eq(&p.local, &r.a.locals[0].addr) &&
	  endpoint_eq(&p.remote, &r.b.locals[0].addr));
	T_EQ(p.local_kind, CAND_HOST);
	T_EQ(p.remote_kind, CAND_HOST);
	T(ice_selected(&r.b, &p));
	T(endpoint_eq(&p.remote, &r.a.locals[0].addr));
}

/* New, then Checking, in one first time-advance; deadlines carry a reason. */
static void test_start(void)
{
	rig_init(&r);
	T_EQ(ice_state(&r.a), ICE_NEW);
	T_EQ(ice_deadline(&r.a).at, r.now);
	T_STR(ice_deadline(&r.a).why, "ice: evaluate");
	rig_run(&r, NS_PER_SEC);
	T_EQ(ice_state(&r.a), ICE_CHECKING);
	T_EQ(ice_deadline(&r.a).at, TIME_NEVER);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	T_EQ(ice_deadline(&r.a).at, r.now);
	rig_run(&r, 1);
	T_STR(ice_deadline(&r.a).why, "ice: next check");
}

static void test_v6_and_disjoint_families(void)
{
	rig_init(&r);
	rig_add_a(&r, host("[2001:db8::1]:1"));
	rig_add_b(&r, host("[2001:db8::2]:1"));
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
	/* Nothing in common: Disconnected at once. */
	rig_init(&r);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host("[2001:db8::2]:1"));
	rig_run(&r, NS_PER_MS);
	T_EQ(ice_state(&r.a), ICE_DISCONNECTED);
	T_EQ(ice_n_pairs(&r.a), 0);
}

/* A healthy pair is given up 16.5 s after the first lost check. */
static void test_disconnect_after_timeout(void)
{
	uint64_t cut_at;

	connect_hosts();
	rig_run(&r, 30 * NS_PER_SEC);
	T_EQ(rig_saw(&r.la, ICE_DISCONNECTED), 0);
	r.cut = true;
	cut_at = r.now;
	rig_run(&r, 16400 * NS_PER_MS);
	T_EQ(rig_saw(&r.la, ICE_DISCONNECTED), 0);
	rig_run(&r, 2 * NS_PER_SEC);
	T_EQ(ice_state(&r.a), ICE_DISCONNECTED);
	T_EQ(ice_state(&r.b), ICE_DISCONNECTED);
	T(r.la.state_at[r.la.n_states - 1] - cut_at <= 18 * NS_PER_SEC);
	T(!rig_connected(&r));
}

static void test_unreachable_host(void)
{
	rig_init(&r);
	r.cut = true;
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	rig_run(&r, 15249 * NS_PER_MS);
	T_EQ(ice_state(&r.a), ICE_CHECKING);
	T_EQ(r.a.acct.tx_checks, 12);
	rig_run(&r, 2 * NS_PER_MS);
	T_EQ(ice_state(&r.a), ICE_DISCONNECTED);
	T_EQ(ice_n_pairs(&r.a), 0);
	T_EQ(ice_deadline(&r.a).at, TIME_NEVER);
}

/* A clock that starts at zero, and steps back, breaks nothing. */
static void test_early_clock(void)
{
	struct ice_tx tx;

	rig_init(&r);
	r.now = 0;
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	ice_timeout(&r.a, 0);
	T(ice_poll_tx(&r.a, &tx, 0));
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
	ice_timeout(&r.a, 0);
	ice_set_timing(&r.a, &ICE_TIMING_IDLE, 0);
	ice_set_timing(&r.a, &ICE_TIMING_ACTIVE, 0);
	T(!ice_poll_tx(&r.a, &tx, 0));
	rig_run(&r, 30 * NS_PER_SEC);
	T(rig_connected(&r));
}

/* a is behind a NAT: b sees another address than the one a has. */
static bool nat_a(struct rig *rig, bool to_b, struct endpoint *src, struct endpoint *dst)
{
	struct endpoint in = ep("10.0.0.1:1000"), out = ep("203.0.113.9:777");

	(void)rig;
	if (to_b && endpoint_eq(src, &in))
		*src = out;
	else if (!to_b && endpoint_eq(dst, &out))
		*dst = in;
	else
		return false;
	return true;
}

static void test_prflx_behind_nat(void)
{
	struct ice_path p;

	rig_init(&r);
	r.wire = nat_a;
	rig_add_a(&r, host("10.0.0.1:1000"));
	rig_add_b(&r, host(B1));
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
	T(ice_selected(&r.b, &p));
	T_EQ(p.remote_kind, CAND_PRFLX);
	T_EQ(p.remote.port, 777);
	/* The placeholder has the priority of the request, computed as peer-reflexive. */
	T_EQ(p.remote_prio >> 24, 110);
	T_EQ(p.remote_prio & 0xffffff, r.a.locals[0].prio & 0xffffff);
	T(ice_selected(&r.a, &p));
	T_EQ(p.remote_kind, CAND_HOST);
	T_EQ(ice_n_locals(&r.a), 1);
}

/* The signalled candidate takes the placeholder's place: same slot, same path, no interruption. */
static void test_prflx_replaced(void)
{
	struct ice_cand sig = srflx("203.0.113.9:777", "203.0.113.9:777");
	struct ice_path before, after;
	unsigned n;

	rig_init(&r);
	r.wire = nat_a;
	rig_add_a(&r, host("10.0.0.1:1000"));
	rig_add_b(&r, host(B1));
	rig_run(&r, NS_PER_SEC);
	T(ice_selected(&r.b, &before));
	n = ice_n_remotes(&r.b);
	sig.prio = 1694498559;
	T_EQ(ice_add_remote(&r.b, &sig, r.now), ICE_ADD_REPLACED);
	T_EQ(ice_n_remotes(&r.b), n);
	T_EQ(ice_add_remote(&r.b, &sig, r.now), ICE_ADD_REDUNDANT);
	rig_run(&r, 30 * NS_PER_SEC);
	T(ice_selected(&r.b, &after));
	T(endpoint_eq(&after.remote, &before.remote));
	T_EQ(after.remote_kind, CAND_SRFLX);
	/* The lesser description does not lower the path's priority. */
	T_EQ(after.pair_prio, before.pair_prio);
	T_EQ(r.lb.n_nominated, 1);
	T_EQ(rig_saw(&r.lb, ICE_DISCONNECTED), 0);
	/* The invalidation of what was signalled is recognised. */
	T(ice_remove_remote(&r.b, &sig, r.now));
}

/* A host candidate describes the path better than the placeholder: nominated again, on the same
 * addresses. */
static void test_prflx_replaced_by_host(void)
{
	struct ice_path p;
	struct ice_cand out;

	rig_init(&r);
	ice_add_local(&r.a, &(struct ice_cand){0}, NULL, r.now);
	{
		struct ice_cand c = host(A1);

		ice_add_local(&r.a, &c, &out, r.now);
	}
	rig_add_b(&r, host(B1));
	rig_run(&r, NS_PER_SEC);
	T(ice_selected(&r.b, &p) && p.remote_kind == CAND_PRFLX);
	T_EQ(ice_add_remote(&r.b, &out, r.now), ICE_ADD_REPLACED);
	rig_run(&r, NS_PER_SEC);
	T(ice_selected(&r.b, &p) && p.remote_kind == CAND_HOST);
	T_EQ(r.lb.n_nominated, 2);
	T_EQ(rig_saw(&r.lb, ICE_DISCONNECTED) + rig_saw(&r.la, ICE_DISCONNECTED), 0);
	T_EQ(rig_saw(&r.lb, ICE_CHECKING), 1);
	/* Both sides now agree on the pair's priority. */
	T_EQ(r.a.nominated_prio, r.b.nominated_prio);
}

static void test_trickle_late(void)
{
	rig_init(&r);
	r.cut = true;
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	rig_run(&r, 10 * NS_PER_SEC);
	r.cut = false;
	rig_add_b(&r, host(B2));
	rig_run(&r, 50 * NS_PER_MS);
	T(rig_connected(&r));
	T_STR(ice_state_name(ice_state(&r.a)), "connected");
}

/* Better candidates are used whenever they come, worse ones are kept as a reserve. */
static void test_upgrade_and_downgrade(void)
{
	struct ice_path p;
	struct ice_cand b2;

	rig_init(&r);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, relay(B1, B1));
	rig_run(&r, NS_PER_SEC);
	T(ice_selected(&r.a, &p) && p.remote_kind == CAND_RELAY);
	rig_add_b(&r, host(B2));
	rig_run(&r, 100 * NS_PER_MS);
	T(ice_selected(&r.a, &p) && p.remote_kind == CAND_HOST);
	T(ice_selected(&r.b, &p) && p.local_kind == CAND_HOST);
	T_EQ(r.la.n_nominated, 2);
	T_EQ(r.lb.n_nominated, 2);
	T_EQ(ice_n_pairs(&r.a), 2);
	T_EQ(ice_state(&r.a), ICE_CONNECTED);
	b2 = r.b.locals[1];
	T(ice_remove_local(&r.b, &b2, r.now));
	T(ice_remove_remote(&r.a, &b2, r.now));
	rig_run(&r, 3 * NS_PER_SEC);
	T(ice_selected(&r.a, &p) && p.remote_kind == CAND_RELAY);
	T(ice_selected(&r.b, &p) && p.local_kind == CAND_RELAY);
	T_EQ(ice_state(&r.a), ICE_COMPLETED);
	T_EQ(rig_saw(&r.la, ICE_DISCONNECTED), 0);
}

/* Invalidating the old candidate moves at once; nobody waits for a timeout. */
static void test_migrate(void)
{
	struct ice_cand old;
	struct ice_path p;

	connect_hosts();
	rig_run(&r, 20 * NS_PER_SEC);
	old = r.b.locals[0];
	rig_add_b(&r, host(B2));
	T(ice_remove_local(&r.b, &old, r.now));
	T(ice_remove_remote(&r.a, &old, r.now));
	rig_run(&r, 200 * NS_PER_MS);
	T(ice_selected(&r.a, &p) && is(&p.remote, B2));
	T(ice_selected(&r.b, &p) && is(&p.local, B2));
	T_EQ(rig_saw(&r.la, ICE_DISCONNECTED) + rig_saw(&r.lb, ICE_DISCONNECTED), 0);
}

static void readd(bool at_b)
{
	struct ice_cand c;

	connect_hosts();
	c = r.b.locals[0];
	if (at_b) {
		T(ice_remove_local(&r.b, &c, r.now));
		T(!ice_remove_local(&r.b, &c, r.now));
	} else {
		T(ice_remove_remote(&r.a, &c, r.now));
		T(!ice_remove_remote(&r.a, &c, r.now));
	}
	rig_run(&r, 20 * NS_PER_SEC);
	T(!rig_connected(&r));
	T_EQ(ice_state(at_b ? &r.b : &r.a), ICE_DISCONNECTED);
	if (at_b)
		T_EQ(ice_add_local(&r.b, &c, &c, r.now), ICE_ADD_REENABLED);
	T_EQ(ice_add_remote(&r.a, &c, r.now), at_b ? ICE_ADD_REDUNDANT : ICE_ADD_REENABLED);
	if (at_b) {
		/* The peer's pair died meanwhile; signalled again after an invalidation it comes
		 * back. */
		T(ice_remove_remote(&r.a, &c, r.now));
		T_EQ(ice_add_remote(&r.a, &c, r.now), ICE_ADD_REENABLED);
	}
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
}

static void test_readd_local(void)
{
	readd(true);
}

static void test_readd_remote(void)
{
	readd(false);
}

/* Two pairs of the same priority: the first one stays. */
static void test_equal_priority_stays(void)
{
	struct ice_cand b1 = host(B1), b2 = host(B2);
	struct ice_path before, after;

	rig_init(&r);
	rig_add_a(&r, host(A1));
	ice_add_local(&r.b, &b1, &b1, r.now);
	ice_add_local(&r.b, &b2, &b2, r.now);
	b2.prio = b1.prio;
	ice_add_remote(&r.a, &b1, r.now);
	rig_run(&r, NS_PER_SEC);
	T(ice_selected(&r.a, &before));
	ice_add_remote(&r.a, &b2, r.now);
	rig_run(&r, 10 * NS_PER_SEC);
	T(ice_selected(&r.a, &after));
	T(endpoint_eq(&before.remote, &after.remote));
	T_EQ(r.la.n_nominated, 1);
	T_EQ(ice_n_pairs(&r.a), 2);
	T_EQ(r.a.pairs[0].prio, r.a.pairs[1].prio);
	T_EQ(r.a.pairs[1].state, ICE_PAIR_SUCCEEDED);
}

/* The relay reached over IPv4 that gives an IPv6 address loses against the one that does not cross.
 */
static void same_family_relay(bool relay_at_a)
{
	struct ice_cand v4 = relay("203.0.113.1:10", "192.0.2.1:1");
	struct ice_cand v6 = relay("[2001:db8::99]:10", "192.0.2.1:1");
	struct ice_path p;

	rig_init(&r);
	if (relay_at_a) {
		rig_add_a(&r, v6);
		rig_add_a(&r, v4);
		rig_add_b(&r, host("[2001:db8::1]:2"));
		rig_add_b(&r, host(B1));
	} else {
		rig_add_b(&r, v6);
		rig_add_b(&r, v4);
		rig_add_a(&r, host("[2001:db8::1]:2"));
		rig_add_a(&r, host(A1));
	}
	rig_run(&r, NS_PER_SEC);
	T(ice_selected(&r.a, &p) && p.remote.ip.family == 4);
	T(ice_selected(&r.b, &p) && p.remote.ip.family == 4);
}

static void test_relay_family_preferred(void)
{
	same_family_relay(true);
	same_family_relay(false);
}

static void test_timings_act_at_once(void)
{
	unsigned sent;

	connect_hosts();
	ice_set_timing(&r.a, &ICE_TIMING_IDLE, r.now);
	ice_set_timing(&r.b, &ICE_TIMING_IDLE, r.now);
	rig_run(&r, 60 * NS_PER_SEC);
	sent = (unsigned)r.a.acct.tx_checks;
	rig_run(&r, 100 * NS_PER_SEC);
	T_EQ(r.a.acct.tx_checks - sent, 4);
	rig_run(&r, 10 * NS_PER_SEC);
	sent = (unsigned)r.a.acct.tx_checks;
	ice_set_timing(&r.a, &ICE_TIMING_ACTIVE, r.now);
	T_EQ(ice_deadline(&r.a).at, r.now);
	rig_run(&r, 1);
	T_EQ(r.a.acct.tx_checks - sent, 1);
	rig_run(&r, 15 * NS_PER_SEC);
	T(r.a.acct.tx_checks - sent >= 10);
	T(rig_connected(&r));
	/* A senseless one is not taken. */
	ice_set_timing(&r.a, &(struct ice_timing){0}, r.now);
	T_EQ(r.a.timing.max_retransmits, 12);
}

static void test_idle_timeout(void)
{
	uint64_t cut_at;

	connect_hosts();
	rig_run(&r, 30 * NS_PER_SEC);
	ice_set_timing(&r.a, &ICE_TIMING_IDLE, r.now);
	r.cut = true;
	cut_at = r.now;
	while (!rig_saw(&r.la, ICE_DISCONNECTED) && r.now - cut_at < 200 * NS_PER_SEC)
		rig_run(&r, NS_PER_SEC);
	T(r.now - cut_at >= 100 * NS_PER_SEC && r.now - cut_at <= 127 * NS_PER_SEC);
}

/* After Disconnected a new possible pair leads through Checking, which is what cancels the grace.
 */
static void test_disconnected_to_checking(void)
{
	struct ice_grace g;
	unsigned n;

	connect_hosts();
	r.cut = true;
	rig_run(&r, 20 * NS_PER_SEC);
	T_EQ(ice_state(&r.a), ICE_DISCONNECTED);
	ice_grace_init(&g);
	ice_grace_state(&g, ICE_DISCONNECTED, r.la.state_at[r.la.n_states - 1]);
	r.cut = false;
	r.latency = 3 * NS_PER_SEC;
	n = r.la.n_states;
	rig_add_b(&r, host(B2));
	rig_run(&r, NS_PER_MS);
	T_EQ(r.la.n_states, n + 1);
	T_EQ(r.la.states[n], ICE_CHECKING);
	T_STR(r.la.whys[n], "got new possible pairs");
	rig_run(&r, 10 * NS_PER_SEC);
	T(ice_state(&r.a) == ICE_CONNECTED || ice_state(&r.a) == ICE_COMPLETED);
	T_EQ(r.la.n_disconnected, 1);
}

/* Not knowing one's own or the peer's candidates yet is no reason to give up. */
static void test_one_side_silent(void)
{
	rig_init(&r);
	rig_add_b(&r, host(B1));
	rig_run(&r, 60 * NS_PER_SEC);
	T_EQ(ice_state(&r.a), ICE_CHECKING);
	T_EQ(ice_state(&r.b), ICE_CHECKING);
	rig_add_a(&r, host(A1));
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
	T_EQ(r.la.n_disconnected + r.lb.n_disconnected, 0);
}

/* The controlled side follows the controlling one down, however long its own pair would still live.
 */
static void test_controlled_follows(void)
{
	struct ice_cand b2;
	struct ice_path p;

	rig_init(&r);
	ice_set_timing(&r.b, &ICE_TIMING_GATEWAY_ACTIVE, r.now);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, relay(B1, B1));
	rig_add_b(&r, host(B2));
	rig_run(&r, 10 * NS_PER_SEC);
	T(ice_selected(&r.b, &p) && p.local_kind == CAND_HOST);
	b2 = r.b.locals[1];
	T(ice_remove_remote(&r.a, &b2, r.now));
	rig_run(&r, 4 * NS_PER_SEC);
	T(ice_selected(&r.a, &p) && p.remote_kind == CAND_RELAY);
	T(ice_selected(&r.b, &p) && p.local_kind == CAND_RELAY);
}

/* The same inputs into a copy give the same outputs. */
static void test_clone_equivalence(void)
{
	struct ice copy;
	struct ice_tx t1, t2;
	unsigned n = 0;

	connect_hosts();
	rig_add_b(&r, host(B2));
	memcpy(&copy, &r.a, sizeof(copy));
	for (uint64_t now = r.now; now < r.now + 30 * NS_PER_SEC; now += 100 * NS_PER_MS) {
		bool more = true;

		ice_timeout(&copy, now);
		ice_timeout(&r.a, now);
		while (more) {
			memset(&t1, 0, sizeof(t1));
			memset(&t2, 0, sizeof(t2));
			more = ice_poll_tx(&copy, &t1, now);
			T_EQ(ice_poll_tx(&r.a, &t2, now), more);
			T_MEM(&t1, &t2, sizeof(t1));
			n += more;
		}
	}
	T(n > 20);
	T_MEM(&copy, &r.a, sizeof(copy));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_start);
	T_RUN(test_host_to_host);
	T_RUN(test_v6_and_disjoint_families);
	T_RUN(test_disconnect_after_timeout);
	T_RUN(test_unreachable_host);
	T_RUN(test_early_clock);
	T_RUN(test_prflx_behind_nat);
	T_RUN(test_prflx_replaced);
	T_RUN(test_prflx_replaced_by_host);
	T_RUN(test_trickle_late);
	T_RUN(test_upgrade_and_downgrade);
	T_RUN(test_migrate);
	T_RUN(test_readd_local);
	T_RUN(test_readd_remote);
	T_RUN(test_equal_priority_stays);
	T_RUN(test_relay_family_preferred);
	T_RUN(test_timings_act_at_once);
	T_RUN(test_idle_timeout);
	T_RUN(test_disconnected_to_checking);
	T_RUN(test_one_side_silent);
	T_RUN(test_controlled_follows);
	T_RUN(test_clone_equivalence);
	return t_done();
}
