/* SPDX-License-Identifier: Apache-2.0 */
#include "io/ws_conn.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "io/websocket.h"

/* The library's own value for close frames, which its header leaves out. */
#define WRITE_CLOSE	4
#define CLOSE_TIMEOUT_S 1 /* for the other side's close frame */

struct conn *conn_new(struct ws *owner, size_t *count)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c) {
		c->owner = owner;
		c->count = count;
		++*count;
		c->tx_last = &c->tx_first;
	}
	return c;
}

void ws_conn_free(struct conn *c)
{
	--*c->count;
	while (c->tx_first) {
		struct tx_msg *m = c->tx_first;

		c->tx_first = m->next;
		free(m);
	}
	if (c->rx)
		explicit_bzero(c->rx, c->rx_cap);
	free(c->rx);
	free(c);
}

/* Room for n more bytes, or false. */
static bool rx_grow(struct conn *c, size_t n)
{
	size_t cap = c->rx_cap ? c->rx_cap : WS_RX_CHUNK;
	unsigned char *p;

	if (c->rx_len + n <= c->rx_cap)
		return true;
	while (cap < c->rx_len + n)
		cap *= 2;
	p = realloc(c->rx, cap);
	if (!p)
		return false;
	c->rx = p;
	c->rx_cap = cap;
	return true;
}

int conn_receive(struct conn *c, const void *piece, size_t len)
{
	if (c->rx_len + len > WS_MESSAGE_MAX)
		return -EMSGSIZE;
	if (!rx_grow(c, len))
		return -ENOMEM;
	if (len)
		memcpy(c->rx + c->rx_len, piece, len);
	c->rx_len += len;
	return 0;
}

int ws_conn_queue(struct conn *c, const char *text, size_t len)
{
	struct tx_msg *m;

	if (len > WS_SEND_MAX - c->tx_bytes)
		return -ENOSPC;
	m = malloc(sizeof(*m) + LWS_PRE + len);
	if (!m)
		return -ENOSPC;
	m->next = NULL;
	m->len = len;
	memcpy(m->data + LWS_PRE, text, len);
	*c->tx_last = m;
	c->tx_last = &m->next;
	c->tx_bytes += len;
	lws_callback_on_writable(c->wsi);
	return 0;
}

/* Returning -1 from here would make the library drop the socket without a close frame. */
static int close_write(struct conn *c)
{
	unsigned char frame[LWS_PRE + 2];

	if (!c->close_wanted || c->close_sent)
		return 0;
	c->close_sent = true;
	be16_put(frame + LWS_PRE, LWS_CLOSE_STATUS_NORMAL);
	if (lws_write(c->wsi, frame + LWS_PRE, 2, (enum lws_write_protocol)WRITE_CLOSE) < 0)
		return -1;
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_ACK, CLOSE_TIMEOUT_S);
	return 0;
}

int conn_writable(struct conn *c)
{
	struct tx_msg *m = c->tx_first;
	int written;

	if (!m)
		return close_write(c);
	written = lws_write(c->wsi, m->data + LWS_PRE, m->len, LWS_WRITE_TEXT);
	c->tx_first = m->next;
	if (!c->tx_first)
		c->tx_last = &c->tx_first;
	c->tx_bytes -= m->len;
	free(m);
	if (written < 0)
		return -1;
	if (c->tx_first || c->close_wanted)
		lws_callback_on_writable(c->wsi);
	return 0;
}
