/* SPDX-License-Identifier: Apache-2.0
 *
 * The open-loop load generator: what it is, wgload.h; how it is called, usage() below. It is
 * started in the client's network namespace and opens its far end in the server's. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/wgload.h"
#include "base/b64.h"
#include "crypto/crypto.h"

static const char usage_text[] =
	"usage: h_wgload run|search|peers|renew|handshakes|keys OPTION… [-- penstock-client's "
	"options]\n"
	"  run         one run at --rate; one JSON line\n"
	"  search      the highest rate with no more than --loss; one JSON line\n"
	"  peers       what a packet costs the gateway: of all peers in turn, of one; one JSON "
	"line\n"
	"  renew       sessions renewed by their timers for --seconds, at --rate; one JSON line\n"
	"  handshakes  initiations answered a second; of a crowd from 10.10.0.0/16\n"
	"  keys        public key and tunnel address of each of --peers, a line each\n"
	"A plain WireGuard peer:\n"
	"  --endpoint IP:PORT --public-key KEY   the far end\n"
	"  --key FILE [--psk FILE]               ours; what wg genkey prints\n"
	"  --address IP                          ours inside the tunnel\n"
	"  --peers N   so many peers, with keys made from --key and addresses that follow\n"
	"Peers of penstock-gateway, as many as crowd.py has made known to it:\n"
	"  --endpoint IP:PORT --key FILE --crowd FILE --local IP:PORT[,IP:PORT...]\n"
	"A plain sender, through whatever tunnel the route leads into:\n"
	"  --plain     sendmmsg of payloads, without GSO; --size is that of the IPv4 packet\n"
	"Else, behind --, a penstock-client, which reaches the gateway by a portal.\n"
	"The far end:\n"
	"  --sink IP:PORT       where packets go inside; flow n to PORT + n\n"
	"  --sink-ns NS         its namespace\n"
	"  --sink-dev DEV       where they arrive there\n"
	"  --verify             read and check all of them (slower)\n"
	"The load:\n"
	"  --size BYTES (64)    of an inner packet      --gso on|off (on)\n"
	"  --flows N (1)        up to 64                --train N (1)  of one flow in a row\n"
	"  --burst N (32)       datagrams a system call without GSO, at most\n"
	"  --rate PPS           run: 0 or none: as fast as it goes; search: where it begins\n"
	"  --seconds S (1)      a run                   --warm S (0.2)  before it\n"
	"  --packets N          run: so many, whatever --seconds says\n"
	"  --grace S (0.02)     later than this after the last is lost\n"
	"  --loss SHARE (0.001) --max-seconds S (25)    search\n"
	"  --rounds N (5)       peers\n"
	"  --senders N (1)      processes that send, each with a socket and --peers peers of its\n"
	"                       own (of a crowd: an N-th), and --local's N-th address\n"
	"  --pool-mb N (1024)   packets encrypted ahead --threads N  that encrypt\n"
	"  --window N (32)      handshakes under way\n"
	"  --gateway-pid PID    for its processor time\n";

static struct {
	struct wgl_load load;
	struct wgl_find find;
	struct wgl_wg_cfg wg;
	struct wgl_sink_cfg sink;
	double rate;
	uint32_t window, rounds;
	const char *crowd, *local;
	bool has_key, has_pub;
} cfg = {
	.load = {.size = 64,
		 .flows = 1,
		 .train = 1,
		 .burst = 32,
		 .senders = 1,
		 .gso = true,
		 .pool = 1u << 30},
	.find = {.seconds = 1, .warm = 0.2, .limit = 0.001, .max_seconds = 25, .grace = 0.02},
	.wg = {.peers = 1},
	.window = 32,
	.rounds = 5,
};

void wgl_die(const char *what, int rc)
{
	fprintf(stderr, "h_wgload: %s: %s\n", what, strerror(rc < 0 ? -rc : rc));
	exit(1);
}

void wgl_enter(const char *ns)
{
	char path[128];
	int fd;

	if (!ns)
		return;
	snprintf(path, sizeof(path), ns[0] == '/' ? "%s" : "/run/netns/%s", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		wgl_die(path, errno);
	close(fd);
}

static void usage(void)
{
	fputs(usage_text, stderr);
	exit(2);
}

static double number(const char *text, double min, double max)
{
	char *end;
	double v = strtod(text, &end);

	if (*end || !(v >= min && v <= max))
		usage();
	return v;
}

static void key_read(const char *path, uint8_t key[32])
{
	char text[64] = "";
	FILE *f = fopen(path, "r");

	if (!f || !fgets(text, sizeof(text), f))
		wgl_die(path, errno);
	fclose(f);
	text[strcspn(text, "\n")] = 0;
	if (b64_key_decode(text, key))
		wgl_die(path, EINVAL);
	crypto_wipe(text, sizeof(text));
}

enum {
	O_ENDPOINT = 1,
	O_PUBLIC_KEY,
	O_KEY,
	O_PSK,
	O_ADDRESS,
	O_PEERS,
	O_CROWD,
	O_LOCAL,
	O_PLAIN,
	O_SINK,
	O_SINK_NS,
	O_SINK_DEV,
	O_VERIFY,
	O_SIZE,
	O_GSO,
	O_FLOWS,
	O_TRAIN,
	O_BURST,
	O_RATE,
	O_SECONDS,
	O_WARM,
	O_PACKETS,
	O_GRACE,
	O_LOSS,
	O_MAX_SECONDS,
	O_ROUNDS,
	O_POOL,
	O_SENDERS,
	O_THREADS,
	O_WINDOW,
	O_PID,
};

static const struct option longs[] = {
	{"endpoint", required_argument, NULL, O_ENDPOINT},
	{"public-key", required_argument, NULL, O_PUBLIC_KEY},
	{"key", required_argument, NULL, O_KEY},
	{"psk", required_argument, NULL, O_PSK},
	{"address", required_argument, NULL, O_ADDRESS},
	{"peers", required_argument, NULL, O_PEERS},
	{"crowd", required_argument, NULL, O_CROWD},
	{"local", required_argument, NULL, O_LOCAL},
	{"plain", no_argument, NULL, O_PLAIN},
	{"sink", required_argument, NULL, O_SINK},
	{"sink-ns", required_argument, NULL, O_SINK_NS},
	{"sink-dev", required_argument, NULL, O_SINK_DEV},
	{"verify", no_argument, NULL, O_VERIFY},
	{"size", required_argument, NULL, O_SIZE},
	{"gso", required_argument, NULL, O_GSO},
	{"flows", required_argument, NULL, O_FLOWS},
	{"train", required_argument, NULL, O_TRAIN},
	{"burst", required_argument, NULL, O_BURST},
	{"rate", required_argument, NULL, O_RATE},
	{"seconds", required_argument, NULL, O_SECONDS},
	{"warm", required_argument, NULL, O_WARM},
	{"packets", required_argument, NULL, O_PACKETS},
	{"grace", required_argument, NULL, O_GRACE},
	{"loss", required_argument, NULL, O_LOSS},
	{"max-seconds", required_argument, NULL, O_MAX_SECONDS},
	{"rounds", required_argument, NULL, O_ROUNDS},
	{"pool-mb", required_argument, NULL, O_POOL},
	{"senders", required_argument, NULL, O_SENDERS},
	{"threads", required_argument, NULL, O_THREADS},
	{"window", required_argument, NULL, O_WINDOW},
	{"gateway-pid", required_argument, NULL, O_PID},
	{0},
};

static void apply_peer(int o)
{
	switch (o) {
	case O_ENDPOINT:
		if (endpoint_parse(optarg, &cfg.wg.endpoint))
			usage();
		break;
	case O_PUBLIC_KEY:
		if (b64_key_decode(optarg, cfg.wg.remote_pub))
			usage();
		cfg.has_pub = true;
		break;
	case O_KEY:
		key_read(optarg, cfg.wg.priv);
		cfg.has_key = true;
		break;
	case O_PSK:
		key_read(optarg, cfg.wg.psk);
		break;
	case O_ADDRESS:
		if (ipaddr_parse(optarg, &cfg.wg.address) || cfg.wg.address.family != 4)
			usage();
		break;
	case O_PEERS:
		cfg.wg.peers = (uint32_t)number(optarg, 1, WGL_PEERS_MAX - 1);
		break;
	case O_CROWD:
		cfg.crowd = optarg;
		break;
	case O_LOCAL:
		cfg.local = optarg;
		break;
	default:
		usage();
	}
}

static void apply_load(int o)
{
	switch (o) {
	case O_SINK:
		if (endpoint_parse(optarg, &cfg.load.sink) || cfg.load.sink.ip.family != 4)
			usage();
		break;
	case O_PLAIN:
		cfg.load.plain = true;
		break;
	case O_SINK_NS:
		cfg.sink.ns = optarg;
		break;
	case O_SINK_DEV:
		cfg.sink.dev = optarg;
		break;
	case O_VERIFY:
		cfg.sink.verify = true;
		break;
	case O_SIZE:
		cfg.load.size = (uint32_t)number(optarg, WGL_INNER_MIN, WGL_INNER_MAX);
		break;
	case O_GSO:
		if (strcmp(optarg, "on") && strcmp(optarg, "off"))
			usage();
		cfg.load.gso = !strcmp(optarg, "on");
		break;
	case O_FLOWS:
		cfg.load.flows = (uint32_t)number(optarg, 1, WGL_FLOWS_MAX);
		break;
	case O_TRAIN:
		cfg.load.train = (uint32_t)number(optarg, 1, 1 << 20);
		break;
	case O_BURST:
		cfg.load.burst = (uint32_t)number(optarg, 1, 64);
		break;
	case O_POOL:
		cfg.load.pool = (uint64_t)number(optarg, 1, 1 << 20) << 20;
		break;
	case O_SENDERS:
		cfg.load.senders = (uint32_t)number(optarg, 1, WGL_SENDERS_MAX);
		break;
	case O_THREADS:
		cfg.load.threads = (uint32_t)number(optarg, 1, 16);
		break;
	default:
		apply_peer(o);
	}
}

static void apply(int o)
{
	switch (o) {
	case O_RATE:
		cfg.rate = number(optarg, 0, 1e9);
		break;
	case O_SECONDS:
		cfg.find.seconds = number(optarg, 0.01, 600);
		break;
	case O_WARM:
		cfg.find.warm = number(optarg, 0, 60);
		break;
	case O_PACKETS:
		cfg.find.exactly = (uint64_t)number(optarg, 1, 1e9);
		break;
	case O_GRACE:
		cfg.find.grace = number(optarg, 0, 60);
		break;
	case O_LOSS:
		cfg.find.limit = number(optarg, 0, 1);
		break;
	case O_MAX_SECONDS:
		cfg.find.max_seconds = number(optarg, 1, 3600);
		break;
	case O_ROUNDS:
		cfg.rounds = (uint32_t)number(optarg, 1, 64);
		break;
	case O_WINDOW:
		cfg.window = (uint32_t)number(optarg, 1, 4096);
		break;
	case O_PID:
		cfg.find.pid = (int)number(optarg, 1, 1 << 30);
		break;
	default:
		apply_load(o);
	}
}

static int keys(void)
{
	char text[64], at[IPADDR_STRLEN];
	uint8_t priv[32], pub[32];

	for (uint32_t i = 0; i < cfg.wg.peers; i++) {
		const struct ipaddr a = wgl_wg_address(&cfg.wg, i);

		wgl_wg_priv(&cfg.wg, i, priv);
		x25519_public(pub, priv);
		b64_encode(pub, sizeof(pub), text);
		printf("%s %s\n", text, ipaddr_fmt(&a, at));
	}
	crypto_wipe(priv, sizeof(priv));
	return 0;
}

static void sink_open(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	cfg.sink.load = &cfg.load;
	cfg.find.load = &cfg.load;
	cfg.find.sink = wgl_sink_open(&cfg.sink);
	if (home < 0 || setns(home, CLONE_NEWNET))
		wgl_die("own namespace", errno);
	close(home);
}

/* This sender's of the list; without one any port will do. */
static void local_choose(void)
{
	const char *at = cfg.local;
	char one[64];
	size_t len;

	for (uint32_t i = 0; at && i < cfg.load.sender; i++)
		at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL;
	if (!at)
		return;
	len = strcspn(at, ",");
	if (len >= sizeof(one))
		usage();
	memcpy(one, at, len);
	one[len] = 0;
	if (endpoint_parse(one, &cfg.wg.local))
		usage();
}

static void link_open(struct wgl_link *l, int argc, char **argv)
{
	local_choose();
	cfg.wg.first = cfg.load.sender * cfg.wg.peers;
	if (cfg.crowd)
		cfg.wg.crowd = wgl_crowd_load(cfg.crowd, &cfg.wg.local, &cfg.wg.endpoint, &cfg.load,
					      &cfg.wg.peers);
	if (!cfg.wg.peers)
		usage();
	if (cfg.load.plain)
		wgl_plain_open(l, &cfg.load);
	else if (argc >= 2)
		wgl_gw_open(l, argc, argv, &cfg.load.sink);
	else
		wgl_wg_open(l, &cfg.wg);
	cfg.find.link = l;
	cfg.find.start_pps = cfg.rate;
}

static void print_checked(void)
{
	struct wgl_checked c;

	wgl_sink_checked(cfg.find.sink, &c);
	printf(",\"checked\":%llu,\"reordered\":%llu,\"duplicated\":%llu,\"corrupted\":%llu,"
	       "\"unchecked\":%llu",
	       (unsigned long long)c.packets, (unsigned long long)c.reordered,
	       (unsigned long long)c.duplicated, (unsigned long long)c.corrupted,
	       (unsigned long long)c.missed);
}

/* run and search */
static bool measure(bool search)
{
	struct wgl_found found = {0};
	struct wgl_run r = {0};

	if (search)
		wgl_search(&cfg.find, &r, &found);
	else
		wgl_run(&cfg.find, cfg.rate, &r);
	wgl_print(&cfg.find, search ? "search" : "run", &r, stdout);
	if (cfg.sink.verify)
		print_checked();
	if (search)
		printf(",\"probes\":%u,\"peak_pps\":%.0f,\"limit\":\"%s\"", found.probes,
		       found.peak_pps, found.sender ? "sender" : "loss");
	puts("}");
	return !search || r.delivered > 0;
}

static int load_run(const char *what, int argc, char **argv)
{
	struct wgl_link link;
	bool good = true;

	if (!cfg.load.sink.port || !cfg.sink.dev || (!strcmp(what, "renew") && argc >= 2) ||
	    (!cfg.load.plain && argc < 2 && !(cfg.has_key && (cfg.has_pub || cfg.crowd))))
		usage();
	cfg.load.gso &= !cfg.load.plain;
	if (cfg.load.senders > 1 && (cfg.load.plain || argc >= 2 || !strcmp(what, "peers")))
		usage();
	cfg.find.load = &cfg.load;
	cfg.find.team = wgl_team_open(cfg.load.senders, &cfg.load.sender);
	if (cfg.load.sender) {
		link_open(&link, argc, argv);
		wgl_run_along(&cfg.find);
		link.close(&link);
		return 0;
	}
	sink_open();
	cfg.wg.renew = !strcmp(what, "renew");
	link_open(&link, argc, argv);
	if (cfg.wg.renew)
		wgl_renew(&cfg.find, cfg.rate, cfg.find.seconds);
	else if (!strcmp(what, "peers"))
		wgl_peers(&cfg.find, cfg.rate, cfg.rounds);
	else
		good = measure(!strcmp(what, "search"));
	fflush(stdout);
	wgl_team_close(cfg.find.team);
	link.close(&link);
	wgl_sink_close(cfg.find.sink);
	return !good;
}

static void handshakes(void)
{
	struct wgl_link link;

	if (!cfg.crowd) {
		wgl_handshakes(&cfg.wg, NULL, cfg.window, cfg.find.seconds, cfg.find.pid);
		return;
	}
	link_open(&link, 0, NULL);
	link.ready(&link);
	wgl_handshakes(&cfg.wg, &link, cfg.window, cfg.find.seconds, cfg.find.pid);
	link.close(&link);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int o;

	cfg.load.threads = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	optind = 2;
	while (argc > 1 && (o = getopt_long(argc, argv, "", longs, NULL)) != -1)
		apply(o);
	if (crypto_init())
		wgl_die("crypto", EIO);
	argv[optind - 1] = (char *)"penstock-client"; /* where "--" was */
	argc -= optind - 1;
	argv += optind - 1;
	optind = 0;
	if (!strcmp(what, "run") || !strcmp(what, "search") || !strcmp(what, "peers") ||
	    !strcmp(what, "renew"))
		return load_run(what, argc, argv);
	if (!cfg.has_key || argc > 1)
		usage();
	if (!strcmp(what, "keys"))
		return keys();
	if (strcmp(what, "handshakes") || !(cfg.has_pub || cfg.crowd) || !cfg.wg.endpoint.port)
		usage();
	handshakes();
	return 0;
}
