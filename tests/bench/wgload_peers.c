/* SPDX-License-Identifier: Apache-2.0
 *
 * What a packet costs the gateway by the number of peers that send: all of a link's peers in turn,
 * and the first alone, run after run, at the same rate. */
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "tests/bench/wgload.h"

#define ROUNDS_MAX 64

static double packet_ns(const struct wgl_run *r)
{
	return r->cpu.process_ns / (r->offered * r->seconds);
}

void wgl_peers(const struct wgl_find *f, double pps, uint32_t rounds)
{
	double all[ROUNDS_MAX], one[ROUNDS_MAX], ratio[ROUNDS_MAX], lost[2] = {0};
	const uint32_t n = f->link->n;
	struct wgl_run r;

	rounds = rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
	wgl_run(f, pps, &r); /* the first packets of sessions are another matter */
	for (uint32_t i = 0; i < rounds; i++) {
		wgl_run(f, pps, &r);
		all[i] = packet_ns(&r);
		lost[0] = r.loss > lost[0] ? r.loss : lost[0];
		f->link->n = 1;
		wgl_run(f, pps, &r);
		f->link->n = n;
		one[i] = packet_ns(&r);
		lost[1] = r.loss > lost[1] ? r.loss : lost[1];
		ratio[i] = one[i] > 0 ? all[i] / one[i] : 0;
	}
	qsort(all, rounds, sizeof(*all), bench_by_value);
	qsort(one, rounds, sizeof(*one), bench_by_value);
	qsort(ratio, rounds, sizeof(*ratio), bench_by_value);
	printf("{\"what\":\"peers\",\"peers\":%u,\"size\":%u,\"gso\":%s,\"pps\":%.0f,"
	       "\"rounds\":%u,\"all_ns\":%.0f,\"one_ns\":%.0f,\"all_min_ns\":%.0f,"
	       "\"one_min_ns\":%.0f,\"ratio\":%.3f,\"all_loss\":%.5f,\"one_loss\":%.5f}\n",
	       n, f->load->size, f->load->gso ? "true" : "false", pps, rounds, all[rounds / 2],
	       one[rounds / 2], all[0], one[0], ratio[rounds / 2], lost[0], lost[1]);
}
