/* SPDX-License-Identifier: Apache-2.0
 *
 * Segmentation: every packet parses, verifies by the plain checksum and is, header field by header
 * field, the one it should be; single packets whose checksum was left to the device; descriptions
 * and packets that do not fit. */
#include <errno.h>
#include <stdlib.h>
#include "fwd/off_split.h"
#include "tests/off_pkt.h"
#include "tests/t.h"

static uint8_t super[70000], seg[70000], want[70000], payload[66000];

static struct off_flow flow(uint8_t family, uint8_t proto)
{
	return (struct off_flow){.family = family,
				 .proto = proto,
				 .src = 1,
				 .dst = 2,
				 .sport = 1000,
				 .dport = 2000,
				 .tos = 2,
				 .ttl = 60,
				 .flags = IP_TCP_ACK,
				 .win = 500,
				 .seq = 0xfffffff0,
				 .ack = 7,
				 .id = 0xfffe};
}

static void fill(uint64_t *r)
{
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)t_rand(r);
}

/* Split; each packet must be the one built on its own. */
static void check(const struct off_flow *f, size_t len, uint16_t size)
{
	const struct off_gso g = off_pkt_gso(f, size);
	size_t total = off_pkt(f, payload, len, super), at = 0, n;
	struct off_flow one = *f;
	struct off_split s;
	uint32_t i = 0;

	/* the field is whatever it is: the pseudo-header's sum from the kernel, garbage else */
	super[g.csum_start + g.csum_off] ^= 0x5a;
	if (!T_EQ(off_split_begin(&s, super, total, &g), 0))
		return;
	T_EQ(s.count, len ? (len + size - 1) / size : 1);
	for (; (n = off_split_next(&s, seg, sizeof(seg))); i++) {
		size_t part = len - at < size ? len - at : size;

		one.flags = f->flags;
		if (at + part < len)
			one.flags &= (uint8_t)~9;
		if (at)
			one.flags &= (uint8_t)~128;
		one.seq = f->seq + (uint32_t)at;
		one.id = (uint16_t)(f->id + i);
		T_EQ(n, off_pkt(&one, payload + at, part, want));
		T(n <= off_split_max(&s));
		T_MEM(seg, want, n);
		at += part;
	}
	T_EQ(i, s.count);
	T_EQ(at, len);
	T_EQ(off_split_next(&s, seg, sizeof(seg)), 0);
}

static void test_known(void)
{
	struct off_flow t4 = flow(4, IP_PROTO_TCP), t6 = flow(6, IP_PROTO_TCP),
			u4 = flow(4, IP_PROTO_UDP), u6 = flow(6, IP_PROTO_UDP);
	uint64_t r = t_seed();

	fill(&r);
	t4.flags = t6.flags = 16 | 8 | 1 | 128 | 64;
	check(&t4, 4 * 1368 + 1, 1368);
	check(&t6, 4 * 1368, 1368);
	check(&u4, 64 * 100, 100);
	check(&u6, 3 * 1000 + 999, 1000);
	check(&t4, 65535 - 40, 1400);
	check(&u6, 65535 - 48, 1);
	check(&t4, 0, 1400);
	check(&t4, 10, 1400);
	check(&u4, 1400, 1400);
}

static void test_random(void)
{
	uint64_t r = t_seed();

	fill(&r);
	for (int i = 0; i < 3000; i++) {
		struct off_flow f = flow(t_rand(&r) % 2 ? 4 : 6, t_rand(&r) % 2 ? 6 : 17);
		size_t most = 65535u - 100, len = t_rand(&r) % (t_rand(&r) % 4 ? 9000 : most);

		f.tos = (uint8_t)t_rand(&r);
		f.ttl = (uint8_t)t_rand(&r);
		f.flags = (uint8_t)t_rand(&r) & (uint8_t)~6;
		f.id = (uint16_t)t_rand(&r);
		f.seq = (uint32_t)t_rand(&r);
		f.ack = (uint32_t)t_rand(&r);
		f.urg = (uint16_t)t_rand(&r);
		f.df = t_rand(&r) % 2;
		f.opt_len = (uint8_t)(t_rand(&r) % 11 * 4);
		f.opt_fill = (uint8_t)t_rand(&r);
		check(&f, len, (uint16_t)(1 + t_rand(&r) % 1500));
	}
}

/* A payload that makes the sum 0: UDP says 0xffff, TCP 0. */
static void test_zero_checksum(void)
{
	struct off_flow f = flow(4, IP_PROTO_UDP);

	memset(payload, 0, 8);
	off_pkt(&f, payload, 4, super);
	memcpy(payload, super + 26, 2); /* the checksum as payload: the sum becomes 0 */
	check(&f, 8, 4);
	T_EQ(off_pkt(&f, payload, 4, super), 32);
	T_EQ(be16_get(super + 26), 0xffff);
}

static void test_room(void)
{
	struct off_flow f = flow(4, IP_PROTO_TCP);
	const struct off_gso g = off_pkt_gso(&f, 100);
	size_t len = off_pkt(&f, payload, 250, super);
	struct off_split s;

	T_EQ(off_split_begin(&s, super, len, &g), 0);
	T_EQ(off_split_max(&s), 140);
	T_EQ(off_split_next(&s, seg, 139), 0);
	T_EQ(off_split_next(&s, seg, 140), 140);
	T_EQ(off_split_next(&s, seg, 140), 140);
	T_EQ(off_split_next(&s, seg, 89), 0);
	T_EQ(off_split_next(&s, seg, 90), 90);
	T_EQ(off_split_next(&s, seg, 140), 0);
}

/* ---- one packet ---- */

static void check_one(const struct off_flow *f, size_t len, uint8_t in_field)
{
	struct off_gso g = off_pkt_gso(f, 0);
	size_t total = off_pkt(f, payload, len, want);
	struct off_split s;

	g.kind = OFF_NONE;
	memcpy(super, want, total);
	memset(super + g.csum_start + g.csum_off, in_field, 2);
	T_EQ(off_split_begin(&s, super, total, &g), 0);
	T_EQ(s.count, 1);
	T_EQ(off_split_max(&s), total);
	T_EQ(off_split_next(&s, seg, total - 1), 0);
	T_EQ(off_split_next(&s, seg, total), total);
	T_MEM(seg, want, total);
	T_EQ(off_split_begin(&s, super, total, &g), 0);
	T_EQ(off_split_next(&s, super, total), total); /* in place */
	T_MEM(super, want, total);
	T_EQ(off_split_next(&s, super, total), 0);
}

static void test_one(void)
{
	struct off_gso none = {.kind = OFF_NONE};
	uint64_t r = t_seed();
	struct off_split s;

	fill(&r);
	for (int i = 0; i < 400; i++) {
		struct off_flow f = flow(i & 1 ? 4 : 6, i & 2 ? 6 : 17);

		check_one(&f, t_rand(&r) % 1400, (uint8_t)t_rand(&r));
		check_one(&f, t_rand(&r) % 1400, i & 4 ? 0xff : 0);
	}
	T_EQ(off_split_begin(&s, payload, 1000, &none), 0); /* whatever it is: as it is */
	T_EQ(off_split_next(&s, seg, 1000), 1000);
	T_MEM(seg, payload, 1000);
}

/* A checksum further in, of a packet within the packet: what its field holds is part of the sum. */
static void test_inner(void)
{
	struct off_flow f = flow(4, IP_PROTO_TCP);
	struct off_gso g = {.csum = true, .csum_start = 20 + 20, .csum_off = 16};
	size_t n = off_pkt(&f, payload, 500, want + 20);
	struct off_flow ipip = {.family = 4, .proto = 4, .src = 9, .dst = 8, .ttl = 3};
	struct ip_meta m;
	struct off_split s;
	uint32_t sum;

	off_pkt_ip(&ipip, want, n);
	off_pkt_seal(want, 20 + n);
	memcpy(super, want, 20 + n);
	T_EQ(ip_packet_parse(super + 20, n, &m), 0);
	/* the pseudo-header alone: what the kernel leaves there */
	sum = (uint16_t)~ip_csum(super + 32, 8) + 6u + (uint32_t)n - 20;
	be16_put(super + 56, (uint16_t)(sum + (sum >> 16)));
	T_EQ(off_split_begin(&s, super, 20 + n, &g), 0);
	T_EQ(off_split_next(&s, seg, sizeof(seg)), 20 + n);
	T_MEM(seg, want, 20 + n);
}

/* ---- what does not fit ---- */

static int judge(const struct off_flow *f, size_t len, const struct off_gso *g)
{
	struct off_split s;

	return off_split_begin(&s, super, off_pkt(f, payload, len, super), g);
}

static int judge_byte(const struct off_flow *f, size_t at, uint8_t value, size_t cut)
{
	const struct off_gso g = off_pkt_gso(f, 100);
	size_t len = off_pkt(f, payload, 500, super) - cut;
	struct off_split s;

	super[at] = value;
	return off_split_begin(&s, super, len, &g);
}

#define REFUSED_WITH(f, field, value)                        \
	do {                                                 \
		struct off_gso bad = off_pkt_gso(&(f), 100); \
		bad.field = (value);                         \
		T_EQ(judge(&(f), 500, &bad), -EBADMSG);      \
	} while (0)

static void test_descriptions_that_do_not_fit(void)
{
	struct off_flow t4 = flow(4, IP_PROTO_TCP), t6 = flow(6, IP_PROTO_TCP),
			u4 = flow(4, IP_PROTO_UDP);
	struct off_gso g = off_pkt_gso(&t4, 100);

	T_EQ(judge(&t4, 500, &g), 0);
	REFUSED_WITH(t4, size, 0);
	REFUSED_WITH(t4, csum, false);
	REFUSED_WITH(t4, kind, OFF_UDP);
	REFUSED_WITH(t4, kind, 3);
	REFUSED_WITH(t4, kind, 255);
	REFUSED_WITH(t4, csum_start, 19);
	REFUSED_WITH(t4, csum_start, 40);
	REFUSED_WITH(t4, csum_start, 0xffff);
	REFUSED_WITH(t4, csum_off, 6);
	REFUSED_WITH(t4, csum_off, 0xffff);
	REFUSED_WITH(t6, csum_start, 48);
	REFUSED_WITH(u4, kind, OFF_TCP);
	REFUSED_WITH(u4, csum_off, 16);
	g.hdr_len = 0xffff; /* a hint is a hint */
	T_EQ(judge(&t4, 500, &g), 0);
}

static void test_packets_that_do_not_fit(void)
{
	struct off_flow t4 = flow(4, IP_PROTO_TCP), t6 = flow(6, IP_PROTO_TCP),
			u4 = flow(4, IP_PROTO_UDP);

	T_EQ(judge_byte(&t4, 0, 0x45, 0), 0);
	T_EQ(judge_byte(&t4, 0, 0x45, 1), -EBADMSG); /* shorter than it says */
	T_EQ(judge_byte(&t4, 2, 0x01, 0), -EBADMSG); /* longer than it says */
	T_EQ(judge_byte(&t4, 0, 0x46, 0), -EBADMSG); /* TCP is elsewhere */
	T_EQ(judge_byte(&t4, 0, 0x4f, 0), -EBADMSG);
	T_EQ(judge_byte(&t4, 0, 0x75, 0), -EBADMSG);
	T_EQ(judge_byte(&t4, 6, 0x20, 0), -EBADMSG); /* a fragment */
	T_EQ(judge_byte(&t4, 7, 1, 0), -EBADMSG);
	T_EQ(judge_byte(&t4, 9, 17, 0), -EBADMSG);
	T_EQ(judge_byte(&t4, 32, 0x40, 0), -EBADMSG); /* data offset */
	T_EQ(judge_byte(&t4, 32, 0xf0, 0), 0);
	T_EQ(judge_byte(&t6, 6, 44, 0), -EBADMSG);
	T_EQ(judge_byte(&t6, 5, 3, 0), -EBADMSG);
	T_EQ(judge_byte(&u4, 25, 7, 0), -EBADMSG); /* UDP's length */
	T_EQ(judge_byte(&u4, 24, 0, 0), -EBADMSG);
}

static void test_lengths_that_do_not_fit(void)
{
	struct off_gso g = {.csum = true, .csum_start = 20, .csum_off = 16}, none = {0};
	struct off_split s;

	memset(super, 0, 100);
	T_EQ(off_split_begin(&s, super, 0, &none), -EBADMSG);
	T_EQ(off_split_begin(&s, super, 65536, &none), -EBADMSG);
	T_EQ(off_split_begin(&s, super, 65535, &none), 0);
	T_EQ(off_split_begin(&s, super, 37, &g), -EBADMSG);
	T_EQ(off_split_begin(&s, super, 38, &g), 0);
	g.csum_off = 17;
	T_EQ(off_split_begin(&s, super, 100, &g), -EBADMSG);
	g.csum_off = 0xfffe;
	T_EQ(off_split_begin(&s, super, 65535, &g), -EBADMSG);
	g = (struct off_gso){.csum = true, .csum_start = 0, .csum_off = 10};
	T_EQ(off_split_begin(&s, super, 100, &g), -EBADMSG); /* the IP header's own */
}

/* IPv6 extension headers: where the device says TCP is, or not at all; never with a source route.
 */
static void test_extension_headers(void)
{
	struct off_flow f = flow(6, IP_PROTO_TCP);
	struct off_gso g = off_pkt_gso(&f, 100);
	size_t len = off_pkt(&f, payload, 300, want);
	uint32_t sum = 0;
	struct off_split s;
	struct ip_meta m;
	size_t n;

	memcpy(super, want, 40);
	memset(super + 40, 0, 8);
	super[6] = 60;
	super[40] = IP_PROTO_TCP;
	super[42] = 1, super[43] = 4; /* padding */
	be16_put(super + 4, (uint16_t)(len - 40 + 8));
	memcpy(super + 48, want + 40, len - 40);
	T_EQ(off_split_begin(&s, super, len + 8, &g), -EBADMSG);
	g.csum_start = 48;
	T_EQ(off_split_begin(&s, super, len + 8, &g), 0);
	T_EQ(s.count, 3);
	while ((n = off_split_next(&s, seg, sizeof(seg)))) {
		T_EQ(n, 40 + 8 + 20 + 100);
		T_EQ(ip_packet_parse(seg, n, &m), 0);
		T_EQ(m.total_len, n);
		T_EQ(ip_csum_l4(seg, &m), 0);
		T_MEM(seg + 40, super + 40, 8);
		sum += be32_get(seg + 52) - f.seq;
	}
	T_EQ(sum, 0 + 100 + 200);
	super[6] = 43; /* a routing header with a hop left */
	super[43] = 1;
	T_EQ(off_split_begin(&s, super, len + 8, &g), -EBADMSG);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_known);
	T_RUN(test_random);
	T_RUN(test_zero_checksum);
	T_RUN(test_room);
	T_RUN(test_one);
	T_RUN(test_inner);
	T_RUN(test_descriptions_that_do_not_fit);
	T_RUN(test_packets_that_do_not_fit);
	T_RUN(test_lengths_that_do_not_fit);
	T_RUN(test_extension_headers);
	return t_done();
}
