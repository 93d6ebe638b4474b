/* SPDX-License-Identifier: Apache-2.0
 * A client's control packets and resolutions are bounded, and nobody else's by it. */
#include "core/tunnel/tgw_asks.h"
#include "tests/t.h"

enum { CLIENTS = 3, ASKS = 100 };

static struct tgw_ask asks[ASKS];
static struct tgw_asker askers[CLIENTS];
static struct tgw_asks a;
static uint64_t now;

static void setup(void)
{
	now = 1000 * NS_PER_SEC;
	tgw_asks_init(&a, asks, ASKS, askers, CLIENTS);
}

static uint32_t admitted(uint32_t slot, uint32_t tries)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < tries; i++)
		n += tgw_asks_admit(&a, slot, now);
	return n;
}

static void test_rate(void)
{
	setup();
	T_EQ(admitted(0, 100000), TGW_ASKS_BURST);
	T_EQ(a.counters.over_rate, 100000 - TGW_ASKS_BURST);
	T_EQ(admitted(1, TGW_ASKS_BURST), TGW_ASKS_BURST); /* of no concern to another */
	now += NS_PER_SEC;
	T_EQ(admitted(0, 100000), TGW_ASKS_RATE);
	now += 3600 * NS_PER_SEC; /* silence earns one burst, no more */
	T_EQ(admitted(0, 100000), TGW_ASKS_BURST);
	T(!tgw_asks_admit(&a, CLIENTS, now));
}

/* A flood over ten seconds, in steps of a millisecond. */
static void test_rate_over_time(void)
{
	uint32_t n = 0;

	setup();
	for (int ms = 0; ms < 10000; ms++, now += NS_PER_MS)
		n += admitted(2, 20);
	T(n >= TGW_ASKS_BURST + 9 * TGW_ASKS_RATE && n <= TGW_ASKS_BURST + 10 * TGW_ASKS_RATE);
}

static void test_open(void)
{
	uint32_t cookie[ASKS], domain = 0, ticket = 0, i;

	setup();
	for (i = 0; i < TGW_ASKS_OPEN; i++) {
		T(tgw_asks_has_room(&a, 0));
		T(tgw_asks_open(&a, 0, 100 + i, 200 + i, &cookie[i]));
	}
	T(!tgw_asks_has_room(&a, 0));
	T_EQ(a.counters.over_open, 1);
	T(tgw_asks_has_room(&a, 1));
	T(tgw_asks_close(&a, cookie[7], &domain, &ticket));
	T_EQ(domain, 107);
	T_EQ(ticket, 207);
	T(!tgw_asks_close(&a, cookie[7], &domain, &ticket)); /* once */
	T(!tgw_asks_close(&a, ASKS, &domain, &ticket));
	T(tgw_asks_has_room(&a, 0));
	for (i = 0; i < ASKS - TGW_ASKS_OPEN + 1; i++)
		T(tgw_asks_open(&a, 1, i, i, &cookie[i]));
	T(!tgw_asks_open(&a, 2, 1, 1, &cookie[0])); /* no memory left */
	T(!tgw_asks_has_room(&a, CLIENTS));
	T_EQ(a.open, ASKS);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_rate);
	T_RUN(test_rate_over_time);
	T_RUN(test_open);
	return t_done();
}
