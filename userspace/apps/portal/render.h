/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON views of what the portal knows, exactly as they go on the wire: frames, interfaces,
 * resources as clients and as gateways see them, and the payloads of the pushes. Every function
 * returns a new reference, NULL when out of memory; payload parameters are consumed. */
#ifndef PENSTOCK_PORTAL_RENDER_H
#define PENSTOCK_PORTAL_RENDER_H
#include <jansson.h>

#include "apps/portal/flows.h"
#include "apps/portal/registry.h"

/* {"topic","event","ref","payload"}; ref NULL means null and is otherwise borrowed. */
char *render_frame(const char *topic, const char *event, const json_t *ref, json_t *payload);
/* The payload of phx_reply. */
json_t *render_reply(bool ok, json_t *response);
json_t *render_reason(const char *reason);

/* {"ipv4","ipv6","upstream_dns","search_domain"} */
json_t *render_client_interface(const struct config *cfg, const struct device *dev);
json_t *render_client_resource(const struct config *cfg, const struct config_resource *res);
json_t *render_gateway_resource(const struct config_resource *res);
/* resources and relays: arrays, consumed. */
json_t *render_client_init(const struct config *cfg, const struct device *dev, json_t *resources,
			   json_t *relays);
/* With the unexpired flows of this gateway as its authorizations; relays: an array, consumed. */
json_t *render_gateway_init(const struct config *cfg, const struct device *dev,
			    const struct flows *flows, json_t *relays, uint64_t wall);

struct flow_view {
	const struct device *client, *gateway;
	const char *client_key, *gateway_key; /* base64 */
	const struct config_resource *resource;
	const char *site_id;
	uint64_t expires_at;
};
json_t *render_authorize_flow(const struct flow_view *v, const char *ref);
json_t *render_flow_created(const struct flow_view *v);
json_t *render_flow_failed(const char *resource_id, const char *reason, const char *violated);
json_t *render_reject_access(const char *client_id, const char *resource_id);
/* The end cannot be null here: one that never comes is EXPIRY_MAX. */
json_t *render_expiry_updated(const char *client_id, const char *resource_id, uint64_t expires_at);
/* {"<id_key>": id, "candidates": candidates}; candidates is borrowed. */
json_t *render_candidates(const char *id_key, const char *id, json_t *candidates);
#endif
