/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's policy against a naive one: a flat list of (client, resource, expiry, live) and the
 * rules of who may pass written out anew. Random grants, renewals, revocations, retains, expiries
 * and packets; after each step random packets must be judged alike in both directions, and no
 * decision an executor might have cached may outlive a change that was not announced. The seed is
 * printed on failure. */
#include <errno.h>
#include "core/tunnel/gateway.h"
#include "tests/pkt.h"
#include "tests/t.h"

enum { STEPS = 30000, PROBES = 3, CLIENTS = 8, RESOURCES = 12, GRANTS = 34, NETS = 10, FLOWS = 32 };

static struct tgw_client clients[CLIENTS];
static struct tgw_resource resources[RESOURCES];
static struct tgw_grant grants[GRANTS];
static struct idx_cell cells[128];
static struct tgw gw;
static uint64_t rnd, now, unix_now, allowed_count;

/* The oracle. Resource r of version v has its own network; filters belong to (r, v). */
enum { O_CLIENTS = 9, O_RESOURCES = 8, O_VERSIONS = 2 };
struct oracle_grant {
	bool live;
	uint64_t expires;
};
static struct oracle_grant o_grants[O_CLIENTS][O_RESOURCES][O_VERSIONS];
static struct filter_set o_filters[O_RESOURCES][O_VERSIONS];

static const char *const nets[NETS] = {"10.0.0.0/8",	"10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32",
				       "172.16.0.0/12", "100.0.0.0/8", "fd12::/16",   "fd12:3::/32",
				       "2001:db8::/32", "0.0.0.0/0"};

static uint32_t roll(uint32_t n)
{
	return (uint32_t)(t_rand(&rnd) % n);
}

static struct uuid client_id(uint32_t n)
{
	return (struct uuid){.b = {1, (uint8_t)n}};
}

static struct uuid resource_id(uint32_t n)
{
	return (struct uuid){.b = {2, (uint8_t)n}};
}

static struct ipaddr client_tun(uint32_t n, uint8_t family)
{
	struct ipaddr a = {.family = 6,
			   .b = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, [15] = (uint8_t)(10 + n)}};

	return family == 4 ? ipaddr_v4(100, 64, 1, (uint8_t)(10 + n)) : a;
}

/* Resource 0 is the Internet in both versions, the others are networks. */
static struct tunnel_resource resource_of(uint32_t r, uint32_t v)
{
	struct tunnel_resource out = {.id = resource_id(r),
				      .type = r ? TUNNEL_RESOURCE_CIDR : TUNNEL_RESOURCE_INTERNET};

	if (r)
		out.net = pkt_net(nets[(r * 3 + v * 5) % NETS]);
	out.filters = o_filters[r][r ? v : 0];
	return out;
}

static void roll_filters(uint32_t r, uint32_t v)
{
	struct filter_set *f = &o_filters[r][r ? v : 0];

	filter_set_init(f);
	if (!r || !roll(3))
		return;
	if (roll(2))
		filter_set_add_icmp(f);
	for (uint32_t i = roll(3); i; i--)
		(void)filter_set_add_ports(f, roll(2) ? IP_PROTO_TCP : IP_PROTO_UDP,
					   (uint16_t)roll(4), (uint16_t)(3 + roll(4)));
	if (!f->restricted)
		filter_set_add_icmp(f);
}

static uint64_t roll_expiry(void)
{
	return roll(3) ? unix_now + roll(40) : TUNNEL_NEVER_EXPIRES;
}

static void do_authorize(void)
{
	uint32_t c = roll(O_CLIENTS), r = roll(O_RESOURCES), v = r ? roll(O_VERSIONS) : 0, slot;
	struct filter_set before = o_filters[r][v];
	struct tunnel_resource res;
	struct tgw_authorization a = {
		.client = client_id(c), .tun4 = client_tun(c, 4), .tun6 = client_tun(c, 6)};
	int rc;

	if (!roll(3))
		roll_filters(r, v);
	res = resource_of(r, v);
	a.resource = &res;
	a.expires_at = roll_expiry();
	rc = tgw_authorize(&gw, &a, &slot, now);
	if (rc) { /* a full table changes nothing */
		T_EQ(rc, -ENOSPC);
		o_filters[r][v] = before;
		return;
	}
	for (uint32_t other = 0; other < O_VERSIONS; other++)
		o_grants[c][r][other].live = false;
	o_grants[c][r][v] = (struct oracle_grant){.live = true, .expires = a.expires_at};
}

static void do_reject(void)
{
	uint32_t c = roll(O_CLIENTS), r = roll(O_RESOURCES);
	struct uuid client = client_id(c), resource = resource_id(r);

	tgw_reject(&gw, &client, &resource, now);
	for (uint32_t v = 0; v < O_VERSIONS; v++)
		o_grants[c][r][v].live = false;
}

static void do_expiry_update(void)
{
	uint32_t c = roll(O_CLIENTS), r = roll(O_RESOURCES);
	struct uuid client = client_id(c), resource = resource_id(r);
	uint64_t expires = unix_now + roll(30);

	(void)tgw_expiry_update(&gw, &client, &resource, expires);
	for (uint32_t v = 0; v < O_VERSIONS; v++)
		o_grants[c][r][v].expires = expires;
}

static void do_update_filters(void)
{
	uint32_t r = 1 + roll(O_RESOURCES - 1), v = roll(O_VERSIONS);
	struct tunnel_resource res;

	roll_filters(r, v);
	for (uint32_t other = 0; other < O_VERSIONS; other++)
		o_filters[r][other] = o_filters[r][v];
	res = resource_of(r, v);
	(void)tgw_resource_updated(&gw, &res);
}

static void do_retain(void)
{
	struct tgw_retained list[O_CLIENTS * O_RESOURCES];
	bool kept[O_CLIENTS][O_RESOURCES] = {0};
	uint32_t n = 0;

	for (uint32_t c = 0; c < O_CLIENTS; c++)
		for (uint32_t r = 0; r < O_RESOURCES; r++) {
			if (!roll(4))
				continue;
			kept[c][r] = true;
			list[n] = (struct tgw_retained){.client = client_id(c),
							.resource = resource_id(r)};
			list[n].has_expiry = roll(2);
			list[n].expires_at = roll_expiry();
			for (uint32_t v = 0; v < O_VERSIONS && list[n].has_expiry; v++)
				o_grants[c][r][v].expires = list[n].expires_at;
			n++;
		}
	tgw_retain(&gw, list, n, now);
	for (uint32_t c = 0; c < O_CLIENTS; c++)
		for (uint32_t r = 0; r < O_RESOURCES; r++)
			for (uint32_t v = 0; v < O_VERSIONS; v++)
				o_grants[c][r][v].live &= kept[c][r];
}

static bool o_private(const struct ipaddr *a)
{
	const uint8_t *b = a->b;

	if (a->family == 6)
		return (b[0] & 0xfe) == 0xfc;
	return b[0] == 10 || (b[0] == 172 && b[1] >= 16 && b[1] < 32) ||
	       (b[0] == 100 && (b[1] & 0xc0) == 64);
}

static bool o_filter_ok(const struct filter_set *f, const struct ip_meta *m, uint16_t port)
{
	if (!f->restricted)
		return true;
	if (m->l4 == IP_L4_ICMP_ECHO)
		return f->icmp;
	for (uint32_t i = 0; i < f->range_count; i++)
		if (f->ranges[i].proto == m->proto && f->ranges[i].first <= port &&
		    f->ranges[i].last >= port)
			return true;
	return false;
}

static bool o_allowed(uint32_t c, const struct ipaddr *far, const struct ip_meta *m, uint16_t port)
{
	if ((far->family == 4 && far->b[0] == 100 && (far->b[1] & 0xc0) == 64) ||
	    (far->family == 6 && !memcmp(far->b, "\xfd\x00\x20\x21\x11\x11", 6)))
		return false;
	for (uint32_t r = 0; r < O_RESOURCES; r++)
		for (uint32_t v = 0; v < O_VERSIONS; v++) {
			const struct oracle_grant *g = &o_grants[c][r][v];
			struct ipnet net = r ? pkt_net(nets[(r * 3 + v * 5) % NETS])
					     : (struct ipnet){0};
			bool covers = r ? ipnet_contains(&net, far) : !o_private(far);

			if (g->live && g->expires > unix_now && covers &&
			    o_filter_ok(&o_filters[r][r ? v : 0], m, port))
				return true;
		}
	return false;
}

static struct ipaddr roll_address(void)
{
	static const char *const pool[] = {
		"10.9.9.9",    "10.1.9.9",  "10.1.2.9",		 "10.1.2.3",  "172.16.5.5",
		"8.8.8.8",     "100.1.1.1", "100.64.1.11",	 "fd12::1",   "fd12:3::1",
		"2001:db8::1", "2002::1",   "fd00:2021:1111::5", "100.96.0.1"};

	return pkt_ip(pool[roll(sizeof(pool) / sizeof(*pool))]);
}

static struct pkt roll_packet(const struct ipaddr *near, const struct ipaddr *far, bool to_far,
			      uint16_t port)
{
	static const uint8_t protos[] = {IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMP};
	uint8_t proto = protos[roll(3)];

	if (proto == IP_PROTO_ICMP)
		return pkt_make(to_far ? near : far, to_far ? far : near,
				near->family == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6, 0, port, 4);
	return pkt_make(to_far ? near : far, to_far ? far : near, proto, to_far ? 999 : port,
			to_far ? port : 999, 4);
}

/* What an executor would have cached: it must stay right until it expires or the client's
 * generation moves. */
static struct flow {
	struct pkt p;
	struct tunnel_flow_grant grant;
	bool used, in;
} flows[FLOWS];

static void drop_flows(uint32_t slot)
{
	for (uint32_t i = 0; i < FLOWS; i++)
		if (flows[i].used && flows[i].grant.slot == slot)
			flows[i].used = false;
}

static void poll_events(void)
{
	struct tgw_event e;

	while (tgw_poll_event(&gw, &e))
		if (e.kind != TGW_EVENT_PEER_ADDED)
			drop_flows(e.slot);
}

static void check_flows(void)
{
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct tunnel_flow_grant g;
		struct flow *f = &flows[i];

		if (!f->used || f->grant.expires_at <= unix_now)
			continue;
		if (f->in)
			T_EQ(tgw_check_in(&gw, f->grant.slot, &f->p.m, unix_now, &g),
			     PS_R_URX_DELIVERED);
		else
			T_EQ(tgw_check_out(&gw, f->p.b, &f->p.m, unix_now, &g), PS_R_UTX_SENT);
	}
}

static bool probe(void)
{
	uint32_t c = roll(O_CLIENTS), slot;
	struct ipaddr far = roll_address(), near = client_tun(c, far.family);
	bool in = roll(2);
	uint16_t port = (uint16_t)roll(8);
	struct pkt p = roll_packet(&near, &far, in, port);
	struct tunnel_flow_grant g;
	struct uuid id = client_id(c);

	slot = tgw_find_client(&gw, &id);
	if (in)
		(void)tgw_check_in(&gw, slot, &p.m, unix_now, &g);
	else
		(void)tgw_check_out(&gw, p.b, &p.m, unix_now, &g);
	allowed_count += g.allowed;
	if (g.allowed && g.cacheable)
		flows[roll(FLOWS)] = (struct flow){.p = p, .grant = g, .used = true, .in = in};
	return T_EQ(g.allowed, slot != TUNNEL_NO_SLOT && o_allowed(c, &far, &p.m, port));
}

/* What has expired when the sweep comes is over: a later expiry no longer revives it. */
static void do_sweep(void)
{
	tgw_timeout(&gw, unix_now, now);
	for (uint32_t c = 0; c < O_CLIENTS; c++)
		for (uint32_t r = 0; r < O_RESOURCES; r++)
			for (uint32_t v = 0; v < O_VERSIONS; v++)
				o_grants[c][r][v].live &= o_grants[c][r][v].expires > unix_now;
}

static void step(void)
{
	uint32_t r = roll(100);

	if (r < 35)
		do_authorize();
	else if (r < 55)
		do_reject();
	else if (r < 62)
		do_expiry_update();
	else if (r < 72)
		do_update_filters();
	else if (r < 73)
		do_retain();
	else if (r < 85)
		unix_now += roll(2), now += NS_PER_SEC;
	else if (r < 95)
		do_sweep();
	if (roll(8)) /* sometimes several changes before the shell polls */
		poll_events();
}

static void test_against_oracle(void)
{
	struct tgw_mem mem = {
		.clients = clients, .resources = resources, .grants = grants, .cells = cells};
	struct ipaddr own4 = pkt_ip("100.64.0.1"), own6 = pkt_ip("fd00:2021:1111::1");
	uint64_t refused;

	mem.client_cap = CLIENTS;
	mem.resource_cap = RESOURCES;
	mem.grant_cap = GRANTS;
	mem.cell_cap = idx_cap_for(3 * CLIENTS + RESOURCES);
	T(mem.cell_cap <= 128);
	rnd = t_seed();
	now = NS_PER_SEC;
	unix_now = 1900000000;
	tgw_init(&gw, &mem, rnd);
	tgw_set_interface(&gw, &own4, &own6);
	for (uint32_t n = 0; n < STEPS; n++) {
		bool ok = true;

		step();
		for (int i = 0; i < PROBES; i++)
			ok &= probe();
		poll_events();
		check_flows();
		if (!ok) {
			t_note("step %u of seed %llu", n, (unsigned long long)t_seed());
			return;
		}
	}
	refused = gw.counters.grant_table_full + gw.counters.resource_table_full +
		  gw.counters.client_table_full;
	T(refused > 100 && allowed_count > STEPS / 2); /* both kinds of outcome were tried */
	t_note("steps=%d allowed=%llu seed=%llu refused for room=%llu", STEPS,
	       (unsigned long long)allowed_count, (unsigned long long)t_seed(),
	       (unsigned long long)refused);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_against_oracle);
	return t_done();
}
