/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's half of a DNS resource's NAT: every transition, the clock of repetition, what waits,
 * ends, the bytes of AssignedIps, and random histories against a plain model. */
#include "core/tunnel/dns_nat.h"

#include "codec/p2p_ctl.h"
#include "tests/pkt.h"
#include "tests/t.h"

#define NAMES	4
#define ENTRIES 12
#define HELD	48
#define T0	(50 * NS_PER_SEC)

static struct dns_nat nat;
static struct dns_nat_entry entries[ENTRIES];
static struct idx_cell nat_cells[64], name_cells[128];
static struct held_packet held[HELD];
static struct dns_names names;
static struct dns_assigned assigned[NAMES];
static struct dns_nat_event ev;
static uint64_t now;

static struct uuid id(uint8_t n)
{
	return (struct uuid){.b = {[15] = n}};
}

/* Names 0 a.x and 1 b.x of resource 1, 2 a.x and 3 c.x of resource 2. */
static void setup(void)
{
	static const char *const domains[] = {"a.x", "b.x", "a.x", "c.x"};
	struct dns_nat_mem mem = {.entries = entries,
				  .cells = nat_cells,
				  .held = held,
				  .entry_cap = ENTRIES,
				  .cell_cap = 64,
				  .held_cap = HELD};

	now = T0;
	dns_nat_init(&nat, &mem, 7);
	dns_names_init(&names, assigned, NAMES, name_cells, 128, 7);
	for (uint32_t i = 0; i < NAMES; i++) {
		struct uuid r = id((uint8_t)(1 + i / 2));

		T_EQ(dns_names_assign(&names, domains[i], &r, DNS_STACK_DUAL), i);
	}
}

static struct pkt packet(uint16_t port)
{
	return pkt_text("100.64.0.2", "100.96.0.1", IP_PROTO_UDP, port, 80);
}

static enum dns_nat_verdict out(uint32_t gateway, uint32_t name, uint16_t port)
{
	struct pkt p = packet(port);

	return dns_nat_out(&nat, gateway, name, p.b, &p.m, now);
}

static void status(uint32_t gateway, uint32_t name, bool active)
{
	struct p2p_domain_status s = {.resource = assigned[name].resource, .active = active};

	memcpy(s.domain, assigned[name].domain, strlen(assigned[name].domain) + 1);
	dns_nat_status(&nat, &names, gateway, &s);
}

static bool expect(enum dns_nat_event_kind kind, uint32_t gateway, uint32_t name)
{
	return T(dns_nat_poll(&nat, &ev)) && T_EQ(ev.kind, kind) && T_EQ(ev.gateway, gateway) &&
	       T_EQ(ev.name, name);
}

static void expect_quiet(void)
{
	T(!dns_nat_poll(&nat, &ev));
}

static void expect_held(uint32_t gateway, uint32_t name, uint16_t port)
{
	const uint8_t *p = NULL;

	if (T(dns_nat_pop(&nat, gateway, name, &p) > 0))
		T_EQ(be16_get(p + 20), port);
}

/* ---- transitions ---- */
static void test_update_creates_pending_and_sends(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_PENDING);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	expect_quiet();
	T_EQ(dns_nat_state(&nat, 6, 0), DNS_NAT_FREE);
	T_EQ(dns_nat_state(&nat, 5, 1), DNS_NAT_FREE);
}

static void test_without_entry_packets_pass(void)
{
	setup();
	T_EQ(out(5, 0, 1), DNS_NAT_PASS);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_FREE);
	expect_quiet();
}

static void test_pending_holds_then_flushes_in_order(void)
{
	const uint8_t *p;

	setup();
	dns_nat_update(&nat, 5, 0, now);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	for (uint16_t i = 0; i < 3; i++)
		T_EQ(out(5, 0, i), DNS_NAT_HELD);
	T_EQ(out(5, 0, 1), DNS_NAT_HELD); /* once only */
	expect_quiet();
	status(5, 0, true);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_CONFIRMED);
	expect(DNS_NAT_EVENT_FLUSH, 5, 0);
	expect_quiet();
	for (uint16_t i = 0; i < 3; i++)
		expect_held(5, 0, i);
	T_EQ(dns_nat_pop(&nat, 5, 0, &p), 0);
	T_EQ(out(5, 0, 9), DNS_NAT_PASS);
	T_EQ(nat.counters.held_duplicate, 1);
}

static void test_confirmed_without_packets_is_quiet(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	status(5, 0, true); /* before SEND was polled: it is no longer due */
	expect_quiet();
}

static void test_pending_sends_again_after_two_seconds(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	now = T0 + 2 * NS_PER_SEC - 1;
	out(5, 0, 1);
	dns_nat_update(&nat, 5, 0, now);
	expect_quiet();
	now = T0 + 2 * NS_PER_SEC;
	out(5, 0, 2);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	out(5, 0, 3);
	expect_quiet();
	now += 2 * NS_PER_SEC;
	dns_nat_update(&nat, 5, 0, now);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	T_EQ(nat.counters.resent, 2);
}

static void test_inactive_fails_and_drops(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	out(5, 0, 1);
	status(5, 0, false);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_FAILED);
	T_EQ(nat.counters.held_discarded, 1);
	T_EQ(out(5, 0, 2), DNS_NAT_PASS); /* the gateway answers with errors */
	now += 10 * NS_PER_SEC;
	dns_nat_update(&nat, 5, 0, now);
	out(5, 0, 3);
	expect_quiet(); /* failed is not sent again */
	status(5, 0, true);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_CONFIRMED);
	expect_quiet();
}

static void test_requery_of_confirmed_does_not_hold(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	status(5, 0, true);
	dns_nat_requery(&nat, 0);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_RECREATING);
	T_EQ(out(5, 0, 1), DNS_NAT_PASS);
	dns_nat_update(&nat, 5, 0, now);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_PENDING);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	T_EQ(out(5, 0, 2), DNS_NAT_PASS); /* what works goes on working */
	now += 2 * NS_PER_SEC;
	T_EQ(out(5, 0, 3), DNS_NAT_PASS);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	dns_nat_requery(&nat, 0); /* pending: nothing new */
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_PENDING);
}

static void test_requery_of_failed_holds(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	status(5, 0, false);
	dns_nat_requery(&nat, 0);
	T_EQ(out(5, 0, 1), DNS_NAT_PASS); /* not before it is pending */
	dns_nat_update(&nat, 5, 0, now);
	expect(DNS_NAT_EVENT_SEND, 5, 0);
	T_EQ(out(5, 0, 2), DNS_NAT_HELD);
	status(5, 0, true);
	expect(DNS_NAT_EVENT_FLUSH, 5, 0);
	expect_held(5, 0, 2);
}

static void test_requery_concerns_all_gateways_of_that_name(void)
{
	setup();
	for (uint32_t g = 1; g <= 3; g++) {
		dns_nat_update(&nat, g, 0, now);
		dns_nat_update(&nat, g, 1, now);
		status(g, 0, true);
		status(g, 1, true);
	}
	dns_nat_requery(&nat, 0);
	for (uint32_t g = 1; g <= 3; g++) {
		T_EQ(dns_nat_state(&nat, g, 0), DNS_NAT_RECREATING);
		T_EQ(dns_nat_state(&nat, g, 1), DNS_NAT_CONFIRMED);
	}
}

static void test_status_of_nothing_is_ignored(void)
{
	struct p2p_domain_status s = {.resource = id(1), .domain = "other.x", .active = true};

	setup();
	dns_nat_update(&nat, 5, 0, now);
	status(6, 0, true);
	status(5, 2, true); /* the same domain of another resource */
	dns_nat_status(&nat, &names, 5, &s);
	T_EQ(nat.counters.unknown, 3);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_PENDING);
	T_EQ(dns_nat_state(&nat, 5, 2), DNS_NAT_FREE);
}

/* ---- resources, ends, bounds ---- */
static void test_update_resource_walks_its_names(void)
{
	struct uuid two = id(2);

	setup();
	dns_nat_update_resource(&nat, &names, 5, &two, now);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_FREE);
	expect(DNS_NAT_EVENT_SEND, 5, 2);
	expect(DNS_NAT_EVENT_SEND, 5, 3);
	expect_quiet();
}

static void test_ends(void)
{
	struct uuid one = id(1), two = id(2);

	setup();
	for (uint32_t g = 5; g <= 6; g++) {
		dns_nat_update_resource(&nat, &names, g, &one, now);
		dns_nat_update_resource(&nat, &names, g, &two, now);
		out(g, 0, 1);
	}
	dns_nat_gateway_gone(&nat, 5);
	T_EQ(dns_nat_state(&nat, 5, 0), DNS_NAT_FREE);
	T_EQ(dns_nat_state(&nat, 6, 0), DNS_NAT_PENDING);
	dns_nat_resource_gone(&nat, &names, &one);
	T_EQ(dns_nat_state(&nat, 6, 1), DNS_NAT_FREE);
	expect(DNS_NAT_EVENT_SEND, 6, 2);
	expect(DNS_NAT_EVENT_SEND, 6, 3);
	expect_quiet();
	dns_nat_reset(&nat);
	T_EQ(dns_nat_state(&nat, 6, 2), DNS_NAT_FREE);
	T_EQ(nat.counters.held_discarded, 2);
	T_EQ(nat.idx.used, 0);
	dns_nat_update(&nat, 5, 0, now); /* and anew */
	expect(DNS_NAT_EVENT_SEND, 5, 0);
}

static void test_table_full(void)
{
	setup();
	for (uint32_t g = 0; g < ENTRIES; g++)
		dns_nat_update(&nat, g, 0, now);
	dns_nat_update(&nat, ENTRIES, 0, now);
	T_EQ(nat.counters.full, 1);
	T_EQ(out(ENTRIES, 0, 1), DNS_NAT_PASS);
	dns_nat_gateway_gone(&nat, 3);
	dns_nat_update(&nat, ENTRIES, 0, now);
	T_EQ(dns_nat_state(&nat, ENTRIES, 0), DNS_NAT_PENDING);
}

static void test_ring_is_bounded(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	for (uint16_t i = 0; i < 40; i++)
		T_EQ(out(5, 0, i), i < DNS_NAT_HELD_CAP ? DNS_NAT_HELD : DNS_NAT_LOST);
	T_EQ(nat.counters.held_lost, 8);
	status(5, 0, true);
	for (uint16_t i = 8; i < 40; i++)
		expect_held(5, 0, i);
}

static void test_pool_is_bounded(void)
{
	setup();
	dns_nat_update(&nat, 5, 0, now);
	dns_nat_update(&nat, 5, 1, now);
	dns_nat_update(&nat, 5, 2, now);
	for (uint16_t i = 0; i < 32; i++)
		out(5, 0, i);
	for (uint16_t i = 0; i < 16; i++)
		out(5, 1, i);
	T_EQ(out(5, 1, 16), DNS_NAT_LOST); /* its own oldest gave way */
	T_EQ(out(5, 2, 1), DNS_NAT_LOST);  /* it has none to give */
	status(5, 1, true);
	for (uint16_t i = 1; i <= 16; i++)
		expect_held(5, 1, i);
	T_EQ(out(5, 2, 1), DNS_NAT_HELD);
}

static void test_too_long_is_not_held(void)
{
	static uint8_t big[HELD_PACKET_CAP + 1];
	struct pkt p = packet(1);

	setup();
	dns_nat_update(&nat, 5, 0, now);
	memcpy(big, p.b, p.len);
	p.m.total_len = sizeof(big);
	T_EQ(dns_nat_out(&nat, 5, 0, big, &p.m, now), DNS_NAT_LOST);
}

/* ---- bytes ---- */
static void test_assigned_ips_bytes(void)
{
	static const char want[] =
		"{\"resource\":\"00000000-0000-0000-0000-000000000065\",\"domain\":\"example.com\","
		"\"proxy_ips\":[\"100.96.0.1\",\"100.96.0.2\",\"100.96.0.3\",\"100.96.0.4\","
		"\"fd00:2021:1111:8000::\",\"fd00:2021:1111:8000::1\",\"fd00:2021:1111:8000::2\","
		"\"fd00:2021:1111:8000::3\"]}";
	struct p2p_assigned_ips a;
	struct uuid r = id(0x65);
	char json[P2P_CTL_PAYLOAD_CAP];
	size_t len;

	dns_names_init(&names, assigned, NAMES, name_cells, 128, 7);
	dns_nat_assigned_ips(&names, dns_names_assign(&names, "Example.com", &r, DNS_STACK_DUAL),
			     &a);
	T_EQ(p2p_assigned_ips_encode(&a, json, sizeof(json), &len), 0);
	T_EQ(len, sizeof(want) - 1);
	T_MEM(json, want, sizeof(want) - 1);
	dns_nat_assigned_ips(&names, dns_names_assign(&names, "v4.com", &r, DNS_STACK_V4), &a);
	T_EQ(a.count, 4);
	dns_nat_assigned_ips(&names, 77, &a);
	T_EQ(a.count, 0);
}

/* ---- model: one struct for each (gateway, name), the table of the specification as code ---- */
struct model {
	enum dns_nat_state state;
	bool hold;
	uint64_t sent;
	uint16_t ports[DNS_NAT_HELD_CAP];
	uint32_t count;
	uint32_t sends;
};

#define GATEWAYS 3

static struct model model[GATEWAYS][NAMES];

static void model_send(struct model *m)
{
	m->sent = now;
	m->sends = 1;
}

static void model_update(struct model *m)
{
	if (m->state == DNS_NAT_FREE || m->state == DNS_NAT_RECREATING) {
		if (m->state == DNS_NAT_FREE)
			m->hold = true;
		m->state = DNS_NAT_PENDING;
		model_send(m);
	} else if (m->state == DNS_NAT_PENDING && now - m->sent >= DNS_NAT_RESEND_NS) {
		model_send(m);
	}
}

static bool model_holds(struct model *m, uint16_t port)
{
	if (m->state != DNS_NAT_PENDING)
		return false;
	if (now - m->sent >= DNS_NAT_RESEND_NS)
		model_send(m);
	if (!m->hold)
		return false;
	for (uint32_t i = 0; i < m->count; i++)
		if (m->ports[i] == port)
			return true;
	m->ports[m->count++] = port; /* the test never fills a ring or the pool */
	return true;
}

/* Every event that is due comes once, and what is flushed is what was held. */
static void model_poll(void)
{
	while (dns_nat_poll(&nat, &ev)) {
		struct model *m = &model[ev.gateway][ev.name];

		if (ev.kind == DNS_NAT_EVENT_SEND) {
			T_EQ(m->sends, 1);
			m->sends = 0;
			continue;
		}
		T_EQ(m->state, DNS_NAT_CONFIRMED);
		for (uint32_t i = 0; i < m->count; i++)
			expect_held(ev.gateway, ev.name, m->ports[i]);
		m->count = 0;
	}
	for (uint32_t g = 0; g < GATEWAYS; g++)
		for (uint32_t i = 0; i < NAMES; i++) {
			T_EQ(model[g][i].sends, 0);
			T_EQ(dns_nat_state(&nat, g, i), model[g][i].state);
			T(model[g][i].state == DNS_NAT_PENDING || !model[g][i].count);
		}
}

static void model_step(uint64_t *seed)
{
	uint32_t g = (uint32_t)(t_rand(seed) % GATEWAYS), i = (uint32_t)(t_rand(seed) % NAMES);
	uint16_t port = (uint16_t)(t_rand(seed) % 4);
	struct model *m = &model[g][i];
	bool active = t_rand(seed) % 2;

	now += t_rand(seed) % NS_PER_SEC;
	switch (t_rand(seed) % 16) {
	case 0 ... 3:
		dns_nat_update(&nat, g, i, now);
		model_update(m);
		break;
	case 4 ... 9:
		T_EQ(out(g, i, port), model_holds(m, port) ? DNS_NAT_HELD : DNS_NAT_PASS);
		break;
	case 10 ... 12:
		status(g, i, active);
		if (m->state == DNS_NAT_FREE)
			break;
		m->state = active ? DNS_NAT_CONFIRMED : DNS_NAT_FAILED;
		m->count = active ? m->count : 0;
		break;
	case 13 ... 14:
		dns_nat_requery(&nat, i);
		for (g = 0; g < GATEWAYS; g++) {
			m = &model[g][i];
			if (m->state != DNS_NAT_CONFIRMED && m->state != DNS_NAT_FAILED)
				continue;
			m->hold = m->state == DNS_NAT_FAILED;
			m->state = DNS_NAT_RECREATING;
		}
		break;
	default:
		dns_nat_gateway_gone(&nat, g);
		memset(model[g], 0, sizeof(model[g]));
		break;
	}
}

static void test_model(void)
{
	uint64_t seed = t_seed();

	setup();
	memset(model, 0, sizeof(model));
	for (int step = 0; step < 50000; step++) {
		model_step(&seed);
		model_poll();
	}
	T_EQ(nat.counters.held_lost, 0);
	t_note("confirmed=%llu failed=%llu resent=%llu", (unsigned long long)nat.counters.confirmed,
	       (unsigned long long)nat.counters.failed, (unsigned long long)nat.counters.resent);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_update_creates_pending_and_sends);
	T_RUN(test_without_entry_packets_pass);
	T_RUN(test_pending_holds_then_flushes_in_order);
	T_RUN(test_confirmed_without_packets_is_quiet);
	T_RUN(test_pending_sends_again_after_two_seconds);
	T_RUN(test_inactive_fails_and_drops);
	T_RUN(test_requery_of_confirmed_does_not_hold);
	T_RUN(test_requery_of_failed_holds);
	T_RUN(test_requery_concerns_all_gateways_of_that_name);
	T_RUN(test_status_of_nothing_is_ignored);
	T_RUN(test_update_resource_walks_its_names);
	T_RUN(test_ends);
	T_RUN(test_table_full);
	T_RUN(test_ring_is_bounded);
	T_RUN(test_pool_is_bounded);
	T_RUN(test_too_long_is_not_held);
	T_RUN(test_assigned_ips_bytes);
	T_RUN(test_model);
	return t_done();
}
