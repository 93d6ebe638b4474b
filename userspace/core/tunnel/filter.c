/* SPDX-License-Identifier: Apache-2.0
 *
 * Port ranges are kept sorted and merged, so that equal policies are equal bytes; see filter.h. */
#include "core/tunnel/filter.h"

#include <errno.h>
#include <string.h>

void filter_set_init(struct filter_set *f)
{
	memset(f, 0, sizeof(*f));
}

/* Do a and b overlap or touch? Same protocol, a not after b. */
static bool joins(const struct filter_range *a, const struct filter_range *b)
{
	return a->proto == b->proto && (uint32_t)a->last + 1 >= b->first;
}

static bool sorts_before(const struct filter_range *a, const struct filter_range *b)
{
	return a->proto != b->proto ? a->proto < b->proto : a->first < b->first;
}

/* Merge the sorted ranges in[n] into out; returns how many remain. */
static uint32_t merge(const struct filter_range *in, uint32_t n, struct filter_range *out)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (used && joins(&out[used - 1], &in[i])) {
			if (in[i].last > out[used - 1].last)
				out[used - 1].last = in[i].last;
		} else {
			out[used++] = in[i];
		}
	}
	return used;
}

int filter_set_add_ports(struct filter_set *f, uint8_t proto, uint16_t first, uint16_t last)
{
	struct filter_range add = {.first = first, .last = last, .proto = proto};
	struct filter_range all[FILTER_RANGES_CAP + 1];
	uint32_t at = 0, count;

	if ((proto != IP_PROTO_TCP && proto != IP_PROTO_UDP) || first > last)
		return -EINVAL;
	while (at < f->range_count && sorts_before(&f->ranges[at], &add))
		at++;
	memcpy(all, f->ranges, at * sizeof(*all));
	all[at] = add;
	memcpy(all + at + 1, f->ranges + at, (f->range_count - at) * sizeof(*all));
	count = merge(all, f->range_count + 1u, all);
	if (count > FILTER_RANGES_CAP)
		return -E2BIG;
	memset(f->ranges, 0, sizeof(f->ranges));
	memcpy(f->ranges, all, count * sizeof(*all));
	f->range_count = (uint8_t)count;
	f->restricted = true;
	return 0;
}

void filter_set_add_icmp(struct filter_set *f)
{
	f->icmp = true;
	f->restricted = true;
}

bool filter_set_permits(const struct filter_set *f, const struct ip_meta *m, enum filter_side side)
{
	uint16_t port = side == FILTER_TO_RESOURCE ? m->dport : m->sport;

	if (!f->restricted)
		return true;
	if (m->l4 == IP_L4_ICMP_ECHO || m->l4 == IP_L4_ICMP_ERROR || m->l4 == IP_L4_ICMP_OTHER)
		return f->icmp;
	if (m->l4 != IP_L4_TCP && m->l4 != IP_L4_UDP)
		return false;
	for (uint32_t i = 0; i < f->range_count; i++) {
		const struct filter_range *r = &f->ranges[i];

		if (r->proto == m->proto && r->first <= port && port <= r->last)
			return true;
	}
	return false;
}

bool filter_set_eq(const struct filter_set *a, const struct filter_set *b)
{
	return a->range_count == b->range_count && a->icmp == b->icmp &&
	       a->restricted == b->restricted && !memcmp(a->ranges, b->ranges, sizeof(a->ranges));
}
