/* SPDX-License-Identifier: Apache-2.0
 *
 * How long packets to one of the client's routes may be: the least of the gateways that may serve
 * what the route leads to. Where none is known, or none yet, the base. */
#include "core/tunnel/tcl_table.h"

struct least {
	const struct tcl *c;
	tcl_mtu_fn mtu_of;
	void *arg;
	uint16_t mtu; /* 0: of none so far */
};

static void count_in(struct least *l, const struct tcl_resource *r)
{
	uint16_t mtu = r->gateway == TCL_NONE ? TCL_MTU_BASE : l->mtu_of(l->arg, r->gateway);

	if (!l->mtu || mtu < l->mtu)
		l->mtu = mtu;
}

static bool serves(const struct tcl_resource *r, enum tunnel_resource_type type)
{
	return r->used && r->enabled && r->r.type == type;
}

/* Routes to networks within this one exist for the resources that are more specific; the others
 * that cover it serve it, the longest first, and a less specific one what their filters refuse. */
static bool covers(const struct tcl_resource *r, const struct ipnet *net)
{
	if (serves(r, TUNNEL_RESOURCE_CIDR))
		return r->r.net.len <= net->len && ipnet_contains(&r->r.net, &net->ip);
	return serves(r, TUNNEL_RESOURCE_INTERNET);
}

/* Those of this prefix length; true: one of them takes whatever comes. */
static bool count_len(struct least *l, const struct ipnet *net, uint8_t len)
{
	bool takes_all = false;

	for (uint32_t i = 0; i < l->c->resource_high; i++) {
		const struct tcl_resource *r = &l->c->mem.resources[i];

		if (!covers(r, net) || tunnel_resource_prefix_len(&r->r) != len)
			continue;
		count_in(l, r);
		takes_all = takes_all || !r->r.filters.restricted;
	}
	return takes_all;
}

/* All names share one route. A resource without a name given out cannot be sent to. */
static void count_names(struct least *l)
{
	for (uint32_t i = 0; i < l->c->resource_high; i++) {
		const struct tcl_resource *r = &l->c->mem.resources[i];

		if (serves(r, TUNNEL_RESOURCE_DNS) && (r->named || r->gateway != TCL_NONE))
			count_in(l, r);
	}
}

uint16_t tcl_route_mtu(const struct tcl *c, const struct ipnet *net, tcl_mtu_fn mtu_of, void *arg)
{
	struct least l = {.c = c, .mtu_of = mtu_of, .arg = arg};

	if (tunnel_in_proxy_range(&net->ip)) {
		count_names(&l);
	} else if (!tunnel_in_reserved_range(&net->ip)) {
		uint8_t len = net->len;

		while (!count_len(&l, net, len) && len)
			len--;
	}
	return l.mtu ? l.mtu : TCL_MTU_BASE;
}
