/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the AVX2 backend where test_aead_batch cannot steer: Poly1305 at the limits of its
 * limbs and of the final reduction, which keys from a cipher never reach, alone and beside
 * ChaCha20; and blocks of ChaCha20 in any lane. Oracles: libsodium's Poly1305 and ChaCha20. */
#include <sodium.h>
#include "base/bytes.h"
#include "crypto/aead_avx2.h"
#include "crypto/crypto.h"
#include "tests/t.h"

#if defined(__x86_64__)

#define MAX_MSG (AEAD_ROUNDS * AEAD_BESIDE * POLY_BLOCK + 100)

static uint64_t rnd;

static void fill(void *p, size_t len)
{
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(t_rand(&rnd) >> 24);
}

static bool able(void)
{
	rnd = t_seed();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
		return true;
	t_skip("this CPU has no AVX2");
	return false;
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

/* Eight lanes of nothing in particular, for what is laid beside them. */
static void beside(struct aead_beside *b)
{
	static struct aead_chacha c;
	static uint8_t zero[CHACHA_BLOCK], out[CHACHA_BLOCK];

	for (int i = 0; i < CHACHA_LANES; i++) {
		c.key[i] = zero;
		c.in[i] = zero;
		c.out[i] = out;
	}
	aead_chacha8(&c, b);
}

/* Alone, and with the first `rounds` rounds' blocks beside ChaCha20. */
static bool tag_is_right(const uint8_t *msg, uint32_t len, const uint8_t key[32], size_t rounds)
{
	size_t first = rounds * AEAD_BESIDE, blocks = len / POLY_BLOCK;
	uint8_t want[16], got[16];
	struct aead_poly1 p;
	struct aead_beside b[] = {{&p, msg, rounds}, {NULL, NULL, 0}};

	oracle(msg, len, key, want);
	aead_poly_init(&p, key);
	beside(b);
	aead_poly_blocks(&p, msg + first * POLY_BLOCK, blocks - first);
	aead_poly_final(&p, key, msg + len, len, got);
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

	T(tag_is_right(msg, len, key, 0));
	T(tag_is_right(msg, len, key, most));
	T(tag_is_right(msg, len, key, most / 2));
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

/* Several messages beside one pass, each with its rounds. */
static void test_poly_shared_pass(void)
{
	uint8_t msg[4][MAX_MSG], key[4][32], want[16], got[16];

	if (!able())
		return;
	for (int i = 0; i < 300; i++) {
		struct aead_poly1 p[4];
		struct aead_beside b[5] = {{NULL, NULL, 0}};
		size_t rounds[4], left = AEAD_ROUNDS, n = 1 + (t_rand(&rnd) >> 8) % 4;

		fill(msg, sizeof(msg));
		fill(key, sizeof(key));
		for (size_t k = 0; k < n; k++) {
			rounds[k] = 1 + (t_rand(&rnd) >> 8) % (left - (n - k - 1));
			left -= rounds[k];
			aead_poly_init(&p[k], key[k]);
			b[k] = (struct aead_beside){&p[k], msg[k], rounds[k]};
		}
		beside(b);
		for (size_t k = 0; k < n; k++) {
			uint32_t len = (uint32_t)(rounds[k] * AEAD_BESIDE * POLY_BLOCK);

			oracle(msg[k], len, key[k], want);
			aead_poly_final(&p[k], key[k], msg[k] + len, len, got);
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

/* Every lane with key, block and nonce of its own; and eight blocks in a row of one. */
static void test_chacha_lanes(void)
{
	uint8_t key[CHACHA_LANES][32], want[CHACHA_BLOCK];
	uint8_t out[CHACHA_LANES][CHACHA_BLOCK];
	uint64_t counter[CHACHA_LANES];
	struct aead_chacha c;

	if (!able())
		return;
	for (int round = 0; round < 500; round++) {
		struct aead_beside none = {NULL, NULL, 0};

		c.run = round & 1;
		fill(key, sizeof(key));
		memset(out, 0, sizeof(out));
		for (uint32_t i = 0; i < CHACHA_LANES; i++) {
			counter[i] = t_rand(&rnd);
			c.key[i] = key[i];
			c.block[i] = (uint32_t)(t_rand(&rnd) >> 40) * (round & 2 ? 1U : 99U);
			c.nonce_lo[i] = (uint32_t)counter[i];
			c.nonce_hi[i] = (uint32_t)(counter[i] >> 32);
			c.in[i] = c.out[i] = out[i];
		}
		aead_chacha8(&c, &none);
		for (uint32_t i = 0; i < CHACHA_LANES; i++) {
			uint32_t of = c.run ? 0 : i;

			stream_block(key[of], c.block[of] + (c.run ? i : 0), counter[of], want);
			T_MEM(want, out[i], CHACHA_BLOCK);
		}
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
	T_RUN(test_poly_lengths);
	T_RUN(test_poly_extremes);
	T_RUN(test_poly_around_p);
	T_RUN(test_poly_shared_pass);
	T_RUN(test_chacha_lanes);
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
