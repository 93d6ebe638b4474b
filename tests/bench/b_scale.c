/* SPDX-License-Identifier: Apache-2.0
 *
 * What a packet costs by how many sessions and flows there are, beside what it costs when all are
 * of one: in turns within a run, with the same tables there. "to_one": how many times that of one.
 *
 *   flows_N           64 inner bytes, each of a flow at random among N: the kernel's programs by
 *                     BPF_PROG_TEST_RUN (fresh packets, one run each, the clock's own time taken
 *                     off), user space's look at its list of flows; and the memory of the two
 *                     flow maps as the kernel accounts it. N: 1 1000 100000 1000000
 *   kernel_peers_N    likewise, each packet of another session, peer and flow. N: 1 100 10000
 *   user_peers_N_S    user space's opening and sealing in batches of 64, S inner bytes, each
 *                     packet of another session: nothing else happens between two batches. By the
 *                     clock of the thread */
#include "base/bytes.h"
#include "base/time.h"
#include "crypto/crypto.h"
#include "fwd/fwd_flows.h"
#include "fwd/fwd_table.h"
#include "io/bpf_load.h"
#include "tests/bench/bench.h"
#include "tests/bpf/kworld.h"

#define RUNS	2000
#define WARM	200
#define FLOWS	1000000u
#define PEERS	10000u
#define SLOTS	16384u
#define ROUNDS	15
#define BATCHES 40
#define LEN	64

static struct kworld w;
static uint64_t seed;
static double many_v[RUNS], one_v[RUNS];

/* This thread's: who else is on the machine matters less. */
static uint64_t cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint32_t any(uint32_t n)
{
	return (uint32_t)(t_rand(&seed) % n);
}

/* Median of many by median of one. Sorts both. */
static double to_one(double *many, double *one, int n)
{
	qsort(many, (size_t)n, sizeof(*many), bench_by_value);
	qsort(one, (size_t)n, sizeof(*one), bench_by_value);
	return one[n / 2] > 0 ? many[n / 2] / one[n / 2] : 0;
}

static void print_pair(const char *bench, const char *metric, double *many, double *one, int n,
		       const char *mode)
{
	const double ratio = to_one(many, one, n);
	char more[128], env[64];

	snprintf(more, sizeof(more), "\"to_one\":%.3f,\"one\":%.1f", ratio, one[n / 2]);
	snprintf(env, sizeof(env), "\"mode\":\"%s\"", mode);
	bench_print_more(bench, metric, "ns", many, n, more, env);
}

/* ---- the kernel's programs ---- */

/* Flow i is peer p's. */
static struct kinner inner_of(uint32_t p, uint32_t i)
{
	struct kinner in = kw_inner(4, 17, LEN - 28);

	in.saddr[2] = (uint8_t)(p >> 8);
	in.saddr[3] = (uint8_t)p;
	in.sport = (uint16_t)(1024 + i % 50000);
	in.daddr[1] = (uint8_t)(100 + i / 50000);
	return in;
}

static struct kinner back_of(uint32_t p, uint32_t i)
{
	struct kinner in = inner_of(p, i), back = kw_inner_back(4, 17, LEN - 28);

	memcpy(back.saddr, in.daddr, 4);
	memcpy(back.daddr, in.saddr, 4);
	back.dport = in.sport;
	return back;
}

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

/* ---- user space ---- */

struct side {
	struct fwd_table t;
	struct fwd_mem mem;
};

static struct side us, them;

static bool side_make(struct side *s, uint8_t send, uint8_t recv)
{
	uint8_t rand[32] = {1};

	s->mem = (struct fwd_mem){.session = calloc(SLOTS, sizeof(*s->mem.session)),
				  .replay = calloc(SLOTS, sizeof(*s->mem.replay)),
				  .peer = calloc(PEERS, sizeof(*s->mem.peer)),
				  .keys = calloc(SLOTS, sizeof(*s->mem.keys)),
				  .session_free = calloc(SLOTS, sizeof(*s->mem.session_free)),
				  .n_sessions = SLOTS,
				  .n_peers = PEERS};
	if (!s->mem.session || !s->mem.replay || !s->mem.peer || !s->mem.keys ||
	    !s->mem.session_free || fwd_init(&s->t, &s->mem, rand))
		return false;
	for (uint32_t p = 0; p < PEERS; p++) {
		struct fwd_keys k;
		struct fwd_session_new n = {
			fwd_index_alloc(&s->t), 0, p, true, TIME_NEVER, TIME_NEVER, &k};

		/* both ends give the same indices in the same order */
		n.remote_idx = n.local_idx;
		memset(k.send, send, 32);
		memset(k.recv, recv, 32);
		if (fwd_peer_use(&s->t, p))
			return false;
		fwd_session_install(&s->t, &n, 1);
		fwd_session_confirm(&s->t, n.local_idx);
		fwd_peer_set_tx(&s->t, p, n.local_idx);
	}
	return true;
}

/* BATCHES batches, sealed by them and opened by us; ns a packet of either. */
static bool user_run(uint32_t n, size_t size, double *seal_ns, double *open_ns)
{
	static uint8_t msg[BATCHES][FWD_BATCH][1500 + FWD_DATA_OVERHEAD];
	static struct fwd_tx tx[FWD_BATCH];
	static struct fwd_rx rx[FWD_BATCH];
	static uint32_t who[BATCHES][FWD_BATCH];
	uint64_t t0, t1;
	bool ok = true;

	for (int b = 0; b < BATCHES; b++)
		for (int i = 0; i < FWD_BATCH; i++)
			who[b][i] = any(n);
	t0 = cpu_now();
	for (int b = 0; b < BATCHES; b++) {
		for (int i = 0; i < FWD_BATCH; i++) {
			tx[i] = (struct fwd_tx){.inner = msg[b][i] + FWD_DATA_HEADER,
						.inner_len = size,
						.out = msg[b][i]};
			ok &= fwd_seal_begin(&them.t, who[b][i], &tx[i], 2) == PS_R_UTX_SENT;
		}
		fwd_seal_batch(&them.t, tx, FWD_BATCH);
	}
	t1 = cpu_now();
	for (int b = 0; b < BATCHES; b++) {
		for (int i = 0; i < FWD_BATCH; i++)
			rx[i] = (struct fwd_rx){.msg = msg[b][i], .len = size + FWD_DATA_OVERHEAD};
		fwd_open_batch(&us.t, rx, FWD_BATCH, 2);
		for (int i = 0; i < FWD_BATCH; i++)
			ok &= rx[i].reason == PS_R_URX_DELIVERED;
	}
	*seal_ns = (double)(t1 - t0) / (BATCHES * FWD_BATCH);
	*open_ns = (double)(cpu_now() - t1) / (BATCHES * FWD_BATCH);
	return ok;
}

static void user_peers(uint32_t n, size_t size)
{
	static double seal[2][ROUNDS], open[2][ROUNDS];
	char bench[64];

	snprintf(bench, sizeof(bench), "user_peers_%u_%zu", n, size);
	if (!bench_wanted(bench) ||
	    (!us.mem.session && (!T(side_make(&us, 1, 2)) || !T(side_make(&them, 2, 1)))))
		return;
	for (int r = -1; r < ROUNDS; r++)
		for (int one = 0; one < 2; one++)
			if (!T(user_run(one ? 1 : n, size, &seal[one][r < 0 ? 0 : r],
					&open[one][r < 0 ? 0 : r])))
				return;
	print_pair(bench, "open", open[0], open[1], ROUNDS, "user");
	print_pair(bench, "seal", seal[0], seal[1], ROUNDS, "user");
}

static void bench(void)
{
	static const uint32_t n_flows[] = {1, 1000, 100000, FLOWS}, n_peers[] = {1, 100, PEERS};

	for (int i = 0; i < 4; i++)
		flows(n_flows[i]);
	for (int i = 0; i < 3; i++) {
		kernel_peers(n_peers[i]);
		user_peers(n_peers[i], 64);
		user_peers(n_peers[i], 1280);
	}
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
