/* SPDX-License-Identifier: Apache-2.0
 *
 * Load for a TURN server: makes allocations, binds a channel each, sends numbered packets through
 * them in either direction or both, and says what arrived. Clients and peers are sockets of this
 * one process in two network namespaces, so that nothing is lost without being noticed. Works
 * against any TURN server with long-term credentials. Prints one JSON object.
 *
 * Closed loop: no more than --window packets of a flow are on their way, so the figure is what the
 * server carries, not how fast it drops; --pps makes it open. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/netns/turn_client.h"
#include "tests/proc_cpu.h"
#include "base/bytes.h"
#include "io/gso.h"
#include "io/loop.h"
#include "wire/turn.h"

#define FLOWS_MAX 20000
#define ECN_MARK  1		    /* of what is sent, and expected of what arrives */
#define LOST_NS	  (200 * NS_PER_MS) /* without any arrival: what is missing is lost */

struct flow {
	struct turn_client client;
	struct gso_sock client_sock, peer_sock;
	struct endpoint peer;
	uint64_t sent[2], got[2], lost[2], bad[2], late[2], unmarked[2];
	uint32_t seen[2]; /* highest number so far */
	uint64_t at[2];	  /* last arrival or loss */
};

static struct {
	struct turn_login login;
	const char *client_ns, *peer_ns;
	struct ipaddr peer_ip, client_ip;
	uint32_t allocs, size, window, burst, pps, seconds, pid;
	bool dir[2], gso, hold;
} cfg = {.allocs = 1, .size = 1200, .window = 256, .burst = 32, .seconds = 3, .gso = true};

static struct flow *flows;
static volatile bool stop;
static uint8_t pattern[2048];

enum { UP, DOWN };

/* ---- set-up ---- */

static void die(const char *what, int rc)
{
	fprintf(stderr, "h_turnload: %s: %s\n", what, strerror(rc < 0 ? -rc : rc));
	exit(1);
}

static void enter(const char *ns)
{
	char path[128];
	int fd;

	if (!ns)
		return;
	snprintf(path, sizeof(path), "/run/netns/%s", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path, errno);
	close(fd);
}

static void open_sock(struct gso_sock *s, const struct ipaddr *ip, uint8_t family)
{
	struct gso_sock_cfg c = {.bind.ip = *ip, .rcvbuf = 8u << 20, .sndbuf = 8u << 20};
	struct io_err err;

	if (!c.bind.ip.family)
		c.bind.ip.family = family;
	if (gso_sock_open(s, &c, &err)) {
		fprintf(stderr, "h_turnload: %s\n", err.msg);
		exit(1);
	}
	s->no_gso = !cfg.gso;
}

static uint16_t port_of(int fd)
{
	union sockaddr_any sa;
	struct endpoint e;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, &sa.sa, &len) || sockaddr_to_endpoint(&sa, &e))
		die("getsockname", errno);
	return e.port;
}

static double open_flows(void)
{
	uint64_t start;
	int rc;

	enter(cfg.peer_ns);
	for (uint32_t i = 0; i < cfg.allocs; i++) {
		open_sock(&flows[i].peer_sock, &cfg.peer_ip, cfg.peer_ip.family);
		flows[i].peer = (struct endpoint){.ip = cfg.peer_ip,
						  .port = port_of(flows[i].peer_sock.fd)};
	}
	enter(cfg.client_ns);
	for (uint32_t i = 0; i < cfg.allocs; i++)
		open_sock(&flows[i].client_sock, &cfg.client_ip, cfg.login.server.ip.family);
	start = loop_now();
	for (uint32_t i = 0; i < cfg.allocs; i++) {
		rc = turn_client_open(&flows[i].client, flows[i].client_sock.fd, &cfg.login,
				      cfg.peer_ip.family);
		if (!rc)
			rc = turn_client_bind(&flows[i].client, &flows[i].peer, 0x4001);
		if (rc) {
			fprintf(stderr, "h_turnload: allocation %u: %s %d\n", i,
				flows[i].client.what, flows[i].client.error);
			exit(1);
		}
	}
	return (double)(loop_now() - start) / 1e9;
}

/* ---- one direction ---- */

struct pump {
	int dir;
	struct gro_rx *rx;
	struct gso_tx *tx;
	uint8_t *bufs; /* burst packets */
	pthread_t thread;
};

static void send_burst(struct pump *p, struct flow *f, uint32_t index, uint32_t n)
{
	struct gso_to to = {.key = index, .ecn = ECN_MARK};
	uint8_t hdr[TURN_CHAN_HDR_LEN];

	to.sock = p->dir == UP ? &f->client_sock : &f->peer_sock;
	to.dst = p->dir == UP ? cfg.login.server : f->client.relayed;
	turn_chan_put(hdr, f->client.channel, (uint16_t)cfg.size);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *b = p->bufs + (size_t)i * cfg.size;

		be32_put(b, index);
		be32_put(b + 4, (uint32_t)++f->sent[p->dir]);
		gso_put(p->tx, &to, p->dir == UP ? hdr : NULL, b, cfg.size);
	}
	gso_flush(p->tx);
}

static void take(struct flow *f, uint32_t index, int dir, const uint8_t *b, size_t len)
{
	struct turn_chan_hdr h;
	uint32_t seq;

	if (dir == DOWN) {
		if (!turn_chan_parse(b, (uint32_t)len, &h) || h.number != f->client.channel) {
			f->bad[dir]++;
			return;
		}
		b += TURN_CHAN_HDR_LEN;
		len = h.len;
	}
	if (len != cfg.size || be32_get(b) != index || memcmp(b + 8, pattern + 8, len - 8)) {
		f->bad[dir]++;
		return;
	}
	seq = be32_get(b + 4);
	if (seq <= f->seen[dir])
		f->late[dir]++;
	else
		f->seen[dir] = seq;
	f->got[dir]++;
}

static size_t receive(struct pump *p, struct flow *f, uint32_t index, uint64_t now)
{
	struct gro_msg *m;
	size_t n = gro_recv(p->rx, p->dir == UP ? f->peer_sock.fd : f->client_sock.fd, GRO_BATCH,
			    &m);

	for (size_t i = 0; i < n; i++) {
		f->unmarked[p->dir] += m[i].ecn != ECN_MARK;
		for (uint32_t off = 0; off < m[i].len; off += m[i].seg)
			take(f, index, p->dir, m[i].data + off,
			     m[i].len - off < m[i].seg ? m[i].len - off : m[i].seg);
	}
	if (n)
		f->at[p->dir] = now;
	return n;
}

static uint32_t allowance(const struct pump *p, struct flow *f, uint64_t start, uint64_t now)
{
	uint64_t on_way = f->sent[p->dir] - f->got[p->dir] - f->lost[p->dir], due;

	if (cfg.pps) {
		due = (now - start) * (cfg.pps / cfg.allocs ? cfg.pps / cfg.allocs : 1) /
		      NS_PER_SEC;
		due = due > f->sent[p->dir] ? due - f->sent[p->dir] : 0;
		return (uint32_t)(due < cfg.burst ? due : cfg.burst);
	}
	if (on_way && now - f->at[p->dir] > LOST_NS) {
		f->lost[p->dir] += on_way;
		f->at[p->dir] = now;
		on_way = 0;
	}
	return on_way + cfg.burst <= cfg.window ? cfg.burst : 0;
}

static void *pump_run(void *arg)
{
	struct pump *p = arg;
	uint64_t start = loop_now(), now = start;

	for (uint32_t i = 0; i < cfg.allocs; i++)
		flows[i].at[p->dir] = start;
	while (!stop) {
		size_t moved = 0;

		for (uint32_t i = 0; i < cfg.allocs; i++) {
			uint32_t n = allowance(p, &flows[i], start, now);

			if (n)
				send_burst(p, &flows[i], i, n);
			moved += n + receive(p, &flows[i], i, now);
		}
		if (!moved)
			usleep(20);
		now = loop_now();
	}
	for (int quiet = 0; quiet < 10; quiet++) { /* what is still on its way */
		usleep(10000);
		for (uint32_t i = 0; i < cfg.allocs; i++)
			while (receive(p, &flows[i], i, loop_now()))
				quiet = 0;
	}
	return NULL;
}

static void pump_open(struct pump *p, int dir)
{
	*p = (struct pump){.dir = dir, .rx = gro_rx_new(), .tx = gso_tx_new()};
	p->bufs = malloc((size_t)cfg.burst * cfg.size);
	if (!p->rx || !p->tx || !p->bufs)
		die("memory", ENOMEM);
	for (uint32_t i = 0; i < cfg.burst; i++)
		memcpy(p->bufs + (size_t)i * cfg.size, pattern, cfg.size);
}

static void pump_close(struct pump *p)
{
	pthread_join(p->thread, NULL);
	gro_rx_free(p->rx);
	gso_tx_free(p->tx);
	free(p->bufs);
}

/* ---- measuring ---- */

/* CPU seconds of the whole machine, idle left out. */
static double cpu_busy(void)
{
	unsigned long v[8] = {0};
	FILE *f = fopen("/proc/stat", "r");

	if (!f)
		return 0;
	if (fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &v[0], &v[1], &v[2], &v[3], &v[4],
		   &v[5], &v[6], &v[7]) != 8)
		memset(v, 0, sizeof(v));
	fclose(f);
	return (double)(v[0] + v[1] + v[2] + v[5] + v[6]) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t report(int dir, double seconds)
{
	uint64_t sent = 0, got = 0, bad = 0, late = 0, least = UINT64_MAX, most = 0, unmarked = 0;

	for (uint32_t i = 0; i < cfg.allocs; i++) {
		const struct flow *f = &flows[i];

		sent += f->sent[dir];
		got += f->got[dir];
		bad += f->bad[dir];
		late += f->late[dir];
		unmarked += f->unmarked[dir];
		least = f->got[dir] < least ? f->got[dir] : least;
		most = f->got[dir] > most ? f->got[dir] : most;
	}
	printf("\"%s\":{\"sent\":%llu,\"received\":%llu,\"lost\":%lld,\"bad\":%llu,\"late\":%llu,"
	       "\"unmarked\":%llu,"
	       "\"pps\":%.0f,\"gbps\":%.3f,\"least\":%llu,\"most\":%llu},",
	       dir == UP ? "up" : "down", (unsigned long long)sent, (unsigned long long)got,
	       (long long)(sent - got), (unsigned long long)bad, (unsigned long long)late,
	       (unsigned long long)unmarked, (double)got / seconds,
	       (double)got * cfg.size * 8 / seconds / 1e9, (unsigned long long)least,
	       (unsigned long long)most);
	return got;
}

static void measure(double alloc_s)
{
	struct pump pumps[2];
	double cpu, busy, seconds;
	uint64_t start, packets = 0;

	for (int d = 0; d < 2; d++)
		if (cfg.dir[d])
			pump_open(&pumps[d], d);
	cpu = proc_cpu_s(cfg.pid);
	busy = cpu_busy();
	start = loop_now();
	for (int d = 0; d < 2; d++)
		if (cfg.dir[d])
			pthread_create(&pumps[d].thread, NULL, pump_run, &pumps[d]);
	if (cfg.dir[UP] || cfg.dir[DOWN] || cfg.hold)
		sleep(cfg.seconds);
	stop = true;
	seconds = (double)(loop_now() - start) / 1e9;
	cpu = proc_cpu_s(cfg.pid) - cpu;
	busy = cpu_busy() - busy;
	for (int d = 0; d < 2; d++)
		if (cfg.dir[d])
			pump_close(&pumps[d]);
	printf("{\"allocs\":%u,\"allocs_per_s\":%.0f,\"size\":%u,\"seconds\":%.2f,\"gso\":%s,",
	       cfg.allocs, cfg.allocs / alloc_s, cfg.size, seconds, cfg.gso ? "true" : "false");
	for (int d = 0; d < 2; d++)
		if (cfg.dir[d])
			packets += report(d, seconds);
	printf("\"packets\":%llu,\"relay_cpu_s\":%.2f,\"relay_cpu_us_per_packet\":%.3f,"
	       "\"busy_cpu_us_per_packet\":%.3f}\n",
	       (unsigned long long)packets, cpu, packets ? cpu * 1e6 / (double)packets : 0,
	       packets ? busy * 1e6 / (double)packets : 0);
}

/* ---- options ---- */

static void usage(void)
{
	fputs("usage: h_turnload --relay IP:PORT --user NAME --password TEXT --peer IP\n"
	      "  [--client-ns NS] [--peer-ns NS] [--client IP] [--allocs N] [--size BYTES]\n"
	      "  [--seconds N] [--direction up|down|both|none] [--window N] [--burst N] [--pps N]\n"
	      "  [--no-gso] [--pid PID (of the server, for its CPU time)]\n",
	      stderr);
	exit(2);
}

static uint32_t number(const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || v < min || v > max)
		usage();
	return (uint32_t)v;
}

static void direction(const char *text)
{
	cfg.dir[UP] = !strcmp(text, "up") || !strcmp(text, "both");
	cfg.dir[DOWN] = !strcmp(text, "down") || !strcmp(text, "both");
	cfg.hold = !strcmp(text, "none");
}

static const struct option longs[] = {
	{"relay", required_argument, NULL, 'r'},
	{"user", required_argument, NULL, 'u'},
	{"password", required_argument, NULL, 'w'},
	{"peer", required_argument, NULL, 'p'},
	{"client-ns", required_argument, NULL, 'C'},
	{"peer-ns", required_argument, NULL, 'P'},
	{"client", required_argument, NULL, 'c'},
	{"allocs", required_argument, NULL, 'n'},
	{"size", required_argument, NULL, 's'},
	{"seconds", required_argument, NULL, 't'},
	{"direction", required_argument, NULL, 'd'},
	{"window", required_argument, NULL, 'W'},
	{"burst", required_argument, NULL, 'b'},
	{"pps", required_argument, NULL, 'R'},
	{"no-gso", no_argument, NULL, 'G'},
	{"pid", required_argument, NULL, 'i'},
	{0},
};

static void apply(int o)
{
	switch (o) {
	case 'r':
		if (endpoint_parse(optarg, &cfg.login.server))
			usage();
		break;
	case 'u':
		cfg.login.user = optarg;
		break;
	case 'w':
		cfg.login.password = optarg;
		break;
	case 'p':
		if (ipaddr_parse(optarg, &cfg.peer_ip))
			usage();
		break;
	case 'c':
		if (ipaddr_parse(optarg, &cfg.client_ip))
			usage();
		break;
	case 'C':
		cfg.client_ns = optarg;
		break;
	case 'P':
		cfg.peer_ns = optarg;
		break;
	case 'n':
		cfg.allocs = number(optarg, 1, FLOWS_MAX);
		break;
	case 's':
		cfg.size = number(optarg, 16, 1900);
		break;
	case 't':
		cfg.seconds = number(optarg, 1, 600);
		break;
	case 'd':
		direction(optarg);
		break;
	case 'W':
		cfg.window = number(optarg, 1, 100000);
		break;
	case 'b':
		cfg.burst = number(optarg, 1, GSO_SEG_MAX);
		break;
	case 'R':
		cfg.pps = number(optarg, 1, 100000000);
		break;
	case 'G':
		cfg.gso = false;
		break;
	case 'i':
		cfg.pid = number(optarg, 1, 1u << 30);
		break;
	default:
		usage();
	}
}

int main(int argc, char **argv)
{
	struct rlimit lim;
	int o;

	cfg.dir[UP] = true;
	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1)
		apply(o);
	if (optind < argc || !cfg.login.server.ip.family || !cfg.login.user ||
	    !cfg.login.password || !cfg.peer_ip.family)
		usage();
	if (cfg.window < cfg.burst)
		cfg.burst = cfg.window;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + (i >> 8));
	if (!getrlimit(RLIMIT_NOFILE, &lim)) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	flows = calloc(cfg.allocs, sizeof(*flows));
	if (!flows || crypto_init())
		die("memory", ENOMEM);
	measure(open_flows());
	/* or the server would refuse the next run that gets one of these ports */
	for (uint32_t i = 0; i < cfg.allocs; i++)
		turn_client_refresh(&flows[i].client, 0);
	free(flows);
	return 0;
}
