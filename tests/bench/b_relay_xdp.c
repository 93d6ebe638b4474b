/* SPDX-License-Identifier: Apache-2.0
 * Nanoseconds per packet of the relay's switch, by BPF_PROG_TEST_RUN, for each rewrite.
 *
 * A switched packet is another packet, so a run cannot simply be repeated: a small program first
 * moves the start of the packet back and restores its headers, then calls the switch. What that
 * costs is measured in turn with it, by calling a program that does nothing (relay_xdp_empty), and
 * taken off: ns_over_empty is the switch alone. Names: relay_xdp_<family in><family out>_…. */
#include "plan/verdict.h"
#include "tests/bench/bench.h"
#include "tests/bpf/rworld.h"

#define ROUNDS	 15
#define REPEATS	 100000
#define DATA_LEN 1200
#define HEAD_LEN 96 /* restored: more than any header */

static struct rworld w;
static int head_map = -1, call_map = -1, empty_prog = -1;
static uint8_t data[DATA_LEN];

static const char *const clients[] = {"198.51.100.10", "2001:db8:c::10"};
static const char *const peers[] = {"203.0.113.20", "2001:db8:f::20"};
static const char *const own[] = {"10.0.0.5", "2001:db8::1"};

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV_REG(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define CALL(f)	      INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define MAP_FD(d, fd) \
	INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define EXIT() INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static int prog_load(const char *name, const struct bpf_insn *insns, size_t len)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_XDP);

	return bpf_prog_load(BPF_PROG_TYPE_XDP, name, "GPL", insns, len, &opts);
}

/* Move the packet's start by `head`, restore its headers, call program 0. */
static int restore_load(int head)
{
	const struct bpf_insn insns[] = {
		MOV_REG(6, 1),
		MOV_IMM(2, head),
		CALL(BPF_FUNC_xdp_adjust_head),
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0),
		MOV_REG(2, 10),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
		MAP_FD(1, head_map),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 2, 0),
		MOV_IMM(0, XDP_ABORTED),
		EXIT(),
		MOV_REG(1, 6),
		MOV_IMM(2, 0),
		MOV_REG(3, 0),
		MOV_IMM(4, HEAD_LEN),
		CALL(BPF_FUNC_xdp_store_bytes),
		MOV_REG(1, 6),
		MAP_FD(2, call_map),
		MOV_IMM(3, 0),
		CALL(BPF_FUNC_tail_call),
		MOV_IMM(0, XDP_ABORTED),
		EXIT(),
	};

	return prog_load("restore", insns, sizeof(insns) / sizeof(*insns));
}

static bool tools_make(void)
{
	const struct bpf_insn empty[] = {MOV_IMM(0, XDP_TX), EXIT()};

	head_map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "head", 4, HEAD_LEN, 1, NULL);
	call_map = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "call", 4, 4, 1, NULL);
	empty_prog = prog_load("empty", empty, 2);
	return T(head_map >= 0 && call_map >= 0 && empty_prog >= 0);
}

/* ns a packet with that program behind the restoring one. */
static bool timed(int restore, int prog, const uint8_t *p, size_t len, uint32_t verdict, double *ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p, .data_size_in = (uint32_t)len,
		    .repeat = REPEATS);
	uint32_t zero = 0;

	if (!T_EQ(bpf_map_update_elem(call_map, &zero, &prog, BPF_ANY), 0) ||
	    !T_EQ(bpf_prog_test_run_opts(restore, &o), 0) || !T_EQ(o.retval, verdict))
		return false;
	*ns = o.duration;
	return true;
}

/* Frame p becomes one whose start lies `head` bytes further on; all of them meet fate id. */
static void measure(const char *name, enum ps_reason_id id, const uint8_t *p, size_t len, int head)
{
	const uint32_t action[] = {[PS_V_DONE] = w.cfg.hop == PS_TURN_HOP_FIB ? XDP_REDIRECT
									      : XDP_TX,
				   [PS_V_PASS] = XDP_PASS,
				   [PS_V_DROP] = XDP_DROP};
	static uint8_t moved[2048];
	double over[ROUNDS], floor_ns[ROUNDS], all;
	uint64_t before = rw_count(&w, id);
	uint32_t zero = 0;
	char env[64];
	int restore;

	if (!bench_wanted(name))
		return;
	restore = restore_load(-head);
	if (!T(restore >= 0) || !T_EQ(bpf_map_update_elem(head_map, &zero, p, BPF_ANY), 0))
		return;
	memcpy(moved + (head < 0 ? -head : 0), p + (head > 0 ? head : 0),
	       len - (size_t)(head > 0 ? head : 0));
	for (int i = 0; i < ROUNDS; i++) {
		if (!timed(restore, empty_prog, moved, (size_t)((int)len - head), XDP_TX,
			   &floor_ns[i]) ||
		    !timed(restore, w.prog, moved, (size_t)((int)len - head),
			   action[ps_verdict_of(id)], &all))
			break;
		over[i] = all - floor_ns[i];
	}
	T_EQ(rw_count(&w, id) - before, (uint64_t)ROUNDS * REPEATS);
	close(restore);
	snprintf(env, sizeof(env), "\"xdp_mode\":\"test_run\",\"reason\":\"%s\"",
		 rw_reason_name[id]);
	bench_print(name, "ns_over_empty", "ns", over, ROUNDS, env);
}

/* Both ways of a client of family c with a peer of family p. */
static void plain(int c, int p)
{
	struct bpf_relay_bind b = {.client = rw_ep(clients[c], 40000),
				   .local = rw_ep(own[c], RW_LISTEN),
				   .peer = rw_ep(peers[p], 50000),
				   .channel = (uint16_t)(0x4000 + p),
				   .port = (uint16_t)(49152 + 2 * c + p)};
	struct rw_dgram up = rw_dgram(b.client, b.local, b.channel, data, DATA_LEN);
	struct rw_dgram down = rw_dgram(b.peer, rw_ep(own[p], b.port), 0, data, DATA_LEN);
	static uint8_t frame[2048];
	char name[48];

	if (!rw_bind(&w, &b))
		return;
	snprintf(name, sizeof(name), "relay_xdp_%d%d_from_channel", c ? 6 : 4, p ? 6 : 4);
	measure(name, PS_R_RXDP_TO_PEER, frame, rw_frame(frame, &up), 20 * (c - p) + 4);
	snprintf(name, sizeof(name), "relay_xdp_%d%d_to_channel", p ? 6 : 4, c ? 6 : 4);
	measure(name, PS_R_RXDP_TO_CLIENT, frame, rw_frame(frame, &down), 20 * (p - c) - 4);
}

/* Between two clients, of families a and b, by the relay's IPv4 address. */
static void self(int a, int b)
{
	uint16_t port = (uint16_t)(60000 + 4 * a + 2 * b);
	struct bpf_relay_bind one = {.client = rw_ep(clients[a], port),
				     .local = rw_ep(own[a], RW_LISTEN),
				     .peer = rw_ep(own[0], (uint16_t)(port + 1)),
				     .channel = 0x4123,
				     .port = port};
	struct bpf_relay_bind two = {.client = rw_ep(clients[b], (uint16_t)(port + 1)),
				     .local = rw_ep(own[b], RW_LISTEN),
				     .peer = rw_ep(own[0], port),
				     .channel = 0x4321,
				     .port = (uint16_t)(port + 1)};
	struct rw_dgram in = rw_dgram(one.client, one.local, one.channel, data, DATA_LEN);
	static uint8_t frame[2048];
	char name[48];

	if (!rw_bind(&w, &one) || !rw_bind(&w, &two))
		return;
	snprintf(name, sizeof(name), "relay_xdp_%d%d_self", a ? 6 : 4, b ? 6 : 4);
	measure(name, PS_R_RXDP_TO_SELF, frame, rw_frame(frame, &in), 20 * (a - b));
}

static void refused(void)
{
	struct rw_dgram d = rw_dgram(rw_ep(peers[0], 1), rw_ep(own[0], 443), 0, data, DATA_LEN);
	static uint8_t frame[2048];

	measure("relay_xdp_other_port", PS_R_RXDP_OTHER_PORT, frame, rw_frame(frame, &d), 0);
	d.to.port = 49152;
	measure("relay_xdp_probe", PS_R_RXDP_PROBE, frame, rw_frame(frame, &d), 0);
	d.to.port = RW_LISTEN;
	d.channel = 0x4fff;
	measure("relay_xdp_no_channel", PS_R_RXDP_NO_CHANNEL, frame, rw_frame(frame, &d), 0);
}

/* The next hop by the kernel's routes, through another device. */
static void fib(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();
	struct bpf_relay_bind b = {.client = rw_ep(clients[0], 40000),
				   .local = rw_ep(own[0], RW_LISTEN),
				   .peer = rw_ep(peers[0], 50000),
				   .channel = 0x4000,
				   .port = 49152};
	struct rw_dgram up = rw_dgram(b.client, b.local, b.channel, data, DATA_LEN);
	static uint8_t frame[2048];

	cfg.hop = PS_TURN_HOP_FIB;
	cfg.bindings = 16384;
	if (!bench_wanted("relay_xdp_44_from_channel_fib") || !rw_open(&w, &cfg))
		return;
	if (T(rw_sh(RW_ROUTES)) && rw_bind(&w, &b))
		measure("relay_xdp_44_from_channel_fib", PS_R_RXDP_TO_PEER, frame,
			rw_frame(frame, &up), 4);
	rw_close(&w);
}

/* The default router takes it: both ways of a client with a peer of the same family, with as many
 * prefixes as an ordinary host has that are not behind the router, and with all there is room for.
 */
static void by_router(int f, size_t near_len)
{
	struct bpf_relay_bind b = {.client = rw_ep(clients[f], 40000),
				   .local = rw_ep(own[f], RW_LISTEN),
				   .peer = rw_ep(peers[f], 50000),
				   .channel = 0x4000,
				   .port = (uint16_t)(49152 + f)};
	struct rw_dgram up = rw_dgram(b.client, b.local, b.channel, data, DATA_LEN);
	struct rw_dgram down = rw_dgram(b.peer, rw_ep(own[f], b.port), 0, data, DATA_LEN);
	struct bpf_relay_way way = {.ifindex = 1, .near_len = near_len};
	static uint8_t frame[2048];
	char name[64];

	for (size_t i = 0; i < near_len; i++)
		way.near[i] = (struct ipnet){.ip = rw_ip(f ? "fd00::" : "10.0.0.0"),
					     .len = (uint8_t)(f ? 64 : 24)};
	bpf_relay_way_set(w.relay, &way, &way);
	if (!rw_bind(&w, &b))
		return;
	snprintf(name, sizeof(name), "relay_xdp_%d%d_from_channel_auto_%zu", f ? 6 : 4, f ? 6 : 4,
		 near_len);
	measure(name, PS_R_RXDP_TO_PEER, frame, rw_frame(frame, &up), 4);
	snprintf(name, sizeof(name), "relay_xdp_%d%d_to_channel_auto_%zu", f ? 6 : 4, f ? 6 : 4,
		 near_len);
	measure(name, PS_R_RXDP_TO_CLIENT, frame, rw_frame(frame, &down), -4);
	bpf_relay_bind_del(w.relay, &b);
}

static void by_routers(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();

	cfg.hop = PS_TURN_HOP_AUTO;
	cfg.bindings = 16384;
	if (!rw_open(&w, &cfg))
		return;
	for (int f = 0; f < 2; f++) {
		by_router(f, 1);
		by_router(f, PS_TURN_NEAR_MAX);
	}
	rw_close(&w);
}

/* The floor by itself: restoring, and a program that does nothing. */
static void floor_print(void)
{
	int restore = restore_load(0);
	double v[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		timed(restore, empty_prog, data, DATA_LEN, XDP_TX, &v[i]);
	close(restore);
	if (bench_wanted("relay_xdp_empty"))
		bench_print("relay_xdp_empty", "ns_per_packet", "ns", v, ROUNDS,
			    "\"xdp_mode\":\"test_run\"");
}

static void verified(void)
{
	const struct bpf_prog_stat *st = &bpf_relay_info(w.relay)->prog;
	double insns = st->verified_insns, len = st->jited_len;
	double memory = (double)bpf_relay_info(w.relay)->memory_bytes;

	if (bench_wanted("relay_xdp_verified"))
		bench_print("relay_xdp_verified", "verified_instructions", "count", &insns, 1,
			    "\"xdp_mode\":\"none\"");
	if (bench_wanted("relay_xdp_jited"))
		bench_print("relay_xdp_jited", "jited_length", "bytes", &len, 1,
			    "\"xdp_mode\":\"none\"");
	if (bench_wanted("relay_xdp_memory_16384"))
		bench_print("relay_xdp_memory_16384", "memory_of_all_maps", "bytes", &memory, 1,
			    "\"xdp_mode\":\"none\"");
}

static void bench(void)
{
	struct bpf_relay_cfg cfg = rw_cfg();

	cfg.bindings = 16384;
	if (!rw_open(&w, &cfg))
		return;
	if (tools_make()) {
		floor_print();
		for (int i = 0; i < 4; i++)
			plain(i >> 1, i & 1);
		for (int i = 0; i < 4; i++)
			self(i >> 1, i & 1);
		refused();
		verified();
	}
	rw_close(&w);
	by_routers();
	fib();
}

int main(int argc, char **argv)
{
	bench_filter = argc > 1 ? argv[1] : NULL;
	t_init(1, argv);
	T_RUN(bench);
	return t_done();
}
