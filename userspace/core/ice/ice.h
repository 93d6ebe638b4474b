/* SPDX-License-Identifier: Apache-2.0
 *
 * The ICE agent of one connection (RFC 8445 as Firezone's peers speak it): one component, UDP,
 * trickle forever, every pair checked for as long as it lives, nomination changed any number of
 * times, candidates invalidated by signalling, timings changed at run time. Sans-IO, a plain value
 * without pointers.
 *
 * Not here: gathering, sockets, relays (a relayed datagram is handed in with the relayed address as
 * `local`), the life of the connection above (core/node) and the grace after Disconnected
 * (ice_grace.h).
 *
 * Driving it: any mutation, then ice_timeout(now), then ice_poll_tx until false, then
 * ice_poll_event until false, then sleep until ice_deadline. Forgetting ice_timeout is harmless:
 * the deadline is due at once.
 *
 * Invariants: at most ICE_PAIRS_MAX pairs, no two with the same local base and remote address;
 * candidates are flagged discarded, and their slots reused only when the table is full; the
 * nominated pair, if any, is in the list; a rejected datagram changes nothing but acct. */
#ifndef PENSTOCK_CORE_ICE_H
#define PENSTOCK_CORE_ICE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"
#include "codec/sdp_cand.h"
#include "codec/stun.h"
#include "core/ice/ice_cand.h"
#include "crypto/rng.h"

#define ICE_UFRAG_MAX	   32 /* portal: 4 characters */
#define ICE_PWD_MAX	   64 /* portal: 22 characters */
#define ICE_LOCALS_MAX	   24 /* interface addresses, 2 srflx, 2 relay, and some that are gone */
#define ICE_REMOTES_MAX	   32
#define ICE_PAIRS_MAX	   100 /* RFC 8445 §6.1.2.5 default */
#define ICE_CHECKS_KEPT	   6   /* checks of a pair that can still be answered: over 4 s of them */
#define ICE_REPLIES_MAX	   16  /* answers owed; more than that at one instant is a flood */
#define ICE_EVENTS_MAX	   16
#define ICE_TX_MAX	   256 /* largest message an agent sends, with the limits above */
#define ICE_OPTIMISTIC_MAX 2

/* How eagerly checks go out: delay(n) = min(rto << (n-1), max_rto), dead after max_retransmits. */
struct ice_timing {
	uint64_t rto_ns, max_rto_ns;
	unsigned max_retransmits;
};

/* Gone after 16.5 s, 100 s, 615.5 s and 1000 s of silence on a path that worked. */
extern const struct ice_timing ice_timing_active; /* 250 ms, 1.5 s, 12 */
extern const struct ice_timing ice_timing_idle;	  /* 25 s, 25 s, 4 */
extern const struct ice_timing
	ice_timing_gateway_active; /* 250 ms, 15 s, 45: a gateway cannot dial */
extern const struct ice_timing ice_timing_gateway_idle; /* 25 s, 25 s, 40 */
#define ICE_TIMING_ACTIVE	  ice_timing_active
#define ICE_TIMING_IDLE		  ice_timing_idle
#define ICE_TIMING_GATEWAY_ACTIVE ice_timing_gateway_active
#define ICE_TIMING_GATEWAY_IDLE	  ice_timing_gateway_idle

struct ice_creds {
	char ufrag[ICE_UFRAG_MAX + 1];
	char pwd[ICE_PWD_MAX + 1];
};

struct ice_cfg {
	bool controlling; /* the client's side of a connection */
	struct ice_creds local, remote;
	struct ice_timing timing;
	/* First four bytes of every transaction id this agent uses; unique and random per agent, so
	 * that the node finds the agent of a response in O(1) (ice_peek). The other 64 bits are
	 * random. */
	uint32_t tag;
};

enum ice_state {
	ICE_NEW,
	ICE_CHECKING,
	ICE_CONNECTED,	  /* a pair is nominated, others are still possible */
	ICE_COMPLETED,	  /* a pair is nominated, it is the only one */
	ICE_DISCONNECTED, /* no pair is nominated and none is possible, for now */
};

enum ice_add {
	ICE_ADD_NEW,	   /* known now; a local one must be signalled */
	ICE_ADD_REDUNDANT, /* already there: nothing changed */
	ICE_ADD_REENABLED, /* was discarded, is alive again; a local one must be signalled again */
	ICE_ADD_REPLACED, /* a peer-reflexive placeholder (or a lesser duplicate) became this one */
	ICE_ADD_REJECTED, /* unusable address, other ufrag, bad text, table full: see acct */
};

enum ice_rx {
	ICE_RX_OK,
	ICE_RX_NOT_MINE,  /* other ufrags, or a transaction id this agent does not wait for */
	ICE_RX_MALFORMED, /* not STUN, or without an attribute it must carry */
	ICE_RX_BAD_AUTH,  /* MESSAGE-INTEGRITY is wrong */
	ICE_RX_DISCARDED, /* from or to an invalidated candidate */
	ICE_RX_NO_LOCAL,  /* addressed to something that is no host or relay candidate of ours */
	ICE_RX_IGNORED,	  /* indication, error we do not act on, USE-CANDIDATE from the controlled
			     side */
	ICE_RX_FULL,	  /* an unknown source, and no room for another candidate or pair */
};
#define ICE_RX_COUNT (ICE_RX_FULL + 1)

struct ice_dgram {
	struct endpoint
		local; /* address it arrived on; the relayed address when it came through a relay */
	struct endpoint remote; /* address it came from */
	const uint8_t *data;	/* borrowed for the call */
	size_t len;
};

struct ice_tx {
	struct endpoint
		local; /* base to send from; a relay candidate's base means: through that relay */
	struct endpoint remote;
	size_t len;
	uint8_t buf[ICE_TX_MAX];
};

/* A nominated pair, for the node and for status. */
struct ice_path {
	struct endpoint local;	/* base of the local candidate: send from here */
	struct endpoint remote; /* send to here */
	enum cand_kind local_kind, remote_kind;
	uint32_t local_prio, remote_prio;
	uint64_t pair_prio;
	uint64_t rtt_ns; /* smoothed; 0: not measured yet */
};

enum ice_event_kind {
	ICE_EV_STATE,
	/* Use `path` for sending from now on. Comes again when the pair is the same but a better
	 * candidate describes it: compare local and remote before acting. */
	ICE_EV_NOMINATED,
};

struct ice_event {
	enum ice_event_kind kind;
	enum ice_state old_state, new_state; /* ICE_EV_STATE */
	const char *why;		     /* static text */
	struct ice_path path;		     /* ICE_EV_NOMINATED */
};

/* RFC 8445 §7.3.1.1: both sides claim the same role; the larger tie-breaker controls. */
enum ice_conflict {
	ICE_CONFLICT_KEEP,   /* keep the role, answer 487 */
	ICE_CONFLICT_SWITCH, /* take the other role and go on */
};
enum ice_conflict ice_role_on_conflict(bool controlling, uint64_t mine, uint64_t theirs);

enum ice_pair_state {
	ICE_PAIR_WAITING,     /* no check sent yet */
	ICE_PAIR_IN_PROGRESS, /* checked, never answered */
	ICE_PAIR_SUCCEEDED,   /* answered at least once and not dead */
};

struct ice_check {
	uint64_t at;
	uint8_t tid_tail[8]; /* after the agent's tag */
	bool answered;
	bool controlling; /* the role it claimed */
};

struct ice_pair {
	uint64_t prio;
	uint64_t next_at;	/* next check, or its end when too many are lost */
	uint64_t last_at;	/* last check */
	uint64_t first_lost_at; /* first of the trailing unanswered checks */
	uint64_t triggered_at;	/* last check brought forward by a request, or 0 */
	uint64_t
		use_candidate_at; /* controlled: last USE-CANDIDATE, valid with has_use_candidate */
	uint64_t rtt_ns;
	uint32_t n_sent;
	uint8_t local, remote; /* indices */
	enum ice_pair_state state;
	uint16_t n_kept; /* remembered checks, at most max_retransmits */
	uint16_t n_lost; /* trailing unanswered ones among them */
	bool has_use_candidate;
	bool nominate_now; /* controlling: send USE-CANDIDATE ahead of everything */
	struct ice_check sent[ICE_CHECKS_KEPT];
};

/* An answer we owe: what it takes to encode it. */
struct ice_reply {
	struct endpoint local, remote;
	struct stun_tid tid;
	uint16_t error;	     /* 0: success */
	uint16_t unknown[4]; /* with 420 */
	uint16_t n_unknown;
};

/* Counters; the only part a rejected datagram may change. */
struct ice_acct {
	uint64_t rx[ICE_RX_COUNT];
	uint64_t tx_checks, tx_replies, tx_errors;
	uint64_t replies_dropped, events_dropped, pairs_dropped;
	uint64_t locals_full, remotes_full, remotes_rejected;
	uint64_t role_switches, nominations;
};

struct ice {
	struct ice_creds local_creds, remote_creds;
	struct rng rng;
	struct ice_timing timing;
	uint64_t tie_breaker;
	uint64_t dirty_at;  /* something changed: evaluate; TIME_NEVER when clean */
	uint64_t queued_at; /* when the last reply or event was queued */
	uint32_t tag;
	enum ice_state state;
	bool controlling;
	int8_t nominated; /* index into pairs, or -1 */
	uint8_t n_locals, n_remotes, n_pairs;
	uint8_t replies_head, n_replies, events_head, n_events, n_optimistic;
	uint64_t nominated_prio;
	struct ice_cand locals[ICE_LOCALS_MAX];
	struct ice_cand remotes[ICE_REMOTES_MAX];
	struct ice_reply replies[ICE_REPLIES_MAX];
	struct ice_event events[ICE_EVENTS_MAX];
	struct ice_acct acct;
	struct ice_pair pairs[ICE_PAIRS_MAX]; /* last: beyond n_pairs it is never written or read */
};

/* 0, or -EINVAL for credentials that are empty or longer than the limits, or a senseless timing. */
__attribute__((warn_unused_result)) int ice_init(struct ice *ice, const struct ice_cfg *cfg,
						 const uint8_t seed[32], uint64_t now);
/* Wipe the secrets. */
void ice_fini(struct ice *ice);

/* Our own candidate. Its priority is computed here; out (may be NULL) receives it as it must be
 * signalled (also on REDUNDANT: what is there). Only host, srflx and relay. */
enum ice_add ice_add_local(struct ice *ice, const struct ice_cand *c, struct ice_cand *out,
			   uint64_t now);
/* Invalidate. false: no such live candidate. Its pairs are gone; checks to it are ignored. */
bool ice_remove_local(struct ice *ice, const struct ice_cand *c, uint64_t now);
/* A candidate the peer signalled, in whatever state the agent is. */
enum ice_add ice_add_remote(struct ice *ice, const struct ice_cand *c, uint64_t now);
bool ice_remove_remote(struct ice *ice, const struct ice_cand *c, uint64_t now);
/* The same from the text; one that does not parse or carries another ufrag is REJECTED / false. */
enum ice_add ice_add_remote_text(struct ice *ice, const char *text, size_t len, uint64_t now);
bool ice_remove_remote_text(struct ice *ice, const char *text, size_t len, uint64_t now);
/* Call after each remote candidate: guesses srflx-address:host-port candidates (a port forwarded
 * through a symmetric NAT), IPv4 only, ICE_OPTIMISTIC_MAX in the agent's life. Returns how many
 * were added. */
unsigned ice_add_optimistic(struct ice *ice, uint64_t now);

/* Takes effect at once: what is overdue under the new timing is sent by the next ice_poll_tx. */
void ice_set_timing(struct ice *ice, const struct ice_timing *timing, uint64_t now);

enum ice_rx ice_input(struct ice *ice, const struct ice_dgram *in, uint64_t now);
void ice_timeout(struct ice *ice, uint64_t now);
/* Next datagram that is due, replies first; false when there is none. */
bool ice_poll_tx(struct ice *ice, struct ice_tx *out, uint64_t now);
bool ice_poll_event(struct ice *ice, struct ice_event *out);
struct deadline ice_deadline(const struct ice *ice);

enum ice_state ice_state(const struct ice *ice);
const char *ice_state_name(enum ice_state s);
const char *ice_rx_name(enum ice_rx rx);
/* The nominated pair; false when there is none. */
bool ice_selected(const struct ice *ice, struct ice_path *out);

/* For status: candidates (discarded ones included: look at the flag) and pairs, by index. */
unsigned ice_n_locals(const struct ice *ice);
unsigned ice_n_remotes(const struct ice *ice);
unsigned ice_n_pairs(const struct ice *ice);
const struct ice_cand *ice_local(const struct ice *ice, unsigned i);
const struct ice_cand *ice_remote(const struct ice *ice, unsigned i);
/* path of pair i, its state and whether it is the nominated one. */
struct ice_path ice_pair_path(const struct ice *ice, unsigned i, enum ice_pair_state *state,
			      bool *nominated);

/* Dispatch of a STUN datagram among many agents without authenticating it: a request or indication
 * names the receiver's ufrag, a response carries the receiver's tag. */
struct ice_peek {
	bool response;
	uint32_t tag;		       /* response */
	char ufrag[ICE_UFRAG_MAX + 1]; /* request: our side's ufrag, "" when absent or too long */
};
/* false: not STUN. */
bool ice_peek(const uint8_t *data, size_t len, struct ice_peek *out);
#endif
