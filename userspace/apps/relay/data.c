/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker does with datagrams: channel data to peers and to clients, stateless answers, and
 * what needs the machine's tables changed into the ring. Everything of a turn is sent at its end;
 * until then payloads lie in the receive buffers. */
#include <string.h>
#include <time.h>

#include "apps/relay/app.h"

/* Two directions of a binding, and a reply: no two flows share a key. */
enum { KEY_TO_PEER, KEY_TO_CLIENT, KEY_REPLY };

static uint64_t flow_key(uint32_t index, unsigned what)
{
	return (uint64_t)index << 2 | what;
}

static void count(struct worker *w, enum ps_reason_id reason, size_t bytes)
{
	reason_count(&w->reasons[reason], 1, bytes);
}

static enum ps_reason_id reason_of(enum relay_rx rx)
{
	switch (rx) {
	case RELAY_RX_DONE:
	case RELAY_RX_REFUSED:
		return PS_R_RUX_ANSWERED;
	case RELAY_RX_STATE:
		return PS_R_RUX_CONTROL;
	case RELAY_RX_EMPTY:
		return PS_R_RUX_BAD_SOURCE;
	case RELAY_RX_NO_ALLOC:
		return PS_R_RUX_NO_ALLOC;
	case RELAY_RX_NO_CHANNEL:
		return PS_R_RUX_NO_CHANNEL;
	case RELAY_RX_NO_PERMISSION:
		return PS_R_RUX_NO_PERMISSION;
	case RELAY_RX_DENIED:
		return PS_R_RUX_DENIED;
	case RELAY_RX_SELF:
		return PS_R_RUX_NO_SELF;
	case RELAY_RX_TOO_LARGE:
		return PS_R_RUX_TOO_LONG;
	case RELAY_RX_IGNORED:
	case RELAY_RX_BUSY:
		return PS_R_RUX_IGNORED;
	case RELAY_RX_NOT_TURN:
	case RELAY_RX_MALFORMED:
	default:
		return PS_R_RUX_MALFORMED;
	}
}

static enum ps_reason_id reason_of_miss(enum relay_hit hit)
{
	return hit == RELAY_MISS_ALLOC	? PS_R_RUX_NO_ALLOC
	       : hit == RELAY_MISS_SELF ? PS_R_RUX_NO_SELF
					: PS_R_RUX_NO_CHANNEL;
}

/* ---- answers ---- */

static void send_reply(struct worker *w, const struct relay_tx *tx, uint8_t ecn)
{
	struct gso_to to = {.key = flow_key(w->n_reply, KEY_REPLY), .dst = tx->dst, .ecn = ecn};
	unsigned fam = tx->dst.ip.family == 6;

	if (tx->to == RELAY_TO_CLIENT) {
		to.sock = &w->listen[fam];
		to.src = tx->local.ip;
	} else {
		to.sock = &w->app->allocs[tx->alloc].sock[fam];
	}
	gso_put(w->tx, &to, NULL, tx->buf, tx->len);
	w->n_reply++;
}

static struct relay_tx *reply_room(struct worker *w)
{
	if (w->n_reply == REPLIES_MAX) {
		gso_flush(w->tx);
		w->n_reply = 0;
	}
	w->reply[w->n_reply].len = 0;
	w->reply[w->n_reply].empty = false;
	return &w->reply[w->n_reply];
}

static void to_control(struct worker *w, const struct relay_dgram *in)
{
	const struct request head = {.local = in->local, .client = in->client};
	uint32_t len = (uint32_t)(sizeof(head) + in->len);
	uint8_t *p = in->len <= STUN_MSG_MAX ? byte_ring_reserve(&w->ring, len) : NULL;

	if (!p) {
		count(w, in->len <= STUN_MSG_MAX ? PS_R_RUX_RING_FULL : PS_R_RUX_TOO_LONG, in->len);
		return;
	}
	memcpy(p, &head, sizeof(head));
	memcpy(p + sizeof(head), in->data, in->len);
	byte_ring_commit(&w->ring, len);
	w->wake = true;
	count(w, PS_R_RUX_CONTROL, in->len);
}

/* Has it an allocation? Channel 0 is never bound. */
static bool is_known(const struct worker *w, const struct endpoint *client, uint64_t now)
{
	struct relay_route unused;

	return relay_from_client(&w->app->relay, client, 0, now, &unused) != RELAY_MISS_ALLOC;
}

static void request(struct worker *w, const struct gro_msg *m, const uint8_t *data, size_t len,
		    uint64_t now)
{
	const struct relay_dgram in = {
		.local = {.ip = m->local, .port = (uint16_t)w->app->opt.listen_port},
		.client = m->remote,
		.data = data,
		.len = len,
	};
	struct relay_tx *tx;
	enum relay_rx rx;

	if (!relay_gate_admit(&w->gate, &m->remote.ip, is_known(w, &m->remote, now), now)) {
		count(w, PS_R_RUX_RATE, len);
		return;
	}
	tx = reply_room(w);
	rx = relay_answer(&w->app->relay, &in, (uint64_t)time(NULL), now, tx);
	if (rx == RELAY_RX_STATE) {
		to_control(w, &in);
		return;
	}
	count(w, reason_of(rx), len);
	if (tx->len || tx->empty)
		send_reply(w, tx, 0);
}

/* ---- data ---- */

/* Others read them at any time. */
static void bump(uint64_t *packets, uint64_t *bytes, size_t len)
{
	__atomic_store_n(packets, *packets + 1, __ATOMIC_RELAXED);
	__atomic_store_n(bytes, *bytes + len, __ATOMIC_RELAXED);
}

/* One datagram's payload along a route that was found; own is the datagram's binding. */
static void forward(struct worker *w, const struct relay_route *r, bool from_client, uint8_t ecn,
		    const uint8_t *data, size_t len)
{
	unsigned fam = r->dst.ip.family == 6;
	struct gso_to to = {.dst = r->dst, .ecn = ecn};
	struct bind_count *c = &w->binds[r->bind];
	uint8_t hdr[TURN_CHAN_HDR_LEN];

	if (from_client)
		bump(&c->to_peer_packets, &c->to_peer_bytes, len);
	else
		bump(&c->to_client_packets, &c->to_client_bytes, len);
	if (r->to == RELAY_TO_PEER) {
		to.key = flow_key(r->bind, KEY_TO_PEER);
		to.sock = &w->app->allocs[r->alloc].sock[fam];
		gso_put(w->tx, &to, NULL, data, len);
		count(w, PS_R_RUX_TO_PEER, len);
		return;
	}
	to.key = flow_key(r->bind, KEY_TO_CLIENT);
	to.sock = &w->listen[fam];
	to.src = r->local.ip;
	if (from_client) {
		to.key = flow_key(r->to_bind, KEY_TO_CLIENT);
		c = &w->binds[r->to_bind];
		bump(&c->to_client_packets, &c->to_client_bytes, len);
	}
	turn_chan_put(hdr, r->channel, (uint16_t)len);
	gso_put(w->tx, &to, hdr, data, len);
	count(w, from_client ? PS_R_RUX_TO_SELF : PS_R_RUX_TO_CLIENT, len);
}

/* The route of the last datagram of this train: a train has mostly one. */
struct last_route {
	uint16_t channel; /* 0: none */
	enum relay_hit hit;
	struct relay_route route;
};

static void channel_data(struct worker *w, const struct gro_msg *m, struct last_route *last,
			 const uint8_t *data, uint32_t len, uint64_t now)
{
	struct turn_chan_hdr h;

	if (!turn_chan_parse(data, len, &h)) {
		count(w, PS_R_RUX_MALFORMED, len);
		return;
	}
	if (h.number != last->channel) {
		last->channel = h.number;
		last->hit = relay_from_client(&w->app->relay, &m->remote, h.number, now,
					      &last->route);
	}
	if (last->hit == RELAY_HIT)
		forward(w, &last->route, true, m->ecn, data + TURN_CHAN_HDR_LEN, h.len);
	else if (last->hit == RELAY_HIT_INDICATE)
		request(w, m, data, len, now);
	else
		count(w, reason_of_miss(last->hit), len);
}

static void from_client(struct worker *w, const struct gro_msg *m, uint64_t now)
{
	struct last_route last = {.channel = 0};

	for (uint32_t off = 0; off < m->len; off += m->seg) {
		const uint8_t *data = m->data + off;
		uint32_t len = m->len - off < m->seg ? m->len - off : m->seg;

		if ((data[0] & 0xc0) == 0x40)
			channel_data(w, m, &last, data, len, now);
		else
			request(w, m, data, len, now);
	}
}

static void indicate(struct worker *w, uint16_t port, const struct gro_msg *m, const uint8_t *data,
		     uint32_t len, uint64_t now)
{
	struct relay_tx *tx = reply_room(w);
	enum relay_rx rx = relay_peer_answer(&w->app->relay, port, &m->remote, data, len, now, tx);

	count(w, reason_of(rx), len);
	if (tx->len || tx->empty)
		send_reply(w, tx, m->ecn);
}

static void from_peer(struct worker *w, uint16_t port, const struct gro_msg *m, uint64_t now)
{
	struct relay_route route;
	enum relay_hit hit = relay_from_peer(&w->app->relay, port, &m->remote, now, &route);
	uint32_t off = 0;

	/* do: a datagram without bytes is one, too */
	do {
		const uint8_t *data = m->data + off;
		uint32_t len = m->len - off < m->seg ? m->len - off : m->seg;

		if (hit == RELAY_HIT)
			forward(w, &route, false, m->ecn, data, len);
		else if (hit == RELAY_HIT_INDICATE)
			indicate(w, port, m, data, len, now);
		else
			count(w,
			      hit == RELAY_MISS_CHANNEL ? PS_R_RUX_NO_PERMISSION
							: reason_of_miss(hit),
			      len);
		off += m->seg;
	} while (off < m->len);
}

/* ---- turns ---- */

static bool acceptable(struct worker *w, const struct gro_msg *m)
{
	if (m->remote.port && !m->truncated)
		return true;
	count(w, m->truncated ? PS_R_RUX_TOO_LONG : PS_R_RUX_BAD_SOURCE, m->len);
	return false;
}

static void turn_end(struct worker *w)
{
	const struct gso_stats *s = gso_tx_stats(w->tx);

	gso_flush(w->tx);
	w->n_reply = 0;
	if (s->blocked != w->seen.blocked)
		reason_count(&w->reasons[PS_R_RUX_SOCKET_FULL], s->blocked - w->seen.blocked, 0);
	if (s->failed != w->seen.failed)
		reason_count(&w->reasons[PS_R_RUX_SOCKET], s->failed - w->seen.failed, 0);
	w->seen = *s;
}

void data_listen_turn(struct worker *w, unsigned fam, uint64_t now)
{
	struct gro_msg *m;
	size_t n = gro_recv(w->rx, w->listen[fam].fd, LISTEN_BATCH, &m);

	for (size_t i = 0; i < n; i++) {
		if (!m[i].len)
			count(w, PS_R_RUX_BAD_SOURCE, 0);
		else if (acceptable(w, &m[i]))
			from_client(w, &m[i], now);
	}
	turn_end(w);
}

void data_alloc_turn(struct worker *w, uint32_t alloc, unsigned fam, uint64_t now)
{
	const struct alloc_sock *s = &w->app->allocs[alloc];
	struct gro_msg *m;
	size_t n = gro_recv(w->rx, s->sock[fam].fd, ALLOC_BATCH, &m);

	for (size_t i = 0; i < n; i++)
		if (acceptable(w, &m[i]))
			from_peer(w, s->port, &m[i], now);
	turn_end(w);
}
