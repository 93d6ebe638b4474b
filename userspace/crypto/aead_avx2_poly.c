/* SPDX-License-Identifier: Apache-2.0
 *
 * Poly1305 (RFC 8439 §2.5) with 64-bit limbs: what of it does not run beside ChaCha20's rounds. All
 * blocks of an AEAD are whole, so the bit behind each block is always set. There is no vector form:
 * beside ChaCha20 the scalar one is nearly free, and alone it is the faster one up to 32 blocks,
 * for which the powers of r would not be worth it. */
#if defined(__x86_64__)
#include <string.h>
#include "base/bytes.h"
#include "crypto/aead_avx2.h"
#include "crypto/aead_avx2_asm.h"

typedef unsigned __int128 u128;

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

_Static_assert(offsetof(struct aead_poly1, h2) == 16 && offsetof(struct aead_poly1, r0) == 24 &&
		       offsetof(struct aead_poly1, s1) == 40,
	       "known to the assembler");

void aead_poly_init(struct aead_poly1 *p, const uint8_t key[32])
{
	p->h0 = p->h1 = p->h2 = 0;
	p->r0 = load64(key) & 0x0ffffffc0fffffffULL;
	p->r1 = load64(key + 8) & 0x0ffffffc0ffffffcULL;
	p->s1 = p->r1 + (p->r1 >> 2);
}

void aead_poly_blocks(struct aead_poly1 *p, const uint8_t *m, size_t n)
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

	le64_put(tag, (uint64_t)t);
	le64_put(tag + 8, h1 + load64(key + 24) + (uint64_t)(t >> 64));
}

void aead_poly_final(struct aead_poly1 *p, const uint8_t key[32], const uint8_t *end, uint32_t len,
		     uint8_t tag[16])
{
	size_t rest = len % POLY_BLOCK, at = rest ? POLY_BLOCK : 0;
	uint8_t tail[2 * POLY_BLOCK] = {0};

	aead_copy_short(tail, end - rest, rest);
	le64_put(tail + at + 8, len);
	aead_poly_blocks(p, tail, at / POLY_BLOCK + 1);
	tag_of(p, key, tag);
}
#endif
