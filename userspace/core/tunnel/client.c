/* SPDX-License-Identifier: Apache-2.0
 *
 * What the portal's messages, the connections and the user do to the client's policy, and the
 * events that follow. A resource's way through it: resource_activate, hold (tcl_route.c),
 * tcl_flow_created, resource_unmap. */
#include "core/tunnel/client.h"

#include <errno.h>
#include <string.h>
#include "core/tunnel/tcl_table.h"

void tcl_set_interface(struct tcl *c, const struct ipaddr *v4, const struct ipaddr *v6)
{
	if (ipaddr_eq(&c->own4, v4) && ipaddr_eq(&c->own6, v6))
		return;
	c->own4 = *v4;
	c->own6 = *v6;
	for (uint32_t i = tcl_gateway_next(c, TCL_NONE); i != TCL_NONE; i = tcl_gateway_next(c, i))
		c->mem.gateways[i].changed = c->wake = true;
}

/* The set of active networks changed: every cached decision is made anew. */
static void active_changed(struct tcl *c)
{
	for (uint32_t i = tcl_gateway_next(c, TCL_NONE); i != TCL_NONE; i = tcl_gateway_next(c, i))
		c->mem.gateways[i].changed = true;
	c->routes_dirty = c->resources_dirty = c->wake = true;
}

static void remember_gone(struct tcl *c, const struct tcl_resource *r, uint64_t now)
{
	c->gone[c->gone_next] = (struct tcl_gone){.id = r->r.id,
						  .type = r->r.type,
						  .net = r->r.net,
						  .gateway = r->gateway,
						  .until_ns = time_add(now, TCL_GONE_NS)};
	c->gone_next = (c->gone_next + 1) % TCL_GONE_CAP;
}

/* No gateway serves it any more; its pending flow goes with what was held for it. */
static void resource_unmap(struct tcl *c, struct tcl_resource *r)
{
	tcl_dns_unserved(c, r);
	r->gateway = TCL_NONE;
	r->pending = r->want_intent = r->want_flush = false;
	tcl_held_discard(c, r);
}

static void resource_deactivate(struct tcl *c, struct tcl_resource *r, uint64_t now)
{
	if (r->gateway != TCL_NONE)
		remember_gone(c, r, now);
	resource_unmap(c, r);
	tcl_dns_deactivate(c, r);
	r->enabled = false;
	active_changed(c);
}

/* Where the list has the id, else its end. */
static uint32_t disabled_at(const struct tcl *c, const struct uuid *id)
{
	uint32_t i = 0;

	while (i < c->disabled_count && !uuid_eq(&c->disabled[i], id))
		i++;
	return i;
}

static bool is_off(const struct tcl *c, const struct tcl_resource *r)
{
	return (r->r.type == TUNNEL_RESOURCE_INTERNET && c->internet_off) ||
	       disabled_at(c, &r->r.id) < c->disabled_count;
}

static void resource_activate(struct tcl *c, struct tcl_resource *r)
{
	if (r->enabled || is_off(c, r) ||
	    (r->r.type == TUNNEL_RESOURCE_DNS && !tcl_dns_activate(c, r)))
		return;
	r->enabled = true;
	active_changed(c);
}

static bool spec_usable(const struct tcl_resource_spec *s)
{
	static const struct ipnet none;

	if (!s->site_count || s->site_count > TCL_RESOURCE_SITES_CAP)
		return false;
	switch (s->r.type) {
	case TUNNEL_RESOURCE_CIDR:
		return (s->r.net.ip.family == 4 || s->r.net.ip.family == 6) &&
		       !tunnel_in_reserved_range(&s->r.net.ip);
	case TUNNEL_RESOURCE_INTERNET:
	case TUNNEL_RESOURCE_DNS:
		return ipnet_eq(&s->r.net, &none);
	}
	return false;
}

static bool same_sites(const struct tcl *c, const struct tcl_resource *r,
		       const struct tcl_resource_spec *s)
{
	if (r->site_count != s->site_count)
		return false;
	for (uint32_t i = 0; i < s->site_count; i++) {
		uint32_t site = tcl_find_site(c, &s->sites[i].id), at = 0;

		while (at < r->site_count && r->sites[at] != site)
			at++;
		if (at == r->site_count)
			return false;
	}
	return true;
}

/* Would the change interrupt what flows? Names, descriptions and filters do not. */
static bool same_place(const struct tcl *c, const struct tcl_resource *r,
		       const struct tcl_resource_spec *s)
{
	return r->r.type == s->r.type && ipnet_eq(&r->r.net, &s->r.net) &&
	       (s->r.type != TUNNEL_RESOURCE_DNS ||
		(!strcmp(r->r.address, s->r.address) && r->stack == s->stack)) &&
	       same_sites(c, r, s);
}

static void release_sites(struct tcl *c, const uint32_t *sites, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		tcl_site_release(c, sites[i]);
}

/* The new site list replaces the old one. -ENOSPC leaves the old one. */
static int resource_set_sites(struct tcl *c, struct tcl_resource *r,
			      const struct tcl_resource_spec *s)
{
	uint32_t sites[TCL_RESOURCE_SITES_CAP];

	for (uint32_t i = 0; i < s->site_count; i++) {
		sites[i] = tcl_site_acquire(c, &s->sites[i]);
		if (sites[i] != TCL_NONE)
			continue;
		release_sites(c, sites, i);
		c->counters.site_table_full++;
		return -ENOSPC;
	}
	release_sites(c, r->sites, r->site_count);
	memcpy(r->sites, sites, s->site_count * sizeof(*sites));
	r->site_count = s->site_count;
	return 0;
}

int tcl_add_resource(struct tcl *c, const struct tcl_resource_spec *s, uint64_t now)
{
	uint32_t i = tcl_find_resource(c, &s->r.id);
	bool fresh = i == TCL_NONE, interrupt;
	struct tcl_resource *r;

	if (!spec_usable(s))
		return -EINVAL;
	if (fresh)
		i = tcl_resource_alloc(c);
	if (i == TCL_NONE) {
		c->counters.resource_table_full++;
		return -ENOSPC;
	}
	r = &c->mem.resources[i];
	interrupt = !fresh && !same_place(c, r, s);
	if (resource_set_sites(c, r, s)) {
		if (fresh)
			tcl_resource_free(c, i);
		return -ENOSPC;
	}
	if (interrupt)
		resource_deactivate(c, r, now);
	else if (!filter_set_eq(&r->r.filters, &s->r.filters))
		active_changed(c);
	r->r = s->r;
	r->stack = s->stack;
	tunnel_text_copy(r->r.name, sizeof(r->r.name), s->r.name);
	tunnel_text_copy(r->r.address, sizeof(r->r.address), s->r.address);
	r->listed = true;
	c->resources_dirty = c->wake = true;
	resource_activate(c, r);
	return 0;
}

static void resource_drop(struct tcl *c, uint32_t i, uint64_t now)
{
	struct tcl_resource *r = &c->mem.resources[i];

	resource_deactivate(c, r, now);
	release_sites(c, r->sites, r->site_count);
	tcl_resource_free(c, i);
}

void tcl_remove_resource(struct tcl *c, const struct uuid *id, uint64_t now)
{
	uint32_t i = tcl_find_resource(c, id);

	if (i != TCL_NONE)
		resource_drop(c, i, now);
}

uint32_t tcl_set_resources(struct tcl *c, const struct tcl_resource_spec *list, uint32_t count,
			   uint64_t now)
{
	uint32_t refused = 0, i;

	for (i = 0; i < c->resource_high; i++)
		c->mem.resources[i].listed = false;
	for (uint32_t n = 0; n < count; n++)
		if ((i = tcl_find_resource(c, &list[n].r.id)) != TCL_NONE)
			c->mem.resources[i].listed = true;
	for (i = c->resource_high; i-- > 0;)
		if (c->mem.resources[i].used && !c->mem.resources[i].listed)
			resource_drop(c, i, now);
	for (uint32_t n = 0; n < count; n++)
		refused += tcl_add_resource(c, &list[n], now) != 0;
	return refused;
}

static void follow_switches(struct tcl *c, uint64_t now)
{
	for (uint32_t i = 0; i < c->resource_high; i++) {
		struct tcl_resource *r = &c->mem.resources[i];

		if (!r->used)
			continue;
		if (r->enabled && is_off(c, r))
			resource_deactivate(c, r, now);
		resource_activate(c, r);
	}
}

int tcl_set_disabled(struct tcl *c, const struct uuid *ids, uint32_t count, uint64_t now)
{
	if (count > TCL_DISABLED_CAP)
		return -ENOSPC;
	if (count)
		memcpy(c->disabled, ids, count * sizeof(*ids));
	c->disabled_count = count;
	follow_switches(c, now);
	return 0;
}

void tcl_set_internet(struct tcl *c, bool on, uint64_t now)
{
	c->internet_off = !on;
	follow_switches(c, now);
}

int tcl_switch(struct tcl *c, uint32_t resource, bool on, uint64_t now)
{
	const struct tcl_resource *r = tcl_resource_at(c, resource);
	uint32_t at = r ? disabled_at(c, &r->r.id) : 0;
	bool listed = r && at < c->disabled_count, internet;

	if (!r)
		return -ENOENT;
	internet = r->r.type == TUNNEL_RESOURCE_INTERNET;
	if (!on && !listed && !internet) {
		if (c->disabled_count == TCL_DISABLED_CAP)
			return -ENOSPC;
		c->disabled[c->disabled_count++] = r->r.id;
	}
	if (on && listed)
		c->disabled[at] = c->disabled[--c->disabled_count];
	if (internet)
		c->internet_off = !on;
	follow_switches(c, now);
	return 0;
}

static void recent_push(struct tcl *c, const struct uuid *id)
{
	uint32_t at = 0;

	while (at < c->recent_count && !uuid_eq(&c->recent[at], id))
		at++;
	if (at == c->recent_count && at < TCL_RECENT_CAP)
		c->recent_count++;
	if (at == TCL_RECENT_CAP)
		at--;
	memmove(c->recent + 1, c->recent, at * sizeof(*c->recent));
	c->recent[0] = *id;
}

static void recent_remove(struct tcl *c, const struct uuid *id)
{
	uint32_t at = 0;

	while (at < c->recent_count && !uuid_eq(&c->recent[at], id))
		at++;
	if (at == c->recent_count)
		return;
	c->recent_count--;
	memmove(c->recent + at, c->recent + at + 1, (c->recent_count - at) * sizeof(*c->recent));
}

static bool address_usable(const struct tcl *c, const struct ipaddr *a, uint8_t family)
{
	return a->family == family && tunnel_in_peer_range(a) && !ipaddr_eq(a, &c->own4) &&
	       !ipaddr_eq(a, &c->own6);
}

/* The gateway's slot, made or found; its addresses are as in f. */
static int gateway_get(struct tcl *c, const struct tcl_flow *f, uint32_t *slot)
{
	uint32_t i = tcl_find_gateway(c, &f->gateway);
	uint32_t v4 = tcl_find_gateway_address(c, &f->tun4),
		 v6 = tcl_find_gateway_address(c, &f->tun6);
	struct tcl_gateway *g;

	if ((v4 != TCL_NONE && v4 != i) || (v6 != TCL_NONE && v6 != i))
		return -EADDRINUSE;
	for (uint32_t n = 0; i == TCL_NONE && n < c->mem.gateway_cap; n++)
		if (c->mem.gateways[n].state == TCL_GATEWAY_FREE)
			i = n;
	if (i == TCL_NONE) {
		c->counters.gateway_table_full++;
		return -ENOSPC;
	}
	g = &c->mem.gateways[i];
	if (g->state == TCL_GATEWAY_FREE) {
		*g = (struct tcl_gateway){.id = f->gateway, .added = true};
		c->gateway_count++;
		if (i >= c->gateway_high)
			c->gateway_high = i + 1;
	} else if (g->state == TCL_GATEWAY_LEAVING || !ipaddr_eq(&g->tun4, &f->tun4) ||
		   !ipaddr_eq(&g->tun6, &f->tun6)) {
		g->changed = true;
		g->removed = false; /* back before the shell heard of it */
	}
	g->tun4 = f->tun4;
	g->tun6 = f->tun6;
	g->site = f->site;
	if (g->state == TCL_GATEWAY_FREE || g->state == TCL_GATEWAY_LEAVING)
		tcl_gateway_set_state(g, TCL_GATEWAY_CONNECTING);
	*slot = i;
	return 0;
}

bool tcl_flow_awaited(const struct tcl *c, const struct uuid *resource)
{
	uint32_t i = tcl_find_resource(c, resource);

	return i != TCL_NONE && c->mem.resources[i].pending;
}

int tcl_flow_created(struct tcl *c, const struct tcl_flow *f, uint32_t *slot, uint64_t now)
{
	uint32_t i = tcl_find_resource(c, &f->resource);
	struct tcl_resource *r;
	int rc;

	if (i == TCL_NONE)
		return -ENOENT;
	r = &c->mem.resources[i];
	if (!r->pending)
		return -EALREADY;
	if (!address_usable(c, &f->tun4, 4) || !address_usable(c, &f->tun6, 6))
		return -EINVAL;
	rc = gateway_get(c, f, slot);
	if (rc)
		return rc;
	r->gateway = *slot;
	r->mapped_seq = ++c->mapped_seq;
	r->pending = r->want_intent = false;
	r->want_flush = c->mem.gateways[*slot].state == TCL_GATEWAY_ESTABLISHED;
	if (r->want_flush)
		tcl_site_set_status(c, tcl_find_site(c, &f->site), TCL_STATUS_ONLINE, now);
	tcl_dns_served(c, r, now);
	recent_push(c, &f->gateway);
	c->resources_dirty = c->wake = true;
	return 0;
}

void tcl_flow_failed(struct tcl *c, const struct uuid *resource, enum tcl_failure why, uint64_t now)
{
	uint32_t i = tcl_find_resource(c, resource);
	struct tcl_resource *r;

	if (i == TCL_NONE || why != TCL_FAILURE_OFFLINE)
		return;
	r = &c->mem.resources[i];
	for (uint32_t s = 0; s < r->site_count; s++)
		tcl_site_set_status(c, r->sites[s], TCL_STATUS_OFFLINE, now);
	if (r->gateway != TCL_NONE)
		tcl_gateway_gone(c, r->gateway, now);
	resource_unmap(c, r);
}

void tcl_gateway_established(struct tcl *c, uint32_t slot, uint64_t now)
{
	struct tcl_gateway *g;

	if (!tcl_gateway_at(c, slot) || c->mem.gateways[slot].state != TCL_GATEWAY_CONNECTING)
		return;
	g = &c->mem.gateways[slot];
	tcl_gateway_set_state(g, TCL_GATEWAY_ESTABLISHED);
	tcl_site_set_status(c, tcl_find_site(c, &g->site), TCL_STATUS_ONLINE, now);
	for (uint32_t i = 0; i < c->resource_high; i++) {
		struct tcl_resource *r = &c->mem.resources[i];

		if (!r->used || r->gateway != slot)
			continue;
		tcl_dns_served(c, r, now);
		if (r->held.count || r->r.type == TUNNEL_RESOURCE_DNS)
			r->want_flush = c->wake = true;
	}
}

/* Is a gateway of the site connected? */
static bool site_is_served(const struct tcl *c, const struct uuid *site)
{
	for (uint32_t i = tcl_gateway_next(c, TCL_NONE); i != TCL_NONE; i = tcl_gateway_next(c, i))
		if (c->mem.gateways[i].state == TCL_GATEWAY_ESTABLISHED &&
		    uuid_eq(&c->mem.gateways[i].site, site))
			return true;
	return false;
}

static void gateway_leave(struct tcl *c, uint32_t slot, uint64_t now)
{
	struct tcl_gateway *g = &c->mem.gateways[slot];

	if (g->state == TCL_GATEWAY_CONNECTING)
		recent_remove(c, &g->id);
	tcl_gateway_set_state(g, TCL_GATEWAY_LEAVING);
	if (!site_is_served(c, &g->site))
		tcl_site_set_status(c, tcl_find_site(c, &g->site), TCL_STATUS_UNKNOWN, now);
	if (c->mem.stub)
		dns_nat_gateway_gone(&c->nat, slot);
	g->removed = c->wake = c->resources_dirty = true;
}

static bool gateway_is_up(const struct tcl *c, uint32_t slot)
{
	const struct tcl_gateway *g = tcl_gateway_at(c, slot);

	return g && g->state != TCL_GATEWAY_LEAVING;
}

/* The resource was served until now: its next packet asks at once; one in a gap's time. */
static void excuse_intent(struct tcl_resource *r, uint64_t now)
{
	if (r->excused_ns && time_since(r->excused_ns, now) < TCL_INTENT_GAP_NS)
		return;
	r->excused_ns = now ? now : 1;
	r->intent_ns = 0;
}

void tcl_gateway_gone(struct tcl *c, uint32_t slot, uint64_t now)
{
	bool served;

	if (!gateway_is_up(c, slot))
		return;
	served = c->mem.gateways[slot].state == TCL_GATEWAY_ESTABLISHED;
	gateway_leave(c, slot, now);
	for (uint32_t i = 0; i < c->resource_high; i++) {
		struct tcl_resource *r = &c->mem.resources[i];

		if (!r->used || r->gateway != slot)
			continue;
		resource_unmap(c, r);
		if (served)
			excuse_intent(r, now);
	}
}

void tcl_reset(struct tcl *c, uint64_t now)
{
	for (uint32_t slot = 0; slot < c->gateway_high; slot++)
		if (gateway_is_up(c, slot))
			gateway_leave(c, slot, now);
	for (uint32_t i = 0; i < c->resource_high; i++) {
		struct tcl_resource *r = &c->mem.resources[i];

		r->gateway = TCL_NONE;
		r->want_flush = false;
		r->intent_ns = 0; /* the next packet asks at once */
	}
	c->recent_count = 0;
}

struct deadline tcl_deadline(const struct tcl *c)
{
	struct deadline d = deadline_never();

	for (uint32_t i = 0; i < c->site_high; i++) {
		const struct tcl_site *s = &c->mem.sites[i];
		struct deadline decay = {.at = time_add(s->since_ns, TCL_OFFLINE_DECAY_NS),
					 .why = "offline site becomes unknown"};

		if (s->users && s->status == TCL_STATUS_OFFLINE)
			d = deadline_min(d, decay);
	}
	return d;
}

void tcl_timeout(struct tcl *c, uint64_t now)
{
	for (uint32_t i = 0; i < c->site_high; i++) {
		const struct tcl_site *s = &c->mem.sites[i];

		if (s->users && s->status == TCL_STATUS_OFFLINE &&
		    time_since(s->since_ns, now) >= TCL_OFFLINE_DECAY_NS)
			tcl_site_set_status(c, i, TCL_STATUS_UNKNOWN, now);
	}
}

static enum tcl_event_kind gateway_event(struct tcl_gateway *g)
{
	bool *flags[] = {&g->added, &g->changed, &g->removed};
	static const enum tcl_event_kind kinds[] = {TCL_EVENT_PEER_ADDED, TCL_EVENT_PEER_CHANGED,
						    TCL_EVENT_PEER_REMOVED};

	for (size_t i = 0; i < 3; i++)
		if (*flags[i]) {
			*flags[i] = false;
			return kinds[i];
		}
	return TCL_EVENT_NONE;
}

static bool poll_gateways(struct tcl *c, struct tcl_event *out)
{
	for (uint32_t i = tcl_gateway_next(c, TCL_NONE); i != TCL_NONE;
	     i = tcl_gateway_next(c, i)) {
		struct tcl_gateway *g = &c->mem.gateways[i];

		out->kind = gateway_event(g);
		out->slot = i;
		out->id = g->id;
		if (out->kind == TCL_EVENT_PEER_REMOVED) {
			tcl_gateway_free(c, i);
		}
		if (out->kind)
			return true;
	}
	return false;
}

static bool poll_resources(struct tcl *c, struct tcl_event *out, enum tcl_event_kind kind)
{
	for (uint32_t i = tcl_resource_next(c, TCL_NONE); i != TCL_NONE;
	     i = tcl_resource_next(c, i)) {
		struct tcl_resource *r = &c->mem.resources[i];
		bool *flag = kind == TCL_EVENT_FLUSH ? &r->want_flush : &r->want_intent;

		if (!*flag)
			continue;
		*flag = false;
		*out = (struct tcl_event){
			.kind = kind, .slot = r->gateway, .resource = i, .id = r->r.id};
		if (kind == TCL_EVENT_INTENT) {
			out->connected = c->recent;
			out->connected_count = c->recent_count;
		}
		return true;
	}
	return false;
}

bool tcl_poll_event(struct tcl *c, struct tcl_event *out)
{
	*out = (struct tcl_event){.slot = TCL_NONE, .resource = TCL_NONE};
	if (!c->wake && !c->nat.wake)
		return false;
	if (poll_gateways(c, out) || tcl_dns_poll(c, out) ||
	    poll_resources(c, out, TCL_EVENT_FLUSH) || poll_resources(c, out, TCL_EVENT_INTENT))
		return true;
	*out = (struct tcl_event){.slot = TCL_NONE, .resource = TCL_NONE};
	if (c->routes_dirty) {
		c->routes_dirty = false;
		tcl_dns_cover(c);
		if (tcl_routes_update(c)) {
			out->kind = TCL_EVENT_ROUTES_CHANGED;
			return true;
		}
	}
	if (c->resources_dirty) {
		c->resources_dirty = false;
		out->kind = TCL_EVENT_RESOURCES_CHANGED;
		return true;
	}
	c->wake = false;
	return false;
}
