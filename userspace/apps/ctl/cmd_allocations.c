/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock allocations` for people: who is served by a relay, a line for each of their channels.
 */
#include "apps/ctl/ctl.h"

static uint64_t both(const json_t *channel, const char *user, const char *kernel)
{
	return ctl_u64(channel, user) + ctl_u64(channel, kernel);
}

static void add_channel(struct ctl_table *t, const json_t *a, const json_t *c)
{
	char number[16];

	snprintf(number, sizeof(number), "0x%04llx", (unsigned long long)ctl_u64(c, "number"));
	ctl_table_cell(t, ctl_clean_str(a, "client"));
	ctl_table_cell(t, ctl_plain(ctl_u64(a, "port")));
	ctl_table_cell(t, c ? number : "-");
	ctl_table_cell(t, ctl_clean_str(c, "peer"));
	ctl_table_cell(t, ctl_seconds(ctl_u64(c ? c : a, "expires_in_s")));
	ctl_table_cell(t, ctl_count(both(c, "user_to_peer_packets", "kernel_to_peer_packets")));
	ctl_table_cell(t, ctl_bytes(both(c, "user_to_peer_bytes", "kernel_to_peer_bytes")));
	ctl_table_cell(t, ctl_count(both(c, "user_to_client_packets", "kernel_to_client_packets")));
	ctl_table_cell(t, ctl_bytes(both(c, "user_to_client_bytes", "kernel_to_client_bytes")));
}

void cmd_allocations(const json_t *a, const struct ctl_options *opt)
{
	static const char *const titles[] = {"CLIENT",	 ">PORT",  "CHANNEL",	 "PEER",  "EXPIRES",
					     ">TO PEER", ">BYTES", ">TO CLIENT", ">BYTES"};
	const json_t *list = json_object_get(a, "allocations"), *one, *channel;
	struct ctl_table t;
	size_t i, k;

	(void)opt;
	if (!json_array_size(list)) {
		printf("no allocations\n");
		return;
	}
	ctl_table_init(&t, titles, 9);
	json_array_foreach(list, i, one)
	{
		const json_t *channels = json_object_get(one, "channels");

		if (!json_array_size(channels))
			add_channel(&t, one, NULL);
		json_array_foreach(channels, k, channel) add_channel(&t, one, channel);
	}
	ctl_table_print(&t);
	if (ctl_u64(a, "total") > json_array_size(list))
		printf("(%s of %s; --limit for more)\n", ctl_plain(json_array_size(list)),
		       ctl_plain(ctl_u64(a, "total")));
}
