/* SPDX-License-Identifier: Apache-2.0
 * Sets of prefixes that may grow, never shrink. */
#include "base/netset.h"
#include "tests/t.h"

static struct netset set;

static void add(const char *text)
{
	struct ipnet net;

	if (T_EQ(ipnet_parse(text, &net), 0))
		netset_add(&set, &net);
}

static void is(size_t i, const char *text)
{
	char buf[IPNET_STRLEN];

	if (T(i < set.len))
		T_STR(ipnet_fmt(&set.net[i], buf), text);
}

static void test_absorb(void)
{
	memset(&set, 0, sizeof(set));
	add("10.0.0.5/32");
	add("10.0.1.0/24");
	add("10.0.0.255/32");
	T_EQ(set.len, 3);
	add("10.0.0.0/24");
	T_EQ(set.len, 2);
	is(0, "10.0.1.0/24");
	is(1, "10.0.0.0/24");
	add("10.0.1.7/32");
	add("10.0.1.0/24");
	T_EQ(set.len, 2);
	add("0.0.0.0/0");
	T_EQ(set.len, 1);
	is(0, "0.0.0.0/0");
}

static void test_reduce(void)
{
	memset(&set, 0, sizeof(set));
	add("192.168.7.0/24");
	add("172.17.0.0/16");
	add("10.0.0.0/8");
	add("172.18.0.0/16");
	netset_reduce(&set, 3);
	T_EQ(set.len, 3);
	is(2, "172.16.0.0/14");
	netset_reduce(&set, 1);
	T_EQ(set.len, 1);
	is(0, "0.0.0.0/0");
	memset(&set, 0, sizeof(set));
	netset_reduce(&set, 1);
	T_EQ(set.len, 0);
	add("2001:db8:1::/48");
	add("2001:db8:2::/64");
	netset_reduce(&set, 1);
	is(0, "2001:db8::/46");
}

/* Whatever was put in is covered, however little room there is. */
static void test_covers(void)
{
	uint64_t seed = t_seed();

	for (int round = 0; round < 50; round++) {
		static struct ipnet in[300];

		memset(&set, 0, sizeof(set));
		for (size_t i = 0; i < 300; i++) {
			char text[32];
			uint64_t v = t_rand(&seed);

			snprintf(text, sizeof(text), "%u.%u.%u.0/24", (unsigned)(v % 3 * 64),
				 (unsigned)(v >> 8 & 255), (unsigned)(v >> 16 & 255));
			T_EQ(ipnet_parse(text, &in[i]), 0);
			netset_add(&set, &in[i]);
			T(set.len <= NETSET_MAX);
		}
		netset_reduce(&set, 1 + (size_t)round % 8);
		T(set.len <= 1 + (size_t)round % 8);
		for (size_t i = 0; i < 300; i++)
			T(netset_contains(&set, &in[i].ip));
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_absorb);
	T_RUN(test_reduce);
	T_RUN(test_covers);
	return t_done();
}
