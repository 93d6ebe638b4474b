/* SPDX-License-Identifier: Apache-2.0
 *
 * See wg_peer.h: life of a connection and its handshake messages. Time and the data path's reports
 * are in wg_peer_time.c, sessions in wg_peer_session.c.
 *
 * Our initiation (struct wg_attempt) and our answer to theirs (struct wg_answer) are separate, so
 * crossing initiations do not destroy each other. Every rx function judges first, into locals, and
 * changes the peer in the block after the last return of a refusal. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "core/wg/wg_peer_priv.h"
#include "crypto/crypto.h"

/* Two initiations of a peer closer than this are a flood: 50 a second. */
#define INITIATION_GAP_NS (20 * NS_PER_MS)

int wg_peer_init(struct wg_peer *p, const struct wg_local *l, const struct wg_peer_cfg *cfg,
		 const uint8_t seed[32], uint64_t now)
{
	memset(p, 0, sizeof(*p));
	if (noise_remote_init(&p->remote, &l->key, cfg->remote_pub, cfg->psk) != 0)
		return -EINVAL;
	p->cfg = *cfg;
	crypto_wipe(p->cfg.psk, sizeof(p->cfg.psk)); /* one copy, in remote */
	cookie_jar_init(&p->jar, cfg->remote_pub);
	rng_init(&p->rng, seed);
	p->last_session_ns = now;
	p->unanswered_recv_ns = TIME_NEVER;
	p->unanswered_sent_ns = TIME_NEVER;
	return 0;
}

void wg_peer_fini(struct wg_peer *p)
{
	crypto_wipe(p, sizeof(*p));
}

void wg_peer_reset(struct wg_peer *p, uint64_t now)
{
	for (int i = 0; i < WG_SLOTS; i++)
		wg_session_kill(p, (enum wg_slot)i, now);
	wg_attempt_cancel(p, now);
	crypto_wipe(&p->answer, sizeof(p->answer));
	p->unanswered_recv_ns = TIME_NEVER;
	p->unanswered_sent_ns = TIME_NEVER;
}

/* ---- indices ---- */

bool wg_peer_wants_index(const struct wg_peer *p)
{
	return !p->has_spare;
}

int wg_peer_give_index(struct wg_peer *p, uint32_t idx)
{
	if (p->has_spare)
		return -EEXIST;
	p->spare_idx = idx;
	p->has_spare = true;
	return 0;
}

/* ---- our initiation ---- */

void wg_attempt_set_state(struct wg_attempt *a, enum wg_hs_state to)
{
	switch (to) {
	case WG_HS_NONE:
		break;
	case WG_HS_WANTED:
		assert(a->state == WG_HS_NONE || a->state == WG_HS_WAITING);
		break;
	case WG_HS_WAITING:
		assert(a->state == WG_HS_WANTED && a->has_idx && a->sent);
		break;
	}
	a->state = to;
}

void wg_attempt_start(struct wg_peer *p, uint64_t due, uint64_t now)
{
	struct wg_attempt *a = &p->attempt;

	if (a->state != WG_HS_NONE)
		return;
	wg_attempt_set_state(a, WG_HS_WANTED);
	a->began_ns = now;
	a->due_ns = due;
}

void wg_attempt_cancel(struct wg_peer *p, uint64_t now)
{
	struct wg_attempt *a = &p->attempt;

	if (a->has_idx)
		wg_ev_push(p, WG_EV_INDEX_RELEASED, a->local_idx, now);
	wg_attempt_set_state(a, WG_HS_NONE);
	crypto_wipe(a, sizeof(*a));
}

void wg_peer_initiate(struct wg_peer *p, uint64_t now)
{
	if (p->cfg.may_initiate)
		wg_attempt_start(p, now, now);
}

bool wg_peer_wants_send(struct wg_peer *p, uint64_t now)
{
	const struct wg_session *s = &p->slot[WG_SLOT_CURRENT];
	const struct wg_age age = wg_session_age(s);

	if (s->used && !s->stopped && wg_may_send(&p->cfg.times, &age, now))
		return true;
	if (p->attempt.state != WG_HS_NONE)
		return true;
	if (!p->cfg.may_initiate && !p->had_session)
		return false;
	wg_attempt_start(p, now, now);
	return true;
}

/* ---- in ---- */

enum wg_rx wg_peer_rx_initiation(struct wg_peer *p, const struct noise_opened *in, uint64_t now)
{
	struct noise_sym after;
	uint8_t stamp[WG_STAMP_LEN];
	enum wg_rx verdict = WG_RX_OK;

	if (!crypto_equal(in->remote_static, p->remote.pub, 32))
		return WG_RX_WRONG_PEER;
	if (noise_initiation_verify(in, &p->remote, &after, stamp) != 0)
		return WG_RX_BAD_AUTH;
	if (memcmp(stamp, p->last_stamp, sizeof(stamp)) <= 0)
		verdict = WG_RX_REPLAY;
	else if (p->has_initiated_us && time_since(p->last_initiation_ns, now) < INITIATION_GAP_NS)
		verdict = WG_RX_FLOOD;
	if (verdict != WG_RX_OK)
		goto out;

	memcpy(p->last_stamp, stamp, sizeof(stamp));
	p->last_initiation_ns = now;
	p->has_initiated_us = true;
	p->answer.due = true;
	p->answer.due_ns = now;
	p->answer.remote_idx = in->remote_index;
	p->answer.sym = after;
	memcpy(p->answer.remote_ephemeral, in->remote_ephemeral, 32);
out:
	crypto_wipe(&after, sizeof(after));
	return verdict;
}

enum wg_rx wg_peer_rx_response(struct wg_peer *p, const struct wg_local *l, const void *msg,
			       size_t len, uint64_t now)
{
	const struct wg_attempt *a = &p->attempt;
	struct wg_msg_response m;
	struct noise_keys keys;
	uint32_t local_idx;
	uint64_t rtt_ns;

	if (len != sizeof(m) || wg_msg_classify(msg, sizeof(m)) != WG_MSG_RESPONSE)
		return WG_RX_NOT_HANDSHAKE;
	if (!wg_ev_has_room(p))
		return WG_RX_BUSY;
	memcpy(&m, msg, sizeof(m));
	if (!a->sent || wg_get_le32(&m.receiver_le) != a->local_idx)
		return WG_RX_UNEXPECTED;
	if (noise_response_read(&m, &a->noise, &l->key, &p->remote, &keys) != 0)
		return WG_RX_BAD_AUTH;

	local_idx = a->local_idx;
	rtt_ns = time_since(a->sent_ns, now);
	p->attempt.has_idx = false; /* the session has it now */
	wg_attempt_cancel(p, now);
	wg_session_add_current(p, local_idx, wg_get_le32(&m.sender_le), &keys, rtt_ns, now);
	crypto_wipe(&keys, sizeof(keys));
	return WG_RX_OK;
}

enum wg_rx wg_peer_rx_cookie(struct wg_peer *p, const void *msg, size_t len, uint64_t now)
{
	struct wg_msg_cookie m;

	if (len != sizeof(m) || wg_msg_classify(msg, sizeof(m)) != WG_MSG_COOKIE)
		return WG_RX_NOT_HANDSHAKE;
	memcpy(&m, msg, sizeof(m));
	switch (cookie_reply_read(&p->jar, &m, now)) {
	case 0:
		return WG_RX_OK; /* it will show in the next retry, not in a message of its own */
	case -ENOENT:
		return WG_RX_UNEXPECTED;
	default:
		return WG_RX_BAD_AUTH;
	}
}

/* ---- out ---- */

static bool tx_answer(struct wg_peer *p, struct wg_tx *out, uint64_t now)
{
	struct wg_msg_response m;
	struct noise_keys keys;
	int rc;

	rc = noise_response_write(&m, &keys, &p->answer.sym, p->answer.remote_ephemeral,
				  p->answer.remote_idx, &p->remote, p->spare_idx, &p->rng);
	if (rc == 0) {
		cookie_stamp(&p->jar, &m, sizeof(m), p->cfg.times.cookie_ns, now);
		memcpy(out->buf, &m, sizeof(m));
		out->len = sizeof(m);
		wg_session_add_next(p, p->spare_idx, p->answer.remote_idx, &keys, now);
		p->has_spare = false;
		crypto_wipe(&keys, sizeof(keys));
	}
	crypto_wipe(&p->answer, sizeof(p->answer));
	return rc == 0;
}

static bool tx_initiation(struct wg_peer *p, struct wg_local *l, struct wg_tx *out, uint64_t now)
{
	const struct wg_times *t = &p->cfg.times;
	struct wg_attempt *a = &p->attempt;
	struct wg_msg_initiation m;
	uint8_t stamp[WG_STAMP_LEN];

	if (!a->has_idx) {
		a->local_idx = p->spare_idx;
		a->has_idx = true;
		p->has_spare = false;
	}
	wg_local_stamp(l, stamp, now);
	if (noise_initiation_write(&m, &a->noise, &l->key, &p->remote, a->local_idx, stamp,
				   &p->rng) != 0) {
		/* Cannot happen: wg_peer_init refuses such keys. */
		wg_attempt_cancel(p, now);
		return false;
	}
	cookie_stamp(&p->jar, &m, sizeof(m), t->cookie_ns, now);
	memcpy(out->buf, &m, sizeof(m));
	out->len = sizeof(m);
	a->sent = true;
	a->sent_ns = now;
	a->due_ns = time_add(now, t->retry_ns + rng_below(&p->rng, t->jitter_ns + 1));
	wg_attempt_set_state(a, WG_HS_WAITING);
	return true;
}

bool wg_peer_poll_tx(struct wg_peer *p, struct wg_local *l, struct wg_tx *out, uint64_t now)
{
	const struct wg_attempt *a = &p->attempt;

	if (!wg_ev_has_room(p))
		return false;
	if (p->answer.due && p->has_spare && tx_answer(p, out, now))
		return true;
	if (a->state == WG_HS_WANTED && time_reached(a->due_ns, now) &&
	    (a->has_idx || p->has_spare))
		return tx_initiation(p, l, out, now);
	return false;
}
