/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's side of the shell: authorisations from the portal into core/tunnel/gateway, its
 * events into forwarding table and node. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"
#include "codec/p2p_ctl.h"
#include "crypto/crypto.h"
#include "io/entropy.h"

#define RESOURCE_CAP	   4096
#define DOMAIN_CAP	   8192 /* names of all clients together */
#define CLIENT_DOMAINS_MAX 1024
#define TOMB_CAP	   16384
#define QUESTIONS_MAX	   1000 /* names being resolved at a time */

static uint64_t now_unix(void)
{
	return loop_wall().sec;
}

static void gw_send_status(struct daemon *d, uint32_t slot, const struct p2p_domain_status *s,
			   uint64_t now)
{
	uint8_t pkt[P2P_CTL_HEADER_LEN + P2P_CTL_PAYLOAD_CAP];
	char json[P2P_CTL_PAYLOAD_CAP];
	size_t len;

	if (!p2p_domain_status_encode(s, json, sizeof(json), &len) &&
	    !p2p_ctl_encode(P2P_CTL_DOMAIN_STATUS, json, len, pkt, sizeof(pkt), &len))
		data_send(d, slot, pkt, len, 0, now);
}

static void resolved(struct daemon *d, uint32_t domain, uint32_t ticket, const struct ipaddr *addrs,
		     size_t n, uint64_t now)
{
	struct p2p_domain_status reply;
	uint32_t slot;

	if (!tgw_resolved(&d->tgw, domain, ticket, addrs, n, &slot, &reply, now))
		return;
	LOG_DEBUG("tunnel", "name set up", LOG_STR("name", reply.domain), LOG_U64("addresses", n),
		  LOG_BOOL("active", reply.active));
	gw_send_status(d, slot, &reply, now);
}

static void on_resolved(void *ctx, uint64_t cookie, const struct ipaddr *addrs, size_t n,
			uint64_t now)
{
	struct daemon *d = ctx;
	uint32_t domain, ticket;

	if (tgw_asks_close(&d->asks, (uint32_t)cookie, &domain, &ticket))
		resolved(d, domain, ticket, addrs, n, now);
}

static void gw_resolve(struct daemon *d, const struct tgw_event *ev, uint64_t now)
{
	char name[P2P_DOMAIN_CAP];
	uint32_t cookie;

	memcpy(name, ev->name, strlen(ev->name) + 1);
	if (tgw_asks_open(&d->asks, ev->slot, ev->domain, ev->ticket, &cookie))
		resolver_ask(d->resolver, name, cookie, now);
	else
		resolved(d, ev->domain, ev->ticket, NULL, 0, now);
}

/* Memory of the role's; NULL is found at the end. */
static void *role_alloc(struct daemon *d, size_t *next, size_t count, size_t size)
{
	return d->role_mem[(*next)++] = calloc(count, size);
}

static void nat_alloc(struct daemon *d, struct nat_mem *m, size_t *next)
{
	const size_t cell = sizeof(struct idx_cell);

	m->clients = role_alloc(d, next, m->client_cap, sizeof(*m->clients));
	m->mappings = role_alloc(d, next, m->mapping_cap, sizeof(*m->mappings));
	m->sessions = role_alloc(d, next, m->session_cap, sizeof(*m->sessions));
	m->tombs = role_alloc(d, next, m->tomb_cap, sizeof(*m->tombs));
	m->mapping_cells = role_alloc(d, next, idx_cap_for(m->mapping_cap), cell);
	m->inside_cells = role_alloc(d, next, idx_cap_for(m->session_cap), cell);
	m->outside_cells = role_alloc(d, next, idx_cap_for(m->session_cap), cell);
	m->tomb_cells = role_alloc(d, next, idx_cap_for(m->tomb_cap), cell);
}

static int gw_init(struct daemon *d)
{
	struct tgw_mem mem = {
		.client_cap = d->max_peers,
		.resource_cap = RESOURCE_CAP,
		.grant_cap = d->max_peers * 4,
		.domain_cap = DOMAIN_CAP,
		.client_domains_max = CLIENT_DOMAINS_MAX,
		.nat = {.client_cap = d->max_peers,
			.mapping_cap = DOMAIN_CAP * P2P_PROXIES_MAX,
			.session_cap = d->max_flows,
			.tomb_cap = TOMB_CAP},
	};
	const struct resolver_cfg cfg = {
		.questions_max = QUESTIONS_MAX, .fwmark = NL_FWMARK, .done = on_resolved, .ctx = d};
	struct tgw_asker *askers;
	struct tgw_ask *asks;
	uint64_t seed;
	size_t n = 0;

	mem.cell_cap = tgw_cells_for(&mem);
	mem.clients = role_alloc(d, &n, mem.client_cap, sizeof(*mem.clients));
	mem.resources = role_alloc(d, &n, mem.resource_cap, sizeof(*mem.resources));
	mem.grants = role_alloc(d, &n, mem.grant_cap, sizeof(*mem.grants));
	mem.domains = role_alloc(d, &n, mem.domain_cap, sizeof(*mem.domains));
	mem.cells = role_alloc(d, &n, mem.cell_cap, sizeof(*mem.cells));
	asks = role_alloc(d, &n, QUESTIONS_MAX, sizeof(*asks));
	askers = role_alloc(d, &n, mem.client_cap, sizeof(*askers));
	nat_alloc(d, &mem.nat, &n);
	for (size_t i = 0; i < n; i++)
		if (!d->role_mem[i])
			return -ENOMEM;
	if (entropy_get(&seed, sizeof(seed)))
		return -EIO;
	tgw_init(&d->tgw, &mem, seed);
	tgw_asks_init(&d->asks, asks, QUESTIONS_MAX, askers, mem.client_cap);
	d->nat = &d->tgw.nat;
	if (resolver_open(&d->resolver, &d->loop, &cfg))
		return -EIO;
	return site_open(d);
}

static void gw_fini(struct daemon *d)
{
	site_resolver_close(d->site);
	for (size_t i = 0; i < sizeof(d->role_mem) / sizeof(*d->role_mem); i++)
		free(d->role_mem[i]);
}

static void gw_drain(struct daemon *d, uint64_t now)
{
	static const char *const why[] = {
		[TGW_WHY_REJECTED] = "rejected",
		[TGW_WHY_EXPIRED] = "expired",
		[TGW_WHY_RETAIN] = "not authorised any more",
	};
	struct tgw_event ev;

	while (tgw_poll_event(&d->tgw, &ev)) {
		const struct tgw_client *c = tgw_client_at(&d->tgw, ev.slot);

		switch (ev.kind) {
		case TGW_EVENT_PEER_ADDED:
			if (c)
				link_peer_added(d, ev.slot, &c->tun4, &c->tun6);
			break;
		case TGW_EVENT_PEER_CHANGED:
			if (c)
				fwd_peer_set_tunnel(&d->fwd, ev.slot, &c->tun4, &c->tun6, true);
			mtu_peer_changed(d, ev.slot);
			link_peer_changed(d, ev.slot);
			break;
		case TGW_EVENT_PEER_REMOVED:
			LOG_INFO("tunnel", "client removed", LOG_UUID("cid", &ev.client),
				 LOG_STR("why", why[ev.why]));
			link_peer_removed(d, ev.slot, now);
			break;
		case TGW_EVENT_RESOLVE:
			gw_resolve(d, &ev, now);
			break;
		case TGW_EVENT_NONE:
			break;
		}
	}
}

static void on_init(struct daemon *d, const struct pmsg_gateway_init *m, uint64_t now)
{
	size_t n = pmsg_count(m->authorizations);
	struct tgw_retained *list = NULL;

	tgw_set_interface(&d->tgw, &m->interface.v4, &m->interface.v6);
	dev_set_interface(d, &m->interface.v4, &m->interface.v6);
	site_listen(d, now);
	if (m->has_authorizations) {
		list = calloc(n ? n : 1, sizeof(*list));
		if (!list) {
			daemon_stop(d, 1); /* cannot tell what stays valid: nothing does */
			return;
		}
		for (size_t i = 0; i < n; i++) {
			struct pmsg_authorization a = pmsg_authorization_at(m->authorizations, i);

			list[i] = (struct tgw_retained){.client = a.client_id,
							.resource = a.resource_id,
							.has_expiry = a.has_expires_at,
							.expires_at = a.expires_at};
		}
		tgw_retain(&d->tgw, list, (uint32_t)n, now);
		free(list);
	}
	gw_drain(d, now);
	role_relays(d, (struct pmsg_list){0}, m->relays, now);
}

static void on_authorize(struct daemon *d, const struct pmsg_authorize_flow *m, uint64_t now)
{
	struct tunnel_resource resource;
	struct tgw_authorization a = {
		.client = m->client_id,
		.tun4 = m->client_v4,
		.tun6 = m->client_v6,
		.resource = &resource,
		.expires_at = m->expires ? m->expires_at : TUNNEL_NEVER_EXPIRES,
	};
	struct node_peer p = {.cid = m->client_id};
	char reply[1024];
	uint32_t slot;
	int rc;

	if (role_resource(&m->resource, &resource)) {
		LOG_WARN("tunnel", "authorisation refused: too many filters",
			 LOG_UUID("resource", &m->resource.id));
		return;
	}
	if (!role_creds(&m->gateway_ice, &p.local) || !role_creds(&m->client_ice, &p.remote)) {
		LOG_WARN("tunnel", "authorisation refused: ICE credentials are unusable",
			 LOG_UUID("cid", &m->client_id));
		return;
	}
	memcpy(p.remote_pub, m->client_key, sizeof(p.remote_pub));
	memcpy(p.psk, m->psk, sizeof(p.psk));
	rc = tgw_authorize(&d->tgw, &a, &slot, now);
	gw_drain(d, now);
	if (rc) {
		LOG_WARN("tunnel", "authorisation refused", LOG_UUID("cid", &m->client_id),
			 LOG_UUID("resource", &m->resource.id), LOG_ERRNO("error", rc));
		if (rc == -ENOSPC)
			data_count(d, PS_R_CTL_TABLE_FULL, 0);
	} else if (link_connect(d, slot, &p, now)) {
		LOG_INFO("tunnel", "allowing access to resource", LOG_UUID("cid", &m->client_id),
			 LOG_UUID("resource", &m->resource.id), LOG_STR("name", resource.name));
		if (!pmsg_encode_flow_authorized(m->ref, reply, sizeof(reply)))
			portal_send(d, PMSG_EV_FLOW_AUTHORIZED, reply, now);
	}
	crypto_wipe(&p, sizeof(p));
}

static void gw_message(struct daemon *d, const struct pmsg *m, uint64_t now)
{
	struct tunnel_resource resource;

	switch (m->kind) {
	case PMSG_GATEWAY_INIT:
		on_init(d, &m->gateway_init, now);
		break;
	case PMSG_AUTHORIZE_FLOW:
		on_authorize(d, &m->authorize_flow, now);
		break;
	case PMSG_REJECT_ACCESS:
		LOG_INFO("tunnel", "revoking resource authorisation",
			 LOG_UUID("cid", &m->access.client_id),
			 LOG_UUID("resource", &m->access.resource_id));
		tgw_reject(&d->tgw, &m->access.client_id, &m->access.resource_id, now);
		break;
	case PMSG_EXPIRY_UPDATED:
		tgw_expiry_update(&d->tgw, &m->access.client_id, &m->access.resource_id,
				  m->access.expires_at);
		break;
	case PMSG_RESOURCE_UPDATED:
		/* Filters that do not fit permit less than they say, which is better than what the
		 * portal has just taken back. */
		if (role_resource(&m->resource, &resource))
			LOG_WARN("tunnel", "too many filters: only the first ones are permitted",
				 LOG_UUID("resource", &m->resource.id));
		if (tgw_resource_updated(&d->tgw, &resource) == -EINVAL)
			LOG_WARN("tunnel", "resource update not applied",
				 LOG_UUID("resource", &m->resource.id));
		break;
	case PMSG_RELAYS_PRESENCE:
		role_relays(d, m->relays_presence.disconnected, m->relays_presence.connected, now);
		break;
	case PMSG_CANDIDATES:
	case PMSG_INVALIDATED_CANDIDATES:
		role_candidates(d, tgw_find_client(&d->tgw, &m->candidates.peer_id), &m->candidates,
				m->kind == PMSG_INVALIDATED_CANDIDATES, now);
		break;
	case PMSG_UNKNOWN:
	case PMSG_CLIENT_INIT:
	case PMSG_CONFIG_CHANGED:
	case PMSG_RESOURCE_CHANGED:
	case PMSG_RESOURCE_DELETED:
	case PMSG_FLOW_CREATED:
	case PMSG_FLOW_CREATION_FAILED:
	case PMSG_DISCONNECT:
		break;
	}
	gw_drain(d, now);
}

static enum ps_reason_id gw_control(struct daemon *d, uint32_t slot, const struct p2p_ctl *ctl,
				    uint64_t now)
{
	struct p2p_assigned_ips m;
	struct p2p_domain_status reply;
	bool refused;

	if (ctl->type != P2P_CTL_ASSIGNED_IPS)
		return PS_R_URX_CONTROL_UNKNOWN;
	if (!tgw_asks_admit(&d->asks, slot, now))
		return PS_R_URX_CONTROL_RATE;
	if (p2p_assigned_ips_decode(ctl->payload, ctl->payload_len, &m))
		return PS_R_URX_CONTROL_MALFORMED;
	if (!tgw_asks_has_room(&d->asks, slot))
		return PS_R_URX_CONTROL_RATE;
	refused = tgw_assigned_ips(&d->tgw, slot, &m, now_unix(), &reply, now);
	if (refused)
		gw_send_status(d, slot, &reply, now);
	gw_drain(d, now);
	return refused ? PS_R_URX_CONTROL_REFUSED : PS_R_URX_CONTROL;
}

static enum ps_reason_id gw_check_in(struct daemon *d, uint32_t slot, const uint8_t *pkt,
				     const struct ip_meta *m, struct tunnel_flow_grant *out,
				     uint64_t now)
{
	return tgw_check_in(&d->tgw, slot, pkt, m, now_unix(), out, now);
}

static enum ps_reason_id gw_check_out(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
				      struct tunnel_flow_grant *out, uint64_t now)
{
	return tgw_check_out(&d->tgw, pkt, m, now_unix(), out, now);
}

static void gw_established(struct daemon *d, uint32_t slot, uint64_t now)
{
	(void)d;
	(void)slot;
	(void)now;
}

/* A lost connection ends no authorisation: the client comes back to it. */
static void gw_gone(struct daemon *d, uint32_t slot, uint64_t now)
{
	(void)now;
	link_peer_changed(d, slot);
}

static struct deadline gw_deadline(const struct daemon *d)
{
	return tgw_deadline(&d->tgw);
}

/* Any timer of the daemon comes here, and the sweep looks at every grant there is room for. */
static void gw_timeout(struct daemon *d, uint64_t now)
{
	if (!time_reached(tgw_deadline(&d->tgw).at, now))
		return;
	tgw_timeout(&d->tgw, now_unix(), now);
	gw_drain(d, now);
}

static bool gw_peer_info(const struct daemon *d, uint32_t slot, struct uuid *id, struct ipaddr *v4,
			 struct ipaddr *v6, uint32_t *resources)
{
	const struct tgw_client *c = tgw_client_at(&d->tgw, slot);

	if (!c)
		return false;
	*id = c->id;
	*v4 = c->tun4;
	*v6 = c->tun6;
	*resources = c->live_count;
	return true;
}

static bool gw_resource_info(const struct daemon *d, uint32_t resource, struct uuid *id,
			     const char **name)
{
	const struct tunnel_resource *r = resource == TUNNEL_NO_RESOURCE
						  ? NULL
						  : tgw_resource_at(&d->tgw, resource);

	if (!r)
		return false;
	*id = r->id;
	*name = r->name;
	return true;
}

/* {"client","expires_in_s"} of everyone who holds the resource. */
static json_t *view_grants(const struct daemon *d, uint32_t resource, uint64_t unix_now)
{
	json_t *list = json_array();
	char id[UUID_STRLEN];

	for (uint32_t s = tgw_client_next(&d->tgw, TUNNEL_NO_SLOT); s != TUNNEL_NO_SLOT;
	     s = tgw_client_next(&d->tgw, s))
		for (uint32_t g = tgw_grant_next(&d->tgw, s, TUNNEL_NO_SLOT); g != TUNNEL_NO_SLOT;
		     g = tgw_grant_next(&d->tgw, s, g)) {
			const struct tgw_grant *grant = tgw_grant_at(&d->tgw, g);
			json_t *o;

			if (grant->resource != resource)
				continue;
			o = json_pack("{s:s}", "client",
				      uuid_fmt(&tgw_client_at(&d->tgw, s)->id, id));
			json_object_set_new(
				o, "expires_in_s",
				grant->expires_at == TUNNEL_NEVER_EXPIRES
					? json_null()
					: json_integer(grant->expires_at > unix_now
							       ? (json_int_t)(grant->expires_at -
									      unix_now)
							       : 0));
			json_array_append_new(list, o);
		}
	return list;
}

static json_t *view_addresses(json_t *list, const struct ipaddr *a, uint8_t count)
{
	char text[IPADDR_STRLEN];

	for (uint8_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(ipaddr_fmt(&a[i], text)));
	return list;
}

/* {"client","name","resolving","proxies","addresses"} of every name set up for the resource. */
static json_t *view_names(const struct daemon *d, uint32_t resource)
{
	json_t *list = json_array();
	char id[UUID_STRLEN];

	for (uint32_t i = 0; i < d->tgw.mem.domain_cap; i++) {
		const struct tgw_domain *e = tgw_domain_at(&d->tgw, i);
		json_t *reals;

		if (!e || e->resource != resource)
			continue;
		reals = view_addresses(json_array(), e->real4, e->real4_count);
		json_array_append_new(
			list,
			json_pack("{s:s,s:s,s:b,s:o,s:o}", "client",
				  uuid_fmt(&tgw_client_at(&d->tgw, e->client)->id, id), "name",
				  e->name, "resolving", e->state != TGW_DOMAIN_READY, "proxies",
				  view_addresses(json_array(), e->proxies, e->proxy_count),
				  "addresses", view_addresses(reals, e->real6, e->real6_count)));
	}
	return list;
}

/* The client's name for one of its proxy addresses; NULL: none. */
static const char *name_of(const struct daemon *d, uint32_t client, const struct ipaddr *proxy)
{
	for (uint32_t i = tgw_domain_next(&d->tgw, client, TUNNEL_NO_SLOT); i != TUNNEL_NO_SLOT;
	     i = tgw_domain_next(&d->tgw, client, i)) {
		const struct tgw_domain *e = tgw_domain_at(&d->tgw, i);

		for (uint8_t k = 0; k < e->proxy_count; k++)
			if (ipaddr_eq(&e->proxies[k], proxy))
				return e->name;
	}
	return NULL;
}

static void gw_view_flow(const struct daemon *d, uint32_t peer, const struct ipaddr *far,
			 json_t *out)
{
	bool named = tgw_client_at(&d->tgw, peer) && tunnel_in_proxy_range(far);
	const char *name = named ? name_of(d, peer, far) : NULL;

	/* the portal does not tell a gateway who and where it is */
	put(out, "gateway", json_null());
	put(out, "gateway_name", json_string(d->opt.name));
	put(out, "site", json_null());
	put(out, "name", name ? json_string(name) : json_null());
}

static void gw_view_resources(const struct daemon *d, json_t *out)
{
	uint64_t unix_now = now_unix();

	for (uint32_t i = 0; i < d->tgw.mem.resource_cap; i++) {
		const struct tunnel_resource *r = tgw_resource_at(&d->tgw, i);
		json_t *o;

		if (!r)
			continue;
		o = view_resource(r);
		json_object_set_new(o, "authorizations", view_grants(d, i, unix_now));
		if (r->type == TUNNEL_RESOURCE_DNS) {
			json_object_set_new(o, "supported", json_true());
			json_object_set_new(o, "names", view_names(d, i));
		}
		json_array_append_new(out, o);
	}
}

const struct role role_gateway = {
	.name = "gateway",
	.log_name = "penstock-gateway",
	.pmsg = PMSG_ROLE_GATEWAY,
	.gateway = true,
	.init = gw_init,
	.fini = gw_fini,
	.message = gw_message,
	.check_in = gw_check_in,
	.check_out = gw_check_out,
	.drain = gw_drain,
	.control = gw_control,
	.established = gw_established,
	.gone = gw_gone,
	.deadline = gw_deadline,
	.timeout = gw_timeout,
	.peer_info = gw_peer_info,
	.resource_info = gw_resource_info,
	.view_flow = gw_view_flow,
	.view_resources = gw_view_resources,
};
