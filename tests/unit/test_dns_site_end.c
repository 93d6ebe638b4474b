/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's resolver when a client's right to the answer, its address or its connection ends
 * while the query waits. */
#include "tests/unit/dns_site_rig.h"

static void by_reject(void)
{
	struct uuid client = id_of(1), resource = id_of(20);

	tgw_reject(&gw, &client, &resource, now);
}

static void by_expiry(void)
{
	struct uuid client = id_of(1), resource = id_of(20);

	T_EQ(tgw_expiry_update(&gw, &client, &resource, unix_now + 1), 0);
	unix_now++; /* no sweep needed */
}

static void by_retain(void)
{
	tgw_retain(&gw, NULL, 0, now);
}

static void by_other_pattern(void)
{
	struct tunnel_resource other = dns(20, "*.else.test");

	authorize(1, &other);
}

static void (*const endings[])(void) = {by_reject, by_expiry, by_retain, by_other_pattern};
#define ENDINGS (sizeof(endings) / sizeof(*endings))

/* However it ended and whatever comes then, nothing of the site's is said any more. */
static void test_withdrawn(void)
{
	for (size_t i = 0; i < 3 * ENDINGS; i++) {
		uint64_t token;
		size_t len;

		set_up();
		token = ask(WWW, DNS_TYPE_TXT, false);
		len = answer_of(0, DNS_TYPE_TXT, TXT_DATA);
		endings[i % ENDINGS]();
		if (i < ENDINGS) {
			deliver(token, 0, len);
		} else if (i < 2 * ENDINGS) {
			dns_site_failed(&site, &gw, token, unix_now, &act, now);
		} else {
			now += DNS_SITE_TRY_NS;
			T(dns_site_timeout(&site, &gw, unix_now, &act, now));
		}
		if (!says(DNS_REFUSED) || !T(act.ended) || !T_EQ(site.pending.count, 0))
			t_note("ending %zu", i);
		T_EQ(site.counters.withdrawn, 1);
		ask(WWW, DNS_TYPE_TXT, false);
		says(DNS_REFUSED);
	}
}

/* Its address is somebody else's by the time of the answer, who holds the same resource: it is
 * not theirs either. */
static void test_address_of_another(void)
{
	struct tunnel_resource corp = dns(20, "*.corp.test");
	struct tgw_authorization a = {
		.client = id_of(3), .resource = &corp, .expires_at = TUNNEL_NEVER_EXPIRES};
	uint64_t token;
	uint32_t slot;
	size_t len;

	set_up();
	token = ask(WWW, DNS_TYPE_TXT, true);
	len = answer_of(0, DNS_TYPE_TXT, TXT_DATA);
	by_reject();
	a.tun4 = pkt_ip(C1);
	a.tun6 = pkt_ip(C1V6);
	T_EQ(tgw_authorize(&gw, &a, &slot, now), 0);
	drain();
	T(tgw_may_ask(&gw, &a.tun4, WWW, unix_now) != TUNNEL_NO_SLOT);
	deliver(token, 0, len);
	T(act.kind == DNS_SITE_NONE && act.ended && T_EQ(act.token, token));
	T_EQ(site.counters.withdrawn, 1);
}

static void test_connection_gone(void)
{
	uint64_t a, b;

	set_up();
	a = ask(WWW, DNS_TYPE_TXT, true);
	b = ask("b.corp.test", DNS_TYPE_TXT, true);
	ask(WWW, DNS_TYPE_SRV, false);
	T(!dns_site_conn_gone(&site, 8, &act));
	T(dns_site_conn_gone(&site, 7, &act) && act.ended && act.kind == DNS_SITE_NONE);
	T_EQ(act.token, a);
	T(dns_site_conn_gone(&site, 7, &act));
	T_EQ(act.token, b);
	T(!dns_site_conn_gone(&site, 7, &act));
	T_EQ(site.pending.count, 1);
	T_EQ(site.counters.orphaned, 2);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_withdrawn);
	T_RUN(test_address_of_another);
	T_RUN(test_connection_gone);
	return t_done();
}
