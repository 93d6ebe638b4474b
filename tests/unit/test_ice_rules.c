/* SPDX-License-Identifier: Apache-2.0
 * Rules about single datagrams, the candidate and pair lists, roles, capacities. */
#include "tests/unit/ice_rig.h"

#define A1 "192.0.2.1:1000"
#define B1 "198.51.100.1:2000"

static struct rig r;

static void connected(void)
{
	rig_init(&r);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	rig_run(&r, NS_PER_SEC);
	T(rig_connected(&r));
}

/* A request from a to b, as a sends it right now; local and remote are as b sees them. */
static struct rig_pkt next_check(struct ice *ice)
{
	struct rig_pkt p = {0};
	struct ice_tx tx;

	r.now += 2 * NS_PER_SEC;
	ice_timeout(ice, r.now);
	T(ice_poll_tx(ice, &tx, r.now));
	p.local = tx.remote;
	p.remote = tx.local;
	p.len = tx.len;
	memcpy(p.data, tx.buf, tx.len);
	return p;
}

struct spec {
	const char *username, *pwd;
	uint32_t prio;
	bool controlling, controlled, use_candidate, no_integrity;
	uint64_t tie;
	uint16_t unknown;
	enum stun_class cls;
};

static struct rig_pkt craft(const struct spec *s)
{
	struct stun_tid tid = {"tid-tid-tid"};
	struct rig_pkt p = {.local = ep(B1), .remote = ep(A1)};
	struct stun_enc e;

	stun_enc_init(&e, p.data, sizeof(p.data), STUN_BINDING, s->cls, &tid);
	if (s->username)
		stun_put_bytes(&e, STUN_A_USERNAME, s->username, strlen(s->username));
	if (s->prio)
		stun_put_u32(&e, STUN_A_PRIORITY, s->prio);
	if (s->controlling)
		stun_put_u64(&e, STUN_A_ICE_CONTROLLING, s->tie);
	if (s->controlled)
		stun_put_u64(&e, STUN_A_ICE_CONTROLLED, s->tie);
	if (s->use_candidate)
		stun_put_flag(&e, STUN_A_USE_CANDIDATE);
	if (s->unknown)
		stun_put_bytes(&e, (enum stun_attr_type)s->unknown, "", 0);
	if (!s->no_integrity)
		stun_put_integrity(&e, s->pwd, strlen(s->pwd));
	stun_put_fingerprint(&e);
	T_EQ(stun_enc_done(&e, &p.len), 0);
	return p;
}

/* Like ice_input, and checks that anything but OK left the agent byte-identical (acct aside). */
static enum ice_rx give_checked(struct ice *ice, const struct rig_pkt *p)
{
	static struct ice before;
	const size_t after_acct = offsetof(struct ice, pairs);
	enum ice_rx rc;

	memcpy(&before, ice, sizeof(before));
	rc = rig_give(ice, p, r.now);
	if (rc == ICE_RX_OK || (rc == ICE_RX_IGNORED && ice->n_replies != before.n_replies))
		return rc;
	T_MEM(ice, &before, offsetof(struct ice, acct));
	T_MEM((uint8_t *)ice + after_acct, (uint8_t *)&before + after_acct,
	      sizeof(*ice) - after_acct);
	return rc;
}

static void test_verdicts(void)
{
	static const char ours[] = "bbbb:aaaa", pwd[] = "password-of-b-22-chars";
	static const struct {
		struct spec s;
		enum ice_rx want;
	} rows[] = {
		{{.username = ours, .pwd = pwd, .prio = 1, .controlling = true}, ICE_RX_OK},
		{{.username = ours, .pwd = pwd, .prio = 1}, ICE_RX_OK},
		{{.pwd = pwd, .prio = 1}, ICE_RX_MALFORMED},
		{{.username = "bbbbaaaa", .pwd = pwd, .prio = 1}, ICE_RX_MALFORMED},
		{{.username = ours, .pwd = pwd}, ICE_RX_MALFORMED},
		{{.username = ours, .prio = 1, .no_integrity = true}, ICE_RX_MALFORMED},
		{{.username = "bbbb:cccc", .pwd = pwd, .prio = 1}, ICE_RX_NOT_MINE},
		{{.username = "aaaa:bbbb", .pwd = pwd, .prio = 1}, ICE_RX_NOT_MINE},
		{{.username = "bbbb:aaaa:", .pwd = pwd, .prio = 1}, ICE_RX_NOT_MINE},
		{{.username = ours, .pwd = "other", .prio = 1}, ICE_RX_BAD_AUTH},
		{{.username = ours, .pwd = "password-of-a-22-chars", .prio = 1}, ICE_RX_BAD_AUTH},
		{{.username = ours, .pwd = pwd, .prio = 1, .unknown = 0x7abc}, ICE_RX_IGNORED},
		{{.username = ours, .pwd = pwd, .prio = 1, .unknown = 0xfabc}, ICE_RX_OK},
		{{.username = ours, .pwd = pwd, .prio = 1, .cls = STUN_INDICATION}, ICE_RX_IGNORED},
		{{.no_integrity = true, .cls = STUN_INDICATION}, ICE_RX_IGNORED},
		{{.pwd = pwd, .cls = STUN_SUCCESS}, ICE_RX_NOT_MINE},
		{{.pwd = pwd, .cls = STUN_ERROR}, ICE_RX_NOT_MINE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct rig_pkt p;

		connected();
		p = craft(&rows[i].s);
		if (!T_EQ(give_checked(&r.b, &p), rows[i].want))
			t_note("row %zu", i);
	}
}

/* Every truncation and every flipped bit of a real check is rejected without a trace. */
static void test_reject_is_no_op(void)
{
	struct rig_pkt good, p;

	connected();
	good = next_check(&r.a);
	for (size_t len = 0; len < good.len; len++) {
		p = good;
		p.len = len;
		T_EQ(give_checked(&r.b, &p), ICE_RX_MALFORMED);
	}
	for (size_t bit = 0; bit < (good.len - 8) * 8; bit++) {
		p = good;
		p.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		T(give_checked(&r.b, &p) != ICE_RX_OK);
	}
	T_EQ(give_checked(&r.b, &good), ICE_RX_OK);
}

static void test_response_rules(void)
{
	struct rig_pkt req, rsp = {0};
	struct ice_tx tx;

	connected();
	req = next_check(&r.a);
	T_EQ(rig_give(&r.b, &req, r.now), ICE_RX_OK);
	T(ice_poll_tx(&r.b, &tx, r.now));
	rsp.local = tx.remote;
	rsp.remote = tx.local;
	rsp.len = tx.len;
	memcpy(rsp.data, tx.buf, tx.len);
	for (size_t bit = 64; bit < (rsp.len - 8) * 8; bit++) {
		struct rig_pkt p = rsp;

		p.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		T(give_checked(&r.a, &p) != ICE_RX_OK);
	}
	/* Unknown transaction id: not even looked at further. */
	rsp.data[19] ^= 1;
	T_EQ(give_checked(&r.a, &rsp), ICE_RX_NOT_MINE);
	rsp.data[19] ^= 1;
	/* To an address that is not ours. */
	rsp.local = ep("192.0.2.77:1");
	T_EQ(give_checked(&r.a, &rsp), ICE_RX_NO_LOCAL);
	rsp.local = ep(A1);
	T_EQ(give_checked(&r.a, &rsp), ICE_RX_OK);
	/* A duplicate changes no more. */
	T_EQ(rig_give(&r.a, &rsp, r.now), ICE_RX_OK);
	T(rig_connected(&r));
}

static void test_unknown_local(void)
{
	struct rig_pkt p;

	connected();
	p = next_check(&r.a);
	p.local = ep("198.51.100.99:2000");
	T_EQ(give_checked(&r.b, &p), ICE_RX_NO_LOCAL);
	T_EQ(r.b.n_replies, 0);
	p.local = ep("198.51.100.1:2001");
	T_EQ(give_checked(&r.b, &p), ICE_RX_NO_LOCAL);
}

/* No reply on an invalidated candidate, on either end. */
static void test_no_reply_when_invalidated(void)
{
	struct rig_pkt p;
	struct ice_cand c;

	connected();
	p = next_check(&r.a);
	c = r.a.locals[0];
	T(ice_remove_remote(&r.b, &c, r.now));
	T_EQ(give_checked(&r.b, &p), ICE_RX_DISCARDED);
	T_EQ(r.b.n_replies, 0);
	T_EQ(ice_n_pairs(&r.b), 0);
	connected();
	p = next_check(&r.a);
	c = r.b.locals[0];
	T(ice_remove_local(&r.b, &c, r.now));
	T_EQ(give_checked(&r.b, &p), ICE_RX_DISCARDED);
	T_EQ(r.b.n_replies, 0);
}

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

		T_EQ(give_checked(&r.b, &p), ICE_RX_FULL);
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
		T_EQ(give_checked(&r.b, &p), i < ICE_REMOTES_MAX ? ICE_RX_OK : ICE_RX_FULL);
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

/* Both believe to control, or neither: the tie-breaker settles it and they connect. */
static void role_conflict(bool controlling)
{
	struct ice_cfg ca, cb;
	uint8_t sa[32] = {3}, sb[32] = {4};

	rig_init(&r);
	ca = rig_cfg(true);
	cb = rig_cfg(false);
	ca.controlling = cb.controlling = controlling;
	T_EQ(ice_init(&r.a, &ca, sa, r.now), 0);
	T_EQ(ice_init(&r.b, &cb, sb, r.now), 0);
	rig_add_a(&r, host(A1));
	rig_add_b(&r, host(B1));
	rig_run(&r, 5 * NS_PER_SEC);
	T(rig_connected(&r));
	T(r.a.controlling != r.b.controlling);
	T(r.a.controlling == (r.a.tie_breaker > r.b.tie_breaker));
	T(r.a.acct.role_switches + r.b.acct.role_switches >= 1);
	rig_run(&r, 30 * NS_PER_SEC);
	T(rig_connected(&r));
	T(r.a.acct.role_switches + r.b.acct.role_switches <= 2);
}

static void test_role_conflict(void)
{
	role_conflict(true);
	role_conflict(false);
}

/* The controlled side may not nominate. */
static void test_use_candidate_from_controlled(void)
{
	struct rig_pkt p;

	connected();
	p = craft(&(struct spec){.username = "aaaa:bbbb",
				 .pwd = "password-of-a-22-chars",
				 .prio = 1,
				 .controlled = true,
				 .use_candidate = true});
	p.local = ep(A1);
	p.remote = ep(B1);
	T_EQ(give_checked(&r.a, &p), ICE_RX_IGNORED);
	T_EQ(r.a.n_replies, 0);
}

static void test_unknown_attribute_answer(void)
{
	struct rig_pkt p = {0};
	struct ice_tx tx;
	struct stun_msg m;
	unsigned code = 0;
	const uint8_t *v;
	size_t n;

	connected();
	p = craft(&(struct spec){.username = "bbbb:aaaa",
				 .pwd = "password-of-b-22-chars",
				 .prio = 1,
				 .unknown = 0x7abc});
	T_EQ(rig_give(&r.b, &p, r.now), ICE_RX_IGNORED);
	T(ice_poll_tx(&r.b, &tx, r.now));
	T_EQ(stun_decode(&m, tx.buf, tx.len), STUN_OK);
	T_EQ(m.cls, STUN_ERROR);
	T(stun_error_code(&m, &code) && code == 420);
	v = stun_bytes(&m, STUN_A_UNKNOWN_ATTRIBUTES, &n);
	T(v && n == 2 && be16_get(v) == 0x7abc);
	T(stun_integrity_ok(&m, "password-of-b-22-chars", 22) && stun_fingerprint_ok(&m));
}

/* What our checks carry. */
static void test_check_contents(void)
{
	struct ice_peek peek;
	struct rig_pkt p;
	struct stun_msg m;
	uint32_t prio = 0;
	uint64_t tie = 0;
	size_t n;

	connected();
	p = next_check(&r.a);
	T_EQ(stun_decode(&m, p.data, p.len), STUN_OK);
	T(stun_bytes(&m, STUN_A_USERNAME, &n) && n == 9 &&
	  !memcmp(stun_bytes(&m, STUN_A_USERNAME, &n), "bbbb:aaaa", 9));
	T(stun_u32(&m, STUN_A_PRIORITY, &prio) && prio == ((110U << 24) | (2130706175 & 0xffffff)));
	T(stun_u64(&m, STUN_A_ICE_CONTROLLING, &tie) && tie == r.a.tie_breaker);
	T(!stun_has(&m, STUN_A_ICE_CONTROLLED));
	T(stun_has(&m, STUN_A_USE_CANDIDATE));
	T(stun_fingerprint_ok(&m));
	T(ice_peek(p.data, p.len, &peek) && !peek.response);
	T_STR(peek.ufrag, "bbbb");
	p = r.last_to_b;
	p = next_check(&r.b);
	T_EQ(stun_decode(&m, p.data, p.len), STUN_OK);
	T(stun_has(&m, STUN_A_ICE_CONTROLLED) && !stun_has(&m, STUN_A_USE_CANDIDATE));
	T_EQ(rig_give(&r.a, &p, r.now), ICE_RX_OK);
	{
		struct ice_tx tx;

		T(ice_poll_tx(&r.a, &tx, r.now));
		T(ice_peek(tx.buf, tx.len, &peek) && peek.response);
		T_EQ(peek.tag, r.b.tag);
	}
	T(!ice_peek((const uint8_t *)"hello", 5, &peek));
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

static void test_bad_config(void)
{
	struct ice_cfg c = rig_cfg(true);
	uint8_t seed[32] = {0};

	rig_init(&r);
	memset(c.local.ufrag, 0, sizeof(c.local.ufrag));
	T_EQ(ice_init(&r.a, &c, seed, 0), -EINVAL);
	c = rig_cfg(true);
	memset(c.remote.pwd, 'x', sizeof(c.remote.pwd));
	T_EQ(ice_init(&r.a, &c, seed, 0), -EINVAL);
	c = rig_cfg(true);
	c.local.ufrag[1] = ':';
	T_EQ(ice_init(&r.a, &c, seed, 0), -EINVAL);
	c = rig_cfg(true);
	c.timing.max_rto_ns = 1;
	T_EQ(ice_init(&r.a, &c, seed, 0), -EINVAL);
}

static void test_fini_wipes(void)
{
	static const struct ice_creds none;

	connected();
	ice_fini(&r.a);
	T_MEM(&r.a.local_creds, &none, sizeof(none));
	T_MEM(&r.a.remote_creds, &none, sizeof(none));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_verdicts);
	T_RUN(test_reject_is_no_op);
	T_RUN(test_response_rules);
	T_RUN(test_unknown_local);
	T_RUN(test_no_reply_when_invalidated);
	T_RUN(test_identity);
	T_RUN(test_text_entry);
	T_RUN(test_invalid_addresses);
	T_RUN(test_identical_host_and_srflx);
	T_RUN(test_redundant_pairs);
	T_RUN(test_discarded_not_paired);
	T_RUN(test_pair_limit);
	T_RUN(test_tables_full);
	T_RUN(test_prflx_flood);
	T_RUN(test_events_bounded);
	T_RUN(test_role_conflict);
	T_RUN(test_use_candidate_from_controlled);
	T_RUN(test_unknown_attribute_answer);
	T_RUN(test_check_contents);
	T_RUN(test_optimistic);
	T_RUN(test_bad_config);
	T_RUN(test_fini_wipes);
	return t_done();
}
