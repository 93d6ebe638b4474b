/* SPDX-License-Identifier: Apache-2.0
 *
 * Into the devices; contract in lane.h. */
#include "apps/daemon/lane.h"

#include <string.h>

#include "wire/turn.h"

void lane_init(struct lane *l, struct fwd_table *fwd, struct tun *tun, struct udp *udp,
	       struct ps_reason_count *reasons)
{
	memset(l, 0, sizeof(*l));
	l->fwd = fwd;
	l->tun = tun;
	l->udp = udp;
	l->reasons = reasons;
}

/* ---- to the tunnel device ---- */

/* Packets that were counted as delivered were not. */
static void undelivered(struct lane *l, const struct off_super *s)
{
	struct ps_reason_count *c = &l->reasons[PS_R_URX_DELIVERED];

	c->packets -= s->packets;
	c->bytes -= s->bytes + (uint64_t)s->packets * FWD_DATA_OVERHEAD;
	l->reasons[PS_R_URX_TUN_FULL].packets += s->packets;
	l->reasons[PS_R_URX_TUN_FULL].bytes += s->bytes;
}

static void write_ready(struct lane *l)
{
	const struct off_super *s;

	while ((s = off_join_next(&l->join)))
		if (tun_write_super(l->tun, s))
			undelivered(l, s);
}

void lane_begin(struct lane *l)
{
	off_join_init(&l->join, tun_joins_tcp(l->tun), tun_joins_udp(l->tun));
}

void lane_deliver(struct lane *l, uint8_t *pkt, size_t len)
{
	off_join_add(&l->join, pkt, len);
	write_ready(l);
}

void lane_settle(struct lane *l)
{
	off_join_flush(&l->join);
	write_ready(l);
}

/* ---- to the network ---- */

static struct lane_way way_of(const struct ps_path_view *v)
{
	return (struct lane_way){
		.local = ipaddr_from(v->family, v->local),
		.remote = {.ip = ipaddr_from(v->family, v->remote),
			   .port = ps_host16(v->remote_port)},
		.channel = ps_host16(v->channel),
	};
}

static void commit(struct lane *l, const struct fwd_tx *job, const struct lane_way *w, uint8_t ecn)
{
	size_t len = job->inner_len + FWD_DATA_OVERHEAD;

	if (w->channel) {
		turn_chan_put(job->out - TURN_CHAN_HDR_LEN, w->channel, (uint16_t)len);
		len += TURN_CHAN_HDR_LEN;
	}
	udp_commit(l->udp, &w->local, &w->remote, ecn, len);
}

void lane_flush(struct lane *l)
{
	struct lane_out *o = &l->out;

	fwd_seal_batch(l->fwd, o->job, o->n);
	for (size_t i = 0; i < o->n; i++)
		commit(l, &o->job[i], &o->way[o->way_of[i]], o->ecn[i]);
	o->n = o->n_ways = o->room = 0;
	o->family = 0;
}

struct fwd_tx *lane_place(struct lane *l, const struct ps_path_view *v)
{
	struct lane_out *o = &l->out;
	uint8_t *buf;

	if (o->n == FWD_BATCH || (o->n && (o->family != v->family || o->n == o->room)))
		lane_flush(l);
	if (!o->n) {
		o->family = v->family;
		o->room = udp_room(l->udp, v->family, FWD_BATCH);
		if (!o->room)
			return NULL;
	}
	buf = udp_room_at(l->udp, v->family, o->n);
	o->job[o->n] = (struct fwd_tx){.out = buf + (v->channel ? TURN_CHAN_HDR_LEN : 0)};
	return &o->job[o->n];
}

void lane_placed(struct lane *l, const struct ps_path_view *v, uint8_t ecn)
{
	struct lane_out *o = &l->out;

	if (!o->n || memcmp(&o->last, v, sizeof(*v)) != 0) {
		o->way[o->n_ways++] = way_of(v);
		o->last = *v;
	}
	o->ecn[o->n] = ecn;
	o->way_of[o->n++] = (uint8_t)(o->n_ways - 1);
}
