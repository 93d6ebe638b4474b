/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots, lists, indices, and the choice of a port; see nat_table.h. */
#include "core/tunnel/nat_table.h"

#include <assert.h>
#include <string.h>

/* The four indices see different hashes of the same bytes. */
enum salt { SALT_PROXY = 1, SALT_INSIDE, SALT_OUTSIDE, SALT_TOMB };

static uint32_t key_hash(const struct nat *n, enum salt salt, const struct nat_key *k)
{
	return idx_hash(n->seed + salt, k, sizeof(*k));
}

uint8_t nat_kind_of(const struct ip_meta *m)
{
	switch ((enum ip_l4)m->l4) {
	case IP_L4_TCP:
		return NAT_TCP;
	case IP_L4_UDP:
		return NAT_UDP;
	case IP_L4_ICMP_ECHO:
		return NAT_ECHO;
	case IP_L4_OTHER:
	case IP_L4_ICMP_ERROR:
	case IP_L4_ICMP_OTHER:
		break;
	}
	return 0;
}

struct nat_key nat_key_of(uint32_t client, uint8_t kind, uint16_t port, const struct ipaddr *a)
{
	struct nat_key k = {.client = client, .port = port, .kind = kind, .family = a->family};

	memcpy(k.addr, a->b, sizeof(k.addr));
	return k;
}

static struct nat_key proxy_key(const struct nat_mapping *m)
{
	const struct ipaddr a = nat_mapping_proxy(m);

	return nat_key_of(m->client, 0, 0, &a);
}

static struct nat_key inside_key(const struct nat *n, const struct nat_session *s)
{
	const struct nat_mapping *m = &n->mem.mappings[s->mapping];
	const struct ipaddr a = nat_mapping_proxy(m);

	return nat_key_of(m->client, s->kind, s->inside, &a);
}

static struct nat_key outside_key(const struct nat *n, const struct nat_session *s)
{
	const struct ipaddr a = nat_session_real(n, s);

	return nat_key_of(n->mem.mappings[s->mapping].client, s->kind, s->outside, &a);
}

static struct nat_key tomb_key(const struct nat_tomb *t)
{
	struct nat_key k = {
		.client = t->client, .port = t->port, .kind = t->kind, .family = t->family};

	memcpy(k.addr, t->real, sizeof(k.addr));
	return k;
}

static bool key_eq(const struct nat_key *a, const struct nat_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

uint32_t nat_mapping_find(const struct nat *n, uint32_t client, const struct ipaddr *proxy)
{
	struct nat_key k = nat_key_of(client, 0, 0, proxy), have;
	uint32_t h = key_hash(n, SALT_PROXY, &k), pos = 0, i;

	while ((i = idx_next(&n->by_proxy, h, &pos)) != IDX_NONE) {
		have = proxy_key(&n->mem.mappings[i]);
		if (key_eq(&have, &k))
			return i;
	}
	return NAT_NONE;
}

uint32_t nat_inside_find(const struct nat *n, const struct nat_key *k)
{
	uint32_t h = key_hash(n, SALT_INSIDE, k), pos = 0, i;
	struct nat_key have;

	while ((i = idx_next(&n->by_inside, h, &pos)) != IDX_NONE) {
		have = inside_key(n, &n->mem.sessions[i]);
		if (key_eq(&have, k))
			return i;
	}
	return NAT_NONE;
}

uint32_t nat_outside_find(const struct nat *n, const struct nat_key *k)
{
	uint32_t h = key_hash(n, SALT_OUTSIDE, k), pos = 0, i;
	struct nat_key have;

	while ((i = idx_next(&n->by_outside, h, &pos)) != IDX_NONE) {
		have = outside_key(n, &n->mem.sessions[i]);
		if (key_eq(&have, k))
			return i;
	}
	return NAT_NONE;
}

uint32_t nat_tomb_find(const struct nat *n, const struct nat_key *k)
{
	uint32_t h = key_hash(n, SALT_TOMB, k), pos = 0, i;
	struct nat_key have;

	while ((i = idx_next(&n->by_tomb, h, &pos)) != IDX_NONE) {
		have = tomb_key(&n->mem.tombs[i]);
		if (key_eq(&have, k))
			return i;
	}
	return NAT_NONE;
}

/* ---- mappings ---- */

uint32_t nat_mapping_make(struct nat *n, uint32_t client, const struct ipaddr *proxy)
{
	struct nat_client *c = &n->mem.clients[client];
	uint32_t i = n->free_mapping;
	struct nat_mapping *m;
	struct nat_key k;

	if (i == NAT_NONE) {
		n->counters.mapping_table_full++;
		return NAT_NONE;
	}
	if (n->mem.client_mappings_max && c->mapping_count >= n->mem.client_mappings_max) {
		n->counters.mapping_share_full++;
		return NAT_NONE;
	}
	m = &n->mem.mappings[i];
	n->free_mapping = m->next;
	*m = (struct nat_mapping){.client = client,
				  .next = c->mappings,
				  .prev = NAT_NONE,
				  .sessions = NAT_NONE,
				  .family = proxy->family};
	memcpy(m->proxy, proxy->b, sizeof(m->proxy));
	if (c->mappings != NAT_NONE)
		n->mem.mappings[c->mappings].prev = i;
	c->mappings = i;
	c->mapping_count++;
	n->mapping_count++;
	k = proxy_key(m);
	idx_insert(&n->by_proxy, key_hash(n, SALT_PROXY, &k), i);
	return i;
}

void nat_mapping_free(struct nat *n, uint32_t i)
{
	struct nat_mapping *m = &n->mem.mappings[i];
	struct nat_client *c = &n->mem.clients[m->client];
	struct nat_key k = proxy_key(m);

	assert(m->family && m->sessions == NAT_NONE);
	idx_remove(&n->by_proxy, key_hash(n, SALT_PROXY, &k), i);
	if (m->prev == NAT_NONE)
		c->mappings = m->next;
	else
		n->mem.mappings[m->prev].next = m->next;
	if (m->next != NAT_NONE)
		n->mem.mappings[m->next].prev = m->prev;
	c->mapping_count--;
	n->mapping_count--;
	*m = (struct nat_mapping){.next = n->free_mapping};
	n->free_mapping = i;
}

/* ---- tombstones: a ring, with holes where a session took its outside back ---- */

void nat_tomb_remove(struct nat *n, uint32_t i)
{
	struct nat_tomb *t = &n->mem.tombs[i];
	struct nat_key k = tomb_key(t);

	idx_remove(&n->by_tomb, key_hash(n, SALT_TOMB, &k), i);
	*t = (struct nat_tomb){.at_ns = t->at_ns};
}

bool nat_tomb_pop(struct nat *n, uint64_t now, bool any)
{
	struct nat_tomb *t = &n->mem.tombs[n->tomb_first];

	if (!n->tomb_count || (t->kind && !any && time_since(t->at_ns, now) < NAT_TOMBSTONE_NS))
		return false;
	if (t->kind)
		nat_tomb_remove(n, n->tomb_first);
	n->tomb_first = n->tomb_first + 1 == n->mem.tomb_cap ? 0 : n->tomb_first + 1;
	n->tomb_count--;
	if (n->tomb_fresh > n->tomb_count)
		n->tomb_fresh = n->tomb_count;
	return true;
}

static void tomb_push(struct nat *n, const struct nat_key *k, uint64_t now)
{
	struct nat_tomb *t;
	uint32_t i;

	if (!n->mem.tomb_cap)
		return;
	if (n->tomb_count == n->mem.tomb_cap) {
		n->counters.tomb_evicted += n->mem.tombs[n->tomb_first].kind != 0;
		nat_tomb_pop(n, now, true);
	}
	i = (uint32_t)(((uint64_t)n->tomb_first + n->tomb_count) % n->mem.tomb_cap);
	t = &n->mem.tombs[i];
	*t = (struct nat_tomb){.at_ns = now,
			       .client = k->client,
			       .port = k->port,
			       .kind = k->kind,
			       .family = k->family};
	memcpy(t->real, k->addr, sizeof(t->real));
	idx_insert(&n->by_tomb, key_hash(n, SALT_TOMB, k), i);
	n->tomb_count++;
	n->tomb_fresh++;
}

/* Of a session that ended since the last sweep: the kernel may still translate for it. */
static bool tomb_is_fresh(const struct nat *n, uint32_t i)
{
	uint32_t at = i >= n->tomb_first ? i - n->tomb_first : i + n->mem.tomb_cap - n->tomb_first;

	return at >= n->tomb_count - n->tomb_fresh;
}

/* ---- sessions ---- */

/* The outside port for k, whose port is the inside one: the same number if it is free, else the
 * next higher ones, then from 1. False: none. */
static bool port_choose(struct nat *n, struct nat_key *k)
{
	const uint32_t tries = k->port ? 65535 : 65536;
	uint32_t tomb;

	for (uint32_t i = 0; i < tries; i++) {
		if (nat_outside_find(n, k) == NAT_NONE) {
			tomb = nat_tomb_find(n, k);
			if (tomb == NAT_NONE)
				return true;
			if (!tomb_is_fresh(n, tomb)) {
				nat_tomb_remove(n, tomb);
				return true;
			}
		}
		k->port = k->port == 65535 ? 1 : (uint16_t)(k->port + 1);
	}
	n->counters.ports_exhausted++;
	return false;
}

static void session_link(struct nat *n, uint32_t i)
{
	struct nat_session *s = &n->mem.sessions[i];
	struct nat_mapping *m = &n->mem.mappings[s->mapping];
	struct nat_key in = inside_key(n, s), out = outside_key(n, s);

	s->next = m->sessions;
	s->prev = NAT_NONE;
	if (m->sessions != NAT_NONE)
		n->mem.sessions[m->sessions].prev = i;
	m->sessions = i;
	idx_insert(&n->by_inside, key_hash(n, SALT_INSIDE, &in), i);
	idx_insert(&n->by_outside, key_hash(n, SALT_OUTSIDE, &out), i);
	n->mem.clients[m->client].session_count++;
	n->session_count++;
	if (i >= n->session_high)
		n->session_high = i + 1;
}

uint32_t nat_session_make(struct nat *n, uint32_t mapping, uint8_t kind, uint16_t inside,
			  uint64_t now)
{
	const struct nat_mapping *m = &n->mem.mappings[mapping];
	const struct ipaddr real = nat_mapping_real(m);
	struct nat_key out = nat_key_of(m->client, kind, inside, &real);
	uint32_t i = n->free_session;
	struct nat_session *s;

	if (i == NAT_NONE) {
		n->counters.session_table_full++;
		return NAT_NONE;
	}
	if (n->mem.client_sessions_max &&
	    n->mem.clients[m->client].session_count >= n->mem.client_sessions_max) {
		n->counters.session_share_full++;
		return NAT_NONE;
	}
	if (!port_choose(n, &out))
		return NAT_NONE;
	s = &n->mem.sessions[i];
	n->free_session = s->next;
	*s = (struct nat_session){.began_ns = now,
				  .last_out_ns = now,
				  .mapping = mapping,
				  .inside = inside,
				  .outside = out.port,
				  .kind = kind};
	memcpy(s->real, real.b, sizeof(s->real));
	session_link(n, i);
	n->counters.made++;
	n->counters.port_changed += out.port != inside;
	return i;
}

void nat_session_end(struct nat *n, uint32_t i, bool tomb, uint64_t now)
{
	struct nat_session *s = &n->mem.sessions[i];
	struct nat_mapping *m = &n->mem.mappings[s->mapping];
	struct nat_key in = inside_key(n, s), out = outside_key(n, s);

	assert(s->kind);
	idx_remove(&n->by_inside, key_hash(n, SALT_INSIDE, &in), i);
	idx_remove(&n->by_outside, key_hash(n, SALT_OUTSIDE, &out), i);
	if (s->prev == NAT_NONE)
		m->sessions = s->next;
	else
		n->mem.sessions[s->prev].next = s->next;
	if (s->next != NAT_NONE)
		n->mem.sessions[s->next].prev = s->prev;
	n->mem.clients[m->client].session_count--;
	n->session_count--;
	*s = (struct nat_session){.next = n->free_session};
	n->free_session = i;
	while (n->session_high && !n->mem.sessions[n->session_high - 1].kind)
		n->session_high--;
	if (tomb)
		tomb_push(n, &out, now);
	n->ended = true;
}

void nat_hit_fill(const struct nat *n, uint32_t i, bool to_resource, struct nat_hit *hit)
{
	const struct nat_session *s = &n->mem.sessions[i];
	const struct nat_mapping *m = &n->mem.mappings[s->mapping];

	*hit = (struct nat_hit){
		.nat = {.on = true, .port = to_resource ? s->outside : s->inside},
		.proxy = nat_mapping_proxy(m),
		.resource = m->resource,
		.domain = m->domain,
		.mapping = s->mapping,
		.session = i,
	};
	hit->nat.addr = to_resource ? nat_session_real(n, s) : hit->proxy;
}
