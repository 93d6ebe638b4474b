/* SPDX-License-Identifier: Apache-2.0
 *
 * Trains of datagrams over loopback: what was put comes out whole, in order and in its sizes, with
 * headers and marks, as trains and one by one. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "io/gso.h"
#include "tests/t.h"

static struct gso_sock a, b;
static struct endpoint at_a, at_b;
static struct gro_rx *rx;
static struct gso_tx *tx;
static uint8_t data[2048];

static struct endpoint where(const struct gso_sock *s)
{
	struct endpoint e = {.port = 0};
	union sockaddr_any sa;
	socklen_t len = sizeof(sa);

	T_EQ(getsockname(s->fd, &sa.sa, &len), 0);
	sockaddr_to_endpoint(&sa, &e);
	return e;
}

static void open_both(const char *ip, bool pktinfo)
{
	struct gso_sock_cfg cfg = {.pktinfo = pktinfo, .rcvbuf = 1 << 20, .sndbuf = 1 << 20};
	struct io_err err = {""};

	T_EQ(ipaddr_parse(ip, &cfg.bind.ip), 0);
	T_EQ(gso_sock_open(&a, &cfg, &err), 0);
	T_EQ(gso_sock_open(&b, &cfg, &err), 0);
	at_a = where(&a);
	at_b = where(&b);
	rx = gro_rx_new();
	tx = gso_tx_new();
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31);
}

static void close_both(void)
{
	gso_sock_close(&a);
	gso_sock_close(&b);
	gro_rx_free(rx);
	gso_tx_free(tx);
}

/* What arrived, as sizes in order; bytes are checked against data from `from` on, after hdr. */
static size_t arrived(const uint8_t *hdr, size_t *sizes, size_t cap, uint8_t ecn)
{
	struct gro_msg *m;
	size_t n = 0, got;

	while ((got = gro_recv(rx, b.fd, GRO_BATCH, &m)))
		for (size_t i = 0; i < got; i++) {
			uint32_t off = 0;

			T(endpoint_eq(&m[i].remote, &at_a));
			T_EQ(m[i].ecn, ecn);
			do {
				uint32_t len = m[i].len - off < m[i].seg ? m[i].len - off
									 : m[i].seg;
				const uint8_t *p = m[i].data + off;
				size_t skip = hdr ? GSO_HDR_LEN : 0;

				T(!hdr || !memcmp(p, hdr, GSO_HDR_LEN));
				T(len >= skip && !memcmp(p + skip, data, len - skip));
				if (n < cap)
					sizes[n] = len - skip;
				n++;
				off += m[i].seg;
			} while (off < m[i].len);
		}
	return n;
}

static void send_sizes(const size_t *sizes, size_t n, const uint8_t *hdr, uint8_t ecn)
{
	const struct gso_to to = {.key = 7, .sock = &a, .dst = at_b, .ecn = ecn};

	for (size_t i = 0; i < n; i++)
		gso_put(tx, &to, hdr, data, sizes[i]);
	gso_flush(tx);
}

static void round_trip(const size_t *sizes, size_t n, const uint8_t *hdr, uint8_t ecn)
{
	size_t got[256] = {0};

	send_sizes(sizes, n, hdr, ecn);
	T_EQ(arrived(hdr, got, 256, ecn), n);
	for (size_t i = 0; i < n && i < 256; i++)
		T_EQ(got[i], sizes[i]);
}

static void all_shapes(void)
{
	static const uint8_t hdr[GSO_HDR_LEN] = {0x40, 1, 0, 100};
	size_t sizes[200];

	for (size_t i = 0; i < 200; i++)
		sizes[i] = 1200;
	round_trip(sizes, 1, NULL, 0);
	round_trip(sizes, 64, NULL, 1);
	round_trip(sizes, 200, NULL, 2);
	round_trip(sizes, 200, hdr, 3);
	for (size_t i = 0; i < 200; i++)
		sizes[i] = i % 5 ? 100 : 60; /* a short one closes a train */
	round_trip(sizes, 200, hdr, 0);
	for (size_t i = 0; i < 100; i++)
		sizes[i] = i; /* growing: no train of two; the first is empty */
	round_trip(sizes, 100, NULL, 1);
}

static void test_trains(void)
{
	open_both("127.0.0.1", true);
	all_shapes();
	T(gso_tx_stats(tx)->calls < 200);
	T_EQ(gso_tx_stats(tx)->failed + gso_tx_stats(tx)->blocked, 0);
	close_both();
}

/* The longest train a tunnel's end sends by an Ethernet's MTU (45 datagrams of 1448 bytes) is one
 * with channel headers as well: a relay that cut it would send two for each. */
static void test_longest_train(void)
{
	static const uint8_t hdr[GSO_HDR_LEN] = {0x40, 1, 5, 168};
	size_t sizes[45];
	struct gro_msg *m;

	open_both("127.0.0.1", false);
	for (size_t i = 0; i < 45; i++)
		sizes[i] = 1448;
	send_sizes(sizes, 45, hdr, 0);
	T_EQ(gro_recv(rx, b.fd, GRO_BATCH, &m), 1);
	T_EQ(m[0].len, 45 * (1448 + GSO_HDR_LEN));
	T_EQ(m[0].seg, 1448 + GSO_HDR_LEN);
	close_both();
}

static void test_one_by_one(void)
{
	open_both("127.0.0.1", false);
	a.no_gso = true;
	all_shapes();
	T_EQ(gso_tx_stats(tx)->failed + gso_tx_stats(tx)->blocked, 0);
	close_both();
}

/* The kernel does not segment what carries no checksum: the train goes out all the same. */
static void test_refused_train_is_sent_again(void)
{
	size_t sizes[40];
	int on = 1;

	open_both("127.0.0.1", false);
	T_EQ(setsockopt(a.fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
	for (size_t i = 0; i < 40; i++)
		sizes[i] = 500;
	round_trip(sizes, 40, NULL, 0);
	T_EQ(gso_tx_stats(tx)->fallbacks, 1);
	T_EQ(gso_tx_stats(tx)->packets, 40);
	close_both();
}

static void test_flows_do_not_mix(void)
{
	static struct gso_sock c;
	struct gso_sock_cfg cfg = {.bind.ip = ipaddr_v4(127, 0, 0, 1)};
	size_t got[64];
	struct gro_msg *m;
	uint64_t n = 0;

	open_both("127.0.0.1", false);
	T_EQ(gso_sock_open(&c, &cfg, NULL), 0);
	for (int i = 0; i < 40; i++) {
		struct gso_to to = {.key = 1, .sock = &a, .dst = at_b};

		gso_put(tx, &to, NULL, data, 300);
		/* 65 shares the place in the table of open trains */
		to = (struct gso_to){.key = 65, .sock = &a, .dst = where(&c)};
		gso_put(tx, &to, NULL, data, 200);
	}
	gso_flush(tx);
	T_EQ(arrived(NULL, got, 64, 0), 40);
	for (size_t i = 0, k; (k = gro_recv(rx, c.fd, GRO_BATCH, &m)); i++)
		for (size_t j = 0; j < k; j++)
			n += m[j].len;
	T_EQ(n, 40 * 200);
	gso_sock_close(&c);
	close_both();
}

static void test_ipv6(void)
{
	struct gso_sock_cfg cfg = {.bind.ip.family = 6};
	struct gso_sock probe;

	cfg.bind.ip.b[15] = 1;
	if (gso_sock_open(&probe, &cfg, NULL)) {
		t_skip("no IPv6");
		return;
	}
	gso_sock_close(&probe);
	open_both("::1", true);
	all_shapes();
	close_both();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_trains);
	T_RUN(test_longest_train);
	T_RUN(test_one_by_one);
	T_RUN(test_refused_train_is_sent_again);
	T_RUN(test_flows_do_not_mix);
	T_RUN(test_ipv6);
	return t_done();
}
