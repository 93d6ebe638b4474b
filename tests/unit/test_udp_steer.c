/* SPDX-License-Identifier: Apache-2.0
 *
 * A group of sockets over loopback: who gets which datagram. The kernel's decision is compared with
 * its mirror in C for every datagram that comes (tests/netns/h_io-udp.c: joined by the kernel's
 * GRO). */
#include <stdlib.h>
#include "base/bytes.h"
#include "io/sockaddr.h"
#include "tests/unit/udp_group.h"
#include "tests/unit/udp_settle.h"

#define DGRAM_MAX 64

static size_t heard[1 + WORKERS_MAX]; /* datagrams, by member */
static unsigned last;		      /* the member of the last one */

static bool begin(unsigned n)
{
	memset(heard, 0, sizeof(heard));
	return group_open(&(struct udp_cfg){.shared = true}, n);
}

/* The member by the mirror, for what was received: its bytes as they were on the wire. */
static unsigned mirrored(const struct udp_dgram *d)
{
	static uint8_t pkt[40 + 8 + UDP_BUF_LEN];
	size_t ip_len = d->remote.ip.family == 6 ? 40 : 20;

	memset(pkt, 0, sizeof(pkt));
	pkt[0] = ip_len == 40 ? 0x60 : 0x45;
	memcpy(pkt + (ip_len == 40 ? 8 : 12), d->remote.ip.b, ip_len == 40 ? 16 : 4);
	be16_put(pkt + ip_len, d->remote.port);
	memcpy(pkt + ip_len + 8, d->data, d->len);
	return udp_steer_member(pkt, ip_len + 8 + d->len, workers);
}

/* All that came, at all members; the number. */
static size_t hear_group(int family)
{
	size_t all = 0;

	settle();
	for (unsigned m = 0; m <= workers; m++) {
		struct udp_dgram *d;
		bool more = true;

		while (more) {
			size_t n = udp_recv(member[m], family, &d, &more);

			for (size_t i = 0; i < n; i++)
				T_EQ(mirrored(&d[i]), m);
			heard[m] += n;
			all += n;
			last = n ? m : last;
		}
	}
	return all;
}

/* ---- senders ------------------------------------------------------------------------------------
 */

static union sockaddr_any source(int family, const struct ipaddr *ip, uint16_t port)
{
	struct endpoint e = {.port = port};
	union sockaddr_any sa;

	T_EQ(ipaddr_parse(family == 6 ? "::1" : "127.0.0.1", &e.ip), 0);
	if (ip)
		e.ip = *ip;
	sockaddr_from_endpoint(&e, &sa);
	return sa;
}

static socklen_t sa_len(int family)
{
	return family == 6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* -1: that port is somebody's */
static int sender(int family, const struct ipaddr *ip, uint16_t port)
{
	union sockaddr_any from = source(family, ip, port);
	union sockaddr_any to = source(family, NULL, udp_port(member[0], family));
	int fd = socket(from.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

	if (family == 6)
		T_EQ(setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)), 0);
	if (bind(fd, &from.sa, sa_len(family)) == 0 && T_EQ(connect(fd, &to.sa, sa_len(family)), 0))
		return fd;
	close(fd);
	return -1;
}

static void say(int fd, const void *data, size_t len)
{
	T_EQ(send(fd, data, len, 0), len);
}

/* One datagram; the member that got it. */
static unsigned told(int fd, int family, const void *data, size_t len)
{
	last = UINT32_MAX;
	say(fd, data, len);
	T_EQ(hear_group(family), 1);
	return last;
}

static size_t data_message(uint8_t *p, uint16_t channel)
{
	uint8_t *m = p + (channel ? 4 : 0);

	memset(p, 0x5a, DGRAM_MAX);
	if (channel) {
		be16_put(p, channel);
		be16_put(p + 2, 32);
	}
	be32_put(m, 0x04000000);
	return (channel ? 4 : 0) + 32;
}

/* ---- the tests ----------------------------------------------------------------------------------
 */

static void test_control_is_the_firsts(void)
{
	static const struct {
		const char *hex;
	} c[] = {
		{""},
		{"04"},
		{"040000"},
		{"01000000 0000"},
		{"02000000 0000"},
		{"03000000 0000"},
		{"04000001 00000000 00000000"},
		{"04000100 00000000 00000000"},
		{"04010000 00000000 00000000"},
		{"05000000 00000000 00000000"},
		{"84000000 04000000 00000000"},
		{"00010000 2112a442 04000000"},
		{"01010008 04000000 04000000"},
		{"40"},
		{"40000004"},
		{"40000004 040000"},
		{"40000004 01000000"},
		{"40000004 04000001 00000000"},
		{"7fff0004 02000000 00000000"},
		{"3fff0004 04000000 00000000"},
		{"80000004 04000000 00000000"},
		{"c0000004 04000000 00000000"},
		{"00000000 04000000"},
	};
	uint8_t p[DGRAM_MAX];

	for (unsigned n = 0; n <= WORKERS_MAX && begin(n); n++) {
		for (int family = 4; family <= 6; family += 2) {
			int fd = sender(family, NULL, 0);

			for (size_t i = 0; T(fd >= 0) && i < sizeof(c) / sizeof(c[0]); i++)
				if (!T_EQ(told(fd, family, p, t_unhex(c[i].hex, p, sizeof(p))), 0))
					t_note("case %s", c[i].hex);
			close(fd);
		}
		group_close();
	}
}

/* Data goes to a worker, however short, and one path's always to the same. */
static void test_one_path_one_member(void)
{
	static const char *const data[] = {
		"04000000",
		"04000000 11",
		"04000000 22222222 3333333333333333",
		"04000000 ffffffff ffffffffffffffff 00",
	};
	uint8_t p[DGRAM_MAX];

	for (unsigned n = 1; n <= WORKERS_MAX && begin(n); n++) {
		for (int path = 0; path < 16; path++) {
			int family = path % 2 ? 6 : 4, fd = sender(family, NULL, 0);
			unsigned m = 0;

			for (size_t i = 0; T(fd >= 0) && i < sizeof(data) / sizeof(data[0]); i++) {
				unsigned to = told(fd, family, p, t_unhex(data[i], p, sizeof(p)));

				T(to >= 1 && to <= n);
				T(!i || to == m);
				m = to;
			}
			T_EQ(told(fd, family, "", 0),
			     0); /* its control is another's all the same */
			T_EQ(told(fd, family, p, data_message(p, 0)), m);
			close(fd);
		}
		group_close();
	}
}

/* No member gets a fifth more or less than its share. */
static void spread(size_t all)
{
	T_EQ(heard[0], 0);
	for (unsigned m = 1; m <= workers; m++)
		if (!T(heard[m] * workers * 5 >= all * 4 && heard[m] * workers * 5 <= all * 6))
			t_note("member %u of %u: %zu of %zu", m, workers, heard[m], all);
}

static void test_ports_spread(void)
{
	uint8_t p[DGRAM_MAX];

	for (unsigned n = 1; n <= WORKERS_MAX; n++)
		for (int family = 4; family <= 6 && begin(n); family += 2) {
			size_t sent_n = 0, got = 0;

			for (uint16_t port = 20000; sent_n < 1000 && port < 22000; port++) {
				int fd = sender(family, NULL, port);

				if (fd < 0)
					continue;
				say(fd, p, data_message(p, 0));
				close(fd);
				if (++sent_n % 100 == 0)
					got += hear_group(family);
			}
			T_EQ(sent_n, 1000);
			T_EQ(got, 1000);
			spread(1000);
			group_close();
		}
}

static void test_addresses_spread(void)
{
	uint8_t p[DGRAM_MAX];

	for (unsigned n = 1; n <= WORKERS_MAX && begin(n); n++) {
		struct ipaddr ip;
		size_t got = 0;

		T_EQ(ipaddr_parse("127.9.0.0", &ip), 0);
		for (unsigned i = 0; i < 1000; i++) {
			int fd;

			ip.b[2] = (uint8_t)(i >> 8);
			ip.b[3] = (uint8_t)i;
			fd = sender(4, &ip, UDP_PORT_PREFERRED);
			if (T(fd >= 0))
				say(fd, p, data_message(p, 0));
			close(fd);
			if (i % 100 == 99)
				got += hear_group(4);
		}
		T_EQ(got, 1000);
		spread(1000);
		group_close();
	}
}

/* What a relay forwards comes from one address and port, and is one worker's, whatever the channel:
 * the kernel joins datagrams of different channels. */
static void test_channels_stay(void)
{
	uint8_t p[DGRAM_MAX];

	for (unsigned n = 1; n <= WORKERS_MAX; n++)
		for (int family = 4; family <= 6 && begin(n); family += 2) {
			int fd = sender(family, NULL, 0);
			unsigned m = told(fd, family, p, data_message(p, 0));

			for (uint16_t i = 0; T(fd >= 0) && i < 50; i++)
				T_EQ(told(fd, family, p,
					  data_message(p, (uint16_t)(0x4000 + 327 * i))),
				     m);
			T(m >= 1);
			close(fd);
			group_close();
		}
}

/* Does one bit of byte `at` decide, in some packet? */
static bool differs(uint8_t first, size_t payload, size_t at, unsigned i, uint64_t *rnd)
{
	uint8_t p[48 + DGRAM_MAX];
	unsigned was;

	for (size_t k = 0; k < sizeof(p); k++)
		p[k] = (uint8_t)t_rand(rnd);
	p[0] = first;
	data_message(p + payload, (uint16_t)(0x4000 | i));
	was = udp_steer_member(p, payload + 36, WORKERS_MAX);
	p[at] ^= (uint8_t)(1 << i % 8);
	return udp_steer_member(p, payload + 36, WORKERS_MAX) != was;
}

/* The decision is made of the source's address and port, all bytes of them, and of
 * nothing else; the channel's first bits and the type say whether there is one. By the mirror,
 * which the others compare with the kernel. */
static void test_every_byte_counts(void)
{
	static const struct {
		uint8_t first;
		size_t src, src_end, port, payload;
	} f[] = {{0x45, 12, 16, 20, 28}, {0x60, 8, 24, 40, 48}};
	uint64_t rnd = t_seed();

	for (size_t v6 = 0; v6 < 2; v6++)
		for (size_t at = 1; at < f[v6].payload + 36; at++) {
			size_t in = at - f[v6].payload; /* the payload, where it is less than 36 */
			bool counts = (at >= f[v6].src && at < f[v6].src_end) ||
				      (at >= f[v6].port && at < f[v6].port + 2) || in < 1 ||
				      (in >= 4 && in < 8);
			bool other = false;

			for (unsigned i = 0; i < 64; i++)
				other |= differs(f[v6].first, f[v6].payload, at, i, &rnd);
			if (!T_EQ(other, counts))
				t_note("byte %zu of IPv%d", at, v6 ? 6 : 4);
		}
}

static void queue(struct udp *from, const struct ipaddr *src, const struct endpoint *to,
		  const void *data, size_t len, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		T_EQ(udp_send(from, src, to, 0, data, len), 0);
}

/* Joined datagrams of one path arrive at one member, joined, and all members do with them. */
static void test_trains(void)
{
	uint8_t p[DGRAM_MAX];

	for (int family = 4; family <= 6 && begin(WORKERS_MAX); family += 2) {
		struct endpoint to = {.port = udp_port(member[0], family)};
		bool joins = false;
		size_t got = 0;

		T_EQ(ipaddr_parse(family == 6 ? "::1" : "127.0.0.1", &to.ip), 0);
		for (unsigned i = 0; i < 40; i++) {
			struct udp *from;

			T_EQ(udp_open(&from, &(struct udp_cfg){0}, &err), 0);
			queue(from, NULL, &to, p, data_message(p, i % 2 ? 0x4007 : 0), 20);
			udp_flush(from);
			got += hear_group(family);
			joins = udp_gso(from, family) && udp_gro(member[0], family);
			udp_close(from);
		}
		T_EQ(got, 40 * 20);
		for (unsigned m = 1; m <= workers; m++)
			T(heard[m] >= 20 && (!joins || udp_stats(member[m])->rx_merged > 0));
		for (unsigned m = 0; m <= workers; m++)
			T_EQ(udp_stats(member[m])->rx_packets, heard[m]);
		group_close();
	}
}

/* What is joined is not told apart: it goes where the first of it belongs. */
static void test_train_goes_by_its_first(void)
{
	for (int data_first = 0; data_first < 2 && begin(2); data_first++) {
		struct endpoint to = {.port = udp_port(member[0], 4)};
		uint8_t p[2][DGRAM_MAX];
		struct udp_dgram *d;
		struct udp *from;
		size_t n = 0;
		bool more;

		T_EQ(ipaddr_parse("127.0.0.1", &to.ip), 0);
		T_EQ(udp_open(&from, &(struct udp_cfg){0}, &err), 0);
		data_message(p[0], 0);
		data_message(p[1], 0);
		p[data_first][0] = 1;
		queue(from, NULL, &to, p[0], 32, 3);
		queue(from, NULL, &to, p[1], 32, 3);
		udp_flush(from);
		settle();
		for (unsigned m = data_first ? 1 : 0; m <= (data_first ? 2 : 0); m++)
			n += udp_recv(member[m], 4, &d, &more);
		T_EQ(n, udp_gso(from, 4) && udp_gro(member[0], 4) ? 6 : 3);
		udp_close(from);
		group_close();
	}
}

/* Random datagrams of random lengths from random sources; half of them are, or nearly are, data. */
static size_t any_datagram(uint8_t *p, uint64_t *rnd)
{
	static const uint8_t firsts[] = {0x04, 0x40, 0x4f, 0x7f, 0x80, 0x3f, 0x01, 0x00};
	size_t len = t_rand(rnd) % (DGRAM_MAX + 1);
	uint64_t r = t_rand(rnd);

	if (r % 8 < 5)
		len = data_message(p, r % 8 < 3 ? (uint16_t)(0x4000 | r >> 32 % 0x3fff) : 0);
	else
		for (size_t i = 0; i < len; i++)
			p[i] = (uint8_t)t_rand(rnd);
	if (r >> 8 & 1)
		p[0] = firsts[(r >> 16) % 8];
	if ((r >> 9) % 4 == 0)
		p[(r >> 20) % 8] ^= (uint8_t)(1 << (r >> 24) % 8);
	if ((r >> 11) % 4 == 0)
		len = (r >> 28) % 12;
	return len;
}

static void test_any_datagram(void)
{
	uint64_t rnd = t_seed();
	bool many_v6 = unshare(CLONE_NEWNET) == 0; /* where every address is ours */
	uint8_t p[DGRAM_MAX];

	if (many_v6)
		T_EQ(system("PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && "
			    "ip -6 route add local fd00::/8 dev lo"),
		     0);
	for (unsigned n = 1; n <= WORKERS_MAX && begin(n); n++) {
		size_t sent_n = 0, got = 0;

		for (unsigned i = 0; i < 2000; i++) {
			int family = i / 100 % 2 ? 6 : 4, fd;
			struct ipaddr ip = {.family = (uint8_t)family};

			for (size_t k = 0; k < 16; k++)
				ip.b[k] = (uint8_t)t_rand(&rnd);
			ip.b[0] = family == 4 ? 127 : 0xfd;
			fd = sender(family, family == 4 || many_v6 ? &ip : NULL,
				    (uint16_t)(1024 + t_rand(&rnd) % 60000));
			if (fd >= 0) {
				say(fd, p, any_datagram(p, &rnd));
				sent_n++;
			}
			close(fd);
			if (i % 100 == 99)
				got += hear_group(family);
		}
		T(sent_n > 1900);
		T_EQ(got, sent_n);
		for (unsigned m = 0; m <= n; m++)
			T(heard[m] > 50);
		group_close();
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	stay_here();
	T_RUN(test_control_is_the_firsts);
	T_RUN(test_one_path_one_member);
	T_RUN(test_ports_spread);
	T_RUN(test_addresses_spread);
	T_RUN(test_channels_stay);
	T_RUN(test_every_byte_counts);
	T_RUN(test_trains);
	T_RUN(test_train_goes_by_its_first);
	T_RUN(test_any_datagram);
	return t_done();
}
