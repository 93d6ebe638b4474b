/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend of aead_batch.h for CPUs with AVX-512 that do not slow down for it: 16 blocks of
 * ChaCha20 at a time, or 8 in half the time if there are no more, Poly1305 of two messages beside
 * them. The rounds are in aead_avx512_asm.h; what is around them is here, for 16 blocks, and in
 * aead_lanes_ymm.h. */
#if defined(__x86_64__)
#include "crypto/aead_avx512_asm.h"
#include "crypto/aead_backend.h"
#include "crypto/aead_lanes.h"
#include "crypto/aead_lanes_ymm.h"

#define AEAD_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,bmi2")))
#define LANES_ROWS  4

_Static_assert(offsetof(struct aead_chacha, state) == 0, "known to the assembler");
_Static_assert(offsetof(struct aead_chacha, r) == 1536, "known to the assembler");
_Static_assert(offsetof(struct aead_chacha, beside) == 1584, "known to the assembler");
_Static_assert(offsetof(struct aead_chacha, rounds_left) == 1592, "known to the assembler");
_Static_assert(offsetof(struct aead_chacha, beside_left) == 1600, "known to the assembler");
_Static_assert(offsetof(struct aead_beside, m) == 16 &&
		       offsetof(struct aead_beside, rounds) == 32 &&
		       offsetof(struct aead_beside, each) == 40 && sizeof(struct aead_beside) == 48,
	       "known to the assembler");

/* x = state after twenty rounds, plus state. The vectors are where the rounds leave them. */
#define ROUNDS(type, V, SIZE, x)                                                                 \
	do {                                                                                     \
		register type x0 __asm__(V "0"), x1 __asm__(V "1"), x2 __asm__(V "2"),           \
			x3 __asm__(V "3"), x4 __asm__(V "4"), x5 __asm__(V "5"),                 \
			x6 __asm__(V "6"), x7 __asm__(V "7"), x8 __asm__(V "8"),                 \
			x9 __asm__(V "9"), x10 __asm__(V "10"), x11 __asm__(V "11"),             \
			x12 __asm__(V "12"), x13 __asm__(V "13"), x14 __asm__(V "14"),           \
			x15 __asm__(V "15");                                                     \
		const uint8_t *m, *o;                                                            \
                                                                                                 \
		__asm__ volatile(CHACHA_ROUNDS(V, SIZE)                                          \
				 : "=v"(x0), "=v"(x1), "=v"(x2), "=v"(x3), "=v"(x4), "=v"(x5),   \
				   "=v"(x6), "=v"(x7), "=v"(x8), "=v"(x9), "=v"(x10), "=v"(x11), \
				   "=v"(x12), "=v"(x13), "=v"(x14),                              \
				   "=v"(x15), [m] "=&r"(m), [o] "=&r"(o)                         \
				 : [c] "r"(c)                                                    \
				 : POLY_CLOBBERS, POLY_CLOBBERS2, "memory", "cc");               \
		x[0] = x0, x[1] = x1, x[2] = x2, x[3] = x3, x[4] = x4, x[5] = x5, x[6] = x6;     \
		x[7] = x7, x[8] = x8, x[9] = x9, x[10] = x10, x[11] = x11, x[12] = x12;          \
		x[13] = x13, x[14] = x14, x[15] = x15;                                           \
	} while (0)

AEAD_AVX512 static inline __m512i load16(const void *p)
{
	return _mm512_loadu_si512(p);
}

AEAD_AVX512 static inline void exor_part(uint8_t *out, const uint8_t *in, __m512i stream,
					 uint64_t wanted)
{
	__mmask64 k = _cvtu64_mask64(wanted);

	_mm512_mask_storeu_epi8(out, k, _mm512_xor_si512(stream, _mm512_maskz_loadu_epi8(k, in)));
}

AEAD_AVX512 static inline void xor_out(const struct aead_chacha *c, int lane, __m512i stream)
{
	exor_part(c->out[lane], c->in[lane], stream, c->wanted[lane]);
}

/* a, b, c, d: in quarter q the words 0 to 3, 4 to 7 and so on of block lane + q step. */
AEAD_AVX512 static inline void xor_four(const struct aead_chacha *chacha, int lane, int step,
					__m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab_even = _mm512_shuffle_i32x4(a, b, 0x88),
		ab_odd = _mm512_shuffle_i32x4(a, b, 0xdd);
	__m512i cd_even = _mm512_shuffle_i32x4(c, d, 0x88),
		cd_odd = _mm512_shuffle_i32x4(c, d, 0xdd);

	xor_out(chacha, lane, _mm512_shuffle_i32x4(ab_even, cd_even, 0x88));
	xor_out(chacha, lane + step, _mm512_shuffle_i32x4(ab_odd, cd_odd, 0x88));
	xor_out(chacha, lane + 2 * step, _mm512_shuffle_i32x4(ab_even, cd_even, 0xdd));
	xor_out(chacha, lane + 3 * step, _mm512_shuffle_i32x4(ab_odd, cd_odd, 0xdd));
}

/* ---- eight ---- */

AEAD_AVX512 static void pass8(struct aead_chacha *c)
{
	__m256i x[16];

	aead_state8(c);
	ROUNDS(__m256i, "ymm", 32, x);
	aead_transpose8(x);
	aead_transpose8(x + 8);
	AEAD_UNROLL8
	for (int i = 0; i < LANES_YMM; i++)
		xor_out(c, i, _mm512_inserti64x4(_mm512_castsi256_si512(x[i]), x[8 + i], 1));
}

/* ---- four ---- */

/* So few that their rounds are waited for whichever way, so the way with less before and after
 * them: a block a 128-bit quarter, its rows in four vectors. Nothing runs beside. */
#define QUARTER_(a, b, d, bits)                \
	do {                                   \
		a = _mm512_add_epi32(a, b);    \
		d = _mm512_xor_si512(d, a);    \
		d = _mm512_rol_epi32(d, bits); \
	} while (0)

struct rows {
	__m512i a, b, c, d;
};

AEAD_AVX512 static inline void round4(struct rows *x)
{
	QUARTER_(x->a, x->b, x->d, 16);
	QUARTER_(x->c, x->d, x->b, 12);
	QUARTER_(x->a, x->b, x->d, 8);
	QUARTER_(x->c, x->d, x->b, 7);
}

/* Diagonals become columns, or back. */
AEAD_AVX512 static inline void turn(struct rows *x, bool back)
{
	x->b = back ? _mm512_shuffle_epi32(x->b, 0x93) : _mm512_shuffle_epi32(x->b, 0x39);
	x->c = _mm512_shuffle_epi32(x->c, 0x4e);
	x->d = back ? _mm512_shuffle_epi32(x->d, 0x39) : _mm512_shuffle_epi32(x->d, 0x93);
}

AEAD_AVX512 static inline __m128i load4(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

AEAD_AVX512 static inline __m512i four(__m128i a, __m128i b, __m128i c, __m128i d)
{
	__m256i ab = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
	__m256i cd = _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1);

	return _mm512_inserti64x4(_mm512_castsi256_si512(ab), cd, 1);
}

AEAD_AVX512 static inline __m128i last_row(const struct aead_chacha *c, int lane)
{
	uint32_t block = c->run ? c->block[0] + (uint32_t)lane : c->block[lane];
	int from = c->run ? 0 : lane;

	return _mm_set_epi32((int)c->nonce_hi[from], (int)c->nonce_lo[from], 0, (int)block);
}

AEAD_AVX512 static inline struct rows rows_of(const struct aead_chacha *c)
{
	const uint8_t *const *k = c->key;
	struct rows x = {
		.a = _mm512_broadcast_i32x4(_mm_set_epi32(CHACHA_3, CHACHA_2, CHACHA_1, CHACHA_0)),
		.d = four(last_row(c, 0), last_row(c, 1), last_row(c, 2), last_row(c, 3)),
	};

	if (c->run) {
		x.b = _mm512_broadcast_i32x4(load4(k[0]));
		x.c = _mm512_broadcast_i32x4(load4(k[0] + 16));
	} else {
		x.b = four(load4(k[0]), load4(k[1]), load4(k[2]), load4(k[3]));
		x.c = four(load4(k[0] + 16), load4(k[1] + 16), load4(k[2] + 16), load4(k[3] + 16));
	}
	return x;
}

AEAD_AVX512 static void pass4(struct aead_chacha *c)
{
	struct rows start = rows_of(c), x = start;

	for (int i = 0; i < AEAD_ROUNDS; i++) {
		round4(&x);
		turn(&x, false);
		round4(&x);
		turn(&x, true);
	}
	xor_four(c, 0, 1, _mm512_add_epi32(x.a, start.a), _mm512_add_epi32(x.b, start.b),
		 _mm512_add_epi32(x.c, start.c), _mm512_add_epi32(x.d, start.d));
}

/* ---- sixteen ---- */

/* In each 128-bit quarter of four vectors rows become columns. */
AEAD_AVX512 static inline void transpose_quarters(__m512i r[4])
{
	__m512i a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpackhi_epi32(r[0], r[1]);
	__m512i c = _mm512_unpacklo_epi32(r[2], r[3]), d = _mm512_unpackhi_epi32(r[2], r[3]);

	r[0] = _mm512_unpacklo_epi64(a, c);
	r[1] = _mm512_unpackhi_epi64(a, c);
	r[2] = _mm512_unpacklo_epi64(b, d);
	r[3] = _mm512_unpackhi_epi64(b, d);
}

/* Keys of lanes i and i + 8 in one vector; quarters 0 and 2 have the low four words of each. */
AEAD_AVX512 static inline __m512i two_keys(const struct aead_chacha *c, int i)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(aead_load8(c->key[i])),
				  aead_load8(c->key[i + 8]), 1);
}

AEAD_AVX512 static inline void keys_of_all(const struct aead_chacha *c, __m512i state[16])
{
	const __m512i low = _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0);
	const __m512i high = _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2);
	__m512i k[8];

	AEAD_UNROLL8
	for (int i = 0; i < 8; i++)
		k[i] = two_keys(c, i);
	transpose_quarters(k);
	transpose_quarters(k + 4);
	AEAD_UNROLL8
	for (int i = 0; i < 4; i++) {
		state[4 + i] = _mm512_permutex2var_epi64(k[i], low, k[4 + i]);
		state[8 + i] = _mm512_permutex2var_epi64(k[i], high, k[4 + i]);
	}
	state[12] = load16(c->block);
	state[14] = load16(c->nonce_lo);
	state[15] = load16(c->nonce_hi);
}

AEAD_AVX512 static inline void key_of_one(const struct aead_chacha *c, __m512i state[16])
{
	AEAD_UNROLL8
	for (int i = 0; i < 8; i++)
		state[4 + i] = _mm512_set1_epi32((int)aead_word(c->key[0], i));
	state[12] = _mm512_add_epi32(
		_mm512_set1_epi32((int)c->block[0]),
		_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
	state[14] = _mm512_set1_epi32((int)c->nonce_lo[0]);
	state[15] = _mm512_set1_epi32((int)c->nonce_hi[0]);
}

AEAD_AVX512 static inline void state16(struct aead_chacha *c)
{
	__m512i *state = (__m512i *)(void *)c->state;

	state[0] = _mm512_set1_epi32(CHACHA_0);
	state[1] = _mm512_set1_epi32(CHACHA_1);
	state[2] = _mm512_set1_epi32(CHACHA_2);
	state[3] = _mm512_set1_epi32(CHACHA_3);
	state[13] = _mm512_setzero_si512();
	if (c->run)
		key_of_one(c, state);
	else
		keys_of_all(c, state);
}

AEAD_AVX512 static void pass16(struct aead_chacha *c)
{
	__m512i x[16];

	state16(c);
	ROUNDS(__m512i, "zmm", 64, x);
	AEAD_UNROLL8
	for (int i = 0; i < 16; i += 4)
		transpose_quarters(x + i);
	AEAD_UNROLL8
	for (int i = 0; i < 4; i++)
		xor_four(c, i, 4, x[i], x[4 + i], x[8 + i], x[12 + i]);
}

static void pass(struct aead_chacha *c, struct aead_beside *beside)
{
	c->beside = beside;
	c->rounds_left = AEAD_ROUNDS;
	if (c->busy > LANES_YMM)
		pass16(c);
	else if (c->busy > LANES_ROWS || beside->rounds)
		pass8(c);
	else
		pass4(c);
}

AEAD_AVX512 static void exor(uint8_t *out, const uint8_t *in, const uint8_t *stream, size_t len)
{
	for (; len >= 64; len -= 64, out += 64, in += 64, stream += 64)
		exor_part(out, in, load16(stream), ~0ULL);
	if (len)
		exor_part(out, in, load16(stream), (1ULL << len) - 1);
}

/* CPUs that have AVX-512 without the extensions asked for last, Skylake's and its followers', slow
 * the whole core down for vectors of this size. */
static bool usable(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vbmi2");
}

const struct aead_kernel aead_kernel_avx512 = {LANES_MAX, true, true, pass, exor};

static void seal(struct aead_job *jobs, size_t n)
{
	aead_lanes_run(&aead_kernel_avx512, jobs, n, false);
}

static void open(struct aead_job *jobs, size_t n)
{
	aead_lanes_run(&aead_kernel_avx512, jobs, n, true);
}

const struct aead_backend aead_avx512 = {"avx512-16", usable, seal, open};
#endif
