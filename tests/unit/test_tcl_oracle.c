/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's policy under random resources, names, flows, connections, failures, roaming and
 * packets, against a naive list: who may send what, each packet leaves at most once, no cell of the
 * pool is lost, intents keep their distance, and no decision that may be cached outlives a change
 * that was not announced. */
#define WORLD_RESOURCES 8
#include "tests/tcl_names.h"

enum { STEPS = 40000, NETS = 8, FLOWS = 24, IDS = 1 << 18 };

/* Resource n of the oracle; the same nets overlap on purpose. */
static const char *const nets[NETS] = {"10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/16", "172.16.0.0/12",
				       "fd12::/16",  NULL,	    "*.one.test",  "**.test"};
static const char *const addresses[] = {"10.9.9.9",   "10.1.9.9",   "172.16.5.5",
					"fd12::1",    "8.8.8.8",    "2001:db8::1",
					"100.64.2.1", "100.64.2.2", "192.168.0.1"};
enum { INTERNET = 5, FIRST_DNS = 6 };
static const char *const domains[] = {"a.one.test", "b.one.test", "c.test"};
enum { DOMAINS = 3, NAMES = 5 };
#define ADDRESSES (sizeof(addresses) / sizeof(*addresses))

static struct {
	bool present, disabled, pending;
	uint32_t gateway;			/* 1…, 0: none */
	uint64_t intent_ns, excused_ns, mapped; /* mapped: order of the mappings */
} o[NETS];
/* Names in order of assignment, and what each gateway has been told of them. */
static struct {
	uint32_t resource, domain;
	struct {
		enum dns_nat_state state;
		uint64_t sent_ns;
		bool hold, want;
	} at[WORLD_GATEWAYS + 1];
} names[NAMES];
static uint32_t name_count;
static uint64_t said_count, name_sent_count;
static bool up[WORLD_GATEWAYS + 1], known[WORLD_GATEWAYS + 1];
static uint8_t fate[IDS]; /* of every packet: 1 held, 2 gone out */
static uint32_t next_id;
static uint64_t rnd, sent_count, intent_count, mapped_count;

static struct flow {
	struct pkt p;
	struct tunnel_flow_grant grant;
	bool used, in;
} flows[FLOWS];

static uint32_t roll(uint32_t n)
{
	return (uint32_t)(t_rand(&rnd) % n);
}

static struct tcl_resource_spec spec_of(uint32_t n)
{
	struct tcl_resource_spec s;

	if (n >= FIRST_DNS)
		return names_spec((uint8_t)(n + 1), nets[n], 1);
	s = world_cidr((uint8_t)(n + 1), nets[n] ? nets[n] : "10.0.0.0/8", 1);
	if (!nets[n])
		s.r = (struct tunnel_resource){.id = s.r.id, .type = TUNNEL_RESOURCE_INTERNET};
	return s;
}

static bool o_covers(uint32_t n, const struct ipaddr *a)
{
	struct ipnet net;

	if (n >= INTERNET)
		return n == INTERNET && (a->family == 4 ? a->b[0] == 8 : a->b[0] == 0x20);
	net = pkt_net(nets[n]);
	return ipnet_contains(&net, a);
}

static bool o_active(uint32_t n)
{
	return o[n].present && !o[n].disabled;
}

/* ---- names ---- */
/* Addresses go out in order, four of each family a name. */
static struct ipaddr proxy(uint32_t name, uint32_t i, bool v6)
{
	struct ipaddr a = v6 ? pkt_ip("fd00:2021:1111:8000::") : pkt_ip("100.96.0.1");

	a.b[v6 ? 15 : 3] = (uint8_t)(a.b[v6 ? 15 : 3] + 4 * name + i);
	return a;
}

/* The name of a proxy address; NAMES: it is one, of none; -1: it is no proxy address. */
static int o_name(const struct ipaddr *a)
{
	bool v6 = a->family == 6;

	for (uint32_t k = 0; k < NAMES; k++)
		for (uint32_t i = 0; i < 4; i++) {
			struct ipaddr p = proxy(k, i, v6);

			if (ipaddr_eq(&p, a))
				return k < name_count ? (int)k : NAMES;
		}
	return -1;
}

static void o_say(uint32_t g, uint32_t k)
{
	names[k].at[g].sent_ns = now;
	names[k].at[g].want = true;
}

static void o_say_again(uint32_t g, uint32_t k)
{
	if (now - names[k].at[g].sent_ns >= 2 * NS_PER_SEC)
		o_say(g, k);
}

static void o_update(uint32_t g, uint32_t k)
{
	switch (names[k].at[g].state) {
	case DNS_NAT_FREE:
		names[k].at[g].hold = true;
		names[k].at[g].state = DNS_NAT_PENDING;
		o_say(g, k);
		break;
	case DNS_NAT_PENDING:
		o_say_again(g, k);
		break;
	case DNS_NAT_RECREATING: /* never lasts: only served names have entries */
	case DNS_NAT_CONFIRMED:
	case DNS_NAT_FAILED:
		break;
	}
}

static void o_served(uint32_t n)
{
	for (uint32_t k = 0; k < name_count; k++)
		if (names[k].resource == n)
			o_update(o[n].gateway, k);
}

/* No gateway serves resource n any more. */
static void o_unserved(uint32_t n)
{
	for (uint32_t k = 0; k < name_count; k++)
		if (names[k].resource == n)
			memset(names[k].at, 0, sizeof(names[k].at));
	o[n].gateway = 0;
}

static enum ps_reason_id o_out_name(uint32_t g, uint32_t k)
{
	if (names[k].at[g].state != DNS_NAT_PENDING)
		return PS_R_UTX_SENT;
	o_say_again(g, k);
	return names[k].at[g].hold ? PS_R_UTX_BUFFERED : PS_R_UTX_SENT;
}

static bool o_better(uint32_t a, uint32_t b)
{
	uint8_t la = nets[a] ? pkt_net(nets[a]).len : 0, lb = nets[b] ? pkt_net(nets[b]).len : 0;
	uint64_t ma = o[a].gateway ? o[a].mapped : UINT64_MAX,
		 mb = o[b].gateway ? o[b].mapped : UINT64_MAX;

	return la != lb ? la > lb : ma != mb ? ma < mb : a > b;
}

/* The resource that answers for the address: longest prefix, then the first to get a gateway, then
 * the larger id. */
static int o_match(const struct ipaddr *a, uint32_t gateway)
{
	int best = -1;

	for (uint32_t n = 0; n < NETS; n++) {
		if (!o[n].present || o[n].disabled || !o_covers(n, a) ||
		    (gateway && o[n].gateway != gateway))
			continue;
		if (best < 0 || o_better(n, (uint32_t)best))
			best = (int)n;
	}
	return best;
}

static uint32_t slot_of(uint32_t gateway)
{
	struct tcl_flow f = world_flow_of(1, (uint8_t)gateway);

	return tcl_find_gateway(&c, &f.gateway);
}

static void drop_flows(uint32_t slot)
{
	for (uint32_t i = 0; i < FLOWS; i++)
		if (flows[i].used && flows[i].grant.slot == slot)
			flows[i].used = false;
}

/* What becomes of a packet to far, as of the model. */
static enum ps_reason_id o_out(const struct ipaddr *far)
{
	int n = o_match(far, 0), k = o_name(far);

	if (k >= 0)
		n = k < NAMES && o_active(names[k].resource) ? (int)names[k].resource : -1;
	else if (far->family == 4 && far->b[0] == 100)
		return up[far->b[3]]	  ? PS_R_UTX_SENT
		       : known[far->b[3]] ? PS_R_UTX_NO_SESSION
					  : PS_R_UTX_NO_PEER;
	if (n < 0)
		return PS_R_UTX_NO_PEER;
	o[n].pending |= !o[n].gateway;
	if (!o[n].gateway || !up[o[n].gateway])
		return PS_R_UTX_BUFFERED;
	return k < 0 ? PS_R_UTX_SENT : o_out_name(o[n].gateway, (uint32_t)k);
}

/* A packet that waited is judged anew, as the model judges it. */
static void released(const uint8_t *pkt, uint16_t len)
{
	uint32_t id = be32_get(pkt + len - 4);
	enum ps_reason_id want, r;
	uint8_t copy[HELD_PACKET_CAP];
	struct ip_meta m;

	memcpy(copy, pkt, len);
	T(id < next_id && fate[id] == 1);
	T_EQ(ip_packet_parse(copy, len, &m), 0);
	want = o_out(&m.dst);
	r = tcl_route_out(&c, copy, &m, &grant, now);
	T(r == want || (want == PS_R_UTX_BUFFERED && r == PS_R_UTX_BUFFER_FULL));
	if (r == PS_R_UTX_SENT)
		fate[id] = 2;
}

static void on_flush(void)
{
	const uint8_t *pkt;
	uint16_t len;

	if (ev.kind == TCL_EVENT_FLUSH)
		while (tcl_resource_served(&c, ev.resource) &&
		       (len = tcl_held_pop(&c, ev.resource, &pkt)))
			released(pkt, len);
	else
		while ((len = tcl_name_pop(&c, ev.slot, ev.name, &pkt))) {
			released(pkt, len);
			name_sent_count++;
		}
}

static uint32_t slot_gateway(uint32_t slot)
{
	const struct tcl_gateway *g = tcl_gateway_at(&c, slot);

	return g ? g->id.b[15] : 0;
}

static void on_control(void)
{
	uint32_t g = slot_gateway(ev.slot), k = ev.name;
	struct p2p_assigned_ips said = names_said();

	if (!T(k < name_count && up[g] && names[k].at[g].want))
		return;
	names[k].at[g].want = false;
	T_STR(said.domain, domains[names[k].domain]);
	T_EQ(said.resource.b[0], names[k].resource + 1);
	T_EQ(said.count, 8);
	for (uint32_t i = 0; i < 8; i++) {
		struct ipaddr want = proxy(k, i & 3, i > 3);

		T(ipaddr_eq(&said.ips[i], &want));
	}
	said_count++;
}

static void on_intent(void)
{
	uint32_t n = ev.id.b[0] - 1u;

	T(o[n].pending && (!o[n].intent_ns || now - o[n].intent_ns >= TCL_INTENT_GAP_NS));
	o[n].intent_ns = now;
	intent_count++;
}

static void poll_events(void)
{
	while (tcl_poll_event(&c, &ev)) {
		if (ev.kind == TCL_EVENT_PEER_CHANGED || ev.kind == TCL_EVENT_PEER_REMOVED)
			drop_flows(ev.slot);
		if (ev.kind == TCL_EVENT_FLUSH || ev.kind == TCL_EVENT_NAME_FLUSH)
			on_flush();
		if (ev.kind == TCL_EVENT_CONTROL)
			on_control();
		if (ev.kind == TCL_EVENT_INTENT)
			on_intent();
	}
	for (uint32_t k = 0; k < name_count; k++)
		for (uint32_t g = 1; g <= WORLD_GATEWAYS; g++)
			T(!names[k].at[g].want);
}

static struct ipaddr any_address(void)
{
	return roll(3) ? pkt_ip(addresses[roll(ADDRESSES)])
		       : proxy(roll(NAMES), roll(4), roll(2) != 0);
}

static void do_packet(void)
{
	struct ipaddr far = any_address(), own = pkt_ip(far.family == 4 ? ME4 : ME6);
	struct pkt p = pkt_make(&own, &far, IP_PROTO_UDP, 1000, 2000, 8);
	enum ps_reason_id r, want = o_out(&far);

	be32_put(p.b + p.len - 4, next_id);
	r = tcl_route_out(&c, p.b, &p.m, &grant, now);
	T(r == want || (want == PS_R_UTX_BUFFERED && r == PS_R_UTX_BUFFER_FULL));
	fate[next_id++] = r == PS_R_UTX_SENT ? 2 : 1;
	if (r == PS_R_UTX_SENT) {
		sent_count++;
		if (grant.cacheable)
			flows[roll(FLOWS)] = (struct flow){.p = p, .grant = grant, .used = true};
	}
}

static void do_inbound(void)
{
	struct ipaddr far = any_address(), own = pkt_ip(far.family == 4 ? ME4 : ME6);
	struct pkt p = pkt_make(&far, &own, IP_PROTO_UDP, 2000, 1000, 4);
	uint32_t g = 1 + roll(WORLD_GATEWAYS), slot = slot_of(g);
	bool ok = far.family == 4 && far.b[0] == 100 && far.b[1] == 64 && far.b[3] == g;
	int k = o_name(&far);

	if (k >= 0 && k < NAMES)
		ok = o_active(names[k].resource) && o[names[k].resource].gateway == g;
	else if (k < 0 && far.b[0] != 100)
		ok = o_match(&far, g) >= 0;
	(void)tcl_check_in(&c, slot, p.b, &p.m, &grant, now);
	T_EQ(grant.allowed, known[g] && ok);
	if (grant.allowed)
		flows[roll(FLOWS)] = (struct flow){
			.p = p, .grant = grant, .used = true, .in = true};
}

static void do_query(void)
{
	uint32_t d = roll(DOMAINS), k = 0, n = FIRST_DNS;

	if (d == 2 || !o_active(n)) /* c.test is no *.one.test */
		n++;
	names_ask(domains[d], roll(2) ? DNS_TYPE_A : DNS_TYPE_AAAA);
	if (!o_active(n)) {
		T_EQ(act.name, DNS_NAMES_NONE);
		return;
	}
	while (k < name_count && (names[k].resource != n || names[k].domain != d))
		k++;
	if (k == name_count) {
		names[k].resource = n;
		names[k].domain = d;
		name_count++;
	}
	T_EQ(act.name, k);
	for (uint32_t g = 1; g <= WORLD_GATEWAYS; g++) {
		enum dns_nat_state was = names[k].at[g].state;

		if (was != DNS_NAT_CONFIRMED && was != DNS_NAT_FAILED)
			continue;
		names[k].at[g].hold = was == DNS_NAT_FAILED;
		names[k].at[g].state = DNS_NAT_PENDING;
		o_say(g, k);
		return;
	}
	if (o[n].gateway && up[o[n].gateway])
		o_update(o[n].gateway, k);
}

static void do_in_site(void)
{
	uint32_t n = roll(NETS), g = o[n].gateway;
	struct tcl_resource_spec s = spec_of(n);
	bool dns = n >= FIRST_DNS && o_active(n);
	struct ipaddr at;

	T_EQ(tcl_in_site(&c, &s.r.id, 4, &at, now), !dns ? -ENOENT : g && up[g] ? 0 : -EAGAIN);
	if (dns && g && up[g])
		T(at.b[1] == 64 && at.b[3] == g);
	else if (dns)
		o[n].pending |= !g;
}

static void do_status(void)
{
	uint32_t k = roll(NAMES), g = 1 + roll(WORLD_GATEWAYS);
	bool active = roll(3);

	if (k >= name_count)
		return;
	names_status(slot_of(g), (uint8_t)(names[k].resource + 1), domains[names[k].domain],
		     active);
	if (!names[k].at[g].state)
		return;
	names[k].at[g].state = active ? DNS_NAT_CONFIRMED : DNS_NAT_FAILED;
	names[k].at[g].want = false;
}

/* One intent a gap's time may come early, when a gateway is lost that was up. */
static void forget_gateway(uint32_t g)
{
	for (uint32_t n = 0; n < NETS; n++) {
		if (o[n].gateway != g)
			continue;
		o_unserved(n);
		o[n].pending = false;
		if (up[g] && (!o[n].excused_ns || now - o[n].excused_ns >= TCL_INTENT_GAP_NS)) {
			o[n].excused_ns = now;
			o[n].intent_ns = 0;
		}
	}
	up[g] = known[g] = false;
}

static void do_add_or_remove(void)
{
	uint32_t n = roll(NETS);
	struct tcl_resource_spec s = spec_of(n);

	if (o[n].present && roll(2)) {
		tcl_remove_resource(&c, &s.r.id, now);
		o[n].present = o[n].pending = false;
		o_unserved(n);
		o[n].intent_ns = o[n].excused_ns = 0;
	} else {
		T_EQ(tcl_add_resource(&c, &s, now), 0);
		o[n].present = true;
	}
}

static void do_switches(void)
{
	struct uuid ids[NETS];
	uint32_t count = 0;

	for (uint32_t n = 0; n < NETS; n++) {
		bool off = !roll(4);

		if (off)
			ids[count++] = spec_of(n).r.id;
		if (off && !o[n].disabled) {
			o_unserved(n);
			o[n].pending = false;
		}
		o[n].disabled = off;
	}
	T_EQ(tcl_set_disabled(&c, ids, count, now), 0);
}

static void do_flow(void)
{
	uint32_t n = roll(NETS), g = 1 + roll(2), slot;
	struct tcl_flow f = world_flow_of((uint8_t)(n + 1), (uint8_t)g);
	int rc = tcl_flow_created(&c, &f, &slot, now);

	T_EQ(rc == 0, o[n].present && o[n].pending);
	if (rc)
		return;
	o[n].gateway = g;
	o[n].mapped = ++mapped_count;
	o[n].pending = false;
	known[g] = true;
	T_EQ(slot, slot_of(g));
	if (up[g])
		o_served(n);
}

static void do_connection(void)
{
	uint32_t g = 1 + roll(2);

	if (!known[g])
		return;
	if (roll(8)) {
		tcl_gateway_established(&c, slot_of(g), now);
		for (uint32_t n = 0; n < NETS && !up[g]; n++)
			if (o[n].gateway == g)
				o_served(n);
		up[g] = true;
	} else {
		tcl_gateway_gone(&c, slot_of(g), now);
		forget_gateway(g);
	}
}

static void do_failure(void)
{
	uint32_t n = roll(NETS), g = o[n].gateway;
	struct tcl_resource_spec s = spec_of(n);
	bool offline = roll(2);

	tcl_flow_failed(&c, &s.r.id, offline ? TCL_FAILURE_OFFLINE : TCL_FAILURE_OTHER, now);
	if (!offline || !o[n].present)
		return;
	if (g)
		forget_gateway(g);
	o[n].pending = false;
}

static void do_reset(void)
{
	tcl_reset(&c, now);
	for (uint32_t g = 1; g <= WORLD_GATEWAYS; g++)
		up[g] = known[g] = false;
	for (uint32_t n = 0; n < NETS; n++) {
		o_unserved(n);
		o[n].intent_ns = 0;
	}
}

static void check_flows(void)
{
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct flow *f = &flows[i];

		if (!f->used)
			continue;
		if (f->in)
			T_EQ(tcl_check_in(&c, f->grant.slot, f->p.b, &f->p.m, &grant, now),
			     PS_R_URX_DELIVERED);
		else {
			T_EQ(o_out(&f->p.m.dst), PS_R_UTX_SENT);
			T_EQ(tcl_route_out(&c, f->p.b, &f->p.m, &grant, now), PS_R_UTX_SENT);
		}
		T_EQ(grant.slot, f->grant.slot);
	}
}

static void step(void)
{
	uint32_t r = roll(240);

	if (r >= 230)
		do_status();
	else if (r >= 210) {
		do_query();
		poll_events();
	} else if (r >= 205) {
		do_in_site();
		poll_events();
	} else if (r < 70) {
		do_packet();
		poll_events(); /* an intent counts from the packet that raised it */
	} else if (r < 100)
		do_inbound();
	else if (r < 106)
		do_add_or_remove();
	else if (r < 150)
		do_flow();
	else if (r < 175)
		do_connection();
	else if (r < 180)
		do_failure();
	else if (r < 182)
		do_switches();
	else if (r < 183)
		do_reset();
	else
		now += roll(1500) * NS_PER_MS;
}

static void test_against_oracle(void)
{
	names_setup();
	rnd = t_seed();
	for (uint32_t n = 0; n < STEPS; n++) {
		step();
		if (roll(4))
			poll_events();
		if (n % 8 == 0) {
			poll_events();
			check_flows();
			names_check_pools();
		}
	}
	T(sent_count > STEPS / 40 && intent_count > STEPS / 100);
	T(said_count > STEPS / 100 && name_sent_count > STEPS / 1000);
	t_note("AssignedIps=%llu sent when confirmed=%llu", (unsigned long long)said_count,
	       (unsigned long long)name_sent_count);
	t_note("steps=%d seed=%llu sent=%llu intents=%llu held twice=%llu", STEPS,
	       (unsigned long long)t_seed(), (unsigned long long)sent_count,
	       (unsigned long long)intent_count, (unsigned long long)c.counters.held_duplicate);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_against_oracle);
	return t_done();
}
