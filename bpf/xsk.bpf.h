/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * AF_XDP: what ps_wan_rx would pass to user space's sockets goes there by the AF_XDP socket of its
 * receive queue, around the kernel's stack. A stage behind the steps of rx.bpf.h, which know
 * nothing of it; what it takes is plan/steer.h's.
 *
 * A queue without a socket passes, as all does once the daemon is gone, for its sockets leave the
 * map with it. A frame that finds the socket's ring full is dropped by the kernel, as a datagram is
 * that finds a UDP socket full: the program is not asked, and nothing overtakes by another way. */
#ifndef PENSTOCK_XSK_BPF_H
#define PENSTOCK_XSK_BPF_H
#include "account.bpf.h"
#include "maps.bpf.h"
#include "plan/steer.h"
#include "rx.bpf.h"

/* The sockets, by ps_xsk_slot. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, PS_XSK_WANS *PS_XSK_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} ps_xsk SEC(".maps");

/* The interfaces' indices; 0: none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_XSK_WANS);
	__type(key, __u32);
	__type(value, __u32);
} ps_xsk_dev SEC(".maps");

static __always_inline __u32 xsk_slot(const struct xdp_md *ctx)
{
	for (__u32 i = 0; i < PS_XSK_WANS; i++) {
		__u32 key = i, *ifindex = bpf_map_lookup_elem(&ps_xsk_dev, &key);

		if (ifindex && *ifindex && *ifindex == ctx->ingress_ifindex)
			return ps_xsk_slot(i, ctx->rx_queue_index);
	}
	return PS_NO_SLOT;
}

/* A frame that would be passed: what the program returns. Not inlined: judged by the verifier once,
 * and its stack is not on top of the cipher's. */
__attribute__((noinline)) int xsk_pass(struct xdp_md *ctx)
{
	__u64 len = (__u64)((long)ctx->data_end - (long)ctx->data);
	struct ps_outer o = {0};
	struct ps_config *cfg;
	__u32 tun, slot;

	if (rx_outer(ctx, &cfg, &tun, &o) != PS_GO_ON)
		return XDP_PASS;
	slot = o.receiver & cfg->slot_mask;
	if (!ps_xsk_takes(bpf_map_lookup_elem(&ps_session, &slot), &o))
		return XDP_PASS;
	slot = xsk_slot(ctx);
	if (slot == PS_NO_SLOT || bpf_redirect_map(&ps_xsk, slot, XDP_PASS) != XDP_REDIRECT)
		return XDP_PASS;
	reason_count(PS_R_XDP_XSK, len);
	return XDP_REDIRECT;
}
#endif
