/* SPDX-License-Identifier: Apache-2.0
 *
 * begin() judges everything and sums up what all packets share; next() adds what is a packet's own
 * while it copies the payload. The contract is in off_split.h. */
#include "fwd/off_split.h"
#include <errno.h>
#include "base/bytes.h"
#include "base/csum.h"
#include "codec/ip_packet.h"

#define TCP_HDR_MAX 60
#define UDP_HDR_LEN 8

enum { TCP_SEQ = 4, TCP_FLAGS = 13, TCP_CSUM = 16, UDP_LEN = 4, UDP_CSUM = 6 };
enum { TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 128 };

static size_t csum_field(const struct ip_meta *m)
{
	return m->l4 == IP_L4_TCP ? TCP_CSUM : UDP_CSUM;
}

/* The device's checksum is that of the transport header found here, and its pseudo-header is the
 * one of these addresses (with a source route it would be another, RFC 8200 §8.1). */
static bool plain_transport(const uint8_t *pkt, size_t len, const struct ip_meta *m,
			    const struct off_gso *g)
{
	if ((m->l4 != IP_L4_TCP && m->l4 != IP_L4_UDP) || m->source_routed || m->total_len != len)
		return false;
	if (m->l4 == IP_L4_UDP && be16_get(pkt + m->l4_off + UDP_LEN) != len - m->l4_off)
		return false;
	return g->csum_start == m->l4_off && g->csum_off == csum_field(m);
}

/* Addresses and protocol; the length is added where it is known. */
static uint64_t pseudo_sum(const uint8_t *pkt, const struct ip_meta *m)
{
	uint64_t sum = m->family == 4 ? csum_add_words(0, pkt + 12, 2)
				      : csum_add_words(0, pkt + 8, 8);

	return csum_add16(sum, m->proto);
}

/* One packet. What the field holds counts as nothing where the sum is ours from the start; in
 * anything else (a tunnel within) it is the sum that whoever built the packet began. */
static int begin_one(struct off_split *s, const struct off_gso *g)
{
	struct ip_meta m;

	if ((size_t)g->csum_start + g->csum_off + 2 > s->len || g->csum_off % 2)
		return -EBADMSG;
	s->csum_from = g->csum_start;
	s->csum_at = (uint16_t)(g->csum_start + g->csum_off);
	if (ip_packet_parse(s->pkt, s->len, &m) || !plain_transport(s->pkt, s->len, &m, g))
		return s->csum_at < 20 ? -EBADMSG : 0;
	s->zero_is_ffff = m.l4 == IP_L4_UDP;
	s->sum = csum_add16(pseudo_sum(s->pkt, &m), (uint16_t)(s->len - m.l4_off));
	s->sum = csum_add16(s->sum, (uint16_t)~be16_get(s->pkt + s->csum_at));
	return 0;
}

static void sum_shared(struct off_split *s, const struct ip_meta *m)
{
	uint8_t h[TCP_HDR_MAX];

	memcpy(h, s->pkt + s->l4_off, (size_t)s->hdr_len - s->l4_off);
	if (s->kind == OFF_TCP) {
		memset(h + TCP_SEQ, 0, 4);
		h[TCP_FLAGS] = 0;
		memset(h + TCP_CSUM, 0, 2);
	} else {
		memset(h + UDP_LEN, 0, 4);
	}
	s->sum = csum_add(pseudo_sum(s->pkt, m), h, (size_t)s->hdr_len - s->l4_off);
	if (s->family == 6)
		return;
	/* without total length, id and checksum */
	s->ip_sum = csum_add(csum_add(0, s->pkt, 2), s->pkt + 6, 4);
	s->ip_sum = csum_add(s->ip_sum, s->pkt + 12, (size_t)s->l4_off - 12);
}

static int begin_many(struct off_split *s, const struct off_gso *g)
{
	const uint8_t *l4;
	struct ip_meta m;
	uint32_t payload;

	if (!g->csum || !g->size || ip_packet_parse(s->pkt, s->len, &m) ||
	    m.l4 != (g->kind == OFF_TCP ? IP_L4_TCP : IP_L4_UDP) ||
	    !plain_transport(s->pkt, s->len, &m, g))
		return -EBADMSG;
	l4 = s->pkt + m.l4_off;
	s->kind = g->kind;
	s->family = m.family;
	s->size = g->size;
	s->l4_off = m.l4_off;
	s->hdr_len = (uint16_t)(m.l4_off + (m.l4 == IP_L4_TCP ? (l4[12] >> 4) * 4 : UDP_HDR_LEN));
	s->csum_at = (uint16_t)(m.l4_off + csum_field(&m));
	s->seq = m.tcp_seq;
	s->flags = m.tcp_flags;
	s->id = m.family == 4 ? be16_get(s->pkt + 4) : 0;
	s->zero_is_ffff = m.l4 == IP_L4_UDP;
	payload = s->len - s->hdr_len;
	s->count = payload > s->size ? (payload + s->size - 1) / s->size : 1;
	sum_shared(s, &m);
	return 0;
}

int off_split_begin(struct off_split *s, const uint8_t *pkt, size_t len, const struct off_gso *gso)
{
	*s = (struct off_split){.pkt = pkt, .count = 1};
	if (!len || len > OFF_SUPER_MAX)
		return -EBADMSG;
	s->len = (uint32_t)len;
	switch ((enum off_kind)gso->kind) {
	case OFF_NONE:
		return gso->csum ? begin_one(s, gso) : 0;
	case OFF_TCP:
	case OFF_UDP:
		return begin_many(s, gso);
	}
	return -EBADMSG;
}

static void put_csum(const struct off_split *s, uint8_t *out, uint64_t sum)
{
	uint16_t c = (uint16_t)~csum_fold(sum);

	csum_put(out + s->csum_at, !c && s->zero_is_ffff ? 0xffff : c);
}

static size_t next_one(const struct off_split *s, uint8_t *out)
{
	size_t from = s->csum_at ? s->csum_from : s->len;
	uint64_t sum;

	if (out != s->pkt)
		memcpy(out, s->pkt, from);
	if (s->csum_at) {
		sum = csum_add_copy(s->sum, out + from, s->pkt + from, s->len - from);
		put_csum(s, out, sum);
	}
	return s->len;
}

static void put_ip(const struct off_split *s, uint8_t *out, uint32_t i, size_t len)
{
	uint16_t id = (uint16_t)(s->id + i);
	uint64_t sum;

	if (s->family == 6) {
		be16_put(out + 4, (uint16_t)(len - 40));
		return;
	}
	be16_put(out + 2, (uint16_t)len);
	be16_put(out + 4, id);
	sum = csum_add16(csum_add16(s->ip_sum, (uint16_t)len), id);
	csum_put(out + 10, (uint16_t)~csum_fold(sum));
}

/* What differs in a TCP header; returns the sum with it. */
static uint64_t put_tcp(const struct off_split *s, uint8_t *l4, uint32_t i, uint64_t sum)
{
	uint32_t seq = s->seq + i * s->size;
	uint8_t flags = s->flags;

	if (i + 1 < s->count)
		flags &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (i)
		flags &= (uint8_t)~TCP_CWR;
	be32_put(l4 + TCP_SEQ, seq);
	l4[TCP_FLAGS] = flags;
	return csum_add16(csum_add32(sum, seq), flags);
}

static size_t next_of_many(const struct off_split *s, uint8_t *out, uint32_t i)
{
	size_t off = s->hdr_len + (size_t)i * s->size;
	size_t n = i + 1 < s->count ? s->size : s->len - off;
	uint16_t l4_len = (uint16_t)(s->hdr_len - s->l4_off + n);
	uint8_t *l4 = out + s->l4_off;
	uint64_t sum;

	if (out != s->pkt)
		memcpy(out, s->pkt, s->hdr_len);
	sum = csum_add_copy(csum_add16(s->sum, l4_len), out + s->hdr_len, s->pkt + off, n);
	put_ip(s, out, i, s->hdr_len + n);
	if (s->kind == OFF_TCP) {
		sum = put_tcp(s, l4, i, sum);
	} else {
		be16_put(l4 + UDP_LEN, l4_len);
		sum = csum_add16(sum, l4_len);
	}
	put_csum(s, out, sum);
	return s->hdr_len + n;
}

static size_t next_len(const struct off_split *s)
{
	return s->next + 1 < s->count ? (size_t)s->hdr_len + s->size
				      : s->len - (size_t)s->next * s->size;
}

size_t off_split_next(struct off_split *s, uint8_t *out, size_t cap)
{
	size_t len;

	if (s->next >= s->count || next_len(s) > cap)
		return 0;
	len = s->kind == OFF_NONE ? next_one(s, out) : next_of_many(s, out, s->next);
	s->next++;
	return len;
}
