/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser over flags and environment; the table is opt_rows.c; the contract is in
 * opt.h. */
#include "apps/daemon/opt_rows.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "abi/maps.h"
#include "base/time.h"
#include "core/phx/phx_chan.h"
#include "core/phx/phx_url.h"
#include "crypto/crypto.h"

extern char **environ;

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
		.workers = opt_workers_auto(),
		.udp_port = 52625,
		.tunnel_mtu = PS_INNER_MAX,
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
	for (size_t i = 0; i < opt_rows_len; i++) {
		const struct opt_row *r = &opt_rows[i];
		char left[64];

		if (!r->help)
			continue;
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

	for (size_t i = 0; i < opt_rows_len; i++) {
		if (!(opt_rows[i].roles & (gateway ? 1 : 2)))
			continue;
		for (unsigned k = 0; k < 4 && opt_rows[i].env[k]; k++) {
			v = getenv(opt_rows[i].env[k]);
			if (!v || !*v)
				continue;
			if (apply(o, &opt_rows[i], opt_rows[i].env[k], v))
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
	for (size_t i = 0; i < opt_rows_len; i++) {
		if (arg[1] == '-' && len > 2 && strlen(opt_rows[i].flag) == len - 2 &&
		    !strncmp(arg + 2, opt_rows[i].flag, len - 2))
			return &opt_rows[i];
		if (arg[1] != '-' && len == 2 && opt_rows[i].letter == arg[1])
			return &opt_rows[i];
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
	for (size_t i = 0; i < opt_rows_len; i++)
		for (unsigned k = 0; k < 4 && opt_rows[i].env[k]; k++)
			if (strlen(opt_rows[i].env[k]) == len &&
			    !strncmp(opt_rows[i].env[k], name, len))
				return true;
	return false;
}

static bool ignored_env(const char *name, size_t len)
{
	for (size_t i = 0; i < opt_rows_len; i++) {
		const struct opt_row *r = &opt_rows[i];

		if (r->set == opt_set_ignored && r->env[0] && strlen(r->env[0]) == len &&
		    !strncmp(r->env[0], name, len))
			return true;
	}
	return false;
}

void opt_log_unknown_env(void)
{
	for (char **e = environ; *e; e++) {
		size_t len = strcspn(*e, "=");
		bool ours = !strncmp(*e, "PENSTOCK_", 9) || !strncmp(*e, "FIREZONE_", 9);

		if (ignored_env(*e, len))
			LOG_WARN("config", "environment variable has no effect here",
				 LOG_STRN("name", *e, len));
		else if (ours && !known_env(*e, len))
			LOG_WARN("config", "environment variable is not used",
				 LOG_STRN("name", *e, len));
	}
}
