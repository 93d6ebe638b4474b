/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS messages from anybody. Checked besides memory safety: an accepted message is read to its end
 * with as many records as it counts, names stay within their limits and survive the way through
 * text, a query that was read is read again from what is written of it, truncation and ageing leave
 * a message that is accepted. */
#include <stdlib.h>
#include <string.h>
#include "codec/dns_msg.h"
#include "core/tunnel/dns_cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_name(const struct dns_name *n)
{
	char text[DNS_TEXT_CAP];
	struct dns_name again;
	struct ipaddr a;
	size_t at = 0;

	require(n->len > 0);
	while (n->b[at]) {
		require(n->b[at] < 64);
		at += 1u + n->b[at];
		require(at < n->len);
	}
	require(at + 1 == n->len);
	if (!dns_name_text(n, text)) {
		require(strlen(text) < 254);
		require(!dns_name_parse(n->len == 1 ? "." : text, &again));
		require(again.len == n->len && !memcmp(again.b, n->b, n->len));
	}
	if (!dns_name_reverse(n, &a))
		require(a.family == 4 || a.family == 6);
}

static void check_records(struct dns_msg *m)
{
	unsigned want = (unsigned)m->counts[0] + m->counts[1] + m->counts[2], got = 0;
	struct dns_record r;
	struct ipaddr a;

	while (dns_msg_next(m, &r)) {
		got++;
		check_name(&r.owner);
		require(r.rdata >= m->p && (size_t)(r.rdata - m->p) + r.rdata_len <= m->len);
		require(r.ttl_off + 4 <= m->len);
		for (uint32_t n = 0; dns_record_address(&r, n, &a); n++)
			require((a.family == 4 || a.family == 6) && n < 20000);
		(void)dns_record_soa_minimum(&r);
	}
	require(got == want && m->pos == m->len);
	dns_msg_rewind(m);
}

static void check_query(const uint8_t *data, size_t size)
{
	uint8_t out[DNS_QUERY_CAP], reply[DNS_UDP_CAP];
	struct ipaddr ips[3] = {ipaddr_v4(1, 2, 3, 4), ipaddr_v4(1, 2, 3, 5),
				ipaddr_v4(1, 2, 3, 6)};
	struct dns_reply say = {.ttl = 1, .ips = ips, .ip_count = 3};
	struct dns_query q, again;
	struct dns_msg m;
	size_t len;

	if (dns_query_parse(data, size, &q) != DNS_OK)
		return;
	check_name(&q.q.name);
	require(!dns_query_encode(&q, q.id, out, sizeof(out), &len));
	require(dns_query_parse(out, len, &again) == DNS_OK);
	require(again.id == q.id && again.edns == q.edns && dns_question_eq(&again.q, &q.q));
	require(!dns_reply_encode(&q, &say, reply, sizeof(reply), &len));
	require(dns_msg_open(reply, len, &m) == DNS_OK && m.qr && m.counts[DNS_ANSWER] == 3);
	check_records(&m);
}

static void check_cache(struct dns_msg *m)
{
	static struct dns_cached slots[DNS_CACHE_WAYS];
	static uint8_t out[DNS_CACHE_MSG_CAP];
	struct endpoint up = {.ip = ipaddr_v4(1, 1, 1, 1), .port = 53};
	struct dns_query q = {.q = m->q, .id = 7};
	struct dns_cache c;
	struct dns_msg again;
	size_t len;

	if (m->question_count != 1)
		return;
	dns_cache_init(&c, slots, DNS_CACHE_WAYS, 1);
	dns_cache_put(&c, &up, &q, m, NS_PER_SEC);
	len = dns_cache_get(&c, &up, &q, out, 4 * NS_PER_SEC);
	require(len == 0 || len == m->len);
	if (len)
		require(dns_msg_open(out, len, &again) == DNS_OK && again.id == 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t copy[DNS_MSG_CAP];
	struct dns_msg m, cut;

	if (size > DNS_MSG_CAP)
		return 0;
	check_query(data, size);
	if (dns_msg_open(data, size, &m) != DNS_OK)
		return 0;
	check_records(&m);
	check_cache(&m);
	if (size)
		memcpy(copy, data, size);
	require(dns_msg_open(copy, dns_msg_truncate(&m, copy), &cut) == DNS_OK);
	require(cut.tc && cut.question_count == m.question_count);
	return 0;
}
