/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests to a relay that has no allocation for them yet: what is answered at all, credentials and
 * their order, Allocate with its errors and lifetimes. */
#include "tests/relay_world.h"

#define C1 rw_ep("192.0.2.1:1000")
#define C2 rw_ep("192.0.2.2:2000")
#define C6 rw_ep("[2001:db8:c::1]:6000")

#define SEC NS_PER_SEC

static const char stamp_user[] = "1900000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY";

static void test_binding(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_ask(STUN_BINDING, C1);
	struct endpoint e;

	T_EQ(rw_go(w, &a), 0);
	T(stun_xor_addr(&w->m, STUN_A_XOR_MAPPED_ADDRESS, &e) && endpoint_eq(&e, &a.client));
	T(endpoint_eq(&w->tx.local, &w->at4));
	T_EQ(w->tx.len, 32);
	T_EQ(w->tx.to, RELAY_TO_CLIENT);
	T_EQ(w->n_events, 0);
	a.client = C6;
	a.fingerprint = true;
	T_EQ(rw_go(w, &a), 0);
	T(stun_xor_addr(&w->m, STUN_A_XOR_MAPPED_ADDRESS, &e) && endpoint_eq(&e, &a.client));
	T(stun_fingerprint_ok(&w->m));
	T_EQ(w->tx.len, 20 + 24 + 8);
	T_EQ(w->r.acct.ok[RELAY_M_BINDING], 2);
	/* A wrong fingerprint: not STUN at all, as far as we can tell. */
	w->req[w->req_len - 1] ^= 1;
	T_EQ(rw_input(w, &a.client, w->req, w->req_len), RELAY_RX_MALFORMED);
	T(!w->sent);
	rw_free(w);
}

static void test_what_is_not_answered(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_ask(STUN_BINDING, C1);
	struct endpoint zero = rw_ep("192.0.2.1:0"), c1 = C1;

	T_EQ(rw_input(w, &c1, "", 0), RELAY_RX_EMPTY);
	T_EQ(rw_input(w, &c1, "\x04zzzzzzzzzzzzzzzzzzz", 20), RELAY_RX_NOT_TURN);
	T_EQ(rw_input(w, &c1, "\x80zzzzzzzzzzzzzzzzzzz", 20), RELAY_RX_NOT_TURN);
	T_EQ(rw_input(w, &c1, "\x00\x01", 2), RELAY_RX_MALFORMED);
	T_EQ(rw_input(w, &c1, "\x40\x00\x00", 3), RELAY_RX_MALFORMED);
	T_EQ(rw_input(w, &c1, "\x40\x00\x00\x00", 4), RELAY_RX_NO_ALLOC);
	rw_build(w, &a);
	T_EQ(rw_input(w, &c1, w->req, w->req_len - 1), RELAY_RX_MALFORMED);
	T_EQ(rw_input(w, &zero, w->req, w->req_len), RELAY_RX_EMPTY);
	w->req[4] ^= 1;
	T_EQ(rw_input(w, &c1, w->req, w->req_len), RELAY_RX_MALFORMED);
	T(!w->sent);
	a.cls = STUN_INDICATION;
	T_EQ(rw_go(w, &a), -1);
	T_EQ(w->rx, RELAY_RX_IGNORED);
	a.cls = STUN_SUCCESS;
	T_EQ(rw_go(w, &a), -1);
	T_EQ(w->rx, RELAY_RX_IGNORED);
	a.cls = STUN_ERROR;
	T_EQ(rw_go(w, &a), -1);
	T_EQ(w->rx, RELAY_RX_IGNORED);
	T(!w->sent);
	rw_free(w);
}

static void test_bad_requests(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_ask((enum stun_method)0x00a, C1);
	struct endpoint c1 = C1;

	T_EQ(rw_go(w, &a), 400);
	T(!stun_has(&w->m, STUN_A_MESSAGE_INTEGRITY));
	/* An attribute of an illegal length. */
	a = rw_ask(STUN_REFRESH, C1);
	rw_bytes(&a, STUN_A_LIFETIME, "abc", 3);
	rw_build(w, &a);
	T_EQ(rw_input(w, &c1, w->req, w->req_len), RELAY_RX_REFUSED);
	T(w->sent && w->is_stun && w->m.cls == STUN_ERROR);
	T_EQ(w->tx.len, 28);
	/* Without REQUESTED-TRANSPORT not even the credentials are looked at. */
	a = rw_ask(STUN_ALLOCATE, C1);
	T_EQ(rw_go(w, &a), 400);
	T(!stun_has(&w->m, STUN_A_MESSAGE_INTEGRITY));
	T_EQ(w->r.acct.errors[0], 3);
	rw_free(w);
}

/* The order of relay.md §1.4. */
static void test_credentials_order(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1);
	char stale[RELAY_NONCE_LEN + 1];
	const struct endpoint c2 = C2;
	const uint8_t *nonce;
	size_t len;

	relay_nonce_make(w->r.nonce_key, &c2, stale, w->now);
	a.no_mi = true;
	T_EQ(rw_go(w, &a), 401);
	T(stun_has(&w->m, STUN_A_REALM) && stun_has(&w->m, STUN_A_NONCE));
	T(!stun_has(&w->m, STUN_A_MESSAGE_INTEGRITY));
	T(!stun_has(&w->m, STUN_A_SOFTWARE));
	a.no_mi = false;
	a.user = "";
	T_EQ(rw_go(w, &a), 401);
	a.user = NULL;
	a.nonce = "";
	T_EQ(rw_go(w, &a), 401);
	a.nonce = "5fbcb2a1-6a3b-4f4c-8b1e-0123456789ab";
	T_EQ(rw_go(w, &a), 401);
	/* A stale nonce comes before expiry and before a wrong password. */
	a.nonce = stale;
	a.bad_mi = true;
	T_EQ(rw_go(w, &a), 438);
	T(stun_has(&w->m, STUN_A_REALM) && stun_has(&w->m, STUN_A_NONCE));
	a.user = "1:salt";
	T_EQ(rw_go(w, &a), 438);
	a.nonce = NULL;
	a.bad_mi = false;
	T_EQ(rw_go(w, &a), 401);
	a.user = "carol";
	a.password = "x";
	T_EQ(rw_go(w, &a), 401);
	a.user = a.password = NULL;
	a.bad_mi = true;
	T_EQ(rw_go(w, &a), 401);
	T_EQ(relay_n_allocs(&w->r), 0);
	/* The nonce we are given is the one that works. */
	nonce = stun_bytes(&w->m, STUN_A_NONCE, &len);
	T_EQ(len, RELAY_NONCE_LEN);
	memcpy(stale, nonce, RELAY_NONCE_LEN);
	a.nonce = stale;
	a.bad_mi = false;
	T_EQ(rw_go(w, &a), 0);
	T_EQ(relay_n_allocs(&w->r), 1);
	rw_free(w);
}

/* A portal's client verifies also the 401 that greets it; a guessable password signs nothing. */
static void test_errors_are_signed_for_the_stamp_only(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1);

	a.user = stamp_user;
	a.nonce = "";
	T_EQ(rw_go(w, &a), 401);
	T(rw_signed(w, stamp_user));
	a.nonce = "AAAAAAAAAAAAAAAAAAAA";
	T_EQ(rw_go(w, &a), 438);
	T(rw_signed(w, stamp_user));
	a.nonce = NULL;
	a.bad_mi = true;
	T_EQ(rw_go(w, &a), 401);
	T(rw_signed(w, stamp_user));
	a.no_mi = true;
	T_EQ(rw_go(w, &a), 401);
	T(!stun_has(&w->m, STUN_A_MESSAGE_INTEGRITY));
	a.no_mi = false;
	a.user = RW_ALICE;
	T_EQ(rw_go(w, &a), 401);
	T(!stun_has(&w->m, STUN_A_MESSAGE_INTEGRITY));
	a.user = "1900000000";
	T_EQ(rw_go(w, &a), 401);
	T(!stun_has(&w->m, STUN_A_MESSAGE_INTEGRITY));
	rw_free(w);
}

static void test_nonce_of_another_socket_and_hour(void)
{
	struct rw *w = rw_new(NULL);
	char nonce[RELAY_NONCE_LEN + 1];
	const struct endpoint c1 = C1;
	struct rw_ask a = rw_alloc_ask(C1), f = rw_ask(STUN_REFRESH, C1);

	relay_nonce_make(w->r.nonce_key, &c1, nonce, w->now);
	a.nonce = f.nonce = nonce;
	rw_u32(&a, STUN_A_LIFETIME, 3600);
	rw_u32(&f, STUN_A_LIFETIME, 3600);
	T_EQ(rw_go(w, &a), 0);
	rw_pass(w, 3000 * SEC);
	T_EQ(rw_go(w, &f), 0);
	f.client = C2;
	T_EQ(rw_go(w, &f), 438);
	f.client = C1;
	rw_pass(w, 601 * SEC);
	T_EQ(rw_go(w, &f), 438);
	f.nonce = NULL;
	T_EQ(rw_go(w, &f), 0);
	rw_free(w);
}

static void test_unknown_attributes(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_ask(STUN_BINDING, C1);
	size_t len;
	const uint8_t *p;

	rw_u32(&a, (enum stun_attr_type)0x7001, 0);
	rw_u32(&a, (enum stun_attr_type)0xf001, 0);
	rw_u32(&a, (enum stun_attr_type)0x7002, 0);
	T_EQ(rw_go(w, &a), 420);
	p = stun_bytes(&w->m, STUN_A_UNKNOWN_ATTRIBUTES, &len);
	T(p && len == 4 && !memcmp(p, "\x70\x01\x70\x02", 4));
	/* After the credentials. */
	a.method = STUN_REFRESH;
	a.bad_mi = true;
	T_EQ(rw_go(w, &a), 401);
	a.bad_mi = false;
	T_EQ(rw_go(w, &a), 420);
	T(rw_signed(w, RW_ALICE));
	/* One that is optional to comprehend is nothing. */
	a = rw_alloc_ask(C1);
	rw_u32(&a, (enum stun_attr_type)0x8030, 0);
	T_EQ(rw_go(w, &a), 0);
	rw_free(w);
}

static void test_allocate_answer(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1);
	struct endpoint v4, v6, mapped;
	uint32_t lifetime;

	rw_u32(&a, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2U << 24);
	a.fingerprint = true;
	T_EQ(rw_go(w, &a), 0);
	T(rw_signed(w, RW_ALICE) && stun_fingerprint_ok(&w->m));
	T_EQ(stun_count(&w->m, STUN_A_XOR_RELAYED_ADDRESS), 2);
	T(stun_xor_addr_nth(&w->m, STUN_A_XOR_RELAYED_ADDRESS, 0, &v4));
	T(stun_xor_addr_nth(&w->m, STUN_A_XOR_RELAYED_ADDRESS, 1, &v6));
	T(ipaddr_eq(&v4.ip, &w->r.cfg.public4) && ipaddr_eq(&v6.ip, &w->r.cfg.public6));
	T(v4.port == v6.port && v4.port >= RELAY_PORT_LO);
	T(stun_xor_addr(&w->m, STUN_A_XOR_MAPPED_ADDRESS, &mapped));
	T(endpoint_eq(&mapped, &a.client));
	T(stun_u32(&w->m, STUN_A_LIFETIME, &lifetime) && lifetime == 600);
	T_EQ(w->m.attrs[0].type, STUN_A_SOFTWARE);
	T_EQ(w->m.attrs[1].type, STUN_A_XOR_RELAYED_ADDRESS);
	T_EQ(w->m.attrs[3].type, STUN_A_XOR_MAPPED_ADDRESS);
	T_EQ(w->m.attrs[4].type, STUN_A_LIFETIME);
	T_EQ(w->m.attrs[5].type, STUN_A_MESSAGE_INTEGRITY);
	T_EQ(w->n_events, 1);
	T_EQ(w->events[0].kind, RELAY_EV_ALLOC_ADD);
	T_EQ(w->events[0].port, v4.port);
	T_EQ(w->events[0].families, RELAY_F4 | RELAY_F6);
	T_EQ(w->events[0].alloc, w->tx.alloc);
	T(endpoint_eq(&w->events[0].client, &a.client));
	T(endpoint_eq(&w->events[0].local, &w->at4));
	rw_free(w);
}

static void test_retransmitted_allocate(void)
{
	struct rw *w = rw_new(NULL);
	struct stun_tid tid = {"retransmitte"};
	struct rw_ask a = rw_alloc_ask(C1);
	struct endpoint first, again;

	a.tid = &tid;
	T_EQ(rw_go(w, &a), 0);
	stun_xor_addr(&w->m, STUN_A_XOR_RELAYED_ADDRESS, &first);
	T_EQ(rw_go(w, &a), 0);
	stun_xor_addr(&w->m, STUN_A_XOR_RELAYED_ADDRESS, &again);
	T(endpoint_eq(&first, &again));
	T_EQ(w->n_events, 0);
	T_EQ(relay_n_allocs(&w->r), 1);
	/* Another user, or another transaction: that is a mismatch. */
	a.user = "bob";
	T_EQ(rw_go(w, &a), 437);
	a.user = NULL;
	a.tid = NULL;
	T_EQ(rw_go(w, &a), 437);
	T(rw_signed(w, RW_ALICE));
	rw_free(w);
}

/* The table of relay.md §1.5; have: RELAY_F*, req/add: 0 none, 4, 6. */
static void family_case(uint8_t have, uint8_t req, uint8_t add, int code, uint8_t got)
{
	struct relay_cfg c = rw_cfg();
	struct rw_ask a = rw_alloc_ask(C1);
	struct rw *w;

	if (!(have & RELAY_F4))
		c.public4 = (struct ipaddr){0};
	if (!(have & RELAY_F6))
		c.public6 = (struct ipaddr){0};
	w = rw_new(&c);
	if (req)
		rw_u32(&a, STUN_A_REQUESTED_ADDRESS_FAMILY, (req == 4 ? 1U : 2U) << 24);
	if (add)
		rw_u32(&a, STUN_A_ADDITIONAL_ADDRESS_FAMILY, (add == 4 ? 1U : 2U) << 24);
	T_EQ(rw_go(w, &a), code);
	T_EQ(w->n_events, code ? 0 : 1);
	if (!code) {
		uint32_t err;

		T_EQ(w->events[0].families, got);
		T_EQ(stun_count(&w->m, STUN_A_XOR_RELAYED_ADDRESS), got == 3 ? 2 : 1);
		T_EQ(stun_has(&w->m, STUN_A_ADDRESS_ERROR_CODE), add && got != 3);
		if (stun_u32(&w->m, STUN_A_ADDRESS_ERROR_CODE, &err))
			T_EQ(err, (got == RELAY_F4 ? 2U : 1U) << 24 | 4 << 8 | 40);
	}
	rw_free(w);
}

static void test_families(void)
{
	const uint8_t four = RELAY_F4, six = RELAY_F6, both = RELAY_F4 | RELAY_F6;

	family_case(four, 0, 0, 0, four);
	family_case(both, 0, 0, 0, four);
	family_case(four, 4, 0, 0, four);
	family_case(both, 4, 0, 0, four);
	family_case(six, 6, 0, 0, six);
	family_case(both, 6, 0, 0, six);
	family_case(both, 0, 6, 0, both);
	family_case(four, 0, 6, 0, four);
	family_case(six, 0, 6, 0, six);
	for (uint8_t have = four; have <= both; have++) {
		family_case(have, 4, 6, 400, 0);
		family_case(have, 6, 6, 400, 0);
		family_case(have, 0, 4, 400, 0);
	}
	family_case(six, 0, 0, 440, 0);
	family_case(six, 4, 0, 440, 0);
	family_case(four, 6, 0, 440, 0);
}

static void test_transport(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_ask(STUN_ALLOCATE, C1);

	rw_u32(&a, STUN_A_REQUESTED_TRANSPORT, 6U << 24);
	T_EQ(rw_go(w, &a), 442);
	T(rw_signed(w, RW_ALICE));
	/* An existing allocation comes first. */
	T(rw_allocate(w, C1, NULL));
	T_EQ(rw_go(w, &a), 437);
	rw_free(w);
}

static void test_dont_fragment(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw *w = rw_new(&c);
	struct rw_ask a = rw_alloc_ask(C1);
	const uint8_t *p;
	size_t len;

	rw_bytes(&a, STUN_A_DONT_FRAGMENT, "", 0);
	T_EQ(rw_go(w, &a), 420);
	p = stun_bytes(&w->m, STUN_A_UNKNOWN_ATTRIBUTES, &len);
	T(p && len == 2 && !memcmp(p, "\x00\x1a", 2));
	rw_free(w);
	c.dont_fragment = true;
	w = rw_new(&c);
	T_EQ(rw_go(w, &a), 0);
	rw_free(w);
}

static void test_even_port_and_reservation(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1), b = rw_alloc_ask(C2);
	uint8_t token[8];
	const uint8_t *p;
	struct endpoint e;
	size_t len;

	rw_bytes(&a, STUN_A_EVEN_PORT, "\x00", 1);
	T_EQ(rw_go(w, &a), 0);
	T(!(w->events[0].port & 1));
	T(!stun_has(&w->m, STUN_A_RESERVATION_TOKEN));
	T_EQ(rw_refresh(w, C1, NULL, 0), 0);
	a.attrs[1].p = "\x80";
	T_EQ(rw_go(w, &a), 0);
	stun_xor_addr(&w->m, STUN_A_XOR_RELAYED_ADDRESS, &e);
	T(!(e.port & 1));
	p = stun_bytes(&w->m, STUN_A_RESERVATION_TOKEN, &len);
	T(p && len == sizeof(token));
	if (!p)
		return;
	memcpy(token, p, sizeof(token));
	T(!relay_ports_is_free(&w->r.table.ports, e.port + 1U));
	/* Nobody else gets it, not by a wrong token either. */
	rw_bytes(&b, STUN_A_RESERVATION_TOKEN, "\x00\x00\x00\x00\x00\x00\x00\x00", 8);
	T_EQ(rw_go(w, &b), 508);
	b.attrs[1].p = token;
	T_EQ(rw_go(w, &b), 0);
	T_EQ(w->events[0].port, e.port + 1);
	/* Used up. */
	b.client = rw_ep("192.0.2.3:1");
	T_EQ(rw_go(w, &b), 508);
	rw_free(w);
}

static void test_reservation_rules(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1);
	uint16_t port;
	uint8_t token[8];
	const uint8_t *p;
	size_t len;

	rw_bytes(&a, STUN_A_EVEN_PORT, "\x80", 1);
	rw_u32(&a, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2U << 24);
	T_EQ(rw_go(w, &a), 400);
	a.n = 2;
	rw_bytes(&a, STUN_A_RESERVATION_TOKEN, "12345678", 8);
	T_EQ(rw_go(w, &a), 400);
	a.n = 1;
	rw_bytes(&a, STUN_A_RESERVATION_TOKEN, "12345678", 8);
	rw_u32(&a, STUN_A_REQUESTED_ADDRESS_FAMILY, 1U << 24);
	T_EQ(rw_go(w, &a), 400);
	a.n = 1;
	rw_bytes(&a, STUN_A_EVEN_PORT, "\x80", 1);
	T_EQ(rw_go(w, &a), 0);
	port = w->events[0].port;
	p = stun_bytes(&w->m, STUN_A_RESERVATION_TOKEN, &len);
	T(p);
	if (p)
		memcpy(token, p, sizeof(token));
	/* The reservation outlives the allocation, but not 30 s. */
	T_EQ(rw_refresh(w, C1, NULL, 0), 0);
	T(!relay_ports_is_free(&w->r.table.ports, port + 1U));
	rw_pass(w, 30 * SEC);
	T(relay_ports_is_free(&w->r.table.ports, port + 1U));
	a = rw_alloc_ask(C1);
	rw_bytes(&a, STUN_A_RESERVATION_TOKEN, token, 8);
	T_EQ(rw_go(w, &a), 508);
	rw_free(w);
}

/* What Allocate and Refresh grant for a wish; UINT32_MAX: without LIFETIME. */
static void lifetime_case(uint32_t wish, uint32_t granted, uint32_t refreshed)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1), f = rw_ask(STUN_REFRESH, C1);
	uint32_t got = 0;

	if (wish != UINT32_MAX) {
		rw_u32(&a, STUN_A_LIFETIME, wish);
		rw_u32(&f, STUN_A_LIFETIME, wish);
	}
	T_EQ(rw_go(w, &a), 0);
	T(stun_u32(&w->m, STUN_A_LIFETIME, &got));
	T_EQ(got, granted);
	T_EQ(relay_deadline(&w->r).at, w->now + granted * SEC);
	rw_pass(w, (granted - 1) * SEC);
	T_EQ(rw_go(w, &f), 0);
	T(stun_u32(&w->m, STUN_A_LIFETIME, &got));
	T_EQ(got, refreshed);
	T_EQ(relay_deadline(&w->r).at, refreshed ? w->now + refreshed * SEC : TIME_NEVER);
	rw_pass(w, refreshed * SEC);
	T_EQ(relay_n_allocs(&w->r), 0);
	T_EQ(w->n_events, refreshed ? 1 : 0);
	rw_free(w);
}

static void test_lifetimes(void)
{
	lifetime_case(UINT32_MAX, 600, 600);
	lifetime_case(0, 600, 0);
	lifetime_case(1, 1, 1);
	lifetime_case(777, 777, 777);
	lifetime_case(3600, 3600, 3600);
	lifetime_case(3601, 3600, 3600);
	lifetime_case(0xfffffffe, 3600, 3600);
}

/* relay_answer says what relay_input says, and changes nothing. */
static void test_answer_without_state(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1), b = rw_ask(STUN_BINDING, C1);
	static struct relay_tx tx;
	static struct relay before;

	memcpy(&before, &w->r, sizeof(before));
	rw_build(w, &b);
	w->in = (struct relay_dgram){
		.local = w->at4, .client = C1, .data = w->req, .len = w->req_len};
	T_EQ(relay_answer(&w->r, &w->in, w->unix_s, w->now, &tx), RELAY_RX_DONE);
	T_EQ(tx.len, 32);
	a.bad_mi = true;
	rw_build(w, &a);
	w->in.len = w->req_len;
	T_EQ(relay_answer(&w->r, &w->in, w->unix_s, w->now, &tx), RELAY_RX_REFUSED);
	T(tx.len);
	a.bad_mi = false;
	rw_build(w, &a);
	w->in.len = w->req_len;
	T_EQ(relay_answer(&w->r, &w->in, w->unix_s, w->now, &tx), RELAY_RX_STATE);
	T_EQ(tx.len, 0);
	T_MEM(&before, &w->r, sizeof(before));
	rw_free(w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_binding);
	T_RUN(test_what_is_not_answered);
	T_RUN(test_bad_requests);
	T_RUN(test_credentials_order);
	T_RUN(test_errors_are_signed_for_the_stamp_only);
	T_RUN(test_nonce_of_another_socket_and_hour);
	T_RUN(test_unknown_attributes);
	T_RUN(test_allocate_answer);
	T_RUN(test_retransmitted_allocate);
	T_RUN(test_families);
	T_RUN(test_transport);
	T_RUN(test_dont_fragment);
	T_RUN(test_even_port_and_reservation);
	T_RUN(test_reservation_rules);
	T_RUN(test_lifetimes);
	T_RUN(test_answer_without_state);
	return t_done();
}
