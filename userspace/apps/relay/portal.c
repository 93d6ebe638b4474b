/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay at the portal: join the room with the stamp secret, beat, come back. Relaying never
 * waits for it; what the portal decides is only who gets credentials. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/relay/app.h"
#include "base/time.h"
#include "crypto/crypto.h"
#include "io/entropy.h"

const char *portal_state_name(enum app_portal p)
{
	static const char *const names[] = {
		[PORTAL_NONE] = "none",	      [PORTAL_CONNECTING] = "connecting",
		[PORTAL_BACKOFF] = "backoff", [PORTAL_CONNECTED] = "connected",
		[PORTAL_FAILED] = "failed",
	};

	return names[p];
}

static void on_opened(void *ctx, uint64_t now)
{
	struct app *a = ctx;

	phx_opened(&a->phx, now);
	portal_drain(a, now);
}

static void on_text(void *ctx, const char *text, size_t len, uint64_t now)
{
	struct app *a = ctx;

	phx_input(&a->phx, text, len, now);
	portal_drain(a, now);
}

static void on_closed(void *ctx, const struct phx_close *why, uint64_t now)
{
	struct app *a = ctx;

	phx_closed(&a->phx, why, now);
	portal_drain(a, now);
}

static int init_channel(struct app *a, uint64_t now)
{
	char join[128];
	const struct phx_cfg cfg = {
		.topic = "relay",
		.join_payload = join,
		.max_elapsed_ns = a->opt.max_partition_ns,
	};
	uint8_t seed[32];
	int rc = entropy_get(seed, sizeof(seed));

	snprintf(join, sizeof(join), "{\"stamp_secret\":\"%s\"}", a->stamp);
	if (!rc)
		rc = phx_init(&a->phx, &cfg, seed, now);
	crypto_wipe(join, sizeof(join));
	crypto_wipe(seed, sizeof(seed));
	return rc;
}

int portal_init(struct app *a, uint64_t now)
{
	const struct ws_cfg cfg = {
		.ca_file = a->opt.ca_file[0] ? a->opt.ca_file : NULL,
		.allow_plaintext = a->opt.allow_plaintext,
		.on_opened = on_opened,
		.on_text = on_text,
		.on_closed = on_closed,
		.ctx = a,
	};
	const char *why = "";
	int rc;

	if (!a->opt.api_url[0])
		return 0;
	snprintf(a->user_agent, sizeof(a->user_agent), "relay/%s", PENSTOCK_VERSION);
	rc = init_channel(a, now);
	if (!rc)
		rc = ws_new(&a->ws, &a->loop, &cfg, &why);
	if (rc)
		LOG_ERROR("portal", "cannot set up the connection",
			  LOG_STR("ca_file", a->opt.ca_file), LOG_STR("why", why));
	return rc;
}

static void set_portal(struct app *a, enum app_portal p, const char *error, uint64_t now)
{
	if (a->portal != p)
		a->portal_since_ns = now;
	a->portal = p;
	snprintf(a->portal_error, sizeof(a->portal_error), "%s", error);
}

void portal_start(struct app *a, uint64_t now)
{
	if (!a->ws)
		return;
	set_portal(a, PORTAL_CONNECTING, "", now);
	phx_start(&a->phx, now);
	portal_drain(a, now);
}

static void do_connect(struct app *a, uint64_t now)
{
	char ip4[IPADDR_STRLEN], ip6[IPADDR_STRLEN], port[8];
	const struct phx_url_params params = {
		.api_url = a->opt.api_url,
		.role = "relay",
		.token = a->token,
		.name = a->opt.has_name ? a->opt.name : NULL,
		.ipv4 = a->opt.public4.family ? ipaddr_fmt(&a->opt.public4, ip4) : NULL,
		.ipv6 = a->opt.public6.family ? ipaddr_fmt(&a->opt.public6, ip6) : NULL,
		.port = port,
	};
	struct phx_close failed = {.kind = PHX_CLOSE_TRANSPORT};
	struct phx_url url;
	const char *why = "too long";
	int rc;

	snprintf(port, sizeof(port), "%u", a->opt.listen_port);
	rc = phx_url_build(&url, &params, &why);
	if (!rc) {
		rc = ws_connect(a->ws, &url, a->user_agent);
		why = rc == -EPERM
			      ? "plaintext to a host that is not loopback needs --allow-plaintext"
			      : strerror(-rc);
	}
	phx_url_fini(&url);
	if (!rc) {
		set_portal(a, PORTAL_CONNECTING, "", now);
		return;
	}
	snprintf(failed.detail, sizeof(failed.detail), "%s", why);
	if (rc == -EPERM) {
		LOG_ERROR("portal", "connection refused by our own rules", LOG_STR("why", why));
		app_stop(a, 2);
	}
	phx_closed(&a->phx, &failed, now);
}

/* Without the portal there is still work when somebody else's credentials are good. */
static void on_fatal(struct app *a, const struct phx_event *ev, uint64_t now)
{
	bool others = a->relay.auth.n_users || a->relay.auth.shared[0];

	set_portal(a, PORTAL_FAILED, ev->why, now);
	LOG_ERROR("portal", "giving up", LOG_STR("kind", phx_fatal_name(ev->fatal)),
		  LOG_STR("why", ev->why), LOG_U64("http_status", (uint64_t)ev->http_status),
		  LOG_BOOL("relaying_on", others));
	if (!others)
		app_stop(a, ev->fatal == PHX_FATAL_AUTH || ev->fatal == PHX_FATAL_TOKEN_EXPIRED ||
					    ev->fatal == PHX_FATAL_JOIN
				    ? 3
				    : 1);
}

static void on_event(struct app *a, const struct phx_event *ev, uint64_t now)
{
	switch (ev->kind) {
	case PHX_EV_CONNECT:
		do_connect(a, now);
		break;
	case PHX_EV_CLOSE:
		ws_close(a->ws);
		break;
	case PHX_EV_JOINED:
		set_portal(a, PORTAL_CONNECTED, "", now);
		a->portal_ever = true;
		LOG_INFO("portal", "connected to portal and joined room",
			 LOG_STR("topic", "relay"));
		break;
	case PHX_EV_PUSH: /* `init`, and it says nothing */
		LOG_DEBUG("portal", "message", LOG_STR("event", ev->event));
		break;
	case PHX_EV_HICCUP:
		set_portal(a, PORTAL_BACKOFF, ev->why, now);
		LOG_INFO("portal", "hiccup in portal connection", LOG_STR("why", ev->why),
			 LOG_NS("retry_in", ev->retry_in_ns));
		break;
	case PHX_EV_FATAL:
		on_fatal(a, ev, now);
		break;
	}
}

void portal_drain(struct app *a, uint64_t now)
{
	static char frame[PHX_SEND_MAX + 512];
	struct phx_event ev;
	size_t len;

	if (!a->ws || a->portal == PORTAL_NONE)
		return;
	while (phx_poll_event(&a->phx, &ev)) {
		on_event(a, &ev, now);
		phx_event_fini(&ev);
	}
	while (ws_pending(a->ws) < WS_SEND_MAX / 2 &&
	       phx_poll_tx(&a->phx, frame, sizeof(frame), &len, now))
		if (ws_send(a->ws, frame, len))
			break;
	if (phx_is_joined(&a->phx))
		a->portal_seen_ns = now;
}

void portal_leave(struct app *a)
{
	if (!a->ws)
		return;
	ws_close(a->ws);
	a->portal = PORTAL_NONE;
}

void portal_fini(struct app *a)
{
	if (a->ws) {
		ws_close(a->ws);
		ws_free(a->ws);
		a->ws = NULL;
		phx_fini(&a->phx);
	}
	crypto_wipe(a->token, sizeof(a->token));
	crypto_wipe(a->stamp, sizeof(a->stamp));
}
