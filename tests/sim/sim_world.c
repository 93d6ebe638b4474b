/* SPDX-License-Identifier: Apache-2.0
 * The world of relays. See sim_world.h. */
#include <stdlib.h>

#include "tests/sim/sim_priv.h"
#include "tests/sim/sim_world.h"
#include "tests/t.h"

struct sim_world_cfg sim_world_default(void)
{
	struct sim_world_cfg c = {
		.client = {.has = {true, true}, .told = UINT32_MAX},
		.gateway = {.has = {true, true}, .told = UINT32_MAX},
		.n_relays = 2,
		.node_link = {.lat_min_ns = 5 * NS_PER_MS, .lat_max_ns = 15 * NS_PER_MS},
		.relay_link = {.lat_min_ns = 2 * NS_PER_MS, .lat_max_ns = 5 * NS_PER_MS},
		.portal_min_ns = 15 * NS_PER_MS,
		.portal_max_ns = 25 * NS_PER_MS,
	};

	for (unsigned i = 0; i < SIM_PORTAL_RELAYS_MAX; i++)
		c.relays[i] = (struct sim_oracle_relay){{true, true}};
	return c;
}

/* 2001:db8:net::host */
static struct ipaddr v6(uint8_t net, uint8_t host)
{
	uint8_t b[16] = {0x20, 0x01, 0x0d, 0xb8, 0, net};

	b[15] = host;
	return ipaddr_from(6, b);
}

static void add_address(struct sim_world *w, struct sim_node *n, struct sim_oracle_node *d,
			enum sim_family f)
{
	uint8_t net = n->gateway ? 2 : 1;
	struct sim_nat_cfg *nat = &w->nats[n->gateway][f];
	bool hidden = d->nat[f] && !d->nat[f]->transparent;
	struct ipaddr ip = f == SIM_V6 ? v6(net, 1)
			   : hidden    ? ipaddr_v4(10, 0, net, 1)
				       : ipaddr_v4(198, 51, 100, net);

	if (!d->has[f])
		return;
	if (!d->nat[f]) {
		sim_addr_add(w->sim, n->host, &ip, SIM_NO_NAT);
		return;
	}
	*nat = *d->nat[f];
	nat->public_ip = f == SIM_V6 ? v6(net, 2) : ipaddr_v4(203, 0, 113, net);
	d->nat[f] = nat;
	sim_addr_add(w->sim, n->host, &ip, sim_nat_add(w->sim, nat));
}

static void add_node(struct sim_world *w, struct sim_node *n, bool gateway,
		     struct sim_oracle_node *d)
{
	sim_node_add(n, &w->portal, gateway, 2, &w->cfg.node_link);
	add_address(w, n, d, SIM_V4);
	add_address(w, n, d, SIM_V6);
	if (d->only_control)
		sim_only_port(w->sim, n->host, TURN_PORT);
	for (unsigned i = 0; i < w->cfg.n_relays; i++)
		sim_cut(w->sim, n->host, w->relays[i]->host, d->cut_off >> i & 1);
	sim_portal_relay_mask(&w->portal, n->number, d->told);
}

struct sim_world *sim_world_new(const char *scn, uint64_t seed, const struct sim_world_cfg *cfg)
{
	uint32_t up = cfg->relays_up ? cfg->relays_up : UINT32_MAX;
	struct sim_world *w = sim_must(calloc(1, sizeof(*w)));

	w->sim = sim_new(scn, seed);
	w->cfg = *cfg;
	sim_portal_latency(w->sim, cfg->portal_min_ns, cfg->portal_max_ns);
	sim_portal_init(&w->portal, w->sim);
	for (unsigned i = 0; i < cfg->n_relays; i++) {
		struct ipaddr ip4 = ipaddr_v4(192, 0, 2, (uint8_t)(1 + i)),
			      ip6 = v6(9, (uint8_t)(1 + i));

		w->relays[i] = sim_must(malloc(sizeof(*w->relays[i])));
		sim_relay_add(w->relays[i], &w->portal, cfg->relays[i].has[SIM_V4] ? &ip4 : NULL,
			      cfg->relays[i].has[SIM_V6] ? &ip6 : NULL, &cfg->relay_link);
	}
	add_node(w, &w->client, false, &w->cfg.client);
	add_node(w, &w->gateway, true, &w->cfg.gateway);
	sim_world_cut(w, cfg->cut);
	for (unsigned i = 0; i < cfg->n_relays; i++)
		if (up >> i & 1)
			sim_relay_start(w->relays[i]);
	return w;
}

void sim_world_settle(struct sim_world *w)
{
	sim_world_run(w, 200 * NS_PER_MS);
	sim_node_hosts(&w->client);
	sim_node_hosts(&w->gateway);
	sim_node_online(&w->client);
	sim_node_online(&w->gateway);
	sim_world_run(w, 5 * NS_PER_SEC);
}

void sim_world_connect(struct sim_world *w, uint64_t every_ns)
{
	sim_node_want(&w->client, &w->gateway);
	sim_node_send(&w->client, every_ns);
	sim_node_send(&w->gateway, every_ns);
}

void sim_world_run(struct sim_world *w, uint64_t for_ns)
{
	sim_run(w->sim, sim_now(w->sim) + for_ns, NULL, NULL);
}

static bool is_up(void *ctx)
{
	struct sim_conn *c = sim_world_conn(ctx, false), *g = sim_world_conn(ctx, true);

	return c && g && c->first_rx_at && g->first_rx_at;
}

bool sim_world_run_until_up(struct sim_world *w, uint64_t for_ns)
{
	sim_run(w->sim, sim_now(w->sim) + for_ns, is_up, w);
	return is_up(w);
}

static bool is_recovered(void *ctx)
{
	struct sim_conn *c = sim_world_conn(ctx, false), *g = sim_world_conn(ctx, true);

	return c && g && c->recovered_at && g->recovered_at;
}

void sim_world_mark(struct sim_world *w)
{
	sim_node_mark(&w->client);
	sim_node_mark(&w->gateway);
}

uint64_t sim_world_run_until_recovered(struct sim_world *w, uint64_t for_ns)
{
	struct sim_conn *c = sim_world_conn(w, false), *g = sim_world_conn(w, true);
	uint64_t last;

	sim_run(w->sim, sim_now(w->sim) + for_ns, is_recovered, w);
	if (!is_recovered(w))
		return TIME_NEVER;
	last = c->recovered_at > g->recovered_at ? c->recovered_at : g->recovered_at;
	return last - c->mark_at;
}

uint64_t sim_world_silence(struct sim_world *w)
{
	uint64_t longest = 0;

	for (unsigned side = 0; side < 2; side++) {
		const struct sim_conn *c = sim_world_conn(w, side);
		uint64_t since;

		if (!c)
			return TIME_NEVER;
		since = c->last_rx_at > c->mark_at ? c->last_rx_at : c->mark_at;
		since = sim_now(w->sim) - since;
		longest = c->silence_ns > longest ? c->silence_ns : longest;
		longest = since > longest ? since : longest;
	}
	return longest;
}

void sim_world_cut(struct sim_world *w, bool cut)
{
	w->cfg.cut = cut;
	sim_cut(w->sim, w->client.host, w->gateway.host, cut);
}

enum sim_outcome sim_world_oracle(const struct sim_world *w)
{
	return sim_oracle(&w->cfg.client, &w->cfg.gateway, w->cfg.cut, w->cfg.relays,
			  w->cfg.n_relays);
}

struct sim_conn *sim_world_conn(struct sim_world *w, bool gateway)
{
	return gateway ? sim_node_conn(&w->gateway, &w->client)
		       : sim_node_conn(&w->client, &w->gateway);
}

static bool hears(struct sim_world *w, bool gateway)
{
	const struct sim_conn *c = sim_world_conn(w, gateway);

	return c && c->last_rx_at && sim_now(w->sim) - c->last_rx_at < 2 * NS_PER_SEC;
}

enum sim_outcome sim_world_outcome(struct sim_world *w)
{
	enum sim_outcome c = sim_node_path(&w->client, &w->gateway),
			 g = sim_node_path(&w->gateway, &w->client);

	return c == g && hears(w, false) && hears(w, true) ? c : SIM_OUT_NONE;
}

void sim_world_free(struct sim_world *w)
{
	T(!sim_failed(w->sim));
	sim_node_free(&w->client);
	sim_node_free(&w->gateway);
	for (unsigned i = 0; i < w->cfg.n_relays; i++) {
		sim_relay_free(w->relays[i]);
		free(w->relays[i]);
	}
	sim_free(w->sim);
	free(w);
}
