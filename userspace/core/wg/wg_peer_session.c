/* SPDX-License-Identifier: Apache-2.0
 *
 * The three session slots of a connection and the events that tell of them. How sessions move:
 *
 *     initiator, response came:   previous <- next if there is one, else current;  current <- new
 *     responder, answer built:    previous dies;                                   next <- new
 *     first packet on next:       previous <- current;                             current <- next
 *
 * When both sides initiate at once, each ends with its own session as current and the other's as
 * previous, and both pairs work: that is why an unconfirmed next is kept over the old current in
 * the first line. */
#include <assert.h>
#include <string.h>
#include "core/wg/wg_peer_priv.h"
#include "crypto/crypto.h"

bool wg_ev_has_room(const struct wg_peer *p)
{
	return p->ev_count + 2 * WG_EV_ROOM <= WG_EV_CAP;
}

struct wg_event *wg_ev_push(struct wg_peer *p, enum wg_ev_type type, uint32_t local_idx,
			    uint64_t now)
{
	struct wg_event *e = &p->ev[(p->ev_head + p->ev_count) % WG_EV_CAP];

	assert(p->ev_count < WG_EV_CAP);
	if (!p->ev_count)
		p->ev_since_ns = now;
	p->ev_count++;
	e->type = type;
	e->local_idx = local_idx;
	return e;
}

bool wg_peer_poll_event(struct wg_peer *p, struct wg_event *out)
{
	struct wg_event *e = &p->ev[p->ev_head];

	if (!p->ev_count)
		return false;
	*out = *e;
	crypto_wipe(e, sizeof(*e));
	p->ev_head = (p->ev_head + 1) % WG_EV_CAP;
	p->ev_count--;
	return true;
}

struct wg_age wg_session_age(const struct wg_session *s)
{
	return (struct wg_age){
		.initiator = s->initiator, .birth_ns = s->birth_ns, .counter = s->counter};
}

struct wg_session *wg_session_find(struct wg_peer *p, uint32_t local_idx)
{
	for (int i = 0; i < WG_SLOTS; i++)
		if (p->slot[i].used && p->slot[i].local_idx == local_idx)
			return &p->slot[i];
	return NULL;
}

bool wg_peer_current(const struct wg_peer *p, uint32_t *local_idx)
{
	const struct wg_session *s = &p->slot[WG_SLOT_CURRENT];

	if (!s->used || s->stopped)
		return false;
	*local_idx = s->local_idx;
	return true;
}

void wg_session_kill(struct wg_peer *p, enum wg_slot slot, uint64_t now)
{
	struct wg_session *s = &p->slot[slot];

	if (s->used)
		wg_ev_push(p, WG_EV_SESSION_DEAD, s->local_idx, now);
	memset(s, 0, sizeof(*s));
}

/* The session in `from` becomes the one in `to`, which dies. */
static void session_move(struct wg_peer *p, enum wg_slot to, enum wg_slot from, uint64_t now)
{
	wg_session_kill(p, to, now);
	p->slot[to] = p->slot[from];
	memset(&p->slot[from], 0, sizeof(p->slot[from]));
}

static void session_make(struct wg_peer *p, enum wg_slot slot, const struct wg_session *s,
			 uint32_t remote_idx, const struct noise_keys *keys, uint64_t now)
{
	struct wg_event *e = wg_ev_push(p, WG_EV_SESSION, s->local_idx, now);

	assert(!p->slot[slot].used);
	p->slot[slot] = *s;
	e->remote_idx = remote_idx;
	e->initiator = s->initiator;
	e->birth_ns = s->birth_ns;
	e->keys = *keys;
}

/* The session in CURRENT is new there. */
static void session_announce(struct wg_peer *p, bool first, uint64_t rtt_ns, uint64_t now)
{
	struct wg_event *e;

	wg_ev_push(p, WG_EV_SESSION_CURRENT, p->slot[WG_SLOT_CURRENT].local_idx, now);
	e = wg_ev_push(p, WG_EV_HANDSHAKE_DONE, p->slot[WG_SLOT_CURRENT].local_idx, now);
	e->first = first;
	e->rtt_ns = rtt_ns;
	p->had_session = true;
	p->gave_up = false;
	p->last_session_ns = now;
}

void wg_session_add_current(struct wg_peer *p, uint32_t local_idx, uint32_t remote_idx,
			    const struct noise_keys *keys, uint64_t rtt_ns, uint64_t now)
{
	const struct wg_session s = {
		.used = true, .initiator = true, .local_idx = local_idx, .birth_ns = now};
	uint32_t old;
	bool first = !wg_peer_current(p, &old);

	if (p->slot[WG_SLOT_NEXT].used) {
		session_move(p, WG_SLOT_PREVIOUS, WG_SLOT_NEXT, now);
		wg_session_kill(p, WG_SLOT_CURRENT, now);
	} else if (p->slot[WG_SLOT_CURRENT].used) {
		session_move(p, WG_SLOT_PREVIOUS, WG_SLOT_CURRENT, now);
	}
	session_make(p, WG_SLOT_CURRENT, &s, remote_idx, keys, now);
	session_announce(p, first, rtt_ns, now);
	/* The responder may not send before it hears from us on the new session. */
	wg_ev_push(p, WG_EV_KEEPALIVE, local_idx, now);
}

void wg_session_add_next(struct wg_peer *p, uint32_t local_idx, uint32_t remote_idx,
			 const struct noise_keys *keys, uint64_t now)
{
	const struct wg_session s = {.used = true, .local_idx = local_idx, .birth_ns = now};

	wg_session_kill(p, WG_SLOT_PREVIOUS, now);
	wg_session_kill(p, WG_SLOT_NEXT, now);
	session_make(p, WG_SLOT_NEXT, &s, remote_idx, keys, now);
}

void wg_session_confirm(struct wg_peer *p, uint64_t at, uint64_t now)
{
	const uint64_t rtt_ns = time_since(p->slot[WG_SLOT_NEXT].birth_ns, at);
	uint32_t old;
	bool first = !wg_peer_current(p, &old);

	if (p->slot[WG_SLOT_CURRENT].used)
		session_move(p, WG_SLOT_PREVIOUS, WG_SLOT_CURRENT, now);
	session_move(p, WG_SLOT_CURRENT, WG_SLOT_NEXT, now);
	session_announce(p, first, rtt_ns, now);
}
