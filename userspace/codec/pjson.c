/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/pjson.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/b64.h"

struct pjson pjson_root(const json_t *v, struct pmsg_err *err)
{
	return (struct pjson){.v = v, .key = "payload", .err = err};
}

struct pjson pjson_element(const struct pjson *arr, size_t i)
{
	return (struct pjson){
		.v = json_array_get(arr->v, i), .up = arr, .index = i, .err = arr->err};
}

/* Appends the path of `at`; the root is not spelt out unless it is all there is. */
static void path_render(const struct pjson *at, char *buf, size_t cap)
{
	size_t len;

	if (!at->up)
		return;
	path_render(at->up, buf, cap);
	len = strlen(buf);
	if (at->key)
		snprintf(buf + len, cap - len, "%s%s", len ? "." : "", at->key);
	else
		snprintf(buf + len, cap - len, "[%zu]", at->index);
}

int pjson_fail(const struct pjson *at, const char *why)
{
	at->err->field[0] = '\0';
	at->err->why = why;
	path_render(at, at->err->field, sizeof(at->err->field));
	if (!at->err->field[0])
		snprintf(at->err->field, sizeof(at->err->field), "%s",
			 at->key ? at->key : "payload");
	return -EBADMSG;
}

static struct pjson member(const struct pjson *obj, const char *key)
{
	return (struct pjson){
		.v = json_object_get(obj->v, key), .up = obj, .key = key, .err = obj->err};
}

int pjson_fail_key(const struct pjson *obj, const char *key, const char *why)
{
	struct pjson at = member(obj, key);

	return pjson_fail(&at, why);
}

int pjson_get(const struct pjson *obj, const char *key, struct pjson *out)
{
	if (!json_is_object(obj->v))
		return pjson_fail(obj, "not an object");
	*out = member(obj, key);
	return out->v ? 0 : pjson_fail(out, "missing");
}

int pjson_get_optional(const struct pjson *obj, const char *key, struct pjson *out)
{
	if (!json_is_object(obj->v))
		return pjson_fail(obj, "not an object");
	*out = member(obj, key);
	if (json_is_null(out->v))
		out->v = NULL;
	return 0;
}

int pjson_object(const struct pjson *obj, const char *key, struct pjson *out)
{
	int rc = pjson_get(obj, key, out);

	if (rc)
		return rc;
	return json_is_object(out->v) ? 0 : pjson_fail(out, "not an object");
}

int pjson_str(const struct pjson *obj, const char *key, const char **out)
{
	struct pjson at;
	int rc = pjson_get(obj, key, &at);

	if (rc)
		return rc;
	if (!json_is_string(at.v))
		return pjson_fail(&at, "not a string");
	*out = json_string_value(at.v);
	return 0;
}

int pjson_str_optional(const struct pjson *obj, const char *key, const char **out)
{
	struct pjson at;
	int rc = pjson_get_optional(obj, key, &at);

	*out = NULL;
	if (rc || !at.v)
		return rc;
	return pjson_str(obj, key, out);
}

int pjson_bool(const struct pjson *obj, const char *key, bool *out)
{
	struct pjson at;
	int rc = pjson_get(obj, key, &at);

	if (rc)
		return rc;
	if (!json_is_boolean(at.v))
		return pjson_fail(&at, "not a boolean");
	*out = json_is_true(at.v);
	return 0;
}

int pjson_u64(const struct pjson *obj, const char *key, uint64_t *out)
{
	struct pjson at;
	int rc = pjson_get(obj, key, &at);

	if (rc)
		return rc;
	if (!json_is_integer(at.v) || json_integer_value(at.v) < 0)
		return pjson_fail(&at, "not an unsigned integer");
	*out = (uint64_t)json_integer_value(at.v);
	return 0;
}

int pjson_u64_optional(const struct pjson *obj, const char *key, bool *has, uint64_t *out)
{
	struct pjson at;
	int rc = pjson_get_optional(obj, key, &at);

	*has = !rc && at.v;
	return *has ? pjson_u64(obj, key, out) : rc;
}

int pjson_u16_default(const struct pjson *obj, const char *key, uint16_t fallback, uint16_t *out)
{
	uint64_t v = fallback;
	bool has;
	int rc = pjson_u64_optional(obj, key, &has, &v);

	if (!rc && v > UINT16_MAX)
		rc = pjson_fail_key(obj, key, "over 65535");
	if (!rc)
		*out = (uint16_t)v;
	return rc;
}

int pjson_uuid(const struct pjson *obj, const char *key, struct uuid *out)
{
	const char *text;
	int rc = pjson_str(obj, key, &text);

	if (rc)
		return rc;
	return uuid_parse(text, out) ? pjson_fail_key(obj, key, "not a UUID") : 0;
}

int pjson_ip(const struct pjson *obj, const char *key, uint8_t family, struct ipaddr *out)
{
	const char *text;
	int rc = pjson_str(obj, key, &text);

	if (rc)
		return rc;
	if (ipaddr_parse(text, out))
		return pjson_fail_key(obj, key, "not an IP address");
	return out->family == family ? 0 : pjson_fail_key(obj, key, "wrong address family");
}

int pjson_endpoint(const struct pjson *obj, const char *key, struct endpoint *out)
{
	const char *text;
	int rc = pjson_str(obj, key, &text);

	if (rc)
		return rc;
	if (endpoint_parse(text, out) || out->port == 0)
		return pjson_fail_key(obj, key, "not address:port");
	return 0;
}

int pjson_key(const struct pjson *obj, const char *key, uint8_t out[32])
{
	const char *text;
	int rc = pjson_str(obj, key, &text);

	if (rc)
		return rc;
	return b64_key_decode(text, out) ? pjson_fail_key(obj, key, "not 32 bytes in base64") : 0;
}

int pjson_list(const struct pjson *obj, const char *key, bool required,
	       int (*check)(const struct pjson *el), struct pmsg_list *out)
{
	struct pjson at;
	int rc = required ? pjson_get(obj, key, &at) : pjson_get_optional(obj, key, &at);

	out->json = NULL;
	if (rc || !at.v)
		return rc;
	if (!json_is_array(at.v))
		return pjson_fail(&at, "not an array");
	for (size_t i = 0; i < json_array_size(at.v); i++) {
		struct pjson el = pjson_element(&at, i);

		rc = check(&el);
		if (rc)
			return rc;
	}
	out->json = at.v;
	return 0;
}
