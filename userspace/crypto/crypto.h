/* SPDX-License-Identifier: Apache-2.0
 *
 * The crypto seam: every primitive of the daemons behind names of our own, chosen at link time. No
 * type of any library shows here. Data packets have aead_batch.h; these are for handshakes and
 * STUN, and the AEAD is what aead_batch.h falls back on and is tested against.
 *
 * Outputs may overlap inputs only where the comment says so. Nothing here allocates on our behalf
 * except md5 and hmac_sha1 inside OpenSSL. */
#ifndef PENSTOCK_CRYPTO_CRYPTO_H
#define PENSTOCK_CRYPTO_CRYPTO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_LEN  32
#define SHA1_LEN    20
#define MD5_LEN	    16
#define BLAKE2S_MAX 32
#define AEAD_KEY    32
#define AEAD_TAG    16
#define X25519_LEN  32

/* One piece of a message that is hashed in pieces. */
struct crypto_span {
	const void *p;
	size_t len;
};

/* Before anything else, once per process (again is harmless). 0, or -EIO when a library lacks what
 * we need. */
int crypto_init(void);

/* ---- helpers ---- */
/* Zero len bytes in a way the compiler may not drop. */
void crypto_wipe(void *p, size_t len);
/* Equality in time that depends on len only. */
bool crypto_equal(const void *a, const void *b, size_t len);
/* True when all len bytes are zero; constant time. */
bool crypto_is_zero(const void *p, size_t len);

/* ---- hashes ---- */
void sha256(const void *msg, size_t len, uint8_t out[SHA256_LEN]);
void hmac_sha256(const void *key, size_t key_len, const void *msg, size_t len,
		 uint8_t out[SHA256_LEN]);
void hmac_sha256_spans(const void *key, size_t key_len, const struct crypto_span *spans, size_t n,
		       uint8_t out[SHA256_LEN]);
void sha1(const void *msg, size_t len, uint8_t out[SHA1_LEN]);
void hmac_sha1(const void *key, size_t key_len, const void *msg, size_t len, uint8_t out[SHA1_LEN]);
/* For STUN: the header with a patched length, then the attributes where they lie. */
void hmac_sha1_spans(const void *key, size_t key_len, const struct crypto_span *spans, size_t n,
		     uint8_t out[SHA1_LEN]);
void md5(const void *msg, size_t len, uint8_t out[MD5_LEN]);

/* BLAKE2s (RFC 7693), one shot over spans; out_len 1..32; key_len 0..32, 0 = unkeyed. */
void blake2s(const void *key, size_t key_len, const struct crypto_span *spans, size_t n,
	     uint8_t *out, size_t out_len);
/* HMAC with BLAKE2s-256 as the hash: not the keyed BLAKE2s. */
void hmac_blake2s(const void *key, size_t key_len, const void *msg, size_t len, uint8_t out[32]);
/* WireGuard's Kdf1..3 (HKDF with hmac_blake2s): outputs that are NULL are not derived past the last
 * wanted; any output may be ck itself. */
void kdf_blake2s(const uint8_t ck[32], const void *in, size_t in_len, uint8_t *out1, uint8_t *out2,
		 uint8_t *out3);

/* ---- X25519 (RFC 7748) ---- */
/* Clamps in place, so that equal keys have equal bytes. */
void x25519_clamp(uint8_t priv[X25519_LEN]);
void x25519_public(uint8_t pub[X25519_LEN], const uint8_t priv[X25519_LEN]);
/* 0, or -EPROTO when the result is all zero (a low-order point); out is zero then. */
int x25519(uint8_t out[X25519_LEN], const uint8_t priv[X25519_LEN], const uint8_t pub[X25519_LEN])
	__attribute__((warn_unused_result));

/* ---- ChaCha20-Poly1305 (RFC 8439), nonce = 4 zero bytes and the counter little endian ---- */
/* out gets len + AEAD_TAG bytes; out == in is fine. */
void aead_seal(uint8_t *out, const uint8_t key[AEAD_KEY], uint64_t counter, const void *aad,
	       size_t aad_len, const void *in, size_t len);
/* in has len bytes with the tag; out gets len - AEAD_TAG; out == in is fine. 0, or -EACCES (also
 * when len is shorter than a tag) and out is zeroed or untouched. */
int aead_open(uint8_t *out, const uint8_t key[AEAD_KEY], uint64_t counter, const void *aad,
	      size_t aad_len, const void *in, size_t len) __attribute__((warn_unused_result));

/* XChaCha20-Poly1305 with a 24-byte nonce, else the same. */
void xaead_seal(uint8_t *out, const uint8_t key[AEAD_KEY], const uint8_t nonce[24], const void *aad,
		size_t aad_len, const void *in, size_t len);
int xaead_open(uint8_t *out, const uint8_t key[AEAD_KEY], const uint8_t nonce[24], const void *aad,
	       size_t aad_len, const void *in, size_t len) __attribute__((warn_unused_result));

/* Raw ChaCha20 key stream (RFC 8439, counter from 0, zero nonce): only for crypto/rng. */
void chacha20_stream(uint8_t *out, size_t len, const uint8_t key[32]);
#endif
