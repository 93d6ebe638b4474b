/* SPDX-License-Identifier: Apache-2.0
 *
 * What nobody announces: a relay falls silent while the portal believes in it, a NAT forgets, the
 * client's network changes. Found by ICE's checks and by asking the relay, and survived. */
#include "crypto/crypto.h"
#include "tests/sim/sim_priv.h"
#include "tests/sim/sim_scene.h"

static void unplug_used(struct sim_world *w)
{
	uint32_t used = sim_scene_relays_in_use(w);

	SIM_T(w->sim, used);
	for (unsigned i = 0; i < w->cfg.n_relays; i++)
		if (used >> i & 1)
			sim_host_up(w->sim, w->relays[i]->host, false);
}

/* Its host is gone from the network and its connection to the portal hangs. */
static void test_silent_relay(void)
{
	struct sim_scene s = {.name = "a relay in use falls silent, unseen by the portal",
			      .cfg = sim_scene_blocked(3, 0),
			      .happen = unplug_used,
			      .before = SIM_OUT_RELAYED,
			      .after = SIM_OUT_RELAYED,
			      .watch_s = 40,
			      .max_ms = 8000};

	sim_scene_play(&s);
}

static void forget(struct sim_world *w)
{
	for (unsigned i = 0; i < w->sim->n_nats; i++)
		w->sim->nats[i]->n_mappings = 0;
}

/* Both NATs forget all they had: both sides are other clients to their relays. */
static void test_nats_forget(void)
{
	struct sim_scene s = {.name = "symmetric NATs on both sides forget everything",
			      .cfg = sim_scene_blocked(2, 0),
			      .happen = forget,
			      .before = SIM_OUT_RELAYED,
			      .after = SIM_OUT_RELAYED,
			      .watch_s = 40,
			      .max_ms = 8000};

	s.cfg.cut = false;
	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V6] = false;
	s.cfg.client.nat[SIM_V4] = s.cfg.gateway.nat[SIM_V4] = &sim_scene_symmetric;
	sim_scene_play(&s);
}

/* The client has other addresses from one moment to the next. */
static void roam(struct sim_world *w)
{
	struct sim_node *n = &w->client;
	const struct ipaddr old4 = ipaddr_v4(198, 51, 100, 1), new4 = ipaddr_v4(198, 51, 100, 77);
	struct ipaddr old6;

	sim_addr_del(w->sim, n->host, &old4);
	if (sim_source(w->sim, n->host, 6, &old6))
		sim_addr_del(w->sim, n->host, &old6);
	sim_addr_add(w->sim, n->host, &new4, SIM_NO_NAT);
	sim_node_hosts(n);
}

static void test_roam(void)
{
	struct sim_scene s = {.name = "the client's address changes, relayed",
			      .cfg = sim_scene_blocked(2, 0),
			      .happen = roam,
			      .before = SIM_OUT_RELAYED,
			      .after = SIM_OUT_RELAYED,
			      .max_ms = 1500};

	sim_scene_play(&s);
	s.name = "the client's address changes, direct";
	s.cfg.cut = false;
	s.before = s.after = SIM_OUT_DIRECT;
	sim_scene_play(&s);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_silent_relay);
	T_RUN(test_nats_forget);
	T_RUN(test_roam);
	return t_done();
}
