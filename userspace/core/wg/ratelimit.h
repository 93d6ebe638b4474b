/* SPDX-License-Identifier: Apache-2.0
 *
 * How much handshake work strangers may cause: 100 messages with a valid mac1 in a second for the
 * whole node, beyond which a sender must prove its address (cookie), and then 20 a second per
 * source with a burst of 5. Sources share 4096 buckets by a keyed hash of their address, so memory
 * is fixed and nobody can choose whom to collide with; so many that a gateway's clients, who all
 * come back at once when it was away, mostly have one of their own. */
#ifndef PENSTOCK_WG_RATELIMIT_H
#define PENSTOCK_WG_RATELIMIT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/time.h"

#define WG_LIMIT_PER_WINDOW 100
#define WG_LIMIT_WINDOW_NS  NS_PER_SEC
#define WG_LIMIT_BUCKETS    4096	      /* 32 kB */
#define WG_LIMIT_SOURCE_NS  (NS_PER_SEC / 20) /* price of one message */
#define WG_LIMIT_BURST	    5

struct wg_limit {
	uint64_t window_at;
	uint32_t in_window;
	bool started;
	uint8_t pad[3];
	uint64_t full_at[WG_LIMIT_BUCKETS]; /* when the bucket is full again; <= now: it is full */
};

void wg_limit_init(struct wg_limit *w);
/* Count one message; true when the node is under load, i.e. more than WG_LIMIT_PER_WINDOW came in
 * this window. */
bool wg_limit_under_load(struct wg_limit *w, uint64_t now);
/* Take a token of a source's bucket, any number (cookie_check); false when it is empty (nothing is
 * taken). */
bool wg_limit_source(struct wg_limit *w, uint32_t bucket, uint64_t now);
#endif
