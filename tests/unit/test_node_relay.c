/* SPDX-License-Identifier: Apache-2.0
 *
 * Relays inside the node: which ones are near, who gets which, a connection that has nothing but a
 * relay, the way to a direct path and back, and what of a relay's traffic is not taken. */
#include "crypto/crypto.h"
#include "tests/unit/node_rig.h"

/* ---- sampling ---- */

#define MS(x) ((x) * NS_PER_MS)

static void test_near(void)
{
	static const struct {
		uint64_t rtt[6];
		uint32_t n, mask;
	} rows[] = {
		{{0}, 0, 0},
		{{0, 0}, 2, 0},		  /* nobody answered */
		{{MS(900)}, 1, 1},	  /* the only one, however far */
		{{0, MS(900)}, 2, 2},	  /* the only one that answered */
		{{MS(10), MS(15)}, 2, 3}, /* up to one and a half times the least */
		{{MS(10), MS(15) + 1}, 2, 1},
		{{MS(40), MS(10)}, 2, 2},
		/* three: median 11, deviations 1 0 89, of median 1, taken as 2: up to 17 */
		{{MS(10), MS(11), MS(100)}, 3, 3},
		{{MS(10), MS(11), MS(17)}, 3, 7},
		{{MS(10), MS(11), MS(17) + 1}, 3, 3},
		/* wide: median 30, deviations 20 0 20: up to 90 */
		{{MS(10), MS(30), MS(50)}, 3, 7},
		/* even number: median 15, deviations 5 5 5 85, of median 5: up to 30 */
		{{MS(10), MS(10), MS(20), MS(100)}, 4, 7},
		{{MS(10), MS(10), MS(20), MS(30)}, 4, 15},
		/* one without an answer is not counted */
		{{MS(10), 0, MS(11), MS(100)}, 4, 5},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		T_EQ(node_relays_near(rows[i].rtt, rows[i].n), rows[i].mask);
}

/* Three relays hold allocations, one of them far: it gets nobody, the others a fair share. */
static void test_sampled(void)
{
	enum { N = 200 };
	unsigned count[RIG_RELAYS] = {0};

	rig_open(4, false, N);
	rig_relay_start(0, "a", MS(5));
	rig_relay_start(1, "b", MS(6));
	rig_relay_start(2, "c", MS(90));
	rig_relays(0, 0, 7);
	rig_run(2000);
	for (uint32_t i = 0; i < N; i++) {
		struct node_peer p = rig_peer(0, (uint8_t)i);
		const struct node_conn *c;

		T_EQ(node_upsert(&rig.n[0].node, i, &p, rig.now), NODE_UPSERT_CREATED);
		c = node_conn(&rig.n[0].node, i);
		T(c && c->relay < RIG_RELAYS);
		count[c->relay]++;
	}
	t_note("%u %u %u", count[0], count[1], count[2]);
	T_EQ(count[2], 0);
	T(count[0] > N / 3 && count[1] > N / 3);
	for (uint32_t i = 0; i < 3; i++) {
		struct node_relay_view v;

		T(node_relay_view(&rig.n[0].node, i, &v));
		T_EQ(v.n_conns, count[i]);
		T(v.rtt_ns && v.state == TURN_READY);
	}
	for (uint32_t i = 0; i < N; i++)
		node_close(&rig.n[0].node, i, rig.now);
	rig_drain(&rig.n[0]);
	for (uint32_t i = 0; i < 3; i++)
		T_EQ(rig.n[0].node.relays.at[i].n_conns, 0);
	rig_close();
}

/* ---- a connection ---- */

static void check_relayed(void)
{
	T_EQ(rig.n[0].ev[NODE_EV_ESTABLISHED], 1);
	T_EQ(rig.n[1].ev[NODE_EV_ESTABLISHED], 1);
	T(rig_talks());
	T_EQ(rig.n[0].data_direct + rig.n[1].data_direct, 0);
	T(rig.n[0].path.relayed || rig.n[0].path.ice.remote_kind == CAND_RELAY);
	for (unsigned i = 0; i < 2; i++) {
		const struct node_path *p = &rig.n[i].path;
		struct node_route to;
		struct node_path now;

		T(node_route(&rig.n[i].node, RIG_SLOT, &to, rig.now));
		T(node_conn_path(&rig.n[i].node, RIG_SLOT, &now, rig.now));
		T_EQ(to.channel, p->channel);
		T_EQ(now.channel, p->channel);
		T_EQ(p->relayed, p->channel != 0);
		if (!p->relayed)
			continue;
		T(endpoint_eq(&to.remote, &p->relay) && endpoint_eq(&to.local, &p->relay_local));
		T(endpoint_eq(&to.local, &rig.n[i].host));
		T_EQ(p->ice.local_kind, CAND_RELAY);
		T(rig_relay_at(&p->ice.local.ip) && rig_relay_at(&p->relay.ip));
	}
}

static void connect_through(uint8_t family, uint32_t relays_client, uint32_t relays_gw)
{
	rig_open(family, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	rig_relay_start(1, "b", MS(4));
	rig_relays(RIG_CLIENT, 0, relays_client);
	rig_relays(RIG_GW, 0, relays_gw);
	rig_run(500);
	rig_connect();
	rig_run(3000);
	check_relayed();
	/* no channel data ever overtook its bind */
	if (!(relays_client & relays_gw))
		T_EQ(rig.r[0].missed + rig.r[1].missed, 0);
	rig_close();
}

static void test_relayed_v4(void)
{
	connect_through(4, 1, 2);
}

static void test_relayed_v6(void)
{
	connect_through(6, 1, 2);
}

/* Both at the same relay: its two allocations talk to each other. */
static void test_relayed_same(void)
{
	connect_through(4, 1, 1);
}

/* One side has no relay at all. */
static void test_relayed_one_side(void)
{
	connect_through(4, 1, 0);
	connect_through(4, 0, 2);
}

/* The relay is known only after the connection: no failure, and it is used as soon as it answers.
 */
static void test_relay_comes_late(void)
{
	rig_open(4, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	rig_connect();
	rig_run(5000);
	T_EQ(rig_assigned(0), -1);
	rig_relays(0, 0, 1);
	rig_relays(1, 0, 1);
	rig_run(2000);
	T_EQ(rig_assigned(0), 0);
	T_EQ(rig_assigned(1), 0);
	check_relayed();
	T_EQ(rig.n[0].ev[NODE_EV_FAILED] + rig.n[1].ev[NODE_EV_FAILED], 0);
	rig_close();
}

static bool goes_direct(unsigned who)
{
	const struct node_path *p = &rig.n[who].path;

	return !p->relayed && endpoint_eq(&p->ice.remote, &rig.n[!who].host);
}

/* A direct path appears: it is taken; it is blocked: the relayed one is taken again. */
static void test_upgrade_and_back(void)
{
	uint64_t at;

	rig_open(4, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	rig_relays(0, 0, 1);
	rig_relays(1, 0, 1);
	rig_run(500);
	rig_connect();
	rig_run(3000);
	check_relayed();
	rig.blocked = false;
	at = rig.now;
	while (rig.now < at + 20 * NS_PER_SEC && (!goes_direct(0) || !goes_direct(1)))
		rig_run(10);
	t_note("direct after %u ms", (unsigned)((rig.now - at) / NS_PER_MS));
	T(goes_direct(0) && goes_direct(1));
	rig_run(2000);
	T(rig_talks());
	T(rig.n[0].data_direct && rig.n[1].data_direct);
	rig.blocked = true;
	at = rig.now;
	while (rig.now < at + 30 * NS_PER_SEC && (goes_direct(0) || goes_direct(1))) {
		rig_run(100);
		rig_data_send(&rig.n[0]); /* traffic: no slow checks */
	}
	t_note("relayed again after %u ms", (unsigned)((rig.now - at) / NS_PER_MS));
	T(rig.now < at + 20 * NS_PER_SEC);
	rig_run(3000);
	rig.n[0].data_direct = rig.n[1].data_direct = 0;
	T(rig_talks());
	T_EQ(rig.n[0].data_direct + rig.n[1].data_direct, 0);
	T_EQ(rig.n[0].ev[NODE_EV_FAILED] + rig.n[1].ev[NODE_EV_FAILED], 0);
	T_EQ(rig.n[0].ev[NODE_EV_ESTABLISHED], 1);
	rig_close();
}

/* The channel of a path used only one way is asked for again when it lapses, and number and path go
 * on. Idle: only slow checks keep it. */
static void test_long_idle(void)
{
	rig_open(4, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	rig_relay_start(1, "b", MS(3));
	rig_relays(0, 0, 1);
	rig_relays(1, 0, 2);
	rig_run(500);
	rig_connect();
	rig_run(30 * 60 * 1000);
	T_EQ(rig.n[0].ev[NODE_EV_FAILED] + rig.n[1].ev[NODE_EV_FAILED], 0);
	T(rig_talks());
	T(rig.n[0].data_relayed && rig.n[1].data_relayed);
	rig_close();
}

static bool has_channel(const char *peer)
{
	const struct turn *t = &rig.n[0].node.mem.relays[0];
	struct endpoint at;
	uint16_t number;

	T_EQ(endpoint_parse(peer, &at), 0);
	return turn_channel(t, &at, rig.now, &number);
}

/* What the peer may be reached at only from outside gets a channel before it is asked for; so do
 * the peer's addresses known already when a relay comes to a connection. */
static void test_binds_ahead(void)
{
	static const char *const cands[] = {
		"candidate:1 1 udp 2130706431 192.0.2.9 7000 typ host",
		"candidate:2 1 udp 1694498559 198.51.100.9 7001 typ srflx raddr 0.0.0.0 rport 0",
		"candidate:3 1 udp 37748479 203.0.113.9 7002 typ relay raddr 0.0.0.0 rport 0",
	};

	for (unsigned late = 0; late < 2; late++) {
		struct node *n = &rig.n[0].node;
		struct node_peer p;

		rig_open(4, true, RIG_CONNS);
		p = rig_peer(0, 0);
		rig_relay_start(0, "a", MS(3));
		if (!late)
			rig_relays(0, 0, 1);
		rig_run(500);
		T_EQ(node_upsert(n, RIG_SLOT, &p, rig.now), NODE_UPSERT_CREATED);
		for (unsigned i = 0; i < 3; i++)
			T(node_add_candidate(n, RIG_SLOT, cands[i], strlen(cands[i]), rig.now));
		if (late) {
			T(!has_channel("203.0.113.9:7002"));
			rig_relays(0, 0, 1);
			rig_run(100);
		}
		T_EQ(has_channel("192.0.2.9:7000"), late); /* only when a check went there */
		T(has_channel("198.51.100.9:7001"));
		T(has_channel("203.0.113.9:7002"));
		rig_close();
	}
}

/* The channel in use ends, its allocation does not: the path says so at once and has another. */
static void test_channel_lost(void)
{
	struct rig_node *p = &rig.n[0];
	struct turn *t;
	unsigned i, paths;

	rig_open(4, true, RIG_CONNS);
	t = &p->node.mem.relays[0];
	rig_relay_start(0, "a", MS(3));
	rig_relays(0, 0, 1);
	rig_run(500);
	rig_connect();
	rig_run(3000);
	check_relayed();
	T(p->path.relayed && p->path.channel);
	paths = p->ev[NODE_EV_PATH];
	i = turn_chan_of_number(&t->chans, p->path.channel);
	turn_chan_drop(&t->chans, i);
	t->queued_at = rig.now;
	T(!node_route(&p->node, RIG_SLOT, &(struct node_route){0}, rig.now));
	rig_drain(p);
	T_EQ(p->down, 1);
	T_EQ(p->ev[NODE_EV_PATH], paths + 1);
	T(p->path.channel && p->path.channel != turn_chan_number(i));
	rig_close();
}

/* ---- what is not taken ---- */

static void test_verdicts(void)
{
	struct rig_node *p = &rig.n[0];
	struct endpoint stranger = {.ip = ipaddr_v4(203, 0, 113, 77), .port = TURN_PORT};
	struct endpoint server = {.ip = ipaddr_v4(203, 0, 113, 1), .port = TURN_PORT};
	uint8_t msg[64] = {0x40, 0, 0, 32, WG_MSG_DATA};
	unsigned was;

	rig_open(4, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	rig_relays(0, 0, 1);
	rig_relays(1, 0, 1);
	rig_run(500);
	rig_connect();
	rig_run(3000);
	check_relayed();
	was = p->data_relayed + p->data_direct;
	/* framed, from somebody who is no relay of ours */
	T_EQ(rig_input(p, &stranger, msg, 36), NODE_RX_RELAY_REJECTED);
	/* the relay's address with another port is not the relay */
	server.port++;
	T_EQ(rig_input(p, &server, msg, 36), NODE_RX_RELAY_REJECTED);
	server.port--;
	/* a channel nobody asked for */
	msg[0] = 0x4f;
	T_EQ(rig_input(p, &server, msg, 36), NODE_RX_RELAY_REJECTED);
	/* length beyond the datagram: not even framing */
	msg[0] = 0x40;
	T_EQ(rig_input(p, &stranger, msg, 30), NODE_RX_MALFORMED);
	T_EQ(rig_input(p, &server, msg, 30), NODE_RX_RELAY_REJECTED);
	T_EQ(rig_input(p, &server, msg, 0), NODE_RX_MALFORMED);
	/* an answer nobody asked for, a request from the relay */
	memset(msg, 0, sizeof(msg));
	be16_put(msg, 0x0101);
	be32_put(msg + 4, 0x2112A442);
	T_EQ(rig_input(p, &server, msg, 20), NODE_RX_RELAY_REJECTED);
	be16_put(msg, 0x0001);
	T_EQ(rig_input(p, &server, msg, 20), NODE_RX_RELAY_REJECTED);
	T_EQ(p->data_relayed + p->data_direct, was);
	T_EQ(p->node.n_hosts, 1);
	/* the relay is gone: what still comes from it is late, and does nothing */
	rig_relays(0, 1, 0);
	msg[0] = 0x40;
	be16_put(msg + 2, 32);
	T_EQ(rig_input(p, &server, msg, 36), NODE_RX_RELAY_LATE);
	msg[0] = 0x01;
	T_EQ(rig_input(p, &server, msg, 20), NODE_RX_RELAY_LATE);
	T_EQ(rig_input(p, &stranger, msg, 20), NODE_RX_MALFORMED);
	/* and is a relay again when it is named again */
	rig_relays(0, 0, 1);
	rig_run(1000);
	T_EQ(p->node.relays.at[p->node.relays.at[0].state != NODE_RELAY_OPEN].ready, true);
	rig_close();
}

/* Sixty-four addresses are remembered, the oldest is forgotten first. */
static void test_former(void)
{
	struct node_relay a = {.username = "1:x", .password = "p"};
	struct rig_node *p = &rig.n[0];
	const uint8_t msg[36] = {0x40, 0, 0, 32};

	rig_open(4, true, RIG_CONNS);
	for (unsigned i = 0; i <= NODE_FORMER_MAX; i++) {
		a.id.b[1] = (uint8_t)(i + 1);
		a.addr4 = (struct endpoint){.ip = ipaddr_v4(198, 18, 0, (uint8_t)i), .port = 99};
		node_update_relays(&p->node, NULL, 0, &a, 1, rig.now);
		node_update_relays(&p->node, &a.id, 1, NULL, 0, rig.now);
		rig_drain(p);
	}
	T_EQ(p->ev[NODE_EV_NO_RELAYS], NODE_FORMER_MAX + 1);
	T_EQ(rig_input(p, &a.addr4, msg, sizeof(msg)), NODE_RX_RELAY_LATE);
	a.addr4.ip.b[3] = 1;
	T_EQ(rig_input(p, &a.addr4, msg, sizeof(msg)), NODE_RX_RELAY_LATE);
	a.addr4.ip.b[3] = 0;
	T_EQ(rig_input(p, &a.addr4, msg, sizeof(msg)), NODE_RX_RELAY_REJECTED);
	rig_close();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_near);
	T_RUN(test_sampled);
	T_RUN(test_relayed_v4);
	T_RUN(test_relayed_v6);
	T_RUN(test_relayed_same);
	T_RUN(test_relayed_one_side);
	T_RUN(test_relay_comes_late);
	T_RUN(test_upgrade_and_back);
	T_RUN(test_long_idle);
	T_RUN(test_binds_ahead);
	T_RUN(test_channel_lost);
	T_RUN(test_verdicts);
	T_RUN(test_former);
	return t_done();
}
