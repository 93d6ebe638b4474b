/* SPDX-License-Identifier: Apache-2.0
 *
 * One socket a query; contracts in dns_upstream.h. Slots are found by their token in an array of
 * its own, so that a search touches 8 bytes a slot. */
#include "io/dns_upstream.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "codec/dns_frame.h"
#include "io/sockaddr.h"

#define UDP_TURN 8 /* datagrams of one socket a turn: most are forged if there are many */

struct slot {
	struct dns_upstreams *owner;
	struct loop_fd io;
	int fd;
	bool tcp;
	struct endpoint to;
	uint8_t out[DNS_FRAME_LEN + DNS_QUERY_CAP]; /* TCP: what is not sent yet */
	size_t out_len, out_pos;
	uint8_t *in; /* TCP: DNS_FRAME_LEN + DNS_MSG_CAP */
	size_t in_len;
};

struct dns_upstreams {
	struct dns_upstream_cfg cfg;
	struct dns_upstream_stats stats;
	struct ipaddr own4, own6;
	struct dns_scope scopes[DNS_SCOPES_CAP];
	uint32_t n_scopes;
	uint32_t count, tcp_count;
	uint64_t *tokens; /* 0: free */
	struct slot *slots;
	uint8_t buf[DNS_MSG_CAP];
};

static struct slot *slot_of(struct dns_upstreams *u, uint64_t token)
{
	for (uint32_t i = 0; i < u->cfg.cap; i++)
		if (u->tokens[i] == token)
			return &u->slots[i];
	return NULL;
}

static void slot_close(struct dns_upstreams *u, struct slot *s)
{
	loop_fd_fini(&s->io);
	close(s->fd);
	free(s->in);
	u->tcp_count -= s->tcp;
	u->count--;
	s->in = NULL;
	s->fd = -1;
	u->tokens[s - u->slots] = 0;
}

static void slot_fail(struct dns_upstreams *u, struct slot *s, uint64_t now)
{
	uint64_t token = u->tokens[s - u->slots];

	u->stats.failed++;
	slot_close(u, s);
	u->cfg.failed(u->cfg.ctx, token, now);
}

/* ---- UDP ---- */
static void on_udp(void *ctx, unsigned int events, uint64_t now)
{
	struct slot *s = ctx;
	struct dns_upstreams *u = s->owner;
	uint64_t token = u->tokens[s - u->slots];

	(void)events;
	for (int i = 0; i < UDP_TURN && u->tokens[s - u->slots] == token; i++) {
		ssize_t n = recv(s->fd, u->buf, sizeof(u->buf), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			slot_fail(u, s, now);
			return;
		}
		u->stats.received++;
		u->cfg.answer(u->cfg.ctx, token, &s->to, u->buf, (size_t)n, now);
	}
	if (u->tokens[s - u->slots] == token)
		loop_fd_set(&s->io, LOOP_READ);
}

/* ---- TCP ---- */
/* 0, also when some is left; or -errno. */
static int tcp_flush(struct slot *s)
{
	while (s->out_pos < s->out_len) {
		ssize_t n = send(s->fd, s->out + s->out_pos, s->out_len - s->out_pos,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN))
			return 0;
		if (n < 0)
			return -errno;
		s->out_pos += (size_t)n;
	}
	return 0;
}

/* Messages in s->in, until one of them ends the query. */
static void tcp_messages(struct dns_upstreams *u, struct slot *s, uint64_t token, uint64_t now)
{
	size_t len;

	for (;;) {
		switch (dns_frame_next(s->in, s->in_len, DNS_MSG_CAP, &len)) {
		case DNS_FRAME_MORE:
			return;
		case DNS_FRAME_BAD:
			slot_fail(u, s, now);
			return;
		case DNS_FRAME_OK:
			break;
		}
		memcpy(u->buf, s->in + DNS_FRAME_LEN, len);
		s->in_len -= DNS_FRAME_LEN + len;
		memmove(s->in, s->in + DNS_FRAME_LEN + len, s->in_len);
		u->stats.received++;
		u->cfg.answer(u->cfg.ctx, token, &s->to, u->buf, len, now);
		if (u->tokens[s - u->slots] != token)
			return;
	}
}

static void on_tcp(void *ctx, unsigned int events, uint64_t now)
{
	struct slot *s = ctx;
	struct dns_upstreams *u = s->owner;
	uint64_t token = u->tokens[s - u->slots];
	ssize_t n;

	if ((events & (LOOP_WRITE | LOOP_ERROR)) && tcp_flush(s)) {
		slot_fail(u, s, now);
		return;
	}
	if (events & (LOOP_READ | LOOP_ERROR)) {
		n = recv(s->fd, s->in + s->in_len, DNS_FRAME_LEN + DNS_MSG_CAP - s->in_len,
			 MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			slot_fail(u, s, now);
			return;
		}
		s->in_len += n > 0 ? (size_t)n : 0;
		tcp_messages(u, s, token, now);
	}
	if (u->tokens[s - u->slots] == token)
		loop_fd_set(&s->io, LOOP_READ | (s->out_pos < s->out_len ? LOOP_WRITE : 0));
}

/* ---- sending ---- */
static void take_scope(const struct dns_upstreams *u, const struct ipaddr *ip,
		       union sockaddr_any *sa)
{
	for (uint32_t i = 0; i < u->n_scopes; i++)
		if (ip->family == 6 && ipaddr_eq(&u->scopes[i].ip, ip))
			sa->v6.sin6_scope_id = u->scopes[i].ifindex;
}

/* A connected (TCP: connecting) socket, or -errno. */
static int socket_to(struct dns_upstreams *u, const struct endpoint *to, bool tcp, bool via_tunnel)
{
	struct endpoint own = {.ip = to->ip.family == 6 ? u->own6 : u->own4};
	int mark = (int)u->cfg.fwmark, rc = 0;
	union sockaddr_any sa, from;
	socklen_t len = sockaddr_from_endpoint(to, &sa);
	socklen_t from_len = sockaddr_from_endpoint(&own, &from);
	int fd;

	if (!len || (via_tunnel && !from_len))
		return -EADDRNOTAVAIL;
	take_scope(u, &to->ip, &sa);
	fd = socket(sa.sa.sa_family,
		    (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (via_tunnel)
		rc = bind(fd, &from.sa, from_len);
	else if (mark)
		rc = setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	if (!rc)
		rc = connect(fd, &sa.sa, len);
	if (rc && errno != EINPROGRESS) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static int slot_open(struct dns_upstreams *u, struct slot *s, uint64_t token,
		     const struct endpoint *to, bool tcp, bool via_tunnel)
{
	uint8_t *in = tcp ? malloc(DNS_FRAME_LEN + DNS_MSG_CAP) : NULL;
	int fd = tcp && !in ? -ENOMEM : socket_to(u, to, tcp, via_tunnel);
	int rc;

	if (fd < 0) {
		free(in);
		return fd;
	}
	*s = (struct slot){.owner = u, .fd = fd, .tcp = tcp, .to = *to, .in = in};
	u->tokens[s - u->slots] = token;
	u->count++;
	u->tcp_count += tcp;
	rc = loop_fd_init(&s->io, u->cfg.loop, fd, LOOP_READ | (tcp ? LOOP_WRITE : 0),
			  tcp ? on_tcp : on_udp, s);
	if (rc)
		slot_close(u, s);
	return rc;
}

static int slot_send(struct dns_upstreams *u, struct slot *s, const uint8_t *msg, size_t len)
{
	if (!s->tcp) {
		u->stats.udp_sent++;
		return send(s->fd, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ? 0
											  : -EIO;
	}
	if (s->out_len)
		return 0; /* a stream repeats by itself */
	u->stats.tcp_sent++;
	dns_frame_put(s->out, len);
	memcpy(s->out + DNS_FRAME_LEN, msg, len);
	s->out_len = DNS_FRAME_LEN + len;
	return 0; /* leaves when connected */
}

int dns_upstreams_send(struct dns_upstreams *u, uint64_t token, const struct endpoint *to, bool tcp,
		       bool via_tunnel, const uint8_t *msg, size_t len)
{
	struct slot *s = slot_of(u, token);
	int rc = 0;

	if (!token || len > DNS_QUERY_CAP)
		return -EINVAL;
	if (!s) {
		s = slot_of(u, 0);
		if (!s || (tcp && u->tcp_count == DNS_UPSTREAM_TCP_MAX)) {
			u->stats.full++;
			return -ENOBUFS;
		}
		rc = slot_open(u, s, token, to, tcp, via_tunnel);
	}
	if (!rc && (rc = slot_send(u, s, msg, len)))
		slot_close(u, s);
	u->stats.failed += rc != 0;
	return rc;
}

void dns_upstreams_end(struct dns_upstreams *u, uint64_t token)
{
	struct slot *s = token ? slot_of(u, token) : NULL;

	if (s)
		slot_close(u, s);
}

/* ---- life ---- */
void dns_upstreams_set_own(struct dns_upstreams *u, const struct ipaddr *v4,
			   const struct ipaddr *v6)
{
	u->own4 = *v4;
	u->own6 = *v6;
}

void dns_upstreams_set_scopes(struct dns_upstreams *u, const struct dns_scope *list, uint32_t n)
{
	u->n_scopes = n < DNS_SCOPES_CAP ? n : DNS_SCOPES_CAP;
	memcpy(u->scopes, list, u->n_scopes * sizeof(*list));
}

int dns_upstreams_open(struct dns_upstreams **out, const struct dns_upstream_cfg *cfg,
		       struct io_err *err)
{
	struct dns_upstreams *u = calloc(1, sizeof(*u));

	*out = NULL;
	if (u) {
		u->cfg = *cfg;
		u->tokens = calloc(cfg->cap, sizeof(*u->tokens));
		u->slots = calloc(cfg->cap, sizeof(*u->slots));
	}
	if (!u || !u->tokens || !u->slots) {
		if (u) {
			free(u->tokens);
			free(u->slots);
		}
		free(u);
		return io_fail(err, -ENOMEM, "no memory for DNS queries");
	}
	*out = u;
	return 0;
}

const struct dns_upstream_stats *dns_upstreams_stats(const struct dns_upstreams *u)
{
	return &u->stats;
}

uint32_t dns_upstreams_count(const struct dns_upstreams *u)
{
	return u->count;
}

void dns_upstreams_close(struct dns_upstreams *u)
{
	if (!u)
		return;
	for (uint32_t i = 0; i < u->cfg.cap; i++)
		if (u->tokens[i])
			slot_close(u, &u->slots[i]);
	free(u->tokens);
	free(u->slots);
	free(u);
}
