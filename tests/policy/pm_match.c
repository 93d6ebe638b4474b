/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns, networks and filters as the specification has them (tunnel §1.2, §2.3, §2.10). */
#include <ctype.h>
#include "tests/policy/pm.h"

/* ---- patterns ---- */
static size_t label_len(const char *s)
{
	return strcspn(s, ".");
}

static bool label_match(const char *p, size_t pn, const char *s, size_t sn)
{
	if (!pn)
		return !sn;
	if (*p == '*')
		return label_match(p + 1, pn - 1, s, sn) ||
		       (sn && label_match(p, pn, s + 1, sn - 1));
	return sn && (*p == '?' || tolower(*p) == tolower(*s)) &&
	       label_match(p + 1, pn - 1, s + 1, sn - 1);
}

static const char *behind(const char *s, size_t label)
{
	return s[label] ? s + label + 1 : NULL;
}

/* NULL: no labels. */
static bool labels_match(const char *p, const char *s)
{
	size_t pn = p ? label_len(p) : 0, sn = s ? label_len(s) : 0;

	if (!p)
		return !s;
	if (pn == 2 && !strncmp(p, "**", 2))
		return labels_match(behind(p, 2), s) || (s && labels_match(p, behind(s, sn)));
	return s && label_match(p, pn, s, sn) && labels_match(behind(p, pn), behind(s, sn));
}

bool pm_pattern_match(const char *pattern, const char *name)
{
	if (labels_match(pattern, name))
		return true;
	return !strncmp(pattern, "*.", 2) && !strcasecmp(pattern + 2, name);
}

static int wild(char c)
{
	return c == '*' ? 2 : c == '?';
}

int pm_pattern_order(const char *a, const char *b)
{
	size_t i = strlen(a), j = strlen(b);

	while (i && j) {
		char x = a[--i], y = b[--j];

		if (x == y)
			continue;
		if (wild(x) || wild(y))
			return wild(x) - wild(y);
		return x > y ? -1 : 1;
	}
	/* one is exhausted: the shorter first, unless what is left of the other decides */
	return i ? 1 : j ? -1 : 0;
}

/* ---- networks ---- */
bool pm_in(const char *net, const struct ipaddr *a)
{
	struct ipnet n;

	if (ipnet_parse(net, &n) || n.ip.family != a->family)
		return false;
	for (unsigned bit = 0; bit < n.len; bit++)
		if ((a->b[bit / 8] ^ n.ip.b[bit / 8]) & 0x80 >> bit % 8)
			return false;
	return true;
}

static bool in_any(const char *const *nets, const struct ipaddr *a)
{
	for (; *nets; nets++)
		if (pm_in(*nets, a))
			return true;
	return false;
}

bool pm_reserved(const struct ipaddr *a)
{
	static const char *const nets[] = {"100.64.0.0/10", "fd00:2021:1111::/48", NULL};

	return in_any(nets, a);
}

bool pm_proxy_range(const struct ipaddr *a)
{
	static const char *const nets[] = {"100.96.0.0/11", "fd00:2021:1111:8000::/107", NULL};

	return in_any(nets, a) && !pm_in("100.100.111.0/24", a);
}

static bool is_public(const struct ipaddr *a)
{
	static const char *const nets[] = {
		"0.0.0.0/8",   "10.0.0.0/8",	 "172.16.0.0/12", "192.168.0.0/16",
		"127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "224.0.0.0/4",
		"240.0.0.0/4", "::/128",	 "::1/128",	  "::ffff:0:0/96",
		"fc00::/7",    "fe80::/10",	 "ff00::/8",	  NULL};

	return !in_any(nets, a);
}

bool pm_covers(const struct pw_resource *r, const struct ipaddr *a)
{
	switch (r->type) {
	case TUNNEL_RESOURCE_CIDR:
		return pm_in(r->address, a);
	case TUNNEL_RESOURCE_INTERNET:
		return is_public(a);
	case TUNNEL_RESOURCE_DNS:
		break;
	}
	return false;
}

int pm_prefix(const struct pw_resource *r)
{
	struct ipnet n;

	return r->type == TUNNEL_RESOURCE_CIDR && !ipnet_parse(r->address, &n) ? n.len : 0;
}

/* ---- filters ---- */
static bool is_icmp(const struct ip_meta *m)
{
	return m->proto == (m->family == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6);
}

bool pm_permits(const struct pw_resource *r, const struct ip_meta *m, bool to_resource)
{
	uint16_t port = to_resource ? m->dport : m->sport;

	if (r->type == TUNNEL_RESOURCE_INTERNET || !r->filter_count)
		return true;
	for (uint8_t i = 0; i < r->filter_count; i++) {
		const struct pw_filter *f = &r->filters[i];

		if (f->proto == IP_PROTO_ICMP
			    ? is_icmp(m)
			    : f->proto == m->proto && f->first <= port && port <= f->last)
			return true;
	}
	return false;
}

uint8_t pm_kind(const struct ip_meta *m, bool from_client, uint16_t *port)
{
	if (m->proto == IP_PROTO_TCP || m->proto == IP_PROTO_UDP) {
		*port = from_client ? m->sport : m->dport;
		return m->proto;
	}
	*port = m->icmp_id;
	return is_icmp(m) && m->l4 == IP_L4_ICMP_ECHO ? IP_PROTO_ICMP : 0;
}
