/* SPDX-License-Identifier: Apache-2.0
 *
 * The stub's events and actions as sockets; contracts in dns_resolver.h. */
#include "io/dns_resolver.h"
#include <errno.h>
#include <stdlib.h>
#include "io/nl_link.h"

struct dns_resolver {
	struct dns_resolver_cfg cfg;
	struct dns_server *server;
	struct dns_upstreams *up;
	struct loop_timer timer;
	struct ipaddr on_device[DNS_UPSTREAMS_CAP];
	uint32_t on_count;
};

static uint8_t host_len(const struct ipaddr *ip)
{
	return ip->family == 6 ? 128 : 32;
}

static void rearm(struct dns_resolver *r)
{
	loop_timer_arm(&r->timer, dns_stub_deadline(r->cfg.stub).at);
}

/* ---- actions ---- */
/* One step of an action; true: *a is the next one. */
static bool perform_step(struct dns_resolver *r, struct dns_action *a, uint64_t now)
{
	struct ipaddr at;
	uint64_t token = a->token;
	int rc;

	if (a->ended)
		dns_upstreams_end(r->up, a->token);
	switch (a->kind) {
	case DNS_ACT_NONE:
		return false;
	case DNS_ACT_ANSWER:
		dns_server_answer(r->server, &a->asker, a->msg, a->len, now);
		if (a->name != DNS_NAMES_NONE && r->cfg.named)
			r->cfg.named(r->cfg.ctx, &a->resource, a->name, now);
		return false;
	case DNS_ACT_UPSTREAM:
		if (!dns_upstreams_send(r->up, token, &a->upstream, a->tcp, a->via_tunnel, a->msg,
					a->len))
			return false;
		dns_stub_failed(r->cfg.stub, token, a);
		return true;
	case DNS_ACT_IN_SITE:
		rc = r->cfg.gateway(r->cfg.ctx, &a->resource, a->asker.sentinel.family, &at, now);
		if (rc == -EAGAIN)
			return false;
		if (rc)
			dns_stub_failed(r->cfg.stub, token, a);
		else
			dns_stub_in_site(r->cfg.stub, token, &at, a);
		return true;
	}
	return false;
}

static void perform(struct dns_resolver *r, struct dns_action *a, uint64_t now)
{
	while (perform_step(r, a, now))
		;
	rearm(r);
}

/* ---- events ---- */
static bool on_query(void *ctx, const struct dns_asker *who, const uint8_t *msg, size_t len,
		     uint64_t now)
{
	struct dns_resolver *r = ctx;
	struct dns_action a;
	bool taken;

	dns_stub_query(r->cfg.stub, who, msg, len, &a, now);
	taken = a.kind != DNS_ACT_NONE;
	perform(r, &a, now);
	return taken;
}

static void on_gone(void *ctx, uint64_t conn, uint64_t now)
{
	struct dns_resolver *r = ctx;
	struct dns_action a;

	while (dns_stub_conn_gone(r->cfg.stub, conn, &a))
		perform(r, &a, now);
}

static void on_answer(void *ctx, uint64_t token, const struct endpoint *src, const uint8_t *msg,
		      size_t len, uint64_t now)
{
	struct dns_resolver *r = ctx;
	struct dns_action a;

	dns_stub_answer(r->cfg.stub, token, src, msg, len, &a, now);
	perform(r, &a, now);
}

static void on_failed(void *ctx, uint64_t token, uint64_t now)
{
	struct dns_resolver *r = ctx;
	struct dns_action a;

	dns_stub_failed(r->cfg.stub, token, &a);
	perform(r, &a, now);
}

static void on_timer(void *ctx, uint64_t now)
{
	struct dns_resolver *r = ctx;
	struct dns_action a;

	while (dns_stub_timeout(r->cfg.stub, &a, now))
		perform(r, &a, now);
	rearm(r);
}

void dns_resolver_in_site(struct dns_resolver *r, const struct uuid *resource, uint64_t now)
{
	uint64_t token = dns_stub_held_next(r->cfg.stub, resource, 0);

	while (token) {
		struct dns_action a = {.kind = DNS_ACT_IN_SITE,
				       .token = token,
				       .resource = *resource,
				       .name = DNS_NAMES_NONE};
		uint64_t next = dns_stub_held_next(r->cfg.stub, resource, token);

		/* The family is that of the sentinel asked. */
		a.asker = r->cfg.stub->pending
				  .list[dns_pendings_by_token(&r->cfg.stub->pending, token)]
				  .asker;
		perform(r, &a, now);
		token = next;
	}
}

void dns_resolver_reset(struct dns_resolver *r, uint64_t now)
{
	dns_stub_reset(r->cfg.stub, now);
	on_timer(r, now);
}

/* ---- sentinels ---- */
int dns_resolver_apply(struct dns_resolver *r, bool fresh, uint64_t now, struct io_err *err)
{
	const struct dns_sentinels *s = &r->cfg.stub->sentinels;
	struct ipaddr want[DNS_UPSTREAMS_CAP];
	int first = 0, rc;

	for (uint32_t i = 0; i < s->count; i++)
		want[i] = s->list[i].sentinel;
	for (uint32_t k = 0; !fresh && k < r->on_count; k++) {
		bool stays = false;

		for (uint32_t i = 0; i < s->count; i++)
			stays |= ipaddr_eq(&r->on_device[k], &want[i]);
		if (!stays)
			nl_link_addr_del(r->cfg.nl, r->cfg.ifindex, &r->on_device[k],
					 host_len(&r->on_device[k]), NULL);
	}
	r->on_count = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		rc = nl_link_addr_add(r->cfg.nl, r->cfg.ifindex, &want[i], host_len(&want[i]), err);
		if (!rc)
			r->on_device[r->on_count++] = want[i];
		first = first ? first : rc;
	}
	rc = dns_server_listen(r->server, r->on_device, r->on_count, now, first ? NULL : err);
	on_timer(r, now); /* what waited under an earlier mapping */
	return first ? first : rc;
}

uint32_t dns_resolver_serving(const struct dns_resolver *r, struct ipaddr out[DNS_UPSTREAMS_CAP])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->on_count; i++)
		if (dns_server_listens(r->server, &r->on_device[i]))
			out[n++] = r->on_device[i];
	return n;
}

void dns_resolver_set_scopes(struct dns_resolver *r, const struct dns_scope *list, uint32_t n)
{
	dns_upstreams_set_scopes(r->up, list, n);
}

void dns_resolver_set_own(struct dns_resolver *r, const struct ipaddr *v4, const struct ipaddr *v6)
{
	dns_upstreams_set_own(r->up, v4, v6);
}

/* ---- life ---- */
int dns_resolver_open(struct dns_resolver **out, const struct dns_resolver_cfg *cfg,
		      struct io_err *err)
{
	struct dns_resolver *r = calloc(1, sizeof(*r));
	char device[IF_NAMESIZE];
	int rc;

	*out = NULL;
	if (!r)
		return io_fail(err, -ENOMEM, "no memory for the resolver");
	r->cfg = *cfg;
	const struct dns_server_cfg server = {
		.loop = cfg->loop,
		.device = if_indextoname((unsigned)cfg->ifindex, device),
		.own_only = true,
		.fwmark = cfg->fwmark,
		.port = DNS_PORT,
		.query = on_query,
		.gone = on_gone,
		.ctx = r,
	};
	const struct dns_upstream_cfg up = {
		.loop = cfg->loop,
		.fwmark = cfg->fwmark,
		.cap = DNS_PENDING_CAP,
		.answer = on_answer,
		.failed = on_failed,
		.ctx = r,
	};
	r->timer.fd = -1;
	rc = dns_server_open(&r->server, &server, err);
	if (!rc)
		rc = dns_upstreams_open(&r->up, &up, err);
	if (!rc)
		rc = loop_timer_init(&r->timer, cfg->loop, on_timer, r);
	if (rc)
		dns_resolver_close(r);
	else
		*out = r;
	return rc;
}

const struct dns_server_stats *dns_resolver_server(const struct dns_resolver *r)
{
	return dns_server_stats(r->server);
}

const struct dns_upstream_stats *dns_resolver_upstreams(const struct dns_resolver *r)
{
	return dns_upstreams_stats(r->up);
}

uint32_t dns_resolver_sockets(const struct dns_resolver *r)
{
	return dns_upstreams_count(r->up);
}

uint32_t dns_resolver_conns(const struct dns_resolver *r)
{
	return dns_server_conns(r->server);
}

void dns_resolver_close(struct dns_resolver *r)
{
	if (!r)
		return;
	dns_server_close(r->server);
	dns_upstreams_close(r->up);
	loop_timer_fini(&r->timer);
	free(r);
}
