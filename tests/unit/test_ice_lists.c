/* SPDX-License-Identifier: Apache-2.0
 * The candidate tables and the pair list: identity, redundancy, invalidation, guesses, capacities.
 */
#include "tests/unit/ice_craft.h"

static struct rig r;

/* Identity is address, base, raddr and kind; priority and foundation are not part of it. */
static void test_identity(void)
{
	struct ice_cand c = srflx(A1, A1), d;

	c.prio = 5;
	rig_init(&r);
	T_EQ(ice_add_remote(&r.b, &c, r.now), ICE_ADD_NEW);
	d = c;
	d.kind = CAND_RELAY;
	T(!ice_remove_remote(&r.b, &d, r.now));
	d = c;
	d.raddr = ep("10.0.0.1:5");
	T(!ice_remove_remote(&r.b, &d, r.now));
	d = c;
	d.has_raddr = false;
	T(!ice_remove_remote(&r.b, &d, r.now));
	d = c;
	d.addr.port++;
	T(!ice_remove_remote(&r.b, &d, r.now));
	d = c;
	d.prio = 77;
	d.foundation[0] = 'x';
	T(ice_remove_remote(&r.b, &d, r.now));
}

static void test_text_entry(void)
{
	static const char good[] =
		"candidate:1 1 udp 2130706175 192.0.2.1 1000 typ host ufrag aaaa";
	static const char other[] =
		"candidate:1 1 udp 2130706175 192.0.2.1 1000 typ host ufrag zzzz";

	rig_init(&r);
	T_EQ(ice_add_remote_text(&r.b, other, strlen(other), r.now), ICE_ADD_REJECTED);
	T_EQ(ice_add_remote_text(&r.b, "nonsense", 8, r.now), ICE_ADD_REJECTED);
	T_EQ(r.b.acct.remotes_rejected, 2);
	T_EQ(ice_n_remotes(&r.b), 0);
	T_EQ(ice_add_remote_text(&r.b, good, strlen(good), r.now), ICE_ADD_NEW);
	T_EQ(ice_add_remote_text(&r.b, good, strlen(good), r.now), ICE_ADD_REDUNDANT);
	T(!ice_remove_remote_text(&r.b, other, strlen(other), r.now));
	T(ice_remove_remote_text(&r.b, good, strlen(good), r.now));
	T(!ice_remove_remote_text(&r.b, good, strlen(good), r.now));
	T_EQ(ice_add_remote_text(&r.b, good, strlen(good), r.now), ICE_ADD_REENABLED);
}

static void test_invalid_addresses(void)
{
	static const char *const bad[] = {"0.0.0.0:1",	 "169.254.9.9:1", "255.255.255.255:1",
					  "224.0.0.5:1", "[::]:1",	  "[ff02::1]:1",
					  "192.0.2.1:0"};

	rig_init(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct ice_cand c = host(bad[i]);

		T_EQ(ice_add_local(&r.a, &c, NULL, r.now), ICE_ADD_REJECTED);
		c.prio = 1;
		T_EQ(ice_add_remote(&r.a, &c, r.now), ICE_ADD_REJECTED);
	}
	T_EQ(ice_n_locals(&r.a) + ice_n_remotes(&r.a), 0);
}

/* No NAT: the mapped address is the host's own. One candidate, one pair. */
static void test_identical_host_and_srflx(void)
{
	struct ice_cand h = host(A1), s = srflx(A1, A1), out;

	rig_init(&r);
	T_EQ(ice_add_local(&r.a, &h, NULL, r.now), ICE_ADD_NEW);
	T_EQ(ice_add_local(&r.a, &h, &out, r.now), ICE_ADD_REDUNDANT);
	T_EQ(out.prio, 2130706175);
	T_EQ(ice_add_local(&r.a, &s, &out, r.now), ICE_ADD_REDUNDANT);
	T_EQ(out.kind, CAND_HOST);
	rig_add_b(&r, host(B1));
	T_EQ(ice_n_pairs(&r.a), 1);
	/* The other way round the better one replaces. */
	rig_init(&r);
	T_EQ(ice_add_local(&r.a, &s, NULL, r.now), ICE_ADD_NEW);
	rig_add_b(&r, host(B1));
	T_EQ(ice_add_local(&r.a, &h, &out, r.now), ICE_ADD_REPLACED);
	T_EQ(ice_n_locals(&r.a), 1);
	T_EQ(ice_n_pairs(&r.a), 1);
	T_EQ(r.a.pairs[0].prio, ice_pair_priority(2130706175, 2130706175));
}

/* srflx and host behind it share a base: one pair, with the better of the two priorities, in either
 * order. */
static void test_redundant_pairs(void)
{
	struct ice_cand h = host("10.0.0.1:1000"), s = srflx("203.0.113.9:777", "10.0.0.1:1000");
	uint64_t prio;

	for (int order = 0; order < 2; order++) {
		rig_init(&r);
		rig_add_b(&r, host(B1));
		T_EQ(ice_add_local(&r.a, order ? &s : &h, NULL, r.now), ICE_ADD_NEW);
		T_EQ(ice_add_local(&r.a, order ? &h : &s, NULL, r.now), ICE_ADD_NEW);
		T_EQ(ice_n_locals(&r.a), 2);
		T_EQ(ice_n_pairs(&r.a), 1);
		prio = ice_pair_priority(2130706175, 2130706175);
		T_EQ(r.a.pairs[0].prio, prio);
		T_EQ(r.a.locals[r.a.pairs[0].local].kind, CAND_HOST);
	}
	/* Two remote descriptions of one address: one pair; each can be invalidated by itself. */
	rig_init(&r);
	rig_add_a(&r, host(A1));
	{
		struct ice_cand rh = host(B1), rs = srflx(B1, B1);

		rh.prio = 1000;
		rs.prio = 500;
		T_EQ(ice_add_remote(&r.a, &rs, r.now), ICE_ADD_NEW);
		T_EQ(ice_add_remote(&r.a, &rh, r.now), ICE_ADD_NEW);
		T_EQ(ice_n_pairs(&r.a), 1);
		T_EQ(r.a.remotes[r.a.pairs[0].remote].kind, CAND_HOST);
		T(ice_remove_remote(&r.a, &rh, r.now));
		T_EQ(ice_n_pairs(&r.a), 1);
		T_EQ(r.a.remotes[r.a.pairs[0].remote].kind, CAND_SRFLX);
		T(ice_remove_remote(&r.a, &rs, r.now));
		T_EQ(ice_n_pairs(&r.a), 0);
	}
}

static void test_discarded_not_paired(void)
{
	struct ice_cand a = host(A1), b = host(B1);

	rig_init(&r);
	ice_add_local(&r.a, &a, NULL, r.now);
	T(ice_remove_local(&r.a, &a, r.now));
	b.prio = 5;
	T_EQ(ice_add_remote(&r.a, &b, r.now), ICE_ADD_NEW);
	T_EQ(ice_n_pairs(&r.a), 0);
	T(ice_remove_remote(&r.a, &b, r.now));
	T_EQ(ice_add_local(&r.a, &a, NULL, r.now), ICE_ADD_REENABLED);
	T_EQ(ice_n_pairs(&r.a), 0);
	T_EQ(ice_add_remote(&r.a, &b, r.now), ICE_ADD_REENABLED);
	T_EQ(ice_n_pairs(&r.a), 1);
	T_EQ(ice_n_locals(&r.a), 1);
	T_EQ(ice_n_remotes(&r.a), 1);
}

static struct ice_cand numbered(unsigned net, unsigned i)
{
	struct endpoint e = {.ip = ipaddr_v4(10, (uint8_t)net, (uint8_t)(i >> 8), (uint8_t)i),
			     .port = 1};

	return ice_cand_host(&e);
}

/* The list never grows beyond its limit, keeps the best, and says what it dropped. */
static void test_pair_limit(void)
{
	struct ice_path p;

	rig_init(&r);
	for (unsigned i = 0; i < 8; i++) {
		struct ice_cand c = numbered(1, i);

		T_EQ(ice_add_local(&r.a, &c, NULL, r.now), ICE_ADD_NEW);
	}
	for (unsigned i = 0; i < 16; i++) {
		struct ice_cand c = numbered(2, i);

		c.prio = 1000 * (i + 1);
		T_EQ(ice_add_remote(&r.a, &c, r.now), ICE_ADD_NEW);
	}
	T_EQ(ice_n_pairs(&r.a), ICE_PAIRS_MAX);
	T_EQ(r.a.acct.pairs_dropped, 8 * 16 - ICE_PAIRS_MAX);
	for (unsigned i = 0; i < ICE_PAIRS_MAX; i++) {
		enum ice_pair_state st;
		bool nominated;

		p = ice_pair_path(&r.a, i, &st, &nominated);
		T(p.remote_prio >= 4000);
		T_EQ(st, ICE_PAIR_WAITING);
		T(!nominated);
		for (unsigned j = 0; j < i; j++)
			T(r.a.pairs[i].local != r.a.pairs[j].local ||
			  r.a.pairs[i].remote != r.a.pairs[j].remote);
	}
}

/* The pair in use stays, however low it ranks. */
static void test_pair_limit_spares_nominated(void)
{
	struct ice_path p;

	rig_init(&r);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, relay(B1, B1));
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
	for (unsigned i = 0; i < 7; i++) {
		struct ice_cand c = numbered(1, i);

		T_EQ(ice_add_local(&r.a, &c, NULL, r.now), ICE_ADD_NEW);
	}
	for (unsigned i = 0; i < 16; i++) {
		struct ice_cand c = numbered(2, i);

		c.prio = 2000000000 + i;
		T_EQ(ice_add_remote(&r.a, &c, r.now), ICE_ADD_NEW);
	}
	T_EQ(ice_n_pairs(&r.a), ICE_PAIRS_MAX);
	T(ice_selected(&r.a, &p) && p.remote_kind == CAND_RELAY);
	T_EQ(r.a.acct.nominations, 1);
}

/* Tables full: counted and refused; slots of discarded candidates are used again. */
static void test_tables_full(void)
{
	struct ice_cand c;

	rig_init(&r);
	for (unsigned i = 0; i < ICE_LOCALS_MAX; i++) {
		c = numbered(1, i);
		T_EQ(ice_add_local(&r.a, &c, NULL, r.now), ICE_ADD_NEW);
	}
	c = numbered(1, 100);
	T_EQ(ice_add_local(&r.a, &c, NULL, r.now), ICE_ADD_REJECTED);
	T_EQ(r.a.acct.locals_full, 1);
	c = numbered(1, 5);
	T(ice_remove_local(&r.a, &c, r.now));
	c = numbered(1, 100);
	T_EQ(ice_add_local(&r.a, &c, NULL, r.now), ICE_ADD_NEW);
	for (unsigned i = 0; i < ICE_REMOTES_MAX; i++) {
		c = numbered(2, i);
		c.prio = 5;
		T_EQ(ice_add_remote(&r.b, &c, r.now), ICE_ADD_NEW);
	}
	c = numbered(2, 100);
	c.prio = 9;
	T_EQ(ice_add_remote(&r.b, &c, r.now), ICE_ADD_REJECTED);
	T_EQ(r.b.acct.remotes_full, 1);
	/* A check from yet another address finds no room either, and changes nothing. */
	c = host(B1);
	T_EQ(ice_add_local(&r.b, &c, NULL, r.now), ICE_ADD_NEW);
	{
		struct rig_pkt p = craft(&(struct spec){
			.username = "bbbb:aaaa", .pwd = "password-of-b-22-chars", .prio = 1});

		T_EQ(give_checked(&r.b, &p, r.now), ICE_RX_FULL);
	}
	c = numbered(2, 7);
	T(ice_remove_remote(&r.b, &c, r.now));
	c = numbered(2, 100);
	c.prio = 9;
	T_EQ(ice_add_remote(&r.b, &c, r.now), ICE_ADD_NEW);
}

/* A flood of new sources with good credentials fills the table with placeholders; signalled ones
 * push them out. */
static void test_prflx_flood(void)
{
	struct ice_cand c = host(B1);

	rig_init(&r);
	ice_add_local(&r.b, &c, NULL, r.now);
	for (unsigned i = 0; i < 2 * ICE_REMOTES_MAX; i++) {
		struct rig_pkt p = craft(&(struct spec){
			.username = "bbbb:aaaa", .pwd = "password-of-b-22-chars", .prio = 1 + i});

		p.remote.port = (uint16_t)(1 + i);
		T_EQ(give_checked(&r.b, &p, r.now), i < ICE_REMOTES_MAX ? ICE_RX_OK : ICE_RX_FULL);
	}
	T_EQ(r.b.n_replies, ICE_REPLIES_MAX);
	T_EQ(r.b.acct.replies_dropped, ICE_REMOTES_MAX - ICE_REPLIES_MAX);
	for (unsigned i = 0; i < ICE_REMOTES_MAX; i++) {
		c = numbered(2, i);
		c.prio = 5;
		T_EQ(ice_add_remote(&r.b, &c, r.now), ICE_ADD_NEW);
	}
	T_EQ(ice_n_remotes(&r.b), ICE_REMOTES_MAX);
	T_EQ(ice_n_pairs(&r.b), ICE_REMOTES_MAX);
}

static void test_events_bounded(void)
{
	struct ice_event ev;
	unsigned n = 0;

	rig_init(&r);
	rig_add_a(&r, host(A1));
	for (unsigned i = 0; i < 40; i++) {
		struct ice_cand b = host(B1);

		b.prio = 5;
		ice_add_remote(&r.a, &b, r.now);
		ice_timeout(&r.a, r.now);
		ice_remove_remote(&r.a, &b, r.now);
		ice_timeout(&r.a, r.now);
	}
	T(r.a.acct.events_dropped > 0);
	while (ice_poll_event(&r.a, &ev))
		n++;
	T_EQ(n, ICE_EVENTS_MAX);
	T_EQ(ev.new_state, ice_state(&r.a));
	T_EQ(ice_state(&r.a), ICE_DISCONNECTED);
}

/* srflx address with the host's port, IPv4 only, two at most. */
static void test_optimistic(void)
{
	struct ice_cand c;
	unsigned n = 0;

	rig_init(&r);
	rig_add_b(&r, host(B1));
	c = srflx("[2001:db8::5]:5", "[2001:db8::5]:5");
	c.prio = 7;
	ice_add_remote(&r.b, &c, r.now);
	c = host("[2001:db8::6]:52625");
	c.prio = 9;
	ice_add_remote(&r.b, &c, r.now);
	T_EQ(ice_add_optimistic(&r.b, r.now), 0);
	c = host("10.0.0.1:52625");
	c.prio = 9;
	ice_add_remote(&r.b, &c, r.now);
	c = srflx("203.0.113.9:777", "203.0.113.9:777");
	c.prio = 7;
	ice_add_remote(&r.b, &c, r.now);
	T_EQ(ice_add_optimistic(&r.b, r.now), 1);
	T_EQ(ice_add_optimistic(&r.b, r.now), 0);
	for (unsigned i = 0; i < ice_n_remotes(&r.b); i++) {
		const struct ice_cand *o = ice_remote(&r.b, i);

		if (!o->optimistic)
			continue;
		n++;
		T_EQ(o->kind, CAND_SRFLX);
		T_EQ(o->addr.port, 52625);
		T(o->addr.ip.b[0] == 203);
	}
	T_EQ(n, 1);
	/* The same address signalled after all is the same candidate, no longer a guess. */
	c = srflx("203.0.113.9:52625", "203.0.113.9:52625");
	c.prio = 7;
	T_EQ(ice_add_remote(&r.b, &c, r.now), ICE_ADD_REDUNDANT);
	T(!ice_remote(&r.b, ice_n_remotes(&r.b) - 1)->optimistic);
	c = host("10.0.0.2:1111");
	c.prio = 9;
	ice_add_remote(&r.b, &c, r.now);
	c = host("10.0.0.3:2222");
	c.prio = 9;
	ice_add_remote(&r.b, &c, r.now);
	T_EQ(ice_add_optimistic(&r.b, r.now), 1);
	T_EQ(ice_add_optimistic(&r.b, r.now), 0);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_identity);
	T_RUN(test_text_entry);
	T_RUN(test_invalid_addresses);
	T_RUN(test_identical_host_and_srflx);
	T_RUN(test_redundant_pairs);
	T_RUN(test_discarded_not_paired);
	T_RUN(test_pair_limit);
	T_RUN(test_pair_limit_spares_nominated);
	T_RUN(test_tables_full);
	T_RUN(test_prflx_flood);
	T_RUN(test_events_bounded);
	T_RUN(test_optimistic);
	return t_done();
}
