/* SPDX-License-Identifier: Apache-2.0
 *
 * Filter sets: truth tables, merging, and a bitmap of all ports as oracle. */
#include <errno.h>
#include "core/tunnel/filter.h"
#include "tests/t.h"

static bool permits(const struct filter_set *f, uint8_t l4, uint16_t sport, uint16_t dport,
		    enum filter_side side)
{
	struct ip_meta m = {.l4 = l4, .sport = sport, .dport = dport, .proto = 255};

	m.proto = l4 == IP_L4_TCP ? IP_PROTO_TCP : l4 == IP_L4_UDP ? IP_PROTO_UDP : 255;
	return filter_set_permits(f, &m, side);
}

static bool to(const struct filter_set *f, uint8_t l4, uint16_t dport)
{
	return permits(f, l4, 1, dport, FILTER_TO_RESOURCE);
}

static void test_truth_table(void)
{
	static const struct {
		const char *filters; /* t, u: the range 80-90; i: ICMP */
		uint8_t l4;
		uint16_t port;
		bool want;
	} rows[] = {
		{"", IP_L4_TCP, 1, true},	  {"", IP_L4_UDP, 1, true},
		{"", IP_L4_OTHER, 0, true},	  {"", IP_L4_ICMP_ECHO, 0, true},
		{"", IP_L4_ICMP_OTHER, 0, true},  {"t", IP_L4_TCP, 80, true},
		{"t", IP_L4_TCP, 90, true},	  {"t", IP_L4_TCP, 79, false},
		{"t", IP_L4_TCP, 91, false},	  {"t", IP_L4_UDP, 80, false},
		{"t", IP_L4_ICMP_ECHO, 0, false}, {"t", IP_L4_OTHER, 0, false},
		{"u", IP_L4_UDP, 85, true},	  {"u", IP_L4_TCP, 85, false},
		{"i", IP_L4_ICMP_ECHO, 0, true},  {"i", IP_L4_ICMP_OTHER, 0, true},
		{"i", IP_L4_ICMP_ERROR, 0, true}, {"i", IP_L4_TCP, 80, false},
		{"i", IP_L4_OTHER, 0, false},	  {"tui", IP_L4_OTHER, 0, false},
		{"tui", IP_L4_UDP, 80, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct filter_set f;

		filter_set_init(&f);
		for (const char *p = rows[i].filters; *p; p++) {
			if (*p == 'i')
				filter_set_add_icmp(&f);
			else
				T_EQ(filter_set_add_ports(
					     &f, *p == 't' ? IP_PROTO_TCP : IP_PROTO_UDP, 80, 90),
				     0);
		}
		if (!T_EQ(to(&f, rows[i].l4, rows[i].port), rows[i].want))
			t_note("row %zu", i);
	}
}

static void test_sides(void)
{
	struct filter_set f;

	filter_set_init(&f);
	T_EQ(filter_set_add_ports(&f, IP_PROTO_TCP, 443, 443), 0);
	T(permits(&f, IP_L4_TCP, 9999, 443, FILTER_TO_RESOURCE));
	T(!permits(&f, IP_L4_TCP, 443, 9999, FILTER_TO_RESOURCE));
	T(permits(&f, IP_L4_TCP, 443, 9999, FILTER_FROM_RESOURCE));
	T(!permits(&f, IP_L4_TCP, 9999, 443, FILTER_FROM_RESOURCE));
}

static void test_merging(void)
{
	struct filter_set a, b;

	filter_set_init(&a);
	filter_set_init(&b);
	T_EQ(filter_set_add_ports(&a, IP_PROTO_TCP, 10, 20), 0);
	T_EQ(filter_set_add_ports(&a, IP_PROTO_TCP, 40, 50), 0);
	T_EQ(filter_set_add_ports(&a, IP_PROTO_UDP, 21, 39), 0);
	T_EQ(a.range_count, 3);
	T_EQ(filter_set_add_ports(&a, IP_PROTO_TCP, 21, 39), 0); /* closes the gap exactly */
	T_EQ(a.range_count, 2);
	T_EQ(filter_set_add_ports(&b, IP_PROTO_UDP, 21, 39), 0);
	T_EQ(filter_set_add_ports(&b, IP_PROTO_TCP, 10, 50), 0);
	T(filter_set_eq(&a, &b));
	filter_set_add_icmp(&b);
	T(!filter_set_eq(&a, &b));
	T_EQ(filter_set_add_ports(&a, IP_PROTO_TCP, 0, 65535), 0);
	T_EQ(filter_set_add_ports(&a, IP_PROTO_TCP, 65535, 65535), 0);
	T_EQ(a.range_count, 2);
	T(to(&a, IP_L4_TCP, 0) && to(&a, IP_L4_TCP, 65535));
}

static void test_errors(void)
{
	struct filter_set f, before;

	filter_set_init(&f);
	T_EQ(filter_set_add_ports(&f, IP_PROTO_TCP, 2, 1), -EINVAL);
	T_EQ(filter_set_add_ports(&f, 47, 1, 2), -EINVAL);
	T(!f.restricted);
	for (uint16_t i = 0; i < FILTER_RANGES_CAP; i++)
		T_EQ(filter_set_add_ports(&f, IP_PROTO_TCP, (uint16_t)(i * 4),
					  (uint16_t)(i * 4 + 1)),
		     0);
	before = f;
	T_EQ(filter_set_add_ports(&f, IP_PROTO_TCP, 60000, 60000), -E2BIG);
	T_MEM(&f, &before, sizeof(f));
	T_EQ(filter_set_add_ports(&f, IP_PROTO_TCP, 2, 3), 0); /* merging still fits */
}

static void test_against_bitmap(void)
{
	static bool map[2][65536];
	uint64_t rnd = t_seed();

	for (int round = 0; round < 20; round++) {
		struct filter_set f;

		memset(map, 0, sizeof(map));
		filter_set_init(&f);
		for (int i = 0; i < 30; i++) {
			uint16_t a = (uint16_t)t_rand(&rnd),
				 b = (uint16_t)(a + t_rand(&rnd) % 3000);
			int udp = t_rand(&rnd) & 1;

			if (b < a)
				continue;
			T_EQ(filter_set_add_ports(&f, udp ? IP_PROTO_UDP : IP_PROTO_TCP, a, b), 0);
			for (uint32_t port = a; port <= b; port++)
				map[udp][port] = true;
		}
		for (uint32_t port = 0; port < 65536; port += 1 + (uint32_t)(t_rand(&rnd) % 5)) {
			T_EQ(to(&f, IP_L4_TCP, (uint16_t)port), map[0][port]);
			T_EQ(to(&f, IP_L4_UDP, (uint16_t)port), map[1][port]);
		}
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_truth_table);
	T_RUN(test_sides);
	T_RUN(test_merging);
	T_RUN(test_errors);
	T_RUN(test_against_bitmap);
	return t_done();
}
