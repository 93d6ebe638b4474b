/* SPDX-License-Identifier: Apache-2.0
 *
 * Interfaces by rtnetlink: state and limits of the tunnel device, its addresses, and which
 * interface a destination is reached by. */
#ifndef PENSTOCK_IO_NL_LINK_H
#define PENSTOCK_IO_NL_LINK_H
#include <net/if.h>
#include <stdbool.h>
#include "base/addr.h"
#include "io/nl.h"

struct nl_link_cfg {
	uint32_t mtu;	     /* 0: leave */
	uint32_t txqueuelen; /* 0: leave */
	bool no_ll6;	     /* no IPv6 link-local address is generated (addrgenmode none) */
	bool up;
};

/* Where the kernel would send to a destination. */
struct nl_hop {
	int ifindex;
	char ifname[IFNAMSIZ];
	struct ipaddr src;     /* source it would choose; family 0: none said */
	struct ipaddr gateway; /* family 0: on link */
};

int nl_link_set(struct nl *nl, int ifindex, const struct nl_link_cfg *cfg, struct io_err *err);
/* Delete every address of the interface. 0 or -errno. */
int nl_link_addr_flush(struct nl *nl, int ifindex, struct io_err *err);
/* Add one address; one that is there already is fine. IPv6 ones skip duplicate address detection.
 * 0; -EOPNOTSUPP when the kernel lacks the family; else -errno. */
int nl_link_addr_add(struct nl *nl, int ifindex, const struct ipaddr *ip, uint8_t prefix_len,
		     struct io_err *err);
int nl_link_addr_del(struct nl *nl, int ifindex, const struct ipaddr *ip, uint8_t prefix_len,
		     struct io_err *err);
/* The kernel's route to dst for packets that carry fwmark (ours: so that our own rule and table do
 * not count). 0; -ENETUNREACH and the like when there is none. */
int nl_link_route_to(struct nl *nl, const struct ipaddr *dst, uint32_t fwmark, struct nl_hop *out,
		     struct io_err *err);
/* The interface of the default route of family 4 or 6, as above. */
int nl_link_default(struct nl *nl, int family, uint32_t fwmark, struct nl_hop *out,
		    struct io_err *err);
/* Whether the interface exists and is administratively up. 1, 0 or -errno. */
int nl_link_is_up(struct nl *nl, int ifindex);
/* Its MTU, or -errno. */
int nl_link_mtu(struct nl *nl, int ifindex);
#endif
