/* SPDX-License-Identifier: Apache-2.0
 *
 * Client side of the operator's socket: blocking, with a deadline over everything. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "io/ctl_socket.h"

static int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int wait_for(int fd, short events, int64_t until_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left = until_ms - clock_ms();
	int n = left > 0 ? poll(&p, 1, (int)left) : 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n ? 0 : -ETIMEDOUT;
}

static int request_send(int fd, const char *text, size_t len, int64_t until_ms)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int rc;

		if (n > 0) {
			text += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if ((rc = wait_for(fd, POLLOUT, until_ms)) < 0)
			return rc;
	}
	return 0;
}

static int reply_read(int fd, int64_t until_ms, char **out, size_t *out_len)
{
	size_t len = 0, cap = 65536;
	char *buf = malloc(cap);
	int rc = buf ? 0 : -ENOMEM;

	while (rc == 0) {
		ssize_t n = recv(fd, buf + len, cap - 1 - len, MSG_DONTWAIT);

		if (n == 0)
			break;
		if (n < 0) {
			rc = errno == EAGAIN || errno == EINTR ? wait_for(fd, POLLIN, until_ms)
							       : -errno;
			continue;
		}
		len += (size_t)n;
		if (len == cap - 1) {
			char *more = cap < CTL_REPLY_MAX ? realloc(buf, cap * 2) : NULL;

			if (!more)
				rc = cap < CTL_REPLY_MAX ? -ENOMEM : -EFBIG;
			else
				buf = more, cap *= 2;
		}
	}
	if (rc == 0 && len == 0)
		rc = -ECONNRESET;
	if (rc < 0) {
		free(buf);
		return rc;
	}
	buf[len] = '\0';
	*out = buf;
	*out_len = len;
	return 0;
}

int ctl_call(const char *path, const char *request, int timeout_ms, char **reply, size_t *reply_len,
	     struct io_err *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval wait = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	int64_t until_ms = clock_ms() + timeout_ms;
	int fd, rc = 0;

	*reply = NULL;
	*reply_len = 0;
	if (strlen(path) >= sizeof(sun.sun_path))
		return io_fail(err, -ENAMETOOLONG, "operator socket path is too long");
	if (strlen(request) + 1 > CTL_REQUEST_MAX)
		return io_fail(err, -EMSGSIZE, "request is longer than %d bytes", CTL_REQUEST_MAX);
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return io_fail(err, -errno, "socket: %s", strerror(errno));
	/* A daemon that hangs has a full queue: connect waits no longer than this. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (rc == 0)
		rc = request_send(fd, request, strlen(request), until_ms);
	if (rc == 0)
		rc = request_send(fd, "\n", 1, until_ms);
	if (rc == 0)
		rc = reply_read(fd, until_ms, reply, reply_len);
	close(fd);
	if (rc < 0)
		io_fail(err, rc, "%s: %s", path,
			rc == -ENOENT || rc == -ECONNREFUSED ? "no daemon is running there"
							     : strerror(-rc));
	return rc;
}
