/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's resolver over the gateway policy of tests/tgw_world.h, and messages to feed it
 * with. */
#ifndef PENSTOCK_TESTS_DNS_SITE_RIG_H
#define PENSTOCK_TESTS_DNS_SITE_RIG_H
#include "base/bytes.h"
#include "core/tunnel/dns_site.h"
#include "tests/tgw_dns_rig.h"

#define PENDING (DNS_SITE_CLIENT_MAX + 20)
#define WWW	"www.corp.test"

static struct dns_pending pending[PENDING];
static struct dns_site_try tries[PENDING];
static struct dns_site site;
static struct dns_site_action act; /* what the last call said */
static struct endpoint server[2];
static uint8_t msg[DNS_MSG_CAP + 1];
static uint32_t slot1;

/* Client 1 holds *.corp.test, client 2 a network; name servers 10.0.0.53 and fd00::53. */
static inline void set_up(void)
{
	const struct dns_site_mem mem = {pending, tries, PENDING};
	static const uint8_t seed[32] = {7};
	struct tunnel_resource corp = dns(20, "*.corp.test"), net = cidr(21, "10.0.0.0/8");

	setup();
	slot1 = authorize(1, &corp);
	authorize(2, &net);
	server[0] = (struct endpoint){.ip = pkt_ip("10.0.0.53"), .port = 53};
	server[1] = (struct endpoint){.ip = pkt_ip("fd00::53"), .port = 53};
	dns_site_init(&site, &mem, seed);
	dns_site_set_servers(&site, server, 2);
}

static inline struct dns_asker asker(const char *src, bool tcp)
{
	return (struct dns_asker){.src = {.ip = pkt_ip(src), .port = 40000},
				  .sentinel = pkt_ip(OWN),
				  .conn = tcp ? 7 : 0,
				  .tcp = tcp};
}

static inline struct dns_query query(const char *name, uint16_t type)
{
	struct dns_query q = {.q = {.type = type, .klass = DNS_CLASS_IN}, .id = 0x1234, .rd = true};

	T_EQ(dns_name_parse(name, &q.q.name), 0);
	return q;
}

static inline void send_query(const struct dns_asker *who, const struct dns_query *q)
{
	uint8_t out[DNS_QUERY_CAP];
	size_t len;

	T_EQ(dns_query_encode(q, q->id, out, sizeof(out), &len), 0);
	dns_site_query(&site, &gw, who, out, len, unix_now, &act, now);
}

/* As client 1; the token of the query if it is passed on. */
static inline uint64_t ask(const char *name, uint16_t type, bool tcp)
{
	struct dns_asker who = asker(C1, tcp);
	struct dns_query q = query(name, type);

	send_query(&who, &q);
	return act.kind == DNS_SITE_ASK ? act.token : 0;
}

/* The last action says this code to the asker and nothing more. */
static inline bool says(enum dns_rcode code)
{
	struct dns_msg m;

	return T_EQ(act.kind, DNS_SITE_ANSWER) &&
	       T_EQ(dns_msg_open(act.msg, act.len, &m), DNS_OK) && T(m.qr) && T_EQ(m.id, 0x1234) &&
	       T_EQ(m.rcode, code) && T_EQ(m.counts[0] + m.counts[1] + m.counts[2], 0);
}

static inline bool asks(uint32_t which, bool again)
{
	return T_EQ(act.kind, DNS_SITE_ASK) && T(endpoint_eq(&act.server, &server[which])) &&
	       T_EQ(act.again, again);
}

static inline void put_record(struct wbuf *w, uint16_t type, const char *rdata_hex)
{
	uint8_t rdata[256];
	size_t len = t_unhex(rdata_hex, rdata, sizeof(rdata));

	wbuf_be16(w, 0xc00c);
	wbuf_be16(w, type);
	wbuf_be16(w, DNS_CLASS_IN);
	wbuf_be32(w, 60);
	wbuf_be16(w, (uint16_t)len);
	wbuf_put(w, rdata, len);
}

/* A server's answer to what the last action asks, with one record or none, into msg. */
static inline size_t answer_of(uint8_t rcode, uint16_t type, const char *rdata_hex)
{
	struct wbuf w = wbuf_init(msg, sizeof(msg));
	struct dns_msg m;

	if (!T_EQ(dns_msg_open(act.msg, act.len, &m), DNS_OK))
		return 0;
	wbuf_put(&w, act.msg, m.records);
	if (rdata_hex)
		put_record(&w, type, rdata_hex);
	msg[2] |= 0x80;
	msg[3] = rcode;
	memset(msg + 6, 0, 6);
	msg[7] = rdata_hex != NULL;
	return wbuf_len(&w);
}

static inline size_t append(size_t len, unsigned count_at, uint16_t type, const char *rdata_hex)
{
	struct wbuf w = wbuf_init(msg + len, sizeof(msg) - len);

	put_record(&w, type, rdata_hex);
	msg[count_at]++;
	return len + wbuf_len(&w);
}

static inline void deliver(uint64_t token, uint32_t from, size_t len)
{
	dns_site_answer(&site, &gw, token, &server[from], msg, len, unix_now, &act, now);
}

#define SRV_DATA "0001 0002 01bb 04 686f7374 00"
#define TXT_DATA "03 616263"
#endif
