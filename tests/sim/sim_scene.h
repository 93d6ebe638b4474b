/* SPDX-License-Identifier: Apache-2.0
 *
 * A scene: a world with a connection that has been up for a while, something that happens to it,
 * and what must be true afterwards; played with many seeds, the silences it caused printed. */
#ifndef PENSTOCK_SIM_SCENE_H
#define PENSTOCK_SIM_SCENE_H
#include "tests/sim/sim_seeds.h"
#include "tests/sim/sim_world.h"

#define SIM_SCENE_SEEDS 200

struct sim_scene {
	const char *name;
	struct sim_world_cfg cfg;
	uint32_t client_mask, gateway_mask; /* what each may be told of at first; 0: all */
	void (*happen)(struct sim_world *w);
	enum sim_outcome before, after;
	bool fails;	 /* the connection may fail on the way; without it, the session must last */
	bool comes_back; /* agents go from Disconnected to Checking on the way */
	bool partitioned; /* what the gateway signalled meanwhile did not reach the client */
	unsigned max_ms;  /* the longest silence either hears */
	unsigned watch_s; /* seconds to watch what comes of it; 0: 30 */
};

/* The default world with its direct path blocked; up: the relays that are up at first, 0: all. */
struct sim_world_cfg sim_scene_blocked(unsigned n_relays, uint32_t up);
extern const struct sim_nat_cfg sim_scene_symmetric;
/* Data goes both ways each 50 ms when this returns. */
struct sim_world *sim_scene_up(const struct sim_scene *s, uint64_t seed);
void sim_scene_judge(const struct sim_scene *s, struct sim_world *w);
/* All seeds: up, happen, watched, judged; then the times. */
void sim_scene_play(const struct sim_scene *s);
/* Bit per relay that data of the connection passes. */
uint32_t sim_scene_relays_in_use(struct sim_world *w);
/* Uniform, in nanoseconds. */
uint64_t sim_scene_between(struct sim_world *w, unsigned lo_ms, unsigned hi_ms);
#endif
