/* SPDX-License-Identifier: Apache-2.0
 *
 * One TURN client and, in the test's own hands, its relay: what the client sends is kept until the
 * test takes and answers it. */
#ifndef PENSTOCK_TURN_RIG_H
#define PENSTOCK_TURN_RIG_H
#include <stdlib.h>

#include "core/turn/turn_int.h"
#include "crypto/crypto.h"
#include "tests/t.h"

#define RIG_OUT	   256
#define RIG_EVENTS 64
#define RIG_RTT	   (10 * NS_PER_MS)
#define KEEP	   0xffffffffu /* LIFETIME left out */

struct rig {
	struct turn t;
	uint64_t now;
	struct endpoint server4, server6, local4, local6;
	uint8_t key[MD5_LEN];
	struct turn_tx out[RIG_OUT];
	unsigned n_out;
	struct turn_event ev[RIG_EVENTS];
	unsigned n_ev;
	bool fingerprint; /* the relay adds FINGERPRINT */
};

static struct rig rig;

static inline struct endpoint ep(const char *text)
{
	struct endpoint e = {0};

	if (endpoint_parse(text, &e))
		abort();
	return e;
}

static inline void rig_drive(void)
{
	struct turn_event ev;

	turn_timeout(&rig.t, rig.now);
	while (rig.n_out < RIG_OUT && turn_poll_tx(&rig.t, &rig.out[rig.n_out], rig.now))
		rig.n_out++;
	while (turn_poll_event(&rig.t, &ev, rig.now))
		if (rig.n_ev < RIG_EVENTS)
			rig.ev[rig.n_ev++] = ev;
	T(turn_deadline(&rig.t).at > rig.now);
}

/* Time passes, every wish to be woken honoured. */
static inline void rig_run(uint64_t span)
{
	uint64_t end = rig.now + span;

	rig_drive();
	while (turn_deadline(&rig.t).at <= end) {
		rig.now = turn_deadline(&rig.t).at;
		rig_drive();
	}
	rig.now = end;
	rig_drive();
}

static inline struct turn_cfg rig_cfg(const char *addr4, const char *addr6)
{
	struct turn_cfg c = {
		.username = "1892160000:salt", .password = "secret", .realm = "firezone"};

	if (addr4)
		c.addr4 = ep(addr4);
	if (addr6)
		c.addr6 = ep(addr6);
	return c;
}

static inline void rig_key(const char *user_realm_password)
{
	md5(user_realm_password, strlen(user_realm_password), rig.key);
}

static inline void rig_start(const struct turn_cfg *c)
{
	uint8_t seed[32] = {7};

	memset(&rig, 0, sizeof(rig));
	if (crypto_init())
		abort();
	rig.now = 1000 * NS_PER_SEC;
	rig.server4 = c->addr4;
	rig.server6 = c->addr6;
	rig.local4 = ep("192.0.2.7:52625");
	rig.local6 = ep("[2001:db8::7]:52625");
	rig_key("1892160000:salt:firezone:secret");
	T_EQ(turn_init(&rig.t, c, seed, rig.now), 0);
	rig_drive();
}

static inline void rig_init(const char *addr4, const char *addr6)
{
	struct turn_cfg c = rig_cfg(addr4, addr6);

	rig_start(&c);
}

/* ---- what the client sent ---- */

static inline unsigned rig_method(const struct turn_tx *tx)
{
	struct stun_msg m;

	return stun_decode(&m, tx->buf, tx->len) == STUN_OK ? m.method : 0;
}

/* How many of that method are untaken; 0: any. */
static inline unsigned rig_count(unsigned method)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rig.n_out; i++)
		n += !method || rig_method(&rig.out[i]) == method;
	return n;
}

/* The oldest of that method; a failed check and a zeroed one if there is none. */
static inline struct turn_tx rig_take(unsigned method)
{
	struct turn_tx tx = {0};

	for (unsigned i = 0; i < rig.n_out; i++) {
		if (rig_method(&rig.out[i]) != method)
			continue;
		tx = rig.out[i];
		memmove(&rig.out[i], &rig.out[i + 1], (rig.n_out - i - 1) * sizeof(tx));
		rig.n_out--;
		return tx;
	}
	T(!"sent such a request");
	return tx;
}

static inline void rig_drop_out(void)
{
	rig.n_out = 0;
}

static inline bool tx_has(const struct turn_tx *tx, enum stun_attr_type type)
{
	struct stun_msg m;

	return stun_decode(&m, tx->buf, tx->len) == STUN_OK && stun_has(&m, type);
}

static inline uint16_t tx_channel(const struct turn_tx *tx)
{
	struct stun_msg m;
	uint32_t v = 0;

	T_EQ(stun_decode(&m, tx->buf, tx->len), STUN_OK);
	T(stun_u32(&m, STUN_A_CHANNEL_NUMBER, &v));
	return (uint16_t)(v >> 16);
}

static inline struct endpoint tx_peer(const struct turn_tx *tx)
{
	struct stun_msg m;
	struct endpoint e = {0};

	T_EQ(stun_decode(&m, tx->buf, tx->len), STUN_OK);
	T(stun_xor_addr(&m, STUN_A_XOR_PEER_ADDRESS, &e));
	return e;
}

/* A string attribute as text, "" when absent. */
static inline const char *tx_text(const struct turn_tx *tx, enum stun_attr_type type)
{
	static char text[512];
	struct stun_msg m;
	const uint8_t *p;
	size_t len;

	T_EQ(stun_decode(&m, tx->buf, tx->len), STUN_OK);
	p = stun_bytes(&m, type, &len);
	snprintf(text, sizeof(text), "%.*s", (int)len, p ? (const char *)p : "");
	return text;
}

/* ---- what the relay answers ---- */

struct ans {
	struct stun_enc e;
	const struct turn_tx *tx;
	uint8_t buf[STUN_MSG_MAX];
	size_t len;
};

static inline void ans_init(struct ans *a, const struct turn_tx *tx, enum stun_class cls)
{
	struct stun_msg m;

	T_EQ(stun_decode(&m, tx->buf, tx->len), STUN_OK);
	a->tx = tx;
	stun_enc_init(&a->e, a->buf, sizeof(a->buf), (enum stun_method)m.method, cls, &m.tid);
}

static inline void ans_done(struct ans *a, bool integrity)
{
	if (integrity)
		stun_put_integrity(&a->e, rig.key, sizeof(rig.key));
	if (rig.fingerprint)
		stun_put_fingerprint(&a->e);
	T_EQ(stun_enc_done(&a->e, &a->len), 0);
}

static inline enum turn_rx rig_give(const struct endpoint *from, const void *data, size_t len,
				    struct turn_data *out)
{
	const struct endpoint *local = from->ip.family == 6 ? &rig.local6 : &rig.local4;

	return turn_input(&rig.t, local, from, data, len, out, rig.now);
}

/* One round trip later it arrives and is acted on. */
static inline enum turn_rx ans_give(struct ans *a)
{
	struct turn_data d;
	enum turn_rx rx;

	rig_run(RIG_RTT);
	rx = rig_give(&a->tx->remote, a->buf, a->len, &d);
	rig_drive();
	return rx;
}

static inline enum turn_rx ok_binding_as(const struct turn_tx *tx, const char *mapped)
{
	struct endpoint e = ep(mapped);
	struct ans a;

	ans_init(&a, tx, STUN_SUCCESS);
	stun_put_xor_addr(&a.e, STUN_A_XOR_MAPPED_ADDRESS, &e);
	ans_done(&a, false);
	return ans_give(&a);
}

static inline enum turn_rx ok_binding(const struct turn_tx *tx)
{
	return ok_binding_as(tx, tx->remote.ip.family == 6 ? "[2001:db8:f::1]:4000"
							   : "203.0.113.1:4000");
}

/* An error, authentic or bare; nonce and realm NULL: without. */
static inline enum turn_rx err_full(const struct turn_tx *tx, unsigned code, const char *nonce,
				    const char *realm, bool integrity)
{
	struct ans a;

	ans_init(&a, tx, STUN_ERROR);
	stun_put_error(&a.e, code, "no");
	if (realm)
		stun_put_bytes(&a.e, STUN_A_REALM, realm, strlen(realm));
	if (nonce)
		stun_put_bytes(&a.e, STUN_A_NONCE, nonce, strlen(nonce));
	ans_done(&a, integrity);
	return ans_give(&a);
}

static inline enum turn_rx err(const struct turn_tx *tx, unsigned code)
{
	return err_full(tx, code, NULL, NULL, true);
}

static inline enum turn_rx challenge(const struct turn_tx *tx, unsigned code, const char *nonce)
{
	return err_full(tx, code, nonce, "firezone", true);
}

static inline enum turn_rx ok_allocate_as(const struct turn_tx *tx, const char *relayed4,
					  const char *relayed6, uint32_t lifetime)
{
	struct endpoint e;
	struct ans a;

	ans_init(&a, tx, STUN_SUCCESS);
	if (relayed4) {
		e = ep(relayed4);
		stun_put_xor_addr(&a.e, STUN_A_XOR_RELAYED_ADDRESS, &e);
	}
	if (relayed6) {
		e = ep(relayed6);
		stun_put_xor_addr(&a.e, STUN_A_XOR_RELAYED_ADDRESS, &e);
	}
	if (lifetime != KEEP)
		stun_put_u32(&a.e, STUN_A_LIFETIME, lifetime);
	ans_done(&a, true);
	return ans_give(&a);
}

#define RELAYED4 "198.51.100.9:50000"
#define RELAYED6 "[2001:db8:9::9]:50000"

static inline enum turn_rx ok_allocate(const struct turn_tx *tx)
{
	return ok_allocate_as(tx, RELAYED4, RELAYED6, 600);
}

/* REFRESH and CHANNEL-BIND; lifetime KEEP: without. */
static inline enum turn_rx ok(const struct turn_tx *tx, uint32_t lifetime)
{
	struct ans a;

	ans_init(&a, tx, STUN_SUCCESS);
	if (lifetime != KEEP)
		stun_put_u32(&a.e, STUN_A_LIFETIME, lifetime);
	ans_done(&a, true);
	return ans_give(&a);
}

static inline enum turn_rx rig_data(uint16_t number, const char *text, struct turn_data *d)
{
	struct endpoint from = {0}, local;
	uint8_t b[64];

	T(turn_route(&rig.t, &local, &from) || rig.t.active < 0);
	turn_chan_put(b, number, (uint16_t)strlen(text));
	memcpy(b + TURN_CHAN_HDR_LEN, text, strlen(text));
	return rig_give(from.ip.family ? &from : &rig.server4, b, TURN_CHAN_HDR_LEN + strlen(text),
			d);
}

/* ---- ways there ---- */

/* Keeps the relay alive for a while. */
static inline void live(uint64_t span)
{
	uint64_t end = rig.now + span;
	struct turn_tx tx;

	while (rig.now < end) {
		rig_run(end - rig.now < NS_PER_SEC ? end - rig.now : NS_PER_SEC);
		while (rig_count(STUN_BINDING)) {
			tx = rig_take(STUN_BINDING);
			ok_binding(&tx);
		}
		while (rig_count(STUN_REFRESH)) {
			tx = rig_take(STUN_REFRESH);
			ok(&tx, 600);
		}
	}
}

static inline enum turn_bind want(const char *peer)
{
	struct endpoint e = ep(peer);
	enum turn_bind b = turn_bind(&rig.t, &e, rig.now);

	rig_drive();
	return b;
}

static inline const char *freeable(void)
{
	const char *why = NULL;

	return turn_freeable(&rig.t, &why) ? why : "";
}

/* Up to an ALLOCATE with a nonce, untaken. */
static inline void rig_challenged(void)
{
	struct turn_tx tx = rig_take(STUN_BINDING);

	T_EQ(ok_binding(&tx), TURN_RX_CONTROL);
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(challenge(&tx, 401, "nonce-1"), TURN_RX_CONTROL);
}

/* With an allocation of both families by one dual-stack relay reached over IPv4. */
static inline void rig_ready_as(const char *relayed4, const char *relayed6)
{
	struct turn_tx tx;

	rig_init("192.0.2.1:3478", NULL);
	rig_challenged();
	tx = rig_take(STUN_ALLOCATE);
	T_EQ(ok_allocate_as(&tx, relayed4, relayed6, 600), TURN_RX_CONTROL);
	T_EQ(turn_state(&rig.t), TURN_READY);
	rig.n_ev = 0;
}

static inline void rig_ready(void)
{
	rig_ready_as(RELAYED4, RELAYED6);
}

/* A confirmed channel; its number. */
static inline uint16_t rig_bound(const char *peer)
{
	struct endpoint e = ep(peer);
	struct turn_tx tx;

	T_EQ(turn_bind(&rig.t, &e, rig.now), TURN_BIND_SENT);
	rig_drive();
	tx = rig_take(STUN_CHANNEL_BIND);
	T_EQ(ok(&tx, KEEP), TURN_RX_CONTROL);
	return tx_channel(&tx);
}

static inline unsigned rig_saw(enum turn_event_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rig.n_ev; i++)
		n += rig.ev[i].kind == kind;
	return n;
}

static inline bool rig_saw_cand(enum turn_event_kind kind, enum turn_cand_kind cand,
				const char *addr)
{
	struct endpoint e = ep(addr);

	for (unsigned i = 0; i < rig.n_ev; i++)
		if (rig.ev[i].kind == kind && rig.ev[i].cand.kind == cand &&
		    endpoint_eq(&rig.ev[i].cand.addr, &e))
			return true;
	return false;
}
#endif
