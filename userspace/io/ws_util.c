/* SPDX-License-Identifier: Apache-2.0 */
#include "io/ws_util.h"
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint32_t ws_retry_after(const char *text, struct wall wall)
{
	struct tm tm = {0};
	char *end;
	unsigned long v;
	int64_t in;

	if (*text >= '0' && *text <= '9') {
		v = strtoul(text, &end, 10);
		return *end || v > UINT32_MAX ? 0 : (uint32_t)v;
	}
	end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end)
		return 0;
	in = (int64_t)timegm(&tm) - (int64_t)wall.sec;
	return in > 0 && in < UINT32_MAX ? (uint32_t)in : 0;
}

socklen_t ws_sockaddr(const struct endpoint *e, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in4 = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (e->ip.family == 4) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons(e->port);
		memcpy(&in4->sin_addr, e->ip.b, 4);
		return sizeof(*in4);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(e->port);
	memcpy(&in6->sin6_addr, e->ip.b, 16);
	return sizeof(*in6);
}

bool ws_host_is_loopback(const char *host)
{
	struct ipaddr ip;

	return !strcmp(host, "localhost") || (!ipaddr_parse(host, &ip) && ipaddr_is_loopback(&ip));
}
