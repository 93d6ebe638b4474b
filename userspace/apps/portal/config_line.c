/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/config_line.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct cursor {
	const char *p, *end;
	unsigned line;
};

static void step_char(struct cursor *c)
{
	if (c->p < c->end && *c->p++ == '\n')
		c->line++;
}

static char peek(const struct cursor *c)
{
	return c->p < c->end ? *c->p : '\0';
}

static void skip_space(struct cursor *c)
{
	while (c->p < c->end && strchr(" \t\r\n", *c->p) && *c->p)
		step_char(c);
}

/* Past a string; *start and *len are its raw contents. */
static void skip_string(struct cursor *c, const char **start, size_t *len)
{
	step_char(c);
	*start = c->p;
	while (c->p < c->end && *c->p != '"') {
		if (*c->p == '\\')
			step_char(c);
		step_char(c);
	}
	*len = (size_t)(c->p - *start);
	step_char(c);
}

/* Past one value of any kind, without recursion. */
static void skip_value(struct cursor *c)
{
	size_t depth = 0, len;
	const char *s;

	do {
		char ch = peek(c);

		if (ch == '"') {
			skip_string(c, &s, &len);
		} else {
			if (ch == '{' || ch == '[')
				depth++;
			if ((ch == '}' || ch == ']') && depth)
				depth--;
			step_char(c);
		}
		while (!depth && c->p < c->end && !strchr(",]} \t\r\n", *c->p))
			step_char(c);
	} while (depth && c->p < c->end);
}

/* Move from the container's opening bracket to the wanted child; *line is that of the child (or of
 * its key). False when there is none. */
static bool enter(struct cursor *c, const struct config_step *want, unsigned *line)
{
	size_t index = 0;

	skip_space(c);
	if (peek(c) != (want->key ? '{' : '['))
		return false;
	step_char(c);
	for (;;) {
		const char *key = NULL;
		size_t len = 0;

		skip_space(c);
		if (c->p >= c->end || peek(c) == '}' || peek(c) == ']')
			return false;
		*line = c->line;
		if (want->key) {
			if (peek(c) != '"')
				return false;
			skip_string(c, &key, &len);
			skip_space(c);
			if (peek(c) != ':')
				return false;
			step_char(c);
			skip_space(c);
		}
		if (want->key ? len == strlen(want->key) && !memcmp(key, want->key, len)
			      : index == want->index)
			return true;
		index++;
		skip_value(c);
		skip_space(c);
		if (peek(c) == ',')
			step_char(c);
	}
}

unsigned config_line(const char *text, size_t len, const struct config_path *path)
{
	struct cursor c = {.p = text, .end = text + len, .line = 1};
	unsigned line;

	skip_space(&c);
	line = c.line;
	for (size_t i = 0; i < path->n; i++) {
		unsigned child = line;

		if (!enter(&c, &path->step[i], &child))
			break;
		line = child;
	}
	return line;
}

const char *config_path_fmt(const struct config_path *path, char *buf, size_t cap)
{
	size_t at = 0;

	if (cap)
		buf[0] = '\0';
	for (size_t i = 0; i < path->n && at < cap; i++) {
		const struct config_step *s = &path->step[i];
		int n = s->key ? snprintf(buf + at, cap - at, "%s%s", i ? "." : "", s->key)
			       : snprintf(buf + at, cap - at, "[%zu]", s->index);

		at += n > 0 ? (size_t)n : 0;
	}
	return buf;
}
