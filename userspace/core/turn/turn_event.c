/* SPDX-License-Identifier: Apache-2.0
 * What the TURN client tells: candidates and channels. See turn.h.
 *
 * There is no queue that could overflow: each candidate slot and each channel knows what was told
 * of it, and an event is the difference to what is. */
#include <string.h>

#include "core/turn/turn_int.h"

static bool is_set(const struct turn_cand *c)
{
	return c->addr.ip.family != 0;
}

static bool cand_eq(const struct turn_cand *a, const struct turn_cand *b)
{
	return a->kind == b->kind && endpoint_eq(&a->addr, &b->addr) &&
	       endpoint_eq(&a->base, &b->base) && endpoint_eq(&a->via, &b->via);
}

static bool usable(const struct endpoint *e)
{
	return e && e->ip.family && e->port && !ipaddr_is_unspecified(&e->ip) &&
	       !ipaddr_is_multicast(&e->ip);
}

/* ---- learning ---- */

static void learn_host(struct turn *t, const struct endpoint *local, uint64_t now)
{
	struct turn_slot *s = NULL;

	for (unsigned i = 0; i < TURN_HOSTS_MAX; i++) {
		if (endpoint_eq(&t->hosts[i].now.addr, local))
			return;
		if (!s && !is_set(&t->hosts[i].now) && !is_set(&t->hosts[i].told))
			s = &t->hosts[i];
	}
	if (!s) {
		s = &t->hosts[t->next_host];
		t->next_host = (uint8_t)((t->next_host + 1) % TURN_HOSTS_MAX);
		t->acct.hosts_replaced++;
	}
	s->now = (struct turn_cand){.kind = TURN_CAND_HOST, .addr = *local, .base = *local};
	turn_queue(t, now);
}

bool turn_learn_mapped(struct turn *t, unsigned server, const struct endpoint *local,
		       const struct endpoint *mapped, uint64_t now)
{
	struct turn_cand c = {.kind = TURN_CAND_SRFLX, .addr = *mapped};
	struct turn_cand *have = &t->srflx[server].now;
	bool moved = is_set(have) && !endpoint_eq(&have->addr, mapped);

	if (!usable(local))
		return false;
	learn_host(t, local, now);
	c.base = *local;
	if (cand_eq(have, &c))
		return false;
	*have = c;
	turn_queue(t, now);
	return moved;
}

void turn_learn_relayed(struct turn *t, const struct endpoint *relayed, uint64_t now)
{
	struct turn_cand c = {.kind = TURN_CAND_RELAY, .addr = *relayed, .base = *relayed};

	c.via = t->local;
	c.via_family = turn_server(t, (unsigned)t->active)->ip.family;
	c.via.ip.family = c.via_family;
	t->relayed[relayed->ip.family == 6].now = c;
	turn_queue(t, now);
}

static void forget(struct turn *t, struct turn_slot *s, unsigned n, uint64_t now)
{
	for (unsigned i = 0; i < n; i++)
		s[i].now = (struct turn_cand){0};
	turn_queue(t, now);
}

void turn_forget_relayed(struct turn *t, uint64_t now)
{
	forget(t, t->relayed, 2, now);
}

void turn_forget_all(struct turn *t, uint64_t now)
{
	forget(t, t->hosts, TURN_HOSTS_MAX, now);
	forget(t, t->srflx, 2, now);
	forget(t, t->relayed, 2, now);
}

/* ---- telling ---- */

static bool slots_news(const struct turn_slot *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!cand_eq(&s[i].now, &s[i].told))
			return true;
	return false;
}

bool turn_has_news(const struct turn *t)
{
	return t->chans.n_dirty || slots_news(t->hosts, TURN_HOSTS_MAX) ||
	       slots_news(t->srflx, 2) || slots_news(t->relayed, 2);
}

/* A relay candidate that changed is another allocation: the old one's end is told first. The
 * others are superseded by the new one. */
static bool tell_slot(struct turn_slot *s, struct turn_event *out)
{
	bool gone = is_set(&s->told) && (!is_set(&s->now) || s->told.kind == TURN_CAND_RELAY);

	if (cand_eq(&s->now, &s->told))
		return false;
	*out = (struct turn_event){.kind = gone ? TURN_EV_CAND_GONE : TURN_EV_CAND,
				   .cand = gone ? s->told : s->now};
	s->told = gone ? (struct turn_cand){0} : s->now;
	return true;
}

static bool tell_slots(struct turn_slot *s, unsigned n, struct turn_event *out)
{
	for (unsigned i = 0; i < n; i++)
		if (tell_slot(&s[i], out))
			return true;
	return false;
}

static bool tell_channel(struct turn *t, struct turn_event *out, uint64_t now)
{
	const struct turn_chan *c;
	unsigned i;
	bool up;

	if (!turn_chan_news(&t->chans, &i, &up, now))
		return false;
	c = &t->chans.at[i];
	*out = (struct turn_event){.kind = up ? TURN_EV_CHANNEL_UP : TURN_EV_CHANNEL_DOWN,
				   .peer = c->peer,
				   .number = turn_chan_number(i)};
	if (up) {
		turn_route(t, &t->told_local, &t->told_server);
		out->until = time_add(c->bound_at, TURN_CHAN_LIFE);
	}
	out->local = t->told_local;
	out->server = t->told_server;
	return true;
}

bool turn_poll_event(struct turn *t, struct turn_event *out, uint64_t now)
{
	if (t->queued_at == TIME_NEVER)
		return false;
	if (tell_slots(t->hosts, TURN_HOSTS_MAX, out) || tell_slots(t->srflx, 2, out) ||
	    tell_slots(t->relayed, 2, out) || tell_channel(t, out, now))
		return true;
	if (!t->n_due)
		t->queued_at = TIME_NEVER;
	return false;
}
