/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's socket: a Unix stream socket only root can use. One request a connection: a line
 * with one JSON object in, one JSON document out, then the server closes. Sizes and time are
 * bounded, slow or silent callers cost nothing but one of CTL_CLIENTS_MAX places. What requests
 * mean is the daemon's. */
#ifndef PENSTOCK_IO_CTL_SOCKET_H
#define PENSTOCK_IO_CTL_SOCKET_H
#include <stddef.h>
#include "io/err.h"

struct uv_loop_s;

#define CTL_REQUEST_MAX 4096	    /* bytes, newline included */
#define CTL_REPLY_MAX	(64u << 20) /* bytes a client reads at most */
#define CTL_CLIENTS_MAX 16
#define CTL_TIMEOUT_MS	10000 /* a connection lives no longer */
#define CTL_RUN_DIR	"/run/penstock"

/* Answer one request (NUL-terminated, newline cut; hostile bytes). Returns a malloc'd
 * NUL-terminated document, which the server frees, or NULL: {"error":"…"} is sent instead. */
typedef char *(*ctl_request_fn)(void *arg, const char *request, size_t len);

struct ctl_server;

/* Listen on path (its directory is made, 0755; the socket is 0600). A stale socket is replaced;
 * -EADDRINUSE when a live process answers on it: "already running". Connections of another uid than
 * 0 (SO_PEERCRED) are closed unread. */
int ctl_server_open(struct ctl_server **out, struct uv_loop_s *loop, const char *path,
		    ctl_request_fn fn, void *arg, struct io_err *err);
/* Remove the socket, close every connection; memory is freed when the loop has run its close
 * callbacks. */
void ctl_server_close(struct ctl_server *s);

/* Blocking client for the command line: send one request (without newline), read the whole document
 * into *reply (malloc'd, NUL-terminated). 0; -ENOENT or -ECONNREFUSED: not running; -EACCES: not
 * root; -ETIMEDOUT; -EFBIG; -ECONNRESET when the server gave nothing. */
int ctl_call(const char *path, const char *request, int timeout_ms, char **reply, size_t *reply_len,
	     struct io_err *err);
#endif
