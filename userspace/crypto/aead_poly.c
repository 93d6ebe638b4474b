/* SPDX-License-Identifier: Apache-2.0
 *
 * Poly1305 (RFC 8439 §2.5) with 64-bit limbs: what of it does not run beside ChaCha20's rounds. All
 * blocks of an AEAD are whole, so the bit behind each block is always set. There is no vector form:
 * beside ChaCha20 the scalar one is nearly free, and alone it is the faster one up to 32 blocks,
 * for which the powers of r would not be worth it. */
#if defined(__x86_64__)
#include <string.h>
#include "base/bytes.h"
#include "crypto/aead_lanes.h"
#include "crypto/aead_poly_asm.h"

typedef unsigned __int128 u128;

_Static_assert(offsetof(struct aead_poly1, h2) == 16 && offsetof(struct aead_poly1, r0) == 24 &&
		       offsetof(struct aead_poly1, s1) == 40,
	       "known to the assembler");

#define R(p) "24(%[" p "])", "32(%[" p "])", "40(%[" p "])"

void aead_poly_blocks(struct aead_poly1 *p, const uint8_t *m, size_t n)
{
	if (!n)
		return;
	__asm__ volatile(
		POLY_LOAD("%[p]", POLY_H) "1:\n\t" POLY_STEP(
			"%[m]", "0", R("p"),
			POLY_H) "add $16,%[m]\n\tdec %[n]\n\tjnz 1b\n\t" POLY_SAVE("%[p]", POLY_H)
		: [m] "+r"(m), [n] "+r"(n)
		: [p] "r"(p)
		: POLY_CLOBBERS, "memory", "cc");
}

/* What does not fit the registers, behind one of them; r is wiped. The order is known to assembler.
 */
struct two {
	struct aead_poly1 *p, *q;
	uint64_t n, r[6];
};

#define TWO_P "24(%[two])", "32(%[two])", "40(%[two])"
#define TWO_Q "48(%[two])", "56(%[two])", "64(%[two])"
/* clang-format off */
#define POLY_BLOCKS2 \
	"mov (%[two]),%%rax\n\t" \
	"mov 8(%[two]),%%rdx\n\t" \
	POLY_LOAD("%%rax", POLY_H) \
	POLY_LOAD("%%rdx", POLY_H2) \
	"1:\n\t" \
	POLY_STEP("%[m]", "0", TWO_P, POLY_H) \
	POLY_STEP("%[o]", "0", TWO_Q, POLY_H2) \
	"add $16,%[m]\n\t" \
	"add $16,%[o]\n\t" \
	"decq 16(%[two])\n\t" \
	"jnz 1b\n\t" \
	"mov (%[two]),%%rax\n\t" \
	"mov 8(%[two]),%%rdx\n\t" \
	POLY_SAVE("%%rax", POLY_H) \
	POLY_SAVE("%%rdx", POLY_H2) \
	"xor %%eax,%%eax\n\t" \
	"mov %%rax,24(%[two])\n\t" \
	"mov %%rax,32(%[two])\n\t" \
	"mov %%rax,40(%[two])\n\t" \
	"mov %%rax,48(%[two])\n\t" \
	"mov %%rax,56(%[two])\n\t" \
	"mov %%rax,64(%[two])\n\t"
/* clang-format on */

void aead_poly_blocks2(struct aead_poly1 *p, const uint8_t *m, struct aead_poly1 *q,
		       const uint8_t *o, size_t n)
{
	struct two two;

	if (!n)
		return;
	two = (struct two){p, q, n, {p->r0, p->r1, p->s1, q->r0, q->r1, q->s1}};
	__asm__ volatile(POLY_BLOCKS2
			 : [m] "+r"(m), [o] "+r"(o)
			 : [two] "r"(&two)
			 : POLY_CLOBBERS, POLY_CLOBBERS2, "memory", "cc");
}

/* h mod 2^130 - 5, plus s, mod 2^128. */
void aead_poly_tag(const struct aead_poly1 *p, const uint8_t key[32], uint8_t tag[16])
{
	u128 g0 = (u128)p->h0 + 5, g1 = (u128)p->h1 + (uint64_t)(g0 >> 64);
	uint64_t over = 0 - ((p->h2 + (uint64_t)(g1 >> 64)) >> 2 & 1);
	uint64_t h0 = (p->h0 & ~over) | ((uint64_t)g0 & over);
	uint64_t h1 = (p->h1 & ~over) | ((uint64_t)g1 & over);
	u128 t = (u128)h0 + le64_get(key + 16);

	le64_put(tag, (uint64_t)t);
	le64_put(tag + 8, h1 + le64_get(key + 24) + (uint64_t)(t >> 64));
}
#endif
