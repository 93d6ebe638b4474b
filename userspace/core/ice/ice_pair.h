/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks of one candidate pair: when the next one is due, what an answer means, when the pair
 * is dead. Pure functions over struct ice_pair and a timing; which pairs exist is ice_list.c's
 * business.
 *
 * delay(n) = min(rto << (n-1), max_rto). After a check the next one is due delay(k) later, where k
 * is the number of trailing unanswered checks once the first of them is older than max_rto/2, and
 * the number of remembered checks until then. So a healthy pair settles at one check per max_rto, a
 * first loss is followed by quick ones, and those back off. A pair is dead delay(max_retransmits)
 * after the last of max_retransmits unanswered checks. */
#ifndef PENSTOCK_CORE_ICE_PAIR_H
#define PENSTOCK_CORE_ICE_PAIR_H
#include "core/ice/ice.h"

uint64_t ice_delay(const struct ice_timing *t, unsigned n);
/* New pair between two candidates by index; its first check is due now. */
struct ice_pair ice_pair_make(uint8_t local, uint8_t remote, uint64_t prio, uint64_t now);
/* A check goes out; tail is its transaction id after the tag. */
void ice_pair_sent(struct ice_pair *p, const struct ice_timing *t, const uint8_t tail[8],
		   bool controlling, uint64_t now);
/* The remembered check with this tail, or -1. */
int ice_pair_check_find(const struct ice_pair *p, const uint8_t tail[8]);
/* Check i (from ice_pair_check_find) was answered with success. */
void ice_pair_answered(struct ice_pair *p, const struct ice_timing *t, int i, uint64_t now);
/* The peer's request came over this pair: an unanswered pair is checked soon, but not for every
 * request. */
void ice_pair_trigger(struct ice_pair *p, const struct ice_timing *t, uint64_t now);
/* Controlling: tell the peer now, and, should that be lost, again at the pace of a new pair. */
void ice_pair_nominate(struct ice_pair *p, uint64_t now);
/* Forget checks beyond the new limit and recompute when the next one is due. */
void ice_pair_retime(struct ice_pair *p, const struct ice_timing *t, uint64_t now);
/* When something happens to it next: a check, or its end. */
uint64_t ice_pair_wake(const struct ice_pair *p, const struct ice_timing *t);
/* All its checks are spent: it sends no more, and waits for its end. */
bool ice_pair_spent(const struct ice_pair *p, const struct ice_timing *t);
bool ice_pair_dead(const struct ice_pair *p, const struct ice_timing *t, uint64_t now);
#endif
