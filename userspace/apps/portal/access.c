/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may use what, and telling those concerned. A client's view is compared with what it was last
 * told, so configuration changes, policies that run out and flows that end all take the same road.
 */
#include <stdlib.h>
#include <string.h>

#include "apps/portal/expiry.h"
#include "apps/portal/relays.h"
#include "apps/portal/render.h"
#include "apps/portal/state_priv.h"
#include "base/log.h"

/* ---- what a client sees ------------------------------------------------------------------------
 */

/* The resources the client may use now, as a new told list. NULL when out of memory. */
static struct told *visible(struct portal *p, const struct session *s, size_t *n, uint64_t wall)
{
	struct told *list = calloc(p->cfg->n_resources + 1, sizeof(*list));
	uint64_t expires_at;

	*n = 0;
	for (size_t i = 0; list && i < p->cfg->n_resources; i++) {
		const struct config_resource *res = &p->cfg->resources[i];

		if (!config_grant(p->cfg, s->token, res, wall, &expires_at))
			continue;
		memcpy(list[*n].id, res->id, UUID_STRLEN);
		list[(*n)++].view = json_incref(p->views[i]);
	}
	return list;
}

static struct told *told_find(struct told *list, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].id, id))
			return &list[i];
	return NULL;
}

json_t *access_client_init(struct portal *p, struct session *s, uint64_t wall)
{
	json_t *resources = json_array();

	session_forget_told(s);
	s->told = visible(p, s, &s->n_told, wall);
	for (size_t i = 0; i < s->n_told; i++)
		json_array_append(resources, s->told[i].view);
	return render_client_init(p->cfg, s->dev, resources, relays_for_init(p, s));
}

json_t *access_gateway_init(struct portal *p, struct session *s, uint64_t wall)
{
	return render_gateway_init(p->cfg, s->dev, &p->flows, relays_for_init(p, s), wall);
}

static bool in_group(const json_t *groups, const json_t *id)
{
	for (size_t i = 0; i < json_array_size(groups); i++)
		if (json_equal(json_object_get(json_array_get(groups, i), "id"), id))
			return true;
	return false;
}

/* Old clients cannot attach a resource to other sites in place. */
static bool site_moved(const json_t *a, const json_t *b)
{
	const json_t *ga = json_object_get(a, "gateway_groups");
	const json_t *gb = json_object_get(b, "gateway_groups");

	if (json_array_size(ga) != json_array_size(gb))
		return true;
	for (size_t i = 0; i < json_array_size(ga); i++)
		if (!in_group(gb, json_object_get(json_array_get(ga, i), "id")))
			return true;
	return false;
}

void access_sync(struct portal *p, struct session *s, uint64_t wall)
{
	size_t n;
	struct told *now = visible(p, s, &n, wall);

	if (!now) {
		session_close(p, s, CLOSE_RESTART); /* it will come back and get everything */
		return;
	}
	for (size_t i = 0; i < s->n_told; i++) {
		const struct told *was = &s->told[i], *is = told_find(now, n, was->id);

		if (!is || was->flap || site_moved(was->view, is->view))
			session_push(p, s, "resource_deleted", json_string(was->id));
	}
	for (size_t i = 0; i < n; i++) {
		const struct told *was = told_find(s->told, s->n_told, now[i].id);

		if (!was || was->flap || !json_equal(was->view, now[i].view))
			session_push(p, s, "resource_created_or_updated", json_incref(now[i].view));
	}
	session_forget_told(s);
	s->told = now;
	s->n_told = n;
}

/* ---- flows -------------------------------------------------------------------------------------
 */

static void mark_flap(const struct flow *f)
{
	const struct session *client = f->client->session;
	struct told *t = client ? told_find(client->told, client->n_told, f->resource_id) : NULL;

	if (t)
		t->flap = true;
}

void access_withdraw(struct portal *p, struct flow *f, uint64_t wall)
{
	struct session *gateway = f->gateway->session;

	f->revoked_at = wall ? wall : 1;
	p->dirty = true;
	LOG_INFO("portal", "access revoked", LOG_STR("client", f->client->id),
		 LOG_STR("gateway", f->gateway->id), LOG_STR("resource", f->resource_id));
	if (gateway)
		session_push(p, gateway, "reject_access",
			     render_reject_access(f->client->id, f->resource_id));
}

void access_revoke(struct portal *p, struct flow *f, uint64_t wall)
{
	access_withdraw(p, f, wall);
	mark_flap(f);
}

/* Would the flow be granted today, unchanged? A later end than the gateway knows of is no reason to
 * take it back; an earlier one is, as not every gateway can be told one. */
static bool flow_holds(const struct portal *p, const struct flow *f, uint64_t wall)
{
	const struct config_token *tok = config_known_token(p->cfg, ROLE_CLIENT, f->token);
	const struct config_resource *res = config_find_resource(p->cfg, f->resource_id);
	uint64_t expires_at;

	return tok && res && !strcmp(tok->actor, f->client->owner) &&
	       config_serves(p->cfg, res, f->site_id) && !strcmp(f->gateway->owner, f->site_id) &&
	       !strcmp(res->target, f->target) &&
	       config_grant(p->cfg, tok, res, wall, &expires_at) && expires_at >= f->expires_at;
}

void access_revoke_invalid(struct portal *p, uint64_t wall)
{
	for (size_t i = 0; i < p->flows.n; i++) {
		struct flow *f = &p->flows.f[i];

		if (!f->revoked_at && !flow_holds(p, f, wall))
			access_revoke(p, f, wall);
	}
}

void access_prolong(struct portal *p, uint64_t wall)
{
	for (size_t i = 0; i < p->flows.n; i++) {
		struct flow *f = &p->flows.f[i];
		const struct config_token *tok = config_known_token(p->cfg, ROLE_CLIENT, f->token);
		const struct config_resource *res = config_find_resource(p->cfg, f->resource_id);
		uint64_t expires_at;

		if (f->revoked_at || !tok || !res ||
		    !config_grant(p->cfg, tok, res, wall, &expires_at) ||
		    expires_at <= f->expires_at)
			continue;
		f->expires_at = expires_at;
		p->dirty = true;
		if (f->gateway->session)
			session_push(
				p, f->gateway->session, "access_authorization_expiry_updated",
				render_expiry_updated(f->client->id, f->resource_id, expires_at));
	}
}

void access_drop_gateway(struct portal *p, struct device *gateway, uint64_t wall)
{
	for (size_t i = 0; i < p->flows.n; i++) {
		struct flow *f = &p->flows.f[i];

		if (f->revoked_at || f->gateway != gateway)
			continue;
		access_revoke(p, f, wall);
		if (f->client->session)
			access_sync(p, f->client->session, wall);
	}
}

/* One push is for all clients that have the resource. */
static void mark_told(struct portal *p, const struct device *gateway,
		      const struct config_resource *res)
{
	for (size_t i = 0; i < p->flows.n; i++)
		if (p->flows.f[i].gateway == gateway && !strcmp(p->flows.f[i].resource_id, res->id))
			p->flows.f[i].filters_mark = res->filters_mark;
	p->dirty = true;
}

void access_sync_filters(struct portal *p, struct session *gateway)
{
	for (size_t i = 0; i < p->flows.n; i++) {
		const struct flow *f = &p->flows.f[i];
		const struct config_resource *res;

		if (f->revoked_at || f->gateway != gateway->dev)
			continue;
		res = config_find_resource(p->cfg, f->resource_id);
		if (!res || res->filters_mark == f->filters_mark)
			continue;
		if (res->type != RESOURCE_INTERNET)
			session_push(p, gateway, "resource_updated", render_gateway_resource(res));
		mark_told(p, gateway->dev, res);
	}
}

void access_drop_elsewhere(struct portal *p, const struct device *gateway, uint64_t wall)
{
	for (size_t i = 0; i < p->flows.n; i++) {
		struct flow *f = &p->flows.f[i];

		if (f->revoked_at || f->gateway == gateway || f->gateway->session ||
		    strcmp(f->gateway->external_id, gateway->external_id) != 0)
			continue;
		access_revoke(p, f, wall);
		if (f->client->session)
			access_sync(p, f->client->session, wall);
	}
}

/* When the client was last heard of; for one that is here, now. */
static uint64_t last_sign(const struct flow *f, uint64_t wall)
{
	if (f->client->session)
		return wall;
	return f->client->last_seen > f->created_at ? f->client->last_seen : f->created_at;
}

void access_expire(struct portal *p, uint64_t wall)
{
	for (size_t i = p->flows.n; i-- > 0;) {
		struct flow *f = &p->flows.f[i];
		struct session *client = NULL;

		if (f->revoked_at) {
			if (wall < f->revoked_at + FLOW_TOMBSTONE_SEC)
				continue;
		} else if (expiry_passed(f->expires_at, wall)) {
			/* The gateway ends it by itself. The client must forget its way there, and
			 * may ask anew if the policy was prolonged. */
			mark_flap(f);
			client = f->client->session;
		} else if (wall < last_sign(f, wall) + FLOW_FORGET_SEC) {
			continue;
		}
		flows_remove(&p->flows, i);
		p->dirty = true;
		if (client)
			access_sync(p, client, wall);
	}
}

void access_repeat_revocations(struct portal *p, struct session *gateway)
{
	for (size_t i = 0; i < p->flows.n; i++) {
		const struct flow *f = &p->flows.f[i];

		if (f->revoked_at && f->gateway == gateway->dev)
			session_push(p, gateway, "reject_access",
				     render_reject_access(f->client->id, f->resource_id));
	}
}
