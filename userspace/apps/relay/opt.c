/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser over flags and environment; the table is opt_rows.c; the contract is in opt.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/relay/opt_rows.h"
#include "base/time.h"
#include "core/phx/phx_chan.h"
#include "crypto/crypto.h"

extern char **environ;

/* Read by other parts of the program. */
static const char *const other_env[] = {"PENSTOCK_TOKEN", "FIREZONE_TOKEN",
					"PENSTOCK_USER",  "PENSTOCK_SHARED_SECRET",
					"PENSTOCK_LOG",	  "PENSTOCK_XDP_SINGLE"};

static void defaults(struct relay_opt *o)
{
	*o = (struct relay_opt){
		.listen_port = TURN_PORT,
		.port_lo = RELAY_PORT_LO,
		.port_hi = RELAY_PORT_HI,
		.realm = RELAY_REALM,
		.instance = "relay",
		.token_path = "/etc/penstock/relay-token",
		.xdp_mode = BPF_XDP_AUTO,
		.hop = PS_TURN_HOP_AUTO,
		.max_allocs = 16384,
		.max_channels = 65536,
		.max_per_user = RELAY_USER_QUOTA,
		.drain_ns = UINT64_C(24) * 3600 * NS_PER_SEC,
		.max_partition_ns = PHX_GATEWAY_BUDGET_NS,
	};
}

static void help(void)
{
	printf("usage: penstock-relay [options] [TOKEN [NAME]]\n\n");
	for (size_t i = 0; i < relay_opt_rows_len; i++) {
		const struct relay_opt_row *r = &relay_opt_rows[i];
		char left[64];

		if (!r->help)
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", r->flag, r->arg ? " " : "",
			 r->arg ? r->arg : "");
		printf("  %-32s %s\n", left, r->help);
		for (unsigned k = 0; k < 3 && r->env[k]; k++)
			printf("%s%s%s",
			       k ? ", " : "                                   env: ", r->env[k],
			       k == 2 || !r->env[k + 1] ? "\n" : "");
	}
	printf("\nExit status: 0 stopped by a signal, 1 fatal at run time, 2 usage, 3 refused by "
	       "the portal.\n");
}

static int apply(struct relay_opt *o, const struct relay_opt_row *r, const char *what,
		 const char *value)
{
	const char *why = "is invalid";

	if (!r->set(o, r, value, &why))
		return 0;
	fprintf(stderr, "%s: value '%.200s' %s\n", what, value ? value : "", why);
	return -EINVAL;
}

/* ---- environment ---- */

/* Move a secret out of the environment. 0, or -EINVAL: too long. */
static int take_secret(const char *name, char *out, size_t cap, bool *found)
{
	char *v = getenv(name);
	size_t len = v ? strlen(v) : 0;
	int rc = 0;

	while (len && strchr(" \t\r\n", v[len - 1]))
		len--;
	if (len >= cap) {
		fprintf(stderr, "%s: is too long\n", name);
		rc = -EINVAL;
	} else if (len) {
		memcpy(out, v, len);
		out[len] = 0;
		if (found)
			*found = true;
	}
	if (v)
		crypto_wipe(v, strlen(v));
	unsetenv(name);
	return rc;
}

static int from_env(struct relay_opt *o, char *token)
{
	for (size_t i = 0; i < relay_opt_rows_len; i++) {
		const struct relay_opt_row *r = &relay_opt_rows[i];

		for (unsigned k = 0; k < 3 && r->env[k]; k++) {
			const char *v = getenv(r->env[k]);

			if (!v || !*v)
				continue;
			if (apply(o, r, r->env[k], v))
				return -EINVAL;
			break;
		}
	}
	if (take_secret("FIREZONE_TOKEN", token, OPT_TOKEN_CAP, &o->has_token) ||
	    take_secret("PENSTOCK_TOKEN", token, OPT_TOKEN_CAP, &o->has_token) ||
	    take_secret("PENSTOCK_USER", o->user, sizeof(o->user), NULL) ||
	    take_secret("PENSTOCK_SHARED_SECRET", o->shared, sizeof(o->shared), NULL))
		return -EINVAL;
	return 0;
}

/* ---- command line ---- */

static const struct relay_opt_row *find_row(const char *arg, size_t len)
{
	for (size_t i = 0; i < relay_opt_rows_len; i++)
		if (len > 2 && arg[1] == '-' && strlen(relay_opt_rows[i].flag) == len - 2 &&
		    !strncmp(arg + 2, relay_opt_rows[i].flag, len - 2))
			return &relay_opt_rows[i];
	return NULL;
}

/* TOKEN, then NAME, as Firezone's relay takes them. */
static int positional(struct relay_opt *o, char *token, char *arg)
{
	size_t len = strlen(arg);

	if (!o->token_argv && len && len < OPT_TOKEN_CAP) {
		memcpy(token, arg, len + 1);
		crypto_wipe(arg, len);
		o->has_token = o->token_argv = true;
		return 0;
	}
	if (o->token_argv && !o->has_name && len && len < sizeof(o->name)) {
		memcpy(o->name, arg, len + 1);
		o->has_name = true;
		return 0;
	}
	fprintf(stderr, "one of the arguments is no option, empty or too long (see --help)\n");
	return -EINVAL;
}

static int from_argv(struct relay_opt *o, char *token, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *eq = strchr(argv[i], '=');
		size_t len = eq ? (size_t)(eq - argv[i]) : strlen(argv[i]);
		const struct relay_opt_row *r = find_row(argv[i], len);
		const char *value = eq ? eq + 1 : NULL;

		if (argv[i][0] != '-') {
			if (positional(o, token, argv[i]))
				return -EINVAL;
			continue;
		}
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

const char *relay_opt_problem(const struct relay_opt *o)
{
	if (!o->public4.family && !o->public6.family)
		return "--public-ip4-addr or --public-ip6-addr is needed";
	if ((o->bind4.family && !o->public4.family) || (o->bind6.family && !o->public6.family))
		return "--bind-ip4-addr and --bind-ip6-addr need the public address of the family";
	if (o->port_hi < o->port_lo)
		return "--highest-port is below --lowest-port";
	if (o->listen_port >= o->port_lo && o->listen_port <= o->port_hi)
		return "--listen-port is among the ports of relayed addresses";
	if (!o->api_url[0] && !o->users_file[0] && !o->shared_file[0] && !o->user[0] &&
	    !o->shared[0])
		return "nobody could use this relay: give --api-url, --users-file or "
		       "--shared-secret-file";
	return NULL;
}

enum opt_result relay_opt_parse(struct relay_opt *o, char *token, int argc, char **argv)
{
	const char *problem;

	token[0] = 0;
	defaults(o);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			help();
			return OPT_EXIT_OK;
		}
		if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V")) {
			printf("penstock-relay %s\n", PENSTOCK_VERSION);
			return OPT_EXIT_OK;
		}
	}
	if (from_env(o, token) || from_argv(o, token, argc, argv))
		return OPT_EXIT_USAGE;
	problem = relay_opt_problem(o);
	if (problem)
		fprintf(stderr, "penstock-relay: %s\n", problem);
	return problem ? OPT_EXIT_USAGE : OPT_RUN;
}

/* ---- what was not understood ---- */

static bool same(const char *name, const char *env, size_t len)
{
	return strlen(name) == len && !strncmp(name, env, len);
}

static const struct relay_opt_row *row_of_env(const char *env, size_t len)
{
	for (size_t i = 0; i < relay_opt_rows_len; i++)
		for (unsigned k = 0; k < 3 && relay_opt_rows[i].env[k]; k++)
			if (same(relay_opt_rows[i].env[k], env, len))
				return &relay_opt_rows[i];
	return NULL;
}

static bool read_elsewhere(const char *env, size_t len)
{
	for (size_t i = 0; i < sizeof(other_env) / sizeof(*other_env); i++)
		if (same(other_env[i], env, len))
			return true;
	return false;
}

void relay_opt_log_unknown_env(void)
{
	for (char **e = environ; *e; e++) {
		size_t len = strcspn(*e, "=");
		const struct relay_opt_row *r = row_of_env(*e, len);
		bool ours = !strncmp(*e, "PENSTOCK_", 9) || !strncmp(*e, "FIREZONE_", 9);

		if (r && r->set == relay_opt_ignored)
			LOG_WARN("config", "environment variable has no effect here",
				 LOG_STRN("name", *e, len));
		else if (!r && ours && !read_elsewhere(*e, len))
			LOG_WARN("config", "environment variable is not used",
				 LOG_STRN("name", *e, len));
	}
}
