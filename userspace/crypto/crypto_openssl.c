/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of the crypto seam that libcrypto does: the old hashes STUN and TURN need. Algorithms
 * are fetched once by crypto_init; looking them up by name for every message would cost more than
 * they do. */
#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <sodium.h>
#include "crypto/crypto.h"

static EVP_MD *md5_alg, *sha1_alg;
static EVP_MAC *hmac_alg;

int crypto_init(void)
{
	if (sodium_init() < 0)
		return -EIO;
	if (!md5_alg)
		md5_alg = EVP_MD_fetch(NULL, "MD5", NULL);
	if (!sha1_alg)
		sha1_alg = EVP_MD_fetch(NULL, "SHA1", NULL);
	if (!hmac_alg)
		hmac_alg = EVP_MAC_fetch(NULL, "HMAC", NULL);
	return md5_alg && sha1_alg && hmac_alg ? 0 : -EIO;
}

/* A hash that fails here means no memory or no crypto_init: nothing sane can follow, and an
 * all-zero MAC must never be mistaken for a result. */
static void must(bool ok)
{
	if (!ok)
		__builtin_trap();
}

void sha1(const void *msg, size_t len, uint8_t out[SHA1_LEN])
{
	must(EVP_Digest(msg, len, out, NULL, sha1_alg, NULL) == 1);
}

void md5(const void *msg, size_t len, uint8_t out[MD5_LEN])
{
	must(EVP_Digest(msg, len, out, NULL, md5_alg, NULL) == 1);
}

void hmac_sha1_spans(const void *key, size_t key_len, const struct crypto_span *spans, size_t n,
		     uint8_t out[SHA1_LEN])
{
	static char name[] = "SHA1";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end()};
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac_alg);
	/* OpenSSL reads a NULL key as "keep the previous one"; an empty key needs an address. */
	const unsigned char *k = key_len ? key : (const unsigned char *)"";
	size_t len = 0;

	must(ctx && EVP_MAC_init(ctx, k, key_len, params) == 1);
	for (size_t i = 0; i < n; i++)
		must(EVP_MAC_update(ctx, spans[i].p, spans[i].len) == 1);
	must(EVP_MAC_final(ctx, out, &len, SHA1_LEN) == 1 && len == SHA1_LEN);
	EVP_MAC_CTX_free(ctx);
}

void hmac_sha1(const void *key, size_t key_len, const void *msg, size_t len, uint8_t out[SHA1_LEN])
{
	hmac_sha1_spans(key, key_len, &(struct crypto_span){msg, len}, 1, out);
}
