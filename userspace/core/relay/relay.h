/* SPDX-License-Identifier: Apache-2.0
 *
 * A TURN server over UDP (RFC 8656, RFC 8489) as a sans-IO machine: Binding, Allocate, Refresh,
 * CreatePermission, ChannelBind, Send and Data, ChannelData, for clients and peers of both IP
 * versions in every combination, the machine's own relayed addresses included.
 *
 * Not here: sockets, threads, the kernel's copy of the bindings (they follow from events), the
 * portal. Rates are the owner's business; memory is bounded by what the owner gives.
 *
 * Driving it: relay_input for a datagram on the listen socket, relay_peer_input for one on a
 * relayed address, relay_timeout when relay_deadline has come; after each of them relay_poll_event
 * until false, then relay_poll_tx until false. So the tables elsewhere know a binding before its
 * client does. Undrained events make the next mutation refuse (RELAY_RX_BUSY).
 * An input expires what is due, too, but the slots of that are free only after the drain.
 *
 * Threads: one owner calls what takes a non-const relay. Any number of readers may call what takes
 * a const one while the owner is kept out by a lock: relay_from_client and relay_from_peer carry
 * the data, relay_answer and relay_peer_answer do what is left that changes nothing: it is most of
 * what a flood consists of.
 *
 * Invariants: an allocation has one client endpoint, one port and one or two address families; a
 * channel number and a peer are bound at most once per allocation; what is expired is never found
 * by a lookup, whether or not relay_timeout has run; a rejected datagram changes nothing but acct;
 * a request without valid credentials uses no memory. */
#ifndef PENSTOCK_CORE_RELAY_H
#define PENSTOCK_CORE_RELAY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"
#include "codec/stun.h"
#include "core/relay/relay_acl.h"
#include "core/relay/relay_auth.h"
#include "core/relay/relay_table.h"
#include "wire/turn.h"

#define RELAY_PORT_LO	   49152 /* defaults of relay_cfg */
#define RELAY_PORT_HI	   65535
#define RELAY_USER_QUOTA   32
#define RELAY_LIFETIME_S   600 /* RFC 8656 §3.2: granted when the client asks for nothing */
#define RELAY_LIFETIME_MAX 3600
#define RELAY_PERM_NS	   (300 * NS_PER_SEC) /* §9 */
#define RELAY_BIND_NS	   (600 * NS_PER_SEC) /* §12: from the last ChannelBind */
#define RELAY_BIND_HOLD_NS (300 * NS_PER_SEC) /* number and peer stay reserved after that */
#define RELAY_RESV_NS	   (30 * NS_PER_SEC)  /* §7.2: a port held for a token */
#define RELAY_TX_MAX	   2048
#define RELAY_SOFTWARE_MAX 63
#define RELAY_HOST_MAX	   64

struct relay_cfg {
	/* What XOR-RELAYED-ADDRESS says; family 0: the relay has no such address. One is needed. */
	struct ipaddr public4, public6;
	uint16_t listen_port;	   /* the control port; 0: TURN_PORT */
	uint16_t port_lo, port_hi; /* of relayed addresses; both 0: the defaults */
	/* Allocations of one user (static and shared-secret ones; a portal's user has exactly one,
	 * a new one replaces it) and of one source address (IPv6: of one /64). 0: no limit. */
	uint32_t user_quota, source_quota;
	/* Channels and permissions of one allocation. 0: no limit but the table's. */
	uint32_t binds_per_alloc, perms_per_alloc;
	/* Relayed datagrams leave with DF set, so DONT-FRAGMENT may be granted; else it is 420. */
	bool dont_fragment;
	char software[RELAY_SOFTWARE_MAX + 1]; /* SOFTWARE of authenticated answers; "": none */
	struct relay_size size;		       /* zero members: the defaults */
	struct relay_acl acl;
};

/* A datagram on the listen socket. */
struct relay_dgram {
	struct endpoint local;	/* the address of ours it came to */
	struct endpoint client; /* where it came from */
	const uint8_t *data;	/* borrowed for the call */
	size_t len;
};

enum relay_rx {
	RELAY_RX_DONE,	/* handled; there may be something to send */
	RELAY_RX_STATE, /* relay_answer only: a sound request of a known user; needs relay_input */
	RELAY_RX_EMPTY, /* no bytes, or source port 0 */
	RELAY_RX_NOT_TURN,	/* neither STUN nor ChannelData */
	RELAY_RX_MALFORMED,	/* STUN that does not decode, or a wrong FINGERPRINT */
	RELAY_RX_IGNORED,	/* a response, or an indication we do not act on */
	RELAY_RX_REFUSED,	/* answered with an error */
	RELAY_RX_NO_ALLOC,	/* data of a client that has no allocation */
	RELAY_RX_NO_CHANNEL,	/* data on a channel that is not bound */
	RELAY_RX_NO_PERMISSION, /* data to or from a peer without permission */
	RELAY_RX_DENIED,	/* data to a peer that must not be reached */
	RELAY_RX_SELF,		/* data to one of our own relayed addresses that does not take it */
	RELAY_RX_TOO_LARGE,	/* does not fit a message */
	RELAY_RX_BUSY,		/* events were not drained; nothing was looked at */
};
#define RELAY_RX_COUNT (RELAY_RX_BUSY + 1)

enum relay_to {
	RELAY_TO_CLIENT, /* from the listen socket's address `local` */
	RELAY_TO_PEER,	 /* from port `src_port`, of the address family of dst */
};

struct relay_tx {
	enum relay_to to;
	uint16_t src_port;     /* to a peer: the allocation's port; to a client: local's */
	uint32_t alloc;	       /* RELAY_NONE when it belongs to none */
	struct endpoint local; /* to a client: send from here */
	struct endpoint dst;
	size_t len; /* 0: nothing to send, unless empty */
	bool empty; /* an empty datagram is to be sent to the peer */
	uint8_t buf[RELAY_TX_MAX];
};

/* Where a packet of data goes; its payload is the datagram's, without a channel header. */
struct relay_route {
	enum relay_to to;
	uint16_t channel;  /* to a client: put this header in front, without padding */
	uint16_t src_port; /* to a peer: the allocation's port */
	uint32_t alloc;	   /* of the binding that was looked up */
	uint32_t bind;	   /* ditto: index for the owner's counters, below relay_cfg.size.n_binds */
	uint32_t to_alloc, to_bind; /* of the receiving client when it is one of ours (relay to
				       self), else RELAY_NONE */
	struct endpoint local;	    /* to a client: send from here */
	struct endpoint dst;
};

enum relay_hit {
	RELAY_HIT,
	/* No channel takes it but a permission does: hand the datagram to relay_answer (from a
	 * client) or relay_peer_answer (from a peer). */
	RELAY_HIT_INDICATE,
	RELAY_MISS_ALLOC,   /* unknown client, or no allocation at this port */
	RELAY_MISS_CHANNEL, /* not bound, or expired; nor permitted */
	RELAY_MISS_SELF,    /* to one of our own relayed addresses that does not take it */
};

enum relay_event_kind {
	RELAY_EV_ALLOC_ADD, /* receive on this port now */
	RELAY_EV_ALLOC_DEL, /* its bindings' DELs came before; the index may be used again after it
			     */
	RELAY_EV_BIND_ADD,  /* also when it was only refreshed: a new expiry */
	RELAY_EV_BIND_DEL,  /* expired or its allocation is gone */
};

struct relay_event {
	enum relay_event_kind kind;
	uint32_t alloc;	  /* below relay_alloc_cap */
	uint16_t port;	  /* of the allocation, the same in both families */
	uint8_t families; /* RELAY_F4 | RELAY_F6 */
	uint64_t expires_ns;
	struct endpoint client, local; /* local: the address of ours the client talks to */
	/* RELAY_EV_BIND_*: */
	uint32_t bind; /* below relay_cfg.size.n_binds */
	uint16_t channel;
	struct endpoint peer;
};

/* Answers by method; errors by code. */
enum relay_method {
	RELAY_M_BINDING,
	RELAY_M_ALLOCATE,
	RELAY_M_REFRESH,
	RELAY_M_PERMISSION,
	RELAY_M_CHANNEL,
	RELAY_M_OTHER,
};
#define RELAY_M_COUNT	   (RELAY_M_OTHER + 1)
#define RELAY_ERRORS_COUNT 12
extern const uint16_t relay_error_codes[RELAY_ERRORS_COUNT];

/* Counters of what went through the owner's calls; the only part a rejected datagram may change.
 * Readers count for themselves: what relay_answer says is what relay_input would count. */
struct relay_acct {
	uint64_t rx[RELAY_RX_COUNT];
	uint64_t ok[RELAY_M_COUNT];
	uint64_t errors[RELAY_ERRORS_COUNT]; /* as relay_error_codes */
	uint64_t allocs_full, ports_full, binds_full, perms_full, user_quota, source_quota;
	uint64_t allocs_made, allocs_deleted, allocs_expired, allocs_replaced;
	uint64_t binds_made, binds_refreshed, binds_expired;
	uint64_t indications_to_peer, indications_to_client;
	uint64_t tx_dropped; /* not polled before the next input */
};

struct relay {
	struct relay_cfg cfg;
	struct relay_auth auth;
	struct relay_table table;
	uint8_t nonce_key[32];
	struct ipaddr host[RELAY_HOST_MAX];
	uint32_t n_host;
	bool draining;
	struct relay_acct acct;
	struct relay_tx tx; /* at most one answer per input */
};

/* Bytes relay_init wants for this size (zero members: the defaults). */
size_t relay_mem_size(const struct relay_size *size);
/* mem: relay_mem_size bytes, aligned as malloc does, the machine's until relay_fini; it need not be
 * zeroed. 0, or -EINVAL for a configuration without addresses or with a senseless port range, or
 * -ENOMEM when mem_len is too small. */
__attribute__((warn_unused_result)) int relay_init(struct relay *r, const struct relay_cfg *cfg,
						   const struct relay_auth *auth, void *mem,
						   size_t mem_len, const uint8_t seed[32],
						   uint64_t now);
/* Wipe the secrets. */
void relay_fini(struct relay *r);

/* unix_s: wall clock, for the expiry of credentials. */
enum relay_rx relay_input(struct relay *r, const struct relay_dgram *in, uint64_t unix_s,
			  uint64_t now);
/* A datagram from a peer to a relayed address; peer.ip.family says which. Channel data if it is
 * bound, a Data indication if it is permitted. */
enum relay_rx relay_peer_input(struct relay *r, uint16_t port, const struct endpoint *peer,
			       const uint8_t *data, size_t len, uint64_t now);
/* Expire things; at most as many at once as there is room for events. */
void relay_timeout(struct relay *r, uint64_t now);
struct deadline relay_deadline(const struct relay *r);
bool relay_poll_event(struct relay *r, struct relay_event *ev);
/* Copies buf only up to len. */
bool relay_poll_tx(struct relay *r, struct relay_tx *tx);

/* The addresses this host has, as many as fit: no peer may be one of them unless a rule says so,
 * but for relayed addresses at the public one and the one its client talks to. Replaces what was
 * said before; channels that are bound stay. */
void relay_set_host(struct relay *r, const struct ipaddr *ips, uint32_t n);
/* From now on new allocations are refused (508); what exists goes on. */
void relay_drain(struct relay *r, bool on);
/* Delete an allocation (by index) as a Refresh with lifetime 0 does; events follow. false: no such
 * allocation, or undrained events. */
bool relay_close(struct relay *r, uint32_t alloc, uint64_t now);

/* ---- for any thread, the owner kept out ---- */
/* ChannelData: channel is the header's number. */
enum relay_hit relay_from_client(const struct relay *r, const struct endpoint *client,
				 uint16_t channel, uint64_t now, struct relay_route *out);
enum relay_hit relay_from_peer(const struct relay *r, uint16_t port, const struct endpoint *peer,
			       uint64_t now, struct relay_route *out);
/* All of relay_input that changes nothing: Binding, requests that are refused before their
 * credentials hold, Send, ChannelData. out->len 0 and not out->empty: nothing to send. It reads no
 * tables for requests, so for those no lock is needed at all. */
enum relay_rx relay_answer(const struct relay *r, const struct relay_dgram *in, uint64_t unix_s,
			   uint64_t now, struct relay_tx *out);
/* relay_peer_input, likewise. */
enum relay_rx relay_peer_answer(const struct relay *r, uint16_t port, const struct endpoint *peer,
				const uint8_t *data, size_t len, uint64_t now,
				struct relay_tx *out);

/* ---- for status ---- */
struct relay_alloc_view {
	struct endpoint client, local;
	uint16_t port;
	uint8_t families;
	uint64_t expires_ns;
	uint32_t n_binds, n_perms;
	const char *user; /* bytes of a remote, not a C string; borrowed */
	size_t user_len;
};
struct relay_bind_view {
	uint32_t alloc;
	uint16_t channel;
	struct endpoint peer;
	uint64_t expires_ns; /* in the past: number and peer are only reserved */
};
/* Indices run to relay_alloc_cap and size.n_binds; false: not in use. */
uint32_t relay_alloc_cap(const struct relay *r);
bool relay_alloc_at(const struct relay *r, uint32_t alloc, struct relay_alloc_view *out);
bool relay_bind_at(const struct relay *r, uint32_t bind, struct relay_bind_view *out);
uint32_t relay_n_allocs(const struct relay *r);
uint32_t relay_n_binds(const struct relay *r); /* bound or reserved */
uint32_t relay_n_perms(const struct relay *r);
const char *relay_rx_name(enum relay_rx rx);
const char *relay_hit_name(enum relay_hit hit);
#endif
