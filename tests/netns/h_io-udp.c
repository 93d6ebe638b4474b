/* SPDX-License-Identifier: Apache-2.0
 *
 * Merged datagrams over links, inside the namespace that t_io.sh made (see h_io.c): a link of a
 * small MTU, a device without checksum offload, a socket that blocks, pinned sources. What needs no
 * link is in tests/unit/test_udp.c.
 *
 * The far ends lie in a second namespace, NAME of the argument, behind v0 (10.77.0.9, fd77::9) and
 * behind small0 (10.78.0.2, fd78::2; MTU 1300):
 *
 *     h_io-udp NAME [filter] */
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#include "io/udp.h"
#include "tests/netns/io_help.h"
#include "tests/t.h"

#define PORT 40100

static const char *far_ns;
#define WORKERS	     3
#define DATA_MESSAGE 4 /* as put() writes it */

static struct udp *a, *b; /* here; there */
static struct udp *member[1 + WORKERS];
static struct {
	struct udp_dgram *list;
	size_t n, used;
} in[2]; /* what was received, by family */
static bool lost;

static int enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = setns(fd, CLONE_NEWNET);
	close(fd);
	return rc;
}

/* From here to the far namespace; the way back, for come_back. */
static int go_there(void)
{
	char here[64], there[64];
	int back;

	snprintf(here, sizeof(here), "/proc/%d/task/%d/ns/net", getpid(), gettid());
	snprintf(there, sizeof(there), "/run/netns/%s", far_ns);
	back = open(here, O_RDONLY | O_CLOEXEC);
	T_EQ(enter(there), 0);
	return back;
}

static void come_back(int back)
{
	T_EQ(setns(back, CLONE_NEWNET), 0);
	close(back);
}

static bool ends_open(const struct udp_cfg *cfg)
{
	bool opened;
	int back;

	memset(in, 0, sizeof(in));
	lost = false;
	back = go_there();
	opened = ok(udp_open(&b, &(struct udp_cfg){.port = PORT}, &err));
	come_back(back);
	return T(opened) && T(ok(udp_open(&a, cfg, &err)));
}

/* A group there: member[0] and n workers. */
static bool group_open(unsigned n)
{
	int back = go_there();
	bool opened;

	opened = ok(udp_open(&member[0], &(struct udp_cfg){.port = PORT, .shared = true}, &err));
	for (unsigned i = 1; opened && i <= n; i++)
		opened = ok(udp_open_member(&member[i], member[0], &err));
	opened = opened && ok(udp_steer(member[0], n, &err));
	come_back(back);
	return T(opened);
}

static void group_close(void)
{
	for (unsigned i = WORKERS + 1; i-- > 0;)
		udp_close(member[i]);
}

static void ends_close(void)
{
	udp_close(a);
	udp_close(b);
}

/* Datagram number i begins with i. */
static void put(const char *src, const char *to, uint8_t ecn, uint32_t i, size_t len)
{
	struct endpoint remote = at(to, PORT);
	struct ipaddr from = {0};
	uint8_t *p = udp_reserve(a, remote.ip.family);

	if (src)
		from = addr(src);
	if (!T(p != NULL))
		return;
	memset(p, (int)(i * 7), len);
	memcpy(p, &i, sizeof(i));
	udp_commit(a, &from, &remote, ecn, len);
}

/* The next datagram there; NULL when none comes. */
static struct udp_dgram *next(int family)
{
	bool more;

	while (in[family == 6].used == in[family == 6].n) {
		if (!udp_rx_held(b, family) && !readable(udp_fd(b, family), 1000))
			return NULL;
		in[family == 6].n = udp_recv(b, family, &in[family == 6].list, &more);
		in[family == 6].used = 0;
	}
	return &in[family == 6].list[in[family == 6].used++];
}

/* The next datagram is number i; after one that is not, no more is said. */
static void expect(int family, uint32_t i, size_t len, uint8_t ecn, const char *src)
{
	struct udp_dgram *d = lost ? NULL : next(family);
	struct ipaddr from = {0};
	uint32_t got = 0;

	if (!lost && !d)
		t_note("datagram %u did not come", i);
	if (lost || !T(d != NULL)) {
		lost = true;
		return;
	}
	memcpy(&got, d->data, sizeof(got));
	lost = !T_EQ(got, i) || !T_EQ(d->len, len) || !T_EQ(d->ecn, ecn) ||
	       !T_EQ(d->data[len - 1], (uint8_t)(i * 7));
	if (src) {
		from = addr(src);
		T(ipaddr_eq(&d->remote.ip, &from));
	}
}

static void test_pinned_and_marked_runs(void)
{
	static const char *const src[2][2] = {{"10.77.0.1", "10.77.0.2"}, {"fd77::1", "fd77::2"}};
	static const char *const to[2] = {"10.77.0.9", "fd77::9"};

	if (!ends_open(&(struct udp_cfg){0}))
		return;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		int family = v6 ? 6 : 4;

		for (uint32_t i = 0; i < 240; i++)
			put(src[v6][i / 60 % 2], to[v6], i / 30 % 4, i, i % 60 == 59 ? 700 : 1400);
		udp_flush(a);
		for (uint32_t i = 0; i < 240; i++)
			expect(family, i, i % 60 == 59 ? 700 : 1400, i / 30 % 4,
			       src[v6][i / 60 % 2]);
		T(next(family) == NULL);
	}
	T_EQ(udp_stats(a)->tx_merged, udp_gso(a, 4) ? 16 : 0);
	T(!udp_gso(a, 4) || !udp_gro(b, 4) || udp_stats(b)->rx_merged > 0);
	ends_close();
}

/* Segments longer than the link's MTU: each is counted, and what fits goes, in its order. */
static void test_mtu_smaller_than_segment(void)
{
	static const char *const to[2] = {"10.78.0.2", "fd78::2"};

	for (unsigned mode = 0; mode < 4; mode++) {
		int family = mode & 1 ? 6 : 4;

		if (!ends_open(&(struct udp_cfg){.no_gso = mode & 2}))
			return;
		for (uint32_t i = 0; i < 60; i++) /* twenty of each, twice ended by a short one */
			put(NULL, to[mode & 1], 0, i,
			    i < 20	  ? 1200
			    : i < 40	  ? 1400
			    : i % 10 == 9 ? 100
					  : 1400);
		udp_flush(a);
		T_EQ(udp_stats(a)->tx_too_big, 38);
		T_EQ(udp_stats(a)->tx_packets, 22);
		T_EQ(udp_stats(a)->tx_bytes, 20 * 1200 + 2 * 100);
		T_EQ(udp_pending(a, family), 0);
		T(udp_gso(a, family) == !(mode & 2) || udp_stats(a)->tx_merged == 0);
		for (uint32_t i = 0; i < 20; i++)
			expect(family, i, 1200, 0, NULL);
		expect(family, 49, 100, 0, NULL);
		expect(family, 59, 100, 0, NULL);
		T(next(family) == NULL);
		T(mode & 2 || !udp_gso(a, family) || udp_stats(a)->tx_fallbacks == 2);
		ends_close();
	}
}

/* A source that is gone: every datagram of the run is counted, those of its neighbours go. */
static void test_source_gone_in_a_run(void)
{
	if (!ends_open(&(struct udp_cfg){0}))
		return;
	for (uint32_t i = 0; i < 30; i++) {
		put(i / 10 == 1 ? "10.77.0.77" : "10.77.0.1", "10.77.0.9", 0, i, 500);
		put(i / 10 == 1 ? "fd77::77" : "fd77::1", "fd77::9", 0, i, 500);
	}
	udp_flush(a);
	T_EQ(udp_stats(a)->tx_unreachable, 10);
	T_EQ(udp_stats(a)->tx_source_gone, 10);
	T_EQ(udp_stats(a)->tx_packets, 40);
	for (uint32_t i = 0; i < 30; i++)
		if (i / 10 != 1) {
			expect(4, i, 500, 0, "10.77.0.1");
			expect(6, i, 500, 0, "fd77::1");
		}
	ends_close();
}

/* The kernel cuts the message up itself, or refuses and we do: nobody sees a difference. */
static void test_no_checksum_offload(void)
{
	shell("ethtool -K v0 tx off 2>&1");
	if (ends_open(&(struct udp_cfg){0})) {
		for (uint32_t i = 0; i < 100; i++) {
			put(NULL, "10.77.0.9", 2, i, 1400);
			put(NULL, "fd77::9", 2, i, 1400);
		}
		udp_flush(a);
		T_EQ(udp_stats(a)->tx_packets, 200);
		for (uint32_t i = 0; i < 100; i++) {
			expect(4, i, 1400, 2, NULL);
			expect(6, i, 1400, 2, NULL);
		}
		ends_close();
	}
	shell("ethtool -K v0 tx on 2>&1");
}

/* A firewall that goes by length must not take what it would let pass alone. */
static void test_firewall_by_length(void)
{
	if (!ends_open(&(struct udp_cfg){0}))
		return;
	shell("nft 'table inet t { chain o { type filter hook output priority 0; udp dport 40100 "
	      "meta length > 1500 drop; }; }'");
	for (uint32_t i = 0; i < 20; i++)
		put(NULL, "10.77.0.9", 0, i, 1200);
	udp_flush(a);
	T_EQ(udp_stats(a)->tx_packets, 20);
	T_EQ(udp_stats(a)->tx_permission, 0);
	for (uint32_t i = 0; i < 20; i++)
		expect(4, i, 1200, 0, NULL);
	shell("nft delete table inet t");
	ends_close();
}

/* A neighbour that does not answer yet holds the socket's memory: what does not go stays, and then
 * goes in its order. Its name resolves once the far address exists. */
static void test_blocked_loses_nothing(void)
{
	char cmd[200];
	uint32_t i = 0;
	int turns = 0;

	snprintf(cmd, sizeof(cmd), "ip netns exec %s ip addr del 10.77.0.9/24 dev v1 2>&1", far_ns);
	T_STR(shell(cmd), "");
	shell("ip neigh flush dev v0");
	if (ends_open(&(struct udp_cfg){.sndbuf = 4096})) {
		for (; i < 200; i++)
			put(NULL, "10.77.0.9", 0, i, i % 50 < 40 ? 1400 : 300);
		udp_flush(a);
		T(udp_pending(a, 4) > 0);
		T_EQ(udp_pending(a, 4) + udp_stats(a)->tx_packets, 200);
		snprintf(
			cmd, sizeof(cmd),
			"ip netns exec %s ip addr add 10.77.0.9/24 dev v1 2>&1; ip neigh replace "
			"10.77.0.9 dev v0 lladdr $(ip netns exec %s cat /sys/class/net/v1/address)",
			far_ns, far_ns);
		T_STR(shell(cmd), "");
		for (; i < 300; i++)
			put(NULL, "10.77.0.9", 0, i, i % 50 < 40 ? 1400 : 300);
		while (udp_pending(a, 4) && turns++ < 1000) {
			struct pollfd p = {.fd = udp_fd(a, 4), .events = POLLOUT};

			T(poll(&p, 1, 2000) == 1);
			udp_flush(a);
		}
		T_EQ(udp_pending(a, 4), 0);
		T_EQ(udp_stats(a)->tx_packets, 300);
		for (i = 0; i < 300; i++)
			expect(4, i, i % 50 < 40 ? 1400 : 300, 0, NULL);
		ends_close();
	}
}

/* A run of n data messages from one port of ours; what of it came, at whichever socket. */
static size_t run_to_group(int family, uint16_t port, size_t n)
{
	struct pollfd p[1 + WORKERS];
	struct udp_dgram *d;
	size_t got = 0;
	bool more;

	T(ok(udp_open(&a, &(struct udp_cfg){.port = port}, &err)));
	for (size_t i = 0; i < n; i++)
		put(NULL, family == 4 ? "10.77.0.9" : "fd77::9", 0, DATA_MESSAGE, 1200);
	udp_flush(a);
	udp_close(a);
	for (unsigned m = 0; m <= WORKERS; m++)
		p[m] = (struct pollfd){.fd = udp_fd(member[m], family), .events = POLLIN};
	while (got < n && poll(p, 1 + WORKERS, 1000) > 0)
		for (unsigned m = 0; m <= WORKERS; m++)
			got += udp_recv(member[m], family, &d, &more);
	return got;
}

/* The kernel looks a socket up twice: while it joins (by a hash of its own, any member says that
 * joining is welcome), and once more with the whole, by the program. */
static void test_kernel_joins_for_all_members(void)
{
	char cmd[200];

	/* ours leave singly, so that there is something to join, and from a device whose peer joins
	 */
	shell("ethtool -K v0 tx-udp-segmentation off tso off 2>&1");
	for (int on = 0; on < 2 && group_open(WORKERS); on++) {
		snprintf(cmd, sizeof(cmd), "ip netns exec %s ethtool -K v1 gro %s 2>&1", far_ns,
			 on ? "on" : "off");
		shell(cmd);
		for (uint16_t i = 0; i < 24; i++) {
			T_EQ(run_to_group(4, (uint16_t)(30000 + i), 32), 32);
			T_EQ(run_to_group(6, (uint16_t)(30000 + i), 32), 32);
		}
		T_EQ(udp_stats(member[0])->rx_packets, 0);
		for (unsigned m = 1; m <= WORKERS; m++) {
			const struct udp_stats *st = udp_stats(member[m]);

			T(st->rx_packets >= 4 * 32);
			T_EQ(st->rx_packets % 32, 0);
			if (!T_EQ(st->rx_merged > 0, on && udp_gro(member[m], 4)))
				t_note("member %u: %llu packets", m,
				       (unsigned long long)st->rx_packets);
		}
		group_close();
	}
	shell("ethtool -K v0 tx-udp-segmentation on tso on 2>&1");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: h_io-udp NETNS [filter]\n");
		return 2;
	}
	far_ns = argv[1];
	argv[1] = argv[0];
	t_init(argc - 1, argv + 1);
	T_RUN(test_pinned_and_marked_runs);
	T_RUN(test_mtu_smaller_than_segment);
	T_RUN(test_source_gone_in_a_run);
	T_RUN(test_no_checksum_offload);
	T_RUN(test_firewall_by_length);
	T_RUN(test_kernel_joins_for_all_members);
	T_RUN(test_blocked_loses_nothing);
	return t_done();
}
