/* SPDX-License-Identifier: Apache-2.0
 * The relay's switch on devices: a virtual Ethernet pair, frames put on its far end and awaited
 * there again; attaching in every mode, what is left afterwards, and after a killed process. */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "tests/bpf/rworld.h"

#define ETH_IP4 0x0800

static struct rworld w;
static const uint8_t text[600] = "penstock";
static uint8_t frame[2048];
static int wire = -1;

static struct bpf_relay_bind binding(void)
{
	return (struct bpf_relay_bind){.client = rw_ep("198.51.100.10", 40000),
				       .local = rw_ep("10.0.0.5", RW_LISTEN),
				       .peer = rw_ep("203.0.113.20", 50000),
				       .channel = 0x4000,
				       .port = 50001};
}

/* The far end takes what a native program sends back only with a program of its own there. */
static bool wire_up(bool native)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_IP4)};
	const struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, NULL);
	int far = (int)if_nametoindex("psr1");

	if (native)
		T_EQ(bpf_xdp_attach(far, fd, XDP_FLAGS_DRV_MODE, NULL), 0);
	else
		bpf_xdp_attach(far, -1, XDP_FLAGS_DRV_MODE, NULL);
	close(fd);
	if (!rw_sh("sysctl -qw net.ipv6.conf.psr0.disable_ipv6=1 net.ipv6.conf.psr1.disable_ipv6=1 "
		   "&& ip link set psr0 up && ip link set psr1 up promisc on"))
		return false;
	ll.sll_ifindex = far;
	wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_IP4));
	return T(wire >= 0) && T_EQ(bind(wire, (struct sockaddr *)&ll, sizeof(ll)), 0);
}

/* The next frame that was sent to us, not by us; 0: none came. */
static size_t wire_get(uint8_t *out, size_t cap)
{
	struct sockaddr_ll from;
	socklen_t from_len = sizeof(from);
	struct pollfd p = {.fd = wire, .events = POLLIN};

	while (poll(&p, 1, 2000) == 1) {
		ssize_t n = recvfrom(wire, out, cap, 0, (struct sockaddr *)&from, &from_len);

		if (n > 0 && from.sll_pkttype != PACKET_OUTGOING)
			return (size_t)n;
	}
	return 0;
}

static void round_trip(const char *mode, size_t len)
{
	struct bpf_relay_bind b = binding();
	struct rw_dgram up = rw_dgram(b.client, b.local, b.channel, text, len);
	struct rw_dgram down = rw_dgram(b.peer, rw_ep("10.0.0.5", b.port), 0, text, len);
	struct rw_dgram want[] = {rw_relayed(&up, rw_ep("10.0.0.5", b.port), b.peer, 0),
				  rw_relayed(&down, b.local, b.client, b.channel)};
	static uint8_t expect[2048], got[2048];
	size_t n;

	up.pad = len % 4;
	for (int i = 0; i < 2; i++) {
		n = rw_frame(frame, i ? &down : &up);
		T_EQ(send(wire, frame, n, 0), n);
		n = rw_frame(expect, &want[i]);
		if (!T_EQ(wire_get(got, sizeof(got)), n) || !T_MEM(got, expect, n))
			t_note("%s, %zu bytes, %s", mode, len, i ? "down" : "up");
	}
}

static uint32_t attached(void)
{
	uint32_t id = 0;

	bpf_xdp_query_id((int)if_nametoindex("psr0"), 0, &id);
	return id;
}

static void mode_works(enum bpf_xdp_mode mode, bool single, const char *name)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	const struct bpf_relay_info *info;
	struct bpf_relay_bind b = binding();
	char dir[128];
	bool native;

	cfg.xdp_mode = mode;
	cfg.force_single = single;
	cfg.mtu = 0;
	if (!rw_open(&w, &cfg))
		return;
	info = bpf_relay_info(w.relay);
	snprintf(dir, sizeof(dir), "%s", info->pin_dir);
	t_note("%s: %s, %s%s%s; %u instructions verified, %u bytes, maps %llu kB", name,
	       info->wan[0].xdp_mode, info->wan[0].xdp_attach, info->wan[0].why[0] ? "; " : "",
	       info->wan[0].why, info->prog.verified_insns, info->prog.jited_len,
	       (unsigned long long)info->memory_bytes / 1024);
	native = strcmp(info->wan[0].xdp_mode, "native") == 0;
	T(native == (mode == BPF_XDP_NATIVE));
	T_STR(info->hop, "swap");
	T_EQ(info->mtu, 1500);
	T(attached() != 0);
	if (rw_bind(&w, &b) && wire_up(native)) {
		round_trip(name, 1);
		round_trip(name, 99);
		round_trip(name, 600);
		close(wire);
	}
	rw_sh("ip link set psr0 down && ip link set psr1 down");
	rw_close(&w);
	T_EQ(attached(), 0);
	T(access(dir, F_OK) < 0);
}

/* A frame as a sender on this machine hands it over: its checksum is unfinished, and with gso it is
 * several datagrams of that many bytes. */
static bool send_local(const struct rw_dgram *d, uint16_t gso)
{
	const size_t chan = 14 + 20 + 8;
	struct virtio_net_hdr h = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				   .gso_type = gso ? 5 : 0, /* _GSO_UDP_L4, of Linux 6.2 */
				   .hdr_len = 42,
				   .gso_size = gso,
				   .csum_start = 34,
				   .csum_offset = 6};
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex("psr1")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;
	struct iovec v[2] = {{&h, sizeof(h)}, {frame, rw_frame(frame, d)}};
	ssize_t n;

	if (gso && d->channel) /* the first of a train says its own length, not all of it */
		rw_be16(frame + chan + 2, (size_t)gso - 4);
	T_EQ(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
	T_EQ(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	n = writev(fd, v, 2);
	close(fd);
	return n == (ssize_t)(v[0].iov_len + v[1].iov_len);
}

static bool comes_to(enum ps_reason_id id, uint64_t want)
{
	for (int i = 0; i < 200 && rw_count(&w, id) < want; i++)
		usleep(10000);
	return T_EQ(rw_count(&w, id), want);
}

/* Datagrams of a channel in one frame, each with its channel header, as the client's kernel hands
 * them over. */
static void trains(const struct bpf_relay_bind *b)
{
	enum { EACH = 100, N = 5 };
	struct rw_dgram up = rw_dgram(b->client, b->local, b->channel, text, EACH);
	struct rw_dgram down = rw_dgram(b->peer, rw_ep("10.0.0.5", b->port), 0, text, N * EACH);
	uint8_t body[N * (EACH + 4)];

	for (int i = 0; i < N; i++) {
		rw_be16(body + i * (EACH + 4), b->channel);
		rw_be16(body + i * (EACH + 4) + 2, EACH);
		memset(body + i * (EACH + 4) + 4, i, EACH);
	}
	/* the first header is the frame's */
	up.data = body + 4;
	up.len = sizeof(body) - 4;
	up.unfinished = down.unfinished = true;
	for (int i = 0; i < 2; i++) {
		struct rw_dgram *d = i ? &down : &up;

		if (!send_local(d, i ? EACH : EACH + 4)) {
			t_skip("this kernel sends no train from a packet socket");
			return;
		}
		comes_to(PS_R_RXDP_GSO, (uint64_t)i + 1);
		T(rw_passed(&w, b->index + (i ? RW_BINDINGS : 0), 0) > 0);
	}
}

/* What a sender on this machine leaves to others reaches user space as it came, in either mode;
 * what the switch sends on instead would be a wrong datagram. */
static void local_senders(enum bpf_xdp_mode mode)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	struct bpf_relay_bind b = binding();
	struct rw_dgram up, down;
	uint64_t done;

	cfg.xdp_mode = mode;
	if (!rw_open(&w, &cfg))
		return;
	if (rw_bind(&w, &b) && wire_up(mode == BPF_XDP_NATIVE)) {
		round_trip("before", 99);
		done = rw_count(&w, PS_R_RXDP_TO_PEER) + rw_count(&w, PS_R_RXDP_TO_CLIENT);
		up = rw_dgram(b.client, b.local, b.channel, text, 100);
		down = rw_dgram(b.peer, rw_ep("10.0.0.5", b.port), 0, text, 100);
		up.unfinished = down.unfinished = true;
		T(send_local(&up, 0) && comes_to(PS_R_RXDP_UNFINISHED, 1));
		T(send_local(&down, 0) && comes_to(PS_R_RXDP_UNFINISHED, 2));
		if (mode == BPF_XDP_GENERIC)
			trains(&b);
		T_EQ(rw_count(&w, PS_R_RXDP_TO_PEER) + rw_count(&w, PS_R_RXDP_TO_CLIENT), done);
		rw_passed(&w, b.index, 1);
		rw_passed(&w, b.index + RW_BINDINGS, 1);
		round_trip("after a pause", 99);
		close(wire);
	}
	rw_sh("ip link set psr0 down && ip link set psr1 down");
	rw_close(&w);
}

static void test_local_senders(void)
{
	local_senders(BPF_XDP_GENERIC);
	local_senders(BPF_XDP_NATIVE);
}

static void test_modes(void)
{
	mode_works(BPF_XDP_NATIVE, true, "native, single");
	mode_works(BPF_XDP_GENERIC, true, "generic, single");
	mode_works(BPF_XDP_AUTO, true, "auto, single");
	mode_works(BPF_XDP_NATIVE, false, "native, dispatcher where there is one");
	mode_works(BPF_XDP_AUTO, false, "auto, dispatcher where there is one");
}

/* Killed: single programs go with the process, a dispatcher's stay but do nothing; the next start
 * of the instance begins clean. */
static void test_killed(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	struct bpf_relay_bind b = binding();
	struct rw_dgram d = rw_dgram(b.client, b.local, b.channel, text, 20);
	static struct rw_run r;
	struct io_err err;
	int status = 0;
	pid_t pid;

	cfg.force_single = false;
	if (!rw_open(&w, &cfg)) /* makes the namespace, or says why there is none */
		return;
	rw_close(&w);
	pid = fork();
	if (pid == 0) {
		if (bpf_relay_open(&w.relay, &w.cfg, &err) == 0 &&
		    bpf_relay_bind_set(w.relay, &b) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	T(pid > 0 && waitpid(pid, &status, 0) == pid);
	T(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* A member of a dispatcher cannot be run by itself. */
	cfg.force_single = true;
	if (!rw_open(&w, &cfg))
		return;
	if (rw_run(&w, frame, rw_frame(frame, &d), &r))
		T_EQ(r.id, PS_R_RXDP_NO_CHANNEL);
	rw_close(&w);
	T_EQ(attached(), 0);
}

static void test_bad_config(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	struct bpf_relay *relay = NULL;
	struct io_err err;

	cfg.ifindex[0] = 1;
	cfg.instance = "a/b";
	T_EQ(bpf_relay_open(&relay, &cfg, &err), -EINVAL);
	cfg.instance = "t-relay-bad";
	cfg.own4.family = cfg.own6.family = 0;
	T_EQ(bpf_relay_open(&relay, &cfg, &err), -EINVAL);
	cfg = rw_cfg();
	cfg.instance = "t-relay-bad";
	cfg.if_len = 0;
	T_EQ(bpf_relay_open(&relay, &cfg, &err), -EINVAL);
	cfg.if_len = 1;
	cfg.bindings = 0;
	T_EQ(bpf_relay_open(&relay, &cfg, &err), -EINVAL);
	cfg.bindings = 8;
	cfg.listen_port = 0;
	T_EQ(bpf_relay_open(&relay, &cfg, &err), -EINVAL);
	T(relay == NULL && strlen(err.msg) > 0);
	bpf_relay_close(NULL);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_modes);
	T_RUN(test_local_senders);
	T_RUN(test_killed);
	T_RUN(test_bad_config);
	return t_done();
}
