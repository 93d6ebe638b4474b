/* SPDX-License-Identifier: Apache-2.0
 * The grace after Disconnected; see ice_grace.h. One timer: fail_at. */
#include "core/ice/ice_grace.h"

void ice_grace_init(struct ice_grace *g)
{
	*g = (struct ice_grace){.fail_at = TIME_NEVER};
}

void ice_grace_state(struct ice_grace *g, enum ice_state state, uint64_t now)
{
	if (ice_grace_timeout(g, now))
		return;
	if (state != ICE_DISCONNECTED)
		g->fail_at = TIME_NEVER;
	else if (g->fail_at == TIME_NEVER)
		g->fail_at = time_add(now, ICE_GRACE_NS);
}

bool ice_grace_timeout(struct ice_grace *g, uint64_t now)
{
	if (time_reached(g->fail_at, now)) {
		g->failed = true;
		g->fail_at = TIME_NEVER;
	}
	return g->failed;
}

struct deadline ice_grace_deadline(const struct ice_grace *g)
{
	return (struct deadline){.at = g->fail_at, .why = "ice: grace after disconnect ends"};
}
