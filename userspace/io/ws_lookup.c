/* SPDX-License-Identifier: Apache-2.0
 *
 * getaddrinfo(3) by libuv. */
#include "io/ws_lookup.h"
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include "io/sockaddr.h"

struct ws_lookup {
	uv_getaddrinfo_t req;
	ws_lookup_done *done; /* NULL: abandoned */
	void *ctx;
};

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct ws_lookup *l = req->data;
	struct ipaddr list[WS_LOOKUP_ADDRS];
	ws_lookup_done *done = l->done;
	void *ctx = l->ctx;
	size_t n = 0;

	for (struct addrinfo *a = res; a && n < WS_LOOKUP_ADDRS; a = a->ai_next) {
		struct endpoint e;

		if (!sockaddr_to_endpoint((const union sockaddr_any *)(const void *)a->ai_addr, &e))
			list[n++] = e.ip;
	}
	uv_freeaddrinfo(res);
	free(l);
	if (done)
		done(ctx, list, n, status ? uv_strerror(status) : "no usable address");
}

int ws_lookup_start(struct ws_lookup **out, struct loop *loop, const char *host,
		    ws_lookup_done *done, void *ctx)
{
	static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
					      .ai_flags = AI_ADDRCONFIG};
	struct ipaddr literal;
	struct ws_lookup *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return -ENOMEM;
	l->done = done;
	l->ctx = ctx;
	l->req.data = l;
	/* AI_ADDRCONFIG would refuse a literal whose family has only loopback addresses. */
	rc = uv_getaddrinfo(&loop->uv, &l->req, on_lookup, host, NULL,
			    ipaddr_parse(host, &literal) ? &hints : NULL);
	if (rc) {
		free(l);
		return rc;
	}
	*out = l;
	return 0;
}

void ws_lookup_abandon(struct ws_lookup *l)
{
	if (!l)
		return;
	l->done = NULL;
	uv_cancel((uv_req_t *)&l->req);
}
