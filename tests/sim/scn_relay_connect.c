/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections come up with relays, directly or through them: connect times over many seeds, and
 * worlds drawn at random whose outcome is compared with the oracle's. */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "tests/sim/sim_priv.h"
#include "tests/sim/sim_seeds.h"
#include "tests/sim/sim_world.h"

#define N_SEEDS 200

#define MAP(m, f) {.mapping = m, .filtering = f, .timeout_ns = 120 * NS_PER_SEC}
static const struct sim_nat_cfg symmetric = MAP(SIM_ADDR_PORT_DEPENDENT, SIM_ADDR_PORT_DEPENDENT);
static const struct sim_nat_cfg home = MAP(SIM_INDEPENDENT, SIM_ADDR_PORT_DEPENDENT);

struct scene {
	const char *name;
	struct sim_world_cfg cfg;
	enum sim_outcome outcome;
	unsigned p50_ms, p99_ms;
	bool rough; /* a handshake may be given up and asked for again */
};

static struct scene scene(const char *name, enum sim_outcome outcome, unsigned p50_ms,
			  unsigned p99_ms)
{
	return (struct scene){.name = name,
			      .cfg = sim_world_default(),
			      .outcome = outcome,
			      .p50_ms = p50_ms,
			      .p99_ms = p99_ms};
}

/* Connects each seed, holds the connection for a while and judges it. */
static void play(const struct scene *s)
{
	static struct sim_times t;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
		struct sim_world *w = sim_world_new(s->name, t_seed() + i, &s->cfg);
		const struct sim_conn *c, *g;
		uint64_t asked;

		SIM_T_EQ(w->sim, sim_world_oracle(w), s->outcome);
		sim_world_settle(w);
		asked = sim_now(w->sim);
		sim_world_connect(w, 50 * NS_PER_MS);
		SIM_T(w->sim, sim_world_run_until_up(w, 90 * NS_PER_SEC));
		sim_times_add(&t, sim_now(w->sim) - asked);
		sim_world_run(w, 5 * NS_PER_SEC);
		c = sim_world_conn(w, false);
		g = sim_world_conn(w, true);
		if (!T(c && g))
			break;
		SIM_T_EQ(w->sim, sim_world_outcome(w), s->outcome);
		SIM_T(w->sim, s->rough || (c->established == 1 && g->established == 1));
		SIM_T(w->sim, s->rough || (!c->failed && !g->failed));
		SIM_T(w->sim, !c->n_disconnected && !g->n_disconnected);
		SIM_T(w->sim, sim_node_knows_all(&w->client, &w->gateway));
		SIM_T(w->sim, sim_node_knows_all(&w->gateway, &w->client));
		sim_world_free(w);
	}
	sim_times_note(&t, s->name);
	T(sim_times_within(&t, 50, s->p50_ms * NS_PER_MS));
	T(sim_times_within(&t, 99, s->p99_ms * NS_PER_MS));
}

static void test_direct(void)
{
	struct scene s = scene("direct, both public", SIM_OUT_DIRECT, 300, 500);

	play(&s);
	s.name = "direct, both behind port-restricted NATs";
	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V6] = false;
	s.cfg.client.nat[SIM_V4] = s.cfg.gateway.nat[SIM_V4] = &home;
	play(&s);
}

static void test_blocked(void)
{
	struct scene s = scene("relayed, direct path blocked", SIM_OUT_RELAYED, 400, 700);

	s.cfg.cut = true;
	play(&s);
}

static void test_symmetric(void)
{
	struct scene s = scene("relayed, symmetric NAT on both sides", SIM_OUT_RELAYED, 400, 700);

	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V6] = false;
	s.cfg.client.nat[SIM_V4] = s.cfg.gateway.nat[SIM_V4] = &symmetric;
	play(&s);
}

static void test_strict_firewalls(void)
{
	struct scene s = scene("relayed, only the relays' control port open on both sides",
			       SIM_OUT_RELAYED, 400, 700);

	s.cfg.client.only_control = s.cfg.gateway.only_control = true;
	play(&s);
}

static void test_different_families(void)
{
	struct scene s = scene("relayed, IPv4-only client and IPv6-only gateway", SIM_OUT_RELAYED,
			       400, 700);

	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V4] = false;
	play(&s);
}

static void test_one_relay(void)
{
	struct scene s = scene("relayed to itself, one relay for both, symmetric NATs",
			       SIM_OUT_RELAYED, 400, 700);

	s.cfg.n_relays = 1;
	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V6] = false;
	s.cfg.client.nat[SIM_V4] = s.cfg.gateway.nat[SIM_V4] = &symmetric;
	play(&s);
}

/* The gateway knows no relay and so not its mapped address either; the client hears a check from
 * there, cannot answer, but lets its relay take the next one. */
static void test_heard_directly(void)
{
	static const struct sim_nat_cfg mute = MAP(SIM_ADDR_DEPENDENT, SIM_INDEPENDENT);
	struct scene s = scene("relayed to an address that was only heard from", SIM_OUT_RELAYED,
			       900, 3000);

	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V6] = false;
	s.cfg.client.nat[SIM_V4] = &mute;
	s.cfg.gateway.nat[SIM_V4] = &home;
	s.cfg.gateway.told = 0;
	play(&s);
}

static void test_lossy(void)
{
	struct scene s = scene("relayed, symmetric NATs, 1 % loss on every link", SIM_OUT_RELAYED,
			       600, 12000);

	s.cfg.client.has[SIM_V6] = s.cfg.gateway.has[SIM_V6] = false;
	s.cfg.client.nat[SIM_V4] = s.cfg.gateway.nat[SIM_V4] = &symmetric;
	s.cfg.node_link.loss_ppm = s.cfg.relay_link.loss_ppm = 10000;
	s.cfg.node_link.dup_ppm = 20000;
	play(&s);
	/* Six links there and six back: half of all handshakes are lost, and one is tried four
	 * times. */
	s.name = "relayed, symmetric NATs, 5 % loss on every link";
	s.cfg.node_link.loss_ppm = s.cfg.relay_link.loss_ppm = 50000;
	s.rough = true;
	s.p50_ms = 1200;
	s.p99_ms = 45000;
	play(&s);
}

/* ---- random worlds ---- */

static bool maybe(struct sim *dice, unsigned percent)
{
	return sim_rand(dice, 100) < percent;
}

static void draw_node(struct sim *dice, struct sim_oracle_node *n, struct sim_nat_cfg nats[2])
{
	memset(n, 0, sizeof(*n));
	n->has[SIM_V4] = maybe(dice, 90);
	n->has[SIM_V6] = maybe(dice, 30) || !n->has[SIM_V4];
	n->only_control = maybe(dice, 10);
	for (unsigned i = 0; i < SIM_PORTAL_RELAYS_MAX; i++)
		n->told |= (uint32_t)maybe(dice, 65) << i;
	/* All or none: a connection uses one relay a side and does not try another one because the
	 * peer cannot get there. */
	n->cut_off = maybe(dice, 15) ? UINT32_MAX : 0;
	nats[SIM_V4] = (struct sim_nat_cfg){.mapping = (enum sim_nat_dep)sim_rand(dice, 3),
					    .filtering = (enum sim_nat_dep)sim_rand(dice, 3),
					    .timeout_ns = 120 * NS_PER_SEC};
	nats[SIM_V6] = (struct sim_nat_cfg){.transparent = true,
					    .filtering = (enum sim_nat_dep)sim_rand(dice, 3)};
	if (maybe(dice, 80))
		n->nat[SIM_V4] = &nats[SIM_V4];
	if (maybe(dice, 50))
		n->nat[SIM_V6] = &nats[SIM_V6];
}

static void draw_world(uint64_t seed, struct sim_world_cfg *c, struct sim_nat_cfg nats[2][2])
{
	struct sim *dice = sim_new("draw", seed ^ 0xd1ce);
	bool v4 = maybe(dice, 80), v6 = maybe(dice, 60) || !v4;

	*c = sim_world_default();
	draw_node(dice, &c->client, nats[0]);
	draw_node(dice, &c->gateway, nats[1]);
	c->cut = maybe(dice, 20);
	c->n_relays = (unsigned)sim_rand(dice, 3);
	for (unsigned i = 0; i < c->n_relays; i++)
		c->relays[i] = (struct sim_oracle_relay){{v4, v6}};
	sim_free(dice);
}

static void describe(const struct sim_world_cfg *c)
{
	const struct sim_oracle_node *n[2] = {&c->client, &c->gateway};

	for (unsigned i = 0; i < 2; i++)
		t_note("%s: v4=%d nat=%d/%d v6=%d fw=%d only=%d told=%x cut off=%x of %u relays, "
		       "cut=%d",
		       i ? "gateway" : "client", n[i]->has[0],
		       n[i]->nat[0] ? (int)n[i]->nat[0]->mapping : -1,
		       n[i]->nat[0] ? (int)n[i]->nat[0]->filtering : -1, n[i]->has[1],
		       n[i]->nat[1] ? (int)n[i]->nat[1]->filtering : -1, n[i]->only_control,
		       n[i]->told & 3, n[i]->cut_off & 3, c->n_relays, c->cut);
}

/* What comes of a world is what is possible in it: no less, no more. */
static void test_random_worlds(void)
{
	unsigned seen[SIM_OUT_DIRECT + 1] = {0};

	for (unsigned i = 0; i < sim_seeds(1000); i++) {
		struct sim_nat_cfg nats[2][2];
		struct sim_world_cfg cfg;
		struct sim_world *w;
		enum sim_outcome want, got;

		draw_world(t_seed() + i, &cfg, nats);
		w = sim_world_new("random-world", t_seed() + i, &cfg);
		want = sim_world_oracle(w);
		sim_world_settle(w);
		sim_world_connect(w, 100 * NS_PER_MS);
		sim_world_run(w, 14 * NS_PER_SEC);
		got = sim_world_outcome(w);
		if (!T_EQ(got, want)) {
			sim_fail(w->sim, "is %s, possible is %s", sim_outcome_name(got),
				 sim_outcome_name(want));
			describe(&w->cfg);
		}
		seen[want]++;
		sim_world_free(w);
	}
	t_note("random worlds: %u direct, %u relayed, %u without any path, as the oracle says",
	       seen[SIM_OUT_DIRECT], seen[SIM_OUT_RELAYED], seen[SIM_OUT_NONE]);
	if (sim_seeds(1000) >= 100)
		T(seen[SIM_OUT_DIRECT] > 10 && seen[SIM_OUT_RELAYED] > 10 &&
		  seen[SIM_OUT_NONE] > 10);
}

static void test_repeatable(void)
{
	struct sim_world_cfg cfg = sim_world_default();
	uint64_t hash[3];

	cfg.cut = true;
	for (unsigned i = 0; i < 3; i++) {
		struct sim_world *w = sim_world_new("repeat", 7 + i / 2, &cfg);

		sim_world_settle(w);
		sim_world_connect(w, 100 * NS_PER_MS);
		sim_world_run(w, 10 * NS_PER_SEC);
		hash[i] = sim_trace_hash(w->sim);
		sim_world_free(w);
	}
	T_EQ(hash[0], hash[1]);
	T(hash[0] != hash[2]);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_direct);
	T_RUN(test_blocked);
	T_RUN(test_symmetric);
	T_RUN(test_strict_firewalls);
	T_RUN(test_different_families);
	T_RUN(test_one_relay);
	T_RUN(test_heard_directly);
	T_RUN(test_lossy);
	T_RUN(test_random_worlds);
	T_RUN(test_repeatable);
	return t_done();
}
