/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenarios of who may reach what, until when: filters, sources, expiry, revocation, the operator's
 * switch. */
#include "tests/policy/ps.h"

enum { GW0 = PW_CLIENTS, GW1 };

static const struct ipaddr far1 = {.family = 4, .b = {10, 1, 2, 3}};

/* The resource's first packet waits and then leaves gateway g. */
static void begin_with(uint8_t c, const struct pkt *p, uint8_t g)
{
	struct pkt got;

	T_EQ(pw_app_send(&pw, c, p), PS_R_UTX_BUFFERED);
	ps_serve();
	got = ps_took(pw_gw(&pw, g));
	ps_same(&got, p);
}

static void begin(uint8_t c, const struct ipaddr *far, uint8_t g)
{
	struct pkt p = ps_udp(c, far, 1, 9);

	begin_with(c, &p, g);
}

/* ---- s08 ---- */
static void passes(const struct ipaddr *far, uint8_t proto, uint16_t dport)
{
	struct pkt p = ps_packet(0, far, proto, 5000, dport), got = ps_exchange(0, &p, 0, far);

	ps_carried(0, &p, 0, &got);
}

static void prohibited(const struct ipaddr *far, uint8_t proto, uint16_t dport)
{
	struct pkt p = ps_packet(0, far, proto, 5000, dport);

	ps_refused(0, &p, 0, PS_R_URX_FILTERED, ICMP_ERROR_PROHIBITED);
}

/* To far from the LAN, from that port. */
static void from_lan(const struct ipaddr *far, uint16_t sport, enum ps_reason_id want)
{
	struct pkt p = pkt_make(far, &pw.node[0].tun4, IP_PROTO_TCP, sport, 5000, 4), got;

	T_EQ(pw_lan_send(&pw, 0, &p), want);
	if (want == PS_R_UTX_SENT) {
		got = ps_took(0);
		ps_same(&got, &p);
	}
	ps_quiet(); /* the LAN is not told */
}

/* What either of two permits passes, but only what the client has been given. */
static void overlapping(const struct ipaddr *narrow, const struct ipaddr *wide)
{
	struct pkt p;

	p = ps_udp(0, narrow, 5000, 53);
	begin_with(0, &p, 0);
	passes(narrow, IP_PROTO_UDP, 53);
	prohibited(narrow, IP_PROTO_TCP, 80);
	p = ps_packet(0, wide, IP_PROTO_TCP, 5000, 80);
	begin_with(0, &p, 0);
	passes(narrow, IP_PROTO_TCP, 80);
	passes(narrow, IP_PROTO_UDP, 53);
	prohibited(narrow, IP_PROTO_TCP, 53);
	prohibited(narrow, IP_PROTO_TCP, 443);
	passes(wide, IP_PROTO_TCP, 80);
	prohibited(wide, IP_PROTO_UDP, 53);
}

/* The portal tells the gateway of a list for resource 4 that is longer than a filter set: every
 * second port, the one given not among them. */
static void too_many_filters(uint16_t without)
{
	char json[8192];
	size_t at = (size_t)snprintf(
		json, sizeof(json),
		"{\"id\":\"5e000000-0000-0000-0000-000000000004\",\"type\":\"cidr\","
		"\"address\":\"172.17.0.0/16\",\"name\":\"r\",\"filters\":[");

	T(without % 2);
	for (unsigned i = 1; i <= FILTER_RANGES_CAP + 1; i++)
		at += (size_t)snprintf(json + at, sizeof(json) - at,
				       "%s{\"protocol\":\"tcp\",\"port_range_start\":%u,"
				       "\"port_range_end\":%u}",
				       i > 1 ? "," : "", 2 * i, 2 * i);
	snprintf(json + at, sizeof(json) - at, "]}");
	T_EQ(pw_say_json(&pw, PW_CLIENTS, "resource_updated", json), 0);
	pw_settle(&pw);
}

void s08_filters_overlap_icmp_ports_prohibited(void)
{
	const struct ipaddr narrow = {.family = 4, .b = {10, 1, 0, 1}},
			    wide = {.family = 4, .b = {10, 2, 0, 1}},
			    echo = {.family = 4, .b = {172, 16, 0, 1}},
			    ports = {.family = 4, .b = {172, 17, 0, 1}},
			    six = pkt_ip("2001:db8:5::1");
	struct pw_resource r = {.r = 4,
				.type = TUNNEL_RESOURCE_CIDR,
				.address = "172.17.0.0/16",
				.filter_count = 2,
				.filters = {{IP_PROTO_TCP, 8000, 8010}, {IP_PROTO_UDP, 53, 53}}};
	struct pkt p, got;

	ps_open(1, 1, 1);
	ps_define((struct pw_resource){.r = 1,
				       .type = TUNNEL_RESOURCE_CIDR,
				       .address = "10.0.0.0/8",
				       .filter_count = 1,
				       .filters = {{IP_PROTO_TCP, 80, 80}}});
	ps_define((struct pw_resource){.r = 2,
				       .type = TUNNEL_RESOURCE_CIDR,
				       .address = "10.1.0.0/16",
				       .filter_count = 1,
				       .filters = {{IP_PROTO_UDP, 53, 53}}});
	ps_define((struct pw_resource){.r = 3,
				       .type = TUNNEL_RESOURCE_CIDR,
				       .address = "172.16.0.0/16",
				       .filter_count = 1,
				       .filters = {{.proto = IP_PROTO_ICMP}}});
	ps_define(r);
	ps_define((struct pw_resource){.r = 5,
				       .type = TUNNEL_RESOURCE_CIDR,
				       .address = "2001:db8:5::/48",
				       .filter_count = 1,
				       .filters = {{IP_PROTO_TCP, 443, 443}}});

	overlapping(&narrow, &wide);

	/* Echoes only. */
	p = ps_packet(0, &echo, IP_PROTO_ICMP, 0, 7);
	begin_with(0, &p, 0);
	got = ps_exchange(0, &p, 0, &echo);
	ps_carried(0, &p, 0, &got);
	prohibited(&echo, IP_PROTO_TCP, 80);
	prohibited(&echo, IP_PROTO_UDP, 80);
	prohibited(&narrow, IP_PROTO_ICMP, 7);

	/* Ranges end where they say; from the resource it is its port that counts. */
	p = ps_packet(0, &ports, IP_PROTO_TCP, 5000, 8000);
	begin_with(0, &p, 0);
	prohibited(&ports, IP_PROTO_TCP, 7999);
	passes(&ports, IP_PROTO_TCP, 8000);
	passes(&ports, IP_PROTO_TCP, 8010);
	prohibited(&ports, IP_PROTO_TCP, 8011);
	prohibited(&ports, IP_PROTO_UDP, 8005);
	from_lan(&ports, 8010, PS_R_UTX_SENT);
	from_lan(&ports, 8011, PS_R_UTX_FILTERED);

	/* IPv6, whose error quotes it all. */
	p = ps_packet(0, &six, IP_PROTO_TCP, 5000, 443);
	begin_with(0, &p, 0);
	passes(&six, IP_PROTO_TCP, 443);
	prohibited(&six, IP_PROTO_TCP, 442);
	prohibited(&six, IP_PROTO_ICMPV6, 7);

	/* Others from now on: what the kernel carried by the old ones is over. */
	p = ps_packet(0, &ports, IP_PROTO_TCP, 5000, 8000);
	T_EQ(ps_lets_in(0, &p, 0), PS_R_XDP_DELIVERED);
	r.filters[0].first = 8001;
	ps_define(r);
	prohibited(&ports, IP_PROTO_TCP, 8000);
	from_lan(&ports, 8000, PS_R_UTX_FILTERED);
	passes(&ports, IP_PROTO_TCP, 8001);

	/* More than fit: the first ones are what is permitted, not what was before. */
	too_many_filters(8001);
	prohibited(&ports, IP_PROTO_TCP, 8001);
	passes(&ports, IP_PROTO_TCP, 2);
	prohibited(&ports, IP_PROTO_TCP, 2 + 2 * FILTER_RANGES_CAP);
	ps_close();
}

/* ---- s09 ---- */
static void app_spoofs(const struct ipaddr *src)
{
	struct pkt p = pkt_make(src, &far1, IP_PROTO_UDP, 5000, 80, 4), got;
	struct pw_out out;
	uint32_t slot;

	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BAD_SOURCE);
	T(ps_cached_out(&pw.node[0], &p, &slot, &out) != PS_R_TX_SENT);
	/* a client that sends it all the same; the answer it gets is not for its applications */
	T_EQ(pw_rogue_send(&pw, 0, GW0, p.b, p.len), PS_R_URX_BAD_SOURCE);
	T(ps_lets_in(0, &p, 0) != PS_R_XDP_DELIVERED);
	ps_quiet();
	got = ps_udp(0, &far1, 5000, 80);
	ps_exchange(0, &got, 0, &far1);
}

static void gateway_spoofs(const struct ipaddr *src, const struct ipaddr *dst,
			   enum ps_reason_id want)
{
	struct pkt p = pkt_make(src, dst, IP_PROTO_UDP, 80, 5000, 4);
	struct pw_out out;

	T_EQ(pw_rogue_send(&pw, GW0, 0, p.b, p.len), want);
	T(ps_cached_in(&pw.node[0], ps_slot(0, GW0), &p, &out) != PS_R_XDP_DELIVERED);
	ps_quiet();
}

void s09_spoofed_source_refused(void)
{
	const struct ipaddr far2 = {.family = 4, .b = {10, 2, 2, 3}}, six = pkt_ip("2001:db8:1::1"),
			    none = {.family = 6};
	struct pkt p, theirs, got, ctl;

	ps_open(2, 2, 2);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	ps_define((struct pw_resource){
		.r = 2, .type = TUNNEL_RESOURCE_CIDR, .address = "10.2.0.0/16", .sites = 2});
	ps_permit(3, TUNNEL_RESOURCE_CIDR, "2001:db8:1::/48");
	begin(0, &far1, 0);
	begin(0, &far2, 1);
	begin(0, &six, 0);
	begin(1, &far1, 0);
	theirs = ps_udp(1, &far1, 5000, 80);
	got = ps_exchange(1, &theirs, 0, &far1);
	ps_carried(1, &theirs, 0, &got);

	app_spoofs(&pw.node[1].tun4); /* though the other client's flow is in the kernel */
	app_spoofs(&pw.node[GW0].tun4);
	app_spoofs(&far1);
	app_spoofs(&(struct ipaddr){.family = 4, .b = {192, 168, 0, 1}});
	p = pkt_make(&pw.node[1].tun6, &six, IP_PROTO_UDP, 5000, 80, 4);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BAD_SOURCE);
	T_EQ(pw_rogue_send(&pw, 0, GW0, p.b, p.len), PS_R_URX_BAD_SOURCE);
	ps_quiet();
	ps_carried(1, &theirs, 0, &got);

	/* A gateway speaks for what it serves, and to its client. */
	gateway_spoofs(&far2, &pw.node[0].tun4, PS_R_URX_BAD_SOURCE);
	gateway_spoofs(&pw.node[GW1].tun4, &pw.node[0].tun4, PS_R_URX_BAD_SOURCE);
	gateway_spoofs(&(struct ipaddr){.family = 4, .b = {203, 0, 113, 1}}, &pw.node[0].tun4,
		       PS_R_URX_BAD_SOURCE);
	gateway_spoofs(&far1, &pw.node[1].tun4, PS_R_URX_POLICY);
	gateway_spoofs(&pw.node[0].tun4, &pw.node[0].tun4, PS_R_URX_BAD_SOURCE);

	/* Applications cannot speak as the daemons do among themselves. */
	ctl = pkt_make(&none, &none, 255, 0, 0, 40);
	T_EQ(pw_app_send(&pw, 0, &ctl), PS_R_UTX_IGNORED);
	T(pw_lan_send(&pw, 0, &ctl) != PS_R_UTX_SENT);
	T_EQ(pw.control_count, 0);
	ps_close();
}

/* ---- s12 ---- */
static void still_permitted(uint8_t c, const struct pkt *p, const struct ipaddr *real)
{
	struct pkt got = ps_exchange(c, p, 0, real);

	ps_carried(c, p, 0, &got);
}

/* Refused at that instant, by user space and by the kernel, in both directions; the client's kernel
 * may go on sending. */
static void expired(const struct pkt *p, const struct pkt *at_lan)
{
	struct pkt back = ps_mirror(at_lan);
	struct pw_out out;
	uint32_t slot;

	T(ps_cached_out(&pw.node[GW0], &back, &slot, &out) != PS_R_TX_SENT);
	ps_refused(0, p, 0, PS_R_URX_AUTH_EXPIRED, ICMP_ERROR_PROHIBITED);
	T(pw_lan_send(&pw, 0, &back) != PS_R_UTX_SENT);
	ps_quiet();
}

void s12_expiry_one_second_either_side(void)
{
	const struct ipaddr real = {.family = 4, .b = {10, 7, 0, 1}};
	uint64_t end, end_ns;
	struct ipaddr proxies[8];
	struct pkt p, q, other, named;

	ps_open(2, 1, 1);
	end = pw_unix(&pw) + 100;
	end_ns = pw.now + 100 * NS_PER_SEC;
	pw_zone_set(&pw, "a.one.test", &real, 1);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	ps_permit(3, TUNNEL_RESOURCE_DNS, "*.one.test");
	pw_policy_set(&pw, 0, 1, true, end);
	pw_policy_set(&pw, 0, 3, true, end);
	pw_policy_set(&pw, 1, 1, true, end);
	begin(0, &far1, 0);
	begin(1, &far1, 0);
	ps_ask(0, "a.one.test", DNS_TYPE_A, proxies);
	q = ps_udp(0, &proxies[0], 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	ps_serve();
	named = ps_took(GW0);
	p = ps_udp(0, &far1, 5000, 80);
	other = ps_udp(1, &far1, 5000, 80);

	/* Of the other client's the end has moved meanwhile. */
	pw_policy_set(&pw, 1, 1, true, end + 1000);
	ps_deliver();
	pw_jump(&pw, end_ns - pw.now - NS_PER_SEC);
	still_permitted(0, &p, &far1);
	still_permitted(0, &q, &real);
	still_permitted(1, &other, &far1);
	pw_jump(&pw, end_ns - pw.now - 1);
	T_EQ(ps_lets_in(0, &p, 0), PS_R_XDP_DELIVERED);
	T_EQ(ps_lets_in(0, &q, 0), PS_R_XDP_DELIVERED);
	ps_exchange(0, &p, 0, &far1);
	ps_exchange(0, &q, 0, &real);

	pw_jump(&pw, 1); /* and no timer has run */
	expired(&p, &p);
	expired(&q, &named);
	pw_advance(&pw, NS_PER_SEC);
	expired(&p, &p);
	expired(&q, &named);
	still_permitted(1, &other, &far1);

	/* Nothing is left for the client there; when it asks anew, the portal has nothing to say.
	 */
	pw_advance(&pw, 3 * NS_PER_SEC);
	ps_on_its_way(GW0, 0, P2P_CTL_GOODBYE);
	ps_serve();
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_serve();
	ps_quiet();

	/* A nearer end than was said, for a flow the kernel has already. */
	still_permitted(1, &other, &far1);
	end = pw_unix(&pw) + 10;
	end_ns = pw.now + 10 * NS_PER_SEC - pw.wall_ns % NS_PER_SEC;
	pw_policy_set(&pw, 1, 1, true, end);
	ps_deliver();
	still_permitted(1, &other, &far1);
	pw_jump(&pw, end_ns - pw.now - 1);
	T_EQ(ps_lets_in(1, &other, 0), PS_R_XDP_DELIVERED);
	pw_jump(&pw, 1);
	ps_refused(1, &other, 0, PS_R_URX_AUTH_EXPIRED, ICMP_ERROR_PROHIBITED);
	ps_close();
}

/* ---- s13 ---- */
void s13_revoked_while_gateway_offline(void)
{
	struct pkt p, other, back, got;
	struct pw_out out;
	uint32_t slot;

	ps_open(2, 1, 1);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	begin(0, &far1, 0);
	begin(1, &far1, 0);
	p = ps_udp(0, &far1, 5000, 80);
	other = ps_udp(1, &far1, 5000, 80);
	still_permitted(0, &p, &far1);
	still_permitted(1, &other, &far1);

	/* The client obeys at once, the gateway cannot know. */
	pw_portal_cut(&pw, GW0);
	pw_policy_set(&pw, 0, 1, false, 0);
	ps_deliver();
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_NO_PEER);
	T(ps_cached_out(&pw.node[0], &p, &slot, &out) != PS_R_TX_SENT);
	T_EQ(pw.intent_count, 0);
	T_EQ(pw_rogue_send(&pw, 0, GW0, p.b, p.len), PS_R_URX_DELIVERED);
	got = ps_took(GW0);
	ps_same(&got, &p);
	back = ps_mirror(&p);
	T_EQ(pw_lan_send(&pw, 0, &back), PS_R_UTX_SENT); /* which the client takes no more */
	ps_quiet();

	/* It comes back, is told what is permitted, and does not need to be told what is not. */
	pw_advance(&pw, 60 * NS_PER_SEC);
	T_EQ(ps_lets_in(0, &p, 0), PS_R_XDP_DELIVERED);
	pw_portal_join(&pw, GW0);
	ps_deliver();
	ps_refused(0, &p, 0, PS_R_URX_REVOKED, ICMP_ERROR_NONE);
	T(ps_cached_out(&pw.node[GW0], &back, &slot, &out) != PS_R_TX_SENT);
	T_EQ(pw_lan_send(&pw, 0, &back), PS_R_UTX_REVOKED);
	ps_quiet();
	still_permitted(1, &other, &far1);
	pw_advance(&pw, 4 * NS_PER_SEC);
	ps_on_its_way(GW0, 0, P2P_CTL_GOODBYE);
	ps_arrives(0, false);
	T_EQ(pw_slot(&pw, 0, GW0), TUNNEL_NO_SLOT);
	T_EQ(pw_slot(&pw, GW0, 0), TUNNEL_NO_SLOT);
	T(pw_link_ok(&pw, 1, 0));
	still_permitted(1, &other, &far1);
	ps_close();
}

/* ---- s18 ---- */
static bool routed(const char *text)
{
	struct ipnet net = pkt_net(text);
	bool found = false;

	for (uint32_t i = 0; i < pw.node[0].route_count; i++)
		found |= ipnet_eq(&pw.node[0].routes[i], &net);
	return found;
}

static void switch_internet(bool on)
{
	json_t *req = json_pack("{s:s,s:b}", "resource", "internet", "on", on),
	       *o = switch_request(pw.node[0].d, req, pw.now);

	T(json_is_true(json_object_get(o, "changed")));
	T(json_is_true(json_object_get(o, "enabled")) == on);
	json_decref(o);
	json_decref(req);
	pw_settle(&pw);
}

/* A query that is not ours to answer goes to the portal's resolver: that way. */
static void resolves(const char *name, bool via_tunnel)
{
	struct ipaddr none[8];

	T_EQ(pw.node[0].upstream_count, 0);
	T_EQ(pw_query(&pw, 0, name, DNS_TYPE_A, none), 0);
	if (!T_EQ(pw.node[0].upstream_count, 1))
		return;
	T_EQ(pw.node[0].upstreams[0].via_tunnel, via_tunnel);
	pw_advance(&pw, 6 * NS_PER_SEC);
	T_EQ(pw.node[0].upstream_count, 0);
}

void s18_internet_switch_routes_and_dns(void)
{
	const struct ipaddr far = {.family = 4, .b = {203, 0, 113, 5}}, six = pkt_ip("2001:db8::5");
	struct pkt p, p6, back, got;
	struct pw_out out;
	uint32_t slot, routes;

	ps_open(1, 1, 1);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	routes = pw.node[0].route_count;
	T(!routed("0.0.0.0/0") && !routed("::/0"));
	resolves("one.example", false);
	ps_permit(2, TUNNEL_RESOURCE_INTERNET, "");
	T(routed("0.0.0.0/0") && routed("::/0"));
	T_EQ(pw.node[0].route_count, routes + 2);
	resolves("two.example", true);
	begin(0, &far1, 0);
	begin(0, &far, 0);
	p = ps_udp(0, &far, 5000, 443);
	p6 = ps_udp(0, &six, 5000, 443);
	still_permitted(0, &p, &far);
	still_permitted(0, &p6, &six);

	switch_internet(false);
	T(!routed("0.0.0.0/0") && !routed("::/0"));
	T(routed("10.1.0.0/16"));
	T_EQ(pw.node[0].route_count, routes);
	resolves("three.example", false);
	T(ps_cached_out(&pw.node[0], &p, &slot, &out) != PS_R_TX_SENT);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_NO_PEER);
	T_EQ(pw_app_send(&pw, 0, &p6), PS_R_UTX_NO_PEER);
	T_EQ(ps_asked(0, 2), 1);
	back = ps_mirror(&p);
	T_EQ(pw_lan_send(&pw, 0, &back), PS_R_UTX_SENT);
	T(ps_cached_in(&pw.node[0], ps_slot(0, GW0), &back, &out) != PS_R_XDP_DELIVERED);
	T_EQ(ps_count(0, PS_R_URX_REVOKED), 1);
	ps_quiet();
	p = ps_udp(0, &far1, 5000, 80);
	still_permitted(0, &p, &far1); /* the rest is as it was */

	/* What the portal says again does not switch it on; the operator does. */
	pw_portal_join(&pw, 0);
	ps_deliver();
	T(!routed("0.0.0.0/0"));
	switch_internet(true);
	T(routed("0.0.0.0/0") && routed("::/0"));
	resolves("four.example", true);
	p = ps_udp(0, &far, 5000, 443);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	T_EQ(ps_asked(0, 2), 2);
	ps_serve();
	got = ps_took(GW0);
	ps_same(&got, &p);
	still_permitted(0, &p, &far);
	ps_close();
}
