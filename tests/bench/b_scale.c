/* SPDX-License-Identifier: Apache-2.0
 *
 * What a packet costs by how many sessions and flows there are, beside what it costs when all are
 * of one: in turns within a run, with the same tables there. "to_one": how many times that of one.
 *
 *   flows_N           64 inner bytes, each of a flow at random among N: the kernel's programs by
 *                     BPF_PROG_TEST_RUN (fresh packets, one run each, the clock's own time taken
 *                     off), user space's look at its list of flows; and the memory of the two
 *                     flow maps as the kernel accounts it. N: 1 1000 100000 1000000
 *   kernel_peers_N    likewise, each packet of another session, peer and flow. N: 1 100 10000 */
#include "base/bytes.h"
#include "crypto/crypto.h"
#include "fwd/fwd_flows.h"
#include "io/bpf_load.h"
#include "tests/bench/scale.h"

static struct kworld w;
static double many_v[RUNS], one_v[RUNS];

/* ---- the kernel's programs ---- */

static bool flow_put(int map, uint32_t peer, const struct kinner *in)
{
	struct ps_flow_key key = kw_key(in, map == w.k.flow_in ? peer : 0);
	struct ps_flow f = {
		.peer = peer, .generation = w.k.peer[peer].generation, .expires_ns = PS_NEVER};

	return !bpf_map_update_elem(map, &key, &f, BPF_ANY);
}

static uint32_t local_idx(uint32_t p)
{
	return 0xabc00000u | p;
}

/* Session and peer p, after the world's own. */
static bool peer_make(uint32_t p)
{
	w.k.session[p] = w.k.session[KW_SLOT];
	w.k.session[p].local_idx = local_idx(p);
	w.k.session[p].peer = p;
	w.k.peer[p] = w.k.peer[KW_PEER];
	w.k.peer[p].tx_slot = p;
	w.k.peer[p].tun4[2] = (uint8_t)(p >> 8);
	w.k.peer[p].tun4[3] = (uint8_t)p;
	return !kern_set_keys(&w.k, p, w.recv_key, w.send_key);
}

/* One packet of that peer and flow, in or out. */
static bool run(bool out, uint32_t p, uint32_t i, double *ns)
{
	static uint64_t counter[SLOTS];
	struct kinner in = out ? back_of(p, i) : inner_of(p, i);
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kpkt pkt = {0};
	uint8_t text[256], into[512];
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_out = into, .data_size_out = sizeof(into),
		    .repeat = 1);

	if (out) {
		kp_be16(pkt.b + 12, 0x0800);
		pkt.len = KP_ETH + kp_inner(pkt.b + KP_ETH, &in);
	} else {
		kp_outer(&pkt, &o,
			 kp_wg(pkt.b + kp_outer_len(&o), local_idx(p), counter[p]++, w.recv_key,
			       text, kp_inner(text, &in)));
	}
	t.data_in = pkt.b;
	t.data_size_in = (uint32_t)pkt.len;
	if (bpf_prog_test_run_opts(out ? w.k.tun_out : w.k.wan_rx, &t))
		return false;
	*ns = t.duration;
	/* handled: it has another length */
	return t.data_size_out != pkt.len;
}

/* What the kernel's clock reads for a program that does nothing. */
static double empty_ns(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	static double v[RUNS];
	uint8_t pkt[128] = {0};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", insns, 2, NULL);
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = pkt, .data_size_in = sizeof(pkt), .repeat = 1);

	for (int i = 0; fd >= 0 && i < RUNS; i++) {
		bpf_prog_test_run_opts(fd, &o);
		v[i] = o.duration;
	}
	if (fd >= 0)
		close(fd);
	qsort(v, RUNS, sizeof(*v), bench_by_value);
	return v[RUNS / 2];
}

/* One at random of n flows, or of n peers with a flow each, and the first, in turns. */
static void kernel_pair(const char *bench, bool out, bool peers, uint32_t n)
{
	const uint32_t first = 1;
	const double empty = empty_ns();
	bool ok = true;

	for (int r = -WARM; r < RUNS && ok; r++) {
		const int at = r < 0 ? 0 : r;
		const uint32_t k = any(n);

		ok = run(out, peers ? first + k : first, peers ? first + k : k, &many_v[at]) &&
		     run(out, first, peers ? first : 0, &one_v[at]);
		many_v[at] -= empty;
		one_v[at] -= empty;
	}
	if (T(ok))
		print_pair(bench, out ? "kernel_egress_64" : "kernel_ingress_64", many_v, one_v,
			   RUNS, "kernel, test_run");
}

static bool world(uint32_t sessions, uint32_t peers, uint32_t flows)
{
	kern_sessions = sessions;
	kern_peers = peers;
	kern_flows = bpf_flow_entries(flows);
	return kw_open(&w, false);
}

static double map_bytes(int fd)
{
	char path[64], line[128];
	double bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "memlock: %lf", &bytes);
	if (f)
		fclose(f);
	return bytes;
}

/* What a worker asks for each packet: is the flow in the cache, and what was decided? */
static void cache_pair(const char *bench, uint32_t n)
{
	const uint32_t cap = fwd_flows_cap_for(n);
	struct fwd_flow_entry *list = aligned_alloc(64, cap * sizeof(*list));
	struct fwd_flows t;

	if (!T(list != NULL))
		return;
	memset(list, 0, cap * sizeof(*list));
	fwd_flows_init(&t, list, cap, 1);
	for (uint32_t i = 0; i < n; i++) {
		struct kinner in = inner_of(1, i);
		struct ps_flow_key key = kw_key(&in, 1);

		fwd_flow_publish(fwd_flows_take(&t, FWD_FLOW_IN, &key),
				 &(struct ps_flow){.peer = 1, .expires_ns = PS_NEVER});
	}
	for (int r = -1; r < ROUNDS; r++) {
		for (int one = 0; one < 2; one++) {
			uint64_t t0 = cpu_now();

			for (uint32_t i = 0; i < 20000; i++) {
				struct kinner in = inner_of(1, one ? n - 1 : any(n));
				struct ps_flow_key key = kw_key(&in, 1);
				struct fwd_flow_entry *e;
				struct ps_flow f;

				if (fwd_flows_get(&t, FWD_FLOW_IN, &key, &f, &e))
					fwd_flow_carried(e, &key, 1, 64, i + 1);
			}
			(one ? one_v : many_v)[r < 0 ? 0 : r] = (double)(cpu_now() - t0) / 20000;
		}
	}
	print_pair(bench, "user_flow_cache", many_v, one_v, ROUNDS, "user");
	free(list);
}

static void flows(uint32_t n)
{
	bool ok = true;
	char bench[64];
	double mb;

	snprintf(bench, sizeof(bench), "flows_%u", n);
	if (!bench_wanted(bench) || !world(16, 16, n < 64 ? 64 : n))
		return;
	ok = peer_make(1);
	for (uint32_t i = 0; i < n && ok; i++) {
		struct kinner in = inner_of(1, i), back = back_of(1, i);

		ok = flow_put(w.k.flow_in, 1, &in) && flow_put(w.k.flow_out, 1, &back);
	}
	T(ok);
	kernel_pair(bench, false, false, n);
	kernel_pair(bench, true, false, n);
	cache_pair(bench, n);
	mb = (map_bytes(w.k.flow_in) + map_bytes(w.k.flow_out)) / 1e6;
	bench_print(bench, "flow_maps", "MB", &mb, 1, "\"mode\":\"kernel\"");
	kern_close(&w.k);
}

static void kernel_peers(uint32_t n)
{
	bool ok = true;
	char bench[64];

	snprintf(bench, sizeof(bench), "kernel_peers_%u", n);
	if (!bench_wanted(bench) || !world(SLOTS, SLOTS, 2 * PEERS))
		return;
	for (uint32_t p = n; p && ok; p--) {
		struct kinner in = inner_of(p, p), back = back_of(p, p);

		ok = peer_make(p) && flow_put(w.k.flow_in, p, &in) &&
		     flow_put(w.k.flow_out, p, &back);
	}
	T(ok);
	kernel_pair(bench, false, true, n);
	kernel_pair(bench, true, true, n);
	kern_close(&w.k);
}

static void bench(void)
{
	static const uint32_t n_flows[] = {1, 1000, 100000, FLOWS}, n_peers[] = {1, 100, PEERS};

	for (int i = 0; i < 4; i++)
		flows(n_flows[i]);
	for (int i = 0; i < 3; i++)
		kernel_peers(n_peers[i]);
}

int main(int argc, char **argv)
{
	bench_filter = argc > 1 ? argv[1] : NULL;
	seed = 0x5ca1e;
	t_init(1, argv);
	if (crypto_init())
		return 1;
	T_RUN(bench);
	return t_done();
}
