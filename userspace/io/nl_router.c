/* SPDX-License-Identifier: Apache-2.0
 *
 * RTM_GETROUTE, RTM_GETLINK, RTM_GETNEIGH, RTM_NEWNEIGH. */
#include "io/nl_router.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#define NUD_USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)

/* What is read of a route. */
struct route {
	uint8_t dst_len, type;
	int oif;
	struct ipaddr gateway;
	struct ipnet dst;
};

static uint8_t af_of(int family)
{
	return family == 4 ? AF_INET : AF_INET6;
}

static struct ipaddr ip_of(const struct nlattr *attr, size_t off, int af)
{
	const uint8_t *p = mnl_attr_get_payload(attr);
	size_t len = mnl_attr_get_payload_len(attr), want = af == AF_INET ? 4 : 16;

	if ((af != AF_INET && af != AF_INET6) || len != off + want)
		return (struct ipaddr){0};
	return ipaddr_from(af == AF_INET ? 4 : 6, p + off);
}

/* False: no route to look at. Of several ways at once neither interface nor gateway is told. */
static bool route_read(const struct nlmsghdr *msg, struct route *r)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(msg);
	struct nlattr *attr;
	uint16_t via;

	if (msg->nlmsg_type != RTM_NEWROUTE ||
	    (rt->rtm_family != AF_INET && rt->rtm_family != AF_INET6))
		return false;
	*r = (struct route){.dst_len = rt->rtm_dst_len,
			    .type = rt->rtm_type,
			    .dst.len = rt->rtm_dst_len,
			    .dst.ip.family = rt->rtm_family == AF_INET ? 4 : 6};
	nl_attr_each (attr, msg, sizeof(*rt)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_DST:
			r->dst.ip = ip_of(attr, 0, rt->rtm_family);
			break;
		case RTA_OIF:
			r->oif = (int)mnl_attr_get_u32(attr);
			break;
		case RTA_GATEWAY:
			r->gateway = ip_of(attr, 0, rt->rtm_family);
			break;
		case RTA_VIA: /* of the other family */
			if (mnl_attr_get_payload_len(attr) < sizeof(via))
				break;
			memcpy(&via, mnl_attr_get_payload(attr), sizeof(via));
			r->gateway = ip_of(attr, sizeof(via), via);
			break;
		default:
			break;
		}
	}
	return r->dst.ip.family != 0;
}

/* ---- the default router -------------------------------------------------------------------------
 */

static int route_keep(const struct nlmsghdr *msg, void *arg)
{
	struct route r;

	if (route_read(msg, &r))
		*(struct route *)arg = r;
	return 0;
}

static int route_get(struct nl *nl, const struct ipaddr *dst, const struct ipaddr *src,
		     unsigned flags, struct route *out)
{
	struct rtmsg *rt;
	struct nlmsghdr *msg = nl_begin(nl, RTM_GETROUTE, 0, sizeof(*rt), &rt);

	memset(out, 0, sizeof(*out));
	rt->rtm_family = af_of(dst->family);
	rt->rtm_dst_len = (uint8_t)(8 * ipaddr_size(dst));
	rt->rtm_flags = flags;
	mnl_attr_put(msg, RTA_DST, ipaddr_size(dst), dst->b);
	if (src->family == dst->family) {
		rt->rtm_src_len = rt->rtm_dst_len;
		mnl_attr_put(msg, RTA_SRC, ipaddr_size(src), src->b);
	}
	return nl_run(nl, msg, route_keep, out);
}

/* Only if dst is led there by the default route, not by a route of its own. */
static int default_try(struct nl *nl, const struct ipaddr *dst, const struct ipaddr *src,
		       struct nl_router *out)
{
	struct route r;
	int rc = route_get(nl, dst, src, RTM_F_FIB_MATCH, &r);

	if (rc == 0 && (r.dst_len || r.type != RTN_UNICAST))
		return -ENETUNREACH;
	if (rc == 0)
		rc = route_get(nl, dst, src, 0, &r);
	if (rc < 0)
		return rc;
	memset(out, 0, sizeof(*out));
	out->ifindex = r.oif;
	out->gateway = r.gateway;
	if (!r.oif || !if_indextoname((unsigned)r.oif, out->ifname))
		return -ENETUNREACH;
	return 0;
}

int nl_router_find(struct nl *nl, int family, const struct ipaddr *src, struct nl_router *out)
{
	/* Nothing is sent there. Documentation addresses may have routes that throw packets away,
	 * so there are others. */
	static const char *const asked[2][3] = {{"192.0.2.1", "64.0.0.1", "203.0.113.1"},
						{"2001:db8::1", "2600::1", "2a00::1"}};
	static const struct ipaddr any = {0};
	int rc = -ENETUNREACH;

	for (int i = 0; i < 3; i++) {
		struct ipaddr dst;

		ipaddr_parse(asked[family == 6][i], &dst);
		rc = default_try(nl, &dst, src, out);
		if (rc == -EINVAL)
			rc = default_try(nl, &dst, &any, out);
		if (rc == 0)
			return 0;
	}
	return rc == -EHOSTUNREACH || rc == -EACCES || rc == -EINVAL ? -ENETUNREACH : rc;
}

/* ---- what is not behind it ----------------------------------------------------------------------
 */

struct near {
	const struct nl_router *router;
	struct netset *set;
};

static int near_one(const struct nlmsghdr *msg, void *arg)
{
	const struct near *n = arg;
	struct route r;

	/* Which of several default routes is valid has been asked for. */
	if (!route_read(msg, &r) || !r.dst_len)
		return 0;
	if (ipaddr_is_loopback(&r.dst.ip) || ipaddr_is_multicast(&r.dst.ip) ||
	    (r.dst.ip.family == 6 && ipaddr_is_link_local(&r.dst.ip)))
		return 0;
	if (r.type == RTN_UNICAST && r.oif == n->router->ifindex &&
	    ipaddr_eq(&r.gateway, &n->router->gateway))
		return 0;
	netset_add(n->set, &r.dst);
	return 0;
}

int nl_router_near(struct nl *nl, int family, const struct nl_router *r, struct netset *near)
{
	struct near n = {.router = r, .set = near};
	int rc = -EAGAIN;

	for (int try = 0; try < 8 && rc == -EAGAIN; try++) {
		struct rtmsg *rt;
		struct nlmsghdr *msg = nl_begin(nl, RTM_GETROUTE, NLM_F_DUMP, sizeof(*rt), &rt);

		rt->rtm_family = af_of(family);
		rc = nl_run(nl, msg, near_one, &n);
	}
	return rc;
}

static int mac_read(const struct nlmsghdr *msg, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(msg);
	struct nl_neigh *out = arg;
	struct nlattr *attr;

	if (msg->nlmsg_type != RTM_NEWLINK || ifi->ifi_type != ARPHRD_ETHER ||
	    !(ifi->ifi_flags & IFF_UP))
		return 0;
	nl_attr_each (attr, msg, sizeof(*ifi)) {
		if (mnl_attr_get_type(attr) != IFLA_ADDRESS ||
		    mnl_attr_get_payload_len(attr) != sizeof(out->mac))
			continue;
		memcpy(out->mac, mnl_attr_get_payload(attr), sizeof(out->mac));
		out->known = true;
	}
	return 0;
}

int nl_router_mac(struct nl *nl, int ifindex, uint8_t mac[6])
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *msg = nl_begin(nl, RTM_GETLINK, 0, sizeof(*ifi), &ifi);
	struct nl_neigh out = {0};
	int rc;

	ifi->ifi_index = ifindex;
	rc = nl_run(nl, msg, mac_read, &out);
	memcpy(mac, out.mac, sizeof(out.mac));
	return rc < 0 ? rc : out.known ? 0 : -ENODEV;
}

/* ---- neighbours ---------------------------------------------------------------------------------
 */

static int neigh_read(const struct nlmsghdr *msg, void *arg)
{
	static const uint8_t none[6];
	const struct ndmsg *nd = mnl_nlmsg_get_payload(msg);
	struct nl_neigh *out = arg;
	struct nda_cacheinfo info;
	struct nlattr *attr;
	long hz = sysconf(_SC_CLK_TCK);

	if (msg->nlmsg_type != RTM_NEWNEIGH)
		return 0;
	nl_attr_each (attr, msg, sizeof(*nd)) {
		unsigned type = mnl_attr_get_type(attr);
		size_t len = mnl_attr_get_payload_len(attr);

		if (type == NDA_LLADDR && len == sizeof(out->mac)) {
			memcpy(out->mac, mnl_attr_get_payload(attr), len);
		} else if (type == NDA_CACHEINFO && len >= sizeof(info)) {
			memcpy(&info, mnl_attr_get_payload(attr), sizeof(info));
			out->confirmed_ms = info.ndm_confirmed * 1000ull /
					    (hz > 0 ? (uint64_t)hz : 100);
		}
	}
	out->known = (nd->ndm_state & NUD_USABLE) && memcmp(out->mac, none, sizeof(none)) != 0;
	out->fixed = nd->ndm_state & (NUD_PERMANENT | NUD_NOARP);
	return 0;
}

int nl_neigh_get(struct nl *nl, int ifindex, const struct ipaddr *ip, struct nl_neigh *out)
{
	struct ndmsg *nd;
	struct nlmsghdr *msg = nl_begin(nl, RTM_GETNEIGH, 0, sizeof(*nd), &nd);
	int rc;

	memset(out, 0, sizeof(*out));
	nd->ndm_family = af_of(ip->family);
	nd->ndm_ifindex = ifindex;
	mnl_attr_put(msg, NDA_DST, ipaddr_size(ip), ip->b);
	rc = nl_run(nl, msg, neigh_read, out);
	return rc == -ENOENT ? 0 : rc;
}

int nl_neigh_ask(struct nl *nl, int ifindex, const struct ipaddr *ip, bool known)
{
	struct ndmsg *nd;
	uint16_t flags = (uint16_t)(NLM_F_REPLACE | (known ? 0 : NLM_F_CREATE));
	struct nlmsghdr *msg = nl_begin(nl, RTM_NEWNEIGH, flags, sizeof(*nd), &nd);

	nd->ndm_family = af_of(ip->family);
	nd->ndm_ifindex = ifindex;
	if (known)
		nd->ndm_state = NUD_PROBE;
	else
		nd->ndm_flags = NTF_USE;
	mnl_attr_put(msg, NDA_DST, ipaddr_size(ip), ip->b);
	return nl_run(nl, msg, NULL, NULL);
}
