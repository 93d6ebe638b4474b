/* SPDX-License-Identifier: Apache-2.0
 *
 * Poly1305 (RFC 8439 §2.5) for many messages. Three ways, chosen by what is there:
 *  - scalar, 64-bit limbs: short messages alone, heads and tails;
 *  - four messages, one a vector lane, 26-bit limbs, two blocks a step with r and r^2;
 *  - one long message, every fourth block a lane, the same step with r^4 and r^8.
 * All blocks of an AEAD are whole, so the bit behind each block is always set. */
#if defined(__x86_64__)
#include <string.h>
#include "base/bytes.h"
#include "crypto/aead_avx2.h"
#include "crypto/aead_avx2_asm.h"
#include "crypto/crypto.h"

typedef __m256i v4;
typedef unsigned __int128 u128;

#define UNROLL5 _Pragma("GCC unroll 5")
#define LANES	4
#define MASK26	0x3ffffffULL
#define SHORT	8 /* blocks below which a message alone stays scalar */
#define SQUARES 6 /* steps below which r^2 does not pay */

/* ---- scalar ---- */

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

void aead_poly_init(struct aead_poly1 *p, const uint8_t key[32])
{
	p->h0 = p->h1 = p->h2 = 0;
	p->r0 = load64(key) & 0x0ffffffc0fffffffULL;
	p->r1 = load64(key + 8) & 0x0ffffffc0ffffffcULL;
	p->s1 = p->r1 + (p->r1 >> 2);
}

static void blocks1(struct aead_poly1 *p, const uint8_t *m, size_t n)
{
	if (!n)
		return;
	__asm__ volatile(POLY_LOAD "1:\n\t" POLY_STEP "dec %[n]\n\t"
				   "jnz 1b\n\t" POLY_SAVE
			 : [m] "+r"(m), [n] "+r"(n)
			 : [p] "r"(p)
			 : POLY_CLOBBERS, "memory", "cc");
}

/* h mod 2^130 - 5, plus s, mod 2^128. */
static void tag_of(const struct aead_poly1 *p, const uint8_t *key, uint8_t tag[16])
{
	u128 g0 = (u128)p->h0 + 5, g1 = (u128)p->h1 + (uint64_t)(g0 >> 64);
	uint64_t over = 0 - ((p->h2 + (uint64_t)(g1 >> 64)) >> 2 & 1);
	uint64_t h0 = (p->h0 & ~over) | ((uint64_t)g0 & over);
	uint64_t h1 = (p->h1 & ~over) | ((uint64_t)g1 & over);
	u128 t = (u128)h0 + load64(key + 16);
	uint64_t lo = (uint64_t)t, hi = h1 + load64(key + 24) + (uint64_t)(t >> 64);

	memcpy(tag, &lo, 8);
	memcpy(tag + 8, &hi, 8);
}

/* The last bytes as a padded block, if any, and the block of lengths. Returns how many blocks. */
static size_t tail_of(const uint8_t *end, uint32_t len, uint8_t out[2 * POLY_BLOCK])
{
	size_t rest = len % POLY_BLOCK, n = 0;

	memset(out, 0, 2 * POLY_BLOCK);
	if (rest) {
		memcpy(out, end - rest, rest);
		n = 1;
	}
	le64_put(out + n * POLY_BLOCK + 8, len);
	return n + 1;
}

void aead_poly_final(struct aead_poly1 *p, const uint8_t key[32], const uint8_t *end, uint32_t len,
		     uint8_t tag[16])
{
	uint8_t tail[2 * POLY_BLOCK];

	blocks1(p, tail, tail_of(end, len, tail));
	tag_of(p, key, tag);
}

/* ---- vectors: five 26-bit limbs, four numbers ---- */

struct limbs {
	v4 l[5];
};

/* A multiplier: r and, for what wraps at 2^130, 5 r. */
struct factor {
	v4 r[5], s[5];
};

static inline void split26(uint64_t out[5], uint64_t h0, uint64_t h1, uint64_t h2)
{
	out[0] = h0 & MASK26;
	out[1] = h0 >> 26 & MASK26;
	out[2] = (h0 >> 52 | h1 << 12) & MASK26;
	out[3] = h1 >> 14 & MASK26;
	out[4] = h1 >> 40 | h2 << 24;
}

/* From limbs that may be a little over 26 bits. */
static void join26(struct aead_poly1 *p, const uint64_t l[5])
{
	u128 t = (u128)l[0] + ((u128)l[1] << 26) + ((u128)l[2] << 52);
	u128 u = (u128)(uint64_t)(t >> 64) + ((u128)l[3] << 14) + ((u128)l[4] << 40);
	uint64_t top = (uint64_t)(u >> 64), c = (top >> 2) * 5;

	t = (u128)(uint64_t)t + c;
	u = (u128)(uint64_t)u + (uint64_t)(t >> 64);
	p->h0 = (uint64_t)t;
	p->h1 = (uint64_t)u;
	p->h2 = (top & 3) + (uint64_t)(u >> 64);
}

AEAD_AVX2 static inline v4 times5(v4 a)
{
	return _mm256_add_epi64(a, _mm256_slli_epi64(a, 2));
}

AEAD_AVX2 static inline void factor_set(struct factor *f, const struct limbs *a)
{
	UNROLL5
	for (int i = 0; i < 5; i++) {
		f->r[i] = a->l[i];
		f->s[i] = times5(a->l[i]);
	}
}

#define MUL(a, b) _mm256_mul_epu32(a, b)
#define SUM(a, b) _mm256_add_epi64(a, b)

/* Keeps the compiler from making all products first and spilling them. */
#define SETTLE(d)                                                                     \
	__asm__(""                                                                    \
		: "+x"((d)->l[0]), "+x"((d)->l[1]), "+x"((d)->l[2]), "+x"((d)->l[3]), \
		  "+x"((d)->l[4]))

/* d += a f, not carried. */
AEAD_AVX2 static inline void mul_add(struct limbs *d, const struct limbs *a, const struct factor *f)
{
	UNROLL5
	for (int k = 0; k < 5; k++) {
		UNROLL5
		for (int i = 0; i < 5; i++)
			d->l[i] = SUM(d->l[i],
				      MUL(a->l[k], k <= i ? f->r[i - k] : f->s[5 + i - k]));
		SETTLE(d);
	}
}

/* Back to 26 bits and a little: two chains side by side. */
AEAD_AVX2 static inline void carry(struct limbs *d)
{
	const v4 mask = _mm256_set1_epi64x(MASK26);
	v4 *l = d->l;

#define CARRY(from, to)                                     \
	l[to] = SUM(l[to], _mm256_srli_epi64(l[from], 26)), \
	l[from] = _mm256_and_si256(l[from], mask)
	CARRY(3, 4);
	CARRY(0, 1);
	l[0] = SUM(l[0], times5(_mm256_srli_epi64(l[4], 26)));
	l[4] = _mm256_and_si256(l[4], mask);
	CARRY(1, 2);
	CARRY(2, 3);
	CARRY(0, 1);
	CARRY(3, 4);
#undef CARRY
}

AEAD_AVX2 static inline void mul(struct limbs *d, const struct limbs *a, const struct factor *f)
{
	memset(d, 0, sizeof(*d));
	mul_add(d, a, f);
	carry(d);
}

/* d += the 16 bytes at each of the four places, with the bit behind them. */
AEAD_AVX2 static inline void add_blocks(struct limbs *d, const uint8_t *const p[LANES], size_t at)
{
	const v4 mask = _mm256_set1_epi64x(MASK26), top = _mm256_set1_epi64x(1 << 24);
	v4 a = _mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p[0] + at))),
		_mm_loadu_si128((const __m128i *)(p[2] + at)), 1);
	v4 b = _mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p[1] + at))),
		_mm_loadu_si128((const __m128i *)(p[3] + at)), 1);
	v4 lo = _mm256_unpacklo_epi64(a, b), hi = _mm256_unpackhi_epi64(a, b);
	v4 mid = _mm256_or_si256(_mm256_srli_epi64(lo, 52), _mm256_slli_epi64(hi, 12));

	d->l[0] = SUM(d->l[0], _mm256_and_si256(lo, mask));
	d->l[1] = SUM(d->l[1], _mm256_and_si256(_mm256_srli_epi64(lo, 26), mask));
	d->l[2] = SUM(d->l[2], _mm256_and_si256(mid, mask));
	d->l[3] = SUM(d->l[3], _mm256_and_si256(_mm256_srli_epi64(hi, 14), mask));
	d->l[4] = SUM(d->l[4], _mm256_or_si256(_mm256_srli_epi64(hi, 40), top));
}

/* h = (h + block) f, n times, two at a time where there is f2 = f^2. stride: bytes from a lane's
 * block to its next. */
AEAD_AVX2 static inline void steps(struct limbs *hp, const struct factor *f,
				   const struct factor *f2, const uint8_t *const p[LANES],
				   size_t stride, size_t n)
{
	struct limbs h = *hp, d, m;
	size_t at = 0;

	for (; f2 && n >= 2; n -= 2, at += 2 * stride) {
		memset(&m, 0, sizeof(m));
		memset(&d, 0, sizeof(d));
		add_blocks(&m, p, at + stride);
		mul_add(&d, &m, f);
		add_blocks(&h, p, at);
		mul_add(&d, &h, f2);
		carry(&d);
		h = d;
	}
	for (; n; n--, at += stride) {
		add_blocks(&h, p, at);
		mul(&d, &h, f);
		h = d;
	}
	*hp = h;
}

AEAD_AVX2 static void steps_joint(struct limbs *h, const struct factor *f, const struct factor *f2,
				  const uint8_t *m, size_t n)
{
	const uint8_t *const p[LANES] = {m, m + POLY_BLOCK, m + 2 * POLY_BLOCK, m + 3 * POLY_BLOCK};

	steps(h, f, f2, p, LANES * POLY_BLOCK, n);
}

/* ---- one message ---- */

/* What the vectors need of r: lanes of `last` are r^4, r^3, r^2, r. */
struct powers {
	struct factor r4, r8, last;
};

AEAD_AVX2 static inline v4 all(uint64_t a)
{
	return _mm256_set1_epi64x((long long)a);
}

AEAD_AVX2 static void powers_of(struct powers *w, const struct aead_poly1 *p)
{
	struct limbs r, r2, high, low, t;
	uint64_t l[5];

	split26(l, p->r0, p->r1, 0);
	UNROLL5
	for (int i = 0; i < 5; i++)
		r.l[i] = all(l[i]);
	factor_set(&w->last, &r);
	mul(&r2, &r, &w->last);
	/* (r^2, r^2, r, r) times (r^2, r, r, 1) */
	UNROLL5
	for (int i = 0; i < 5; i++) {
		high.l[i] = _mm256_blend_epi32(r2.l[i], r.l[i], 0xf0);
		low.l[i] = _mm256_blend_epi32(r.l[i], r2.l[i], 0x03);
		low.l[i] = _mm256_blend_epi32(low.l[i], all(i == 0), 0xc0);
	}
	factor_set(&w->r4, &low);
	mul(&t, &high, &w->r4);
	factor_set(&w->last, &t);
	UNROLL5
	for (int i = 0; i < 5; i++)
		t.l[i] = _mm256_permute4x64_epi64(t.l[i], 0);
	factor_set(&w->r4, &t);
	mul(&r2, &t, &w->r4);
	factor_set(&w->r8, &r2);
}

AEAD_AVX2 static inline uint64_t across(v4 a)
{
	__m128i t = _mm_add_epi64(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));

	return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(t, _mm_unpackhi_epi64(t, t)));
}

/* n * 4 blocks, n at least 1. */
AEAD_AVX2 static void blocks4(struct aead_poly1 *p, const uint8_t *m, size_t n)
{
	struct powers w;
	struct limbs h;
	uint64_t l[5];

	powers_of(&w, p);
	split26(l, p->h0, p->h1, p->h2);
	UNROLL5
	for (int i = 0; i < 5; i++)
		h.l[i] = _mm256_set_epi64x(0, 0, 0, (long long)l[i]);
	steps_joint(&h, &w.r4, &w.r8, m, n - 1);
	steps_joint(&h, &w.last, NULL, m + (n - 1) * LANES * POLY_BLOCK, 1);
	UNROLL5
	for (int i = 0; i < 5; i++)
		l[i] = across(h.l[i]);
	join26(p, l);
	crypto_wipe(&w, sizeof(w));
}

void aead_poly_blocks(struct aead_poly1 *p, const uint8_t *m, size_t n)
{
	size_t quads = n / LANES;

	if (n >= SHORT) {
		blocks4(p, m, quads);
		m += quads * LANES * POLY_BLOCK;
		n -= quads * LANES;
	}
	blocks1(p, m, n);
}

#endif
