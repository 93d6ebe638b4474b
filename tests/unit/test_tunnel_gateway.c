/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's policy, case by case: who may reach what, when it ends, and what the shell is told.
 */
#include "tests/tgw_world.h"

static void test_cidr_both_ways(void)
{
	struct tunnel_resource r;
	uint32_t slot;

	setup();
	r = cidr(10, "10.0.0.0/8");
	slot = authorize(1, &r);
	T_EQ(in(slot, C1, "10.1.2.3", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, "11.0.0.1", TCP, 80), PS_R_URX_POLICY);
	T_EQ(in(slot, C1, OWN, UDP, 53535), PS_R_URX_DELIVERED);
	T_EQ(in(slot, "100.64.1.2", "10.1.2.3", TCP, 80), PS_R_URX_BAD_SOURCE);
	T_EQ(in(slot, "10.0.0.1", "10.1.2.3", TCP, 80), PS_R_URX_BAD_SOURCE);
	T_EQ(in(slot, "fd00:2021:1111::1:2", "fd00::1", TCP, 80), PS_R_URX_BAD_SOURCE);
	T_EQ(in(slot + 1, C1, "10.1.2.3", TCP, 80), PS_R_URX_POLICY);
	T_EQ(in(TUNNEL_NO_SLOT, C1, "10.1.2.3", TCP, 80), PS_R_URX_POLICY);
	T_EQ(out("10.9.9.9", C1, TCP, 80), PS_R_UTX_SENT);
	T_EQ(out("11.0.0.1", C1, TCP, 80), PS_R_UTX_POLICY);
	T_EQ(out(OWN, C1, UDP, 53535), PS_R_UTX_SENT);
	T_EQ(out("10.9.9.9", C2, TCP, 80), PS_R_UTX_NO_PEER);
	T_EQ(out("10.9.9.9", "224.0.0.1", UDP, 80), PS_R_UTX_IGNORED);
	T_EQ(out("fd00::1", "fe80::1", UDP, 80), PS_R_UTX_IGNORED);
}

/* Nothing but the own address is reachable inside the tunnel's ranges, whatever a network covers.
 */
static void test_no_way_to_other_clients(void)
{
	struct tunnel_resource wide, inside;
	uint32_t slot;
	struct tgw_authorization bad;

	setup();
	wide = cidr(10, "100.0.0.0/8");
	slot = authorize(1, &wide);
	authorize(2, &wide);
	T_EQ(in(slot, C1, "100.1.1.1", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, C2, TCP, 80), PS_R_URX_POLICY);
	T_EQ(in(slot, C1, "100.96.0.1", TCP, 80), PS_R_URX_NAT_UNKNOWN);
	T_EQ(out(C1, C2, TCP, 80), PS_R_UTX_POLICY);
	inside = cidr(11, "100.64.1.2/32");
	bad = (struct tgw_authorization){.client = id_of(3),
					 .tun4 = pkt_ip("100.64.1.3"),
					 .tun6 = pkt_ip("fd00:2021:1111::1:3"),
					 .resource = &inside};
	T_EQ(tgw_authorize(&gw, &bad, &slot, now), -EINVAL);
}

static void test_filters_are_additive(void)
{
	struct tunnel_resource wide, narrow;
	uint32_t slot;

	setup();
	wide = cidr(10, "10.0.0.0/8");
	narrow = cidr(11, "10.1.0.0/16");
	T_EQ(filter_set_add_ports(&wide.filters, TCP, 80, 80), 0);
	T_EQ(filter_set_add_ports(&narrow.filters, UDP, 53, 53), 0);
	slot = authorize(1, &wide);
	T_EQ(authorize(1, &narrow), slot);
	T_EQ(in(slot, C1, "10.1.0.1", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, "10.1.0.1", UDP, 53), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, "10.2.0.1", UDP, 53), PS_R_URX_FILTERED);
	T_EQ(in(slot, C1, "10.1.0.1", TCP, 81), PS_R_URX_FILTERED);
	T_EQ(in(slot, C1, "10.1.0.1", IP_PROTO_ICMP, 7), PS_R_URX_FILTERED);
	T_EQ(out("10.1.0.1", C1, TCP, 80), PS_R_UTX_SENT);
	T_EQ(out("10.1.0.1", C1, TCP, 81), PS_R_UTX_FILTERED);
	filter_set_init(&narrow.filters);
	T_EQ(tgw_resource_updated(&gw, &narrow), 0);
	T_EQ(in(slot, C1, "10.1.0.1", IP_PROTO_ICMP, 7), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, "10.2.0.1", IP_PROTO_ICMP, 7), PS_R_URX_FILTERED);
}

/* The id meant something else until a moment ago, and that is remembered: what is new about the
 * resource is still about the one there is. */
static void test_update_of_one_that_was_another(void)
{
	struct tunnel_resource was, is;
	uint32_t slot;

	setup();
	was = internet(10);
	is = cidr(10, "10.1.0.0/16");
	authorize(1, &was);
	slot = authorize(1, &is);
	T_EQ(in(slot, C1, "10.1.0.1", TCP, 81), PS_R_URX_DELIVERED);
	T_EQ(filter_set_add_ports(&is.filters, TCP, 80, 80), 0);
	T_EQ(tgw_resource_updated(&gw, &is), 0);
	T_EQ(in(slot, C1, "10.1.0.1", TCP, 81), PS_R_URX_FILTERED);
	is.type = TUNNEL_RESOURCE_DNS;
	T_EQ(tgw_resource_updated(&gw, &is), -EINVAL);
}

static void test_most_specific_is_named(void)
{
	struct tunnel_resource wide, narrow, all;
	struct tunnel_flow_grant grant;
	struct pkt p = pkt_text(C1, "10.1.0.1", TCP, 1, 80);
	uint32_t slot;

	setup();
	wide = cidr(10, "10.0.0.0/8");
	narrow = cidr(11, "10.1.0.0/16");
	all = internet(12);
	slot = authorize(1, &wide);
	authorize(1, &all);
	T_EQ(tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &grant, now), PS_R_URX_DELIVERED);
	T_EQ(tgw_resource_at(&gw, grant.resource)->id.b[0], 10);
	T_EQ(authorize_until(1, &narrow, unix_now + 5, &slot), 0);
	T_EQ(tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &grant, now), PS_R_URX_DELIVERED);
	T_EQ(tgw_resource_at(&gw, grant.resource)->id.b[0], 11);
	T_EQ(grant.expires_at, unix_now + 5);
	T(grant.cacheable);
	T_EQ(tgw_check_in(&gw, slot, p.b, &p.m, unix_now + 5, &grant, now), PS_R_URX_DELIVERED);
	T_EQ(tgw_resource_at(&gw, grant.resource)->id.b[0], 10);
	T_EQ(grant.expires_at, TUNNEL_NEVER_EXPIRES);
}

static void test_internet(void)
{
	static const char *const refused[] = {"10.0.0.1",
					      "172.31.255.255",
					      "192.168.1.1",
					      "127.0.0.1",
					      "169.254.1.1",
					      "100.64.1.2",
					      "224.0.0.1",
					      "240.0.0.1",
					      "255.255.255.255",
					      "0.1.2.3",
					      "::1",
					      "::ffff:1.2.3.4",
					      "fc00::1",
					      "fd12::1",
					      "fe80::1",
					      "ff02::1",
					      "::"};
	struct tunnel_resource r, lan;
	struct tunnel_flow_grant grant;
	uint32_t slot;

	setup();
	r = internet(10);
	slot = authorize(1, &r);
	T_EQ(in(slot, C1, "8.8.8.8", UDP, 53), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, "172.32.0.1", UDP, 53), PS_R_URX_DELIVERED);
	T_EQ(in(slot, "fd00:2021:1111::1:1", "2001:db8::1", TCP, 1), PS_R_URX_DELIVERED);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		bool v6 = strchr(refused[i], ':');
		struct pkt p = pkt_text(v6 ? "fd00:2021:1111::1:1" : C1, refused[i], UDP, 1, 2);

		if (!T_EQ(tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &grant, now),
			  PS_R_URX_POLICY))
			t_note("%s", refused[i]);
	}
	T_EQ(out("8.8.8.8", C1, UDP, 53), PS_R_UTX_SENT);
	T_EQ(out("192.168.1.1", C1, UDP, 53), PS_R_UTX_POLICY);
	{
		struct pkt p = pkt_text(C1, "192.168.1.1", UDP, 1, 2);

		T_EQ(tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &grant, now), PS_R_URX_POLICY);
		T_EQ(grant.reply, ICMP_ERROR_UNREACHABLE);
	}
	lan = cidr(11, "192.168.1.0/24");
	authorize(1, &lan);
	T_EQ(in(slot, C1, "192.168.1.1", UDP, 53), PS_R_URX_DELIVERED);
}

static void test_expiry_to_the_second(void)
{
	struct tunnel_resource r;
	struct tgw_event e;
	uint32_t slot;

	setup();
	r = cidr(10, "10.0.0.0/8");
	T_EQ(authorize_until(1, &r, unix_now + 10, &slot), 0);
	T_EQ(next_event().kind, TGW_EVENT_PEER_ADDED);
	T(tgw_deadline(&gw).at != TIME_NEVER);
	unix_now += 9;
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_DELIVERED);
	T_EQ(out("10.0.0.1", C1, TCP, 1), PS_R_UTX_SENT);
	tgw_timeout(&gw, unix_now, now);
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	unix_now += 1; /* no sweep needed for it to end */
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_AUTH_EXPIRED);
	T_EQ(in(slot, C1, OWN, TCP, 1), PS_R_URX_AUTH_EXPIRED);
	T_EQ(out("10.0.0.1", C1, TCP, 1), PS_R_UTX_AUTH_EXPIRED);
	now += NS_PER_SEC;
	tgw_timeout(&gw, unix_now, now);
	T_EQ(next_event().kind, TGW_EVENT_PEER_CHANGED);
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_AUTH_EXPIRED);
	now += TGW_LINGER_NS;
	tgw_timeout(&gw, unix_now + 3, now);
	e = next_event();
	T_EQ(e.kind, TGW_EVENT_PEER_REMOVED);
	T_EQ(e.why, TGW_WHY_EXPIRED);
	T_EQ(e.slot, slot);
	T(uuid_eq(&e.client, &(struct uuid){.b = {1, [15] = 1}}));
	drain();
	T_EQ(gw.client_count + gw.grant_count + gw.resource_count, 0);
	T_EQ(gw.idx.used, 0);
	tgw_timeout(&gw, unix_now, now);
	T_EQ(tgw_deadline(&gw).at, TIME_NEVER);
}

static void test_renewal_replaces_filters_and_expiry(void)
{
	struct tunnel_resource r;
	uint32_t slot;

	setup();
	r = cidr(10, "10.0.0.0/8");
	T_EQ(authorize_until(1, &r, unix_now + 10, &slot), 0);
	drain();
	T_EQ(authorize_until(1, &r, unix_now + 100, &slot), 0);
	T_EQ(next_event().kind, TGW_EVENT_NONE); /* longer: nothing to invalidate */
	unix_now += 50;
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(filter_set_add_ports(&r.filters, TCP, 443, 443), 0);
	T_EQ(authorize_until(1, &r, unix_now + 5, &slot), 0);
	T_EQ(next_event().kind, TGW_EVENT_PEER_CHANGED);
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 80), PS_R_URX_FILTERED);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 443), PS_R_URX_DELIVERED);
	T_EQ(tgw_expiry_update(&gw, &(struct uuid){.b = {1, [15] = 1}}, &r.id, unix_now + 2), 0);
	T_EQ(next_event().kind, TGW_EVENT_PEER_CHANGED);
	unix_now += 2;
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 443), PS_R_URX_AUTH_EXPIRED);
	T_EQ(tgw_expiry_update(&gw, &(struct uuid){.b = {9}}, &r.id, 1), -ENOENT);
}

/* Another address under the same id replaces it for this client; the other one keeps what it was
 * given. */
static void test_address_change(void)
{
	struct tunnel_resource before, after;
	uint32_t one, two;

	setup();
	before = cidr(10, "10.0.0.0/8");
	after = cidr(10, "172.16.0.0/12");
	one = authorize(1, &before);
	two = authorize(2, &before);
	drain();
	authorize(1, &after);
	T_EQ(next_event().slot, one);
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	T_EQ(in(one, C1, "172.16.0.1", TCP, 1), PS_R_URX_DELIVERED);
	T_EQ(in(one, C1, "10.0.0.1", TCP, 1), PS_R_URX_REVOKED);
	T_EQ(in(two, C2, "10.0.0.1", TCP, 1), PS_R_URX_DELIVERED);
	T_EQ(in(two, C2, "172.16.0.1", TCP, 1), PS_R_URX_POLICY);
}

static void test_reject(void)
{
	struct tunnel_resource a, b;
	struct uuid c1 = id_of(1);
	struct tgw_event e;
	uint32_t slot;

	setup();
	a = cidr(10, "10.0.0.0/8");
	b = cidr(11, "172.16.0.0/12");
	slot = authorize(1, &a);
	authorize(1, &b);
	drain();
	tgw_reject(&gw, &c1, &(struct uuid){.b = {99}}, now);
	tgw_reject(&gw, &(struct uuid){.b = {99}}, &a.id, now);
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	tgw_reject(&gw, &c1, &a.id, now);
	T_EQ(next_event().kind, TGW_EVENT_PEER_CHANGED);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_REVOKED);
	T_EQ(out("10.0.0.1", C1, TCP, 1), PS_R_UTX_REVOKED);
	T_EQ(in(slot, C1, "172.16.0.1", TCP, 1), PS_R_URX_DELIVERED);
	now += TGW_TOMBSTONE_NS;
	tgw_timeout(&gw, unix_now, now);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_POLICY);
	tgw_reject(&gw, &c1, &b.id, now);
	T_EQ(next_event().kind, TGW_EVENT_PEER_CHANGED);
	T_EQ(in(slot, C1, OWN, UDP, 53), PS_R_URX_REVOKED);
	now += TGW_LINGER_NS;
	tgw_timeout(&gw, unix_now, now);
	T_EQ(in(slot, C1, "172.16.0.1", TCP, 1), PS_R_URX_POLICY);
	e = next_event();
	T_EQ(e.kind, TGW_EVENT_PEER_REMOVED);
	T_EQ(e.why, TGW_WHY_REJECTED);
}

/* Granted again while lingering, and while its removal was not polled yet: same slot, no goodbye.
 */
static void test_granted_again(void)
{
	struct tunnel_resource r;
	struct uuid c1 = id_of(1);
	uint32_t slot;

	setup();
	r = cidr(10, "10.0.0.0/8");
	slot = authorize(1, &r);
	tgw_reject(&gw, &c1, &r.id, now);
	drain();
	T_EQ(authorize(1, &r), slot);
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_DELIVERED);
	tgw_reject(&gw, &c1, &r.id, now);
	now += TGW_LINGER_NS;
	tgw_timeout(&gw, unix_now, now);
	T_EQ(tgw_find_client(&gw, &c1), TUNNEL_NO_SLOT);
	T_EQ(authorize(1, &r), slot);
	T_EQ(next_event().kind, TGW_EVENT_PEER_CHANGED);
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	T_EQ(tgw_find_client(&gw, &c1), slot);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_DELIVERED);
}

static void test_retain(void)
{
	struct tunnel_resource a, b;
	struct tgw_retained list[3];
	uint32_t one, two;

	setup();
	a = cidr(10, "10.0.0.0/8");
	b = cidr(11, "172.16.0.0/12");
	one = authorize(1, &a);
	authorize(1, &b);
	two = authorize(2, &a);
	drain();
	list[0] = (struct tgw_retained){.client = id_of(1),
					.resource = b.id,
					.has_expiry = true,
					.expires_at = unix_now + 9};
	list[1] = (struct tgw_retained){.client = id_of(1),
					.resource = b.id,
					.has_expiry = true,
					.expires_at = unix_now + 4};
	list[2] = (struct tgw_retained){.client = id_of(7), .resource = b.id};
	tgw_retain(&gw, list, 3, now);
	T_EQ(in(one, C1, "10.0.0.1", TCP, 1), PS_R_URX_REVOKED);
	T_EQ(in(two, C2, "10.0.0.1", TCP, 1), PS_R_URX_REVOKED); /* not listed at all */
	unix_now += 8;
	T_EQ(in(one, C1, "172.16.0.1", TCP, 1), PS_R_URX_DELIVERED); /* the later of the two */
	unix_now += 1;
	T_EQ(in(one, C1, "172.16.0.1", TCP, 1), PS_R_URX_AUTH_EXPIRED);
	tgw_retain(&gw, NULL, 0, now);
	T_EQ(clients[one].live_count, 0);
}

static void test_icmp_errors(void)
{
	struct ipaddr router = pkt_ip("192.0.2.1");
	struct tunnel_flow_grant grant;
	struct tunnel_resource r;
	struct pkt sent, other, err;
	uint32_t slot;

	setup();
	r = cidr(10, "10.0.0.0/8");
	T_EQ(filter_set_add_ports(&r.filters, TCP, 80, 80), 0);
	slot = authorize(1, &r);
	sent = pkt_text(C1, "10.0.0.1", TCP, 1234, 80);
	err = pkt_error(&router, &sent);
	T_EQ(tgw_check_out(&gw, err.b, &err.m, unix_now, &grant, now), PS_R_UTX_SENT);
	T(!grant.cacheable);
	other = pkt_text(C1, "10.0.0.1", TCP, 1234, 81);
	err = pkt_error(&router, &other);
	T_EQ(tgw_check_out(&gw, err.b, &err.m, unix_now, &grant, now), PS_R_UTX_FILTERED);
	other = pkt_text(C1, "11.0.0.1", TCP, 1234, 80);
	err = pkt_error(&router, &other);
	T_EQ(tgw_check_out(&gw, err.b, &err.m, unix_now, &grant, now), PS_R_UTX_POLICY);
	/* from the client: refused, and never answered */
	other = pkt_text("10.0.0.1", C1, TCP, 80, 1234);
	err = pkt_error(&sent.m.src, &other);
	T_EQ(tgw_check_in(&gw, slot, err.b, &err.m, unix_now, &grant, now), PS_R_URX_FILTERED);
	T_EQ(grant.reply, ICMP_ERROR_NONE);
}

static void test_fragments_and_source_routes(void)
{
	struct tunnel_flow_grant grant;
	struct tunnel_resource r;
	struct pkt p = pkt_text(C1, "10.0.0.1", UDP, 1, 80), frag, back;
	uint32_t slot;

	setup();
	r = cidr(10, "10.0.0.0/8");
	slot = authorize(1, &r);
	frag = p;
	be16_put(frag.b + 6, 0x2000);
	T_EQ(ip_packet_parse(frag.b, frag.len, &frag.m), 0);
	T_EQ(tgw_check_in(&gw, slot, frag.b, &frag.m, unix_now, &grant, now), PS_R_URX_DELIVERED);
	T(!grant.cacheable);
	T_EQ(filter_set_add_ports(&r.filters, UDP, 80, 80), 0);
	authorize(1, &r);
	T_EQ(tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &grant, now), PS_R_URX_DELIVERED);
	T_EQ(tgw_check_in(&gw, slot, frag.b, &frag.m, unix_now, &grant, now), PS_R_URX_FRAGMENT);
	T_EQ(grant.reply, ICMP_ERROR_PROHIBITED);
	back = pkt_text("10.0.0.1", C1, UDP, 80, 1);
	be16_put(back.b + 6, 0x00ff); /* a later one */
	T_EQ(ip_packet_parse(back.b, back.len, &back.m), 0);
	T_EQ(tgw_check_out(&gw, back.b, &back.m, unix_now, &grant, now), PS_R_UTX_FRAGMENT);
	filter_set_init(&r.filters);
	authorize(1, &r);
	T_EQ(tgw_check_out(&gw, back.b, &back.m, unix_now, &grant, now), PS_R_UTX_SENT);
	T(!grant.cacheable);
	p.m.source_routed = true;
	T_EQ(tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &grant, now), PS_R_URX_POLICY);
}

/* The gateway itself: its resolver and echoes, whatever the resource's filters say; nothing else
 * that may listen there; nothing for whom no grant is live. */
static void test_own_address(void)
{
	struct tunnel_resource r;
	uint32_t slot;

	setup();
	r = cidr(10, "10.0.0.0/8");
	T_EQ(filter_set_add_ports(&r.filters, TCP, 80, 80), 0);
	T_EQ(authorize_until(1, &r, unix_now + 10, &slot), 0);
	T_EQ(in(slot, C1, OWN, UDP, TUNNEL_DNS_PORT), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, OWN, TCP, TUNNEL_DNS_PORT), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, OWN, IP_PROTO_ICMP, 0), PS_R_URX_DELIVERED);
	T_EQ(in(slot, "fd00:2021:1111::1:1", "fd00:2021:1111::1", UDP, TUNNEL_DNS_PORT),
	     PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, OWN, TCP, 22), PS_R_URX_FILTERED);
	T_EQ(in(slot, C1, OWN, TCP, 80), PS_R_URX_FILTERED);
	T_EQ(in(slot, C1, OWN, UDP, 53), PS_R_URX_FILTERED);
	T_EQ(in(slot, C1, OWN, 47, 0), PS_R_URX_FILTERED);
	T_EQ(in(slot, C2, OWN, UDP, TUNNEL_DNS_PORT), PS_R_URX_BAD_SOURCE);
	T_EQ(out(OWN, C1, UDP, TUNNEL_DNS_PORT), PS_R_UTX_SENT);
	unix_now += 10;
	T_EQ(in(slot, C1, OWN, UDP, TUNNEL_DNS_PORT), PS_R_URX_AUTH_EXPIRED);
	T_EQ(in(slot, C1, OWN, IP_PROTO_ICMP, 0), PS_R_URX_AUTH_EXPIRED);
	T_EQ(out(OWN, C1, UDP, TUNNEL_DNS_PORT), PS_R_UTX_AUTH_EXPIRED);
	slot = authorize(1, &r);
	T_EQ(in(slot, C1, OWN, IP_PROTO_ICMP, 0), PS_R_URX_DELIVERED);
	tgw_reject(&gw, &clients[slot].id, &r.id, now);
	T_EQ(in(slot, C1, OWN, UDP, TUNNEL_DNS_PORT), PS_R_URX_REVOKED);
	T_EQ(in(slot, C1, OWN, IP_PROTO_ICMP, 0), PS_R_URX_REVOKED);
	T_EQ(out(OWN, C1, UDP, TUNNEL_DNS_PORT), PS_R_UTX_REVOKED);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_cidr_both_ways);
	T_RUN(test_no_way_to_other_clients);
	T_RUN(test_filters_are_additive);
	T_RUN(test_update_of_one_that_was_another);
	T_RUN(test_most_specific_is_named);
	T_RUN(test_internet);
	T_RUN(test_expiry_to_the_second);
	T_RUN(test_renewal_replaces_filters_and_expiry);
	T_RUN(test_address_change);
	T_RUN(test_reject);
	T_RUN(test_granted_again);
	T_RUN(test_retain);
	T_RUN(test_icmp_errors);
	T_RUN(test_own_address);
	T_RUN(test_fragments_and_source_routes);
	return t_done();
}
