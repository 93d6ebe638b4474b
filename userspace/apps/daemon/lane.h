/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread's way into the devices: packets for the tunnel device, joined with their neighbours, and
 * packets for the network, sealed many at a time where the socket's queue will send them from. The
 * control thread has one, and each thread of a worker.
 *
 * What it is not: it decides nothing. Who may send what has been judged before (data_rx.c,
 * data_tx.c, worker_rx.c, worker_tx.c). */
#ifndef PENSTOCK_LANE_H
#define PENSTOCK_LANE_H
#include "fwd/fwd_table.h"
#include "fwd/off_join.h"
#include "io/tun.h"
#include "io/udp.h"
#include "plan/egress.h"

/* The datagrams on the wire, as the socket takes them. */
struct lane_way {
	struct ipaddr local;
	struct endpoint remote;
	uint16_t channel;
};

/* Packets on their way into the UDP queue. Each has its place behind the queue's end and its
 * counter, and is neither sealed nor committed: until lane_flush nothing else may be sent. */
struct lane_out {
	struct fwd_tx job[FWD_BATCH];
	struct lane_way way[FWD_BATCH];
	uint8_t way_of[FWD_BATCH], ecn[FWD_BATCH];
	struct ps_path_view last; /* the last packet's */
	size_t n, n_ways, room;
	uint8_t family;
};

struct lane {
	struct fwd_table *fwd;
	struct tun *tun;
	struct udp *udp;
	struct ps_reason_count *reasons; /* [PS_R_COUNT], the thread's own */
	struct off_join join;
	struct lane_out out;
};

void lane_init(struct lane *l, struct fwd_table *fwd, struct tun *tun, struct udp *udp,
	       struct ps_reason_count *reasons);

static inline void lane_count(struct lane *l, enum ps_reason_id reason, size_t bytes)
{
	l->reasons[reason].packets++;
	l->reasons[reason].bytes += bytes;
}

/* ---- to the tunnel device ---- */

/* Before the first packet of a batch. */
void lane_begin(struct lane *l);
/* The packet's bytes stay the lane's until lane_settle. It counts as delivered; one that the device
 * does not take is counted back. */
void lane_deliver(struct lane *l, uint8_t *pkt, size_t len);
/* Nothing waits any more: behind the last packet, and before policy or sessions may change. */
void lane_settle(struct lane *l);

/* ---- to the network ---- */

/* Where the next packet to the peer may be written: FWD_DATA_HEADER bytes from job->out. The caller
 * sets inner and inner_len, takes a counter (fwd_seal_begin) and says lane_placed; or it does not,
 * and the place is free again. NULL: the socket is full. */
struct fwd_tx *lane_place(struct lane *l, const struct ps_path_view *v);
void lane_placed(struct lane *l, const struct ps_path_view *v, uint8_t ecn);
/* Seal and queue all that waits. */
void lane_flush(struct lane *l);
#endif
