/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The internet checksum (RFC 1071) and its incremental update (RFC 1624). Sums are kept in 64 bits
 * over words as they lie in memory; the one's complement sum does not care about byte order. */
#ifndef PENSTOCK_WIRE_CSUM_H
#define PENSTOCK_WIRE_CSUM_H
#include "wire/load.h"

static __always_inline __u16 ps_csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* Sum of len bytes, len a multiple of 2 known to the compiler. */
static __always_inline __u64 ps_csum_words(const __u8 *p, unsigned int len)
{
	__u64 sum = 0;

	for (unsigned int i = 0; i < len; i += 2)
		sum += PS_LOAD(__u16, p + i);
	return sum;
}

/* The checksum field after one 16-bit word changed: HC' = ~(~HC + ~m + m'), RFC 1624 eqn. 3. All
 * three as they lie in memory. */
static __always_inline __u16 ps_csum_replace16(__u16 check, __u16 from, __u16 to)
{
	return (__u16)~ps_csum_fold((__u64)(__u16)~check + (__u16)~from + to);
}
#endif
