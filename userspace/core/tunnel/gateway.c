/* SPDX-License-Identifier: Apache-2.0
 *
 * What the portal's messages and time do to the gateway's policy. Every change ends in one of three
 * places: grant_start, grant_end, grant_set_expiry; they keep the client's state and raise its
 * events. */
#include "core/tunnel/gateway.h"

#include <assert.h>
#include <errno.h>
#include "core/tunnel/dns_pattern.h"
#include "core/tunnel/tgw_table.h"

static void client_set_state(struct tgw_client *c, enum tgw_client_state to)
{
	enum tgw_client_state from = (enum tgw_client_state)c->state;

	assert(to != TGW_CLIENT_FREE);
	assert(to != TGW_CLIENT_ACTIVE || c->live_count);
	assert(to != TGW_CLIENT_LINGERING || (from == TGW_CLIENT_ACTIVE && !c->live_count));
	assert(to != TGW_CLIENT_LEAVING || from == TGW_CLIENT_LINGERING);
	c->state = (uint8_t)to;
}

static void client_leave(struct tgw *g, uint32_t slot)
{
	client_set_state(&g->mem.clients[slot], TGW_CLIENT_LEAVING);
	tgw_event_queue(g, slot, TGW_EVENT_PEER_REMOVED);
}

static void grant_end(struct tgw *g, uint32_t i, enum tgw_why why, uint64_t now)
{
	struct tgw_grant *e = &g->mem.grants[i];
	struct tgw_client *c = &g->mem.clients[e->client];

	assert(e->state == TGW_GRANT_LIVE);
	e->state = why == TGW_WHY_EXPIRED ? TGW_GRANT_EXPIRED : TGW_GRANT_REVOKED;
	e->ended_ns = now;
	g->timed = true;
	tgw_domains_drop(g, e->client, e->resource, now);
	tgw_event_queue(g, e->client, TGW_EVENT_PEER_CHANGED);
	if (--c->live_count)
		return;
	c->why = (uint8_t)why;
	c->lingers_until_ns = time_add(now, TGW_LINGER_NS);
	client_set_state(c, TGW_CLIENT_LINGERING);
}

static void grant_set_expiry(struct tgw *g, uint32_t i, uint64_t expires_at)
{
	struct tgw_grant *e = &g->mem.grants[i];

	if (e->state == TGW_GRANT_LIVE && expires_at < e->expires_at)
		tgw_event_queue(g, e->client, TGW_EVENT_PEER_CHANGED);
	e->expires_at = expires_at;
	if (expires_at != TUNNEL_NEVER_EXPIRES)
		g->timed = true;
}

/* Live from now on, whatever it was. */
static void grant_start(struct tgw *g, uint32_t i, uint64_t expires_at)
{
	struct tgw_grant *e = &g->mem.grants[i];
	struct tgw_client *c = &g->mem.clients[e->client];

	grant_set_expiry(g, i, expires_at);
	if (e->state == TGW_GRANT_LIVE)
		return;
	e->state = TGW_GRANT_LIVE;
	c->live_count++;
	if (c->state == TGW_CLIENT_LEAVING) { /* back before the shell heard of it */
		c->events &= (uint8_t)~(1u << TGW_EVENT_PEER_REMOVED);
		tgw_event_queue(g, e->client, TGW_EVENT_PEER_CHANGED);
	}
	client_set_state(c, TGW_CLIENT_ACTIVE);
}

static void resource_set(struct tgw *g, uint32_t slot, const struct tunnel_resource *r)
{
	struct tunnel_resource *have = &g->mem.resources[slot].r;
	bool same = filter_set_eq(&have->filters, &r->filters);

	tunnel_text_copy(have->name, sizeof(have->name), r->name);
	have->filters = r->filters;
	for (uint32_t i = 0; !same && i < g->mem.grant_cap; i++) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (e->state == TGW_GRANT_LIVE && e->resource == slot)
			tgw_event_queue(g, e->client, TGW_EVENT_PEER_CHANGED);
	}
}

static bool address_usable(const struct tgw *g, const struct ipaddr *a, uint8_t family)
{
	return a->family == family && !ipaddr_is_unspecified(a) && !ipaddr_is_multicast(a) &&
	       !ipaddr_is_loopback(a) && !ipaddr_eq(a, &g->own4) && !ipaddr_eq(a, &g->own6);
}

static bool resource_usable(const struct tunnel_resource *r)
{
	static const struct ipnet none;

	switch (r->type) {
	case TUNNEL_RESOURCE_CIDR:
		return (r->net.ip.family == 4 || r->net.ip.family == 6) &&
		       !tunnel_in_reserved_range(&r->net.ip);
	case TUNNEL_RESOURCE_INTERNET:
		return ipnet_eq(&r->net, &none);
	case TUNNEL_RESOURCE_DNS:
		return ipnet_eq(&r->net, &none) && dns_pattern_valid(r->address);
	}
	return false;
}

/* Another client that holds one of the addresses: TGW_NONE, or the first of them. */
static uint32_t address_holder(const struct tgw *g, const struct tgw_authorization *a,
			       uint32_t self)
{
	uint32_t v4 = tgw_find_address(g, &a->tun4), v6 = tgw_find_address(g, &a->tun6);

	return v4 != TGW_NONE && v4 != self ? v4 : v6 != self ? v6 : TGW_NONE;
}

static bool has_room(struct tgw *g, const struct tgw_authorization *a, uint32_t slot)
{
	if (slot == TGW_NONE && g->free_client == TGW_NONE) {
		g->counters.client_table_full++;
		return false;
	}
	if (g->free_resource == TGW_NONE && tgw_find_resource(g, a->resource) == TGW_NONE) {
		g->counters.resource_table_full++;
		return false;
	}
	return true;
}

/* The client's grant of the resource, made if need be; TGW_NONE when a table is full. */
static uint32_t grant_get(struct tgw *g, uint32_t slot, const struct tunnel_resource *r)
{
	uint32_t resource = tgw_find_resource(g, r), i;

	if (resource == TGW_NONE)
		resource = tgw_resource_alloc(g, r);
	if (resource == TGW_NONE)
		return TGW_NONE;
	i = tgw_grant_find(g, slot, resource);
	if (i == TGW_NONE)
		i = tgw_grant_alloc(g, slot, resource);
	return i;
}

/* Live grants of the client under the same resource id that mean another network, pattern or type.
 */
static void end_other_versions(struct tgw *g, uint32_t slot, uint32_t keep, uint64_t now)
{
	const struct uuid *id = &g->mem.resources[g->mem.grants[keep].resource].r.id;

	for (uint32_t i = g->mem.clients[slot].grants; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (i != keep && e->state == TGW_GRANT_LIVE &&
		    uuid_eq(&g->mem.resources[e->resource].r.id, id))
			grant_end(g, i, TGW_WHY_REJECTED, now);
	}
}

int tgw_authorize(struct tgw *g, const struct tgw_authorization *a, uint32_t *out, uint64_t now)
{
	uint32_t slot = tgw_find_any_client(g, &a->client), holder, grant;
	bool fresh = slot == TGW_NONE;
	const struct tgw_client *c;

	if (!address_usable(g, &a->tun4, 4) || !address_usable(g, &a->tun6, 6) ||
	    !resource_usable(a->resource))
		return -EINVAL;
	holder = address_holder(g, a, slot);
	if (holder != TGW_NONE && g->mem.clients[holder].live_count)
		return -EADDRINUSE;
	if (!has_room(g, a, slot))
		return -ENOSPC;
	if (fresh)
		slot = tgw_client_alloc(g, &a->client, &a->tun4, &a->tun6);
	assert(slot != TGW_NONE);
	grant = grant_get(g, slot, a->resource);
	if (grant == TGW_NONE) {
		if (fresh)
			tgw_client_free(g, slot);
		g->counters.grant_table_full++;
		return -ENOSPC;
	}
	while ((holder = address_holder(g, a, slot)) != TGW_NONE)
		client_leave(g, holder);
	c = &g->mem.clients[slot];
	if (!ipaddr_eq(&c->tun4, &a->tun4) || !ipaddr_eq(&c->tun6, &a->tun6)) {
		tgw_client_readdress(g, slot, &a->tun4, &a->tun6);
		tgw_event_queue(g, slot, TGW_EVENT_PEER_CHANGED);
	}
	if (fresh)
		tgw_event_queue(g, slot, TGW_EVENT_PEER_ADDED);
	resource_set(g, g->mem.grants[grant].resource, a->resource);
	grant_start(g, grant, a->expires_at);
	end_other_versions(g, slot, grant, now);
	*out = slot;
	return 0;
}

/* The client's first live grant of the resource id; TGW_NONE. */
static uint32_t live_grant(const struct tgw *g, const struct uuid *client,
			   const struct uuid *resource)
{
	uint32_t slot = tgw_find_client(g, client);
	uint32_t i = slot == TGW_NONE ? TGW_NONE : g->mem.clients[slot].grants;

	for (; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (e->state == TGW_GRANT_LIVE &&
		    uuid_eq(&g->mem.resources[e->resource].r.id, resource))
			return i;
	}
	return TGW_NONE;
}

void tgw_reject(struct tgw *g, const struct uuid *client, const struct uuid *resource, uint64_t now)
{
	uint32_t i = live_grant(g, client, resource);

	if (i != TGW_NONE)
		grant_end(g, i, TGW_WHY_REJECTED, now);
}

int tgw_resource_updated(struct tgw *g, const struct tunnel_resource *r)
{
	int rc = -ENOENT;

	for (uint32_t slot = 0; slot < g->mem.resource_cap; slot++) {
		const struct tgw_resource *have = &g->mem.resources[slot];

		if (!have->grants || !uuid_eq(&have->r.id, &r->id))
			continue;
		if (have->r.type == r->type) {
			resource_set(g, slot, r);
			rc = 0;
		} else if (rc) {
			rc = -EINVAL;
		}
	}
	return rc;
}

int tgw_expiry_update(struct tgw *g, const struct uuid *client, const struct uuid *resource,
		      uint64_t expires_at)
{
	uint32_t i = live_grant(g, client, resource);

	if (i == TGW_NONE)
		return -ENOENT;
	grant_set_expiry(g, i, expires_at);
	return 0;
}

/* A pair listed twice keeps the later expiry. */
static void retain_one(struct tgw *g, const struct tgw_retained *e)
{
	uint32_t i = live_grant(g, &e->client, &e->resource);
	struct tgw_grant *grant;

	if (i == TGW_NONE)
		return;
	grant = &g->mem.grants[i];
	if (e->has_expiry && (!grant->kept || e->expires_at > grant->expires_at))
		grant_set_expiry(g, i, e->expires_at);
	grant->kept = true;
}

void tgw_retain(struct tgw *g, const struct tgw_retained *list, uint32_t count, uint64_t now)
{
	for (uint32_t n = 0; n < count; n++)
		retain_one(g, &list[n]);
	for (uint32_t i = 0; i < g->mem.grant_cap; i++) {
		struct tgw_grant *e = &g->mem.grants[i];

		if (e->state == TGW_GRANT_LIVE && !e->kept)
			grant_end(g, i, TGW_WHY_RETAIN, now);
		e->kept = false;
	}
}

void tgw_set_interface(struct tgw *g, const struct ipaddr *v4, const struct ipaddr *v6)
{
	if (ipaddr_eq(&g->own4, v4) && ipaddr_eq(&g->own6, v6))
		return;
	g->own4 = *v4;
	g->own6 = *v6;
	for (uint32_t i = tgw_client_next(g, TGW_NONE); i != TGW_NONE; i = tgw_client_next(g, i))
		tgw_event_queue(g, i, TGW_EVENT_PEER_CHANGED);
}

struct deadline tgw_deadline(const struct tgw *g)
{
	if (!g->timed)
		return deadline_never();
	return (struct deadline){.at = time_add(g->swept_ns, TGW_TICK_NS),
				 .why = "authorisation expiry"};
}

static void sweep_grants(struct tgw *g, uint64_t now_unix, uint64_t now)
{
	for (uint32_t i = 0; i < g->mem.grant_cap; i++) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (e->state == TGW_GRANT_LIVE && e->expires_at <= now_unix)
			grant_end(g, i, TGW_WHY_EXPIRED, now);
		if (e->state == TGW_GRANT_EXPIRED || e->state == TGW_GRANT_REVOKED) {
			if (time_since(e->ended_ns, now) >= TGW_TOMBSTONE_NS)
				tgw_grant_free(g, i);
			else
				g->timed = true;
		} else if (e->state == TGW_GRANT_LIVE && e->expires_at != TUNNEL_NEVER_EXPIRES) {
			g->timed = true;
		}
	}
}

void tgw_timeout(struct tgw *g, uint64_t now_unix, uint64_t now)
{
	g->timed = false;
	g->swept_ns = now;
	sweep_grants(g, now_unix, now);
	for (uint32_t slot = 0; slot < g->mem.client_cap; slot++) {
		const struct tgw_client *c = &g->mem.clients[slot];

		if (c->state != TGW_CLIENT_LINGERING)
			continue;
		if (time_reached(c->lingers_until_ns, now))
			client_leave(g, slot);
		else
			g->timed = true;
	}
}

static bool poll_resolve(struct tgw *g, struct tgw_event *out)
{
	uint32_t i = tgw_asked_pop(g);
	const struct tgw_domain *e;

	if (i == TGW_NONE)
		return false;
	e = &g->mem.domains[i];
	*out = (struct tgw_event){.kind = TGW_EVENT_RESOLVE,
				  .slot = e->client,
				  .client = g->mem.clients[e->client].id,
				  .domain = i,
				  .ticket = e->ticket,
				  .resource = g->mem.resources[e->resource].r.id,
				  .name = e->name};
	return true;
}

bool tgw_poll_event(struct tgw *g, struct tgw_event *out)
{
	static const enum tgw_event_kind order[] = {TGW_EVENT_PEER_ADDED, TGW_EVENT_PEER_CHANGED,
						    TGW_EVENT_PEER_REMOVED};

	while (g->event_head != TGW_NONE) {
		uint32_t slot = g->event_head;
		struct tgw_client *c = &g->mem.clients[slot];

		for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
			if (!(c->events & 1u << order[i]))
				continue;
			c->events &= (uint8_t)~(1u << order[i]);
			*out = (struct tgw_event){.kind = order[i],
						  .slot = slot,
						  .client = c->id,
						  .why = (enum tgw_why)c->why};
			return true;
		}
		g->event_head = c->next;
		if (g->event_head == TGW_NONE)
			g->event_tail = TGW_NONE;
		c->queued = false;
		if (c->state == TGW_CLIENT_LEAVING)
			tgw_client_free(g, slot);
	}
	return poll_resolve(g, out);
}
