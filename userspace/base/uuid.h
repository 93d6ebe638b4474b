/* SPDX-License-Identifier: Apache-2.0
 *
 * UUIDs as plain values (RFC 9562). Only the hyphenated text form, either case in, lower case out.
 */
#ifndef PENSTOCK_BASE_UUID_H
#define PENSTOCK_BASE_UUID_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uuid {
	uint8_t b[16];
};

#define UUID_STRLEN 37 /* 36 characters and a NUL */

/* Exactly 36 characters, 8-4-4-4-12. 0 or -EINVAL; out is untouched on error. */
int uuid_parse(const char *text, struct uuid *out);
/* Lower case, into buf of UUID_STRLEN; returns buf. */
const char *uuid_fmt(const struct uuid *id, char *buf);
bool uuid_eq(const struct uuid *a, const struct uuid *b);
bool uuid_is_nil(const struct uuid *id);
#endif
