/* SPDX-License-Identifier: Apache-2.0
 *
 * A discrete-event network in virtual time for sans-IO machines. Hosts have addresses, possibly
 * behind a NAT or a stateful firewall, and one link each (latency range, loss, duplication,
 * reordering, MTU); a datagram pays the sender's and the receiver's link. The portal path carries
 * opaque messages between hosts, ordered, with a latency of its own. Everything random comes from
 * the seed; the same seed and script give the same trace hash.
 *
 * The loop jumps to the earliest of arrivals, script steps and deadlines. It fails the run
 * (sim_failed, with SEED= and SCN= on stdout) when a machine asks to be woken in the past, or when
 * it never comes to rest at one instant.
 *
 * Not here: what hosts run. An endpoint is a vtable over a machine: sim_ice.h has one for an ICE
 * agent, sim_node.h for a whole node, sim_relay.h for a relay. */
#ifndef PENSTOCK_SIM_H
#define PENSTOCK_SIM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"

#define SIM_HOSTS_MAX	 256
#define SIM_ADDRS_MAX	 8
#define SIM_NATS_MAX	 256
#define SIM_MAPPINGS_MAX 64
#define SIM_PERMITS_MAX	 64 /* of a mapping; the oldest gives way */
#define SIM_PAYLOAD_MAX	 2048

struct sim;

/* A datagram as an endpoint sees it; data is borrowed for the call. */
struct sim_dgram {
	struct endpoint local, remote;
	const uint8_t *data;
	size_t len;
};

struct sim_out {
	struct endpoint local; /* without a family: the host's address of remote's, local.port */
	struct endpoint remote;
	size_t len;
	uint8_t buf[SIM_PAYLOAD_MAX];
};

/* What a host runs. All may be NULL except deadline and timeout. After input and portal the loop
 * calls timeout and poll_tx by itself. */
struct sim_ops {
	void (*input)(void *self, const struct sim_dgram *in, uint64_t now);
	void (*portal)(void *self, unsigned from, const void *msg, size_t len, uint64_t now);
	bool (*poll_tx)(void *self, struct sim_out *out, uint64_t now);
	struct deadline (*deadline)(const void *self);
	void (*timeout)(void *self, uint64_t now);
};

struct sim_link {
	uint64_t lat_min_ns, lat_max_ns; /* one way, uniform */
	uint32_t loss_ppm, dup_ppm;
	uint32_t reorder_ppm; /* this share is delayed by another 0..reorder_ns */
	uint64_t reorder_ns;
	size_t mtu; /* largest UDP payload, 0: any */
};

/* RFC 4787 §4.1 and §5: on what a mapping, or the permission to come in, depends. */
enum sim_nat_dep {
	SIM_INDEPENDENT,
	SIM_ADDR_DEPENDENT,
	SIM_ADDR_PORT_DEPENDENT,
};

struct sim_nat_cfg {
	struct ipaddr public_ip;
	enum sim_nat_dep mapping, filtering;
	uint64_t timeout_ns; /* of an unused mapping; 0: never. Only outbound traffic refreshes */
	bool hairpin;
	/* A firewall: nothing is translated (mapping and public_ip do not matter), filtering is the
	 * rule for coming in. */
	bool transparent;
};

/* Counters of what the network did. */
struct sim_stats {
	uint64_t sent, delivered, lost, duplicated, reordered, too_big, unroutable, filtered,
		blocked;
	uint64_t portal_sent, portal_delivered;
};

/* scn: static text naming the scenario. Aborts when memory is short: this is test code. */
struct sim *sim_new(const char *scn, uint64_t seed);
void sim_free(struct sim *s);

unsigned sim_nat_add(struct sim *s, const struct sim_nat_cfg *cfg);
unsigned sim_host_add(struct sim *s, const struct sim_ops *ops, void *self,
		      const struct sim_link *link);
#define SIM_NO_NAT UINT32_MAX
/* nat: the NAT the address is behind; hosts behind the same one reach each other directly. */
void sim_addr_add(struct sim *s, unsigned host, const struct ipaddr *ip, unsigned nat);
/* The host loses the address: nothing is sent from it or delivered to it any more. */
void sim_addr_del(struct sim *s, unsigned host, const struct ipaddr *ip);
void sim_link_set(struct sim *s, unsigned host, const struct sim_link *link);
/* A host that is down neither sends nor receives nor runs. */
void sim_host_up(struct sim *s, unsigned host, bool up);
/* No datagram between two addresses any more (both directions), or again. */
void sim_block(struct sim *s, const struct ipaddr *a, const struct ipaddr *b, bool blocked);

/* No datagram between two hosts any more (both directions), whatever addresses they have; or
 * again. */
void sim_cut(struct sim *s, unsigned a, unsigned b, bool cut);
/* A strict firewall around the host: outwards only to this port, inwards only from it. 0: none. */
void sim_only_port(struct sim *s, unsigned host, uint16_t port);
/* The host's address of this family; false: none. */
bool sim_source(const struct sim *s, unsigned host, unsigned family, struct ipaddr *out);

/* Portal latency, one way, for every message; messages from a to b keep their order. */
void sim_portal_latency(struct sim *s, uint64_t min_ns, uint64_t max_ns);
/* Messages of this host, both ways, wait until then. */
void sim_portal_outage(struct sim *s, unsigned host, uint64_t until);
void sim_portal_send(struct sim *s, unsigned from, unsigned to, const void *msg, size_t len);

/* A step of the script. */
void sim_at(struct sim *s, uint64_t at, void (*fn)(void *ctx, uint64_t now), void *ctx);
/* Run until virtual time `until`, or until stop (may be NULL) says true. Returns false when the run
 * failed. */
bool sim_run(struct sim *s, uint64_t until, bool (*stop)(void *ctx), void *ctx);
/* Drive a host that the script has touched. */
void sim_kick(struct sim *s, unsigned host);

uint64_t sim_now(const struct sim *s);
uint64_t sim_rand(struct sim *s, uint64_t bound); /* uniform in 0..bound-1 */
uint64_t sim_trace_hash(const struct sim *s);
struct sim_stats sim_stats(const struct sim *s);
/* Fail the run with a message; only the first one is printed. */
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool sim_failed(const struct sim *s);

/* The address a public server sees when the host sends to it from local; false: no such address. */
bool sim_mapped(struct sim *s, unsigned host, const struct endpoint *local, struct endpoint *out);

/* ---- internals shared by sim_*.c ---- */
struct sim_mapping {
	struct endpoint inside, key; /* key: the part of the destination the mapping depends on */
	uint16_t port;
	uint64_t used_at;
	unsigned n_permits, next_permit;
	struct endpoint permits[SIM_PERMITS_MAX]; /* where it has sent to */
};

struct sim_nat {
	struct sim_nat_cfg cfg;
	uint16_t next_port;
	unsigned n_mappings;
	struct sim_mapping mappings[SIM_MAPPINGS_MAX];
};

void sim_nat_init(struct sim_nat *n, const struct sim_nat_cfg *cfg);
/* Outbound: the source as seen outside. false: no mapping left. */
bool sim_nat_out(struct sim_nat *n, const struct endpoint *inside, const struct endpoint *dst,
		 struct endpoint *outside, uint64_t now);
/* Inbound to the NAT's public address: the inside destination. false: filtered. */
bool sim_nat_in(struct sim_nat *n, const struct endpoint *outside, const struct endpoint *src,
		struct endpoint *inside, uint64_t now);

#endif
