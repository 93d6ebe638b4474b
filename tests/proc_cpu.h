/* SPDX-License-Identifier: Apache-2.0
 *
 * Processor time of another process, by /proc/PID/stat (proc(5)): in ticks, so for runs of a second
 * and more. Not here: that of single threads, or of the machine. */
#ifndef PENSTOCK_TESTS_PROC_CPU_H
#define PENSTOCK_TESTS_PROC_CPU_H
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Seconds that all its threads have used, in user space and in the kernel. 0: no such process, or
 * pid is 0. */
static inline double proc_cpu_s(unsigned pid)
{
	char path[64], text[1024] = "";
	unsigned long user = 0, sys = 0;
	const char *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = pid ? fopen(path, "r") : NULL;
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	at = strrchr(text, ')');
	if (!at ||
	    sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
		return 0;
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}
#endif
