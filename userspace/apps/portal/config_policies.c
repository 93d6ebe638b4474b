/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies: who may use which resource, until when. */
#include <stdlib.h>
#include <string.h>

#include "apps/portal/config_sections.h"
#include "apps/portal/expiry.h"

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
