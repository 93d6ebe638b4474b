/* SPDX-License-Identifier: Apache-2.0
 *
 * Two whole nodes (ICE and WireGuard) with their forwarding tables in the simulated network,
 * without relays: connections come up, carry data exactly once, renew keys, survive changes of
 * address and loss, and end when the peer is gone. */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "tests/sim/sim_seeds.h"
#include "tests/sim/sim_world.h"

#define EVERY (100 * NS_PER_MS)

static const struct sim_link good = {.lat_min_ns = 2 * NS_PER_MS, .lat_max_ns = 5 * NS_PER_MS};
static const struct sim_link bad = {.lat_min_ns = 5 * NS_PER_MS,
				    .lat_max_ns = 60 * NS_PER_MS,
				    .loss_ppm = 50000,
				    .dup_ppm = 50000,
				    .reorder_ppm = 100000,
				    .reorder_ns = 80 * NS_PER_MS};

/* Public IPv4 on both sides; the client has just asked for the connection. */
static struct sim_world *world_new(const char *name, uint64_t seed, const struct sim_link *link,
				   uint64_t every_ns)
{
	struct sim_world_cfg cfg = sim_world_default();
	struct sim_world *w;

	cfg.n_relays = 0;
	cfg.client.has[SIM_V6] = cfg.gateway.has[SIM_V6] = false;
	cfg.node_link = *link;
	w = sim_world_new(name, seed, &cfg);
	sim_world_settle(w);
	sim_world_connect(w, every_ns);
	return w;
}

static uint32_t indices_out(const struct sim_node *n)
{
	return n->n_slots - n->fwd.n_session_free;
}

/* Connect time over many seeds, on a good and on a bad network. */
static void connect_times(const char *what, const struct sim_link *link, unsigned p99_max_ms)
{
	static struct sim_times t;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(200); i++) {
		struct sim_world *w = world_new("node-connect", 1000 + i, link, 2 * EVERY);
		const struct sim_conn *c, *g;
		uint64_t start = sim_now(w->sim);

		sim_world_run(w, 30 * NS_PER_SEC);
		c = sim_world_conn(w, false);
		g = sim_world_conn(w, true);
		if (!T(c && g))
			break;
		SIM_T_EQ(w->sim, c->established, 1);
		SIM_T_EQ(w->sim, g->established, 1);
		SIM_T_EQ(w->sim, c->failed + g->failed, 0);
		sim_times_add(&t, g->established_at - start);
		sim_world_free(w);
	}
	sim_times_note(&t, what);
	T(sim_times_within(&t, 99, p99_max_ms * NS_PER_MS));
}

static void test_connect_good(void)
{
	connect_times("good links, established", &good, 400);
}

static void test_connect_bad(void)
{
	/* a lost handshake costs five seconds; one in a hundred loses three */
	connect_times("bad links, established", &bad, 18000);
}

/* Ten minutes of traffic both ways: keys renewed by the client alone, no number lost or doubled. */
static void test_rekey_under_traffic(void)
{
	struct sim_world *w = world_new("node-rekey", t_seed(), &good, EVERY);
	const struct sim_conn *c, *g;

	sim_world_run(w, 600 * NS_PER_SEC);
	c = sim_world_conn(w, false);
	g = sim_world_conn(w, true);
	T(c->sessions >= 5 && c->sessions <= 6);
	T_EQ(c->sessions, g->sessions);
	T(c->sent > 5900);
	T(c->sent - g->received <= 1);
	T(g->sent - c->received <= 1);
	T_EQ(w->client.out_of_session + w->gateway.out_of_session, 0);
	T(indices_out(&w->client) <= 4); /* no index leaks */
	sim_world_free(w);
}

/* Idle: slow checks, keys renewed all the same, still usable after ten minutes. */
static void test_idle(void)
{
	struct sim_world *w = world_new("node-idle", t_seed(), &good, 0);
	struct sim_stats before, after;

	sim_world_run(w, 60 * NS_PER_SEC);
	T_EQ(sim_node_inner(&w->client, &w->gateway)->state, NODE_IDLE);
	before = sim_stats(w->sim);
	sim_world_run(w, 600 * NS_PER_SEC);
	after = sim_stats(w->sim);
	t_note("datagrams in ten idle minutes: %llu",
	       (unsigned long long)(after.sent - before.sent));
	T(after.sent - before.sent < 150);
	sim_node_send(&w->client, EVERY);
	sim_world_run(w, 2 * NS_PER_SEC);
	T(sim_world_conn(w, true)->received >= 18);
	T_EQ(sim_node_inner(&w->client, &w->gateway)->state, NODE_CONNECTED);
	sim_world_free(w);
}

/* The client's address changes: the interface listing tells, the same session goes on over the new
 * path. */
static void test_address_change(void)
{
	struct sim_world *w = world_new("node-address", t_seed(), &good, EVERY);
	struct ipaddr old, other = ipaddr_v4(203, 0, 113, 77);
	uint64_t before;

	sim_world_run(w, 5 * NS_PER_SEC);
	T(sim_source(w->sim, w->client.host, 4, &old));
	sim_addr_del(w->sim, w->client.host, &old);
	sim_addr_add(w->sim, w->client.host, &other, SIM_NO_NAT);
	sim_node_hosts(&w->client);
	sim_world_run(w, 3 * NS_PER_SEC);
	before = sim_world_conn(w, false)->received;
	sim_world_run(w, 2 * NS_PER_SEC);
	T(sim_world_conn(w, false)->received - before >= 18);
	T_EQ(sim_world_conn(w, false)->failed + sim_world_conn(w, true)->failed, 0);
	T_EQ(sim_node_inner(&w->client, &w->gateway)->path.local.ip.b[3], 77);
	sim_world_free(w);
}

/* The gateway vanishes: the client notices within ICE's and the grace's time and gives every index
 * back. */
static void test_peer_gone(void)
{
	struct sim_world *w = world_new("node-gone", t_seed(), &good, EVERY);
	const struct sim_conn *c;
	uint64_t cut;

	sim_world_run(w, 5 * NS_PER_SEC);
	cut = sim_now(w->sim);
	sim_host_up(w->sim, w->gateway.host, false);
	sim_world_run(w, 40 * NS_PER_SEC);
	c = sim_world_conn(w, false);
	T_EQ(c->failed, 1);
	T_EQ(c->closed, 1);
	t_note("noticed after %llu ms", (unsigned long long)((c->failed_at - cut) / NS_PER_MS));
	T(c->failed_at - cut <= 22 * NS_PER_SEC);
	T_EQ(indices_out(&w->client), 0);
	sim_world_free(w);
}

/* Asking again keeps the session; other credentials replace the connection. */
static void test_upsert(void)
{
	struct sim_world *w = world_new("node-upsert", t_seed(), &good, EVERY);
	const struct sim_conn *c, *g;

	sim_world_run(w, 2 * NS_PER_SEC);
	sim_node_want_again(&w->client, &w->gateway);
	sim_world_run(w, 2 * NS_PER_SEC);
	c = sim_world_conn(w, false);
	g = sim_world_conn(w, true);
	T_EQ(c->established, 1);
	T_EQ(c->closed, 0);
	w->portal.generation++;
	sim_node_want_again(&w->client, &w->gateway);
	sim_world_run(w, 4 * NS_PER_SEC);
	T_EQ(c->established, 2);
	T_EQ(g->established, 2);
	T_EQ(c->closed, 1);
	T(indices_out(&w->client) <= 3);
	sim_world_free(w);
}

/* The same seed gives the same run. */
static void test_repeatable(void)
{
	uint64_t hash[2];

	for (unsigned i = 0; i < 2; i++) {
		struct sim_world *w = world_new("node-repeat", 42, &bad, EVERY);

		sim_world_run(w, 20 * NS_PER_SEC);
		hash[i] = sim_trace_hash(w->sim);
		sim_world_free(w);
	}
	T_EQ(hash[0], hash[1]);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_connect_good);
	T_RUN(test_connect_bad);
	T_RUN(test_rekey_under_traffic);
	T_RUN(test_idle);
	T_RUN(test_address_change);
	T_RUN(test_peer_gone);
	T_RUN(test_upsert);
	T_RUN(test_repeatable);
	return t_done();
}
