/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/config_dec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "apps/portal/expiry.h"

void dec_enter_key(struct dec *d, const char *key)
{
	if (d->path.n < CONFIG_PATH_MAX)
		d->path.step[d->path.n++] = (struct config_step){.key = key};
}

void dec_enter_index(struct dec *d, size_t index)
{
	if (d->path.n < CONFIG_PATH_MAX)
		d->path.step[d->path.n++] = (struct config_step){.index = index};
}

void dec_leave(struct dec *d)
{
	if (d->path.n)
		d->path.n--;
}

static void record(struct dec *d, const char *fmt, va_list ap)
{
	if (d->failed)
		return;
	d->failed = true;
	d->err->line = config_line(d->text, d->len, &d->path);
	config_path_fmt(&d->path, d->err->field, sizeof(d->err->field));
	vsnprintf(d->err->msg, sizeof(d->err->msg), fmt, ap);
}

bool dec_fail(struct dec *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(d, fmt, ap);
	va_end(ap);
	return false;
}

bool dec_fail_key(struct dec *d, const char *key, const char *fmt, ...)
{
	va_list ap;

	dec_enter_key(d, key);
	va_start(ap, fmt);
	record(d, fmt, ap);
	va_end(ap);
	dec_leave(d);
	return false;
}

static bool listed(const char *key, const char *const *keys)
{
	for (; *keys; keys++)
		if (!strcmp(key, *keys))
			return true;
	return false;
}

bool dec_object(struct dec *d, const json_t *v, const char *const *keys)
{
	const char *key;
	json_t *member;

	if (!json_is_object(v))
		return dec_fail(d, "must be an object");
	json_object_foreach((json_t *)(uintptr_t)v, key, member)
	{
		if (!listed(key, keys))
			return dec_fail_key(d, key, "is not a known field here");
	}
	return true;
}

/* The member, or NULL when it is absent or null. */
static json_t *member_of(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);

	return json_is_null(v) ? NULL : v;
}

bool dec_str(struct dec *d, const json_t *obj, const char *key, enum dec_need need, size_t min,
	     size_t max, const char **out)
{
	const json_t *v = member_of(obj, key);
	size_t len;

	*out = NULL;
	if (!v && need == DEC_REQUIRED)
		return dec_fail_key(d, key, "is missing");
	if (!v)
		return true;
	if (!json_is_string(v))
		return dec_fail_key(d, key, "must be a string");
	*out = json_string_value(v);
	len = json_string_length(v);
	if (len < min || len > max)
		return dec_fail_key(d, key, "must have %zu to %zu characters", min, max);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)(*out)[i] < 0x20 || (*out)[i] == 0x7f)
			return dec_fail_key(d, key, "must not contain control characters");
	return true;
}

bool dec_bool(struct dec *d, const json_t *obj, const char *key, bool fallback, bool *out)
{
	const json_t *v = json_object_get(obj, key);

	*out = fallback;
	if (!v)
		return true;
	if (!json_is_boolean(v))
		return dec_fail_key(d, key, "must be true or false");
	*out = json_is_true(v);
	return true;
}

bool dec_uint(struct dec *d, const json_t *obj, const char *key, uint64_t fallback, uint64_t min,
	      uint64_t max, uint64_t *out)
{
	const json_t *v = member_of(obj, key);
	json_int_t n;

	*out = fallback;
	if (!v)
		return true;
	if (!json_is_integer(v))
		return dec_fail_key(d, key, "must be an integer");
	n = json_integer_value(v);
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		return dec_fail_key(d, key, "must be between %llu and %llu",
				    (unsigned long long)min, (unsigned long long)max);
	*out = (uint64_t)n;
	return true;
}

bool dec_expiry(struct dec *d, const json_t *obj, const char *key, uint64_t *out)
{
	const json_t *v = member_of(obj, key);

	*out = EXPIRY_NEVER;
	if (!v)
		return true;
	if (json_is_string(v) && expiry_parse(json_string_value(v), out))
		return true;
	if (json_is_integer(v) && json_integer_value(v) >= 0 &&
	    (uint64_t)json_integer_value(v) <= EXPIRY_MAX) {
		*out = (uint64_t)json_integer_value(v);
		return true;
	}
	return dec_fail_key(d, key,
			    "must be an RFC 3339 time such as \"2030-01-31T12:00:00Z\" or unix "
			    "seconds");
}

bool dec_id(struct dec *d, const json_t *obj, const char *kind, const char *name,
	    char out[UUID_STRLEN])
{
	const char *parts[] = {"penstock-portal", kind, name, NULL};
	const char *text;

	if (!dec_str(d, obj, "id", DEC_OPTIONAL, 36, 36, &text))
		return false;
	if (!text)
		derive_uuid(parts, out);
	else if (!ident_uuid_normalise(text, out))
		return dec_fail_key(d, "id", "is not a UUID");
	return true;
}

bool dec_array(struct dec *d, const json_t *obj, const char *key, enum dec_need need, size_t max,
	       json_t **out, size_t *n)
{
	json_t *v = member_of(obj, key);

	*out = NULL;
	*n = 0;
	if (!v && need == DEC_REQUIRED)
		return dec_fail_key(d, key, "is missing");
	if (!v)
		return true;
	if (!json_is_array(v))
		return dec_fail_key(d, key, "must be an array");
	if (json_array_size(v) > max)
		return dec_fail_key(d, key, "has more than %zu entries", max);
	*out = v;
	*n = json_array_size(v);
	return true;
}
