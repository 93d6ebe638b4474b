/* SPDX-License-Identifier: Apache-2.0
 *
 * The default router by rtnetlink: which interface and address it has for packets of ours, what is
 * not behind it, and its place in the neighbour table. */
#ifndef PENSTOCK_IO_NL_ROUTER_H
#define PENSTOCK_IO_NL_ROUTER_H
#include <net/if.h>
#include <stdbool.h>
#include "base/addr.h"
#include "base/netset.h"
#include "io/nl.h"

struct nl_router {
	int ifindex;
	char ifname[IFNAMSIZ];
	struct ipaddr gateway; /* of either family; family 0: the default route has none */
};

/* What the neighbour table has of somebody. */
struct nl_neigh {
	bool known; /* mac is to be used */
	bool fixed; /* it was told, not learnt */
	uint8_t mac[6];
	uint64_t confirmed_ms; /* so long ago, by the kernel's own account */
};

/* Where the default route of family 4 or 6 leads packets from src (family 0, or an address that is
 * not this host's: from any). 0; -ENETUNREACH: no default route; else -errno. */
int nl_router_find(struct nl *nl, int family, const struct ipaddr *src, struct nl_router *out);
/* Add every prefix of the family, in whatever table, that a route leads to otherwise than by r;
 * without loopback, multicast and IPv6 link-local ones. 0 or -errno. */
int nl_router_near(struct nl *nl, int family, const struct nl_router *r, struct netset *near);
/* The interface's Ethernet address. 0; -ENODEV: it has none, or is down; else -errno. */
int nl_router_mac(struct nl *nl, int ifindex, uint8_t mac[6]);

/* 0 (one that is not in the table is not known) or -errno. */
int nl_neigh_get(struct nl *nl, int ifindex, const struct ipaddr *ip, struct nl_neigh *out);
/* Have the kernel look for it; known: make sure that it is still there. 0 or -errno. */
int nl_neigh_ask(struct nl *nl, int ifindex, const struct ipaddr *ip, bool known);
#endif
