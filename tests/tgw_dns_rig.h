/* SPDX-License-Identifier: Apache-2.0
 *
 * Names in the gateway policy of tests/tgw_world.h: setting up, answering, probing. */
#ifndef PENSTOCK_TESTS_TGW_DNS_RIG_H
#define PENSTOCK_TESTS_TGW_DNS_RIG_H
#include <stdarg.h>
#include "tests/tgw_world.h"

#define P1   "100.96.0.1"
#define P2   "100.96.0.2"
#define Q1   "fd00:2021:1111:8000::"
#define Q2   "fd00:2021:1111:8000::1"
#define C1V6 "fd00:2021:1111::1:1"

static struct tunnel_flow_grant last;

static inline struct tunnel_resource dns(uint8_t n, const char *pattern)
{
	struct tunnel_resource r = {.id = id_of(n), .type = TUNNEL_RESOURCE_DNS};

	tunnel_text_copy(r.address, sizeof(r.address), pattern);
	return r;
}

/* Addresses up to NULL. */
static inline uint8_t list_of(struct ipaddr *list, va_list ap)
{
	const char *text;
	uint8_t n = 0;

	while ((text = va_arg(ap, const char *)))
		list[n++] = pkt_ip(text);
	return n;
}

/* The client says so. True: refused at once. */
static inline bool assign(uint32_t slot, uint8_t resource, const char *name, ...)
{
	struct p2p_assigned_ips m = {.resource = id_of(resource)};
	struct p2p_domain_status reply;
	bool refused;
	va_list ap;

	tunnel_text_copy(m.domain, sizeof(m.domain), name);
	va_start(ap, name);
	m.count = list_of(m.ips, ap);
	va_end(ap);
	refused = tgw_assigned_ips(&gw, slot, &m, unix_now, &reply, now);
	T_STR(reply.domain, name);
	T(uuid_eq(&reply.resource, &m.resource) && !reply.active);
	return refused;
}

/* The next RESOLVE, events of clients before it dropped. */
static inline struct tgw_event resolve_event(void)
{
	struct tgw_event e;

	do
		e = next_event();
	while (e.kind && e.kind != TGW_EVENT_RESOLVE);
	return e;
}

/* Answer the next RESOLVE; true: the status said Active. */
static inline bool answer(const char *first, ...)
{
	struct tgw_event e = resolve_event();
	struct p2p_domain_status reply = {0};
	struct ipaddr list[16];
	uint32_t slot = 0;
	uint8_t n = 0;
	va_list ap;

	if (!T_EQ(e.kind, TGW_EVENT_RESOLVE))
		return false;
	if (first) {
		list[n++] = pkt_ip(first);
		va_start(ap, first);
		n = (uint8_t)(n + list_of(list + 1, ap));
		va_end(ap);
	}
	T(tgw_resolved(&gw, e.domain, e.ticket, list, n, &slot, &reply, now));
	T_EQ(slot, e.slot);
	T(uuid_eq(&reply.resource, &e.resource));
	T(!tgw_resolved(&gw, e.domain, e.ticket, list, n, &slot, &reply, now)); /* once */
	return reply.active;
}

static inline enum ps_reason_id send_from(uint32_t slot, const char *src, const char *dst,
					  uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct pkt p = pkt_text(src, dst, proto, sport, dport);

	return tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &last, now);
}

static inline enum ps_reason_id send_in(uint32_t slot, const char *dst, uint8_t proto,
					uint16_t dport)
{
	return send_from(slot, pkt_ip(dst).family == 4 ? C1 : C1V6, dst, proto, 40000, dport);
}

static inline enum ps_reason_id come_back(const char *src, uint8_t proto, uint16_t sport)
{
	struct pkt p = pkt_text(src, pkt_ip(src).family == 4 ? C1 : C1V6, proto, sport, 40000);

	return tgw_check_out(&gw, p.b, &p.m, unix_now, &last, now);
}

static inline bool goes_to(const char *addr)
{
	struct ipaddr want = pkt_ip(addr);

	return T(last.nat.on) && T(ipaddr_eq(&last.nat.addr, &want));
}

/* Client 1 with *.example.com as resource 10; its slot. */
static inline uint32_t with_example(void)
{
	struct tunnel_resource r = dns(10, "*.example.com");
	uint32_t slot;

	setup();
	slot = authorize(1, &r);
	drain();
	return slot;
}

static inline bool changed(void)
{
	struct tgw_event e;
	bool seen = false;

	while ((e = next_event()).kind)
		seen |= e.kind == TGW_EVENT_PEER_CHANGED;
	return seen;
}
#endif
