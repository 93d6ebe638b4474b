/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * From a binding to a route: what all packets of one direction have in common, worked out once, so
 * that a packet costs a lookup and a few additions. */
#ifndef PENSTOCK_PLAN_RELAY_ROUTE_H
#define PENSTOCK_PLAN_RELAY_ROUTE_H
#include "abi/turn_maps.h"
#include "wire/csum.h"
#include "wire/ip.h"

/* The fields that are the same in all packets on one side of a binding. */
struct ps_relay_side {
	__u8 family; /* 4 or 6 */
	__u8 pad;
	__be16 channel; /* 0: plain datagrams, the peer's side */
	__be16 sport;
	__be16 dport;
	__u8 saddr[16]; /* unused bytes zero */
	__u8 daddr[16];
};

static __always_inline __u64 ps_relay_side_sum(const struct ps_relay_side *s)
{
	return ps_csum_words(s->saddr, 16) + ps_csum_words(s->daddr, 16) + s->sport + s->dport +
	       s->channel;
}

/* The constant part of an IPv4 header's sum: version and length 0x45, protocol, addresses. */
static __always_inline __u16 ps_relay_ip_sum(const struct ps_relay_side *out)
{
	const __u8 fixed[4] = {0x45, 0, 0, PS_IPPROTO_UDP};

	if (out->family != 4)
		return 0;
	return ps_csum_fold(ps_csum_words(fixed, 4) + ps_csum_words(out->saddr, 4) +
			    ps_csum_words(out->daddr, 4));
}

/* *r from packets as they come in and as they go out; flags are 0. */
static __always_inline void ps_relay_route_make(struct ps_turn_route *r,
						const struct ps_relay_side *in,
						const struct ps_relay_side *out, __u32 stat,
						__u64 expires_ns)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->expires_ns = expires_ns;
	r->stat = stat;
	r->family = out->family;
	r->udp_sum = ps_csum_fold((__u64)ps_csum_fold(ps_relay_side_sum(out)) +
				  (__u16)~ps_csum_fold(ps_relay_side_sum(in)));
	r->ip_sum = ps_relay_ip_sum(out);
	r->channel = out->channel;
	r->sport = out->sport;
	r->dport = out->dport;
	__builtin_memcpy(r->local, in->daddr, 16);
	__builtin_memcpy(r->saddr, out->saddr, 16);
	__builtin_memcpy(r->daddr, out->daddr, 16);
}
#endif
