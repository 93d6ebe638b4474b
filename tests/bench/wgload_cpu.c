/* SPDX-License-Identifier: Apache-2.0
 * Processor time of the gateway's threads and of the whole machine, softirqs apart. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/wgload.h"
#include "tests/proc_cpu.h"

/* In nanoseconds; where the kernel has no schedstat, by ticks. */
static double process_ns(int pid)
{
	char path[512];
	double sum = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = pid ? opendir(path) : NULL;
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		double ns = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!f)
			continue;
		if (fscanf(f, "%lf", &ns) == 1)
			sum += ns;
		fclose(f);
	}
	closedir(d);
	return sum > 0 ? sum : 1e9 * proc_cpu_s((unsigned)pid);
}

void wgl_cpu_now(int pid, struct wgl_cpu *out)
{
	const double tick = 1e9 / (double)sysconf(_SC_CLK_TCK);
	unsigned long v[8] = {0};
	FILE *f = fopen("/proc/stat", "r");

	*out = (struct wgl_cpu){.process_ns = process_ns(pid)};
	if (!f)
		return;
	if (fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &v[0], &v[1], &v[2], &v[3], &v[4],
		   &v[5], &v[6], &v[7]) == 8) {
		out->busy_ns = (double)(v[0] + v[1] + v[2] + v[5] + v[6]) * tick;
		out->soft_ns = (double)v[6] * tick;
		out->all_ns = out->busy_ns + (double)(v[3] + v[4] + v[7]) * tick;
	}
	fclose(f);
}

void wgl_cpu_since(const struct wgl_cpu *then, int pid, struct wgl_cpu *out)
{
	wgl_cpu_now(pid, out);
	out->process_ns -= then->process_ns;
	out->busy_ns -= then->busy_ns;
	out->soft_ns -= then->soft_ns;
	out->all_ns -= then->all_ns;
}
