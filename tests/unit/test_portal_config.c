/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal's configuration: a complete file is understood, and every way to get one wrong is
 * refused with the line and the field. */
#include <jansson.h>
#include <stdlib.h>

#include "apps/portal/config.h"
#include "apps/portal/config_line.h"
#include "apps/portal/expiry.h"
#include "tests/t.h"

#define H1 "1111111111111111111111111111111111111111111111111111111111111111"
#define H2 "2222222222222222222222222222222222222222222222222222222222222222"
#define H3 "3333333333333333333333333333333333333333333333333333333333333333"

/* Line numbers matter: one element a line. */
static const char good[] =
	/*  1 */ "{\n"
		 /*  2 */ " \"account_slug\": \"acme\",\n"
		 /*  3 */ " \"state_file\": \"/tmp/state.json\",\n"
		 /*  4 */ " \"listen\": [\n"
		 /*  5 */ "  {\"address\": \"127.0.0.1:8080\"},\n"
		 /*  6 */ "  {\"address\": \"[::]:8443\", \"tls\": {\"cert_file\": \"c\", "
		 "\"key_file\": \"k\"}}\n"
		 /*  7 */ " ],\n"
		 /*  8 */ " \"dns\": {\"upstream\": [\"192.0.2.53\", \"[2001:db8::53]:5353\"],\n"
		 /*  9 */ "  \"search_domain\": \"corp.example\"},\n"
		 /* 10 */ " \"sites\": [\n"
		 /* 11 */ "  {\"name\": \"lab\"},\n"
		 /* 12 */ "  {\"name\": \"hq\", \"id\": \"AAAAAAAA-1111-4111-8111-111111111111\"}\n"
		 /* 13 */ " ],\n"
		 /* 14 */ " \"gateways\": [\n"
		 /* 15 */ "  {\"name\": \"gw\", \"site\": \"lab\",\n"
		 /* 16 */ "   \"token_sha256\": \"" H1 "\"}\n"
		 /* 17 */ " ],\n"
		 /* 18 */ " \"clients\": [\n"
		 /* 19 */ "  {\"name\": \"laptop\", \"actor\": \"alice\", \"groups\": [\"staff\", "
		 "\"ops\"],\n"
		 /* 20 */ "   \"token_sha256\": \"" H2 "\",\n"
		 /* 21 */ "   \"expires_at\": 2000000000}\n"
		 /* 22 */ " ],\n"
		 /* 23 */ " \"relays\": [{\"name\": \"r\", \"token_sha256\": \"" H3 "\"}],\n"
		 /* 24 */ " \"resources\": [\n"
		 /* 25 */ "  {\"name\": \"lan\", \"type\": \"cidr\", \"address\": "
		 "\"10.20.0.0/16\",\n"
		 /* 26 */ "   \"site\": \"lab\",\n"
		 /* 27 */ "   \"filters\": [{\"protocol\": \"tcp\", \"port_range_start\": 443, "
		 "\"port_range_end\": 444},\n"
		 /* 28 */ "    {\"protocol\": \"udp\"}, {\"protocol\": \"icmp\"}]},\n"
		 /* 29 */ "  {\"name\": \"host\", \"type\": \"cidr\", \"address\": "
		 "\"2001:db8::1\", \"site\": \"hq\",\n"
		 /* 30 */ "   \"address_description\": \"the host\"}\n"
		 /* 31 */ " ],\n"
		 /* 32 */ " \"policies\": [\n"
		 /* 33 */ "  {\"group\": \"ops\", \"resource\": \"lan\"},\n"
		 /* 34 */ "  {\"actor\": \"alice\", \"resource\": \"host\", \"expires_at\": "
		 "\"2030-03-17T17:46:40Z\",\n"
		 /* 35 */ "   \"enabled\": true}\n"
		 /* 36 */ " ]\n"
		 /* 37 */ "}\n";

/* good with the first occurrence of from replaced; the caller frees. */
static char *edited(const char *from, const char *to)
{
	const char *at = strstr(good, from);
	size_t before;
	char *out;

	if (!at)
		return NULL;
	before = (size_t)(at - good);
	out = malloc(sizeof(good) + strlen(to));
	memcpy(out, good, before);
	strcpy(out + before, to);
	strcat(out, at + strlen(from));
	return out;
}

static void test_good_file(void)
{
	struct config_error err;
	struct config *c = config_parse(good, strlen(good), &err);
	char buf[IPNET_STRLEN];

	if (!T(c)) {
		t_note("%u %s %s", err.line, err.field, err.msg);
		return;
	}
	T_STR(c->account_slug, "acme");
	T_EQ(c->n_listen, 2);
	T(!c->listen[0].cert_file);
	T_STR(c->listen[1].key_file, "k");
	T_EQ(c->listen[1].addr.port, 8443);
	T_EQ(c->n_dns, 2);
	T_EQ(c->dns[0].port, 53);
	T_EQ(c->dns[1].port, 5353);
	T_STR(c->search_domain, "corp.example");
	T_EQ(c->n_sites, 2);
	T_STR(c->sites[1].id, "aaaaaaaa-1111-4111-8111-111111111111");
	T(ident_uuid_valid(c->sites[0].id));
	T_EQ(c->n_tokens, 3);
	T_EQ(c->n_resources, 2);
	T_EQ(c->resources[0].n_filters, 3);
	T(c->resources[0].filters[0].has_ports && !c->resources[0].filters[1].has_ports);
	T_STR(ipnet_fmt(&c->resources[1].address, buf), "2001:db8::1/128");
	T_STR(c->resources[1].description, "the host");
	T_EQ(c->resources[1].sites[0], 1);
	T_EQ(c->resources[1].n_sites, 1);
	T_STR(c->resources[0].target, "10.20.0.0/16");
	T_EQ(c->n_policies, 2);
	T_EQ(c->limits.max_connections, 4096);
	config_free(c);
}

static void test_example_file(void)
{
	struct config_error err;
	struct config *c = config_load("docs/examples/portal.json", &err);

	if (!T(c))
		t_note("%u %s %s", err.line, err.field, err.msg);
	config_free(c);
}

/* Every way to get the file wrong: what replaces what, and where the blame must fall. */
static const struct {
	const char *from, *to;
	unsigned line;
	const char *field, *msg; /* msg: a part of it */
} faults[] = {
	{"\"acme\",", "\"acme\"", 3, "", "JSON"},
	{"\"acme\"", "7", 2, "account_slug", "string"},
	{"\"acme\"", "\"Ac me\"", 2, "account_slug", "a-z"},
	{"\"acme\"", "\"\"", 2, "account_slug", "characters"},
	{" \"account_slug\": \"acme\",\n", "", 1, "account_slug", "missing"},
	{"\"account_slug\"", "\"acount_slug\"", 2, "acount_slug", "known"},
	{"\"state_file\"", "\"account_slug\"", 3, "", "duplicate"},
	{"\"listen\": [", "\"listen\": 1, \"x\": [", 4, "x", "known"},
	{"127.0.0.1:8080", "localhost:8080", 5, "listen[0].address", "IP:port"},
	{"127.0.0.1:8080", "127.0.0.1", 5, "listen[0].address", "IP:port"},
	{"127.0.0.1:8080", "127.0.0.1:99999", 5, "listen[0].address", "IP:port"},
	{"127.0.0.1:8080", "[::]:8443", 6, "listen[1].address", "already"},
	{", \"key_file\": \"k\"", "", 6, "listen[1].tls.key_file", "missing"},
	{"\"tls\": {\"cert_file\": \"c\", \"key_file\": \"k\"}", "\"tls\": true", 6,
	 "listen[1].tls", "object"},
	{"\"192.0.2.53\"", "53", 8, "dns.upstream[0]", "string"},
	{"192.0.2.53", "resolver", 8, "dns.upstream[0]", "IP"},
	{"[2001:db8::53]:5353", "[2001:db8::53]:0", 8, "dns.upstream[1]", "IP"},
	{"192.0.2.53", "100.100.1.1", 8, "dns.upstream[0]", "reserved"},
	{"corp.example", "-corp", 9, "dns.search_domain", "domain"},
	{"corp.example", "corp..example", 9, "dns.search_domain", "domain"},
	{"{\"name\": \"lab\"}", "{}", 11, "sites[0].name", "missing"},
	{"{\"name\": \"lab\"}", "\"lab\"", 11, "sites[0]", "object"},
	{"\"name\": \"hq\"", "\"name\": \"lab\"", 12, "sites[1].name", "already"},
	{"AAAAAAAA-1111", "AAAAAAAA+1111", 12, "sites[1].id", "UUID"},
	{"AAAAAAAA-1111", "AAA-1111", 12, "sites[1].id", "36"},
	{"\"site\": \"lab\"", "\"site\": \"mars\"", 15, "gateways[0].site", "sites"},
	{"\"site\": \"lab\",\n   \"token", "\"token", 15, "gateways[0].site", "missing"},
	{"\"" H1 "\"", "\"abc\"", 16, "gateways[0].token_sha256", "64"},
	{"\"" H1 "\"",
	 "\"zz"
	 "11111111111111111111111111111111111111111111111111111111111111\"",
	 16, "gateways[0].token_sha256", "hex"},
	{"\"" H1 "\"", "\"" H2 "\"", 16, "gateways[0].token_sha256", "laptop"},
	{"\"name\": \"gw\"", "\"name\": \"gw\", \"token\": \"x\"", 15, "gateways[0].token",
	 "known"},
	{"\"name\": \"laptop\"", "\"name\": null", 19, "clients[0].name", "missing"},
	{"\"actor\": \"alice\"", "\"actor\": \"\"", 19, "clients[0].actor", "characters"},
	{"\"ops\"", "1", 19, "clients[0].groups[1]", "group"},
	{"[\"staff\", \"ops\"]", "\"staff\"", 19, "clients[0].groups", "array"},
	{"2000000000", "-1", 21, "clients[0].expires_at", "RFC 3339"},
	{"2000000000", "1.5", 21, "clients[0].expires_at", "RFC 3339"},
	{"2000000000", "2000000000000", 21, "clients[0].expires_at", "RFC 3339"},
	{"2000000000", "\"tomorrow\"", 21, "clients[0].expires_at", "RFC 3339"},
	{"[{\"name\": \"r\"", "[{\"site\": \"lab\", \"name\": \"r\"", 23, "relays[0].site",
	 "known"},
	{"\"type\": \"cidr\"", "\"type\": \"dns\"", 25, "resources[0].address", "name"},
	{"\"type\": \"cidr\"", "\"type\": \"cdir\"", 25, "resources[0].type", "\"dns\""},
	{"\"type\": \"cidr\"", "\"type\": \"internet\"", 25, "resources[0].address", "internet"},
	{"\"type\": \"cidr\"", "\"type\": \"cidr\", \"ip_stack\": \"dual\"", 25,
	 "resources[0].ip_stack", "dns"},
	{"\"type\": \"cidr\"", "\"type\": \"cidr\", \"sites\": [\"hq\"]", 26, "resources[0].site",
	 "not both"},
	{"10.20.0.0/16", "10.20.0.1/16", 25, "resources[0].address", "host bits"},
	{"10.20.0.0/16", "10.20.0.0/33", 25, "resources[0].address", "network"},
	{"10.20.0.0/16", "0.0.0.0/0", 25, "resources[0].address", "internet"},
	{"10.20.0.0/16", "100.64.0.0/16", 25, "resources[0].address", "reserved"},
	{"10.20.0.0/16", "fd00:2021:1111:8000::/64", 25, "resources[0].address", "reserved"},
	{"10.20.0.0/16", "224.0.0.0/4", 25, "resources[0].address", "multicast"},
	{"10.20.0.0/16", "127.0.0.0/8", 25, "resources[0].address", "loopback"},
	{"\"tcp\"", "\"sctp\"", 27, "resources[0].filters[0].protocol", "tcp"},
	{"\"port_range_start\": 443", "\"port_range_start\": 445", 27,
	 "resources[0].filters[0].port_range_start", "greater"},
	{"\"port_range_start\": 443", "\"port_range_start\": 65536", 27,
	 "resources[0].filters[0].port_range_start", "between"},
	{"{\"protocol\": \"icmp\"}", "{\"protocol\": \"icmp\", \"port_range_end\": 1}", 28,
	 "resources[0].filters[2].port_range_end", "icmp"},
	{"{\"protocol\": \"udp\"}", "{}", 28, "resources[0].filters[1].protocol", "missing"},
	{"\"name\": \"host\"", "\"name\": \"lan\"", 29, "resources[1].name", "already"},
	{"\"site\": \"hq\"", "\"site\": \"moon\"", 29, "resources[1].site", "sites"},
	{"\"group\": \"ops\"", "\"group\": \"ops\", \"actor\": \"alice\"", 33, "policies[0].actor",
	 "not both"},
	{"\"group\": \"ops\", ", "", 33, "policies[0].actor", "given"},
	{"\"resource\": \"lan\"", "\"resource\": \"wan\"", 33, "policies[0].resource", "resources"},
	{"2030-03-17T17:46:40Z", "2030-03-17", 34, "policies[1].expires_at", "RFC 3339"},
	{"\"enabled\": true", "\"enabled\": 1", 35, "policies[1].enabled", "true"},
	{" ]\n}", " ], \"policies\": []\n}", 36, "", "duplicate"},
};

static void test_errors_name_line_and_field(void)
{
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		char *text = edited(faults[i].from, faults[i].to);
		struct config_error err;
		struct config *c = text ? config_parse(text, strlen(text), &err) : NULL;

		if (!T(text && !c)) {
			t_note("row %zu (%s)", i, faults[i].to);
		} else {
			bool ok = T_EQ(err.line, faults[i].line);

			ok &= T_STR(err.field, faults[i].field);
			ok &= T(strstr(err.msg, faults[i].msg) != NULL);
			if (!ok)
				t_note("row %zu (%s): line %u %s: %s", i, faults[i].to, err.line,
				       err.field, err.msg);
		}
		config_free(c);
		free(text);
	}
}

static void test_not_a_document(void)
{
	static const char *const texts[] = {"",
					    " ",
					    "[]",
					    "1",
					    "\"x\"",
					    "{",
					    "{}",
					    "null",
					    "{} x",
					    "\xff",
					    "{\"account_slug\":\"\\u0000\"}"};
	struct config_error err;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		T(!config_parse(texts[i], strlen(texts[i]), &err));
		T(err.line >= 1 && *err.msg);
	}
	T(!config_load("/nonexistent/portal.json", &err));
	T_EQ(err.line, 0);
	T(strstr(err.msg, "cannot be read") != NULL);
	T(!config_load("/dev/zero", &err));
	T(!config_load("/tmp", &err));
}

static void test_every_truncation_is_refused(void)
{
	struct config_error err;

	for (size_t len = 0; len + 2 < sizeof(good); len++) {
		struct config *c = config_parse(good, len, &err);

		if (!T(!c))
			t_note("length %zu", len);
		T(err.line >= 1);
		config_free(c);
	}
}

static void test_orphan_policy_is_no_error(void)
{
	char *text = edited("\"actor\": \"alice\", \"resource\"",
			    "\"actor\": \"bob\", \"resource\"");
	struct config_error err;
	struct config *c = config_parse(text, strlen(text), &err);

	if (T(c)) {
		T(!c->policies[0].orphan);
		T(c->policies[1].orphan);
	}
	config_free(c);
	free(text);
}

static void test_ids_follow_names(void)
{
	char *text = edited("{\"name\": \"lab\"}", "{\"name\":   \"lab\"}");
	struct config_error err;
	struct config *a = config_parse(good, strlen(good), &err);
	struct config *b = config_parse(text, strlen(text), &err);

	if (T(a && b)) {
		T_STR(a->sites[0].id, b->sites[0].id);
		T_STR(a->resources[0].id, b->resources[0].id);
		T(strcmp(a->sites[0].id, a->resources[0].id) != 0);
		T(config_find_resource(a, a->resources[1].id) == &a->resources[1]);
		T(!config_find_resource(a, a->sites[0].id));
	}
	config_free(a);
	config_free(b);
	free(text);
}

static void test_find_token(void)
{
	struct config_error err;
	struct config *c = config_parse(good, strlen(good), &err);
	uint8_t h1[32], h2[32], h4[32];

	memset(h1, 0x11, 32);
	memset(h2, 0x22, 32);
	memset(h4, 0x44, 32);
	if (!T(c))
		return;
	T_STR(config_find_token(c, ROLE_GATEWAY, h1)->name, "gw");
	T(!config_find_token(c, ROLE_CLIENT, h1));
	T_STR(config_find_token(c, ROLE_CLIENT, h2)->actor, "alice");
	T(!config_find_token(c, ROLE_CLIENT, h4));
	T(config_known_token(c, ROLE_CLIENT, h2) == config_find_token(c, ROLE_CLIENT, h2));
	T(config_known_token(c, ROLE_GATEWAY, h1) == config_find_token(c, ROLE_GATEWAY, h1));
	T(!config_known_token(c, ROLE_GATEWAY, h2));
	T(!config_known_token(c, ROLE_GATEWAY, h4));
	config_free(c);
}

static void test_grants(void)
{
	struct config_error err;
	struct config *c = config_parse(good, strlen(good), &err);
	const struct config_token *alice;
	uint64_t until;

	if (!T(c))
		return;
	alice = &c->tokens[0];
	T_STR(alice->actor, "alice");
	T(config_grant(c, alice, &c->resources[0], 1, &until));
	T_EQ(until, 2000000000); /* the token's end */
	T(config_grant(c, alice, &c->resources[1], 1, &until));
	T_EQ(until, 1900000000); /* the policy's */
	T(config_grant(c, alice, &c->resources[1], 1899999999, &until));
	T(!config_grant(c, alice, &c->resources[1], 1900000000, &until));
	T(config_grant(c, alice, &c->resources[0], 1999999999, &until));
	T(!config_grant(c, alice, &c->resources[0], 2000000000, &until));
	T_EQ(config_next_expiry(c, 1), 1900000000);
	T_EQ(config_next_expiry(c, 1900000000), EXPIRY_NEVER);
	config_free(c);
}

static void test_latest_policy_counts(void)
{
	char *text = edited("{\"group\": \"ops\", \"resource\": \"lan\"}",
			    "{\"group\": \"ops\", \"resource\": \"lan\", \"expires_at\": 100},"
			    "{\"actor\": \"alice\", \"resource\": \"lan\", \"expires_at\": 300},"
			    "{\"group\": \"staff\", \"resource\": \"lan\", \"expires_at\": 900,"
			    " \"enabled\": false},"
			    "{\"group\": \"none\", \"resource\": \"lan\"}");
	struct config_error err;
	struct config *c = config_parse(text, strlen(text), &err);
	uint64_t until;

	if (T(c)) {
		T(config_grant(c, &c->tokens[0], &c->resources[0], 50, &until));
		T_EQ(until, 300);
		T(config_grant(c, &c->tokens[0], &c->resources[0], 299, &until));
		T(!config_grant(c, &c->tokens[0], &c->resources[0], 300, &until));
	}
	config_free(c);
	free(text);
}

static void test_line_finder_bounds(void)
{
	static const char text[] = "{\"a\": [1,\n{\"b\\\"c\": [], \"d\":\n\"x]}\", \"e\":\n2}]}";
	struct config_path p = {.step = {{.key = "a"}, {.index = 1}, {.key = "e"}}, .n = 3};

	T_EQ(config_line(text, strlen(text), &p), 3);
	/* Any prefix of any text must be safe; the sanitizers judge. */
	for (size_t i = 0; i <= strlen(text); i++)
		T(config_line(text, i, &p) >= 1);
	T_EQ(config_line("\n\n[", 3, &p), 3);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_good_file);
	T_RUN(test_example_file);
	T_RUN(test_errors_name_line_and_field);
	T_RUN(test_not_a_document);
	T_RUN(test_every_truncation_is_refused);
	T_RUN(test_orphan_policy_is_no_error);
	T_RUN(test_ids_follow_names);
	T_RUN(test_find_token);
	T_RUN(test_grants);
	T_RUN(test_latest_policy_counts);
	T_RUN(test_line_finder_bounds);
	return t_done();
}
