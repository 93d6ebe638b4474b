/* SPDX-License-Identifier: Apache-2.0
 *
 * Inner packets for tests: well-formed IPv4/IPv6 with TCP, UDP or ICMP, checksums right. */
#ifndef PENSTOCK_TESTS_PKT_H
#define PENSTOCK_TESTS_PKT_H
#include <string.h>
#include "base/bytes.h"
#include "codec/ip_packet.h"
#include "tests/t.h"

struct pkt {
	uint8_t b[1500];
	size_t len;
	struct ip_meta m;
};

static inline struct ipaddr pkt_ip(const char *text)
{
	struct ipaddr a = {0};

	T(ipaddr_parse(text, &a) == 0);
	return a;
}

static inline struct ipnet pkt_net(const char *text)
{
	struct ipnet n = {0};

	T(ipnet_parse(text, &n) == 0);
	return n;
}

/* IP header for l4_len bytes of proto; returns where the transport header goes. */
static inline uint8_t *pkt_ip_header(struct pkt *p, const struct ipaddr *src,
				     const struct ipaddr *dst, uint8_t proto, size_t l4_len)
{
	size_t hlen = src->family == 4 ? 20 : 40;

	memset(p, 0, sizeof(*p));
	p->len = hlen + l4_len;
	if (src->family == 4) {
		p->b[0] = 0x45;
		be16_put(p->b + 2, (uint16_t)p->len);
		p->b[8] = 64;
		p->b[9] = proto;
		memcpy(p->b + 12, src->b, 4);
		memcpy(p->b + 16, dst->b, 4);
		be16_put(p->b + 10, ip_csum(p->b, 20));
	} else {
		p->b[0] = 0x60;
		be16_put(p->b + 4, (uint16_t)l4_len);
		p->b[6] = proto;
		p->b[7] = 64;
		memcpy(p->b + 8, src->b, 16);
		memcpy(p->b + 24, dst->b, 16);
	}
	return p->b + hlen;
}

/* TCP, UDP or ICMP echo (dport is the identifier, sport the type; 0: request). */
static inline struct pkt pkt_make(const struct ipaddr *src, const struct ipaddr *dst, uint8_t proto,
				  uint16_t sport, uint16_t dport, size_t payload)
{
	bool icmp = proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6;
	size_t l4 = (proto == IP_PROTO_TCP ? 20 : 8) + payload;
	size_t csum = proto == IP_PROTO_TCP ? 16 : icmp ? 2 : 6;
	struct pkt p;
	uint8_t *h = pkt_ip_header(&p, src, dst, proto, l4);

	if (icmp) {
		h[0] = sport ? (uint8_t)sport : proto == IP_PROTO_ICMP ? 8 : 128;
		be16_put(h + 4, dport);
	} else {
		be16_put(h, sport);
		be16_put(h + 2, dport);
		if (proto == IP_PROTO_TCP) {
			h[12] = 0x50;
			h[13] = IP_TCP_ACK;
		} else {
			be16_put(h + 4, (uint16_t)l4);
		}
	}
	T(ip_packet_parse(p.b, p.len, &p.m) == 0);
	if (proto == p.m.proto && (icmp || proto == IP_PROTO_TCP || proto == IP_PROTO_UDP))
		be16_put(h + csum, ip_csum_l4(p.b, &p.m));
	return p;
}

static inline struct pkt pkt_text(const char *src, const char *dst, uint8_t proto, uint16_t sport,
				  uint16_t dport)
{
	struct ipaddr s = pkt_ip(src), d = pkt_ip(dst);

	return pkt_make(&s, &d, proto, sport, dport, 4);
}

/* An ICMP unreachable from `router` quoting p. */
static inline struct pkt pkt_error(const struct ipaddr *router, const struct pkt *quoted)
{
	bool v4 = router->family == 4;
	size_t quote = v4 ? 28 : quoted->len;
	struct pkt p;
	uint8_t *h = pkt_ip_header(&p, router, &quoted->m.src, v4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6,
				   8 + quote);

	h[0] = v4 ? 3 : 1;
	h[1] = v4 ? 4 : 0;
	memcpy(h + 8, quoted->b, quote);
	T(ip_packet_parse(p.b, p.len, &p.m) == 0);
	be16_put(h + 2, ip_csum_l4(p.b, &p.m));
	return p;
}
#endif
