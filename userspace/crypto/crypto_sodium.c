/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of the crypto seam that libsodium does: curve, AEADs, SHA-256, wipe and compare. */
#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/bytes.h"
#include "crypto/crypto.h"

void crypto_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

bool crypto_is_zero(const void *p, size_t len)
{
	return sodium_is_zero(p, len) == 1;
}

void sha256(const void *msg, size_t len, uint8_t out[SHA256_LEN])
{
	crypto_hash_sha256(out, msg, len);
}

void hmac_sha256_spans(const void *key, size_t key_len, const struct crypto_span *spans, size_t n,
		       uint8_t out[SHA256_LEN])
{
	crypto_auth_hmacsha256_state s;

	crypto_auth_hmacsha256_init(&s, key, key_len);
	for (size_t i = 0; i < n; i++)
		crypto_auth_hmacsha256_update(&s, spans[i].p, spans[i].len);
	crypto_auth_hmacsha256_final(&s, out);
	sodium_memzero(&s, sizeof(s));
}

void hmac_sha256(const void *key, size_t key_len, const void *msg, size_t len,
		 uint8_t out[SHA256_LEN])
{
	hmac_sha256_spans(key, key_len, &(struct crypto_span){msg, len}, 1, out);
}

void x25519_clamp(uint8_t priv[X25519_LEN])
{
	priv[0] &= 248;
	priv[31] = (uint8_t)((priv[31] & 127) | 64);
}

void x25519_public(uint8_t pub[X25519_LEN], const uint8_t priv[X25519_LEN])
{
	int rc = crypto_scalarmult_curve25519_base(pub, priv);

	assert(rc == 0);
	(void)rc;
}

int x25519(uint8_t out[X25519_LEN], const uint8_t priv[X25519_LEN], const uint8_t pub[X25519_LEN])
{
	/* libsodium refuses small-order points itself; the zero test does not rely on it. */
	if (crypto_scalarmult_curve25519(out, priv, pub) != 0 || sodium_is_zero(out, X25519_LEN)) {
		sodium_memzero(out, X25519_LEN);
		return -EPROTO;
	}
	return 0;
}

static void nonce_of(uint8_t nonce[12], uint64_t counter)
{
	memset(nonce, 0, 4);
	le64_put(nonce + 4, counter);
}

void aead_seal(uint8_t *out, const uint8_t key[AEAD_KEY], uint64_t counter, const void *aad,
	       size_t aad_len, const void *in, size_t len)
{
	uint8_t nonce[12];

	nonce_of(nonce, counter);
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, aad, aad_len, NULL, nonce,
						  key);
}

int aead_open(uint8_t *out, const uint8_t key[AEAD_KEY], uint64_t counter, const void *aad,
	      size_t aad_len, const void *in, size_t len)
{
	uint8_t nonce[12];

	nonce_of(nonce, counter);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, aad, aad_len, nonce,
						      key) != 0)
		return -EACCES;
	return 0;
}

void xaead_seal(uint8_t *out, const uint8_t key[AEAD_KEY], const uint8_t nonce[24], const void *aad,
		size_t aad_len, const void *in, size_t len)
{
	crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in, len, aad, aad_len, NULL, nonce,
						   key);
}

int xaead_open(uint8_t *out, const uint8_t key[AEAD_KEY], const uint8_t nonce[24], const void *aad,
	       size_t aad_len, const void *in, size_t len)
{
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, aad, aad_len,
						       nonce, key) != 0)
		return -EACCES;
	return 0;
}

void chacha20_stream(uint8_t *out, size_t len, const uint8_t key[32])
{
	static const uint8_t nonce[12];

	crypto_stream_chacha20_ietf(out, len, nonce, key);
}
