/* SPDX-License-Identifier: Apache-2.0
 *
 * What udp.c (sockets), udp_rx.c, udp_tx.c and udp_steer.c share. Each side's state lies apart from
 * the other's and from what both read: another thread may be at work on it (udp.h). Not for anyone
 * else: udp.h is the contract. */
#ifndef PENSTOCK_IO_UDP_INTERNAL_H
#define PENSTOCK_IO_UDP_INTERNAL_H
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include "io/sockaddr.h"
#include "io/udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define UDP_MSG_LEN 65536 /* bytes a received message; no UDP payload is longer */
/* From one message buffer to the next. Were it UDP_MSG_LEN, datagrams that come singly would all
 * lie at the start of a page and share the few cache sets of that; so they follow one another. */
#define UDP_MSG_STRIDE (UDP_MSG_LEN + UDP_BUF_LEN + 64)

/* Room for PKTINFO of either family, the traffic class and the segment size, received or sent. */
union udp_ctrl {
	struct cmsghdr align;
	uint8_t b[CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int))];
};

struct udp_out {
	struct endpoint remote;
	struct ipaddr src;
	uint8_t ecn;
};

struct udp_sock {
	int fd;
	int family;  /* 4 or 6 */
	int missing; /* why fd is -1 */
	uint16_t port;
	uint32_t rcvbuf, sndbuf; /* granted */
	bool gro;
	/* receive: messages [rx_next, rx_got) of the last call are still to be cut into datagrams,
	 * the first of them from rx_off on */
	_Alignas(UDP_APART) unsigned rx_ask;
	unsigned rx_got, rx_next;
	size_t rx_off;
	size_t rx_seg;		 /* bytes a datagram of message rx_next */
	struct udp_dgram rx_of;	 /* what its datagrams have in common, and the whole of it */
	bool rx_full;		 /* the last call returned as many messages as it asked for */
	size_t rx_bytes, rx_cut; /* of the last call's messages: payload, datagrams */
	struct mmsghdr rx_hdr[UDP_BATCH];
	struct iovec rx_iov[UDP_BATCH];
	union sockaddr_any rx_name[UDP_BATCH];
	union udp_ctrl rx_ctrl[UDP_BATCH];
	struct udp_dgram rx_dgram[UDP_RX_MAX];
	uint8_t *rx_buf; /* UDP_BATCH times UDP_MSG_STRIDE */
	/* send: out[head..tail) waits, those before `single` each as a message of its own */
	_Alignas(UDP_APART) size_t head;
	size_t tail, single;
	bool gso; /* as opened, until a device refuses it */
	struct mmsghdr tx_hdr[UDP_BATCH];
	uint16_t tx_count[UDP_BATCH]; /* datagrams of the message */
	union sockaddr_any tx_name[UDP_BATCH];
	union udp_ctrl tx_ctrl[UDP_BATCH];
	struct udp_out out[UDP_QUEUE_CAP];
	struct iovec tx_iov[UDP_QUEUE_CAP]; /* where in tx_buf, and the datagram's length */
	uint8_t *tx_buf;		    /* UDP_QUEUE_CAP times UDP_BUF_LEN */
};

struct udp {
	struct udp_cfg cfg;
	bool member; /* joined another's ports */
	struct udp_stats stats;
	struct udp_sock s[2]; /* IPv4, IPv6 */
};

static inline struct udp_sock *udp_sock_of(struct udp *u, int family)
{
	return &u->s[family == 6];
}

static inline const struct udp_sock *udp_sock_of_const(const struct udp *u, int family)
{
	return &u->s[family == 6];
}

/* Point headers and vectors at the buffers; once, after these were allocated. */
void udp_rx_init(struct udp_sock *s);
void udp_tx_init(struct udp_sock *s);
/* Forget what is held and queued. */
void udp_rx_reset(struct udp_sock *s);
void udp_tx_reset(struct udp_sock *s);
#endif
