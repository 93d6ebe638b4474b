/* SPDX-License-Identifier: Apache-2.0
 * Seeds and percentiles. See sim_seeds.h. */
#include <stdlib.h>

#include "tests/sim/sim_seeds.h"

unsigned sim_seeds(unsigned n)
{
	const char *env = getenv("SIM_SEEDS");
	unsigned long v = env ? strtoul(env, NULL, 0) : n;

	return v < 1 ? 1 : v > SIM_SEEDS_MAX ? SIM_SEEDS_MAX : (unsigned)v;
}

void sim_times_add(struct sim_times *t, uint64_t took_ns)
{
	if (t->n < SIM_SEEDS_MAX)
		t->took_ns[t->n++] = took_ns;
}

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t sim_times_pct(struct sim_times *t, unsigned pct)
{
	unsigned i = t->n * pct / 100;

	if (!t->n)
		return 0;
	qsort(t->took_ns, t->n, sizeof(*t->took_ns), cmp_u64);
	return t->took_ns[i < t->n ? i : t->n - 1];
}

bool sim_times_within(struct sim_times *t, unsigned pct, uint64_t bound_ns)
{
	return t->n < 100 || sim_times_pct(t, pct) <= bound_ns;
}

static unsigned long long ms(uint64_t ns)
{
	return ns / NS_PER_MS;
}

void sim_times_note(struct sim_times *t, const char *what)
{
	t_note("%s: %u seeds p50=%llu p90=%llu p99=%llu max=%llu ms", what, t->n,
	       ms(sim_times_pct(t, 50)), ms(sim_times_pct(t, 90)), ms(sim_times_pct(t, 99)),
	       ms(sim_times_pct(t, 100)));
}
