/* SPDX-License-Identifier: Apache-2.0
 *
 * Flows: whom the portal introduces to whom, what it answers when it cannot, and that neither
 * candidates nor confirmations reach anybody they should not. */
#include "tests/unit/portal_fixture.h"

static void ask(uint64_t client, const char *resource, const char *connected)
{
	fx_sayf(client,
		"{'topic':'client','event':'create_flow','ref':1,'payload':{'resource_id':'%s',"
		"'connected_gateway_ids':[%s]}}",
		resource, connected);
}

static bool expect_failed(uint64_t client, const char *resource, const char *reason)
{
	char want[512];

	snprintf(want, sizeof(want),
		 "{'topic':'client','event':'flow_creation_failed','ref':null,"
		 "'payload':{'resource_id':'%s','reason':'%s'}}",
		 resource, reason);
	return fx_expect(client, want);
}

/* The gateway's authorize_flow; its correlation reference. */
static void take_authorize(uint64_t gateway, char ref[64])
{
	json_t *v = fx_frame(gateway);

	T_STR(json_string_value(json_object_get(v, "event")), "authorize_flow");
	snprintf(ref, 64, "%s",
		 json_string_value(json_object_get(json_object_get(v, "payload"), "ref")));
	json_decref(v);
}

static void confirm(uint64_t gateway, const char *ref)
{
	fx_sayf(gateway,
		"{'topic':'gateway','event':'flow_authorized','ref':4,'payload':{'ref':'%s'}}",
		ref);
}

static bool expect_reply(uint64_t gateway, const char *payload)
{
	char want[256];

	snprintf(want, sizeof(want), "{'topic':'gateway','event':'phx_reply','ref':4,'payload':%s}",
		 payload);
	return fx_expect(gateway, want);
}

static const char ok_reply[] = "{'status':'ok','response':{}}";
static const char bad_ref[] = "{'status':'error','response':{'reason':'invalid_ref'}}";

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
	char ref[64], quoted[64];

	fx_start(&(struct fx_config){.policies = "{'actor':'alice','resource':'lan'},"
						 "{'actor':'bob','resource':'lan'}"});
	g1 = fx_join(ROLE_GATEWAY, TOK_G, "g1");
	g2 = fx_join(ROLE_GATEWAY, TOK_G, "g2");
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	b = fx_join(ROLE_CLIENT, TOK_B, "b");
	fx_flow(a, g1, RES_LAN);
	ask(b, RES_LAN, ""); /* g1 has one already */
	take_authorize(g2, ref);
	snprintf(quoted, sizeof(quoted), "'x','%s'", fx_id(g1));
	ask(b, RES_LAN, quoted); /* but a connected one wins */
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

static void test_repeated_request_answered_once_does_not_fail_later(void)
{
	uint64_t a, g;
	char first[64], second[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	ask(a, RES_LAN, "");
	take_authorize(g, first);
	fx_pass(2);
	ask(a, RES_LAN, "");
	take_authorize(g, second);
	T(strcmp(first, second) != 0);
	confirm(g, second);
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
	fx_pass(PORTAL_PENDING_SEC);
	T(fx_quiet()); /* the client asks again by itself every 2 s */
	T_EQ(fx.n_pending, 0);
	ask(a, RES_LAN, "");
	T(expect_failed(a, RES_LAN, "offline"));
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
	uint64_t a, g;
	unsigned asked = 0;
	char ref[64];

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	g = fx_join(ROLE_GATEWAY, TOK_G, "g");
	for (unsigned i = 0; i < PORTAL_PENDING_EACH; i++) {
		ask(a, RES_LAN, "");
		take_authorize(g, ref);
		asked++;
	}
	ask(a, RES_LAN, "");
	T(expect_failed(a, RES_LAN, "offline"));
	T(fx_quiet());
	T_EQ(asked, fx.n_pending);
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
	T_RUN(test_repeated_request_answered_once_does_not_fail_later);
	T_RUN(test_gateway_vanishes_while_asked);
	T_RUN(test_client_vanishes_while_waiting);
	T_RUN(test_revoked_while_waiting);
	T_RUN(test_pending_requests_are_bounded);
	T_RUN(test_candidates_need_a_flow);
	T_RUN(test_flow_created_precedes_candidates);
	T_RUN(test_credentials_are_stable_until_a_key_changes);
	return t_done();
}
