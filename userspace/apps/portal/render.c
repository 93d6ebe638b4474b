/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/render.h"

#include <openssl/crypto.h>
#include <string.h>

#include "apps/portal/expiry.h"

char *render_frame(const char *topic, const char *event, const json_t *ref, json_t *payload)
{
	json_t *frame;
	char *text;

	if (!payload)
		return NULL;
	frame = json_pack("{s:s,s:s,s:O?,s:o}", "topic", topic, "event", event, "ref",
			  (json_t *)(uintptr_t)ref, "payload", payload);
	if (frame && !ref)
		json_object_set_new(frame, "ref", json_null());
	text = frame ? json_dumps(frame, JSON_COMPACT) : NULL;
	json_decref(frame);
	return text;
}

json_t *render_reply(bool ok, json_t *response)
{
	return json_pack("{s:s,s:o}", "status", ok ? "ok" : "error", "response", response);
}

json_t *render_reason(const char *reason)
{
	return json_pack("{s:s}", "reason", reason);
}

static json_t *expiry_or_null(uint64_t expires_at)
{
	return expires_at == EXPIRY_NEVER ? json_null() : json_integer((json_int_t)expires_at);
}

static json_t *bare_interface(const struct device *dev)
{
	char v4[IPADDR_STRLEN], v6[IPADDR_STRLEN];
	struct ipaddr a4 = device_ipv4(dev), a6 = device_ipv6(dev);

	return json_pack("{s:s,s:s}", "ipv4", ipaddr_fmt(&a4, v4), "ipv6", ipaddr_fmt(&a6, v6));
}

json_t *render_client_interface(const struct config *cfg, const struct device *dev)
{
	json_t *v = bare_interface(dev), *dns = json_array();

	for (size_t i = 0; i < cfg->n_dns; i++) {
		char text[ENDPOINT_STRLEN];

		json_array_append_new(dns, json_pack("{s:s,s:s}", "protocol", "ip_port", "address",
						     endpoint_fmt(&cfg->dns[i], text)));
	}
	json_object_set_new(v, "upstream_dns", dns);
	json_object_set_new(v, "search_domain",
			    cfg->search_domain ? json_string(cfg->search_domain) : json_null());
	return v;
}

static json_t *filters(const struct config_resource *res)
{
	static const char *const names[] = {"tcp", "udp", "icmp"};
	json_t *list = json_array();

	for (size_t i = 0; i < res->n_filters; i++) {
		const struct config_filter *f = &res->filters[i];
		json_t *v = json_pack("{s:s}", "protocol", names[f->proto]);

		if (f->has_ports) {
			json_object_set_new(v, "port_range_start", json_integer(f->start));
			json_object_set_new(v, "port_range_end", json_integer(f->end));
		}
		json_array_append_new(list, v);
	}
	return list;
}

static json_t *groups(const struct config *cfg, const struct config_resource *res)
{
	json_t *list = json_array();

	for (size_t i = 0; i < res->n_sites; i++) {
		const struct config_site *site = &cfg->sites[res->sites[i]];

		json_array_append_new(list,
				      json_pack("{s:s,s:s}", "id", site->id, "name", site->name));
	}
	return list;
}

static const char *address(const struct config_resource *res, char net[IPNET_STRLEN])
{
	return res->type == RESOURCE_DNS ? res->pattern : ipnet_fmt(&res->address, net);
}

json_t *render_client_resource(const struct config *cfg, const struct config_resource *res)
{
	json_t *v = json_pack("{s:s,s:s,s:o}", "id", res->id, "type", config_type_name(res->type),
			      "gateway_groups", groups(cfg, res));
	char net[IPNET_STRLEN];

	if (!v)
		return NULL;
	if (res->type == RESOURCE_INTERNET) {
		json_object_set_new(v, "can_be_disabled", json_true());
		return v;
	}
	json_object_set_new(v, "name", json_string(res->name));
	json_object_set_new(v, "address", json_string(address(res, net)));
	json_object_set_new(v, "address_description",
			    res->description ? json_string(res->description) : json_null());
	json_object_set_new(v, "filters", filters(res));
	if (res->type == RESOURCE_DNS)
		json_object_set_new(v, "ip_stack", json_string(config_stack_name(res->stack)));
	return v;
}

json_t *render_gateway_resource(const struct config_resource *res)
{
	const char *type = config_type_name(res->type);
	char net[IPNET_STRLEN];

	if (res->type == RESOURCE_INTERNET)
		return json_pack("{s:s,s:s}", "id", res->id, "type", type);
	return json_pack("{s:s,s:s,s:s,s:s,s:o}", "id", res->id, "type", type, "address",
			 address(res, net), "name", res->name, "filters", filters(res));
}

json_t *render_client_init(const struct config *cfg, const struct device *dev, json_t *resources,
			   json_t *relays)
{
	return json_pack("{s:o,s:o,s:o}", "interface", render_client_interface(cfg, dev),
			 "resources", resources, "relays", relays);
}

json_t *render_gateway_init(const struct config *cfg, const struct device *dev,
			    const struct flows *flows, json_t *relays, uint64_t wall)
{
	json_t *list = json_array();

	for (size_t i = 0; i < flows->n; i++) {
		const struct flow *f = &flows->f[i];

		if (f->revoked_at || expiry_passed(f->expires_at, wall) || f->gateway != dev)
			continue;
		json_array_append_new(list, json_pack("{s:s,s:s,s:o}", "client_id", f->client->id,
						      "resource_id", f->resource_id, "expires_at",
						      expiry_or_null(f->expires_at)));
	}
	return json_pack("{s:o,s:{s:b,s:b},s:s,s:o,s:o}", "interface", bare_interface(dev),
			 "config", "ipv4_masquerade_enabled", 1, "ipv6_masquerade_enabled", 1,
			 "account_slug", cfg->account_slug, "relays", relays, "authorizations",
			 list);
}

/* Both sets of ICE credentials and the preshared key of the pair. */
struct secrets {
	struct ice_creds client, gateway;
	char psk[KEY_B64_STRLEN];
};

static bool derive_secrets(const struct flow_view *v, struct secrets *s)
{
	struct pair_ids ids = {.client_id = v->client->id,
			       .gateway_id = v->gateway->id,
			       .client_key = v->client_key,
			       .gateway_key = v->gateway_key};

	derive_ice(&ids, &s->client, &s->gateway);
	return derive_psk(&ids, v->client->psk_base, v->gateway->psk_base, s->psk);
}

static json_t *credentials(const struct ice_creds *c)
{
	return json_pack("{s:s,s:s}", "username", c->username, "password", c->password);
}

json_t *render_authorize_flow(const struct flow_view *v, const char *ref)
{
	char v4[IPADDR_STRLEN], v6[IPADDR_STRLEN];
	struct ipaddr a4 = device_ipv4(v->client), a6 = device_ipv6(v->client);
	struct secrets s;
	json_t *out = NULL;

	if (derive_secrets(v, &s))
		out = json_pack("{s:s,s:o,s:{s:s,s:s,s:s,s:s,s:s},s:o,s:o,s:o}", "ref", ref,
				"resource", render_gateway_resource(v->resource), "client", "id",
				v->client->id, "public_key", v->client_key, "preshared_key", s.psk,
				"ipv4", ipaddr_fmt(&a4, v4), "ipv6", ipaddr_fmt(&a6, v6),
				"client_ice_credentials", credentials(&s.client),
				"gateway_ice_credentials", credentials(&s.gateway), "expires_at",
				expiry_or_null(v->expires_at));
	OPENSSL_cleanse(&s, sizeof(s));
	return out;
}

json_t *render_flow_created(const struct flow_view *v)
{
	char v4[IPADDR_STRLEN], v6[IPADDR_STRLEN];
	struct ipaddr a4 = device_ipv4(v->gateway), a6 = device_ipv6(v->gateway);
	struct secrets s;
	json_t *out = NULL;

	if (derive_secrets(v, &s))
		out = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:o}", "resource_id",
				v->resource->id, "gateway_id", v->gateway->id, "gateway_group_id",
				v->site_id, "gateway_public_key", v->gateway_key, "gateway_ipv4",
				ipaddr_fmt(&a4, v4), "gateway_ipv6", ipaddr_fmt(&a6, v6),
				"preshared_key", s.psk, "client_ice_credentials",
				credentials(&s.client), "gateway_ice_credentials",
				credentials(&s.gateway));
	OPENSSL_cleanse(&s, sizeof(s));
	return out;
}

json_t *render_flow_failed(const char *resource_id, const char *reason, const char *violated)
{
	json_t *v = json_pack("{s:s,s:s}", "resource_id", resource_id, "reason", reason);

	if (v && violated)
		json_object_set_new(v, "violated_properties", json_pack("[s]", violated));
	return v;
}

json_t *render_reject_access(const char *client_id, const char *resource_id)
{
	return json_pack("{s:s,s:s}", "client_id", client_id, "resource_id", resource_id);
}

json_t *render_expiry_updated(const char *client_id, const char *resource_id, uint64_t expires_at)
{
	return json_pack("{s:s,s:s,s:I}", "client_id", client_id, "resource_id", resource_id,
			 "expires_at", (json_int_t)expiry_min(expires_at, EXPIRY_MAX));
}

json_t *render_candidates(const char *id_key, const char *id, json_t *candidates)
{
	return json_pack("{s:s,s:O}", id_key, id, "candidates", candidates);
}
