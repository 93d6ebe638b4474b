/* SPDX-License-Identifier: Apache-2.0
 *
 * What the benchmarks share: one JSON line a result, with the machine it was had on. */
#ifndef PENSTOCK_BENCH_H
#define PENSTOCK_BENCH_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *bench_filter;

static inline bool bench_wanted(const char *bench)
{
	return !bench_filter || strstr(bench, bench_filter);
}

static inline int bench_by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline const char *bench_cpu(void)
{
	static char model[128] = "unknown";
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "model name : %127[^\n\"\\]", model) == 1)
			break;
	if (f)
		fclose(f);
	return model;
}

/* Sorts v. more: further members, as JSON text without braces, "" for none; extra: of "env". */
static inline void bench_print_more(const char *bench, const char *metric, const char *unit,
				    double *v, int n, const char *more, const char *extra)
{
	struct utsname u;

	uname(&u);
	qsort(v, (size_t)n, sizeof(*v), bench_by_value);
	printf("{\"bench\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\",\"median\":%.1f,\"min\":%.1f,"
	       "\"max\":%.1f,\"n\":%d%s%s,\"env\":{\"kernel\":\"%s\",\"cpu\":\"%s\",\"cpus\":%ld,%"
	       "s}}"
	       "\n",
	       bench, metric, unit, v[n / 2], v[0], v[n - 1], n, *more ? "," : "", more, u.release,
	       bench_cpu(), sysconf(_SC_NPROCESSORS_ONLN), extra);
}

static inline void bench_print(const char *bench, const char *metric, const char *unit, double *v,
			       int n, const char *extra)
{
	bench_print_more(bench, metric, unit, v, n, "", extra);
}
#endif
