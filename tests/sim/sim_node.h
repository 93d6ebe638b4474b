/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulated client or gateway: core/node with its relays, the forwarding table, and what a daemon
 * does around them — ask the portal for a connection and again when it failed, pass candidates on,
 * hold them while the portal is away, hand relays over.
 *
 * Data is numbered and carries the time it was sent; a number that arrives twice fails the run. */
#ifndef PENSTOCK_SIM_NODE_H
#define PENSTOCK_SIM_NODE_H
#include "core/node/node.h"
#include "core/phx/cand_hold.h"
#include "core/turn/turn.h"
#include "fwd/fwd_table.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_portal.h"

#define SIM_NODE_PORT	52625
#define SIM_NODE_RELAYS 4
#define SIM_NODE_QUEUE	128
#define SIM_NUMBERS_MAX 16384
#define SIM_REASK_NS	(2 * NS_PER_SEC) /* between two requests for the same connection */

/* One connection, by slot; the slot belongs to the peer node for good. */
struct sim_conn {
	bool used, wanted;
	unsigned peer; /* node number at the portal */
	uint64_t wanted_at, ask_at;
	bool has_path;
	struct node_path path; /* as the last event said */
	uint64_t next_no, sent, received, unroutable;
	uint8_t seen[SIM_NUMBERS_MAX / 8];
	unsigned established, failed, closed, paths, channels, sessions, handshakes;
	uint64_t first_path_at, established_at, first_rx_at, last_rx_at, failed_at;
	const char *fail_why;
	/* since mark_at: the first arrival that was sent after it, the longest time without one */
	uint64_t mark_at, recovered_at, silence_ns;
	uint64_t sent_since_mark, received_since_mark;
	/* of the ICE agent, as seen after each of the node's steps */
	enum ice_state ice_state;
	uint64_t disconnected_at;
	unsigned n_disconnected, n_checking_again;
	/* signalled by us, and heard from the peer */
	unsigned n_signalled, n_heard, n_refused;
};

struct sim_node {
	struct sim *sim;
	struct sim_portal *portal;
	unsigned host, number;
	bool gateway, online, joined;
	unsigned epoch;
	uint32_t n_conns, n_slots;
	struct node node;
	struct node_mem mem;
	struct fwd_table fwd;
	struct fwd_mem fmem;
	struct sim_conn *conns;
	struct cand_hold hold;
	uint64_t send_every_ns, send_at; /* 0: no data */
	unsigned relay_gone, no_relays;
	uint64_t rx[NODE_RX_RELAY_LATE + 1], out_of_session;
	unsigned head, n_queue;
	struct sim_out queue[SIM_NODE_QUEUE];
	struct node_tx tx;
};

/* n_conns: power of two. The host and the portal's entry; addresses follow. */
void sim_node_add(struct sim_node *n, struct sim_portal *p, bool gateway, uint32_t n_conns,
		  const struct sim_link *link);
void sim_node_free(struct sim_node *n);
/* The addresses the host has in the simulation become the node's; call after sim_addr_add/del. */
void sim_node_hosts(struct sim_node *n);
/* Connect to the portal (again). */
void sim_node_online(struct sim_node *n);
void sim_node_offline(struct sim_node *n);
/* A client wants a connection to this gateway from now on. */
void sim_node_want(struct sim_node *client, const struct sim_node *gateway);
/* Ask for it once more although it is there. */
void sim_node_want_again(struct sim_node *client, const struct sim_node *gateway);
/* Send a number on every connection each every_ns; 0: stop. */
void sim_node_send(struct sim_node *n, uint64_t every_ns);
/* The connection to a peer; NULL: never heard of. */
struct sim_conn *sim_node_conn(struct sim_node *n, const struct sim_node *peer);
const struct node_conn *sim_node_inner(const struct sim_node *n, const struct sim_node *peer);
/* Begin measuring a recovery. */
void sim_node_mark(struct sim_node *n);
/* Every live candidate of the peer is known here, alive and of its kind; says which is not. */
bool sim_node_knows_all(const struct sim_node *n, const struct sim_node *peer);
/* What kind of path the connection has by the node's own account. */
enum sim_outcome sim_node_path(const struct sim_node *n, const struct sim_node *peer);
#endif
