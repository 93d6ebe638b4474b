/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket, its memory and rings, by libxdp; contract in xsk_rx.h. A frame is the kernel's from
 * the fill ring to the receive ring, ours from there until it is put into the fill ring again. */
#include "io/xsk_rx.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <xdp/xsk.h>

#define COMPLETION    64u /* of what is sent, which is nothing: the kernel wants a ring */
#define BUSY_TRIES    20
#define BUSY_PAUSE_MS 10

struct xsk_rx {
	struct xsk_rx_cfg cfg;
	struct xsk_umem *umem;
	struct xsk_socket *sock;
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completion, rx;
	uint8_t *area;
	bool zero_copy;
	struct udp_dgram dgram[UDP_RX_MAX];
	uint64_t frame[UDP_RX_MAX]; /* those handed out */
	size_t n;
	uint64_t packets, malformed;
};

/* ---- life ---- */

static void unbind(struct xsk_rx *x)
{
	if (x->sock)
		xsk_socket__delete(x->sock);
	if (x->umem)
		xsk_umem__delete(x->umem);
	x->sock = NULL;
	x->umem = NULL;
}

static void give(struct xsk_rx *x, const uint64_t *frame, uint32_t n)
{
	uint32_t at;

	/* The ring has room for all frames there are. */
	if (!n || xsk_ring_prod__reserve(&x->fill, n, &at) != n)
		return;
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&x->fill, at + i) = frame[i];
	xsk_ring_prod__submit(&x->fill, n);
}

static void give_all(struct xsk_rx *x)
{
	for (uint64_t i = 0; i < XSK_RX_FRAMES; i++) {
		uint64_t addr = i * XSK_RX_FRAME;

		give(x, &addr, 1);
	}
}

/* A refused socket leaves its memory registered, so each try begins anew. */
static int bind_as(struct xsk_rx *x, uint16_t flags)
{
	const struct xsk_umem_config mem = {
		.fill_size = XSK_RX_FRAMES, .comp_size = COMPLETION, .frame_size = XSK_RX_FRAME};
	const struct xsk_socket_config sock = {
		.rx_size = XSK_RX_RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = (uint16_t)(flags | XDP_USE_NEED_WAKEUP)};
	int rc = xsk_umem__create(&x->umem, x->area, XSK_RX_MEMORY, &x->fill, &x->completion, &mem);

	if (!rc)
		rc = xsk_socket__create(&x->sock, x->cfg.ifname, x->cfg.queue, x->umem, &x->rx,
					NULL, &sock);
	if (!rc)
		return 0;
	unbind(x);
	return rc;
}

static int bind_best(struct xsk_rx *x)
{
	struct xdp_options o = {0};
	socklen_t len = sizeof(o);
	int rc = x->cfg.copy_only ? -EOPNOTSUPP : bind_as(x, XDP_ZEROCOPY);

	if (rc)
		rc = bind_as(x, XDP_COPY);
	if (rc)
		return rc;
	x->zero_copy = !getsockopt(xsk_socket__fd(x->sock), SOL_XDP, XDP_OPTIONS, &o, &len) &&
		       o.flags & XDP_OPTIONS_ZEROCOPY;
	return 0;
}

/* The kernel lets go of a closed socket's queue a little later, in a work of its own; a daemon that
 * begins anew wants it at once. */
static int bind_patiently(struct xsk_rx *x)
{
	const struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000};
	int rc = bind_best(x);

	for (int i = 0; i < BUSY_TRIES && rc == -EBUSY; i++) {
		nanosleep(&pause, NULL);
		rc = bind_best(x);
	}
	return rc;
}

int xsk_rx_open(struct xsk_rx **out, const struct xsk_rx_cfg *cfg, struct io_err *err)
{
	struct xsk_rx *x = calloc(1, sizeof(*x));
	int rc;

	*out = NULL;
	if (!x)
		return io_fail(err, -ENOMEM, "no memory");
	x->cfg = *cfg;
	x->area = mmap(NULL, XSK_RX_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	if (x->area == MAP_FAILED) {
		free(x);
		return io_fail(err, -ENOMEM, "no memory");
	}
	rc = bind_patiently(x);
	if (rc) {
		xsk_rx_close(x);
		return io_fail(err, rc, "queue %u: %s", cfg->queue, strerror(-rc));
	}
	give_all(x);
	*out = x;
	return 0;
}

void xsk_rx_close(struct xsk_rx *x)
{
	if (!x)
		return;
	unbind(x);
	munmap(x->area, XSK_RX_MEMORY);
	free(x);
}

int xsk_rx_fd(const struct xsk_rx *x)
{
	return xsk_socket__fd(x->sock);
}

bool xsk_rx_zero_copy(const struct xsk_rx *x)
{
	return x->zero_copy;
}

/* ---- frames ---- */

bool xsk_rx_recv(struct xsk_rx *x, struct udp_dgram **out, size_t *n)
{
	uint32_t at = 0, got = xsk_ring_cons__peek(&x->rx, UDP_RX_MAX, &at);

	*out = x->dgram;
	*n = 0;
	x->n = got;
	for (uint32_t i = 0; i < got; i++) {
		const struct xdp_desc *d = xsk_ring_cons__rx_desc(&x->rx, at + i);
		struct udp_dgram *g = &x->dgram[*n];

		x->frame[i] = d->addr & ~(uint64_t)(XSK_RX_FRAME - 1);
		if (d->addr >= XSK_RX_MEMORY || d->len > x->frame[i] + XSK_RX_FRAME - d->addr ||
		    !xsk_frame_read(x->area + d->addr, d->len, x->cfg.port4, x->cfg.port6, g)) {
			x->malformed++;
			continue;
		}
		g->ifindex = x->cfg.ifindex;
		++*n;
	}
	if (got)
		xsk_ring_cons__release(&x->rx, got);
	x->packets += *n;
	return got > 0;
}

void xsk_rx_done(struct xsk_rx *x)
{
	give(x, x->frame, (uint32_t)x->n);
	x->n = 0;
}

void xsk_rx_stats(const struct xsk_rx *x, struct xsk_rx_stats *out)
{
	struct xdp_statistics s = {0};
	socklen_t len = sizeof(s);

	*out = (struct xsk_rx_stats){
		.packets = __atomic_load_n(&x->packets, __ATOMIC_RELAXED),
		.malformed = __atomic_load_n(&x->malformed, __ATOMIC_RELAXED),
	};
	if (!getsockopt(xsk_socket__fd(x->sock), SOL_XDP, XDP_STATISTICS, &s, &len))
		out->dropped = s.rx_dropped + s.rx_ring_full;
}
