/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner packet as policy sees it: one strict pass over IPv4 (RFC 791) or IPv6 (RFC 8200) and
 * the head of TCP, UDP or ICMP. What policy cannot look into (fragments, unknown protocols, ESP)
 * parses as IP_L4_OTHER: it has addresses but no port.
 *
 * Not here: checksum verification (the receiving stack does it), reassembly, NAT. */
#ifndef PENSTOCK_CODEC_IP_PACKET_H
#define PENSTOCK_CODEC_IP_PACKET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

#define IP_PACKET_MTU 1280 /* the tunnel's MTU: largest inner packet either side sends */

enum ip_proto {
	IP_PROTO_ICMP = 1,
	IP_PROTO_TCP = 6,
	IP_PROTO_UDP = 17,
	IP_PROTO_ICMPV6 = 58,
};

enum ip_l4 {
	IP_L4_OTHER, /* no port to look at: other protocol, or any fragment */
	IP_L4_TCP,
	IP_L4_UDP,
	IP_L4_ICMP_ECHO, /* echo request or reply: icmp_id is the flow */
	IP_L4_ICMP_ERROR,
	IP_L4_ICMP_OTHER,
};

enum ip_tcp_flag { IP_TCP_FIN = 1, IP_TCP_SYN = 2, IP_TCP_RST = 4, IP_TCP_ACK = 16 };

enum ip_ecn { IP_ECN_NOT = 0, IP_ECN_ECT1 = 1, IP_ECN_ECT0 = 2, IP_ECN_CE = 3 };

struct ip_meta {
	struct ipaddr src, dst;
	uint32_t tcp_seq;
	uint16_t total_len;    /* the packet without trailing bytes */
	uint16_t l4_off;       /* first byte after IP header and extension headers */
	uint16_t sport, dport; /* TCP and UDP; else 0 */
	uint16_t icmp_id;      /* IP_L4_ICMP_ECHO; else 0 */
	uint8_t family;	       /* 4 or 6 */
	uint8_t proto;	       /* of what is at l4_off */
	uint8_t l4;	       /* enum ip_l4 */
	uint8_t icmp_type, icmp_code;
	uint8_t tcp_flags; /* all eight */
	uint8_t ecn;	   /* enum ip_ecn */
	bool is_fragment;  /* any part of a fragmented packet (an atomic IPv6 fragment is not) */
	bool is_later_fragment; /* offset is not zero */
	bool has_ext;		/* IPv4 options or IPv6 extension headers */
	bool source_routed; /* a routing header or option still names hops: dst is not the end */
};

/* pkt[len] may carry trailing bytes (padding); out->total_len says what to keep, 1..65535. 0, or
 * -EBADMSG when version, header lengths or the transport header do not fit; out is then untouched.
 */
int ip_packet_parse(const uint8_t *pkt, size_t len, struct ip_meta *out);
/* The packet quoted by an ICMP error (outer->l4 == IP_L4_ICMP_ERROR): cut off anywhere after its
 * first 8 transport bytes. 0 or -EBADMSG; out->total_len is what the quoted header says. */
int ip_packet_parse_quoted(const uint8_t *pkt, const struct ip_meta *outer, struct ip_meta *out);

/* Inner ECN after decapsulation, by RFC 6040 §4.2 (plan/ecn.h). IPv4 header checksum follows.
 * False: the packet must be dropped; it is as it was. */
bool ip_packet_merge_ecn(uint8_t *pkt, const struct ip_meta *meta, uint8_t outer_ecn);

/* Internet checksum (RFC 1071) of data, as it goes on the wire in host order. */
uint16_t ip_csum(const void *data, size_t len);
/* The transport checksum of an unfragmented TCP, UDP, ICMP or ICMPv6 packet whose checksum field
 * counts as it is: 0 for a packet that verifies; with the field zeroed, the value to put there. */
uint16_t ip_csum_l4(const uint8_t *pkt, const struct ip_meta *meta);
#endif
