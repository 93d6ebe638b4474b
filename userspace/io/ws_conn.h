/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to io/websocket: one connection's buffers, and its last words. A message being
 * reassembled, texts waiting to be written, and the close frame after them. Knows no policy and
 * reports to nobody. */
#ifndef PENSTOCK_IO_WS_CONN_H
#define PENSTOCK_IO_WS_CONN_H
#include <libwebsockets.h>
#include <stdbool.h>
#include <stddef.h>

#define WS_RX_CHUNK (16 * 1024)

struct ws;
struct tx_msg {
	struct tx_msg *next;
	size_t len;
	unsigned char data[]; /* LWS_PRE bytes of room, then the text */
};

struct conn {
	struct ws *owner; /* NULL: nobody to report to any more */
	size_t *count;	  /* of connection objects alive */
	struct lws *wsi;  /* NULL: gone */
	bool open, close_wanted, close_sent;
	bool ending; /* the library is taking it down already */
	int peer_code;
	struct tx_msg *tx_first, **tx_last;
	size_t tx_bytes;
	unsigned char *rx;
	size_t rx_len, rx_cap;
};

/* *count goes up by one, and down in ws_conn_free(). NULL: out of memory. */
struct conn *conn_new(struct ws *owner, size_t *count);
void ws_conn_free(struct conn *c);
/* Appends a piece of a message. 0, -EMSGSIZE over WS_MESSAGE_MAX, or -ENOMEM. */
int conn_receive(struct conn *c, const void *piece, size_t len);
/* Queues a text; 0 or -ENOSPC. */
int ws_conn_queue(struct conn *c, const char *text, size_t len);
/* The socket takes data: writes one text, or the close frame once that is wanted and all is
 * written. 0, or -1: drop the connection. */
int conn_writable(struct conn *c);
#endif
