/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulated host that runs one ICE agent: signals its candidates through the portal, applies what
 * the peer signals, sends numbered data over the nominated path and gives up after the grace. What
 * core/node does, reduced to ICE, with one switch for the rule under test. */
#ifndef PENSTOCK_SIM_ICE_H
#define PENSTOCK_SIM_ICE_H
#include "core/ice/ice.h"
#include "core/ice/ice_grace.h"
#include "tests/sim/sim.h"

#define SIM_ICE_LOCALS 8

/* The caller's policy about candidates, ours and the peer's, that come once a pair is nominated. */
enum sim_ice_policy {
	SIM_ICE_USE_ALL,
	SIM_ICE_ONLY_WHILE_CONNECTING, /* the rule that does not work; tests show that */
};

struct sim_ice_cfg {
	bool controlling;
	enum sim_ice_policy policy;
	struct ice_timing timing;
	uint64_t data_every_ns; /* 0: no data */
};

struct sim_ice_local {
	struct ice_cand cand;
	uint64_t after_ns; /* after the connection was opened */
	bool done;
};

struct sim_ice {
	struct sim *sim;
	unsigned host, peer;
	struct sim_ice_cfg cfg;
	bool open;
	uint64_t open_at;
	struct ice ice;
	struct ice_grace grace;
	unsigned n_locals;
	struct sim_ice_local locals[SIM_ICE_LOCALS];

	/* the path in use, as the last event said */
	bool has_path;
	struct ice_path path;
	uint64_t next_data_at, data_sent, data_received, last_data_at, max_data_gap_ns;

	/* what happened */
	bool connected, failed;
	uint64_t connected_at, failed_at, disconnected_at;
	unsigned n_nominated, n_paths; /* nominations, and those of other addresses than before */
	unsigned n_disconnected, n_checking_again;
	unsigned n_signalled, n_received, n_ignored;
	struct endpoint signalled[SIM_ICE_LOCALS];
	uint64_t rx[ICE_RX_COUNT];
};

extern const struct sim_ops sim_ice_ops;

/* Makes the host and puts the endpoint on it; sim_addr_add and candidates follow. */
void sim_ice_add(struct sim_ice *e, struct sim *sim, const struct sim_ice_cfg *cfg,
		 const struct sim_link *link);
/* A candidate that is known after_ns after opening; signalled to the peer then. */
void sim_ice_local(struct sim_ice *e, const struct ice_cand *c, uint64_t after_ns);
/* Address and host candidate in one. */
void sim_ice_host(struct sim_ice *e, const char *at, unsigned nat, uint64_t after_ns);
/* The controlled side is told first; its agreement travels back ahead of its candidates. */
void sim_ice_connect(struct sim_ice *controlling, struct sim_ice *controlled);
/* Invalidate one of our candidates, and tell the peer. */
void sim_ice_drop_local(struct sim_ice *e, const struct ice_cand *c);
/* Add and signal now. */
void sim_ice_add_local_now(struct sim_ice *e, const struct ice_cand *c);
/* Every candidate the peer signalled is known, alive and of its kind; says which is missing. */
bool sim_ice_knows_all(const struct sim_ice *e, const struct sim_ice *peer);
#endif
