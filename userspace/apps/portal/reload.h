/* SPDX-License-Identifier: Apache-2.0
 *
 * Notices that the configuration file changed: watches its directory (editors replace files by
 * renaming), waits until it has been quiet for a moment, and looks whether the file is another one.
 */
#ifndef PENSTOCK_PORTAL_RELOAD_H
#define PENSTOCK_PORTAL_RELOAD_H
#include <stdbool.h>
#include <sys/stat.h>
#include <uv.h>

#define RELOAD_QUIET_MS 50
#define RELOAD_MAX_MS	200 /* …but not longer than this after the first sign */

struct reload {
	const char *path;
	uv_fs_event_t event;
	uv_timer_t timer;
	struct stat seen;
	uint64_t first_ms; /* 0: nothing is going on */
	void (*changed)(void *ctx);
	void *ctx;
	unsigned open; /* handles not closed yet */
};

/* 0 or a negative libuv error. path must outlive r. */
int reload_start(struct reload *r, uv_loop_t *loop, const char *path, void (*changed)(void *ctx),
		 void *ctx);
/* What is there now counts as known; call whenever the file was read. */
void reload_mark(struct reload *r);
void reload_stop(struct reload *r);
#endif
