/* SPDX-License-Identifier: Apache-2.0
 *
 * The one sink of base/log.h. Filter: comma separated directives, `level` (the default) or
 * `target=level`; a target also covers its dotted or ::-separated children, the longest match wins.
 */
#include "base/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/time.h"

#define LINE_CAP      8192
#define DIRECTIVE_MAX 32
#define TARGET_CAP    64
#define CUT_MARK      "...[cut]"

struct directive {
	char target[TARGET_CAP];
	size_t len;
	enum log_level level;
};

static struct {
	enum log_level fallback;
	enum log_format format;
	int fd;
	size_t count;
	struct directive directives[DIRECTIVE_MAX];
} cfg_now = {.fallback = LOG_LEVEL_INFO, .format = LOG_FORMAT_HUMAN, .fd = STDERR_FILENO};

static const char *const level_names[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};

/* ---- filter ---- */

static int level_parse(const char *text, size_t len, enum log_level *out)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strlen(level_names[i]) == len && !strncasecmp(text, level_names[i], len)) {
			*out = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

static int directive_parse(const char *text, size_t len)
{
	const char *eq = memchr(text, '=', len);
	struct directive *d = &cfg_now.directives[cfg_now.count];
	enum log_level level;

	if (!eq)
		return level_parse(text, len, &cfg_now.fallback);
	if (level_parse(eq + 1, len - (size_t)(eq + 1 - text), &level) || eq == text ||
	    (size_t)(eq - text) >= TARGET_CAP || cfg_now.count == DIRECTIVE_MAX)
		return -EINVAL;
	d->len = (size_t)(eq - text);
	memcpy(d->target, text, d->len);
	d->target[d->len] = '\0';
	d->level = level;
	cfg_now.count++;
	return 0;
}

static int filter_parse(const char *filter, const char **bad)
{
	static char bad_text[TARGET_CAP];
	int rc = 0;

	while (*filter) {
		size_t len = strcspn(filter, ","), skip = strspn(filter, " \t");
		const char *text = filter + (skip < len ? skip : len);
		size_t text_len = len - (size_t)(text - filter);

		while (text_len && (text[text_len - 1] == ' ' || text[text_len - 1] == '\t'))
			text_len--;
		if (text_len && directive_parse(text, text_len)) {
			snprintf(bad_text, sizeof(bad_text), "%.*s", (int)(text_len & 0xffff),
				 text);
			if (bad)
				*bad = bad_text;
			rc = -EINVAL;
		}
		filter += len;
		if (*filter == ',')
			filter++;
	}
	return rc;
}

int log_init(const struct log_cfg *cfg, const char **bad)
{
	const char *filter = cfg->filter;

	cfg_now.fallback = LOG_LEVEL_INFO;
	cfg_now.count = 0;
	cfg_now.format = cfg->format;
	cfg_now.fd = cfg->fd ? cfg->fd : STDERR_FILENO;
	if (!filter)
		filter = getenv("PENSTOCK_LOG");
	if (!filter)
		filter = getenv("RUST_LOG");
	return filter ? filter_parse(filter, bad) : 0;
}

static bool target_covered(const struct directive *d, const char *target)
{
	char next;

	if (strncmp(d->target, target, d->len) != 0)
		return false;
	next = target[d->len];
	return next == '\0' || next == '.' || next == ':';
}

bool log_enabled(enum log_level level, const char *target)
{
	enum log_level limit = cfg_now.fallback;
	size_t best = 0;

	for (size_t i = 0; i < cfg_now.count; i++) {
		const struct directive *d = &cfg_now.directives[i];

		if (d->len >= best && target_covered(d, target)) {
			best = d->len;
			limit = d->level;
		}
	}
	return level != LOG_LEVEL_OFF && level <= limit;
}

/* ---- formatting ---- */

struct line {
	char *p;
	size_t cap, len; /* cap leaves room for the tail */
	bool cut;
};

static void line_put(struct line *l, const char *s, size_t n)
{
	if (l->cut || n > l->cap - l->len) {
		l->cut = true;
		return;
	}
	memcpy(l->p + l->len, s, n);
	l->len += n;
}

static void line_str(struct line *l, const char *s)
{
	line_put(l, s, strlen(s));
}

/* The length of the well-formed UTF-8 sequence at s, 0 when there is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	size_t n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 0;

	if (s[0] >= 0xf0 && s[0] < 0xf5)
		n = 4;
	if (!n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* C0, DEL, C1 (as U+0080..9f), quotes, backslash and bytes that are not UTF-8 are escaped as in
 * JSON. */
static void line_escaped(struct line *l, const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;
	char esc[8];

	for (size_t i = 0; i < n && !l->cut;) {
		unsigned char c = u[i];

		if (c == '"' || c == '\\') {
			snprintf(esc, sizeof(esc), "\\%c", c);
		} else if (c == '\n' || c == '\t' || c == '\r') {
			snprintf(esc, sizeof(esc), "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
		} else if (c >= 0x20 && c < 0x7f) {
			line_put(l, s + i++, 1);
			continue;
		} else {
			size_t seq = utf8_len(u + i, n - i);

			if (seq && !(c == 0xc2 && u[i + 1] < 0xa0)) {
				line_put(l, s + i, seq);
				i += seq;
				continue;
			}
			if (seq)
				c = u[++i];
			snprintf(esc, sizeof(esc), "\\u%04x", c);
		}
		line_str(l, esc);
		i++;
	}
}

static void line_quoted(struct line *l, const char *s, size_t n)
{
	line_put(l, "\"", 1);
	line_escaped(l, s, n);
	line_put(l, "\"", 1);
}

/* Human values are bare when nothing in them could be mistaken for structure. */
static bool value_is_plain(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] == '"' || s[i] == '\\' || s[i] == '=' || s[i] >= 0x7f)
			return false;
	return n > 0;
}

static void line_text(struct line *l, enum log_format format, const char *s, size_t n)
{
	if (format == LOG_FORMAT_HUMAN && value_is_plain(s, n))
		line_put(l, s, n);
	else
		line_quoted(l, s, n);
}

static void line_value(struct line *l, enum log_format format, const struct log_kv *kv)
{
	char buf[96] = "";
	const char *s = buf;
	size_t n;

	switch (kv->kind) {
	case LOG_KIND_U64:
		snprintf(buf, sizeof(buf), "%" PRIu64, kv->u);
		line_str(l, buf);
		return;
	case LOG_KIND_I64:
		snprintf(buf, sizeof(buf), "%" PRId64, kv->i);
		line_str(l, buf);
		return;
	case LOG_KIND_BOOL:
		line_str(l, kv->u ? "true" : "false");
		return;
	case LOG_KIND_STRN:
		line_text(l, format, kv->ptr ? kv->ptr : "", kv->ptr ? kv->len : 0);
		return;
	case LOG_KIND_STR:
		s = kv->ptr ? kv->ptr : "(none)";
		break;
	case LOG_KIND_ERRNO:
		s = strerrordesc_np((int)(kv->i < 0 ? -kv->i : kv->i));
		s = s ? s : "unknown error";
		break;
	case LOG_KIND_NS:
		snprintf(buf, sizeof(buf), "%" PRIu64 ".%03us", kv->u / NS_PER_SEC,
			 (unsigned int)(kv->u % NS_PER_SEC / NS_PER_MS));
		break;
	case LOG_KIND_IP:
		ipaddr_fmt(kv->ptr, buf);
		break;
	case LOG_KIND_ENDPOINT:
		endpoint_fmt(kv->ptr, buf);
		break;
	case LOG_KIND_NET:
		ipnet_fmt(kv->ptr, buf);
		break;
	case LOG_KIND_UUID:
		uuid_fmt(kv->ptr, buf);
		break;
	case LOG_KIND_END:
		return;
	}
	n = strlen(s);
	line_text(l, format, s, n);
}

static void line_stamp(struct line *l, uint64_t unix_ms)
{
	time_t sec = (time_t)(unix_ms / 1000);
	struct tm tm;
	char buf[80];

	gmtime_r(&sec, &tm);
	snprintf(buf, sizeof(buf), "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (unsigned int)(unix_ms % 1000));
	line_str(l, buf);
}

static bool key_is_taken(const char *key)
{
	return !strcmp(key, "timestamp") || !strcmp(key, "level") || !strcmp(key, "target") ||
	       !strcmp(key, "message");
}

static void line_human(struct line *l, uint64_t unix_ms, enum log_level level, const char *target,
		       const char *msg, const struct log_kv *kv)
{
	char head[16];

	line_stamp(l, unix_ms);
	snprintf(head, sizeof(head), " %5s ", level_names[level]);
	line_str(l, head);
	line_escaped(l, target, strlen(target));
	line_str(l, ": ");
	line_escaped(l, msg, strlen(msg));
	for (; kv->key; kv++) {
		line_put(l, " ", 1);
		line_str(l, kv->key);
		line_put(l, "=", 1);
		line_value(l, LOG_FORMAT_HUMAN, kv);
	}
}

/* A field that does not fit is left out whole, so that the line stays valid JSON. */
static void line_json(struct line *l, uint64_t unix_ms, enum log_level level, const char *target,
		      const char *msg, const struct log_kv *kv)
{
	line_str(l, "{\"timestamp\":\"");
	line_stamp(l, unix_ms);
	line_str(l, "\",\"level\":\"");
	line_str(l, level_names[level]);
	line_str(l, "\",\"target\":");
	line_quoted(l, target, strlen(target));
	line_str(l, ",\"message\":");
	line_quoted(l, msg, strlen(msg));
	for (; kv->key && !l->cut; kv++) {
		size_t before = l->len;

		line_str(l, key_is_taken(kv->key) ? ",\"_" : ",\"");
		line_escaped(l, kv->key, strlen(kv->key));
		line_str(l, "\":");
		line_value(l, LOG_FORMAT_JSON, kv);
		if (l->cut)
			l->len = before;
	}
}

size_t log_format(char *buf, size_t cap, enum log_format format, uint64_t unix_ms,
		  enum log_level level, const char *target, const char *msg,
		  const struct log_kv *kv)
{
	struct line l = {.p = buf, .cap = cap < 64 ? 0 : cap - 32};

	if (!l.cap)
		return 0;
	if (format == LOG_FORMAT_HUMAN)
		line_human(&l, unix_ms, level, target, msg, kv);
	else
		line_json(&l, unix_ms, level, target, msg, kv);
	l.cap = cap;
	if (l.cut) {
		l.cut = false;
		line_str(&l, format == LOG_FORMAT_HUMAN ? " " CUT_MARK : ",\"_cut\":true");
	}
	line_str(&l, format == LOG_FORMAT_HUMAN ? "\n" : "}\n");
	return l.len;
}

void log_emit(enum log_level level, const char *target, const char *msg, const struct log_kv *kv)
{
	char buf[LINE_CAP];
	struct timespec ts;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &ts);
	len = log_format(buf, sizeof(buf), cfg_now.format,
			 (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / NS_PER_MS, level,
			 target, msg, kv);
	/* Nobody to tell when logging fails; a full pipe must not stop the daemon either. */
	if (write(cfg_now.fd, buf, len) < 0)
		return;
}
