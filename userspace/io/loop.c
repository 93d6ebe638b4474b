/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t loop_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

struct wall loop_wall(void)
{
	uint64_t ns = clock_ns(CLOCK_REALTIME);

	return (struct wall){.sec = ns / NS_PER_SEC, .nsec = (uint32_t)(ns % NS_PER_SEC)};
}

static void on_cap(uv_timer_t *t)
{
	(void)t;
}

int loop_init(struct loop *l)
{
	int err = uv_loop_init(&l->uv); /* libuv returns -errno on Unix */

	l->fds = NULL;
	return err ? err : uv_timer_init(&l->uv, &l->cap);
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_run_once(struct loop *l, uint64_t wait_ns)
{
	uint64_t wait_ms = wait_ns / NS_PER_MS;

	if (!wait_ms) {
		uv_run(&l->uv, UV_RUN_NOWAIT);
		return;
	}
	/* Repeating: should it be due before the poll already, the poll still ends. */
	uv_update_time(&l->uv);
	uv_timer_start(&l->cap, on_cap, wait_ms, wait_ms);
	uv_run(&l->uv, UV_RUN_ONCE);
	uv_timer_stop(&l->cap);
}

void loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
}

static void close_walk(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

void loop_fini(struct loop *l)
{
	while (l->fds)
		loop_fd_fini(l->fds);
	uv_walk(&l->uv, close_walk, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_loop_close(&l->uv);
}

static void handle_close(uv_handle_t *h)
{
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

/* ---- descriptors ---- */

static void on_fd(uv_poll_t *p, int status, int uv_events)
{
	struct loop_fd *f = p->data;
	unsigned int events = 0;

	if (status < 0) { /* libuv has stopped polling it */
		events |= LOOP_ERROR | f->events;
		f->events = 0;
	}
	if (uv_events & UV_READABLE)
		events |= LOOP_READ;
	if (uv_events & UV_WRITABLE)
		events |= LOOP_WRITE;
	if (uv_events & UV_DISCONNECT)
		events |= LOOP_ERROR;
	f->cb(f->ctx, events, loop_now());
}

int loop_fd_init(struct loop_fd *f, struct loop *l, int fd, unsigned int events,
		 void (*cb)(void *ctx, unsigned int events, uint64_t now), void *ctx)
{
	int err;

	memset(f, 0, sizeof(*f));
	f->cb = cb;
	f->ctx = ctx;
	f->poll = malloc(sizeof(*f->poll));
	if (!f->poll)
		return -ENOMEM;
	err = uv_poll_init(&l->uv, f->poll, fd);
	if (err) {
		free(f->poll);
		f->poll = NULL;
		return err;
	}
	f->poll->data = f;
	f->loop = l;
	f->next = l->fds;
	l->fds = f;
	return loop_fd_set(f, events);
}

int loop_fd_set(struct loop_fd *f, unsigned int events)
{
	int want = 0;

	if (!f->poll || events == f->events)
		return 0;
	f->events = events;
	if (events & LOOP_READ)
		want |= UV_READABLE;
	if (events & LOOP_WRITE)
		want |= UV_WRITABLE;
	return want ? uv_poll_start(f->poll, want, on_fd) : uv_poll_stop(f->poll);
}

static void fd_closed(uv_handle_t *h)
{
	free(h);
}

void loop_fd_fini(struct loop_fd *f)
{
	struct loop_fd **at;

	if (!f->poll)
		return;
	for (at = &f->loop->fds; *at != f; at = &(*at)->next)
		;
	*at = f->next;
	uv_close((uv_handle_t *)f->poll, fd_closed);
	f->poll = NULL;
	f->events = 0;
}

/* ---- deadlines ---- */

static void on_timerfd(void *ctx, unsigned int events, uint64_t now)
{
	struct loop_timer *t = ctx;
	uint64_t expirations;

	(void)events;
	if (read(t->fd, &expirations, sizeof(expirations)) != (ssize_t)sizeof(expirations))
		return; /* re-armed since */
	t->at = TIME_NEVER;
	t->cb(t->ctx, now);
}

int loop_timer_init(struct loop_timer *t, struct loop *l, void (*cb)(void *ctx, uint64_t now),
		    void *ctx)
{
	int err;

	memset(t, 0, sizeof(*t));
	t->at = TIME_NEVER;
	t->cb = cb;
	t->ctx = ctx;
	t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (t->fd < 0)
		return -errno;
	err = loop_fd_init(&t->io, l, t->fd, LOOP_READ, on_timerfd, t);
	if (err) {
		loop_fd_fini(&t->io);
		close(t->fd);
		t->fd = -1;
	}
	return err;
}

void loop_timer_arm(struct loop_timer *t, uint64_t at)
{
	struct itimerspec its = {0};

	if (at == t->at)
		return;
	t->at = at;
	if (at != TIME_NEVER) {
		if (at == 0)
			at = 1; /* all zero would disarm */
		its.it_value.tv_sec = (time_t)(at / NS_PER_SEC);
		its.it_value.tv_nsec = (long)(at % NS_PER_SEC);
	}
	timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &its, NULL);
}

void loop_timer_fini(struct loop_timer *t)
{
	if (t->fd < 0)
		return;
	loop_fd_fini(&t->io);
	close(t->fd);
	t->fd = -1;
}

/* ---- signals, hooks, wake-ups ---- */

static void on_signal(uv_signal_t *uv, int signum)
{
	struct loop_signal *s = uv->data;

	s->cb(s->ctx, signum, loop_now());
}

int loop_signal_init(struct loop_signal *s, struct loop *l, int signum,
		     void (*cb)(void *ctx, int signum, uint64_t now), void *ctx)
{
	int err = uv_signal_init(&l->uv, &s->uv);

	if (err)
		return err;
	s->cb = cb;
	s->ctx = ctx;
	s->uv.data = s;
	return uv_signal_start(&s->uv, on_signal, signum);
}

void loop_signal_fini(struct loop_signal *s)
{
	handle_close((uv_handle_t *)&s->uv);
}

static void on_hook(uv_prepare_t *uv)
{
	struct loop_hook *h = uv->data;

	h->cb(h->ctx, loop_now());
}

int loop_hook_init(struct loop_hook *h, struct loop *l, void (*cb)(void *ctx, uint64_t now),
		   void *ctx)
{
	int err = uv_prepare_init(&l->uv, &h->uv);

	if (err)
		return err;
	h->cb = cb;
	h->ctx = ctx;
	h->uv.data = h;
	err = uv_prepare_start(&h->uv, on_hook);
	uv_unref((uv_handle_t *)&h->uv);
	return err;
}

void loop_hook_fini(struct loop_hook *h)
{
	handle_close((uv_handle_t *)&h->uv);
}

static void on_wake(uv_async_t *uv)
{
	struct loop_wake *w = uv->data;

	w->cb(w->ctx, loop_now());
}

int loop_wake_init(struct loop_wake *w, struct loop *l, void (*cb)(void *ctx, uint64_t now),
		   void *ctx)
{
	int err = uv_async_init(&l->uv, &w->uv, on_wake);

	if (err)
		return err;
	w->cb = cb;
	w->ctx = ctx;
	w->uv.data = w;
	return 0;
}

void loop_wake_send(struct loop_wake *w)
{
	uv_async_send(&w->uv);
}

void loop_wake_fini(struct loop_wake *w)
{
	handle_close((uv_handle_t *)&w->uv);
}
