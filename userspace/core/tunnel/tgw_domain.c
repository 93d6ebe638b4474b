/* SPDX-License-Identifier: Apache-2.0
 *
 * The names clients have set up, as a table: one entry for a client, a resource and a name, lists,
 * index, and whose the proxy addresses are. Names compare without case. All entries of a client
 * that list one proxy address have the same name and so the same number; the translation is dropped
 * with the last of them. */
#include <string.h>

#include "core/tunnel/tgw_table.h"

enum { SALT_NAME = 0x101, SALT_PROXY };

#define EVICT_LOOK 16 /* candidates looked at before a full table refuses */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool name_eq(const char *a, const char *b)
{
	while (*a && lower(*a) == lower(*b))
		a++, b++;
	return lower(*a) == lower(*b);
}

static uint32_t hash_name(const struct tgw *g, uint32_t client, const char *name)
{
	char key[P2P_DOMAIN_CAP];
	size_t len = 0;

	for (; len + 1 < sizeof(key) && name[len]; len++)
		key[len] = lower(name[len]);
	return idx_hash(g->seed + SALT_NAME + ((uint64_t)client << 32), key, len);
}

static uint32_t hash_proxy(const struct tgw *g, uint32_t client, const struct ipaddr *proxy)
{
	return idx_hash(g->seed + SALT_PROXY + ((uint64_t)client << 32), proxy->b,
			ipaddr_size(proxy));
}

void tgw_domains_init(struct tgw *g)
{
	memset(g->mem.domains, 0, g->mem.domain_cap * sizeof(*g->mem.domains));
	g->free_domain = g->asked_head = g->asked_tail = TGW_NONE;
	for (uint32_t i = g->mem.domain_cap; i-- > 0; g->free_domain = i)
		g->mem.domains[i].next = g->free_domain;
}

/* ---- looking up ---- */

const struct tgw_domain *tgw_domain_at(const struct tgw *g, uint32_t i)
{
	if (i >= g->mem.domain_cap || g->mem.domains[i].state == TGW_DOMAIN_FREE)
		return NULL;
	return &g->mem.domains[i];
}

uint32_t tgw_domain_next(const struct tgw *g, uint32_t slot, uint32_t i)
{
	const struct tgw_client *c = tgw_client_at(g, slot);

	if (!c)
		return TGW_NONE;
	return i == TGW_NONE ? c->domains : g->mem.domains[i].next;
}

/* With resource TGW_NONE in any. */
static uint32_t find(const struct tgw *g, uint32_t client, uint32_t resource, const char *name)
{
	uint32_t hash = hash_name(g, client, name), pos = 0, i;

	while ((i = idx_next(&g->idx, hash, &pos)) != IDX_NONE) {
		const struct tgw_domain *e = tgw_domain_at(g, i);

		if (e && e->client == client && name_eq(e->name, name) &&
		    (resource == TGW_NONE || e->resource == resource))
			return i;
	}
	return TGW_NONE;
}

uint32_t tgw_domain_find(const struct tgw *g, uint32_t client, uint32_t resource, const char *name)
{
	return find(g, client, resource, name);
}

static int proxy_at(const struct tgw_domain *e, const struct ipaddr *proxy)
{
	for (int k = 0; k < e->proxy_count; k++)
		if (ipaddr_eq(&e->proxies[k], proxy))
			return k;
	return -1;
}

uint32_t tgw_proxy_next(const struct tgw *g, uint32_t client, const struct ipaddr *proxy,
			uint32_t *pos)
{
	uint32_t hash = hash_proxy(g, client, proxy), i;

	while ((i = idx_next(&g->idx, hash, pos)) != IDX_NONE) {
		const struct tgw_domain *e = tgw_domain_at(g, i);

		if (e && e->client == client && proxy_at(e, proxy) >= 0)
			return i;
	}
	return TGW_NONE;
}

/* ---- lists ---- */

static void client_link(struct tgw *g, uint32_t i)
{
	struct tgw_domain *e = &g->mem.domains[i];
	struct tgw_client *c = &g->mem.clients[e->client];

	e->prev = TGW_NONE;
	e->next = c->domains;
	if (c->domains == TGW_NONE)
		c->domains_last = i;
	else
		g->mem.domains[c->domains].prev = i;
	c->domains = i;
}

static void client_unlink(struct tgw *g, uint32_t i)
{
	struct tgw_domain *e = &g->mem.domains[i];
	struct tgw_client *c = &g->mem.clients[e->client];

	*(e->prev == TGW_NONE ? &c->domains : &g->mem.domains[e->prev].next) = e->next;
	*(e->next == TGW_NONE ? &c->domains_last : &g->mem.domains[e->next].prev) = e->prev;
}

void tgw_domain_touch(struct tgw *g, uint32_t i)
{
	client_unlink(g, i);
	client_link(g, i);
}

void tgw_domain_ask(struct tgw *g, uint32_t i)
{
	struct tgw_domain *e = &g->mem.domains[i];

	e->state = TGW_DOMAIN_ASKED;
	e->ticket = ++g->last_ticket;
	e->next_asked = TGW_NONE;
	*(g->asked_tail == TGW_NONE ? &g->asked_head
				    : &g->mem.domains[g->asked_tail].next_asked) = i;
	g->asked_tail = i;
}

uint32_t tgw_asked_pop(struct tgw *g)
{
	uint32_t i = g->asked_head;

	if (i == TGW_NONE)
		return TGW_NONE;
	g->asked_head = g->mem.domains[i].next_asked;
	if (g->asked_head == TGW_NONE)
		g->asked_tail = TGW_NONE;
	g->mem.domains[i].state = TGW_DOMAIN_RESOLVING;
	return i;
}

/* The queue is as long as what came since the shell last polled. */
static void asked_unlink(struct tgw *g, uint32_t i)
{
	uint32_t *link = &g->asked_head, last = TGW_NONE;

	while (*link != i) {
		last = *link;
		link = &g->mem.domains[*link].next_asked;
	}
	*link = g->mem.domains[i].next_asked;
	if (g->asked_tail == i)
		g->asked_tail = last;
}

/* ---- proxy addresses ---- */

/* Nobody has the address any more, or another resource's entry of the same name stands for it. */
static void mapping_release(struct tgw *g, uint32_t client, const struct ipaddr *proxy,
			    uint64_t now)
{
	uint32_t pos = 0, heir = tgw_proxy_next(g, client, proxy, &pos);
	struct ipaddr real;
	struct nat_hit hit;

	if (heir == TGW_NONE) {
		nat_proxy_drop(&g->nat, client, proxy, now);
	} else if (nat_lookup(&g->nat, client, proxy, &hit)) {
		real = nat_mapping_real(&g->mem.nat.mappings[hit.mapping]);
		(void)nat_translate_set(&g->nat, client, proxy, &real,
					g->mem.domains[heir].resource, hit.domain, now);
	}
}

static void proxy_remove(struct tgw *g, uint32_t i, int k, uint64_t now)
{
	struct tgw_domain *e = &g->mem.domains[i];
	struct ipaddr proxy = e->proxies[k];

	idx_remove(&g->idx, hash_proxy(g, e->client, &proxy), i);
	e->proxy_count--;
	memmove(&e->proxies[k], &e->proxies[k + 1],
		(size_t)(e->proxy_count - k) * sizeof(*e->proxies));
	mapping_release(g, e->client, &proxy, now);
	tgw_event_queue(g, e->client, TGW_EVENT_PEER_CHANGED);
}

/* Other names lose the address; one that has none left is over. */
static void take_from_others(struct tgw *g, uint32_t client, uint32_t number,
			     const struct ipaddr *proxy, uint64_t now)
{
	uint32_t pos = 0, i;

	while ((i = tgw_proxy_next(g, client, proxy, &pos)) != TGW_NONE) {
		struct tgw_domain *e = &g->mem.domains[i];

		if (e->number == number)
			return;
		proxy_remove(g, i, proxy_at(e, proxy), now);
		if (!e->proxy_count)
			tgw_domain_free(g, i, now);
		pos = 0; /* the index has changed */
	}
}

static bool listed(const struct ipaddr *list, uint8_t count, const struct ipaddr *a)
{
	for (uint8_t k = 0; k < count; k++)
		if (ipaddr_eq(&list[k], a))
			return true;
	return false;
}

void tgw_domain_set_proxies(struct tgw *g, uint32_t i, const struct ipaddr *list, uint8_t count,
			    uint64_t now)
{
	struct tgw_domain *e = &g->mem.domains[i];

	for (int k = e->proxy_count; k-- > 0;)
		if (!listed(list, count, &e->proxies[k]))
			proxy_remove(g, i, k, now);
	for (uint8_t k = 0; k < count; k++) {
		take_from_others(g, e->client, e->number, &list[k], now);
		if (proxy_at(e, &list[k]) < 0)
			(void)idx_insert(&g->idx, hash_proxy(g, e->client, &list[k]), i);
	}
	memcpy(e->proxies, list, count * sizeof(*list));
	e->proxy_count = count;
}

/* ---- entries ---- */

static bool in_use(const struct tgw *g, const struct tgw_domain *e)
{
	struct nat_hit hit;

	for (uint8_t k = 0; k < e->proxy_count; k++)
		if (nat_lookup(&g->nat, e->client, &e->proxies[k], &hit) &&
		    g->mem.nat.mappings[hit.mapping].sessions != NAT_NONE)
			return true;
	return false;
}

/* The client's least recent name that nothing is under way for gives way. */
static bool evict(struct tgw *g, uint32_t client, uint64_t now)
{
	uint32_t i = g->mem.clients[client].domains_last;

	for (int n = 0; n < EVICT_LOOK && i != TGW_NONE; n++, i = g->mem.domains[i].prev) {
		const struct tgw_domain *e = &g->mem.domains[i];

		if (e->state != TGW_DOMAIN_READY || in_use(g, e))
			continue;
		tgw_domain_free(g, i, now);
		g->counters.domain_evicted++;
		return true;
	}
	return false;
}

static bool has_room(struct tgw *g, uint32_t client, uint64_t now)
{
	uint32_t share = g->mem.client_domains_max;

	if (share && g->mem.clients[client].domain_count >= share && !evict(g, client, now)) {
		g->counters.domain_share_full++;
		return false;
	}
	if (g->free_domain == TGW_NONE && !evict(g, client, now)) {
		g->counters.domain_table_full++;
		return false;
	}
	return true;
}

uint32_t tgw_domain_alloc(struct tgw *g, uint32_t client, uint32_t resource, const char *name,
			  uint64_t now)
{
	uint32_t twin, i;

	if (!has_room(g, client, now))
		return TGW_NONE;
	twin = find(g, client, TGW_NONE, name);
	i = g->free_domain;
	g->free_domain = g->mem.domains[i].next;
	g->mem.domains[i] = (struct tgw_domain){
		.client = client, .resource = resource, .state = TGW_DOMAIN_READY};
	g->mem.domains[i].number = twin == TGW_NONE ? ++g->last_number
						    : g->mem.domains[twin].number;
	memcpy(g->mem.domains[i].name, name, strlen(name) + 1);
	client_link(g, i);
	(void)idx_insert(&g->idx, hash_name(g, client, name), i);
	g->mem.clients[client].domain_count++;
	g->domain_count++;
	return i;
}

void tgw_domain_free(struct tgw *g, uint32_t i, uint64_t now)
{
	struct tgw_domain *e = &g->mem.domains[i];

	while (e->proxy_count)
		proxy_remove(g, i, e->proxy_count - 1, now);
	if (e->state == TGW_DOMAIN_ASKED)
		asked_unlink(g, i);
	idx_remove(&g->idx, hash_name(g, e->client, e->name), i);
	client_unlink(g, i);
	g->mem.clients[e->client].domain_count--;
	tgw_event_queue(g, e->client, TGW_EVENT_PEER_CHANGED);
	*e = (struct tgw_domain){.next = g->free_domain};
	g->free_domain = i;
	g->domain_count--;
}

void tgw_domains_drop(struct tgw *g, uint32_t client, uint32_t resource, uint64_t now)
{
	uint32_t i = g->mem.clients[client].domains, next;

	for (; i != TGW_NONE; i = next) {
		next = g->mem.domains[i].next;
		if (resource == TGW_NONE || g->mem.domains[i].resource == resource)
			tgw_domain_free(g, i, now);
	}
}
