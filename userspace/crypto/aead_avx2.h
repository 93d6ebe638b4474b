/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the AVX2 backend: eight ChaCha20 blocks at a time, and Poly1305 of one message or of
 * many. Only aead_avx2*.c and their unit test include this.
 *
 * Nothing here branches on keys or contents or looks anything up by them; lengths and numbers of
 * messages are public. */
#ifndef PENSTOCK_CRYPTO_AEAD_AVX2_H
#define PENSTOCK_CRYPTO_AEAD_AVX2_H
#if defined(__x86_64__)
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <immintrin.h>

#define AEAD_AVX2    __attribute__((target("avx2,bmi2")))
#define AEAD_UNROLL8 _Pragma("GCC unroll 8")

#define CHACHA_BLOCK 64
#define CHACHA_LANES 8
#define POLY_BLOCK   16

/* Poly1305 (RFC 8439 §2.5) of one message so far: h in 64, 64 and a few bits, r clamped, s1 = 5/4
 * of r1. The order is known to assembler. */
struct aead_poly1 {
	uint64_t h0, h1, h2, r0, r1, s1;
};

/* Eight blocks, a lane each. in and out are CHACHA_BLOCK bytes; a lane's out may be its in. If they
 * are consecutive blocks of one packet, `run` says so, and lane 0 alone has key, block and nonce.
 * `state` and `mixed` are the kernel's; they are here so that the caller can wipe them. */
struct aead_chacha {
	__m256i state[16], mixed[16];
	const uint8_t *key[CHACHA_LANES], *in[CHACHA_LANES];
	uint8_t *out[CHACHA_LANES];
	uint32_t block[CHACHA_LANES], nonce_lo[CHACHA_LANES], nonce_hi[CHACHA_LANES];
	bool run;
};

/* Blocks of Poly1305 that aead_chacha8 takes in beside its own work: AEAD_BESIDE in each of ten
 * double rounds. They cost little there, ChaCha20 leaves the integer units idle. */
#define AEAD_ROUNDS 10
#define AEAD_BESIDE 3

struct aead_beside {
	struct aead_poly1 *p;
	const uint8_t *m; /* rounds * AEAD_BESIDE whole blocks */
	uint64_t rounds;
};

/* out = in ^ key stream, in each lane. `beside` ends with rounds == 0; all rounds together are at
 * most AEAD_ROUNDS. */
void aead_chacha8(struct aead_chacha *c, struct aead_beside *beside);

void aead_poly_init(struct aead_poly1 *p, const uint8_t key[32]);
/* n whole blocks. */
void aead_poly_blocks(struct aead_poly1 *p, const uint8_t *m, size_t n);
/* The last len % 16 bytes of a message of len bytes, which end at `end`, padded; the block of
 * lengths (RFC 8439 §2.8, no associated data); and the tag. */
void aead_poly_final(struct aead_poly1 *p, const uint8_t key[32], const uint8_t *end, uint32_t len,
		     uint8_t tag[16]);

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
#endif
#endif
