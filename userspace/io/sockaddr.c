/* SPDX-License-Identifier: Apache-2.0
 *
 * struct endpoint to and from struct sockaddr. */
#include "io/sockaddr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

socklen_t sockaddr_from_endpoint(const struct endpoint *e, union sockaddr_any *out)
{
	memset(out, 0, sizeof(*out));
	if (e->ip.family == 4) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons(e->port);
		memcpy(&out->v4.sin_addr, e->ip.b, 4);
		return sizeof(out->v4);
	}
	if (e->ip.family == 6) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons(e->port);
		memcpy(&out->v6.sin6_addr, e->ip.b, 16);
		return sizeof(out->v6);
	}
	return 0;
}

int sockaddr_to_endpoint(const union sockaddr_any *sa, struct endpoint *out)
{
	memset(out, 0, sizeof(*out));
	if (sa->sa.sa_family == AF_INET) {
		out->ip = ipaddr_from(4, &sa->v4.sin_addr);
		out->port = ntohs(sa->v4.sin_port);
		return 0;
	}
	if (sa->sa.sa_family == AF_INET6) {
		out->ip = ipaddr_from(6, &sa->v6.sin6_addr);
		out->port = ntohs(sa->v6.sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}
