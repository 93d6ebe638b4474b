/* SPDX-License-Identifier: Apache-2.0
 *
 * `penstock`: the operator's command. It asks a daemon over its control socket and prints the
 * answer, as it came
 * (--json) or for people. Protocol, schema and exit codes: docs/control-socket.md. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "apps/ctl/ctl.h"
#include "io/ctl_socket.h"

#define TIMEOUT_MS 10000
#define LIMIT_MAX  10000

static const struct ctl_command commands[] = {
	{"status", "the daemon: mode, kernel executor, portal, counters, tables", cmd_status},
	{"peers", "connections: path, round trip, last handshake, traffic", cmd_peers},
	{"flows", "established flows and who carries them", cmd_flows},
	{"drops", "packets that ended here, by reason (--all: every reason)", cmd_drops},
	{"relays", "relays: state, round trip, relayed addresses, who uses them", cmd_relays},
	{"allocations", "relay: allocations, their channels and traffic", cmd_allocations},
	{"resources", "what the policy covers; client: enable|disable NAME|ID switches one",
	 cmd_resources},
};
static const struct ctl_command switch_command = {"switch", NULL, cmd_switch};
#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static void print_help(FILE *to)
{
	fprintf(to, "usage: penstock [OPTION…] COMMAND\n\ncommands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].help);
	fprintf(to, "\noptions:\n"
		    "  --instance NAME  which daemon (default: the only one running)\n"
		    "  --socket PATH    its control socket, instead of a name\n"
		    "  --json           print the answer as it came, one JSON document\n"
		    "  --limit N        flows, allocations: at most N of them (1 to 10000)\n"
		    "  --all            drops: also what was handled and passed on\n"
		    "  --help, --version\n"
		    "\nexit: 0 answered; 1 refused or unreadable answer; 2 usage; 3 no daemon; "
		    "4 not allowed\n");
}

enum long_option {
	OPT_INSTANCE = 256,
	OPT_SOCKET,
	OPT_JSON,
	OPT_LIMIT,
	OPT_ALL,
	OPT_HELP,
	OPT_VERSION
};

static const struct option long_options[] = {
	{"instance", required_argument, NULL, OPT_INSTANCE},
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"json", no_argument, NULL, OPT_JSON},
	{"limit", required_argument, NULL, OPT_LIMIT},
	{"all", no_argument, NULL, OPT_ALL},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static bool parse_limit(const char *text, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	return !errno && end != text && !*end && *out >= 1 && *out <= LIMIT_MAX;
}

static int usage(const char *what, const char *detail)
{
	fprintf(stderr, "penstock: %s%s%s\nTry 'penstock --help'.\n", what, detail ? ": " : "",
		detail ? ctl_clean(detail) : "");
	return CTL_USAGE;
}

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, struct ctl_options *opt)
{
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (o) {
		case OPT_INSTANCE:
			opt->instance = optarg;
			break;
		case OPT_SOCKET:
			opt->socket = optarg;
			break;
		case OPT_JSON:
			opt->json = true;
			break;
		case OPT_LIMIT:
			if (!parse_limit(optarg, &opt->limit))
				return usage("--limit takes a number from 1 to 10000, not", optarg);
			break;
		case OPT_ALL:
			opt->all = true;
			break;
		case 'h':
		case OPT_HELP:
			print_help(stdout);
			return CTL_OK;
		case OPT_VERSION:
			printf("penstock %s\n", PENSTOCK_VERSION);
			return CTL_OK;
		default:
			return usage("unknown option or missing value", argv[optind - 1]);
		}
	}
	return -1;
}

static const struct ctl_command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int call_failed(const char *path, int rc, const struct io_err *err)
{
	if (rc == -EACCES || rc == -EPERM) {
		fprintf(stderr, "penstock: %s: not allowed; run as root\n", path);
		return CTL_DENIED;
	}
	if (rc == -ENOENT || rc == -ECONNREFUSED) {
		fprintf(stderr, "penstock: no daemon answers on %s\n", path);
		return CTL_NO_DAEMON;
	}
	fprintf(stderr, "penstock: %s: %s\n", path, err->msg[0] ? err->msg : strerror(-rc));
	return CTL_REFUSED;
}

/* The daemon's refusal: an object with code and message, or plain text. */
static bool print_error(const json_t *answer)
{
	const json_t *e = json_object_get(answer, "error");

	if (!e)
		return false;
	fprintf(stderr, "penstock: the daemon refused: %s\n",
		json_is_string(e) ? ctl_clean(json_string_value(e)) : ctl_clean_str(e, "message"));
	return true;
}

static int show(const struct ctl_command *cmd, const struct ctl_options *opt, const char *reply,
		size_t len)
{
	json_error_t why;
	json_t *answer = json_loadb(reply, len, JSON_REJECT_DUPLICATES, &why);
	int rc = CTL_OK;

	if (!json_is_object(answer)) {
		fprintf(stderr, "penstock: the answer is not a JSON object%s%s\n",
			answer ? "" : ": ", answer ? "" : ctl_clean(why.text));
		rc = CTL_REFUSED;
	} else if (opt->json) {
		fwrite(reply, 1, len, stdout);
		if (len && reply[len - 1] != '\n')
			putchar('\n');
		rc = json_object_get(answer, "error") ? CTL_REFUSED : CTL_OK;
	} else if (print_error(answer)) {
		rc = CTL_REFUSED;
	} else {
		cmd->print(answer, opt);
	}
	json_decref(answer);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "penstock: output: %s\n", strerror(errno));
		rc = CTL_REFUSED;
	}
	return rc;
}

/* The request line, malloc'd; NULL: an argument is no text. */
static char *make_request(const struct ctl_command *cmd, const struct ctl_options *opt)
{
	json_t *o = json_pack("{s:s}", "cmd", cmd->name);
	char *text;

	if (opt->limit)
		json_object_set_new(o, "limit", json_integer(opt->limit));
	if (opt->resource && (json_object_set_new(o, "resource", json_string(opt->resource)) ||
			      json_object_set_new(o, "on", json_boolean(opt->on)))) {
		json_decref(o);
		return NULL;
	}
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static int run(const struct ctl_command *cmd, const struct ctl_options *opt)
{
	char path[108], *request;
	struct io_err err = {0};
	char *reply = NULL;
	size_t len = 0;
	int rc = ctl_find_socket(opt, path, sizeof(path));

	if (rc)
		return rc;
	request = make_request(cmd, opt);
	if (!request)
		return usage("not UTF-8", opt->resource);
	rc = ctl_call(path, request, TIMEOUT_MS, &reply, &len, &err);
	rc = rc ? call_failed(path, rc, &err) : show(cmd, opt, reply, len);
	free(request);
	free(reply);
	return rc;
}

/* `resources enable|disable WHICH`: 0, or the exit code. */
static int parse_switch(char **args, struct ctl_options *opt)
{
	opt->on = !strcmp(args[0], "enable");
	if (!opt->on && strcmp(args[0], "disable") != 0)
		return usage("resources takes enable or disable, not", args[0]);
	if (!args[1] || !*args[1])
		return usage("which resource? give its name or id", NULL);
	if (args[2])
		return usage("one resource at a time, not also", args[2]);
	opt->resource = args[1];
	return CTL_OK;
}

int main(int argc, char **argv)
{
	struct ctl_options opt = {0};
	const struct ctl_command *cmd;
	int rc = parse_options(argc, argv, &opt);

	if (rc >= 0)
		return rc;
	if (optind == argc)
		return usage("no command", NULL);
	cmd = find_command(argv[optind]);
	if (!cmd)
		return usage("unknown command", argv[optind]);
	if (cmd->print == cmd_resources && optind + 1 < argc) {
		rc = parse_switch(argv + optind + 1, &opt);
		if (rc)
			return rc;
		cmd = &switch_command;
	} else if (optind + 1 < argc)
		return usage("one command at a time, not also", argv[optind + 1]);
	if (opt.instance && opt.socket)
		return usage("--instance and --socket exclude each other", NULL);
	return run(cmd, &opt);
}
