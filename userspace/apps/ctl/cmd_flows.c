/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock flows` for people: established flows, one a line. */
#include "apps/ctl/ctl.h"

static const char *first_of(const json_t *f, const char *a, const char *b)
{
	return ctl_has(f, a) ? ctl_clean_str(f, a) : ctl_clean_str(f, b);
}

void cmd_flows(const json_t *a, const struct ctl_options *opt)
{
	static const char *const titles[] = {"DIR",	 "PROTO",    "SOURCE",	 "DESTINATION",
					     "RESOURCE", "EXECUTOR", ">PACKETS", ">BYTES",
					     ">IDLE",	 "STATE"};
	const json_t *flows = json_object_get(a, "flows"), *f;
	uint64_t total = ctl_u64(a, "total");
	struct ctl_table t;
	size_t i;

	(void)opt;
	if (!json_array_size(flows)) {
		printf("no established flows\n");
		return;
	}
	ctl_table_init(&t, titles, 10);
	json_array_foreach(flows, i, f)
	{
		ctl_table_cell(&t, ctl_clean_str(f, "direction"));
		ctl_table_cell(&t, ctl_clean_str(f, "proto"));
		ctl_table_cell(&t, ctl_clean_str(f, "src"));
		ctl_table_cell(&t, ctl_clean_str(f, "dst"));
		ctl_table_cell(&t, first_of(f, "resource_name", "resource"));
		ctl_table_cell(&t, ctl_clean_str(f, "executor"));
		ctl_table_cell(&t, ctl_count(ctl_u64(f, "packets")));
		ctl_table_cell(&t, ctl_bytes(ctl_u64(f, "bytes")));
		ctl_table_cell(&t, ctl_seconds(ctl_u64(f, "idle_s")));
		if (ctl_has(f, "expires_in_s") && ctl_u64(f, "expires_in_s")) {
			char state[CTL_TEXT_CAP];

			snprintf(state, sizeof(state), "%.32s, %.64s left",
				 ctl_clean_str(f, "verdict"),
				 ctl_seconds(ctl_u64(f, "expires_in_s")));
			ctl_table_cell(&t, state);
		} else {
			ctl_table_cell(&t, ctl_clean_str(f, "verdict"));
		}
	}
	ctl_table_print(&t);
	if (total > json_array_size(flows))
		printf("… %zu of %s flows; --limit shows more\n", json_array_size(flows),
		       ctl_count(total));
}
