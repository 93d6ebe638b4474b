/* SPDX-License-Identifier: Apache-2.0
 * The event loop, links, routing and the portal path. See sim.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "tests/t.h"

/* A machine at rest needs a handful of rounds at one instant; more than this is a livelock. */
#define ROUNDS_MAX 64
#define BURST_MAX  20000
#define BLOCKS_MAX 64

enum ev_kind {
	EV_DGRAM,
	EV_PORTAL,
	EV_STEP,
};

struct ev {
	uint64_t at, seq;
	enum ev_kind kind;
	unsigned from, to; /* hosts */
	struct endpoint local, remote;
	void (*fn)(void *ctx, uint64_t now);
	void *ctx;
	size_t len;
	uint8_t data[];
};

struct sim_addr {
	struct ipaddr ip;
	unsigned nat;
};

struct sim_host {
	const struct sim_ops *ops;
	void *self;
	struct sim_link link;
	bool down;
	unsigned n_addrs;
	struct sim_addr addrs[SIM_ADDRS_MAX];
	uint64_t portal_until;
};

struct sim {
	const char *scn;
	uint64_t seed, rng, now, seq, hash;
	bool failed;
	struct sim_stats stats;
	unsigned n_hosts, n_nats, n_blocks;
	struct sim_host hosts[SIM_HOSTS_MAX];
	struct sim_nat *nats[SIM_NATS_MAX];
	struct {
		struct ipaddr a, b;
	} blocks[BLOCKS_MAX];
	uint64_t portal_min_ns, portal_max_ns;
	uint64_t portal_last[SIM_HOSTS_MAX][SIM_HOSTS_MAX];
	struct ev **heap;
	size_t n_heap, heap_cap;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct sim *sim_new(const char *scn, uint64_t seed)
{
	struct sim *s = must(calloc(1, sizeof(*s)));

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

static void heap_push(struct sim *s, struct ev *e)
{
	size_t i = s->n_heap++;

	e->seq = s->seq++;
	if (s->n_heap > s->heap_cap) {
		s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 256;
		s->heap = must(realloc(s->heap, s->heap_cap * sizeof(*s->heap)));
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

static struct ev *ev_new(enum ev_kind kind, uint64_t at, const void *data, size_t len)
{
	struct ev *e = must(calloc(1, sizeof(*e) + len));

	e->kind = kind;
	e->at = at;
	e->len = len;
	if (len)
		memcpy(e->data, data, len);
	return e;
}

/* ---- topology ---- */

unsigned sim_nat_add(struct sim *s, const struct sim_nat_cfg *cfg)
{
	if (s->n_nats == SIM_NATS_MAX)
		abort();
	s->nats[s->n_nats] = must(malloc(sizeof(struct sim_nat)));
	sim_nat_init(s->nats[s->n_nats], cfg);
	return s->n_nats++;
}

unsigned sim_host_add(struct sim *s, const struct sim_ops *ops, void *self,
		      const struct sim_link *link)
{
	if (s->n_hosts == SIM_HOSTS_MAX)
		abort();
	s->hosts[s->n_hosts] = (struct sim_host){.ops = ops, .self = self, .link = *link};
	return s->n_hosts++;
}

void sim_addr_add(struct sim *s, unsigned host, const struct ipaddr *ip, unsigned nat)
{
	struct sim_host *h = &s->hosts[host];

	if (h->n_addrs == SIM_ADDRS_MAX)
		abort();
	h->addrs[h->n_addrs++] = (struct sim_addr){.ip = *ip, .nat = nat};
}

void sim_addr_del(struct sim *s, unsigned host, const struct ipaddr *ip)
{
	struct sim_host *h = &s->hosts[host];

	for (unsigned i = 0; i < h->n_addrs; i++)
		if (ipaddr_eq(&h->addrs[i].ip, ip)) {
			h->addrs[i] = h->addrs[--h->n_addrs];
			return;
		}
}

void sim_link_set(struct sim *s, unsigned host, const struct sim_link *link)
{
	s->hosts[host].link = *link;
}

void sim_block(struct sim *s, const struct ipaddr *a, const struct ipaddr *b, bool blocked)
{
	for (unsigned i = 0; i < s->n_blocks; i++)
		if (ipaddr_eq(&s->blocks[i].a, a) && ipaddr_eq(&s->blocks[i].b, b)) {
			if (!blocked)
				s->blocks[i] = s->blocks[--s->n_blocks];
			return;
		}
	if (!blocked)
		return;
	if (s->n_blocks == BLOCKS_MAX)
		abort();
	s->blocks[s->n_blocks].a = *a;
	s->blocks[s->n_blocks++].b = *b;
}

static bool blocked(const struct sim *s, const struct ipaddr *a, const struct ipaddr *b)
{
	for (unsigned i = 0; i < s->n_blocks; i++)
		if ((ipaddr_eq(&s->blocks[i].a, a) && ipaddr_eq(&s->blocks[i].b, b)) ||
		    (ipaddr_eq(&s->blocks[i].a, b) && ipaddr_eq(&s->blocks[i].b, a)))
			return true;
	return false;
}

static const struct sim_addr *host_addr(const struct sim_host *h, const struct ipaddr *ip)
{
	for (unsigned i = 0; i < h->n_addrs; i++)
		if (ipaddr_eq(&h->addrs[i].ip, ip))
			return &h->addrs[i];
	return NULL;
}

/* The host that has ip in the realm of nat (SIM_NO_NAT: the public one). */
static bool realm_find(const struct sim *s, unsigned nat, const struct ipaddr *ip, unsigned *host)
{
	for (unsigned i = 0; i < s->n_hosts; i++) {
		const struct sim_addr *a = host_addr(&s->hosts[i], ip);

		if (a && a->nat == nat) {
			*host = i;
			return true;
		}
	}
	return false;
}

/* From a source in the public realm to the host behind dst. */
static bool route_public(struct sim *s, const struct endpoint *src, struct endpoint *dst,
			 unsigned *host)
{
	if (realm_find(s, SIM_NO_NAT, &dst->ip, host))
		return true;
	for (unsigned i = 0; i < s->n_nats; i++) {
		struct endpoint inside;

		if (!ipaddr_eq(&s->nats[i]->cfg.public_ip, &dst->ip))
			continue;
		if (!sim_nat_in(s->nats[i], dst, src, &inside, s->now)) {
			s->stats.filtered++;
			return false;
		}
		*dst = inside;
		return realm_find(s, i, &inside.ip, host);
	}
	s->stats.unroutable++;
	return false;
}

/* Rewrites src and dst to what the receiver sees. */
static bool route(struct sim *s, unsigned from, struct endpoint *src, struct endpoint *dst,
		  unsigned *host)
{
	const struct sim_addr *a = host_addr(&s->hosts[from], &src->ip);
	struct sim_nat *nat;

	if (!a || src->ip.family != dst->ip.family) {
		s->stats.unroutable++;
		return false;
	}
	if (blocked(s, &src->ip, &dst->ip)) {
		s->stats.blocked++;
		return false;
	}
	if (a->nat == SIM_NO_NAT)
		return route_public(s, src, dst, host);
	if (realm_find(s, a->nat, &dst->ip, host))
		return true;
	nat = s->nats[a->nat];
	if (ipaddr_eq(&dst->ip, &nat->cfg.public_ip) && !nat->cfg.hairpin) {
		s->stats.filtered++;
		return false;
	}
	return sim_nat_out(nat, src, dst, src, s->now) && route_public(s, src, dst, host);
}

bool sim_mapped(struct sim *s, unsigned host, const struct endpoint *local, struct endpoint *out)
{
	struct endpoint server = {.ip = ipaddr_v4(198, 51, 100, 255), .port = 3478};
	const struct sim_addr *a = host_addr(&s->hosts[host], &local->ip);

	if (!a)
		return false;
	*out = *local;
	return a->nat == SIM_NO_NAT || sim_nat_out(s->nats[a->nat], local, &server, out, s->now);
}

/* ---- sending ---- */

static bool chance(struct sim *s, uint32_t ppm)
{
	return ppm && sim_rand(s, 1000000) < ppm;
}

static uint64_t latency(struct sim *s, const struct sim_link *l)
{
	uint64_t d = l->lat_min_ns;

	if (l->lat_max_ns > l->lat_min_ns)
		d += sim_rand(s, l->lat_max_ns - l->lat_min_ns + 1);
	if (chance(s, l->reorder_ppm)) {
		s->stats.reordered++;
		d += sim_rand(s, l->reorder_ns + 1);
	}
	return d;
}

static void dgram_send(struct sim *s, unsigned from, const struct sim_out *out)
{
	const struct sim_link *up = &s->hosts[from].link, *down;
	struct endpoint src = out->local, dst = out->remote;
	unsigned to = 0, copies = 1;

	s->stats.sent++;
	if (!route(s, from, &src, &dst, &to))
		return;
	down = &s->hosts[to].link;
	if ((up->mtu && out->len > up->mtu) || (down->mtu && out->len > down->mtu)) {
		s->stats.too_big++;
		return;
	}
	if (chance(s, up->loss_ppm) || chance(s, down->loss_ppm)) {
		s->stats.lost++;
		return;
	}
	if (chance(s, up->dup_ppm)) {
		s->stats.duplicated++;
		copies++;
	}
	while (copies--) {
		struct ev *e = ev_new(EV_DGRAM, s->now + latency(s, up) + latency(s, down),
				      out->buf, out->len);

		e->from = from;
		e->to = to;
		e->local = dst;
		e->remote = src;
		heap_push(s, e);
	}
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
	e = ev_new(EV_PORTAL, at, msg, len);
	e->from = from;
	e->to = to;
	heap_push(s, e);
}

void sim_at(struct sim *s, uint64_t at, void (*fn)(void *ctx, uint64_t now), void *ctx)
{
	struct ev *e = ev_new(EV_STEP, at, NULL, 0);

	e->fn = fn;
	e->ctx = ctx;
	heap_push(s, e);
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
			dgram_send(s, host, &out);
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
		if (!host_addr(h, &e->local.ip))
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
