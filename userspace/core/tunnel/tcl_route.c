/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's decision about one packet, in each direction, and the routes that bring packets here
 * at all. */
#include <string.h>
#include "core/tunnel/tcl_table.h"

static bool is_own(const struct tcl *c, const struct ipaddr *a)
{
	return a->family && ipaddr_eq(a, a->family == 4 ? &c->own4 : &c->own6);
}

static bool is_cacheable(const struct ip_meta *m)
{
	return !m->has_ext &&
	       (m->l4 == IP_L4_TCP || m->l4 == IP_L4_UDP || m->l4 == IP_L4_ICMP_ECHO);
}

static void allow(const struct ip_meta *m, uint32_t slot, uint32_t resource,
		  struct tunnel_flow_grant *out)
{
	*out = (struct tunnel_flow_grant){.expires_at = TUNNEL_NEVER_EXPIRES,
					  .slot = slot,
					  .resource = resource,
					  .allowed = true,
					  .cacheable = is_cacheable(m)};
}

/* Inside the tunnel's own ranges only a gateway's address is a destination. */
static enum ps_reason_id route_to_gateway(const struct tcl *c, const struct ip_meta *m,
					  struct tunnel_flow_grant *out)
{
	uint32_t slot = tcl_find_gateway_address(c, &m->dst);

	if (slot == TCL_NONE) {
		/* A name's address that means nothing any more: the application asks anew sooner.
		 */
		if (tunnel_in_proxy_range(&m->dst))
			out->reply = ICMP_ERROR_UNREACHABLE;
		return PS_R_UTX_NO_PEER;
	}
	if (c->mem.gateways[slot].state != TCL_GATEWAY_ESTABLISHED)
		return PS_R_UTX_NO_SESSION;
	allow(m, slot, TUNNEL_NO_RESOURCE, out);
	return PS_R_UTX_SENT;
}

static bool has_internet(const struct tcl *c)
{
	for (uint32_t i = 0; i < c->resource_high; i++) {
		const struct tcl_resource *r = &c->mem.resources[i];

		if (r->used && r->enabled && r->r.type == TUNNEL_RESOURCE_INTERNET)
			return true;
	}
	return false;
}

void tcl_ask(struct tcl *c, struct tcl_resource *r, uint64_t now)
{
	if (r->gateway != TCL_NONE)
		return;
	if (!r->intent_ns || time_since(r->intent_ns, now) >= TCL_INTENT_GAP_NS) {
		r->intent_ns = now ? now : 1;
		r->want_intent = c->wake = true;
	}
	r->pending = true;
}

static enum ps_reason_id hold(struct tcl *c, struct tcl_resource *r, const uint8_t *pkt,
			      const struct ip_meta *m, uint64_t now)
{
	tcl_ask(c, r, now);
	return tcl_held_add(c, r, pkt, m);
}

/* A packet to a name of resource i waits until the gateway knows the name. Cacheable is only what
 * nothing but an announced change can stop. */
static enum ps_reason_id route_to_name(struct tcl *c, uint32_t i, uint32_t name, const uint8_t *pkt,
				       const struct ip_meta *m, struct tunnel_flow_grant *out,
				       uint64_t now)
{
	uint32_t slot = c->mem.resources[i].gateway;

	switch (dns_nat_out(&c->nat, slot, name, pkt, m, now)) {
	case DNS_NAT_PASS:
		break;
	case DNS_NAT_HELD:
		return PS_R_UTX_BUFFERED;
	case DNS_NAT_LOST:
		return PS_R_UTX_BUFFER_FULL;
	}
	allow(m, slot, i, out);
	out->cacheable = out->cacheable && dns_nat_state(&c->nat, slot, name) == DNS_NAT_CONFIRMED;
	return PS_R_UTX_SENT;
}

enum ps_reason_id tcl_route_out(struct tcl *c, const uint8_t *pkt, const struct ip_meta *m,
				struct tunnel_flow_grant *out, uint64_t now)
{
	uint32_t i, name = DNS_NAMES_NONE;
	struct tcl_resource *r;

	*out = (struct tunnel_flow_grant){.slot = TUNNEL_NO_SLOT, .resource = TUNNEL_NO_RESOURCE};
	if (ipaddr_is_multicast(&m->dst) || ipaddr_is_unspecified(&m->dst) ||
	    (m->family == 6 && ipaddr_is_link_local(&m->dst)) || m->source_routed)
		return PS_R_UTX_IGNORED;
	if (!is_own(c, &m->src))
		return PS_R_UTX_BAD_SOURCE;
	i = tcl_dns_match(c, &m->dst, &name);
	if (i == TCL_NONE) {
		if (tunnel_in_reserved_range(&m->dst))
			return route_to_gateway(c, m, out);
		i = tcl_resource_match(c, &m->dst, m, TCL_NONE);
	}
	if (i == TCL_NONE) {
		out->reply = has_internet(c) ? ICMP_ERROR_UNREACHABLE : ICMP_ERROR_NONE;
		return PS_R_UTX_NO_PEER;
	}
	r = &c->mem.resources[i];
	out->resource = i;
	/* gateways refuse ICMP errors from clients, so they go nowhere */
	if (m->l4 == IP_L4_ICMP_ERROR)
		return PS_R_UTX_FILTERED;
	if (!filter_set_permits(&r->r.filters, m, FILTER_TO_RESOURCE)) {
		out->reply = ICMP_ERROR_PROHIBITED;
		return m->is_fragment ? PS_R_UTX_FRAGMENT : PS_R_UTX_FILTERED;
	}
	if (!tcl_resource_served(c, i))
		return hold(c, r, pkt, m, now);
	if (name != DNS_NAMES_NONE)
		return route_to_name(c, i, name, pkt, m, out, now);
	allow(m, r->gateway, i, out);
	return PS_R_UTX_SENT;
}

static bool gone_covers(const struct tcl *c, const struct tcl_gone *g, const struct ipaddr *a)
{
	switch (g->type) {
	case TUNNEL_RESOURCE_CIDR:
		return ipnet_contains(&g->net, a);
	case TUNNEL_RESOURCE_INTERNET:
		return tunnel_is_internet(a);
	case TUNNEL_RESOURCE_DNS:
		return tcl_dns_is_of(c, a, &g->id);
	}
	return false;
}

/* Was the address reachable through that gateway until a moment ago? */
static bool recently_gone(const struct tcl *c, uint32_t slot, const struct ipaddr *a, uint64_t now)
{
	for (uint32_t i = 0; i < TCL_GONE_CAP; i++) {
		const struct tcl_gone *g = &c->gone[i];

		if (g->until_ns > now && g->gateway == slot && gone_covers(c, g, a))
			return true;
	}
	return false;
}

/* The address whose resource decides: the source, or what an ICMP error about one of our packets
 * quotes. */
static bool far_address(const struct tcl *c, const uint8_t *pkt, const struct ip_meta *m,
			struct ipaddr *out)
{
	struct ip_meta quoted;

	*out = m->src;
	if (m->l4 != IP_L4_ICMP_ERROR)
		return true;
	if (ip_packet_parse_quoted(pkt, m, &quoted) || !is_own(c, &quoted.src))
		return false;
	*out = quoted.dst;
	return true;
}

enum ps_reason_id tcl_check_in(const struct tcl *c, uint32_t slot, const uint8_t *pkt,
			       const struct ip_meta *m, struct tunnel_flow_grant *out, uint64_t now)
{
	const struct tcl_gateway *g = tcl_gateway_at(c, slot);
	struct ipaddr far;
	uint32_t i, name;

	*out = (struct tunnel_flow_grant){.slot = slot, .resource = TUNNEL_NO_RESOURCE};
	if (!g || g->state == TCL_GATEWAY_LEAVING || !is_own(c, &m->dst) || m->source_routed)
		return PS_R_URX_POLICY;
	if (!far_address(c, pkt, m, &far))
		return PS_R_URX_BAD_SOURCE;
	if (ipaddr_eq(&far, far.family == 4 ? &g->tun4 : &g->tun6)) {
		allow(m, slot, TUNNEL_NO_RESOURCE, out);
		return PS_R_URX_DELIVERED;
	}
	if (ipaddr_is_multicast(&m->src))
		return PS_R_URX_BAD_SOURCE;
	i = tcl_dns_match(c, &far, &name);
	if (i != TCL_NONE && c->mem.resources[i].gateway != slot)
		i = TCL_NONE;
	if (i == TCL_NONE && !tunnel_in_reserved_range(&far))
		i = tcl_resource_match(c, &far, m, slot);
	if (i == TCL_NONE)
		return recently_gone(c, slot, &far, now) ? PS_R_URX_REVOKED : PS_R_URX_BAD_SOURCE;
	allow(m, slot, i, out);
	return PS_R_URX_DELIVERED;
}

static int net_cmp(const struct ipnet *a, const struct ipnet *b)
{
	int d = a->ip.family - b->ip.family;

	if (!d)
		d = memcmp(a->ip.b, b->ip.b, sizeof(a->ip.b));
	return d ? d : a->len - b->len;
}

/* Insert into the sorted nets[*count], unless it is there. */
static void net_insert(struct ipnet *nets, uint32_t *count, const struct ipnet *net)
{
	uint32_t at = *count;

	while (at && net_cmp(&nets[at - 1], net) > 0)
		at--;
	if (at && !net_cmp(&nets[at - 1], net))
		return;
	memmove(nets + at + 1, nets + at, (*count - at) * sizeof(*nets));
	nets[at] = *net;
	++*count;
}

bool tcl_routes_update(struct tcl *c)
{
	static const struct ipnet peers[] = {
		{.ip = {.family = 4, .b = {100, 64}}, .len = 11},
		{.ip = {.family = 6, .b = {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11}}, .len = 107},
	};
	static const struct ipnet names[] = {
		/* proxies, sentinels */
		{.ip = {.family = 4, .b = {100, 96}}, .len = 11},
		{.ip = {.family = 6, .b = {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11, 0x80}}, .len = 107},
		{.ip = {.family = 4, .b = {100, 100, 111}}, .len = 24},
		{.ip = {.family = 6,
			.b = {0xfd, 0x00, 0x20, 0x21, 0x11, 0x11, 0x80, 0, 1, 0, 1, 0, 1, 0x11}},
		 .len = 120},
	};
	static const struct ipnet all[] = {{.ip = {.family = 4}}, {.ip = {.family = 6}}};
	struct ipnet *fresh = c->mem.routes + c->mem.resource_cap + TCL_FIXED_ROUTES;
	uint32_t count = 0;
	bool same;

	for (int f = 0; f < 2; f++)
		net_insert(fresh, &count, &peers[f]);
	for (int n = 0; n < 4 && c->mem.stub; n++)
		net_insert(fresh, &count, &names[n]);
	for (uint32_t i = 0; i < c->resource_high; i++) {
		const struct tcl_resource *r = &c->mem.resources[i];

		if (!r->used || !r->enabled)
			continue;
		if (r->r.type == TUNNEL_RESOURCE_CIDR)
			net_insert(fresh, &count, &r->r.net);
		for (int f = 0; f < 2 && r->r.type == TUNNEL_RESOURCE_INTERNET; f++)
			net_insert(fresh, &count, &all[f]);
	}
	same = c->routes_known && count == c->routes_count &&
	       !memcmp(fresh, c->mem.routes, count * sizeof(*fresh));
	memcpy(c->mem.routes, fresh, count * sizeof(*fresh));
	c->routes_count = count;
	c->routes_known = true;
	return !same;
}

const struct ipnet *tcl_routes(const struct tcl *c, uint32_t *count)
{
	*count = c->routes_count;
	return c->mem.routes;
}
