/* SPDX-License-Identifier: Apache-2.0
 *
 * The rounds of the AVX2 kernel as assembler text: ChaCha20's double rounds of eight blocks, with
 * Poly1305 of one message laid into them. Assembler, because compilers spill half of ChaCha20's
 * state around the loop, which costs a third, and cannot be told to put the one between the other's
 * instructions.
 *
 * Operands: [c] a struct aead_chacha, [beside] a struct aead_beside, [left], in memory, the number
 * of double rounds; [p] and [m] are free registers. */
#ifndef PENSTOCK_CRYPTO_AEAD_AVX2_ASM_H
#define PENSTOCK_CRYPTO_AEAD_AVX2_ASM_H
#include "crypto/aead_poly_asm.h"
/* clang-format off */

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
#define PUT(i, at) "vmovdqa %%ymm" #i ",1024+32*" #at "(%[c])\n\t"
#define GET(i, at) "vmovdqa 1024+32*" #at "(%[c]),%%ymm" #i "\n\t"
#define FINISH(i)  "vpaddd 32*" #i "(%[c]),%%ymm" #i ",%%ymm" #i "\n\t" PUT(i, i)

#define STATE_LOAD \
	FETCH(10) FETCH(11) PUT(10, 10) PUT(11, 11) \
	FETCH(0) FETCH(1) FETCH(2) FETCH(3) FETCH(4) FETCH(5) FETCH(6) FETCH(7) \
	FETCH(8) FETCH(9) FETCH(12) FETCH(13) FETCH(14) FETCH(15)
#define STATE_FINISH \
	FINISH(0) FINISH(1) FINISH(2) FINISH(3) FINISH(4) FINISH(5) FINISH(6) FINISH(7) \
	FINISH(8) FINISH(9) FINISH(12) FINISH(13) FINISH(14) FINISH(15) \
	GET(10, 10) GET(11, 11) FINISH(10) FINISH(11)

#define DOUBLE_ROUND(first, second, third) \
	QUARTERS(0, 4, 8, 12, 1, 5, 9, 13) \
	PUT(8, 8) PUT(9, 9) GET(8, 10) GET(9, 11) first \
	QUARTERS(2, 6, 8, 14, 3, 7, 9, 15) second \
	QUARTERS(0, 5, 8, 15, 1, 6, 9, 12) \
	PUT(8, 10) PUT(9, 11) GET(8, 8) GET(9, 9) third \
	QUARTERS(2, 7, 8, 13, 3, 4, 9, 14)
#define STEP(at) POLY_STEP("%[m]", at, POLY_R, POLY_H)
#define POLY_R "24(%[p])", "32(%[p])", "40(%[p])"

/* Rounds with something beside them, as far as there is, then the rest of them. */
#define CHACHA_ROUNDS \
	STATE_LOAD \
	"1:\n\t" \
	"mov 32(%[beside]),%%rax\n\t" \
	"test %%rax,%%rax\n\t" \
	"jz 3f\n\t" \
	"mov (%[beside]),%[p]\n\t" \
	"mov 16(%[beside]),%[m]\n\t" \
	"sub %%rax,%[left]\n\t" \
	POLY_LOAD("%[p]", POLY_H) \
	"2:\n\t" \
	DOUBLE_ROUND(STEP("0"), STEP("16"), STEP("32")) \
	"add $48,%[m]\n\t" \
	"decq 32(%[beside])\n\t" \
	"jnz 2b\n\t" \
	POLY_SAVE("%[p]", POLY_H) \
	"add $48,%[beside]\n\t" \
	"jmp 1b\n\t" \
	"3:\n\t" \
	"cmpq $0,%[left]\n\t" \
	"je 5f\n\t" \
	"4:\n\t" \
	DOUBLE_ROUND("", "", "") \
	"decq %[left]\n\t" \
	"jnz 4b\n\t" \
	"5:\n\t" \
	STATE_FINISH
#endif
