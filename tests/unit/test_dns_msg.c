/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS messages: names and their limits, hostile compression, what is refused and why, exact bytes
 * of what is written. */
#include "codec/dns_msg.h"

#include <errno.h>
#include "base/bytes.h"
#include "tests/t.h"

static uint8_t buf[DNS_MSG_CAP + 1];

static struct dns_name name(const char *text)
{
	struct dns_name n = {0};

	T_EQ(dns_name_parse(text, &n), 0);
	return n;
}

static enum dns_verdict judge_hex(const char *hex, struct dns_msg *m)
{
	return dns_msg_open(buf, t_unhex(hex, buf, sizeof(buf)), m);
}

static struct ipaddr ip(const char *text)
{
	struct ipaddr a = {0};

	T_EQ(ipaddr_parse(text, &a), 0);
	return a;
}

/* ---- names ---- */
static void test_name_text(void)
{
	char text[DNS_TEXT_CAP];
	struct dns_name n = name("Www.Example.com");

	T_EQ(n.len, 17);
	T_MEM(n.b, "\3Www\7Example\3com", 17);
	T_EQ(dns_name_text(&n, text), 0);
	T_STR(text, "Www.Example.com");
	n = name("example.com.");
	T_EQ(dns_name_text(&n, text), 0);
	T_STR(text, "example.com");
	n = name(".");
	T_EQ(n.len, 1);
	T_EQ(dns_name_text(&n, text), 0);
	T_STR(text, "");
}

static void test_name_text_refuses_what_it_cannot_carry(void)
{
	static const char *const wire[] = {"\3a.b\1c", "\2a\0", "\2a\x7f",
					   "\2a ",     "\2\\a", "\2\xc3\xbc"};
	char text[DNS_TEXT_CAP];

	for (size_t i = 0; i < sizeof(wire) / sizeof(*wire); i++) {
		struct dns_name n = {.len = (uint8_t)(wire[i][0] + 2)};

		memcpy(n.b, wire[i], (size_t)wire[i][0] + 1);
		if (i == 0) {
			n.len = 7;
			memcpy(n.b, wire[0], 7);
		}
		T_EQ(dns_name_text(&n, text), -EINVAL);
		T_STR(text, "");
	}
}

static void test_name_parse_limits(void)
{
	static const char *const bad[] = {"", "a..b", ".a", "a b", "a\\b", ".."};
	struct dns_name n;
	char text[300];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		T_EQ(dns_name_parse(bad[i], &n), -EINVAL);
	memset(text, 'a', sizeof(text));
	text[63] = 0;
	T_EQ(dns_name_parse(text, &n), 0);
	text[63] = 'a';
	text[64] = 0;
	T_EQ(dns_name_parse(text, &n), -EINVAL);
	memset(text, 'a', sizeof(text));
	text[63] = text[127] = text[191] = '.';
	text[253] = 0; /* 3 × 64 + 62 + root = 255 bytes */
	T_EQ(dns_name_parse(text, &n), 0);
	T_EQ(n.len, 255);
	text[253] = '.'; /* the trailing dot says nothing new */
	text[254] = 0;
	T_EQ(dns_name_parse(text, &n), 0);
	text[253] = 'a';
	T_EQ(dns_name_parse(text, &n), -EINVAL);
	text[254] = 'a';
	text[299] = 0;
	T_EQ(dns_name_parse(text, &n), -EINVAL);
}

static void test_name_eq(void)
{
	struct dns_name a = name("Example.COM"), b = name("eXAMPLE.com"), c = name("example.co");
	struct dns_name at = {.len = 3, .b = {1, '@'}}, tick = {.len = 3, .b = {1, '`'}};

	T(dns_name_eq(&a, &b));
	T(!dns_name_eq(&a, &c));
	T(!dns_name_eq(&at, &tick)); /* only letters have a case */
	dns_name_lower(&a);
	T_MEM(a.b, "\7example\3com", 13);
}

static void test_reverse_names(void)
{
	static const struct {
		const char *text, *ip;
	} rows[] = {
		{"4.3.2.1.in-addr.arpa", "1.2.3.4"},
		{"4.3.2.255.IN-ADDR.arpa", "255.2.3.4"},
		{"3.2.1.in-addr.arpa", NULL},
		{"5.4.3.2.1.in-addr.arpa", NULL},
		{"256.3.2.1.in-addr.arpa", NULL},
		{"04.3.2.1.in-addr.arpa", NULL},
		{"x.3.2.1.in-addr.arpa", NULL},
		{"1000.3.2.1.in-addr.arpa", NULL},
		{"4.3.2.1.in-addr.arpa.com", NULL},
		{"in-addr.arpa", NULL},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa",
		 "fd00:2021:1111:8000::1"},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.D.F.IP6.ARPA",
		 "fd00:2021:1111:8000::1"},
		{"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa", NULL},
		{"g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa", NULL},
		{"10.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct dns_name n = name(rows[i].text);
		struct ipaddr got, want;
		int rc = dns_name_reverse(&n, &got);

		T_EQ(rc, rows[i].ip ? 0 : -EINVAL);
		if (!rows[i].ip || rc)
			continue;
		want = ip(rows[i].ip);
		T(ipaddr_eq(&got, &want));
	}
}

/* ---- queries ---- */
#define Q_HEAD "1234 0100 0001 0000 0000 0000"
#define Q_NAME "07 4578616d706c65 03 636f6d 00"
#define Q_A    Q_NAME " 0001 0001"

static void test_query_parse(void)
{
	struct dns_query q;
	size_t len = t_unhex("1234 0130 0001 0000 0000 0001" Q_A
			     "00 0029 1000 0000 8000 000c 000a 0008 0102030405060708",
			     buf, sizeof(buf));

	T_EQ(dns_query_parse(buf, len, &q), DNS_OK);
	T_EQ(q.id, 0x1234);
	T(q.rd && q.ad && q.cd && q.edns && q.dnssec_ok);
	T_EQ(q.opcode, 0);
	T_EQ(q.q.type, DNS_TYPE_A);
	T_EQ(q.q.klass, DNS_CLASS_IN);
	T_MEM(q.q.name.b, "\7Example\3com", 13);
	for (size_t cut = 0; cut < len; cut++)
		T(dns_query_parse(buf, cut, &q) != DNS_OK);
	buf[len] = 0;
	T_EQ(dns_query_parse(buf, len + 1, &q), DNS_TRAILING);
}

static void test_query_refused(void)
{
	static const struct {
		const char *hex;
		enum dns_verdict want;
	} rows[] = {
		{"", DNS_SHORT},
		{"1234 0100 0001 0000 0000 00", DNS_SHORT},
		{"1234 8100 0001 0000 0000 0000" Q_A, DNS_BAD_QR},
		{"1234 0100 0000 0000 0000 0000", DNS_BAD_COUNT},
		{"1234 0100 0002 0000 0000 0000" Q_A Q_A, DNS_BAD_COUNT},
		{Q_HEAD Q_NAME "0001 00", DNS_SHORT},
		{Q_HEAD "07 4578", DNS_SHORT},
		{Q_HEAD "40 61 00 0001 0001", DNS_BAD_NAME}, /* label types 01 and 10 */
		{Q_HEAD "81 61 00 0001 0001", DNS_BAD_NAME},
		{Q_HEAD "c00c 0001 0001", DNS_BAD_NAME},       /* itself */
		{Q_HEAD "c00e 0001 0001 00", DNS_BAD_NAME},    /* forward */
		{Q_HEAD "c000 0001 0001", DNS_BAD_NAME},       /* into the header */
		{Q_HEAD "01 61 c00c 0001 0001", DNS_BAD_NAME}, /* loop over a label */
		{Q_HEAD "c0", DNS_SHORT},
		/* two OPT records, and one that is no additional record */
		{"1234 0100 0001 0000 0000 0002" Q_A
		 "00 0029 1000 00000000 0000 00 0029 1000 00000000 0000",
		 DNS_BAD_RECORD},
		{"1234 0100 0001 0001 0000 0000" Q_A "00 0029 1000 00000000 0000", DNS_BAD_RECORD},
		{"1234 0100 0001 0000 0000 0001" Q_A "01 61 00 0029 1000 00000000 0000",
		 DNS_BAD_RECORD},
		{"1234 0100 0001 0000 0000 0001" Q_A "00 0029 1000 00000000 0003 000a00",
		 DNS_BAD_RECORD},
		{"1234 0100 0001 0000 0000 0001" Q_A "00 0029 1000 00000000 0005", DNS_SHORT},
	};
	struct dns_query q;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!T_EQ(dns_query_parse(buf, t_unhex(rows[i].hex, buf, sizeof(buf)), &q),
			  rows[i].want))
			t_note("row %zu", i);
}

/* ---- answers ---- */
#define A_HEAD	      "1234 8180 0001 0001 0000 0000" Q_A
#define RR(type, len) "c00c " type " 0001 0000003c " len " "

static void test_rdata(void)
{
	static const struct {
		const char *hex;
		enum dns_verdict want;
	} rows[] = {
		{A_HEAD RR("0001", "0004") "01020304", DNS_OK},
		{A_HEAD RR("0001", "0003") "010203", DNS_BAD_RECORD},
		{A_HEAD RR("001c", "0010") "fd000000 00000000 00000000 00000001", DNS_OK},
		{A_HEAD RR("001c", "0004") "01020304", DNS_BAD_RECORD},
		{A_HEAD RR("0005", "0002") "c00c", DNS_OK},
		{A_HEAD RR("0005", "0003") "c00c00", DNS_BAD_RECORD},	/* more than a name */
		{A_HEAD RR("0005", "0002") "c029", DNS_BAD_RECORD},	/* itself */
		{A_HEAD RR("0005", "0004") "0161c029", DNS_BAD_RECORD}, /* loop */
		{A_HEAD RR("0005", "0002") "0461", DNS_BAD_RECORD},	/* beyond RDATA */
		{A_HEAD RR("000c", "0004") "0161c00c", DNS_OK},
		{A_HEAD RR("000f", "0004") "000ac00c", DNS_OK},
		{A_HEAD RR("000f", "0002") "000a", DNS_BAD_RECORD},
		{A_HEAD RR("0021", "0008") "000000000050c00c", DNS_OK},
		{A_HEAD RR("0021", "0006") "000000000050", DNS_BAD_RECORD},
		{A_HEAD RR("0006", "0018") "c00cc00c 00000001 00000002 00000003 00000004 00000005",
		 DNS_OK},
		{A_HEAD RR("0006", "0014") "c00cc00c 00000001 00000002 00000003 00000004",
		 DNS_BAD_RECORD},
		{A_HEAD RR("0010", "0003") "026869", DNS_OK},
		{A_HEAD RR("0010", "0003") "036869", DNS_BAD_RECORD},
		{A_HEAD RR("0010", "0000"), DNS_BAD_RECORD},
		{A_HEAD RR("0041", "000b") "0001 00 0004 0004 01020304", DNS_OK},
		{A_HEAD RR("0041", "0003") "0001 00", DNS_OK},
		{A_HEAD RR("0041", "0006") "0001 00 000400", DNS_BAD_RECORD},
		{A_HEAD RR("ff00", "0002") "c0ff", DNS_OK}, /* unknown: opaque */
		{A_HEAD RR("0001", "0004") "010203", DNS_SHORT},
		{A_HEAD "c00c 0001 0001 0000003c 00", DNS_SHORT},
		{A_HEAD "c0ff", DNS_BAD_NAME},
		{A_HEAD RR("0001", "0004") "0102030400", DNS_TRAILING},
		{A_HEAD, DNS_SHORT},
	};
	struct dns_msg m;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!T_EQ(judge_hex(rows[i].hex, &m), rows[i].want))
			t_note("row %zu", i);
}

static void test_records_and_addresses(void)
{
	struct dns_record r;
	struct dns_msg m;
	struct ipaddr a, want = ip("1.2.3.4"), want6 = ip("fd00::1");

	T_EQ(judge_hex("1234 8183 0001 0002 0001 0001" Q_A RR("0001", "0004") "01020304" RR(
			       "0041", "0023") "0001 00 0001 0000 0004 0004 01020304 0006 0010"
					       "fd000000 00000000 00000000 00000001" RR(
						       "0006", "0018") "c00cc00c 00000001 00000002 "
								       "00000003 00000004 00000005"
								       "00 0029 04d0 00000000 0000",
		       &m),
	     DNS_OK);
	T(m.qr && m.rd && !m.tc);
	T_EQ(m.rcode, DNS_NXDOMAIN);
	T(dns_msg_next(&m, &r));
	T_EQ(r.section, DNS_ANSWER);
	T_EQ(r.ttl, 60);
	T_EQ(be32_get(buf + r.ttl_off), 60);
	T_MEM(r.owner.b, "\7Example\3com", 13);
	T(dns_record_address(&r, 0, &a) && ipaddr_eq(&a, &want));
	T(!dns_record_address(&r, 1, &a));
	T(dns_msg_next(&m, &r)); /* HTTPS: an empty alpn, one hint of each family */
	T(dns_record_address(&r, 0, &a) && ipaddr_eq(&a, &want));
	T(dns_record_address(&r, 1, &a) && ipaddr_eq(&a, &want6));
	T(!dns_record_address(&r, 2, &a));
	T_EQ(dns_record_soa_minimum(&r), 0);
	T(dns_msg_next(&m, &r));
	T_EQ(r.section, DNS_AUTHORITY);
	T_EQ(dns_record_soa_minimum(&r), 5);
	T(dns_msg_next(&m, &r));
	T_EQ(r.section, DNS_ADDITIONAL);
	T(!dns_msg_next(&m, &r));
	dns_msg_rewind(&m);
	T(dns_msg_next(&m, &r));
	T_EQ(r.type, DNS_TYPE_A);
}

/* A name made longer at every step back: each pointer is legal, the whole is not. */
static void test_name_too_long_by_pointers(void)
{
	size_t pos, last = 12, at = 13;
	struct dns_name n;

	memset(buf, 0, at);				    /* header, the root */
	for (int i = 0; i < 128; i++, last = at, at += 4) { /* two bytes a label */
		buf[at] = 1;
		buf[at + 1] = 'a';
		be16_put(buf + at + 2, (uint16_t)(0xc000 | last));
		pos = at;
		T_EQ(dns_name_read(buf, at + 4, &pos, &n), i < 127 ? DNS_OK : DNS_BAD_NAME);
		if (i < 127) {
			T_EQ(n.len, 2 * (i + 1) + 1);
			T_EQ(pos, at + 4);
		}
	}
}

/* ---- writing ---- */
static void test_query_encode(void)
{
	uint8_t want[64], out[DNS_QUERY_CAP];
	struct dns_query q;
	size_t len = t_unhex(Q_HEAD Q_A, buf, sizeof(buf)), want_len;

	T_EQ(dns_query_parse(buf, len, &q), DNS_OK);
	T_EQ(dns_query_encode(&q, 0xabcd, out, sizeof(out), &len), 0);
	want_len = t_unhex("abcd 0100 0001 0000 0000 0000" Q_A, want, sizeof(want));
	T_EQ(len, want_len);
	T_MEM(out, want, len);
	q.edns = q.dnssec_ok = true;
	T_EQ(dns_query_encode(&q, 1, out, sizeof(out), &len), 0);
	want_len = t_unhex("0001 0100 0001 0000 0000 0001" Q_A "00 0029 04bc 0000 8000 0000", want,
			   sizeof(want));
	T_EQ(len, want_len);
	T_MEM(out, want, len);
	T_EQ(dns_query_encode(&q, 1, out, len - 1, &len), -EMSGSIZE);
}

static struct dns_query query_for(const char *text, uint16_t type)
{
	return (struct dns_query){.q = {.name = name(text), .type = type, .klass = DNS_CLASS_IN},
				  .id = 0x1234,
				  .rd = true};
}

static void test_reply_bytes(void)
{
	struct dns_query q = query_for("Example.com", DNS_TYPE_A);
	struct ipaddr ips[] = {ip("100.96.0.1"), ip("100.96.0.2")};
	struct dns_reply a = {.ttl = 1, .ips = ips, .ip_count = 2};
	uint8_t want[128];
	size_t len, want_len;

	T_EQ(dns_reply_encode(&q, &a, buf, DNS_UDP_CAP, &len), 0);
	want_len = t_unhex("1234 8100 0001 0002 0000 0000" Q_A
			   "c00c 0001 0001 00000001 0004 64600001"
			   "c00c 0001 0001 00000001 0004 64600002",
			   want, sizeof(want));
	T_EQ(len, want_len);
	T_MEM(buf, want, len);
	q.rd = false;
	q.opcode = 2;
	T_EQ(dns_reply_encode(&q, &(struct dns_reply){.rcode = DNS_NXDOMAIN}, buf, 512, &len), 0);
	want_len = t_unhex("1234 9003 0001 0000 0000 0000" Q_A, want, sizeof(want));
	T_EQ(len, want_len);
	T_MEM(buf, want, len);
}

static void test_reply_ptr(void)
{
	struct dns_query q = query_for("1.0.96.100.in-addr.arpa", DNS_TYPE_PTR);
	struct dns_name target = name("app.example.com");
	struct dns_record r;
	struct dns_msg m;
	size_t len;

	T_EQ(dns_reply_encode(&q, &(struct dns_reply){.ttl = 1, .ptr = &target}, buf, 512, &len),
	     0);
	T_EQ(dns_msg_open(buf, len, &m), DNS_OK);
	T(dns_msg_next(&m, &r));
	T_EQ(r.type, DNS_TYPE_PTR);
	T_EQ(r.rdata_len, target.len);
	T_MEM(r.rdata, target.b, target.len);
	T(!dns_msg_next(&m, &r));
}

static void test_reply_truncates(void)
{
	struct dns_query q = query_for("Example.com", DNS_TYPE_A);
	struct ipaddr ips[100];
	struct dns_reply a = {.ttl = 1, .ips = ips, .ip_count = 74};
	uint8_t want[64];
	size_t len, want_len;

	for (int i = 0; i < 100; i++)
		ips[i] = ipaddr_v4(100, 96, 0, (uint8_t)i);
	/* 29 + 16 n: 73 addresses are 1197 bytes, 74 are 1213. */
	T_EQ(dns_reply_encode(&q, &a, buf, DNS_UDP_CAP, &len), 0);
	want_len = t_unhex("1234 8300 0001 0000 0000 0000" Q_A, want, sizeof(want));
	T_EQ(len, want_len);
	T_MEM(buf, want, len);
	a.ip_count = 73;
	T_EQ(dns_reply_encode(&q, &a, buf, DNS_UDP_CAP, &len), 0);
	T_EQ(len, 1197);
	T_EQ(dns_reply_encode(&q, &a, buf, want_len - 1, &len), -EMSGSIZE);
}

static void test_msg_truncate(void)
{
	uint8_t want[64];
	struct dns_msg m;
	size_t len, want_len;

	T_EQ(judge_hex(A_HEAD RR("0001", "0004") "01020304", &m), DNS_OK);
	len = dns_msg_truncate(&m, buf);
	want_len = t_unhex("1234 8380 0001 0000 0000 0000" Q_A, want, sizeof(want));
	T_EQ(len, want_len);
	T_MEM(buf, want, len);
	dns_msg_set_id(buf, 7);
	T_EQ(be16_get(buf), 7);
	m.q.name = name("eXAMPLE.COM");
	dns_msg_set_name_case(buf, &m.q.name);
	T_MEM(buf + 12, "\7eXAMPLE\3COM", 13);
}

/* Another one's answer becomes ours: id and spelling, without the additional section if that was
 * dropped, cut when it is too long. */
static void test_msg_relay(void)
{
	static const char *const answer = "5555 8180 0001 0001 0001 0002 01 61 00 0010 0001"
					  "c00c 0010 0001 0000003c 0004 03 616263"
					  "c00c 0002 0001 0000003c 0002 c00c"
					  "c00c 0001 0001 0000003c 0004 0a000001"
					  "00 0029 1000 00000000 0000";
	struct dns_query q = query_for("A", DNS_TYPE_TXT);
	struct dns_msg m, got;
	uint8_t out[128];
	size_t len, whole;

	q.id = 7;
	T_EQ(judge_hex(answer, &m), DNS_OK);
	whole = m.len;
	T(!dns_msg_relay(&m, &q, whole, out, &len));
	T_EQ(len, whole);
	T(T_EQ(dns_msg_open(out, len, &got), DNS_OK) && got.id == 7 && got.counts[2] == 2);
	T_EQ(got.q.name.b[1], 'A');
	T(dns_msg_relay(&m, &q, whole - 1, out, &len));
	T(T_EQ(dns_msg_open(out, len, &got), DNS_OK) && got.tc && got.id == 7 && !got.counts[0]);
	T(dns_msg_drop_additional(&m));
	T(!dns_msg_relay(&m, &q, whole, out, &len));
	T_EQ(len, whole - 16 - 11);
	T(T_EQ(dns_msg_open(out, len, &got), DNS_OK) && got.counts[0] == 1 && got.counts[1] == 1 &&
	  !got.counts[2]);
	T(!dns_msg_drop_additional(&m)); /* nothing is left of it */
	T_EQ(judge_hex("5555 8180 0001 0000 0000 0001 01 61 00 0010 0001"
		       "00 0029 1000 00000000 0000",
		       &m),
	     DNS_OK);
	T(!dns_msg_drop_additional(&m)); /* an OPT only */
	T_EQ(m.len, 19);
}

/* Whatever is written can be read, and says the same. */
static void test_roundtrip_random(void)
{
	uint64_t seed = t_seed();

	for (int i = 0; i < 20000; i++) {
		struct dns_query q = {.id = (uint16_t)t_rand(&seed),
				      .rd = i & 1,
				      .ad = i & 2,
				      .cd = i & 4,
				      .edns = i & 8,
				      .dnssec_ok = (i & 24) == 24},
				 got;
		size_t len;

		q.q.type = (uint16_t)t_rand(&seed);
		q.q.klass = (uint16_t)t_rand(&seed);
		while (t_rand(&seed) % 5 && q.q.name.len < 190) {
			uint8_t n = (uint8_t)(1 + t_rand(&seed) % 63);

			q.q.name.b[q.q.name.len++] = n;
			for (; n; n--)
				q.q.name.b[q.q.name.len++] = (uint8_t)t_rand(&seed);
		}
		q.q.name.b[q.q.name.len++] = 0;
		T_EQ(dns_query_encode(&q, q.id, buf, DNS_QUERY_CAP, &len), 0);
		T_EQ(dns_query_parse(buf, len, &got), DNS_OK);
		T_EQ(got.q.name.len, q.q.name.len);
		T_MEM(got.q.name.b, q.q.name.b, q.q.name.len);
		T(got.id == q.id && got.q.type == q.q.type && got.q.klass == q.q.klass);
		T(got.rd == q.rd && got.ad == q.ad && got.cd == q.cd && got.edns == q.edns);
		T_EQ(got.dnssec_ok, q.dnssec_ok);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_name_text);
	T_RUN(test_name_text_refuses_what_it_cannot_carry);
	T_RUN(test_name_parse_limits);
	T_RUN(test_name_eq);
	T_RUN(test_reverse_names);
	T_RUN(test_query_parse);
	T_RUN(test_query_refused);
	T_RUN(test_rdata);
	T_RUN(test_records_and_addresses);
	T_RUN(test_name_too_long_by_pointers);
	T_RUN(test_query_encode);
	T_RUN(test_reply_bytes);
	T_RUN(test_reply_ptr);
	T_RUN(test_reply_truncates);
	T_RUN(test_msg_truncate);
	T_RUN(test_msg_relay);
	T_RUN(test_roundtrip_random);
	return t_done();
}
