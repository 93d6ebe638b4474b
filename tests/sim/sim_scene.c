/* SPDX-License-Identifier: Apache-2.0
 * Scenes. See sim_scene.h. */
#include "tests/sim/sim_scene.h"

const struct sim_nat_cfg sim_scene_symmetric = {.mapping = SIM_ADDR_PORT_DEPENDENT,
						.filtering = SIM_ADDR_PORT_DEPENDENT,
						.timeout_ns = 120 * NS_PER_SEC};

struct sim_world_cfg sim_scene_blocked(unsigned n_relays, uint32_t up)
{
	struct sim_world_cfg c = sim_world_default();

	c.cut = true;
	c.relays_up = up;
	c.n_relays = n_relays;
	return c;
}

/* A world with a connection that has been up for a while. */
struct sim_world *sim_scene_up(const struct sim_scene *s, uint64_t seed)
{
	struct sim_world *w = sim_world_new(s->name, seed, &s->cfg);

	if (s->client_mask) {
		sim_portal_relay_mask(&w->portal, w->client.number, s->client_mask);
		sim_portal_relay_mask(&w->portal, w->gateway.number, s->gateway_mask);
	}
	sim_world_settle(w);
	sim_world_connect(w, 500 * NS_PER_MS);
	SIM_T(w->sim, sim_world_run_until_up(w, 10 * NS_PER_SEC));
	/* pairs that do not work are gone by then */
	sim_world_run(w, 18 * NS_PER_SEC + sim_rand(w->sim, 4 * NS_PER_SEC));
	SIM_T_EQ(w->sim, sim_world_outcome(w), s->before);
	sim_node_send(&w->client, 50 * NS_PER_MS);
	sim_node_send(&w->gateway, 50 * NS_PER_MS);
	sim_world_run(w, NS_PER_SEC);
	return w;
}

void sim_scene_judge(const struct sim_scene *s, struct sim_world *w)
{
	const struct sim_conn *c = sim_world_conn(w, false), *g = sim_world_conn(w, true);

	SIM_T_EQ(w->sim, sim_world_outcome(w), s->after);
	SIM_T(w->sim, s->partitioned || sim_node_knows_all(&w->client, &w->gateway));
	SIM_T(w->sim, sim_node_knows_all(&w->gateway, &w->client));
	if (s->fails || !c || !g)
		return;
	SIM_T(w->sim, !c->failed && !g->failed);
	SIM_T(w->sim, c->established == 1 && g->established == 1);
}

void sim_scene_play(const struct sim_scene *s)
{
	static struct sim_times t;
	unsigned again = 0;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(SIM_SCENE_SEEDS); i++) {
		struct sim_world *w = sim_scene_up(s, t_seed() + i);

		sim_world_mark(w);
		if (sim_world_conn(w, false) && sim_world_conn(w, true))
			s->happen(w);
		sim_world_run(w, (s->watch_s ? s->watch_s : 30) * NS_PER_SEC);
		sim_times_add(&t, sim_world_silence(w));
		sim_scene_judge(s, w);
		if (sim_world_conn(w, false) && sim_world_conn(w, true))
			again += sim_world_conn(w, false)->n_checking_again +
				 sim_world_conn(w, true)->n_checking_again;
		sim_world_free(w);
	}
	sim_times_note(&t, s->name);
	T(sim_times_pct(&t, 100) <= s->max_ms * NS_PER_MS);
	T(again || !s->comes_back);
}

/* ---- which relays are in use ---- */

static bool of_relay(const struct sim_relay *r, const struct ipaddr *ip)
{
	return ipaddr_eq(ip, &r->ip4) || ipaddr_eq(ip, &r->ip6);
}

/* Bit per relay that data passes. */
uint32_t sim_scene_relays_in_use(struct sim_world *w)
{
	const struct node_path *p = &sim_world_conn(w, false)->path;
	uint32_t mask = 0;

	for (unsigned i = 0; i < w->cfg.n_relays; i++)
		if ((p->relayed && of_relay(w->relays[i], &p->relay.ip)) ||
		    of_relay(w->relays[i], &p->ice.remote.ip))
			mask |= 1u << i;
	return mask;
}

uint64_t sim_scene_between(struct sim_world *w, unsigned lo_ms, unsigned hi_ms)
{
	return (lo_ms + sim_rand(w->sim, hi_ms - lo_ms + 1)) * NS_PER_MS;
}
