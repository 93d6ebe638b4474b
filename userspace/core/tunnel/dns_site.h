/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's resolver for its clients: what becomes of a query to port 53535 of its tunnel
 * address. SRV and TXT of a name whose resource the client holds go to the name servers of the
 * gateway's host; nothing else is looked up. It owns no socket: actions say what to send.
 *
 * In this order:
 *     malformed                                  no answer
 *     not from a client's tunnel address         REFUSED
 *     opcode other than QUERY                    NOTIMP
 *     type other than SRV, TXT; class not IN     REFUSED
 *     no live DNS resource of the client has it  REFUSED
 *     waits already                              sent again (UDP)
 *     no server, no room, its share is used up   SERVFAIL
 *     else                                       asked; another server after DNS_SITE_TRY_NS
 *
 * Why two types: that is all a client asks here. It answers A and AAAA itself and never learns
 * where a name lives; every type that carries addresses (A, AAAA, HTTPS, SVCB, ANY) or the layout
 * of a zone (NS, SOA, AXFR) would tell it. For the same reason an answer loses its additional
 * section, which is where SRV has the addresses of its targets: a client asks for those names and
 * gets proxy addresses.
 *
 * Invariants
 *  - what is looked up is the client's to ask when the answer leaves, too: after revocation or
 *    expiry it gets REFUSED, and nothing if its address is another's by then
 *  - every query that is passed on ends once: answer, SERVFAIL, REFUSED, or without a word because
 *    its connection or its client is gone
 *  - no answer with an address of the tunnel's own ranges leaves (core/tunnel/dns_rebind)
 *  - at most pending_cap wait, DNS_SITE_CLIENT_MAX of one client; none longer than DNS_SITE_TRIES
 *    times DNS_SITE_TRY_NS
 *
 * Source: spec tunnel §1.7, §2.4, §2.8. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_SITE_H
#define PENSTOCK_CORE_TUNNEL_DNS_SITE_H
#include "core/tunnel/dns_pending.h"
#include "core/tunnel/gateway.h"
#include "crypto/rng.h"

#define DNS_SITE_SERVERS    3 /* resolv.conf(5) has no more */
#define DNS_SITE_TRIES	    3
#define DNS_SITE_TRY_NS	    (1700 * NS_PER_MS) /* all tries together: a little over 5 s */
#define DNS_SITE_CLIENT_MAX 100		       /* one client's of what waits */

/* Beside each pending entry. */
struct dns_site_try {
	struct uuid client;
	uint32_t server; /* index of the server asked last */
	uint32_t tries;
};

struct dns_site_mem {
	struct dns_pending *pending;
	struct dns_site_try *tries; /* pending_cap, too */
	uint32_t pending_cap;
};

struct dns_site_counters {
	uint64_t queries, malformed[DNS_VERDICT_COUNT];
	uint64_t foreign, wrong_type, not_granted; /* REFUSED at once */
	uint64_t withdrawn;			   /* not the client's any more when it ended */
	uint64_t not_implemented;
	uint64_t asked, duplicates;
	uint64_t share_full, overflow, no_server; /* SERVFAIL at once */
	uint64_t retried;			  /* further tries */
	uint64_t answered, truncated, timeouts, failed, orphaned;
	uint64_t stripped; /* answered without an additional section that was there */
	uint64_t disbelieved[DNS_BELIEF_COUNT], bad_answer[DNS_VERDICT_COUNT];
	uint64_t rebinding; /* SERVFAIL in place of it */
};

struct dns_site {
	struct dns_pendings pending;
	struct dns_site_try *tries;
	struct endpoint servers[DNS_SITE_SERVERS];
	uint32_t server_count;
	uint32_t first; /* server a new query goes to; another one once it was silent or away */
	struct rng rng;
	struct dns_site_counters counters;
	uint8_t buf[DNS_MSG_CAP]; /* what the last action says */
};

enum dns_site_act {
	DNS_SITE_NONE,	 /* nothing to send */
	DNS_SITE_ANSWER, /* msg to asker, from the address it asked */
	DNS_SITE_ASK,	 /* msg to server, from a socket that goes by token */
};

struct dns_site_action {
	enum dns_site_act kind;
	bool ended; /* the query of token is over: close its socket, if there is one */
	bool again; /* ASK: by the socket it has; else by a new one in the place of any it has */
	bool tcp;   /* ASK: by TCP */
	const uint8_t *msg; /* until the next call */
	size_t len;
	uint64_t token;		/* ASK, ended */
	struct endpoint server; /* ASK */
	struct dns_asker asker; /* ANSWER */
};

/* seed: 32 bytes of entropy. */
void dns_site_init(struct dns_site *s, const struct dns_site_mem *mem, const uint8_t seed[32]);
/* The name servers of the host, in order; beyond DNS_SITE_SERVERS they are not used. What waits
 * goes on; its next try knows the new ones. */
void dns_site_set_servers(struct dns_site *s, const struct endpoint *list, uint32_t count);

/* In all of these g is the gateway's policy at that moment, and *out is always set. */

/* A query from the tunnel (for TCP: without the length in front). NONE: it will not be answered. */
void dns_site_query(struct dns_site *s, const struct tgw *g, const struct dns_asker *who,
		    const uint8_t *msg, size_t len, uint64_t now_unix, struct dns_site_action *out,
		    uint64_t now);
/* What the socket of a token received. NONE and not ended: not believed, wait on. */
void dns_site_answer(struct dns_site *s, const struct tgw *g, uint64_t token,
		     const struct endpoint *src, const uint8_t *msg, size_t len, uint64_t now_unix,
		     struct dns_site_action *out, uint64_t now);
/* The socket of a token failed and is gone: the next server, or SERVFAIL. */
void dns_site_failed(struct dns_site *s, const struct tgw *g, uint64_t token, uint64_t now_unix,
		     struct dns_site_action *out, uint64_t now);
/* A client's TCP connection is gone: its queries end, one a call; false: no more. */
bool dns_site_conn_gone(struct dns_site *s, uint64_t conn, struct dns_site_action *out);

struct deadline dns_site_deadline(const struct dns_site *s);
/* What is to be tried anew or ended by time, one a call; false: no more. */
bool dns_site_timeout(struct dns_site *s, const struct tgw *g, uint64_t now_unix,
		      struct dns_site_action *out, uint64_t now);
#endif
