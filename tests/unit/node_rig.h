/* SPDX-License-Identifier: Apache-2.0
 *
 * Two nodes and some relays in virtual time, small enough for a unit test: fixed delays, a portal
 * that only carries candidates, a switch for the direct path. Nodes have one address each; data is
 * a WireGuard data header naming a session, nothing sealed. */
#ifndef PENSTOCK_TESTS_NODE_RIG_H
#define PENSTOCK_TESTS_NODE_RIG_H
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "core/node/node.h"
#include "core/relay/relay.h"
#include "tests/t.h"
#include "wire/turn.h"
#include "wire/wg.h"

#define RIG_CONNS  8
#define RIG_SLOTS  64
#define RIG_RELAYS 4
#define RIG_QUEUE  512
#define RIG_SLOT   3 /* the connection's slot on both sides */
#define RIG_UNIX   1700000000
#define RIG_CLIENT 0
#define RIG_GW	   1

struct rig_item {
	uint64_t at, no; /* no: of those due at once the first put is the first out */
	bool used, signal;
	unsigned to; /* signal: node */
	struct endpoint src, dst;
	size_t len;
	uint8_t data[NODE_TX_MAX];
};

struct rig_node {
	struct node node;
	struct node_mem mem;
	struct endpoint host;
	uint32_t next_idx;	    /* the last of ours given out */
	uint32_t our_idx, peer_idx; /* of the newest session */
	unsigned ev[NODE_EV_NO_RELAYS + 1], rx[NODE_RX_RELAY_LATE + 1];
	unsigned tx_direct, tx_relay, data_direct, data_relayed;
	struct node_path path; /* as the last event said */
	struct node_rx_view view;
	bool cut; /* from the portal */
	const char *why;
	unsigned up, down; /* channels */
	bool told[RIG_RELAYS][0x1000];
};

struct rig_relay {
	struct relay relay;
	struct relay_auth auth;
	void *mem;
	struct ipaddr ip;
	bool up;
	struct uuid id;
	uint64_t delay_ns;
	char secret[32];
	unsigned data, missed; /* channel data of clients relayed, and without a channel */
};

struct rig {
	uint64_t now, delay_ns, portal_ns;
	uint8_t family;
	bool blocked; /* the direct path */
	unsigned loss_percent;
	uint64_t n_put;
	uint64_t rand;
	struct rig_node n[2];
	struct rig_relay r[RIG_RELAYS];
	struct rig_item *q;
};

static struct rig rig;

/* ---- the network ---- */

static struct rig_item *rig_put(uint64_t at)
{
	for (unsigned i = 0; i < RIG_QUEUE; i++)
		if (!rig.q[i].used) {
			rig.q[i].used = true;
			rig.q[i].signal = false;
			rig.q[i].at = at;
			rig.q[i].no = rig.n_put++;
			return &rig.q[i];
		}
	abort();
}

static struct rig_relay *rig_relay_at(const struct ipaddr *ip)
{
	for (unsigned i = 0; i < RIG_RELAYS; i++)
		if (ipaddr_eq(&rig.r[i].ip, ip))
			return &rig.r[i];
	return NULL;
}

static void rig_send(const struct endpoint *src, const struct endpoint *dst, const void *data,
		     size_t len)
{
	const struct rig_relay *a = rig_relay_at(&src->ip), *b = rig_relay_at(&dst->ip);
	struct rig_item *it;

	if ((!a && !b && rig.blocked) || t_rand(&rig.rand) % 100 < rig.loss_percent)
		return;
	it = rig_put(rig.now + rig.delay_ns + (a ? a->delay_ns : 0) + (b ? b->delay_ns : 0));
	it->src = *src;
	it->dst = *dst;
	it->len = len;
	memcpy(it->data, data, len);
}

/* ---- relays ---- */

static void rig_relay_start(unsigned i, const char *secret, uint64_t delay_ns)
{
	struct rig_relay *r = &rig.r[i];
	const struct relay_size size = {16, 256, 16};
	struct relay_cfg cfg = {.size = size};
	uint8_t seed[32] = {(uint8_t)i, (uint8_t)secret[0]};

	r->ip = rig.family == 4 ? ipaddr_v4(203, 0, 113, (uint8_t)(i + 1))
				: (struct ipaddr){.family = 6,
						  .b = {0x20, 1, 0xd, [15] = (uint8_t)(i + 1)}};
	r->id.b[0] = (uint8_t)(i + 1);
	r->delay_ns = delay_ns;
	r->up = true;
	snprintf(r->secret, sizeof(r->secret), "%s", secret);
	if (rig.family == 4)
		cfg.public4 = r->ip;
	else
		cfg.public6 = r->ip;
	free(r->mem);
	r->mem = malloc(relay_mem_size(&size));
	T_EQ(relay_auth_init(&r->auth, NULL), 0);
	T_EQ(relay_auth_set_stamp(&r->auth, secret), 0);
	T_EQ(relay_init(&r->relay, &cfg, &r->auth, r->mem, relay_mem_size(&size), seed, rig.now),
	     0);
}

static void rig_relay_drain(struct rig_relay *r)
{
	struct endpoint own = {.ip = r->ip};
	struct relay_event ev;
	struct relay_tx tx;

	while (relay_poll_event(&r->relay, &ev))
		;
	while (relay_poll_tx(&r->relay, &tx)) {
		own.port = tx.src_port;
		rig_send(tx.to == RELAY_TO_CLIENT ? &tx.local : &own, &tx.dst, tx.buf, tx.len);
	}
}

static void rig_relay_forward(struct rig_relay *r, const struct relay_route *to,
			      const uint8_t *data, size_t len)
{
	struct endpoint own = {.ip = r->ip, .port = to->src_port};
	uint8_t buf[NODE_TX_MAX];

	r->data++;
	if (to->to == RELAY_TO_PEER) {
		rig_send(&own, &to->dst, data, len);
		return;
	}
	turn_chan_put(buf, to->channel, (uint16_t)len);
	memcpy(buf + TURN_CHAN_HDR_LEN, data, len);
	rig_send(&to->local, &to->dst, buf, len + TURN_CHAN_HDR_LEN);
}

static void rig_relay_input(struct rig_relay *r, const struct rig_item *it)
{
	const struct relay_dgram d = {it->dst, it->src, it->data, it->len};
	struct turn_chan_hdr h;
	struct relay_route to;

	if (!r->up)
		return;
	if (it->dst.port != TURN_PORT) {
		if (relay_from_peer(&r->relay, it->dst.port, &it->src, rig.now, &to) == RELAY_HIT)
			rig_relay_forward(r, &to, it->data, it->len);
		return;
	}
	if (turn_chan_parse(it->data, (uint32_t)it->len, &h)) {
		if (relay_from_client(&r->relay, &it->src, h.number, rig.now, &to) == RELAY_HIT)
			rig_relay_forward(r, &to, it->data + TURN_CHAN_HDR_LEN, h.len);
		else
			r->missed++;
		return;
	}
	relay_input(&r->relay, &d, RIG_UNIX + rig.now / NS_PER_SEC, rig.now);
	rig_relay_drain(r);
}

/* The relay as the portal names it to a node now; no two have the same credentials. */
static struct node_relay rig_named(unsigned who, unsigned i)
{
	const struct rig_relay *r = &rig.r[i];
	struct node_relay a = {.id = r->id};
	const struct endpoint at = {.ip = r->ip, .port = TURN_PORT};
	char password[RELAY_PASSWORD_CAP];

	if (rig.family == 4)
		a.addr4 = at;
	else
		a.addr6 = at;
	snprintf(a.username, sizeof(a.username), "%u:salt%u", RIG_UNIX + 1000000, who);
	T_EQ(relay_stamp_password(r->secret, a.username, strlen(a.username), password), 0);
	memcpy(a.password, password, sizeof(password));
	return a;
}

/* ---- nodes ---- */

static void rig_data_put(struct rig_node *p, bool keepalive)
{
	uint8_t msg[WG_DATA_OVERHEAD + TURN_CHAN_HDR_LEN] = {0};
	const size_t len = WG_DATA_OVERHEAD;
	struct node_route to;
	size_t off;

	if (!p->peer_idx || !node_route(&p->node, RIG_SLOT, &to, rig.now))
		return;
	off = to.channel ? TURN_CHAN_HDR_LEN : 0;
	if (off)
		turn_chan_put(msg, to.channel, (uint16_t)len);
	le32_put(msg + off, WG_MSG_DATA);
	le32_put(msg + off + 4, p->peer_idx);
	msg[off + 8] = keepalive;
	node_on_data(&p->node, RIG_SLOT, p->our_idx, false, keepalive, rig.now, rig.now);
	rig_send(to.local.ip.family ? &to.local : &p->host, &to.remote, msg, off + len);
}

static void rig_data_send(struct rig_node *p)
{
	rig_data_put(p, false);
}

/* Was this channel said to be up? */
static bool *rig_told(struct rig_node *p, const struct node_channel *c)
{
	const struct rig_relay *r = rig_relay_at(&c->relay.ip);

	T(r && c->relay.port == TURN_PORT && c->number >= TURN_CHAN_MIN &&
	  c->number <= TURN_CHAN_ALLOC_MAX);
	return &p->told[r ? r - rig.r : 0][c->number & 0xfff];
}

static void rig_event(struct rig_node *p, const struct node_event *ev)
{
	p->ev[ev->kind]++;
	switch (ev->kind) {
	case NODE_EV_CANDIDATE:
	case NODE_EV_CANDIDATE_GONE: {
		struct rig_item *it = rig_put(rig.now + rig.portal_ns);

		it->signal = true;
		it->to = p == &rig.n[0];
		it->data[0] = ev->kind == NODE_EV_CANDIDATE;
		it->len = strlen(ev->text);
		memcpy(it->data + 1, ev->text, it->len);
		break;
	}
	case NODE_EV_PATH:
		p->path = ev->path;
		break;
	case NODE_EV_WANT_INDEX:
		p->next_idx += RIG_SLOTS + 1; /* another low part and another high part */
		node_give_index(&p->node, ev->conn, p->next_idx);
		break;
	case NODE_EV_WG:
		if (ev->wg.type == WG_EV_SESSION) {
			p->peer_idx = ev->wg.remote_idx;
			p->our_idx = ev->wg.local_idx;
		}
		if (ev->wg.type == WG_EV_KEEPALIVE)
			rig_data_put(p, true);
		break;
	case NODE_EV_FAILED:
	case NODE_EV_RELAY_GONE:
		p->why = ev->why;
		if (ev->kind == NODE_EV_FAILED)
			node_close(&p->node, ev->conn, rig.now);
		break;
	case NODE_EV_CHANNEL_UP:
		p->up++;
		*rig_told(p, &ev->channel) = true;
		break;
	case NODE_EV_CHANNEL_DOWN:
		p->down++;
		T(*rig_told(p, &ev->channel));
		*rig_told(p, &ev->channel) = false;
		break;
	case NODE_EV_ESTABLISHED:
	case NODE_EV_CLOSED:
	case NODE_EV_NO_RELAYS:
		break;
	}
}

/* The first timer is the least of all, and nobody has two. */
static void rig_timers(const struct node *n)
{
	const struct due *first = due_heap_first(&n->due);

	for (uint32_t i = 0; i < n->due.n; i++) {
		T(n->mem.due[i].at >= first->at);
		T_EQ(n->mem.due_pos[n->mem.due[i].id], i + 1);
	}
}

static void rig_drain(struct rig_node *p)
{
	struct node_event ev;
	struct node_tx tx;

	rig_timers(&p->node);
	do {
		while (node_poll_event(&p->node, &ev, rig.now))
			rig_event(p, &ev);
		if (!node_poll_tx(&p->node, &tx, rig.now))
			break;
		while (node_poll_event(&p->node, &ev, rig.now))
			rig_event(p, &ev);
		if (rig_relay_at(&tx.remote.ip) && tx.remote.port == TURN_PORT)
			p->tx_relay++;
		else
			p->tx_direct++;
		/* from where we are; a handshake follows its path until there is another */
		T(tx.local.ip.family == 0 || endpoint_eq(&tx.local, &p->host) || !tx.buf[1]);
		rig_send(&p->host, &tx.remote, tx.buf, tx.len);
	} while (true);
}

static enum node_rx rig_input(struct rig_node *p, const struct endpoint *src, const uint8_t *data,
			      size_t len)
{
	const struct ice_dgram in = {p->host, *src, data, len};
	enum node_rx rx = node_input(&p->node, &in, &p->view, rig.now);

	p->rx[rx]++;
	if (rx == NODE_RX_DATA) {
		/* through our relay, or through the peer's */
		if (p->view.relayed || rig_relay_at(&p->view.remote.ip))
			p->data_relayed++;
		else
			p->data_direct++;
		T_EQ(p->view.len, WG_DATA_OVERHEAD);
		T_EQ(data[p->view.off], WG_MSG_DATA);
		node_on_data(&p->node, RIG_SLOT, le32_get(data + p->view.off + 4), true,
			     data[p->view.off + 8], rig.now, rig.now);
	}
	rig_drain(p);
	return rx;
}

static void rig_deliver(struct rig_item *it)
{
	struct rig_relay *r = it->signal ? NULL : rig_relay_at(&it->dst.ip);

	if (it->signal) {
		struct rig_node *p = &rig.n[it->to];
		char text[SDP_CAND_STRLEN];

		memcpy(text, it->data + 1, it->len);
		(it->data[0] ? node_add_candidate : node_remove_candidate)(&p->node, RIG_SLOT, text,
									   it->len, rig.now);
		rig_drain(p);
		return;
	}
	if (r) {
		rig_relay_input(r, it);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		if (endpoint_eq(&rig.n[i].host, &it->dst)) {
			rig_input(&rig.n[i], &it->src, it->data, it->len);
			return;
		}
}

/* ---- time ---- */

static bool rig_waits(const struct rig_item *it)
{
	return it->signal && (rig.n[0].cut || rig.n[1].cut);
}

static struct rig_item *rig_next(void)
{
	struct rig_item *best = NULL;

	for (unsigned i = 0; i < RIG_QUEUE; i++)
		if (rig.q[i].used && !rig_waits(&rig.q[i]) &&
		    (!best || rig.q[i].at < best->at ||
		     (rig.q[i].at == best->at && rig.q[i].no < best->no)))
			best = &rig.q[i];
	return best;
}

static void rig_run(uint64_t ms)
{
	uint64_t until = rig.now + ms * NS_PER_MS, wake;

	for (unsigned i = 0; i < 2; i++)
		rig_drain(&rig.n[i]);
	for (unsigned steps = 0;; steps++) {
		struct rig_item *it = rig_next();

		wake = it ? it->at : until;
		for (unsigned i = 0; i < 2; i++) {
			uint64_t at = node_deadline(&rig.n[i].node).at;

			if (at < wake)
				wake = at;
		}
		for (unsigned i = 0; i < RIG_RELAYS; i++)
			if (rig.r[i].up && relay_deadline(&rig.r[i].relay).at < wake)
				wake = relay_deadline(&rig.r[i].relay).at;
		if (wake > until || steps > 2000000)
			break;
		T(steps < 2000000);
		if (wake > rig.now)
			rig.now = wake;
		if (it && it->at <= rig.now) {
			rig_deliver(it);
			it->used = false; /* not before: what it leads to must not overwrite it */
		}
		for (unsigned i = 0; i < 2; i++) {
			node_timeout(&rig.n[i].node, rig.now);
			rig_drain(&rig.n[i]);
		}
		for (unsigned i = 0; i < RIG_RELAYS; i++)
			if (rig.r[i].up) {
				relay_timeout(&rig.r[i].relay, rig.now);
				rig_relay_drain(&rig.r[i]);
			}
		if (rig.now >= until && !(it && rig_next() && rig_next()->at <= rig.now))
			break;
	}
	rig.now = until;
}

/* ---- making it ---- */

static void rig_node_init(struct rig_node *p, unsigned who, uint32_t n_conns)
{
	const struct node_cfg cfg = {.gateway = who == RIG_GW, .wg_times = wg_times_default()};
	const uint8_t priv[32] = {(uint8_t)(who + 1)}, seed[32] = {(uint8_t)(who + 7)};

	p->mem = (struct node_mem){.n_conns = n_conns,
				   .n_buckets = RIG_CONNS,
				   .n_slots = RIG_SLOTS,
				   .n_relays = NODE_RELAYS_MAX};
	p->mem.conns = calloc(n_conns, sizeof(*p->mem.conns));
	p->mem.due = calloc(n_conns, sizeof(*p->mem.due));
	p->mem.due_pos = calloc(n_conns, sizeof(*p->mem.due_pos));
	p->mem.buckets = calloc(NODE_CHAINS * RIG_CONNS, sizeof(*p->mem.buckets));
	p->mem.conn_of_slot = calloc(RIG_SLOTS, sizeof(*p->mem.conn_of_slot));
	p->mem.relays = calloc(NODE_RELAYS_MAX, sizeof(*p->mem.relays));
	p->next_idx = who * 7;
	p->host = (struct endpoint){
		.ip = rig.family == 4 ? ipaddr_v4(192, 0, 2, (uint8_t)(who + 1))
				      : (struct ipaddr){.family = 6,
							.b = {0xfd, [15] = (uint8_t)(who + 1)}},
		.port = 52625};
	T_EQ(node_init(&p->node, &cfg, &p->mem, priv, seed, (struct wall){.sec = RIG_UNIX},
		       rig.now),
	     0);
	node_set_hosts(&p->node, &p->host, 1, rig.now);
}

static void rig_open(uint8_t family, bool blocked, uint32_t n_conns)
{
	memset(&rig, 0, sizeof(rig));
	rig.family = family;
	rig.blocked = blocked;
	rig.now = 1000 * NS_PER_SEC;
	rig.delay_ns = 2 * NS_PER_MS;
	rig.rand = t_seed();
	rig.portal_ns = 20 * NS_PER_MS;
	rig.q = calloc(RIG_QUEUE, sizeof(*rig.q));
	rig_node_init(&rig.n[0], 0, n_conns);
	rig_node_init(&rig.n[1], 1, n_conns);
}

static void rig_close(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct node_mem *m = &rig.n[i].mem;

		node_fini(&rig.n[i].node);
		free(m->conns);
		free(m->due);
		free(m->due_pos);
		free(m->buckets);
		free(m->conn_of_slot);
		free(m->relays);
	}
	for (unsigned i = 0; i < RIG_RELAYS; i++)
		free(rig.r[i].mem);
	free(rig.q);
}

/* The portal names relays to a node: ids gone, then relays to add, as bits by number. */
static void rig_relays(unsigned who, uint32_t gone, uint32_t add)
{
	struct node_relay a[RIG_RELAYS];
	struct uuid g[RIG_RELAYS];
	uint32_t n_gone = 0, n_add = 0;

	for (unsigned i = 0; i < RIG_RELAYS; i++) {
		if (gone >> i & 1)
			g[n_gone++] = rig.r[i].id;
		if (add >> i & 1)
			a[n_add++] = rig_named(who, i);
	}
	node_update_relays(&rig.n[who].node, g, n_gone, a, n_add, rig.now);
	rig_drain(&rig.n[who]);
}

static struct node_peer rig_peer(unsigned who, uint8_t no)
{
	const struct ice_creds c[2] = {{"clie", "clientpasswordclientpw"},
				       {"gate", "gatewaypasswordgateway"}};
	struct node_peer p = {
		.cid = {{no, (uint8_t)(who + 1)}}, .local = c[who], .remote = c[!who]};

	p.local.ufrag[3] = p.remote.ufrag[3] = (char)('a' + no % 26);
	p.local.ufrag[2] = p.remote.ufrag[2] = (char)('a' + no / 26);
	memcpy(p.remote_pub, node_public_key(&rig.n[!who].node), 32);
	memset(p.psk, 7, sizeof(p.psk));
	return p;
}

static void rig_connect(void)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct node_peer p = rig_peer(!i, 0);

		T_EQ(node_upsert(&rig.n[!i].node, RIG_SLOT, &p, rig.now), NODE_UPSERT_CREATED);
		rig_drain(&rig.n[!i]);
	}
}

/* Which relay (by number) a node's connection is assigned to; -1: none. */
static int rig_assigned(unsigned who)
{
	const struct node_conn *c = node_conn(&rig.n[who].node, RIG_SLOT);
	struct node_relay_view v;

	if (!c || c->relay == NODE_RELAY_NONE || !node_relay_view(&rig.n[who].node, c->relay, &v))
		return -1;
	return v.id.b[0] - 1;
}

/* Each side sends one packet; do both arrive? */
static bool rig_talks(void)
{
	unsigned had[2];

	for (unsigned i = 0; i < 2; i++)
		had[i] = rig.n[i].data_direct + rig.n[i].data_relayed;
	for (unsigned i = 0; i < 2; i++)
		rig_data_send(&rig.n[i]);
	rig_run(200);
	return rig.n[0].data_direct + rig.n[0].data_relayed > had[0] &&
	       rig.n[1].data_direct + rig.n[1].data_relayed > had[1];
}
#endif
