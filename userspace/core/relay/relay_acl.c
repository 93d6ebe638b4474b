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
	{.ip = {.family = 6}, .len = 127},		   /* unspecified, loopback */
	{.ip = {.family = 6, .b = {[10] = 0xff, [11] = 0xff}}, .len = 96}, /* IPv4-mapped */
	{.ip = {.family = 6, .b = {0xfe, 0x80}}, .len = 10},		   /* link-local */
	{.ip = {.family = 6, .b = {0xff}}, .len = 8},			   /* multicast */
};

int relay_acl_add(struct relay_acl *acl, const struct ipnet *net, bool allow)
{
	if (acl->n == RELAY_ACL_MAX)
		return -ENOSPC;
	acl->rules[acl->n++] = (struct relay_acl_rule){.net = *net, .allow = allow};
	return 0;
}

enum relay_acl_verdict relay_acl_check(const struct relay_acl *acl, const struct ipaddr *peer)
{
	for (uint32_t i = 0; i < acl->n; i++)
		if (ipnet_contains(&acl->rules[i].net, peer))
			return acl->rules[i].allow ? RELAY_ACL_ALLOW : RELAY_ACL_DENY;
	for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
		if (ipnet_contains(&never[i], peer))
			return RELAY_ACL_DENY;
	return peer->family ? RELAY_ACL_DEFAULT : RELAY_ACL_DENY;
}
