/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP connections of the DNS server: frames in, answers out in any order (RFC 7766 §7), and the
 * limits that dns_server.h lists. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "codec/dns_frame.h"
#include "io/dns_server_int.h"

#define OUT_READ_LIMIT (DNS_SERVER_OUT_CAP / 2) /* answers waiting: read no more queries */
#define STUCK_NS       (3 * DNS_SERVER_IDLE_NS) /* the stub answers sooner, or never */

static uint64_t handle_of(const struct dns_conn *c)
{
	return (uint64_t)c->generation << 32 | (uint64_t)(c - c->server->conn + 1);
}

static struct dns_conn *by_handle(struct dns_server *s, uint64_t handle)
{
	uint64_t i = handle & 0xffffffffu;
	struct dns_conn *c = i && i <= DNS_SERVER_CONNS ? &s->conn[i - 1] : NULL;

	return c && c->fd >= 0 && c->generation == handle >> 32 ? c : NULL;
}

void dns_conn_close(struct dns_conn *c, uint64_t now)
{
	struct dns_server *s = c->server;
	uint64_t handle = handle_of(c);
	bool waiting = c->inflight;

	loop_fd_fini(&c->io);
	close(c->fd);
	free(c->out);
	c->fd = -1;
	c->out = NULL;
	if (waiting && s->cfg.gone)
		s->cfg.gone(s->cfg.ctx, handle, now);
}

/* Ends at the next turn: its queries may be on somebody's hands right now. */
static void doom(struct dns_conn *c, uint64_t now)
{
	c->doomed = true;
	loop_fd_set(&c->io, 0);
	loop_timer_arm(&c->server->timer, now);
}

static void watch(struct dns_conn *c)
{
	unsigned int want = 0;

	if (c->doomed)
		return;
	if (!c->eof && c->inflight < DNS_SERVER_INFLIGHT &&
	    c->out_len - c->out_pos < OUT_READ_LIMIT)
		want |= LOOP_READ;
	if (c->out_len > c->out_pos)
		want |= LOOP_WRITE;
	loop_fd_set(&c->io, want);
}

static void flush(struct dns_conn *c, uint64_t now)
{
	while (c->out_pos < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			doom(c, now);
			return;
		}
		c->out_pos += (size_t)n;
	}
	if (c->out_len)
		c->active_ns = now;
	c->out_len = c->out_pos = 0;
}

/* Whole frames at the front, as many as may be unanswered at a time. */
static void take_frames(struct dns_conn *c, uint64_t now)
{
	struct dns_server *s = c->server;
	struct dns_asker who = {
		.src = c->src, .sentinel = c->sentinel, .conn = handle_of(c), .tcp = true};
	size_t pos = 0, len = 0;

	while (!c->doomed && c->inflight < DNS_SERVER_INFLIGHT &&
	       c->out_len - c->out_pos < OUT_READ_LIMIT) {
		enum dns_frame f = dns_frame_next(c->in + pos, c->in_len - pos,
						  DNS_SERVER_QUERY_MAX, &len);

		if (f == DNS_FRAME_MORE)
			break;
		if (f == DNS_FRAME_BAD) {
			s->stats.tcp_bad_frame++;
			doom(c, now);
			break;
		}
		c->active_ns = now;
		c->inflight++;
		s->stats.tcp_queries++;
		memcpy(s->buf, c->in + pos + DNS_FRAME_LEN, len);
		pos += DNS_FRAME_LEN + len;
		if (!s->cfg.query(s->cfg.ctx, &who, s->buf, len, now))
			c->inflight -= c->inflight > 0;
	}
	memmove(c->in, c->in + pos, c->in_len - pos);
	c->in_len -= pos;
}

static void on_conn(void *ctx, unsigned int events, uint64_t now)
{
	struct dns_conn *c = ctx;

	if (events & LOOP_WRITE)
		flush(c, now);
	if ((events & LOOP_READ) && !c->doomed && !c->eof && c->in_len < sizeof(c->in)) {
		ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

		if (n > 0)
			c->in_len += (size_t)n;
		else if (n == 0)
			c->eof = true; /* may still wait for answers */
		else if (errno != EAGAIN && errno != EINTR)
			c->doomed = true;
	} else if (events & LOOP_ERROR) {
		c->doomed = true;
	}
	dns_conn_sweep(c->server, now);
}

void dns_conn_answer(struct dns_server *s, uint64_t handle, const uint8_t *msg, size_t len,
		     uint64_t now)
{
	struct dns_conn *c = by_handle(s, handle);

	if (!c || c->doomed || len > DNS_MSG_CAP) {
		s->stats.tcp_unsent++;
		return;
	}
	c->inflight -= c->inflight > 0;
	if (c->out_pos) {
		memmove(c->out, c->out + c->out_pos, c->out_len - c->out_pos);
		c->out_len -= c->out_pos;
		c->out_pos = 0;
	}
	if (DNS_SERVER_OUT_CAP - c->out_len < DNS_FRAME_LEN + len) {
		s->stats.tcp_slow++;
		s->stats.tcp_unsent++;
		doom(c, now);
		return;
	}
	if (!c->out_len)
		c->active_ns = now;
	dns_frame_put(c->out + c->out_len, len);
	memcpy(c->out + c->out_len + DNS_FRAME_LEN, msg, len);
	c->out_len += DNS_FRAME_LEN + len;
	s->stats.tcp_answers++;
	flush(c, now);
	/* Frames that waited for this one's place go on at the next turn. */
	if (!c->doomed && c->in_len)
		loop_timer_arm(&s->timer, now);
	watch(c);
}

/* A free place: if need be that of the connection which has been idle longest, of those with the
 * same source when that has its share. */
static struct dns_conn *place(struct dns_server *s, const struct ipaddr *src, uint64_t now)
{
	struct dns_conn *idle = NULL, *idle_of_src = NULL, *free_one = NULL;
	uint32_t of_src = 0;

	for (uint32_t i = 0; i < DNS_SERVER_CONNS; i++) {
		struct dns_conn *c = &s->conn[i];
		bool same = c->fd >= 0 && ipaddr_eq(&c->src.ip, src);

		of_src += same;
		if (c->fd < 0)
			free_one = c;
		if (c->fd < 0 || c->inflight)
			continue;
		if (!idle || c->active_ns < idle->active_ns)
			idle = c;
		if (same && (!idle_of_src || c->active_ns < idle_of_src->active_ns))
			idle_of_src = c;
	}
	if (s->cfg.conns_each && of_src >= s->cfg.conns_each)
		idle = idle_of_src;
	else if (free_one)
		return free_one;
	if (idle) {
		s->stats.tcp_evicted++;
		dns_conn_close(idle, now);
	}
	return idle;
}

void dns_conn_open(struct dns_server *s, int fd, const struct endpoint *src,
		   const struct ipaddr *sentinel, uint64_t now)
{
	struct dns_conn *c = place(s, &src->ip, now);
	uint8_t *out = c ? malloc(DNS_SERVER_OUT_CAP) : NULL;

	if (!out) {
		s->stats.tcp_refused++;
		close(fd);
		return;
	}
	c->server = s;
	c->fd = fd;
	c->out = out;
	c->doomed = c->eof = false;
	c->generation++;
	c->inflight = 0;
	c->src = *src;
	c->sentinel = *sentinel;
	c->active_ns = now;
	c->in_len = c->out_len = c->out_pos = 0;
	s->stats.tcp_accepted++;
	if (loop_fd_init(&c->io, s->cfg.loop, fd, LOOP_READ, on_conn, c))
		dns_conn_close(c, now);
	dns_conn_sweep(s, now);
}

/* Judges one connection; how long it may stay as it is. */
static uint64_t conn_tend(struct dns_conn *c, uint64_t now)
{
	struct dns_server_stats *n = &c->server->stats;
	uint64_t until;

	if (!c->doomed)
		take_frames(c, now);
	until = c->active_ns + (c->inflight ? STUCK_NS : DNS_SERVER_IDLE_NS);
	if (!c->doomed && now >= until) {
		n->tcp_idle += !c->out_len;
		n->tcp_slow += c->out_len > 0;
		c->doomed = true;
	}
	if (c->eof && !c->inflight && !c->out_len)
		c->doomed = true;
	if (c->doomed) {
		dns_conn_close(c, now);
		return TIME_NEVER;
	}
	watch(c);
	return until;
}

void dns_conn_sweep(struct dns_server *s, uint64_t now)
{
	uint64_t next = TIME_NEVER;

	for (uint32_t i = 0; i < DNS_SERVER_CONNS; i++) {
		uint64_t until = s->conn[i].fd < 0 ? TIME_NEVER : conn_tend(&s->conn[i], now);

		if (until < next)
			next = until;
	}
	for (uint32_t i = 0; i < DNS_SERVER_CONNS; i++)
		if (s->conn[i].fd >= 0 && s->conn[i].doomed)
			next = now;
	loop_timer_arm(&s->timer, next);
}
