/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's resolver in the daemon: its upstreams from the portal or the system, what it needs
 * to know of gateways, and what the operator sees of it. The sockets are io/dns_resolver. */
#include <sys/resource.h>

#include "apps/daemon/daemon.h"

#define SPARE_FILES 128 /* descriptors beside those of queries */

static int gateway(void *ctx, const struct uuid *resource, uint8_t family, struct ipaddr *at,
		   uint64_t now)
{
	struct daemon *d = ctx;

	return tcl_in_site(&d->tcl, resource, family, at, now);
}

static void named(void *ctx, const struct uuid *resource, uint32_t name, uint64_t now)
{
	struct daemon *d = ctx;

	(void)resource;
	tcl_dns_answered(&d->tcl, name, now);
}

/* A descriptor a query: the usual soft limit of 1024 is too low, the hard one is not. */
void dns_allow_files(void)
{
	const rlim_t want = DNS_PENDING_CAP + DNS_SERVER_CONNS + SPARE_FILES;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= want)
		return;
	l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
	if (setrlimit(RLIMIT_NOFILE, &l))
		LOG_WARN("dns", "few descriptors for queries", LOG_U64("limit", l.rlim_cur));
}

int dns_open(struct daemon *d)
{
	const struct dns_resolver_cfg cfg = {
		.loop = &d->loop,
		.nl = d->nl,
		.ifindex = tun_ifindex(d->tun),
		.fwmark = NL_FWMARK,
		.stub = d->stub,
		.gateway = gateway,
		.named = named,
		.ctx = d,
	};
	struct io_err err = {""};
	int rc;

	dns_allow_files();
	rc = dns_resolver_open(&d->stub_io, &cfg, &err);
	if (rc)
		LOG_ERROR("dns", "no resolver", LOG_STR("error", err.msg));
	else
		dns_host_open(d);
	return rc;
}

static void apply(struct daemon *d, bool changed, bool fresh, uint64_t now)
{
	struct io_err err = {""};

	if (dns_resolver_apply(d->stub_io, fresh, now, &err))
		LOG_WARN("dns", "names are not resolved here", LOG_STR("error", err.msg));
	for (uint32_t i = 0; changed && i < d->stub->sentinels.count; i++)
		LOG_INFO("dns", "resolver", LOG_IP("address", &d->stub->sentinels.list[i].sentinel),
			 LOG_ENDPOINT("upstream", &d->stub->sentinels.list[i].at),
			 LOG_BOOL("from_portal", d->stub->sentinels.from_portal));
}

/* Sentinels are addresses of the tunnel: there are none before the portal has given it its own. */
static void update(struct daemon *d, bool fresh, uint64_t now)
{
	bool changed;

	if (!d->tun4.family)
		return;
	changed = dns_stub_set_upstreams(d->stub, d->dns_portal, d->dns_portal_count, d->dns_system,
					 d->dns_system_count);
	tcl_dns_cover(&d->tcl);
	if (changed || fresh)
		apply(d, changed, fresh, now);
	dns_host_update(d, now);
}

void dns_set_interface(struct daemon *d, const struct pmsg_interface *i, bool fresh, uint64_t now)
{
	size_t n = pmsg_count(i->dns);

	if (n > DNS_UPSTREAMS_CAP)
		n = DNS_UPSTREAMS_CAP;
	for (size_t k = 0; k < n; k++)
		d->dns_portal[k] = pmsg_dns_at(i->dns, k);
	d->dns_portal_count = (uint32_t)n;
	dns_host_set_search(d, i->search_domain);
	dns_resolver_set_own(d->stub_io, &i->v4, &i->v6);
	update(d, fresh, now);
}

void dns_set_system(struct daemon *d, const struct endpoint *list, uint32_t n, uint64_t now)
{
	if (n > DNS_UPSTREAMS_CAP)
		n = DNS_UPSTREAMS_CAP;
	for (uint32_t k = 0; k < n; k++)
		d->dns_system[k] = list[k];
	d->dns_system_count = n;
	update(d, false, now);
}

/* ---- view ---- */
json_t *dns_view_server(const struct dns_server_stats *n)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "udp_queries",
			 (json_int_t)n->udp_queries, "tcp_queries", (json_int_t)n->tcp_queries,
			 "tcp_accepted", (json_int_t)n->tcp_accepted, "tcp_evicted",
			 (json_int_t)n->tcp_evicted, "tcp_refused", (json_int_t)n->tcp_refused,
			 "tcp_bad_frame", (json_int_t)n->tcp_bad_frame, "tcp_idle",
			 (json_int_t)n->tcp_idle, "foreign", (json_int_t)n->foreign);
}

/* Messages refused, by what was wrong with them (codec/dns_msg.h). */
static json_t *view_verdicts(const uint64_t n[DNS_VERDICT_COUNT])
{
	static const char *const names[DNS_VERDICT_COUNT] = {
		[DNS_SHORT] = "short",		 [DNS_BAD_QR] = "bad_qr",
		[DNS_BAD_COUNT] = "bad_count",	 [DNS_BAD_NAME] = "bad_name",
		[DNS_BAD_RECORD] = "bad_record", [DNS_TRAILING] = "trailing",
	};
	json_t *o = json_object();

	for (int v = 0; v < DNS_VERDICT_COUNT; v++)
		if (names[v])
			json_object_set_new(o, names[v], json_integer((json_int_t)n[v]));
	return o;
}

/* What was not believed or not served. */
static void view_stub_refused(json_t *o, const struct dns_stub_counters *n)
{
	const struct {
		const char *name;
		uint64_t count;
	} list[] = {{"bad_source", n->bad_source},
		    {"bad_question", n->bad_question},
		    {"late", n->late},
		    {"orphaned", n->orphaned},
		    {"names_full", n->names_full},
		    {"no_upstream", n->no_upstream},
		    {"not_implemented", n->not_implemented}};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		json_object_set_new(o, list[i].name, json_integer((json_int_t)list[i].count));
	json_object_set_new(o, "malformed", view_verdicts(n->malformed));
	json_object_set_new(o, "bad_answer", view_verdicts(n->bad_answer));
}

static json_t *view_stub(const struct dns_stub_counters *n)
{
	json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			      "queries", (json_int_t)n->queries, "proxied", (json_int_t)n->proxied,
			      "in_site", (json_int_t)n->in_site, "forwarded",
			      (json_int_t)n->forwarded, "cached", (json_int_t)n->cached, "answered",
			      (json_int_t)n->answered, "truncated", (json_int_t)n->truncated,
			      "timeouts", (json_int_t)n->timeouts, "failed", (json_int_t)n->failed,
			      "rebinding", (json_int_t)n->rebinding, "bad_id",
			      (json_int_t)n->bad_id, "overflow", (json_int_t)n->overflow);

	if (o)
		view_stub_refused(o, n);
	return o;
}

json_t *dns_view(const struct daemon *d)
{
	const struct dns_sentinels *s = d->stub ? &d->stub->sentinels : NULL;
	char at[ENDPOINT_STRLEN], ip[IPADDR_STRLEN];
	json_t *o, *list;

	if (d->site)
		return site_view(d);
	if (!s || !d->stub_io)
		return json_null();
	o = json_object();
	dns_host_view(d, o);
	list = json_array();
	for (uint32_t i = 0; i < s->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "address",
						      ipaddr_fmt(&s->list[i].sentinel, ip),
						      "upstream", endpoint_fmt(&s->list[i].at, at),
						      "via_tunnel", s->list[i].via_tunnel));
	json_object_set_new(o, "resolvers", list);
	json_object_set_new(o, "from_portal", json_boolean(s->from_portal));
	json_object_set_new(o, "pending", json_integer(d->stub->pending.count));
	json_object_set_new(o, "connections", json_integer(dns_resolver_conns(d->stub_io)));
	json_object_set_new(o, "sockets", json_integer(dns_resolver_sockets(d->stub_io)));
	json_object_set_new(o, "stub", view_stub(&d->stub->counters));
	json_object_set_new(o, "server", dns_view_server(dns_resolver_server(d->stub_io)));
	return o;
}
