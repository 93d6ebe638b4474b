/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal's part in a simulated world: introduces clients to gateways, forwards candidates, and
 * tells every node of up to two relays and of relays that came and went. It sees of a relay what a
 * portal sees: that its connection came, with a secret, or went; changes settle for a while before
 * one message tells them to each node.
 *
 * A node's connection to it can be cut: what either side has sent and the other has not received is
 * lost; nodes hold their candidates until they are back, and are greeted with the current relays.
 */
#ifndef PENSTOCK_SIM_PORTAL_H
#define PENSTOCK_SIM_PORTAL_H
#include "core/node/node.h"
#include "tests/sim/sim.h"

#define SIM_PORTAL_NODES_MAX  224
#define SIM_PORTAL_RELAYS_MAX 8
#define SIM_PORTAL_SENT	      2 /* relays a node is told of */
#define SIM_SECRET_LEN	      64
#define SIM_UNIX_BASE	      1700000000u /* what the wall clock says at virtual time 0 */

enum sim_msg_kind {
	SIM_MSG_RELAY_UP,   /* relay -> portal */
	SIM_MSG_RELAY_GONE, /* its connection ended */
	SIM_MSG_HELLO,	    /* node -> portal: (re)connected */
	SIM_MSG_NO_RELAYS,  /* node -> portal */
	SIM_MSG_INIT,	    /* portal -> node: relays */
	SIM_MSG_PRESENCE,   /* portal -> node: relays gone and relays to use */
	SIM_MSG_WANT,	    /* client -> portal: a connection to node `about` */
	SIM_MSG_FLOW,	    /* portal -> gateway, its answer, portal -> client: `peer` is `about` */
	SIM_MSG_CAND,	    /* both ways: of, or for, node `about` */
	SIM_MSG_CAND_GONE,
};

/* What struct node_relay says, at a size that is pleasant to copy. */
struct sim_msg_relay {
	struct uuid id;
	struct endpoint addr4, addr6;
	char username[32], password[48];
};

struct sim_msg {
	enum sim_msg_kind kind;
	unsigned about; /* node or relay number at the portal */
	unsigned epoch; /* of the node's connection to the portal */
	unsigned n_gone, n_add;
	struct uuid gone[SIM_PORTAL_RELAYS_MAX];
	struct sim_msg_relay add[SIM_PORTAL_SENT];
	struct node_peer peer;
	char secret[SIM_SECRET_LEN + 1];
	uint8_t pub[32];
	char text[SDP_CAND_STRLEN];
};

struct sim_portal_relay {
	struct uuid id;
	struct endpoint addr4, addr6;
	bool online;
	char secret[SIM_SECRET_LEN + 1];
};

struct sim_portal_node {
	unsigned host;
	bool online;
	unsigned epoch;
	uint32_t relay_mask; /* the relays it may be told of */
	uint8_t pub[32];
	unsigned n_sent;
	struct {
		unsigned relay;
		char secret[SIM_SECRET_LEN + 1];
	} sent[SIM_PORTAL_SENT];
};

struct sim_portal {
	struct sim *sim;
	unsigned host;
	uint64_t settle_ns; /* from a relay's coming or going to the message that tells it */
	uint64_t settle_at;
	bool hold;
	uint8_t generation; /* of all credentials it hands out; another one changes them */
	unsigned n_relays, n_nodes;
	struct sim_portal_relay relays[SIM_PORTAL_RELAYS_MAX];
	struct sim_portal_node nodes[SIM_PORTAL_NODES_MAX];
};

void sim_portal_init(struct sim_portal *p, struct sim *sim);
/* Numbers by which messages name them. A relay is known once it said SIM_MSG_RELAY_UP. */
unsigned sim_portal_relay_add(struct sim_portal *p, const struct uuid *id,
			      const struct endpoint *addr4, const struct endpoint *addr6);
unsigned sim_portal_node_add(struct sim_portal *p, unsigned host);
/* Which relays a node may be told of, bit per number; takes effect with the next message. */
void sim_portal_relay_mask(struct sim_portal *p, unsigned node, uint32_t mask);
/* Nothing is told of relays that change, or (false) again, and at once what changed meanwhile. */
void sim_portal_hold(struct sim_portal *p, bool hold);
/* The connection of a node ends now; it comes back with the node's SIM_MSG_HELLO. */
void sim_portal_cut(struct sim_portal *p, unsigned node);
/* The id messages use for a node. */
struct uuid sim_node_uuid(unsigned node);
/* To or from the portal's host; len is the message's. */
void sim_msg_send(struct sim *s, unsigned from, unsigned to, const struct sim_msg *m);
#endif
