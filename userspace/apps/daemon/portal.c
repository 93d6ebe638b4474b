/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal connection: the channel machine decides, the websocket carries, the role understands.
 * Losing it touches no established flow; only its word (a revocation, an expiry) does. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "apps/daemon/daemon.h"
#include "crypto/crypto.h"
#include "io/entropy.h"

/* The version of the portal protocol we speak, as its other speakers number it (SEED): portals
 * compare it when they match clients with gateways. Our own version is not theirs to compare. */
#define WIRE_VERSION "1.4.14"

const char *portal_state_name(enum daemon_portal p)
{
	static const char *const names[] = {
		[PORTAL_SIGNED_OUT] = "signed_out", [PORTAL_CONNECTING] = "connecting",
		[PORTAL_BACKOFF] = "backoff",	    [PORTAL_CONNECTED] = "connected",
		[PORTAL_FAILED] = "failed",
	};

	return names[p];
}

static void on_opened(void *ctx, uint64_t now)
{
	struct daemon *d = ctx;

	phx_opened(&d->phx, now);
	portal_drain(d, now);
}

static void on_text(void *ctx, const char *text, size_t len, uint64_t now)
{
	struct daemon *d = ctx;

	phx_input(&d->phx, text, len, now);
	portal_drain(d, now);
}

static void on_closed(void *ctx, const struct phx_close *why, uint64_t now)
{
	struct daemon *d = ctx;

	phx_closed(&d->phx, why, now);
	portal_drain(d, now);
}

/* One value of os-release, unquoted; "" when it is not there. */
static void os_value(const char *text, const char *key, char *out, size_t cap)
{
	const char *at = strstr(text, key);
	size_t len;

	out[0] = 0;
	if (!at)
		return;
	at += strlen(key);
	at += *at == '"';
	len = strcspn(at, "\"\n");
	snprintf(out, cap, "%.*s", (int)(len < cap ? len : cap - 1), at);
}

static void make_user_agent(struct daemon *d)
{
	char text[1024] = "", os[64], version[64];
	struct utsname u;
	size_t len;

	if (file_read("/etc/os-release", text, sizeof(text), &len, NULL))
		text[0] = 0;
	os_value(text, "\nID=", os, sizeof(os));
	os_value(text, "\nVERSION_ID=", version, sizeof(version));
	if (uname(&u))
		memset(&u, 0, sizeof(u));
	if (phx_user_agent(os[0] ? os : "Linux", version[0] ? version : "0", WIRE_VERSION,
			   u.machine, u.release, d->user_agent, sizeof(d->user_agent)))
		snprintf(d->user_agent, sizeof(d->user_agent), "Linux/0 connlib/%s",
			 PENSTOCK_VERSION);
}

int portal_init(struct daemon *d)
{
	const struct ws_cfg wcfg = {
		.ca_file = d->opt.ca_file[0] ? d->opt.ca_file : NULL,
		.fwmark = NL_FWMARK,
		.lookup = d->role->gateway ? NULL : portal_name_ask,
		.allow_plaintext = d->opt.allow_plaintext,
		.on_opened = on_opened,
		.on_text = on_text,
		.on_closed = on_closed,
		.ctx = d,
	};
	const struct phx_cfg pcfg = {
		.topic = d->role->name,
		.max_elapsed_ns = d->opt.max_partition_ns,
	};
	const char *why = "";
	uint8_t seed[32];
	int rc;

	make_user_agent(d);
	cand_hold_init(&d->held);
	if (!d->role->gateway)
		portal_name_open(d);
	rc = entropy_get(seed, sizeof(seed));
	if (!rc)
		rc = phx_init(&d->phx, &pcfg, seed, loop_now());
	crypto_wipe(seed, sizeof(seed));
	if (rc)
		return rc;
	rc = ws_new(&d->ws, &d->loop, &wcfg, &why);
	if (rc)
		LOG_ERROR("portal", "cannot set up the connection",
			  LOG_STR("ca_file", d->opt.ca_file), LOG_STR("why", why));
	return rc;
}

/* Between asking for relays by joining anew: a relay that is named and cannot be reached would make
 * us do it all day. */
#define RELAYS_WAIT_MIN_NS (10 * NS_PER_SEC)
#define RELAYS_WAIT_MAX_NS (600 * NS_PER_SEC)

static void set_portal(struct daemon *d, enum daemon_portal p, const char *error, uint64_t now)
{
	if (d->portal != p)
		d->portal_since_ns = now;
	d->portal = p;
	snprintf(d->portal_error, sizeof(d->portal_error), "%s", error);
}

void portal_start(struct daemon *d, uint64_t now)
{
	set_portal(d, PORTAL_CONNECTING, "", now);
	phx_start(&d->phx, now);
	portal_drain(d, now);
}

void portal_reconnect(struct daemon *d, uint64_t now)
{
	if (d->portal == PORTAL_SIGNED_OUT)
		return;
	phx_reconnect(&d->phx, now);
	portal_drain(d, now);
}

void portal_ask_relays(struct daemon *d, uint64_t now)
{
	if (time_since(d->relays_asked_ns, now) > 2 * RELAYS_WAIT_MAX_NS)
		d->relays_wait_ns = 0;
	d->relays_due_ns = time_add(d->relays_asked_ns, d->relays_wait_ns);
	if (d->relays_due_ns < now)
		d->relays_due_ns = now;
}

void portal_tick(struct daemon *d, uint64_t now)
{
	if (!d->relays_due_ns || now < d->relays_due_ns)
		return;
	d->relays_due_ns = 0;
	if (node_n_relays(&d->node) || d->portal != PORTAL_CONNECTED)
		return;
	d->relays_asked_ns = now;
	d->relays_wait_ns = d->relays_wait_ns ? 2 * d->relays_wait_ns : RELAYS_WAIT_MIN_NS;
	if (d->relays_wait_ns > RELAYS_WAIT_MAX_NS)
		d->relays_wait_ns = RELAYS_WAIT_MAX_NS;
	LOG_INFO("relay", "no relay left: asking the portal",
		 LOG_NS("not_again_for", d->relays_wait_ns));
	portal_reconnect(d, now);
}

static void do_connect(struct daemon *d, uint64_t now)
{
	const struct phx_url_params params = {
		.api_url = d->opt.api_url,
		.role = d->role->name,
		.token = d->token,
		.device_id = d->id,
		.name = d->opt.name,
		.public_key = node_public_key(&d->node),
	};
	struct phx_close failed = {.kind = PHX_CLOSE_TRANSPORT};
	struct phx_url url;
	const char *why = "too long";
	int rc = phx_url_build(&url, &params, &why);

	if (!rc) {
		rc = ws_connect(d->ws, &url, d->user_agent);
		why = rc == -EPERM
			      ? "plaintext to a host that is not loopback needs --allow-plaintext"
			      : strerror(-rc);
	}
	phx_url_fini(&url);
	if (!rc) {
		set_portal(d, PORTAL_CONNECTING, "", now);
		return;
	}
	snprintf(failed.detail, sizeof(failed.detail), "%s", why);
	if (rc == -EPERM) {
		LOG_ERROR("portal", "connection refused by our own rules", LOG_STR("why", why));
		daemon_stop(d, 2);
	}
	phx_closed(&d->phx, &failed, now);
}

static void on_push(struct daemon *d, const struct phx_event *ev, uint64_t now)
{
	struct pmsg_err err;
	struct pmsg m;
	int rc = pmsg_decode(&m, d->role->pmsg, ev->event, ev->payload, &err);

	if (rc == -ENOENT) {
		LOG_DEBUG("portal", "unknown message ignored", LOG_STR("event", ev->event));
		return;
	}
	if (rc) {
		LOG_WARN("portal", "message dropped", LOG_STR("event", ev->event),
			 LOG_STR("field", err.field), LOG_STR("why", err.why));
		return;
	}
	d->role->message(d, &m, now);
	pmsg_fini(&m);
}

static void on_fatal(struct daemon *d, const struct phx_event *ev, uint64_t now)
{
	set_portal(d, PORTAL_FAILED, ev->why, now);
	LOG_ERROR("portal", "giving up", LOG_STR("kind", phx_fatal_name(ev->fatal)),
		  LOG_STR("why", ev->why), LOG_U64("http_status", (uint64_t)ev->http_status));
	daemon_stop(d, ev->fatal == PHX_FATAL_AUTH || ev->fatal == PHX_FATAL_TOKEN_EXPIRED ||
				       ev->fatal == PHX_FATAL_JOIN
			       ? 3
			       : 1);
}

static void on_event(struct daemon *d, const struct phx_event *ev, uint64_t now)
{
	switch (ev->kind) {
	case PHX_EV_CONNECT:
		do_connect(d, now);
		break;
	case PHX_EV_CLOSE:
		ws_close(d->ws);
		break;
	case PHX_EV_JOINED:
		set_portal(d, PORTAL_CONNECTED, "", now);
		LOG_INFO("portal", "connected to portal and joined room",
			 LOG_STR("topic", d->role->name));
		break;
	case PHX_EV_PUSH:
		on_push(d, ev, now);
		break;
	case PHX_EV_HICCUP:
		set_portal(d, PORTAL_BACKOFF, ev->why, now);
		LOG_INFO("portal", "hiccup in portal connection", LOG_STR("why", ev->why),
			 LOG_NS("retry_in", ev->retry_in_ns));
		break;
	case PHX_EV_FATAL:
		on_fatal(d, ev, now);
		break;
	}
}

static void send_frames(struct daemon *d, uint64_t now)
{
	static char frame[PHX_SEND_MAX + 512];
	size_t len;

	while (ws_pending(d->ws) < WS_SEND_MAX / 2 &&
	       phx_poll_tx(&d->phx, frame, sizeof(frame), &len, now))
		if (ws_send(d->ws, frame, len))
			break;
}

/* Candidates go out in batches once the room is joined and while there is room for them; until then
 * they wait. */
void portal_flush(struct daemon *d, uint64_t now)
{
	struct cand_hold_batch batch;
	char payload[PHX_SEND_MAX];

	while (phx_is_joined(&d->phx) && d->phx.n_queued < PHX_QUEUE_MAX / 2 &&
	       cand_hold_pop(&d->held, &batch)) {
		if (pmsg_encode_candidates(d->role->pmsg, &batch.peer, batch.lines, batch.n,
					   payload, sizeof(payload)))
			continue;
		portal_send(d, batch.removed ? PMSG_EV_INVALIDATED_CANDIDATES : PMSG_EV_CANDIDATES,
			    payload, now);
		send_frames(d, now);
	}
}

void portal_drain(struct daemon *d, uint64_t now)
{
	struct phx_event ev;

	if (d->portal == PORTAL_SIGNED_OUT)
		return;
	while (phx_poll_event(&d->phx, &ev)) {
		on_event(d, &ev, now);
		phx_event_fini(&ev);
	}
	portal_flush(d, now);
	send_frames(d, now);
}

int portal_send(struct daemon *d, const char *event, const char *payload, uint64_t now)
{
	int rc = phx_send(&d->phx, event, payload, now);

	if (rc)
		LOG_DEBUG("portal", "message not sent", LOG_STR("event", event),
			  LOG_ERRNO("why", rc));
	return rc;
}

void portal_fini(struct daemon *d)
{
	if (d->ws) {
		ws_close(d->ws);
		ws_free(d->ws);
		d->ws = NULL;
	}
	phx_fini(&d->phx);
	crypto_wipe(d->token, sizeof(d->token));
}
