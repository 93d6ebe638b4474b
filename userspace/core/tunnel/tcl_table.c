/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of the client's policy, see tcl_table.h. They hold what one account has (tens of
 * resources, a few sites and gateways), so they are scanned; resource slots are allocated from
 * below to keep the scans short. */
#include "core/tunnel/tcl_table.h"

#include <assert.h>
#include <string.h>

void tcl_init(struct tcl *c, const struct tcl_mem *mem)
{
	*c = (struct tcl){.mem = *mem, .routes_dirty = true, .wake = true};
	memset(mem->resources, 0, mem->resource_cap * sizeof(*mem->resources));
	memset(mem->sites, 0, mem->site_cap * sizeof(*mem->sites));
	memset(mem->gateways, 0, mem->gateway_cap * sizeof(*mem->gateways));
	tcl_held_init(c);
	if (mem->stub)
		dns_nat_init(&c->nat, &mem->nat, rng_u64(&mem->stub->rng));
}

uint32_t tcl_find_resource(const struct tcl *c, const struct uuid *id)
{
	for (uint32_t i = 0; i < c->resource_high; i++)
		if (c->mem.resources[i].used && uuid_eq(&c->mem.resources[i].r.id, id))
			return i;
	return TCL_NONE;
}

uint32_t tcl_resource_alloc(struct tcl *c)
{
	uint32_t i = 0;

	while (i < c->resource_high && c->mem.resources[i].used)
		i++;
	if (i == c->mem.resource_cap)
		return TCL_NONE;
	if (i == c->resource_high)
		c->resource_high++;
	c->mem.resources[i] = (struct tcl_resource){.used = true, .gateway = TCL_NONE};
	held_ring_init(&c->mem.resources[i].held);
	c->resource_count++;
	return i;
}

void tcl_resource_free(struct tcl *c, uint32_t i)
{
	c->mem.resources[i].used = false;
	c->resource_count--;
	while (c->resource_high && !c->mem.resources[c->resource_high - 1].used)
		c->resource_high--;
}

struct rank {
	bool permits;
	uint8_t len;
	uint64_t mapped_seq; /* UINT64_MAX: to no gateway */
	const struct uuid *id;
};

static bool rank_above(const struct rank *a, const struct rank *b)
{
	if (a->permits != b->permits)
		return a->permits;
	if (a->len != b->len)
		return a->len > b->len;
	if (a->mapped_seq != b->mapped_seq)
		return a->mapped_seq < b->mapped_seq;
	return memcmp(a->id->b, b->id->b, sizeof(a->id->b)) > 0;
}

uint32_t tcl_resource_match(const struct tcl *c, const struct ipaddr *far, const struct ip_meta *m,
			    uint32_t gateway)
{
	enum filter_side side = gateway == TCL_NONE ? FILTER_TO_RESOURCE : FILTER_FROM_RESOURCE;
	uint32_t best = TCL_NONE;
	struct rank top = {0};

	for (uint32_t i = 0; i < c->resource_high; i++) {
		const struct tcl_resource *r = &c->mem.resources[i];
		struct rank rank;

		if (!r->used || !r->enabled || !tunnel_resource_covers(&r->r, far) ||
		    (gateway != TCL_NONE && r->gateway != gateway))
			continue;
		rank = (struct rank){
			.permits = filter_set_permits(&r->r.filters, m, side),
			.mapped_seq = r->gateway == TCL_NONE ? UINT64_MAX : r->mapped_seq,
			.len = tunnel_resource_prefix_len(&r->r),
			.id = &r->r.id,
		};
		if (best == TCL_NONE || rank_above(&rank, &top)) {
			best = i;
			top = rank;
		}
	}
	return best;
}

uint32_t tcl_find_site(const struct tcl *c, const struct uuid *id)
{
	for (uint32_t i = 0; i < c->site_high; i++)
		if (c->mem.sites[i].users && uuid_eq(&c->mem.sites[i].id, id))
			return i;
	return TCL_NONE;
}

const char *tcl_site_name(const struct tcl *c, const struct uuid *site)
{
	uint32_t i = tcl_find_site(c, site);

	return i == TCL_NONE ? NULL : c->mem.sites[i].name;
}

uint32_t tcl_site_acquire(struct tcl *c, const struct tcl_site_ref *ref)
{
	uint32_t i = tcl_find_site(c, &ref->id);
	struct tcl_site *site;

	for (uint32_t free = 0; i == TCL_NONE && free < c->mem.site_cap; free++) {
		if (c->mem.sites[free].users)
			continue;
		c->mem.sites[free] = (struct tcl_site){.id = ref->id};
		i = free;
		if (i >= c->site_high)
			c->site_high = i + 1;
	}
	if (i == TCL_NONE)
		return TCL_NONE;
	site = &c->mem.sites[i];
	site->users++;
	tunnel_text_copy(site->name, sizeof(site->name), ref->name);
	return i;
}

void tcl_site_release(struct tcl *c, uint32_t site)
{
	assert(c->mem.sites[site].users);
	c->mem.sites[site].users--;
	while (c->site_high && !c->mem.sites[c->site_high - 1].users)
		c->site_high--;
}

void tcl_site_set_status(struct tcl *c, uint32_t site, enum tcl_status status, uint64_t now)
{
	if (site == TCL_NONE)
		return;
	c->mem.sites[site].since_ns = now;
	if (c->mem.sites[site].status == status)
		return;
	c->mem.sites[site].status = (uint8_t)status;
	c->resources_dirty = c->wake = true;
}

enum tcl_status tcl_resource_status(const struct tcl *c, uint32_t resource)
{
	const struct tcl_resource *r = tcl_resource_at(c, resource);
	uint32_t offline = 0;

	if (!r)
		return TCL_STATUS_UNKNOWN;
	for (uint32_t i = 0; i < r->site_count; i++) {
		if (c->mem.sites[r->sites[i]].status == TCL_STATUS_ONLINE)
			return TCL_STATUS_ONLINE;
		offline += c->mem.sites[r->sites[i]].status == TCL_STATUS_OFFLINE;
	}
	return offline && offline == r->site_count ? TCL_STATUS_OFFLINE : TCL_STATUS_UNKNOWN;
}

uint32_t tcl_find_gateway(const struct tcl *c, const struct uuid *id)
{
	for (uint32_t i = 0; i < c->gateway_high; i++)
		if (c->mem.gateways[i].state != TCL_GATEWAY_FREE &&
		    uuid_eq(&c->mem.gateways[i].id, id))
			return i;
	return TCL_NONE;
}

uint32_t tcl_find_gateway_address(const struct tcl *c, const struct ipaddr *a)
{
	for (uint32_t i = 0; i < c->gateway_high; i++) {
		const struct tcl_gateway *g = &c->mem.gateways[i];

		if ((g->state == TCL_GATEWAY_CONNECTING || g->state == TCL_GATEWAY_ESTABLISHED) &&
		    ipaddr_eq(a->family == 4 ? &g->tun4 : &g->tun6, a))
			return i;
	}
	return TCL_NONE;
}

void tcl_gateway_free(struct tcl *c, uint32_t slot)
{
	tcl_gateway_set_state(&c->mem.gateways[slot], TCL_GATEWAY_FREE);
	c->gateway_count--;
	while (c->gateway_high && c->mem.gateways[c->gateway_high - 1].state == TCL_GATEWAY_FREE)
		c->gateway_high--;
}

void tcl_gateway_set_state(struct tcl_gateway *g, enum tcl_gateway_state to)
{
	enum tcl_gateway_state from = (enum tcl_gateway_state)g->state;

	assert(to != TCL_GATEWAY_CONNECTING || from == TCL_GATEWAY_FREE ||
	       from == TCL_GATEWAY_LEAVING);
	assert(to != TCL_GATEWAY_ESTABLISHED || from == TCL_GATEWAY_CONNECTING);
	assert(to != TCL_GATEWAY_LEAVING || from == TCL_GATEWAY_CONNECTING ||
	       from == TCL_GATEWAY_ESTABLISHED);
	assert(to != TCL_GATEWAY_FREE || from == TCL_GATEWAY_LEAVING);
	g->state = (uint8_t)to;
}

const struct tcl_resource *tcl_resource_at(const struct tcl *c, uint32_t resource)
{
	return resource < c->resource_high && c->mem.resources[resource].used
		       ? &c->mem.resources[resource]
		       : NULL;
}

uint32_t tcl_resource_next(const struct tcl *c, uint32_t resource)
{
	for (resource++; resource < c->resource_high; resource++)
		if (c->mem.resources[resource].used)
			return resource;
	return TCL_NONE;
}

const struct tcl_gateway *tcl_gateway_at(const struct tcl *c, uint32_t slot)
{
	return slot < c->gateway_high && c->mem.gateways[slot].state != TCL_GATEWAY_FREE
		       ? &c->mem.gateways[slot]
		       : NULL;
}

uint32_t tcl_gateway_next(const struct tcl *c, uint32_t slot)
{
	for (slot++; slot < c->gateway_high; slot++)
		if (c->mem.gateways[slot].state != TCL_GATEWAY_FREE)
			return slot;
	return TCL_NONE;
}
