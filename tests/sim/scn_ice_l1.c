/* SPDX-License-Identifier: Apache-2.0
 *
 * Short data path, long portal path (snownet L1): several checks finish before the candidates that
 * describe their path arrive. Whatever order things come in, every signalled candidate is used,
 * nothing is ignored, nothing is ever Disconnected, and the connection is there after a minute. */
#include <stdlib.h>

#include "tests/sim/sim_ice.h"
#include "tests/t.h"

#define N_SEEDS	  200
#define N_AT_ONCE 100

struct world {
	uint64_t data_min_ns, data_max_ns; /* one way and per link */
	uint64_t portal_min_ns, portal_max_ns;
	uint32_t loss_ppm;
	bool natted; /* the client's first address is behind a NAT */
};

struct couple {
	struct sim_ice client, gateway;
};

static void couple_add(struct sim *s, struct couple *c, const struct world *w, unsigned n)
{
	struct sim_link link = {.lat_min_ns = w->data_min_ns,
				.lat_max_ns = w->data_max_ns,
				.loss_ppm = w->loss_ppm};
	struct sim_ice_cfg cc = {
		.controlling = true, .timing = ICE_TIMING_ACTIVE, .data_every_ns = NS_PER_SEC};
	struct sim_ice_cfg cg = cc;
	struct sim_nat_cfg nat = {.public_ip = ipaddr_v4(203, 0, 113, (uint8_t)(1 + n)),
				  .mapping = SIM_INDEPENDENT,
				  .filtering = SIM_ADDR_PORT_DEPENDENT};
	unsigned behind = w->natted ? sim_nat_add(s, &nat) : SIM_NO_NAT;
	char at[64];

	cg.controlling = false;
	sim_ice_add(&c->client, s, &cc, &link);
	sim_ice_add(&c->gateway, s, &cg, &link);
	snprintf(at, sizeof(at), "10.%u.0.1:52625", n);
	sim_ice_host(&c->client, at, behind, 0);
	snprintf(at, sizeof(at), "[2001:db8:%x::1]:52625", n);
	sim_ice_host(&c->client, at, SIM_NO_NAT, 5 * NS_PER_MS);
	snprintf(at, sizeof(at), "198.51.%u.1:52625", n);
	sim_ice_host(&c->gateway, at, SIM_NO_NAT, 0);
	snprintf(at, sizeof(at), "198.51.%u.2:52625", n);
	sim_ice_host(&c->gateway, at, SIM_NO_NAT, 20 * NS_PER_MS);
	snprintf(at, sizeof(at), "[2001:db8:%x::2]:52625", n);
	sim_ice_host(&c->gateway, at, SIM_NO_NAT, 40 * NS_PER_MS);
	sim_ice_connect(&c->client, &c->gateway);
}

static void couple_check(struct sim *s, const struct couple *c)
{
	const struct sim_ice *a = &c->client, *b = &c->gateway;

	T(a->connected && b->connected);
	T(!a->failed && !b->failed);
	T_EQ(a->n_disconnected + b->n_disconnected, 0);
	T_EQ(a->n_ignored + b->n_ignored, 0);
	T_EQ(a->n_received, b->n_signalled);
	T_EQ(b->n_received, a->n_signalled);
	T(sim_ice_knows_all(a, b) && sim_ice_knows_all(b, a));
	T_EQ(a->rx[ICE_RX_NOT_MINE] + b->rx[ICE_RX_NOT_MINE] + a->rx[ICE_RX_DISCARDED] +
		     b->rx[ICE_RX_DISCARDED] + a->rx[ICE_RX_MALFORMED] + b->rx[ICE_RX_MALFORMED],
	     0);
	/* Both ended on the same path, the best one: IPv6 host to host. */
	T(endpoint_eq(&a->path.local, &b->path.remote) &&
	  endpoint_eq(&a->path.remote, &b->path.local));
	T_EQ(a->path.remote.ip.family, 6);
	T_EQ(a->path.remote_kind, CAND_HOST);
	T_EQ(b->path.remote_kind, CAND_HOST);
	T_EQ(a->path.pair_prio, b->path.pair_prio);
	/* Still there: data arrived within the last seconds. */
	T(sim_now(s) - a->last_data_at < 3 * NS_PER_SEC);
	T(sim_now(s) - b->last_data_at < 3 * NS_PER_SEC);
}

/* The gateway takes back its first candidate, long since also known as what it is: recognised on
 * the other side. */
static void invalidate(struct sim *s, struct couple *c)
{
	struct ice_cand gone = *ice_local(&c->gateway.ice, 0);
	unsigned n_gone = 0;

	sim_ice_drop_local(&c->gateway, &gone);
	T(sim_run(s, sim_now(s) + 5 * NS_PER_SEC, NULL, NULL));
	for (unsigned i = 0; i < ice_n_remotes(&c->client.ice); i++)
		n_gone += ice_remote(&c->client.ice, i)->discarded;
	T_EQ(n_gone, 1);
	T(!sim_ice_knows_all(&c->client, &c->gateway));
	T(c->client.has_path && c->gateway.has_path && c->client.n_disconnected == 0);
}

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* One couple per seed for a minute; returns the trace hash. *took: from asking to both nominated.
 */
static uint64_t one(const struct world *w, uint64_t seed, uint64_t *took)
{
	struct sim *s = sim_new("l1", seed);
	struct couple *c = calloc(1, sizeof(*c));
	uint64_t start = sim_now(s), hash;

	sim_portal_latency(s, w->portal_min_ns, w->portal_max_ns);
	couple_add(s, c, w, 1);
	T(sim_run(s, start + 60 * NS_PER_SEC, NULL, NULL));
	couple_check(s, c);
	invalidate(s, c);
	*took = (c->client.connected_at > c->gateway.connected_at ? c->client.connected_at
								  : c->gateway.connected_at) -
		start;
	hash = sim_trace_hash(s);
	free(c);
	sim_free(s);
	return hash;
}

static void seeds(const char *name, const struct world *w, unsigned p50_ms, unsigned p99_ms)
{
	uint64_t took[N_SEEDS];

	for (unsigned i = 0; i < N_SEEDS; i++)
		one(w, t_seed() + i, &took[i]);
	qsort(took, N_SEEDS, sizeof(*took), cmp_u64);
	t_note("%s: connect time over %u seeds p50=%llu p90=%llu p99=%llu ms", name, N_SEEDS,
	       (unsigned long long)(took[N_SEEDS / 2] / NS_PER_MS),
	       (unsigned long long)(took[N_SEEDS * 90 / 100] / NS_PER_MS),
	       (unsigned long long)(took[N_SEEDS * 99 / 100] / NS_PER_MS));
	T(took[N_SEEDS / 2] <= p50_ms * NS_PER_MS);
	T(took[N_SEEDS * 99 / 100] <= p99_ms * NS_PER_MS);
}

static const struct world short_data = {.data_min_ns = 1250000,
					.data_max_ns = 2500000,
					.portal_min_ns = 30 * NS_PER_MS,
					.portal_max_ns = 50 * NS_PER_MS};

static void test_short_data_long_portal(void)
{
	seeds("data 5-10 ms, portal 30-50 ms", &short_data, 150, 250);
}

static void test_behind_nat(void)
{
	struct world w = short_data;

	w.natted = true;
	seeds("the same, client behind a NAT", &w, 200, 300);
}

static void test_awful_portal(void)
{
	struct world w = short_data;

	w.portal_min_ns = 200 * NS_PER_MS;
	w.portal_max_ns = 1500 * NS_PER_MS;
	seeds("portal 200-1500 ms", &w, 4000, 6000);
}

static void test_long_data_path(void)
{
	struct world w = short_data;

	w.data_min_ns = 50 * NS_PER_MS;
	w.data_max_ns = 150 * NS_PER_MS;
	seeds("data 200-600 ms round trip", &w, 1200, 1800);
}

static bool replaced_in_place(const struct couple *c)
{
	for (unsigned i = 0; i < ice_n_remotes(&c->gateway.ice); i++)
		if (ice_remote(&c->gateway.ice, i)->prflx_local)
			return false;
	return true;
}

/* A hundred at once, sharing nothing but the time. */
static void test_hundred_connections(void)
{
	struct sim *s = sim_new("l1-100", t_seed());
	struct couple *c = calloc(N_AT_ONCE, sizeof(*c));
	unsigned n_prflx_first = 0;

	sim_portal_latency(s, short_data.portal_min_ns, short_data.portal_max_ns);
	for (unsigned i = 0; i < N_AT_ONCE; i++)
		couple_add(s, &c[i], &short_data, i);
	T(sim_run(s, sim_now(s) + 60 * NS_PER_SEC, NULL, NULL));
	for (unsigned i = 0; i < N_AT_ONCE; i++) {
		couple_check(s, &c[i]);
		T(replaced_in_place(&c[i]));
		n_prflx_first += c[i].gateway.n_nominated > c[i].client.n_nominated;
	}
	t_note("%u of %u gateways nominated a peer-reflexive candidate before the real one came",
	       n_prflx_first, N_AT_ONCE);
	T(n_prflx_first > N_AT_ONCE / 2);
	free(c);
	sim_free(s);
}

/* The same seed gives the same trace, another one does not. */
static void test_deterministic(void)
{
	uint64_t took, h1 = one(&short_data, 42, &took), h2 = one(&short_data, 42, &took);

	T_EQ(h1, h2);
	T(one(&short_data, 43, &took) != h1);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_short_data_long_portal);
	T_RUN(test_behind_nat);
	T_RUN(test_awful_portal);
	T_RUN(test_long_data_path);
	T_RUN(test_hundred_connections);
	T_RUN(test_deterministic);
	return t_done();
}
