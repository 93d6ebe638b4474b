/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The entry points, the same in both objects; the including file has chosen a keys header. */
#ifndef PENSTOCK_PROGRAMS_BPF_H
#define PENSTOCK_PROGRAMS_BPF_H
#include "account.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* XDP on the WAN interface: decrypts established flows, passes everything else as it came. */
SEC("xdp")
int ps_wan_rx(struct xdp_md *ctx)
{
	return xdp_account(PS_R_XDP_NOT_IP, ctx->data_end - ctx->data);
}

/* TC ingress on the WAN interface: hands what ps_wan_rx decrypted to the tunnel device. */
SEC("tc")
int ps_wan_in(struct __sk_buff *ctx)
{
	return tc_account(PS_R_IN_NOT_OURS, ctx->len, TC_ACT_UNSPEC);
}

/* TC egress on the tunnel device: encrypts and sends packets of established flows. */
SEC("tc")
int ps_tun_out(struct __sk_buff *ctx)
{
	return tc_account(PS_R_TX_NOT_IP, ctx->len, TC_ACT_UNSPEC);
}

/* Run by the daemon: install or wipe the keys of one slot. The argument is wiped. 0 or -errno. */
SEC("syscall")
int ps_key_set(struct ps_key_args *ctx)
{
	__u32 slot_id = ctx->slot;
	struct key_slot *slot = bpf_map_lookup_elem(&ps_key, &slot_id);
	int rc = -22; /* EINVAL */

	if (slot)
		rc = key_set(slot, ctx);
	for (int i = 0; i < 4; i++) {
		PS_WRITE_ONCE(((__u64 *)ctx->recv)[i], 0);
		PS_WRITE_ONCE(((__u64 *)ctx->send)[i], 0);
	}
	return rc;
}
#endif
