/* SPDX-License-Identifier: Apache-2.0
 * Addresses, endpoints and prefixes as text and as values. */
#include "base/addr.h"
#include "tests/t.h"

static void test_endpoint_text(void)
{
	static const char *const good[] = {"1.2.3.4:5", "[::1]:65535", "[fd00:2021:1111::3:7]:0"};
	static const char *const bad[] = {"",		"1.2.3.4",     "1.2.3.4:", "1.2.3.4:65536",
					  "::1:5",	"[1.2.3.4]:5", "[::1]",	   "1.2.3.4:5x",
					  "1.2.3:5",	"[::1:5",      "[]:5",	   ":5",
					  "1.2.3.4: 5", "[::1]x:5"};
	char buf[ENDPOINT_STRLEN];
	struct endpoint e;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		T_EQ(endpoint_parse(good[i], &e), 0);
		T_STR(endpoint_fmt(&e, buf), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!T(endpoint_parse(bad[i], &e) < 0))
			t_note("accepted %s", bad[i]);
}

static void test_ipnet(void)
{
	static const struct {
		const char *net, *ip;
		bool in;
	} rows[] = {
		{"10.0.0.0/8", "10.255.0.1", true},
		{"10.0.0.0/8", "11.0.0.1", false},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "::1", false},
		{"10.1.2.128/25", "10.1.2.127", false},
		{"10.1.2.128/25", "10.1.2.255", true},
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3/32", "10.1.2.2", false},
		{"fd00:2021:1111::/107", "fd00:2021:1111::1f:ffff", true},
		{"fd00:2021:1111::/107", "fd00:2021:1111::20:0", false},
		{"::/0", "fe80::1", true},
	};
	static const char *const bad[] = {"10.0.0.1/8", "10.0.0.0/33", "::1/64", "x/8",
					  "10.0.0.0/",	"::/129",      "/8",	 ""};
	struct ipnet n;
	struct ipaddr a;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		T_EQ(ipnet_parse(rows[i].net, &n), 0);
		T_EQ(ipaddr_parse(rows[i].ip, &a), 0);
		T_EQ(ipnet_contains(&n, &a), rows[i].in);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		T(ipnet_parse(bad[i], &n) < 0);
}

static void test_classes(void)
{
	struct ipaddr a;

	T(!ipaddr_parse("169.254.1.1", &a) && ipaddr_is_link_local(&a));
	T(!ipaddr_parse("fe80::1", &a) && ipaddr_is_link_local(&a));
	T(!ipaddr_parse("255.255.255.255", &a) && ipaddr_is_multicast(&a));
	T(!ipaddr_parse("ff02::1", &a) && ipaddr_is_multicast(&a));
	T(!ipaddr_parse("127.1.2.3", &a) && ipaddr_is_loopback(&a));
	T(!ipaddr_parse("::1", &a) && ipaddr_is_loopback(&a));
	T(!ipaddr_parse("::", &a) && ipaddr_is_unspecified(&a));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_endpoint_text);
	T_RUN(test_ipnet);
	T_RUN(test_classes);
	return t_done();
}
