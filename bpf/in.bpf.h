/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * ps_wan_in: what ps_wan_rx decrypted comes up the WAN interface's receive path, perhaps merged by
 * GRO, and is moved to the tunnel device here, so that routing, firewall and tcpdump see it there.
 * When that device is gone the packet ends: nothing decrypted ever enters the WAN's own routing. */
#ifndef PENSTOCK_IN_BPF_H
#define PENSTOCK_IN_BPF_H
#include "account.bpf.h"
#include "maps.bpf.h"
#include "train.bpf.h"

/* On veth and virtio a packet may arrive with its checksum still to be filled in
 * (CHECKSUM_PARTIAL), at an offset that meant the outer UDP header. The inner packet would carry
 * that mark on, and NAT updates the checksum of a marked packet as if it were unfinished. Rewriting
 * bytes with BPF_F_RECOMPUTE_CSUM makes the kernel notice that the offset lies before the packet,
 * and drop the mark; a packet merged by GRO has a valid one and keeps it. */
static __always_inline void in_forget_outer_checksum(struct __sk_buff *ctx)
{
	__u8 mac[6];

	if (!bpf_skb_load_bytes(ctx, 0, mac, sizeof(mac)))
		bpf_skb_store_bytes(ctx, 0, mac, sizeof(mac), BPF_F_RECOMPUTE_CSUM);
}

/* Generic XDP leaves the tail mark of a packet it shortened one Ethernet header too far (Linux up
 * to 6.18 at least), and a receive queue that appends to the packet would take in that gap as data.
 * Growing and trimming sets the mark anew. Not for what GRO has merged: that has been through none
 * of this. False: no memory. */
static __always_inline int in_set_tail(struct __sk_buff *ctx)
{
	const struct ps_config *cfg = config_get();
	__u32 len = ctx->len;

	if (!cfg || !(cfg->flags & PS_CFG_GENERIC) || ctx->gso_size)
		return 1;
	return !bpf_skb_change_tail(ctx, len + 1, 0) && !bpf_skb_change_tail(ctx, len, 0);
}

static __always_inline enum ps_reason_id in_packet(struct __sk_buff *ctx, __u32 *ifindex)
{
	const struct ps_meta *meta = (void *)(long)ctx->data_meta;
	__u32 mtu = 0;

	if (meta + 1 > (const struct ps_meta *)(long)ctx->data || meta->magic != PS_META_MAGIC) {
		train_look(ctx);
		return PS_R_IN_NOT_OURS;
	}
	*ifindex = meta->tun_ifindex;
	/* Asked for its opinion on the device's existence only: a devmap belongs to one program
	 * type, so ps_alive cannot be read here. */
	if (!*ifindex || bpf_check_mtu(ctx, *ifindex, &mtu, 0, 0) < 0)
		return PS_R_IN_DAEMON_GONE;
	in_forget_outer_checksum(ctx);
	return in_set_tail(ctx) ? PS_R_IN_DELIVERED : PS_R_IN_NO_ROOM;
}
#endif
