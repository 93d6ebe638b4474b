/* SPDX-License-Identifier: Apache-2.0
 *
 * The attached networks, kept out of a default route through the tunnel: NL_TABLE_LAN holds a copy
 * of the main table's routes that lead to no gateway. Nothing follows the main table by itself:
 * after every change of the network the copy is made again. */
#ifndef PENSTOCK_IO_NL_LAN_H
#define PENSTOCK_IO_NL_LAN_H
#include <stdbool.h>
#include "io/nl.h"

#define NL_LAN_MAX 256 /* attached networks that are kept */

/* Copy: unicast, on link, neither a default route nor fe80::/10, loopback or multicast, and not by
 * skip_ifindex (the tunnel); and IPv4 multicast, by the interfaces of its default routes. Whatever
 * else the table holds is removed, first. 0; -E2BIG: there are more than NL_LAN_MAX, the rest is
 * left out; else -errno. */
int nl_lan_copy(struct nl *nl, int skip_ifindex, struct io_err *err);
/* Empty the table. */
int nl_lan_clear(struct nl *nl, struct io_err *err);
#endif
