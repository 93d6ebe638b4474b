/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * IPv4 (RFC 791) and IPv6 (RFC 8200) headers, as far as a fast path looks at them: fixed header
 * only; options, extension headers and fragments are named, not followed. Checksums are not
 * verified here. What is accepted has a constant header length, so that the verifier and the
 * reader know every offset. */
#ifndef PENSTOCK_WIRE_IP_H
#define PENSTOCK_WIRE_IP_H
#include "wire/load.h"

#define PS_IP4_HLEN	 20
#define PS_IP4_TOS	 1
#define PS_IP4_LEN	 2
#define PS_IP4_ID	 4
#define PS_IP4_FRAG	 6
#define PS_IP4_TTL	 8
#define PS_IP4_PROTO	 9
#define PS_IP4_CSUM	 10
#define PS_IP4_SADDR	 12
#define PS_IP4_DADDR	 16
#define PS_IP4_DF	 0x4000
#define PS_IP4_FRAG_MASK 0x3fff /* more-fragments and the offset */

#define PS_IP6_HLEN  40
#define PS_IP6_LEN   4
#define PS_IP6_NEXT  6
#define PS_IP6_HOPS  7
#define PS_IP6_SADDR 8
#define PS_IP6_DADDR 24

#define PS_IPPROTO_ICMP	 1
#define PS_IPPROTO_TCP	 6
#define PS_IPPROTO_UDP	 17
#define PS_IPPROTO_ICMP6 58

#define PS_ECN_MASK 3 /* RFC 3168 §5; 0 is "not capable", 3 is CE */
#define PS_ECN_CE   3

enum ps_ip_result {
	PS_IP_OK,
	PS_IP_VERSION,	 /* the version nibble says something else */
	PS_IP_TRUNCATED, /* shorter than its lengths say, or lengths that cannot be */
	PS_IP_OPTIONS,	 /* IPv4 options, IPv6 extension header */
	PS_IP_FRAGMENT,
};

struct ps_ip {
	__u8 family; /* 4 or 6 */
	__u8 proto;  /* what follows the fixed header */
	__u8 tos;    /* DSCP and ECN */
	__u8 pad;
	__u32 hlen; /* PS_IP4_HLEN or PS_IP6_HLEN */
	__u32 len;  /* header and payload */
};

static __always_inline enum ps_ip_result ps_ip4_parse(const __u8 *p, const __u8 *end,
						      struct ps_ip *ip)
{
	__u32 ihl;

	if (p + PS_IP4_HLEN > end)
		return PS_IP_TRUNCATED;
	if (p[0] >> 4 != 4)
		return PS_IP_VERSION;
	ihl = (__u32)(p[0] & 15) * 4;
	ip->family = 4;
	ip->proto = p[PS_IP4_PROTO];
	ip->tos = p[PS_IP4_TOS];
	ip->hlen = PS_IP4_HLEN;
	ip->len = ps_host16_at(p + PS_IP4_LEN);
	if (ihl < PS_IP4_HLEN || ip->len < ihl || ip->len > (__u64)(end - p))
		return PS_IP_TRUNCATED;
	if (ihl > PS_IP4_HLEN)
		return PS_IP_OPTIONS;
	if (ps_host16_at(p + PS_IP4_FRAG) & PS_IP4_FRAG_MASK)
		return PS_IP_FRAGMENT;
	return PS_IP_OK;
}

/* RFC 8200 §4.1's extension headers, and the authentication header and mobility ones after it. */
static __always_inline int ps_ip6_is_extension(__u8 next)
{
	return next == 0 || next == 43 || next == 51 || next == 60 || next == 135 || next == 139 ||
	       next == 140;
}

static __always_inline enum ps_ip_result ps_ip6_parse(const __u8 *p, const __u8 *end,
						      struct ps_ip *ip)
{
	if (p + PS_IP6_HLEN > end)
		return PS_IP_TRUNCATED;
	if (p[0] >> 4 != 6)
		return PS_IP_VERSION;
	ip->family = 6;
	ip->proto = p[PS_IP6_NEXT];
	ip->tos = (__u8)(p[0] << 4 | p[1] >> 4);
	ip->hlen = PS_IP6_HLEN;
	ip->len = PS_IP6_HLEN + (__u32)ps_host16_at(p + PS_IP6_LEN);
	if (ip->len > (__u64)(end - p))
		return PS_IP_TRUNCATED;
	if (ip->proto == 44)
		return PS_IP_FRAGMENT;
	if (ps_ip6_is_extension(ip->proto))
		return PS_IP_OPTIONS;
	return PS_IP_OK;
}
#endif
