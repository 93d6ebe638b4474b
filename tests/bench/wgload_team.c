/* SPDX-License-Identifier: Apache-2.0
 *
 * Several senders that act as one: a process each, with a socket and sessions of its own, because a
 * gateway spreads its work by where packets come from. The first is the one that was started: it
 * says what is sent, counts what arrives, and judges; the others do their share and wait. All meet
 * at a barrier in shared memory. When one dies all do. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/wgload.h"

struct wgl_team {
	pthread_barrier_t all;
	uint32_t n;
	bool over;
	struct wgl_part part;
	struct wgl_sent sent[WGL_SENDERS_MAX];
};

static void on_child(int sig)
{
	static const char text[] = "h_wgload: a sender has ended\n";

	(void)sig;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(1);
}

static uint32_t fork_all(uint32_t n)
{
	const pid_t first = getpid();

	for (uint32_t i = 1; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			wgl_die("fork", errno);
		if (pid)
			continue;
		signal(SIGCHLD, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != first)
			_exit(1);
		return i;
	}
	return 0;
}

struct wgl_team *wgl_team_open(uint32_t n, uint32_t *sender)
{
	struct wgl_team *t;
	pthread_barrierattr_t attr;

	*sender = 0;
	if (n < 2)
		return NULL;
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		wgl_die("shared memory", errno);
	t->n = n;
	if (pthread_barrierattr_init(&attr) ||
	    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	    pthread_barrier_init(&t->all, &attr, n))
		wgl_die("barrier", EAGAIN);
	signal(SIGCHLD, on_child);
	*sender = fork_all(n);
	return t;
}

uint32_t wgl_team_size(const struct wgl_team *t)
{
	return t ? t->n : 1;
}

void wgl_team_meet(struct wgl_team *t)
{
	if (t)
		pthread_barrier_wait(&t->all);
}

void wgl_team_order(struct wgl_team *t, const struct wgl_part *p)
{
	if (t)
		t->part = *p;
	wgl_team_meet(t);
}

bool wgl_team_follow(struct wgl_team *t, struct wgl_part *p)
{
	wgl_team_meet(t);
	*p = t->part;
	return !t->over;
}

void wgl_team_sent(struct wgl_team *t, uint32_t sender, const struct wgl_sent *s)
{
	if (t)
		t->sent[sender] = *s;
	wgl_team_meet(t);
}

void wgl_team_sum(const struct wgl_team *t, struct wgl_sent *s)
{
	for (uint32_t i = 1; t && i < t->n; i++) {
		const struct wgl_sent *o = &t->sent[i];

		s->packets += o->packets;
		s->refused += o->refused;
		s->start_ns = o->start_ns < s->start_ns ? o->start_ns : s->start_ns;
		s->end_ns = o->end_ns > s->end_ns ? o->end_ns : s->end_ns;
	}
}

void wgl_team_close(struct wgl_team *t)
{
	if (!t)
		return;
	signal(SIGCHLD, SIG_DFL);
	t->over = true;
	wgl_team_meet(t);
	while (wait(NULL) > 0)
		;
	munmap(t, sizeof(*t));
}
