/* SPDX-License-Identifier: Apache-2.0
 *
 * What a packet costs in user space by how many sessions and flows there are, beside what it costs
 * when all are of one: in turns within a run, with the same tables there. "to_one": how many times
 * that of one. By the clock of the thread.
 *
 *   user_peers_N_S    user space's opening and sealing in batches of 64, S inner bytes, each
 *                     packet of another session: nothing else happens between two batches
 *   worker_peers_N_S  what a worker does with a packet but for its system calls, in batches of 64
 *                     and ("_alone") one by one, each of another session, peer and flow: in, looked
 *                     at, opened, judged, counted; out, judged, sealed, counted
 *   worker_flows_N_S  likewise, of one peer and N flows, as a list of flows for a million allows */
#include "base/bytes.h"
#include "crypto/crypto.h"
#include "fwd/fwd_ahead.h"
#include "fwd/fwd_fast.h"
#include "fwd/fwd_flows.h"
#include "fwd/fwd_table.h"
#include "tests/bench/scale.h"

#define ROUNDS	15
#define BATCHES 40

struct side {
	struct fwd_table t;
	struct fwd_mem mem;
};

static struct side us, them;

/* Pages, as the daemon has them. */
static void *table(size_t n, size_t each)
{
	const size_t len = (n * each + 4095) & ~(size_t)4095;
	void *p = aligned_alloc(4096, len);

	return p ? memset(p, 0, len) : NULL;
}

static bool side_make(struct side *s, uint8_t send, uint8_t recv)
{
	uint8_t rand[32] = {1};

	s->mem = (struct fwd_mem){.session = table(SLOTS, sizeof(*s->mem.session)),
				  .replay = table(SLOTS, sizeof(*s->mem.replay)),
				  .peer = table(PEERS, sizeof(*s->mem.peer)),
				  .keys = table(SLOTS, sizeof(*s->mem.keys)),
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
		for (int i = 0; i < FWD_BATCH; i++)
			fwd_ahead_open(&us.t, rx[i].msg, rx[i].len);
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

/* ---- what workers do ---- */

struct way {
	uint32_t n;   /* at random among so many */
	bool flows;   /* of the first peer; else each of another peer */
	size_t size;  /* inner bytes */
	size_t batch; /* packets at a time */
	bool out;
};

static struct fwd_flows list;

static uint32_t way_peer(const struct way *w_, uint32_t i)
{
	return w_->flows ? 0 : i;
}

static bool is_listed(const struct way *y, uint32_t i)
{
	const uint32_t p = way_peer(y, i);
	struct kinner in = y->out ? back_of(p, i) : inner_of(p, i);
	struct ps_flow_key key = kw_key(&in, y->out ? 0 : p);

	return fwd_flows_find(&list, y->out ? FWD_FLOW_OUT : FWD_FLOW_IN, &key) != NULL;
}

/* A full set loses one of its flows: that is not what is measured. */
static uint32_t any_listed(const struct way *y, uint32_t n)
{
	uint32_t i = n == 1 ? y->n - 1 : any(n);

	while (n > 1 && !is_listed(y, i))
		i = any(n);
	return i;
}

static void list_put(enum fwd_flow_dir dir, uint32_t peer, const struct kinner *in)
{
	struct ps_flow_key key = kw_key(in, dir == FWD_FLOW_IN ? peer : 0);
	struct fwd_flow_entry *e = fwd_flows_take(&list, dir, &key);

	fwd_flow_publish(e, &(struct ps_flow){.peer = peer,
					      .generation = us.mem.peer[peer].generation,
					      .expires_ns = PS_NEVER});
}

/* Peers have addresses and paths; all flows are listed. */
static bool way_make(const struct way *y)
{
	const uint32_t cap = fwd_flows_cap_for(2 * (y->flows ? FLOWS : 4 * PEERS));
	const struct endpoint e = {.ip = ipaddr_v4(192, 0, 2, 1), .port = 9};
	const struct ipaddr none = {0};

	free(list.list);
	list.list = aligned_alloc(64, cap * sizeof(*list.list));
	if (!list.list)
		return false;
	memset(list.list, 0, cap * sizeof(*list.list));
	fwd_flows_init(&list, list.list, cap, 1);
	for (uint32_t i = 0; i < y->n; i++) {
		const uint32_t p = way_peer(y, i);
		struct kinner in = inner_of(p, i), back = back_of(p, i);
		struct ipaddr a4 = ipaddr_from(4, in.saddr);

		fwd_peer_set_tunnel(&us.t, p, &a4, &none, true);
		fwd_peer_set_path(&us.t, p, &e, &e, 0, 0);
		fwd_peer_set_mtu(&us.t, p, 1420);
		list_put(FWD_FLOW_IN, p, &in);
		list_put(FWD_FLOW_OUT, p, &back);
	}
	return true;
}

/* As worker_rx.c. */
static bool way_in(struct fwd_rx *rx, size_t n, uint64_t now)
{
	struct fwd_fast f;
	bool ok = true;

	f.known = false;
	for (size_t i = 0; i < n && i < FWD_AHEAD; i++)
		fwd_ahead_open(&us.t, rx[i].msg, rx[i].len);
	for (size_t i = 0; i < n; i++) {
		uint32_t receiver = le32_get(rx[i].msg + 4);

		if (i + FWD_AHEAD < n)
			fwd_ahead_open(&us.t, rx[i + FWD_AHEAD].msg, rx[i + FWD_AHEAD].len);
		ok &= ps_rx_session(&us.t.mem.session[fwd_slot(&us.t, receiver)], receiver, now) ==
		      PS_GO_ON;
	}
	fwd_open_batch(&us.t, rx, n, now);
	fwd_ahead_in(&us.t, &list, rx, n);
	for (size_t i = 0; i < n; i++) {
		ok &= rx[i].reason == PS_R_URX_DELIVERED &&
		      fwd_fast_in(&us.t, &list, &rx[i].o, &f, now) == PS_GO_ON;
		if (ok)
			fwd_flow_carried(f.e, &f.in.key, 1, f.in.ip.len, now);
	}
	return ok;
}

static void way_ahead(uint8_t (*pkt)[1600], size_t len, size_t n)
{
	struct fwd_ahead_pkt a[FWD_AHEAD];

	n = n < FWD_AHEAD ? n : FWD_AHEAD;
	for (size_t i = 0; i < n; i++)
		a[i] = (struct fwd_ahead_pkt){pkt[i], len};
	fwd_ahead_out(&us.t, &list, a, n);
}

/* As worker_tx.c. */
static bool way_out(uint8_t (*pkt)[1600], size_t len, size_t n, uint64_t now)
{
	static uint8_t msg[FWD_BATCH][1600];
	struct fwd_tx tx[FWD_BATCH];
	struct fwd_counters c;
	struct fwd_fast f;
	bool ok = true;

	f.known = false;
	for (size_t i = 0; i < n; i++) {
		if (i % FWD_AHEAD == 0)
			way_ahead(pkt + i, len, n - i);
		tx[i] = (struct fwd_tx){.inner = pkt[i], .inner_len = len, .out = msg[i]};
		ok &= fwd_fast_out(&us.t, &list, pkt[i], len, false, &f, now) == PS_GO_ON &&
		      fwd_seal_reserve(&us.t, f.peer, f.path.tx_slot, 1, &c, now) == PS_R_UTX_SENT;
		if (!ok)
			break;
		fwd_seal_next(&c, &tx[i]);
		fwd_flow_carried(f.e, &f.in.key, 1, len, now);
	}
	if (ok)
		fwd_seal_batch(&us.t, tx, n);
	return ok;
}

/* BATCHES times 64 packets; ns each. Packets are written, and sealed, just before, as the kernel
 * does it. */
static bool way_run(const struct way *y, uint32_t n, double *ns)
{
	static uint8_t pkt[FWD_BATCH][1600];
	static uint64_t now = 2;
	uint64_t sum = 0, t0;
	bool ok = true;

	for (int b = 0; b < BATCHES && ok; b++) {
		struct fwd_rx rx[FWD_BATCH];

		now++;
		for (size_t i = 0; i < FWD_BATCH; i++) {
			const uint32_t k = any_listed(y, n), p = way_peer(y, k);
			struct kinner in = y->out ? back_of(p, k) : inner_of(p, k);
			size_t sealed = 0, len;

			in.payload = y->size - 28;
			len = kp_inner(pkt[i] + (y->out ? 0 : FWD_DATA_HEADER), &in);
			ok &= len == y->size;
			if (!y->out)
				ok &= fwd_seal(&them.t, p, pkt[i] + FWD_DATA_HEADER, len, pkt[i],
					       &sealed, 2) == PS_R_UTX_SENT;
			rx[i] = (struct fwd_rx){.msg = pkt[i], .len = sealed};
		}
		t0 = cpu_now();
		for (size_t i = 0; i < FWD_BATCH; i += y->batch)
			ok &= y->out ? way_out(pkt + i, y->size, y->batch, now)
				     : way_in(rx + i, y->batch, now);
		sum += cpu_now() - t0;
	}
	*ns = (double)sum / (BATCHES * FWD_BATCH);
	return ok;
}

static void way(struct way y)
{
	static double v[2][ROUNDS];
	char bench[64];

	snprintf(bench, sizeof(bench), "worker_%s_%u_%zu%s", y.flows ? "flows" : "peers", y.n,
		 y.size, y.batch == 1 ? "_alone" : "");
	if (!bench_wanted(bench) ||
	    (!us.mem.session && (!T(side_make(&us, 1, 2)) || !T(side_make(&them, 2, 1)))) ||
	    !T(way_make(&y)))
		return;
	for (int out = 0; out < 2; out++) {
		y.out = out;
		for (int r = -1; r < ROUNDS; r++)
			for (int one = 0; one < 2; one++)
				if (!T(way_run(&y, one ? 1 : y.n, &v[one][r < 0 ? 0 : r])))
					return;
		print_pair(bench, out ? "out" : "in", v[0], v[1], ROUNDS, "user");
	}
}

static void ways(void)
{
	static const uint32_t n_flows[] = {1, 1000, 100000, FLOWS}, n_peers[] = {1, 100, PEERS};
	static const size_t size[] = {64, 1280};

	for (int s = 0; s < 2; s++) {
		for (int i = 0; i < 3; i++)
			for (int alone = 0; alone < 2; alone++)
				way((struct way){.n = n_peers[i],
						 .size = size[s],
						 .batch = alone ? 1 : FWD_BATCH});
		for (int i = 0; i < 4; i++)
			way((struct way){.n = n_flows[i],
					 .flows = true,
					 .size = size[s],
					 .batch = FWD_BATCH});
	}
	free(list.list);
}

static void bench(void)
{
	static const uint32_t n_peers[] = {1, 100, PEERS};

	for (int i = 0; i < 3; i++) {
		user_peers(n_peers[i], 64);
		user_peers(n_peers[i], 1280);
	}
	ways();
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
