/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP for supervisors and load balancers, where --health-check-addr says: /healthz is 200 unless
 * the portal was lost 15 minutes ago or longer (then 400); /readyz is 200 while new clients are
 * welcome, else 503. */
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/relay/app.h"

#define HEARTBEAT_MAX_NS (15 * 60 * NS_PER_SEC)
#define REQUEST_SEC	 5

struct health {
	struct app *app;
	struct lws_context *lws;
	char ip[IPADDR_STRLEN];
};

bool health_is_live(const struct app *a, uint64_t now)
{
	return !a->portal_ever || time_since(a->portal_seen_ns, now) < HEARTBEAT_MAX_NS;
}

bool health_is_ready(const struct app *a)
{
	return !a->draining && (!a->ws || a->portal == PORTAL_CONNECTED);
}

static int respond(struct lws *wsi, int status, const char *body)
{
	uint8_t buf[LWS_PRE + 256], *start = buf + LWS_PRE, *p = start, *end = buf + sizeof(buf);
	size_t len = strlen(body);

	if (lws_add_http_common_headers(wsi, (unsigned)status, "text/plain", len, &p, end) ||
	    lws_finalize_write_http_header(wsi, start, &p, end))
		return -1;
	memcpy(start, body, len + 1);
	if (lws_write(wsi, start, len, LWS_WRITE_HTTP_FINAL) < 0)
		return -1;
	return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		   size_t len)
{
	const struct health *h = lws_context_user(lws_get_context(wsi));

	/* A websocket has no time limit, and their number is the supervisor's, too. */
	if (reason == LWS_CALLBACK_HTTP_CONFIRM_UPGRADE ||
	    reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION)
		return -1;
	if (reason != LWS_CALLBACK_HTTP)
		return lws_callback_http_dummy(wsi, reason, user, in, len);
	if (len == 8 && !memcmp(in, "/healthz", 8))
		return health_is_live(h->app, loop_now())
			       ? respond(wsi, 200, "ok\n")
			       : respond(wsi, 400, "no portal for too long\n");
	if (len == 7 && !memcmp(in, "/readyz", 7))
		return respond(wsi, health_is_ready(h->app) ? 200 : 503, PENSTOCK_VERSION "\n");
	return respond(wsi, 404, "not found\n");
}

static const struct lws_protocols protocols[] = {{.name = "http", .callback = on_http}, {0}};

static int start(struct health *h, const struct endpoint *at)
{
	void *loops[1] = {&h->app->loop.uv};
	struct lws_context_creation_info info = {
		.port = at->port,
		.iface = h->ip,
		.protocols = protocols,
		.foreign_loops = loops,
		.user = h,
		.gid = -1,
		.uid = -1,
		.timeout_secs = REQUEST_SEC,
		.keepalive_timeout = REQUEST_SEC,
		.fd_limit_per_thread = 64,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
			   LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND |
			   (at->ip.family == 4 ? LWS_SERVER_OPTION_DISABLE_IPV6 : 0),
	};

	h->lws = lws_create_context(&info);
	if (!h->lws || !lws_create_vhost(h->lws, &info))
		return -EADDRINUSE;
	return 0;
}

int health_open(struct app *a)
{
	struct endpoint at;
	int rc;

	if (!a->opt.health_addr[0])
		return 0;
	if (endpoint_parse(a->opt.health_addr, &at) || !at.port) {
		LOG_ERROR("config", "--health-check-addr is no address and port",
			  LOG_STR("value", a->opt.health_addr));
		return -EINVAL;
	}
	a->health = calloc(1, sizeof(*a->health));
	if (!a->health)
		return -ENOMEM;
	a->health->app = a;
	ipaddr_fmt(&at.ip, a->health->ip);
	lws_set_log_level(LLL_ERR, NULL);
	rc = start(a->health, &at);
	if (rc)
		LOG_ERROR("health", "cannot listen", LOG_ENDPOINT("address", &at));
	else
		LOG_INFO("health", "listening", LOG_ENDPOINT("address", &at));
	return rc;
}

void health_close(struct app *a)
{
	struct health *h = a->health;

	if (!h)
		return;
	if (h->lws) {
		/* on somebody else's loop: its handles close in the turns between the two calls */
		lws_context_destroy(h->lws);
		for (int i = 0; i < 10; i++)
			uv_run(&a->loop.uv, UV_RUN_NOWAIT);
		lws_context_destroy(h->lws);
	}
	free(h);
	a->health = NULL;
}
