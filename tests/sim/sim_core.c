/* SPDX-License-Identifier: Apache-2.0
 * The event loop and the portal path; the network is in sim_net.c. See sim.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_priv.h"
#include "tests/t.h"

/* A machine at rest needs a handful of rounds at one instant; more than this is a livelock. */
#define ROUNDS_MAX 64
#define BURST_MAX  20000

void *sim_must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct sim *sim_new(const char *scn, uint64_t seed)
{
	struct sim *s = sim_must(calloc(1, sizeof(*s)));

	s->scn = scn;
	s->seed = seed;
	s->rng = seed * 0x9e3779b97f4a7c15ULL + 1;
	s->now = NS_PER_SEC;
	s->hash = 0xcbf29ce484222325ULL;
	s->portal_min_ns = s->portal_max_ns = NS_PER_MS;
	return s;
}

void sim_free(struct sim *s)
{
	for (size_t i = 0; i < s->n_heap; i++)
		free(s->heap[i]);
	for (unsigned i = 0; i < s->n_nats; i++)
		free(s->nats[i]);
	free(s->heap);
	free(s);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->failed)
		return;
	s->failed = true;
	printf("# SIM SEED=%llu SCN=%s t=%.6f: ", (unsigned long long)s->seed, s->scn,
	       (double)s->now / 1e9);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

bool sim_failed(const struct sim *s)
{
	return s->failed;
}

uint64_t sim_now(const struct sim *s)
{
	return s->now;
}

uint64_t sim_rand(struct sim *s, uint64_t bound)
{
	uint64_t v = t_rand(&s->rng);

	return bound ? v % bound : 0;
}

uint64_t sim_trace_hash(const struct sim *s)
{
	return s->hash;
}

struct sim_stats sim_stats(const struct sim *s)
{
	return s->stats;
}

static void trace(struct sim *s, const void *p, size_t len)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		s->hash = (s->hash ^ b[i]) * 0x100000001b3ULL;
}

/* ---- the heap of events, by time, then by order of creation ---- */

static bool before(const struct ev *a, const struct ev *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_ev_push(struct sim *s, struct ev *e)
{
	size_t i = s->n_heap++;

	e->seq = s->seq++;
	if (s->n_heap > s->heap_cap) {
		s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 256;
		s->heap = sim_must(realloc(s->heap, s->heap_cap * sizeof(*s->heap)));
	}
	for (; i && before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct ev *heap_pop(struct sim *s)
{
	struct ev *top = s->heap[0], *last = s->heap[--s->n_heap];
	size_t i = 0;

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= s->n_heap)
			break;
		if (c + 1 < s->n_heap && before(s->heap[c + 1], s->heap[c]))
			c++;
		if (!before(s->heap[c], last))
			break;
		s->heap[i] = s->heap[c];
		i = c;
	}
	if (s->n_heap)
		s->heap[i] = last;
	return top;
}

struct ev *sim_ev_new(enum ev_kind kind, uint64_t at, const void *data, size_t len)
{
	struct ev *e = sim_must(calloc(1, sizeof(*e) + len));

	e->kind = kind;
	e->at = at;
	e->len = len;
	if (len)
		memcpy(e->data, data, len);
	return e;
}

void sim_portal_latency(struct sim *s, uint64_t min_ns, uint64_t max_ns)
{
	s->portal_min_ns = min_ns;
	s->portal_max_ns = max_ns;
}

void sim_portal_outage(struct sim *s, unsigned host, uint64_t until)
{
	s->hosts[host].portal_until = until;
}

void sim_portal_send(struct sim *s, unsigned from, unsigned to, const void *msg, size_t len)
{
	uint64_t at = s->now, *last = &s->portal_last[from][to];
	struct ev *e;

	if (at < s->hosts[from].portal_until)
		at = s->hosts[from].portal_until;
	if (at < s->hosts[to].portal_until)
		at = s->hosts[to].portal_until;
	at += s->portal_min_ns + sim_rand(s, s->portal_max_ns - s->portal_min_ns + 1);
	if (at < *last)
		at = *last;
	*last = at;
	s->stats.portal_sent++;
	e = sim_ev_new(EV_PORTAL, at, msg, len);
	e->from = from;
	e->to = to;
	sim_ev_push(s, e);
}

void sim_at(struct sim *s, uint64_t at, void (*fn)(void *ctx, uint64_t now), void *ctx)
{
	struct ev *e = sim_ev_new(EV_STEP, at, NULL, 0);

	e->fn = fn;
	e->ctx = ctx;
	sim_ev_push(s, e);
}

/* ---- running ---- */

void sim_kick(struct sim *s, unsigned host)
{
	struct sim_host *h = &s->hosts[host];
	struct sim_out out;

	if (h->down)
		return;
	for (int round = 0; round < ROUNDS_MAX; round++) {
		int burst = 0;

		h->ops->timeout(h->self, s->now);
		while (h->ops->poll_tx && h->ops->poll_tx(h->self, &out, s->now)) {
			sim_dgram_send(s, host, &out);
			if (++burst > BURST_MAX)
				return sim_fail(s, "host %u sends without end", host);
		}
		if (h->ops->deadline(h->self).at > s->now)
			return;
	}
	sim_fail(s, "host %u never rests: \"%s\"", host, h->ops->deadline(h->self).why);
}

void sim_host_up(struct sim *s, unsigned host, bool up)
{
	s->hosts[host].down = !up;
	sim_kick(s, host);
}

static void ev_run(struct sim *s, struct ev *e)
{
	struct sim_host *h = &s->hosts[e->to];
	struct sim_dgram d = {
		.local = e->local, .remote = e->remote, .data = e->data, .len = e->len};

	if (e->kind == EV_STEP) {
		e->fn(e->ctx, s->now);
		return;
	}
	trace(s, &e->at, sizeof(e->at));
	trace(s, &e->from, sizeof(e->from));
	trace(s, &e->to, sizeof(e->to));
	trace(s, e->data, e->len);
	if (h->down)
		return;
	if (e->kind == EV_PORTAL) {
		s->stats.portal_delivered++;
		if (h->ops->portal)
			h->ops->portal(h->self, e->from, e->data, e->len, s->now);
	} else {
		if (!sim_host_has(s, e->to, &e->local.ip))
			return;
		s->stats.delivered++;
		if (h->ops->input)
			h->ops->input(h->self, &d, s->now);
	}
	sim_kick(s, e->to);
}

/* The host with the earliest deadline. */
static uint64_t earliest(struct sim *s, unsigned *host)
{
	uint64_t at = TIME_NEVER;

	for (unsigned i = 0; i < s->n_hosts; i++) {
		const struct sim_host *h = &s->hosts[i];
		struct deadline d;

		if (h->down)
			continue;
		d = h->ops->deadline(h->self);
		if (d.at < s->now)
			sim_fail(s, "host %u wants to wake in the past: \"%s\"", i, d.why);
		if (d.at < at) {
			at = d.at;
			*host = i;
		}
	}
	return at;
}

bool sim_run(struct sim *s, uint64_t until, bool (*stop)(void *ctx), void *ctx)
{
	for (unsigned i = 0; i < s->n_hosts; i++)
		sim_kick(s, i);
	while (!s->failed && !(stop && stop(ctx))) {
		unsigned host = 0;
		uint64_t wake = earliest(s, &host),
			 arrival = s->n_heap ? s->heap[0]->at : TIME_NEVER;

		if ((wake < arrival ? wake : arrival) > until) {
			s->now = until;
			break;
		}
		if (arrival <= wake) {
			struct ev *e = heap_pop(s);

			s->now = e->at > s->now ? e->at : s->now;
			ev_run(s, e);
			free(e);
		} else {
			s->now = wake;
			sim_kick(s, host);
		}
	}
	return !s->failed;
}
