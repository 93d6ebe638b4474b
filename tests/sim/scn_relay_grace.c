/* SPDX-License-Identifier: Apache-2.0
 *
 * Candidates that come late, and peers that go: whole nodes with relays in the situations of
 * snownet L1, L2, L3 (all candidates are used, whenever they come) and G1, G2, G3 (the two seconds
 * of grace after everything was lost). */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "tests/sim/sim_priv.h"
#include "tests/sim/sim_seeds.h"
#include "tests/sim/sim_world.h"

#define N_SEEDS	  200
#define N_AT_ONCE 100

/* ---- L1: a hundred at once, short data path, long portal path ---- */

struct crowd {
	struct sim *sim;
	struct sim_portal portal;
	struct sim_relay relays[2];
	struct sim_node gateway, clients[N_AT_ONCE];
};

static void crowd_node(struct crowd *w, struct sim_node *n, bool gateway, uint8_t last)
{
	const struct sim_link link = {.lat_min_ns = 1250000, .lat_max_ns = 2500000};
	const struct ipaddr ip = ipaddr_v4(198, 51, 100, last);

	sim_node_add(n, &w->portal, gateway, gateway ? 128 : 1, &link);
	sim_addr_add(w->sim, n->host, &ip, SIM_NO_NAT);
	sim_node_hosts(n);
	sim_node_online(n);
}

static struct crowd *crowd_new(uint64_t seed)
{
	const struct sim_link near = {.lat_min_ns = NS_PER_MS, .lat_max_ns = 2 * NS_PER_MS};
	struct crowd *w = sim_must(calloc(1, sizeof(*w)));

	w->sim = sim_new("l1-relays", seed);
	sim_portal_latency(w->sim, 15 * NS_PER_MS, 25 * NS_PER_MS);
	sim_portal_init(&w->portal, w->sim);
	for (uint8_t i = 0; i < 2; i++) {
		const struct ipaddr ip = ipaddr_v4(192, 0, 2, (uint8_t)(1 + i));

		sim_relay_add(&w->relays[i], &w->portal, &ip, NULL, &near);
		sim_relay_start(&w->relays[i]);
	}
	sim_run(w->sim, sim_now(w->sim) + 200 * NS_PER_MS, NULL, NULL);
	crowd_node(w, &w->gateway, true, 200);
	for (uint8_t i = 0; i < N_AT_ONCE; i++)
		crowd_node(w, &w->clients[i], false, (uint8_t)(1 + i));
	sim_run(w->sim, sim_now(w->sim) + 3 * NS_PER_SEC, NULL, NULL);
	return w;
}

static void crowd_free(struct crowd *w)
{
	T(!sim_failed(w->sim));
	for (unsigned i = 0; i < N_AT_ONCE; i++)
		sim_node_free(&w->clients[i]);
	sim_node_free(&w->gateway);
	sim_relay_free(&w->relays[0]);
	sim_relay_free(&w->relays[1]);
	sim_free(w->sim);
	free(w);
}

static void crowd_check(struct crowd *w, bool first)
{
	for (unsigned i = 0; i < N_AT_ONCE; i++) {
		const struct sim_conn *c = sim_node_conn(&w->clients[i], &w->gateway),
				      *g = sim_node_conn(&w->gateway, &w->clients[i]);

		SIM_T(w->sim, c->established == 1 && g->established == 1);
		SIM_T(w->sim, !c->failed && !g->failed);
		SIM_T_EQ(w->sim, c->n_refused + g->n_refused, 0);
		SIM_T_EQ(w->sim, c->n_heard, g->n_signalled);
		SIM_T_EQ(w->sim, g->n_heard, c->n_signalled);
		SIM_T(w->sim, sim_node_knows_all(&w->clients[i], &w->gateway));
		SIM_T(w->sim, sim_node_knows_all(&w->gateway, &w->clients[i]));
		SIM_T_EQ(w->sim, sim_node_path(&w->clients[i], &w->gateway), SIM_OUT_DIRECT);
		SIM_T_EQ(w->sim, sim_node_path(&w->gateway, &w->clients[i]), SIM_OUT_DIRECT);
		SIM_T(w->sim, sim_now(w->sim) - c->last_rx_at < 2 * NS_PER_SEC);
		SIM_T(w->sim, sim_now(w->sim) - g->last_rx_at < 2 * NS_PER_SEC);
		if (first)
			SIM_T_EQ(w->sim, c->n_disconnected + g->n_disconnected, 0);
	}
}

static void test_l1(void)
{
	static struct sim_times t;
	struct crowd *w = crowd_new(t_seed());
	uint64_t asked = sim_now(w->sim);

	t.n = 0;
	for (unsigned i = 0; i < N_AT_ONCE; i++) {
		sim_node_want(&w->clients[i], &w->gateway);
		sim_node_send(&w->clients[i], 500 * NS_PER_MS);
	}
	sim_node_send(&w->gateway, 500 * NS_PER_MS);
	sim_run(w->sim, asked + 60 * NS_PER_SEC, NULL, NULL);
	crowd_check(w, true);
	for (unsigned i = 0; i < N_AT_ONCE; i++)
		sim_times_add(&t,
			      sim_node_conn(&w->gateway, &w->clients[i])->established_at - asked);
	sim_times_note(&t, "L1: hundred connections at once, established");
	T(sim_times_pct(&t, 100) <= 1000 * NS_PER_MS);
	/* One relay goes: its candidates are recognised as what is to be forgotten. */
	sim_relay_kill(&w->relays[0]);
	sim_run(w->sim, sim_now(w->sim) + 10 * NS_PER_SEC, NULL, NULL);
	crowd_check(w, false);
	crowd_free(w);
}

/* ---- worlds of two ---- */

/* IPv4 on both sides and blocked; the client has IPv6, the gateway does not yet. */
static struct sim_world *half_world(const char *name, uint64_t seed, unsigned n_relays,
				    bool blocked)
{
	const struct ipaddr c4 = ipaddr_v4(198, 51, 100, 1), g4 = ipaddr_v4(198, 51, 100, 2);
	struct sim_world_cfg cfg = sim_world_default();
	struct sim_world *w;

	cfg.gateway.has[SIM_V6] = false;
	cfg.n_relays = n_relays;
	w = sim_world_new(name, seed, &cfg);
	sim_block(w->sim, &c4, &g4, blocked);
	sim_world_settle(w);
	sim_world_connect(w, 50 * NS_PER_MS);
	SIM_T(w->sim, sim_world_run_until_up(w, 10 * NS_PER_SEC));
	sim_world_run(w, 3 * NS_PER_SEC);
	return w;
}

static void gateway_gets_v6(struct sim_world *w)
{
	const struct ipaddr g6 = {.family = 6, .b = {0x20, 0x01, 0x0d, 0xb8, 0, 2, [15] = 1}};

	sim_addr_add(w->sim, w->gateway.host, &g6, SIM_NO_NAT);
	sim_node_hosts(&w->gateway);
}

static bool is_direct(void *ctx)
{
	return sim_world_outcome(ctx) == SIM_OUT_DIRECT;
}

/* L2: a relayed connection learns of a host candidate that works. */
static void test_l2(void)
{
	static struct sim_times t;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
		struct sim_world *w = half_world("l2", t_seed() + i, 2, true);
		struct sim_conn *c = sim_world_conn(w, false), *g = sim_world_conn(w, true);
		unsigned paths, handshakes;
		uint64_t at = sim_now(w->sim);

		if (!c || !g)
			break;
		SIM_T_EQ(w->sim, sim_world_outcome(w), SIM_OUT_RELAYED);
		paths = c->paths;
		handshakes = c->handshakes;
		sim_world_mark(w);
		gateway_gets_v6(w);
		sim_run(w->sim, at + 10 * NS_PER_SEC, is_direct, w);
		sim_times_add(&t, sim_now(w->sim) - at);
		sim_world_run(w, 5 * NS_PER_SEC);
		SIM_T_EQ(w->sim, sim_world_outcome(w), SIM_OUT_DIRECT);
		SIM_T_EQ(w->sim, c->paths, paths + 1);
		SIM_T_EQ(w->sim, c->handshakes, handshakes + 1);
		SIM_T(w->sim, c->established == 1 && g->established == 1);
		SIM_T_EQ(w->sim, c->n_disconnected + g->n_disconnected, 0);
		SIM_T(w->sim, c->received_since_mark + 2 >= g->sent_since_mark);
		SIM_T(w->sim, g->received_since_mark + 2 >= c->sent_since_mark);
		sim_world_free(w);
	}
	sim_times_note(&t, "L2: from relayed to direct by a late candidate");
	T(sim_times_within(&t, 99, 500 * NS_PER_MS));
}

/* Somebody who only counts what arrives. */
struct sink {
	uint64_t n, first_at;
};

static void sink_input(void *self, const struct sim_dgram *in, uint64_t now)
{
	struct sink *k = self;

	(void)in;
	if (!k->n++)
		k->first_at = now;
}

static struct deadline sink_deadline(const void *self)
{
	(void)self;
	return (struct deadline){TIME_NEVER, "nothing"};
}

static void sink_timeout(void *self, uint64_t now)
{
	(void)self;
	(void)now;
}

static const struct sim_ops sink_ops = {
	.input = sink_input, .deadline = sink_deadline, .timeout = sink_timeout};

/* L3: a candidate for an idle connection is checked at once. */
static void test_l3(void)
{
	static const char text[] = "candidate:1 1 udp 1694498559 203.0.113.99 4000 typ srflx raddr "
				   "0.0.0.0 rport 0";
	const struct ipaddr ip = ipaddr_v4(203, 0, 113, 99);
	const struct sim_link instant = {0};

	for (unsigned i = 0; i < sim_seeds(20); i++) {
		struct sim_world_cfg cfg = sim_world_default();
		struct sim_world *w = sim_world_new("l3", t_seed() + i, &cfg);
		struct sink k = {0};
		unsigned host = sim_host_add(w->sim, &sink_ops, &k, &instant);
		const struct node_conn *c;
		uint64_t at;

		sim_addr_add(w->sim, host, &ip, SIM_NO_NAT);
		sim_world_settle(w);
		sim_world_connect(w, 50 * NS_PER_MS);
		sim_world_run(w, 3 * NS_PER_SEC);
		sim_node_send(&w->client, 0);
		sim_node_send(&w->gateway, 0);
		sim_world_run(w, 60 * NS_PER_SEC);
		c = sim_node_inner(&w->client, &w->gateway);
		if (!T(c))
			break;
		SIM_T_EQ(w->sim, c->state, NODE_IDLE);
		at = sim_now(w->sim);
		SIM_T(w->sim, node_add_candidate(&w->client.node, 0, text, strlen(text), at));
		SIM_T_EQ(w->sim, c->state, NODE_CONNECTED);
		sim_kick(w->sim, w->client.host);
		sim_world_run(w, 3 * NS_PER_SEC);
		/* the link takes up to 15 ms of it */
		SIM_T(w->sim, k.first_at && k.first_at - at < 20 * NS_PER_MS);
		SIM_T(w->sim, k.n >= 4); /* active timings: 0, .25, .75, 1.75 s */
		sim_world_free(w);
	}
}

/* G1: the peer is gone; noticed, and given up two seconds later. */
static void vanish(const char *name, bool cut, bool one_pair, unsigned min_ms, unsigned max_ms)
{
	static struct sim_times t;
	char line[80];

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
		struct sim_world_cfg cfg = sim_world_default();
		struct sim_world *w;
		struct sim_conn *c;
		uint64_t at;

		cfg.cut = cut;
		if (one_pair) {
			cfg.n_relays = 0;
			cfg.client.has[SIM_V6] = cfg.gateway.has[SIM_V6] = false;
		}
		w = sim_world_new(name, t_seed() + i, &cfg);
		sim_world_settle(w);
		sim_world_connect(w, 50 * NS_PER_MS);
		SIM_T(w->sim, sim_world_run_until_up(w, 10 * NS_PER_SEC));
		sim_world_run(w, 3 * NS_PER_SEC + sim_rand(w->sim, 3 * NS_PER_SEC));
		at = sim_now(w->sim);
		c = sim_world_conn(w, false);
		if (!T(c))
			break;
		sim_host_up(w->sim, w->gateway.host, false);
		sim_world_run(w, 30 * NS_PER_SEC);
		SIM_T_EQ(w->sim, c->failed, 1);
		SIM_T_EQ(w->sim, c->n_disconnected, 1);
		SIM_T_EQ(w->sim, c->failed_at - c->disconnected_at, 2 * NS_PER_SEC);
		sim_times_add(&t, c->failed_at - at);
		sim_world_free(w);
	}
	snprintf(line, sizeof(line), "G1: peer gone, given up (%s)", name);
	sim_times_note(&t, line);
	T(sim_times_pct(&t, 0) >= min_ms * NS_PER_MS);
	T(sim_times_pct(&t, 100) <= max_ms * NS_PER_MS);
}

static void test_g1(void)
{
	vanish("one pair", false, true, 18400, 20100);
	/* A pair that is nominated while it dies is asked once more. */
	vanish("direct, with relays", false, false, 18400, 22000);
	vanish("relayed", true, false, 18400, 22000);
}

static bool is_disconnected(void *ctx)
{
	return sim_world_conn(ctx, false)->n_disconnected;
}

/* G2: a candidate that works, at the last moment, over a path that takes its time. */
static void test_g2(void)
{
	const struct sim_link slow = {.lat_min_ns = 250 * NS_PER_MS, .lat_max_ns = 300 * NS_PER_MS};
	static struct sim_times t;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
		const struct ipaddr c4 = ipaddr_v4(198, 51, 100, 1),
				    g4 = ipaddr_v4(198, 51, 100, 2);
		struct sim_world *w = half_world("g2", t_seed() + i, 0, false);
		struct sim_conn *c = sim_world_conn(w, false), *g = sim_world_conn(w, true);
		uint64_t at = sim_now(w->sim);

		if (!c || !g)
			break;
		sim_block(w->sim, &c4, &g4, true);
		sim_run(w->sim, at + 30 * NS_PER_SEC, is_disconnected, w);
		SIM_T(w->sim, is_disconnected(w));
		sim_portal_latency(w->sim, 10 * NS_PER_MS, 20 * NS_PER_MS);
		sim_world_run(w, 1860 * NS_PER_MS); /* and two portal legs */
		sim_link_set(w->sim, w->client.host, &slow);
		sim_link_set(w->sim, w->gateway.host, &slow);
		at = sim_now(w->sim);
		sim_world_mark(w);
		gateway_gets_v6(w);
		SIM_T(w->sim, sim_world_run_until_recovered(w, 20 * NS_PER_SEC) != TIME_NEVER);
		sim_times_add(&t, sim_now(w->sim) - at);
		SIM_T(w->sim, !c->failed && !g->failed);
		SIM_T(w->sim, c->established == 1 && g->established == 1);
		SIM_T(w->sim, c->n_checking_again >= 1);
		sim_world_free(w);
	}
	sim_times_note(&t, "G2: rescued 1.9 s after Disconnected, data again");
}

/* G3: the peer's candidates come first, our own half a second later. */
static void test_g3(void)
{
	static struct sim_times t;

	t.n = 0;
	for (unsigned i = 0; i < sim_seeds(N_SEEDS); i++) {
		struct sim_world_cfg cfg = sim_world_default();
		struct sim_world *w = sim_world_new("g3", t_seed() + i, &cfg);
		const struct sim_conn *c;
		uint64_t asked;

		for (unsigned r = 0; r < 2; r++)
			sim_cut(w->sim, w->client.host, w->relays[r]->host, true);
		sim_world_settle(w);
		node_set_hosts(&w->client.node, NULL, 0, sim_now(w->sim));
		asked = sim_now(w->sim);
		sim_world_connect(w, 50 * NS_PER_MS);
		sim_world_run(w, 600 * NS_PER_MS);
		c = sim_world_conn(w, false);
		SIM_T(w->sim, c && c->n_heard > 0 && !c->n_signalled && !c->has_path);
		for (unsigned r = 0; r < 2; r++)
			sim_cut(w->sim, w->client.host, w->relays[r]->host, false);
		sim_node_hosts(&w->client);
		SIM_T(w->sim, sim_world_run_until_up(w, 20 * NS_PER_SEC));
		sim_times_add(&t, sim_now(w->sim) - asked);
		SIM_T(w->sim, c && !c->failed && c->established == 1);
		SIM_T_EQ(w->sim, sim_world_conn(w, true)->failed, 0);
		sim_world_free(w);
	}
	sim_times_note(&t, "G3: own candidates half a second after the peer's");
	T(sim_times_within(&t, 99, 1500 * NS_PER_MS));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_l1);
	T_RUN(test_l2);
	T_RUN(test_l3);
	T_RUN(test_g1);
	T_RUN(test_g2);
	T_RUN(test_g3);
	return t_done();
}
