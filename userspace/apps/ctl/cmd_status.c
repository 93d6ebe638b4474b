/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock status` for people: one daemon on one screen. */
#include <inttypes.h>
#include "apps/ctl/ctl.h"

/* A relay's next hops, a family each. */
static void print_hops(const json_t *hops)
{
	const json_t *hop;
	size_t i;

	json_array_foreach(hops, i, hop)
		printf("  hop:     IPv%u by %s: %s\n", (unsigned)ctl_u64(hop, "family"),
		       ctl_clean_str(hop, "use"), ctl_clean_str(hop, "why"));
}

static void print_kernel(const json_t *k)
{
	if (!ctl_bool(k, "active")) {
		printf("  kernel:  not active%s%s\n", ctl_has(k, "why") ? ": " : "",
		       ctl_has(k, "why") ? ctl_clean_str(k, "why") : "");
		return;
	}
	printf("  kernel:  active%s%s on %s, XDP %s%s\n", ctl_bool(k, "rx") ? ", receives" : "",
	       ctl_bool(k, "tx") ? ", sends" : "", ctl_clean_str(k, "wan_iface"),
	       ctl_clean_str(k, "xdp_mode"), ctl_bool(k, "dispatcher") ? " (dispatcher)" : "");
	print_hops(json_object_get(k, "hops"));
	if (ctl_has(k, "pins"))
		printf("  maps:    %s\n", ctl_clean_str(k, "pins"));
	if (ctl_bool(k, "keys_hidden"))
		printf("  keys:    in no dump\n");
	else
		printf("  keys:    READABLE by root in map dumps%s%s\n",
		       ctl_has(k, "keys_why") ? ": " : "",
		       ctl_has(k, "keys_why") ? ctl_clean_str(k, "keys_why") : "");
}

static void print_xsk(const json_t *x)
{
	if (!json_is_object(x))
		return;
	printf("           AF_XDP, %s: %s packets, %s dropped\n",
	       ctl_bool(x, "zero_copy") ? "zero-copy" : "copied (no gain over sockets)",
	       ctl_plain(ctl_u64(x, "packets")), ctl_plain(ctl_u64(x, "dropped")));
}

/* How each interface of the outer packets receives. */
static void print_wan(const json_t *wan)
{
	const json_t *e;
	size_t i;

	json_array_foreach(wan, i, e)
	{
		printf("  wan:     %s, steering %s (%s)", ctl_clean_str(e, "iface"),
		       ctl_clean_str(e, "steer"), ctl_clean_str(e, "steer_why"));
		if (ctl_has(e, "rx_queues"))
			printf(", receive queues %s", ctl_plain(ctl_u64(e, "rx_queues")));
		printf("%s\n", ctl_bool(e, "rps") ? ", RPS" : "");
		print_xsk(json_object_get(e, "xsk"));
		if (ctl_has(e, "advice"))
			printf("           %s\n", ctl_clean_str(e, "advice"));
	}
}

static void print_bulk(const json_t *b)
{
	const json_t *tun = json_object_get(b, "tun"), *udp = json_object_get(b, "udp");

	if (!b)
		return;
	printf("  bulk:    %s, device%s%s%s, sockets%s%s%s\n", ctl_clean_str(b, "aead"),
	       ctl_bool(tun, "tso") ? " TSO" : "", ctl_bool(tun, "uso") ? " USO" : "",
	       ctl_bool(tun, "tso") ? "" : " without offloads", ctl_bool(udp, "gro") ? " GRO" : "",
	       ctl_bool(udp, "gso") ? " GSO" : "",
	       ctl_bool(udp, "gro") || ctl_bool(udp, "gso") ? "" : " without offloads");
}

static void print_workers(const json_t *w)
{
	uint64_t n = w ? ctl_u64(w, "count") : 0;

	if (n)
		printf("  workers: %" PRIu64 " each way\n", n);
	else if (w)
		printf("  workers: none (%s)\n", ctl_clean_str(w, "why"));
}

static void print_portal(const json_t *p)
{
	printf("  portal:  %s", ctl_clean_str(p, "state"));
	if (ctl_has(p, "url"))
		printf(", %s", ctl_clean_str(p, "url"));
	if (ctl_has(p, "connected_s"))
		printf(", for %s", ctl_seconds(ctl_u64(p, "connected_s")));
	if (ctl_has(p, "error"))
		printf(" (%s)", ctl_clean_str(p, "error"));
	printf("\n");
}

static void print_counters(const json_t *c)
{
	static const char *const titles[] = {"  executor", ">received", ">bytes", ">sent",
					     ">bytes"};
	static const char *const executors[] = {"kernel", "user"};
	struct ctl_table t;

	ctl_table_init(&t, titles, 5);
	for (int i = 0; i < 2; i++) {
		static const char *const fields[] = {"rx_packets", "rx_bytes", "tx_packets",
						     "tx_bytes"};
		char name[48];

		snprintf(name, sizeof(name), "  %s", executors[i]);
		ctl_table_cell(&t, name);
		for (int k = 0; k < 4; k++) {
			snprintf(name, sizeof(name), "%s_%s", executors[i], fields[k]);
			ctl_table_cell(&t, k & 1 ? ctl_bytes(ctl_u64(c, name))
						 : ctl_count(ctl_u64(c, name)));
		}
	}
	ctl_table_print(&t);
}

static void print_tables(const json_t *tables)
{
	static const char *const titles[] = {"  table", ">used", ">of", ">memory"};
	struct ctl_table t;
	const json_t *e;
	size_t i;

	if (!json_array_size(tables))
		return;
	ctl_table_init(&t, titles, 4);
	json_array_foreach(tables, i, e)
	{
		char name[CTL_TEXT_CAP + 2];

		snprintf(name, sizeof(name), "  %s", ctl_clean_str(e, "name"));
		ctl_table_cell(&t, name);
		ctl_table_cell(&t, ctl_has(e, "used") ? ctl_plain(ctl_u64(e, "used")) : "-");
		ctl_table_cell(&t, ctl_plain(ctl_u64(e, "cap")));
		ctl_table_cell(&t, ctl_bytes(ctl_u64(e, "bytes")));
	}
	ctl_table_print(&t);
}

static void print_relay(const json_t *r)
{
	printf("  relay:   %s%s%s, port %s, relayed ports %s to %s%s\n",
	       ctl_clean_str(r, "public4"),
	       ctl_has(r, "public4") && ctl_has(r, "public6") ? " and " : " ",
	       ctl_has(r, "public6") ? ctl_clean_str(r, "public6") : "",
	       ctl_plain(ctl_u64(r, "port")), ctl_plain(ctl_u64(r, "port_low")),
	       ctl_plain(ctl_u64(r, "port_high")), ctl_bool(r, "draining") ? ", draining" : "");
	printf("  serves:  %s allocations, %s channels, %s permissions, with %s workers\n",
	       ctl_plain(ctl_u64(r, "allocations")), ctl_plain(ctl_u64(r, "channels")),
	       ctl_plain(ctl_u64(r, "permissions")), ctl_plain(ctl_u64(r, "workers")));
}

static void print_tunnel(const json_t *tunnel, const json_t *peers)
{
	printf("  tunnel:  %s %s %s, MTU %s\n", ctl_clean_str(tunnel, "iface"),
	       ctl_clean_str(tunnel, "ipv4"), ctl_clean_str(tunnel, "ipv6"),
	       ctl_plain(ctl_u64(tunnel, "mtu")));
	printf("  peers:   %s connected of %s\n", ctl_plain(ctl_u64(peers, "connected")),
	       ctl_plain(ctl_u64(peers, "total")));
}

/* A client's: how the host is pointed at it, and whom it asks in turn. */
static void print_dns(const json_t *dns)
{
	const json_t *list = json_object_get(dns, "resolvers"), *e;
	size_t i;

	if (!ctl_has(dns, "method"))
		return;
	printf("  dns:     %s %s", ctl_clean_str(dns, "method"), ctl_clean_str(dns, "state"));
	if (ctl_has(dns, "problem"))
		printf(" (%s)", ctl_clean_str(dns, "problem"));
	if (ctl_has(dns, "search"))
		printf(", search %s", ctl_clean_str(dns, "search"));
	if (json_array_size(json_object_get(dns, "system")))
		printf(", system %s", ctl_join(json_object_get(dns, "system")));
	printf("\n");
	json_array_foreach(list, i, e)
		printf("           %s asks %s%s\n", ctl_clean_str(e, "address"),
		       ctl_clean_str(e, "upstream"),
		       ctl_bool(e, "via_tunnel") ? " through the tunnel" : "");
}

void cmd_status(const json_t *a, const struct ctl_options *opt)
{
	(void)opt;
	printf("%s %s: Penstock %s, up %s, mode %s\n", ctl_clean_str(a, "role"),
	       ctl_clean_str(a, "instance"), ctl_clean_str(a, "version"),
	       ctl_seconds(ctl_u64(a, "uptime_s")), ctl_clean_str(a, "mode"));
	print_kernel(json_object_get(a, "kernel"));
	print_wan(json_object_get(a, "wan"));
	print_bulk(json_object_get(a, "bulk"));
	print_workers(json_object_get(json_object_get(a, "bulk"), "workers"));
	print_portal(json_object_get(a, "portal"));
	if (ctl_has(a, "relay"))
		print_relay(json_object_get(a, "relay"));
	else
		print_tunnel(json_object_get(a, "tunnel"), json_object_get(a, "peers"));
	print_dns(json_object_get(a, "dns"));
	if (json_array_size(json_object_get(a, "listen")))
		printf("  listen:  %s\n", ctl_join(json_object_get(a, "listen")));
	printf("  memory:  %s in tables\n\n", ctl_bytes(ctl_u64(a, "memory_bytes")));
	print_counters(json_object_get(a, "counters"));
	printf("\n");
	print_tables(json_object_get(a, "tables"));
}
