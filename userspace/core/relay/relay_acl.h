/* SPDX-License-Identifier: Apache-2.0
 *
 * Which peers a relay may be used to reach. The owner's rules come first, the first that contains
 * the address decides; then the built-in list refuses what no peer on the Internet has: unspecified
 * and "this network", loopback, link-local, multicast, broadcast and reserved, IPv6 that stands for
 * IPv4 in a way nobody routes (mapped, compatible, translated) or hides it (Teredo, local NAT64);
 * anything else is allowed. Private addresses are: who wants them refused adds rules. An IPv6
 * address that a gateway turns into an IPv4 one (NAT64, 6to4) is refused with the latter.
 *
 * The relay's own addresses are relay.c's business. */
#ifndef PENSTOCK_CORE_RELAY_ACL_H
#define PENSTOCK_CORE_RELAY_ACL_H
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define RELAY_ACL_MAX 64

struct relay_acl_rule {
	struct ipnet net;
	bool allow;
};

struct relay_acl {
	struct relay_acl_rule rules[RELAY_ACL_MAX];
	uint32_t n;
};

enum relay_acl_verdict {
	RELAY_ACL_DENY,	   /* by a rule or the built-in list */
	RELAY_ACL_DEFAULT, /* allowed because nothing says otherwise */
	RELAY_ACL_ALLOW,   /* allowed by a rule */
};

/* 0, or -ENOSPC. */
int relay_acl_add(struct relay_acl *acl, const struct ipnet *net, bool allow);
/* The IPv4 address a NAT64 (RFC 6052's well-known prefix) or 6to4 gateway makes of it; false: none.
 */
bool relay_acl_inner(const struct ipaddr *peer, struct ipaddr *v4);
enum relay_acl_verdict relay_acl_check(const struct relay_acl *acl, const struct ipaddr *peer);
#endif
