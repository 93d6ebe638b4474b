/* SPDX-License-Identifier: Apache-2.0
 *
 * Resources with their filters, and policies. */
#include <stdlib.h>
#include <string.h>

#include "apps/portal/config_sections.h"
#include "apps/portal/expiry.h"

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
	return ok;
}

static bool cidr(struct dec *d, const json_t *v, struct config_resource *r)
{
	const char *type, *address;

	if (!dec_str(d, v, "type", DEC_REQUIRED, 1, 16, &type))
		return false;
	if (strcmp(type, "cidr"))
		return dec_fail_key(d, "type", "must be \"cidr\"; no other type is supported yet");
	if (!dec_str(d, v, "address", DEC_REQUIRED, 1, IPNET_STRLEN, &address))
		return false;
	if (ipnet_parse(address, &r->address))
		return dec_fail_key(d, "address",
				    "must be a network such as 10.20.0.0/16, without host bits");
	if (!r->address.len)
		return dec_fail_key(d, "address", "must not be the whole internet");
	if (config_net_reserved(&r->address))
		return dec_fail_key(d, "address", "lies in a range reserved for tunnels");
	if (ipaddr_is_multicast(&r->address.ip) || ipaddr_is_loopback(&r->address.ip))
		return dec_fail_key(d, "address", "must not be multicast or loopback");
	return true;
}

static bool resource_one(struct dec *d, const json_t *v, const struct config *cfg,
			 struct config_resource *r)
{
	static const char *const keys[] = {
		"name", "id", "type", "address", "address_description", "site", "filters", NULL};
	const char *site;

	if (!dec_object(d, v, keys) ||
	    !dec_str(d, v, "name", DEC_REQUIRED, 1, CONFIG_NAME_MAX, &r->name) ||
	    !dec_id(d, v, "resource", r->name, r->id) || !cidr(d, v, r) ||
	    !dec_str(d, v, "address_description", DEC_OPTIONAL, 0, 512, &r->description) ||
	    !dec_str(d, v, "site", DEC_REQUIRED, 1, CONFIG_NAME_MAX, &site) || !filters(d, v, r))
		return false;
	for (r->site = 0; r->site < cfg->n_sites; r->site++)
		if (!strcmp(cfg->sites[r->site].name, site))
			return true;
	return dec_fail_key(d, "site", "names no entry of \"sites\"");
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
		ok = resource_one(d, json_array_get(list, i), cfg, r);
		for (size_t j = 0; ok && j < i; j++) {
			if (!strcmp(cfg->resources[j].name, r->name))
				ok = dec_fail_key(d, "name",
						  "is already the name of resources[%zu]", j);
			else if (!strcmp(cfg->resources[j].id, r->id))
				ok = dec_fail_key(d, "id", "is already the id of resources[%zu]",
						  j);
		}
		dec_leave(d);
	}
	dec_leave(d);
	return ok;
}

/* A policy for somebody no client token belongs to may be a misspelling. It is no error: taking a
 * client out of the file must revoke it at once, whatever policies it leaves behind. */
static bool subject_exists(const struct config *cfg, const struct config_policy *p)
{
	for (size_t i = 0; i < cfg->n_tokens; i++) {
		const struct config_token *t = &cfg->tokens[i];

		if (t->role != ROLE_CLIENT)
			continue;
		if (p->actor && !strcmp(t->actor, p->actor))
			return true;
		for (size_t g = 0; p->group && g < t->n_groups; g++)
			if (!strcmp(t->groups[g], p->group))
				return true;
	}
	return false;
}

static bool policy_one(struct dec *d, const json_t *v, const struct config *cfg,
		       struct config_policy *p)
{
	static const char *const keys[] = {"actor",	 "group",   "resource",
					   "expires_at", "enabled", NULL};
	const char *resource;

	if (!dec_object(d, v, keys) ||
	    !dec_str(d, v, "actor", DEC_OPTIONAL, 1, CONFIG_NAME_MAX, &p->actor) ||
	    !dec_str(d, v, "group", DEC_OPTIONAL, 1, CONFIG_NAME_MAX, &p->group) ||
	    !dec_str(d, v, "resource", DEC_REQUIRED, 1, CONFIG_NAME_MAX, &resource) ||
	    !dec_expiry(d, v, "expires_at", &p->expires_at) ||
	    !dec_bool(d, v, "enabled", true, &p->enabled))
		return false;
	if (!p->actor == !p->group)
		return dec_fail_key(d, "actor", "or \"group\" must be given, and not both");
	p->orphan = !subject_exists(cfg, p);
	for (p->resource = 0; p->resource < cfg->n_resources; p->resource++)
		if (!strcmp(cfg->resources[p->resource].name, resource))
			return true;
	return dec_fail_key(d, "resource", "names no entry of \"resources\"");
}

static int policy_cmp(const void *a, const void *b)
{
	const struct config_policy *x = a, *y = b;

	return (x->resource > y->resource) - (x->resource < y->resource);
}

static void group_by_resource(struct config *cfg)
{
	qsort(cfg->policies, cfg->n_policies, sizeof(*cfg->policies), policy_cmp);
	for (size_t i = 0; i < cfg->n_policies; i++) {
		struct config_resource *r = &cfg->resources[cfg->policies[i].resource];

		if (!r->n_policies++)
			r->first_policy = i;
	}
}

bool config_section_policies(struct dec *d, const json_t *root, struct config *cfg)
{
	json_t *list;
	size_t n;
	bool ok = true;

	if (!dec_array(d, root, "policies", DEC_OPTIONAL, CONFIG_LIST_MAX, &list, &n))
		return false;
	cfg->policies = calloc(n ? n : 1, sizeof(*cfg->policies));
	if (!cfg->policies)
		return dec_fail(d, "out of memory");
	dec_enter_key(d, "policies");
	for (size_t i = 0; ok && i < n; i++) {
		dec_enter_index(d, i);
		ok = policy_one(d, json_array_get(list, i), cfg, &cfg->policies[cfg->n_policies++]);
		dec_leave(d);
	}
	dec_leave(d);
	if (ok)
		group_by_resource(cfg);
	return ok;
}
