/* SPDX-License-Identifier: Apache-2.0
 *
 * What segmentation and joining share: how a packet longer than the wire's, or one whose checksum
 * is left to the device, is described. It is what a virtio_net_hdr says, with numbers instead of
 * flags. Not here: the header itself (io/tun), what is done (off_split, off_join).
 *
 * A super-packet is one IP packet with one transport header and the payload of several: every
 * `size` bytes of it, the last fewer, are a packet of their own. */
#ifndef PENSTOCK_FWD_OFFLOAD_H
#define PENSTOCK_FWD_OFFLOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OFF_SUPER_MAX 65535 /* bytes of a super-packet: what an IPv4 header can say */
/* Packets a joined one is made of. Kernels before 6.9 refuse more than 64 for UDP; so may one this
 * machine is a guest of, when a virtio device passes the packet on to it, and nobody hears of it.
 */
#define OFF_SEGS_MAX 64

enum off_kind {
	OFF_NONE, /* one packet as it is on the wire, maybe without its checksum */
	OFF_TCP,
	OFF_UDP,
};

struct off_gso {
	uint8_t kind;	  /* enum off_kind */
	bool csum;	  /* the checksum at csum_start + csum_off is to be completed */
	bool ecn;	  /* TCP: CWR is set, and belongs to the first packet only */
	uint16_t hdr_len; /* IP and transport header; from a device a hint only */
	uint16_t size;	  /* payload bytes a packet */
	uint16_t csum_start, csum_off;
};

struct off_vec {
	const void *p;
	size_t len;
};

/* What off_join hands out. gso.kind OFF_NONE: one packet, untouched, in vec[0]. Else its header
 * and first payload in vec[0], more payload in those behind it: of a packet, or of several. */
struct off_super {
	struct off_gso gso;
	uint32_t packets; /* inner packets it is made of */
	uint32_t bytes;	  /* theirs, with their headers */
	uint32_t len;	  /* its own */
	uint32_t vecs;
	struct off_vec vec[OFF_SEGS_MAX];
};
#endif
