/* SPDX-License-Identifier: Apache-2.0
 *
 * What a hostile peer can put inside the tunnel: packet parsing, control packets, ICMP errors and
 * both policies. The first byte chooses sender and time, the rest is the packet. Checked besides
 * memory safety: nothing is allowed that has a foreign source, no control packet is allowed, and a
 * generated error parses and is never answered again. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "codec/p2p_ctl.h"
#include "codec/p2p_json.h"
#include "core/tunnel/client.h"
#include "core/tunnel/gateway.h"
#include "core/tunnel/pmtu.h"
#include "tests/tgw_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tgw gw;
TGW_MEM_STATIC(4, 8, 16, 4, 256, 32, 8, 64)
static struct tcl cl;
static struct tcl_resource cl_resources[4];
static struct tcl_site cl_sites[2];
static struct tcl_gateway cl_gateways[2];
static struct held_packet cl_held[4];
static struct ipnet cl_routes[2 * (4 + TCL_FIXED_ROUTES)];

#define UNIX_NOW 1900000000u

static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct ipaddr tun(uint8_t family, uint8_t n)
{
	struct ipaddr six = {.family = 6, .b = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, [15] = n}};

	return family == 4 ? ipaddr_v4(100, 64, 0, n) : six;
}

static struct tunnel_resource resource(uint8_t n, const char *net)
{
	struct tunnel_resource r = {.id = {.b = {n}},
				    .type = net ? TUNNEL_RESOURCE_CIDR : TUNNEL_RESOURCE_INTERNET};

	filter_set_init(&r.filters);
	if (net)
		require(!ipnet_parse(net, &r.net));
	return r;
}

static void grant(uint8_t client, const struct tunnel_resource *r, uint64_t expires)
{
	struct tgw_authorization a = {.client = {.b = {client}},
				      .tun4 = tun(4, client),
				      .tun6 = tun(6, client),
				      .resource = r,
				      .expires_at = expires};
	uint32_t slot;

	require(!tgw_authorize(&gw, &a, &slot, 1));
}

static void setup_gateway(void)
{
	struct tgw_mem mem = tgw_mem_static();
	struct tunnel_resource lan = resource(1, "10.0.0.0/8"), six = resource(2, "fd12::/16"),
			       all = resource(3, NULL);
	struct ipaddr own4 = tun(4, 1), own6 = tun(6, 1);

	mem.cell_cap = tgw_cells_for(&mem);
	require(mem.cell_cap <= 256);
	tgw_init(&gw, &mem, 1);
	tgw_set_interface(&gw, &own4, &own6);
	require(!filter_set_add_ports(&lan.filters, IP_PROTO_TCP, 80, 443));
	filter_set_add_icmp(&lan.filters);
	grant(2, &lan, UNIX_NOW + 100);
	grant(2, &six, TUNNEL_NEVER_EXPIRES);
	grant(3, &all, TUNNEL_NEVER_EXPIRES);
	grant(4, &lan, UNIX_NOW + 5);
}

/* Client 3 has a name at 100.96.0.1 and fd00:2021:1111:8000::, and has sent to it. */
static void setup_name(void)
{
	struct tunnel_resource r = {
		.id = {.b = {4}}, .type = TUNNEL_RESOURCE_DNS, .address = "*.example.com"};
	struct p2p_assigned_ips m = {.resource = {.b = {4}}, .domain = "a.example.com", .count = 2};
	struct ip_meta first = {.src = tun(4, 3),
				.dst = ipaddr_v4(100, 96, 0, 1),
				.family = 4,
				.proto = IP_PROTO_UDP,
				.l4 = IP_L4_UDP,
				.sport = 1024,
				.dport = 53};
	struct ipaddr real = ipaddr_v4(10, 0, 0, 9);
	struct p2p_domain_status reply;
	struct tunnel_flow_grant g;
	struct tgw_event ev = {0};
	uint32_t slot;

	m.ips[0] = ipaddr_v4(100, 96, 0, 1);
	require(!ipaddr_parse("fd00:2021:1111:8000::", &m.ips[1]));
	filter_set_init(&r.filters);
	grant(3, &r, TUNNEL_NEVER_EXPIRES);
	require(!tgw_assigned_ips(&gw, 1, &m, UNIX_NOW, &reply, 2));
	while (ev.kind != TGW_EVENT_RESOLVE)
		require(tgw_poll_event(&gw, &ev));
	require(tgw_resolved(&gw, ev.domain, ev.ticket, &real, 1, &slot, &reply, 2));
	require(slot == 1 && reply.active);
	require(tgw_check_in(&gw, slot, NULL, &first, UNIX_NOW, &g, 2) == PS_R_URX_DELIVERED);
}

static void setup_client(void)
{
	struct tcl_mem mem = {.resources = cl_resources,
			      .sites = cl_sites,
			      .gateways = cl_gateways,
			      .held = cl_held,
			      .routes = cl_routes,
			      .resource_cap = 4,
			      .site_cap = 2,
			      .gateway_cap = 2,
			      .held_cap = 4};
	struct tcl_resource_spec one = {.r = resource(1, "10.0.0.0/8"), .site_count = 1};
	struct tcl_resource_spec two = {.r = resource(2, NULL), .site_count = 1};
	struct ipaddr own4 = tun(4, 2), own6 = tun(6, 2);

	tcl_init(&cl, &mem);
	tcl_set_interface(&cl, &own4, &own6);
	require(!tcl_add_resource(&cl, &one, 1) && !tcl_add_resource(&cl, &two, 1));
}

/* The first resource is served by gateway 1, the second one still waits. */
static void connect_client(void)
{
	struct tcl_flow f = {.resource = {.b = {1}},
			     .gateway = {.b = {9}},
			     .tun4 = tun(4, 1),
			     .tun6 = tun(6, 1)};
	uint32_t slot;

	cl_resources[0].pending = true;
	require(!tcl_flow_created(&cl, &f, &slot, 1));
	tcl_gateway_established(&cl, slot, 1);
}

static void check_error(enum icmp_error kind, const uint8_t *pkt, const struct ip_meta *m)
{
	static uint8_t out[ICMP_ERROR_LEN_MAX], again[ICMP_ERROR_LEN_MAX];
	size_t len = icmp_error_build(kind, pkt, m, out, sizeof(out));
	struct ip_meta e;

	if (!len)
		return;
	require(!ip_packet_parse(out, len, &e) && e.total_len == len && e.l4 == IP_L4_ICMP_ERROR);
	require(ip_csum_l4(out, &e) == 0 && (e.family == 6 || ip_csum(out, 20) == 0));
	require(!icmp_error_build(kind, out, &e, again, sizeof(again)));
}

/* What goes to a proxy address is translated, or an ICMP error in its place that parses. */
static void check_translated(const struct tunnel_flow_grant *g, bool expected)
{
	struct ip_meta m;

	require((g->nat.on || g->instead) == (expected || g->instead));
	if (g->instead)
		require(!ip_packet_parse(g->instead, g->instead_len, &m) && !g->nat.on &&
			m.l4 == IP_L4_ICMP_ERROR && !ip_csum_l4(g->instead, &m));
}

static void check_gateway(uint8_t knob, const uint8_t *pkt, const struct ip_meta *m, bool ctl)
{
	uint64_t at = UNIX_NOW + (knob >> 2) % 8;
	struct tunnel_flow_grant g;
	uint32_t slot = knob & 3;

	if (tgw_check_in(&gw, slot, pkt, m, at, &g, 3) == PS_R_URX_DELIVERED) {
		const struct tgw_client *c = tgw_client_at(&gw, slot);

		require(g.allowed && !ctl && g.expires_at > at);
		check_translated(&g, tunnel_in_proxy_range(&m->dst));
		require(c && ipaddr_eq(&m->src, m->family == 4 ? &c->tun4 : &c->tun6));
		require(!ipaddr_is_multicast(&m->dst));
	} else {
		require(!g.allowed && !g.cacheable);
		check_error(g.reply, pkt, m);
	}
	if (tgw_check_out(&gw, pkt, m, at, &g, 3) == PS_R_UTX_SENT) {
		require(g.allowed && !ctl && tunnel_in_peer_range(&m->dst));
		check_translated(&g, g.nat.on);
	} else {
		require(!g.allowed);
	}
}

static void check_client(uint8_t knob, const uint8_t *pkt, const struct ip_meta *m, bool ctl)
{
	struct ipaddr own = tun(m->family, 2);
	struct tunnel_flow_grant g;
	enum ps_reason_id r;

	if (tcl_check_in(&cl, knob & 1, pkt, m, &g, 2) == PS_R_URX_DELIVERED)
		require(g.allowed && !ctl && ipaddr_eq(&m->dst, &own) && g.slot == 0);
	else
		require(!g.allowed);
	r = tcl_route_out(&cl, pkt, m, &g, NS_PER_SEC * (1 + knob));
	require(g.allowed == (r == PS_R_UTX_SENT));
	if (r == PS_R_UTX_SENT || r == PS_R_UTX_BUFFERED)
		require(!ctl && ipaddr_eq(&m->src, &own));
	if (r != PS_R_UTX_SENT)
		check_error(g.reply, pkt, m);
}

/* A search with a probe out: what a peer says moves it only if it knows the probe's identifier,
 * and never beyond what was sent. */
static void check_mtu(const struct p2p_ctl *ctl, size_t len)
{
	const uint8_t seed[32] = {3};
	struct p2p_mtu m, probe;
	struct pmtu p;
	struct rng rng;
	bool right;

	if ((ctl->type != P2P_CTL_MTU_PROBE && ctl->type != P2P_CTL_MTU_ACK) ||
	    !p2p_mtu_decode(ctl, &m))
		return;
	rng_init(&rng, seed);
	pmtu_init(&p);
	pmtu_path(&p, 1440, 1);
	require(pmtu_poll_tx(&p, &rng, &probe, 1));
	if (ctl->type == P2P_CTL_MTU_PROBE) {
		require(m.size <= len);
		require(!pmtu_answers(&p, &m, 1440, 2) == (m.size > 1440));
		return;
	}
	right = m.id == probe.id && m.size == probe.size;
	require(pmtu_ack(&p, &m, 2) == right && p.size == PMTU_BASE_LEN);
	m.id = probe.id;
	require(pmtu_ack(&p, &m, 2) == (!right && m.size == probe.size));
	require(p.size <= probe.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t pkt[2048];
	struct p2p_ctl ctl;
	struct ip_meta m, again;
	bool is_ctl;

	if (size < 1 || size - 1 > sizeof(pkt))
		return 0;
	memcpy(pkt, data + 1, size - 1);
	is_ctl = p2p_ctl_decode(pkt, size - 1, &ctl) != P2P_CTL_NOT;
	if (p2p_ctl_decode(pkt, size - 1, &ctl) == P2P_CTL_EVENT)
		check_mtu(&ctl, size - 1);
	if (ip_packet_parse(pkt, size - 1, &m))
		return 0;
	require(m.total_len <= size - 1 && m.l4_off <= m.total_len);
	(void)ip_packet_parse_quoted(pkt, &m, &again);
	setup_gateway();
	setup_name();
	check_gateway(data[0], pkt, &m, is_ctl);
	setup_client();
	connect_client();
	check_client(data[0], pkt, &m, is_ctl);
	if (ip_packet_merge_ecn(pkt, &m, data[0] & 3))
		require(!ip_packet_parse(pkt, size - 1, &again) && (again.ecn || !m.ecn));
	return 0;
}
