/* SPDX-License-Identifier: Apache-2.0
 *
 * The generator against its vector; what it handed out must be gone from it. */
#include "crypto/crypto.h"
#include "crypto/rng.h"
#include "tests/t.h"
#include "tests/vec.h"

#define VEC "tests/vectors/wg.hex"

static const uint8_t seed_a[32] = {1, 2, 3}, seed_b[32] = {1, 2, 4};

static void test_stream_is_the_vector(void)
{
	uint8_t seed[32], want[500], out[500];
	struct rng r;

	T_EQ(vec_get(VEC, "rng.seed", seed, 32), 32);
	T_EQ(vec_get(VEC, "rng.out", want, sizeof(want)), sizeof(want));
	rng_init(&r, seed);
	rng_bytes(&r, out, sizeof(out));
	T_MEM(out, want, sizeof(out));
	/* the same bytes however they are cut */
	for (size_t step = 1; step < 300; step += 13) {
		rng_init(&r, seed);
		for (size_t at = 0; at < sizeof(out); at += step)
			rng_bytes(&r, out + at, step < sizeof(out) - at ? step : sizeof(out) - at);
		T_MEM(out, want, sizeof(out));
	}
}

static bool holds(const struct rng *r, const uint8_t *bytes, size_t len)
{
	const uint8_t *p = (const uint8_t *)r;

	for (size_t i = 0; i + len <= sizeof(*r); i++)
		if (memcmp(p + i, bytes, len) == 0)
			return true;
	return false;
}

static void test_what_went_out_is_gone(void)
{
	struct rng r;
	uint8_t out[16];

	rng_init(&r, seed_a);
	T(!holds(&r, seed_a, 16));
	for (int i = 0; i < 100; i++) {
		rng_bytes(&r, out, sizeof(out));
		T(!holds(&r, out, sizeof(out)));
	}
	rng_wipe(&r);
	T(crypto_is_zero(&r, sizeof(r)));
}

static void test_seeds_and_forks_differ(void)
{
	struct rng a, b, c;
	uint8_t s1[32], s2[32];

	rng_init(&a, seed_a);
	rng_init(&b, seed_b);
	c = a;
	T(rng_u64(&a) != rng_u64(&b));
	(void)rng_u64(&c);
	T_EQ(rng_u32(&a), rng_u32(&c));
	rng_fork(&a, s1);
	rng_fork(&a, s2);
	T(memcmp(s1, s2, 32) != 0);
}

static void test_below(void)
{
	struct rng r;
	unsigned seen[6] = {0};

	rng_init(&r, seed_a);
	T_EQ(rng_below(&r, 0), 0);
	T_EQ(rng_below(&r, 1), 0);
	for (int i = 0; i < 6000; i++) {
		uint64_t v = rng_below(&r, 6);

		T(v < 6);
		seen[v % 6]++;
	}
	for (int i = 0; i < 6; i++)
		T(seen[i] > 850 && seen[i] < 1150);
	for (int i = 0; i < 100; i++)
		T(rng_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init() != 0)
		return 1;
	T_RUN(test_stream_is_the_vector);
	T_RUN(test_what_went_out_is_gone);
	T_RUN(test_seeds_and_forks_differ);
	T_RUN(test_below);
	return t_done();
}
