/* SPDX-License-Identifier: Apache-2.0
 *
 * Proxy addresses: what stands for the names of DNS resources towards applications. A (name,
 * resource) is given four IPv4 and four IPv6 addresses, as far as the resource has the family, at
 * its first A or AAAA query, and keeps them as long as the process lives: applications hold on to
 * what they resolved. Addresses are handed out in order and never returned; when they, or the
 * table, run out, that is an error and counted.
 *
 *     100.96.0.0/11                 from .0.1 on, without 100.100.111.0/24 and the last address
 *     fd00:2021:1111:8000::/107     from the first address on
 *
 * Source: spec tunnel §0, §1.5. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_NAMES_H
#define PENSTOCK_CORE_TUNNEL_DNS_NAMES_H
#include "base/idx.h"
#include "base/uuid.h"
#include "codec/dns_msg.h"
#include "core/tunnel/dns_pattern.h"

#define DNS_NAMES_NONE	 0xffffffffu
#define DNS_NAME_ADDRS	 4 /* of each family */
#define DNS_NAME_PROXIES (2 * DNS_NAME_ADDRS)
/* Index cells a name needs: one for itself, one for each address. */
#define DNS_NAMES_CELLS(names) idx_cap_for((names) * (1 + DNS_NAME_PROXIES))

struct dns_assigned {
	struct uuid resource;
	char domain[DNS_TEXT_CAP];			 /* lower case, without trailing dot */
	uint32_t v4[DNS_NAME_ADDRS], v6[DNS_NAME_ADDRS]; /* offsets in the ranges */
	bool has_v4, has_v6;
};

struct dns_names {
	struct dns_assigned *list; /* the caller's memory; in order of assignment */
	struct idx idx;
	uint64_t seed;
	uint32_t count, cap;
	uint32_t next_v4, next_v6; /* offsets */
	uint64_t full;		   /* refused: table or range exhausted */
};

/* Is it one of the addresses applications are given for names? */
bool dns_in_proxy_range(const struct ipaddr *a);

/* cells: DNS_NAMES_CELLS(cap) of them. */
void dns_names_init(struct dns_names *n, struct dns_assigned *list, uint32_t cap,
		    struct idx_cell *cells, uint32_t cell_cap, uint64_t seed);
/* The slot of (domain, resource), assigned now if it is new. A family the resource has now and had
 * not before is added. DNS_NAMES_NONE: no room (counted), or an empty or overlong domain. */
uint32_t dns_names_assign(struct dns_names *n, const char *domain, const struct uuid *resource,
			  enum dns_stack stack);
uint32_t dns_names_find(const struct dns_names *n, const char *domain, const struct uuid *resource);
uint32_t dns_names_by_address(const struct dns_names *n, const struct ipaddr *a);
const struct dns_assigned *dns_names_at(const struct dns_names *n, uint32_t slot);
/* Its addresses of a family (4, 6, or 0: IPv4 then IPv6) into out; how many. */
uint32_t dns_names_addresses(const struct dns_names *n, uint32_t slot, uint8_t family,
			     struct ipaddr out[DNS_NAME_PROXIES]);
#endif
