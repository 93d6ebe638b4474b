/* SPDX-License-Identifier: Apache-2.0
 *
 * RTM_NEWLINK, RTM_NEWADDR, RTM_GETROUTE. */
#include "io/nl_link.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define ADDRS_MAX 64

static int af_of(int family)
{
	return family == 4 ? AF_INET : AF_INET6;
}

static void no_ll6_put(struct nlmsghdr *msg)
{
	struct nlattr *spec = mnl_attr_nest_start(msg, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(msg, AF_INET6);

	mnl_attr_put_u8(msg, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(msg, inet6);
	mnl_attr_nest_end(msg, spec);
}

int nl_link_set(struct nl *nl, int ifindex, const struct nl_link_cfg *cfg, struct io_err *err)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *msg;
	int rc;

	/* On its own: a kernel without IPv6 refuses it, which is no loss. */
	if (cfg->no_ll6) {
		msg = nl_begin(nl, RTM_NEWLINK, 0, sizeof(*ifi), &ifi);
		ifi->ifi_index = ifindex;
		no_ll6_put(msg);
		nl_run(nl, msg, NULL, NULL);
	}
	msg = nl_begin(nl, RTM_NEWLINK, 0, sizeof(*ifi), &ifi);
	ifi->ifi_index = ifindex;
	if (cfg->up) {
		ifi->ifi_flags = IFF_UP;
		ifi->ifi_change = IFF_UP;
	}
	if (cfg->mtu)
		mnl_attr_put_u32(msg, IFLA_MTU, cfg->mtu);
	if (cfg->txqueuelen)
		mnl_attr_put_u32(msg, IFLA_TXQLEN, cfg->txqueuelen);
	rc = nl_run(nl, msg, NULL, NULL);
	if (rc < 0)
		return io_fail(err, rc, "interface %d: mtu %u, txqueuelen %u%s: %s", ifindex,
			       cfg->mtu, cfg->txqueuelen, cfg->up ? ", up" : "", strerror(-rc));
	return 0;
}

/* ---- addresses ----------------------------------------------------------------------------------
 */

static int addr_change(struct nl *nl, uint16_t type, uint16_t flags, int ifindex,
		       const struct ipaddr *ip, uint8_t prefix_len)
{
	struct ifaddrmsg *ifa;
	struct nlmsghdr *msg = nl_begin(nl, type, flags, sizeof(*ifa), &ifa);

	ifa->ifa_family = (uint8_t)af_of(ip->family);
	ifa->ifa_prefixlen = prefix_len;
	ifa->ifa_index = (uint32_t)ifindex;
	/* The prefix routes belong to our own table, never to main; and a tunnel has no neighbours
	 * to ask whether the address is taken. */
	mnl_attr_put_u32(msg, IFA_FLAGS,
			 IFA_F_NOPREFIXROUTE | (ip->family == 6 ? IFA_F_NODAD : 0u));
	mnl_attr_put(msg, IFA_LOCAL, ipaddr_size(ip), ip->b);
	mnl_attr_put(msg, IFA_ADDRESS, ipaddr_size(ip), ip->b);
	return nl_run(nl, msg, NULL, NULL);
}

int nl_link_addr_add(struct nl *nl, int ifindex, const struct ipaddr *ip, uint8_t prefix_len,
		     struct io_err *err)
{
	char text[IPADDR_STRLEN];
	int rc = addr_change(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, ifindex, ip,
			     prefix_len);

	if (rc == 0 || rc == -EEXIST)
		return 0;
	if (ip->family == 6 && (rc == -EACCES || rc == -EAFNOSUPPORT))
		rc = -EOPNOTSUPP; /* IPv6 is disabled on the interface, or altogether */
	return io_fail(err, rc, "address %s/%u on interface %d: %s", ipaddr_fmt(ip, text),
		       prefix_len, ifindex, strerror(-rc));
}

int nl_link_addr_del(struct nl *nl, int ifindex, const struct ipaddr *ip, uint8_t prefix_len,
		     struct io_err *err)
{
	char text[IPADDR_STRLEN];
	int rc = addr_change(nl, RTM_DELADDR, 0, ifindex, ip, prefix_len);

	if (rc == 0 || rc == -EADDRNOTAVAIL)
		return 0;
	return io_fail(err, rc, "removing address %s/%u from interface %d: %s",
		       ipaddr_fmt(ip, text), prefix_len, ifindex, strerror(-rc));
}

struct addr_list {
	int ifindex;
	size_t len;
	struct ipaddr ip[ADDRS_MAX];
	uint8_t prefix_len[ADDRS_MAX];
};

static int addr_collect(const struct nlmsghdr *msg, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(msg);
	struct addr_list *list = arg;
	struct nlattr *attr;
	struct ipaddr ip = {0};

	if (msg->nlmsg_type != RTM_NEWADDR || (int)ifa->ifa_index != list->ifindex ||
	    list->len == ADDRS_MAX)
		return 0;
	nl_attr_each (attr, msg, sizeof(*ifa)) {
		unsigned type = mnl_attr_get_type(attr);
		size_t want = ifa->ifa_family == AF_INET ? 4 : 16;

		if ((type == IFA_LOCAL || (type == IFA_ADDRESS && !ip.family)) &&
		    mnl_attr_get_payload_len(attr) == want)
			ip = ipaddr_from(want == 4 ? 4 : 6, mnl_attr_get_payload(attr));
	}
	if (ip.family) {
		list->ip[list->len] = ip;
		list->prefix_len[list->len++] = ifa->ifa_prefixlen;
	}
	return 0;
}

int nl_link_addr_flush(struct nl *nl, int ifindex, struct io_err *err)
{
	struct addr_list list = {.ifindex = ifindex};
	struct ifaddrmsg *ifa;
	struct nlmsghdr *msg = nl_begin(nl, RTM_GETADDR, NLM_F_DUMP, sizeof(*ifa), &ifa);
	int rc = nl_run(nl, msg, addr_collect, &list);

	if (rc < 0)
		return io_fail(err, rc, "listing addresses: %s", strerror(-rc));
	for (size_t i = 0; i < list.len; i++) {
		rc = nl_link_addr_del(nl, ifindex, &list.ip[i], list.prefix_len[i], err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- where a destination is reached -------------------------------------------------------------
 */

static int hop_read(const struct nlmsghdr *msg, void *arg)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(msg);
	struct nl_hop *hop = arg;
	uint8_t family = rt->rtm_family == AF_INET ? 4 : 6;
	size_t want = family == 4 ? 4 : 16;
	struct nlattr *attr;

	if (msg->nlmsg_type != RTM_NEWROUTE)
		return 0;
	nl_attr_each (attr, msg, sizeof(*rt)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_OIF:
			hop->ifindex = (int)mnl_attr_get_u32(attr);
			break;
		case RTA_PREFSRC:
			if (mnl_attr_get_payload_len(attr) == want)
				hop->src = ipaddr_from(family, mnl_attr_get_payload(attr));
			break;
		case RTA_GATEWAY:
			if (mnl_attr_get_payload_len(attr) == want)
				hop->gateway = ipaddr_from(family, mnl_attr_get_payload(attr));
			break;
		default:
			break;
		}
	}
	return 0;
}

int nl_link_route_to(struct nl *nl, const struct ipaddr *dst, uint32_t fwmark, struct nl_hop *out,
		     struct io_err *err)
{
	char text[IPADDR_STRLEN];
	struct rtmsg *rt;
	struct nlmsghdr *msg = nl_begin(nl, RTM_GETROUTE, 0, sizeof(*rt), &rt);
	int rc;

	memset(out, 0, sizeof(*out));
	rt->rtm_family = (uint8_t)af_of(dst->family);
	rt->rtm_dst_len = dst->family == 4 ? 32 : 128;
	mnl_attr_put(msg, RTA_DST, ipaddr_size(dst), dst->b);
	if (fwmark)
		mnl_attr_put_u32(msg, RTA_MARK, fwmark);
	rc = nl_run(nl, msg, hop_read, out);
	if (rc == 0 && (!out->ifindex || !if_indextoname((unsigned)out->ifindex, out->ifname)))
		rc = -ENETUNREACH;
	if (rc < 0)
		return io_fail(err, rc, "route to %s: %s", ipaddr_fmt(dst, text), strerror(-rc));
	return 0;
}

/* Documentation addresses (RFC 5737, RFC 3849): routed by nothing but a default route. */
int nl_link_default(struct nl *nl, int family, uint32_t fwmark, struct nl_hop *out,
		    struct io_err *err)
{
	struct ipaddr dst;

	ipaddr_parse(family == 4 ? "192.0.2.1" : "2001:db8::1", &dst);
	return nl_link_route_to(nl, &dst, fwmark, out, err);
}

static int flags_read(const struct nlmsghdr *msg, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(msg);

	if (msg->nlmsg_type == RTM_NEWLINK)
		*(unsigned *)arg = ifi->ifi_flags;
	return 0;
}

static int link_get(struct nl *nl, int ifindex, nl_msg_fn fn, void *arg)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *msg = nl_begin(nl, RTM_GETLINK, 0, sizeof(*ifi), &ifi);

	ifi->ifi_index = ifindex;
	return nl_run(nl, msg, fn, arg);
}

int nl_link_is_up(struct nl *nl, int ifindex)
{
	unsigned flags = 0;
	int rc = link_get(nl, ifindex, flags_read, &flags);

	return rc < 0 ? rc : !!(flags & IFF_UP);
}

static int mtu_read(const struct nlmsghdr *msg, void *arg)
{
	struct nlattr *attr;

	if (msg->nlmsg_type != RTM_NEWLINK)
		return 0;
	nl_attr_each (attr, msg, sizeof(struct ifinfomsg)) {
		if (mnl_attr_get_type(attr) == IFLA_MTU &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			*(uint32_t *)arg = mnl_attr_get_u32(attr);
	}
	return 0;
}

int nl_link_mtu(struct nl *nl, int ifindex)
{
	uint32_t mtu = 0;
	int rc = link_get(nl, ifindex, mtu_read, &mtu);

	if (rc < 0)
		return rc;
	return mtu > INT32_MAX ? INT32_MAX : (int)mtu;
}
