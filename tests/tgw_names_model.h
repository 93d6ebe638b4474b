/* SPDX-License-Identifier: Apache-2.0
 *
 * What names, proxy addresses and sessions of a gateway's clients should be, as flat arrays: for
 * tests/unit/test_tgw_oracle.c. Resources N_FIRST and N_FIRST + 1 are DNS resources with a pattern
 * for each of their two versions. */
#ifndef PENSTOCK_TESTS_TGW_NAMES_MODEL_H
#define PENSTOCK_TESTS_TGW_NAMES_MODEL_H
#include <strings.h>
#include "core/tunnel/gateway.h"
#include "tests/pkt.h"
#include "tests/t.h"

enum {
	N_CLIENTS = 9,
	N_FIRST = 6,
	N_RESOURCES = 2,
	N_VERSIONS = 2,
	N_NAMES = 4,
	N_PROXIES = 4, /* three IPv4, one IPv6 */
	N_REALS = 4,   /* likewise */
	N_KINDS = 3,
	N_PORTS = 2,
	N_PORT = 7000, /* the client's first port */
	N_NO_REAL = -1,
};

static const char *const n_patterns[N_RESOURCES][N_VERSIONS] = {{"*.x.test", "**.test"},
								{"n1.x.test", "*.y.test"}};
static const char *const n_names[N_NAMES] = {"n0.x.test", "n1.x.test", "n0.y.test", "N1.y.test"};
static const bool n_matches[N_RESOURCES][N_VERSIONS][N_NAMES] = {
	{{true, true}, {true, true, true, true}}, {{false, true}, {false, false, true, true}}};
static const char *const n_proxies[N_PROXIES] = {"100.96.0.1", "100.96.0.2", "100.96.0.3",
						 "fd00:2021:1111:8000::7"};
static const char *const n_reals[N_REALS] = {"8.8.8.8", "10.1.2.3", "10.9.9.9", "fd12:3::1"};

struct n_entry {
	enum { N_NONE, N_READY, N_ASKED, N_RESOLVING } state;
	uint32_t proxies, reals; /* bits */
	uint32_t ticket;
};

struct n_mapping {
	bool set;
	int real;
};

struct n_session {
	bool live;
	int real;
	uint16_t outside;
};

static struct n_entry n_entries[N_CLIENTS][N_RESOURCES][N_VERSIONS][N_NAMES];
static struct n_mapping n_mappings[N_CLIENTS][N_PROXIES];
static struct n_session n_sessions[N_CLIENTS][N_PROXIES][N_KINDS][N_PORTS];

#define N_EACH_ENTRY(r, v, n)                             \
	for (uint32_t r = 0; r < N_RESOURCES; r++)        \
		for (uint32_t v = 0; v < N_VERSIONS; v++) \
			for (uint32_t n = 0; n < N_NAMES; n++)

/* Does any name of the client still stand for the address? Else nothing is left of it. */
static inline void n_release(uint32_t c, uint32_t p)
{
	N_EACH_ENTRY(r, v, n)
	if (n_entries[c][r][v][n].state && n_entries[c][r][v][n].proxies & 1u << p)
		return;
	n_mappings[c][p] = (struct n_mapping){0};
	memset(n_sessions[c][p], 0, sizeof(n_sessions[c][p]));
}

static inline void n_take(uint32_t c, struct n_entry *e, uint32_t bits)
{
	for (uint32_t p = 0; p < N_PROXIES; p++)
		if (e->proxies & bits & 1u << p) {
			e->proxies &= ~(1u << p);
			n_release(c, p);
		}
	if (!e->proxies)
		*e = (struct n_entry){0};
}

static inline void n_end(uint32_t c, uint32_t r, uint32_t v)
{
	for (uint32_t n = 0; n < N_NAMES; n++)
		n_take(c, &n_entries[c][r][v][n], ~0u);
}

static inline void n_assign(uint32_t c, uint32_t r, uint32_t v, uint32_t name, uint32_t bits)
{
	struct n_entry *e = &n_entries[c][r][v][name];

	N_EACH_ENTRY(r2, v2, n2)
	if (n2 != name)
		n_take(c, &n_entries[c][r2][v2][n2], bits);
	for (uint32_t p = 0; p < N_PROXIES; p++)
		if (e->proxies & ~bits & 1u << p) {
			e->proxies &= ~(1u << p);
			n_release(c, p);
		}
	e->proxies = bits;
	if (e->state == N_NONE || e->state == N_READY)
		e->state = N_ASKED;
}

/* The addresses, in turn over those of one family. */
static inline void n_deal(uint32_t c, const struct n_entry *e, uint32_t first, uint32_t end)
{
	int list[N_REALS], count = 0, at = 0;

	for (uint32_t k = first; k < end; k++)
		if (e->reals & 1u << k)
			list[count++] = (int)k;
	for (uint32_t p = first; p < end; p++)
		if (e->proxies & 1u << p)
			n_mappings[c][p] = (struct n_mapping){
				.set = true, .real = count ? list[at++ % count] : N_NO_REAL};
}

static inline void n_resolved(uint32_t c, struct n_entry *e, uint32_t reals)
{
	e->reals = reals;
	e->state = N_READY;
	n_deal(c, e, 0, 3);
	n_deal(c, e, 3, 4);
}

static inline uint32_t n_name_of(const char *text)
{
	for (uint32_t n = 0; n < N_NAMES; n++)
		if (!strcasecmp(n_names[n], text))
			return n;
	T(false);
	return 0;
}

static inline uint32_t n_real_bit(const struct ipaddr *a)
{
	for (uint32_t k = 0; k < N_REALS; k++) {
		struct ipaddr real = pkt_ip(n_reals[k]);

		if (ipaddr_eq(&real, a))
			return 1u << k;
	}
	return 0;
}

/* A packet of the client's port or echo identifier `near`, to or from it. */
static inline struct pkt n_packet(const struct ipaddr *src, const struct ipaddr *dst, uint32_t kind,
				  bool in, uint16_t near, uint16_t far)
{
	static const uint8_t protos[N_KINDS] = {IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMP};

	if (protos[kind] == IP_PROTO_ICMP)
		return pkt_make(src, dst, src->family == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6, 0,
				near, 4);
	return pkt_make(src, dst, protos[kind], in ? near : far, in ? far : near, 4);
}

/* A packet to the proxy address was allowed and translated so. */
static inline bool n_translated(uint32_t c, uint32_t p, uint32_t kind, uint32_t port,
				const struct tunnel_nat *nat)
{
	struct n_session *s = &n_sessions[c][p][kind][port];
	bool fresh = !s->live, ok;
	struct ipaddr real;

	if (fresh)
		*s = (struct n_session){
			.live = true, .real = n_mappings[c][p].real, .outside = nat->port};
	real = pkt_ip(n_reals[s->real]);
	ok = T(nat->on) && T(ipaddr_eq(&nat->addr, &real)) && T_EQ(nat->port, s->outside);
	for (uint32_t i = 0; fresh && i < N_PROXIES * N_PORTS; i++) {
		const struct n_session *o = &n_sessions[c][i / N_PORTS][kind][i % N_PORTS];

		if (o != s && o->live && o->real == s->real)
			ok &= T(o->outside != s->outside);
	}
	return ok;
}
#endif
