/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables below nat.h: slots, lists and indices of mappings, sessions and tombstones. No policy, no
 * packets. */
#ifndef PENSTOCK_CORE_TUNNEL_NAT_TABLE_H
#define PENSTOCK_CORE_TUNNEL_NAT_TABLE_H
#include "core/tunnel/nat.h"

/* An inside or an outside; hashed as bytes. */
struct nat_key {
	uint32_t client;
	uint16_t port;
	uint8_t kind; /* enum nat_kind; 0: of a mapping */
	uint8_t family;
	uint8_t addr[16];
};
_Static_assert(sizeof(struct nat_key) == 24, "nat_key is hashed without padding");

/* The protocol as sessions see it; 0: none that has ports. */
uint8_t nat_kind_of(const struct ip_meta *m);
struct nat_key nat_key_of(uint32_t client, uint8_t kind, uint16_t port, const struct ipaddr *a);

/* All return a slot or NAT_NONE. */
uint32_t nat_mapping_find(const struct nat *n, uint32_t client, const struct ipaddr *proxy);
uint32_t nat_inside_find(const struct nat *n, const struct nat_key *k);
uint32_t nat_outside_find(const struct nat *n, const struct nat_key *k);
uint32_t nat_tomb_find(const struct nat *n, const struct nat_key *k);

/* A mapping without a real address. NAT_NONE: no room (counted). */
uint32_t nat_mapping_make(struct nat *n, uint32_t client, const struct ipaddr *proxy);
/* It has no sessions any more. */
void nat_mapping_free(struct nat *n, uint32_t mapping);

/* A session of the mapping, to its real address; NAT_NONE: no room or no port (counted). */
uint32_t nat_session_make(struct nat *n, uint32_t mapping, uint8_t kind, uint16_t inside,
			  uint64_t now);
/* With a tombstone, unless the client goes with it. */
void nat_session_end(struct nat *n, uint32_t session, bool tomb, uint64_t now);

/* The one connection it served has ended. */
bool nat_session_is_closed(const struct nat_session *s);

void nat_tomb_remove(struct nat *n, uint32_t tomb);
/* The oldest goes when it is over, or in any case. False: none did. */
bool nat_tomb_pop(struct nat *n, uint64_t now, bool any);

void nat_hit_fill(const struct nat *n, uint32_t session, bool to_resource, struct nat_hit *hit);
#endif
