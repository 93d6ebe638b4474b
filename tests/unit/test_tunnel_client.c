/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's policy: resources, gateways, statuses, routes and the decisions about packets. What
 * is held meanwhile is in test_tcl_held.c, gateways that come and go in test_tcl_gateways.c. */
#include "tests/tcl_world.h"

static void test_first_packet_to_delivery(void)
{
	const uint8_t *held;
	uint32_t slot;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_drain();
	T_EQ(world_out("10.0.0.1", 80), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_INTENT);
	T(uuid_eq(&ev.id, &(struct uuid){.b = {1, [15] = 1}}));
	T_EQ(ev.connected_count, 0);
	world_expect(TCL_EVENT_NONE);
	slot = world_flow(1, 1);
	world_expect(TCL_EVENT_PEER_ADDED);
	T_EQ(ev.slot, slot);
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	T_EQ(world_out("10.0.0.2", 80), PS_R_UTX_BUFFERED); /* still connecting */
	world_expect(TCL_EVENT_NONE);
	tcl_gateway_established(&c, slot, now);
	world_expect(TCL_EVENT_FLUSH);
	T_EQ(ev.resource, 0);
	T_EQ(ev.slot, slot);
	T_EQ(tcl_held_pop(&c, 0, &held), 44);
	T_EQ(held[19], 1);
	T_EQ(tcl_held_pop(&c, 0, &held), 44);
	T_EQ(held[19], 2);
	T_EQ(tcl_held_pop(&c, 0, &held), 0);
	T_EQ(world_out("10.0.0.1", 80), PS_R_UTX_SENT);
	T_EQ(grant.slot, slot);
	T(grant.cacheable);
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_DELIVERED);
	T_EQ(grant.resource, 0);
}

static void test_second_resource_reuses_gateway(void)
{
	uint32_t slot;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "172.16.0.0/12", 1);
	slot = world_connect(1, 1, "10.0.0.1");
	T_EQ(world_out("172.16.0.1", 80), PS_R_UTX_BUFFERED);
	world_expect_skip(TCL_EVENT_INTENT);
	T_EQ(ev.connected_count, 1);
	T_EQ(ev.connected[0].b[0], 101);
	T_EQ(world_flow(2, 1), slot);
	world_expect(TCL_EVENT_FLUSH); /* the connection stands: no PEER_ADDED, no wait */
	T_EQ(ev.resource, 1);
	T_EQ(world_in(slot, "172.16.0.1"), PS_R_URX_DELIVERED);
}

static void test_intents_are_spaced(void)
{
	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_drain();
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_INTENT);
	now += TCL_INTENT_GAP_NS - 1;
	T_EQ(world_out("10.0.0.1", 2), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_NONE);
	now += 1;
	world_expect(TCL_EVENT_NONE); /* no timer: only new traffic asks again */
	T_EQ(world_out("10.0.0.1", 3), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_INTENT);
	T_EQ(world_out("10.0.0.1", 4), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_NONE);
}

static void test_what_never_leaves(void)
{
	static const struct {
		const char *src, *dst;
		enum ps_reason_id want;
	} rows[] = {
		{ME4, "224.0.0.22", PS_R_UTX_IGNORED},
		{ME4, "255.255.255.255", PS_R_UTX_IGNORED},
		{ME6, "ff02::2", PS_R_UTX_IGNORED},
		{ME6, "fe80::1", PS_R_UTX_IGNORED},
		{"192.168.1.5", "10.0.0.1", PS_R_UTX_BAD_SOURCE},
		{"fe80::1", "2001:db8::1", PS_R_UTX_BAD_SOURCE},
		{ME4, "9.9.9.9", PS_R_UTX_NO_PEER},
		{ME4, ME4, PS_R_UTX_NO_PEER},
		{ME4, "100.64.1.2", PS_R_UTX_NO_PEER},
		{ME4, "100.100.111.1", PS_R_UTX_NO_PEER},
		{ME6, "fd00:2021:1111:8000::", PS_R_UTX_NO_PEER},
		{ME6, "2001:db8::1", PS_R_UTX_NO_PEER},
	};

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "100.0.0.0/8",
		       1); /* covers the tunnel's own ranges: they stay excluded */
	world_drain();
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct pkt p = pkt_text(rows[i].src, rows[i].dst, IP_PROTO_UDP, 1, 2);

		if (!T_EQ(tcl_route_out(&c, p.b, &p.m, &grant, now), rows[i].want))
			t_note("%s -> %s", rows[i].src, rows[i].dst);
		T(!grant.allowed);
	}
	world_expect(TCL_EVENT_NONE);
}

static void test_longest_prefix_and_filters(void)
{
	struct tcl_resource_spec narrow = world_cidr(2, "10.1.0.0/16", 1);

	world_setup();
	T_EQ(filter_set_add_ports(&narrow.r.filters, IP_PROTO_UDP, 53, 53), 0);
	world_add_cidr(1, "10.0.0.0/8", 1);
	T_EQ(tcl_add_resource(&c, &narrow, now), 0);
	T_EQ(world_out("10.1.0.1", 53), PS_R_UTX_BUFFERED);
	T_EQ(grant.resource, 1);
	T_EQ(world_out("10.1.0.1", 54), PS_R_UTX_BUFFERED); /* the wider one permits it */
	T_EQ(grant.resource, 0);
	tcl_remove_resource(&c, &(struct uuid){.b = {1, [15] = 1}}, now);
	T_EQ(world_out("10.1.0.1", 54), PS_R_UTX_FILTERED);
	T_EQ(grant.reply, ICMP_ERROR_PROHIBITED);
	T_EQ(world_out("10.2.0.1", 53), PS_R_UTX_NO_PEER);
}

/* The same network twice: the one with a gateway stays in charge, else the larger id. */
static void test_identical_networks(void)
{
	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "10.0.0.0/8", 1);
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_BUFFERED);
	T_EQ(grant.resource, 1);
	tcl_remove_resource(&c, &(struct uuid){.b = {2, [15] = 2}}, now);
	world_connect(1, 1, "10.0.0.1");
	world_add_cidr(2, "10.0.0.0/8", 1);
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_SENT);
	T_EQ(grant.resource, 0);
}

static void test_inbound_check(void)
{
	uint32_t one, two;
	struct pkt sent, err;
	struct ipaddr router = pkt_ip("203.0.113.1");

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "172.16.0.0/12", 2);
	one = world_connect(1, 1, "10.0.0.1");
	two = world_connect(2, 2, "172.16.0.1");
	T_EQ(world_in(one, "100.64.2.1"), PS_R_URX_DELIVERED); /* the gateway itself */
	T_EQ(world_in(one, "100.64.2.2"), PS_R_URX_BAD_SOURCE);
	T_EQ(world_in(two, "100.64.2.2"), PS_R_URX_DELIVERED);
	T_EQ(world_in(one, "10.255.0.1"), PS_R_URX_DELIVERED);
	T_EQ(world_in(two, "10.255.0.1"), PS_R_URX_BAD_SOURCE);
	T_EQ(world_in(one, "172.16.0.1"), PS_R_URX_BAD_SOURCE);
	T_EQ(world_in(one, "8.8.8.8"), PS_R_URX_BAD_SOURCE);
	T_EQ(world_in(9, "10.0.0.1"), PS_R_URX_POLICY);
	T_EQ(world_in(TUNNEL_NO_SLOT, "10.0.0.1"), PS_R_URX_POLICY);
	sent = pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_UDP, 1, 2); /* not for us */
	T_EQ(tcl_check_in(&c, one, sent.b, &sent.m, &grant, now), PS_R_URX_POLICY);
	/* an error of a router in between, about our own packet to the resource */
	sent = pkt_text(ME4, "10.0.0.1", IP_PROTO_UDP, 1, 2);
	err = pkt_error(&router, &sent);
	T_EQ(tcl_check_in(&c, one, err.b, &err.m, &grant, now), PS_R_URX_DELIVERED);
	T(!grant.cacheable);
	T_EQ(tcl_check_in(&c, two, err.b, &err.m, &grant, now), PS_R_URX_BAD_SOURCE);
	sent = pkt_text(ME4, "8.8.8.8", IP_PROTO_UDP, 1, 2);
	err = pkt_error(&router, &sent);
	T_EQ(tcl_check_in(&c, one, err.b, &err.m, &grant, now), PS_R_URX_BAD_SOURCE);
}

static void test_resource_deleted(void)
{
	uint32_t slot;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	slot = world_connect(1, 1, "10.0.0.1");
	tcl_remove_resource(&c, &(struct uuid){.b = {1, [15] = 1}}, now);
	world_expect(TCL_EVENT_PEER_CHANGED);
	T_EQ(ev.slot, slot);
	world_expect(TCL_EVENT_ROUTES_CHANGED);
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	world_expect(TCL_EVENT_NONE);
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_REVOKED);
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_NO_PEER);
	now += TCL_GONE_NS;
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_BAD_SOURCE);
	T_EQ(tcl_gateway_at(&c, slot)->state, TCL_GATEWAY_ESTABLISHED); /* it idles out by itself */
	tcl_remove_resource(&c, &(struct uuid){.b = {1, [15] = 1}}, now);
	world_expect(TCL_EVENT_NONE);
}

static void test_update_in_place_and_interrupting(void)
{
	struct tcl_resource_spec s = world_cidr(1, "10.0.0.0/8", 1);
	uint32_t slot;

	world_setup();
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	slot = world_connect(1, 1, "10.0.0.1");
	tunnel_text_copy(s.r.name, sizeof(s.r.name), "renamed");
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	world_expect(TCL_EVENT_NONE);
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_SENT);
	T_EQ(filter_set_add_ports(&s.r.filters, IP_PROTO_UDP, 7, 7), 0);
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	world_expect(TCL_EVENT_PEER_CHANGED);
	world_drain();
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_FILTERED);
	T_EQ(world_out("10.0.0.1", 7), PS_R_UTX_SENT);
	s.r.net = pkt_net("10.0.0.0/9");
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	world_expect(TCL_EVENT_PEER_CHANGED);
	world_expect(TCL_EVENT_ROUTES_CHANGED);
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_REVOKED);
	now += TCL_INTENT_GAP_NS;
	T_EQ(world_out("10.0.0.1", 7), PS_R_UTX_BUFFERED);
	T_EQ(world_flow(1, 1), slot);
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_DELIVERED);
	s.sites[0].id.b[0] = 77; /* moved to another site */
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_REVOKED);
	s.r = (struct tunnel_resource){.id = s.r.id, .type = TUNNEL_RESOURCE_INTERNET};
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	T_EQ(world_out("10.0.0.1", 7), PS_R_UTX_NO_PEER);
	T_EQ(grant.reply, ICMP_ERROR_UNREACHABLE);
	T_EQ(world_out("8.8.8.8", 7), PS_R_UTX_BUFFERED);
}

static void test_init_diff(void)
{
	struct tcl_resource_spec list[2] = {world_cidr(1, "10.0.0.0/8", 1),
					    world_cidr(2, "172.16.0.0/12", 1)};
	uint32_t slot;

	world_setup();
	T_EQ(tcl_set_resources(&c, list, 2, now), 0);
	slot = world_connect(1, 1, "10.0.0.1");
	T_EQ(tcl_set_resources(&c, list, 2, now), 0); /* reconnect: flows stay */
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	world_expect(TCL_EVENT_NONE);
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_SENT);
	T_EQ(tcl_set_resources(&c, list + 1, 1, now), 0);
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_REVOKED);
	T_EQ(c.resource_count, 1);
	T_EQ(tcl_set_resources(&c, NULL, 0, now), 0);
	T_EQ(c.resource_count + c.resource_high, 0);
}

static void test_unusable_resources(void)
{
	struct tcl_resource_spec s = world_cidr(1, "100.64.1.0/24", 1);

	world_setup();
	T_EQ(tcl_add_resource(&c, &s, now), -EINVAL);
	s = world_cidr(1, "fd00:2021:1111::/64", 1);
	T_EQ(tcl_add_resource(&c, &s, now), -EINVAL);
	s = world_cidr(1, "10.0.0.0/8", 1);
	s.site_count = 0;
	T_EQ(tcl_add_resource(&c, &s, now), -EINVAL);
	s.site_count = TCL_RESOURCE_SITES_CAP + 1;
	T_EQ(tcl_add_resource(&c, &s, now), -EINVAL);
	T_EQ(c.resource_count, 0);
	for (uint8_t i = 0; i < WORLD_RESOURCES; i++)
		world_add_cidr((uint8_t)(i + 1), "10.0.0.0/8", 1);
	s = world_cidr(99, "10.0.0.0/8", 1);
	T_EQ(tcl_add_resource(&c, &s, now), -ENOSPC);
	T_EQ(c.counters.resource_table_full, 1);
	tcl_remove_resource(&c, &(struct uuid){.b = {1, [15] = 1}}, now);
	s.site_count = 1 + WORLD_SITES;
	for (uint8_t i = 0; i < s.site_count; i++)
		s.sites[i].id.b[0] = (uint8_t)(50 + i);
	T_EQ(tcl_add_resource(&c, &s, now), -ENOSPC);
	T_EQ(c.counters.site_table_full, 1);
	T_EQ(c.resource_count, WORLD_RESOURCES - 1);
	s.site_count = WORLD_SITES - 1; /* nothing leaked: this many still fit */
	T_EQ(tcl_add_resource(&c, &s, now), 0);
}

static void test_dns_is_listed_only(void)
{
	struct tcl_resource_spec s = world_cidr(1, "10.0.0.0/8", 1);

	world_setup();
	world_drain();
	s.r = (struct tunnel_resource){
		.id = s.r.id, .type = TUNNEL_RESOURCE_DNS, .address = "*.example.com"};
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	world_expect(TCL_EVENT_NONE);
	T(!tcl_resource_at(&c, 0)->enabled);
	T_STR(tcl_resource_at(&c, 0)->r.address, "*.example.com");
}

static void test_routes(void)
{
	static const char *const base[] = {"100.64.0.0/11", "fd00:2021:1111::/107"};
	static const char *const all[] = {"0.0.0.0/0", "10.0.0.0/8",	"100.64.0.0/11",
					  "::/0",      "2001:db8::/32", "fd00:2021:1111::/107"};
	struct tcl_resource_spec net = world_cidr(3, "0.0.0.0/0", 1);

	world_setup();
	world_expect(TCL_EVENT_ROUTES_CHANGED);
	world_routes(base, 2);
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "2001:db8::/32", 1);
	net.r = (struct tunnel_resource){.id = net.r.id, .type = TUNNEL_RESOURCE_INTERNET};
	T_EQ(tcl_add_resource(&c, &net, now), 0);
	world_expect(TCL_EVENT_ROUTES_CHANGED);
	world_routes(all, 6);
	world_drain();
	world_add_cidr(4, "10.0.0.0/8", 1); /* no new route */
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	world_expect(TCL_EVENT_NONE);
	T_EQ(tcl_set_disabled(&c, &net.r.id, 1, now), 0);
	world_expect(TCL_EVENT_ROUTES_CHANGED);
	T_EQ(c.routes_count, 4);
	T_EQ(world_out("8.8.8.8", 1), PS_R_UTX_NO_PEER);
	T_EQ(tcl_set_disabled(&c, NULL, 0, now), 0);
	world_expect_skip(TCL_EVENT_ROUTES_CHANGED);
	world_routes(all, 6);
	T_EQ(world_out("8.8.8.8", 1), PS_R_UTX_BUFFERED);
	T_EQ(tcl_set_disabled(&c, NULL, TCL_DISABLED_CAP + 1, now), -ENOSPC);
}

/* One switch at a time: revocation is heard of before the routes change, the Internet goes by its
 * type, others by their id, also while the portal does not name them. */
static void test_switches(void)
{
	struct tcl_resource_spec net = world_cidr(1, "0.0.0.0/0", 1);
	struct tcl_resource_spec cidr = world_cidr(2, "10.0.0.0/8", 1);
	struct uuid ids[TCL_DISABLED_CAP] = {0};
	uint32_t slot;

	world_setup();
	tcl_set_internet(&c, false, now);
	net.r = (struct tunnel_resource){.id = net.r.id, .type = TUNNEL_RESOURCE_INTERNET};
	T_EQ(tcl_add_resource(&c, &net, now), 0);
	T_EQ(tcl_add_resource(&c, &cidr, now), 0);
	world_drain();
	T_EQ(world_out("8.8.8.8", 1), PS_R_UTX_NO_PEER);
	T(!tcl_resource_at(&c, 0)->enabled && tcl_resource_at(&c, 1)->enabled);
	T_EQ(tcl_switch(&c, 0, true, now), 0);
	world_expect(TCL_EVENT_ROUTES_CHANGED);
	slot = world_connect(1, 1, "8.8.8.8");
	T_EQ(world_out("8.8.8.8", 1), PS_R_UTX_SENT);
	world_drain();
	T_EQ(tcl_switch(&c, 0, true, now), 0); /* nothing new */
	world_expect(TCL_EVENT_NONE);
	T_EQ(tcl_switch(&c, 0, false, now), 0);
	world_expect(TCL_EVENT_PEER_CHANGED);
	world_expect(TCL_EVENT_ROUTES_CHANGED);
	T_EQ(world_in(slot, "8.8.8.8"), PS_R_URX_REVOKED);

	T_EQ(tcl_switch(&c, 1, false, now), 0);
	T_EQ(tcl_switch(&c, 1, false, now), 0);
	T_EQ(c.disabled_count, 1);
	tcl_remove_resource(&c, &cidr.r.id, now);
	T_EQ(tcl_switch(&c, 1, true, now), -ENOENT);
	T_EQ(tcl_add_resource(&c, &cidr, now), 0);
	T(!tcl_resource_at(&c, 1)->enabled);
	T_EQ(tcl_switch(&c, 1, true, now), 0);
	T(tcl_resource_at(&c, 1)->enabled && !c.disabled_count);
	for (uint32_t i = 0; i < TCL_DISABLED_CAP; i++)
		ids[i].b[0] = (uint8_t)(100 + i);
	T_EQ(tcl_set_disabled(&c, ids, TCL_DISABLED_CAP, now), 0);
	T_EQ(tcl_switch(&c, 1, false, now), -ENOSPC);
	T(tcl_resource_at(&c, 1)->enabled);
	T_EQ(tcl_switch(&c, 0, true, now), 0); /* needs no room */
	T(tcl_resource_at(&c, 0)->enabled);
}

static void test_flow_created_errors(void)
{
	struct tcl_flow f = world_flow_of(1, 1);
	uint32_t slot;

	world_setup();
	T_EQ(tcl_flow_created(&c, &f, &slot, now), -ENOENT);
	world_add_cidr(1, "10.0.0.0/8", 1);
	T_EQ(tcl_flow_created(&c, &f, &slot, now), -EALREADY); /* nobody asked */
	world_out("10.0.0.1", 1);
	f.tun4 = pkt_ip(ME4);
	T_EQ(tcl_flow_created(&c, &f, &slot, now), -EINVAL);
	f.tun4 = pkt_ip("10.0.0.1");
	T_EQ(tcl_flow_created(&c, &f, &slot, now), -EINVAL);
	f = world_flow_of(1, 1);
	T_EQ(tcl_flow_created(&c, &f, &slot, now), 0);
	T_EQ(tcl_flow_created(&c, &f, &slot, now), -EALREADY);
	world_add_cidr(2, "172.16.0.0/12", 1);
	world_out("172.16.0.1", 1);
	f = world_flow_of(2, 2);
	f.tun4 = world_flow_of(1, 1).tun4;
	T_EQ(tcl_flow_created(&c, &f, &slot, now), -EADDRINUSE);
	for (uint8_t i = 2; i <= WORLD_GATEWAYS; i++) {
		T_EQ(world_flow(2, i), (uint32_t)(i - 1));
		tcl_remove_resource(&c, &f.resource, now);
		world_add_cidr(2, "172.16.0.0/12", 1);
		now += TCL_INTENT_GAP_NS;
		world_out("172.16.0.1", 1);
	}
	f = world_flow_of(2, WORLD_GATEWAYS + 1);
	T_EQ(tcl_flow_created(&c, &f, &slot, now), -ENOSPC);
	T_EQ(c.counters.gateway_table_full, 1);
}

static void test_statuses(void)
{
	struct tcl_resource_spec s = world_cidr(1, "10.0.0.0/8", 1);
	struct uuid id = s.r.id;
	uint32_t slot;

	world_setup();
	s.sites[1].id.b[0] = 202; /* sites 1 and 2 */
	s.sites[1].id.b[15] = 2;
	s.site_count = 2;
	T_EQ(tcl_add_resource(&c, &s, now), 0);
	world_add_cidr(2, "172.16.0.0/12", 2);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN);
	world_out("172.16.0.1", 1);
	tcl_flow_failed(&c, &(struct uuid){.b = {2, [15] = 2}}, TCL_FAILURE_OFFLINE, now);
	T_EQ(tcl_resource_status(&c, 1), TCL_STATUS_OFFLINE);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN); /* its other site may be up */
	T_EQ(tcl_deadline(&c).at, now + TCL_OFFLINE_DECAY_NS);
	slot = world_connect(1, 1, "10.0.0.1");
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_ONLINE);
	T_EQ(tcl_resource_status(&c, 1), TCL_STATUS_OFFLINE);
	tcl_gateway_gone(&c, slot, now);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN);
	tcl_flow_failed(&c, &id, TCL_FAILURE_OTHER, now);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN);
	tcl_flow_failed(&c, &id, TCL_FAILURE_OFFLINE, now);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_OFFLINE);
	now += TCL_OFFLINE_DECAY_NS - 1;
	tcl_timeout(&c, now);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_OFFLINE);
	now += 1;
	world_drain();
	tcl_timeout(&c, now);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN);
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	T_EQ(tcl_deadline(&c).at, TIME_NEVER);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_first_packet_to_delivery);
	T_RUN(test_second_resource_reuses_gateway);
	T_RUN(test_intents_are_spaced);
	T_RUN(test_what_never_leaves);
	T_RUN(test_longest_prefix_and_filters);
	T_RUN(test_identical_networks);
	T_RUN(test_inbound_check);
	T_RUN(test_resource_deleted);
	T_RUN(test_update_in_place_and_interrupting);
	T_RUN(test_init_diff);
	T_RUN(test_unusable_resources);
	T_RUN(test_dns_is_listed_only);
	T_RUN(test_routes);
	T_RUN(test_switches);
	T_RUN(test_flow_created_errors);
	T_RUN(test_statuses);
	return t_done();
}
