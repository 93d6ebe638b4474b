/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames for the kernel programs, built byte by byte and sealed by libsodium: nothing here is
 * shared with the code under test. */
#ifndef PENSTOCK_TESTS_KPKT_H
#define PENSTOCK_TESTS_KPKT_H
#include <sodium.h>
#include "tests/t.h"

#define KP_ETH	    14
#define KP_WG	    16
#define KP_TAG	    16
#define KP_OUR_PORT 51820
#define KP_HIS_PORT 40000

struct kpkt {
	uint8_t b[2048];
	size_t len;
};

/* What an inner packet is made of. */
struct kinner {
	int family; /* 4, 6 */
	int proto;  /* 1, 6, 17, 58 */
	uint8_t saddr[16], daddr[16];
	uint16_t sport, dport; /* echo: identifier is sport */
	size_t payload;
	uint8_t tos;
};

static inline void kp_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void kp_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline void kp_le64(uint8_t *p, uint64_t v)
{
	kp_le32(p, (uint32_t)v);
	kp_le32(p + 4, (uint32_t)(v >> 32));
}

/* The checksum of RFC 1071, plainly: 16 bits at a time, big endian. */
static inline uint32_t kp_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline uint16_t kp_csum(const uint8_t *p, size_t len, uint32_t sum)
{
	return (uint16_t)~kp_sum(p, len, sum);
}

static inline uint32_t kp_pseudo(int family, const uint8_t *saddr, const uint8_t *daddr, int proto,
				 size_t l4_len)
{
	size_t n = family == 4 ? 4 : 16;

	return kp_sum(daddr, n, kp_sum(saddr, n, (uint32_t)proto + (uint32_t)l4_len));
}

/* IPv4 or IPv6 header for len bytes that follow; returns its length. */
static inline size_t kp_ip(uint8_t *p, int family, int proto, const uint8_t *saddr,
			   const uint8_t *daddr, uint8_t tos, size_t len)
{
	if (family == 4) {
		memset(p, 0, 20);
		p[0] = 0x45;
		p[1] = tos;
		kp_be16(p + 2, (unsigned)len + 20);
		p[8] = 61;
		p[9] = (uint8_t)proto;
		memcpy(p + 12, saddr, 4);
		memcpy(p + 16, daddr, 4);
		kp_be16(p + 10, kp_csum(p, 20, 0));
		return 20;
	}
	memset(p, 0, 40);
	p[0] = (uint8_t)(0x60 | tos >> 4);
	p[1] = (uint8_t)(tos << 4);
	kp_be16(p + 4, (unsigned)len);
	p[6] = (uint8_t)proto;
	p[7] = 61;
	memcpy(p + 8, saddr, 16);
	memcpy(p + 24, daddr, 16);
	return 40;
}

/* A whole inner packet with right checksums at p; its length. */
static inline size_t kp_inner(uint8_t *p, const struct kinner *in)
{
	size_t l4_hlen = in->proto == 6 ? 20 : 8, l4_len = l4_hlen + in->payload;
	size_t hlen = kp_ip(p, in->family, in->proto, in->saddr, in->daddr, in->tos, l4_len);
	size_t field = in->proto == 6 ? 16 : in->proto == 17 ? 6 : 2;
	uint8_t *h = p + hlen;
	uint32_t sum = 0;

	memset(h, 0, l4_hlen);
	for (size_t i = 0; i < in->payload; i++)
		h[l4_hlen + i] = (uint8_t)(i * 7 + in->sport);
	if (in->proto == 6 || in->proto == 17) {
		kp_be16(h, in->sport);
		kp_be16(h + 2, in->dport);
	} else {
		h[0] = in->proto == 1 ? 8 : 128;
		kp_be16(h + 4, in->sport);
	}
	if (in->proto == 6)
		h[12] = 0x50, h[13] = 0x10;
	if (in->proto == 17)
		kp_be16(h + 4, (unsigned)l4_len);
	if (in->proto != 1)
		sum = kp_pseudo(in->family, in->saddr, in->daddr, in->proto, l4_len);
	sum = kp_csum(h, l4_len, sum);
	kp_be16(h + field, sum || in->proto != 17 ? sum : 0xffff);
	return hlen + l4_len;
}

/* Seal text as a WireGuard data packet at p; bytes written. */
static inline size_t kp_wg(uint8_t *p, uint32_t receiver, uint64_t counter, const uint8_t key[32],
			   const uint8_t *text, size_t len)
{
	unsigned long long sealed = 0;
	uint8_t nonce[12] = {0};

	kp_le32(p, 4);
	kp_le32(p + 4, receiver);
	kp_le64(p + 8, counter);
	kp_le64(nonce + 4, counter);
	crypto_aead_chacha20poly1305_ietf_encrypt(p + KP_WG, &sealed, text, len, NULL, 0, NULL,
						  nonce, key);
	return KP_WG + (size_t)sealed;
}

struct kouter {
	int family;
	int vlan; /* tags */
	uint8_t tos;
	uint16_t dport;
	uint16_t channel; /* of a relay, 0: none */
	uint8_t pad;	  /* bytes behind what is in the channel */
};

/* Ethernet, VLAN tags, IP and UDP, and the channel's header, around the len bytes already at
 * p->b + kp_outer_len(o). */
static inline size_t kp_udp_end(const struct kouter *o)
{
	return KP_ETH + (size_t)o->vlan * 4 + (o->family == 4 ? 20 : 40) + 8;
}

static inline size_t kp_outer_len(const struct kouter *o)
{
	return kp_udp_end(o) + (o->channel ? 4 : 0);
}

static inline void kp_outer(struct kpkt *p, const struct kouter *o, size_t len)
{
	static const uint8_t a4[4] = {192, 0, 2, 9}, b4[4] = {192, 0, 2, 1};
	static const uint8_t a6[16] = {0x20, 1, 0xd, 0xb8, [15] = 9};
	static const uint8_t b6[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
	const uint8_t *s = o->family == 4 ? a4 : a6, *d = o->family == 4 ? b4 : b6;
	uint8_t *q = p->b;

	if (o->channel) {
		kp_be16(p->b + kp_udp_end(o), o->channel);
		kp_be16(p->b + kp_udp_end(o) + 2, (unsigned)len);
		memset(p->b + kp_outer_len(o) + len, 0, o->pad);
		len += 4 + (size_t)o->pad;
	}

	for (int i = 0; i < 12; i++)
		*q++ = (uint8_t)(i < 6 ? 0x02 + i * 2 : 0x40 + i); /* 02:…: unicast, local */
	for (int i = 0; i < o->vlan; i++) {
		kp_be16(q, i ? 0x8100 : 0x88a8);
		kp_be16(q + 2, 7);
		q += 4;
	}
	if (o->vlan == 1)
		kp_be16(q - 4, 0x8100);
	kp_be16(q, o->family == 4 ? 0x0800 : 0x86dd);
	q += 2;
	q += kp_ip(q, o->family, 17, s, d, o->tos, len + 8);
	kp_be16(q, KP_HIS_PORT);
	kp_be16(q + 2, o->dport);
	kp_be16(q + 4, (unsigned)len + 8);
	kp_be16(q + 6, 0);
	p->len = kp_udp_end(o) + len;
}
#endif
