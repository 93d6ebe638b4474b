/* SPDX-License-Identifier: Apache-2.0 */
#include "base/netset.h"
#include <string.h>

/* Leading bits that both have, no more than either is long. */
static uint8_t common(const struct ipnet *a, const struct ipnet *b)
{
	uint8_t most = a->len < b->len ? a->len : b->len, n = 0;

	while (n < most && !((a->ip.b[n / 8] ^ b->ip.b[n / 8]) & (0x80 >> n % 8)))
		n++;
	return n;
}

static struct ipnet shorten(const struct ipnet *net, uint8_t len)
{
	struct ipnet out = *net;

	out.len = len;
	for (unsigned i = len; i < 128; i++)
		out.ip.b[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	return out;
}

static void drop(struct netset *s, size_t i)
{
	memmove(&s->net[i], &s->net[i + 1], (s->len - i - 1) * sizeof(*s->net));
	s->len--;
}

static void merge_nearest(struct netset *s)
{
	size_t at = 0, with = 1;
	uint8_t best = 0;
	struct ipnet both;

	for (size_t i = 0; i < s->len; i++)
		for (size_t k = i + 1; k < s->len; k++) {
			uint8_t n = common(&s->net[i], &s->net[k]);

			if (n > best) {
				best = n;
				at = i;
				with = k;
			}
		}
	both = shorten(&s->net[at], best);
	drop(s, with);
	drop(s, at);
	netset_add(s, &both);
}

static bool covered(const struct netset *s, const struct ipnet *net)
{
	for (size_t i = 0; i < s->len; i++)
		if (s->net[i].len <= net->len && ipnet_contains(&s->net[i], &net->ip))
			return true;
	return false;
}

void netset_add(struct netset *s, const struct ipnet *net)
{
	while (!covered(s, net)) {
		for (size_t i = s->len; i-- > 0;)
			if (ipnet_contains(net, &s->net[i].ip))
				drop(s, i);
		if (s->len < NETSET_MAX) {
			s->net[s->len++] = *net;
			return;
		}
		merge_nearest(s); /* and what it made may cover this one */
	}
}

void netset_reduce(struct netset *s, size_t cap)
{
	while (s->len > cap && s->len > 1)
		merge_nearest(s);
}

bool netset_contains(const struct netset *s, const struct ipaddr *ip)
{
	for (size_t i = 0; i < s->len; i++)
		if (ipnet_contains(&s->net[i], ip))
			return true;
	return false;
}
