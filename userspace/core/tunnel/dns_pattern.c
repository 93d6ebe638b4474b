/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns of DNS resources; contracts and rules in dns_pattern.h. Matching is two greedy loops of
 * the same form: over the characters of a label with * as what can take more, and over the labels
 * with ** as what can take more. Going back to the last such wildcard is enough: what an earlier
 * one could take besides, the last one can take too. */
#include "core/tunnel/dns_pattern.h"

#include <errno.h>
#include <string.h>

/* A piece of text between dots. */
struct label {
	const char *p;
	size_t len;
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

/* ---- classes ---- */
/* Length of the class that starts at p[0] == '[', its ] included; 0: not closed. The first member
 * may be ] itself. */
static size_t class_len(const char *p, size_t len)
{
	size_t at = len > 1 && p[1] == '!' ? 3 : 2;

	for (; at < len; at++)
		if (p[at] == ']')
			return at + 1;
	return 0;
}

/* Members of a class: single characters and ranges. Step through with *at; false at the end. */
static bool class_next(const char *p, size_t end, size_t *at, char *first, char *last)
{
	if (*at >= end)
		return false;
	*first = *last = p[*at];
	if (*at + 2 < end && p[*at + 1] == '-') {
		*last = p[*at + 2];
		*at += 3;
	} else {
		*at += 1;
	}
	return true;
}

static bool class_has(const char *p, size_t len, char c)
{
	bool negated = p[1] == '!', in = false;
	size_t at = negated ? 2 : 1;
	char first, last;

	while (class_next(p, len - 1, &at, &first, &last))
		in = in || (lower(c) >= first && lower(c) <= last) ||
		     (upper(c) >= first && upper(c) <= last);
	return in != negated;
}

static bool class_valid(const char *p, size_t len)
{
	size_t at = p[1] == '!' ? 2 : 1;
	char first, last;

	while (class_next(p, len - 1, &at, &first, &last))
		if (first > last)
			return false;
	return true;
}

/* ---- labels ---- */
/* The label at *at, which then is behind the dot that ends it. A dot inside a class leaves the
 * class unclosed, which is not valid. */
static struct label label_next(const char *text, size_t len, size_t *at)
{
	struct label l = {.p = text + *at};
	const char *dot = memchr(l.p, '.', len - *at);

	l.len = dot ? (size_t)(dot - l.p) : len - *at;
	*at += l.len + 1;
	return l;
}

static bool is_rest(struct label l)
{
	return l.len == 2 && l.p[0] == '*' && l.p[1] == '*';
}

/* Does one item of a label's pattern, not *, take the character? *step: its length. */
static bool item_takes(const char *p, size_t len, char c, size_t *step)
{
	*step = p[0] == '[' ? class_len(p, len) : 1;
	switch (p[0]) {
	case '?':
		return true;
	case '[':
		return *step && class_has(p, *step, c);
	default:
		return lower(p[0]) == lower(c);
	}
}

static bool label_match(struct label pat, struct label name)
{
	size_t p = 0, n = 0, star_p = 0, star_n = 0, step;
	bool star = false;

	while (n < name.len) {
		if (p < pat.len && pat.p[p] == '*') {
			star = true;
			star_p = ++p;
			star_n = n;
		} else if (p < pat.len && item_takes(pat.p + p, pat.len - p, name.p[n], &step)) {
			p += step;
			n++;
		} else if (star) {
			p = star_p;
			n = ++star_n;
		} else {
			return false;
		}
	}
	while (p < pat.len && pat.p[p] == '*')
		p++;
	return p == pat.len;
}

static bool labels_match(const char *pat, size_t pat_len, const char *name, size_t name_len)
{
	size_t p = 0, n = 0, rest_p = 0, rest_n = 0, p_next, n_next;
	bool rest = false;

	/* Positions are one past the end when no label is left. */
	while (n <= name_len) {
		struct label want = {0}, have;

		p_next = p;
		n_next = n;
		have = label_next(name, name_len, &n_next);
		if (p <= pat_len)
			want = label_next(pat, pat_len, &p_next);
		if (p <= pat_len && is_rest(want)) {
			rest = true;
			rest_p = p = p_next;
			rest_n = n;
		} else if (p <= pat_len && label_match(want, have)) {
			p = p_next;
			n = n_next;
		} else if (rest) {
			label_next(name, name_len, &rest_n);
			p = rest_p;
			n = rest_n;
		} else {
			return false;
		}
	}
	while (p <= pat_len)
		if (!is_rest(label_next(pat, pat_len, &p)))
			return false;
	return true;
}

static bool same_text(const char *a, const char *b)
{
	while (*a && lower(*a) == lower(*b))
		a++, b++;
	return lower(*a) == lower(*b);
}

bool dns_pattern_match(const char *pattern, const char *name)
{
	if (!name[0] || strpbrk(name, "/\""))
		return false;
	if (!strncmp(pattern, "*.", 2) && same_text(pattern + 2, name))
		return true;
	return labels_match(pattern, strlen(pattern), name, strlen(name));
}

/* ---- validity and order ---- */
static bool label_valid(struct label l)
{
	size_t step;

	if (is_rest(l))
		return true;
	for (size_t i = 0; i < l.len; i += step) {
		step = 1;
		if (l.p[i] == '*' && i + 1 < l.len && l.p[i + 1] == '*')
			return false;
		if (l.p[i] == '[') {
			step = class_len(l.p + i, l.len - i);
			if (!step || !class_valid(l.p + i, step))
				return false;
		}
	}
	return l.len > 0;
}

bool dns_pattern_valid(const char *pattern)
{
	size_t len = strnlen(pattern, TUNNEL_ADDRESS_CAP), at = 0;

	if (!len || len == TUNNEL_ADDRESS_CAP)
		return false;
	for (size_t i = 0; i < len; i++)
		if (pattern[i] <= ' ' || pattern[i] >= 0x7f || pattern[i] == '/' ||
		    pattern[i] == '"')
			return false;
	while (at <= len)
		if (!label_valid(label_next(pattern, len, &at)))
			return false;
	return true;
}

/* The place of a character in the order: ordinary ones, larger first; ?; *. */
static int rank(char c)
{
	return c == '*' ? 512 : c == '?' ? 511 : 255 - (uint8_t)c;
}

int dns_pattern_cmp(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	while (la && lb) {
		int d = rank(a[--la]) - rank(b[--lb]);

		if (d)
			return d;
	}
	return (la > 0) - (lb > 0);
}

/* ---- the sorted list ---- */
void dns_patterns_init(struct dns_patterns *p, struct dns_pattern *list, uint32_t cap)
{
	*p = (struct dns_patterns){.list = list, .cap = cap};
}

void dns_patterns_clear(struct dns_patterns *p)
{
	p->count = 0;
}

const struct dns_pattern *dns_patterns_of(const struct dns_patterns *p, const struct uuid *resource)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (uuid_eq(&p->list[i].resource, resource))
			return &p->list[i];
	return NULL;
}

const struct dns_pattern *dns_patterns_match(const struct dns_patterns *p, const char *name)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (dns_pattern_match(p->list[i].text, name))
			return &p->list[i];
	return NULL;
}

bool dns_patterns_remove(struct dns_patterns *p, const struct uuid *resource)
{
	const struct dns_pattern *of = dns_patterns_of(p, resource);
	uint32_t i;

	if (!of)
		return false;
	i = (uint32_t)(of - p->list);
	p->count--;
	memmove(p->list + i, p->list + i + 1, (p->count - i) * sizeof(*p->list));
	return true;
}

static int entry_cmp(const struct dns_pattern *a, const struct dns_pattern *b)
{
	int d = dns_pattern_cmp(a->text, b->text);

	return d ? d : memcmp(b->resource.b, a->resource.b, sizeof(a->resource.b));
}

int dns_patterns_add(struct dns_patterns *p, const struct uuid *resource, const char *pattern,
		     enum dns_stack stack)
{
	struct dns_pattern e = {.resource = *resource, .stack = stack};
	uint32_t i = 0;

	if (!dns_pattern_valid(pattern))
		return -EINVAL;
	if (!dns_patterns_remove(p, resource) && p->count == p->cap)
		return -ENOSPC;
	memcpy(e.text, pattern, strlen(pattern) + 1);
	while (i < p->count && entry_cmp(&p->list[i], &e) < 0)
		i++;
	memmove(p->list + i + 1, p->list + i, (p->count - i) * sizeof(*p->list));
	p->list[i] = e;
	p->count++;
	return 0;
}
