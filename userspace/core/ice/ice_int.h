/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the ICE agent share among themselves. Nobody else includes this. */
#ifndef PENSTOCK_CORE_ICE_INT_H
#define PENSTOCK_CORE_ICE_INT_H
#include "core/ice/ice.h"
#include "core/ice/ice_pair.h"

/* A controlled agent follows the controlling side: a pair that got its last USE-CANDIDATE this long
 * before another pair did is no longer what the peer nominates, whatever its priority. Longer than
 * the peer's check interval on a healthy nominated pair (1.5 s). */
#define ICE_NOMINATION_STALE_NS (2 * NS_PER_SEC)

/* Something changed that ice_timeout must look at. */
static inline void ice_touch(struct ice *ice, uint64_t now)
{
	ice->dirty_at = now;
}

/* ---- ice_list.c: candidates and the pair list ---- */
/* Live host or relay candidate we receive on at this address: index, -1 unknown, -2 discarded. */
int ice_local_find(const struct ice *ice, const struct endpoint *at);
/* Live remote candidate with this address, the one of highest priority: index, -1 unknown, -2
 * discarded. */
int ice_remote_find(const struct ice *ice, const struct endpoint *addr);
/* Pair with the same local base and remote address, or -1. */
int ice_pair_find(const struct ice *ice, unsigned local, const struct endpoint *remote);
uint64_t ice_pair_prio(const struct ice *ice, uint32_t local_prio, uint32_t remote_prio);
/* Would a pair of this priority be let in? */
bool ice_pair_room(const struct ice *ice, uint64_t prio);
/* Make, or improve, the pair of two live candidates of one family; what is of lower priority gives
 * way. */
void ice_pair_put(struct ice *ice, unsigned local, unsigned remote, uint64_t now);
void ice_pair_remove(struct ice *ice, unsigned i);
/* A slot for a peer-reflexive remote candidate, or -1. */
int ice_remote_slot(const struct ice *ice);
/* Roles changed: priorities of pairs depend on them. */
void ice_pairs_reprioritise(struct ice *ice);

/* ---- ice_msg.c: bytes of checks and replies ---- */
void ice_msg_check(const struct ice *ice, const struct ice_pair *p, const struct stun_tid *tid,
		   bool nominate, struct ice_tx *out);
void ice_msg_reply(const struct ice *ice, const struct ice_reply *r, struct ice_tx *out);
/* Split USERNAME at the first colon and compare with receiver and sender. false: malformed; *ours
 * says whether it is addressed to this agent by its peer. */
bool ice_msg_username(const struct ice *ice, const struct stun_msg *m, bool *ours);

/* ---- ice_state.c: nomination, state, queues ---- */
void ice_reply_push(struct ice *ice, const struct ice_reply *r, uint64_t now);
void ice_nominate(struct ice *ice, uint64_t now);
void ice_evaluate(struct ice *ice, uint64_t now);
void ice_role_set(struct ice *ice, bool controlling, uint64_t now);
#endif
