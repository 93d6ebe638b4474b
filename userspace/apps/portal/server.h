/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets around the control-plane machine: listeners, TLS, HTTP and WebSocket by libwebsockets on
 * the caller's libuv loop. Turns connections into the machine's inputs and its queue into writes.
 * Neither compresses nor pings: old components take an empty ping for the end of their document. */
#ifndef PENSTOCK_PORTAL_SERVER_H
#define PENSTOCK_PORTAL_SERVER_H
#include <uv.h>

#include "apps/portal/state.h"

struct server;

/* Listens on all addresses of the portal's configuration. NULL, with the reason logged. */
struct server *server_start(uv_loop_t *loop, struct portal *p);
/* Hands the machine's queue to the connections; call after every input it got from elsewhere. */
void server_pump(struct server *sv);
/* Certificates may have been renewed: read them again. */
void server_reload_certs(struct server *sv);
/* Closes listeners and connections (1012, so that components come back). The loop must still run
 * until server_idle(). */
void server_stop(struct server *sv);
bool server_idle(const struct server *sv);
/* Turns the loop until the library has let go of it. */
void server_free(struct server *sv);
#endif
