/* SPDX-License-Identifier: Apache-2.0
 *
 * The control thread's event loop: libuv with the four things a shell around sans-IO machines needs
 * — one clock, absolute deadlines, fd readiness, signals — and a hook that runs before each sleep,
 * where the shell drains machines and re-arms its deadline.
 *
 * All handles are embedded by the caller and must stay in place until loop_fini() returned or, when
 * stopped earlier, until the loop has turned once more; those of timers and descriptors only until
 * their own fini. Callbacks get `now` so that nobody reads a clock twice. Not thread safe except
 * loop_wake_send(). */
#ifndef PENSTOCK_IO_LOOP_H
#define PENSTOCK_IO_LOOP_H
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "base/time.h"

#define LOOP_READ  1u
#define LOOP_WRITE 2u
#define LOOP_ERROR 4u /* reported only: POLLERR or POLLHUP */

struct loop_fd;

struct loop {
	uv_loop_t uv;
	uv_timer_t cap;	     /* bounds loop_run_once() */
	struct loop_fd *fds; /* open ones */
};

/* CLOCK_MONOTONIC in ns: the clock of every machine, and what bpf_ktime_get_ns() reads. */
uint64_t loop_now(void);
/* CLOCK_REALTIME; only for expiries, TAI64N and log stamps. */
struct wall loop_wall(void);

int loop_init(struct loop *l); /* 0 or -errno */
/* Until loop_stop() or until nothing is left to wait for. */
void loop_run(struct loop *l);
/* One turn: waits for and handles what is due, at most wait_ns. For tests and shutdown. */
void loop_run_once(struct loop *l, uint64_t wait_ns);
void loop_stop(struct loop *l);
/* Closes every handle still open and waits for their close callbacks. */
void loop_fini(struct loop *l);

/* Level-triggered readiness of a non-blocking fd, which stays the caller's. The handle is on the
 * heap, for it outlives loop_fd_fini() by a turn: the struct may be initialised anew at once. A
 * zeroed one is valid: set and fini do nothing. */
struct loop_fd {
	uv_poll_t *poll; /* NULL: not open */
	struct loop *loop;
	struct loop_fd *next; /* of the loop's */
	unsigned int events;
	void (*cb)(void *ctx, unsigned int events, uint64_t now);
	void *ctx;
};
int loop_fd_init(struct loop_fd *f, struct loop *l, int fd, unsigned int events,
		 void (*cb)(void *ctx, unsigned int events, uint64_t now), void *ctx);
/* Change the events waited for; 0 pauses. Cheap when unchanged. An error on the fd (LOOP_ERROR)
 * pauses it as well, until the next call. */
int loop_fd_set(struct loop_fd *f, unsigned int events);
/* Call before closing the fd. */
void loop_fd_fini(struct loop_fd *f);

/* A one-shot absolute deadline with nanosecond resolution (timerfd). */
struct loop_timer {
	struct loop_fd io;
	int fd; /* -1: not open */
	uint64_t at;
	void (*cb)(void *ctx, uint64_t now);
	void *ctx;
};
int loop_timer_init(struct loop_timer *t, struct loop *l, void (*cb)(void *ctx, uint64_t now),
		    void *ctx);
/* Replaces the earlier deadline; TIME_NEVER disarms; the past fires at the next turn. Cheap when at
 * is unchanged. */
void loop_timer_arm(struct loop_timer *t, uint64_t at);
void loop_timer_fini(struct loop_timer *t);

struct loop_signal {
	uv_signal_t uv;
	void (*cb)(void *ctx, int signum, uint64_t now);
	void *ctx;
};
int loop_signal_init(struct loop_signal *s, struct loop *l, int signum,
		     void (*cb)(void *ctx, int signum, uint64_t now), void *ctx);
void loop_signal_fini(struct loop_signal *s);

/* Runs before each sleep, after all callbacks of the turn. Does not keep the loop alive. */
struct loop_hook {
	uv_prepare_t uv;
	void (*cb)(void *ctx, uint64_t now);
	void *ctx;
};
int loop_hook_init(struct loop_hook *h, struct loop *l, void (*cb)(void *ctx, uint64_t now),
		   void *ctx);
void loop_hook_fini(struct loop_hook *h);

/* Wake-up from another thread; several sends may become one callback. */
struct loop_wake {
	uv_async_t uv;
	void (*cb)(void *ctx, uint64_t now);
	void *ctx;
};
int loop_wake_init(struct loop_wake *w, struct loop *l, void (*cb)(void *ctx, uint64_t now),
		   void *ctx);
void loop_wake_send(struct loop_wake *w); /* any thread */
void loop_wake_fini(struct loop_wake *w);
#endif
