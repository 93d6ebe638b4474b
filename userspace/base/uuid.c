/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"
#include <errno.h>
#include <string.h>
#include "base/hex.h"

static bool hyphen_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

int uuid_parse(const char *text, struct uuid *out)
{
	struct uuid id;
	size_t at = 0;

	if (strnlen(text, UUID_STRLEN) != UUID_STRLEN - 1)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(id.b); i++) {
		if (hyphen_before(i) && text[at++] != '-')
			return -EINVAL;
		int hi = hex_digit(text[at]), lo = hex_digit(text[at + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		id.b[i] = (uint8_t)(hi << 4 | lo);
		at += 2;
	}
	*out = id;
	return 0;
}

const char *uuid_fmt(const struct uuid *id, char *buf)
{
	static const char digits[] = "0123456789abcdef";
	char *p = buf;

	for (size_t i = 0; i < sizeof(id->b); i++) {
		if (hyphen_before(i))
			*p++ = '-';
		*p++ = digits[id->b[i] >> 4];
		*p++ = digits[id->b[i] & 15];
	}
	*p = '\0';
	return buf;
}

bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool uuid_is_nil(const struct uuid *id)
{
	static const struct uuid nil;

	return uuid_eq(id, &nil);
}
