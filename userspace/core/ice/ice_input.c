/* SPDX-License-Identifier: Apache-2.0
 * Receiving checks and answers (RFC 8445 §7.3, §7.2.5). Judge first, commit last: until the marked
 * block nothing of the agent changes, so that a rejected datagram leaves it as it was. */
#include <string.h>

#include "core/ice/ice_int.h"

/* ---- requests ---- */

/* What a request that may be answered says. */
struct request {
	uint32_t prio;
	bool use_candidate;
	bool claims_controlling, claims_controlled;
	uint64_t tie_breaker;
	int local, remote; /* indices; remote -1: unknown so far */
};

static enum ice_rx request_read(const struct ice *ice, const struct stun_msg *m, struct request *rq)
{
	bool ours = false;

	if (!ice_msg_username(ice, m, &ours) || !stun_u32(m, STUN_A_PRIORITY, &rq->prio) ||
	    !rq->prio || !m->mi_off)
		return ICE_RX_MALFORMED;
	if (!ours)
		return ICE_RX_NOT_MINE;
	rq->use_candidate = stun_has(m, STUN_A_USE_CANDIDATE);
	rq->claims_controlled = stun_u64(m, STUN_A_ICE_CONTROLLED, &rq->tie_breaker);
	rq->claims_controlling = stun_u64(m, STUN_A_ICE_CONTROLLING, &rq->tie_breaker);
	if (!stun_integrity_ok(m, ice->local_creds.pwd, strlen(ice->local_creds.pwd)))
		return ICE_RX_BAD_AUTH;
	return ICE_RX_OK;
}

static enum ice_rx local_judge(const struct ice *ice, const struct endpoint *at, int *local)
{
	*local = ice_local_find(ice, at);
	if (*local >= 0)
		return ICE_RX_OK;
	return *local == -1 ? ICE_RX_NO_LOCAL : ICE_RX_DISCARDED;
}

/* Where it came from and where it went, and whether there is room when that is new. */
static enum ice_rx request_place(const struct ice *ice, const struct ice_dgram *in,
				 struct request *rq)
{
	enum ice_rx rc = local_judge(ice, &in->local, &rq->local);
	uint32_t remote_prio = rq->prio;

	if (rc != ICE_RX_OK)
		return rc;
	if (!ice_addr_usable(&in->remote) || in->remote.ip.family != in->local.ip.family)
		return ICE_RX_IGNORED;
	rq->remote = ice_remote_find(ice, &in->remote);
	if (rq->remote == -2)
		return ICE_RX_DISCARDED;
	if (rq->remote >= 0)
		remote_prio = ice->remotes[rq->remote].prio;
	else if (ice_remote_slot(ice) < 0)
		return ICE_RX_FULL;
	if (ice_pair_find(ice, (unsigned)rq->local, &in->remote) < 0 &&
	    !ice_pair_room(ice, ice_pair_prio(ice, ice->locals[rq->local].prio, remote_prio)))
		return ICE_RX_FULL;
	return ICE_RX_OK;
}

/* A peer-reflexive remote candidate: a placeholder until the real one is signalled. */
static int prflx_put(struct ice *ice, const struct ice_dgram *in, const struct request *rq)
{
	int at = ice_remote_slot(ice);
	struct ice_cand c = {.kind = CAND_PRFLX,
			     .prio = rq->prio,
			     .addr = in->remote,
			     .base = in->remote,
			     .prflx_local = (uint8_t)(rq->local + 1),
			     .foundation = "prflx"};

	if (at == ice->n_remotes)
		ice->n_remotes++;
	ice->remotes[at] = c;
	return at;
}

static void request_commit(struct ice *ice, const struct ice_dgram *in, const struct request *rq,
			   uint64_t now)
{
	int remote = rq->remote >= 0 ? rq->remote : prflx_put(ice, in, rq);
	int i = ice_pair_find(ice, (unsigned)rq->local, &in->remote);
	struct ice_pair *p;

	if (i < 0) {
		ice_pair_put(ice, (unsigned)rq->local, (unsigned)remote, now);
		i = ice_pair_find(ice, (unsigned)rq->local, &in->remote);
	}
	p = &ice->pairs[i];
	ice_pair_trigger(p, &ice->timing, now);
	if (rq->use_candidate) {
		p->has_use_candidate = true;
		p->use_candidate_at = now;
	}
	ice_nominate(ice, now);
	ice_touch(ice, now);
}

/* 487 and 420 leave everything else as it is. */
static void reply_error(struct ice *ice, const struct ice_dgram *in, const struct stun_msg *m,
			uint16_t code, uint64_t now)
{
	struct ice_reply r = {
		.local = in->local, .remote = in->remote, .tid = m->tid, .error = code};

	if (code == 420)
		for (; r.n_unknown < m->n_unknown && r.n_unknown < 4; r.n_unknown++)
			r.unknown[r.n_unknown] = m->unknown[r.n_unknown];
	ice_reply_push(ice, &r, now);
}

static bool role_conflicts(const struct ice *ice, const struct request *rq)
{
	return ice->controlling ? rq->claims_controlling : rq->claims_controlled;
}

static enum ice_rx request_input(struct ice *ice, const struct ice_dgram *in,
				 const struct stun_msg *m, uint64_t now)
{
	struct ice_reply r = {.local = in->local, .remote = in->remote, .tid = m->tid};
	struct request rq = {.remote = -1};
	enum ice_rx rc = request_read(ice, m, &rq);
	bool conflict = false;

	if (rc == ICE_RX_OK)
		rc = request_place(ice, in, &rq);
	if (rc != ICE_RX_OK)
		return rc;
	if (m->n_unknown) {
		reply_error(ice, in, m, 420, now);
		return ICE_RX_IGNORED;
	}
	conflict = role_conflicts(ice, &rq);
	if (conflict && ice_role_on_conflict(ice->controlling, ice->tie_breaker, rq.tie_breaker) ==
				ICE_CONFLICT_KEEP) {
		reply_error(ice, in, m, 487, now);
		return ICE_RX_IGNORED;
	}
	if (rq.use_candidate && ice->controlling != conflict)
		return ICE_RX_IGNORED;

	/* Commit. */
	if (conflict)
		ice_role_set(ice, !ice->controlling, now);
	ice_reply_push(ice, &r, now);
	request_commit(ice, in, &rq, now);
	return ICE_RX_OK;
}

/* ---- responses ---- */

/* The pair and the check a response belongs to. */
static bool check_find(const struct ice *ice, const struct stun_tid *tid, unsigned *pair,
		       int *check)
{
	if (be32_get(tid->b) != ice->tag)
		return false;
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		*check = ice_pair_check_find(&ice->pairs[i], tid->b + 4);
		if (*check >= 0) {
			*pair = i;
			return true;
		}
	}
	return false;
}

/* §7.2.5.1: take the other role than the one that check claimed, and check again. */
static enum ice_rx error_input(struct ice *ice, const struct stun_msg *m, unsigned pair, int check,
			       uint64_t now)
{
	struct ice_pair *p = &ice->pairs[pair];
	unsigned code;

	if (!stun_error_code(m, &code) || code != 487 || p->sent[check].answered)
		return ICE_RX_IGNORED;
	p->sent[check].answered = true;
	if (!ice_pair_spent(p, &ice->timing))
		p->next_at = now;
	ice_role_set(ice, !p->sent[check].controlling, now);
	ice_touch(ice, now);
	return ICE_RX_OK;
}

static enum ice_rx response_input(struct ice *ice, const struct ice_dgram *in,
				  const struct stun_msg *m, uint64_t now)
{
	struct endpoint mapped;
	unsigned pair;
	int check, local;
	enum ice_rx rc;

	if (!check_find(ice, &m->tid, &pair, &check))
		return ICE_RX_NOT_MINE;
	if (!m->mi_off)
		return ICE_RX_MALFORMED;
	if (!stun_integrity_ok(m, ice->remote_creds.pwd, strlen(ice->remote_creds.pwd)))
		return ICE_RX_BAD_AUTH;
	rc = local_judge(ice, &in->local, &local);
	if (rc != ICE_RX_OK)
		return rc;
	if (m->n_unknown)
		return ICE_RX_IGNORED;
	if (m->cls == STUN_ERROR)
		return error_input(ice, m, pair, check, now);
	if (!stun_xor_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &mapped))
		return ICE_RX_MALFORMED;

	/* Commit. */
	ice_pair_answered(&ice->pairs[pair], &ice->timing, check, now);
	ice_nominate(ice, now);
	ice_touch(ice, now);
	return ICE_RX_OK;
}

static enum ice_rx judge(struct ice *ice, const struct ice_dgram *in, uint64_t now)
{
	struct stun_msg m;

	if (stun_decode(&m, in->data, in->len) != STUN_OK)
		return ICE_RX_MALFORMED;
	if (m.method != STUN_BINDING || m.cls == STUN_INDICATION)
		return ICE_RX_IGNORED;
	if (m.cls == STUN_REQUEST)
		return request_input(ice, in, &m, now);
	return response_input(ice, in, &m, now);
}

enum ice_rx ice_input(struct ice *ice, const struct ice_dgram *in, uint64_t now)
{
	enum ice_rx rc = judge(ice, in, now);

	ice->acct.rx[rc]++;
	return rc;
}
