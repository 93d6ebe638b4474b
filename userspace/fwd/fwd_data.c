/* SPDX-License-Identifier: Apache-2.0
 * The user-space executor's packet work: one WireGuard data message opened or sealed against the
 * table (WireGuard paper §5.4.6). Policy is asked by the caller, after opening and before sealing.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/time.h"
#include "crypto/crypto.h"
#include "fwd/fwd_table.h"

#define MSG_DATA 4u

static void add(__u64 *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

enum ps_reason_id fwd_open(struct fwd_table *t, uint8_t *msg, size_t len, struct fwd_opened *out,
			   uint64_t now)
{
	struct ps_session *s;
	struct ps_replay *r;
	uint64_t counter;
	uint32_t slot;
	size_t inner_len;

	if (len < FWD_DATA_OVERHEAD || le32_get(msg) != MSG_DATA)
		return PS_R_URX_MALFORMED;
	s = fwd_session(t, le32_get(msg + 4));
	if (!s)
		return PS_R_URX_NO_SESSION;
	if (time_reached(s->rx_until_ns, now))
		return PS_R_URX_EXPIRED;
	slot = fwd_slot(t, s->local_idx);
	counter = le64_get(msg + 8);
	r = &t->mem.replay[slot];
	if (!ps_replay_check(r, counter))
		return PS_R_URX_REPLAY;
	inner_len = len - FWD_DATA_OVERHEAD;
	if (aead_open(msg + FWD_DATA_HEADER, t->mem.keys[slot].recv, counter, NULL, 0,
		      msg + FWD_DATA_HEADER, inner_len + AEAD_TAG))
		return PS_R_URX_BAD_TAG;
	if (!ps_replay_commit(r, counter))
		return PS_R_URX_REPLAY;
	*out = (struct fwd_opened){
		.slot = slot,
		.peer = s->peer,
		.inner = msg + FWD_DATA_HEADER,
		.inner_len = inner_len,
		.confirms = !(s->flags & PS_SESS_CONFIRMED),
	};
	add(&s->rx_user_packets, 1);
	add(&s->rx_user_bytes, inner_len);
	if (inner_len)
		PS_WRITE_ONCE(s->last_rx_ns, now);
	return PS_R_URX_DELIVERED;
}

enum ps_reason_id fwd_seal(struct fwd_table *t, uint32_t peer, const uint8_t *inner,
			   size_t inner_len, uint8_t *out, size_t *out_len, uint64_t now)
{
	struct ps_peer *p = fwd_peer(t, peer);
	struct ps_session *s;
	uint64_t counter;

	*out_len = 0;
	if (!p || p->tx_slot == PS_NO_SLOT)
		return PS_R_UTX_NO_SESSION;
	s = &t->mem.session[p->tx_slot];
	if (!(s->flags & PS_SESS_USED) || time_reached(s->tx_until_ns, now))
		return PS_R_UTX_NO_SESSION;
	counter = __atomic_fetch_add(&s->tx_counter, 1, __ATOMIC_RELAXED);
	if (counter >= PS_REPLAY_LIMIT)
		return PS_R_UTX_NO_SESSION;
	le32_put(out, MSG_DATA);
	le32_put(out + 4, s->remote_idx);
	le64_put(out + 8, counter);
	aead_seal(out + FWD_DATA_HEADER, t->mem.keys[p->tx_slot].send, counter, NULL, 0, inner,
		  inner_len);
	*out_len = inner_len + FWD_DATA_OVERHEAD;
	add(&s->tx_user_packets, 1);
	add(&s->tx_user_bytes, inner_len);
	if (inner_len)
		PS_WRITE_ONCE(s->last_tx_ns, now);
	return PS_R_UTX_SENT;
}
