/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/reload.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

void reload_mark(struct reload *r)
{
	if (stat(r->path, &r->seen))
		memset(&r->seen, 0, sizeof(r->seen));
}

static void on_quiet(uv_timer_t *t)
{
	struct reload *r = t->data;
	struct stat now;

	r->first_ms = 0;
	/* Missing for a moment is part of being replaced; missing for good keeps the old one. */
	if (stat(r->path, &now) || same_file(&now, &r->seen))
		return;
	r->changed(r->ctx);
}

static void on_event(uv_fs_event_t *h, const char *filename, int events, int status)
{
	struct reload *r = h->data;
	uint64_t now = uv_now(h->loop), wait = RELOAD_QUIET_MS;

	(void)filename; /* links on the way to the file change under other names */
	(void)events;
	(void)status;
	if (!r->first_ms)
		r->first_ms = now ? now : 1;
	if (now - r->first_ms + wait > RELOAD_MAX_MS)
		wait = now - r->first_ms < RELOAD_MAX_MS ? RELOAD_MAX_MS - (now - r->first_ms) : 0;
	uv_timer_start(&r->timer, on_quiet, wait, 0);
}

int reload_start(struct reload *r, uv_loop_t *loop, const char *path, void (*changed)(void *ctx),
		 void *ctx)
{
	char dir[4200];
	int rc;

	*r = (struct reload){.path = path, .changed = changed, .ctx = ctx};
	snprintf(dir, sizeof(dir), "%s", path);
	reload_mark(r);
	uv_timer_init(loop, &r->timer);
	uv_fs_event_init(loop, &r->event);
	r->open = 2;
	r->timer.data = r->event.data = r;
	rc = uv_fs_event_start(&r->event, on_event, dirname(dir), 0);
	return rc;
}

static void on_closed(uv_handle_t *h)
{
	((struct reload *)h->data)->open--;
}

void reload_stop(struct reload *r)
{
	uv_close((uv_handle_t *)&r->timer, on_closed);
	uv_close((uv_handle_t *)&r->event, on_closed);
}
