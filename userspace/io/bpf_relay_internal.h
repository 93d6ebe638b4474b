/* SPDX-License-Identifier: Apache-2.0
 *
 * What bpf_relay (the object's life) and bpf_relay_sync (its entries) share. For these two alone.
 */
#ifndef PENSTOCK_IO_BPF_RELAY_INTERNAL_H
#define PENSTOCK_IO_BPF_RELAY_INTERNAL_H
#include "io/bpf_internal.h"
#include "io/bpf_relay.h"

struct bpf_relay {
	struct bpf_load load; /* hooks and names; no tunnel device, no traffic control */
	struct bpf_relay_info info;
	struct bpf_relay_totals totals;
	uint32_t bindings;
	/* By family: IPv4, IPv6. */
	struct ipaddr own[PS_TURN_FAMILIES], known[PS_TURN_FAMILIES];
	int chan_fd[PS_TURN_FAMILIES], peer_fd[PS_TURN_FAMILIES];
	struct ps_turn_stat *stat; /* [2 * bindings] */
	struct ps_turn_port *port;
	struct ps_turn_cfg *cfg;
	struct ps_turn_way *way; /* [2] */
	/* Ports with a binding that did not fit: they stay open. */
	uint64_t spilled[PS_TURN_FAMILIES][PS_TURN_PORT_WORDS];
};
#endif
