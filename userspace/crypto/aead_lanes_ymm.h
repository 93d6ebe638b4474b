/* SPDX-License-Identifier: Apache-2.0
 *
 * Eight blocks of ChaCha20 (RFC 8439 §2.3) before and after their rounds: word i of all eight
 * states is one vector, so the rounds need no shuffles, and two transpositions bring each block's
 * bytes together. For the kernels of this width in aead_avx2.c and aead_avx512.c. */
#ifndef PENSTOCK_CRYPTO_AEAD_LANES_YMM_H
#define PENSTOCK_CRYPTO_AEAD_LANES_YMM_H
#include <string.h>
#include <immintrin.h>
#include "crypto/aead_lanes.h"

#define AEAD_AVX2    __attribute__((target("avx2,bmi2")))
#define AEAD_UNROLL8 _Pragma("GCC unroll 8")

static inline uint32_t aead_word(const uint8_t *key, int i)
{
	uint32_t w;

	memcpy(&w, key + 4 * i, 4);
	return w;
}

AEAD_AVX2 static inline __m256i aead_load8(const void *p)
{
	return _mm256_loadu_si256(p);
}

/* Rows become columns. */
AEAD_AVX2 static inline void aead_transpose8(__m256i r[8])
{
	__m256i a[8], b[8];

	AEAD_UNROLL8
	for (int i = 0; i < 8; i += 2) {
		a[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
		a[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
	}
	AEAD_UNROLL8
	for (int i = 0; i < 8; i += 4) {
		b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
		b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
		b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
		b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
	}
	AEAD_UNROLL8
	for (int i = 0; i < 4; i++) {
		r[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
		r[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
	}
}

AEAD_AVX2 static inline void aead_keys8(const struct aead_chacha *c, __m256i state[16])
{
	__m256i k[8];

	if (c->run) {
		AEAD_UNROLL8
		for (int i = 0; i < 8; i++)
			state[4 + i] = _mm256_set1_epi32((int)aead_word(c->key[0], i));
		state[12] = _mm256_add_epi32(_mm256_set1_epi32((int)c->block[0]),
					     _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
		state[14] = _mm256_set1_epi32((int)c->nonce_lo[0]);
		state[15] = _mm256_set1_epi32((int)c->nonce_hi[0]);
		return;
	}
	AEAD_UNROLL8
	for (int i = 0; i < 8; i++)
		k[i] = aead_load8(c->key[i]);
	aead_transpose8(k);
	AEAD_UNROLL8
	for (int i = 0; i < 8; i++)
		state[4 + i] = k[i];
	state[12] = aead_load8(c->block);
	state[14] = aead_load8(c->nonce_lo);
	state[15] = aead_load8(c->nonce_hi);
}

AEAD_AVX2 static inline void aead_state8(struct aead_chacha *c)
{
	__m256i *state = (__m256i *)(void *)c->state;

	state[0] = _mm256_set1_epi32(CHACHA_0);
	state[1] = _mm256_set1_epi32(CHACHA_1);
	state[2] = _mm256_set1_epi32(CHACHA_2);
	state[3] = _mm256_set1_epi32(CHACHA_3);
	state[13] = _mm256_setzero_si256();
	aead_keys8(c, state);
}

/* Bytes [at, at + 32) of every block, from eight words of all states. */
AEAD_AVX2 static inline void aead_xor8(const struct aead_chacha *c, __m256i r[8], size_t at)
{
	aead_transpose8(r);
	AEAD_UNROLL8
	for (int i = 0; i < LANES_YMM; i++)
		_mm256_storeu_si256((__m256i *)(void *)(c->out[i] + at),
				    _mm256_xor_si256(r[i], aead_load8(c->in[i] + at)));
}
#endif
