/* SPDX-License-Identifier: Apache-2.0
 *
 * The tunnel device: created (never persistent, so it and its routes die with the process), read
 * and written in batches without waiting. With offloads (IFF_VNET_HDR) the kernel hands over
 * super-packets and leaves checksums to us (fwd/off_split), and takes joined packets
 * (fwd/off_join); what the kernel is too old for is left out. Addresses, MTU and link state are
 * nl_link's. */
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
#define TUN_ARENA (1 << 20)

struct tun_cfg {
	const char *name; /* at most 15 characters, "%d" allowed */
	bool no_gso;	  /* no offloads: one packet a read and a write, as it is on the wire */
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
	uint64_t tx_packets, tx_bytes; /* written to it; a joined packet counts for what is in it */
	uint64_t tx_super;	       /* joined packets written */
	uint64_t tx_refused;	       /* joined packets the kernel refused: written one by one */
	uint64_t tx_full;	       /* the device would not take more */
	uint64_t tx_errors;	       /* any other errno (EIO: link is down; EINVAL: not IP) */
	int tx_last_errno;
};

struct tun;

/* Create the device. Makes /dev/net/tun when it is missing. 0; -EBUSY when the name is taken by a
 * live process; -EPERM without the right; else -errno. */
int tun_open(struct tun **out, const struct tun_cfg *cfg, struct io_err *err);
void tun_close(struct tun *t);
int tun_fd(const struct tun *t);
int tun_ifindex(const struct tun *t);
const char *tun_name(const struct tun *t);
const struct tun_offload *tun_offload(const struct tun *t);
const struct tun_stats *tun_stats(const struct tun *t);
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
#endif
