/* SPDX-License-Identifier: Apache-2.0
 *
 * The host pointed at our resolver (io/dns_control), and the resolvers it had before as the stub's
 * upstreams. What fails here costs names of resources, never the names the host could resolve
 * without us.
 *
 * resolv.conf is everybody's file. When another program has rewritten it, it is that program's for
 * a moment, and then ours again with theirs remembered; each time soon after the last the pause
 * doubles, so that two programs that both insist do not end in a fight. */
#include <stdio.h>
#include <string.h>

#include "apps/daemon/daemon.h"

#define AGAIN_MIN_NS (1 * NS_PER_SEC)
#define AGAIN_MAX_NS (300 * NS_PER_SEC)
#define KEPT_NS	     (600 * NS_PER_SEC) /* ours for so long: the next loss is a first one */

_Static_assert(RESOLV_SERVERS_MAX == DNS_UPSTREAMS_CAP && DNS_SCOPES_CAP >= RESOLV_SERVERS_MAX,
	       "every resolver fits");

static void say(struct daemon *d)
{
	struct dns_host *h = &d->dns_host;
	enum dns_state s = dns_control_state(h->control);
	const char *why = dns_control_problem(h->control);
	const char *method = dns_method_name(dns_control_method(h->control));

	if (s == DNS_STATE_PENDING || (s == h->said && !strcmp(why, h->said_why.msg)))
		return;
	h->said = s;
	snprintf(h->said_why.msg, sizeof(h->said_why.msg), "%s", why);
	switch (s) {
	case DNS_STATE_ACTIVE:
		LOG_INFO("dns", "the host resolves with us", LOG_STR("method", method));
		break;
	case DNS_STATE_IDLE:
	case DNS_STATE_PENDING:
		LOG_INFO("dns", "the host resolves as before", LOG_STR("method", method));
		break;
	case DNS_STATE_FAILED:
		LOG_WARN("dns", "the host cannot be pointed at our resolver", LOG_STR("why", why));
		break;
	case DNS_STATE_TAKEN:
		LOG_WARN("dns", "the host's DNS settings were changed by others",
			 LOG_STR("why", why));
		break;
	}
}

/* ---- the system's resolvers ---- */

static void take_system(struct daemon *d, uint64_t now)
{
	const struct resolv_conf *sys = dns_control_system(d->dns_host.control);
	struct endpoint list[RESOLV_SERVERS_MAX];
	struct dns_scope scopes[RESOLV_SERVERS_MAX];
	uint32_t n_scopes = 0;

	for (uint32_t i = 0; i < sys->n_servers; i++) {
		const struct resolv_server *s = &sys->server[i];

		list[i] = s->at;
		if (s->ifindex)
			scopes[n_scopes++] = (struct dns_scope){.ip = s->at.ip,
								.ifindex = s->ifindex};
		LOG_DEBUG("dns", "resolver of the system", LOG_ENDPOINT("address", &s->at));
	}
	dns_resolver_set_scopes(d->stub_io, scopes, n_scopes);
	dns_set_system(d, list, sys->n_servers, now);
}

static void on_changed(void *ctx, unsigned int what, uint64_t now)
{
	struct daemon *d = ctx;

	if (what & DNS_CHANGED_STATE)
		say(d);
	if (what & DNS_CHANGED_SYSTEM)
		take_system(d, now);
}

/* ---- our settings ---- */

static void apply(struct daemon *d, uint64_t now)
{
	struct dns_host *h = &d->dns_host;
	bool was = dns_control_state(h->control) == DNS_STATE_ACTIVE;
	struct dns_settings s = {.n_servers = 0};
	struct io_err err = {""};

	s.n_servers = dns_resolver_serving(d->stub_io, s.server);
	snprintf(s.search, sizeof(s.search), "%s", h->search);
	if (dns_control_method(h->control) == DNS_METHOD_DISABLED) {
		if (s.n_servers && !h->left_alone)
			LOG_INFO("dns", "the host's DNS settings are left alone: point it at the "
					"resolver yourself");
		h->left_alone |= s.n_servers > 0;
		return;
	}
	/* What goes wrong is in its state, too. */
	if (dns_control_set(h->control, s.n_servers ? &s : NULL, &err))
		LOG_DEBUG("dns", "settings refused", LOG_STR("error", err.msg));
	if (!was && dns_control_state(h->control) == DNS_STATE_ACTIVE)
		h->applied_ns = now;
	say(d);
}

/* The file is not ours: taken by others, or it could not be written. */
static bool lost(const struct dns_host *h)
{
	enum dns_state s = dns_control_state(h->control);

	return dns_control_method(h->control) == DNS_METHOD_ETC &&
	       (s == DNS_STATE_TAKEN || s == DNS_STATE_FAILED);
}

void dns_host_update(struct daemon *d, uint64_t now)
{
	if (d->dns_host.control && !lost(&d->dns_host))
		apply(d, now);
}

void dns_host_tick(struct daemon *d, uint64_t now)
{
	struct dns_host *h = &d->dns_host;

	if (!h->control)
		return;
	if (!lost(h)) {
		if (time_since(h->applied_ns, now) >= KEPT_NS)
			h->wait_ns = 0;
		h->again_ns = 0;
	} else if (!h->again_ns) {
		h->wait_ns = h->wait_ns ? 2 * h->wait_ns : AGAIN_MIN_NS;
		if (h->wait_ns > AGAIN_MAX_NS)
			h->wait_ns = AGAIN_MAX_NS;
		h->again_ns = time_add(now, h->wait_ns);
	} else if (now >= h->again_ns) {
		h->again_ns = 0;
		apply(d, now);
	}
}

void dns_host_set_search(struct daemon *d, const char *domain)
{
	struct dns_host *h = &d->dns_host;

	if (domain && domain[0] && !resolv_name_ok(domain)) {
		LOG_WARN("dns", "the portal's search domain is no domain name",
			 LOG_STR("search_domain", domain));
		domain = NULL;
	}
	snprintf(h->search, sizeof(h->search), "%s", domain ? domain : "");
}

void dns_host_flush(struct daemon *d)
{
	if (d->dns_host.control)
		dns_control_flush(d->dns_host.control);
}

void dns_host_refresh(struct daemon *d)
{
	if (d->dns_host.control)
		dns_control_refresh(d->dns_host.control);
}

/* ---- life ---- */

void dns_host_recover(void)
{
	struct io_err err = {""};

	if (dns_control_recover(NULL, &err))
		LOG_WARN("dns", "settings of an earlier run are still in force",
			 LOG_STR("error", err.msg));
}

void dns_host_open(struct daemon *d)
{
	const struct dns_control_cfg cfg = {
		.method = d->opt.dns_method,
		.ifindex = tun_ifindex(d->tun),
		.changed = on_changed,
		.ctx = d,
	};
	struct dns_host *h = &d->dns_host;

	if (dns_control_open(&h->control, &d->loop, &cfg, &h->said_why)) {
		h->control = NULL;
		h->said = DNS_STATE_FAILED;
		LOG_ERROR("dns", "the host cannot be pointed at our resolver",
			  LOG_STR("why", h->said_why.msg));
		return;
	}
	say(d);
	take_system(d, loop_now());
}

void dns_host_close(struct daemon *d)
{
	dns_control_close(d->dns_host.control);
	d->dns_host.control = NULL;
}

/* ---- view ---- */

void dns_host_view(const struct daemon *d, json_t *out)
{
	const struct dns_host *h = &d->dns_host;
	const struct resolv_conf *sys = h->control ? dns_control_system(h->control) : NULL;
	const char *why = h->control ? dns_control_problem(h->control) : h->said_why.msg;
	enum dns_state s = h->control ? dns_control_state(h->control) : DNS_STATE_FAILED;
	json_t *servers = json_array(), *search = json_array();
	char at[ENDPOINT_STRLEN];

	for (uint32_t i = 0; sys && i < sys->n_servers; i++)
		json_array_append_new(servers, json_string(endpoint_fmt(&sys->server[i].at, at)));
	for (uint32_t i = 0; sys && i < sys->n_search; i++)
		json_array_append_new(search, json_string(sys->search[i]));
	json_object_set_new(out, "method", json_string(dns_method_name(d->opt.dns_method)));
	json_object_set_new(out, "state", json_string(dns_state_name(s)));
	json_object_set_new(out, "problem", why[0] ? json_string(why) : json_null());
	json_object_set_new(out, "search", h->search[0] ? json_string(h->search) : json_null());
	json_object_set_new(out, "system", servers);
	json_object_set_new(out, "system_search", search);
}
