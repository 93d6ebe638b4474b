/* SPDX-License-Identifier: Apache-2.0
 * Topology, routing through NATs, and what a link does to a datagram. See sim.h. */
#include <stdlib.h>

#include "tests/sim/sim_priv.h"

unsigned sim_nat_add(struct sim *s, const struct sim_nat_cfg *cfg)
{
	if (s->n_nats == SIM_NATS_MAX)
		abort();
	s->nats[s->n_nats] = sim_must(malloc(sizeof(struct sim_nat)));
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

void sim_cut(struct sim *s, unsigned a, unsigned b, bool cut)
{
	s->cut[a][b] = s->cut[b][a] = cut;
}

void sim_only_port(struct sim *s, unsigned host, uint16_t port)
{
	s->hosts[host].only_port = port;
}

bool sim_source(const struct sim *s, unsigned host, unsigned family, struct ipaddr *out)
{
	const struct sim_host *h = &s->hosts[host];

	for (unsigned i = 0; i < h->n_addrs; i++)
		if (h->addrs[i].ip.family == family) {
			*out = h->addrs[i].ip;
			return true;
		}
	return false;
}

static const struct sim_addr *host_addr(const struct sim_host *h, const struct ipaddr *ip)
{
	for (unsigned i = 0; i < h->n_addrs; i++)
		if (ipaddr_eq(&h->addrs[i].ip, ip))
			return &h->addrs[i];
	return NULL;
}

bool sim_host_has(const struct sim *s, unsigned host, const struct ipaddr *ip)
{
	return host_addr(&s->hosts[host], ip);
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

		if (s->nats[i]->cfg.transparent ? !realm_find(s, i, &dst->ip, host)
						: !ipaddr_eq(&s->nats[i]->cfg.public_ip, &dst->ip))
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

/* Rewrites src and dst to what the receiver sees. An address behind a NAT is no public one. */
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

void sim_dgram_send(struct sim *s, unsigned from, const struct sim_out *out)
{
	const struct sim_link *up = &s->hosts[from].link, *down;
	struct endpoint src = out->local, dst = out->remote;
	uint16_t only = s->hosts[from].only_port;
	unsigned to = 0, copies = 1;

	s->stats.sent++;
	if (!src.ip.family && !sim_source(s, from, dst.ip.family, &src.ip)) {
		s->stats.unroutable++;
		return;
	}
	if (only && dst.port != only) {
		s->stats.blocked++;
		return;
	}
	if (!route(s, from, &src, &dst, &to))
		return;
	only = s->hosts[to].only_port;
	if (s->cut[from][to] || (only && src.port != only)) {
		s->stats.blocked++;
		return;
	}
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
		struct ev *e = sim_ev_new(EV_DGRAM, s->now + latency(s, up) + latency(s, down),
					  out->buf, out->len);

		e->from = from;
		e->to = to;
		e->local = dst;
		e->remote = src;
		sim_ev_push(s, e);
	}
}
