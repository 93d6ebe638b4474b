/* SPDX-License-Identifier: Apache-2.0
 *
 * A client policy with small tables for its unit tests: resource n has id (n … n), gateway n is
 * 100.64.2.n with id (100 + n … n), site n has id (200 + n … n). */
#ifndef PENSTOCK_TESTS_TCL_WORLD_H
#define PENSTOCK_TESTS_TCL_WORLD_H
#include <errno.h>
#include "core/tunnel/client.h"
#include "tests/pkt.h"
#include "tests/t.h"

#ifndef WORLD_RESOURCES
#define WORLD_RESOURCES 6
#endif
enum { WORLD_SITES = 5, WORLD_GATEWAYS = 3, WORLD_HELD = 150 };

#define ME4 "100.64.1.1"
#define ME6 "fd00:2021:1111::1:1"

static struct tcl_resource resources[WORLD_RESOURCES];
static struct tcl_site sites[WORLD_SITES];
static struct tcl_gateway gateways[WORLD_GATEWAYS];
static struct held_packet held_pool[WORLD_HELD];
static struct ipnet routes[2 * (WORLD_RESOURCES + TCL_FIXED_ROUTES)];
static struct tcl c;
static struct tcl_event ev;
static struct tunnel_flow_grant grant;
static uint64_t now;

static inline void world_setup(void)
{
	struct tcl_mem mem = {.resources = resources,
			      .sites = sites,
			      .gateways = gateways,
			      .held = held_pool,
			      .routes = routes,
			      .resource_cap = WORLD_RESOURCES,
			      .site_cap = WORLD_SITES,
			      .gateway_cap = WORLD_GATEWAYS,
			      .held_cap = WORLD_HELD};
	struct ipaddr v4 = pkt_ip(ME4), v6 = pkt_ip(ME6);

	now = 1000 * NS_PER_SEC;
	tcl_init(&c, &mem);
	tcl_set_interface(&c, &v4, &v6);
}

static inline struct tcl_resource_spec world_cidr(uint8_t n, const char *net, uint8_t site)
{
	struct tcl_resource_spec s = {
		.r = {.id = {.b = {n, [15] = n}}, .net = pkt_net(net)},
		.site_count = 1,
		.sites = {{.id = {.b = {(uint8_t)(200 + site), [15] = site}}}}};

	filter_set_init(&s.r.filters);
	return s;
}

static inline void world_add_cidr(uint8_t n, const char *net, uint8_t site)
{
	struct tcl_resource_spec s = world_cidr(n, net, site);

	T_EQ(tcl_add_resource(&c, &s, now), 0);
}

/* Must be the next event. */
static inline void world_expect(enum tcl_event_kind kind)
{
	(void)tcl_poll_event(&c, &ev);
	T_EQ(ev.kind, kind);
}

/* Must come before the queue is empty. */
static inline void world_expect_skip(enum tcl_event_kind kind)
{
	while (tcl_poll_event(&c, &ev) && ev.kind != kind)
		;
	T_EQ(ev.kind, kind);
}

static inline void world_drain(void)
{
	while (tcl_poll_event(&c, &ev))
		;
}

static inline enum ps_reason_id world_out(const char *dst, uint16_t dport)
{
	struct pkt p = pkt_text(strchr(dst, ':') ? ME6 : ME4, dst, IP_PROTO_TCP, 40000, dport);
	enum ps_reason_id r;

	if (dport < 1000) { /* UDP, so that nothing is a SYN or a duplicate by accident */
		struct ipaddr s = p.m.src, d = p.m.dst;

		p = pkt_make(&s, &d, IP_PROTO_UDP, 40000, dport, 16);
	}
	r = tcl_route_out(&c, p.b, &p.m, &grant, now);
	T_EQ(grant.allowed, r == PS_R_UTX_SENT);
	return r;
}

static inline enum ps_reason_id world_in(uint32_t slot, const char *src)
{
	struct pkt p = pkt_text(src, strchr(src, ':') ? ME6 : ME4, IP_PROTO_UDP, 80, 40000);
	enum ps_reason_id r = tcl_check_in(&c, slot, p.b, &p.m, &grant, now);

	T_EQ(grant.allowed, r == PS_R_URX_DELIVERED);
	return r;
}

static inline struct tcl_flow world_flow_of(uint8_t resource, uint8_t gateway)
{
	struct tcl_flow f = {.resource = {.b = {resource, [15] = resource}},
			     .gateway = {.b = {(uint8_t)(100 + gateway), [15] = gateway}},
			     .site = {.b = {(uint8_t)(200 + gateway), [15] = gateway}},
			     .tun4 = ipaddr_v4(100, 64, 2, gateway),
			     .tun6 = pkt_ip("fd00:2021:1111::2:0")};

	f.tun6.b[15] = gateway;
	return f;
}

static inline uint32_t world_flow(uint8_t resource, uint8_t gateway)
{
	struct tcl_flow f = world_flow_of(resource, gateway);
	uint32_t slot = TUNNEL_NO_SLOT;

	T_EQ(tcl_flow_created(&c, &f, &slot, now), 0);
	return slot;
}

/* A packet, its intent, the flow and an established connection; nothing is left held or queued. */
static inline uint32_t world_connect(uint8_t resource, uint8_t gateway, const char *dst)
{
	const uint8_t *pkt;
	uint32_t slot;

	T_EQ(world_out(dst, 9), PS_R_UTX_BUFFERED);
	slot = world_flow(resource, gateway);
	tcl_gateway_established(&c, slot, now);
	while (tcl_poll_event(&c, &ev))
		while (ev.kind == TCL_EVENT_FLUSH && tcl_held_pop(&c, ev.resource, &pkt))
			;
	return slot;
}

static inline void world_routes(const char *const *want, uint32_t count)
{
	uint32_t have;
	const struct ipnet *list = tcl_routes(&c, &have);
	char text[IPNET_STRLEN];

	T_EQ(have, count);
	for (uint32_t i = 0; i < count && i < have; i++)
		T_STR(ipnet_fmt(&list[i], text), want[i]);
}
#endif
