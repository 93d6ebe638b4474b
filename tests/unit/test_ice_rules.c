/* SPDX-License-Identifier: Apache-2.0
 * Rules about single datagrams and about roles; what an agent sends. */
#include "tests/unit/ice_craft.h"

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
		if (!T_EQ(give_checked(&r.b, &p, r.now), rows[i].want))
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
		T_EQ(give_checked(&r.b, &p, r.now), ICE_RX_MALFORMED);
	}
	for (size_t bit = 0; bit < (good.len - 8) * 8; bit++) {
		p = good;
		p.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		T(give_checked(&r.b, &p, r.now) != ICE_RX_OK);
	}
	T_EQ(give_checked(&r.b, &good, r.now), ICE_RX_OK);
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
		T(give_checked(&r.a, &p, r.now) != ICE_RX_OK);
	}
	/* Unknown transaction id: not even looked at further. */
	rsp.data[19] ^= 1;
	T_EQ(give_checked(&r.a, &rsp, r.now), ICE_RX_NOT_MINE);
	rsp.data[19] ^= 1;
	/* To an address that is not ours. */
	rsp.local = ep("192.0.2.77:1");
	T_EQ(give_checked(&r.a, &rsp, r.now), ICE_RX_NO_LOCAL);
	rsp.local = ep(A1);
	T_EQ(give_checked(&r.a, &rsp, r.now), ICE_RX_OK);
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
	T_EQ(give_checked(&r.b, &p, r.now), ICE_RX_NO_LOCAL);
	T_EQ(r.b.n_replies, 0);
	p.local = ep("198.51.100.1:2001");
	T_EQ(give_checked(&r.b, &p, r.now), ICE_RX_NO_LOCAL);
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
	T_EQ(give_checked(&r.b, &p, r.now), ICE_RX_DISCARDED);
	T_EQ(r.b.n_replies, 0);
	T_EQ(ice_n_pairs(&r.b), 0);
	connected();
	p = next_check(&r.a);
	c = r.b.locals[0];
	T(ice_remove_local(&r.b, &c, r.now));
	T_EQ(give_checked(&r.b, &p, r.now), ICE_RX_DISCARDED);
	T_EQ(r.b.n_replies, 0);
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
	T_EQ(give_checked(&r.a, &p, r.now), ICE_RX_IGNORED);
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
	T_RUN(test_role_conflict);
	T_RUN(test_use_candidate_from_controlled);
	T_RUN(test_unknown_attribute_answer);
	T_RUN(test_check_contents);
	T_RUN(test_bad_config);
	T_RUN(test_fini_wipes);
	return t_done();
}
