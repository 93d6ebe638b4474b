/* SPDX-License-Identifier: Apache-2.0
 *
 * One WireGuard connection: handshakes, timers, and which sessions exist. Data packets are NOT
 * handled here: the forwarding table owns send counters, replay windows, keys and bulk AEAD; it
 * hears of sessions by event and tells this module when data came and went.
 *
 * Sessions. At most three: previous, current (the one to send on), next (we answered an initiation
 * and wait for proof that the answer arrived). As initiator a new session is current at once; as
 * responder when the first authenticated packet on it is reported.
 *
 * Indices. Our 32-bit session indices are the caller's: their low bits are its table slots. The
 * caller keeps one spare here (wg_peer_wants_index, wg_peer_give_index). An initiation or a
 * response uses it up. Every given index comes back exactly once: as WG_EV_INDEX_RELEASED (no
 * session came of it; it was never announced) or as WG_EV_SESSION_DEAD (it was announced by
 * WG_EV_SESSION). Until then it is ours and messages with it are to be handed in. After
 * wg_peer_fini all indices of the peer are the caller's again.
 *
 * Calling. After every call drain wg_peer_poll_event, then wg_peer_poll_tx, then events again
 * (building a response makes a session), give an index when wanted, and re-read wg_peer_deadline.
 * Events of a response must be applied before the response is sent: data may follow it at once. An
 * undrained peer refuses work (WG_RX_BUSY) instead of losing events.
 *
 * Differences from stock WireGuard: see wg_timers.h; no roaming, no persistent keepalive, no queue.
 */
#ifndef PENSTOCK_WG_PEER_H
#define PENSTOCK_WG_PEER_H
#include <stdbool.h>
#include <stdint.h>
#include "base/time.h"
#include "core/wg/cookie.h"
#include "core/wg/noise.h"
#include "core/wg/wg_local.h"
#include "core/wg/wg_timers.h"
#include "crypto/rng.h"

enum wg_ev_type {
	WG_EV_NONE,
	WG_EV_SESSION, /* a new session exists: install its keys; receive on it from now on */
	WG_EV_SESSION_CURRENT, /* send on local_idx from now on */
	WG_EV_SESSION_IDLE,    /* local_idx may no longer be sent on and there is no other: hold
				* packets and    wg_peer_wants_send */
	WG_EV_SESSION_DEAD,    /* wipe and free local_idx */
	WG_EV_INDEX_RELEASED,  /* local_idx is free; no session was made of it */
	WG_EV_KEEPALIVE, /* send something on local_idx now: a waiting packet, else an empty one */
	WG_EV_HANDSHAKE_DONE, /* a session became current by a new handshake */
	WG_EV_EXPIRED, /* the other side does not answer: give the connection up. All sessions were
			* reported dead before it; the peer may still be revived by initiations */
};

struct wg_event {
	enum wg_ev_type type;
	uint32_t local_idx;  /* all but EXPIRED and HANDSHAKE_DONE */
	uint32_t remote_idx; /* SESSION */
	bool initiator; /* SESSION: false = unconfirmed, do not send on it before SESSION_CURRENT */
	bool first;	/* HANDSHAKE_DONE: there was no session to send on before */
	uint64_t birth_ns; /* SESSION: when it began; nothing may be sent or accepted reject_after
			      later */
	uint64_t rtt_ns; /* HANDSHAKE_DONE: our message to its answer (responder: to first data) */
	struct noise_keys keys; /* SESSION: wipe after use */
};

struct wg_peer_cfg {
	uint8_t remote_pub[32];
	uint8_t psk[32];   /* zero: none */
	bool may_initiate; /* the ICE-controlling side. Else the only handshakes we start are those
			    * of a connection that had a session: after silence, or to send when it
			    * is over */
	bool rekey_idle;   /* initiator: renew an expiring session even when nobody sends */
	struct wg_times times;
};

enum wg_slot {
	WG_SLOT_PREVIOUS,
	WG_SLOT_CURRENT,
	WG_SLOT_NEXT,
	WG_SLOTS,
};

enum wg_hs_state {
	WG_HS_NONE,
	WG_HS_WANTED,  /* an initiation is to be built by poll_tx */
	WG_HS_WAITING, /* it was sent; retry_at runs */
};

struct wg_session {
	bool used;
	bool initiator;
	bool stopped; /* current, but SESSION_IDLE was reported */
	uint8_t pad;
	uint32_t local_idx;
	uint64_t birth_ns;
	uint64_t counter;
};

/* An initiation of ours under way; WANTED or WAITING. */
struct wg_attempt {
	enum wg_hs_state state;
	uint32_t local_idx; /* valid with has_idx */
	bool has_idx;
	bool sent;  /* noise and sent_ns are valid: a response can be judged */
	bool heard; /* authenticated data came in since `began` */
	uint8_t pad[5];
	uint64_t began_ns;
	uint64_t sent_ns;
	uint64_t due_ns; /* WANTED: build it from then on; WAITING: retry */
	struct noise_waiting noise;
};

/* An authenticated initiation of theirs that poll_tx has yet to answer. */
struct wg_answer {
	bool due;
	uint8_t pad[3];
	uint32_t remote_idx;
	uint64_t due_ns;
	struct noise_sym sym;
	uint8_t remote_ephemeral[32];
};

/* Most events one call can make: three dead, one new, current, done, keepalive, released. A call
 * that may make events wants twice that free, so that wg_peer_reset always finds room. */
#define WG_EV_ROOM 8
#define WG_EV_CAP  (3 * WG_EV_ROOM)

struct wg_peer {
	struct wg_peer_cfg cfg;
	struct noise_remote remote;
	struct cookie_jar jar;
	struct rng rng;
	struct wg_session slot[WG_SLOTS];
	struct wg_attempt attempt;
	struct wg_answer answer;
	uint8_t last_stamp[WG_STAMP_LEN]; /* newest accepted of theirs */
	uint32_t spare_idx;
	bool has_spare;
	bool has_initiated_us; /* last_initiation_ns is valid */
	bool had_session;
	bool gave_up; /* EXPIRED was reported since the last session */
	uint32_t ev_head, ev_count;
	uint64_t ev_since_ns;
	uint64_t last_initiation_ns; /* accepted from them */
	uint64_t last_session_ns;    /* or init */
	uint64_t last_sent_ns;	     /* any packet of the data path */
	uint64_t last_heard_ns;	     /* any authenticated packet of the data path */
	uint64_t unanswered_recv_ns; /* first data heard after we last sent, or TIME_NEVER */
	uint64_t unanswered_sent_ns; /* first data sent after we last heard, or TIME_NEVER */
	uint64_t silence_jitter_ns;  /* of the silence timer armed by unanswered_sent_ns */
	struct wg_event ev[WG_EV_CAP];
};

/* 0, or -EINVAL when the remote key is unusable. */
int wg_peer_init(struct wg_peer *p, const struct wg_local *l, const struct wg_peer_cfg *cfg,
		 const uint8_t seed[32], uint64_t now) __attribute__((warn_unused_result));
/* Drop sessions and handshakes with their events (sessions dead, indices released), as if never
 * begun. */
void wg_peer_reset(struct wg_peer *p, uint64_t now);
/* Wipe. No events: the caller frees what it holds for this peer. */
void wg_peer_fini(struct wg_peer *p);

bool wg_peer_wants_index(const struct wg_peer *p);
/* Only when wanted; the index must be unique among all that are out. -EEXIST when there is one
 * already. */
int wg_peer_give_index(struct wg_peer *p, uint32_t idx);

/* Messages: all after wg_local_admit. *in is the opened initiation and must be wiped by the caller.
 */
enum wg_rx wg_peer_rx_initiation(struct wg_peer *p, const struct noise_opened *in, uint64_t now);
enum wg_rx wg_peer_rx_response(struct wg_peer *p, const struct wg_local *l, const void *msg,
			       size_t len, uint64_t now);
enum wg_rx wg_peer_rx_cookie(struct wg_peer *p, const void *msg, size_t len, uint64_t now);

/* The next handshake message to send, if any. */
bool wg_peer_poll_tx(struct wg_peer *p, struct wg_local *l, struct wg_tx *out, uint64_t now);
/* The next event, if any. */
bool wg_peer_poll_event(struct wg_peer *p, struct wg_event *out);

/* Start a handshake unless one is under way: on each new nomination, by the controlling side. */
void wg_peer_initiate(struct wg_peer *p, uint64_t now);
/* There is a packet to send and no session to send it on. Starts a handshake if we may; false when
 * we may not (passive side that never had a session): drop the packet then. */
bool wg_peer_wants_send(struct wg_peer *p, uint64_t now);

/* Reports of the data path: a packet went out (came in, authenticated, and passed the replay check)
 * on a session at time `at` <= now. Per packet, or once a second with the time of the newest;
 * keepalive is an empty packet. Unknown indices are ignored. */
void wg_peer_on_data_sent(struct wg_peer *p, uint32_t local_idx, bool keepalive, uint64_t at,
			  uint64_t now);
void wg_peer_on_data_received(struct wg_peer *p, uint32_t local_idx, bool keepalive, uint64_t at,
			      uint64_t now);
/* The send counter of a session, now and then; past WG_REKEY_AFTER_MESSAGES a handshake is started.
 */
void wg_peer_on_counter(struct wg_peer *p, uint32_t local_idx, uint64_t send_counter, uint64_t now);

/* Is there a session to send on? */
bool wg_peer_current(const struct wg_peer *p, uint32_t *local_idx);

struct deadline wg_peer_deadline(const struct wg_peer *p);
void wg_peer_timeout(struct wg_peer *p, uint64_t now);
#endif
