/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS as a server: kernel sockets, UDP and TCP, on each address it is told to listen on. It hands
 * out queries and sends answers; what they say is the stub's (core/tunnel/dns_stub).
 *
 * Each address has a socket of its own, so an answer leaves from the address that was asked. Bound
 * to the device that has the address, a socket hears this host's programs (the kernel counts what
 * stays on a host as arriving at the device of its destination) and that device, but no other
 * network. own_only leaves but the host itself: whoever asks has to have one of its addresses.
 *
 * Bounds of TCP, all counted
 *  - DNS_SERVER_CONNS connections, conns_each of one address; a new one takes the place of the one
 *    (beyond its share: of that address) that is idle longest, and is refused when every one waits
 *    for an answer
 *  - DNS_SERVER_QUERY_MAX bytes a query, DNS_SERVER_INFLIGHT queries unanswered: above that the
 *    connection is not read
 *  - DNS_SERVER_IDLE_NS without a whole query or a drained answer end it: half a frame does not
 *    keep it, nor does a client that reads slowly
 *
 * Source: RFC 1035 §4.2, 7766 (pipelining, idle connections); spec tunnel §1.8. */
#ifndef PENSTOCK_IO_DNS_SERVER_H
#define PENSTOCK_IO_DNS_SERVER_H
#include "codec/dns_msg.h"
#include "core/tunnel/dns_pending.h"
#include "io/err.h"
#include "io/loop.h"

#define DNS_SERVER_ADDRS     16 /* addresses to listen on; DNS_UPSTREAMS_CAP */
#define DNS_SERVER_CONNS     64
#define DNS_SERVER_QUERY_MAX 4096	 /* no question needs more */
#define DNS_SERVER_OUT_CAP   (192 << 10) /* answers waiting for one connection */
#define DNS_SERVER_INFLIGHT  32
#define DNS_SERVER_IDLE_NS   (10 * NS_PER_SEC)

struct dns_server_cfg {
	struct loop *loop;
	const char *device;  /* copied; NULL: any */
	bool own_only;	     /* answer only those with an address of this host */
	uint32_t fwmark;     /* 0: none */
	uint32_t conns_each; /* connections of one asker's address; 0: all of them */
	uint16_t port;
	/* A query (without frame). May answer from inside. False: there will be no answer. */
	bool (*query)(void *ctx, const struct dns_asker *who, const uint8_t *msg, size_t len,
		      uint64_t now);
	/* A connection with unanswered queries is gone. Never from inside dns_server_answer. */
	void (*gone)(void *ctx, uint64_t conn, uint64_t now);
	void *ctx;
};

struct dns_server_stats {
	uint64_t foreign; /* own_only: not of this host */
	uint64_t udp_queries, udp_answers, udp_unsent;
	uint64_t tcp_accepted, tcp_queries, tcp_answers, tcp_unsent;
	uint64_t tcp_evicted;			    /* idle, for a new one */
	uint64_t tcp_refused;			    /* every connection was waiting for an answer */
	uint64_t tcp_bad_frame, tcp_idle, tcp_slow; /* ended because of it */
};

struct dns_server;

/* Listens nowhere yet. 0 or -errno. */
int dns_server_open(struct dns_server **out, const struct dns_server_cfg *cfg, struct io_err *err);
/* Listen on exactly these addresses of the host; sockets of those that stay live on, connections
 * to those that go end. 0, or the first -errno after having tried all. */
int dns_server_listen(struct dns_server *s, const struct ipaddr *list, uint32_t n, uint64_t now,
		      struct io_err *err);
bool dns_server_listens(const struct dns_server *s, const struct ipaddr *ip);
/* To whom it may concern: an asker of a query handed out earlier. One that is gone is counted. */
void dns_server_answer(struct dns_server *s, const struct dns_asker *to, const uint8_t *msg,
		       size_t len, uint64_t now);
const struct dns_server_stats *dns_server_stats(const struct dns_server *s);
/* Where it listens now; how many there are. */
uint32_t dns_server_addresses(const struct dns_server *s, struct ipaddr out[DNS_SERVER_ADDRS]);
uint32_t dns_server_conns(const struct dns_server *s); /* open now */
/* After loop_fini() only. NULL is fine. */
void dns_server_close(struct dns_server *s);
#endif
