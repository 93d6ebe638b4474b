/* SPDX-License-Identifier: Apache-2.0
 *
 * Typed reading of a JSON document with errors that know where they are. The decoder carries the
 * path of the value in hand; the first failure is recorded with its line and field, later ones are
 * ignored. Every function returns false when something is wrong, and only then. */
#ifndef PENSTOCK_PORTAL_CONFIG_DEC_H
#define PENSTOCK_PORTAL_CONFIG_DEC_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/portal/config.h"
#include "apps/portal/config_line.h"

struct dec {
	const char *text;
	size_t len;
	struct config_path path;
	struct config_error *err;
	bool failed;
};

enum dec_need { DEC_OPTIONAL, DEC_REQUIRED };

void dec_enter_key(struct dec *d, const char *key);
void dec_enter_index(struct dec *d, size_t index);
void dec_leave(struct dec *d);
/* Blames the value in hand; always false. */
bool dec_fail(struct dec *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Blames one member of the value in hand; always false. */
bool dec_fail_key(struct dec *d, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* v is an object and has no members but these (NULL-terminated). */
bool dec_object(struct dec *d, const json_t *v, const char *const *keys);
/* A member's text of min..max bytes without control characters; *out is NULL when it is optional
 * and absent or null. The text belongs to the document. */
bool dec_str(struct dec *d, const json_t *obj, const char *key, enum dec_need need, size_t min,
	     size_t max, const char **out);
bool dec_bool(struct dec *d, const json_t *obj, const char *key, bool fallback, bool *out);
bool dec_uint(struct dec *d, const json_t *obj, const char *key, uint64_t fallback, uint64_t min,
	      uint64_t max, uint64_t *out);
/* RFC 3339 text or unix seconds; absent or null: EXPIRY_NEVER. */
bool dec_expiry(struct dec *d, const json_t *obj, const char *key, uint64_t *out);
/* The "id" member in canonical form, or one derived from what the thing is and its name. */
bool dec_id(struct dec *d, const json_t *obj, const char *kind, const char *name,
	    char out[UUID_STRLEN]);
/* Absent: *out NULL, *n 0. */
bool dec_array(struct dec *d, const json_t *obj, const char *key, enum dec_need need, size_t max,
	       json_t **out, size_t *n);
#endif
