/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock resources` for people: what the policy covers, on a client by which site and gateway,
 * on a gateway for how many clients. */
#include "apps/ctl/ctl.h"

static const char *filters_text(const json_t *r)
{
	const json_t *f = json_object_get(r, "filters");

	return json_array_size(f) ? ctl_join(f) : "everything";
}

static const char *site_names(const json_t *r)
{
	static char out[CTL_TEXT_CAP];
	const json_t *sites = json_object_get(r, "sites"), *s;
	size_t i, n = 0;

	out[0] = 0;
	json_array_foreach(sites, i, s)
	{
		int len = snprintf(out + n, sizeof(out) - n, i ? ", %s" : "%s",
				   ctl_clean_str(s, "name"));

		n += len > 0 ? (size_t)len : 0;
		if (n >= sizeof(out))
			break;
	}
	return out;
}

static const char *state_text(const json_t *r)
{
	if (!ctl_bool(r, "supported"))
		return "not supported";
	if (ctl_has(r, "enabled") && !ctl_bool(r, "enabled"))
		return "off";
	return ctl_has(r, "status") ? ctl_clean_str(r, "status") : "served";
}

void cmd_switch(const json_t *a, const struct ctl_options *opt)
{
	(void)opt;
	printf("%s is %s%s\n", ctl_clean_str(a, "name"), ctl_bool(a, "enabled") ? "on" : "off",
	       ctl_bool(a, "changed") ? "" : ", as before");
}

void cmd_resources(const json_t *a, const struct ctl_options *opt)
{
	static const char *const titles[] = {"NAME",	"TYPE",	 "ADDRESS", "STATE",
					     "FILTERS", "SITES", "USED BY"};
	const json_t *list = json_object_get(a, "resources"), *r;
	struct ctl_table t;
	size_t i;

	(void)opt;
	if (!json_array_size(list)) {
		printf("no resources\n");
		return;
	}
	ctl_table_init(&t, titles, 7);
	json_array_foreach(list, i, r)
	{
		const json_t *auth = json_object_get(r, "authorizations");
		char used[CTL_TEXT_CAP];

		ctl_table_cell(&t, ctl_clean_str(r, "name"));
		ctl_table_cell(&t, ctl_clean_str(r, "type"));
		ctl_table_cell(&t, ctl_clean_str(r, "address"));
		ctl_table_cell(&t, state_text(r));
		ctl_table_cell(&t, filters_text(r));
		ctl_table_cell(&t, auth ? "-" : site_names(r));
		if (auth)
			snprintf(used, sizeof(used), "%zu clients", json_array_size(auth));
		else
			snprintf(used, sizeof(used), "%s", ctl_clean_str(r, "gateway"));
		ctl_table_cell(&t, used);
	}
	ctl_table_print(&t);
}
