/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the tunnel's two sockets, each with its receive buffers and its send queue; what they
 * then do is in udp_rx.c and udp_tx.c, the contract in udp.h. */
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

static int sock_open(const struct udp_cfg *cfg, struct udp_sock *s)
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

int udp_open(struct udp **out, const struct udp_cfg *cfg, struct io_err *err)
{
	struct udp *u = calloc(1, sizeof(*u));
	int rc;

	*out = NULL;
	if (!u)
		return io_fail(err, -ENOMEM, "no memory for the UDP sockets");
	u->cfg = *cfg;
	u->s[0].family = 4;
	u->s[1].family = 6;
	u->s[0].fd = u->s[1].fd = -1;
	if (buffers_alloc(&u->s[0]) < 0 || buffers_alloc(&u->s[1]) < 0)
		rc = io_fail(err, -ENOMEM, "no memory for the UDP sockets");
	else
		rc = both_open(u, err);
	if (rc < 0) {
		udp_close(u);
		return rc;
	}
	*out = u;
	return 0;
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
