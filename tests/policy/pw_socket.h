/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's connection to the portal as text frames, for tests of what only portal.c does:
 * reconnecting. See pw_socket.c. */
#ifndef PENSTOCK_TESTS_PW_SOCKET_H
#define PENSTOCK_TESTS_PW_SOCKET_H
#include "tests/policy/pw.h"

struct pw_socket {
	struct ws_cfg cfg;
	bool open;
	uint32_t connects, closes, frames;
	uint64_t connected_ns; /* last */
	char sent[1024];       /* last frame */
};

/* The node's portal.c starts and connects. The world's portal goes on to deliver by itself. */
struct pw_socket *pw_socket_open(struct pw_world *w, uint8_t node);
/* Before pw_close. */
void pw_socket_close(struct pw_world *w, uint8_t node);
/* What the other end does. */
void pw_socket_opened(struct pw_world *w, uint8_t node);
void pw_socket_text(struct pw_world *w, uint8_t node, const char *text);
#endif
