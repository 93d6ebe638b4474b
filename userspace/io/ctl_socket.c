/* SPDX-License-Identifier: Apache-2.0
 *
 * Server side of the operator's socket. A connection is two libuv handles (pipe and timer) in one
 * allocation, freed when both have closed; the server is freed when it and its connections are
 * gone. */
#include "io/ctl_socket.h"
#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>
#include "io/file.h"

#define BACKLOG 16

struct ctl_server {
	uv_pipe_t pipe;
	ctl_request_fn fn;
	void *arg;
	size_t clients; /* not yet freed */
	bool closed;	/* the pipe's close callback ran */
	struct client *list;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct client {
	struct ctl_server *server;
	struct client *prev, *next;
	uv_pipe_t pipe;
	uv_timer_t timer;
	uv_write_t write;
	char *reply;
	size_t len;
	unsigned open_handles;
	char request[CTL_REQUEST_MAX + 1];
};

static void server_release(struct ctl_server *s)
{
	if (s->closed && !s->clients)
		free(s);
}

static void client_closed(uv_handle_t *h)
{
	struct client *c = h->data;
	struct ctl_server *s = c->server;

	if (--c->open_handles)
		return;
	free(c->reply);
	free(c);
	s->clients--;
	server_release(s);
}

static void client_close(struct client *c)
{
	if (uv_is_closing((uv_handle_t *)&c->pipe))
		return;
	if (c->prev)
		c->prev->next = c->next;
	else
		c->server->list = c->next;
	if (c->next)
		c->next->prev = c->prev;
	uv_close((uv_handle_t *)&c->pipe, client_closed);
	uv_close((uv_handle_t *)&c->timer, client_closed);
}

static void client_timeout(uv_timer_t *t)
{
	client_close(t->data);
}

static void client_written(uv_write_t *w, int status)
{
	(void)status;
	client_close(w->data);
}

static void client_answer(struct client *c, char *doc)
{
	static const char refused[] = "{\"error\":\"request failed\"}";
	uv_buf_t buf[2];

	c->reply = doc;
	buf[0] = doc ? uv_buf_init(doc, (unsigned)strlen(doc))
		     : uv_buf_init((char *)(uintptr_t)refused, sizeof(refused) - 1);
	buf[1] = uv_buf_init((char *)(uintptr_t)"\n", 1);
	c->write.data = c;
	if (uv_write(&c->write, (uv_stream_t *)&c->pipe, buf, 2, client_written) < 0)
		client_close(c);
}

static void client_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct client *c = h->data;

	(void)suggested;
	*buf = uv_buf_init(c->request + c->len, (unsigned)(CTL_REQUEST_MAX - c->len));
}

static void client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = stream->data;
	char *end;

	(void)buf;
	if (n == 0)
		return;
	if (n < 0 && n != UV_ENOBUFS) { /* gone, or half closed before a line was complete */
		client_close(c);
		return;
	}
	if (n > 0)
		c->len += (size_t)n;
	end = memchr(c->request, '\n', c->len);
	if (!end && c->len < CTL_REQUEST_MAX)
		return;
	uv_read_stop(stream);
	if (!end) {
		client_answer(c, strdup("{\"error\":\"request is too long\"}"));
		return;
	}
	*end = '\0';
	client_answer(c, c->server->fn(c->server->arg, c->request, (size_t)(end - c->request)));
}

static bool peer_is_root(uv_pipe_t *pipe)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	uv_os_fd_t fd;

	return uv_fileno((uv_handle_t *)pipe, &fd) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.uid == 0;
}

static void server_connection(uv_stream_t *stream, int status)
{
	struct ctl_server *s = stream->data;
	struct client *c = status < 0 ? NULL : calloc(1, sizeof(*c));

	if (!c)
		return;
	c->server = s;
	c->open_handles = 2;
	s->clients++;
	uv_pipe_init(stream->loop, &c->pipe, 0);
	uv_timer_init(stream->loop, &c->timer);
	c->pipe.data = c->timer.data = c;
	c->next = s->list;
	if (s->list)
		s->list->prev = c;
	s->list = c;
	if (uv_accept(stream, (uv_stream_t *)&c->pipe) < 0 || s->clients > CTL_CLIENTS_MAX ||
	    !peer_is_root(&c->pipe) ||
	    uv_timer_start(&c->timer, client_timeout, CTL_TIMEOUT_MS, 0) < 0 ||
	    uv_read_start((uv_stream_t *)&c->pipe, client_alloc, client_read) < 0)
		client_close(c);
}

/* ---- listening ----------------------------------------------------------------------------------
 */

static bool somebody_answers(const struct sockaddr_un *sun)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool yes = false;

	if (fd < 0)
		return false;
	/* EAGAIN: its queue is full, so it lives. */
	yes = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno == EAGAIN;
	close(fd);
	return yes;
}

static int socket_bind(const char *path, struct io_err *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, rc;

	strcpy(sun.sun_path, path);
	if (somebody_answers(&sun))
		return io_fail(err, -EADDRINUSE, "already running: a process answers on %s", path);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return io_fail(err, -errno, "operator socket: %s", strerror(errno));
	mask = umask(0177); /* never open to others, not even for a moment */
	rc = bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
	umask(mask);
	if (rc < 0) {
		close(fd);
		return io_fail(err, rc, "operator socket %s: %s", path, strerror(-rc));
	}
	return fd;
}

static int path_prepare(const char *path, struct io_err *err)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];

	if (strlen(path) >= sizeof(dir))
		return io_fail(err, -ENAMETOOLONG,
			       "operator socket path '%.60s…' is longer than %zu", path,
			       sizeof(dir) - 1);
	strcpy(dir, path);
	return file_mkdirs(dirname(dir), 0755, err);
}

static void server_closed(uv_handle_t *h)
{
	struct ctl_server *s = h->data;

	s->closed = true;
	server_release(s);
}

int ctl_server_open(struct ctl_server **out, struct uv_loop_s *loop, const char *path,
		    ctl_request_fn fn, void *arg, struct io_err *err)
{
	struct ctl_server *s;
	int rc = path_prepare(path, err), fd;

	*out = NULL;
	if (rc < 0)
		return rc;
	fd = socket_bind(path, err);
	if (fd < 0)
		return fd;
	s = calloc(1, sizeof(*s));
	if (!s || uv_pipe_init(loop, &s->pipe, 0) < 0) {
		free(s);
		close(fd);
		unlink(path);
		return io_fail(err, -ENOMEM, "no memory for the operator socket");
	}
	s->fn = fn;
	s->arg = arg;
	s->pipe.data = s;
	strcpy(s->path, path);
	rc = uv_pipe_open(&s->pipe, fd);
	if (rc < 0)
		close(fd);
	else
		rc = uv_listen((uv_stream_t *)&s->pipe, BACKLOG, server_connection);
	if (rc < 0) {
		ctl_server_close(s);
		return io_fail(err, rc, "operator socket %s: %s", path, strerror(-rc));
	}
	*out = s;
	return 0;
}

void ctl_server_close(struct ctl_server *s)
{
	if (!s)
		return;
	unlink(s->path);
	while (s->list)
		client_close(s->list);
	uv_close((uv_handle_t *)&s->pipe, server_closed);
}
