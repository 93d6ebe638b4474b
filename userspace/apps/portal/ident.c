/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/ident.h"

#include <string.h>

#include "base/b64.h"

bool ident_uuid_normalise(const char *s, char out[UUID_STRLEN])
{
	struct uuid id;

	if (uuid_parse(s, &id))
		return false;
	uuid_fmt(&id, out);
	return true;
}

bool ident_uuid_valid(const char *s)
{
	char norm[UUID_STRLEN];

	return ident_uuid_normalise(s, norm) && !strcmp(s, norm);
}

bool ident_key_valid(const char *s)
{
	uint8_t key[32];

	return b64_key_decode(s, key) == 0;
}
