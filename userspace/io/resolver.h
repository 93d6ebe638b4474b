/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of the site as the host resolves them (c-ares): hosts file, then the system's name servers,
 * both families, search domains not applied. Answers are kept for a short while, at most as long as
 * their TTLs say, so that a name many clients ask for is looked up once; failures are not kept.
 * When resolv.conf changes, the next name is looked up the new way.
 *
 * Bounded: questions under way, descriptors, kept answers; what does not fit fails at once and is
 * counted. Every question is answered exactly once, after RESOLVER_TIMEOUT_NS at the latest, unless
 * the resolver is closed before. */
#ifndef PENSTOCK_IO_RESOLVER_H
#define PENSTOCK_IO_RESOLVER_H
#include <stddef.h>
#include "base/addr.h"
#include "base/time.h"
#include "io/loop.h"

#define RESOLVER_TIMEOUT_NS  (10 * NS_PER_SEC)
#define RESOLVER_KEEP_NS     (30 * NS_PER_SEC) /* and at least, whatever the TTL says: */
#define RESOLVER_KEEP_MIN_NS (1 * NS_PER_SEC)
#define RESOLVER_ADDRS_MAX   32 /* of one name; more are cut */

struct resolver;

struct resolver_cfg {
	uint32_t questions_max; /* under way at a time */
	uint32_t fwmark;	/* of its sockets; 0: none */
	/* "address:port,…" instead of the system's, the caller's memory; NULL */
	const char *servers;
	/* n 0: the name has no address; addrs NULL: resolving failed, and nothing is known. May be
	 * called by resolver_ask. */
	void (*done)(void *ctx, uint64_t cookie, const struct ipaddr *addrs, size_t n,
		     uint64_t now);
	void *ctx;
};

struct resolver_counters {
	uint64_t asked, kept, failed, timed_out, full;
};

/* 0 or -errno. */
int resolver_open(struct resolver **out, struct loop *loop, const struct resolver_cfg *cfg);
/* cookie is the caller's, and comes with the answer. name: without trailing dot. */
void resolver_ask(struct resolver *r, const char *name, uint64_t cookie, uint64_t now);
/* Ask these from now on, as in the configuration: what is under way fails, what was kept is
 * forgotten. Not from inside done. 0 or -errno, and everything is as it was. */
int resolver_set_servers(struct resolver *r, const char *servers);
struct resolver_counters resolver_counters(const struct resolver *r);
/* Nobody is called any more. NULL is fine. */
void resolver_close(struct resolver *r);
#endif
