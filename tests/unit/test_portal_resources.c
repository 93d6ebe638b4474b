/* SPDX-License-Identifier: Apache-2.0
 *
 * Resources of every type: what their text must look like, what clients and gateways are told of
 * them — read back with the decoder those use — and what a change of each part pushes. */
#include "codec/portal_msg.h"
#include "tests/unit/portal_fixture.h"

#define RES_NET	  "5f1c0000-0000-4000-8000-000000000009"
#define HEAD(t)	  "{'name':'lan','id':'" RES_LAN "','type':'" t "'"
#define DNS(a)	  HEAD("dns") ",'address':'" a "','site':'a'}"
#define INTERNET  "{'name':'all','id':'" RES_NET "','type':'internet','site':'a'}"
#define FOR_ALICE "{'actor':'alice','resource':'lan'},{'actor':'alice','resource':'all'}"

/* The fault a resource has, or NULL. */
static const char *fault_of(const char *resource)
{
	static struct config_error err;
	static char text[2048];
	struct config *c;

	snprintf(text, sizeof(text),
		 "{'account_slug':'x','listen':[{'address':'127.0.0.1:1'}],"
		 "'sites':[{'name':'a'},{'name':'b'}],'resources':[%s]}",
		 resource);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	c = config_parse(text, strlen(text), &err);
	config_free(c);
	return c ? NULL : err.field;
}

static void test_good_and_bad_resources(void)
{
	static const struct {
		const char *text, *field; /* NULL: good */
	} rows[] = {
		{DNS("app.example.com"), NULL},
		{DNS("*.example.com"), NULL},
		{DNS("**.example.com"), NULL},
		{DNS("app.**.web.**.example.com"), NULL},
		{DNS("f?o.*ample.com"), NULL},
		{DNS("[a-c].example.com"), NULL},
		{DNS("internal"), NULL},
		{DNS("**x.com"), "resources[0].address"},
		{DNS("***.com"), "resources[0].address"},
		{DNS("a..com"), "resources[0].address"},
		{DNS(".com"), "resources[0].address"},
		{DNS("com."), "resources[0].address"},
		{DNS("[a.com"), "resources[0].address"},
		{DNS("a b.com"), "resources[0].address"},
		{DNS("a/b.com"), "resources[0].address"},
		{DNS(""), "resources[0].address"},
		{DNS("10.0.0.1"), "resources[0].address"},
		{DNS("2001:db8::1"), "resources[0].address"},
		{HEAD("dns") ",'site':'a'}", "resources[0].address"},
		{HEAD("dns") ",'address':'x.y','site':'a','ip_stack':'dual'}", NULL},
		{HEAD("dns") ",'address':'x.y','site':'a','ip_stack':'ipv4_only'}", NULL},
		{HEAD("dns") ",'address':'x.y','site':'a','ip_stack':'ipv6_only'}", NULL},
		{HEAD("dns") ",'address':'x.y','site':'a','ip_stack':'ipv4'}",
		 "resources[0].ip_stack"},
		{HEAD("cidr") ",'address':'10.0.0.0/8','site':'a','ip_stack':'dual'}",
		 "resources[0].ip_stack"},
		{INTERNET, NULL},
		{HEAD("internet") ",'site':'a','address':'0.0.0.0/0'}", "resources[0].address"},
		{HEAD("internet") ",'site':'a','filters':[]}", "resources[0].filters"},
		{HEAD("internet") ",'site':'a','address_description':'x'}",
		 "resources[0].address_description"},
		{INTERNET ",{'name':'more','type':'internet','site':'b'}", "resources[1].type"},
		{HEAD("device") ",'site':'a'}", "resources[0].type"},
		{HEAD("internet") ",'sites':['a','b']}", NULL},
		{HEAD("internet") ",'sites':['a','a']}", "resources[0].sites[1]"},
		{HEAD("internet") ",'sites':['a',1]}", "resources[0].sites[1]"},
		{HEAD("internet") ",'sites':['c']}", "resources[0].sites[0]"},
		{HEAD("internet") ",'sites':[]}", "resources[0].site"},
		{HEAD("internet") ",'site':'a','sites':['b']}", "resources[0].site"},
		{HEAD("internet") "}", "resources[0].site"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *field = fault_of(rows[i].text);

		if (!T(!field == !rows[i].field && (!field || !strcmp(field, rows[i].field))))
			t_note("%s: %s", rows[i].text, field ? field : "good");
	}
}

/* The one thing under key in a payload, as compact text with single quotes. */
static bool dumps_as(const json_t *v, const char *want)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
	bool ok;

	for (char *p = text; p && *p; p++)
		if (*p == '"')
			*p = '\'';
	ok = text && !strcmp(text, want);
	if (!ok)
		t_note("got  %s\n# want %s", text ? text : "nothing", want);
	free(text);
	return ok;
}

#define GROUP_A "{'id':'" SITE_A "','name':'a'}"
#define GROUP_B "{'id':'" SITE_B "','name':'b'}"

static void test_client_views(void)
{
	struct fx_config v = {
		.resources = HEAD("dns") ",'address':'**.corp.example','ip_stack':'ipv6_only',"
					 "'address_description':'the names','sites':['b','a'],"
					 "'filters':[{'protocol':'udp'},{'protocol':'tcp',"
					 "'port_range_end':80},{'protocol':'icmp'}]}," INTERNET,
		.policies = FOR_ALICE};
	uint64_t a;
	json_t *f, *list;

	fx_start(&v);
	a = fx_connect(ROLE_CLIENT, TOK_A, "a");
	fx_sayf(a, "{'topic':'client','event':'phx_join','payload':null,'ref':0}");
	json_decref(fx_frame(a));
	f = fx_frame(a);
	list = json_object_get(json_object_get(f, "payload"), "resources");
	T(dumps_as(json_array_get(list, 0),
		   "{'address':'**.corp.example','address_description':'the names',"
		   "'filters':[{'protocol':'udp'},{'port_range_end':80,'port_range_start':0,"
		   "'protocol':'tcp'},{'protocol':'icmp'}],'gateway_groups':[" GROUP_B "," GROUP_A
		   "],'id':'" RES_LAN "','ip_stack':'ipv6_only','name':'lan','type':'dns'}"));
	T(dumps_as(json_array_get(list, 1), "{'can_be_disabled':true,'gateway_groups':[" GROUP_A
					    "],'id':'" RES_NET "','type':'internet'}"));
	json_decref(f);
	fx_stop();
}

/* Ask, and look at what the gateway is to let through, as it reads it; then confirm. */
static void flow_of(uint64_t client, uint64_t gateway, const char *id, enum pmsg_resource_type type,
		    const char *pattern, size_t n_filters)
{
	struct pmsg_err err;
	struct pmsg m;
	json_t *v;

	fx_sayf(client,
		"{'topic':'client','event':'create_flow','ref':9,'payload':{'resource_id':'%s',"
		"'connected_gateway_ids':[]}}",
		id);
	v = fx_frame(gateway);
	if (T_EQ(pmsg_decode(&m, PMSG_ROLE_GATEWAY, "authorize_flow", json_object_get(v, "payload"),
			     &err),
		 0)) {
		T_EQ(m.authorize_flow.resource.type, type);
		if (pattern)
			T_STR(m.authorize_flow.resource.dns_pattern, pattern);
		T_EQ(pmsg_count(m.authorize_flow.resource.filters), n_filters);
		fx_sayf(gateway,
			"{'topic':'gateway','event':'flow_authorized','ref':1,"
			"'payload':{'ref':'%s'}}",
			m.authorize_flow.ref);
		pmsg_fini(&m);
	}
	fx_drain();
	json_decref(v);
}

#define NAMES(extra, filters) \
	HEAD("dns") ",'address':'**.corp.example','site':'a'" extra ",'filters':[" filters "]}"
#define UDP "{'protocol':'udp','port_range_start':53,'port_range_end':53}"

static uint64_t alice, gw;

/* Alice has a flow to a DNS resource with one filter, and one to the Internet. */
static void start(void)
{
	fx_start(&(struct fx_config){.resources = NAMES("", UDP) "," INTERNET,
				     .policies = FOR_ALICE});
	gw = fx_join(ROLE_GATEWAY, TOK_G, "g");
	alice = fx_join(ROLE_CLIENT, TOK_A, "a");
	flow_of(alice, gw, RES_LAN, PMSG_RESOURCE_DNS, "**.corp.example", 1);
	flow_of(alice, gw, RES_NET, PMSG_RESOURCE_INTERNET, NULL, 0);
	T_EQ(fx.flows.n, 2);
	T_STR(fx.flows.f[0].target, "**.corp.example dual");
	T_STR(fx.flows.f[1].target, "internet");
}

static void reload(const char *resources, const char *policies)
{
	fx_reload(&(struct fx_config){.resources = resources, .policies = policies});
}

static bool expect_reject(const char *resource)
{
	char want[256];

	snprintf(want, sizeof(want),
		 "{'topic':'gateway','event':'reject_access','ref':null,"
		 "'payload':{'client_id':'%s','resource_id':'%s'}}",
		 fx_id(alice), resource);
	return fx_expect(gw, want);
}

static bool expect_deleted(const char *resource)
{
	char want[256];

	snprintf(want, sizeof(want),
		 "{'topic':'client','event':'resource_deleted','ref':null,'payload':'%s'}",
		 resource);
	return fx_expect(alice, want);
}

/* resource_created_or_updated, as the client reads it. */
static void expect_changed(enum pmsg_resource_type type, const char *pattern,
			   enum pmsg_ip_stack stack, size_t n_sites)
{
	json_t *v = fx_frame(alice);
	struct pmsg_err err;
	struct pmsg m;

	T_STR(json_string_value(json_object_get(v, "event")), "resource_created_or_updated");
	if (T_EQ(pmsg_decode(&m, PMSG_ROLE_CLIENT, "resource_created_or_updated",
			     json_object_get(v, "payload"), &err),
		 0)) {
		T_EQ(m.resource.type, type);
		if (pattern)
			T_STR(m.resource.dns_pattern, pattern);
		T_EQ(m.resource.ip_stack, stack);
		T_EQ(pmsg_count(m.resource.sites), n_sites);
		pmsg_fini(&m);
	}
	json_decref(v);
}

static void test_pattern_changed(void)
{
	start();
	reload(HEAD("dns") ",'address':'*.corp.example','site':'a',"
			   "'filters':[" UDP "]}," INTERNET,
	       FOR_ALICE);
	T(expect_reject(RES_LAN));
	T(expect_deleted(RES_LAN));
	expect_changed(PMSG_RESOURCE_DNS, "*.corp.example", PMSG_STACK_DUAL, 1);
	T(fx_quiet());
	fx_stop();
}

static void test_stack_changed(void)
{
	start();
	reload(NAMES(",'ip_stack':'dual'", UDP) "," INTERNET, FOR_ALICE);
	T(fx_quiet()); /* what it was already */
	reload(NAMES(",'ip_stack':'ipv4_only'", UDP) "," INTERNET, FOR_ALICE);
	T(expect_reject(RES_LAN));
	T(expect_deleted(RES_LAN));
	expect_changed(PMSG_RESOURCE_DNS, "**.corp.example", PMSG_STACK_V4, 1);
	T(fx_quiet());
	fx_stop();
}

static void test_type_changed(void)
{
	start();
	reload(HEAD("cidr") ",'address':'10.0.0.0/8','site':'a'}," INTERNET, FOR_ALICE);
	T(expect_reject(RES_LAN));
	/* the filters went too, but no flow is left to tell of */
	T(expect_deleted(RES_LAN));
	expect_changed(PMSG_RESOURCE_CIDR, NULL, PMSG_STACK_DUAL, 1);
	T(fx_quiet());
	fx_stop();
}

static void test_filters_changed(void)
{
	struct pmsg_err err;
	struct pmsg m;
	json_t *v;

	start();
	reload(NAMES("", UDP ",{'protocol':'tcp'}") "," INTERNET, FOR_ALICE);
	v = fx_frame(gw);
	T_STR(json_string_value(json_object_get(v, "event")), "resource_updated");
	T_EQ(pmsg_decode(&m, PMSG_ROLE_GATEWAY, "resource_updated", json_object_get(v, "payload"),
			 &err),
	     0);
	T_EQ(pmsg_count(m.resource.filters), 2);
	T_EQ(pmsg_filter_at(m.resource.filters, 1).port_last, 65535);
	json_decref(v);
	expect_changed(PMSG_RESOURCE_DNS, "**.corp.example", PMSG_STACK_DUAL, 1);
	T(fx_quiet());
	fx_stop();
}

static void test_sites_attached_and_detached(void)
{
	const char *both = HEAD(
		"dns") ",'address':'**.corp.example','sites':['a','b'],'filters':[" UDP
		       "]}," INTERNET;
	const char *other = HEAD("dns") ",'address':'**.corp.example','site':'b','filters':[" UDP
					"]}," INTERNET;

	start();
	reload(both, FOR_ALICE);
	T(expect_deleted(RES_LAN)); /* the flow through "a" stays; she asks and gets it again */
	expect_changed(PMSG_RESOURCE_DNS, "**.corp.example", PMSG_STACK_DUAL, 2);
	T(fx_quiet());
	flow_of(alice, gw, RES_LAN, PMSG_RESOURCE_DNS, "**.corp.example", 1);
	T_EQ(fx.flows.n, 2);
	reload(other, FOR_ALICE);
	T(expect_reject(RES_LAN));
	T(expect_deleted(RES_LAN));
	expect_changed(PMSG_RESOURCE_DNS, "**.corp.example", PMSG_STACK_DUAL, 1);
	T(fx_quiet());
	fx_stop();
}

static void test_internet_granted_and_taken(void)
{
	start();
	reload(NAMES("", UDP) "," INTERNET, "{'actor':'alice','resource':'lan'}");
	T(expect_reject(RES_NET));
	T(expect_deleted(RES_NET));
	T(fx_quiet());
	reload(NAMES("", UDP) "," INTERNET, FOR_ALICE);
	expect_changed(PMSG_RESOURCE_INTERNET, NULL, PMSG_STACK_DUAL, 1);
	T(fx_quiet());
	fx_stop();
}

/* The Internet by another site's gateways, then by both. */
static void test_internet_moved(void)
{
	const char *there = NAMES("", UDP) ",{'name':'all','id':'" RES_NET
					   "','type':'internet','site':'b'}";
	const char *both = NAMES("", UDP) ",{'name':'all','id':'" RES_NET
					  "','type':'internet','sites':['b','a']}";

	start();
	reload(there, FOR_ALICE);
	T(expect_reject(RES_NET));
	T(expect_deleted(RES_NET));
	expect_changed(PMSG_RESOURCE_INTERNET, NULL, PMSG_STACK_DUAL, 1);
	T(fx_quiet());
	fx_sayf(alice,
		"{'topic':'client','event':'create_flow','ref':9,'payload':{'resource_id':'" RES_NET
		"','connected_gateway_ids':[]}}");
	T(fx_expect(alice, "{'topic':'client','event':'flow_creation_failed','ref':null,'payload':"
			   "{'resource_id':'" RES_NET "','reason':'offline'}}"));
	reload(both, FOR_ALICE);
	T(expect_deleted(RES_NET));
	expect_changed(PMSG_RESOURCE_INTERNET, NULL, PMSG_STACK_DUAL, 2);
	T(fx_quiet());
	flow_of(alice, gw, RES_NET, PMSG_RESOURCE_INTERNET, NULL, 0);
	fx_stop();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_good_and_bad_resources);
	T_RUN(test_client_views);
	T_RUN(test_pattern_changed);
	T_RUN(test_stack_changed);
	T_RUN(test_type_changed);
	T_RUN(test_filters_changed);
	T_RUN(test_sites_attached_and_detached);
	T_RUN(test_internet_granted_and_taken);
	T_RUN(test_internet_moved);
	return t_done();
}
