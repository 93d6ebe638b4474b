/* SPDX-License-Identifier: Apache-2.0
 *
 * The tunnel's UDP sockets: one for IPv4, one for IPv6 (v6-only), on the same preferred port.
 * Batches both ways, sources pinned by PKTINFO, ECN carried, DF set, path MTU never guessed for us.
 * Runs of equal datagrams cross the kernel as one message: received by UDP_GRO, sent by
 * UDP_SEGMENT, where kernel and device can; the caller sees datagrams either way, in their order.
 * Not here: what the datagrams mean; the relay's trains (gso.h).
 *
 * A family the machine lacks is tolerated; opening fails only when neither works. Nothing blocks.
 *
 * Threads: a struct udp has a receive side (udp_recv, udp_rx_held) and a send side (udp_send,
 * udp_reserve, udp_room*, udp_commit, udp_flush, udp_pending). One thread may use the one while
 * another uses the other; each side belongs to one thread at a time. What udp_open and udp_rebind
 * settle (udp_fd, udp_port, udp_missing, udp_buffers, udp_gro) any thread may read. udp_stats and
 * udp_gso may be read from any thread, too: plain aligned loads, each figure by itself right and
 * hardly late, two of them not of one moment. Opening, rebinding and closing are the control
 * thread's, while nobody uses either side; and closing a member, while nobody uses any of its
 * group.
 *
 * Groups: several struct udp on the same ports share the datagrams that come, for several threads
 * that receive (udp_open_member, udp_steer).
 */
#ifndef PENSTOCK_IO_UDP_H
#define PENSTOCK_IO_UDP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "io/err.h"

#define UDP_PORT_PREFERRED 52625
#define UDP_BATCH	   64	/* messages a recvmmsg or sendmmsg */
#define UDP_RX_MAX	   256	/* datagrams a udp_recv returns, at most */
#define UDP_BUF_LEN	   2048 /* bytes a datagram; longer ones arrive marked truncated */
#define UDP_QUEUE_CAP	   512	/* datagrams waiting to be sent, per family */

struct udp_cfg {
	uint16_t port;	   /* tried first; 0: any */
	bool port_strict;  /* fail when the port is taken instead of taking another */
	bool no_v4, no_v6; /* leave a family out */
	bool no_gro;	   /* receive each datagram as a message of its own */
	bool no_gso;	   /* send each datagram as a message of its own */
	bool shared;	   /* members may join (SO_REUSEPORT); a taken port stays taken */
	uint32_t fwmark;   /* SO_MARK, 0: none */
	uint32_t rcvbuf;   /* wanted bytes; 0: 16 MiB */
	uint32_t sndbuf;   /* wanted bytes; 0: 2 MiB */
};

/* One received datagram. data points into the receive buffers. */
struct udp_dgram {
	struct endpoint local; /* address it came to (from PKTINFO) and our port */
	struct endpoint remote;
	uint8_t *data;
	size_t len;
	uint32_t ifindex; /* where it came in */
	uint8_t ecn;	  /* 0..3, the two ECN bits of the outer header */
	bool truncated;	  /* it was longer than UDP_BUF_LEN: drop it */
	bool follows;	  /* came with the one before it in the array: same addresses */
};

/* Each side's figures lie apart from the other's: each is another thread's. */
#define UDP_APART 128 /* bytes; processors fetch cache lines in pairs */

struct udp_stats {
	/* These count datagrams (calls apart). */
	_Alignas(UDP_APART) uint64_t rx_packets;
	uint64_t rx_bytes, rx_calls, rx_errors;
	/* Those that crossed the kernel together: */
	uint64_t rx_merged, rx_segments; /* messages received of several datagrams; the datagrams */
	uint64_t rx_bad_merge; /* messages whose segment size made no sense: one datagram */

	_Alignas(UDP_APART) uint64_t tx_packets;
	uint64_t tx_bytes, tx_calls;
	uint64_t tx_unreachable; /* ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL */
	uint64_t tx_source_gone; /* EINVAL: the pinned IPv6 source is no address of ours any more
				    (an IPv4 one reads as unreachable) */
	uint64_t tx_permission;	 /* EPERM, EACCES: a firewall refused it */
	uint64_t tx_too_big;	 /* EMSGSIZE */
	uint64_t tx_no_family;	 /* no socket of that family */
	uint64_t tx_full;	 /* queue full while the socket would not take more */
	uint64_t tx_other;	 /* any other errno */
	int tx_last_errno;
	uint64_t tx_merged, tx_segments; /* messages sent of several datagrams; the datagrams */
	uint64_t tx_fallbacks;		 /* such messages that were refused: sent again singly */
};

struct udp;

/* Open both sockets. 0, or -errno with err when no family could be opened (or, with port_strict,
 * when the port is taken). */
int udp_open(struct udp **out, const struct udp_cfg *cfg, struct io_err *err);
void udp_close(struct udp *u);
/* Drop both sockets (and what is queued) and open them anew with the same configuration: after a
 * change of networks. The descriptors change: stop polling them before. On failure no socket is
 * left and sends count as tx_no_family; it may be called again. Of a group, the first: the control
 * thread stops the workers and closes all members before (while one holds the port, it is taken),
 * opens them anew after, and steers anew: nothing of the steering is left. -EINVAL for a member,
 * which stays as it is. */
int udp_rebind(struct udp *u, struct io_err *err);

/* Open one more struct udp on the ports of `first` (opened with cfg.shared), with its families,
 * options and buffer sizes. Members are numbered as they were opened, `first` is 0; the numbers
 * hold until one is closed. A family that `first` lacks is lacking, with the same reason. 0, or
 * -errno with err, and nothing is left: -EINVAL when `first` does not share, -ENOTCONN when it has
 * no socket, -EADDRINUSE when this process became another user since (a group is of one user). */
int udp_open_member(struct udp **out, const struct udp *first, struct io_err *err);

/* Spread what comes over the members: WireGuard data messages, bare or in a TURN channel, to member
 * 1 + hash(source address, source port) % workers, everything else to member 0. So one path is one
 * member's, a relay's channels all the same one's, and its order one thread's. What the kernel
 * joined goes where the first of it belongs: a worker may get any message.
 * Call when 1 + workers members are open; were there fewer, the kernel would spread by a hash of
 * its own, as it does until this call. 0 workers: everything to `first`. 0, or -errno with err:
 * then close the members. */
int udp_steer(struct udp *first, unsigned workers, struct io_err *err);
/* The same decision about an IP packet (without IPv6 extension headers) that holds a whole UDP
 * datagram: for tests. */
unsigned udp_steer_member(const uint8_t *ip_packet, size_t len, unsigned workers);

/* family is 4 or 6. fd: -1 when the family is missing; poll it for reading, and for writing while
 * udp_pending() is not 0. port: 0 when missing. */
int udp_fd(const struct udp *u, int family);
uint16_t udp_port(const struct udp *u, int family);
/* Why the family is missing (negative errno), 0 when it is there. */
int udp_missing(const struct udp *u, int family);
/* Buffer sizes the kernel granted, in bytes as asked for (not its doubled bookkeeping). */
void udp_buffers(const struct udp *u, int family, uint32_t *rcvbuf, uint32_t *sndbuf);
const struct udp_stats *udp_stats(const struct udp *u);

/* Do datagrams of that family come, and go, merged? What the kernel knows, less what the
 * configuration leaves out; udp_gso turns false when a device refused it. */
bool udp_gro(const struct udp *u, int family);
bool udp_gso(const struct udp *u, int family);

/* Receive up to UDP_RX_MAX datagrams of one family without waiting. Returns their number; *out is
 * then an array that stays valid, and writable in place, until the next udp_recv for that family.
 * 0: nothing there. Errors of the socket are counted and read as nothing. *more: the socket may
 * hold more, or udp_rx_held(); false: it was drained. */
size_t udp_recv(struct udp *u, int family, struct udp_dgram **out, bool *more);
/* Are there datagrams that are out of the socket but did not fit UDP_RX_MAX? They do not make the
 * descriptor readable: call udp_recv until there are none (it makes no system call for them). At
 * most what UDP_BATCH messages hold. */
bool udp_rx_held(const struct udp *u, int family);

/* Queue one datagram (copied). src: the address to send from, NULL or family 0: the kernel chooses.
 * A full queue is flushed first. 0, -EMSGSIZE (len > UDP_BUF_LEN), -EAFNOSUPPORT (family missing)
 * or -EAGAIN (queue full and the socket would not take more: the datagram is lost and counted). */
int udp_send(struct udp *u, const struct ipaddr *src, const struct endpoint *remote, uint8_t ecn,
	     const void *data, size_t len);
/* The same without a copy: write up to UDP_BUF_LEN bytes where udp_reserve says, then udp_commit
 * queues them. NULL as -EAGAIN or -EAFNOSUPPORT above. A reservation not committed is free again.
 */
uint8_t *udp_reserve(struct udp *u, int family);
/* The same for several: how many buffers, want at most, can be filled now behind the queue, which
 * is flushed first when it has less room than that. 0 as NULL above; it counts as one datagram
 * lost, the one in hand: how many would have followed nobody knows. udp_room_at: the i-th of them,
 * UDP_BUF_LEN bytes. They are committed in order, i = 0 first. */
size_t udp_room(struct udp *u, int family, size_t want);
uint8_t *udp_room_at(struct udp *u, int family, size_t i);
void udp_commit(struct udp *u, const struct ipaddr *src, const struct endpoint *remote, uint8_t ecn,
		size_t len);
/* Send what is queued. Neighbours with the same source, remote and ECN and of one size (the last
 * may be shorter) go as one message. What the kernel refuses is counted by cause and dropped; a
 * merged message it refuses is sent again datagram by datagram; what it would block on stays
 * queued. Call at the end of every loop turn, and when a socket gets writable. */
void udp_flush(struct udp *u);
/* Datagrams of that family still queued after a flush. */
size_t udp_pending(const struct udp *u, int family);
#endif
