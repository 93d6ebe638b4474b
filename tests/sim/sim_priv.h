/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the simulated network share among themselves; tests include sim.h. */
#ifndef PENSTOCK_SIM_PRIV_H
#define PENSTOCK_SIM_PRIV_H
#include "tests/sim/sim.h"

#define BLOCKS_MAX 64

enum ev_kind {
	EV_DGRAM,
	EV_PORTAL,
	EV_STEP,
};

struct ev {
	uint64_t at, seq;
	enum ev_kind kind;
	unsigned from, to; /* hosts */
	struct endpoint local, remote;
	void (*fn)(void *ctx, uint64_t now);
	void *ctx;
	size_t len;
	uint8_t data[];
};

struct sim_addr {
	struct ipaddr ip;
	unsigned nat;
};

struct sim_host {
	const struct sim_ops *ops;
	void *self;
	struct sim_link link;
	bool down;
	uint16_t only_port;
	unsigned n_addrs;
	struct sim_addr addrs[SIM_ADDRS_MAX];
	uint64_t portal_until;
};

struct sim {
	const char *scn;
	uint64_t seed, rng, now, seq, hash;
	bool failed;
	struct sim_stats stats;
	unsigned n_hosts, n_nats, n_blocks;
	struct sim_host hosts[SIM_HOSTS_MAX];
	struct sim_nat *nats[SIM_NATS_MAX];
	struct {
		struct ipaddr a, b;
	} blocks[BLOCKS_MAX];
	uint64_t portal_min_ns, portal_max_ns;
	uint64_t portal_last[SIM_HOSTS_MAX][SIM_HOSTS_MAX];
	bool cut[SIM_HOSTS_MAX][SIM_HOSTS_MAX];
	struct ev **heap;
	size_t n_heap, heap_cap;
};

/* malloc's result, or the end: test code. */
void *sim_must(void *p);
struct ev *sim_ev_new(enum ev_kind kind, uint64_t at, const void *data, size_t len);
/* Takes the event; equal times run in the order of creation. */
void sim_ev_push(struct sim *s, struct ev *e);
/* A datagram enters the network: routed, translated, delayed, lost, doubled. */
void sim_dgram_send(struct sim *s, unsigned from, const struct sim_out *out);
/* Does the host still have this address? */
bool sim_host_has(const struct sim *s, unsigned host, const struct ipaddr *ip);
#endif
