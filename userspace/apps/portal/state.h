/* SPDX-License-Identifier: Apache-2.0
 *
 * The control plane as a machine without sockets or clocks. In: connection requests, text frames,
 * disconnections, new configurations, the passing of time. Out: a queue of frames and closings,
 * each for one session, in the order they must be sent. One thread, one account.
 *
 *     HTTP upgrade ── portal_connect ──► CONNECTED ── phx_join ──► JOINED
 *                          │ refused: status + body       ▲  phx_leave  │
 *                          ▼                              └─────────────┘
 *     any: malformed frame, idle, expelled, replaced ──► CLOSING (a close is queued, input is
 * ignored)
 *
 * `now` is monotonic ns, `wall` unix seconds. Memory comes from malloc; every table has a cap, and
 * a full one is an answer on the wire, never a crash. */
#ifndef PENSTOCK_PORTAL_STATE_H
#define PENSTOCK_PORTAL_STATE_H
#include "apps/portal/config.h"
#include "apps/portal/flows.h"
#include "apps/portal/registry.h"

#define PORTAL_FRAME_MAX    (128u << 10) /* bytes of one frame from a component */
#define PORTAL_SESSIONS_MAX 65536
#define PORTAL_PENDING_MAX  4096 /* flows waiting for their gateway, in all… */
#define PORTAL_PENDING_EACH 64	 /* …and of one client */
#define PORTAL_RELAYS_MAX   256	 /* online at once */
#define PORTAL_TARGETS_MAX  128	 /* ids in one broadcast */
#define PORTAL_PENDING_SEC  15	 /* a gateway that takes longer counts as offline… */
#define PORTAL_PATIENCE_SEC 5	 /* …and this long is enough if another one can be asked */
#define PORTAL_TRIES_MAX    4	 /* gateways asked for one request */
#define PORTAL_STICKY_MAX   8	 /* of one request that serve its resource */

/* WebSocket close codes we use (RFC 6455 §7.4). */
#define CLOSE_NORMAL   1000
#define CLOSE_PROTOCOL 1002
#define CLOSE_TOO_BIG  1009
#define CLOSE_RESTART  1012

enum session_phase { SESSION_CONNECTED, SESSION_JOINED, SESSION_CLOSING };

/* A resource as the client was last told about it. */
struct told {
	char id[UUID_STRLEN];
	json_t *view;
	bool flap; /* its flow is gone: tell it anew even if nothing changed */
};

#define RELAYS_EACH	 2 /* that a client or gateway is given */
#define RELAY_DIGEST_LEN 16

/* What a relay's session is about. The secret stays in memory, and only while the session lives. */
struct relay {
	char id[UUID_STRLEN]; /* from the secret; empty before the join */
	struct endpoint addr4, addr6;
	char stamp[STAMP_MAX + 1];
};

/* A relay as a component was last told about it. */
struct known_relay {
	char id[UUID_STRLEN];
	uint8_t digest[RELAY_DIGEST_LEN];
};

struct session {
	uint64_t id;
	enum portal_role role;
	enum session_phase phase;
	const struct config_token *token; /* into the current config */
	struct device *dev;		  /* NULL for relays */
	struct relay *relay;		  /* relays only */
	char public_key[KEY_B64_STRLEN];
	char version[32];
	uint64_t last_rx; /* monotonic ns */
	struct told *told;
	size_t n_told;
	struct known_relay known[RELAYS_EACH];
	size_t n_known;
};

/* A client waits for a gateway to confirm. One per client's session and resource. */
struct pending {
	char ref[33];		  /* 128 random bits in hex, unguessable for the gateway */
	uint64_t client, gateway; /* sessions; gateway 0: gone */
	struct device *asked;	  /* the gateway */
	uint64_t asked_at;
	char resource_id[UUID_STRLEN];
	uint64_t tried[PORTAL_TRIES_MAX]; /* sessions of gateways, the one being asked included */
	size_t n_tried;
	struct device *sticky[PORTAL_STICKY_MAX]; /* gateways the client is connected to */
	size_t n_sticky;
};

struct out_msg {
	struct out_msg *next;
	uint64_t session;
	char *text; /* NULL: close with code */
	int code;
};

struct portal_counters {
	uint64_t connects, refused, malformed, unknown, idle, flows, flow_failures, table_full,
		candidates_dropped, replaced;
};

struct portal {
	struct config *cfg;
	json_t **views; /* client views of cfg->resources, same order */
	struct registry reg;
	struct flows flows;
	struct session **sessions;
	size_t n_sessions, cap_sessions;
	uint64_t next_session;
	struct session **relays; /* those online */
	size_t n_relays;
	bool relays_changed;		    /* since the last tick */
	uint64_t relays_due, relays_latest; /* when to tell about it, monotonic ns; 0: nothing */
	struct pending *pending;
	size_t n_pending;
	struct out_msg *out_head, **out_tail;
	uint64_t next_policy_expiry; /* unix seconds */
	bool dirty;		     /* reg or flows differ from what was stored */
	void (*entropy)(void *buf, size_t len);
	struct portal_counters count;
};

/* Takes over cfg. 0 or -ENOMEM. */
int portal_init(struct portal *p, struct config *cfg, void (*entropy)(void *buf, size_t len),
		uint64_t wall);
void portal_fini(struct portal *p);

/* What a component brings along; strings are decoded, NULL where absent. */
struct connect_req {
	enum portal_role role;
	const char *token, *external_id, *name, *public_key; /* query or header */
	const char *ipv4, *ipv6, *port;			     /* relays */
	const char *vsn, *user_agent;
};

struct connect_res {
	int status; /* 101, or what to answer */
	char body[256];
	uint64_t session; /* when 101 */
};

void portal_connect(struct portal *p, const struct connect_req *req, struct connect_res *res,
		    uint64_t now, uint64_t wall);
/* One complete text message. */
void portal_message(struct portal *p, uint64_t session, const char *text, size_t len, uint64_t now,
		    uint64_t wall);
/* The transport saw something it must not carry on with. */
void portal_violation(struct portal *p, uint64_t session, int code);
/* The transport is gone. Unknown sessions are ignored. */
void portal_disconnect(struct portal *p, uint64_t session);
/* Takes over cfg, compares, and pushes the differences: revocations first. */
void portal_reload(struct portal *p, struct config *cfg, uint64_t wall);
/* Expiries, idle sessions, gateways that do not answer. Call at least every second. */
void portal_tick(struct portal *p, uint64_t now, uint64_t wall);
/* Drops stored flows the configuration no longer allows; once, after loading them. */
void portal_reconcile(struct portal *p, uint64_t wall);

/* The next effect, or NULL. The caller frees it with out_msg_free(). */
struct out_msg *portal_next(struct portal *p);
/* Wipes the text: frames carry credentials. */
void out_msg_free(struct out_msg *m);
#endif
