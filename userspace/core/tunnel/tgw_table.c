/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of the gateway's policy, see tgw_table.h. The index holds three entries a client (id, both
 * addresses), one a resource (id) and TGW_DOMAIN_CELLS a domain, told apart by a salt in the hash;
 * those of domains have higher salts (tgw_domain.c). */
#include "core/tunnel/tgw_table.h"

#include <assert.h>
#include <string.h>

enum salt { SALT_CLIENT = 1, SALT_ADDRESS, SALT_RESOURCE };

static uint32_t hash_id(const struct tgw *g, enum salt salt, const struct uuid *id)
{
	return idx_hash(g->seed + salt, id->b, sizeof(id->b));
}

static uint32_t hash_address(const struct tgw *g, const struct ipaddr *a)
{
	return idx_hash(g->seed + SALT_ADDRESS, a->b, ipaddr_size(a));
}

uint32_t tgw_cells_for(const struct tgw_mem *mem)
{
	return idx_cap_for(3 * mem->client_cap + mem->resource_cap +
			   TGW_DOMAIN_CELLS * mem->domain_cap);
}

void tgw_init(struct tgw *g, const struct tgw_mem *mem, uint64_t seed)
{
	*g = (struct tgw){
		.mem = *mem, .seed = seed, .event_head = TGW_NONE, .event_tail = TGW_NONE};
	memset(mem->clients, 0, mem->client_cap * sizeof(*mem->clients));
	memset(mem->resources, 0, mem->resource_cap * sizeof(*mem->resources));
	memset(mem->grants, 0, mem->grant_cap * sizeof(*mem->grants));
	assert(mem->cell_cap == tgw_cells_for(mem) && mem->nat.client_cap == mem->client_cap);
	idx_init(&g->idx, mem->cells, mem->cell_cap);
	nat_init(&g->nat, &mem->nat, seed);
	tgw_domains_init(g);
	g->free_client = g->free_resource = g->free_grant = TGW_NONE;
	for (uint32_t i = mem->client_cap; i-- > 0; g->free_client = i)
		mem->clients[i].next = g->free_client;
	for (uint32_t i = mem->resource_cap; i-- > 0; g->free_resource = i)
		mem->resources[i].next_free = g->free_resource;
	for (uint32_t i = mem->grant_cap; i-- > 0; g->free_grant = i)
		mem->grants[i].next = g->free_grant;
}

uint32_t tgw_find_any_client(const struct tgw *g, const struct uuid *id)
{
	uint32_t hash = hash_id(g, SALT_CLIENT, id), pos = 0, slot;

	while ((slot = idx_next(&g->idx, hash, &pos)) != IDX_NONE)
		if (slot < g->mem.client_cap && uuid_eq(&g->mem.clients[slot].id, id))
			return slot;
	return TGW_NONE;
}

uint32_t tgw_find_client(const struct tgw *g, const struct uuid *id)
{
	uint32_t slot = tgw_find_any_client(g, id);

	if (slot != TGW_NONE && g->mem.clients[slot].state == TGW_CLIENT_LEAVING)
		return TGW_NONE;
	return slot;
}

uint32_t tgw_find_address(const struct tgw *g, const struct ipaddr *tun)
{
	uint32_t hash = hash_address(g, tun), pos = 0, slot;

	while ((slot = idx_next(&g->idx, hash, &pos)) != IDX_NONE) {
		const struct tgw_client *c = tgw_client_at(g, slot);

		if (c && c->state != TGW_CLIENT_LEAVING &&
		    ipaddr_eq(tun->family == 4 ? &c->tun4 : &c->tun6, tun))
			return slot;
	}
	return TGW_NONE;
}

static bool same_target(const struct tunnel_resource *a, const struct tunnel_resource *b)
{
	return a->type == b->type && ipnet_eq(&a->net, &b->net) &&
	       (a->type != TUNNEL_RESOURCE_DNS || !strcmp(a->address, b->address));
}

uint32_t tgw_find_resource(const struct tgw *g, const struct tunnel_resource *r)
{
	uint32_t hash = hash_id(g, SALT_RESOURCE, &r->id), pos = 0, slot;

	while ((slot = idx_next(&g->idx, hash, &pos)) != IDX_NONE) {
		const struct tunnel_resource *have = tgw_resource_at(g, slot);

		if (have && uuid_eq(&have->id, &r->id) && same_target(have, r))
			return slot;
	}
	return TGW_NONE;
}

static void index_addresses(struct tgw *g, uint32_t slot)
{
	const struct tgw_client *c = &g->mem.clients[slot];

	(void)idx_insert(&g->idx, hash_address(g, &c->tun4), slot);
	(void)idx_insert(&g->idx, hash_address(g, &c->tun6), slot);
}

static void unindex_addresses(struct tgw *g, uint32_t slot)
{
	const struct tgw_client *c = &g->mem.clients[slot];

	idx_remove(&g->idx, hash_address(g, &c->tun4), slot);
	idx_remove(&g->idx, hash_address(g, &c->tun6), slot);
}

uint32_t tgw_client_alloc(struct tgw *g, const struct uuid *id, const struct ipaddr *tun4,
			  const struct ipaddr *tun6)
{
	uint32_t slot = g->free_client;

	if (slot == TGW_NONE)
		return TGW_NONE;
	g->free_client = g->mem.clients[slot].next;
	g->mem.clients[slot] = (struct tgw_client){.id = *id,
						   .tun4 = *tun4,
						   .tun6 = *tun6,
						   .grants = TGW_NONE,
						   .next = TGW_NONE,
						   .domains = TGW_NONE,
						   .domains_last = TGW_NONE};
	(void)idx_insert(&g->idx, hash_id(g, SALT_CLIENT, id), slot);
	index_addresses(g, slot);
	g->client_count++;
	return slot;
}

void tgw_client_readdress(struct tgw *g, uint32_t slot, const struct ipaddr *tun4,
			  const struct ipaddr *tun6)
{
	unindex_addresses(g, slot);
	g->mem.clients[slot].tun4 = *tun4;
	g->mem.clients[slot].tun6 = *tun6;
	index_addresses(g, slot);
}

void tgw_client_free(struct tgw *g, uint32_t slot)
{
	struct tgw_client *c = &g->mem.clients[slot];

	assert(c->domains == TGW_NONE);
	nat_client_drop(&g->nat, slot);
	while (c->grants != TGW_NONE)
		tgw_grant_free(g, c->grants);
	unindex_addresses(g, slot);
	idx_remove(&g->idx, hash_id(g, SALT_CLIENT, &c->id), slot);
	*c = (struct tgw_client){.next = g->free_client};
	g->free_client = slot;
	g->client_count--;
}

uint32_t tgw_resource_alloc(struct tgw *g, const struct tunnel_resource *r)
{
	uint32_t slot = g->free_resource;

	if (slot == TGW_NONE || idx_insert(&g->idx, hash_id(g, SALT_RESOURCE, &r->id), slot))
		return TGW_NONE;
	g->free_resource = g->mem.resources[slot].next_free;
	g->mem.resources[slot] = (struct tgw_resource){.r = *r};
	g->resource_count++;
	return slot;
}

static void resource_free(struct tgw *g, uint32_t slot)
{
	struct tgw_resource *r = &g->mem.resources[slot];

	idx_remove(&g->idx, hash_id(g, SALT_RESOURCE, &r->r.id), slot);
	*r = (struct tgw_resource){.next_free = g->free_resource};
	g->free_resource = slot;
	g->resource_count--;
}

static uint32_t oldest_tombstone(const struct tgw *g)
{
	uint32_t best = TGW_NONE;

	for (uint32_t i = 0; i < g->mem.grant_cap; i++) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if ((e->state == TGW_GRANT_EXPIRED || e->state == TGW_GRANT_REVOKED) &&
		    (best == TGW_NONE || e->ended_ns < g->mem.grants[best].ended_ns))
			best = i;
	}
	return best;
}

uint32_t tgw_grant_alloc(struct tgw *g, uint32_t client, uint32_t resource)
{
	struct tgw_client *c = &g->mem.clients[client];
	uint32_t i;

	g->mem.resources[resource].grants++; /* holds it while a tombstone gives way */
	if (g->free_grant == TGW_NONE && (i = oldest_tombstone(g)) != TGW_NONE)
		tgw_grant_free(g, i);
	i = g->free_grant;
	if (i == TGW_NONE) {
		if (!--g->mem.resources[resource].grants)
			resource_free(g, resource);
		return TGW_NONE;
	}
	g->free_grant = g->mem.grants[i].next;
	g->mem.grants[i] = (struct tgw_grant){.client = client,
					      .resource = resource,
					      .next = c->grants,
					      .state = TGW_GRANT_REVOKED};
	c->grants = i;
	g->grant_count++;
	return i;
}

void tgw_grant_free(struct tgw *g, uint32_t i)
{
	struct tgw_grant *e = &g->mem.grants[i];
	uint32_t *link = &g->mem.clients[e->client].grants;
	uint32_t resource = e->resource;

	while (*link != i)
		link = &g->mem.grants[*link].next;
	*link = e->next;
	*e = (struct tgw_grant){.next = g->free_grant};
	g->free_grant = i;
	g->grant_count--;
	if (!--g->mem.resources[resource].grants)
		resource_free(g, resource);
}

uint32_t tgw_grant_find(const struct tgw *g, uint32_t client, uint32_t resource)
{
	uint32_t i = g->mem.clients[client].grants;

	while (i != TGW_NONE && g->mem.grants[i].resource != resource)
		i = g->mem.grants[i].next;
	return i;
}

void tgw_event_queue(struct tgw *g, uint32_t slot, enum tgw_event_kind kind)
{
	struct tgw_client *c = &g->mem.clients[slot];

	c->events |= (uint8_t)(1u << kind);
	if (c->queued)
		return;
	c->queued = true;
	c->next = TGW_NONE;
	if (g->event_tail == TGW_NONE)
		g->event_head = slot;
	else
		g->mem.clients[g->event_tail].next = slot;
	g->event_tail = slot;
}

const struct tgw_client *tgw_client_at(const struct tgw *g, uint32_t slot)
{
	if (slot >= g->mem.client_cap || g->mem.clients[slot].state == TGW_CLIENT_FREE)
		return NULL;
	return &g->mem.clients[slot];
}

uint32_t tgw_client_next(const struct tgw *g, uint32_t slot)
{
	for (slot++; slot < g->mem.client_cap; slot++)
		if (g->mem.clients[slot].state != TGW_CLIENT_FREE)
			return slot;
	return TGW_NONE;
}

const struct tgw_grant *tgw_grant_at(const struct tgw *g, uint32_t i)
{
	if (i >= g->mem.grant_cap || g->mem.grants[i].state == TGW_GRANT_FREE)
		return NULL;
	return &g->mem.grants[i];
}

uint32_t tgw_grant_next(const struct tgw *g, uint32_t slot, uint32_t i)
{
	const struct tgw_client *c = tgw_client_at(g, slot);

	if (!c)
		return TGW_NONE;
	i = i == TGW_NONE ? c->grants : g->mem.grants[i].next;
	while (i != TGW_NONE && g->mem.grants[i].state != TGW_GRANT_LIVE)
		i = g->mem.grants[i].next;
	return i;
}

const struct tunnel_resource *tgw_resource_at(const struct tgw *g, uint32_t resource)
{
	if (resource >= g->mem.resource_cap || !g->mem.resources[resource].grants)
		return NULL;
	return &g->mem.resources[resource].r;
}
