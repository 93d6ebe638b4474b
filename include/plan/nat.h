/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The address translation of a DNS resource's flow, as both executors and the tests apply it: one
 * address and one port (or echo identifier) of a packet become others, and the checksums follow
 * (RFC 1624 eqn. 3). What to translate to is decided elsewhere (core/tunnel/nat.h).
 *
 *   PS_NAT_TO    client -> resource   destination address, source port or echo identifier
 *   PS_NAT_FROM  resource -> client   source address, destination port or echo identifier
 *
 * A checksum that was wrong stays wrong by the same amount; a UDP checksum of 0, which says that
 * there is none, stays 0, and one that becomes 0 is written as 0xffff (RFC 768). ICMPv4 covers no
 * addresses, ICMPv6 does (RFC 4443 §2.3). Nothing else of the packet changes. */
#ifndef PENSTOCK_PLAN_NAT_H
#define PENSTOCK_PLAN_NAT_H
#include "abi/maps.h"
#include "plan/inner.h"
#include "plan/verdict.h"
#include "wire/csum.h"
#include "wire/ip.h"
#include "wire/udp.h"

#define PS_ICMP_CSUM   2
#define PS_TCP_FLAGS   13
#define PS_TCP_BOUNDS  7  /* FIN, SYN, RST: where a connection begins or ends */
#define PS_NAT_L4_HEAD 18 /* as much of the L4 header as ps_nat_rewrite may touch */

enum ps_nat_dir { PS_NAT_TO, PS_NAT_FROM };

struct ps_nat {
	__u8 addr[16]; /* of the packet's family */
	__be16 port;
	__u8 on; /* 0: the packet stays as it is */
	__u8 pad[5];
};

/* What the one's complement sum of len bytes changes by when they become others; len a multiple of
 * 4. */
static __always_inline __u64 ps_nat_change(const __u8 *from, const __u8 *to, unsigned int len)
{
	__u64 less = 0, more = 0;

	for (unsigned int i = 0; i < len; i += 4) {
		less += PS_LOAD(__u32, from + i);
		more += PS_LOAD(__u32, to + i);
	}
	return more + (__u16)~ps_csum_fold(less);
}

static __always_inline void ps_nat_csum(__u8 *field, __u64 change, int udp)
{
	__u16 check = PS_LOAD(__u16, field);

	if (udp && !check)
		return;
	check = (__u16)~ps_csum_fold((__u16)~check + change);
	PS_STORE(__u16, field, udp && !check ? 0xffff : check);
}

/* Translate the TCP, UDP or ICMP echo packet at p, whose L4 header is at l4: l4_len bytes are
 * there, at least 8. Only a packet quoted in an ICMP error has so few that the checksum of TCP is
 * not among them. */
static __always_inline void ps_nat_rewrite(__u8 *p, __u8 *l4, __u32 l4_len, __u8 family, __u8 proto,
					   enum ps_nat_dir dir, const struct ps_nat *to)
{
	int icmp = proto == PS_IPPROTO_ICMP || proto == PS_IPPROTO_ICMP6;
	__u8 *port = l4 + (icmp ? PS_ICMP_ID : dir == PS_NAT_TO ? 0 : 2);
	__u64 port_change = (__u64)(__u16)~PS_LOAD(__u16, port) + to->port, addr_change;
	__u8 *addr;

	if (family == 4) {
		addr = p + (dir == PS_NAT_TO ? PS_IP4_DADDR : PS_IP4_SADDR);
		addr_change = ps_nat_change(addr, to->addr, 4);
		ps_words_copy(addr, to->addr, 4);
		ps_nat_csum(p + PS_IP4_CSUM, addr_change, 0);
	} else {
		addr = p + (dir == PS_NAT_TO ? PS_IP6_DADDR : PS_IP6_SADDR);
		addr_change = ps_nat_change(addr, to->addr, 16);
		ps_words_copy(addr, to->addr, 16);
	}
	PS_STORE(__u16, port, to->port);
	if (proto == PS_IPPROTO_UDP)
		ps_nat_csum(l4 + PS_UDP_CSUM, addr_change + port_change, 1);
	else if (proto == PS_IPPROTO_ICMP)
		ps_nat_csum(l4 + PS_ICMP_CSUM, port_change, 0);
	else if (proto == PS_IPPROTO_ICMP6)
		ps_nat_csum(l4 + PS_ICMP_CSUM, addr_change + port_change, 0);
	else if (l4_len >= PS_NAT_L4_HEAD)
		ps_nat_csum(l4 + PS_TCP_CSUM, addr_change + port_change, 0);
}

/* The same for a packet that ps_inner_parse calls one of a flow: all offsets are known to the
 * compiler. */
static __always_inline void ps_nat_apply(__u8 *p, const struct ps_ip *ip, enum ps_nat_dir dir,
					 const struct ps_nat *to)
{
	if (ip->family == 4)
		ps_nat_rewrite(p, p + PS_IP4_HLEN, PS_TCP_HLEN, 4, ip->proto, dir, to);
	else
		ps_nat_rewrite(p, p + PS_IP6_HLEN, PS_TCP_HLEN, 6, ip->proto, dir, to);
}

/* 1: a connection begins or ends with this packet at p, a TCP segment of a translated flow: user
 * space keeps account of that and carries it. */
static __always_inline int ps_nat_is_bound(const __u8 *p, const struct ps_ip *ip)
{
	if (ip->proto != PS_IPPROTO_TCP)
		return 0;
	if (ip->family == 4)
		return p[PS_IP4_HLEN + PS_TCP_FLAGS] & PS_TCP_BOUNDS;
	return p[PS_IP6_HLEN + PS_TCP_FLAGS] & PS_TCP_BOUNDS;
}

/* Is the packet at p, of a flow that is translated so, one for the kernel? Steps of plan/ingress.h
 * and plan/egress.h. */
static __always_inline enum ps_reason_id ps_rx_nat(const struct ps_nat *to, const __u8 *p,
						   const struct ps_ip *ip)
{
	return to->on && ps_nat_is_bound(p, ip) ? PS_R_XDP_NAT_BOUND : PS_GO_ON;
}

static __always_inline enum ps_reason_id ps_tx_nat(const struct ps_nat *to, const __u8 *p,
						   const struct ps_ip *ip)
{
	return to->on && ps_nat_is_bound(p, ip) ? PS_R_TX_NAT_BOUND : PS_GO_ON;
}

/* The flow's translation, if any. Whoever reads an entry of a map that is written meanwhile asks
 * afterwards whether it still is the flow's. */
static __always_inline void ps_nat_of_flow(const struct ps_flow *f, struct ps_nat *to)
{
	to->on = PS_READ_ONCE(f->nat);
	if (!to->on)
		return;
	to->port = PS_READ_ONCE(f->nat_port);
	ps_words_copy(to->addr, f->nat_addr, 16);
}
#endif
