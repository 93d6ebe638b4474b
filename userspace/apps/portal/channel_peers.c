/* SPDX-License-Identifier: Apache-2.0
 *
 * What clients and gateways say once joined. Asking for a way to a resource and confirming one is
 * in channel_flows.c; here both exchange ICE candidates. Nothing trusts an id it is given. */
#include <string.h>

#include "apps/portal/render.h"
#include "apps/portal/state_priv.h"

/* ---- candidates --------------------------------------------------------------------------------
 */

bool channel_strings_only(const json_t *list, size_t max)
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

	if (!channel_strings_only(ids, PORTAL_TARGETS_MAX) || !channel_strings_only(list, 4096))
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

bool channel_client_event(struct portal *p, struct session *s, const char *event,
			  const json_t *payload, uint64_t now, uint64_t wall)
{
	if (!strcmp(event, "create_flow"))
		return flows_create(p, s, payload, now, wall);
	if (!strcmp(event, "broadcast_ice_candidates"))
		return candidates(p, s, payload, "gateway_ids", "ice_candidates");
	if (!strcmp(event, "broadcast_invalidated_ice_candidates"))
		return candidates(p, s, payload, "gateway_ids", "invalidate_ice_candidates");
	return false;
}

bool channel_gateway_event(struct portal *p, struct session *s, const char *event,
			   const json_t *payload, const json_t *ref, uint64_t wall)
{
	(void)wall;
	if (!strcmp(event, "flow_authorized"))
		return flows_authorized(p, s, payload, ref);
	if (!strcmp(event, "broadcast_ice_candidates"))
		return candidates(p, s, payload, "client_ids", "ice_candidates");
	if (!strcmp(event, "broadcast_invalidated_ice_candidates"))
		return candidates(p, s, payload, "client_ids", "invalidate_ice_candidates");
	return false;
}
