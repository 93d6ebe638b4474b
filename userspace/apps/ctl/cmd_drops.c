/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock drops` for people: what ended here and why; with --all also what was handled and passed
 * on. */
#include <string.h>
#include "apps/ctl/ctl.h"

static bool wanted(const json_t *r, const struct ctl_options *opt)
{
	const char *verdict = ctl_str(r, "verdict");

	return opt->all || (verdict && !strcmp(verdict, "drop"));
}

void cmd_drops(const json_t *a, const struct ctl_options *opt)
{
	static const char *const titles[] = {"REASON",	 "EXECUTOR", "VERDICT",
					     ">PACKETS", ">BYTES",   "WHAT"};
	const json_t *reasons = json_object_get(a, "reasons"), *r;
	struct ctl_table t;
	size_t i, shown = 0;

	ctl_table_init(&t, titles, 6);
	json_array_foreach(reasons, i, r)
	{
		if (!wanted(r, opt))
			continue;
		ctl_table_cell(&t, ctl_clean_str(r, "reason"));
		ctl_table_cell(&t, ctl_clean_str(r, "executor"));
		ctl_table_cell(&t, ctl_clean_str(r, "verdict"));
		ctl_table_cell(&t, ctl_count(ctl_u64(r, "packets")));
		ctl_table_cell(&t, ctl_bytes(ctl_u64(r, "bytes")));
		ctl_table_cell(&t, ctl_clean_str(r, "what"));
		shown++;
	}
	if (shown)
		ctl_table_print(&t);
	else
		printf("nothing was dropped\n");
}
