/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams in trains: many equal-sized datagrams of one flow in one system call, received by
 * UDP_GRO and sent by UDP_SEGMENT. For worker threads: each has its own struct gro_rx and gso_tx;
 * nothing here locks or allocates per packet. Not here: what the datagrams mean.
 *
 * A train goes to one destination from one socket; its datagrams have one size, the last may be
 * shorter. Payloads are borrowed until gso_flush(), which sends in the order of the trains'
 * beginnings, so that a flow keeps its order. Where kernel or driver refuse segmentation the same
 * datagrams go out one by one. */
#ifndef PENSTOCK_IO_GSO_H
#define PENSTOCK_IO_GSO_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include "base/addr.h"
#include "io/err.h"
#include "io/sockaddr.h"

#define GRO_BATCH      32    /* trains a receive call */
#define GRO_BUF_LEN    65536 /* bytes a train */
#define GSO_SEG_MAX    64    /* UDP_MAX_SEGMENTS of older kernels */
#define GSO_BYTES_MAX  65400 /* with headers below the 64 KiB of an IP packet */
#define GSO_TRAINS_MAX 64
#define GSO_HDR_LEN    4 /* bytes a datagram may get in front */

struct gso_sock_cfg {
	struct endpoint bind;	 /* ip unspecified: any address */
	bool reuseport;		 /* one of several sockets on the port */
	bool pktinfo;		 /* tell which address a datagram came to */
	bool no_gro;		 /* it is read a datagram at a time, without a gro_rx */
	uint32_t rcvbuf, sndbuf; /* wanted bytes */
};

/* A socket and what was learned about it. */
struct gso_sock {
	int fd;	     /* -1: none */
	bool no_gso; /* the kernel refused to segment for it */
};

/* Open: non-blocking, GRO on, ECN reported, DF clear and no path MTU kept (a relay's datagrams may
 * be fragmented). 0 or -errno with err. */
int gso_sock_open(struct gso_sock *s, const struct gso_sock_cfg *cfg, struct io_err *err);
void gso_sock_close(struct gso_sock *s);

/* One received train. */
struct gro_msg {
	struct endpoint remote;
	struct ipaddr local; /* family 0 without pktinfo */
	uint8_t *data;
	uint32_t len; /* all datagrams together */
	uint32_t seg; /* bytes of each but the last */
	uint8_t ecn;
	bool truncated;
};

struct gro_rx;
struct gro_rx *gro_rx_new(void); /* NULL: no memory */
void gro_rx_free(struct gro_rx *rx);
/* Up to max (<= GRO_BATCH) trains without waiting; *out stays valid until the next call. 0: nothing
 * there, or an error of the socket. */
size_t gro_recv(struct gro_rx *rx, int fd, size_t max, struct gro_msg **out);

struct gso_stats {
	uint64_t packets, bytes, calls;
	uint64_t blocked;   /* datagrams the socket's buffer had no room for */
	uint64_t failed;    /* datagrams refused for another reason */
	uint64_t fallbacks; /* trains sent again one by one */
	int last_errno;
};

struct gso_tx;
struct gso_tx *gso_tx_new(void);
void gso_tx_free(struct gso_tx *tx);
struct gso_stats *gso_tx_stats(struct gso_tx *tx);
/* Where datagrams go: key names the flow (anything that is different for different other fields).
 */
struct gso_to {
	uint64_t key;
	struct gso_sock *sock;
	struct ipaddr src; /* family 0: the kernel's or the socket's choice */
	struct endpoint dst;
	uint8_t ecn;
};
/* Append a datagram: hdr (GSO_HDR_LEN bytes, copied) or NULL, then data (borrowed until the flush).
 * Flushes by itself when there is no room. */
void gso_put(struct gso_tx *tx, const struct gso_to *to, const uint8_t *hdr, const void *data,
	     size_t len);
void gso_flush(struct gso_tx *tx);
#endif
