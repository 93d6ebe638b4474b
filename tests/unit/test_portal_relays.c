/* SPDX-License-Identifier: Apache-2.0
 *
 * Relays as the portal hands them out: who is online, which two a component gets, with which
 * credentials, and what it is told when they come and go. */
#include "tests/unit/portal_fixture.h"

#define STAMP	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define STAMP_ID "ffe054fe-7ae0-4b6d-865c-3af9b61d5209"
#define CSALT	 "kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY"
#define FIXED_A                                                                            \
	"{'id':'aaaaaaaa-0000-4000-8000-00000000000a','addr4':'192.0.2.1:3478','username'" \
	":'u','password':'p'}"
#define FIXED_A2                                                                           \
	"{'id':'aaaaaaaa-0000-4000-8000-00000000000a','addr4':'192.0.2.1:3478','username'" \
	":'u','password':'other'}"
#define FIXED_B                                                                             \
	"{'id':'bbbbbbbb-0000-4000-8000-00000000000b','addr6':'[2001:db8::1]:443','shared_" \
	"secret':'north'}"
#define ID_A "aaaaaaaa-0000-4000-8000-00000000000a"
#define ID_B "bbbbbbbb-0000-4000-8000-00000000000b"

static uint64_t relay_connect(const char *token, const char *v4, const char *v6, const char *port)
{
	struct connect_req req = {.role = ROLE_RELAY,
				  .token = token,
				  .ipv4 = v4,
				  .ipv6 = v6,
				  .port = port,
				  .user_agent = "relay/0.1.0"};

	return fx_connect_req(&req, NULL);
}

/* Joined; whatever that pushed is left in the queue, past the relay's own two frames. */
static uint64_t relay_up(const char *v4, const char *v6, const char *stamp)
{
	uint64_t s = relay_connect(TOK_R, v4, v6, NULL);
	json_t *v;

	fx_sayf(s, "{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'%s'},'ref':0}",
		stamp);
	for (int i = 0; i < 2; i++) {
		v = fx_frame(s);
		json_decref(v);
	}
	return s;
}

/* Past the second of quiet. */
static void settle(void)
{
	fx_pass(0);
	fx_pass(1);
}

/* Joins and returns init's relays; the caller drops the reference. */
static json_t *join_relays(enum portal_role role, const char *token, const char *id, uint64_t *s)
{
	json_t *v, *relays;

	*s = fx_connect(role, token, id);
	fx_sayf(*s, "{'topic':'%s','event':'phx_join','payload':null,'ref':0}",
		portal_role_name(role));
	v = fx_frame(*s);
	json_decref(v);
	v = fx_frame(*s);
	relays = json_incref(json_object_get(json_object_get(v, "payload"), "relays"));
	json_decref(v);
	return relays;
}

static const char *text_at(const json_t *list, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(list, i), key));
}

static bool has_id(const json_t *list, const char *id)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		const char *text = json_string_value(json_is_object(v) ? json_object_get(v, "id")
								       : v);

		if (text && !strcmp(text, id))
			return true;
	}
	return false;
}

/* The next effect is a relays_presence for s. The payload, or NULL; the caller drops it. */
static json_t *presence(uint64_t s)
{
	json_t *v = fx_frame(s), *payload = json_incref(json_object_get(v, "payload"));

	T_STR(json_string_value(json_object_get(v, "event")), "relays_presence");
	json_decref(v);
	return payload;
}

static bool expect_presence(uint64_t s, const char *gone, const char *here)
{
	json_t *p = presence(s);
	const json_t *ids = json_object_get(p, "disconnected_ids");
	const json_t *list = json_object_get(p, "connected");
	bool ok = T_EQ(json_array_size(ids), gone ? 1 : 0) &
		  T_EQ(json_array_size(list), here ? 1 : 0);

	ok &= T(!gone || has_id(ids, gone)) & T(!here || has_id(list, here));
	json_decref(p);
	return ok;
}

static void test_init_carries_both_families_and_vectors(void)
{
	struct fx_config v = {.alice_expiry = "1900000000"};
	uint64_t c, g;
	json_t *relays;

	fx_start(&v);
	relay_up("203.0.113.10", "2001:db8::10", STAMP);
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c);
	T_EQ(json_array_size(relays), 2);
	for (size_t i = 0; i < 2; i++) {
		T_STR(text_at(relays, i, "id"), STAMP_ID);
		T_STR(text_at(relays, i, "type"), "turn");
		T_STR(text_at(relays, i, "username"), "1900000000:" CSALT);
		T_STR(text_at(relays, i, "password"),
		      "TERV4aTWD1ueDH+lbJ/Jgf2ZEZbiodtd7/g6QhyYcso");
		T_EQ(json_integer_value(json_object_get(json_array_get(relays, i), "expires_at")),
		     1900000000);
	}
	T_STR(text_at(relays, 0, "addr"), "203.0.113.10:3478");
	T_STR(text_at(relays, 1, "addr"), "[2001:db8::10]:3478");
	json_decref(relays);
	relays = join_relays(ROLE_GATEWAY, TOK_G, "g", &g);
	T_EQ(json_array_size(relays), 2);
	T(!strncmp(text_at(relays, 0, "username"), "2145916800:", 11));
	json_decref(relays);
	relays = join_relays(ROLE_CLIENT, TOK_B, "b", &c); /* a token that does not end */
	T_STR(text_at(relays, 0, "username"), "2145916800:" CSALT);
	json_decref(relays);
	fx_stop();
}

static void test_only_joined_relays_count(void)
{
	uint64_t r, c;
	json_t *relays;

	fx_start(NULL);
	r = relay_connect(TOK_R, "203.0.113.10", NULL, "5000");
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c);
	T_EQ(json_array_size(relays), 0);
	json_decref(relays);
	settle();
	T(fx_quiet());
	for (const char *const *bad = (const char *const[]){"''", "1", "null", NULL}; *bad; bad++) {
		fx_sayf(r,
			"{'topic':'relay','event':'phx_join','payload':{'stamp_secret':%s},'ref':"
			"0}",
			*bad);
		T(fx_expect(r, "{'topic':'relay','event':'phx_reply','ref':0,'payload':"
			       "{'status':'error','response':{'reason':'join crashed'}}}"));
	}
	fx_sayf(r, "{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'" STAMP
		   "'},'ref':0}");
	fx_drain();
	settle();
	T(expect_presence(c, NULL, STAMP_ID));
	T(fx_quiet());
	fx_sayf(r, "{'topic':'relay','event':'phx_leave','payload':{},'ref':1}");
	fx_drain();
	settle();
	T(expect_presence(c, STAMP_ID, NULL));
	T(fx_quiet());
	T_EQ(fx.n_relays, 0);
	fx_stop();
}

static void test_debounce(void)
{
	uint64_t r, c, g;
	json_t *relays;

	fx_start(NULL);
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c);
	json_decref(relays);
	relays = join_relays(ROLE_GATEWAY, TOK_G, "g", &g);
	json_decref(relays);
	r = relay_up("203.0.113.10", NULL, STAMP);
	fx_pass(0);
	fx_now += 900 * NS_PER_MS;
	portal_tick(&fx, fx_now, fx_wall);
	T(fx_quiet());
	fx_now += 100 * NS_PER_MS;
	portal_tick(&fx, fx_now, fx_wall);
	T(expect_presence(c, NULL, STAMP_ID));
	T(expect_presence(g, NULL, STAMP_ID));
	/* Gone and back within the second: nobody lost it. */
	portal_disconnect(&fx, r);
	fx_pass(0);
	r = relay_up("203.0.113.10", NULL, STAMP);
	settle();
	T(expect_presence(c, NULL, STAMP_ID));
	T(expect_presence(g, NULL, STAMP_ID));
	T(fx_quiet());
	/* Restarted: another secret, another relay. */
	portal_disconnect(&fx, r);
	relay_up("203.0.113.10", NULL, "bb");
	settle();
	relays = presence(c);
	T(has_id(json_object_get(relays, "disconnected_ids"), STAMP_ID));
	T(!has_id(json_object_get(relays, "connected"), STAMP_ID));
	T_EQ(json_array_size(json_object_get(relays, "connected")), 1);
	json_decref(relays);
	fx_drain();
	fx_stop();
}

/* A relay that joins and leaves all the time must not hold back the news of the others. */
static void test_flapping_does_not_starve(void)
{
	uint64_t c, r;
	json_t *relays;
	unsigned told = 0;

	fx_start(NULL);
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c);
	json_decref(relays);
	relay_up("203.0.113.10", NULL, STAMP);
	for (int i = 0; i < 24; i++) {
		struct out_msg *m;

		r = relay_connect(TOK_R, "203.0.113.99", NULL, NULL);
		fx_sayf(r,
			"{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'x%d'},"
			"'ref':0}",
			i);
		while ((m = portal_next(&fx))) {
			told += m->session == c;
			out_msg_free(m);
		}
		fx_now += 500 * NS_PER_MS;
		portal_tick(&fx, fx_now, fx_wall);
		portal_disconnect(&fx, r);
	}
	T(told >= 1 && told <= 3);
	fx_drain();
	fx_stop();
}

static void test_newer_join_replaces(void)
{
	uint64_t a, b, d;

	fx_start(NULL);
	a = relay_up("203.0.113.10", NULL, STAMP);
	b = relay_connect(TOK_R, "203.0.113.77", NULL, NULL); /* same secret: the same relay */
	fx_sayf(b, "{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'" STAMP
		   "'},'ref':0}");
	json_t *v = fx_frame(b);
	json_decref(v);
	v = fx_frame(b);
	json_decref(v);
	T(fx_expect_close(a, CLOSE_NORMAL));
	T_EQ(fx.n_relays, 1);
	d = relay_connect(TOK_R, "203.0.113.77", NULL, NULL); /* same address, started again */
	fx_sayf(d, "{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'cc'},'ref':0}");
	v = fx_frame(d);
	json_decref(v);
	v = fx_frame(d);
	json_decref(v);
	T(fx_expect_close(b, CLOSE_NORMAL));
	T_EQ(fx.n_relays, 1);
	/* Another port is another relay. */
	a = relay_connect(TOK_R, "203.0.113.77", NULL, "3479");
	fx_sayf(a, "{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'dd'},'ref':0}");
	fx_drain();
	T_EQ(fx.n_relays, 2);
	portal_disconnect(&fx, b); /* the leftover's end changes nothing */
	T_EQ(fx.n_relays, 2);
	fx_stop();
}

static void test_two_of_many_stay(void)
{
	uint64_t r[6], c, again;
	char first[UUID_STRLEN], second[UUID_STRLEN], stamp[8], v4[32];
	json_t *relays, *p;
	size_t lost = 6;

	fx_start(NULL);
	for (unsigned i = 0; i < 6; i++) {
		snprintf(stamp, sizeof(stamp), "s%u", i);
		snprintf(v4, sizeof(v4), "203.0.113.%u", i + 1);
		r[i] = relay_up(v4, NULL, stamp);
	}
	settle();
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c);
	T_EQ(json_array_size(relays), 2);
	snprintf(first, sizeof(first), "%s", text_at(relays, 0, "id"));
	snprintf(second, sizeof(second), "%s", text_at(relays, 1, "id"));
	T(strcmp(first, second) != 0);
	json_decref(relays);
	/* The same device gets the same two on its next connection. */
	portal_disconnect(&fx, c);
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &again);
	T(has_id(relays, first) && has_id(relays, second));
	json_decref(relays);
	/* A relay nobody here uses goes: nothing. One in use goes: it is replaced, the other stays.
	 */
	for (unsigned i = 0; i < 6; i++) {
		char id[UUID_STRLEN];

		snprintf(stamp, sizeof(stamp), "s%u", i);
		derive_relay_id(stamp, id);
		if (!strcmp(id, first))
			lost = i;
		else if (strcmp(id, second) && r[i]) {
			portal_disconnect(&fx, r[i]);
			r[i] = 0;
			settle();
			T(fx_quiet());
			break;
		}
	}
	for (unsigned i = 0; lost == 6 && i < 6; i++) {
		char id[UUID_STRLEN];

		snprintf(stamp, sizeof(stamp), "s%u", i);
		derive_relay_id(stamp, id);
		if (!strcmp(id, first))
			lost = i;
	}
	if (!T(lost < 6))
		return;
	portal_disconnect(&fx, r[lost]);
	settle();
	p = presence(again);
	T_EQ(json_array_size(json_object_get(p, "disconnected_ids")), 1);
	T(has_id(json_object_get(p, "disconnected_ids"), first));
	T_EQ(json_array_size(json_object_get(p, "connected")), 2);
	T(has_id(json_object_get(p, "connected"), second));
	T(!has_id(json_object_get(p, "connected"), first));
	json_decref(p);
	T(fx_quiet());
	fx_stop();
}

/* Different devices spread over the relays. */
static void test_spread(void)
{
	unsigned used[4] = {0};

	fx_start(NULL);
	for (unsigned i = 0; i < 4; i++) {
		char stamp[8], v4[32];

		snprintf(stamp, sizeof(stamp), "s%u", i);
		snprintf(v4, sizeof(v4), "203.0.113.%u", i);
		relay_up(v4, NULL, stamp);
	}
	for (unsigned i = 0; i < 100; i++) {
		char id[16];
		uint64_t c;
		json_t *relays;

		snprintf(id, sizeof(id), "dev%u", i);
		relays = join_relays(ROLE_CLIENT, TOK_A, id, &c);
		for (size_t k = 0; k < json_array_size(relays); k++)
			used[text_at(relays, k, "addr")[10] - '0']++;
		json_decref(relays);
	}
	for (unsigned i = 0; i < 4; i++)
		T(used[i] > 25 && used[i] < 75);
	fx_stop();
}

static void test_nearest(void)
{
	static const struct {
		const char *token, *v4, *stamp;
	} at[] = {{"sydney-token-0123456789012345678901234", "203.0.113.1", "s"},
		  {"berlin-token-0123456789012345678901234", "203.0.113.2", "b"},
		  {"boston-token-0123456789012345678901234", "203.0.113.3", "o"},
		  {TOK_R, "203.0.113.4", "nowhere"}};
	char text[1024], hash[3][65];
	struct fx_config v = {.relays = text, .alice_place = ",'location':[48.85,2.35]"};
	json_t *relays;
	uint64_t c;

	for (unsigned i = 0; i < 3; i++)
		fx_hash(at[i].token, hash[i]);
	snprintf(text, sizeof(text),
		 ",{'name':'s','token_sha256':'%s','location':[-33.9,151.2]},"
		 "{'name':'b','token_sha256':'%s','location':[52.5,13.4]},"
		 "{'name':'o','token_sha256':'%s','location':[42.4,-71.1]}",
		 hash[0], hash[1], hash[2]);
	fx_start(&v);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t r = relay_connect(at[i].token, at[i].v4, NULL, NULL);

		fx_sayf(r,
			"{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'%s'},"
			"'ref':0}",
			at[i].stamp);
	}
	fx_drain();
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c); /* in Paris */
	T_STR(text_at(relays, 0, "addr"), "203.0.113.2:3478");
	T_STR(text_at(relays, 1, "addr"), "203.0.113.3:3478");
	json_decref(relays);
	fx_stop();
}

static void test_static_relays(void)
{
	struct fx_config v = {.static_relays = FIXED_A "," FIXED_B, .alice_expiry = "1900000000"};
	json_t *relays;
	uint64_t c;
	size_t a;

	fx_start(&v);
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c);
	T_EQ(json_array_size(relays), 2);
	a = strcmp(text_at(relays, 0, "id"), ID_A) ? 1 : 0;
	T_STR(text_at(relays, a, "addr"), "192.0.2.1:3478");
	T_STR(text_at(relays, a, "username"), "u");
	T_STR(text_at(relays, a, "password"), "p");
	T_STR(text_at(relays, !a, "id"), ID_B);
	T_STR(text_at(relays, !a, "addr"), "[2001:db8::1]:443");
	T(!strncmp(text_at(relays, !a, "username"), "1900000000:", 11));
	T_STR(text_at(relays, !a, "username") + 11, fx_id(c));
	json_decref(relays);
	fx_stop();
}

static void test_static_relays_reload(void)
{
	struct fx_config one = {.static_relays = FIXED_A};
	struct fx_config other = {.static_relays = FIXED_A2};
	struct fx_config both = {.static_relays = FIXED_A2 "," FIXED_B};
	struct fx_config longer = {.static_relays = FIXED_A2 "," FIXED_B,
				   .alice_expiry = "1950000000"};
	struct fx_config none = {0};
	json_t *relays, *p;
	uint64_t c;

	fx_start(&one);
	relays = join_relays(ROLE_CLIENT, TOK_A, "a", &c);
	T_EQ(json_array_size(relays), 1);
	json_decref(relays);
	fx_reload(&one);
	T(fx_quiet());
	fx_reload(&other); /* credentials changed: in both lists */
	T(expect_presence(c, ID_A, ID_A));
	fx_reload(&both);
	p = presence(c);
	T_EQ(json_array_size(json_object_get(p, "disconnected_ids")), 0);
	T(has_id(json_object_get(p, "connected"), ID_B));
	json_decref(p);
	fx_reload(&longer); /* the token lives longer, so do its credentials */
	p = presence(c);
	T(has_id(json_object_get(p, "disconnected_ids"), ID_B));
	T(has_id(json_object_get(p, "connected"), ID_B));
	json_decref(p);
	fx_reload(&none);
	p = presence(c);
	T_EQ(json_array_size(json_object_get(p, "disconnected_ids")), 2);
	T_EQ(json_array_size(json_object_get(p, "connected")), 0);
	json_decref(p);
	T(fx_quiet());
	fx_stop();
}

static void test_no_relays_is_answered(void)
{
	uint64_t c, r;

	fx_start(NULL);
	c = fx_join(ROLE_CLIENT, TOK_A, "a");
	r = relay_up("203.0.113.10", NULL, STAMP);
	fx_sayf(c, "{'topic':'client','event':'no_relays','payload':{},'ref':1}");
	T(expect_presence(c, NULL, STAMP_ID));
	fx_sayf(c, "{'topic':'client','event':'no_relays','payload':{},'ref':2}");
	T(expect_presence(c, NULL, STAMP_ID));
	fx_drain();
	fx_sayf(r, "{'topic':'relay','event':'no_relays','payload':{},'ref':3}");
	T(fx_expect(r, "{'topic':'relay','event':'phx_reply','ref':3,'payload':"
		       "{'status':'error','response':{'reason':'unknown_message'}}}"));
	fx_stop();
}

static void test_relay_table_full(void)
{
	fx_start(NULL);
	for (unsigned i = 0; i < PORTAL_RELAYS_MAX + 1; i++) {
		char v4[32], port[8];
		uint64_t r;

		snprintf(v4, sizeof(v4), "203.0.113.%u", i & 255);
		snprintf(port, sizeof(port), "%u", 1000 + i);
		r = relay_connect(TOK_R, v4, NULL, port);
		fx_sayf(r,
			"{'topic':'relay','event':'phx_join','payload':{'stamp_secret':'s%u'},"
			"'ref':0}",
			i);
		if (i < PORTAL_RELAYS_MAX)
			fx_drain();
		else
			T(fx_expect(r, "{'topic':'relay','event':'phx_reply','ref':0,'payload':"
				       "{'status':'error','response':{'reason':'too many "
				       "relays'}}}"));
	}
	T_EQ(fx.n_relays, PORTAL_RELAYS_MAX);
	T_EQ(fx.count.table_full, 1);
	fx_stop();
}

static void test_expelled_relay_goes_offline(void)
{
	struct fx_config v = {.relays = NULL};
	uint64_t c, r;

	fx_start(&v);
	r = relay_up("203.0.113.10", NULL, STAMP);
	c = fx_join(ROLE_CLIENT, TOK_A, "a");
	fx_drain();
	fx_pass(2);
	fx_drain();
	fx_now += 40 * NS_PER_SEC; /* silent for too long */
	portal_tick(&fx, fx_now, fx_wall);
	T(fx_expect_close(r, CLOSE_NORMAL));
	settle();
	T(expect_presence(c, STAMP_ID, NULL));
	fx_stop();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_init_carries_both_families_and_vectors);
	T_RUN(test_only_joined_relays_count);
	T_RUN(test_debounce);
	T_RUN(test_flapping_does_not_starve);
	T_RUN(test_newer_join_replaces);
	T_RUN(test_two_of_many_stay);
	T_RUN(test_spread);
	T_RUN(test_nearest);
	T_RUN(test_static_relays);
	T_RUN(test_static_relays_reload);
	T_RUN(test_no_relays_is_answered);
	T_RUN(test_relay_table_full);
	T_RUN(test_expelled_relay_goes_offline);
	return t_done();
}
