/* SPDX-License-Identifier: Apache-2.0
 *
 * Every option of the daemons with its names, its help and the setter that judges its value. */
#include "apps/daemon/opt_rows.h"

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "abi/maps.h"
#include "base/time.h"
#include "codec/ip_packet.h"
#include "core/phx/phx_url.h"

static int put_text(char *dst, size_t cap, const char *v, const char **why)
{
	size_t len = strlen(v);

	if (!len || len >= cap) {
		*why = len ? "is too long" : "is empty";
		return -EINVAL;
	}
	memcpy(dst, v, len + 1);
	return 0;
}

static int set_api_url(struct opt *o, const char *v, const char **why)
{
	if (phx_url_check(v, why))
		return -EINVAL;
	return put_text(o->api_url, sizeof(o->api_url), v, why);
}

static int set_token_path(struct opt *o, const char *v, const char **why)
{
	return put_text(o->token_path, sizeof(o->token_path), v, why);
}

static int set_id_file(struct opt *o, const char *v, const char **why)
{
	return put_text(o->id_file, sizeof(o->id_file), v, why);
}

static int set_id(struct opt *o, const char *v, const char **why)
{
	return put_text(o->id, sizeof(o->id), v, why);
}

static int set_name(struct opt *o, const char *v, const char **why)
{
	return put_text(o->name, sizeof(o->name), v, why);
}

static int set_ca_file(struct opt *o, const char *v, const char **why)
{
	if (access(v, R_OK)) {
		*why = strerror(errno);
		return -EINVAL;
	}
	return put_text(o->ca_file, sizeof(o->ca_file), v, why);
}

static int set_wan(struct opt *o, const char *v, const char **why)
{
	return put_text(o->wan_iface, sizeof(o->wan_iface), v, why);
}

static int set_instance(struct opt *o, const char *v, const char **why)
{
	if (strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(v)) {
		*why = "may hold only a-z, 0-9, '_' and '-'";
		return -EINVAL;
	}
	return put_text(o->instance, sizeof(o->instance), v, why);
}

static int set_tun(struct opt *o, const char *v, const char **why)
{
	if (strlen(v) >= IFNAMSIZ || strpbrk(v, "/ %")) {
		*why = "is no interface name (at most 15 characters)";
		return -EINVAL;
	}
	return put_text(o->tun, sizeof(o->tun), v, why);
}

static int set_log_level(struct opt *o, const char *v, const char **why)
{
	return put_text(o->log_level, sizeof(o->log_level), v, why);
}

static int set_log_format(struct opt *o, const char *v, const char **why)
{
	if (!strcmp(v, "human"))
		o->log_format = LOG_FORMAT_HUMAN;
	else if (!strcmp(v, "json"))
		o->log_format = LOG_FORMAT_JSON;
	else {
		*why = "must be human or json";
		return -EINVAL;
	}
	return 0;
}

static int set_mode(struct opt *o, const char *v, const char **why)
{
	if (!strcmp(v, "kernel"))
		o->mode = OPT_MODE_KERNEL;
	else if (!strcmp(v, "user"))
		o->mode = OPT_MODE_USER;
	else if (!strcmp(v, "auto"))
		o->mode = OPT_MODE_AUTO;
	else {
		*why = "must be kernel, user or auto";
		return -EINVAL;
	}
	return 0;
}

static int set_xdp_mode(struct opt *o, const char *v, const char **why)
{
	if (!strcmp(v, "native"))
		o->xdp_mode = BPF_XDP_NATIVE;
	else if (!strcmp(v, "generic"))
		o->xdp_mode = BPF_XDP_GENERIC;
	else if (!strcmp(v, "off"))
		o->xdp_mode = BPF_XDP_OFF;
	else if (!strcmp(v, "auto"))
		o->xdp_mode = BPF_XDP_AUTO;
	else {
		*why = "must be auto, native, generic or off";
		return -EINVAL;
	}
	return 0;
}

static int set_steer(struct opt *o, const char *v, const char **why)
{
	if (!strcmp(v, "auto"))
		o->steer = BPF_STEER_AUTO;
	else if (!strcmp(v, "rss"))
		o->steer = BPF_STEER_RSS;
	else if (!strcmp(v, "cpumap"))
		o->steer = BPF_STEER_CPUMAP;
	else if (!strcmp(v, "busy"))
		o->steer = BPF_STEER_BUSY;
	else if (!strcmp(v, "xsk"))
		o->steer = BPF_STEER_XSK;
	else {
		*why = "must be auto, rss, cpumap, busy or xsk";
		return -EINVAL;
	}
	return 0;
}

static int set_offload(struct opt *o, const char *v, const char **why)
{
	if (strcmp(v, "on") && strcmp(v, "off")) {
		*why = "must be on or off";
		return -EINVAL;
	}
	o->no_offload = !strcmp(v, "off");
	return 0;
}

static int parse_u32(const char *v, uint32_t min, uint32_t max, uint32_t *out, const char **why)
{
	static char range[64];
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(v, &end, 10);
	if (errno || !*v || *end || v[0] == '-' || v[0] == '+' || n < min || n > max) {
		snprintf(range, sizeof(range), "must be a number from %u to %u", min, max);
		*why = range;
		return -EINVAL;
	}
	*out = (uint32_t)n;
	return 0;
}

static int set_max_peers(struct opt *o, const char *v, const char **why)
{
	return parse_u32(v, 1, 100000, &o->max_peers, why);
}

static int set_max_flows(struct opt *o, const char *v, const char **why)
{
	return parse_u32(v, 64, 16777216, &o->max_flows, why);
}

uint32_t opt_workers_auto(void)
{
	cpu_set_t set;
	int n = 1;

	if (!sched_getaffinity(0, sizeof(set), &set))
		n = CPU_COUNT(&set) / 2;
	if (n < 1)
		return 1;
	return n < OPT_WORKERS_MAX ? (uint32_t)n : OPT_WORKERS_MAX;
}

static int set_workers(struct opt *o, const char *v, const char **why)
{
	if (!strcmp(v, "auto")) {
		o->workers = opt_workers_auto();
		return 0;
	}
	return parse_u32(v, 0, OPT_WORKERS_MAX, &o->workers, why);
}

static int set_udp_port(struct opt *o, const char *v, const char **why)
{
	return parse_u32(v, 0, 65535, &o->udp_port, why);
}

static int set_tunnel_mtu(struct opt *o, const char *v, const char **why)
{
	if (!strcmp(v, "auto")) {
		o->tunnel_mtu = PS_INNER_MAX;
		return 0;
	}
	return parse_u32(v, IP_PACKET_MTU, PS_INNER_MAX, &o->tunnel_mtu, why);
}

static int set_partition(struct opt *o, const char *v, const char **why)
{
	static const struct {
		char unit;
		uint64_t s;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(v, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (!errno && end != v && v[0] != '-' && n && n < 1000000 &&
		    end[0] == units[i].unit && !end[1]) {
			o->max_partition_ns = n * units[i].s * NS_PER_SEC;
			return 0;
		}
	*why = "must be a number with a unit, such as 90s, 5m, 24h or 30d";
	return -EINVAL;
}

static int set_dns_control(struct opt *o, const char *v, const char **why)
{
	*why = "must be systemd-resolved, etc-resolv-conf or disabled";
	return dns_method_parse(v, &o->dns_method);
}

/* A switch given as a flag, or an environment variable that says so. */
static bool is_on(const char *v)
{
	return !v || (strcmp(v, "0") && strcasecmp(v, "false"));
}

static int set_plaintext(struct opt *o, const char *v, const char **why)
{
	(void)why;
	o->allow_plaintext = is_on(v);
	return 0;
}

static int set_internet(struct opt *o, const char *v, const char **why)
{
	(void)why;
	o->internet = is_on(v);
	return 0;
}

static int set_check(struct opt *o, const char *v, const char **why)
{
	(void)v;
	(void)why;
	o->check = true;
	return 0;
}

static int set_loopback(struct opt *o, const char *v, const char **why)
{
	(void)v;
	(void)why;
	o->loopback = true;
	return 0;
}

int opt_set_ignored(struct opt *o, const char *v, const char **why)
{
	(void)v;
	(void)why;
	o->n_ignored++;
	return 0;
}

#define BOTH 3
const struct opt_row opt_rows[] = {
	{"api-url",
	 'u',
	 {"PENSTOCK_API_URL", "FIREZONE_API_URL"},
	 "URL",
	 set_api_url,
	 "portal, ws:// or wss:// (no default)",
	 BOTH},
	{"token-path",
	 0,
	 {"PENSTOCK_TOKEN_PATH", "FIREZONE_TOKEN_PATH"},
	 "FILE",
	 set_token_path,
	 "token file, root:root 0600 (the token itself: PENSTOCK_TOKEN or FIREZONE_TOKEN)",
	 BOTH},
	{"id", 'i', {"PENSTOCK_ID", "FIREZONE_ID"}, "ID", set_id, "device identity", BOTH},
	{"id-file",
	 0,
	 {"PENSTOCK_ID_FILE"},
	 "FILE",
	 set_id_file,
	 "where the identity is kept",
	 BOTH},
	{"name",
	 'n',
	 {"PENSTOCK_NAME", "FIREZONE_NAME"},
	 "NAME",
	 set_name,
	 "display name (default: host name)",
	 BOTH},
	{"firezone-name", 0, {NULL}, "NAME", set_name, "same as --name", BOTH},
	{"firezone-id", 0, {NULL}, "ID", set_id, "same as --id", BOTH},
	{"ca-file",
	 0,
	 {"PENSTOCK_CA_FILE"},
	 "FILE",
	 set_ca_file,
	 "trust these PEM roots for the portal instead of the system's",
	 BOTH},
	{"allow-plaintext",
	 0,
	 {"PENSTOCK_ALLOW_PLAINTEXT"},
	 NULL,
	 set_plaintext,
	 "permit ws:// to a portal that is not loopback",
	 BOTH},
	{"mode",
	 'm',
	 {"PENSTOCK_MODE"},
	 "kernel|user|auto",
	 set_mode,
	 "who carries established flows (default: auto)",
	 BOTH},
	{"xdp-mode",
	 0,
	 {"PENSTOCK_XDP_MODE"},
	 "auto|native|generic|off",
	 set_xdp_mode,
	 "how the receive program is attached (default: auto)",
	 BOTH},
	{"steer",
	 0,
	 {"PENSTOCK_STEER"},
	 "auto|rss|cpumap|busy|xsk",
	 set_steer,
	 "which processor receives, and by which way (default: auto)",
	 BOTH},
	{"offload",
	 0,
	 {"PENSTOCK_OFFLOAD"},
	 "on|off",
	 set_offload,
	 "several packets in one, to and from sockets and tunnel device (default: on)",
	 BOTH},
	{"wan-iface",
	 0,
	 {"PENSTOCK_WAN_IFACE"},
	 "IF[,IF]",
	 set_wan,
	 "interfaces of the outer packets (default: the default route's)",
	 BOTH},
	{"tun",
	 0,
	 {"PENSTOCK_TUN"},
	 "NAME",
	 set_tun,
	 "tunnel device (default: tun-penstock)",
	 BOTH},
	{"instance",
	 0,
	 {"PENSTOCK_INSTANCE"},
	 "NAME",
	 set_instance,
	 "names pins, table and socket (default: the role)",
	 BOTH},
	{"udp-port",
	 0,
	 {"PENSTOCK_UDP_PORT"},
	 "PORT",
	 set_udp_port,
	 "preferred UDP port (default: 52625)",
	 BOTH},
	{"tunnel-mtu",
	 0,
	 {"PENSTOCK_TUNNEL_MTU"},
	 "auto|N",
	 set_tunnel_mtu,
	 "longest packet inside, tried by probes; 1280: no probes (default: auto, 1500)",
	 BOTH},
	{"max-peers",
	 0,
	 {"PENSTOCK_MAX_PEERS"},
	 "N",
	 set_max_peers,
	 "size of the peer table",
	 BOTH},
	{"max-flows",
	 0,
	 {"PENSTOCK_MAX_FLOWS"},
	 "N",
	 set_max_flows,
	 "size of each of the kernel's two flow tables",
	 BOTH},
	{"workers",
	 0,
	 {"PENSTOCK_WORKERS"},
	 "auto|N",
	 set_workers,
	 "threads each way that carry established flows; 0: none (default: auto, half the "
	 "processors)",
	 BOTH},
	{"max-partition-time",
	 0,
	 {"PENSTOCK_MAX_PARTITION_TIME", "FIREZONE_MAX_PARTITION_TIME", "MAX_PARTITION_TIME"},
	 "TIME",
	 set_partition,
	 "exit after this long without the portal (gateway: 24h, client: never)",
	 BOTH},
	{"log-format",
	 0,
	 {"PENSTOCK_LOG_FORMAT", "FIREZONE_LOG_FORMAT"},
	 "human|json",
	 set_log_format,
	 "log lines on stderr",
	 BOTH},
	{"log-level",
	 0,
	 {NULL},
	 "FILTER",
	 set_log_level,
	 "e.g. info,portal=debug (also PENSTOCK_LOG, RUST_LOG)",
	 BOTH},
	{"loopback-candidates",
	 0,
	 {"PENSTOCK_LOOPBACK_CANDIDATES"},
	 NULL,
	 set_loopback,
	 "offer loopback addresses too (tests on one host)",
	 BOTH},
	{"dns-control",
	 0,
	 {"PENSTOCK_DNS_CONTROL", "FIREZONE_DNS_CONTROL"},
	 "METHOD",
	 set_dns_control,
	 "how the host is pointed at our resolver: systemd-resolved (default), "
	 "etc-resolv-conf or disabled",
	 2},
	{"activate-internet-resource",
	 0,
	 {"PENSTOCK_ACTIVATE_INTERNET_RESOURCE", "FIREZONE_ACTIVATE_INTERNET_RESOURCE"},
	 NULL,
	 set_internet,
	 "begin with the Internet resource switched on (default: off)",
	 2},
	{"check", 0, {NULL}, NULL, set_check, "validate the configuration and exit", BOTH},
	/* Firezone's, accepted so that its unit and compose files work; named in the log, without
	   effect. */
	{"no-telemetry", 0, {"FIREZONE_NO_TELEMETRY"}, NULL, opt_set_ignored, NULL, BOTH},
	{"no-check", 0, {NULL}, NULL, opt_set_ignored, NULL, BOTH},
	{"tun-threads", 0, {"FIREZONE_NUM_TUN_THREADS"}, "VALUE", opt_set_ignored, NULL, BOTH},
	{"health-check-addr", 0, {"HEALTH_CHECK_ADDR"}, "VALUE", opt_set_ignored, NULL, BOTH},
	{"metrics", 0, {"FIREZONE_METRICS"}, "VALUE", opt_set_ignored, NULL, BOTH},
	{"otlp-grpc-endpoint", 0, {"OTLP_GRPC_ENDPOINT"}, "VALUE", opt_set_ignored, NULL, BOTH},
	{"validate-checksums",
	 0,
	 {"FIREZONE_VALIDATE_CHECKSUMS"},
	 NULL,
	 opt_set_ignored,
	 NULL,
	 BOTH},
	{"flow-logs", 0, {"FIREZONE_FLOW_LOGS"}, NULL, opt_set_ignored, NULL, BOTH},
	{"inc-buf", 0, {"FIREZONE_INC_BUF"}, NULL, opt_set_ignored, NULL, BOTH},
	{"no-inc-buf", 0, {"FIREZONE_NO_INC_BUF"}, NULL, opt_set_ignored, NULL, BOTH},
	{"dns-control", 0, {"FIREZONE_DNS_CONTROL"}, "VALUE", opt_set_ignored, NULL, 1},
	{"log-dir", 0, {"LOG_DIR"}, "VALUE", opt_set_ignored, NULL, BOTH},
};
const size_t opt_rows_len = sizeof(opt_rows) / sizeof(*opt_rows);
