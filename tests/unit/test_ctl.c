/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's command as its users run it: the built program against a socket that gives canned
 * answers. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/t.h"

static char program[PATH_MAX + 16], dir[64], out[16384], err[4096], asked[512];

static void slurp(int fd, char *buf, size_t cap)
{
	size_t n = 0;
	ssize_t got;

	while (n < cap - 1 && (got = read(fd, buf + n, cap - 1 - n)) > 0)
		n += (size_t)got;
	buf[n] = 0;
	close(fd);
}

static int listen_on(const char *instance)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s.sock", dir, instance);
	T(fd >= 0 && !bind(fd, (struct sockaddr *)&sa, sizeof(sa)) && !listen(fd, 1));
	return fd;
}

/* Answer one connection, in a child; what was asked goes to a pipe. */
static void serve(int fd, const char *answer, int *asked_fd)
{
	int p[2];

	T(!pipe2(p, O_CLOEXEC));
	*asked_fd = p[0];
	if (!fork()) {
		char buf[512];
		size_t n = 0;
		int c;

		alarm(20);
		c = accept(fd, NULL, NULL);
		while (n < sizeof(buf) && read(c, buf + n, 1) == 1 && buf[n++] != '\n')
			;
		if (write(p[1], buf, n) < 0 || write(c, answer, strlen(answer)) < 0)
			_exit(1);
		_exit(0);
	}
	close(p[1]);
}

/* Run penstock with up to four arguments; its exit code, with stdout in out and stderr in err. */
static int run(const char *a, const char *b, const char *c, const char *d)
{
	int o[2], e[2], status = 0;
	pid_t pid;

	T(!pipe2(o, O_CLOEXEC) && !pipe2(e, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		setenv("PENSTOCK_RUN_DIR", dir, 1);
		dup2(o[1], 1);
		dup2(e[1], 2);
		execl(program, "penstock", a, b, c, d, (char *)NULL);
		_exit(127);
	}
	close(o[1]);
	close(e[1]);
	slurp(o[0], out, sizeof(out));
	slurp(e[0], err, sizeof(err));
	T(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Ask the one daemon there is, which gives `answer`. */
static int ask4(const char *answer, const char *a, const char *b, const char *c, const char *d)
{
	int fd = listen_on("gw"), asked_fd, rc;
	char path[128];

	serve(fd, answer, &asked_fd);
	close(fd);
	rc = run(a, b, c, d);
	slurp(asked_fd, asked, sizeof(asked));
	while (waitpid(-1, NULL, 0) > 0)
		;
	snprintf(path, sizeof(path), "%s/gw.sock", dir);
	unlink(path);
	return rc;
}

static int ask(const char *answer, const char *a, const char *b, const char *c)
{
	return ask4(answer, a, b, c, NULL);
}

static bool has(const char *text, const char *want)
{
	if (strstr(text, want))
		return true;
	t_note("no '%s' in: %s", want, text);
	return false;
}

static void test_usage(void)
{
	T_EQ(run("--help", NULL, NULL, NULL), 0);
	T(has(out, "--instance") && has(out, "drops") && !err[0]);
	T_EQ(run("--version", NULL, NULL, NULL), 0);
	T(has(out, "penstock "));
	T_EQ(run(NULL, NULL, NULL, NULL), 2);
	T_EQ(run("nonsense", NULL, NULL, NULL), 2);
	T(has(err, "nonsense") && !out[0]);
	T_EQ(run("status", "--nonsense", NULL, NULL), 2);
	T_EQ(run("status", "peers", NULL, NULL), 2);
	T_EQ(run("flows", "--limit", "0", NULL), 2);
	T_EQ(run("flows", "--limit", "12x", NULL), 2);
	T_EQ(run("status", "--instance", "../etc", NULL), 2);
	T_EQ(run("status", "--instance", "", NULL), 2);
	T_EQ(run("status", "--instance=a", "--socket=b", NULL), 2);
}

static void test_no_daemon(void)
{
	char path[128];
	int one, two;

	T_EQ(run("status", NULL, NULL, NULL), 3);
	T(has(err, "no daemon is running"));
	T_EQ(run("status", "--instance", "gw", NULL), 3);
	one = listen_on("gw");
	two = listen_on("other");
	T_EQ(run("status", NULL, NULL, NULL), 3);
	T(has(err, "  gw\n") && has(err, "  other\n"));
	close(one);
	close(two);
	T_EQ(run("status", "--instance", "gw", NULL), 3); /* a stale socket */
	snprintf(path, sizeof(path), "%s/gw.sock", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/other.sock", dir);
	unlink(path);
}

static void test_json_as_is(void)
{
	static const char answer[] = "{\"schema\":1,\"cmd\":\"peers\",\"peers\":[ ] , \"new\":1}";

	T_EQ(ask(answer, "peers", "--json", NULL), 0);
	T_STR(asked, "{\"cmd\":\"peers\"}\n");
	T(has(out, answer));
	T_EQ(ask(answer, "--json", "peers", NULL), 0);
	T_EQ(ask("{\"schema\":1,\"error\":{\"code\":\"internal\",\"message\":\"no\"}}", "peers",
		 "--json", NULL),
	     1);
	T(has(out, "internal"));
	T_EQ(ask("{\"error\":\"busy\"}", "peers", NULL, NULL), 1);
	T(has(err, "busy") && !out[0]);
	T_EQ(ask("not json", "peers", "--json", NULL), 1);
	T(has(err, "not a JSON object") && !out[0]);
	T_EQ(ask("[1]", "peers", NULL, NULL), 1);
	T_EQ(ask("", "peers", NULL, NULL), 1);
	T_EQ(ask("{\"flows\":[]}", "flows", "--limit", "77"), 0);
	T_STR(asked, "{\"cmd\":\"flows\",\"limit\":77}\n");
}

static void test_status(void)
{
	T_EQ(ask("{\"schema\":1,\"cmd\":\"status\",\"version\":\"0.1.0\",\"instance\":\"gw\","
		 "\"role\":\"gateway\",\"mode\":"
		 "\"kernel\",\"uptime_s\":10921,\"kernel\":{\"active\":true,\"rx\":true,\"tx\":"
		 "true,\"wan_iface\":"
		 "\"eth0\",\"xdp_mode\":\"native\",\"dispatcher\":true,\"keys_hidden\":false,"
		 "\"keys_why\":\"kernel "
		 "6.1\"},\"portal\":{\"state\":\"connected\",\"url\":\"wss://p.example/"
		 "\",\"connected_s\":61},"
		 "\"tunnel\":{\"iface\":\"tun-penstock\",\"ipv4\":\"100.64.0.1\",\"ipv6\":\"fd00::"
		 "1\",\"mtu\":1280},"
		 "\"listen\":[\"0.0.0.0:52625\",\"[::]:52625\"],\"tables\":[{\"name\":\"peers\","
		 "\"used\":3,\"cap\":10000,"
		 "\"bytes\":800000}],\"memory_bytes\":1572864,\"peers\":{\"total\":3,\"connected\":"
		 "2},\"counters\":{"
		 "\"kernel_rx_packets\":1234567,\"kernel_rx_bytes\":2147483648}}",
		 "status", NULL, NULL),
	     0);
	T(has(out, "gateway gw: Penstock 0.1.0, up 3 h 2 min, mode kernel"));
	T(has(out, "active, receives, sends on eth0, XDP native (dispatcher)"));
	T(has(out, "READABLE by root in map dumps: kernel 6.1"));
	T(has(out, "connected, wss://p.example/, for 1 min 1 s"));
	T(has(out, "0.0.0.0:52625, [::]:52625"));
	T(has(out, "2 connected of 3") && has(out, "MTU 1280") && has(out, "10000"));
	T(has(out, "1.23M") && has(out, "2.00 GiB") && has(out, "1.50 MiB"));
	T_EQ(ask("{}", "status", NULL, NULL), 0); /* everything unknown: still no crash */
	T_EQ(ask("{\"kernel\":7,\"portal\":[],\"tables\":{},\"listen\":[1,null]}", "status", NULL,
		 NULL),
	     0);
}

static void test_peers(void)
{
	T_EQ(ask("{\"peers\":[{\"id\":\"0a\",\"name\":\"lap\\u001b[31mtop\",\"state\":"
		 "\"connected\",\"path\":\"direct\","
		 "\"ipv4\":\"100.64.1.2\",\"ipv6\":\"fd00::2\",\"local\":{\"type\":\"host\","
		 "\"addr\":\"1.2.3.4:5\"},"
		 "\"remote\":{\"type\":\"srflx\",\"addr\":\"5.6.7.8:9\"},\"rtt_us\":216,\"last_"
		 "handshake_s\":12,"
		 "\"kernel_rx_packets\":95,\"user_rx_packets\":5,\"kernel_rx_bytes\":2048,"
		 "\"resources\":2,\"mtu\":{\"size\":1440,\"ceiling\":1440,\"state\":\"complete\"},"
		 "\"generation\":4},{\"id\":\"0b\"},{\"path\":\"relayed\",\"local\":{\"type\":"
		 "\"relay\",\"addr\":\"192.0.2.1:50000\"},\"remote\":{\"type\":\"host\",\"addr\":"
		 "\"5.6.7.8:9\"},\"relay\":\"192.0.2.1:3478\",\"channel\":16385}]}",
		 "peers", NULL, NULL),
	     0);
	T(has(out, "relayed, relay 192.0.2.1:50000 to host 5.6.7.8:9, by our relay 192.0.2.1:3478 "
		   "channel 0x4001\n"));
	T(has(out, "1440 (complete)"));
	T(has(out, "peer 0a  lap?[31mtop\n") && !strchr(out, 0x1b));
	T(has(out, "direct, host 1.2.3.4:5 to srflx 5.6.7.8:9, round trip 216 µs"));
	T(has(out, "12 s ago") && has(out, "95.0 % of 100") && has(out, "2.00 KiB received"));
	T(has(out, "\n\npeer 0b\n"));
}

static void test_tables(void)
{
	T_EQ(ask("{\"reasons\":[{\"reason\":\"urx_delivered\",\"executor\":\"user\",\"verdict\":"
		 "\"done\",\"packets\":5},{"
		 "\"reason\":\"urx_revoked\",\"executor\":\"user\",\"verdict\":\"drop\","
		 "\"packets\":1500,\"bytes\":9,\"what\":"
		 "\"resource was revoked from the peer\"}]}",
		 "drops", NULL, NULL),
	     0);
	T(has(out, "REASON       EXECUTOR  VERDICT  PACKETS  BYTES  WHAT\n"
		   "urx_revoked  user      drop       1.50k    9 B  resource was revoked from the "
		   "peer\n"));
	T(!strstr(out, "urx_delivered"));
	T_EQ(ask("{\"reasons\":[{\"reason\":\"urx_delivered\",\"verdict\":\"done\"}]}", "drops",
		 "--all", NULL),
	     0);
	T(has(out, "urx_delivered"));
	T_EQ(ask("{\"reasons\":[]}", "drops", NULL, NULL), 0);
	T(has(out, "nothing was dropped"));
	T_EQ(ask("{\"total\":9,\"flows\":[{\"direction\":\"in\",\"proto\":\"tcp\",\"src\":\"100.64."
		 "1.2:40000\",\"dst\":"
		 "\"10.0.0.1:80\",\"resource_name\":\"lab\",\"executor\":\"kernel\",\"packets\":10,"
		 "\"bytes\":1024,"
		 "\"idle_s\":1,\"expires_in_s\":90,\"verdict\":\"allow\"}]}",
		 "flows", NULL, NULL),
	     0);
	T(has(out, "100.64.1.2:40000  10.0.0.1:80  -    lab ") &&
	  has(out, "allow, 1 min 30 s left"));
	T(has(out, "1 of 9 flows"));
	T_EQ(ask("{\"total\":2,\"flows\":[{\"direction\":\"in\",\"nat\":{\"proxy\":\"100.96.0.1\","
		 "\"real\":\"10.20.0.10\",\"client_port\":4000,\"outside_port\":4000},\"resource\":"
		 "\"0a\",\"resource_name\":\"app\",\"name\":\"www.app\\u0007\",\"gateway_name\":"
		 "\"gw1\"},"
		 "{\"nat\":{\"real\":\"10.20.0.11\",\"client_port\":4000,\"outside_port\":61000},"
		 "\"site\":{\"name\":\"hq\"},\"gateway\":\"0123456789\"},{\"nat\":7,\"site\":[]}]}",
		 "flows", NULL, NULL),
	     0);
	T(has(out, "10.20.0.10 ") && has(out, "app: www.app?  gw1"));
	T(has(out, "10.20.0.11 from port 61000") && has(out, "hq 01234567 "));
	T_EQ(ask("{\"resources\":[{\"name\":\"lab\",\"type\":\"cidr\",\"address\":\"10.0.0.0/"
		 "8\",\"supported\":true,\"filters\":["
		 "\"tcp/"
		 "80\",\"icmp\"],\"status\":\"online\",\"enabled\":true,\"sites\":[{\"name\":\"a\"}"
		 ",{\"name\":\"b\"}]},{"
		 "\"name\":\"x\",\"type\":\"dns\",\"supported\":false,\"authorizations\":[1,2]}]}",
		 "resources", NULL, NULL),
	     0);
	T(has(out, "online") && has(out, "tcp/80, icmp") && has(out, "a, b"));
	T(has(out, "not supported") && has(out, "everything") && has(out, "2 clients"));
}

static void test_relays(void)
{
	T_EQ(ask("{\"relays\":[{\"id\":\"0a\",\"state\":\"allocated\",\"addr4\":\"192.0.2.1:3478\","
		 "\"addr6\":\"[2001:db8::1]:3478\",\"relayed4\":\"192.0.2.1:50000\",\"mapped4\":"
		 "null,"
		 "\"rtt_us\":216,\"expires_in_s\":90,\"channels\":2,\"connections\":3,"
		 "\"relayed_connections\":1},{\"id\":7}]}",
		 "relays", NULL, NULL),
	     0);
	T(has(out, "relay 0a\n") && has(out, "allocated, round trip 216 µs"));
	T(has(out, "expires in 1 min 30 s"));
	T(has(out, "address:    192.0.2.1:3478, [2001:db8::1]:3478\n"));
	T(has(out, "relayed:    192.0.2.1:50000\n") && !has(out, "mapped:"));
	T(has(out, "2 channels, 3 connections have it, 1 of them go through it"));
	T_EQ(ask("{\"relays\":[]}", "relays", NULL, NULL), 0);
	T(has(out, "no relays"));
	T_EQ(ask("{\"relays\":{\"id\":1}}", "relays", NULL, NULL), 0);
}

static void test_switch(void)
{
	T_EQ(run("resources", "on", "x", NULL), 2);
	T_EQ(run("resources", "enable", NULL, NULL), 2);
	T_EQ(run("resources", "disable", "", NULL), 2);
	T_EQ(run("resources", "disable", "a", "b"), 2);
	T_EQ(run("peers", "enable", "a", NULL), 2);
	T_EQ(ask("{\"name\":\"In\\u001bternet\",\"enabled\":true,\"changed\":true}", "resources",
		 "enable", "a \"b\" \xc3\xa9"),
	     0);
	T_STR(asked, "{\"cmd\":\"switch\",\"resource\":\"a \\\"b\\\" \xc3\xa9\",\"on\":true}\n");
	T_STR(out, "In?ternet is on\n");
	T_EQ(ask("{\"name\":\"x\",\"enabled\":false,\"changed\":false}", "resources", "disable",
		 "x"),
	     0);
	T_STR(asked, "{\"cmd\":\"switch\",\"resource\":\"x\",\"on\":false}\n");
	T_STR(out, "x is off, as before\n");
	T_EQ(ask4("{\"schema\":1,\"error\":{\"code\":\"not_found\",\"message\":\"no resource "
		  "'x'\"}}",
		  "resources", "disable", "x", "--json"),
	     1);
	T(has(out, "not_found"));
	T_EQ(run("--socket=/nowhere", "resources", "enable", "\xff"), 2);
}

static void find_program(const char *self)
{
	char path[PATH_MAX];

	if (!realpath(self, path))
		return;
	snprintf(program, sizeof(program), "%s/penstock", dirname(dirname(dirname(path))));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	find_program(argv[0]);
	if (access(program, X_OK)) {
		printf("1..0 # SKIP %s is not built\n", program);
		return T_SKIP_EXIT;
	}
	snprintf(dir, sizeof(dir), "/tmp/penstock-ctl-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	T_RUN(test_usage);
	T_RUN(test_no_daemon);
	T_RUN(test_json_as_is);
	T_RUN(test_status);
	T_RUN(test_peers);
	T_RUN(test_tables);
	T_RUN(test_relays);
	T_RUN(test_switch);
	rmdir(dir);
	return t_done();
}
