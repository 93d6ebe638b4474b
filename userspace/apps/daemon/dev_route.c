/* SPDX-License-Identifier: Apache-2.0
 *
 * Which packets of the host come to the tunnel device: policy rules, the tables they lead to
 * (io/nl_route.h), and, while a client's default routes lead into the tunnel, what else that needs:
 * attached networks stay where they are, and the answers to our own packets pass the host's
 * reverse-path filter. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/daemon/daemon.h"
#include "io/nl_lan.h"
#include "io/sysctl.h"

static const char *sysctl_file(const struct daemon *d, char *buf, size_t cap)
{
	snprintf(buf, cap, "%s.sysctl", d->state_prefix);
	return buf;
}

/* Answers to our own packets arrive where the way back, looked up without their mark, does not
 * lead: strict reverse-path filtering would drop them. */
static void loosen_filter(struct daemon *d)
{
	struct io_err err = {""};
	struct nl_hop hop;
	char path[128];

	if (nl_link_default(d->nl, 4, NL_FWMARK, &hop, NULL))
		return;
	d->sysctl_on = true;
	if (sysctl_loosen(sysctl_file(d, path, sizeof(path)), hop.ifname, &err))
		LOG_WARN("device", "strict reverse-path filtering may drop the tunnel's packets",
			 LOG_STR("interface", hop.ifname), LOG_STR("error", err.msg));
}

void dev_restore_sysctls(struct daemon *d)
{
	struct io_err err = {""};
	char path[128];

	if (d->sysctl_on && sysctl_restore(sysctl_file(d, path, sizeof(path)), &err))
		LOG_WARN("device", "sysctls not restored", LOG_STR("error", err.msg));
	d->sysctl_on = false;
}

/* How many of the routing tables the role has. */
static uint32_t n_tables(const struct daemon *d)
{
	return d->role->gateway ? 1 : NL_TABLES;
}

void dev_open_rules(struct daemon *d)
{
	struct io_err err = {""};

	if (!d->role->gateway) { /* what a killed run left */
		nl_lan_clear(d->nl, NULL);
		d->sysctl_on = true;
		dev_restore_sysctls(d);
	}
	for (int family = 4; family <= 6; family += 2) {
		int rc = nl_rule_unguard(d->nl, family, &err);

		for (uint32_t i = 0; !rc && i < n_tables(d); i++)
			rc = nl_rule_install(d->nl, family, NL_FWMARK, NL_TABLE + i, &err);
		if (rc)
			LOG_WARN("device", "no policy rule", LOG_U64("family", (uint64_t)family),
				 LOG_STR("error", err.msg));
	}
	d->rules_on = true;
}

void dev_close_rules(struct daemon *d)
{
	for (int family = 4; d->rules_on && family <= 6; family += 2) {
		for (uint32_t i = 0; i < n_tables(d); i++)
			nl_rule_remove(d->nl, family, NL_TABLE + i, NULL, NULL);
		nl_rule_unguard(d->nl, family, NULL);
	}
	if (d->internet_routed)
		nl_lan_clear(d->nl, NULL);
}

void dev_guard(struct daemon *d, const struct ipaddr *a)
{
	struct io_err err = {""};

	if (!d->role->gateway && nl_rule_guard(d->nl, a, &err))
		LOG_WARN("device", "packets with the tunnel's address are not held back",
			 LOG_IP("address", a), LOG_STR("error", err.msg));
}

static int set_table(struct daemon *d, uint32_t table, const struct ipnet *nets, uint32_t n)
{
	struct nl_route_diff diff = {0};
	struct io_err err = {""};
	uint16_t *mtu = calloc(n ? n : 1, sizeof(*mtu));
	int rc;

	if (!mtu)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		mtu[i] = mtu_of_route(d, &nets[i]);
	rc = nl_route_set_mtu(d->nl, table, tun_ifindex(d->tun), nets, mtu, n, &diff, &err);
	free(mtu);
	if (rc)
		LOG_ERROR("device", "routes not set", LOG_STR("error", err.msg),
			  LOG_ERRNO("errno", rc));
	if (diff.changed)
		LOG_DEBUG("device", "routes of another MTU", LOG_U64("changed", diff.changed));
	if (!rc && (diff.added || diff.removed))
		LOG_INFO("device", "setting new routes", LOG_U64("added", diff.added),
			 LOG_U64("removed", diff.removed), LOG_U64("total", n));
	return rc;
}

void dev_follow_network(struct daemon *d)
{
	struct io_err err = {""};

	if (!d->internet_routed)
		return;
	loosen_filter(d);
	if (nl_lan_copy(d->nl, tun_ifindex(d->tun), &err))
		LOG_WARN("device", "attached networks may be out of reach",
			 LOG_STR("error", err.msg));
}

/* Whatever goes, goes first; the attached networks are spared before a default route comes. */
int dev_set_routes(struct daemon *d, const struct ipnet *nets, uint32_t n)
{
	struct ipnet all[2], *rest = calloc(n ? n : 1, sizeof(*rest));
	uint32_t n_all = 0, n_rest = 0;
	struct io_err err = {""};
	int rc = 0, rest_rc;

	if (!rest)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (nets[i].len)
			rest[n_rest++] = nets[i];
		else if (n_all < 2)
			all[n_all++] = nets[i];
	if (!n_all && d->internet_routed) {
		rc = set_table(d, NL_TABLE_DEFAULT, NULL, 0);
		nl_lan_clear(d->nl, &err);
		dev_restore_sysctls(d);
		LOG_INFO("device", "the Internet is not routed through the tunnel any more");
	} else if (n_all && !d->internet_routed) {
		LOG_INFO("device", "the Internet is routed through the tunnel");
	}
	d->internet_routed = n_all || rc; /* the next call tries again */
	dev_follow_network(d);
	rest_rc = set_table(d, NL_TABLE, rest, n_rest);
	free(rest);
	if (n_all)
		rc = set_table(d, NL_TABLE_DEFAULT, all, n_all);
	return rest_rc ? rest_rc : rc;
}
