/* SPDX-License-Identifier: Apache-2.0
 *
 * See rng.h. Each refill runs ChaCha20 under the key once and takes the first 32 bytes as the next
 * key. */
#include <string.h>
#include "base/bytes.h"
#include "crypto/crypto.h"
#include "crypto/rng.h"

static void refill(struct rng *r)
{
	uint8_t block[32 + RNG_BUF];

	chacha20_stream(block, sizeof(block), r->key);
	memcpy(r->key, block, 32);
	memcpy(r->buf, block + 32, RNG_BUF);
	r->left = RNG_BUF;
	crypto_wipe(block, sizeof(block));
}

void rng_init(struct rng *r, const uint8_t seed[32])
{
	memset(r, 0, sizeof(*r));
	memcpy(r->key, seed, 32);
	refill(r); /* the seed itself does not stay */
}

void rng_bytes(struct rng *r, void *out, size_t len)
{
	uint8_t *p = out;

	while (len) {
		size_t n;
		uint8_t *src;

		if (!r->left)
			refill(r);
		n = len < r->left ? len : r->left;
		src = r->buf + RNG_BUF - r->left;
		memcpy(p, src, n);
		memset(src, 0, n);
		r->left -= (uint32_t)n;
		p += n;
		len -= n;
	}
}

uint32_t rng_u32(struct rng *r)
{
	uint8_t b[4];

	rng_bytes(r, b, sizeof(b));
	return le32_get(b);
}

uint64_t rng_u64(struct rng *r)
{
	uint8_t b[8];

	rng_bytes(r, b, sizeof(b));
	return le64_get(b);
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
	uint64_t v, excess;

	if (bound < 2)
		return 0;
	/* 2^64 mod bound values at the bottom would make the low results likelier. */
	excess = -bound % bound;
	do
		v = rng_u64(r);
	while (v < excess);
	return v % bound;
}

void rng_fork(struct rng *r, uint8_t seed[32])
{
	rng_bytes(r, seed, 32);
}

void rng_wipe(struct rng *r)
{
	crypto_wipe(r, sizeof(*r));
}
