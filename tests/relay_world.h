/* SPDX-License-Identifier: Apache-2.0
 *
 * A relay in a test: its memory, a client's requests built from attributes, and what came of the
 * last one (verdict, events, datagram, decoded answer). */
#ifndef PENSTOCK_TESTS_RELAY_WORLD_H
#define PENSTOCK_TESTS_RELAY_WORLD_H
#include <stdlib.h>

#include "core/relay/relay.h"
#include "core/relay/relay_nonce.h"
#include "tests/t.h"

#define RW_EVENTS 4096
#define RW_ATTRS  28
#define RW_STAMP  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define RW_SHARED "shared secret"
#define RW_UNIX	  UINT64_C(1800000000)
#define RW_ALICE  "alice"
#define RW_PASS	  "wonderland"

struct rw_attr {
	enum stun_attr_type type;
	enum { RW_BYTES, RW_U32, RW_ADDR } kind;
	const void *p;
	size_t len;
	uint32_t u;
	struct endpoint addr;
};

struct rw_ask {
	enum stun_method method;
	enum stun_class cls;
	struct endpoint client;
	const char *user; /* NULL: RW_ALICE; "": none */
	const char *password;
	const char *nonce; /* NULL: a good one; "": none */
	const struct stun_tid *tid;
	bool no_mi, bad_mi, fingerprint;
	unsigned n;
	struct rw_attr attrs[RW_ATTRS];
};

struct rw {
	struct relay r;
	void *mem;
	uint64_t now, unix_s;
	uint32_t n_tids;
	struct endpoint at4, at6; /* where the relay listens */
	struct relay_dgram in;
	uint8_t req[STUN_MSG_MAX];
	size_t req_len;
	/* of the last call */
	enum relay_rx rx;
	unsigned n_events;
	struct relay_event events[RW_EVENTS];
	bool sent;
	struct relay_tx tx;
	bool is_stun;
	struct stun_msg m;
};

static inline struct endpoint rw_ep4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
	return (struct endpoint){.ip = ipaddr_v4(a, b, c, d), .port = port};
}

static inline struct endpoint rw_ep(const char *text)
{
	struct endpoint e = {0};

	if (endpoint_parse(text, &e))
		abort();
	return e;
}

/* Dual stack at 203.0.113.1 and 2001:db8::1, users alice/wonderland and bob/builder, stamp, shared
 * secret, small tables, quota 4. */
static inline struct relay_cfg rw_cfg(void)
{
	struct relay_cfg c = {.public4 = rw_ep("203.0.113.1:0").ip,
			      .public6 = rw_ep("[2001:db8::1]:0").ip,
			      .user_quota = 4,
			      .software = "penstock",
			      .size = {.n_allocs = 16, .n_binds = 32, .n_perms = 32}};
	return c;
}

static inline void rw_auth(struct relay_auth *a)
{
	if (relay_auth_init(a, NULL) || relay_auth_set_stamp(a, RW_STAMP) ||
	    relay_auth_set_shared(a, RW_SHARED) || relay_auth_add_user(a, RW_ALICE, RW_PASS) ||
	    relay_auth_add_user(a, "bob", "builder"))
		abort();
}

static inline struct rw *rw_new(const struct relay_cfg *cfg)
{
	struct rw *w = calloc(1, sizeof(*w));
	struct relay_cfg c = cfg ? *cfg : rw_cfg();
	static struct relay_auth auth;
	static const uint8_t seed[32] = {1, 2, 3};
	size_t len = relay_mem_size(&c.size);

	if (crypto_init() || !w)
		abort();
	w->mem = malloc(len);
	memset(w->mem, 0xa5, len);
	w->now = 1000 * NS_PER_SEC;
	w->unix_s = RW_UNIX;
	rw_auth(&auth);
	if (relay_init(&w->r, &c, &auth, w->mem, len, seed, w->now))
		abort();
	w->at4 = (struct endpoint){.ip = c.public4, .port = w->r.cfg.listen_port};
	w->at6 = (struct endpoint){.ip = c.public6, .port = w->r.cfg.listen_port};
	return w;
}

static inline void rw_free(struct rw *w)
{
	relay_fini(&w->r);
	free(w->mem);
	free(w);
}

static inline void rw_drain(struct rw *w)
{
	w->n_events = 0;
	while (w->n_events < RW_EVENTS && relay_poll_event(&w->r, &w->events[w->n_events]))
		w->n_events++;
	w->sent = relay_poll_tx(&w->r, &w->tx);
	w->is_stun = w->sent && w->tx.len && w->tx.to == RELAY_TO_CLIENT &&
		     stun_decode(&w->m, w->tx.buf, w->tx.len) == STUN_OK;
}

/* A datagram of a client to the listen socket. */
static inline enum relay_rx rw_input(struct rw *w, const struct endpoint *client, const void *data,
				     size_t len)
{
	w->in = (struct relay_dgram){.local = client->ip.family == 6 ? w->at6 : w->at4,
				     .client = *client,
				     .data = data,
				     .len = len};
	w->rx = relay_input(&w->r, &w->in, w->unix_s, w->now);
	rw_drain(w);
	return w->rx;
}

static inline enum relay_rx rw_peer(struct rw *w, uint16_t port, const struct endpoint *peer,
				    const void *data, size_t len)
{
	w->rx = relay_peer_input(&w->r, port, peer, data, len, w->now);
	rw_drain(w);
	return w->rx;
}

static inline void rw_pass(struct rw *w, uint64_t span)
{
	w->now += span;
	relay_timeout(&w->r, w->now);
	rw_drain(w);
}

static inline void rw_password(const char *user, char out[RELAY_PASSWORD_CAP])
{
	if (!strcmp(user, RW_ALICE))
		strcpy(out, RW_PASS);
	else if (!strcmp(user, "bob"))
		strcpy(out, "builder");
	else if (strchr(user, ':'))
		relay_stamp_password(RW_STAMP, user, strlen(user), out);
	else
		relay_shared_password(RW_SHARED, user, strlen(user), out);
}

/* ---- requests ---- */

static inline struct rw_ask rw_ask(enum stun_method method, struct endpoint client)
{
	return (struct rw_ask){.method = method, .client = client};
}

static inline void rw_u32(struct rw_ask *a, enum stun_attr_type type, uint32_t u)
{
	a->attrs[a->n++] = (struct rw_attr){.type = type, .kind = RW_U32, .u = u};
}

static inline void rw_bytes(struct rw_ask *a, enum stun_attr_type type, const void *p, size_t len)
{
	a->attrs[a->n++] = (struct rw_attr){.type = type, .kind = RW_BYTES, .p = p, .len = len};
}

static inline void rw_addr(struct rw_ask *a, enum stun_attr_type type, struct endpoint e)
{
	a->attrs[a->n++] = (struct rw_attr){.type = type, .kind = RW_ADDR, .addr = e};
}

static inline void rw_put_auth(struct rw *w, const struct rw_ask *a, struct stun_enc *e)
{
	const char *user = a->user ? a->user : RW_ALICE, *nonce = a->nonce;
	char good[RELAY_NONCE_LEN + 1], password[RELAY_PASSWORD_CAP + 64] = "";
	uint8_t key[RELAY_KEY_LEN];

	if (*user) {
		stun_put_bytes(e, STUN_A_USERNAME, user, strlen(user));
		stun_put_bytes(e, STUN_A_REALM, RELAY_REALM, strlen(RELAY_REALM));
	}
	if (!nonce) {
		relay_nonce_make(w->r.nonce_key, &a->client, good, w->now);
		nonce = good;
	}
	if (*nonce)
		stun_put_bytes(e, STUN_A_NONCE, nonce, strlen(nonce));
	if (a->no_mi)
		return;
	if (a->password)
		snprintf(password, sizeof(password), "%s", a->password);
	else
		rw_password(user, password);
	relay_long_term_key(user, strlen(user), RELAY_REALM, password, key);
	key[0] ^= a->bad_mi;
	stun_put_integrity(e, key, sizeof(key));
}

/* Build it into w->req. */
static inline void rw_build(struct rw *w, const struct rw_ask *a)
{
	struct stun_tid tid = {{0}};
	struct stun_enc e;

	w->n_tids++;
	memcpy(tid.b, &w->n_tids, sizeof(w->n_tids));
	stun_enc_init(&e, w->req, sizeof(w->req), a->method, a->cls, a->tid ? a->tid : &tid);
	for (unsigned i = 0; i < a->n; i++) {
		const struct rw_attr *x = &a->attrs[i];

		if (x->kind == RW_U32)
			stun_put_u32(&e, x->type, x->u);
		else if (x->kind == RW_ADDR)
			stun_put_xor_addr(&e, x->type, &x->addr);
		else
			stun_put_bytes(&e, x->type, x->p, x->len);
	}
	if (a->cls == STUN_REQUEST && a->method != STUN_BINDING)
		rw_put_auth(w, a, &e);
	if (a->fingerprint)
		stun_put_fingerprint(&e);
	if (stun_enc_done(&e, &w->req_len))
		abort();
}

/* 0: success; an error code; -1: no STUN answer of the same method and transaction. */
static inline int rw_go(struct rw *w, const struct rw_ask *a)
{
	struct stun_msg q;
	unsigned code = 0;

	rw_build(w, a);
	rw_input(w, &a->client, w->req, w->req_len);
	if (!w->is_stun || stun_decode(&q, w->req, w->req_len) != STUN_OK ||
	    q.method != w->m.method || !stun_tid_eq(&q.tid, &w->m.tid) ||
	    !endpoint_eq(&w->tx.dst, &a->client))
		return -1;
	if (w->m.cls == STUN_SUCCESS)
		return 0;
	return w->m.cls == STUN_ERROR && stun_error_code(&w->m, &code) ? (int)code : -1;
}

/* Is the last answer signed with this user's key? */
static inline bool rw_signed(const struct rw *w, const char *user)
{
	char password[RELAY_PASSWORD_CAP];
	uint8_t key[RELAY_KEY_LEN];

	rw_password(user, password);
	relay_long_term_key(user, strlen(user), RELAY_REALM, password, key);
	return stun_integrity_ok(&w->m, key, sizeof(key));
}

static inline struct rw_ask rw_alloc_ask(struct endpoint client)
{
	struct rw_ask a = rw_ask(STUN_ALLOCATE, client);

	rw_u32(&a, STUN_A_REQUESTED_TRANSPORT, 17U << 24);
	return a;
}

/* A dual-stack allocation of this user; its port, 0 when it is refused. */
static inline uint16_t rw_allocate(struct rw *w, struct endpoint client, const char *user)
{
	struct rw_ask a = rw_alloc_ask(client);
	struct endpoint e;

	a.user = user;
	rw_u32(&a, STUN_A_ADDITIONAL_ADDRESS_FAMILY, (uint32_t)STUN_FAMILY_IPV6 << 24);
	if (rw_go(w, &a) || !stun_xor_addr(&w->m, STUN_A_XOR_RELAYED_ADDRESS, &e))
		return 0;
	return e.port;
}

static inline int rw_refresh(struct rw *w, struct endpoint client, const char *user,
			     uint32_t lifetime_s)
{
	struct rw_ask a = rw_ask(STUN_REFRESH, client);

	a.user = user;
	rw_u32(&a, STUN_A_LIFETIME, lifetime_s);
	return rw_go(w, &a);
}

static inline int rw_bind(struct rw *w, struct endpoint client, const char *user, uint16_t channel,
			  struct endpoint peer)
{
	struct rw_ask a = rw_ask(STUN_CHANNEL_BIND, client);

	a.user = user;
	rw_u32(&a, STUN_A_CHANNEL_NUMBER, (uint32_t)channel << 16);
	rw_addr(&a, STUN_A_XOR_PEER_ADDRESS, peer);
	return rw_go(w, &a);
}

static inline int rw_permit(struct rw *w, struct endpoint client, const char *user,
			    struct endpoint peer)
{
	struct rw_ask a = rw_ask(STUN_CREATE_PERMISSION, client);

	a.user = user;
	rw_addr(&a, STUN_A_XOR_PEER_ADDRESS, peer);
	return rw_go(w, &a);
}

/* Channel data with some padding behind it. */
static inline enum relay_rx rw_channel(struct rw *w, struct endpoint client, uint16_t channel,
				       const void *data, uint16_t len, unsigned pad)
{
	uint8_t buf[RELAY_TX_MAX] = {0};

	turn_chan_put(buf, channel, len);
	memcpy(buf + TURN_CHAN_HDR_LEN, data, len);
	return rw_input(w, &client, buf, TURN_CHAN_HDR_LEN + (size_t)len + pad);
}

static inline enum relay_rx rw_send(struct rw *w, struct endpoint client, struct endpoint peer,
				    const void *data, size_t len)
{
	struct rw_ask a = rw_ask(STUN_SEND, client);

	a.cls = STUN_INDICATION;
	rw_addr(&a, STUN_A_XOR_PEER_ADDRESS, peer);
	rw_bytes(&a, STUN_A_DATA, data, len);
	rw_build(w, &a);
	return rw_input(w, &client, w->req, w->req_len);
}
#endif
