/* SPDX-License-Identifier: Apache-2.0
 *
 * Time in the policy world: nobody's but the world's, and each node's timers as its loop would run
 * them. */
#include "tests/policy/pw.h"

void pw_jump(struct pw_world *w, uint64_t ns)
{
	w->now += ns;
	w->wall_ns += ns;
}

static uint64_t due_at(const struct pw_node *n)
{
	uint64_t at = n->d->role->deadline(n->d).at;

	at = n->tick_ns < at ? n->tick_ns : at;
	return n->dns_timer && !n->gateway && n->dns_timer->at < at ? n->dns_timer->at : at;
}

static void run_timers(struct pw_node *n)
{
	struct pw_world *w = n->w;

	if (time_reached(n->d->role->deadline(n->d).at, w->now))
		n->d->role->timeout(n->d, w->now);
	if (n->dns_timer && !n->gateway && time_reached(n->dns_timer->at, w->now))
		n->dns_timer->cb(n->dns_timer->ctx, w->now);
	if (w->now >= n->tick_ns) {
		n->tick_ns = w->now + NS_PER_SEC;
		tick(n->d, w->now);
	}
	pw_rest(n);
}

void pw_timers(struct pw_world *w)
{
	for (uint8_t i = 0; i < PW_NODES; i++)
		if (w->node[i].running && due_at(&w->node[i]) <= w->now)
			run_timers(&w->node[i]);
	w->timers_ns = w->now;
	pw_settle(w);
}

void pw_advance(struct pw_world *w, uint64_t ns)
{
	uint64_t end = w->now + ns;

	for (;;) {
		uint64_t at = end;

		for (uint8_t i = 0; i < PW_NODES; i++)
			if (w->node[i].running && due_at(&w->node[i]) < at)
				at = due_at(&w->node[i]);
		if (at > w->now)
			pw_jump(w, at - w->now);
		pw_timers(w);
		if (at == end)
			return;
	}
}
