/* SPDX-License-Identifier: Apache-2.0
 *
 * Header: "# BEGIN Penstock DNS configuration 1 saved|missing <length> <16 hex digits>", the hash
 * over the bytes after that line. */
#include "io/resolv_conf.h"
#include <ctype.h>
#include <net/if.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/tunnel/dns_sentinel.h"

#define HEADER	 "# BEGIN Penstock DNS configuration"
#define NOTE	 "# Penstock: "
#define HASH_HEX 16
#define LINE_CAP 1024 /* longer ones are nothing resolv.conf(5) knows */

/* ---- values ---- */

bool resolv_name_ok(const char *name)
{
	size_t len = strlen(name), label = 0;

	if (len == 0 || len >= RESOLV_NAME_CAP || (len == 1 && name[0] == '.'))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)name[i];

		if (ch == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!(isalnum(ch) && ch < 0x80) && ch != '-' && ch != '_')
			return false;
		if (++label > 63)
			return false;
	}
	return true;
}

void resolv_server_add(struct resolv_conf *c, const struct resolv_server *s)
{
	if (dns_in_sentinel_range(&s->at.ip))
		return;
	for (uint32_t i = 0; i < c->n_servers; i++)
		if (endpoint_eq(&c->server[i].at, &s->at) && c->server[i].ifindex == s->ifindex)
			return;
	if (c->n_servers == RESOLV_SERVERS_MAX || ipaddr_is_unspecified(&s->at.ip) ||
	    ipaddr_is_multicast(&s->at.ip) || s->at.port == 0) {
		c->n_dropped++;
		return;
	}
	c->server[c->n_servers++] = *s;
}

void resolv_search_add(struct resolv_conf *c, const char *name, size_t len)
{
	char text[RESOLV_NAME_CAP];

	if (len == 1 && name[0] == '.')
		return;
	if (len >= sizeof(text)) {
		c->n_dropped++;
		return;
	}
	memcpy(text, name, len);
	text[len] = '\0';
	for (uint32_t i = 0; i < c->n_search; i++)
		if (strcasecmp(c->search[i], text) == 0)
			return;
	if (strlen(text) != len || !resolv_name_ok(text) || c->n_search == RESOLV_SEARCH_MAX)
		c->n_dropped++;
	else
		memcpy(c->search[c->n_search++], text, len + 1);
}

bool resolv_conf_eq(const struct resolv_conf *a, const struct resolv_conf *b)
{
	if (a->n_servers != b->n_servers || a->n_search != b->n_search)
		return false;
	for (uint32_t i = 0; i < a->n_servers; i++)
		if (!endpoint_eq(&a->server[i].at, &b->server[i].at) ||
		    a->server[i].ifindex != b->server[i].ifindex)
			return false;
	for (uint32_t i = 0; i < a->n_search; i++)
		if (strcasecmp(a->search[i], b->search[i]) != 0)
			return false;
	return true;
}

/* ---- reading ---- */

struct line {
	const char *p;
	size_t len;  /* without the newline */
	size_t size; /* with it */
};

static bool next_line(const char *text, size_t len, size_t *at, struct line *l)
{
	const char *nl;

	if (*at >= len)
		return false;
	l->p = text + *at;
	nl = memchr(l->p, '\n', len - *at);
	l->len = nl ? (size_t)(nl - l->p) : len - *at;
	l->size = l->len + (nl ? 1 : 0);
	*at += l->size;
	return true;
}

static bool starts(const struct line *l, const char *word)
{
	size_t n = strlen(word);

	return l->len >= n && memcmp(l->p, word, n) == 0;
}

static size_t blanks(const char *p, size_t len)
{
	size_t n = 0;

	while (n < len && (p[n] == ' ' || p[n] == '\t' || p[n] == '\r'))
		n++;
	return n;
}

static size_t word_len(const char *p, size_t len)
{
	size_t n = 0;

	while (n < len && p[n] != ' ' && p[n] != '\t' && p[n] != '\r')
		n++;
	return n;
}

static bool server_parse(const char *p, size_t len, struct resolv_server *s)
{
	char text[IPADDR_STRLEN + IF_NAMESIZE + 1], *zone;

	*s = (struct resolv_server){.at.port = 53};
	if (len >= sizeof(text) || memchr(p, '\0', len))
		return false;
	memcpy(text, p, len);
	text[len] = '\0';
	zone = strchr(text, '%');
	if (zone)
		*zone++ = '\0';
	if (ipaddr_parse(text, &s->at.ip) < 0)
		return false;
	if (zone && ipaddr_is_link_local(&s->at.ip)) {
		s->ifindex = if_nametoindex(zone);
		return s->ifindex != 0;
	}
	return true;
}

static void take_options(struct resolv_conf *c, const char *p, size_t len)
{
	size_t used = strlen(c->options);

	for (size_t i = blanks(p, len), n; i < len; i += n + blanks(p + i + n, len - i - n)) {
		n = word_len(p + i, len - i);
		if (n >= 6 && memcmp(p + i, "ndots:", 6) == 0)
			continue;
		if (n + 2 > sizeof(c->options) - used) {
			c->n_dropped++;
			continue;
		}
		if (used)
			c->options[used++] = ' ';
		memcpy(c->options + used, p + i, n);
		used += n;
		c->options[used] = '\0';
	}
}

static void take_search(struct resolv_conf *c, const char *p, size_t len, bool one)
{
	c->n_search = 0;
	for (size_t i = blanks(p, len), n; i < len; i += n + blanks(p + i + n, len - i - n)) {
		n = word_len(p + i, len - i);
		resolv_search_add(c, p + i, n);
		if (one)
			break;
	}
}

/* The value after a keyword and at least one blank. */
static bool keyword(const struct line *l, const char *word, const char **p, size_t *len)
{
	size_t n = strlen(word);

	if (!starts(l, word) || l->len == n || blanks(l->p + n, 1) == 0)
		return false;
	n += blanks(l->p + n, l->len - n);
	*p = l->p + n;
	*len = l->len - n;
	return true;
}

static bool clean_line(const struct line *l)
{
	if (l->len > LINE_CAP)
		return false;
	for (size_t i = 0; i < l->len; i++)
		if (iscntrl((unsigned char)l->p[i]) && l->p[i] != '\t' && l->p[i] != '\r')
			return false;
	return true;
}

void resolv_conf_parse(struct resolv_conf *c, const char *text, size_t len)
{
	struct resolv_server s;
	struct line l;
	size_t at = 0, n;
	const char *p;

	memset(c, 0, sizeof(*c));
	while (next_line(text, len, &at, &l)) {
		if (l.len == 0 || l.p[0] == '#' || l.p[0] == ';')
			continue;
		if (!clean_line(&l)) {
			c->n_dropped++;
		} else if (keyword(&l, "nameserver", &p, &n)) {
			if (server_parse(p, word_len(p, n), &s))
				resolv_server_add(c, &s);
			else
				c->n_dropped++;
		} else if (keyword(&l, "search", &p, &n)) {
			take_search(c, p, n, false);
		} else if (keyword(&l, "domain", &p, &n)) {
			take_search(c, p, n, true);
		} else if (keyword(&l, "options", &p, &n)) {
			take_options(c, p, n);
		}
	}
}

static void hash_hex(char out[HASH_HEX + 1], const char *p, size_t len)
{
	uint8_t h[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(h, (const uint8_t *)p, len);
	sodium_bin2hex(out, HASH_HEX + 1, h, HASH_HEX / 2);
}

struct resolv_header resolv_conf_judge(const char *text, size_t len)
{
	struct resolv_header h = {.kind = RESOLV_THEIRS};
	char head[160], was[8], hex[HASH_HEX + 1], want[HASH_HEX + 1];
	unsigned long body;
	struct line l;
	size_t at = 0;

	if (!next_line(text, len, &at, &l) || !starts(&l, HEADER))
		return h;
	h.kind = RESOLV_OURS_EDITED;
	if (l.len >= sizeof(head))
		return h;
	memcpy(head, l.p, l.len);
	head[l.len] = '\0';
	if (sscanf(head, HEADER " 1 %7s %9lu %16s", was, &body, hex) != 3)
		return h;
	h.was_missing = strcmp(was, "missing") == 0;
	if (len - at < body)
		return h;
	hash_hex(want, text + at, body);
	while (len - at > body && text[len - 1] == '\n')
		len--; /* a write in place leaves these until it cuts them */
	if (len - at == body && strcmp(hex, want) == 0)
		h.kind = RESOLV_OURS;
	return h;
}

/* ---- writing ---- */

struct text {
	char *p;
	size_t len, cap;
	bool full;
};

static void put_bytes(struct text *t, const char *p, size_t len)
{
	if (t->full || len > t->cap - t->len) {
		t->full = true;
		return;
	}
	memcpy(t->p + t->len, p, len);
	t->len += len;
}

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *fmt, ...)
{
	char line[LINE_CAP];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		t->full = true;
	else
		put_bytes(t, line, (size_t)n);
}

size_t resolv_conf_render(char *out, size_t cap, const struct ipaddr *server, uint32_t n_servers,
			  const char *search, const struct resolv_conf *old, const char *backup,
			  bool was_missing)
{
	/* The header's length is known beforehand: its numbers have fixed widths. */
	enum { HEAD_LEN = sizeof(HEADER " 1 missing 000000000 0123456789abcdef\n") - 1 };
	struct text t = {.p = out, .cap = cap};
	char hex[HASH_HEX + 1], ip[IPADDR_STRLEN], head[HEAD_LEN + 1];

	if (cap < HEAD_LEN)
		return 0;
	t.len = HEAD_LEN;
	put(&t, NOTE "what was here is in %.900s and comes back when the tunnel goes.\n", backup);
	for (uint32_t i = 0; i < n_servers; i++)
		put(&t, "nameserver %s\n", ipaddr_fmt(&server[i], ip));
	if (search[0] || old->n_search)
		put(&t, "search");
	if (search[0])
		put(&t, " %s", search);
	for (uint32_t i = 0; i < old->n_search; i++)
		if (strcasecmp(old->search[i], search) != 0)
			put(&t, " %s", old->search[i]);
	if (search[0] || old->n_search)
		put(&t, "\n");
	put(&t, "options ndots:1%s%s\n", old->options[0] ? " " : "", old->options);
	if (t.full)
		return 0;
	hash_hex(hex, out + HEAD_LEN, t.len - HEAD_LEN);
	snprintf(head, sizeof(head), HEADER " 1 %s %09zu %s\n", was_missing ? "missing" : "saved  ",
		 t.len - HEAD_LEN, hex);
	memcpy(out, head, HEAD_LEN);
	return t.len;
}

static bool is_our_server(const struct line *l)
{
	struct resolv_server s;
	const char *p;
	size_t n;

	return keyword(l, "nameserver", &p, &n) && server_parse(p, word_len(p, n), &s) &&
	       dns_in_sentinel_range(&s.at.ip);
}

size_t resolv_conf_strip(char *out, size_t cap, const char *text, size_t len, const char *before,
			 size_t before_len)
{
	struct text t = {.p = out, .cap = cap};
	struct line l;
	size_t n;
	const char *p;

	for (size_t at = 0; next_line(before, before_len, &at, &l);)
		if (keyword(&l, "nameserver", &p, &n)) {
			put_bytes(&t, l.p, l.len);
			put_bytes(&t, "\n", 1);
		}
	for (size_t at = 0; next_line(text, len, &at, &l);)
		if (!starts(&l, HEADER) && !starts(&l, NOTE) && !is_our_server(&l) && l.len)
			put_bytes(&t, l.p, l.size);
	return t.full ? 0 : t.len;
}
