/* SPDX-License-Identifier: Apache-2.0
 *
 * What a resource lets through: TCP and UDP port ranges and ICMP. An empty set permits everything,
 * the first entry makes it a list of what is allowed. Overlapping resources are additive: a packet
 * passes if any of the sets whose network covers it permits it, so no union set is ever built. */
#ifndef PENSTOCK_CORE_TUNNEL_FILTER_H
#define PENSTOCK_CORE_TUNNEL_FILTER_H
#include <stdbool.h>
#include <stdint.h>
#include "codec/ip_packet.h"

#define FILTER_RANGES_CAP 64 /* disjoint port ranges of one resource; operators use a handful */

struct filter_range {
	uint16_t first, last; /* inclusive */
	uint8_t proto;	      /* IP_PROTO_TCP or IP_PROTO_UDP */
	uint8_t pad;
};

struct filter_set {
	uint8_t range_count;
	bool icmp;
	bool restricted; /* false: everything is permitted */
	uint8_t pad;
	struct filter_range ranges[FILTER_RANGES_CAP]; /* sorted, disjoint, not adjacent */
};

/* Which port of the packet is the resource's: the destination port of what goes to it, the source
 * port of what comes from it. */
enum filter_side { FILTER_TO_RESOURCE, FILTER_FROM_RESOURCE };

/* Everything permitted. */
void filter_set_init(struct filter_set *f);
/* Ranges merge. 0; -EINVAL: other protocol or first > last; -E2BIG: more disjoint ranges than fit
 * (the set is then unchanged, and must not be used as if it were complete). */
int filter_set_add_ports(struct filter_set *f, uint8_t proto, uint16_t first, uint16_t last);
void filter_set_add_icmp(struct filter_set *f);
bool filter_set_permits(const struct filter_set *f, const struct ip_meta *m, enum filter_side side);
bool filter_set_eq(const struct filter_set *a, const struct filter_set *b);
#endif
