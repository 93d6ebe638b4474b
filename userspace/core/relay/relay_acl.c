/* SPDX-License-Identifier: Apache-2.0
 * See relay_acl.h. */
#include "core/relay/relay_acl.h"

#include <errno.h>
#include <stddef.h>

/* What is never a peer (RFC 6890's special addresses that are not private ones). */
static const struct ipnet never[] = {
	{.ip = {.family = 4, .b = {0}}, .len = 8},	   /* "this network", unspecified */
	{.ip = {.family = 4, .b = {127}}, .len = 8},	   /* loopback */
	{.ip = {.family = 4, .b = {169, 254}}, .len = 16}, /* link-local, cloud metadata */
	{.ip = {.family = 4, .b = {224}}, .len = 4},	   /* multicast */
	{.ip = {.family = 4, .b = {240}}, .len = 4},	   /* reserved, broadcast */
	{.ip = {.family = 6}, .len = 96}, /* unspecified, loopback, IPv4-compatible */
	{.ip = {.family = 6, .b = {[10] = 0xff, [11] = 0xff}}, .len = 96},  /* IPv4-mapped */
	{.ip = {.family = 6, .b = {[8] = 0xff, [9] = 0xff}}, .len = 96},    /* IPv4-translated */
	{.ip = {.family = 6, .b = {0, 0x64, 0xff, 0x9b, 0, 1}}, .len = 48}, /* local NAT64 */
	{.ip = {.family = 6, .b = {0x20, 1}}, .len = 32},		    /* Teredo */
	{.ip = {.family = 6, .b = {0xfe, 0x80}}, .len = 10},		    /* link-local */
	{.ip = {.family = 6, .b = {0xff}}, .len = 8},			    /* multicast */
};

int relay_acl_add(struct relay_acl *acl, const struct ipnet *net, bool allow)
{
	if (acl->n == RELAY_ACL_MAX)
		return -ENOSPC;
	acl->rules[acl->n++] = (struct relay_acl_rule){.net = *net, .allow = allow};
	return 0;
}

bool relay_acl_inner(const struct ipaddr *peer, struct ipaddr *v4)
{
	static const struct ipnet nat64 = {.ip = {.family = 6, .b = {0, 0x64, 0xff, 0x9b}},
					   .len = 96};
	static const struct ipnet six_to_four = {.ip = {.family = 6, .b = {0x20, 2}}, .len = 16};

	if (ipnet_contains(&nat64, peer))
		*v4 = ipaddr_from(4, peer->b + 12);
	else if (ipnet_contains(&six_to_four, peer))
		*v4 = ipaddr_from(4, peer->b + 2);
	else
		return false;
	return true;
}

enum relay_acl_verdict relay_acl_check(const struct relay_acl *acl, const struct ipaddr *peer)
{
	struct ipaddr v4;

	for (uint32_t i = 0; i < acl->n; i++)
		if (ipnet_contains(&acl->rules[i].net, peer))
			return acl->rules[i].allow ? RELAY_ACL_ALLOW : RELAY_ACL_DENY;
	for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
		if (ipnet_contains(&never[i], peer))
			return RELAY_ACL_DENY;
	if (relay_acl_inner(peer, &v4) && relay_acl_check(acl, &v4) == RELAY_ACL_DENY)
		return RELAY_ACL_DENY;
	return peer->family ? RELAY_ACL_DEFAULT : RELAY_ACL_DENY;
}
