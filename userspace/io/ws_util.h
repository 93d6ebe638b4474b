/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to io/websocket: small pure helpers. */
#ifndef PENSTOCK_IO_WS_UTIL_H
#define PENSTOCK_IO_WS_UTIL_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "base/addr.h"
#include "base/time.h"

/* A Retry-After value (RFC 9110 §10.2.3) in seconds from `wall`: a number, or an HTTP date; 0 when
 * it is neither or lies in the past. */
uint32_t ws_retry_after(const char *text, struct wall wall);
socklen_t ws_sockaddr(const struct endpoint *e, struct sockaddr_storage *ss);
/* "localhost" or a literal loopback address. */
bool ws_host_is_loopback(const char *host);
#endif
