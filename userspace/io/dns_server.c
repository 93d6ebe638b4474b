/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets of the DNS server, and UDP as a whole; contracts in dns_server.h. */
#include "io/dns_server.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "io/dns_server_int.h"
#include "io/sockaddr.h"

#define BACKLOG	 32
#define UDP_TURN 32 /* datagrams read a turn: others want the loop, too */
#define ACCEPTS	 16 /* connections accepted a turn */
#define RCVBUF                                                                                    \
	(1 << 20) /* as many queries at once as may wait for answers: the kernel counts 768 bytes \
		     each */

/* May it ask? Programs of this host have its addresses, mostly the one they ask; the kernel binds
 * to no others. */
static bool welcome(struct dns_server *s, const struct ipaddr *src, const struct ipaddr *asked)
{
	struct endpoint at = {.ip = *src};
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&at, &sa);
	int fd, rc;

	if (!s->cfg.own_only || ipaddr_eq(src, asked))
		return true;
	fd = socket(sa.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	rc = fd < 0 ? -1 : bind(fd, &sa.sa, len);
	if (fd >= 0)
		close(fd);
	s->stats.foreign += rc != 0;
	return rc == 0;
}

/* ---- UDP ---- */
static void on_udp(void *ctx, unsigned int events, uint64_t now)
{
	struct dns_listener *l = ctx;
	struct dns_server *s = l->server;

	(void)events;
	for (int i = 0; i < UDP_TURN && l->udp >= 0; i++) {
		struct dns_asker who = {.sentinel = l->ip};
		union sockaddr_any from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(l->udp, s->buf, sizeof(s->buf), MSG_DONTWAIT, &from.sa,
				     &from_len);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0 || sockaddr_to_endpoint(&from, &who.src))
			continue; /* an error of an earlier answer, taken off by reading it */
		if (!welcome(s, &who.src.ip, &l->ip))
			continue;
		s->stats.udp_queries++;
		s->cfg.query(s->cfg.ctx, &who, s->buf, (size_t)n, now);
	}
	loop_fd_set(&l->udp_io, LOOP_READ);
}

static struct dns_listener *listener_find(struct dns_server *s, const struct ipaddr *ip)
{
	for (uint32_t i = 0; i < DNS_SERVER_ADDRS; i++)
		if (s->at[i].ip.family && ipaddr_eq(&s->at[i].ip, ip))
			return &s->at[i];
	return NULL;
}

void dns_server_answer(struct dns_server *s, const struct dns_asker *to, const uint8_t *msg,
		       size_t len, uint64_t now)
{
	struct dns_listener *l;
	union sockaddr_any sa;
	socklen_t sa_len;

	if (to->tcp) {
		dns_conn_answer(s, to->conn, msg, len, now);
		return;
	}
	l = listener_find(s, &to->sentinel);
	sa_len = sockaddr_from_endpoint(&to->src, &sa);
	if (l && l->udp >= 0 &&
	    sendto(l->udp, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL, &sa.sa, sa_len) == (ssize_t)len)
		s->stats.udp_answers++;
	else
		s->stats.udp_unsent++;
}

/* ---- listening ---- */
static void on_accept(void *ctx, unsigned int events, uint64_t now)
{
	struct dns_listener *l = ctx;

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		union sockaddr_any from;
		socklen_t from_len = sizeof(from);
		int fd = accept4(l->tcp, &from.sa, &from_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct endpoint src;

		if (fd < 0)
			break;
		if (sockaddr_to_endpoint(&from, &src) || !welcome(l->server, &src.ip, &l->ip))
			close(fd);
		else
			dns_conn_open(l->server, fd, &src, &l->ip, now);
	}
	loop_fd_set(&l->tcp_io, LOOP_READ);
}

static int option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* A bound socket, or -errno. */
static int socket_bound(const struct dns_server *s, const struct ipaddr *ip, int type)
{
	struct endpoint at = {.ip = *ip, .port = s->cfg.port};
	bool v6 = ip->family == 6;
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&at, &sa);
	int fd = socket(sa.sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0)
		return -errno;
	if (v6)
		rc = option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (!rc && type == SOCK_STREAM)
		rc = option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (type == SOCK_DGRAM && option(fd, SOL_SOCKET, SO_RCVBUFFORCE, RCVBUF))
		(void)option(fd, SOL_SOCKET, SO_RCVBUF, RCVBUF);
	if (!rc && s->cfg.fwmark)
		rc = option(fd, SOL_SOCKET, SO_MARK, (int)s->cfg.fwmark);
	if (!rc && s->device[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, s->device, (socklen_t)strlen(s->device)))
		rc = -errno;
	if (!rc && bind(fd, &sa.sa, len))
		rc = -errno;
	if (!rc && type == SOCK_STREAM && listen(fd, BACKLOG))
		rc = -errno;
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

static void listener_close(struct dns_listener *l, uint64_t now)
{
	struct dns_server *s = l->server;

	for (uint32_t i = 0; i < DNS_SERVER_CONNS; i++)
		if (s->conn[i].fd >= 0 && ipaddr_eq(&s->conn[i].sentinel, &l->ip))
			dns_conn_close(&s->conn[i], now);
	loop_fd_fini(&l->udp_io);
	loop_fd_fini(&l->tcp_io);
	if (l->udp >= 0)
		close(l->udp);
	if (l->tcp >= 0)
		close(l->tcp);
	l->udp = l->tcp = -1;
	l->ip = (struct ipaddr){0};
}

static int listener_open(struct dns_server *s, const struct ipaddr *ip, uint64_t now,
			 struct io_err *err)
{
	struct dns_listener *l = NULL;
	char text[IPADDR_STRLEN];
	int rc;

	for (uint32_t i = 0; !l && i < DNS_SERVER_ADDRS; i++)
		if (!s->at[i].ip.family)
			l = &s->at[i];
	if (!l)
		return io_fail(err, -ENOSPC, "too many resolver addresses");
	l->ip = *ip;
	rc = l->udp = socket_bound(s, ip, SOCK_DGRAM);
	if (rc >= 0)
		rc = l->tcp = socket_bound(s, ip, SOCK_STREAM);
	if (rc >= 0)
		rc = loop_fd_init(&l->udp_io, s->cfg.loop, l->udp, LOOP_READ, on_udp, l);
	if (rc >= 0)
		rc = loop_fd_init(&l->tcp_io, s->cfg.loop, l->tcp, LOOP_READ, on_accept, l);
	if (rc >= 0)
		return 0;
	listener_close(l, now);
	return io_fail(err, rc, "cannot serve DNS at %s port %u: %s", ipaddr_fmt(ip, text),
		       s->cfg.port, strerror(-rc));
}

int dns_server_listen(struct dns_server *s, const struct ipaddr *list, uint32_t n, uint64_t now,
		      struct io_err *err)
{
	int first = 0;

	for (uint32_t i = 0; i < DNS_SERVER_ADDRS; i++) {
		bool stays = false;

		for (uint32_t k = 0; k < n; k++)
			stays |= ipaddr_eq(&s->at[i].ip, &list[k]);
		if (s->at[i].ip.family && !stays)
			listener_close(&s->at[i], now);
	}
	for (uint32_t k = 0; k < n; k++) {
		int rc = listener_find(s, &list[k]) ? 0 : listener_open(s, &list[k], now, err);

		first = first ? first : rc;
	}
	return first;
}

/* ---- life ---- */
static void on_timer(void *ctx, uint64_t now)
{
	dns_conn_sweep(ctx, now);
}

int dns_server_open(struct dns_server **out, const struct dns_server_cfg *cfg, struct io_err *err)
{
	struct dns_server *s = calloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	if (!s)
		return io_fail(err, -ENOMEM, "no memory for the DNS server");
	s->cfg = *cfg;
	if (cfg->device)
		snprintf(s->device, sizeof(s->device), "%s", cfg->device);
	for (uint32_t i = 0; i < DNS_SERVER_ADDRS; i++) {
		s->at[i].server = s;
		s->at[i].udp = s->at[i].tcp = -1;
	}
	for (uint32_t i = 0; i < DNS_SERVER_CONNS; i++) {
		s->conn[i].server = s;
		s->conn[i].fd = -1;
	}
	rc = loop_timer_init(&s->timer, cfg->loop, on_timer, s);
	if (rc) {
		free(s);
		return io_fail(err, rc, "no timer for the DNS server");
	}
	*out = s;
	return 0;
}

bool dns_server_listens(const struct dns_server *s, const struct ipaddr *ip)
{
	for (uint32_t i = 0; i < DNS_SERVER_ADDRS; i++)
		if (s->at[i].ip.family && ipaddr_eq(&s->at[i].ip, ip))
			return true;
	return false;
}

const struct dns_server_stats *dns_server_stats(const struct dns_server *s)
{
	return &s->stats;
}

uint32_t dns_server_addresses(const struct dns_server *s, struct ipaddr out[DNS_SERVER_ADDRS])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < DNS_SERVER_ADDRS; i++)
		if (s->at[i].ip.family)
			out[n++] = s->at[i].ip;
	return n;
}

uint32_t dns_server_conns(const struct dns_server *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < DNS_SERVER_CONNS; i++)
		n += s->conn[i].fd >= 0;
	return n;
}

void dns_server_close(struct dns_server *s)
{
	if (!s)
		return;
	s->cfg.gone = NULL;
	for (uint32_t i = 0; i < DNS_SERVER_ADDRS; i++)
		if (s->at[i].ip.family)
			listener_close(&s->at[i], 0);
	loop_timer_fini(&s->timer);
	free(s);
}
