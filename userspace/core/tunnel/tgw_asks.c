/* SPDX-License-Identifier: Apache-2.0
 *
 * The rate is a bucket kept as the time at which it is full; contracts in tgw_asks.h. */
#include "core/tunnel/tgw_asks.h"

#include <string.h>

#define NONE	0xffffffffu
#define TURN_NS (NS_PER_SEC / TGW_ASKS_RATE)

void tgw_asks_init(struct tgw_asks *a, struct tgw_ask *asks, uint32_t ask_cap,
		   struct tgw_asker *askers, uint32_t asker_cap)
{
	*a = (struct tgw_asks){.asks = asks,
			       .askers = askers,
			       .ask_cap = ask_cap,
			       .asker_cap = asker_cap,
			       .free = NONE};
	memset(askers, 0, asker_cap * sizeof(*askers));
	for (uint32_t i = ask_cap; i-- > 0; a->free = i)
		asks[i] = (struct tgw_ask){.next = a->free};
}

bool tgw_asks_admit(struct tgw_asks *a, uint32_t slot, uint64_t now)
{
	struct tgw_asker *k;
	uint64_t full;

	if (slot >= a->asker_cap)
		return false;
	k = &a->askers[slot];
	full = time_add(k->full_at_ns > now ? k->full_at_ns : now, TURN_NS);
	if (full > time_add(now, TGW_ASKS_BURST * TURN_NS)) {
		a->counters.over_rate++;
		return false;
	}
	k->full_at_ns = full;
	return true;
}

bool tgw_asks_has_room(struct tgw_asks *a, uint32_t slot)
{
	if (slot < a->asker_cap && a->askers[slot].open < TGW_ASKS_OPEN)
		return true;
	a->counters.over_open++;
	return false;
}

bool tgw_asks_open(struct tgw_asks *a, uint32_t slot, uint32_t domain, uint32_t ticket,
		   uint32_t *cookie)
{
	uint32_t i = a->free;

	if (i == NONE || slot >= a->asker_cap)
		return false;
	a->free = a->asks[i].next;
	a->asks[i] = (struct tgw_ask){
		.slot = slot, .domain = domain, .ticket = ticket, .open = true};
	a->askers[slot].open++;
	a->open++;
	*cookie = i;
	return true;
}

bool tgw_asks_close(struct tgw_asks *a, uint32_t cookie, uint32_t *domain, uint32_t *ticket)
{
	struct tgw_ask *q = cookie < a->ask_cap ? &a->asks[cookie] : NULL;

	if (!q || !q->open)
		return false;
	*domain = q->domain;
	*ticket = q->ticket;
	a->askers[q->slot].open--;
	a->open--;
	*q = (struct tgw_ask){.next = a->free};
	a->free = cookie;
	return true;
}
