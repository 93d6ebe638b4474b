/* SPDX-License-Identifier: Apache-2.0
 *
 * Token buckets that hold one second's worth. */
#include "core/relay/relay_gate.h"

#include "base/idx.h"
#include "base/time.h"

static bool take(struct relay_gate_bucket *b, uint32_t rate, uint32_t now_ms)
{
	uint32_t passed = now_ms - b->at_ms;
	uint64_t more = (uint64_t)(passed < 1000 ? passed : 1000) * rate / 1000;

	if (more) {
		b->tokens = b->tokens + more < rate ? b->tokens + (uint32_t)more : rate;
		b->at_ms = now_ms;
	}
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

void relay_gate_init(struct relay_gate *g, uint64_t seed, uint64_t now)
{
	uint32_t now_ms = (uint32_t)(now / NS_PER_MS);

	g->seed = seed;
	g->all = (struct relay_gate_bucket){RELAY_GATE_RATE, now_ms};
	for (uint32_t i = 0; i < RELAY_GATE_SOURCES; i++)
		g->source[i] = (struct relay_gate_bucket){RELAY_GATE_SOURCE_RATE, now_ms};
}

bool relay_gate_admit(struct relay_gate *g, const struct ipaddr *source, bool known, uint64_t now)
{
	uint32_t now_ms = (uint32_t)(now / NS_PER_MS);
	uint32_t hash = idx_hash(g->seed, source->b, source->family == 6 ? 8 : 4);

	/* the source's first: a flood from one address must not use up what others need */
	return take(&g->source[hash % RELAY_GATE_SOURCES], RELAY_GATE_SOURCE_RATE, now_ms) &&
	       (known || take(&g->all, RELAY_GATE_RATE, now_ms));
}
