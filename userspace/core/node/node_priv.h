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
/* Open: neither free nor on its way out. */
bool node_conn_open(const struct node_conn *c);
/* Recompute the cached deadline. */
void node_conn_rearm(struct node *n, uint32_t slot);

uint32_t node_hash(const struct node *n, const void *key, size_t len);
uint32_t *node_bucket(const struct node *n, enum node_chain chain, uint32_t hash);
/* Learn a host address from observed traffic. */
bool node_learn_host(struct node *n, const struct endpoint *local, uint64_t now);
#endif
