/* SPDX-License-Identifier: Apache-2.0
 *
 * How long packets to each peer may be: the machines of core/tunnel/pmtu, what the first link of
 * the path leaves them, their probes, and the routes that tell the host.
 *
 * The tunnel device has the largest MTU that any connection may reach, so that the routes decide:
 * each carries an MTU, the base until a connection has confirmed more. On a client a route is a
 * resource's and has the least of the gateways that may serve it; on a gateway each client with
 * more than the base gets host routes of its own. What comes to the device longer than that all
 * the same is answered and dropped in data.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apps/daemon/daemon.h"
#include "crypto/crypto.h"
#include "io/entropy.h"
#include "wire/ip.h"
#include "wire/turn.h"
#include "wire/udp.h"
#include "wire/wg.h"

#define TICK_MIN_NS (50 * NS_PER_MS) /* looks at all connections are so far apart at least */

/* One peer's. */
struct mtu_peer {
	struct pmtu pmtu;
	uint64_t sent_bytes, own_bytes; /* inner, in this second: all, and probes and answers */
	struct ipaddr routed4, routed6; /* gateway: the host routes there are; family 0: none */
	uint16_t routed;		/* their MTU */
};

struct mtu {
	struct mtu_peer *peer; /* max_peers */
	struct rng rng;
	uint16_t limit; /* nothing longer is sent, or probes answered */
	uint64_t next_ns;
	uint64_t looked_ns;
	int link, link_mtu; /* the interface asked about last, at link_ns */
	uint64_t link_ns;
	bool routes_dirty; /* client */
};

int mtu_open(struct daemon *d)
{
	struct mtu *m = calloc(1, sizeof(*m));
	uint8_t seed[32];

	d->mtu = m;
	if (!m)
		return -ENOMEM;
	m->peer = calloc(d->max_peers, sizeof(*m->peer));
	if (!m->peer)
		return -ENOMEM;
	if (entropy_get(seed, sizeof(seed)))
		return -EIO;
	rng_init(&m->rng, seed);
	crypto_wipe(seed, sizeof(seed));
	m->limit = (uint16_t)d->opt.tunnel_mtu;
	m->next_ns = TIME_NEVER;
	for (uint32_t i = 0; i < d->max_peers; i++)
		pmtu_init(&m->peer[i].pmtu);
	return 0;
}

void mtu_close(struct daemon *d)
{
	if (!d->mtu)
		return;
	rng_wipe(&d->mtu->rng);
	free(d->mtu->peer);
	free(d->mtu);
	d->mtu = NULL;
}

/* ---- routes ---- */

static bool host_route(struct daemon *d, const struct ipaddr *a, uint16_t mtu)
{
	const struct ipnet net = {.ip = *a, .len = (uint8_t)(8 * ipaddr_size(a))};
	struct io_err err = {""};
	int rc = mtu ? nl_route_put(d->nl, NL_TABLE, tun_ifindex(d->tun), &net, mtu, &err)
		     : nl_route_remove(d->nl, NL_TABLE, tun_ifindex(d->tun), &net, &err);

	if (rc)
		LOG_WARN("device", "route to a client not changed", LOG_STR("error", err.msg));
	return !rc;
}

static void unroute(struct daemon *d, struct mtu_peer *p)
{
	if (p->routed4.family)
		host_route(d, &p->routed4, 0);
	if (p->routed6.family)
		host_route(d, &p->routed6, 0);
	p->routed4 = p->routed6 = (struct ipaddr){0};
	p->routed = 0;
}

static void route_client(struct daemon *d, uint32_t slot, const struct ps_peer *e)
{
	struct mtu_peer *p = &d->mtu->peer[slot];
	struct ipaddr v4 = ipaddr_from(4, e->tun4), v6 = ipaddr_from(6, e->tun6);

	if (p->routed && (!ipaddr_eq(&v4, &p->routed4) || !ipaddr_eq(&v6, &p->routed6)))
		unroute(d, p);
	if (p->pmtu.size <= PMTU_BASE_LEN) {
		unroute(d, p);
		return;
	}
	if (p->routed == p->pmtu.size)
		return;
	host_route(d, &v4, p->pmtu.size);
	host_route(d, &v6, p->pmtu.size);
	p->routed4 = v4;
	p->routed6 = v6;
	p->routed = p->pmtu.size;
}

void mtu_withdraw(struct daemon *d)
{
	for (uint32_t slot = 0; slot < d->max_peers; slot++)
		unroute(d, &d->mtu->peer[slot]);
}

void mtu_announce(struct daemon *d)
{
	for (uint32_t slot = 0; slot < d->max_peers; slot++)
		mtu_peer_changed(d, slot);
}

void mtu_peer_changed(struct daemon *d, uint32_t slot)
{
	const struct ps_peer *e = fwd_peer(&d->fwd, slot);

	if (e && d->role->gateway)
		route_client(d, slot, e);
}

static uint16_t mtu_of_gateway(void *arg, uint32_t slot)
{
	const struct daemon *d = arg;

	return slot < d->max_peers ? d->mtu->peer[slot].pmtu.size : PMTU_BASE_LEN;
}

uint16_t mtu_of_route(struct daemon *d, const struct ipnet *net)
{
	return d->role->gateway ? PMTU_BASE_LEN : tcl_route_mtu(&d->tcl, net, mtu_of_gateway, d);
}

void mtu_mapped(struct daemon *d)
{
	d->mtu->routes_dirty = true;
}

void mtu_drain(struct daemon *d)
{
	const struct ipnet *nets;
	uint32_t n;

	if (!d->mtu->routes_dirty || d->role->gateway)
		return;
	d->mtu->routes_dirty = false;
	nets = tcl_routes(&d->tcl, &n);
	dev_set_routes(d, nets, n);
}

/* ---- what the machines want ---- */

static void apply(struct daemon *d, uint32_t slot)
{
	const struct ps_peer *e = fwd_peer(&d->fwd, slot);
	struct mtu_peer *p = &d->mtu->peer[slot];

	if (!e)
		unroute(d, p);
	if (!e || e->mtu == p->pmtu.size)
		return;
	LOG_INFO("tunnel", "longest packet changed", LOG_UUID("cid", &d->node.mem.conns[slot].cid),
		 LOG_U64("mtu", p->pmtu.size), LOG_U64("before", e->mtu));
	fwd_peer_set_mtu(&d->fwd, slot, p->pmtu.size);
	mtu_peer_changed(d, slot);
	d->mtu->routes_dirty = true;
}

static enum ps_reason_id send_own(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
				  uint64_t now)
{
	enum ps_reason_id reason = data_send_any(d, slot, pkt, len, 0, now);

	if (reason == PS_R_UTX_SENT)
		d->mtu->peer[slot].own_bytes += len;
	return reason;
}

/* After whatever may have moved the machine. */
static void turn(struct daemon *d, uint32_t slot, uint64_t now)
{
	struct pmtu *p = &d->mtu->peer[slot].pmtu;
	uint8_t pkt[PS_INNER_MAX];
	struct p2p_mtu probe;
	uint64_t due;

	while (pmtu_poll_tx(p, &d->mtu->rng, &probe, now))
		if (p2p_mtu_encode_probe(&probe, pkt, sizeof(pkt)) ||
		    send_own(d, slot, pkt, probe.size, now) != PS_R_UTX_SENT)
			pmtu_unsent(p);
	apply(d, slot);
	due = pmtu_deadline(p).at;
	if (due < d->mtu->next_ns)
		d->mtu->next_ns = due;
}

struct deadline mtu_deadline(const struct daemon *d)
{
	uint64_t at = d->mtu->next_ns, least = time_add(d->mtu->looked_ns, TICK_MIN_NS);

	return (struct deadline){.at = at < least ? least : at, .why = "mtu"};
}

void mtu_timeout(struct daemon *d, uint64_t now)
{
	if (!time_reached(mtu_deadline(d).at, now))
		return;
	d->mtu->looked_ns = now;
	d->mtu->next_ns = TIME_NEVER;
	for (uint32_t slot = 0; slot < d->max_peers; slot++) {
		struct pmtu *p = &d->mtu->peer[slot].pmtu;
		uint64_t due = pmtu_deadline(p).at;

		if (time_reached(due, now)) {
			pmtu_timeout(p, now);
			turn(d, slot, now);
		} else if (due < d->mtu->next_ns) {
			d->mtu->next_ns = due;
		}
	}
}

/* ---- what happens to a connection ---- */

/* The largest inner packet that the link takes. A relay may put another family's header and a
 * channel's on the packet and cut in two what has got too long for it, which no probe would tell.
 */
static uint16_t ceiling(const struct daemon *d, int link, const struct mtu_way *way)
{
	int head = way->family == 4 && !way->relayed ? PS_IP4_HLEN : PS_IP6_HLEN;
	int room = link - head - PS_UDP_HLEN - (way->relayed ? TURN_CHAN_HDR_LEN : 0) -
		   WG_DATA_OVERHEAD;

	if (room < PMTU_BASE_LEN)
		room = PMTU_BASE_LEN;
	return room < d->mtu->limit ? (uint16_t)room : d->mtu->limit;
}

/* One question a turn of the loop: after a change of networks all paths are looked at. */
static int link_mtu(struct daemon *d, int ifindex, uint64_t now)
{
	struct mtu *m = d->mtu;

	if (!ifindex)
		return 0;
	if (m->link != ifindex || m->link_ns != now) {
		m->link = ifindex;
		m->link_ns = now;
		m->link_mtu = nl_link_mtu(d->nl, ifindex);
	}
	return m->link_mtu;
}

void mtu_path(struct daemon *d, uint32_t slot, const struct mtu_way *way, uint64_t now)
{
	struct pmtu *p = &d->mtu->peer[slot].pmtu;
	int link = link_mtu(d, way->ifindex, now);
	uint16_t most = link > 0 ? ceiling(d, link, way) : 0;

	if (way->changed)
		pmtu_path(p, most, now);
	else
		pmtu_ceiling(p, most, now);
	turn(d, slot, now);
}

void mtu_no_path(struct daemon *d, uint32_t slot, uint64_t now)
{
	pmtu_path(&d->mtu->peer[slot].pmtu, 0, now);
	apply(d, slot);
}

void mtu_established(struct daemon *d, uint32_t slot, uint64_t now)
{
	pmtu_active(&d->mtu->peer[slot].pmtu, now);
	turn(d, slot, now);
}

void mtu_sent(struct daemon *d, uint32_t slot, uint64_t bytes)
{
	if (slot < d->max_peers)
		d->mtu->peer[slot].sent_bytes += bytes;
}

void mtu_tick(struct daemon *d, uint64_t now)
{
	for (uint32_t slot = 0; slot < d->max_peers; slot++) {
		struct mtu_peer *p = &d->mtu->peer[slot];
		/* With less none was longer than the base, and nobody has gained or lost. */
		bool active = p->sent_bytes > p->own_bytes + PMTU_BASE_LEN;

		p->sent_bytes = p->own_bytes = 0;
		if (!active)
			continue;
		pmtu_active(&p->pmtu, now);
		turn(d, slot, now);
	}
}

bool mtu_control(struct daemon *d, uint32_t slot, const struct p2p_ctl *ctl,
		 enum ps_reason_id *reason, uint64_t now)
{
	struct pmtu *p = &d->mtu->peer[slot].pmtu;
	uint8_t ack[P2P_CTL_MTU_LEN];
	struct p2p_mtu m;

	if (ctl->type != P2P_CTL_MTU_PROBE && ctl->type != P2P_CTL_MTU_ACK)
		return false;
	*reason = PS_R_URX_CONTROL;
	if (!p2p_mtu_decode(ctl, &m)) {
		*reason = PS_R_URX_CONTROL_MALFORMED;
	} else if (d->mtu->limit <= PMTU_BASE_LEN) {
		/* An operator who wants the base alone gets a peer that knows nothing else. */
		*reason = PS_R_URX_CONTROL_UNKNOWN;
	} else if (ctl->type == P2P_CTL_MTU_ACK) {
		if (pmtu_ack(p, &m, now))
			turn(d, slot, now);
	} else if (pmtu_answers(p, &m, d->mtu->limit, now)) {
		p2p_mtu_encode_ack(&m, ack);
		send_own(d, slot, ack, sizeof(ack), now);
	} else {
		*reason = PS_R_URX_CONTROL_RATE;
	}
	return true;
}

json_t *mtu_view(const struct daemon *d, uint32_t slot)
{
	const struct pmtu *p = &d->mtu->peer[slot].pmtu;

	return json_pack("{s:i,s:i,s:s}", "size", (int)p->size, "ceiling", (int)p->ceiling, "state",
			 pmtu_state_name(p->state));
}
