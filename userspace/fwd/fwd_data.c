/* SPDX-License-Identifier: Apache-2.0
 * The user-space executor's packet work: WireGuard data messages opened or sealed against the table
 * (WireGuard paper §5.4.6), one or many at once. Policy is asked by the caller, after opening and
 * before sealing. */
#include <string.h>

#include "base/bytes.h"
#include "base/time.h"
#include "crypto/aead_batch.h"
#include "crypto/crypto.h"
#include "fwd/fwd_table.h"
#include "plan/egress.h"

#define MSG_DATA 4u

static void add(__u64 *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* Before the cipher: the session it is for, and whether it may still be new. */
static enum ps_reason_id open_begin(const struct fwd_table *t, const struct fwd_rx *rx,
				    uint32_t *slot, uint64_t now)
{
	const struct ps_session *s;

	if (rx->len < FWD_DATA_OVERHEAD || le32_get(rx->msg) != MSG_DATA)
		return PS_R_URX_MALFORMED;
	s = fwd_session(t, le32_get(rx->msg + 4));
	/* From here on it may end any time: only the message says which one was found. */
	if (!s)
		return PS_R_URX_NO_SESSION;
	if (time_reached(s->rx_until_ns, now))
		return PS_R_URX_EXPIRED;
	*slot = fwd_slot(t, le32_get(rx->msg + 4));
	if (!ps_replay_check(&t->mem.replay[*slot], le64_get(rx->msg + 8)))
		return PS_R_URX_REPLAY;
	return PS_R_URX_DELIVERED;
}

/* Packets of one session that follow each other, until they are added to its counters. */
struct opened_run {
	struct ps_session *s;
	uint64_t packets, bytes;
};

static void run_add(struct opened_run *r, uint64_t now)
{
	if (!r->packets)
		return;
	add(&r->s->rx_user_packets, r->packets);
	add(&r->s->rx_user_bytes, r->bytes);
	if (r->bytes)
		PS_WRITE_ONCE(r->s->last_rx_ns, now);
	r->packets = r->bytes = 0;
}

/* It is new, and this is what is known of it. */
static void open_known(const struct fwd_table *t, struct fwd_rx *rx, uint32_t slot)
{
	const struct ps_session *s = &t->mem.session[slot];

	rx->o = (struct fwd_opened){
		.slot = slot,
		.idx = le32_get(rx->msg + 4),
		.peer = s->peer,
		.inner = rx->msg + FWD_DATA_HEADER,
		.inner_len = rx->len - FWD_DATA_OVERHEAD,
		.confirms = !(PS_READ_ONCE(s->flags) & PS_SESS_CONFIRMED),
	};
}

static void run_take(struct opened_run *run, struct ps_session *s, size_t bytes, uint64_t now)
{
	if (run->s != s)
		run_add(run, now);
	run->s = s;
	run->packets++;
	run->bytes += bytes;
}

/* Datagrams whose tags were right, of one session and one block of counters, each counter once:
 * they are committed together. */
struct opened_block {
	uint64_t block;
	uint32_t slot, bits;
	uint32_t n;
	uint8_t at[PS_REPLAY_BITS]; /* which of the batch */
};

_Static_assert(FWD_BATCH <= 256, "fits opened_block.at");

static void block_commit(struct fwd_table *t, struct fwd_rx *rx, struct opened_block *b,
			 struct opened_run *run, uint64_t now)
{
	uint32_t fresh = 0;

	if (b->n)
		fresh = ps_replay_commit_block(&t->mem.replay[b->slot], b->block, b->bits);
	for (uint32_t i = 0; i < b->n; i++) {
		struct fwd_rx *one = &rx[b->at[i]];

		if (fresh >> (le64_get(one->msg + 8) % PS_REPLAY_BITS) & 1) {
			open_known(t, one, b->slot);
			run_take(run, &t->mem.session[b->slot], one->o.inner_len, now);
		} else {
			one->reason = PS_R_URX_REPLAY;
		}
	}
	b->n = b->bits = 0;
}

/* The i-th was opened. */
static void block_take(struct fwd_table *t, struct fwd_rx *rx, size_t i, uint32_t slot,
		       struct opened_block *b, struct opened_run *run, uint64_t now)
{
	uint64_t counter = le64_get(rx[i].msg + 8);
	uint32_t bit = 1u << (counter % PS_REPLAY_BITS);

	if (slot != b->slot || counter / PS_REPLAY_BITS != b->block || b->bits & bit)
		block_commit(t, rx, b, run, now);
	b->slot = slot;
	b->block = counter / PS_REPLAY_BITS;
	b->bits |= bit;
	b->at[b->n++] = (uint8_t)i;
}

/* Those that were tried, in their order. */
static void open_commit(struct fwd_table *t, struct fwd_rx *rx, size_t n, const uint32_t *slot,
			const struct aead_job *job, uint64_t now)
{
	struct opened_block block = {0};
	struct opened_run run = {0};

	for (size_t i = 0; i < n; i++) {
		if (rx[i].reason != PS_R_URX_DELIVERED)
			continue;
		if (job++->ok)
			block_take(t, rx, i, slot[i], &block, &run, now);
		else
			rx[i].reason = PS_R_URX_BAD_TAG;
	}
	block_commit(t, rx, &block, &run, now);
	run_add(&run, now);
}

void fwd_open_batch(struct fwd_table *t, struct fwd_rx *rx, size_t n, uint64_t now)
{
	struct aead_job job[FWD_BATCH];
	uint32_t slot[FWD_BATCH];
	size_t n_jobs = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t *text = rx[i].msg + FWD_DATA_HEADER;

		rx[i].reason = open_begin(t, &rx[i], &slot[i], now);
		if (rx[i].reason == PS_R_URX_DELIVERED)
			job[n_jobs++] = (struct aead_job){
				.key = t->mem.keys[slot[i]].recv,
				.counter = le64_get(rx[i].msg + 8),
				.in = text,
				.out = text,
				.len = (uint32_t)(rx[i].len - FWD_DATA_OVERHEAD),
			};
	}
	aead_open_batch(job, n_jobs);
	open_commit(t, rx, n, slot, job, now);
}

enum ps_reason_id fwd_open(struct fwd_table *t, uint8_t *msg, size_t len, struct fwd_opened *out,
			   uint64_t now)
{
	struct fwd_rx rx = {.msg = msg, .len = len};

	fwd_open_batch(t, &rx, 1, now);
	if (rx.reason == PS_R_URX_DELIVERED)
		*out = rx.o;
	return rx.reason;
}

/* All that sending touches is fetched at once, not one after the other. */
static void fetch_tx(const struct fwd_table *t, uint32_t slot)
{
	__builtin_prefetch(&t->mem.session[slot].tx_user_packets, 1);
	__builtin_prefetch(&t->mem.keys[slot].send);
}

/* The session was looked at: take its next n counters. They are all that is written for a packet or
 * a super-packet: threads that send on one session take the line from each other. */
static enum ps_reason_id seal_take(struct ps_session *s, uint32_t slot, uint32_t n, bool data,
				   struct fwd_counters *c, uint64_t now)
{
	c->slot = slot;
	c->remote_idx = s->remote_idx;
	c->next = __atomic_fetch_add(&s->tx_counter, n, __ATOMIC_RELAXED);
	if (c->next >= PS_REPLAY_LIMIT || n > PS_REPLAY_LIMIT - c->next)
		return PS_R_UTX_NO_SESSION;
	if (data && PS_READ_ONCE(s->last_tx_ns) < now)
		PS_WRITE_ONCE(s->last_tx_ns, now);
	return PS_R_UTX_SENT;
}

void fwd_seal_next(struct fwd_counters *c, struct fwd_tx *tx)
{
	tx->slot = c->slot;
	tx->counter = c->next++;
	le32_put(tx->out, MSG_DATA);
	le32_put(tx->out + 4, c->remote_idx);
	le64_put(tx->out + 8, tx->counter);
}

enum ps_reason_id fwd_seal_begin(struct fwd_table *t, uint32_t peer, struct fwd_tx *tx,
				 uint64_t now)
{
	const struct ps_peer *p = fwd_peer(t, peer);
	enum ps_reason_id reason;
	struct fwd_counters c;
	struct ps_session *s;

	if (!p || p->tx_slot == PS_NO_SLOT)
		return PS_R_UTX_NO_SESSION;
	fetch_tx(t, p->tx_slot);
	s = &t->mem.session[p->tx_slot];
	if (!(s->flags & PS_SESS_USED) || time_reached(s->tx_until_ns, now))
		return PS_R_UTX_NO_SESSION;
	reason = seal_take(s, p->tx_slot, 1, tx->inner_len, &c, now);
	if (reason == PS_R_UTX_SENT)
		fwd_seal_next(&c, tx);
	return reason;
}

enum ps_reason_id fwd_seal_reserve(struct fwd_table *t, uint32_t peer, uint32_t tx_slot, uint32_t n,
				   struct fwd_counters *c, uint64_t now)
{
	struct ps_session *s = tx_slot < t->mem.n_sessions ? &t->mem.session[tx_slot] : NULL;

	if (s)
		fetch_tx(t, tx_slot);
	/* Flags before the rest: what they say is there is there then. */
	if (!s || !(__atomic_load_n(&s->flags, __ATOMIC_ACQUIRE) & PS_SESS_USED) ||
	    ps_tx_session(s, peer, now) != PS_GO_ON)
		return PS_R_UTX_NO_SESSION;
	return seal_take(s, tx_slot, n, true, c, now);
}

/* Packets of one session that follow each other, added to its counters. */
static void sealed(struct fwd_table *t, const struct fwd_tx *tx, size_t n)
{
	uint64_t packets = 0, bytes = 0;

	for (size_t i = 0; i < n; i++) {
		struct ps_session *s = &t->mem.session[tx[i].slot];

		packets++;
		bytes += tx[i].inner_len;
		if (i + 1 < n && tx[i + 1].slot == tx[i].slot)
			continue;
		add(&s->tx_user_packets, packets);
		add(&s->tx_user_bytes, bytes);
		packets = bytes = 0;
	}
}

void fwd_seal_batch(struct fwd_table *t, const struct fwd_tx *tx, size_t n)
{
	struct aead_job job[FWD_BATCH];

	for (size_t i = 0; i < n; i++)
		job[i] = (struct aead_job){
			.key = t->mem.keys[tx[i].slot].send,
			.counter = tx[i].counter,
			.in = tx[i].inner,
			.out = tx[i].out + FWD_DATA_HEADER,
			.len = (uint32_t)tx[i].inner_len,
		};
	aead_seal_batch(job, n);
	sealed(t, tx, n);
}

enum ps_reason_id fwd_seal(struct fwd_table *t, uint32_t peer, const uint8_t *inner,
			   size_t inner_len, uint8_t *out, size_t *out_len, uint64_t now)
{
	struct fwd_tx tx = {.inner = inner, .inner_len = inner_len, .out = out};
	enum ps_reason_id reason = fwd_seal_begin(t, peer, &tx, now);

	*out_len = 0;
	if (reason != PS_R_UTX_SENT)
		return reason;
	fwd_seal_batch(t, &tx, 1);
	*out_len = inner_len + FWD_DATA_OVERHEAD;
	return PS_R_UTX_SENT;
}
