/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS resources at the gateway, case by case: names set up, resolved, translated, taken away. */
#include "tests/tgw_dns_rig.h"

static void test_both_ways(void)
{
	uint32_t slot = with_example();
	struct tgw_event e;

	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_NAT_UNKNOWN);
	T_EQ(last.reply, ICMP_ERROR_PROHIBITED);
	T(!assign(slot, 10, "App.example.com", P1, Q1, NULL));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_NAT_UNKNOWN); /* not resolved yet */
	e = resolve_event();
	T_EQ(e.kind, TGW_EVENT_RESOLVE);
	T_EQ(e.slot, slot);
	T_STR(e.name, "App.example.com");
	T(!assign(slot, 10, "app.example.com", P1, Q1, NULL)); /* under way: no second one */
	T_EQ(next_event().kind, TGW_EVENT_NONE);
	T_EQ(gw.domain_count, 1);
	T(!assign(slot, 10, "app.example.com", P1, Q1, NULL));
	T(tgw_resolved(&gw, e.domain, e.ticket, (struct ipaddr[]){pkt_ip("10.0.0.5")}, 1,
		       &(uint32_t){0}, &(struct p2p_domain_status){0}, now));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	T(last.cacheable && goes_to("10.0.0.5"));
	T_EQ(last.nat.port, 40000);
	T_EQ(come_back("10.0.0.5", TCP, 80), PS_R_UTX_SENT);
	T(last.cacheable && goes_to(P1));
	T_EQ(come_back("10.0.0.6", TCP, 80), PS_R_UTX_POLICY);
	T_EQ(send_in(slot, "10.0.0.5", TCP, 80), PS_R_URX_POLICY); /* the address itself: no */
	T_EQ(send_in(slot, Q1, TCP, 80), PS_R_URX_NAT_UNREACHABLE);
	T_EQ(last.reply, ICMP_ERROR_UNREACHABLE);
	T(!last.allowed && !last.cacheable && !last.nat.on);
	T_EQ(send_from(slot, C2, P1, TCP, 1, 80), PS_R_URX_BAD_SOURCE);
}

static void test_both_families(void)
{
	uint32_t slot = with_example();

	T(!assign(slot, 10, "six.example.com", P1, Q1, Q2, NULL));
	T(answer("2001:db8::2", "2001:db8::1", NULL));
	T_EQ(send_in(slot, P1, UDP, 53), PS_R_URX_NAT_UNREACHABLE);
	T_EQ(send_in(slot, Q1, UDP, 53), PS_R_URX_DELIVERED);
	T(goes_to("2001:db8::1"));
	T_EQ(send_in(slot, Q2, UDP, 53), PS_R_URX_DELIVERED);
	T(goes_to("2001:db8::2"));
	T_EQ(come_back("2001:db8::2", UDP, 53), PS_R_UTX_SENT);
	T(goes_to(Q2));
}

/* Ascending real addresses in turn over ascending proxy addresses, duplicates once. */
static void test_dealing(void)
{
	uint32_t slot = with_example();

	T(!assign(slot, 10, "a.example.com", "100.96.0.4", P2, P1, "100.96.0.3", P1, NULL));
	T(answer("10.0.0.9", "10.0.0.2", "10.0.0.9", NULL));
	T_EQ(send_in(slot, P1, TCP, 1), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.2"));
	T_EQ(send_in(slot, P2, TCP, 1), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.9"));
	T_EQ(send_in(slot, "100.96.0.3", TCP, 1), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.2"));
	T_EQ(send_in(slot, "100.96.0.4", TCP, 1), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.9"));
}

static void test_failure_is_unreachable(void)
{
	uint32_t slot = with_example();

	T(!assign(slot, 10, "gone.example.com", P1, Q1, NULL));
	T(answer(NULL)); /* still Active */
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_NAT_UNREACHABLE);
	T_EQ(send_in(slot, Q1, TCP, 80), PS_R_URX_NAT_UNREACHABLE);
	T(!assign(slot, 10, "gone.example.com", P1, Q1, NULL)); /* and back again */
	T(answer("10.0.0.1", NULL));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
}

/* The site's resolver does not answer: what was known of the name stays. */
static void test_failure_keeps_addresses(void)
{
	uint32_t slot = with_example();
	struct p2p_domain_status reply;
	struct tgw_event e;
	uint32_t to;

	T(!assign(slot, 10, "a.example.com", P1, Q1, NULL));
	T(answer("10.0.0.5", NULL));
	T(!assign(slot, 10, "a.example.com", P1, Q1, NULL));
	e = resolve_event();
	T(tgw_resolved(&gw, e.domain, e.ticket, NULL, 0, &to, &reply, now));
	T(reply.active);
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.5"));
	T_EQ(send_in(slot, Q1, TCP, 80), PS_R_URX_NAT_UNREACHABLE);
	T(!assign(slot, 10, "b.example.com", P2, NULL)); /* nothing known */
	e = resolve_event();
	T(tgw_resolved(&gw, e.domain, e.ticket, NULL, 0, &to, &reply, now));
	T_EQ(send_in(slot, P2, TCP, 80), PS_R_URX_NAT_UNREACHABLE);
	T(!assign(slot, 10, "a.example.com", P1, Q1, NULL));
	T(answer(NULL)); /* that there is none is an answer */
	T_EQ(send_from(slot, C1, P1, TCP, 40001, 80), PS_R_URX_NAT_UNREACHABLE);
}

static void test_names_refused(void)
{
	struct tunnel_resource net = cidr(11, "10.0.0.0/8"), bad = dns(12, "a..b"), late;
	uint32_t slot = with_example(), other;

	authorize(1, &net);
	T(assign(slot, 10, "app.example.org", P1, NULL));
	T(assign(slot, 10, "a.b.example.com", P1, NULL));
	T(assign(slot, 11, "app.example.com", P1, NULL)); /* no DNS resource */
	T(assign(slot, 99, "app.example.com", P1, NULL)); /* not held */
	T(assign(slot, 10, "app.example.com", "10.0.0.1", NULL));
	T(assign(slot, 10, "app.example.com", P1, "100.100.111.1", NULL)); /* a resolver's own */
	T(assign(slot, 10, "app.example.com", P1, "100.64.0.7", NULL));
	T(assign(slot, 10, "app.example.com", NULL));
	T(assign(slot + 1, 10, "app.example.com", P1, NULL));
	T(assign(TUNNEL_NO_SLOT, 10, "app.example.com", P1, NULL));
	T_EQ(gw.counters.refused_resource, 4);
	T_EQ(gw.counters.refused_name, 2);
	T_EQ(gw.counters.refused_proxies, 4);
	T_EQ(gw.domain_count, 0);
	T_EQ(authorize_until(1, &bad, TUNNEL_NEVER_EXPIRES, &other), -EINVAL);
	late = dns(14, "**");
	authorize(1, &late);
	T(assign(slot, 14, "10.0.0.1", P1, NULL)); /* a name, not an address */
	T(!assign(slot, 14, "10.0.0.1.test", P1, NULL));
	late = dns(13, "late.test");
	T_EQ(authorize_until(1, &late, unix_now + 5, &other), 0);
	T(!assign(slot, 13, "late.test", P1, NULL));
	unix_now += 5;
	T(assign(slot, 13, "late.test", P1, NULL));
}

/* Whatever a name resolves to, nothing of the tunnel's or the gateway's own is reached by it. */
static void test_reals_refused(void)
{
	uint32_t slot = with_example();

	T(!assign(slot, 10, "evil.example.com", P1, Q1, NULL));
	T(answer("127.0.0.1", "100.64.1.2", "100.96.0.9", "224.0.0.1", "169.254.169.254", "0.0.0.0",
		 "::1", "::ffff:10.0.0.1", "fe80::1", "ff02::1", "fd00:2021:1111::1:2", NULL));
	T_EQ(gw.counters.reals_refused, 11);
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_NAT_UNREACHABLE);
	T_EQ(send_in(slot, Q1, TCP, 80), PS_R_URX_NAT_UNREACHABLE);
}

static void test_filters(void)
{
	struct tunnel_resource r = dns(10, "db.test");
	uint32_t slot;

	setup();
	filter_set_add_ports(&r.filters, TCP, 443, 443);
	slot = authorize(1, &r);
	T(!assign(slot, 10, "db.test", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_FILTERED);
	T_EQ(last.reply, ICMP_ERROR_PROHIBITED);
	T_EQ(gw.nat.session_count, 0); /* a refused packet leaves nothing behind */
	T_EQ(send_in(slot, P1, IP_PROTO_ICMP, 7), PS_R_URX_FILTERED);
	T_EQ(send_in(slot, P1, TCP, 443), PS_R_URX_DELIVERED);
	T_EQ(come_back("10.0.0.5", TCP, 80), PS_R_UTX_FILTERED);
	T_EQ(gw.nat.mem.sessions[0].last_in_ns, 0); /* nor confirms it a session */
	T_EQ(come_back("10.0.0.5", TCP, 443), PS_R_UTX_SENT);
	T_EQ(gw.nat.mem.sessions[0].last_in_ns, now);
	filter_set_add_ports(&r.filters, TCP, 80, 80);
	drain();
	T_EQ(tgw_resource_updated(&gw, &r), 0);
	T(changed());
	T_EQ(come_back("10.0.0.5", TCP, 80), PS_R_UTX_SENT);
}

/* Two resources for one name share its addresses; what either permits passes, and one ending leaves
 * the other's. */
static void test_overlap_is_additive(void)
{
	struct tunnel_resource wide = dns(10, "*.test"), narrow = dns(11, "db.test");
	uint32_t slot;

	setup();
	filter_set_add_ports(&wide.filters, TCP, 80, 80);
	filter_set_add_ports(&narrow.filters, TCP, 80, 81);
	authorize(1, &narrow);
	slot = authorize(1, &wide);
	T(!assign(slot, 10, "db.test", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_in(slot, P1, TCP, 81), PS_R_URX_FILTERED);
	T(!assign(slot, 11, "DB.test", P1, NULL));
	drain(); /* its RESOLVE, too: never answered */
	T_EQ(gw.domain_count, 2);
	T_EQ(send_in(slot, P1, TCP, 81), PS_R_URX_DELIVERED);
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	T_STR(tgw_resource_at(&gw, last.resource)->address, "db.test"); /* more specific */
	T_EQ(gw.nat.session_count, 1);
	tgw_reject(&gw, &(struct uuid){.b = {1, [15] = 1}}, &narrow.id, now);
	T(changed());
	T_EQ(send_in(slot, P1, TCP, 81), PS_R_URX_FILTERED);
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(gw.nat.session_count, 1); /* it went on */
	tgw_reject(&gw, &(struct uuid){.b = {1, [15] = 1}}, &wide.id, now);
	T_EQ(gw.domain_count, 0);
	T_EQ(gw.nat.mapping_count, 0);
}

static void test_end_of_grant(void)
{
	uint32_t slot = with_example();
	struct tunnel_resource r = dns(10, "*.example.com");
	struct uuid client = id_of(1);
	struct tgw_event e;

	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(!assign(slot, 10, "b.example.com", P2, NULL));
	e = resolve_event();
	tgw_reject(&gw, &client, &r.id, now);
	T(changed());
	T_EQ(gw.domain_count, 0);
	T_EQ(gw.nat.mapping_count + gw.nat.session_count, 0);
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_REVOKED);
	T_EQ(come_back("10.0.0.5", TCP, 80), PS_R_UTX_NAT_EXPIRED);
	T(!tgw_resolved(&gw, e.domain, e.ticket, NULL, 0, &(uint32_t){0},
			&(struct p2p_domain_status){0}, now));
	T_EQ(gw.counters.resolved_late, 2); /* answer() tries a second time */
	T_EQ(authorize(1, &r), slot);	    /* held again: names must be set up again */
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_NAT_UNKNOWN);
}

static void test_expiry(void)
{
	struct tunnel_resource r = dns(10, "db.test");
	uint32_t slot;

	setup();
	T_EQ(authorize_until(1, &r, unix_now + 10, &slot), 0);
	T(!assign(slot, 10, "db.test", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(last.expires_at, unix_now + 10);
	unix_now += 10;
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_AUTH_EXPIRED);
	T_EQ(come_back("10.0.0.5", TCP, 80), PS_R_UTX_AUTH_EXPIRED);
	tgw_timeout(&gw, unix_now, now);
	T_EQ(gw.domain_count, 0);
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_AUTH_EXPIRED);
	now += TGW_LINGER_NS;
	tgw_timeout(&gw, unix_now, now);
	drain();
	T_EQ(gw.client_count, 0);
}

/* Another pattern under the same id is another resource. */
static void test_pattern_change(void)
{
	uint32_t slot = with_example();
	struct tunnel_resource other = dns(10, "*.example.org");

	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(answer("10.0.0.5", NULL));
	authorize(1, &other);
	T(changed());
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_REVOKED);
	T(assign(slot, 10, "a.example.com", P1, NULL));
	T(!assign(slot, 10, "a.example.org", P1, NULL));
}

/* A proxy address given to another name: nothing goes to the old one any more. */
static void test_address_moves(void)
{
	uint32_t slot = with_example();

	T(!assign(slot, 10, "a.example.com", P1, P2, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	drain();
	T(!assign(slot, 10, "b.example.com", P1, NULL));
	T(resolve_event().kind == TGW_EVENT_RESOLVE);
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_NAT_UNKNOWN);
	T_EQ(send_in(slot, P2, TCP, 80), PS_R_URX_DELIVERED);
	T(!assign(slot, 10, "c.example.com", P2, NULL));
	T(changed());
	T_EQ(gw.domain_count, 2); /* the first has no address left */
	T_EQ(gw.nat.mapping_count, 0);
	T(!assign(slot, 10, "c.example.com", "100.96.0.9", NULL)); /* other ones instead */
	T_EQ(gw.domain_count, 2);
	T_EQ(send_in(slot, P2, TCP, 80), PS_R_URX_NAT_UNKNOWN);
}

/* The name resolves anew: flows go on where they are, new ones to the new address. */
static void test_records_change(void)
{
	uint32_t slot = with_example();

	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_from(slot, C1, P1, TCP, 1000, 80), PS_R_URX_DELIVERED);
	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(answer("10.0.0.6", NULL));
	T_EQ(send_from(slot, C1, P1, TCP, 1000, 80), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.5"));
	T_EQ(send_from(slot, C1, P1, TCP, 1001, 80), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.6"));
}

static void test_clients_are_apart(void)
{
	uint32_t slot = with_example(), two;
	struct tunnel_resource r = dns(10, "*.example.com");
	struct ipaddr want = pkt_ip(P1);
	struct pkt p;

	two = authorize(2, &r);
	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_from(two, C2, P1, TCP, 40000, 80), PS_R_URX_NAT_UNKNOWN);
	T(!assign(two, 10, "b.example.com", P1, NULL));
	T(answer("10.0.0.6", NULL));
	T_EQ(send_in(slot, P1, TCP, 80), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.5"));
	T_EQ(send_from(two, C2, P1, TCP, 40000, 80), PS_R_URX_DELIVERED);
	T(goes_to("10.0.0.6"));
	T_EQ(come_back("10.0.0.6", TCP, 80), PS_R_UTX_POLICY); /* of the other one */
	p = pkt_text("10.0.0.6", C2, TCP, 80, 40000);
	T_EQ(tgw_check_out(&gw, p.b, &p.m, unix_now, &last, now), PS_R_UTX_SENT);
	T(ipaddr_eq(&last.nat.addr, &want));
}

/* A network of one address and a name that has it are additive; wider networks are not. */
static void test_host_network_and_name(void)
{
	struct tunnel_resource r = dns(10, "db.test"), host = cidr(11, "10.0.0.5/32"),
			       wide = cidr(12, "10.0.0.0/8");
	uint32_t slot;

	setup();
	filter_set_add_ports(&r.filters, TCP, 22, 22);
	filter_set_add_ports(&host.filters, TCP, 80, 80);
	filter_set_add_ports(&wide.filters, TCP, 90, 90);
	T_EQ(authorize_until(1, &r, unix_now + 50, &slot), 0);
	authorize(1, &wide);
	T(!assign(slot, 10, "db.test", P1, NULL));
	T(answer("10.0.0.5", "10.0.0.6", NULL));
	T_EQ(send_in(slot, "10.0.0.5", TCP, 22), PS_R_URX_FILTERED);
	T_EQ(authorize_until(1, &host, unix_now + 20, &slot), 0);
	T_EQ(send_in(slot, "10.0.0.5", TCP, 22), PS_R_URX_DELIVERED);
	T(!last.nat.on);
	T_EQ(last.expires_at, unix_now + 20); /* whichever ends first */
	T_EQ(send_in(slot, "10.0.0.5", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(send_in(slot, "10.0.0.5", TCP, 90), PS_R_URX_DELIVERED);
	T_EQ(send_in(slot, "10.0.0.6", TCP, 22), PS_R_URX_FILTERED);
	T_EQ(come_back("10.0.0.5", TCP, 22), PS_R_UTX_SENT);
	drain();
	T(!assign(slot, 10, "db.test", P1, NULL));
	T(answer("10.0.0.6", NULL));
	T(changed()); /* a cached flow must not outlive the name's address */
	T_EQ(send_in(slot, "10.0.0.5", TCP, 22), PS_R_URX_FILTERED);
}

static void test_icmp_errors(void)
{
	uint32_t slot = with_example();
	struct ipaddr router = pkt_ip("192.0.2.1"), proxy = pkt_ip(P1), client = pkt_ip(C1),
		      own = pkt_ip(OWN);
	struct pkt sent, err;
	struct ip_meta m, q;

	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_in(slot, P1, UDP, 53), PS_R_URX_DELIVERED);
	sent = pkt_text(C1, "10.0.0.5", UDP, 40000, 53);
	err = pkt_error(&router, &sent);
	T_EQ(tgw_check_out(&gw, err.b, &err.m, unix_now, &last, now), PS_R_UTX_SENT);
	T(last.instead && !last.cacheable && !last.nat.on);
	T_EQ(ip_packet_parse(last.instead, last.instead_len, &m), 0);
	T(ipaddr_eq(&m.src, &proxy) && ipaddr_eq(&m.dst, &client));
	T_EQ(ip_packet_parse_quoted(last.instead, &m, &q), 0);
	T(ipaddr_eq(&q.dst, &proxy));
	/* The gateway's own kernel is a router on the way, too: its errors are translated, and keep
	 * its address, which the client knows. */
	sent = pkt_text(C1, "10.0.0.5", UDP, 40000, 53);
	err = pkt_error(&own, &sent);
	T_EQ(tgw_check_out(&gw, err.b, &err.m, unix_now, &last, now), PS_R_UTX_SENT);
	T(last.instead && !ip_packet_parse(last.instead, last.instead_len, &m));
	T(ipaddr_eq(&m.src, &own) && ipaddr_eq(&m.dst, &client));
	T_EQ(ip_packet_parse_quoted(last.instead, &m, &q), 0);
	T(ipaddr_eq(&q.dst, &proxy));
	sent = pkt_text(C1, "10.0.0.7", UDP, 40000, 53); /* of the client's traffic with itself */
	err = pkt_error(&own, &sent);
	T_EQ(tgw_check_out(&gw, err.b, &err.m, unix_now, &last, now), PS_R_UTX_SENT);
	T(!last.instead);
	/* nothing of ours */
	err = pkt_error(&router, &sent);
	T_EQ(tgw_check_out(&gw, err.b, &err.m, unix_now, &last, now), PS_R_UTX_POLICY);
	T(!last.instead);
	/* and back: the client about what came from the proxy address */
	sent = pkt_text(P1, C1, UDP, 53, 40000);
	err = pkt_error(&client, &sent);
	T_EQ(tgw_check_in(&gw, slot, err.b, &err.m, unix_now, &last, now), PS_R_URX_DELIVERED);
	T_EQ(ip_packet_parse(last.instead, last.instead_len, &m), 0);
	T(ipaddr_eq(&m.dst, &(struct ipaddr){.family = 4, .b = {10, 0, 0, 5}}));
	sent = pkt_text(P1, C1, UDP, 53, 40001); /* no such session */
	err = pkt_error(&client, &sent);
	T_EQ(tgw_check_in(&gw, slot, err.b, &err.m, unix_now, &last, now), PS_R_URX_NAT_ERROR);
	T(!last.allowed && !last.instead);
}

/* A UDP packet whose offset and flags say that it is a fragment. */
static enum ps_reason_id fragment(uint32_t slot, const char *src, const char *dst, uint16_t off)
{
	struct pkt p = pkt_text(src, dst, UDP, 53, 40000);

	be16_put(p.b + 6, off);
	T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0);
	if (p.m.src.b[1] == 64) /* the client's */
		return tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &last, now);
	return tgw_check_out(&gw, p.b, &p.m, unix_now, &last, now);
}

static void test_what_cannot_be_translated(void)
{
	uint32_t slot = with_example();

	T(!assign(slot, 10, "a.example.com", P1, NULL));
	T(answer("10.0.0.5", NULL));
	T_EQ(send_in(slot, P1, 47, 0), PS_R_URX_NAT_OTHER);
	T_EQ(last.reply, ICMP_ERROR_PROHIBITED);
	T_EQ(fragment(slot, C1, P1, 0x2000), PS_R_URX_FRAGMENT);
	T_EQ(last.reply, ICMP_ERROR_PROHIBITED);
	T_EQ(fragment(slot, C1, P1, 0x00ff), PS_R_URX_FRAGMENT);
	T_EQ(fragment(slot, "10.0.0.5", C1, 0x2000), PS_R_UTX_FRAGMENT);
	T_EQ(fragment(slot, "10.0.0.5", C1, 0x00ff), PS_R_UTX_FRAGMENT);
	T_EQ(last.reply, ICMP_ERROR_NONE);
	T_EQ(fragment(slot, "10.0.0.6", C1, 0x00ff), PS_R_UTX_POLICY); /* of no name */
	for (uint16_t port = 1; port <= 32; port++)
		T_EQ(send_from(slot, C1, P1, UDP, port, 53), PS_R_URX_DELIVERED);
	T_EQ(send_from(slot, C1, P1, UDP, 33, 53), PS_R_URX_NAT_EXHAUSTED);
	T_EQ(last.reply, ICMP_ERROR_UNREACHABLE);
	T_EQ(send_from(slot, C1, P1, UDP, 1, 53), PS_R_URX_DELIVERED);
}

/* Name n of the client at 100.96.1.n. */
static bool assign_nth(uint32_t slot, uint8_t n)
{
	char name[32], ip[32];

	snprintf(name, sizeof(name), "n%u.example.com", n);
	snprintf(ip, sizeof(ip), "100.96.1.%u", n);
	return assign(slot, 10, name, ip, NULL);
}

/* The least recent name gives way, unless it carries something or is being resolved. */
static void test_tables_full(void)
{
	uint32_t slot = with_example(), two, three;
	struct tunnel_resource r = dns(10, "*.example.com");

	for (uint8_t n = 0; n < CLIENT_DOMAINS; n++) {
		T(!assign_nth(slot, n));
		if (n != 2)
			T(answer("10.0.0.1", NULL));
		else
			T(resolve_event().kind == TGW_EVENT_RESOLVE);
	}
	T_EQ(send_in(slot, "100.96.1.0", TCP, 80), PS_R_URX_DELIVERED); /* in use */
	T(!assign_nth(slot, 1));					/* most recent again */
	T(answer("10.0.0.1", NULL));
	drain();
	T(!assign_nth(slot, 100));
	T(changed());
	T_EQ(gw.counters.domain_evicted, 1);
	T_EQ(gw.domain_count, CLIENT_DOMAINS);
	T_EQ(send_in(slot, "100.96.1.0", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(send_in(slot, "100.96.1.3", TCP, 80), PS_R_URX_NAT_UNKNOWN);
	T_EQ(send_in(slot, "100.96.1.1", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(send_in(slot, "100.96.1.4", TCP, 80), PS_R_URX_DELIVERED);
	T_EQ(send_in(slot, "100.96.1.5", TCP, 80), PS_R_URX_DELIVERED);
	T(assign_nth(slot, 101)); /* all others are in use or under way */
	T_EQ(gw.counters.domain_share_full, 1);
	two = authorize(2, &r);
	three = authorize(3, &r);
	for (uint8_t n = 0; n < DOMAINS - CLIENT_DOMAINS; n++)
		T(!assign_nth(two, n));
	T(assign_nth(three, 1));
	T_EQ(gw.counters.domain_table_full, 1);
	tgw_reject(&gw, &(struct uuid){.b = {1, [15] = 1}}, &r.id, now);
	T(!assign_nth(three, 1));
	T_EQ(gw.domain_count, DOMAINS - CLIENT_DOMAINS + 1);
}

static void test_unasked_leave_the_queue(void)
{
	uint32_t slot = with_example(), two;
	struct tunnel_resource r = dns(10, "*.example.com");

	two = authorize(2, &r);
	T(!assign_nth(two, 1));
	T(!assign_nth(slot, 1));
	T(!assign_nth(two, 2));
	T(!assign_nth(slot, 2));
	tgw_reject(&gw, &(struct uuid){.b = {1, [15] = 1}}, &r.id, now);
	T_STR(resolve_event().name, "n1.example.com");
	T_EQ(authorize(1, &r), slot);
	T(!assign_nth(slot, 3));
	T_STR(resolve_event().name, "n2.example.com");
	T_STR(resolve_event().name, "n3.example.com");
	T_EQ(resolve_event().kind, TGW_EVENT_NONE);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_both_ways);
	T_RUN(test_both_families);
	T_RUN(test_dealing);
	T_RUN(test_failure_is_unreachable);
	T_RUN(test_failure_keeps_addresses);
	T_RUN(test_names_refused);
	T_RUN(test_reals_refused);
	T_RUN(test_filters);
	T_RUN(test_overlap_is_additive);
	T_RUN(test_end_of_grant);
	T_RUN(test_expiry);
	T_RUN(test_pattern_change);
	T_RUN(test_address_moves);
	T_RUN(test_records_change);
	T_RUN(test_clients_are_apart);
	T_RUN(test_host_network_and_name);
	T_RUN(test_icmp_errors);
	T_RUN(test_what_cannot_be_translated);
	T_RUN(test_tables_full);
	T_RUN(test_unasked_leave_the_queue);
	return t_done();
}
