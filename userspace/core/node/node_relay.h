/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's relays: a small set of TURN servers, each with its allocation, and the one relay each
 * connection is assigned to in whatever state it is. Included by node.h; the functions are part of
 * the node's API.
 *
 * A relayed address is a local address like any other to ICE and WireGuard. What arrives in a
 * channel is unwrapped and told apart again as if it had arrived on the relayed address; what
 * leaves from a relayed address is wrapped in ChannelData and goes to the relay.
 *
 * A connection's relay: sampled at creation among those that hold an allocation and are about as
 * near as the nearest; changed only when it is removed, or has no allocation while another one has.
 * A connection never fails for want of a relay, and gets one as soon as there is one.
 *
 * Only relay candidates are ever invalidated when a relay goes: what it told about our own
 * addresses stays true (snownet: candidate kinds). */
#ifndef PENSTOCK_CORE_NODE_RELAY_H
#define PENSTOCK_CORE_NODE_RELAY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/uuid.h"
#include "core/ice/ice.h"
#include "core/turn/turn.h"

#define NODE_RELAYS_MAX	 8  /* a portal names two; during a redeploy those of before as well */
#define NODE_FORMER_MAX	 64 /* addresses of relays we had: late packets from them are no news */
#define NODE_RELAY_TEXT	 TURN_USERNAME_MAX
#define NODE_RELAY_REALM TURN_REALM_MAX
#define NODE_RELAY_NONE	 0xff
/* A relay that is sent this much, for this long, and never heard is asked whether it is still
 * there; at most so often. Its peers may as well be gone. */
#define NODE_UNHEARD_MAX   3
#define NODE_UNHEARD_NS	   (3 * NS_PER_SEC)
#define NODE_DOUBT_EACH_NS (10 * NS_PER_SEC)
#define NODE_SRFLX_KEPT	   2 /* server-reflexive addresses of one family kept in an agent */

struct node;

/* A relay as the portal names it. Holds a secret: wipe copies. */
struct node_relay {
	struct uuid id;
	struct endpoint addr4, addr6; /* family 0: it has none; at least one */
	char username[NODE_RELAY_TEXT + 1];
	char password[NODE_RELAY_TEXT + 1];
	char realm[NODE_RELAY_REALM + 1]; /* "": firezone */
};

/* Where data of a connection goes. Direct: relayed is false, channel 0, and ice is the whole story.
 * Relayed: send ChannelData with this channel from relay_local to relay; channel 0 then means that
 * there is no channel at the moment: nothing can be sent, and least of all directly. */
struct node_path {
	struct ice_path ice; /* local is the relayed address when relayed */
	bool relayed;
	/* The peer's relay carries it: the peer said so, or reached us unannounced (peer-reflexive)
	 * from the host of a relay that we have or had, as when the portal is away. */
	bool peer_relayed;
	uint16_t channel;
	struct endpoint relay_local; /* our address towards the relay */
	struct endpoint relay;	     /* the relay's listening address */
};

/* The same, reduced to what a sender needs. */
struct node_route {
	struct endpoint local, remote; /* of the datagram on the wire */
	uint16_t channel;	       /* 0: direct, no framing */
};

/* What of a received datagram is the message: for NODE_RX_DATA. Direct: all of it. */
struct node_rx_view {
	struct endpoint local, remote; /* the relayed address and the peer's when it was relayed */
	size_t off, len;	       /* of the message within the datagram */
	bool relayed;
};

/* For status. */
struct node_relay_view {
	struct uuid id;
	struct endpoint addr4, addr6;
	struct endpoint local, server;	    /* the pair in use; family 0: none answered so far */
	struct endpoint relayed4, relayed6; /* family 0: none */
	struct endpoint mapped4, mapped6;   /* how it sees us; family 0: unknown */
	uint64_t rtt_ns;		    /* 0: not measured */
	uint64_t expires_ns;		    /* of the allocation; TIME_NEVER: none */
	enum turn_state state;
	const char *why;     /* of the state, static text; may be NULL */
	uint32_t n_channels; /* bound */
	uint32_t n_conns;    /* connections assigned to it */
};

enum node_relay_state {
	NODE_RELAY_FREE,
	NODE_RELAY_OPEN,
	NODE_RELAY_CLOSING, /* removed; its last events are still to be polled */
};

/* One of the node's relays; its TURN client is mem.relays at the same index. */
struct node_relay_slot {
	enum node_relay_state state;
	bool ready;	      /* it held an allocation when we last looked */
	uint32_t n_conns;     /* assigned to it */
	const char *gone_why; /* NODE_EV_RELAY_GONE is due */
	struct uuid id;
	uint32_t n_unheard; /* sent through it since it was last heard, first at unheard_ns */
	uint64_t unheard_ns, doubted_ns;
};

struct node_relays {
	struct node_relay_slot at[NODE_RELAYS_MAX];
	uint32_t n_open;
	bool none_news; /* NODE_EV_NO_RELAYS is due */
	uint32_t n_former, former_next;
	struct endpoint former[NODE_FORMER_MAX];
	bool has_srflx[2]; /* v4, v6 */
	struct ice_cand srflx[2];
};

/* The portal's news, in this order: the ids gone are dropped; the ones to add are new, the same
 * (id, addresses, credentials: nothing happens) or replaced; every relay not mentioned is asked
 * whether it is still there, with a second to answer. On (re)connect the portal names all relays
 * and none that are gone. Entries without an address, with texts that are not terminated, or for
 * which there is no room are counted in acct.relays_refused. */
void node_update_relays(struct node *n, const struct uuid *gone, uint32_t n_gone,
			const struct node_relay *add, uint32_t n_add, uint64_t now);
/* Relays we have, whether they answer or not. */
uint32_t node_n_relays(const struct node *n);
/* i in 0..NODE_RELAYS_MAX-1; false: no relay there. */
bool node_relay_view(const struct node *n, uint32_t i, struct node_relay_view *out);

/* Our network changed and every connection is closed: relays are asked anew from the addresses we
 * have now, with the credentials they gave. */
void node_restart_relays(struct node *n, uint64_t now);

/* Which of these round trips (0: not measured) are near enough to be sampled: a bit each. With one
 * or two measured, up to one and a half times the least; with more, up to the median and three
 * times the median deviation from it, taken as 2 ms when it is less. */
uint32_t node_relays_near(const uint64_t *rtt_ns, uint32_t n);

/* Where to send data of this connection right now; false: nowhere (no path, or relayed and without
 * a channel). NODE_EV_PATH comes whenever the answer changes. */
bool node_route(const struct node *n, uint32_t slot, struct node_route *out, uint64_t now);
/* The whole path, for status; false: none. */
bool node_conn_path(const struct node *n, uint32_t slot, struct node_path *out, uint64_t now);
#endif
