/* SPDX-License-Identifier: Apache-2.0
 *
 * Which daemon is meant: by socket path, by instance name, or the only one that has a socket. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "apps/ctl/ctl.h"
#include "io/ctl_socket.h"

#define SUFFIX	     ".sock"
#define INSTANCE_CAP 64

/* Lab and tests run their own instances next to the machine's. */
static const char *run_dir(void)
{
	const char *dir = getenv("PENSTOCK_RUN_DIR");

	return dir && *dir ? dir : CTL_RUN_DIR;
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len <= INSTANCE_CAP && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       len;
}

static int is_socket(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return len > strlen(SUFFIX) && !strcmp(e->d_name + len - strlen(SUFFIX), SUFFIX);
}

static int put_path(char *buf, size_t cap, const char *dir, const char *name, const char *suffix)
{
	int len = snprintf(buf, cap, "%s/%s%s", dir, name, suffix);

	if (len > 0 && (size_t)len < cap)
		return CTL_OK;
	fprintf(stderr, "penstock: the socket's path in %s is too long\n", dir);
	return CTL_USAGE;
}

static int find_only(char *buf, size_t cap)
{
	struct dirent **list = NULL;
	int n = scandir(run_dir(), &list, is_socket, alphasort), rc = CTL_NO_DAEMON;

	if (n < 0 && errno != ENOENT) {
		fprintf(stderr, "penstock: %s: %s\n", run_dir(), strerror(errno));
		return errno == EACCES ? CTL_DENIED : CTL_NO_DAEMON;
	}
	if (n == 1) {
		rc = put_path(buf, cap, run_dir(), list[0]->d_name, "");
	} else if (n <= 0) {
		fprintf(stderr, "penstock: no daemon is running: no socket in %s\n", run_dir());
	} else {
		fprintf(stderr,
			"penstock: several daemons are running, choose one with --instance:\n");
		for (int i = 0; i < n; i++)
			fprintf(stderr, "  %.*s\n", (int)(strlen(list[i]->d_name) - strlen(SUFFIX)),
				ctl_clean(list[i]->d_name));
	}
	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
	return rc;
}

int ctl_find_socket(const struct ctl_options *opt, char *buf, size_t cap)
{
	if (opt->socket) {
		if (snprintf(buf, cap, "%s", opt->socket) < (int)cap)
			return CTL_OK;
		fprintf(stderr, "penstock: --socket: path is too long\n");
		return CTL_USAGE;
	}
	if (!opt->instance)
		return find_only(buf, cap);
	if (!name_ok(opt->instance)) {
		fprintf(stderr, "penstock: --instance: '%s' is no instance name\n",
			ctl_clean(opt->instance));
		return CTL_USAGE;
	}
	return put_path(buf, cap, run_dir(), opt->instance, SUFFIX);
}
