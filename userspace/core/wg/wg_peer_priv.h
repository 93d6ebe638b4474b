/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of wg_peer share and nobody else includes: session slots with their events
 * (wg_peer_session.c) and the life of our own initiation (wg_peer.c). */
#ifndef PENSTOCK_WG_PEER_PRIV_H
#define PENSTOCK_WG_PEER_PRIV_H
#include "core/wg/wg_peer.h"

/* May a call that makes events go on? */
bool wg_ev_has_room(const struct wg_peer *p);
struct wg_event *wg_ev_push(struct wg_peer *p, enum wg_ev_type type, uint32_t local_idx,
			    uint64_t now);

struct wg_age wg_session_age(const struct wg_session *s);
/* The session with this index of ours, or NULL. */
struct wg_session *wg_session_find(struct wg_peer *p, uint32_t local_idx);
void wg_session_kill(struct wg_peer *p, enum wg_slot slot, uint64_t now);
/* We are the initiator: current at once; what was current becomes previous. */
void wg_session_add_current(struct wg_peer *p, uint32_t local_idx, uint32_t remote_idx,
			    const struct noise_keys *keys, uint64_t rtt_ns, uint64_t now);
/* We are the responder: next, until wg_session_confirm. */
void wg_session_add_next(struct wg_peer *p, uint32_t local_idx, uint32_t remote_idx,
			 const struct noise_keys *keys, uint64_t now);
void wg_session_confirm(struct wg_peer *p, uint64_t at, uint64_t now);

/* Begin an attempt unless one is under way; its message is due at `due`. */
void wg_attempt_start(struct wg_peer *p, uint64_t due, uint64_t now);
/* End it; its index, if it has one, is released. */
void wg_attempt_cancel(struct wg_peer *p, uint64_t now);
void wg_attempt_set_state(struct wg_attempt *a, enum wg_hs_state to);
#endif
