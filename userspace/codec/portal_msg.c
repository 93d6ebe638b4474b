/* SPDX-License-Identifier: Apache-2.0
 *
 * One reader per message (spec portal §4.1, §4.2) and the table that finds it. */
#include "codec/portal_msg.h"
#include <errno.h>
#include <string.h>
#include "codec/portal_types.h"

static int client_init_read(const struct pjson *at, struct pmsg_client_init *out)
{
	struct pjson interface;
	int rc = pjson_object(at, "interface", &interface);

	if (!rc)
		rc = ptype_interface(&interface, true, &out->interface);
	if (!rc)
		rc = pjson_list(at, "resources", false, ptype_check_client_resource,
				&out->resources);
	return rc ? rc : pjson_list(at, "relays", false, ptype_check_relay, &out->relays);
}

static int gateway_init_read(const struct pjson *at, struct pmsg_gateway_init *out)
{
	struct pjson sub;
	int rc = pjson_object(at, "interface", &sub);

	if (!rc)
		rc = ptype_interface(&sub, false, &out->interface);
	if (!rc)
		rc = pjson_object(at, "config", &sub);
	if (!rc)
		rc = pjson_bool(&sub, "ipv4_masquerade_enabled", &out->v4_masquerade);
	if (!rc)
		rc = pjson_bool(&sub, "ipv6_masquerade_enabled", &out->v6_masquerade);
	if (!rc)
		rc = pjson_str_optional(at, "account_slug", &out->account_slug);
	if (!rc)
		rc = pjson_list(at, "relays", false, ptype_check_relay, &out->relays);
	if (!rc)
		rc = pjson_list(at, "authorizations", false, ptype_check_authorization,
				&out->authorizations);
	out->has_authorizations = !rc && out->authorizations.json;
	return rc;
}

static int config_changed_read(const struct pjson *at, struct pmsg_interface *out)
{
	struct pjson interface;
	int rc = pjson_object(at, "interface", &interface);

	return rc ? rc : ptype_interface(&interface, true, out);
}

/* Without a type it is no resource at all; with one it is one that may have to be skipped. */
static int resource_changed_read(const struct pjson *at, struct pmsg_resource *out)
{
	int rc = ptype_check_client_resource(at);

	if (rc)
		return rc;
	return ptype_resource(at, PTYPE_VIEW_CLIENT, out) ? -EPROTONOSUPPORT : 0;
}

static int resource_deleted_read(const struct pjson *at, struct uuid *out)
{
	int rc = ptype_check_uuid(at);

	return rc ? rc : uuid_parse(json_string_value(at->v), out);
}

static int relays_presence_read(const struct pjson *at, struct pmsg_relays_presence *out)
{
	int rc = pjson_list(at, "disconnected_ids", true, ptype_check_uuid, &out->disconnected);

	return rc ? rc : pjson_list(at, "connected", true, ptype_check_relay, &out->connected);
}

static int flow_created_read(const struct pjson *at, struct pmsg_flow_created *out)
{
	int rc = pjson_uuid(at, "resource_id", &out->resource_id);

	if (!rc)
		rc = pjson_uuid(at, "gateway_id", &out->gateway_id);
	if (!rc)
		rc = pjson_uuid(at, "gateway_group_id", &out->site_id);
	if (!rc)
		rc = pjson_key(at, "gateway_public_key", out->gateway_key);
	if (!rc)
		rc = pjson_ip(at, "gateway_ipv4", 4, &out->gateway_v4);
	if (!rc)
		rc = pjson_ip(at, "gateway_ipv6", 6, &out->gateway_v6);
	if (!rc)
		rc = pjson_key(at, "preshared_key", out->psk);
	if (!rc)
		rc = ptype_ice_creds(at, "client_ice_credentials", &out->client_ice);
	return rc ? rc : ptype_ice_creds(at, "gateway_ice_credentials", &out->gateway_ice);
}

static int flow_creation_failed_read(const struct pjson *at, struct pmsg_flow_creation_failed *out)
{
	static const char *const reasons[] = {
		[PMSG_FLOW_NOT_FOUND] = "not_found",
		[PMSG_FLOW_OFFLINE] = "offline",
		[PMSG_FLOW_FORBIDDEN] = "forbidden",
	};
	int rc = pjson_uuid(at, "resource_id", &out->resource_id);

	if (!rc)
		rc = pjson_str(at, "reason", &out->reason_text);
	if (rc)
		return rc;
	out->reason = PMSG_FLOW_UNKNOWN_REASON;
	for (unsigned int i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (!strcmp(out->reason_text, reasons[i]))
			out->reason = (enum pmsg_flow_failure)i;
	return pjson_list(at, "violated_properties", false, ptype_check_string,
			  &out->violated_properties);
}

static int flow_client_read(const struct pjson *at, struct pmsg_authorize_flow *out)
{
	int rc = pjson_uuid(at, "id", &out->client_id);

	if (!rc)
		rc = pjson_key(at, "public_key", out->client_key);
	if (!rc)
		rc = pjson_key(at, "preshared_key", out->psk);
	if (!rc)
		rc = pjson_ip(at, "ipv4", 4, &out->client_v4);
	return rc ? rc : pjson_ip(at, "ipv6", 6, &out->client_v6);
}

static int authorize_flow_read(const struct pjson *at, struct pmsg_authorize_flow *out)
{
	struct pjson sub, expiry;
	int rc = pjson_str(at, "ref", &out->ref);

	if (!rc)
		rc = pjson_object(at, "resource", &sub);
	if (!rc)
		rc = ptype_resource(&sub, PTYPE_VIEW_GATEWAY, &out->resource);
	if (!rc)
		rc = pjson_object(at, "client", &sub);
	if (!rc)
		rc = flow_client_read(&sub, out);
	if (!rc)
		rc = ptype_ice_creds(at, "client_ice_credentials", &out->client_ice);
	if (!rc)
		rc = ptype_ice_creds(at, "gateway_ice_credentials", &out->gateway_ice);
	if (!rc)
		rc = pjson_get(at, "expires_at", &expiry); /* must be there, may be null */
	return rc ? rc : pjson_u64_optional(at, "expires_at", &out->expires, &out->expires_at);
}

static int access_read(const struct pjson *at, bool with_expiry, struct pmsg_access *out)
{
	int rc = pjson_uuid(at, "client_id", &out->client_id);

	if (!rc)
		rc = pjson_uuid(at, "resource_id", &out->resource_id);
	if (!rc && with_expiry)
		rc = pjson_u64(at, "expires_at", &out->expires_at);
	return rc;
}

static int candidates_read(const struct pjson *at, enum pmsg_role role, struct pmsg_candidates *out)
{
	int rc = pjson_uuid(at, role == PMSG_ROLE_CLIENT ? "gateway_id" : "client_id",
			    &out->peer_id);

	return rc ? rc : pjson_list(at, "candidates", true, ptype_check_string, &out->lines);
}

enum pmsg_kind pmsg_kind(enum pmsg_role role, const char *event)
{
	static const struct {
		const char *event;
		enum pmsg_kind kinds[2]; /* by role */
	} table[] = {
		{"init", {PMSG_CLIENT_INIT, PMSG_GATEWAY_INIT}},
		{"config_changed", {PMSG_CONFIG_CHANGED, PMSG_UNKNOWN}},
		{"resource_created_or_updated", {PMSG_RESOURCE_CHANGED, PMSG_UNKNOWN}},
		{"resource_deleted", {PMSG_RESOURCE_DELETED, PMSG_UNKNOWN}},
		{"relays_presence", {PMSG_RELAYS_PRESENCE, PMSG_RELAYS_PRESENCE}},
		{"flow_created", {PMSG_FLOW_CREATED, PMSG_UNKNOWN}},
		{"flow_creation_failed", {PMSG_FLOW_CREATION_FAILED, PMSG_UNKNOWN}},
		{"authorize_flow", {PMSG_UNKNOWN, PMSG_AUTHORIZE_FLOW}},
		{"reject_access", {PMSG_UNKNOWN, PMSG_REJECT_ACCESS}},
		{"access_authorization_expiry_updated", {PMSG_UNKNOWN, PMSG_EXPIRY_UPDATED}},
		{"resource_updated", {PMSG_UNKNOWN, PMSG_RESOURCE_UPDATED}},
		{"ice_candidates", {PMSG_CANDIDATES, PMSG_CANDIDATES}},
		{"invalidate_ice_candidates",
		 {PMSG_INVALIDATED_CANDIDATES, PMSG_INVALIDATED_CANDIDATES}},
		{"disconnect", {PMSG_DISCONNECT, PMSG_DISCONNECT}},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(table[i].event, event))
			return table[i].kinds[role];
	return PMSG_UNKNOWN;
}

static int payload_read(const struct pjson *at, enum pmsg_role role, struct pmsg *m)
{
	switch (m->kind) {
	case PMSG_CLIENT_INIT:
		return client_init_read(at, &m->client_init);
	case PMSG_GATEWAY_INIT:
		return gateway_init_read(at, &m->gateway_init);
	case PMSG_CONFIG_CHANGED:
		return config_changed_read(at, &m->config_changed);
	case PMSG_RESOURCE_CHANGED:
		return resource_changed_read(at, &m->resource);
	case PMSG_RESOURCE_DELETED:
		return resource_deleted_read(at, &m->resource_deleted);
	case PMSG_RELAYS_PRESENCE:
		return relays_presence_read(at, &m->relays_presence);
	case PMSG_FLOW_CREATED:
		return flow_created_read(at, &m->flow_created);
	case PMSG_FLOW_CREATION_FAILED:
		return flow_creation_failed_read(at, &m->flow_creation_failed);
	case PMSG_AUTHORIZE_FLOW:
		return authorize_flow_read(at, &m->authorize_flow);
	case PMSG_REJECT_ACCESS:
		return access_read(at, false, &m->access);
	case PMSG_EXPIRY_UPDATED:
		return access_read(at, true, &m->access);
	case PMSG_RESOURCE_UPDATED:
		return ptype_resource(at, PTYPE_VIEW_GATEWAY, &m->resource);
	case PMSG_CANDIDATES:
	case PMSG_INVALIDATED_CANDIDATES:
		return candidates_read(at, role, &m->candidates);
	case PMSG_DISCONNECT:
		return pjson_str(at, "reason", &m->disconnect_reason);
	case PMSG_UNKNOWN:
		break;
	}
	return -ENOENT;
}

int pmsg_decode(struct pmsg *m, enum pmsg_role role, const char *event, const json_t *payload,
		struct pmsg_err *err)
{
	struct pjson root = pjson_root(payload, err);
	int rc;

	memset(m, 0, sizeof(*m));
	err->field[0] = '\0';
	err->why = "";
	m->kind = pmsg_kind(role, event);
	rc = payload_read(&root, role, m);
	if (rc)
		pmsg_fini(m);
	return rc;
}

void pmsg_fini(struct pmsg *m)
{
	explicit_bzero(m, sizeof(*m));
}
