/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * When a cached flow, or a session, may change hands between the executors without its packets
 * overtaking each other.
 *
 * Packets that were passed to user space can still be on their way through there when their
 * successor arrives. So a flow that user space has had stays its own until there was a pause of
 * PS_PAUSE_NS and the daemon has said since the last of them (ps_config.drained_ns) that it has
 * none left. A fresh entry, held until the time it was made, waits for no more than that. One held
 * because of a segmentation-offload packet, and a session held because of joined datagrams, are
 * user space's for their whole time before that. What never pauses changes hands PS_FORCE_NS later
 * all the same.
 *
 * 0 in the field of the hold: it is the kernel's. Pure but for the entry's own [data path] fields.
 */
#ifndef PENSTOCK_PLAN_FLOW_H
#define PENSTOCK_PLAN_FLOW_H
#include "abi/maps.h"

/* Longer than from the program to the queue behind it; and than a packet that user space has sent
 * waits in the queues of its processor, which are not those of the program's. */
#define PS_PAUSE_NS 250000
#define PS_FORCE_NS 1000000000ull

/* May what was passed to user space at `last`, and held until then, be the kernel's now? */
static __always_inline int ps_hold_over(__u64 until, __u64 last, __u64 now, __u64 drained)
{
	if (until && until < now && now - until >= PS_FORCE_NS)
		return 1;
	return until <= now && last < now && now - last >= PS_PAUSE_NS && drained >= last;
}

/* 1: this packet is user space's. */
static __always_inline int ps_flow_held(struct ps_flow *f, __u64 now, __u64 drained)
{
	__u64 until = PS_READ_ONCE(f->bulk_until_ns), last = PS_READ_ONCE(f->last_ns);

	if (!until)
		return 0;
	if (ps_hold_over(until, last, now, drained)) {
		PS_WRITE_ONCE(f->bulk_until_ns, 0);
		return 0;
	}
	PS_WRITE_ONCE(f->last_ns, now);
	return 1;
}

/* A packet of the flow went to user space, and what follows does until then. */
static __always_inline void ps_flow_hold(struct ps_flow *f, __u64 now, __u64 until)
{
	PS_WRITE_ONCE(f->last_ns, now);
	PS_WRITE_ONCE(f->bulk_until_ns, until);
}

/* The same of all that a session receives. */
static __always_inline int ps_session_held(struct ps_session *s, __u64 now, __u64 drained)
{
	__u64 until = PS_READ_ONCE(s->rx_held_until_ns), last = PS_READ_ONCE(s->rx_passed_ns);

	if (!until)
		return 0;
	if (ps_hold_over(until, last, now, drained)) {
		PS_WRITE_ONCE(s->rx_held_until_ns, 0);
		return 0;
	}
	PS_WRITE_ONCE(s->rx_passed_ns, now);
	return 1;
}

static __always_inline void ps_session_hold(struct ps_session *s, __u64 now, __u64 until)
{
	PS_WRITE_ONCE(s->rx_passed_ns, now);
	PS_WRITE_ONCE(s->rx_held_until_ns, until);
}
#endif
