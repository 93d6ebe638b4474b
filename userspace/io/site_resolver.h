/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell of the gateway's resolver: listeners at its tunnel addresses (io/dns_server), a socket
 * around the tunnel for each query that is passed on (io/dns_upstream), the name servers of the
 * host's resolv.conf, and what the machine (core/tunnel/dns_site) says done with them. Decides
 * nothing.
 *
 * The listeners are bound to the tunnel device: the network on either side does not reach them. */
#ifndef PENSTOCK_IO_SITE_RESOLVER_H
#define PENSTOCK_IO_SITE_RESOLVER_H
#include "core/tunnel/dns_site.h"
#include "io/dns_server.h"
#include "io/dns_upstream.h"

#define SITE_RESOLVER_CONNS_EACH 16 /* a client's TCP connections, for each of its addresses */

struct site_resolver_cfg {
	struct loop *loop;
	const char *device; /* tunnel device */
	uint32_t fwmark;
	const char *resolv_conf; /* NULL: /etc/resolv.conf */
	const struct tgw *tgw;	 /* whom to serve; the caller's */
};

struct site_resolver;

/* Listens nowhere yet. 0 or -errno; *out is to be closed either way. */
int site_resolver_open(struct site_resolver **out, const struct site_resolver_cfg *cfg,
		       struct io_err *err);
/* Own tunnel addresses (family 0: none). 0; else the first -errno after having tried both. */
int site_resolver_listen(struct site_resolver *r, const struct ipaddr *v4, const struct ipaddr *v6,
			 uint64_t now, struct io_err *err);
const struct dns_site *site_resolver_site(const struct site_resolver *r);
const struct dns_server *site_resolver_server(const struct site_resolver *r);
uint32_t site_resolver_sockets(const struct site_resolver *r); /* of queries, open now */
/* Where it listens: *n of list, DNS_SERVER_ADDRS at most. */
void site_resolver_listening(const struct site_resolver *r, struct endpoint *list, uint32_t *n);
/* After loop_fini() only. NULL is fine. */
void site_resolver_close(struct site_resolver *r);
#endif
