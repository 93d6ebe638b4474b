/* SPDX-License-Identifier: Apache-2.0
 *
 * How long packets by a client's route may be, resource by resource. */
#include "crypto/crypto.h"
#include "tests/tcl_names.h"

static uint16_t size_of[WORLD_GATEWAYS];

static uint16_t mtu_of(void *arg, uint32_t gateway)
{
	T(arg == size_of && gateway < WORLD_GATEWAYS);
	return gateway < WORLD_GATEWAYS ? size_of[gateway] : 0;
}

static unsigned mtu(const char *net)
{
	struct ipnet n = pkt_net(net);

	return tcl_route_mtu(&c, &n, mtu_of, size_of);
}

static void test_by_gateway(void)
{
	uint32_t slot;

	world_setup();
	size_of[0] = size_of[1] = size_of[2] = 1440;
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_drain();
	T_EQ(mtu("10.0.0.0/8"), 1280); /* no gateway yet */
	slot = world_connect(1, 1, "10.0.0.1");
	T_EQ(mtu("10.0.0.0/8"), 1440);
	size_of[slot] = 1340;
	T_EQ(mtu("10.0.0.0/8"), 1340);
	T_EQ(mtu("192.168.0.0/16"), 1280); /* nobody's */
	tcl_gateway_gone(&c, slot, now);
	T_EQ(mtu("10.0.0.0/8"), 1280);
}

/* Own ranges: gateways' addresses, sentinels, and names without a stub. */
static void test_reserved(void)
{
	world_setup();
	size_of[0] = 1440;
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_connect(1, 1, "10.0.0.1");
	T_EQ(mtu("100.64.0.0/11"), 1280);
	T_EQ(mtu("100.96.0.0/11"), 1280);
	T_EQ(mtu("100.100.111.0/24"), 1280);
	T_EQ(mtu("fd00:2021:1111::/107"), 1280);
	T_EQ(mtu("fd00:2021:1111:8000::/107"), 1280);
	T_EQ(mtu("fd00:2021:1111:8000:100:100:111:0/120"), 1280);
}

/* A network in a network has a route of its own. What the inner one's filters refuse the outer one
 * may take, so then both count. */
static void test_nested(void)
{
	struct tcl_resource_spec web = world_cidr(2, "10.1.0.0/16", 2);
	uint32_t outer, inner;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "10.1.0.0/16", 2);
	outer = world_connect(1, 1, "10.9.0.1");
	inner = world_connect(2, 2, "10.1.0.1");
	T(outer != inner);
	size_of[outer] = 1340;
	size_of[inner] = 1440;
	T_EQ(mtu("10.0.0.0/8"), 1340);
	T_EQ(mtu("10.1.0.0/16"), 1440);
	T_EQ(filter_set_add_ports(&web.r.filters, IP_PROTO_UDP, 1, 100), 0);
	T_EQ(tcl_add_resource(&c, &web, now), 0);
	T_EQ(mtu("10.1.0.0/16"), 1340);
	size_of[outer] = 1440;
	size_of[inner] = 1300;
	T_EQ(mtu("10.1.0.0/16"), 1300);
	T_EQ(mtu("10.0.0.0/8"), 1440);
}

/* Two resources with one network: the packet's port may decide. */
static void test_equal(void)
{
	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "10.0.0.0/8", 2);
	size_of[0] = size_of[1] = size_of[2] = 1440;
	world_connect(2, 2, "10.0.0.1");
	T_EQ(mtu("10.0.0.0/8"), 1280); /* the other one has no gateway yet */
	tcl_remove_resource(&c, &(struct uuid){.b = {1, [15] = 1}}, now);
	T_EQ(mtu("10.0.0.0/8"), 1440);
}

static void test_internet(void)
{
	struct tcl_resource_spec all = world_cidr(1, "0.0.0.0/0", 1);
	uint32_t slot;

	all.r.type = TUNNEL_RESOURCE_INTERNET;
	all.r.net = (struct ipnet){0};
	world_setup();
	T_EQ(tcl_add_resource(&c, &all, now), 0);
	slot = world_connect(1, 1, "9.9.9.9");
	size_of[slot] = 1440;
	T_EQ(mtu("0.0.0.0/0"), 1440);
	T_EQ(mtu("::/0"), 1440);
	T_EQ(mtu("128.0.0.0/1"), 1440);
	T_EQ(mtu("100.64.0.0/11"), 1280);
}

/* All names share a route: only resources that can be sent to count. */
static void test_names(void)
{
	uint32_t one, two;

	names_setup();
	size_of[0] = size_of[1] = size_of[2] = 1440;
	names_add(1, "a.example", 1);
	names_add(2, "b.example", 2);
	world_drain();
	T_EQ(mtu("100.96.0.0/11"), 1280);
	names_ask("a.example", 1);
	while (tcl_poll_event(&c, &ev) && ev.kind != TCL_EVENT_RESOURCES_CHANGED)
		;
	T_EQ(ev.kind, TCL_EVENT_RESOURCES_CHANGED); /* look at the routes */
	T_EQ(mtu("100.96.0.0/11"), 1280);
	one = world_connect(1, 1, "100.96.0.1");
	size_of[one] = 1400;
	T_EQ(mtu("100.96.0.0/11"), 1400); /* b.example was given to nobody */
	T_EQ(mtu("fd00:2021:1111:8000::/107"), 1400);
	names_ask("b.example", 1);
	T_EQ(mtu("100.96.0.0/11"), 1280);
	two = world_connect(2, 2, "100.96.0.5");
	size_of[two] = 1350;
	T_EQ(mtu("100.96.0.0/11"), 1350);
	T_EQ(mtu("100.100.111.0/24"), 1280);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_by_gateway);
	T_RUN(test_reserved);
	T_RUN(test_nested);
	T_RUN(test_equal);
	T_RUN(test_internet);
	T_RUN(test_names);
	return t_done();
}
