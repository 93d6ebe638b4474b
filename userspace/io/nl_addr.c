/* SPDX-License-Identifier: Apache-2.0
 *
 * RTM_GETLINK and RTM_GETADDR, filtered into candidates. */
#include "io/nl_addr.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#define LINKS_MAX 1024 /* interfaces beyond are not looked at */

struct up_links {
	bool loopback;
	int skip_ifindex;
	int ifindex[LINKS_MAX];
	size_t len;
};

struct collect {
	const struct nl_addr_filter *filter;
	const struct up_links *links;
	struct nl_addr *out;
	size_t cap, len;
};

static int link_collect(const struct nlmsghdr *msg, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(msg);
	struct up_links *links = arg;

	if (msg->nlmsg_type != RTM_NEWLINK || !(ifi->ifi_flags & IFF_UP) ||
	    (!links->loopback && (ifi->ifi_flags & IFF_LOOPBACK)) ||
	    ifi->ifi_index == links->skip_ifindex || links->len == LINKS_MAX)
		return 0;
	links->ifindex[links->len++] = ifi->ifi_index;
	return 0;
}

static bool link_usable(const struct up_links *links, int ifindex)
{
	for (size_t i = 0; i < links->len; i++)
		if (links->ifindex[i] == ifindex)
			return true;
	return false;
}

static bool addr_usable(const struct collect *c, const struct ipaddr *ip)
{
	if (!ip->family || ipaddr_is_unspecified(ip) || ipaddr_is_link_local(ip) ||
	    ipaddr_is_multicast(ip) || (ipaddr_is_loopback(ip) && !c->filter->loopback))
		return false;
	for (size_t i = 0; i < c->filter->exclude_len; i++)
		if (ipnet_contains(&c->filter->exclude[i], ip))
			return false;
	for (size_t i = 0; i < c->len;
	     i++) /* the same address on two interfaces is one candidate */
		if (ipaddr_eq(&c->out[i].ip, ip))
			return false;
	return true;
}

static int addr_collect(const struct nlmsghdr *msg, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(msg);
	struct collect *c = arg;
	uint8_t family = ifa->ifa_family == AF_INET ? 4 : 6;
	size_t want = family == 4 ? 4 : 16;
	uint32_t flags = ifa->ifa_flags;
	struct ipaddr ip = {0};
	struct nlattr *attr;
	bool local = false;

	if (msg->nlmsg_type != RTM_NEWADDR || c->len == c->cap ||
	    (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return 0;
	nl_attr_each (attr, msg, sizeof(*ifa)) {
		unsigned type = mnl_attr_get_type(attr);

		if (type == IFA_FLAGS) {
			flags = mnl_attr_get_u32(attr);
		} else if ((type == IFA_LOCAL || (type == IFA_ADDRESS && !local)) &&
			   mnl_attr_get_payload_len(attr) == want) {
			/* On a point-to-point link IFA_ADDRESS is the other end. */
			ip = ipaddr_from(family, mnl_attr_get_payload(attr));
			local = type == IFA_LOCAL;
		}
	}
	if ((flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED)) ||
	    !link_usable(c->links, (int)ifa->ifa_index) || !addr_usable(c, &ip))
		return 0;
	c->out[c->len++] = (struct nl_addr){.ip = ip,
					    .ifindex = (int)ifa->ifa_index,
					    .prefix_len = ifa->ifa_prefixlen,
					    .temporary = family == 6 && (flags & IFA_F_TEMPORARY)};
	return 0;
}

int nl_addr_list(struct nl *nl, const struct nl_addr_filter *filter, struct nl_addr *out,
		 size_t cap, size_t *len, struct io_err *err)
{
	struct up_links links = {.loopback = filter->loopback,
				 .skip_ifindex = filter->skip_ifindex};
	struct collect c = {.filter = filter, .links = &links, .out = out, .cap = cap};
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct nlmsghdr *msg;
	struct ifinfomsg *ifi;
	struct ifaddrmsg *ifa;
	int rc;

	*len = 0;
	msg = nl_begin(nl, RTM_GETLINK, NLM_F_DUMP, sizeof(*ifi), &ifi);
	rc = nl_run(nl, msg, link_collect, &links);
	for (size_t i = 0; rc == 0 && i < 2; i++) {
		msg = nl_begin(nl, RTM_GETADDR, NLM_F_DUMP, sizeof(*ifa), &ifa);
		ifa->ifa_family = families[i];
		rc = nl_run(nl, msg, addr_collect, &c);
		if (i == 1 && (rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT))
			rc = 0;
	}
	if (rc < 0)
		return io_fail(err, rc, "listing addresses: %s", strerror(-rc));
	*len = c.len;
	return 0;
}
