/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS resources in the client's policy: from a query to packets that go straight out, what waits
 * where, what a gateway may send, and every way it ends. */
#include "tests/tcl_names.h"

#define PROXY4 "100.96.0.1" /* the first name's first addresses */
#define PROXY6 "fd00:2021:1111:8000::"

/* Resource 1 *.example.com at site 1; app.example.com is resolved. */
static void setup(void)
{
	names_setup();
	names_add(1, "*.example.com", 1);
	names_ask("app.example.com", DNS_TYPE_A);
	T_EQ(act.kind, DNS_ACT_ANSWER);
	world_drain();
}

/* Resource 1's first packet, its flow, a connection; AssignedIps is the next event. */
static uint32_t connect_one(void)
{
	uint32_t slot;

	T_EQ(world_out(PROXY4, 80), PS_R_UTX_BUFFERED);
	slot = world_flow(1, 1);
	world_drain();
	tcl_gateway_established(&c, slot, now);
	return slot;
}

/* What the shell does at FLUSH; how many packets went on to wait for names. */
static uint32_t flush_resource(void)
{
	const uint8_t *p;
	struct ip_meta m;
	uint32_t n = 0;
	uint16_t len;

	while (tcl_resource_served(&c, ev.resource) && (len = tcl_held_pop(&c, ev.resource, &p))) {
		T_EQ(ip_packet_parse(p, len, &m), 0);
		n += tcl_route_out(&c, p, &m, &grant, now) == PS_R_UTX_BUFFERED;
	}
	return n;
}

static uint32_t flush_name(void)
{
	const uint8_t *p;
	struct ip_meta m;
	uint32_t n = 0;
	uint16_t len;

	while ((len = tcl_name_pop(&c, ev.slot, ev.name, &p))) {
		T_EQ(ip_packet_parse(p, len, &m), 0);
		T_EQ(tcl_route_out(&c, p, &m, &grant, now), PS_R_UTX_SENT);
		n++;
	}
	return n;
}

/* All the way: the name is confirmed, nothing waits. */
static uint32_t confirmed(void)
{
	uint32_t slot;

	setup();
	slot = connect_one();
	world_drain();
	names_status(slot, 1, "app.example.com", true);
	world_drain();
	return slot;
}

static void test_first_query_to_delivery(void)
{
	struct p2p_assigned_ips said;
	uint32_t slot;

	setup();
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_BUFFERED);
	T_EQ(grant.resource, 0);
	world_expect(TCL_EVENT_INTENT);
	T_EQ(ev.id.b[0], 1);
	slot = world_flow(1, 1);
	world_expect(TCL_EVENT_PEER_ADDED);
	world_drain(); /* nothing is said before the connection stands */
	T_EQ(dns_nat_state(&c.nat, slot, 0), DNS_NAT_FREE);
	tcl_gateway_established(&c, slot, now);
	world_expect(TCL_EVENT_CONTROL);
	T_EQ(ev.slot, slot);
	said = names_said();
	T_STR(said.domain, "app.example.com");
	T_EQ(said.resource.b[0], 1);
	T_EQ(said.count, 8);
	T(ipaddr_eq(&said.ips[0], &(struct ipaddr){.family = 4, .b = {100, 96, 0, 1}}));
	world_expect(TCL_EVENT_FLUSH);
	T_EQ(flush_resource(), 1);
	T_EQ(world_out(PROXY6, 80), PS_R_UTX_BUFFERED);
	world_expect_skip(TCL_EVENT_RESOURCES_CHANGED);
	world_expect(TCL_EVENT_NONE);
	names_status(slot, 1, "app.example.com", true);
	world_expect(TCL_EVENT_NAME_FLUSH);
	T_EQ(ev.slot, slot);
	T_EQ(flush_name(), 2);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_SENT);
	T_EQ(grant.slot, slot);
	T(grant.cacheable);
	T_EQ(world_in(slot, PROXY4), PS_R_URX_DELIVERED);
	T_EQ(grant.resource, 0);
	T_EQ(world_in(slot, PROXY6), PS_R_URX_DELIVERED);
}

/* Only what was given out, in ranges that are routed, is a destination. */
static void test_addresses_without_a_name(void)
{
	static const char *const want[] = {"100.64.0.0/11",
					   "100.96.0.0/11",
					   "100.100.111.0/24",
					   "fd00:2021:1111::/107",
					   "fd00:2021:1111:8000::/107",
					   "fd00:2021:1111:8000:100:100:111:0/120"};

	setup();
	T_EQ(world_out("100.96.0.5", 80), PS_R_UTX_NO_PEER);
	T_EQ(grant.reply, ICMP_ERROR_UNREACHABLE);
	T_EQ(world_out("fd00:2021:1111:8000::4", 80), PS_R_UTX_NO_PEER);
	T_EQ(grant.reply, ICMP_ERROR_UNREACHABLE);
	T_EQ(world_out("100.100.111.1", 80), PS_R_UTX_NO_PEER);
	T_EQ(grant.reply, ICMP_ERROR_NONE);
	world_expect(TCL_EVENT_NONE);
	world_routes(want, 6);
}

static void test_sources_of_a_gateway(void)
{
	uint32_t one = confirmed(), two;
	struct pkt sent, err;
	struct ipaddr router = pkt_ip("203.0.113.1");

	world_add_cidr(2, "10.0.0.0/8", 2);
	two = world_connect(2, 2, "10.0.0.1");
	T_EQ(world_in(one, "100.96.0.4"), PS_R_URX_DELIVERED);
	T_EQ(world_in(one, "100.96.0.5"), PS_R_URX_BAD_SOURCE);
	T_EQ(world_in(two, PROXY4), PS_R_URX_BAD_SOURCE);
	T_EQ(world_in(one, "100.100.111.1"), PS_R_URX_BAD_SOURCE);
	sent = pkt_text(ME4, PROXY4, IP_PROTO_UDP, 1, 2);
	err = pkt_error(&router, &sent);
	T_EQ(tcl_check_in(&c, one, err.b, &err.m, &grant, now), PS_R_URX_DELIVERED);
	T_EQ(tcl_check_in(&c, two, err.b, &err.m, &grant, now), PS_R_URX_BAD_SOURCE);
}

static void test_requery_while_it_flows(void)
{
	uint32_t slot = confirmed();

	names_ask("app.example.com", DNS_TYPE_AAAA);
	world_expect(TCL_EVENT_CONTROL);
	T_STR(names_said().domain, "app.example.com");
	world_expect(TCL_EVENT_NONE);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_SENT); /* on the old translation */
	T(!grant.cacheable);
	now += DNS_NAT_RESEND_NS - 1;
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_SENT);
	world_expect(TCL_EVENT_NONE);
	now += 1;
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_SENT);
	world_expect(TCL_EVENT_CONTROL); /* no answer: once more */
	names_status(slot, 1, "app.example.com", true);
	world_expect(TCL_EVENT_NONE);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_SENT);
	T(grant.cacheable);
}

static void test_name_fails_and_recovers(void)
{
	uint32_t slot = confirmed();

	names_status(slot, 1, "app.example.com", false);
	world_expect(TCL_EVENT_PEER_CHANGED); /* cached flows end */
	world_expect(TCL_EVENT_NONE);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_SENT); /* the gateway says no */
	T(!grant.cacheable);
	names_status(slot, 1, "app.example.com", false);
	world_expect(TCL_EVENT_NONE); /* nothing new */
	names_ask("app.example.com", DNS_TYPE_A);
	world_expect(TCL_EVENT_CONTROL);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_BUFFERED);
	names_status(slot, 1, "app.example.com", true);
	world_expect(TCL_EVENT_NAME_FLUSH);
	T_EQ(flush_name(), 1);
}

/* Of another gateway, another resource, another name, no name at all. */
static void test_status_that_means_nothing(void)
{
	uint32_t slot, other;

	setup();
	world_add_cidr(2, "10.0.0.0/8", 2);
	other = world_connect(2, 2, "10.0.0.1");
	slot = connect_one();
	world_drain();
	names_status(other, 1, "app.example.com", true);
	names_status(slot, 2, "app.example.com", true);
	names_status(slot, 1, "www.example.com", true);
	names_status(slot, 1, "", false);
	names_status(WORLD_GATEWAYS, 1, "app.example.com", true);
	names_status(TUNNEL_NO_SLOT, 1, "app.example.com", true);
	world_expect(TCL_EVENT_NONE);
	T_EQ(dns_nat_state(&c.nat, slot, 0), DNS_NAT_PENDING);
	T_EQ(dns_nat_state(&c.nat, other, 0), DNS_NAT_FREE);
}

static void test_second_name_of_a_served_resource(void)
{
	uint32_t slot = confirmed();

	names_ask("www.example.com", DNS_TYPE_A);
	world_expect(TCL_EVENT_CONTROL);
	T_STR(names_said().domain, "www.example.com");
	T_EQ(ev.slot, slot);
	world_expect(TCL_EVENT_NONE);
	T_EQ(world_out("100.96.0.5", 80), PS_R_UTX_BUFFERED);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_SENT);
	names_status(slot, 1, "www.example.com", true);
	world_expect(TCL_EVENT_NAME_FLUSH);
	T_EQ(flush_name(), 1);
}

static void test_held_for_a_name_is_bounded(void)
{
	uint32_t slot;

	setup();
	slot = connect_one();
	world_expect(TCL_EVENT_CONTROL);
	world_expect(TCL_EVENT_FLUSH);
	T_EQ(flush_resource(), 1);
	for (uint16_t i = 1; i < DNS_NAT_HELD_CAP; i++)
		T_EQ(world_out(PROXY4, (uint16_t)(100 + i)), PS_R_UTX_BUFFERED);
	T_EQ(world_out(PROXY4, 99), PS_R_UTX_BUFFER_FULL);
	names_status(slot, 1, "app.example.com", true);
	world_expect_skip(TCL_EVENT_NAME_FLUSH);
	T_EQ(flush_name(), DNS_NAT_HELD_CAP);
}

static void test_in_site_queries(void)
{
	struct ipaddr at;
	uint64_t token;
	uint32_t slot;

	setup();
	names_ask("app.example.com", DNS_TYPE_TXT);
	T_EQ(act.kind, DNS_ACT_IN_SITE);
	token = act.token;
	T_EQ(tcl_in_site(&c, &act.resource, 4, &at, now), -EAGAIN);
	world_expect(TCL_EVENT_INTENT);
	T_EQ(tcl_in_site(&c, &act.resource, 4, &at, now), -EAGAIN);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_NONE); /* one intent for all of it */
	slot = world_flow(1, 1);
	tcl_gateway_established(&c, slot, now);
	world_expect_skip(TCL_EVENT_FLUSH);
	T_EQ(dns_stub_held_next(&stub, &ev.id, 0), token);
	T_EQ(tcl_in_site(&c, &ev.id, 4, &at, now), 0);
	T(ipaddr_eq(&at, &(struct ipaddr){.family = 4, .b = {100, 64, 2, 1}}));
	T_EQ(tcl_in_site(&c, &ev.id, 6, &at, now), 0);
	T_EQ(at.family, 6);
	dns_stub_in_site(&stub, token, &at, &act);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	tcl_remove_resource(&c, &(struct uuid){.b = {1, [15] = 1}}, now);
	T_EQ(tcl_in_site(&c, &(struct uuid){.b = {1, [15] = 1}}, 4, &at, now), -ENOENT);
	world_add_cidr(2, "10.0.0.0/8", 2);
	T_EQ(tcl_in_site(&c, &(struct uuid){.b = {2, [15] = 2}}, 4, &at, now), -ENOENT);
}

static void test_switched_off_and_on(void)
{
	struct uuid id = {.b = {1, [15] = 1}};
	uint32_t slot = confirmed();

	T_EQ(tcl_set_disabled(&c, &id, 1, now), 0);
	world_expect(TCL_EVENT_PEER_CHANGED);
	world_drain();
	T(!dns_patterns_of(&stub.patterns, &id));
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_NO_PEER);
	T_EQ(world_in(slot, PROXY4), PS_R_URX_REVOKED);
	T_EQ(world_in(slot, "8.8.8.8"), PS_R_URX_BAD_SOURCE);
	T_EQ(dns_nat_state(&c.nat, slot, 0), DNS_NAT_FREE);
	now += TCL_GONE_NS;
	T_EQ(world_in(slot, PROXY4), PS_R_URX_BAD_SOURCE);
	T_EQ(tcl_set_disabled(&c, NULL, 0, now), 0);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_BUFFERED); /* the address is still the name's */
	T_EQ(world_flow(1, 1), slot);
	world_expect_skip(TCL_EVENT_CONTROL);
	T_STR(names_said().domain, "app.example.com");
	world_expect(TCL_EVENT_FLUSH);
	T_EQ(flush_resource(), 1);
}

static void test_pattern_changes(void)
{
	struct tcl_resource_spec s = names_spec(1, "*.example.org", 1);
	uint32_t slot = confirmed();

	T_EQ(tcl_add_resource(&c, &s, now), 0);
	world_expect(TCL_EVENT_PEER_CHANGED);
	T_EQ(world_out(PROXY4, 80), PS_R_UTX_NO_PEER); /* not a name of it any more */
	T_EQ(world_in(slot, PROXY4), PS_R_URX_REVOKED);
	tunnel_text_copy(s.r.name, sizeof(s.r.name), "renamed");
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	s.stack = DNS_STACK_V4;
	names_ask("x.example.org", DNS_TYPE_AAAA);
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	T_EQ(dns_patterns_of(&stub.patterns, &s.r.id)->stack, DNS_STACK_V4);
	world_drain();
	/* one that cannot be: listed, off, and the old one gone */
	tunnel_text_copy(s.r.address, sizeof(s.r.address), "a..b");
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	T(!dns_patterns_of(&stub.patterns, &s.r.id));
	T(!tcl_resource_at(&c, 0)->enabled);
	T(!tcl_resource_supported(&c, 0));
	T_EQ(c.counters.pattern_refused, 1);
}

static void test_gateway_gone(void)
{
	uint32_t slot = confirmed();

	tcl_gateway_gone(&c, slot, now);
	T_EQ(dns_nat_state(&c.nat, slot, 0), DNS_NAT_FREE);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN);
	world_expect(TCL_EVENT_PEER_REMOVED);
	world_drain();
	now += TCL_INTENT_GAP_NS;
	slot = connect_one();
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_ONLINE);
	world_expect(TCL_EVENT_CONTROL);
	T_EQ(ev.slot, slot);
}

static void test_reset_keeps_names(void)
{
	uint32_t slot = confirmed();

	tcl_reset(&c, now);
	T_EQ(dns_nat_state(&c.nat, slot, 0), DNS_NAT_FREE);
	world_drain();
	slot = connect_one();
	world_expect(TCL_EVENT_CONTROL);
	T_STR(names_said().domain, "app.example.com");
}

static void test_filters_of_a_name(void)
{
	struct tcl_resource_spec s = names_spec(1, "*.example.com", 1);

	confirmed();
	T_EQ(filter_set_add_ports(&s.r.filters, IP_PROTO_UDP, 7, 7), 0);
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	world_expect(TCL_EVENT_PEER_CHANGED);
	T_EQ(world_out(PROXY4, 7), PS_R_UTX_SENT);
	T_EQ(world_out(PROXY4, 8), PS_R_UTX_FILTERED);
	T_EQ(grant.reply, ICMP_ERROR_PROHIBITED);
}

static void test_upstreams_behind_the_tunnel(void)
{
	struct endpoint up = {.ip = ipaddr_v4(10, 0, 0, 53), .port = 53};

	names_setup();
	T(dns_stub_set_upstreams(&stub, &up, 1, NULL, 0));
	tcl_dns_cover(&c);
	T(!stub.sentinels.list[0].via_tunnel);
	world_add_cidr(2, "10.0.0.0/8", 2);
	world_drain();
	T(stub.sentinels.list[0].via_tunnel);
	tcl_remove_resource(&c, &(struct uuid){.b = {2, [15] = 2}}, now);
	world_drain();
	T(!stub.sentinels.list[0].via_tunnel);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_first_query_to_delivery);
	T_RUN(test_addresses_without_a_name);
	T_RUN(test_sources_of_a_gateway);
	T_RUN(test_requery_while_it_flows);
	T_RUN(test_name_fails_and_recovers);
	T_RUN(test_status_that_means_nothing);
	T_RUN(test_second_name_of_a_served_resource);
	T_RUN(test_held_for_a_name_is_bounded);
	T_RUN(test_in_site_queries);
	T_RUN(test_switched_off_and_on);
	T_RUN(test_pattern_changes);
	T_RUN(test_gateway_gone);
	T_RUN(test_reset_keeps_names);
	T_RUN(test_filters_of_a_name);
	T_RUN(test_upstreams_behind_the_tunnel);
	return t_done();
}
