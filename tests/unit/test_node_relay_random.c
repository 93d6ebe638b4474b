/* SPDX-License-Identifier: Apache-2.0
 *
 * Relays come, go, die and restart, the portal tells the nodes or does not, addresses change,
 * datagrams are lost, in random order. After every step the node's books agree with each other; and
 * when the weather clears the two sides talk again. */
#include "crypto/crypto.h"
#include "tests/unit/node_rig.h"

#define RUNS  40
#define STEPS 60

static uint64_t state;

static unsigned pick(unsigned n)
{
	return (unsigned)(t_rand(&state) % n);
}

/* ---- the books ---- */

static void check_relays(const struct node *n)
{
	uint32_t open = 0, conns;

	for (unsigned r = 0; r < n->mem.n_relays; r++) {
		const struct node_relay_slot *s = &n->relays.at[r];

		T(s->state != NODE_RELAY_CLOSING); /* drained */
		if (s->state != NODE_RELAY_OPEN)
			continue;
		open++;
		T_EQ(s->ready, turn_state(&n->mem.relays[r]) == TURN_READY);
		conns = 0;
		for (uint32_t i = 0; i < n->mem.n_conns; i++)
			conns += n->mem.conns[i].state != NODE_FREE && n->mem.conns[i].relay == r;
		T_EQ(s->n_conns, conns);
	}
	T_EQ(n->relays.n_open, open);
}

static bool any_ready(const struct node *n)
{
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN && n->relays.at[r].ready)
			return true;
	return false;
}

/* Live relay candidates of the agent are exactly the addresses of the relay it is assigned to. */
static void check_candidates(const struct node *n, const struct node_conn *c)
{
	struct endpoint want;
	unsigned live = 0;
	bool has = c->relay != NODE_RELAY_NONE &&
		   turn_relayed(&n->mem.relays[c->relay], rig.family, &want);

	for (unsigned i = 0; i < ice_n_locals(&c->ice); i++) {
		const struct ice_cand *l = ice_local(&c->ice, i);

		if (l->kind != CAND_RELAY || l->discarded)
			continue;
		live++;
		T(has && endpoint_eq(&l->addr, &want));
	}
	T_EQ(live, has);
	if (c == node_conn(n, RIG_SLOT))
		T_EQ(rig_assigned(n == &rig.n[1].node) >= 0, c->relay != NODE_RELAY_NONE);
	T(!any_ready(n) || (c->relay != NODE_RELAY_NONE && n->relays.at[c->relay].ready));
}

static unsigned times_in_chain(const struct node *n, uint32_t slot)
{
	unsigned times = 0;

	for (uint32_t b = 0; b < n->mem.n_buckets; b++)
		for (uint32_t at = n->mem.buckets[NODE_BY_PEER * n->mem.n_buckets + b];
		     at != NODE_NONE && times < 2; at = n->mem.conns[at].next[NODE_BY_PEER])
			times += at == slot;
	return times;
}

static void check_path(const struct rig_node *p, const struct node_conn *c)
{
	struct endpoint relayed;
	struct node_route to;
	struct node_path now;
	bool has = node_conn_path(&p->node, RIG_SLOT, &now, rig.now);

	T_EQ(times_in_chain(&p->node, RIG_SLOT), c->path_relay != NODE_RELAY_NONE);
	T_EQ(has, c->has_path);
	if (!has)
		return;
	/* what the caller was told is what is */
	T_EQ(p->path.relayed, now.relayed);
	T_EQ(p->path.channel, now.channel);
	T(endpoint_eq(&p->path.ice.remote, &now.ice.remote));
	T_EQ(now.relayed, now.ice.local_kind == CAND_RELAY);
	T_EQ(node_route(&p->node, RIG_SLOT, &to, rig.now), !now.relayed || now.channel);
	if (c->path_relay == NODE_RELAY_NONE)
		return;
	T(now.relayed);
	T(turn_relayed(&p->node.mem.relays[c->path_relay], rig.family, &relayed));
	T(endpoint_eq(&relayed, &now.ice.local));
}

static void check(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct rig_node *p = &rig.n[i];
		const struct node_conn *c = node_conn(&p->node, RIG_SLOT);

		node_timeout(&p->node, rig.now);
		rig_drain(p);
		T(node_deadline(&p->node).at > rig.now);
		check_relays(&p->node);
		c = node_conn(&p->node, RIG_SLOT);
		if (!c)
			continue;
		check_candidates(&p->node, c);
		check_path(p, c);
	}
}

/* ---- the weather ---- */

static void reconnect(void)
{
	for (unsigned i = 0; i < 2; i++) {
		node_close(&rig.n[i].node, RIG_SLOT, rig.now);
		rig_drain(&rig.n[i]);
		rig.n[i].path = (struct node_path){0};
		rig.n[i].peer_idx = 0;
	}
	rig_connect();
}

static void step(void)
{
	struct rig_node *p = &rig.n[pick(2)];
	unsigned r = pick(RIG_RELAYS), op = pick(12);
	char secret[8];

	switch (op) {
	case 0:
		rig.r[r].up = false;
		break;
	case 1:
		snprintf(secret, sizeof(secret), "s%u", pick(1000));
		rig_relay_start(r, secret, pick(50) * NS_PER_MS);
		break;
	case 2: /* restarted, and remembers nothing */
		snprintf(secret, sizeof(secret), "%s", rig.r[r].secret);
		rig_relay_start(r, secret, rig.r[r].delay_ns);
		break;
	case 3:
	case 4:
		rig_relays(p == &rig.n[1], pick(16), pick(16));
		break;
	case 5:
		rig_relays(0, 0, 15);
		rig_relays(1, 0, 15);
		break;
	case 6:
		rig.blocked = pick(3) > 0;
		break;
	case 7:
		p->host.ip.b[3] = (uint8_t)(10 + pick(100) * 2 + (p == &rig.n[1]));
		node_set_hosts(&p->node, &p->host, 1, rig.now);
		break;
	case 8:
		p->cut = !p->cut;
		break;
	case 9:
		rig.loss_percent = pick(3) * 10;
		break;
	case 10:
		node_restart_relays(&p->node, rig.now);
		break;
	default:
		if (!node_conn(&rig.n[0].node, RIG_SLOT) || !node_conn(&rig.n[1].node, RIG_SLOT) ||
		    !pick(4))
			reconnect();
		break;
	}
	check();
	rig_run(pick(8) ? pick(500) : pick(20000));
	rig_data_send(p);
	check();
}

/* Everything works again, everybody is told: they must talk, through a relay or not. */
static void clear_up(void)
{
	bool ok = false;

	rig.loss_percent = 0;
	rig.n[0].cut = rig.n[1].cut = false;
	for (unsigned i = 0; i < RIG_RELAYS; i++)
		rig.r[i].up = true;
	rig_relays(0, 15, 15);
	rig_relays(1, 15, 15);
	rig_run(3000);
	check();
	if (!rig_talks())
		reconnect();
	for (unsigned i = 0; i < 20 && !ok; i++)
		ok = rig_talks();
	T(ok);
	check();
}

static void test_random(void)
{
	for (unsigned run = 0; run < RUNS; run++) {
		char secret[8];

		state = t_seed() + run;
		rig_open(run & 1 ? 6 : 4, true, RIG_CONNS);
		rig.rand = state ^ 0x5555;
		for (unsigned i = 0; i < RIG_RELAYS; i++) {
			snprintf(secret, sizeof(secret), "%c", 'a' + i);
			rig_relay_start(i, secret, (3 + i) * NS_PER_MS);
		}
		rig_relays(0, 0, 3);
		rig_relays(1, 0, 3);
		rig_connect();
		rig_run(2000);
		check();
		for (unsigned i = 0; i < STEPS; i++)
			step();
		clear_up();
		rig_close();
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_random);
	return t_done();
}
