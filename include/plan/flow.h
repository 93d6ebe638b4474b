/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * When a cached flow may change hands between the executors without its packets overtaking each
 * other.
 *
 * A flow starts in user space, and a packet can still be on its way through there when its
 * successor arrives. So a fresh entry is "warm": user space keeps the flow until it has paused for
 * PS_FLOW_PAUSE_NS, or until bulk_until_ns for one that never pauses. An entry held because of a
 * segmentation-offload packet is not warm and stays held for its whole time. Pure but for the
 * entry's own [data path] fields. */
#ifndef PENSTOCK_PLAN_FLOW_H
#define PENSTOCK_PLAN_FLOW_H
#include "abi/maps.h"

#define PS_FLOW_PAUSE_NS 2000000 /* longer than a packet takes through user space */

/* 1: this packet is user space's. */
static __always_inline int ps_flow_held(struct ps_flow *f, __u64 now)
{
	__u64 last = PS_READ_ONCE(f->last_ns);

	if (now >= PS_READ_ONCE(f->bulk_until_ns))
		return 0;
	if (!(PS_READ_ONCE(f->flags) & PS_FLOW_WARM))
		return 1;
	if (now > last && now - last >= PS_FLOW_PAUSE_NS) {
		PS_WRITE_ONCE(f->bulk_until_ns, 0);
		return 0;
	}
	PS_WRITE_ONCE(f->last_ns, now);
	return 1;
}

/* A segmentation-offload packet of the flow went to user space. */
static __always_inline void ps_flow_hold(struct ps_flow *f, __u64 until)
{
	PS_WRITE_ONCE(f->flags, 0);
	PS_WRITE_ONCE(f->bulk_until_ns, until);
}
#endif
