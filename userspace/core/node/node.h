/* SPDX-License-Identifier: Apache-2.0
 *
 * The node: all connections of one daemon, each an ICE agent and a WireGuard peer with a life of
 * its own, behind one set of UDP sockets. Here a datagram is told apart (STUN, handshake, data) and
 * given to whom it belongs; here a nominated pair becomes a path, and a handshake a session. Relays
 * and what goes through them: node_relay.h.
 *
 * Not here: data packets (the forwarding table, fwd/, opens and seals them), policy (core/tunnel),
 * the portal. A connection's index is its peer slot in the forwarding table and in the
 * policy's tables.
 *
 * Lives of a connection (spec: connection states): CONNECTING -> CONNECTED <-> IDLE, any -> FAILED.
 * A failed one is reported once; the shell then calls node_close. After node_close the slot drains
 * its last events and ends with NODE_EV_CLOSED, after which it may be used again.
 *
 * Timers of a connection (all in one deadline):
 *   ice          checks of the pairs                        core/ice
 *   grace        2 s after Disconnected                     core/ice/ice_grace.h
 *   no-candidate 10 s without any remote candidate          NODE_CANDIDATE_TIMEOUT_NS
 *   idle         20 s without traffic: slow checks          NODE_IDLE_AFTER_NS
 *   tell again   5 s, then rarer, without a nominated pair  NODE_RETELL_NS
 *   wireguard    only while there is a pair to send on      core/wg/wg_timers.h
 *
 * Driving it: after every call drain it like this, because a response must not leave before its
 * session is installed: while (node_poll_event(n, &ev, now)) apply(ev); while (node_poll_tx(n, &tx,
 * now)) { while (node_poll_event(n, &ev, now)) apply(ev); send(tx);
 *     }
 *     sleep until node_deadline(n), then node_timeout(n, now)
 */
#ifndef PENSTOCK_CORE_NODE_H
#define PENSTOCK_CORE_NODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/due_heap.h"
#include "base/time.h"
#include "base/uuid.h"
#include "core/ice/ice.h"
#include "core/ice/ice_grace.h"
#include "core/node/node_relay.h"
#include "core/wg/wg_local.h"
#include "core/wg/wg_peer.h"
#include "crypto/rng.h"

#define NODE_IDLE_AFTER_NS	  (20 * NS_PER_SEC)
#define NODE_CANDIDATE_TIMEOUT_NS (10 * NS_PER_SEC)
#define NODE_ROLL_MIN_NS	  (20 * NS_PER_SEC) /* between sessions rolled by repeated upserts */
/* A connection that lost its pair announces its candidates again, for the portal may have been away
 * from one side when they changed: after 5 s, and then after twice the time before, 4 times. */
#define NODE_RETELL_NS	  (5 * NS_PER_SEC)
#define NODE_RETELL_MAX	  4
#define NODE_HOSTS_MAX	  16 /* leaves room for srflx and relay in an agent */
#define NODE_REPLIES_MAX  16 /* cookie replies owed */
#define NODE_DATAGRAM_MAX 2048
#define NODE_TX_MAX	  1504 /* largest STUN message, and channel framing */

enum node_state {
	NODE_FREE,
	NODE_CONNECTING,
	NODE_CONNECTED,
	NODE_IDLE,
	NODE_FAILED,
	NODE_CLOSING,
};

/* Hash chains a connection hangs in. */
enum node_chain {
	NODE_BY_CID,
	NODE_BY_UFRAG,
	NODE_BY_KEY,
	NODE_BY_PEER, /* path.remote, while the path goes through a relay of ours */
	NODE_CHAINS,
};

struct node_conn {
	enum node_state state;
	bool controlling;
	bool has_path;
	bool path_news;	   /* NODE_EV_PATH is due */
	bool established;  /* NODE_EV_ESTABLISHED was reported */
	bool fail_news;	   /* NODE_EV_FAILED is due */
	bool want_news;	   /* NODE_EV_WANT_INDEX was reported and not answered */
	bool hot;	   /* in the work queue */
	bool asked;	   /* in the queue of those to ask for news */
	bool path_relayed; /* path.local is, or was, a relayed address */
	uint8_t relay;	   /* the one assigned, or NODE_RELAY_NONE */
	uint8_t n_retold;
	uint8_t path_relay;    /* whose address path.local is, or NODE_RELAY_NONE */
	uint16_t path_channel; /* as NODE_EV_PATH said */
	uint32_t next[NODE_CHAINS];
	uint32_t hot_next, ask_next;
	uint32_t signal_mask; /* local candidates to announce */
	uint32_t gone_mask;   /* local candidates to invalidate */
	struct uuid cid;
	uint8_t remote_pub[32];
	uint8_t psk[32];
	const char *fail_why;
	uint64_t created_ns;
	uint64_t last_activity_ns;
	uint64_t candidate_by_ns; /* TIME_NEVER once there was a remote candidate */
	uint64_t retell_at;	  /* TIME_NEVER while a pair is nominated */
	uint64_t rolled_ns;
	uint64_t handshake_ns; /* last completed handshake, 0: none */
	uint64_t handshake_rtt_ns;
	struct ice_path path;
	struct ice_grace grace;
	struct ice ice;
	struct wg_peer wg;
};

struct node_cfg {
	bool gateway; /* controlled, patient timings; else the client's */
	struct wg_times wg_times;
};

/* Memory, owned by the caller and outliving the node; n_conns any, n_buckets and n_slots powers of
 * two. n_slots is the forwarding table's session capacity. */
struct node_mem {
	struct node_conn *conns; /* n_conns, zeroed (untouched pages cost nothing) */
	struct due *due;	 /* n_conns */
	uint32_t *due_pos;	 /* n_conns */
	uint32_t *buckets;	 /* NODE_CHAINS * n_buckets */
	uint32_t *conn_of_slot;	 /* n_slots */
	uint32_t n_conns, n_buckets, n_slots;
	uint32_t n_relays;   /* at most NODE_RELAYS_MAX; 0: direct paths only */
	struct turn *relays; /* n_relays, zeroed */
};

/* Ready for the socket, channel framing included. */
struct node_tx {
	struct endpoint local; /* family 0: whatever address the system chooses */
	struct endpoint remote;
	size_t len;
	uint8_t buf[NODE_TX_MAX];
};

struct node_reply {
	struct endpoint local, remote;
	bool relayed;
	struct wg_tx tx;
};

struct node_acct {
	uint64_t replies_dropped;
	uint64_t hosts_full;
	uint64_t looks;	 /* at connections, for their news */
	uint64_t timers; /* of connections, that were due */
	uint64_t relays_refused;
	uint64_t unchannelled; /* datagrams to a relay without a channel: not sent */
	uint64_t unrouted;     /* datagrams from a relayed address that is gone: not sent */
};

struct node {
	struct node_cfg cfg;
	struct node_mem mem;
	struct wg_local wg;
	struct rng rng;
	uint64_t hash_seed;
	struct due_heap due; /* of connections, by slot; one that is hot may lack its own */
	uint32_t hot_head, hot_tail;
	uint32_t ask_head, ask_tail;
	uint32_t n_used;
	uint32_t n_hosts;
	struct endpoint hosts[NODE_HOSTS_MAX];
	uint32_t reply_head, n_replies;
	struct node_reply replies[NODE_REPLIES_MAX];
	struct node_relays relays;
	bool has_held;
	struct node_tx held; /* channel data that lets the request for its channel go first */
	struct node_acct acct;
};

#define NODE_NONE UINT32_MAX

enum node_rx {
	NODE_RX_STUN,
	NODE_RX_HANDSHAKE,
	NODE_RX_DATA, /* not touched: open it with the forwarding table, then node_on_data */
	NODE_RX_MALFORMED,
	NODE_RX_STUN_REJECTED,
	NODE_RX_HANDSHAKE_REJECTED,
	NODE_RX_UNDER_LOAD,	/* answered with a cookie, or over the limit */
	NODE_RX_RELAY,		/* a relay's own message, taken */
	NODE_RX_RELAY_REJECTED, /* a relay's own message, or channel data, that means nothing to us
				 */
	NODE_RX_RELAY_LATE,	/* from a relay that we had once */
};

enum node_event_kind {
	NODE_EV_CANDIDATE,	/* announce `text` to the peer */
	NODE_EV_CANDIDATE_GONE, /* invalidate `text` at the peer */
	NODE_EV_PATH, /* `path` is where to send from now on; again when its channel changes */
	NODE_EV_WANT_INDEX,  /* answer with node_give_index */
	NODE_EV_WG,	     /* `wg`: session news for the forwarding table */
	NODE_EV_ESTABLISHED, /* first session and a path: traffic may flow */
	NODE_EV_FAILED,	     /* `why`; call node_close when ready */
	NODE_EV_CLOSED,	     /* the slot is free; all its indices are the caller's again */
	/* Of the node, not of a connection: conn is NODE_NONE, cid nil. */
	NODE_EV_CHANNEL_UP,   /* `channel`: the relay delivers and accepts on it from now on */
	NODE_EV_CHANNEL_DOWN, /* `channel`: no longer */
	NODE_EV_RELAY_GONE,   /* relay `cid` did not answer or refused us (`why`), and is dropped */
	NODE_EV_NO_RELAYS,    /* the last relay is gone: ask the portal */
};

/* A channel with a peer's address. Several connections may share the peer's address (clients behind
 * one NAT never do, a restarted client does): who sent what is for the session to say. */
struct node_channel {
	struct endpoint relay, relay_local; /* the outer addresses of its datagrams */
	struct endpoint relayed, peer;	    /* what it stands for */
	uint16_t number;
};

struct node_event {
	enum node_event_kind kind;
	uint32_t conn;
	struct uuid cid;
	const char *why;
	struct node_path path;
	struct node_channel channel;
	struct wg_event wg; /* keys inside: wipe after use */
	char text[SDP_CAND_STRLEN];
};

struct node_peer {
	struct uuid cid;
	uint8_t remote_pub[32];
	uint8_t psk[32];
	struct ice_creds local, remote;
};

enum node_upsert {
	NODE_UPSERT_CREATED,
	NODE_UPSERT_REUSED,
	NODE_UPSERT_BUSY, /* another connection holds the slot: node_close it, drain, ask again */
	NODE_UPSERT_INVALID, /* slot, credentials or key are unusable */
};

/* 0 or -EINVAL. priv: our X25519 key; seed: entropy; wall: the time of day, once. */
int node_init(struct node *n, const struct node_cfg *cfg, const struct node_mem *mem,
	      const uint8_t priv[32], const uint8_t seed[32], struct wall wall, uint64_t now);
void node_fini(struct node *n);
/* A new static key. Every connection must have been closed and drained. */
void node_rekey(struct node *n, const uint8_t priv[32], struct wall wall, uint64_t now);
const uint8_t *node_public_key(const struct node *n);

/* The addresses datagrams can be sent from (interface addresses with our port). Replaces the set:
 * new ones are announced on every connection, vanished ones invalidated. */
void node_set_hosts(struct node *n, const struct endpoint *hosts, uint32_t n_hosts, uint64_t now);

/* Create the connection in the slot the policy chose (its slot in ps_peer), or wake the one there
 * when it is the same in all of p. */
enum node_upsert node_upsert(struct node *n, uint32_t slot, const struct node_peer *p,
			     uint64_t now);
/* Begin closing: sessions die, events follow, NODE_EV_CLOSED is last. */
void node_close(struct node *n, uint32_t slot, uint64_t now);
/* Open connection with this id, or NODE_NONE. */
uint32_t node_find(const struct node *n, const struct uuid *cid);
/* NULL when the slot is free or closing. */
const struct node_conn *node_conn(const struct node *n, uint32_t slot);

/* Signalled candidates; unusable ones are ignored (false). */
bool node_add_candidate(struct node *n, uint32_t slot, const char *text, size_t len, uint64_t now);
bool node_remove_candidate(struct node *n, uint32_t slot, const char *text, size_t len,
			   uint64_t now);

/* view is written for NODE_RX_DATA only. */
enum node_rx node_input(struct node *n, const struct ice_dgram *in, struct node_rx_view *view,
			uint64_t now);

/* Reports of the data path: one packet, or the newest of many, on session idx at time `at`. */
void node_on_data(struct node *n, uint32_t slot, uint32_t idx, bool received, bool keepalive,
		  uint64_t at, uint64_t now);
void node_on_counter(struct node *n, uint32_t slot, uint32_t idx, uint64_t counter, uint64_t now);
/* A packet waits and there is no session: start a handshake if we may. */
bool node_wants_send(struct node *n, uint32_t slot, uint64_t now);
/* Answer to NODE_EV_WANT_INDEX; idx 0: none to be had now, ask again on the next timeout. */
void node_give_index(struct node *n, uint32_t slot, uint32_t idx);

bool node_poll_event(struct node *n, struct node_event *out, uint64_t now);
bool node_poll_tx(struct node *n, struct node_tx *out, uint64_t now);
struct deadline node_deadline(const struct node *n);
void node_timeout(struct node *n, uint64_t now);

const char *node_state_name(enum node_state s);
#endif
