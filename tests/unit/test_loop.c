/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop is the shell's clock, so this one test binary looks at real time, with generous bounds.
 */
#include "tests/t.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "io/loop.h"

static struct loop loop;
static struct loop_timer timer;
static int fired, hooks;
static uint64_t fired_at;

static void on_timer(void *ctx, uint64_t now)
{
	(void)ctx;
	fired++;
	fired_at = now;
	loop_stop(&loop);
}

static void on_hook(void *ctx, uint64_t now)
{
	(void)ctx;
	(void)now;
	hooks++;
}

static void test_timer(void)
{
	struct loop_hook hook;
	uint64_t at;

	T_EQ(loop_init(&loop), 0);
	T_EQ(loop_timer_init(&timer, &loop, on_timer, NULL), 0);
	T_EQ(loop_hook_init(&hook, &loop, on_hook, NULL), 0);
	at = loop_now() + 20 * NS_PER_MS;
	loop_timer_arm(&timer, at - 10 * NS_PER_MS);
	loop_timer_arm(&timer, at);
	loop_run(&loop);
	T_EQ(fired, 1);
	T(fired_at >= at);
	T(hooks > 0);
	loop_timer_arm(&timer, 0); /* the past */
	loop_run(&loop);
	T_EQ(fired, 2);
	loop_timer_arm(&timer, loop_now() + NS_PER_MS);
	loop_timer_arm(&timer, TIME_NEVER);
	loop_run_once(&loop, 20 * NS_PER_MS);
	T_EQ(fired, 2);
	loop_timer_fini(&timer);
	loop_fini(&loop);
}

/* What a module does that closes its timer and frees itself; the memory is somebody else's at once.
 */
static void test_timer_freed(void)
{
	static struct loop_timer memory;
	struct loop_timer *t = &memory;

	T_EQ(loop_init(&loop), 0);
	T_EQ(loop_timer_init(t, &loop, on_timer, NULL), 0);
	loop_timer_arm(t, 0);
	loop_timer_fini(t);
	memset(t, 0xa5, sizeof(*t));
	fired = 0;
	loop_run_once(&loop, 0);
	loop_run_once(&loop, 0);
	T_EQ(fired, 0);
	loop_fini(&loop);
}

static unsigned int seen;

static void on_fd(void *ctx, unsigned int events, uint64_t now)
{
	(void)ctx;
	(void)now;
	seen |= events;
	loop_stop(&loop);
}

static int got_signal;

static void on_signal(void *ctx, int signum, uint64_t now)
{
	(void)ctx;
	(void)now;
	got_signal = signum;
	loop_stop(&loop);
}

static void on_wake(void *ctx, uint64_t now)
{
	(void)now;
	(*(int *)ctx)++;
	loop_stop(&loop);
}

static void test_fd_signal_wake(void)
{
	struct loop_signal sig;
	struct loop_wake wake;
	struct loop_fd fd;
	int p[2], woken = 0;

	T_EQ(pipe(p), 0);
	T_EQ(loop_init(&loop), 0);
	T_EQ(loop_fd_init(&fd, &loop, p[0], LOOP_READ, on_fd, NULL), 0);
	loop_run_once(&loop, 0);
	T_EQ(seen, 0);
	T_EQ(write(p[1], "x", 1), 1);
	loop_run(&loop);
	T_EQ(seen, LOOP_READ);
	T_EQ(loop_fd_set(&fd, 0), 0);
	T_EQ(loop_signal_init(&sig, &loop, SIGUSR1, on_signal, NULL), 0);
	raise(SIGUSR1);
	loop_run(&loop);
	T_EQ(got_signal, SIGUSR1);
	T_EQ(loop_wake_init(&wake, &loop, on_wake, &woken), 0);
	loop_wake_send(&wake);
	loop_run(&loop);
	T_EQ(woken, 1);
	loop_fd_fini(&fd);
	loop_fini(&loop);
	close(p[0]);
	close(p[1]);
}

/* What a reset of the sockets does: the same struct watches another descriptor within one turn. */
static void test_fd_again(void)
{
	static struct loop_fd none;
	struct loop_fd fd;
	int p[2], q[2];

	seen = 0;
	T_EQ(pipe(p), 0);
	T_EQ(pipe(q), 0);
	T_EQ(loop_init(&loop), 0);
	T_EQ(loop_fd_init(&fd, &loop, p[0], LOOP_READ, on_fd, NULL), 0);
	T_EQ(write(p[1], "x", 1), 1);
	loop_fd_fini(&fd);
	T_EQ(loop_fd_init(&fd, &loop, q[0], LOOP_READ, on_fd, NULL), 0);
	loop_run_once(&loop, 0);
	loop_run_once(&loop, 0);
	T_EQ(seen, 0);
	T_EQ(write(q[1], "x", 1), 1);
	loop_run(&loop);
	T_EQ(seen, LOOP_READ);
	/* a family the machine lacks was never opened */
	T_EQ(loop_fd_set(&none, LOOP_READ), 0);
	loop_fd_fini(&none);
	/* fd is left open: loop_fini closes and frees it */
	loop_fini(&loop);
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
}

/* The descriptor of a device that goes reads as an error, and setting the events arms it again. */
static void test_fd_error(void)
{
	struct loop_fd fd;
	int p[2];

	seen = 0;
	T_EQ(pipe(p), 0);
	T_EQ(loop_init(&loop), 0);
	T_EQ(loop_fd_init(&fd, &loop, p[1], LOOP_WRITE, on_fd, NULL), 0);
	close(p[0]); /* POLLERR on the writing end */
	loop_run(&loop);
	T_EQ(!!(seen & LOOP_ERROR), 1);
	seen = 0;
	T_EQ(loop_fd_set(&fd, LOOP_WRITE), 0);
	loop_run(&loop);
	T_EQ(!!(seen & LOOP_ERROR), 1);
	loop_fd_fini(&fd);
	loop_fini(&loop);
	close(p[1]);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_timer);
	T_RUN(test_timer_freed);
	T_RUN(test_fd_signal_wake);
	T_RUN(test_fd_again);
	T_RUN(test_fd_error);
	return t_done();
}
