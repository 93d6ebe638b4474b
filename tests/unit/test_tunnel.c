/* SPDX-License-Identifier: Apache-2.0
 *
 * What client and gateway policy share: the address plan, expiries as monotonic time, display text.
 */
#include "core/tunnel/tunnel.h"
#include "tests/pkt.h"
#include "tests/t.h"

static void test_address_plan(void)
{
	static const struct {
		const char *ip;
		bool peer, reserved, internet;
	} rows[] = {
		{"100.64.0.0", true, true, false},
		{"100.95.255.255", true, true, false},
		{"100.96.0.0", false, true, false},
		{"100.127.255.255", false, true, false},
		{"100.128.0.0", false, false, true},
		{"100.63.255.255", false, false, true},
		{"fd00:2021:1111::", true, true, false},
		{"fd00:2021:1111::1f:ffff", true, true, false},
		{"fd00:2021:1111::20:0", false, true, false},
		{"fd00:2021:1111:8000::", false, true, false},
		{"fd00:2021:1112::", false, false, false},
		{"1.1.1.1", false, false, true},
		{"0.255.255.255", false, false, false},
		{"9.255.255.255", false, false, true},
		{"172.15.0.1", false, false, true},
		{"223.255.255.255", false, false, true},
		{"2606:4700::1", false, false, true},
		{"::2", false, false, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ipaddr a = pkt_ip(rows[i].ip);
		bool ok = T_EQ(tunnel_in_peer_range(&a), rows[i].peer);

		ok &= T_EQ(tunnel_in_reserved_range(&a), rows[i].reserved);
		ok &= T_EQ(tunnel_is_internet(&a), rows[i].internet);
		if (!ok)
			t_note("%s", rows[i].ip);
	}
	T(!tunnel_is_internet(&(struct ipaddr){0}));
}

static void test_proxy_range(void)
{
	static const struct {
		const char *ip;
		bool proxy;
	} rows[] = {
		{"100.95.255.255", false},
		{"100.96.0.0", true},
		{"100.127.255.255", true},
		{"100.128.0.0", false},
		{"100.100.110.255", true},
		{"100.100.111.0", false},
		{"100.100.111.255", false},
		{"100.100.112.0", true},
		{"fd00:2021:1111::", false},
		{"fd00:2021:1111:8000::", true},
		{"fd00:2021:1111:8000::1f:ffff", true},
		{"fd00:2021:1111:8000::20:0", false},
		{"fd00:2021:1111:8000:100:100:111:3", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ipaddr a = pkt_ip(rows[i].ip);

		if (!T_EQ(tunnel_in_proxy_range(&a), rows[i].proxy))
			t_note("%s", rows[i].ip);
	}
}

static void test_expiry_ns(void)
{
	struct wall wall = {.sec = 1900000000, .nsec = 250000000};
	uint64_t now = 5 * NS_PER_SEC;

	T_EQ(tunnel_expiry_ns(TUNNEL_NEVER_EXPIRES, &wall, now), TIME_NEVER);
	T_EQ(tunnel_expiry_ns(wall.sec, &wall, now), 1);
	T_EQ(tunnel_expiry_ns(0, &wall, now), 1);
	T_EQ(tunnel_expiry_ns(wall.sec + 1, &wall, now), now + 750 * NS_PER_MS);
	T_EQ(tunnel_expiry_ns(wall.sec + 3600, &wall, now),
	     now + 3600 * NS_PER_SEC - 250 * NS_PER_MS);
	T_EQ(tunnel_expiry_ns(UINT64_MAX - 1, &wall, now), TIME_NEVER);
}

static void test_text_copy(void)
{
	char buf[8];

	tunnel_text_copy(buf, sizeof(buf), "1234567");
	T_STR(buf, "1234567");
	tunnel_text_copy(buf, sizeof(buf), "12345678");
	T_STR(buf, "1234567");
	tunnel_text_copy(buf, sizeof(buf), "123456\xc3\xa9"); /* é would be cut in half */
	T_STR(buf, "123456");
	tunnel_text_copy(buf, sizeof(buf), "12345\xc3\xa9");
	T_STR(buf, "12345\xc3\xa9");
	tunnel_text_copy(buf, sizeof(buf), "1234\xf0\x9f\x98\x80");
	T_STR(buf, "1234");
	tunnel_text_copy(buf, sizeof(buf), "");
	T_EQ(buf[0] | buf[7], 0);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_address_plan);
	T_RUN(test_proxy_range);
	T_RUN(test_expiry_ns);
	T_RUN(test_text_copy);
	return t_done();
}
