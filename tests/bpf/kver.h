/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of the two BPF objects this kernel takes. By version and not by trying: a newer kernel that
 * refuses the object with hidden keys is a failure, not an older one. */
#ifndef PENSTOCK_TESTS_KVER_H
#define PENSTOCK_TESTS_KVER_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* Only the object for kernels before 6.4: this is one, or PENSTOCK_BPF_PLAIN=1 says so, as it does
 * to the loader. */
static inline bool kver_plain_only(void)
{
	const char *env = getenv("PENSTOCK_BPF_PLAIN");
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (env && strcmp(env, "1") == 0)
		return true;
	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major < 6 || (major == 6 && minor < 4));
}

/* Does the loader steer here (io/bpf_steer.c)? */
static inline bool kver_steers(void)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 18));
}
#endif
