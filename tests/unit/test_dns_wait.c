/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of queries the stub resolver passed on: belief in answers, time, bounds, duplicates,
 * truncation, rebinding, and their ends. */
#include "tests/unit/dns_rig.h"

static const uint8_t public_ip[] = {93, 184, 216, 34};
static struct endpoint up4, up6;

static void setup(void)
{
	rig_setup();
	up4 = rig_ep("1.1.1.1:53");
	up6 = rig_ep("[2606::1]:53");
}

static size_t good_answer(void)
{
	return rig_upstream_answer(0, DNS_TYPE_A, 60, public_ip, 4);
}

static void test_answer_is_relayed(void)
{
	struct dns_record r;
	struct dns_query sent;
	struct dns_msg m;
	struct ipaddr a;
	uint64_t token;
	size_t len;

	setup();
	rig_ask("WWW.example.org", DNS_TYPE_A);
	token = act.token;
	T_EQ(dns_query_parse(act.msg, act.len, &sent), DNS_OK);
	T(sent.id != 0x1234); /* drawn by us; equal once in 65536 seeds */
	len = good_answer();
	memcpy(rig_msg + 13, "www", 3); /* some upstreams answer in their own spelling */
	rig_deliver(token, &up4, len);
	T(act.ended && act.token == token && act.asker.src.port == 40000);
	T(rig_open(&m));
	T_MEM(m.q.name.b, "\3WWW\7example\3org", 17);
	T(dns_msg_next(&m, &r) && r.ttl == 60 && dns_record_address(&r, 0, &a));
	T_MEM(a.b, public_ip, 4);
	T_EQ(stub.pending.count, 0);
	T_EQ(stub.counters.answered, 1);
	rig_deliver(token, &up4, len); /* and once only */
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.counters.late, 1);
}

static void test_each_sentinel_has_its_upstream(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q = rig_query("www.example.org", DNS_TYPE_A);

	setup();
	who.sentinel = stub.sentinels.list[1].sentinel;
	rig_send(&who, &q);
	T(endpoint_eq(&act.upstream, &up6));
}

/* ---- belief ---- */
static void test_wrong_source_leaves_the_query_waiting(void)
{
	struct endpoint port = rig_ep("1.1.1.1:54"), addr = rig_ep("1.1.1.2:53");
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = good_answer();
	rig_deliver(token, &port, len);
	T(act.kind == DNS_ACT_NONE && !act.ended);
	rig_deliver(token, &addr, len);
	T(act.kind == DNS_ACT_NONE && !act.ended);
	T_EQ(stub.counters.bad_source, 2);
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

static void test_wrong_id_leaves_the_query_waiting(void)
{
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = good_answer();
	for (int bit = 0; bit < 16; bit++) {
		rig_msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
		rig_deliver(token, &up4, len);
		T_EQ(act.kind, DNS_ACT_NONE);
		rig_msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	T_EQ(stub.counters.bad_id, 16);
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

static void test_wrong_question_leaves_the_query_waiting(void)
{
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = good_answer();
	rig_msg[13] = 'x'; /* another name */
	rig_deliver(token, &up4, len);
	rig_msg[13] = 'w';
	rig_msg[30] ^= 1; /* another type */
	rig_deliver(token, &up4, len);
	rig_msg[30] ^= 1;
	rig_msg[32] ^= 2; /* another class */
	rig_deliver(token, &up4, len);
	rig_msg[32] ^= 2;
	rig_msg[2] &= 0x7f; /* a query */
	rig_deliver(token, &up4, len);
	rig_msg[2] |= 0x80 | 2 << 3; /* another opcode */
	rig_deliver(token, &up4, len);
	T_EQ(stub.counters.bad_question, 5);
	T_EQ(stub.pending.count, 1);
	rig_msg[2] = 0x81;
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

static void test_malformed_answer_leaves_the_query_waiting(void)
{
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = good_answer();
	for (size_t cut = 0; cut < len; cut++) {
		rig_deliver(token, &up4, cut);
		T_EQ(act.kind, DNS_ACT_NONE);
	}
	rig_msg[34] = 33; /* the owner points at itself */
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_NONE);
	rig_msg[34] = 12;
	rig_deliver(token, &up4, DNS_MSG_CAP + 1);
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.counters.bad_answer[DNS_SHORT], len);
	T_EQ(stub.counters.bad_answer[DNS_BAD_NAME], 1);
	T_EQ(stub.counters.bad_answer[DNS_TRAILING], 1);
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

static void test_token_of_an_older_query_is_void(void)
{
	uint64_t first, second;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	first = act.token;
	dns_stub_failed(&stub, first, &act);
	rig_ask("www.example.org", DNS_TYPE_A);
	second = act.token;
	T(first != second && (uint32_t)first == (uint32_t)second); /* the same slot */
	len = good_answer();
	rig_deliver(first, &up4, len);
	T_EQ(act.kind, DNS_ACT_NONE);
	rig_deliver(0, &up4, len);
	rig_deliver(UINT64_MAX, &up4, len);
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.counters.late, 3);
	rig_deliver(second, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

/* ---- rebinding ---- */
static void rebinding_row(uint16_t type, const void *rdata, size_t len, bool refused)
{
	uint64_t token;

	setup();
	rig_ask("evil.example.org", type);
	token = act.token;
	len = rig_upstream_answer(0, type, 60, rdata, len);
	rig_deliver(token, &up4, len);
	T(act.ended);
	T_EQ(stub.counters.rebinding, refused);
	if (refused)
		rig_expect_code(DNS_SERVFAIL);
	else
		T_EQ(act.msg[7], 1);
	T_EQ(stub.cache.stored, !refused);
}

static void test_rebinding_is_refused(void)
{
	static const struct {
		uint16_t type;
		const char *hex;
		bool refused;
	} rows[] = {
		{DNS_TYPE_A, "64600001", true},	 /* a proxy address */
		{DNS_TYPE_A, "64646f01", true},	 /* a sentinel */
		{DNS_TYPE_A, "64400001", true},	 /* a peer */
		{DNS_TYPE_A, "647fffff", true},	 /* 100.127.255.255 */
		{DNS_TYPE_A, "64800000", false}, /* 100.128.0.0 */
		{DNS_TYPE_A, "643fffff", false}, /* 100.63.255.255 */
		{DNS_TYPE_A, "0a000001", false}, /* private, but not ours */
		{DNS_TYPE_AAAA, "fd002021111180000000000000000001", true},
		{DNS_TYPE_AAAA, "fd002021111100000000000000000001", true},
		{DNS_TYPE_AAAA, "fd002021111200000000000000000001", false},
		{DNS_TYPE_AAAA, "00000000000000000000ffff64600001", true}, /* mapped */
		{DNS_TYPE_AAAA, "00000000000000000000ffff0a000001", false},
		{DNS_TYPE_HTTPS, "0001 00 0004 0008 01020304 64600001", true}, /* second hint */
		{DNS_TYPE_HTTPS, "0001 00 0004 0008 01020304 01020305", false},
		{DNS_TYPE_HTTPS, "0001 00 0006 0010 fd002021111180000000000000000001", true},
		{DNS_TYPE_SVCB, "0001 01 61 00 0001 0002 0000 0004 0004 64600001", true},
		{DNS_TYPE_SVCB, "0001 c00c 0004 0004 64600001", true}, /* a pointer hides nothing */
		{DNS_TYPE_TXT, "04 64600001", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t rdata[64];

		rebinding_row(rows[i].type, rdata, t_unhex(rows[i].hex, rdata, sizeof(rdata)),
			      rows[i].refused);
	}
}

static void test_rebinding_in_site_too(void)
{
	struct ipaddr gateway = ipaddr_v4(100, 64, 0, 9);
	struct endpoint at = {.ip = gateway, .port = TUNNEL_DNS_PORT};
	uint64_t token;
	size_t len;

	setup();
	rig_ask("app.example.com", DNS_TYPE_SRV);
	token = act.token;
	dns_stub_in_site(&stub, token, &gateway, &act);
	len = rig_upstream_answer(0, DNS_TYPE_A, 60, "\x64\x60\0\1", 4);
	rig_deliver(token, &at, len);
	rig_expect_code(DNS_SERVFAIL);
}

static void test_in_site_answer(void)
{
	struct ipaddr gateway = ipaddr_v4(100, 64, 0, 9);
	struct endpoint at = {.ip = gateway, .port = TUNNEL_DNS_PORT};
	uint64_t token;
	size_t len;

	setup();
	rig_ask("app.example.com", DNS_TYPE_TXT);
	token = act.token;
	memset(rig_msg, 0, 64);
	rig_deliver(token, &at, 64); /* held: nobody was asked yet */
	T_EQ(stub.counters.late, 1);
	dns_stub_in_site(&stub, token, &gateway, &act);
	len = rig_upstream_answer(0, DNS_TYPE_TXT, 60, "\2hi", 3);
	rig_deliver(token, &at, len);
	T(act.kind == DNS_ACT_ANSWER && act.ended);
	T_EQ(stub.cache.stored, 0); /* it is the gateway's to say, every time */
}

/* ---- time, bounds, ends ---- */
static void test_timeout_is_servfail(void)
{
	uint64_t token;

	setup();
	T_EQ(dns_stub_deadline(&stub).at, TIME_NEVER);
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	now += NS_PER_SEC;
	rig_ask("app.example.com", DNS_TYPE_TXT); /* held for its gateway: the same limit */
	T_EQ(dns_stub_deadline(&stub).at, RIG_NOW + 5 * NS_PER_SEC);
	T(!dns_stub_timeout(&stub, &act, RIG_NOW + 5 * NS_PER_SEC - 1));
	T(dns_stub_timeout(&stub, &act, RIG_NOW + 5 * NS_PER_SEC));
	rig_expect_code(DNS_SERVFAIL);
	T(act.ended && act.token == token);
	T(!dns_stub_timeout(&stub, &act, RIG_NOW + 5 * NS_PER_SEC));
	T(dns_stub_timeout(&stub, &act, RIG_NOW + 6 * NS_PER_SEC));
	rig_expect_code(DNS_SERVFAIL);
	T_EQ(dns_stub_deadline(&stub).at, TIME_NEVER);
	T_EQ(stub.counters.timeouts, 2);
}

static void test_overflow_is_servfail(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q = rig_query("www.example.org", DNS_TYPE_A);

	setup();
	for (uint16_t i = 0; i < RIG_PENDING; i++) {
		who.src.port = (uint16_t)(1000 + i);
		rig_send(&who, &q);
		T_EQ(act.kind, DNS_ACT_UPSTREAM);
	}
	who.src.port = 999;
	rig_send(&who, &q);
	rig_expect_code(DNS_SERVFAIL);
	T(!act.ended);
	T_EQ(stub.counters.overflow, 1);
	rig_ask("app.example.com", DNS_TYPE_A); /* ours are answered all the same */
	T_EQ(act.msg[7], 4);
	T(dns_stub_timeout(&stub, &act, now + DNS_PENDING_NS));
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
}

static void test_duplicate_is_sent_again(void)
{
	struct dns_asker other = rig_asker(false);
	struct dns_query q = rig_query("www.example.org", DNS_TYPE_A);
	struct dns_query sent, again;
	uint64_t token;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	T(!act.again);
	token = act.token;
	T_EQ(dns_query_parse(act.msg, act.len, &sent), DNS_OK);
	rig_ask("www.example.org", DNS_TYPE_A);
	T(act.kind == DNS_ACT_UPSTREAM && act.again && act.token == token);
	T_EQ(dns_query_parse(act.msg, act.len, &again), DNS_OK);
	T_EQ(sent.id, again.id);
	T_EQ(stub.pending.count, 1);
	T_EQ(stub.counters.duplicates, 1);
	/* Another id, port, type, transport or sentinel: another query. */
	other.src.port++;
	rig_send(&other, &q);
	other.src.port--;
	q.id++;
	rig_send(&other, &q);
	q.id--;
	q.q.type = DNS_TYPE_MX;
	rig_send(&other, &q);
	q.q.type = DNS_TYPE_A;
	other.sentinel = stub.sentinels.list[1].sentinel;
	rig_send(&other, &q);
	rig_ask_tcp("www.example.org", DNS_TYPE_A);
	T_EQ(stub.pending.count, 6);
	rig_ask_tcp("www.example.org", DNS_TYPE_A); /* a stream does not lose: nothing to repeat */
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.pending.count, 6);
	rig_ask("app.example.com", DNS_TYPE_TXT);
	rig_ask("app.example.com", DNS_TYPE_TXT); /* held */
	T_EQ(act.kind, DNS_ACT_NONE);
	T_EQ(stub.counters.duplicates, 3);
}

static void test_failure_is_servfail(void)
{
	uint64_t token;

	setup();
	rig_ask_tcp("www.example.org", DNS_TYPE_A);
	token = act.token;
	dns_stub_failed(&stub, token, &act);
	rig_expect_code(DNS_SERVFAIL);
	T(act.ended && act.asker.tcp);
	dns_stub_failed(&stub, token, &act);
	T(act.kind == DNS_ACT_NONE && !act.ended);
	T_EQ(stub.counters.failed, 1);
}

static void test_new_upstreams_end_what_waits(void)
{
	struct endpoint other = rig_ep("9.9.9.9:53");
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = good_answer();
	rig_ask("app.example.com", DNS_TYPE_TXT);
	T(dns_stub_set_upstreams(&stub, &other, 1, NULL, 0));
	rig_deliver(token, &up4, len);
	T(act.kind == DNS_ACT_NONE && act.ended);
	T_EQ(dns_stub_deadline(&stub).at, 0);
	T(dns_stub_timeout(&stub, &act, now));
	T(act.kind == DNS_ACT_NONE && act.ended);
	T(!dns_stub_timeout(&stub, &act, now));
	T_EQ(stub.counters.orphaned, 2);
	T(!dns_stub_set_upstreams(&stub, &other, 1, NULL, 0)); /* no change, no effect */
}

static void test_reset_fails_what_waits(void)
{
	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	rig_ask("app.example.com", DNS_TYPE_TXT);
	dns_stub_reset(&stub, now);
	T(dns_stub_timeout(&stub, &act, now));
	rig_expect_code(DNS_SERVFAIL);
	T(dns_stub_timeout(&stub, &act, now));
	rig_expect_code(DNS_SERVFAIL);
	T(!dns_stub_timeout(&stub, &act, now));
}

static void test_connection_gone(void)
{
	uint64_t token;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	rig_ask_tcp("www.example.org", DNS_TYPE_A);
	token = act.token;
	rig_ask_tcp("www.example.org", DNS_TYPE_MX);
	T(!dns_stub_conn_gone(&stub, 0, &act)); /* UDP queries have none */
	T(dns_stub_conn_gone(&stub, 7, &act));
	T(act.kind == DNS_ACT_NONE && act.ended && act.token == token);
	T(dns_stub_conn_gone(&stub, 7, &act));
	T(!dns_stub_conn_gone(&stub, 7, &act));
	T_EQ(stub.pending.count, 1);
}

static void test_held_queries_of_a_resource(void)
{
	struct uuid one = rig_id(1), two = rig_id(2);
	uint64_t a, b;

	setup();
	rig_ask("a.example.com", DNS_TYPE_TXT);
	a = act.token;
	rig_ask("v4.only", DNS_TYPE_TXT);
	rig_ask("b.example.com", DNS_TYPE_SRV);
	b = act.token;
	T_EQ(dns_stub_held_next(&stub, &one, 0), a);
	T_EQ(dns_stub_held_next(&stub, &one, a), b);
	T_EQ(dns_stub_held_next(&stub, &one, b), 0);
	T(dns_stub_held_next(&stub, &two, 0) != 0);
}

/* ---- size ---- */
static size_t long_answer(size_t records)
{
	size_t len = good_answer(), one = 16;

	for (size_t i = 1; i < records; i++, len += one)
		memcpy(rig_msg + len, rig_msg + len - one, one);
	be16_put(rig_msg + 6, (uint16_t)records);
	return len;
}

static void test_long_answer_over_udp_is_truncated(void)
{
	struct dns_msg m;
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = long_answer(80);
	rig_deliver(token, &up4, len);
	T(rig_open(&m) && m.tc);
	T_EQ(act.len, 12 + 17 + 4);
	T_EQ(m.counts[0] + m.counts[1] + m.counts[2], 0);
	T_EQ(stub.counters.truncated, 1);
	rig_ask("ww2.example.org", DNS_TYPE_A);
	token = act.token;
	len = long_answer(73); /* 33 + 73 × 16 = 1201 */
	rig_deliver(token, &up4, len);
	T(rig_open(&m) && !m.tc);
	T_EQ(m.counts[0], 73);
}

static void test_long_answer_over_tcp_is_whole(void)
{
	struct dns_msg m;
	uint64_t token;
	size_t len;

	setup();
	rig_ask_tcp("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = long_answer(4000);
	rig_deliver(token, &up4, len);
	T(rig_open(&m) && !m.tc);
	T_EQ(act.len, len);
}

static void test_edns_is_our_own(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q;
	size_t len = t_unhex(
		"1234 0110 0001 0000 0000 0001 03777777 076578616d706c65 036f7267 00 0001 0001"
		"00 0029 ffff 0000 8000 000c 000a 0008 0102030405060708",
		rig_msg, sizeof(rig_msg));

	setup();
	dns_stub_query(&stub, &who, rig_msg, len, &act, now);
	T_EQ(act.len, len - 12); /* without the cookie */
	T_EQ(dns_query_parse(act.msg, act.len, &q), DNS_OK);
	T(q.edns && q.dnssec_ok && q.cd && q.rd);
	T_EQ(be16_get(act.msg + act.len - 8), DNS_UDP_CAP);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_answer_is_relayed);
	T_RUN(test_each_sentinel_has_its_upstream);
	T_RUN(test_wrong_source_leaves_the_query_waiting);
	T_RUN(test_wrong_id_leaves_the_query_waiting);
	T_RUN(test_wrong_question_leaves_the_query_waiting);
	T_RUN(test_malformed_answer_leaves_the_query_waiting);
	T_RUN(test_token_of_an_older_query_is_void);
	T_RUN(test_rebinding_is_refused);
	T_RUN(test_rebinding_in_site_too);
	T_RUN(test_in_site_answer);
	T_RUN(test_timeout_is_servfail);
	T_RUN(test_overflow_is_servfail);
	T_RUN(test_duplicate_is_sent_again);
	T_RUN(test_failure_is_servfail);
	T_RUN(test_new_upstreams_end_what_waits);
	T_RUN(test_reset_fails_what_waits);
	T_RUN(test_connection_gone);
	T_RUN(test_held_queries_of_a_resource);
	T_RUN(test_long_answer_over_udp_is_truncated);
	T_RUN(test_long_answer_over_tcp_is_whole);
	T_RUN(test_edns_is_our_own);
	return t_done();
}
