/* SPDX-License-Identifier: Apache-2.0
 * Slots, indices and peers of the forwarding table; see fwd_table.h. The packet work is in
 * fwd_data.c. */
#include "fwd/fwd_table.h"

#include <errno.h>
#include <string.h>

#include "crypto/crypto.h"
#include "plan/egress.h"
#include "plan/ingress.h"

/* Readers, in the kernel and in other threads, take a peer between two equal, even values of seq.
 */
static void peer_write_begin(struct ps_peer *p)
{
	__atomic_store_n(&p->seq, p->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void peer_write_end(struct ps_peer *p)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&p->seq, p->seq + 1, __ATOMIC_RELEASE);
}

int fwd_init(struct fwd_table *t, const struct fwd_mem *mem, const uint8_t seed[32])
{
	uint32_t n = mem->n_sessions;

	if (n < 2 || n > 1u << 20 || (n & (n - 1)) || !mem->n_peers || mem->n_peers > 1u << 20)
		return -EINVAL;
	*t = (struct fwd_table){.mem = *mem};
	rng_init(&t->rng, seed);
	crypto_wipe(mem->keys, n * sizeof(*mem->keys));
	memset(mem->session, 0, n * sizeof(*mem->session));
	memset(mem->peer, 0, mem->n_peers * sizeof(*mem->peer));
	for (uint32_t i = 0; i < n; i++)
		mem->session_free[i] = i;
	t->n_session_free = n;
	return 0;
}

void fwd_quiesce(const struct fwd_table *t)
{
	if (t->quiesce)
		t->quiesce(t->quiesce_arg);
}

void fwd_fini(struct fwd_table *t)
{
	for (uint32_t i = 0; i < t->mem.n_peers; i++)
		PS_WRITE_ONCE(t->mem.peer[i].flags, 0);
	for (uint32_t i = 0; i < t->mem.n_sessions; i++) {
		PS_WRITE_ONCE(t->mem.session[i].flags, 0);
		PS_WRITE_ONCE(t->mem.session[i].local_idx, 0);
	}
	crypto_wipe(t->mem.keys, t->mem.n_sessions * sizeof(*t->mem.keys));
	rng_wipe(&t->rng);
}

uint32_t fwd_slot(const struct fwd_table *t, uint32_t idx)
{
	return idx & (t->mem.n_sessions - 1);
}

uint32_t fwd_index_alloc(struct fwd_table *t)
{
	uint32_t slot, idx;

	if (!t->n_session_free) {
		t->session_full++;
		return 0;
	}
	slot = t->mem.session_free[t->free_head];
	t->free_head = (t->free_head + 1) & (t->mem.n_sessions - 1);
	t->n_session_free--;
	do {
		idx = (rng_u32(&t->rng) & ~(t->mem.n_sessions - 1)) | slot;
	} while (!idx);
	PS_WRITE_ONCE(t->mem.session[slot].local_idx, idx);
	return idx;
}

void fwd_index_free(struct fwd_table *t, uint32_t idx)
{
	uint32_t slot = fwd_slot(t, idx);
	struct ps_session *s = &t->mem.session[slot];
	struct ps_peer *p;
	bool visible;

	if (!idx || s->local_idx != idx)
		return;
	visible = s->flags & PS_SESS_USED;
	p = visible ? fwd_peer(t, s->peer) : NULL;
	if (p && p->tx_slot == slot)
		fwd_peer_set_tx(t, s->peer, 0);
	__atomic_store_n(&s->flags, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->local_idx, 0, __ATOMIC_SEQ_CST);
	if (visible)
		fwd_quiesce(t);
	crypto_wipe(&t->mem.keys[slot], sizeof(t->mem.keys[slot]));
	t->mem.session_free[(t->free_head + t->n_session_free++) & (t->mem.n_sessions - 1)] = slot;
}

void fwd_session_install(struct fwd_table *t, const struct fwd_session_new *n, uint64_t now)
{
	uint32_t slot = fwd_slot(t, n->local_idx);
	struct ps_session *s = &t->mem.session[slot];

	if (s->local_idx != n->local_idx || (s->flags & PS_SESS_USED))
		return;
	memset(&t->mem.replay[slot], 0, sizeof(t->mem.replay[slot]));
	t->mem.keys[slot] = *n->keys;
	*s = (struct ps_session){
		.local_idx = n->local_idx,
		.remote_idx = n->remote_idx,
		.peer = n->peer,
		.born_ns = now,
		.rx_until_ns = n->rx_until_ns,
		.tx_until_ns = n->tx_until_ns,
	};
	__atomic_store_n(&s->flags, PS_SESS_USED | (n->initiator ? PS_SESS_INITIATOR : 0u),
			 __ATOMIC_SEQ_CST);
}

void fwd_session_confirm(struct fwd_table *t, uint32_t idx)
{
	struct ps_session *s = fwd_session(t, idx);

	if (s)
		__atomic_fetch_or(&s->flags, PS_SESS_CONFIRMED, __ATOMIC_SEQ_CST);
}

struct ps_session *fwd_session(const struct fwd_table *t, uint32_t idx)
{
	struct ps_session *s = &t->mem.session[fwd_slot(t, idx)];

	if (!idx || PS_READ_ONCE(s->local_idx) != idx)
		return NULL;
	return __atomic_load_n(&s->flags, __ATOMIC_ACQUIRE) & PS_SESS_USED ? s : NULL;
}

void fwd_session_sum(struct ps_session *sum, const struct ps_session *s)
{
	sum->rx_kernel_packets += s->rx_kernel_packets;
	sum->rx_kernel_bytes += s->rx_kernel_bytes;
	sum->tx_kernel_packets += s->tx_kernel_packets;
	sum->tx_kernel_bytes += s->tx_kernel_bytes;
	sum->rx_user_packets += s->rx_user_packets;
	sum->rx_user_bytes += s->rx_user_bytes;
	sum->tx_user_packets += s->tx_user_packets;
	sum->tx_user_bytes += s->tx_user_bytes;
}

int fwd_peer_use(struct fwd_table *t, uint32_t slot)
{
	struct ps_peer *p;

	if (slot >= t->mem.n_peers)
		return -EINVAL;
	p = &t->mem.peer[slot];
	if (p->flags & PS_PEER_USED)
		return -EEXIST;
	peer_write_begin(p);
	p->generation++;
	p->flags = PS_PEER_USED;
	p->tx_slot = PS_NO_SLOT;
	p->mtu = FWD_MTU_BASE;
	peer_write_end(p);
	return 0;
}

void fwd_peer_free(struct fwd_table *t, uint32_t slot)
{
	struct ps_peer *p = fwd_peer(t, slot);
	uint32_t generation, seq;

	if (!p)
		return;
	peer_write_begin(p);
	generation = p->generation + 1;
	seq = p->seq;
	*p = (struct ps_peer){.seq = seq, .generation = generation, .tx_slot = PS_NO_SLOT};
	peer_write_end(p);
	fwd_quiesce(t);
}

struct ps_peer *fwd_peer(const struct fwd_table *t, uint32_t slot)
{
	struct ps_peer *p = slot < t->mem.n_peers ? &t->mem.peer[slot] : NULL;

	return p && (PS_READ_ONCE(p->flags) & PS_PEER_USED) ? p : NULL;
}

void fwd_peer_set_tunnel(struct fwd_table *t, uint32_t slot, const struct ipaddr *v4,
			 const struct ipaddr *v6, bool check_source)
{
	struct ps_peer *p = fwd_peer(t, slot);

	if (!p)
		return;
	peer_write_begin(p);
	memcpy(p->tun4, v4->b, sizeof(p->tun4));
	memcpy(p->tun6, v6->b, sizeof(p->tun6));
	p->flags = (p->flags & ~(uint32_t)PS_PEER_CHECK_SOURCE) |
		   (check_source ? PS_PEER_CHECK_SOURCE : 0u);
	peer_write_end(p);
	fwd_quiesce(t);
}

void fwd_peer_set_tx(struct fwd_table *t, uint32_t slot, uint32_t idx)
{
	struct ps_peer *p = fwd_peer(t, slot);
	struct ps_session *s = fwd_session(t, idx);

	if (!p)
		return;
	peer_write_begin(p);
	p->tx_slot = s && s->peer == slot ? fwd_slot(t, idx) : PS_NO_SLOT;
	peer_write_end(p);
}

void fwd_peer_set_path(struct fwd_table *t, uint32_t slot, const struct endpoint *local,
		       const struct endpoint *remote, uint16_t channel, uint32_t wan_ifindex)
{
	static const struct endpoint none;
	struct ps_peer *p = fwd_peer(t, slot);
	bool gone = !local || !remote;

	if (!p)
		return;
	if (gone) {
		local = remote = &none;
		wan_ifindex = channel = 0;
		gone = p->path_family;
	}
	peer_write_begin(p);
	p->path_ifindex = wan_ifindex;
	p->path_family = remote->ip.family;
	p->path_channel = ps_be16(channel);
	memcpy(p->path_local, local->ip.b, sizeof(p->path_local));
	memcpy(p->path_remote, remote->ip.b, sizeof(p->path_remote));
	p->path_local_port = ps_be16(local->port);
	p->path_remote_port = ps_be16(remote->port);
	peer_write_end(p);
	if (gone)
		fwd_quiesce(t);
}

void fwd_peer_set_mtu(struct fwd_table *t, uint32_t slot, uint16_t mtu)
{
	struct ps_peer *p = fwd_peer(t, slot);

	if (!p || mtu > PS_INNER_MAX)
		return;
	peer_write_begin(p);
	p->mtu = mtu;
	peer_write_end(p);
}

void fwd_peer_set_kernel(struct fwd_table *t, uint32_t slot, bool kernel)
{
	struct ps_peer *p = fwd_peer(t, slot);

	if (!p)
		return;
	peer_write_begin(p);
	p->flags = (p->flags & ~(uint32_t)PS_PEER_KERNEL) | (kernel ? PS_PEER_KERNEL : 0u);
	peer_write_end(p);
}

void fwd_peer_revoke(struct fwd_table *t, uint32_t slot)
{
	struct ps_peer *p = fwd_peer(t, slot);

	if (!p)
		return;
	peer_write_begin(p);
	p->generation++;
	peer_write_end(p);
	fwd_quiesce(t);
}

/* ---- reading ---- */

/* NULL: being written, or no such slot. Else *seq is what peer_read_end takes. */
static const struct ps_peer *peer_read_begin(const struct fwd_table *t, uint32_t slot,
					     uint32_t *seq)
{
	const struct ps_peer *p = slot < t->mem.n_peers ? &t->mem.peer[slot] : NULL;

	if (!p)
		return NULL;
	*seq = __atomic_load_n(&p->seq, __ATOMIC_ACQUIRE);
	return *seq & 1 ? NULL : p;
}

static bool peer_read_end(const struct ps_peer *p, uint32_t seq)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&p->seq, __ATOMIC_RELAXED) == seq;
}

bool fwd_peer_view(const struct fwd_table *t, uint32_t slot, struct ps_peer_view *v)
{
	uint32_t seq;
	const struct ps_peer *p = peer_read_begin(t, slot, &seq);

	if (!p)
		return false;
	v->flags = PS_READ_ONCE(p->flags);
	v->generation = PS_READ_ONCE(p->generation);
	ps_words_copy(v->tun4, p->tun4, sizeof(v->tun4));
	ps_words_copy(v->tun6, p->tun6, sizeof(v->tun6));
	return peer_read_end(p, seq) && (v->flags & PS_PEER_USED);
}

bool fwd_path_view(const struct fwd_table *t, uint32_t slot, struct ps_path_view *v)
{
	uint32_t seq;
	const struct ps_peer *p = peer_read_begin(t, slot, &seq);

	if (!p)
		return false;
	*v = (struct ps_path_view){
		.flags = PS_READ_ONCE(p->flags),
		.generation = PS_READ_ONCE(p->generation),
		.tx_slot = PS_READ_ONCE(p->tx_slot),
		.ifindex = PS_READ_ONCE(p->path_ifindex),
		.family = PS_READ_ONCE(p->path_family),
		.channel = PS_READ_ONCE(p->path_channel),
		.local_port = PS_READ_ONCE(p->path_local_port),
		.remote_port = PS_READ_ONCE(p->path_remote_port),
		.mtu = PS_READ_ONCE(p->mtu),
	};
	ps_words_copy(v->local, p->path_local, sizeof(v->local));
	ps_words_copy(v->remote, p->path_remote, sizeof(v->remote));
	return peer_read_end(p, seq) && (v->flags & PS_PEER_USED);
}
