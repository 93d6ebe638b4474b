/* SPDX-License-Identifier: Apache-2.0
 *
 * What the server's two files share: listening sockets (dns_server.c), connections (dns_conn.c). */
#ifndef PENSTOCK_IO_DNS_SERVER_INT_H
#define PENSTOCK_IO_DNS_SERVER_INT_H
#include <net/if.h>
#include "io/dns_server.h"

#define DNS_CONN_IN_CAP (2 * (DNS_SERVER_QUERY_MAX + 2)) /* one whole query always fits */

struct dns_conn {
	struct dns_server *server;
	struct loop_fd io;
	int fd;	     /* -1: free */
	bool doomed; /* ends at the next turn */
	bool eof;    /* asks no more */
	uint32_t generation;
	uint32_t inflight;
	struct endpoint src;
	struct ipaddr sentinel;
	uint64_t active_ns;
	size_t in_len, out_len, out_pos;
	uint8_t *out; /* DNS_SERVER_OUT_CAP while open */
	uint8_t in[DNS_CONN_IN_CAP];
};

struct dns_listener {
	struct dns_server *server;
	struct ipaddr ip; /* family 0: free */
	int udp, tcp;
	struct loop_fd udp_io, tcp_io;
};

struct dns_server {
	struct dns_server_cfg cfg;
	char device[IF_NAMESIZE];
	struct loop_timer timer;
	struct dns_server_stats stats;
	struct dns_listener at[DNS_SERVER_ADDRS];
	struct dns_conn conn[DNS_SERVER_CONNS];
	uint8_t buf[DNS_MSG_CAP];
};

/* ---- dns_conn.c ---- */
/* Take over an accepted, non-blocking socket; closes it when there is no room. */
void dns_conn_open(struct dns_server *s, int fd, const struct endpoint *src,
		   const struct ipaddr *sentinel, uint64_t now);
void dns_conn_answer(struct dns_server *s, uint64_t handle, const uint8_t *msg, size_t len,
		     uint64_t now);
void dns_conn_close(struct dns_conn *c, uint64_t now);
/* Ends what is idle or doomed and arms the timer for the next. */
void dns_conn_sweep(struct dns_server *s, uint64_t now);
#endif
