/* SPDX-License-Identifier: Apache-2.0
 * What connections have to say and to send, and when they want to be woken. Connections with
 * something to do stand in a queue ("hot"), so that a node with ten thousand idle ones touches only
 * those; the ones that may have news stand in a second one ("asked"), so that draining many costs
 * each of them once. */
#include "core/node/node_priv.h"

#include <assert.h>
#include <string.h>

#include "crypto/crypto.h"

/* Ask it for news at the next poll. */
static void ask(struct node *n, uint32_t slot)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (c->asked)
		return;
	c->asked = true;
	c->ask_next = NODE_NONE;
	if (n->ask_tail == NODE_NONE)
		n->ask_head = slot;
	else
		n->mem.conns[n->ask_tail].ask_next = slot;
	n->ask_tail = slot;
}

static void ask_pop(struct node *n)
{
	struct node_conn *c = &n->mem.conns[n->ask_head];

	c->asked = false;
	n->ask_head = c->ask_next;
	if (n->ask_head == NODE_NONE)
		n->ask_tail = NODE_NONE;
}

void node_conn_wake(struct node *n, uint32_t slot)
{
	struct node_conn *c = &n->mem.conns[slot];

	ask(n, slot);
	if (c->hot)
		return;
	c->hot = true;
	c->hot_next = NODE_NONE;
	if (n->hot_tail == NODE_NONE)
		n->hot_head = slot;
	else
		n->mem.conns[n->hot_tail].hot_next = slot;
	n->hot_tail = slot;
}

static void hot_pop(struct node *n)
{
	struct node_conn *c = &n->mem.conns[n->hot_head];

	c->hot = false;
	n->hot_head = c->hot_next;
	if (n->hot_head == NODE_NONE)
		n->hot_tail = NODE_NONE;
}

static void set_timing(struct node *n, struct node_conn *c, bool idle, uint64_t now)
{
	if (n->cfg.gateway)
		ice_set_timing(&c->ice,
			       idle ? &ICE_TIMING_GATEWAY_IDLE : &ICE_TIMING_GATEWAY_ACTIVE, now);
	else
		ice_set_timing(&c->ice, idle ? &ICE_TIMING_IDLE : &ICE_TIMING_ACTIVE, now);
}

void node_conn_touch(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (now > c->last_activity_ns)
		c->last_activity_ns = now;
	if (c->state != NODE_IDLE)
		return;
	node_conn_set_state(c, NODE_CONNECTED);
	set_timing(n, c, false, now);
	node_conn_wake(n, slot);
}

void node_conn_fail(struct node *n, uint32_t slot, const char *why)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (!node_conn_open(c))
		return;
	node_conn_set_state(c, NODE_FAILED);
	c->fail_why = why;
	c->fail_news = true;
	node_conn_wake(n, slot);
}

/* ---- deadlines ---- */

static bool nominated(const struct node_conn *c)
{
	return ice_state(&c->ice) == ICE_CONNECTED || ice_state(&c->ice) == ICE_COMPLETED;
}

static uint64_t idle_at(const struct node_conn *c)
{
	if (c->state != NODE_CONNECTED || !nominated(c))
		return TIME_NEVER;
	return time_add(c->last_activity_ns, NODE_IDLE_AFTER_NS);
}

static struct deadline conn_deadline(const struct node_conn *c)
{
	struct deadline d = ice_deadline(&c->ice);

	d = deadline_min(d, ice_grace_deadline(&c->grace));
	d = deadline_min(d, (struct deadline){c->candidate_by_ns, "no remote candidate"});
	d = deadline_min(d, (struct deadline){idle_at(c), "connection idle"});
	d = deadline_min(d, (struct deadline){c->retell_at, "candidates again"});
	if (nominated(c))
		d = deadline_min(d, wg_peer_deadline(&c->wg));
	return d;
}

/* A connection without a timer is not in the heap: those that there are cost nothing. */
static void due_set(struct node *n, uint32_t slot, uint64_t at)
{
	if (at == TIME_NEVER)
		due_heap_del(&n->due, slot);
	else
		due_heap_set(&n->due, slot, at);
}

void node_conn_rearm(struct node *n, uint32_t slot)
{
	const struct node_conn *c = &n->mem.conns[slot];

	due_set(n, slot, node_conn_open(c) ? conn_deadline(c).at : TIME_NEVER);
}

struct deadline node_deadline(const struct node *n)
{
	const struct due *first;

	if (n->hot_head != NODE_NONE || n->n_replies)
		return (struct deadline){0, "work queued"};
	first = due_heap_first(&n->due);
	return deadline_min(node_relay_deadline(n),
			    (struct deadline){first ? first->at : TIME_NEVER, "connection timer"});
}

static void retell(struct node_conn *c, uint64_t now)
{
	node_conn_announce(c);
	c->n_retold++;
	c->retell_at = c->n_retold == NODE_RETELL_MAX
			       ? TIME_NEVER
			       : time_add(now, NODE_RETELL_NS << c->n_retold);
}

static void conn_timeout(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];

	c->want_news = false;
	if (nominated(c))
		wg_peer_timeout(&c->wg, now);
	if (time_reached(c->retell_at, now))
		retell(c, now);
	if (time_reached(c->candidate_by_ns, now)) {
		c->candidate_by_ns = TIME_NEVER;
		node_conn_fail(n, slot, "no remote candidates");
	}
	if (ice_grace_timeout(&c->grace, now))
		node_conn_fail(n, slot, "ICE timeout");
	if (time_reached(idle_at(c), now)) {
		node_conn_set_state(c, NODE_IDLE);
		set_timing(n, c, true, now);
	}
	node_conn_wake(n, slot);
}

void node_timeout(struct node *n, uint64_t now)
{
	const struct due *first;

	node_relay_timeout(n, now);
	while ((first = due_heap_first(&n->due)) && time_reached(first->at, now)) {
		const uint32_t slot = first->id;

		n->acct.timers++;
		/* Woken: whoever drains the node gives it its next timer. */
		due_heap_del(&n->due, slot);
		if (node_conn_open(&n->mem.conns[slot]))
			conn_timeout(n, slot, now);
	}
}

/* ---- reports of the data path ---- */

void node_on_data(struct node *n, uint32_t slot, uint32_t idx, bool received, bool keepalive,
		  uint64_t at, uint64_t now)
{
	struct node_conn *c;

	if (!node_conn(n, slot))
		return;
	c = &n->mem.conns[slot];
	if (received)
		wg_peer_on_data_received(&c->wg, idx, keepalive, at, now);
	else
		wg_peer_on_data_sent(&c->wg, idx, keepalive, at, now);
	if (received)
		node_path_heard(n, slot, now);
	else
		node_relay_sent(n, c->path_relay, now);
	if (!keepalive)
		node_conn_touch(n, slot, at);
	node_conn_wake(n, slot);
}

void node_on_counter(struct node *n, uint32_t slot, uint32_t idx, uint64_t counter, uint64_t now)
{
	if (!node_conn(n, slot))
		return;
	wg_peer_on_counter(&n->mem.conns[slot].wg, idx, counter, now);
	node_conn_wake(n, slot);
}

bool node_wants_send(struct node *n, uint32_t slot, uint64_t now)
{
	bool started;

	if (!node_conn(n, slot))
		return false;
	node_conn_touch(n, slot, now);
	started = wg_peer_wants_send(&n->mem.conns[slot].wg, now);
	node_conn_wake(n, slot);
	return started;
}

void node_give_index(struct node *n, uint32_t slot, uint32_t idx)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (!idx)
		return;
	c->want_news = false;
	if (wg_peer_give_index(&c->wg, idx))
		return;
	n->mem.conn_of_slot[idx & (n->mem.n_slots - 1)] = slot;
}

/* ---- events ---- */

static void expect_retell(struct node_conn *c, uint64_t now)
{
	if (nominated(c)) {
		c->n_retold = 0;
		c->retell_at = TIME_NEVER;
	} else if (c->has_path && !c->n_retold && c->retell_at == TIME_NEVER) {
		c->retell_at = time_add(now, NODE_RETELL_NS);
	}
}

static bool ice_news(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	struct ice_event ev;
	bool same;

	if (!ice_poll_event(&c->ice, &ev))
		return false;
	if (ev.kind == ICE_EV_STATE) {
		ice_grace_state(&c->grace, ev.new_state, now);
		expect_retell(c, now);
		return true;
	}
	same = c->has_path && endpoint_eq(&c->path.local, &ev.path.local) &&
	       endpoint_eq(&c->path.remote, &ev.path.remote);
	if (same && c->path_relayed == (ev.path.local_kind == CAND_RELAY) &&
	    (!c->path_relayed || c->path_relay != NODE_RELAY_NONE)) {
		c->path = ev.path;
		return true;
	}
	node_path_set(n, slot, &ev.path);
	c->has_path = true;
	c->path_news = true;
	if (c->state == NODE_CONNECTING) {
		node_conn_set_state(c, NODE_CONNECTED);
		c->last_activity_ns = now;
	}
	if (c->controlling)
		wg_peer_initiate(&c->wg, now);
	return true;
}

static bool candidate_news(struct node_conn *c, struct node_event *out)
{
	bool gone = !c->signal_mask;
	uint32_t mask = gone ? c->gone_mask : c->signal_mask;
	unsigned best = 0;

	if (!mask)
		return false;
	/* descending priority, additions before removals */
	for (unsigned i = 0; i < ice_n_locals(&c->ice); i++)
		if ((mask >> i & 1) &&
		    (!(mask >> best & 1) ||
		     ice_local(&c->ice, i)->prio > ice_local(&c->ice, best)->prio))
			best = i;
	mask = ~(UINT32_C(1) << best);
	*(gone ? &c->gone_mask : &c->signal_mask) &= mask;
	out->kind = gone ? NODE_EV_CANDIDATE_GONE : NODE_EV_CANDIDATE;
	return !ice_cand_fmt(ice_local(&c->ice, best), c->ice.local_creds.ufrag, out->text,
			     sizeof(out->text));
}

static bool wg_news(struct node *n, uint32_t slot, struct node_event *out, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (!wg_peer_poll_event(&c->wg, &out->wg))
		return false;
	out->kind = NODE_EV_WG;
	switch (out->wg.type) {
	case WG_EV_INDEX_RELEASED:
	case WG_EV_SESSION_DEAD:
		n->mem.conn_of_slot[out->wg.local_idx & (n->mem.n_slots - 1)] = NODE_NONE;
		break;
	case WG_EV_HANDSHAKE_DONE:
		c->handshake_ns = now;
		c->handshake_rtt_ns = out->wg.rtt_ns;
		break;
	case WG_EV_EXPIRED:
		node_conn_fail(n, slot, "WireGuard handshake timeout");
		break;
	case WG_EV_NONE:
	case WG_EV_SESSION:
	case WG_EV_SESSION_CURRENT:
	case WG_EV_SESSION_IDLE:
	case WG_EV_KEEPALIVE:
		break;
	}
	return true;
}

/* The end of a closing connection, after its last session event. */
static bool close_news(struct node *n, uint32_t slot, struct node_event *out)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (c->wg.has_spare) {
		*out = (struct node_event){
			.kind = NODE_EV_WG,
			.conn = slot,
			.cid = c->cid,
			.wg = {.type = WG_EV_INDEX_RELEASED, .local_idx = c->wg.spare_idx}};
		c->wg.has_spare = false;
		n->mem.conn_of_slot[out->wg.local_idx & (n->mem.n_slots - 1)] = NODE_NONE;
		return true;
	}
	wg_peer_fini(&c->wg);
	ice_fini(&c->ice);
	crypto_wipe(c->psk, sizeof(c->psk));
	node_conn_set_state(c, NODE_FREE);
	due_set(n, slot, TIME_NEVER);
	n->n_used--;
	out->kind = NODE_EV_CLOSED;
	return true;
}

static bool conn_news(struct node *n, uint32_t slot, struct node_event *out, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];

	*out = (struct node_event){.conn = slot, .cid = c->cid};
	if (c->state == NODE_FREE)
		return false;
	if (c->state == NODE_CLOSING)
		return wg_news(n, slot, out, now) || close_news(n, slot, out);
	if (node_conn_open(c)) {
		ice_timeout(&c->ice, now);
		while (ice_news(n, slot, now))
			;
		node_path_refresh(n, slot, now);
	}
	if (candidate_news(c, out))
		return true;
	if (c->path_news) {
		c->path_news = false;
		out->kind = NODE_EV_PATH;
		node_conn_path(n, slot, &out->path, now);
		return true;
	}
	if (wg_news(n, slot, out, now))
		return true;
	if (c->fail_news) {
		c->fail_news = false;
		out->kind = NODE_EV_FAILED;
		out->why = c->fail_why;
		return true;
	}
	if (!node_conn_open(c))
		return false;
	if (!c->want_news && wg_peer_wants_index(&c->wg)) {
		c->want_news = true;
		out->kind = NODE_EV_WANT_INDEX;
		return true;
	}
	if (!c->established && c->has_path && wg_peer_current(&c->wg, &(uint32_t){0})) {
		c->established = true;
		out->kind = NODE_EV_ESTABLISHED;
		node_conn_path(n, slot, &out->path, now);
		return true;
	}
	return false;
}

bool node_poll_event(struct node *n, struct node_event *out, uint64_t now)
{
	if (node_relay_poll_event(n, out, now))
		return true;
	while (n->ask_head != NODE_NONE) {
		n->acct.looks++;
		if (conn_news(n, n->ask_head, out, now))
			return true;
		ask_pop(n);
	}
	return false;
}

/* ---- datagrams ---- */

static bool is_relayed(const struct ice *ice, const struct endpoint *local)
{
	for (unsigned i = 0; i < ice_n_locals(ice); i++)
		if (ice_local(ice, i)->kind == CAND_RELAY &&
		    endpoint_eq(&ice_local(ice, i)->addr, local))
			return true;
	return false;
}

/* The next datagram of a connection, as ICE and WireGuard mean it. */
static bool conn_next(struct node *n, uint32_t slot, struct node_tx *out, bool *relayed,
		      uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	struct ice_tx itx;
	struct wg_tx wtx;

	if (ice_poll_tx(&c->ice, &itx, now)) {
		out->local = itx.local;
		out->remote = itx.remote;
		out->len = itx.len;
		memcpy(out->buf, itx.buf, itx.len);
		*relayed = n->mem.n_relays && is_relayed(&c->ice, &itx.local);
		return true;
	}
	/* A handshake on a path that died would be lost: it waits for the next one. */
	if (!c->has_path || !nominated(c) || !wg_peer_poll_tx(&c->wg, &n->wg, &wtx, now))
		return false;
	out->local = c->path.local;
	out->remote = c->path.remote;
	out->len = wtx.len;
	memcpy(out->buf, wtx.buf, wtx.len);
	*relayed = c->path_relayed;
	return true;
}

static bool conn_tx(struct node *n, uint32_t slot, struct node_tx *out, uint64_t now)
{
	bool relayed;

	if (!node_conn_open(&n->mem.conns[slot]))
		return false;
	while (conn_next(n, slot, out, &relayed, now))
		if (!relayed || node_path_wrap(n, out, now))
			return true;
	return false;
}

static bool reply_tx(struct node *n, struct node_tx *out, uint64_t now)
{
	while (n->n_replies) {
		const struct node_reply *r = &n->replies[n->reply_head];

		out->local = r->local;
		out->remote = r->remote;
		out->len = r->tx.len;
		memcpy(out->buf, r->tx.buf, r->tx.len);
		n->reply_head = (n->reply_head + 1) % NODE_REPLIES_MAX;
		n->n_replies--;
		if (!r->relayed || node_path_wrap(n, out, now))
			return true;
	}
	return false;
}

bool node_poll_tx(struct node *n, struct node_tx *out, uint64_t now)
{
	if (node_relay_poll_tx(n, out, now) || reply_tx(n, out, now))
		return true;
	while (n->hot_head != NODE_NONE) {
		uint32_t slot = n->hot_head;
		struct node_conn *c = &n->mem.conns[slot];

		if (conn_tx(n, slot, out, now)) {
			ask(n, slot);
			return true;
		}
		/* News that the caller has not drained yet: it stays in the queue. */
		if (c->state == NODE_CLOSING || c->ice.n_events || c->wg.ev_count) {
			ask(n, slot);
			return false;
		}
		node_conn_rearm(n, slot);
		hot_pop(n);
	}
	return false;
}
