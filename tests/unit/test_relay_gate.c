/* SPDX-License-Identifier: Apache-2.0
 *
 * Rates of requests: of one source, of all strangers, and that neither touches who is known or
 * somebody else. */
#include "base/time.h"
#include "core/relay/relay_gate.h"
#include "tests/t.h"

static struct relay_gate g;
static const uint64_t start = 5 * NS_PER_SEC;

static uint32_t admitted(const struct ipaddr *ip, bool known, uint32_t asked, uint64_t now)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < asked; i++)
		n += relay_gate_admit(&g, ip, known, now);
	return n;
}

static void test_one_source_is_bounded_and_refilled(void)
{
	struct ipaddr a = ipaddr_v4(192, 0, 2, 1), b = ipaddr_v4(192, 0, 2, 2);

	relay_gate_init(&g, 1, start);
	T_EQ(admitted(&a, false, 100000, start), RELAY_GATE_SOURCE_RATE);
	T_EQ(admitted(&a, false, 10, start), 0);
	T_EQ(admitted(&b, false, 10, start), 10);
	T_EQ(admitted(&a, false, 100000, start + NS_PER_SEC / 10), RELAY_GATE_SOURCE_RATE / 10);
	/* an idle hour saves up a second's worth */
	T_EQ(admitted(&a, false, 100000, start + 3600 * NS_PER_SEC), RELAY_GATE_SOURCE_RATE);
}

static void test_steady_rate_over_odd_steps(void)
{
	struct ipaddr a = ipaddr_v4(192, 0, 2, 1);
	uint64_t now = start;
	uint32_t n = 0;

	relay_gate_init(&g, 1, start);
	admitted(&a, false, 100000, now);
	for (int i = 0; i < 10000; i++, now += NS_PER_MS / 10 + 7)
		n += admitted(&a, false, 10, now);
	T(n > RELAY_GATE_SOURCE_RATE * 95 / 100 && n < RELAY_GATE_SOURCE_RATE * 105 / 100);
}

static void test_many_sources_are_bounded_together(void)
{
	uint32_t n = 0, known = 0;

	relay_gate_init(&g, 1, start);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ipaddr ip = ipaddr_v4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i);

		n += relay_gate_admit(&g, &ip, false, start);
	}
	T_EQ(n, RELAY_GATE_RATE);
	for (uint32_t i = 0; i < 1000; i++) {
		struct ipaddr ip = ipaddr_v4(172, 16, (uint8_t)(i >> 8), (uint8_t)i);

		known += relay_gate_admit(&g, &ip, true, start);
	}
	T_EQ(known, 1000);
}

static void test_ipv6_counts_by_network(void)
{
	struct ipaddr ip;
	uint32_t n = 0;

	relay_gate_init(&g, 1, start);
	ipaddr_parse("2001:db8::", &ip);
	for (uint32_t i = 0; i < 100000; i++) {
		ip.b[15] = (uint8_t)i;
		ip.b[14] = (uint8_t)(i >> 8);
		n += relay_gate_admit(&g, &ip, false, start);
	}
	T_EQ(n, RELAY_GATE_SOURCE_RATE);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_one_source_is_bounded_and_refilled);
	T_RUN(test_steady_rate_over_odd_steps);
	T_RUN(test_many_sources_are_bounded_together);
	T_RUN(test_ipv6_counts_by_network);
	return t_done();
}
