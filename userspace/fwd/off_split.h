/* SPDX-License-Identifier: Apache-2.0
 *
 * Segmentation: the packets a super-packet stands for, as a network card with TSO or USO would send
 * them. Neither description nor packet is trusted. Also completes the checksum of a single packet
 * that left it to the device.
 *
 * IPv4 (RFC 791): id goes up by one a packet. TCP (RFC 9293): sequence numbers go on, FIN and PSH
 * are on the last packet, CWR is on the first (RFC 3168 §6.1.2). TCP's and UDP's checksums are
 * computed from nothing, the checksum field of the super-packet is not looked at: who rewrites
 * addresses and ports before need not mind it. Not here: fragmentation. */
#ifndef PENSTOCK_FWD_OFF_SPLIT_H
#define PENSTOCK_FWD_OFF_SPLIT_H
#include "fwd/offload.h"

struct off_split {
	const uint8_t *pkt; /* must stay until the last off_split_next */
	uint32_t len, count, next;
	uint64_t sum;	 /* transport: pseudo-header and header, without what differs */
	uint64_t ip_sum; /* IPv4 header, without what differs */
	uint32_t seq;
	uint16_t size, l4_off, hdr_len, id;
	uint16_t csum_at, csum_from; /* csum_at 0: nothing to complete */
	uint8_t kind, family, flags;
	bool zero_is_ffff; /* UDP: a computed checksum of 0 is sent as 0xffff (RFC 768) */
};

/* Judge and count: s->count packets, at least 1, none with more than off_split_max(s) bytes. 0, or
 * -EBADMSG when packet and description do not fit; s is then of no use. */
int off_split_begin(struct off_split *s, const uint8_t *pkt, size_t len, const struct off_gso *gso);

/* The next packet, whole, into out; returns its length. 0: there is no more, or it is longer than
 * cap (it stays the next). out may be pkt itself when s->count is 1. */
size_t off_split_next(struct off_split *s, uint8_t *out, size_t cap);

static inline size_t off_split_max(const struct off_split *s)
{
	return s->count == 1 ? s->len : (size_t)s->hdr_len + s->size;
}
#endif
