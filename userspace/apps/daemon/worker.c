/* SPDX-License-Identifier: Apache-2.0
 *
 * The workers' life, and the control thread's side of them: the rings it empties, what it publishes
 * and takes back, what it says of them. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "apps/daemon/view_json.h"
#include "apps/daemon/worker.h"

#define TAKE_MAX     64	   /* records of a ring a turn of the loop takes */
#define CONTROL_NICE (-10) /* bulk never keeps timers and portal waiting */

/* ---- sections ---- */

/* Thread i of all: two of each worker. */
static struct haul *haul_of(const struct workers *ws, uint32_t i)
{
	struct worker *w = &ws->w[i / 2];

	return i % 2 ? &w->tx : &w->rx;
}

/* One after the other: what begins meanwhile sees what was written before, in the turn of its lock
 * or after it. */
static void quiesce(void *arg)
{
	struct workers *ws = arg;

	for (uint32_t i = 0; i < 2 * ws->n; i++) {
		pthread_rwlock_wrlock(&haul_of(ws, i)->section);
		pthread_rwlock_unlock(&haul_of(ws, i)->section);
	}
}

static void all_stop(struct workers *ws)
{
	for (uint32_t i = 0; i < 2 * ws->n; i++)
		pthread_rwlock_wrlock(&haul_of(ws, i)->section);
}

static void all_go_on(struct workers *ws)
{
	for (uint32_t i = 0; i < 2 * ws->n; i++)
		pthread_rwlock_unlock(&haul_of(ws, i)->section);
}

/* Whoever waits for the end of a section goes first, or under load it would wait for ever. */
static int sections_init(struct workers *ws)
{
	pthread_rwlockattr_t attr;
	int rc = pthread_rwlockattr_init(&attr);

	if (!rc)
		rc = pthread_rwlockattr_setkind_np(&attr,
						   PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (uint32_t i = 0; i < 2 * ws->n && !rc; i++)
		rc = pthread_rwlock_init(&haul_of(ws, i)->section, &attr);
	return rc;
}

/* ---- on a worker's thread ---- */

void haul_account(struct haul *h, uint64_t now)
{
	if (h->run && h->run_packets)
		fwd_flow_carried(h->run, &h->run_key, h->run_packets, h->run_bytes, now);
	h->run = NULL;
	h->run_packets = h->run_bytes = 0;
}

void haul_carried(struct haul *h, const struct fwd_fast *f, size_t packets, size_t bytes,
		  uint64_t now)
{
	if (h->run != f->e) {
		haul_account(h, now);
		h->run = f->e;
		h->run_key = f->in.key;
	}
	h->run_packets += packets;
	h->run_bytes += bytes;
}

static bool push(struct haul *h, const struct handover *o)
{
	uint8_t *to = spsc_reserve(&h->ring, sizeof(o->h) + TUN_HEADROOM + o->h.len + TUN_TAILROOM);

	if (!to)
		return false;
	memcpy(to, &o->h, sizeof(o->h));
	memcpy(to + sizeof(o->h) + TUN_HEADROOM, o->pkt, o->h.len);
	spsc_commit(&h->ring);
	return true;
}

void haul_push(struct haul *h)
{
	if (!h->n_wait)
		return;
	for (size_t i = 0; i < h->n_wait; i++)
		if (!push(h, &h->wait[i]))
			lane_count(&h->lane,
				   h->wait[i].h.kind == HAND_PACKET ? PS_R_UTX_QUEUE
								    : PS_R_URX_QUEUE,
				   h->wait[i].h.len);
	h->n_wait = 0;
	h->next = spsc_pushed(&h->ring);
	loop_wake_send(&h->all->d->workers_wake);
}

static bool is_idle(const struct haul *h)
{
	return !__atomic_load_n(&h->busy, __ATOMIC_SEQ_CST) &&
	       spsc_pushed(&h->ring) == spsc_popped(&h->ring);
}

static bool all_idle(const struct workers *ws)
{
	if (__atomic_load_n(&ws->control_busy, __ATOMIC_SEQ_CST))
		return false;
	for (uint32_t i = 0; i < 2 * ws->n; i++)
		if (!is_idle(haul_of(ws, i)))
			return false;
	return true;
}

/* Had the kernel passed a packet before `at`, it would lie in a descriptor, or its reader would
 * have been busy since before it took it out. So descriptors come before readers; these are asked
 * before as well because that is cheaper, and whoever is busy will ask again itself. */
static void say_drained(struct workers *ws)
{
	uint64_t at = loop_now(), *drained, said;

	if (!ws->d->bpf || ws->d->kernel_why[0] || !all_idle(ws) || poll(ws->fds, ws->n_fds, 0) ||
	    !all_idle(ws))
		return;
	drained = (uint64_t *)&bpf_load_tables(ws->d->bpf)->config->drained_ns;
	said = __atomic_load_n(drained, __ATOMIC_RELAXED);
	while (said < at && !__atomic_compare_exchange_n(drained, &said, at, false,
							 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
}

void haul_idle(struct haul *h)
{
	__atomic_store_n(&h->busy, 0, __ATOMIC_SEQ_CST);
	say_drained(h->all);
}

bool worker_has_channel(const struct workers *ws, const struct ps_channel_key *k)
{
	const struct worker_channels *c = &ws->channels;
	uint32_t hash = idx_hash(0, k, sizeof(*k)), pos = 0, i;

	while ((i = idx_next(&c->idx, hash, &pos)) != IDX_NONE)
		if (!memcmp(&c->key[i], k, sizeof(*k)))
			return true;
	return false;
}

/* ---- on the control thread: channels ---- */

static int channels_init(struct worker_channels *c, uint32_t cap)
{
	uint32_t cells = idx_cap_for(cap);

	c->cap = c->n_free = cap;
	c->key = calloc(cap, sizeof(*c->key));
	c->free = calloc(cap, sizeof(*c->free));
	c->cells = calloc(cells, sizeof(*c->cells));
	if (!c->key || !c->free || !c->cells)
		return -ENOMEM;
	for (uint32_t i = 0; i < cap; i++)
		c->free[i] = cap - 1 - i;
	idx_init(&c->idx, c->cells, cells);
	return 0;
}

static void channels_fini(struct worker_channels *c)
{
	free(c->key);
	free(c->free);
	free(c->cells);
}

static void channel_up(struct worker_channels *c, const struct ps_channel_key *k)
{
	uint32_t i;

	/* When it is full, the control thread takes them. */
	if (!c->n_free)
		return;
	i = c->free[--c->n_free];
	c->key[i] = *k;
	if (idx_insert(&c->idx, idx_hash(0, k, sizeof(*k)), i))
		c->n_free++;
}

static void channel_down(struct worker_channels *c, const struct ps_channel_key *k)
{
	uint32_t hash = idx_hash(0, k, sizeof(*k)), pos = 0, i;

	while ((i = idx_next(&c->idx, hash, &pos)) != IDX_NONE) {
		if (memcmp(&c->key[i], k, sizeof(*k)) != 0)
			continue;
		idx_remove(&c->idx, hash, i);
		c->free[c->n_free++] = i;
		return;
	}
}

void workers_channel(struct daemon *d, const struct ps_channel_key *k, bool up)
{
	struct workers *ws = d->workers;

	if (!ws)
		return;
	all_stop(ws);
	if (!up)
		channel_down(&ws->channels, k);
	else if (!worker_has_channel(ws, k))
		channel_up(&ws->channels, k);
	all_go_on(ws);
}

/* ---- on the control thread: what workers hand over ---- */

static void take_one(struct daemon *d, struct hand *r, uint64_t now)
{
	uint8_t *pkt = (uint8_t *)r + sizeof(*r) + TUN_HEADROOM;

	switch ((enum hand_kind)r->kind) {
	case HAND_DATAGRAM:
		data_take_datagram(d,
				   &(struct udp_dgram){.local = r->from.local,
						       .remote = r->from.remote,
						       .data = pkt,
						       .len = r->len,
						       .ifindex = r->from.ifindex,
						       .ecn = r->ecn,
						       .truncated = r->truncated},
				   now);
		break;
	case HAND_OPENED:
		data_take_opened(d,
				 &(struct fwd_opened){.slot = r->session.slot,
						      .idx = r->session.idx,
						      .peer = r->session.peer,
						      .inner = pkt,
						      .inner_len = r->len},
				 r->ecn, r->session.wire_len, now);
		break;
	case HAND_PACKET:
		data_take_packet(d, &(struct tun_pkt){.data = pkt, .len = r->len, .gso = r->gso},
				 now);
		break;
	}
}

/* True: there is more. What a record brought is written or sent when it is popped. */
static bool take(struct daemon *d, struct haul *h, uint64_t now)
{
	struct hand *r = NULL;
	size_t len;

	for (int i = 0; i < TAKE_MAX && !d->stopping; i++) {
		r = spsc_peek(&h->ring, &len);
		if (!r)
			return false;
		take_one(d, r, now);
		udp_flush(d->udp);
		spsc_pop(&h->ring);
	}
	return !d->stopping;
}

void workers_take(void *ctx, uint64_t now)
{
	struct daemon *d = ctx;
	struct workers *ws = d->workers;
	bool more = false;

	if (!ws)
		return;
	/* A data message that is handed over may follow a handshake that came to our own socket. */
	data_udp_readable(d, 4, now);
	data_udp_readable(d, 6, now);
	for (uint32_t i = 0; i < ws->n; i++) {
		more |= take(d, &ws->w[i].rx, now);
		more |= take(d, &ws->w[i].tx, now);
	}
	if (more)
		loop_wake_send(&d->workers_wake);
}

void workers_busy(struct daemon *d)
{
	if (d->workers)
		__atomic_store_n(&d->workers->control_busy, 1, __ATOMIC_SEQ_CST);
}

void workers_drained(struct daemon *d)
{
	__atomic_store_n(&d->workers->control_busy, 0, __ATOMIC_SEQ_CST);
	say_drained(d->workers);
}

/* ---- life ---- */

static int haul_init(struct haul *h, struct workers *ws, struct worker *w, const char *name,
		     void *(*main)(void *), size_t ring)
{
	h->all = ws;
	h->name = name;
	h->main = main;
	lane_init(&h->lane, &ws->d->fwd, w->tun, w->udp, h->reasons);
	h->ring_mem = aligned_alloc(64, ring);
	return h->ring_mem ? spsc_init(&h->ring, h->ring_mem, ring) : -ENOMEM;
}

static int worker_init(struct workers *ws, struct worker *w, struct io_err *err)
{
	int rc = udp_open_member(&w->udp, ws->d->udp, err);

	if (!rc)
		rc = tun_open_queue(&w->tun, ws->d->tun, err);
	if (rc)
		return rc;
	rc = haul_init(&w->rx, ws, w, "worker-rx", worker_rx_main, WORKER_RX_RING);
	if (!rc)
		rc = haul_init(&w->tx, ws, w, "worker-tx", worker_tx_main, WORKER_TX_RING);
	return rc ? io_fail(err, rc, "no memory") : 0;
}

static void *run_haul(void *arg)
{
	struct haul *h = arg;

	setpriority(PRIO_PROCESS, 0, 0); /* of this thread; not the control thread's */
	return h->main(h);
}

static int haul_start(struct haul *h)
{
	int rc = -pthread_create(&h->thread, NULL, run_haul, h);

	h->running = !rc;
	return rc;
}

static int start(struct workers *ws, struct io_err *err)
{
	sigset_t all, old;
	int rc = 0;

	/* signals are the control thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (uint32_t i = 0; i < ws->n && !rc; i++) {
		rc = haul_start(&ws->w[i].rx);
		if (!rc)
			rc = haul_start(&ws->w[i].tx);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? io_fail(err, rc, "no threads") : 0;
}

static void add_fd(struct workers *ws, int fd)
{
	if (fd >= 0)
		ws->fds[ws->n_fds++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static int list_fds(struct workers *ws)
{
	const struct daemon *d = ws->d;

	ws->fds = calloc(3 * ((size_t)ws->n + 1) + ws->n_xsk, sizeof(*ws->fds));
	if (!ws->fds)
		return -ENOMEM;
	add_fd(ws, tun_fd(d->tun));
	add_fd(ws, udp_fd(d->udp, 4));
	add_fd(ws, udp_fd(d->udp, 6));
	for (uint32_t i = 0; i < ws->n; i++) {
		add_fd(ws, tun_fd(ws->w[i].tun));
		add_fd(ws, udp_fd(ws->w[i].udp, 4));
		add_fd(ws, udp_fd(ws->w[i].udp, 6));
	}
	for (uint32_t i = 0; i < ws->n_xsk; i++)
		add_fd(ws, xsk_rx_fd(ws->xsk[i].rx));
	return 0;
}

static int open_all(struct workers *ws, struct io_err *err)
{
	struct daemon *d = ws->d;
	int rc = -sections_init(ws);

	if (!rc)
		rc = channels_init(&ws->channels, d->max_channels);
	if (!rc && (ws->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		rc = -errno;
	if (rc)
		return io_fail(err, rc, "no memory or files");
	rc = tun_steer(d->tun, ws->n, err);
	for (uint32_t i = 0; i < ws->n && !rc; i++)
		rc = worker_init(ws, &ws->w[i], err);
	if (!rc)
		workers_xsk_open(ws);
	if (!rc && list_fds(ws))
		rc = io_fail(err, -ENOMEM, "no memory");
	if (!rc)
		rc = udp_steer(d->udp, ws->n, err);
	if (rc)
		return rc;
	d->fwd.quiesce = quiesce;
	d->fwd.quiesce_arg = ws;
	return start(ws, err);
}

static bool wanted(struct daemon *d, const char **why)
{
	*why = "";
	if (!d->opt.workers)
		*why = "--workers=0";
	else if (!tun_multi(d->tun))
		*why = "the tunnel device has one queue";
	return !**why;
}

void workers_open(struct daemon *d)
{
	struct io_err err = {""};
	const char *why;

	if (!wanted(d, &why)) {
		snprintf(d->workers_why, sizeof(d->workers_why), "%s", why);
		return;
	}
	d->workers = calloc(1, sizeof(*d->workers));
	if (!d->workers)
		return;
	*d->workers = (struct workers){.d = d, .n = d->opt.workers, .stop_fd = -1};
	d->workers->w = aligned_alloc(64, d->workers->n * sizeof(struct worker));
	if (!d->workers->w) {
		free(d->workers);
		d->workers = NULL;
		return;
	}
	memset(d->workers->w, 0, d->workers->n * sizeof(struct worker));
	d->workers_why[0] = '\0';
	if (open_all(d->workers, &err)) {
		LOG_WARN("daemon", "no workers: the control thread carries everything",
			 LOG_STR("why", err.msg));
		snprintf(d->workers_why, sizeof(d->workers_why), "%s", err.msg);
		workers_close(d);
		return;
	}
	if (setpriority(PRIO_PROCESS, 0, CONTROL_NICE))
		LOG_DEBUG("daemon", "control thread keeps its priority", LOG_ERRNO("error", errno));
	LOG_INFO("daemon", "workers", LOG_U64("count", d->workers->n));
}

static void haul_fini(struct haul *h)
{
	if (h->running)
		pthread_join(h->thread, NULL);
	for (unsigned i = 0; h->all && i < PS_R_COUNT; i++) {
		h->all->d->reasons[i].packets += h->reasons[i].packets;
		h->all->d->reasons[i].bytes += h->reasons[i].bytes;
	}
}

static void worker_fini(struct worker *w)
{
	udp_close(w->udp);
	tun_close(w->tun);
	free(w->rx.ring_mem);
	free(w->tx.ring_mem);
}

void workers_close(struct daemon *d)
{
	struct workers *ws = d->workers;
	const uint64_t one = 1;
	struct io_err err;

	if (!ws)
		return;
	if (ws->stop_fd >= 0 && write(ws->stop_fd, &one, sizeof(one)) != sizeof(one))
		LOG_WARN("daemon", "workers were not told to stop");
	for (uint32_t i = 0; i < ws->n; i++) {
		haul_fini(&ws->w[i].rx);
		haul_fini(&ws->w[i].tx);
	}
	workers_xsk_close(ws);
	/* Queues are closed from the last one on: the kernel fills gaps. */
	tun_steer(d->tun, 0, &err);
	for (uint32_t i = ws->n; i--;)
		worker_fini(&ws->w[i]);
	d->fwd.quiesce = NULL;
	for (uint32_t i = 0; i < 2 * ws->n; i++)
		pthread_rwlock_destroy(&haul_of(ws, i)->section);
	if (ws->stop_fd >= 0)
		close(ws->stop_fd);
	channels_fini(&ws->channels);
	free(ws->fds);
	free(ws->w);
	free(ws);
	d->workers = NULL;
}

/* ---- what is said of them ---- */

static void add_reasons(struct ps_reason_count *sum, const struct haul *h)
{
	for (unsigned i = 0; i < PS_R_COUNT; i++) {
		sum[i].packets += PS_READ_ONCE(h->reasons[i].packets);
		sum[i].bytes += PS_READ_ONCE(h->reasons[i].bytes);
	}
}

void workers_reasons(const struct daemon *d, struct ps_reason_count *sum)
{
	for (uint32_t i = 0; d->workers && i < d->workers->n; i++) {
		add_reasons(sum, &d->workers->w[i].rx);
		add_reasons(sum, &d->workers->w[i].tx);
	}
}

void workers_tun_stats(const struct daemon *d, struct tun_stats *sum)
{
	for (uint32_t i = 0; d->workers && i < d->workers->n; i++)
		tun_stats_add(sum, d->workers->w[i].tun);
}

void workers_udp_stats(const struct daemon *d, struct udp_stats *sum)
{
	for (uint32_t i = 0; d->workers && i < d->workers->n; i++) {
		const struct udp_stats *s = udp_stats(d->workers->w[i].udp);

		sum->rx_merged += PS_READ_ONCE(s->rx_merged);
		sum->rx_segments += PS_READ_ONCE(s->rx_segments);
		sum->tx_merged += PS_READ_ONCE(s->tx_merged);
		sum->tx_segments += PS_READ_ONCE(s->tx_segments);
		sum->tx_fallbacks += PS_READ_ONCE(s->tx_fallbacks);
	}
}

static json_t *view_worker(const struct worker *w)
{
	const struct ps_reason_count *rx = w->rx.reasons, *tx = w->tx.reasons;
	json_t *o = json_object();

	put(o, "rx_packets", num(PS_READ_ONCE(rx[PS_R_URX_DELIVERED].packets)));
	put(o, "rx_handed_over", num(spsc_pushed(&w->rx.ring)));
	put(o, "rx_queue_full", num(PS_READ_ONCE(rx[PS_R_URX_QUEUE].packets)));
	put(o, "tx_packets", num(PS_READ_ONCE(tx[PS_R_UTX_SENT].packets)));
	put(o, "tx_handed_over", num(spsc_pushed(&w->tx.ring)));
	put(o, "tx_queue_full", num(PS_READ_ONCE(tx[PS_R_UTX_QUEUE].packets)));
	return o;
}

json_t *workers_view(const struct daemon *d)
{
	json_t *o = json_object(), *list = json_array();

	put(o, "count", num(d->workers ? d->workers->n : 0));
	put(o, "why", d->workers_why[0] ? json_string(d->workers_why) : json_null());
	for (uint32_t i = 0; d->workers && i < d->workers->n; i++)
		json_array_append_new(list, view_worker(&d->workers->w[i]));
	put(o, "each", list);
	return o;
}
