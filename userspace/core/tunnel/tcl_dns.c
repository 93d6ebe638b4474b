/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS resources in the client's policy: their patterns in the stub resolver, their names' proxy
 * addresses as destinations and sources, what gateways must be told of names and what they answer.
 * The states of a name at a gateway are dns_nat's; entries exist only for gateways whose connection
 * stands, so nothing is said before it can be sent.
 *
 * Source: spec tunnel §1.1, §1.7, §1.9. */
#include <errno.h>

#include "core/tunnel/tcl_table.h"

static bool is_dns(const struct tcl *c, const struct tcl_resource *r)
{
	return c->mem.stub && r->r.type == TUNNEL_RESOURCE_DNS;
}

static uint32_t serving_gateway(const struct tcl *c, const struct tcl_resource *r)
{
	return r->gateway != TCL_NONE &&
			       c->mem.gateways[r->gateway].state == TCL_GATEWAY_ESTABLISHED
		       ? r->gateway
		       : TCL_NONE;
}

bool tcl_dns_activate(struct tcl *c, const struct tcl_resource *r)
{
	if (!is_dns(c, r))
		return false;
	if (!dns_stub_add_resource(c->mem.stub, &r->r.id, r->r.address, r->stack))
		return true;
	c->counters.pattern_refused++;
	return false;
}

void tcl_dns_deactivate(struct tcl *c, const struct tcl_resource *r)
{
	if (is_dns(c, r))
		dns_stub_remove_resource(c->mem.stub, &r->r.id);
}

void tcl_dns_served(struct tcl *c, const struct tcl_resource *r, uint64_t now)
{
	if (is_dns(c, r) && serving_gateway(c, r) != TCL_NONE)
		dns_nat_update_resource(&c->nat, &c->mem.stub->names, r->gateway, &r->r.id, now);
}

void tcl_dns_unserved(struct tcl *c, const struct tcl_resource *r)
{
	if (is_dns(c, r) && r->gateway != TCL_NONE)
		dns_nat_resource_gone(&c->nat, &c->mem.stub->names, &r->r.id);
}

uint32_t tcl_dns_match(const struct tcl *c, const struct ipaddr *a, uint32_t *name)
{
	const struct dns_assigned *e = c->mem.stub ? dns_stub_route(c->mem.stub, a) : NULL;
	uint32_t i = e ? tcl_find_resource(c, &e->resource) : TCL_NONE;

	if (i == TCL_NONE || !c->mem.resources[i].enabled)
		return TCL_NONE;
	*name = (uint32_t)(e - c->mem.stub->names.list);
	return i;
}

bool tcl_dns_is_of(const struct tcl *c, const struct ipaddr *a, const struct uuid *resource)
{
	const struct dns_names *names = c->mem.stub ? &c->mem.stub->names : NULL;
	const struct dns_assigned *e = names ? dns_names_at(names, dns_names_by_address(names, a))
					     : NULL;

	return e && uuid_eq(&e->resource, resource);
}

/* ---- queries ---- */
void tcl_dns_answered(struct tcl *c, uint32_t name, uint64_t now)
{
	const struct dns_assigned *e = c->mem.stub ? dns_names_at(&c->mem.stub->names, name) : NULL;
	uint32_t i = e ? tcl_find_resource(c, &e->resource) : TCL_NONE;

	if (i == TCL_NONE || !c->mem.resources[i].enabled)
		return;
	if (!c->mem.resources[i].named) /* who may be sent to is news for the routes */
		c->mem.resources[i].named = c->resources_dirty = c->wake = true;
	dns_nat_requery(&c->nat, name);
	if (serving_gateway(c, &c->mem.resources[i]) != TCL_NONE)
		dns_nat_update(&c->nat, c->mem.resources[i].gateway, name, now);
}

int tcl_in_site(struct tcl *c, const struct uuid *resource, uint8_t family, struct ipaddr *gateway,
		uint64_t now)
{
	uint32_t i = tcl_find_resource(c, resource), slot;
	struct tcl_resource *r;

	if (i == TCL_NONE || !is_dns(c, &c->mem.resources[i]) || !c->mem.resources[i].enabled)
		return -ENOENT;
	r = &c->mem.resources[i];
	slot = serving_gateway(c, r);
	if (slot == TCL_NONE) {
		tcl_ask(c, r, now);
		return -EAGAIN;
	}
	*gateway = family == 4 ? c->mem.gateways[slot].tun4 : c->mem.gateways[slot].tun6;
	return 0;
}

/* The Internet resource and networks that are active, as they cover each upstream. */
void tcl_dns_cover(struct tcl *c)
{
	const struct dns_sentinels *s = c->mem.stub ? &c->mem.stub->sentinels : NULL;

	for (uint32_t n = 0; s && n < s->count; n++) {
		bool internet = false, cidr = false;

		for (uint32_t i = 0; i < c->resource_high; i++) {
			const struct tcl_resource *r = &c->mem.resources[i];

			if (!r->used || !r->enabled ||
			    !tunnel_resource_covers(&r->r, &s->list[n].at.ip))
				continue;
			internet |= r->r.type == TUNNEL_RESOURCE_INTERNET;
			cidr |= r->r.type == TUNNEL_RESOURCE_CIDR;
		}
		dns_stub_set_covered(c->mem.stub, n, internet, cidr);
	}
}

/* ---- gateways ---- */
bool tcl_domain_status(struct tcl *c, uint32_t slot, const struct p2p_domain_status *status)
{
	const struct dns_names *names = c->mem.stub ? &c->mem.stub->names : NULL;
	uint32_t name = names ? dns_names_find(names, status->domain, &status->resource)
			      : DNS_NAMES_NONE;
	bool passed, known;

	if (!names || !tcl_gateway_at(c, slot))
		return false;
	passed = dns_nat_state(&c->nat, slot, name) != DNS_NAT_FAILED;
	known = dns_nat_status(&c->nat, names, slot, status);
	/* what is said next may make packets wait: nothing may pass by an older decision */
	if (passed && dns_nat_state(&c->nat, slot, name) == DNS_NAT_FAILED)
		c->mem.gateways[slot].changed = c->wake = true;
	return known;
}

uint16_t tcl_name_pop(struct tcl *c, uint32_t slot, uint32_t name, const uint8_t **pkt)
{
	return c->mem.stub ? dns_nat_pop(&c->nat, slot, name, pkt) : 0;
}

bool tcl_resource_served(const struct tcl *c, uint32_t resource)
{
	const struct tcl_resource *r = tcl_resource_at(c, resource);

	return r && serving_gateway(c, r) != TCL_NONE;
}

bool tcl_resource_supported(const struct tcl *c, uint32_t resource)
{
	const struct tcl_resource *r = tcl_resource_at(c, resource);

	return r && (r->r.type != TUNNEL_RESOURCE_DNS ||
		     (c->mem.stub && dns_pattern_valid(r->r.address)));
}

/* AssignedIps as the packet the gateway takes; false (counted): the name cannot be said. */
static bool say_name(struct tcl *c, uint32_t name, size_t *len)
{
	struct p2p_assigned_ips ips;
	char json[P2P_CTL_PAYLOAD_CAP];
	size_t json_len;

	dns_nat_assigned_ips(&c->mem.stub->names, name, &ips);
	if (!p2p_assigned_ips_encode(&ips, json, sizeof(json), &json_len) &&
	    !p2p_ctl_encode(P2P_CTL_ASSIGNED_IPS, json, json_len, c->control, sizeof(c->control),
			    len))
		return true;
	c->counters.control_refused++;
	return false;
}

bool tcl_dns_poll(struct tcl *c, struct tcl_event *out)
{
	struct dns_nat_event e;

	while (c->mem.stub && dns_nat_poll(&c->nat, &e)) {
		*out = (struct tcl_event){.slot = e.gateway, .resource = TCL_NONE, .name = e.name};
		switch (e.kind) {
		case DNS_NAT_EVENT_FLUSH:
			out->kind = TCL_EVENT_NAME_FLUSH;
			return true;
		case DNS_NAT_EVENT_SEND:
			if (!say_name(c, e.name, &out->pkt_len))
				break;
			out->kind = TCL_EVENT_CONTROL;
			out->pkt = c->control;
			return true;
		}
	}
	return false;
}
