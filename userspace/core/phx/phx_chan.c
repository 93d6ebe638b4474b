/* SPDX-License-Identifier: Apache-2.0
 *
 * Order of this file: policy tables, events, state and connection life, input, output, timers.
 * Timers: retry_at (WAITING), join_deadline (JOINING), heartbeat_at (JOINING, JOINED). */
#include "core/phx/phx_chan.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"

#define PUSH_ROOM \
	4 /* of the event ring, kept free of pushes for what the machine itself has to say */

/* ---- policy ---- */

enum phx_fatal phx_http_verdict(int status)
{
	if (status == 401 || status == 403)
		return PHX_FATAL_AUTH;
	if (status == 408 || status == 425 || status == 426 || status == 429)
		return PHX_FATAL_NONE;
	return status >= 400 && status < 500 ? PHX_FATAL_HTTP : PHX_FATAL_NONE;
}

enum phx_fatal phx_join_verdict(const char *reason)
{
	if (!strcmp(reason, "token_expired"))
		return PHX_FATAL_TOKEN_EXPIRED;
	return strcmp(reason, "join crashed") ? PHX_FATAL_JOIN : PHX_FATAL_NONE;
}

const char *phx_fatal_name(enum phx_fatal f)
{
	static const char *const names[] = {"none", "auth", "token_expired", "http",
					    "cert", "join", "retries"};

	return names[f];
}

const char *phx_state_name(enum phx_state s)
{
	static const char *const names[] = {"idle",    "waiting", "connecting",
					    "joining", "joined",  "dead"};

	return names[s];
}

/* ---- events ---- */

static struct phx_event *event_new(struct phx *p, enum phx_event_kind kind)
{
	size_t room = kind == PHX_EV_PUSH ? PUSH_ROOM : 0;
	struct phx_event *ev;

	if (p->ev_count + room >= PHX_EVENTS_MAX) {
		p->stats.events_lost++;
		return NULL;
	}
	ev = &p->events[(p->ev_first + p->ev_count++) % PHX_EVENTS_MAX];
	memset(ev, 0, sizeof(*ev));
	ev->kind = kind;
	return ev;
}

bool phx_poll_event(struct phx *p, struct phx_event *out)
{
	if (!p->ev_count)
		return false;
	*out = p->events[p->ev_first];
	p->events[p->ev_first].payload = NULL;
	p->ev_first = (uint8_t)((p->ev_first + 1) % PHX_EVENTS_MAX);
	p->ev_count--;
	return true;
}

void phx_event_fini(struct phx_event *ev)
{
	json_decref(ev->payload);
	ev->payload = NULL;
}

/* ---- state ---- */

static void phx_set_state(struct phx *p, enum phx_state to)
{
	static const uint8_t allowed[] = {
		[PHX_IDLE] = 1u << PHX_CONNECTING,
		[PHX_WAITING] = 1u << PHX_CONNECTING,
		[PHX_CONNECTING] = 1u << PHX_CONNECTING | 1u << PHX_JOINING | 1u << PHX_WAITING |
				   1u << PHX_DEAD,
		[PHX_JOINING] = 1u << PHX_CONNECTING | 1u << PHX_JOINED | 1u << PHX_WAITING |
				1u << PHX_DEAD,
		[PHX_JOINED] = 1u << PHX_CONNECTING | 1u << PHX_JOINING | 1u << PHX_WAITING |
			       1u << PHX_DEAD,
		[PHX_DEAD] = 1u << PHX_CONNECTING,
	};

	assert(allowed[p->state] & 1u << to);
	p->state = to;
}

static bool has_socket(const struct phx *p)
{
	return p->state == PHX_CONNECTING || p->state == PHX_JOINING || p->state == PHX_JOINED;
}

static bool is_open(const struct phx *p)
{
	return p->state == PHX_JOINING || p->state == PHX_JOINED;
}

bool phx_is_joined(const struct phx *p)
{
	return p->state == PHX_JOINED;
}

/* Everything that belongs to one connection. */
static void connection_forget(struct phx *p)
{
	p->retry_at = p->join_deadline = p->heartbeat_at = p->joined_at = TIME_NEVER;
	p->next_ref = p->join_ref = 0;
	p->join_due = p->join_pending = p->heartbeat_due = false;
	p->n_heartbeats = 0;
	p->n_queued = 0;
	p->queue_len = 0;
}

int phx_init(struct phx *p, const struct phx_cfg *cfg, const uint8_t seed[32], uint64_t now)
{
	const char *join = cfg->join_payload ? cfg->join_payload : "null";
	uint64_t jitter_seed = le64_get(seed) ^ le64_get(seed + 8) ^ le64_get(seed + 16) ^
			       le64_get(seed + 24) ^ now;

	memset(p, 0, sizeof(*p));
	if (!cfg->topic || !*cfg->topic || strlen(cfg->topic) >= sizeof(p->topic) ||
	    strlen(join) >= sizeof(p->join_payload))
		return -EINVAL;
	memcpy(p->topic, cfg->topic, strlen(cfg->topic) + 1);
	memcpy(p->join_payload, join, strlen(join) + 1);
	p->heartbeat_ns = cfg->heartbeat_ns ? cfg->heartbeat_ns : PHX_HEARTBEAT_NS;
	p->join_timeout_ns = cfg->join_timeout_ns ? cfg->join_timeout_ns : PHX_JOIN_TIMEOUT_NS;
	phx_backoff_init(&p->backoff, cfg->max_elapsed_ns, jitter_seed);
	connection_forget(p);
	return 0;
}

void phx_fini(struct phx *p)
{
	struct phx_event ev;

	while (phx_poll_event(p, &ev))
		phx_event_fini(&ev);
	explicit_bzero(p, sizeof(*p)); /* a relay's join payload is a secret */
}

/* ---- life of a connection ---- */

static void connect_now(struct phx *p)
{
	connection_forget(p);
	phx_set_state(p, PHX_CONNECTING);
	p->stats.connects++;
	event_new(p, PHX_EV_CONNECT);
}

void phx_start(struct phx *p, uint64_t now)
{
	(void)now;
	if (p->state == PHX_IDLE)
		connect_now(p);
}

void phx_reconnect(struct phx *p, uint64_t now)
{
	(void)now;
	if (has_socket(p))
		event_new(p, PHX_EV_CLOSE);
	phx_backoff_reset(&p->backoff);
	connect_now(p);
}

void phx_opened(struct phx *p, uint64_t now)
{
	if (p->state != PHX_CONNECTING)
		return;
	phx_set_state(p, PHX_JOINING);
	p->join_due = true;
	p->join_deadline = time_add(now, p->join_timeout_ns);
	p->heartbeat_at = time_add(now, p->heartbeat_ns);
}

static void die(struct phx *p, enum phx_fatal fatal, int http_status, const char *why)
{
	struct phx_event *ev;

	connection_forget(p);
	phx_set_state(p, PHX_DEAD);
	ev = event_new(p, PHX_EV_FATAL);
	if (!ev)
		return;
	ev->fatal = fatal;
	ev->http_status = http_status;
	snprintf(ev->why, sizeof(ev->why), "%s", why);
}

/* A transient failure: wait and try again, or give up when the budget is spent. */
static void hiccup(struct phx *p, const struct phx_close *c, const char *why, uint64_t now)
{
	uint64_t delay, retry_after = c ? c->retry_after_s * NS_PER_SEC : 0;
	int status = c ? c->http_status : 0;
	struct phx_event *ev;

	p->stats.hiccups++;
	if (p->joined_at != TIME_NEVER) {
		if (time_since(p->joined_at, now) >= PHX_STABLE_NS)
			phx_backoff_reset(&p->backoff);
		p->backoff.began_at = TIME_NEVER; /* it did work: the budget starts anew */
	}
	if (!phx_backoff_next(&p->backoff, retry_after, &delay, now)) {
		die(p, PHX_FATAL_RETRIES, status, why);
		return;
	}
	connection_forget(p);
	phx_set_state(p, PHX_WAITING);
	p->retry_at = time_add(now, delay);
	ev = event_new(p, PHX_EV_HICCUP);
	if (!ev)
		return;
	ev->retry_in_ns = delay;
	ev->http_status = status;
	snprintf(ev->why, sizeof(ev->why), "%s", why);
}

/* We are the ones to end an open connection. */
static void abandon(struct phx *p, const char *why, uint64_t now)
{
	event_new(p, PHX_EV_CLOSE);
	hiccup(p, NULL, why, now);
}

static void abandon_for_good(struct phx *p, enum phx_fatal fatal, const char *why)
{
	event_new(p, PHX_EV_CLOSE);
	die(p, fatal, 0, why);
}

void phx_closed(struct phx *p, const struct phx_close *c, uint64_t now)
{
	static const char *const kinds[] = {
		[PHX_CLOSE_HTTP] = "upgrade refused",
		[PHX_CLOSE_CERT] = "certificate not accepted",
		[PHX_CLOSE_TRANSPORT] = "transport failed",
		[PHX_CLOSE_PEER] = "closed by the portal",
	};
	enum phx_fatal fatal = PHX_FATAL_NONE;
	char why[PHX_WHY_CAP];

	if (!has_socket(p))
		return;
	snprintf(why, sizeof(why), "%s%s%.60s", kinds[c->kind], c->detail[0] ? ": " : "",
		 c->detail);
	if (c->kind == PHX_CLOSE_HTTP)
		fatal = phx_http_verdict(c->http_status);
	else if (c->kind == PHX_CLOSE_CERT)
		fatal = PHX_FATAL_CERT;
	if (fatal != PHX_FATAL_NONE)
		die(p, fatal, c->http_status, why);
	else
		hiccup(p, c, why, now);
}

/* ---- input ---- */

static bool is_empty_object(const json_t *v)
{
	return json_is_object(v) && json_object_size(v) == 0;
}

static void on_joined(struct phx *p, uint64_t now)
{
	p->join_pending = false;
	p->join_deadline = TIME_NEVER;
	p->joined_at = now;
	p->stats.joins++;
	phx_set_state(p, PHX_JOINED);
	event_new(p, PHX_EV_JOINED);
}

static void rejoin(struct phx *p, uint64_t now)
{
	phx_set_state(p, PHX_JOINING);
	p->join_due = true;
	p->join_deadline = time_add(now, p->join_timeout_ns);
}

static void on_join_refused(struct phx *p, const char *reason, uint64_t now)
{
	enum phx_fatal fatal = phx_join_verdict(reason);
	char why[PHX_WHY_CAP];

	snprintf(why, sizeof(why), "join refused: %.64s", reason);
	if (fatal == PHX_FATAL_NONE)
		abandon(p, why, now);
	else
		abandon_for_good(p, fatal, why);
}

static void on_reply(struct phx *p, const struct phx_frame *f, uint64_t now)
{
	const char *status = json_string_value(json_object_get(f->payload, "status"));
	const json_t *response = json_object_get(f->payload, "response");
	const char *reason = json_string_value(json_object_get(response, "reason"));
	bool for_join = p->join_pending && f->has_ref && f->ref == p->join_ref;

	if (!f->has_ref || !status) {
		p->stats.frames_ignored++;
	} else if (!strcmp(status, "ok")) {
		if (for_join && is_empty_object(response))
			on_joined(p, now);
		else if (for_join)
			p->stats.frames_ignored++; /* not an answer to a join: its time-out decides
						    */
	} else if (!strcmp(status, "error") && reason) {
		p->stats.reply_errors++;
		if (for_join)
			on_join_refused(p, reason, now);
		else if (!strcmp(reason, "unmatched topic") && p->state == PHX_JOINED)
			rejoin(p, now);
	} else {
		p->stats.frames_ignored++;
	}
}

static void on_heartbeat_reply(struct phx *p, const struct phx_frame *f)
{
	for (uint8_t i = 0; f->has_ref && i < p->n_heartbeats; i++) {
		if (p->heartbeats[i] != f->ref)
			continue;
		memmove(&p->heartbeats[i], &p->heartbeats[i + 1],
			(size_t)(p->n_heartbeats - i - 1) * sizeof(p->heartbeats[0]));
		p->n_heartbeats--;
		return;
	}
	p->stats.frames_ignored++;
}

static void on_disconnect(struct phx *p, const struct phx_frame *f)
{
	const char *reason = json_string_value(json_object_get(f->payload, "reason"));

	if (reason && !strcmp(reason, "token_expired"))
		abandon_for_good(p, PHX_FATAL_TOKEN_EXPIRED, "the portal says the token expired");
	else
		p->stats.frames_ignored++;
}

static void on_push(struct phx *p, struct phx_frame *f)
{
	struct phx_event *ev;

	if (p->state != PHX_JOINED) {
		p->stats.frames_ignored++;
		return;
	}
	ev = event_new(p, PHX_EV_PUSH);
	if (!ev)
		return;
	p->stats.pushes++;
	memcpy(ev->event, f->event, sizeof(ev->event));
	ev->payload = phx_frame_take_payload(f);
}

static void on_own_topic(struct phx *p, struct phx_frame *f, uint64_t now)
{
	if (!strcmp(f->event, "phx_reply")) {
		on_reply(p, f, now);
	} else if (!strcmp(f->event, "phx_close") || !strcmp(f->event, "phx_error")) {
		if (is_empty_object(f->payload))
			abandon(p, f->event[4] == 'c' ? "channel closed" : "channel crashed", now);
		else
			p->stats.frames_ignored++;
	} else if (!strcmp(f->event, "disconnect")) {
		on_disconnect(p, f);
	} else {
		on_push(p, f);
	}
}

void phx_input(struct phx *p, const char *text, size_t len, uint64_t now)
{
	struct phx_frame f;

	if (!is_open(p))
		return;
	switch (phx_frame_decode(&f, text, len)) {
	case PHX_FRAME_TRUNCATED:
		p->stats.frames_bad++;
		abandon(p, "truncated frame", now);
		return;
	case PHX_FRAME_BAD:
		p->stats.frames_bad++;
		return;
	case PHX_FRAME_OK:
		break;
	}
	if (!strcmp(f.topic, p->topic))
		on_own_topic(p, &f, now);
	else if (!strcmp(f.topic, "phoenix") && !strcmp(f.event, "phx_reply"))
		on_heartbeat_reply(p, &f);
	else
		p->stats.frames_ignored++;
	phx_frame_fini(&f);
}

/* ---- output ---- */

static bool already_queued(const struct phx *p, const char *event, const char *payload)
{
	const char *q = p->queue;

	for (uint16_t i = 0; i < p->n_queued; i++) {
		const char *queued_payload = q + strlen(q) + 1;

		if (!strcmp(q, event) && !strcmp(queued_payload, payload))
			return true;
		q = queued_payload + strlen(queued_payload) + 1;
	}
	return false;
}

int phx_send(struct phx *p, const char *event, const char *payload_json, uint64_t now)
{
	size_t event_len = strlen(event) + 1, payload_len = strlen(payload_json) + 1;

	(void)now;
	if (p->state != PHX_JOINED) {
		p->stats.send_refused++;
		return -ENOTCONN;
	}
	if (event_len > PHX_EVENT_CAP || payload_len > PHX_SEND_MAX) {
		p->stats.send_refused++;
		return -EMSGSIZE;
	}
	if (already_queued(p, event, payload_json)) {
		p->stats.send_duplicate++;
		return 0;
	}
	if (p->n_queued == PHX_QUEUE_MAX ||
	    event_len + payload_len > sizeof(p->queue) - p->queue_len) {
		p->stats.send_full++;
		return -ENOSPC;
	}
	memcpy(p->queue + p->queue_len, event, event_len);
	memcpy(p->queue + p->queue_len + event_len, payload_json, payload_len);
	p->queue_len += (uint32_t)(event_len + payload_len);
	p->n_queued++;
	return 0;
}

static bool heartbeat_encode(struct phx *p, char *buf, size_t cap, size_t *len)
{
	p->heartbeat_due = false;
	p->heartbeats[p->n_heartbeats++] = p->next_ref;
	return !phx_frame_encode("phoenix", "heartbeat", "{}", p->next_ref++, buf, cap, len);
}

static bool join_encode(struct phx *p, char *buf, size_t cap, size_t *len)
{
	p->join_due = false;
	p->join_pending = true;
	p->join_ref = p->next_ref++;
	return !phx_frame_encode(p->topic, "phx_join", p->join_payload, p->join_ref, buf, cap, len);
}

static bool queued_encode(struct phx *p, char *buf, size_t cap, size_t *len)
{
	size_t event_len = strlen(p->queue) + 1;
	size_t total = event_len + strlen(p->queue + event_len) + 1;
	int rc = phx_frame_encode(p->topic, p->queue, p->queue + event_len, p->next_ref, buf, cap,
				  len);

	memmove(p->queue, p->queue + total, p->queue_len - total);
	p->queue_len -= (uint32_t)total;
	p->n_queued--;
	if (rc)
		return false;
	p->next_ref++;
	p->stats.sent++;
	return true;
}

bool phx_poll_tx(struct phx *p, char *buf, size_t cap, size_t *len, uint64_t now)
{
	(void)now;
	*len = 0;
	if (p->heartbeat_due)
		return heartbeat_encode(p, buf, cap, len);
	if (p->join_due)
		return join_encode(p, buf, cap, len);
	while (p->state == PHX_JOINED && p->n_queued)
		if (queued_encode(p, buf, cap, len))
			return true;
	return false;
}

/* ---- timers ---- */

struct deadline phx_deadline(const struct phx *p)
{
	struct deadline d = {.at = p->retry_at, .why = "portal retry"};

	d = deadline_min(d,
			 (struct deadline){.at = p->join_deadline, .why = "portal join time-out"});
	return deadline_min(d, (struct deadline){.at = p->heartbeat_at, .why = "portal heartbeat"});
}

void phx_timeout(struct phx *p, uint64_t now)
{
	if (time_reached(p->retry_at, now)) {
		connect_now(p);
		return;
	}
	if (time_reached(p->join_deadline, now)) {
		abandon(p, "join timed out", now);
		return;
	}
	if (!time_reached(p->heartbeat_at, now))
		return;
	if (p->heartbeat_due || p->n_heartbeats == PHX_HEARTBEATS_PENDING_MAX) {
		p->stats.heartbeats_lost++;
		abandon(p, "heartbeats unanswered", now);
		return;
	}
	p->heartbeat_due = true;
	p->heartbeat_at = time_add(now, p->heartbeat_ns);
}
