/* SPDX-License-Identifier: Apache-2.0
 *
 * What a relay remembers: allocations, channel bindings, permissions, reserved ports, and who holds
 * how many allocations; with hash indices for every lookup, deadlines, and the queue of events that
 * changes leave behind. All in memory the owner gives, sized once.
 *
 * Not here: whether a change is allowed. Only core/relay includes more of this than struct
 * relay_size.
 *
 * Invariants: what is indexed is live (a deleted allocation leaves all indices at once; its slot
 * and its bindings' are free again once their events are polled); every binding and permission
 * hangs in exactly one live allocation's list; user and source counts are the sums over live
 * allocations. */
#ifndef PENSTOCK_CORE_RELAY_TABLE_H
#define PENSTOCK_CORE_RELAY_TABLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/idx.h"
#include "codec/stun.h"
#include "base/due_heap.h"
#include "core/relay/relay_ports.h"
#include "crypto/rng.h"

#define RELAY_F4 1 /* address families of an allocation */
#define RELAY_F6 2

#define RELAY_ALLOCS	16384 /* one for each port of the default range */
#define RELAY_BINDS	65536
#define RELAY_PERMS	65536
#define RELAY_RESVS	256 /* they last 30 s */
#define RELAY_TOKEN_LEN 8
#define RELAY_NAME_MAX	128 /* RELAY_USERNAME_MAX */

struct relay_size {
	uint32_t n_allocs, n_binds, n_perms; /* 0: RELAY_ALLOCS, … */
};

enum relay_state {
	RELAY_FREE,
	RELAY_LIVE,
	RELAY_HELD,  /* binding: expired, number and peer still reserved */
	RELAY_DYING, /* deleted, its event is not polled yet */
};

struct relay_alloc {
	uint64_t expires_ns;
	struct endpoint client, local;
	uint16_t port;
	uint8_t families;
	enum relay_state state;
	uint32_t next_free;
	uint32_t first_bind, first_perm, n_binds, n_perms;
	uint32_t user, source; /* holders */
	/* To answer a retransmitted Allocate as the first time. */
	struct stun_tid tid;
	uint32_t lifetime_s;
	uint8_t token[RELAY_TOKEN_LEN];
	bool has_token;
	bool portal; /* made by a user of the stamp */
};

struct relay_bind {
	uint64_t expires_ns; /* of the binding; its slot stays a while longer */
	struct endpoint peer;
	uint32_t alloc, next, prev;
	uint16_t channel;
	uint8_t n_events; /* in the ring */
	enum relay_state state;
};

struct relay_perm {
	uint64_t expires_ns;
	struct ipaddr ip;
	uint32_t alloc, next, prev;
};

struct relay_resv {
	uint16_t port; /* 0: free */
	uint8_t token[RELAY_TOKEN_LEN];
};

/* Somebody with at least one allocation: a user, or a source address. */
struct relay_holder {
	uint32_t count;
	uint32_t alloc; /* the newest; of a user that may have one only, the one */
	uint32_t next_free;
	uint8_t len;
	char name[RELAY_NAME_MAX];
};

struct relay_holders {
	struct relay_holder *slots;
	struct idx idx;
	uint32_t free;
};

struct relay_ev {
	uint32_t kind; /* enum relay_event_kind */
	uint32_t slot; /* of the binding, or of the allocation */
};

struct relay_table {
	struct relay_size size;
	uint64_t seed;
	struct rng rng;
	struct relay_alloc *allocs; /* size.n_allocs + 1: one may be replaced by another */
	struct relay_bind *binds;
	struct relay_perm *perms;
	struct relay_resv resvs[RELAY_RESVS];
	struct idx by_client, by_channel, by_peer, by_perm;
	struct relay_holders users, sources;
	struct relay_ports ports;
	struct due_heap heap;
	struct relay_ev *events; /* a ring: drained between mutations, so it cannot fill up */
	uint32_t ev_head, n_events, ev_cap;
	uint32_t free_alloc, free_bind, free_perm;
	uint32_t n_allocs, n_binds, n_perms;
};
#endif
