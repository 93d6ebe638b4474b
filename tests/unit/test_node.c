/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's bookkeeping, without a network: what a closed connection still says (nothing), what a
 * refused one leaves behind (nothing), and that draining many costs each of them once. */
#include "core/node/node.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/t.h"

#define N_MANY 4096

static struct node node;
static struct node_mem mem;

static void open_node(uint32_t n_conns)
{
	const struct node_cfg cfg = {.wg_times = wg_times_default()};
	const uint8_t priv[32] = {1}, seed[32] = {2};

	mem = (struct node_mem){.n_conns = n_conns, .n_buckets = 4096, .n_slots = 16384};
	mem.conns = calloc(n_conns, sizeof(*mem.conns));
	mem.due = calloc(n_conns, sizeof(*mem.due));
	mem.due_pos = calloc(n_conns, sizeof(*mem.due_pos));
	mem.buckets = calloc(NODE_CHAINS * mem.n_buckets, sizeof(*mem.buckets));
	mem.conn_of_slot = calloc(mem.n_slots, sizeof(*mem.conn_of_slot));
	T_EQ(node_init(&node, &cfg, &mem, priv, seed, (struct wall){.sec = 1700000000}, 1), 0);
}

static void close_node(void)
{
	node_fini(&node);
	free(mem.conns);
	free(mem.due);
	free(mem.due_pos);
	free(mem.buckets);
	free(mem.conn_of_slot);
}

static struct node_peer peer(uint32_t no)
{
	struct node_peer p = {.psk = {9}};

	le32_put(p.cid.b, no);
	memset(p.remote_pub, 3, sizeof(p.remote_pub));
	le32_put(p.remote_pub, no);
	snprintf(p.local.ufrag, sizeof(p.local.ufrag), "l%05u", no);
	snprintf(p.remote.ufrag, sizeof(p.remote.ufrag), "r%05u", no);
	snprintf(p.local.pwd, sizeof(p.local.pwd), "localpasswordlocalpassword");
	snprintf(p.remote.pwd, sizeof(p.remote.pwd), "remotepasswordremotepassword");
	return p;
}

static const struct endpoint hosts[2] = {
	{.ip = {.family = 4, .b = {192, 0, 2, 1}}, .port = 52625},
	{.ip = {.family = 6, .b = {0x20, 1, 0xd, 0xb8, [15] = 1}}, .port = 52625},
};

/* Events until there are none, at most a bound; the number of each kind. */
static unsigned kinds[NODE_EV_NO_RELAYS + 1];
static unsigned after_closed;

static void drain(unsigned bound, uint64_t now)
{
	struct node_event ev;
	struct node_tx tx;
	bool closed = false;

	memset(kinds, 0, sizeof(kinds));
	after_closed = 0;
	do {
		while (bound && node_poll_event(&node, &ev, now)) {
			bound--;
			kinds[ev.kind]++;
			after_closed += closed;
			closed |= ev.kind == NODE_EV_CLOSED;
			if (ev.kind == NODE_EV_WANT_INDEX)
				node_give_index(&node, ev.conn, 0x10000 | ev.conn);
		}
	} while (bound && node_poll_tx(&node, &tx, now));
	T_EQ(bound > 0, 1);
}

/* Closed with candidates still to announce: CLOSED is the last word. */
static void test_closed_says_nothing(void)
{
	const struct node_peer p = peer(1);

	open_node(4);
	node_set_hosts(&node, hosts, 2, 1);
	T_EQ(node_upsert(&node, 2, &p, 1), NODE_UPSERT_CREATED);
	node_close(&node, 2, 1);
	drain(100, 1);
	T_EQ(kinds[NODE_EV_CLOSED], 1);
	T_EQ(after_closed, 0);
	T_EQ(kinds[NODE_EV_CANDIDATE], 0);
	T_EQ(node_deadline(&node).at, TIME_NEVER);
	/* and the slot serves again */
	T_EQ(node_upsert(&node, 2, &p, 2), NODE_UPSERT_CREATED);
	drain(100, 2);
	T_EQ(kinds[NODE_EV_CANDIDATE], 2);
	close_node();
}

/* A key that is no point on the curve: refused, and no secret stays in the slot. */
static void test_refused_leaves_nothing(void)
{
	static const uint8_t zero[32];
	struct node_peer p = peer(1);

	open_node(4);
	memset(p.remote_pub, 0, sizeof(p.remote_pub));
	T_EQ(node_upsert(&node, 2, &p, 1), NODE_UPSERT_INVALID);
	T_MEM(mem.conns[2].psk, zero, sizeof(zero));
	T_EQ(mem.conns[2].ice.local_creds.pwd[0], 0);
	T_EQ(node_conn(&node, 2) == NULL, 1);
	drain(10, 1);
	close_node();
}

/* Draining a table of connections looks at each a few times, not once per other one. */
static void test_drain_is_linear(void)
{
	open_node(N_MANY);
	node_set_hosts(&node, hosts, 1, 1);
	for (uint32_t i = 0; i < N_MANY; i++) {
		const struct node_peer p = peer(i);

		T_EQ(node_upsert(&node, i, &p, 1), NODE_UPSERT_CREATED);
	}
	node.acct.looks = 0;
	drain(10 * N_MANY, 1);
	T_EQ(kinds[NODE_EV_CANDIDATE], N_MANY);
	T_EQ(node.acct.looks < 10 * N_MANY, 1);
	node_set_hosts(&node, hosts, 2, 2);
	node.acct.looks = 0;
	drain(10 * N_MANY, 2);
	T_EQ(kinds[NODE_EV_CANDIDATE], N_MANY);
	T_EQ(node.acct.looks < 10 * N_MANY, 1);
	close_node();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_closed_says_nothing);
	T_RUN(test_refused_leaves_nothing);
	T_RUN(test_drain_is_linear);
	return t_done();
}
