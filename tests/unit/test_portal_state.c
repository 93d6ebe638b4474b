/* SPDX-License-Identifier: Apache-2.0
 *
 * The control-plane machine, no sockets: a worked exchange from the first join to the end of a
 * token, and every answer to what components may get wrong. */
#include "tests/unit/portal_fixture.h"

/* ---- the worked exchange -----------------------------------------------------------------------
 */

static void expect_text(const json_t *payload, const char *key, const char *want)
{
	T_STR(json_string_value(json_object_get(payload, key)), want);
}

static void trace_relay(void)
{
	uint64_t r = fx_connect(ROLE_RELAY, TOK_R, NULL);

	fx_sayf(r,
		"{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'aaaa'},'ref':0}");
	T(fx_expect(r, "{'topic':'relay','event':'phx_reply','ref':0,"
		       "'payload':{'status':'ok','response':{}}}"));
	T(fx_expect(r, "{'topic':'relay','event':'init','ref':null,'payload':{}}"));
	fx_sayf(r, "{'topic':'phoenix','event':'heartbeat','payload':{},'ref':1}");
	T(fx_expect(r, "{'topic':'phoenix','event':'phx_reply','ref':1,"
		       "'payload':{'status':'ok','response':{}}}"));
}

static void trace_relays(const json_t *relays, const char *until)
{
	const json_t *r = json_array_get(relays, 0);
	T_EQ(json_array_size(relays), 1);
	expect_text(r, "addr", "203.0.113.10:3478");
	T(!strncmp(json_string_value(json_object_get(r, "username")), until, strlen(until)));
}

static uint64_t trace_gateway(void)
{
	uint64_t g = fx_connect(ROLE_GATEWAY, TOK_G, "gw1");
	json_t *v;

	fx_sayf(g, "{'topic':'gateway','event':'phx_join','payload':null,'ref':0}");
	T(fx_expect(g, "{'topic':'gateway','event':'phx_reply','ref':0,"
		       "'payload':{'status':'ok','response':{}}}"));
	v = fx_frame(g);
	const json_t *p = json_object_get(v, "payload"), *iface = json_object_get(p, "interface");
	T(json_is_null(json_object_get(v, "ref")));
	expect_text(v, "event", "init");
	expect_text(p, "account_slug", "acme");
	T(!strncmp(json_string_value(json_object_get(iface, "ipv4")), "100.", 4));
	T(!strncmp(json_string_value(json_object_get(iface, "ipv6")), "fd00:2021:1111::", 16));
	T(json_is_true(json_object_get(json_object_get(p, "config"), "ipv4_masquerade_enabled")));
	T(json_is_true(json_object_get(json_object_get(p, "config"), "ipv6_masquerade_enabled")));
	T_EQ(json_array_size(json_object_get(p, "authorizations")), 0);
	trace_relays(json_object_get(p, "relays"), "2145916800");
	json_decref(v);
	return g;
}

static uint64_t trace_client(void)
{
	uint64_t c = fx_connect(ROLE_CLIENT, TOK_A, "laptop");
	json_t *v, *want;

	fx_sayf(c, "{'topic':'client','event':'phx_join','payload':null,'ref':0}");
	T(fx_expect(c, "{'topic':'client','event':'phx_reply','ref':0,"
		       "'payload':{'status':'ok','response':{}}}"));
	v = fx_frame(c);
	const json_t *p = json_object_get(v, "payload"), *iface = json_object_get(p, "interface");
	expect_text(v, "event", "init");
	T(json_is_null(json_object_get(iface, "search_domain")));
	T_EQ(json_array_size(json_object_get(iface, "upstream_dns")), 0);
	want = json_pack("[{s:s,s:s,s:s,s:n,s:s,s:[{s:s,s:s}],s:[]}]", "id", RES_LAN, "type",
			 "cidr", "address", "10.20.0.0/16", "address_description", "name", "lan",
			 "gateway_groups", "id", SITE_A, "name", "a", "filters");
	T(json_equal(json_object_get(p, "resources"), want));
	trace_relays(json_object_get(p, "relays"), "1900000000");
	json_decref(want);
	json_decref(v);
	return c;
}

/* Asks; the correlation reference the gateway was given goes to ref, the preshared key to psk. */
static void trace_authorize(uint64_t c, uint64_t g, char ref[64], char psk[64])
{
	json_t *v;

	fx_sayf(c, "{'topic':'client','event':'create_flow','ref':1,'payload':{'resource_id':"
		   "'" RES_LAN "','connected_gateway_ids':[]}}");
	v = fx_frame(g);
	const json_t *p = json_object_get(v, "payload"), *client = json_object_get(p, "client");
	json_t *want = json_pack("{s:s,s:s,s:s,s:s,s:[]}", "id", RES_LAN, "type", "cidr", "address",
				 "10.20.0.0/16", "name", "lan", "filters");
	expect_text(v, "event", "authorize_flow");
	T(json_is_null(json_object_get(v, "ref")));
	T(json_equal(json_object_get(p, "resource"), want));
	expect_text(client, "id", fx_id(c));
	expect_text(client, "public_key", CKEY);
	T(json_object_get(client, "ipv4") && json_object_get(client, "ipv6"));
	T_EQ(json_integer_value(json_object_get(p, "expires_at")), 1900000000);
	T_EQ(strlen(json_string_value(json_object_get(p, "ref"))), 32);
	snprintf(ref, 64, "%s", json_string_value(json_object_get(p, "ref")));
	snprintf(psk, 64, "%s", json_string_value(json_object_get(client, "preshared_key")));
	T(ident_key_valid(psk));
	json_decref(want);
	json_decref(v);
	T(fx_quiet()); /* the client waits for the gateway */
}

static void trace_created(uint64_t c, uint64_t g, const char *ref, const char *psk)
{
	struct pair_ids ids = {fx_id(c), fx_id(g), CKEY, GKEY};
	struct ice_creds ci, gi;
	json_t *v;

	fx_sayf(g, "{'topic':'gateway','event':'flow_authorized','payload':{'ref':'%s'},'ref':1}",
		ref);
	T(fx_expect(g, "{'topic':'gateway','event':'phx_reply','ref':1,"
		       "'payload':{'status':'ok','response':{}}}"));
	v = fx_frame(c);
	const json_t *p = json_object_get(v, "payload");
	derive_ice(&ids, &ci, &gi);
	expect_text(v, "event", "flow_created");
	expect_text(p, "resource_id", RES_LAN);
	expect_text(p, "gateway_id", fx_id(g));
	expect_text(p, "gateway_group_id", SITE_A);
	expect_text(p, "gateway_public_key", GKEY);
	expect_text(p, "preshared_key", psk);
	expect_text(json_object_get(p, "client_ice_credentials"), "username", ci.username);
	expect_text(json_object_get(p, "client_ice_credentials"), "password", ci.password);
	expect_text(json_object_get(p, "gateway_ice_credentials"), "username", gi.username);
	expect_text(json_object_get(p, "gateway_ice_credentials"), "password", gi.password);
	T(json_object_get(p, "gateway_ipv4") && json_object_get(p, "gateway_ipv6"));
	json_decref(v);
}

static void trace_candidates(uint64_t c, uint64_t g)
{
	static const char *const events[][2] = {
		{"broadcast_ice_candidates", "ice_candidates"},
		{"broadcast_invalidated_ice_candidates", "invalidate_ice_candidates"}};
	char want[512];

	for (size_t i = 0; i < 2; i++) {
		fx_sayf(g,
			"{'topic':'gateway','event':'%s','ref':2,'payload':{'client_ids':['%s'],"
			"'candidates':['candidate:a1 1 udp 1 192.0.2.5 5 typ host','x']}}",
			events[i][0], fx_id(c));
		snprintf(want, sizeof(want),
			 "{'topic':'client','event':'%s','ref':null,'payload':{'gateway_id':'%s',"
			 "'candidates':['candidate:a1 1 udp 1 192.0.2.5 5 typ host','x']}}",
			 events[i][1], fx_id(g));
		T(fx_expect(c, want));
		fx_sayf(c,
			"{'topic':'client','event':'%s','ref':2,'payload':{'gateway_ids':['%s'],"
			"'candidates':['y']}}",
			events[i][0], fx_id(g));
		snprintf(want, sizeof(want),
			 "{'topic':'gateway','event':'%s','ref':null,'payload':{'client_id':'%s',"
			 "'candidates':['y']}}",
			 events[i][1], fx_id(c));
		T(fx_expect(g, want));
	}
	T(fx_quiet());
}

static void test_worked_exchange(void)
{
	struct fx_config v = {.alice_expiry = "1900000000"};
	char ref[64], psk[64], want[256];
	uint64_t c, g;

	fx_start(&v);
	trace_relay();
	g = trace_gateway();
	c = trace_client();
	trace_authorize(c, g, ref, psk);
	trace_created(c, g, ref, psk);
	trace_candidates(c, g);

	v.policies = "";
	fx_reload(&v);
	snprintf(want, sizeof(want),
		 "{'topic':'gateway','event':'reject_access','ref':null,"
		 "'payload':{'client_id':'%s','resource_id':'" RES_LAN "'}}",
		 fx_id(c));
	T(fx_expect(g, want));
	T(fx_expect(c, "{'topic':'client','event':'resource_deleted','ref':null,"
		       "'payload':'" RES_LAN "'}"));
	T(fx_quiet());

	fx_wall = 1900000000;
	portal_tick(&fx, fx_now, fx_wall);
	T(fx_expect(c, "{'topic':'client','event':'disconnect','ref':null,"
		       "'payload':{'reason':'token_expired'}}"));
	T(fx_expect_close(c, CLOSE_NORMAL));
	T(fx_quiet());
	fx_stop();
}

/* ---- connecting --------------------------------------------------------------------------------
 */

static void test_connect_refusals(void)
{
	static const char blank[] = "Invalid or missing connection parameters: ";
	struct connect_req ok = {.role = ROLE_CLIENT,
				 .token = TOK_A,
				 .external_id = "x",
				 .public_key = CKEY,
				 .user_agent = "connlib/1.4.0"};
	struct {
		const char *what;
		struct connect_req req;
		int status;
		const char *body;
	} rows[] = {
		{"no token", ok, 401, "Missing token"},
		{"empty token", ok, 401, "Missing token"},
		{"unknown token", ok, 401, "Invalid token"},
		{"short token", ok, 401, "Invalid token"},
		{"token of a gateway", ok, 401, "Invalid token"},
		{"no external id", ok, 422, "external_id: can't be blank\n"},
		{"external id no text", ok, 422, "external_id: is invalid\n"},
		{"no key", ok, 422, "public_key: can't be blank\n"},
		{"short key", ok, 422, "public_key: is not a base64-encoded 32-byte key\n"},
		{"no agent", ok, 422, "user_agent: is invalid\n"},
		{"other agent", ok, 422, "user_agent: is invalid\n"},
		{"vsn 2", ok, 403, ""},
		{"nothing but a token", ok, 422,
		 "external_id: can't be blank; public_key: can't be blank; user_agent: is "
		 "invalid\n"},
	};
	struct connect_res res;

	rows[0].req.token = NULL;
	rows[1].req.token = "";
	rows[2].req.token = "nobodys-token-0123456789012345678901234";
	rows[3].req.token = "short";
	rows[4].req.token = TOK_G;
	rows[5].req.external_id = NULL;
	rows[6].req.external_id = "\xff\xfe";
	rows[7].req.public_key = NULL;
	rows[8].req.public_key = "AAEC";
	rows[9].req.user_agent = NULL;
	rows[10].req.user_agent = "curl/8 xconnlib/1";
	rows[11].req.vsn = "2.0.0";
	rows[12].req = (struct connect_req){.role = ROLE_CLIENT, .token = TOK_A};
	fx_start(NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		T(!fx_connect_req(&rows[i].req, &res));
		bool same = T_EQ(res.status, rows[i].status);

		if (rows[i].status == 422)
			same &= T(!strncmp(res.body, blank, strlen(blank)) &&
				  !strcmp(res.body + strlen(blank), rows[i].body));
		else
			same &= T_STR(res.body, rows[i].body);
		if (!same)
			t_note("%s: %d %s", rows[i].what, res.status, res.body);
	}
	T_EQ(fx.n_sessions, 0);
	T_EQ(fx.reg.n, 0); /* strangers leave nothing behind */
	T_EQ(fx.count.refused, sizeof(rows) / sizeof(rows[0]));
	ok.vsn = "1.0.0";
	T(fx_connect_req(&ok, &res));
	fx_stop();
}

static void test_connect_expired_token(void)
{
	struct fx_config v = {.alice_expiry = "1800000010"};
	struct connect_req req = {.role = ROLE_CLIENT,
				  .token = TOK_A,
				  .external_id = "x",
				  .public_key = CKEY,
				  .user_agent = "connlib/1.4.0"};
	struct connect_res res;
	uint64_t s;

	fx_start(&v);
	s = fx_connect_req(&req, &res);
	T(s);
	fx_wall += 10;
	fx_sayf(s, "{'topic':'client','event':'phx_join','payload':null,'ref':5}");
	T(fx_expect(s, "{'topic':'client','event':'phx_reply','ref':5,'payload':"
		       "{'status':'error','response':{'reason':'token_expired'}}}"));
	T(!fx_connect_req(&req, &res));
	T_EQ(res.status, 401);
	fx_stop();
}

static void test_connect_relay_params(void)
{
	static const struct {
		const char *v4, *v6, *port;
		bool ok;
	} rows[] = {
		{"203.0.113.1", NULL, "3478", true},
		{NULL, "2001:db8::1", NULL, true},
		{"203.0.113.1", "2001:db8::1", "1", true},
		{NULL, NULL, "3478", false},
		{"2001:db8::1", NULL, "3478", false},
		{NULL, "203.0.113.1", "3478", false},
		{"203.0.113.1", NULL, "0", false},
		{"203.0.113.1", NULL, "65536", false},
		{"203.0.113.1", NULL, "12x", false},
		{"203.0.113.1", NULL, "-1", false},
		{"203.0.113.1", NULL, "999999999999999999999", false},
	};

	fx_start(NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct connect_req req = {.role = ROLE_RELAY,
					  .token = TOK_R,
					  .ipv4 = rows[i].v4,
					  .ipv6 = rows[i].v6,
					  .port = rows[i].port,
					  .user_agent = "relay/0.1.0"};
		struct connect_res res;

		T_EQ(fx_connect_req(&req, &res) != 0, rows[i].ok);
		T_EQ(res.status, rows[i].ok ? 101 : 422);
	}
	fx_stop();
}

static void test_same_device_same_addresses(void)
{
	uint64_t a, b, other, gw;
	char id[UUID_STRLEN];

	fx_start(NULL);
	a = fx_connect(ROLE_CLIENT, TOK_A, "laptop");
	snprintf(id, sizeof(id), "%s", fx_id(a));
	T_EQ(fx.reg.n, 1);
	uint32_t slot = fx.reg.dev[0]->slot;
	portal_disconnect(&fx, a);
	b = fx_connect(ROLE_CLIENT, TOK_A, "laptop");
	T_STR(fx_id(b), id);
	T_EQ(fx.reg.n, 1);
	T_EQ(fx.reg.dev[0]->slot, slot);
	other = fx_connect(ROLE_CLIENT, TOK_B, "laptop"); /* another actor: another device */
	gw = fx_connect(ROLE_GATEWAY, TOK_G, "laptop");
	T(strcmp(fx_id(other), id) && strcmp(fx_id(gw), id) && strcmp(fx_id(gw), fx_id(other)));
	T_EQ(fx.reg.n, 3);
	fx_stop();
}

static void test_newer_connection_replaces(void)
{
	uint64_t a, b;

	fx_start(NULL);
	a = fx_join(ROLE_CLIENT, TOK_A, "laptop");
	b = fx_connect(ROLE_CLIENT, TOK_A, "laptop");
	T(fx_quiet()); /* not before it has joined */
	fx_sayf(b, "{'topic':'client','event':'phx_join','payload':null,'ref':0}");
	T(fx_expect_close(a, CLOSE_NORMAL));
	fx_drain();
	T(fx.reg.dev[0]->session && fx.reg.dev[0]->session->id == b);
	portal_disconnect(&fx, a);
	T(fx.reg.dev[0]->session && fx.reg.dev[0]->session->id == b);
	T_EQ(fx.count.replaced, 1);
	fx_stop();
}

static void test_owner_share_is_bounded(void)
{
	struct connect_res res = {0};
	unsigned n = 0;

	fx_start(NULL);
	for (unsigned i = 0; i < REGISTRY_OWNER_MAX + 5; i++) {
		char id[16];
		struct connect_req req = {.role = ROLE_CLIENT,
					  .token = TOK_A,
					  .external_id = id,
					  .public_key = CKEY,
					  .user_agent = "connlib/1.4.0"};

		snprintf(id, sizeof(id), "d%u", i);
		n += fx_connect_req(&req, &res) != 0;
	}
	T_EQ(n, REGISTRY_OWNER_MAX);
	T_EQ(res.status, 503);
	T_EQ(fx.count.table_full, 5);
	T(fx_connect(ROLE_CLIENT, TOK_B, "bobs") != 0); /* others are not hurt */
	for (size_t i = 0; i < fx.reg.n; i++)
		for (size_t j = 0; j < i; j++)
			if (fx.reg.dev[i]->slot == fx.reg.dev[j]->slot)
				T(!"two devices with one address");
	fx_stop();
}

/* ---- the channel -------------------------------------------------------------------------------
 */

static void test_malformed_frames_close(void)
{
	static const char *const frames[] = {
		"",
		"x",
		"{",
		"[]",
		"[null,null,\"client\",\"phx_join\",{}]",
		"1",
		"\"x\"",
		"null",
		"{}",
		"{\"topic\":\"client\",\"event\":\"x\",\"payload\":{}}",
		"{\"topic\":\"client\",\"event\":\"x\",\"ref\":1}",
		"{\"topic\":\"client\",\"payload\":{},\"ref\":1}",
		"{\"event\":\"x\",\"payload\":{},\"ref\":1}",
		"{\"topic\":1,\"event\":\"x\",\"payload\":{},\"ref\":1}",
		"{\"topic\":\"client\",\"event\":null,\"payload\":{},\"ref\":1}",
		"{\"topic\":\"client\",\"event\":\"x\",\"payload\":{},\"ref\":{}}",
		"{\"topic\":\"client\",\"event\":\"x\",\"payload\":{},\"ref\":1} x",
		"{\"topic\":\"cl\\u0000ient\",\"event\":\"x\",\"payload\":{},\"ref\":1}",
		"{\"topic\":\"\xff\",\"event\":\"x\",\"payload\":{},\"ref\":1}",
	};

	fx_start(NULL);
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		uint64_t s = fx_join(ROLE_CLIENT, TOK_A, "laptop");

		fx_say(s, frames[i]);
		if (!T(fx_expect_close(s, CLOSE_PROTOCOL)))
			t_note("frame %zu", i);
		fx_sayf(s, "{'topic':'phoenix','event':'heartbeat','payload':{},'ref':1}");
		T(fx_quiet()); /* deaf from then on */
		portal_disconnect(&fx, s);
	}
	T_EQ(fx.count.malformed, sizeof(frames) / sizeof(frames[0]));
	T_EQ(fx.n_sessions, 0);
	fx_stop();
}

static void test_too_long_and_too_deep(void)
{
	size_t len = PORTAL_FRAME_MAX + 1;
	char *big = malloc(len);
	uint64_t s;

	memset(big, '[', len);
	fx_start(NULL);
	s = fx_join(ROLE_CLIENT, TOK_A, "laptop");
	portal_message(&fx, s, big, len - 1, fx_now, fx_wall);
	T(fx_expect_close(s, CLOSE_PROTOCOL));
	s = fx_join(ROLE_CLIENT, TOK_B, "laptop");
	portal_message(&fx, s, big, len, fx_now, fx_wall);
	T(fx_expect_close(s, CLOSE_TOO_BIG));
	fx_stop();
	free(big);
}

static void test_join_failures(void)
{
	struct connect_req req = {.role = ROLE_CLIENT,
				  .token = TOK_A,
				  .external_id = "x",
				  .public_key = CKEY,
				  .user_agent = "connlib/abc"};
	uint64_t s;

	fx_start(NULL);
	s = fx_connect_req(&req, NULL);
	fx_sayf(s, "{'topic':'client','event':'phx_join','payload':null,'ref':0}");
	T(fx_expect(s, "{'topic':'client','event':'phx_reply','ref':0,'payload':"
		       "{'status':'error','response':{'reason':'invalid_version'}}}"));
	s = fx_connect(ROLE_RELAY, TOK_R, NULL);
	fx_sayf(s, "{'topic':'relay','event':'phx_join','payload':{},'ref':0}");
	T(fx_expect(s, "{'topic':'relay','event':'phx_reply','ref':0,'payload':"
		       "{'status':'error','response':{'reason':'join crashed'}}}"));
	s = fx_connect(ROLE_CLIENT, TOK_A, "laptop");
	fx_sayf(s, "{'topic':'gateway','event':'phx_join','payload':null,'ref':'a'}");
	T(fx_expect(s, "{'topic':'gateway','event':'phx_reply','ref':'a','payload':"
		       "{'status':'error','response':{'reason':'unmatched topic'}}}"));
	fx_sayf(s, "{'topic':'client','event':'create_flow','payload':{},'ref':1}");
	T(fx_expect(s, "{'topic':'client','event':'phx_reply','ref':1,'payload':"
		       "{'status':'error','response':{'reason':'unmatched topic'}}}"));
	T(fx_quiet());
	fx_stop();
}

static void test_join_twice_and_leave(void)
{
	uint64_t s;

	fx_start(NULL);
	s = fx_join(ROLE_CLIENT, TOK_A, "laptop");
	fx_sayf(s, "{'topic':'client','event':'phx_join','payload':null,'ref':7}");
	T(fx_expect(s, "{'topic':'client','event':'phx_close','ref':null,'payload':{}}"));
	T(fx_expect(s, "{'topic':'client','event':'phx_reply','ref':7,"
		       "'payload':{'status':'ok','response':{}}}"));
	json_t *init = fx_frame(s);
	T_STR(json_string_value(json_object_get(init, "event")), "init");
	json_decref(init);
	T(fx_quiet());
	fx_sayf(s, "{'topic':'client','event':'phx_leave','payload':{},'ref':8}");
	T(fx_expect(s, "{'topic':'client','event':'phx_reply','ref':8,"
		       "'payload':{'status':'ok','response':{}}}"));
	T(fx_expect(s, "{'topic':'client','event':'phx_close','ref':null,'payload':{}}"));
	T(!fx.reg.dev[0]->session);
	fx_stop();
}

static void test_unknown_messages(void)
{
	static const struct {
		enum portal_role role;
		const char *event, *payload;
	} rows[] = {
		{ROLE_CLIENT, "request_authorization", "{}"},
		{ROLE_CLIENT, "flow_authorized", "{'ref':'x'}"},
		{ROLE_CLIENT, "create_flow", "null"},
		{ROLE_CLIENT, "create_flow", "{'resource_id':'" RES_LAN "'}"},
		{ROLE_CLIENT, "create_flow", "{'connected_gateway_ids':[]}"},
		{ROLE_CLIENT, "create_flow", "{'resource_id':1,'connected_gateway_ids':[]}"},
		{ROLE_CLIENT, "create_flow", "{'resource_id':'x','connected_gateway_ids':[1]}"},
		{ROLE_CLIENT, "broadcast_ice_candidates", "{'gateway_ids':['x']}"},
		{ROLE_CLIENT, "broadcast_ice_candidates", "{'gateway_ids':'x','candidates':[]}"},
		{ROLE_CLIENT, "broadcast_ice_candidates", "{'client_ids':[],'candidates':[]}"},
		{ROLE_CLIENT, "broadcast_invalidated_ice_candidates",
		 "{'gateway_ids':['x'],'candidates':[{}]}"},
		{ROLE_GATEWAY, "create_flow", "{'resource_id':'x','connected_gateway_ids':[]}"},
		{ROLE_GATEWAY, "flow_authorized", "{}"},
		{ROLE_GATEWAY, "flow_authorized", "{'ref':1}"},
		{ROLE_GATEWAY, "broadcast_ice_candidates", "{'gateway_ids':[],'candidates':[]}"},
		{ROLE_GATEWAY, "", "{}"},
		{ROLE_RELAY, "create_flow", "{'resource_id':'x','connected_gateway_ids':[]}"},
	};

	fx_start(NULL);
	uint64_t s[ROLE_N] = {fx_join(ROLE_CLIENT, TOK_A, "c"), fx_join(ROLE_GATEWAY, TOK_G, "g"),
			      fx_connect(ROLE_RELAY, TOK_R, NULL)};
	fx_sayf(s[ROLE_RELAY],
		"{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'s'},'ref':0}");
	fx_drain();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char want[256];

		fx_sayf(s[rows[i].role], "{'topic':'%s','event':'%s','payload':%s,'ref':3}",
			portal_role_name(rows[i].role), rows[i].event, rows[i].payload);
		snprintf(want, sizeof(want),
			 "{'topic':'%s','event':'phx_reply','ref':3,'payload':"
			 "{'status':'error','response':{'reason':'unknown_message'}}}",
			 portal_role_name(rows[i].role));
		if (!T(fx_expect(s[rows[i].role], want)))
			t_note("row %zu", i);
	}
	T(fx_quiet());
	T_EQ(fx.count.unknown, sizeof(rows) / sizeof(rows[0]));
	fx_stop();
}

static void test_idle_closes(void)
{
	static const struct {
		enum portal_role role;
		const char *token;
		uint64_t sec;
	} rows[] = {{ROLE_CLIENT, TOK_A, 307}, {ROLE_GATEWAY, TOK_G, 37}, {ROLE_RELAY, TOK_R, 41}};

	fx_start(NULL);
	for (size_t i = 0; i < 3; i++) {
		uint64_t s = fx_connect(rows[i].role, rows[i].token, "x");

		fx_pass(rows[i].sec - 1);
		T(fx_quiet());
		fx_sayf(s, "{'topic':'phoenix','event':'heartbeat','payload':{},'ref':1}");
		fx_drain();
		fx_pass(rows[i].sec - 1);
		T(fx_quiet());
		fx_pass(1);
		T(fx_expect_close(s, CLOSE_NORMAL));
		portal_disconnect(&fx, s);
	}
	fx_stop();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_worked_exchange);
	T_RUN(test_connect_refusals);
	T_RUN(test_connect_expired_token);
	T_RUN(test_connect_relay_params);
	T_RUN(test_same_device_same_addresses);
	T_RUN(test_newer_connection_replaces);
	T_RUN(test_owner_share_is_bounded);
	T_RUN(test_malformed_frames_close);
	T_RUN(test_too_long_and_too_deep);
	T_RUN(test_join_failures);
	T_RUN(test_join_twice_and_leave);
	T_RUN(test_unknown_messages);
	T_RUN(test_idle_closes);
	return t_done();
}
