/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the tunnel's two sockets, each with its receive buffers and its send queue, alone or as
 * members of a group; what they then do is in udp_rx.c and udp_tx.c, who of a group gets what in
 * udp_steer.c, the contract in udp.h. */
#include "io/udp.h"
#include <errno.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/udp_internal.h"

#define RCVBUF_DEFAULT (16u << 20)
#define SNDBUF_DEFAULT (2u << 20)

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

/* Merging, where the kernel has it (UDP_SEGMENT since 4.18, UDP_GRO since 5.0). One that does not
 * know UDP_SEGMENT would ignore it on a message and send one long datagram: so it is asked. */
static void merging_set(const struct udp_cfg *cfg, struct udp_sock *s)
{
	s->gro = !cfg->no_gro && opt_set(s->fd, IPPROTO_UDP, UDP_GRO, 1) == 0;
	s->gso = !cfg->no_gso && opt_set(s->fd, IPPROTO_UDP, UDP_SEGMENT, 0) == 0;
}

static int options_set(const struct udp_cfg *cfg, struct udp_sock *s)
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
	merging_set(cfg, s);
	return 0;
}

static int port_bind(struct udp_sock *s, uint16_t port, bool strict)
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

/* The first of a group binds as one that shares with nobody, and shares from then on: had it
 * SO_REUSEPORT before, it would join a group of another process of this user instead of finding its
 * port taken. */
static int share_bind(const struct udp_cfg *cfg, struct udp_sock *s, uint16_t port, bool join)
{
	int rc = join ? opt_set(s->fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;

	if (rc == 0)
		rc = port_bind(s, port, join || cfg->port_strict);
	if (rc == 0 && cfg->shared && !join)
		rc = opt_set(s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
	return rc;
}

static void sock_close(struct udp_sock *s, int why)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->missing = why;
	s->port = 0;
	s->gro = s->gso = false;
	s->rcvbuf = s->sndbuf = 0;
	udp_rx_reset(s);
	udp_tx_reset(s);
}

static int sock_open(const struct udp_cfg *cfg, struct udp_sock *s, uint16_t port, bool join)
{
	int rc;

	s->fd = socket(s->family == 4 ? AF_INET : AF_INET6,
		       SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (s->fd < 0)
		return s->missing = -errno;
	rc = options_set(cfg, s);
	if (rc == 0)
		rc = share_bind(cfg, s, port, join);
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
		rc4 = sock_open(&u->cfg, &u->s[0], u->cfg.port, false);
	if (!u->cfg.no_v6)
		rc6 = sock_open(&u->cfg, &u->s[1], u->cfg.port, false);
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

/* Not zeroed: a page costs memory only once a datagram lies in it. */
static int buffers_alloc(struct udp_sock *s)
{
	s->rx_buf = aligned_alloc(64, (size_t)UDP_BATCH * UDP_MSG_STRIDE);
	s->tx_buf = aligned_alloc(64, (size_t)UDP_QUEUE_CAP * UDP_BUF_LEN);
	if (!s->rx_buf || !s->tx_buf)
		return -ENOMEM;
	udp_rx_init(s);
	udp_tx_init(s);
	return 0;
}

/* All but the sockets; NULL: no memory. */
static struct udp *udp_alloc(const struct udp_cfg *cfg)
{
	struct udp *u = aligned_alloc(_Alignof(struct udp), sizeof(*u));

	if (!u)
		return NULL;
	memset(u, 0, sizeof(*u));
	u->cfg = *cfg;
	u->s[0].family = 4;
	u->s[1].family = 6;
	u->s[0].fd = u->s[1].fd = -1;
	if (buffers_alloc(&u->s[0]) < 0 || buffers_alloc(&u->s[1]) < 0) {
		udp_close(u);
		return NULL;
	}
	return u;
}

static int opened(struct udp *u, int rc, struct udp **out)
{
	if (rc < 0)
		udp_close(u);
	else
		*out = u;
	return rc;
}

int udp_open(struct udp **out, const struct udp_cfg *cfg, struct io_err *err)
{
	struct udp *u = udp_alloc(cfg);

	*out = NULL;
	if (!u)
		return io_fail(err, -ENOMEM, "no memory for the UDP sockets");
	return opened(u, both_open(u, err), out);
}

static int both_join(struct udp *u, const struct udp *first, struct io_err *err)
{
	for (int i = 0; i < 2; i++) {
		const struct udp_sock *of = &first->s[i];
		int rc = of->missing;

		u->s[i].missing = rc;
		if (of->fd >= 0)
			rc = sock_open(&u->cfg, &u->s[i], of->port, true);
		if (of->fd >= 0 && rc < 0)
			return io_fail(err, rc, "no further socket on UDP port %u (IPv%d): %s",
				       of->port, of->family, strerror(-rc));
	}
	return 0;
}

int udp_open_member(struct udp **out, const struct udp *first, struct io_err *err)
{
	struct udp *u;

	*out = NULL;
	if (!first->cfg.shared || first->member)
		return io_fail(err, -EINVAL, "UDP port not opened to be shared");
	if (first->s[0].fd < 0 && first->s[1].fd < 0)
		return io_fail(err, -ENOTCONN, "no UDP socket to share");
	u = udp_alloc(&first->cfg);
	if (!u)
		return io_fail(err, -ENOMEM, "no memory for further UDP sockets");
	u->member = true;
	return opened(u, both_join(u, first, err), out);
}

void udp_close(struct udp *u)
{
	if (!u)
		return;
	for (int i = 0; i < 2; i++) {
		sock_close(&u->s[i], 0);
		free(u->s[i].rx_buf);
		free(u->s[i].tx_buf);
	}
	free(u);
}

int udp_rebind(struct udp *u, struct io_err *err)
{
	if (u->member)
		return io_fail(err, -EINVAL, "a member of a group of UDP sockets is not rebound");
	sock_close(&u->s[0], -ENOTCONN);
	sock_close(&u->s[1], -ENOTCONN);
	return both_open(u, err);
}

int udp_fd(const struct udp *u, int family)
{
	return udp_sock_of_const(u, family)->fd;
}

uint16_t udp_port(const struct udp *u, int family)
{
	return udp_sock_of_const(u, family)->port;
}

int udp_missing(const struct udp *u, int family)
{
	return udp_sock_of_const(u, family)->missing;
}

void udp_buffers(const struct udp *u, int family, uint32_t *rcvbuf, uint32_t *sndbuf)
{
	*rcvbuf = udp_sock_of_const(u, family)->rcvbuf;
	*sndbuf = udp_sock_of_const(u, family)->sndbuf;
}

const struct udp_stats *udp_stats(const struct udp *u)
{
	return &u->stats;
}

bool udp_gro(const struct udp *u, int family)
{
	return udp_sock_of_const(u, family)->gro;
}

bool udp_gso(const struct udp *u, int family)
{
	return udp_sock_of_const(u, family)->gso;
}
