/* SPDX-License-Identifier: Apache-2.0
 *
 * Small helpers of the io tests in namespaces: addresses from text, waiting for a descriptor, a
 * shell. */
#ifndef PENSTOCK_TESTS_NETNS_IO_HELP_H
#define PENSTOCK_TESTS_NETNS_IO_HELP_H
#include <poll.h>
#include <stdlib.h>
#include "base/addr.h"
#include "io/err.h"
#include "tests/t.h"

static struct io_err err; /* the last one */

static inline bool ok(int rc)
{
	if (rc < 0)
		t_note("rc %d: %s", rc, err.msg);
	return rc == 0;
}

static inline struct ipaddr addr(const char *text)
{
	struct ipaddr a = {0};

	T(ipaddr_parse(text, &a) == 0);
	return a;
}

static inline struct endpoint at(const char *text, uint16_t port)
{
	return (struct endpoint){.ip = addr(text), .port = port};
}

static inline struct ipnet net(const char *text)
{
	struct ipnet n = {0};

	T(ipnet_parse(text, &n) == 0);
	return n;
}

static inline bool readable(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, wait_ms) == 1;
}

/* Output of a command, first 64 KiB. */
static inline const char *shell(const char *cmd)
{
	static char out[65536];
	FILE *f = popen(cmd, "r");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;

	out[n] = '\0';
	if (f)
		pclose(f);
	return out;
}
#endif
