/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulated relay: a public host that runs core/relay on port 3478 and on the ports of its
 * allocations, and is known to the portal while it is up.
 *
 * It does what the program around the machine does, events before answers included, and keeps a
 * second table made of the events alone: every packet of data is looked up in both, for the switch
 * in the kernel knows of nothing but the events. A difference fails the run. */
#ifndef PENSTOCK_SIM_RELAY_H
#define PENSTOCK_SIM_RELAY_H
#include "core/relay/relay.h"
#include "tests/sim/sim_portal.h"

#define SIM_RELAY_BINDS	 4096
#define SIM_RELAY_ALLOCS 512
#define SIM_RELAY_QUEUE	 64

struct sim_relay_bind {
	bool used;
	struct endpoint client, peer;
	uint16_t channel, port;
	uint64_t expires_ns;
};

struct sim_relay {
	struct sim *sim;
	struct sim_portal *portal;
	unsigned host, number;
	bool up;
	unsigned boots;
	struct ipaddr ip4, ip6; /* family 0: none */
	struct relay_auth auth;
	struct relay relay;
	void *mem;
	size_t mem_len;
	unsigned n_binds; /* above the highest index ever used */
	struct sim_relay_bind binds[SIM_RELAY_BINDS];
	bool ports[65536];
	unsigned head, n_queue;
	struct sim_out queue[SIM_RELAY_QUEUE];
	/* what happened */
	uint64_t from_clients, from_peers, missed, indicated;
};

/* The host and the portal's entry; it is down until started. ip4, ip6: NULL for none. Public
 * addresses must not belong to a host that was removed. */
void sim_relay_add(struct sim_relay *r, struct sim_portal *p, const struct ipaddr *ip4,
		   const struct ipaddr *ip6, const struct sim_link *link);
void sim_relay_free(struct sim_relay *r);
/* A new process: no state, a new secret; the portal hears of it. */
void sim_relay_start(struct sim_relay *r);
/* SIGKILL: silence, and the portal sees its connection end. */
void sim_relay_kill(struct sim_relay *r);
/* Its connection to the portal ends, or is back, with the same secret; it goes on relaying. */
void sim_relay_leave(struct sim_relay *r);
void sim_relay_join(struct sim_relay *r);
/* Allocations there are. */
unsigned sim_relay_n_allocs(const struct sim_relay *r);
#endif
