/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes while people are connected: what each one pushes, to whom and in which order; and what
 * time does. */
#include "tests/unit/portal_fixture.h"

static uint64_t alice, bob, gw;

#define POLICY "{'group':'staff','resource':'lan'}"

/* Alice has a flow to "lan"; Bob is there and may do nothing. */
static void start_with_flow(const struct fx_config *v)
{
	fx_start(v);
	gw = fx_join(ROLE_GATEWAY, TOK_G, "g");
	alice = fx_join(ROLE_CLIENT, TOK_A, "a");
	bob = fx_join(ROLE_CLIENT, TOK_B, "b");
	fx_flow(alice, gw, RES_LAN);
	T(fx_quiet());
}

static bool expect_reject(uint64_t gateway, uint64_t client, const char *resource)
{
	char want[256];

	snprintf(want, sizeof(want),
		 "{'topic':'gateway','event':'reject_access','ref':null,"
		 "'payload':{'client_id':'%s','resource_id':'%s'}}",
		 fx_id(client), resource);
	return fx_expect(gateway, want);
}

static bool expect_deleted(uint64_t client, const char *resource)
{
	char want[256];

	snprintf(want, sizeof(want),
		 "{'topic':'client','event':'resource_deleted','ref':null,'payload':'%s'}",
		 resource);
	return fx_expect(client, want);
}

/* resource_created_or_updated with this value under key. */
static bool expect_updated(uint64_t client, const char *key, const char *value)
{
	json_t *v = fx_frame(client);
	const char *got = json_string_value(json_object_get(json_object_get(v, "payload"), key));
	bool ok = T_STR(json_string_value(json_object_get(v, "event")),
			"resource_created_or_updated") &&
		  T_STR(got, value);

	json_decref(v);
	return ok;
}

static bool expect_expelled(uint64_t session, const char *role)
{
	char want[256];

	snprintf(want, sizeof(want),
		 "{'topic':'%s','event':'disconnect','ref':null,"
		 "'payload':{'reason':'token_expired'}}",
		 role);
	return fx_expect(session, want) && fx_expect_close(session, CLOSE_NORMAL);
}

static void test_nothing_changed(void)
{
	struct fx_config v = {0};

	start_with_flow(NULL);
	fx_reload(&v);
	fx_reload(&v);
	T(fx_quiet());
	fx_stop();
}

static void test_resource_added_and_removed(void)
{
	struct fx_config both = {.resources = FX_LAN "," FX_WEB,
				 .policies = POLICY ",{'actor':'alice','resource':'web'}"};
	struct fx_config none = {.resources = FX_WEB, .policies = ""};

	start_with_flow(NULL);
	fx_reload(&both);
	T(expect_updated(alice, "id", RES_WEB));
	T(fx_quiet());
	fx_reload(&none);
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_deleted(alice, RES_LAN));
	T(expect_deleted(alice, RES_WEB));
	T(fx_quiet());
	fx_stop();
}

static void test_policy_moves_to_somebody_else(void)
{
	struct fx_config v = {.policies = "{'actor':'bob','resource':'lan'}"};

	start_with_flow(NULL);
	fx_reload(&v);
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_deleted(alice, RES_LAN));
	T(expect_updated(bob, "id", RES_LAN));
	T(fx_quiet());
	fx_stop();
}

static void test_policy_disabled_and_enabled(void)
{
	struct fx_config off = {.policies = "{'group':'staff','resource':'lan','enabled':false}"};
	struct fx_config on = {0};

	start_with_flow(NULL);
	fx_reload(&off);
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_deleted(alice, RES_LAN));
	fx_reload(&on);
	T(expect_updated(alice, "id", RES_LAN));
	T(fx_quiet());
	fx_flow(alice, gw, RES_LAN); /* and works again */
	fx_stop();
}

static void test_another_policy_still_grants(void)
{
	struct fx_config two = {.policies = POLICY ",{'actor':'alice','resource':'lan'}"};

	start_with_flow(&two);
	fx_reload(&(struct fx_config){.policies = POLICY});
	T(fx_quiet());
	fx_stop();
}

static void test_address_changed(void)
{
	struct fx_config v = {.resources = "{'name':'lan','id':'" RES_LAN "','type':'cidr',"
					   "'address':'10.99.0.0/16','site':'a'}"};

	start_with_flow(NULL);
	fx_reload(&v);
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_deleted(alice, RES_LAN)); /* it had a flow: forget the way there */
	T(expect_updated(alice, "address", "10.99.0.0/16"));
	T(fx_quiet());
	fx_stop();
}

static void test_address_changed_without_flow(void)
{
	struct fx_config v = {.resources = "{'name':'lan','id':'" RES_LAN "','type':'cidr',"
					   "'address':'10.99.0.0/16','site':'a'}"};

	fx_start(NULL);
	gw = fx_join(ROLE_GATEWAY, TOK_G, "g");
	alice = fx_join(ROLE_CLIENT, TOK_A, "a");
	fx_reload(&v);
	T(expect_updated(alice, "address", "10.99.0.0/16"));
	T(fx_quiet());
	fx_stop();
}

static void test_site_changed(void)
{
	struct fx_config v = {.resources = "{'name':'lan','id':'" RES_LAN "','type':'cidr',"
					   "'address':'10.20.0.0/16','site':'b'}"};

	start_with_flow(NULL);
	fx_reload(&v);
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_deleted(alice, RES_LAN));
	T(expect_updated(alice, "id", RES_LAN));
	T(fx_quiet());
	fx_stop();
}

static void test_name_and_description_changed(void)
{
	struct fx_config v = {.resources = "{'name':'lan2','id':'" RES_LAN "','type':'cidr',"
					   "'address':'10.20.0.0/16','site':'a'}",
			      .policies = "{'group':'staff','resource':'lan2'}"};

	start_with_flow(NULL);
	fx_reload(&v);
	T(expect_updated(alice, "name", "lan2"));
	T(fx_quiet());
	fx_stop();
}

static void test_filters_changed(void)
{
	struct fx_config v = {.resources = "{'name':'lan','id':'" RES_LAN "','type':'cidr',"
					   "'address':'10.20.0.0/16','site':'a','filters':["
					   "{'protocol':'tcp','port_range_end':80},"
					   "{'protocol':'icmp'}]}"};
	uint64_t idle;

	start_with_flow(NULL);
	idle = fx_join(ROLE_GATEWAY, TOK_G, "idle"); /* has no flow: is not told */
	(void)idle;
	fx_reload(&v);
	T(fx_expect(gw, "{'topic':'gateway','event':'resource_updated','ref':null,'payload':{"
			"'id':'" RES_LAN "','type':'cidr','address':'10.20.0.0/16','name':'lan',"
			"'filters':[{'protocol':'tcp','port_range_start':0,'port_range_end':80},"
			"{'protocol':'icmp'}]}}"));
	T(expect_updated(alice, "id", RES_LAN));
	T(fx_quiet());
	fx_reload(&v);
	T(fx_quiet());
	fx_stop();
}

static void test_dns_changed(void)
{
	struct fx_config v = {.dns = "{'upstream':['192.0.2.53','2001:db8::53'],"
				     "'search_domain':'corp.example'}"};

	start_with_flow(NULL);
	fx_reload(&v);
	for (int i = 0; i < 2; i++) {
		json_t *f = fx_frame(i ? bob : alice), *iface, *want;

		T_STR(json_string_value(json_object_get(f, "event")), "config_changed");
		iface = json_object_get(json_object_get(f, "payload"), "interface");
		T_STR(json_string_value(json_object_get(iface, "search_domain")), "corp.example");
		want = json_pack("[{s:s,s:s},{s:s,s:s}]", "protocol", "ip_port", "address",
				 "192.0.2.53:53", "protocol", "ip_port", "address",
				 "[2001:db8::53]:53");
		T(json_equal(json_object_get(iface, "upstream_dns"), want));
		T(json_object_get(iface, "ipv4") && json_object_get(iface, "ipv6"));
		json_decref(want);
		json_decref(f);
	}
	T(fx_quiet());
	fx_stop();
}

/* Upstreams changed in their order, which is the clients' order too, and taken back. */
static void test_dns_reordered_and_removed(void)
{
	struct fx_config v = {.dns = "{'upstream':['192.0.2.53','192.0.2.54:5353']}"};
	struct fx_config w = {.dns = "{'upstream':['192.0.2.54:5353','192.0.2.53']}"};
	static const struct fx_config none;

	fx_start(&v);
	alice = fx_join(ROLE_CLIENT, TOK_A, "a");
	T(fx_quiet());
	for (size_t i = 0; i < 2; i++) {
		json_t *f, *iface, *dns;

		fx_reload(i ? &none : &w);
		f = fx_frame(alice);
		iface = json_object_get(json_object_get(f, "payload"), "interface");
		dns = json_object_get(iface, "upstream_dns");
		T_STR(json_string_value(json_object_get(f, "event")), "config_changed");
		T_EQ(json_array_size(dns), i ? 0 : 2);
		if (!i)
			T_STR(json_string_value(json_object_get(json_array_get(dns, 0), "address")),
			      "192.0.2.54:5353");
		T(!json_string_value(json_object_get(iface, "search_domain")));
		json_decref(f);
		T(fx_quiet());
	}
	fx_stop();
}

static void test_slug_changed(void)
{
	start_with_flow(NULL);
	fx_reload(&(struct fx_config){.slug = "other"});
	json_t *f = fx_frame(gw), *p = json_object_get(f, "payload");
	T_STR(json_string_value(json_object_get(f, "event")), "init");
	T_STR(json_string_value(json_object_get(p, "account_slug")), "other");
	T_EQ(json_array_size(json_object_get(p, "authorizations")), 1);
	json_decref(f);
	T(fx_quiet());
	fx_stop();
}

static void test_client_token_removed(void)
{
	struct fx_config with = {.policies = "{'actor':'bob','resource':'lan'}"};
	struct fx_config without = {.policies = "{'actor':'bob','resource':'lan'}", .bob = ""};

	fx_start(&with);
	gw = fx_join(ROLE_GATEWAY, TOK_G, "g");
	bob = fx_join(ROLE_CLIENT, TOK_B, "b");
	fx_flow(bob, gw, RES_LAN);
	fx_reload(&without);
	T(expect_reject(gw, bob, RES_LAN));
	T(expect_expelled(bob, "client"));
	T(fx_quiet());
	portal_disconnect(&fx, bob);
	T(!fx_connect(ROLE_CLIENT, TOK_B, "b"));
	fx_stop();
}

static void test_token_changes_hands(void)
{
	struct fx_config v = {.bob = ",{'name':'b','actor':'carol','token_sha256':'"};
	static char carol[256];
	char hex[65];

	fx_start(NULL);
	bob = fx_join(ROLE_CLIENT, TOK_B, "b");
	fx_hash(TOK_B, hex);
	snprintf(carol, sizeof(carol), ",{'name':'b','actor':'carol','token_sha256':'%s'}", hex);
	v.bob = carol;
	fx_reload(&v);
	T(fx_expect_close(bob, CLOSE_RESTART)); /* no "disconnect": it shall come back */
	T(fx_quiet());
	portal_disconnect(&fx, bob);
	T(fx_connect(ROLE_CLIENT, TOK_B, "b") != 0);
	T_EQ(fx.reg.n, 2);
	fx_stop();
}

static void test_gateway_moved_to_another_site(void)
{
	start_with_flow(NULL);
	fx_reload(&(struct fx_config){.gateway_site = "b"});
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_deleted(alice, RES_LAN)); /* look for another gateway */
	T(expect_updated(alice, "id", RES_LAN));
	T(fx_expect_close(gw, CLOSE_RESTART));
	T(fx_quiet());
	fx_stop();
}

static void test_gateway_token_removed(void)
{
	start_with_flow(NULL);
	fx_reload(&(struct fx_config){.gateway_token = "another-token-0123456789012345678901234"});
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_deleted(alice, RES_LAN));
	T(expect_updated(alice, "id", RES_LAN));
	T(expect_expelled(gw, "gateway"));
	T(fx_quiet());
	fx_stop();
}

static void test_token_expires(void)
{
	struct fx_config v = {.alice_expiry = "1800000100"};

	start_with_flow(&v);
	fx_pass(30);
	fx_sayf(gw, "{'topic':'phoenix','event':'heartbeat','payload':{},'ref':1}");
	fx_drain();
	fx_wall += 70;
	portal_tick(&fx, fx_now, fx_wall);
	T(expect_expelled(alice, "client"));
	T(fx_quiet()); /* the gateway was given the end beforehand */
	T_EQ(fx.flows.n, 0);
	fx_stop();
}

static void test_token_expiry_brought_forward(void)
{
	start_with_flow(NULL);
	fx_reload(&(struct fx_config){.alice_expiry = "1700000000"});
	T(expect_reject(gw, alice, RES_LAN));
	T(expect_expelled(alice, "client"));
	T(fx_quiet());
	fx_stop();
}

static void test_policy_expires(void)
{
	struct fx_config v = {
		.policies = "{'group':'staff','resource':'lan','expires_at':1800000020}"};

	start_with_flow(&v);
	T_EQ(fx.flows.f[0].expires_at, 1800000020);
	fx_pass(19);
	T(fx_quiet());
	fx_pass(1);
	T(expect_deleted(alice, RES_LAN));
	T(fx_quiet());
	T_EQ(fx.flows.n, 0);
	fx_stop();
}

static void test_policy_prolonged(void)
{
	struct fx_config v = {
		.policies = "{'group':'staff','resource':'lan','expires_at':1800000020}"};

	char want[256];

	start_with_flow(&v);
	v.policies = POLICY;
	fx_reload(&v);
	snprintf(want, sizeof(want),
		 "{'topic':'gateway','event':'access_authorization_expiry_updated','ref':null,"
		 "'payload':{'client_id':'%s','resource_id':'" RES_LAN "','expires_at':%llu}}",
		 fx_id(alice), (unsigned long long)EXPIRY_MAX);
	T(fx_expect(gw, want));
	T_EQ(fx.flows.f[0].expires_at, EXPIRY_NEVER);
	fx_pass(20);
	T(fx_quiet());
	fx_stop();
}

static void test_policy_cut_short(void)
{
	struct fx_config v = {
		.policies = "{'group':'staff','resource':'lan','expires_at':1800000020}"};

	start_with_flow(NULL);
	fx_reload(&v);
	T(expect_reject(gw, alice, RES_LAN)); /* it believes in "for ever" */
	T(expect_deleted(alice, RES_LAN));
	T(expect_updated(alice, "id", RES_LAN));
	T(fx_quiet());
	fx_stop();
}

static void test_gateway_told_when_it_returns(void)
{
	struct fx_config none = {.policies = ""};
	json_t *f;

	start_with_flow(NULL);
	portal_disconnect(&fx, gw);
	fx_reload(&none);
	T(expect_deleted(alice, RES_LAN));
	T(fx_quiet());
	gw = fx_connect(ROLE_GATEWAY, TOK_G, "g");
	fx_sayf(gw, "{'topic':'gateway','event':'phx_join','payload':null,'ref':0}");
	json_decref(fx_frame(gw));
	f = fx_frame(gw);
	T_EQ(json_array_size(json_object_get(json_object_get(f, "payload"), "authorizations")), 0);
	json_decref(f);
	T(expect_reject(gw, alice, RES_LAN));
	T(fx_quiet());
	fx_wall += FLOW_TOMBSTONE_SEC;
	portal_tick(&fx, fx_now, fx_wall);
	T_EQ(fx.flows.n, 0);
	fx_stop();
}

static void test_forgotten_flows(void)
{
	start_with_flow(NULL);
	fx_wall += FLOW_FORGET_SEC;
	portal_tick(&fx, fx_now, fx_wall);
	T_EQ(fx.flows.n, 1); /* she is still here */
	portal_disconnect(&fx, alice);
	portal_tick(&fx, fx_now, fx_wall);
	T_EQ(fx.flows.n, 0);
	fx_stop();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_nothing_changed);
	T_RUN(test_resource_added_and_removed);
	T_RUN(test_policy_moves_to_somebody_else);
	T_RUN(test_policy_disabled_and_enabled);
	T_RUN(test_another_policy_still_grants);
	T_RUN(test_address_changed);
	T_RUN(test_address_changed_without_flow);
	T_RUN(test_site_changed);
	T_RUN(test_name_and_description_changed);
	T_RUN(test_filters_changed);
	T_RUN(test_dns_changed);
	T_RUN(test_dns_reordered_and_removed);
	T_RUN(test_slug_changed);
	T_RUN(test_client_token_removed);
	T_RUN(test_token_changes_hands);
	T_RUN(test_gateway_moved_to_another_site);
	T_RUN(test_gateway_token_removed);
	T_RUN(test_token_expires);
	T_RUN(test_token_expiry_brought_forward);
	T_RUN(test_policy_expires);
	T_RUN(test_policy_prolonged);
	T_RUN(test_policy_cut_short);
	T_RUN(test_gateway_told_when_it_returns);
	T_RUN(test_forgotten_flows);
	return t_done();
}
