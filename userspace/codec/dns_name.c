/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS names: from messages and from text, compared, and read as reverse names (RFC 1035 §3.1, §3.5,
 * §4.1.4; RFC 3596 §2.5). Contracts in dns_msg.h.
 *
 * A label's length is at most 63 and no letter is below 65, so whole names are lowered and compared
 * byte by byte, lengths included. */
#include <errno.h>
#include <string.h>
#include "codec/dns_msg.h"

#define LABEL_MAX 63

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

void dns_name_lower(struct dns_name *n)
{
	for (size_t i = 0; i < n->len; i++)
		n->b[i] = lower(n->b[i]);
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (lower(a->b[i]) != lower(b->b[i]))
			return false;
	return true;
}

/* One label, or the root's empty one, behind what out has. */
static bool label_append(struct dns_name *out, const uint8_t *label, size_t len)
{
	if (out->len + 1u + len > DNS_NAME_CAP)
		return false;
	out->b[out->len] = (uint8_t)len;
	if (len)
		memcpy(out->b + out->len + 1, label, len);
	out->len = (uint8_t)(out->len + 1 + len);
	return true;
}

/* Labels run forward; each pointer goes before the start of the run it ends. So every byte is read
 * at most once per run, runs only move down, and 255 bytes end it in any case. */
enum dns_verdict dns_name_read(const uint8_t *p, size_t len, size_t *pos, struct dns_name *out)
{
	size_t at = *pos, run = at, behind = 0;
	struct dns_name n = {0};

	for (;;) {
		if (at >= len)
			return DNS_SHORT;
		if ((p[at] & 0xc0) == 0xc0) {
			size_t to;

			if (at + 1 >= len)
				return DNS_SHORT;
			to = (size_t)(p[at] & 0x3f) << 8 | p[at + 1];
			if (!behind)
				behind = at + 2;
			if (to < DNS_HEADER_LEN || to >= run)
				return DNS_BAD_NAME;
			at = run = to;
			continue;
		}
		if (p[at] > LABEL_MAX)
			return DNS_BAD_NAME;
		if (at + 1u + p[at] > len)
			return DNS_SHORT;
		if (!label_append(&n, p + at + 1, p[at]))
			return DNS_BAD_NAME;
		if (!p[at])
			break;
		at += 1u + p[at];
	}
	*pos = behind ? behind : at + 1;
	if (out)
		*out = n;
	return DNS_OK;
}

/* What a label may hold for its text to mean this name and no other. */
static bool text_char(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != '.' && c != '\\';
}

int dns_name_parse(const char *text, struct dns_name *out)
{
	size_t len = strnlen(text, DNS_TEXT_CAP), from = 0;
	struct dns_name n = {0};

	if (len && text[len - 1] == '.')
		len--;
	if (len >= DNS_TEXT_CAP || (!len && text[0] != '.'))
		return -EINVAL;
	for (size_t i = 0; len && i <= len; i++) {
		if (i < len && text[i] != '.') {
			if (!text_char((uint8_t)text[i]))
				return -EINVAL;
			continue;
		}
		if (i == from || i - from > LABEL_MAX ||
		    !label_append(&n, (const uint8_t *)text + from, i - from))
			return -EINVAL;
		from = i + 1;
	}
	if (!label_append(&n, NULL, 0))
		return -EINVAL;
	*out = n;
	return 0;
}

int dns_name_text(const struct dns_name *n, char out[DNS_TEXT_CAP])
{
	size_t at = 0, len = 0;

	out[0] = 0;
	while (at < n->len && n->b[at]) {
		uint8_t label = n->b[at++];

		if (len)
			out[len++] = '.';
		for (; label; label--, at++) {
			if (!text_char(n->b[at])) {
				out[0] = 0;
				return -EINVAL;
			}
			out[len++] = (char)n->b[at];
		}
	}
	out[len] = 0;
	return 0;
}

/* Decimal 0..255 without leading zeros. */
static int octet(const uint8_t *label, uint8_t *out)
{
	unsigned v = 0;

	if (!label[0] || label[0] > 3 || (label[0] > 1 && label[1] == '0'))
		return -EINVAL;
	for (size_t i = 1; i <= label[0]; i++) {
		if (label[i] < '0' || label[i] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(label[i] - '0');
	}
	*out = (uint8_t)v;
	return v > 255 ? -EINVAL : 0;
}

static int nibble(const uint8_t *label, uint8_t *out)
{
	uint8_t c = lower(label[1]);

	if (label[0] != 1)
		return -EINVAL;
	if (c >= '0' && c <= '9')
		*out = (uint8_t)(c - '0');
	else if (c >= 'a' && c <= 'f')
		*out = (uint8_t)(c - 'a' + 10);
	else
		return -EINVAL;
	return 0;
}

static bool rest_is(const struct dns_name *n, size_t at, const char *wire, size_t len)
{
	if ((size_t)n->len - at != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (lower(n->b[at + i]) != (uint8_t)wire[i])
			return false;
	return true;
}

int dns_name_reverse(const struct dns_name *n, struct ipaddr *out)
{
	static const char in_addr[] = "\7in-addr\4arpa", ip6[] = "\3ip6\4arpa";
	uint8_t b[16] = {0}, v;
	size_t at = 0, i;

	for (i = 0; i < 4 && !octet(n->b + at, &b[3 - i]); i++)
		at += 1u + n->b[at];
	if (i == 4 && rest_is(n, at, in_addr, sizeof(in_addr))) {
		*out = ipaddr_from(4, b);
		return 0;
	}
	memset(b, 0, sizeof(b));
	for (at = i = 0; i < 32 && !nibble(n->b + at, &v); i++, at += 2)
		b[15 - i / 2] |= (uint8_t)(i % 2 ? v << 4 : v);
	if (i < 32 || !rest_is(n, at, ip6, sizeof(ip6)))
		return -EINVAL;
	*out = ipaddr_from(6, b);
	return 0;
}
