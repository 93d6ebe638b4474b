/* SPDX-License-Identifier: Apache-2.0
 *
 * Every period of the WireGuard key exchange, as data, and the policies over them as total
 * functions. The values are the protocol's except where a comment says that a Penstock connection
 * differs. Tests shorten them; both ends need not agree exactly. */
#ifndef PENSTOCK_WG_TIMERS_H
#define PENSTOCK_WG_TIMERS_H
#include <stdbool.h>
#include <stdint.h>

#define WG_REKEY_AFTER_MESSAGES	 (UINT64_C(1) << 60)
#define WG_REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13))

struct wg_times {
	uint64_t rekey_after_ns;    /* REKEY_AFTER_TIME, 120 s: initiator, when it sends */
	uint64_t rekey_recv_ns;	    /* REJECT - KEEPALIVE - REKEY_TIMEOUT, 165 s: initiator, when it
				       receives */
	uint64_t initiator_stop_ns; /* 170 s: initiator no longer sends on the session */
	uint64_t reject_after_ns;   /* REJECT_AFTER_TIME, 180 s: the session is dead for both */
	uint64_t retry_ns;	    /* REKEY_TIMEOUT, 5 s: handshake retransmission */
	uint64_t jitter_ns;	/* 333 ms: added at random to retries and timer-made handshakes */
	uint64_t attempt_ns;	/* REKEY_ATTEMPT_TIME: 20 s here, not 90: longer than ICE needs to
				   fail, no more */
	uint64_t keepalive_ns;	/* KEEPALIVE_TIMEOUT, 10 s: data came and nothing went back */
	uint64_t dead_after_ns; /* 540 s without a new session: the tunnel is given up */
	uint64_t cookie_ns;	/* 120 s: life of a cookie */
};

struct wg_times wg_times_default(void);

/* What one session looks like to the policies below. */
struct wg_age {
	bool initiator; /* we sent the initiation that made it */
	uint64_t birth_ns;
	uint64_t counter; /* last known send counter */
};

/* May we still put packets on it? The initiator leaves the last 10 s to the responder. */
bool wg_may_send(const struct wg_times *t, const struct wg_age *s, uint64_t now);
/* Past all use, for both directions? */
bool wg_is_dead(const struct wg_times *t, const struct wg_age *s, uint64_t now);
/* Should sending (receiving) on it at `now` start a handshake? Never for a responder, except that
 * counters that run out are everybody's business. */
bool wg_rekey_due_on_send(const struct wg_times *t, const struct wg_age *s, uint64_t now);
bool wg_rekey_due_on_recv(const struct wg_times *t, const struct wg_age *s, uint64_t now);
/* Passive keepalive: when to send one after data that came at recv_at unanswered (TIME_NEVER:
 * none). */
uint64_t wg_keepalive_at(const struct wg_times *t, uint64_t recv_at);
/* Silence: when to start a handshake after data that went out at sent_at with nothing heard since.
 */
uint64_t wg_silence_at(const struct wg_times *t, uint64_t sent_at);
/* When a fully unanswered attempt that began at `began` is given up. */
uint64_t wg_give_up_at(const struct wg_times *t, uint64_t began);
#endif
