/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending trains; the contract is in gso.h. A train is one sendmsg with UDP_SEGMENT; trains of one
 * socket that follow each other share a sendmmsg. */
#include "io/gso.h"
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

union gso_ctrl {
	struct cmsghdr align;
	uint8_t b[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) +
		  CMSG_SPACE(sizeof(uint16_t))];
};

struct train {
	struct gso_to to;
	uint32_t bytes;
	uint32_t seg; /* bytes of each datagram but the last */
	uint32_t n_seg, n_iov;
	bool has_hdr; /* each datagram is two pieces */
	bool closed;  /* a shorter one was last */
	struct iovec iov[2 * GSO_SEG_MAX];
	uint8_t hdr[GSO_SEG_MAX][GSO_HDR_LEN];
};

struct gso_tx {
	struct gso_stats stats;
	uint32_t n;
	uint16_t open[64]; /* last train of a key's hash, + 1 */
	struct mmsghdr msg[GSO_TRAINS_MAX];
	union sockaddr_any name[GSO_TRAINS_MAX];
	union gso_ctrl ctrl[GSO_TRAINS_MAX];
	struct train train[GSO_TRAINS_MAX];
};

struct gso_tx *gso_tx_new(void)
{
	return calloc(1, sizeof(struct gso_tx));
}

void gso_tx_free(struct gso_tx *tx)
{
	free(tx);
}

struct gso_stats *gso_tx_stats(struct gso_tx *tx)
{
	return &tx->stats;
}

/* ---- filling ---- */

static bool train_takes(const struct train *t, const struct gso_to *to, bool has_hdr, size_t len)
{
	return t->to.key == to->key && t->to.sock == to->sock && t->to.ecn == to->ecn &&
	       t->has_hdr == has_hdr && !t->closed && len && len <= t->seg &&
	       t->n_seg < GSO_SEG_MAX && t->bytes + len <= GSO_BYTES_MAX;
}

static struct train *train_new(struct gso_tx *tx, const struct gso_to *to, bool has_hdr, size_t len)
{
	struct train *t;

	if (tx->n == GSO_TRAINS_MAX)
		gso_flush(tx);
	t = &tx->train[tx->n++];
	t->to = *to;
	t->bytes = 0;
	t->seg = (uint32_t)len;
	t->n_seg = t->n_iov = 0;
	t->has_hdr = has_hdr;
	t->closed = false;
	tx->open[to->key % 64] = (uint16_t)tx->n;
	return t;
}

void gso_put(struct gso_tx *tx, const struct gso_to *to, const uint8_t *hdr, const void *data,
	     size_t len)
{
	size_t whole = len + (hdr ? GSO_HDR_LEN : 0);
	uint16_t open = tx->open[to->key % 64];
	struct train *t = NULL;

	if (open && open <= tx->n)
		t = &tx->train[open - 1];
	if (!t || !train_takes(t, to, hdr, whole))
		t = train_new(tx, to, hdr, whole);
	if (hdr) {
		memcpy(t->hdr[t->n_seg], hdr, GSO_HDR_LEN);
		t->iov[t->n_iov++] = (struct iovec){t->hdr[t->n_seg], GSO_HDR_LEN};
	}
	t->iov[t->n_iov++] = (struct iovec){(void *)(uintptr_t)data, len};
	t->n_seg++;
	t->bytes += (uint32_t)whole;
	t->closed = whole < t->seg || !whole;
}

/* ---- sending ---- */

static void ctrl_put(struct msghdr *h, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);

	memset(c, 0, CMSG_SPACE(len));
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	h->msg_controllen += CMSG_SPACE(len);
}

static void ctrl_write(struct msghdr *h, const struct gso_to *to, uint16_t seg)
{
	int tclass = to->ecn & 3;

	if (to->src.family == 4) {
		struct in_pktinfo info = {0};

		memcpy(&info.ipi_spec_dst, to->src.b, 4);
		ctrl_put(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (to->src.family == 6) {
		struct in6_pktinfo info = {0};

		memcpy(&info.ipi6_addr, to->src.b, 16);
		ctrl_put(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (tclass && to->dst.ip.family == 4)
		ctrl_put(h, IPPROTO_IP, IP_TOS, &tclass, sizeof(tclass));
	else if (tclass)
		ctrl_put(h, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
	if (seg)
		ctrl_put(h, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg));
}

static void msg_fill(struct gso_tx *tx, uint32_t at, const struct gso_to *to, struct iovec *iov,
		     size_t n_iov, uint16_t seg)
{
	struct msghdr *h = &tx->msg[at].msg_hdr;

	*h = (struct msghdr){.msg_name = &tx->name[at],
			     .msg_iov = iov,
			     .msg_iovlen = n_iov,
			     .msg_control = &tx->ctrl[at]};
	h->msg_namelen = sockaddr_from_endpoint(&to->dst, &tx->name[at]);
	ctrl_write(h, to, seg);
	if (!h->msg_controllen)
		h->msg_control = NULL;
}

static void sent(struct gso_tx *tx, uint64_t packets, uint64_t bytes)
{
	tx->stats.packets += packets;
	tx->stats.bytes += bytes;
}

static void lost(struct gso_tx *tx, uint64_t packets, int error)
{
	if (error == EAGAIN || error == ENOBUFS)
		tx->stats.blocked += packets;
	else
		tx->stats.failed += packets;
	tx->stats.last_errno = error;
}

/* The datagrams of a train one by one. */
static void send_singly(struct gso_tx *tx, struct train *t)
{
	uint32_t per = t->has_hdr ? 2 : 1, done = 0;
	struct mmsghdr single[GSO_SEG_MAX];

	msg_fill(tx, 0, &t->to, t->iov, per, 0);
	for (uint32_t i = 0; i < t->n_seg; i++) {
		single[i] = (struct mmsghdr){.msg_hdr = tx->msg[0].msg_hdr};
		single[i].msg_hdr.msg_iov = &t->iov[i * per];
	}
	while (done < t->n_seg) {
		int n = sendmmsg(t->to.sock->fd, single + done, t->n_seg - done,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		tx->stats.calls++;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			lost(tx, t->n_seg - done, EAGAIN);
			return;
		}
		if (n < 0) {
			lost(tx, 1, errno);
			done++;
			continue;
		}
		for (int i = 0; i < n; i++)
			sent(tx, 1, single[done + (uint32_t)i].msg_len);
		done += (uint32_t)n;
	}
}

/* What the first of the messages not yet sent failed with. */
static void failed(struct gso_tx *tx, struct train *t, int error)
{
	bool segmented = t->n_seg > 1;

	if (segmented &&
	    (error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP)) {
		/* EIO: this socket's device cannot; the others may be about this train alone */
		if (error == EIO || error == EOPNOTSUPP)
			t->to.sock->no_gso = true;
		tx->stats.fallbacks++;
		send_singly(tx, t);
	} else {
		lost(tx, t->n_seg, error);
	}
}

/* Trains [from, to) are of one socket that segments. */
static void send_run(struct gso_tx *tx, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		struct train *t = &tx->train[i];

		msg_fill(tx, i, &t->to, t->iov, t->n_iov, t->n_seg > 1 ? (uint16_t)t->seg : 0);
	}
	while (from < to) {
		int n = sendmmsg(tx->train[from].to.sock->fd, tx->msg + from, to - from,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		tx->stats.calls++;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			failed(tx, &tx->train[from++], errno);
			continue;
		}
		for (int i = 0; i < n; i++, from++)
			sent(tx, tx->train[from].n_seg, tx->train[from].bytes);
	}
}

void gso_flush(struct gso_tx *tx)
{
	uint32_t i = 0;

	while (i < tx->n) {
		struct gso_sock *s = tx->train[i].to.sock;
		uint32_t end = i + 1;

		if (s->no_gso && tx->train[i].n_seg > 1) {
			send_singly(tx, &tx->train[i]);
		} else {
			while (end < tx->n && tx->train[end].to.sock == s &&
			       !(s->no_gso && tx->train[end].n_seg > 1))
				end++;
			send_run(tx, i, end);
		}
		i = end;
	}
	tx->n = 0;
	memset(tx->open, 0, sizeof(tx->open));
}
