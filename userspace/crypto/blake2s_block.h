/* SPDX-License-Identifier: Apache-2.0
 *
 * One block of BLAKE2s (RFC 7693 §3.2), in two ways that agree: between blake2s.c and its vectors,
 * and for the test that compares them. Everybody else has crypto.h. */
#ifndef PENSTOCK_CRYPTO_BLAKE2S_BLOCK_H
#define PENSTOCK_CRYPTO_BLAKE2S_BLOCK_H
#include <stdbool.h>
#include <stdint.h>

#define BLAKE2S_BLOCK 64

extern const uint32_t blake2s_iv[8];

/* h: the chain, in place. count: bytes so far, this block's own included; last: it is the end. */
void blake2s_block_plain(uint32_t h[8], const uint8_t block[BLAKE2S_BLOCK], uint64_t count,
			 bool last);
#if defined(__x86_64__)
bool blake2s_has_avx512(void);
/* The same; only where blake2s_has_avx512(). */
void blake2s_block_avx512(uint32_t h[8], const uint8_t block[BLAKE2S_BLOCK], uint64_t count,
			  bool last);
#else
static inline bool blake2s_has_avx512(void)
{
	return false;
}
#define blake2s_block_avx512 blake2s_block_plain
#endif
#endif
