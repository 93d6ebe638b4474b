/* SPDX-License-Identifier: Apache-2.0
 *
 * How a name becomes a translation: what a client asks for is held against its grants and the
 * resource's pattern, then resolved, then its proxy addresses are dealt the real ones. A name that
 * does not resolve is set up all the same: packets to it are answered "unreachable", so that
 * applications need not wait. Source: spec tunnel §2.6, §2.7. */
#include <string.h>

#include "core/tunnel/dns_pattern.h"
#include "core/tunnel/tgw_table.h"

/* ---- sorted sets of addresses ---- */

static int compare(const struct ipaddr *a, const struct ipaddr *b)
{
	return a->family != b->family ? a->family - b->family : memcmp(a->b, b->b, sizeof(a->b));
}

/* Into the ascending list[*count] unless it is there; of more than cap the first ones stay. */
static void set_insert(struct ipaddr *list, uint8_t *count, uint8_t cap, const struct ipaddr *a)
{
	uint8_t at = 0;

	while (at < *count && compare(&list[at], a) < 0)
		at++;
	if (at == cap || (at < *count && !compare(&list[at], a)))
		return;
	if (*count < cap)
		++*count;
	memmove(&list[at + 1], &list[at], (size_t)(*count - at - 1) * sizeof(*list));
	list[at] = *a;
}

static bool set_has(const struct ipaddr *list, uint8_t count, const struct ipaddr *a)
{
	for (uint8_t k = 0; k < count; k++)
		if (ipaddr_eq(&list[k], a))
			return true;
	return false;
}

/* ---- what the client asks for ---- */

static bool is_live_dns(const struct tgw *g, const struct tgw_grant *e, uint64_t now_unix)
{
	return e->state == TGW_GRANT_LIVE && e->expires_at > now_unix &&
	       g->mem.resources[e->resource].r.type == TUNNEL_RESOURCE_DNS;
}

static uint32_t first_grant(const struct tgw_client *c)
{
	return c && c->state == TGW_CLIENT_ACTIVE ? c->grants : TGW_NONE;
}

/* The client's live grant of the DNS resource with that id; TGW_NONE. */
static uint32_t dns_grant(const struct tgw *g, uint32_t slot, const struct uuid *resource,
			  uint64_t now_unix)
{
	uint32_t i = first_grant(tgw_client_at(g, slot));

	for (; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (is_live_dns(g, e, now_unix) &&
		    uuid_eq(&g->mem.resources[e->resource].r.id, resource))
			return i;
	}
	return TGW_NONE;
}

uint32_t tgw_may_ask(const struct tgw *g, const struct ipaddr *tun, const char *name,
		     uint64_t now_unix)
{
	uint32_t slot = tgw_find_address(g, tun), i = first_grant(tgw_client_at(g, slot));

	for (; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (is_live_dns(g, e, now_unix) &&
		    dns_pattern_match(g->mem.resources[e->resource].r.address, name))
			return slot;
	}
	return TGW_NONE;
}

/* Its proxy addresses, ascending; 0: one of them is none. */
static uint8_t proxies_of(const struct p2p_assigned_ips *m, struct ipaddr list[P2P_PROXIES_MAX])
{
	uint8_t count = 0;

	for (uint8_t k = 0; k < m->count && k < P2P_PROXIES_MAX; k++) {
		if (!tunnel_in_proxy_range(&m->ips[k]))
			return 0;
		set_insert(list, &count, P2P_PROXIES_MAX, &m->ips[k]);
	}
	return count;
}

/* A name, and not an address in a name's place: no resolver is asked for those. */
static bool is_name(const char *domain)
{
	struct ipaddr address;

	return p2p_domain_valid(domain) && ipaddr_parse(domain, &address);
}

static void reply_set(struct p2p_domain_status *reply, const struct uuid *resource,
		      const char *name, bool active)
{
	*reply = (struct p2p_domain_status){.resource = *resource, .active = active};
	memcpy(reply->domain, name, strnlen(name, P2P_DOMAIN_CAP - 1));
}

/* May the client say so of its grant? Counts why not. */
static bool may_assign(struct tgw *g, uint32_t grant, const char *name, uint8_t proxies)
{
	if (grant == TGW_NONE) {
		g->counters.refused_resource++;
		return false;
	}
	if (!is_name(name) ||
	    !dns_pattern_match(g->mem.resources[g->mem.grants[grant].resource].r.address, name)) {
		g->counters.refused_name++;
		return false;
	}
	g->counters.refused_proxies += !proxies;
	return proxies;
}

bool tgw_assigned_ips(struct tgw *g, uint32_t slot, const struct p2p_assigned_ips *m,
		      uint64_t now_unix, struct p2p_domain_status *reply, uint64_t now)
{
	uint32_t grant = dns_grant(g, slot, &m->resource, now_unix), resource, i;
	struct ipaddr list[P2P_PROXIES_MAX];
	uint8_t count = proxies_of(m, list);

	reply_set(reply, &m->resource, m->domain, false);
	if (!may_assign(g, grant, m->domain, count))
		return true;
	resource = g->mem.grants[grant].resource;
	i = tgw_domain_find(g, slot, resource, m->domain);
	if (i == TGW_NONE)
		i = tgw_domain_alloc(g, slot, resource, m->domain, now);
	if (i == TGW_NONE)
		return true;
	tgw_domain_touch(g, i);
	tgw_domain_set_proxies(g, i, list, count, now);
	memcpy(g->mem.domains[i].name, reply->domain, P2P_DOMAIN_CAP);
	g->mem.domains[i].asked_ns = now;
	if (g->mem.domains[i].state == TGW_DOMAIN_READY)
		tgw_domain_ask(g, i);
	return false;
}

/* ---- the answer ---- */

static bool is_v4_mapped(const struct ipaddr *a)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return a->family == 6 && !memcmp(a->b, prefix, sizeof(prefix));
}

/* Does the client hold a network that is this one address? Then the name's filters count there
 * (tgw_check.c), and flows may be cached that way. */
static bool holds_host(const struct tgw *g, uint32_t slot, const struct ipaddr *a)
{
	for (uint32_t i = g->mem.clients[slot].grants; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tunnel_resource *r = &g->mem.resources[g->mem.grants[i].resource].r;

		if (r->type == TUNNEL_RESOURCE_CIDR && ipaddr_eq(&r->net.ip, a) &&
		    r->net.len == 8 * ipaddr_size(a))
			return true;
	}
	return false;
}

static void announce_lost(struct tgw *g, uint32_t slot, const struct ipaddr *old, uint8_t old_count,
			  const struct ipaddr *list, uint8_t count)
{
	for (uint8_t k = 0; k < old_count; k++)
		if (!set_has(list, count, &old[k]) && holds_host(g, slot, &old[k]))
			tgw_event_queue(g, slot, TGW_EVENT_PEER_CHANGED);
}

static void set_reals(struct tgw *g, struct tgw_domain *e, const struct ipaddr *addrs, size_t n)
{
	struct tgw_domain old = *e;

	e->real4_count = e->real6_count = 0;
	for (size_t k = 0; k < n; k++) {
		const struct ipaddr *a = &addrs[k];

		if (!a->family || !nat_real_usable(a) || is_v4_mapped(a))
			g->counters.reals_refused++;
		else if (a->family == 4)
			set_insert(e->real4, &e->real4_count, TGW_REALS_MAX, a);
		else
			set_insert(e->real6, &e->real6_count, TGW_REALS_MAX, a);
	}
	announce_lost(g, e->client, old.real4, old.real4_count, e->real4, e->real4_count);
	announce_lost(g, e->client, old.real6, old.real6_count, e->real6, e->real6_count);
}

/* Each family's proxy addresses get the real ones in turn. False: not all could be set. */
static bool deal(struct tgw *g, const struct tgw_domain *e, uint64_t now)
{
	static const struct ipaddr none;
	uint8_t next4 = 0, next6 = 0;
	bool all = true;

	for (uint8_t k = 0; k < e->proxy_count; k++) {
		bool v4 = e->proxies[k].family == 4;
		uint8_t count = v4 ? e->real4_count : e->real6_count, *next = v4 ? &next4 : &next6;
		const struct ipaddr *list = v4 ? e->real4 : e->real6;
		int rc = nat_translate_set(&g->nat, e->client, &e->proxies[k],
					   count ? &list[*next] : &none, e->resource, e->number,
					   now);

		if (count)
			*next = (uint8_t)((*next + 1) % count);
		if (rc > 0)
			tgw_event_queue(g, e->client, TGW_EVENT_PEER_CHANGED);
		all &= rc >= 0;
	}
	return all;
}

bool tgw_resolved(struct tgw *g, uint32_t domain, uint32_t ticket, const struct ipaddr *addrs,
		  size_t count, uint32_t *slot, struct p2p_domain_status *reply, uint64_t now)
{
	struct tgw_domain *e;

	if (!tgw_domain_at(g, domain) || g->mem.domains[domain].state != TGW_DOMAIN_RESOLVING ||
	    g->mem.domains[domain].ticket != ticket) {
		g->counters.resolved_late++;
		return false;
	}
	e = &g->mem.domains[domain];
	e->state = TGW_DOMAIN_READY;
	if (addrs)
		set_reals(g, e, addrs, count);
	*slot = e->client;
	reply_set(reply, &g->mem.resources[e->resource].r.id, e->name, deal(g, e, now));
	return true;
}
