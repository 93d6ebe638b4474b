/* SPDX-License-Identifier: Apache-2.0
 * The replay window against a list of what was accepted, its edges as a table, and threads that
 * race for the same counters. */
#include <pthread.h>
#include "abi/replay.h"
#include "tests/t.h"

#define WIN PS_REPLAY_WINDOW

static struct ps_replay r;

static void test_edges(void)
{
	static const struct {
		uint64_t counter;
		int accepted;
	} steps[] = {
		{0, 1},
		{0, 0},
		{1, 1},
		{1, 0},
		{9, 1},
		{8, 1},
		{7, 1},
		{7, 0},
		{WIN, 1},
		{WIN - 1, 1},
		{WIN - 1, 0},
		{2, 1},
		{2, 0},
		{WIN + 16, 1},
		{3, 0}, /* 4064 behind the top */
		{16, 0},
		{17, 1},
		{17, 0},
		{WIN * 4, 1},
		{WIN * 4 - WIN, 0},
		{WIN * 4 + 1 - WIN, 1},
		{WIN * 3, 0},
		{(1ULL << 32) - 1, 1},
		{1ULL << 32, 1},
		{(1ULL << 32) - 1, 0},
		{(1ULL << 32) - 2, 1},
		{PS_REPLAY_LIMIT - 1, 1},
		{PS_REPLAY_LIMIT - 1, 0},
		{PS_REPLAY_LIMIT - 2, 1},
		{PS_REPLAY_LIMIT, 0},
		{UINT64_MAX, 0},
		{UINT64_MAX - WIN, 0},
		{0, 0},
	};

	memset(&r, 0, sizeof(r));
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct ps_replay before = r;
		int could = ps_replay_check(&r, steps[i].counter);

		T_MEM(&r, &before, sizeof(r)); /* a check changes nothing */
		if (!T_EQ(could, steps[i].accepted) ||
		    !T_EQ(ps_replay_commit(&r, steps[i].counter), steps[i].accepted))
			t_note("step %zu, counter %llu", i, (unsigned long long)steps[i].counter);
		if (!steps[i].accepted)
			T_MEM(&r, &before, sizeof(r));
	}
}

/* One bit per counter ever accepted, and the highest. */
#define SPAN 200000
static uint8_t taken[SPAN];

static int naive(uint64_t counter, uint64_t *top)
{
	if (counter + WIN < *top || taken[counter])
		return 0;
	taken[counter] = 1;
	if (counter >= *top)
		*top = counter + 1;
	return 1;
}

static void test_naive(void)
{
	uint64_t rnd = t_seed(), top = 0, head = 0;

	for (int round = 0; round < 20; round++) {
		memset(&r, 0, sizeof(r));
		memset(taken, 0, sizeof(taken));
		top = head = 0;
		for (int i = 0; i < 60000 && head < SPAN - 9000; i++) {
			uint64_t c;

			switch (t_rand(&rnd) % 8) {
			case 0:
				head += t_rand(&rnd) % (round % 4 == 3 ? 9000 : 40);
				c = head;
				break;
			case 1:
				c = head - t_rand(&rnd) % (head + 1 < 5000 ? head + 1 : 5000);
				break;
			case 2:
				c = head - t_rand(&rnd) % (head + 1 < 64 ? head + 1 : 64);
				break;
			default:
				c = head++;
			}
			if (!T_EQ(ps_replay_commit(&r, c), naive(c, &top))) {
				t_note("round %d step %d counter %llu top %llu", round, i,
				       (unsigned long long)c, (unsigned long long)top);
				return;
			}
		}
		T_EQ(r.top, top);
	}
}

/* A block's counters at once: as one after the other, window and all. */
static void test_block(void)
{
	uint64_t rnd = t_seed(), head = 0, partly = 0;
	struct ps_replay one;

	memset(&r, 0, sizeof(r));
	for (int i = 0; i < 200000; i++) {
		uint64_t block = head / PS_REPLAY_BITS, back = t_rand(&rnd) % 4 ? 3 : 132;
		uint32_t bits = (uint32_t)t_rand(&rnd) & (uint32_t)t_rand(&rnd), want = 0;

		back = t_rand(&rnd) % back;
		block -= back < block ? back : block;
		one = r;
		for (uint32_t b = 0; b < PS_REPLAY_BITS; b++)
			if (bits >> b & 1 && ps_replay_commit(&one, block * PS_REPLAY_BITS + b))
				want |= 1u << b;
		partly += want && want != bits;
		if (!T_EQ(ps_replay_commit_block(&r, block, bits), want) ||
		    !T_MEM(&r, &one, sizeof(r))) {
			t_note("step %d, block %llu", i, (unsigned long long)block);
			return;
		}
		head += t_rand(&rnd) % 16 ? t_rand(&rnd) % 48 : t_rand(&rnd) % 9000;
	}
	T(partly > 1000);
	T_EQ(ps_replay_commit_block(&r, PS_REPLAY_LIMIT / PS_REPLAY_BITS - 1, 1u << 31), 1u << 31);
	T_EQ(ps_replay_commit_block(&r, PS_REPLAY_LIMIT / PS_REPLAY_BITS, 1), 0);
	T_EQ(ps_replay_commit_block(&r, UINT64_MAX / PS_REPLAY_BITS, 1), 0);
}

/* Threads walk the same counters in different orders within the window: each is won once. The first
 * takes a block's at once. */
#define RACERS	4
#define RACE_TO 60000
static uint8_t wins[RACE_TO];
static pthread_barrier_t start;

static void *racer(void *arg)
{
	uint64_t rnd = (uint64_t)(uintptr_t)arg * 7919 + 1;

	pthread_barrier_wait(&start);
	for (uint64_t base = 0; base < RACE_TO; base += 32) {
		uint64_t from = t_rand(&rnd) % 32;

		if (arg == (void *)1) {
			uint32_t got = ps_replay_commit_block(&r, base / 32, (uint32_t)rnd) |
				       ps_replay_commit_block(&r, base / 32, ~(uint32_t)rnd);

			for (uint64_t i = 0; i < 32; i++)
				__sync_fetch_and_add(&wins[base + i], got >> i & 1);
			continue;
		}
		for (uint64_t i = 0; i < 32; i++) {
			uint64_t c = base + (from + i) % 32;

			if (ps_replay_commit(&r, c))
				__sync_fetch_and_add(&wins[c], 1);
		}
	}
	return NULL;
}

static void test_race(void)
{
	pthread_t thread[RACERS];
	unsigned once = 0, twice = 0;

	for (int round = 0; round < 5; round++) {
		memset(&r, 0, sizeof(r));
		memset(wins, 0, sizeof(wins));
		T_EQ(pthread_barrier_init(&start, NULL, RACERS), 0);
		for (uintptr_t i = 0; i < RACERS; i++)
			T_EQ(pthread_create(&thread[i], NULL, racer, (void *)(i + 1)), 0);
		for (int i = 0; i < RACERS; i++)
			T_EQ(pthread_join(thread[i], NULL), 0);
		pthread_barrier_destroy(&start);
		for (int c = 0; c < RACE_TO; c++) {
			once += wins[c] == 1;
			twice += wins[c] > 1;
		}
		T_EQ(r.top, RACE_TO);
	}
	T_EQ(twice, 0);
	/* The first thread to reach a counter wins it; one that lags a window behind wins nothing,
	 * so every counter has a winner. */
	T_EQ(once, 5 * RACE_TO);
}

/* All threads want one counter at once. */
static unsigned grabbed;

static void *grabber(void *arg)
{
	(void)arg;
	for (uint64_t c = 0; c < 3000; c++) {
		pthread_barrier_wait(&start);
		if (ps_replay_commit(&r, c * 37 % 3000))
			__sync_fetch_and_add(&grabbed, 1);
	}
	return NULL;
}

static void test_grab(void)
{
	pthread_t thread[2];

	memset(&r, 0, sizeof(r));
	T_EQ(pthread_barrier_init(&start, NULL, 2), 0);
	for (int i = 0; i < 2; i++)
		T_EQ(pthread_create(&thread[i], NULL, grabber, NULL), 0);
	for (int i = 0; i < 2; i++)
		T_EQ(pthread_join(thread[i], NULL), 0);
	pthread_barrier_destroy(&start);
	T_EQ(grabbed, 3000);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_edges);
	T_RUN(test_naive);
	T_RUN(test_block);
	T_RUN(test_race);
	T_RUN(test_grab);
	return t_done();
}
