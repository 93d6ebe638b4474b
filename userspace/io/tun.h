/* SPDX-License-Identifier: Apache-2.0
 *
 * The tunnel device: created (never persistent, so it and its routes die with the process), read
 * and written in batches without waiting. With offloads (IFF_VNET_HDR) the kernel hands over
 * super-packets and leaves checksums to us (fwd/off_split), and takes joined packets
 * (fwd/off_join); what the kernel is too old for is left out. Addresses, MTU and link state are
 * nl_link's.
 *
 * Queues. A device opened with `multi` has queue 0, tun_open's, and may get more, each a struct tun
 * of its own with its own buffers, counters and descriptor; what is written to any of them is
 * received on the one device. tun_steer says what the kernel puts into which.
 *
 * Threads. Queues share nothing that is written. Of one struct tun, one thread reads (tun_read,
 * tun_more) while one other writes (tun_write, tun_write_super, tun_joins_*): their state lies on
 * cache lines apart. Two readers, or two writers, need a lock of the caller's. tun_stats_add may be
 * called by any thread, what is settled when a queue is opened (tun_fd to tun_offload's vnet_hdr,
 * csum, tso and uso) read by any. Opening, steering and closing are one thread's, and nobody else
 * uses a struct that is being closed. */
#ifndef PENSTOCK_IO_TUN_H
#define PENSTOCK_IO_TUN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <net/if.h>
#include "fwd/offload.h"
#include "io/err.h"

#define TUN_BATCH    64
#define TUN_HEADROOM 64		   /* free bytes before a packet read: outer headers fit */
#define TUN_PKT_MAX  OFF_SUPER_MAX /* longest packet read */
#define TUN_TAILROOM 64		   /* free bytes after it: padding and tag fit */
/* All packets of a batch lie in one piece of memory, so that few long ones or many short ones are
 * a batch and no more memory is touched than they need. */
#define TUN_ARENA	(1 << 20)
#define TUN_WORKERS_MAX 255 /* queues beside the first; the kernel has 256 */
#define TUN_LINE	128 /* cache lines are fetched in pairs */

struct tun_cfg {
	const char *name; /* at most 15 characters, "%d" allowed */
	bool no_gso;	  /* no offloads: one packet a read and a write, as it is on the wire */
	bool multi;	  /* queues may be added; without, when the kernel does not know that */
};

/* What the device was given. */
struct tun_offload {
	bool vnet_hdr;	     /* offloads at all: joined TCP may be written */
	bool csum;	     /* the kernel leaves checksums to us */
	bool tso, uso;	     /* and segmentation; uso: joined UDP may be written, too */
	bool no_tcp, no_udp; /* joined packets of this kind were refused again and again: no more */
};

struct tun_pkt {
	uint8_t *data; /* TUN_HEADROOM bytes before and TUN_TAILROOM after len may be overwritten */
	size_t len;
	struct off_gso gso; /* as the device says, unjudged: off_split_begin's to look at */
};

struct tun_stats {
	uint64_t rx_packets, rx_bytes; /* read from the device; a super-packet is one */
	uint64_t rx_super;	       /* super-packets among them */
	uint64_t rx_malformed;	       /* with a header that makes no sense: not handed out */
	/* Those above are the reader's, those below the writer's. */
	_Alignas(TUN_LINE) uint64_t tx_packets; /* written to it, counting what is in joined ones */
	uint64_t tx_bytes;
	uint64_t tx_super;   /* joined packets written */
	uint64_t tx_refused; /* joined packets the kernel refused: written one by one */
	uint64_t tx_full;    /* the device would not take more */
	uint64_t tx_errors;  /* any other errno (EIO: link is down; EINVAL: not IP) */
	int tx_last_errno;
};

struct tun;

/* Create the device. Makes /dev/net/tun when it is missing. 0; -EBUSY when the name is taken by a
 * live process; -EPERM without the right; else -errno. */
int tun_open(struct tun **out, const struct tun_cfg *cfg, struct io_err *err);
/* One more queue of first's device, with the same offloads. Its number is how many there were: they
 * are numbered as they are opened. 0; -EOPNOTSUPP when the device is not multi; -ENODEV when it is
 * gone; else -errno. */
int tun_open_queue(struct tun **out, struct tun *first, struct io_err *err);
/* Closes this queue; the device goes with its last one. The kernel fills the gap with the queue of
 * the highest number, so close in the reverse order, queue 0 last. Packets in it are lost. */
void tun_close(struct tun *t);
bool tun_multi(const struct tun *t);
int tun_fd(const struct tun *t);
int tun_ifindex(const struct tun *t);
const char *tun_name(const struct tun *t);
const struct tun_offload *tun_offload(const struct tun *t);
const struct tun_stats *tun_stats(const struct tun *t); /* for the thread that uses t */
/* Add what t has counted to *sum; tx_last_errno when t has one. */
void tun_stats_add(struct tun_stats *sum, const struct tun *t);
/* What off_join may make for this device now. */
bool tun_joins_tcp(const struct tun *t);
bool tun_joins_udp(const struct tun *t);

/* Read up to TUN_BATCH packets, or fewer long ones. Returns their number; *out stays valid until
 * the next tun_read. 0: nothing there, or the device is down (-EIO and the like are counted
 * nowhere: they pass). */
size_t tun_read(struct tun *t, struct tun_pkt **out);
/* The last tun_read ended because there was no more room, not because there were no packets. */
bool tun_more(const struct tun *t);
/* Hand one packet, whole, to the kernel as received on the device. 0 or -errno (counted). */
int tun_write(struct tun *t, const void *pkt, size_t len);
/* The same for what off_join made. One that the kernel refuses is written packet by packet. 0, or
 * -errno: not all of it was taken. */
int tun_write_super(struct tun *t, const struct off_super *s);

/* ---- which queue: tun_steer.c ---- */

/* From now on the kernel puts each packet into the queue that tun_steer_queue says, modulo the
 * number of queues there are; with workers 0 into queue 0. Without this call it spreads them over
 * all queues as it likes, so steer before opening the second one. Stays as long as the device,
 * first closed or not. A flow that changes its queue by this, or as queues come and go, may be
 * overtaken by itself. 0; -EINVAL for more than TUN_WORKERS_MAX; -EOPNOTSUPP when the device is not
 * multi; -EPERM without the right to load a BPF program; else -errno: what was, is. */
int tun_steer(struct tun *first, unsigned workers, struct io_err *err);
/* What the program answers for this packet, or super-packet: 1 to workers, by a hash of addresses,
 * protocol and ports (addresses alone where not all packets of a flow show the others); 0 for what
 * is not IP or too short for it. */
unsigned tun_steer_queue(const uint8_t *pkt, size_t len, unsigned workers);
#endif
