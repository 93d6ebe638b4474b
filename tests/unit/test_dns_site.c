/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's resolver: who is looked up for what, which server is asked, and that nothing is
 * passed on that a client may not have. */
#include "tests/unit/dns_site_rig.h"

/* ---- queries ---- */
static void test_passed_on_and_answered(void)
{
	static const uint16_t types[] = {DNS_TYPE_SRV, DNS_TYPE_TXT};
	struct dns_record r;
	struct dns_msg m;

	set_up();
	for (int i = 0; i < 4; i++) {
		bool srv = i & 1, tcp = i & 2;
		uint64_t token = ask("wWw.Corp.test", types[!srv], tcp);
		size_t len;

		T(asks(0, false) && T_EQ(act.tcp, tcp));
		T_EQ(dns_msg_open(act.msg, act.len, &m), DNS_OK);
		T(!m.qr && m.rd && m.q.type == types[!srv]);
		len = answer_of(0, types[!srv], srv ? SRV_DATA : TXT_DATA);
		msg[DNS_HEADER_LEN + 1] = 'W'; /* the server spells it otherwise */
		deliver(token, 0, len);
		T(T_EQ(act.kind, DNS_SITE_ANSWER) && act.ended && T_EQ(act.token, token));
		T_EQ(act.asker.conn, tcp ? 7 : 0);
		T_EQ(dns_msg_open(act.msg, act.len, &m), DNS_OK);
		T_EQ(m.id, 0x1234);
		T_MEM(act.msg + DNS_HEADER_LEN, "\3wWw\4Corp\4test", 14);
		T(dns_msg_next(&m, &r) && T_EQ(r.type, types[!srv]));
		T_EQ(site.pending.count, 0);
		deliver(token, 0, len); /* once more: nobody waits */
		T_EQ(act.kind, DNS_SITE_NONE);
	}
	T_EQ(site.counters.answered, 4);
	T_EQ(site.counters.disbelieved[DNS_NOT_PENDING], 4);
}

static void test_ids_and_options_are_ours(void)
{
	struct dns_asker who = asker(C1, false);
	struct dns_query q = query(WWW, DNS_TYPE_TXT), got;
	uint16_t first;

	set_up();
	q.edns = true;
	send_query(&who, &q);
	T_EQ(dns_query_parse(act.msg, act.len, &got), DNS_OK);
	T(got.edns);
	first = got.id;
	who.src.port++;
	send_query(&who, &q);
	T_EQ(dns_query_parse(act.msg, act.len, &got), DNS_OK);
	T(got.id != first || first != q.id); /* both by chance: 2^-32 */
}

static void test_who_may_ask_what(void)
{
	static const struct {
		const char *src, *name;
		uint16_t type, klass;
		uint8_t opcode;
		enum dns_rcode code;
	} rows[] = {
		{"100.64.9.9", WWW, DNS_TYPE_TXT, 1, 0, DNS_REFUSED}, /* nobody's address */
		{OWN, WWW, DNS_TYPE_TXT, 1, 0, DNS_REFUSED},
		{"10.0.0.1", WWW, DNS_TYPE_TXT, 1, 0, DNS_REFUSED},
		{"fd00:2021:1111::9", WWW, DNS_TYPE_SRV, 1, 0, DNS_REFUSED},
		{C2, WWW, DNS_TYPE_TXT, 1, 0, DNS_REFUSED}, /* holds a network only */
		{C1, WWW, DNS_TYPE_A, 1, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_AAAA, 1, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_ANY, 1, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_HTTPS, 1, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_NS, 1, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_AXFR, 1, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_TXT, 3, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_TXT, 255, 0, DNS_REFUSED},
		{C1, "www.other.test", DNS_TYPE_TXT, 1, 0, DNS_REFUSED},
		{C1, "a.b.corp.test", DNS_TYPE_TXT, 1, 0, DNS_REFUSED},
		{C1, ".", DNS_TYPE_TXT, 1, 0, DNS_REFUSED},
		{C1, WWW, DNS_TYPE_TXT, 1, 4, DNS_NOTIMP},
		{C1, WWW, DNS_TYPE_TXT, 1, 5, DNS_NOTIMP},
		{C2, WWW, DNS_TYPE_TXT, 1, 5, DNS_NOTIMP},
		{"100.64.9.9", WWW, DNS_TYPE_TXT, 1, 5, DNS_REFUSED},
	};

	set_up();
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct dns_asker who = asker(rows[i].src, i & 1);
		struct dns_query q = query(rows[i].name, rows[i].type);

		q.q.klass = rows[i].klass;
		q.opcode = rows[i].opcode;
		send_query(&who, &q);
		if (!says(rows[i].code) || !T(!act.ended))
			t_note("row %zu", i);
	}
	T_EQ(site.pending.count, 0);
	T_EQ(site.counters.foreign, 5);
	T_EQ(site.counters.wrong_type, 8);
	T_EQ(site.counters.not_granted, 4);
	T_EQ(site.counters.not_implemented, 3);
	T_EQ(site.counters.asked, 0);
	/* The parent of a pattern that starts with a star, and the client's other address. */
	T(ask("corp.test", DNS_TYPE_TXT, false));
	send_query(&(struct dns_asker){.src = {.ip = pkt_ip(C1V6), .port = 1}},
		   &(struct dns_query){.id = 1, .q = query(WWW, DNS_TYPE_SRV).q});
	T(asks(0, false));
}

/* A label with a dot in it is no other name's text. */
static void test_name_in_disguise(void)
{
	struct dns_query q = {.id = 0x1234, .q = {.type = DNS_TYPE_TXT, .klass = DNS_CLASS_IN}};
	struct dns_asker who = asker(C1, false);

	set_up();
	memcpy(q.q.name.b, "\15www.corp.test", 15);
	q.q.name.len = 15;
	send_query(&who, &q);
	says(DNS_REFUSED);
}

static void test_malformed(void)
{
	struct dns_asker who = asker(C1, false);
	struct dns_query q = query(WWW, DNS_TYPE_TXT);
	uint8_t out[DNS_QUERY_CAP];
	size_t len;

	set_up();
	T_EQ(dns_query_encode(&q, q.id, out, sizeof(out), &len), 0);
	for (size_t n = 0; n < len; n++) {
		dns_site_query(&site, &gw, &who, out, n, unix_now, &act, now);
		T_EQ(act.kind, DNS_SITE_NONE);
	}
	out[2] |= 0x80;
	dns_site_query(&site, &gw, &who, out, len, unix_now, &act, now);
	T_EQ(act.kind, DNS_SITE_NONE);
	T_EQ(site.counters.malformed[DNS_BAD_QR], 1);
	T_EQ(site.counters.malformed[DNS_SHORT], len);
	T_EQ(site.pending.count, 0);
}

static void test_repeated(void)
{
	uint64_t token;

	set_up();
	token = ask(WWW, DNS_TYPE_TXT, false);
	T_EQ(ask(WWW, DNS_TYPE_TXT, false), token);
	asks(0, true);
	T_EQ(site.pending.count, 1);
	T(ask(WWW, DNS_TYPE_TXT, true) != token); /* another asker */
	T_EQ(ask(WWW, DNS_TYPE_TXT, true), 0);
	T_EQ(act.kind, DNS_SITE_NONE); /* a stream repeats by itself */
	T_EQ(site.counters.duplicates, 2);
}

static void test_share_and_room(void)
{
	struct tunnel_resource corp = dns(20, "*.corp.test");
	struct dns_asker who = asker(C1, false);
	struct dns_query q = query(WWW, DNS_TYPE_TXT);

	set_up();
	authorize(2, &corp);
	for (q.id = 0; q.id < DNS_SITE_CLIENT_MAX; q.id++) {
		send_query(&who, &q);
		asks(0, false);
	}
	q.id = 0x1234;
	send_query(&who, &q);
	says(DNS_SERVFAIL);
	T_EQ(site.counters.share_full, 1);
	who = asker(C2, false);
	for (q.id = 0; q.id < PENDING - DNS_SITE_CLIENT_MAX; q.id++) {
		send_query(&who, &q);
		asks(0, false);
	}
	q.id = 0x1234;
	send_query(&who, &q);
	says(DNS_SERVFAIL);
	T_EQ(site.counters.overflow, 1);
	T_EQ(site.pending.count, PENDING);
	for (uint32_t n = 0; dns_site_conn_gone(&site, 0, &act); n++)
		T(n < 1); /* nobody asked by TCP */
}

static void test_no_server(void)
{
	set_up();
	dns_site_set_servers(&site, NULL, 0);
	T_EQ(ask(WWW, DNS_TYPE_TXT, false), 0);
	says(DNS_SERVFAIL);
	T_EQ(site.counters.no_server, 1);
}

/* ---- servers ---- */
static void test_silent_servers(void)
{
	uint64_t token, start;

	set_up();
	token = ask(WWW, DNS_TYPE_TXT, false);
	start = now;
	for (uint32_t i = 1; i < DNS_SITE_TRIES; i++) {
		now = dns_site_deadline(&site).at - 1;
		T(!dns_site_timeout(&site, &gw, unix_now, &act, now));
		now++;
		T(dns_site_timeout(&site, &gw, unix_now, &act, now));
		T(asks(i & 1, false) && T_EQ(act.token, token));
		T(!dns_site_timeout(&site, &gw, unix_now, &act, now));
	}
	now = dns_site_deadline(&site).at;
	T(dns_site_timeout(&site, &gw, unix_now, &act, now));
	T(says(DNS_SERVFAIL) && act.ended && T_EQ(act.token, token));
	T(now - start >= 5 * NS_PER_SEC && now - start <= 10 * NS_PER_SEC);
	T_EQ(dns_site_deadline(&site).at, TIME_NEVER);
	T_EQ(site.counters.timeouts, 1);
	T_EQ(site.counters.retried, 2);
}

/* Once a server was silent, what is asked next need not wait for it. */
static void test_new_queries_avoid_the_silent_one(void)
{
	uint64_t token;

	set_up();
	token = ask(WWW, DNS_TYPE_TXT, false);
	now += DNS_SITE_TRY_NS;
	T(dns_site_timeout(&site, &gw, unix_now, &act, now));
	asks(1, false);
	deliver(token, 1, answer_of(0, DNS_TYPE_TXT, TXT_DATA));
	T_EQ(act.kind, DNS_SITE_ANSWER);
	ask(WWW, DNS_TYPE_TXT, false);
	asks(1, false);
	dns_site_set_servers(&site, server, 2); /* resolv.conf was written anew: its order */
	ask("b.corp.test", DNS_TYPE_TXT, false);
	asks(0, false);
}

static void test_one_server_is_asked_again(void)
{
	uint64_t token;
	size_t len;

	set_up();
	dns_site_set_servers(&site, server, 1);
	token = ask(WWW, DNS_TYPE_TXT, false);
	len = answer_of(0, DNS_TYPE_TXT, TXT_DATA);
	now += DNS_SITE_TRY_NS;
	T(dns_site_timeout(&site, &gw, unix_now, &act, now));
	asks(0, true);
	deliver(token, 0, len); /* the answer to the first try */
	T_EQ(act.kind, DNS_SITE_ANSWER);
}

static void test_failing_servers(void)
{
	uint64_t token;

	set_up();
	token = ask(WWW, DNS_TYPE_TXT, true);
	dns_site_failed(&site, &gw, token, unix_now, &act, now);
	asks(1, false);
	dns_site_failed(&site, &gw, token, unix_now, &act, now);
	T(says(DNS_SERVFAIL) && act.ended);
	dns_site_failed(&site, &gw, token, unix_now, &act, now);
	T(act.kind == DNS_SITE_NONE && !act.ended);
	for (uint8_t code = 2; code <= 5; code++) {
		if (code == DNS_NXDOMAIN)
			continue;
		dns_site_set_servers(&site, server, 2);
		token = ask(WWW, DNS_TYPE_TXT, false);
		deliver(token, 0, answer_of(code, 0, NULL));
		T(asks(1, false) && T_EQ(act.token, token));
		deliver(token, 1, answer_of(code, 0, NULL));
		T(says(DNS_SERVFAIL) && act.ended);
	}
	T_EQ(site.counters.failed, 4);
	token = ask(WWW, DNS_TYPE_TXT, false); /* that it does not exist is an answer */
	deliver(token, 0, answer_of(DNS_NXDOMAIN, 0, NULL));
	T(says(DNS_NXDOMAIN) && act.ended);
}

static void test_servers_change_meanwhile(void)
{
	uint64_t token;

	set_up();
	token = ask(WWW, DNS_TYPE_TXT, false);
	now += DNS_SITE_TRY_NS;
	T(dns_site_timeout(&site, &gw, unix_now, &act, now));
	asks(1, false);
	dns_site_set_servers(&site, server, 1);
	now += DNS_SITE_TRY_NS;
	T(dns_site_timeout(&site, &gw, unix_now, &act, now));
	asks(0, false);
	dns_site_set_servers(&site, NULL, 0);
	now += DNS_SITE_TRY_NS;
	T(dns_site_timeout(&site, &gw, unix_now, &act, now));
	T(says(DNS_SERVFAIL) && T_EQ(act.token, token));
}

/* ---- answers ---- */
static void test_disbelief(void)
{
	uint64_t token;
	size_t len;

	set_up();
	token = ask(WWW, DNS_TYPE_TXT, false);
	len = answer_of(0, DNS_TYPE_TXT, TXT_DATA);
	deliver(token, 1, len);
	T_EQ(site.counters.disbelieved[DNS_BAD_SOURCE], 1);
	deliver(token ^ 1ull << 32, 0, len);
	T_EQ(site.counters.disbelieved[DNS_NOT_PENDING], 1);
	msg[0] ^= 1;
	deliver(token, 0, len);
	T_EQ(site.counters.disbelieved[DNS_BAD_ID], 1);
	msg[0] ^= 1;
	msg[2] &= 0x7f;
	deliver(token, 0, len);
	msg[2] |= 0x80;
	msg[DNS_HEADER_LEN + 1] = 'v';
	deliver(token, 0, len);
	T_EQ(site.counters.disbelieved[DNS_BAD_QUESTION], 2);
	msg[DNS_HEADER_LEN + 1] = 'w';
	for (size_t n = 0; n < len; n++)
		deliver(token, 0, n);
	deliver(token, 0, sizeof(msg));
	deliver(token, 0, len + 1);
	T_EQ(site.counters.disbelieved[DNS_BAD_MESSAGE], len + 2);
	T(act.kind == DNS_SITE_NONE && !act.ended && T_EQ(site.pending.count, 1));
	deliver(token, 0, len);
	T_EQ(act.kind, DNS_SITE_ANSWER);
}

static void test_additional_is_left_out(void)
{
	uint64_t token;
	struct dns_msg m;
	size_t len;

	set_up();
	token = ask(WWW, DNS_TYPE_SRV, false);
	len = answer_of(0, DNS_TYPE_SRV, SRV_DATA);
	len = append(len, 9, DNS_TYPE_NS, "02 6e73 00");
	len = append(len, 11, DNS_TYPE_A, "0a000001");
	len = append(len, 11, DNS_TYPE_A, "64600001"); /* also one that would be refused */
	deliver(token, 0, len);
	T_EQ(act.kind, DNS_SITE_ANSWER);
	T_EQ(dns_msg_open(act.msg, act.len, &m), DNS_OK);
	T(m.rcode == 0 && m.counts[0] == 1 && m.counts[1] == 1 && m.counts[2] == 0);
	T_EQ(site.counters.stripped, 1);
	T_EQ(site.counters.rebinding, 0);
}

static void test_rebinding(void)
{
	for (unsigned at = 7; at <= 9; at += 2) {
		uint64_t token;
		size_t len;

		set_up();
		token = ask(WWW, DNS_TYPE_SRV, at == 9);
		len = answer_of(0, DNS_TYPE_SRV, SRV_DATA);
		len = append(len, at, DNS_TYPE_AAAA, "00000000000000000000ffff64600001");
		deliver(token, 0, len);
		T(says(DNS_SERVFAIL) && act.ended);
		T_EQ(site.counters.rebinding, 1);
	}
}

static void test_too_long(void)
{
	for (int tcp = 0; tcp < 2; tcp++) {
		uint64_t token;
		struct dns_msg m;
		size_t len;

		set_up();
		token = ask(WWW, DNS_TYPE_TXT, tcp);
		len = answer_of(0, DNS_TYPE_TXT, TXT_DATA);
		while (len <= DNS_UDP_CAP)
			len = append(len, 7, DNS_TYPE_TXT, TXT_DATA);
		deliver(token, 0, len);
		T(T_EQ(act.kind, DNS_SITE_ANSWER) && act.ended);
		T_EQ(dns_msg_open(act.msg, act.len, &m), DNS_OK);
		T(m.tc == !tcp && (tcp ? act.len == len : m.counts[0] == 0));
		T_EQ(site.counters.truncated, !tcp);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_passed_on_and_answered);
	T_RUN(test_ids_and_options_are_ours);
	T_RUN(test_who_may_ask_what);
	T_RUN(test_name_in_disguise);
	T_RUN(test_malformed);
	T_RUN(test_repeated);
	T_RUN(test_share_and_room);
	T_RUN(test_no_server);
	T_RUN(test_silent_servers);
	T_RUN(test_new_queries_avoid_the_silent_one);
	T_RUN(test_one_server_is_asked_again);
	T_RUN(test_failing_servers);
	T_RUN(test_servers_change_meanwhile);
	T_RUN(test_disbelief);
	T_RUN(test_additional_is_left_out);
	T_RUN(test_rebinding);
	T_RUN(test_too_long);
	return t_done();
}
