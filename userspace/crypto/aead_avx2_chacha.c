/* SPDX-License-Identifier: Apache-2.0
 *
 * ChaCha20 (RFC 8439 §2.3) for eight blocks at a time: word i of all eight states is one vector, so
 * the rounds need no shuffles. Afterwards two transpositions bring each block's bytes together.
 * The rounds themselves are in aead_avx2_asm.h. */
#if defined(__x86_64__)
#include <string.h>
#include "crypto/aead_avx2.h"
#include "crypto/aead_avx2_asm.h"

typedef __m256i v8;

#define ADD(a, b)   _mm256_add_epi32(a, b)
#define LOAD(p)	    _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)

_Static_assert(offsetof(struct aead_chacha, state) == 0, "known to the assembler");
_Static_assert(offsetof(struct aead_chacha, mixed) == 512, "known to the assembler");
_Static_assert(offsetof(struct aead_beside, m) == 8 && offsetof(struct aead_beside, rounds) == 16 &&
		       sizeof(struct aead_beside) == 24,
	       "known to the assembler");

/* mixed = state after twenty rounds, plus state. */
AEAD_AVX2 static inline void rounds(struct aead_chacha *c, struct aead_beside *beside)
{
	static const uint8_t rot16[32] __attribute__((aligned(32))) = {
		2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
		2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
	static const uint8_t rot8[32] __attribute__((aligned(32))) = {
		3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
		3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};
	struct aead_poly1 *p;
	const uint8_t *m;
	uint64_t left = AEAD_ROUNDS;

	__asm__ volatile(CHACHA_ROUNDS
			 : [beside] "+r"(beside), [left] "+m"(left), [p] "=&r"(p), [m] "=&r"(m)
			 : [c] "r"(c), [rot16] "m"(rot16), [rot8] "m"(rot8)
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
			   POLY_CLOBBERS, "memory", "cc");
}

/* ---- before and after the rounds ---- */

/* Rows become columns. */
AEAD_AVX2 static inline void transpose(v8 r[8])
{
	v8 a[8], b[8];

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

/* Bytes [at, at + 32) of every block, from eight words of all states. */
AEAD_AVX2 static inline void xor_half(const struct aead_chacha *c, size_t at)
{
	v8 r[8];

	AEAD_UNROLL8
	for (int i = 0; i < 8; i++)
		r[i] = c->mixed[at / 4 + (size_t)i];
	transpose(r);
	AEAD_UNROLL8
	for (int i = 0; i < CHACHA_LANES; i++)
		STORE(c->out[i] + at, _mm256_xor_si256(r[i], LOAD(c->in[i] + at)));
}

AEAD_AVX2 static inline void one_packet(struct aead_chacha *c)
{
	int word;

	AEAD_UNROLL8
	for (int i = 0; i < 8; i++) {
		memcpy(&word, c->key[0] + 4 * i, 4);
		c->state[4 + i] = _mm256_set1_epi32(word);
	}
	c->state[12] = ADD(_mm256_set1_epi32((int)c->block[0]),
			   _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
	c->state[14] = _mm256_set1_epi32((int)c->nonce_lo[0]);
	c->state[15] = _mm256_set1_epi32((int)c->nonce_hi[0]);
}

AEAD_AVX2 static inline void many_packets(struct aead_chacha *c)
{
	v8 k[8];

	AEAD_UNROLL8
	for (int i = 0; i < CHACHA_LANES; i++)
		k[i] = LOAD(c->key[i]);
	transpose(k);
	AEAD_UNROLL8
	for (int i = 0; i < 8; i++)
		c->state[4 + i] = k[i];
	c->state[12] = LOAD(c->block);
	c->state[14] = LOAD(c->nonce_lo);
	c->state[15] = LOAD(c->nonce_hi);
}

AEAD_AVX2 void aead_chacha8(struct aead_chacha *c, struct aead_beside *beside)
{
	c->state[0] = _mm256_set1_epi32(0x61707865);
	c->state[1] = _mm256_set1_epi32(0x3320646e);
	c->state[2] = _mm256_set1_epi32(0x79622d32);
	c->state[3] = _mm256_set1_epi32(0x6b206574);
	c->state[13] = _mm256_setzero_si256();
	if (c->run)
		one_packet(c);
	else
		many_packets(c);
	rounds(c, beside);
	xor_half(c, 0);
	xor_half(c, 32);
}
#endif
