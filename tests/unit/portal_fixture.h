/* SPDX-License-Identifier: Apache-2.0
 *
 * Drives the control-plane machine in tests: configurations from text, components that connect, and
 * the frames each of them was sent, in order. Time is a variable. */
#ifndef PENSTOCK_TESTS_PORTAL_FIXTURE_H
#define PENSTOCK_TESTS_PORTAL_FIXTURE_H
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

#include "apps/portal/expiry.h"
#include "apps/portal/state.h"
#include "base/time.h"
#include "tests/t.h"

#define CKEY	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define GKEY	"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define TOK_G	"gateway-token-0123456789012345678901234"
#define TOK_A	"alices-token-01234567890123456789012345"
#define TOK_B	"bobs-token-0123456789012345678901234567"
#define TOK_R	"relays-token-01234567890123456789012345"
#define TOK_G2	"other-site-token-0123456789012345678901"
#define RES_LAN "5f1c0000-0000-4000-8000-000000000001"
#define RES_WEB "5f1c0000-0000-4000-8000-000000000002"
#define SITE_A	"51e00000-0000-4000-8000-00000000000a"
#define SITE_B	"51e00000-0000-4000-8000-00000000000b"
#define WALL	UINT64_C(1800000000)

/* The parts of a configuration tests vary. */
struct fx_config {
	const char *resources, *policies, *dns, *slug, *bob, *alice_expiry, *gateway_site,
		*gateway_token;
	/* with commas where needed */
	const char *relays, *static_relays, *alice_place, *gateway_place, *other_place;
};

#define FX_LAN                                                                     \
	"{'name':'lan','id':'" RES_LAN "','type':'cidr','address':'10.20.0.0/16'," \
	"'site':'a'}"
#define FX_WEB                                                                     \
	"{'name':'web','id':'" RES_WEB "','type':'cidr','address':'10.30.0.0/16'," \
	"'site':'a'}"

static struct portal fx;
static uint64_t fx_now, fx_wall;
static uint64_t fx_seed;

static inline void fx_entropy(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len--)
		*p++ = (uint8_t)t_rand(&fx_seed);
}

static inline void fx_hash(const char *token, char hex[TOKEN_HASH_STRLEN])
{
	uint8_t hash[TOKEN_HASH_LEN];

	token_hash(token, strlen(token), hash);
	token_hash_fmt(hash, hex);
}

static inline struct config *fx_config(const struct fx_config *v)
{
	static char text[32768];
	char g[65], a[65], b[65], r[65], g2[65];
	struct config_error err;
	struct config *cfg;

	fx_hash(v->gateway_token ? v->gateway_token : TOK_G, g);
	fx_hash(TOK_A, a);
	fx_hash(TOK_B, b);
	fx_hash(TOK_R, r);
	fx_hash(TOK_G2, g2);
	snprintf(text, sizeof(text),
		 "{'account_slug':'%s','listen':[{'address':'127.0.0.1:1'}],'dns':%s,"
		 "'sites':[{'name':'a','id':'" SITE_A "'},{'name':'b','id':'" SITE_B "'}],"
		 "'gateways':[{'name':'g','site':'%s','token_sha256':'%s'%s},"
		 "{'name':'g2','site':'b','token_sha256':'%s'%s}],"
		 "'clients':[{'name':'alice','groups':['staff'],'token_sha256':'%s',"
		 "'expires_at':%s%s}%s%s%s],"
		 "'relays':[{'name':'r','token_sha256':'%s'}%s],'static_relays':[%s],"
		 "'resources':[%s],'policies':[%s]}",
		 v->slug ? v->slug : "acme", v->dns ? v->dns : "null",
		 v->gateway_site ? v->gateway_site : "a", g,
		 v->gateway_place ? v->gateway_place : "", g2, v->other_place ? v->other_place : "",
		 a, v->alice_expiry ? v->alice_expiry : "null",
		 v->alice_place ? v->alice_place : "",
		 v->bob ? "" : ",{'name':'bob','token_sha256':'", v->bob ? v->bob : b,
		 v->bob ? "" : "'}", r, v->relays ? v->relays : "",
		 v->static_relays ? v->static_relays : "", v->resources ? v->resources : FX_LAN,
		 v->policies ? v->policies : "{'group':'staff','resource':'lan'}");
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	cfg = config_parse(text, strlen(text), &err);
	if (!T(cfg))
		t_note("fixture: line %u %s %s", err.line, err.field, err.msg);
	return cfg;
}

static inline void fx_start(const struct fx_config *v)
{
	static const struct fx_config plain;

	fx_seed = 7;
	fx_now = 1000 * NS_PER_SEC;
	fx_wall = WALL;
	T_EQ(portal_init(&fx, fx_config(v ? v : &plain), fx_entropy, fx_wall), 0);
}

static inline void fx_stop(void)
{
	portal_fini(&fx);
}

static inline void fx_reload(const struct fx_config *v)
{
	struct config *cfg = fx_config(v);

	if (cfg)
		portal_reload(&fx, cfg, fx_wall);
}

static inline void fx_pass(uint64_t sec)
{
	fx_now += sec * NS_PER_SEC;
	fx_wall += sec;
	portal_tick(&fx, fx_now, fx_wall);
}

/* 0 when refused; then *res says why. */
static inline uint64_t fx_connect_req(const struct connect_req *req, struct connect_res *res)
{
	struct connect_res local;

	portal_connect(&fx, req, res ? res : &local, fx_now, fx_wall);
	res = res ? res : &local;
	return res->status == 101 ? res->session : 0;
}

static inline uint64_t fx_connect(enum portal_role role, const char *token, const char *id)
{
	struct connect_req req = {.role = role,
				  .token = token,
				  .external_id = id,
				  .name = id,
				  .public_key = role == ROLE_CLIENT ? CKEY : GKEY,
				  .ipv4 = "203.0.113.10",
				  .user_agent = role == ROLE_RELAY ? "relay/0.1.0"
								   : "Debian/12 connlib/1.4.0 (x)"};

	return fx_connect_req(&req, NULL);
}

static inline void fx_say(uint64_t session, const char *text)
{
	portal_message(&fx, session, text, strlen(text), fx_now, fx_wall);
}

/* A frame with single quotes for double ones. */
static inline void fx_sayf(uint64_t session, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static inline void fx_sayf(uint64_t session, const char *fmt, ...)
{
	static char text[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	fx_say(session, text);
}

/* The next effect must be for this session; its frame, or NULL for a close. */
static inline json_t *fx_frame(uint64_t session)
{
	struct out_msg *m = portal_next(&fx);
	json_t *v = NULL;

	if (T(m && m->session == session && m->text))
		v = json_loads(m->text, 0, NULL);
	else if (m)
		t_note("session %llu got %s", (unsigned long long)m->session,
		       m->text ? m->text : "close");
	if (m)
		out_msg_free(m);
	return v;
}

static inline bool fx_quiet(void)
{
	struct out_msg *m = portal_next(&fx);

	if (!m)
		return true;
	t_note("unexpected for session %llu: %s", (unsigned long long)m->session,
	       m->text ? m->text : "close");
	out_msg_free(m);
	return false;
}

static inline void fx_drain(void)
{
	struct out_msg *m;

	while ((m = portal_next(&fx)))
		out_msg_free(m);
}

/* The next effect is exactly this frame (single quotes). */
static inline bool fx_expect(uint64_t session, const char *want)
{
	static char text[8192];
	json_t *got = fx_frame(session), *v;
	bool same;

	snprintf(text, sizeof(text), "%s", want);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	v = json_loads(text, 0, NULL);
	same = v && got && json_equal(v, got);
	if (!same && got) {
		char *dump = json_dumps(got, 0);

		t_note("got  %s", dump);
		t_note("want %s", text);
		free(dump);
	}
	json_decref(v);
	json_decref(got);
	return same;
}

static inline bool fx_expect_close(uint64_t session, int code)
{
	struct out_msg *m = portal_next(&fx);
	bool ok = m && m->session == session && !m->text && m->code == code;

	if (m && !ok)
		t_note("session %llu got %s", (unsigned long long)m->session,
		       m->text ? m->text : "another close");
	if (m)
		out_msg_free(m);
	return ok;
}

/* Connect and join, past init. */
static inline uint64_t fx_join(enum portal_role role, const char *token, const char *id)
{
	uint64_t s = fx_connect(role, token, id);

	fx_sayf(s, "{'topic':'%s','event':'phx_join','payload':null,'ref':0}",
		portal_role_name(role));
	fx_drain();
	return s;
}

static inline const char *fx_id(uint64_t session)
{
	for (size_t i = 0; i < fx.n_sessions; i++)
		if (fx.sessions[i]->id == session)
			return fx.sessions[i]->dev->id;
	return "";
}

/* Ask for a resource and have the gateway confirm; nothing of it is left in the queue. */
static inline void fx_flow(uint64_t client, uint64_t gateway, const char *resource)
{
	json_t *v;

	fx_sayf(client,
		"{'topic':'client','event':'create_flow','ref':9,'payload':{'resource_id':'%s',"
		"'connected_gateway_ids':[]}}",
		resource);
	v = fx_frame(gateway);
	fx_sayf(gateway,
		"{'topic':'gateway','event':'flow_authorized','ref':9,'payload':{'ref':'%s'}}",
		json_string_value(json_object_get(json_object_get(v, "payload"), "ref")));
	json_decref(v);
	v = fx_frame(gateway);
	json_decref(v);
	v = fx_frame(client);
	T_STR(json_string_value(json_object_get(v, "event")), "flow_created");
	json_decref(v);
}
#endif
