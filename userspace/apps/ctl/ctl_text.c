/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers, durations, foreign strings and tables for people; see ctl.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "apps/ctl/ctl.h"

/* Enough for one printf's arguments. */
static char *next_buf(void)
{
	static char bufs[16][CTL_TEXT_CAP];
	static unsigned n;

	return bufs[n++ % 16];
}

const char *ctl_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

uint64_t ctl_u64(const json_t *obj, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(obj, key));

	return v > 0 ? (uint64_t)v : 0;
}

bool ctl_bool(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

bool ctl_has(const json_t *obj, const char *key)
{
	const json_t *v = json_object_get(obj, key);

	return v && !json_is_null(v);
}

/* Returns the length written, NUL excluded; out is always terminated. */
static size_t clean_into(char *out, size_t cap, const char *text)
{
	size_t n = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p && n < cap - 1; p++) {
		bool c1 = *p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080 … U+009F */

		out[n++] = *p < 0x20 || *p == 0x7f || c1 ? '?' : (char)*p;
		p += c1;
	}
	out[n] = 0;
	return n;
}

const char *ctl_clean(const char *text)
{
	char *out = next_buf();

	if (!text)
		return "-";
	clean_into(out, CTL_TEXT_CAP, text);
	return out;
}

const char *ctl_clean_str(const json_t *obj, const char *key)
{
	return ctl_clean(ctl_str(obj, key));
}

static const char *scaled(uint64_t v, double step, const char *const *units)
{
	char *out = next_buf();
	double d = (double)v;

	for (; d >= step && units[1]; units++)
		d /= step;
	if (d == (double)v)
		snprintf(out, CTL_TEXT_CAP, "%" PRIu64 "%s", v, *units);
	else
		snprintf(out, CTL_TEXT_CAP, d < 10 ? "%.2f%s" : "%.1f%s", d, *units);
	return out;
}

const char *ctl_bytes(uint64_t bytes)
{
	static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", NULL};

	return scaled(bytes, 1024, units);
}

const char *ctl_count(uint64_t n)
{
	static const char *const units[] = {"", "k", "M", "G", "T", NULL};

	return scaled(n, 1000, units);
}

const char *ctl_plain(uint64_t n)
{
	char *out = next_buf();

	snprintf(out, CTL_TEXT_CAP, "%" PRIu64, n);
	return out;
}

const char *ctl_seconds(uint64_t s)
{
	char *out = next_buf();

	if (s < 60)
		snprintf(out, CTL_TEXT_CAP, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(out, CTL_TEXT_CAP, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, CTL_TEXT_CAP, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			 s % 3600 / 60);
	else
		snprintf(out, CTL_TEXT_CAP, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
			 s % 86400 / 3600);
	return out;
}

const char *ctl_micros(uint64_t us)
{
	char *out = next_buf();

	if (us < 1000)
		snprintf(out, CTL_TEXT_CAP, "%" PRIu64 " µs", us);
	else
		snprintf(out, CTL_TEXT_CAP, "%.1f ms", (double)us / 1000);
	return out;
}

const char *ctl_join(const json_t *array)
{
	char *out = next_buf();
	size_t n = 0;

	out[0] = 0;
	for (size_t i = 0; i < json_array_size(array) && n < CTL_TEXT_CAP - 3; i++) {
		const char *s = json_string_value(json_array_get(array, i));

		if (i)
			n += clean_into(out + n, CTL_TEXT_CAP - n, ", ");
		n += clean_into(out + n, CTL_TEXT_CAP - n, s ? s : "-");
	}
	return out;
}

void ctl_table_init(struct ctl_table *t, const char *const *titles, size_t columns)
{
	*t = (struct ctl_table){.columns = columns};
	for (size_t i = 0; i < columns; i++) {
		t->right[i] = titles[i][0] == '>';
		t->titles[i] = titles[i] + t->right[i];
	}
}

void ctl_table_cell(struct ctl_table *t, const char *text)
{
	if (t->count == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		char **more = realloc(t->cells, cap * sizeof(*more));

		if (!more)
			abort();
		t->cells = more;
		t->cap = cap;
	}
	t->cells[t->count] = strdup(text);
	if (!t->cells[t->count++])
		abort();
}

/* Characters, not bytes: good enough for the names people give. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_cell(const char *text, size_t column_width, bool right, bool last)
{
	size_t pad = column_width - width(text);

	if (right)
		printf("%*s", (int)pad, "");
	fputs(text, stdout);
	if (!right && !last)
		printf("%*s", (int)pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

void ctl_table_print(struct ctl_table *t)
{
	size_t widths[CTL_COLUMNS_CAP];

	for (size_t c = 0; c < t->columns; c++)
		widths[c] = width(t->titles[c]);
	for (size_t i = 0; i < t->count; i++) {
		size_t w = width(t->cells[i]);

		if (w > widths[i % t->columns])
			widths[i % t->columns] = w;
	}
	for (size_t c = 0; c < t->columns; c++)
		print_cell(t->titles[c], widths[c], t->right[c], c + 1 == t->columns);
	for (size_t i = 0; i < t->count; i++) {
		size_t c = i % t->columns;

		print_cell(t->cells[i], widths[c], t->right[c], c + 1 == t->columns);
		free(t->cells[i]);
	}
	free(t->cells);
	*t = (struct ctl_table){0};
}
