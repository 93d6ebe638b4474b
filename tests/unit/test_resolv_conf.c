/* SPDX-License-Identifier: Apache-2.0
 *
 * io/resolv_conf: text in, values out, and ours told from theirs. */
#include "io/resolv_conf.h"
#include <stdlib.h>
#include "tests/t.h"

static struct resolv_conf c;

static void parse(const char *text)
{
	resolv_conf_parse(&c, text, strlen(text));
}

static void test_parse_ordinary(void)
{
	char ip[IPADDR_STRLEN];

	parse("# a\n; b\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # c\n"
	      "domain a.example\nsearch b.example. c.example\noptions ndots:3 timeout:1\n"
	      "options rotate\nsortlist 1.2.3.4\n nameserver 192.0.2.9\nnameserver 192.0.2.1");
	T_EQ(c.n_servers, 2);
	T_STR(ipaddr_fmt(&c.server[0].at.ip, ip), "192.0.2.1");
	T_STR(ipaddr_fmt(&c.server[1].at.ip, ip), "2001:db8::1");
	T_EQ(c.server[1].at.port, 53);
	T_EQ(c.n_search, 2);
	T_STR(c.search[0], "b.example.");
	T_STR(c.options, "timeout:1 rotate");
	T_EQ(c.n_dropped, 0);
}

static void test_parse_refuses(void)
{
	parse("nameserver 100.100.111.1\nnameserver fd00:2021:1111:8000:100:100:111:1\n");
	T_EQ(c.n_servers, 0);
	parse("nameserver\nnameserver 1.2.3\nnameserver 0.0.0.0\nnameserver 224.0.0.1\n"
	      "nameserver fe80::1%nosuchdev\nnameserver ::\nsearch a..b .x x$y\n");
	T_EQ(c.n_servers, 0);
	T_EQ(c.n_search, 0);
	T(c.n_dropped >= 8);
	parse("nameserver fe80::1%lo\n");
	T_EQ(c.n_servers, 1);
	T_EQ(c.server[0].ifindex, 1);
	resolv_conf_parse(&c, "nameserver 192.0.2.1\0\nnameserver 192.0.2.2\n", 43);
	T_EQ(c.n_servers, 1);
	T_EQ(c.server[0].at.ip.b[3], 2);
}

static void test_parse_hostile_sizes(void)
{
	static char text[200000];
	size_t len = 0;

	memset(text, 'a', sizeof(text));
	resolv_conf_parse(&c, text, sizeof(text));
	T_EQ(c.n_servers, 0);
	memcpy(text, "search ", 7);
	resolv_conf_parse(&c, text, sizeof(text));
	T_EQ(c.n_search, 0);
	for (int i = 0; i < 5000; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "nameserver 10.1.%d.%d\n",
					i / 250, i % 250 + 1);
	resolv_conf_parse(&c, text, len);
	T_EQ(c.n_servers, RESOLV_SERVERS_MAX);
	T_EQ(c.n_dropped, 5000 - RESOLV_SERVERS_MAX);
}

/* Random bytes from resolv.conf's alphabet: nothing to crash on, and what is kept is in bounds. */
static void test_parse_random(void)
{
	static const char *const bits[] = {
		"nameserver", " ",	"\n",  "search", "1.2.3.4", "%lo", "options", "\t",
		"a.example",  "domain", "::1", "\r",	 "#",	    "",	   "\x80",    "ndots:1"};
	uint64_t seed = t_seed();

	for (int round = 0; round < 20000; round++) {
		char *text = malloc(1024), copy[256];
		size_t len = 0;

		while (len < 900 && t_rand(&seed) % 40) {
			const char *b = bits[t_rand(&seed) % 16];
			size_t n = b[0] ? strlen(b) : 1;

			memcpy(text + len, b, n);
			len += n;
		}
		text = realloc(text, len ? len : 1); /* so that a sanitizer sees one too far */
		resolv_conf_parse(&c, text, len);
		resolv_conf_judge(text, len);
		resolv_conf_strip(copy, sizeof(copy), text, len, text, len);
		if (c.n_servers > RESOLV_SERVERS_MAX || c.n_search > RESOLV_SEARCH_MAX)
			T(false);
		free(text);
	}
	T(true);
}

static const struct ipaddr ours = {.family = 4, .b = {100, 100, 111, 1}};

static void test_render_and_judge(void)
{
	char text[4096], edited[4096];
	const char *backup = "/etc/resolv.conf.before-penstock";
	struct resolv_header h;
	size_t len;

	parse("nameserver 192.0.2.1\nsearch lan corp.example\noptions ndots:2 rotate\n");
	len = resolv_conf_render(text, sizeof(text), &ours, 1, "corp.example", &c, backup, false);
	T(len > 0);
	text[len] = '\0';
	T(strstr(text, "\nnameserver 100.100.111.1\n") != NULL);
	T(strstr(text, "\nsearch corp.example lan\n") != NULL);
	T(strstr(text, "\noptions ndots:1 rotate\n") != NULL);
	h = resolv_conf_judge(text, len);
	T_EQ(h.kind, RESOLV_OURS);
	T(!h.was_missing);
	memcpy(edited, text, len);
	memcpy(edited + len, "\n\n", 2);
	T_EQ(resolv_conf_judge(edited, len + 2).kind, RESOLV_OURS);
	T_EQ(resolv_conf_judge(text, len - 1).kind, RESOLV_OURS_EDITED);
	for (size_t i = (size_t)(strchr(text, '\n') - text) + 1; i < len; i++) {
		memcpy(edited, text, len);
		edited[i] ^= 1;
		if (resolv_conf_judge(edited, len).kind != RESOLV_OURS_EDITED)
			T(false);
	}
	T_EQ(resolv_conf_judge("nameserver 1.2.3.4\n", 19).kind, RESOLV_THEIRS);
	T_EQ(resolv_conf_judge("", 0).kind, RESOLV_THEIRS);
	len = resolv_conf_render(text, sizeof(text), &ours, 1, "", &c, backup, true);
	T(resolv_conf_judge(text, len).was_missing);
	for (size_t cap = 0; cap < len; cap++)
		if (resolv_conf_render(text, cap, &ours, 1, "", &c, backup, true) != 0)
			T(false);
}

static void test_names(void)
{
	T(resolv_name_ok("corp.example"));
	T(resolv_name_ok("corp.example."));
	T(resolv_name_ok("_x-1"));
	T(!resolv_name_ok(""));
	T(!resolv_name_ok("."));
	T(!resolv_name_ok("a..b"));
	T(!resolv_name_ok("a b"));
	T(!resolv_name_ok("a\nnameserver 6.6.6.6"));
	T(!resolv_name_ok("0123456789012345678901234567890123456789012345678901234567890123.x"));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_parse_ordinary);
	T_RUN(test_parse_refuses);
	T_RUN(test_parse_hostile_sizes);
	T_RUN(test_parse_random);
	T_RUN(test_render_and_judge);
	T_RUN(test_names);
	return t_done();
}
