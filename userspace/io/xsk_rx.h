/* SPDX-License-Identifier: Apache-2.0
 *
 * Receiving by AF_XDP: one socket on one receive queue of an interface, with memory of its own that
 * the kernel, or in zero-copy mode the driver, fills with frames. What comes are the frames that
 * ps_wan_xsk redirects (bpf/xsk.bpf.h), handed out as the datagrams they hold.
 *
 * Not here: sending, which goes by the UDP sockets, many datagrams to a message; and which session,
 * policy or order, which are the worker's as with any datagram.
 *
 * Threads: xsk_rx_recv and xsk_rx_done are one thread's; xsk_rx_stats may be asked by any. */
#ifndef PENSTOCK_IO_XSK_RX_H
#define PENSTOCK_IO_XSK_RX_H
#include "io/udp.h"

#define XSK_RX_FRAME  2048u /* bytes, 256 of them the kernel's: a frame of 1500 bytes fits */
#define XSK_RX_RING   4096u /* frames that may wait for us */
#define XSK_RX_FRAMES 8192u /* those, and what a driver keeps in its own ring */
#define XSK_RX_MEMORY ((uint64_t)XSK_RX_FRAME * XSK_RX_FRAMES) /* bytes a socket, locked */

struct xsk_rx;

struct xsk_rx_cfg {
	const char *ifname;
	uint32_t ifindex, queue;
	uint16_t port4, port6; /* our UDP ports */
	bool copy_only;	       /* zero-copy is not tried */
};

struct xsk_rx_stats {
	uint64_t packets;   /* handed out */
	uint64_t malformed; /* frames that hold no data message after all: lost */
	uint64_t dropped;   /* by the kernel, because we were too slow */
};

/* 0 or -errno: -EOPNOTSUPP, this kernel or driver cannot; -EPERM and -ENOBUFS, it is not allowed
 * (CAP_NET_RAW; RLIMIT_MEMLOCK without CAP_IPC_LOCK); -EBUSY, the queue has another one, and still
 * after a fifth of a second. Whoever
 * has it puts it into ps_xsk (bpf_steer_socket). */
int xsk_rx_open(struct xsk_rx **out, const struct xsk_rx_cfg *cfg, struct io_err *err);
void xsk_rx_close(struct xsk_rx *x);
/* To poll for reading; a poll before each sleep is also what keeps some drivers going. */
int xsk_rx_fd(const struct xsk_rx *x);
bool xsk_rx_zero_copy(const struct xsk_rx *x);
void xsk_rx_stats(const struct xsk_rx *x, struct xsk_rx_stats *out);

/* Up to UDP_RX_MAX datagrams, writable in place and valid until xsk_rx_done, which must follow.
 * False: there was no frame. *n may be 0 all the same. */
bool xsk_rx_recv(struct xsk_rx *x, struct udp_dgram **out, size_t *n);
void xsk_rx_done(struct xsk_rx *x);

/* The data message in a frame, which comes from the network and may be anything: Ethernet without
 * tags, IPv4 without options or fragments with the right checksum, or IPv6 without extension
 * headers, UDP to our port, lengths that fit. False: none.
 * The UDP checksum is not looked at. A sender on the same machine may not have finished it; what it
 * would prove of the payload the AEAD's tag does, and nobody decides anything by the addresses of
 * data: paths are chosen by what STUN says, which comes by the sockets. */
bool xsk_frame_read(uint8_t *frame, size_t len, uint16_t port4, uint16_t port6,
		    struct udp_dgram *out);
#endif
