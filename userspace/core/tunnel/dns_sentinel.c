/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentinels and upstreams; contracts in dns_sentinel.h. */
#include "core/tunnel/dns_sentinel.h"

#include <string.h>

static const struct ipnet sentinel_v4 = {.ip = {.family = 4, .b = {100, 100, 111}}, .len = 24};
static const struct ipnet sentinel_v6 = {
	.ip = {.family = 6, .b = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, 0x80, 0, 1, 0, 1, 0, 1, 0x11}},
	.len = 120};

/* More than two full mappings of one family fit a range, so a fresh address is always there. */
_Static_assert(2 * DNS_UPSTREAMS_CAP < 254, "sentinel range");

bool dns_in_sentinel_range(const struct ipaddr *a)
{
	return ipnet_contains(&sentinel_v4, a) || ipnet_contains(&sentinel_v6, a);
}

void dns_sentinels_init(struct dns_sentinels *s)
{
	*s = (struct dns_sentinels){0};
}

bool dns_upstream_via_tunnel(bool from_portal, bool internet_active, bool cidr_covers)
{
	return from_portal && (internet_active || cidr_covers);
}

const struct dns_upstream *dns_sentinels_find(const struct dns_sentinels *s,
					      const struct ipaddr *sentinel)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (ipaddr_eq(&s->list[i].sentinel, sentinel))
			return &s->list[i];
	return NULL;
}

static bool has_upstream(const struct dns_upstream *list, uint32_t count, const struct endpoint *e)
{
	for (uint32_t i = 0; i < count; i++)
		if (endpoint_eq(&list[i].at, e))
			return true;
	return false;
}

/* An upstream to be, if it is usable and new. */
static void collect(struct dns_sentinels *s, struct dns_upstream *list, uint32_t *count,
		    const struct endpoint *e)
{
	if ((e->ip.family != 4 && e->ip.family != 6) || !e->port || dns_in_sentinel_range(&e->ip) ||
	    ipaddr_is_unspecified(&e->ip) || ipaddr_is_multicast(&e->ip) ||
	    has_upstream(list, *count, e))
		return;
	if (*count == DNS_UPSTREAMS_CAP) {
		s->surplus++;
		return;
	}
	list[(*count)++] = (struct dns_upstream){.at = *e};
}

static bool sentinel_used(const struct dns_upstream *list, uint32_t count, const struct ipaddr *a)
{
	for (uint32_t i = 0; i < count; i++)
		if (ipaddr_eq(&list[i].sentinel, a))
			return true;
	return false;
}

/* The first address of the family that neither the old mapping nor the new one up to here has. */
static struct ipaddr allocate(const struct dns_sentinels *old, const struct dns_upstream *list,
			      uint32_t done, uint8_t family)
{
	struct ipaddr a = family == 4 ? sentinel_v4.ip : sentinel_v6.ip;
	uint8_t *last = &a.b[family == 4 ? 3 : 15];

	for (*last = family == 4 ? 1 : 0;
	     sentinel_used(old->list, old->count, &a) || sentinel_used(list, done, &a);)
		++*last;
	return a;
}

bool dns_sentinels_update(struct dns_sentinels *s, const struct endpoint *portal,
			  uint32_t portal_count, const struct endpoint *system,
			  uint32_t system_count)
{
	struct dns_upstream list[DNS_UPSTREAMS_CAP];
	uint32_t count = 0, same = 0;

	for (uint32_t i = 0; i < portal_count; i++)
		collect(s, list, &count, &portal[i]);
	s->from_portal = count > 0;
	for (uint32_t i = 0; !s->from_portal && i < system_count; i++)
		collect(s, list, &count, &system[i]);
	for (uint32_t i = 0; i < count; i++)
		same += has_upstream(s->list, s->count, &list[i].at);
	if (same == count && count == s->count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		list[i].sentinel = allocate(s, list, i, list[i].at.ip.family);
	memcpy(s->list, list, count * sizeof(*list));
	s->count = count;
	s->generation++;
	return true;
}
