/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's resolver in the daemon: when it listens, and what the operator sees of it. The
 * sockets are io/site_resolver, the decisions core/tunnel/dns_site. */
#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"

int site_open(struct daemon *d)
{
	const struct site_resolver_cfg cfg = {
		.loop = &d->loop, .device = d->opt.tun, .fwmark = NL_FWMARK, .tgw = &d->tgw};
	struct io_err err = {""};
	int rc;

	dns_allow_files();
	rc = site_resolver_open(&d->site, &cfg, &err);
	if (rc)
		LOG_ERROR("dns", "no resolver for clients", LOG_STR("error", err.msg));
	return rc;
}

/* Every time the portal tells them: what failed the last time may work now. */
void site_listen(struct daemon *d, uint64_t now)
{
	struct endpoint before[DNS_SERVER_ADDRS], list[DNS_SERVER_ADDRS];
	struct io_err err = {""};
	uint32_t n_before, n;

	site_resolver_listening(d->site, before, &n_before);
	if (site_resolver_listen(d->site, &d->tun4, &d->tun6, now, &err))
		LOG_WARN("dns", "not at every tunnel address", LOG_STR("error", err.msg));
	site_resolver_listening(d->site, list, &n);
	for (uint32_t i = 0; i < n; i++) {
		bool new = true;

		for (uint32_t k = 0; k < n_before; k++)
			new &= !endpoint_eq(&before[k], &list[i]);
		if (new)
			LOG_INFO("dns", "answering clients' SRV and TXT",
				 LOG_ENDPOINT("at", &list[i]));
	}
}

/* ---- view ---- */
static json_t *endpoints(const struct endpoint *list, uint32_t n)
{
	json_t *o = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(o, endpoint(&list[i]));
	return o;
}

static uint64_t sum(const uint64_t *list, uint32_t n)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < n; i++)
		all += list[i];
	return all;
}

static json_t *view_counters(const struct dns_site_counters *n)
{
	json_t *o = json_object();

	put(o, "queries", num(n->queries));
	put(o, "malformed", num(sum(n->malformed, DNS_VERDICT_COUNT)));
	put(o, "foreign", num(n->foreign));
	put(o, "wrong_type", num(n->wrong_type));
	put(o, "not_granted", num(n->not_granted));
	put(o, "withdrawn", num(n->withdrawn));
	put(o, "not_implemented", num(n->not_implemented));
	put(o, "asked", num(n->asked));
	put(o, "duplicates", num(n->duplicates));
	put(o, "share_full", num(n->share_full));
	put(o, "overflow", num(n->overflow));
	put(o, "no_server", num(n->no_server));
	put(o, "retried", num(n->retried));
	put(o, "answered", num(n->answered));
	put(o, "truncated", num(n->truncated));
	put(o, "stripped", num(n->stripped));
	put(o, "timeouts", num(n->timeouts));
	put(o, "failed", num(n->failed));
	put(o, "orphaned", num(n->orphaned));
	put(o, "bad_id", num(n->disbelieved[DNS_BAD_ID]));
	put(o, "bad_question", num(n->disbelieved[DNS_BAD_QUESTION]));
	put(o, "bad_answer", num(n->disbelieved[DNS_BAD_MESSAGE]));
	put(o, "rebinding", num(n->rebinding));
	return o;
}

json_t *site_view(const struct daemon *d)
{
	const struct dns_site *s = site_resolver_site(d->site);
	const struct dns_server *server = site_resolver_server(d->site);
	struct endpoint list[DNS_SERVER_ADDRS];
	json_t *o = json_object();
	uint32_t n;

	site_resolver_listening(d->site, list, &n);
	put(o, "listen", endpoints(list, n));
	put(o, "servers", endpoints(s->servers, s->server_count));
	put(o, "pending", num(s->pending.count));
	put(o, "connections", num(dns_server_conns(server)));
	put(o, "sockets", num(site_resolver_sockets(d->site)));
	put(o, "site", view_counters(&s->counters));
	put(o, "server", dns_view_server(dns_server_stats(server)));
	return o;
}
