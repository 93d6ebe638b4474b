/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's receiving thread: from its sockets, UDP and AF_XDP, to the tunnel device.
 *
 *   datagram -> (channel) -> session -> [batch] decrypt, replay -> inner, source, flow -> translate
 *   -> join -> tunnel device
 *
 * What stops on the way for any other reason than a wrong tag or a replay is handed over: as the
 * datagram it was before it is opened, as the opened packet after that. */
#include <string.h>
#include <sys/prctl.h>

#include "apps/daemon/worker.h"
#include "base/bytes.h"
#include "fwd/fwd_ahead.h"
#include "plan/ecn.h"
#include "plan/ingress.h"
#include "plan/steer.h"

/* ---- what is handed over ---- */

static void hand_datagram(struct haul *h, const struct udp_dgram *g, uint32_t hash)
{
	*haul_hand_over(h, hash) = (struct handover){
		.h = {.kind = HAND_DATAGRAM,
		      .ecn = g->ecn,
		      .truncated = g->truncated,
		      .len = (uint32_t)g->len,
		      .from = {.local = g->local, .remote = g->remote, .ifindex = g->ifindex}},
		.pkt = g->data,
	};
}

static void hand_opened(struct haul *h, const struct fwd_rx *job, uint8_t ecn, uint32_t hash)
{
	const struct fwd_opened *o = &job->o;

	*haul_hand_over(h, hash) = (struct handover){
		.h = {.kind = HAND_OPENED,
		      .ecn = ecn,
		      .len = (uint32_t)o->inner_len,
		      .session = {.slot = o->slot,
				  .idx = o->idx,
				  .peer = o->peer,
				  .wire_len = (uint32_t)job->len}},
		.pkt = o->inner,
	};
}

/* ---- opened packets ---- */

static bool flow_held(const struct haul *h, const struct fwd_fast *f)
{
	return haul_holds(h) && haul_held(h, haul_hash(&f->in.key));
}

static void rx_opened(struct haul *h, struct fwd_rx *job, uint8_t ecn, uint64_t now)
{
	struct fwd_table *fwd = h->lane.fwd;
	uint8_t *pkt = job->o.inner, merged;
	struct fwd_fast *f = &h->fast;
	enum ps_reason_id id;

	id = fwd_fast_in(fwd, &h->all->d->flows, &job->o, f, now);
	if (id != PS_GO_ON || f->again || flow_held(h, f)) {
		hand_opened(h, job, ecn, haul_hash(&f->in.key));
		return;
	}
	merged = ps_ecn_decap(f->in.ip.tos & PS_ECN_MASK, ecn);
	if (merged == PS_ECN_DROP) {
		lane_count(&h->lane, PS_R_URX_ECN, job->len);
		return;
	}
	if (merged != (f->in.ip.tos & PS_ECN_MASK))
		ps_ecn_put(pkt, f->in.ip.family, merged);
	if (f->nat.on)
		ps_nat_apply(pkt, &f->in.ip, PS_NAT_TO, &f->nat);
	lane_count(&h->lane, PS_R_URX_DELIVERED, job->len);
	lane_deliver(&h->lane, pkt, f->in.ip.len);
	haul_carried(h, f, 1, f->in.ip.len, now);
}

static void rx_flush(struct haul *h, uint64_t now)
{
	size_t n = h->n_jobs;

	h->n_jobs = 0;
	fwd_open_batch(h->lane.fwd, h->job, n, now);
	fwd_ahead_in(h->lane.fwd, &h->all->d->flows, h->job, n);
	for (size_t i = 0; i < n; i++) {
		struct fwd_rx *job = &h->job[i];

		if (job->reason == PS_R_URX_DELIVERED)
			rx_opened(h, job, h->ecn[i], now);
		else
			lane_count(&h->lane, job->reason, job->len);
	}
}

/* ---- datagrams ---- */

/* Where the data message in the datagram begins; -1: it is none, or in no channel of ours. */
static int data_at(struct haul *h, const struct udp_dgram *g, size_t *len)
{
	struct ps_channel_key k;
	struct turn_chan_hdr c;

	*len = g->len;
	if (!g->follows)
		h->inside = tunnel_in_peer_range(&g->local.ip);
	if (g->truncated || g->len < WG_DATA_OVERHEAD || h->inside)
		return -1;
	if (!turn_is_channel(ps_host16_at(g->data)))
		return le32_get(g->data) == WG_MSG_DATA ? 0 : -1;
	if (!turn_chan_parse(g->data, (uint32_t)g->len, &c) || c.len < WG_DATA_OVERHEAD ||
	    le32_get(g->data + TURN_CHAN_HDR_LEN) != WG_MSG_DATA)
		return -1;
	k = (struct ps_channel_key){.family = g->local.ip.family,
				    .number = ps_be16(c.number),
				    .relay_port = ps_be16(g->remote.port),
				    .local_port = ps_be16(g->local.port)};
	memcpy(k.relay, g->remote.ip.b, sizeof(k.relay));
	*len = c.len;
	return worker_has_channel(h->all, &k) ? TURN_CHAN_HDR_LEN : -1;
}

static void rx_datagram(struct haul *h, const struct udp_dgram *g, uint64_t now)
{
	const struct fwd_table *fwd = h->lane.fwd;
	size_t len;
	int at = data_at(h, g, &len);
	uint32_t receiver, slot;

	if (at < 0) {
		hand_datagram(h, g, 0);
		return;
	}
	receiver = le32_get(g->data + at + 4);
	slot = fwd_slot(fwd, receiver);
	/* A keepalive is news for the timers. */
	if (len == WG_DATA_OVERHEAD || (haul_holds(h) && haul_held(h, slot)) ||
	    ps_rx_session(&fwd->mem.session[slot], receiver, now) != PS_GO_ON) {
		hand_datagram(h, g, slot);
		return;
	}
	h->ecn[h->n_jobs] = g->ecn;
	h->job[h->n_jobs++] = (struct fwd_rx){.msg = g->data + at, .len = len};
	if (h->n_jobs == FWD_BATCH)
		rx_flush(h, now);
}

/* In a channel it is not looked for: those come through a relay, which is slower. What follows in a
 * train is of the same session. */
static void rx_ahead(const struct haul *h, const struct udp_dgram *g)
{
	if (g->follows)
		return;
	fwd_ahead_open(h->lane.fwd, g->data, g->len);
}

static void rx_batch(struct haul *h, const struct udp_dgram *g, size_t n)
{
	uint64_t now = loop_now();

	haul_enter(h);
	lane_begin(&h->lane);
	h->fast.known = false;
	for (size_t i = 0; i < n && i < FWD_AHEAD; i++)
		rx_ahead(h, &g[i]);
	for (size_t i = 0; i < n; i++) {
		if (i + FWD_AHEAD < n)
			rx_ahead(h, &g[i + FWD_AHEAD]);
		rx_datagram(h, &g[i], now);
	}
	rx_flush(h, now);
	lane_settle(&h->lane);
	haul_account(h, now);
	haul_leave(h);
	haul_push(h);
}

static void rx_readable(struct haul *h, int family)
{
	struct udp_dgram *g;
	bool more;
	size_t n;

	do {
		n = udp_recv(h->lane.udp, family, &g, &more);
		rx_batch(h, g, n);
	} while (more);
}

/* ---- what it reads from ---- */

#define XSK_BATCHES 16 /* before the others are looked at */

static void rx_xsk(struct haul *h, struct xsk_rx *x)
{
	struct udp_dgram *g;
	size_t n;

	for (int i = 0; i < XSK_BATCHES && xsk_rx_recv(x, &g, &n); i++) {
		rx_batch(h, g, n);
		xsk_rx_done(x);
	}
}

enum { P_UDP4, P_UDP6, P_STOP, P_XSK };

struct sources {
	struct pollfd p[P_XSK + PS_XSK_WANS * PS_XSK_QUEUES];
	struct xsk_rx *xsk[PS_XSK_WANS * PS_XSK_QUEUES];
	nfds_t n;
};

static void sources_init(struct sources *s, const struct haul *h)
{
	const struct workers *ws = h->all;

	s->p[P_UDP4] = (struct pollfd){.fd = udp_fd(h->lane.udp, 4), .events = POLLIN};
	s->p[P_UDP6] = (struct pollfd){.fd = udp_fd(h->lane.udp, 6), .events = POLLIN};
	s->p[P_STOP] = (struct pollfd){.fd = ws->stop_fd, .events = POLLIN};
	s->n = P_XSK;
	for (uint32_t i = 0; i < ws->n_xsk; i++) {
		if (&ws->w[ws->xsk[i].worker].rx != h)
			continue;
		s->xsk[s->n - P_XSK] = ws->xsk[i].rx;
		s->p[s->n++] = (struct pollfd){.fd = xsk_rx_fd(ws->xsk[i].rx), .events = POLLIN};
	}
}

static void rx_sources(struct haul *h, struct sources *s)
{
	for (nfds_t i = P_XSK; i < s->n; i++) {
		if (s->p[i].revents & POLLIN)
			rx_xsk(h, s->xsk[i - P_XSK]);
		else if (s->p[i].revents)
			s->p[i].fd = -1; /* its interface is gone */
	}
	if (s->p[P_UDP4].revents)
		rx_readable(h, 4);
	if (s->p[P_UDP6].revents)
		rx_readable(h, 6);
}

void *worker_rx_main(void *haul)
{
	struct haul *h = haul;
	struct sources s;

	prctl(PR_SET_NAME, h->name);
	sources_init(&s, h);
	for (;;) {
		if (poll(s.p, s.n, -1) < 0)
			continue;
		if (s.p[P_STOP].revents)
			return NULL;
		__atomic_store_n(&h->busy, 1, __ATOMIC_SEQ_CST);
		rx_sources(h, &s);
		haul_idle(h);
	}
}
