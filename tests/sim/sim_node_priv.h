/* SPDX-License-Identifier: Apache-2.0
 * What the two files of the simulated node share; scenarios include sim_node.h. */
#ifndef PENSTOCK_SIM_NODE_PRIV_H
#define PENSTOCK_SIM_NODE_PRIV_H
#include "tests/sim/sim_node.h"

/* Drain and apply the node's events. */
void sim_node_events(struct sim_node *n, uint64_t now);
void sim_node_portal(void *self, unsigned from, const void *msg, size_t len, uint64_t now);
/* Requests to the portal that are due, and when the next one is. */
void sim_node_ask(struct sim_node *n, uint64_t now);
uint64_t sim_node_ask_at(const struct sim_node *n);
/* A data message on the connection; nothing when there is no session or no way to send. */
void sim_node_seal(struct sim_node *n, uint32_t slot, const void *inner, size_t len, uint64_t now);
#endif
