/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's policy under random resources, flows, connections, failures, roaming and packets,
 * against a naive list: who may send what, each packet leaves at most once, no cell of the pool is
 * lost, intents keep their distance, and no decision that may be cached outlives a change that was
 * not announced. */
#include "tests/tcl_world.h"

enum { STEPS = 40000, NETS = 6, FLOWS = 24, IDS = 1 << 18 };

/* Resource n of the oracle; the same nets overlap on purpose. */
static const char *const nets[NETS] = {"10.0.0.0/8",	"10.1.0.0/16", "10.1.0.0/16",
				       "172.16.0.0/12", "fd12::/16",   NULL};
static const char *const addresses[] = {"10.9.9.9",   "10.1.9.9",   "172.16.5.5",
					"fd12::1",    "8.8.8.8",    "2001:db8::1",
					"100.64.2.1", "100.64.2.2", "192.168.0.1"};
#define ADDRESSES (sizeof(addresses) / sizeof(*addresses))

static struct {
	bool present, disabled, pending;
	uint32_t gateway;	    /* 1…, 0: none */
	uint64_t intent_ns, mapped; /* mapped: order of the mappings */
} o[NETS];
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
	struct tcl_resource_spec s = world_cidr((uint8_t)(n + 1), nets[n] ? nets[n] : "10.0.0.0/8",
						1);

	if (!nets[n])
		s.r = (struct tunnel_resource){.id = s.r.id, .type = TUNNEL_RESOURCE_INTERNET};
	return s;
}

static bool o_covers(uint32_t n, const struct ipaddr *a)
{
	struct ipnet net = nets[n] ? pkt_net(nets[n]) : (struct ipnet){0};

	if (nets[n])
		return ipnet_contains(&net, a);
	return a->family == 4 ? a->b[0] == 8 : a->b[0] == 0x20;
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

static void on_flush(void)
{
	const uint8_t *pkt;
	uint16_t len;

	while ((len = tcl_held_pop(&c, ev.resource, &pkt))) {
		uint32_t id = be32_get(pkt + len - 4);

		T(id < next_id && fate[id] == 1);
		fate[id] = 2;
	}
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
		if (ev.kind == TCL_EVENT_FLUSH)
			on_flush();
		if (ev.kind == TCL_EVENT_INTENT)
			on_intent();
	}
}

static void do_packet(void)
{
	struct ipaddr far = pkt_ip(addresses[roll(ADDRESSES)]),
		      own = pkt_ip(far.family == 4 ? ME4 : ME6);
	struct pkt p = pkt_make(&own, &far, IP_PROTO_UDP, 1000, 2000, 8);
	enum ps_reason_id r, want = PS_R_UTX_NO_PEER;
	int n = o_match(&far, 0);

	be32_put(p.b + p.len - 4, next_id);
	if (far.family == 4 && far.b[0] == 100) { /* a gateway itself */
		uint32_t g = far.b[3];

		want = up[g] ? PS_R_UTX_SENT : known[g] ? PS_R_UTX_NO_SESSION : PS_R_UTX_NO_PEER;
	} else if (n >= 0) {
		want = o[n].gateway && up[o[n].gateway] ? PS_R_UTX_SENT : PS_R_UTX_BUFFERED;
		o[n].pending |= !o[n].gateway;
	}
	r = tcl_route_out(&c, p.b, &p.m, &grant, now);
	T(r == want || (want == PS_R_UTX_BUFFERED && r == PS_R_UTX_BUFFER_FULL));
	fate[next_id++] = r == PS_R_UTX_SENT ? 2 : 1;
	if (r == PS_R_UTX_SENT) {
		sent_count++;
		flows[roll(FLOWS)] = (struct flow){.p = p, .grant = grant, .used = true};
	}
}

static void do_inbound(void)
{
	struct ipaddr far = pkt_ip(addresses[roll(ADDRESSES)]),
		      own = pkt_ip(far.family == 4 ? ME4 : ME6);
	struct pkt p = pkt_make(&far, &own, IP_PROTO_UDP, 2000, 1000, 4);
	uint32_t g = 1 + roll(WORLD_GATEWAYS), slot = slot_of(g);
	bool itself = far.family == 4 && far.b[0] == 100 && far.b[3] == g;

	(void)tcl_check_in(&c, slot, p.b, &p.m, &grant, now);
	T_EQ(grant.allowed, known[g] && (itself || (far.b[0] != 100 && o_match(&far, g) >= 0)));
	if (grant.allowed)
		flows[roll(FLOWS)] = (struct flow){
			.p = p, .grant = grant, .used = true, .in = true};
}

static void forget_gateway(uint32_t g)
{
	up[g] = known[g] = false;
	for (uint32_t n = 0; n < NETS; n++)
		if (o[n].gateway == g) {
			o[n].gateway = 0;
			o[n].pending = false;
		}
}

static void do_add_or_remove(void)
{
	uint32_t n = roll(NETS);
	struct tcl_resource_spec s = spec_of(n);

	if (o[n].present && roll(2)) {
		tcl_remove_resource(&c, &s.r.id, now);
		o[n].present = o[n].pending = false;
		o[n].gateway = 0;
		o[n].intent_ns = 0;
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
			o[n].gateway = 0;
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
}

static void do_connection(void)
{
	uint32_t g = 1 + roll(2);

	if (!known[g])
		return;
	if (roll(8)) {
		tcl_gateway_established(&c, slot_of(g), now);
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
		o[n].gateway = 0;
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
		else
			T_EQ(tcl_route_out(&c, f->p.b, &f->p.m, &grant, now), PS_R_UTX_SENT);
		T_EQ(grant.slot, f->grant.slot);
	}
}

static void check_pool(void)
{
	uint32_t n = 0;

	for (uint32_t i = c.held.free; i != TUNNEL_NO_SLOT; i = held_pool[i].next)
		n++;
	for (uint32_t i = tcl_resource_next(&c, TUNNEL_NO_SLOT); i != TUNNEL_NO_SLOT;
	     i = tcl_resource_next(&c, i))
		n += resources[i].held.count;
	T_EQ(n, WORLD_HELD);
}

static void step(void)
{
	uint32_t r = roll(200);

	if (r < 70) {
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
	world_setup();
	rnd = t_seed();
	for (uint32_t n = 0; n < STEPS; n++) {
		step();
		if (roll(4))
			poll_events();
		if (n % 8 == 0) {
			poll_events();
			check_flows();
			check_pool();
		}
	}
	T(sent_count > STEPS / 20 && intent_count > STEPS / 100);
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
