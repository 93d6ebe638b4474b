/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the device's queues share: the device, what was read from which queue and
 * whether tun_steer_queue agrees, sockets that send to addresses behind it. */
#ifndef PENSTOCK_TESTS_NETNS_TUN_QUEUES_H
#define PENSTOCK_TESTS_NETNS_TUN_QUEUES_H
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "codec/ip_packet.h"
#include "io/sockaddr.h"
#include "io/tun.h"
#include "tests/netns/io_help.h"
#include "tests/t.h"

#define DEV	"tun-q"
#define WORKERS 4u
#define QUEUES	(1 + WORKERS)
#define PORT	20000u

static struct tun *q[QUEUES];
static unsigned n_q;

/* ---- the device ---- */

static inline void add_queue(void)
{
	T(ok(tun_open_queue(&q[n_q], q[0], &err)));
	n_q++;
}

static inline void up(unsigned workers)
{
	T(ok(tun_open(&q[0], &(struct tun_cfg){.name = DEV, .multi = true}, &err)));
	T(tun_multi(q[0]));
	T(ok(tun_steer(q[0], workers, &err)));
	for (n_q = 1; n_q <= workers;)
		add_queue();
	T_STR(shell("(ip addr add 10.99.0.1/24 dev " DEV "; ip addr add fd99::1/64 dev " DEV
		    " nodad; ip link set " DEV " mtu 1400 txqueuelen 4000 up) 2>&1"),
	      "");
}

static inline void down(void)
{
	while (n_q)
		tun_close(q[--n_q]);
	T_STR(shell("ip link show dev " DEV " 2>/dev/null"), "");
}

/* ---- what arrives where ---- */

struct seen {
	unsigned queue[QUEUES]; /* packets */
	unsigned of[65536];	/* by source port: 1 + queue */
	unsigned packets, super, fragments, wrong, split;
};

static struct seen seen;

static inline void note_packet(const struct tun_pkt *p, unsigned i, unsigned workers)
{
	struct ip_meta m;

	seen.wrong += tun_steer_queue(p->data, p->len, workers) % n_q != i;
	if (!T_EQ(ip_packet_parse(p->data, p->len, &m), 0) || m.dst.b[0] == 0xff)
		return; /* the kernel's own, when a device comes up */
	seen.packets++;
	seen.queue[i]++;
	seen.super += p->gso.kind != OFF_NONE;
	seen.fragments += m.is_fragment;
	if (!m.is_fragment && !m.has_ext && m.sport) {
		seen.split += seen.of[m.sport] && seen.of[m.sport] != 1 + i;
		seen.of[m.sport] = 1 + i;
	}
}

static inline void read_all(unsigned workers)
{
	struct tun_pkt *p;
	size_t n;

	for (unsigned i = 0; i < n_q; i++)
		while ((n = tun_read(q[i], &p)))
			for (size_t k = 0; k < n; k++)
				note_packet(&p[k], i, workers);
}

static inline void look(unsigned workers)
{
	memset(&seen, 0, sizeof(seen));
	read_all(workers);
}

/* All of them, each where it belongs, and evenly over the workers when there are many flows. */
static inline void check(const char *what, unsigned packets, bool evenly)
{
	t_note("%s: %u packets, %u super, %u fragments; by queue %u %u %u %u %u", what,
	       seen.packets, seen.super, seen.fragments, seen.queue[0], seen.queue[1],
	       seen.queue[2], seen.queue[3], seen.queue[4]);
	T_EQ(seen.packets, packets);
	T_EQ(seen.wrong, 0);
	T_EQ(seen.split, 0);
	T_EQ(seen.queue[0], 0);
	for (unsigned i = 1; evenly && i <= WORKERS; i++) {
		T(seen.queue[i] > packets / WORKERS * 4 / 5);
		T(seen.queue[i] < packets / WORKERS * 6 / 5);
	}
}

/* ---- sockets ---- */

static inline int sock(int type, int proto, const char *ip, unsigned port)
{
	struct endpoint ep = at(ip, (uint16_t)port);
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&ep, &sa);
	int fd = socket(ep.ip.family == 4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC,
			proto);
	int one = 1, room = 4 << 20;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	T_EQ(bind(fd, &sa.sa, len), 0);
	return fd;
}

static inline int to(int fd, const char *ip, unsigned port)
{
	struct endpoint ep = at(ip, (uint16_t)port);
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&ep, &sa);

	return connect(fd, &sa.sa, len) && errno != EINPROGRESS ? -1 : 0;
}

static const uint8_t zeros[65536];

/* Flows of consecutive ports, in turn. */
static inline void send_udp(const char *here, const char *there, unsigned flows, unsigned each,
			    size_t len)
{
	for (unsigned f = 0; f < flows; f++) {
		int fd = sock(SOCK_DGRAM, 0, here, PORT + f);

		T_EQ(to(fd, there, 7), 0);
		for (unsigned i = 0; i < each; i++)
			T_EQ(send(fd, zeros, len, 0), len);
		close(fd);
	}
}

static const struct {
	const char *here, *there, *prefix;
} net_of[] = {{"10.99.0.1", "10.99.0.2", "10.99.0."}, {"fd99::1", "fd99::2", "fd99::"}};
#endif
