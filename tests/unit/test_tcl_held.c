/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets held for a connection: order, duplicates, SYN retransmissions, bounds of ring and pool.
 */
#include "tests/tcl_world.h"

static enum ps_reason_id hold(const char *dst, uint16_t port)
{
	return world_out(dst, port);
}

/* A SYN that differs from its retransmission only where real ones do: here, the TCP window. */
static enum ps_reason_id syn(uint32_t seq, uint16_t sport, uint16_t window, uint8_t flags)
{
	struct pkt p = pkt_text(ME4, "10.0.0.1", IP_PROTO_TCP, sport, 80);

	be32_put(p.b + 24, seq);
	p.b[33] = flags;
	be16_put(p.b + 34, window);
	T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0);
	return tcl_route_out(&c, p.b, &p.m, &grant, now);
}

static void test_order_is_kept(void)
{
	const uint8_t *pkt;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	for (uint16_t i = 0; i < 10; i++)
		T_EQ(hold("10.0.0.1", (uint16_t)(100 + i)), PS_R_UTX_BUFFERED);
	for (uint16_t i = 0; i < 10; i++) {
		T(tcl_held_pop(&c, 0, &pkt) > 0);
		T_EQ(be16_get(pkt + 22), 100 + i);
	}
	T_EQ(tcl_held_pop(&c, 0, &pkt), 0);
	T_EQ(tcl_held_pop(&c, 5, &pkt), 0);
}

static void test_duplicates(void)
{
	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	for (int i = 0; i < 5; i++)
		T_EQ(hold("10.0.0.1", 100), PS_R_UTX_BUFFERED);
	T_EQ(resources[0].held.count, 1);
	T_EQ(c.counters.held_duplicate, 4);
	T_EQ(hold("10.0.0.1", 101), PS_R_UTX_BUFFERED);
	T_EQ(resources[0].held.count, 2);
}

static void test_syn_retransmission(void)
{
	const uint8_t *pkt;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	T_EQ(syn(7, 1000, 1, IP_TCP_SYN), PS_R_UTX_BUFFERED);
	T_EQ(syn(7, 1000, 2, IP_TCP_SYN), PS_R_UTX_BUFFERED); /* replaces */
	T_EQ(resources[0].held.count, 1);
	T_EQ(syn(8, 1000, 3, IP_TCP_SYN), PS_R_UTX_BUFFERED);		   /* another sequence */
	T_EQ(syn(7, 1001, 4, IP_TCP_SYN), PS_R_UTX_BUFFERED);		   /* another port */
	T_EQ(syn(7, 1000, 5, IP_TCP_SYN | IP_TCP_ACK), PS_R_UTX_BUFFERED); /* not a first SYN */
	T_EQ(resources[0].held.count, 4);
	T(tcl_held_pop(&c, 0, &pkt) > 0);
	T_EQ(be16_get(pkt + 34), 2);
}

static void test_ring_overflow_drops_oldest(void)
{
	const uint8_t *pkt;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	for (uint16_t i = 0; i < TCL_HELD_CAP; i++)
		T_EQ(hold("10.0.0.1", (uint16_t)(100 + i)), PS_R_UTX_BUFFERED);
	T_EQ(hold("10.0.0.1", 999), PS_R_UTX_BUFFER_FULL);
	T_EQ(c.counters.held_overflow, 1);
	T_EQ(resources[0].held.count, TCL_HELD_CAP);
	T(tcl_held_pop(&c, 0, &pkt) > 0);
	T_EQ(be16_get(pkt + 22), 101);
	for (int i = 0; i < TCL_HELD_CAP - 2; i++)
		T(tcl_held_pop(&c, 0, &pkt) > 0);
	T(tcl_held_pop(&c, 0, &pkt) > 0);
	T_EQ(be16_get(pkt + 22), 999);
}

static void test_pool_exhausted(void)
{
	uint32_t free = 0;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	world_add_cidr(2, "172.16.0.0/12", 1);
	world_add_cidr(3, "192.168.0.0/16", 1);
	for (uint16_t i = 0; i < TCL_HELD_CAP; i++)
		T_EQ(hold("10.0.0.1", (uint16_t)(100 + i)), PS_R_UTX_BUFFERED);
	for (uint16_t i = 0; i < WORLD_HELD - TCL_HELD_CAP; i++)
		T_EQ(hold("172.16.0.1", (uint16_t)(100 + i)), PS_R_UTX_BUFFERED);
	T_EQ(hold("172.16.0.1", 900), PS_R_UTX_BUFFER_FULL); /* its own oldest gave way */
	T_EQ(resources[1].held.count, WORLD_HELD - TCL_HELD_CAP);
	T_EQ(hold("192.168.0.1", 900), PS_R_UTX_BUFFER_FULL); /* nothing to give */
	T_EQ(resources[2].held.count, 0);
	T_EQ(c.counters.held_pool_full, 2);
	for (uint8_t n = 1; n <= 3; n++)
		tcl_remove_resource(&c, &(struct uuid){.b = {n, [15] = n}}, now);
	for (uint32_t i = c.held.free; i != TUNNEL_NO_SLOT; i = held_pool[i].next)
		free++;
	T_EQ(free, WORLD_HELD);
	T_EQ(c.counters.held_discarded, WORLD_HELD);
}

/* What was flushed while the gateway went away comes back into its own cell, intact. */
static void test_popped_and_held_again(void)
{
	const uint8_t *pkt;
	struct ip_meta m;
	uint16_t len;

	world_setup();
	world_add_cidr(1, "10.0.0.0/8", 1);
	T_EQ(hold("10.0.0.1", 100), PS_R_UTX_BUFFERED);
	len = tcl_held_pop(&c, 0, &pkt);
	T_EQ(ip_packet_parse(pkt, len, &m), 0);
	T_EQ(tcl_route_out(&c, pkt, &m, &grant, now), PS_R_UTX_BUFFERED);
	T_EQ(tcl_held_pop(&c, 0, &pkt), len);
	T_EQ(be16_get(pkt + 22), 100);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_order_is_kept);
	T_RUN(test_duplicates);
	T_RUN(test_syn_retransmission);
	T_RUN(test_ring_overflow_drops_oldest);
	T_RUN(test_pool_exhausted);
	T_RUN(test_popped_and_held_again);
	return t_done();
}
