/* SPDX-License-Identifier: Apache-2.0
 *
 * The rewrite of include/plan/nat.h against packets built anew with the other addresses and ports,
 * and against a checksum written down separately. */
#include "plan/nat.h"
#include "tests/bpf/kpkt.h"

static uint64_t rnd;

static void random_bytes(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)t_rand(&rnd);
}

static struct kinner random_inner(int family, int proto)
{
	struct kinner in = {.family = family,
			    .proto = proto,
			    .sport = (uint16_t)t_rand(&rnd),
			    .dport = (uint16_t)t_rand(&rnd),
			    .tos = (uint8_t)t_rand(&rnd),
			    .payload = t_rand(&rnd) % 1200};

	random_bytes(in.saddr, family == 4 ? 4 : 16);
	random_bytes(in.daddr, family == 4 ? 4 : 16);
	in.saddr[0] |= 1;
	in.daddr[0] |= 1;
	return in;
}

/* The packet as its own sender would have built it with the other end's names. The payload is a
 * function of sport in kp_inner: taken over from the first. */
static void rebuilt(uint8_t *out, const uint8_t *from, const struct kinner *in)
{
	size_t len = kp_inner(out, in),
	       head = (in->family == 4 ? 20u : 40u) + (in->proto == 6 ? 20 : 8);
	size_t hlen = in->family == 4 ? 20 : 40, l4 = len - hlen;
	size_t field = in->proto == 6 ? 16 : in->proto == 17 ? 6 : 2;
	uint32_t sum = 0;

	memcpy(out + head, from + head, len - head);
	kp_be16(out + hlen + field, 0);
	if (in->proto != 1)
		sum = kp_pseudo(in->family, in->saddr, in->daddr, in->proto, l4);
	sum = kp_csum(out + hlen, l4, sum);
	kp_be16(out + hlen + field, sum || in->proto != 17 ? sum : 0xffff);
}

static void one(int family, int proto, enum ps_nat_dir dir, bool no_sum)
{
	struct kinner in = random_inner(family, proto), want = in;
	uint8_t p[2048], expect[2048];
	size_t len = kp_inner(p, &in), udp = (family == 4 ? 20 : 40) + 6;
	struct ps_nat to = {.on = 1};
	struct ps_inner parsed;

	random_bytes(to.addr, family == 4 ? 4 : 16);
	to.addr[0] |= 1;
	random_bytes((uint8_t *)&to.port, 2);
	memcpy(dir == PS_NAT_TO ? want.daddr : want.saddr, to.addr, 16);
	if (dir == PS_NAT_TO || proto == 1 || proto == 58)
		want.sport = __builtin_bswap16(to.port);
	else
		want.dport = __builtin_bswap16(to.port);
	rebuilt(expect, p, &want);
	if (no_sum) {
		kp_be16(p + udp, 0);
		kp_be16(expect + udp, 0);
	}
	if (!T_EQ(ps_inner_parse(p, p + len, &parsed), PS_INNER_FLOW))
		return;
	ps_nat_apply(p, &parsed.ip, dir, &to);
	T_MEM(p, expect, len);
}

static void test_rewrite(void)
{
	rnd = t_seed();
	for (int i = 0; i < 4000; i++) {
		enum ps_nat_dir dir = i & 1 ? PS_NAT_TO : PS_NAT_FROM;

		one(4, 6, dir, false);
		one(6, 6, dir, false);
		one(4, 17, dir, !(i % 5));
		one(6, 17, dir, !(i % 5));
		one(4, 1, dir, false);
		one(6, 58, dir, false);
	}
}

/* Ports and addresses chosen so that the new sum is 0: UDP says 0xffff, TCP 0. */
static void test_zero_sums(void)
{
	int zeros[2] = {0};

	rnd = t_seed();
	for (int i = 0; i < 6; i++) {
		int family = i & 1 ? 4 : 6, proto = i < 2 ? 6 : i < 4 ? 17 : family == 4 ? 1 : 58;

		for (uint32_t port = 0; port < 65536; port++) {
			size_t hlen = family == 4 ? 20 : 40;
			size_t field = hlen + (proto == 6 ? 16u : proto == 17 ? 6u : 2u);
			struct kinner in = {
				.family = family, .proto = proto, .sport = 9, .payload = 3};
			struct ps_nat to = {.port = (__be16)port, .on = 1};
			struct ps_ip ip = {.family = (uint8_t)family, .proto = (uint8_t)proto};
			uint8_t p[256];
			uint32_t sum = 0;
			size_t len;

			memset(in.saddr, 7, 4);
			memset(in.daddr, 8, 4);
			memset(to.addr, 9, family == 4 ? 4 : 16);
			len = kp_inner(p, &in);
			ps_nat_apply(p, &ip, PS_NAT_TO, &to);
			if (proto != 1)
				sum = kp_pseudo(family, p + (family == 4 ? 12 : 8),
						p + (family == 4 ? 16 : 24), proto, len - hlen);
			if (!T_EQ(kp_sum(p + hlen, len - hlen, sum), 0xffff))
				return;
			if (!p[field] && !p[field + 1])
				zeros[proto == 17]++;
			if (proto == 17 && p[field] == 0xff && p[field + 1] == 0xff)
				zeros[1] |= 1 << 30;
		}
	}
	T(zeros[0] > 0);
	T_EQ(zeros[1], 1 << 30);
}

/* There and back is the same packet; a wrong checksum comes back as wrong as it was. */
static void test_there_and_back(void)
{
	rnd = t_seed();
	for (int i = 0; i < 2000; i++) {
		struct kinner in = random_inner(i & 1 ? 4 : 6,
						(int[]){6, 17, i & 1 ? 1 : 58}[i % 3]);
		struct ps_nat to = {.on = 1}, back = {.on = 1};
		uint8_t p[2048], was[2048];
		size_t len = kp_inner(p, &in);
		struct ps_inner parsed;

		if (i % 4 == 0)
			p[len - 1] ^= 0x55;
		memcpy(was, p, len);
		random_bytes(to.addr, in.family == 4 ? 4 : 16);
		to.port = (__be16)t_rand(&rnd);
		memcpy(back.addr, in.daddr, 16);
		back.port = __builtin_bswap16(in.sport);
		T_EQ(ps_inner_parse(p, p + len, &parsed), PS_INNER_FLOW);
		ps_nat_apply(p, &parsed.ip, PS_NAT_TO, &to);
		ps_nat_apply(p, &parsed.ip, PS_NAT_TO, &back);
		if (!T_MEM(p, was, len))
			return;
	}
}

static void test_bounds(void)
{
	static const struct {
		uint8_t flags;
		bool bound;
	} rows[] = {{0x10, false}, {0x18, false}, {0x12, true}, {0x02, true},
		    {0x11, true},  {0x04, true},  {0x14, true}, {0xf8, false}};
	struct ps_ip ip4 = {.family = 4, .proto = 6}, ip6 = {.family = 6, .proto = 6};
	uint8_t p[64] = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		memset(p, 0, sizeof(p));
		p[20 + 13] = rows[i].flags;
		T_EQ(!!ps_nat_is_bound(p, &ip4), rows[i].bound);
		memset(p, 0, sizeof(p));
		p[40 + 13] = rows[i].flags;
		T_EQ(!!ps_nat_is_bound(p, &ip6), rows[i].bound);
		ip6.proto = 17;
		T(!ps_nat_is_bound(p, &ip6));
		ip6.proto = 6;
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_rewrite);
	T_RUN(test_zero_sums);
	T_RUN(test_there_and_back);
	T_RUN(test_bounds);
	return t_done();
}
