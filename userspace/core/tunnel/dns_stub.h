/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's stub resolver: what becomes of one query. It answers for the names of DNS resources
 * with proxy addresses, passes everything else on to the upstream its sentinel stands for, and SRV
 * and TXT of resources to their gateway's resolver. It owns no socket: actions say what to send.
 *
 * In this order (spec tunnel §1.5):
 *     use-application-dns.net, any type     NXDOMAIN
 *     opcode other than QUERY, AXFR, IXFR   NOTIMP (what is passed on is built anew from the
 * question) A, AAAA of a resource                 its proxy addresses of that family, TTL 1; maybe
 * none SRV, TXT of a resource                in site HTTPS of a resource                   empty:
 * applications fall back to A and AAAA PTR of a proxy address in use         the name anything else
 * the upstream, cached
 *
 * Invariants
 *  - every query that is passed on ends once: answer, SERVFAIL (time, failure, no room), or without
 *    a word because its sentinel or its connection is gone
 *  - no upstream answer with an address of the tunnel's own ranges reaches an application: it could
 *    point a foreign name at what a resource's name was given (rebinding)
 *  - queries leave under an id of our own and without the application's EDNS options
 *
 * Source: spec tunnel §1.3–1.8, §6.3. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_STUB_H
#define PENSTOCK_CORE_TUNNEL_DNS_STUB_H
#include "core/tunnel/dns_cache.h"
#include "core/tunnel/dns_names.h"
#include "core/tunnel/dns_pattern.h"
#include "core/tunnel/dns_pending.h"
#include "core/tunnel/dns_sentinel.h"
#include "crypto/rng.h"

#define DNS_STUB_TTL 1 /* seconds, of the answers made here */

struct dns_stub_mem {
	struct dns_pattern *patterns;
	struct dns_assigned *names;
	struct idx_cell *cells; /* DNS_NAMES_CELLS(name_cap) */
	struct dns_pending *pending;
	struct dns_cached *cached;
	uint32_t pattern_cap, name_cap, cell_cap, pending_cap, cached_cap;
};

struct dns_stub_counters {
	uint64_t queries, malformed[DNS_VERDICT_COUNT];
	uint64_t canary, proxied, empty, ptr, in_site, forwarded, cached, not_implemented;
	uint64_t duplicates;  /* the same query while it waits: sent again, not queued again */
	uint64_t overflow;    /* SERVFAIL: too many wait */
	uint64_t names_full;  /* SERVFAIL: no proxy address left */
	uint64_t no_upstream; /* SERVFAIL: nothing behind that sentinel */
	uint64_t local_only;  /* LLMNR for what is not ours: no answer */
	uint64_t answered, truncated, timeouts, failed, orphaned;
	uint64_t late, bad_source, bad_id, bad_question, bad_answer[DNS_VERDICT_COUNT];
	uint64_t rebinding; /* SERVFAIL in place of an answer into the tunnel's ranges */
};

struct dns_stub {
	struct dns_patterns patterns;
	struct dns_names names;
	struct dns_sentinels sentinels;
	struct dns_pendings pending;
	struct dns_cache cache;
	struct rng rng;
	struct dns_stub_counters counters;
	uint8_t buf[DNS_MSG_CAP]; /* what the last action says */
};

enum dns_act {
	DNS_ACT_NONE,	  /* nothing to send */
	DNS_ACT_ANSWER,	  /* msg to asker, from its sentinel, port 53 */
	DNS_ACT_UPSTREAM, /* msg to upstream from a socket of its own that goes by token */
	DNS_ACT_IN_SITE,  /* waits for dns_stub_in_site: the resource's gateway, then its address */
};

struct dns_action {
	enum dns_act kind;
	bool ended;	 /* the query of token is over: close its socket, if there is one */
	bool again;	 /* UPSTREAM: its socket exists, send once more: the application did, too */
	bool tcp;	 /* UPSTREAM: by TCP */
	bool via_tunnel; /* UPSTREAM: as traffic of the tunnel device, not around it */
	const uint8_t *msg; /* until the next call */
	size_t len;
	uint64_t token;		  /* UPSTREAM, IN_SITE, ended */
	struct endpoint upstream; /* UPSTREAM */
	struct dns_asker asker;	  /* ANSWER, ended */
	struct uuid resource;	  /* IN_SITE, and answers with proxy addresses */
	uint32_t name; /* A or AAAA of a resource was asked: slot in names, else DNS_NAMES_NONE */
};

/* seed: 32 bytes of entropy. */
void dns_stub_init(struct dns_stub *s, const struct dns_stub_mem *mem, const uint8_t seed[32]);

/* Active DNS resources, one at a time; the cache is emptied. Errors as dns_patterns_add. */
int dns_stub_add_resource(struct dns_stub *s, const struct uuid *id, const char *pattern,
			  enum dns_stack stack);
void dns_stub_remove_resource(struct dns_stub *s, const struct uuid *id);
/* As dns_sentinels_update; on a change the cache is emptied and what waited for upstreams ends
 * without an answer. */
bool dns_stub_set_upstreams(struct dns_stub *s, const struct endpoint *portal,
			    uint32_t portal_count, const struct endpoint *system,
			    uint32_t system_count);
/* After upstreams or resources changed: whether active CIDR resources (or the Internet resource)
 * cover upstream i of sentinels.list. When that changes its way the cache is emptied. */
void dns_stub_set_covered(struct dns_stub *s, uint32_t i, bool internet_active, bool cidr_covers);

/* A query from an application (for TCP: without the length in front). Kinds NONE, ANSWER, UPSTREAM,
 * IN_SITE. A malformed query is counted and not answered. */
void dns_stub_query(struct dns_stub *s, const struct dns_asker *who, const uint8_t *msg, size_t len,
		    struct dns_action *out, uint64_t now);
/* A gateway serves the resource of an in-site query now: UPSTREAM with msg; NONE: it ended
 * meanwhile. gateway is its tunnel address of the family of asker.sentinel. */
void dns_stub_in_site(struct dns_stub *s, uint64_t token, const struct ipaddr *gateway,
		      struct dns_action *out);
/* In-site queries of a resource that are held: the first one after token (0: from the start);
 * 0: no more. */
uint64_t dns_stub_held_next(const struct dns_stub *s, const struct uuid *resource, uint64_t token);
/* What the socket of a token received. ANSWER and ended, or NONE: not believed, wait on. */
void dns_stub_answer(struct dns_stub *s, uint64_t token, const struct endpoint *src,
		     const uint8_t *msg, size_t len, struct dns_action *out, uint64_t now);
/* The socket of a token failed (refused, connection lost, no gateway): SERVFAIL. */
void dns_stub_failed(struct dns_stub *s, uint64_t token, struct dns_action *out);
/* An application's TCP connection is gone: its queries end, one a call; false: no more. */
bool dns_stub_conn_gone(struct dns_stub *s, uint64_t conn, struct dns_action *out);
/* The network changed: everything that waits ends with SERVFAIL at the next timeouts. */
void dns_stub_reset(struct dns_stub *s, uint64_t now);

struct deadline dns_stub_deadline(const struct dns_stub *s);
/* What ended by time, one a call; false: no more. */
bool dns_stub_timeout(struct dns_stub *s, struct dns_action *out, uint64_t now);

/* The name and active resource a packet to this address means; NULL: none. */
const struct dns_assigned *dns_stub_route(const struct dns_stub *s, const struct ipaddr *dst);
#endif
