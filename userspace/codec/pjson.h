/* SPDX-License-Identifier: Apache-2.0
 *
 * Typed reading of a JSON tree with the path of what went wrong: the tool codec/portal_msg is made
 * of. A cursor is a value on the stack that knows its parent, so the path costs nothing until it is
 * needed. Every reader returns 0 or -EBADMSG with *err filled; keys that are not asked for are
 * ignored. */
#ifndef PENSTOCK_CODEC_PJSON_H
#define PENSTOCK_CODEC_PJSON_H
#include "codec/portal_msg.h"

struct pjson {
	const json_t *v;
	const struct pjson *up; /* NULL: root */
	const char *key;	/* NULL: element `index` of an array */
	size_t index;
	struct pmsg_err *err; /* never NULL */
};

struct pjson pjson_root(const json_t *v, struct pmsg_err *err);
struct pjson pjson_element(const struct pjson *arr, size_t i);
/* Records "path: why"; returns -EBADMSG. */
int pjson_fail(const struct pjson *at, const char *why);
int pjson_fail_key(const struct pjson *obj, const char *key, const char *why);

/* The member `key`; missing is an error. With optional, missing or null leaves out->v NULL. */
int pjson_get(const struct pjson *obj, const char *key, struct pjson *out);
int pjson_get_optional(const struct pjson *obj, const char *key, struct pjson *out);
int pjson_object(const struct pjson *obj, const char *key, struct pjson *out);

int pjson_str(const struct pjson *obj, const char *key, const char **out);
int pjson_str_optional(const struct pjson *obj, const char *key, const char **out); /* NULL: none */
int pjson_bool(const struct pjson *obj, const char *key, bool *out);
int pjson_u64(const struct pjson *obj, const char *key, uint64_t *out);
/* *has says whether it was there and not null. */
int pjson_u64_optional(const struct pjson *obj, const char *key, bool *has, uint64_t *out);
int pjson_u16_default(const struct pjson *obj, const char *key, uint16_t fallback, uint16_t *out);
int pjson_uuid(const struct pjson *obj, const char *key, struct uuid *out);
int pjson_ip(const struct pjson *obj, const char *key, uint8_t family, struct ipaddr *out);
int pjson_endpoint(const struct pjson *obj, const char *key, struct endpoint *out);
int pjson_key(const struct pjson *obj, const char *key, uint8_t out[32]);
/* An array all of whose elements pass `check`. With required false, missing or null is an empty
 * list. */
int pjson_list(const struct pjson *obj, const char *key, bool required,
	       int (*check)(const struct pjson *el), struct pmsg_list *out);
#endif
