/* SPDX-License-Identifier: Apache-2.0
 *
 * The rounds of the AVX-512 kernel as assembler text, for 16 blocks in zmm registers or 8 in ymm:
 * ChaCha20's double rounds with Poly1305 of two messages, or one, laid into them. With 32 registers
 * and a rotation of its own the state of all blocks stays in registers 0 to 15, nothing else is
 * needed.
 *
 * Operands: [c] a struct aead_chacha with the state, vector after vector, and `beside`,
 * `rounds_left` set; [m] and [o] are free registers. V is "zmm" or "ymm", SIZE its bytes. */
#ifndef PENSTOCK_CRYPTO_AEAD_AVX512_ASM_H
#define PENSTOCK_CRYPTO_AEAD_AVX512_ASM_H
#include "crypto/aead_poly_asm.h"
/* clang-format off */

/* Offsets in struct aead_chacha. */
#define AT_R0     "1536(%[c])"
#define AT_BESIDE "1584(%[c])"
#define AT_ROUNDS "1592(%[c])"
#define AT_LEFT   "1600(%[c])"

#define OP3(V, op, x, y, z) op " %%" V #x ",%%" V #y ",%%" V #z "\n\t"
#define ROT(V, bits, x)     "vprold $" #bits ",%%" V #x ",%%" V #x "\n\t"
/* a += b, d = rot(d ^ a); e, f, h likewise. */
#define HALF(V, b, a, d, f, e, h, bits) \
	OP3(V, "vpaddd", b, a, a) \
	OP3(V, "vpaddd", f, e, e) \
	OP3(V, "vpxord", a, d, d) \
	OP3(V, "vpxord", e, h, h) \
	ROT(V, bits, d) \
	ROT(V, bits, h)
/* Two quarter rounds side by side. */
#define QUARTERS(V, between, a, b, c, d, e, f, g, h) \
	HALF(V, b, a, d, f, e, h, 16) \
	HALF(V, d, c, b, h, g, f, 12) \
	between \
	HALF(V, b, a, d, f, e, h, 8) \
	HALF(V, d, c, b, h, g, f, 7)

#define FETCH(V, SIZE, i)  "vmovdqa32 " #SIZE "*" #i "(%[c]),%%" V #i "\n\t"
#define FINISH(V, SIZE, i) "vpaddd " #SIZE "*" #i "(%[c]),%%" V #i ",%%" V #i "\n\t"
#define ALL16(what, V, SIZE) \
	what(V, SIZE, 0) what(V, SIZE, 1) what(V, SIZE, 2) what(V, SIZE, 3) \
	what(V, SIZE, 4) what(V, SIZE, 5) what(V, SIZE, 6) what(V, SIZE, 7) \
	what(V, SIZE, 8) what(V, SIZE, 9) what(V, SIZE, 10) what(V, SIZE, 11) \
	what(V, SIZE, 12) what(V, SIZE, 13) what(V, SIZE, 14) what(V, SIZE, 15)

#define DOUBLE_ROUND(V, p0, p1, p2, p3, p4, p5) \
	QUARTERS(V, p0, 0, 4, 8, 12, 1, 5, 9, 13) p1 \
	QUARTERS(V, p2, 2, 6, 10, 14, 3, 7, 11, 15) \
	QUARTERS(V, p3, 0, 5, 10, 15, 1, 6, 11, 12) p4 \
	QUARTERS(V, p5, 2, 7, 8, 13, 3, 4, 9, 14)

#define R_FIRST  "1536(%[c])", "1544(%[c])", "1552(%[c])"
#define R_SECOND "1560(%[c])", "1568(%[c])", "1576(%[c])"
#define FIRST(at)  POLY_STEP("%[m]", at, R_FIRST, POLY_H)
#define SECOND(at) POLY_STEP("%[o]", at, R_SECOND, POLY_H2)
#define R_COPY_(p, r0, r1, s1) \
	"mov 24(" p "),%%rax\n\tmov %%rax," r0 "\n\t" \
	"mov 32(" p "),%%rax\n\tmov %%rax," r1 "\n\t" \
	"mov 40(" p "),%%rax\n\tmov %%rax," s1 "\n\t"
#define R_COPY(p, r) R_COPY_(p, r)

#define NEXT_OF_TWO(bytes) \
	"add $" #bytes ",%[m]\n\t" \
	"add $" #bytes ",%[o]\n\t" \
	"decq " AT_LEFT "\n\t"

#define CHACHA_ROUNDS(V, SIZE) \
	ALL16(FETCH, V, SIZE) \
	"0:\n\t" \
	"mov " AT_BESIDE ",%%rbx\n\t" \
	"mov 32(%%rbx),%%rax\n\t" \
	"test %%rax,%%rax\n\t" \
	"jz 7f\n\t" \
	"sub %%rax," AT_ROUNDS "\n\t" \
	"mov %%rax," AT_LEFT "\n\t" \
	"mov (%%rbx),%%rcx\n\t" \
	"mov 8(%%rbx),%%rdx\n\t" \
	"mov 16(%%rbx),%[m]\n\t" \
	"mov 24(%%rbx),%[o]\n\t" \
	POLY_LOAD("%%rcx", POLY_H) \
	R_COPY("%%rcx", R_FIRST) \
	"test %%rdx,%%rdx\n\t" \
	"jz 5f\n\t" \
	POLY_LOAD("%%rdx", POLY_H2) \
	R_COPY("%%rdx", R_SECOND) \
	"cmpq $2,40(%%rbx)\n\t" \
	"jb 3f\n\t" \
	"je 2f\n\t" \
	/* three blocks of each of two messages */ \
	"1:\n\t" \
	DOUBLE_ROUND(V, FIRST("0"), SECOND("0"), FIRST("16"), SECOND("16"), FIRST("32"), SECOND("32")) \
	NEXT_OF_TWO(48) \
	"jnz 1b\n\t" \
	"jmp 4f\n\t" \
	/* two of each */ \
	"2:\n\t" \
	DOUBLE_ROUND(V, FIRST("0"), SECOND("0"), "", FIRST("16"), SECOND("16"), "") \
	NEXT_OF_TWO(32) \
	"jnz 2b\n\t" \
	"jmp 4f\n\t" \
	/* one of each */ \
	"3:\n\t" \
	DOUBLE_ROUND(V, FIRST("0"), "", SECOND("0"), "", "", "") \
	NEXT_OF_TWO(16) \
	"jnz 3b\n\t" \
	"4:\n\t" \
	"mov " AT_BESIDE ",%%rbx\n\t" \
	"mov 8(%%rbx),%%rdx\n\t" \
	POLY_SAVE("%%rdx", POLY_H2) \
	"jmp 6f\n\t" \
	/* three of one message */ \
	"5:\n\t" \
	DOUBLE_ROUND(V, FIRST("0"), "", FIRST("16"), "", FIRST("32"), "") \
	"add $48,%[m]\n\t" \
	"decq " AT_LEFT "\n\t" \
	"jnz 5b\n\t" \
	"mov " AT_BESIDE ",%%rbx\n\t" \
	"6:\n\t" \
	"mov (%%rbx),%%rcx\n\t" \
	POLY_SAVE("%%rcx", POLY_H) \
	"addq $48," AT_BESIDE "\n\t" \
	"jmp 0b\n\t" \
	/* none */ \
	"7:\n\t" \
	"cmpq $0," AT_ROUNDS "\n\t" \
	"je 9f\n\t" \
	"8:\n\t" \
	DOUBLE_ROUND(V, "", "", "", "", "", "") \
	"decq " AT_ROUNDS "\n\t" \
	"jnz 8b\n\t" \
	"9:\n\t" \
	ALL16(FINISH, V, SIZE)
#endif
