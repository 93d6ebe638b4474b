/* SPDX-License-Identifier: Apache-2.0
 * Nanoseconds per packet of the kernel programs, by BPF_PROG_TEST_RUN, and what the verifier
 * walked.
 *
 * A packet that is handed on or dropped is unchanged, so its fate is timed over many repetitions
 * inside the kernel (kernel_reason_*). A delivered one cannot be repeated: it has shrunk and its
 * counter is spent. Those (kernel_ingress_*, kernel_egress_*) are fresh packets, run once each;
 * from the kernel's clock of each run the same clock's reading for an empty program is taken off.
 * The system calls between two runs leave the caches as a packet in real life would find them,
 * rather than warm. */
#include "tests/bench/bench.h"
#include "tests/bpf/kworld.h"

#define RUNS	   1500
#define WARM	   100
#define REPEATS	   20000
#define FATE_RUNS  7
#define EMPTY_RUNS 1001

static struct kworld w;
static double empty_ns;

static void print(const char *bench, const char *metric, const char *unit, double *v, int n)
{
	bench_print(bench, metric, unit, v, n, "\"xdp_mode\":\"test_run\"");
}

/* What one run of a program that does nothing reads on the kernel's clock. */
static void empty_measure(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	static double v[EMPTY_RUNS];
	uint8_t pkt[128] = {0};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", insns, 2, NULL);
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = pkt, .data_size_in = sizeof(pkt), .repeat = 1);

	for (int i = 0; fd >= 0 && i < EMPTY_RUNS; i++) {
		bpf_prog_test_run_opts(fd, &o);
		v[i] = o.duration;
	}
	if (fd >= 0)
		close(fd);
	qsort(v, EMPTY_RUNS, sizeof(*v), bench_by_value);
	empty_ns = v[EMPTY_RUNS / 2];
	if (bench_wanted("kernel_empty"))
		print("kernel_empty", "ns_per_packet", "ns", v, EMPTY_RUNS);
}

/* len is the inner packet's, of UDP; channel: of a relay, 0 for a direct path. */
static bool once(bool egress, int family, uint16_t channel, size_t len, double *ns)
{
	size_t head = family == 4 ? 28 : 48;
	struct kinner in = egress ? kw_inner_back(family, 17, len - head)
				  : kw_inner(family, 17, len - head);
	struct kouter o = {.family = family, .dport = KP_OUR_PORT, .channel = channel};
	static struct kern_run r;
	uint8_t text[2048];
	struct kpkt p = {0};

	if (egress) {
		kp_be16(p.b + 12, family == 4 ? 0x0800 : 0x86dd);
		p.len = KP_ETH + kp_inner(p.b + KP_ETH, &in);
	} else {
		kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	}
	if (kern_run(&w.k, egress ? w.k.tun_out : w.k.wan_rx, p.b, p.len, NULL, 0, &r) ||
	    r.id != (egress ? PS_R_TX_SENT : PS_R_XDP_DELIVERED))
		return false;
	*ns = r.duration_ns > empty_ns ? r.duration_ns - empty_ns : 0;
	return true;
}

/* The flow is translated from now on. */
static void nat_on(bool egress, int family)
{
	struct kinner in = egress ? kw_inner_back(family, 17, 0) : kw_inner(family, 17, 0);

	kw_flow_nat(&w, egress ? w.k.flow_out : w.k.flow_in, &in,
		    family == 4 ? kw_local4 : kw_local6, __builtin_bswap16(4711));
}

static void handled(bool egress, int family, uint16_t channel, bool nat, size_t len)
{
	static double v[RUNS];
	char name[64];

	snprintf(name, sizeof(name), "kernel_%s_%zu%s%s_v%d", egress ? "egress" : "ingress", len,
		 channel ? "_channel" : "", nat ? "_nat" : "", family);
	if (!bench_wanted(name))
		return;
	kw_reset(&w, family);
	w.k.peer[KW_PEER].path_channel = __builtin_bswap16(channel);
	if (nat)
		nat_on(egress, family);
	for (int i = -WARM; i < RUNS; i++) {
		if (!T(once(egress, family, channel, len, &v[i < 0 ? 0 : i])))
			return;
	}
	print(name, "ns_per_packet", "ns", v, RUNS);
}

/* A packet, and a table, for each fate; 0 when there is none here. */
static const struct fate {
	enum ps_reason_id id;
	int at;	     /* byte of the frame to set, -1: none */
	uint8_t val; /* to what */
} fates_rx[] =
	{
		{PS_R_XDP_DAEMON_GONE, -1, 0},	   {PS_R_XDP_NOT_IP, 12, 0x99},
		{PS_R_XDP_TRUNCATED, 16, 0xff},	   {PS_R_XDP_IP_OPTIONS, 14, 0x46},
		{PS_R_XDP_FRAGMENT, 20, 0x20},	   {PS_R_XDP_NOT_UDP, 23, 6},
		{PS_R_XDP_OTHER_PORT, 36, 1},	   {PS_R_XDP_STUN, -1, 0},
		{PS_R_XDP_NOT_DATA, 42, 9},	   {PS_R_XDP_NO_SESSION, 49, 0xee},
		{PS_R_XDP_CHANNEL_LEN, 45, 0xee},  {PS_R_XDP_NO_CHANNEL, 43, 0xee},
		{PS_R_XDP_UNCONFIRMED, -1, 0},	   {PS_R_XDP_USER_MODE, -1, 0},
		{PS_R_XDP_EXPIRED, -1, 0},	   {PS_R_XDP_NO_KEY, -1, 0},
		{PS_R_XDP_KEEPALIVE, -1, 0},	   {PS_R_XDP_TOO_BIG, -1, 0},
		{PS_R_XDP_BAD_TAG, 70, 0xee},	   {PS_R_XDP_REPLAY, -1, 0},
		{PS_R_XDP_INNER_MALFORMED, -1, 0}, {PS_R_XDP_INNER_OTHER, -1, 0},
		{PS_R_XDP_BAD_SOURCE, -1, 0},	   {PS_R_XDP_NO_FLOW, -1, 0},
		{PS_R_XDP_FLOW_STALE, -1, 0},	   {PS_R_XDP_FLOW_EXPIRED, -1, 0},
		{PS_R_XDP_FLOW_WARM, -1, 0},	   {PS_R_IN_NOT_OURS, -1, 0},
		{PS_R_XDP_NAT_BOUND, -1, 0},
},
  fates_tx[] = {
	  {PS_R_TX_NOT_IP, 14, 0x25},	 {PS_R_TX_INNER_OTHER, 23, 47}, {PS_R_TX_GSO, -1, 0},
	  {PS_R_TX_BULK, -1, 0},	 {PS_R_TX_NO_FLOW, 35, 0x99},	{PS_R_TX_FLOW_STALE, -1, 0},
	  {PS_R_TX_FLOW_EXPIRED, -1, 0}, {PS_R_TX_NO_PATH, -1, 0},	{PS_R_TX_USER_MODE, -1, 0},
	  {PS_R_TX_EXPIRED, -1, 0},	 {PS_R_TX_NO_KEY, -1, 0},	{PS_R_TX_TOO_BIG, -1, 0},
};

static void frame_rx(enum ps_reason_id id, struct kpkt *p)
{
	static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct kouter o = {.family = 4,
			   .dport = KP_OUR_PORT,
			   .channel = id == PS_R_XDP_CHANNEL_LEN || id == PS_R_XDP_NO_CHANNEL
					      ? KW_CHANNEL
					      : 0};
	struct kinner in = kw_inner(4, id == PS_R_XDP_NAT_BOUND ? 6 : 17,
				    id == PS_R_XDP_TOO_BIG ? 1500 : 36);
	uint8_t text[2048];
	size_t len = kp_inner(text, &in);

	if (id == PS_R_XDP_KEEPALIVE)
		len = 0;
	if (id == PS_R_XDP_INNER_MALFORMED)
		text[0] = 0;
	if (id == PS_R_XDP_INNER_OTHER)
		text[9] = 47;
	if (id == PS_R_XDP_BAD_SOURCE)
		text[15] ^= 1;
	if (id == PS_R_XDP_NAT_BOUND)
		text[33] = 0x11;
	if (id == PS_R_XDP_NO_FLOW)
		text[23] ^= 1;
	kw_seal(&w, p, &o, text, len);
	if (id == PS_R_XDP_STUN) {
		memcpy(p->b + kp_outer_len(&o), stun, sizeof(stun));
		kp_outer(p, &o, sizeof(stun));
	}
}

static void tables_rx(enum ps_reason_id id, const struct kpkt *p)
{
	struct kinner in = kw_inner(4, 17, 36), tcp = kw_inner(4, 6, 0);
	static struct kern_run r;

	if (id == PS_R_XDP_DAEMON_GONE)
		kern_set_alive(&w.k, 0);
	if (id == PS_R_XDP_UNCONFIRMED)
		w.k.session[KW_SLOT].flags = PS_SESS_USED;
	if (id == PS_R_XDP_USER_MODE)
		w.k.peer[KW_PEER].flags = PS_PEER_USED;
	if (id == PS_R_XDP_EXPIRED)
		w.k.session[KW_SLOT].rx_until_ns = 1;
	if (id == PS_R_XDP_NO_KEY)
		kern_set_keys(&w.k, KW_SLOT, NULL, NULL);
	if (id == PS_R_XDP_FLOW_STALE)
		w.k.peer[KW_PEER].generation++;
	if (id == PS_R_XDP_FLOW_EXPIRED)
		kw_flow(&w, w.k.flow_in, &in, 1);
	if (id == PS_R_XDP_FLOW_WARM)
		kw_flow_held(&w, w.k.flow_in, &in);
	if (id == PS_R_XDP_NAT_BOUND)
		kw_flow_nat(&w, w.k.flow_in, &tcp, kw_local4, 1);
	if (id == PS_R_XDP_REPLAY)
		kern_run(&w.k, w.k.wan_rx, p->b, p->len, NULL, 0, &r);
}

static void tables_tx(enum ps_reason_id id, const struct kinner *in)
{
	struct ps_flow_key key = kw_key(in, 0);
	struct ps_flow f = {.peer = KW_PEER, .generation = 9, .expires_ns = PS_NEVER};

	if (id == PS_R_TX_BULK) {
		f.bulk_until_ns = PS_NEVER;
		bpf_map_update_elem(w.k.flow_out, &key, &f, BPF_ANY);
	}
	if (id == PS_R_TX_FLOW_STALE)
		w.k.peer[KW_PEER].generation++;
	if (id == PS_R_TX_FLOW_EXPIRED)
		kw_flow(&w, w.k.flow_out, in, 1);
	if (id == PS_R_TX_NO_PATH)
		w.k.peer[KW_PEER].path_ifindex = 0;
	if (id == PS_R_TX_USER_MODE)
		w.k.peer[KW_PEER].flags = PS_PEER_USED;
	if (id == PS_R_TX_EXPIRED)
		w.k.session[KW_SLOT].tx_until_ns = 1;
	if (id == PS_R_TX_NO_KEY)
		kern_set_keys(&w.k, KW_SLOT, NULL, NULL);
}

/* Time one unchanged packet over many repetitions, and make sure it met that fate each time. */
static void fate_time(const char *name, enum ps_reason_id id, int prog, const struct kpkt *p,
		      struct __sk_buff *skb)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->b, .data_size_in = (uint32_t)p->len,
		    .repeat = REPEATS);
	uint64_t before[PS_R_COUNT], after[PS_R_COUNT];
	double v[FATE_RUNS];

	if (skb) {
		o.ctx_in = skb;
		o.ctx_size_in = sizeof(*skb);
	}
	for (int i = 0; i < FATE_RUNS; i++) {
		kern_counts(&w.k, before);
		if (!T_EQ(bpf_prog_test_run_opts(prog, &o), 0))
			return;
		kern_counts(&w.k, after);
		if (!T_EQ(after[id] - before[id], REPEATS))
			return;
		v[i] = o.duration;
	}
	print(name, "ns_per_packet", "ns", v, FATE_RUNS);
}

static void fate_rx(const struct fate *f)
{
	struct kpkt p;
	char name[64];

	snprintf(name, sizeof(name), "kernel_reason_%s", kern_reason_name[f->id]);
	if (!bench_wanted(name))
		return;
	kw_reset(&w, 4);
	frame_rx(f->id, &p);
	if (f->at >= 0)
		p.b[f->at] = f->val;
	tables_rx(f->id, &p);
	fate_time(name, f->id, f->id == PS_R_IN_NOT_OURS ? w.k.wan_in : w.k.wan_rx, &p, NULL);
}

static void fate_tx(const struct fate *f)
{
	struct kinner in = kw_inner_back(4, 17, f->id == PS_R_TX_TOO_BIG ? 1500 : 36);
	struct __sk_buff skb = {0};
	struct kpkt p = {0};
	char name[64];

	snprintf(name, sizeof(name), "kernel_reason_%s", kern_reason_name[f->id]);
	if (!bench_wanted(name))
		return;
	kw_reset(&w, 4);
	kp_be16(p.b + 12, 0x0800);
	p.len = KP_ETH + kp_inner(p.b + KP_ETH, &in);
	if (f->at >= 0)
		p.b[f->at] = f->val;
	tables_tx(f->id, &in);
	if (f->id == PS_R_TX_GSO)
		skb = (struct __sk_buff){.gso_size = 20, .gso_segs = 2};
	fate_time(name, f->id, w.k.tun_out, &p, &skb);
}

static void verified(void)
{
	static const char *const names[] = {"ps_wan_rx", "ps_wan_in", "ps_tun_out", "ps_key_set"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);
		char name[64];
		double v;

		snprintf(name, sizeof(name), "kernel_verified_%s", names[i]);
		if (!bench_wanted(name) ||
		    bpf_obj_get_info_by_fd(kern_prog(&w.k, names[i]), &info, &len))
			continue;
		v = info.verified_insns;
		print(name, "verified_instructions", "count", &v, 1);
		snprintf(name, sizeof(name), "kernel_jited_%s", names[i]);
		v = info.jited_prog_len;
		print(name, "jited_length", "bytes", &v, 1);
	}
}

static void bench(void)
{
	static const size_t sizes[] = {64, 128, 512, 1280};

	if (!kw_open(&w, false))
		return;
	empty_measure();
	for (int egress = 0; egress < 2; egress++) {
		for (int family = 4; family <= 6; family += 2) {
			for (int i = 0; i < 4; i++) {
				handled(egress, family, 0, false, sizes[i]);
				handled(egress, family, 0, true, sizes[i]);
				handled(egress, family, KW_CHANNEL, false, sizes[i]);
			}
		}
	}
	for (size_t i = 0; i < sizeof(fates_rx) / sizeof(*fates_rx); i++)
		fate_rx(&fates_rx[i]);
	for (size_t i = 0; i < sizeof(fates_tx) / sizeof(*fates_tx); i++)
		fate_tx(&fates_tx[i]);
	verified();
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	bench_filter = argc > 1 ? argv[1] : NULL;
	t_init(1, argv);
	T_RUN(bench);
	return t_done();
}
