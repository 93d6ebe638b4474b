/* SPDX-License-Identifier: Apache-2.0
 *
 * A WebSocket client for the portal: ws and wss on the control thread's loop. One struct ws, one
 * connection at a time, no retries: policy is core/phx. Server certificate and host name are always
 * verified for wss.
 *
 * Promises: exactly one on_closed per ws_connect() that returned 0 unless ws_close() or another
 * ws_connect() came first, after which that connection reports nothing any more. on_text gets whole
 * text messages up to WS_MESSAGE_MAX; binary messages and pongs are ignored. Callbacks may call any
 * ws_ function except ws_free(). The host is resolved afresh for each connect: by whom the
 * configuration names, else as the host's programs do it, off the loop's thread; where that fails
 * or takes longer than WS_LOOKUP_NS, the addresses of the last connection to that host are tried
 * instead: names may be out of reach until this connection stands (resolvers behind the tunnel). */
#ifndef PENSTOCK_IO_WEBSOCKET_H
#define PENSTOCK_IO_WEBSOCKET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "core/phx/phx_chan.h"
#include "core/phx/phx_url.h"
#include "io/loop.h"

#define WS_MESSAGE_MAX	      PHX_FRAME_MAX
#define WS_CONNECT_TIMEOUT_NS (15 * NS_PER_SEC)
#define WS_LOOKUP_NS	      (3 * NS_PER_SEC)
#define WS_SEND_MAX	      (256 * 1024) /* bytes waiting to be written */

struct ws;

struct ws_cfg {
	const char *ca_file;  /* PEM; NULL: the system's roots. Instead of them, not in addition */
	uint32_t fwmark;      /* SO_MARK of the TCP socket; 0: none */
	bool allow_plaintext; /* ws:// to hosts that are not loopback */
	uint64_t
		connect_timeout_ns; /* 0: WS_CONNECT_TIMEOUT_NS; covers DNS, TCP, TLS and upgrade */
	/* Resolves the host: 0, and ws_resolved() is called with the cookie, once, at any time;
	 * else the host's own resolver is asked. NULL: always that one. */
	int (*lookup)(void *ctx, const char *host, uint64_t cookie, uint64_t now);
	void (*on_opened)(void *ctx, uint64_t now);
	void (*on_text)(void *ctx, const char *text, size_t len, uint64_t now);
	void (*on_closed)(void *ctx, const struct phx_close *why, uint64_t now);
	void *ctx;
};

/* 0 and *out; -EINVAL: ca_file does not load (*why says it); -ENOMEM. The loop must outlive it. */
int ws_new(struct ws **out, struct loop *l, const struct ws_cfg *cfg, const char **why);
/* Starts a connection, dropping the present one. 0; -EPERM: plaintext to a non-loopback host
 * without allow_plaintext (names count as loopback only when they are "localhost"). */
int ws_connect(struct ws *w, const struct phx_url *url, const char *user_agent);
/* The answer to cfg.lookup; list NULL: the host's own resolver is to be asked after all. One that
 * is not waited for any more is ignored. */
void ws_resolved(struct ws *w, uint64_t cookie, const struct ipaddr *list, size_t n);
bool ws_is_open(const struct ws *w);
/* How many addresses the last connection to the host being connected to has left; 0: there was
 * none.
 */
size_t ws_known(const struct ws *w);
/* Bytes queued and not yet written. */
size_t ws_pending(const struct ws *w);
/* Queue one text message. 0, -ENOTCONN or -ENOSPC. */
int ws_send(struct ws *w, const char *text, size_t len);
/* Close politely (code 1000) in the background; nothing is reported any more. */
void ws_close(struct ws *w);
/* Closes politely, turning the loop for up to half a second: stop your own handles before. Call
 * before loop_fini(). */
void ws_free(struct ws *w);
#endif
