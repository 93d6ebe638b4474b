/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel programs on real devices: a virtual Ethernet pair as the WAN and a tunnel device, in a
 * network namespace of this process. For test programs that are about what BPF_PROG_TEST_RUN cannot
 * show. */
#ifndef PENSTOCK_TESTS_KLIVE_H
#define PENSTOCK_TESTS_KLIVE_H
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "tests/bpf/kworld.h"

#define ETH_ALL 0x0003

static struct kworld w;
static int tun_fd = -1, wire = -1; /* wire: the far end of the WAN pair */
static unsigned wan_ifindex, tun_ifindex, far_ifindex;

static inline bool sh(const char *cmd)
{
	int rc = system(cmd); /* fixed strings only */

	if (rc)
		t_note("failed: %s", cmd);
	return rc == 0;
}

static inline int tun_make(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline bool net_up(void)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_ALL)};
	static const char setup[] =
		"ip link set lo up && ip link add pswan type veth peer name psfar && "
		"ip link set pswan address 02:04:06:08:0a:0c && "
		"ip link set psfar address 46:47:48:49:4a:4b && "
		"sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 "
		"net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 && "
		"ip addr add 192.0.2.1/24 dev pswan && ip addr add 2001:db8::1/64 dev pswan nodad "
		"&& "
		"ip link set pswan up && ip link set psfar up && "
		"ip neigh replace 192.0.2.9 lladdr 46:47:48:49:4a:4b dev pswan && "
		"ip neigh replace 2001:db8::9 lladdr 46:47:48:49:4a:4b dev pswan && "
		"ip addr add 10.9.1.2/32 dev pstun && ip link set pstun up mtu 1280 && "
		"ip addr add fd09::2/128 dev pstun nodad && ip route add 100.64.0.0/10 dev pstun "
		"&& "
		"ip route add fd00:2021:1111::/48 dev pstun";

	if (unshare(CLONE_NEWNET))
		return false;
	tun_fd = tun_make("pstun");
	if (tun_fd < 0 || !sh(setup))
		return false;
	wan_ifindex = if_nametoindex("pswan");
	tun_ifindex = if_nametoindex("pstun");
	far_ifindex = if_nametoindex("psfar");
	ll.sll_ifindex = (int)far_ifindex;
	wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_ALL));
	return wire >= 0 && bind(wire, (struct sockaddr *)&ll, sizeof(ll)) == 0;
}

static inline bool tc_attach(unsigned ifindex, enum bpf_tc_attach_point at, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = at);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1, .prog_fd = prog);
	int rc = bpf_tc_hook_create(&hook);

	return T(rc == 0 || rc == -EEXIST) && T_EQ(bpf_tc_attach(&hook, &opts), 0);
}

static inline bool attach_all(uint32_t xdp_flags, int xdp)
{
	return T_EQ(bpf_xdp_attach((int)wan_ifindex, xdp, xdp_flags, NULL), 0) &&
	       tc_attach(wan_ifindex, BPF_TC_INGRESS, w.k.wan_in) &&
	       tc_attach(tun_ifindex, BPF_TC_EGRESS, w.k.tun_out);
}

/* xdp: of w.k, the program to put on the WAN. */
static inline bool world_up_with(bool plain, uint32_t xdp_flags, int outer, const int *xdp)
{
	uint64_t seed = t_seed();

	if (geteuid() != 0) {
		t_skip("needs root");
		return false;
	}
	if (sodium_init() < 0)
		return T(!"libsodium");
	for (int i = 0; i < 32; i++) {
		w.recv_key[i] = (uint8_t)t_rand(&seed);
		w.send_key[i] = (uint8_t)t_rand(&seed);
	}
	w.next_counter = 0;
	if (!net_up()) {
		t_skip("cannot make a network namespace with a tunnel device");
		return false;
	}
	if (!kern_ready(&w.k, plain, 0))
		return false;
	kw_reset(&w, outer);
	w.k.config->tun_ifindex = tun_ifindex;
	w.k.peer[KW_PEER].path_ifindex = wan_ifindex;
	T_EQ(kern_set_alive(&w.k, tun_ifindex), 0);
	return attach_all(xdp_flags, *xdp);
}

static inline bool world_up(bool plain, uint32_t xdp_flags, int outer)
{
	return world_up_with(plain, xdp_flags, outer, &w.k.wan_rx);
}

static inline void world_down(void)
{
	kern_close(&w.k);
	if (wire >= 0)
		close(wire);
	if (tun_fd >= 0)
		close(tun_fd);
	wire = tun_fd = -1;
}

static inline bool readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

static inline uint64_t count_of(enum ps_reason_id id)
{
	uint64_t count[PS_R_COUNT];

	kern_counts(&w.k, count);
	return count[id];
}

/* Bound to one of the family's addresses. */
static inline int udp_socket_at(int family, const void *addr4, const void *addr6, uint16_t port)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			0);

	memcpy(&a4.sin_addr, addr4, 4);
	memcpy(&a6.sin6_addr, addr6, 16);
	T_EQ(family == 4 ? bind(fd, (struct sockaddr *)&a4, sizeof(a4))
			 : bind(fd, (struct sockaddr *)&a6, sizeof(a6)),
	     0);
	return fd;
}

static inline int udp_socket(int family, uint16_t port)
{
	return udp_socket_at(family, kw_host4, kw_host6, port);
}
#endif
