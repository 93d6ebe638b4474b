/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal channel as a sans-IO machine: connect, join, heartbeat, send, reconnect (spec portal
 * §2, with the hardening of §7.9). It owns the policy; the shell owns the socket. One role topic
 * per machine.
 *
 * The shell's loop:
 *   phx_start(now)                          once
 *   on PHX_EV_CONNECT                       build the URL, resolve, open the websocket
 *     -> phx_opened(now) or phx_closed(why, now)
 *   on text                                 phx_input(text, len, now)
 *   on PHX_EV_CLOSE                         close the websocket; then phx_closed() or, when there
 * is none any more, nothing: the machine does not wait for it after every call drain
 * phx_poll_event() and phx_poll_tx(), arm phx_deadline() A socket that was told to close must not
 * report through phx_closed() any more once the next PHX_EV_CONNECT came; io/websocket keeps that
 * promise.
 *
 * Invariants: nothing is sent between phx_join and its ok reply except heartbeats; a heartbeat is
 * sent every 10 s whatever else is sent, ahead of everything; a 4th one is not sent while three are
 * unanswered: that is a dead connection. A disconnect drops refs, queue and pending heartbeats.
 * phx_send() is refused while not joined: hold what must survive above (core/phx/cand_hold.h).
 * Established flows are never this machine's business: PHX_EV_FATAL only says that it will not try
 * again by itself. */
#ifndef PENSTOCK_CORE_PHX_CHAN_H
#define PENSTOCK_CORE_PHX_CHAN_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/time.h"
#include "codec/phx_frame.h"
#include "core/phx/phx_backoff.h"

#define PHX_HEARTBEAT_NS	   (10 * NS_PER_SEC)
#define PHX_HEARTBEATS_PENDING_MAX 3
#define PHX_JOIN_TIMEOUT_NS	   (5 * NS_PER_SEC)
#define PHX_GATEWAY_BUDGET_NS	   (UINT64_C(24) * 3600 * NS_PER_SEC)
/* A connection that stayed joined this long earns a fresh back-off; a shorter one continues the
 * old. */
#define PHX_STABLE_NS  (10 * NS_PER_SEC)
#define PHX_SEND_MAX   8192  /* one payload; create_flow with 100 gateways is 4 KiB */
#define PHX_QUEUE_CAP  32768 /* bytes of queued messages */
#define PHX_QUEUE_MAX  64    /* queued messages */
#define PHX_EVENTS_MAX 16
#define PHX_WHY_CAP    96

enum phx_state {
	PHX_IDLE,	/* before phx_start() */
	PHX_WAITING,	/* backing off */
	PHX_CONNECTING, /* PHX_EV_CONNECT was given */
	PHX_JOINING,	/* phx_join sent or about to be */
	PHX_JOINED,
	PHX_DEAD, /* after PHX_EV_FATAL; phx_reconnect() revives */
};

/* How a websocket ended, or failed to begin. */
enum phx_close_kind {
	PHX_CLOSE_HTTP,	     /* the upgrade was answered with http_status */
	PHX_CLOSE_CERT,	     /* the server's certificate or its name was not accepted */
	PHX_CLOSE_TRANSPORT, /* DNS, TCP, TLS otherwise, time-out, read or write error */
	PHX_CLOSE_PEER,	     /* the portal closed an open websocket */
};

struct phx_close {
	enum phx_close_kind kind;
	int http_status;	  /* PHX_CLOSE_HTTP */
	uint32_t retry_after_s;	  /* 0: none */
	char detail[PHX_WHY_CAP]; /* for logs, may hold remote text; "" none */
};

enum phx_fatal {
	PHX_FATAL_NONE,
	PHX_FATAL_AUTH,		 /* HTTP 401 or 403: sign in again */
	PHX_FATAL_TOKEN_EXPIRED, /* `disconnect` push or join refused with it: sign in again */
	PHX_FATAL_HTTP,		 /* another status that retrying cannot cure: configuration */
	PHX_FATAL_CERT,
	PHX_FATAL_JOIN,	   /* the portal refused the join */
	PHX_FATAL_RETRIES, /* the budget is spent */
};

enum phx_event_kind {
	PHX_EV_CONNECT, /* open a websocket now, resolving the host afresh */
	PHX_EV_CLOSE,	/* close the websocket now */
	PHX_EV_JOINED,	/* candidates held while offline go out after this */
	PHX_EV_PUSH,	/* event, payload */
	PHX_EV_HICCUP,	/* connection lost or not made: why, retry_in_ns, http_status */
	PHX_EV_FATAL,	/* fatal, why, http_status */
};

struct phx_event {
	enum phx_event_kind kind;
	enum phx_fatal fatal;
	int http_status; /* 0: none */
	uint64_t retry_in_ns;
	char event[PHX_EVENT_CAP];
	json_t *payload; /* PHX_EV_PUSH: a reference the receiver owns; phx_event_fini() drops it */
	char why[PHX_WHY_CAP];
};

struct phx_cfg {
	const char *topic;	  /* "client", "gateway", "relay"; copied */
	const char *join_payload; /* JSON text; NULL: "null"; copied */
	uint64_t max_elapsed_ns;  /* back-off budget; TIME_NEVER: unlimited */
	uint64_t heartbeat_ns;	  /* 0: PHX_HEARTBEAT_NS */
	uint64_t join_timeout_ns; /* 0: PHX_JOIN_TIMEOUT_NS */
};

struct phx_stats {
	uint64_t connects, joins, hiccups, pushes, sent;
	uint64_t reply_errors; /* messages of ours the portal refused */
	uint64_t frames_bad,
		frames_ignored; /* undecodable; unknown topic, stray reply, bad control payload */
	uint64_t send_refused, send_duplicate, send_full, events_lost, heartbeats_lost;
};

struct phx {
	enum phx_state state;
	char topic[PHX_TOPIC_CAP];
	char join_payload[192];
	uint64_t heartbeat_ns, join_timeout_ns;
	struct phx_backoff backoff;
	struct phx_stats stats;
	uint64_t retry_at;	/* WAITING */
	uint64_t join_deadline; /* JOINING */
	uint64_t heartbeat_at;	/* JOINING, JOINED */
	uint64_t joined_at;	/* TIME_NEVER: this connection has not joined */
	uint64_t next_ref, join_ref;
	bool join_due, join_pending, heartbeat_due;
	uint8_t n_heartbeats;
	uint64_t heartbeats[PHX_HEARTBEATS_PENDING_MAX]; /* refs without a reply */
	uint16_t n_queued;
	uint32_t queue_len;
	char queue[PHX_QUEUE_CAP]; /* event NUL payload NUL, oldest first */
	uint8_t ev_first, ev_count;
	struct phx_event events[PHX_EVENTS_MAX];
};

/* seed: 32 random bytes, for the jitter. -EINVAL: topic or join payload too long or missing. */
int phx_init(struct phx *p, const struct phx_cfg *cfg, const uint8_t seed[32], uint64_t now);
void phx_start(struct phx *p, uint64_t now);
/* The websocket handshake is done. */
void phx_opened(struct phx *p, uint64_t now);
/* The websocket is gone, or could not be opened. */
void phx_closed(struct phx *p, const struct phx_close *c, uint64_t now);
/* One WebSocket text message. Drain events before the next call. */
void phx_input(struct phx *p, const char *text, size_t len, uint64_t now);
/* Queue a message on the role topic. 0; also when an identical one is still queued; -ENOTCONN: not
 * joined; -ENOSPC: the queue is full; -EMSGSIZE: over PHX_SEND_MAX. Refused means dropped and
 * counted. */
int phx_send(struct phx *p, const char *event, const char *payload_json, uint64_t now);
/* The next text frame to send. True and *len, or false. cap must be >= PHX_SEND_MAX + 256. */
bool phx_poll_tx(struct phx *p, char *buf, size_t cap, size_t *len, uint64_t now);
bool phx_poll_event(struct phx *p, struct phx_event *out);
void phx_event_fini(struct phx_event *ev);
struct deadline phx_deadline(const struct phx *p);
void phx_timeout(struct phx *p, uint64_t now);
/* Reconnect now (network change, new keys), whatever the state; forgets the back-off. */
void phx_reconnect(struct phx *p, uint64_t now);
bool phx_is_joined(const struct phx *p);
void phx_fini(struct phx *p);

/* What a refused join means, by the reason in the reply. PHX_FATAL_NONE ("join crashed"): try
 * again. "token_expired" is PHX_FATAL_TOKEN_EXPIRED, all others PHX_FATAL_JOIN. */
enum phx_fatal phx_join_verdict(const char *reason);
/* What a refused upgrade means. PHX_FATAL_NONE: try again later.
 *   401 403                     PHX_FATAL_AUTH
 *   408 425 426 429, 1xx 3xx 5xx PHX_FATAL_NONE
 *   every other 4xx             PHX_FATAL_HTTP */
enum phx_fatal phx_http_verdict(int status);
const char *phx_fatal_name(enum phx_fatal f);
const char *phx_state_name(enum phx_state s);
#endif
