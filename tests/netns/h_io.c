/* SPDX-License-Identifier: Apache-2.0
 *
 * io/ against a real kernel (h_io-dev.c: device and rtnetlink), inside a network namespace that
 * t_io.sh made:
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
#include "io/ctl_socket.h"
#include "io/nft.h"
#include "io/nic.h"
#include "io/nl_link.h"
#include "io/nl_route.h"
#include "io/sysctl.h"
#include "io/tun.h"
#include "io/udp.h"
#include "tests/netns/io_help.h"
#include "tests/t.h"

/* ---- udp ----------------------------------------------------------------------------------------
 */

static void test_udp_source_and_ecn(void)
{
	static const char *const src[2][2] = {{"10.77.0.1", "10.77.0.2"}, {"fd77::1", "fd77::2"}};
	struct udp *a, *b;
	struct udp_dgram *d;
	bool more;

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
		T_EQ(udp_recv(b, family, &d, &more), 4);
		for (uint8_t ecn = 0; ecn < 4; ecn++) {
			struct endpoint from = at(src[v6][ecn & 1], udp_port(a, family));

			T(endpoint_eq(&d[ecn].remote, &from));
			T(endpoint_eq(&d[ecn].local, &to));
			T_EQ(d[ecn].ecn, ecn);
			T_EQ(d[ecn].len, 5);
			T(!d[ecn].truncated && d[ecn].ifindex != 0);
			T_MEM(d[ecn].data, "hello", 5);
		}
		T_EQ(udp_recv(b, family, &d, &more), 0);
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
	bool more;

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
	T_EQ(udp_recv(b, 4, &d, &more), 3);
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
	bool more;
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
	T_EQ(udp_recv(b, 4, &d, &more), 2);
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
	for (int i = 0; i < 2 * UDP_QUEUE_CAP; i++) {
		int rc = udp_send(a, NULL, &to, 0, buf, sizeof(buf));

		taken += rc == 0;
		lost += rc == -EAGAIN;
	}
	udp_flush(a);
	T_EQ(taken + lost, 2 * UDP_QUEUE_CAP);
	T(lost > 0);
	T_EQ(udp_stats(a)->tx_full, lost);
	T(udp_pending(a, 4) > 0 && udp_pending(a, 4) < UDP_QUEUE_CAP + 1);
	T_EQ(udp_stats(a)->tx_packets + udp_pending(a, 4), taken);
	T(ok(udp_rebind(a, &err)));
	T_EQ(udp_pending(a, 4), 0);
	udp_close(a);
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
	T(ok(sysctl_restore(path, &err)));
	T_EQ(sysctl_read("net/ipv4/ip_forward"), 0);
	T_EQ(sysctl_read("net/ipv6/conf/all/forwarding"), 0);
	T_EQ(sysctl_read("net/ipv4/conf/all/src_valid_mark"), 0);
	T_EQ(sysctl_read("net/ipv6/conf/v0/accept_ra"), 1);
	T_EQ(access(path, F_OK), -1);
	T(ok(sysctl_restore(path, &err)));
	shell("sysctl -qw net.ipv4.ip_forward=1");
	T(ok(sysctl_forward_enable(path, &err)));
	T(ok(sysctl_restore(path, &err)));
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

/* Queues as the driver tells them; RPS is read only where /sys is our namespace's, for another's
 * interface may have the same name. */
static void test_queues(void)
{
	struct nic_queues q;

	nic_queues_read("v0", &q);
	T_EQ(q.rx, 1);
	T(!q.rps);
	shell("ip link add vq0 numrxqueues 3 type veth peer name vq1 && ethtool -L vq0 rx 3");
	nic_queues_read("vq0", &q);
	T_EQ(q.rx, 3);
	shell("ip link del vq0");
	nic_queues_read("none0", &q);
	T_EQ(q.rx, 0);
	T(!q.rps);
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
	    step("nl", nl_open(&nl, &err)) < 0 ||
	    step("tun", tun_open(&tun, &(struct tun_cfg){.name = "tun-io"}, &err)) < 0 ||
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
	sysctl_restore(state, &err);
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
	T_RUN(test_nft);
	T_RUN(test_sysctl);
	T_RUN(test_offloads);
	T_RUN(test_queues);
	T_RUN(test_ctl_socket);
	return t_done();
}
