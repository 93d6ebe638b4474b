/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Next hop `auto`: which packets the default router takes, from values alone. Who the router is and
 * what is not behind it user space has worked out (struct ps_turn_way). What this declines is for
 * the kernel's routes, and without forwarding for user space. */
#ifndef PENSTOCK_PLAN_RELAY_WAY_H
#define PENSTOCK_PLAN_RELAY_WAY_H
#include "plan/relay.h"

static __always_inline int ps_relay_near4(const struct ps_turn_way *w, const __u8 *addr)
{
	__u32 a = PS_LOAD(__u32, addr);

	for (__u32 i = 0; i < PS_TURN_NEAR_MAX && i < w->v4.near_len; i++)
		if ((a & w->near4[i].mask) == w->near4[i].net)
			return 1;
	return 0;
}

static __always_inline int ps_relay_near6(const struct ps_turn_way *w, const __u8 *addr)
{
	__u64 a = PS_LOAD(__u64, addr), b = PS_LOAD(__u64, addr + 8);

	for (__u32 i = 0; i < PS_TURN_NEAR_MAX && i < w->v6.near_len; i++) {
		const struct ps_turn_near6 *n = &w->near6[i];

		if (!(((a & n->mask[0]) ^ n->net[0]) | ((b & n->mask[1]) ^ n->net[1])))
			return 1;
	}
	return 0;
}

/* PS_GO_ON: *to takes the packet. Tagged frames go elsewhere: the router is where the tags of
 * another interface are not. */
static __always_inline enum ps_reason_id ps_relay_way(const struct ps_turn_way *w,
						      const struct ps_relay_pkt *k,
						      const struct ps_turn_route *out,
						      const struct ps_turn_router **to)
{
	const struct ps_turn_router *r = out->family == 4 ? &w->v4 : &w->v6;

	if (k->link_len != PS_ETH_HLEN)
		return PS_R_RXDP_NO_HOP;
	if (!r->ifindex)
		return PS_R_RXDP_NO_ROUTER;
	if (out->flags & PS_TURN_NEAR)
		return PS_R_RXDP_NEAR;
	if (out->family == 4 ? ps_relay_near4(w, out->daddr) : ps_relay_near6(w, out->daddr))
		return PS_R_RXDP_NEAR;
	*to = r;
	return PS_GO_ON;
}

/* May a frame that came in by another interface leave by this one? */
static __always_inline int ps_relay_way_open(const struct ps_turn_way *w, __u32 ifindex)
{
	for (unsigned int i = 0; i < PS_TURN_PORTS_MAX; i++)
		if (w->ports[i] == ifindex)
			return 1;
	return 0;
}

static __always_inline void ps_relay_link_to(struct ps_relay_link *l, const __u8 *dst,
					     const __u8 *src)
{
	l->dst_hi = PS_LOAD(__u32, dst);
	l->dst_lo = PS_LOAD(__u16, dst + 4);
	l->src_hi = PS_LOAD(__u32, src);
	l->src_lo = PS_LOAD(__u16, src + 4);
}
#endif
