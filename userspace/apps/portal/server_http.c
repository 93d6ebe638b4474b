/* SPDX-License-Identifier: Apache-2.0
 *
 * What arrives before a WebSocket exists: routing, credentials, and answers in plain HTTP/1.1. */
#include <stdio.h>
#include <string.h>

#include "apps/portal/server_priv.h"
#include "base/log.h"

#define ARENA_CAP 16384 /* all decoded parameters of one request */

struct query {
	char arena[ARENA_CAP];
	size_t used;
};

static const char *reason_phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 422:
		return "Unprocessable Entity";
	case 503:
		return "Service Unavailable";
	default:
		return "Error";
	}
}

/* One small answer in one write. 1, or -1 when it could not be written. */
static int respond(struct conn *c, int status, const char *body)
{
	uint8_t buf[LWS_PRE + 1024];
	int n = snprintf((char *)buf + LWS_PRE, sizeof(buf) - LWS_PRE,
			 "HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\n"
			 "content-length: %zu\r\ncache-control: no-store\r\n%sconnection: close\r\n"
			 "\r\n%s",
			 status, reason_phrase(status), strlen(body),
			 status == 503 ? "retry-after: 5\r\n" : "", body);

	if (n < 0 || (size_t)n >= sizeof(buf) - LWS_PRE ||
	    lws_write(c->wsi, buf + LWS_PRE, (size_t)n, LWS_WRITE_HTTP_HEADERS) < 0)
		return -1;
	return 1;
}

/* The value of a query parameter, decoded, or NULL. The first of several counts. */
static const char *query_get(struct conn *c, struct query *q, const char *name)
{
	size_t name_len = strlen(name);
	char *at = q->arena + q->used;
	size_t room = ARENA_CAP - q->used;

	for (int i = 0; room > 1; i++) {
		int n = lws_hdr_copy_fragment(c->wsi, at, (int)room, WSI_TOKEN_HTTP_URI_ARGS, i);

		if (n < 0)
			return NULL;
		at[n] = '\0';
		if ((size_t)n <= name_len || memcmp(at, name, name_len) || at[name_len] != '=')
			continue;
		q->used += (size_t)n + 1;
		return at + name_len + 1;
	}
	return NULL;
}

/* "Bearer <token>" from X-Authorization, into the arena. */
static const char *bearer(struct conn *c, struct query *q)
{
	static const char name[] = "x-authorization:";
	char *at = q->arena + q->used;
	size_t room = ARENA_CAP - q->used;
	int n = lws_hdr_custom_copy(c->wsi, at, (int)room, name, sizeof(name) - 1);

	if (n < 7 || strncasecmp(at, "Bearer ", 7))
		return NULL;
	at[n] = '\0';
	q->used += (size_t)n + 1;
	return at + 7 + strspn(at + 7, " ");
}

static bool route(struct conn *c, enum portal_role *role)
{
	char path[64], want[64];
	int n = lws_hdr_copy(c->wsi, path, sizeof(path), WSI_TOKEN_GET_URI);

	for (unsigned r = 0; n > 0 && r < ROLE_N; r++) {
		*role = (enum portal_role)r;
		snprintf(want, sizeof(want), "/%s/websocket", portal_role_name(*role));
		if (!strcmp(path, want))
			return true;
	}
	return false;
}

static void connect_params(struct conn *c, struct query *q, struct connect_req *req)
{
	int n;

	req->token = bearer(c, q);
	if (!req->token)
		req->token = query_get(c, q, "token");
	req->external_id = query_get(c, q, "external_id");
	req->name = query_get(c, q, "name");
	req->public_key = query_get(c, q, "public_key");
	req->ipv4 = query_get(c, q, "ipv4");
	req->ipv6 = query_get(c, q, "ipv6");
	req->port = query_get(c, q, "port");
	req->vsn = query_get(c, q, "vsn");
	n = lws_hdr_copy(c->wsi, q->arena + q->used, (int)(ARENA_CAP - q->used),
			 WSI_TOKEN_HTTP_USER_AGENT);
	req->user_agent = n > 0 ? q->arena + q->used : NULL;
}

int http_upgrade(struct conn *c, const char *protocol)
{
	struct connect_req req = {.role = ROLE_CLIENT};
	struct connect_res res;
	struct query q = {.used = 0};
	int rc = 0;

	if (c->sv->stopping)
		return respond(c, 503, "Shutting down");
	if (!route(c, &req.role))
		return respond(c, 404, "Not found");
	if (strcasecmp(protocol, "websocket"))
		return respond(c, 400, "Not a WebSocket upgrade");
	connect_params(c, &q, &req);
	portal_connect(c->sv->portal, &req, &res, server_now(), server_wall());
	if (res.status == 101) {
		c->session = res.session;
	} else {
		char ip[IPADDR_STRLEN];

		LOG_DEBUG("portal", "refused", LOG_U64("status", (uint64_t)res.status),
			  LOG_STR("why", res.body), LOG_STR("role", portal_role_name(req.role)),
			  LOG_STR("from", ipaddr_fmt(&c->party, ip)));
		rc = respond(c, res.status, res.body);
	}
	explicit_bzero(&q, sizeof(q)); /* a token went through it */
	return rc;
}

int http_request(struct conn *c)
{
	char path[64];
	enum portal_role role;
	int n = lws_hdr_copy(c->wsi, path, sizeof(path), WSI_TOKEN_GET_URI);

	if (n > 0 && !strcmp(path, "/healthz"))
		n = respond(c, 200, "ok\n");
	else if (n > 0)
		n = route(c, &role) ? respond(c, 400, "Not a WebSocket upgrade")
				    : respond(c, 404, "Not found");
	else
		n = respond(c, 400, "Bad request"); /* any other method */
	return n < 0 || lws_http_transaction_completed(c->wsi) ? -1 : 0;
}
