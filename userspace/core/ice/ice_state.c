/* SPDX-License-Identifier: Apache-2.0
 * Nomination and the agent's state (RFC 8445 §8), and the small queues of replies and events.
 *
 * Nomination, controlling: the answered pair of highest priority, whenever that differs in priority
 * from what is nominated or the nominated pair is gone; equals never take over from each other.
 * Controlled: the same among the pairs the peer puts USE-CANDIDATE on. Up and down, any number of
 * times. */
#include <assert.h>
#include <string.h>

#include "core/ice/ice_int.h"

/* ---- queues ---- */

void ice_reply_push(struct ice *ice, const struct ice_reply *r, uint64_t now)
{
	if (ice->n_replies == ICE_REPLIES_MAX) {
		ice->replies_head = (uint8_t)((ice->replies_head + 1) % ICE_REPLIES_MAX);
		ice->n_replies--;
		ice->acct.replies_dropped++;
	}
	ice->replies[(ice->replies_head + ice->n_replies) % ICE_REPLIES_MAX] = *r;
	ice->n_replies++;
	ice->queued_at = now;
}

static void event_push(struct ice *ice, const struct ice_event *ev, uint64_t now)
{
	if (ice->n_events == ICE_EVENTS_MAX) {
		ice->events_head = (uint8_t)((ice->events_head + 1) % ICE_EVENTS_MAX);
		ice->n_events--;
		ice->acct.events_dropped++;
	}
	ice->events[(ice->events_head + ice->n_events) % ICE_EVENTS_MAX] = *ev;
	ice->n_events++;
	ice->queued_at = now;
}

/* ---- state ---- */

#define TO(s) (1U << (s))

static void state_set(struct ice *ice, enum ice_state next, const char *why, uint64_t now)
{
	static const unsigned legal[] = {
		[ICE_NEW] = TO(ICE_CHECKING) | TO(ICE_CONNECTED) | TO(ICE_COMPLETED) |
			    TO(ICE_DISCONNECTED),
		[ICE_CHECKING] = TO(ICE_CONNECTED) | TO(ICE_COMPLETED) | TO(ICE_DISCONNECTED),
		[ICE_CONNECTED] = TO(ICE_CHECKING) | TO(ICE_COMPLETED) | TO(ICE_DISCONNECTED),
		[ICE_COMPLETED] = TO(ICE_CHECKING) | TO(ICE_CONNECTED) | TO(ICE_DISCONNECTED),
		[ICE_DISCONNECTED] = TO(ICE_CHECKING) | TO(ICE_CONNECTED) | TO(ICE_COMPLETED),
	};
	struct ice_event ev = {
		.kind = ICE_EV_STATE, .old_state = ice->state, .new_state = next, .why = why};

	if (ice->state == next)
		return;
	assert(legal[ice->state] & TO(next));
	ice->state = next;
	event_push(ice, &ev, now);
}

/* Anything left to hope for besides the nominated pair: live pairs, or a side that has said nothing
 * yet. */
static bool others_possible(const struct ice *ice)
{
	unsigned others = ice->n_pairs - (ice->nominated >= 0 ? 1U : 0U);

	return others || !ice->n_remotes || !ice->n_locals;
}

static void state_evaluate(struct ice *ice, uint64_t now)
{
	bool possible = others_possible(ice);

	if (ice->state == ICE_NEW)
		state_set(ice, ICE_CHECKING, "started", now);
	if (ice->nominated >= 0)
		state_set(ice, possible ? ICE_CONNECTED : ICE_COMPLETED,
			  possible ? "pair nominated, others possible" : "pair nominated, no other",
			  now);
	else if (possible)
		state_set(ice, ICE_CHECKING,
			  ice->state == ICE_DISCONNECTED ? "got new possible pairs"
							 : "lost the nominated pair",
			  now);
	else
		state_set(ice, ICE_DISCONNECTED, "no pair is possible", now);
}

void ice_evaluate(struct ice *ice, uint64_t now)
{
	for (unsigned i = ice->n_pairs; i-- > 0;)
		if (ice_pair_dead(&ice->pairs[i], &ice->timing, now))
			ice_pair_remove(ice, i);
	ice_nominate(ice, now);
	state_evaluate(ice, now);
	ice->dirty_at = TIME_NEVER;
}

/* ---- nomination ---- */

/* Controlled: has the peer, since, put USE-CANDIDATE on something else? */
static bool stale(const struct ice *ice, const struct ice_pair *p)
{
	uint64_t newest = p->use_candidate_at;

	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (ice->pairs[i].has_use_candidate && ice->pairs[i].use_candidate_at > newest)
			newest = ice->pairs[i].use_candidate_at;
	return newest - p->use_candidate_at >= ICE_NOMINATION_STALE_NS;
}

static bool eligible(const struct ice *ice, const struct ice_pair *p)
{
	if (ice->controlling)
		return p->state == ICE_PAIR_SUCCEEDED;
	return p->has_use_candidate && !stale(ice, p);
}

void ice_nominate(struct ice *ice, uint64_t now)
{
	struct ice_event ev = {
		.kind = ICE_EV_NOMINATED, .old_state = ice->state, .new_state = ice->state};
	int best = -1;

	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (eligible(ice, &ice->pairs[i]) &&
		    (best < 0 || ice->pairs[i].prio > ice->pairs[best].prio))
			best = (int)i;
	if (best < 0)
		return;
	if (ice->nominated >= 0 && ice->pairs[best].prio == ice->nominated_prio)
		return;
	ev.why = ice->nominated < 0 ? "first pair" : "other pair";
	ice->nominated = (int8_t)best;
	ice->nominated_prio = ice->pairs[best].prio;
	if (ice->controlling)
		ice_pair_nominate(&ice->pairs[best], now);
	ice->acct.nominations++;
	ice_touch(ice, now);
	ice_selected(ice, &ev.path);
	event_push(ice, &ev, now);
}

/* ---- roles ---- */

enum ice_conflict ice_role_on_conflict(bool controlling, uint64_t mine, uint64_t theirs)
{
	if (controlling)
		return mine >= theirs ? ICE_CONFLICT_KEEP : ICE_CONFLICT_SWITCH;
	return mine >= theirs ? ICE_CONFLICT_SWITCH : ICE_CONFLICT_KEEP;
}

void ice_role_set(struct ice *ice, bool controlling, uint64_t now)
{
	if (ice->controlling == controlling)
		return;
	ice->controlling = controlling;
	ice->nominated = -1;
	ice->nominated_prio = 0;
	ice->acct.role_switches++;
	ice_pairs_reprioritise(ice);
	ice_touch(ice, now);
}
