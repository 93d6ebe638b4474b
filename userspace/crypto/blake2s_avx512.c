/* SPDX-License-Identifier: Apache-2.0
 *
 * A block of BLAKE2s for CPUs with AVX-512: the working vector's four rows are a register each, the
 * message is one, and each round takes its words from it by one permutation. */
#if defined(__x86_64__)
#include <immintrin.h>
#include "crypto/aead_backend.h"
#include "crypto/blake2s_block.h"

#define BLAKE2S_AVX512 __attribute__((target("avx512f,avx512vl")))

/* A round's words, sixteen of them (RFC 7693 §2.7): the columns' first and second ones, then the
 * diagonals', which begin with that of the lane the last row of b stands still for. */
#define ROUND(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15) \
	{p0, p2, p4, p6, p1, p3, p5, p7, p14, p8, p10, p12, p15, p9, p11, p13}

static const uint32_t words[10][16] __attribute__((aligned(64))) = {
	ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
	ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
	ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
	ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
	ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
	ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
	ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
	ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
	ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
	ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
};

struct rows {
	__m128i a, b, c, d;
};

BLAKE2S_AVX512 static inline void mix(struct rows *v, __m128i x, __m128i y)
{
	v->a = _mm_add_epi32(_mm_add_epi32(v->a, x), v->b);
	v->d = _mm_ror_epi32(_mm_xor_si128(v->d, v->a), 16);
	v->c = _mm_add_epi32(v->c, v->d);
	v->b = _mm_ror_epi32(_mm_xor_si128(v->b, v->c), 12);
	v->a = _mm_add_epi32(_mm_add_epi32(v->a, y), v->b);
	v->d = _mm_ror_epi32(_mm_xor_si128(v->d, v->a), 8);
	v->c = _mm_add_epi32(v->c, v->d);
	v->b = _mm_ror_epi32(_mm_xor_si128(v->b, v->c), 7);
}

BLAKE2S_AVX512 void blake2s_block_avx512(uint32_t h[8], const uint8_t block[BLAKE2S_BLOCK],
					 uint64_t count, bool last)
{
	const __m512i m = _mm512_loadu_si512(block);
	const __m128i h0 = _mm_loadu_si128((const __m128i *)h),
		      h1 = _mm_loadu_si128((const __m128i *)(h + 4)),
		      iv0 = _mm_loadu_si128((const __m128i *)blake2s_iv),
		      iv1 = _mm_loadu_si128((const __m128i *)(blake2s_iv + 4));
	const __m128i end = _mm_set_epi32(0, last ? -1 : 0, (int)(count >> 32), (int)count);
	struct rows v = {h0, h1, iv0, _mm_xor_si128(iv1, end)};

#pragma GCC unroll 10
	for (int r = 0; r < 10; r++) {
		const __m512i w = _mm512_permutexvar_epi32(_mm512_load_si512(words[r]), m);

		mix(&v, _mm512_castsi512_si128(w), _mm512_extracti32x4_epi32(w, 1));
		/* Diagonals to columns: b, which is ready last, stays where it is. */
		v.a = _mm_shuffle_epi32(v.a, _MM_SHUFFLE(2, 1, 0, 3));
		v.d = _mm_shuffle_epi32(v.d, _MM_SHUFFLE(1, 0, 3, 2));
		v.c = _mm_shuffle_epi32(v.c, _MM_SHUFFLE(0, 3, 2, 1));
		mix(&v, _mm512_extracti32x4_epi32(w, 2), _mm512_extracti32x4_epi32(w, 3));
		v.a = _mm_shuffle_epi32(v.a, _MM_SHUFFLE(0, 3, 2, 1));
		v.d = _mm_shuffle_epi32(v.d, _MM_SHUFFLE(1, 0, 3, 2));
		v.c = _mm_shuffle_epi32(v.c, _MM_SHUFFLE(2, 1, 0, 3));
	}
	_mm_storeu_si128((__m128i *)h, _mm_xor_si128(h0, _mm_xor_si128(v.a, v.c)));
	_mm_storeu_si128((__m128i *)(h + 4), _mm_xor_si128(h1, _mm_xor_si128(v.b, v.d)));
}

bool blake2s_has_avx512(void)
{
	return aead_avx512.usable(); /* the same CPUs: those that do not slow down for it */
}
#endif
