/* SPDX-License-Identifier: Apache-2.0
 *
 * A gateway policy with small tables for its unit tests: client n has id (n … n) and the tunnel
 * addresses 100.64.1.n and fd00:2021:1111::1:n. */
#ifndef PENSTOCK_TESTS_TGW_WORLD_H
#define PENSTOCK_TESTS_TGW_WORLD_H
#include <errno.h>
#include "core/tunnel/gateway.h"
#include "tests/pkt.h"
#include "tests/t.h"
#include "tests/tgw_mem.h"

enum { CLIENTS = 8, RESOURCES = 8, GRANTS = 16, DOMAINS = 12, CLIENT_DOMAINS = 6 };

TGW_MEM_STATIC(CLIENTS, RESOURCES, GRANTS, DOMAINS, 512, 8 * DOMAINS, 32, 256)
static struct tgw gw;
static uint64_t now, unix_now;

static inline struct uuid id_of(uint8_t n)
{
	return (struct uuid){.b = {n, [15] = n}};
}

static inline void setup(void)
{
	struct tgw_mem mem = tgw_mem_static();
	struct ipaddr own4 = pkt_ip("100.64.0.1"), own6 = pkt_ip("fd00:2021:1111::1");

	mem.client_domains_max = CLIENT_DOMAINS;
	mem.cell_cap = tgw_cells_for(&mem);
	T(mem.cell_cap <= 512 && idx_cap_for(8 * DOMAINS) <= 256);
	now = 1000 * NS_PER_SEC;
	unix_now = 1900000000;
	tgw_init(&gw, &mem, 7);
	tgw_set_interface(&gw, &own4, &own6);
}

static inline struct tunnel_resource cidr(uint8_t n, const char *net)
{
	struct tunnel_resource r = {.id = id_of(n), .net = pkt_net(net)};

	filter_set_init(&r.filters);
	return r;
}

static inline struct tunnel_resource internet(uint8_t n)
{
	return (struct tunnel_resource){.id = id_of(n), .type = TUNNEL_RESOURCE_INTERNET};
}

/* Client n has tunnel address 100.64.1.n and fd00:2021:1111::1:n. */
static inline int authorize_until(uint8_t n, const struct tunnel_resource *r, uint64_t expires,
				  uint32_t *slot)
{
	struct tgw_authorization a = {.client = id_of(n), .resource = r, .expires_at = expires};

	a.tun4 = ipaddr_v4(100, 64, 1, n);
	a.tun6 = pkt_ip("fd00:2021:1111::1:0");
	a.tun6.b[15] = n;
	return tgw_authorize(&gw, &a, slot, now);
}

static inline uint32_t authorize(uint8_t n, const struct tunnel_resource *r)
{
	uint32_t slot = TUNNEL_NO_SLOT;

	T_EQ(authorize_until(n, r, TUNNEL_NEVER_EXPIRES, &slot), 0);
	return slot;
}

static inline enum ps_reason_id in(uint32_t slot, const char *src, const char *dst, uint8_t proto,
				   uint16_t dport)
{
	struct tunnel_flow_grant grant;
	struct pkt p = pkt_text(src, dst, proto, proto == IP_PROTO_ICMP ? 0 : 40000, dport);
	enum ps_reason_id r = tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &grant, now);

	T_EQ(grant.allowed, r == PS_R_URX_DELIVERED);
	T_EQ(grant.slot, slot);
	return r;
}

static inline enum ps_reason_id out(const char *src, const char *dst, uint8_t proto, uint16_t sport)
{
	struct tunnel_flow_grant grant;
	struct pkt p = pkt_text(src, dst, proto, sport, 40000);
	enum ps_reason_id r = tgw_check_out(&gw, p.b, &p.m, unix_now, &grant, now);

	T_EQ(grant.allowed, r == PS_R_UTX_SENT);
	return r;
}

static inline struct tgw_event next_event(void)
{
	struct tgw_event e = {0};

	(void)tgw_poll_event(&gw, &e);
	return e;
}

static inline void drain(void)
{
	while (next_event().kind)
		;
}

#define TCP IP_PROTO_TCP
#define UDP IP_PROTO_UDP
#define C1  "100.64.1.1"
#define C2  "100.64.1.2"
#define OWN "100.64.0.1"
#endif
