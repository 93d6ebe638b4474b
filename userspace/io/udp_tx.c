/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending datagrams; the contract is in udp.h. A send queue is an array filled from the front; a
 * flush sends from `head`, and a queue that could not be emptied keeps the rest in place until it
 * can, so no datagram is ever copied or reordered inside it. Neighbours that can be one message
 * share it: their vectors lie side by side. */
#include <errno.h>
#include <string.h>
#include "io/udp_internal.h"

/* A merged message: the kernel's limit of segments (64 before Linux 6.9), and a length that with
 * all its headers stays below 64 KiB, above which it is cut up before it reaches the device. */
#define SEGS_MAX      64
#define SEG_BYTES_MAX 65400

void udp_tx_init(struct udp_sock *s)
{
	for (size_t i = 0; i < UDP_QUEUE_CAP; i++)
		s->tx_iov[i] = (struct iovec){s->tx_buf + i * UDP_BUF_LEN, 0};
	udp_tx_reset(s);
}

void udp_tx_reset(struct udp_sock *s)
{
	s->head = s->tail = s->single = 0;
}

static void ctrl_put(struct msghdr *h, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	h->msg_controllen += CMSG_SPACE(len);
}

static void ctrl_write(struct msghdr *h, const struct udp_out *o, uint16_t seg)
{
	int tclass = o->ecn & 3;

	if (o->src.family == 4) {
		struct in_pktinfo info = {0};

		memcpy(&info.ipi_spec_dst, o->src.b, 4);
		ctrl_put(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (o->src.family == 6) {
		struct in6_pktinfo info = {0};

		memcpy(&info.ipi6_addr, o->src.b, 16);
		ctrl_put(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (tclass && o->remote.ip.family == 4)
		ctrl_put(h, IPPROTO_IP, IP_TOS, &tclass, sizeof(tclass));
	else if (tclass)
		ctrl_put(h, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
	if (seg)
		ctrl_put(h, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg));
}

static bool same_way(const struct udp_out *a, const struct udp_out *b)
{
	return a->ecn == b->ecn && endpoint_eq(&a->remote, &b->remote) &&
	       ipaddr_eq(&a->src, &b->src);
}

/* How many datagrams from `at` on are one message. */
static size_t run_len(const struct udp_sock *s, size_t at)
{
	size_t seg = s->tx_iov[at].iov_len, bytes = seg, n = 1;

	if (!s->gso || at < s->single || !seg)
		return 1;
	for (; at + n < s->tail && n < SEGS_MAX; n++) {
		size_t len = s->tx_iov[at + n].iov_len;

		/* a shorter one is the last; an empty one would vanish */
		if (s->tx_iov[at + n - 1].iov_len < seg || !len || len > seg ||
		    bytes + len > SEG_BYTES_MAX || !same_way(&s->out[at], &s->out[at + n]))
			break;
		bytes += len;
	}
	return n;
}

static unsigned tx_prepare(struct udp_sock *s)
{
	unsigned m = 0;

	for (size_t at = s->head; at < s->tail && m < UDP_BATCH; m++) {
		const struct udp_out *o = &s->out[at];
		struct msghdr *h = &s->tx_hdr[m].msg_hdr;
		size_t n = run_len(s, at);

		memset(&s->tx_ctrl[m], 0, sizeof(s->tx_ctrl[m]));
		*h = (struct msghdr){.msg_name = &s->tx_name[m],
				     .msg_iov = &s->tx_iov[at],
				     .msg_iovlen = n,
				     .msg_control = &s->tx_ctrl[m]};
		h->msg_namelen = sockaddr_from_endpoint(&o->remote, &s->tx_name[m]);
		ctrl_write(h, o, n > 1 ? (uint16_t)s->tx_iov[at].iov_len : 0);
		if (!h->msg_controllen)
			h->msg_control = NULL;
		s->tx_count[m] = (uint16_t)n;
		at += n;
	}
	return m;
}

static void error_count(struct udp_stats *st, int e, uint64_t n)
{
	st->tx_last_errno = e;
	switch (e) {
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
		st->tx_unreachable += n;
		break;
	case EINVAL:
		st->tx_source_gone += n;
		break;
	case EPERM:
	case EACCES:
		st->tx_permission += n;
		break;
	case ENOBUFS: /* waiting would not help: the descriptor stays writable */
		st->tx_full += n;
		break;
	case EMSGSIZE:
		st->tx_too_big += n;
		break;
	default:
		st->tx_other += n;
	}
}

/* May the datagrams of a merged message pass singly where it failed with e? The kernel
 * (before 6.11, for a device without checksum offload; ever, under IPsec) or the device refuses it;
 * it does not fit the device's MTU and its last, shorter one might; a firewall goes by lengths. */
static bool singly_may_pass(int e)
{
	return e == EIO || e == EOPNOTSUPP || e == EINVAL || e == EMSGSIZE || e == EPERM ||
	       e == EACCES;
}

/* The first message of a sendmmsg failed. */
static void tx_refused(struct udp *u, struct udp_sock *s, int e)
{
	size_t n = s->tx_count[0];

	if (n > 1 && singly_may_pass(e)) {
		u->stats.tx_fallbacks++;
		s->single = s->head + n;
		if (e == EIO || e == EOPNOTSUPP)
			s->gso = false;
		return;
	}
	error_count(&u->stats, e, n);
	s->head += n;
}

/* The first m messages of a sendmmsg are gone. */
static void tx_gone(struct udp *u, struct udp_sock *s, unsigned m)
{
	for (unsigned i = 0; i < m; i++) {
		size_t n = s->tx_count[i];

		for (size_t k = 0; k < n; k++)
			u->stats.tx_bytes += s->tx_iov[s->head + k].iov_len;
		u->stats.tx_packets += n;
		if (n > 1) {
			u->stats.tx_merged++;
			u->stats.tx_segments += n;
		}
		s->head += n;
	}
}

/* sendmmsg stops at the first message that fails and says why only when it is the first of a call:
 * it is counted and passed over, or split, and the rest is tried again. */
static void sock_flush(struct udp *u, struct udp_sock *s)
{
	while (s->head < s->tail) {
		unsigned m = tx_prepare(s);
		int sent = sendmmsg(s->fd, s->tx_hdr, m, MSG_DONTWAIT | MSG_NOSIGNAL);

		u->stats.tx_calls++;
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent < 0)
			tx_refused(u, s, errno);
		else
			tx_gone(u, s, (unsigned)sent);
	}
	udp_tx_reset(s);
}

void udp_flush(struct udp *u)
{
	sock_flush(u, &u->s[0]);
	sock_flush(u, &u->s[1]);
}

size_t udp_pending(const struct udp *u, int family)
{
	const struct udp_sock *s = udp_sock_of_const(u, family);

	return s->tail - s->head;
}

size_t udp_room(struct udp *u, int family, size_t want)
{
	struct udp_sock *s = udp_sock_of(u, family);
	size_t room;

	if (s->fd < 0) {
		u->stats.tx_no_family++;
		return 0;
	}
	if (UDP_QUEUE_CAP - s->tail < want)
		sock_flush(u, s);
	room = UDP_QUEUE_CAP - s->tail;
	if (!room)
		u->stats.tx_full++;
	return room < want ? room : want;
}

uint8_t *udp_room_at(struct udp *u, int family, size_t i)
{
	struct udp_sock *s = udp_sock_of(u, family);

	return s->tx_iov[s->tail + i].iov_base;
}

uint8_t *udp_reserve(struct udp *u, int family)
{
	return udp_room(u, family, 1) ? udp_room_at(u, family, 0) : NULL;
}

void udp_commit(struct udp *u, const struct ipaddr *src, const struct endpoint *remote, uint8_t ecn,
		size_t len)
{
	struct udp_sock *s = udp_sock_of(u, remote->ip.family);
	struct udp_out *o = &s->out[s->tail];

	*o = (struct udp_out){.remote = *remote, .ecn = ecn & 3};
	if (src && src->family == remote->ip.family)
		o->src = *src;
	s->tx_iov[s->tail++].iov_len = len;
}

int udp_send(struct udp *u, const struct ipaddr *src, const struct endpoint *remote, uint8_t ecn,
	     const void *data, size_t len)
{
	uint8_t *to;

	if (len > UDP_BUF_LEN)
		return -EMSGSIZE;
	to = udp_reserve(u, remote->ip.family);
	if (!to)
		return udp_fd(u, remote->ip.family) < 0 ? -EAFNOSUPPORT : -EAGAIN;
	if (len)
		memcpy(to, data, len);
	udp_commit(u, src, remote, ecn, len);
	return 0;
}
