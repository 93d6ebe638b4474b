/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's sending thread: from its queue of the tunnel device to its sockets.
 *
 *   packet or super-packet -> inner, flow, peer, size -> session, counters -> cut, translate
 *   -> [batch] encrypt -> socket
 *
 * What stops on the way is handed over whole, as it was read. */
#include <string.h>
#include <sys/prctl.h>

#include "apps/daemon/worker.h"
#include "fwd/fwd_ahead.h"
#include "fwd/off_split.h"

#define SECTION_BYTES (256u << 10) /* read-side sections end after so much */

static void hand_packet(struct haul *h, const struct tun_pkt *p, uint32_t hash)
{
	*haul_hand_over(h, hash) = (struct handover){
		.h = {.kind = HAND_PACKET, .len = (uint32_t)p->len, .gso = p->gso},
		.pkt = p->data,
	};
}

static void translate(uint8_t *pkt, const struct fwd_fast *f)
{
	if (f->nat.on)
		ps_nat_apply(pkt, &f->in.ip, PS_NAT_FROM, &f->nat);
}

/* Counters for so many packets; false: the session does not send, now or any more. */
static bool take_counters(struct haul *h, const struct fwd_fast *f, uint32_t n,
			  struct fwd_counters *c, uint64_t now)
{
	return fwd_seal_reserve(h->lane.fwd, f->peer, f->path.tx_slot, n, c, now) == PS_R_UTX_SENT;
}

/* The packet that the place holds goes with the others. */
static void placed(struct haul *h, const struct fwd_fast *f, struct fwd_counters *c,
		   struct fwd_tx *job, uint8_t *pkt, size_t len, uint64_t now)
{
	job->inner = pkt;
	job->inner_len = len;
	fwd_seal_next(c, job);
	lane_placed(&h->lane, &f->path, f->in.ip.tos & PS_ECN_MASK);
	translate(pkt, f);
	lane_count(&h->lane, PS_R_UTX_SENT, len);
	haul_carried(h, f, 1, len, now);
}

/* False: it is the control thread's. */
static bool tx_one(struct haul *h, struct tun_pkt *p, const struct fwd_fast *f, uint64_t now)
{
	struct fwd_tx *job = lane_place(&h->lane, &f->path);
	struct fwd_counters c;

	if (!job) {
		lane_count(&h->lane, PS_R_UTX_SOCKET, p->len);
		return true;
	}
	if (!take_counters(h, f, 1, &c, now))
		return false;
	placed(h, f, &c, job, p->data, p->len, now);
	return true;
}

/* The same for all that a super-packet stands for. */
static bool tx_super(struct haul *h, const struct off_split *of, const struct fwd_fast *f,
		     uint64_t now)
{
	struct off_split s = *of;
	struct fwd_counters c;

	if (!take_counters(h, f, (uint32_t)(s.count - s.next), &c, now))
		return false;
	while (s.next < s.count) {
		struct fwd_tx *job = lane_place(&h->lane, &f->path);
		uint8_t *pkt;
		size_t len;

		if (!job) {
			h->reasons[PS_R_UTX_SOCKET].packets += s.count - s.next;
			h->reasons[PS_R_UTX_SOCKET].bytes += (s.count - s.next) * off_split_max(&s);
			return true;
		}
		pkt = job->out + FWD_DATA_HEADER;
		len = off_split_next(&s, pkt, PS_INNER_MAX);
		placed(h, f, &c, job, pkt, len, now);
	}
	return true;
}

static void tx_packet(struct haul *h, struct tun_pkt *p, uint64_t now)
{
	bool super = p->gso.kind != OFF_NONE, done = true;
	struct fwd_fast *f = &h->fast;
	enum ps_reason_id id;
	struct off_split s;

	id = fwd_fast_out(h->lane.fwd, &h->all->d->flows, p->data, p->len, super, f, now);
	/* Until counters are taken nothing is changed: what is handed over is as it came. */
	if (id != PS_GO_ON || f->again || (haul_holds(h) && haul_held(h, haul_hash(&f->in.key))))
		done = false;
	else if (!super && !p->gso.csum)
		done = tx_one(h, p, f, now);
	else if (off_split_begin(&s, p->data, p->len, &p->gso) || off_split_max(&s) > f->path.mtu ||
		 off_split_max(&s) > PS_INNER_MAX)
		done = false;
	else
		done = tx_super(h, &s, f, now);
	if (!done)
		hand_packet(h, p, haul_hash(&f->in.key));
}

static void tx_ahead(const struct haul *h, const struct tun_pkt *p, size_t n)
{
	struct fwd_ahead_pkt a[FWD_AHEAD];

	n = n < FWD_AHEAD ? n : FWD_AHEAD;
	for (size_t i = 0; i < n; i++)
		a[i] = (struct fwd_ahead_pkt){p[i].data, p[i].len};
	fwd_ahead_out(h->lane.fwd, &h->all->d->flows, a, n);
}

static void section_begin(struct haul *h)
{
	haul_enter(h);
	h->fast.known = false;
}

static void section_end(struct haul *h, uint64_t now)
{
	lane_flush(&h->lane);
	haul_account(h, now);
	haul_leave(h);
}

static void tx_readable(struct haul *h)
{
	struct tun *tun = h->lane.tun;
	struct tun_pkt *p;
	size_t n;

	do {
		uint64_t now;
		size_t bytes = 0;

		n = tun_read(tun, &p);
		now = loop_now();
		section_begin(h);
		for (size_t i = 0; i < n; i++) {
			if (i % FWD_AHEAD == 0)
				tx_ahead(h, &p[i], n - i);
			bytes += p[i].len;
			tx_packet(h, &p[i], now);
			if (bytes < SECTION_BYTES)
				continue;
			section_end(h, now);
			bytes = 0;
			section_begin(h);
		}
		section_end(h, now);
		udp_flush(h->lane.udp);
		haul_push(h);
	} while (n == TUN_BATCH || tun_more(tun));
}

void *worker_tx_main(void *haul)
{
	struct haul *h = haul;
	struct udp *udp = h->lane.udp;
	struct pollfd p[] = {{.fd = tun_fd(h->lane.tun), .events = POLLIN},
			     {.events = POLLOUT},
			     {.events = POLLOUT},
			     {.fd = h->all->stop_fd, .events = POLLIN}};

	prctl(PR_SET_NAME, h->name);
	for (;;) {
		p[1].fd = udp_pending(udp, 4) ? udp_fd(udp, 4) : -1;
		p[2].fd = udp_pending(udp, 6) ? udp_fd(udp, 6) : -1;
		if (poll(p, 4, -1) < 0)
			continue;
		if (p[3].revents)
			return NULL;
		__atomic_store_n(&h->busy, 1, __ATOMIC_SEQ_CST);
		if (p[0].revents & POLLIN)
			tx_readable(h);
		else if (p[0].revents) /* the device is gone: the control thread notices */
			p[0].fd = -1;
		udp_flush(udp);
		if (!udp_pending(udp, 4) && !udp_pending(udp, 6))
			haul_idle(h);
	}
}
