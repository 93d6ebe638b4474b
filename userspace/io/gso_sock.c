/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets for trains of datagrams; the contract is in gso.h. */
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>
#include "io/gso.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static int opt_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int options4(int fd, const struct gso_sock_cfg *cfg)
{
	int rc = opt_set(fd, IPPROTO_IP, IP_RECVTOS, 1);

	if (!rc && cfg->pktinfo)
		rc = opt_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (!rc)
		rc = opt_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
	return rc;
}

static int options6(int fd, const struct gso_sock_cfg *cfg)
{
	int rc = opt_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);

	if (!rc)
		rc = opt_set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	if (!rc && cfg->pktinfo)
		rc = opt_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	if (!rc)
		rc = opt_set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT);
	return rc;
}

static void buffer_set(int fd, int force, int plain, uint32_t want)
{
	if (want && opt_set(fd, SOL_SOCKET, force, (int)want))
		opt_set(fd, SOL_SOCKET, plain, (int)want);
}

int gso_sock_open(struct gso_sock *s, const struct gso_sock_cfg *cfg, struct io_err *err)
{
	bool v4 = cfg->bind.ip.family == 4;
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char at[ENDPOINT_STRLEN];
	union sockaddr_any sa;
	int rc;

	*s = (struct gso_sock){.fd = -1};
	endpoint_fmt(&cfg->bind, at);
	if (fd < 0)
		return io_fail(err, -errno, "no socket for %s: %s", at, strerror(errno));
	rc = v4 ? options4(fd, cfg) : options6(fd, cfg);
	if (!rc && cfg->reuseport)
		rc = opt_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!rc && bind(fd, &sa.sa, sockaddr_from_endpoint(&cfg->bind, &sa)) < 0)
		rc = -errno;
	if (rc) {
		close(fd);
		return io_fail(err, rc, "no socket on %s: %s", at, strerror(-rc));
	}
	if (!cfg->no_gro)
		opt_set(fd, IPPROTO_UDP, UDP_GRO, 1); /* kernels before 5.0: one datagram a train */
	buffer_set(fd, SO_RCVBUFFORCE, SO_RCVBUF, cfg->rcvbuf);
	buffer_set(fd, SO_SNDBUFFORCE, SO_SNDBUF, cfg->sndbuf);
	s->fd = fd;
	return 0;
}

void gso_sock_close(struct gso_sock *s)
{
	if (s->fd >= 0)
		close(s->fd);
	*s = (struct gso_sock){.fd = -1};
}
