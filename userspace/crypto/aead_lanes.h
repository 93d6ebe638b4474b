/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the backends that have vector lanes of their own: ChaCha20 blocks of any packets, a
 * lane each, with Poly1305 of one message or two beside their rounds (a kernel a width, in
 * aead_avx2.c and aead_avx512.c), Poly1305 alone (aead_poly.c), and the pipe that deals packets to
 * them (aead_lanes.c). Only these and their unit test include this.
 *
 * Nothing here branches on keys or contents or looks anything up by them; lengths and numbers of
 * messages are public. */
#ifndef PENSTOCK_CRYPTO_AEAD_LANES_H
#define PENSTOCK_CRYPTO_AEAD_LANES_H
#if defined(__x86_64__)
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/bytes.h"
#include "crypto/aead_batch.h"

#define CHACHA_BLOCK 64
#define POLY_BLOCK   16
#define LANES_MAX    16
#define LANES_YMM    8

/* Words 0 to 3 of every state: "expand 32-byte k". */
enum { CHACHA_0 = 0x61707865, CHACHA_1 = 0x3320646e, CHACHA_2 = 0x79622d32, CHACHA_3 = 0x6b206574 };

/* Poly1305 (RFC 8439 §2.5) of one message so far: h in 64, 64 and a few bits, r clamped, s1 = 5/4
 * of r1. The order is known to assembler. */
struct aead_poly1 {
	uint64_t h0, h1, h2, r0, r1, s1;
};

/* Blocks of Poly1305 that a kernel takes in beside its own work, in each of ten double rounds: up
 * to AEAD_BESIDE of each of two messages, or AEAD_BESIDE of one. They cost little there: ChaCha20
 * leaves the integer units idle. One message's blocks wait for each other, two messages' do not. */
#define AEAD_ROUNDS 10
#define AEAD_BESIDE 3

/* The order is known to assembler. */
struct aead_beside {
	struct aead_poly1 *p[2]; /* the second is NULL for one message */
	const uint8_t *m[2];	 /* rounds * each whole blocks of either */
	uint64_t rounds, each;
};

/* Blocks, a lane each, of which the first `busy` are wanted. in and out are CHACHA_BLOCK bytes; a
 * lane's out may be its in. If the lanes are consecutive blocks of one packet, `run` says so, and
 * key, block and nonce of lane 0 tell all. The first part is the kernel's; it is here so that the
 * caller can wipe it, and its order is known to assembler. */
struct aead_chacha {
	uint32_t state[16 * LANES_MAX] __attribute__((aligned(64)));
	uint32_t mixed[16 * LANES_YMM]; /* only what has too few registers uses it */
	uint64_t r[6];			/* r0, r1, s1 of what is beside, one after the other */
	struct aead_beside *beside;
	uint64_t rounds_left, beside_left;

	const uint8_t *key[LANES_MAX], *in[LANES_MAX];
	uint8_t *out[LANES_MAX];
	uint32_t block[LANES_MAX], nonce_lo[LANES_MAX], nonce_hi[LANES_MAX];
	uint64_t wanted[LANES_MAX]; /* bit i: byte i of the lane's block is read and written */
	size_t busy;
	bool run;
};

struct aead_kernel {
	size_t lanes;
	bool two;   /* it takes two messages, too */
	bool parts; /* it heeds `wanted`; if not, all blocks must be whole */
	/* out = in ^ key stream, in each lane. `beside` ends with rounds == 0; all rounds together
	 * are at most AEAD_ROUNDS. Lanes that are not busy must be valid all the same: the first
	 * LANES_YMM, and all if more are busy. */
	void (*pass)(struct aead_chacha *c, struct aead_beside *beside);
	/* out = in ^ stream, len bytes; stream is whole blocks. */
	void (*exor)(uint8_t *out, const uint8_t *in, const uint8_t *stream, size_t len);
};

/* For the CPUs of the backends of these names. */
extern const struct aead_kernel aead_kernel_avx2, aead_kernel_avx512;

/* What aead_batch.h says of sealing and opening. */
void aead_lanes_run(const struct aead_kernel *k, struct aead_job *jobs, size_t n, bool opening);

/* n whole blocks. */
void aead_poly_blocks(struct aead_poly1 *p, const uint8_t *m, size_t n);
/* n whole blocks of either message, in little more time than of one. */
void aead_poly_blocks2(struct aead_poly1 *p, const uint8_t *m, struct aead_poly1 *q,
		       const uint8_t *o, size_t n);
void aead_poly_tag(const struct aead_poly1 *p, const uint8_t key[32], uint8_t tag[16]);

/* n < CHACHA_BLOCK bytes, without the call of a function. */
static inline void aead_copy_short(uint8_t *out, const uint8_t *in, size_t n)
{
#define PIECE(size)                                      \
	do {                                             \
		if (n & (size)) {                        \
			__builtin_memcpy(out, in, size); \
			out += (size), in += (size);     \
		}                                        \
	} while (0)
	PIECE(32);
	PIECE(16);
	PIECE(8);
	PIECE(4);
	PIECE(2);
	PIECE(1);
#undef PIECE
}

/* Poly1305 is begun and ended here, for it is done for every packet, however short. */
static inline void aead_poly_init(struct aead_poly1 *p, const uint8_t key[32])
{
	p->h0 = p->h1 = p->h2 = 0;
	p->r0 = le64_get(key) & 0x0ffffffc0fffffffULL;
	p->r1 = le64_get(key + 8) & 0x0ffffffc0ffffffcULL;
	p->s1 = p->r1 + (p->r1 >> 2);
}

/* The end of a message of len bytes: the last `left` bytes of it, which begin at `text`, padded,
 * and the block of lengths (RFC 8439 §2.8, no associated data). Returns the number of blocks. */
#define POLY_END ((AEAD_BESIDE + 1) * POLY_BLOCK)
static inline size_t aead_poly_end(uint8_t out[POLY_END], const uint8_t *text, size_t left,
				   uint32_t len)
{
	size_t n = (left + POLY_BLOCK - 1) / POLY_BLOCK;

	__builtin_memset(out, 0, POLY_END);
	aead_copy_short(out, text, left);
	le64_put(out + n * POLY_BLOCK + 8, len);
	return n + 1;
}
#endif
#endif
