/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to io/websocket: one question to the host's own resolver, in libuv's thread pool, that
 * can be abandoned and is never waited for. */
#ifndef PENSTOCK_IO_WS_LOOKUP_H
#define PENSTOCK_IO_WS_LOOKUP_H
#include <stddef.h>
#include "base/addr.h"
#include "io/loop.h"

#define WS_LOOKUP_ADDRS 8 /* more are left out */

struct ws_lookup;

/* why: what is the matter when n is 0. */
typedef void ws_lookup_done(void *ctx, const struct ipaddr *list, size_t n, const char *why);

/* 0: done is called once, from the loop, unless the lookup is abandoned first; else an error of the
 * library or -ENOMEM. A literal address is an answer like others. */
int ws_lookup_start(struct ws_lookup **out, struct loop *l, const char *host, ws_lookup_done *done,
		    void *ctx);
/* Nothing is called any more; it frees itself. NULL is fine. */
void ws_lookup_abandon(struct ws_lookup *l);
#endif
