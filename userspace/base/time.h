/* SPDX-License-Identifier: Apache-2.0
 *
 * Time as a value. Core machines never read a clock: `now` is monotonic nanoseconds, always the
 * last parameter, and comes from the shell (or from the simulator). Wall time is a separate type
 * and is only handed to the functions that need it. */
#ifndef PENSTOCK_BASE_TIME_H
#define PENSTOCK_BASE_TIME_H
#include <stdbool.h>
#include <stdint.h>

#define NS_PER_US  UINT64_C(1000)
#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)
#define TIME_NEVER UINT64_MAX

/* Unix time; what authorisation expiries and TAI64N stamps are made of. */
struct wall {
	uint64_t sec;  /* since 1970-01-01T00:00:00Z */
	uint32_t nsec; /* 0..999999999 */
	uint32_t pad;
};

/* When a machine wants to be woken, and why: the reason is a static string, for logs. */
struct deadline {
	uint64_t at; /* TIME_NEVER: not at all */
	const char *why;
};

static inline bool time_reached(uint64_t at, uint64_t now)
{
	return at != TIME_NEVER && now >= at;
}

/* at + span, saturating at TIME_NEVER. */
static inline uint64_t time_add(uint64_t at, uint64_t span)
{
	return span > TIME_NEVER - at ? TIME_NEVER : at + span;
}

/* now - then, 0 when then lies in the future. */
static inline uint64_t time_since(uint64_t then, uint64_t now)
{
	return now > then ? now - then : 0;
}

static inline struct deadline deadline_min(struct deadline a, struct deadline b)
{
	return b.at < a.at ? b : a;
}

static inline struct deadline deadline_never(void)
{
	return (struct deadline){.at = TIME_NEVER, .why = "never"};
}
#endif
