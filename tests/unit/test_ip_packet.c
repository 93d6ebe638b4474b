/* SPDX-License-Identifier: Apache-2.0
 *
 * Inner packet parsing: what is read, what is refused, ECN, checksums. */
#include <errno.h>
#include "tests/pkt.h"
#include "tests/t.h"

static int parse(const struct pkt *p, struct ip_meta *m)
{
	return ip_packet_parse(p->b, p->len, m);
}

static void test_fields(void)
{
	struct pkt p = pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_TCP, 1234, 80);
	struct ip_meta m;

	be32_put(p.b + 24, 0xdeadbeef);
	p.b[33] = IP_TCP_SYN;
	p.b[1] = IP_ECN_ECT0;
	T_EQ(parse(&p, &m), 0);
	T_EQ(m.family, 4);
	T_EQ(m.total_len, 44);
	T_EQ(m.l4_off, 20);
	T_EQ(m.l4, IP_L4_TCP);
	T_EQ(m.sport, 1234);
	T_EQ(m.dport, 80);
	T_EQ(m.tcp_seq, 0xdeadbeef);
	T_EQ(m.tcp_flags, IP_TCP_SYN);
	T_EQ(m.ecn, IP_ECN_ECT0);
	T(!m.is_fragment && !m.has_ext && !m.source_routed);
	p = pkt_text("fd00::1", "fd00::2", IP_PROTO_ICMPV6, 129, 77);
	p.b[1] = IP_ECN_CE << 4;
	T_EQ(parse(&p, &m), 0);
	T_EQ(m.family, 6);
	T_EQ(m.l4, IP_L4_ICMP_ECHO);
	T_EQ(m.icmp_type, 129);
	T_EQ(m.icmp_id, 77);
	T_EQ(m.sport + m.dport, 0);
	T_EQ(m.ecn, IP_ECN_CE);
	p = pkt_text("10.0.0.1", "10.0.0.2", 47, 0, 0);
	T_EQ(parse(&p, &m), 0);
	T_EQ(m.l4, IP_L4_OTHER);
}

static void test_icmp_kinds(void)
{
	static const struct {
		uint8_t family, type, want;
	} rows[] = {
		{4, 0, IP_L4_ICMP_ECHO},    {4, 8, IP_L4_ICMP_ECHO},	{4, 3, IP_L4_ICMP_ERROR},
		{4, 11, IP_L4_ICMP_ERROR},  {4, 12, IP_L4_ICMP_ERROR},	{4, 5, IP_L4_ICMP_ERROR},
		{4, 13, IP_L4_ICMP_OTHER},  {4, 128, IP_L4_ICMP_OTHER}, {6, 128, IP_L4_ICMP_ECHO},
		{6, 129, IP_L4_ICMP_ECHO},  {6, 1, IP_L4_ICMP_ERROR},	{6, 2, IP_L4_ICMP_ERROR},
		{6, 127, IP_L4_ICMP_ERROR}, {6, 8, IP_L4_ICMP_ERROR},	{6, 135, IP_L4_ICMP_OTHER},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		bool v4 = rows[i].family == 4;
		struct pkt p = v4 ? pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_ICMP, 0, 9)
				  : pkt_text("fd00::1", "fd00::2", IP_PROTO_ICMPV6, 0, 9);
		struct ip_meta m;

		p.b[v4 ? 20 : 40] = rows[i].type;
		T_EQ(parse(&p, &m), 0);
		if (!T_EQ(m.l4, rows[i].want))
			t_note("family %u type %u", rows[i].family, rows[i].type);
		T_EQ(m.icmp_id, m.l4 == IP_L4_ICMP_ECHO ? 9 : 0);
	}
}

/* Cut at every length: nothing but the whole packet parses; longer ones are trimmed. */
static void test_every_length(void)
{
	static const char *const ends[][2] = {{"10.0.0.1", "10.0.0.2"}, {"fd00::1", "fd00::2"}};
	static const uint8_t protos[] = {IP_PROTO_TCP, IP_PROTO_UDP};
	struct ip_meta m, before;

	memset(&before, 0x5a, sizeof(before));
	for (int f = 0; f < 2; f++)
		for (int i = 0; i < 2; i++) {
			struct pkt p = pkt_text(ends[f][0], ends[f][1], protos[i], 1, 2);

			for (size_t len = 0; len < p.len; len++) {
				m = before;
				T_EQ(ip_packet_parse(p.b, len, &m), -EBADMSG);
				T_MEM(&m, &before, sizeof(m));
			}
			T_EQ(ip_packet_parse(p.b, p.len + 12, &m), 0);
			T_EQ(m.total_len, p.len);
		}
}

static void test_malformed(void)
{
	static const struct {
		uint8_t family, at, value;
	} rows[] = {
		{4, 0, 0x55}, {4, 0, 0x05}, {4, 0, 0x44}, {4, 0, 0x4f}, /* version, header length */
		{4, 3, 19},   {4, 3, 27},   {4, 2, 0xff},		/* total length */
		{4, 25, 7},   {4, 25, 200},				/* UDP length */
		{6, 0, 0x70}, {6, 5, 200},  {6, 5, 7},
	};
	struct ip_meta m;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct pkt p = rows[i].family == 4
				       ? pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_UDP, 1, 2)
				       : pkt_text("fd00::1", "fd00::2", IP_PROTO_UDP, 1, 2);

		p.b[rows[i].at] = rows[i].value;
		if (!T_EQ(parse(&p, &m), -EBADMSG))
			t_note("byte %u = %u", rows[i].at, rows[i].value);
	}
	{
		struct pkt p = pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_TCP, 1, 2);

		p.b[32] = 0x40; /* TCP data offset below 5 */
		T_EQ(parse(&p, &m), -EBADMSG);
		p.b[32] = 0x70; /* beyond the packet */
		T_EQ(parse(&p, &m), -EBADMSG);
	}
}

static void test_fragments(void)
{
	struct pkt p = pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_UDP, 1, 2);
	struct ip_meta m;

	be16_put(p.b + 6, 0x4000); /* don't fragment: whole */
	T_EQ(parse(&p, &m), 0);
	T(!m.is_fragment && m.dport == 2);
	be16_put(p.b + 6, 0x2000);
	T_EQ(parse(&p, &m), 0);
	T(m.is_fragment && !m.is_later_fragment && m.l4 == IP_L4_OTHER && !m.dport);
	be16_put(p.b + 6, 0x0003);
	T_EQ(parse(&p, &m), 0);
	T(m.is_fragment && m.is_later_fragment && m.l4 == IP_L4_OTHER);
}

/* An IPv6 UDP packet behind the extension headers ext[len], the first of which is `first`. */
static int parse_ext(uint8_t first, const uint8_t *ext, size_t len, struct ip_meta *m)
{
	struct ipaddr s = pkt_ip("fd00::1"), d = pkt_ip("fd00::2");
	struct pkt p;
	uint8_t *h = pkt_ip_header(&p, &s, &d, first, len + 8);

	memcpy(h, ext, len);
	be16_put(h + len, 5);
	be16_put(h + len + 2, 53);
	be16_put(h + len + 4, 8);
	return parse(&p, m);
}

static void test_extension_headers(void)
{
	static const uint8_t options[] = {17, 0, 1, 4, 0, 0, 0, 0};
	static const uint8_t chain[] = {60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
	static const uint8_t hop_late[] = {0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
	static const uint8_t routing[] = {17, 0, 0, 1, 0, 0, 0, 0},
			     routing_done[] = {17, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t atomic[] = {17, 0, 0, 0, 0, 0, 0, 1},
			     first[] = {17, 0, 0, 1, 0, 0, 0, 1};
	static const uint8_t later[] = {17, 0, 0, 8, 0, 0, 0, 1},
			     too_long[] = {17, 9, 1, 4, 0, 0, 0, 0};
	static const uint8_t auth[] = {17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1};
	uint8_t endless[9 * 8];
	struct ip_meta m;

	T_EQ(parse_ext(0, options, sizeof(options), &m), 0);
	T(m.has_ext && m.l4 == IP_L4_UDP && m.dport == 53 && m.l4_off == 48);
	T_EQ(parse_ext(0, chain, sizeof(chain), &m), 0);
	T(m.l4 == IP_L4_UDP && m.l4_off == 56);
	T_EQ(parse_ext(60, hop_late, sizeof(hop_late), &m), -EBADMSG);
	T_EQ(parse_ext(43, routing, sizeof(routing), &m), 0);
	T(m.source_routed);
	T_EQ(parse_ext(43, routing_done, sizeof(routing_done), &m), 0);
	T(!m.source_routed);
	T_EQ(parse_ext(44, atomic, sizeof(atomic), &m), 0);
	T(!m.is_fragment && m.dport == 53);
	T_EQ(parse_ext(44, first, sizeof(first), &m), 0);
	T(m.is_fragment && !m.is_later_fragment && m.l4 == IP_L4_OTHER);
	T_EQ(parse_ext(44, later, sizeof(later), &m), 0);
	T(m.is_later_fragment && m.l4 == IP_L4_OTHER);
	T_EQ(parse_ext(51, auth, sizeof(auth), &m), 0);
	T(m.l4 == IP_L4_UDP && m.l4_off == 52);
	T_EQ(parse_ext(60, too_long, sizeof(too_long), &m), -EBADMSG);
	for (size_t i = 0; i < sizeof(endless); i += 8)
		memcpy(endless + i, (uint8_t[]){60, 0, 1, 4, 0, 0, 0, 0}, 8);
	T_EQ(parse_ext(60, endless, sizeof(endless), &m), -EBADMSG);
	endless[7 * 8] = 17; /* eight are accepted; what follows is read as UDP */
	T_EQ(parse_ext(60, endless, 8 * 8, &m), 0);
}

static int parse_options(const uint8_t *opt, size_t len, struct ip_meta *m)
{
	struct pkt p;
	struct ipaddr s = pkt_ip("10.0.0.1"), d = pkt_ip("10.0.0.2");
	uint8_t *h = pkt_ip_header(&p, &s, &d, IP_PROTO_UDP, len + 8);

	p.b[0] = (uint8_t)(0x45 + len / 4);
	memcpy(h, opt, len);
	be16_put(h + len + 2, 53);
	be16_put(h + len + 4, 8);
	return parse(&p, m);
}

static void test_ipv4_options(void)
{
	struct ip_meta m;

	T_EQ(parse_options((uint8_t[]){1, 1, 1, 0}, 4, &m), 0);
	T(m.has_ext && m.dport == 53 && !m.source_routed);
	T_EQ(parse_options((uint8_t[]){131, 3, 4, 0}, 4, &m), 0);
	T(m.source_routed);
	T_EQ(parse_options((uint8_t[]){1, 137, 3, 4}, 4, &m), 0);
	T(m.source_routed);
	T_EQ(parse_options((uint8_t[]){7, 1, 0, 0}, 4, &m), -EBADMSG);
	T_EQ(parse_options((uint8_t[]){7, 5, 0, 0}, 4, &m), -EBADMSG);
	T_EQ(parse_options((uint8_t[]){1, 1, 1, 7}, 4, &m), -EBADMSG);
}

static void test_ecn(void)
{
	enum { DROP = 4 };
	/* RFC 6040, figure 4 */
	static const uint8_t want[4][4] = {
		/* inner:  not  ect1 ect0 ce, by outer */
		{0, 1, 2, 3},
		{0, 1, 1, 3},
		{0, 1, 2, 3},
		{DROP, 3, 3, 3},
	};
	static const char *const ends[][2] = {{"10.0.0.1", "10.0.0.2"}, {"fd00::1", "fd00::2"}};

	for (int f = 0; f < 2; f++)
		for (uint8_t outer = 0; outer < 4; outer++)
			for (uint8_t inner = 0; inner < 4; inner++) {
				struct pkt p = pkt_text(ends[f][0], ends[f][1], IP_PROTO_UDP, 1, 2);
				struct ip_meta m;

				p.b[1] |= (uint8_t)(f ? inner << 4 : inner);
				be16_put(p.b + 10, f ? be16_get(p.b + 10) : 0);
				if (!f)
					be16_put(p.b + 10, ip_csum(p.b, 20));
				T_EQ(parse(&p, &p.m), 0);
				T_EQ(ip_packet_merge_ecn(p.b, &p.m, outer),
				     want[outer][inner] != DROP);
				T_EQ(parse(&p, &m), 0);
				T_EQ(m.ecn,
				     want[outer][inner] == DROP ? inner : want[outer][inner]);
				if (!f)
					T_EQ(ip_csum(p.b, 20), 0);
			}
}

static void test_checksums(void)
{
	uint8_t rfc1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	static const struct {
		const char *src, *dst;
		uint8_t proto;
	} rows[] = {
		{"10.0.0.1", "10.0.0.2", IP_PROTO_TCP},	 {"10.0.0.1", "10.0.0.2", IP_PROTO_UDP},
		{"10.0.0.1", "10.0.0.2", IP_PROTO_ICMP}, {"fd00::1", "fd00::2", IP_PROTO_TCP},
		{"fd00::1", "fd00::2", IP_PROTO_UDP},	 {"fd00::1", "fd00::2", IP_PROTO_ICMPV6},
	};

	T_EQ(ip_csum(rfc1071, 8), (uint16_t)~0xddf2);
	T_EQ(ip_csum(rfc1071, 7), (uint16_t)~(0xddf2 - 0xf7));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct pkt p = pkt_text(rows[i].src, rows[i].dst, rows[i].proto, 7, 8);

		T_EQ(ip_csum_l4(p.b, &p.m), 0);
		p.b[p.len - 1] ^= 1;
		T(ip_csum_l4(p.b, &p.m) != 0);
	}
}

static void test_quoted(void)
{
	struct pkt p = pkt_text("10.0.0.1", "10.9.9.9", IP_PROTO_TCP, 1234, 80), err;
	struct ipaddr router = pkt_ip("192.0.2.1");
	struct ip_meta q;

	err = pkt_error(&router, &p); /* IPv4 quotes 8 transport bytes only */
	T_EQ(ip_packet_parse_quoted(err.b, &err.m, &q), 0);
	T_EQ(q.sport, 1234);
	T_EQ(q.dport, 80);
	T(ipaddr_eq(&q.dst, &p.m.dst));
	err.m.total_len--; /* 7 are not enough */
	T_EQ(ip_packet_parse_quoted(err.b, &err.m, &q), -EBADMSG);
	T_EQ(ip_packet_parse_quoted(p.b, &p.m, &q), -EBADMSG);
	p = pkt_text("fd00::1", "fd00::9", IP_PROTO_UDP, 5, 6);
	router = pkt_ip("fd00::f");
	err = pkt_error(&router, &p);
	T_EQ(ip_packet_parse_quoted(err.b, &err.m, &q), 0);
	T_EQ(q.dport, 6);
	err.b[48] = 0x45; /* the other family inside */
	T_EQ(ip_packet_parse_quoted(err.b, &err.m, &q), -EBADMSG);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_fields);
	T_RUN(test_icmp_kinds);
	T_RUN(test_every_length);
	T_RUN(test_malformed);
	T_RUN(test_fragments);
	T_RUN(test_extension_headers);
	T_RUN(test_ipv4_options);
	T_RUN(test_ecn);
	T_RUN(test_checksums);
	T_RUN(test_quoted);
	return t_done();
}
