/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine's events and actions as sockets; contracts in site_resolver.h. */
#include "io/site_resolver.h"
#include <stdlib.h>
#include "io/dns_internal.h"
#include "io/entropy.h"

struct site_resolver {
	struct site_resolver_cfg cfg;
	struct dns_server *server;
	struct dns_upstreams *up;
	struct loop_timer timer;
	struct dns_file conf;
	struct dns_watch watch;
	struct dns_site_mem mem;
	struct dns_site site;
};

static uint64_t now_unix(void)
{
	return loop_wall().sec;
}

static void rearm(struct site_resolver *r)
{
	loop_timer_arm(&r->timer, dns_site_deadline(&r->site).at);
}

/* ---- actions ---- */
static void perform(struct site_resolver *r, struct dns_site_action *a, uint64_t now)
{
	for (;;) {
		if (a->ended || (a->kind == DNS_SITE_ASK && !a->again))
			dns_upstreams_end(r->up, a->token);
		if (a->kind == DNS_SITE_ANSWER)
			dns_server_answer(r->server, &a->asker, a->msg, a->len, now);
		if (a->kind != DNS_SITE_ASK ||
		    !dns_upstreams_send(r->up, a->token, &a->server, a->tcp, false, a->msg, a->len))
			break;
		dns_site_failed(&r->site, r->cfg.tgw, a->token, now_unix(), a, now);
	}
	rearm(r);
}

/* ---- events ---- */
static bool on_query(void *ctx, const struct dns_asker *who, const uint8_t *msg, size_t len,
		     uint64_t now)
{
	struct site_resolver *r = ctx;
	struct dns_site_action a;
	bool taken;

	dns_site_query(&r->site, r->cfg.tgw, who, msg, len, now_unix(), &a, now);
	taken = a.kind != DNS_SITE_NONE;
	perform(r, &a, now);
	return taken;
}

static void on_gone(void *ctx, uint64_t conn, uint64_t now)
{
	struct site_resolver *r = ctx;
	struct dns_site_action a;

	while (dns_site_conn_gone(&r->site, conn, &a))
		perform(r, &a, now);
}

static void on_answer(void *ctx, uint64_t token, const struct endpoint *src, const uint8_t *msg,
		      size_t len, uint64_t now)
{
	struct site_resolver *r = ctx;
	struct dns_site_action a;

	dns_site_answer(&r->site, r->cfg.tgw, token, src, msg, len, now_unix(), &a, now);
	perform(r, &a, now);
}

static void on_failed(void *ctx, uint64_t token, uint64_t now)
{
	struct site_resolver *r = ctx;
	struct dns_site_action a;

	dns_site_failed(&r->site, r->cfg.tgw, token, now_unix(), &a, now);
	perform(r, &a, now);
}

static void on_timer(void *ctx, uint64_t now)
{
	struct site_resolver *r = ctx;
	struct dns_site_action a;

	while (dns_site_timeout(&r->site, r->cfg.tgw, now_unix(), &a, now))
		perform(r, &a, now);
	rearm(r);
}

/* ---- name servers ---- */
/* As resolv.conf(5) says: none named means this host. Link-local ones are left out: a query's
 * socket knows no interface. */
static void read_servers(void *ctx, uint64_t now)
{
	struct site_resolver *r = ctx;
	struct endpoint list[RESOLV_SERVERS_MAX];
	struct resolv_conf c;
	uint32_t n = 0;

	(void)now;
	(void)dns_file_system(&r->conf, &c); /* unreadable: empty */
	for (uint32_t i = 0; i < c.n_servers; i++)
		if (!ipaddr_is_link_local(&c.server[i].at.ip))
			list[n++] = c.server[i].at;
	if (!c.n_servers)
		list[n++] = (struct endpoint){.ip = ipaddr_v4(127, 0, 0, 1), .port = DNS_PORT};
	dns_site_set_servers(&r->site, list, n);
}

/* ---- listening ---- */
int site_resolver_listen(struct site_resolver *r, const struct ipaddr *v4, const struct ipaddr *v6,
			 uint64_t now, struct io_err *err)
{
	struct ipaddr list[2];
	uint32_t n = 0;

	if (v4->family)
		list[n++] = *v4;
	if (v6->family)
		list[n++] = *v6;
	return dns_server_listen(r->server, list, n, now, err);
}

/* ---- life ---- */
static int open_site(struct site_resolver *r)
{
	uint8_t seed[32];

	r->mem.pending_cap = DNS_PENDING_CAP;
	r->mem.pending = calloc(DNS_PENDING_CAP, sizeof(*r->mem.pending));
	r->mem.tries = calloc(DNS_PENDING_CAP, sizeof(*r->mem.tries));
	if (!r->mem.pending || !r->mem.tries)
		return -ENOMEM;
	if (entropy_get(seed, sizeof(seed)))
		return -EIO;
	dns_site_init(&r->site, &r->mem, seed);
	return 0;
}

static int open_sockets(struct site_resolver *r, struct io_err *err)
{
	const struct dns_server_cfg server = {
		.loop = r->cfg.loop,
		.device = r->cfg.device,
		.conns_each = SITE_RESOLVER_CONNS_EACH,
		.port = TUNNEL_DNS_PORT, /* unmarked: its answers go into the tunnel */
		.query = on_query,
		.gone = on_gone,
		.ctx = r,
	};
	const struct dns_upstream_cfg up = {
		.loop = r->cfg.loop,
		.fwmark = r->cfg.fwmark,
		.cap = DNS_PENDING_CAP,
		.answer = on_answer,
		.failed = on_failed,
		.ctx = r,
	};
	int rc = dns_server_open(&r->server, &server, err);

	return rc ? rc : dns_upstreams_open(&r->up, &up, err);
}

int site_resolver_open(struct site_resolver **out, const struct site_resolver_cfg *cfg,
		       struct io_err *err)
{
	struct site_resolver *r = calloc(1, sizeof(*r));
	const char *path = cfg->resolv_conf ? cfg->resolv_conf : "/etc/resolv.conf";
	int rc;

	*out = NULL;
	if (!r)
		return io_fail(err, -ENOMEM, "no memory for the site's resolver");
	*out = r; /* also when it fails: the loop may hold timers in it by then */
	r->cfg = *cfg;
	r->timer.fd = -1;
	r->conf.lock_fd = -1;
	rc = open_site(r);
	if (!rc)
		rc = open_sockets(r, err);
	if (!rc)
		rc = loop_timer_init(&r->timer, cfg->loop, on_timer, r);
	if (!rc)
		rc = dns_file_init(&r->conf, path, err);
	if (!rc)
		rc = dns_watch_init(&r->watch, cfg->loop, path, read_servers, r);
	if (!rc)
		read_servers(r, loop_now());
	return rc;
}

const struct dns_site *site_resolver_site(const struct site_resolver *r)
{
	return &r->site;
}

const struct dns_server *site_resolver_server(const struct site_resolver *r)
{
	return r->server;
}

uint32_t site_resolver_sockets(const struct site_resolver *r)
{
	return dns_upstreams_count(r->up);
}

void site_resolver_listening(const struct site_resolver *r, struct endpoint *list, uint32_t *n)
{
	struct ipaddr at[DNS_SERVER_ADDRS];

	*n = dns_server_addresses(r->server, at);
	for (uint32_t i = 0; i < *n; i++)
		list[i] = (struct endpoint){.ip = at[i], .port = TUNNEL_DNS_PORT};
}

void site_resolver_close(struct site_resolver *r)
{
	if (!r)
		return;
	dns_watch_fini(&r->watch);
	dns_server_close(r->server);
	dns_upstreams_close(r->up);
	loop_timer_fini(&r->timer);
	free(r->mem.pending);
	free(r->mem.tries);
	free(r);
}
