/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries on their way to somebody else's resolver: for each one a connected socket of its own, on
 * a port the kernel draws, that lives as long as the stub waits (core/tunnel/dns_stub). What comes
 * back is handed over as it is; whether it is believed is the stub's to say, so a socket goes on
 * listening until it is closed.
 *
 * Around the tunnel (marked as all our own traffic) or through it (bound to the tunnel address and
 * unmarked: an ordinary packet of this host).
 *
 * Source: RFC 5452 §9.2 (ports), 7766; spec tunnel §1.6–1.8. */
#ifndef PENSTOCK_IO_DNS_UPSTREAM_H
#define PENSTOCK_IO_DNS_UPSTREAM_H
#include "base/addr.h"
#include "codec/dns_msg.h"
#include "io/err.h"
#include "io/loop.h"

#define DNS_UPSTREAM_TCP_MAX 256 /* of them by TCP: an answer may take 64 KiB */
#define DNS_SCOPES_CAP	     16

struct dns_upstream_cfg {
	struct loop *loop;
	uint32_t fwmark; /* of queries around the tunnel */
	uint32_t cap;	 /* queries at a time */
	/* A message for token, from where its query went. May close tokens. */
	void (*answer)(void *ctx, uint64_t token, const struct endpoint *src, const uint8_t *msg,
		       size_t len, uint64_t now);
	/* The socket of token is of no use any more; it is closed already. */
	void (*failed)(void *ctx, uint64_t token, uint64_t now);
	void *ctx;
};

/* The interface a link-local resolver is behind. */
struct dns_scope {
	struct ipaddr ip;
	uint32_t ifindex;
};

struct dns_upstream_stats {
	uint64_t udp_sent, tcp_sent, received, failed;
	uint64_t full; /* no place, or too many by TCP */
};

struct dns_upstreams;

int dns_upstreams_open(struct dns_upstreams **out, const struct dns_upstream_cfg *cfg,
		       struct io_err *err);
/* Own tunnel addresses (family 0: none), for what goes through the tunnel. */
void dns_upstreams_set_own(struct dns_upstreams *u, const struct ipaddr *v4,
			   const struct ipaddr *v6);
/* Link-local resolvers' interfaces, at most DNS_SCOPES_CAP; one without is not reached. */
void dns_upstreams_set_scopes(struct dns_upstreams *u, const struct dns_scope *list, uint32_t n);
/* A query of len <= DNS_QUERY_CAP. A token that has a socket already sends again (UDP). 0, or
 * -errno and no socket: the callback is not called. */
int dns_upstreams_send(struct dns_upstreams *u, uint64_t token, const struct endpoint *to, bool tcp,
		       bool via_tunnel, const uint8_t *msg, size_t len);
/* The query of token is over. No socket of that token: fine. */
void dns_upstreams_end(struct dns_upstreams *u, uint64_t token);
const struct dns_upstream_stats *dns_upstreams_stats(const struct dns_upstreams *u);
uint32_t dns_upstreams_count(const struct dns_upstreams *u); /* sockets open now */
/* After loop_fini() only. NULL is fine. */
void dns_upstreams_close(struct dns_upstreams *u);
#endif
