/* SPDX-License-Identifier: Apache-2.0
 *
 * WebSocket frames: pieces are put together and given to the machine, its answers written one frame
 * per writable callback. A reader slower than its queue allows is cut off. */
#include <stdlib.h>
#include <string.h>

#include "apps/portal/server_priv.h"
#include "base/bytes.h"
#include "base/log.h"

#define CLOSE_GRACE_SEC 2

static void tx_clear(struct conn *c)
{
	while (c->tx_head) {
		struct out_msg *m = c->tx_head;

		c->tx_head = m->next;
		out_msg_free(m);
	}
	c->tx_tail = &c->tx_head;
	c->tx_bytes = c->tx_msgs = 0;
}

void conn_free(struct conn *c)
{
	struct server *sv = c->sv;

	if (c->prev)
		c->prev->next = c->next;
	else
		sv->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	sv->n_conns--;
	tx_clear(c);
	free(c->rx);
	free(c);
}

void conn_queue(struct conn *c, struct out_msg *m)
{
	if (c->close_code) {
		out_msg_free(m);
		return;
	}
	if (!m->text) {
		c->close_code = m->code;
		out_msg_free(m);
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE, CLOSE_GRACE_SEC);
	} else {
		*c->tx_tail = m;
		c->tx_tail = &m->next;
		c->tx_bytes += strlen(m->text);
		c->tx_msgs++;
	}
	if (c->tx_bytes > TX_BYTES_MAX || c->tx_msgs > TX_MSGS_MAX) {
		LOG_WARN("portal", "reader too slow, cutting it off",
			 LOG_U64("session", c->session), LOG_U64("queued", c->tx_bytes));
		tx_clear(c);
		c->close_code = CLOSE_RESTART;
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
	}
	lws_callback_on_writable(c->wsi);
}

/* Our half of the closing handshake. Written by hand: on a libuv loop the library cuts the
 * connection before the frame it promises for a callback that returns -1. The peer's answer, or the
 * timeout set when the close was queued, ends it. */
static int write_close(struct conn *c)
{
	uint8_t frame[LWS_PRE + 4] = {0};

	if (c->close_sent)
		return 0;
	c->close_sent = true;
	frame[LWS_PRE] = 0x88; /* FIN, opcode 8 */
	frame[LWS_PRE + 1] = 2;
	be16_put(frame + LWS_PRE + 2, (uint16_t)c->close_code);
	return lws_write(c->wsi, frame + LWS_PRE, 4, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

static int write_one(struct conn *c)
{
	struct out_msg *m = c->tx_head;
	size_t len;
	uint8_t *buf;
	int n;

	if (!m)
		return c->close_code ? write_close(c) : 0;
	c->tx_head = m->next;
	if (!c->tx_head)
		c->tx_tail = &c->tx_head;
	len = strlen(m->text);
	c->tx_bytes -= len;
	c->tx_msgs--;
	buf = malloc(LWS_PRE + len);
	if (!buf) {
		out_msg_free(m);
		return -1;
	}
	memcpy(buf + LWS_PRE, m->text, len);
	out_msg_free(m);
	n = lws_write(c->wsi, buf + LWS_PRE, len, LWS_WRITE_TEXT);
	explicit_bzero(buf, LWS_PRE + len);
	free(buf);
	if (n < 0)
		return -1;
	if (c->tx_head || c->close_code)
		lws_callback_on_writable(c->wsi);
	return 0;
}

/* Room for len more bytes of the message in pieces; false when it grows too big. */
static bool rx_reserve(struct conn *c, size_t len)
{
	size_t want = c->rx_len + len, cap = c->rx_cap ? c->rx_cap : 4096;
	uint8_t *grown;

	if (want > PORTAL_FRAME_MAX)
		return false;
	while (cap < want)
		cap *= 2;
	if (cap == c->rx_cap)
		return true;
	grown = realloc(c->rx, cap);
	if (!grown)
		return false;
	c->rx = grown;
	c->rx_cap = cap;
	return true;
}

static int receive(struct conn *c, const void *in, size_t len)
{
	struct portal *p = c->sv->portal;
	bool last = lws_is_final_fragment(c->wsi) && !lws_remaining_packet_payload(c->wsi);

	if (!c->session)
		return -1;
	if (lws_frame_is_binary(c->wsi) || !rx_reserve(c, len)) {
		portal_violation(p, c->session,
				 lws_frame_is_binary(c->wsi) ? CLOSE_PROTOCOL : CLOSE_TOO_BIG);
		c->rx_len = 0;
	} else {
		if (len)
			memcpy(c->rx + c->rx_len, in, len);
		c->rx_len += len;
		if (!last)
			return 0;
		portal_message(p, c->session, (const char *)c->rx, c->rx_len, server_now(),
			       server_wall());
		c->rx_len = 0;
	}
	server_pump(c->sv);
	return 0;
}

static void gone(struct conn *c)
{
	uint64_t session = c->session;

	c->session = 0;
	if (session)
		portal_disconnect(c->sv->portal, session);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t len)
{
	struct conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;

	(void)user;
	if (!c)
		return 0;
	switch ((int)reason) {
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return http_upgrade(c, in ? in : "");
	case LWS_CALLBACK_HTTP:
		return http_request(c);
	case LWS_CALLBACK_ESTABLISHED:
		return c->session ? 0 : -1;
	case LWS_CALLBACK_RECEIVE:
		return receive(c, in, len);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return write_one(c);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return c->close_sent ? -1 : 0; /* 0: answered in kind, then closed */
	case LWS_CALLBACK_CLOSED:
		gone(c);
		return 0;
	case LWS_CALLBACK_WSI_DESTROY:
		gone(c);
		lws_set_opaque_user_data(wsi, NULL);
		conn_free(c);
		return 0;
	default:
		return 0;
	}
}

const struct lws_protocols server_protocols[] = {
	{.name = "portal", .callback = callback, .rx_buffer_size = 4096},
	{.name = NULL},
};
