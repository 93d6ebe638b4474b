/* SPDX-License-Identifier: Apache-2.0
 *
 * Property: whatever the configuration becomes, and whoever comes and goes, everybody believes what
 * a fresh start would tell them. Two clients and two gateways only listen to what they are pushed;
 * after every step their beliefs are compared with the init a twin device gets, and with what the
 * portal has authorised. */
#include "apps/portal/render.h"
#include "base/log.h"
#include "tests/unit/portal_fixture.h"

#define SLOTS 6
#define STEPS 4000

/* ---- a configuration made of small numbers ---- */
struct slot {
	bool present;
	unsigned type, address, stack, sites, filters, name, policy;
	uint64_t expires_at;
};

static struct {
	struct slot slot[SLOTS];
	unsigned dns;
	bool no_bob, other_site;
} world;

static uint64_t seed;

static unsigned pick(unsigned n)
{
	return (unsigned)(t_rand(&seed) % n);
}

static size_t put(char *buf, size_t cap, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static size_t put(char *buf, size_t cap, size_t at, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf + at, cap - at, fmt, ap);
	va_end(ap);
	return at + (size_t)n;
}

static void slot_text(const struct slot *s, unsigned i, char *buf, size_t cap)
{
	static const char *const stacks[] = {"dual", "ipv4_only", "ipv6_only"};
	static const char *const sites[] = {"'site':'a'", "'site':'b'", "'sites':['a','b']"};
	static const char *const filters[] = {
		"[]", "[{'protocol':'icmp'}]",
		"[{'protocol':'tcp','port_range_start':80,'port_range_end':90}]"};
	static const char *const names[] = {"app", "*.app", "**.app"};
	size_t n = put(buf, cap, 0, "{'name':'r%u.%u','id':'5f1c0000-0000-4000-8000-%012u',%s", i,
		       s->name, i, sites[s->sites]);

	if (i == 0) { /* there is one internet, and it is this or nothing */
		put(buf, cap, n, ",'type':'internet'}");
		return;
	}
	n = put(buf, cap, n, ",'filters':%s,'address_description':'%u'", filters[s->filters],
		s->name / 2);
	if (s->type)
		put(buf, cap, n, ",'type':'dns','address':'%s.r%u','ip_stack':'%s'}",
		    names[s->address], i, stacks[s->stack]);
	else
		put(buf, cap, n, ",'type':'cidr','address':'10.%u.%u.0/24'}", i, s->address);
}

static void policies_text(const struct slot *s, unsigned i, char *buf, size_t cap)
{
	size_t n = 0;

	buf[0] = '\0';
	if (s->policy & 1)
		n = put(buf, cap, n, ",{'group':'staff','resource':'r%u.%u'}", i, s->name);
	if (s->policy & 2)
		n = put(buf, cap, n, ",{'actor':'bob','resource':'r%u.%u','enabled':%s}", i,
			s->name, s->policy & 8 ? "false" : "true");
	if (s->policy & 4)
		put(buf, cap, n, ",{'actor':'alice','resource':'r%u.%u','expires_at':%llu}", i,
		    s->name, (unsigned long long)s->expires_at);
}

static struct config *world_config(void)
{
	static char resources[4096], policies[4096];
	char one[512], dns[128];
	size_t rn = 0, pn = 0;

	resources[0] = policies[0] = '\0';
	for (unsigned i = 0; i < SLOTS; i++) {
		if (!world.slot[i].present)
			continue;
		slot_text(&world.slot[i], i, one, sizeof(one));
		rn = put(resources, sizeof(resources), rn, "%s%s", rn ? "," : "", one);
		policies_text(&world.slot[i], i, one, sizeof(one));
		pn = put(policies, sizeof(policies), pn, "%s", one[0] ? one + !pn : "");
	}
	snprintf(dns, sizeof(dns), "{'upstream':['192.0.2.%u'],'search_domain':%s}", world.dns / 2,
		 world.dns % 2 ? "'corp.example'" : "null");
	return fx_config(&(struct fx_config){.resources = resources,
					     .policies = policies,
					     .dns = dns,
					     .bob = world.no_bob ? "" : NULL,
					     .gateway_site = world.other_site ? "b" : "a"});
}

static void world_mutate(void)
{
	struct slot *s = &world.slot[pick(SLOTS)];

	switch (pick(15)) {
	case 0:
	case 1:
		s->present = !s->present;
		break;
	case 2:
		s->type = !s->type;
		break;
	case 3:
		s->address = pick(3);
		break;
	case 4:
		s->stack = pick(3);
		break;
	case 5:
		s->sites = pick(3);
		break;
	case 6:
	case 13:
		s->filters = pick(3);
		break;
	case 7:
		s->name = pick(4);
		break;
	case 8:
	case 9:
		s->policy = pick(16);
		break;
	case 10:
		s->expires_at = fx_wall + pick(60);
		break;
	case 11:
		world.dns = pick(6);
		break;
	default:
		if (pick(2))
			world.no_bob = !world.no_bob;
		else
			world.other_site = !world.other_site;
	}
}

/* ---- those who listen ---- */
struct client {
	const char *token, *name;
	uint64_t session;  /* 0: not here */
	json_t *resources; /* id → view */
	json_t *interface;
	json_t *routes; /* resource id → gateway id */
};

struct gateway {
	const char *token, *name;
	uint64_t session;
	json_t *access; /* "client resource" → {"expires_at", "resource"}; survives reconnects */
};

static struct client clients[] = {{.token = TOK_A, .name = "a"}, {.token = TOK_B, .name = "b"}};
static struct gateway gateways[] = {{.token = TOK_G, .name = "g"}, {.token = TOK_G2, .name = "h"}};
static unsigned answers; /* in 8: how often a gateway confirms */
static unsigned long pushes, made, failures;

static void on_interface(struct client *c, json_t *payload)
{
	json_decref(c->interface);
	c->interface = json_incref(json_object_get(payload, "interface"));
}

static bool same_key(const json_t *a, const json_t *b, const char *key)
{
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

	return (!x && !y) || json_equal(x, y);
}

static void on_resource(struct client *c, json_t *view)
{
	const char *id = json_string_value(json_object_get(view, "id"));
	const json_t *was = json_object_get(c->resources, id);

	if (was && !(same_key(was, view, "type") && same_key(was, view, "address") &&
		     same_key(was, view, "ip_stack")))
		json_object_del(c->routes, id);
	T(!was || !json_equal(was, view)); /* nothing is told twice */
	json_object_set(c->resources, id, view);
}

static void client_hears(struct client *c, const char *event, json_t *payload)
{
	size_t i;
	json_t *v;

	if (!strcmp(event, "init")) {
		on_interface(c, payload);
		json_object_clear(c->resources);
		json_object_clear(c->routes);
		json_array_foreach(json_object_get(payload, "resources"), i, v) json_object_set(
			c->resources, json_string_value(json_object_get(v, "id")), v);
	} else if (!strcmp(event, "config_changed")) {
		on_interface(c, payload);
	} else if (!strcmp(event, "resource_created_or_updated")) {
		on_resource(c, payload);
	} else if (!strcmp(event, "resource_deleted")) {
		T(json_object_get(c->resources, json_string_value(payload)) != NULL);
		json_object_del(c->resources, json_string_value(payload));
		json_object_del(c->routes, json_string_value(payload));
	} else if (!strcmp(event, "flow_created")) {
		made++;
		json_object_set(c->routes,
				json_string_value(json_object_get(payload, "resource_id")),
				json_object_get(payload, "gateway_id"));
	} else if (!strcmp(event, "flow_creation_failed")) {
		failures++;
	}
}

static void access_key(char key[80], const json_t *v)
{
	snprintf(key, 80, "%s %s", json_string_value(json_object_get(v, "client_id")),
		 json_string_value(json_object_get(v, "resource_id")));
}

static json_t *ends(const json_t *v)
{
	const json_t *e = json_object_get(v, "expires_at");

	return json_integer(json_is_null(e) ? (json_int_t)EXPIRY_MAX : json_integer_value(e));
}

/* What it holds and the list names, with the list's ends. */
static json_t *retained(const struct gateway *g, const json_t *list)
{
	json_t *out = json_object(), *v;
	char key[80];
	size_t i;

	json_array_foreach(list, i, v)
	{
		json_t *had;

		access_key(key, v);
		had = json_object_get(g->access, key);
		if (!T(had))
			continue; /* authorised without its knowing */
		json_object_set_new(had, "expires_at", ends(v));
		json_object_set(out, key, had);
	}
	return out;
}

static void gateway_authorizes(struct gateway *g, const json_t *payload)
{
	const char *client = json_string_value(
		json_object_get(json_object_get(payload, "client"), "id"));
	json_t *res = json_object_get(payload, "resource");
	char key[80];

	snprintf(key, sizeof(key), "%s %s", client, json_string_value(json_object_get(res, "id")));
	json_object_set_new(g->access, key,
			    json_pack("{s:o,s:O}", "expires_at", ends(payload), "resource", res));
	if (pick(8) < answers)
		fx_sayf(g->session,
			"{'topic':'gateway','event':'flow_authorized','ref':1,"
			"'payload':{'ref':'%s'}}",
			json_string_value(json_object_get(payload, "ref")));
}

static void gateway_hears(struct gateway *g, const char *event, json_t *payload)
{
	const char *key;
	char one[80];
	json_t *v;

	if (!strcmp(event, "init")) {
		json_t *list = retained(g, json_object_get(payload, "authorizations"));

		json_decref(g->access);
		g->access = list;
	} else if (!strcmp(event, "authorize_flow")) {
		gateway_authorizes(g, payload);
	} else if (!strcmp(event, "reject_access")) {
		access_key(one, payload);
		json_object_del(g->access, one);
	} else if (!strcmp(event, "access_authorization_expiry_updated")) {
		access_key(one, payload);
		v = json_object_get(g->access, one);
		if (T(v))
			json_object_set_new(v, "expires_at", ends(payload));
	} else if (!strcmp(event, "resource_updated")) {
		json_object_foreach(g->access, key,
				    v) if (same_key(json_object_get(v, "resource"), payload, "id"))
			json_object_set(v, "resource", payload);
	}
}

static void hears(struct out_msg *m)
{
	json_t *v = m->text ? json_loads(m->text, 0, NULL) : NULL, *payload;
	const char *event = json_string_value(json_object_get(v, "event"));

	payload = json_object_get(v, "payload");
	for (size_t i = 0; i < 2; i++) {
		if (clients[i].session == m->session && event)
			client_hears(&clients[i], event, payload);
		else if (gateways[i].session == m->session && event)
			gateway_hears(&gateways[i], event, payload);
		else if (clients[i].session == m->session)
			clients[i].session = 0;
		else if (gateways[i].session == m->session)
			gateways[i].session = 0;
		else
			continue;
		pushes++;
	}
	if (!m->text)
		portal_disconnect(&fx, m->session);
	json_decref(v);
}

static void listen(void)
{
	struct out_msg *m;

	while ((m = portal_next(&fx))) {
		hears(m);
		out_msg_free(m);
	}
}

static void join(uint64_t *session, enum portal_role role, const char *token, const char *name)
{
	*session = fx_connect(role, token, name);
	if (*session)
		fx_sayf(*session, "{'topic':'%s','event':'phx_join','payload':null,'ref':0}",
			portal_role_name(role));
	listen();
}

static void heartbeat(uint64_t session)
{
	if (session)
		fx_sayf(session, "{'topic':'phoenix','event':'heartbeat','payload':{},'ref':1}");
}

/* ---- what must hold ---- */
static const char *device_of(uint64_t session)
{
	return fx_id(session);
}

/* Everything a twin is told on joining. */
static void check_client(struct client *c)
{
	uint64_t twin = fx_connect(ROLE_CLIENT, c->token, "twin");
	json_t *reply, *init, *payload, *v;
	const char *id;
	size_t i;

	if (!T(twin))
		return;
	fx_sayf(twin, "{'topic':'client','event':'phx_join','payload':null,'ref':0}");
	reply = fx_frame(twin);
	init = fx_frame(twin);
	payload = json_object_get(init, "payload");
	T_EQ(json_array_size(json_object_get(payload, "resources")),
	     json_object_size(c->resources));
	json_array_foreach(json_object_get(payload, "resources"), i, v)
	{
		id = json_string_value(json_object_get(v, "id"));
		T(json_equal(v, json_object_get(c->resources, id)));
	}
	v = json_object_get(payload, "interface");
	T(same_key(v, c->interface, "upstream_dns") && same_key(v, c->interface, "search_domain"));
	json_decref(reply);
	json_decref(init);
	portal_disconnect(&fx, twin);
	json_object_foreach(c->routes, id, v)
	{
		const struct flow *f = flows_find(&fx.flows,
						  registry_find(&fx.reg, device_of(c->session)),
						  registry_find(&fx.reg, json_string_value(v)), id);

		T(json_object_get(c->resources, id) != NULL);
		T(f && !f->revoked_at && !expiry_passed(f->expires_at, fx_wall));
	}
}

/* Access in force at the portal is what the gateway has, with the same end and the same filters. */
static void check_gateway(struct gateway *g)
{
	const struct device *dev = registry_find(&fx.reg, device_of(g->session));
	size_t in_force = 0, n = 0;
	const char *key;
	char one[80];
	json_t *v;

	for (size_t i = 0; i < fx.flows.n; i++) {
		const struct flow *f = &fx.flows.f[i];
		const struct config_resource *res = config_find_resource(fx.cfg, f->resource_id);
		json_t *want;

		if (f->revoked_at || f->gateway != dev)
			continue;
		snprintf(one, sizeof(one), "%s %s", f->client->id, f->resource_id);
		v = json_object_get(g->access, one);
		in_force++;
		if (!T(v && res))
			continue;
		T_EQ(json_integer_value(json_object_get(v, "expires_at")),
		     expiry_min(f->expires_at, EXPIRY_MAX));
		want = render_gateway_resource(res);
		T(same_key(want, json_object_get(v, "resource"), "filters"));
		T(same_key(want, json_object_get(v, "resource"), "address"));
		T(same_key(want, json_object_get(v, "resource"), "type"));
		json_decref(want);
	}
	json_object_foreach(g->access, key, v)
		n += (uint64_t)json_integer_value(json_object_get(v, "expires_at")) > fx_wall;
	T_EQ(n, in_force);
}

static void check(void)
{
	unsigned long before;

	for (size_t i = 0; i < 2; i++) {
		if (clients[i].session)
			check_client(&clients[i]);
		if (gateways[i].session)
			check_gateway(&gateways[i]);
	}
	before = pushes;
	portal_reload(&fx, world_config(), fx_wall); /* the same again: nothing to say */
	listen();
	T_EQ(pushes, before);
}

/* ---- steps ---- */
/* Mostly for what it sees. */
static void ask(struct client *c)
{
	unsigned want = pick(SLOTS), i = 0;
	char any[UUID_STRLEN];
	const char *id, *key;
	json_t *v;

	if (!c->session)
		return;
	snprintf(any, sizeof(any), "5f1c0000-0000-4000-8000-%012u", want);
	id = any;
	json_object_foreach(c->resources, key, v) if (i++ == want) id = key;
	json_object_del(c->routes, id); /* it only asks when it has none */
	fx_sayf(c->session,
		"{'topic':'client','event':'create_flow','ref':1,'payload':{'resource_id':'%s',"
		"'connected_gateway_ids':[]}}",
		id);
}

static void step(void)
{
	size_t i = pick(2);

	switch (pick(8)) {
	case 0:
	case 1:
	case 2:
		for (unsigned n = 1 + pick(3); n; n--)
			world_mutate();
		portal_reload(&fx, world_config(), fx_wall);
		break;
	case 3:
	case 4:
	case 5:
		ask(&clients[i]);
		break;
	case 6:
		fx_pass(1 + pick(6));
		break;
	default:
		if (pick(2) == 0 && gateways[i].session) {
			portal_disconnect(&fx, gateways[i].session);
			gateways[i].session = 0;
		} else if (pick(8) == 0 && clients[i].session) {
			portal_disconnect(&fx, clients[i].session);
			clients[i].session = 0;
		}
	}
	listen();
}

static void come_back(void)
{
	for (size_t i = 0; i < 2; i++) {
		if (!gateways[i].session && pick(6) == 0)
			join(&gateways[i].session, ROLE_GATEWAY, gateways[i].token,
			     gateways[i].name);
		if (!clients[i].session && !(i && world.no_bob))
			join(&clients[i].session, ROLE_CLIENT, clients[i].token, clients[i].name);
		heartbeat(gateways[i].session);
		heartbeat(clients[i].session);
	}
	listen();
}

static void test_beliefs(void)
{
	seed = t_seed();
	fx_seed = 7;
	fx_now = 1000 * NS_PER_SEC;
	fx_wall = WALL;
	for (unsigned i = 0; i < SLOTS; i++)
		world.slot[i] = (struct slot){
			.present = true, .sites = i % 3, .type = i & 1, .policy = 3};
	for (size_t i = 0; i < 2; i++) {
		clients[i].resources = json_object();
		clients[i].routes = json_object();
		gateways[i].access = json_object();
	}
	T_EQ(portal_init(&fx, world_config(), fx_entropy, fx_wall), 0);
	for (unsigned n = 0; n < STEPS; n++) {
		answers = pick(3) ? 8 : 3;
		come_back();
		step();
		portal_tick(&fx, fx_now, fx_wall);
		listen();
		check();
	}
	t_note("steps=%u pushes=%lu flows=%lu refused=%lu", STEPS, pushes, made, failures);
	T(made > STEPS / 20 && failures > 0);
	for (size_t i = 0; i < 2; i++) {
		json_decref(clients[i].resources);
		json_decref(clients[i].routes);
		json_decref(clients[i].interface);
		json_decref(gateways[i].access);
	}
	fx_stop();
}

int main(int argc, char **argv)
{
	struct log_cfg off = {.filter = "off"};

	t_init(argc, argv);
	log_init(&off, NULL);
	T_RUN(test_beliefs);
	return t_done();
}
