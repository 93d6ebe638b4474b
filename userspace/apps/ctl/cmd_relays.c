/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock relays` for people: the relays a gateway or client holds allocations on, one paragraph
 * each. */
#include "apps/ctl/ctl.h"

static void print_pair(const char *label, const json_t *r, const char *v4, const char *v6)
{
	if (!ctl_has(r, v4) && !ctl_has(r, v6))
		return;
	printf("  %-12s", label);
	if (ctl_has(r, v4))
		printf("%s%s", ctl_clean_str(r, v4), ctl_has(r, v6) ? ", " : "");
	if (ctl_has(r, v6))
		printf("%s", ctl_clean_str(r, v6));
	printf("\n");
}

static void print_relay(const json_t *r)
{
	printf("relay %s\n", ctl_clean_str(r, "id"));
	printf("  %-12s%s", "state:", ctl_clean_str(r, "state"));
	if (ctl_has(r, "rtt_us"))
		printf(", round trip %s", ctl_micros(ctl_u64(r, "rtt_us")));
	if (ctl_has(r, "expires_in_s"))
		printf(", allocation expires in %s", ctl_seconds(ctl_u64(r, "expires_in_s")));
	printf("\n");
	print_pair("address:", r, "addr4", "addr6");
	print_pair("relayed:", r, "relayed4", "relayed6");
	print_pair("mapped:", r, "mapped4", "mapped6");
	printf("  %-12s%s channels, %s connections have it, %s of them go through it\n",
	       "use:", ctl_plain(ctl_u64(r, "channels")), ctl_plain(ctl_u64(r, "connections")),
	       ctl_plain(ctl_u64(r, "relayed_connections")));
}

void cmd_relays(const json_t *a, const struct ctl_options *opt)
{
	const json_t *relays = json_object_get(a, "relays"), *r;
	size_t i;

	(void)opt;
	if (!json_array_size(relays))
		printf("no relays\n");
	json_array_foreach(relays, i, r)
	{
		if (i)
			printf("\n");
		print_relay(r);
	}
}
