/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's own addresses, as ICE host candidates, and a monitor that tells when they, the links
 * or the routes have changed. */
#ifndef PENSTOCK_IO_NL_ADDR_H
#define PENSTOCK_IO_NL_ADDR_H
#include <stdbool.h>
#include <stddef.h>
#include "base/addr.h"
#include "io/nl.h"

struct nl_addr {
	struct ipaddr ip;
	int ifindex;
	uint8_t prefix_len;
	bool temporary; /* IPv6 privacy address */
};

struct nl_addr_filter {
	int skip_ifindex;	     /* our tunnel device; 0: none */
	bool loopback;		     /* take addresses of lo too (tests on one host) */
	const struct ipnet *exclude; /* ranges never offered: the tunnel's own */
	size_t exclude_len;
};

/* Addresses of all interfaces that are up, without loopback, link-local, tentative, failed and
 * deprecated ones and the filter's; IPv4 first, in the kernel's order. At most cap; *len is what
 * was written. 0 or -errno. */
int nl_addr_list(struct nl *nl, const struct nl_addr_filter *filter, struct nl_addr *out,
		 size_t cap, size_t *len, struct io_err *err);

enum nl_change {
	NL_CHANGE_ADDR = 1,
	NL_CHANGE_LINK = 2,
	NL_CHANGE_ROUTE = 4,
	NL_CHANGE_LOST = 8, /* the kernel dropped notifications: assume anything */
};

#define NL_MONITOR_QUIET_MS 200	 /* this long without an event ends a burst */
#define NL_MONITOR_MAX_MS   2000 /* a burst is reported after this long at the latest */

struct nl_monitor;

/* Changes on skip_ifindex (our tunnel device) and in skip_table and the
 * NL_TABLES - 1 after it (our routes) are not reported. */
int nl_monitor_open(struct nl_monitor **out, int skip_ifindex, uint32_t skip_table,
		    struct io_err *err);
void nl_monitor_close(struct nl_monitor *m);
/* Poll this for reading and call nl_monitor_take when it is. */
int nl_monitor_fd(const struct nl_monitor *m);
/* A set of enum nl_change when a burst of changes has ended, 0 while it goes on. */
unsigned nl_monitor_take(struct nl_monitor *m);
#endif
