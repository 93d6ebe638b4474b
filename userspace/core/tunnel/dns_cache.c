/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of upstream answers; contracts in dns_cache.h. */
#include "core/tunnel/dns_cache.h"

#include <string.h>
#include "base/bytes.h"
#include "base/idx.h"

void dns_cache_init(struct dns_cache *c, struct dns_cached *list, uint32_t cap, uint64_t seed)
{
	*c = (struct dns_cache){.list = list, .sets = cap / DNS_CACHE_WAYS, .seed = seed};
	dns_cache_flush(c);
}

void dns_cache_flush(struct dns_cache *c)
{
	for (uint32_t i = 0; i < c->sets * DNS_CACHE_WAYS; i++)
		c->list[i].until_ns = 0;
}

/* What of a query besides its question an answer may depend on. */
static uint8_t flags_of(const struct dns_query *q)
{
	return (uint8_t)(q->rd | q->ad << 1 | q->cd << 2 | q->edns << 3 | q->dnssec_ok << 4);
}

/* A TTL with the top bit set counts as 0 (RFC 2181 §8). */
static uint32_t ttl_of(const struct dns_record *r)
{
	return r->ttl > INT32_MAX ? 0 : r->ttl;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t dns_cache_ttl(struct dns_msg *m)
{
	bool negative = m->rcode == DNS_NXDOMAIN || !m->counts[DNS_ANSWER], soa = false;
	uint32_t ttl = negative ? DNS_CACHE_NEGATIVE_MAX : DNS_CACHE_TTL_MAX;
	struct dns_record r;

	if (m->tc || (m->rcode != DNS_NOERROR && m->rcode != DNS_NXDOMAIN))
		return 0;
	dns_msg_rewind(m);
	while (dns_msg_next(m, &r)) {
		if (r.type == DNS_TYPE_OPT) {
			if (r.ttl >> 24) /* the upper half of the code: not what it seemed */
				return 0;
			continue;
		}
		ttl = min_u32(ttl, ttl_of(&r));
		if (r.section == DNS_AUTHORITY && r.type == DNS_TYPE_SOA) {
			soa = true;
			ttl = min_u32(ttl, dns_record_soa_minimum(&r));
		}
	}
	dns_msg_rewind(m);
	return (negative && !soa) || ttl < DNS_CACHE_TTL_MIN ? 0 : ttl;
}

static uint32_t hash_of(const struct dns_cache *c, const struct endpoint *upstream,
			const struct dns_question *q, uint8_t flags)
{
	uint8_t key[sizeof(upstream->ip.b) + 7 + DNS_NAME_CAP];
	struct wbuf w = wbuf_init(key, sizeof(key));

	wbuf_put(&w, upstream->ip.b, sizeof(upstream->ip.b));
	wbuf_be16(&w, upstream->port);
	wbuf_be16(&w, q->type);
	wbuf_be16(&w, q->klass);
	wbuf_u8(&w, flags);
	wbuf_put(&w, q->name.b, q->name.len);
	return idx_hash(c->seed, key, wbuf_len(&w));
}

static bool is_it(const struct dns_cached *e, const struct endpoint *upstream,
		  const struct dns_question *q, uint8_t flags)
{
	return e->until_ns && e->flags == flags && endpoint_eq(&e->upstream, upstream) &&
	       dns_question_eq(&e->q, q);
}

/* The set a question belongs to; *q is it in lower case. */
static struct dns_cached *set_of(const struct dns_cache *c, const struct endpoint *upstream,
				 const struct dns_query *query, struct dns_question *q)
{
	*q = query->q;
	dns_name_lower(&q->name);
	return &c->list[hash_of(c, upstream, q, flags_of(query)) % c->sets * DNS_CACHE_WAYS];
}

/* Where a new answer goes: over its older self, what is free or over, or used least recently. */
static struct dns_cached *place(struct dns_cache *c, struct dns_cached *set,
				const struct endpoint *upstream, const struct dns_question *q,
				uint8_t flags, uint64_t now)
{
	struct dns_cached *best = &set[0];

	for (unsigned i = 0; i < DNS_CACHE_WAYS; i++)
		if (is_it(&set[i], upstream, q, flags))
			return &set[i];
	for (unsigned i = 0; i < DNS_CACHE_WAYS; i++) {
		if (set[i].until_ns <= now)
			return &set[i];
		if (set[i].used_ns < best->used_ns)
			best = &set[i];
	}
	c->evicted++;
	return best;
}

void dns_cache_put(struct dns_cache *c, const struct endpoint *upstream, const struct dns_query *q,
		   struct dns_msg *m, uint64_t now)
{
	uint32_t ttl = dns_cache_ttl(m);
	struct dns_question key;
	struct dns_cached *set, *e;

	if (!ttl || !c->sets || m->len > DNS_CACHE_MSG_CAP)
		return;
	set = set_of(c, upstream, q, &key);
	e = place(c, set, upstream, &key, flags_of(q), now);
	e->upstream = *upstream;
	e->q = key;
	e->flags = flags_of(q);
	e->stored_ns = e->used_ns = now;
	e->until_ns = time_add(now, ttl * NS_PER_SEC);
	e->len = (uint16_t)m->len;
	memcpy(e->msg, m->p, m->len);
	c->stored++;
}

/* Lower every TTL of a checked message by its age. */
static void message_age(uint8_t *p, size_t len, uint32_t seconds)
{
	struct dns_record r;
	struct dns_msg m;

	if (dns_msg_open(p, len, &m) != DNS_OK)
		return;
	while (dns_msg_next(&m, &r))
		if (r.type != DNS_TYPE_OPT)
			be32_put(p + r.ttl_off, r.ttl > seconds ? r.ttl - seconds : 0);
}

size_t dns_cache_get(struct dns_cache *c, const struct endpoint *upstream,
		     const struct dns_query *q, uint8_t *out, uint64_t now)
{
	struct dns_question key;
	struct dns_cached *set;

	set = c->sets ? set_of(c, upstream, q, &key) : NULL;
	for (unsigned i = 0; set && i < DNS_CACHE_WAYS; i++) {
		struct dns_cached *e = &set[i];

		if (!is_it(e, upstream, &key, flags_of(q)) || time_reached(e->until_ns, now))
			continue;
		c->hits++;
		e->used_ns = now;
		memcpy(out, e->msg, e->len);
		message_age(out, e->len, (uint32_t)(time_since(e->stored_ns, now) / NS_PER_SEC));
		dns_msg_set_id(out, q->id);
		dns_msg_set_name_case(out, &q->q.name);
		return e->len;
	}
	c->misses++;
	return 0;
}
