/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenarios of queries that others answer. Stub, resolver shells and policy are the daemons'; where
 * a kernel socket would stand, the test is the kernel: it carries the message as the socket's
 * packet through the tunnel and hands over what arrives. The sockets themselves, UDP and TCP, with
 * real name servers: tests/netns/t_dns-table.sh, t_dns-site.sh, t_dns-stub.sh. */
#include "tests/policy/ps.h"

enum { GW0 = PW_CLIENTS, SOCKET = 33000 };

static const struct ipaddr upstream = {.family = 4, .b = {198, 51, 100, 53}};

/* ---- messages ---- */
static void ask(uint8_t node, const struct dns_asker *who, const char *name, uint16_t type,
		uint16_t id)
{
	struct pw_node *n = &pw.node[node];
	struct dns_query q = {.q = {.type = type, .klass = DNS_CLASS_IN}, .rd = true, .edns = true};
	uint8_t msg[DNS_QUERY_CAP];
	size_t len = 0;

	T_EQ(dns_name_parse(name, &q.q.name), 0);
	T_EQ(dns_query_encode(&q, id, msg, sizeof(msg), &len), 0);
	n->answer_len = 0;
	n->dns.query(n->dns.ctx, who, msg, len, pw.now);
	pw_rest(n);
	pw_settle(&pw);
}

/* An application at the client's sentinel i. */
static struct dns_asker app_at(uint32_t i, bool tcp)
{
	return (struct dns_asker){.src = {.ip = pw.node[0].tun4, .port = 40000},
				  .sentinel = pw.node[0].d->stub->sentinels.list[i].sentinel,
				  .conn = tcp ? 9 : 0,
				  .tcp = tcp};
}

static void app_asks(const char *name, uint16_t type, bool tcp, uint16_t id)
{
	struct dns_asker who = app_at(0, tcp);

	ask(0, &who, name, type, id);
}

/* The answer to a query: count records of rdata_len bytes, TXT of that length (a multiple of 251)
 * or an address. */
static size_t answer_to(const struct pw_upstream *u, uint16_t type, uint32_t count, uint8_t *out)
{
	size_t rdata_len = type == DNS_TYPE_A ? 4 : type == DNS_TYPE_SRV ? 7 : 251, len;
	struct dns_query q;

	if (!T_EQ(dns_query_parse(u->msg, u->len, &q), DNS_OK))
		return 0;
	len = DNS_HEADER_LEN + q.q.name.len + 4u;
	memcpy(out, u->msg, len);
	out[2] = 0x81;
	out[3] = 0x80;
	be16_put(out + 6, (uint16_t)count);
	be16_put(out + 10, 0); /* without the query's OPT */
	for (uint32_t i = 0; i < count; i++, len += 12 + rdata_len) {
		uint8_t *r = out + len;

		memset(r, 0, 12 + rdata_len);
		be16_put(r, 0xc00c);
		be16_put(r + 2, type);
		be16_put(r + 4, DNS_CLASS_IN);
		be32_put(r + 6, 60);
		be16_put(r + 10, (uint16_t)rdata_len);
		if (type == DNS_TYPE_A)
			memcpy(r + 12, (const uint8_t[]){203, 0, 113, (uint8_t)i}, 4);
		if (type == DNS_TYPE_TXT)
			r[12] = 250;
	}
	return len;
}

/* The resolver of the node has answered that asker. */
static void answered(uint8_t node, bool tcp, uint16_t id, enum dns_rcode code, uint32_t records,
		     bool tc)
{
	const struct pw_node *n = &pw.node[node];
	struct dns_msg m;

	if (!T(n->answer_len > 0) || !T_EQ(dns_msg_open(n->answer, n->answer_len, &m), DNS_OK))
		return;
	T_EQ(n->answer_to.tcp, tcp);
	T_EQ(m.id, id);
	T_EQ(m.rcode, code);
	T_EQ(m.counts[DNS_ANSWER], records);
	T_EQ(m.tc, tc);
	if (!tcp)
		T(n->answer_len <= DNS_UDP_CAP);
}

/* ---- packets of sockets ---- */
static struct pkt udp_with(const struct endpoint *from, const struct endpoint *to,
			   const uint8_t *msg, size_t len)
{
	struct pkt p = pkt_make(&from->ip, &to->ip, IP_PROTO_UDP, from->port, to->port, len);
	uint8_t *h = p.b + p.m.l4_off;

	memcpy(h + 8, msg, len);
	be16_put(h + 6, 0);
	be16_put(h + 6, ip_csum_l4(p.b, &p.m));
	return p;
}

/* The only query that has been passed on. */
static struct pw_upstream passed_on(uint8_t node, bool tcp, bool via_tunnel,
				    const struct endpoint *to)
{
	const struct pw_node *n = &pw.node[node];

	if (!T_EQ(n->upstream_count, 1))
		return (struct pw_upstream){0};
	T_EQ(n->upstreams[0].tcp, tcp);
	T_EQ(n->upstreams[0].via_tunnel, via_tunnel);
	T(endpoint_eq(&n->upstreams[0].to, to));
	return n->upstreams[0];
}

/* The answer to the node's only query arrives at its socket. */
static void is_answered(uint8_t node, const uint8_t *msg, size_t len)
{
	if (T(pw.node[node].upstream_count > 0))
		pw_upstream_answer(&pw, node, 0, msg, len);
	T_EQ(pw.node[node].upstream_count, 0);
}

/* ---- s14 ---- */
/* By TCP, if the application comes by TCP; and no answer. */
static void other_ends(const struct endpoint *sock, const struct endpoint *up)
{
	uint8_t msg[DNS_MSG_CAP];
	struct pw_upstream u;
	struct pkt p, got;
	size_t len;

	app_asks("two.example", DNS_TYPE_A, true, 0x103);
	u = passed_on(0, true, true, up);
	p = pkt_make(&sock->ip, &up->ip, IP_PROTO_TCP, SOCKET, DNS_PORT, 0);
	ps_tcp_flags(&p, IP_TCP_SYN, 1);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_SENT);
	got = ps_took(GW0);
	ps_same(&got, &p);
	len = answer_to(&u, DNS_TYPE_A, 200, msg);
	is_answered(0, msg, len);
	answered(0, true, 0x103, DNS_NOERROR, 200, false);

	/* Not answered: an end all the same. */
	app_asks("three.example", DNS_TYPE_A, false, 0x104);
	passed_on(0, false, true, up);
	pw_advance(&pw, 4900 * NS_PER_MS);
	T_EQ(pw.node[0].answer_len, 0);
	pw_advance(&pw, 200 * NS_PER_MS);
	answered(0, false, 0x104, DNS_SERVFAIL, 0, false);
	T_EQ(pw.node[0].upstream_count, 0);
}

void s14_upstream_inside_network_is_tunnelled(void)
{
	const struct endpoint up = {.ip = upstream, .port = DNS_PORT};
	struct endpoint sock;
	uint8_t msg[DNS_MSG_CAP];
	struct pw_upstream u;
	struct pkt p, back, got;
	size_t len;

	ps_open(1, 1, 1);
	sock = (struct endpoint){.ip = pw.node[0].tun4, .port = SOCKET};
	app_asks("one.example", DNS_TYPE_A, false, 0x101);
	u = passed_on(0, false, false, &up);
	len = answer_to(&u, DNS_TYPE_A, 1, msg);
	is_answered(0, msg, len);
	answered(0, false, 0x101, DNS_NOERROR, 1, false);

	/* The upstream's network becomes a resource. What answers there may be another host, so
	 * nothing that was said before is repeated; what is under way keeps its way, and is not
	 * kept. */
	app_asks("slow.example", DNS_TYPE_A, false, 0x111);
	u = passed_on(0, false, false, &up);
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "198.51.100.0/24");
	len = answer_to(&u, DNS_TYPE_A, 1, msg);
	is_answered(0, msg, len);
	answered(0, false, 0x111, DNS_NOERROR, 1, false);
	app_asks("slow.example", DNS_TYPE_A, false, 0x112);
	u = passed_on(0, false, true, &up);
	is_answered(0, msg, answer_to(&u, DNS_TYPE_A, 1, msg));
	app_asks("one.example", DNS_TYPE_A, false, 0x102);
	u = passed_on(0, false, true, &up);
	T(be16_get(u.msg) != 0x102); /* under an id of ours */
	p = udp_with(&sock, &up, u.msg, u.len);
	T_EQ(pw_app_send(&pw, 0, &p), PS_R_UTX_BUFFERED);
	ps_serve();
	got = ps_took(GW0);
	ps_same(&got, &p);
	len = answer_to(&u, DNS_TYPE_A, 2, msg);
	back = udp_with(&up, &sock, msg, len);
	T_EQ(pw_lan_send(&pw, 0, &back), PS_R_UTX_SENT);
	got = ps_took(0);
	ps_same(&got, &back);
	is_answered(0, got.b + got.m.l4_off + 8, got.len - got.m.l4_off - 8);
	answered(0, false, 0x102, DNS_NOERROR, 2, false);
	app_asks("one.example", DNS_TYPE_A, false, 0x120); /* this one is */
	T_EQ(pw.node[0].upstream_count, 0);
	answered(0, false, 0x120, DNS_NOERROR, 2, false);

	other_ends(&sock, &up);

	/* The network is no resource any more: around the tunnel again. */
	pw_policy_set(&pw, 0, 1, false, 0);
	ps_deliver();
	app_asks("one.example", DNS_TYPE_A, false, 0x121);
	u = passed_on(0, false, false, &up);
	is_answered(0, msg, answer_to(&u, DNS_TYPE_A, 1, msg));
	ps_permit(1, TUNNEL_RESOURCE_CIDR, "198.51.100.0/24");

	/* The host's own resolvers are asked around the tunnel, wherever they are. */
	T_EQ(pw_say_json(&pw, 0, "config_changed",
			 "{\"interface\":{\"ipv4\":\"100.64.1.10\",\"ipv6\":"
			 "\"fd00:2021:1111::10a\",\"upstream_dns\":[]}}"),
	     0);
	dns_set_system(pw.node[0].d, &(struct endpoint){.ip = upstream, .port = DNS_PORT}, 1,
		       pw.now);
	T(tunnel_resource_covers(&tcl_resource_at(&pw.node[0].d->tcl, 0)->r, &upstream));
	app_asks("four.example", DNS_TYPE_A, false, 0x105);
	passed_on(0, false, false, &up);
	ps_close();
}

/* ---- s15 ---- */
/* The query of the client's socket at the gateway's resolver, and what its site says to it. */
static size_t site_answers(const struct dns_asker *who, const struct pw_upstream *u, uint16_t type,
			   uint32_t count)
{
	const struct endpoint server = {.ip = {.family = 4, .b = {10, 9, 0, 53}}, .port = DNS_PORT};
	struct pw_node *g = &pw.node[GW0];
	struct pw_upstream asked;
	uint8_t msg[DNS_MSG_CAP];
	size_t len;

	dns_site_set_servers((struct dns_site *)(uintptr_t)site_resolver_site(g->d->site), &server,
			     1);
	g->answer_len = 0;
	g->dns.query(g->dns.ctx, who, u->msg, u->len, pw.now);
	asked = passed_on(GW0, who->tcp, false, &server);
	if (!asked.len)
		return 0;
	len = answer_to(&asked, type, count, msg);
	is_answered(GW0, msg, len);
	answered(GW0, who->tcp, be16_get(u->msg), DNS_NOERROR,
		 len > DNS_UDP_CAP && !who->tcp ? 0 : count, len > DNS_UDP_CAP && !who->tcp);
	return g->answer_len;
}

/* A query by UDP there and back, as packets of the client's socket. */
static void site_by_udp(const struct endpoint *at, uint16_t type, uint32_t count)
{
	const struct endpoint sock = {.ip = at->ip.family == 4 ? pw.node[0].tun4 : pw.node[0].tun6,
				      .port = SOCKET};
	const struct dns_asker who = {.src = sock, .sentinel = at->ip};
	struct pw_upstream u = passed_on(0, false, true, at);
	struct pkt p = udp_with(&sock, at, u.msg, u.len), got;
	size_t len;

	got = ps_reaches(0, &p, 0, &at->ip);
	ps_same(&got, &p);
	len = site_answers(&who, &u, type, count);
	p = udp_with(at, &sock, pw.node[GW0].answer, len);
	T_EQ(pw_lan_send(&pw, 0, &p), PS_R_UTX_SENT);
	got = ps_took(0);
	ps_same(&got, &p);
	is_answered(0, got.b + got.m.l4_off + 8, got.len - got.m.l4_off - 8);
}

static void site_by_tcp(const struct endpoint *at, uint16_t type, uint32_t count)
{
	const struct dns_asker who = {.src = {.ip = pw.node[0].tun4, .port = SOCKET},
				      .sentinel = at->ip,
				      .conn = 5,
				      .tcp = true};
	struct pw_upstream u = passed_on(0, true, true, at);
	struct pkt p = pkt_make(&pw.node[0].tun4, &at->ip, IP_PROTO_TCP, SOCKET, at->port, 0), got;
	size_t len;

	ps_tcp_flags(&p, IP_TCP_SYN, 1);
	got = ps_reaches(0, &p, 0, &at->ip);
	ps_same(&got, &p);
	len = site_answers(&who, &u, type, count);
	is_answered(0, pw.node[GW0].answer, len);
}

/* Of a resource of which otherwise nothing but TCP port 80 is permitted. */
static void open_site(void)
{
	ps_open(2, 1, 1);
	ps_define((struct pw_resource){.r = 3,
				       .type = TUNNEL_RESOURCE_DNS,
				       .address = "**.one.test",
				       .filter_count = 1,
				       .filters = {{IP_PROTO_TCP, 80, 80}}});
	T_EQ(pw_say_json(&pw, 0, "config_changed",
			 "{\"interface\":{\"ipv4\":\"100.64.1.10\",\"ipv6\":"
			 "\"fd00:2021:1111::10a\",\"upstream_dns\":["
			 "{\"protocol\":\"ip_port\",\"address\":\"198.51.100.53:53\"},"
			 "{\"protocol\":\"ip_port\",\"address\":\"[2001:db8::53]:53\"}]}}"),
	     0);
}

void s15_srv_txt_by_gateway_before_connection(void)
{
	struct endpoint at4, at6;
	struct dns_asker who;
	struct pkt p;

	open_site();
	at4 = (struct endpoint){.ip = pw.node[GW0].tun4, .port = TUNNEL_DNS_PORT};
	at6 = (struct endpoint){.ip = pw.node[GW0].tun6, .port = TUNNEL_DNS_PORT};
	app_asks("a.one.test", DNS_TYPE_TXT, false, 0x201);
	T_EQ(ps_asked(0, 3), 1); /* the query asks for the connection */
	T_EQ(pw.node[0].upstream_count, 0);
	T_EQ(pw.node[0].answer_len, 0);
	ps_flow(0, 0);
	T_EQ(pw.node[0].upstream_count, 0);
	T(pw_link_up(&pw, 0, 0));
	site_by_udp(&at4, DNS_TYPE_TXT, 1);
	answered(0, false, 0x201, DNS_NOERROR, 1, false);

	/* From then on without delay, by the family of the sentinel, by TCP if asked so. */
	app_asks("_sip._tcp.one.test", DNS_TYPE_SRV, true, 0x202);
	site_by_tcp(&at4, DNS_TYPE_SRV, 3);
	answered(0, true, 0x202, DNS_NOERROR, 3, false);
	who = app_at(1, false);
	ask(0, &who, "a.one.test", DNS_TYPE_TXT, 0x203);
	site_by_udp(&at6, DNS_TYPE_TXT, 2);
	answered(0, false, 0x203, DNS_NOERROR, 2, false);
	T_EQ(ps_asked(0, 3), 1);

	/* Others are not asked there, nor for others; and the gateway's host is no resource. */
	app_asks("a.one.test", DNS_TYPE_MX, false, 0x204);
	passed_on(0, false, false, &(struct endpoint){.ip = upstream, .port = DNS_PORT});
	who = (struct dns_asker){.src = {.ip = pw.node[1].tun4, .port = 1}, .sentinel = at4.ip};
	ask(GW0, &who, "a.one.test", DNS_TYPE_TXT, 0x205);
	answered(GW0, false, 0x205, DNS_REFUSED, 0, false);
	who.src.ip = pw.node[0].tun4;
	ask(GW0, &who, "www.example", DNS_TYPE_TXT, 0x206);
	answered(GW0, false, 0x206, DNS_REFUSED, 0, false);
	p = ps_udp(0, &at4.ip, SOCKET, 53);
	ps_refused(0, &p, 0, PS_R_URX_FILTERED, ICMP_ERROR_PROHIBITED);

	/* Two wait for a connection that does not come: SERVFAIL, in time. */
	pw_link_lost(&pw, 0, 0, true, true);
	pw_advance(&pw, 6 * NS_PER_SEC);
	app_asks("b.one.test", DNS_TYPE_TXT, false, 0x207);
	app_asks("b.one.test", DNS_TYPE_SRV, true, 0x208);
	T_EQ(ps_asked(0, 3), 2);
	T_EQ(pw.node[0].upstream_count, 0);
	pw_advance(&pw, 5100 * NS_PER_MS);
	answered(0, true, 0x208, DNS_SERVFAIL, 0, false);
	T_EQ(pw.node[0].d->stub->pending.count, 0);
	ps_close();
}

/* ---- s16 ---- */
void s16_truncated_answer_comes_by_tcp(void)
{
	const struct endpoint up = {.ip = upstream, .port = DNS_PORT};
	struct endpoint at;
	uint8_t msg[DNS_MSG_CAP];
	struct pw_upstream u;
	size_t len;

	open_site();

	/* Longer than the tunnel's packets: cut here, whole by TCP. */
	app_asks("big.example", DNS_TYPE_TXT, false, 0x301);
	u = passed_on(0, false, false, &up);
	len = answer_to(&u, DNS_TYPE_TXT, 5, msg);
	T(len > DNS_UDP_CAP && len <= 1500);
	is_answered(0, msg, len);
	answered(0, false, 0x301, DNS_NOERROR, 0, true);
	app_asks("big.example", DNS_TYPE_TXT, true, 0x302);
	u = passed_on(0, true, false, &up); /* what was cut is not kept */
	len = answer_to(&u, DNS_TYPE_TXT, 100, msg);
	is_answered(0, msg, len);
	answered(0, true, 0x302, DNS_NOERROR, 100, false);

	/* Cut by the upstream. */
	app_asks("cut.example", DNS_TYPE_TXT, false, 0x303);
	u = passed_on(0, false, false, &up);
	len = answer_to(&u, DNS_TYPE_TXT, 0, msg);
	msg[2] |= 0x02;
	is_answered(0, msg, len);
	answered(0, false, 0x303, DNS_NOERROR, 0, true);
	app_asks("cut.example", DNS_TYPE_TXT, true, 0x304);
	u = passed_on(0, true, false, &up);
	len = answer_to(&u, DNS_TYPE_TXT, 9, msg);
	is_answered(0, msg, len);
	answered(0, true, 0x304, DNS_NOERROR, 9, false);

	/* In the site: cut by the gateway. */
	at = (struct endpoint){.ip = pw.node[GW0].tun4, .port = TUNNEL_DNS_PORT};
	app_asks("big.one.test", DNS_TYPE_TXT, false, 0x305);
	ps_flow(0, 0);
	T(pw_link_up(&pw, 0, 0));
	site_by_udp(&at, DNS_TYPE_TXT, 5);
	answered(0, false, 0x305, DNS_NOERROR, 0, true);
	app_asks("big.one.test", DNS_TYPE_TXT, true, 0x306);
	site_by_tcp(&at, DNS_TYPE_TXT, 200);
	answered(0, true, 0x306, DNS_NOERROR, 200, false);

	/* Just what fits is not cut. */
	app_asks("fits.example", DNS_TYPE_A, false, 0x307);
	u = passed_on(0, false, false, &up);
	len = answer_to(&u, DNS_TYPE_A, (DNS_UDP_CAP - 30) / 16, msg);
	T(len <= DNS_UDP_CAP && len + 16 > DNS_UDP_CAP);
	is_answered(0, msg, len);
	answered(0, false, 0x307, DNS_NOERROR, (DNS_UDP_CAP - 30) / 16, false);
	ps_close();
}

/* ---- s17 ---- */
/* The portal's resolvers, from now on; NULL: none. */
static void set_upstreams(const char *a, const char *b)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"interface\":{\"ipv4\":\"100.64.1.10\",\"ipv6\":\"fd00:2021:1111::10a\","
		 "\"upstream_dns\":[%s%s%s%s%s%s%s]}}",
		 a ? "{\"protocol\":\"ip_port\",\"address\":\"" : "", a ? a : "", a ? "\"}" : "",
		 b ? "," : "", b ? "{\"protocol\":\"ip_port\",\"address\":\"" : "", b ? b : "",
		 b ? "\"}" : "");
	T_EQ(pw_say_json(&pw, 0, "config_changed", text), 0);
}

/* All sentinels are others than before; list becomes what they are now. */
static void all_fresh(struct ipaddr list[8], uint32_t *count, uint32_t want)
{
	const struct dns_sentinels *s = &pw.node[0].d->stub->sentinels;

	T_EQ(s->count, want);
	for (uint32_t i = 0; i < s->count; i++) {
		T(dns_in_sentinel_range(&s->list[i].sentinel));
		T_EQ(s->list[i].sentinel.family, s->list[i].at.ip.family);
		for (uint32_t k = 0; k < *count; k++)
			T(!ipaddr_eq(&s->list[i].sentinel, &list[k]));
	}
	*count = s->count;
	for (uint32_t i = 0; i < s->count; i++)
		list[i] = s->list[i].sentinel;
}

static void same_sentinels(const struct ipaddr list[8], uint32_t count)
{
	const struct dns_sentinels *s = &pw.node[0].d->stub->sentinels;

	if (T_EQ(s->count, count))
		for (uint32_t i = 0; i < count; i++)
			T(ipaddr_eq(&s->list[i].sentinel, &list[i]));
}

void s17_sentinels_fresh_when_upstreams_change(void)
{
	const struct endpoint up = {.ip = upstream, .port = DNS_PORT};
	const struct endpoint system[] = {
		{.ip = {.family = 4, .b = {192, 0, 2, 53}}, .port = DNS_PORT},
		{.ip = {.family = 4, .b = {100, 100, 111, 1}}, .port = DNS_PORT}};
	struct ipaddr list[8], old;
	uint8_t msg[DNS_MSG_CAP];
	struct dns_asker who;
	uint32_t count = 0;
	struct pw_upstream u;
	size_t len;

	ps_open(1, 1, 1);
	all_fresh(list, &count, 1);
	old = list[0];
	app_asks("kept.example", DNS_TYPE_A, false, 0x401);
	u = passed_on(0, false, false, &up);
	len = answer_to(&u, DNS_TYPE_A, 1, msg);
	is_answered(0, msg, len);
	app_asks("kept.example", DNS_TYPE_A, false, 0x402); /* from memory */
	answered(0, false, 0x402, DNS_NOERROR, 1, false);
	T_EQ(pw.node[0].upstream_count, 0);

	/* One waits when the upstreams change: it ends without a word, for where it was asked there
	 * is nobody any more. */
	app_asks("waits.example", DNS_TYPE_A, false, 0x403);
	u = passed_on(0, false, false, &up);
	set_upstreams("198.51.100.53:53", "[2001:db8::53]:53");
	all_fresh(list, &count, 2);
	T_EQ(pw.node[0].upstream_count, 0);
	T_EQ(pw.node[0].answer_len, 0);
	T_EQ(pw.node[0].d->stub->pending.count, 0);
	who = app_at(0, false);
	who.sentinel = old;
	ask(0, &who, "late.example", DNS_TYPE_A, 0x404);
	answered(0, false, 0x404, DNS_SERVFAIL, 0, false);
	T_EQ(pw.node[0].upstream_count, 0);
	app_asks("kept.example", DNS_TYPE_A, false, 0x405); /* and nothing is remembered */
	passed_on(0, false, false, &up);
	pw_advance(&pw, 6 * NS_PER_SEC);

	/* The same set in another order, and the portal joined anew, are no change. */
	set_upstreams("[2001:db8::53]:53", "198.51.100.53:53");
	same_sentinels(list, count);
	dns_set_system(pw.node[0].d, system, 2, pw.now);
	same_sentinels(list, count);

	/* Back to the first: not the first one's sentinel's cache. Then none: the host's own. */
	pw_portal_join(&pw, 0);
	ps_deliver();
	all_fresh(list, &count, 1);
	set_upstreams(NULL, NULL);
	all_fresh(list, &count, 1); /* of the two, one is in our own range */
	app_asks("own.example", DNS_TYPE_A, false, 0x406);
	passed_on(0, false, false, &system[0]);
	pw_advance(&pw, 6 * NS_PER_SEC);
	dns_set_system(pw.node[0].d, NULL, 0, pw.now);
	all_fresh(list, &count, 0); /* without any we answer nobody */
	set_upstreams("198.51.100.53:5353", NULL);
	all_fresh(list, &count, 1);
	ps_close();
}
