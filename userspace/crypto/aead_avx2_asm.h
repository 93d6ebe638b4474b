/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner loops of the AVX2 backend as assembler text: ChaCha20's double rounds of eight blocks,
 * one block of Poly1305, and the two laid into each other. Assembler, because compilers spill half
 * of ChaCha20's state around the loop, which costs a third, and cannot be told to put the one
 * between the other's instructions.
 *
 * Operands: [c] a struct aead_chacha, [p] a struct aead_poly1, [m] blocks, moved on; CHACHA_ROUNDS
 * has [beside], a struct aead_beside, and [left], in memory, the number of double rounds. */
#ifndef PENSTOCK_CRYPTO_AEAD_AVX2_ASM_H
#define PENSTOCK_CRYPTO_AEAD_AVX2_ASM_H
/* clang-format off */

/* ---- Poly1305: h in r8, r9 and r10 between POLY_LOAD and POLY_SAVE; needs BMI2 (mulx) ---- */

#define POLY_LOAD \
	"mov (%[p]),%%r8\n\t" \
	"mov 8(%[p]),%%r9\n\t" \
	"mov 16(%[p]),%%r10\n\t"

#define POLY_SAVE \
	"mov %%r8,(%[p])\n\t" \
	"mov %%r9,8(%[p])\n\t" \
	"mov %%r10,16(%[p])\n\t"

/* h += block and the bit behind it;
 * r11:rax = h0 r0 + h1 s1, r13:r12 = h0 r1 + h1 r0 + h2 s1, r10 = h2 r0, each high word first;
 * then carried up, and what is above 2^130 comes back times 5: as much as itself and a quarter. */
#define POLY_STEP \
	"add (%[m]),%%r8\n\t" \
	"adc 8(%[m]),%%r9\n\t" \
	"adc $1,%%r10\n\t" \
	"mov 24(%[p]),%%rdx\n\t" \
	"add $16,%[m]\n\t" \
	"mulx %%r8,%%rax,%%r11\n\t" \
	"mulx %%r9,%%r12,%%r13\n\t" \
	"mov 40(%[p]),%%rdx\n\t" \
	"mulx %%r9,%%r9,%%rbx\n\t" \
	"add %%r9,%%rax\n\t" \
	"adc %%rbx,%%r11\n\t" \
	"mov 32(%[p]),%%rdx\n\t" \
	"mulx %%r8,%%r8,%%rbx\n\t" \
	"add %%r8,%%r12\n\t" \
	"adc %%rbx,%%r13\n\t" \
	"mov 40(%[p]),%%rdx\n\t" \
	"imul %%r10,%%rdx\n\t" \
	"imul 24(%[p]),%%r10\n\t" \
	"add %%rdx,%%r12\n\t" \
	"adc $0,%%r13\n\t" \
	"add %%r11,%%r12\n\t" \
	"adc %%r13,%%r10\n\t" \
	"mov %%r10,%%rdx\n\t" \
	"mov %%r10,%%rbx\n\t" \
	"shr $2,%%rdx\n\t" \
	"and $-4,%%rbx\n\t" \
	"and $3,%%r10\n\t" \
	"add %%rdx,%%rbx\n\t" \
	"mov %%rax,%%r8\n\t" \
	"mov %%r12,%%r9\n\t" \
	"add %%rbx,%%r8\n\t" \
	"adc $0,%%r9\n\t" \
	"adc $0,%%r10\n\t"

#define POLY_CLOBBERS "rax", "rbx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13"

/* ---- ChaCha20: a in ymm0..3, b in 4..7, d in 12..15, two of the four c in 8 and 9; the other two wait
 * in `mixed` and change places between half rounds; 10 and 11 are free ---- */

#define OP3(op, x, y, z) op " %%ymm" #x ",%%ymm" #y ",%%ymm" #z "\n\t"
/* a += b, d = rot(d ^ a) by whole bytes; e, f, h likewise. */
#define ADD_A(b, a, d, f, e, h, mask) \
	OP3("vpaddd", b, a, a) \
	OP3("vpaddd", f, e, e) \
	OP3("vpxor", a, d, d) \
	OP3("vpxor", e, h, h) \
	"vpshufb %[" mask "],%%ymm" #d ",%%ymm" #d "\n\t" \
	"vpshufb %[" mask "],%%ymm" #h ",%%ymm" #h "\n\t"
/* c += d, b = rot(b ^ c); g, h, f likewise. */
#define ADD_C(d, c, b, h, g, f, left, right) \
	OP3("vpaddd", d, c, c) \
	OP3("vpaddd", h, g, g) \
	OP3("vpxor", c, b, b) \
	OP3("vpxor", g, f, f) \
	"vpslld $" #left ",%%ymm" #b ",%%ymm10\n\t" \
	"vpsrld $" #right ",%%ymm" #b ",%%ymm" #b "\n\t" \
	"vpslld $" #left ",%%ymm" #f ",%%ymm11\n\t" \
	"vpsrld $" #right ",%%ymm" #f ",%%ymm" #f "\n\t" \
	OP3("vpor", 10, b, b) \
	OP3("vpor", 11, f, f)
/* Two quarter rounds side by side. */
#define QUARTERS(a, b, c, d, e, f, g, h) \
	ADD_A(b, a, d, f, e, h, "rot16") \
	ADD_C(d, c, b, h, g, f, 12, 20) \
	ADD_A(b, a, d, f, e, h, "rot8") \
	ADD_C(d, c, b, h, g, f, 7, 25)

#define FETCH(i)   "vmovdqa 32*" #i "(%[c]),%%ymm" #i "\n\t"
#define PUT(i, at) "vmovdqa %%ymm" #i ",512+32*" #at "(%[c])\n\t"
#define GET(i, at) "vmovdqa 512+32*" #at "(%[c]),%%ymm" #i "\n\t"
#define FINISH(i)  "vpaddd 32*" #i "(%[c]),%%ymm" #i ",%%ymm" #i "\n\t" PUT(i, i)

#define STATE_LOAD \
	FETCH(10) FETCH(11) PUT(10, 10) PUT(11, 11) \
	FETCH(0) FETCH(1) FETCH(2) FETCH(3) FETCH(4) FETCH(5) FETCH(6) FETCH(7) \
	FETCH(8) FETCH(9) FETCH(12) FETCH(13) FETCH(14) FETCH(15)
#define STATE_FINISH \
	FINISH(0) FINISH(1) FINISH(2) FINISH(3) FINISH(4) FINISH(5) FINISH(6) FINISH(7) \
	FINISH(8) FINISH(9) FINISH(12) FINISH(13) FINISH(14) FINISH(15) \
	GET(10, 10) GET(11, 11) FINISH(10) FINISH(11)

/* beside: put in three times. */
#define DOUBLE_ROUND(beside) \
	QUARTERS(0, 4, 8, 12, 1, 5, 9, 13) \
	PUT(8, 8) PUT(9, 9) GET(8, 10) GET(9, 11) beside \
	QUARTERS(2, 6, 8, 14, 3, 7, 9, 15) beside \
	QUARTERS(0, 5, 8, 15, 1, 6, 9, 12) \
	PUT(8, 10) PUT(9, 11) GET(8, 8) GET(9, 9) beside \
	QUARTERS(2, 7, 8, 13, 3, 4, 9, 14)

/* Rounds with something beside them, as far as there is, then the rest of them. */
#define CHACHA_ROUNDS \
	STATE_LOAD \
	"1:\n\t" \
	"mov 16(%[beside]),%%rax\n\t" \
	"test %%rax,%%rax\n\t" \
	"jz 3f\n\t" \
	"mov (%[beside]),%[p]\n\t" \
	"mov 8(%[beside]),%[m]\n\t" \
	"sub %%rax,%[left]\n\t" \
	POLY_LOAD \
	"2:\n\t" \
	DOUBLE_ROUND(POLY_STEP) \
	"decq 16(%[beside])\n\t" \
	"jnz 2b\n\t" \
	POLY_SAVE \
	"add $24,%[beside]\n\t" \
	"jmp 1b\n\t" \
	"3:\n\t" \
	"cmpq $0,%[left]\n\t" \
	"je 5f\n\t" \
	"4:\n\t" \
	DOUBLE_ROUND("") \
	"decq %[left]\n\t" \
	"jnz 4b\n\t" \
	"5:\n\t" \
	STATE_FINISH
#endif
