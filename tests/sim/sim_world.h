/* SPDX-License-Identifier: Apache-2.0
 *
 * A world of a portal, relays, a client and a gateway, described so that the oracle can say what is
 * possible in it. Scenarios reach into it for the rest. */
#ifndef PENSTOCK_SIM_WORLD_H
#define PENSTOCK_SIM_WORLD_H
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_portal.h"
#include "tests/sim/sim_relay.h"

struct sim_world_cfg {
	/* A NAT's public address is made here. */
	struct sim_oracle_node client, gateway;
	bool cut; /* no datagram between the two */
	unsigned n_relays;
	struct sim_oracle_relay relays[SIM_PORTAL_RELAYS_MAX];
	uint32_t relays_up; /* at first, bit per number; 0: all */
	struct sim_link node_link, relay_link;
	uint64_t portal_min_ns, portal_max_ns; /* one way, node to portal */
};

struct sim_world {
	struct sim *sim;
	struct sim_world_cfg cfg;
	struct sim_nat_cfg nats[2][SIM_FAMILIES];
	struct sim_portal portal;
	struct sim_relay *relays[SIM_PORTAL_RELAYS_MAX];
	struct sim_node client, gateway;
};

/* Two public dual-stack nodes and two dual-stack relays, tens of milliseconds apart. */
struct sim_world_cfg sim_world_default(void);
/* Everything is there and nothing has happened: relays are up, nodes offline. */
struct sim_world *sim_world_new(const char *scn, uint64_t seed, const struct sim_world_cfg *cfg);
/* Both nodes go online and get their allocations. */
void sim_world_settle(struct sim_world *w);
/* The client asks; data flows both ways each every_ns. */
void sim_world_connect(struct sim_world *w, uint64_t every_ns);
void sim_world_run(struct sim_world *w, uint64_t for_ns);
/* Until both hear each other, or for that long; whether they do. */
bool sim_world_run_until_up(struct sim_world *w, uint64_t for_ns);
/* Until each has heard what was sent after sim_world_mark, or for that long; how long it took since
 * the mark, TIME_NEVER when it did not come to that. */
uint64_t sim_world_run_until_recovered(struct sim_world *w, uint64_t for_ns);
/* The longest time since the mark for which one of them heard nothing of the other, up to now. */
uint64_t sim_world_silence(struct sim_world *w);
void sim_world_mark(struct sim_world *w);
/* Datagrams between the two nodes stop, or flow again. */
void sim_world_cut(struct sim_world *w, bool cut);
enum sim_outcome sim_world_oracle(const struct sim_world *w);
/* The path both use, or NONE when they disagree or data has not come for two seconds. */
enum sim_outcome sim_world_outcome(struct sim_world *w);
struct sim_conn *sim_world_conn(struct sim_world *w, bool gateway);
/* Wake-ups, twice-delivered numbers and the rest: checked, then freed. */
void sim_world_free(struct sim_world *w);
#endif
