/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast checksum against the one word at a time: all lengths and places, carries, copying. */
#include "base/csum.h"
#include "codec/ip_packet.h"
#include "tests/t.h"

static uint8_t in[70000], out[70000];

static uint16_t fast(uint64_t sum)
{
	uint16_t c = (uint16_t)~csum_fold(sum);
	uint8_t b[2];

	memcpy(b, &c, 2);
	return (uint16_t)(b[0] << 8 | b[1]);
}

static void fill(int byte)
{
	uint64_t r = t_seed();

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = byte < 0 ? (uint8_t)t_rand(&r) : (uint8_t)byte;
}

static void check(size_t at, size_t len)
{
	uint64_t sum;

	if (fast(csum_add(0, in + at, len)) != ip_csum(in + at, len))
		t_note("at %zu length %zu", at, len);
	T_EQ(fast(csum_add(0, in + at, len)), ip_csum(in + at, len));
	memset(out, 0x5a, len + 64);
	sum = csum_add_copy(0, out + 16, in + at, len);
	T_EQ(fast(sum), ip_csum(in + at, len));
	T_MEM(out + 16, in + at, len);
	T_EQ(out[15], 0x5a);
	T_EQ(out[16 + len], 0x5a);
}

static void test_lengths_and_places(void)
{
	fill(-1);
	for (size_t len = 0; len < 300; len++)
		for (size_t at = 0; at < 33; at += 1 + len % 3)
			check(at, len);
	check(0, 1400);
	check(3, 65535);
}

static void test_carries(void)
{
	fill(0xff);
	for (size_t len = 0; len < 130; len++)
		check(0, len);
	check(1, 65535);
	T_EQ(csum_fold(UINT64_MAX), 0xffff);
	T_EQ(csum_fold(0), 0);
	T_EQ(csum_fold(0x1ffffffff), 1);
	T_EQ(csum_fold(0x10000), 1);
}

/* A sum may begin with any other, be made of pieces, and be copied onto itself. */
static void test_pieces(void)
{
	uint64_t r = t_seed();

	fill(-1);
	for (int i = 0; i < 2000; i++) {
		size_t a = t_rand(&r) % 2000 & ~(size_t)1, b = t_rand(&r) % 2000;
		uint64_t sum = csum_add(csum_add(0, in, a), in + a, b);

		T_EQ(fast(sum), ip_csum(in, a + b));
		T_EQ(fast(csum_add(UINT64_MAX, in, a + b)), ip_csum(in, a + b));
		T_EQ(fast(csum_add(csum_add16(csum_add32(0, 0x12345678), 0x9abc), in, b)),
		     fast(csum_add(csum_add(0, "\x12\x34\x56\x78\x9a\xbc", 6), in, b)));
	}
	memcpy(out, in, 1501);
	T_EQ(fast(csum_add_copy(0, out, out, 1501)), ip_csum(in, 1501));
	T_MEM(out, in, 1501);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_lengths_and_places);
	T_RUN(test_carries);
	T_RUN(test_pieces);
	return t_done();
}
