/* SPDX-License-Identifier: Apache-2.0
 *
 * The load generator as an ordinary program: datagrams from a UDP socket, by sendmmsg and without
 * GSO, to wherever the route leads.
 *
 * The socket may have as much under way as it likes, so that the tunnel's device does not slow it:
 * what that has no room for is lost, and counts as such. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/wgload.h"

#define SNDBUF (64 << 20)

static void nothing(struct wgl_link *l)
{
	(void)l;
}

static void close_socket(struct wgl_link *l)
{
	close(l->fd);
	free(l->sessions);
}

void wgl_plain_open(struct wgl_link *l, const struct wgl_load *load)
{
	const int size = SNDBUF;

	*l = (struct wgl_link){.n = 1, .ready = nothing, .settle = nothing, .close = close_socket};
	l->sessions = calloc(1, sizeof(*l->sessions));
	l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || !l->sessions)
		wgl_die("socket", errno);
	if (setsockopt(l->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		wgl_die("a send buffer that does not slow it", errno);
	l->to_len = sockaddr_from_endpoint(&load->sink, &l->to);
}
