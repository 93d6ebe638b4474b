/* SPDX-License-Identifier: Apache-2.0
 *
 * The option table, its setters, and the parser over flags and environment; the contract is in
 * opt.h. */
#include "apps/daemon/opt.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/time.h"
#include "core/phx/phx_chan.h"
#include "core/phx/phx_url.h"
#include "crypto/crypto.h"

extern char **environ;

struct opt_row {
	const char *flag;
	char letter;
	const char *env[4]; /* first wins */
	const char *arg;    /* NULL: a switch */
	/* 0, or -EINVAL and *why */
	int (*set)(struct opt *o, const char *value, const char **why);
	const char *help;
	uint8_t roles; /* 1 gateway, 2 client */
};

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

static int set_udp_port(struct opt *o, const char *v, const char **why)
{
	return parse_u32(v, 0, 65535, &o->udp_port, why);
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

static int set_plaintext(struct opt *o, const char *v, const char **why)
{
	(void)why;
	o->allow_plaintext = !v || (strcmp(v, "0") && strcasecmp(v, "false"));
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

static int set_ignored(struct opt *o, const char *v, const char **why)
{
	(void)o;
	(void)v;
	(void)why;
	return 0;
}

#define BOTH 3
static const struct opt_row rows[] = {
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
	{"check", 0, {NULL}, NULL, set_check, "validate the configuration and exit", BOTH},
	{"no-telemetry",
	 0,
	 {"FIREZONE_NO_TELEMETRY"},
	 NULL,
	 set_ignored,
	 "accepted; there is no telemetry",
	 BOTH},
};
#define N_ROWS (sizeof(rows) / sizeof(*rows))

/* Read by other parts of the daemon. */
static const char *const other_env[] = {"PENSTOCK_TOKEN", "FIREZONE_TOKEN", "PENSTOCK_LOG",
					"PENSTOCK_BPF_PLAIN", "PENSTOCK_XDP_SINGLE"};

const char *opt_mode_name(enum opt_mode m)
{
	return m == OPT_MODE_KERNEL ? "kernel" : m == OPT_MODE_USER ? "user" : "auto";
}

static void defaults(struct opt *o, bool gateway)
{
	*o = (struct opt){
		.xdp_mode = BPF_XDP_AUTO,
		.max_peers = gateway ? 10000 : 256,
		.max_flows = gateway ? 65536 : 8192,
		.udp_port = 52625,
		.max_partition_ns = gateway ? PHX_GATEWAY_BUDGET_NS : TIME_NEVER,
	};
	snprintf(o->tun, sizeof(o->tun), "tun-penstock");
	snprintf(o->instance, sizeof(o->instance), "%s", gateway ? "gateway" : "client");
	snprintf(o->id_file, sizeof(o->id_file), "/var/lib/penstock/%s-id",
		 gateway ? "gateway" : "client");
	snprintf(o->token_path, sizeof(o->token_path), "/etc/penstock/%s-token",
		 gateway ? "gateway" : "client");
	if (gethostname(o->name, sizeof(o->name) - 1) || !o->name[0])
		snprintf(o->name, sizeof(o->name), "penstock");
}

static void help(bool gateway)
{
	printf("usage: penstock-%s [options]%s\n\n", gateway ? "gateway" : "client",
	       gateway ? " [TOKEN]" : "");
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct opt_row *r = &rows[i];
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", r->flag, r->arg ? " " : "",
			 r->arg ? r->arg : "");
		printf("  %-32s %s\n", left, r->help);
		for (unsigned k = 0; k < 4 && r->env[k]; k++)
			printf("%s%s%s",
			       k ? ", " : "                                   env: ", r->env[k],
			       k == 3 || !r->env[k + 1] ? "\n" : "");
	}
	printf("\nExit status: 0 stopped by a signal, 1 fatal at run time, 2 usage, 3 refused by "
	       "the portal.\n");
}

static int apply(struct opt *o, const struct opt_row *r, const char *what, const char *value)
{
	const char *why = "is invalid";

	if (!r->set(o, value, &why))
		return 0;
	fprintf(stderr, "%s: value '%.200s' %s\n", what, value ? value : "", why);
	return -EINVAL;
}

static int take_token(struct opt *o, char *token, const char *what, const char *value)
{
	size_t len = strlen(value);

	while (len && strchr(" \t\r\n", value[len - 1]))
		len--;
	if (!len || len >= OPT_TOKEN_CAP) {
		fprintf(stderr, "%s: token is %s\n", what, len ? "too long" : "empty");
		return -EINVAL;
	}
	memcpy(token, value, len);
	token[len] = 0;
	o->has_token = true;
	return 0;
}

static int from_env(struct opt *o, char *token, bool gateway)
{
	const char *const token_env[] = {"FIREZONE_TOKEN", "PENSTOCK_TOKEN"};
	char *v;

	for (size_t i = 0; i < N_ROWS; i++) {
		if (!(rows[i].roles & (gateway ? 1 : 2)))
			continue;
		for (unsigned k = 0; k < 4 && rows[i].env[k]; k++) {
			v = getenv(rows[i].env[k]);
			if (!v || !*v)
				continue;
			if (apply(o, &rows[i], rows[i].env[k], v))
				return -EINVAL;
			break;
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		v = getenv(token_env[i]);
		if (v && *v && take_token(o, token, token_env[i], v))
			return -EINVAL;
		if (v)
			crypto_wipe(v, strlen(v));
		unsetenv(token_env[i]);
	}
	return 0;
}

static const struct opt_row *find_row(const char *arg, size_t len)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (arg[1] == '-' && len > 2 && strlen(rows[i].flag) == len - 2 &&
		    !strncmp(arg + 2, rows[i].flag, len - 2))
			return &rows[i];
		if (arg[1] != '-' && len == 2 && rows[i].letter == arg[1])
			return &rows[i];
	}
	return NULL;
}

static int from_argv(struct opt *o, char *token, bool gateway, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *eq = strchr(argv[i], '=');
		size_t len = eq ? (size_t)(eq - argv[i]) : strlen(argv[i]);
		const struct opt_row *r;
		const char *value = eq ? eq + 1 : NULL;

		if (argv[i][0] != '-') {
			if (!gateway || o->token_argv) {
				fprintf(stderr, "argument %d is not an option%s\n", i,
					gateway ? ""
						: "; a token is given by environment or file only");
				return -EINVAL;
			}
			if (take_token(o, token, "TOKEN", argv[i]))
				return -EINVAL;
			crypto_wipe(argv[i], strlen(argv[i]));
			o->token_argv = true;
			continue;
		}
		r = find_row(argv[i], len);
		if (!r) {
			fprintf(stderr, "%.*s: unknown option (see --help)\n",
				(int)(len < 60 ? len : 60), argv[i]);
			return -EINVAL;
		}
		if (r->arg && !value) {
			if (++i == argc) {
				fprintf(stderr, "--%s: needs a value (%s)\n", r->flag, r->arg);
				return -EINVAL;
			}
			value = argv[i];
		}
		if (!r->arg && value) {
			fprintf(stderr, "--%s: takes no value\n", r->flag);
			return -EINVAL;
		}
		if (apply(o, r, r->flag, value))
			return -EINVAL;
	}
	return 0;
}

enum opt_result opt_parse(struct opt *o, char *token, bool gateway, int argc, char **argv)
{
	token[0] = 0;
	defaults(o, gateway);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			help(gateway);
			return OPT_EXIT_OK;
		}
		if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V")) {
			printf("penstock-%s %s\n", gateway ? "gateway" : "client",
			       PENSTOCK_VERSION);
			return OPT_EXIT_OK;
		}
	}
	if (from_env(o, token, gateway) || from_argv(o, token, gateway, argc, argv))
		return OPT_EXIT_USAGE;
	if (!o->api_url[0]) {
		fprintf(stderr,
			"--api-url: no portal given (or PENSTOCK_API_URL, FIREZONE_API_URL)\n");
		return OPT_EXIT_USAGE;
	}
	return OPT_RUN;
}

static bool known_env(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(other_env) / sizeof(*other_env); i++)
		if (strlen(other_env[i]) == len && !strncmp(other_env[i], name, len))
			return true;
	for (size_t i = 0; i < N_ROWS; i++)
		for (unsigned k = 0; k < 4 && rows[i].env[k]; k++)
			if (strlen(rows[i].env[k]) == len && !strncmp(rows[i].env[k], name, len))
				return true;
	return false;
}

void opt_log_unknown_env(bool gateway)
{
	(void)gateway;
	for (char **e = environ; *e; e++) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, "PENSTOCK_", 9) && strncmp(*e, "FIREZONE_", 9))
			continue;
		if (!known_env(*e, len))
			LOG_WARN("config", "environment variable is not used",
				 LOG_STRN("name", *e, len));
	}
}
