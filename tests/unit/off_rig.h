/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch of packets through off_join, and what off_split makes of the result. */
#ifndef PENSTOCK_TESTS_OFF_RIG_H
#define PENSTOCK_TESTS_OFF_RIG_H
#include "fwd/off_join.h"
#include "fwd/off_split.h"
#include "tests/off_pkt.h"
#include "tests/t.h"

#define N_MAX 400
#define CAP   1600

struct item {
	uint8_t b[CAP];
	size_t len;
	uint32_t group; /* out: which super-packet; in: the model's, 0 alone */
};

static struct item in[N_MAX], out[N_MAX + 8];
static size_t n_in, n_out, n_super, biggest;
static struct off_join join;
static uint8_t work[N_MAX][CAP], whole[70000], payload[2000];

/* The header the kernel gets: whole and right but for the transport checksum, which holds the
 * pseudo-header's sum and is right once the rest is added. */
static inline void rig_header(const struct off_super *s, size_t len)
{
	static uint8_t done[70000];
	size_t at = (size_t)s->gso.csum_start + s->gso.csum_off;
	struct ip_meta m;

	memcpy(done, whole, len);
	be16_put(done + at, ip_csum(done + s->gso.csum_start, len - s->gso.csum_start));
	T_EQ(ip_packet_parse(done, len, &m), 0);
	T_EQ(m.total_len, len);
	T_EQ(m.l4_off, s->gso.csum_start);
	T_EQ(ip_csum_l4(done, &m), 0);
	T(m.family == 6 || ip_csum(done, 20) == 0);
	T_EQ(s->gso.hdr_len, m.l4_off + (m.l4 == IP_L4_TCP ? (done[m.l4_off + 12] >> 4) * 4 : 8));
}

static inline void rig_take(const struct off_super *s)
{
	size_t len = off_pkt_gather(s, whole), bytes = 0, packets = 0, n;
	struct off_split sp;

	T_EQ(len, s->len);
	T_EQ(s->packets > 1, s->gso.kind != OFF_NONE);
	if (s->packets == 1 && T(n_out < N_MAX)) {
		memcpy(out[n_out].b, whole, len);
		out[n_out].len = len;
		out[n_out++].group = 0;
		n_super++;
		return;
	}
	if (!T_EQ(off_split_begin(&sp, whole, len, &s->gso), 0))
		return;
	rig_header(s, len);
	T_EQ(sp.count, s->packets);
	T(s->packets <= OFF_SEGS_MAX && s->vecs <= OFF_SEGS_MAX && len <= OFF_SUPER_MAX);
	n_super++;
	biggest = s->packets > biggest ? s->packets : biggest;
	while (n_out < N_MAX + 8 && (n = off_split_next(&sp, out[n_out].b, CAP))) {
		out[n_out].len = n;
		out[n_out++].group = s->packets > 1 ? (uint32_t)n_super : 0;
		bytes += n;
		packets++;
	}
	T_EQ(packets, s->packets);
	T_EQ(bytes, s->bytes);
}

static inline void rig_drain(void)
{
	const struct off_super *s;

	while ((s = off_join_next(&join)))
		rig_take(s);
}

static inline void rig_run(bool tcp, bool udp)
{
	off_join_init(&join, tcp, udp);
	n_out = n_super = biggest = 0;
	for (size_t i = 0; i < n_in; i++) {
		memcpy(work[i], in[i].b, in[i].len);
		T(off_join_add(&join, work[i], in[i].len));
		rig_drain();
	}
	off_join_flush(&join);
	rig_drain();
	T_EQ(n_out, n_in);
}

static inline void rig_put(const struct off_flow *f, size_t n)
{
	if (T(n_in < N_MAX))
		in[n_in].len = off_pkt(f, payload, n, in[n_in].b), n_in++;
}

static inline struct off_flow rig_flow(uint8_t family, uint8_t proto)
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
				 .opt_len = proto == IP_PROTO_TCP ? 12 : 0,
				 .opt_fill = 1,
				 .win = 500,
				 .seq = 0xfffff000,
				 .ack = 7,
				 .id = 0xfffe};
}

/* The next packet of f. */
static inline void rig_more(struct off_flow *f, size_t n)
{
	rig_put(f, n);
	f->seq += (uint32_t)n;
	f->id++;
}

/* An id says nothing where DF is set: both go without it. */
static inline bool rig_same(const struct item *a, const struct item *b)
{
	static uint8_t x[CAP], y[CAP];

	if (a->len != b->len)
		return false;
	memcpy(x, a->b, a->len);
	memcpy(y, b->b, b->len);
	if (a->len >= 20 && x[0] >> 4 == 4 && (x[6] & 0x40) && ip_csum(x, 20) == ip_csum(y, 20)) {
		memset(x + 4, 0, 2), memset(y + 4, 0, 2);
		memset(x + 10, 0, 2), memset(y + 10, 0, 2);
	}
	return !memcmp(x, y, a->len);
}

static inline void rig_fill(void)
{
	uint64_t r = t_seed();

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)t_rand(&r);
}
#endif
