/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The part of STUN (RFC 8489 §5) that every demultiplexer needs, kernel side included: is this
 * datagram STUN at all? Not a decoder; that is codec/stun.h. */
#ifndef PENSTOCK_WIRE_STUN_H
#define PENSTOCK_WIRE_STUN_H
#include <linux/types.h>

#define STUN_HDR_LEN	  20
#define STUN_MAGIC_COOKIE 0x2112A442U /* bytes 4..7, network order */
#define STUN_TID_LEN	  12

/* The class bits 0x100 and 0x010 of the message type (§5, figure 3). */
#define STUN_TYPE_CLASS_MASK 0x0110U

/* p: the first eight readable bytes of a UDP payload of len bytes. The two top bits are zero, the
 * cookie is there and the length field covers the datagram exactly, as a multiple of four.
 * WireGuard messages (01..04 00 00 00) and channel data (0x40..) never pass. */
static inline int stun_is_message(const __u8 *p, __u32 len)
{
	__u32 body;

	if (len < STUN_HDR_LEN || (p[0] & 0xc0))
		return 0;
	if (p[4] != 0x21 || p[5] != 0x12 || p[6] != 0xA4 || p[7] != 0x42)
		return 0;
	body = (__u32)p[2] << 8 | p[3];
	return !(body & 3) && body + STUN_HDR_LEN == len;
}
#endif
