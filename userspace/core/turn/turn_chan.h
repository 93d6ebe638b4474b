/* SPDX-License-Identifier: Apache-2.0
 *
 * The channel numbers of one allocation (RFC 8656 §12): which peer owns which number, since when,
 * and what may be done with it. A number the relay still remembers (cool-down) is not given to
 * another peer, and a peer keeps its number for as long as the relay remembers it.
 *
 * Not here: the messages. turn_req.c asks, turn_input.c learns of the answers.
 *
 * Invariants: a peer has at most one number; a number is found by its peer exactly while it is in
 * use; a number whose end was not yet told (turn_poll_event) is not used again. */
#ifndef PENSTOCK_CORE_TURN_CHAN_H
#define PENSTOCK_CORE_TURN_CHAN_H
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"
#include "wire/turn.h"

/* Numbers a client hands out; RFC 8656 §12 keeps the others for later. */
#define TURN_CHANS_MAX	  (TURN_CHAN_ALLOC_MAX - TURN_CHAN_MIN + 1)
#define TURN_CHAN_HASH	  (2 * TURN_CHANS_MAX)
#define TURN_CHAN_WORDS	  (TURN_CHANS_MAX / 64)
#define TURN_CHAN_NONE	  0xffffu
#define TURN_CHAN_LIFE	  (600 * NS_PER_SEC) /* the relay forgets an unrefreshed channel */
#define TURN_CHAN_COOL	  (900 * NS_PER_SEC) /* and five minutes later that it was that peer's */
#define TURN_CHAN_REFRESH (300 * NS_PER_SEC)

struct turn_chan {
	struct endpoint peer;
	uint64_t bound_at; /* creation, then each confirmation */
	uint64_t heard_at; /* data received; as bound_at when it was set */
	bool used;
	bool confirmed; /* the relay said yes at bound_at */
	bool in_flight; /* a bind (first or again) was sent and not answered */
	bool told;	/* TURN_EV_CHANNEL_UP was polled, its end was not */
	uint8_t pad[4];
};

struct turn_chans {
	uint32_t hash_seed;
	uint16_t n_used, cursor;
	uint64_t next_at; /* no channel wants attention before */
	uint32_t n_dirty, pad;
	uint64_t dirty[TURN_CHAN_WORDS];  /* something to tell about */
	uint16_t by_peer[TURN_CHAN_HASH]; /* index + 1; 0: free */
	struct turn_chan at[TURN_CHANS_MAX];
};

void turn_chans_init(struct turn_chans *c, uint32_t hash_seed);
/* Forget all; what was told stays until its end is told. */
void turn_chans_clear(struct turn_chans *c);

/* Indices (number - TURN_CHAN_MIN), or TURN_CHAN_NONE. */
unsigned turn_chan_find(const struct turn_chans *c, const struct endpoint *peer);
unsigned turn_chan_of_number(const struct turn_chans *c, uint16_t number);
uint16_t turn_chan_number(unsigned i);
/* The peer's number, or else the first from the cursor on that is unused or can be taken from its
 * peer; marked in flight. NONE: all are taken. */
unsigned turn_chan_take(struct turn_chans *c, const struct endpoint *peer, uint64_t now);
void turn_chan_confirm(struct turn_chans *c, unsigned i, uint64_t now);
void turn_chan_drop(struct turn_chans *c, unsigned i);
void turn_chan_heard(struct turn_chans *c, unsigned i, uint64_t now);
/* The next channel that is due for a refresh, with its attention time advanced past `now` once none
 * is left; NONE then. Also finds the ones that lapsed. Start with *pos = 0. */
unsigned turn_chan_due(struct turn_chans *c, unsigned *pos, uint64_t now);
/* Something changed that concerns all: news of each that is up. */
void turn_chans_tell_again(struct turn_chans *c);
/* The next one there is something to tell about, and what: up or not. */
bool turn_chan_news(struct turn_chans *c, unsigned *i, bool *up, uint64_t now);

/* Rules, total functions of one entry. */
bool turn_chan_connected(const struct turn_chan *c, uint64_t now);  /* may carry data */
bool turn_chan_rebindable(const struct turn_chan *c, uint64_t now); /* to another peer */
bool turn_chan_wants_refresh(const struct turn_chan *c, uint64_t now);
#endif
