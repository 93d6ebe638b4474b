/* SPDX-License-Identifier: Apache-2.0
 *
 * Which peers a relay may be used to reach. The owner's rules come first, the first that contains
 * the address decides; then the built-in list refuses what no peer on the Internet has: unspecified
 * and "this network", loopback, link-local, multicast, broadcast and reserved, IPv4-mapped IPv6;
 * anything else is allowed. Private addresses are: who wants them refused adds rules.
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
enum relay_acl_verdict relay_acl_check(const struct relay_acl *acl, const struct ipaddr *peer);
#endif
