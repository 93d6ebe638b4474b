/* SPDX-License-Identifier: Apache-2.0
 * See addr.h. Text conversion is libc's inet_pton/inet_ntop, which know RFC 5952. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int af(uint8_t family)
{
	return family == 4 ? AF_INET : AF_INET6;
}

struct ipaddr ipaddr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct ipaddr){.family = 4, .b = {a, b, c, d}};
}

bool ipaddr_eq(const struct ipaddr *a, const struct ipaddr *b)
{
	return a->family == b->family && !memcmp(a->b, b->b, sizeof(a->b));
}

bool ipaddr_is_unspecified(const struct ipaddr *a)
{
	static const uint8_t zero[16];

	return !memcmp(a->b, zero, sizeof(zero));
}

bool ipaddr_is_loopback(const struct ipaddr *a)
{
	static const uint8_t lo6[16] = {[15] = 1};

	return a->family == 4 ? a->b[0] == 127 : !memcmp(a->b, lo6, sizeof(lo6));
}

bool ipaddr_is_multicast(const struct ipaddr *a)
{
	if (a->family == 4)
		return a->b[0] >= 224 && (a->b[0] < 240 || !memcmp(a->b, "\xff\xff\xff\xff", 4));
	return a->b[0] == 0xff;
}

bool ipaddr_is_link_local(const struct ipaddr *a)
{
	if (a->family == 4)
		return a->b[0] == 169 && a->b[1] == 254;
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

int ipaddr_parse(const char *text, struct ipaddr *out)
{
	struct ipaddr a = {.family = strchr(text, ':') ? 6 : 4};

	if (inet_pton(af(a.family), text, a.b) != 1)
		return -EINVAL;
	*out = a;
	return 0;
}

const char *ipaddr_fmt(const struct ipaddr *a, char *buf)
{
	if (!a->family || !inet_ntop(af(a->family), a->b, buf, IPADDR_STRLEN))
		memcpy(buf, "none", 5);
	return buf;
}

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && ipaddr_eq(&a->ip, &b->ip);
}

/* Decimal 0..max with nothing around it. */
static int parse_num(const char *text, unsigned max, unsigned *out)
{
	unsigned v = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(*text - '0');
		if (v > max)
			return -EINVAL;
	}
	*out = v;
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *out)
{
	struct endpoint e = {0};
	char host[IPADDR_STRLEN];
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool v6 = text[0] == '[';
	unsigned port;

	if (!colon || parse_num(colon + 1, 65535, &port))
		return -EINVAL;
	if (v6) {
		if (len < 2 || text[len - 1] != ']')
			return -EINVAL;
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = 0;
	if (ipaddr_parse(host, &e.ip) || (e.ip.family == 6) != v6)
		return -EINVAL;
	e.port = (uint16_t)port;
	*out = e;
	return 0;
}

const char *endpoint_fmt(const struct endpoint *e, char *buf)
{
	char ip[IPADDR_STRLEN];

	snprintf(buf, ENDPOINT_STRLEN, e->ip.family == 6 ? "[%s]:%u" : "%s:%u",
		 ipaddr_fmt(&e->ip, ip), e->port);
	return buf;
}

/* Do the first len bits of a and b agree? */
static bool prefix_eq(const uint8_t *a, const uint8_t *b, unsigned len)
{
	unsigned bytes = len / 8, bits = len % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !bits || !((a[bytes] ^ b[bytes]) & (0xff00 >> bits) & 0xff);
}

int ipnet_parse(const char *text, struct ipnet *out)
{
	struct ipnet n = {0};
	char host[IPADDR_STRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned plen, max;

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = 0;
	if (ipaddr_parse(host, &n.ip))
		return -EINVAL;
	plen = max = n.ip.family == 4 ? 32 : 128;
	if (slash && parse_num(slash + 1, max, &plen))
		return -EINVAL;
	for (unsigned bit = plen; bit < max; bit++)
		if (n.ip.b[bit / 8] & (0x80 >> bit % 8))
			return -EINVAL;
	n.len = (uint8_t)plen;
	*out = n;
	return 0;
}

bool ipnet_contains(const struct ipnet *net, const struct ipaddr *a)
{
	return net->ip.family == a->family && prefix_eq(net->ip.b, a->b, net->len);
}

bool ipnet_eq(const struct ipnet *a, const struct ipnet *b)
{
	return a->len == b->len && ipaddr_eq(&a->ip, &b->ip);
}

const char *ipnet_fmt(const struct ipnet *n, char *buf)
{
	char ip[IPADDR_STRLEN];

	snprintf(buf, IPNET_STRLEN, "%s/%u", ipaddr_fmt(&n->ip, ip), n->len);
	return buf;
}
