/* SPDX-License-Identifier: Apache-2.0
 *
 * The property test of policy: a world, the model of it, and what was seen to differ. Probes
 * (pm_probe.c) ask both what becomes of a packet (pm_random.c); steps (pm_steps.c) change the world
 * at random. */
#ifndef PENSTOCK_TESTS_PM_TEST_H
#define PENSTOCK_TESTS_PM_TEST_H
#include "tests/policy/pm.h"
#include "tests/policy/pw_kernel.h"
#include "tests/policy/pw_worker.h"

enum { PMT_SENT = 1 << 17, PMT_FLOWS = 48, PMT_CLIENTS = 3, PMT_GATEWAYS = 4, PMT_SITES = 2 };

/* Every packet carries its number; this is what it was when it was sent. */
struct pmt_sent {
	uint32_t id;
	uint8_t from; /* node: the application's, or the gateway the LAN has sent it to */
	bool rogue;   /* sealed without asking the node's policy */
	uint8_t arrived;
	struct ip_meta m;
};

enum pmt_where { PMT_CLIENT_OUT, PMT_GATEWAY_IN, PMT_GATEWAY_OUT, PMT_CLIENT_IN, PMT_WHERES };

/* A packet user space let pass, of a flow the kernel and workers may carry since. */
struct pmt_flow {
	bool used;
	enum pmt_where where;
	uint8_t c, g;
	struct pkt p;
};

struct pmt {
	struct pw_world w;
	struct pm m;
	uint64_t rnd;
	uint32_t next_id;
	struct pmt_sent sent[PMT_SENT];
	struct pmt_flow flows[PMT_FLOWS];
	bool quiet;    /* differences are wanted: a fault is on */
	uint32_t told; /* differences printed */
	struct pmt_counts {
		uint64_t steps, probes, allowed, denied, held;
		uint64_t denied_delivered; /* must be 0, like the next four */
		uint64_t allowed_dropped, twice, differs;
		uint64_t kernel_missed; /* what user space has just let pass and the kernel did not
					 */
		uint64_t worker_missed; /* the same of workers */
		uint64_t kernel_probes, kernel_carried, kernel_by[PMT_WHERES];
		uint64_t worker_carried, worker_by[PMT_WHERES];
		uint64_t translated, refused_icmp, ambiguous;
	} n;
};

/* ---- pm_probe.c ---- */
void pmt_hooks(struct pmt *t);
/* Show every remembered flow to the kernel and to workers, nothing else: the instant after a
 * change. */
void pmt_cached(struct pmt *t);
/* A random packet somewhere, through user space, and at once the others if it passed. */
void pmt_probe(struct pmt *t);

/* ---- pm_random.c ---- */
struct ipaddr pmt_far_address(struct pmt *t);
/* A proxy address some client has given out: as often one of c's own as of any. */
struct ipaddr pmt_proxy_address(struct pmt *t, uint8_t c);
struct ipaddr pmt_own_address(const struct pmt *t, uint8_t node, uint8_t family);
/* near: the client's port, or identifier. */
struct pkt pmt_packet(struct pmt *t, const struct ipaddr *src, const struct ipaddr *dst,
		      bool to_far, uint16_t near);
/* From a client to somewhere, perhaps under a name that is not its own. */
struct pkt pmt_from_client(struct pmt *t, uint8_t c);
/* From the LAN behind g to client c: a reply, or anything. */
struct pkt pmt_from_lan(struct pmt *t, uint8_t g, uint8_t c);
/* Now and then a connection begins or ends with it. */
void pmt_roll_flags(struct pmt *t, struct pkt *p);

/* ---- pm_steps.c ---- */
/* False: bpf is not to be had. */
bool pmt_open(struct pmt *t, uint64_t seed, bool bpf);
/* Something random happens. */
void pmt_step(struct pmt *t);
const char *pmt_domain(struct pmt *t);

static inline uint32_t pmt_roll(struct pmt *t, uint32_t n)
{
	return (uint32_t)(t_rand(&t->rnd) % n);
}
#endif
