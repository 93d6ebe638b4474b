/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's connection to the portal as text frames: everything above the websocket is the daemon's
 * (portal.c, the channel machine), the other end is the test. Nodes have none until a test opens
 * it; messages of the portal's model do not come this way. */
#include <errno.h>
#include <stdlib.h>
#include "tests/policy/pw.h"
#include "tests/policy/pw_socket.h"

/* NULL: no world runs, or nobody opened the node's. */
static struct pw_socket *socket_of(struct ws *w)
{
	return (struct pw_socket *)w;
}

struct pw_socket *pw_socket_open(struct pw_world *w, uint8_t node)
{
	struct pw_node *n = &w->node[node];

	n->socket = calloc(1, sizeof(*n->socket));
	if (!T(n->socket != NULL))
		abort();
	tunnel_text_copy(n->d->opt.api_url, sizeof(n->d->opt.api_url), "wss://portal.test/");
	tunnel_text_copy(n->d->token, sizeof(n->d->token), "token");
	tunnel_text_copy(n->d->id, sizeof(n->d->id), "policy-world");
	T_EQ(portal_init(n->d), 0);
	portal_start(n->d, w->now);
	return n->socket;
}

void pw_socket_close(struct pw_world *w, uint8_t node)
{
	portal_name_close(w->node[node].d);
	portal_fini(w->node[node].d);
	free(w->node[node].socket);
	w->node[node].socket = NULL;
}

void pw_socket_opened(struct pw_world *w, uint8_t node)
{
	const struct ws_cfg *c = &w->node[node].socket->cfg;

	c->on_opened(c->ctx, w->now);
	pw_rest(&w->node[node]);
	pw_settle(w);
}

void pw_socket_text(struct pw_world *w, uint8_t node, const char *text)
{
	const struct ws_cfg *c = &w->node[node].socket->cfg;

	c->on_text(c->ctx, text, strlen(text), w->now);
	pw_rest(&w->node[node]);
	pw_settle(w);
}

/* ---- what portal.c calls ---- */
int __wrap_ws_new(struct ws **out, struct loop *l, const struct ws_cfg *cfg, const char **why);
int __wrap_ws_new(struct ws **out, struct loop *l, const struct ws_cfg *cfg, const char **why)
{
	(void)why;
	*out = NULL;
	for (uint32_t i = 0; i < PW_NODES; i++) {
		struct pw_node *n = &pw_the->node[i];

		if (!n->d || &n->d->loop != l || !n->socket)
			continue;
		n->socket->cfg = *cfg;
		*out = (struct ws *)n->socket;
	}
	return *out ? 0 : -EINVAL;
}

int __wrap_ws_connect(struct ws *w, const struct phx_url *url, const char *user_agent);
int __wrap_ws_connect(struct ws *w, const struct phx_url *url, const char *user_agent)
{
	struct pw_socket *s = socket_of(w);

	(void)url;
	(void)user_agent;
	s->connects++;
	s->connected_ns = pw_the->now;
	s->open = true;
	return 0;
}

void __wrap_ws_close(struct ws *w);
void __wrap_ws_close(struct ws *w)
{
	struct pw_socket *s = socket_of(w);

	s->closes += s->open;
	s->open = false;
}

int __wrap_ws_send(struct ws *w, const char *text, size_t len);
int __wrap_ws_send(struct ws *w, const char *text, size_t len)
{
	struct pw_socket *s = socket_of(w);

	T(len < sizeof(s->sent));
	s->frames++;
	s->sent[0] = 0;
	if (len < sizeof(s->sent)) {
		memcpy(s->sent, text, len);
		s->sent[len] = 0;
	}
	return 0;
}

size_t __wrap_ws_pending(const struct ws *w);
size_t __wrap_ws_pending(const struct ws *w)
{
	(void)w;
	return 0;
}

void __wrap_ws_free(struct ws *w);
void __wrap_ws_free(struct ws *w)
{
	(void)w;
}
