/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of data: which binding takes it, and Send and Data indications where none does. Nothing
 * here changes anything. Data to one of the relay's own relayed addresses goes straight to that
 * allocation's client, as if it had come in from outside. */
#include <string.h>

#include "core/relay/relay_req.h"
#include "core/relay/relay_state.h"

/* ---- whom we may reach ---- */

uint8_t relay_family_bit(const struct ipaddr *ip)
{
	return ip->family == 4 ? RELAY_F4 : ip->family == 6 ? RELAY_F6 : 0;
}

static bool is_public(const struct relay *r, const struct ipaddr *ip)
{
	return ip->family && (ipaddr_eq(ip, &r->cfg.public4) || ipaddr_eq(ip, &r->cfg.public6));
}

static bool in_range(const struct relay *r, uint16_t port)
{
	return port >= r->cfg.port_lo && port <= r->cfg.port_hi && port != r->cfg.listen_port;
}

bool relay_peer_ip_ok(const struct relay *r, const struct ipaddr *ip)
{
	return relay_acl_check(&r->cfg.acl, ip) != RELAY_ACL_DENY;
}

/* Is it an address of this host: one that clients are told, the one this client talks to, or
 * another? */
static bool is_host(const struct relay *r, const struct ipaddr *ip)
{
	for (uint32_t i = 0; i < r->n_host; i++)
		if (ipaddr_eq(ip, &r->host[i]))
			return true;
	return false;
}

bool relay_peer_ok(const struct relay *r, const struct endpoint *local, const struct endpoint *peer)
{
	enum relay_acl_verdict v = relay_acl_check(&r->cfg.acl, &peer->ip);
	bool inner, told;
	struct ipaddr ip;

	if (v == RELAY_ACL_DENY || !peer->port)
		return false;
	inner = relay_acl_inner(&peer->ip, &ip);
	if (!inner)
		ip = peer->ip;
	told = is_public(r, &ip) || ipaddr_eq(&ip, &local->ip);
	if (!told && !is_host(r, &ip))
		return true;
	/* Ourselves: other clients' relayed addresses, never the control port, and what else runs
	 * here only when a rule says so. */
	if (peer->port == r->cfg.listen_port || endpoint_eq(peer, local))
		return false;
	return v == RELAY_ACL_ALLOW || (told && !inner && in_range(r, peer->port));
}

/* ---- routes ---- */

static void to_client(const struct relay *r, uint32_t alloc, uint16_t channel,
		      struct relay_route *out)
{
	const struct relay_alloc *a = &r->table.allocs[alloc];

	out->to = RELAY_TO_CLIENT;
	out->channel = channel;
	out->src_port = a->local.port;
	out->local = a->local;
	out->dst = a->client;
}

/* An allocation's address as the peer sees it. */
static struct endpoint relayed(const struct relay *r, uint32_t alloc, uint8_t family)
{
	return (struct endpoint){.ip = family == 4 ? r->cfg.public4 : r->cfg.public6,
				 .port = r->table.allocs[alloc].port};
}

/* From an allocation to a peer it may send to. */
static enum relay_hit route_out(const struct relay *r, uint32_t alloc, const struct endpoint *peer,
				uint64_t now, struct relay_route *out)
{
	const struct relay_table *t = &r->table;
	struct endpoint from;
	uint32_t other, bind;

	out->to_alloc = RELAY_NONE;
	out->to_bind = RELAY_NONE;
	if (!is_public(r, &peer->ip) || !in_range(r, peer->port)) {
		out->to = RELAY_TO_PEER;
		out->channel = 0;
		out->src_port = t->allocs[alloc].port;
		out->local = (struct endpoint){0};
		out->dst = *peer;
		return RELAY_HIT;
	}
	other = relay_alloc_of_port(t, peer->port);
	if (!relay_alloc_is_live(t, other, now) ||
	    !(t->allocs[other].families & relay_family_bit(&peer->ip)))
		return RELAY_MISS_SELF;
	from = relayed(r, alloc, peer->ip.family);
	bind = relay_bind_of_peer(t, peer->port, &from);
	out->to_alloc = other;
	if (relay_bind_is_live(t, bind, now)) {
		out->to_bind = bind;
		to_client(r, other, t->binds[bind].channel, out);
		return RELAY_HIT;
	}
	to_client(r, other, 0, out);
	return relay_perm_is_live(t, other, &from.ip, now) ? RELAY_HIT_INDICATE : RELAY_MISS_SELF;
}

enum relay_hit relay_from_client(const struct relay *r, const struct endpoint *client,
				 uint16_t channel, uint64_t now, struct relay_route *out)
{
	const struct relay_table *t = &r->table;
	uint32_t i = relay_bind_of_channel(t, client, channel);

	if (!relay_bind_is_live(t, i, now))
		return relay_alloc_is_live(t, relay_alloc_of_client(t, client), now)
			       ? RELAY_MISS_CHANNEL
			       : RELAY_MISS_ALLOC;
	out->bind = i;
	out->alloc = t->binds[i].alloc;
	return route_out(r, out->alloc, &t->binds[i].peer, now, out);
}

enum relay_hit relay_from_peer(const struct relay *r, uint16_t port, const struct endpoint *peer,
			       uint64_t now, struct relay_route *out)
{
	const struct relay_table *t = &r->table;
	uint32_t i = relay_bind_of_peer(t, port, peer);
	bool bound = relay_bind_is_live(t, i, now);

	out->bind = bound ? i : RELAY_NONE;
	out->alloc = bound ? t->binds[i].alloc : relay_alloc_of_port(t, port);
	out->to_alloc = RELAY_NONE;
	out->to_bind = RELAY_NONE;
	if (!relay_alloc_is_live(t, out->alloc, now))
		return RELAY_MISS_ALLOC;
	to_client(r, out->alloc, bound ? t->binds[i].channel : 0, out);
	if (bound)
		return RELAY_HIT;
	return relay_perm_is_live(t, out->alloc, &peer->ip, now) ? RELAY_HIT_INDICATE
								 : RELAY_MISS_CHANNEL;
}

/* ---- datagrams ---- */

static enum relay_rx rx_of_miss(enum relay_hit hit)
{
	switch (hit) {
	case RELAY_MISS_ALLOC:
		return RELAY_RX_NO_ALLOC;
	case RELAY_MISS_CHANNEL:
		return RELAY_RX_NO_CHANNEL;
	case RELAY_MISS_SELF:
	case RELAY_HIT:
	case RELAY_HIT_INDICATE:
		break;
	}
	return RELAY_RX_SELF;
}

/* Indications have no answer, so their transaction id needs only to be hard to foresee. */
static struct stun_tid tid_make(const struct relay *r, const struct endpoint *peer, size_t len,
				uint64_t now)
{
	struct stun_tid tid;

	for (uint32_t i = 0; i < STUN_TID_LEN / 4; i++) {
		uint64_t key[] = {now, len, i};
		uint32_t h = idx_hash(r->table.seed ^ peer->port, key, sizeof(key));

		memcpy(tid.b + 4 * (size_t)i, &h, 4);
	}
	return tid;
}

/* Send data of a peer (from) along a route. */
static enum relay_rx deliver(const struct relay *r, enum relay_hit hit, const struct relay_route *w,
			     uint32_t alloc, const struct endpoint *from, const uint8_t *data,
			     size_t len, uint64_t now, struct relay_tx *tx)
{
	struct stun_tid tid;
	bool fits;

	if (hit != RELAY_HIT && hit != RELAY_HIT_INDICATE)
		return rx_of_miss(hit);
	if (w->to == RELAY_TO_PEER) {
		fits = len <= sizeof(tx->buf);
		tx->to = RELAY_TO_PEER;
		tx->src_port = w->src_port;
		tx->local = w->local;
		tx->dst = w->dst;
		tx->len = fits ? len : 0;
		tx->empty = fits && !len;
		if (fits && len)
			memcpy(tx->buf, data, len);
	} else if (hit == RELAY_HIT) {
		fits = relay_msg_channel(&w->local, &w->dst, w->channel, data, len, tx);
	} else {
		tid = tid_make(r, from, len, now);
		fits = relay_msg_data(&r->table.allocs[alloc], from, &tid, data, len, tx);
	}
	tx->alloc = alloc;
	return fits ? RELAY_RX_DONE : RELAY_RX_TOO_LARGE;
}

static enum relay_rx send_out(const struct relay *r, enum relay_hit hit,
			      const struct relay_route *w, const struct endpoint *peer,
			      const uint8_t *data, size_t len, uint64_t now, struct relay_tx *tx)
{
	struct endpoint from = relayed(r, w->alloc, peer->ip.family);

	return deliver(r, hit, w, w->to_alloc == RELAY_NONE ? w->alloc : w->to_alloc, &from, data,
		       len, now, tx);
}

enum relay_rx relay_send(const struct relay *r, const struct relay_req *q, uint64_t now,
			 struct relay_tx *tx)
{
	const struct relay_table *t = &r->table;
	uint32_t i = relay_alloc_of_client(t, &q->in->client);
	struct relay_route w = {.alloc = i, .bind = RELAY_NONE};
	struct endpoint peer;
	const uint8_t *data;
	enum relay_hit hit;
	size_t len;

	data = stun_bytes(&q->m, STUN_A_DATA, &len);
	if (!data || !stun_xor_addr(&q->m, STUN_A_XOR_PEER_ADDRESS, &peer))
		return RELAY_RX_MALFORMED;
	if (!relay_alloc_is_live(t, i, now))
		return RELAY_RX_NO_ALLOC;
	if (!relay_perm_is_live(t, i, &peer.ip, now) &&
	    !relay_bind_is_live(t, relay_bind_of_peer(t, t->allocs[i].port, &peer), now))
		return RELAY_RX_NO_PERMISSION;
	if (!relay_peer_ok(r, &t->allocs[i].local, &peer))
		return RELAY_RX_DENIED;
	hit = route_out(r, i, &peer, now, &w);
	return send_out(r, hit, &w, &peer, data, len, now, tx);
}

enum relay_rx relay_channel_data(const struct relay *r, const struct relay_dgram *in, uint64_t now,
				 struct relay_tx *tx)
{
	struct turn_chan_hdr h;
	struct relay_route w;
	enum relay_hit hit;

	if (!turn_chan_parse(in->data, (uint32_t)in->len, &h))
		return RELAY_RX_MALFORMED;
	hit = relay_from_client(r, &in->client, h.number, now, &w);
	if (hit == RELAY_MISS_ALLOC || hit == RELAY_MISS_CHANNEL)
		return rx_of_miss(hit);
	return send_out(r, hit, &w, &r->table.binds[w.bind].peer, in->data + TURN_CHAN_HDR_LEN,
			h.len, now, tx);
}

enum relay_rx relay_peer_answer(const struct relay *r, uint16_t port, const struct endpoint *peer,
				const uint8_t *data, size_t len, uint64_t now, struct relay_tx *tx)
{
	struct relay_route w;
	enum relay_hit hit = relay_from_peer(r, port, peer, now, &w);

	tx->len = 0;
	tx->empty = false;
	if (hit == RELAY_MISS_CHANNEL)
		return RELAY_RX_NO_PERMISSION;
	return deliver(r, hit, &w, w.alloc, peer, data, len, now, tx);
}
