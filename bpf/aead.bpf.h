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

struct chacha_block {
	__u64 w[AEAD_BLOCK / 8];
};

#define CHACHA_RUN 4
struct chacha_run {
	struct chacha_block block[CHACHA_RUN];
};

struct poly {
	__u64 r[2]; /* clamped; here and below two 32-bit words each */
	__u64 pad[2];
	__u64 h[5]; /* a limb each, not fully carried between blocks */
	__u64 sum;  /* of all 32-bit words taken in, for an outer checksum */
};
_Static_assert(sizeof(struct poly) >= sizeof(struct chacha_block), "see poly_begin");

/* The rounds by hand. A step works on one row of the state at a time, and rows b and d take part in
 * every step, so they stay in registers: w1..w4 and w5..w8. Rows a and c, of which each step needs
 * one, are in memory but for a's first word, w0. w9 is the word at hand, and half of a rotation,
 * which BPF does not have. Left alone the compiler moves words about a third more.
 *
 * Two words at a time: that much independent work a processor finds in its window. */
/* clang-format off */
#define CC_REG(x, s, d)  x " += " s "\n" d " ^= " x "\n"
#define CC_MEM(x, s, d)  "r9 = *(u32 *)%[" x "]\nw9 += " s "\n*(u32 *)%[" x "] = r9\n" d " ^= w9\n"
#define CC_ROTL(d, n, m) "w9 = " d "\nw9 >>= " m "\n" d " <<= " n "\n" d " |= w9\n"

/* A step of four quarter rounds: x += s; d ^= x; d <<<= n. m is 32 - n. */
#define CC_STEP(first, x0, x1, x2, x3, s0, s1, s2, s3, d0, d1, d2, d3, n, m) \
	first(x0, s0, d0)  CC_MEM(x1, s1, d1) \
	CC_ROTL(d0, n, m)  CC_ROTL(d1, n, m)  \
	CC_MEM(x2, s2, d2) CC_MEM(x3, s3, d3) \
	CC_ROTL(d2, n, m)  CC_ROTL(d3, n, m)

/* Four quarter rounds: of columns, or of diagonals when rows b, c and d are turned. */
#define CC_HALF(b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3) \
	CC_STEP(CC_REG, "w0", "a1", "a2", "a3", b0, b1, b2, b3, d0, d1, d2, d3, "16", "16") \
	CC_STEP(CC_MEM, c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, "12", "20") \
	CC_STEP(CC_REG, "w0", "a1", "a2", "a3", b0, b1, b2, b3, d0, d1, d2, d3, "8", "24") \
	CC_STEP(CC_MEM, c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, "7", "25")

#define CC_ROUNDS \
	"r9 = 10\n*(u64 *)%[left] = r9\n1:\n" \
	CC_HALF("w1", "w2", "w3", "w4", "c0", "c1", "c2", "c3", "w5", "w6", "w7", "w8") \
	CC_HALF("w2", "w3", "w4", "w1", "c2", "c3", "c0", "c1", "w8", "w5", "w6", "w7") \
	"r9 = *(u64 *)%[left]\nr9 += -1\n*(u64 *)%[left] = r9\nif r9 != 0 goto 1b\n"
/* clang-format on */

static __always_inline __u64 pair(__u64 lo, __u64 hi)
{
	return hi << 32 | lo;
}

/* XOR the next key stream block into *b, and step the counter. */
static __always_inline void chacha_block(struct chacha *c, struct chacha_block *b)
{
	register __u64 x0 asm("r0"), x4 asm("r1"), x5 asm("r2"), x6 asm("r3"), x7 asm("r4");
	register __u64 x12 asm("r5"), x13 asm("r6"), x14 asm("r7"), x15 asm("r8");
	__u32 a[4], k[4];
	__u64 left;

	a[1] = c->s[1], a[2] = c->s[2], a[3] = c->s[3];
	k[0] = c->s[8], k[1] = c->s[9], k[2] = c->s[10], k[3] = c->s[11];
	x0 = c->s[0];
	x4 = c->s[4], x5 = c->s[5], x6 = c->s[6], x7 = c->s[7];
	x12 = c->s[12], x13 = c->s[13], x14 = c->s[14], x15 = c->s[15];
	asm volatile(
		CC_ROUNDS
		: "+r"(x0), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7), "+r"(x12), "+r"(x13), "+r"(x14),
		  "+r"(x15), [left] "=m"(left), [a1] "+m"(a[1]), [a2] "+m"(a[2]), [a3] "+m"(a[3]),
		  [c0] "+m"(k[0]), [c1] "+m"(k[1]), [c2] "+m"(k[2]), [c3] "+m"(k[3])
		:
		: "r9", "memory");
	b->w[2] ^= pair((__u32)x4 + c->s[4], (__u32)x5 + c->s[5]);
	b->w[3] ^= pair((__u32)x6 + c->s[6], (__u32)x7 + c->s[7]);
	b->w[6] ^= pair((__u32)x12 + c->s[12], (__u32)x13 + c->s[13]);
	b->w[7] ^= pair((__u32)x14 + c->s[14], (__u32)x15 + c->s[15]);
	b->w[0] ^= pair((__u32)x0 + c->s[0], a[1] + c->s[1]);
	b->w[1] ^= pair(a[2] + c->s[2], a[3] + c->s[3]);
	b->w[4] ^= pair(k[0] + c->s[8], k[1] + c->s[9]);
	b->w[5] ^= pair(k[2] + c->s[10], k[3] + c->s[11]);
	c->s[12]++;
}

/* The same for callers: 0, or -1. */
__noinline int chacha_xor(struct chacha *c, struct chacha_block *b)
{
	if (!c || !b)
		return -1;
	chacha_block(c, b);
	return 0;
}

/* For CHACHA_RUN blocks in a row: a call, and above all the return, costs as much as a thirtieth of
 * a block. */
__noinline int chacha_xor_run(struct chacha *c, struct chacha_run *b)
{
	if (!c || !b)
		return -1;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CHACHA_RUN; i++) {
		OPAQUE(c); /* nothing of it is worth keeping on the stack */
		chacha_block(c, &b->block[i]);
	}
	return 0;
}

/* The one-time key: the first half of block 0 (RFC 8439 §2.6), r clamped. The other half of the
 * block lands in h, which is zero before and after. Steps the counter. */
static __always_inline int poly_begin(struct chacha *c, struct poly *m)
{
	if (chacha_xor(c, (struct chacha_block *)m))
		return -1;
	m->r[0] &= 0x0ffffffc0fffffff;
	m->r[1] &= 0x0ffffffc0ffffffc;
	m->h[0] = m->h[1] = m->h[2] = m->h[3] = 0;
	return 0;
}

/* One move, where the compiler shifts up and down. */
static __always_inline __u64 low32(__u64 v)
{
	__u32 low;

	asm("%0 = %1" : "=w"(low) : "w"((__u32)v));
	return low;
}

/* Take in n blocks of 16 bytes from the start of the buffer.
 *
 * Each limb passes its high half on once and at the same time as the others, or the five would have
 * to wait for each other. What that leaves is small enough: in units of 2^32 and 2^60, if every sum
 * d is below 16, then with a word taken in h1, h2, h3 are below 1 + 1 + 1 = 3, h4 is at most 4,
 * d4 below 4 * 2^28 + 2^32 = 1.25 * 2^32, h0 below 1 + 1.25 * 1.25 + 1 < 3.57; and so d0, the
 * largest with all three s[] of up to 1.25 * 2^28, is below 3.57 + 3 * 1.25 * 3 = 14.9, which is
 * below 16. */
__noinline int poly_blocks(struct poly *m, struct ps_scratch *sc, __u32 n)
{
	__u64 h0, h1, h2, h3, h4, d0, d1, d2, d3, d4, r0, r1, r2, r3, s1, s2, s3, sum;

	if (!m || !sc || n > POLY_BLOCKS_MAX)
		return -1;
	OPAQUE(n);
	h0 = m->h[0], h1 = m->h[1], h2 = m->h[2], h3 = m->h[3], h4 = m->h[4];
	r0 = low32(m->r[0]), r1 = m->r[0] >> 32, r2 = low32(m->r[1]), r3 = m->r[1] >> 32;
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
		h1 = low32(d1) + (d0 >> 32);
		h2 = low32(d2) + (d1 >> 32);
		h3 = low32(d3) + (d2 >> 32);
		d4 += d3 >> 32;
		h0 = low32(d0) + (d4 >> 2) + (d4 & ~3ULL);
		h4 = d4 & 3;
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
	const __u32 *pad = (const __u32 *)m->pad;

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
		c += ((m->h[i] & ~over) | (g[i] & over)) + pad[i];
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
		__u8 *at = sc->buf + i * AEAD_BLOCK;

		if (i * AEAD_BLOCK >= len)
			break;
		if (i + CHACHA_RUN <= AEAD_BLOCKS_MAX && (i + CHACHA_RUN - 1) * AEAD_BLOCK < len) {
			if (chacha_xor_run(c, (struct chacha_run *)at))
				return -1;
			i += CHACHA_RUN - 1;
		} else if (chacha_xor(c, (struct chacha_block *)at)) {
			return -1;
		}
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
