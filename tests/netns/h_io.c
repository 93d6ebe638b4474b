/* SPDX-License-Identifier: Apache-2.0
 *
 * io/ against a real kernel, inside a network namespace that t_io.sh made:
 *
 *     v0 10.77.0.1/24 10.77.0.2/24 fd77::1/64 fd77::2/64, default routes by 10.77.0.254 and
 * fd77::fe
 *
 *     h_io [filter]        the tests
 *     h_io hold NAME       set up all that outlives a process, print "holding", undo it at SIGTERM
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include "base/bytes.h"
#include "io/ctl_socket.h"
#include "io/nft.h"
#include "io/nic.h"
#include "io/nl_addr.h"
#include "io/nl_link.h"
#include "io/nl_route.h"
#include "io/sysctl.h"
#include "io/tun.h"
#include "io/udp.h"
#include "tests/t.h"

static struct io_err err;

static bool ok(int rc)
{
	if (rc < 0)
		t_note("rc %d: %s", rc, err.msg);
	return rc == 0;
}

static struct ipaddr addr(const char *text)
{
	struct ipaddr a = {0};

	T(ipaddr_parse(text, &a) == 0);
	return a;
}

static struct endpoint at(const char *text, uint16_t port)
{
	return (struct endpoint){.ip = addr(text), .port = port};
}

static struct ipnet net(const char *text)
{
	struct ipnet n = {0};

	T(ipnet_parse(text, &n) == 0);
	return n;
}

static bool readable(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, wait_ms) == 1;
}

/* Output of a command, first 64 KiB. */
static const char *shell(const char *cmd)
{
	static char out[65536];
	FILE *f = popen(cmd, "r");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;

	out[n] = '\0';
	if (f)
		pclose(f);
	return out;
}

/* ---- udp ----------------------------------------------------------------------------------------
 */

static void test_udp_source_and_ecn(void)
{
	static const char *const src[2][2] = {{"10.77.0.1", "10.77.0.2"}, {"fd77::1", "fd77::2"}};
	struct udp *a, *b;
	struct udp_dgram *d;

	T(ok(udp_open(&a, &(struct udp_cfg){.fwmark = NL_FWMARK}, &err)));
	T(ok(udp_open(&b, &(struct udp_cfg){.port = 40000}, &err)));
	for (int v6 = 0; v6 < 2; v6++) {
		int family = v6 ? 6 : 4;
		struct endpoint to = at(src[v6][0], 40000);

		for (uint8_t ecn = 0; ecn < 4; ecn++) {
			struct ipaddr from = addr(src[v6][ecn & 1]);

			T_EQ(udp_send(a, &from, &to, ecn, "hello", 5), 0);
		}
		T_EQ(udp_pending(a, family), 4);
		udp_flush(a);
		T_EQ(udp_pending(a, family), 0);
		T(readable(udp_fd(b, family), 2000));
		T_EQ(udp_recv(b, family, &d), 4);
		for (uint8_t ecn = 0; ecn < 4; ecn++) {
			struct endpoint from = at(src[v6][ecn & 1], udp_port(a, family));

			T(endpoint_eq(&d[ecn].remote, &from));
			T(endpoint_eq(&d[ecn].local, &to));
			T_EQ(d[ecn].ecn, ecn);
			T_EQ(d[ecn].len, 5);
			T(!d[ecn].truncated && d[ecn].ifindex != 0);
			T_MEM(d[ecn].data, "hello", 5);
		}
		T_EQ(udp_recv(b, family, &d), 0);
	}
	T_EQ(udp_stats(a)->tx_packets, 8);
	T_EQ(udp_stats(b)->rx_packets, 8);
	T_EQ(udp_stats(b)->rx_bytes, 40);
	udp_close(a);
	udp_close(b);
}

static void test_udp_ports(void)
{
	struct udp_cfg cfg = {.port = UDP_PORT_PREFERRED};
	struct udp *a, *b, *c;
	uint32_t rcv, snd;

	T(ok(udp_open(&a, &cfg, &err)));
	T_EQ(udp_port(a, 4), UDP_PORT_PREFERRED);
	T_EQ(udp_port(a, 6), UDP_PORT_PREFERRED);
	udp_buffers(a, 4, &rcv, &snd);
	T_EQ(rcv, 16u << 20);
	T_EQ(snd, 2u << 20);
	T(ok(udp_open(&b, &cfg, &err)));
	T(udp_port(b, 4) != 0 && udp_port(b, 4) != UDP_PORT_PREFERRED);
	T(udp_port(b, 6) != 0 && udp_port(b, 6) != UDP_PORT_PREFERRED);
	cfg.port_strict = true;
	T_EQ(udp_open(&c, &cfg, &err), -EADDRINUSE);
	T(strstr(err.msg, "52625") != NULL);
	udp_close(a);
	T(ok(udp_rebind(b, &err)));
	T_EQ(udp_port(b, 4), UDP_PORT_PREFERRED);
	udp_close(b);
	cfg = (struct udp_cfg){.no_v6 = true};
	T(ok(udp_open(&a, &cfg, &err)));
	T_EQ(udp_fd(a, 6), -1);
	T_EQ(udp_missing(a, 6), -EAFNOSUPPORT);
	T_EQ(udp_send(a, NULL, &(struct endpoint){.ip = addr("fd77::1"), .port = 9}, 0, "x", 1),
	     -EAFNOSUPPORT);
	T_EQ(udp_stats(a)->tx_no_family, 1);
	udp_close(a);
	T_EQ(udp_open(&a, &(struct udp_cfg){.no_v4 = true, .no_v6 = true}, &err), -EAFNOSUPPORT);
}

/* One bad datagram must not take its neighbours along. */
static void test_udp_errors_in_a_batch(void)
{
	struct endpoint to = at("10.77.0.1", 40000), nowhere = at("198.18.0.1", 9),
			big = at("10.77.0.99", 9);
	struct endpoint to6 = at("fd77::1", 40000);
	struct ipaddr gone = addr("10.77.0.77"), gone6 = addr("fd77::77");
	static uint8_t buf[UDP_BUF_LEN + 1];
	struct udp *a, *b;
	struct udp_dgram *d;

	T(strlen(shell("ip route add unreachable 198.18.0.0/15 2>&1")) == 0);
	T(ok(udp_open(&a, &(struct udp_cfg){.fwmark = NL_FWMARK}, &err)));
	T(ok(udp_open(&b, &(struct udp_cfg){.port = 40000}, &err)));
	T_EQ(udp_send(a, NULL, &to, 0, "1", 1), 0);
	T_EQ(udp_send(a, NULL, &nowhere, 0, "2", 1), 0);
	T_EQ(udp_send(a, &gone, &to, 0, "3", 1), 0);
	T_EQ(udp_send(a, &gone6, &to6, 0, "3", 1), 0);
	T_EQ(udp_send(a, NULL, &to, 0, "4", 1), 0);
	T_EQ(udp_send(a, NULL, &big, 0, buf, 1473), 0); /* MTU 1500: DF, so it may not go */
	T_EQ(udp_send(a, NULL, &to, 0, "", 0), 0);
	T_EQ(udp_send(a, NULL, &to, 0, buf, UDP_BUF_LEN + 1), -EMSGSIZE);
	udp_flush(a);
	T_EQ(udp_pending(a, 4), 0);
	T_EQ(udp_stats(a)->tx_packets, 3);
	T_EQ(udp_stats(a)->tx_unreachable, 2);
	T_EQ(udp_stats(a)->tx_source_gone, 1);
	T_EQ(udp_stats(a)->tx_too_big, 1);
	T(readable(udp_fd(b, 4), 2000));
	T_EQ(udp_recv(b, 4, &d), 3);
	T(d[0].data[0] == '1' && d[1].data[0] == '4' && d[2].len == 0);
	udp_close(a);
	udp_close(b);
	shell("ip route del unreachable 198.18.0.0/15");
}

static void test_udp_long_and_firewalled(void)
{
	static uint8_t buf[3000];
	struct endpoint to = at("127.0.0.1", 40000), shut = at("127.0.0.1", 40001);
	struct udp *a, *b;
	struct udp_dgram *d;
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
	} sa = {.v4 = {.sin_family = AF_INET, .sin_port = htons(40000)}};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	sa.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	T(ok(udp_open(&a, &(struct udp_cfg){0}, &err)));
	T(ok(udp_open(&b, &(struct udp_cfg){.port = 40000}, &err)));
	T_EQ(sendto(fd, buf, sizeof(buf), 0, &sa.sa, sizeof(sa.v4)), sizeof(buf));
	T_EQ(udp_send(a, NULL, &to, 0, buf, UDP_BUF_LEN), 0);
	udp_flush(a);
	T(readable(udp_fd(b, 4), 2000));
	T_EQ(udp_recv(b, 4, &d), 2);
	T(d[0].truncated && d[0].len == UDP_BUF_LEN);
	T(!d[1].truncated && d[1].len == UDP_BUF_LEN);
	shell("nft 'table inet t { chain o { type filter hook output priority 0; udp dport 40001 "
	      "drop; }; }'");
	T_EQ(udp_send(a, NULL, &shut, 0, "x", 1), 0);
	udp_flush(a);
	T_EQ(udp_stats(a)->tx_permission, 1);
	shell("nft delete table inet t");
	close(fd);
	udp_close(a);
	udp_close(b);
}

/* Datagrams for a neighbour that does not answer ARP hold their socket memory. */
static void test_udp_backpressure(void)
{
	static uint8_t buf[1000];
	struct endpoint to = at("10.77.0.99", 9);
	size_t taken = 0, lost = 0;
	struct udp *a;

	T(ok(udp_open(&a, &(struct udp_cfg){.fwmark = NL_FWMARK, .sndbuf = 4096}, &err)));
	for (int i = 0; i < 400; i++) {
		int rc = udp_send(a, NULL, &to, 0, buf, sizeof(buf));

		taken += rc == 0;
		lost += rc == -EAGAIN;
	}
	udp_flush(a);
	T_EQ(taken + lost, 400);
	T(lost > 0);
	T_EQ(udp_stats(a)->tx_full, lost);
	T(udp_pending(a, 4) > 0 && udp_pending(a, 4) < UDP_QUEUE_CAP + 1);
	T_EQ(udp_stats(a)->tx_packets + udp_pending(a, 4), taken);
	T(ok(udp_rebind(a, &err)));
	T_EQ(udp_pending(a, 4), 0);
	udp_close(a);
}

/* ---- tunnel device, links, routes ---------------------------------------------------------------
 */

struct world {
	struct nl *nl;
	struct tun *tun;
};

static void world_up(struct world *w)
{
	struct ipaddr v4 = addr("100.64.0.1"), v6 = addr("fd00:2021:1111::1");

	T(ok(nl_open(&w->nl, &err)));
	T(ok(tun_open(&w->tun, "tun-io", &err)));
	T(ok(nl_link_addr_flush(w->nl, tun_ifindex(w->tun), &err)));
	T(ok(nl_link_set(
		w->nl, tun_ifindex(w->tun),
		&(struct nl_link_cfg){.mtu = 1280, .txqueuelen = 10000, .no_ll6 = true, .up = true},
		&err)));
	T(ok(nl_link_addr_add(w->nl, tun_ifindex(w->tun), &v4, 32, &err)));
	T(ok(nl_link_addr_add(w->nl, tun_ifindex(w->tun), &v4, 32, &err))); /* again: fine */
	T(ok(nl_link_addr_add(w->nl, tun_ifindex(w->tun), &v6, 128, &err)));
}

static void world_down(struct world *w)
{
	tun_close(w->tun);
	nl_close(w->nl);
}

static void test_tun_link(void)
{
	struct world w;
	struct tun *second;
	const char *s;
	struct ipaddr v4 = addr("100.64.0.1");

	world_up(&w);
	T_EQ(nl_link_is_up(w.nl, tun_ifindex(w.tun)), 1);
	s = shell("ip addr show dev tun-io");
	T(strstr(s, "mtu 1280") && strstr(s, "qlen 10000"));
	T(strstr(s, "inet 100.64.0.1/32") && strstr(s, "inet6 fd00:2021:1111::1/128"));
	T(strstr(s, "fe80:") == NULL && strstr(s, "tentative") == NULL);
	T_EQ(tun_open(&second, "tun-io", &err), -EBUSY);
	T(strstr(err.msg, "tun-io") && strstr(err.msg, "taken"));
	T_EQ(tun_open(&second, "tun-io-0123456789", &err), -ENAMETOOLONG);
	T(ok(nl_link_addr_del(w.nl, tun_ifindex(w.tun), &v4, 32, &err)));
	T(ok(nl_link_addr_flush(w.nl, tun_ifindex(w.tun), &err)));
	T(strstr(shell("ip addr show dev tun-io"), "inet") == NULL);
	world_down(&w);
	T_STR(shell("ip link show dev tun-io 2>/dev/null"), "");
}

static void test_routes_by_difference(void)
{
	struct ipnet one[] = {net("100.64.0.0/11"), net("fd00:2021:1111::/107"),
			      net("10.9.0.0/16")};
	struct ipnet two[] = {net("fd00:2021:1111::/107"), net("0.0.0.0/0"), net("::/0"),
			      net("0.0.0.0/0"), net("100.64.0.0/11")};
	struct nl_route_diff diff;
	struct world w;
	int dev;

	world_up(&w);
	dev = tun_ifindex(w.tun);
	T(ok(nl_route_set(w.nl, NL_TABLE, dev, one, 3, &diff, &err)));
	T(diff.added == 3 && diff.removed == 0 && diff.kept == 0);
	T(ok(nl_route_set(w.nl, NL_TABLE, dev, one, 3, &diff, &err)));
	T(diff.added == 0 && diff.removed == 0 && diff.kept == 3);
	/* A route of another device in the table is not ours to remove. */
	shell("ip route add 10.8.0.0/16 dev v0 table 0x2021fd00");
	T(ok(nl_route_set(w.nl, NL_TABLE, dev, two, 5, &diff, &err)));
	T(diff.added == 2 && diff.removed == 1 && diff.kept == 2);
	T(strstr(shell("ip route show table 0x2021fd00"), "default dev tun-io proto static"));
	T(strstr(shell("ip route show table 0x2021fd00"), "10.9.0.0/16") == NULL);
	T(strstr(shell("ip -6 route show table 0x2021fd00"), "default dev tun-io proto static"));
	T(ok(nl_route_set(w.nl, NL_TABLE, dev, NULL, 0, &diff, &err)));
	T(diff.removed == 4);
	T_STR(shell("ip route show table 0x2021fd00"), "10.8.0.0/16 dev v0 scope link \n");
	shell("ip route flush table 0x2021fd00");
	world_down(&w);
}

static size_t rules_ours(const char *family)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd),
		 "ip %s rule show | grep -c '^32000:.*not from all fwmark 0xfd002021'", family);
	return (size_t)atoi(shell(cmd));
}

static void test_rules(void)
{
	struct ipnet all[] = {net("0.0.0.0/0"), net("::/0")};
	struct ipaddr dst4 = addr("203.0.113.5"), dst6 = addr("2001:db8:5::5");
	struct nl_hop hop;
	struct world w;
	size_t n;

	world_up(&w);
	/* What two killed runs of other versions might have left; and somebody else's rule. */
	shell("ip rule add fwmark 7 lookup 0x2021fd00 prio 32000; "
	      "ip rule add not fwmark 0xfd002021 lookup 0x2021fd00 prio 32000; "
	      "ip rule add fwmark 9 lookup 99 prio 32000");
	T(ok(nl_rule_install(w.nl, 4, NL_FWMARK, NL_TABLE, &err)));
	T(ok(nl_rule_install(w.nl, 6, NL_FWMARK, NL_TABLE, &err)));
	T(ok(nl_rule_install(w.nl, 6, NL_FWMARK, NL_TABLE, &err)));
	T_EQ(rules_ours("-4"), 1);
	T_EQ(rules_ours("-6"), 1);
	T_EQ(atoi(shell("ip rule | grep -c '^32000'")), 2);
	T(ok(nl_route_set(w.nl, NL_TABLE, tun_ifindex(w.tun), all, 2, NULL, &err)));
	T(ok(nl_link_route_to(w.nl, &dst4, 0, &hop, &err)));
	T_STR(hop.ifname, "tun-io");
	T(ok(nl_link_route_to(w.nl, &dst6, 0, &hop, &err)));
	T_STR(hop.ifname, "tun-io");
	T(ok(nl_link_route_to(w.nl, &dst4, NL_FWMARK, &hop, &err)));
	T_STR(hop.ifname, "v0");
	T(ok(nl_link_default(w.nl, 4, NL_FWMARK, &hop, &err)));
	T_STR(hop.ifname, "v0");
	T(ipaddr_eq(&hop.gateway, &(struct ipaddr){.family = 4, .b = {10, 77, 0, 254}}));
	T(ipaddr_eq(&hop.src, &(struct ipaddr){.family = 4, .b = {10, 77, 0, 1}}));
	T(ok(nl_link_default(w.nl, 6, NL_FWMARK, &hop, &err)));
	T_STR(hop.ifname, "v0");
	T(ok(nl_rule_remove(w.nl, 4, NL_TABLE, &n, &err)));
	T_EQ(n, 1);
	T(ok(nl_rule_remove(w.nl, 6, NL_TABLE, &n, &err)));
	T(ok(nl_rule_remove(w.nl, 6, NL_TABLE, &n, &err)));
	T_EQ(n, 0);
	T_EQ(atoi(shell("ip rule | grep -c '^32000.*lookup 99'")), 1);
	shell("ip rule del prio 32000");
	world_down(&w);
}

/* What the kernel routes to the device is read; what is written arrives. */
static void test_tun_packets(void)
{
	struct ipnet one[] = {net("100.64.0.0/11")};
	struct tun_pkt *pkt;
	struct endpoint peer = at("100.64.0.2", 5000);
	struct udp_dgram *d;
	struct world w;
	struct udp *u;
	uint8_t back[28 + 4], swap[4];
	size_t n = 0;

	world_up(&w);
	T(ok(nl_route_set(w.nl, NL_TABLE, tun_ifindex(w.tun), one, 1, NULL, &err)));
	T(ok(nl_rule_install(w.nl, 4, NL_FWMARK, NL_TABLE, &err)));
	T(ok(udp_open(&u, &(struct udp_cfg){.port = 5001}, &err)));
	T_EQ(tun_read(w.tun, &pkt), 0);
	T_EQ(udp_send(u, NULL, &peer, 0, "ping", 4), 0);
	udp_flush(u);
	T(readable(tun_fd(w.tun), 2000));
	n = tun_read(w.tun, &pkt);
	T_EQ(n, 1);
	T_EQ(pkt[0].len, 32);
	T_MEM(pkt[0].data + 28, "ping", 4);
	memcpy(back, pkt[0].data, 32);
	memcpy(swap, back + 12, 4);
	memcpy(back + 12, back + 16, 4);
	memcpy(back + 16, swap, 4);
	be16_put(back + 20, 5000);
	be16_put(back + 22, 5001);
	be16_put(back + 26, 0); /* no UDP checksum; the IPv4 one does not mind the exchange */
	memcpy(back + 28, "pong", 4);
	T_EQ(tun_write(w.tun, back, 32), 0);
	T(readable(udp_fd(u, 4), 2000));
	T_EQ(udp_recv(u, 4, &d), 1);
	T_MEM(d[0].data, "pong", 4);
	T(endpoint_eq(&d[0].remote, &peer));
	T(tun_write(w.tun, "x", 1) < 0);
	T_EQ(tun_stats(w.tun)->tx_packets, 1);
	T_EQ(tun_stats(w.tun)->tx_errors, 1);
	T(ok(nl_rule_remove(w.nl, 4, NL_TABLE, NULL, &err)));
	udp_close(u);
	world_down(&w);
}

/* ---- addresses ----------------------------------------------------------------------------------
 */

static bool listed(const struct nl_addr *list, size_t len, const char *text)
{
	struct ipaddr want = addr(text);

	for (size_t i = 0; i < len; i++)
		if (ipaddr_eq(&list[i].ip, &want))
			return true;
	return false;
}

static void test_candidates(void)
{
	struct ipnet tunnel[] = {net("100.64.0.0/11"), net("fd00:2021:1111::/107")};
	struct nl_addr_filter f = {.exclude = tunnel, .exclude_len = 2};
	struct nl_addr a[32];
	struct world w;
	size_t n;

	world_up(&w);
	shell("ip link add d0 type veth peer name d0p; ip link set d0p up; ip addr add "
	      "10.78.0.1/24 dev d0; "
	      "ip addr add 100.65.0.1/32 dev v0; ip addr add 169.254.7.7/16 dev v0; "
	      "ip addr add fd77::dead/64 dev v0 preferred_lft 0");
	T(ok(nl_addr_list(w.nl, &f, a, 32, &n, &err)));
	T(listed(a, n, "10.77.0.1") && listed(a, n, "10.77.0.2"));
	T(listed(a, n, "fd77::1") && listed(a, n, "fd77::2"));
	T(!listed(a, n, "127.0.0.1") && !listed(a, n, "::1"));
	T(!listed(a, n, "100.64.0.1") && !listed(a, n, "100.65.0.1"));
	T(!listed(a, n, "169.254.7.7") && !listed(a, n, "fd77::dead"));
	T(!listed(a, n, "10.78.0.1")); /* d0 is down */
	T_EQ(n, 4);
	T(n == 4 && a[0].ip.family == 4 && a[3].ip.family == 6);
	shell("ip link set d0 up");
	f.loopback = true;
	f.exclude_len = 0;
	f.skip_ifindex = tun_ifindex(w.tun);
	T(ok(nl_addr_list(w.nl, &f, a, 32, &n, &err)));
	T(listed(a, n, "10.78.0.1") && listed(a, n, "127.0.0.1") && listed(a, n, "::1"));
	T(listed(a, n, "100.65.0.1") && !listed(a, n, "100.64.0.1"));
	T(ok(nl_addr_list(w.nl, &f, a, 2, &n, &err)));
	T_EQ(n, 2);
	shell("ip link del d0; ip addr del 100.65.0.1/32 dev v0; ip addr del 169.254.7.7/16 dev "
	      "v0; "
	      "ip addr del fd77::dead/64 dev v0");
	world_down(&w);
}

/* Wait for the end of a burst; 0 when none comes within wait_ms. */
static unsigned burst(struct nl_monitor *m, int wait_ms)
{
	for (int spent = 0; spent < wait_ms; spent += 50)
		if (readable(nl_monitor_fd(m), 50)) {
			unsigned changes = nl_monitor_take(m);

			if (changes)
				return changes;
		}
	return 0;
}

static void test_monitor(void)
{
	struct nl_monitor *m;
	struct ipaddr more = addr("100.64.0.9");
	struct ipnet one[] = {net("10.9.0.0/16")};
	struct world w;
	unsigned changes;

	world_up(&w);
	T(ok(nl_monitor_open(&m, tun_ifindex(w.tun), NL_TABLE, &err)));
	T_EQ(burst(m, 400), 0);
	/* Our own doings are no news. */
	T(ok(nl_link_addr_add(w.nl, tun_ifindex(w.tun), &more, 32, &err)));
	T(ok(nl_route_set(w.nl, NL_TABLE, tun_ifindex(w.tun), one, 1, NULL, &err)));
	T_EQ(burst(m, 600) & ~(unsigned)NL_CHANGE_ROUTE, 0);
	shell("ip addr add 10.77.0.3/24 dev v0; ip addr add 10.77.0.4/24 dev v0");
	changes = burst(m, 3000);
	T(changes & NL_CHANGE_ADDR);
	T_EQ(burst(m, 400), 0); /* one report for the whole burst */
	shell("ip addr del 10.77.0.3/24 dev v0; ip addr del 10.77.0.4/24 dev v0; "
	      "ip link add d1 type veth peer name d1p; ip link del d1");
	changes = burst(m, 3000);
	T((changes & NL_CHANGE_ADDR) && (changes & NL_CHANGE_LINK));
	nl_monitor_close(m);
	world_down(&w);
}

/* ---- nftables, sysctls, offloads ----------------------------------------------------------------
 */

static void test_nft(void)
{
	struct nft_cfg cfg = {.instance = "io-t", .tun_name = "tun-io", .masquerade = true};
	char names[200];
	const char *s;

	shell("nft 'table inet penstock_io_t { chain stale { }; }'");
	T(ok(nft_install(&cfg, &err)));
	T(ok(nft_install(&cfg, &err)));
	s = shell("nft list table inet penstock_io_t");
	T(strstr(s, "stale") == NULL);
	T(strstr(s, "ip saddr 100.64.0.0/11 oifname != \"tun-io\" masquerade"));
	T(strstr(s, "ip6 saddr fd00:2021:1111::/107 oifname != \"tun-io\" masquerade"));
	T(strstr(s, "maxseg size set rt mtu"));
	T_EQ(nft_forward_blockers("io-t", names, sizeof(names)), 0);
	shell("nft 'table inet wall { chain f1 { type filter hook forward priority 0; policy "
	      "drop; }; }'");
	T_EQ(nft_forward_blockers("io-t", names, sizeof(names)), 1);
	T_STR(names, "inet wall f1");
	shell("nft delete table inet wall");
	T(ok(nft_remove("io-t", &err)));
	T(ok(nft_remove("io-t", &err)));
	T(strstr(shell("nft list tables"), "penstock") == NULL);
	cfg.tun_name = "bad;name";
	T_EQ(nft_install(&cfg, &err), -EINVAL);
}

static void test_sysctl(void)
{
	static const char path[] = "/tmp/penstock-io-test.sysctl";

	shell("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 "
	      "net.ipv6.conf.v0.accept_ra=1");
	T(ok(sysctl_forward_enable(path, &err)));
	T_EQ(sysctl_read("net/ipv4/ip_forward"), 1);
	T_EQ(sysctl_read("net/ipv6/conf/all/forwarding"), 1);
	T_EQ(sysctl_read("net/ipv4/conf/all/src_valid_mark"), 1);
	T_EQ(sysctl_read("net/ipv6/conf/v0/accept_ra"), 2);
	T(ok(sysctl_forward_enable(path, &err))); /* after a kill: the truer values stay */
	shell("sysctl -qw net.ipv4.conf.all.src_valid_mark=0"); /* the operator's choice now */
	T(ok(sysctl_forward_restore(path, &err)));
	T_EQ(sysctl_read("net/ipv4/ip_forward"), 0);
	T_EQ(sysctl_read("net/ipv6/conf/all/forwarding"), 0);
	T_EQ(sysctl_read("net/ipv4/conf/all/src_valid_mark"), 0);
	T_EQ(sysctl_read("net/ipv6/conf/v0/accept_ra"), 1);
	T_EQ(access(path, F_OK), -1);
	T(ok(sysctl_forward_restore(path, &err)));
	shell("sysctl -qw net.ipv4.ip_forward=1");
	T(ok(sysctl_forward_enable(path, &err)));
	T(ok(sysctl_forward_restore(path, &err)));
	T_EQ(sysctl_read("net/ipv4/ip_forward"), 1); /* was on before us */
}

static void test_offloads(void)
{
	struct nic_offload nic;

	shell("ethtool -K v0 gro on tso off");
	T(ok(nic_offload_read("v0", &nic, &err)));
	T_STR(nic.driver, "veth");
	T(nic.gro && !nic.tso);
	shell("ethtool -K v0 gro off tso on");
	T(ok(nic_offload_read("v0", &nic, &err)));
	T(!nic.gro && nic.tso);
	T_EQ(nic_offload_read("none0", &nic, &err), -ENODEV);
}

/* ---- operator socket ----------------------------------------------------------------------------
 */

#define CTL_DIR	 "/tmp/penstock-io-ctl"
#define CTL_PATH CTL_DIR "/t.sock"

static char *answer(void *arg, const char *request, size_t len)
{
	(void)len;
	if (strcmp(request, "stop") == 0)
		uv_stop(arg);
	if (strcmp(request, "null") == 0)
		return NULL;
	if (strcmp(request, "big") == 0) {
		char *doc = malloc(3000001);

		memset(doc, 'x', 3000000);
		doc[3000000] = '\0';
		return doc;
	}
	return strdup(request);
}

static int call(const char *request, char **reply)
{
	size_t len;

	return ctl_call(CTL_PATH, request, 3000, reply, &len, &err);
}

/* The other process: every kind of caller. Exit 0: all was as it should be. */
static int caller(void)
{
	char *reply, longest[CTL_REQUEST_MAX + 2];
	int bad = 0;

	bad |= call("{\"do\":\"status\"}", &reply) != 0 ||
	       strcmp(reply, "{\"do\":\"status\"}\n") != 0;
	free(reply);
	bad |= (call("null", &reply) != 0 || !strstr(reply, "error")) << 1;
	free(reply);
	bad |= (call("big", &reply) != 0 || strlen(reply) != 3000001) << 2;
	free(reply);
	memset(longest, 'a', sizeof(longest));
	longest[CTL_REQUEST_MAX + 1] = '\0';
	bad |= (call(longest, &reply) != -EMSGSIZE) << 3;
	if (fork() == 0) { /* another uid may not even connect */
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(1);
		_exit(call("x", &reply) == -EACCES ? 0 : 1);
	}
	int st = 0;

	wait(&st);
	bad |= (st != 0) << 4;
	bad |= (call("stop", &reply) != 0) << 5;
	free(reply);
	return bad;
}

static void test_ctl_socket(void)
{
	struct ctl_server *s, *second;
	struct stat st;
	uv_loop_t loop;
	pid_t pid;
	int rc = -1;

	T(uv_loop_init(&loop) == 0);
	T(ok(ctl_server_open(&s, &loop, CTL_PATH, answer, &loop, &err)));
	T(stat(CTL_PATH, &st) == 0 && (st.st_mode & 07777) == 0600);
	T(stat(CTL_DIR, &st) == 0 && (st.st_mode & 07777) == 0755);
	T_EQ(ctl_server_open(&second, &loop, CTL_PATH, answer, &loop, &err), -EADDRINUSE);
	T(strstr(err.msg, "already running") != NULL);
	chmod(CTL_DIR, 0755);
	pid = fork();
	if (pid == 0)
		_exit(caller());
	alarm(20);
	uv_run(&loop, UV_RUN_DEFAULT);
	alarm(0);
	ctl_server_close(s);
	uv_run(&loop, UV_RUN_DEFAULT);
	T(waitpid(pid, &rc, 0) == pid);
	T_EQ(rc, 0);
	T_EQ(access(CTL_PATH, F_OK), -1);
	T_EQ(uv_loop_close(&loop), 0);
	rmdir(CTL_DIR);
}

/* ---- what outlives a process --------------------------------------------------------------------
 */

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static int step(const char *what, int rc)
{
	if (rc < 0)
		fprintf(stderr, "%s: %d: %s\n", what, rc, err.msg);
	return rc;
}

static int hold(const char *name)
{
	struct nft_cfg nft = {.instance = name, .tun_name = "tun-io", .masquerade = true};
	struct ipnet tunnel = {.ip = {.family = 4, .b = {100, 64, 0, 0}}, .len = 11};
	struct ctl_server *ctl;
	char sock[100], state[100];
	uv_loop_t loop;
	struct nl *nl;
	struct tun *tun;

	snprintf(sock, sizeof(sock), "/run/penstock/%s.sock", name);
	snprintf(state, sizeof(state), "/run/penstock/%s.sysctl", name);
	signal(SIGTERM, on_term);
	uv_loop_init(&loop);
	if (step("ctl", ctl_server_open(&ctl, &loop, sock, answer, &loop, &err)) < 0 ||
	    step("nl", nl_open(&nl, &err)) < 0 || step("tun", tun_open(&tun, "tun-io", &err)) < 0 ||
	    step("link",
		 nl_link_set(nl, tun_ifindex(tun), &(struct nl_link_cfg){.up = true}, &err)) < 0 ||
	    step("route", nl_route_set(nl, NL_TABLE, tun_ifindex(tun), &tunnel, 1, NULL, &err)) <
		    0 ||
	    step("rule4", nl_rule_install(nl, 4, NL_FWMARK, NL_TABLE, &err)) < 0 ||
	    step("rule6", nl_rule_install(nl, 6, NL_FWMARK, NL_TABLE, &err)) < 0 ||
	    step("sysctl", sysctl_forward_enable(state, &err)) < 0 ||
	    step("nft", nft_install(&nft, &err)) < 0)
		return 1;
	printf("holding\n");
	fflush(stdout);
	while (!stop)
		poll(NULL, 0, 100);
	nft_remove(name, &err);
	sysctl_forward_restore(state, &err);
	nl_rule_remove(nl, 4, NL_TABLE, NULL, &err);
	nl_rule_remove(nl, 6, NL_TABLE, NULL, &err);
	tun_close(tun);
	nl_close(nl);
	ctl_server_close(ctl);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop) ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2]);
	t_init(argc, argv);
	T_RUN(test_udp_source_and_ecn);
	T_RUN(test_udp_ports);
	T_RUN(test_udp_errors_in_a_batch);
	T_RUN(test_udp_long_and_firewalled);
	T_RUN(test_udp_backpressure);
	T_RUN(test_tun_link);
	T_RUN(test_routes_by_difference);
	T_RUN(test_rules);
	T_RUN(test_tun_packets);
	T_RUN(test_candidates);
	T_RUN(test_monitor);
	T_RUN(test_nft);
	T_RUN(test_sysctl);
	T_RUN(test_offloads);
	T_RUN(test_ctl_socket);
	return t_done();
}
