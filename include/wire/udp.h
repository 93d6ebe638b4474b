/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * UDP (RFC 768): four words. */
#ifndef PENSTOCK_WIRE_UDP_H
#define PENSTOCK_WIRE_UDP_H
#include "wire/load.h"

#define PS_UDP_HLEN  8
#define PS_UDP_SPORT 0
#define PS_UDP_DPORT 2
#define PS_UDP_LEN   4
#define PS_UDP_CSUM  6

/* Payload length of the datagram at p, of which the IP header grants `room` bytes, in *len.
 * 1, or 0 when header or lengths do not fit. Bytes behind the datagram are ignored. */
static __always_inline int ps_udp_parse(const __u8 *p, const __u8 *end, __u32 room, __u32 *len)
{
	__u32 udp_len;

	if (room < PS_UDP_HLEN || p + PS_UDP_HLEN > end)
		return 0;
	udp_len = ps_host16_at(p + PS_UDP_LEN);
	if (udp_len < PS_UDP_HLEN || udp_len > room)
		return 0;
	*len = udp_len - PS_UDP_HLEN;
	return 1;
}
#endif
