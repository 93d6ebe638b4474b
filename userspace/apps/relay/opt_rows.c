/* SPDX-License-Identifier: Apache-2.0
 *
 * Every option of the relay with its names, its help and the setter that judges its value. */
#include "apps/relay/opt_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/time.h"
#include "core/phx/phx_url.h"

static void *field(struct relay_opt *o, const struct relay_opt_row *r)
{
	return (char *)o + r->at;
}

static int set_text(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		    const char **why)
{
	size_t len = strlen(v);

	if (!len || len >= r->a) {
		*why = len ? "is too long" : "is empty";
		return -EINVAL;
	}
	memcpy(field(o, r), v, len + 1);
	return 0;
}

static int set_name(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		    const char **why)
{
	o->has_name = true;
	return set_text(o, r, v, why);
}

static int set_api_url(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		       const char **why)
{
	return phx_url_check(v, why) ? -EINVAL : set_text(o, r, v, why);
}

static int set_ca_file(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		       const char **why)
{
	if (access(v, R_OK)) {
		*why = strerror(errno);
		return -EINVAL;
	}
	return set_text(o, r, v, why);
}

static int set_instance(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
			const char **why)
{
	if (strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(v)) {
		*why = "may hold only a-z, 0-9, '_' and '-'";
		return -EINVAL;
	}
	return set_text(o, r, v, why);
}

static int set_number(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		      const char **why)
{
	static char range[64];
	uint32_t n32;
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(v, &end, 10);
	if (errno || !*v || *end || v[0] == '-' || v[0] == '+' || n < r->a || n > r->b) {
		snprintf(range, sizeof(range), "must be a number from %u to %u", r->a, r->b);
		*why = range;
		return -EINVAL;
	}
	n32 = (uint32_t)n;
	memcpy(field(o, r), &n32, sizeof(n32));
	return 0;
}

static int set_ip(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		  const char **why)
{
	struct ipaddr ip;

	if (ipaddr_parse(v, &ip) || ip.family != r->a) {
		*why = r->a == 4 ? "is no IPv4 address" : "is no IPv6 address";
		return -EINVAL;
	}
	memcpy(field(o, r), &ip, sizeof(ip));
	return 0;
}

/* a: allow. Several prefixes may be given, separated by commas; the option may be repeated. */
static int set_prefixes(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
			const char **why)
{
	do {
		char one[IPNET_STRLEN];
		size_t len = strcspn(v, ",");
		struct ipnet net;

		snprintf(one, sizeof(one), "%.*s", (int)(len < sizeof(one) ? len : 0), v);
		if (ipnet_parse(one, &net)) {
			*why = "must be prefixes such as 10.0.0.0/8 or fd00::/8";
			return -EINVAL;
		}
		if (relay_acl_add(&o->acl, &net, r->a)) {
			*why = "is more than the table of prefixes holds";
			return -EINVAL;
		}
		v += len + (v[len] == ',');
	} while (*v);
	return 0;
}

static int set_time(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		    const char **why)
{
	static const struct {
		char unit;
		uint64_t s;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	uint64_t ns = 0;
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(v, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (!errno && end != v && v[0] != '-' && n && n < 1000000 &&
		    end[0] == units[i].unit && !end[1])
			ns = n * units[i].s * NS_PER_SEC;
	if (!ns) {
		*why = "must be a number with a unit, such as 90s, 5m, 24h or 30d";
		return -EINVAL;
	}
	memcpy(field(o, r), &ns, sizeof(ns));
	return 0;
}

static int set_switch(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		      const char **why)
{
	bool on = !v || (strcmp(v, "0") && strcasecmp(v, "false"));

	(void)why;
	memcpy(field(o, r), &on, sizeof(on));
	return 0;
}

static int set_log_format(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
			  const char **why)
{
	(void)r;
	if (strcmp(v, "human") && strcmp(v, "json")) {
		*why = "must be human or json";
		return -EINVAL;
	}
	o->log_format = strcmp(v, "json") ? LOG_FORMAT_HUMAN : LOG_FORMAT_JSON;
	return 0;
}

static int set_xdp_mode(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
			const char **why)
{
	static const struct {
		const char *name;
		enum bpf_xdp_mode mode;
	} modes[] = {{"auto", BPF_XDP_AUTO},
		     {"native", BPF_XDP_NATIVE},
		     {"driver", BPF_XDP_NATIVE},
		     {"generic", BPF_XDP_GENERIC},
		     {"off", BPF_XDP_OFF}};

	(void)r;
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(v, modes[i].name)) {
			o->xdp_mode = modes[i].mode;
			return 0;
		}
	*why = "must be auto, native, generic or off";
	return -EINVAL;
}

/* Firezone's way to ask for the kernel: an interface, and no start without it. */
static int set_offload(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		       const char **why)
{
	o->xdp_required = true;
	return set_text(o, r, v, why);
}

static bool mac_parse(const char *v, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++, v += 3) {
		int hi = hex_digit(v[0]), lo = hi < 0 ? -1 : hex_digit(v[1]);

		if (lo < 0 || v[2] != (i < 5 ? ':' : 0))
			return false;
		mac[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static int set_nexthop(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		       const char **why)
{
	(void)r;
	if (!strcmp(v, "auto")) {
		o->hop = PS_TURN_HOP_AUTO;
	} else if (!strcmp(v, "swap")) {
		o->hop = PS_TURN_HOP_SWAP;
	} else if (!strcmp(v, "fib")) {
		o->hop = PS_TURN_HOP_FIB;
	} else if (mac_parse(v, o->hop_mac)) {
		o->hop = PS_TURN_HOP_MAC;
	} else {
		*why = "must be auto, fib, swap or a MAC address";
		return -EINVAL;
	}
	return 0;
}

int relay_opt_ignored(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		      const char **why)
{
	(void)r;
	(void)v;
	(void)why;
	o->n_ignored++;
	return 0;
}

#define AT(member)   offsetof(struct relay_opt, member)
#define TEXT(member) AT(member), sizeof(((struct relay_opt *)0)->member), 0
#define U32_MAX	     1000000000

/* clang-format off: one option a line group */
const struct relay_opt_row relay_opt_rows[] = {
	{"public-ip4-addr",
	 {"PENSTOCK_PUBLIC_IP4_ADDR", "PUBLIC_IP4_ADDR"},
	 "IP",
	 set_ip,
	 AT(public4),
	 4,
	 0,
	 "IPv4 address clients and peers know (one of the two is needed)"},
	{"public-ip6-addr",
	 {"PENSTOCK_PUBLIC_IP6_ADDR", "PUBLIC_IP6_ADDR"},
	 "IP",
	 set_ip,
	 AT(public6),
	 6,
	 0,
	 "IPv6 address clients and peers know"},
	{"public-ip4", {NULL}, "IP", set_ip, AT(public4), 4, 0, NULL},
	{"public-ip6", {NULL}, "IP", set_ip, AT(public6), 6, 0, NULL},
	{"bind-ip4-addr",
	 {"PENSTOCK_BIND_IP4_ADDR", "BIND_IP4_ADDR"},
	 "IP",
	 set_ip,
	 AT(bind4),
	 4,
	 0,
	 "bind to this address (default: the public one if it is this host's, else any)"},
	{"bind-ip6-addr",
	 {"PENSTOCK_BIND_IP6_ADDR", "BIND_IP6_ADDR"},
	 "IP",
	 set_ip,
	 AT(bind6),
	 6,
	 0,
	 "likewise, IPv6"},
	{"bind-ip4", {NULL}, "IP", set_ip, AT(bind4), 4, 0, NULL},
	{"bind-ip6", {NULL}, "IP", set_ip, AT(bind6), 6, 0, NULL},
	{"listen-port",
	 {"PENSTOCK_LISTEN_PORT", "LISTEN_PORT"},
	 "PORT",
	 set_number,
	 AT(listen_port),
	 1,
	 65535,
	 "where clients find us (default: 3478)"},
	{"lowest-port",
	 {"PENSTOCK_LOWEST_PORT", "LOWEST_PORT"},
	 "PORT",
	 set_number,
	 AT(port_lo),
	 1024,
	 65535,
	 "first port of relayed addresses (default: 49152)"},
	{"highest-port",
	 {"PENSTOCK_HIGHEST_PORT", "HIGHEST_PORT"},
	 "PORT",
	 set_number,
	 AT(port_hi),
	 1024,
	 65535,
	 "last port of relayed addresses (default: 65535)"},
	{"api-url",
	 {"PENSTOCK_API_URL", "FIREZONE_API_URL"},
	 "URL",
	 set_api_url,
	 TEXT(api_url),
	 "portal, ws:// or wss:// (default: none, only static users and shared secret)"},
	{"token-path",
	 {"PENSTOCK_TOKEN_PATH", "FIREZONE_TOKEN_PATH"},
	 "FILE",
	 set_text,
	 TEXT(token_path),
	 "token file, root:root 0600 (the token itself: PENSTOCK_TOKEN or FIREZONE_TOKEN)"},
	{"name",
	 {"PENSTOCK_NAME", "FIREZONE_NAME"},
	 "NAME",
	 set_name,
	 TEXT(name),
	 "display name at the portal"},
	{"ca-file",
	 {"PENSTOCK_CA_FILE"},
	 "FILE",
	 set_ca_file,
	 TEXT(ca_file),
	 "trust these PEM roots for the portal instead of the system's"},
	{"allow-plaintext",
	 {"PENSTOCK_ALLOW_PLAINTEXT"},
	 NULL,
	 set_switch,
	 AT(allow_plaintext),
	 0,
	 0,
	 "permit ws:// to a portal that is not loopback"},
	{"users-file",
	 {"PENSTOCK_USERS_FILE"},
	 "FILE",
	 set_text,
	 TEXT(users_file),
	 "static users, name:password a line, root:root 0600 (one user: PENSTOCK_USER)"},
	{"shared-secret-file",
	 {"PENSTOCK_SHARED_SECRET_FILE"},
	 "FILE",
	 set_text,
	 TEXT(shared_file),
	 "secret of time-limited credentials, 0600 (itself: PENSTOCK_SHARED_SECRET)"},
	{"realm",
	 {"PENSTOCK_REALM"},
	 "NAME",
	 set_text,
	 TEXT(realm),
	 "realm of credentials (default: firezone)"},
	{"deny",
	 {"PENSTOCK_DENY"},
	 "NET[,NET]",
	 set_prefixes,
	 0,
	 false,
	 0,
	 "peers not to be reached, beside loopback, link-local, multicast, reserved"},
	{"allow",
	 {"PENSTOCK_ALLOW"},
	 "NET[,NET]",
	 set_prefixes,
	 0,
	 true,
	 0,
	 "peers that may be, whatever else says; of --deny and --allow the first that fits"},
	{"max-allocations",
	 {"PENSTOCK_MAX_ALLOCATIONS"},
	 "N",
	 set_number,
	 AT(max_allocs),
	 1,
	 65536,
	 "allocations at a time (default: 16384)"},
	{"max-channels",
	 {"PENSTOCK_MAX_CHANNELS"},
	 "N",
	 set_number,
	 AT(max_channels),
	 1,
	 1048576,
	 "channels of all allocations together (default: 65536)"},
	{"max-channels-each",
	 {"PENSTOCK_MAX_CHANNELS_EACH"},
	 "N",
	 set_number,
	 AT(max_channels_each),
	 0,
	 4096,
	 "channels of one allocation (default: no limit of its own)"},
	{"max-per-user",
	 {"PENSTOCK_MAX_PER_USER"},
	 "N",
	 set_number,
	 AT(max_per_user),
	 0,
	 65536,
	 "allocations of one user that is not the portal's (default: 32; 0: no limit)"},
	{"max-per-source",
	 {"PENSTOCK_MAX_PER_SOURCE"},
	 "N",
	 set_number,
	 AT(max_per_source),
	 0,
	 65536,
	 "allocations of one source address, IPv6 /64 (default: 0, no limit)"},
	{"workers",
	 {"PENSTOCK_WORKERS", "NUM_WORKER_THREADS"},
	 "N",
	 set_number,
	 AT(workers),
	 1,
	 OPT_WORKERS_MAX,
	 "threads that relay (default: one a processor)"},
	{"num-worker-threads", {NULL}, "N", set_number, AT(workers), 1, OPT_WORKERS_MAX, NULL},
	{"xdp-iface",
	 {"PENSTOCK_XDP_IFACE"},
	 "IF[,IF]",
	 set_text,
	 TEXT(xdp_iface),
	 "interfaces where the kernel relays bound channels itself (default: none)"},
	{"ebpf-offloading", {"EBPF_OFFLOADING"}, "IF", set_offload, TEXT(xdp_iface), NULL},
	{"xdp-mode",
	 {"PENSTOCK_XDP_MODE", "EBPF_ATTACH_MODE"},
	 "auto|native|generic|off",
	 set_xdp_mode,
	 0,
	 0,
	 0,
	 "how the program is attached (default: auto)"},
	{"ebpf-attach-mode", {NULL}, "MODE", set_xdp_mode, 0, 0, 0, NULL},
	{"xdp-required",
	 {"PENSTOCK_XDP_REQUIRED"},
	 NULL,
	 set_switch,
	 AT(xdp_required),
	 0,
	 0,
	 "do not start when the kernel cannot relay"},
	{"nexthop",
	 {"PENSTOCK_NEXTHOP"},
	 "auto|fib|swap|MAC",
	 set_nexthop,
	 0,
	 0,
	 0,
	 "where the kernel sends frames: to the default router or as routed (auto, default), as "
	 "routed, back "
	 "whence they came, to MAC"},
	{"own-ip4-addr",
	 {"PENSTOCK_OWN_IP4_ADDR", "EBPF_INT4_ADDR"},
	 "IP",
	 set_ip,
	 AT(own4),
	 4,
	 0,
	 "the public address as packets carry it here (behind a cloud's NAT)"},
	{"own-ip6-addr",
	 {"PENSTOCK_OWN_IP6_ADDR", "EBPF_INT6_ADDR"},
	 "IP",
	 set_ip,
	 AT(own6),
	 6,
	 0,
	 "likewise, IPv6"},
	{"ebpf-int4-addr", {NULL}, "IP", set_ip, AT(own4), 4, 0, NULL},
	{"ebpf-int6-addr", {NULL}, "IP", set_ip, AT(own6), 6, 0, NULL},
	{"health-check-addr",
	 {"PENSTOCK_HEALTH_CHECK_ADDR", "HEALTH_CHECK_ADDR"},
	 "IP:PORT",
	 set_text,
	 TEXT(health_addr),
	 "answer GET /healthz and /readyz there (default: nowhere)"},
	{"drain-timeout",
	 {"PENSTOCK_DRAIN_TIMEOUT"},
	 "TIME",
	 set_time,
	 AT(drain_ns),
	 0,
	 0,
	 "after SIGTERM exit with allocations left after this long (default: 24h)"},
	{"max-partition-time",
	 {"PENSTOCK_MAX_PARTITION_TIME", "FIREZONE_MAX_PARTITION_TIME"},
	 "TIME",
	 set_time,
	 AT(max_partition_ns),
	 0,
	 0,
	 "exit after this long without the portal (default: 24h)"},
	{"instance",
	 {"PENSTOCK_INSTANCE"},
	 "NAME",
	 set_instance,
	 TEXT(instance),
	 "names pins and socket (default: relay)"},
	{"log-format",
	 {"PENSTOCK_LOG_FORMAT", "FIREZONE_LOG_FORMAT", "LOG_FORMAT"},
	 "human|json",
	 set_log_format,
	 0,
	 0,
	 0,
	 "log lines on stderr"},
	{"log-level",
	 {NULL},
	 "FILTER",
	 set_text,
	 TEXT(log_level),
	 "e.g. info,portal=debug (also PENSTOCK_LOG, RUST_LOG)"},
	{"check", {NULL}, NULL, set_switch, AT(check), 0, 0, "validate the configuration and exit"},
	/* Firezone's, accepted so that its compose files work; named in the log, without effect. */
	{"rng-seed", {"RNG_SEED"}, "N", relay_opt_ignored, 0, 0, 0, NULL},
	{"otlp-grpc-endpoint", {"OTLP_GRPC_ENDPOINT"}, "ADDR", relay_opt_ignored, 0, 0, 0, NULL},
	{"google-cloud-project-id",
	 {"GOOGLE_CLOUD_PROJECT_ID"},
	 "ID",
	 relay_opt_ignored,
	 0,
	 0,
	 0,
	 NULL},
	{"telemetry", {"FIREZONE_TELEMETRY", "TELEMETRY"}, NULL, relay_opt_ignored, 0, 0, 0, NULL},
	{"control-endpoint", {"CONTROL_ENDPOINT"}, "ADDR", relay_opt_ignored, 0, 0, 0, NULL},
	{"listen-address-discovery",
	 {"LISTEN_ADDRESS_DISCOVERY_METHOD"},
	 "HOW",
	 relay_opt_ignored,
	 0,
	 0,
	 0,
	 NULL},
};
/* clang-format on */
const size_t relay_opt_rows_len = sizeof(relay_opt_rows) / sizeof(*relay_opt_rows);
