/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the TURN client share: turn.c (life and timers), turn_req.c (requests out),
 * turn_input.c (answers and data in), turn_event.c (what is told). */
#ifndef PENSTOCK_CORE_TURN_INT_H
#define PENSTOCK_CORE_TURN_INT_H
#include "core/turn/turn.h"

#define TURN_PROBE_NS	    (1 * NS_PER_SEC)
#define TURN_KEEPALIVE_NS   (25 * NS_PER_SEC) /* NATs forget after 30 s and more */
#define TURN_REFRESH_MIN_NS (5 * NS_PER_SEC)  /* between REFRESHes the relay refuses */
#define TURN_REAUTH_MAX	    8 /* challenges answered at once; further ones at the schedule's pace */
#define TURN_REQS_KEPT	    8 /* requests no CHANNEL-BIND may take */
#define TURN_STALE_MAX	    4 /* times a stale allocation is removed before the relay is left alone */
#define TURN_ANEW_NS	    (15 * NS_PER_SEC)  /* between allocations in place of lost ones */
#define TURN_ANEW_BURST_NS  (4 * TURN_ANEW_NS) /* but so many may come together */

/* ---- turn.c ---- */
void turn_set_state(struct turn *t, enum turn_state state, const char *why, uint64_t now);
/* Something to tell or to send came up. */
void turn_queue(struct turn *t, uint64_t now);
const struct endpoint *turn_server(const struct turn *t, unsigned server);
/* The key of the realm in use. */
void turn_derive_key(struct turn *t);
/* There is no allocation any more: candidates, channels and all requests but BINDINGs are void. */
void turn_invalidate(struct turn *t, uint64_t now);
/* It is over for now: no requests either, no server. */
void turn_give_up(struct turn *t, enum turn_state state, const char *why, uint64_t now);
/* Bind what waits, as far as requests are left. */
void turn_ring_drain(struct turn *t, uint64_t now);
/* A peer that is not in it. */
void turn_ring_push(struct turn *t, const struct endpoint *peer);
void turn_ring_clear(struct turn *t);

/* ---- turn_req.c ---- */
/* A new request, due at once; NULL and counted when all are in use. */
struct turn_req *turn_req_new(struct turn *t, enum stun_method method, unsigned server,
			      uint64_t now);
void turn_req_free(struct turn *t, struct turn_req *r);
void turn_req_free_all(struct turn *t, bool bindings);
struct turn_req *turn_req_find(struct turn *t, const struct stun_tid *tid);
struct turn_req *turn_req_of(struct turn *t, enum stun_method method);
/* Ask again as a new transaction; bare: without credentials. */
void turn_req_again(struct turn *t, struct turn_req *r, bool bare, uint64_t now);
/* Its next transmission is due, or (false) it had its last. */
bool turn_req_step(struct turn *t, struct turn_req *r, uint64_t now);
void turn_ask_binding(struct turn *t, unsigned server, uint64_t now);
void turn_ask_allocation(struct turn *t, uint64_t now);
/* In place of one that was lost; perhaps later. */
void turn_ask_allocation_anew(struct turn *t, uint64_t now);
void turn_ask_refresh(struct turn *t, bool probe, bool removal, uint64_t now);
/* Channel i was marked in flight; false: no request left. */
bool turn_ask_channel(struct turn *t, unsigned i, uint64_t now);

/* ---- turn_event.c ---- */
bool turn_has_news(const struct turn *t);
/* Our address as this server's answer came to it and as it saw us. true: the latter changed. */
bool turn_learn_mapped(struct turn *t, unsigned server, const struct endpoint *local,
		       const struct endpoint *mapped, uint64_t now);
void turn_learn_relayed(struct turn *t, const struct endpoint *relayed, uint64_t now);
void turn_forget_relayed(struct turn *t, uint64_t now);
void turn_forget_all(struct turn *t, uint64_t now);
#endif
