/* SPDX-License-Identifier: Apache-2.0
 *
 * BLAKE2s (RFC 7693), HMAC over it and WireGuard's KDF. Our own, because libsodium has only BLAKE2b
 * and OpenSSL gives the keyed form only through an EVP_MAC context, which allocates: the mac1 check
 * runs for every handshake packet a stranger sends, and the core does not allocate. Constant time
 * by construction (no secret-dependent index or branch). Here in plain C; blake2s_avx512.c has the
 * compression where the CPU has vectors with rotations. */
#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "crypto/blake2s_block.h"
#include "crypto/crypto.h"

#define BLOCK BLAKE2S_BLOCK

struct state {
	uint32_t h[8];
	uint64_t count; /* bytes compressed so far */
	uint8_t buf[BLOCK];
	size_t fill;
};

const uint32_t blake2s_iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint8_t sigma[10][16] = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint32_t ror(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

static inline void mix(uint32_t *v, int a, int b, int c, int d, uint32_t x, uint32_t y)
{
	v[a] += v[b] + x;
	v[d] = ror(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = ror(v[b] ^ v[c], 12);
	v[a] += v[b] + y;
	v[d] = ror(v[d] ^ v[a], 8);
	v[c] += v[d];
	v[b] = ror(v[b] ^ v[c], 7);
}

void blake2s_block_plain(uint32_t h[8], const uint8_t block[BLOCK], uint64_t count, bool last)
{
	uint32_t v[16], m[16];

	for (int i = 0; i < 8; i++) {
		v[i] = h[i];
		v[i + 8] = blake2s_iv[i];
	}
	v[12] ^= (uint32_t)count;
	v[13] ^= (uint32_t)(count >> 32);
	if (last)
		v[14] = ~v[14];
	for (int i = 0; i < 16; i++)
		m[i] = le32_get(block + 4 * i);
	/* Unrolled, the order of words is in the code: no look-ups, an eighth less time. */
#pragma GCC unroll 10
	for (int r = 0; r < 10; r++) {
		const uint8_t *p = sigma[r];

		mix(v, 0, 4, 8, 12, m[p[0]], m[p[1]]);
		mix(v, 1, 5, 9, 13, m[p[2]], m[p[3]]);
		mix(v, 2, 6, 10, 14, m[p[4]], m[p[5]]);
		mix(v, 3, 7, 11, 15, m[p[6]], m[p[7]]);
		mix(v, 0, 5, 10, 15, m[p[8]], m[p[9]]);
		mix(v, 1, 6, 11, 12, m[p[10]], m[p[11]]);
		mix(v, 2, 7, 8, 13, m[p[12]], m[p[13]]);
		mix(v, 3, 4, 9, 14, m[p[14]], m[p[15]]);
	}
	for (int i = 0; i < 8; i++)
		h[i] ^= v[i] ^ v[i + 8];
}

static void compress(struct state *s, bool last)
{
	if (blake2s_has_avx512())
		blake2s_block_avx512(s->h, s->buf, s->count, last);
	else
		blake2s_block_plain(s->h, s->buf, s->count, last);
}

/* A full buffer that is not the message's end. */
static void push(struct state *s)
{
	s->count += BLOCK;
	compress(s, false);
	s->fill = 0;
}

static void update(struct state *s, const uint8_t *p, size_t len)
{
	while (len) {
		size_t n = BLOCK - s->fill;

		/* The last block is compressed by finish(), so a full buffer waits for more. */
		if (n == 0) {
			push(s);
			n = BLOCK;
		}
		n = n < len ? n : len;
		memcpy(s->buf + s->fill, p, n);
		s->fill += n;
		p += n;
		len -= n;
	}
}

static void begin(struct state *s, const void *key, size_t key_len, size_t out_len)
{
	uint8_t block[BLOCK] = {0};

	assert(out_len >= 1 && out_len <= BLAKE2S_MAX && key_len <= BLAKE2S_MAX);
	memset(s, 0, sizeof(*s));
	memcpy(s->h, blake2s_iv, sizeof(s->h));
	s->h[0] ^= 0x01010000U ^ (uint32_t)key_len << 8 ^ (uint32_t)out_len;
	if (!key_len)
		return;
	memcpy(block, key, key_len);
	update(s, block, BLOCK);
	crypto_wipe(block, sizeof(block));
}

static void finish(struct state *s, uint8_t *out, size_t out_len)
{
	uint8_t full[BLAKE2S_MAX];

	s->count += s->fill;
	memset(s->buf + s->fill, 0, BLOCK - s->fill);
	compress(s, true);
	for (int i = 0; i < 8; i++)
		le32_put(full + 4 * i, s->h[i]);
	memcpy(out, full, out_len);
	crypto_wipe(full, sizeof(full));
	crypto_wipe(s, sizeof(*s));
}

void blake2s(const void *key, size_t key_len, const struct crypto_span *spans, size_t n,
	     uint8_t *out, size_t out_len)
{
	struct state s;

	begin(&s, key, key_len, out_len);
	for (size_t i = 0; i < n; i++)
		update(&s, spans[i].p, spans[i].len);
	finish(&s, out, out_len);
}

/* ---- HMAC (RFC 2104) ---- */

/* After a key's two pads. */
struct hmac {
	struct state inner, outer;
};

static void hmac_begin(struct hmac *m, const void *key, size_t key_len)
{
	uint8_t block[BLOCK] = {0};

	if (key_len > BLOCK)
		blake2s(NULL, 0, &(struct crypto_span){key, key_len}, 1, block, 32);
	else if (key_len)
		memcpy(block, key, key_len);
	for (int i = 0; i < BLOCK; i++)
		block[i] ^= 0x36;
	begin(&m->inner, NULL, 0, 32);
	update(&m->inner, block, BLOCK);
	for (int i = 0; i < BLOCK; i++)
		block[i] ^= 0x36 ^ 0x5c;
	begin(&m->outer, NULL, 0, 32);
	update(&m->outer, block, BLOCK);
	crypto_wipe(block, sizeof(block));
}

static void hmac_of(const struct hmac *m, const void *msg, size_t len, uint8_t out[32])
{
	struct state s = m->inner;
	uint8_t inner[32];

	update(&s, msg, len);
	finish(&s, inner, 32);
	s = m->outer;
	update(&s, inner, 32);
	finish(&s, out, 32);
	crypto_wipe(inner, sizeof(inner));
}

void hmac_blake2s(const void *key, size_t key_len, const void *msg, size_t len, uint8_t out[32])
{
	struct hmac m;

	hmac_begin(&m, key, key_len);
	hmac_of(&m, msg, len, out);
	crypto_wipe(&m, sizeof(m));
}

void kdf_blake2s(const uint8_t ck[32], const void *in, size_t in_len, uint8_t *out1, uint8_t *out2,
		 uint8_t *out3)
{
	uint8_t *out[3] = {out1, out2, out3};
	uint8_t prk[32], t[33];
	int last = out3 ? 3 : out2 ? 2 : 1;
	struct hmac m;

	hmac_blake2s(ck, 32, in, in_len, prk);
	hmac_begin(&m, prk, 32);
	/* The pads once for all three; none of their messages is empty, which would make a pad the
	 * last block. */
	push(&m.inner);
	push(&m.outer);
	for (int i = 0; i < last; i++) {
		t[i ? 32 : 0] = (uint8_t)(i + 1);
		hmac_of(&m, t, i ? 33 : 1, t);
		if (out[i])
			memcpy(out[i], t, 32);
	}
	crypto_wipe(&m, sizeof(m));
	crypto_wipe(prk, sizeof(prk));
	crypto_wipe(t, sizeof(t));
}
