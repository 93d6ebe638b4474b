/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/phx_frame.h"
#include <errno.h>
#include <string.h>
#include "base/bytes.h"

/* Nesting and number of values, before anything is allocated. Not a validator: strings are skipped,
 * the rest is counted. NULL, or what limit is broken; *open: something is not closed. */
static const char *limits_check(const char *text, size_t len, bool *open)
{
	size_t depth = 0, values = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			values++;
			if (++depth > PHX_FRAME_DEPTH_MAX)
				return "nested too deeply";
		} else if (c == '}' || c == ']') {
			depth -= depth > 0;
		} else if (c == ',' || c == ':') {
			values++;
		}
	}
	*open = in_string || depth;
	return values > PHX_FRAME_VALUES_MAX ? "too many values" : NULL;
}

static enum phx_frame_verdict bad(struct phx_frame *f, const char *why)
{
	f->why = why;
	return PHX_FRAME_BAD;
}

static bool string_take(const json_t *obj, const char *key, char *dst, size_t cap)
{
	const json_t *v = json_object_get(obj, key);
	size_t len = json_string_length(v);

	if (!json_is_string(v) || len >= cap)
		return false;
	memcpy(dst, json_string_value(v), len + 1);
	return true;
}

static enum phx_frame_verdict envelope_read(struct phx_frame *f, json_t *obj)
{
	const json_t *ref = json_object_get(obj, "ref");
	json_t *payload = json_object_get(obj, "payload");

	if (!json_is_object(obj))
		return bad(f, "not an object");
	if (!string_take(obj, "topic", f->topic, sizeof(f->topic)))
		return bad(f, "topic missing, not a string or too long");
	if (!string_take(obj, "event", f->event, sizeof(f->event)))
		return bad(f, "event missing, not a string or too long");
	if (ref && !json_is_null(ref)) {
		if (!json_is_integer(ref) || json_integer_value(ref) < 0)
			return bad(f, "ref is neither null nor an unsigned integer");
		f->has_ref = true;
		f->ref = (uint64_t)json_integer_value(ref);
	}
	f->payload = payload ? json_incref(payload) : json_null();
	return PHX_FRAME_OK;
}

enum phx_frame_verdict phx_frame_decode(struct phx_frame *f, const char *text, size_t len)
{
	enum phx_frame_verdict verdict;
	json_error_t err;
	bool open = false;
	json_t *obj;

	memset(f, 0, sizeof(*f));
	if (len > PHX_FRAME_MAX)
		return bad(f, "too long");
	f->why = limits_check(text, len, &open);
	if (f->why)
		return PHX_FRAME_BAD;
	obj = json_loadb(text, len, JSON_REJECT_DUPLICATES, &err);
	if (!obj) {
		f->why = "not JSON";
		/* A literal or an escape cut in the middle is a syntax error at the very end. */
		if (json_error_code(&err) != json_error_premature_end_of_input &&
		    !(open && (size_t)err.position >= len))
			return PHX_FRAME_BAD;
		f->why = "JSON ends too early";
		return PHX_FRAME_TRUNCATED;
	}
	verdict = envelope_read(f, obj);
	json_decref(obj);
	return verdict;
}

void phx_frame_fini(struct phx_frame *f)
{
	json_decref(f->payload);
	f->payload = NULL;
}

json_t *phx_frame_take_payload(struct phx_frame *f)
{
	json_t *payload = f->payload;

	f->payload = NULL;
	return payload;
}

static bool name_is_plain(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:-";

	return *name && name[strspn(name, allowed)] == '\0';
}

static void put_str(struct wbuf *w, const char *s)
{
	wbuf_put(w, s, strlen(s));
}

static void put_u64(struct wbuf *w, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do
		digits[--n] = (char)('0' + v % 10);
	while (v /= 10);
	wbuf_put(w, digits + n, sizeof(digits) - n);
}

int phx_frame_encode(const char *topic, const char *event, const char *payload, uint64_t ref,
		     char *buf, size_t cap, size_t *len)
{
	struct wbuf w = wbuf_init(buf, cap);
	int rc;

	*len = 0;
	if (!name_is_plain(topic) || !name_is_plain(event))
		return -EINVAL;
	put_str(&w, "{\"topic\":\"");
	put_str(&w, topic);
	put_str(&w, "\",\"event\":\"");
	put_str(&w, event);
	put_str(&w, "\",\"payload\":");
	put_str(&w, payload);
	put_str(&w, ",\"ref\":");
	put_u64(&w, ref);
	wbuf_put(&w, "}", 2); /* with the NUL */
	rc = wbuf_done(&w, len);
	if (!rc)
		--*len;
	return rc;
}
