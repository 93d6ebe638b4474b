/* SPDX-License-Identifier: Apache-2.0
 *
 * What the client's and the gateway's policy share: the resource as the portal describes it, the
 * decision about one packet, and the fixed address plan. */
#ifndef PENSTOCK_CORE_TUNNEL_TUNNEL_H
#define PENSTOCK_CORE_TUNNEL_TUNNEL_H
#include <stdbool.h>
#include <stdint.h>
#include "abi/reasons.h"
#include "base/addr.h"
#include "base/time.h"
#include "base/uuid.h"
#include "codec/icmp_error.h"
#include "codec/ip_packet.h"
#include "core/tunnel/filter.h"

#define TUNNEL_NO_SLOT	     0xffffffffu
#define TUNNEL_NO_RESOURCE   0xffffffffu /* flow with the gateway itself: its own tunnel address */
#define TUNNEL_NEVER_EXPIRES UINT64_MAX	 /* as an expiry in unix seconds */
#define TUNNEL_NAME_CAP	     64		 /* display names are cut to this, NUL included */
#define TUNNEL_ADDRESS_CAP   256	 /* longest DNS pattern, NUL included */
#define TUNNEL_DNS_PORT	     53535	 /* of a gateway's resolver, at its tunnel addresses */

enum tunnel_resource_type {
	TUNNEL_RESOURCE_CIDR,
	TUNNEL_RESOURCE_INTERNET,
	TUNNEL_RESOURCE_DNS,
};

struct tunnel_resource {
	struct uuid id;
	enum tunnel_resource_type type;
	struct ipnet net; /* CIDR; else zero */
	struct filter_set filters;
	char name[TUNNEL_NAME_CAP];
	char address[TUNNEL_ADDRESS_CAP]; /* DNS: the pattern; else may be empty */
};

/* How a packet is rewritten on its way (include/plan/nat.h): towards the resource its destination
 * becomes addr and its source port (or echo identifier) port, from the resource its source becomes
 * addr and its destination port (or echo identifier) port. */
struct tunnel_nat {
	bool on;
	struct ipaddr addr;
	uint16_t port;
};

/* The decision about one packet, next to its reason. */
struct tunnel_flow_grant {
	uint64_t expires_at; /* unix seconds; TUNNEL_NEVER_EXPIRES */
	uint32_t slot;	     /* peer */
	uint32_t resource;   /* slot of the resource that permits it, TUNNEL_NO_RESOURCE */
	bool allowed;
	bool cacheable; /* the whole flow is: an executor may pass later packets of the same 5-tuple
			   until expires_at or the peer's next generation */
	enum icmp_error reply; /* refused: what to tell the sender (rate limited by the shell) */
	struct tunnel_nat nat; /* allowed: so translated; the flow is the packet's as it came */
	/* Allowed: this packet goes instead of the one judged (a translated ICMP error); NULL:
	 * none. The policy's memory, valid until its next call. */
	const uint8_t *instead;
	uint16_t instead_len;
};

/* Address plan (the same for every deployment). */
bool tunnel_in_peer_range(const struct ipaddr *a);     /* 100.64.0.0/11, fd00:2021:1111::/107 */
bool tunnel_in_reserved_range(const struct ipaddr *a); /* 100.64.0.0/10, fd00:2021:1111::/48: peers,
							  proxies, sentinels; never a resource */
bool tunnel_in_proxy_range(const struct ipaddr *a); /* what DNS resources are given for addresses:
						       100.96.0.0/11 and fd00:2021:1111:8000::/107
						       without the resolvers' own */
/* May the Internet resource reach it? Not private, loopback, link-local, shared, multicast or
 * reserved space. */
bool tunnel_is_internet(const struct ipaddr *a);
/* Does the resource's network cover the address? DNS never does. */
bool tunnel_resource_covers(const struct tunnel_resource *r, const struct ipaddr *a);
/* Prefix length for "most specific wins": Internet counts as 0. */
uint8_t tunnel_resource_prefix_len(const struct tunnel_resource *r);
/* A unix expiry as monotonic ns, for the forwarding table: TUNNEL_NEVER_EXPIRES is TIME_NEVER, the
 * past is 1. */
uint64_t tunnel_expiry_ns(uint64_t expires_at, const struct wall *wall, uint64_t now);
/* Copy display text into a fixed buffer of cap bytes: cut before the UTF-8 character that does not
 * fit, always terminated, the rest zero. */
void tunnel_text_copy(char *dst, size_t cap, const char *src);
#endif
