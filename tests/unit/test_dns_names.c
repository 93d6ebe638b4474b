/* SPDX-License-Identifier: Apache-2.0
 *
 * Proxy addresses and sentinels: order, exclusions, exhaustion, reverse lookup, and both against
 * plain models. */
#include <stdlib.h>
#include "base/bytes.h"
#include "core/tunnel/dns_names.h"
#include "core/tunnel/dns_sentinel.h"
#include "tests/t.h"

#define MODEL_NAMES 600

static struct dns_names names;

static void names_setup(uint32_t cap)
{
	static struct dns_assigned *list;
	static struct idx_cell *cells;
	uint32_t cell_cap = DNS_NAMES_CELLS(cap);

	free(list);
	free(cells);
	list = calloc(cap, sizeof(*list));
	cells = calloc(cell_cap, sizeof(*cells));
	dns_names_init(&names, list, cap, cells, cell_cap, t_seed());
}

static struct uuid id(uint8_t n)
{
	return (struct uuid){.b = {n}};
}

static uint32_t assign(const char *domain, uint8_t resource, enum dns_stack stack)
{
	struct uuid r = id(resource);

	return dns_names_assign(&names, domain, &r, stack);
}

static const char *address(uint32_t slot, uint8_t family, uint32_t n)
{
	static char text[4][IPADDR_STRLEN];
	static unsigned turn;
	struct ipaddr ips[DNS_NAME_PROXIES];
	uint32_t count = dns_names_addresses(&names, slot, family, ips);

	return n < count ? ipaddr_fmt(&ips[n], text[turn++ % 4]) : "none";
}

static uint32_t reverse(const char *text)
{
	struct ipaddr a;

	T_EQ(ipaddr_parse(text, &a), 0);
	return dns_names_by_address(&names, &a);
}

static void test_first_addresses(void)
{
	uint32_t a, b;

	names_setup(8);
	a = assign("example.com", 1, DNS_STACK_DUAL);
	b = assign("foo.example.com", 1, DNS_STACK_DUAL);
	T_STR(address(a, 0, 0), "100.96.0.1");
	T_STR(address(a, 0, 3), "100.96.0.4");
	T_STR(address(a, 0, 4), "fd00:2021:1111:8000::");
	T_STR(address(a, 0, 7), "fd00:2021:1111:8000::3");
	T_STR(address(a, 0, 8), "none");
	T_STR(address(b, 4, 0), "100.96.0.5");
	T_STR(address(b, 6, 3), "fd00:2021:1111:8000::7");
	T_STR(address(b, 6, 4), "none");
}

static void test_assignment_is_kept(void)
{
	struct uuid r = id(1);
	uint32_t a;

	names_setup(8);
	a = assign("Example.COM", 1, DNS_STACK_DUAL);
	T_EQ(assign("example.com", 1, DNS_STACK_DUAL), a);
	T_EQ(dns_names_find(&names, "EXAMPLE.com", &r), a);
	T_STR(dns_names_at(&names, a)->domain, "example.com");
	T(assign("example.com", 2, DNS_STACK_DUAL) != a);
	T_EQ(names.count, 2);
	T_EQ(dns_names_find(&names, "other", &r), DNS_NAMES_NONE);
	T_EQ(assign("", 1, DNS_STACK_DUAL), DNS_NAMES_NONE);
}

static void test_stacks(void)
{
	uint32_t a, b;

	names_setup(8);
	a = assign("a", 1, DNS_STACK_V4);
	b = assign("b", 1, DNS_STACK_V6);
	T_STR(address(a, 0, 3), "100.96.0.4");
	T_STR(address(a, 0, 4), "none");
	T_STR(address(b, 0, 0), "fd00:2021:1111:8000::");
	T_STR(address(b, 0, 4), "none");
	/* The resource is dual now: what it has stays, the other family comes. */
	T_EQ(assign("a", 1, DNS_STACK_DUAL), a);
	T_STR(address(a, 4, 0), "100.96.0.1");
	T_STR(address(a, 6, 0), "fd00:2021:1111:8000::4");
	T_EQ(reverse("fd00:2021:1111:8000::7"), a);
}

static void test_reverse(void)
{
	uint32_t a, b;

	names_setup(8);
	a = assign("a", 1, DNS_STACK_DUAL);
	b = assign("b", 1, DNS_STACK_DUAL);
	T_EQ(reverse("100.96.0.4"), a);
	T_EQ(reverse("100.96.0.5"), b);
	T_EQ(reverse("fd00:2021:1111:8000::"), a);
	T_EQ(reverse("fd00:2021:1111:8000::7"), b);
	T_EQ(reverse("100.96.0.0"), DNS_NAMES_NONE);
	T_EQ(reverse("100.96.0.9"), DNS_NAMES_NONE);
	T_EQ(reverse("100.95.255.255"), DNS_NAMES_NONE);
	T_EQ(reverse("10.0.0.1"), DNS_NAMES_NONE);
	T_EQ(reverse("fd00:2021:1111:8000::8"), DNS_NAMES_NONE);
}

/* The sentinels' /24 lies inside the range and is stepped over, also in the middle of four. */
static void test_sentinel_range_is_skipped(void)
{
	uint32_t a, b;

	names_setup(8);
	names.next_v4 = 0x046f00 - 3;
	a = assign("a", 1, DNS_STACK_V4);
	b = assign("b", 1, DNS_STACK_V4);
	T_STR(address(a, 4, 0), "100.100.110.253");
	T_STR(address(a, 4, 2), "100.100.110.255");
	T_STR(address(a, 4, 3), "100.100.112.0");
	T_STR(address(b, 4, 0), "100.100.112.1");
	T_EQ(reverse("100.100.112.0"), a);
	T_EQ(reverse("100.100.111.1"), DNS_NAMES_NONE);
}

static void test_range_exhaustion(void)
{
	uint32_t a;

	names_setup(8);
	names.next_v4 = 0x1ffffb; /* .251 … .254 are left, .255 is the broadcast address */
	a = assign("a", 1, DNS_STACK_V4);
	T_STR(address(a, 4, 3), "100.127.255.254");
	T_EQ(assign("b", 1, DNS_STACK_V4), DNS_NAMES_NONE);
	T_EQ(names.full, 1);
	T(assign("c", 1, DNS_STACK_V6) != DNS_NAMES_NONE);
	T_EQ(assign("d", 1, DNS_STACK_DUAL), DNS_NAMES_NONE); /* no half assignments */
	T_EQ(names.next_v6, 4);
	names.next_v6 = 0x1ffffc;
	a = assign("e", 1, DNS_STACK_V6);
	T_STR(address(a, 6, 3), "fd00:2021:1111:8000::1f:ffff");
	T_EQ(assign("f", 1, DNS_STACK_V6), DNS_NAMES_NONE);
	T_EQ(names.full, 3);
	T_EQ(assign("a", 1, DNS_STACK_V4), 0); /* who has some keeps them */
}

static void test_table_exhaustion(void)
{
	names_setup(2);
	T_EQ(assign("a", 1, DNS_STACK_DUAL), 0);
	T_EQ(assign("b", 1, DNS_STACK_DUAL), 1);
	T_EQ(assign("c", 1, DNS_STACK_DUAL), DNS_NAMES_NONE);
	T_EQ(names.full, 1);
	T_EQ(assign("b", 1, DNS_STACK_DUAL), 1);
}

static void test_proxy_range(void)
{
	static const struct {
		const char *text;
		bool in;
	} rows[] = {
		{"100.96.0.0", true},
		{"100.127.255.255", true},
		{"100.95.255.255", false},
		{"100.128.0.0", false},
		{"100.100.111.1", false},
		{"100.100.110.255", true},
		{"100.100.112.0", true},
		{"100.100.111.255", false},
		{"fd00:2021:1111:8000::", true},
		{"fd00:2021:1111:8000::1f:ffff", true},
		{"fd00:2021:1111:8000::20:0", false},
		{"fd00:2021:1111:8000:100:100:111:0", false},
		{"fd00:2021:1111::1", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ipaddr a;

		T_EQ(ipaddr_parse(rows[i].text, &a), 0);
		if (!T(dns_in_proxy_range(&a) == rows[i].in))
			t_note("%s", rows[i].text);
	}
}

/* ---- model: every address written down with its owner ---- */
struct owned {
	char domain[16];
	uint8_t resource;
	struct ipaddr ips[DNS_NAME_PROXIES];
	uint32_t count;
};

static struct owned model[MODEL_NAMES];
static uint32_t model_count;

static struct owned *model_find(const char *domain, uint8_t resource)
{
	for (uint32_t i = 0; i < model_count; i++)
		if (!strcmp(model[i].domain, domain) && model[i].resource == resource)
			return &model[i];
	return NULL;
}

static uint32_t model_owners(const struct ipaddr *a, uint32_t *owner)
{
	uint32_t owners = 0;

	for (uint32_t i = 0; i < model_count; i++)
		for (uint32_t k = 0; k < model[i].count; k++)
			if (ipaddr_eq(&model[i].ips[k], a)) {
				*owner = i;
				owners++;
			}
	return owners;
}

static void test_model(void)
{
	static const enum dns_stack stacks[] = {DNS_STACK_DUAL, DNS_STACK_V4, DNS_STACK_V6};
	uint64_t seed = t_seed();

	names_setup(MODEL_NAMES);
	model_count = 0;
	names.next_v4 = 0x046f00 - 1001;
	for (int step = 0; step < 20000; step++) {
		char domain[16];
		uint8_t resource = (uint8_t)(t_rand(&seed) % 3);
		struct ipaddr ips[DNS_NAME_PROXIES];
		struct owned *o;
		uint32_t slot, n;

		snprintf(domain, sizeof(domain), "n%u.x", (unsigned)(t_rand(&seed) % 250));
		o = model_find(domain, resource);
		slot = assign(domain, resource, stacks[resource]);
		if (!o && model_count == MODEL_NAMES) {
			T_EQ(slot, DNS_NAMES_NONE);
			continue;
		}
		n = dns_names_addresses(&names, slot, 0, ips);
		if (o) {
			T_EQ(o->count, n);
			T_MEM(o->ips, ips, n * sizeof(*ips));
			continue;
		}
		T_EQ(n, stacks[resource] == DNS_STACK_DUAL ? 8 : 4);
		o = &model[model_count++];
		*o = (struct owned){.resource = resource, .count = n};
		memcpy(o->domain, domain, sizeof(domain));
		memcpy(o->ips, ips, n * sizeof(*ips));
		for (uint32_t k = 0; k < n; k++) {
			uint32_t owner = 0;

			T_EQ(model_owners(&ips[k], &owner), 1);
			T(dns_in_proxy_range(&ips[k]) && !dns_in_sentinel_range(&ips[k]));
			T_EQ(dns_names_by_address(&names, &ips[k]), slot);
		}
	}
	T_EQ(model_count, MODEL_NAMES);
	T_EQ(names.count, MODEL_NAMES);
}

/* ---- sentinels ---- */
static struct endpoint server(const char *text)
{
	struct endpoint e = {0};

	T_EQ(endpoint_parse(text, &e), 0);
	return e;
}

static const char *sentinel(const struct dns_sentinels *s, uint32_t i)
{
	static char text[4][IPADDR_STRLEN];
	static unsigned turn;

	return ipaddr_fmt(&s->list[i].sentinel, text[turn++ % 4]);
}

static void test_sentinels_first(void)
{
	struct endpoint up[] = {server("1.1.1.1:53"), server("[2606:4700::1]:53"),
				server("9.9.9.9:5353")};
	struct dns_sentinels s;
	const struct dns_upstream *u;

	dns_sentinels_init(&s);
	T(dns_sentinels_update(&s, up, 3, NULL, 0));
	T_EQ(s.count, 3);
	T_STR(sentinel(&s, 0), "100.100.111.1");
	T_STR(sentinel(&s, 1), "fd00:2021:1111:8000:100:100:111:0");
	T_STR(sentinel(&s, 2), "100.100.111.2");
	u = dns_sentinels_find(&s, &s.list[2].sentinel);
	T(u && endpoint_eq(&u->at, &up[2])); /* the port is the upstream's own */
	T(!dns_sentinels_find(&s, &up[0].ip));
}

static void test_sentinels_same_set_stays(void)
{
	struct endpoint up[] = {server("1.1.1.1:53"), server("9.9.9.9:53")};
	struct endpoint swapped[] = {up[1], up[0], up[1]};
	struct dns_sentinels s;

	dns_sentinels_init(&s);
	T(dns_sentinels_update(&s, up, 2, NULL, 0));
	T(!dns_sentinels_update(&s, swapped, 3, NULL, 0));
	T_STR(sentinel(&s, 0), "100.100.111.1");
	T_EQ(s.generation, 1);
}

static void test_sentinels_change_is_fresh(void)
{
	struct endpoint up[] = {server("1.1.1.1:53"), server("9.9.9.9:53")};
	struct dns_sentinels s;

	dns_sentinels_init(&s);
	T(dns_sentinels_update(&s, up, 1, NULL, 0));
	T(dns_sentinels_update(&s, up, 2, NULL, 0));
	T_STR(sentinel(&s, 0), "100.100.111.2");
	T_STR(sentinel(&s, 1), "100.100.111.3");
	T(dns_sentinels_update(&s, up + 1, 1, NULL, 0));
	T_STR(sentinel(&s, 0), "100.100.111.1");
}

static void test_sentinels_sources(void)
{
	struct endpoint up[] = {server("100.100.111.1:53"), server("8.8.8.8:53")};
	struct endpoint os[] = {server("192.168.1.1:5353"), server("100.100.111.9:53"),
				server("[fd00:2021:1111:8000:100:100:111:3]:53")};
	struct dns_sentinels s;

	dns_sentinels_init(&s);
	T(dns_sentinels_update(&s, up, 2, os, 3));
	T_EQ(s.count, 1); /* our own sentinel is nobody's upstream */
	T(s.from_portal);
	T(dns_sentinels_update(&s, up, 1, os,
			       3)); /* nothing usable of the portal's: the system's */
	T(!s.from_portal);
	T_EQ(s.count, 1);
	T_EQ(s.list[0].at.port, 5353);
	T(dns_sentinels_update(&s, NULL, 0, NULL, 0)); /* none: DNS is left alone */
	T_EQ(s.count, 0);
	T(!dns_sentinels_update(&s, NULL, 0, os + 1, 2));
}

static void test_sentinels_bounded(void)
{
	struct endpoint up[DNS_UPSTREAMS_CAP + 3];
	struct dns_sentinels s;

	for (unsigned i = 0; i < DNS_UPSTREAMS_CAP + 3; i++)
		up[i] = (struct endpoint){.ip = ipaddr_v4(1, 2, 3, (uint8_t)i), .port = 53};
	dns_sentinels_init(&s);
	T(dns_sentinels_update(&s, up, DNS_UPSTREAMS_CAP + 3, NULL, 0));
	T_EQ(s.count, DNS_UPSTREAMS_CAP);
	T_EQ(s.surplus, 3);
}

/* Any two mappings in a row share no address, no address stands for two upstreams. */
static void test_sentinels_model(void)
{
	uint64_t seed = t_seed();
	struct dns_sentinels s, old;

	dns_sentinels_init(&s);
	for (int step = 0; step < 20000; step++) {
		struct endpoint up[DNS_UPSTREAMS_CAP];
		uint32_t n = (uint32_t)(t_rand(&seed) % (DNS_UPSTREAMS_CAP + 1));

		for (uint32_t i = 0; i < n; i++) {
			up[i] = (struct endpoint){
				.ip = ipaddr_v4(1, 1, 1, (uint8_t)(t_rand(&seed) % 20 + 1)),
				.port = 53};
			if (t_rand(&seed) % 2)
				up[i].ip.family = 6;
		}
		old = s;
		if (!dns_sentinels_update(&s, up, n, NULL, 0)) {
			T_MEM(s.list, old.list, s.count * sizeof(*s.list));
			continue;
		}
		for (uint32_t i = 0; i < s.count; i++) {
			T(dns_in_sentinel_range(&s.list[i].sentinel));
			T_EQ(s.list[i].sentinel.family, s.list[i].at.ip.family);
			T(!dns_sentinels_find(&old, &s.list[i].sentinel));
			T(dns_sentinels_find(&s, &s.list[i].sentinel) == &s.list[i]);
		}
	}
}

static void test_via_tunnel_truth_table(void)
{
	for (unsigned i = 0; i < 8; i++)
		T(dns_upstream_via_tunnel(i & 4, i & 2, i & 1) == (i >= 5));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_first_addresses);
	T_RUN(test_assignment_is_kept);
	T_RUN(test_stacks);
	T_RUN(test_reverse);
	T_RUN(test_sentinel_range_is_skipped);
	T_RUN(test_range_exhaustion);
	T_RUN(test_table_exhaustion);
	T_RUN(test_proxy_range);
	T_RUN(test_model);
	T_RUN(test_sentinels_first);
	T_RUN(test_sentinels_same_set_stays);
	T_RUN(test_sentinels_change_is_fresh);
	T_RUN(test_sentinels_sources);
	T_RUN(test_sentinels_bounded);
	T_RUN(test_sentinels_model);
	T_RUN(test_via_tunnel_truth_table);
	return t_done();
}
