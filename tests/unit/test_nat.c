/* SPDX-License-Identifier: Apache-2.0
 *
 * The NAT table packet by packet: every verdict, ports, remapping, the ends of sessions and their
 * tombstones, full tables. Two clients use the same proxy addresses for different names throughout.
 */
#include <errno.h>
#include "tests/nat_world.h"

#define ALICE 1
#define BOB   2

static struct nat_world w;
static struct nat_hit hit;

static struct ipaddr tun4, tun6, proxy4, proxy6, other4, real4, real4b, real6;

static void setup(uint32_t sessions, uint32_t tombs)
{
	nw_open(&w, &(struct nat_sizes){
			    .clients = 4, .mappings = 8, .sessions = sessions, .tombs = tombs});
	tun4 = pkt_ip("100.64.0.9");
	tun6 = pkt_ip("fd00:2021:1111::9");
	proxy4 = pkt_ip("100.96.0.1");
	other4 = pkt_ip("100.96.0.2");
	proxy6 = pkt_ip("fd00:2021:1111:8000::");
	real4 = pkt_ip("10.1.0.5");
	real4b = pkt_ip("10.1.0.6");
	real6 = pkt_ip("2001:db8::5");
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy6, &real6, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, BOB, &proxy4, &real4b, 8, 80, w.now), 0);
}

static enum nat_out out(uint32_t client, uint8_t proto, const struct ipaddr *dst, uint16_t sport,
			uint16_t dport, uint8_t flags)
{
	struct ip_meta m = nw_meta(dst->family == 4 ? &tun4 : &tun6, dst, proto, sport, dport);

	if (flags)
		m.tcp_flags = flags;
	hit = (struct nat_hit){0};
	return nat_out(&w.n, client, &m, &hit, w.now);
}

static enum nat_in in(uint32_t client, uint8_t proto, const struct ipaddr *src, uint16_t sport,
		      uint16_t dport, uint8_t flags)
{
	struct ip_meta m = nw_meta(src, src->family == 4 ? &tun4 : &tun6, proto, sport, dport);

	if (m.l4 == IP_L4_ICMP_ECHO)
		m.icmp_id = dport;
	if (flags)
		m.tcp_flags = flags;
	hit = (struct nat_hit){0};
	return nat_in(&w.n, client, &m, &hit, w.now);
}

static bool goes_to(const struct ipaddr *a, uint16_t port)
{
	return T(hit.nat.on) & T(ipaddr_eq(&hit.nat.addr, a)) & T_EQ(hit.nat.port, port);
}

/* Time passes, sweeps run when they want to. */
static void pass(uint64_t ns)
{
	uint64_t until = w.now + ns;

	while (nw_due(&w, until)) {
		nat_timeout(&w.n, w.now);
	}
	w.now = until;
}

static void test_verdicts(void)
{
	struct ipaddr unknown = pkt_ip("100.96.9.9"), v6only = pkt_ip("100.96.0.3"), none = {0};
	struct ip_meta gre;

	setup(16, 16);
	gre = nw_meta(&tun4, &proxy4, 47, 0, 0);
	T_EQ(out(ALICE, IP_PROTO_TCP, &unknown, 1000, 443, 0), NAT_OUT_NO_MAPPING);
	T_EQ(out(3, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_NO_MAPPING);
	T_EQ(out(99, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_NO_MAPPING);
	T_EQ(nat_out(&w.n, ALICE, &gre, &hit, w.now), NAT_OUT_OTHER);
	T_EQ(nat_translate_set(&w.n, ALICE, &v6only, &none, 7, 71, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_UDP, &v6only, 1000, 53, 0), NAT_OUT_UNREACHABLE);
	T_EQ(nat_translate_set(&w.n, ALICE, &v6only, &real6, 7, 71, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_UDP, &v6only, 1000, 53, 0), NAT_OUT_UNREACHABLE);
	T_EQ(w.n.session_count, 0);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_OK);
	T(goes_to(&real4, 1000));
	T_EQ(hit.resource, 7);
	T_EQ(hit.domain, 70);
	T(ipaddr_eq(&hit.proxy, &proxy4));
	T_EQ(out(BOB, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_OK);
	T(goes_to(&real4b, 1000));
	T_EQ(out(ALICE, IP_PROTO_ICMPV6, &proxy6, 77, 0, 0), NAT_OUT_OK);
	T(goes_to(&real6, 77));
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, 0), NAT_IN_OK);
	T(goes_to(&proxy4, 1000));
	T_EQ(in(ALICE, IP_PROTO_ICMPV6, &real6, 0, 77, 0), NAT_IN_OK);
	T(goes_to(&proxy6, 77));
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 443, 1000, 0), NAT_IN_NONE);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4b, 443, 1000, 0), NAT_IN_NONE);
	T_EQ(in(BOB, IP_PROTO_TCP, &real4, 443, 1000, 0), NAT_IN_NONE);
	T_EQ(in(ALICE, 47, &real4, 0, 0, 0), NAT_IN_NONE);
	T_EQ(w.n.session_count, 3);
	T(nat_lookup(&w.n, BOB, &proxy4, &hit) && hit.resource == 8 && hit.session == NAT_NONE);
	T(!nat_lookup(&w.n, BOB, &proxy6, &hit));
	nw_close(&w);
}

static void test_mapping_refused(void)
{
	static const char *const reals[] = {
		"127.0.0.1",	    "0.0.0.0", "224.0.0.1", "100.64.0.1", "100.96.0.7",
		"169.254.169.254",  "::1",     "::",	    "ff02::1",	  "fe80::1",
		"fd00:2021:1111::1"};
	static const char *const proxies[] = {
		"10.0.0.1",    "100.64.0.1",	    "100.100.111.1",
		"2001:db8::1", "fd00:2021:1111::1", "fd00:2021:1111:8000:100:100:111:3"};

	setup(4, 4);
	for (size_t i = 0; i < sizeof(reals) / sizeof(*reals); i++) {
		struct ipaddr a = pkt_ip(reals[i]);

		T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &a, 9, 90, w.now), -EINVAL);
	}
	for (size_t i = 0; i < sizeof(proxies) / sizeof(*proxies); i++) {
		struct ipaddr a = pkt_ip(proxies[i]);

		T_EQ(nat_translate_set(&w.n, ALICE, &a, &real4, 9, 90, w.now), -EINVAL);
	}
	T_EQ(nat_translate_set(&w.n, 4, &proxy4, &real4, 9, 90, w.now), -EINVAL);
	T(nat_lookup(&w.n, ALICE, &proxy4, &hit) && hit.domain == 70);
	T_EQ(w.n.mapping_count, 3);
	nw_close(&w);
}

static void test_one_session_many_ports(void)
{
	setup(16, 16);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 80, 0), NAT_OUT_OK);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_OK);
	T_EQ(w.n.session_count, 1);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 9999, 1000, 0), NAT_IN_OK);
	/* The end of one of them is not the end of the session. */
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 80, 1000, IP_TCP_RST), NAT_IN_OK);
	pass(NW_SEC(100));
	T_EQ(w.n.session_count, 1);
	nw_close(&w);
}

static void test_collisions(void)
{
	setup(16, 16);
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4, 7, 72, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, 65535, 53, 0), NAT_OUT_OK);
	T(goes_to(&real4, 65535));
	T_EQ(out(ALICE, IP_PROTO_UDP, &other4, 65535, 53, 0), NAT_OUT_OK);
	T(goes_to(&real4, 1)); /* after the last comes the first, 0 never */
	T_EQ(out(ALICE, IP_PROTO_TCP, &other4, 65535, 53, 0), NAT_OUT_OK);
	T(goes_to(&real4, 65535)); /* another protocol */
	T_EQ(out(BOB, IP_PROTO_UDP, &proxy4, 65535, 53, 0), NAT_OUT_OK);
	T(goes_to(&real4b, 65535));
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 1, 0), NAT_IN_OK);
	T(goes_to(&other4, 65535));
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 65535, 0), NAT_IN_OK);
	T(goes_to(&proxy4, 65535));
	T_EQ(out(ALICE, IP_PROTO_ICMP, &proxy4, 0, 0, 0), NAT_OUT_OK);
	T(goes_to(&real4, 0)); /* an identifier may be 0 */
	T_EQ(out(ALICE, IP_PROTO_ICMP, &other4, 0, 0, 0), NAT_OUT_OK);
	T(goes_to(&real4, 1));
	T_EQ(w.n.counters.port_changed, 2);
	nw_close(&w);
}

static void test_exhaustion(void)
{
	nw_open(&w, &(struct nat_sizes){
			    .clients = 4, .mappings = 8, .sessions = 140000, .tombs = 140000});
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4, 7, 71, w.now), 0);
	for (uint32_t p = 1; p <= 65535; p++)
		if (!T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, (uint16_t)p, 53, 0), NAT_OUT_OK))
			break;
	T_EQ(out(ALICE, IP_PROTO_UDP, &other4, 5, 53, 0), NAT_OUT_EXHAUSTED);
	T_EQ(w.n.counters.ports_exhausted, 1);
	T_EQ(w.n.session_count, 65535);
	/* Elsewhere there is room: another protocol, another address, another client. */
	T_EQ(out(ALICE, IP_PROTO_TCP, &other4, 5, 53, 0), NAT_OUT_OK);
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4b, 7, 71, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_UDP, &other4, 5, 53, 0), NAT_OUT_OK);
	T_EQ(nat_translate_set(&w.n, BOB, &proxy4, &real4, 7, 70, w.now), 0);
	T_EQ(out(BOB, IP_PROTO_UDP, &proxy4, 5, 53, 0), NAT_OUT_OK);
	/* And again when they are over: all are unconfirmed. */
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4, 7, 71, w.now), 0);
	pass(NAT_UNCONFIRMED_NS);
	T_EQ(w.n.session_count, 0);
	T_EQ(out(ALICE, IP_PROTO_UDP, &other4, 5, 53, 0), NAT_OUT_OK);
	T(goes_to(&real4, 5));
	nw_close(&w);
}

static void test_tables_full(void)
{
	struct ipaddr p = proxy4;
	int i, rc = 0;

	setup(3, 4);
	for (i = 0; i < 3; i++)
		T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, (uint16_t)(i + 1), 53, 0), NAT_OUT_OK);
	T_EQ(out(BOB, IP_PROTO_UDP, &proxy4, 1, 53, 0), NAT_OUT_EXHAUSTED);
	T_EQ(w.n.counters.session_table_full, 1);
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, 2, 53, 0), NAT_OUT_OK);
	for (i = 0; i < 10 && !rc; i++) {
		p.b[3] = (uint8_t)(100 + i);
		rc = nat_translate_set(&w.n, BOB, &p, &real4, 7, 70, w.now);
	}
	T_EQ(rc, -ENOSPC);
	T_EQ(w.n.mapping_count, 8);
	T_EQ(w.n.counters.mapping_table_full, 1);
	nat_client_drop(&w.n, ALICE);
	T_EQ(w.n.session_count, 0);
	T_EQ(out(BOB, IP_PROTO_UDP, &proxy4, 1, 53, 0), NAT_OUT_OK);
	nw_close(&w);

	nw_open(&w, &(struct nat_sizes){4, 8, 8, 8, .mappings_max = 1, .sessions_max = 2});
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4, 7, 70, w.now), -ENOSPC);
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4b, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, BOB, &proxy4, &real4, 7, 70, w.now), 0);
	for (i = 1; i < 4; i++)
		T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, (uint16_t)i, 53, 0),
		     i < 3 ? NAT_OUT_OK : NAT_OUT_EXHAUSTED);
	T_EQ(out(BOB, IP_PROTO_UDP, &proxy4, 1, 53, 0), NAT_OUT_OK);
	T_EQ(w.n.counters.mapping_share_full, 1);
	T_EQ(w.n.counters.session_share_full, 1);
	nw_close(&w);
}

static void test_remap(void)
{
	struct ipaddr none = {0};

	setup(16, 16);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_OK);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, 0), NAT_IN_OK);
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4b, 9, 70, w.now), 0);
	/* The old session goes on, a new one is somewhere else; the resource is the mapping's. */
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_OK);
	T(goes_to(&real4, 1000));
	T_EQ(hit.resource, 9);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, 0), NAT_IN_OK);
	T(goes_to(&proxy4, 1000));
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1001, 443, IP_TCP_SYN), NAT_OUT_OK);
	T(goes_to(&real4b, 1001));
	/* The name has no address any more: nothing new, what runs runs on. */
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &none, 9, 70, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, 0), NAT_OUT_OK);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1002, 443, IP_TCP_SYN), NAT_OUT_UNREACHABLE);
	/* Another name: the sessions are over. */
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4, 9, 71, w.now), 1);
	T_EQ(w.n.session_count, 0);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4b, 443, 1001, 0), NAT_IN_EXPIRED);
	T(w.n.ended && nat_timeout(&w.n, w.now + NS_PER_SEC));
	nw_close(&w);
}

/* A closed connection's port is used again: on the present address, though the old one is not swept
 * yet. */
static void test_anew(void)
{
	setup(16, 16);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, IP_TCP_FIN | IP_TCP_ACK), NAT_IN_OK);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, IP_TCP_FIN | IP_TCP_ACK), NAT_OUT_OK);
	T_EQ(nat_session_deadline(&w.mem.sessions[hit.session]), w.now + NAT_CLOSED_NS);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	T(goes_to(&real4, 1000));
	T_EQ(nat_session_deadline(&w.mem.sessions[hit.session]), w.now + NAT_UNCONFIRMED_NS);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, IP_TCP_RST), NAT_IN_OK);
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4b, 7, 70, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	T(goes_to(&real4b, 1000));
	/* The kernel may still hold flows of the one that ended: its outside is nobody's yet. */
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4, 7, 72, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_TCP, &other4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	T(goes_to(&real4, 1001));
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, 0), NAT_IN_EXPIRED);
	T_EQ(nat_deadline(&w.n).at, w.n.swept_ns + NAT_SWEEP_NS);
	T(nat_timeout(&w.n, w.now));
	T(!nat_timeout(&w.n, w.now));
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4, 7, 73, w.now), 1);
	T(nat_timeout(&w.n, w.now));
	T_EQ(out(ALICE, IP_PROTO_TCP, &other4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	T(goes_to(&real4, 1000));
	nw_close(&w);
}

static void test_deadlines(void)
{
	static const struct {
		uint8_t kind, flags;
		bool confirmed;
		uint64_t after;
	} rows[] = {
		{NAT_TCP, 0, true, NAT_TCP_NS},
		{NAT_TCP, 0, false, NAT_UNCONFIRMED_NS},
		{NAT_UDP, 0, true, NAT_UDP_NS},
		{NAT_UDP, 0, false, NAT_UNCONFIRMED_NS},
		{NAT_ECHO, 0, true, NAT_ICMP_NS},
		{NAT_ECHO, 0, false, NAT_UNCONFIRMED_NS},
		{NAT_TCP, NAT_S_FIN_OUT, true, NAT_TCP_NS},
		{NAT_TCP, NAT_S_FIN_IN, true, NAT_TCP_NS},
		{NAT_TCP, NAT_S_FIN_OUT, false, NAT_UNCONFIRMED_NS},
		{NAT_TCP, NAT_S_FIN_OUT | NAT_S_FIN_IN, true, NAT_CLOSED_NS},
		{NAT_TCP, NAT_S_RST, true, 0},
		{NAT_TCP, NAT_S_RST | NAT_S_FIN_IN, false, 0},
		{NAT_TCP, NAT_S_SHARED | NAT_S_RST, true, NAT_TCP_NS},
		{NAT_TCP, NAT_S_SHARED | NAT_S_FIN_OUT | NAT_S_FIN_IN, true, NAT_TCP_NS},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct nat_session s = {.kind = rows[i].kind, .flags = rows[i].flags};

		s.last_out_ns = NW_SEC(10);
		s.last_in_ns = rows[i].confirmed ? NW_SEC(20) : 0;
		T_EQ(nat_session_deadline(&s),
		     (rows[i].confirmed ? NW_SEC(20) : NW_SEC(10)) + rows[i].after);
		s.last_out_ns = NW_SEC(30);
		T_EQ(nat_session_deadline(&s), NW_SEC(30) + rows[i].after);
	}
}

/* One session of a protocol, answered or not, until shortly before and shortly after its end. */
static void life(uint8_t proto, bool answered, uint8_t end_out, uint8_t end_in, uint64_t ns)
{
	setup(16, 16);
	T_EQ(out(ALICE, proto, &proxy4, 1000, 443, end_out), NAT_OUT_OK);
	if (answered)
		T_EQ(in(ALICE, proto, &real4, 443, 1000, end_in), NAT_IN_OK);
	if (ns) {
		pass(ns - NS_PER_SEC);
		T_EQ(w.n.session_count, 1);
		T_EQ(in(ALICE, proto, &real4, 443, 1000, 0), NAT_IN_OK);
		T_EQ(in(ALICE, proto, &real4b, 443, 1000, 0), NAT_IN_NONE);
		if (!answered)
			ns = proto == IP_PROTO_TCP ? NAT_TCP_NS : NAT_UDP_NS;
		pass(ns - NS_PER_SEC); /* what came in counts */
		T_EQ(w.n.session_count, 1);
		T_EQ(out(ALICE, proto, &proxy4, 1000, 443, 0), NAT_OUT_OK);
		pass(ns - NS_PER_SEC);
		T_EQ(w.n.session_count, 1);
	}
	pass(2 * NS_PER_SEC);
	T_EQ(w.n.session_count, 0);
	T_EQ(in(ALICE, proto, &real4, 443, 1000, 0), NAT_IN_EXPIRED);
	T_EQ(w.n.counters.expired + w.n.counters.closed, 1);
	T_EQ(w.n.counters.closed, ns == NAT_CLOSED_NS || !ns);
	nw_close(&w);
}

static void test_timeouts(void)
{
	life(IP_PROTO_TCP, true, 0, 0, NAT_TCP_NS);
	life(IP_PROTO_UDP, true, 0, 0, NAT_UDP_NS);
	life(IP_PROTO_ICMP, true, 0, 0, NAT_ICMP_NS);
	life(IP_PROTO_TCP, false, 0, 0, NAT_UNCONFIRMED_NS);
	life(IP_PROTO_UDP, false, 0, 0, NAT_UNCONFIRMED_NS);
	life(IP_PROTO_ICMP, false, 0, 0, NAT_UNCONFIRMED_NS);
	life(IP_PROTO_TCP, true, IP_TCP_FIN | IP_TCP_ACK, IP_TCP_FIN | IP_TCP_ACK, NAT_CLOSED_NS);
	life(IP_PROTO_TCP, true, IP_TCP_FIN | IP_TCP_ACK, IP_TCP_ACK, NAT_TCP_NS);
	life(IP_PROTO_TCP, true, IP_TCP_SYN, IP_TCP_RST | IP_TCP_ACK, 0);
	life(IP_PROTO_TCP, true, IP_TCP_RST, IP_TCP_ACK, 0);
}

static void test_tombstones(void)
{
	struct ip_meta m;

	setup(16, 4);
	for (uint16_t p = 1; p <= 6; p++) {
		T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, p, 53, 0), NAT_OUT_OK);
		pass(NS_PER_SEC);
	}
	pass(NAT_UNCONFIRMED_NS + NS_PER_SEC);
	T_EQ(w.n.session_count, 0);
	T_EQ(w.n.tomb_count, 4); /* bounded: the oldest two gave way */
	T_EQ(w.n.counters.tomb_evicted, 2);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 1, 0), NAT_IN_NONE);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 3, 0), NAT_IN_EXPIRED);
	/* The port lives again. */
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, 3, 53, 0), NAT_OUT_OK);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 3, 0), NAT_IN_OK);
	/* The client goes to the address itself. */
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 4, 0), NAT_IN_EXPIRED);
	m = nw_meta(&tun4, &real4, IP_PROTO_UDP, 4, 53);
	nat_direct_out(&w.n, BOB, &m);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 4, 0), NAT_IN_EXPIRED);
	nat_direct_out(&w.n, ALICE, &m);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 4, 0), NAT_IN_NONE);
	/* And they are over some time. */
	pass(NAT_TOMBSTONE_NS - NW_SEC(10));
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 6, 0), NAT_IN_EXPIRED);
	pass(NW_SEC(12));
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 6, 0), NAT_IN_NONE);
	pass(NW_SEC(2000));
	T_EQ(w.n.tomb_count, 0);
	T_EQ(nat_deadline(&w.n).at, TIME_NEVER);
	nw_close(&w);
	setup(4, 0); /* none at all */
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, 1, 53, 0), NAT_OUT_OK);
	pass(NAT_UNCONFIRMED_NS);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 1, 0), NAT_IN_NONE);
	nw_close(&w);
}

static void test_drops(void)
{
	setup(16, 16);
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4b, 8, 72, w.now), 0);
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, 1, 53, 0), NAT_OUT_OK);
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy6, 1, 53, 0), NAT_OUT_OK);
	T_EQ(out(ALICE, IP_PROTO_UDP, &other4, 1, 53, 0), NAT_OUT_OK);
	T_EQ(out(BOB, IP_PROTO_UDP, &proxy4, 1, 53, 0), NAT_OUT_OK);
	nat_proxy_drop(&w.n, ALICE, &proxy6, w.now);
	nat_proxy_drop(&w.n, ALICE, &proxy6, w.now);
	T_EQ(w.n.session_count, 3);
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy6, 1, 53, 0), NAT_OUT_NO_MAPPING);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real6, 53, 1, 0), NAT_IN_EXPIRED);
	nat_resource_drop(&w.n, ALICE, 7, w.now);
	nat_resource_drop(&w.n, 99, 7, w.now);
	T_EQ(w.n.session_count, 2);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 1, 0), NAT_IN_EXPIRED);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4b, 53, 1, 0), NAT_IN_OK);
	nat_client_drop(&w.n, ALICE);
	nat_client_drop(&w.n, 99);
	T_EQ(w.n.session_count, 1);
	T_EQ(w.n.mapping_count, 1);
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 1, 0), NAT_IN_NONE); /* nothing of it is left */
	T_EQ(in(BOB, IP_PROTO_UDP, &real4b, 53, 1, 0), NAT_IN_OK);
	T_EQ(nat_mapping_next(&w.n, nat_mapping_next(&w.n, NAT_NONE)), NAT_NONE);
	T_EQ(nat_session_next(&w.n, nat_session_next(&w.n, NAT_NONE)), NAT_NONE);
	nw_close(&w);
}

static struct ps_flow_key flow_key(uint32_t peer, const struct ipaddr *s, const struct ipaddr *d,
				   uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct ps_flow_key k = {.peer = peer,
				.family = s->family,
				.proto = proto,
				.sport = ps_be16(sport),
				.dport = ps_be16(dport)};

	memcpy(k.saddr, s->b, 16);
	memcpy(k.daddr, d->b, 16);
	return k;
}

static struct ps_flow flow_of(const struct tunnel_nat *nat, uint64_t last)
{
	struct ps_flow f = {
		.peer = ALICE, .nat = 1, .nat_port = ps_be16(nat->port), .last_ns = last};

	memcpy(f.nat_addr, nat->addr.b, 16);
	return f;
}

/* The kernel's flows keep a session alive, and are named stale when it has ended or means something
 * else. */
static void test_flows_seen(void)
{
	struct ps_flow_key to, from;
	struct ps_flow fto, ffrom, wrong;

	setup(16, 16);
	T_EQ(out(ALICE, IP_PROTO_UDP, &proxy4, 1000, 53, 0), NAT_OUT_OK);
	to = flow_key(ALICE, &tun4, &proxy4, IP_PROTO_UDP, 1000, 53);
	from = flow_key(0, &real4, &tun4, IP_PROTO_UDP, 53, 1000);
	fto = flow_of(&hit.nat, w.now + NW_SEC(50));
	T_EQ(in(ALICE, IP_PROTO_UDP, &real4, 53, 1000, 0), NAT_IN_OK);
	ffrom = flow_of(&hit.nat, w.now + NW_SEC(110));
	w.now += NW_SEC(119);
	T(nat_flow_seen(&w.n, true, &to, &fto));
	T(nat_flow_seen(&w.n, false, &from, &ffrom));
	T(!nat_timeout(&w.n, w.now));
	T_EQ(w.n.session_count, 1);
	T_EQ(nat_session_deadline(&w.mem.sessions[hit.session]), ffrom.last_ns + NAT_UDP_NS);
	wrong = fto;
	wrong.nat_addr[0] ^= 1;
	T(!nat_flow_seen(&w.n, true, &to, &wrong));
	wrong = ffrom;
	wrong.nat_port ^= 1;
	T(!nat_flow_seen(&w.n, false, &from, &wrong));
	wrong = ffrom;
	wrong.peer = BOB;
	T(!nat_flow_seen(&w.n, false, &from, &wrong));
	from.proto = 47;
	T(!nat_flow_seen(&w.n, false, &from, &ffrom));
	from.proto = IP_PROTO_UDP;
	pass(NAT_UDP_NS);
	T_EQ(w.n.session_count, 0);
	T(!nat_flow_seen(&w.n, true, &to, &fto));
	T(!nat_flow_seen(&w.n, false, &from, &ffrom));

	T_EQ(out(ALICE, IP_PROTO_ICMPV6, &proxy6, 5, 0, 0), NAT_OUT_OK);
	to = flow_key(ALICE, &tun6, &proxy6, IP_PROTO_ICMPV6, 5, 0);
	fto = flow_of(&hit.nat, w.now);
	T(nat_flow_seen(&w.n, true, &to, &fto));
	T_EQ(in(ALICE, IP_PROTO_ICMPV6, &real6, 0, 5, 0), NAT_IN_OK);
	from = flow_key(0, &real6, &tun6, IP_PROTO_ICMPV6, 5, 0);
	ffrom = flow_of(&hit.nat, w.now);
	T(nat_flow_seen(&w.n, false, &from, &ffrom));
	nw_close(&w);
}

/* What the kernel carried before the session began says nothing about it: entries outlive their
 * session, as misses, and one that comes after it may be the same in every other respect. */
static void test_flows_before(void)
{
	struct ps_flow_key to, from;
	struct ps_flow fto, ffrom;

	setup(16, 16);
	to = flow_key(ALICE, &tun4, &proxy4, IP_PROTO_TCP, 1000, 443);
	from = flow_key(0, &real4, &tun4, IP_PROTO_TCP, 443, 1000);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	fto = flow_of(&hit.nat, w.now);
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, IP_TCP_SYN | IP_TCP_ACK), NAT_IN_OK);
	ffrom = flow_of(&hit.nat, w.now);
	pass(NAT_TCP_NS);
	T_EQ(w.n.session_count, 0);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	T(nat_flow_seen(&w.n, true, &to, &fto));
	T(nat_flow_seen(&w.n, false, &from, &ffrom));
	T_EQ(nat_session_deadline(&w.mem.sessions[hit.session]), w.now + NAT_UNCONFIRMED_NS);
	/* nor does that of a connection about the next one of the same ports */
	T_EQ(in(ALICE, IP_PROTO_TCP, &real4, 443, 1000, IP_TCP_RST), NAT_IN_OK);
	ffrom.last_ns = w.now;
	w.now += NW_SEC(1);
	T_EQ(out(ALICE, IP_PROTO_TCP, &proxy4, 1000, 443, IP_TCP_SYN), NAT_OUT_OK);
	T(nat_flow_seen(&w.n, false, &from, &ffrom));
	T_EQ(nat_session_deadline(&w.mem.sessions[hit.session]), w.now + NAT_UNCONFIRMED_NS);
	nw_close(&w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_verdicts);
	T_RUN(test_mapping_refused);
	T_RUN(test_one_session_many_ports);
	T_RUN(test_collisions);
	T_RUN(test_exhaustion);
	T_RUN(test_tables_full);
	T_RUN(test_remap);
	T_RUN(test_anew);
	T_RUN(test_deadlines);
	T_RUN(test_timeouts);
	T_RUN(test_tombstones);
	T_RUN(test_drops);
	T_RUN(test_flows_seen);
	T_RUN(test_flows_before);
	return t_done();
}
