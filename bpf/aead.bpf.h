/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * ChaCha20-Poly1305 (RFC 8439) over the scratch buffer, without associated data and with
 * WireGuard's nonce: four zero bytes, then the 64-bit counter.
 *
 * Everything derived from a key lives on the stack: cipher state, one-time key, accumulator. The
 * scratch buffer holds text and tag only. The loops are global functions, which the verifier walks
 * once each, whatever the packet's length; lengths and offsets are checked in them again.
 *
 * Poly1305 runs on 32-bit limbs: r is clamped to 28 bits a limb, so a row of four products and a
 * fifth, small one fits 64 bits with room for limbs that have not been carried. r[1..3] are
 * multiples of 4, so wrapping 2^128 * r[j] modulo 2^130 - 5 is an exact r[j] + r[j] / 4. */
#ifndef PENSTOCK_AEAD_BPF_H
#define PENSTOCK_AEAD_BPF_H
#include "maps.bpf.h"
#include "verifier.bpf.h"
#include "wire/load.h"

#define AEAD_TAG_LEN	16
#define AEAD_BLOCK	64
#define AEAD_BLOCKS_MAX (PS_SCRATCH_BUF / AEAD_BLOCK)
#define POLY_BLOCK	16
#define POLY_BLOCKS_MAX (PS_SCRATCH_BUF / POLY_BLOCK)

struct chacha {
	__u32 s[16]; /* RFC 8439 §2.3: constants, key, block counter, nonce */
} __attribute__((aligned(8)));

struct poly {
	__u64 h[5]; /* not fully carried between blocks */
	__u32 r[4];
	__u32 pad[4];
	__u64 sum; /* of all 32-bit words taken in, for an outer checksum */
};

static __always_inline __u32 rotl(__u32 v, int n)
{
	return v << n | v >> (32 - n);
}

#define QUARTER(a, b, c, d)          \
	do {                         \
		a += b;              \
		d = rotl(d ^ a, 16); \
		c += d;              \
		b = rotl(b ^ c, 12); \
		a += b;              \
		d = rotl(d ^ a, 8);  \
		c += d;              \
		b = rotl(b ^ c, 7);  \
	} while (0)

#define CHACHA_ROUNDS(x)                           \
	for (int round = 0; round < 10; round++) { \
		QUARTER(x##0, x##4, x##8, x##12);  \
		QUARTER(x##1, x##5, x##9, x##13);  \
		QUARTER(x##2, x##6, x##10, x##14); \
		QUARTER(x##3, x##7, x##11, x##15); \
		QUARTER(x##0, x##5, x##10, x##15); \
		QUARTER(x##1, x##6, x##11, x##12); \
		QUARTER(x##2, x##7, x##8, x##13);  \
		QUARTER(x##3, x##4, x##9, x##14);  \
	}                                          \
	asm volatile("" ::: "memory") /* load the input again rather than keep a copy of it */

#define CHACHA_LOAD(x, c)                                                                 \
	__u32 x##0 = (c)->s[0], x##1 = (c)->s[1], x##2 = (c)->s[2], x##3 = (c)->s[3];     \
	__u32 x##4 = (c)->s[4], x##5 = (c)->s[5], x##6 = (c)->s[6], x##7 = (c)->s[7];     \
	__u32 x##8 = (c)->s[8], x##9 = (c)->s[9], x##10 = (c)->s[10], x##11 = (c)->s[11]; \
	__u32 x##12 = (c)->s[12], x##13 = (c)->s[13], x##14 = (c)->s[14], x##15 = (c)->s[15]

static __always_inline __u64 pair(__u32 lo, __u32 hi)
{
	return (__u64)hi << 32 | lo;
}

/* XOR the next key stream block into 64 bytes of the buffer, and step the counter. 0, or -1 for an
 * offset outside. */
__noinline int chacha_xor(struct chacha *c, struct ps_scratch *sc, __u32 off)
{
	__u64 *p;

	if (!c || !sc || off > PS_SCRATCH_BUF - AEAD_BLOCK)
		return -1;
	CHACHA_LOAD(x, c);
	CHACHA_ROUNDS(x);
	p = (__u64 *)(sc->buf + off);
	p[0] ^= pair(x0 + c->s[0], x1 + c->s[1]);
	p[1] ^= pair(x2 + c->s[2], x3 + c->s[3]);
	p[2] ^= pair(x4 + c->s[4], x5 + c->s[5]);
	p[3] ^= pair(x6 + c->s[6], x7 + c->s[7]);
	p[4] ^= pair(x8 + c->s[8], x9 + c->s[9]);
	p[5] ^= pair(x10 + c->s[10], x11 + c->s[11]);
	p[6] ^= pair(x12 + c->s[12], x13 + c->s[13]);
	p[7] ^= pair(x14 + c->s[14], x15 + c->s[15]);
	c->s[12]++;
	return 0;
}

/* The one-time key: the first half of block 0 (RFC 8439 §2.6), r clamped. Steps the counter. */
__noinline int poly_begin(struct chacha *c, struct poly *m)
{
	if (!c || !m)
		return -1;
	CHACHA_LOAD(x, c);
	CHACHA_ROUNDS(x);
	m->r[0] = (x0 + c->s[0]) & 0x0fffffff;
	m->r[1] = (x1 + c->s[1]) & 0x0ffffffc;
	m->r[2] = (x2 + c->s[2]) & 0x0ffffffc;
	m->r[3] = (x3 + c->s[3]) & 0x0ffffffc;
	m->pad[0] = x4 + c->s[4];
	m->pad[1] = x5 + c->s[5];
	m->pad[2] = x6 + c->s[6];
	m->pad[3] = x7 + c->s[7];
	c->s[12]++;
	return 0;
}

/* Take in n blocks of 16 bytes from the start of the buffer. */
__noinline int poly_blocks(struct poly *m, struct ps_scratch *sc, __u32 n)
{
	__u64 h0, h1, h2, h3, h4, d0, d1, d2, d3, d4, r0, r1, r2, r3, s1, s2, s3, sum;

	if (!m || !sc || n > POLY_BLOCKS_MAX)
		return -1;
	OPAQUE(n);
	h0 = m->h[0], h1 = m->h[1], h2 = m->h[2], h3 = m->h[3], h4 = m->h[4];
	r0 = m->r[0], r1 = m->r[1], r2 = m->r[2], r3 = m->r[3];
	s1 = r1 + (r1 >> 2), s2 = r2 + (r2 >> 2), s3 = r3 + (r3 >> 2);
	sum = m->sum;
	for (__u32 i = 0; i < POLY_BLOCKS_MAX; i++) {
		const __u32 *w = (const __u32 *)(sc->buf + i * POLY_BLOCK);

		if (i >= n)
			break;
		sum += (__u64)w[0] + w[1] + w[2] + w[3];
		h0 += w[0];
		h1 += w[1];
		h2 += w[2];
		h3 += w[3];
		h4 += 1;
		d0 = h0 * r0 + h1 * s3 + h2 * s2 + h3 * s1;
		d1 = h0 * r1 + h1 * r0 + h2 * s3 + h3 * s2 + h4 * s1;
		d2 = h0 * r2 + h1 * r1 + h2 * r0 + h3 * s3 + h4 * s2;
		d3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + h4 * s3;
		d4 = h4 * r0;
		d1 += d0 >> 32;
		d2 += d1 >> 32;
		d3 += d2 >> 32;
		d4 += d3 >> 32;
		h1 = (__u32)d1;
		h2 = (__u32)d2;
		h3 = (__u32)d3;
		h4 = d4 & 3;
		h0 = (__u32)d0 + (d4 >> 2) + (d4 & ~3ULL);
	}
	m->h[0] = h0, m->h[1] = h1, m->h[2] = h2, m->h[3] = h3, m->h[4] = h4;
	m->sum = sum;
	return 0;
}

/* Carry the limbs through once; the part beyond 2^130 comes back in at the bottom. */
static __always_inline void poly_carry(__u64 h[5])
{
	for (int i = 0; i < 4; i++) {
		h[i + 1] += h[i] >> 32;
		h[i] = (__u32)h[i];
	}
	h[0] += (h[4] >> 2) * 5;
	h[4] &= 3;
}

/* The tag as two words in memory order. Reduction and choice without a branch on the value. */
static __always_inline void poly_end(struct poly *m, __u64 tag[2])
{
	__u64 g[5], over, c;

	poly_carry(m->h);
	poly_carry(m->h);
	poly_carry(m->h);
	c = 5; /* h >= 2^130 - 5 exactly when h + 5 >= 2^130 */
	for (int i = 0; i < 5; i++) {
		c += m->h[i];
		g[i] = (__u32)c;
		c >>= 32;
	}
	over = 0 - (g[4] >> 2);
	c = 0;
	for (int i = 0; i < 4; i++) {
		c += ((m->h[i] & ~over) | (g[i] & over)) + m->pad[i];
		g[i] = (__u32)c;
		c >>= 32;
	}
	tag[0] = g[1] << 32 | g[0];
	tag[1] = g[3] << 32 | g[2];
}

/* Where the key goes: as it lies in memory, which is little endian words. */
static __always_inline __u64 *chacha_key(struct chacha *c)
{
	return (__u64 *)&c->s[4];
}

/* All but the key. */
static __always_inline void chacha_init(struct chacha *c, __u64 counter)
{
	c->s[0] = 0x61707865; /* "expand 32-byte k" */
	c->s[1] = 0x3320646e;
	c->s[2] = 0x79622d32;
	c->s[3] = 0x6b206574;
	c->s[12] = 0;
	c->s[13] = 0;
	c->s[14] = (__u32)counter;
	c->s[15] = (__u32)(counter >> 32);
}

/* MAC of len bytes of ciphertext at the start of the buffer. Zeroes the rest of the last block and
 * writes the length block behind it: what lies there must have been taken out before. sum: one's
 * complement sum over the ciphertext in 32-bit words. */
static __always_inline int poly_tag(struct poly *m, struct ps_scratch *sc, __u32 len, __u64 tag[2],
				    __u64 *sum)
{
	__u32 blocks, end;

	OPAQUE(len);
	if (len > PS_INNER_MAX)
		return -1;
	blocks = (len + POLY_BLOCK - 1) / POLY_BLOCK;
	end = blocks * POLY_BLOCK;
	OPAQUE(end);
	if (end > PS_SCRATCH_BUF - POLY_BLOCK)
		return -1;
	PS_STORE(__u64, sc->buf + len, 0);
	PS_STORE(__u64, sc->buf + len + 8, 0);
	PS_STORE(__u64, sc->buf + end, 0);
	PS_STORE(__u64, sc->buf + end + 8, len);
	if (poly_blocks(m, sc, blocks + 1))
		return -1;
	*sum = m->sum - len;
	poly_end(m, tag);
	return 0;
}

static __always_inline int chacha_text(struct chacha *c, struct ps_scratch *sc, __u32 len)
{
	OPAQUE(len);
	for (__u32 i = 0; i < AEAD_BLOCKS_MAX; i++) {
		if (i * AEAD_BLOCK >= len)
			break;
		if (chacha_xor(c, sc, i * AEAD_BLOCK))
			return -1;
	}
	return 0;
}

/* The buffer holds len bytes of ciphertext and the tag; decrypt in place if the tag is right.
 * 1: it is; 0: it is not, and the ciphertext is as it was. */
static __always_inline int aead_open(struct chacha *c, struct ps_scratch *sc, __u32 len)
{
	struct poly m = {0};
	__u64 got[2], want[2], sum;

	OPAQUE(len);
	if (len > PS_INNER_MAX)
		return 0;
	got[0] = PS_LOAD(__u64, sc->buf + len);
	got[1] = PS_LOAD(__u64, sc->buf + len + 8);
	if (poly_begin(c, &m) || poly_tag(&m, sc, len, want, &sum))
		return 0;
	if ((got[0] ^ want[0]) | (got[1] ^ want[1]))
		return 0;
	return chacha_text(c, sc, len) == 0;
}

/* Encrypt len bytes of the buffer in place and put the tag behind. *sum: one's complement sum of
 * ciphertext and tag, as if both began on an even address. 1, or 0 when len is out of range. */
static __always_inline int aead_seal(struct chacha *c, struct ps_scratch *sc, __u32 len, __u64 *sum)
{
	struct poly m = {0};
	__u64 tag[2], tag_sum, at;

	OPAQUE(len);
	if (!len || len > PS_INNER_MAX)
		return 0;
	if (poly_begin(c, &m) || chacha_text(c, sc, len) || poly_tag(&m, sc, len, tag, sum))
		return 0;
	at = len;
	CLAMP(at, PS_INNER_MAX);
	PS_STORE(__u64, sc->buf + at, tag[0]);
	PS_STORE(__u64, sc->buf + at + 8, tag[1]);
	/* A tag that starts on an odd byte adds its words byte-swapped (RFC 1071 §2.B); a fold
	 * modulo 2^16 - 1 shifted by one byte is exactly that. */
	tag_sum = (__u32)tag[0] + (tag[0] >> 32) + (__u32)tag[1] + (tag[1] >> 32);
	*sum += len & 1 ? tag_sum << 8 : tag_sum;
	return 1;
}
#endif
