/* SPDX-License-Identifier: Apache-2.0
 *
 * What b_scale and b_scale_user share: sizes, chance, the packets of peer and flow, many beside
 * one.
 */
#ifndef PENSTOCK_BENCH_SCALE_H
#define PENSTOCK_BENCH_SCALE_H
#include "base/time.h"
#include "tests/bench/bench.h"
#include "tests/bpf/kworld.h"

#define RUNS	2000
#define WARM	200
#define FLOWS	1000000u
#define PEERS	10000u
#define SLOTS	16384u
#define ROUNDS	15
#define BATCHES 40
#define LEN	64

static uint64_t seed;

/* This thread's: who else is on the machine matters less. */
static inline uint64_t cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint32_t any(uint32_t n)
{
	return (uint32_t)(t_rand(&seed) % n);
}

/* Median of many by median of one. Sorts both. */
static inline double to_one(double *many, double *one, int n)
{
	qsort(many, (size_t)n, sizeof(*many), bench_by_value);
	qsort(one, (size_t)n, sizeof(*one), bench_by_value);
	return one[n / 2] > 0 ? many[n / 2] / one[n / 2] : 0;
}

static inline void print_pair(const char *bench, const char *metric, double *many, double *one,
			      int n, const char *mode)
{
	const double ratio = to_one(many, one, n);
	char more[128], env[64];

	snprintf(more, sizeof(more), "\"to_one\":%.3f,\"one\":%.1f", ratio, one[n / 2]);
	snprintf(env, sizeof(env), "\"mode\":\"%s\"", mode);
	bench_print_more(bench, metric, "ns", many, n, more, env);
}

/* Flow i is peer p's. */
static inline struct kinner inner_of(uint32_t p, uint32_t i)
{
	struct kinner in = kw_inner(4, 17, LEN - 28);

	in.saddr[2] = (uint8_t)(p >> 8);
	in.saddr[3] = (uint8_t)p;
	in.sport = (uint16_t)(1024 + i % 50000);
	in.daddr[1] = (uint8_t)(100 + i / 50000);
	return in;
}

static inline struct kinner back_of(uint32_t p, uint32_t i)
{
	struct kinner in = inner_of(p, i), back = kw_inner_back(4, 17, LEN - 28);

	memcpy(back.saddr, in.daddr, 4);
	memcpy(back.daddr, in.saddr, 4);
	back.dport = in.sport;
	return back;
}

#endif
