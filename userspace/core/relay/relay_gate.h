/* SPDX-License-Identifier: Apache-2.0
 *
 * How many requests a worker looks at: so many a second of one source address (IPv6: one /64), so
 * many of all strangers, i.e. of those without an allocation, together. What a flood can cost is
 * bounded by that, whether its sources are real or not, in fixed memory; who has an allocation goes
 * on being served. */
#ifndef PENSTOCK_CORE_RELAY_GATE_H
#define PENSTOCK_CORE_RELAY_GATE_H
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define RELAY_GATE_SOURCES     4096 /* buckets; sources that share one share its rate */
#define RELAY_GATE_SOURCE_RATE 5000
#define RELAY_GATE_RATE	       20000 /* of one worker */

struct relay_gate_bucket {
	uint32_t tokens;
	uint32_t at_ms; /* of the last refill */
};

struct relay_gate {
	uint64_t seed;
	struct relay_gate_bucket all;
	struct relay_gate_bucket source[RELAY_GATE_SOURCES];
};

void relay_gate_init(struct relay_gate *g, uint64_t seed, uint64_t now);
/* May a request of this source be looked at now? known: it has an allocation. */
bool relay_gate_admit(struct relay_gate *g, const struct ipaddr *source, bool known, uint64_t now);
#endif
