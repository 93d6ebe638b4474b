/* SPDX-License-Identifier: Apache-2.0
 * The forwarding table: slots and indices, sessions, packets opened and sealed by the user-space
 * executor, and what other threads that read it are owed. */

#include <errno.h>
#include <pthread.h>

#include "base/bytes.h"
#include "base/time.h"
#include "crypto/crypto.h"
#include "fwd/fwd_table.h"
#include "plan/egress.h"
#include "plan/ingress.h"
#include "tests/t.h"

#define N_SESSIONS 16
#define N_PEERS	   4
#define NOW	   (1000 * NS_PER_SEC)

struct table {
	struct fwd_table t;
	struct ps_session session[N_SESSIONS];
	struct ps_replay replay[N_SESSIONS];
	struct ps_peer peer[N_PEERS];
	struct fwd_keys keys[N_SESSIONS];
	uint32_t free_stack[N_SESSIONS];
};

static struct table a, b;

static void make(struct table *x, uint8_t seed_byte)
{
	uint8_t seed[32];
	const struct fwd_mem mem = {x->session,	   x->replay,  x->peer, x->keys,
				    x->free_stack, N_SESSIONS, N_PEERS};

	memset(x, 0, sizeof(*x));
	memset(seed, seed_byte, sizeof(seed));
	T_EQ(fwd_init(&x->t, &mem, seed), 0);
}

/* Peer 1 of each table talks to the other; returns a's index and b's. */
static void pair(uint32_t *ia, uint32_t *ib)
{
	struct fwd_keys ka, kb;
	struct fwd_session_new n = {.peer = 1,
				    .rx_until_ns = NOW + 180 * NS_PER_SEC,
				    .tx_until_ns = NOW + 170 * NS_PER_SEC};

	make(&a, 1);
	make(&b, 2);
	T_EQ(fwd_peer_use(&a.t, 1), 0);
	T_EQ(fwd_peer_use(&b.t, 1), 0);
	*ia = fwd_index_alloc(&a.t);
	*ib = fwd_index_alloc(&b.t);
	memset(ka.send, 0x11, 32);
	memset(ka.recv, 0x22, 32);
	memset(kb.send, 0x22, 32);
	memset(kb.recv, 0x11, 32);
	n.local_idx = *ia;
	n.remote_idx = *ib;
	n.keys = &ka;
	fwd_session_install(&a.t, &n, NOW);
	n.local_idx = *ib;
	n.remote_idx = *ia;
	n.keys = &kb;
	fwd_session_install(&b.t, &n, NOW);
	fwd_peer_set_tx(&a.t, 1, *ia);
	fwd_peer_set_tx(&b.t, 1, *ib);
}

static void test_sizes(void)
{
	struct fwd_mem mem = {a.session, a.replay, a.peer, a.keys, a.free_stack, 12, N_PEERS};
	uint8_t seed[32] = {0};

	T_EQ(fwd_init(&a.t, &mem, seed), -EINVAL);
	mem.n_sessions = 1;
	T_EQ(fwd_init(&a.t, &mem, seed), -EINVAL);
	mem.n_sessions = 16;
	mem.n_peers = 0;
	T_EQ(fwd_init(&a.t, &mem, seed), -EINVAL);
}

static void test_index_lifecycle(void)
{
	uint32_t idx[N_SESSIONS], again;

	make(&a, 3);
	for (unsigned i = 0; i < N_SESSIONS; i++) {
		idx[i] = fwd_index_alloc(&a.t);
		T(idx[i] != 0);
		for (unsigned k = 0; k < i; k++)
			T(fwd_slot(&a.t, idx[k]) != fwd_slot(&a.t, idx[i]));
	}
	T_EQ(fwd_index_alloc(&a.t), 0);
	T_EQ(a.t.session_full, 1);
	fwd_index_free(&a.t, idx[5] ^ 0x80000000u); /* same slot, other index: not ours to free */
	T_EQ(fwd_index_alloc(&a.t), 0);
	fwd_index_free(&a.t, idx[5]);
	fwd_index_free(&a.t, idx[5]);
	again = fwd_index_alloc(&a.t);
	T_EQ(fwd_slot(&a.t, again), fwd_slot(&a.t, idx[5]));
	T(again != idx[5]);
	T_EQ(fwd_index_alloc(&a.t), 0);
}

/* A freed slot is the last to be used again. */
static void test_slots_rest(void)
{
	uint32_t first, other;

	make(&a, 5);
	first = fwd_index_alloc(&a.t);
	fwd_index_free(&a.t, first);
	for (unsigned i = 0; i < N_SESSIONS - 1; i++) {
		other = fwd_index_alloc(&a.t);
		T(fwd_slot(&a.t, other) != fwd_slot(&a.t, first));
	}
	T_EQ(fwd_slot(&a.t, fwd_index_alloc(&a.t)), fwd_slot(&a.t, first));
}

static void test_round_trip(void)
{
	uint8_t pkt[1500], msg[1600];
	uint32_t ia, ib;
	size_t len;
	struct fwd_opened o;

	pair(&ia, &ib);
	for (size_t n = 0; n <= 1280; n += n < 70 ? 1 : 97) {
		for (size_t i = 0; i < n; i++)
			pkt[i] = (uint8_t)(i * 7 + n);
		T_EQ(fwd_seal(&a.t, 1, pkt, n, msg, &len, NOW + 1), PS_R_UTX_SENT);
		T_EQ(len, n + FWD_DATA_OVERHEAD);
		T_EQ(fwd_open(&b.t, msg, len, &o, NOW + 2), PS_R_URX_DELIVERED);
		T_EQ(o.inner_len, n);
		T_EQ(o.peer, 1);
		T(o.confirms);
		T_MEM(o.inner, pkt, n);
	}
	fwd_session_confirm(&b.t, ib);
	T_EQ(fwd_seal(&a.t, 1, pkt, 8, msg, &len, NOW + 1), PS_R_UTX_SENT);
	T_EQ(fwd_open(&b.t, msg, len, &o, NOW + 2), PS_R_URX_DELIVERED);
	T(!o.confirms);
	T(fwd_session(&b.t, ib)->rx_user_packets > 70);
	T_EQ(fwd_session(&b.t, ib)->rx_user_packets, fwd_session(&a.t, ia)->tx_user_packets);
	T_EQ(fwd_session(&b.t, ib)->rx_user_bytes, fwd_session(&a.t, ia)->tx_user_bytes);
}

/* One more session, between peers 2; same keys both ways. */
static void second_session(void)
{
	struct fwd_keys k;
	struct fwd_session_new n = {.peer = 2,
				    .rx_until_ns = NOW + 180 * NS_PER_SEC,
				    .tx_until_ns = NOW + 170 * NS_PER_SEC,
				    .keys = &k};
	uint32_t ia = fwd_index_alloc(&a.t), ib = fwd_index_alloc(&b.t);

	memset(&k, 0x33, sizeof(k));
	T_EQ(fwd_peer_use(&a.t, 2), 0);
	T_EQ(fwd_peer_use(&b.t, 2), 0);
	n.local_idx = ia, n.remote_idx = ib;
	fwd_session_install(&a.t, &n, NOW);
	n.local_idx = ib, n.remote_idx = ia;
	fwd_session_install(&b.t, &n, NOW);
	fwd_peer_set_tx(&a.t, 2, ia);
	fwd_peer_set_tx(&b.t, 2, ib);
}

enum { SEALED = 3000, SEALED_LEN = 40 };
static uint8_t sealed[SEALED][SEALED_LEN];
static bool opened[SEALED]; /* delivered once */

static void seal_all(void)
{
	uint8_t pkt[SEALED_LEN - FWD_DATA_OVERHEAD];
	size_t len;

	memset(opened, 0, sizeof(opened));
	for (uint32_t i = 0; i < SEALED; i++) {
		memset(pkt, (int)i, sizeof(pkt));
		T_EQ(fwd_seal(&a.t, 1 + i / 7 % 2, pkt, sizeof(pkt), sealed[i], &len, NOW),
		     PS_R_UTX_SENT);
	}
}

/* As it would be one by one; but of two in a batch the tags of both are looked at. */
static void as_it_should(const struct fwd_rx *rx, uint32_t i, bool forged)
{
	if (forged)
		T(rx->reason == PS_R_URX_BAD_TAG || (opened[i] && rx->reason == PS_R_URX_REPLAY));
	else if (opened[i])
		T_EQ(rx->reason, PS_R_URX_REPLAY);
	else if (T_EQ(rx->reason, PS_R_URX_DELIVERED))
		T(rx->o.inner[0] == (uint8_t)i && rx->o.peer == 1 + i / 7 % 2);
	opened[i] |= !forged;
}

/* Batches of two sessions' datagrams, in order and not, some twice in a batch or again later, some
 * forged. */
static void test_batches(void)
{
	uint8_t work[FWD_BATCH][SEALED_LEN];
	uint64_t rnd = t_seed(), delivered = 0, counted = 0;
	struct fwd_rx rx[FWD_BATCH];
	uint32_t ia, ib, which[FWD_BATCH];
	bool forged[FWD_BATCH];

	pair(&ia, &ib);
	second_session();
	seal_all();
	for (uint32_t at = 0; at + FWD_BATCH < SEALED;) {
		size_t n = 1 + t_rand(&rnd) % FWD_BATCH;

		for (size_t i = 0; i < n; i++) {
			which[i] = at;
			if (t_rand(&rnd) % 8)
				at++;
			else
				which[i] -= (uint32_t)(t_rand(&rnd) % (at < 90 ? at + 1 : 90));
			forged[i] = !(t_rand(&rnd) % 16);
			memcpy(work[i], sealed[which[i]], SEALED_LEN);
			work[i][SEALED_LEN - 1] ^= forged[i];
			rx[i] = (struct fwd_rx){.msg = work[i], .len = SEALED_LEN};
		}
		fwd_open_batch(&b.t, rx, n, NOW);
		for (size_t i = 0; i < n; i++) {
			as_it_should(&rx[i], which[i], forged[i]);
			delivered += rx[i].reason == PS_R_URX_DELIVERED;
		}
	}
	for (uint32_t i = 0; i < N_SESSIONS; i++)
		counted += b.session[i].rx_user_packets;
	T(delivered > SEALED / 2);
	T_EQ(counted, delivered);
}

/* A refused packet leaves the whole table as it was. */
static void refused(uint8_t *msg, size_t len, enum ps_reason_id want, uint64_t now)
{
	static struct table before;
	uint8_t copy[1600];
	struct fwd_opened o;

	before = b;
	memcpy(copy, msg, len);
	T_EQ(fwd_open(&b.t, copy, len, &o, now), want);
	T_MEM(&b, &before, sizeof(b));
}

static void test_refusals(void)
{
	uint8_t pkt[64] = {1, 2, 3}, msg[128], bad[128];
	uint32_t ia, ib;
	size_t len;
	struct fwd_opened o;

	pair(&ia, &ib);
	T_EQ(fwd_seal(&a.t, 1, pkt, sizeof(pkt), msg, &len, NOW), PS_R_UTX_SENT);
	for (size_t n = 0; n < len; n++)
		refused(msg, n, n < FWD_DATA_OVERHEAD ? PS_R_URX_MALFORMED : PS_R_URX_BAD_TAG, NOW);
	for (size_t bit = 0; bit < len * 8; bit++) {
		memcpy(bad, msg, len);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		refused(bad, len,
			bit < 32		      ? PS_R_URX_MALFORMED
			: bit < 64		      ? PS_R_URX_NO_SESSION
			: bit >= 64 + 44 && bit < 128 ? PS_R_URX_REPLAY
						      : PS_R_URX_BAD_TAG,
			NOW);
	}
	refused(msg, len, PS_R_URX_EXPIRED, NOW + 180 * NS_PER_SEC);
	memcpy(bad, msg, len);
	T_EQ(fwd_open(&b.t, bad, len, &o, NOW), PS_R_URX_DELIVERED);
	refused(msg, len, PS_R_URX_REPLAY, NOW);
}

static void test_send_conditions(void)
{
	uint8_t pkt[20] = {0}, msg[64];
	uint32_t ia, ib;
	size_t len;

	pair(&ia, &ib);
	T_EQ(fwd_seal(&a.t, 2, pkt, 20, msg, &len, NOW), PS_R_UTX_NO_SESSION);
	T_EQ(fwd_seal(&a.t, 99, pkt, 20, msg, &len, NOW), PS_R_UTX_NO_SESSION);
	T_EQ(fwd_seal(&a.t, 1, pkt, 20, msg, &len, NOW + 170 * NS_PER_SEC), PS_R_UTX_NO_SESSION);
	T_EQ(fwd_seal(&a.t, 1, NULL, 0, msg, &len, NOW), PS_R_UTX_SENT);
	T_EQ(len, 32);
	T_EQ(fwd_session(&a.t, ia)->last_tx_ns, 0);
	fwd_peer_set_tx(&a.t, 1, ib ^ 1u);
	T_EQ(fwd_seal(&a.t, 1, pkt, 20, msg, &len, NOW), PS_R_UTX_NO_SESSION);
	fwd_peer_set_tx(&a.t, 1, ia);
	fwd_index_free(&a.t, ia);
	T_EQ(a.peer[1].tx_slot, PS_NO_SLOT);
	T(crypto_is_zero(&a.keys[fwd_slot(&a.t, ia)], sizeof(struct fwd_keys)));
}

static void test_peer_slots(void)
{
	struct ipaddr v4 = ipaddr_v4(100, 64, 0, 9), v6 = {.family = 6, .b = {0xfd}};
	struct endpoint l = {.ip = ipaddr_v4(192, 0, 2, 1), .port = 52625},
			r = {.ip = ipaddr_v4(192, 0, 2, 2), .port = 9};
	uint32_t g;

	make(&a, 4);
	T_EQ(fwd_peer_use(&a.t, N_PEERS), -EINVAL);
	T_EQ(fwd_peer_use(&a.t, 3), 0);
	T_EQ(fwd_peer_use(&a.t, 3), -EEXIST);
	fwd_peer_set_tunnel(&a.t, 3, &v4, &v6, true);
	fwd_peer_set_kernel(&a.t, 3, true);
	T_EQ(a.peer[3].mtu, 1280);
	fwd_peer_set_mtu(&a.t, 3, 1500);
	T_EQ(a.peer[3].mtu, 1500);
	fwd_peer_set_mtu(&a.t, 3, 1501); /* more than anybody carries */
	T_EQ(a.peer[3].mtu, 1500);
	fwd_peer_set_mtu(&a.t, N_PEERS, 1400);
	T_EQ(a.peer[3].flags, PS_PEER_USED | PS_PEER_CHECK_SOURCE | PS_PEER_KERNEL);
	T_MEM(a.peer[3].tun4, v4.b, 4);
	fwd_peer_set_path(&a.t, 3, &l, &r, 0x4001, 7);
	T_EQ(a.peer[3].path_channel, ps_be16(0x4001));
	fwd_peer_set_path(&a.t, 3, &l, &r, 0, 7);
	T_EQ(a.peer[3].path_channel, 0);
	T_EQ(a.peer[3].path_family, 4);
	T_EQ(a.peer[3].path_local_port, ps_be16(52625));
	fwd_peer_set_path(&a.t, 3, NULL, NULL, 0x4001, 7);
	T_EQ(a.peer[3].path_channel, 0);
	T_EQ(a.peer[3].path_family, 0);
	T_EQ(a.peer[3].path_ifindex, 0);
	g = a.peer[3].generation;
	fwd_peer_revoke(&a.t, 3);
	T_EQ(a.peer[3].generation, g + 1);
	T_EQ(a.peer[3].seq % 2, 0);
	fwd_peer_free(&a.t, 3);
	T(!fwd_peer(&a.t, 3));
	fwd_peer_set_mtu(&a.t, 3, 1500);
	T_EQ(fwd_peer_use(&a.t, 3), 0);
	T_EQ(a.peer[3].mtu, 1280);	 /* the slot's next owner starts anew */
	T(a.peer[3].generation > g + 1); /* flows of the slot's former owner are stale */
}

/* ---- other threads ---- */
/* What a reader would find in table a at the moment it is waited for. */
static struct {
	int calls;
	uint32_t idx, slot;
	bool session, key, peer, path;
	uint32_t generation, tx_slot;
	uint8_t tun4[4];
} at;

static void look(void *arg)
{
	struct ps_peer_view v = {0};
	struct ps_path_view w = {0};

	T(arg == &a);
	at.calls++;
	at.session = fwd_session(&a.t, at.idx) || a.session[at.slot].local_idx == at.idx;
	at.key = !crypto_is_zero(&a.keys[at.slot], sizeof(struct fwd_keys));
	at.peer = fwd_peer_view(&a.t, 1, &v);
	at.path = fwd_path_view(&a.t, 1, &w) && w.family;
	at.generation = v.generation;
	at.tx_slot = w.tx_slot;
	memcpy(at.tun4, v.tun4, sizeof(at.tun4));
}

static uint32_t watched(void)
{
	uint32_t ia, ib;

	pair(&ia, &ib);
	memset(&at, 0, sizeof(at));
	at.idx = ia;
	at.slot = fwd_slot(&a.t, ia);
	a.t.quiesce = look;
	a.t.quiesce_arg = &a;
	return ia;
}

/* No session in sight, its keys still there; then they are wiped. */
static void test_quiesce_of_session(void)
{
	uint32_t ia = watched(), other = fwd_index_alloc(&a.t);

	fwd_index_free(&a.t, other); /* nobody could see it */
	fwd_index_free(&a.t, ia ^ 0x80000000u);
	T_EQ(at.calls, 0);
	fwd_index_free(&a.t, ia);
	T_EQ(at.calls, 1);
	T(!at.session && at.key);
	T_EQ(at.tx_slot, PS_NO_SLOT);
	T(crypto_is_zero(&a.keys[at.slot], sizeof(struct fwd_keys)));
	fwd_index_free(&a.t, ia);
	T_EQ(at.calls, 1);
}

static void test_quiesce_of_peer(void)
{
	struct endpoint l = {.ip = ipaddr_v4(192, 0, 2, 1), .port = 1};
	struct ipaddr v4 = ipaddr_v4(100, 64, 0, 9), v6 = {.family = 6, .b = {0xfd}};
	uint32_t g, ia = watched();

	g = a.peer[1].generation;
	fwd_peer_set_path(&a.t, 1, &l, &l, 0, 7);
	fwd_peer_set_kernel(&a.t, 1, true);
	fwd_peer_set_mtu(&a.t, 1, 1400);
	T_EQ(at.calls, 0);
	fwd_peer_set_tunnel(&a.t, 1, &v4, &v6, true);
	T_EQ(at.calls, 1);
	T_MEM(at.tun4, v4.b, 4);
	T(at.path);
	fwd_peer_revoke(&a.t, 1);
	T_EQ(at.calls, 2);
	T_EQ(at.generation, g + 1);
	fwd_peer_set_path(&a.t, 1, NULL, NULL, 0, 0);
	T_EQ(at.calls, 3);
	T(!at.path);
	fwd_peer_set_path(&a.t, 1, NULL, NULL, 0, 0); /* there was none */
	T_EQ(at.calls, 3);
	fwd_index_free(&a.t, ia);
	T(at.peer);
	fwd_peer_free(&a.t, 1);
	T_EQ(at.calls, 5);
	T(!at.peer);
	fwd_peer_free(&a.t, 1);
	fwd_peer_revoke(&a.t, 1);
	T_EQ(at.calls, 5);
}

static void test_views(void)
{
	struct endpoint l = {.ip = ipaddr_v4(192, 0, 2, 1), .port = 52625},
			r = {.ip = {.family = 6, .b = {0x20, 1}}, .port = 9};
	struct ipaddr v4 = ipaddr_v4(100, 64, 0, 9), v6 = {.family = 6, .b = {0xfd}};
	struct ps_peer_view v;
	struct ps_path_view w;
	uint32_t ia, ib;

	pair(&ia, &ib);
	fwd_peer_set_tunnel(&a.t, 1, &v4, &v6, true);
	fwd_peer_set_path(&a.t, 1, &l, &r, 0x4001, 7);
	fwd_peer_set_mtu(&a.t, 1, 1400);
	T(fwd_peer_view(&a.t, 1, &v) && fwd_path_view(&a.t, 1, &w));
	T(v.flags == (PS_PEER_USED | PS_PEER_CHECK_SOURCE) && w.flags == v.flags);
	T(v.generation == a.peer[1].generation && w.generation == v.generation);
	T_MEM(v.tun4, v4.b, 4);
	T_MEM(v.tun6, v6.b, 16);
	T(w.tx_slot == fwd_slot(&a.t, ia) && w.ifindex == 7 && w.family == 6 && w.mtu == 1400);
	T(w.channel == ps_be16(0x4001) && w.local_port == ps_be16(52625) &&
	  w.remote_port == ps_be16(9));
	T_MEM(w.local, l.ip.b, 16);
	T_MEM(w.remote, r.ip.b, 16);
	a.peer[1].seq++; /* being written */
	T(!fwd_peer_view(&a.t, 1, &v) && !fwd_path_view(&a.t, 1, &w));
	a.peer[1].seq++;
	T(fwd_peer_view(&a.t, 1, &v) && fwd_path_view(&a.t, 1, &w));
	T(!fwd_peer_view(&a.t, 2, &v) && !fwd_path_view(&a.t, 2, &w)); /* free */
	T(!fwd_peer_view(&a.t, N_PEERS, &v) && !fwd_path_view(&a.t, PS_NO_SLOT, &w));
}

/* A writer changes two fields together; a reader never sees one without the other. */
enum { WRITES = 2000000 };
static bool writing;

static void *writer(void *arg)
{
	for (uint32_t i = 0; i < WRITES; i++) {
		struct endpoint e = {.ip = ipaddr_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i),
				     .port = (uint16_t)i};

		fwd_peer_set_path(arg, 1, &e, &e, 0, i & 0xffff);
	}
	__atomic_store_n(&writing, false, __ATOMIC_RELEASE);
	return NULL;
}

static void test_views_are_of_one_moment(void)
{
	uint32_t ia, ib, torn = 0, seen = 0;
	pthread_t t;

	pair(&ia, &ib);
	fwd_peer_set_path(&a.t, 1, &(struct endpoint){.ip = {.family = 4}},
			  &(struct endpoint){.ip = {.family = 4}}, 0, 0);
	writing = true;
	T_EQ(pthread_create(&t, NULL, writer, &a.t), 0);
	while (__atomic_load_n(&writing, __ATOMIC_ACQUIRE)) {
		struct ps_path_view w;
		uint16_t port;

		if (!fwd_path_view(&a.t, 1, &w))
			continue;
		seen++;
		port = ps_host16(w.remote_port);
		torn += w.local_port != w.remote_port || w.ifindex != port ||
			(w.ifindex &&
			 (w.local[3] != (uint8_t)port || w.remote[3] != (uint8_t)port));
	}
	pthread_join(t, NULL);
	t_note("%u views", seen);
	T_EQ(torn, 0);
}

/* A packet under the next of the reserved counters arrives. */
static void expect_passes(struct fwd_counters *c, uint32_t idx)
{
	uint8_t pkt[20] = {7}, msg[64];
	struct fwd_tx tx = {.inner = pkt, .inner_len = sizeof(pkt), .out = msg};
	struct fwd_opened o;

	fwd_seal_next(c, &tx);
	fwd_seal_batch(&a.t, &tx, 1);
	T_EQ(fwd_open(&b.t, msg, sizeof(pkt) + FWD_DATA_OVERHEAD, &o, NOW), PS_R_URX_DELIVERED);
	T_MEM(o.inner, pkt, sizeof(pkt));
	T(o.idx == idx && o.slot == fwd_slot(&b.t, idx));
}

static void test_seal_on_slot(void)
{
	struct fwd_counters c, d;
	uint32_t ia, ib, slot;

	pair(&ia, &ib);
	slot = fwd_slot(&a.t, ia);
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 1, &c, NOW), PS_R_UTX_NO_SESSION); /* unconfirmed */
	fwd_session_confirm(&a.t, ia);
	T_EQ(fwd_seal_reserve(&a.t, 1, PS_NO_SLOT, 1, &c, NOW), PS_R_UTX_NO_SESSION);
	T_EQ(fwd_seal_reserve(&a.t, 1, N_SESSIONS, 1, &c, NOW), PS_R_UTX_NO_SESSION);
	T_EQ(fwd_seal_reserve(&a.t, 1, slot ^ 1, 1, &c, NOW), PS_R_UTX_NO_SESSION);
	T_EQ(fwd_seal_reserve(&a.t, 2, slot, 1, &c, NOW), PS_R_UTX_NO_SESSION); /* another's */
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 1, &c, NOW + 170 * NS_PER_SEC), PS_R_UTX_NO_SESSION);
	T_EQ(a.session[slot].tx_counter, 0);
	/* two threads: none has another's counters, and the later may be the first to send */
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 3, &c, NOW), PS_R_UTX_SENT);
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 2, &d, NOW + 1), PS_R_UTX_SENT);
	T_EQ(c.next, 0);
	T_EQ(d.next, 3);
	T_EQ(a.session[slot].tx_counter, 5);
	T_EQ(a.session[slot].tx_user_packets, 0);
	expect_passes(&d, ib);
	for (int i = 0; i < 3; i++)
		expect_passes(&c, ib);
	T_EQ(c.next, 3);
	T_EQ(a.session[slot].tx_user_packets, 4);
	T_EQ(a.session[slot].tx_user_bytes, 80);
	T_EQ(a.session[slot].last_tx_ns, NOW + 1);
	a.session[slot].tx_counter = PS_REPLAY_LIMIT - 1;
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 2, &c, NOW), PS_R_UTX_NO_SESSION);
	a.session[slot].tx_counter = PS_REPLAY_LIMIT - 1;
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 1, &c, NOW), PS_R_UTX_SENT);
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 1, &c, NOW), PS_R_UTX_NO_SESSION);
	fwd_index_free(&a.t, ia);
	T_EQ(fwd_seal_reserve(&a.t, 1, slot, 1, &c, NOW), PS_R_UTX_NO_SESSION);
}

/* What was sealed together is counted for the session whose it is. */
static void test_sealed_is_counted(void)
{
	uint8_t pkt[20] = {7}, msg[2][64];
	struct fwd_tx tx[2];
	uint32_t ia, ib;

	pair(&ia, &ib);
	for (int i = 0; i < 2; i++)
		tx[i] = (struct fwd_tx){.inner = pkt, .inner_len = (size_t)(10 + i), .out = msg[i]};
	T_EQ(fwd_seal_begin(&a.t, 1, &tx[0], NOW), PS_R_UTX_SENT);
	T_EQ(fwd_seal_begin(&a.t, 1, &tx[1], NOW), PS_R_UTX_SENT);
	fwd_seal_batch(&a.t, tx, 2);
	T_EQ(fwd_session(&a.t, ia)->tx_user_packets, 2);
	T_EQ(fwd_session(&a.t, ia)->tx_user_bytes, 21);
	fwd_seal_batch(&a.t, tx, 0);
	T_EQ(fwd_session(&a.t, ia)->tx_user_packets, 2);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_sizes);
	T_RUN(test_index_lifecycle);
	T_RUN(test_slots_rest);
	T_RUN(test_round_trip);
	T_RUN(test_batches);
	T_RUN(test_refusals);
	T_RUN(test_send_conditions);
	T_RUN(test_peer_slots);
	T_RUN(test_quiesce_of_session);
	T_RUN(test_quiesce_of_peer);
	T_RUN(test_views);
	T_RUN(test_views_are_of_one_moment);
	T_RUN(test_seal_on_slot);
	T_RUN(test_sealed_is_counted);
	return t_done();
}
