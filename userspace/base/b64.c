/* SPDX-License-Identifier: Apache-2.0 */
#include "base/b64.h"
#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const char *b64_encode(const void *in, size_t len, char *out)
{
	const uint8_t *p = in;
	char *o = out;

	for (; len >= 3; len -= 3, p += 3) {
		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*o++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*o++ = alphabet[p[2] & 63];
	}
	if (len) {
		uint8_t b1 = len == 2 ? p[1] : 0;

		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | b1 >> 4];
		*o++ = len == 2 ? alphabet[(b1 & 15) << 2] : '=';
		*o++ = '=';
	}
	*o = '\0';
	return out;
}

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* One quantum of four characters into n bytes (1..3). */
static int quantum_decode(const char *t, size_t n, uint8_t *out)
{
	uint32_t v = 0;

	for (size_t i = 0; i <= n; i++) {
		int s = sextet(t[i]);

		if (s < 0)
			return -EINVAL;
		v |= (uint32_t)s << (18 - 6 * i);
	}
	if (v & ((1u << (24 - 8 * n)) - 1))
		return -EINVAL; /* bits beyond the last byte */
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(v >> (16 - 8 * i));
	return 0;
}

int b64_decode(const char *text, size_t text_len, void *out, size_t cap, size_t *len)
{
	uint8_t *o = out;
	size_t pad = 0;

	*len = 0;
	if (text_len % 4)
		return -EINVAL;
	if (text_len && text[text_len - 1] == '=')
		pad = text[text_len - 2] == '=' ? 2 : 1;
	if (text_len / 4 * 3 - pad > cap)
		return -EMSGSIZE;
	for (size_t i = 0; i < text_len; i += 4) {
		size_t n = i + 4 == text_len ? 3 - pad : 3;

		if (quantum_decode(text + i, n, o))
			return -EINVAL;
		o += n;
	}
	*len = (size_t)(o - (uint8_t *)out);
	return 0;
}

int b64_key_decode(const char *text, uint8_t out[32])
{
	uint8_t key[32];
	size_t len;

	if (strnlen(text, B64_KEY_STRLEN) != B64_KEY_STRLEN - 1 ||
	    b64_decode(text, B64_KEY_STRLEN - 1, key, sizeof(key), &len) || len != sizeof(key))
		return -EINVAL;
	memcpy(out, key, sizeof(key));
	explicit_bzero(key, sizeof(key));
	return 0;
}
