/* SPDX-License-Identifier: Apache-2.0
 *
 * The grace after Disconnected: an agent that lost all its pairs gets ICE_GRACE_NS to find new ones
 * before its connection is given up. New candidates are often on their way through the portal at
 * that moment. Any state but Disconnected cancels it, Completed included. */
#ifndef PENSTOCK_CORE_ICE_GRACE_H
#define PENSTOCK_CORE_ICE_GRACE_H
#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "core/ice/ice.h"

#define ICE_GRACE_NS (2 * NS_PER_SEC)

struct ice_grace {
	uint64_t fail_at; /* TIME_NEVER: not running */
	bool failed;	  /* for good */
};

void ice_grace_init(struct ice_grace *g);
/* The agent entered a state. Disconnected again while it runs does not restart it. */
void ice_grace_state(struct ice_grace *g, enum ice_state state, uint64_t now);
/* Time passed. Returns true once the grace is used up, and ever after. */
bool ice_grace_timeout(struct ice_grace *g, uint64_t now);
struct deadline ice_grace_deadline(const struct ice_grace *g);
#endif
