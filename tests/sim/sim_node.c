/* SPDX-License-Identifier: Apache-2.0
 * The simulated node: its data and its life in the event loop. What it does for its connections is
 * in sim_node_ctl.c. See sim_node.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_node_priv.h"
#include "tests/sim/sim_priv.h"
#include "wire/turn.h"

/* A number on its way. */
struct number {
	uint64_t no, sent_at;
};

static void enqueue(struct sim_node *n, const struct node_route *to, const uint8_t *inner,
		    size_t len, uint32_t slot, uint64_t now)
{
	size_t off = to->channel ? TURN_CHAN_HDR_LEN : 0, sealed;
	struct sim_out *o = &n->queue[(n->head + n->n_queue) % SIM_NODE_QUEUE];

	if (n->n_queue == SIM_NODE_QUEUE) {
		sim_fail(n->sim, "node %u: queue full", n->number);
		return;
	}
	if (fwd_seal(&n->fwd, slot, inner, len, o->buf + off, &sealed, now) != PS_R_UTX_SENT)
		return;
	if (off)
		turn_chan_put(o->buf, to->channel, (uint16_t)sealed);
	o->local = to->local;
	if (!o->local.ip.family)
		o->local.port = SIM_NODE_PORT;
	o->remote = to->remote;
	o->len = off + sealed;
	n->n_queue++;
}

void sim_node_seal(struct sim_node *n, uint32_t slot, const void *inner, size_t len, uint64_t now)
{
	const struct ps_peer *p = fwd_peer(&n->fwd, slot);
	struct node_route to;
	unsigned before = n->n_queue;

	if (!node_route(&n->node, slot, &to, now)) {
		n->conns[slot].unroutable++;
		return;
	}
	enqueue(n, &to, inner, len, slot, now);
	if (n->n_queue == before) {
		node_wants_send(&n->node, slot, now);
		return;
	}
	node_on_data(&n->node, slot, n->fmem.session[p->tx_slot].local_idx, false, !len, now, now);
	if (!len)
		return;
	n->conns[slot].sent++;
	n->conns[slot].sent_since_mark++;
	n->conns[slot].next_no++;
}

static void send_numbers(struct sim_node *n, uint64_t now)
{
	n->send_at = now + n->send_every_ns;
	for (uint32_t slot = 0; slot < n->n_conns; slot++) {
		struct number d = {n->conns[slot].next_no, now};

		if (n->conns[slot].used && node_conn(&n->node, slot))
			sim_node_seal(n, slot, &d, sizeof(d), now);
	}
}

static void arrived(struct sim_node *n, struct sim_conn *c, const struct number *d, uint64_t now)
{
	uint64_t since;
	if (d->no < SIM_NUMBERS_MAX) {
		if (c->seen[d->no / 8] >> d->no % 8 & 1)
			sim_fail(n->sim, "node %u: number %llu arrived twice", n->number,
				 (unsigned long long)d->no);
		c->seen[d->no / 8] |= (uint8_t)(1 << d->no % 8);
	}
	since = c->last_rx_at > c->mark_at ? c->last_rx_at : c->mark_at;
	if (now - since > c->silence_ns)
		c->silence_ns = now - since;
	c->received++;
	c->last_rx_at = now;
	if (!c->first_rx_at)
		c->first_rx_at = now;
	if (d->sent_at <= c->mark_at)
		return;
	c->received_since_mark++;
	if (!c->recovered_at)
		c->recovered_at = now;
}

static void on_data(struct sim_node *n, uint8_t *msg, size_t len, uint64_t now)
{
	struct fwd_opened o;
	struct number d;
	uint32_t idx;

	if (fwd_open(&n->fwd, msg, len, &o, now) != PS_R_URX_DELIVERED) {
		n->out_of_session++;
		return;
	}
	idx = n->fmem.session[o.slot].local_idx;
	fwd_session_confirm(&n->fwd, idx);
	node_on_data(&n->node, o.peer, idx, true, !o.inner_len, now, now);
	sim_node_events(n, now);
	if (o.inner_len != sizeof(d))
		return;
	memcpy(&d, o.inner, sizeof(d));
	arrived(n, &n->conns[o.peer], &d, now);
}

static void input(void *self, const struct sim_dgram *in, uint64_t now)
{
	struct sim_node *n = self;
	const struct ice_dgram g = {in->local, in->remote, in->data, in->len};
	uint8_t copy[SIM_PAYLOAD_MAX];
	struct node_rx_view view;
	enum node_rx rx = node_input(&n->node, &g, &view, now);

	n->rx[rx]++;
	if (rx == NODE_RX_DATA) {
		memcpy(copy, in->data + view.off, view.len);
		on_data(n, copy, view.len, now);
	}
	sim_node_events(n, now);
}

static bool poll_tx(void *self, struct sim_out *out, uint64_t now)
{
	struct sim_node *n = self;
	const struct sim_out *o = &n->queue[n->head];

	sim_node_events(n, now);
	if (n->n_queue) {
		out->local = o->local;
		out->remote = o->remote;
		out->len = o->len;
		memcpy(out->buf, o->buf, o->len);
		n->head = (n->head + 1) % SIM_NODE_QUEUE;
		n->n_queue--;
		return true;
	}
	if (!node_poll_tx(&n->node, &n->tx, now))
		return false;
	sim_node_events(n, now);
	out->local = n->tx.local;
	if (!out->local.ip.family)
		out->local.port = SIM_NODE_PORT;
	out->remote = n->tx.remote;
	out->len = n->tx.len;
	memcpy(out->buf, n->tx.buf, n->tx.len);
	return true;
}

static struct deadline deadline(const void *self)
{
	const struct sim_node *n = self;
	struct deadline d = node_deadline(&n->node);

	if (n->send_every_ns)
		d = deadline_min(d, (struct deadline){n->send_at, "data"});
	return deadline_min(d, (struct deadline){sim_node_ask_at(n), "ask again"});
}

static void timeout(void *self, uint64_t now)
{
	struct sim_node *n = self;

	node_timeout(&n->node, now);
	sim_node_events(n, now);
	sim_node_ask(n, now);
	if (n->send_every_ns && time_reached(n->send_at, now))
		send_numbers(n, now);
}

static const struct sim_ops ops = {input, sim_node_portal, poll_tx, deadline, timeout};

/* ---- making one ---- */

static void mem_init(struct sim_node *n)
{
	uint32_t c = n->n_conns, s = n->n_slots;

	n->mem = (struct node_mem){
		.conns = sim_must(calloc(c, sizeof(struct node_conn))),
		.due = sim_must(calloc(c, sizeof(struct due))),
		.due_pos = sim_must(calloc(c, sizeof(uint32_t))),
		.buckets = sim_must(calloc((size_t)NODE_CHAINS * c, sizeof(uint32_t))),
		.conn_of_slot = sim_must(calloc(s, sizeof(uint32_t))),
		.n_conns = c,
		.n_buckets = c,
		.n_slots = s,
		.n_relays = SIM_NODE_RELAYS,
		.relays = sim_must(calloc(SIM_NODE_RELAYS, sizeof(struct turn))),
	};
	n->fmem = (struct fwd_mem){
		.session = sim_must(calloc(s, sizeof(struct ps_session))),
		.replay = sim_must(calloc(s, sizeof(struct ps_replay))),
		.peer = sim_must(calloc(c, sizeof(struct ps_peer))),
		.keys = sim_must(calloc(s, sizeof(struct fwd_keys))),
		.session_free = sim_must(calloc(s, sizeof(uint32_t))),
		.n_sessions = s,
		.n_peers = c,
	};
	n->conns = sim_must(calloc(c, sizeof(*n->conns)));
}

void sim_node_add(struct sim_node *n, struct sim_portal *p, bool gateway, uint32_t n_conns,
		  const struct sim_link *link)
{
	const struct node_cfg cfg = {.gateway = gateway, .wg_times = wg_times_default()};
	uint64_t now = sim_now(p->sim);
	uint8_t priv[32], seed[32];

	memset(n, 0, sizeof(*n));
	n->sim = p->sim;
	n->portal = p;
	n->gateway = gateway;
	n->n_conns = n_conns;
	n->n_slots = n_conns * 16;
	mem_init(n);
	cand_hold_init(&n->hold);
	for (unsigned i = 0; i < 32; i++) {
		priv[i] = (uint8_t)sim_rand(n->sim, 256);
		seed[i] = (uint8_t)sim_rand(n->sim, 256);
	}
	if (node_init(&n->node, &cfg, &n->mem, priv, seed, (struct wall){.sec = SIM_UNIX_BASE},
		      now))
		abort();
	seed[0] ^= 1;
	if (fwd_init(&n->fwd, &n->fmem, seed))
		abort();
	n->host = sim_host_add(p->sim, &ops, n, link);
	n->number = sim_portal_node_add(p, n->host);
}

void sim_node_free(struct sim_node *n)
{
	node_fini(&n->node);
	free(n->mem.conns);
	free(n->mem.due);
	free(n->mem.due_pos);
	free(n->mem.buckets);
	free(n->mem.conn_of_slot);
	free(n->mem.relays);
	fwd_fini(&n->fwd);
	free(n->fmem.session);
	free(n->fmem.replay);
	free(n->fmem.peer);
	free(n->fmem.keys);
	free(n->fmem.session_free);
	free(n->conns);
}

void sim_node_hosts(struct sim_node *n)
{
	const struct sim_host *h = &n->sim->hosts[n->host];
	struct endpoint e[SIM_ADDRS_MAX];

	for (unsigned i = 0; i < h->n_addrs; i++)
		e[i] = (struct endpoint){.ip = h->addrs[i].ip, .port = SIM_NODE_PORT};
	node_set_hosts(&n->node, e, h->n_addrs, sim_now(n->sim));
	sim_kick(n->sim, n->host);
}

void sim_node_send(struct sim_node *n, uint64_t every_ns)
{
	n->send_every_ns = every_ns;
	n->send_at = sim_now(n->sim);
	sim_kick(n->sim, n->host);
}

void sim_node_mark(struct sim_node *n)
{
	for (uint32_t i = 0; i < n->n_conns; i++) {
		n->conns[i].mark_at = sim_now(n->sim);
		n->conns[i].recovered_at = n->conns[i].silence_ns = 0;
		n->conns[i].sent_since_mark = n->conns[i].received_since_mark = 0;
	}
}
