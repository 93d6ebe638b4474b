/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/token.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>
#include "base/hex.h"

bool token_hash(const char *text, size_t len, uint8_t hash[TOKEN_HASH_LEN])
{
	if (len < TOKEN_MIN_LEN || len > TOKEN_MAX_LEN)
		return false;
	SHA256((const unsigned char *)text, len, hash);
	return true;
}

bool token_hash_parse(const char *hex, uint8_t hash[TOKEN_HASH_LEN])
{
	if (strlen(hex) != 2 * TOKEN_HASH_LEN)
		return false;
	for (size_t i = 0; i < TOKEN_HASH_LEN; i++) {
		int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		hash[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

void token_hash_fmt(const uint8_t hash[TOKEN_HASH_LEN], char out[TOKEN_HASH_STRLEN])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < TOKEN_HASH_LEN; i++) {
		out[2 * i] = digits[hash[i] >> 4];
		out[2 * i + 1] = digits[hash[i] & 15];
	}
	out[2 * TOKEN_HASH_LEN] = '\0';
}

bool token_hash_eq(const uint8_t a[TOKEN_HASH_LEN], const uint8_t b[TOKEN_HASH_LEN])
{
	return CRYPTO_memcmp(a, b, TOKEN_HASH_LEN) == 0;
}

void token_from_entropy(const uint8_t entropy[32], char out[TOKEN_TEXT_CAP])
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t n = 0;

	for (size_t i = 0; i < 32; i++) {
		acc = acc << 8 | entropy[i];
		for (bits += 8; bits >= 6; bits -= 6)
			out[n++] = alphabet[acc >> (bits - 6) & 63];
	}
	out[n++] = alphabet[acc << (6 - bits) & 63];
	out[n] = '\0';
	OPENSSL_cleanse(&acc, sizeof(acc));
}
