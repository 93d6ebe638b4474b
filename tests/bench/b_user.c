/* SPDX-License-Identifier: Apache-2.0
 *
 * Cost of the user-space executor's packet work and of connection set-up, and what the tables
 * weigh: user_seal_<size>, user_open_<size> (inner bytes), user_reason_<reason>, handshake_pair,
 * blake2s_block_plain, blake2s_block_avx512, table_memory_10000, connection_bytes. */
#include <time.h>

#include "base/time.h"
#include "core/node/node.h"
#include "crypto/blake2s_block.h"
#include "crypto/crypto.h"
#include "fwd/fwd_table.h"
#include "tests/bench/bench.h"

#define SAMPLES 15
#define N_SLOTS 16

static struct fwd_table ta, tb;
static struct ps_session sa[N_SLOTS], sb[N_SLOTS];
static struct ps_replay ra[N_SLOTS], rb[N_SLOTS];
static struct ps_peer pa[2], pb[2];
static struct fwd_keys ka[N_SLOTS], kb[N_SLOTS];
static uint32_t fa[N_SLOTS], fb[N_SLOTS];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void report(const char *bench, const char *metric, const char *unit, double *v, int n)
{
	bench_print(bench, metric, unit, v, n,
		    "\"executor\":\"user\",\"aead\":\"libsodium\",\"pinning\":\"none\"");
}

static void session(struct fwd_table *t, uint32_t local, uint32_t remote, uint8_t send,
		    uint8_t recv)
{
	struct fwd_keys k;
	struct fwd_session_new n = {local, remote, 1, true, TIME_NEVER, TIME_NEVER, &k};

	memset(k.send, send, 32);
	memset(k.recv, recv, 32);
	fwd_session_install(t, &n, 1);
	fwd_session_confirm(t, local);
	fwd_peer_set_tx(t, 1, local);
}

static void tables(void)
{
	const struct fwd_mem ma = {sa, ra, pa, ka, fa, N_SLOTS, 2},
			     mb = {sb, rb, pb, kb, fb, N_SLOTS, 2};
	uint8_t seed[32] = {1};
	uint32_t ia, ib;

	if (fwd_init(&ta, &ma, seed) || fwd_init(&tb, &mb, seed) || fwd_peer_use(&ta, 1) ||
	    fwd_peer_use(&tb, 1))
		exit(1);
	ia = fwd_index_alloc(&ta);
	ib = fwd_index_alloc(&tb);
	session(&ta, ia, ib, 1, 2);
	session(&tb, ib, ia, 2, 1);
}

static void bench_data(size_t size)
{
	enum { BATCH = 2000 };
	static uint8_t msgs[BATCH][1500 + FWD_DATA_OVERHEAD];
	static size_t len[BATCH];
	double seal[SAMPLES], open[SAMPLES];
	uint8_t inner[1500] = {0x45};
	char name_seal[32], name_open[32];
	struct fwd_opened o;

	snprintf(name_seal, sizeof(name_seal), "user_seal_%zu", size);
	snprintf(name_open, sizeof(name_open), "user_open_%zu", size);
	if (!bench_wanted(name_seal) && !bench_wanted(name_open))
		return;
	tables();
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t0 = now_ns(), t1;

		for (unsigned i = 0; i < BATCH; i++)
			if (fwd_seal(&ta, 1, inner, size, msgs[i], &len[i], 2) != PS_R_UTX_SENT)
				exit(1);
		t1 = now_ns();
		for (unsigned i = 0; i < BATCH; i++)
			if (fwd_open(&tb, msgs[i], len[i], &o, 2) != PS_R_URX_DELIVERED)
				exit(1);
		seal[s] = (double)(t1 - t0) / BATCH;
		open[s] = (double)(now_ns() - t1) / BATCH;
	}
	if (bench_wanted(name_seal))
		report(name_seal, "ns_per_packet", "ns", seal, SAMPLES);
	if (bench_wanted(name_open))
		report(name_open, "ns_per_packet", "ns", open, SAMPLES);
}

/* What a datagram costs that is refused, by reason; 64 inner bytes. */
static void bench_refusals(void)
{
	static const struct {
		const char *name;
		enum ps_reason_id want;
	} rows[] = {
		{"user_reason_urx_malformed", PS_R_URX_MALFORMED},
		{"user_reason_urx_no_session", PS_R_URX_NO_SESSION},
		{"user_reason_urx_expired", PS_R_URX_EXPIRED},
		{"user_reason_urx_replay", PS_R_URX_REPLAY},
		{"user_reason_urx_bad_tag", PS_R_URX_BAD_TAG},
	};
	enum { BATCH = 20000 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t inner[64] = {0x45}, good[128], msg[128];
		uint64_t now = 2;
		double v[SAMPLES];
		struct fwd_opened o;
		size_t len;

		if (!bench_wanted(rows[i].name))
			continue;
		tables();
		if (fwd_seal(&ta, 1, inner, sizeof(inner), good, &len, now) != PS_R_UTX_SENT)
			exit(1);
		memcpy(msg, good, len);
		if (rows[i].want == PS_R_URX_MALFORMED)
			len = 31;
		else if (rows[i].want == PS_R_URX_NO_SESSION)
			good[7] ^= 1;
		else if (rows[i].want == PS_R_URX_BAD_TAG)
			good[len - 1] ^= 1;
		else if (rows[i].want == PS_R_URX_EXPIRED)
			sb[0].rx_until_ns = sb[1].rx_until_ns = now;
		else if (fwd_open(&tb, msg, len, &o, now) != PS_R_URX_DELIVERED)
			exit(1);
		for (unsigned s = 0; s < SAMPLES; s++) {
			uint64_t t0 = now_ns();

			for (unsigned k = 0; k < BATCH; k++) {
				memcpy(msg, good, len);
				if (fwd_open(&tb, msg, len, &o, now) != rows[i].want)
					exit(1);
			}
			v[s] = (double)(now_ns() - t0) / BATCH;
		}
		report(rows[i].name, "ns_per_packet", "ns", v, SAMPLES);
	}
}

/* Initiation, response and both derivations: one complete key exchange on one core. */
static void bench_handshake(void)
{
	static struct wg_local la, lb;
	static struct wg_peer wa, wb;
	struct wg_peer_cfg ca = {.may_initiate = true, .times = wg_times_default()}, cb = ca;
	uint8_t priv[32] = {9}, seed[32] = {3};
	double v[SAMPLES];

	if (!bench_wanted("handshake_pair"))
		return;
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t0, now = NS_PER_SEC;
		enum { ROUNDS = 40 };

		wg_local_init(&la, priv, seed, (struct wall){.sec = 1700000000}, now);
		priv[1] = 7;
		wg_local_init(&lb, priv, seed, (struct wall){.sec = 1700000000}, now);
		memcpy(ca.remote_pub, lb.key.pub, 32);
		memcpy(cb.remote_pub, la.key.pub, 32);
		t0 = now_ns();
		for (unsigned i = 0; i < ROUNDS; i++) {
			struct noise_opened opened;
			struct wg_tx tx, reply;
			struct wg_event ev;

			now += NS_PER_SEC;
			if (wg_peer_init(&wa, &la, &ca, seed, now) ||
			    wg_peer_init(&wb, &lb, &cb, seed, now) ||
			    wg_peer_give_index(&wa, 1 + i) || wg_peer_give_index(&wb, 1 + i))
				exit(1);
			wg_peer_initiate(&wa, now);
			if (!wg_peer_poll_tx(&wa, &la, &tx, now) ||
			    wg_local_admit(&lb, tx.buf, tx.len, &(struct ipaddr){.family = 4},
					   &reply, now) ||
			    wg_initiation_open(&lb, tx.buf, tx.len, &opened) ||
			    wg_peer_rx_initiation(&wb, &opened, now) ||
			    !wg_peer_poll_tx(&wb, &lb, &tx, now) ||
			    wg_peer_rx_response(&wa, &la, tx.buf, tx.len, now))
				exit(1);
			noise_opened_wipe(&opened);
			while (wg_peer_poll_event(&wa, &ev) || wg_peer_poll_event(&wb, &ev))
				;
			wg_peer_fini(&wa);
			wg_peer_fini(&wb);
		}
		v[s] = (double)(now_ns() - t0) / ROUNDS / 1000;
	}
	report("handshake_pair", "us_per_handshake_both_ends", "us", v, SAMPLES);
}

static void bench_blake2s(const char *bench,
			  void (*compress)(uint32_t[8], const uint8_t *, uint64_t, bool))
{
	enum { BLOCKS = 10000 };
	uint8_t block[BLAKE2S_BLOCK] = {1};
	uint32_t h[8] = {0};
	double v[SAMPLES];

	if (!bench_wanted(bench))
		return;
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t0 = now_ns();

		for (unsigned i = 0; i < BLOCKS; i++)
			compress(h, block, i, false);
		v[s] = (double)(now_ns() - t0) / BLOCKS;
	}
	report(bench, "ns_per_block", "ns", v, SAMPLES);
}

/* What the daemon's defaults make for 10,000 peers: 32768 sessions, 65536 flows each way. */
static void bench_memory(void)
{
	const double sessions = 32768, peers = 10000, flows = 65536,
		     lru = 48; /* the kernel's own bytes an element */
	double table = sessions * (sizeof(struct ps_session) + sizeof(struct ps_replay) +
				   sizeof(struct fwd_keys)) +
		       peers * sizeof(struct ps_peer) +
		       2 * flows * (sizeof(struct ps_flow_key) + sizeof(struct ps_flow) + lru);
	double mb = table / 1e6, conn = sizeof(struct node_conn);

	if (bench_wanted("table_memory_10000"))
		report("table_memory_10000", "megabytes", "MB", &mb, 1);
	if (bench_wanted("connection_bytes"))
		report("connection_bytes", "control_plane_bytes_per_connection", "B", &conn, 1);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {64, 128, 512, 1280};

	bench_filter = argc > 1 ? argv[1] : NULL;
	if (crypto_init())
		return 1;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		bench_data(sizes[i]);
	bench_refusals();
	bench_handshake();
	bench_blake2s("blake2s_block_plain", blake2s_block_plain);
	if (blake2s_has_avx512())
		bench_blake2s("blake2s_block_avx512", blake2s_block_avx512);
	bench_memory();
	return 0;
}
