/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries that wait for somebody else's answer: an upstream resolver, or the gateway of a resource.
 * A bounded table; each entry knows who asked what, under which id and to whom it was passed on,
 * and ends after life_ns.
 *
 * An answer is believed only if it comes from where the query went, under the id we drew, with the
 * question we asked. Whatever is not believed leaves the query waiting: a forged answer must not
 * end it. The third thing to guess, the port, is the shell's: one connected socket for each query.
 *
 * All entries live equally long, so the list in order of age is the list in order of expiry; one
 * that is tried anew is the youngest again. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_PENDING_H
#define PENSTOCK_CORE_TUNNEL_DNS_PENDING_H
#include "base/time.h"
#include "base/uuid.h"
#include "codec/dns_msg.h"

#define DNS_PENDING_NONE 0xffffffffu
#define DNS_PENDING_CAP	 1000 /* UDP and TCP together */
#define DNS_PENDING_NS	 (5 * NS_PER_SEC)

/* Who asked, so that the answer finds back. */
struct dns_asker {
	struct endpoint src;	/* the application's socket */
	struct ipaddr sentinel; /* the address it asked */
	uint64_t conn;		/* TCP: the shell's handle of the connection; UDP: 0 */
	bool tcp;
	bool local_only; /* LLMNR: answered from what is known here or not at all */
};

enum dns_pending_state {
	DNS_PENDING_FREE,
	DNS_PENDING_HELD, /* for a resource no gateway serves yet: not sent */
	DNS_PENDING_SENT,
};

struct dns_pending {
	struct dns_query query; /* the application's */
	struct dns_asker asker;
	struct endpoint upstream; /* SENT: where it went */
	struct uuid resource;	  /* in-site queries; else nil */
	uint64_t until_ns;
	uint32_t hash; /* of asker and query, for duplicates */
	uint32_t prev, next;
	uint32_t generation; /* of the slot: makes tokens of earlier queries void */
	uint16_t id;	     /* the one we drew */
	uint8_t state;
	bool in_site;
	bool via_tunnel;
	bool orphan; /* the mapping it belongs to is gone: ends without an answer */
};

struct dns_pendings {
	struct dns_pending *list; /* the caller's memory */
	uint32_t cap, count;
	uint32_t oldest, newest, free;
	uint64_t life_ns; /* DNS_PENDING_NS, or what the user sets right after init */
};

enum dns_belief {
	DNS_BELIEVED,
	DNS_NOT_PENDING, /* late, or a token of another query */
	DNS_BAD_SOURCE,
	DNS_BAD_MESSAGE, /* *why says what */
	DNS_BAD_ID,
	DNS_BAD_QUESTION, /* not an answer, or to another question */
};
#define DNS_BELIEF_COUNT (DNS_BAD_QUESTION + 1)

void dns_pendings_init(struct dns_pendings *t, struct dns_pending *list, uint32_t cap);
/* The same question of the same asker under the same id; DNS_PENDING_NONE. */
uint32_t dns_pendings_same(const struct dns_pendings *t, const struct dns_asker *who,
			   const struct dns_query *q);
/* The oldest one asked by that TCP connection; DNS_PENDING_NONE. */
uint32_t dns_pendings_of_conn(const struct dns_pendings *t, uint64_t conn);
/* A new entry in state HELD with a deadline; DNS_PENDING_NONE when full. */
uint32_t dns_pendings_add(struct dns_pendings *t, const struct dns_asker *who,
			  const struct dns_query *q, uint16_t id, uint64_t now);
void dns_pendings_sent(struct dns_pendings *t, uint32_t slot, const struct endpoint *upstream);
/* It lives as long again from now on. */
void dns_pendings_renew(struct dns_pendings *t, uint32_t slot, uint64_t now);
void dns_pendings_remove(struct dns_pendings *t, uint32_t slot);
/* Tokens name an entry to the shell and are void once it ended. */
uint64_t dns_pendings_token(const struct dns_pendings *t, uint32_t slot);
uint32_t dns_pendings_by_token(const struct dns_pendings *t, uint64_t token);
/* Judge a message that came for a token. *m is the checked message when BELIEVED. */
enum dns_belief dns_pendings_judge(const struct dns_pendings *t, uint64_t token,
				   const struct endpoint *src, const uint8_t *p, size_t len,
				   struct dns_msg *m, enum dns_verdict *why);
uint64_t dns_pendings_deadline(const struct dns_pendings *t);
#endif
