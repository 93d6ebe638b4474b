/* SPDX-License-Identifier: Apache-2.0
 *
 * --mode=auto: which executor a peer's established flows are, decided once a second from what
 * passed. Bulk is cheaper per byte in user space, small packets in the kernel.
 *
 * Bulk that comes in trains is user space's by itself, flow by flow (include/plan/flow.h), and
 * leaves small packets to the kernel: no reason to move. So a peer leaves the kernel only when the
 * kernel carries bulk, packet by packet; it comes back when there is none in either. It changes
 * hands whole, so that its packets keep their order, and only after seconds of one kind: one is
 * enough where so much came that each more would cost. */
#ifndef PENSTOCK_FWD_PACE_H
#define PENSTOCK_FWD_PACE_H
#include <stdbool.h>
#include <stdint.h>

#define FWD_PACE_LEN	       900   /* average inner bytes a packet, at least, to count as bulk */
#define FWD_PACE_PACKETS       5000  /* packets a second, at least */
#define FWD_PACE_MUCH	       20000 /* in one second: bulk beyond doubt */
#define FWD_PACE_TICKS_TO_USER 2
#define FWD_PACE_TICKS_BACK    4

struct fwd_moved {
	uint64_t packets, bytes;
};

/* Of a peer. */
struct fwd_pace {
	struct fwd_moved kernel, all; /* within this second; all: kernel's, too */
	uint32_t ticks;		      /* seconds for a change, one behind the other */
	uint32_t pad;
};

/* A second is over; in_kernel: who has the peer now. True: it changes hands. */
bool fwd_pace_tick(struct fwd_pace *p, bool in_kernel);
#endif
