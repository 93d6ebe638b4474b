/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of all peers are renewed by their timers while each peer sends a packet every other
 * second: are they renewed before they end, and does anything get lost? */
#include "tests/bench/wgload.h"
#include "io/loop.h"

#define EVERY_NS (2 * NS_PER_SEC)

void wgl_renew(const struct wgl_find *f, double pps, double seconds)
{
	const uint64_t end = loop_now() + (uint64_t)(seconds * 1e9);
	struct wgl_find each = *f;
	struct wgl_renewed r = {0};
	uint64_t sent = 0, got = 0, late = 0;
	struct wgl_cpu before, cpu;
	struct wgl_run run;
	unsigned runs = 0;

	each.exactly = f->link->n;
	f->link->ready(f->link);
	wgl_cpu_now(f->pid, &before);
	for (uint64_t next = loop_now(); next < end; next += EVERY_NS, runs++) {
		wgl_run(&each, pps, &run);
		sent += run.sent;
		got += run.got + run.late;
		late += run.late;
		f->link->serve(f->link, next + EVERY_NS, &r);
	}
	wgl_cpu_since(&before, f->pid, &cpu);
	printf("{\"what\":\"renew\",\"peers\":%u,\"seconds\":%.0f,\"runs\":%u,"
	       "\"renewed\":%llu,\"oldest_s\":%.1f,\"mean_s\":%.1f,\"lapsed\":%llu,"
	       "\"sent\":%llu,\"lost\":%lld,\"late\":%llu,\"gateway_cpu\":%.3f}\n",
	       f->link->n, seconds, runs, (unsigned long long)r.n, (double)r.oldest_ns / 1e9,
	       r.n ? (double)r.sum_ns / (double)r.n / 1e9 : 0, (unsigned long long)r.lapsed,
	       (unsigned long long)sent, (long long)(sent - got), (unsigned long long)late,
	       cpu.process_ns / (seconds * 1e9));
}
