/* SPDX-License-Identifier: Apache-2.0
 *
 * Two sockets, each with its receive buffers and its send queue. A send queue is an array filled
 * from the front; a flush sends from `head`, and a queue that could not be emptied keeps the rest
 * in place until it can, so no datagram is ever copied or reordered inside it. */
#include "io/udp.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "io/sockaddr.h"

#define RCVBUF_DEFAULT (16u << 20)
#define SNDBUF_DEFAULT (2u << 20)

/* Room for PKTINFO of either family and the traffic class, received or sent. */
union ctrl_buf {
	struct cmsghdr align;
	uint8_t b[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

struct out_dgram {
	struct endpoint remote;
	struct ipaddr src;
	size_t len;
	uint8_t ecn;
};

struct sock {
	int fd;
	int family;  /* 4 or 6 */
	int missing; /* why fd is -1 */
	uint16_t port;
	uint32_t rcvbuf, sndbuf; /* granted */
	/* receive */
	struct mmsghdr rx_hdr[UDP_BATCH];
	struct iovec rx_iov[UDP_BATCH];
	union sockaddr_any rx_name[UDP_BATCH];
	union ctrl_buf rx_ctrl[UDP_BATCH];
	struct udp_dgram rx_dgram[UDP_BATCH];
	uint8_t rx_buf[UDP_BATCH][UDP_BUF_LEN];
	/* send: out[head..tail) waits */
	size_t head, tail;
	struct mmsghdr tx_hdr[UDP_BATCH];
	struct iovec tx_iov[UDP_BATCH];
	union sockaddr_any tx_name[UDP_BATCH];
	union ctrl_buf tx_ctrl[UDP_BATCH];
	struct out_dgram out[UDP_QUEUE_CAP];
	uint8_t tx_buf[UDP_QUEUE_CAP][UDP_BUF_LEN];
};

struct udp {
	struct udp_cfg cfg;
	struct udp_stats stats;
	struct sock s[2]; /* IPv4, IPv6 */
};

static struct sock *sock_of(struct udp *u, int family)
{
	return &u->s[family == 6];
}

static const struct sock *sock_of_const(const struct udp *u, int family)
{
	return &u->s[family == 6];
}

static int opt_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* The *FORCE form passes the system's limit and needs CAP_NET_ADMIN; without it, what the limit
 * allows. */
static uint32_t buffer_set(int fd, int force, int plain, uint32_t want)
{
	int got = 0;
	socklen_t len = sizeof(got);

	if (opt_set(fd, SOL_SOCKET, force, (int)want) < 0)
		opt_set(fd, SOL_SOCKET, plain, (int)want);
	if (getsockopt(fd, SOL_SOCKET, plain, &got, &len) < 0 || got < 0)
		return 0;
	return (uint32_t)got / 2; /* the kernel doubles for its bookkeeping */
}

static int options_set(const struct udp_cfg *cfg, struct sock *s)
{
	int rc;

	if (cfg->fwmark && (rc = opt_set(s->fd, SOL_SOCKET, SO_MARK, (int)cfg->fwmark)) < 0)
		return rc;
	if (s->family == 4) {
		if ((rc = opt_set(s->fd, IPPROTO_IP, IP_PKTINFO, 1)) < 0 ||
		    (rc = opt_set(s->fd, IPPROTO_IP, IP_RECVTOS, 1)) < 0 ||
		    (rc = opt_set(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)) < 0)
			return rc;
	} else {
		if ((rc = opt_set(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) < 0 ||
		    (rc = opt_set(s->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)) < 0 ||
		    (rc = opt_set(s->fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1)) < 0 ||
		    (rc = opt_set(s->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)) <
			    0 ||
		    (rc = opt_set(s->fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1)) < 0)
			return rc;
	}
	s->rcvbuf = buffer_set(s->fd, SO_RCVBUFFORCE, SO_RCVBUF,
			       cfg->rcvbuf ? cfg->rcvbuf : RCVBUF_DEFAULT);
	s->sndbuf = buffer_set(s->fd, SO_SNDBUFFORCE, SO_SNDBUF,
			       cfg->sndbuf ? cfg->sndbuf : SNDBUF_DEFAULT);
	return 0;
}

static int port_bind(struct sock *s, uint16_t port, bool strict)
{
	struct endpoint any = {.ip.family = (uint8_t)s->family, .port = port};
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&any, &sa);

	if (bind(s->fd, &sa.sa, len) == 0)
		goto bound;
	if (errno != EADDRINUSE || strict || !port)
		return -errno;
	any.port = 0;
	len = sockaddr_from_endpoint(&any, &sa);
	if (bind(s->fd, &sa.sa, len) < 0)
		return -errno;
bound:
	len = sizeof(sa);
	if (getsockname(s->fd, &sa.sa, &len) < 0)
		return -errno;
	sockaddr_to_endpoint(&sa, &any);
	s->port = any.port;
	return 0;
}

static void sock_close(struct sock *s, int why)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->missing = why;
	s->port = 0;
	s->head = s->tail = 0;
	s->rcvbuf = s->sndbuf = 0;
}

static int sock_open(const struct udp_cfg *cfg, struct sock *s)
{
	int rc;

	s->fd = socket(s->family == 4 ? AF_INET : AF_INET6,
		       SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (s->fd < 0)
		return s->missing = -errno;
	rc = options_set(cfg, s);
	if (rc == 0)
		rc = port_bind(s, cfg->port, cfg->port_strict);
	if (rc < 0)
		sock_close(s, rc);
	else
		s->missing = 0;
	return rc;
}

static int both_open(struct udp *u, struct io_err *err)
{
	int rc4 = -EAFNOSUPPORT, rc6 = -EAFNOSUPPORT;

	if (!u->cfg.no_v4)
		rc4 = sock_open(&u->cfg, &u->s[0]);
	if (!u->cfg.no_v6)
		rc6 = sock_open(&u->cfg, &u->s[1]);
	u->s[0].missing = rc4;
	u->s[1].missing = rc6;
	if (u->cfg.port_strict && (rc4 == -EADDRINUSE || rc6 == -EADDRINUSE)) {
		sock_close(&u->s[0], -EADDRINUSE);
		sock_close(&u->s[1], -EADDRINUSE);
		return io_fail(err, -EADDRINUSE, "UDP port %u is in use", u->cfg.port);
	}
	if (rc4 < 0 && rc6 < 0)
		return io_fail(err, rc4 == -EAFNOSUPPORT ? rc6 : rc4,
			       "no UDP socket: IPv4: %s, IPv6: %s", strerror(-rc4), strerror(-rc6));
	return 0;
}

int udp_open(struct udp **out, const struct udp_cfg *cfg, struct io_err *err)
{
	struct udp *u = calloc(1, sizeof(*u));
	int rc;

	*out = NULL;
	if (!u)
		return io_fail(err, -ENOMEM, "no memory for the UDP sockets");
	u->cfg = *cfg;
	for (int i = 0; i < 2; i++)
		u->s[i] = (struct sock){.fd = -1, .family = i ? 6 : 4};
	rc = both_open(u, err);
	if (rc < 0) {
		free(u);
		return rc;
	}
	*out = u;
	return 0;
}

void udp_close(struct udp *u)
{
	if (!u)
		return;
	sock_close(&u->s[0], 0);
	sock_close(&u->s[1], 0);
	free(u);
}

int udp_rebind(struct udp *u, struct io_err *err)
{
	sock_close(&u->s[0], -ENOTCONN);
	sock_close(&u->s[1], -ENOTCONN);
	return both_open(u, err);
}

int udp_fd(const struct udp *u, int family)
{
	return sock_of_const(u, family)->fd;
}

uint16_t udp_port(const struct udp *u, int family)
{
	return sock_of_const(u, family)->port;
}

int udp_missing(const struct udp *u, int family)
{
	return sock_of_const(u, family)->missing;
}

void udp_buffers(const struct udp *u, int family, uint32_t *rcvbuf, uint32_t *sndbuf)
{
	*rcvbuf = sock_of_const(u, family)->rcvbuf;
	*sndbuf = sock_of_const(u, family)->sndbuf;
}

const struct udp_stats *udp_stats(const struct udp *u)
{
	return &u->stats;
}

/* ---- receive ------------------------------------------------------------------------------------
 */

static void rx_prepare(struct sock *s)
{
	for (size_t i = 0; i < UDP_BATCH; i++) {
		s->rx_iov[i] = (struct iovec){s->rx_buf[i], UDP_BUF_LEN};
		s->rx_hdr[i].msg_len = 0;
		s->rx_hdr[i].msg_hdr = (struct msghdr){
			.msg_name = &s->rx_name[i],
			.msg_namelen = sizeof(s->rx_name[i]),
			.msg_iov = &s->rx_iov[i],
			.msg_iovlen = 1,
			.msg_control = &s->rx_ctrl[i],
			.msg_controllen = sizeof(s->rx_ctrl[i]),
		};
	}
}

static void ctrl_read(struct msghdr *h, struct udp_dgram *d)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const void *p = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, p, sizeof(info));
			d->local.ip = ipaddr_from(4, &info.ipi_addr);
			d->ifindex = (uint32_t)info.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, p, sizeof(info));
			d->local.ip = ipaddr_from(6, &info.ipi6_addr);
			d->ifindex = info.ipi6_ifindex;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			d->ecn = *(const uint8_t *)p & 3; /* IPv4 hands over one byte */
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int tclass;

			memcpy(&tclass, p, sizeof(tclass));
			d->ecn = (uint8_t)(tclass & 3);
		}
	}
}

size_t udp_recv(struct udp *u, int family, struct udp_dgram **out, bool *more)
{
	struct sock *s = sock_of(u, family);
	size_t n = 0;
	int got;

	*out = s->rx_dgram;
	*more = false;
	if (s->fd < 0)
		return 0;
	rx_prepare(s);
	got = recvmmsg(s->fd, s->rx_hdr, UDP_BATCH, MSG_DONTWAIT, NULL);
	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			u->stats.rx_errors++;
		return 0;
	}
	u->stats.rx_calls++;
	*more = got == UDP_BATCH;
	for (int i = 0; i < got; i++) {
		struct udp_dgram *d = &s->rx_dgram[n];
		struct msghdr *h = &s->rx_hdr[i].msg_hdr;

		*d = (struct udp_dgram){.data = s->rx_buf[i], .len = s->rx_hdr[i].msg_len};
		d->truncated = h->msg_flags & MSG_TRUNC;
		ctrl_read(h, d);
		d->local.port = s->port;
		if (sockaddr_to_endpoint(&s->rx_name[i], &d->remote) < 0 || !d->local.ip.family) {
			u->stats.rx_errors++; /* never seen: the kernel always says both */
			continue;
		}
		u->stats.rx_packets++;
		u->stats.rx_bytes += d->len;
		n++;
	}
	return n;
}

/* ---- send ---------------------------------------------------------------------------------------
 */

static void ctrl_put(struct msghdr *h, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	h->msg_controllen += CMSG_SPACE(len);
}

static void ctrl_write(struct msghdr *h, const struct out_dgram *o)
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
	if (!tclass)
		return;
	if (o->remote.ip.family == 4)
		ctrl_put(h, IPPROTO_IP, IP_TOS, &tclass, sizeof(tclass));
	else
		ctrl_put(h, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
}

static unsigned tx_prepare(struct sock *s)
{
	size_t n = s->tail - s->head;

	if (n > UDP_BATCH)
		n = UDP_BATCH;
	for (size_t i = 0; i < n; i++) {
		const struct out_dgram *o = &s->out[s->head + i];
		struct msghdr *h = &s->tx_hdr[i].msg_hdr;

		s->tx_iov[i] = (struct iovec){s->tx_buf[s->head + i], o->len};
		memset(&s->tx_ctrl[i], 0, sizeof(s->tx_ctrl[i]));
		*h = (struct msghdr){.msg_name = &s->tx_name[i],
				     .msg_iov = &s->tx_iov[i],
				     .msg_iovlen = 1,
				     .msg_control = &s->tx_ctrl[i]};
		h->msg_namelen = sockaddr_from_endpoint(&o->remote, &s->tx_name[i]);
		ctrl_write(h, o);
		if (!h->msg_controllen)
			h->msg_control = NULL;
	}
	return (unsigned)n;
}

static void error_count(struct udp_stats *st, int e)
{
	st->tx_last_errno = e;
	switch (e) {
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
		st->tx_unreachable++;
		break;
	case EINVAL:
		st->tx_source_gone++;
		break;
	case EPERM:
	case EACCES:
		st->tx_permission++;
		break;
	case ENOBUFS: /* waiting would not help: the descriptor stays writable */
		st->tx_full++;
		break;
	case EMSGSIZE:
		st->tx_too_big++;
		break;
	default:
		st->tx_other++;
	}
}

/* sendmmsg stops at the first datagram that fails and says why only when it is the first of a call:
 * it is counted and passed over, and the rest is tried again. */
static void sock_flush(struct udp *u, struct sock *s)
{
	while (s->head < s->tail) {
		unsigned n = tx_prepare(s);
		int sent = sendmmsg(s->fd, s->tx_hdr, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		u->stats.tx_calls++;
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent < 0) {
			error_count(&u->stats, errno);
			s->head++;
			continue;
		}
		for (int i = 0; i < sent; i++)
			u->stats.tx_bytes += s->out[s->head + (size_t)i].len;
		u->stats.tx_packets += (uint64_t)sent;
		s->head += (size_t)sent;
	}
	s->head = s->tail = 0;
}

void udp_flush(struct udp *u)
{
	sock_flush(u, &u->s[0]);
	sock_flush(u, &u->s[1]);
}

size_t udp_pending(const struct udp *u, int family)
{
	const struct sock *s = sock_of_const(u, family);

	return s->tail - s->head;
}

/* 0 when there is room at tail. */
static int room_make(struct udp *u, struct sock *s)
{
	if (s->fd < 0) {
		u->stats.tx_no_family++;
		return -EAFNOSUPPORT;
	}
	if (s->tail == UDP_QUEUE_CAP)
		sock_flush(u, s);
	if (s->tail == UDP_QUEUE_CAP) {
		u->stats.tx_full++;
		return -EAGAIN;
	}
	return 0;
}

size_t udp_room(struct udp *u, int family, size_t want)
{
	struct sock *s = sock_of(u, family);

	if (room_make(u, s) < 0)
		return 0;
	return want < UDP_QUEUE_CAP - s->tail ? want : UDP_QUEUE_CAP - s->tail;
}

uint8_t *udp_room_at(struct udp *u, int family, size_t i)
{
	struct sock *s = sock_of(u, family);

	return s->tx_buf[s->tail + i];
}

void udp_commit(struct udp *u, const struct ipaddr *src, const struct endpoint *remote, uint8_t ecn,
		size_t len)
{
	struct sock *s = sock_of(u, remote->ip.family);
	struct out_dgram *o = &s->out[s->tail++];

	*o = (struct out_dgram){.remote = *remote, .len = len, .ecn = ecn};
	if (src && src->family == remote->ip.family)
		o->src = *src;
}

int udp_send(struct udp *u, const struct ipaddr *src, const struct endpoint *remote, uint8_t ecn,
	     const void *data, size_t len)
{
	struct sock *s = sock_of(u, remote->ip.family);
	int rc;

	if (len > UDP_BUF_LEN)
		return -EMSGSIZE;
	if ((rc = room_make(u, s)) < 0)
		return rc;
	if (len)
		memcpy(s->tx_buf[s->tail], data, len);
	udp_commit(u, src, remote, ecn, len);
	return 0;
}
