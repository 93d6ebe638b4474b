/* SPDX-License-Identifier: Apache-2.0
 *
 * State file: one line a switch, "<name> <value before> <value we set>", written before the switch
 * is. */
#include "io/sysctl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"

#define SWITCHES_MAX 128 /* three, and accept_ra of every interface */
#define NAME_MAX_LEN 80
#define STATE_MAX    16384

struct sw {
	char name[NAME_MAX_LEN];
	int before, ours;
};

struct state {
	struct sw sw[SWITCHES_MAX];
	size_t len;
};

int sysctl_read(const char *name)
{
	char path[NAME_MAX_LEN + 16], buf[32];
	size_t len;
	int rc;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	rc = file_read(path, buf, sizeof(buf), &len, NULL);
	return rc < 0 ? rc : atoi(buf);
}

static int sysctl_write(const char *name, int value)
{
	char path[NAME_MAX_LEN + 16], buf[16];
	int fd, n, rc = 0;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = snprintf(buf, sizeof(buf), "%d\n", value);
	if (write(fd, buf, (size_t)n) != n)
		rc = -errno;
	close(fd);
	return rc;
}

/* Our own file, but a name in it is a path we write to: only what we could have put there. */
static bool name_ok(const char *name)
{
	return strncmp(name, "net/ipv", 7) == 0 && !strstr(name, "..");
}

static void state_load(struct state *st, const char *path)
{
	char *text = malloc(STATE_MAX), *save = NULL;
	size_t len;

	st->len = 0;
	if (text && file_read(path, text, STATE_MAX, &len, NULL) == 0)
		for (char *line = strtok_r(text, "\n", &save); line && st->len < SWITCHES_MAX;
		     line = strtok_r(NULL, "\n", &save)) {
			struct sw *sw = &st->sw[st->len];

			if (sscanf(line, "%79s %d %d", sw->name, &sw->before, &sw->ours) == 3 &&
			    name_ok(sw->name))
				st->len++;
		}
	free(text);
}

static int state_save(const struct state *st, const char *path, struct io_err *err)
{
	char *text = malloc(STATE_MAX);
	size_t len = 0;
	int rc;

	if (!text)
		return io_fail(err, -ENOMEM, "no memory for %s", path);
	for (size_t i = 0; i < st->len; i++) {
		int n = snprintf(text + len, STATE_MAX - len, "%s %d %d\n", st->sw[i].name,
				 st->sw[i].before, st->sw[i].ours);

		if (n < 0 || (size_t)n >= STATE_MAX - len)
			break;
		len += (size_t)n;
	}
	rc = file_write_atomic(path, 0644, text, len, err);
	free(text);
	return rc;
}

/* Note a switch for change; an older note of it stays. False when it has the value already. */
static void want(struct state *st, const char *name, int value)
{
	int now = sysctl_read(name);

	if (now < 0 || now == value || st->len == SWITCHES_MAX)
		return;
	for (size_t i = 0; i < st->len; i++)
		if (strcmp(st->sw[i].name, name) == 0)
			return;
	st->sw[st->len].before = now;
	st->sw[st->len].ours = value;
	snprintf(st->sw[st->len++].name, NAME_MAX_LEN, "%s", name);
}

/* IPv6 forwarding makes the kernel forget default routes learned from router advertisements, unless
 * accept_ra is 2. */
static void want_accept_ra(struct state *st)
{
	DIR *dir = opendir("/proc/sys/net/ipv6/conf");
	char name[NAME_MAX_LEN];

	for (const struct dirent *e; dir && (e = readdir(dir));) {
		if (e->d_name[0] == '.' || strcmp(e->d_name, "all") == 0)
			continue;
		snprintf(name, sizeof(name), "net/ipv6/conf/%.32s/accept_ra", e->d_name);
		if (sysctl_read(name) == 1)
			want(st, name, 2);
	}
	if (dir)
		closedir(dir);
}

int sysctl_forward_enable(const char *state_path, struct io_err *err)
{
	struct state *st = calloc(1, sizeof(*st));
	int rc = 0;

	if (!st)
		return io_fail(err, -ENOMEM, "no memory for %s", state_path);
	state_load(st, state_path);
	if (sysctl_read("net/ipv6/conf/all/forwarding") == 0)
		want_accept_ra(st);
	want(st, "net/ipv4/ip_forward", 1);
	want(st, "net/ipv4/conf/all/src_valid_mark", 1);
	want(st, "net/ipv6/conf/all/forwarding", 1);
	if (st->len)
		rc = state_save(st, state_path, err);
	for (size_t i = 0; rc == 0 && i < st->len; i++)
		sysctl_write(st->sw[i].name, st->sw[i].ours);
	free(st);
	if (rc == 0 && sysctl_read("net/ipv4/ip_forward") != 1)
		rc = io_fail(err, -EPERM, "net.ipv4.ip_forward cannot be set to 1");
	return rc;
}

int sysctl_loosen(const char *state_path, const char *ifname, struct io_err *err)
{
	struct state *st;
	char name[NAME_MAX_LEN];
	int rc = 0;

	snprintf(name, sizeof(name), "net/ipv4/conf/%.32s/rp_filter", ifname);
	/* The stricter of the two counts, but 2, loose, is the higher number. */
	if (sysctl_read(name) > 1 || sysctl_read("net/ipv4/conf/all/rp_filter") > 1 ||
	    (sysctl_read(name) < 1 && sysctl_read("net/ipv4/conf/all/rp_filter") < 1))
		return 0;
	st = calloc(1, sizeof(*st));
	if (!st)
		return io_fail(err, -ENOMEM, "no memory for %s", state_path);
	state_load(st, state_path);
	want(st, name, 2);
	rc = state_save(st, state_path, err);
	if (!rc)
		rc = sysctl_write(name, 2);
	free(st);
	return rc ? io_fail(err, rc, "%s: %s", name, strerror(-rc)) : 0;
}

int sysctl_restore(const char *state_path, struct io_err *err)
{
	struct state *st = calloc(1, sizeof(*st));
	int rc = 0;

	if (!st)
		return io_fail(err, -ENOMEM, "no memory for %s", state_path);
	state_load(st, state_path);
	for (size_t i = st->len; i-- > 0;) {
		const struct sw *sw = &st->sw[i];

		if (sysctl_read(sw->name) == sw->ours)
			sysctl_write(sw->name, sw->before);
	}
	free(st);
	if (unlink(state_path) < 0 && errno != ENOENT)
		rc = io_fail(err, -errno, "%s: %s", state_path, strerror(errno));
	return rc;
}
