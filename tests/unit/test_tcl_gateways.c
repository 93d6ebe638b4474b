/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's policy when gateways come and go: what is asked for anew and when, whom the portal
 * is told of, what becomes of the site. */
#include "tests/tcl_world.h"

/* Gateway 1 serves resource 1; a packet for resource 2 waits. */
static uint32_t one_of_two_served(void)
{
	uint32_t slot;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "172.16.0.0/12", 1);
	slot = world_connect(1, 1, "10.0.0.1");
	T_EQ(world_out("172.16.0.1", 1), PS_R_UTX_BUFFERED);
	return slot;
}

static void test_gateway_vanishes(void)
{
	uint32_t slot;

	slot = one_of_two_served();
	T_EQ(world_flow(2, 1), slot);
	world_drain();
	tcl_gateway_gone(&c, slot, now);
	T_EQ(world_in(slot, "10.0.0.1"), PS_R_URX_POLICY);
	world_expect(TCL_EVENT_PEER_REMOVED);
	T_EQ(ev.slot, slot);
	T_EQ(ev.id.b[0], 101);
	T_EQ(tcl_find_gateway(&c, &ev.id), TUNNEL_NO_SLOT);
	tcl_gateway_gone(&c, slot, now);
	tcl_gateway_established(&c, slot, now);
	now += TCL_INTENT_GAP_NS;
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_BUFFERED);
	T_EQ(world_out("172.16.0.1", 1), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_INTENT);
	T_EQ(ev.connected_count, 1); /* still the preferred one */
	world_expect(TCL_EVENT_INTENT);
}

/* Two gateways of one site: it is online as long as one of them is connected. */
static void test_site_of_two_gateways(void)
{
	struct tcl_flow f = world_flow_of(2, 2);
	uint32_t first, second;

	first = one_of_two_served();
	f.site.b[0] = 201;
	f.site.b[15] = 1;
	T_EQ(tcl_flow_created(&c, &f, &second, now), 0);
	T(second != first);
	tcl_gateway_established(&c, second, now);
	tcl_gateway_gone(&c, first, now);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_ONLINE);
	tcl_gateway_gone(&c, second, now);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN);

	first = world_connect(1, 1, "10.0.0.1");
	world_out("172.16.0.1", 1);
	tcl_flow_failed(&c, &f.resource, TCL_FAILURE_OFFLINE, now);
	T_EQ(tcl_resource_status(&c, 1), TCL_STATUS_OFFLINE);
	now += TCL_INTENT_GAP_NS;
	world_out("172.16.0.1", 1);
	T_EQ(world_flow(2, 1), first); /* connected already */
	T_EQ(tcl_resource_status(&c, 1), TCL_STATUS_ONLINE);
}

/* One that cannot be reached is not named as a connected one: the portal would choose it again. */
static void test_unreachable_gateway_is_not_preferred(void)
{
	uint32_t slot;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	slot = world_connect(1, 2, "10.0.0.1");
	tcl_gateway_gone(&c, slot, now);
	world_out("10.0.0.1", 1);
	slot = world_flow(1, 1);
	world_drain();
	tcl_gateway_gone(&c, slot, now);
	now += TCL_INTENT_GAP_NS;
	world_out("10.0.0.1", 1);
	world_expect_skip(TCL_EVENT_INTENT);
	T_EQ(ev.connected_count, 1);
	T_EQ(ev.connected[0].b[0], 102);
}

/* A way that worked and is lost is asked for anew at once; a gateway that comes and goes does not
 * make the client ask more often than once more. */
static void test_lost_gateway_is_replaced_at_once(void)
{
	uint32_t slot;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	slot = world_connect(1, 1, "10.0.0.1");
	now += TCL_INTENT_GAP_NS / 4;
	tcl_gateway_gone(&c, slot, now);
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_BUFFERED);
	world_expect_skip(TCL_EVENT_INTENT);
	slot = world_flow(1, 2);
	tcl_gateway_established(&c, slot, now);
	world_drain();
	tcl_gateway_gone(&c, slot, now);
	world_drain();
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_NONE);
	now += TCL_INTENT_GAP_NS;
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_INTENT);
	slot = world_flow(1, 1); /* never comes up: no reason to hurry */
	world_drain();
	tcl_gateway_gone(&c, slot, now);
	world_drain();
	T_EQ(world_out("10.0.0.1", 1), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_NONE);
}

/* A flow to a gateway whose removal was not polled yet: same slot, no removal. */
static void test_gateway_back_before_poll(void)
{
	uint32_t slot;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	slot = world_connect(1, 1, "10.0.0.1");
	tcl_gateway_gone(&c, slot, now);
	now += TCL_INTENT_GAP_NS;
	world_out("10.0.0.1", 1);
	T_EQ(world_flow(1, 1), slot);
	world_expect(TCL_EVENT_PEER_CHANGED);
	world_expect(TCL_EVENT_RESOURCES_CHANGED);
	T_EQ(tcl_gateway_at(&c, slot)->state, TCL_GATEWAY_CONNECTING);
}

static void test_reset_on_roam(void)
{
	uint32_t slot;

	slot = one_of_two_served();
	world_drain();
	tcl_reset(&c, now);
	world_expect(TCL_EVENT_PEER_REMOVED);
	T_EQ(ev.slot, slot);
	T_EQ(tcl_resource_status(&c, 0), TCL_STATUS_UNKNOWN);
	T_EQ(tcl_resource_at(&c, 1)->held.count, 1); /* what waited still waits */
	world_drain();
	T_EQ(world_out("172.16.0.1", 2), PS_R_UTX_BUFFERED); /* asks at once */
	world_expect(TCL_EVENT_INTENT);
	T_EQ(ev.connected_count, 0);
	T_EQ(world_out("10.0.0.1", 2), PS_R_UTX_BUFFERED);
	world_expect(TCL_EVENT_INTENT);
}

static void test_recent_gateways(void)
{
	world_setup();
	for (uint32_t i = 0; i < TCL_RECENT_CAP + 20; i++) {
		struct tcl_flow f = world_flow_of(1, 1);
		uint32_t slot;

		world_add_cidr(1, "10.0.0.0/8", 1);
		world_out("10.0.0.1", 1);
		f.gateway.b[1] = (uint8_t)i;
		T_EQ(tcl_flow_created(&c, &f, &slot, now), 0);
		tcl_gateway_established(&c, slot, now);
		tcl_gateway_gone(&c, slot, now);
		tcl_remove_resource(&c, &f.resource, now);
		world_drain();
	}
	T_EQ(c.recent_count, TCL_RECENT_CAP);
	T_EQ(c.recent[0].b[1], TCL_RECENT_CAP + 19);
	T_EQ(c.recent[TCL_RECENT_CAP - 1].b[1], 20);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_gateway_vanishes);
	T_RUN(test_site_of_two_gateways);
	T_RUN(test_unreachable_gateway_is_not_preferred);
	T_RUN(test_lost_gateway_is_replaced_at_once);
	T_RUN(test_gateway_back_before_poll);
	T_RUN(test_reset_on_roam);
	T_RUN(test_recent_gateways);
	return t_done();
}
