/* SPDX-License-Identifier: Apache-2.0
 *
 * Points in wall time after which something no longer holds: unix seconds, or never. */
#ifndef PENSTOCK_PORTAL_EXPIRY_H
#define PENSTOCK_PORTAL_EXPIRY_H
#include <stdbool.h>
#include <stdint.h>

#define EXPIRY_NEVER UINT64_MAX
/* 9999-12-31T23:59:59Z; larger integers are milliseconds given by mistake. */
#define EXPIRY_MAX UINT64_C(253402300799)

/* RFC 3339 §5.6 date-time with a numeric offset or Z; a fraction is cut off. */
bool expiry_parse(const char *text, uint64_t *out);

static inline bool expiry_passed(uint64_t expiry, uint64_t wall)
{
	return expiry != EXPIRY_NEVER && wall >= expiry;
}

static inline uint64_t expiry_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}
#endif
