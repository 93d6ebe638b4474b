/* SPDX-License-Identifier: Apache-2.0
 *
 * The stub resolver's decision table, row by row, over UDP and TCP. */
#include <errno.h>
#include "tests/unit/dns_rig.h"

#define V4_FIRST "100.96.0.1 100.96.0.2 100.96.0.3 100.96.0.4"
#define V6_FIRST                                                               \
	"fd00:2021:1111:8000:: fd00:2021:1111:8000::1 fd00:2021:1111:8000::2 " \
	"fd00:2021:1111:8000::3"

/* ---- rows ---- */
static void test_canary_any_type(void)
{
	static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_TXT, DNS_TYPE_HTTPS};

	rig_setup();
	rig_resource(4, "**.net", DNS_STACK_DUAL); /* even if it is a resource */
	for (size_t i = 0; i < 4; i++) {
		rig_ask("Use-Application-DNS.net", types[i]);
		rig_expect_code(DNS_NXDOMAIN);
	}
	T_EQ(stub.counters.canary, 4);
	rig_ask("x.use-application-dns.net", DNS_TYPE_A);
	T(act.kind == DNS_ACT_ANSWER && (act.msg[3] & 0xf) == DNS_NOERROR);
}

static void test_a_of_resource(void)
{
	struct dns_msg m;

	rig_setup();
	rig_ask("App.Example.com", DNS_TYPE_A);
	rig_expect_ips(V4_FIRST);
	T_EQ(act.name, 0);
	T(uuid_eq(&act.resource, &(struct uuid){.b = {1}}));
	T(rig_open(&m));
	T_MEM(m.q.name.b, "\3App\7Example\3com", 17); /* the question as it came */
	T(!m.tc && m.rd);
	T_EQ(act.msg[3], 0); /* RA, AD, CD: none */
	T_EQ(stub.counters.proxied, 1);
}

static void test_aaaa_of_resource_shares_the_assignment(void)
{
	rig_setup();
	rig_ask("app.example.com", DNS_TYPE_AAAA);
	rig_expect_ips(V6_FIRST);
	rig_ask("app.example.com", DNS_TYPE_A);
	rig_expect_ips(V4_FIRST);
	rig_ask("APP.example.com", DNS_TYPE_AAAA);
	rig_expect_ips(V6_FIRST);
	rig_ask("example.com", DNS_TYPE_A);
	rig_expect_ips("100.96.0.5 100.96.0.6 100.96.0.7 100.96.0.8");
	T_EQ(stub.names.count, 2);
}

static void test_a_of_resource_over_tcp(void)
{
	rig_setup();
	rig_ask_tcp("app.example.com", DNS_TYPE_A);
	rig_expect_ips(V4_FIRST);
	T(act.asker.tcp && act.asker.conn == 7);
}

static void test_a_of_ipv6_only_is_empty(void)
{
	rig_setup();
	rig_ask("v6.only", DNS_TYPE_A);
	rig_expect_ips("");
	T_EQ(act.name, 0);
	rig_ask("v6.only", DNS_TYPE_AAAA);
	rig_expect_ips(V6_FIRST);
	T_EQ(stub.counters.empty, 1);
}

static void test_aaaa_of_ipv4_only_is_empty(void)
{
	rig_setup();
	rig_ask("v4.only", DNS_TYPE_AAAA);
	rig_expect_ips("");
	rig_ask("v4.only", DNS_TYPE_A);
	rig_expect_ips(V4_FIRST);
}

static void in_site_row(uint16_t type, bool tcp)
{
	struct ipaddr gateway = ipaddr_v4(100, 64, 0, 9);
	struct endpoint at = {.ip = gateway, .port = 53535};
	struct uuid one = rig_id(1);
	struct dns_query got;
	uint64_t token;

	rig_setup();
	(tcp ? rig_ask_tcp : rig_ask)("_sip._tcp.example.com", type);
	T_EQ(act.kind, DNS_ACT_UPSTREAM); /* two labels below: *.example.com does not mean it */
	(tcp ? rig_ask_tcp : rig_ask)("app.example.com", type);
	T_EQ(act.kind, DNS_ACT_IN_SITE);
	T(uuid_eq(&act.resource, &one));
	token = act.token;
	T_EQ(dns_stub_held_next(&stub, &one, 0), token);
	dns_stub_in_site(&stub, token, &gateway, &act);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	T(act.via_tunnel && act.tcp == tcp && !act.again);
	T(endpoint_eq(&act.upstream, &at));
	T_EQ(dns_query_parse(act.msg, act.len, &got), DNS_OK);
	T_EQ(got.q.type, type);
	T_EQ(dns_stub_held_next(&stub, &one, 0), 0);
	dns_stub_in_site(&stub, token, &gateway, &act); /* sent is sent */
	T_EQ(act.kind, DNS_ACT_NONE);
}

static void test_srv_of_resource_goes_in_site(void)
{
	in_site_row(DNS_TYPE_SRV, false);
}

static void test_txt_of_resource_goes_in_site(void)
{
	in_site_row(DNS_TYPE_TXT, false);
}

static void test_srv_of_resource_goes_in_site_over_tcp(void)
{
	in_site_row(DNS_TYPE_SRV, true);
}

static void test_https_of_resource_is_empty(void)
{
	rig_setup();
	rig_ask("app.example.com", DNS_TYPE_HTTPS);
	rig_expect_ips("");
	T_EQ(stub.names.count, 0); /* nothing is assigned for it */
	rig_ask_tcp("app.example.com", DNS_TYPE_HTTPS);
	rig_expect_ips("");
}

static void expect_ptr(const char *name, uint16_t type, const char *want)
{
	struct dns_record r;
	struct dns_name n;
	struct dns_msg m;
	char text[DNS_TEXT_CAP] = "";

	rig_ask(name, type);
	if (!rig_open(&m) || !T(dns_msg_next(&m, &r)))
		return;
	T_EQ(r.type, DNS_TYPE_PTR);
	T_EQ(r.ttl, 1);
	memcpy(n.b, r.rdata, r.rdata_len);
	n.len = (uint8_t)r.rdata_len;
	T_EQ(dns_name_text(&n, text), 0);
	T_STR(text, want);
}

static void test_ptr_of_proxy_addresses(void)
{
	rig_setup();
	rig_ask("App.example.com", DNS_TYPE_A);
	expect_ptr("3.0.96.100.in-addr.arpa", DNS_TYPE_PTR, "app.example.com");
	expect_ptr("3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa",
		   DNS_TYPE_PTR, "app.example.com");
	T_EQ(stub.counters.ptr, 2);
}

static void test_ptr_of_anything_else_recurses(void)
{
	struct uuid one = rig_id(1);

	rig_setup();
	rig_ask("app.example.com", DNS_TYPE_A);
	rig_ask("5.0.96.100.in-addr.arpa", DNS_TYPE_PTR); /* not assigned */
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	rig_ask("1.0.0.10.in-addr.arpa", DNS_TYPE_PTR);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	rig_ask("1.0.96.in-addr.arpa", DNS_TYPE_PTR); /* three labels */
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	rig_ask("app.example.com", DNS_TYPE_PTR); /* no reverse name */
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	dns_stub_remove_resource(&stub, &one);
	rig_ask("1.0.96.100.in-addr.arpa", DNS_TYPE_PTR); /* the resource is off */
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	T_EQ(stub.counters.ptr, 0);
}

static void test_other_types_of_resource_recurse(void)
{
	static const uint16_t types[] = {DNS_TYPE_MX, DNS_TYPE_CNAME, DNS_TYPE_SVCB,
					 DNS_TYPE_NS, DNS_TYPE_SOA,   DNS_TYPE_ANY};

	rig_setup();
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		rig_ask("app.example.com", types[i]);
		T_EQ(act.kind, DNS_ACT_UPSTREAM);
	}
	T_EQ(stub.counters.forwarded, sizeof(types) / sizeof(*types));
}

static void test_no_resource_recurses(void)
{
	static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_SRV, DNS_TYPE_TXT,
					 DNS_TYPE_HTTPS};
	struct endpoint up = rig_ep("1.1.1.1:53");

	rig_setup();
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		rig_ask("www.example.org", types[i]);
		T_EQ(act.kind, DNS_ACT_UPSTREAM);
		T(endpoint_eq(&act.upstream, &up) && !act.tcp && !act.via_tunnel);
	}
	rig_ask_tcp("www.example.org", DNS_TYPE_A);
	T(act.kind == DNS_ACT_UPSTREAM && act.tcp);
}

static void test_other_class_is_no_resource(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q = rig_query("app.example.com", DNS_TYPE_A);

	rig_setup();
	q.q.klass = 3; /* Chaos */
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	T_EQ(stub.names.count, 0);
}

/* A label with a dot in it reads like another name: it must not be taken for that. */
static void test_dot_inside_a_label_is_no_resource(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q = {.q = {.type = DNS_TYPE_A, .klass = DNS_CLASS_IN}, .id = 0x1234};

	rig_setup();
	q.q.name.len = 17;
	memcpy(q.q.name.b, "\13app.example\3com", 17);
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	T_EQ(stub.names.count, 0);
}

/* ---- beside the table ---- */
static void test_malformed_queries_are_counted(void)
{
	struct dns_asker who = rig_asker(false);
	size_t len;

	rig_setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	len = rig_upstream_answer(0, DNS_TYPE_A, 60, "\1\2\3\4", 4);
	dns_stub_query(&stub, &who, rig_msg, len, &act, now);
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.counters.malformed[DNS_BAD_QR], 1);
	dns_stub_query(&stub, &who, rig_msg, 5, &act, now);
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.counters.malformed[DNS_SHORT], 1);
}

static void test_not_implemented(void)
{
	struct dns_asker who = rig_asker(true);
	struct dns_query q = rig_query("app.example.com", DNS_TYPE_A);

	rig_setup();
	q.opcode = 5; /* UPDATE */
	rig_send(&who, &q);
	rig_expect_code(DNS_NOTIMP);
	rig_ask_tcp("www.example.org", DNS_TYPE_AXFR);
	rig_expect_code(DNS_NOTIMP);
	rig_ask_tcp("www.example.org", DNS_TYPE_IXFR);
	rig_expect_code(DNS_NOTIMP);
	T_EQ(stub.counters.not_implemented, 3);
}

static void test_local_only(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query ours = rig_query("app.example.com", DNS_TYPE_A),
			 other = rig_query("printer", DNS_TYPE_A),
			 txt = rig_query("app.example.com", DNS_TYPE_TXT);

	rig_setup();
	who.local_only = true;
	rig_send(&who, &ours);
	rig_expect_ips(V4_FIRST);
	rig_send(&who, &other);
	T_EQ(act.kind, DNS_ACT_NONE);
	rig_send(&who, &txt);
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.counters.local_only, 2);
	T_EQ(stub.pending.count, 0);
}

static void test_unknown_sentinel_is_servfail(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q = rig_query("www.example.org", DNS_TYPE_A);

	rig_setup();
	who.sentinel = ipaddr_v4(100, 100, 111, 77);
	rig_send(&who, &q);
	rig_expect_code(DNS_SERVFAIL);
	T_EQ(stub.counters.no_upstream, 1);
}

static void test_names_exhausted_is_servfail(void)
{
	rig_setup();
	for (int i = 0; i < RIG_NAMES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "n%d.example.com", i);
		rig_ask(name, DNS_TYPE_A);
		T_EQ(act.name, i);
	}
	rig_ask("more.example.com", DNS_TYPE_A);
	rig_expect_code(DNS_SERVFAIL);
	T_EQ(act.name, DNS_NAMES_NONE);
	T_EQ(stub.counters.names_full, 1);
	rig_ask("n3.example.com", DNS_TYPE_A);
	T_EQ(act.name, 3);
}

static void test_priority_of_patterns(void)
{
	rig_setup();
	rig_resource(4, "db.example.com", DNS_STACK_V4);
	rig_resource(5, "**.example.com", DNS_STACK_V6);
	rig_ask("db.example.com", DNS_TYPE_A);
	T(uuid_eq(&act.resource, &(struct uuid){.b = {4}}));
	rig_ask("app.example.com", DNS_TYPE_A);
	T(uuid_eq(&act.resource, &(struct uuid){.b = {1}}));
	rig_ask("a.b.example.com", DNS_TYPE_A);
	T(uuid_eq(&act.resource, &(struct uuid){.b = {5}}));
	rig_expect_ips("");
}

static void test_route_follows_resources(void)
{
	struct ipaddr proxy = ipaddr_v4(100, 96, 0, 2), other = ipaddr_v4(100, 96, 0, 9);
	struct uuid one = rig_id(1);
	const struct dns_assigned *e;

	rig_setup();
	T(!dns_stub_route(&stub, &proxy));
	rig_ask("app.example.com", DNS_TYPE_A);
	e = dns_stub_route(&stub, &proxy);
	T(e && !strcmp(e->domain, "app.example.com") && uuid_eq(&e->resource, &one));
	T(!dns_stub_route(&stub, &other));
	rig_resource(1, "*.example.net", DNS_STACK_DUAL); /* means other names now */
	T(!dns_stub_route(&stub, &proxy));
	rig_resource(1, "app.*.com", DNS_STACK_DUAL);
	T(dns_stub_route(&stub, &proxy) == e);
	dns_stub_remove_resource(&stub, &one);
	T(!dns_stub_route(&stub, &proxy));
	rig_resource(1, "*.example.com", DNS_STACK_DUAL); /* back, with the same addresses */
	rig_ask("app.example.com", DNS_TYPE_A);
	rig_expect_ips(V4_FIRST);
}

static void test_bad_pattern_is_refused(void)
{
	struct uuid four = rig_id(4);

	rig_setup();
	T_EQ(dns_stub_add_resource(&stub, &four, "**x.com", DNS_STACK_DUAL), -EINVAL);
}

static void test_via_tunnel_follows_coverage(void)
{
	struct endpoint system = {.ip = ipaddr_v4(1, 1, 1, 1), .port = 53};

	rig_setup();
	dns_stub_set_covered(&stub, 0, false, true);
	rig_ask("www.example.org", DNS_TYPE_A);
	T(act.via_tunnel);
	dns_stub_set_covered(&stub, 0, false, false);
	rig_ask("www.example.org", DNS_TYPE_AAAA);
	T(!act.via_tunnel);
	dns_stub_set_covered(&stub, 0, true, false);
	rig_ask("www.example.org", DNS_TYPE_MX);
	T(act.via_tunnel);
	/* The system's resolvers are never reached through the tunnel. */
	T(dns_stub_set_upstreams(&stub, NULL, 0, &system, 1));
	dns_stub_set_covered(&stub, 0, true, true);
	T(!stub.sentinels.list[0].via_tunnel);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_canary_any_type);
	T_RUN(test_a_of_resource);
	T_RUN(test_aaaa_of_resource_shares_the_assignment);
	T_RUN(test_a_of_resource_over_tcp);
	T_RUN(test_a_of_ipv6_only_is_empty);
	T_RUN(test_aaaa_of_ipv4_only_is_empty);
	T_RUN(test_srv_of_resource_goes_in_site);
	T_RUN(test_txt_of_resource_goes_in_site);
	T_RUN(test_srv_of_resource_goes_in_site_over_tcp);
	T_RUN(test_https_of_resource_is_empty);
	T_RUN(test_ptr_of_proxy_addresses);
	T_RUN(test_ptr_of_anything_else_recurses);
	T_RUN(test_other_types_of_resource_recurse);
	T_RUN(test_no_resource_recurses);
	T_RUN(test_other_class_is_no_resource);
	T_RUN(test_dot_inside_a_label_is_no_resource);
	T_RUN(test_malformed_queries_are_counted);
	T_RUN(test_not_implemented);
	T_RUN(test_local_only);
	T_RUN(test_unknown_sentinel_is_servfail);
	T_RUN(test_names_exhausted_is_servfail);
	T_RUN(test_priority_of_patterns);
	T_RUN(test_route_follows_resources);
	T_RUN(test_bad_pattern_is_refused);
	T_RUN(test_via_tunnel_follows_coverage);
	return t_done();
}
