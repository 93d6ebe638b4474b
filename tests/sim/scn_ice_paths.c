/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths that come, go and change: late better candidate (snownet L2), candidate while idle (L3),
 * the grace (G1-G3), migration by invalidation. Each with a bound on virtual time, over many seeds.
 */
#include <stdlib.h>

#include "tests/sim/sim_ice.h"
#include "tests/t.h"

#define N_SEEDS 50

struct world {
	struct sim *sim;
	struct sim_ice client, gateway;
};

static const struct sim_link near = {.lat_min_ns = 1250000, .lat_max_ns = 2500000};

static struct world *world_new(const char *scn, uint64_t seed, const struct sim_link *link)
{
	struct sim_ice_cfg cfg = {
		.controlling = true, .timing = ICE_TIMING_ACTIVE, .data_every_ns = 20 * NS_PER_MS};
	struct world *w = calloc(1, sizeof(*w));

	w->sim = sim_new(scn, seed);
	sim_portal_latency(w->sim, 30 * NS_PER_MS, 50 * NS_PER_MS);
	sim_ice_add(&w->client, w->sim, &cfg, link);
	cfg.controlling = false;
	sim_ice_add(&w->gateway, w->sim, &cfg, link);
	return w;
}

static void world_free(struct world *w)
{
	T(!sim_failed(w->sim));
	sim_free(w->sim);
	free(w);
}

static void run(struct world *w, uint64_t span)
{
	T(sim_run(w->sim, sim_now(w->sim) + span, NULL, NULL));
}

static struct ice_cand new_host(struct world *w, struct sim_ice *e, struct ipaddr ip)
{
	struct endpoint at = {.ip = ip, .port = 52625};

	sim_addr_add(w->sim, e->host, &ip, SIM_NO_NAT);
	return ice_cand_host(&at);
}

static void add_relay(struct world *w, struct sim_ice *e, struct ipaddr ip)
{
	struct endpoint at = {.ip = ip, .port = 49152};
	struct ice_cand c = ice_cand_relay(&at, &at);

	sim_addr_add(w->sim, e->host, &ip, SIM_NO_NAT);
	sim_ice_local(e, &c, 0);
}

static void hosts(struct world *w)
{
	sim_ice_host(&w->client, "192.0.2.1:52625", SIM_NO_NAT, 0);
	sim_ice_host(&w->gateway, "198.51.100.1:52625", SIM_NO_NAT, 0);
	sim_ice_connect(&w->client, &w->gateway);
}

/* L2. Relayed first; the direct path comes and is taken with one nomination, without losing data.
 */
static void test_late_better(void)
{
	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("L2", t_seed() + i, &near);
		uint64_t sent;
		struct ice_cand c;

		sim_ice_host(&w->client, "192.0.2.1:52625", SIM_NO_NAT, 0);
		add_relay(w, &w->gateway, ipaddr_v4(203, 0, 113, 3));
		sim_ice_connect(&w->client, &w->gateway);
		run(w, 10 * NS_PER_SEC);
		T_EQ(w->client.path.remote_kind, CAND_RELAY);
		T(w->client.n_paths == 1 && w->gateway.n_paths == 1);
		c = new_host(w, &w->gateway, ipaddr_v4(198, 51, 100, 1));
		sim_ice_add_local_now(&w->gateway, &c);
		run(w, 200 * NS_PER_MS);
		T_EQ(w->client.path.remote_kind, CAND_HOST);
		T_EQ(w->gateway.path.local_kind, CAND_HOST);
		T_EQ(w->client.n_paths, 2);
		run(w, 60 * NS_PER_SEC);
		T_EQ(w->client.n_paths, 2);
		T_EQ(w->client.n_disconnected + w->gateway.n_disconnected, 0);
		sent = w->client.data_sent;
		T(w->gateway.data_received + 2 >= sent);
		T(w->gateway.max_data_gap_ns < 40 * NS_PER_MS);
		world_free(w);
	}
}

/* L3. Idle, checks every 25 s. A new candidate arrives, the caller goes active: checks within
 * milliseconds. */
static void test_candidate_in_idle(void)
{
	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("L3", t_seed() + i, &near);
		struct sim_ice *a = &w->client;
		struct ice_cand c;
		uint64_t checks;

		hosts(w);
		run(w, 20 * NS_PER_SEC);
		ice_set_timing(&w->client.ice, &ICE_TIMING_IDLE, sim_now(w->sim));
		ice_set_timing(&w->gateway.ice, &ICE_TIMING_IDLE, sim_now(w->sim));
		run(w, 30 * NS_PER_SEC);
		checks = a->ice.acct.tx_checks;
		run(w, 100 * NS_PER_SEC);
		T_EQ(a->ice.acct.tx_checks - checks, 4);
		c = new_host(w, &w->gateway, ipaddr_v4(198, 51, 100, 2));
		sim_ice_add_local_now(&w->gateway, &c);
		ice_set_timing(&w->client.ice, &ICE_TIMING_ACTIVE, sim_now(w->sim));
		ice_set_timing(&w->gateway.ice, &ICE_TIMING_ACTIVE, sim_now(w->sim));
		sim_kick(w->sim, w->client.host);
		sim_kick(w->sim, w->gateway.host);
		checks = a->ice.acct.tx_checks;
		run(w, 80 * NS_PER_MS);
		/* The new pair. The old one was checked by the change of timing itself. */
		T(a->ice.acct.tx_checks > checks);
		T_EQ(ice_n_pairs(&a->ice), 2);
		T_EQ(a->n_disconnected, 0);
		world_free(w);
	}
}

/* G1. The peer is gone: given up 18.5 to 20 s after the first lost check. */
static void test_grace_expiry(void)
{
	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("G1", t_seed() + i, &near);
		uint64_t killed_at;

		hosts(w);
		run(w, 20 * NS_PER_SEC + i * 31 * NS_PER_MS);
		sim_host_up(w->sim, w->gateway.host, false);
		killed_at = sim_now(w->sim);
		run(w, 18400 * NS_PER_MS);
		T(!w->client.failed);
		run(w, 1800 * NS_PER_MS);
		T(w->client.failed);
		T_EQ(w->client.failed_at - w->client.disconnected_at, ICE_GRACE_NS);
		T(w->client.failed_at - killed_at >= 18500 * NS_PER_MS);
		world_free(w);
	}
}

static struct world *lost_peer(const char *scn, unsigned i, uint64_t *disconnected_at)
{
	struct world *w = world_new(scn, t_seed() + i, &near);
	struct ipaddr g = ipaddr_v4(198, 51, 100, 1), c = ipaddr_v4(192, 0, 2, 1);

	hosts(w);
	run(w, 20 * NS_PER_SEC);
	sim_block(w->sim, &g, &c, true);
	while (!w->client.n_disconnected && !w->gateway.n_disconnected && !sim_failed(w->sim))
		run(w, NS_PER_MS);
	*disconnected_at = sim_now(w->sim);
	return w;
}

/* G2. A working candidate 1.9 s after Disconnected rescues it, though the path needs over a second
 * more. */
static void test_grace_rescue(void)
{
	for (unsigned i = 0; i < N_SEEDS; i++) {
		uint64_t at;
		struct world *w = lost_peer("G2", i, &at);
		struct sim_link slow = {.lat_min_ns = 300 * NS_PER_MS,
					.lat_max_ns = 350 * NS_PER_MS};
		struct ice_cand c = new_host(w, &w->gateway, ipaddr_v4(198, 51, 100, 9));

		sim_link_set(w->sim, w->client.host, &slow);
		sim_link_set(w->sim, w->gateway.host, &slow);
		T(sim_run(w->sim, at + 1840 * NS_PER_MS, NULL, NULL));
		T(!w->client.failed && !w->gateway.failed);
		sim_ice_add_local_now(&w->gateway, &c);
		run(w, 60 * NS_PER_SEC);
		T(!w->client.failed && !w->gateway.failed);
		T(w->client.n_checking_again + w->gateway.n_checking_again >= 1);
		T(endpoint_eq(&w->client.path.remote, &c.addr));
		T(sim_now(w->sim) - w->client.last_data_at < 2 * NS_PER_SEC);
		world_free(w);
	}
}

/* The same candidate 2.1 s after is too late. */
static void test_grace_too_late(void)
{
	uint64_t at;
	struct world *w = lost_peer("G2-late", 0, &at);

	T(sim_run(w->sim, at + 2 * NS_PER_SEC + 1800 * NS_PER_MS, NULL, NULL));
	T(w->client.failed && w->gateway.failed);
	world_free(w);
}

/* G3. The peer's candidates come before one's own, by half a second or much more: no failure. */
static void test_roam_race(void)
{
	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("G3", t_seed() + i, &near);

		sim_ice_host(&w->client, "192.0.2.1:52625", SIM_NO_NAT,
			     (500 + i * 100) * NS_PER_MS);
		sim_ice_host(&w->gateway, "198.51.100.1:52625", SIM_NO_NAT, 0);
		sim_ice_connect(&w->client, &w->gateway);
		run(w, 10 * NS_PER_SEC);
		T(w->client.connected && w->gateway.connected);
		T(!w->client.failed && !w->gateway.failed);
		T_EQ(w->client.n_disconnected + w->gateway.n_disconnected, 0);
		world_free(w);
	}
}

/* A new address and the invalidation of the old one: moved within a second, nobody waits for
 * timeouts. */
static void test_migration(void)
{
	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("migration", t_seed() + i, &near);
		struct ice_cand old, c;

		hosts(w);
		run(w, 20 * NS_PER_SEC);
		old = *ice_local(&w->gateway.ice, 0);
		c = new_host(w, &w->gateway, ipaddr_v4(198, 51, 100, 9));
		sim_ice_add_local_now(&w->gateway, &c);
		sim_ice_drop_local(&w->gateway, &old);
		run(w, NS_PER_SEC);
		T(endpoint_eq(&w->client.path.remote, &c.addr));
		T(endpoint_eq(&w->gateway.path.local, &c.addr));
		/* The gateway alone may have been without any pair while the word was under way. */
		T_EQ(w->client.n_disconnected, 0);
		T(!w->client.failed && !w->gateway.failed);
		T(w->gateway.max_data_gap_ns < NS_PER_SEC);
		world_free(w);
	}
}

/* A gateway keeps pairs for ten minutes; when one of two paths dies it still follows the client to
 * the other, as soon as the client has noticed. */
static void test_patient_gateway_follows(void)
{
	struct ipaddr g1 = ipaddr_v4(198, 51, 100, 1), c1 = ipaddr_v4(192, 0, 2, 1);

	for (unsigned i = 0; i < N_SEEDS; i++) {
		struct world *w = world_new("patient", t_seed() + i, &near);

		w->gateway.cfg.timing = ICE_TIMING_GATEWAY_ACTIVE;
		sim_ice_host(&w->client, "192.0.2.1:52625", SIM_NO_NAT, 0);
		sim_ice_host(&w->gateway, "198.51.100.1:52625", SIM_NO_NAT, 0);
		sim_ice_host(&w->gateway, "198.51.101.1:52625", SIM_NO_NAT, 30 * NS_PER_MS);
		sim_ice_connect(&w->client, &w->gateway);
		run(w, 20 * NS_PER_SEC);
		T(ipaddr_eq(&w->client.path.remote.ip, &g1));
		sim_block(w->sim, &g1, &c1, true);
		run(w, 22 * NS_PER_SEC);
		T(!ipaddr_eq(&w->client.path.remote.ip, &g1));
		T(endpoint_eq(&w->client.path.remote, &w->gateway.path.local));
		T(sim_now(w->sim) - w->client.last_data_at < NS_PER_SEC);
		T(sim_now(w->sim) - w->gateway.last_data_at < NS_PER_SEC);
		T_EQ(w->client.n_disconnected + w->gateway.n_disconnected, 0);
		T(ice_n_pairs(&w->gateway.ice) > ice_n_pairs(&w->client.ice));
		world_free(w);
	}
}

/* The portal is out for a minute: an established path does not care, and what was signalled
 * meanwhile comes later. */
static void test_portal_outage(void)
{
	struct world *w = world_new("outage", t_seed(), &near);
	struct ice_cand c;

	hosts(w);
	run(w, 10 * NS_PER_SEC);
	sim_portal_outage(w->sim, w->gateway.host, sim_now(w->sim) + 60 * NS_PER_SEC);
	c = new_host(w, &w->gateway, ipaddr_v4(198, 51, 100, 9));
	sim_ice_add_local_now(&w->gateway, &c);
	run(w, 59 * NS_PER_SEC);
	T(!sim_ice_knows_all(&w->client, &w->gateway));
	run(w, 2 * NS_PER_SEC);
	T(sim_ice_knows_all(&w->client, &w->gateway));
	T(w->client.max_data_gap_ns < 40 * NS_PER_MS);
	T_EQ(w->client.n_disconnected + w->gateway.n_disconnected, 0);
	world_free(w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_late_better);
	T_RUN(test_candidate_in_idle);
	T_RUN(test_grace_expiry);
	T_RUN(test_grace_rescue);
	T_RUN(test_grace_too_late);
	T_RUN(test_roam_race);
	T_RUN(test_migration);
	T_RUN(test_patient_gateway_follows);
	T_RUN(test_portal_outage);
	return t_done();
}
