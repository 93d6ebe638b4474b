/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * ChannelData (RFC 8656 §12.4): four bytes of header, then the payload.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-------------------------------+-------------------------------+
 *   |         channel number        |    payload length (bytes)     |
 *   +-------------------------------+-------------------------------+
 *
 * Over UDP a datagram holds one message, and up to three bytes of padding may follow it; Penstock
 * tolerates them and never sends them. STUN begins with 00 or 01, WireGuard with 01..04, so the
 * first byte tells channel data apart. */
#ifndef PENSTOCK_WIRE_TURN_H
#define PENSTOCK_WIRE_TURN_H
#include "compat/target.h"
#include "wire/load.h"

#define TURN_PORT	    3478 /* of a relay that names none */
#define TURN_CHAN_HDR_LEN   4
#define TURN_CHAN_MIN	    0x4000
#define TURN_CHAN_ALLOC_MAX 0x4fff /* RFC 8656 §12: the range for new bindings */
#define TURN_CHAN_MAX	    0x7fff /* RFC 5766's range, still accepted in data */
#define TURN_CHAN_PAD_MAX   3

struct turn_chan_hdr {
	__u16 number; /* host order, TURN_CHAN_MIN..TURN_CHAN_MAX */
	__u16 len;    /* payload bytes after the header */
	__u32 pad;    /* bytes behind the payload, 0..TURN_CHAN_PAD_MAX */
};

static __always_inline int turn_is_channel(__u16 number)
{
	return number >= TURN_CHAN_MIN && number <= TURN_CHAN_MAX;
}

/* p: TURN_CHAN_HDR_LEN readable bytes at the start of a UDP payload of len bytes. 1 and *h when it
 * is one ChannelData message, with at most the padding RFC 8656 §12.5 allows; else 0. */
static __always_inline int turn_chan_parse(const __u8 *p, __u32 len, struct turn_chan_hdr *h)
{
	if (len < TURN_CHAN_HDR_LEN)
		return 0;
	h->number = ps_host16_at(p);
	h->len = ps_host16_at(p + 2);
	if (!turn_is_channel(h->number) || h->len > len - TURN_CHAN_HDR_LEN)
		return 0;
	h->pad = len - TURN_CHAN_HDR_LEN - h->len;
	return h->pad <= TURN_CHAN_PAD_MAX;
}

/* Write the header of a payload of len bytes at p. */
static __always_inline void turn_chan_put(__u8 *p, __u16 number, __u16 len)
{
	ps_be16_put(p, number);
	ps_be16_put(p + 2, len);
}
#endif
