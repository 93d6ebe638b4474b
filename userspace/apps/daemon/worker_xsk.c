/* SPDX-License-Identifier: Apache-2.0
 *
 * The workers' AF_XDP sockets: one for each receive queue of the interfaces of outer packets, dealt
 * out to the workers in turn, whose receiving threads read them beside their UDP sockets. A path is
 * one queue's as the card spreads them, so one thread's.
 *
 * Without a socket for a queue everything is as without AF_XDP, so nothing here is an error: what
 * could not be is said in status. */
#include <errno.h>
#include <stdlib.h>

#include "apps/daemon/view_json.h"
#include "apps/daemon/worker.h"
#include "io/nic.h"
#include "plan/steer.h"

static void say_why(struct daemon *d, size_t wan, const char *why)
{
	snprintf(d->xsk_why[wan], sizeof(d->xsk_why[wan]), "%s", why);
	LOG_WARN("kernel", "no AF_XDP sockets: the UDP sockets receive all",
		 LOG_STR("interface", d->wan_name[wan]), LOG_STR("why", why));
}

static void allow_rx(struct daemon *d, bool on)
{
	struct ps_config *c = bpf_load_tables(d->bpf)->config;
	uint32_t flags = PS_READ_ONCE(c->flags);

	PS_WRITE_ONCE(c->flags, on ? flags | PS_CFG_RX : flags & ~(uint32_t)PS_CFG_RX);
}

static int open_queue(struct workers *ws, size_t wan, uint32_t queue, struct io_err *err)
{
	struct daemon *d = ws->d;
	const struct xsk_rx_cfg cfg = {.ifname = d->wan_name[wan],
				       .ifindex = (uint32_t)d->wan_ifindex[wan],
				       .queue = queue,
				       .port4 = udp_port(d->udp, 4),
				       .port6 = udp_port(d->udp, 6),
				       .copy_only = d->opt.mode == OPT_MODE_KERNEL};
	struct worker_xsk *x = &ws->xsk[ws->n_xsk];
	int rc = xsk_rx_open(&x->rx, &cfg, err);

	if (rc)
		return rc;
	x->wan = wan;
	x->queue = queue;
	x->worker = ws->n_xsk % ws->n;
	ws->n_xsk++;
	rc = bpf_steer_socket(d->bpf, wan, queue, xsk_rx_fd(x->rx));
	return rc ? io_fail(err, rc, "queue %u: cannot be put into ps_xsk", queue) : 0;
}

static void close_last(struct workers *ws)
{
	struct worker_xsk *x = &ws->xsk[--ws->n_xsk];

	bpf_steer_socket(ws->d->bpf, x->wan, x->queue, -1);
	xsk_rx_close(x->rx);
}

/* All queues of the interface or none: a path may move between queues when they are set up anew. */
static void open_wan(struct workers *ws, size_t wan)
{
	const struct bpf_wan_info *w = &bpf_load_info(ws->d->bpf)->wan[wan];
	uint32_t before = ws->n_xsk, n;
	struct io_err err = {""};
	struct nic_queues q;

	nic_queues_read(w->ifname, &q);
	n = q.rx ? q.rx : 1;
	if (strcmp(w->xdp_mode, "native") != 0) {
		say_why(ws->d, wan, "xsk needs native XDP");
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (i < PS_XSK_QUEUES && !open_queue(ws, wan, i, &err))
			continue;
		while (ws->n_xsk > before)
			close_last(ws);
		say_why(ws->d, wan, err.msg[0] ? err.msg : "more receive queues than 64");
		return;
	}
}

/* Some drivers lose metadata in zero-copy mode. A decrypted packet would then enter the interface's
 * own receive path, so where one is in that mode the kernel decrypts nothing. */
static bool any_zero_copy(const struct workers *ws)
{
	for (uint32_t i = 0; i < ws->n_xsk; i++)
		if (xsk_rx_zero_copy(ws->xsk[i].rx))
			return true;
	return false;
}

void workers_xsk_open(struct workers *ws)
{
	struct daemon *d = ws->d;
	const struct bpf_load_info *info = d->bpf ? bpf_load_info(d->bpf) : NULL;
	bool rx = d->opt.mode != OPT_MODE_USER && !d->kernel_why[0];

	if (!info || !info->wan_len || info->wan[0].steer != BPF_STEER_XSK)
		return;
	ws->xsk = calloc(PS_XSK_WANS * PS_XSK_QUEUES, sizeof(*ws->xsk));
	if (!ws->xsk)
		return;
	allow_rx(d, false);
	for (size_t i = 0; i < info->wan_len; i++) {
		d->xsk_why[i][0] = '\0';
		open_wan(ws, i);
	}
	allow_rx(d, rx && !any_zero_copy(ws));
	if (ws->n_xsk)
		LOG_INFO("kernel", "AF_XDP sockets", LOG_U64("count", ws->n_xsk),
			 LOG_U64("zero_copy", any_zero_copy(ws)));
}

void workers_xsk_close(struct workers *ws)
{
	while (ws->n_xsk)
		close_last(ws);
	free(ws->xsk);
	ws->xsk = NULL;
}

json_t *workers_xsk_view(const struct daemon *d, size_t wan)
{
	const struct workers *ws = d->workers;
	uint64_t sockets = 0, packets = 0, malformed = 0, dropped = 0;
	bool zero_copy = true;

	for (uint32_t i = 0; ws && i < ws->n_xsk; i++) {
		struct xsk_rx_stats s;

		if (ws->xsk[i].wan != wan)
			continue;
		xsk_rx_stats(ws->xsk[i].rx, &s);
		zero_copy &= xsk_rx_zero_copy(ws->xsk[i].rx);
		sockets++;
		packets += s.packets;
		malformed += s.malformed;
		dropped += s.dropped;
	}
	if (!sockets)
		return json_null();
	return json_pack("{s:I,s:b,s:I,s:I,s:I,s:I}", "sockets", (json_int_t)sockets, "zero_copy",
			 (int)zero_copy, "packets", (json_int_t)packets, "malformed",
			 (json_int_t)malformed, "dropped", (json_int_t)dropped, "bytes",
			 (json_int_t)(sockets * XSK_RX_MEMORY));
}
