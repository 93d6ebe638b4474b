/* SPDX-License-Identifier: Apache-2.0
 *
 * Every combination of NAT behaviour on both sides (RFC 4787: mapping and filtering, each
 * endpoint-independent, address-dependent or address-and-port-dependent; or no NAT), against an
 * oracle that knows nothing of ICE: the agents connect exactly where a direct path is possible. */
#include <stdlib.h>

#include "tests/sim/sim_ice.h"
#include "tests/sim/sim_oracle.h"
#include "tests/t.h"

#define N_KINDS 10 /* 0: public; 1..9: mapping x filtering */
#define N_SEEDS 5

static const char *const dep_names[] = {"I", "A", "P"};

static const struct sim_nat_cfg *kind_cfg(unsigned kind, uint8_t last, struct sim_nat_cfg *cfg)
{
	if (!kind)
		return NULL;
	*cfg = (struct sim_nat_cfg){.public_ip = ipaddr_v4(203, 0, 113, last),
				    .mapping = (enum sim_nat_dep)((kind - 1) / 3),
				    .filtering = (enum sim_nat_dep)((kind - 1) % 3),
				    .timeout_ns = 120 * NS_PER_SEC};
	return cfg;
}

static const char *kind_name(unsigned kind)
{
	static char buf[2][16];
	static unsigned flip;
	char *b = buf[flip ^= 1];

	if (!kind)
		return "public";
	snprintf(b, sizeof(buf[0]), "map-%s/flt-%s", dep_names[(kind - 1) / 3],
		 dep_names[(kind - 1) % 3]);
	return b;
}

static void side_add(struct sim *s, struct sim_ice *e, bool controlling, unsigned kind,
		     uint8_t last)
{
	struct sim_link link = {.lat_min_ns = 5 * NS_PER_MS, .lat_max_ns = 15 * NS_PER_MS};
	struct sim_ice_cfg cfg = {.controlling = controlling,
				  .timing = ICE_TIMING_ACTIVE,
				  .data_every_ns = 500 * NS_PER_MS};
	struct sim_nat_cfg nat;
	struct endpoint own = {.port = 52625}, mapped;
	struct ice_cand c;
	bool natted = kind_cfg(kind, last, &nat);

	own.ip = natted ? ipaddr_v4(10, 0, last, 1) : ipaddr_v4(192, 0, 2, last);
	sim_ice_add(e, s, &cfg, &link);
	sim_addr_add(s, e->host, &own.ip, natted ? sim_nat_add(s, &nat) : SIM_NO_NAT);
	c = ice_cand_host(&own);
	sim_ice_local(e, &c, 0);
	if (!sim_mapped(s, e->host, &own, &mapped))
		abort();
	c = ice_cand_srflx(&mapped, &own);
	sim_ice_local(e, &c, 20 * NS_PER_MS);
}

static bool carries_data(struct sim *s, const struct sim_ice *e)
{
	return e->has_path && e->data_received && sim_now(s) - e->last_data_at < 2 * NS_PER_SEC;
}

static void combination(unsigned ka, unsigned kb, uint64_t seed, unsigned *up, unsigned *down)
{
	struct sim_nat_cfg na, nb;
	bool possible = sim_direct_possible(kind_cfg(ka, 1, &na), kind_cfg(kb, 2, &nb));
	struct sim *s = sim_new("nat-matrix", seed);
	struct sim_ice *e = calloc(2, sizeof(*e));
	bool ok;

	sim_portal_latency(s, 30 * NS_PER_MS, 50 * NS_PER_MS);
	side_add(s, &e[0], true, ka, 1);
	side_add(s, &e[1], false, kb, 2);
	sim_ice_connect(&e[0], &e[1]);
	ok = sim_run(s, sim_now(s) + 12 * NS_PER_SEC, NULL, NULL);
	T(ok);
	if (!T_EQ(carries_data(s, &e[0]) && carries_data(s, &e[1]), possible))
		t_note("%s against %s, seed %llu", kind_name(ka), kind_name(kb),
		       (unsigned long long)seed);
	*up += possible;
	*down += !possible;
	/* The path outlives the NAT's mapping timeout: checks refresh it. */
	if (possible && ok) {
		T(sim_run(s, sim_now(s) + 300 * NS_PER_SEC, NULL, NULL));
		if (!T(carries_data(s, &e[0]) && carries_data(s, &e[1])))
			t_note("later: %s against %s", kind_name(ka), kind_name(kb));
	}
	free(e);
	sim_free(s);
}

static void test_matrix(void)
{
	unsigned up = 0, down = 0;

	for (unsigned ka = 0; ka < N_KINDS; ka++)
		for (unsigned kb = 0; kb < N_KINDS; kb++)
			for (unsigned i = 0; i < N_SEEDS; i++)
				combination(ka, kb, t_seed() + i, &up, &down);
	t_note("%u combinations with a direct path connected, %u without did not", up / N_SEEDS,
	       down / N_SEEDS);
	T(up > 0 && down > 0);
}

/* The oracle itself, on the rows everybody knows. */
static void test_oracle(void)
{
	static const struct {
		unsigned a, b;
		bool possible;
	} rows[] = {
		{0, 0, true},  {0, 9, true},  {9, 0, true}, /* one side public: always */
		{1, 1, true},  {3, 3, true}, /* endpoint-independent mapping: punching works */
		{3, 2, true},  {9, 1, true}, /* symmetric against full cone */
		{9, 2, true},		     /* symmetric against address-restricted */
		{9, 3, false},		     /* symmetric against port-restricted */
		{9, 9, false},		     /* symmetric against symmetric */
		{6, 6, false}, {6, 3, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct sim_nat_cfg a, b;

		if (!T_EQ(sim_direct_possible(kind_cfg(rows[i].a, 1, &a),
					      kind_cfg(rows[i].b, 2, &b)),
			  rows[i].possible))
			t_note("%s against %s", kind_name(rows[i].a), kind_name(rows[i].b));
	}
}

/* Mapping and filtering, one rule at a time. */
static void test_nat_model(void)
{
	struct endpoint in = {.ip = ipaddr_v4(10, 0, 0, 1), .port = 5};
	struct endpoint d1 = {.ip = ipaddr_v4(192, 0, 2, 1), .port = 1}, d1b = d1, d2 = d1;
	struct sim_nat_cfg cfg = {.public_ip = ipaddr_v4(203, 0, 113, 1),
				  .timeout_ns = 30 * NS_PER_SEC};
	struct endpoint o1, o1b, o2, back;
	struct sim_nat nat;

	d1b.port = 2;
	d2.ip = ipaddr_v4(192, 0, 2, 2);
	for (unsigned m = 0; m < 3; m++)
		for (unsigned f = 0; f < 3; f++) {
			cfg.mapping = (enum sim_nat_dep)m;
			cfg.filtering = (enum sim_nat_dep)f;
			sim_nat_init(&nat, &cfg);
			T(sim_nat_out(&nat, &in, &d1, &o1, 0));
			T(sim_nat_in(&nat, &o1, &d1, &back, 0) && endpoint_eq(&back, &in));
			T_EQ(sim_nat_in(&nat, &o1, &d1b, &back, 0), f <= SIM_ADDR_DEPENDENT);
			T_EQ(sim_nat_in(&nat, &o1, &d2, &back, 0), f == SIM_INDEPENDENT);
			T(sim_nat_out(&nat, &in, &d1b, &o1b, 0) &&
			  sim_nat_out(&nat, &in, &d2, &o2, 0));
			T_EQ(endpoint_eq(&o1, &o1b), m <= SIM_ADDR_DEPENDENT);
			T_EQ(endpoint_eq(&o1, &o2), m == SIM_INDEPENDENT);
			T(!sim_nat_in(&nat, &o1, &d1, &back, 30 * NS_PER_SEC));
		}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_nat_model);
	T_RUN(test_oracle);
	T_RUN(test_matrix);
	return t_done();
}
