/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/derive.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/b64.h"
#include "base/bytes.h"

/* RFC 4648 §6, lower case, no padding. 32 bytes give 52 characters. */
static void base32_lower(const uint8_t in[32], char out[53])
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t n = 0;

	for (size_t i = 0; i < 32; i++) {
		acc = acc << 8 | in[i];
		for (bits += 8; bits >= 5; bits -= 5)
			out[n++] = alphabet[acc >> (bits - 5) & 31];
	}
	out[n++] = alphabet[acc << (5 - bits) & 31];
	out[n] = '\0';
}

static void cut(struct ice_creds *c, const char *h)
{
	memcpy(c->username, h, 4);
	c->username[4] = '\0';
	memcpy(c->password, h + 4, 22);
	c->password[22] = '\0';
}

void derive_ice(const struct pair_ids *p, struct ice_creds *client, struct ice_creds *gateway)
{
	char seed[256], h[53];
	uint8_t digest[32];
	int n = snprintf(seed, sizeof(seed), "%s:%s:%s:%s", p->client_id, p->client_key,
			 p->gateway_id, p->gateway_key);

	if (n < 0 || (size_t)n >= sizeof(seed))
		n = (int)sizeof(seed) - 1; /* unreachable: ids and keys have fixed lengths */
	SHA256((const unsigned char *)seed, (size_t)n, digest);
	base32_lower(digest, h);
	cut(client, h);
	cut(gateway, h + 26);
	OPENSSL_cleanse(h, sizeof(h));
	OPENSSL_cleanse(digest, sizeof(digest));
}

bool derive_psk(const struct pair_ids *p, const uint8_t client_base[PSK_BASE_LEN],
		const uint8_t gateway_base[PSK_BASE_LEN], char out[KEY_B64_STRLEN])
{
	uint8_t secret[2 * PSK_BASE_LEN], psk[32];
	char salt[256];
	int n = snprintf(salt, sizeof(salt), "WG_PSK|C_ID:%s|G_ID:%s|C_PK:%s|G_PK:%s", p->client_id,
			 p->gateway_id, p->client_key, p->gateway_key);
	bool ok;

	memcpy(secret, client_base, PSK_BASE_LEN);
	memcpy(secret + PSK_BASE_LEN, gateway_base, PSK_BASE_LEN);
	ok = n > 0 && (size_t)n < sizeof(salt) &&
	     PKCS5_PBKDF2_HMAC((const char *)secret, sizeof(secret), (const unsigned char *)salt, n,
			       1, EVP_sha256(), sizeof(psk), psk) == 1;
	if (ok)
		b64_encode(psk, sizeof(psk), out);
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(psk, sizeof(psk));
	return ok;
}

static void digest_parts(const char *const *parts, uint8_t digest[32])
{
	unsigned len = 32;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	memset(digest, 0, 32);
	if (!ctx)
		return;
	EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
	for (; *parts; parts++)
		EVP_DigestUpdate(ctx, *parts, strlen(*parts) + 1);
	EVP_DigestFinal_ex(ctx, digest, &len);
	EVP_MD_CTX_free(ctx);
}

static void uuid_of_digest(uint8_t d[32], char out[UUID_STRLEN])
{
	d[6] = (uint8_t)((d[6] & 0x0f) | 0x40);
	d[8] = (uint8_t)((d[8] & 0x3f) | 0x80);
	snprintf(out, UUID_STRLEN,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1],
		 d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14],
		 d[15]);
}

void derive_uuid(const char *const *parts, char out[UUID_STRLEN])
{
	uint8_t d[32];

	digest_parts(parts, d);
	uuid_of_digest(d, out);
}

void derive_relay_id(const char *stamp, char out[UUID_STRLEN])
{
	uint8_t d[32];

	SHA256((const unsigned char *)stamp, strlen(stamp), d);
	uuid_of_digest(d, out);
}

/* SHA-256 of the text as unpadded base64: 43 characters. */
static void hash_text(const char *text, char out[44])
{
	uint8_t d[32];
	char padded[KEY_B64_STRLEN];

	SHA256((const unsigned char *)text, strlen(text), d);
	b64_encode(d, sizeof(d), padded);
	memcpy(out, padded, 43);
	out[43] = '\0';
	OPENSSL_cleanse(d, sizeof(d));
	OPENSSL_cleanse(padded, sizeof(padded));
}

void derive_turn_stamp(const char *stamp, const char *public_key, uint64_t expiry,
		       struct turn_creds *out)
{
	char salt[44], text[STAMP_MAX + 96];

	hash_text(public_key, salt);
	snprintf(out->username, sizeof(out->username), "%llu:%s", (unsigned long long)expiry, salt);
	snprintf(text, sizeof(text), "%llu:%s:%s", (unsigned long long)expiry, stamp, salt);
	hash_text(text, out->password);
	OPENSSL_cleanse(text, sizeof(text));
}

void derive_turn_shared(const char *secret, const char *name, uint64_t expiry,
			struct turn_creds *out)
{
	uint8_t mac[20];

	snprintf(out->username, sizeof(out->username), "%llu:%s", (unsigned long long)expiry, name);
	HMAC(EVP_sha1(), secret, (int)strlen(secret), (const unsigned char *)out->username,
	     strlen(out->username), mac, NULL);
	b64_encode(mac, sizeof(mac), out->password);
	OPENSSL_cleanse(mac, sizeof(mac));
}

uint64_t derive_offset(const char *const *parts)
{
	uint8_t d[32];

	digest_parts(parts, d);
	return be64_get(d);
}
