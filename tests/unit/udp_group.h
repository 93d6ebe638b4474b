/* SPDX-License-Identifier: Apache-2.0
 *
 * A group of tunnel sockets for the tests of it. Not for two source files of one program. */
#ifndef PENSTOCK_TESTS_UNIT_UDP_GROUP_H
#define PENSTOCK_TESTS_UNIT_UDP_GROUP_H
#include "io/udp.h"
#include "tests/t.h"

#define WORKERS_MAX 4

static struct udp *member[1 + WORKERS_MAX];
static unsigned workers;
static struct io_err err;

static inline bool members_open(unsigned n)
{
	workers = n;
	for (unsigned i = 1; i <= n; i++)
		if (!T_EQ(udp_open_member(&member[i], member[0], &err), 0))
			return false;
	return T_EQ(udp_steer(member[0], n, &err), 0);
}

static inline bool group_open(const struct udp_cfg *cfg, unsigned n)
{
	return T_EQ(udp_open(&member[0], cfg, &err), 0) && members_open(n);
}

static inline void members_close(void)
{
	for (unsigned i = workers; i > 0; i--)
		udp_close(member[i]);
	workers = 0;
}

static inline void group_close(void)
{
	members_close();
	udp_close(member[0]);
}
#endif
