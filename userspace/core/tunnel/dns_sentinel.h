/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentinels: the addresses the host is told to resolve with, one for each upstream resolver and of
 * its family. When the set of upstreams changes every one gets a sentinel that was not in use
 * before, so that the host takes it for another server and forgets what it cached.
 *
 *     100.100.111.0/24 from .1 on           fd00:2021:1111:8000:100:100:111:0/120 from the first on
 *
 * Source: spec tunnel §1.3. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_SENTINEL_H
#define PENSTOCK_CORE_TUNNEL_DNS_SENTINEL_H
#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"

#define DNS_UPSTREAMS_CAP 16 /* the portal sends no more; half a sentinel range is plenty */

struct dns_upstream {
	struct endpoint at;
	struct ipaddr sentinel;
	bool via_tunnel; /* its packets are a resource's: see dns_upstream_via_tunnel */
};

struct dns_sentinels {
	struct dns_upstream list[DNS_UPSTREAMS_CAP];
	uint32_t count;
	bool from_portal;
	uint32_t generation; /* bumped by every change */
	uint64_t surplus;    /* upstreams left out because there were too many */
};

bool dns_in_sentinel_range(const struct ipaddr *a);
void dns_sentinels_init(struct dns_sentinels *s);
/* The portal's list if anything of it is usable, else the system's. Addresses in the
 * sentinel ranges, duplicates and entries without address or port are left out. true: the mapping
 * is another one now. Where nothing but the origin changed the sentinels stay (false). */
bool dns_sentinels_update(struct dns_sentinels *s, const struct endpoint *portal,
			  uint32_t portal_count, const struct endpoint *system,
			  uint32_t system_count);
/* The upstream a sentinel stands for; NULL: none. */
const struct dns_upstream *dns_sentinels_find(const struct dns_sentinels *s,
					      const struct ipaddr *sentinel);
/* Do queries to an upstream go through the tunnel? Only the portal's resolvers do, when the active
 * resources cover their address (spec §1.6). */
bool dns_upstream_via_tunnel(bool from_portal, bool internet_active, bool cidr_covers);
#endif
