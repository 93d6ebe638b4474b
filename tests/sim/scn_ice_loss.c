/* SPDX-License-Identifier: Apache-2.0
 *
 * Bad links: loss, duplication, reordering, a small MTU. Connect times over many seeds, printed and
 * bounded; an established path survives what is short of an outage; nothing a link does makes the
 * agent misbehave. */
#include <stdlib.h>

#include "tests/sim/sim_ice.h"
#include "tests/t.h"

#define N_SEEDS 200

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct result {
	uint64_t took, hash, max_gap_ns;
	unsigned n_disconnected, n_failed;
	struct sim_stats stats;
};

static struct result one(const struct sim_link *link, uint64_t seed, uint64_t span)
{
	struct sim_ice_cfg cfg = {
		.controlling = true, .timing = ICE_TIMING_ACTIVE, .data_every_ns = 100 * NS_PER_MS};
	struct sim_ice *e = calloc(2, sizeof(*e));
	struct sim *s = sim_new("loss", seed);
	uint64_t start = sim_now(s), last = 0;
	struct result r = {0};

	sim_portal_latency(s, 30 * NS_PER_MS, 50 * NS_PER_MS);
	sim_ice_add(&e[0], s, &cfg, link);
	cfg.controlling = false;
	sim_ice_add(&e[1], s, &cfg, link);
	sim_ice_host(&e[0], "192.0.2.1:52625", SIM_NO_NAT, 0);
	sim_ice_host(&e[0], "[2001:db8::1]:52625", SIM_NO_NAT, 10 * NS_PER_MS);
	sim_ice_host(&e[1], "198.51.100.1:52625", SIM_NO_NAT, 0);
	sim_ice_connect(&e[0], &e[1]);
	T(sim_run(s, start + span, NULL, NULL));
	for (unsigned i = 0; i < 2; i++) {
		if (!e[i].connected)
			last = TIME_NEVER;
		else if (e[i].connected_at > last)
			last = e[i].connected_at;
		r.n_disconnected += e[i].n_disconnected;
		r.n_failed += e[i].failed;
		r.max_gap_ns = r.max_gap_ns > e[i].max_data_gap_ns ? r.max_gap_ns
								   : e[i].max_data_gap_ns;
		T_EQ(e[i].rx[ICE_RX_MALFORMED] + e[i].rx[ICE_RX_BAD_AUTH] +
			     e[i].rx[ICE_RX_NO_LOCAL],
		     0);
	}
	r.took = last == TIME_NEVER ? TIME_NEVER : last - start;
	r.hash = sim_trace_hash(s);
	r.stats = sim_stats(s);
	free(e);
	sim_free(s);
	return r;
}

struct bound {
	const char *name;
	struct sim_link link;
	unsigned p50_ms, p90_ms, p99_ms;
};

#define LAT .lat_min_ns = 10 * NS_PER_MS, .lat_max_ns = 20 * NS_PER_MS

static const struct bound bounds[] = {
	{"clean", {LAT}, 200, 250, 300},
	{"loss 10 % (5 % a link)", {LAT, .loss_ppm = 50000}, 250, 600, 1500},
	{"loss 19 % (10 % a link)", {LAT, .loss_ppm = 100000}, 300, 1300, 3200},
	{"loss 36 % (20 % a link)", {LAT, .loss_ppm = 200000}, 800, 4000, 7500},
	{"duplication 50 %", {LAT, .dup_ppm = 500000}, 200, 250, 300},
	{"reordering by up to 500 ms",
	 {LAT, .reorder_ppm = 300000, .reorder_ns = 500 * NS_PER_MS},
	 600,
	 1200,
	 2000},
};

static void test_connect_times(void)
{
	for (size_t b = 0; b < sizeof(bounds) / sizeof(*bounds); b++) {
		uint64_t took[N_SEEDS];
		struct sim_stats st = {0};

		for (unsigned i = 0; i < N_SEEDS; i++) {
			struct result r = one(&bounds[b].link, t_seed() + i, 30 * NS_PER_SEC);

			took[i] = r.took;
			st.lost += r.stats.lost;
			st.duplicated += r.stats.duplicated;
			st.reordered += r.stats.reordered;
		}
		qsort(took, N_SEEDS, sizeof(*took), cmp_u64);
		t_note("%s: connect time over %u seeds p50=%llu p90=%llu p99=%llu ms (lost %llu, "
		       "doubled %llu, late %llu)",
		       bounds[b].name, N_SEEDS, (unsigned long long)(took[N_SEEDS / 2] / NS_PER_MS),
		       (unsigned long long)(took[N_SEEDS * 90 / 100] / NS_PER_MS),
		       (unsigned long long)(took[N_SEEDS * 99 / 100] / NS_PER_MS),
		       (unsigned long long)st.lost, (unsigned long long)st.duplicated,
		       (unsigned long long)st.reordered);
		T(took[N_SEEDS / 2] <= bounds[b].p50_ms * NS_PER_MS);
		T(took[N_SEEDS * 90 / 100] <= bounds[b].p90_ms * NS_PER_MS);
		T(took[N_SEEDS * 99 / 100] <= bounds[b].p99_ms * NS_PER_MS);
		T_EQ(st.lost > 0, bounds[b].link.loss_ppm > 0);
	}
}

/* Ten minutes at 10 % loss each way: never Disconnected, never without data for long. */
static void test_survives_loss(void)
{
	struct sim_link link = {LAT, .loss_ppm = 50000, .dup_ppm = 20000, .reorder_ppm = 50000,
				.reorder_ns = 200 * NS_PER_MS};

	for (unsigned i = 0; i < 20; i++) {
		struct result r = one(&link, t_seed() + i, 600 * NS_PER_SEC);

		T_EQ(r.n_disconnected, 0);
		T_EQ(r.n_failed, 0);
		T(r.max_gap_ns < 2 * NS_PER_SEC);
	}
}

/* Our checks are small: they pass where 200 bytes do, and too small a link is just unreachable. */
static void test_mtu(void)
{
	struct sim_link ok = {LAT, .mtu = 200}, small = {LAT, .mtu = 80};
	struct result r = one(&ok, t_seed(), 30 * NS_PER_SEC);

	T(r.took != TIME_NEVER);
	T_EQ(r.stats.too_big, 0);
	r = one(&small, t_seed(), 30 * NS_PER_SEC);
	T_EQ(r.took, TIME_NEVER);
	T_EQ(r.n_failed, 2);
	T(r.stats.too_big > 0);
}

static void test_deterministic(void)
{
	struct sim_link link = {LAT, .loss_ppm = 100000, .dup_ppm = 100000, .reorder_ppm = 100000,
				.reorder_ns = 100 * NS_PER_MS};

	for (unsigned i = 0; i < 5; i++)
		T_EQ(one(&link, i, 60 * NS_PER_SEC).hash, one(&link, i, 60 * NS_PER_SEC).hash);
	T(one(&link, 1, 60 * NS_PER_SEC).hash != one(&link, 2, 60 * NS_PER_SEC).hash);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_connect_times);
	T_RUN(test_survives_loss);
	T_RUN(test_mtu);
	T_RUN(test_deterministic);
	return t_done();
}
