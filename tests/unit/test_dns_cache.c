/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache of upstream answers, through the stub resolver: what is kept, how long, for which
 * queries, when it is emptied. */
#include "tests/unit/dns_rig.h"

static const uint8_t public_ip[] = {93, 184, 216, 34};
static struct endpoint up4;

static void setup(void)
{
	rig_setup();
	up4 = rig_ep("1.1.1.1:53");
}

static size_t good_answer(void)
{
	return rig_upstream_answer(0, DNS_TYPE_A, 60, public_ip, 4);
}

static void ask_and_answer(const char *name, uint8_t rcode, uint16_t type, uint32_t ttl,
			   const void *rdata, size_t len)
{
	uint64_t token;

	rig_ask(name, DNS_TYPE_A);
	if (!T_EQ(act.kind, DNS_ACT_UPSTREAM))
		return;
	token = act.token;
	len = rig_upstream_answer(rcode, type, ttl, rdata, len);
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

static void test_cache_ages(void)
{
	struct dns_record r;
	struct dns_msg m;

	setup();
	ask_and_answer("www.example.org", 0, DNS_TYPE_A, 60, public_ip, 4);
	now += 59 * NS_PER_SEC + NS_PER_SEC / 2;
	rig_ask("WwW.example.org", DNS_TYPE_A);
	T(rig_open(&m) && dns_msg_next(&m, &r));
	T_EQ(r.ttl, 1);
	T_MEM(m.q.name.b, "\3WwW\7example\3org", 17);
	T(!act.ended);
	now += NS_PER_SEC / 2;
	rig_ask("www.example.org", DNS_TYPE_A);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	T_EQ(stub.counters.cached, 1);
	T_EQ(stub.cache.hits, 1);
}

static void test_cache_key(void)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q = rig_query("www.example.org", DNS_TYPE_A);

	setup();
	ask_and_answer("www.example.org", 0, DNS_TYPE_A, 60, public_ip, 4);
	q.cd = true;
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	q.cd = false;
	q.edns = true;
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	q.dnssec_ok = true;
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	q.edns = q.dnssec_ok = false;
	who.sentinel = stub.sentinels.list[1].sentinel; /* another resolver may disagree */
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	rig_ask("www.example.org", DNS_TYPE_AAAA);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
	rig_ask_tcp("www.example.org", DNS_TYPE_A); /* the transport does not matter */
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

static const uint8_t soa[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 30};

static void test_cache_rows(void)
{
	static const struct {
		uint8_t rcode;
		uint16_t type;
		uint32_t ttl;
		uint32_t lives; /* seconds; 0: not kept */
	} rows[] = {
		{DNS_NOERROR, DNS_TYPE_A, 60, 60},
		{DNS_NOERROR, DNS_TYPE_A, 5, 5},
		{DNS_NOERROR, DNS_TYPE_A, 4, 0},
		{DNS_NOERROR, DNS_TYPE_A, 0, 0},
		{DNS_NOERROR, DNS_TYPE_A, 0x80000000u, 0},
		{DNS_NOERROR, DNS_TYPE_A, 0x7fffffffu, DNS_CACHE_TTL_MAX},
		{DNS_SERVFAIL, DNS_TYPE_A, 60, 0},
		{DNS_REFUSED, DNS_TYPE_A, 60, 0},
		{DNS_NXDOMAIN, DNS_TYPE_SOA, 600, 30}, /* MINIMUM is less than the TTL */
		{DNS_NXDOMAIN, DNS_TYPE_SOA, 20, 20},
		{DNS_NOERROR, DNS_TYPE_SOA, 600, 30}, /* no such type */
		{DNS_SERVFAIL, DNS_TYPE_SOA, 600, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		bool is_soa = rows[i].type == DNS_TYPE_SOA;

		setup();
		ask_and_answer("www.example.org", rows[i].rcode, rows[i].type, rows[i].ttl,
			       is_soa ? soa : public_ip, is_soa ? sizeof(soa) : 4);
		T_EQ(stub.cache.stored, rows[i].lives > 0);
		if (!rows[i].lives)
			continue;
		now += rows[i].lives * NS_PER_SEC - 1;
		rig_ask("www.example.org", DNS_TYPE_A);
		T_EQ(act.kind, DNS_ACT_ANSWER);
		T_EQ(act.msg[3] & 0xf, rows[i].rcode);
		now += 1;
		rig_ask("www.example.org", DNS_TYPE_A);
		T_EQ(act.kind, DNS_ACT_UPSTREAM);
	}
}

static void test_cache_negative_without_soa_is_not_kept(void)
{
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = good_answer() - 16;
	rig_msg[3] |= DNS_NXDOMAIN;
	rig_msg[7] = 0;
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
	T_EQ(stub.cache.stored, 0);
}

static void test_cache_truncated_is_not_kept(void)
{
	uint64_t token;
	size_t len;

	setup();
	rig_ask("www.example.org", DNS_TYPE_A);
	token = act.token;
	len = good_answer();
	rig_msg[2] |= 2;
	rig_deliver(token, &up4, len);
	T_EQ(act.kind, DNS_ACT_ANSWER);
	T_EQ(stub.cache.stored, 0);
}

static void test_cache_is_flushed(void)
{
	struct endpoint again[] = {rig_ep("9.9.9.9:53"), rig_ep("1.1.1.1:53")};
	struct dns_asker who = rig_asker(false);
	struct dns_query q = rig_query("www.example.org", DNS_TYPE_A);
	struct uuid one = rig_id(1);

	setup();
	ask_and_answer("www.example.org", 0, DNS_TYPE_A, 60, public_ip, 4);
	rig_resource(4, "x.y", DNS_STACK_DUAL);
	ask_and_answer("www.example.org", 0, DNS_TYPE_A, 60, public_ip, 4);
	dns_stub_remove_resource(&stub, &one);
	ask_and_answer("www.example.org", 0, DNS_TYPE_A, 60, public_ip, 4);
	dns_stub_reset(&stub, now); /* roaming keeps it */
	rig_ask("www.example.org", DNS_TYPE_A);
	T_EQ(act.kind, DNS_ACT_ANSWER);
	T(dns_stub_set_upstreams(&stub, again, 2, NULL, 0));
	who.sentinel = stub.sentinels.list[1].sentinel;
	rig_send(&who, &q);
	T_EQ(act.kind, DNS_ACT_UPSTREAM);
}

static void test_cache_is_bounded(void)
{
	setup();
	for (int i = 0; i < 200; i++) {
		char text[32];

		snprintf(text, sizeof(text), "n%d.example.org", i);
		now += NS_PER_MS;
		ask_and_answer(text, 0, DNS_TYPE_A, 60, public_ip, 4);
	}
	T_EQ(stub.cache.stored, 200);
	T_EQ(stub.cache.evicted, 200 - 16);
	rig_ask("n199.example.org", DNS_TYPE_A);
	T_EQ(act.kind, DNS_ACT_ANSWER);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_cache_ages);
	T_RUN(test_cache_key);
	T_RUN(test_cache_rows);
	T_RUN(test_cache_negative_without_soa_is_not_kept);
	T_RUN(test_cache_truncated_is_not_kept);
	T_RUN(test_cache_is_flushed);
	T_RUN(test_cache_is_bounded);
	return t_done();
}
