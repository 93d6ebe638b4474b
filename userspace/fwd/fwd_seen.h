/* SPDX-License-Identifier: Apache-2.0
 *
 * Flows as user space has carried them, for the operator's view: the last decision about each, and
 * how much passed. No packet depends on it. A flow is one direction of an inner 5-tuple.
 *
 * Sets of FWD_SEEN_WAYS entries by the key's hash; in a full set the one that has been silent
 * longest gives way (counted). So memory is bounded, a busy flow stays, and whoever opens flows
 * without end displaces what is shown, nothing else. */
#ifndef PENSTOCK_FWD_SEEN_H
#define PENSTOCK_FWD_SEEN_H
#include "abi/maps.h"
#include "core/tunnel/tunnel.h"

#define FWD_SEEN_WAYS 4

enum fwd_seen_dir { FWD_SEEN_FREE, FWD_SEEN_IN, FWD_SEEN_OUT };

struct fwd_seen_flow {
	struct ps_flow_key key;
	uint8_t dir; /* enum fwd_seen_dir */
	bool has_resource;
	uint8_t pad[2];
	uint32_t peer, generation, resource; /* slots when it was last decided */
	struct uuid peer_id, resource_id;    /* what the slots meant then: slots are used again */
	struct tunnel_nat nat;
	uint64_t expires_at; /* unix seconds, TUNNEL_NEVER_EXPIRES */
	uint64_t packets, bytes;
	uint64_t last_ns;
};

struct fwd_seen {
	struct fwd_seen_flow *list;
	uint32_t cap, used;
	uint64_t displaced;
};

/* Entries for about n flows: a power of two, at least one set. */
uint32_t fwd_seen_cap_for(uint32_t n);
/* list[cap] is cleared; cap as fwd_seen_cap_for() says. */
void fwd_seen_init(struct fwd_seen *s, struct fwd_seen_flow *list, uint32_t cap);
/* The flow's entry, made when there is none (then packets is 0 and but key and dir nothing is set).
 * Unused bytes of the key are zero. */
struct fwd_seen_flow *fwd_seen_take(struct fwd_seen *s, enum fwd_seen_dir dir,
				    const struct ps_flow_key *key);
/* NULL: not there. */
const struct fwd_seen_flow *fwd_seen_find(const struct fwd_seen *s, enum fwd_seen_dir dir,
					  const struct ps_flow_key *key);
/* One that has been silent for so long is over: as long as a translation of its kind would live. */
bool fwd_seen_is_over(const struct fwd_seen_flow *f, uint64_t now);
#endif
