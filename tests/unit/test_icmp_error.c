/* SPDX-License-Identifier: Apache-2.0
 *
 * Generated ICMP errors: content, sizes, and what is never answered. */
#include "codec/icmp_error.h"
#include "tests/pkt.h"
#include "tests/t.h"

static uint8_t out[ICMP_ERROR_LEN_MAX];

static void test_ipv4(void)
{
	struct pkt p = pkt_text("100.64.1.1", "10.0.0.9", IP_PROTO_TCP, 1234, 80);
	struct ip_meta m, q;

	T_EQ(icmp_error_build(ICMP_ERROR_PROHIBITED, p.b, &p.m, out, sizeof(out)), 56);
	T_EQ(ip_packet_parse(out, 56, &m), 0);
	T(ipaddr_eq(&m.src, &p.m.dst) && ipaddr_eq(&m.dst, &p.m.src));
	T_EQ(m.icmp_type, 3);
	T_EQ(m.icmp_code, 13);
	T_EQ(out[8], 20);
	T_EQ(ip_csum(out, 20), 0);
	T_EQ(ip_csum_l4(out, &m), 0);
	T_MEM(out + 28, p.b, 28);
	T_EQ(ip_packet_parse_quoted(out, &m, &q), 0);
	T_EQ(q.dport, 80);
	T_EQ(icmp_error_build(ICMP_ERROR_UNREACHABLE, p.b, &p.m, out, sizeof(out)), 56);
	T_EQ(out[21], 0);
	T_EQ(icmp_error_build(ICMP_ERROR_UNREACHABLE, p.b, &p.m, out, 55), 0);
	T_EQ(icmp_error_build(ICMP_ERROR_NONE, p.b, &p.m, out, sizeof(out)), 0);
}

static void test_ipv6(void)
{
	struct ipaddr s = pkt_ip("fd00:2021:1111::1:1"), d = pkt_ip("2001:db8::9");
	struct pkt p = pkt_make(&s, &d, IP_PROTO_UDP, 1, 2, 1232);
	struct ip_meta m;

	T_EQ(p.len, 1280);
	T_EQ(icmp_error_build(ICMP_ERROR_PROHIBITED, p.b, &p.m, out, sizeof(out)), 1280);
	T_EQ(ip_packet_parse(out, 1280, &m), 0);
	T_EQ(m.icmp_type, 1);
	T_EQ(m.icmp_code, 1);
	T_EQ(out[7], 20);
	T_EQ(ip_csum_l4(out, &m), 0);
	T_MEM(out + 48, p.b, 1232);
	T(ipaddr_eq(&m.src, &d) && ipaddr_eq(&m.dst, &s));
	p = pkt_make(&s, &d, IP_PROTO_UDP, 1, 2, 4);
	T_EQ(icmp_error_build(ICMP_ERROR_UNREACHABLE, p.b, &p.m, out, sizeof(out)), 48 + p.len);
	T_EQ(out[41], 3);
}

static void test_too_big(void)
{
	struct pkt p = pkt_text("100.64.1.1", "10.0.0.9", IP_PROTO_TCP, 1234, 80);
	struct ipaddr s = pkt_ip("fd00:2021:1111::1:1"), d = pkt_ip("2001:db8::9");
	struct ip_meta m, q;

	T_EQ(icmp_too_big_build(1340, p.b, &p.m, out, sizeof(out)), 56);
	T_EQ(ip_packet_parse(out, 56, &m), 0);
	T_EQ(m.l4, IP_L4_ICMP_ERROR);
	T_EQ(m.icmp_type, 3);
	T_EQ(m.icmp_code, 4);
	T_EQ(be16_get(out + 24), 0);
	T_EQ(be16_get(out + 26), 1340);
	T_EQ(ip_csum_l4(out, &m), 0);
	T_EQ(ip_packet_parse_quoted(out, &m, &q), 0);
	T_EQ(q.dport, 80);
	T(ipaddr_eq(&m.src, &p.m.dst) && ipaddr_eq(&m.dst, &p.m.src));
	T_EQ(icmp_too_big_build(1340, out, &m, out, sizeof(out)), 0);

	p = pkt_make(&s, &d, IP_PROTO_UDP, 1, 2, 1400);
	T_EQ(icmp_too_big_build(1340, p.b, &p.m, out, sizeof(out)), 1280);
	T_EQ(ip_packet_parse(out, 1280, &m), 0);
	T_EQ(m.icmp_type, 2);
	T_EQ(m.icmp_code, 0);
	T_EQ(be32_get(out + 44), 1340);
	T_EQ(ip_csum_l4(out, &m), 0);
	T_EQ(icmp_too_big_build(1340, p.b, &p.m, out, 1279), 0);
}

static void test_never_answered(void)
{
	static const char *const ends[][2] = {
		{"10.0.0.1", "224.0.0.1"}, {"10.0.0.1", "255.255.255.255"},
		{"224.0.0.1", "10.0.0.1"}, {"0.0.0.0", "10.0.0.1"},
		{"10.0.0.1", "0.0.0.0"},   {"127.0.0.1", "10.0.0.1"},
		{"10.0.0.1", "127.0.0.1"}, {"fd00::1", "ff02::1"},
		{"::", "fd00::1"},	   {"fd00::1", "::"},
		{"::1", "fd00::1"},	   {"::", "::"},
	};
	struct ipaddr router = pkt_ip("192.0.2.1");
	struct pkt p, err;

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		p = pkt_text(ends[i][0], ends[i][1], IP_PROTO_UDP, 1, 2);
		if (!T_EQ(icmp_error_build(ICMP_ERROR_PROHIBITED, p.b, &p.m, out, sizeof(out)), 0))
			t_note("%s -> %s", ends[i][0], ends[i][1]);
		T_EQ(icmp_too_big_build(1280, p.b, &p.m, out, sizeof(out)), 0);
	}
	p = pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_UDP, 1, 2);
	err = pkt_error(&router, &p);
	T_EQ(icmp_error_build(ICMP_ERROR_PROHIBITED, err.b, &err.m, out, sizeof(out)), 0);
	be16_put(p.b + 6, 0x2000); /* first fragment: may be answered */
	T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0);
	T_EQ(icmp_error_build(ICMP_ERROR_PROHIBITED, p.b, &p.m, out, sizeof(out)), 56);
	be16_put(p.b + 6, 0x0001);
	T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0);
	T_EQ(icmp_error_build(ICMP_ERROR_PROHIBITED, p.b, &p.m, out, sizeof(out)), 0);
	p = pkt_text("10.0.0.1", "10.0.0.2", IP_PROTO_ICMP, 0, 2); /* an echo request is no error */
	T(icmp_error_build(ICMP_ERROR_PROHIBITED, p.b, &p.m, out, sizeof(out)) > 0);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_ipv4);
	T_RUN(test_ipv6);
	T_RUN(test_too_big);
	T_RUN(test_never_answered);
	return t_done();
}
