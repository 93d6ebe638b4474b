/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The few fields of the kernel's packets that __sk_buff and xdp_md do not show, relocated at load.
 */
#ifndef PENSTOCK_SKB_BPF_H
#define PENSTOCK_SKB_BPF_H
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define CHECKSUM_PARTIAL 3 /* <linux/skbuff.h>: the device, or whoever sends, completes the sum */

struct sk_buff {
	__u8 ip_summed : 2;
	__u16 csum_start; /* from head */
	__u16 csum_offset;
	unsigned char *head;
	unsigned char *data;
} __attribute__((preserve_access_index));

struct xdp_buff {
	void *data_hard_start;
	__u32 frame_sz; /* with the shared info at its end */
} __attribute__((preserve_access_index));

struct skb_shared_info {
	__u16 gso_size; /* not 0: several packets in one */
} __attribute__((preserve_access_index));

#define SHARED_INFO_ALIGN 64 /* SMP_CACHE_BYTES where the fast path runs */

/* For a program that runs as generic XDP, that is on an skb: is it one of segmentation or receive
 * offload? A driver's frame has no such thing, and what is read from it there means nothing. */
static __always_inline int xdp_is_gso(struct xdp_md *ctx)
{
	struct xdp_buff *xdp = (void *)ctx;
	const char *end = BPF_CORE_READ(xdp, data_hard_start);
	struct skb_shared_info *info;
	__u64 size = bpf_core_type_size(struct skb_shared_info);

	size = (size + SHARED_INFO_ALIGN - 1) & ~(__u64)(SHARED_INFO_ALIGN - 1);
	info = (void *)(end + BPF_CORE_READ(xdp, frame_sz) - size);
	return BPF_CORE_READ(info, gso_size) != 0;
}
#endif
