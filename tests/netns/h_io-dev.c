/* SPDX-License-Identifier: Apache-2.0
 *
 * The tunnel device, rtnetlink and the network monitor against a real kernel, inside the namespace
 * that t_io.sh made (see h_io.c). */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include "base/bytes.h"
#include "io/nl_addr.h"
#include "io/nl_lan.h"
#include "io/nl_link.h"
#include "io/nl_route.h"
#include "io/tun.h"
#include "io/udp.h"
#include "tests/netns/io_help.h"
#include "tests/t.h"

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
	T(ok(tun_open(&w->tun, &(struct tun_cfg){.name = "tun-io"}, &err)));
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
	T_EQ(tun_open(&second, &(struct tun_cfg){.name = "tun-io"}, &err), -EBUSY);
	T(strstr(err.msg, "tun-io") && strstr(err.msg, "taken"));
	T_EQ(tun_open(&second, &(struct tun_cfg){.name = "tun-io-0123456789"}, &err),
	     -ENAMETOOLONG);
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

static void test_routes_with_mtu(void)
{
	struct ipnet nets[] = {net("10.9.0.0/16"), net("fd00:9::/32"), net("10.8.0.1/32")};
	uint16_t mtu[] = {1280, 1280, 0};
	struct nl_route_diff diff;
	struct world w;
	int dev;

	world_up(&w);
	dev = tun_ifindex(w.tun);
	T(ok(nl_route_set_mtu(w.nl, NL_TABLE, dev, nets, mtu, 3, &diff, &err)));
	T(diff.added == 3 && !diff.changed);
	T(strstr(shell("ip route show table 0x2021fd00"),
		 "10.9.0.0/16 dev tun-io proto static mtu 1280"));
	T(!strstr(shell("ip route show table 0x2021fd00 10.8.0.1"), "mtu"));
	T(strstr(shell("ip -6 route show table 0x2021fd00"), "mtu 1280"));
	T(ok(nl_route_set_mtu(w.nl, NL_TABLE, dev, nets, mtu, 3, &diff, &err)));
	T(diff.kept == 3 && !diff.changed && !diff.added && !diff.removed);
	mtu[0] = 1420;
	mtu[1] = 1400;
	T(ok(nl_route_set_mtu(w.nl, NL_TABLE, dev, nets, mtu, 3, &diff, &err)));
	T(diff.kept == 1 && diff.changed == 2 && !diff.added && !diff.removed);
	T(strstr(shell("ip route show table 0x2021fd00 10.9.0.0/16"), "mtu 1420"));
	T(!strstr(shell("ip route show table 0x2021fd00"), "mtu 1280"));
	T(strstr(shell("ip -6 route show table 0x2021fd00 fd00:9::/32"), "mtu 1400"));
	T(!strstr(shell("ip -6 route show table 0x2021fd00"), "mtu 1280"));
	/* without: the metric goes */
	T(ok(nl_route_set(w.nl, NL_TABLE, dev, nets, 3, &diff, &err)));
	T(diff.changed == 2);
	T(!strstr(shell("ip route show table 0x2021fd00"), "mtu"));
	T(ok(nl_route_put(w.nl, NL_TABLE, dev, &nets[2], 1300, &err)));
	T(ok(nl_route_put(w.nl, NL_TABLE, dev, &nets[2], 1310, &err)));
	T(strstr(shell("ip route show table 0x2021fd00 10.8.0.1"), "mtu 1310"));
	T(ok(nl_route_remove(w.nl, NL_TABLE, dev, &nets[2], &err)));
	T(ok(nl_route_remove(w.nl, NL_TABLE, dev, &nets[2], &err)));
	T_STR(shell("ip route show table 0x2021fd00 10.8.0.1"), "");
	T_EQ(nl_link_mtu(w.nl, dev), 1280);
	shell("ip link set tun-io mtu 1400");
	T_EQ(nl_link_mtu(w.nl, dev), 1400);
	T(nl_link_mtu(w.nl, 999999) < 0);
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

static const char *via(struct world *w, const char *dst)
{
	static struct nl_hop hop;
	struct ipaddr to = addr(dst);

	return nl_link_route_to(w->nl, &to, 0, &hop, &err) ? "nowhere" : hop.ifname;
}

/* With a default route in the tunnel attached networks stay where they are, as they come and go,
 * and what lies behind a router does not. */
static void test_attached_networks(void)
{
	struct ipnet all[] = {net("0.0.0.0/0"), net("::/0")}, lan[] = {net("10.77.0.7/32")};
	struct world w;

	world_up(&w);
	for (uint32_t i = 0; i < NL_TABLES; i++) {
		T(ok(nl_rule_install(w.nl, 4, NL_FWMARK, NL_TABLE + i, &err)));
		T(ok(nl_rule_install(w.nl, 6, NL_FWMARK, NL_TABLE + i, &err)));
	}
	shell("ip route add 10.90.0.0/16 via 10.77.0.254; ip route add 10.91.0.0/16 dev v0 metric "
	      "7; "
	      "ip -6 route add fd90::/64 via fd77::fe; ip route add 10.66.0.0/16 dev tun-io; "
	      "ip route add 10.1.1.0/24 dev v0 table 0x2021fd01");
	T(ok(nl_lan_copy(w.nl, tun_ifindex(w.tun), &err)));
	T(ok(nl_route_set(w.nl, NL_TABLE_DEFAULT, tun_ifindex(w.tun), all, 2, NULL, &err)));
	T(ok(nl_route_set(w.nl, NL_TABLE, tun_ifindex(w.tun), lan, 1, NULL, &err)));
	T_STR(via(&w, "198.18.0.1"), "tun-io");
	T_STR(via(&w, "2001:db8::1"), "tun-io");
	T_STR(via(&w, "10.77.0.9"), "v0");
	T_STR(via(&w, "10.77.0.7"), "tun-io"); /* a resource of its own */
	T_STR(via(&w, "fd77::9"), "v0");
	T_STR(via(&w, "10.91.0.1"), "v0");
	T_STR(via(&w, "10.90.0.1"), "tun-io");
	T_STR(via(&w, "fd90::1"), "tun-io");
	T_STR(via(&w, "224.0.0.251"), "v0");
	T_STR(shell("ip route show table 0x2021fd01 | grep -E '10.66|10.1.1|default'"), "");
	shell("ip addr add 10.79.0.1/24 dev v0; ip route del 10.91.0.0/16");
	T_STR(via(&w, "10.79.0.9"), "tun-io");
	T(ok(nl_lan_copy(w.nl, tun_ifindex(w.tun), &err)));
	T(ok(nl_lan_copy(w.nl, tun_ifindex(w.tun), &err)));
	T_STR(via(&w, "10.79.0.9"), "v0");
	T_STR(via(&w, "10.91.0.1"), "tun-io");
	T_EQ(atoi(shell("ip route show table 0x2021fd01 | wc -l")), 3);
	shell("ip addr del 10.79.0.1/24 dev v0");
	T(ok(nl_lan_clear(w.nl, &err)));
	T_STR(shell("ip route show table 0x2021fd01; ip -6 route show table 0x2021fd01"), "");
	shell("ip route del 10.90.0.0/16; ip -6 route del fd90::/64");
	for (uint32_t i = 0; i < NL_TABLES; i++) {
		T(ok(nl_rule_remove(w.nl, 4, NL_TABLE + i, NULL, &err)));
		T(ok(nl_rule_remove(w.nl, 6, NL_TABLE + i, NULL, &err)));
	}
	world_down(&w);
}

/* The tunnel's address is no source outside the tunnel. */
static void test_guard(void)
{
	struct ipaddr v4 = addr("100.64.0.1"), v6 = addr("fd00:2021:1111::1");
	struct ipaddr other = addr("100.64.0.2");
	struct world w;

	world_up(&w);
	T(ok(nl_rule_guard(w.nl, &other, &err)));
	T(ok(nl_rule_guard(w.nl, &v4, &err))); /* in its place */
	T(ok(nl_rule_guard(w.nl, &v6, &err)));
	T_STR(shell("ip rule | grep -c ^32003"), "1\n");
	T_STR(shell("ip route get 198.18.0.1 from 100.64.0.1 2>&1 | grep -o unreachable"),
	      "unreachable\n");
	T_STR(shell("ip -6 route get 2001:db8::1 from fd00:2021:1111::1 2>&1 | grep -o "
		    "unreachable | head -n 1"),
	      "unreachable\n");
	T_STR(shell("ip route get 198.18.0.1 from 10.77.0.1 2>&1 | grep -o 'dev v0'"), "dev v0\n");
	T(ok(nl_rule_unguard(w.nl, 4, &err)));
	T(ok(nl_rule_unguard(w.nl, 6, &err)));
	T(ok(nl_rule_unguard(w.nl, 6, &err)));
	T_STR(shell("ip rule | grep ^32003; ip -6 rule | grep ^32003"), "");
	world_down(&w);
}

/* What the kernel routes to the device is read; what is written arrives. */
static void test_tun_packets(void)
{
	struct ipnet one[] = {net("100.64.0.0/11")};
	struct tun_pkt *pkt;
	struct endpoint peer = at("100.64.0.2", 5000);
	struct udp_dgram *d;
	bool more;
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
	T_EQ(udp_recv(u, 4, &d, &more), 1);
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

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_tun_link);
	T_RUN(test_routes_by_difference);
	T_RUN(test_routes_with_mtu);
	T_RUN(test_rules);
	T_RUN(test_attached_networks);
	T_RUN(test_guard);
	T_RUN(test_tun_packets);
	T_RUN(test_candidates);
	T_RUN(test_monitor);
	return t_done();
}
