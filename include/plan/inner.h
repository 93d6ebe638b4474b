/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The packet inside the tunnel: is it sane, and which flow does it belong to? Both executors, both
 * directions and the tests use this one answer.
 *
 * Fast-path packets are IPv4 without options or IPv6 without extension headers, not fragments, and
 * carry TCP, UDP or an ICMP echo. Bytes behind the IP length are padding and accepted. Checksums
 * are the receiving host's business. */
#ifndef PENSTOCK_PLAN_INNER_H
#define PENSTOCK_PLAN_INNER_H
#include "abi/maps.h"
#include "wire/ip.h"
#include "wire/udp.h"
#include "wire/csum.h"

#define PS_TCP_HLEN    20
#define PS_TCP_OFFSET  12 /* data offset in the high nibble */
#define PS_TCP_CSUM    16
#define PS_ICMP_HLEN   8 /* of an echo */
#define PS_ICMP_ID     4
#define PS_ICMP_ECHO   8
#define PS_ICMP_REPLY  0
#define PS_ICMP6_ECHO  128
#define PS_ICMP6_REPLY 129
#define PS_INNER_HEAD  (PS_IP6_HLEN + PS_TCP_HLEN) /* all the bytes ps_inner_parse looks at */

enum ps_inner_class {
	PS_INNER_FLOW,	    /* a packet of a flow; key is filled in */
	PS_INNER_OTHER,	    /* sane, but of a kind the fast path leaves to user space */
	PS_INNER_MALFORMED, /* neither IPv4 nor IPv6, or its lengths lie */
};

struct ps_inner {
	struct ps_ip ip;
	struct ps_flow_key key; /* peer is 0: the caller's */
};

/* Fill in ports (or the echo identifier) from the L4 header at p. `room`: what the IP length
 * leaves for it; the parsers below have checked that so much is there. */
static __always_inline enum ps_inner_class ps_inner_l4(const __u8 *p, const __u8 *end, __u32 room,
						       struct ps_flow_key *key)
{
	__u32 payload, tcp_hlen;

	switch (key->proto) {
	case PS_IPPROTO_TCP:
		if (room < PS_TCP_HLEN || p + PS_TCP_HLEN > end)
			return PS_INNER_MALFORMED;
		tcp_hlen = (__u32)(p[PS_TCP_OFFSET] >> 4) * 4;
		if (tcp_hlen < PS_TCP_HLEN || tcp_hlen > room)
			return PS_INNER_MALFORMED;
		key->sport = ps_be16_at(p);
		key->dport = ps_be16_at(p + 2);
		return PS_INNER_FLOW;
	case PS_IPPROTO_UDP:
		if (!ps_udp_parse(p, end, room, &payload))
			return PS_INNER_MALFORMED;
		key->sport = ps_be16_at(p);
		key->dport = ps_be16_at(p + 2);
		return PS_INNER_FLOW;
	case PS_IPPROTO_ICMP:
	case PS_IPPROTO_ICMP6:
		if ((key->proto == PS_IPPROTO_ICMP) != (key->family == 4))
			return PS_INNER_OTHER;
		if (room < PS_ICMP_HLEN || p + PS_ICMP_HLEN > end)
			return PS_INNER_MALFORMED;
		if (key->family == 4 ? p[0] != PS_ICMP_ECHO && p[0] != PS_ICMP_REPLY
				     : p[0] != PS_ICMP6_ECHO && p[0] != PS_ICMP6_REPLY)
			return PS_INNER_OTHER;
		key->sport = ps_be16_at(p + PS_ICMP_ID);
		return PS_INNER_FLOW;
	default:
		return PS_INNER_OTHER;
	}
}

static __always_inline enum ps_inner_class ps_inner_of_ip(enum ps_ip_result r)
{
	if (r == PS_IP_OK)
		return PS_INNER_FLOW;
	return r == PS_IP_OPTIONS || r == PS_IP_FRAGMENT ? PS_INNER_OTHER : PS_INNER_MALFORMED;
}

/* Judge the packet at p; *in is complete only with PS_INNER_FLOW. Never reads past end. */
static __always_inline enum ps_inner_class ps_inner_parse(const __u8 *p, const __u8 *end,
							  struct ps_inner *in)
{
	enum ps_inner_class c;

	__builtin_memset(in, 0, sizeof(*in));
	if (p + 1 > end)
		return PS_INNER_MALFORMED;
	if (p[0] >> 4 == 4) {
		c = ps_inner_of_ip(ps_ip4_parse(p, end, &in->ip));
		if (c != PS_INNER_FLOW)
			return c;
		ps_words_copy(in->key.saddr, p + PS_IP4_SADDR, 4);
		ps_words_copy(in->key.daddr, p + PS_IP4_DADDR, 4);
		in->key.family = 4;
		in->key.proto = in->ip.proto;
		return ps_inner_l4(p + PS_IP4_HLEN, end, in->ip.len - PS_IP4_HLEN, &in->key);
	}
	c = ps_inner_of_ip(ps_ip6_parse(p, end, &in->ip));
	if (c != PS_INNER_FLOW)
		return c;
	ps_words_copy(in->key.saddr, p + PS_IP6_SADDR, 16);
	ps_words_copy(in->key.daddr, p + PS_IP6_DADDR, 16);
	in->key.family = 6;
	in->key.proto = in->ip.proto;
	return ps_inner_l4(p + PS_IP6_HLEN, end, in->ip.len - PS_IP6_HLEN, &in->key);
}
#endif
