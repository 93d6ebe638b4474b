/* SPDX-License-Identifier: Apache-2.0
 *
 * Static relays and places in the portal's configuration. */
#include <stdlib.h>

#include "apps/portal/config.h"
#include "tests/t.h"

static struct config *parse(const char *static_relays, const char *relay_member,
			    struct config_error *err)
{
	static char text[8192];

	snprintf(text, sizeof(text),
		 "{'account_slug':'a','listen':[{'address':'127.0.0.1:1'}],'sites':[],\n"
		 "'relays':[{'name':'r','token_sha256':'%064d'%s}],\n"
		 "'static_relays':%s}",
		 7, relay_member, static_relays);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	return config_parse(text, strlen(text), err);
}

#define USER ",'username':'u','password':'p'"

static void test_good(void)
{
	struct config_error err;
	struct config *c = parse("[{'addr4':'192.0.2.1:3478','addr6':'[2001:db8::1]:3478'" USER "},"
				 "{'id':'AAAAAAAA-0000-4000-8000-00000000000A',"
				 "'addr6':'[2001:db8::2]:443','shared_secret':'s',"
				 "'location':[52.5,13]}]",
				 ",'location':[-90,180.0]", &err);

	if (!T(c)) {
		t_note("%u %s %s", err.line, err.field, err.msg);
		return;
	}
	T_EQ(c->n_relays, 2);
	T(ident_uuid_valid(c->relays[0].id));
	T_STR(c->relays[0].password, "p");
	T(!c->relays[0].shared_secret && !c->relays[0].place.known);
	T_EQ(c->relays[0].addr4.port, 3478);
	T_EQ(c->relays[0].addr6.ip.family, 6);
	T_STR(c->relays[1].id, "aaaaaaaa-0000-4000-8000-00000000000a");
	T_EQ(c->relays[1].addr4.ip.family, 0);
	T_STR(c->relays[1].shared_secret, "s");
	T(c->relays[1].place.known && c->tokens[0].place.known);
	config_free(c);
	c = parse("null", "", &err);
	T(c && !c->n_relays);
	config_free(c);
}

static const struct {
	const char *list, *member, *field, *msg;
} faults[] = {
	{"{}", "", "static_relays", "array"},
	{"[1]", "", "static_relays[0]", "object"},
	{"[{'addr4':'192.0.2.1:1','x':1}]", "", "static_relays[0].x", "known"},
	{"[{'username':'u','password':'p'}]", "", "static_relays[0].addr4", "must be given"},
	{"[{'addr4':'192.0.2.1'" USER "}]", "", "static_relays[0].addr4", "IPv4:port"},
	{"[{'addr4':'192.0.2.1:0'" USER "}]", "", "static_relays[0].addr4", "IPv4:port"},
	{"[{'addr4':'0.0.0.0:1'" USER "}]", "", "static_relays[0].addr4", "IPv4:port"},
	{"[{'addr4':'224.0.0.1:1'" USER "}]", "", "static_relays[0].addr4", "IPv4:port"},
	{"[{'addr4':'[2001:db8::1]:1'" USER "}]", "", "static_relays[0].addr4", "IPv4:port"},
	{"[{'addr6':'192.0.2.1:1'" USER "}]", "", "static_relays[0].addr6", "[IPv6]:port"},
	{"[{'addr4':'turn.example:1'" USER "}]", "", "static_relays[0].addr4", "IPv4:port"},
	{"[{'addr4':'192.0.2.1:1'}]", "", "static_relays[0].shared_secret", "must be given"},
	{"[{'addr4':'192.0.2.1:1','shared_secret':'s'" USER "}]", "",
	 "static_relays[0].shared_secret", "not both"},
	{"[{'addr4':'192.0.2.1:1','username':'u'}]", "", "static_relays[0].password", "missing"},
	{"[{'addr4':'192.0.2.1:1','password':'u'}]", "", "static_relays[0].username", "missing"},
	{"[{'addr4':'192.0.2.1:1','username':'u','password':''}]", "", "static_relays[0].password",
	 "characters"},
	{"[{'id':'x','addr4':'192.0.2.1:1'" USER "}]", "", "static_relays[0].id", "characters"},
	{"[{'addr4':'192.0.2.1:1'" USER "},{'addr4':'192.0.2.1:1'" USER "}]", "",
	 "static_relays[1].id", "already"},
	{"[{'addr4':'192.0.2.1:1','location':[1]" USER "}]", "", "static_relays[0].location",
	 "latitude"},
	{"[{'addr4':'192.0.2.1:1','location':[91,0]" USER "}]", "", "static_relays[0].location",
	 "latitude"},
	{"[{'addr4':'192.0.2.1:1','location':[0,'0']" USER "}]", "", "static_relays[0].location",
	 "latitude"},
	{"[]", ",'location':[0,-181]", "relays[0].location", "latitude"},
	{"[]", ",'location':{}", "relays[0].location", "array"},
};

static void test_faults(void)
{
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct config_error err;
		struct config *c = parse(faults[i].list, faults[i].member, &err);
		bool ok = T(!c);

		ok &= T_STR(err.field, faults[i].field);
		ok &= T(strstr(err.msg, faults[i].msg) != NULL);
		ok &= T_EQ(err.line, *faults[i].member ? 2 : 3);
		if (!ok)
			t_note("row %zu: line %u %s: %s", i, err.line, err.field, err.msg);
		config_free(c);
	}
}

/* What is wrong with a relay is said without saying its secret. */
static void test_errors_do_not_show_secrets(void)
{
	struct config_error err;
	struct config *c = parse("[{'addr4':'192.0.2.1:1','shared_secret':'hush-hush','username':"
				 "'u','password':'hush-hush'}]",
				 "", &err);

	T(!c && !strstr(err.msg, "hush") && !strstr(err.field, "hush"));
	config_free(c);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_good);
	T_RUN(test_faults);
	T_RUN(test_errors_do_not_show_secrets);
	return t_done();
}
