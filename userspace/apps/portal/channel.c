/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of the channel protocol, serializer version 1: one JSON object with topic, event, payload
 * and ref. What is no such object ends the connection, as it does where this protocol comes from.
 */
#include <string.h>

#include "apps/portal/expiry.h"
#include "apps/portal/relays.h"
#include "apps/portal/render.h"
#include "apps/portal/state_priv.h"
#include "apps/portal/version.h"
#include "base/log.h"

struct frame {
	const char *topic, *event;
	const json_t *payload, *ref;
};

static bool frame_parse(const json_t *v, struct frame *f)
{
	const json_t *topic = json_object_get(v, "topic"), *event = json_object_get(v, "event");

	f->payload = json_object_get(v, "payload");
	f->ref = json_object_get(v, "ref");
	f->topic = json_string_value(topic);
	f->event = json_string_value(event);
	return f->topic && f->event && f->payload && f->ref &&
	       (json_is_integer(f->ref) || json_is_null(f->ref) || json_is_string(f->ref));
}

static void reply(struct portal *p, struct session *s, const struct frame *f, bool ok,
		  json_t *response)
{
	session_send(p, s, f->topic, "phx_reply", f->ref, render_reply(ok, response));
}

static void refuse(struct portal *p, struct session *s, const struct frame *f, const char *reason)
{
	reply(p, s, f, false, render_reason(reason));
}

/* A relay's secret: any text, within reason. */
static const char *stamp_of(const struct frame *f)
{
	const json_t *v = json_object_get(f->payload, "stamp_secret");
	size_t len = json_string_length(v);

	return len && len <= STAMP_MAX ? json_string_value(v) : NULL;
}

/* Why this session may not join, or NULL. */
static const char *join_fault(const struct portal *p, const struct session *s,
			      const struct frame *f, uint64_t wall)
{
	struct version v;

	if (expiry_passed(s->token->expires_at, wall))
		return "token_expired";
	if (s->role == ROLE_CLIENT && !version_parse(s->version, &v))
		return "invalid_version";
	if (s->role == ROLE_RELAY && !stamp_of(f))
		return "join crashed";
	return s->role == ROLE_RELAY && !relays_room(p) ? "too many relays" : NULL;
}

/* The newest connection of a device is the device: an older one is most likely dead already, left
 * over from before a change of network. */
static void replace_older(struct portal *p, const struct session *s)
{
	struct session *old = s->dev ? s->dev->session : NULL;

	if (!old || old == s)
		return;
	p->count.replaced++;
	LOG_INFO("portal", "replaced by a newer connection", LOG_STR("id", s->dev->id),
		 LOG_U64("session", old->id), LOG_U64("newer", s->id));
	session_close(p, old, CLOSE_NORMAL);
}

static void join(struct portal *p, struct session *s, const struct frame *f, uint64_t wall)
{
	const char *why;

	if (s->phase == SESSION_JOINED) {
		session_send(p, s, f->topic, "phx_close", NULL, json_object());
		session_set_phase(p, s, SESSION_CONNECTED);
		session_forget_told(s);
	}
	why = join_fault(p, s, f, wall);
	if (why) {
		p->count.table_full += s->role == ROLE_RELAY && !relays_room(p);
		refuse(p, s, f, why);
		return;
	}
	replace_older(p, s);
	session_set_phase(p, s, SESSION_JOINED);
	reply(p, s, f, true, json_object());
	switch (s->role) {
	case ROLE_CLIENT:
		session_push(p, s, "init", access_client_init(p, s, wall));
		break;
	case ROLE_GATEWAY:
		access_drop_elsewhere(p, s->dev, wall);
		session_push(p, s, "init", access_gateway_init(p, s, wall));
		access_repeat_revocations(p, s);
		access_sync_filters(p, s);
		break;
	case ROLE_RELAY:
		session_push(p, s, "init", json_object());
		relays_publish(p, s, stamp_of(f));
		break;
	case ROLE_N:
		break;
	}
}

static void leave(struct portal *p, struct session *s, const struct frame *f)
{
	reply(p, s, f, true, json_object());
	session_send(p, s, f->topic, "phx_close", NULL, json_object());
	session_set_phase(p, s, SESSION_CONNECTED);
	session_forget_told(s);
}

static void role_event(struct portal *p, struct session *s, const struct frame *f, uint64_t now,
		       uint64_t wall)
{
	bool known = false;

	if (s->role != ROLE_RELAY && !strcmp(f->event, "no_relays")) {
		relays_answer_none(p, s);
		return;
	}
	if (s->role == ROLE_CLIENT)
		known = channel_client_event(p, s, f->event, f->payload, now, wall);
	else if (s->role == ROLE_GATEWAY)
		known = channel_gateway_event(p, s, f->event, f->payload, f->ref, wall);
	if (known)
		return;
	p->count.unknown++;
	refuse(p, s, f, "unknown_message");
}

static void dispatch(struct portal *p, struct session *s, const struct frame *f, uint64_t now,
		     uint64_t wall)
{
	if (!strcmp(f->topic, "phoenix") && !strcmp(f->event, "heartbeat"))
		reply(p, s, f, true, json_object());
	else if (strcmp(f->topic, portal_role_name(s->role)))
		refuse(p, s, f, "unmatched topic");
	else if (!strcmp(f->event, "phx_join"))
		join(p, s, f, wall);
	else if (s->phase != SESSION_JOINED)
		refuse(p, s, f, "unmatched topic");
	else if (!strcmp(f->event, "phx_leave"))
		leave(p, s, f);
	else
		role_event(p, s, f, now, wall);
}

void portal_message(struct portal *p, uint64_t session, const char *text, size_t len, uint64_t now,
		    uint64_t wall)
{
	struct session *s = session_find(p, session);
	struct frame f;
	json_t *v;

	if (!s || s->phase == SESSION_CLOSING)
		return;
	s->last_rx = now;
	if (len > PORTAL_FRAME_MAX) {
		portal_violation(p, session, CLOSE_TOO_BIG);
		return;
	}
	v = json_loadb(text, len, 0, NULL);
	if (v && frame_parse(v, &f))
		dispatch(p, s, &f, now, wall);
	else
		portal_violation(p, session, CLOSE_PROTOCOL);
	json_decref(v);
}
