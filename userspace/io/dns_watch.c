/* SPDX-License-Identifier: Apache-2.0
 *
 * Three places are watched: the directory of the path (links and replacement), the file itself
 * (in-place writes, bind mounts) and, behind a link, the directory of what it points at. They are
 * set anew after every change, for each change may have moved them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "io/dns_internal.h"

#define GATHER_NS (50 * NS_PER_MS)
#define LOOK_NS	  (5 * NS_PER_SEC)
#define DIR_MASK  (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)
#define FILE_MASK (IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* The directory a path lies in, with the slash. */
static void dir_of(char dir[PATH_MAX], const char *path)
{
	const char *slash = strrchr(path, '/');

	snprintf(dir, PATH_MAX, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
}

/* What a link says, one step, for one that leads nowhere yet. */
static bool link_target(const char *path, char out[PATH_MAX])
{
	char to[PATH_MAX], dir[PATH_MAX];
	ssize_t n = readlink(path, to, sizeof(to) - 1);

	if (n <= 0)
		return false;
	to[n] = '\0';
	dir_of(dir, path);
	return snprintf(out, PATH_MAX, "%s%s", to[0] == '/' ? "" : dir, to) < PATH_MAX;
}

/* False when a change could go unnoticed. */
static bool place(struct dns_watch *w)
{
	char dir[PATH_MAX], real[PATH_MAX];
	bool dir_ok, file_ok;

	dir_of(dir, w->path);
	dir_ok = inotify_add_watch(w->fd, dir, DIR_MASK) >= 0;
	file_ok = inotify_add_watch(w->fd, w->path, FILE_MASK) >= 0;
	if (realpath(w->path, real) || link_target(w->path, real)) {
		dir_of(dir, real);
		dir_ok = inotify_add_watch(w->fd, dir, DIR_MASK) >= 0 && dir_ok;
	}
	return dir_ok && (file_ok || access(w->path, F_OK) != 0);
}

static void on_time(void *ctx, uint64_t now)
{
	struct dns_watch *w = ctx;

	w->dirty = false;
	loop_timer_arm(&w->timer, w->fd >= 0 && place(w) ? TIME_NEVER : now + LOOK_NS);
	w->cb(w->ctx, now);
}

static void on_event(void *ctx, unsigned int events, uint64_t now)
{
	struct dns_watch *w = ctx;
	char buf[4096] __attribute__((aligned(8)));

	(void)events;
	while (read(w->fd, buf, sizeof(buf)) > 0)
		;
	if (!w->dirty)
		loop_timer_arm(&w->timer, now + GATHER_NS);
	w->dirty = true;
	loop_fd_set(&w->io, LOOP_READ);
}

int dns_watch_init(struct dns_watch *w, struct loop *l, const char *path,
		   void (*cb)(void *ctx, uint64_t now), void *ctx)
{
	int rc;

	memset(w, 0, sizeof(*w));
	w->cb = cb;
	w->ctx = ctx;
	snprintf(w->path, sizeof(w->path), "%s", path);
	rc = loop_timer_init(&w->timer, l, on_time, w);
	if (rc < 0) {
		w->cb = NULL;
		return rc;
	}
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd >= 0 && loop_fd_init(&w->io, l, w->fd, LOOP_READ, on_event, w) < 0) {
		close(w->fd);
		w->fd = -1;
	}
	if (w->fd < 0 || !place(w))
		loop_timer_arm(&w->timer, loop_now() + LOOK_NS);
	return 0;
}

void dns_watch_fini(struct dns_watch *w)
{
	if (!w->cb)
		return;
	loop_fd_fini(&w->io);
	loop_timer_fini(&w->timer);
	if (w->fd >= 0)
		close(w->fd);
	w->cb = NULL;
}
