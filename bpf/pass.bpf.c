// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Lets everything pass. A veth takes in frames that its other end's program returns (XDP_TX) only
// while it has a program itself; the lab and tests put this one there.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int ps_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
