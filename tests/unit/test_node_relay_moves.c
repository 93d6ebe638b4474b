/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections survive their relays: removed, replaced, restarted, silent, also while a side cannot
 * reach the portal. */
#include "crypto/crypto.h"
#include "tests/unit/node_rig.h"

#define MS(x) ((x) * NS_PER_MS)

/* A relayed connection: each side at this relay, -1: it has none and depends on the other's. */
static void start(int client_relay, int gw_relay)
{
	rig_open(4, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	rig_relay_start(1, "b", MS(4));
	rig_relays(RIG_CLIENT, 0, client_relay < 0 ? 0 : 1U << client_relay);
	rig_relays(RIG_GW, 0, gw_relay < 0 ? 0 : 1U << gw_relay);
	rig_run(500);
	rig_connect();
	rig_run(3000);
	T_EQ(rig.n[0].ev[NODE_EV_ESTABLISHED], 1);
	T_EQ(rig.n[1].ev[NODE_EV_ESTABLISHED], 1);
	T(rig_talks());
}

/* The same connection still carries data, at these relays. Returns how long that took. */
static void survived(int client_relay, int gw_relay, uint64_t within_ms)
{
	uint64_t at = rig.now;
	bool ok = false;

	while (!(ok = rig_talks()) && rig.now < at + within_ms * NS_PER_MS)
		;
	t_note("talks after %u ms", (unsigned)((rig.now - at) / NS_PER_MS));
	T(ok);
	rig_run(3000); /* beyond the grace */
	T(rig_talks());
	T_EQ(rig_assigned(0), client_relay);
	T_EQ(rig_assigned(1), gw_relay);
	for (unsigned i = 0; i < 2; i++) {
		T_EQ(rig.n[i].ev[NODE_EV_FAILED], 0);
		T_EQ(rig.n[i].ev[NODE_EV_ESTABLISHED], 1);
		T_EQ(rig.n[i].node.acct.relays_refused, 0);
	}
	rig_close();
}

/* One side's relay is removed and another named in the same breath. */
static void test_removed(void)
{
	start(0, -1);
	rig_relay_start(2, "c", MS(5));
	rig.r[0].up = false;
	rig_relays(RIG_CLIENT, 1, 4);
	T(rig.n[0].down > 0);
	T_EQ(rig.n[0].ev[NODE_EV_NO_RELAYS], 0);
	survived(2, -1, 2000);
}

/* Another relay has an allocation already: its candidates leave at once, before the old ones go. */
static void test_removed_with_spare(void)
{
	start(0, -1);
	rig_relays(RIG_CLIENT, 0, 2);
	rig_run(500);
	T_EQ(rig_assigned(0), 0);
	rig.n[0].ev[NODE_EV_CANDIDATE] = rig.n[0].ev[NODE_EV_CANDIDATE_GONE] = 0;
	rig.r[0].up = false;
	rig_relays(RIG_CLIENT, 1, 0);
	T_EQ(rig_assigned(0), 1);
	T_EQ(rig.n[0].ev[NODE_EV_CANDIDATE], 1);
	T_EQ(rig.n[0].ev[NODE_EV_CANDIDATE_GONE], 1);
	survived(1, -1, 1000);
}

/* The relay restarted with another secret: same id and address, new credentials. */
static void test_new_credentials(void)
{
	start(0, -1);
	rig_relay_start(0, "z", MS(3));
	rig_relays(RIG_CLIENT, 0, 1);
	T_EQ(node_n_relays(&rig.n[0].node), 1);
	survived(0, -1, 2000);
}

/* Both sides use the relay that gets new credentials. */
static void test_new_credentials_both(void)
{
	start(0, 0);
	rig_relay_start(0, "z", MS(3));
	rig_relays(RIG_CLIENT, 0, 1);
	rig_relays(RIG_GW, 0, 1);
	survived(0, 0, 2000);
}

/* The portal says the same again: nothing moves. */
static void test_same_again(void)
{
	unsigned paths, up;

	start(0, 1);
	paths = rig.n[0].ev[NODE_EV_PATH];
	up = rig.n[0].up;
	rig_relays(RIG_CLIENT, 0, 1);
	rig_relays(RIG_GW, 0, 2);
	rig_run(2000);
	T_EQ(rig.n[0].ev[NODE_EV_PATH], paths);
	T_EQ(rig.n[0].up, up);
	T_EQ(rig.n[0].down + rig.n[1].down, 0);
	T_EQ(rig.n[0].ev[NODE_EV_CANDIDATE_GONE], 0);
	survived(0, 1, 500);
}

/* Both sides lose all their relays and are given others: a redeploy, the portal connected. */
static void test_redeploy(void)
{
	start(0, 1);
	rig_relay_start(2, "c", MS(5));
	rig_relay_start(3, "d", MS(5));
	rig.r[0].up = rig.r[1].up = false;
	rig_relays(RIG_CLIENT, 3, 4);
	rig_relays(RIG_GW, 3, 8);
	survived(2, 3, 2000);
}

/* The client is cut from the portal; the gateway's relay dies, a third appears, the client's own
 * restarts with another secret; the client comes back and both are told of {A', C}. The gateway
 * finds out by itself that its relay does not answer. */
static void test_reboot_while_cut(void)
{
	start(0, 1);
	rig.n[0].cut = true;
	rig.r[1].up = false;
	rig_relay_start(2, "c", MS(5));
	rig_relay_start(0, "z", MS(3));
	rig_run(1000);
	rig.n[0].cut = false;
	rig_relays(RIG_CLIENT, 0, 5);
	rig_relays(RIG_GW, 0, 5);
	T_EQ(node_n_relays(&rig.n[1].node), 3);
	rig_run(1500);
	T_EQ(node_n_relays(&rig.n[1].node), 2);
	T_EQ(rig.n[1].ev[NODE_EV_RELAY_GONE], 1);
	T_EQ(rig.n[1].ev[NODE_EV_NO_RELAYS], 0);
	survived(0, rig_assigned(1), 2500);
}

/* The gateway moves to a relay of the client's while the portal is away: its new address reaches
 * the client unannounced, and still is a relay's. */
static void test_unannounced(void)
{
	struct node_path path;

	start(1, 0);
	rig.n[0].cut = true;
	rig.r[0].up = false;
	rig_relays(RIG_GW, 1, 2);
	rig_relays(RIG_CLIENT, 2, 0);
	rig_run(3000);
	T(rig_talks());
	T(node_conn_path(&rig.n[0].node, RIG_SLOT, &path, rig.now));
	T(!path.relayed);
	T_EQ(path.ice.remote_kind, CAND_PRFLX);
	T(path.peer_relayed);
	T(node_conn_path(&rig.n[1].node, RIG_SLOT, &path, rig.now));
	T(path.relayed);
	T(!path.peer_relayed);
	rig_close();
}

/* The relay forgot us (restarted, same secret): 437, a new allocation, the connection goes on. */
static void test_forgotten(void)
{
	start(0, -1);
	rig_relay_start(0, "a", MS(3));
	rig_relays(RIG_CLIENT, 0, 2); /* not naming it: is it still there? */
	rig_run(200);
	T(node_n_relays(&rig.n[0].node) == 2);
	survived(rig_assigned(0), -1, 2500);
}

/* All relays reported gone and named again with what they had: the relay still holds the old
 * allocation, which is removed first. The connection fails for want of a path, the next one works.
 */
static void test_gone_and_back(void)
{
	start(0, 0);
	rig_relays(RIG_CLIENT, 1, 0);
	rig_relays(RIG_GW, 1, 0);
	T_EQ(rig.n[0].ev[NODE_EV_NO_RELAYS], 1);
	T_EQ(rig.n[1].ev[NODE_EV_NO_RELAYS], 1);
	T_EQ(node_n_relays(&rig.n[0].node), 0);
	for (unsigned i = 0; i < 2; i++)
		if (rig.n[i].path.relayed)
			T(!node_route(&rig.n[i].node, RIG_SLOT, &(struct node_route){0}, rig.now));
	rig_run(25000);
	T_EQ(rig.n[0].ev[NODE_EV_FAILED], 1);
	T_EQ(rig.n[0].ev[NODE_EV_NO_RELAYS], 1);
	rig_relays(RIG_CLIENT, 0, 1);
	rig_relays(RIG_GW, 0, 1);
	rig_run(2000);
	node_close(&rig.n[1].node, RIG_SLOT, rig.now);
	rig_drain(&rig.n[1]);
	rig_connect();
	rig_run(3000);
	T_EQ(rig.n[0].ev[NODE_EV_ESTABLISHED], 2);
	T(rig_talks());
	rig_close();
}

/* A relay that never answers is given up, and said so; a connection waits for another. */
static void test_silent(void)
{
	rig_open(4, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	rig_relay_start(1, "b", MS(3));
	rig.r[0].up = false;
	rig_relays(RIG_CLIENT, 0, 1);
	rig_relays(RIG_GW, 0, 2);
	rig_connect();
	rig_run(8000);
	T_EQ(rig.n[0].ev[NODE_EV_RELAY_GONE], 0);
	rig_run(500);
	T_EQ(rig.n[0].ev[NODE_EV_RELAY_GONE], 1);
	T_EQ(rig.n[0].ev[NODE_EV_NO_RELAYS], 1);
	T(rig.n[0].why && strstr(rig.n[0].why, "no response"));
	T_EQ(node_n_relays(&rig.n[0].node), 0);
	rig_relays(RIG_CLIENT, 0, 2);
	survived(1, 1, 2000);
}

/* Wrong credentials: the relay is dropped. */
static void test_refused(void)
{
	rig_open(4, true, RIG_CONNS);
	rig_relay_start(0, "a", MS(3));
	snprintf(rig.r[0].secret, sizeof(rig.r[0].secret), "wrong");
	rig_relays(RIG_CLIENT, 0, 1);
	rig_run(12000);
	T_EQ(rig.n[0].ev[NODE_EV_RELAY_GONE], 1);
	T_EQ(rig.n[0].ev[NODE_EV_NO_RELAYS], 1);
	rig_close();
}

/* The relay dies without anybody saying so: it is sent to and never heard, and the other
 * relay, which has an allocation, takes over. */
static void test_dies_unseen(void)
{
	uint64_t at;

	start(0, -1);
	rig_relays(RIG_CLIENT, 0, 2);
	rig_run(1000);
	at = rig.now;
	rig.r[0].up = false;
	while (rig_assigned(0) == 0 && rig.now < at + 40 * NS_PER_SEC) {
		rig_run(250);
		rig_data_send(&rig.n[1]);
	}
	t_note("moved after %u ms", (unsigned)((rig.now - at) / NS_PER_MS));
	T(rig.now - at < 12 * NS_PER_SEC); /* three checks, three seconds, a probe of one */
	T_EQ(rig.n[0].ev[NODE_EV_RELAY_GONE], 1);
	survived(1, -1, 2000);
}

/* The client's address changes: relays are asked from the new one, and the connection goes on. */
static void test_address_change(void)
{
	struct rig_node *p = &rig.n[0];

	start(0, -1);
	p->host.ip.b[3] = 77;
	node_set_hosts(&p->node, &p->host, 1, rig.now);
	rig_drain(p);
	T_EQ(rig_assigned(0), 0);
	T(p->down > 0);
	survived(0, -1, 2000);
}

/* The same on the gateway, whose checks are patient: it is the client that notices, or the
 * gateway's own sends that are not answered. */
static void test_gateway_relay_dies(void)
{
	uint64_t at;

	start(-1, 0);
	rig_relays(RIG_GW, 0, 2);
	rig_run(1000);
	at = rig.now;
	rig.r[0].up = false;
	while (rig_assigned(1) == 0 && rig.now < at + 40 * NS_PER_SEC) {
		rig_run(250);
		rig_data_send(&rig.n[0]);
		rig_data_send(&rig.n[1]);
	}
	t_note("moved after %u ms", (unsigned)((rig.now - at) / NS_PER_MS));
	T(rig.now - at < 16 * NS_PER_SEC);
	survived(-1, 1, 2000);
}

/* What the kernel received through a relay the relay's machine is told of: channel and keep-alive
 * count it. */
static void test_kernel_data_renews(void)
{
	struct rig_node *g;
	const struct node_conn *c;
	const struct turn *t;
	unsigned side;

	start(0, 0);
	side = node_conn(&rig.n[0].node, RIG_SLOT)->path_relay == NODE_RELAY_NONE;
	g = &rig.n[side];
	c = node_conn(&g->node, RIG_SLOT);
	T(c->path_relay != NODE_RELAY_NONE);
	t = &g->mem.relays[c->path_relay];
	rig.now += MS(7);
	T(t->heard_at != rig.now);
	node_on_data(&g->node, RIG_SLOT, g->our_idx, true, false, rig.now, rig.now);
	T_EQ(t->heard_at, rig.now);
	survived(0, 0, 2500);
}

/* Every connection closed, sockets bound anew: relays are kept and allocate again. */
static void test_restart(void)
{
	struct rig_node *p = &rig.n[0];

	start(0, -1);
	node_close(&p->node, RIG_SLOT, rig.now);
	node_close(&rig.n[1].node, RIG_SLOT, rig.now);
	rig_drain(p);
	rig_drain(&rig.n[1]);
	p->host.port++;
	node_set_hosts(&p->node, NULL, 0, rig.now);
	node_restart_relays(&p->node, rig.now);
	node_set_hosts(&p->node, &p->host, 1, rig.now);
	rig_drain(p);
	rig_run(500);
	T_EQ(node_n_relays(&p->node), 1);
	p->ev[NODE_EV_ESTABLISHED] = rig.n[1].ev[NODE_EV_ESTABLISHED] = 0;
	rig_connect();
	rig_run(3000);
	survived(0, -1, 500);
}

/* More relays than there is room for are refused and counted. */
static void test_full(void)
{
	struct node_relay a = {.username = "1:x", .password = "p"};
	struct node *n = &rig.n[0].node;

	rig_open(4, true, RIG_CONNS);
	for (unsigned i = 0; i < NODE_RELAYS_MAX + 2; i++) {
		a.id.b[1] = (uint8_t)(i + 1);
		a.addr4 = (struct endpoint){.ip = ipaddr_v4(198, 18, 0, (uint8_t)(i + 1)),
					    .port = 9};
		node_update_relays(n, NULL, 0, &a, 1, rig.now);
	}
	T_EQ(node_n_relays(n), NODE_RELAYS_MAX);
	T_EQ(n->acct.relays_refused, 2);
	/* no address; a text without an end */
	a.addr4 = (struct endpoint){0};
	node_update_relays(n, NULL, 0, &a, 1, rig.now);
	T_EQ(n->acct.relays_refused, 3);
	a.id.b[1] = 1;
	a.addr4 = (struct endpoint){.ip = ipaddr_v4(198, 18, 0, 1), .port = 9};
	memset(a.password, 'x', sizeof(a.password));
	node_update_relays(n, NULL, 0, &a, 1, rig.now);
	T_EQ(n->acct.relays_refused, 4);
	T_EQ(node_n_relays(n), NODE_RELAYS_MAX);
	rig_drain(&rig.n[0]);
	rig_close();
}

/* Another mapping from time to time: each is announced, none invalidated, a few are kept. */
static void test_srflx_changes(void)
{
	struct turn_cand c = {.kind = TURN_CAND_SRFLX};
	struct rig_node *p = &rig.n[0];
	unsigned live = 0;

	start(0, 1);
	p->ev[NODE_EV_CANDIDATE] = p->ev[NODE_EV_CANDIDATE_GONE] = 0;
	c.base = p->host;
	for (unsigned i = 1; i <= 40; i++) {
		struct turn *t = &p->node.mem.relays[0];

		c.addr = (struct endpoint){.ip = ipaddr_v4(198, 51, 100, 9),
					   .port = (uint16_t)(1000 + i)};
		t->srflx[0].now = c;
		t->queued_at = rig.now;
		rig_drain(p);
	}
	T_EQ(p->ev[NODE_EV_CANDIDATE], 40);
	T_EQ(p->ev[NODE_EV_CANDIDATE_GONE], 0);
	for (unsigned i = 0; i < ice_n_locals(&p->mem.conns[RIG_SLOT].ice); i++) {
		const struct ice_cand *l = ice_local(&p->mem.conns[RIG_SLOT].ice, i);

		live += l->kind == CAND_SRFLX && !l->discarded;
	}
	T_EQ(live, NODE_SRFLX_KEPT);
	survived(0, 1, 500);
}

/* Without a pair, candidates are announced again, ever more rarely and not for ever: the peer may
 * have been away from the portal when they came up. */
static void test_told_again(void)
{
	unsigned each, *told = &rig.n[RIG_GW].ev[NODE_EV_CANDIDATE];

	start(0, 1);
	rig_run(60000);
	T(rig_talks());
	each = *told;
	rig_run(60000);
	T_EQ(*told, each); /* not while there is one */
	rig_relays(RIG_CLIENT, 1, 0);
	rig_relays(RIG_GW, 2, 0);
	rig_run(4000);
	*told = 0;
	rig_run(2000);
	each = *told;
	T(each > 0);
	rig_run(8000);
	T_EQ(*told, each);
	rig_run(180000);
	T_EQ(*told, NODE_RETELL_MAX * each);
	rig_close();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_removed);
	T_RUN(test_removed_with_spare);
	T_RUN(test_new_credentials);
	T_RUN(test_new_credentials_both);
	T_RUN(test_same_again);
	T_RUN(test_redeploy);
	T_RUN(test_reboot_while_cut);
	T_RUN(test_unannounced);
	T_RUN(test_forgotten);
	T_RUN(test_gone_and_back);
	T_RUN(test_silent);
	T_RUN(test_refused);
	T_RUN(test_dies_unseen);
	T_RUN(test_gateway_relay_dies);
	T_RUN(test_address_change);
	T_RUN(test_kernel_data_renews);
	T_RUN(test_restart);
	T_RUN(test_full);
	T_RUN(test_told_again);
	T_RUN(test_srflx_changes);
	return t_done();
}
