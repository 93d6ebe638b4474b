/* SPDX-License-Identifier: Apache-2.0
 *
 * Two WireGuard connections and a network between them in virtual time, for tests. The data path is
 * reduced to what the key exchange can observe: a data packet names the receiver's index and
 * carries the sender's key of that direction; it is "authentic" when the receiver has that very key
 * installed under the index.
 *
 * The harness checks on its own: indices are handed back exactly once, sessions are announced once,
 * both ends of a session have the same keys crosswise, no deadline lies in the past and no instant
 * lasts forever. */
#ifndef PENSTOCK_WG_PAIR_H
#define PENSTOCK_WG_PAIR_H
#include "core/wg/wg_peer.h"
#include "crypto/crypto.h"
#include "tests/t.h"

#define WGP_T0	    (1000 * NS_PER_SEC)
#define WGP_IDX_MAX 16
#define WGP_QUEUE   256

struct wgp_idx {
	bool out;	/* given to the peer and not back */
	bool installed; /* announced as a session */
	uint32_t idx, remote;
	struct noise_keys keys;
};

struct wgp_side {
	struct wg_local l;
	struct wg_peer p;
	struct wgp_idx t[WGP_IDX_MAX];
	uint32_t next_idx;
	uint32_t cur;
	bool has_cur;
	bool no_index;	   /* the table is full: give none */
	uint64_t every_ns; /* send data so often; 0: never */
	uint64_t next_data;
	uint64_t n_ev[WG_EV_EXPIRED + 1];
	uint64_t n_initiations, n_responses, n_data_ok, n_data_bad, n_held;
	uint64_t n_rx[WG_RX_COUNT];
	uint64_t last_ev_at[WG_EV_EXPIRED + 1];
	struct wg_event last_done;
};

struct wgp_packet {
	uint64_t at; /* 0: free */
	int to;
	bool data, keepalive;
	uint32_t idx; /* data: receiver's */
	uint8_t key[32];
	struct wg_tx tx;
};

struct wgp {
	struct wgp_side s[2];
	struct wgp_packet q[WGP_QUEUE];
	uint64_t now, latency_ns, rand;
	unsigned loss_pct, dup_pct;
	bool cut[2]; /* nothing reaches side i */
};

static inline void wgp_send_data(struct wgp *w, int from, bool keepalive);

static inline void wgp_enqueue(struct wgp *w, const struct wgp_packet *pk)
{
	int copies = 1;

	if (w->cut[pk->to] || (w->loss_pct && t_rand(&w->rand) % 100 < w->loss_pct))
		return;
	if (w->dup_pct && t_rand(&w->rand) % 100 < w->dup_pct)
		copies = 2;
	for (int i = 0; i < WGP_QUEUE && copies; i++) {
		if (w->q[i].at)
			continue;
		w->q[i] = *pk;
		w->q[i].at = w->now + w->latency_ns +
			     (w->dup_pct ? t_rand(&w->rand) % NS_PER_MS : 0);
		copies--;
	}
	T_EQ(copies, 0);
}

static inline struct wgp_idx *wgp_find(struct wgp_side *s, uint32_t idx)
{
	for (int i = 0; i < WGP_IDX_MAX; i++)
		if (s->t[i].out && s->t[i].idx == idx)
			return &s->t[i];
	return NULL;
}

static inline void wgp_give(struct wgp_side *s)
{
	if (s->no_index || !wg_peer_wants_index(&s->p))
		return;
	for (int i = 0; i < WGP_IDX_MAX; i++) {
		if (s->t[i].out)
			continue;
		s->t[i] = (struct wgp_idx){.out = true, .idx = s->next_idx++};
		T_EQ(wg_peer_give_index(&s->p, s->t[i].idx), 0);
		return;
	}
	T(!"an index slot is free"); /* the peer leaks */
}

static inline void wgp_event(struct wgp *w, int side, const struct wg_event *e)
{
	struct wgp_side *s = &w->s[side];
	struct wgp_idx *t = wgp_find(s, e->local_idx);

	s->n_ev[e->type]++;
	s->last_ev_at[e->type] = w->now;
	switch (e->type) {
	case WG_EV_NONE:
		T(!"a real event");
		break;
	case WG_EV_SESSION:
		T(t && !t->installed);
		if (t) {
			t->installed = true;
			t->remote = e->remote_idx;
			t->keys = e->keys;
		}
		break;
	case WG_EV_SESSION_CURRENT:
		T(t && t->installed);
		s->cur = e->local_idx;
		s->has_cur = true;
		break;
	case WG_EV_SESSION_IDLE:
		T(s->has_cur && s->cur == e->local_idx);
		s->has_cur = false;
		break;
	case WG_EV_SESSION_DEAD:
		T(t && t->installed);
		if (s->has_cur && s->cur == e->local_idx)
			s->has_cur = false;
		if (t)
			t->out = false;
		break;
	case WG_EV_INDEX_RELEASED:
		T(t && !t->installed);
		if (t)
			t->out = false;
		break;
	case WG_EV_KEEPALIVE:
		wgp_send_data(w, side, true);
		break;
	case WG_EV_HANDSHAKE_DONE:
		s->last_done = *e;
		break;
	case WG_EV_EXPIRED:
		T(!s->has_cur);
		break;
	}
}

/* What a caller owes after every call. */
static inline void wgp_drain(struct wgp *w, int side)
{
	struct wgp_side *s = &w->s[side];
	struct wg_event e;
	struct wgp_packet pk;
	bool more = true;

	for (int guard = 0; more; guard++) {
		more = false;
		T(guard < 100);
		if (guard >= 100)
			return;
		while (wg_peer_poll_event(&s->p, &e)) {
			wgp_event(w, side, &e);
			more = true;
		}
		wgp_give(s);
		memset(&pk, 0, sizeof(pk));
		if (wg_peer_poll_tx(&s->p, &s->l, &pk.tx, w->now)) {
			more = true;
			pk.to = !side;
			if (pk.tx.len == WG_INITIATION_LEN)
				s->n_initiations++;
			else
				s->n_responses++;
			wgp_enqueue(w, &pk);
		}
	}
}

static inline void wgp_send_data(struct wgp *w, int from, bool keepalive)
{
	struct wgp_side *s = &w->s[from];
	struct wgp_idx *t = s->has_cur ? wgp_find(s, s->cur) : NULL;
	struct wgp_packet pk = {.to = !from, .data = true, .keepalive = keepalive};

	if (!t) {
		if (wg_peer_wants_send(&s->p, w->now))
			s->n_held++;
		return;
	}
	pk.idx = t->remote;
	memcpy(pk.key, t->keys.send, 32);
	wgp_enqueue(w, &pk);
	wg_peer_on_data_sent(&s->p, s->cur, keepalive, w->now, w->now);
}

static inline enum wg_rx wgp_rx_handshake(struct wgp_side *s, const void *msg, size_t len,
					  uint64_t now)
{
	const struct ipaddr src = ipaddr_v4(192, 0, 2, 1);
	enum wg_msg_type type = wg_msg_classify(msg, (uint32_t)len);
	struct noise_opened o;
	struct wg_tx reply;
	enum wg_rx rx = wg_local_admit(&s->l, msg, len, &src, &reply, now);

	if (rx != WG_RX_OK)
		return rx;
	switch (type) {
	case WG_MSG_INITIATION:
		rx = wg_initiation_open(&s->l, msg, len, &o);
		if (rx == WG_RX_OK)
			rx = wg_peer_rx_initiation(&s->p, &o, now);
		noise_opened_wipe(&o);
		return rx;
	case WG_MSG_RESPONSE:
		return wg_peer_rx_response(&s->p, &s->l, msg, len, now);
	case WG_MSG_COOKIE:
		return wg_peer_rx_cookie(&s->p, msg, len, now);
	case WG_MSG_NONE:
	case WG_MSG_DATA:
		break;
	}
	return WG_RX_NOT_HANDSHAKE;
}

static inline void wgp_deliver(struct wgp *w, const struct wgp_packet *pk)
{
	struct wgp_side *s = &w->s[pk->to];

	if (!pk->data) {
		s->n_rx[wgp_rx_handshake(s, pk->tx.buf, pk->tx.len, w->now)]++;
	} else {
		const struct wgp_idx *t = wgp_find(s, pk->idx);

		if (t && t->installed && memcmp(t->keys.recv, pk->key, 32) == 0) {
			s->n_data_ok++;
			wg_peer_on_data_received(&s->p, pk->idx, pk->keepalive, w->now, w->now);
		} else {
			s->n_data_bad++;
		}
	}
	wgp_drain(w, pk->to);
}

static inline uint64_t wgp_next(const struct wgp *w)
{
	uint64_t at = TIME_NEVER;

	for (int i = 0; i < WGP_QUEUE; i++)
		if (w->q[i].at && w->q[i].at < at)
			at = w->q[i].at;
	for (int i = 0; i < 2; i++) {
		const struct deadline d = wg_peer_deadline(&w->s[i].p);

		T(d.at >= w->now);
		at = d.at < at ? d.at : at;
		if (w->s[i].every_ns && w->s[i].next_data < at)
			at = w->s[i].next_data;
	}
	return at;
}

static inline void wgp_step(struct wgp *w)
{
	for (int i = 0; i < WGP_QUEUE; i++) {
		if (w->q[i].at && w->q[i].at <= w->now) {
			struct wgp_packet pk = w->q[i];

			w->q[i].at = 0;
			wgp_deliver(w, &pk);
		}
	}
	for (int i = 0; i < 2; i++) {
		wg_peer_timeout(&w->s[i].p, w->now);
		wgp_drain(w, i);
		if (w->s[i].every_ns && w->now >= w->s[i].next_data) {
			w->s[i].next_data = w->now + w->s[i].every_ns;
			wgp_send_data(w, i, false);
			wgp_drain(w, i);
		}
	}
}

/* Let span_ns of virtual time pass. */
static inline void wgp_run(struct wgp *w, uint64_t span_ns)
{
	const uint64_t until = w->now + span_ns;
	unsigned at_once = 0;

	for (;;) {
		uint64_t at = wgp_next(w);

		if (at > until)
			break;
		at_once = at > w->now ? 0 : at_once + 1;
		T(at_once < 200); /* a deadline that timeout does not move */
		if (at_once >= 200)
			return;
		w->now = at > w->now ? at : w->now;
		wgp_step(w);
	}
	w->now = until;
}

static inline void wgp_side_init(struct wgp *w, int side, const struct wg_peer_cfg *base,
				 uint64_t seed)
{
	uint8_t priv[2][32], s[32] = {0};
	struct wgp_side *me = &w->s[side];
	struct noise_static other;
	struct wg_peer_cfg cfg = *base;

	for (int i = 0; i < 2; i++) {
		memset(priv[i], 0x11 * (i + 1), 32);
		memcpy(priv[i] + 8, &seed, sizeof(seed));
	}
	memset(me, 0, sizeof(*me));
	me->next_idx = side ? 0xbb000000U : 0xaa000000U;
	s[0] = (uint8_t)(1 + side);
	memcpy(s + 8, &seed, sizeof(seed));
	wg_local_init(&me->l, priv[side], s, (struct wall){.sec = 1700000000}, w->now);
	noise_static_init(&other, priv[!side]);
	memcpy(cfg.remote_pub, other.pub, 32);
	memset(cfg.psk, 0x77, 32);
	s[1] = 1;
	T_EQ(wg_peer_init(&me->p, &me->l, &cfg, s, w->now), 0);
	wgp_drain(w, side);
}

/* Side 0 may initiate and renews idle sessions; side 1 is the passive one. */
static inline void wgp_init(struct wgp *w, uint64_t seed)
{
	struct wg_peer_cfg cfg = {
		.may_initiate = true, .rekey_idle = true, .times = wg_times_default()};

	memset(w, 0, sizeof(*w));
	w->now = WGP_T0;
	w->latency_ns = 10 * NS_PER_MS;
	w->rand = seed * 2654435761u + 1;
	wgp_side_init(w, 0, &cfg, seed);
	cfg.may_initiate = false;
	cfg.rekey_idle = false;
	wgp_side_init(w, 1, &cfg, seed);
}

static inline void wgp_initiate(struct wgp *w, int side)
{
	wg_peer_initiate(&w->s[side].p, w->now);
	wgp_drain(w, side);
}

static inline unsigned wgp_outstanding(const struct wgp_side *s)
{
	unsigned n = 0;

	for (int i = 0; i < WGP_IDX_MAX; i++)
		n += s->t[i].out;
	return n;
}

/* Can data flow both ways right now? */
static inline bool wgp_works(struct wgp *w)
{
	const uint64_t a = w->s[0].n_data_ok, b = w->s[1].n_data_ok;

	wgp_send_data(w, 0, false);
	wgp_drain(w, 0);
	wgp_run(w, 5 * w->latency_ns);
	wgp_send_data(w, 1, false);
	wgp_drain(w, 1);
	wgp_run(w, 5 * w->latency_ns);
	return w->s[0].n_data_ok > a && w->s[1].n_data_ok > b;
}
#endif
