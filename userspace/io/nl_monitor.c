/* SPDX-License-Identifier: Apache-2.0
 *
 * Notifications of rtnetlink, gathered into bursts. A timer runs from the first event; every
 * further one moves it to NL_MONITOR_QUIET_MS from now, but never past NL_MONITOR_MAX_MS after the
 * first. Socket and timer are behind one epoll descriptor, which is what the loop polls. */
#include "io/nl_addr.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "io/nl_route.h"

struct nl_monitor {
	struct mnl_socket *sock;
	int epoll_fd, timer_fd;
	int skip_ifindex;
	uint32_t skip_table;
	unsigned changes;
	int64_t first_ms; /* of the burst; 0: none runs */
	union {
		struct nlmsghdr align;
		uint8_t b[NL_BUF_LEN];
	} rx;
};

static int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int watch(struct nl_monitor *m, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static int monitor_setup(struct nl_monitor *m)
{
	static const unsigned groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
				       RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

	m->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	m->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!m->sock || mnl_socket_bind(m->sock, groups, MNL_SOCKET_AUTOPID) < 0 ||
	    m->timer_fd < 0 || m->epoll_fd < 0 || watch(m, mnl_socket_get_fd(m->sock)) < 0 ||
	    watch(m, m->timer_fd) < 0)
		return -errno;
	return 0;
}

int nl_monitor_open(struct nl_monitor **out, int skip_ifindex, uint32_t skip_table,
		    struct io_err *err)
{
	struct nl_monitor *m = calloc(1, sizeof(*m));
	int rc;

	*out = NULL;
	if (!m)
		return io_fail(err, -ENOMEM, "no memory for the network monitor");
	m->epoll_fd = m->timer_fd = -1;
	m->skip_ifindex = skip_ifindex;
	m->skip_table = skip_table;
	rc = monitor_setup(m);
	if (rc < 0) {
		nl_monitor_close(m);
		return io_fail(err, rc, "network monitor: %s", strerror(-rc));
	}
	*out = m;
	return 0;
}

void nl_monitor_close(struct nl_monitor *m)
{
	if (!m)
		return;
	if (m->sock)
		mnl_socket_close(m->sock);
	if (m->timer_fd >= 0)
		close(m->timer_fd);
	if (m->epoll_fd >= 0)
		close(m->epoll_fd);
	free(m);
}

int nl_monitor_fd(const struct nl_monitor *m)
{
	return m->epoll_fd;
}

static bool route_relevant(const struct nl_monitor *m, const struct nlmsghdr *msg)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(msg);
	uint32_t table = rt->rtm_table;
	struct nlattr *attr;
	int oif = 0;

	/* Cached IPv6 exceptions come and go with traffic. */
	if (rt->rtm_flags & RTM_F_CLONED)
		return false;
	nl_attr_each (attr, msg, sizeof(*rt)) {
		unsigned type = mnl_attr_get_type(attr);

		if (type == RTA_TABLE)
			table = mnl_attr_get_u32(attr);
		else if (type == RTA_OIF)
			oif = (int)mnl_attr_get_u32(attr);
	}
	return table - m->skip_table >= NL_TABLES && (!m->skip_ifindex || oif != m->skip_ifindex);
}

static int event_one(const struct nlmsghdr *msg, void *arg)
{
	struct nl_monitor *m = arg;
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(msg);
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(msg);

	switch (msg->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		if (!m->skip_ifindex || ifi->ifi_index != m->skip_ifindex)
			m->changes |= NL_CHANGE_LINK;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (!m->skip_ifindex || (int)ifa->ifa_index != m->skip_ifindex)
			m->changes |= NL_CHANGE_ADDR;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (route_relevant(m, msg))
			m->changes |= NL_CHANGE_ROUTE;
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

/* Returns whether something relevant was among it. */
static bool events_drain(struct nl_monitor *m)
{
	unsigned before = m->changes;
	bool any;

	m->changes = 0;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(m->sock, m->rx.b, sizeof(m->rx));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			m->changes |= NL_CHANGE_LOST;
			continue;
		}
		if (n <= 0)
			break;
		mnl_cb_run(m->rx.b, (size_t)n, 0, 0, event_one, m);
	}
	any = m->changes;
	m->changes |= before;
	return any;
}

static void timer_arm(struct nl_monitor *m, int64_t now)
{
	int64_t wait = NL_MONITOR_QUIET_MS;
	struct itimerspec it = {0};

	if (!m->first_ms)
		m->first_ms = now;
	if (wait > m->first_ms + NL_MONITOR_MAX_MS - now)
		wait = m->first_ms + NL_MONITOR_MAX_MS - now;
	if (wait < 1)
		wait = 1; /* 0 would disarm it */
	it.it_value.tv_sec = wait / 1000;
	it.it_value.tv_nsec = wait % 1000 * 1000000;
	timerfd_settime(m->timer_fd, 0, &it, NULL);
}

unsigned nl_monitor_take(struct nl_monitor *m)
{
	int64_t now = clock_ms();
	uint64_t fired = 0;
	unsigned changes;

	if (events_drain(m)) {
		timer_arm(m, now);
		return 0;
	}
	if (read(m->timer_fd, &fired, sizeof(fired)) != sizeof(fired))
		return 0;
	changes = m->changes;
	m->changes = 0;
	m->first_ms = 0;
	return changes;
}
