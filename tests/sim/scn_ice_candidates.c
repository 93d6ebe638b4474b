/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule "always use all candidates", flipped: a caller that takes candidates only until a pair
 * is nominated ignores most of them when the portal is slower than the data path, and loses the
 * connection as soon as the one path it found dies. The same networks, the same seeds, with the
 * rule: nothing is lost. */
#include <stdlib.h>

#include "tests/sim/sim_ice.h"
#include "tests/t.h"

#define N_SEEDS 200

struct outcome {
	unsigned n_failed, n_ignored, n_connected_at_end, n_disconnected;
};

/* Client behind a NAT with a second uplink; gateway with two addresses on different networks. */
struct world {
	struct sim *sim;
	struct sim_ice client, gateway;
	struct ipaddr c1, c2, g1, g2;
};

static struct world *world_new(const char *scn, uint64_t seed, enum sim_ice_policy policy,
			       uint64_t portal_min_ms, uint64_t portal_max_ms)
{
	struct sim_link link = {.lat_min_ns = 1250000, .lat_max_ns = 2500000};
	struct sim_ice_cfg cfg = {.controlling = true,
				  .policy = policy,
				  .timing = ICE_TIMING_ACTIVE,
				  .data_every_ns = 500 * NS_PER_MS};
	struct sim_nat_cfg nat = {.public_ip = ipaddr_v4(203, 0, 113, 1),
				  .mapping = SIM_INDEPENDENT,
				  .filtering = SIM_ADDR_PORT_DEPENDENT};
	struct world *w = calloc(1, sizeof(*w));
	unsigned behind;

	w->sim = sim_new(scn, seed);
	sim_portal_latency(w->sim, portal_min_ms * NS_PER_MS, portal_max_ms * NS_PER_MS);
	behind = sim_nat_add(w->sim, &nat);
	sim_ice_add(&w->client, w->sim, &cfg, &link);
	cfg.controlling = false;
	sim_ice_add(&w->gateway, w->sim, &cfg, &link);
	w->c1 = ipaddr_v4(10, 0, 0, 1);
	w->c2 = ipaddr_v4(192, 0, 2, 77);
	w->g1 = ipaddr_v4(198, 51, 100, 1);
	w->g2 = ipaddr_v4(198, 51, 101, 1);
	sim_ice_host(&w->client, "10.0.0.1:52625", behind, 0);
	sim_ice_host(&w->client, "192.0.2.77:52625", SIM_NO_NAT, 60 * NS_PER_MS);
	sim_ice_host(&w->gateway, "198.51.100.1:52625", SIM_NO_NAT, 0);
	sim_ice_host(&w->gateway, "198.51.101.1:52625", SIM_NO_NAT, 60 * NS_PER_MS);
	sim_ice_connect(&w->client, &w->gateway);
	return w;
}

static void world_free(struct world *w)
{
	sim_free(w->sim);
	free(w);
}

/* The provider of the gateway's first address goes away for good. */
static void cut_first_path(struct world *w)
{
	sim_block(w->sim, &w->c1, &w->g1, true);
	sim_block(w->sim, &w->c2, &w->g1, true);
}

static void account(struct outcome *o, const struct world *w)
{
	const struct sim_ice *e[] = {&w->client, &w->gateway};

	for (unsigned i = 0; i < 2; i++) {
		o->n_failed += e[i]->failed;
		o->n_ignored += e[i]->n_ignored;
		o->n_disconnected += e[i]->n_disconnected;
		o->n_connected_at_end += e[i]->has_path &&
					 sim_now(w->sim) - e[i]->last_data_at < 3 * NS_PER_SEC;
	}
}

static struct outcome path_dies(enum sim_ice_policy policy, uint64_t min_ms, uint64_t max_ms)
{
	struct outcome o = {0};

	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("path-dies", t_seed() + i, policy, min_ms, max_ms);

		T(sim_run(w->sim, sim_now(w->sim) + 20 * NS_PER_SEC, NULL, NULL));
		T(w->client.connected && w->gateway.connected);
		cut_first_path(w);
		T(sim_run(w->sim, sim_now(w->sim) + 60 * NS_PER_SEC, NULL, NULL));
		account(&o, w);
		world_free(w);
	}
	return o;
}

/* old_lost: how many of the 2 * N_SEEDS ends the flipped rule must lose at least. */
static void path_dies_both_ways(uint64_t min_ms, uint64_t max_ms, unsigned old_lost)
{
	struct outcome now = path_dies(SIM_ICE_USE_ALL, min_ms, max_ms);
	struct outcome old = path_dies(SIM_ICE_ONLY_WHILE_CONNECTING, min_ms, max_ms);

	t_note("portal %u-%u ms, nominated path dies, %u seeds, two ends each:", (unsigned)min_ms,
	       (unsigned)max_ms, N_SEEDS);
	t_note("  all candidates:         failed=%u ignored=%u disconnected=%u up at the end=%u",
	       now.n_failed, now.n_ignored, now.n_disconnected, now.n_connected_at_end);
	t_note("  only while connecting:  failed=%u ignored=%u disconnected=%u up at the end=%u",
	       old.n_failed, old.n_ignored, old.n_disconnected, old.n_connected_at_end);
	T_EQ(now.n_failed, 0);
	T_EQ(now.n_ignored, 0);
	T_EQ(now.n_disconnected, 0);
	T_EQ(now.n_connected_at_end, 2 * N_SEEDS);
	T(old.n_failed >= old_lost);
	T(old.n_ignored >= old_lost);
	T_EQ(old.n_connected_at_end, 2 * N_SEEDS - old.n_failed);
}

static void test_path_dies(void)
{
	path_dies_both_ways(30, 50, 2 * N_SEEDS);
	path_dies_both_ways(100, 400, N_SEEDS);
}

/* Nobody dies, but the client roams off its NAT: its new address is signalled, the old one
 * invalidated. The peer must take the one and recognise the other. */
static struct outcome client_moves(enum sim_ice_policy policy)
{
	struct outcome o = {0};

	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("client-moves", t_seed() + i, policy, 30, 50);
		struct endpoint e = {.ip = ipaddr_v4(192, 0, 2, 200), .port = 52625};
		struct ice_cand c = ice_cand_host(&e);

		T(sim_run(w->sim, sim_now(w->sim) + 10 * NS_PER_SEC, NULL, NULL));
		sim_addr_del(w->sim, w->client.host, &w->c1);
		sim_addr_del(w->sim, w->client.host, &w->c2);
		sim_addr_add(w->sim, w->client.host, &e.ip, SIM_NO_NAT);
		sim_ice_add_local_now(&w->client, &c);
		T(sim_run(w->sim, sim_now(w->sim) + 60 * NS_PER_SEC, NULL, NULL));
		account(&o, w);
		world_free(w);
	}
	return o;
}

static void test_client_moves(void)
{
	struct outcome now = client_moves(SIM_ICE_USE_ALL);
	struct outcome old = client_moves(SIM_ICE_ONLY_WHILE_CONNECTING);

	t_note("client moves to another address: all candidates: failed=%u, up=%u; old rule: "
	       "failed=%u, up=%u",
	       now.n_failed, now.n_connected_at_end, old.n_failed, old.n_connected_at_end);
	T_EQ(now.n_failed, 0);
	T_EQ(now.n_connected_at_end, 2 * N_SEEDS);
	T_EQ(old.n_failed, 2 * N_SEEDS);
}

/* A relayed path first, the direct candidate a little later: used under the rule, and only under
 * the rule. */
static struct world *relay_first(uint64_t seed, enum sim_ice_policy policy)
{
	struct endpoint at = {.ip = ipaddr_v4(203, 0, 113, 9), .port = 49152};
	struct world *w = world_new("relay-first", seed, policy, 30, 50);
	struct ice_cand c = ice_cand_relay(&at, &at);

	sim_addr_add(w->sim, w->gateway.host, &at.ip, SIM_NO_NAT);
	w->gateway.locals[0] = (struct sim_ice_local){.cand = c};
	return w;
}

static void test_better_comes_late(void)
{
	unsigned n_direct[2] = {0}, n_relayed[2] = {0};

	for (unsigned policy = 0; policy < 2; policy++)
		for (unsigned i = 0; i < N_SEEDS; i++) {
			struct world *w = relay_first(t_seed() + i, (enum sim_ice_policy)policy);

			T(sim_run(w->sim, sim_now(w->sim) + 5 * NS_PER_SEC, NULL, NULL));
			n_direct[policy] += w->client.path.remote_kind == CAND_HOST;
			n_relayed[policy] += w->client.path.remote_kind == CAND_RELAY;
			world_free(w);
		}
	t_note("direct candidate after the relayed one: all candidates: %u direct; old rule: %u "
	       "direct, %u relayed",
	       n_direct[SIM_ICE_USE_ALL], n_direct[SIM_ICE_ONLY_WHILE_CONNECTING],
	       n_relayed[SIM_ICE_ONLY_WHILE_CONNECTING]);
	T_EQ(n_direct[SIM_ICE_USE_ALL], N_SEEDS);
	T_EQ(n_relayed[SIM_ICE_ONLY_WHILE_CONNECTING], N_SEEDS);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_path_dies);
	T_RUN(test_client_moves);
	T_RUN(test_better_comes_late);
	return t_done();
}
