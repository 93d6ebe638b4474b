/* SPDX-License-Identifier: Apache-2.0
 *
 * ICMP errors the tunnel answers refused packets with (RFC 792, RFC 1812 §4.3.2, RFC 4443 §2.4,
 * §3.2).
 * They come from the address the packet was sent to, hop limit 20; IPv4 quotes the IP header and 8
 * bytes, IPv6 as much as keeps the error within 1280. Rate limiting is the caller's. */
#ifndef PENSTOCK_CODEC_ICMP_ERROR_H
#define PENSTOCK_CODEC_ICMP_ERROR_H
#include <stddef.h>
#include <stdint.h>
#include "codec/ip_packet.h"

#define ICMP_ERROR_LEN_MAX 1280

enum icmp_error {
	ICMP_ERROR_NONE,	/* answer nothing */
	ICMP_ERROR_PROHIBITED,	/* administratively prohibited: v4 3/13, v6 1/1 */
	ICMP_ERROR_UNREACHABLE, /* v4 3/0 (network), v6 1/3 (address) */
};

/* The error for pkt (meta is its parse) into out[cap]; returns its length, 0 when none may be sent:
 * pkt is an ICMP error, a later fragment, to or from a multicast, broadcast, unspecified or
 * loopback address, or cap is too small (ICMP_ERROR_LEN_MAX always does). */
size_t icmp_error_build(enum icmp_error kind, const uint8_t *pkt, const struct ip_meta *meta,
			uint8_t *out, size_t cap);
/* "Fragmentation needed" (v4 3/4, RFC 1191) or "packet too big" (v6 type 2): no more than mtu bytes
 * can be sent on. The rest as above. */
size_t icmp_too_big_build(uint16_t mtu, const uint8_t *pkt, const struct ip_meta *meta,
			  uint8_t *out, size_t cap);
#endif
