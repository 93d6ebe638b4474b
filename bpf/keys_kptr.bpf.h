/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Session keys that no dump can show, for kernels from 6.4 on: the map's value holds a pointer to
 * an object of the BPF allocator, which the syscall side of the map replaces by zeros. keys_plain
 * is the other implementation of the same four names: key_slot, keys_load, keys_still, key_set;
 * and of skb_partial and skb_headroom, which the same kernels decide.
 *
 * `seq` is odd while a slot's keys change and grows with every change. A packet copies the key to
 * its stack and checks seq before it relies on the copy: a freed object's memory may be reused at
 * once. */
#ifndef PENSTOCK_KEYS_BPF_H
#define PENSTOCK_KEYS_BPF_H
#include <bpf/bpf_core_read.h>
#include "maps.bpf.h"
#include "wire/load.h"
#include "skb.bpf.h"

#define KPTR __attribute__((btf_type_tag("kptr")))

extern void *bpf_obj_new_impl(__u64 local_type_id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *obj, void *meta) __ksym;
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

struct ps_key_obj {
	__u64 recv[4];
	__u64 send[4];
};

struct key_slot {
	struct ps_key_obj KPTR *obj;
	__u32 seq;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_DEF_SESSIONS);
	__type(key, __u32);
	__type(value, struct key_slot);
} ps_key SEC(".maps");

/* One of the slot's two keys into key, and the slot's sequence into *seq. 0: there is none. */
static __always_inline int keys_load(struct key_slot *slot, int send, __u64 key[4], __u32 *seq)
{
	struct ps_key_obj *obj;

	*seq = PS_READ_ONCE(slot->seq);
	obj = slot->obj;
	if (!obj || (*seq & 1))
		return 0;
	for (int i = 0; i < 4; i++)
		key[i] = send ? PS_READ_ONCE(obj->send[i]) : PS_READ_ONCE(obj->recv[i]);
	return 1;
}

static __always_inline int keys_still(struct key_slot *slot, __u32 seq)
{
	return PS_READ_ONCE(slot->seq) == seq;
}

/* Install (set) or wipe a slot's keys. The old object is zeroed before it is freed. */
static __always_inline int key_set(struct key_slot *slot, const struct ps_key_args *a)
{
	struct ps_key_obj *obj = 0, *old;

	if (a->set) {
		obj = bpf_obj_new_impl(bpf_core_type_id_local(struct ps_key_obj), 0);
		if (!obj)
			return -12; /* ENOMEM */
		for (int i = 0; i < 4; i++) {
			obj->recv[i] = PS_LOAD(__u64, a->recv + 8 * i);
			obj->send[i] = PS_LOAD(__u64, a->send + 8 * i);
		}
	}
	__sync_fetch_and_add(&slot->seq, 1);
	old = bpf_kptr_xchg(&slot->obj, obj);
	__sync_fetch_and_add(&slot->seq, 1);
	if (old) {
		for (int i = 0; i < 4; i++) {
			PS_WRITE_ONCE(old->recv[i], 0);
			PS_WRITE_ONCE(old->send[i], 0);
		}
		bpf_obj_drop_impl(old, 0);
	}
	return 0;
}

/* May an skb change between IPv4 and IPv6? bpf_skb_adjust_room can from 6.3 on. */
#define SKB_FAMILY_SWITCH 1

/* Is the skb's L4 checksum still to be computed by the device? Then *start and *field are where
 * the sum starts and where it goes, from the first byte of data. */
static __always_inline int skb_partial(struct __sk_buff *ctx, __u32 *start, __u32 *field)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);

	if (BPF_CORE_READ_BITFIELD(skb, ip_summed) != CHECKSUM_PARTIAL)
		return 0;
	*start = skb->csum_start - (__u32)(skb->data - skb->head);
	*field = *start + skb->csum_offset;
	return 1;
}

/* Bytes in front of the skb's data. */
static __always_inline __u32 skb_headroom(struct __sk_buff *ctx)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);

	return (__u32)(skb->data - skb->head);
}
#endif
