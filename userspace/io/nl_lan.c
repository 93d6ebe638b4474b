/* SPDX-License-Identifier: Apache-2.0
 *
 * RTM_*ROUTE between two tables; contract in nl_lan.h. Which routes a default route must spare is
 * the kernel's to say: those it made of the interfaces' addresses, and what an operator (or DHCP)
 * has put on a link. A route by way of a router is none of them. */
#include "io/nl_lan.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include "base/addr.h"
#include "io/nl_route.h"

struct lan_route {
	struct ipnet net;
	struct ipaddr src; /* family 0: none preferred */
	int ifindex;
	uint32_t metric;
};

struct lan {
	struct lan_route main[NL_LAN_MAX], copy[NL_LAN_MAX];
	size_t n_main, n_copy;
	int skip_ifindex;
	bool full;
};

static bool is_spared(const struct lan *l, const struct lan_route *r)
{
	const struct ipaddr *a = &r->net.ip;
	bool scoped = a->family == 6 && ipaddr_is_link_local(a);

	return r->ifindex && r->ifindex != l->skip_ifindex && r->net.len && !scoped &&
	       !ipaddr_is_loopback(a) && !ipaddr_is_multicast(a);
}

static void add(struct lan *l, struct lan_route *list, size_t *n, const struct lan_route *r)
{
	if (*n == NL_LAN_MAX)
		l->full = true;
	else
		list[(*n)++] = *r;
}

/* Where IPv4 multicast goes for programs that name no interface: by the default route, and the
 * tunnel takes none. (IPv6 has a route for each interface.) */
static void add_multicast(struct lan *l, const struct lan_route *by)
{
	const struct lan_route r = {.net = {.ip = {.family = 4, .b = {224}}, .len = 4},
				    .ifindex = by->ifindex,
				    .metric = by->metric};

	if (r.ifindex && r.ifindex != l->skip_ifindex)
		add(l, l->main, &l->n_main, &r);
}

static int collect(const struct nlmsghdr *msg, void *arg)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(msg);
	struct lan *l = arg;
	uint8_t family = rt->rtm_family == AF_INET ? 4 : 6;
	uint32_t table = rt->rtm_table;
	struct lan_route r = {.net = {.ip.family = family, .len = rt->rtm_dst_len}};
	bool on_link = true;
	struct nlattr *attr;

	if (msg->nlmsg_type != RTM_NEWROUTE || rt->rtm_type != RTN_UNICAST ||
	    (rt->rtm_flags & RTM_F_CLONED))
		return 0;
	nl_attr_each (attr, msg, sizeof(*rt)) {
		const void *data = mnl_attr_get_payload(attr);
		bool address = mnl_attr_get_payload_len(attr) == ipaddr_size(&r.net.ip);

		switch (mnl_attr_get_type(attr)) {
		case RTA_TABLE:
			table = mnl_attr_get_u32(attr);
			break;
		case RTA_OIF:
			r.ifindex = (int)mnl_attr_get_u32(attr);
			break;
		case RTA_PRIORITY:
			r.metric = mnl_attr_get_u32(attr);
			break;
		case RTA_DST:
			if (address)
				r.net.ip = ipaddr_from(family, data);
			break;
		case RTA_PREFSRC:
			if (address)
				r.src = ipaddr_from(family, data);
			break;
		case RTA_GATEWAY:
		case RTA_VIA:
		case RTA_MULTIPATH:
			on_link = false;
			break;
		default:
			break;
		}
	}
	if (table == NL_TABLE_LAN)
		add(l, l->copy, &l->n_copy, &r);
	else if (table == RT_TABLE_MAIN && family == 4 && !r.net.len)
		add_multicast(l, &r);
	else if (table == RT_TABLE_MAIN && on_link && is_spared(l, &r))
		add(l, l->main, &l->n_main, &r);
	return 0;
}

static bool family_lacking(int rc)
{
	return rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT;
}

static int read_family(struct nl *nl, uint8_t af, struct lan *l)
{
	const size_t n_main = l->n_main, n_copy = l->n_copy;
	struct rtmsg *rt;
	int rc = 0;

	/* A dump that another change interrupted is incomplete: once more, from where we began. */
	for (int try = 0; try < 8; try++) {
		struct nlmsghdr *msg = nl_begin(nl, RTM_GETROUTE, NLM_F_DUMP, sizeof(*rt), &rt);

		rt->rtm_family = af;
		l->n_main = n_main;
		l->n_copy = n_copy;
		rc = nl_run(nl, msg, collect, l);
		if (rc != -EAGAIN)
			break;
	}
	return family_lacking(rc) ? 0 : rc;
}

static bool route_in(const struct lan_route *list, size_t n, const struct lan_route *r)
{
	for (size_t i = 0; i < n; i++)
		if (ipnet_eq(&list[i].net, &r->net) && ipaddr_eq(&list[i].src, &r->src) &&
		    list[i].ifindex == r->ifindex && list[i].metric == r->metric)
			return true;
	return false;
}

static int change(struct nl *nl, uint16_t type, uint16_t flags, const struct lan_route *r)
{
	struct rtmsg *rt;
	struct nlmsghdr *msg = nl_begin(nl, type, flags, sizeof(*rt), &rt);
	int rc;

	rt->rtm_family = r->net.ip.family == 4 ? AF_INET : AF_INET6;
	rt->rtm_dst_len = r->net.len;
	rt->rtm_type = RTN_UNICAST;
	rt->rtm_scope = RT_SCOPE_NOWHERE; /* of any scope and protocol */
	if (type == RTM_NEWROUTE) {
		rt->rtm_scope = RT_SCOPE_LINK;
		rt->rtm_protocol = RTPROT_STATIC;
	}
	mnl_attr_put(msg, RTA_DST, ipaddr_size(&r->net.ip), r->net.ip.b);
	mnl_attr_put_u32(msg, RTA_OIF, (uint32_t)r->ifindex);
	mnl_attr_put_u32(msg, RTA_TABLE, NL_TABLE_LAN);
	if (r->metric)
		mnl_attr_put_u32(msg, RTA_PRIORITY, r->metric);
	if (r->src.family)
		mnl_attr_put(msg, RTA_PREFSRC, ipaddr_size(&r->src), r->src.b);
	rc = nl_run(nl, msg, NULL, NULL);
	/* It came or went meanwhile, with its interface or address: the next round sees it. */
	if (rc == -EEXIST || rc == -ENOENT || rc == -ESRCH || rc == -ENODEV || rc == -ENETDOWN ||
	    rc == -EINVAL)
		return 0;
	return rc;
}

static int apply(struct nl *nl, const struct lan *l, bool copy)
{
	size_t n_main = copy ? l->n_main : 0;
	int first = 0, rc;

	for (size_t i = 0; i < l->n_copy; i++) {
		if (route_in(l->main, n_main, &l->copy[i]))
			continue;
		rc = change(nl, RTM_DELROUTE, 0, &l->copy[i]);
		first = first ? first : rc;
	}
	for (size_t i = 0; i < n_main; i++) {
		if (route_in(l->copy, l->n_copy, &l->main[i]))
			continue;
		rc = change(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, &l->main[i]);
		first = first ? first : rc;
	}
	return first;
}

static int follow(struct nl *nl, int skip_ifindex, bool copy, struct io_err *err)
{
	struct lan *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return io_fail(err, -ENOMEM, "no memory for the attached networks");
	l->skip_ifindex = skip_ifindex;
	rc = read_family(nl, AF_INET, l);
	if (!rc)
		rc = read_family(nl, AF_INET6, l);
	if (!rc)
		rc = apply(nl, l, copy);
	if (!rc && copy && l->full)
		rc = -E2BIG;
	free(l);
	return rc ? io_fail(err, rc, "routes of attached networks: %s", strerror(-rc)) : 0;
}

int nl_lan_copy(struct nl *nl, int skip_ifindex, struct io_err *err)
{
	return follow(nl, skip_ifindex, true, err);
}

int nl_lan_clear(struct nl *nl, struct io_err *err)
{
	return follow(nl, 0, false, err);
}
