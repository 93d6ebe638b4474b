/* SPDX-License-Identifier: Apache-2.0
 *
 * A session of the gateway's resolver with hostile clients and name servers. The input is a list of
 * steps: queries, raw or made, of clients and others; answers, raw or made from the query that
 * waits, from right and wrong servers; failures, lost connections, time; grants and name servers
 * that come and go.
 *
 * Held against plain bookkeeping: every token is given out once and ends once, a new socket is
 * asked for when the server is another one and only then, nobody waits longer than all tries take,
 * what is asked is SRV or TXT of a name the client holds, and what is said is a well formed answer:
 * with contents only to whom holds the name now, the same client as asked, without additional
 * records and without addresses of the tunnel's ranges. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "core/tunnel/dns_rebind.h"
#include "core/tunnel/dns_site.h"
#include "core/tunnel/tunnel.h"
#include "tests/tgw_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PENDING	 4
#define STEP_MAX (3100 * NS_PER_MS) /* how late time may be noticed */

static struct tgw gw;
TGW_MEM_STATIC(4, 4, 8, 1, 128, 8, 2, 32)
static struct dns_site site;
static struct dns_pending pending[PENDING];
static struct dns_site_try tries[PENDING];

/* What waits, as the shell knows it. */
static struct wait {
	uint64_t token, since;
	struct uuid client;
	struct endpoint server;
	uint8_t msg[DNS_QUERY_CAP];
	size_t len;
} waits[PENDING];
static struct dns_site_action act;
static uint64_t now, unix_now;

static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct wait *wait_of(uint64_t token)
{
	for (int i = 0; i < PENDING; i++)
		if (waits[i].token == token)
			return &waits[i];
	return NULL;
}

static struct endpoint server(uint8_t n)
{
	return (struct endpoint){.ip = ipaddr_v4(10, 0, 0, n), .port = 53};
}

/* ---- grants ---- */
static const char *const patterns[] = {"**.x", "*.x", "b.x"};

/* Client 1 or 2; address 1 or 2, so that one may get what was the other's. */
static void grant(uint8_t client, uint8_t address, uint8_t pattern, uint64_t expires)
{
	struct tunnel_resource r = {.id = {.b = {pattern + 1}}, .type = TUNNEL_RESOURCE_DNS};
	struct tgw_authorization a = {.client = {.b = {client}},
				      .tun4 = ipaddr_v4(100, 64, 0, address),
				      .tun6 = {.family = 6, .b = {0xfd, [15] = address}},
				      .resource = &r,
				      .expires_at = expires};
	uint32_t slot;

	tunnel_text_copy(r.address, sizeof(r.address), patterns[pattern]);
	(void)tgw_authorize(&gw, &a, &slot, now);
}

static void setup(void)
{
	struct tgw_mem mem = tgw_mem_static();
	const struct dns_site_mem site_mem = {pending, tries, PENDING};
	struct endpoint list[2] = {server(1), server(2)};
	static const uint8_t seed[32] = {9};

	memset(waits, 0, sizeof(waits));
	now = NS_PER_SEC;
	unix_now = 1900000000;
	mem.cell_cap = tgw_cells_for(&mem);
	require(mem.cell_cap <= 128 && idx_cap_for(8) <= 32);
	tgw_init(&gw, &mem, 1);
	dns_site_init(&site, &site_mem, seed);
	dns_site_set_servers(&site, list, 2);
	grant(1, 1, 0, TUNNEL_NEVER_EXPIRES);
}

/* ---- bookkeeping ---- */
static struct uuid client_at(const struct ipaddr *tun)
{
	const struct tgw_client *c = tgw_client_at(&gw, tgw_find_address(&gw, tun));

	return c ? c->id : (struct uuid){{0}};
}

static void check_answer(void)
{
	char text[DNS_TEXT_CAP];
	const struct wait *w;
	struct uuid client;
	struct dns_msg m;

	require(act.len <= (act.asker.tcp ? DNS_MSG_CAP : DNS_UDP_CAP));
	require(dns_msg_open(act.msg, act.len, &m) == DNS_OK && m.qr && m.question_count == 1);
	require(!m.counts[DNS_ADDITIONAL] && !dns_rebind_found(&m));
	if (!m.counts[DNS_ANSWER] && !m.counts[DNS_AUTHORITY] && m.rcode != DNS_NOERROR &&
	    m.rcode != DNS_NXDOMAIN)
		return;
	require(act.ended && !dns_name_text(&m.q.name, text));
	require(tgw_may_ask(&gw, &act.asker.src.ip, text, unix_now) != TUNNEL_NO_SLOT);
	client = client_at(&act.asker.src.ip);
	w = wait_of(act.token);
	require(w && uuid_eq(&w->client, &client));
}

static void ask_step(const struct dns_asker *who)
{
	struct wait *w = wait_of(act.token);
	struct dns_query q;
	char text[DNS_TEXT_CAP];

	require(act.token && act.len <= DNS_QUERY_CAP);
	require(dns_query_parse(act.msg, act.len, &q) == DNS_OK && !dns_name_text(&q.q.name, text));
	require((q.q.type == DNS_TYPE_SRV || q.q.type == DNS_TYPE_TXT) && q.opcode == 0);
	if (!w) {
		require(who && !act.again && (w = wait_of(0)));
		require(tgw_may_ask(&gw, &who->src.ip, text, unix_now) != TUNNEL_NO_SLOT);
		*w = (struct wait){
			.token = act.token, .since = now, .client = client_at(&who->src.ip)};
	} else {
		require(act.again == endpoint_eq(&w->server, &act.server));
		require(!act.again || (w->len == act.len && !memcmp(w->msg, act.msg, act.len)));
	}
	memcpy(w->msg, act.msg, act.len);
	w->len = act.len;
	w->server = act.server;
}

static void follow(const struct dns_asker *who)
{
	struct wait *w;

	if (act.kind == DNS_SITE_ASK)
		ask_step(who);
	if (act.kind == DNS_SITE_ANSWER)
		check_answer();
	if (!act.ended)
		return;
	w = wait_of(act.token);
	require(w && act.token && act.kind != DNS_SITE_ASK);
	*w = (struct wait){0};
}

/* ---- steps ---- */
static struct dns_asker asker(uint8_t knob)
{
	return (struct dns_asker){
		.src = {.ip = ipaddr_v4(100, 64, 0, (uint8_t)(1 + (knob & 1) + (knob == 0xff))),
			.port = knob >> 1 & 1},
		.sentinel = ipaddr_v4(100, 64, 0, 9),
		.conn = knob & 4 ? 1 : 0,
		.tcp = knob & 4};
}

static void step_query(uint8_t knob)
{
	static const char *const names[] = {"a.x", "b.x", "a.b.x", "www.org"};
	static const uint16_t types[] = {DNS_TYPE_TXT, DNS_TYPE_SRV, DNS_TYPE_TXT, DNS_TYPE_A};
	struct dns_query q = {.id = knob >> 7, .rd = true, .edns = knob & 0x40};
	struct dns_asker who = asker(knob);
	uint8_t msg[DNS_QUERY_CAP];
	size_t len;

	require(!dns_name_parse(names[knob >> 3 & 3], &q.q.name));
	q.q.type = types[knob >> 5 & 3];
	q.q.klass = DNS_CLASS_IN;
	require(!dns_query_encode(&q, q.id, msg, sizeof(msg), &len));
	dns_site_query(&site, &gw, &who, msg, len, unix_now, &act, now);
	follow(&who);
}

static void step_raw_query(uint8_t knob, struct rbuf *r)
{
	struct dns_asker who = asker(knob);
	uint8_t len = rbuf_u8(r);
	const uint8_t *p = rbuf_take(r, len);

	if (!p)
		return;
	dns_site_query(&site, &gw, &who, p, len, unix_now, &act, now);
	follow(&who);
}

/* The question of a query that waits with whatever comes behind it. */
static void step_answer(uint8_t knob, struct rbuf *r)
{
	static uint8_t msg[DNS_QUERY_CAP + 300];
	struct wait *w = &waits[knob & 3];
	struct endpoint from = w->server;
	uint8_t counts = rbuf_u8(r), flags = rbuf_u8(r), len = rbuf_u8(r);
	const uint8_t *tail = rbuf_take(r, len);
	size_t head = w->len;

	if (!tail || !head)
		return;
	memcpy(msg, w->msg, head);
	if (be16_get(msg + 10))
		head -= 11; /* its OPT */
	memcpy(msg + head, tail, len);
	msg[2] |= 0x80;
	msg[3] = flags & 0xf;
	memset(msg + 6, 0, 6);
	msg[7] = counts & 7;
	msg[9] = counts >> 3 & 3;
	msg[11] = counts >> 5;
	from.port = (uint16_t)(from.port + (knob >> 4 & 1));
	msg[0] ^= knob & 0x20 ? 1 : 0;
	dns_site_answer(&site, &gw, w->token ^ (knob & 0x40 ? 1ull << 32 : 0), &from, msg,
			head + len, unix_now, &act, now);
	require(!(knob & 0x70) || act.kind == DNS_SITE_NONE);
	follow(NULL);
}

/* The socket of one that waits is gone, or the connection of its asker. */
static void step_lost(uint8_t knob)
{
	struct wait *w = &waits[knob & 3];

	if (knob & 0x80) {
		while (dns_site_conn_gone(&site, 1, &act))
			follow(NULL);
		return;
	}
	dns_site_failed(&site, &gw, w->token, unix_now, &act, now);
	follow(NULL);
}

static void step_time(uint8_t knob)
{
	now += (uint64_t)(knob & 31) * (100 * NS_PER_MS);
	unix_now += knob & 31 ? 1 : 0;
	tgw_timeout(&gw, unix_now, now);
	while (dns_site_timeout(&site, &gw, unix_now, &act, now))
		follow(NULL);
	require(dns_site_deadline(&site).at > now);
}

static void step_change(uint8_t knob)
{
	struct endpoint list[3] = {server(knob & 3), server(2), server(3)};
	struct uuid client = {.b = {(uint8_t)(1 + (knob >> 2 & 1))}};
	struct uuid resource = {.b = {(uint8_t)(1 + (knob >> 3) % 3)}};
	struct tgw_event e;

	switch (knob & 3) {
	case 0:
		dns_site_set_servers(&site, list, knob >> 2 & 3);
		break;
	case 1:
		tgw_reject(&gw, &client, &resource, now);
		break;
	default:
		grant(client.b[0], (uint8_t)(1 + (knob >> 6 & 1)), (uint8_t)((knob >> 3) % 3),
		      knob & 0x80 ? unix_now + 2 : TUNNEL_NEVER_EXPIRES);
		break;
	}
	while (tgw_poll_event(&gw, &e))
		;
}

static void step(uint8_t what, uint8_t knob, struct rbuf *r)
{
	act = (struct dns_site_action){0};
	switch (what & 7) {
	case 0:
	case 1:
		step_query(knob);
		break;
	case 2:
		step_raw_query(knob, r);
		break;
	case 3:
	case 4:
		step_answer(knob, r);
		break;
	case 5:
		step_lost(knob);
		break;
	case 6:
		step_time(knob);
		break;
	default:
		step_change(knob);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rbuf r = rbuf_init(data, size);

	setup();
	while (rbuf_left(&r) >= 2 && !r.bad) {
		uint8_t what = rbuf_u8(&r), knob = rbuf_u8(&r);
		uint32_t waiting = 0;

		step(what, knob, &r);
		for (int i = 0; i < PENDING; i++) {
			waiting += waits[i].token != 0;
			require(!waits[i].token ||
				now - waits[i].since <
					DNS_SITE_TRIES * 2 * DNS_SITE_TRY_NS + 4 * NS_PER_SEC);
		}
		require(waiting == site.pending.count);
	}
	for (int i = 0; i < DNS_SITE_TRIES; i++) {
		now += DNS_SITE_TRY_NS;
		while (dns_site_timeout(&site, &gw, unix_now, &act, now))
			follow(NULL);
	}
	require(!site.pending.count);
	return 0;
}
