/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's policy against a naive one: a flat list of (client, resource, expiry, live) and the
 * rules of who may pass written out anew. Random grants, renewals, revocations, retains, expiries
 * and packets; after each step random packets must be judged alike in both directions, and no
 * decision an executor might have cached may outlive a change that was not announced. The seed is
 * printed on failure. Names, their addresses and translations: tests/tgw_names_model.h. */
#include <errno.h>
#include "core/tunnel/gateway.h"
#include "tests/pkt.h"
#include "tests/t.h"
#include "tests/tgw_names_model.h"
#include "tests/tgw_mem.h"

enum {
	STEPS = 40000,
	PROBES = 4,
	CLIENTS = 8,
	RESOURCES = 12,
	GRANTS = 34,
	NETS = 10,
	FLOWS = 32,
	DOMAINS = 128, /* never full */
	SESSIONS = 512,
	PENDING = 16,
};

TGW_MEM_STATIC(CLIENTS, RESOURCES, GRANTS, DOMAINS, 4096, DOMAINS *P2P_PROXIES_MAX, SESSIONS,
	       2 * DOMAINS * P2P_PROXIES_MAX)
static struct tgw gw;
static uint64_t rnd, now, unix_now, allowed_count, translated_count, unreachable_count;

/* The oracle. Resource r of version v has its own network or pattern; filters belong to (r, v). */
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

/* Resource 0 is the Internet in both versions, those from N_FIRST are names, the others networks.
 */
static struct tunnel_resource resource_of(uint32_t r, uint32_t v)
{
	struct tunnel_resource out = {.id = resource_id(r),
				      .type = r ? TUNNEL_RESOURCE_CIDR : TUNNEL_RESOURCE_INTERNET};

	if (r >= N_FIRST) {
		out.type = TUNNEL_RESOURCE_DNS;
		tunnel_text_copy(out.address, sizeof(out.address), n_patterns[r - N_FIRST][v]);
	} else if (r) {
		out.net = pkt_net(nets[(r * 3 + v * 5) % NETS]);
	}
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

static bool o_live(uint32_t c, uint32_t r, uint32_t v)
{
	return o_grants[c][r][v].live && o_grants[c][r][v].expires > unix_now;
}

/* A name of the client that lists proxy (bit) or has real (bit) permits the packet. */
static bool o_name_permits(uint32_t c, uint32_t proxy, uint32_t real, const struct ip_meta *m,
			   uint16_t port)
{
	N_EACH_ENTRY(r, v, n)
	{
		const struct n_entry *e = &n_entries[c][r][v][n];

		if (e->state && (e->proxies & proxy || e->reals & real) &&
		    o_live(c, r + N_FIRST, v) && o_filter_ok(&o_filters[r + N_FIRST][v], m, port))
			return true;
	}
	return false;
}

static bool o_allowed(uint32_t c, const struct ipaddr *far, const struct ip_meta *m, uint16_t port)
{
	if ((far->family == 4 && far->b[0] == 100 && (far->b[1] & 0xc0) == 64) ||
	    (far->family == 6 && !memcmp(far->b, "\xfd\x00\x20\x21\x11\x11", 6)))
		return false;
	for (uint32_t r = 0; r < N_FIRST; r++)
		for (uint32_t v = 0; v < O_VERSIONS; v++) {
			struct ipnet net = r ? pkt_net(nets[(r * 3 + v * 5) % NETS])
					     : (struct ipnet){0};
			bool covers = r ? ipnet_contains(&net, far) : !o_private(far);

			if (!covers || !o_live(c, r, v))
				continue;
			if (o_filter_ok(&o_filters[r][r ? v : 0], m, port))
				return true;
			if (r && net.len == 8 * ipaddr_size(far) &&
			    o_name_permits(c, 0, n_real_bit(far), m, port))
				return true;
		}
	return false;
}

static struct ipaddr roll_address(void)
{
	static const char *const pool[] = {
		"10.9.9.9",    "10.1.9.9",  "10.1.2.9",		 "10.1.2.3",  "172.16.5.5",
		"8.8.8.8",     "100.1.1.1", "100.64.1.11",	 "fd12::1",   "fd12:3::1",
		"2001:db8::1", "2002::1",   "fd00:2021:1111::5", "100.96.7.7"};

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

/* Resolutions under way; of too many the oldest is never answered. */
static struct pending {
	uint32_t domain, ticket, client, resource, name;
} pending[PENDING];
static uint32_t pending_at;

static uint32_t live_version(uint32_t c, uint32_t r)
{
	return o_grants[c][r][1].live ? 1 : 0;
}

static void note_resolve(const struct tgw_event *e)
{
	struct pending p = {.domain = e->domain,
			    .ticket = e->ticket,
			    .client = e->client.b[1],
			    .resource = e->resource.b[1],
			    .name = n_name_of(e->name)};
	struct n_entry *m = &n_entries[p.client][p.resource - N_FIRST]
				      [live_version(p.client, p.resource)][p.name];

	T_EQ(m->state, N_ASKED);
	m->state = N_RESOLVING;
	m->ticket = p.ticket;
	pending[pending_at++ % PENDING] = p;
}

static void do_resolved(void)
{
	struct pending p = pending[roll(PENDING)];
	uint32_t reals = roll(1 << N_REALS), slot;
	struct p2p_domain_status reply;
	struct ipaddr list[N_REALS];
	struct n_entry *m;
	size_t n = 0;

	if (!p.ticket)
		return;
	for (uint32_t k = N_REALS; k-- > 0;)
		if (reals & 1u << k)
			list[n++] = pkt_ip(n_reals[k]);
	m = &n_entries[p.client][p.resource - N_FIRST][live_version(p.client, p.resource)][p.name];
	if (!tgw_resolved(&gw, p.domain, p.ticket, list, n, &slot, &reply, now)) {
		T(m->state != N_RESOLVING || m->ticket != p.ticket);
		return;
	}
	T(m->state == N_RESOLVING && m->ticket == p.ticket && reply.active);
	n_resolved(p.client, m, reals);
}

static void do_assign(void)
{
	uint32_t c = roll(O_CLIENTS), r = roll(N_RESOURCES), name = roll(N_NAMES);
	uint32_t bits = roll(1 << N_PROXIES), v = live_version(c, r + N_FIRST);
	struct p2p_assigned_ips m = {.resource = resource_id(r + N_FIRST)};
	struct uuid id = client_id(c);
	struct p2p_domain_status reply;
	bool refused = !bits || !o_live(c, r + N_FIRST, v) || !n_matches[r][v][name];

	tunnel_text_copy(m.domain, sizeof(m.domain), n_names[name]);
	for (uint32_t k = N_PROXIES; k-- > 0;)
		if (bits & 1u << k)
			m.ips[m.count++] = pkt_ip(n_proxies[k]);
	T_EQ(tgw_assigned_ips(&gw, tgw_find_client(&gw, &id), &m, unix_now, &reply, now), refused);
	if (!refused)
		n_assign(c, r, v, name, bits);
}

/* Names go with their grants. */
static void end_names(void)
{
	for (uint32_t c = 0; c < O_CLIENTS; c++)
		for (uint32_t r = 0; r < N_RESOURCES; r++)
			for (uint32_t v = 0; v < N_VERSIONS; v++)
				if (!o_grants[c][r + N_FIRST][v].live)
					n_end(c, r, v);
}

static void poll_events(void)
{
	struct tgw_event e;

	while (tgw_poll_event(&gw, &e))
		if (e.kind == TGW_EVENT_RESOLVE)
			note_resolve(&e);
		else if (e.kind != TGW_EVENT_PEER_ADDED)
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
			T_EQ(tgw_check_in(&gw, f->grant.slot, f->p.b, &f->p.m, unix_now, &g, now),
			     PS_R_URX_DELIVERED);
		else
			T_EQ(tgw_check_out(&gw, f->p.b, &f->p.m, unix_now, &g, now), PS_R_UTX_SENT);
		T_EQ(g.nat.on, f->grant.nat.on);
		T(ipaddr_eq(&g.nat.addr, &f->grant.nat.addr));
		T_EQ(g.nat.port, f->grant.nat.port);
	}
}

static void remember(const struct pkt *p, const struct tunnel_flow_grant *g, bool in)
{
	allowed_count += g->allowed;
	if (g->allowed && g->cacheable)
		flows[roll(FLOWS)] = (struct flow){.p = *p, .grant = *g, .used = true, .in = in};
}

static bool probe_proxy_in(void)
{
	uint32_t c = roll(O_CLIENTS), p = roll(N_PROXIES), kind = roll(N_KINDS), n = roll(N_PORTS);
	struct ipaddr proxy = pkt_ip(n_proxies[p]), near = client_tun(c, proxy.family);
	uint16_t port = (uint16_t)roll(8);
	struct pkt pkt = n_packet(&near, &proxy, kind, true, (uint16_t)(N_PORT + n), port);
	const struct n_mapping *m = &n_mappings[c][p];
	bool permitted = o_name_permits(c, 1u << p, 0, &pkt.m, port) && m->set;
	bool reachable = n_sessions[c][p][kind][n].live || m->real != N_NO_REAL;
	struct uuid id = client_id(c);
	struct tunnel_flow_grant g;
	enum ps_reason_id why = tgw_check_in(&gw, tgw_find_client(&gw, &id), pkt.b, &pkt.m,
					     unix_now, &g, now);

	remember(&pkt, &g, true);
	if (permitted && !reachable) {
		unreachable_count++;
		return T_EQ(why, PS_R_URX_NAT_UNREACHABLE) && T_EQ(g.reply, ICMP_ERROR_UNREACHABLE);
	}
	if (!T_EQ(g.allowed, permitted))
		return false;
	translated_count += g.allowed;
	return !g.allowed || n_translated(c, p, kind, n, &g.nat);
}

static bool probe_proxy_out(void)
{
	uint32_t c = roll(O_CLIENTS), p = roll(N_PROXIES), kind = roll(N_KINDS), n = roll(N_PORTS);
	struct ipaddr proxy = pkt_ip(n_proxies[p]), real, near = client_tun(c, proxy.family);
	const struct n_session *s = &n_sessions[c][p][kind][n];
	uint16_t port = (uint16_t)roll(8);
	struct tunnel_flow_grant g;
	struct pkt pkt;
	bool want;

	if (!s->live)
		return true;
	real = pkt_ip(n_reals[s->real]);
	pkt = n_packet(&real, &near, kind, false, s->outside, port);
	(void)tgw_check_out(&gw, pkt.b, &pkt.m, unix_now, &g, now);
	want = o_name_permits(c, 1u << p, 0, &pkt.m, port);
	remember(&pkt, &g, false);
	if (!T_EQ(g.allowed, want))
		return false;
	return !want ||
	       (T(g.nat.on && ipaddr_eq(&g.nat.addr, &proxy)) && T_EQ(g.nat.port, N_PORT + n));
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
		(void)tgw_check_in(&gw, slot, p.b, &p.m, unix_now, &g, now);
	else
		(void)tgw_check_out(&gw, p.b, &p.m, unix_now, &g, now);
	remember(&p, &g, in);
	return T(!g.nat.on) &&
	       T_EQ(g.allowed, slot != TUNNEL_NO_SLOT && o_allowed(c, &far, &p.m, port));
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
	else if (r < 82)
		unix_now += roll(2), now += NS_PER_SEC;
	else if (r < 88)
		do_sweep();
	end_names();
	for (uint32_t n = roll(3); n; n--)
		do_assign();
	for (uint32_t n = roll(4); n; n--)
		do_resolved();
	if (roll(8)) /* sometimes several changes before the shell polls */
		poll_events();
}

static void test_against_oracle(void)
{
	struct tgw_mem mem = tgw_mem_static();
	struct ipaddr own4 = pkt_ip("100.64.0.1"), own6 = pkt_ip("fd00:2021:1111::1");
	uint64_t refused;

	mem.cell_cap = tgw_cells_for(&mem);
	T(mem.cell_cap <= sizeof(cells) / sizeof(*cells));
	rnd = t_seed();
	now = NS_PER_SEC;
	unix_now = 1900000000;
	tgw_init(&gw, &mem, rnd);
	tgw_set_interface(&gw, &own4, &own6);
	for (uint32_t n = 0; n < STEPS; n++) {
		bool ok = true;

		step();
		for (int i = 0; i < PROBES; i++)
			ok &= probe() && probe_proxy_in() && probe_proxy_out();
		poll_events();
		check_flows();
		if (!ok) {
			t_note("step %u of seed %llu", n, (unsigned long long)t_seed());
			return;
		}
	}
	refused = gw.counters.grant_table_full + gw.counters.resource_table_full +
		  gw.counters.client_table_full;
	/* every kind of outcome was tried */
	T(refused > 100 && allowed_count > STEPS / 2);
	T(translated_count > STEPS / 10 && unreachable_count > STEPS / 100);
	t_note("steps=%d allowed=%llu translated=%llu unreachable=%llu seed=%llu refused for "
	       "room=%llu",
	       STEPS, (unsigned long long)allowed_count, (unsigned long long)translated_count,
	       (unsigned long long)unreachable_count, (unsigned long long)t_seed(),
	       (unsigned long long)refused);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_against_oracle);
	return t_done();
}
