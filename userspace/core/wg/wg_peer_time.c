/* SPDX-License-Identifier: Apache-2.0
 *
 * Time in a connection: what the data path reports, when to wake up, what to do then. The timers:
 *
 *     session death     180 s after it began, every session
 *     send stop         170 s after the current session began, if we were its initiator; with
 *                       rekey_idle also a new handshake
 *     rekey             no timer: the first packet sent after 120 s (received after 165 s) starts
 * it retry             5 s and jitter after an initiation give up           20 s after an attempt
 * began, unless data still arrives: expired silence           15 s and jitter after data went out
 * with nothing heard since: handshake keepalive         10 s after data came in with nothing sent
 * since stale answer      an initiation that could not be answered for 5 s (no index) is forgotten
 *     dead              540 s after the last new session: expired
 *
 * Packet times are kept as "first one unanswered", so reports may come late and in any order. */
#include <string.h>
#include "core/wg/wg_peer_priv.h"
#include "crypto/crypto.h"

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool is_current(const struct wg_peer *p, const struct wg_session *s)
{
	return s == &p->slot[WG_SLOT_CURRENT];
}

/* The current session may have become unfit to send on. */
static void stop_if_spent(struct wg_peer *p, uint64_t now)
{
	struct wg_session *s = &p->slot[WG_SLOT_CURRENT];
	const struct wg_age age = wg_session_age(s);

	if (!s->used || s->stopped || wg_may_send(&p->cfg.times, &age, now))
		return;
	s->stopped = true;
	wg_ev_push(p, WG_EV_SESSION_IDLE, s->local_idx, now);
	if (s->initiator && p->cfg.rekey_idle)
		wg_attempt_start(p, now, now);
}

/* ---- reports ---- */

void wg_peer_on_data_sent(struct wg_peer *p, uint32_t local_idx, bool keepalive, uint64_t at,
			  uint64_t now)
{
	const struct wg_session *s = wg_session_find(p, local_idx);
	struct wg_age age;

	if (!s)
		return;
	p->last_sent_ns = later(p->last_sent_ns, at);
	if (at >= p->unanswered_recv_ns)
		p->unanswered_recv_ns = TIME_NEVER;
	if (!keepalive && p->unanswered_sent_ns == TIME_NEVER && at > p->last_heard_ns) {
		p->unanswered_sent_ns = at;
		p->silence_jitter_ns = rng_below(&p->rng, p->cfg.times.jitter_ns + 1);
	}
	age = wg_session_age(s);
	if (is_current(p, s) && wg_rekey_due_on_send(&p->cfg.times, &age, at))
		wg_attempt_start(p, now, now);
}

void wg_peer_on_data_received(struct wg_peer *p, uint32_t local_idx, bool keepalive, uint64_t at,
			      uint64_t now)
{
	const struct wg_session *s = wg_session_find(p, local_idx);
	struct wg_age age;

	if (!s)
		return;
	if (s == &p->slot[WG_SLOT_NEXT] && wg_ev_has_room(p)) {
		wg_session_confirm(p, at, now);
		wg_attempt_cancel(p, now); /* theirs made it: ours is no longer needed */
		s = &p->slot[WG_SLOT_CURRENT];
	}
	p->last_heard_ns = later(p->last_heard_ns, at);
	if (p->attempt.state != WG_HS_NONE && at >= p->attempt.began_ns)
		p->attempt.heard = true;
	if (p->unanswered_sent_ns != TIME_NEVER && at >= p->unanswered_sent_ns)
		p->unanswered_sent_ns = TIME_NEVER;
	if (!keepalive && p->unanswered_recv_ns == TIME_NEVER && at > p->last_sent_ns)
		p->unanswered_recv_ns = at;
	age = wg_session_age(s);
	if (is_current(p, s) && wg_rekey_due_on_recv(&p->cfg.times, &age, at))
		wg_attempt_start(p, now, now);
}

void wg_peer_on_counter(struct wg_peer *p, uint32_t local_idx, uint64_t send_counter, uint64_t now)
{
	struct wg_session *s = wg_session_find(p, local_idx);
	struct wg_age age;

	if (!s || !wg_ev_has_room(p))
		return;
	s->counter = later(s->counter, send_counter);
	age = wg_session_age(s);
	if (is_current(p, s) && age.counter >= WG_REKEY_AFTER_MESSAGES)
		wg_attempt_start(p, now, now);
	stop_if_spent(p, now);
}

/* ---- deadlines ---- */

static struct deadline sooner(struct deadline d, uint64_t at, const char *why)
{
	return deadline_min(d, (struct deadline){.at = at, .why = why});
}

static struct deadline attempt_deadline(const struct wg_peer *p, struct deadline d)
{
	const struct wg_attempt *a = &p->attempt;

	switch (a->state) {
	case WG_HS_NONE:
		return d;
	case WG_HS_WANTED:
		/* Without an index there is nothing to wake up for: the caller knows. */
		if (a->has_idx || p->has_spare)
			d = sooner(d, a->due_ns, "wg initiation");
		break;
	case WG_HS_WAITING:
		d = sooner(d, a->due_ns, "wg retry");
		break;
	}
	return sooner(d, wg_give_up_at(&p->cfg.times, a->began_ns), "wg give up");
}

static struct deadline session_deadline(const struct wg_peer *p, struct deadline d)
{
	const struct wg_times *t = &p->cfg.times;

	for (int i = 0; i < WG_SLOTS; i++) {
		const struct wg_session *s = &p->slot[i];

		if (!s->used)
			continue;
		d = sooner(d, time_add(s->birth_ns, t->reject_after_ns), "wg session death");
		if (i == WG_SLOT_CURRENT && s->initiator && !s->stopped)
			d = sooner(d, time_add(s->birth_ns, t->initiator_stop_ns), "wg send stop");
	}
	return d;
}

struct deadline wg_peer_deadline(const struct wg_peer *p)
{
	const struct wg_times *t = &p->cfg.times;
	struct deadline d = deadline_never();

	if (p->ev_count)
		d = sooner(d, p->ev_since_ns, "wg event");
	if (p->answer.due && p->has_spare)
		d = sooner(d, p->answer.due_ns, "wg response");
	else if (p->answer.due)
		d = sooner(d, time_add(p->answer.due_ns, t->retry_ns), "wg stale answer");
	d = attempt_deadline(p, d);
	d = session_deadline(p, d);
	d = sooner(d, time_add(wg_silence_at(t, p->unanswered_sent_ns), p->silence_jitter_ns),
		   "wg silence");
	d = sooner(d, wg_keepalive_at(t, p->unanswered_recv_ns), "wg keepalive");
	if (!p->gave_up)
		d = sooner(d, time_add(p->last_session_ns, t->dead_after_ns), "wg dead");
	return d;
}

/* ---- timeout ---- */

static void expire(struct wg_peer *p, uint64_t now)
{
	wg_peer_reset(p, now);
	p->gave_up = true;
	wg_ev_push(p, WG_EV_EXPIRED, 0, now);
}

static void attempt_timeout(struct wg_peer *p, uint64_t now)
{
	struct wg_attempt *a = &p->attempt;

	if (a->state == WG_HS_NONE)
		return;
	if (time_reached(wg_give_up_at(&p->cfg.times, a->began_ns), now)) {
		if (!a->heard) {
			expire(p, now);
			return;
		}
		/* It answers with data, if not with handshakes: keep trying. */
		a->began_ns = now;
		a->heard = false;
	}
	if (a->state == WG_HS_WAITING && time_reached(a->due_ns, now))
		wg_attempt_set_state(a, WG_HS_WANTED);
}

static void traffic_timeout(struct wg_peer *p, uint64_t now)
{
	const struct wg_times *t = &p->cfg.times;
	uint32_t idx;

	if (time_reached(time_add(wg_silence_at(t, p->unanswered_sent_ns), p->silence_jitter_ns),
			 now)) {
		p->unanswered_sent_ns = TIME_NEVER;
		wg_attempt_start(p, now, now);
	}
	if (time_reached(wg_keepalive_at(t, p->unanswered_recv_ns), now)) {
		p->unanswered_recv_ns = TIME_NEVER;
		if (wg_peer_current(p, &idx))
			wg_ev_push(p, WG_EV_KEEPALIVE, idx, now);
	}
}

void wg_peer_timeout(struct wg_peer *p, uint64_t now)
{
	const struct wg_times *t = &p->cfg.times;

	if (!wg_ev_has_room(p))
		return;
	for (int i = 0; i < WG_SLOTS; i++) {
		const struct wg_age age = wg_session_age(&p->slot[i]);

		if (!p->slot[i].used || !wg_is_dead(t, &age, now))
			continue;
		/* A late wake-up must not lose the renewal that the send stop would have begun. */
		if (i == WG_SLOT_CURRENT && age.initiator && p->cfg.rekey_idle)
			wg_attempt_start(p, now, now);
		wg_session_kill(p, (enum wg_slot)i, now);
	}
	stop_if_spent(p, now);
	if (p->answer.due && time_reached(time_add(p->answer.due_ns, t->retry_ns), now))
		crypto_wipe(&p->answer, sizeof(p->answer));
	traffic_timeout(p, now);
	attempt_timeout(p, now);
	if (!p->gave_up && time_reached(time_add(p->last_session_ns, t->dead_after_ns), now))
		expire(p, now);
}
