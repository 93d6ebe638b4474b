/* SPDX-License-Identifier: Apache-2.0
 *
 * The client policy's tables: sites, gateways, resource lookup, held packets. Private to
 * core/tunnel/{client,tcl_*}.c; the order of events and the portal's rules are in client.c. */
#ifndef PENSTOCK_CORE_TUNNEL_TCL_TABLE_H
#define PENSTOCK_CORE_TUNNEL_TCL_TABLE_H
#include "core/tunnel/client.h"

#define TCL_NONE TUNNEL_NO_SLOT

uint32_t tcl_find_resource(const struct tcl *c, const struct uuid *id);
uint32_t tcl_resource_alloc(struct tcl *c);
void tcl_resource_free(struct tcl *c, uint32_t i);
/* The resource that packet m to (or from) the far address belongs to, among the enabled ones and,
 * unless gateway is TCL_NONE, those mapped to it: filters that permit it first, then the longest
 * prefix, then one with a gateway, then the larger id. TCL_NONE when none covers it. */
uint32_t tcl_resource_match(const struct tcl *c, const struct ipaddr *far, const struct ip_meta *m,
			    uint32_t gateway);

/* One more user of the site: its slot, TCL_NONE when the table is full. */
uint32_t tcl_site_acquire(struct tcl *c, const struct tcl_site_ref *ref);
void tcl_site_release(struct tcl *c, uint32_t site);
void tcl_site_set_status(struct tcl *c, uint32_t site, enum tcl_status status, uint64_t now);
uint32_t tcl_find_site(const struct tcl *c, const struct uuid *id);

uint32_t tcl_find_gateway_address(const struct tcl *c, const struct ipaddr *a);
/* A leaving gateway's slot, once its events were polled. */
void tcl_gateway_free(struct tcl *c, uint32_t slot);
void tcl_gateway_set_state(struct tcl_gateway *g, enum tcl_gateway_state to);

/* Keep a copy of the packet for the resource: PS_R_UTX_BUFFERED or PS_R_UTX_BUFFER_FULL. */
enum ps_reason_id tcl_held_add(struct tcl *c, struct tcl_resource *r, const uint8_t *pkt,
			       const struct ip_meta *m);
void tcl_held_discard(struct tcl *c, struct tcl_resource *r);
void tcl_held_init(struct tcl *c);

/* A packet or query that no connected gateway serves: an intent is pending, raised now if due. */
void tcl_ask(struct tcl *c, struct tcl_resource *r, uint64_t now);

/* ---- tcl_dns.c; without a stub all of them do nothing and find nothing ---- */
/* The resource's pattern goes into the stub; false (counted): it cannot be active. */
bool tcl_dns_activate(struct tcl *c, const struct tcl_resource *r);
void tcl_dns_deactivate(struct tcl *c, const struct tcl_resource *r);
/* A gateway serves the resource now: it must hear of the names that were given out. */
void tcl_dns_served(struct tcl *c, const struct tcl_resource *r, uint64_t now);
/* No gateway does any more. Before r->gateway changes. */
void tcl_dns_unserved(struct tcl *c, const struct tcl_resource *r);
/* The active resource and the name (slot of the stub's) of a proxy address; TCL_NONE: none. */
uint32_t tcl_dns_match(const struct tcl *c, const struct ipaddr *a, uint32_t *name);
/* Is it an address of one of the resource's names, active or not? */
bool tcl_dns_is_of(const struct tcl *c, const struct ipaddr *a, const struct uuid *resource);
bool tcl_dns_poll(struct tcl *c, struct tcl_event *out);

/* Recompute what should be routed; true when it differs from what was announced, which it then
 * replaces. */
bool tcl_routes_update(struct tcl *c);
#endif
