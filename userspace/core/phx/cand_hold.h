/* SPDX-License-Identifier: Apache-2.0
 *
 * ICE candidates found or lost while the portal is away, per peer, until the channel has joined
 * again. Merging, per peer and candidate: a removal cancels a held add, for the peer never saw it;
 * an add turns a held removal into an add, and a later removal turns that back. Flush order per
 * peer: additions, then removals. Bounded; what does not fit is counted and lost. */
#ifndef PENSTOCK_CORE_CAND_HOLD_H
#define PENSTOCK_CORE_CAND_HOLD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/uuid.h"

#define CAND_HOLD_MAX	   256 /* candidates of all peers together */
#define CAND_HOLD_LINE_CAP 192 /* longest SDP candidate we write is about 150 */
#define CAND_HOLD_BATCH	   16  /* lines in one message */

struct cand_hold_entry {
	struct uuid peer;
	bool removed;
	bool known; /* began as a removal: the peer may know the candidate */
	char line[CAND_HOLD_LINE_CAP];
};

struct cand_hold {
	uint64_t overflow; /* candidates lost because the table was full or a line too long */
	uint16_t count;
	struct cand_hold_entry entries[CAND_HOLD_MAX]; /* in order of arrival */
};

struct cand_hold_batch {
	struct uuid peer;
	bool removed; /* send as invalidated */
	size_t n;
	const char *lines[CAND_HOLD_BATCH]; /* into storage */
	char storage[CAND_HOLD_BATCH][CAND_HOLD_LINE_CAP];
};

void cand_hold_init(struct cand_hold *h);
/* 0, -ENOSPC or -EMSGSIZE (both counted). */
int cand_hold_add(struct cand_hold *h, const struct uuid *peer, const char *line);
int cand_hold_remove(struct cand_hold *h, const struct uuid *peer, const char *line);
/* The connection to this peer is gone: forget its candidates. */
void cand_hold_drop_peer(struct cand_hold *h, const struct uuid *peer);
void cand_hold_clear(struct cand_hold *h);
/* Takes the next batch out: one peer, one kind, additions of a peer before its removals. False:
 * empty. */
bool cand_hold_pop(struct cand_hold *h, struct cand_hold_batch *out);
#endif
