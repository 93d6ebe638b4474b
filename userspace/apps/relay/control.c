/* SPDX-License-Identifier: Apache-2.0
 *
 * The control thread's side: requests out of the workers' rings into the machine, its events into
 * sockets and the kernel's tables, then its answers. An answer leaves when everything it promises
 * is in place. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/relay/app.h"

#define EVENTS_TURN 64
#define TURNS_MAX   16 /* rounds over the rings before the loop goes on */
#define PORTS_TRIED 16 /* for one request, before it is told that there is none */

/* ---- events ---- */

/* Allocations whose port is not to be had; the machine is told when its events are through. */
struct refused {
	uint32_t n;
	uint32_t alloc[EVENTS_TURN];
};

static void apply(struct app *a, const struct relay_event *ev, struct refused *refused)
{
	switch (ev->kind) {
	case RELAY_EV_ALLOC_ADD:
		if (!socks_alloc_add(a, ev->alloc, ev->port, ev->families))
			refused->alloc[refused->n++] = ev->alloc;
		xdp_event(a, ev);
		break;
	case RELAY_EV_ALLOC_DEL:
		xdp_event(a, ev);
		socks_alloc_del(a, ev->alloc);
		break;
	case RELAY_EV_BIND_ADD:
	case RELAY_EV_BIND_DEL:
		xdp_event(a, ev);
		break;
	}
}

/* The next binding that gets this index counts from zero. No worker counts meanwhile. */
static void forget_counts(struct app *a, uint32_t bind)
{
	for (uint32_t i = 0; i < a->n_workers; i++)
		a->workers[i].binds[bind] = (struct bind_count){0};
}

static uint32_t take_events(struct app *a, struct relay_event *ev)
{
	uint32_t n = 0;

	pthread_rwlock_wrlock(&a->lock);
	while (n < EVENTS_TURN && relay_poll_event(&a->relay, &ev[n])) {
		if (ev[n].kind == RELAY_EV_BIND_DEL)
			forget_counts(a, ev[n].bind);
		n++;
	}
	pthread_rwlock_unlock(&a->lock);
	return n;
}

static void close_alloc(struct app *a, uint32_t alloc, uint64_t now)
{
	pthread_rwlock_wrlock(&a->lock);
	relay_close(&a->relay, alloc, now);
	pthread_rwlock_unlock(&a->lock);
	a->bind_failed++;
}

/* True: an allocation was taken back, so the answer in waiting is not true. */
static bool drain_events(struct app *a, uint64_t now)
{
	static struct relay_event ev[EVENTS_TURN];
	struct refused refused = {.n = 0};
	bool took_back = false;
	uint32_t n;

	do {
		n = take_events(a, ev);
		for (uint32_t i = 0; i < n; i++)
			apply(a, &ev[i], &refused);
		if (n < EVENTS_TURN && refused.n) {
			close_alloc(a, refused.alloc[--refused.n], now);
			took_back = true;
			n = EVENTS_TURN; /* its events are next */
		}
	} while (n == EVENTS_TURN);
	return took_back;
}

/* ---- answers ---- */

static void send_tx(struct app *a, const struct relay_tx *tx)
{
	unsigned fam = tx->dst.ip.family == 6;
	struct gso_to to = {.dst = tx->dst};

	if (tx->to == RELAY_TO_CLIENT) {
		to.sock = &a->out[fam];
		to.src = tx->local.ip;
	} else {
		to.sock = &a->allocs[tx->alloc].sock[fam];
	}
	if (to.sock->fd < 0)
		return;
	gso_put(a->tx, &to, NULL, tx->buf, tx->len);
	gso_flush(a->tx);
}

/* True as drain_events; then nothing was answered. */
static bool drain(struct app *a, uint64_t now)
{
	static struct relay_tx tx;
	bool took_back = drain_events(a, now);

	while (relay_poll_tx(&a->relay, &tx)) {
		if (took_back)
			continue;
		if (tx.alloc != RELAY_NONE)
			xdp_alloc_changed(a, tx.alloc);
		if (tx.len || tx.empty)
			send_tx(a, &tx);
	}
	return took_back;
}

/* ---- entry points ---- */

/* True: the allocation that was made had to be taken back. */
static bool input(struct app *a, const struct relay_dgram *in, uint64_t now)
{
	pthread_rwlock_wrlock(&a->lock);
	relay_input(&a->relay, in, (uint64_t)time(NULL), now);
	pthread_rwlock_unlock(&a->lock);
	return drain(a, now);
}

static void handle(struct app *a, const uint8_t *record, uint32_t len, uint64_t now)
{
	struct request head;
	struct relay_dgram in;

	memcpy(&head, record, sizeof(head));
	in = (struct relay_dgram){.local = head.local,
				  .client = head.client,
				  .data = record + sizeof(head),
				  .len = len - sizeof(head)};
	/* Another process has the port: the next try draws another one. */
	for (int i = 0; i < PORTS_TRIED; i++)
		if (!input(a, &in, now))
			return;
	/* Or no socket can be had at all. Who hears nothing takes us for dead. */
	pthread_rwlock_wrlock(&a->lock);
	relay_drain(&a->relay, true);
	pthread_rwlock_unlock(&a->lock);
	input(a, &in, now);
	pthread_rwlock_wrlock(&a->lock);
	relay_drain(&a->relay, a->draining);
	pthread_rwlock_unlock(&a->lock);
}

static bool ring_turn(struct app *a, struct worker *w, uint64_t now)
{
	const uint8_t *record;
	uint32_t len, n = 0;

	a->asked = w->index;
	while (n < RING_TURN && (record = byte_ring_peek(&w->ring, &len))) {
		handle(a, record, len, now);
		byte_ring_pop(&w->ring);
		n++;
	}
	return n == RING_TURN;
}

void control_wake(void *ctx, uint64_t now)
{
	struct app *a = ctx;
	bool more = true;

	for (int i = 0; more && i < TURNS_MAX; i++) {
		more = false;
		for (uint32_t k = 0; k < a->n_workers; k++)
			more |= ring_turn(a, &a->workers[k], now);
	}
	if (more)
		loop_wake_send(&a->wake);
}

void control_timeout(struct app *a, uint64_t now)
{
	while (time_reached(relay_deadline(&a->relay).at, now)) {
		pthread_rwlock_wrlock(&a->lock);
		relay_timeout(&a->relay, now);
		pthread_rwlock_unlock(&a->lock);
		drain(a, now);
	}
}
