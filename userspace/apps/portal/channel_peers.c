/* SPDX-License-Identifier: Apache-2.0
 *
 * What clients and gateways say once joined: a client asks for a way to a resource, the chosen
 * gateway confirms, both exchange ICE candidates. Nothing here trusts an id it is given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/portal/expiry.h"
#include "apps/portal/render.h"
#include "apps/portal/state_priv.h"
#include "apps/portal/version.h"
#include "base/log.h"
#include "base/time.h"

/* ---- candidates --------------------------------------------------------------------------------
 */

static bool strings_only(const json_t *list, size_t max)
{
	if (!json_is_array(list) || json_array_size(list) > max)
		return false;
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!json_is_string(json_array_get(list, i)))
			return false;
	return true;
}

/* Pass candidates on to each listed peer that is here and has a flow with the sender; best effort.
 */
static bool candidates(struct portal *p, struct session *from, const json_t *payload,
		       const char *ids_key, const char *event)
{
	json_t *list = json_object_get(payload, "candidates");
	const json_t *ids = json_object_get(payload, ids_key);
	bool from_client = from->role == ROLE_CLIENT;

	if (!strings_only(ids, PORTAL_TARGETS_MAX) || !strings_only(list, 4096))
		return false;
	for (size_t i = 0; i < json_array_size(ids); i++) {
		const char *id = json_string_value(json_array_get(ids, i));
		struct device *peer = registry_find(&p->reg, id);
		struct session *to = peer ? peer->session : NULL;
		bool ok = to && to->role == (from_client ? ROLE_GATEWAY : ROLE_CLIENT) &&
			  flows_connected(&p->flows, from_client ? from->dev : peer,
					  from_client ? peer : from->dev);

		if (ok)
			session_push(p, to, event,
				     render_candidates(from_client ? "client_id" : "gateway_id",
						       from->dev->id, list));
		else
			p->count.candidates_dropped++;
	}
	return true;
}

/* ---- pending flows -----------------------------------------------------------------------------
 */

static void pending_remove(struct portal *p, size_t i)
{
	p->pending[i] = p->pending[--p->n_pending];
}

static struct pending *pending_add(struct portal *p, const struct session *client,
				   const struct session *gateway, const char *resource_id,
				   uint64_t now)
{
	size_t mine = 0;
	uint8_t raw[16];
	struct pending *q;

	for (size_t i = 0; i < p->n_pending; i++)
		mine += p->pending[i].client == client->id;
	if (p->n_pending >= PORTAL_PENDING_MAX || mine >= PORTAL_PENDING_EACH)
		return NULL;
	q = &p->pending[p->n_pending++];
	*q = (struct pending){.client = client->id,
			      .gateway = gateway->id,
			      .deadline = time_add(now, PORTAL_PENDING_SEC * NS_PER_SEC)};
	p->entropy(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(q->ref + 2 * i, 3, "%02x", raw[i]);
	snprintf(q->resource_id, sizeof(q->resource_id), "%s", resource_id);
	return q;
}

void channel_pending_drop(struct portal *p, uint64_t gateway)
{
	for (size_t i = p->n_pending; i-- > 0;)
		if (p->pending[i].gateway == gateway)
			pending_remove(p, i);
}

/* A request nobody answered must leave nothing behind: the flow goes, and the client hears about
 * it. */
static void pending_fail(struct portal *p, const struct pending *q, uint64_t wall)
{
	struct session *client = session_find(p, q->client), *gateway = session_find(p, q->gateway);
	struct flow *f;

	if (q->answered || !client || !gateway)
		return;
	f = flows_find(&p->flows, client->dev, gateway->dev, q->resource_id);
	if (f && !f->revoked_at)
		access_revoke(p, f, wall);
	p->count.flow_failures++;
	session_push(p, client, "flow_creation_failed",
		     render_flow_failed(q->resource_id, "offline", NULL));
}

void channel_pending_expire(struct portal *p, uint64_t now, uint64_t wall)
{
	for (size_t i = p->n_pending; i-- > 0;) {
		struct pending q = p->pending[i];

		if (!time_reached(q.deadline, now))
			continue;
		pending_remove(p, i);
		pending_fail(p, &q, wall);
	}
}

/* ---- create_flow -------------------------------------------------------------------------------
 */

static size_t load_of(const struct portal *p, const struct device *gateway)
{
	size_t n = 0;

	for (size_t i = 0; i < p->flows.n; i++)
		n += !p->flows.f[i].revoked_at && p->flows.f[i].gateway == gateway;
	return n;
}

static bool listed(const json_t *ids, const char *id)
{
	for (size_t i = 0; i < json_array_size(ids); i++)
		if (!strcmp(json_string_value(json_array_get(ids, i)), id))
			return true;
	return false;
}

/* The gateway for a resource, or NULL and the reason. One the client is connected to already wins,
 * and must win: old clients cannot bear a second one for the same resource. Otherwise the least
 * loaded. */
static struct session *choose_gateway(struct portal *p, const struct session *client,
				      const char *site_id, const json_t *connected,
				      const char **reason)
{
	struct session *best = NULL;
	bool best_sticky = false, any = false;
	size_t best_load = 0;

	for (size_t i = 0; i < p->n_sessions; i++) {
		struct session *g = p->sessions[i];
		bool sticky;
		size_t load;

		if (g->role != ROLE_GATEWAY || g->phase != SESSION_JOINED ||
		    strcmp(g->dev->owner, site_id))
			continue;
		any = true;
		if (!version_compatible(client->version, g->version))
			continue;
		sticky = listed(connected, g->dev->id);
		load = load_of(p, g->dev);
		if (best && (best_sticky > sticky || (best_sticky == sticky && best_load <= load)))
			continue;
		best = g;
		best_sticky = sticky;
		best_load = load;
	}
	*reason = best ? NULL : any ? "not_found" : "offline";
	return best;
}

static bool told_of(const struct session *s, const char *resource_id)
{
	for (size_t i = 0; i < s->n_told; i++)
		if (!strcmp(s->told[i].id, resource_id))
			return true;
	return false;
}

static bool authorize(struct portal *p, struct session *client, struct session *gateway,
		      const struct config_resource *res, uint64_t expires_at, uint64_t now,
		      uint64_t wall)
{
	struct flow_view view = {.client = client->dev,
				 .gateway = gateway->dev,
				 .client_key = client->public_key,
				 .gateway_key = gateway->public_key,
				 .resource = res,
				 .expires_at = expires_at};
	struct pending *q = pending_add(p, client, gateway, res->id, now);
	struct flow *f;

	if (!q)
		return false;
	f = flows_upsert(&p->flows, client->dev, gateway->dev, res->id);
	if (!f) {
		p->n_pending--;
		return false;
	}
	memcpy(f->site_id, p->cfg->sites[res->site].id, UUID_STRLEN);
	memcpy(f->token, client->token->hash, TOKEN_HASH_LEN);
	f->address = res->address;
	f->expires_at = expires_at;
	f->created_at = wall;
	f->revoked_at = 0;
	p->dirty = true;
	session_push(p, gateway, "authorize_flow", render_authorize_flow(&view, q->ref));
	return true;
}

static void flow_failed(struct portal *p, struct session *s, const char *resource_id,
			const char *reason, const char *violated)
{
	p->count.flow_failures++;
	LOG_INFO("portal", "flow refused", LOG_STR("client", s->dev->id),
		 LOG_STR("resource", resource_id), LOG_STR("reason", reason));
	session_push(p, s, "flow_creation_failed",
		     render_flow_failed(resource_id, reason, violated));
}

static bool create_flow(struct portal *p, struct session *s, const json_t *payload, uint64_t now,
			uint64_t wall)
{
	const char *id = json_string_value(json_object_get(payload, "resource_id")), *reason;
	const json_t *connected = json_object_get(payload, "connected_gateway_ids");
	const struct config_resource *res;
	struct session *gateway;
	uint64_t expires_at;

	if (!id || !strings_only(connected, 4096))
		return false;
	res = told_of(s, id) ? config_find_resource(p->cfg, id) : NULL;
	if (!res) {
		flow_failed(p, s, id, "not_found", NULL);
		return true;
	}
	if (!config_grant(p->cfg, s->token, res, wall, &expires_at)) {
		flow_failed(p, s, id, "forbidden", "current_utc_datetime");
		return true;
	}
	gateway = choose_gateway(p, s, p->cfg->sites[res->site].id, connected, &reason);
	if (!gateway) {
		flow_failed(p, s, id, reason, NULL);
	} else if (!authorize(p, s, gateway, res, expires_at, now, wall)) {
		p->count.table_full++;
		flow_failed(p, s, id, "offline", NULL);
	}
	return true;
}

bool channel_client_event(struct portal *p, struct session *s, const char *event,
			  const json_t *payload, uint64_t now, uint64_t wall)
{
	if (!strcmp(event, "create_flow"))
		return create_flow(p, s, payload, now, wall);
	if (!strcmp(event, "broadcast_ice_candidates"))
		return candidates(p, s, payload, "gateway_ids", "ice_candidates");
	if (!strcmp(event, "broadcast_invalidated_ice_candidates"))
		return candidates(p, s, payload, "gateway_ids", "invalidate_ice_candidates");
	return false;
}

/* ---- flow_authorized ---------------------------------------------------------------------------
 */

static void flow_created(struct portal *p, const struct pending *q, struct session *gateway)
{
	struct session *client = session_find(p, q->client);
	const struct config_resource *res = config_find_resource(p->cfg, q->resource_id);
	struct flow *f;

	if (!client || !res || client->phase != SESSION_JOINED)
		return;
	f = flows_find(&p->flows, client->dev, gateway->dev, q->resource_id);
	if (!f || f->revoked_at)
		return; /* taken back while the gateway was thinking; it has been told */
	struct flow_view view = {.client = client->dev,
				 .gateway = gateway->dev,
				 .client_key = client->public_key,
				 .gateway_key = gateway->public_key,
				 .resource = res,
				 .site_id = f->site_id,
				 .expires_at = f->expires_at};

	p->count.flows++;
	LOG_INFO("portal", "flow created", LOG_STR("client", client->dev->id),
		 LOG_STR("gateway", gateway->dev->id), LOG_STR("resource", res->name));
	session_push(p, client, "flow_created", render_flow_created(&view));
	for (size_t i = 0; i < p->n_pending; i++)
		if (p->pending[i].client == q->client &&
		    !strcmp(p->pending[i].resource_id, q->resource_id))
			p->pending[i].answered = true;
}

static bool flow_authorized(struct portal *p, struct session *s, const json_t *payload,
			    const json_t *ref)
{
	const char *mark = json_string_value(json_object_get(payload, "ref"));

	if (!mark)
		return false;
	for (size_t i = 0; i < p->n_pending; i++) {
		struct pending q = p->pending[i];

		if (q.gateway != s->id || strcmp(q.ref, mark))
			continue;
		pending_remove(p, i);
		session_send(p, s, "gateway", "phx_reply", ref, render_reply(true, json_object()));
		flow_created(p, &q, s);
		return true;
	}
	session_send(p, s, "gateway", "phx_reply", ref,
		     render_reply(false, render_reason("invalid_ref")));
	return true;
}

bool channel_gateway_event(struct portal *p, struct session *s, const char *event,
			   const json_t *payload, const json_t *ref, uint64_t wall)
{
	(void)wall;
	if (!strcmp(event, "flow_authorized"))
		return flow_authorized(p, s, payload, ref);
	if (!strcmp(event, "broadcast_ice_candidates"))
		return candidates(p, s, payload, "client_ids", "ice_candidates");
	if (!strcmp(event, "broadcast_invalidated_ice_candidates"))
		return candidates(p, s, payload, "client_ids", "invalidate_ice_candidates");
	return false;
}
