/* SPDX-License-Identifier: Apache-2.0
 *
 * Randomness as state: a ChaCha20 generator with fast key erasure, held by value in the machine
 * that uses it and seeded once by the shell. What was handed out is erased, so a later leak of the
 * struct does not reveal it. Copying a machine copies its future: only tests do that. */
#ifndef PENSTOCK_CRYPTO_RNG_H
#define PENSTOCK_CRYPTO_RNG_H
#include <stddef.h>
#include <stdint.h>

#define RNG_BUF 224 /* with the next key that makes four ChaCha20 blocks a refill */

struct rng {
	uint8_t key[32];
	uint8_t buf[RNG_BUF];
	uint32_t left; /* unread bytes, at the end of buf */
	uint32_t pad;
};

/* The seed must be 32 bytes of real entropy (tests: a constant). Needs crypto_init. */
void rng_init(struct rng *r, const uint8_t seed[32]);
void rng_bytes(struct rng *r, void *out, size_t len);
uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);
/* Uniform in 0..bound-1 (rejection, no bias); 0 for a bound of 0 or 1. */
uint64_t rng_below(struct rng *r, uint64_t bound);
/* A seed for a machine below this one. */
void rng_fork(struct rng *r, uint8_t seed[32]);
void rng_wipe(struct rng *r);
#endif
