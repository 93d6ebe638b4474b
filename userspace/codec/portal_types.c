/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared payload types and the accessors of their lists. An accessor runs the same reader that
 * validated the element; on validated lists it cannot fail. */
#include "codec/portal_types.h"
#include <errno.h>
#include <string.h>

#define DNS_PATTERN_MAX 255
#define TURN_STRING_MAX 512 /* RFC 8489 §14.3: a username is less than 509 bytes */
#define ICE_STRING_MAX	256 /* RFC 8839 §5.4: ufrag and password are 256 at most */

int ptype_check_string(const struct pjson *el)
{
	return json_is_string(el->v) ? 0 : pjson_fail(el, "not a string");
}

int ptype_check_uuid(const struct pjson *el)
{
	struct uuid id;

	if (!json_is_string(el->v) || uuid_parse(json_string_value(el->v), &id))
		return pjson_fail(el, "not a UUID");
	return 0;
}

static int str_bounded(const struct pjson *obj, const char *key, size_t max, const char **out)
{
	int rc = pjson_str(obj, key, out);

	if (!rc && (!**out || strlen(*out) > max))
		rc = pjson_fail_key(obj, key, "empty or too long");
	return rc;
}

int ptype_ice_creds(const struct pjson *obj, const char *key, struct pmsg_ice_creds *out)
{
	struct pjson at;
	int rc = pjson_object(obj, key, &at);

	if (!rc)
		rc = str_bounded(&at, "username", ICE_STRING_MAX, &out->username);
	return rc ? rc : str_bounded(&at, "password", ICE_STRING_MAX, &out->password);
}

/* ---- interface ---- */

static int dns_read(const struct pjson *el, struct endpoint *out)
{
	const char *protocol;
	int rc = pjson_str(el, "protocol", &protocol);

	if (!rc && strcmp(protocol, "ip_port") != 0)
		rc = pjson_fail_key(el, "protocol", "unknown protocol");
	return rc ? rc : pjson_endpoint(el, "address", out);
}

static int dns_check(const struct pjson *el)
{
	struct endpoint e;

	return dns_read(el, &e);
}

int ptype_interface(const struct pjson *at, bool with_dns, struct pmsg_interface *out)
{
	int rc = pjson_ip(at, "ipv4", 4, &out->v4);

	if (!rc)
		rc = pjson_ip(at, "ipv6", 6, &out->v6);
	if (!with_dns)
		return rc;
	if (!rc)
		rc = pjson_list(at, "upstream_dns", false, dns_check, &out->dns);
	return rc ? rc : pjson_str_optional(at, "search_domain", &out->search_domain);
}

/* ---- relays ---- */

struct relay_entry {
	bool turn;
	struct uuid id;
	struct endpoint addr;
	const char *username, *password;
	uint64_t expires_at;
};

static int relay_read(const struct pjson *el, struct relay_entry *out)
{
	const char *type;
	int rc = pjson_str(el, "type", &type);

	if (rc)
		return rc;
	out->turn = !strcmp(type, "turn");
	if (!out->turn && strcmp(type, "stun") != 0)
		return pjson_fail_key(el, "type", "unknown relay type");
	rc = pjson_uuid(el, "id", &out->id);
	if (!rc)
		rc = pjson_endpoint(el, "addr", &out->addr);
	if (rc || !out->turn)
		return rc;
	rc = str_bounded(el, "username", TURN_STRING_MAX, &out->username);
	if (!rc)
		rc = str_bounded(el, "password", TURN_STRING_MAX, &out->password);
	return rc ? rc : pjson_u64(el, "expires_at", &out->expires_at);
}

int ptype_check_relay(const struct pjson *el)
{
	struct relay_entry r = {0};

	return relay_read(el, &r);
}

static void relay_take_addr(struct pmsg_relay *out, const struct endpoint *addr)
{
	struct endpoint *slot = addr->ip.family == 4 ? &out->v4 : &out->v6;

	if (!slot->ip.family)
		*slot = *addr;
}

bool pmsg_relay_next(struct pmsg_list l, size_t *cursor, struct pmsg_relay *out)
{
	struct pmsg_err ignored;
	struct pjson arr = pjson_root(l.json, &ignored);
	bool found = false;

	for (; *cursor < pmsg_count(l); ++*cursor) {
		struct pjson el = pjson_element(&arr, *cursor);
		struct relay_entry r = {0};

		if (relay_read(&el, &r) || !r.turn)
			continue;
		if (found && !uuid_eq(&r.id, &out->id))
			break;
		if (!found)
			*out = (struct pmsg_relay){.id = r.id,
						   .username = r.username,
						   .password = r.password,
						   .expires_at = r.expires_at};
		found = true;
		relay_take_addr(out, &r.addr);
	}
	return found;
}

/* ---- resources ---- */

static int filter_read(const struct pjson *el, struct pmsg_filter *out)
{
	const char *protocol;
	int rc = pjson_str(el, "protocol", &protocol);

	if (rc)
		return rc;
	out->port_first = 0;
	out->port_last = UINT16_MAX;
	if (!strcmp(protocol, "icmp")) {
		out->proto = PMSG_PROTO_ICMP;
		return 0;
	}
	if (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0)
		return pjson_fail_key(el, "protocol", "unknown protocol");
	out->proto = protocol[0] == 't' ? PMSG_PROTO_TCP : PMSG_PROTO_UDP;
	rc = pjson_u16_default(el, "port_range_start", 0, &out->port_first);
	if (!rc)
		rc = pjson_u16_default(el, "port_range_end", UINT16_MAX, &out->port_last);
	if (!rc && out->port_first > out->port_last)
		rc = pjson_fail_key(el, "port_range_end", "before port_range_start");
	return rc;
}

static int filter_check(const struct pjson *el)
{
	struct pmsg_filter f;

	return filter_read(el, &f);
}

static int site_read(const struct pjson *el, struct pmsg_site *out)
{
	int rc = pjson_uuid(el, "id", &out->id);

	return rc ? rc : pjson_str(el, "name", &out->name);
}

static int site_check(const struct pjson *el)
{
	struct pmsg_site s;

	return site_read(el, &s);
}

int ptype_check_client_resource(const struct pjson *el)
{
	const char *type;

	return pjson_str(el, "type", &type);
}

static int resource_type(const struct pjson *at, enum pmsg_resource_type *out)
{
	const char *type;
	int rc = pjson_str(at, "type", &type);

	if (rc)
		return rc;
	if (!strcmp(type, "cidr"))
		*out = PMSG_RESOURCE_CIDR;
	else if (!strcmp(type, "dns"))
		*out = PMSG_RESOURCE_DNS;
	else if (!strcmp(type, "internet"))
		*out = PMSG_RESOURCE_INTERNET;
	else
		return pjson_fail_key(at, "type", "unknown resource type");
	return 0;
}

static int resource_address(const struct pjson *at, struct pmsg_resource *out)
{
	const char *text;
	int rc = str_bounded(at, "address", DNS_PATTERN_MAX, &text);

	if (rc)
		return rc;
	if (out->type == PMSG_RESOURCE_DNS)
		out->dns_pattern = text;
	else if (ipnet_parse(text, &out->net))
		return pjson_fail_key(at, "address", "not a network");
	return 0;
}

static int ip_stack_read(const struct pjson *at, enum pmsg_ip_stack *out)
{
	const char *text;
	int rc = pjson_str_optional(at, "ip_stack", &text);

	*out = PMSG_STACK_DUAL;
	if (rc || !text || !strcmp(text, "dual"))
		return rc;
	if (!strcmp(text, "ipv4_only"))
		*out = PMSG_STACK_V4;
	else if (!strcmp(text, "ipv6_only"))
		*out = PMSG_STACK_V6;
	else
		return pjson_fail_key(at, "ip_stack", "unknown ip_stack");
	return 0;
}

/* The list is called gateway_groups by SEED portals and sites by newer ones. */
static int sites_read(const struct pjson *at, struct pmsg_list *out)
{
	struct pjson groups, sites;
	int rc = pjson_get_optional(at, "gateway_groups", &groups);

	if (!rc)
		rc = pjson_get_optional(at, "sites", &sites);
	if (rc)
		return rc;
	return pjson_list(at, !groups.v && sites.v ? "sites" : "gateway_groups", true, site_check,
			  out);
}

static int resource_client_part(const struct pjson *at, struct pmsg_resource *out)
{
	bool internet = out->type == PMSG_RESOURCE_INTERNET;
	int rc;

	rc = internet ? pjson_str_optional(at, "name", &out->name)
		      : pjson_str(at, "name", &out->name);
	if (!rc && internet && !out->name)
		out->name = "Internet Resource";
	if (!rc)
		rc = pjson_str_optional(at, "address_description", &out->description);
	if (!rc)
		rc = ip_stack_read(at, &out->ip_stack);
	/* A client's filters choose among overlapping resources and spare a way; gateways enforce
	 * them. So what cannot be read costs the filters, not the resource. */
	if (!rc && pjson_list(at, "filters", false, filter_check, &out->filters))
		out->filters = (struct pmsg_list){0};
	return rc ? rc : sites_read(at, &out->sites);
}

static int resource_gateway_part(const struct pjson *at, struct pmsg_resource *out)
{
	int rc;

	if (out->type == PMSG_RESOURCE_INTERNET)
		return 0;
	rc = pjson_str(at, "name", &out->name);
	return rc ? rc : pjson_list(at, "filters", true, filter_check, &out->filters);
}

int ptype_resource(const struct pjson *at, enum ptype_view view, struct pmsg_resource *out)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = resource_type(at, &out->type);
	if (!rc)
		rc = pjson_uuid(at, "id", &out->id);
	if (!rc && out->type != PMSG_RESOURCE_INTERNET)
		rc = resource_address(at, out);
	if (rc)
		return rc;
	return view == PTYPE_VIEW_CLIENT ? resource_client_part(at, out)
					 : resource_gateway_part(at, out);
}

static int authorization_read(const struct pjson *el, struct pmsg_authorization *out)
{
	int rc = pjson_uuid(el, "client_id", &out->client_id);

	if (!rc)
		rc = pjson_uuid(el, "resource_id", &out->resource_id);
	return rc ? rc
		  : pjson_u64_optional(el, "expires_at", &out->has_expires_at, &out->expires_at);
}

int ptype_check_authorization(const struct pjson *el)
{
	struct pmsg_authorization a;

	return authorization_read(el, &a);
}

/* ---- accessors ---- */

/* A cursor to element i of a list that was validated, with nowhere for errors to go. */
#define ELEMENT_AT(l, i, el)                                  \
	struct pmsg_err no_err;                               \
	struct pjson no_root = pjson_root((l).json, &no_err); \
	struct pjson el = pjson_element(&no_root, (i))

const char *pmsg_string_at(struct pmsg_list l, size_t i)
{
	const char *s = json_string_value(json_array_get(l.json, i));

	return s ? s : "";
}

struct uuid pmsg_uuid_at(struct pmsg_list l, size_t i)
{
	struct uuid id = {0};

	(void)uuid_parse(pmsg_string_at(l, i), &id);
	return id;
}

struct endpoint pmsg_dns_at(struct pmsg_list l, size_t i)
{
	struct endpoint e = {0};
	ELEMENT_AT(l, i, el);

	(void)dns_read(&el, &e);
	return e;
}

struct pmsg_site pmsg_site_at(struct pmsg_list l, size_t i)
{
	struct pmsg_site s = {.name = ""};
	ELEMENT_AT(l, i, el);

	(void)site_read(&el, &s);
	return s;
}

struct pmsg_filter pmsg_filter_at(struct pmsg_list l, size_t i)
{
	struct pmsg_filter f = {0};
	ELEMENT_AT(l, i, el);

	(void)filter_read(&el, &f);
	return f;
}

struct pmsg_authorization pmsg_authorization_at(struct pmsg_list l, size_t i)
{
	struct pmsg_authorization a = {0};
	ELEMENT_AT(l, i, el);

	(void)authorization_read(&el, &a);
	return a;
}

int pmsg_client_resource_at(struct pmsg_list l, size_t i, struct pmsg_resource *out,
			    struct pmsg_err *err)
{
	struct pjson arr = pjson_root(l.json, err);
	struct pjson el = pjson_element(&arr, i);

	return ptype_resource(&el, PTYPE_VIEW_CLIENT, out) ? -EPROTONOSUPPORT : 0;
}
