/* SPDX-License-Identifier: Apache-2.0
 *
 * Relays die, restart, are replaced, while the portal can be reached and while it cannot: a
 * connection that was relayed is relayed again within its grace, with the WireGuard session it had
 * (snownet: R, D, P). And the direct path comes and goes under a running connection. */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "tests/sim/sim_scene.h"

#define ALL UINT32_MAX

static void kill_relays(struct sim_world *w, uint32_t mask)
{
	for (unsigned i = 0; i < w->cfg.n_relays; i++)
		if (mask >> i & 1 && w->relays[i]->up)
			sim_relay_kill(w->relays[i]);
}

static void start_relays(struct sim_world *w, uint32_t mask)
{
	for (unsigned i = 0; i < w->cfg.n_relays; i++)
		if (mask >> i & 1 && !w->relays[i]->up)
			sim_relay_start(w->relays[i]);
}

/* ---- what happens ---- */

static void restart_used(struct sim_world *w)
{
	uint32_t used = sim_scene_relays_in_use(w);

	SIM_T(w->sim, used);
	kill_relays(w, used);
	sim_world_run(w, 300 * NS_PER_MS);
	start_relays(w, used);
}

static void test_restart(void)
{
	struct sim_scene s = {.name = "relays in use restarted with a new secret",
			      .cfg = sim_scene_blocked(2, 0),
			      .happen = restart_used,
			      .before = SIM_OUT_RELAYED,
			      .after = SIM_OUT_RELAYED,
			      .max_ms = 4000};

	sim_scene_play(&s);
	s.name = "the only relay restarted";
	s.cfg.n_relays = 1;
	s.comes_back = true;
	sim_scene_play(&s);
}

static void kill_one_used(struct sim_world *w)
{
	uint32_t used = sim_scene_relays_in_use(w);

	SIM_T(w->sim, used);
	kill_relays(w, used & -used);
}

static void test_kill(void)
{
	const struct sim_scene s = {.name = "a relay in use killed, another one left",
				    .cfg = sim_scene_blocked(2, 0),
				    .happen = kill_one_used,
				    .before = SIM_OUT_RELAYED,
				    .after = SIM_OUT_RELAYED,
				    .max_ms = 4000};

	sim_scene_play(&s);
}

static void replace_all(struct sim_world *w)
{
	kill_relays(w, 3);
	start_relays(w, 12);
}

/* D: other relays take the place of all there were. */
static void test_redeploy(void)
{
	struct sim_scene s = {.name = "D: relays redeployed, direct path blocked",
			      .comes_back = true,
			      .cfg = sim_scene_blocked(4, 3),
			      .happen = replace_all,
			      .before = SIM_OUT_RELAYED,
			      .after = SIM_OUT_RELAYED,
			      .max_ms = 4000};

	sim_scene_play(&s);
	s.name = "D: relays redeployed under a direct connection";
	s.comes_back = false;
	s.cfg.cut = false;
	s.before = s.after = SIM_OUT_DIRECT;
	s.max_ms = 200;
	sim_scene_play(&s);
}

/* R, steps 1 to 5. Relays: A=0, B=1, C=2. Nodes hear of it all when the client is back. */
static void reboot(struct sim_world *w, bool told_at_once)
{
	sim_portal_hold(&w->portal, !told_at_once);
	sim_portal_relay_mask(&w->portal, w->client.number, ALL);
	sim_portal_relay_mask(&w->portal, w->gateway.number, ALL);
	sim_node_offline(&w->client);
	sim_world_run(w, sim_scene_between(w, 100, 1000));
	kill_relays(w, 2);
	sim_world_run(w, sim_scene_between(w, 0, 2000));
	start_relays(w, 4);
	sim_world_run(w, sim_scene_between(w, 0, 2000));
	kill_relays(w, 1);
	sim_world_run(w, 300 * NS_PER_MS);
	start_relays(w, 1);
	sim_world_run(w, sim_scene_between(w, 500, 3000));
	sim_node_online(&w->client);
	sim_portal_hold(&w->portal, false);
}

static void reboot_while_partitioned(struct sim_world *w)
{
	reboot(w, false);
}

static void test_reboot_partitioned(void)
{
	const struct sim_scene s = {
		.name = "R: relays reboot while the client is away from the portal",
		.cfg = sim_scene_blocked(3, 3),
		.client_mask = 1,
		.gateway_mask = 2,
		.partitioned = true,
		.comes_back = true,
		.happen = reboot_while_partitioned,
		.before = SIM_OUT_RELAYED,
		.after = SIM_OUT_RELAYED,
		.max_ms = 20000};

	sim_scene_play(&s);
}

/* The same, but the gateway hears of each change at once, and what it signals meanwhile is lost:
 * the client goes on using the gateway's address at a relay that is gone until its checks say so.
 */
static void reboot_unheard(struct sim_world *w)
{
	reboot(w, true);
}

static void test_reboot_unheard(void)
{
	const struct sim_scene s = {.name = "R, and the client misses what the gateway signals",
				    .cfg = sim_scene_blocked(3, 3),
				    .client_mask = 1,
				    .gateway_mask = 2,
				    .partitioned = true,
				    .happen = reboot_unheard,
				    .before = SIM_OUT_RELAYED,
				    .after = SIM_OUT_RELAYED,
				    .max_ms = 20000};

	sim_scene_play(&s);
}

static void replace_while_partitioned(struct sim_world *w)
{
	sim_node_offline(&w->client);
	sim_world_run(w, sim_scene_between(w, 100, 1000));
	replace_all(w);
	sim_world_run(w, sim_scene_between(w, 1500, 8000));
	sim_node_online(&w->client);
}

static void test_replaced_partitioned(void)
{
	struct sim_scene s = {
		.name = "both relays replaced while the client is away from the portal",
		.cfg = sim_scene_blocked(4, 3),
		.happen = replace_while_partitioned,
		.partitioned = true,
		.before = SIM_OUT_RELAYED,
		.after = SIM_OUT_RELAYED,
		.max_ms = 20000};

	sim_scene_play(&s);
	s.name = "the same, symmetric NATs";
	s.cfg.cut = false;
	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V6] = false;
	s.cfg.client.nat[SIM_V4] = s.cfg.gateway.nat[SIM_V4] = &sim_scene_symmetric;
	sim_scene_play(&s);
	s.name = "the same under a direct connection";
	s.cfg = sim_scene_blocked(4, 3);
	s.cfg.cut = false;
	s.before = s.after = SIM_OUT_DIRECT;
	s.max_ms = 200;
	sim_scene_play(&s);
}

/* P: the portal loses sight of all relays for long; they never stop. */
static void lose_and_find(struct sim_world *w)
{
	sim_relay_leave(w->relays[0]);
	sim_relay_leave(w->relays[1]);
	sim_world_run(w, sim_scene_between(w, 5000, 8000));
	SIM_T(w->sim, sim_world_conn(w, false)->failed == 1);
	sim_world_mark(w); /* the silence counts from the return */
	sim_relay_join(w->relays[0]);
	sim_relay_join(w->relays[1]);
}

static void test_lost_and_found(void)
{
	const struct sim_scene s = {.name = "P: all relays taken away and given back",
				    .cfg = sim_scene_blocked(2, 0),
				    .happen = lose_and_find,
				    .before = SIM_OUT_RELAYED,
				    .after = SIM_OUT_RELAYED,
				    .fails = true,
				    .max_ms = 3000};

	sim_scene_play(&s);
}

/* ---- the direct path comes and goes ---- */

static bool is_direct(void *ctx)
{
	return sim_world_outcome(ctx) == SIM_OUT_DIRECT;
}

/* Until both sides use the direct path; nothing but in_flight numbers may be missing then. */
static uint64_t restore(struct sim_world *w, unsigned in_flight)
{
	uint64_t at = sim_now(w->sim);

	sim_world_mark(w);
	sim_world_cut(w, false);
	sim_run(w->sim, at + 30 * NS_PER_SEC, is_direct, w);
	SIM_T(w->sim, is_direct(w));
	at = sim_now(w->sim) - at;
	sim_world_run(w, 2 * NS_PER_SEC);
	for (unsigned side = 0; side < 2; side++) {
		const struct sim_conn *tx = sim_world_conn(w, side), *rx = sim_world_conn(w, !side);

		SIM_T(w->sim, rx->received_since_mark + in_flight >= tx->sent_since_mark);
	}
	return at;
}

static void test_restored_and_blocked(void)
{
	static struct sim_times up, down;
	const struct sim_scene s = {.name = "direct path restored and blocked again",
				    .cfg = sim_scene_blocked(2, 0),
				    .before = SIM_OUT_RELAYED,
				    .after = SIM_OUT_RELAYED};

	up.n = down.n = 0;
	for (unsigned i = 0; i < sim_seeds(SIM_SCENE_SEEDS); i++) {
		struct sim_world *w = sim_scene_up(&s, t_seed() + i);
		uint64_t took;

		sim_times_add(&up, restore(w, 1));
		sim_world_mark(w);
		sim_world_cut(w, true);
		took = sim_world_run_until_recovered(w, 60 * NS_PER_SEC);
		SIM_T(w->sim, took != TIME_NEVER);
		sim_times_add(&down, took);
		sim_world_run(w, 5 * NS_PER_SEC);
		sim_scene_judge(&s, w);
		/* In the silence both sides may have begun handshakes. When these cross, each sends
		 * on a session of its own, and the next handshake, for the new path, ends the older
		 * one while a few packets are under way. */
		restore(w, 4);
		sim_world_free(w);
	}
	sim_times_note(&up, "direct path restored: both sides use it, nothing lost");
	sim_times_note(&down, "direct path blocked again: relayed data flows");
	T(sim_times_pct(&up, 100) <= 20 * NS_PER_SEC);
	T(sim_times_pct(&down, 100) <= 20 * NS_PER_SEC);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_restart);
	T_RUN(test_kill);
	T_RUN(test_redeploy);
	T_RUN(test_reboot_partitioned);
	T_RUN(test_reboot_unheard);
	T_RUN(test_replaced_partitioned);
	T_RUN(test_lost_and_found);
	T_RUN(test_restored_and_blocked);
	return t_done();
}
