/* SPDX-License-Identifier: Apache-2.0
 *
 * Which queue a packet belongs to, as tun_steer_queue says; that the program agrees is
 * tests/netns/h_tun-steer.c's. */
#include "base/bytes.h"
#include "io/tun.h"
#include "tests/t.h"

#define FLOWS 4000u

struct flow {
	int family;
	uint8_t proto;
	uint32_t src, dst; /* the last four bytes of the address */
	uint16_t sport, dport;
};

static size_t packet(const struct flow *f, uint8_t *p)
{
	bool v4 = f->family == 4;
	size_t at = v4 ? 20 : 40;

	memset(p, 0, 64);
	p[0] = v4 ? 0x45 : 0x60;
	p[v4 ? 9 : 6] = f->proto;
	be32_put(p + (v4 ? 12 : 20), f->src);
	be32_put(p + (v4 ? 16 : 36), f->dst);
	be16_put(p + at, f->sport);
	be16_put(p + at + 2, f->dport);
	return at + 20;
}

static unsigned queue(const struct flow *f, unsigned workers)
{
	uint8_t p[64];
	size_t len = packet(f, p);

	return tun_steer_queue(p, len, workers);
}

static const struct flow base[] = {
	{4, 17, 0x64400001, 0x0a140010, 40000, 53},
	{4, 6, 0x64400001, 0x0a140010, 32768, 443},
	{6, 17, 0x00000001, 0x00000010, 40000, 53},
	{6, 6, 0x00000001, 0x00000010, 32768, 443},
};

/* Flows that differ in one field only, by step. */
static void spread(const struct flow *from, unsigned field, uint32_t step, unsigned workers)
{
	unsigned count[17] = {0}, each = FLOWS / workers;
	struct flow f = *from;

	for (unsigned i = 0; i < FLOWS; i++) {
		unsigned n = queue(&f, workers);

		if (!T(n >= 1 && n <= workers))
			return;
		count[n]++;
		switch (field) {
		case 0:
			f.sport = (uint16_t)(f.sport + step);
			break;
		case 1:
			f.dport = (uint16_t)(f.dport + step);
			break;
		case 2:
			f.src += step;
			break;
		default:
			f.dst += step;
		}
	}
	for (unsigned n = 1; n <= workers; n++)
		if (!T(count[n] > each * 3 / 4 && count[n] < each * 5 / 4))
			t_note("family %d proto %u field %u step %u workers %u: queue %u has %u of "
			       "%u",
			       from->family, from->proto, field, step, workers, n, count[n], each);
}

static void test_spread(void)
{
	static const uint32_t steps[] = {1, 2, 3, 8};

	for (unsigned b = 0; b < 4; b++)
		for (unsigned field = 0; field < 4; field++)
			for (unsigned s = 0; s < 4; s++)
				for (unsigned workers = 1; workers <= 16; workers++)
					spread(&base[b], field, steps[s], workers);
	spread(&base[0], 2, 1 << 8, 7); /* a client a network, as a gateway sees them */
	spread(&base[0], 3, 1 << 16, 7);
}

/* All bytes that may differ between the packets of a flow. */
static void test_same_flow(void)
{
	for (unsigned b = 0; b < 4; b++) {
		uint8_t p[64];
		size_t len = packet(&base[b], p), at = base[b].family == 4 ? 20 : 40;
		unsigned want = tun_steer_queue(p, len, 8);

		for (size_t i = 0; i < len; i++) {
			bool v4 = at == 20;
			bool fixed = v4 ? !i || i == 6 || i == 7 || i == 9 || i >= 12
					: !i || i == 6 || i >= 8;

			if (fixed && i < at + 4)
				continue;
			p[i] ^= 0xff;
			T_EQ(tun_steer_queue(p, len, 8), want);
		}
		T_EQ(tun_steer_queue(p, at + 4, 8), want);
		if (at == 40)
			p[0] |= 0x0f; /* traffic class */
		T_EQ(tun_steer_queue(p, len, 8), want);
	}
}

static bool ports_count(const uint8_t *pkt, size_t len, size_t at)
{
	uint8_t p[64];
	unsigned first = tun_steer_queue(pkt, len, 8);
	bool differ = false;

	memcpy(p, pkt, sizeof(p));
	for (unsigned i = 1; i < 40; i++) {
		p[at + 1] = (uint8_t)(pkt[at + 1] + i);
		differ |= tun_steer_queue(p, len, 8) != first;
	}
	return differ;
}

/* Where not every packet of a flow shows the ports they do not count, nor does the protocol. */
static void test_addresses_alone(void)
{
	uint8_t p[64];
	struct flow f = base[0];
	size_t len = packet(&f, p);
	unsigned frag;

	T(ports_count(p, len, 20));
	p[6] = 0x40; /* don't fragment */
	T(ports_count(p, len, 20));
	p[6] = 0x80; /* reserved */
	T(ports_count(p, len, 20));
	p[6] = 0x20; /* more fragments */
	T(!ports_count(p, len, 20));
	frag = tun_steer_queue(p, len, 8);
	p[6] = 0, p[7] = 1;
	T(!ports_count(p, len, 20));
	T_EQ(tun_steer_queue(p, len, 8), frag);
	T_EQ(tun_steer_queue(p, 21, 8), frag); /* the last one may be short */
	p[6] = 0x1f, p[7] = 0;
	T_EQ(tun_steer_queue(p, len, 8), frag);
	p[6] = 0, p[9] = 1;
	T_EQ(tun_steer_queue(p, len, 8), frag);
	p[9] = 17, p[0] = 0x46;
	T(!ports_count(p, len, 20));
	T_EQ(tun_steer_queue(p, len, 8), frag);
	p[0] = 0x44; /* nonsense is somebody's, too */
	T_EQ(tun_steer_queue(p, len, 8), frag);
	f = base[2];
	len = packet(&f, p);
	T(ports_count(p, len, 40));
	p[6] = 44;
	T(!ports_count(p, len, 40));
	frag = tun_steer_queue(p, len, 8);
	p[6] = 0;
	T_EQ(tun_steer_queue(p, len, 8), frag);
	p[6] = 58;
	T_EQ(tun_steer_queue(p, len, 8), frag);
	p[6] = 17;
	T_EQ(tun_steer_queue(p, 43, 8), frag);
}

static void test_nobody(void)
{
	uint8_t p[64];
	size_t len = packet(&base[0], p);

	T_EQ(tun_steer_queue(p, len, 0), 0);
	T_EQ(tun_steer_queue(p, 0, 8), 0);
	T_EQ(tun_steer_queue(NULL, 0, 8), 0);
	T_EQ(tun_steer_queue(p, 1, 8), 0);
	T_EQ(tun_steer_queue(p, 19, 8), 0);
	T(tun_steer_queue(p, 20, 8) > 0);
	len = packet(&base[2], p);
	T_EQ(tun_steer_queue(p, 39, 8), 0);
	T(tun_steer_queue(p, 40, 8) > 0);
	for (unsigned v = 0; v < 16; v++) {
		p[0] = (uint8_t)(v << 4 | 5);
		T_EQ(tun_steer_queue(p, len, 8) > 0, v == 4 || v == 6);
	}
	packet(&base[1], p);
	for (unsigned workers = 1; workers <= TUN_WORKERS_MAX; workers++)
		T(tun_steer_queue(p, len, workers) <= workers);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_spread);
	T_RUN(test_same_flow);
	T_RUN(test_addresses_alone);
	T_RUN(test_nobody);
	return t_done();
}
