/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenarios of names: proxy addresses, their set-up at the gateway, what is translated. */
#include "tests/policy/ps.h"

#define NAME "a.one.test"

static const struct ipaddr real_a = {.family = 4, .b = {10, 7, 0, 1}};
static const struct ipaddr real_b = {.family = 4, .b = {10, 7, 0, 2}};

/* Resource 3 is *.one.test; the client knows addresses of NAME, and nobody else knows anything. */
static void open_named(struct ipaddr proxies[8])
{
	ps_open(2, 1, 1);
	pw_zone_set(&pw, NAME, &real_a, 1);
	ps_permit(3, TUNNEL_RESOURCE_DNS, "*.one.test");
	ps_ask(0, NAME, DNS_TYPE_A, proxies);
}

/* The first packet is held, and the connection stands: AssignedIps is on its way. */
static struct pkt open_connected(struct ipaddr proxies[8])
{
	struct pkt p;

	open_named(proxies);
	p = ps_udp(0, &proxies[0], 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_flow(0, 0);
	T(pw_link_up(&pw, 0, 0));
	ps_quiet();
	return p;
}

/* The name is set up, its first packet has left. */
static struct pkt open_reached(struct ipaddr proxies[8])
{
	struct pkt p = open_connected(proxies);

	ps_serve();
	ps_took(PW_CLIENTS);
	return p;
}

void s03_name_gets_proxies_and_is_reached(void)
{
	const struct ipaddr both[] = {real_a, pkt_ip("2001:db8:7::1")};
	struct ipaddr v4[8], v6[8], again[8], other[8];
	struct p2p_assigned_ips said;
	struct p2p_ctl ctl;
	const struct pw_control *c;
	struct pkt p, p6, got;

	open_named(v4);
	pw_zone_set(&pw, NAME, both, 2);
	ps_ask(0, NAME, DNS_TYPE_AAAA, v6);
	ps_ask(0, "A.One.Test", DNS_TYPE_A, again);
	T_MEM(again, v4, 4 * sizeof(*v4));
	ps_ask(0, "b.one.test", DNS_TYPE_A, other);
	for (int i = 0; i < 16; i++)
		T(!ipaddr_eq(&v4[i / 4], &other[i % 4]));
	T_EQ(ps_said_count, 0); /* a query alone asks nobody */
	T_EQ(pw.node[0].upstream_count, 0);

	p = ps_udp(0, &v4[2], 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_flow(0, 0);
	T(pw_link_up(&pw, 0, 0));
	c = ps_on_its_way(0, PW_CLIENTS, P2P_CTL_ASSIGNED_IPS);
	T_EQ(p2p_ctl_decode(c->inner, c->inner_len, &ctl), P2P_CTL_EVENT);
	T_EQ(p2p_assigned_ips_decode(ctl.payload, ctl.payload_len, &said), 0);
	T_STR(said.domain, NAME);
	T_EQ(said.count, 8);
	T_MEM(said.ips, v4, 4 * sizeof(*v4));
	T_MEM(said.ips + 4, v6, 4 * sizeof(*v6));
	ps_name_arrives(0, 0, NAME);
	ps_quiet(); /* the client has yet to hear */
	T_EQ(pw.control_count, 2);
	T_EQ(pw.controls[1].type, P2P_CTL_DOMAIN_STATUS);
	ps_arrives(1, false);
	got = ps_took(PW_CLIENTS);
	T(ipaddr_eq(&got.m.dst, &real_a));
	T_EQ(got.m.sport, 5000);
	ps_quiet();

	ps_replies(0, &got, 0, &p);
	got = ps_exchange(0, &p, 0, &both[0]);
	ps_carried(0, &p, 0, &got);
	p6 = ps_packet(0, &v6[0], IP_PROTO_TCP, 5000, 443);
	got = ps_exchange(0, &p6, 0, &both[1]);
	ps_carried(0, &p6, 0, &got);
	ps_serve(); /* the other name's AssignedIps */
	T_EQ(ps_asked(0, 3), 1);
	ps_close();
}

void s04_domain_status_lost_is_asked_again(void)
{
	struct ipaddr proxies[8];
	struct pkt p = open_connected(proxies), q = ps_udp(0, &proxies[1], 5001, 80), got;
	struct pw_control first = *ps_on_its_way(0, PW_CLIENTS, P2P_CTL_ASSIGNED_IPS);

	ps_name_arrives(0, 0, NAME);
	ps_on_its_way(PW_CLIENTS, 0, P2P_CTL_DOMAIN_STATUS);
	ps_lost();
	pw_advance(&pw, 1999 * NS_PER_MS);
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	ps_ask(0, NAME, DNS_TYPE_A, proxies);
	T_EQ(pw.control_count, 0);
	pw_advance(&pw, 3 * NS_PER_SEC); /* time alone says nothing */
	T_EQ(pw.control_count, 0);

	/* Traffic does, in the same words; and it is as good as the first time. Lost on the way. */
	T_EQ(pw_app_send(&pw, 0, &q), PS_R_UTX_BUFFERED);
	ps_on_its_way(0, PW_CLIENTS, P2P_CTL_ASSIGNED_IPS);
	T_EQ(pw.controls[0].inner_len, first.inner_len);
	T_MEM(pw.controls[0].inner, first.inner, first.inner_len);
	ps_lost();
	pw_advance(&pw, 2 * NS_PER_SEC);
	T_EQ(pw.control_count, 0);

	/* So does a query. */
	ps_ask(0, NAME, DNS_TYPE_A, proxies);
	ps_name_arrives(0, 0, NAME);
	ps_quiet();
	ps_on_its_way(PW_CLIENTS, 0, P2P_CTL_DOMAIN_STATUS);
	ps_arrives(0, true); /* twice */
	got = ps_took(PW_CLIENTS);
	T_EQ(got.m.sport, 5000);
	got = ps_took(PW_CLIENTS);
	T_EQ(got.m.sport, 5001);
	ps_arrives(0, false);
	ps_quiet();
	pw_advance(&pw, 10 * NS_PER_SEC);
	ps_exchange(0, &p, 0, &real_a);
	T_EQ(pw.control_count, 0);
	ps_close();
}

void s05_inactive_name_refused_until_asked_again(void)
{
	struct ipaddr proxies[8], v6[8];
	struct pkt p, p6, got;
	struct p2p_domain_status status;
	const struct pw_control *c;
	struct pw_msg grant = {
		.kind = PW_AUTHORIZE, .r = 3, .expires = TUNNEL_NEVER_EXPIRES, .count = 1};
	struct ipaddr far = pkt_ip("10.1.0.1");
	struct p2p_ctl ctl;
	uint64_t controls;

	p = open_connected(proxies);
	ps_ask(0, NAME, DNS_TYPE_AAAA, v6);
	p6 = ps_udp(0, &v6[0], 5000, 80);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16"); /* something else stays permitted */
	got = ps_udp(0, &far, 1, 1);
	T_EQ(pw_app_send(&pw, 0, &got), PS_R_UTX_BUFFERED);
	ps_flow(0, 0);
	ps_took(PW_CLIENTS);

	/* The gateway has lost the resource when it hears of the name. */
	pw_say(&pw, PW_CLIENTS, &(struct pw_msg){.kind = PW_REJECT, .r = 3});
	ps_arrives(0, false);
	T_EQ(pw.node[PW_CLIENTS].question_count, 0);
	c = ps_on_its_way(PW_CLIENTS, 0, P2P_CTL_DOMAIN_STATUS);
	T_EQ(p2p_ctl_decode(c->inner, c->inner_len, &ctl), P2P_CTL_EVENT);
	T_EQ(p2p_domain_status_decode(ctl.payload, ctl.payload_len, &status), 0);
	T_STR(status.domain, NAME);
	T(!status.active);
	ps_arrives(0, false);
	ps_quiet(); /* what waited is gone */
	controls = pw.n.controls;
	for (int i = 0; i < 3; i++) {
		T_EQ(pw_app_send(&pw, 0, i % 2 ? &p6 : &p), PS_R_UTX_SENT);
		got = ps_took(0);
		ps_is_error(&got, i % 2 ? &p6 : &p, ICMP_ERROR_PROHIBITED);
		pw_advance(&pw, 5 * NS_PER_SEC);
	}
	T_EQ(ps_count(PW_CLIENTS, PS_R_URX_REVOKED), 3);
	T_EQ(pw.n.controls, controls); /* packets do not ask again */

	/* Permitted again; the application resolves again, and its packets wait again. */
	grant.res[0] = pw.res[3];
	pw_say(&pw, PW_CLIENTS, &grant);
	ps_deliver();
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_SENT);
	T_EQ(ps_count(PW_CLIENTS, PS_R_URX_NAT_UNKNOWN), 1);
	got = ps_took(0);
	ps_is_error(&got, &p, ICMP_ERROR_PROHIBITED);
	ps_ask(0, NAME, DNS_TYPE_A, proxies);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_name_arrives(0, 0, NAME);
	ps_quiet();
	ps_arrives(0, false);
	got = ps_took(PW_CLIENTS);
	T(ipaddr_eq(&got.m.dst, &real_a));
	got = ps_exchange(0, &p, 0, &real_a);
	ps_carried(0, &p, 0, &got);
	ps_close();
}

void s06_records_change_old_sessions_stay(void)
{
	struct ipaddr proxies[8];
	struct pkt p = open_reached(proxies), q = ps_udp(0, &proxies[0], 5001, 80), lan, fresh;
	struct pw_node *gw = &pw.node[PW_CLIENTS];

	lan = ps_exchange(0, &p, 0, &real_a);
	ps_carried(0, &p, 0, &lan);

	/* Nobody looks by himself. */
	pw_zone_set(&pw, NAME, &real_b, 1);
	for (int i = 0; i < 60; i++) {
		pw_advance(&pw, 60 * NS_PER_SEC);
		lan = ps_exchange(0, &p, 0, &real_a);
	}
	T_EQ(gw->question_count, 0);
	T_EQ(pw.control_count, 0);

	/* The application does; packets do not wait for it. */
	ps_ask(0, NAME, DNS_TYPE_A, proxies);
	lan = ps_reaches(0, &p, 0, &real_a);
	ps_name_arrives(0, 0, NAME);
	ps_carried(0, &p, 0, &lan); /* the session is what it was, so the kernel's flow is, too */
	ps_serve();
	lan = ps_exchange(0, &p, 0, &real_a);
	ps_carried(0, &p, 0, &lan);
	fresh = ps_exchange(0, &q, 0, &real_b);
	ps_carried(0, &q, 0, &fresh);
	ps_replies(0, &lan, 0, &p);

	/* When the old session has ended its port is like any other. */
	pw_advance(&pw, 182 * NS_PER_SEC);
	fresh = ps_mirror(&lan);
	T_EQ(pw_lan_send(&pw, 0, &fresh), PS_R_UTX_NAT_EXPIRED);
	ps_quiet();
	T(ps_lets_in(0, &p, 0) != PS_R_XDP_DELIVERED);
	ps_exchange(0, &p, 0, &real_b);
	ps_close();
}

/* Two connections to two addresses of the name under one port, of which the second is translated to
 * another port: so that what survives is the session and not a lucky new one. */
void s07_roam_mid_tcp_keeps_translation(void)
{
	struct ipaddr proxies[8];
	struct pkt one, two, lan, back, got;

	open_reached(proxies);
	one = ps_packet(0, &proxies[0], IP_PROTO_TCP, 6000, 443);
	two = ps_packet(0, &proxies[1], IP_PROTO_TCP, 6000, 443);
	ps_exchange(0, &one, 0, &real_a);
	lan = ps_exchange(0, &two, 0, &real_a);
	T_EQ(lan.m.sport, 6001);
	ps_carried(0, &two, 0, &lan);
	pw_zone_set(&pw, NAME, &real_b, 1);

	pw_roam(&pw, 0);
	T_EQ(pw_slot(&pw, 0, PW_CLIENTS), TUNNEL_NO_SLOT);
	/* The server goes on meanwhile; that is lost, and TCP's to repeat. */
	back = ps_mirror(&lan);
	pw_lan_send(&pw, 0, &back);
	ps_quiet();
	pw_advance(&pw, 30 * NS_PER_SEC);
	T_EQ(pw_app_send(&pw, 0, &two), PS_R_UTX_BUFFERED);
	T_EQ(pw.intent_count, 1);
	T_EQ(pw.intents[0].connected, 0);
	ps_serve();
	got = ps_took(PW_CLIENTS);
	ps_same(&got, &lan); /* the same port, the same address, though the name has moved */
	ps_quiet();
	ps_replies(0, &lan, 0, &two);
	got = ps_exchange(0, &two, 0, &real_a);
	ps_carried(0, &two, 0, &got);
	two = ps_packet(0, &proxies[1], IP_PROTO_TCP, 6100, 443);
	ps_exchange(0, &two, 0, &real_b);
	ps_close();
}

/* ---- errors about translated packets ---- */
static struct pkt error_about(const char *router, const struct pkt *quoted, uint8_t type,
			      uint8_t code, uint32_t word)
{
	struct ipaddr from = pkt_ip(router);
	struct pkt p = pkt_error(&from, quoted);
	uint8_t *h = p.b + p.m.l4_off;

	h[0] = type;
	h[1] = code;
	be16_put(h + 2, 0);
	be32_put(h + 4, word);
	T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0);
	be16_put(h + 2, ip_csum_l4(p.b, &p.m));
	return p;
}

/* The error reaches the application as if about p, which it has sent, and from the proxy address;
 * only the gateway itself, a hop like others, is named. at_lan is what became of p. */
static void error_arrives(const char *router, const struct pkt *p, const struct pkt *at_lan,
			  uint8_t type, uint8_t code, uint32_t word)
{
	struct pkt e = error_about(router, at_lan, type, code, word), got;
	const uint8_t *h;
	struct ip_meta quoted;

	T_EQ(pw_lan_send(&pw, 0, &e), PS_R_UTX_SENT);
	got = ps_took(0);
	h = got.b + got.m.l4_off;
	T(ipaddr_eq(&got.m.src, tunnel_in_peer_range(&e.m.src) ? &e.m.src : &p->m.dst));
	T(ipaddr_eq(&got.m.dst, &p->m.src));
	T_EQ(h[0], type);
	T_EQ(h[1], code);
	T_EQ(be32_get(h + 4), word);
	if (!T_EQ(ip_packet_parse_quoted(got.b, &got.m, &quoted), 0))
		return;
	T(ipaddr_eq(&quoted.src, &p->m.src));
	T(ipaddr_eq(&quoted.dst, &p->m.dst));
	T_EQ(quoted.sport, p->m.sport);
	T_EQ(quoted.dport, p->m.dport);
	T_EQ(quoted.icmp_id, p->m.icmp_id);
	if (p->m.family == 4)
		T_EQ(ip_csum(h + 8, 20), 0);
	ps_quiet();
}

void s10_icmp_errors_translated_both_families(void)
{
	const struct ipaddr both[] = {real_a, pkt_ip("2001:db8:7::1")};
	struct ipaddr v4[8], v6[8];
	struct pkt one, two, six, echo, lan, lan6, lane, e;

	open_named(v4);
	pw_zone_set(&pw, NAME, both, 2);
	ps_ask(0, NAME, DNS_TYPE_AAAA, v6);
	one = ps_udp(0, &v4[0], 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &one), PS_R_UTX_BUFFERED);
	ps_serve();
	ps_took(PW_CLIENTS);
	two = ps_udp(0, &v4[1], 5000, 80);
	lan = ps_reaches(0, &two, 0, &both[0]);
	T_EQ(lan.m.sport, 5001);
	error_arrives("10.9.9.9", &two, &lan, 3, 4, 1000); /* needs fragments: at most 1000 */
	error_arrives("10.9.9.9", &two, &lan, 3, 1, 0);
	error_arrives("10.7.0.1", &two, &lan, 3, 3, 0);
	error_arrives("10.9.9.9", &two, &lan, 11, 0, 0);
	error_arrives("100.64.2.10", &two, &lan, 11, 0, 0);
	six = ps_packet(0, &v6[2], IP_PROTO_TCP, 5000, 80);
	lan6 = ps_reaches(0, &six, 0, &both[1]);
	error_arrives("2001:db8:9::9", &six, &lan6, 2, 0, 1300);
	error_arrives("2001:db8:9::9", &six, &lan6, 1, 0, 0);
	error_arrives("2001:db8:7::1", &six, &lan6, 1, 4, 0);
	error_arrives("2001:db8:9::9", &six, &lan6, 3, 0, 0);
	echo = ps_packet(0, &v4[0], IP_PROTO_ICMP, 0, 77);
	lane = ps_exchange(0, &echo, 0, &both[0]);
	error_arrives("10.9.9.9", &echo, &lane, 3, 1, 0);

	/* About what nobody has sent: nothing. Other kinds about a session: nothing either. */
	e = lan;
	be16_put(e.b + e.m.l4_off, 7777);
	e = error_about("10.9.9.9", &e, 3, 1, 0);
	T_EQ(pw_lan_send(&pw, 0, &e), PS_R_UTX_POLICY);
	e = error_about("10.9.9.9", &lan, 5, 1, 0);
	T(pw_lan_send(&pw, 0, &e) != PS_R_UTX_SENT);
	pw_advance(&pw, 122 * NS_PER_SEC);
	e = error_about("10.9.9.9", &lan, 3, 1, 0);
	T_EQ(pw_lan_send(&pw, 0, &e), PS_R_UTX_NAT_EXPIRED);
	ps_quiet();
	ps_close();
}

void s11_translated_ports_collide(void)
{
	struct ipaddr pa[8], pb[8], pc[8];
	struct pkt a, b, b1, c, la, lb, lb1, lc;

	open_named(pa);
	pw_zone_set(&pw, "b.one.test", &real_a, 1);
	ps_ask(0, "b.one.test", DNS_TYPE_A, pb);
	ps_ask(1, NAME, DNS_TYPE_A, pc);
	a = ps_udp(0, &pa[0], 5000, 80);
	b = ps_udp(0, &pb[0], 5000, 80);
	b1 = ps_udp(0, &pb[0], 5001, 80);
	c = ps_udp(1, &pc[0], 5000, 80);
	pw_app_send(&pw, 0, &a);
	pw_app_send(&pw, 1, &c);
	ps_serve();
	ps_took(PW_CLIENTS);
	ps_took(PW_CLIENTS);
	la = ps_reaches(0, &a, 0, &real_a);
	lb = ps_reaches(0, &b, 0, &real_a);
	lb1 = ps_reaches(0, &b1, 0, &real_a);
	lc = ps_reaches(1, &c, 0, &real_a);
	T_EQ(la.m.sport, 5000);
	T_EQ(lb.m.sport, 5001);	 /* the next one free */
	T_EQ(lb1.m.sport, 5002); /* its own is taken by then */
	T_EQ(lc.m.sport, 5000);	 /* another client has another address there */
	ps_replies(0, &lb1, 0, &b1);
	ps_replies(0, &la, 0, &a);
	ps_replies(0, &lc, 1, &c);
	ps_replies(0, &lb, 0, &b);
	/* Each keeps its own, and the kernel says the same. */
	ps_carried(0, &a, 0, &la);
	ps_carried(0, &b, 0, &lb);
	ps_carried(0, &b1, 0, &lb1);
	ps_carried(1, &c, 0, &lc);
	/* TCP and echoes are counted apart. */
	b = ps_packet(0, &pb[1], IP_PROTO_TCP, 5000, 80);
	lb = ps_exchange(0, &b, 0, &real_a);
	T_EQ(lb.m.sport, 5000);
	a = ps_packet(0, &pa[0], IP_PROTO_ICMP, 0, 5000);
	b = ps_packet(0, &pb[0], IP_PROTO_ICMP, 0, 5000);
	la = ps_reaches(0, &a, 0, &real_a);
	lb = ps_reaches(0, &b, 0, &real_a);
	T_EQ(la.m.icmp_id, 5000);
	T_EQ(lb.m.icmp_id, 5001);
	ps_replies(0, &la, 0, &a);
	ps_replies(0, &lb, 0, &b);
	ps_close();
}

void s23_ipv6_only_name_unreachable_by_ipv4(void)
{
	const struct ipaddr real6 = pkt_ip("2001:db8:7::1");
	struct ipaddr v4[8], v6[8], none[8];
	struct pkt p, p6, got;

	open_named(v4);
	pw_zone_set(&pw, NAME, &real6, 1);
	ps_ask(0, NAME, DNS_TYPE_AAAA, v6);
	p = ps_udp(0, &v4[0], 5000, 80);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_serve();
	got = ps_took(0); /* what had waited is answered */
	ps_is_error(&got, &p, ICMP_ERROR_UNREACHABLE);
	T_EQ(ps_count(PW_CLIENTS, PS_R_URX_NAT_UNREACHABLE), 1);
	ps_refused(0, &p, 0, PS_R_URX_NAT_UNREACHABLE, ICMP_ERROR_UNREACHABLE);
	p6 = ps_udp(0, &v6[0], 5000, 80);
	got = ps_exchange(0, &p6, 0, &real6);
	ps_carried(0, &p6, 0, &got);

	/* And the other way round; and a name that does not exist is unreachable by either. */
	pw_zone_set(&pw, NAME, &real_a, 1);
	ps_ask(0, NAME, DNS_TYPE_A, v4);
	ps_serve();
	p6 = ps_udp(0, &v6[0], 5001, 80);
	ps_refused(0, &p6, 0, PS_R_URX_NAT_UNREACHABLE, ICMP_ERROR_UNREACHABLE);
	ps_exchange(0, &p, 0, &real_a);
	ps_ask(0, "nobody.one.test", DNS_TYPE_A, v4);
	ps_ask(0, "nobody.one.test", DNS_TYPE_AAAA, v6);
	ps_serve();
	p = ps_udp(0, &v4[0], 5002, 80);
	p6 = ps_udp(0, &v6[0], 5002, 80);
	ps_refused(0, &p, 0, PS_R_URX_NAT_UNREACHABLE, ICMP_ERROR_UNREACHABLE);
	ps_refused(0, &p6, 0, PS_R_URX_NAT_UNREACHABLE, ICMP_ERROR_UNREACHABLE);

	/* A resource that has but one family says so in the answer already. */
	ps_define((struct pw_resource){
		.r = 4, .type = TUNNEL_RESOURCE_DNS, .address = "six.test", .stack = DNS_STACK_V6});
	T_EQ(pw_query(&pw, 0, "six.test", DNS_TYPE_A, none), 0);
	T_EQ(pw.node[0].answer[3] & 0xf, DNS_NOERROR);
	T(pw.node[0].answer_len > DNS_HEADER_LEN);
	ps_ask(0, "six.test", DNS_TYPE_AAAA, v6);
	ps_close();
}
