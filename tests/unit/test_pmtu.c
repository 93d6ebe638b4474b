/* SPDX-License-Identifier: Apache-2.0
 *
 * The search for a connection's size, in virtual time, over a path that is a limit, a delay and a
 * loss. Both ends may run on it at once. */
#include "core/tunnel/pmtu.h"
#include "crypto/crypto.h"
#include "tests/t.h"

#define IN_FLIGHT_MAX 64
#define MS	      NS_PER_MS

struct dgram {
	uint64_t at;
	int to;
	bool is_ack;
	struct p2p_mtu m;
};

/* Two ends and the path between them. */
static struct {
	struct pmtu end[2];
	struct rng rng;
	uint64_t now;
	uint16_t limit[2]; /* longest packet that gets through, by sender */
	uint16_t answers;  /* longest probe that is answered; 0: by nobody */
	uint64_t delay_ns;
	uint64_t jitter_ns;
	uint32_t loss; /* per cent, each way */
	bool traffic;
	struct dgram flying[IN_FLIGHT_MAX];
	size_t n_flying;
	uint32_t probes[2], acks, longest;
	uint64_t next_active;
} w;

static void setup(uint16_t limit)
{
	uint8_t seed[32] = {1};

	memset(&w, 0, sizeof(w));
	rng_init(&w.rng, seed);
	w.now = 1000 * NS_PER_SEC;
	w.limit[0] = w.limit[1] = limit;
	w.answers = 1500;
	w.delay_ns = 10 * MS;
	w.traffic = true;
	pmtu_init(&w.end[0]);
	pmtu_init(&w.end[1]);
}

static void fly(int from, bool is_ack, const struct p2p_mtu *m)
{
	uint16_t len = is_ack ? P2P_CTL_MTU_LEN : m->size;

	if (len > w.longest)
		w.longest = len;
	if (len > w.limit[from] || rng_below(&w.rng, 100) < w.loss ||
	    !T(w.n_flying < IN_FLIGHT_MAX))
		return;
	w.flying[w.n_flying++] = (struct dgram){.at = w.now + w.delay_ns +
						      rng_below(&w.rng, w.jitter_ns + 1),
						.to = !from,
						.is_ack = is_ack,
						.m = *m};
}

static void arrive(const struct dgram *g)
{
	struct pmtu *p = &w.end[g->to];

	if (g->is_ack) {
		pmtu_ack(p, &g->m, w.now);
	} else if (pmtu_answers(p, &g->m, w.answers, w.now)) {
		w.acks++;
		fly(g->to, true, &g->m);
	}
}

static void poll(int i)
{
	struct p2p_mtu m;

	while (pmtu_poll_tx(&w.end[i], &w.rng, &m, w.now)) {
		w.probes[i]++;
		T(m.size >= PMTU_BASE_LEN && m.size <= w.end[i].ceiling);
		fly(i, false, &m);
	}
	T(w.end[i].size >= PMTU_BASE_LEN);
	T(w.end[i].size == PMTU_BASE_LEN || w.end[i].size <= w.end[i].ceiling);
}

static uint64_t next_event(uint64_t end)
{
	uint64_t at = end;

	for (int i = 0; i < 2; i++)
		if (pmtu_deadline(&w.end[i]).at < at)
			at = pmtu_deadline(&w.end[i]).at;
	for (size_t i = 0; i < w.n_flying; i++)
		if (w.flying[i].at < at)
			at = w.flying[i].at;
	if (w.traffic && w.next_active < at)
		at = w.next_active;
	return at > w.now ? at : w.now;
}

static void run(uint64_t span)
{
	uint64_t end = w.now + span;

	while (w.now < end) {
		poll(0);
		poll(1);
		w.now = next_event(end);
		for (size_t i = 0; i < w.n_flying;) {
			struct dgram g = w.flying[i];

			if (g.at > w.now) {
				i++;
				continue;
			}
			w.flying[i] = w.flying[--w.n_flying];
			arrive(&g);
		}
		for (int i = 0; i < 2; i++) {
			pmtu_timeout(&w.end[i], w.now);
			if (w.traffic && w.now >= w.next_active)
				pmtu_active(&w.end[i], w.now);
		}
		if (w.now >= w.next_active)
			w.next_active = w.now + NS_PER_SEC;
	}
	poll(0);
	poll(1);
}

static void start(uint16_t ceiling)
{
	pmtu_path(&w.end[0], ceiling, w.now);
	pmtu_path(&w.end[1], ceiling, w.now);
}

static void test_wide_path(void)
{
	setup(1500);
	start(1440);
	run(100 * MS);
	T_EQ(w.end[0].size, 1440);
	T_EQ(w.end[1].size, 1440);
	T_EQ(w.end[0].state, PMTU_COMPLETE);
	T_EQ(w.probes[0], 2); /* is anybody there; the ceiling */
	w.traffic = false;
	run(3600 * NS_PER_SEC);
	T_EQ(w.probes[0], 2); /* nothing is sent for its own sake */
}

/* Every limit between base and ceiling is found, to the step, from below, in a few seconds. */
static void test_search(void)
{
	for (uint16_t limit = PMTU_BASE_LEN; limit <= 1500; limit++) {
		setup(limit);
		start(1440);
		run(8 * NS_PER_SEC);
		T_EQ(w.end[0].state, PMTU_COMPLETE);
		T(w.end[0].size <= limit);
		T(w.end[0].size + PMTU_STEP > limit || w.end[0].size == 1440);
	}
}

/* The two directions differ: each end knows its own. */
static void test_asymmetric(void)
{
	setup(1500);
	w.limit[1] = 1300;
	start(1440);
	run(8 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
	T(w.end[1].size > 1292 && w.end[1].size <= 1300);
}

static void test_nothing_to_gain(void)
{
	setup(1500);
	start(PMTU_BASE_LEN);
	run(100 * NS_PER_SEC);
	T_EQ(w.end[0].state, PMTU_OFF);
	T_EQ(w.probes[0], 0);
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
}

/* A peer that is not ours: three probes of the base size, then rarer and rarer, never longer. */
static void test_silent_peer(void)
{
	setup(1500);
	w.answers = 0;
	start(1440);
	run(10 * NS_PER_SEC);
	T_EQ(w.probes[0], PMTU_TRIES);
	run(60 * NS_PER_SEC);
	T_EQ(w.probes[0], 2 * PMTU_TRIES);
	run(24 * 3600 * NS_PER_SEC);
	T(w.probes[0] < 35 * PMTU_TRIES);
	T(w.probes[0] > 20 * PMTU_TRIES);
	T_EQ(w.longest, PMTU_BASE_LEN);
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
	T_EQ(w.end[0].state, PMTU_BASE);
	w.answers = 1500; /* it was updated, and the connection is an old one */
	run(3700 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
}

static void test_silent_peer_without_traffic(void)
{
	setup(1500);
	w.answers = 0;
	w.traffic = false;
	start(1440);
	run(24 * 3600 * NS_PER_SEC);
	T_EQ(w.probes[0], PMTU_TRIES);
}

/* A peer whose operator has set a bound: found like a narrow path. */
static void test_bounded_peer(void)
{
	setup(1500);
	w.answers = 1400;
	start(1440);
	run(8 * NS_PER_SEC);
	T(w.end[0].size > 1392 && w.end[0].size <= 1400);
}

static void test_black_hole(void)
{
	uint64_t t;

	setup(1500);
	start(1440);
	run(20 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
	w.limit[0] = w.limit[1] = 1340;
	t = w.now;
	while (w.end[0].size == 1440 && w.now < t + 60 * NS_PER_SEC)
		run(10 * MS);
	/* a tick late at most */
	T(w.now - t <= NS_PER_SEC + PMTU_CONFIRM_NS + PMTU_CONFIRM_TRIES * PMTU_TIMEOUT_MIN_NS);
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
	run(10 * NS_PER_SEC);
	T(w.end[0].size > 1332 && w.end[0].size <= 1340);
	T_EQ(w.end[0].state, PMTU_COMPLETE);
	/* wide again: tried after a while, not before */
	w.limit[0] = w.limit[1] = 1500;
	run(500 * NS_PER_SEC);
	T(w.end[0].size <= 1340);
	run(200 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
}

/* Down to below the base: nothing is sent in vain, and it comes back when the path does. */
static void test_outage(void)
{
	setup(1500);
	start(1440);
	run(5 * NS_PER_SEC);
	w.limit[0] = w.limit[1] = 0;
	run(30 * NS_PER_SEC);
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
	T_EQ(w.end[0].state, PMTU_BASE);
	T(w.probes[0] < 20);
	w.limit[0] = w.limit[1] = 1500;
	run(130 * NS_PER_SEC);
	/* what did not arrive is remembered until it is tried anew */
	T(w.end[0].size >= 1440 - PMTU_STEP);
	run(700 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
}

static void test_confirmed_while_used(void)
{
	uint32_t n;

	setup(1500);
	start(1440);
	run(NS_PER_SEC);
	n = w.probes[0];
	run(100 * NS_PER_SEC);
	T(w.probes[0] - n >= 30 && w.probes[0] - n <= 51);
	w.traffic = false;
	run(3 * NS_PER_SEC);
	n = w.probes[0];
	run(1000 * NS_PER_SEC);
	T_EQ(w.probes[0], n);
	w.limit[0] = 1300;
	run(1000 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440); /* nobody has noticed, nobody is hurt */
	w.traffic = true;
	run(20 * NS_PER_SEC);
	T(w.end[0].size <= 1300);
}

static void test_path_change(void)
{
	setup(1500);
	start(1440);
	run(5 * NS_PER_SEC);
	w.limit[0] = 1350;
	pmtu_path(&w.end[0], 1420, w.now);
	T_EQ(w.end[0].size, PMTU_BASE_LEN); /* at once, whatever the old path carried */
	run(8 * NS_PER_SEC);
	T(w.end[0].size > 1342 && w.end[0].size <= 1350);
	pmtu_path(&w.end[0], 0, w.now);
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
	T_EQ(w.end[0].state, PMTU_OFF);
	run(100 * NS_PER_SEC);
	T_EQ(w.end[0].state, PMTU_OFF);
}

static void test_ceiling_change(void)
{
	uint32_t n;

	setup(1500);
	start(1440);
	run(5 * NS_PER_SEC);
	n = w.probes[0];
	pmtu_ceiling(&w.end[0], 1440, w.now); /* no news */
	T_EQ(w.end[0].size, 1440);
	T_EQ(w.probes[0], n);
	pmtu_ceiling(&w.end[0], 1480, w.now);
	T_EQ(w.end[0].size, 1440); /* what is known stays known */
	run(NS_PER_SEC);
	T_EQ(w.end[0].size, 1480);
	pmtu_ceiling(&w.end[0], 1300, w.now);
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
	run(NS_PER_SEC);
	T_EQ(w.end[0].size, 1300);
	pmtu_ceiling(&w.end[0], 1200, w.now);
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
	T_EQ(w.end[0].state, PMTU_OFF);
	pmtu_ceiling(&w.end[0], 1440, w.now);
	run(NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
}

/* Whatever is lost: never above what passes, and the limit is found in the end. */
static void test_loss_and_reordering(void)
{
	for (uint8_t seed = 0; seed < 100; seed++) {
		uint8_t s[32] = {7, seed};
		uint16_t limit;

		setup(1500);
		rng_init(&w.rng, s);
		limit = (uint16_t)(PMTU_BASE_LEN + rng_below(&w.rng, 200));
		w.limit[0] = w.limit[1] = limit;
		w.loss = (uint32_t)rng_below(&w.rng, 20);
		w.jitter_ns = rng_below(&w.rng, 400) * MS;
		start(1440);
		for (int i = 0; i < 400; i++) {
			run(5 * NS_PER_SEC);
			T(w.end[0].size <= limit && w.end[1].size <= limit);
		}
		w.loss = 0;
		w.jitter_ns = 0;
		run(1300 * NS_PER_SEC);
		T(w.end[0].size + PMTU_STEP > (limit < 1440 ? limit : 1440));
		T(w.end[1].size + PMTU_STEP > (limit < 1440 ? limit : 1440));
	}
}

static void test_long_round_trip(void)
{
	setup(1500);
	w.delay_ns = 700 * MS;
	start(1440);
	run(30 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
	run(100 * NS_PER_SEC);
	T_EQ(w.end[0].size, 1440);
	T_EQ(w.end[0].state, PMTU_COMPLETE);
}

/* An acknowledgement is worth what was asked. */
static void test_forged_acks(void)
{
	struct p2p_mtu m, f;
	struct pmtu before;

	setup(1500);
	w.answers = 0;
	pmtu_path(&w.end[0], 1440, w.now);
	before = w.end[0];
	f = (struct p2p_mtu){.id = before.id, .size = before.probe_size};
	T(!pmtu_ack(&w.end[0], &f, w.now)); /* nothing is out */
	T(pmtu_poll_tx(&w.end[0], &w.rng, &m, w.now));
	T_EQ(m.size, PMTU_BASE_LEN);
	before = w.end[0];
	for (int bit = 0; bit < 64; bit++) {
		f = m;
		f.id ^= UINT64_C(1) << bit;
		T(!pmtu_ack(&w.end[0], &f, w.now));
	}
	f = m;
	f.size = 1440; /* more than was sent */
	T(!pmtu_ack(&w.end[0], &f, w.now));
	T_MEM(&w.end[0], &before, sizeof(before));
	T(pmtu_ack(&w.end[0], &m, w.now));
	T(!pmtu_ack(&w.end[0], &m, w.now)); /* once */
	f = m;
	T(pmtu_poll_tx(&w.end[0], &w.rng, &m, w.now));
	T_EQ(m.size, 1440);
	T(m.id != f.id);
	f.size = 1440;
	T(!pmtu_ack(&w.end[0], &f, w.now)); /* the old identifier */
	T_EQ(w.end[0].size, PMTU_BASE_LEN);
}

/* The answer to an earlier try of the same size comes after the next one was sent. */
static void test_late_ack(void)
{
	struct p2p_mtu first, second;

	setup(1500);
	pmtu_path(&w.end[0], 1440, w.now);
	T(pmtu_poll_tx(&w.end[0], &w.rng, &first, w.now));
	w.now = pmtu_deadline(&w.end[0]).at;
	pmtu_timeout(&w.end[0], w.now);
	T(pmtu_poll_tx(&w.end[0], &w.rng, &second, w.now));
	T(pmtu_ack(&w.end[0], &first, w.now));
	T_EQ(w.end[0].state, PMTU_SEARCHING);
	T_EQ(w.end[0].rtt_ns, 0); /* which of the two was answered? */
}

static void test_unsent_waits_for_traffic(void)
{
	struct p2p_mtu m;

	setup(1500);
	pmtu_path(&w.end[0], 1440, w.now);
	T(pmtu_poll_tx(&w.end[0], &w.rng, &m, w.now));
	pmtu_unsent(&w.end[0]);
	T_EQ(pmtu_deadline(&w.end[0]).at, TIME_NEVER);
	T(!pmtu_poll_tx(&w.end[0], &w.rng, &m, w.now + NS_PER_SEC));
	pmtu_active(&w.end[0], w.now + NS_PER_SEC);
	T(pmtu_poll_tx(&w.end[0], &w.rng, &m, w.now + NS_PER_SEC));
	T_EQ(w.end[0].tries, 1);
}

static void test_answers_are_bounded(void)
{
	struct p2p_mtu m = {.id = 1, .size = 1440};
	uint32_t n = 0;

	setup(1500);
	for (int i = 0; i < 1000; i++)
		n += pmtu_answers(&w.end[0], &m, 1500, w.now + (uint64_t)i * MS / 2);
	T_EQ(n, PMTU_ANSWERS);
	T(pmtu_answers(&w.end[0], &m, 1500, w.now + NS_PER_SEC));
	T(!pmtu_answers(&w.end[0], &m, 1439, w.now + 2 * NS_PER_SEC));
	/* another path does not open the tap */
	for (int i = 0; i < 100; i++)
		pmtu_answers(&w.end[0], &m, 1500, w.now + 2 * NS_PER_SEC);
	pmtu_path(&w.end[0], 1440, w.now + 2 * NS_PER_SEC);
	T(!pmtu_answers(&w.end[0], &m, 1500, w.now + 2 * NS_PER_SEC));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_wide_path);
	T_RUN(test_search);
	T_RUN(test_asymmetric);
	T_RUN(test_nothing_to_gain);
	T_RUN(test_silent_peer);
	T_RUN(test_silent_peer_without_traffic);
	T_RUN(test_bounded_peer);
	T_RUN(test_black_hole);
	T_RUN(test_outage);
	T_RUN(test_confirmed_while_used);
	T_RUN(test_path_change);
	T_RUN(test_ceiling_change);
	T_RUN(test_loss_and_reordering);
	T_RUN(test_long_round_trip);
	T_RUN(test_forged_acks);
	T_RUN(test_late_ack);
	T_RUN(test_unsent_waits_for_traffic);
	T_RUN(test_answers_are_bounded);
	return t_done();
}
