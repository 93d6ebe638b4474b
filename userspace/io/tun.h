/* SPDX-License-Identifier: Apache-2.0
 *
 * The tunnel device: created (never persistent, so it and its routes die with the process), read
 * and written in batches without waiting. One packet a read and a write: no offloads. Addresses,
 * MTU and link state are nl_link's. */
#ifndef PENSTOCK_IO_TUN_H
#define PENSTOCK_IO_TUN_H
#include <stddef.h>
#include <stdint.h>
#include <net/if.h>
#include "io/err.h"

#define TUN_BATCH    64
#define TUN_HEADROOM 64	  /* free bytes before a packet read: outer headers fit */
#define TUN_PKT_MAX  1500 /* longest packet read */
#define TUN_TAILROOM 64	  /* free bytes after it: padding and tag fit */

struct tun_pkt {
	uint8_t *data; /* TUN_HEADROOM bytes before and TUN_TAILROOM after len may be overwritten */
	size_t len;
};

struct tun_stats {
	uint64_t rx_packets, rx_bytes; /* read from the device */
	uint64_t tx_packets, tx_bytes; /* written to it */
	uint64_t tx_full;	       /* the device would not take more */
	uint64_t tx_errors;	       /* any other errno (EIO: link is down; EINVAL: not IP) */
	int tx_last_errno;
};

struct tun;

/* Create the device (name: at most 15 characters, "%d" allowed). Makes /dev/net/tun when it is
 * missing. 0; -EBUSY when the name is taken by a live process; -EPERM without the right; else
 * -errno. */
int tun_open(struct tun **out, const char *name, struct io_err *err);
void tun_close(struct tun *t);
int tun_fd(const struct tun *t);
int tun_ifindex(const struct tun *t);
const char *tun_name(const struct tun *t);
const struct tun_stats *tun_stats(const struct tun *t);

/* Read up to TUN_BATCH packets. Returns their number; *out stays valid until the next tun_read.
 * 0: nothing there, or the device is down (-EIO and the like are counted nowhere: they pass). */
size_t tun_read(struct tun *t, struct tun_pkt **out);
/* Hand one packet to the kernel as received on the device. 0 or -errno (counted). */
int tun_write(struct tun *t, const void *pkt, size_t len);
#endif
