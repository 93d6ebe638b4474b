/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock peers` for people: one paragraph a peer, with path, handshake and traffic. */
#include "apps/ctl/ctl.h"

static void print_candidate(const char *label, const json_t *c)
{
	printf("%s%s %s", label, ctl_clean_str(c, "type"), ctl_clean_str(c, "addr"));
}

static void print_path(const json_t *p)
{
	printf("  path:       %s", ctl_clean_str(p, "path"));
	if (ctl_has(p, "local") && ctl_has(p, "remote")) {
		print_candidate(", ", json_object_get(p, "local"));
		print_candidate(" to ", json_object_get(p, "remote"));
	}
	if (ctl_has(p, "relay")) {
		printf(", by our relay %s", ctl_clean_str(p, "relay"));
		if (ctl_has(p, "channel"))
			printf(" channel 0x%04x", (unsigned)ctl_u64(p, "channel"));
	}
	if (ctl_has(p, "rtt_us"))
		printf(", round trip %s", ctl_micros(ctl_u64(p, "rtt_us")));
	printf("\n");
}

static void print_transfer(const json_t *p)
{
	uint64_t krx = ctl_u64(p, "kernel_rx_packets"), ktx = ctl_u64(p, "kernel_tx_packets");
	uint64_t rx = krx + ctl_u64(p, "user_rx_packets"), tx = ktx + ctl_u64(p, "user_tx_packets");

	printf("  transfer:   %s received, %s sent\n",
	       ctl_bytes(ctl_u64(p, "kernel_rx_bytes") + ctl_u64(p, "user_rx_bytes")),
	       ctl_bytes(ctl_u64(p, "kernel_tx_bytes") + ctl_u64(p, "user_tx_bytes")));
	if (rx + tx)
		printf("  by kernel:  %.1f %% of %s packets received, %.1f %% of %s sent\n",
		       rx ? 100.0 * (double)krx / (double)rx : 0.0, ctl_count(rx),
		       tx ? 100.0 * (double)ktx / (double)tx : 0.0, ctl_count(tx));
}

static void print_peer(const json_t *p)
{
	const json_t *s = json_object_get(p, "session"), *mtu = json_object_get(p, "mtu");

	printf("peer %s%s%s\n", ctl_clean_str(p, "id"), ctl_has(p, "name") ? "  " : "",
	       ctl_has(p, "name") ? ctl_clean_str(p, "name") : "");
	printf("  state:      %s\n", ctl_clean_str(p, "state"));
	printf("  tunnel:     %s %s\n", ctl_clean_str(p, "ipv4"), ctl_clean_str(p, "ipv6"));
	print_path(p);
	if (ctl_has(p, "mtu"))
		printf("  mtu:        %s (%s)\n", ctl_plain(ctl_u64(mtu, "size")),
		       ctl_clean_str(mtu, "state"));
	if (ctl_has(p, "last_handshake_s"))
		printf("  handshake:  %s ago\n", ctl_seconds(ctl_u64(p, "last_handshake_s")));
	if (ctl_has(p, "session"))
		printf("  session:    slot %s, index %s to %s, %s old, by %s\n",
		       ctl_plain(ctl_u64(s, "slot")), ctl_clean_str(s, "local_index"),
		       ctl_clean_str(s, "remote_index"), ctl_seconds(ctl_u64(s, "age_s")),
		       ctl_clean_str(s, "executor"));
	print_transfer(p);
	printf("  resources:  %s (policy generation %s)\n", ctl_plain(ctl_u64(p, "resources")),
	       ctl_plain(ctl_u64(p, "generation")));
}

void cmd_peers(const json_t *a, const struct ctl_options *opt)
{
	const json_t *peers = json_object_get(a, "peers"), *p;
	size_t i;

	(void)opt;
	if (!json_array_size(peers))
		printf("no peers\n");
	json_array_foreach(peers, i, p)
	{
		if (i)
			printf("\n");
		print_peer(p);
	}
}
