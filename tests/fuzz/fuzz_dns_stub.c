/* SPDX-License-Identifier: Apache-2.0
 *
 * A session of the stub resolver with hostile applications and upstreams. The input is a list of
 * steps (a byte each says what, more bytes say with what): queries, raw or made; answers, raw or
 * made from the query that waits, from right and wrong places; gateways that come; failures; time;
 * resources and upstreams that change.
 *
 * Held against plain bookkeeping: every token is given out once and ends once, no more wait than
 * there is room for, everything has ended after its time, what is said to applications is a well
 * formed answer to what they asked, and no address of the tunnel's ranges is said but for a name
 * that the stub itself assigned it to. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "core/tunnel/dns_stub.h"
#include "core/tunnel/tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAMES	4
#define PENDING 4
#define CELLS	128

static struct dns_stub stub;
static struct dns_pattern patterns[3];
static struct dns_assigned names[NAMES];
static struct idx_cell cells[CELLS];
static struct dns_pending pending[PENDING];
static struct dns_cached cached[2 * DNS_CACHE_WAYS];

/* What waits, as the shell knows it. */
static struct wait {
	uint64_t token;
	struct endpoint upstream;
	uint8_t msg[DNS_QUERY_CAP];
	size_t len;
} waits[PENDING];
static struct dns_action act;
static uint64_t now;

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

static void setup(void)
{
	static const uint8_t seed[32] = {9};
	struct dns_stub_mem mem = {.patterns = patterns,
				   .names = names,
				   .cells = cells,
				   .pending = pending,
				   .cached = cached,
				   .pattern_cap = 3,
				   .name_cap = NAMES,
				   .cell_cap = CELLS,
				   .pending_cap = PENDING,
				   .cached_cap = 2 * DNS_CACHE_WAYS};
	struct endpoint up = {.ip = ipaddr_v4(1, 1, 1, 1), .port = 53};
	struct uuid one = {.b = {1}};

	memset(waits, 0, sizeof(waits));
	now = NS_PER_SEC;
	dns_stub_init(&stub, &mem, seed);
	require(!dns_stub_add_resource(&stub, &one, "**.x", DNS_STACK_DUAL));
	require(dns_stub_set_upstreams(&stub, &up, 1, NULL, 0));
}

static struct dns_asker asker(uint8_t knob)
{
	return (struct dns_asker){.src = {.ip = ipaddr_v4(100, 64, 0, 2), .port = knob & 3},
				  .sentinel = stub.sentinels.count ? stub.sentinels.list[0].sentinel
								   : ipaddr_v4(100, 100, 111, 9),
				  .tcp = knob & 4,
				  .conn = knob & 4 ? knob & 3 : 0,
				  .local_only = (knob & 0x38) == 0x38};
}

/* An address of the tunnel's may be said only for the name it belongs to. */
static void check_address(const struct dns_msg *m, const struct ipaddr *a)
{
	const struct dns_assigned *e;
	char text[DNS_TEXT_CAP];
	struct dns_name name;

	if (!tunnel_in_reserved_range(a))
		return;
	e = dns_names_at(&stub.names, dns_names_by_address(&stub.names, a));
	require(e && !dns_name_text(&m->q.name, text));
	require(!dns_name_parse(e->domain, &name) && dns_name_eq(&name, &m->q.name));
}

static void check_answer(void)
{
	struct dns_record r;
	struct dns_msg m;
	struct ipaddr a;

	require(act.len <= (act.asker.tcp ? DNS_MSG_CAP : DNS_UDP_CAP));
	require(dns_msg_open(act.msg, act.len, &m) == DNS_OK && m.qr && m.question_count == 1);
	while (dns_msg_next(&m, &r))
		for (uint32_t n = 0; dns_record_address(&r, n, &a); n++)
			check_address(&m, &a);
}

static void upstream_step(void)
{
	struct wait *w = wait_of(act.token);
	struct dns_query q;

	require(w && act.len <= DNS_QUERY_CAP);
	require(dns_query_parse(act.msg, act.len, &q) == DNS_OK);
	if (act.again) {
		require(w->len == act.len && !memcmp(w->msg, act.msg, act.len));
		return;
	}
	require(!w->len);
	memcpy(w->msg, act.msg, act.len);
	w->len = act.len;
	w->upstream = act.upstream;
}

/* Bookkeeping of what an action says. */
static void follow(void)
{
	bool fresh = act.kind == DNS_ACT_IN_SITE ||
		     (act.kind == DNS_ACT_UPSTREAM && !act.again && !wait_of(act.token));

	if (fresh) {
		struct wait *w = wait_of(0);

		require(w && act.token);
		*w = (struct wait){.token = act.token};
	}
	if (act.kind == DNS_ACT_UPSTREAM)
		upstream_step();
	if (act.kind == DNS_ACT_ANSWER)
		check_answer();
	if (act.ended) {
		struct wait *w = wait_of(act.token);

		require(w && act.token);
		*w = (struct wait){0};
	}
}

/* ---- steps ---- */
static const char *const asked[] = {"a.x", "b.x", "www.org", "1.0.96.100.in-addr.arpa"};
static const uint16_t types[] = {DNS_TYPE_A,  DNS_TYPE_AAAA, DNS_TYPE_TXT,   DNS_TYPE_SRV,
				 DNS_TYPE_MX, DNS_TYPE_PTR,  DNS_TYPE_HTTPS, DNS_TYPE_ANY};

static void step_query(uint8_t knob)
{
	struct dns_query q = {.id = knob >> 6, .rd = true, .edns = knob & 0x20};
	uint8_t msg[DNS_QUERY_CAP];
	struct dns_asker who = asker(knob);
	size_t len;

	require(!dns_name_parse(asked[knob & 3], &q.q.name));
	q.q.type = types[knob >> 2 & 7];
	q.q.klass = DNS_CLASS_IN;
	require(!dns_query_encode(&q, q.id, msg, sizeof(msg), &len));
	dns_stub_query(&stub, &who, msg, len, &act, now);
}

static void step_raw_query(uint8_t knob, struct rbuf *r)
{
	struct dns_asker who = asker(knob);
	uint8_t len = rbuf_u8(r);
	const uint8_t *p = rbuf_take(r, len);

	if (p)
		dns_stub_query(&stub, &who, p, len, &act, now);
}

/* The question of a query that waits with whatever comes behind it. */
static void step_answer(uint8_t knob, struct rbuf *r)
{
	static uint8_t msg[DNS_QUERY_CAP + 300];
	struct wait *w = &waits[knob & 3];
	struct endpoint from = w->upstream;
	uint8_t counts = rbuf_u8(r), flags = rbuf_u8(r), len = rbuf_u8(r);
	const uint8_t *tail = rbuf_take(r, len);
	size_t head = w->len;

	if (!tail)
		return;
	if (w->len && msg != w->msg)
		memcpy(msg, w->msg, w->len);
	else
		memset(msg, 0, head = DNS_HEADER_LEN);
	if (be16_get(msg + 10))
		head -= 11; /* its OPT */
	memcpy(msg + head, tail, len);
	msg[2] |= 0x80;
	msg[3] = flags & 0xf;
	msg[2] |= flags >> 4 & 2;
	memset(msg + 6, 0, 6);
	msg[7] = counts & 7;
	msg[9] = counts >> 3 & 3;
	msg[11] = counts >> 5;
	if (knob & 0x10)
		from.port++;
	if (knob & 0x20)
		msg[0] ^= 1;
	dns_stub_answer(&stub, w->token ^ (knob & 0x40 ? 1ull << 32 : 0), &from, msg, head + len,
			&act, now);
	if (knob & 0x70)
		require(!act.ended || (w->token ^ act.token));
}

static void step_time(uint8_t knob)
{
	now += (uint64_t)(knob & 7) * NS_PER_SEC;
	while (dns_stub_timeout(&stub, &act, now))
		follow();
	require(dns_stub_deadline(&stub).at > now);
}

static void step_change(uint8_t knob)
{
	struct endpoint up = {.ip = ipaddr_v4(1, 1, 1, knob & 3), .port = 53};
	struct uuid id = {.b = {(uint8_t)(1 + (knob & 1))}};

	switch (knob >> 2 & 3) {
	case 0:
		(void)dns_stub_add_resource(&stub, &id, knob & 0x10 ? "*.x" : "b.x",
					    (enum dns_stack)((knob >> 5) % 3));
		break;
	case 1:
		dns_stub_remove_resource(&stub, &id);
		break;
	case 2:
		(void)dns_stub_set_upstreams(&stub, &up, knob >> 4 & 1, NULL, 0);
		break;
	default:
		dns_stub_reset(&stub, now);
		break;
	}
}

static void step(uint8_t what, uint8_t knob, struct rbuf *r)
{
	struct ipaddr gateway = ipaddr_v4(100, 64, 0, 9);

	act = (struct dns_action){0};
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
		if (knob & 0x80)
			dns_stub_failed(&stub, waits[knob & 3].token, &act);
		else
			dns_stub_in_site(&stub, waits[knob & 3].token, &gateway, &act);
		break;
	case 6:
		step_time(knob);
		act = (struct dns_action){0};
		break;
	default:
		step_change(knob);
		break;
	}
	follow();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rbuf r = rbuf_init(data, size);

	setup();
	while (rbuf_left(&r) >= 2 && !r.bad) {
		uint8_t what = rbuf_u8(&r), knob = rbuf_u8(&r);
		uint32_t waiting = 0;

		step(what, knob, &r);
		for (int i = 0; i < PENDING; i++)
			waiting += waits[i].token != 0;
		require(waiting == stub.pending.count);
	}
	now += DNS_PENDING_NS;
	while (dns_stub_timeout(&stub, &act, now))
		follow();
	require(!stub.pending.count && !wait_of(0)->len);
	return 0;
}
