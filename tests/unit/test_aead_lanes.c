/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the backends with vector lanes, where test_aead_batch cannot steer: Poly1305 at the
 * limits of its limbs and of the final reduction, which keys from a cipher never reach, alone and
 * beside ChaCha20; and blocks of ChaCha20 in any lane, of every kernel that this CPU runs. Oracles:
 * libsodium's Poly1305 and ChaCha20. */
#include <sodium.h>
#include "base/bytes.h"
#include "crypto/aead_backend.h"
#include "crypto/aead_lanes.h"
#include "crypto/crypto.h"
#include "tests/t.h"

#if defined(__x86_64__)

#define MAX_MSG (AEAD_ROUNDS * AEAD_BESIDE * POLY_BLOCK + 100)

static const struct kernel {
	const struct aead_kernel *k;
	const struct aead_backend *of;
	const char *not_here;
} kernels[] = {
	{&aead_kernel_avx512, &aead_avx512, "this CPU has no AVX-512 as of Ice Lake or Zen 4"},
	{&aead_kernel_avx2, &aead_avx2, "this CPU has no AVX2"}};

static uint64_t rnd;

static void fill(void *p, size_t len)
{
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(t_rand(&rnd) >> 24);
}

/* The kernels that run here, one after the other: for (k = NULL; (k = next(k));). */
static const struct aead_kernel *next(const struct aead_kernel *k)
{
	size_t i = 0, n = sizeof(kernels) / sizeof(*kernels);

	while (k && kernels[i++].k != k)
		;
	while (i < n && !kernels[i].of->usable())
		i++;
	return i < n ? kernels[i].k : NULL;
}

static bool able(void)
{
	rnd = t_seed();
	if (next(NULL))
		return true;
	t_skip("this CPU has no AVX2");
	return false;
}

/* A kernel that this CPU cannot run is not tested: say so. */
static void test_kernels(void)
{
	for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++)
		if (!kernels[i].of->usable())
			t_skip(kernels[i].not_here);
		else
			T(kernels[i].k->lanes <= LANES_MAX);
}

/* The message as the AEAD pads it. */
static void oracle(const uint8_t *msg, uint32_t len, const uint8_t key[32], uint8_t tag[16])
{
	uint8_t padded[MAX_MSG + 2 * POLY_BLOCK] = {0};
	size_t whole = (len + POLY_BLOCK - 1U) / POLY_BLOCK * POLY_BLOCK;

	memcpy(padded, msg, len);
	le64_put(padded + whole + 8, len);
	crypto_onetimeauth_poly1305(tag, padded, whole + POLY_BLOCK, key);
}

/* Lanes of nothing in particular, for what is laid beside them; few of them, or all. */
static void beside(const struct aead_kernel *k, struct aead_beside *b)
{
	static struct aead_chacha c;
	static uint8_t zero[CHACHA_BLOCK], out[CHACHA_BLOCK];

	for (int i = 0; i < LANES_MAX; i++) {
		c.key[i] = zero;
		c.in[i] = zero;
		c.out[i] = out;
	}
	c.busy = t_rand(&rnd) & 256 ? k->lanes : 1;
	k->pass(&c, b);
}

static void finish(struct aead_poly1 *p, const uint8_t *msg, size_t from, uint32_t len,
		   const uint8_t key[32], uint8_t tag[16])
{
	size_t blocks = (len - from) / POLY_BLOCK, all = blocks < 2 ? 0 : blocks - 2;
	uint8_t end[POLY_END];
	size_t n;

	aead_poly_blocks(p, msg + from, all);
	from += all * POLY_BLOCK;
	n = aead_poly_end(end, msg + from, len - from, len);
	aead_poly_blocks(p, end, n);
	aead_poly_tag(p, key, tag);
}

/* Alone, and with the first `rounds` rounds' blocks beside ChaCha20. */
static bool tag_is_right(const struct aead_kernel *k, const uint8_t *msg, uint32_t len,
			 const uint8_t key[32], size_t rounds)
{
	uint8_t want[16], got[16];
	struct aead_poly1 p;
	struct aead_beside b[] = {{{&p, NULL}, {msg, NULL}, rounds, AEAD_BESIDE}, {.rounds = 0}};

	oracle(msg, len, key, want);
	aead_poly_init(&p, key);
	beside(k, b);
	finish(&p, msg, rounds * AEAD_BESIDE * POLY_BLOCK, len, key, got);
	return !memcmp(want, got, 16);
}

static size_t most_rounds(uint32_t len)
{
	size_t n = len / (AEAD_BESIDE * POLY_BLOCK);

	return n < AEAD_ROUNDS ? n : AEAD_ROUNDS;
}

static void check_message(const uint8_t *msg, uint32_t len, const uint8_t key[32])
{
	size_t most = most_rounds(len);

	for (const struct aead_kernel *k = NULL; (k = next(k));) {
		T(tag_is_right(k, msg, len, key, 0));
		T(tag_is_right(k, msg, len, key, most));
		T(tag_is_right(k, msg, len, key, most / 2));
	}
}

static void test_poly_lengths(void)
{
	uint8_t msg[MAX_MSG], key[32];

	if (!able())
		return;
	for (uint32_t len = 0; len <= MAX_MSG; len++) {
		fill(msg, sizeof(msg));
		fill(key, sizeof(key));
		check_message(msg, len, key);
	}
}

/* Keys and messages of bytes at their ends: all carries that there are. */
static void test_poly_extremes(void)
{
	static const uint8_t ends[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
	uint8_t msg[MAX_MSG], key[32];

	if (!able())
		return;
	for (size_t r = 0; r < 6; r++)
		for (size_t s = 0; s < 6; s++)
			for (size_t m = 0; m < 6; m++) {
				memset(key, ends[r], 16);
				memset(key + 16, ends[s], 16);
				memset(msg, ends[m], sizeof(msg));
				for (uint32_t len = 0; len <= MAX_MSG; len += 13)
					check_message(msg, len, key);
			}
	for (int i = 0; i < 20000; i++) {
		for (size_t k = 0; k < 32; k++)
			key[k] = ends[(t_rand(&rnd) >> 8) % 6];
		for (size_t k = 0; k < 160; k++)
			msg[k] = ends[(t_rand(&rnd) >> 8) % 6];
		check_message(msg, (uint32_t)(t_rand(&rnd) >> 8) % 161, key);
	}
}

/* With r = 1 the accumulator is the sum of the blocks, so it can be led to every value around p,
 * 2^130 and 2 p, before the last block and as the last result. */
static void test_poly_around_p(void)
{
	uint8_t msg[12 * POLY_BLOCK], key[32] = {1};

	if (!able())
		return;
	/* n blocks of ones, then one that is nearly so: n + 2 times 2^128 with the block of
	 * lengths. */
	for (size_t n = 0; n < 11; n++)
		for (unsigned k = 0; k < 256; k++) {
			memset(msg, 0xff, sizeof(msg));
			msg[n * POLY_BLOCK] = (uint8_t)k;
			key[16] = (uint8_t)(k & 1 ? 0xff : 0);
			check_message(msg, (uint32_t)(n + 1) * POLY_BLOCK, key);
		}
	/* Three empty blocks, then nearly 2^128: what comes back from above 2^130 carries through
	 * all of the rest. */
	for (unsigned k = 0; k < 16; k++) {
		memset(msg, 0, sizeof(msg));
		memset(msg + 3 * POLY_BLOCK, 0xff, POLY_BLOCK);
		msg[3 * POLY_BLOCK] = (uint8_t)(0xff - k);
		for (uint32_t n = 4; n <= 12; n++)
			check_message(msg, n * POLY_BLOCK, key);
	}
	/* 2^130 - 5 + k for small k: three times 2^128 from three blocks, and 2^128 - 5 + k in sum.
	 */
	for (int k = -8; k < 16; k++) {
		uint32_t len = 2 * POLY_BLOCK;
		/* The block of lengths is len 2^64. */
		uint64_t low = (uint64_t)(k - 5), high = 0 - (uint64_t)len - (k < 5);

		memset(msg, 0, sizeof(msg));
		le64_put(msg, low);
		le64_put(msg + 8, high);
		check_message(msg, len, key);
	}
}

/* Several messages beside one pass, each with its rounds; in twos, with one to three blocks a
 * round, where the kernel takes that. */
static void shared_pass(const struct aead_kernel *k)
{
	static uint8_t msg[4][2][MAX_MSG], key[4][2][32];
	struct aead_poly1 p[4][2];
	struct aead_beside b[5] = {{.rounds = 0}}, was[5];
	uint8_t want[16], got[16];
	size_t left = AEAD_ROUNDS, n = 1 + (t_rand(&rnd) >> 8) % 4;

	fill(msg, sizeof(msg));
	fill(key, sizeof(key));
	for (size_t i = 0; i < n; i++) {
		bool two = k->two && t_rand(&rnd) & 256;
		size_t rounds = 1 + (t_rand(&rnd) >> 8) % (left - (n - i - 1));

		left -= rounds;
		aead_poly_init(&p[i][0], key[i][0]);
		aead_poly_init(&p[i][1], key[i][1]);
		b[i] = (struct aead_beside){{&p[i][0], two ? &p[i][1] : NULL},
					    {msg[i][0], msg[i][1]},
					    rounds,
					    two ? 1 + (t_rand(&rnd) >> 8) % AEAD_BESIDE
						: AEAD_BESIDE};
	}
	memcpy(was, b, sizeof(b));
	beside(k, b);
	for (size_t i = 0; i < n; i++)
		for (size_t m = 0; m < 2 && was[i].p[m]; m++) {
			uint32_t len = (uint32_t)(was[i].rounds * was[i].each * POLY_BLOCK);

			oracle(msg[i][m], len, key[i][m], want);
			finish(&p[i][m], msg[i][m], len, len, key[i][m], got);
			T_MEM(want, got, 16);
		}
}

static void test_poly_shared_pass(void)
{
	if (!able())
		return;
	for (const struct aead_kernel *k = NULL; (k = next(k));)
		for (int i = 0; i < 1000; i++)
			shared_pass(k);
}

/* Two messages at a time outside of a pass, r and contents at their limits, too. */
static void test_poly_two(void)
{
	uint8_t msg[2][MAX_MSG], key[2][32], want[16], got[16];
	struct aead_poly1 p[2];

	if (!able())
		return;
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t n = i % 31, len = n * POLY_BLOCK;

		fill(msg, sizeof(msg));
		fill(key, sizeof(key));
		if (i & 64)
			memset(msg[i & 1], 0xff, MAX_MSG);
		if (i & 128)
			memset(key[i >> 1 & 1], 0xff, 32);
		aead_poly_init(&p[0], key[0]);
		aead_poly_init(&p[1], key[1]);
		aead_poly_blocks2(&p[0], msg[0], &p[1], msg[1], n);
		for (int m = 0; m < 2; m++) {
			oracle(msg[m], len, key[m], want);
			finish(&p[m], msg[m], len, len, key[m], got);
			T_MEM(want, got, 16);
		}
	}
}

static void stream_block(const uint8_t key[32], uint32_t block, uint64_t counter,
			 uint8_t out[CHACHA_BLOCK])
{
	uint8_t nonce[12] = {0};
	static const uint8_t zero[CHACHA_BLOCK];

	le64_put(nonce + 4, counter);
	crypto_stream_chacha20_ietf_xor_ic(out, zero, CHACHA_BLOCK, nonce, block, key);
}

/* What lane i of c must give, from what was there before. */
static bool lane_right(const struct aead_kernel *k, const struct aead_chacha *c, uint32_t i,
		       const uint8_t was[CHACHA_BLOCK])
{
	uint32_t of = c->run ? 0 : i;
	uint64_t counter = (uint64_t)c->nonce_hi[of] << 32 | c->nonce_lo[of];
	uint8_t want[CHACHA_BLOCK];

	stream_block(c->key[of], c->block[of] + (c->run ? i : 0), counter, want);
	for (size_t at = 0; at < CHACHA_BLOCK; at++) {
		want[at] ^= was[at];
		if (k->parts && !(c->wanted[i] >> at & 1))
			want[at] = was[at];
	}
	return !memcmp(want, c->out[i], CHACHA_BLOCK);
}

/* Every lane with key, block and nonce of its own, or consecutive blocks of one; any number of
 * lanes, in place and not, with whole blocks or parts of them. */
static void chacha_lanes(const struct aead_kernel *k, uint32_t round)
{
	static uint8_t key[LANES_MAX][32], in[LANES_MAX][CHACHA_BLOCK];
	static uint8_t out[LANES_MAX][CHACHA_BLOCK], was[LANES_MAX][CHACHA_BLOCK];
	struct aead_beside none = {.rounds = 0};
	static struct aead_chacha c;

	c.run = round & 1;
	c.busy = 1 + round / 8 % k->lanes;
	fill(key, sizeof(key));
	fill(in, sizeof(in));
	memcpy(was, in, sizeof(in));
	memcpy(out, in, sizeof(out));
	for (uint32_t i = 0; i < LANES_MAX; i++) {
		uint64_t counter = t_rand(&rnd);

		c.key[i] = key[i];
		c.block[i] = (uint32_t)(t_rand(&rnd) >> 40) * (round & 2 ? 1U : 99U);
		c.nonce_lo[i] = (uint32_t)counter;
		c.nonce_hi[i] = (uint32_t)(counter >> 32);
		c.in[i] = in[i];
		c.out[i] = round & 4 ? in[i] : out[i];
		c.wanted[i] = t_rand(&rnd) & 256 ? ~0ULL : (1ULL << (t_rand(&rnd) >> 8) % 64) - 1;
	}
	k->pass(&c, &none);
	for (uint32_t i = 0; i < c.busy; i++)
		T(lane_right(k, &c, i, was[i]));
}

static void test_chacha_lanes(void)
{
	if (!able())
		return;
	for (const struct aead_kernel *k = NULL; (k = next(k));)
		for (uint32_t round = 0; round < 2000; round++)
			chacha_lanes(k, round);
}

static void test_exor(void)
{
	uint8_t in[300], stream[320], out[301], want[301];

	if (!able())
		return;
	for (const struct aead_kernel *k = NULL; (k = next(k));)
		for (size_t n = 0; n <= 300; n++) {
			fill(in, sizeof(in));
			fill(stream, sizeof(stream));
			memset(out, 0xa5, sizeof(out));
			memset(want, 0xa5, sizeof(want));
			for (size_t i = 0; i < n; i++)
				want[i] = in[i] ^ stream[i];
			k->exor(out, in, stream, n);
			T_MEM(out, want, sizeof(out));
			memcpy(out, in, n);
			k->exor(out, out, stream, n);
			T_MEM(out, want, sizeof(out));
		}
}

static void test_copy_short(void)
{
	uint8_t in[CHACHA_BLOCK], out[CHACHA_BLOCK + 1];

	rnd = t_seed();
	for (size_t n = 0; n < CHACHA_BLOCK; n++) {
		fill(in, sizeof(in));
		memset(out, 0xa5, sizeof(out));
		aead_copy_short(out, in, n);
		T_MEM(out, in, n);
		T_EQ(out[n], 0xa5);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_kernels);
	T_RUN(test_poly_lengths);
	T_RUN(test_poly_extremes);
	T_RUN(test_poly_around_p);
	T_RUN(test_poly_shared_pass);
	T_RUN(test_poly_two);
	T_RUN(test_chacha_lanes);
	T_RUN(test_exor);
	T_RUN(test_copy_short);
	return t_done();
}
#else
int main(void)
{
	printf("1..0 # skip: another architecture\n");
	return T_SKIP_EXIT;
}
#endif
