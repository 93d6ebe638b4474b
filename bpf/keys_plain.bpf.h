/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Session keys in a plain array, for kernels before 6.4, which have no typed pointers in map
 * values: whoever may dump maps sees them, and `penstock status` says so. Not pinned. See
 * keys_kptr.bpf.h for the contract. */
#ifndef PENSTOCK_KEYS_BPF_H
#define PENSTOCK_KEYS_BPF_H
#include <bpf/bpf_core_read.h>
#include "maps.bpf.h"
#include "wire/load.h"
#include "skb.bpf.h"

struct key_slot {
	__u64 recv[4];
	__u64 send[4];
	__u32 seq;
	__u32 set;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_DEF_SESSIONS);
	__type(key, __u32);
	__type(value, struct key_slot);
} ps_key SEC(".maps");

static __always_inline int keys_load(struct key_slot *slot, int send, __u64 key[4], __u32 *seq)
{
	*seq = PS_READ_ONCE(slot->seq);
	if (!PS_READ_ONCE(slot->set) || (*seq & 1))
		return 0;
	for (int i = 0; i < 4; i++)
		key[i] = send ? PS_READ_ONCE(slot->send[i]) : PS_READ_ONCE(slot->recv[i]);
	return 1;
}

static __always_inline int keys_still(struct key_slot *slot, __u32 seq)
{
	return PS_READ_ONCE(slot->seq) == seq;
}

static __always_inline int key_set(struct key_slot *slot, const struct ps_key_args *a)
{
	__sync_fetch_and_add(&slot->seq, 1);
	for (int i = 0; i < 4; i++) {
		PS_WRITE_ONCE(slot->recv[i], a->set ? PS_LOAD(__u64, a->recv + 8 * i) : 0);
		PS_WRITE_ONCE(slot->send[i], a->set ? PS_LOAD(__u64, a->send + 8 * i) : 0);
	}
	PS_WRITE_ONCE(slot->set, a->set ? 1 : 0);
	__sync_fetch_and_add(&slot->seq, 1);
	return 0;
}

#define SKB_FAMILY_SWITCH 0

static __always_inline int skb_partial(struct __sk_buff *ctx, __u32 *start, __u32 *field)
{
	struct sk_buff *skb = (void *)ctx;

	if (BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed) != CHECKSUM_PARTIAL)
		return 0;
	*start = BPF_CORE_READ(skb, csum_start) -
		 (__u32)(BPF_CORE_READ(skb, data) - BPF_CORE_READ(skb, head));
	*field = *start + BPF_CORE_READ(skb, csum_offset);
	return 1;
}

/* To read it would cost two calls, which is more than it saves: enough. */
static __always_inline __u32 skb_headroom(struct __sk_buff *ctx)
{
	(void)ctx;
	return ~0u;
}
#endif
