/* SPDX-License-Identifier: Apache-2.0
 *
 * When to try the portal again: exponential back-off with jitter and an overall budget.
 * Delays: 0 for the first failure after a joined room, then 500 ms x 1.5^n, each ±50 %, at most 60
 * s before jitter. A Retry-After replaces the step (and does not advance it). The budget bounds
 * wall time since the first failure. Randomness is a seeded counter hash: no system call,
 * repeatable in tests. */
#ifndef PENSTOCK_CORE_PHX_BACKOFF_H
#define PENSTOCK_CORE_PHX_BACKOFF_H
#include <stdbool.h>
#include <stdint.h>
#include "base/time.h"

#define PHX_BACKOFF_INITIAL_NS (500 * NS_PER_MS)
#define PHX_BACKOFF_MAX_NS     (60 * NS_PER_SEC)
#define PHX_BACKOFF_RETRY_AFTER_MAX_NS                            \
	(3600 * NS_PER_SEC) /* a portal asking for more gets this \
			     */

struct phx_backoff {
	uint64_t max_elapsed_ns; /* TIME_NEVER: unlimited */
	uint64_t began_at;	 /* first failure; TIME_NEVER: none since the last reset */
	uint64_t step_ns; /* next exponential step; 0: the free immediate retry is still there */
	uint64_t rng;
};

void phx_backoff_init(struct phx_backoff *b, uint64_t max_elapsed_ns, uint64_t seed);
/* Room joined, or an explicit reconnect. */
void phx_backoff_reset(struct phx_backoff *b);
/* A failure at `now`. retry_after_ns 0: the portal asked for nothing. True and *delay_ns, or false:
 * the budget is spent. */
bool phx_backoff_next(struct phx_backoff *b, uint64_t retry_after_ns, uint64_t *delay_ns,
		      uint64_t now);
#endif
