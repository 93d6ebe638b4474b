/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Loads and stores of wire words at any alignment, in the order they have on the wire. The BPF
 * compiler would split an unaligned access into bytes, while every machine the fast path runs on
 * has unaligned loads; elsewhere the compiler turns memcpy into the same single instruction.
 *
 * Nothing here checks bounds: the parsers in this directory do, before they load. */
#ifndef PENSTOCK_WIRE_LOAD_H
#define PENSTOCK_WIRE_LOAD_H
#include "compat/target.h"

#ifdef __bpf__
#define PS_LOAD(type, p)     (*(const type *)(const void *)(p))
#define PS_STORE(type, p, v) (*(type *)(void *)(p) = (v))
#else
#define PS_LOAD(type, p)                                              \
	({                                                            \
		type ps_load_v;                                       \
		__builtin_memcpy(&ps_load_v, (p), sizeof(ps_load_v)); \
		ps_load_v;                                            \
	})
#define PS_STORE(type, p, v)                                            \
	({                                                              \
		type ps_store_v = (v);                                  \
		__builtin_memcpy((p), &ps_store_v, sizeof(ps_store_v)); \
	})
#endif

static __always_inline __be16 ps_be16_at(const __u8 *p)
{
	return (__be16)PS_LOAD(__u16, p);
}

static __always_inline __u16 ps_host16_at(const __u8 *p)
{
	return ps_host16(PS_LOAD(__u16, p));
}

static __always_inline __u32 ps_host32_at(const __u8 *p)
{
	return ps_host32(PS_LOAD(__u32, p));
}

static __always_inline __u32 ps_le32_at(const __u8 *p)
{
	return PS_LOAD(__u32, p);
}

static __always_inline __u64 ps_le64_at(const __u8 *p)
{
	return PS_LOAD(__u64, p);
}

static __always_inline void ps_be16_put(__u8 *p, __u16 host)
{
	PS_STORE(__u16, p, (__u16)ps_be16(host));
}

/* 1: the len bytes are equal; len a multiple of 4 known to the compiler. Addresses only: not
 * constant time. */
static __always_inline int ps_words_equal(const __u8 *a, const __u8 *b, unsigned int len)
{
	__u32 diff = 0;

	for (unsigned int i = 0; i < len; i += 4)
		diff |= PS_LOAD(__u32, a + i) ^ PS_LOAD(__u32, b + i);
	return diff == 0;
}

static __always_inline void ps_words_copy(__u8 *dst, const __u8 *src, unsigned int len)
{
	for (unsigned int i = 0; i < len; i += 4)
		PS_STORE(__u32, dst + i, PS_LOAD(__u32, src + i));
}
#endif
