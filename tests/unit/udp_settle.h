/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for what was sent over loopback, without a clock, for the tests of sockets. Not for two
 * source files of one program. */
#ifndef PENSTOCK_TESTS_UNIT_UDP_SETTLE_H
#define PENSTOCK_TESTS_UNIT_UDP_SETTLE_H
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "tests/t.h"

/* Once, before anything is sent: see settle(). */
static void stay_here(void)
{
	int cpu = sched_getcpu();
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

/* Wait until all that was sent has arrived: loopback queues by processor and in order, so a
 * datagram of our own, sent last from the same processor, comes last. */
static void settle(void)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
	} sa = {.v4 = {.sin_family = AF_INET}};
	struct timeval limit = {.tv_sec = 5};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char c = 0;

	sa.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	T_EQ(bind(fd, &sa.sa, sizeof(sa.v4)), 0);
	T_EQ(getsockname(fd, &sa.sa, &len), 0);
	T_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	T_EQ(sendto(fd, &c, 1, 0, &sa.sa, len), 1);
	T_EQ(recv(fd, &c, 1, 0), 1);
	close(fd);
}
#endif
