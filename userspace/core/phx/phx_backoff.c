/* SPDX-License-Identifier: Apache-2.0 */
#include "core/phx/phx_backoff.h"

void phx_backoff_init(struct phx_backoff *b, uint64_t max_elapsed_ns, uint64_t seed)
{
	*b = (struct phx_backoff){.max_elapsed_ns = max_elapsed_ns, .rng = seed};
	phx_backoff_reset(b);
}

void phx_backoff_reset(struct phx_backoff *b)
{
	b->began_at = TIME_NEVER;
	b->step_ns = 0;
}

/* splitmix64: spreads attempts of many peers, nothing more. */
static uint64_t rng_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* step ± 50 % */
static uint64_t jitter(struct phx_backoff *b, uint64_t step_ns)
{
	return step_ns / 2 + rng_next(&b->rng) % (step_ns + 1);
}

bool phx_backoff_next(struct phx_backoff *b, uint64_t retry_after_ns, uint64_t *delay_ns,
		      uint64_t now)
{
	uint64_t delay;

	if (b->began_at == TIME_NEVER)
		b->began_at = now;
	if (retry_after_ns) {
		delay = retry_after_ns > PHX_BACKOFF_RETRY_AFTER_MAX_NS
				? PHX_BACKOFF_RETRY_AFTER_MAX_NS
				: retry_after_ns;
	} else if (!b->step_ns) {
		delay = 0;
		b->step_ns = PHX_BACKOFF_INITIAL_NS;
	} else {
		delay = jitter(b, b->step_ns);
		b->step_ns += b->step_ns / 2;
		if (b->step_ns > PHX_BACKOFF_MAX_NS)
			b->step_ns = PHX_BACKOFF_MAX_NS;
	}
	if (time_since(b->began_at, now) + delay > b->max_elapsed_ns)
		return false;
	*delay_ns = delay;
	return true;
}
