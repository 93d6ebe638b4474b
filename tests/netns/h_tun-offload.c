/* SPDX-License-Identifier: Apache-2.0
 *
 * Segmentation and joining with the kernel at both ends, inside the namespace t_tun-offload.sh
 * made. One device: what the kernel sends to an address behind it is split, its addresses are
 * exchanged (no checksum minds), joined, and written back, so that it comes to a socket here.
 * Streams and datagrams must arrive as they were sent; every packet in between verifies by the
 * plain checksum. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/bytes.h"
#include "codec/ip_packet.h"
#include "fwd/off_join.h"
#include "fwd/off_split.h"
#include "io/sockaddr.h"
#include "io/tun.h"
#include "tests/netns/io_help.h"
#include "tests/t.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define PKTS	   4096
#define STREAM_LEN (24u << 20)
#define WAIT_NS	   (20 * 1000000000ull)

struct mirror {
	struct tun *tun;
	struct off_join join;
	bool damage; /* one packet in 50 gets a wrong byte: must not arrive as right */
	uint64_t packets, joined, bad;
};

static uint8_t pkts[PKTS][1600];
static struct mirror mi;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void up(bool no_gso)
{
	memset(&mi, 0, sizeof(mi));
	T(ok(tun_open(&mi.tun, &(struct tun_cfg){.name = "tun-off", .no_gso = no_gso}, &err)));
	T_STR(shell("(ip addr add 10.99.0.1/24 dev tun-off; ip addr add fd99::1/64 dev tun-off "
		    "nodad; "
		    "ip link set tun-off mtu 1400 txqueuelen 4000 up) 2>&1"),
	      "");
}

/* ---- the mirror ---- */

static void verify(const uint8_t *p, size_t len)
{
	struct ip_meta m;

	if (!T_EQ(ip_packet_parse(p, len, &m), 0))
		return;
	T_EQ(m.total_len, len);
	T(m.family == 6 || ip_csum(p, 20) == 0);
	if (m.l4 == IP_L4_TCP || m.l4 == IP_L4_UDP)
		T_EQ(ip_csum_l4(p, &m), 0);
}

static void exchange(uint8_t *p)
{
	size_t n = p[0] >> 4 == 4 ? 4 : 16, at = n == 4 ? 12 : 8;
	uint8_t t[16];

	memcpy(t, p + at, n);
	memcpy(p + at, p + at + n, n);
	memcpy(p + at + n, t, n);
}

static void write_out(void)
{
	const struct off_super *s;

	while ((s = off_join_next(&mi.join))) {
		mi.joined += s->packets > 1 ? s->packets : 0;
		tun_write_super(mi.tun, s);
	}
}

static void turn_batch(void)
{
	struct tun_pkt *in;
	size_t n = tun_read(mi.tun, &in), used = 0, len;
	struct off_split s;

	off_join_init(&mi.join, tun_joins_tcp(mi.tun), tun_joins_udp(mi.tun));
	for (size_t i = 0; i < n; i++) {
		if (!T_EQ(off_split_begin(&s, in[i].data, in[i].len, &in[i].gso), 0))
			continue;
		while (used < PKTS && (len = off_split_next(&s, pkts[used], sizeof(pkts[0])))) {
			verify(pkts[used], len);
			exchange(pkts[used]);
			if (mi.damage && len > 500 && mi.packets % 50 == 49) {
				pkts[used][len - 1] ^= 1;
				mi.bad++;
			}
			mi.packets++;
			T(off_join_add(&mi.join, pkts[used++], len));
			write_out();
		}
	}
	off_join_flush(&mi.join);
	write_out();
}

/* ---- sockets ---- */

static int sock(int family, int type, const char *ip, uint16_t port)
{
	struct endpoint ep = at(ip, port);
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&ep, &sa);
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	int room = 8 << 20;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	T_EQ(bind(fd, &sa.sa, len), 0);
	return fd;
}

static int connect_to(int fd, const char *ip, uint16_t port)
{
	struct endpoint ep = at(ip, port);
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&ep, &sa);

	return connect(fd, &sa.sa, len) && errno != EINPROGRESS ? -1 : 0;
}

static uint8_t byte_at(uint64_t i)
{
	return (uint8_t)((i * 2654435761u) >> 13);
}

static const uint8_t *pattern(uint64_t from, size_t n)
{
	static uint8_t b[1 << 16];

	for (size_t i = 0; i < n; i++)
		b[i] = byte_at(from + i);
	return b;
}

/* ---- TCP ---- */

static uint64_t send_some(int fd, uint64_t sent)
{
	size_t n = STREAM_LEN - sent < 1 << 16 ? STREAM_LEN - sent : 1 << 16;
	ssize_t rc = n ? send(fd, pattern(sent, n), n, MSG_NOSIGNAL) : 0;

	return rc > 0 ? sent + (uint64_t)rc : sent;
}

static uint64_t receive_some(int fd, uint64_t got)
{
	static uint8_t b[1 << 16];
	ssize_t rc = fd < 0 ? 0 : recv(fd, b, sizeof(b), 0);

	if (rc > 0)
		T_MEM(b, pattern(got, (size_t)rc), (size_t)rc);
	return rc > 0 ? got + (uint64_t)rc : got;
}

static void stream(int family, const char *here, const char *there)
{
	int l = sock(family, SOCK_STREAM, here, 7000), c = sock(family, SOCK_STREAM, here, 7001);
	uint64_t sent = 0, got = 0, until = now_ns() + WAIT_NS;
	int a = -1;

	T_EQ(listen(l, 1), 0);
	T_EQ(connect_to(c, there, 7000), 0);
	while (got < STREAM_LEN && now_ns() < until) {
		if (a < 0)
			a = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		sent = send_some(c, sent);
		turn_batch();
		got = receive_some(a, got);
	}
	T_EQ(got, STREAM_LEN);
	close(a);
	close(c);
	close(l);
	for (int i = 0; i < 20; i++)
		turn_batch();
}

static void note(const char *what)
{
	const struct tun_stats *s = tun_stats(mi.tun);

	t_note("%s: %lu packets, %lu joined; read %lu (%lu super), written %lu super, refused %lu",
	       what, (unsigned long)mi.packets, (unsigned long)mi.joined,
	       (unsigned long)s->rx_packets, (unsigned long)s->rx_super, (unsigned long)s->tx_super,
	       (unsigned long)s->tx_refused);
	T_EQ(s->rx_malformed, 0);
}

static void check_stream(int family, const char *here, const char *there)
{
	const struct tun_stats *s;

	up(false);
	stream(family, here, there);
	note(here);
	s = tun_stats(mi.tun);
	T_EQ(s->tx_refused, 0);
	T_EQ(s->tx_errors, 0);
	if (tun_offload(mi.tun)->tso) {
		T(s->rx_super > 100);
		T(s->tx_super > 100);
		T(mi.joined > mi.packets / 4); /* the other half are acknowledgements */
		T(mi.packets > 2 * s->rx_packets);
	}
	tun_close(mi.tun);
}

static void test_tcp4(void)
{
	check_stream(AF_INET, "10.99.0.1", "10.99.0.2");
}

static void test_tcp6(void)
{
	check_stream(AF_INET6, "fd99::1", "fd99::2");
}

/* The stack must see the wrong checksums: TCP sends again, and the stream is right. */
static void test_tcp_damaged(void)
{
	up(false);
	mi.damage = true;
	stream(AF_INET, "10.99.0.1", "10.99.0.2");
	note("damaged");
	T(mi.bad > 100);
	T(strtoul(shell("nstat -asz TcpInCsumErrors | sed -n 's/^TcpInCsumErrors "
			"*\\([0-9]*\\).*/\\1/p'"),
		  NULL, 10) >= mi.bad / 2);
	tun_close(mi.tun);
}

static void test_without(void)
{
	up(true);
	T(!tun_offload(mi.tun)->vnet_hdr && !tun_joins_tcp(mi.tun) && !tun_joins_udp(mi.tun));
	stream(AF_INET, "10.99.0.1", "10.99.0.2");
	note("without offloads");
	T_EQ(tun_stats(mi.tun)->rx_super, 0);
	T_EQ(tun_stats(mi.tun)->tx_super, 0);
	T_EQ(mi.packets, tun_stats(mi.tun)->rx_packets);
	tun_close(mi.tun);
}

/* ---- UDP ---- */

#define DGRAM 1200u
#define TRAIN 40u

static void send_train(int fd, uint64_t from, size_t len, uint16_t size)
{
	int seg = size;

	T_EQ(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg)), 0);
	T_EQ(send(fd, pattern(from, len), len, 0), len);
}

static int gro_size(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int v;

			memcpy(&v, CMSG_DATA(c), sizeof(v));
			return v;
		}
	return 0;
}

/* All bytes in order, in datagrams of DGRAM; returns the number of receive calls it took. */
static unsigned receive_train(int fd, uint64_t from, size_t len, bool gro)
{
	static uint8_t b[1 << 16];
	uint8_t ctl[64];
	unsigned calls = 0;
	size_t got = 0;

	while (got < len) {
		struct iovec v = {b, sizeof(b)};
		struct msghdr m = {.msg_iov = &v,
				   .msg_iovlen = 1,
				   .msg_control = ctl,
				   .msg_controllen = sizeof(ctl)};
		ssize_t n = recvmsg(fd, &m, 0);

		if (!T(n > 0))
			return 0;
		if (!gro)
			T_EQ(n, len - got < DGRAM ? len - got : DGRAM);
		else if ((size_t)n > DGRAM)
			T_EQ(gro_size(&m), DGRAM);
		T_MEM(b, pattern(from + got, (size_t)n), (size_t)n);
		got += (size_t)n;
		calls++;
	}
	T(recv(fd, b, sizeof(b), 0) < 0);
	return calls;
}

static void trains(int family, const char *here, const char *there, bool gro)
{
	int to = sock(family, SOCK_DGRAM, here, 7000), from = sock(family, SOCK_DGRAM, here, 7001);
	int on = gro;
	unsigned calls = 0;

	up(false);
	setsockopt(to, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	T_EQ(connect_to(from, there, 7000), 0);
	for (unsigned i = 0; i < 50; i++) {
		size_t len = TRAIN * DGRAM - (i % 3 ? 0 : 7 + i);

		send_train(from, i * 1000, len, DGRAM);
		turn_batch();
		calls += receive_train(to, i * 1000, len, gro);
	}
	note(gro ? "UDP to a socket with GRO" : "UDP");
	T_EQ(tun_stats(mi.tun)->tx_refused, 0);
	if (tun_offload(mi.tun)->uso) {
		T(tun_stats(mi.tun)->rx_super >= 50);
		T(tun_stats(mi.tun)->tx_super >= 50);
		T(!gro || calls < 50 * TRAIN / 4);
	}
	close(to);
	close(from);
	tun_close(mi.tun);
}

static void test_udp(void)
{
	const char *h4 = "10.99.0.1", *t4 = "10.99.0.2", *h6 = "fd99::1", *t6 = "fd99::2";

	trains(AF_INET, h4, t4, false);
	trains(AF_INET, h4, t4, true);
	trains(AF_INET6, h6, t6, false);
	trains(AF_INET6, h6, t6, true);
}

/* More than a batch holds waits in the device; the room around a packet is its own. */
static void test_arena(void)
{
	int to = sock(AF_INET, SOCK_DGRAM, "10.99.0.1", 7000),
	    from = sock(AF_INET, SOCK_DGRAM, "10.99.0.1", 7001);
	unsigned read = 0, batches = 0;
	struct tun_pkt *in;
	size_t n;

	up(false);
	shell("sysctl -qw net.ipv6.conf.tun-off.disable_ipv6=1"); /* no packets of its own */
	while (tun_read(mi.tun, &in))
		;
	T_EQ(connect_to(from, "10.99.0.2", 7000), 0);
	for (unsigned i = 0; i < 30; i++)
		send_train(from, i, TRAIN * DGRAM, DGRAM);
	if (!tun_offload(mi.tun)->uso) {
		t_skip("no USO");
		goto out;
	}
	do {
		n = tun_read(mi.tun, &in);
		T(n < TUN_BATCH);
		T_EQ(tun_more(mi.tun), read + n < 30 || n * (TRAIN * DGRAM) > TUN_ARENA * 9 / 10);
		for (size_t i = 0; i < n; i++) {
			memset(in[i].data - TUN_HEADROOM, 0xee, TUN_HEADROOM);
			memset(in[i].data + in[i].len, 0xdd, TUN_TAILROOM);
		}
		for (size_t i = 0; i < n; i++) {
			T_EQ(in[i].len, 28 + TRAIN * DGRAM);
			T_MEM(in[i].data + 28, pattern(read++, TRAIN * DGRAM), TRAIN * DGRAM);
		}
		batches += n > 0;
	} while (n);
	T_EQ(read, 30);
	T(batches == 2);
out:
	close(to);
	close(from);
	tun_close(mi.tun);
}

/* Many small ones: the kernel takes no more than 128 in one UDP packet. What it refuses arrives
 * packet by packet, and after some refusals nothing is joined any more. */
static void test_refused(void)
{
	static uint8_t head[28 + 1000], rest[1000];
	int to = sock(AF_INET, SOCK_DGRAM, "10.99.0.1", 7000);
	struct off_super s = {.gso = {.kind = OFF_UDP,
				      .csum = true,
				      .hdr_len = 28,
				      .size = 10,
				      .csum_start = 20,
				      .csum_off = 6},
			      .packets = 200,
			      .bytes = 200 * 38,
			      .len = 28 + 2000,
			      .vecs = 2,
			      .vec = {{head, sizeof(head)}, {rest, sizeof(rest)}}};
	const uint8_t ip[20] = {0x45, 0, 2028 >> 8, 2028 & 255, 0, 1, 0,  0,  64, 17,
				0,    0, 10,	    99,		0, 2, 10, 99, 0,  1};
	uint8_t b[64];

	up(false);
	if (!tun_joins_udp(mi.tun)) {
		t_skip("no USO");
		tun_close(mi.tun);
		return;
	}
	memcpy(head, ip, 20);
	be16_put(head + 10, ip_csum(head, 20));
	be16_put(head + 20, 7001);
	be16_put(head + 22, 7000);
	be16_put(head + 24, 2008);
	memcpy(head + 28, pattern(0, 2000), 1000);
	memcpy(rest, pattern(0, 2000) + 1000, 1000);
	for (unsigned k = 0; k < 10; k++) {
		T_EQ(tun_write_super(mi.tun, &s), 0);
		for (unsigned i = 0; i < 200; i++) {
			T_EQ(recv(to, b, sizeof(b), 0), 10);
			T_MEM(b, pattern(10 * i, 10), 10);
		}
		T_EQ(recv(to, b, sizeof(b), 0), -1);
		T_EQ(tun_joins_udp(mi.tun), k < 7);
	}
	T_EQ(tun_stats(mi.tun)->tx_refused, 8);
	T_EQ(tun_stats(mi.tun)->tx_packets, 2000);
	T_EQ(tun_stats(mi.tun)->tx_super, 0);
	T(tun_joins_tcp(mi.tun));
	close(to);
	tun_close(mi.tun);
}

/* A device that is down says so and forgets nothing. */
static void test_down(void)
{
	struct tun_pkt *p;
	uint8_t pkt[28] = {0x45, 0, 0, 28};

	up(false);
	shell("ip link set tun-off down");
	for (int i = 0; i < 3; i++) /* what the kernel sent of its own when it came up */
		tun_read(mi.tun, &p);
	T_EQ(tun_read(mi.tun, &p), 0);
	T(!tun_more(mi.tun));
	T_EQ(tun_write(mi.tun, pkt, sizeof(pkt)), -EIO);
	T_EQ(tun_stats(mi.tun)->tx_errors, 1);
	tun_close(mi.tun);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_tcp4);
	T_RUN(test_tcp6);
	T_RUN(test_tcp_damaged);
	T_RUN(test_without);
	T_RUN(test_udp);
	T_RUN(test_arena);
	T_RUN(test_refused);
	T_RUN(test_down);
	return t_done();
}
