/* SPDX-License-Identifier: Apache-2.0
 * The simulated relay. See sim_relay.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_relay.h"

/* ---- the table made of events ---- */

static void shadow(struct sim_relay *r, const struct relay_event *ev)
{
	struct sim_relay_bind *b;

	if (ev->kind == RELAY_EV_ALLOC_ADD || ev->kind == RELAY_EV_ALLOC_DEL) {
		if (r->ports[ev->port] == (ev->kind == RELAY_EV_ALLOC_ADD))
			sim_fail(r->sim, "relay %u: port %u told twice", r->number, ev->port);
		r->ports[ev->port] = ev->kind == RELAY_EV_ALLOC_ADD;
		for (unsigned i = 0; !r->ports[ev->port] && i < r->n_binds; i++)
			if (r->binds[i].used && r->binds[i].port == ev->port)
				sim_fail(r->sim, "relay %u: a binding outlives its allocation",
					 r->number);
		return;
	}
	b = &r->binds[ev->bind];
	r->n_binds = ev->bind < r->n_binds ? r->n_binds : ev->bind + 1;
	if (ev->kind == RELAY_EV_BIND_DEL) {
		if (!b->used)
			sim_fail(r->sim, "relay %u: binding deleted twice", r->number);
		b->used = false;
		return;
	}
	*b = (struct sim_relay_bind){true,	  ev->client, ev->peer,
				     ev->channel, ev->port,   ev->expires_ns};
}

static void drain_events(struct sim_relay *r)
{
	struct relay_event ev;

	while (relay_poll_event(&r->relay, &ev))
		shadow(r, &ev);
}

static bool live(const struct sim_relay_bind *b, uint64_t now)
{
	return b->used && b->expires_ns > now;
}

/* What the table of events says of data from a client; NULL: nothing. */
static const struct sim_relay_bind *shadow_channel(const struct sim_relay *r,
						   const struct endpoint *client, uint16_t channel,
						   uint64_t now)
{
	for (unsigned i = 0; i < r->n_binds; i++)
		if (live(&r->binds[i], now) && r->binds[i].channel == channel &&
		    endpoint_eq(&r->binds[i].client, client))
			return &r->binds[i];
	return NULL;
}

static const struct sim_relay_bind *shadow_peer(const struct sim_relay *r, uint16_t port,
						const struct endpoint *peer, uint64_t now)
{
	for (unsigned i = 0; i < r->n_binds; i++)
		if (live(&r->binds[i], now) && r->binds[i].port == port &&
		    endpoint_eq(&r->binds[i].peer, peer))
			return &r->binds[i];
	return NULL;
}

/* ---- sending ---- */

static struct sim_out *queue_add(struct sim_relay *r)
{
	if (r->n_queue == SIM_RELAY_QUEUE) {
		sim_fail(r->sim, "relay %u: queue full", r->number);
		r->n_queue = 0;
	}
	return &r->queue[(r->head + r->n_queue++) % SIM_RELAY_QUEUE];
}

static struct endpoint own(const struct sim_relay *r, unsigned family, uint16_t port)
{
	return (struct endpoint){.ip = family == 4 ? r->ip4 : r->ip6, .port = port};
}

static void drain(struct sim_relay *r)
{
	struct relay_tx tx;
	struct sim_out *o;

	drain_events(r);
	while (relay_poll_tx(&r->relay, &tx)) {
		o = queue_add(r);
		o->local = tx.to == RELAY_TO_CLIENT ? tx.local
						    : own(r, tx.dst.ip.family, tx.src_port);
		o->remote = tx.dst;
		o->len = tx.len;
		memcpy(o->buf, tx.buf, tx.len);
	}
}

static void forward(struct sim_relay *r, const struct relay_route *to, const uint8_t *data,
		    size_t len)
{
	struct sim_out *o = queue_add(r);
	size_t off = to->to == RELAY_TO_CLIENT ? TURN_CHAN_HDR_LEN : 0;

	o->local = off ? to->local : own(r, to->dst.ip.family, to->src_port);
	o->remote = to->dst;
	o->len = off + len;
	if (o->len > sizeof(o->buf))
		abort();
	if (off)
		turn_chan_put(o->buf, to->channel, (uint16_t)len);
	memcpy(o->buf + off, data, len);
}

/* ---- receiving ---- */

/* Returns whether the datagram was data and is done with. */
static bool from_client(struct sim_relay *r, const struct sim_dgram *in, uint64_t now)
{
	const struct sim_relay_bind *b;
	struct relay_route to;
	struct turn_chan_hdr h;

	if (!turn_chan_parse(in->data, (uint32_t)in->len, &h))
		return false;
	b = shadow_channel(r, &in->remote, h.number, now);
	if (relay_from_client(&r->relay, &in->remote, h.number, now, &to) != RELAY_HIT) {
		/* relay to self may miss although it is bound on this side */
		r->missed++;
		return true;
	}
	if (!b)
		sim_fail(r->sim, "relay %u: events do not know a channel that is in use",
			 r->number);
	if (b && to.to == RELAY_TO_PEER &&
	    (!endpoint_eq(&b->peer, &to.dst) || b->port != to.src_port))
		sim_fail(r->sim, "relay %u: events know another peer of a channel", r->number);
	r->from_clients++;
	forward(r, &to, in->data + TURN_CHAN_HDR_LEN, h.len);
	return true;
}

static void from_peer(struct sim_relay *r, const struct sim_dgram *in, uint64_t now)
{
	const struct sim_relay_bind *b = shadow_peer(r, in->local.port, &in->remote, now);
	struct relay_route to;

	if (relay_from_peer(&r->relay, in->local.port, &in->remote, now, &to) == RELAY_HIT) {
		if (!b || b->channel != to.channel || !endpoint_eq(&b->client, &to.dst))
			sim_fail(r->sim, "relay %u: events do not know a peer that is bound",
				 r->number);
		r->from_peers++;
		forward(r, &to, in->data, in->len);
		return;
	}
	if (b)
		sim_fail(r->sim, "relay %u: events know a peer that is not bound", r->number);
	if (relay_peer_input(&r->relay, in->local.port, &in->remote, in->data, in->len, now) ==
	    RELAY_RX_DONE)
		r->indicated++;
	else
		r->missed++;
	drain(r);
}

static void input(void *self, const struct sim_dgram *in, uint64_t now)
{
	struct sim_relay *r = self;
	const struct relay_dgram d = {in->local, in->remote, in->data, in->len};

	if (in->local.port != TURN_PORT) {
		from_peer(r, in, now);
	} else if (!from_client(r, in, now)) {
		relay_input(&r->relay, &d, SIM_UNIX_BASE + now / NS_PER_SEC, now);
		drain(r);
	}
}

static bool poll_tx(void *self, struct sim_out *out, uint64_t now)
{
	struct sim_relay *r = self;
	const struct sim_out *o = &r->queue[r->head];

	(void)now;
	if (!r->n_queue)
		return false;
	out->local = o->local;
	out->remote = o->remote;
	out->len = o->len;
	memcpy(out->buf, o->buf, o->len);
	r->head = (r->head + 1) % SIM_RELAY_QUEUE;
	r->n_queue--;
	return true;
}

static struct deadline deadline(const void *self)
{
	const struct sim_relay *r = self;

	return relay_deadline(&r->relay);
}

static void timeout(void *self, uint64_t now)
{
	struct sim_relay *r = self;

	relay_timeout(&r->relay, now);
	drain(r);
}

static const struct sim_ops ops = {input, NULL, poll_tx, deadline, timeout};

/* ---- life ---- */

void sim_relay_add(struct sim_relay *r, struct sim_portal *p, const struct ipaddr *ip4,
		   const struct ipaddr *ip6, const struct sim_link *link)
{
	struct uuid id = {{0x50, (uint8_t)p->n_relays}};
	struct endpoint none = {0};

	memset(r, 0, sizeof(*r));
	r->sim = p->sim;
	r->portal = p;
	r->host = sim_host_add(p->sim, &ops, r, link);
	if (ip4) {
		r->ip4 = *ip4;
		sim_addr_add(p->sim, r->host, ip4, SIM_NO_NAT);
	}
	if (ip6) {
		r->ip6 = *ip6;
		sim_addr_add(p->sim, r->host, ip6, SIM_NO_NAT);
	}
	r->number = sim_portal_relay_add(
		p, &id, ip4 ? &(struct endpoint){.ip = *ip4, .port = TURN_PORT} : &none,
		ip6 ? &(struct endpoint){.ip = *ip6, .port = TURN_PORT} : &none);
	sim_host_up(p->sim, r->host, false);
}

static void tell_portal(struct sim_relay *r, enum sim_msg_kind kind)
{
	struct sim_msg m;

	memset(&m, 0, sizeof(m));
	m.kind = kind;
	m.about = r->number;
	memcpy(m.secret, r->auth.stamp, strlen(r->auth.stamp));
	sim_msg_send(r->sim, r->host, r->portal->host, &m);
}

void sim_relay_start(struct sim_relay *r)
{
	struct relay_cfg cfg = {.public4 = r->ip4,
				.public6 = r->ip6,
				.software = "penstock",
				.size = {SIM_RELAY_ALLOCS, SIM_RELAY_BINDS, 256}};
	char secret[SIM_SECRET_LEN + 1];
	uint8_t seed[32];

	for (unsigned i = 0; i < SIM_SECRET_LEN; i++)
		secret[i] = "0123456789abcdef"[sim_rand(r->sim, 16)];
	secret[SIM_SECRET_LEN] = 0;
	for (unsigned i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)sim_rand(r->sim, 256);
	memset(r->binds, 0, sizeof(r->binds));
	r->n_binds = 0;
	memset(r->ports, 0, sizeof(r->ports));
	r->n_queue = 0;
	r->mem_len = relay_mem_size(&cfg.size);
	if (!r->mem)
		r->mem = malloc(r->mem_len);
	if (!r->mem || relay_auth_init(&r->auth, NULL) || relay_auth_set_stamp(&r->auth, secret) ||
	    relay_init(&r->relay, &cfg, &r->auth, r->mem, r->mem_len, seed, sim_now(r->sim)))
		abort();
	r->up = true;
	r->boots++;
	sim_host_up(r->sim, r->host, true);
	sim_relay_join(r);
}

void sim_relay_kill(struct sim_relay *r)
{
	r->up = false;
	relay_fini(&r->relay);
	sim_host_up(r->sim, r->host, false);
	sim_relay_leave(r);
}

void sim_relay_leave(struct sim_relay *r)
{
	tell_portal(r, SIM_MSG_RELAY_GONE);
}

void sim_relay_join(struct sim_relay *r)
{
	tell_portal(r, SIM_MSG_RELAY_UP);
}

void sim_relay_free(struct sim_relay *r)
{
	if (r->up)
		relay_fini(&r->relay);
	free(r->mem);
}

unsigned sim_relay_n_allocs(const struct sim_relay *r)
{
	return r->up ? relay_n_allocs(&r->relay) : 0;
}
