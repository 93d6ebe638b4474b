/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP and UDP packets for the tests of segmentation and joining, every field to choose; checksums
 * by the plain functions of codec/ip_packet.h, which off_split and off_join do not use. */
#ifndef PENSTOCK_TESTS_OFF_PKT_H
#define PENSTOCK_TESTS_OFF_PKT_H
#include <string.h>
#include "base/bytes.h"
#include "codec/ip_packet.h"
#include "fwd/offload.h"

struct off_flow {
	uint8_t family, proto;
	uint8_t src, dst; /* last byte of the address */
	uint16_t sport, dport;
	uint8_t tos, ttl, flags;
	uint8_t opt_len;  /* TCP options, a multiple of 4 */
	uint8_t opt_fill; /* what they are */
	bool df;
	uint16_t id, win, urg;
	uint32_t seq, ack;
};

/* Make the transport and IPv4 header checksums right again. */
static inline void off_pkt_seal(uint8_t *p, size_t len)
{
	struct ip_meta m;
	size_t field;
	uint16_t c;

	if (p[0] >> 4 == 4) {
		be16_put(p + 10, 0);
		be16_put(p + 10, ip_csum(p, (size_t)(p[0] & 15) * 4));
	}
	if (ip_packet_parse(p, len, &m) || (m.l4 != IP_L4_TCP && m.l4 != IP_L4_UDP))
		return;
	field = m.l4_off + (m.l4 == IP_L4_TCP ? 16u : 6u);
	be16_put(p + field, 0);
	c = ip_csum_l4(p, &m);
	be16_put(p + field, m.l4 == IP_L4_UDP && !c ? 0xffff : c);
}

static inline size_t off_pkt_ip(const struct off_flow *f, uint8_t *p, size_t l4_len)
{
	if (f->family == 4) {
		const uint8_t a[8] = {10, 0, 0, f->src, 10, 0, 1, f->dst};

		memset(p, 0, 20);
		p[0] = 0x45;
		p[1] = f->tos;
		be16_put(p + 2, (uint16_t)(20 + l4_len));
		be16_put(p + 4, f->id);
		p[6] = f->df ? 0x40 : 0;
		p[8] = f->ttl;
		p[9] = f->proto;
		memcpy(p + 12, a, 8);
		return 20;
	}
	memset(p, 0, 40);
	be32_put(p, 6u << 28 | (uint32_t)f->tos << 20 | 0xabcde);
	be16_put(p + 4, (uint16_t)l4_len);
	p[6] = f->proto;
	p[7] = f->ttl;
	p[8] = p[24] = 0xfd;
	p[23] = f->src;
	p[38] = 1;
	p[39] = f->dst;
	return 40;
}

static inline size_t off_pkt_hdr_len(const struct off_flow *f)
{
	return (f->family == 4 ? 20u : 40u) + (f->proto == IP_PROTO_TCP ? 20u + f->opt_len : 8u);
}

/* The packet of f with this payload; returns its length. */
static inline size_t off_pkt(const struct off_flow *f, const uint8_t *payload, size_t n, uint8_t *p)
{
	size_t hdr = off_pkt_hdr_len(f), l4 = f->family == 4 ? 20 : 40;
	uint8_t *t = p + off_pkt_ip(f, p, hdr - l4 + n);

	memset(t, 0, hdr - l4);
	be16_put(t, f->sport);
	be16_put(t + 2, f->dport);
	if (f->proto == IP_PROTO_TCP) {
		be32_put(t + 4, f->seq);
		be32_put(t + 8, f->ack);
		t[12] = (uint8_t)((20 + f->opt_len) / 4 << 4);
		t[13] = f->flags;
		be16_put(t + 14, f->win);
		be16_put(t + 18, f->urg);
		memset(t + 20, f->opt_fill, f->opt_len);
	} else {
		be16_put(t + 4, (uint16_t)(8 + n));
	}
	memcpy(p + hdr, payload, n);
	off_pkt_seal(p, hdr + n);
	return hdr + n;
}

/* What a device would say about f's super-packet. */
static inline struct off_gso off_pkt_gso(const struct off_flow *f, uint16_t size)
{
	return (struct off_gso){.kind = f->proto == IP_PROTO_TCP ? OFF_TCP : OFF_UDP,
				.csum = true,
				.hdr_len = (uint16_t)off_pkt_hdr_len(f),
				.size = size,
				.csum_start = f->family == 4 ? 20 : 40,
				.csum_off = f->proto == IP_PROTO_TCP ? 16 : 6};
}

static inline size_t off_pkt_gather(const struct off_super *s, uint8_t *out)
{
	size_t len = 0;

	for (uint32_t i = 0; i < s->vecs; i++) {
		memcpy(out + len, s->vec[i].p, s->vec[i].len);
		len += s->vec[i].len;
	}
	return len;
}
#endif
