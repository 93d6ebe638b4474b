/* SPDX-License-Identifier: Apache-2.0
 * The agent's life: init, time, sending, looking in. See ice.h.
 *
 * Timers: dirty_at (evaluate after a change) · queued_at (replies or events wait to be drained) ·
 * each pair's next_at (next check, or the pair's end when its checks are spent). No others. */
#include "core/ice/ice.h"

#include <errno.h>
#include <string.h>

#include "core/ice/ice_int.h"
#include "crypto/crypto.h"

const struct ice_timing ice_timing_active = {250 * NS_PER_MS, 1500 * NS_PER_MS, 12};
const struct ice_timing ice_timing_idle = {25 * NS_PER_SEC, 25 * NS_PER_SEC, 4};
const struct ice_timing ice_timing_gateway_active = {250 * NS_PER_MS, 15 * NS_PER_SEC, 45};
const struct ice_timing ice_timing_gateway_idle = {25 * NS_PER_SEC, 25 * NS_PER_SEC, 40};

_Static_assert(ICE_PAIRS_MAX <= INT8_MAX, "struct ice.nominated is an int8_t");

static bool creds_good(const struct ice_creds *c)
{
	return c->ufrag[0] && c->pwd[0] && memchr(c->ufrag, 0, sizeof(c->ufrag)) &&
	       memchr(c->pwd, 0, sizeof(c->pwd)) && !strchr(c->ufrag, ':');
}

static bool timing_good(const struct ice_timing *t)
{
	return t->rto_ns && t->max_rto_ns >= t->rto_ns && t->max_retransmits &&
	       t->max_retransmits <= UINT16_MAX;
}

int ice_init(struct ice *ice, const struct ice_cfg *cfg, const uint8_t seed[32], uint64_t now)
{
	memset(ice, 0, offsetof(struct ice, pairs));
	if (!creds_good(&cfg->local) || !creds_good(&cfg->remote) || !timing_good(&cfg->timing))
		return -EINVAL;
	ice->local_creds = cfg->local;
	ice->remote_creds = cfg->remote;
	ice->timing = cfg->timing;
	ice->controlling = cfg->controlling;
	ice->tag = cfg->tag;
	ice->state = ICE_NEW;
	ice->nominated = -1;
	rng_init(&ice->rng, seed);
	ice->tie_breaker = rng_u64(&ice->rng);
	ice_touch(ice, now);
	return 0;
}

void ice_fini(struct ice *ice)
{
	rng_wipe(&ice->rng);
	crypto_wipe(&ice->local_creds, sizeof(ice->local_creds));
	crypto_wipe(&ice->remote_creds, sizeof(ice->remote_creds));
}

void ice_set_timing(struct ice *ice, const struct ice_timing *timing, uint64_t now)
{
	if (!timing_good(timing) || !memcmp(timing, &ice->timing, sizeof(*timing)))
		return;
	ice->timing = *timing;
	for (unsigned i = 0; i < ice->n_pairs; i++)
		ice_pair_retime(&ice->pairs[i], timing, now);
	ice_touch(ice, now);
}

/* ---- time and sending ---- */

void ice_timeout(struct ice *ice, uint64_t now)
{
	ice_evaluate(ice, now);
}

static bool check_due(const struct ice *ice, const struct ice_pair *p, uint64_t now)
{
	return p->nominate_now ||
	       (time_reached(p->next_at, now) && !ice_pair_spent(p, &ice->timing));
}

/* A fresh nomination first, then what is due longest, then what is of highest priority. */
static bool more_urgent(const struct ice_pair *a, const struct ice_pair *b)
{
	if (a->nominate_now != b->nominate_now)
		return a->nominate_now;
	if (a->next_at != b->next_at)
		return a->next_at < b->next_at;
	return a->prio > b->prio;
}

static struct ice_pair *pair_due(struct ice *ice, uint64_t now)
{
	struct ice_pair *due = NULL;

	for (unsigned i = 0; i < ice->n_pairs; i++)
		if (check_due(ice, &ice->pairs[i], now) &&
		    (!due || more_urgent(&ice->pairs[i], due)))
			due = &ice->pairs[i];
	return due;
}

static void check_send(struct ice *ice, struct ice_pair *p, struct ice_tx *out, uint64_t now)
{
	bool nominate = ice->controlling && ice->nominated >= 0 && p == &ice->pairs[ice->nominated];
	struct stun_tid tid;

	be32_put(tid.b, ice->tag);
	rng_bytes(&ice->rng, tid.b + 4, sizeof(tid.b) - 4);
	ice_msg_check(ice, p, &tid, nominate, out);
	ice_pair_sent(p, &ice->timing, tid.b + 4, ice->controlling, now);
	ice->acct.tx_checks++;
}

bool ice_poll_tx(struct ice *ice, struct ice_tx *out, uint64_t now)
{
	struct ice_pair *p;

	if (ice->n_replies) {
		const struct ice_reply *r = &ice->replies[ice->replies_head];

		ice_msg_reply(ice, r, out);
		ice->acct.tx_replies++;
		ice->acct.tx_errors += r->error != 0;
		ice->replies_head = (uint8_t)((ice->replies_head + 1) % ICE_REPLIES_MAX);
		ice->n_replies--;
		return true;
	}
	p = pair_due(ice, now);
	if (!p)
		return false;
	check_send(ice, p, out, now);
	return true;
}

bool ice_poll_event(struct ice *ice, struct ice_event *out)
{
	if (!ice->n_events)
		return false;
	*out = ice->events[ice->events_head];
	ice->events_head = (uint8_t)((ice->events_head + 1) % ICE_EVENTS_MAX);
	ice->n_events--;
	return true;
}

struct deadline ice_deadline(const struct ice *ice)
{
	struct deadline d = {.at = ice->dirty_at, .why = "ice: evaluate"};

	if (ice->n_replies || ice->n_events)
		d = deadline_min(d, (struct deadline){ice->queued_at, "ice: drain"});
	for (unsigned i = 0; i < ice->n_pairs; i++) {
		const struct ice_pair *p = &ice->pairs[i];
		bool spent = ice_pair_spent(p, &ice->timing);

		d = deadline_min(
			d, (struct deadline){ice_pair_wake(p, &ice->timing),
					     spent ? "ice: pair times out" : "ice: next check"});
	}
	return d;
}

/* ---- looking in ---- */

enum ice_state ice_state(const struct ice *ice)
{
	return ice->state;
}

const char *ice_state_name(enum ice_state s)
{
	static const char *const names[] = {[ICE_NEW] = "new",
					    [ICE_CHECKING] = "checking",
					    [ICE_CONNECTED] = "connected",
					    [ICE_COMPLETED] = "completed",
					    [ICE_DISCONNECTED] = "disconnected"};

	return names[s];
}

const char *ice_rx_name(enum ice_rx rx)
{
	static const char *const names[ICE_RX_COUNT] = {
		[ICE_RX_OK] = "ok",
		[ICE_RX_NOT_MINE] = "not-mine",
		[ICE_RX_MALFORMED] = "malformed",
		[ICE_RX_BAD_AUTH] = "bad-auth",
		[ICE_RX_DISCARDED] = "discarded-candidate",
		[ICE_RX_NO_LOCAL] = "no-local-candidate",
		[ICE_RX_IGNORED] = "ignored",
		[ICE_RX_FULL] = "full",
	};

	return names[rx];
}

static struct ice_path path_of(const struct ice *ice, const struct ice_pair *p)
{
	const struct ice_cand *l = &ice->locals[p->local], *r = &ice->remotes[p->remote];

	return (struct ice_path){.local = l->base,
				 .remote = r->addr,
				 .local_kind = l->kind,
				 .remote_kind = r->kind,
				 .local_prio = l->prio,
				 .remote_prio = r->prio,
				 .pair_prio = p->prio,
				 .rtt_ns = p->rtt_ns};
}

bool ice_selected(const struct ice *ice, struct ice_path *out)
{
	if (ice->nominated < 0)
		return false;
	*out = path_of(ice, &ice->pairs[ice->nominated]);
	return true;
}

struct ice_path ice_pair_path(const struct ice *ice, unsigned i, enum ice_pair_state *state,
			      bool *nominated)
{
	*state = ice->pairs[i].state;
	*nominated = ice->nominated == (int)i;
	return path_of(ice, &ice->pairs[i]);
}

unsigned ice_n_locals(const struct ice *ice)
{
	return ice->n_locals;
}

unsigned ice_n_remotes(const struct ice *ice)
{
	return ice->n_remotes;
}

unsigned ice_n_pairs(const struct ice *ice)
{
	return ice->n_pairs;
}

const struct ice_cand *ice_local(const struct ice *ice, unsigned i)
{
	return &ice->locals[i];
}

const struct ice_cand *ice_remote(const struct ice *ice, unsigned i)
{
	return &ice->remotes[i];
}
