/* SPDX-License-Identifier: Apache-2.0
 *
 * Resources of several sites: which of their gateways a client is sent to, and where it goes when
 * one is gone. */
#include "tests/unit/portal_flow.h"

/* Alice in Berlin; a resource at two sites: one gateway in Frankfurt, one in Tokyo. */
static void test_nearest_then_least_loaded(void)
{
	struct fx_config v = {
		.resources = "{'name':'lan','id':'" RES_LAN "','type':'cidr',"
			     "'address':'10.20.0.0/16','sites':['b','a']}",
		.alice_place = ",'location':[52.5,13.4]",
		.gateway_place = ",'location':[50.1,8.7]",
		.other_place = ",'location':[35.7,139.7]",
		.policies = "{'actor':'alice','resource':'lan'},{'actor':'bob','resource':'lan'}"};
	uint64_t a, b, tokyo, frankfurt;
	char ref[64];
	json_t *f;

	fx_start(&v);
	tokyo = fx_join(ROLE_GATEWAY, TOK_G2, "tokyo");
	frankfurt = fx_join(ROLE_GATEWAY, TOK_G, "frankfurt");
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	b = fx_join(ROLE_CLIENT, TOK_B, "b");
	for (size_t i = 0; i < 2; i++) { /* load does not count against distance */
		ask(a, RES_LAN, "");
		serve(frankfurt);
		f = fx_frame(a);
		T_STR(json_string_value(
			      json_object_get(json_object_get(f, "payload"), "gateway_group_id")),
		      SITE_A);
		json_decref(f);
	}
	ask(b, RES_LAN, ""); /* from nowhere in particular */
	take_authorize(tokyo, ref);
	T_STR(fx.flows.f[1].site_id, SITE_B);
	portal_disconnect(&fx, frankfurt);
	ask(a, RES_LAN, "");
	take_authorize(tokyo, ref);
	T(fx_quiet());
	fx_stop();
}

/* The site of a client's flow_created; the frame is taken. */
static bool expect_created_at(uint64_t client, const char *site, uint64_t gateway)
{
	json_t *v = fx_frame(client), *payload = json_object_get(v, "payload");
	bool ok = T_STR(json_string_value(json_object_get(v, "event")), "flow_created") &
		  T_STR(json_string_value(json_object_get(payload, "gateway_group_id")), site) &
		  T_STR(json_string_value(json_object_get(payload, "gateway_id")), fx_id(gateway));

	json_decref(v);
	return ok;
}

/* A resource at two sites: when the one whose gateway serves the client loses it, the other takes
 * over; when both have, it is offline; when one is back, it is not. */
static void test_next_site_when_one_is_gone(void)
{
	struct fx_config v = {.resources = "{'name':'lan','id':'" RES_LAN "','type':'cidr',"
					   "'address':'10.20.0.0/16','sites':['a','b']}"};
	uint64_t a, here, there;
	char ref[64], connected[64];

	fx_start(&v);
	here = fx_join(ROLE_GATEWAY, TOK_G, "here");
	there = fx_join(ROLE_GATEWAY, TOK_G2, "there");
	a = fx_join(ROLE_CLIENT, TOK_A, "a");
	snprintf(connected, sizeof(connected), "'%s'", fx_id(here));
	ask(a, RES_LAN, connected);
	serve(here);
	T(expect_created_at(a, SITE_A, here));
	ask(a, RES_LAN, connected); /* it is there still: asked anew, and lost while it is */
	take_authorize(here, ref);
	portal_disconnect(&fx, here);
	fx_pass(1);
	serve(there);
	T(expect_created_at(a, SITE_B, there));
	portal_disconnect(&fx, there);
	ask(a, RES_LAN, connected);
	T(expect_failed(a, RES_LAN, "offline"));
	here = fx_join(ROLE_GATEWAY, TOK_G, "here");
	ask(a, RES_LAN, "");
	serve(here);
	T(expect_created_at(a, SITE_A, here));
	T(fx_quiet());
	fx_stop();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_nearest_then_least_loaded);
	T_RUN(test_next_site_when_one_is_gone);
	return t_done();
}
