/* SPDX-License-Identifier: Apache-2.0
 * What goes through relays: their own messages, channel data in (taken apart and told apart again)
 * and out (framed), and the channel a nominated path uses. */
#include "core/node/node_priv.h"

#include <string.h>

#include "wire/turn.h"

/* ---- is it there? ---- */

void node_relay_heard(struct node *n, unsigned r)
{
	if (r != NODE_RELAY_NONE)
		n->relays.at[r].n_unheard = 0;
}

void node_relay_sent(struct node *n, unsigned r, uint64_t now)
{
	struct node_relay_slot *s;

	if (r == NODE_RELAY_NONE)
		return;
	s = &n->relays.at[r];
	if (!s->n_unheard++)
		s->unheard_ns = now;
	/* what is not answered does not show that our mapping, and the relay, are still there */
	if (s->n_unheard <= NODE_UNHEARD_MAX) {
		turn_sent(&n->mem.relays[r], now);
		return;
	}
	if (time_since(s->unheard_ns, now) < NODE_UNHEARD_NS ||
	    (s->doubted_ns && time_since(s->doubted_ns, now) < NODE_DOUBT_EACH_NS))
		return;
	s->doubted_ns = now;
	turn_refresh(&n->mem.relays[r], now);
}

/* ---- in ---- */

/* Can it be a relay's at all: STUN (first byte 0..3), or channel data (0x40..0x7f)? */
static bool relay_like(const struct ice_dgram *in)
{
	return in->len && (in->data[0] < 4 || (in->data[0] & 0xc0) == 0x40);
}

enum node_relay_rx node_relay_input(struct node *n, const struct ice_dgram *in,
				    struct ice_dgram *inner, uint64_t now)
{
	struct turn_chan_hdr h;
	struct turn_data data;
	enum turn_rx rx;
	unsigned r;

	if (!n->mem.n_relays || !relay_like(in))
		return NODE_RELAY_RX_NOT;
	r = node_relay_of_server(n, &in->remote);
	if (r != NODE_RELAY_NONE) {
		rx = turn_input(&n->mem.relays[r], &in->local, &in->remote, in->data, in->len,
				&data, now);
		if (rx == TURN_RX_DATA || rx == TURN_RX_CONTROL)
			node_relay_heard(n, r);
		if (rx != TURN_RX_DATA)
			return rx == TURN_RX_CONTROL ? NODE_RELAY_RX_TAKEN : NODE_RELAY_RX_REJECTED;
		*inner = (struct ice_dgram){data.local, data.peer, in->data + data.off, data.len};
		return NODE_RELAY_RX_INNER;
	}
	if (node_relay_was(n, &in->remote))
		return NODE_RELAY_RX_LATE;
	/* Framed, and not from a relay of ours: nobody's. */
	if ((in->data[0] & 0xc0) == 0x40 && turn_chan_parse(in->data, (uint32_t)in->len, &h))
		return NODE_RELAY_RX_REJECTED;
	return NODE_RELAY_RX_NOT;
}

/* ---- the nominated path ---- */

static bool path_channel(const struct node *n, const struct node_conn *c, uint64_t now,
			 uint16_t *number)
{
	return c->path_relay != NODE_RELAY_NONE &&
	       turn_channel(&n->mem.relays[c->path_relay], &c->path.remote, now, number);
}

void node_path_heard(struct node *n, uint32_t slot, uint64_t now)
{
	const struct node_conn *c = &n->mem.conns[slot];
	uint16_t number;

	node_relay_heard(n, c->path_relay);
	if (path_channel(n, c, now, &number))
		turn_heard(&n->mem.relays[c->path_relay], number, now);
}

void node_path_forget(struct node *n, uint32_t slot)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (c->path_relay != NODE_RELAY_NONE)
		node_chain_unlink(n, slot, NODE_BY_PEER);
	c->path_relay = NODE_RELAY_NONE;
}

void node_path_set(struct node *n, uint32_t slot, const struct ice_path *path)
{
	struct node_conn *c = &n->mem.conns[slot];
	unsigned r = NODE_RELAY_NONE;

	node_path_forget(n, slot);
	c->path = *path;
	c->path_relayed = path->local_kind == CAND_RELAY;
	c->path_channel = 0;
	if (c->path_relayed)
		r = node_relay_of_local(n, &path->local);
	if (r == NODE_RELAY_NONE)
		return;
	c->path_relay = (uint8_t)r;
	node_chain_link(n, slot, NODE_BY_PEER);
}

void node_path_lost(struct node *n, uint32_t slot)
{
	node_path_forget(n, slot);
	node_conn_wake(n, slot);
}

void node_path_refresh(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	uint16_t number = 0;

	if (!c->has_path || !c->path_relayed)
		return;
	if (!path_channel(n, c, now, &number) && c->path_relay != NODE_RELAY_NONE) {
		turn_bind(&n->mem.relays[c->path_relay], &c->path.remote, now);
		path_channel(n, c, now, &number);
	}
	if (number == c->path_channel)
		return;
	c->path_channel = number;
	c->path_news = true;
}

bool node_conn_path(const struct node *n, uint32_t slot, struct node_path *out, uint64_t now)
{
	const struct node_conn *c = node_conn(n, slot);

	if (!c || !c->has_path)
		return false;
	*out = (struct node_path){.ice = c->path, .relayed = c->path_relayed};
	out->peer_relayed = c->path.remote_kind == CAND_RELAY ||
			    (c->path.remote_kind == CAND_PRFLX &&
			     node_relay_host(n, &c->path.remote.ip));
	if (c->path_relay != NODE_RELAY_NONE &&
	    turn_route(&n->mem.relays[c->path_relay], &out->relay_local, &out->relay))
		path_channel(n, c, now, &out->channel);
	return true;
}

bool node_route(const struct node *n, uint32_t slot, struct node_route *out, uint64_t now)
{
	const struct node_conn *c = node_conn(n, slot);

	if (!c || !c->has_path)
		return false;
	*out = (struct node_route){.local = c->path.local, .remote = c->path.remote};
	if (!c->path_relayed)
		return true;
	return path_channel(n, c, now, &out->channel) &&
	       turn_route(&n->mem.relays[c->path_relay], &out->local, &out->remote);
}

/* ---- out ---- */

bool node_path_wrap(struct node *n, struct node_tx *tx, uint64_t now)
{
	unsigned r = node_relay_of_local(n, &tx->local);
	struct turn_tx request;
	struct turn *t;
	uint16_t number;

	if (r == NODE_RELAY_NONE) {
		n->acct.unrouted++;
		return false;
	}
	t = &n->mem.relays[r];
	if (!turn_channel(t, &tx->remote, now, &number)) {
		turn_bind(t, &tx->remote, now);
		if (!turn_channel(t, &tx->remote, now, &number)) {
			n->acct.unchannelled++;
			return false;
		}
	}
	if (!turn_route(t, &tx->local, &tx->remote)) {
		n->acct.unrouted++;
		return false;
	}
	memmove(tx->buf + TURN_CHAN_HDR_LEN, tx->buf, tx->len);
	turn_chan_put(tx->buf, number, (uint16_t)tx->len);
	tx->len += TURN_CHAN_HDR_LEN;
	node_relay_sent(n, r, now);
	/* Its bind first: the relay would not know the channel yet. */
	if (turn_poll_tx(t, &request, now)) {
		n->held = *tx;
		n->has_held = true;
		tx->local = request.local;
		tx->remote = request.remote;
		tx->len = request.len;
		memcpy(tx->buf, request.buf, request.len);
	}
	return true;
}

bool node_relay_poll_tx(struct node *n, struct node_tx *out, uint64_t now)
{
	struct turn_tx tx;

	for (unsigned r = 0; r < n->mem.n_relays; r++) {
		if (n->relays.at[r].state != NODE_RELAY_OPEN ||
		    !turn_poll_tx(&n->mem.relays[r], &tx, now))
			continue;
		out->local = tx.local;
		out->remote = tx.remote;
		out->len = tx.len;
		memcpy(out->buf, tx.buf, tx.len);
		return true;
	}
	if (!n->has_held)
		return false;
	*out = n->held;
	n->has_held = false;
	return true;
}

/* ---- events ---- */

/* Connections whose path leads to this peer through this relay look at their channel again. */
static void channel_news(struct node *n, unsigned r, const struct endpoint *peer)
{
	uint32_t slot = *node_bucket(n, NODE_BY_PEER, node_hash_peer(n, peer));

	for (; slot != NODE_NONE; slot = n->mem.conns[slot].next[NODE_BY_PEER])
		if (n->mem.conns[slot].path_relay == r &&
		    endpoint_eq(&n->mem.conns[slot].path.remote, peer))
			node_conn_wake(n, slot);
}

/* false: not for the caller. */
static bool turn_news(struct node *n, unsigned r, const struct turn_event *ev,
		      struct node_event *out, uint64_t now)
{
	struct node_relay_slot *s = &n->relays.at[r];

	switch (ev->kind) {
	case TURN_EV_CAND:
		if (s->state == NODE_RELAY_OPEN)
			node_home_cand(n, r, &ev->cand, now);
		return false;
	case TURN_EV_CAND_GONE:
		if (s->state == NODE_RELAY_OPEN)
			node_home_cand_gone(n, r, &ev->cand, now);
		return false;
	case TURN_EV_CHANNEL_UP:
	case TURN_EV_CHANNEL_DOWN:
		break;
	}
	channel_news(n, r, &ev->peer);
	out->kind = ev->kind == TURN_EV_CHANNEL_UP ? NODE_EV_CHANNEL_UP : NODE_EV_CHANNEL_DOWN;
	out->cid = s->id;
	out->channel = (struct node_channel){.relay = ev->server,
					     .relay_local = ev->local,
					     .peer = ev->peer,
					     .number = ev->number};
	turn_relayed(&n->mem.relays[r], ev->peer.ip.family, &out->channel.relayed);
	return true;
}

/* The events of one relay, and its end. */
static bool relay_poll(struct node *n, unsigned r, struct node_event *out, uint64_t now)
{
	struct node_relay_slot *s = &n->relays.at[r];
	struct turn *t = &n->mem.relays[r];
	struct turn_event ev;
	const char *why;

	if (s->state == NODE_RELAY_FREE)
		return false;
	while (turn_poll_event(t, &ev, now))
		if (turn_news(n, r, &ev, out, now))
			return true;
	if (s->state == NODE_RELAY_OPEN && turn_freeable(t, &why)) {
		node_relay_drop(n, r, why, now);
		node_home_all(n, now);
		node_relays_count(n);
		while (turn_poll_event(t, &ev, now))
			if (turn_news(n, r, &ev, out, now))
				return true;
	}
	if (s->state != NODE_RELAY_CLOSING)
		return false;
	turn_fini(t);
	s->state = NODE_RELAY_FREE;
	if (!s->gone_why)
		return false;
	out->kind = NODE_EV_RELAY_GONE;
	out->cid = s->id;
	out->why = s->gone_why;
	return true;
}

bool node_relay_poll_event(struct node *n, struct node_event *out, uint64_t now)
{
	*out = (struct node_event){.conn = NODE_NONE};
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (relay_poll(n, r, out, now))
			return true;
	if (!n->relays.none_news)
		return false;
	n->relays.none_news = false;
	if (n->relays.n_open)
		return false;
	out->kind = NODE_EV_NO_RELAYS;
	return true;
}

/* ---- time ---- */

struct deadline node_relay_deadline(const struct node *n)
{
	struct deadline d = deadline_never();

	if (n->has_held || n->relays.none_news)
		return (struct deadline){0, "relay news"};
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		switch (n->relays.at[r].state) {
		case NODE_RELAY_FREE:
			break;
		case NODE_RELAY_CLOSING:
			return (struct deadline){0, "relay removed"};
		case NODE_RELAY_OPEN:
			d = deadline_min(d, turn_deadline(&n->mem.relays[r]));
			break;
		}
	return d;
}

void node_relay_timeout(struct node *n, uint64_t now)
{
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN)
			turn_timeout(&n->mem.relays[r], now);
}
