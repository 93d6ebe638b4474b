/* SPDX-License-Identifier: Apache-2.0
 * Frames as AF_XDP hands them over (io/xsk_rx.h): what is read of a good one, and that each header
 * field which is not as it should be, and each byte too few, makes it none. */
#include <stdlib.h>
#include "io/xsk_rx.h"
#include "tests/t.h"
#include "wire/csum.h"
#include "wire/ip.h"

#define PORT4 51820
#define PORT6 51821
#define WG    96 /* bytes of the data message */

static void sum4(uint8_t *ip)
{
	uint16_t sum;

	memset(ip + PS_IP4_CSUM, 0, 2);
	sum = (uint16_t)~ps_csum_fold(ps_csum_words(ip, PS_IP4_HLEN));
	memcpy(ip + PS_IP4_CSUM, &sum, 2);
}

/* Its length; *wg: where the message begins. */
static size_t frame(uint8_t *p, int family, size_t *wg)
{
	size_t hlen = family == 4 ? 20 : 40, at = 14;

	memset(p, 0, 256);
	ps_be16_put(p + 12, family == 4 ? 0x0800 : 0x86dd);
	if (family == 4) {
		p[at] = 0x45;
		p[at + 1] = 2; /* ECT(0) */
		ps_be16_put(p + at + 2, 20 + 8 + WG);
		p[at + 8] = 64;
		p[at + 9] = 17;
		memcpy(p + at + 12, (uint8_t[]){192, 0, 2, 7, 192, 0, 2, 1}, 8);
		sum4(p + at);
	} else {
		p[at] = 0x60;
		p[at + 1] = 0x20;
		ps_be16_put(p + at + 4, 8 + WG);
		p[at + 6] = 17;
		p[at + 8] = 0x20, p[at + 23] = 7;
		p[at + 24] = 0x20, p[at + 39] = 1;
	}
	at += hlen;
	ps_be16_put(p + at, 40000);
	ps_be16_put(p + at + 2, family == 4 ? PORT4 : PORT6);
	ps_be16_put(p + at + 4, 8 + WG);
	ps_be16_put(p + at + 6, 0xdead); /* not looked at */
	*wg = at + 8;
	p[*wg] = 4;
	p[*wg + 4] = 9; /* receiver */
	return *wg + WG;
}

static bool reads(uint8_t *p, size_t len, struct udp_dgram *g)
{
	return xsk_frame_read(p, len, PORT4, PORT6, g);
}

static void test_good(void)
{
	for (int family = 4; family <= 6; family += 2) {
		uint8_t p[256];
		size_t wg, len = frame(p, family, &wg);
		struct udp_dgram g;

		if (!T(reads(p, len, &g)))
			continue;
		T(g.data == p + wg);
		T_EQ(g.len, WG);
		T_EQ(g.ecn, 2);
		T(!g.truncated);
		T_EQ(g.remote.ip.family, family);
		T_EQ(g.remote.port, 40000);
		T_EQ(g.local.port, family == 4 ? PORT4 : PORT6);
		T_EQ(g.remote.ip.b[family == 4 ? 3 : 15], 7);
		T_EQ(g.local.ip.b[family == 4 ? 3 : 15], 1);
		T(reads(p, len + 20, &g)); /* padding of the link is no part of it */
		T_EQ(g.len, WG);
	}
}

/* Every length but the whole, and every value of the bytes that decide. */
static void test_cut(void)
{
	for (int family = 4; family <= 6; family += 2) {
		uint8_t p[256];
		size_t wg, len = frame(p, family, &wg);
		struct udp_dgram g;

		for (size_t n = 0; n < len; n++) {
			uint8_t *tight = malloc(n ? n : 1);

			memcpy(tight, p, n);
			T(!reads(tight, n, &g));
			free(tight);
		}
	}
}

static void refused(int family, size_t at, uint8_t value, bool fix)
{
	uint8_t p[256];
	size_t wg, len = frame(p, family, &wg);
	struct udp_dgram g;

	p[at] = value;
	if (fix && family == 4)
		sum4(p + 14);
	if (!T(!reads(p, len, &g)))
		t_note("family %d, byte %zu, value %u", family, at, value);
}

static void test_wrong(void)
{
	refused(4, 12, 0x81, false); /* a tag */
	refused(4, 14, 0x46, true);  /* options */
	refused(4, 14, 0x65, true);
	refused(4, 20, 0x20, true);  /* a fragment */
	refused(4, 23, 6, true);     /* TCP */
	refused(4, 24, 1, false);    /* checksum */
	refused(4, 26, 1, false);    /* it covers the addresses */
	refused(4, 37, 1, false);    /* another port */
	refused(4, 38, 1, false);    /* UDP longer than IP */
	refused(4, 39, 7, false);    /* shorter than its header */
	refused(4, 42, 1, false);    /* a handshake */
	refused(4, 42, 0x40, false); /* a channel */
	refused(6, 14, 0x40, false);
	refused(6, 18, 1, false);
	refused(6, 20, 44, false); /* a fragment */
	refused(6, 20, 60, false);
	refused(6, 57, 1, false);
	refused(6, 62, 3, false);
}

static void test_no_port(void)
{
	struct udp_dgram g;
	uint8_t p[256];
	size_t wg, len = frame(p, 4, &wg);

	ps_be16_put(p + 36, 0);
	T(!xsk_frame_read(p, len, 0, PORT6, &g));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_good);
	T_RUN(test_cut);
	T_RUN(test_wrong);
	T_RUN(test_no_port);
	return t_done();
}
