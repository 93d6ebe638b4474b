/* SPDX-License-Identifier: Apache-2.0
 *
 * The flows user space carries: the last decision about each, and how much passed. For the
 * operator's view; and for the workers, which carry further packets of those that are `cached`
 * without asking policy again, as the kernel does with its own table. A flow is one direction of an
 * inner 5-tuple. What is decided, and which packets a cached decision covers: apps/daemon/flow.c
 * and fwd_fast.
 *
 * Sets of FWD_FLOW_WAYS entries by the key's hash; in a full set the one that has been silent
 * longest gives way (counted). So memory is bounded, a busy flow stays, and whoever opens flows
 * without end displaces silent ones: what is not here is the control thread's to decide.
 *
 * The control thread is the only writer, but for the counters and last_ns, which whoever carries a
 * packet adds to. Other fields of the hot part change under seq (odd while they do): a reader takes
 * all of a decision or nothing. One may still hold a copy of what is gone: generation and expiry
 * are in it, and whoever needs more waits for the readers (fwd_quiesce). */
#ifndef PENSTOCK_FWD_FLOWS_H
#define PENSTOCK_FWD_FLOWS_H
#include "abi/maps.h"
#include "core/tunnel/tunnel.h"

#define FWD_FLOW_WAYS 4

enum fwd_flow_dir { FWD_FLOW_FREE, FWD_FLOW_IN, FWD_FLOW_OUT };

struct fwd_flow_entry {
	/* What finding takes. */
	_Alignas(64) uint32_t seq;
	uint8_t dir; /* enum fwd_flow_dir */
	bool cached; /* a worker may carry it */
	uint8_t pad[2];
	struct ps_flow_key key;
	/* From then on the control thread wants to see a packet of it, if the peer's flows are the
	 * kernel's: to offer it to the kernel again. Its own, and no part of the decision. */
	_Alignas(8) uint64_t again_ns;
	/* What judging takes, as in the kernel's entry; bulk_until_ns is not used. */
	_Alignas(64) struct ps_flow flow;
	/* The control thread's, for the view. */
	uint64_t expires_at;		  /* unix seconds, TUNNEL_NEVER_EXPIRES */
	struct uuid peer_id, resource_id; /* what the slots meant then: slots are used again */
	bool has_resource;
};
_Static_assert(sizeof(struct fwd_flow_entry) == 192, "three cache lines");

struct fwd_flows {
	struct fwd_flow_entry *list;
	uint64_t seed;
	uint32_t cap, used; /* cap 0: no table, nothing is ever found */
	uint64_t displaced;
};

/* Entries for about n flows: a power of two, at least one set. */
uint32_t fwd_flows_cap_for(uint32_t n);
/* list[cap]: zero, or an earlier table's, which is cleared; cap as fwd_flows_cap_for() says. seed:
 * of the hash, unknown to peers. */
void fwd_flows_init(struct fwd_flows *t, struct fwd_flow_entry *list, uint32_t cap, uint64_t seed);

/* ---- the control thread ---- */
/* The flow's entry, made when there is none (then it is not cached, flow.packets is 0, and but key
 * and dir nothing is set). Unused bytes of the key are zero. */
struct fwd_flow_entry *fwd_flows_take(struct fwd_flows *t, enum fwd_flow_dir dir,
				      const struct ps_flow_key *key);
/* NULL: not there. */
struct fwd_flow_entry *fwd_flows_find(const struct fwd_flows *t, enum fwd_flow_dir dir,
				      const struct ps_flow_key *key);
/* The decision about the flow, from f: peer, generation, expires_ns, resource and nat. publish:
 * workers may carry it. note: this packet was no reason to let them, so another decision than the
 * present one is for the view only; one that is published already stays so. */
void fwd_flow_note(struct fwd_flow_entry *e, const struct ps_flow *f);
void fwd_flow_publish(struct fwd_flow_entry *e, const struct ps_flow *f);
/* A miss for workers from now on; the view still has it. */
void fwd_flow_hide(struct fwd_flow_entry *e);
/* One that has been silent for so long is over: as long as a translation of its kind would live. */
bool fwd_flow_is_over(const struct fwd_flow_entry *e, uint64_t now);

/* ---- any thread ---- */
/* A cached flow: a copy of the decision, and its entry. False: there is none, or it is being
 * written. */
bool fwd_flows_get(const struct fwd_flows *t, enum fwd_flow_dir dir, const struct ps_flow_key *key,
		   struct ps_flow *copy, struct fwd_flow_entry **e);
/* The flow will be asked for: its set's first entry is fetched. NULL: there is no table. */
const struct fwd_flow_entry *fwd_flows_ahead(const struct fwd_flows *t, enum fwd_flow_dir dir,
					     const struct ps_flow_key *key);
/* The flow's entry in that set, cached or not; NULL: not there. What it says is a hint. */
const struct fwd_flow_entry *fwd_flows_in_set(const struct fwd_flow_entry *set,
					      enum fwd_flow_dir dir, const struct ps_flow_key *key);
/* So much was carried of the flow found under that key. An entry that has become another's
 * meanwhile is left alone, but for a replacement at this very moment, which may then count a few
 * packets too many. */
void fwd_flow_carried(struct fwd_flow_entry *e, const struct ps_flow_key *key, uint64_t packets,
		      uint64_t bytes, uint64_t now);
#endif
