/* SPDX-License-Identifier: Apache-2.0
 *
 * Many seeds of one scenario, and the times they took as one line. SIM_SEEDS=n in the environment
 * says how many; to see one again: SIM_SEEDS=1 and --seed with the number that was printed. */
#ifndef PENSTOCK_SIM_SEEDS_H
#define PENSTOCK_SIM_SEEDS_H
#include <stdint.h>

#include "tests/sim/sim.h"
#include "tests/t.h"

#define SIM_SEEDS_MAX 10000

/* How many: SIM_SEEDS, else n. */
unsigned sim_seeds(unsigned n);

struct sim_times {
	unsigned n;
	uint64_t took_ns[SIM_SEEDS_MAX];
};

void sim_times_add(struct sim_times *t, uint64_t took_ns);
/* Sorts. */
uint64_t sim_times_pct(struct sim_times *t, unsigned pct);
/* Is the percentile within the bound? True of fewer than 100 seeds, which prove nothing. */
bool sim_times_within(struct sim_times *t, unsigned pct, uint64_t bound_ns);
/* "what: 200 seeds p50=1 p90=2 p99=3 max=4 ms". */
void sim_times_note(struct sim_times *t, const char *what);

/* A check that names the seed when it fails. */
#define SIM_T(s, cond)                            \
	do {                                      \
		if (!T(cond))                     \
			sim_fail(s, "%s", #cond); \
	} while (0)
#define SIM_T_EQ(s, a, b)                                    \
	do {                                                 \
		if (!T_EQ(a, b))                             \
			sim_fail(s, "%s is not %s", #a, #b); \
	} while (0)
#endif
