/* SPDX-License-Identifier: Apache-2.0
 *
 * Resources: what they are, where they are reached, what may pass. Policies are in
 * config_policies.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/portal/config_sections.h"
#include "core/tunnel/dns_pattern.h"

static bool filter_proto(struct dec *d, const json_t *v, struct config_filter *f)
{
	static const char *const names[] = {"tcp", "udp", "icmp"};
	const char *proto;

	if (!dec_str(d, v, "protocol", DEC_REQUIRED, 1, 16, &proto))
		return false;
	for (unsigned i = 0; i < 3; i++) {
		f->proto = (enum filter_proto)i;
		if (!strcmp(proto, names[i]))
			return true;
	}
	return dec_fail_key(d, "protocol", "must be \"tcp\", \"udp\" or \"icmp\"");
}

static bool filter_one(struct dec *d, const json_t *v, struct config_filter *f)
{
	static const char *const keys[] = {"protocol", "port_range_start", "port_range_end", NULL};
	const json_t *start = json_object_get(v, "port_range_start");
	const json_t *end = json_object_get(v, "port_range_end");
	uint64_t from, to;

	if (!dec_object(d, v, keys) || !filter_proto(d, v, f) ||
	    !dec_uint(d, v, "port_range_start", 0, 0, 65535, &from) ||
	    !dec_uint(d, v, "port_range_end", 65535, 0, 65535, &to))
		return false;
	f->has_ports = start || end;
	if (f->has_ports && f->proto == FILTER_ICMP)
		return dec_fail_key(d, start ? "port_range_start" : "port_range_end",
				    "has no meaning for icmp");
	if (from > to)
		return dec_fail_key(d, "port_range_start", "is greater than port_range_end");
	f->start = (uint16_t)from;
	f->end = (uint16_t)to;
	return true;
}

/* FNV-1a; the configuration is no adversary of itself. */
static uint64_t mark_of(const struct config_resource *r)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < r->n_filters; i++) {
		const struct config_filter *f = &r->filters[i];
		const uint64_t parts[] = {(uint64_t)f->proto << 1 | f->has_ports, f->start >> 8,
					  f->start & 0xff, f->end >> 8, f->end & 0xff};

		for (size_t k = 0; k < 5; k++)
			h = (h ^ parts[k]) * UINT64_C(0x100000001b3);
	}
	return h;
}

static bool filters(struct dec *d, const json_t *v, struct config_resource *r)
{
	json_t *list;
	size_t n;
	bool ok = true;

	if (!dec_array(d, v, "filters", DEC_OPTIONAL, CONFIG_FILTER_MAX, &list, &n))
		return false;
	r->filters = calloc(n ? n : 1, sizeof(*r->filters));
	if (!r->filters)
		return dec_fail(d, "out of memory");
	dec_enter_key(d, "filters");
	for (size_t i = 0; ok && i < n; i++) {
		dec_enter_index(d, i);
		ok = filter_one(d, json_array_get(list, i), &r->filters[r->n_filters++]);
		dec_leave(d);
	}
	dec_leave(d);
	if (ok)
		r->filters_mark = mark_of(r);
	return ok;
}

static bool cidr(struct dec *d, const char *address, struct config_resource *r)
{
	if (ipnet_parse(address, &r->address))
		return dec_fail_key(d, "address",
				    "must be a network such as 10.20.0.0/16, without host bits");
	if (!r->address.len)
		return dec_fail_key(d, "address", "must not be the whole internet");
	if (config_net_reserved(&r->address))
		return dec_fail_key(d, "address", "lies in a range reserved for tunnels");
	if (ipaddr_is_multicast(&r->address.ip) || ipaddr_is_loopback(&r->address.ip))
		return dec_fail_key(d, "address", "must not be multicast or loopback");
	ipnet_fmt(&r->address, r->target);
	return true;
}

/* One of the names a value may have. */
static bool choice(struct dec *d, const char *key, const char *text, const char *(*name)(unsigned),
		   const char *list, unsigned *out)
{
	for (*out = 0; *out < 3; (*out)++)
		if (!strcmp(text, name(*out)))
			return true;
	return dec_fail_key(d, key, "must be %s", list);
}

static const char *type_name(unsigned i)
{
	return config_type_name((enum resource_type)i);
}

static const char *stack_name(unsigned i)
{
	return config_stack_name((enum resource_stack)i);
}

static bool dns(struct dec *d, const json_t *v, const char *address, struct config_resource *r)
{
	const char *stack;
	struct ipaddr ip;
	unsigned i = 0;

	if (!dns_pattern_valid(address))
		return dec_fail_key(d, "address",
				    "must be a name such as app.example.com, *.example.com or "
				    "**.example.com");
	if (!ipaddr_parse(address, &ip))
		return dec_fail_key(d, "address", "is an IP address; those are of type \"cidr\"");
	if (!dec_str(d, v, "ip_stack", DEC_OPTIONAL, 1, 16, &stack) ||
	    (stack && !choice(d, "ip_stack", stack, stack_name,
			      "\"dual\", \"ipv4_only\" or \"ipv6_only\"", &i)))
		return false;
	r->pattern = address;
	r->stack = (enum resource_stack)i;
	/* No pattern has a space in it, so that no two targets look alike. */
	snprintf(r->target, sizeof(r->target), "%s %s", address, config_stack_name(r->stack));
	return true;
}

/* Members that mean nothing for this type. */
static bool only_for(struct dec *d, const json_t *v, enum resource_type type)
{
	static const char *const internet[] = {"address", "address_description", "filters", NULL};

	if (type != RESOURCE_DNS && json_object_get(v, "ip_stack"))
		return dec_fail_key(d, "ip_stack", "is for type \"dns\" only");
	for (size_t i = 0; type == RESOURCE_INTERNET && internet[i]; i++)
		if (json_object_get(v, internet[i]))
			return dec_fail_key(d, internet[i], "has no meaning for \"internet\"");
	return true;
}

static bool what(struct dec *d, const json_t *v, struct config_resource *r)
{
	const char *type, *address;
	unsigned i;

	if (!dec_str(d, v, "type", DEC_REQUIRED, 1, 16, &type) ||
	    !choice(d, "type", type, type_name, "\"cidr\", \"dns\" or \"internet\"", &i) ||
	    !only_for(d, v, (enum resource_type)i))
		return false;
	r->type = (enum resource_type)i;
	if (r->type == RESOURCE_INTERNET) {
		snprintf(r->target, sizeof(r->target), "internet");
		return true;
	}
	if (!dec_str(d, v, "address", DEC_REQUIRED, 1, CONFIG_PATTERN_MAX, &address))
		return false;
	return r->type == RESOURCE_CIDR ? cidr(d, address, r) : dns(d, v, address, r);
}

static bool site_named(const struct config *cfg, const char *name, struct config_resource *r)
{
	for (size_t i = 0; name && i < cfg->n_sites; i++)
		if (!strcmp(cfg->sites[i].name, name)) {
			r->sites[r->n_sites++] = i;
			return true;
		}
	return false;
}

static bool site_list(struct dec *d, const struct config *cfg, const json_t *list, size_t n,
		      struct config_resource *r)
{
	bool ok = true;

	dec_enter_key(d, "sites");
	for (size_t i = 0; ok && i < n; i++) {
		dec_enter_index(d, i);
		if (!site_named(cfg, json_string_value(json_array_get(list, i)), r))
			ok = dec_fail(d, "names no entry of \"sites\"");
		for (size_t k = 0; ok && k < i; k++)
			if (r->sites[k] == r->sites[i])
				ok = dec_fail(d, "is already listed");
		dec_leave(d);
	}
	dec_leave(d);
	return ok;
}

/* "site" names one, "sites" several. */
static bool sites(struct dec *d, const json_t *v, const struct config *cfg,
		  struct config_resource *r)
{
	const char *site;
	json_t *list;
	size_t n;

	if (!dec_str(d, v, "site", DEC_OPTIONAL, 1, CONFIG_NAME_MAX, &site) ||
	    !dec_array(d, v, "sites", DEC_OPTIONAL, CONFIG_SITES_EACH, &list, &n))
		return false;
	if (!site == !n)
		return dec_fail_key(d, "site", "or \"sites\" must be given, and not both");
	if (n)
		return site_list(d, cfg, list, n, r);
	return site_named(cfg, site, r) || dec_fail_key(d, "site", "names no entry of \"sites\"");
}

static bool resource_one(struct dec *d, const json_t *v, const struct config *cfg,
			 struct config_resource *r)
{
	static const char *const keys[] = {
		"name",	    "id",   "type",  "address", "address_description",
		"ip_stack", "site", "sites", "filters", NULL};

	return dec_object(d, v, keys) &&
	       dec_str(d, v, "name", DEC_REQUIRED, 1, CONFIG_NAME_MAX, &r->name) &&
	       dec_id(d, v, "resource", r->name, r->id) && what(d, v, r) &&
	       dec_str(d, v, "address_description", DEC_OPTIONAL, 0, 512, &r->description) &&
	       sites(d, v, cfg, r) && filters(d, v, r);
}

/* Names and ids are unique, and there is one internet. */
static bool distinct(struct dec *d, const struct config *cfg, const struct config_resource *r)
{
	size_t n = (size_t)(r - cfg->resources);

	for (size_t j = 0; j < n; j++) {
		const struct config_resource *o = &cfg->resources[j];

		if (!strcmp(o->name, r->name))
			return dec_fail_key(d, "name", "is already the name of resources[%zu]", j);
		if (!strcmp(o->id, r->id))
			return dec_fail_key(d, "id", "is already the id of resources[%zu]", j);
		if (o->type == RESOURCE_INTERNET && r->type == RESOURCE_INTERNET)
			return dec_fail_key(d, "type", "\"internet\" is resources[%zu] already", j);
	}
	return true;
}

bool config_section_resources(struct dec *d, const json_t *root, struct config *cfg)
{
	json_t *list;
	size_t n;
	bool ok = true;

	if (!dec_array(d, root, "resources", DEC_OPTIONAL, 4096, &list, &n))
		return false;
	cfg->resources = calloc(n ? n : 1, sizeof(*cfg->resources));
	if (!cfg->resources)
		return dec_fail(d, "out of memory");
	dec_enter_key(d, "resources");
	for (size_t i = 0; ok && i < n; i++) {
		struct config_resource *r = &cfg->resources[cfg->n_resources++];

		dec_enter_index(d, i);
		ok = resource_one(d, json_array_get(list, i), cfg, r) && distinct(d, cfg, r);
		dec_leave(d);
	}
	dec_leave(d);
	return ok;
}
