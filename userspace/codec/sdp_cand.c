/* SPDX-License-Identifier: Apache-2.0
 * See sdp_cand.h. A tokenizer over space-separated words; the grammar reads top to bottom. */
#include "codec/sdp_cand.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const kind_names[] = {[CAND_HOST] = "host",
					 [CAND_SRFLX] = "srflx",
					 [CAND_PRFLX] = "prflx",
					 [CAND_RELAY] = "relay"};

const char *cand_kind_name(enum cand_kind kind)
{
	return kind_names[kind];
}

/* A word of the text; words are separated by exactly one space. */
struct word {
	const char *p;
	size_t len;
};

struct words {
	const char *p, *end;
	struct word cur; /* len 0: at the end */
};

static void words_next(struct words *w)
{
	const char *space;

	if (w->p < w->end && w->cur.p && *w->p == ' ')
		w->p++;
	space = memchr(w->p, ' ', (size_t)(w->end - w->p));
	w->cur.p = w->p;
	w->cur.len = (size_t)((space ? space : w->end) - w->p);
	w->p += w->cur.len;
}

static bool word_is(const struct word *w, const char *s)
{
	return w->len == strlen(s) && !memcmp(w->p, s, w->len);
}

/* Take the current word as text of at most cap-1 bytes. */
static bool take_text(struct words *w, char *out, size_t cap)
{
	if (!w->cur.len || w->cur.len >= cap)
		return false;
	memcpy(out, w->cur.p, w->cur.len);
	out[w->cur.len] = 0;
	words_next(w);
	return true;
}

/* Take a decimal number without sign, at most max. */
static bool take_num(struct words *w, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (!w->cur.len || w->cur.len > 10)
		return false;
	for (size_t i = 0; i < w->cur.len; i++) {
		char c = w->cur.p[i];

		if (c < '0' || c > '9')
			return false;
		v = v * 10 + (uint64_t)(c - '0');
	}
	if (v > max)
		return false;
	*out = v;
	words_next(w);
	return true;
}

static bool take_addr(struct words *w, struct ipaddr *out)
{
	char text[IPADDR_STRLEN];

	return take_text(w, text, sizeof(text)) && !ipaddr_parse(text, out);
}

static bool take_port(struct words *w, uint16_t *out)
{
	uint64_t v;

	if (!take_num(w, 65535, &v))
		return false;
	*out = (uint16_t)v;
	return true;
}

static bool take_word(struct words *w, const char *s)
{
	if (!word_is(&w->cur, s))
		return false;
	words_next(w);
	return true;
}

static bool take_kind(struct words *w, enum cand_kind *out)
{
	for (unsigned k = 0; k < sizeof(kind_names) / sizeof(*kind_names); k++)
		if (take_word(w, kind_names[k])) {
			*out = (enum cand_kind)k;
			return true;
		}
	return false;
}

/* An optional "name value" whose value we do not need. */
static bool skip_pair(struct words *w, const char *name)
{
	if (!take_word(w, name))
		return true;
	if (!w->cur.len)
		return false;
	words_next(w);
	return true;
}

static bool parse_optional(struct words *w, struct sdp_cand *c)
{
	if (!skip_pair(w, "tcptype"))
		return false;
	if (take_word(w, "raddr")) {
		c->has_raddr = true;
		if (!take_addr(w, &c->raddr.ip) || !take_word(w, "rport") ||
		    !take_port(w, &c->raddr.port))
			return false;
	}
	if (!skip_pair(w, "generation") || !skip_pair(w, "network-id"))
		return false;
	if (take_word(w, "ufrag") && !take_text(w, c->ufrag, sizeof(c->ufrag)))
		return false;
	return skip_pair(w, "network-cost") && w->p == w->end && !w->cur.len;
}

static bool text_clean(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

int sdp_cand_parse(const char *text, size_t len, struct sdp_cand *out)
{
	static const char prefix[] = "candidate:";
	struct words w = {.p = text, .end = text + len};
	struct sdp_cand c = {0};
	char transport[8];
	uint64_t num;

	if (len >= SDP_CAND_STRLEN || len < sizeof(prefix) - 1 || !text_clean(text, len) ||
	    memcmp(text, prefix, sizeof(prefix) - 1))
		return -EBADMSG;
	w.p += sizeof(prefix) - 1;
	words_next(&w);
	if (!take_text(&w, c.foundation, sizeof(c.foundation)) || !take_num(&w, 256, &num))
		return -EBADMSG;
	c.component = (uint16_t)num;
	if (!take_text(&w, transport, sizeof(transport)) || !take_num(&w, UINT32_MAX, &num))
		return -EBADMSG;
	c.prio = (uint32_t)num;
	if (!take_addr(&w, &c.addr.ip) || !take_port(&w, &c.addr.port) || !take_word(&w, "typ") ||
	    !take_kind(&w, &c.kind) || !parse_optional(&w, &c))
		return -EBADMSG;
	if (strcasecmp(transport, "udp"))
		return -EPROTO;
	*out = c;
	return 0;
}

int sdp_cand_fmt(const struct sdp_cand *c, char *buf, size_t cap)
{
	char ip[IPADDR_STRLEN], rip[IPADDR_STRLEN], tail[IPADDR_STRLEN + 24] = "";
	int n;

	if (c->has_raddr)
		snprintf(tail, sizeof(tail), " raddr %s rport %u", ipaddr_fmt(&c->raddr.ip, rip),
			 c->raddr.port);
	n = snprintf(buf, cap, "candidate:%s %u udp %u %s %u typ %s%s%s%s", c->foundation,
		     c->component, c->prio, ipaddr_fmt(&c->addr.ip, ip), c->addr.port,
		     cand_kind_name(c->kind), tail, c->ufrag[0] ? " ufrag " : "", c->ufrag);
	return n < 0 || (size_t)n >= cap ? -EMSGSIZE : 0;
}
