/* SPDX-License-Identifier: Apache-2.0
 * What the node's files share among themselves; nobody else includes it. */
#ifndef PENSTOCK_CORE_NODE_PRIV_H
#define PENSTOCK_CORE_NODE_PRIV_H
#include "core/node/node.h"

/* The only door for state changes; asserts the transition. */
void node_conn_set_state(struct node_conn *c, enum node_state to);
/* Queue the connection for node_poll_event and node_poll_tx. */
void node_conn_wake(struct node *n, uint32_t slot);
/* Traffic or news: back from IDLE to eager checks. */
void node_conn_touch(struct node *n, uint32_t slot, uint64_t now);
void node_conn_fail(struct node *n, uint32_t slot, const char *why);
/* Announce every candidate we have (again). */
void node_conn_announce(struct node_conn *c);
/* Open: neither free nor on its way out. */
bool node_conn_open(const struct node_conn *c);
/* Recompute the cached deadline. */
void node_conn_rearm(struct node *n, uint32_t slot);

uint32_t node_hash(const struct node *n, const void *key, size_t len);
uint32_t node_hash_peer(const struct node *n, const struct endpoint *e);
uint32_t *node_bucket(const struct node *n, enum node_chain chain, uint32_t hash);
void node_chain_link(struct node *n, uint32_t slot, enum node_chain chain);
void node_chain_unlink(struct node *n, uint32_t slot, enum node_chain chain);

/* Offer one of our candidates to a connection, or take it away; announced or invalidated at the
 * peer when that made a difference. */
void node_conn_add_local(struct node *n, uint32_t slot, const struct ice_cand *cand, uint64_t now);
void node_conn_drop_local(struct node *n, uint32_t slot, const struct ice_cand *cand, uint64_t now);

/* Learn a host address from observed traffic. */
bool node_learn_host(struct node *n, const struct endpoint *local, uint64_t now);

/* ---- node_relay.c: the set ---- */
void node_relays_fini(struct node *n);
/* Whose server this is, or NODE_RELAY_NONE. */
unsigned node_relay_of_server(const struct node *n, const struct endpoint *remote);
/* Whose relayed address this is, or NODE_RELAY_NONE. */
unsigned node_relay_of_local(const struct node *n, const struct endpoint *local);
bool node_relay_was(const struct node *n, const struct endpoint *remote);
/* Does a relay that we have or had live there? */
bool node_relay_host(const struct node *n, const struct ipaddr *ip);
/* It is of no use any more: candidates go, connections look for another. */
void node_relay_drop(struct node *n, unsigned r, const char *why, uint64_t now);
/* This address of ours is gone: relays reached from it are asked anew, from another. */
void node_relays_moved(struct node *n, const struct endpoint *host, uint64_t now);
/* After relays went: is there any left? */
void node_relays_count(struct node *n);

/* ---- node_relay_home.c: which relay a connection has, and its candidates ---- */
/* A new connection: everything we know of our own addresses, and a relay. */
void node_home_init(struct node *n, uint32_t slot, uint64_t now);
void node_home_fini(struct node *n, uint32_t slot);
/* Connections without a relay that holds an allocation get one that does, if there is one. */
void node_home_all(struct node *n, uint64_t now);
/* What was seen of a vanished address of ours is void with it. */
void node_home_drop_base(struct node *n, uint32_t slot, const struct endpoint *base, uint64_t now);
/* News of our candidates from relay r. */
void node_home_cand(struct node *n, unsigned r, const struct turn_cand *cand, uint64_t now);
void node_home_cand_gone(struct node *n, unsigned r, const struct turn_cand *cand, uint64_t now);
/* Channels for where the peer may be reached through its relay. */
void node_home_bind(struct node *n, uint32_t slot, uint64_t now);

/* ---- node_relay_path.c: what goes through a relay, in and out ---- */
/* The nominated pair changed: is it relayed, and by whom? */
void node_path_set(struct node *n, uint32_t slot, const struct ice_path *path);
/* The relay of this path is no more. */
void node_path_lost(struct node *n, uint32_t slot);
void node_path_forget(struct node *n, uint32_t slot);
/* The path's channel as it is now; asks for one, and has the path announced when it changed. */
void node_path_refresh(struct node *n, uint32_t slot, uint64_t now);
/* Data came in on the session of this path, perhaps by the kernel, which the relay's machine does
 * not see: its channel is in use, and the relay is there. */
void node_path_heard(struct node *n, uint32_t slot, uint64_t now);
/* Frame a datagram whose local address is a relayed one. false: it cannot be sent. */
bool node_path_wrap(struct node *n, struct node_tx *tx, uint64_t now);

/* A datagram goes out through relay r, or something came that shows it is there; r may be
 * NODE_RELAY_NONE. */
void node_relay_heard(struct node *n, unsigned r);
void node_relay_sent(struct node *n, unsigned r, uint64_t now);

enum node_relay_rx {
	NODE_RELAY_RX_NOT,   /* not of a relay: treat it as a peer's */
	NODE_RELAY_RX_INNER, /* channel data: inner is what the peer sent */
	NODE_RELAY_RX_TAKEN,
	NODE_RELAY_RX_REJECTED,
	NODE_RELAY_RX_LATE,
};
enum node_relay_rx node_relay_input(struct node *n, const struct ice_dgram *in,
				    struct ice_dgram *inner, uint64_t now);
/* Act on what relays tell; true: it is an event for the caller. */
bool node_relay_poll_event(struct node *n, struct node_event *out, uint64_t now);
bool node_relay_poll_tx(struct node *n, struct node_tx *out, uint64_t now);
struct deadline node_relay_deadline(const struct node *n);
void node_relay_timeout(struct node *n, uint64_t now);
#endif
