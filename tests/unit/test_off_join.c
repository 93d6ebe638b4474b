/* SPDX-License-Identifier: Apache-2.0
 *
 * Joining, as a table of what is joined and what is not, and how often. Streams in which everything
 * comes together: test_off_stream.c. */
#include "tests/unit/off_rig.h"

static void all_out_as_in(void)
{
	for (size_t i = 0; i < n_in; i++)
		if (!T(rig_same(&in[i], &out[i])))
			t_note("packet %zu", i);
}

static void run_expect(size_t supers)
{
	rig_run(true, true);
	T_EQ(n_super, supers);
	all_out_as_in();
}

static void test_joined(void)
{
	for (int kind = 0; kind < 4; kind++) {
		struct off_flow f = rig_flow(kind & 1 ? 4 : 6, kind & 2 ? 6 : 17);
		size_t n = kind & 2 ? 1368 : 1372, most = (65535 - off_pkt_hdr_len(&f)) / n;

		n_in = 0;
		for (size_t i = 0; i < most; i++)
			rig_more(&f, n);
		rig_run(true, true);
		T_EQ(n_super, 1);
		all_out_as_in();
		for (size_t i = 0; i < most; i++) /* 64 KiB are full */
			rig_more(&f, n);
		rig_run(true, true);
		T_EQ(n_super, 2);
		all_out_as_in();
		rig_run(!(kind & 2), kind & 2); /* not wanted */
		T_EQ(n_super, 2 * most);
		all_out_as_in();
	}
}

static void test_bounded(void)
{
	struct off_flow f = rig_flow(4, IP_PROTO_UDP);

	n_in = 0;
	for (int i = 0; i < 200; i++)
		rig_more(&f, 10);
	rig_run(true, true);
	T_EQ(n_super, 4); /* 64, 64, 64, 8 */
	T_EQ(biggest, 64);
	all_out_as_in();
}

static void all_out_somewhere(void)
{
	for (size_t i = 0, k; i < n_in; i++) {
		for (k = 0; k < n_out && !rig_same(&in[i], &out[k]); k++)
			;
		T(k < n_out);
	}
}

/* As many flows in turn, each of 13 packets and a short one, no two with the same data. */
static void side_by_side(unsigned flows, size_t size)
{
	struct off_flow f[OFF_JOIN_OPEN];

	n_in = 0;
	for (unsigned i = 0; i < flows; i++) {
		f[i] = rig_flow(i & 1 ? 4 : 6, i & 2 ? 6 : 17);
		f[i].src = (uint8_t)i;
	}
	for (unsigned k = 0; k < 14; k++)
		for (unsigned i = 0; i < flows; i++) {
			memset(payload, (int)n_in, size);
			rig_more(&f[i], k < 13 ? size : 7);
			if (k == 5) /* twice in a row */
				rig_more(&f[i], size);
		}
	rig_run(true, true);
	T_EQ(n_super, flows);
	all_out_somewhere();
}

/* Short payloads are put side by side; when there is no room left for a flow's, they stay where
 * they are. */
static void test_side_by_side(void)
{
	for (size_t size = OFF_JOIN_SHORT - 1; size <= OFF_JOIN_SHORT + 1; size++)
		for (unsigned flows = 1; flows <= OFF_JOIN_OPEN; flows++)
			side_by_side(flows, size);
	rig_fill();
}

/* Two flows and both directions of one, in turn. */
static void test_in_turn(void)
{
	struct off_flow a = rig_flow(4, 6), b = rig_flow(4, 6), c = rig_flow(4, 6),
			d = rig_flow(6, 6);

	b.sport = 1001;
	c.src = 2, c.dst = 1, c.sport = 2000, c.dport = 1000;
	n_in = 0;
	for (int i = 0; i < 20; i++)
		rig_more(&a, 100), rig_more(&b, 100), rig_more(&c, 100), rig_more(&d, 100);
	rig_run(true, true);
	T_EQ(n_super, 4);
}

static void test_ends_with_short_or_push(void)
{
	struct off_flow f = rig_flow(4, 6);

	n_in = 0;
	rig_more(&f, 100), rig_more(&f, 100), rig_more(&f, 50), rig_more(&f, 100),
		rig_more(&f, 100);
	rig_run(true, true);
	T_EQ(n_super, 2);
	T_EQ(out[2].group, out[0].group);
	T_EQ(out[3].group, out[4].group);
	n_in = 0;
	rig_more(&f, 100), f.flags |= 8, rig_more(&f, 100), rig_more(&f, 100), f.flags = 16,
									       rig_more(&f, 100);
	rig_more(&f, 100);
	rig_run(true, true);
	T_EQ(n_super, 3); /* two, the second with PSH; PSH alone; two */
	T_EQ(out[2].group, 0);
	all_out_as_in();
	n_in = 0;
	rig_more(&f, 50), rig_more(&f, 100), rig_more(&f, 100);
	rig_run(true, true);
	T_EQ(n_super, 2);
	all_out_as_in();
}

/* One field of a packet is another: never with those before. There is a long way for the second
 * one, and a short one for the third, with payloads that are put side by side and that are not. */
static void not_joined_with(uint8_t family, uint8_t proto, void (*change)(struct off_flow *f))
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct off_flow f = rig_flow(family, proto), odd;
		size_t n = kind & 1 ? 100 : OFF_JOIN_SHORT + 100;

		n_in = 0;
		rig_more(&f, n);
		if (kind & 2)
			rig_more(&f, n);
		odd = f;
		change(&odd);
		rig_put(&odd, n);
		rig_run(true, true);
		T_EQ(n_super, 2);
		all_out_as_in();
	}
}

#define CHANGE(name, what)                            \
	static void change_##name(struct off_flow *f) \
	{                                             \
		what;                                 \
	}
CHANGE(tos, f->tos ^= 4)
CHANGE(ecn, f->tos |= 3)
CHANGE(ttl, f->ttl--)
CHANGE(df, f->df = true)
CHANGE(id, f->id++)
CHANGE(id_same, f->id--)
CHANGE(seq, f->seq++)
CHANGE(again, f->seq -= 100)
CHANGE(ack, f->ack++)
CHANGE(win, f->win++)
CHANGE(urg, f->urg++)
CHANGE(opt, f->opt_fill++)
CHANGE(opt_len, f->opt_len += 4)
CHANGE(fin, f->flags |= 1)
CHANGE(syn, f->flags |= 2)
CHANGE(rst, f->flags |= 4)
CHANGE(urgent, f->flags |= 32)
CHANGE(ece, f->flags |= 64)
CHANGE(cwr, f->flags |= 128)
CHANGE(no_ack, f->flags = 0)
CHANGE(sport, f->sport++)
CHANGE(dport, f->dport++)
CHANGE(src, f->src++)
CHANGE(dst, f->dst++)
CHANGE(both, (f->src++, f->dst--)) /* no checksum tells */

static void test_fields(void)
{
	void (*const any[])(struct off_flow *) = {change_tos,	change_ecn,   change_ttl,
						  change_sport, change_dport, change_src,
						  change_dst,	change_both};
	void (*const v4[])(struct off_flow *) = {change_df, change_id, change_id_same};
	void (*const tcp[])(struct off_flow *) = {
		change_seq,    change_again,   change_ack, change_win,	 change_urg,
		change_opt,    change_opt_len, change_fin, change_syn,	 change_rst,
		change_urgent, change_ece,     change_cwr, change_no_ack};

	for (int kind = 0; kind < 4; kind++)
		for (size_t i = 0; i < sizeof(any) / sizeof(*any); i++)
			not_joined_with(kind & 1 ? 4 : 6, kind & 2 ? 6 : 17, any[i]);
	for (size_t i = 0; i < sizeof(v4) / sizeof(*v4); i++) {
		not_joined_with(4, 6, v4[i]);
		not_joined_with(4, 17, v4[i]);
	}
	for (size_t i = 0; i < sizeof(tcp) / sizeof(*tcp); i++) {
		not_joined_with(4, 6, tcp[i]);
		not_joined_with(6, 6, tcp[i]);
	}
}

/* Bytes of the second packet (and of the first: it is no better; and of the third), without a
 * checksum set right. */
static void not_joined_byte(struct off_flow f, size_t at, uint8_t xor, bool seal)
{
	for (size_t which = 0; which < 3; which++) {
		struct off_flow g = f;

		n_in = 0;
		rig_more(&g, 100), rig_more(&g, 100);
		if (which == 2)
			rig_more(&g, 100);
		in[which].b[at] ^= xor;
		if (seal)
			off_pkt_seal(in[which].b, in[which].len);
		rig_run(true, true);
		if (!T_EQ(n_super, 2))
			t_note("byte %zu", at);
		all_out_as_in();
	}
}

static void test_bytes(void)
{
	struct off_flow t4 = rig_flow(4, 6), t6 = rig_flow(6, 6), u4 = rig_flow(4, 17),
			u6 = rig_flow(6, 17);

	not_joined_byte(t4, 150, 1, false); /* a wrong checksum */
	not_joined_byte(t6, 171, 1, false);
	not_joined_byte(u4, 126, 128, false);
	not_joined_byte(u6, 147, 1, false);
	not_joined_byte(t4, 37, 1, false);
	not_joined_byte(t4, 10, 1, false);  /* the IP header's */
	not_joined_byte(t4, 6, 0x80, true); /* the reserved bit */
	not_joined_byte(t4, 6, 0x20, true); /* a fragment */
	not_joined_byte(u4, 7, 9, true);
	not_joined_byte(t6, 2, 1, false); /* the flow label */
	not_joined_byte(t6, 3, 1, false);
	not_joined_byte(t4, 32, 1, true);  /* a reserved flag */
	not_joined_byte(u4, 25, 1, false); /* UDP's length */
	not_joined_byte(t4, 3, 1, true);   /* IP's */
	not_joined_byte(t6, 5, 1, true);
}

/* Zero: UDP's "none". 0xffff: verifies like 0, but nobody writes it. */
static void test_special_checksums(void)
{
	struct off_flow u = rig_flow(4, 17), t = rig_flow(4, 6);

	n_in = 0;
	rig_more(&u, 100), rig_more(&u, 100);
	be16_put(in[0].b + 26, 0), be16_put(in[1].b + 26, 0);
	rig_run(true, true);
	T_EQ(n_super, 2);
	all_out_as_in();
	memset(payload, 0, 100);
	n_in = 0;
	rig_more(&t, 100), rig_more(&t, 100);
	memcpy(in[1].b + 52, in[1].b + 36, 2); /* the checksum as payload: it becomes 0 */
	off_pkt_seal(in[1].b, in[1].len);
	T_EQ(be16_get(in[1].b + 36), 0);
	rig_run(true, true);
	T_EQ(n_super, 1);
	all_out_as_in();
	be16_put(in[1].b + 36, 0xffff);
	rig_run(true, true);
	T_EQ(n_super, 2);
	all_out_as_in();
	t.seq -= 100, t.id--;
	n_in = 1;
	rig_more(&t, 100), rig_more(&t, 100);
	memcpy(in[2].b + 52, in[2].b + 36, 2);
	off_pkt_seal(in[2].b, in[2].len);
	run_expect(1);
	be16_put(in[2].b + 36, 0xffff);
	run_expect(2);
	rig_fill();
}

/* UDP's length is wrong, and the checksum says the same. */
static void test_wrong_length_that_verifies(void)
{
	for (size_t which = 1; which < 3; which++) {
		struct off_flow u = rig_flow(4, 17);

		n_in = 0;
		rig_more(&u, 100), rig_more(&u, 100), rig_more(&u, 100);
		in[which].b[25]++;
		be16_put(in[which].b + 26, (uint16_t)(be16_get(in[which].b + 26) - 1));
		run_expect(which == 1 ? 3 : 2);
	}
}

/* A datagram without checksum whose data happens to add up to one. */
static void test_none_that_verifies(void)
{
	struct off_flow u = rig_flow(4, 17);

	n_in = 0;
	memset(payload, 0, 100);
	rig_more(&u, 100), rig_more(&u, 100), rig_more(&u, 100);
	for (size_t i = 0; i < 3; i++) {
		memcpy(in[i].b + 28, in[i].b + 26, 2);
		off_pkt_seal(in[i].b, in[i].len);
		T_EQ(be16_get(in[i].b + 26), 0xffff);
	}
	run_expect(1);
	for (size_t i = 3; i--;) {
		be16_put(in[i].b + 26, 0);
		run_expect(i == 2 ? 2 : 3);
	}
	rig_fill();
}

/* The length of an IPv4 packet ends at 65535. */
static void test_full_to_the_byte(void)
{
	for (size_t last = 1023; last <= 1024; last++) {
		struct off_flow u = rig_flow(4, 17);

		n_in = 0;
		for (int i = 0; i < 47; i++)
			rig_more(&u, 1372);
		rig_more(&u, last);
		run_expect(last == 1023 ? 1 : 2);
	}
}

static void test_reserved_bit(void)
{
	struct off_flow t = rig_flow(4, 6);

	n_in = 0;
	rig_more(&t, 100), rig_more(&t, 100);
	for (size_t i = 0; i < 2; i++) {
		in[i].b[6] |= 0x80;
		off_pkt_seal(in[i].b, in[i].len);
	}
	run_expect(2);
}

/* RFC 6864: with DF the id is nothing. */
static void test_df(void)
{
	struct off_flow f = rig_flow(4, 6);

	f.df = true;
	n_in = 0;
	for (int i = 0; i < 10; i++) {
		rig_more(&f, 100);
		f.id = (uint16_t)(f.id * 7);
	}
	rig_run(true, true);
	T_EQ(n_super, 1);
	all_out_as_in();
}

static void test_no_payload(void)
{
	struct off_flow t = rig_flow(4, 6), u = rig_flow(6, 17);

	n_in = 0;
	rig_more(&t, 0), rig_more(&t, 0), rig_more(&u, 0), rig_more(&u, 0), rig_more(&t, 100),
		rig_more(&t, 0);
	rig_more(&t, 100);
	rig_run(true, true);
	T_EQ(n_super, n_in);
	all_out_as_in();
}

/* The seventeenth flow ends the one that began first. */
static void test_many_flows(void)
{
	struct off_flow f[17];

	n_in = 0;
	for (unsigned i = 0; i < 17; i++)
		f[i] = rig_flow(4, 6), f[i].src = (uint8_t)i;
	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < 16; i++)
			rig_more(&f[i], 100);
	rig_more(&f[16], 100), rig_more(&f[16], 100), rig_more(&f[1], 100), rig_more(&f[0], 100);
	rig_run(true, true);
	/* 0 of three packets, which ends for 16; 1 of four, which ends for 0's new one */
	T_EQ(n_super, 2 + 14 + 2);
}

static void test_must_be_drained(void)
{
	struct off_flow f = rig_flow(4, 6);

	n_in = 0;
	f.flags |= 8;
	rig_more(&f, 100);
	off_join_init(&join, true, true);
	T(off_join_add(&join, in[0].b, in[0].len));
	T(!off_join_add(&join, in[0].b, in[0].len));
	T(off_join_next(&join) != NULL);
	T(off_join_next(&join) == NULL);
	T(off_join_add(&join, in[0].b, in[0].len));
	off_join_flush(&join);
	T(off_join_next(&join) != NULL);
	T(off_join_next(&join) == NULL);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	rig_fill();
	T_RUN(test_joined);
	T_RUN(test_bounded);
	T_RUN(test_side_by_side);
	T_RUN(test_in_turn);
	T_RUN(test_ends_with_short_or_push);
	T_RUN(test_fields);
	T_RUN(test_bytes);
	T_RUN(test_special_checksums);
	T_RUN(test_none_that_verifies);
	T_RUN(test_wrong_length_that_verifies);
	T_RUN(test_full_to_the_byte);
	T_RUN(test_reserved_bit);
	T_RUN(test_df);
	T_RUN(test_no_payload);
	T_RUN(test_many_flows);
	T_RUN(test_must_be_drained);
	return t_done();
}
