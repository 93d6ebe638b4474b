/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes through the tunnel device, in tables of their own, and the policy rules that lead there,
 * of each family:
 *
 *     32000: not from all fwmark 0xfd002021 lookup 0x2021fd00      networks
 *     32001: not from all fwmark 0xfd002021 lookup 0x2021fd01      client: attached networks,
 * nl_lan.h 32002: not from all fwmark 0xfd002021 lookup 0x2021fd02      client: the Internet 32003:
 * from <tunnel address> unreachable                     client
 *
 * Everything unmarked consults the tunnel's routes first; our own datagrams carry the mark and do
 * not. A default route in the tunnel takes neither the attached networks nor those of the first
 * table. What has the tunnel's address and no way into the tunnel (any more) leaves by no other
 * way. The routes vanish with the device; the rules do not, so they are removed at exit and, as a
 * leftover of a run that was killed, at the next start: a rule of ours is known by priority and
 * table. */
#ifndef PENSTOCK_IO_NL_ROUTE_H
#define PENSTOCK_IO_NL_ROUTE_H
#include <stddef.h>
#include "base/addr.h"
#include "io/nl.h"

#define NL_FWMARK	 0xfd002021u
#define NL_TABLE	 0x2021fd00u
#define NL_TABLE_LAN	 (NL_TABLE + 1)
#define NL_TABLE_DEFAULT (NL_TABLE + 2)
#define NL_TABLES	 3
#define NL_RULE_PRIORITY 32000u /* after an operator's own rules, before main (32766) */
#define NL_RULE_GUARD	 (NL_RULE_PRIORITY + NL_TABLES)
#define NL_ROUTES_MAX	 4096 /* routes one call handles */

struct nl_route_diff {
	size_t added, removed, kept, changed; /* changed: of another MTU now */
};

/* Make `want` the device's routes in the table: reads what is there, deletes what is too much, then
 * adds what is missing (so an exchange is atomic per route, not as a whole). Duplicates in want are
 * fine. A family the kernel lacks, and a route that came or went meanwhile, are no errors. 0; the
 * first other -errno after having tried all; -E2BIG above NL_ROUTES_MAX. diff may be NULL. */
int nl_route_set(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *want,
		 size_t want_len, struct nl_route_diff *diff, struct io_err *err);
/* The same; mtu[i] is the metric of want[i], 0: none, the device's MTU counts. A route that is
 * there with another one is exchanged in place. mtu may be NULL. */
int nl_route_set_mtu(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *want,
		     const uint16_t *mtu, size_t want_len, struct nl_route_diff *diff,
		     struct io_err *err);
/* One route of the table, whatever others there are: made, or exchanged in place; removed. One that
 * is not there is removed already. 0 or -errno. */
int nl_route_put(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *net, uint16_t mtu,
		 struct io_err *err);
int nl_route_remove(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *net,
		    struct io_err *err);

/* Remove every rule of ours of the family to that table (by priority and table: also what a killed
 * run left), then add the one above. family 4 or 6. A kernel without the family is -EOPNOTSUPP, for
 * the caller to shrug. */
int nl_rule_install(struct nl *nl, int family, uint32_t fwmark, uint32_t table, struct io_err *err);
/* Remove every rule of ours of the family; *removed (may be NULL) counts. None there is fine. */
int nl_rule_remove(struct nl *nl, int family, uint32_t table, size_t *removed, struct io_err *err);
/* The last rule above, for this address alone; and without one (family 4 or 6 of it). */
int nl_rule_guard(struct nl *nl, const struct ipaddr *from, struct io_err *err);
int nl_rule_unguard(struct nl *nl, int family, struct io_err *err);
#endif
