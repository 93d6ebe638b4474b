/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/version.h"

#include <stddef.h>
#include <string.h>

/* A number without leading zeros, below a million. */
static bool number(const char **p, unsigned *out)
{
	const char *start = *p;

	for (*out = 0; **p >= '0' && **p <= '9' && *p - start < 6; (*p)++)
		*out = *out * 10 + (unsigned)(**p - '0');
	return *p > start && !(*start == '0' && *p - start > 1);
}

/* Dot-separated identifiers of [0-9A-Za-z-] after the mark, none of them empty. */
static bool identifiers(const char **p, char mark)
{
	static const char set[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-";

	if (**p != mark)
		return true;
	do {
		size_t n = strspn(++*p, set);

		if (!n)
			return false;
		*p += n;
	} while (**p == '.');
	return true;
}

bool version_parse(const char *text, struct version *out)
{
	const char *p = text;

	return number(&p, &out->major) && *p++ == '.' && number(&p, &out->minor) && *p++ == '.' &&
	       number(&p, &out->patch) && identifiers(&p, '-') && identifiers(&p, '+') && !*p;
}

static bool at_least(const struct version *v, unsigned major, unsigned minor)
{
	return v->major > major || (v->major == major && v->minor >= minor);
}

bool version_compatible(const char *client, const char *gateway)
{
	struct version c, g;

	if (!version_parse(client, &c) || !version_parse(gateway, &g))
		return false;
	if (at_least(&c, 1, 4))
		return at_least(&g, 1, 4);
	if (at_least(&c, 1, 1))
		return at_least(&g, 1, 1);
	return true;
}
