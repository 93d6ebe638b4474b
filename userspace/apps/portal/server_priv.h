/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by server.c (listening, life), server_http.c (requests before the upgrade) and server_ws.c
 * (frames). */
#ifndef PENSTOCK_PORTAL_SERVER_PRIV_H
#define PENSTOCK_PORTAL_SERVER_PRIV_H
#include <libwebsockets.h>

#include "apps/portal/gate.h"
#include "apps/portal/server.h"

#define TX_BYTES_MAX (1u << 20) /* queued for one slow reader, then it is cut off */
#define TX_MSGS_MAX  1024

/* One TCP connection, from accept until libwebsockets destroys it. */
struct conn {
	struct server *sv;
	struct conn *prev, *next; /* in server.conns */
	struct lws *wsi;
	struct ipaddr party; /* whom it counts against */
	uint64_t session;    /* 0 before the upgrade */
	uint8_t *rx;	     /* a message in pieces */
	size_t rx_len, rx_cap;
	struct out_msg *tx_head, **tx_tail;
	size_t tx_bytes, tx_msgs;
	int close_code;	 /* wanted once the queue is empty */
	bool close_sent; /* waiting for the other side's */
};

struct listener {
	struct server *sv;
	struct lws_vhost *vhost;
	const char *cert_file, *key_file; /* own copies */
	uv_poll_t poll;
	bool has_poll;
	int fd;
};

struct server {
	uv_loop_t *loop;
	struct portal *portal;
	struct lws_context *lws;
	struct listener *listeners;
	size_t n_listeners, n_polls;
	struct conn *conns;
	size_t n_conns;
	struct gate gate;
	uint64_t refused; /* connections turned away at the door */
	bool stopping;
};

uint64_t server_now(void);
uint64_t server_wall(void);

void conn_free(struct conn *c);
/* Queue for writing; takes over m. */
void conn_queue(struct conn *c, struct out_msg *m);

/* server_http.c: the verdict on an upgrade request; 0 lets it pass, 1 answered, -1 hangs up. */
int http_upgrade(struct conn *c, const char *protocol);
/* A plain request; the callback's return value. */
int http_request(struct conn *c);

/* server_ws.c */
extern const struct lws_protocols server_protocols[];
#endif
