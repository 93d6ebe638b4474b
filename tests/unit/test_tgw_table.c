/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway policy's tables at their edges: who holds an address, and what happens when a table
 * is full. */
#include "tests/tgw_world.h"

static void test_addresses(void)
{
	struct tunnel_resource r;
	struct tgw_authorization a;
	uint32_t slot, other;

	setup();
	r = cidr(10, "10.0.0.0/8");
	slot = authorize(1, &r);
	drain();
	a = (struct tgw_authorization){.client = id_of(2),
				       .tun4 = pkt_ip(C1),
				       .tun6 = pkt_ip("fd00:2021:1111::9"),
				       .resource = &r};
	a.expires_at = TUNNEL_NEVER_EXPIRES;
	T_EQ(tgw_authorize(&gw, &a, &other, now), -EADDRINUSE);
	T_EQ(gw.client_count, 1);
	a.client = id_of(1);
	a.tun4 = pkt_ip("100.64.7.7");
	T_EQ(tgw_authorize(&gw, &a, &other, now), 0); /* the client moved */
	T_EQ(other, slot);
	T_EQ(next_event().kind, TGW_EVENT_PEER_CHANGED);
	T_EQ(in(slot, "100.64.7.7", "10.0.0.1", TCP, 1), PS_R_URX_DELIVERED);
	T_EQ(in(slot, C1, "10.0.0.1", TCP, 1), PS_R_URX_BAD_SOURCE);
	T_EQ(tgw_find_address(&gw, &(struct ipaddr){.family = 4, .b = {100, 64, 1, 1}}),
	     TUNNEL_NO_SLOT);
	/* whoever holds nothing any more yields its address at once */
	tgw_reject(&gw, &a.client, &r.id, now);
	drain();
	a.client = id_of(2);
	T_EQ(tgw_authorize(&gw, &a, &other, now), 0);
	T(other != slot);
	T_EQ(tgw_find_address(&gw, &a.tun4), other);
	T_EQ(next_event().kind, TGW_EVENT_PEER_REMOVED);
	T_EQ(next_event().kind, TGW_EVENT_PEER_ADDED);
	T_EQ(tgw_find_address(&gw, &a.tun4), other);
	a.client = id_of(3);
	a.tun4 = pkt_ip(OWN);
	T_EQ(tgw_authorize(&gw, &a, &other, now), -EINVAL);
	a.tun4 = pkt_ip("224.0.0.1");
	T_EQ(tgw_authorize(&gw, &a, &other, now), -EINVAL);
	a.tun4 = a.tun6;
	T_EQ(tgw_authorize(&gw, &a, &other, now), -EINVAL);
}

static void test_tables_full(void)
{
	struct tunnel_resource r[RESOURCES + 1];
	uint32_t slot;

	setup();
	for (uint8_t i = 0; i <= RESOURCES; i++) {
		r[i] = cidr((uint8_t)(100 + i), "10.0.0.0/8");
		r[i].net.ip.b[0] = (uint8_t)(11 + i);
	}
	for (uint8_t i = 0; i < CLIENTS; i++)
		authorize((uint8_t)(1 + i), &r[0]);
	T_EQ(authorize_until(CLIENTS + 1, &r[0], TUNNEL_NEVER_EXPIRES, &slot), -ENOSPC);
	T_EQ(gw.counters.client_table_full, 1);
	for (uint8_t i = 1; i < RESOURCES; i++)
		authorize(1, &r[i]);
	T_EQ(authorize_until(1, &r[RESOURCES], TUNNEL_NEVER_EXPIRES, &slot), -ENOSPC);
	T_EQ(gw.counters.resource_table_full, 1);
	authorize(2, &r[1]);
	T_EQ(gw.grant_count, GRANTS);
	T_EQ(authorize_until(2, &r[2], TUNNEL_NEVER_EXPIRES, &slot), -ENOSPC);
	T_EQ(gw.counters.grant_table_full, 1);
	tgw_reject(&gw, &(struct uuid){.b = {1, [15] = 1}}, &r[3].id, now);
	T_EQ(authorize(2, &r[2]), 1); /* the tombstone gave way */
	T_EQ(gw.grant_count, GRANTS);
	T_EQ(gw.resource_count, RESOURCES - 1);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_addresses);
	T_RUN(test_tables_full);
	return t_done();
}
