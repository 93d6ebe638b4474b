/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/gate.h"

#include <string.h>

#include "base/bytes.h"
#include "base/time.h"

void gate_init(struct gate *g, uint64_t seed)
{
	*g = (struct gate){.seed = seed};
}

struct ipaddr gate_party(const struct ipaddr *ip)
{
	struct ipaddr p = *ip;

	if (p.family == 6)
		memset(p.b + 8, 0, 8);
	return p;
}

/* Multiply and mix; the seed is secret, the quality need not be. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static size_t slot_of(const struct gate *g, const struct ipaddr *party)
{
	return mix(mix(g->seed ^ party->family, be64_get(party->b)), g->seed) % GATE_SLOTS;
}

bool gate_admit(struct gate *g, const struct ipaddr *ip, uint64_t now)
{
	struct ipaddr party = gate_party(ip);
	size_t i = slot_of(g, &party);
	uint64_t ms = time_since(g->slot[i].at, now) / NS_PER_MS;
	uint64_t back = ms > 60000 ? GATE_BURST * GATE_MILLI : ms * GATE_PER_SEC;
	uint32_t used = g->slot[i].milli;

	if (back) {
		used -= back < used ? (uint32_t)back : used;
		g->slot[i].at = now;
	}
	g->slot[i].milli = used;
	if (used + GATE_MILLI > GATE_BURST * GATE_MILLI)
		return false;
	g->slot[i].milli += GATE_MILLI;
	return true;
}
