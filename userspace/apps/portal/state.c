/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of the machine and its sessions, the output queue, time, reload. */
#include "apps/portal/state.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "apps/portal/expiry.h"
#include "apps/portal/relays.h"
#include "apps/portal/render.h"
#include "apps/portal/state_priv.h"
#include "base/log.h"
#include "base/time.h"

/* Silence after which a connection counts as dead. Components send a heartbeat every 10 to 30 s;
 * old clients count any frame they send, so they get longer. */
static const uint64_t idle_sec[ROLE_N] = {
	[ROLE_CLIENT] = 307, [ROLE_GATEWAY] = 37, [ROLE_RELAY] = 41};

static void views_free(json_t **views, size_t n)
{
	for (size_t i = 0; views && i < n; i++)
		json_decref(views[i]);
	free(views);
}

static json_t **views_make(const struct config *cfg)
{
	json_t **views = calloc(cfg->n_resources + 1, sizeof(*views));

	for (size_t i = 0; views && i < cfg->n_resources; i++) {
		views[i] = render_client_resource(cfg, &cfg->resources[i]);
		if (!views[i]) {
			views_free(views, i);
			return NULL;
		}
	}
	return views;
}

int portal_init(struct portal *p, struct config *cfg, void (*entropy)(void *buf, size_t len),
		uint64_t wall)
{
	*p = (struct portal){.cfg = cfg, .entropy = entropy, .next_session = 1};
	p->out_tail = &p->out_head;
	p->pending = calloc(PORTAL_PENDING_MAX, sizeof(*p->pending));
	p->relays = calloc(PORTAL_RELAYS_MAX, sizeof(struct session *));
	p->views = views_make(cfg);
	p->next_policy_expiry = config_next_expiry(cfg, wall);
	return p->pending && p->relays && p->views ? 0 : -ENOMEM;
}

static void session_free(struct session *s)
{
	session_forget_told(s);
	relay_free(s->relay);
	free(s);
}

void portal_fini(struct portal *p)
{
	struct out_msg *m;

	while ((m = portal_next(p)))
		out_msg_free(m);
	for (size_t i = 0; i < p->n_sessions; i++)
		session_free(p->sessions[i]);
	free(p->sessions);
	free(p->relays);
	free(p->pending);
	views_free(p->views, p->cfg ? p->cfg->n_resources : 0);
	registry_fini(&p->reg);
	flows_fini(&p->flows);
	config_free(p->cfg);
	*p = (struct portal){0};
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

struct session *session_find(struct portal *p, uint64_t id)
{
	for (size_t i = 0; i < p->n_sessions; i++)
		if (p->sessions[i]->id == id)
			return p->sessions[i];
	return NULL;
}

void session_set_phase(struct portal *p, struct session *s, enum session_phase phase)
{
	assert(s->phase != SESSION_CLOSING || phase == SESSION_CLOSING);
	s->phase = phase;
	if (s->relay && phase != SESSION_JOINED)
		relays_withdraw(p, s);
	if (!s->dev)
		return;
	if (phase == SESSION_JOINED)
		s->dev->session = s;
	else if (s->dev->session == s)
		s->dev->session = NULL;
}

void session_forget_told(struct session *s)
{
	for (size_t i = 0; i < s->n_told; i++)
		json_decref(s->told[i].view);
	free(s->told);
	s->told = NULL;
	s->n_told = 0;
}

/* ---- output ------------------------------------------------------------------------------------
 */

static void queue(struct portal *p, uint64_t session, char *text, int code)
{
	struct out_msg *m = calloc(1, sizeof(*m));

	if (!m) {
		free(text);
		return;
	}
	*m = (struct out_msg){.session = session, .text = text, .code = code};
	*p->out_tail = m;
	p->out_tail = &m->next;
}

struct out_msg *portal_next(struct portal *p)
{
	struct out_msg *m = p->out_head;

	if (!m)
		return NULL;
	p->out_head = m->next;
	if (!p->out_head)
		p->out_tail = &p->out_head;
	m->next = NULL;
	return m;
}

void out_msg_free(struct out_msg *m)
{
	if (m->text)
		OPENSSL_cleanse(m->text, strlen(m->text));
	free(m->text);
	free(m);
}

void session_send(struct portal *p, struct session *s, const char *topic, const char *event,
		  const json_t *ref, json_t *payload)
{
	char *text;

	if (s->phase == SESSION_CLOSING) {
		json_decref(payload);
		return;
	}
	text = render_frame(topic, event, ref, payload);
	if (text)
		queue(p, s->id, text, 0);
	else
		session_close(p, s,
			      CLOSE_RESTART); /* out of memory: better gone than out of step */
}

void session_push(struct portal *p, struct session *s, const char *event, json_t *payload)
{
	if (s->phase == SESSION_JOINED)
		session_send(p, s, portal_role_name(s->role), event, NULL, payload);
	else
		json_decref(payload);
}

void session_close(struct portal *p, struct session *s, int code)
{
	if (s->phase == SESSION_CLOSING)
		return;
	if (s->role == ROLE_GATEWAY)
		flows_pending_orphan(p, s->id);
	session_set_phase(p, s, SESSION_CLOSING);
	queue(p, s->id, NULL, code);
}

void session_expel(struct portal *p, struct session *s, const char *why, uint64_t wall)
{
	LOG_INFO("portal", "expelled", LOG_STR("role", portal_role_name(s->role)),
		 LOG_STR("reason", why), LOG_STR("id", s->dev ? s->dev->id : ""),
		 LOG_U64("session", s->id));
	if (s->role == ROLE_GATEWAY)
		access_drop_gateway(p, s->dev, wall);
	if (s->phase != SESSION_CLOSING)
		session_send(p, s, portal_role_name(s->role), "disconnect", NULL,
			     render_reason("token_expired"));
	session_close(p, s, CLOSE_NORMAL);
}

void portal_violation(struct portal *p, uint64_t session, int code)
{
	struct session *s = session_find(p, session);

	if (!s || s->phase == SESSION_CLOSING)
		return;
	p->count.malformed++;
	LOG_DEBUG("portal", "malformed frame", LOG_U64("session", s->id),
		  LOG_STR("role", portal_role_name(s->role)));
	session_close(p, s, code);
}

void portal_disconnect(struct portal *p, uint64_t session)
{
	for (size_t i = 0; i < p->n_sessions; i++) {
		struct session *s = p->sessions[i];

		if (s->id != session)
			continue;
		LOG_INFO("portal", "disconnected", LOG_STR("role", portal_role_name(s->role)),
			 LOG_STR("id", s->dev ? s->dev->id : ""), LOG_U64("session", s->id));
		if (s->role == ROLE_GATEWAY)
			flows_pending_orphan(p, s->id);
		session_set_phase(p, s, SESSION_CLOSING);
		p->sessions[i] = p->sessions[--p->n_sessions];
		session_free(s);
		return;
	}
}

/* ---- time --------------------------------------------------------------------------------------
 */

static void sync_clients(struct portal *p, uint64_t wall)
{
	for (size_t i = 0; i < p->n_sessions; i++)
		if (p->sessions[i]->role == ROLE_CLIENT && p->sessions[i]->phase == SESSION_JOINED)
			access_sync(p, p->sessions[i], wall);
}

void portal_tick(struct portal *p, uint64_t now, uint64_t wall)
{
	for (size_t i = 0; i < p->n_sessions; i++) {
		struct session *s = p->sessions[i];

		if (s->phase == SESSION_CLOSING)
			continue;
		if (expiry_passed(s->token->expires_at, wall)) {
			session_expel(p, s, "token expired", wall);
		} else if (time_since(s->last_rx, now) >= idle_sec[s->role] * NS_PER_SEC) {
			p->count.idle++;
			session_close(p, s, CLOSE_NORMAL);
		}
	}
	relays_tick(p, now);
	flows_pending_tick(p, now, wall);
	access_expire(p, wall);
	if (wall >= p->next_policy_expiry) {
		p->next_policy_expiry = config_next_expiry(p->cfg, wall);
		sync_clients(p, wall);
	}
}

/* ---- reload ------------------------------------------------------------------------------------
 */

static bool dns_equal(const struct config *a, const struct config *b)
{
	const char *sa = a->search_domain ? a->search_domain : "";
	const char *sb = b->search_domain ? b->search_domain : "";

	if (a->n_dns != b->n_dns || strcmp(sa, sb))
		return false;
	for (size_t i = 0; i < a->n_dns; i++)
		if (!endpoint_eq(&a->dns[i], &b->dns[i]))
			return false;
	return true;
}

/* Re-bind the session to its token in the new configuration. A token that is gone expels; one that
 * now stands for somebody else only closes, so that the component comes back as who it now is. */
static void rebind_token(struct portal *p, struct session *s, const struct config *old,
			 const struct config *cfg, uint64_t wall)
{
	const struct config_token *was = s->token;
	const struct config_token *is = config_known_token(cfg, s->role, was->hash);

	if (!is || expiry_passed(is->expires_at, wall)) {
		session_expel(p, s, is ? "token expired" : "token removed", wall);
		s->token = is;
		return;
	}
	s->token = is;
	if (s->role == ROLE_CLIENT && strcmp(was->actor, is->actor)) {
		session_close(p, s, CLOSE_RESTART);
	} else if (s->role == ROLE_GATEWAY &&
		   strcmp(old->sites[was->site].id, cfg->sites[is->site].id)) {
		access_drop_gateway(p, s->dev, wall);
		session_close(p, s, CLOSE_RESTART);
	}
}

static void push_settings(struct portal *p, const struct config *old, uint64_t wall)
{
	bool dns = !dns_equal(old, p->cfg);
	bool slug = strcmp(old->account_slug, p->cfg->account_slug) != 0;

	for (size_t i = 0; i < p->n_sessions; i++) {
		struct session *s = p->sessions[i];

		if (s->phase != SESSION_JOINED)
			continue;
		if (s->role == ROLE_CLIENT && dns)
			session_push(p, s, "config_changed",
				     json_pack("{s:o}", "interface",
					       render_client_interface(p->cfg, s->dev)));
		if (s->role == ROLE_GATEWAY && slug)
			session_push(p, s, "init", access_gateway_init(p, s, wall));
	}
}

void portal_reload(struct portal *p, struct config *cfg, uint64_t wall)
{
	json_t **views = views_make(cfg), **old_views = p->views;
	struct config *old = p->cfg;

	if (!views) {
		LOG_ERROR("portal", "out of memory, the old configuration stays");
		config_free(cfg);
		return;
	}
	p->cfg = cfg;
	p->views = views;
	p->next_policy_expiry = config_next_expiry(cfg, wall);
	access_revoke_invalid(p, wall);
	for (size_t i = 0; i < p->n_sessions; i++)
		if (p->sessions[i]->token)
			rebind_token(p, p->sessions[i], old, cfg, wall);
	access_prolong(p, wall);
	for (size_t i = 0; i < p->n_sessions; i++)
		if (p->sessions[i]->role == ROLE_GATEWAY && p->sessions[i]->phase == SESSION_JOINED)
			access_sync_filters(p, p->sessions[i]);
	push_settings(p, old, wall);
	relays_reloaded(p);
	sync_clients(p, wall);
	views_free(old_views, old->n_resources);
	config_free(old);
}

void portal_reconcile(struct portal *p, uint64_t wall)
{
	access_revoke_invalid(p, wall);
	access_expire(p, wall);
}
