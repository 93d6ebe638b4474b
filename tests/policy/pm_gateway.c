/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's half of the model, what it is told: authorisations and names (spec tunnel §2.1,
 * §2.2, §2.6, §2.7). */
#include "tests/policy/pm.h"

bool pm_holds(const struct pm *m, const struct pm_grant *e)
{
	return e->live && e->expires > pw_unix(m->w);
}

/* ---- sessions, mappings, names: what ends with what ---- */
static void end_sessions(struct pm *m, struct pm_gateway *g, uint8_t c, const struct ipaddr *proxy)
{
	for (uint32_t i = 0; i < PM_SESSIONS; i++) {
		struct pm_session *s = &g->sessions[i];

		if (s->used && !s->dead_ns && s->c == c && ipaddr_eq(&s->proxy, proxy))
			s->dead_ns = m->w->now;
	}
}

struct pm_mapping *pm_mapping_of(struct pm_gateway *g, uint8_t c, const struct ipaddr *proxy)
{
	for (uint32_t i = 0; i < PM_ENTRIES * P2P_PROXIES_MAX; i++)
		if (g->mappings[i].used && g->mappings[i].c == c &&
		    ipaddr_eq(&g->mappings[i].proxy, proxy))
			return &g->mappings[i];
	return NULL;
}

int pm_listed(const struct pm_entry *e, const struct ipaddr *proxy)
{
	for (int k = 0; k < e->proxy_count; k++)
		if (ipaddr_eq(&e->proxies[k], proxy))
			return k;
	return -1;
}

static void entry_lose(struct pm *m, struct pm_gateway *g, struct pm_entry *e, int k)
{
	struct ipaddr proxy = e->proxies[k];
	struct pm_mapping *map = pm_mapping_of(g, e->c, &proxy);

	e->proxy_count--;
	memmove(&e->proxies[k], &e->proxies[k + 1],
		(size_t)(e->proxy_count - k) * sizeof(e->proxies[0]));
	for (uint32_t i = 0; i < PM_ENTRIES; i++)
		if (g->entries[i].used && g->entries[i].c == e->c &&
		    pm_listed(&g->entries[i], &proxy) >= 0)
			return; /* of the same name, for another resource */
	if (map)
		map->used = false;
	end_sessions(m, g, e->c, &proxy);
}

static void entry_end(struct pm *m, struct pm_gateway *g, struct pm_entry *e)
{
	while (e->proxy_count)
		entry_lose(m, g, e, e->proxy_count - 1);
	*e = (struct pm_entry){0};
}

static void grant_end(struct pm *m, struct pm_gateway *g, struct pm_grant *e)
{
	e->live = false;
	for (uint32_t i = 0; i < PM_ENTRIES; i++)
		if (g->entries[i].used && g->entries[i].c == e->c && g->entries[i].r == e->def.r)
			entry_end(m, g, &g->entries[i]);
}

/* ---- messages ---- */
struct pm_grant *pm_grant_of(struct pm_gateway *g, uint8_t c, uint8_t r)
{
	for (uint32_t i = 0; i < PM_GRANTS; i++)
		if (g->grants[i].live && g->grants[i].c == c && g->grants[i].def.r == r)
			return &g->grants[i];
	return NULL;
}

static bool same_target(const struct pw_resource *a, const struct pw_resource *b)
{
	return a->type == b->type && !strcmp(a->address, b->address);
}

static void take_filters(struct pw_resource *to, const struct pw_resource *from)
{
	to->filter_count = from->filter_count;
	memcpy(to->filters, from->filters, sizeof(to->filters));
}

static void authorize(struct pm *m, struct pm_gateway *g, const struct pw_msg *msg)
{
	const struct pw_resource *def = &msg->res[0];
	struct pm_grant *e = pm_grant_of(g, msg->c, def->r);

	if (e && !same_target(&e->def, def)) {
		grant_end(m, g, e);
		e = NULL;
	}
	for (uint32_t i = 0; !e && i < PM_GRANTS; i++)
		if (!g->grants[i].live)
			e = &g->grants[i];
	if (!T(e != NULL))
		return;
	*e = (struct pm_grant){.live = true, .c = msg->c, .expires = msg->expires, .def = *def};
	for (uint32_t i = 0; i < PM_GRANTS; i++)
		if (g->grants[i].live && g->grants[i].def.r == def->r &&
		    same_target(&g->grants[i].def, def))
			take_filters(&g->grants[i].def, def);
}

static void retain(struct pm *m, struct pm_gateway *g, const struct pw_msg *msg)
{
	for (uint32_t i = 0; i < PM_GRANTS; i++) {
		struct pm_grant *e = &g->grants[i];
		bool kept = false;

		for (uint8_t k = 0; k < msg->grant_count; k++) {
			const struct pw_grant *l = &msg->grants[k];

			if (l->c != e->c || l->r != e->def.r)
				continue;
			kept = true;
			if (l->expires != TUNNEL_NEVER_EXPIRES)
				e->expires = l->expires;
		}
		if (e->live && !kept)
			grant_end(m, g, e);
	}
}

void pm_gateway_message(struct pm *m, uint8_t number, const struct pw_msg *msg)
{
	struct pm_gateway *g = &m->gateway[number];
	struct pm_grant *e = pm_grant_of(g, msg->c, msg->r);

	switch (msg->kind) {
	case PW_GATEWAY_INIT:
		retain(m, g, msg);
		break;
	case PW_AUTHORIZE:
		authorize(m, g, msg);
		break;
	case PW_REJECT:
		if (e)
			grant_end(m, g, e);
		break;
	case PW_EXPIRY:
		if (e)
			e->expires = msg->expires;
		break;
	case PW_RESOURCE_UPDATED:
		for (uint32_t i = 0; i < PM_GRANTS; i++)
			if (g->grants[i].live && g->grants[i].def.r == msg->r &&
			    g->grants[i].def.type == msg->res[0].type)
				take_filters(&g->grants[i].def, &msg->res[0]);
		break;
	case PW_MSG_NONE:
	case PW_CLIENT_INIT:
	case PW_RESOURCE_SET:
	case PW_RESOURCE_DEL:
	case PW_FLOW_CREATED:
	case PW_FLOW_FAILED:
		break;
	}
}

void pm_gateway_restart(struct pm *m, uint8_t g)
{
	memset(&m->gateway[g], 0, sizeof(m->gateway[g]));
}

void pm_gateway_sweep(struct pm *m, uint8_t number)
{
	struct pm_gateway *g = &m->gateway[number];

	for (uint32_t i = 0; i < PM_GRANTS; i++)
		if (g->grants[i].live && g->grants[i].expires <= pw_unix(m->w))
			grant_end(m, g, &g->grants[i]);
}

/* ---- names ---- */
static int compare(const struct ipaddr *a, const struct ipaddr *b)
{
	return a->family != b->family ? a->family - b->family : memcmp(a->b, b->b, sizeof(a->b));
}

/* Ascending, without doubles. */
static uint8_t sorted(const struct ipaddr *in, uint32_t n, struct ipaddr *out, uint8_t cap)
{
	uint8_t count = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t at = 0;

		while (at < count && compare(&out[at], &in[i]) < 0)
			at++;
		if ((at < count && !compare(&out[at], &in[i])) || count == cap)
			continue;
		memmove(&out[at + 1], &out[at], (size_t)(count - at) * sizeof(*out));
		out[at] = in[i];
		count++;
	}
	return count;
}

static struct pm_entry *entry_of(struct pm_gateway *g, uint8_t c, uint8_t r, const char *domain)
{
	for (uint32_t i = 0; i < PM_ENTRIES; i++) {
		struct pm_entry *e = &g->entries[i];

		if (e->used && e->c == c && e->r == r && !strcasecmp(e->domain, domain))
			return e;
	}
	return NULL;
}

static void take_proxies(struct pm *m, struct pm_gateway *g, struct pm_entry *mine,
			 const struct ipaddr *list, uint8_t count)
{
	struct pm_entry keep = {.proxy_count = count};

	memcpy(keep.proxies, list, count * sizeof(*list));
	for (int k = mine->proxy_count; k-- > 0;)
		if (pm_listed(&keep, &mine->proxies[k]) < 0)
			entry_lose(m, g, mine, k);
	for (uint32_t i = 0; i < PM_ENTRIES; i++) {
		struct pm_entry *e = &g->entries[i];

		if (!e->used || e == mine || e->c != mine->c ||
		    !strcasecmp(e->domain, mine->domain))
			continue;
		for (int k = e->proxy_count; k-- > 0;)
			if (pm_listed(&keep, &e->proxies[k]) >= 0)
				entry_lose(m, g, e, k);
		if (!e->proxy_count)
			entry_end(m, g, e);
	}
	mine->proxy_count = count;
	memcpy(mine->proxies, list, count * sizeof(*list));
}

bool pm_gateway_assigned(struct pm *m, uint8_t number, uint8_t c, const struct p2p_assigned_ips *a)
{
	struct pm_gateway *g = &m->gateway[number];
	uint8_t r = a->resource.b[15] % PW_RESOURCES, count;
	struct pm_grant *grant = pm_grant_of(g, c, r);
	struct ipaddr list[P2P_PROXIES_MAX];
	struct pm_entry *e;

	for (uint8_t k = 0; k < a->count; k++)
		if (!pm_proxy_range(&a->ips[k]))
			return false;
	count = sorted(a->ips, a->count, list, P2P_PROXIES_MAX);
	if (!grant || !pm_holds(m, grant) || grant->def.type != TUNNEL_RESOURCE_DNS || !count ||
	    !pm_pattern_match(grant->def.address, a->domain))
		return false;
	e = entry_of(g, c, r, a->domain);
	for (uint32_t i = 0; !e && i < PM_ENTRIES; i++)
		if (!g->entries[i].used)
			e = &g->entries[i];
	if (!T(e != NULL))
		return false;
	if (!e->used)
		*e = (struct pm_entry){.used = true, .c = c, .r = r};
	memcpy(e->domain, a->domain, sizeof(e->domain));
	take_proxies(m, g, e, list, count);
	if (e->question)
		return false; /* its answer will do */
	e->question = UINT32_MAX;
	return true;
}

void pm_gateway_asked(struct pm *m, uint8_t number, const struct pw_question *q)
{
	struct pm_gateway *g = &m->gateway[number];

	for (uint32_t i = 0; i < PM_ENTRIES; i++) {
		struct pm_entry *e = &g->entries[i];

		if (e->used && e->question == UINT32_MAX && !strcasecmp(e->domain, q->name)) {
			e->question = q->id;
			return;
		}
	}
	m->unexpected++;
}

static bool usable(const struct ipaddr *a)
{
	static const char *const none[] = {"127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4",
					   "0.0.0.0/32",  "::1/128",	    "::/128",
					   "fe80::/10",	  "ff00::/8",	    "::ffff:0:0/96"};

	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		if (pm_in(none[i], a))
			return false;
	return !pm_reserved(a);
}

/* The family's proxy addresses get the real ones in turn; none, if there are none. */
static void deal(struct pm_gateway *g, const struct pm_entry *e, uint8_t family)
{
	struct ipaddr reals[PW_ADDRS];
	uint8_t n = 0, at = 0;

	for (uint8_t k = 0; k < e->real_count; k++)
		if (e->reals[k].family == family)
			reals[n++] = e->reals[k];
	for (uint8_t k = 0; k < e->proxy_count; k++) {
		struct pm_mapping *map = pm_mapping_of(g, e->c, &e->proxies[k]);

		if (e->proxies[k].family != family)
			continue;
		for (uint32_t i = 0; !map; i++)
			if (!g->mappings[i].used)
				map = &g->mappings[i];
		*map = (struct pm_mapping){.used = true, .c = e->c, .proxy = e->proxies[k]};
		if (n)
			map->real = reals[at++ % n];
	}
}

void pm_gateway_resolved(struct pm *m, uint8_t number, uint32_t question,
			 const struct ipaddr *addrs, uint32_t n)
{
	struct pm_gateway *g = &m->gateway[number];
	struct ipaddr good[PW_ADDRS];
	uint32_t count = 0;

	for (uint32_t k = 0; k < n && k < PW_ADDRS; k++)
		if (usable(&addrs[k]))
			good[count++] = addrs[k];
	for (uint32_t i = 0; i < PM_ENTRIES; i++) {
		struct pm_entry *e = &g->entries[i];

		if (!e->used || e->question != question)
			continue;
		e->question = 0;
		e->real_count = sorted(good, count, e->reals, PW_ADDRS);
		deal(g, e, 4);
		deal(g, e, 6);
	}
}
