/* SPDX-License-Identifier: Apache-2.0
 *
 * See ratelimit.h. The node's limit is a window (cheap, and a burst of 100 is fine); a source's is
 * a token bucket kept as the one time at which it will be full again. */
#include <string.h>
#include "core/wg/ratelimit.h"

void wg_limit_init(struct wg_limit *w)
{
	memset(w, 0, sizeof(*w));
}

bool wg_limit_under_load(struct wg_limit *w, uint64_t now)
{
	if (!w->started || time_since(w->window_at, now) >= WG_LIMIT_WINDOW_NS) {
		w->started = true;
		w->window_at = now;
		w->in_window = 0;
	}
	if (w->in_window <= WG_LIMIT_PER_WINDOW)
		w->in_window++;
	return w->in_window > WG_LIMIT_PER_WINDOW;
}

bool wg_limit_source(struct wg_limit *w, uint32_t bucket, uint64_t now)
{
	uint64_t *full = &w->full_at[bucket % WG_LIMIT_BUCKETS];
	uint64_t from = *full > now ? *full : now;

	if (from - now > (WG_LIMIT_BURST - 1) * WG_LIMIT_SOURCE_NS)
		return false;
	*full = from + WG_LIMIT_SOURCE_NS;
	return true;
}
