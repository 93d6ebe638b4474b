/* SPDX-License-Identifier: Apache-2.0
 *
 * A TURN client (RFC 8656 over UDP, with RFC 8489's long-term credentials): everything between us
 * and one relay. It finds the address family the relay answers on, allocates a relayed address of
 * each family, keeps it, binds channels to peers and tells of the candidates that come of it: our
 * addresses as the relay's answers reach us, as the relay sees them, and the relayed ones.
 * Sans-IO, a plain value without pointers.
 *
 * Not here: choosing among relays, the connections that use one, sockets (a datagram leaves by
 * whatever address the system likes: turn_tx.local is only set once one is known to work), and the
 * bytes of channel data on their way out, which the caller frames (wire/turn.h) and sends to
 * turn_route() itself. Send and Data indications and permissions are not used: data goes through
 * channels, whose binding installs the permission.
 *
 * Driving it: any mutation, then turn_timeout(now), then turn_poll_tx until false, then
 * turn_poll_event until false, then sleep until turn_deadline. While something is queued the
 * deadline is due at once.
 *
 * Invariants: an answer is acted on only when it comes from the relay, answers a request in flight
 * and, BINDING aside, carries our MESSAGE-INTEGRITY. The exception are challenges (401, 438) and
 * the 400 of a server that wants to challenge first, which cannot or need not carry it: they
 * change how the request is asked again and nothing else. A rejected datagram changes nothing but
 * acct. An allocation exists exactly in TURN_READY; channels exist only with an allocation. A relay
 * that loses allocations as fast as it makes them is asked for a few at once and then at a pace:
 * each of them is news to every peer. */
#ifndef PENSTOCK_CORE_TURN_H
#define PENSTOCK_CORE_TURN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"
#include "codec/stun.h"
#include "core/turn/turn_chan.h"
#include "crypto/crypto.h"
#include "crypto/rng.h"

#define TURN_USERNAME_MAX 255 /* portal: expiry ':' salt, under 70 characters */
#define TURN_PASSWORD_MAX 255 /* portal: 43 characters */
#define TURN_REALM_MAX	  127 /* RFC 8489 §14.9: fewer than 128 characters */
#define TURN_NONCE_MAX	  255 /* §14.10: fewer than 128 characters of up to 6 bytes; real ones: 64 */
#define TURN_TX_MAX	  1200
#define TURN_REQS_MAX	  160 /* in flight; the ring's binds and all else */
#define TURN_RING_MAX	  100 /* peers waiting for a channel */
#define TURN_HOSTS_MAX	  8

/* Strings, bounded and NUL-terminated. */
struct turn_cfg {
	struct endpoint addr4, addr6; /* the relay; family 0: it has none */
	char username[TURN_USERNAME_MAX + 1];
	char password[TURN_PASSWORD_MAX + 1];
	char realm[TURN_REALM_MAX + 1]; /* "": whatever the relay says */
};

enum turn_state {
	TURN_PROBING,	  /* BINDING is out, no answer yet */
	TURN_ALLOCATING,  /* the relay answers; ALLOCATE, or the removal of a stale one, is out */
	TURN_READY,	  /* there is an allocation */
	TURN_SUSPENDED,	  /* the relay would not allocate; turn_refresh tries again */
	TURN_UNREACHABLE, /* the relay does not answer; turn_refresh tries again */
	TURN_REFUSED,	  /* the credentials are wrong */
	TURN_BROKEN,	  /* it does not understand us (420) */
};

/* What ALLOCATE asks for; the next one when the relay cannot do that (400, 420, 440). */
enum turn_form {
	TURN_FORM_DUAL,	 /* an address of each family the relay has */
	TURN_FORM_PLAIN, /* RFC 5766: an IPv4 address */
	TURN_FORM_V6,	 /* an IPv6 address; after a 440 only */
};

/* Judgement of a datagram. */
enum turn_rx {
	TURN_RX_CONTROL,    /* an answer, acted on */
	TURN_RX_DATA,	    /* channel data: see turn_data */
	TURN_RX_FOREIGN,    /* not from this relay */
	TURN_RX_MALFORMED,  /* neither STUN nor channel data, or without an attribute it must carry
			     */
	TURN_RX_UNKNOWN,    /* no answer to a request in flight */
	TURN_RX_BAD_AUTH,   /* MESSAGE-INTEGRITY is wrong, or missing where it is needed */
	TURN_RX_REALM,	    /* a challenge for another realm than ours */
	TURN_RX_IGNORED,    /* an answer that tells nothing: BINDING refused */
	TURN_RX_NO_CHANNEL, /* data on a channel that is not confirmed, or lapsed */
};
#define TURN_RX_COUNT (TURN_RX_NO_CHANNEL + 1)

/* Channel data, taken apart: treat data[off..off+len) as a datagram from peer to local. */
struct turn_data {
	struct endpoint peer;
	struct endpoint local; /* our relayed address of the peer's family */
	size_t off, len;
	uint16_t number;
};

/* A request that is due. */
struct turn_tx {
	struct endpoint local; /* family 0: let the system choose */
	struct endpoint remote;
	size_t len;
	uint8_t buf[TURN_TX_MAX];
};

enum turn_cand_kind {
	TURN_CAND_HOST,	 /* where the relay's answers reach us */
	TURN_CAND_SRFLX, /* what the relay sees; one per family, the latest */
	TURN_CAND_RELAY, /* what it allocated; one per family */
};

struct turn_cand {
	enum turn_cand_kind kind;
	struct endpoint addr;
	struct endpoint base; /* host, relay: addr; srflx: our address the answer came to */
	struct endpoint via;  /* relay: our address towards the relay (may be unknown: its family is
				 set, the address unspecified) */
	uint8_t via_family;   /* relay: IP version spoken to the relay; else 0 */
};

enum turn_event_kind {
	/* New, or new again. A changed srflx comes as the new one alone. */
	TURN_EV_CAND,
	/* It is void: a relay candidate whose allocation is gone; any after turn_restart. */
	TURN_EV_CAND_GONE,
	/* Confirmed: data comes in and may go out until `until`. Again when it was renewed, and
	 * when our own address towards the relay changed. */
	TURN_EV_CHANNEL_UP,
	/* It lapsed or the allocation is gone; server and local are those last told. */
	TURN_EV_CHANNEL_DOWN,
};

struct turn_event {
	enum turn_event_kind kind;
	struct turn_cand cand; /* TURN_EV_CAND, TURN_EV_CAND_GONE */
	struct endpoint peer, server,
		local;	 /* TURN_EV_CHANNEL_*; local may be unknown (family 0) */
	uint16_t number; /* TURN_EV_CHANNEL_* */
	uint64_t until;	 /* TURN_EV_CHANNEL_UP: it lapses then */
};

/* What became of a wish for a channel. */
enum turn_bind {
	TURN_BIND_THERE,    /* nothing to do: connected, in flight or queued */
	TURN_BIND_SENT,	    /* asked for */
	TURN_BIND_BUFFERED, /* no allocation yet, or too much in flight: asked for later */
	TURN_BIND_FAMILY,   /* the allocation has no address of the peer's family */
	TURN_BIND_FULL,	    /* all numbers are in use */
	TURN_BIND_NONE,	    /* nobody to ask: suspended, unreachable, refused, broken */
};
#define TURN_BIND_COUNT (TURN_BIND_NONE + 1)

/* Counters; the only part a rejected datagram may change. */
struct turn_acct {
	uint64_t rx[TURN_RX_COUNT];
	uint64_t bind[TURN_BIND_COUNT];
	uint64_t tx, retransmits, timeouts, challenges;
	uint64_t errors, last_error; /* error answers acted on, and the code of the last */
	uint64_t allocations, lost;  /* allocations made, and invalidated */
	uint64_t ring_dropped, reqs_full, nonce_too_long, hosts_replaced;
};

struct turn_req {
	struct endpoint peer; /* CHANNEL-BIND */
	struct stun_tid tid;
	uint64_t start;	  /* its schedule counts from here */
	uint64_t sent_at; /* first transmission of this transaction; 0: not yet */
	uint64_t next_at; /* next transmission, or the end */
	uint16_t method;  /* enum stun_method; 0: free */
	uint16_t chan;	  /* CHANNEL-BIND: index */
	uint8_t server;	  /* 0: addr4, 1: addr6 */
	uint8_t step;	  /* position in the schedule */
	uint8_t n_auth;	  /* times it was asked again because of a challenge */
	bool due;	  /* to be sent */
	bool probe;	  /* one transmission, one second */
	bool nonced;	  /* authenticated with a nonce */
	bool bare;	  /* not authenticated at all: the server wants to challenge first */
	uint8_t form;	  /* ALLOCATE: enum turn_form it was asked in */
	bool removal;	  /* REFRESH with LIFETIME 0 */
	bool challenged;  /* an unauthenticated 401 came although it carried a nonce */
	uint8_t pad[6];
};

/* A candidate and what was told of it. */
struct turn_slot {
	struct turn_cand now, told; /* addr family 0: none */
};

struct turn {
	struct turn_cfg cfg;
	uint8_t key[MD5_LEN]; /* of the long-term credential, for the realm in use */
	char realm[TURN_REALM_MAX + 1];
	char nonce[TURN_NONCE_MAX + 1];
	struct rng rng;
	enum turn_state state;
	const char *why;     /* of the state, static text */
	int8_t active;	     /* the server address in use: 0 addr4, 1 addr6, -1 none */
	enum turn_form form; /* how this relay wants to be asked */
	bool bare_first;     /* nor credentials before its challenge */
	uint8_t n_stale;     /* ALLOCATEs answered 437 in a row */
	uint8_t next_host;   /* overwritten next when all host slots are taken */
	uint16_t n_reqs, n_due;
	struct endpoint local; /* our address towards the active server, as last seen */
	struct endpoint told_server, told_local;       /* of the last TURN_EV_CHANNEL_UP */
	uint64_t keepalive_at, refresh_at, expires_at; /* TIME_NEVER: not at all */
	uint64_t allocate_at; /* ALLOCATING, and the ALLOCATE has to wait; else TIME_NEVER */
	uint64_t paced_at;    /* allocations asked for anew are paid for until then */
	uint64_t heard_at;    /* an answer, or channel data */
	uint64_t lifetime_ns;
	uint64_t rtt_ns;    /* smoothed; 0: not measured */
	uint64_t queued_at; /* when something to tell or send came up; TIME_NEVER when drained */
	struct turn_acct acct;
	struct turn_slot hosts[TURN_HOSTS_MAX], srflx[2], relayed[2];
	uint8_t ring_head, n_ring;
	struct endpoint ring[TURN_RING_MAX];
	struct turn_req reqs[TURN_REQS_MAX];
	struct turn_chans chans; /* last and large: mostly never touched after turn_init */
};

/* 0, or -EINVAL without an address, username or password, or with an address that is none. The
 * BINDINGs are due at once. The seed is 32 bytes of entropy. */
__attribute__((warn_unused_result)) int turn_init(struct turn *t, const struct turn_cfg *cfg,
						  const uint8_t seed[32], uint64_t now);
/* Wipe the secrets. The relay is not told: its allocation expires. */
void turn_fini(struct turn *t);

/* Is this datagram's source the relay? */
bool turn_is_server(const struct turn *t, const struct endpoint *remote);
/* A datagram from the relay. local: where it arrived, NULL or family 0 when unknown. *out is set on
 * TURN_RX_DATA only. */
enum turn_rx turn_input(struct turn *t, const struct endpoint *local, const struct endpoint *remote,
			const void *data, size_t len, struct turn_data *out, uint64_t now);
void turn_timeout(struct turn *t, uint64_t now);
bool turn_poll_tx(struct turn *t, struct turn_tx *out, uint64_t now);
bool turn_poll_event(struct turn *t, struct turn_event *out, uint64_t now);
struct deadline turn_deadline(const struct turn *t);

/* A channel to peer is wanted: call for each remote candidate that a relay may have to reach, and
 * whenever turn_channel says no. Cheap when it is there. */
enum turn_bind turn_bind(struct turn *t, const struct endpoint *peer, uint64_t now);
/* The channel to send to peer through: confirmed, or a bind for it is in flight (data may overtake
 * the bind and is lost then, but mostly it does not). false: turn_bind first. */
bool turn_channel(const struct turn *t, const struct endpoint *peer, uint64_t now,
		  uint16_t *number);
/* The peer of a confirmed channel that is alive; false when there is none. */
bool turn_channel_peer(const struct turn *t, uint16_t number, uint64_t now, struct endpoint *peer);
/* Channel data went out to the relay, not through this machine: the keep-alive can wait, unless
 * the relay was not heard for as long as that. */
void turn_sent(struct turn *t, uint64_t now);
/* Channel data came in on this number, not through this machine (the kernel took it): the channel
 * is renewed as if turn_input had seen it. Once in a while is enough. */
void turn_heard(struct turn *t, uint16_t number, uint64_t now);
/* The portal spoke of relays and not of this one: see within a second whether it is still there,
 * and start again where it had been given up. Nothing when an answer is outstanding anyway. */
void turn_refresh(struct turn *t, uint64_t now);
/* Our network changed: everything learned is void, the credentials stay. */
void turn_restart(struct turn *t, uint64_t now);

/* Of no use any more, all events and requests being polled; *why is static text. */
bool turn_freeable(const struct turn *t, const char **why);
enum turn_state turn_state(const struct turn *t);
const char *turn_state_name(enum turn_state s);
const char *turn_rx_name(enum turn_rx rx);
/* Our relayed address of that family (4, 6). */
bool turn_relayed(const struct turn *t, uint8_t family, struct endpoint *out);
/* Where channel data goes: the relay's address in use and ours towards it (family 0: unknown).
 * false: no relay answers. */
bool turn_route(const struct turn *t, struct endpoint *local, struct endpoint *server);
/* Smoothed round trip, 0 when never measured. */
uint64_t turn_rtt_ns(const struct turn *t);
/* For status: channels confirmed or asked for. */
unsigned turn_n_channels(const struct turn *t);
#endif
