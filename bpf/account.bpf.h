/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The one place where a fate becomes a counter and an action. Counting never changes a verdict. */
#ifndef PENSTOCK_ACCOUNT_BPF_H
#define PENSTOCK_ACCOUNT_BPF_H
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "plan/verdict.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PS_R_COUNT);
	__type(key, __u32);
	__type(value, struct ps_reason_count);
} ps_reason SEC(".maps");

static __always_inline enum ps_verdict reason_count(enum ps_reason_id id, __u64 bytes)
{
	__u32 key = id;
	struct ps_reason_count *c = bpf_map_lookup_elem(&ps_reason, &key);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
	return ps_verdict_of(id);
}

/* bytes: length of the frame as it came. */
static __always_inline int xdp_account(enum ps_reason_id id, __u64 bytes)
{
	return reason_count(id, bytes) == PS_V_DROP ? XDP_DROP : XDP_PASS;
}

/* done: what to return for a packet that was handled. One that is not ours is left to whatever
 * other filter the host has there. */
static __always_inline int tc_account(enum ps_reason_id id, __u64 bytes, int done)
{
	enum ps_verdict v = reason_count(id, bytes);

	if (v == PS_V_DONE)
		return done;
	return v == PS_V_DROP ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
#endif
