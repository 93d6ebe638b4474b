/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal of the policy world: what is permitted, whom it concerns, and messages as JSON through
 * the codec the daemons use. */
#include <errno.h>
#include <stdio.h>
#include "base/b64.h"
#include "tests/policy/pw.h"

enum { GRANTS = PW_CLIENTS * PW_GATEWAYS * PW_RESOURCES };

struct uuid pw_resource_id(uint8_t r)
{
	return (struct uuid){.b = {0x5e, [15] = r}};
}

/* ---- JSON ---- */
static char text[65536];
static size_t text_len;

static __attribute__((format(printf, 1, 2))) void put(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text + text_len, sizeof(text) - text_len, fmt, ap);
	va_end(ap);
	text_len += n > 0 ? (size_t)n : 0;
	T(text_len < sizeof(text));
}

static void put_id(const char *key, const struct uuid *id)
{
	char s[UUID_STRLEN];

	put("\"%s\":\"%s\"", key, uuid_fmt(id, s));
}

static void put_resource(const struct pw_resource *r, bool client)
{
	static const char *const types[] = {[TUNNEL_RESOURCE_CIDR] = "cidr",
					    [TUNNEL_RESOURCE_INTERNET] = "internet",
					    [TUNNEL_RESOURCE_DNS] = "dns"};
	static const char *const stacks[] = {[DNS_STACK_DUAL] = "dual",
					     [DNS_STACK_V4] = "ipv4_only",
					     [DNS_STACK_V6] = "ipv6_only"};
	struct uuid id = pw_resource_id(r->r);
	const char *comma = "";

	put("{");
	put_id("id", &id);
	put(",\"type\":\"%s\",\"name\":\"r%u\"", types[r->type], r->r);
	if (r->type != TUNNEL_RESOURCE_INTERNET)
		put(",\"address\":\"%s\"", r->address);
	if (client) {
		put(",\"address_description\":null,\"gateway_groups\":[");
		for (uint8_t s = 0; s < PW_SITES; s++) {
			struct uuid site = {.b = {0x51, [15] = s}};

			if (!(r->sites & 1u << s))
				continue;
			put("%s{", comma);
			put_id("id", &site);
			put(",\"name\":\"s%u\"}", s);
			comma = ",";
		}
		put("]");
		if (r->type == TUNNEL_RESOURCE_DNS)
			put(",\"ip_stack\":\"%s\"", stacks[r->stack]);
	} else if (r->type != TUNNEL_RESOURCE_INTERNET) {
		put(",\"filters\":[");
		for (uint8_t i = 0; i < r->filter_count; i++) {
			const struct pw_filter *f = &r->filters[i];

			if (f->proto == IP_PROTO_ICMP)
				put("%s{\"protocol\":\"icmp\"}", comma);
			else
				put("%s{\"protocol\":\"%s\",\"port_range_start\":%u,"
				    "\"port_range_end\":%u}",
				    comma, f->proto == IP_PROTO_TCP ? "tcp" : "udp", f->first,
				    f->last);
			comma = ",";
		}
		put("]");
	}
	put("}");
}

static void put_addresses(const struct pw_node *n, const char *prefix)
{
	char v4[IPADDR_STRLEN], v6[IPADDR_STRLEN];

	put("\"%sipv4\":\"%s\",\"%sipv6\":\"%s\"", prefix, ipaddr_fmt(&n->tun4, v4), prefix,
	    ipaddr_fmt(&n->tun6, v6));
}

/* Keys differ with every life of their node, and are worth nothing. */
static void put_key(const char *name, uint8_t a, uint8_t b, uint8_t c)
{
	uint8_t key[32] = {a, b, c, [31] = 0x40};
	char s[B64_KEY_STRLEN];

	put("\"%s\":\"%s\"", name, b64_encode(key, sizeof(key), s));
}

static void put_creds(const struct pw_node *c, const struct pw_node *g)
{
	for (int i = 0; i < 2; i++)
		put(",\"%s_ice_credentials\":{\"username\":\"u%d%02x%02x%02x%02x\","
		    "\"password\":\"p%021d\"}",
		    i ? "gateway" : "client", i, c->number, c->life, g->number, g->life, i);
}

static void put_init(const struct pw_node *n, const struct pw_msg *m)
{
	put("{\"interface\":{");
	put_addresses(n, "");
	if (!n->gateway)
		put(",\"upstream_dns\":[{\"protocol\":\"ip_port\",\"address\":\"198.51.100.53:53\"}"
		    "],\"search_domain\":null},\"resources\":[");
	else
		put("},\"config\":{\"ipv4_masquerade_enabled\":true,\"ipv6_masquerade_enabled\":"
		    "true},\"account_slug\":\"a\",\"authorizations\":[");
	for (uint8_t i = 0; !n->gateway && i < m->count; i++) {
		put("%s", i ? "," : "");
		put_resource(&m->res[i], true);
	}
	for (uint8_t i = 0; n->gateway && i < m->grant_count; i++) {
		struct uuid c = n->w->node[m->grants[i].c].id, r = pw_resource_id(m->grants[i].r);

		put("%s{", i ? "," : "");
		put_id("client_id", &c);
		put(",");
		put_id("resource_id", &r);
		if (m->grants[i].expires != TUNNEL_NEVER_EXPIRES)
			put(",\"expires_at\":%llu", (unsigned long long)m->grants[i].expires);
		put("}");
	}
	put("],\"relays\":[]}");
}

static void put_authorize(const struct pw_world *w, const struct pw_node *g, const struct pw_msg *m)
{
	const struct pw_node *c = &w->node[m->c];

	put("{\"ref\":\"%u,%u,%u\",\"resource\":", m->c, m->r, g->number);
	put_resource(&m->res[0], false);
	put(",\"client\":{");
	put_id("id", &c->id);
	put(",");
	put_key("public_key", 0xc, c->number, c->life);
	put(",");
	put_key("preshared_key", (uint8_t)(c->life + 1), g->life,
		(uint8_t)(g->number << 4 | c->number));
	put(",");
	put_addresses(c, "");
	put("}");
	put_creds(c, g);
	if (m->expires == TUNNEL_NEVER_EXPIRES)
		put(",\"expires_at\":null}");
	else
		put(",\"expires_at\":%llu}", (unsigned long long)m->expires);
}

static void put_flow_created(const struct pw_world *w, const struct pw_node *c,
			     const struct pw_msg *m)
{
	const struct pw_node *g = &w->node[pw_gw(w, m->g)];
	struct uuid r = pw_resource_id(m->r),
		    site = {.b = {0x51, [15] = (uint8_t)(m->g % w->cfg.sites)}};

	put("{");
	put_id("resource_id", &r);
	put(",");
	put_id("gateway_id", &g->id);
	put(",");
	put_id("gateway_group_id", &site);
	put(",");
	put_key("gateway_public_key", 0x9, g->number, g->life);
	put(",");
	put_key("preshared_key", (uint8_t)(c->life + 1), g->life,
		(uint8_t)(g->number << 4 | c->number));
	put(",");
	put_addresses(g, "gateway_");
	put_creds(c, g);
	put("}");
}

static void put_access(const struct pw_world *w, const struct pw_msg *m, bool expiry)
{
	struct uuid r = pw_resource_id(m->r);

	put("{");
	put_id("client_id", &w->node[m->c].id);
	put(",");
	put_id("resource_id", &r);
	if (expiry)
		put(",\"expires_at\":%llu", (unsigned long long)m->expires);
	put("}");
}

static const char *encode(const struct pw_node *n, const struct pw_msg *m)
{
	struct uuid r = pw_resource_id(m->r);

	text_len = 0;
	switch (m->kind) {
	case PW_CLIENT_INIT:
	case PW_GATEWAY_INIT:
		put_init(n, m);
		return "init";
	case PW_RESOURCE_SET:
		put_resource(&m->res[0], true);
		return "resource_created_or_updated";
	case PW_RESOURCE_DEL:
		put("\"%s\"", uuid_fmt(&r, (char[UUID_STRLEN]){0}));
		return "resource_deleted";
	case PW_FLOW_CREATED:
		put_flow_created(n->w, n, m);
		return "flow_created";
	case PW_FLOW_FAILED:
		put("{");
		put_id("resource_id", &r);
		put(",\"reason\":\"offline\",\"violated_properties\":[]}");
		return "flow_creation_failed";
	case PW_AUTHORIZE:
		put_authorize(n->w, n, m);
		return "authorize_flow";
	case PW_REJECT:
		put_access(n->w, m, false);
		return "reject_access";
	case PW_EXPIRY:
		put_access(n->w, m, true);
		return "access_authorization_expiry_updated";
	case PW_RESOURCE_UPDATED:
		put_resource(&m->res[0], false);
		return "resource_updated";
	case PW_MSG_NONE:
		break;
	}
	return "";
}

int pw_say_json(struct pw_world *w, uint8_t node, const char *event, const char *payload)
{
	struct pw_node *n = &w->node[node];
	json_t *o = json_loads(payload, JSON_DECODE_ANY, NULL);
	struct pmsg_err err = {0};
	struct pmsg decoded;
	int rc;

	w->n.messages++;
	rc = o ? pmsg_decode(&decoded, n->d->role->pmsg, event, o, &err) : -EINVAL;
	if (!rc) {
		n->d->role->message(n->d, &decoded, w->now);
		pmsg_fini(&decoded);
		pw_rest(n);
	} else {
		t_note("%s %s: %s %s", event, payload, err.field, err.why ? err.why : "");
	}
	json_decref(o);
	pw_settle(w);
	return rc;
}

void pw_say(struct pw_world *w, uint8_t node, const struct pw_msg *m)
{
	const char *event = encode(&w->node[node], m);

	if (w->cfg.hooks.message)
		w->cfg.hooks.message(w->cfg.hooks.ctx, node, m);
	T_EQ(pw_say_json(w, node, event, text), 0);
}

/* ---- inboxes ---- */
static void tell(struct pw_world *w, uint8_t node, const struct pw_msg *m)
{
	struct pw_node *n = &w->node[node];

	if (n->portal && T(n->inbox_count < PW_INBOX))
		n->inbox[n->inbox_count++] = *m;
}

void pw_deliver(struct pw_world *w, uint8_t node, uint32_t count)
{
	struct pw_node *n = &w->node[node];
	struct pw_msg m;

	while (n->running && count-- && n->inbox_count) {
		m = n->inbox[0];
		memmove(n->inbox, n->inbox + 1, --n->inbox_count * sizeof(m));
		pw_say(w, node, &m);
	}
	pw_settle(w);
}

void pw_portal_cut(struct pw_world *w, uint8_t node)
{
	w->node[node].portal = false;
	w->node[node].inbox_count = 0;
}

void pw_portal_join(struct pw_world *w, uint8_t node)
{
	struct pw_node *n = &w->node[node];
	bool told[PW_RESOURCES] = {0};
	struct pw_msg m = {0};

	pw_portal_cut(w, node);
	n->portal = true;
	if (!n->gateway) {
		m.kind = PW_CLIENT_INIT;
		m.c = n->number;
		for (uint8_t r = 0; r < PW_RESOURCES; r++)
			if (w->res[r].used && w->may[m.c][r])
				m.res[m.count++] = w->res[r];
		tell(w, node, &m);
		pw_settle(w);
		return;
	}
	m.kind = PW_GATEWAY_INIT;
	m.g = n->number;
	for (uint32_t i = 0; i < GRANTS; i++)
		if (w->grants[i].used && w->grants[i].g == m.g)
			m.grants[m.grant_count++] = w->grants[i];
	tell(w, node, &m);
	for (uint8_t i = 0; i < m.grant_count; i++) {
		struct pw_msg update = {
			.kind = PW_RESOURCE_UPDATED, .r = m.grants[i].r, .count = 1};

		update.res[0] = w->res[update.r];
		if (!told[update.r])
			tell(w, node, &update);
		told[update.r] = true;
	}
	pw_settle(w);
}

/* ---- truth ---- */
static void revoke_grant(struct pw_world *w, struct pw_grant *g)
{
	struct pw_msg m = {.kind = PW_REJECT, .c = g->c, .g = g->g, .r = g->r};

	g->used = false;
	tell(w, pw_gw(w, g->g), &m);
}

static bool same_filters(const struct pw_resource *a, const struct pw_resource *b)
{
	bool same = a->filter_count == b->filter_count;

	for (uint8_t i = 0; same && i < a->filter_count; i++)
		same = a->filters[i].proto == b->filters[i].proto &&
		       a->filters[i].first == b->filters[i].first &&
		       a->filters[i].last == b->filters[i].last;
	return same;
}

void pw_resource_put(struct pw_world *w, const struct pw_resource *def)
{
	struct pw_resource old = w->res[def->r];
	struct pw_msg m = {.kind = PW_RESOURCE_UPDATED, .r = def->r, .count = 1};
	bool other = !old.used || old.type != def->type || strcmp(old.address, def->address) != 0;
	uint8_t told = 0;

	w->res[def->r] = *def;
	w->res[def->r].used = true;
	m.res[0] = w->res[def->r];
	for (uint32_t i = 0; i < GRANTS; i++) {
		struct pw_grant *g = &w->grants[i];

		if (!g->used || g->r != def->r)
			continue;
		if (other || !(def->sites & 1u << (g->g % w->cfg.sites)))
			revoke_grant(w, g);
		else if (!same_filters(&old, def) && !(told & 1u << g->g)) {
			told |= (uint8_t)(1u << g->g);
			tell(w, pw_gw(w, g->g), &m);
		}
	}
	m.kind = PW_RESOURCE_SET;
	for (uint8_t c = 0; c < w->cfg.clients; c++)
		if (w->may[c][def->r])
			tell(w, c, &m);
	pw_settle(w);
}

void pw_resource_del(struct pw_world *w, uint8_t r)
{
	struct pw_msg m = {.kind = PW_RESOURCE_DEL, .r = r};

	for (uint32_t i = 0; i < GRANTS; i++)
		if (w->grants[i].used && w->grants[i].r == r)
			revoke_grant(w, &w->grants[i]);
	for (uint8_t c = 0; c < w->cfg.clients && w->res[r].used; c++)
		if (w->may[c][r])
			tell(w, c, &m);
	w->res[r].used = false;
	pw_settle(w);
}

void pw_policy_set(struct pw_world *w, uint8_t c, uint8_t r, bool may, uint64_t until)
{
	struct pw_msg m = {
		.kind = may ? PW_RESOURCE_SET : PW_RESOURCE_DEL, .c = c, .r = r, .count = 1};
	bool was = w->may[c][r];

	w->may[c][r] = may;
	w->until[c][r] = until;
	m.res[0] = w->res[r];
	for (uint32_t i = 0; i < GRANTS; i++) {
		struct pw_grant *g = &w->grants[i];

		if (!g->used || g->c != c || g->r != r)
			continue;
		if (!may || (until == TUNNEL_NEVER_EXPIRES && g->expires != until)) {
			revoke_grant(w, g); /* without an end: it is asked for anew */
		} else if (g->expires != until) {
			struct pw_msg e = {
				.kind = PW_EXPIRY, .c = c, .g = g->g, .r = r, .expires = until};

			g->expires = until;
			tell(w, pw_gw(w, g->g), &e);
		}
	}
	if (was != may && w->res[r].used)
		tell(w, c, &m);
	pw_settle(w);
}

/* ---- intents ---- */
static void take_intent(struct pw_node *n, const char *payload)
{
	struct pw_world *w = n->w;
	json_t *o = json_loads(payload, 0, NULL), *id,
	       *list = json_object_get(o, "connected_gateway_ids");
	struct pw_intent *in;
	struct uuid u;
	size_t i;

	if (w->intent_count == PW_INTENTS)
		pw_drop_intent(w, 0);
	in = &w->intents[w->intent_count++];
	*in = (struct pw_intent){.c = n->number};
	if (T_EQ(uuid_parse(json_string_value(json_object_get(o, "resource_id")), &u), 0))
		in->r = u.b[15];
	json_array_foreach(list, i, id) if (T_EQ(uuid_parse(json_string_value(id), &u), 0))
		in->connected |= (uint8_t)(1u << u.b[15]);
	json_decref(o);
}

static void take_authorized(struct pw_node *n, const char *payload)
{
	json_t *o = json_loads(payload, 0, NULL);
	const char *ref = json_string_value(json_object_get(o, "ref"));
	struct pw_msg m = {.kind = PW_FLOW_CREATED};
	unsigned c, r, g;

	if (T(ref && sscanf(ref, "%u,%u,%u", &c, &r, &g) == 3)) {
		m.c = (uint8_t)c;
		m.r = (uint8_t)r;
		m.g = (uint8_t)g;
		tell(n->w, m.c, &m);
	}
	json_decref(o);
}

void pw_portal_heard(struct pw_node *n, const char *event, const char *payload)
{
	if (!n->portal)
		return;
	if (n->w->cfg.hooks.heard)
		n->w->cfg.hooks.heard(n->w->cfg.hooks.ctx, n->index, event, payload);
	if (!strcmp(event, PMSG_EV_CREATE_FLOW))
		take_intent(n, payload);
	else if (!strcmp(event, PMSG_EV_FLOW_AUTHORIZED))
		take_authorized(n, payload);
}

void pw_drop_intent(struct pw_world *w, uint32_t i)
{
	w->intent_count--;
	memmove(&w->intents[i], &w->intents[i + 1], (w->intent_count - i) * sizeof(*w->intents));
}

static uint8_t choose_gateway(struct pw_world *w, const struct pw_resource *r, uint8_t connected)
{
	uint8_t list[PW_GATEWAYS], n = 0, near = 0;

	for (uint8_t g = 0; g < w->cfg.gateways; g++)
		if (r->sites & 1u << (g % w->cfg.sites) && w->node[pw_gw(w, g)].portal) {
			list[n++] = g;
			near |= (uint8_t)(1u << g);
		}
	for (uint8_t i = 0; near & connected && i < n;)
		if (connected & 1u << list[i])
			i++;
		else
			list[i] = list[--n];
	return n ? list[t_rand(&w->rnd) % n] : PW_NONE;
}

static void grant(struct pw_world *w, uint8_t c, uint8_t g, uint8_t r)
{
	struct pw_msg m = {.kind = PW_AUTHORIZE,
			   .c = c,
			   .g = g,
			   .r = r,
			   .expires = w->until[c][r],
			   .count = 1};
	struct pw_grant *at = NULL;

	m.res[0] = w->res[r];
	for (uint32_t i = GRANTS; i-- > 0;)
		if (!w->grants[i].used && (!at || at->used == false))
			at = &w->grants[i];
	for (uint32_t i = 0; i < GRANTS; i++)
		if (w->grants[i].used && w->grants[i].c == c && w->grants[i].g == g &&
		    w->grants[i].r == r)
			at = &w->grants[i];
	if (!T(at != NULL))
		return;
	*at = (struct pw_grant){.used = true, .c = c, .g = g, .r = r, .expires = m.expires};
	tell(w, pw_gw(w, g), &m);
}

void pw_answer_intent(struct pw_world *w, uint32_t i)
{
	struct pw_intent in = w->intents[i];
	struct pw_msg failed = {.kind = PW_FLOW_FAILED, .c = in.c, .r = in.r};
	uint8_t g;

	pw_drop_intent(w, i);
	if (!w->res[in.r].used || !w->may[in.c][in.r] || w->until[in.c][in.r] <= pw_unix(w))
		return;
	g = choose_gateway(w, &w->res[in.r], in.connected);
	if (g == PW_NONE)
		tell(w, in.c, &failed);
	else
		grant(w, in.c, g, in.r);
	pw_settle(w);
}
