/* SPDX-License-Identifier: Apache-2.0
 *
 * io/bpf_load and io/bpf_sync against a real kernel, inside a namespace that t_bpf-attach.sh made,
 * with a veth `w0` as WAN:
 *
 *     h_bpf [filter]                    the tests
 *     h_bpf hold INSTANCE XDP-MODE      load and attach, print what stands and "holding", undo at
 * SIGTERM */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "io/bpf_sync.h"
#include "io/nl_link.h"
#include "io/tun.h"
#include "tests/bpf/kver.h"
#include "tests/t.h"

#define SESSIONS 64
#define PEERS	 32
#define FLOWS	 2048
#define CHANNELS 64

static struct io_err err;

static bool ok(int rc)
{
	if (rc < 0)
		t_note("rc %d: %s", rc, err.msg);
	return rc == 0;
}

static struct bpf_load_cfg cfg_make(const char *instance, int tun_ifindex, enum bpf_xdp_mode mode)
{
	return (struct bpf_load_cfg){
		.instance = instance,
		.wan_ifindex = {(int)if_nametoindex("w0")},
		.wan_len = 1,
		.tun_ifindex = tun_ifindex,
		.xdp_mode = mode,
		.steer = BPF_STEER_RSS, /* ps_wan_rx, whatever this machine has */
		.sessions = SESSIONS,
		.peers = PEERS,
		.flows = FLOWS,
		.channels = CHANNELS,
	};
}

static struct tun *tun;
static struct bpf_load *b;

static void up(bool plain)
{
	struct bpf_load_cfg cfg;

	T(ok(tun_open(&tun, &(struct tun_cfg){.name = "tun-bpf"}, &err)));
	cfg = cfg_make("h-bpf", tun_ifindex(tun), BPF_XDP_AUTO);
	cfg.force_plain = plain;
	T(ok(bpf_load_open(&b, &cfg, &err)));
}

static void down(void)
{
	bpf_load_close(b);
	tun_close(tun);
	b = NULL;
}

/* Is the 32-byte pattern anywhere in what the map's system call interface hands out? */
static bool dump_holds(const char *map, size_t value_len, const uint8_t *pattern)
{
	int fd = bpf_load_map_fd(b, map);
	uint8_t value[256];

	for (uint32_t i = 0; i < SESSIONS; i++) {
		if (bpf_map_lookup_elem(fd, &i, value) < 0)
			continue;
		for (size_t at = 0; at + 32 <= value_len; at++)
			if (memcmp(value + at, pattern, 32) == 0)
				return true;
	}
	return false;
}

static size_t key_value_len(void)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	T(bpf_obj_get_info_by_fd(bpf_load_map_fd(b, "ps_key"), &info, &len) == 0);
	return info.value_size;
}

static void keys_round(bool plain)
{
	uint8_t recv[32], send[32], zero[32] = {0};

	up(plain);
	if (!plain && kver_plain_only() && !bpf_load_info(b)->keys_hidden) {
		static char why[120]; /* printed when the loader is gone */

		snprintf(why, sizeof(why), "%s", bpf_load_info(b)->shown_why);
		t_skip(why);
		down();
		return;
	}
	T_EQ(bpf_load_info(b)->keys_hidden, !plain);
	T_EQ(bpf_load_info(b)->shown_why[0] != '\0', plain);
	memset(recv, 0xa5, sizeof(recv));
	memset(send, 0x5a, sizeof(send));
	T_EQ(bpf_key_set(b, 7, recv, send), 0);
	T_EQ(bpf_key_set(b, 7, send, recv), 0); /* again, over the old ones */
	T_EQ(bpf_key_set(b, SESSIONS, recv, send), -EINVAL);
	/* The search itself works: the plain map shows them. */
	T_EQ(dump_holds("ps_key", key_value_len(), recv), plain);
	T_EQ(dump_holds("ps_key", key_value_len(), send), plain);
	T_EQ(bpf_key_wipe(b, 7), 0);
	T_EQ(bpf_key_wipe(b, 8), 0); /* none there: fine */
	T(!dump_holds("ps_key", key_value_len(), recv));
	T(memcmp(recv, zero, 32) != 0); /* the caller's copy is the caller's */
	down();
}

static void test_keys_hidden(void)
{
	keys_round(false);
}

static void test_keys_plain(void)
{
	keys_round(true);
}

static void test_tables_are_shared(void)
{
	struct bpf_tables *t;
	struct ps_session s;
	struct ps_config c;
	struct ps_peer p;
	uint32_t last = SESSIONS - 1, zero = 0, one = PEERS - 1, alive = 0;

	up(false);
	t = bpf_load_tables(b);
	T_EQ(t->config->abi, PS_ABI_VERSION);
	T_EQ(t->config->slot_mask, SESSIONS - 1);
	T_EQ(t->config->tun_ifindex, tun_ifindex(tun));
	T_EQ(t->config->flags, 0);
	t->session[last].local_idx = 0x1234567;
	t->replay[last] = (struct ps_replay){0};
	t->peer[one].generation = 77;
	t->config->port4 = 0x1234;
	T(bpf_map_lookup_elem(bpf_load_map_fd(b, "ps_session"), &last, &s) == 0);
	T_EQ(s.local_idx, 0x1234567);
	T(bpf_map_lookup_elem(bpf_load_map_fd(b, "ps_peer"), &one, &p) == 0);
	T_EQ(p.generation, 77);
	T(bpf_map_lookup_elem(bpf_load_map_fd(b, "ps_config"), &zero, &c) == 0);
	T_EQ(c.port4, 0x1234);
	T(bpf_map_lookup_elem(bpf_load_map_fd(b, "ps_alive"), &zero, &alive) < 0 || alive == 0);
	T(ok(bpf_load_start(b, &err)));
	T(bpf_map_lookup_elem(bpf_load_map_fd(b, "ps_alive"), &zero, &alive) == 0);
	T_EQ(alive, tun_ifindex(tun));
	tun_close(tun); /* the kernel itself notices */
	T(bpf_map_lookup_elem(bpf_load_map_fd(b, "ps_alive"), &zero, &alive) < 0 || alive == 0);
	tun = NULL;
	down();
}

struct seen {
	size_t n;
	uint64_t packets;
	uint16_t drop_above;
};

static bool count_flow(void *arg, const struct ps_flow_key *key, const struct ps_flow *flow)
{
	struct seen *seen = arg;

	seen->n++;
	seen->packets += flow->packets;
	return key->sport <= seen->drop_above;
}

static void test_flows(void)
{
	struct ps_flow_key key = {.family = 4, .proto = 17};
	struct ps_flow flow = {.peer = 3, .expires_ns = PS_NEVER, .packets = 2}, got;
	struct seen seen = {.drop_above = 999};

	up(false);
	for (uint16_t i = 1; i <= 1000; i++) {
		key.sport = i;
		T(bpf_flow_put(b, BPF_FLOW_IN, &key, &flow) == 0);
	}
	T_EQ(bpf_flow_get(b, BPF_FLOW_IN, &key, &got), 0);
	T_EQ(got.peer, 3);
	T_EQ(bpf_flow_get(b, BPF_FLOW_OUT, &key, &got), -ENOENT);
	T_EQ(bpf_flow_del(b, BPF_FLOW_IN, &key), 0);
	T_EQ(bpf_flow_del(b, BPF_FLOW_IN, &key), 0);
	T_EQ(bpf_flow_get(b, BPF_FLOW_IN, &key, &got), -ENOENT);
	T_EQ(bpf_flow_each(b, BPF_FLOW_IN, count_flow, &seen), 0);
	T_EQ(seen.n, 999);
	T_EQ(seen.packets, 1998);
	seen = (struct seen){.drop_above = 10};
	T_EQ(bpf_flow_each(b, BPF_FLOW_IN, count_flow, &seen), 0);
	seen = (struct seen){.drop_above = 10};
	T_EQ(bpf_flow_each(b, BPF_FLOW_IN, count_flow, &seen), 0);
	T_EQ(seen.n, 10);
	seen = (struct seen){0};
	T_EQ(bpf_flow_each(b, BPF_FLOW_OUT, count_flow, &seen), 0);
	T_EQ(seen.n, 0);
	down();
}

static void test_channels(void)
{
	struct ps_channel_key key = {.family = 4,
				     .relay_port = ps_be16(3478),
				     .local_port = ps_be16(52625),
				     .relay = {192, 0, 2, 1}};
	struct endpoint peer = {.ip = ipaddr_v4(198, 51, 100, 7), .port = 40000};
	struct ps_channel c;

	up(false);
	T_EQ(bpf_channel_get(b, &key, &c), -ENOENT); /* it begins empty */
	for (uint16_t i = 0; i < CHANNELS; i++) {
		key.number = ps_be16(0x4000 + i);
		T(bpf_channel_set(b, &key, &peer) == 0);
	}
	peer.port++;
	T_EQ(bpf_channel_set(b, &key, &peer), 0); /* another peer's now */
	T_EQ(bpf_channel_get(b, &key, &c), 0);
	T_EQ(c.peer_port, ps_be16(40001));
	T_MEM(c.peer, peer.ip.b, 16);
	key.number = ps_be16(0x4fff);
	T_EQ(bpf_channel_set(b, &key, &peer), -E2BIG);
	T_EQ(bpf_channel_get(b, &key, &c), -ENOENT);
	key.number = ps_be16(0x4000);
	T_EQ(bpf_channel_del(b, &key), 0);
	T_EQ(bpf_channel_del(b, &key), 0);
	T_EQ(bpf_channel_get(b, &key, &c), -ENOENT);
	T_EQ(bpf_channel_clear(b), 0);
	key.number = ps_be16(0x4001);
	T_EQ(bpf_channel_get(b, &key, &c), -ENOENT);
	T_EQ(bpf_channel_clear(b), 0);
	down();
}

/* Traffic on the WAN is seen by ps_wan_rx and counted, and passes. */
static void test_reasons(void)
{
	struct ps_reason_count r[PS_R_COUNT];
	uint64_t before, total = 0;

	up(false);
	T(ok(bpf_load_start(b, &err)));
	T_EQ(bpf_reasons_read(b, r), 0);
	before = r[PS_R_XDP_NOT_UDP].packets;
	T_EQ(system("ping -c 3 -i 0.2 -W 1 -q 10.76.0.2 >/dev/null"), 0);
	T_EQ(bpf_reasons_read(b, r), 0);
	t_note("xdp_not_udp %llu packets, %llu bytes", r[PS_R_XDP_NOT_UDP].packets,
	       r[PS_R_XDP_NOT_UDP].bytes);
	T(r[PS_R_XDP_NOT_UDP].packets >= before + 3);
	T(r[PS_R_XDP_NOT_UDP].bytes >= 3 * 98);
	for (int i = 0; i < PS_R_COUNT; i++)
		total += r[i].packets;
	T(total >= 6); /* ps_wan_in has counted them as well */
	T_EQ(r[PS_R_XDP_DELIVERED].packets, 0);
	down();
}

static void test_refusals(void)
{
	struct bpf_load_cfg cfg, good;

	T(ok(tun_open(&tun, &(struct tun_cfg){.name = "tun-bpf"}, &err)));
	good = cfg_make("h-bpf", tun_ifindex(tun), BPF_XDP_AUTO);
	cfg = good, cfg.instance = "a/b";
	T_EQ(bpf_load_open(&b, &cfg, &err), -EINVAL);
	T(b == NULL);
	cfg = good, cfg.instance = "";
	T_EQ(bpf_load_open(&b, &cfg, &err), -EINVAL);
	cfg = good, cfg.sessions = 100;
	T_EQ(bpf_load_open(&b, &cfg, &err), -EINVAL);
	cfg = good, cfg.tun_ifindex = 9999;
	T(bpf_load_open(&b, &cfg, &err) < 0);
	T(strstr(err.msg, "ps_tun_out") != NULL);
	T_EQ(access(BPF_PIN_ROOT "/h-bpf", F_OK), -1);
	T_EQ(system("tc filter show dev w0 ingress | grep -q ps_"), 256);
	tun_close(tun);
}

/* ---- hold ---------------------------------------------------------------------------------------
 */

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static double clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static enum bpf_xdp_mode mode_of(const char *name)
{
	return strcmp(name, "native") == 0    ? BPF_XDP_NATIVE
	       : strcmp(name, "generic") == 0 ? BPF_XDP_GENERIC
	       : strcmp(name, "off") == 0     ? BPF_XDP_OFF
					      : BPF_XDP_AUTO;
}

static int hold(const char *instance, const char *mode)
{
	const struct bpf_load_info *info;
	struct bpf_load_cfg cfg;
	double start = clock_ms();

	signal(SIGTERM, on_term);
	if (tun_open(&tun, &(struct tun_cfg){.name = "tun-bpf"}, &err) < 0)
		goto failed;
	cfg = cfg_make(instance, tun_ifindex(tun), mode_of(mode));
	start = clock_ms();
	if (bpf_load_open(&b, &cfg, &err) < 0 || bpf_load_start(b, &err) < 0)
		goto failed;
	info = bpf_load_info(b);
	printf("load_ms=%.0f keys_hidden=%d keys_why=\"%s\" memory=%llu pins=%s\n",
	       clock_ms() - start, info->keys_hidden, info->shown_why,
	       (unsigned long long)info->memory_bytes, info->pin_dir);
	printf("wan=%s xdp=%s attach=%s tc=%s tun_tc=%s why=\"%s\"\n", info->wan[0].ifname,
	       info->wan[0].xdp_mode, info->wan[0].xdp_attach, info->wan[0].tc_attach,
	       info->tun_attach, info->wan[0].why);
	for (size_t i = 0; i < info->prog_len; i++)
		printf("prog=%s id=%u insns=%u jited=%u\n", info->prog[i].name, info->prog[i].id,
		       info->prog[i].verified_insns, info->prog[i].jited_len);
	printf("holding\n");
	fflush(stdout);
	while (!stop)
		poll(NULL, 0, 100);
	down();
	return 0;
failed:
	printf("failed: %s\n", err.msg);
	bpf_load_close(b);
	tun_close(tun);
	return 1;
}

/* What --steer=auto takes for the veth, and why. */
static enum bpf_steer steered(bool asked, char why[BPF_STEER_WHY])
{
	enum bpf_steer steer = BPF_STEER_AUTO;
	struct bpf_load_cfg cfg;
	struct bpf_load *l;
	struct tun *t;

	if (!ok(tun_open(&t, &(struct tun_cfg){.name = "tun-bpf"}, &err)))
		return steer;
	cfg = cfg_make("h-bpf", tun_ifindex(t), BPF_XDP_GENERIC);
	cfg.steer = asked ? BPF_STEER_BUSY : BPF_STEER_AUTO;
	if (ok(bpf_load_open(&l, &cfg, &err))) {
		steer = bpf_load_info(l)->wan[0].steer;
		snprintf(why, BPF_STEER_WHY, "%s", bpf_load_info(l)->wan[0].steer_why);
		bpf_load_close(l);
	}
	tun_close(t);
	return steer;
}

/* As pid 1 of a namespace of processes, where the kernel's threads are not seen. */
static int steered_alone(void)
{
	char why[BPF_STEER_WHY] = "";

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("proc", "/proc", "proc", 0, NULL))
		return 1;
	if (steered(false, why) != BPF_STEER_RSS || !strstr(why, "priority"))
		return 2;
	return steered(true, why) == BPF_STEER_BUSY ? 0 : 3;
}

static void test_steering_needs_priority(void)
{
	char why[BPF_STEER_WHY] = "";
	int status = -1;
	pid_t pid;

	if (!kver_steers() || sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		t_skip("no steering here");
		return;
	}
	T_EQ(steered(false, why), BPF_STEER_BUSY);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS))
			_exit(4);
		pid = fork();
		if (pid == 0)
			_exit(steered_alone());
		_exit(waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) : 5);
	}
	T_EQ(waitpid(pid, &status, 0), pid);
	T_EQ(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2], argv[3]);
	t_init(argc, argv);
	T_RUN(test_keys_hidden);
	T_RUN(test_keys_plain);
	T_RUN(test_tables_are_shared);
	T_RUN(test_flows);
	T_RUN(test_channels);
	T_RUN(test_reasons);
	T_RUN(test_refusals);
	T_RUN(test_steering_needs_priority);
	return t_done();
}
