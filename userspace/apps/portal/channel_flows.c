/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is introduced to whom: a client asks for a way to a resource, a gateway is chosen and asked,
 * and its confirmation makes the flow. A gateway that goes away or takes its time is passed over
 * for the next one, and what it was told is taken back, so that a flow is only ever in force at the
 * gateway the client knows of.
 *
 *     create_flow ─► ASKED ── flow_authorized ──► flow_created
 *                    │   ▲
 *                    │   └ 5 s or gone, and there is another one: reject_access, ask that
 *                    └ 15 s (gone: 5 s), nobody else: reject_access, flow_creation_failed */
#include <stdio.h>
#include <string.h>

#include "apps/portal/expiry.h"
#include "apps/portal/render.h"
#include "apps/portal/state_priv.h"
#include "apps/portal/version.h"
#include "base/log.h"
#include "base/time.h"

/* ---- the choice --------------------------------------------------------------------------------
 */

struct candidate {
	struct session *gateway;
	size_t sticky; /* its place among the connected ones; PORTAL_STICKY_MAX: none of them */
	double nearness;
	size_t load;
};

static size_t load_of(const struct portal *p, const struct device *gateway)
{
	size_t n = 0;

	for (size_t i = 0; i < p->flows.n; i++)
		n += !p->flows.f[i].revoked_at && p->flows.f[i].gateway == gateway;
	return n;
}

static size_t sticky_place(const struct pending *q, const struct device *gateway)
{
	for (size_t i = 0; i < q->n_sticky; i++)
		if (q->sticky[i] == gateway)
			return i;
	return PORTAL_STICKY_MAX;
}

static bool tried_has(const struct pending *q, uint64_t session)
{
	for (size_t i = 0; i < q->n_tried; i++)
		if (q->tried[i] == session)
			return true;
	return false;
}

/* One the client is connected to already wins, and must win: old clients cannot bear a second one
 * for the same resource. Of several the first one named: newer clients name the best first, older
 * ones in no order that means anything. Then the nearest, then the one with the fewest flows. */
static bool better(const struct candidate *a, const struct candidate *b)
{
	if (a->sticky != b->sticky)
		return a->sticky < b->sticky;
	if (a->nearness > b->nearness || a->nearness < b->nearness)
		return a->nearness > b->nearness;
	return a->load < b->load;
}

static bool serves(const struct portal *p, const struct session *s,
		   const struct config_resource *res)
{
	return s->role == ROLE_GATEWAY && s->phase == SESSION_JOINED &&
	       config_serves(p->cfg, res, s->dev->owner);
}

/* The gateway to ask next, or NULL and the reason. */
static struct session *choose(struct portal *p, const struct session *client,
			      const struct config_resource *res, const struct pending *q,
			      const char **reason)
{
	struct candidate best = {0};
	bool any = false;

	for (size_t i = 0; i < p->n_sessions; i++) {
		struct candidate c = {.gateway = p->sessions[i]};

		if (!serves(p, c.gateway, res) || tried_has(q, c.gateway->id))
			continue;
		any = true;
		if (!version_compatible(client->version, c.gateway->version))
			continue;
		c.sticky = sticky_place(q, c.gateway->dev);
		c.nearness = place_nearness(&client->token->place, &c.gateway->token->place);
		c.load = load_of(p, c.gateway->dev);
		if (!best.gateway || better(&c, &best))
			best = c;
	}
	*reason = best.gateway ? NULL : any ? "not_found" : "offline";
	return best.gateway;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void pending_remove(struct portal *p, struct pending *q)
{
	*q = p->pending[--p->n_pending];
}

static struct pending *pending_find(struct portal *p, uint64_t client, const char *resource_id)
{
	for (size_t i = 0; i < p->n_pending; i++)
		if (p->pending[i].client == client &&
		    !strcmp(p->pending[i].resource_id, resource_id))
			return &p->pending[i];
	return NULL;
}

/* The gateway of that id that can be asked for the resource, or NULL. */
static struct session *serving_session(const struct portal *p, const struct config_resource *res,
				       const char *id)
{
	for (size_t i = 0; i < p->n_sessions; i++)
		if (serves(p, p->sessions[i], res) && !strcmp(p->sessions[i]->dev->id, id))
			return p->sessions[i];
	return NULL;
}

static struct pending *pending_add(struct portal *p, const struct session *client,
				   const struct config_resource *res, const json_t *connected)
{
	size_t mine = 0;
	struct pending *q;

	for (size_t i = 0; i < p->n_pending; i++)
		mine += p->pending[i].client == client->id;
	if (p->n_pending >= PORTAL_PENDING_MAX || mine >= PORTAL_PENDING_EACH)
		return NULL;
	q = &p->pending[p->n_pending++];
	*q = (struct pending){.client = client->id};
	memcpy(q->resource_id, res->id, UUID_STRLEN);
	for (size_t i = 0; i < json_array_size(connected) && q->n_sticky < PORTAL_STICKY_MAX; i++) {
		const struct session *s = serving_session(
			p, res, json_string_value(json_array_get(connected, i)));

		if (s)
			q->sticky[q->n_sticky++] = s->dev;
	}
	return q;
}

static struct flow *pending_flow(const struct portal *p, const struct session *client,
				 const struct pending *q)
{
	struct flow *f = q->asked ? flows_find(&p->flows, client->dev, q->asked, q->resource_id)
				  : NULL;

	return f && !f->revoked_at ? f : NULL;
}

/* Ask this gateway. False when the table of flows is full. */
static bool ask(struct portal *p, struct pending *q, struct session *client,
		struct session *gateway, const struct config_resource *res, uint64_t expires_at,
		uint64_t now, uint64_t wall)
{
	struct flow_view view = {.client = client->dev,
				 .gateway = gateway->dev,
				 .client_key = client->public_key,
				 .gateway_key = gateway->public_key,
				 .resource = res,
				 .expires_at = expires_at};
	struct flow *f = flows_upsert(&p->flows, client->dev, gateway->dev, res->id);
	uint8_t raw[16];

	if (!f)
		return false;
	memcpy(f->site_id, gateway->dev->owner, UUID_STRLEN);
	memcpy(f->token, client->token->hash, TOKEN_HASH_LEN);
	memcpy(f->target, res->target, sizeof(f->target));
	f->filters_mark = res->filters_mark;
	f->expires_at = expires_at;
	f->created_at = wall;
	f->revoked_at = 0;
	p->dirty = true;
	p->entropy(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(q->ref + 2 * i, 3, "%02x", raw[i]);
	q->gateway = gateway->id;
	q->asked = gateway->dev;
	q->asked_at = now;
	q->tried[q->n_tried++] = gateway->id;
	session_push(p, gateway, "authorize_flow", render_authorize_flow(&view, q->ref));
	return true;
}

void flows_pending_orphan(struct portal *p, uint64_t gateway)
{
	for (size_t i = 0; i < p->n_pending; i++)
		if (p->pending[i].gateway == gateway)
			p->pending[i].gateway = 0;
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

static bool told_of(const struct session *s, const char *resource_id)
{
	for (size_t i = 0; i < s->n_told; i++)
		if (!strcmp(s->told[i].id, resource_id))
			return true;
	return false;
}

/* ---- create_flow -------------------------------------------------------------------------------
 */

/* Is the client waiting already? It asks every two seconds until it is answered. A request whose
 * flow was taken back meanwhile will never be. */
static bool waiting(struct portal *p, const struct session *s, const char *resource_id)
{
	struct pending *q = pending_find(p, s->id, resource_id);

	if (!q || pending_flow(p, s, q))
		return q != NULL;
	pending_remove(p, q);
	return false;
}

bool flows_create(struct portal *p, struct session *s, const json_t *payload, uint64_t now,
		  uint64_t wall)
{
	const char *id = json_string_value(json_object_get(payload, "resource_id")), *reason = NULL;
	const json_t *connected = json_object_get(payload, "connected_gateway_ids");
	const struct config_resource *res;
	struct session *gateway = NULL;
	struct pending *q;
	uint64_t expires_at;

	if (!id || !channel_strings_only(connected, 4096))
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
	if (waiting(p, s, id))
		return true;
	q = pending_add(p, s, res, connected);
	if (q)
		gateway = choose(p, s, res, q, &reason);
	if (!gateway || !ask(p, q, s, gateway, res, expires_at, now, wall)) {
		if (q)
			pending_remove(p, q);
		p->count.table_full += !reason;
		flow_failed(p, s, id, reason ? reason : "offline", NULL);
	}
	return true;
}

/* ---- time --------------------------------------------------------------------------------------
 */

enum next { NEXT_ASKED, NEXT_NOBODY, NEXT_POINTLESS };

/* Pass the request on to another gateway, if there is one and the client still may. */
static enum next pass_on(struct portal *p, struct pending *q, uint64_t now, uint64_t wall)
{
	struct session *client = session_find(p, q->client), *gateway;
	const struct config_resource *res = config_find_resource(p->cfg, q->resource_id);
	struct device *was = q->asked;
	const char *reason;
	struct flow *f;
	uint64_t expires_at;

	if (!client || client->phase != SESSION_JOINED || !res || !pending_flow(p, client, q) ||
	    !told_of(client, res->id) ||
	    !config_grant(p->cfg, client->token, res, wall, &expires_at))
		return NEXT_POINTLESS;
	gateway = q->n_tried < PORTAL_TRIES_MAX ? choose(p, client, res, q, &reason) : NULL;
	if (!gateway || !ask(p, q, client, gateway, res, expires_at, now, wall))
		return NEXT_NOBODY;
	f = flows_find(&p->flows, client->dev, was, q->resource_id);
	if (f && was != gateway->dev)
		access_withdraw(p, f, wall);
	return NEXT_ASKED;
}

/* A request nobody answered must leave nothing behind: the flow goes, and the client hears about
 * it. */
static void give_up(struct portal *p, struct pending *q, uint64_t wall)
{
	struct session *client = session_find(p, q->client);
	struct flow *f = NULL;

	if (client && client->phase == SESSION_JOINED) /* else the flow may be a newer one's */
		f = pending_flow(p, client, q);
	if (f) {
		access_withdraw(p, f, wall);
		flow_failed(p, client, q->resource_id, "offline", NULL);
	}
	pending_remove(p, q);
}

void flows_pending_tick(struct portal *p, uint64_t now, uint64_t wall)
{
	for (size_t i = p->n_pending; i-- > 0;) {
		struct pending *q = &p->pending[i];
		uint64_t waited = time_since(q->asked_at, now);
		bool gone = !q->gateway, slow = waited >= PORTAL_PATIENCE_SEC * NS_PER_SEC;
		enum next next = gone || slow ? pass_on(p, q, now, wall) : NEXT_ASKED;

		if (next == NEXT_POINTLESS ||
		    (next == NEXT_NOBODY &&
		     (gone ? slow : waited >= PORTAL_PENDING_SEC * NS_PER_SEC)))
			give_up(p, q, wall);
	}
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
	f = pending_flow(p, client, q);
	if (!f)
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
}

bool flows_authorized(struct portal *p, struct session *s, const json_t *payload, const json_t *ref)
{
	const char *mark = json_string_value(json_object_get(payload, "ref"));

	if (!mark)
		return false;
	for (size_t i = 0; i < p->n_pending; i++) {
		struct pending q = p->pending[i];

		if (q.gateway != s->id || strcmp(q.ref, mark))
			continue;
		pending_remove(p, &p->pending[i]);
		session_send(p, s, "gateway", "phx_reply", ref, render_reply(true, json_object()));
		flow_created(p, &q, s);
		return true;
	}
	session_send(p, s, "gateway", "phx_reply", ref,
		     render_reply(false, render_reason("invalid_ref")));
	return true;
}
