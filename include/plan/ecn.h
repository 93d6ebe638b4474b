/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Explicit congestion notification at the tunnel's end (RFC 6040 §4.2), for every executor. On the
 * way in the outer header copies the inner one's field (§4.1, normal mode). */
#ifndef PENSTOCK_PLAN_ECN_H
#define PENSTOCK_PLAN_ECN_H
#include "wire/csum.h"
#include "wire/ip.h"

#define PS_ECN_ECT1 1
#define PS_ECN_ECT0 2
#define PS_ECN_DROP 4 /* no codepoint: the packet must not be forwarded */

/* The field of the packet that leaves the tunnel, by those it came with. "If the inner ECN field is
 * Not-ECT, the decapsulator MUST NOT propagate any other ECN codepoint onwards […] if the inner ECN
 * field is Not-ECT and the outer ECN field is CE, the decapsulator MUST drop the packet." */
static __always_inline __u8 ps_ecn_decap(__u8 inner, __u8 outer)
{
	if (outer == PS_ECN_CE)
		return inner ? PS_ECN_CE : PS_ECN_DROP;
	return inner == PS_ECN_ECT0 && outer == PS_ECN_ECT1 ? PS_ECN_ECT1 : inner;
}

/* Write a codepoint into the header at p, which has been parsed. */
static __always_inline void ps_ecn_put(__u8 *p, int family, __u8 ecn)
{
	__u16 from = PS_LOAD(__u16, p), to;

	if (family != 4) {
		p[1] = (__u8)((p[1] & ~(PS_ECN_MASK << 4)) | ecn << 4);
		return;
	}
	p[PS_IP4_TOS] = (__u8)((p[PS_IP4_TOS] & ~PS_ECN_MASK) | ecn);
	to = PS_LOAD(__u16, p);
	PS_STORE(__u16, p + PS_IP4_CSUM,
		 ps_csum_replace16(PS_LOAD(__u16, p + PS_IP4_CSUM), from, to));
}
#endif
