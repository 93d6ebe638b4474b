/* SPDX-License-Identifier: Apache-2.0
 *
 * The border between struct endpoint (our value) and struct sockaddr (the kernel's). */
#ifndef PENSTOCK_IO_SOCKADDR_H
#define PENSTOCK_IO_SOCKADDR_H
#include <netinet/in.h>
#include <sys/socket.h>
#include "base/addr.h"

union sockaddr_any {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_storage storage;
};

/* Length of the socket address, 0 when e has no family. */
socklen_t sockaddr_from_endpoint(const struct endpoint *e, union sockaddr_any *out);
/* 0 or -EAFNOSUPPORT (out is then all zero). A v4-mapped IPv6 address stays IPv6: our IPv6 sockets
 * are v6-only, so none is expected. */
int sockaddr_to_endpoint(const union sockaddr_any *sa, struct endpoint *out);
#endif
