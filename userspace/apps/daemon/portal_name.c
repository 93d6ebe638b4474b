/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the portal is. On a host that resolves with us the host's resolver would ask our sentinels,
 * whose answers may come through the tunnel or be a resource's proxy address; a client that has
 * lost the portal would then need the tunnel to find it, and the portal to have a tunnel. So the
 * system's own resolvers are asked, around the tunnel, with the hosts file before them.
 *
 * When they fail, what the name meant last is good enough (the certificate tells; io/websocket
 * remembers it); on a host that does not resolve with us the host's resolver is asked, which knows
 * more ways than DNS. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/daemon/daemon.h"
#include "io/sockaddr.h"
#include "io/ws_util.h"

#define ADDRS_CAP 8

struct portal_name {
	struct daemon *d;
	struct resolver *resolver;
	char servers[RESOLV_SERVERS_MAX * (ENDPOINT_STRLEN + 1)];
	char host[PHX_HOST_CAP];
	uint64_t waits;	 /* the connection's cookie; 0: nobody waits */
	uint64_t asked;	 /* of the question that counts */
	uint32_t search; /* the system's search domain that is next */
};

/* ---- whom to ask ---- */

/* Link-local ones are left out: the library takes no interface with them. */
static bool take_servers(struct portal_name *n)
{
	const struct dns_control *c = n->d->dns_host.control;
	const struct resolv_conf *sys = c ? dns_control_system(c) : NULL;
	char at[ENDPOINT_STRLEN];
	size_t len = 0;

	n->servers[0] = 0;
	for (uint32_t i = 0; sys && i < sys->n_servers; i++)
		if (!ipaddr_is_link_local(&sys->server[i].at.ip))
			len += (size_t)snprintf(n->servers + len, sizeof(n->servers) - len, "%s%s",
						len ? "," : "",
						endpoint_fmt(&sys->server[i].at, at));
	return len > 0;
}

/* Does the host resolve with us, or soon? */
static bool host_is_ours(const struct daemon *d)
{
	const struct dns_control *c = d->dns_host.control;
	enum dns_state s = c ? dns_control_state(c) : DNS_STATE_IDLE;

	return s == DNS_STATE_ACTIVE || s == DNS_STATE_PENDING;
}

/* The next name to ask for: as it is, and, if it is a single label, below each search domain. */
static bool next_name(struct portal_name *n, char *name, size_t cap)
{
	const struct resolv_conf *sys = dns_control_system(n->d->dns_host.control);
	uint32_t i = n->search++;
	int len;

	if (i && (strchr(n->host, '.') || i > sys->n_search))
		return false;
	len = i ? snprintf(name, cap, "%s.%s", n->host, sys->search[i - 1])
		: snprintf(name, cap, "%s", n->host);
	return len > 0 && (size_t)len < cap;
}

/* ---- answers ---- */

/* Does the host have a route to it around the tunnel? */
static bool routed(const struct ipaddr *ip)
{
	const struct endpoint to = {.ip = *ip, .port = 443};
	const int mark = (int)NL_FWMARK;
	union sockaddr_any sa;
	socklen_t len = sockaddr_from_endpoint(&to, &sa);
	int fd = socket(sa.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok;

	if (fd < 0)
		return false;
	ok = !setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) && !connect(fd, &sa.sa, len);
	close(fd);
	return ok;
}

/* Those with a route first, IPv6 before IPv4 (RFC 6724 §6, rules 1 and 6). */
static size_t sort(const struct ipaddr *list, size_t count, struct ipaddr out[ADDRS_CAP])
{
	size_t n = 0;

	for (int rank = 0; rank < 4; rank++)
		for (size_t i = 0; i < count && n < ADDRS_CAP; i++)
			if ((routed(&list[i]) ? 0 : 2) + (list[i].family == 6 ? 0 : 1) == rank)
				out[n++] = list[i];
	return n;
}

static void answer(struct portal_name *n, const struct ipaddr *list, size_t count)
{
	uint64_t waits = n->waits;

	n->waits = 0;
	ws_resolved(n->d->ws, waits, list, count);
}

/* The connection goes by what it knows itself. */
static void answer_nothing(struct portal_name *n)
{
	static const struct ipaddr none;

	answer(n, &none, 0);
}

static void ask(struct portal_name *n, uint64_t now)
{
	char name[PHX_HOST_CAP + RESOLV_NAME_CAP];

	n->asked++;
	if (next_name(n, name, sizeof(name))) {
		resolver_ask(n->resolver, name, n->asked, now);
	} else if (host_is_ours(n->d)) {
		LOG_INFO("portal", "the portal's name is not resolved",
			 LOG_STR("resolvers", n->servers),
			 LOG_U64("last_known", ws_known(n->d->ws)));
		answer_nothing(n);
	} else {
		answer(n, NULL, 0);
	}
}

static void on_answer(void *ctx, uint64_t cookie, const struct ipaddr *addrs, size_t count,
		      uint64_t now)
{
	struct portal_name *n = ctx;
	struct ipaddr list[ADDRS_CAP];

	if (!n->waits || cookie != n->asked)
		return;
	if (!count) {
		ask(n, now);
		return;
	}
	answer(n, list, sort(addrs, count, list));
}

int portal_name_ask(void *ctx, const char *host, uint64_t cookie, uint64_t now)
{
	struct daemon *d = ctx;
	struct portal_name *n = d->portal_name;
	struct ipaddr literal;
	bool asks;

	if (!n || !ipaddr_parse(host, &literal) || ws_host_is_loopback(host))
		return -ENOENT;
	n->waits = 0; /* whoever asked before */
	asks = take_servers(n) && !resolver_set_servers(n->resolver, n->servers);
	if (!asks && (!ws_known(d->ws) || !host_is_ours(d)))
		return -ENOENT;
	snprintf(n->host, sizeof(n->host), "%s", host);
	n->waits = cookie;
	n->search = 0;
	if (asks)
		ask(n, now);
	else
		answer_nothing(n);
	return 0;
}

/* ---- life ---- */

void portal_name_open(struct daemon *d)
{
	struct portal_name *n = calloc(1, sizeof(*n));
	/* A question that ran out of time keeps its place for a while. */
	const struct resolver_cfg cfg = {
		.questions_max = 8, .fwmark = NL_FWMARK, .done = on_answer, .ctx = n};
	int rc = n ? resolver_open(&n->resolver, &d->loop, &cfg) : -ENOMEM;

	if (rc) {
		LOG_WARN("portal", "the portal's name is left to the host's resolver",
			 LOG_ERRNO("error", rc));
		free(n);
		return;
	}
	n->d = d;
	d->portal_name = n;
}

void portal_name_close(struct daemon *d)
{
	if (!d->portal_name)
		return;
	resolver_close(d->portal_name->resolver);
	free(d->portal_name);
	d->portal_name = NULL;
}
