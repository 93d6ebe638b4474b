/* SPDX-License-Identifier: Apache-2.0
 *
 * RTM_*ROUTE and RTM_*RULE. Both lists are read from the kernel before they are changed, so there
 * is no state of our own that could disagree with it. */
#include "io/nl_route.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

struct route_list {
	uint32_t table;
	int ifindex;
	struct ipnet *net; /* [NL_ROUTES_MAX] */
	uint16_t *mtu;	   /* the same number; 0: none */
	size_t len;
};

static int af_of(int family)
{
	return family == 4 ? AF_INET : AF_INET6;
}

static uint16_t mtu_of(const struct nlattr *metrics)
{
	const char *end = (const char *)metrics + mnl_attr_get_len(metrics);
	const struct nlattr *attr = mnl_attr_get_payload(metrics);
	uint32_t mtu = 0;

	for (; mnl_attr_ok(attr, (int)(end - (const char *)attr)); attr = mnl_attr_next(attr))
		if (mnl_attr_get_type(attr) == RTAX_MTU &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			mtu = mnl_attr_get_u32(attr);
	return mtu > UINT16_MAX ? 0 : (uint16_t)mtu;
}

static int route_collect(const struct nlmsghdr *msg, void *arg)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(msg);
	struct route_list *list = arg;
	uint8_t family = rt->rtm_family == AF_INET ? 4 : 6;
	size_t want = family == 4 ? 4 : 16;
	uint32_t table = rt->rtm_table;
	struct ipnet net = {.ip.family = family, .len = rt->rtm_dst_len};
	struct nlattr *attr;
	uint16_t mtu = 0;
	int oif = 0;

	if (msg->nlmsg_type != RTM_NEWROUTE || rt->rtm_type != RTN_UNICAST)
		return 0;
	nl_attr_each (attr, msg, sizeof(*rt)) {
		unsigned type = mnl_attr_get_type(attr);

		if (type == RTA_TABLE)
			table = mnl_attr_get_u32(attr);
		else if (type == RTA_OIF)
			oif = (int)mnl_attr_get_u32(attr);
		else if (type == RTA_DST && mnl_attr_get_payload_len(attr) == want)
			net.ip = ipaddr_from(family, mnl_attr_get_payload(attr));
		else if (type == RTA_METRICS)
			mtu = mtu_of(attr);
	}
	if (table != list->table || oif != list->ifindex)
		return 0;
	if (list->len == NL_ROUTES_MAX)
		return -E2BIG;
	list->mtu[list->len] = mtu;
	list->net[list->len++] = net;
	return 0;
}

static int routes_read(struct nl *nl, int family, struct route_list *list)
{
	struct rtmsg *rt;
	struct nlmsghdr *msg;
	size_t len = list->len;
	int rc = 0;

	/* A dump that another change interrupted is incomplete: once more, from where we began. */
	for (int try = 0; try < 8; try++) {
		msg = nl_begin(nl, RTM_GETROUTE, NLM_F_DUMP, sizeof(*rt), &rt);
		rt->rtm_family = (uint8_t)af_of(family);
		list->len = len;
		rc = nl_run(nl, msg, route_collect, list);
		if (rc != -EAGAIN)
			break;
	}
	return rc;
}

static int route_change(struct nl *nl, uint16_t type, uint16_t flags, uint32_t table, int ifindex,
			const struct ipnet *net, uint16_t mtu)
{
	struct nlattr *metrics;
	struct rtmsg *rt;
	struct nlmsghdr *msg = nl_begin(nl, type, flags, sizeof(*rt), &rt);
	int rc;

	rt->rtm_family = (uint8_t)af_of(net->ip.family);
	rt->rtm_dst_len = net->len;
	rt->rtm_table = RT_TABLE_UNSPEC;
	rt->rtm_protocol = RTPROT_STATIC;
	rt->rtm_scope = RT_SCOPE_UNIVERSE;
	rt->rtm_type = RTN_UNICAST;
	mnl_attr_put(msg, RTA_DST, ipaddr_size(&net->ip), net->ip.b);
	mnl_attr_put_u32(msg, RTA_OIF, (uint32_t)ifindex);
	mnl_attr_put_u32(msg, RTA_TABLE, table);
	if (mtu) {
		metrics = mnl_attr_nest_start(msg, RTA_METRICS);
		mnl_attr_put_u32(msg, RTAX_MTU, mtu);
		mnl_attr_nest_end(msg, metrics);
	}
	rc = nl_run(nl, msg, NULL, NULL);
	switch (rc) {
	case -EEXIST:
	case -ENOENT:
	case -ESRCH:
	case -EOPNOTSUPP:
	case -EAFNOSUPPORT:
		return 0;
	default:
		return rc;
	}
}

/* Index of net, len: it is not there. */
static size_t net_find(const struct ipnet *set, size_t len, const struct ipnet *net)
{
	size_t i = 0;

	while (i < len && !ipnet_eq(&set[i], net))
		i++;
	return i;
}

static int fail(struct io_err *err, int rc, const char *what, const struct ipnet *net)
{
	char text[IPNET_STRLEN];

	return io_fail(err, rc, "%s %s: %s", what, ipnet_fmt(net, text), strerror(-rc));
}

int nl_route_put(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *net, uint16_t mtu,
		 struct io_err *err)
{
	int rc = route_change(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, table, ifindex, net,
			      mtu);

	return rc < 0 ? fail(err, rc, "route", net) : 0;
}

int nl_route_remove(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *net,
		    struct io_err *err)
{
	int rc = route_change(nl, RTM_DELROUTE, 0, table, ifindex, net, 0);

	return rc < 0 ? fail(err, rc, "removing route", net) : 0;
}

struct want {
	const struct ipnet *net;
	const uint16_t *mtu; /* NULL: none */
	size_t len;
};

static int routes_apply(struct nl *nl, const struct route_list *have, const struct want *want,
			struct nl_route_diff *diff, struct io_err *err)
{
	int first = 0, rc;

	for (size_t i = 0; i < have->len; i++) {
		if (net_find(want->net, want->len, &have->net[i]) < want->len)
			continue;
		diff->removed++;
		rc = nl_route_remove(nl, have->table, have->ifindex, &have->net[i],
				     first ? NULL : err);
		if (!first)
			first = rc;
	}
	for (size_t i = 0; i < want->len; i++) {
		size_t at = net_find(have->net, have->len, &want->net[i]);
		uint16_t mtu = want->mtu ? want->mtu[i] : 0;

		if (net_find(want->net, i, &want->net[i]) < i)
			continue;
		if (at < have->len && have->mtu[at] == mtu) {
			diff->kept++;
			continue;
		}
		if (at < have->len)
			diff->changed++;
		else
			diff->added++;
		rc = nl_route_put(nl, have->table, have->ifindex, &want->net[i], mtu,
				  first ? NULL : err);
		if (!first)
			first = rc;
	}
	return first;
}

int nl_route_set_mtu(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *want,
		     const uint16_t *mtu, size_t want_len, struct nl_route_diff *diff,
		     struct io_err *err)
{
	struct route_list have = {.table = table, .ifindex = ifindex};
	struct nl_route_diff unused;
	int rc;

	if (!diff)
		diff = &unused;
	*diff = (struct nl_route_diff){0};
	if (want_len > NL_ROUTES_MAX)
		return io_fail(err, -E2BIG, "%zu routes are more than %d", want_len, NL_ROUTES_MAX);
	have.net = calloc(NL_ROUTES_MAX, sizeof(*have.net));
	have.mtu = calloc(NL_ROUTES_MAX, sizeof(*have.mtu));
	rc = have.net && have.mtu ? routes_read(nl, 4, &have) : -ENOMEM;
	if (rc == 0) {
		rc = routes_read(nl, 6, &have);
		if (rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT)
			rc = 0;
	}
	if (rc < 0)
		io_fail(err, rc, "reading routes of table 0x%x: %s", table, strerror(-rc));
	else
		rc = routes_apply(nl, &have, &(struct want){want, mtu, want_len}, diff, err);
	free(have.net);
	free(have.mtu);
	return rc;
}

int nl_route_set(struct nl *nl, uint32_t table, int ifindex, const struct ipnet *want,
		 size_t want_len, struct nl_route_diff *diff, struct io_err *err)
{
	return nl_route_set_mtu(nl, table, ifindex, want, NULL, want_len, diff, err);
}

/* ---- policy rules -------------------------------------------------------------------------------
 */

#define NO_TABLE 0u /* of the guard */

struct rule_count {
	uint32_t table;
	size_t ours;
};

static uint32_t rule_priority(uint32_t table)
{
	return table == NO_TABLE ? NL_RULE_GUARD : NL_RULE_PRIORITY + (table - NL_TABLE);
}

static int rule_count_one(const struct nlmsghdr *msg, void *arg)
{
	const struct fib_rule_hdr *hdr = mnl_nlmsg_get_payload(msg);
	struct rule_count *count = arg;
	uint32_t table = hdr->table, priority = 0;
	struct nlattr *attr;

	if (msg->nlmsg_type != RTM_NEWRULE)
		return 0;
	nl_attr_each (attr, msg, sizeof(*hdr)) {
		unsigned type = mnl_attr_get_type(attr);

		if (type == FRA_TABLE)
			table = mnl_attr_get_u32(attr);
		else if (type == FRA_PRIORITY)
			priority = mnl_attr_get_u32(attr);
	}
	if (table == count->table && priority == rule_priority(table))
		count->ours++;
	return 0;
}

static int rules_count(struct nl *nl, int family, uint32_t table, size_t *ours)
{
	struct rule_count count = {.table = table};
	struct fib_rule_hdr *hdr;
	struct nlmsghdr *msg = nl_begin(nl, RTM_GETRULE, NLM_F_DUMP, sizeof(*hdr), &hdr);
	int rc;

	hdr->family = (uint8_t)af_of(family);
	rc = nl_run(nl, msg, rule_count_one, &count);
	*ours = count.ours;
	return rc;
}

/* Deleting by priority and table alone: whatever a rule of ours looked like in an older version. */
static int rule_del_one(struct nl *nl, int family, uint32_t table)
{
	struct fib_rule_hdr *hdr;
	struct nlmsghdr *msg = nl_begin(nl, RTM_DELRULE, 0, sizeof(*hdr), &hdr);

	hdr->family = (uint8_t)af_of(family);
	hdr->action = table == NO_TABLE ? FR_ACT_UNREACHABLE : FR_ACT_TO_TBL;
	if (table != NO_TABLE)
		mnl_attr_put_u32(msg, FRA_TABLE, table);
	mnl_attr_put_u32(msg, FRA_PRIORITY, rule_priority(table));
	return nl_run(nl, msg, NULL, NULL);
}

static bool family_lacking(int rc)
{
	return rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT;
}

int nl_rule_remove(struct nl *nl, int family, uint32_t table, size_t *removed, struct io_err *err)
{
	size_t ours = 0, done = 0;
	int rc = rules_count(nl, family, table, &ours);

	while (rc == 0 && done < ours) {
		rc = rule_del_one(nl, family, table);
		if (rc == -ENOENT || rc == -ESRCH) { /* somebody was faster */
			rc = 0;
			break;
		}
		done++;
	}
	if (removed)
		*removed = done;
	if (family_lacking(rc))
		return 0;
	if (rc < 0)
		return io_fail(err, rc, "removing IPv%d policy rule %u: %s", family,
			       rule_priority(table), strerror(-rc));
	return 0;
}

static int rule_add(struct nl *nl, struct nlmsghdr *msg, int family, uint32_t table,
		    struct io_err *err)
{
	int rc;

	mnl_attr_put_u32(msg, FRA_PRIORITY, rule_priority(table));
	/* "kernel": network managers delete rules they do not know, but leave the kernel's alone.
	 */
	mnl_attr_put_u8(msg, FRA_PROTOCOL, RTPROT_KERNEL);
	rc = nl_run(nl, msg, NULL, NULL);
	if (rc == 0 || rc == -EEXIST)
		return 0;
	if (family_lacking(rc))
		rc = -EOPNOTSUPP;
	return io_fail(err, rc, "IPv%d policy rule %u: %s", family, rule_priority(table),
		       strerror(-rc));
}

int nl_rule_install(struct nl *nl, int family, uint32_t fwmark, uint32_t table, struct io_err *err)
{
	struct fib_rule_hdr *hdr;
	struct nlmsghdr *msg;
	int rc = nl_rule_remove(nl, family, table, NULL, err);

	if (rc < 0)
		return rc;
	msg = nl_begin(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*hdr), &hdr);
	hdr->family = (uint8_t)af_of(family);
	hdr->action = FR_ACT_TO_TBL;
	hdr->flags = FIB_RULE_INVERT;
	mnl_attr_put_u32(msg, FRA_TABLE, table);
	mnl_attr_put_u32(msg, FRA_FWMARK, fwmark);
	return rule_add(nl, msg, family, table, err);
}

int nl_rule_unguard(struct nl *nl, int family, struct io_err *err)
{
	return nl_rule_remove(nl, family, NO_TABLE, NULL, err);
}

int nl_rule_guard(struct nl *nl, const struct ipaddr *from, struct io_err *err)
{
	struct fib_rule_hdr *hdr;
	struct nlmsghdr *msg;
	int rc = nl_rule_unguard(nl, from->family, err);

	if (rc < 0)
		return rc;
	msg = nl_begin(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*hdr), &hdr);
	hdr->family = (uint8_t)af_of(from->family);
	hdr->action = FR_ACT_UNREACHABLE;
	hdr->src_len = (uint8_t)(8 * ipaddr_size(from));
	mnl_attr_put(msg, FRA_SRC, ipaddr_size(from), from->b);
	return rule_add(nl, msg, from->family, NO_TABLE, err);
}
