/* SPDX-License-Identifier: Apache-2.0
 *
 * Flows: whom the portal introduces to whom, what it answers when it cannot, and that neither
 * candidates nor confirmations reach anybody they should not. */
#include "tests/unit/portal_flow.h"

static void test_refusals(void)
{
	struct fx_config v = {.resources = FX_LAN "," FX_WEB};
	uint64_t a, b;

	fx_start(&v);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	b = fx_join(ROLE_CLIENT, TOK_B, "b");
	ask(a, RES_LAN, "");
	T(expect_failed(a, RES_LAN, "offline"));
	ask(a, RES_WEB, ""); /* exists, but not for her */
	T(expect_failed(a, RES_WEB, "not_found"));
	ask(b, RES_LAN, "");
	T(expect_failed(b, RES_LAN, "not_found"));
	ask(a, "nothing", "");
	T(expect_failed(a, "nothing", "not_found"));
	fx_join(ROLE_GATEWAY, TOK_G2, "g2"); /* another site's */
	ask(a, RES_LAN, "");
	T(expect_failed(a, RES_LAN, "offline"));
	fx_connect(ROLE_GATEWAY, TOK_G, "g1"); /* not joined yet */
	ask(a, RES_LAN, "");
	T(expect_failed(a, RES_LAN, "offline"));
	T(fx_quiet());
	T_EQ(fx.flows.n, 0);
	fx_stop();
}

static void test_forbidden_when_policy_just_ended(void)
{
	struct fx_config v = {
		.policies = "{'group':'staff','resource':'lan','expires_at':1800000010}"};
	uint64_t a;

	fx_start(&v);
	fx_join(ROLE_GATEWAY, TOK_G, "g");
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	fx_wall += 10; /* no tick in between */
	ask(a, RES_LAN, "");
	T(fx_expect(a, "{'topic':'client','event':'flow_creation_failed','ref':null,'payload':"
		       "{'resource_id':'" RES_LAN "','reason':'forbidden',"
		       "'violated_properties':['current_utc_datetime']}}"));
	fx_stop();
}

static void test_incompatible_gateway(void)
{
	struct connect_req req = {.role = ROLE_GATEWAY,
				  .token = TOK_G,
				  .external_id = "old",
				  .public_key = GKEY,
				  .user_agent = "connlib/1.3.0"};
	uint64_t a, g;

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_connect_req(&req, NULL);
	fx_sayf(g, "{'topic':'gateway','event':'phx_join','payload':null,'ref':0}");
	fx_drain();
	ask(a, RES_LAN, "");
	T(expect_failed(a, RES_LAN, "not_found"));
	fx_stop();
}

static void test_sticky_then_least_loaded(void)
{
	uint64_t a, b, g1, g2;
	char ref[64], quoted[128];

	fx_start(&(struct fx_config){.policies = "{'actor':'alice','resource':'lan'},"
						 "{'actor':'bob','resource':'lan'}"});
	g1 = fx_join(ROLE_GATEWAY, TOK_G, "g1");
	g2 = fx_join(ROLE_GATEWAY, TOK_G, "g2");
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	b = fx_join(ROLE_CLIENT, TOK_B, "b");
	fx_flow(a, g1, RES_LAN);
	ask(b, RES_LAN, ""); /* g1 has one already */
	take_authorize(g2, ref);
	confirm(g2, ref);
	fx_drain();
	snprintf(quoted, sizeof(quoted), "'x','%s'", fx_id(g1));
	ask(b, RES_LAN, quoted); /* but a connected one wins */
	take_authorize(g1, ref);
	T(fx_quiet());
	confirm(g1, ref);
	fx_drain();
	snprintf(quoted, sizeof(quoted), "'%s','%s'", fx_id(g1), fx_id(g2));
	ask(b, RES_LAN, quoted); /* of two the one named first, whatever it has to do */
	take_authorize(g1, ref);
	T(fx_quiet());
	fx_stop();
}

static void test_confirmation_is_bound_to_gateway_and_used_once(void)
{
	uint64_t a, g1, g2;
	char ref[64];
	json_t *v;

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g1 = fx_join(ROLE_GATEWAY, TOK_G, "g1");
	g2 = fx_join(ROLE_GATEWAY, TOK_G2, "g2");
	ask(a, RES_LAN, "");
	take_authorize(g1, ref);
	confirm(g1, "x");
	T(expect_reply(g1, bad_ref));
	confirm(g2, ref);
	T(expect_reply(g2, bad_ref));
	confirm(g1, ref);
	T(expect_reply(g1, ok_reply));
	v = fx_frame(a);
	T_STR(json_string_value(json_object_get(v, "event")), "flow_created");
	json_decref(v);
	confirm(g1, ref);
	T(expect_reply(g1, bad_ref));
	T(fx_quiet());
	fx_stop();
}

static void test_silent_gateway_counts_as_offline(void)
{
	uint64_t a, g;
	char ref[64], want[256];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	ask(a, RES_LAN, "");
	take_authorize(g, ref);
	fx_pass(PORTAL_PENDING_SEC - 1);
	T(fx_quiet());
	fx_pass(1);
	snprintf(want, sizeof(want),
		 "{'topic':'gateway','event':'reject_access','ref':null,"
		 "'payload':{'client_id':'%s','resource_id':'" RES_LAN "'}}",
		 fx_id(a));
	T(fx_expect(g, want));
	T(expect_failed(a, RES_LAN, "offline"));
	confirm(g, ref); /* too late */
	T(expect_reply(g, bad_ref));
	T(fx_quiet());
	fx_stop();
}

static void test_repeated_requests_are_one(void)
{
	uint64_t a, g;
	char ref[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	fx_join(ROLE_GATEWAY, TOK_G, "g1"); /* has no flow yet, but the first is being asked */
	ask(a, RES_LAN, "");
	take_authorize(g, ref);
	fx_pass(2);
	ask(a, RES_LAN, "");
	T(fx_quiet());
	confirm(g, ref);
	T(expect_reply(g, ok_reply));
	json_decref(fx_frame(a));
	fx_pass(PORTAL_PENDING_SEC);
	T(fx_quiet()); /* neither a failure nor a revocation */
	T_EQ(fx.n_pending, 0);
	T_EQ(fx.flows.n, 1);
	T(!fx.flows.f[0].revoked_at);
	fx_stop();
}

static void test_gateway_vanishes_while_asked(void)
{
	uint64_t a, g;
	char ref[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	ask(a, RES_LAN, "");
	take_authorize(g, ref);
	portal_disconnect(&fx, g);
	fx_pass(PORTAL_PATIENCE_SEC - 1);
	T(fx_quiet()); /* it may come back, or another one may come */
	fx_pass(1);
	T(expect_failed(a, RES_LAN, "offline"));
	T_EQ(fx.n_pending, 0);
	T(fx.flows.f[0].revoked_at != 0);
	ask(a, RES_LAN, "");
	T(expect_failed(a, RES_LAN, "offline"));
	T(fx_quiet());
	fx_stop();
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

static void test_gateway_comes_back_while_asked(void)
{
	uint64_t a, g;
	char ref[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	ask(a, RES_LAN, "");
	take_authorize(g, ref);
	portal_disconnect(&fx, g);
	fx_pass(1);
	g = fx_join(ROLE_GATEWAY, TOK_G, "g"); /* it had no relays, say */
	fx_pass(1);
	take_authorize(g, ref);
	confirm(g, ref);
	T(expect_reply(g, ok_reply));
	json_decref(fx_frame(a));
	T(fx_quiet());
	T_EQ(fx.flows.n, 1);
	fx_stop();
}

static void test_next_gateway_when_one_vanishes(void)
{
	uint64_t a, g1, g2;
	char ref[64];
	json_t *v;

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g1 = fx_join(ROLE_GATEWAY, TOK_G, "g1");
	g2 = fx_join(ROLE_GATEWAY, TOK_G, "g2");
	ask(a, RES_LAN, "");
	take_authorize(g1, ref);
	portal_disconnect(&fx, g1);
	fx_pass(1);
	take_authorize(g2, ref);
	confirm(g2, ref);
	T(expect_reply(g2, ok_reply));
	v = fx_frame(a);
	T_STR(json_string_value(json_object_get(json_object_get(v, "payload"), "gateway_id")),
	      fx_id(g2));
	json_decref(v);
	fx_pass(20);
	T(fx_quiet());
	g1 = fx_connect(ROLE_GATEWAY, TOK_G, "g1");
	fx_sayf(g1, "{'topic':'gateway','event':'phx_join','payload':null,'ref':0}");
	json_decref(fx_frame(g1));
	v = fx_frame(g1);
	T_EQ(json_array_size(json_object_get(json_object_get(v, "payload"), "authorizations")), 0);
	json_decref(v);
	T(expect_reject(g1, a, RES_LAN)); /* whatever it still has */
	T(fx_quiet());
	fx_stop();
}

static void test_next_gateway_when_one_is_silent(void)
{
	uint64_t a, g[3];
	char ref[64], first[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	for (size_t i = 0; i < 3; i++)
		g[i] = fx_join(ROLE_GATEWAY, TOK_G, (const char *[]){"g1", "g2", "g3"}[i]);
	ask(a, RES_LAN, "");
	take_authorize(g[0], first);
	fx_pass(PORTAL_PATIENCE_SEC - 1);
	T(fx_quiet());
	fx_pass(1);
	take_authorize(g[1], ref);
	T(expect_reject(g[0], a, RES_LAN));
	confirm(g[0], first);
	T(expect_reply(g[0], bad_ref)); /* too late */
	fx_pass(PORTAL_PATIENCE_SEC);
	take_authorize(g[2], ref);
	T(expect_reject(g[1], a, RES_LAN));
	fx_pass(PORTAL_PENDING_SEC - 1); /* nobody is left: it gets the whole time */
	T(fx_quiet());
	fx_pass(1);
	T(expect_reject(g[2], a, RES_LAN));
	T(expect_failed(a, RES_LAN, "offline"));
	T(fx_quiet());
	T_EQ(fx.n_pending, 0);
	fx_reload(&(struct fx_config){0});
	T(fx_quiet()); /* no resource flaps: the client was never told of a flow */
	fx_stop();
}

static void test_client_vanishes_while_waiting(void)
{
	uint64_t a, g;
	char ref[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	ask(a, RES_LAN, "");
	take_authorize(g, ref);
	portal_disconnect(&fx, a);
	confirm(g, ref);
	T(expect_reply(g, ok_reply));
	T(fx_quiet());
	fx_stop();
}

static void test_revoked_while_waiting(void)
{
	struct fx_config none = {.policies = ""};
	uint64_t a, g;
	char ref[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	ask(a, RES_LAN, "");
	take_authorize(g, ref);
	fx_reload(&none);
	json_t *v = fx_frame(g);
	T_STR(json_string_value(json_object_get(v, "event")), "reject_access");
	json_decref(v);
	fx_drain();
	confirm(g, ref);
	T(expect_reply(g, ok_reply));
	T(fx_quiet()); /* no flow_created for what was taken back */
	fx_stop();
}

static void test_pending_requests_are_bounded(void)
{
	static char resources[PORTAL_PENDING_EACH * 128 + 256], policies[sizeof(resources)];
	struct fx_config v = {.resources = resources, .policies = policies};
	char id[40], ref[64];
	size_t rn = 0, pn = 0;
	uint64_t a, g;

	for (unsigned i = 0; i <= PORTAL_PENDING_EACH; i++) {
		rn += (size_t)snprintf(resources + rn, sizeof(resources) - rn,
				       "%s{'name':'r%u','id':'5f1c0000-0000-4000-8000-%012u',"
				       "'type':'cidr','address':'10.1.%u.0/24','site':'a'}",
				       i ? "," : "", i, i, i);
		pn += (size_t)snprintf(policies + pn, sizeof(policies) - pn,
				       "%s{'actor':'alice','resource':'r%u'}", i ? "," : "", i);
	}
	fx_start(&v);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	for (unsigned i = 0; i <= PORTAL_PENDING_EACH; i++) {
		snprintf(id, sizeof(id), "5f1c0000-0000-4000-8000-%012u", i);
		ask(a, id, "");
		if (i < PORTAL_PENDING_EACH)
			take_authorize(g, ref);
	}
	T(expect_failed(a, id, "offline"));
	T(fx_quiet());
	T_EQ(PORTAL_PENDING_EACH, fx.n_pending);
	T_EQ(fx.count.table_full, 1);
	fx_stop();
}

static void test_candidates_need_a_flow(void)
{
	uint64_t a, b, g1, g2;

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	b = fx_join(ROLE_CLIENT, TOK_B, "b");
	g1 = fx_join(ROLE_GATEWAY, TOK_G, "g1");
	g2 = fx_join(ROLE_GATEWAY, TOK_G2, "g2");
	fx_flow(a, g1, RES_LAN);
	for (size_t i = 0; i < 2; i++)
		fx_sayf(i ? b : a,
			"{'topic':'client','event':'broadcast_ice_candidates','ref':2,'payload':"
			"{'gateway_ids':['%s','%s','nobody'],'candidates':['x']}}",
			fx_id(i ? g1 : g2), fx_id(i ? a : b));
	T(fx_quiet());
	T_EQ(fx.count.candidates_dropped, 6);
	fx_sayf(g1,
		"{'topic':'gateway','event':'broadcast_ice_candidates','ref':2,'payload':"
		"{'client_ids':['%s','%s'],'candidates':['x']}}",
		fx_id(b), fx_id(g2));
	T(fx_quiet());
	T_EQ(fx.count.candidates_dropped, 8);
	fx_stop();
}

static void test_flow_created_precedes_candidates(void)
{
	uint64_t a, g;
	char ref[64];
	json_t *v;

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	ask(a, RES_LAN, "");
	take_authorize(g, ref);
	confirm(g, ref);
	fx_sayf(g,
		"{'topic':'gateway','event':'broadcast_ice_candidates','ref':2,'payload':"
		"{'client_ids':['%s'],'candidates':['x']}}",
		fx_id(a));
	T(expect_reply(g, ok_reply));
	v = fx_frame(a);
	T_STR(json_string_value(json_object_get(v, "event")), "flow_created");
	json_decref(v);
	v = fx_frame(a);
	T_STR(json_string_value(json_object_get(v, "event")), "ice_candidates");
	json_decref(v);
	fx_stop();
}

static void test_credentials_are_stable_until_a_key_changes(void)
{
	struct connect_req req = {.role = ROLE_CLIENT,
				  .token = TOK_A,
				  .external_id = "a",
				  .public_key = GKEY,
				  .user_agent = "connlib/1.4.0"};
	char psk[3][64];
	uint64_t a, g;

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	for (size_t i = 0; i < 3; i++) {
		json_t *v;

		if (i == 2) { /* the same device with a new key pair */
			a = fx_connect_req(&req, NULL);
			fx_sayf(a, "{'topic':'client','event':'phx_join','payload':null,'ref':0}");
			fx_drain();
		}
		ask(a, RES_LAN, "");
		v = fx_frame(g);
		confirm(g,
			json_string_value(json_object_get(json_object_get(v, "payload"), "ref")));
		fx_drain();
		snprintf(psk[i], sizeof(psk[i]), "%s",
			 json_string_value(json_object_get(
				 json_object_get(json_object_get(v, "payload"), "client"),
				 "preshared_key")));
		json_decref(v);
	}
	T_STR(psk[0], psk[1]);
	T(strcmp(psk[0], psk[2]) != 0);
	fx_stop();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_refusals);
	T_RUN(test_forbidden_when_policy_just_ended);
	T_RUN(test_incompatible_gateway);
	T_RUN(test_sticky_then_least_loaded);
	T_RUN(test_confirmation_is_bound_to_gateway_and_used_once);
	T_RUN(test_silent_gateway_counts_as_offline);
	T_RUN(test_repeated_requests_are_one);
	T_RUN(test_gateway_vanishes_while_asked);
	T_RUN(test_gateway_comes_back_while_asked);
	T_RUN(test_next_gateway_when_one_vanishes);
	T_RUN(test_next_gateway_when_one_is_silent);
	T_RUN(test_client_vanishes_while_waiting);
	T_RUN(test_revoked_while_waiting);
	T_RUN(test_pending_requests_are_bounded);
	T_RUN(test_candidates_need_a_flow);
	T_RUN(test_flow_created_precedes_candidates);
	T_RUN(test_credentials_are_stable_until_a_key_changes);
	return t_done();
}
