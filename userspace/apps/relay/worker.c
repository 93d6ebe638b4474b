/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker thread: waits for any of its sockets and gives each ready one a bounded turn. epoll is
 * level triggered and hands out ready sockets in rotation, so that no allocation starves another.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "apps/relay/app.h"
#include "io/entropy.h"

#define EVENTS_MAX 64

/* listen:1 | family:1 | generation:30 | allocation:32 */
uint64_t worker_tag(bool listen, unsigned fam, uint32_t alloc, uint32_t generation)
{
	return (uint64_t)listen << 63 | (uint64_t)(fam & 1) << 62 |
	       (uint64_t)(generation & 0x3fffffff) << 32 | alloc;
}

static void turn(struct worker *w, uint64_t tag, uint64_t now)
{
	struct app *a = w->app;
	unsigned fam = tag >> 62 & 1;
	uint32_t alloc = (uint32_t)tag;

	pthread_rwlock_rdlock(&a->lock);
	if (tag >> 63)
		data_listen_turn(w, fam, now);
	else if ((a->allocs[alloc].generation & 0x3fffffff) == (tag >> 32 & 0x3fffffff))
		data_alloc_turn(w, alloc, fam, now);
	pthread_rwlock_unlock(&a->lock);
	if (w->wake)
		loop_wake_send(&a->wake);
	w->wake = false;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct epoll_event ev[EVENTS_MAX];

	prctl(PR_SET_NAME, "relay-worker");
	for (;;) {
		int n = epoll_wait(w->epoll, ev, EVENTS_MAX, -1);

		if (n < 0 && errno != EINTR)
			return NULL;
		for (int i = 0; i < n; i++) {
			if (ev[i].data.u64 == TAG_STOP)
				return NULL;
			turn(w, ev[i].data.u64, loop_now());
		}
	}
}

int worker_init(struct worker *w, struct app *a, uint32_t index, struct io_err *err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = TAG_STOP};
	uint64_t seed;

	*w = (struct worker){.app = a, .index = index, .listen = {{.fd = -1}, {.fd = -1}}};
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->rx = gro_rx_new();
	w->tx = gso_tx_new();
	w->reply = calloc(REPLIES_MAX, sizeof(*w->reply));
	w->ring_mem = malloc(RING_CAP);
	w->binds = calloc(a->n_bind_cap, sizeof(*w->binds));
	if (w->epoll < 0 || w->stop_fd < 0 || !w->rx || !w->tx || !w->reply || !w->ring_mem ||
	    !w->binds || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->stop_fd, &ev))
		return io_fail(err, -ENOMEM, "no memory or files for worker %u", index);
	byte_ring_init(&w->ring, w->ring_mem, RING_CAP);
	if (entropy_get(&seed, sizeof(seed)))
		return io_fail(err, -EIO, "no entropy");
	relay_gate_init(&w->gate, seed, loop_now());
	return socks_listen(a, w, err);
}

int worker_start(struct worker *w)
{
	sigset_t all, old;
	int rc;

	/* signals are the control thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->running = !rc;
	return rc;
}

void worker_stop(struct worker *w)
{
	const uint64_t one = 1;

	if (!w->running)
		return;
	if (write(w->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(w->thread, NULL);
	w->running = false;
}

void worker_fini(struct worker *w)
{
	gso_sock_close(&w->listen[FAM4]);
	gso_sock_close(&w->listen[FAM6]);
	if (w->epoll >= 0)
		close(w->epoll);
	if (w->stop_fd >= 0)
		close(w->stop_fd);
	gro_rx_free(w->rx);
	gso_tx_free(w->tx);
	free(w->reply);
	free(w->ring_mem);
	free(w->binds);
}
