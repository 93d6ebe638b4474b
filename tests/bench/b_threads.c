/* SPDX-License-Identifier: Apache-2.0
 *
 * What threads cost each other: ns that each of T threads takes for a packet, all of them at it at
 * once, T being 1, 2, 4 … of the processors there are.
 *
 *   threads_counter_{one,own}_tT    counters of super-packets of 45, all on one session, or on one
 *                                   for each thread, as workers take them; nothing is encrypted
 *   threads_single_{one,own}_tT     the same one by one, of packets that are none
 *   threads_section_{one,own}_tT    entering and leaving a section, with one lock for all, or one
 *                                   for each thread, as workers have it: ns a section
 *
 * "own" is what the work costs by itself; what "one" is above it, cache lines that travel. */
#include <pthread.h>

#include "tests/bench/bench.h"
#include "base/time.h"
#include "fwd/fwd_table.h"
#include "io/loop.h"
#include "plan/egress.h"

#define THREADS_MAX 16
#define SESSIONS    64
#define SUPER	    45
#define RUNS	    15
#define RUN_NS	    (20 * NS_PER_MS)

static struct fwd_table table;
static struct {
	_Alignas(64) pthread_rwlock_t lock;
} locks[THREADS_MAX];
static uint32_t slots[THREADS_MAX];
static pthread_barrier_t start;

struct job {
	pthread_t thread;
	void (*once)(uint32_t of);
	uint32_t of; /* whose session or lock */
	double ns;
};

static void counters(uint32_t of)
{
	uint8_t out[FWD_DATA_OVERHEAD];
	struct fwd_tx tx[SUPER];
	struct fwd_counters c;

	if (fwd_seal_reserve(&table, of, slots[of], SUPER, &c, 1) != PS_R_UTX_SENT)
		abort();
	for (int i = 0; i < SUPER; i++) {
		tx[i] = (struct fwd_tx){.out = out};
		fwd_seal_next(&c, &tx[i]);
	}
}

static void singles(uint32_t of)
{
	uint8_t out[FWD_DATA_OVERHEAD];
	struct fwd_tx tx = {.out = out};
	struct fwd_counters c;

	for (int i = 0; i < SUPER; i++) {
		if (fwd_seal_reserve(&table, of, slots[of], 1, &c, 1) != PS_R_UTX_SENT)
			abort();
		fwd_seal_next(&c, &tx);
	}
}

static void section(uint32_t of)
{
	pthread_rwlock_rdlock(&locks[of].lock);
	pthread_rwlock_unlock(&locks[of].lock);
}

static void *work(void *arg)
{
	struct job *j = arg;
	uint64_t from, now, n = 0;

	pthread_barrier_wait(&start);
	from = loop_now();
	do {
		for (int i = 0; i < 64; i++)
			j->once(j->of);
		n += 64;
		now = loop_now();
	} while (now - from < RUN_NS);
	j->ns = (double)(now - from) / (double)n;
	return NULL;
}

static double run(void (*once)(uint32_t), uint32_t threads, bool own)
{
	struct job j[THREADS_MAX];
	double sum = 0;

	pthread_barrier_init(&start, NULL, threads);
	for (uint32_t i = 0; i < threads; i++) {
		j[i] = (struct job){.once = once, .of = own ? i : 0};
		if (pthread_create(&j[i].thread, NULL, work, &j[i]))
			abort();
	}
	for (uint32_t i = 0; i < threads; i++) {
		pthread_join(j[i].thread, NULL);
		sum += j[i].ns;
	}
	pthread_barrier_destroy(&start);
	return sum / threads;
}

static void bench(const char *what, void (*once)(uint32_t), double per, uint32_t threads, bool own)
{
	char name[64];
	double v[RUNS];

	snprintf(name, sizeof(name), "threads_%s_%s_t%u", what, own ? "own" : "one", threads);
	if (!bench_wanted(name))
		return;
	for (int i = 0; i < RUNS; i++)
		v[i] = run(once, threads, own) / per;
	bench_print(name, "time_of_each_thread", "ns", v, RUNS, "\"mode\":\"user\"");
}

static void table_make(void)
{
	const struct fwd_keys keys = {{1}, {2}};
	struct fwd_mem m = {.n_sessions = SESSIONS, .n_peers = THREADS_MAX};

	m.session = aligned_alloc(64, SESSIONS * sizeof(*m.session));
	m.replay = aligned_alloc(64, SESSIONS * sizeof(*m.replay));
	m.peer = aligned_alloc(64, THREADS_MAX * sizeof(*m.peer));
	m.keys = calloc(SESSIONS, sizeof(*m.keys));
	m.session_free = calloc(SESSIONS, sizeof(*m.session_free));
	if (!m.session || !m.replay || !m.peer || !m.keys || !m.session_free ||
	    fwd_init(&table, &m, keys.recv))
		abort();
	for (uint32_t i = 0; i < THREADS_MAX; i++) {
		const uint32_t idx = fwd_index_alloc(&table);
		struct fwd_session_new n = {.local_idx = idx,
					    .remote_idx = 7,
					    .peer = i,
					    .rx_until_ns = UINT64_MAX / 4,
					    .tx_until_ns = UINT64_MAX / 4,
					    .keys = &keys};

		if (fwd_peer_use(&table, i))
			abort();
		fwd_session_install(&table, &n, 1);
		fwd_session_confirm(&table, idx);
		slots[i] = fwd_slot(&table, idx);
		pthread_rwlock_init(&locks[i].lock, NULL);
	}
}

int main(int argc, char **argv)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	bench_filter = argc > 1 ? argv[1] : NULL;
	table_make();
	for (uint32_t t = 1; t <= THREADS_MAX && (long)t <= cpus; t *= 2)
		for (int own = 1; own >= 0; own--) {
			bench("counter", counters, SUPER, t, own);
			bench("single", singles, SUPER, t, own);
			bench("section", section, 1, t, own);
		}
	return 0;
}
