/* SPDX-License-Identifier: Apache-2.0
 *
 * Naive oracle: what can two nodes reach of each other at all, given their NATs, firewalls and
 * relays? No ICE and no TURN here; scenarios compare the outcome with it.
 *
 * A relayed address is taken as one behind a NAT with endpoint-independent mapping that lets in
 * what it has sent to, address and port: what a channel does. */
#ifndef PENSTOCK_SIM_ORACLE_H
#define PENSTOCK_SIM_ORACLE_H
#include "tests/sim/sim.h"

enum sim_family {
	SIM_V4,
	SIM_V6,
	SIM_FAMILIES,
};

enum sim_outcome {
	SIM_OUT_NONE,
	SIM_OUT_RELAYED,
	SIM_OUT_DIRECT,
};

/* A node has at most one address of each family. */
struct sim_oracle_node {
	bool has[SIM_FAMILIES];
	const struct sim_nat_cfg *nat[SIM_FAMILIES]; /* NULL: public */
	bool only_control; /* its firewall lets only the relays' control port through */
	uint32_t told;	   /* bit per relay it knows as such */
	uint32_t cut_off;  /* bit per relay that no datagram gets to */
};

struct sim_oracle_relay {
	bool has[SIM_FAMILIES];
};

/* Can two single-address hosts, each behind a NAT (NULL: public), get a request and its reply
 * through, both knowing each other's address and mapped address, sending as often as they like? */
bool sim_direct_possible(const struct sim_nat_cfg *a, const struct sim_nat_cfg *b);
/* The best path there is. cut: no datagram goes between the two nodes. */
enum sim_outcome sim_oracle(const struct sim_oracle_node *a, const struct sim_oracle_node *b,
			    bool cut, const struct sim_oracle_relay *relays, unsigned n_relays);
const char *sim_outcome_name(enum sim_outcome o);
#endif
