/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell of the client's stub resolver: sentinel addresses on the tunnel device, a server on
 * them (io/dns_server), a socket for each query that is passed on (io/dns_upstream), and what the
 * stub (core/tunnel/dns_stub) says done with them. Decides nothing.
 *
 * The sentinels are local addresses of the tunnel device: programs of this host reach them without
 * leaving it, and nobody else is heard, neither from the network nor through the tunnel. */
#ifndef PENSTOCK_IO_DNS_RESOLVER_H
#define PENSTOCK_IO_DNS_RESOLVER_H
#include "core/tunnel/dns_stub.h"
#include "io/dns_server.h"
#include "io/dns_upstream.h"
#include "io/nl.h"

struct dns_resolver_cfg {
	struct loop *loop;
	struct nl *nl;
	int ifindex; /* tunnel device */
	uint32_t fwmark;
	struct dns_stub *stub; /* stays the caller's, who configures it */
	/* An in-site query: 0 and the tunnel address, of that family, of the gateway that serves
	 * resource; -EAGAIN: none yet, call dns_resolver_in_site when there is; else it fails. */
	int (*gateway)(void *ctx, const struct uuid *resource, uint8_t family, struct ipaddr *at,
		       uint64_t now);
	/* A or AAAA of a resource was answered (slot in the stub's names). May be NULL. */
	void (*named)(void *ctx, const struct uuid *resource, uint32_t name, uint64_t now);
	void *ctx;
};

struct dns_resolver;

int dns_resolver_open(struct dns_resolver **out, const struct dns_resolver_cfg *cfg,
		      struct io_err *err);
/* Own tunnel addresses. */
void dns_resolver_set_own(struct dns_resolver *r, const struct ipaddr *v4, const struct ipaddr *v6);
/* Interfaces of link-local upstreams. */
void dns_resolver_set_scopes(struct dns_resolver *r, const struct dns_scope *list, uint32_t n);
/* The stub's sentinels changed, or (fresh) the device lost its addresses: put them on the device
 * and listen there. 0 or the first -errno after having tried all. */
int dns_resolver_apply(struct dns_resolver *r, bool fresh, uint64_t now, struct io_err *err);
/* The sentinels that can be asked, in the order of the upstreams; how many. */
uint32_t dns_resolver_serving(const struct dns_resolver *r, struct ipaddr out[DNS_UPSTREAMS_CAP]);
/* A gateway serves the resource now: what was held for it leaves. */
void dns_resolver_in_site(struct dns_resolver *r, const struct uuid *resource, uint64_t now);
/* The network changed: what waits gets SERVFAIL now. */
void dns_resolver_reset(struct dns_resolver *r, uint64_t now);
const struct dns_server_stats *dns_resolver_server(const struct dns_resolver *r);
const struct dns_upstream_stats *dns_resolver_upstreams(const struct dns_resolver *r);
uint32_t dns_resolver_sockets(const struct dns_resolver *r); /* of queries, open now */
uint32_t dns_resolver_conns(const struct dns_resolver *r);   /* of applications, open now */
/* After loop_fini() only; the addresses go with the device. NULL is fine. */
void dns_resolver_close(struct dns_resolver *r);
#endif
