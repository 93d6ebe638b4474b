/* SPDX-License-Identifier: Apache-2.0
 *
 * Upstream answers kept for as long as their records live: NOERROR with records by the least TTL of
 * them, NXDOMAIN and empty answers by their SOA (RFC 2308 §5). Answers that live under
 * DNS_CACHE_TTL_MIN, are truncated, carry another code or are longer than DNS_CACHE_MSG_CAP are not
 * kept. What is handed out has its TTLs lowered by its age, the asker's id and the asker's spelling
 * of the name.
 *
 * Keyed by upstream, question and the flags that change an answer: two resolvers may disagree.
 * Bounded: four ways a set, what was used least recently gives way. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_CACHE_H
#define PENSTOCK_CORE_TUNNEL_DNS_CACHE_H
#include "base/time.h"
#include "codec/dns_msg.h"

#define DNS_CACHE_WAYS	       4
#define DNS_CACHE_MSG_CAP      DNS_UDP_CAP
#define DNS_CACHE_TTL_MIN      5     /* seconds */
#define DNS_CACHE_TTL_MAX      86400 /* what an upstream may ask of us at most */
#define DNS_CACHE_NEGATIVE_MAX 3600

struct dns_cached {
	struct endpoint upstream;
	struct dns_question q;		       /* name in lower case */
	uint64_t stored_ns, until_ns, used_ns; /* until 0: free */
	uint16_t len;
	uint8_t flags;
	uint8_t msg[DNS_CACHE_MSG_CAP];
};

struct dns_cache {
	struct dns_cached *list; /* the caller's memory */
	uint32_t sets;		 /* of DNS_CACHE_WAYS each */
	uint64_t seed;
	uint64_t hits, misses, stored, evicted;
};

/* cap: a multiple of DNS_CACHE_WAYS; 0 is a cache that keeps nothing. */
void dns_cache_init(struct dns_cache *c, struct dns_cached *list, uint32_t cap, uint64_t seed);
void dns_cache_flush(struct dns_cache *c);
/* How long an answer may be kept, in seconds; 0: not at all. */
uint32_t dns_cache_ttl(struct dns_msg *m);
/* A checked answer to q that came from upstream. */
void dns_cache_put(struct dns_cache *c, const struct endpoint *upstream, const struct dns_query *q,
		   struct dns_msg *m, uint64_t now);
/* The answer for q into out (DNS_CACHE_MSG_CAP bytes); its length, 0: none. */
size_t dns_cache_get(struct dns_cache *c, const struct endpoint *upstream,
		     const struct dns_query *q, uint8_t *out, uint64_t now);
#endif
