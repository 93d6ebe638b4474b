/* SPDX-License-Identifier: Apache-2.0
 * The agent's candidates and its pair list (RFC 8445 §5.1.3, §6.1.2; trickle: RFC 8838 §10, §11).
 * Candidates are flagged discarded, not deleted: a late check from one must be recognised and
 * ignored. */
#include <string.h>

#include "core/ice/ice_int.h"

#define NONE	  (-1)
#define DISCARDED (-2)

/* ---- finding ---- */

int ice_local_find(const struct ice *ice, const struct endpoint *at)
{
	int found = NONE;

	for (unsigned i = 0; i < ice->n_locals; i++) {
		const struct ice_cand *c = &ice->locals[i];

		if ((c->kind != CAND_HOST && c->kind != CAND_RELAY) || !endpoint_eq(&c->addr, at))
			continue;
		if (!c->discarded)
			return (int)i;
		found = DISCARDED;
	}
	return found;
}

int ice_remote_find(const struct ice *ice, const struct endpoint *addr)
{
	int found = NONE;

	for (unsigned i = 0; i < ice->n_remotes; i++) {
		const struct ice_cand *c = &ice->remotes[i];

		if (!endpoint_eq(&c->addr, addr))
			continue;
		if (c->discarded) {
			if (found == NONE)
				found = DISCARDED;
		} else if (found < 0 || c->prio > ice->remotes[found].prio) {
			found = (int)i;
		}
	}
	return found;
}

/* The candidate identical to c in a table, live or discarded as asked. */
static int cand_find(const struct ice_cand *table, unsigned n, const struct ice_cand *c,
		     bool discarded)
{
	for (unsigned i = 0; i < n; i++)
		if (table[i].discarded == discarded && ice_cand_same(&table[i], c))
			return (int)i;
	return NONE;
}

int ice_pair_find(const struct ice *ice, unsigned local, const struct endpoint *remote)
{
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		const struct ice_pair *p = &ice->pairs[i];

		if (endpoint_eq(&ice->locals[p->local].base, &ice->locals[local].base) &&
		    endpoint_eq(&ice->remotes[p->remote].addr, remote))
			return (int)i;
	}
	return NONE;
}

/* ---- pairs ---- */

uint64_t ice_pair_prio(const struct ice *ice, uint32_t local_prio, uint32_t remote_prio)
{
	return ice->controlling ? ice_pair_priority(local_prio, remote_prio)
				: ice_pair_priority(remote_prio, local_prio);
}

/* The pair that has to go first when there is no room; never the nominated one. */
static int pair_lowest(const struct ice *ice)
{
	int low = NONE;

	for (unsigned i = 0; i < ice->n_pairs; i++)
		if ((int)i != ice->nominated &&
		    (low < 0 || ice->pairs[i].prio < ice->pairs[low].prio))
			low = (int)i;
	return low;
}

bool ice_pair_room(const struct ice *ice, uint64_t prio)
{
	return ice->n_pairs < ICE_PAIRS_MAX || ice->pairs[pair_lowest(ice)].prio < prio;
}

void ice_pair_remove(struct ice *ice, unsigned i)
{
	unsigned last = --ice->n_pairs;

	if (ice->nominated == (int)i)
		ice->nominated = NONE;
	else if (ice->nominated == (int)last)
		ice->nominated = (int8_t)i;
	if (i != last)
		ice->pairs[i] = ice->pairs[last];
	memset(&ice->pairs[last], 0, sizeof(ice->pairs[last]));
}

void ice_pair_put(struct ice *ice, unsigned local, unsigned remote, uint64_t now)
{
	const struct ice_cand *l = &ice->locals[local], *r = &ice->remotes[remote];
	uint64_t prio = ice_pair_prio(ice, l->prio, r->prio);
	int same = ice_pair_find(ice, local, &r->addr);

	if (same >= 0) {
		/* One path, described twice: the better description wins, what is known of the path
		 * stays. */
		struct ice_pair *p = &ice->pairs[same];

		if (prio > p->prio) {
			p->prio = prio;
			p->local = (uint8_t)local;
			p->remote = (uint8_t)remote;
		}
		return;
	}
	if (!ice_pair_room(ice, prio)) {
		ice->acct.pairs_dropped++;
		return;
	}
	if (ice->n_pairs == ICE_PAIRS_MAX) {
		ice->acct.pairs_dropped++;
		ice_pair_remove(ice, (unsigned)pair_lowest(ice));
	}
	ice->pairs[ice->n_pairs++] = ice_pair_make((uint8_t)local, (uint8_t)remote, prio, now);
}

/* May these two be paired by themselves (not by a request that arrived)? */
static bool pairable(const struct ice *ice, unsigned local, unsigned remote)
{
	const struct ice_cand *l = &ice->locals[local], *r = &ice->remotes[remote];

	if (l->discarded || r->discarded || l->base.ip.family != r->addr.ip.family)
		return false;
	return !r->prflx_local || r->prflx_local == local + 1;
}

/* Pairs of one candidate, given by its index in its table, with all of the other side. Pairs that
 * died stay dead until one of their candidates, or a request, comes again. */
static void local_pairs_form(struct ice *ice, unsigned local, uint64_t now)
{
	for (unsigned r = 0; r < ice->n_remotes; r++)
		if (pairable(ice, local, r))
			ice_pair_put(ice, local, r, now);
}

static void remote_pairs_form(struct ice *ice, unsigned remote, uint64_t now)
{
	for (unsigned l = 0; l < ice->n_locals; l++)
		if (pairable(ice, l, remote))
			ice_pair_put(ice, l, remote, now);
}

static void pairs_drop(struct ice *ice, int local, int remote)
{
	for (unsigned i = ice->n_pairs; i-- > 0;)
		if (ice->pairs[i].local == local || ice->pairs[i].remote == remote)
			ice_pair_remove(ice, i);
}

void ice_pairs_reprioritise(struct ice *ice)
{
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		struct ice_pair *p = &ice->pairs[i];

		p->prio = ice_pair_prio(ice, ice->locals[p->local].prio,
					ice->remotes[p->remote].prio);
		p->nominate_now = false;
		p->has_use_candidate = false;
	}
}

/* ---- local candidates ---- */

static uint32_t local_prio(const struct ice *ice, const struct ice_cand *c)
{
	unsigned n_same = 0;

	for (unsigned i = 0; i < ice->n_locals; i++)
		n_same += ice->locals[i].kind == c->kind &&
			  ice->locals[i].addr.ip.family == c->addr.ip.family;
	return ice_priority(c->kind,
			    ice_local_pref(c->kind, c->addr.ip.family, n_same, c->via_family));
}

/* A free slot, or that of a candidate that is gone; -1 when all are in use. */
static int slot_find(const struct ice_cand *table, unsigned n, unsigned cap)
{
	if (n < cap)
		return (int)n;
	for (unsigned i = 0; i < n; i++)
		if (table[i].discarded)
			return (int)i;
	return NONE;
}

/* A live candidate with the same address and base, of any kind. */
static int local_twin(const struct ice *ice, const struct ice_cand *c)
{
	for (unsigned i = 0; i < ice->n_locals; i++)
		if (!ice->locals[i].discarded && endpoint_eq(&ice->locals[i].addr, &c->addr) &&
		    endpoint_eq(&ice->locals[i].base, &c->base))
			return (int)i;
	return NONE;
}

static enum ice_add local_put(struct ice *ice, const struct ice_cand *c, int *at)
{
	struct ice_cand add = *c;

	add.discarded = add.optimistic = false;
	add.prflx_local = 0;
	*at = cand_find(ice->locals, ice->n_locals, c, true);
	if (*at >= 0) {
		ice->locals[*at].discarded = false;
		return ICE_ADD_REENABLED;
	}
	if (!add.prio)
		add.prio = local_prio(ice, c);
	*at = local_twin(ice, c);
	if (*at >= 0) {
		if (ice->locals[*at].kind == c->kind || add.prio <= ice->locals[*at].prio)
			return ICE_ADD_REDUNDANT;
		ice->locals[*at] = add;
		return ICE_ADD_REPLACED;
	}
	*at = slot_find(ice->locals, ice->n_locals, ICE_LOCALS_MAX);
	if (*at < 0) {
		ice->acct.locals_full++;
		return ICE_ADD_REJECTED;
	}
	if (*at == ice->n_locals)
		ice->n_locals++;
	ice->locals[*at] = add;
	return ICE_ADD_NEW;
}

enum ice_add ice_add_local(struct ice *ice, const struct ice_cand *c, struct ice_cand *out,
			   uint64_t now)
{
	enum ice_add rc = ICE_ADD_REJECTED;
	int at = NONE;

	if (c->kind != CAND_PRFLX && ice_addr_usable(&c->addr) && ice_addr_usable(&c->base))
		rc = local_put(ice, c, &at);
	if (out && at >= 0)
		*out = ice->locals[at];
	if (rc == ICE_ADD_REJECTED || rc == ICE_ADD_REDUNDANT)
		return rc;
	local_pairs_form(ice, (unsigned)at, now);
	ice_touch(ice, now);
	return rc;
}

bool ice_remove_local(struct ice *ice, const struct ice_cand *c, uint64_t now)
{
	int i = cand_find(ice->locals, ice->n_locals, c, false);

	if (i < 0)
		return false;
	ice->locals[i].discarded = true;
	pairs_drop(ice, i, NONE);
	ice_touch(ice, now);
	return true;
}

/* ---- remote candidates ---- */

int ice_remote_slot(const struct ice *ice)
{
	return slot_find(ice->remotes, ice->n_remotes, ICE_REMOTES_MAX);
}

/* What a peer signals may push out the least peer-reflexive placeholder; not the one in use. */
static int remote_evict(struct ice *ice)
{
	int in_use = ice->nominated < 0 ? NONE : ice->pairs[ice->nominated].remote;
	int low = NONE;

	for (unsigned i = 0; i < ice->n_remotes; i++)
		if (ice->remotes[i].prflx_local && (int)i != in_use &&
		    (low < 0 || ice->remotes[i].prio < ice->remotes[low].prio))
			low = (int)i;
	if (low >= 0)
		pairs_drop(ice, NONE, low);
	return low;
}

static int prflx_find(const struct ice *ice, const struct endpoint *addr)
{
	for (unsigned i = 0; i < ice->n_remotes; i++)
		if (ice->remotes[i].prflx_local && endpoint_eq(&ice->remotes[i].addr, addr))
			return (int)i;
	return NONE;
}

/* Where the candidate goes, and what that makes of it. */
static enum ice_add remote_place(struct ice *ice, const struct ice_cand *c, int *at)
{
	*at = cand_find(ice->remotes, ice->n_remotes, c, false);
	if (*at >= 0 && !ice->remotes[*at].prflx_local)
		return ICE_ADD_REDUNDANT;
	*at = cand_find(ice->remotes, ice->n_remotes, c, true);
	if (*at >= 0)
		return ICE_ADD_REENABLED;
	*at = prflx_find(ice, &c->addr);
	if (*at >= 0)
		return ICE_ADD_REPLACED;
	*at = ice_remote_slot(ice);
	if (*at < 0)
		*at = remote_evict(ice);
	return *at < 0 ? ICE_ADD_REJECTED : ICE_ADD_NEW;
}

enum ice_add ice_add_remote(struct ice *ice, const struct ice_cand *c, uint64_t now)
{
	struct ice_cand add = *c;
	enum ice_add rc;
	int at;

	add.base = add.addr;
	add.discarded = false;
	add.prflx_local = add.via_family = 0;
	if (!ice_addr_usable(&add.addr) || !add.prio) {
		ice->acct.remotes_rejected++;
		return ICE_ADD_REJECTED;
	}
	rc = remote_place(ice, &add, &at);
	if (rc == ICE_ADD_REJECTED) {
		ice->acct.remotes_full++;
		return rc;
	}
	if (rc == ICE_ADD_REDUNDANT) {
		ice->remotes[at].optimistic &= add.optimistic;
		return rc;
	}
	if (at == ice->n_remotes)
		ice->n_remotes++;
	ice->remotes[at] = add;
	remote_pairs_form(ice, (unsigned)at, now);
	ice_touch(ice, now);
	return rc;
}

bool ice_remove_remote(struct ice *ice, const struct ice_cand *c, uint64_t now)
{
	struct ice_cand want = *c;
	int i;

	want.base = want.addr;
	i = cand_find(ice->remotes, ice->n_remotes, &want, false);
	if (i < 0)
		return false;
	ice->remotes[i].discarded = true;
	pairs_drop(ice, NONE, i);
	/* Another candidate with the same address keeps the path alive. */
	i = ice_remote_find(ice, &want.addr);
	if (i >= 0)
		remote_pairs_form(ice, (unsigned)i, now);
	ice_touch(ice, now);
	return true;
}

enum ice_add ice_add_remote_text(struct ice *ice, const char *text, size_t len, uint64_t now)
{
	struct ice_cand c;

	if (ice_cand_parse(text, len, ice->remote_creds.ufrag, &c)) {
		ice->acct.remotes_rejected++;
		return ICE_ADD_REJECTED;
	}
	return ice_add_remote(ice, &c, now);
}

bool ice_remove_remote_text(struct ice *ice, const char *text, size_t len, uint64_t now)
{
	struct ice_cand c;

	return !ice_cand_parse(text, len, ice->remote_creds.ufrag, &c) &&
	       ice_remove_remote(ice, &c, now);
}

/* ---- guesses ---- */

static bool signalled_v4(const struct ice_cand *c, enum cand_kind kind)
{
	return c->kind == kind && !c->discarded && !c->optimistic && c->addr.ip.family == 4;
}

unsigned ice_add_optimistic(struct ice *ice, uint64_t now)
{
	unsigned n_known = ice->n_remotes, added = 0;

	for (unsigned s = 0; s < n_known; s++)
		for (unsigned h = 0; h < n_known && ice->n_optimistic < ICE_OPTIMISTIC_MAX; h++) {
			struct endpoint guess = ice->remotes[s].addr;
			struct ice_cand c;

			if (!signalled_v4(&ice->remotes[s], CAND_SRFLX) ||
			    !signalled_v4(&ice->remotes[h], CAND_HOST))
				continue;
			guess.port = ice->remotes[h].addr.port;
			if (ice_remote_find(ice, &guess) != NONE)
				continue;
			c = ice_cand_srflx(&guess, &guess);
			c.optimistic = true;
			c.prio = ice_priority(CAND_SRFLX, ice_local_pref(CAND_SRFLX, 4, 0, 0));
			if (ice_add_remote(ice, &c, now) != ICE_ADD_NEW)
				continue;
			ice->n_optimistic++;
			added++;
		}
	return added;
}
