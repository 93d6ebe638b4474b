/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The entry points, the same in both objects; the including file has chosen a keys header. */
#ifndef PENSTOCK_PROGRAMS_BPF_H
#define PENSTOCK_PROGRAMS_BPF_H
#include "account.bpf.h"
#include "rx.bpf.h"
#include "steer.bpf.h"
#include "in.bpf.h"
#include "tx.bpf.h"
#include "xsk.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* XDP on the WAN interface: decrypts established flows, passes everything else as it came. */
SEC("xdp")
int ps_wan_rx(struct xdp_md *ctx)
{
	__u64 len = (__u64)((long)ctx->data_end - (long)ctx->data);

	return xdp_account(rx_packet(ctx), len);
}

/* In place of ps_wan_rx where frames are steered: hands those of WireGuard data to a processor. */
SEC("xdp")
int ps_wan_steer(struct xdp_md *ctx)
{
	__u64 len = (__u64)((long)ctx->data_end - (long)ctx->data);
	int action;

	reason_count(steer_packet(ctx, &action), len);
	return action;
}

/* In place of ps_wan_rx where one processor at a time receives: hands on busy paths' frames only.
 */
SEC("xdp")
int ps_wan_busy(struct xdp_md *ctx)
{
	__u64 len = (__u64)((long)ctx->data_end - (long)ctx->data);
	struct ps_config *cfg;
	struct rx r = {0};
	enum ps_reason_id id = rx_begin(ctx, &r, &cfg);
	struct ps_busy *b = 0;
	int action = XDP_PASS;

	if (id == PS_GO_ON)
		id = steer_busy(ctx, &r, &b, &action);
	if (action != XDP_PASS) {
		reason_count(id, len);
		return action;
	}
	return xdp_account(id == PS_GO_ON ? steer_rest(ctx, &r, cfg, b) : id, len);
}

/* There, in its cpumap thread: as ps_wan_rx. */
SEC("xdp/cpumap")
int ps_wan_cpu(struct xdp_md *ctx)
{
	__u64 len = (__u64)((long)ctx->data_end - (long)ctx->data);
	struct ps_config *cfg;
	struct rx r = {0};
	enum ps_reason_id id = rx_begin(ctx, &r, &cfg);

	if (id == PS_GO_ON)
		id = steer_rest(ctx, &r, cfg, steer_begun(ctx, &r));

	if (ps_verdict_of(id) == PS_V_PASS)
		steer_finish_sum(ctx);
	return xdp_account(id, len);
}

/* In place of ps_wan_rx where receive queues have AF_XDP sockets: what is left to user space goes
 * there by the queue's. */
SEC("xdp")
int ps_wan_xsk(struct xdp_md *ctx)
{
	__u64 len = (__u64)((long)ctx->data_end - (long)ctx->data);
	enum ps_verdict v = reason_count(rx_packet(ctx), len);

	if (v == PS_V_PASS)
		return xsk_pass(ctx);
	return v == PS_V_DROP ? XDP_DROP : XDP_PASS;
}

/* TC ingress on the WAN interface: hands what ps_wan_rx decrypted to the tunnel device. */
SEC("tc")
int ps_wan_in(struct __sk_buff *ctx)
{
	__u32 tun_ifindex = 0;
	enum ps_reason_id id = in_packet(ctx, &tun_ifindex);
	int done = id == PS_R_IN_DELIVERED ? (int)bpf_redirect(tun_ifindex, BPF_F_INGRESS) : 0;

	return tc_account(id, ctx->len, done);
}

/* TC egress on the tunnel device: encrypts and sends packets of established flows. */
SEC("tc")
int ps_tun_out(struct __sk_buff *ctx)
{
	__u32 ifindex = 0, len = ctx->len;
	enum ps_reason_id id = tx_packet(ctx, &ifindex);
	int done = id == PS_R_TX_SENT ? (int)bpf_redirect_neigh(ifindex, 0, 0, 0) : 0;

	return tc_account(id, len, done);
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
