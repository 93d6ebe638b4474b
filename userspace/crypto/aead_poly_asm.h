/* SPDX-License-Identifier: Apache-2.0
 *
 * One block of Poly1305 as assembler text, for two messages at a time or one: h of the first is in
 * r8, r9 and r10 between POLY_LOAD and POLY_SAVE, h of the second in r11, r12 and r13. Needs BMI2
 * (mulx). `at` is an offset in the memory that m points to; p a register that points to a struct
 * aead_poly1; r0, r1 and s1 are memory operands. */
#ifndef PENSTOCK_CRYPTO_AEAD_POLY_ASM_H
#define PENSTOCK_CRYPTO_AEAD_POLY_ASM_H
/* clang-format off */

#define POLY_H  "%%r8", "%%r9", "%%r10"
#define POLY_H2 "%%r11", "%%r12", "%%r13"

#define POLY_LOAD_(p, h0, h1, h2) \
	"mov (" p ")," h0 "\n\t" \
	"mov 8(" p ")," h1 "\n\t" \
	"mov 16(" p ")," h2 "\n\t"
#define POLY_LOAD(p, h) POLY_LOAD_(p, h)

#define POLY_SAVE_(p, h0, h1, h2) \
	"mov " h0 ",(" p ")\n\t" \
	"mov " h1 ",8(" p ")\n\t" \
	"mov " h2 ",16(" p ")\n\t"
#define POLY_SAVE(p, h) POLY_SAVE_(p, h)

/* h += block and the bit behind it;
 * rbx:rax = h0 r0 + h1 s1, rcx:h1 = h1 r0 + h0 r1 + h2 s1, h2 = h2 r0, each high word first;
 * then carried up, and what is above 2^130 comes back times 5: as much as itself and a quarter.
 * No product waits for a move, which here is not always free. */
#define POLY_STEP_(m, at, r0, r1, s1, h0, h1, h2) \
	"add " at "(" m ")," h0 "\n\t" \
	"adc 8+" at "(" m ")," h1 "\n\t" \
	"adc $1," h2 "\n\t" \
	"mov " r0 ",%%rdx\n\t" \
	"mulx " h0 ",%%rax,%%rbx\n\t" \
	"mov " s1 ",%%rdx\n\t" \
	"mulx " h1 ",%%rdx,%%rsi\n\t" \
	"add %%rdx,%%rax\n\t" \
	"adc %%rsi,%%rbx\n\t" \
	"mov " r0 ",%%rdx\n\t" \
	"mulx " h1 "," h1 ",%%rcx\n\t" \
	"mov " r1 ",%%rdx\n\t" \
	"mulx " h0 "," h0 ",%%rsi\n\t" \
	"add " h0 "," h1 "\n\t" \
	"adc %%rsi,%%rcx\n\t" \
	"mov " s1 ",%%rdx\n\t" \
	"imul " h2 ",%%rdx\n\t" \
	"imul " r0 "," h2 "\n\t" \
	"add %%rdx," h1 "\n\t" \
	"adc $0,%%rcx\n\t" \
	"add %%rbx," h1 "\n\t" \
	"adc %%rcx," h2 "\n\t" \
	"mov " h2 ",%%rdx\n\t" \
	"mov " h2 "," h0 "\n\t" \
	"shr $2,%%rdx\n\t" \
	"and $-4," h0 "\n\t" \
	"and $3," h2 "\n\t" \
	"add %%rdx," h0 "\n\t" \
	"add %%rax," h0 "\n\t" \
	"adc $0," h1 "\n\t" \
	"adc $0," h2 "\n\t"
#define POLY_STEP(m, at, r, h) POLY_STEP_(m, at, r, h)

#define POLY_CLOBBERS  "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10"
#define POLY_CLOBBERS2 "r11", "r12", "r13"
#endif
