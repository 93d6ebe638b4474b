/* SPDX-License-Identifier: Apache-2.0
 *
 * The client policy's world with a stub resolver: names are resolved by real queries, AssignedIps
 * are decoded, gateways answer them. */
#ifndef PENSTOCK_TESTS_TCL_NAMES_H
#define PENSTOCK_TESTS_TCL_NAMES_H
#include "tests/tcl_world.h"

enum { NAMES_CAP = 16, NAMES_CELLS = 512, NAMES_PENDING = 8, NAMES_NAT = 12, NAMES_HELD = 40 };

static struct dns_stub stub;
static struct dns_pattern patterns[WORLD_RESOURCES];
static struct dns_assigned assigned[NAMES_CAP];
static struct idx_cell name_cells[NAMES_CELLS], nat_cells[64];
static struct dns_pending pending_queries[NAMES_PENDING];
static struct dns_nat_entry nat_entries[NAMES_NAT];
static struct held_packet nat_held[NAMES_HELD];
static struct dns_action act;

static inline void names_setup(void)
{
	struct dns_stub_mem sm = {.patterns = patterns,
				  .names = assigned,
				  .cells = name_cells,
				  .pending = pending_queries,
				  .pattern_cap = WORLD_RESOURCES,
				  .name_cap = NAMES_CAP,
				  .cell_cap = NAMES_CELLS,
				  .pending_cap = NAMES_PENDING};
	struct tcl_mem mem = {.resources = resources,
			      .sites = sites,
			      .gateways = gateways,
			      .held = held_pool,
			      .routes = routes,
			      .resource_cap = WORLD_RESOURCES,
			      .site_cap = WORLD_SITES,
			      .gateway_cap = WORLD_GATEWAYS,
			      .held_cap = WORLD_HELD,
			      .stub = &stub,
			      .nat = {.entries = nat_entries,
				      .cells = nat_cells,
				      .held = nat_held,
				      .entry_cap = NAMES_NAT,
				      .cell_cap = 64,
				      .held_cap = NAMES_HELD}};
	struct ipaddr v4 = pkt_ip(ME4), v6 = pkt_ip(ME6);
	const uint8_t seed[32] = {4};

	now = 1000 * NS_PER_SEC;
	dns_stub_init(&stub, &sm, seed);
	tcl_init(&c, &mem);
	tcl_set_interface(&c, &v4, &v6);
}

static inline struct tcl_resource_spec names_spec(uint8_t n, const char *pattern, uint8_t site)
{
	struct tcl_resource_spec s = world_cidr(n, "10.0.0.0/8", site);

	s.r.type = TUNNEL_RESOURCE_DNS;
	s.r.net = (struct ipnet){0};
	tunnel_text_copy(s.r.address, sizeof(s.r.address), pattern);
	return s;
}

static inline void names_add(uint8_t n, const char *pattern, uint8_t site)
{
	struct tcl_resource_spec s = names_spec(n, pattern, site);

	T_EQ(tcl_add_resource(&c, &s, now), 0);
}

/* One query of an application, all of it: what the policy must hear it hears. */
static inline void names_ask(const char *name, uint16_t type)
{
	struct dns_asker who = {.src = {.ip = pkt_ip(ME4), .port = 40000},
				.sentinel = ipaddr_v4(100, 100, 111, 1)};
	struct dns_query q = {.q = {.type = type, .klass = DNS_CLASS_IN}, .id = 7, .rd = true};
	uint8_t msg[DNS_QUERY_CAP];
	size_t len;

	T_EQ(dns_name_parse(name, &q.q.name), 0);
	T_EQ(dns_query_encode(&q, q.id, msg, sizeof(msg), &len), 0);
	dns_stub_query(&stub, &who, msg, len, &act, now);
	if (act.name != DNS_NAMES_NONE)
		tcl_dns_answered(&c, act.name, now);
}

/* The CONTROL event in ev, as the gateway reads it. */
static inline struct p2p_assigned_ips names_said(void)
{
	struct p2p_assigned_ips out = {0};
	struct p2p_ctl ctl;

	if (T_EQ(ev.kind, TCL_EVENT_CONTROL) &&
	    T_EQ(p2p_ctl_decode(ev.pkt, ev.pkt_len, &ctl), P2P_CTL_EVENT)) {
		T_EQ(ctl.type, P2P_CTL_ASSIGNED_IPS);
		T_EQ(p2p_assigned_ips_decode(ctl.payload, ctl.payload_len, &out), 0);
	}
	return out;
}

static inline void names_status(uint32_t slot, uint8_t resource, const char *name, bool active)
{
	struct p2p_domain_status s = {.resource = {.b = {resource, [15] = resource}},
				      .active = active};

	tunnel_text_copy(s.domain, sizeof(s.domain), name);
	tcl_domain_status(&c, slot, &s);
}
/* No cell of a pool is lost. */
static inline void names_check_pools(void)
{
	uint32_t n = 0;

	for (uint32_t i = c.held.free; i != TUNNEL_NO_SLOT; i = held_pool[i].next)
		n++;
	for (uint32_t i = tcl_resource_next(&c, TUNNEL_NO_SLOT); i != TUNNEL_NO_SLOT;
	     i = tcl_resource_next(&c, i))
		n += resources[i].held.count;
	T_EQ(n, WORLD_HELD);
	n = 0;
	for (uint32_t i = c.nat.held.free; i != HELD_NONE; i = nat_held[i].next)
		n++;
	for (uint32_t i = 0; i < c.nat.high; i++)
		if (nat_entries[i].state != DNS_NAT_FREE)
			n += nat_entries[i].held.count;
	T_EQ(n, NAMES_HELD);
}
#endif
