/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock flows` for people: established flows, one a line. */
#include "apps/ctl/ctl.h"

static const char *first_of(const json_t *f, const char *a, const char *b)
{
	return ctl_has(f, a) ? ctl_clean_str(f, a) : ctl_clean_str(f, b);
}

/* Resource, and the name of it that the flow goes to. */
static const char *resource_text(const json_t *f)
{
	static char out[2 * CTL_TEXT_CAP];
	const char *resource = first_of(f, "resource_name", "resource");

	if (!ctl_has(f, "name"))
		return resource;
	snprintf(out, sizeof(out), "%s: %s", resource, ctl_clean_str(f, "name"));
	return out;
}

/* Site and gateway that carry it. */
static const char *via_text(const json_t *f)
{
	static char out[2 * CTL_TEXT_CAP];
	const json_t *site = json_object_get(f, "site");

	if (ctl_has(f, "gateway_name"))
		return ctl_clean_str(f, "gateway_name");
	if (!ctl_has(f, "gateway"))
		return "-";
	snprintf(out, sizeof(out), "%s %.8s",
		 ctl_has(site, "name") ? ctl_clean_str(site, "name") : "", /* an id's first part */
		 ctl_clean_str(f, "gateway"));
	return out;
}

static const char *nat_text(const json_t *f)
{
	static char out[CTL_TEXT_CAP + 32];
	const json_t *nat = json_object_get(f, "nat");
	uint64_t in = ctl_u64(nat, "client_port"), port = ctl_u64(nat, "outside_port");

	if (!ctl_has(nat, "real"))
		return "-";
	if (in == port)
		snprintf(out, sizeof(out), "%s", ctl_clean_str(nat, "real"));
	else
		snprintf(out, sizeof(out), "%s from port %s", ctl_clean_str(nat, "real"),
			 ctl_plain(port));
	return out;
}

void cmd_flows(const json_t *a, const struct ctl_options *opt)
{
	static const char *const titles[] = {"DIR",	 "PROTO",    "SOURCE", "DESTINATION",
					     "NAT",	 "RESOURCE", "VIA",    "EXECUTOR",
					     ">PACKETS", ">BYTES",   ">IDLE",  "STATE"};
	const json_t *flows = json_object_get(a, "flows"), *f;
	uint64_t total = ctl_u64(a, "total");
	struct ctl_table t;
	size_t i;

	(void)opt;
	if (!json_array_size(flows)) {
		printf("no established flows\n");
		return;
	}
	ctl_table_init(&t, titles, 12);
	json_array_foreach(flows, i, f)
	{
		ctl_table_cell(&t, ctl_clean_str(f, "direction"));
		ctl_table_cell(&t, ctl_clean_str(f, "proto"));
		ctl_table_cell(&t, ctl_clean_str(f, "src"));
		ctl_table_cell(&t, ctl_clean_str(f, "dst"));
		ctl_table_cell(&t, nat_text(f));
		ctl_table_cell(&t, resource_text(f));
		ctl_table_cell(&t, via_text(f));
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
