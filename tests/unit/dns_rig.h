/* SPDX-License-Identifier: Apache-2.0
 *
 * A stub resolver with memory around it, and messages to feed it with. */
#ifndef PENSTOCK_TESTS_DNS_RIG_H
#define PENSTOCK_TESTS_DNS_RIG_H
#include "base/bytes.h"
#include "core/tunnel/dns_stub.h"
#include "tests/t.h"

#define RIG_NAMES   16
#define RIG_PENDING 32
#define RIG_CELLS   512
#define RIG_NOW	    (100 * NS_PER_SEC)

static struct dns_stub stub;
static struct dns_pattern rig_patterns[8];
static struct dns_assigned rig_names[RIG_NAMES];
static struct idx_cell rig_cells[RIG_CELLS];
static struct dns_pending rig_pending[RIG_PENDING];
static struct dns_cached rig_cached[16];
static uint8_t rig_msg[DNS_MSG_CAP + 1];
static struct dns_action act; /* what the last call said */
static uint64_t now;

static inline struct uuid rig_id(uint8_t n)
{
	return (struct uuid){.b = {n}};
}

static inline struct endpoint rig_ep(const char *text)
{
	struct endpoint e = {0};

	T_EQ(endpoint_parse(text, &e), 0);
	return e;
}

static inline void rig_resource(uint8_t id, const char *pattern, enum dns_stack stack)
{
	struct uuid u = rig_id(id);

	T_EQ(dns_stub_add_resource(&stub, &u, pattern, stack), 0);
}

/* Resources 1 *.example.com (dual), 2 v4.only (IPv4), 3 v6.only (IPv6); upstreams 1.1.1.1 and
 * 2606::1. */
static inline void rig_setup(void)
{
	struct dns_stub_mem mem = {.patterns = rig_patterns,
				   .names = rig_names,
				   .cells = rig_cells,
				   .pending = rig_pending,
				   .cached = rig_cached,
				   .pattern_cap = 8,
				   .name_cap = RIG_NAMES,
				   .cell_cap = RIG_CELLS,
				   .pending_cap = RIG_PENDING,
				   .cached_cap = 16};
	struct endpoint up[] = {rig_ep("1.1.1.1:53"), rig_ep("[2606::1]:53")};
	uint8_t seed[32] = {1, 2, 3};

	now = RIG_NOW;
	dns_stub_init(&stub, &mem, seed);
	rig_resource(1, "*.example.com", DNS_STACK_DUAL);
	rig_resource(2, "v4.only", DNS_STACK_V4);
	rig_resource(3, "v6.only", DNS_STACK_V6);
	T(dns_stub_set_upstreams(&stub, up, 2, NULL, 0));
}

static inline struct dns_asker rig_asker(bool tcp)
{
	return (struct dns_asker){.src = rig_ep("100.64.0.2:40000"),
				  .sentinel = ipaddr_v4(100, 100, 111, 1),
				  .tcp = tcp,
				  .conn = tcp ? 7 : 0};
}

static inline struct dns_query rig_query(const char *name, uint16_t type)
{
	struct dns_query q = {.q = {.type = type, .klass = DNS_CLASS_IN}, .id = 0x1234, .rd = true};

	T_EQ(dns_name_parse(name, &q.q.name), 0);
	return q;
}

static inline void rig_send(const struct dns_asker *who, const struct dns_query *q)
{
	uint8_t out[DNS_QUERY_CAP];
	size_t len;

	T_EQ(dns_query_encode(q, q->id, out, sizeof(out), &len), 0);
	dns_stub_query(&stub, who, out, len, &act, now);
}

static inline void rig_ask(const char *name, uint16_t type)
{
	struct dns_asker who = rig_asker(false);
	struct dns_query q = rig_query(name, type);

	rig_send(&who, &q);
}

static inline void rig_ask_tcp(const char *name, uint16_t type)
{
	struct dns_asker who = rig_asker(true);
	struct dns_query q = rig_query(name, type);

	rig_send(&who, &q);
}

/* ---- the answer of the last action ---- */
static inline bool rig_open(struct dns_msg *m)
{
	return T_EQ(act.kind, DNS_ACT_ANSWER) && T_EQ(dns_msg_open(act.msg, act.len, m), DNS_OK) &&
	       T(m->qr) && T_EQ(m->id, 0x1234);
}

static inline void rig_expect_code(enum dns_rcode code)
{
	struct dns_msg m;

	if (rig_open(&m)) {
		T_EQ(m.rcode, code);
		T_EQ(m.counts[0] + m.counts[1] + m.counts[2], 0);
	}
}

/* NOERROR with exactly these addresses ("a b c"), each with TTL 1. */
static inline void rig_expect_ips(const char *want)
{
	char got[512] = "", text[IPADDR_STRLEN];
	struct dns_record r;
	struct dns_msg m;
	struct ipaddr a;

	if (!rig_open(&m))
		return;
	T_EQ(m.rcode, DNS_NOERROR);
	while (dns_msg_next(&m, &r)) {
		size_t len = strlen(got);

		T_EQ(r.ttl, 1);
		T(dns_name_eq(&r.owner, &m.q.name));
		T(dns_record_address(&r, 0, &a));
		snprintf(got + len, sizeof(got) - len, "%s%s", len ? " " : "",
			 ipaddr_fmt(&a, text));
	}
	T_STR(got, want);
}

/* ---- what upstream says ---- */
/* The upstream's answer to the query of the last action, one record, into rig_msg. */
static inline size_t rig_upstream_answer(uint8_t rcode, uint16_t type, uint32_t ttl,
					 const void *rdata, size_t rdata_len)
{
	struct wbuf w = wbuf_init(rig_msg, sizeof(rig_msg));
	struct dns_msg m;

	if (!T_EQ(dns_msg_open(act.msg, act.len, &m), DNS_OK))
		return 0;
	wbuf_put(&w, act.msg, m.records);
	wbuf_be16(&w, 0xc00c);
	wbuf_be16(&w, type);
	wbuf_be16(&w, DNS_CLASS_IN);
	wbuf_be32(&w, ttl);
	wbuf_be16(&w, (uint16_t)rdata_len);
	wbuf_put(&w, rdata, rdata_len);
	rig_msg[2] = 0x81;
	rig_msg[3] = (uint8_t)(0x80 | rcode);
	memset(rig_msg + 6, 0, 6);
	rig_msg[type == DNS_TYPE_SOA ? 9 : 7] = 1;
	return wbuf_len(&w);
}

/* Hands what is in rig_msg to the query of token, from where it went. */
static inline void rig_deliver(uint64_t token, const struct endpoint *from, size_t len)
{
	dns_stub_answer(&stub, token, from, rig_msg, len, &act, now);
}
#endif
