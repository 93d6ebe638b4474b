/* SPDX-License-Identifier: Apache-2.0
 * The life of a TURN client and its timers. See turn.h.
 *
 * Timers:
 *   request         0, 1, 2.5, 4.75 s, given up at 8.125 s; a probe 1 s (turn_req.c)
 *   keep-alive      BINDING 25 s after the last one or the last channel data sent, while allocated
 *   refresh         REFRESH at half of the allocation's lifetime
 *   expiry          the allocation's lifetime passed without a refresh: asked for anew
 *   channels        300, 600 and 900 s (turn_chan.c) */
#include "core/turn/turn.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/turn/turn_int.h"

#define TO(s) (1U << (s))

static const unsigned next_states[] = {
	[TURN_PROBING] = TO(TURN_PROBING) | TO(TURN_ALLOCATING) | TO(TURN_UNREACHABLE),
	[TURN_ALLOCATING] = TO(TURN_PROBING) | TO(TURN_READY) | TO(TURN_SUSPENDED) |
			    TO(TURN_UNREACHABLE) | TO(TURN_REFUSED) | TO(TURN_BROKEN),
	[TURN_READY] = TO(TURN_PROBING) | TO(TURN_ALLOCATING) | TO(TURN_UNREACHABLE) |
		       TO(TURN_REFUSED) | TO(TURN_BROKEN),
	[TURN_SUSPENDED] = TO(TURN_PROBING) | TO(TURN_UNREACHABLE),
	[TURN_UNREACHABLE] = TO(TURN_PROBING),
	[TURN_REFUSED] = 0,
	[TURN_BROKEN] = 0,
};

void turn_set_state(struct turn *t, enum turn_state state, const char *why, uint64_t now)
{
	assert(next_states[t->state] & TO(state));
	t->state = state;
	t->why = why;
	turn_queue(t, now);
}

void turn_queue(struct turn *t, uint64_t now)
{
	if (t->queued_at == TIME_NEVER)
		t->queued_at = now;
}

const struct endpoint *turn_server(const struct turn *t, unsigned server)
{
	return server ? &t->cfg.addr6 : &t->cfg.addr4;
}

/* RFC 8489 §9.2.2: MD5(username ":" realm ":" password). */
void turn_derive_key(struct turn *t)
{
	char text[TURN_USERNAME_MAX + TURN_REALM_MAX + TURN_PASSWORD_MAX + 3];
	size_t u = strlen(t->cfg.username), r = strlen(t->realm), p = strlen(t->cfg.password);

	memcpy(text, t->cfg.username, u);
	text[u] = ':';
	memcpy(text + u + 1, t->realm, r);
	text[u + 1 + r] = ':';
	memcpy(text + u + r + 2, t->cfg.password, p);
	md5(text, u + r + p + 2, t->key);
	crypto_wipe(text, sizeof(text));
}

/* ---- life ---- */

/* Ask every address of the relay at once; the first answer picks one. */
static void probe(struct turn *t, const char *why, uint64_t now)
{
	turn_set_state(t, TURN_PROBING, why, now);
	t->active = -1;
	t->n_stale = 0;
	for (unsigned s = 0; s < 2; s++)
		if (turn_server(t, s)->ip.family)
			turn_ask_binding(t, s, now);
}

static bool addr_ok(const struct endpoint *e, uint8_t family)
{
	return !e->ip.family || (e->ip.family == family && e->port &&
				 !ipaddr_is_unspecified(&e->ip) && !ipaddr_is_multicast(&e->ip));
}

static bool text_ok(const char *s, size_t cap, size_t min)
{
	size_t len = strnlen(s, cap);

	return len >= min && len < cap;
}

static bool cfg_ok(const struct turn_cfg *c)
{
	return addr_ok(&c->addr4, 4) && addr_ok(&c->addr6, 6) &&
	       (c->addr4.ip.family || c->addr6.ip.family) &&
	       text_ok(c->username, sizeof(c->username), 1) &&
	       text_ok(c->password, sizeof(c->password), 1) &&
	       text_ok(c->realm, sizeof(c->realm), 0);
}

int turn_init(struct turn *t, const struct turn_cfg *cfg, const uint8_t seed[32], uint64_t now)
{
	memset(t, 0, offsetof(struct turn, chans));
	if (!cfg_ok(cfg))
		return -EINVAL;
	t->cfg = *cfg;
	memcpy(t->realm, cfg->realm, sizeof(t->realm));
	rng_init(&t->rng, seed);
	turn_chans_init(&t->chans, rng_u32(&t->rng));
	turn_derive_key(t);
	t->keepalive_at = t->refresh_at = t->expires_at = TIME_NEVER;
	t->allocate_at = t->queued_at = TIME_NEVER;
	probe(t, "new", now);
	return 0;
}

void turn_fini(struct turn *t)
{
	crypto_wipe(t, offsetof(struct turn, chans));
	t->active = -1;
	t->state = TURN_BROKEN;
	t->why = "finished";
	t->keepalive_at = t->refresh_at = t->expires_at = TIME_NEVER;
	t->allocate_at = t->queued_at = TIME_NEVER;
}

void turn_invalidate(struct turn *t, uint64_t now)
{
	t->acct.lost += t->state == TURN_READY;
	turn_req_free_all(t, false);
	turn_chans_clear(&t->chans);
	turn_forget_relayed(t, now);
	t->keepalive_at = t->refresh_at = t->expires_at = t->allocate_at = TIME_NEVER;
	t->lifetime_ns = 0;
}

void turn_give_up(struct turn *t, enum turn_state state, const char *why, uint64_t now)
{
	turn_invalidate(t, now);
	turn_req_free_all(t, true);
	t->active = -1;
	turn_set_state(t, state, why, now);
	if (state == TURN_REFUSED || state == TURN_BROKEN)
		turn_ring_clear(t);
}

/* ---- what the portal and the network say ---- */

void turn_refresh(struct turn *t, uint64_t now)
{
	struct turn_req *r;

	switch (t->state) {
	case TURN_READY:
		r = turn_req_of(t, STUN_REFRESH);
		if (r)
			turn_req_free(t, r);
		turn_ask_refresh(t, true, false, now);
		break;
	case TURN_SUSPENDED:
	case TURN_UNREACHABLE:
		turn_req_free_all(t, true);
		probe(t, "tried again", now);
		break;
	case TURN_PROBING:
	case TURN_ALLOCATING:
	case TURN_REFUSED:
	case TURN_BROKEN:
		break;
	}
}

void turn_restart(struct turn *t, uint64_t now)
{
	if (t->state == TURN_REFUSED || t->state == TURN_BROKEN)
		return;
	turn_invalidate(t, now);
	turn_req_free_all(t, true);
	turn_ring_clear(t);
	turn_forget_all(t, now);
	t->local = (struct endpoint){0};
	t->rtt_ns = 0;
	probe(t, "network changed", now);
}

void turn_sent(struct turn *t, uint64_t now)
{
	/* Who only sends would not notice that a NAT forgot it: the relay drops what it does not
	 * know in silence. */
	if (t->state == TURN_READY && time_since(t->heard_at, now) < TURN_KEEPALIVE_NS)
		t->keepalive_at = time_add(now, TURN_KEEPALIVE_NS);
}

void turn_heard(struct turn *t, uint16_t number, uint64_t now)
{
	unsigned i = turn_chan_of_number(&t->chans, number);

	if (i == TURN_CHAN_NONE || !turn_chan_connected(&t->chans.at[i], now))
		return;
	turn_chan_heard(&t->chans, i, now);
	t->heard_at = now;
}

/* ---- channels wanted ---- */

static struct endpoint *ring_at(struct turn *t, unsigned i)
{
	return &t->ring[(t->ring_head + i) % TURN_RING_MAX];
}

static bool ring_has(struct turn *t, const struct endpoint *peer)
{
	for (unsigned i = 0; i < t->n_ring; i++)
		if (endpoint_eq(ring_at(t, i), peer))
			return true;
	return false;
}

static void ring_pop(struct turn *t)
{
	t->ring_head = (uint8_t)((t->ring_head + 1) % TURN_RING_MAX);
	t->n_ring--;
}

void turn_ring_push(struct turn *t, const struct endpoint *peer)
{
	if (t->n_ring == TURN_RING_MAX) {
		t->acct.ring_dropped++;
		ring_pop(t);
	}
	*ring_at(t, t->n_ring) = *peer;
	t->n_ring++;
}

void turn_ring_clear(struct turn *t)
{
	t->ring_head = t->n_ring = 0;
}

static enum turn_bind bind_now(struct turn *t, const struct endpoint *peer, uint64_t now)
{
	unsigned i = turn_chan_find(&t->chans, peer);
	struct endpoint relayed;

	if (i != TURN_CHAN_NONE &&
	    (t->chans.at[i].in_flight || turn_chan_connected(&t->chans.at[i], now)))
		return TURN_BIND_THERE;
	if (!turn_relayed(t, peer->ip.family, &relayed))
		return TURN_BIND_FAMILY;
	if (t->n_reqs >= TURN_REQS_MAX - TURN_REQS_KEPT)
		return TURN_BIND_BUFFERED;
	i = turn_chan_take(&t->chans, peer, now);
	if (i == TURN_CHAN_NONE)
		return TURN_BIND_FULL;
	turn_ask_channel(t, i, now);
	return TURN_BIND_SENT;
}

void turn_ring_drain(struct turn *t, uint64_t now)
{
	while (t->n_ring && t->state == TURN_READY) {
		enum turn_bind b = bind_now(t, ring_at(t, 0), now);

		if (b == TURN_BIND_BUFFERED)
			return;
		t->acct.bind[b]++;
		ring_pop(t);
	}
}

static enum turn_bind bind_or_buffer(struct turn *t, const struct endpoint *peer, uint64_t now)
{
	enum turn_bind b = TURN_BIND_BUFFERED;

	if (t->state != TURN_READY && t->state != TURN_PROBING && t->state != TURN_ALLOCATING)
		return TURN_BIND_NONE;
	if (t->n_ring && ring_has(t, peer))
		return TURN_BIND_THERE;
	if (t->state == TURN_READY)
		b = bind_now(t, peer, now);
	if (b == TURN_BIND_BUFFERED)
		turn_ring_push(t, peer);
	return b;
}

enum turn_bind turn_bind(struct turn *t, const struct endpoint *peer, uint64_t now)
{
	enum turn_bind b = bind_or_buffer(t, peer, now);

	t->acct.bind[b]++;
	return b;
}

bool turn_channel(const struct turn *t, const struct endpoint *peer, uint64_t now, uint16_t *number)
{
	unsigned i = turn_chan_find(&t->chans, peer);

	if (i == TURN_CHAN_NONE ||
	    (!t->chans.at[i].in_flight && !turn_chan_connected(&t->chans.at[i], now)))
		return false;
	*number = turn_chan_number(i);
	return true;
}

bool turn_channel_peer(const struct turn *t, uint16_t number, uint64_t now, struct endpoint *peer)
{
	unsigned i = turn_chan_of_number(&t->chans, number);

	if (i == TURN_CHAN_NONE || !turn_chan_connected(&t->chans.at[i], now))
		return false;
	*peer = t->chans.at[i].peer;
	return true;
}

/* ---- time ---- */

/* A request had its last transmission. Another family than the one in use may fail in silence;
 * while none is in use the last BINDING decides. */
static void expire_req(struct turn *t, struct turn_req *r, uint64_t now)
{
	bool active = t->active == r->server, challenged = r->challenged;

	t->acct.timeouts++;
	turn_req_free(t, r);
	if (active || (t->active < 0 && !t->n_reqs))
		turn_give_up(t, TURN_UNREACHABLE,
			     challenged ? "the relay does not accept the credentials"
					: "no response, is STUN blocked?",
			     now);
}

static void step_reqs(struct turn *t, uint64_t now)
{
	for (unsigned i = 0; i < TURN_REQS_MAX && t->n_reqs; i++) {
		struct turn_req *r = &t->reqs[i];

		if (r->method && time_reached(r->next_at, now) && !turn_req_step(t, r, now))
			expire_req(t, r, now);
	}
}

static void step_channels(struct turn *t, uint64_t now)
{
	unsigned pos = 0, i;

	while ((i = turn_chan_due(&t->chans, &pos, now)) != TURN_CHAN_NONE)
		if (t->n_reqs < TURN_REQS_MAX - TURN_REQS_KEPT)
			turn_ask_channel(t, i, now);
	if (t->chans.n_dirty)
		turn_queue(t, now);
	turn_ring_drain(t, now);
}

static void step_allocation(struct turn *t, uint64_t now)
{
	if (time_reached(t->expires_at, now)) {
		turn_invalidate(t, now);
		turn_set_state(t, TURN_ALLOCATING, "allocation expired", now);
		turn_ask_allocation_anew(t, now);
		return;
	}
	if (time_reached(t->refresh_at, now)) {
		t->refresh_at = TIME_NEVER;
		if (!turn_req_of(t, STUN_REFRESH))
			turn_ask_refresh(t, false, false, now);
	}
	if (time_reached(t->keepalive_at, now))
		turn_ask_binding(t, (unsigned)t->active, now);
	step_channels(t, now);
}

void turn_timeout(struct turn *t, uint64_t now)
{
	step_reqs(t, now);
	if (t->state == TURN_READY)
		step_allocation(t, now);
	if (time_reached(t->allocate_at, now)) {
		t->allocate_at = TIME_NEVER;
		turn_ask_allocation(t, now);
	}
}

struct deadline turn_deadline(const struct turn *t)
{
	struct deadline d = {.at = t->queued_at, .why = "relay: queued"};

	for (unsigned i = 0, n = t->n_reqs; i < TURN_REQS_MAX && n; i++) {
		if (!t->reqs[i].method)
			continue;
		n--;
		d = deadline_min(d, (struct deadline){t->reqs[i].next_at, "relay: request"});
	}
	d = deadline_min(d, (struct deadline){t->allocate_at, "relay: allocation"});
	if (t->state != TURN_READY)
		return d;
	d = deadline_min(d, (struct deadline){t->keepalive_at, "relay: keep-alive"});
	d = deadline_min(d, (struct deadline){t->refresh_at, "relay: refresh"});
	d = deadline_min(d, (struct deadline){t->expires_at, "relay: expiry"});
	return deadline_min(d, (struct deadline){t->chans.next_at, "relay: channels"});
}
