// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The relay's switch: XDP on the interfaces that its clients and their peers are reached by.
#include "relay.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int ps_relay(struct xdp_md *ctx)
{
	__u32 len = (__u32)((long)ctx->data_end - (long)ctx->data);
	struct relay r = {.frame_len = len, .action = XDP_TX};
	enum ps_reason_id id = relay_packet(ctx, &r);
	enum ps_verdict v = reason_count(id, len);

	if (v == PS_V_DONE)
		return r.action;
	return v == PS_V_DROP ? XDP_DROP : r.action == XDP_ABORTED ? XDP_ABORTED : XDP_PASS;
}
