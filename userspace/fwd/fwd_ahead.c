/* SPDX-License-Identifier: Apache-2.0
 *
 * Which cache lines a packet will touch; contract in fwd_ahead.h. */
#include "fwd/fwd_ahead.h"

#include <string.h>

#include "base/bytes.h"
#include "plan/inner.h"

void fwd_ahead_open(const struct fwd_table *t, const uint8_t *msg, size_t len)
{
	const struct ps_session *s;
	struct ps_replay *r;
	uint32_t slot;

	if (len < FWD_DATA_OVERHEAD)
		return;
	/* Whatever the index says names a slot. */
	slot = fwd_slot(t, le32_get(msg + 4));
	s = &t->mem.session[slot];
	r = &t->mem.replay[slot];
	__builtin_prefetch(&s->local_idx);
	__builtin_prefetch(&s->rx_user_packets, 1);
	__builtin_prefetch(&r->top, 1);
	__builtin_prefetch(ps_replay_word(r, le64_get(msg + 8)), 1);
	__builtin_prefetch(&t->mem.keys[slot].recv);
}

/* Most likely: addresses, ports and protocol where packets without options have them. */
static bool same_flow(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	const size_t least = PS_IP6_HLEN + 4;

	if (a_len < least || b_len < least || a[0] != b[0])
		return false;
	if (a[0] >> 4 == 4)
		return a[9] == b[9] && !memcmp(a + PS_IP4_SADDR, b + PS_IP4_SADDR, 12);
	return !memcmp(a + PS_IP6_SADDR, b + PS_IP6_SADDR, 36);
}

static bool in_same(const struct fwd_rx *a, const struct fwd_rx *b)
{
	return a->reason == PS_R_URX_DELIVERED && a->o.peer == b->o.peer &&
	       same_flow(a->o.inner, a->o.inner_len, b->o.inner, b->o.inner_len);
}

/* So few entries stay in a cache, and looking twice costs more than it saves. */
#define FEW 4096

static bool is_worth_it(const struct fwd_flows *f, size_t n)
{
	return n > 1 && PS_READ_ONCE(f->used) >= FEW;
}

void fwd_ahead_in(const struct fwd_table *t, const struct fwd_flows *f, const struct fwd_rx *rx,
		  size_t n)
{
	struct ps_inner in;

	if (!is_worth_it(f, n))
		return;
	for (size_t i = 0; i < n; i++) {
		const struct fwd_opened *o = &rx[i].o;

		if (rx[i].reason != PS_R_URX_DELIVERED || o->peer >= t->mem.n_peers ||
		    (i && in_same(&rx[i - 1], &rx[i])))
			continue;
		__builtin_prefetch(&t->mem.peer[o->peer]);
		if (ps_inner_parse(o->inner, o->inner + o->inner_len, &in) != PS_INNER_FLOW)
			continue;
		in.key.peer = o->peer;
		fwd_flows_ahead(f, FWD_FLOW_IN, &in.key);
	}
}

/* ---- out: each step reads what the one before has fetched ---- */

struct step {
	struct ps_flow_key key;
	const struct fwd_flow_entry *set; /* NULL: not looked at */
	const struct ps_peer *peer;
};

static void out_flow(const struct fwd_flows *f, const struct fwd_ahead_pkt *p, struct step *s)
{
	struct ps_inner in;

	*s = (struct step){.set = NULL};
	if (ps_inner_parse(p->pkt, p->pkt + p->len, &in) != PS_INNER_FLOW)
		return;
	s->key = in.key;
	s->set = fwd_flows_ahead(f, FWD_FLOW_OUT, &in.key);
}

static void out_peer(const struct fwd_table *t, struct step *s)
{
	const struct fwd_flow_entry *e = s->set ? fwd_flows_in_set(s->set, FWD_FLOW_OUT, &s->key)
						: NULL;
	uint32_t peer = e ? PS_READ_ONCE(e->flow.peer) : t->mem.n_peers;

	if (peer >= t->mem.n_peers)
		return;
	s->peer = &t->mem.peer[peer];
	__builtin_prefetch(&s->peer->tx_slot);
	__builtin_prefetch(&s->peer->path_local);
}

static void out_session(const struct fwd_table *t, const struct step *s)
{
	uint32_t slot = s->peer ? PS_READ_ONCE(s->peer->tx_slot) : PS_NO_SLOT;

	if (slot >= t->mem.n_sessions)
		return;
	__builtin_prefetch(&t->mem.session[slot].flags);
	__builtin_prefetch(&t->mem.session[slot].tx_counter, 1);
	__builtin_prefetch(&t->mem.keys[slot].send);
}

void fwd_ahead_out(const struct fwd_table *t, const struct fwd_flows *f,
		   const struct fwd_ahead_pkt *p, size_t n)
{
	struct step step[FWD_AHEAD];
	size_t steps = 0;

	if (!is_worth_it(f, n))
		return;
	for (size_t i = 0; i < n && i < FWD_AHEAD; i++)
		if (!i || !same_flow(p[i - 1].pkt, p[i - 1].len, p[i].pkt, p[i].len))
			out_flow(f, &p[i], &step[steps++]);
	/* One flow: it costs the same here as there. */
	if (steps < 2)
		return;
	for (size_t i = 0; i < steps; i++)
		out_peer(t, &step[i]);
	for (size_t i = 0; i < steps; i++)
		out_session(t, &step[i]);
}
