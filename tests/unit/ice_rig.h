/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ICE agents, "a" controlling and "b" controlled, and a wire of fixed latency between them:
 * enough to ask one rule at a time. Networks with a will of their own are in tests/sim. */
#ifndef PENSTOCK_ICE_RIG_H
#define PENSTOCK_ICE_RIG_H
#include <stdlib.h>

#include "core/ice/ice.h"
#include "core/ice/ice_grace.h"
#include "core/ice/ice_int.h"
#include "crypto/crypto.h"
#include "tests/t.h"

#define RIG_QUEUE 512

struct rig_pkt {
	uint64_t at;
	bool to_b;
	struct endpoint local, remote;
	size_t len;
	uint8_t data[ICE_TX_MAX];
};

struct rig_log {
	unsigned n_states, n_nominated, n_disconnected;
	enum ice_state states[64];
	const char *whys[64];
	uint64_t state_at[64];
	struct ice_path path;
	unsigned n_tx;
};

struct rig {
	struct ice a, b;
	struct rig_log la, lb;
	uint64_t now, latency;
	/* Rewrites the addresses on their way (NAT); false: lost. NULL: all pass. */
	bool (*wire)(struct rig *r, bool to_b, struct endpoint *src, struct endpoint *dst);
	bool cut; /* nothing passes */
	struct rig_pkt q[RIG_QUEUE];
	unsigned n_q;
	struct rig_pkt last_to_a, last_to_b; /* most recent deliveries */
	enum ice_rx last_rx;
};

static inline struct endpoint ep(const char *text)
{
	struct endpoint e = {0};

	if (endpoint_parse(text, &e))
		abort();
	return e;
}

static inline struct ice_cand host(const char *at)
{
	struct endpoint e = ep(at);

	return ice_cand_host(&e);
}

static inline struct ice_cand srflx(const char *mapped, const char *base)
{
	struct endpoint m = ep(mapped), b = ep(base);

	return ice_cand_srflx(&m, &b);
}

static inline struct ice_cand relay(const char *allocated, const char *via)
{
	struct endpoint r = ep(allocated), v = ep(via);

	return ice_cand_relay(&r, &v);
}

static inline struct ice_cfg rig_cfg(bool controlling)
{
	struct ice_creds a = {"aaaa", "password-of-a-22-chars"},
			 b = {"bbbb", "password-of-b-22-chars"};

	return (struct ice_cfg){.controlling = controlling,
				.local = controlling ? a : b,
				.remote = controlling ? b : a,
				.timing = ICE_TIMING_ACTIVE,
				.tag = controlling ? 0xaaaa0001 : 0xbbbb0002};
}

static inline void rig_init(struct rig *r)
{
	struct ice_cfg ca = rig_cfg(true), cb = rig_cfg(false);
	uint8_t sa[32] = {1}, sb[32] = {2};

	memset(r, 0, sizeof(*r));
	if (crypto_init())
		abort();
	r->now = 100 * NS_PER_SEC;
	r->latency = 5 * NS_PER_MS;
	T_EQ(ice_init(&r->a, &ca, sa, r->now), 0);
	T_EQ(ice_init(&r->b, &cb, sb, r->now), 0);
}

static inline void rig_events(struct rig *r, struct ice *ice, struct rig_log *log)
{
	struct ice_event ev;

	while (ice_poll_event(ice, &ev)) {
		if (ev.kind == ICE_EV_NOMINATED) {
			log->n_nominated++;
			log->path = ev.path;
			continue;
		}
		if (log->n_states < 64) {
			log->states[log->n_states] = ev.new_state;
			log->whys[log->n_states] = ev.why;
			log->state_at[log->n_states++] = r->now;
		}
		log->n_disconnected += ev.new_state == ICE_DISCONNECTED;
	}
}

static inline void rig_drive(struct rig *r, bool b)
{
	struct ice *ice = b ? &r->b : &r->a;
	struct rig_log *log = b ? &r->lb : &r->la;
	struct ice_tx tx;

	ice_timeout(ice, r->now);
	rig_events(r, ice, log);
	while (ice_poll_tx(ice, &tx, r->now)) {
		struct rig_pkt p = {.at = r->now + r->latency,
				    .to_b = !b,
				    .local = tx.remote,
				    .remote = tx.local,
				    .len = tx.len};

		log->n_tx++;
		memcpy(p.data, tx.buf, tx.len);
		if (r->cut || (r->wire && !r->wire(r, !b, &p.remote, &p.local)))
			continue;
		if (r->n_q == RIG_QUEUE)
			abort();
		r->q[r->n_q++] = p;
	}
	T(ice_deadline(ice).at > r->now);
}

static inline enum ice_rx rig_give(struct ice *ice, const struct rig_pkt *p, uint64_t now)
{
	struct ice_dgram d = {
		.local = p->local, .remote = p->remote, .data = p->data, .len = p->len};

	return ice_input(ice, &d, now);
}

/* Packets are delivered in order of arrival; the queue is ordered because latency is constant. */
static inline void rig_deliver(struct rig *r)
{
	struct rig_pkt p = r->q[0];

	memmove(&r->q[0], &r->q[1], --r->n_q * sizeof(r->q[0]));
	*(p.to_b ? &r->last_to_b : &r->last_to_a) = p;
	r->last_rx = rig_give(p.to_b ? &r->b : &r->a, &p, r->now);
	rig_drive(r, p.to_b);
}

static inline void rig_run(struct rig *r, uint64_t span)
{
	uint64_t end = r->now + span;

	rig_drive(r, false);
	rig_drive(r, true);
	for (;;) {
		uint64_t da = ice_deadline(&r->a).at, db = ice_deadline(&r->b).at;
		uint64_t next = r->n_q ? r->q[0].at : TIME_NEVER;
		uint64_t wake = da < db ? da : db;

		if ((next < wake ? next : wake) > end)
			break;
		if (next <= wake) {
			r->now = next;
			rig_deliver(r);
		} else {
			r->now = wake;
			rig_drive(r, db < da);
		}
	}
	r->now = end;
}

/* a's candidate is known to both, likewise b's. */
static inline void rig_add_a(struct rig *r, struct ice_cand c)
{
	struct ice_cand out;

	ice_add_local(&r->a, &c, &out, r->now);
	ice_add_remote(&r->b, &out, r->now);
}

static inline void rig_add_b(struct rig *r, struct ice_cand c)
{
	struct ice_cand out;

	ice_add_local(&r->b, &c, &out, r->now);
	ice_add_remote(&r->a, &out, r->now);
}

static inline bool rig_connected(const struct rig *r)
{
	struct ice_path pa, pb;

	return ice_selected(&r->a, &pa) && ice_selected(&r->b, &pb);
}

static inline unsigned rig_saw(const struct rig_log *log, enum ice_state s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < log->n_states; i++)
		n += log->states[i] == s;
	return n;
}
#endif
