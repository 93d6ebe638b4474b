/* SPDX-License-Identifier: Apache-2.0
 *
 * ICMP errors through the NAT, both ways and families: type, code and MTU stay, the quoted packet
 * becomes again the one its sender has sent, byte for byte as far as it is quoted. */
#include "tests/nat_world.h"
#include "plan/nat.h"

#define ALICE 1

static struct nat_world w;
static struct nat_hit hit;
static struct ipaddr tun4, tun6, proxy4, proxy6, other4, other6, real4, real6, router4, router6;
static uint8_t got[NAT_ICMP_MAX];
static size_t got_len;
static struct ip_meta got_meta;

static void test_names(void)
{
	tun4 = pkt_ip("100.64.0.9");
	tun6 = pkt_ip("fd00:2021:1111::9");
	proxy4 = pkt_ip("100.96.0.1");
	other4 = pkt_ip("100.96.0.2");
	proxy6 = pkt_ip("fd00:2021:1111:8000::");
	other6 = pkt_ip("fd00:2021:1111:8000::1");
	real4 = pkt_ip("10.1.0.5");
	real6 = pkt_ip("2001:db8::5");
	router4 = pkt_ip("10.7.7.7");
	router6 = pkt_ip("2001:db8:7::7");
	T(tunnel_in_proxy_range(&other4) && tunnel_in_proxy_range(&other6));
}

static void setup(void)
{
	nw_open(&w, &(struct nat_sizes){.clients = 2, .mappings = 8, .sessions = 16, .tombs = 16});
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy4, &real4, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, ALICE, &proxy6, &real6, 7, 70, w.now), 0);
	T_EQ(nat_translate_set(&w.n, ALICE, &other4, &real4, 7, 71, w.now), 0);
	T_EQ(nat_translate_set(&w.n, ALICE, &other6, &real6, 7, 71, w.now), 0);
}

static void apply(struct pkt *p, enum ps_nat_dir dir)
{
	struct ps_nat to = {.port = ps_be16(hit.nat.port), .on = 1};

	memcpy(to.addr, hit.nat.addr.b, 16);
	ps_nat_rewrite(p->b, p->b + p->m.l4_off, (uint32_t)(p->len - p->m.l4_off), p->m.family,
		       p->m.proto, dir, &to);
	T_EQ(ip_packet_parse(p->b, p->len, &p->m), 0);
	T_EQ(ip_csum_l4(p->b, &p->m), 0);
}

/* An error of that type and code with mtu in its second word, quoting q[len] of *q. */
static struct pkt error_of(const struct ipaddr *from, const struct ipaddr *to, uint8_t type,
			   uint8_t code, uint16_t mtu, const struct pkt *q, size_t len)
{
	struct pkt p;
	uint8_t *h = pkt_ip_header(&p, from, to,
				   from->family == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6, 8 + len);

	h[0] = type;
	h[1] = code;
	be16_put(h + 6, mtu);
	memcpy(h + 8, q->b, len);
	T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0);
	be16_put(h + 2, ip_csum_l4(p.b, &p.m));
	return p;
}

static enum nat_icmp translate(bool inwards, const struct pkt *e)
{
	enum nat_icmp v;

	memset(got, 0xee, sizeof(got));
	hit = (struct nat_hit){0};
	v = inwards ? nat_icmp_in(&w.n, ALICE, e->b, &e->m, got, sizeof(got), &got_len, &hit)
		    : nat_icmp_out(&w.n, ALICE, e->b, &e->m, got, sizeof(got), &got_len, &hit);
	T_EQ(got_len != 0, v == NAT_ICMP_OK);
	if (v == NAT_ICMP_OK) {
		T_EQ(ip_packet_parse(got, got_len, &got_meta), 0);
		T_EQ(got_meta.total_len, got_len);
		T_EQ(got_meta.l4, IP_L4_ICMP_ERROR);
		T_EQ(ip_csum_l4(got, &got_meta), 0);
		T(got_meta.family == 6 || !ip_csum(got, 20));
		T_EQ(got_meta.family == 4 ? got[8] : got[7], 20);
	}
	return v;
}

/* Right but for what is quoted differently: the outer addresses, the quotation. */
static void expect(const struct pkt *e, const struct ipaddr *src, const struct ipaddr *dst,
		   const struct pkt *original, size_t quoted)
{
	T(ipaddr_eq(&got_meta.src, src));
	T(ipaddr_eq(&got_meta.dst, dst));
	T_EQ(got_len - got_meta.l4_off, 8 + quoted);
	T_MEM(got + got_meta.l4_off, e->b + e->m.l4_off, 2);
	T_MEM(got + got_meta.l4_off + 4, e->b + e->m.l4_off + 4, 4);
	T_MEM(got + got_meta.l4_off + 8, original->b, quoted);
}

/* A packet of the client, and an error about it from somewhere behind us. The port has changed. */
static void inwards(uint8_t proto, bool v6, size_t payload, size_t quoted)
{
	static const uint8_t types[2][3] = {{3, 11, 3}, {1, 2, 3}};
	const struct ipaddr *tun = v6 ? &tun6 : &tun4, *router = v6 ? &router6 : &router4;
	bool icmp = proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6;
	struct pkt first = pkt_make(tun, v6 ? &other6 : &other4, proto, icmp ? 0 : 1000,
				    icmp ? 1000 : 443, payload);
	struct pkt sent = pkt_make(tun, v6 ? &proxy6 : &proxy4, proto, icmp ? 0 : 1000,
				   icmp ? 1000 : 443, payload);
	struct pkt translated = sent, e;
	size_t hlen = sent.m.l4_off;

	setup();
	if (!quoted || quoted > sent.len - hlen)
		quoted = sent.len - hlen;
	T_EQ(nat_out(&w.n, ALICE, &first.m, &hit, w.now), NAT_OUT_OK);
	T_EQ(nat_out(&w.n, ALICE, &sent.m, &hit, w.now), NAT_OUT_OK);
	T_EQ(hit.nat.port, 1001);
	apply(&translated, PS_NAT_TO);
	w.now += NW_SEC(30);
	for (int i = 0; i < 3; i++) {
		e = error_of(router, tun, types[v6][i], (uint8_t)(i == 2 && !v6 ? 4 : 0),
			     (uint16_t)(1200 + i), &translated, hlen + quoted);
		T_EQ(translate(true, &e), NAT_ICMP_OK);
		expect(&e, v6 ? &proxy6 : &proxy4, tun, &sent, hlen + quoted);
		T_EQ(be16_get(got + got_meta.l4_off + 6), 1200 + i);
		T_EQ(hit.resource, 7);
		T_EQ(hit.domain, 70);
	}
	/* Errors keep nothing alive. */
	T_EQ(nat_session_deadline(&w.mem.sessions[hit.session]), w.now + NW_SEC(30));
	T_EQ(w.n.counters.icmp_translated, 3);
	nw_close(&w);
}

/* A packet from the resource, and the client's error about it. */
static void outwards(uint8_t proto, bool v6, size_t payload)
{
	const struct ipaddr *tun = v6 ? &tun6 : &tun4, *real = v6 ? &real6 : &real4;
	const struct ipaddr *proxy = v6 ? &proxy6 : &proxy4;
	bool icmp = proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6;
	uint16_t reply = v6 ? 129 : 1; /* in v4 the type of a reply is 0: set below */
	struct pkt first = pkt_make(tun, v6 ? &other6 : &other4, proto, icmp ? 0 : 1000,
				    icmp ? 1000 : 443, 0);
	struct pkt open = pkt_make(tun, proxy, proto, icmp ? 0 : 1000, icmp ? 1000 : 443, 0);
	struct pkt sent = pkt_make(real, tun, proto, icmp ? reply : 443, 1001, payload), received,
		   e;

	setup();
	if (icmp && !v6) {
		sent.b[20] = 0;
		T_EQ(ip_packet_parse(sent.b, sent.len, &sent.m), 0);
		be16_put(sent.b + 22, 0);
		be16_put(sent.b + 22, ip_csum_l4(sent.b, &sent.m));
	}
	T_EQ(nat_out(&w.n, ALICE, &first.m, &hit, w.now), NAT_OUT_OK);
	T_EQ(nat_out(&w.n, ALICE, &open.m, &hit, w.now), NAT_OUT_OK);
	received = sent;
	T_EQ(nat_in(&w.n, ALICE, &sent.m, &hit, w.now), NAT_IN_OK);
	apply(&received, PS_NAT_FROM);
	T(ipaddr_eq(&received.m.src, proxy));
	T_EQ(icmp ? received.m.icmp_id : received.m.dport, 1000);
	e = error_of(tun, proxy, v6 ? 1 : 3, v6 ? 4 : 3, 0, &received, received.len);
	T_EQ(translate(false, &e), NAT_ICMP_OK);
	expect(&e, tun, real, &sent, sent.len);
	/* To somebody else, or about a packet of somebody else. */
	e = error_of(tun, v6 ? &other6 : &other4, v6 ? 1 : 3, 3, 0, &received, received.len);
	T_EQ(translate(false, &e), NAT_ICMP_REFUSED);
	e = error_of(v6 ? &router6 : &router4, proxy, v6 ? 1 : 3, 3, 0, &received, received.len);
	T_EQ(translate(false, &e), NAT_ICMP_REFUSED);
	e = error_of(tun, proxy, v6 ? 1 : 3, 3, 0, &sent, sent.len);
	T_EQ(translate(false, &e), NAT_ICMP_NONE);
	nw_close(&w);
}

static void test_inwards(void)
{
	for (int i = 0; i < 3; i++) {
		static const size_t payload[] = {0, 13, 700};

		inwards(IP_PROTO_TCP, false, payload[i], 0);
		inwards(IP_PROTO_TCP, true, payload[i], 0);
		inwards(IP_PROTO_UDP, false, payload[i], 0);
		inwards(IP_PROTO_UDP, true, payload[i], 0);
		inwards(IP_PROTO_ICMP, false, payload[i], 0);
		inwards(IP_PROTO_ICMPV6, true, payload[i], 0);
	}
}

/* RFC 792 asks for eight bytes of the transport header: no checksum of TCP among them. */
static void test_short_quotes(void)
{
	for (size_t quoted = 8; quoted <= 20; quoted++) {
		if (quoted != 17) { /* half a checksum is left as it is */
			inwards(IP_PROTO_TCP, false, 40, quoted);
			inwards(IP_PROTO_TCP, true, 40, quoted);
		}
		inwards(IP_PROTO_UDP, false, 40, quoted);
		inwards(IP_PROTO_ICMP, false, 40, quoted);
	}
}

static void test_outwards(void)
{
	outwards(IP_PROTO_TCP, false, 50);
	outwards(IP_PROTO_TCP, true, 50);
	outwards(IP_PROTO_UDP, false, 51);
	outwards(IP_PROTO_UDP, true, 51);
	outwards(IP_PROTO_ICMP, false, 52);
	outwards(IP_PROTO_ICMPV6, true, 53);
}

/* A TCP packet out, translated; the base of what follows. */
static struct pkt sent_tcp(void)
{
	struct pkt p = pkt_make(&tun4, &proxy4, IP_PROTO_TCP, 1000, 443, 20);

	T_EQ(nat_out(&w.n, ALICE, &p.m, &hit, w.now), NAT_OUT_OK);
	apply(&p, PS_NAT_TO);
	return p;
}

static void test_refused(void)
{
	struct pkt sent, e, alien;
	size_t len;

	setup();
	sent = sent_tcp();
	for (uint8_t type = 4; type <= 12; type++) {
		if (type != 4 && type != 5 && type != 12)
			continue;
		e = error_of(&router4, &tun4, type, 0, 0, &sent, 28);
		T_EQ(translate(true, &e), NAT_ICMP_REFUSED);
	}
	e = error_of(&router4, &tun4, 3, 1, 0, &sent, 28);
	e.b[e.m.l4_off + 6] ^= 1; /* the checksum says that it is damaged */
	T_EQ(translate(true, &e), NAT_ICMP_REFUSED);
	alien = sent;
	alien.b[15] ^= 1; /* quotes another sender's packet */
	e = error_of(&router4, &tun4, 3, 1, 0, &alien, 28);
	T_EQ(translate(true, &e), NAT_ICMP_REFUSED);
	T_EQ(w.n.counters.icmp_refused, 5);
	e = error_of(&router4, &tun4, 3, 1, 0, &sent, 28);
	T_EQ(nat_icmp_in(&w.n, ALICE, e.b, &e.m, got, e.len - 1, &len, &hit), NAT_ICMP_REFUSED);
	T_EQ(len, 0);
	T_EQ(nat_icmp_in(&w.n, ALICE, e.b, &e.m, got, e.len, &len, &hit), NAT_ICMP_OK);
	T_EQ(len, e.len);
	nw_close(&w);
}

static void test_none_and_expired(void)
{
	struct pkt sent, alien, e, frag;

	setup();
	sent = sent_tcp();
	alien = pkt_make(&tun4, &real4, IP_PROTO_TCP, 2000, 443, 20);
	e = error_of(&router4, &tun4, 3, 1, 0, &alien, 28);
	T_EQ(translate(true, &e), NAT_ICMP_NONE);
	e = error_of(&router4, &tun4, 3, 1, 0, &sent, 27); /* too little is quoted */
	T_EQ(translate(true, &e), NAT_ICMP_NONE);
	T_EQ(translate(false, &e), NAT_ICMP_NONE);
	frag = sent;
	be16_put(frag.b + 6, 0x2001);
	e = error_of(&router4, &tun4, 11, 1, 0, &frag, 28);
	T_EQ(translate(true, &e), NAT_ICMP_NONE);
	e = error_of(&router4, &tun4, 3, 1, 0, &sent, 28);
	T_EQ(translate(true, &e), NAT_ICMP_OK);
	T_EQ(nat_icmp_in(&w.n, 0, e.b, &e.m, got, sizeof(got), &got_len, &hit), NAT_ICMP_NONE);
	w.now += NAT_UNCONFIRMED_NS;
	T(nat_timeout(&w.n, w.now));
	T_EQ(translate(true, &e), NAT_ICMP_EXPIRED);
	nw_close(&w);
}

/* Any byte of an error may be anything: nothing but an answer comes of it. */
static void test_damage(void)
{
	uint64_t seed = t_seed();
	uint32_t fates[4] = {0};
	struct pkt sent, e, d;

	setup();
	sent = sent_tcp();
	e = error_of(&router4, &tun4, 3, 4, 1200, &sent, sent.len);
	for (int i = 0; i < 20000; i++) {
		d = e;
		for (uint64_t k = 1 + t_rand(&seed) % 3; k; k--)
			d.b[t_rand(&seed) % d.len] = (uint8_t)t_rand(&seed);
		if (ip_packet_parse(d.b, d.len, &d.m) || d.m.l4 != IP_L4_ICMP_ERROR)
			continue;
		if (t_rand(&seed) % 2) {
			be16_put(d.b + d.m.l4_off + 2, 0);
			be16_put(d.b + d.m.l4_off + 2, ip_csum_l4(d.b, &d.m));
		}
		fates[translate(t_rand(&seed) % 2, &d)]++;
	}
	T(fates[NAT_ICMP_OK] && fates[NAT_ICMP_REFUSED] && fates[NAT_ICMP_NONE]);
	nw_close(&w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_names); /* first: the addresses of all that follow */
	T_RUN(test_inwards);
	T_RUN(test_short_quotes);
	T_RUN(test_outwards);
	T_RUN(test_refused);
	T_RUN(test_none_and_expired);
	T_RUN(test_damage);
	return t_done();
}
