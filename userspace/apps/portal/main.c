/* SPDX-License-Identifier: Apache-2.0
 *
 * penstock-portal: flags, environment, and off it goes. */
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/portal/app.h"
#include "base/log.h"

static const char usage[] =
	"Usage: penstock-portal --config FILE      run the control plane\n"
	"       penstock-portal --check FILE       say whether a configuration is valid\n"
	"       penstock-portal token              make a token; keep it, give its hash to the "
	"file\n"
	"\n"
	"  -c, --config FILE     configuration (env PENSTOCK_PORTAL_CONFIG)\n"
	"      --check FILE      check only\n"
	"      --log-level SPEC  info, debug, \"info,portal=debug\", … (env PENSTOCK_LOG)\n"
	"      --log-format FMT  human or json (env PENSTOCK_LOG_FORMAT)\n"
	"  -V, --version\n"
	"  -h, --help\n"
	"\n"
	"Changes to the file take effect at once, or on SIGHUP; a faulty file changes nothing.\n";

struct options {
	const char *config, *check, *log_level, *log_format;
};

/* The JSON library's buffers hold preshared keys: wipe what it frees. */
static void wiping_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* -1 to go on, or the exit code. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
					      {"check", required_argument, NULL, 'k'},
					      {"log-level", required_argument, NULL, 'l'},
					      {"log-format", required_argument, NULL, 'f'},
					      {"version", no_argument, NULL, 'V'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "c:Vh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'k':
			o->check = optarg;
			break;
		case 'l':
			o->log_level = optarg;
			break;
		case 'f':
			o->log_format = optarg;
			break;
		case 'V':
			puts("penstock-portal " PENSTOCK_VERSION);
			return PORTAL_EXIT_OK;
		case 'h':
			fputs(usage, stdout);
			return PORTAL_EXIT_OK;
		default:
			fputs("Try --help.\n", stderr);
			return PORTAL_EXIT_USAGE;
		}
	}
	return -1;
}

static int start_log(const struct options *o)
{
	const char *format = o->log_format ? o->log_format : getenv("PENSTOCK_LOG_FORMAT");
	struct log_cfg cfg = {.filter = o->log_level};
	const char *bad;

	if (format && !strcmp(format, "json")) {
		cfg.format = LOG_FORMAT_JSON;
	} else if (format && strcmp(format, "human")) {
		fprintf(stderr, "penstock-portal: --log-format must be human or json, not \"%s\"\n",
			format);
		return PORTAL_EXIT_USAGE;
	}
	if (log_init(&cfg, &bad) && o->log_level) {
		fprintf(stderr, "penstock-portal: --log-level: cannot make sense of \"%s\"\n", bad);
		return PORTAL_EXIT_USAGE;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {.config = getenv("PENSTOCK_PORTAL_CONFIG")};
	int rc = parse(argc, argv, &o);

	if (rc >= 0)
		return rc;
	json_set_alloc_funcs(malloc, wiping_free);
	if (optind + 1 == argc && !strcmp(argv[optind], "token"))
		return app_token();
	if (optind < argc) {
		fprintf(stderr, "penstock-portal: unknown command \"%s\"\nTry --help.\n",
			argv[optind]);
		return PORTAL_EXIT_USAGE;
	}
	rc = start_log(&o);
	if (rc)
		return rc;
	if (o.check)
		return app_check(o.check);
	if (!o.config) {
		fputs("penstock-portal: --config FILE is needed\nTry --help.\n", stderr);
		return PORTAL_EXIT_USAGE;
	}
	return app_run(o.config);
}
