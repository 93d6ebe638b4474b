/* SPDX-License-Identifier: Apache-2.0
 *
 * Mappings as they are set and dropped, sessions as packets make, find and outlive them; contracts
 * in nat.h, tables in nat_table.c. */
#include "core/tunnel/nat.h"

#include <errno.h>
#include <string.h>
#include "core/tunnel/nat_table.h"

void nat_init(struct nat *n, const struct nat_mem *mem, uint64_t seed)
{
	*n = (struct nat){.mem = *mem,
			  .seed = seed,
			  .free_mapping = NAT_NONE,
			  .free_session = NAT_NONE,
			  .due_ns = TIME_NEVER};
	for (uint32_t i = 0; i < mem->client_cap; i++)
		mem->clients[i] = (struct nat_client){.mappings = NAT_NONE};
	for (uint32_t i = mem->mapping_cap; i-- > 0; n->free_mapping = i)
		mem->mappings[i] = (struct nat_mapping){.next = n->free_mapping};
	for (uint32_t i = mem->session_cap; i-- > 0; n->free_session = i)
		mem->sessions[i] = (struct nat_session){.next = n->free_session};
	for (uint32_t i = 0; i < mem->tomb_cap; i++)
		mem->tombs[i] = (struct nat_tomb){0};
	idx_init(&n->by_proxy, mem->mapping_cells, idx_cap_for(mem->mapping_cap));
	idx_init(&n->by_inside, mem->inside_cells, idx_cap_for(mem->session_cap));
	idx_init(&n->by_outside, mem->outside_cells, idx_cap_for(mem->session_cap));
	idx_init(&n->by_tomb, mem->tomb_cells, idx_cap_for(mem->tomb_cap));
}

/* ---- mappings ---- */

bool nat_real_usable(const struct ipaddr *a)
{
	return !a->family ||
	       (!tunnel_in_reserved_range(a) && !ipaddr_is_loopback(a) &&
		!ipaddr_is_link_local(a) && !ipaddr_is_multicast(a) && !ipaddr_is_unspecified(a));
}

/* True: there were some. */
static bool end_sessions(struct nat *n, uint32_t mapping, bool tomb, uint64_t now)
{
	const struct nat_mapping *m = &n->mem.mappings[mapping];
	bool any = m->sessions != NAT_NONE;

	while (m->sessions != NAT_NONE)
		nat_session_end(n, m->sessions, tomb, now);
	return any;
}

static void mapping_drop(struct nat *n, uint32_t mapping, bool tomb, uint64_t now)
{
	end_sessions(n, mapping, tomb, now);
	nat_mapping_free(n, mapping);
}

int nat_translate_set(struct nat *n, uint32_t client, const struct ipaddr *proxy,
		      const struct ipaddr *real, uint32_t resource, uint32_t domain, uint64_t now)
{
	struct nat_mapping *m;
	int ended = 0;
	uint32_t i;

	if (client >= n->mem.client_cap || !tunnel_in_proxy_range(proxy) || !nat_real_usable(real))
		return -EINVAL;
	i = nat_mapping_find(n, client, proxy);
	if (i == NAT_NONE)
		i = nat_mapping_make(n, client, proxy);
	else if (n->mem.mappings[i].domain != domain)
		ended = end_sessions(n, i, true, now);
	if (i == NAT_NONE)
		return -ENOSPC;
	m = &n->mem.mappings[i];
	m->resource = resource;
	m->domain = domain;
	m->real_family = real->family;
	memcpy(m->real, real->b, sizeof(m->real));
	return ended;
}

void nat_proxy_drop(struct nat *n, uint32_t client, const struct ipaddr *proxy, uint64_t now)
{
	uint32_t i = nat_mapping_find(n, client, proxy);

	if (i != NAT_NONE)
		mapping_drop(n, i, true, now);
}

void nat_resource_drop(struct nat *n, uint32_t client, uint32_t resource, uint64_t now)
{
	uint32_t i = client < n->mem.client_cap ? n->mem.clients[client].mappings : NAT_NONE, next;

	for (; i != NAT_NONE; i = next) {
		next = n->mem.mappings[i].next;
		if (n->mem.mappings[i].resource == resource)
			mapping_drop(n, i, true, now);
	}
}

void nat_client_drop(struct nat *n, uint32_t client)
{
	if (client >= n->mem.client_cap)
		return;
	while (n->mem.clients[client].mappings != NAT_NONE)
		mapping_drop(n, n->mem.clients[client].mappings, false, 0);
	for (uint32_t i = 0; n->tomb_count && i < n->mem.tomb_cap; i++)
		if (n->mem.tombs[i].kind && n->mem.tombs[i].client == client)
			nat_tomb_remove(n, i);
}

bool nat_lookup(const struct nat *n, uint32_t client, const struct ipaddr *proxy,
		struct nat_hit *hit)
{
	uint32_t i = nat_mapping_find(n, client, proxy);

	if (i == NAT_NONE)
		return false;
	*hit = (struct nat_hit){.proxy = *proxy,
				.resource = n->mem.mappings[i].resource,
				.domain = n->mem.mappings[i].domain,
				.mapping = i,
				.session = NAT_NONE};
	return true;
}

/* ---- sessions ---- */

/* A connection that begins where another has just ended. */
static bool begins_anew(const struct nat_session *s, const struct ip_meta *m)
{
	return m->l4 == IP_L4_TCP && nat_session_is_closed(s) &&
	       (m->tcp_flags & (IP_TCP_SYN | IP_TCP_ACK)) == IP_TCP_SYN;
}

static bool real_is_current(const struct nat *n, const struct nat_session *s)
{
	const struct nat_mapping *m = &n->mem.mappings[s->mapping];

	return m->real_family == m->family && !memcmp(m->real, s->real, sizeof(m->real));
}

/* What packet m, with the far port given, does to the session's life. */
static void session_note(struct nat *n, struct nat_session *s, const struct ip_meta *m,
			 uint16_t far, bool out)
{
	uint64_t end;

	if (far != s->far)
		s->flags |= NAT_S_SHARED;
	if (m->tcp_flags & IP_TCP_RST)
		s->flags |= NAT_S_RST;
	if (m->tcp_flags & IP_TCP_FIN)
		s->flags |= out ? NAT_S_FIN_OUT : NAT_S_FIN_IN;
	end = nat_session_deadline(s);
	if (end < n->due_ns)
		n->due_ns = end;
}

enum nat_out nat_out(struct nat *n, uint32_t client, const struct ip_meta *m, struct nat_hit *hit,
		     uint64_t now)
{
	uint32_t mapping = nat_mapping_find(n, client, &m->dst), i;
	uint8_t kind = nat_kind_of(m);
	uint16_t port = kind == NAT_ECHO ? m->icmp_id : m->sport;
	struct nat_key k = nat_key_of(client, kind, port, &m->dst);
	struct nat_session *s;

	if (mapping == NAT_NONE)
		return NAT_OUT_NO_MAPPING;
	if (!kind)
		return NAT_OUT_OTHER;
	i = nat_inside_find(n, &k);
	if (i != NAT_NONE && begins_anew(&n->mem.sessions[i], m)) {
		n->mem.sessions[i].flags = 0;
		n->mem.sessions[i].far = m->dport;
		n->mem.sessions[i].last_in_ns = 0;
		n->mem.sessions[i].began_ns = now;
		if (!real_is_current(n, &n->mem.sessions[i])) {
			nat_session_end(n, i, true, now);
			i = NAT_NONE;
		}
	}
	if (i == NAT_NONE) {
		if (n->mem.mappings[mapping].real_family != m->dst.family)
			return NAT_OUT_UNREACHABLE;
		i = nat_session_make(n, mapping, kind, port, now);
		if (i == NAT_NONE)
			return NAT_OUT_EXHAUSTED;
		n->mem.sessions[i].far = m->dport;
	}
	s = &n->mem.sessions[i];
	s->last_out_ns = now;
	session_note(n, s, m, m->dport, true);
	nat_hit_fill(n, i, true, hit);
	return NAT_OUT_OK;
}

static struct nat_key outside_of(uint32_t client, const struct ip_meta *m, const struct ipaddr *far,
				 uint16_t port)
{
	uint8_t kind = nat_kind_of(m);

	return nat_key_of(client, kind, kind == NAT_ECHO ? m->icmp_id : port, far);
}

void nat_direct_out(struct nat *n, uint32_t client, const struct ip_meta *m)
{
	struct nat_key k = outside_of(client, m, &m->dst, m->sport);
	uint32_t i = k.kind && n->tomb_count ? nat_tomb_find(n, &k) : NAT_NONE;

	if (i != NAT_NONE)
		nat_tomb_remove(n, i);
}

enum nat_in nat_in_look(const struct nat *n, uint32_t client, const struct ip_meta *m,
			struct nat_hit *hit)
{
	struct nat_key k = outside_of(client, m, &m->src, m->dport);
	uint32_t i;

	if (!k.kind)
		return NAT_IN_NONE;
	i = nat_outside_find(n, &k);
	if (i == NAT_NONE)
		return nat_tomb_find(n, &k) == NAT_NONE ? NAT_IN_NONE : NAT_IN_EXPIRED;
	nat_hit_fill(n, i, false, hit);
	return NAT_IN_OK;
}

void nat_in_passed(struct nat *n, uint32_t session, const struct ip_meta *m, uint64_t now)
{
	struct nat_session *s = &n->mem.sessions[session];

	s->last_in_ns = now;
	session_note(n, s, m, m->sport, false);
}

enum nat_in nat_in(struct nat *n, uint32_t client, const struct ip_meta *m, struct nat_hit *hit,
		   uint64_t now)
{
	enum nat_in r = nat_in_look(n, client, m, hit);

	if (r == NAT_IN_OK)
		nat_in_passed(n, hit->session, m, now);
	return r;
}
