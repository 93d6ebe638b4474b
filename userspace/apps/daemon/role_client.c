/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's side of the shell: resources and flows from the portal into core/tunnel/client, its
 * intents to the portal, its routes to the device, the packets it held to the gateway. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"
#include "crypto/crypto.h"
#include "io/entropy.h"

#define RESOURCE_CAP 4096
#define SITE_CAP     1024
#define HELD_CAP     1024
#define NAME_CAP     16384 /* names of DNS resources resolved since the start */
#define CACHED_CAP   1024  /* answers of upstream resolvers */
/* Packets that wait for a gateway to know a name. */
#define NAME_HELD_CAP 1024

static void *take(struct daemon *d, size_t *next, size_t count, size_t size)
{
	return d->role_mem[(*next)++] = calloc(count, size);
}

static void stub_alloc(struct daemon *d, struct dns_stub_mem *m, struct dns_nat_mem *nat,
		       size_t *next)
{
	*m = (struct dns_stub_mem){.pattern_cap = RESOURCE_CAP,
				   .name_cap = NAME_CAP,
				   .cell_cap = DNS_NAMES_CELLS(NAME_CAP),
				   .pending_cap = DNS_PENDING_CAP,
				   .cached_cap = CACHED_CAP};
	m->patterns = take(d, next, m->pattern_cap, sizeof(*m->patterns));
	m->names = take(d, next, m->name_cap, sizeof(*m->names));
	m->cells = take(d, next, m->cell_cap, sizeof(*m->cells));
	m->pending = take(d, next, m->pending_cap, sizeof(*m->pending));
	m->cached = take(d, next, m->cached_cap, sizeof(*m->cached));
	*nat = (struct dns_nat_mem){.entry_cap = NAME_CAP,
				    .cell_cap = idx_cap_for(NAME_CAP),
				    .held_cap = NAME_HELD_CAP};
	nat->entries = take(d, next, nat->entry_cap, sizeof(*nat->entries));
	nat->cells = take(d, next, nat->cell_cap, sizeof(*nat->cells));
	nat->held = take(d, next, nat->held_cap, sizeof(*nat->held));
}

static int cl_init(struct daemon *d)
{
	struct tcl_mem mem = {
		.resource_cap = RESOURCE_CAP,
		.site_cap = SITE_CAP,
		.gateway_cap = d->max_peers,
		.held_cap = HELD_CAP,
	};
	struct dns_stub_mem stub;
	uint8_t seed[32];
	size_t n = 0;

	mem.resources = take(d, &n, mem.resource_cap, sizeof(*mem.resources));
	mem.sites = take(d, &n, mem.site_cap, sizeof(*mem.sites));
	mem.gateways = take(d, &n, mem.gateway_cap, sizeof(*mem.gateways));
	mem.held = take(d, &n, mem.held_cap, sizeof(*mem.held));
	mem.routes = take(d, &n, 2 * (mem.resource_cap + TCL_FIXED_ROUTES), sizeof(*mem.routes));
	mem.stub = take(d, &n, 1, sizeof(*mem.stub));
	stub_alloc(d, &stub, &mem.nat, &n);
	for (size_t i = 0; i < n; i++)
		if (!d->role_mem[i])
			return -ENOMEM;
	if (entropy_get(seed, sizeof(seed)))
		return -EIO;
	dns_stub_init(mem.stub, &stub, seed);
	crypto_wipe(seed, sizeof(seed));
	d->stub = mem.stub;
	tcl_init(&d->tcl, &mem);
	tcl_set_internet(&d->tcl, d->opt.internet, 0);
	return dns_open(d);
}

static void cl_fini(struct daemon *d)
{
	dns_resolver_close(d->stub_io);
	for (size_t i = 0; i < sizeof(d->role_mem) / sizeof(*d->role_mem); i++)
		free(d->role_mem[i]);
}

/* ---- policy events ---- */

static void send_intent(struct daemon *d, const struct tcl_event *ev, uint64_t now)
{
	char payload[PHX_SEND_MAX];

	if (!phx_is_joined(&d->phx) ||
	    pmsg_encode_create_flow(&ev->id, ev->connected, ev->connected_count, payload,
				    sizeof(payload)))
		return;
	LOG_DEBUG("tunnel", "asking for a flow", LOG_UUID("resource", &ev->id));
	portal_send(d, PMSG_EV_CREATE_FLOW, payload, now);
}

/* A packet that waited is judged anew: it goes out, waits for something else, or is counted. */
static void send_held(struct daemon *d, const uint8_t *pkt, uint16_t len, uint64_t now)
{
	enum ps_reason_id reason = PS_R_UTX_MALFORMED;
	struct tunnel_flow_grant grant;
	struct ip_meta m;

	if (!ip_packet_parse(pkt, len, &m))
		reason = tcl_route_out(&d->tcl, pkt, &m, &grant, now);
	if (reason == PS_R_UTX_SENT)
		reason = data_send(d, grant.slot, pkt, len, m.ecn, now);
	if (reason == PS_R_UTX_SENT) {
		grant.cacheable = false; /* packets that came meanwhile follow */
		flow_carried(d, BPF_FLOW_OUT, grant.slot, &m, &grant, 1, m.total_len, now);
	}
	if (reason == PS_R_UTX_TOO_BIG)
		data_too_big(d, grant.slot, pkt, &m, now);
	if (reason != PS_R_UTX_BUFFERED) /* it was counted so once */
		data_count(d, reason, len);
}

/* Packets that waited for a gateway, in order; if it went away again they wait on. */
static void flush_held(struct daemon *d, const struct tcl_event *ev, uint64_t now)
{
	const uint8_t *pkt;
	uint16_t len;

	while (tcl_resource_served(&d->tcl, ev->resource) &&
	       (len = tcl_held_pop(&d->tcl, ev->resource, &pkt)))
		send_held(d, pkt, len, now);
}

static void flush_name(struct daemon *d, const struct tcl_event *ev, uint64_t now)
{
	const uint8_t *pkt;
	uint16_t len;

	while ((len = tcl_name_pop(&d->tcl, ev->slot, ev->name, &pkt)))
		send_held(d, pkt, len, now);
}

static void cl_drain(struct daemon *d, uint64_t now)
{
	struct tcl_event ev;

	while (tcl_poll_event(&d->tcl, &ev)) {
		const struct tcl_gateway *g;
		uint32_t n;

		switch (ev.kind) {
		case TCL_EVENT_PEER_ADDED:
			g = tcl_gateway_at(&d->tcl, ev.slot);
			if (g)
				link_peer_added(d, ev.slot, &g->tun4, &g->tun6);
			break;
		case TCL_EVENT_PEER_CHANGED:
			g = tcl_gateway_at(&d->tcl, ev.slot);
			if (g)
				fwd_peer_set_tunnel(&d->fwd, ev.slot, &g->tun4, &g->tun6, false);
			link_peer_changed(d, ev.slot);
			break;
		case TCL_EVENT_PEER_REMOVED:
			link_peer_removed(d, ev.slot, now);
			break;
		case TCL_EVENT_CONTROL:
			data_send(d, ev.slot, ev.pkt, ev.pkt_len, 0, now);
			break;
		case TCL_EVENT_NAME_FLUSH:
			flush_name(d, &ev, now);
			break;
		case TCL_EVENT_INTENT:
			send_intent(d, &ev, now);
			break;
		case TCL_EVENT_FLUSH:
			flush_held(d, &ev, now);
			dns_resolver_in_site(d->stub_io, &ev.id, now);
			break;
		case TCL_EVENT_ROUTES_CHANGED: {
			const struct ipnet *nets = tcl_routes(&d->tcl, &n);

			dev_set_routes(d, nets, n);
			break;
		}
		case TCL_EVENT_RESOURCES_CHANGED:
			LOG_DEBUG("tunnel", "resources changed");
			mtu_mapped(d);
			dns_host_flush(d);
			break;
		case TCL_EVENT_NONE:
			break;
		}
	}
}

/* ---- portal messages ---- */

static enum dns_stack to_stack(enum pmsg_ip_stack in)
{
	switch (in) {
	case PMSG_STACK_DUAL:
		break;
	case PMSG_STACK_V4:
		return DNS_STACK_V4;
	case PMSG_STACK_V6:
		return DNS_STACK_V6;
	}
	return DNS_STACK_DUAL;
}

static int to_spec(const struct pmsg_resource *in, struct tcl_resource_spec *out)
{
	size_t n = pmsg_count(in->sites);

	memset(out, 0, sizeof(*out));
	if (role_resource(in, &out->r))
		return -E2BIG;
	if (n > TCL_RESOURCE_SITES_CAP)
		n = TCL_RESOURCE_SITES_CAP;
	out->stack = in->type == PMSG_RESOURCE_DNS ? to_stack(in->ip_stack) : DNS_STACK_DUAL;
	out->site_count = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct pmsg_site s = pmsg_site_at(in->sites, i);

		out->sites[i].id = s.id;
		tunnel_text_copy(out->sites[i].name, sizeof(out->sites[i].name), s.name);
	}
	return 0;
}

static void set_interface(struct daemon *d, const struct pmsg_interface *i, uint64_t now)
{
	const struct ipnet *nets;
	bool fresh;
	uint32_t n;

	tcl_set_interface(&d->tcl, &i->v4, &i->v6);
	fresh = dev_set_interface(d, &i->v4, &i->v6) > 0;
	dns_set_interface(d, i, fresh, now);
	if (!fresh)
		return;
	/* With a device's last address the kernel drops its routes. */
	nets = tcl_routes(&d->tcl, &n);
	dev_set_routes(d, nets, n);
}

static void on_init(struct daemon *d, const struct pmsg_client_init *m, uint64_t now)
{
	size_t n = pmsg_count(m->resources);
	struct tcl_resource_spec *list = calloc(n ? n : 1, sizeof(*list));
	uint32_t used = 0, refused;

	if (!list) {
		daemon_stop(d, 1);
		return;
	}
	set_interface(d, &m->interface, now);
	for (size_t i = 0; i < n; i++) {
		struct pmsg_resource r;
		struct pmsg_err err;

		if (pmsg_client_resource_at(m->resources, i, &r, &err)) {
			LOG_WARN("portal", "resource skipped", LOG_STR("field", err.field),
				 LOG_STR("why", err.why));
			continue;
		}
		if (!to_spec(&r, &list[used]))
			used++;
	}
	refused = tcl_set_resources(&d->tcl, list, used, now);
	if (refused)
		LOG_WARN("tunnel", "resources refused", LOG_U64("count", refused));
	free(list);
	role_relays(d, (struct pmsg_list){0}, m->relays, now);
}

/* A gateway of another key than the one we are connected to is another process: what the old one
 * held for us has gone with it, whether we have noticed that or not. */
static void forget_restarted(struct daemon *d, const struct pmsg_flow_created *m, uint64_t now)
{
	uint32_t slot = tcl_find_gateway(&d->tcl, &m->gateway_id);
	const struct node_conn *conn = slot == TUNNEL_NO_SLOT ? NULL : node_conn(&d->node, slot);

	if (!conn || !tcl_flow_awaited(&d->tcl, &m->resource_id) ||
	    !memcmp(conn->remote_pub, m->gateway_key, sizeof(conn->remote_pub)))
		return;
	LOG_INFO("tunnel", "gateway has restarted", LOG_UUID("cid", &m->gateway_id));
	tcl_gateway_gone(&d->tcl, slot, now);
	cl_drain(d, now);
}

static void on_flow_created(struct daemon *d, const struct pmsg_flow_created *m, uint64_t now)
{
	const struct tcl_flow f = {
		.resource = m->resource_id,
		.gateway = m->gateway_id,
		.site = m->site_id,
		.tun4 = m->gateway_v4,
		.tun6 = m->gateway_v6,
	};
	struct node_peer p = {.cid = m->gateway_id};
	uint32_t slot;
	int rc;

	if (!role_creds(&m->client_ice, &p.local) || !role_creds(&m->gateway_ice, &p.remote)) {
		LOG_WARN("tunnel", "flow refused: ICE credentials are unusable",
			 LOG_UUID("cid", &m->gateway_id));
		return;
	}
	forget_restarted(d, m, now);
	rc = tcl_flow_created(&d->tcl, &f, &slot, now);
	cl_drain(d, now);
	if (rc) {
		LOG_DEBUG("tunnel", "flow ignored", LOG_UUID("resource", &m->resource_id),
			  LOG_ERRNO("why", rc));
		return;
	}
	memcpy(p.remote_pub, m->gateway_key, sizeof(p.remote_pub));
	memcpy(p.psk, m->psk, sizeof(p.psk));
	if (!link_connect(d, slot, &p, now))
		tcl_gateway_gone(&d->tcl, slot, now);
	else if (d->node.mem.conns[slot].established)
		tcl_gateway_established(&d->tcl, slot, now);
	crypto_wipe(&p, sizeof(p));
}

static void cl_message(struct daemon *d, const struct pmsg *m, uint64_t now)
{
	struct tcl_resource_spec *spec;

	switch (m->kind) {
	case PMSG_CLIENT_INIT:
		on_init(d, &m->client_init, now);
		break;
	case PMSG_CONFIG_CHANGED:
		set_interface(d, &m->config_changed, now);
		break;
	case PMSG_RESOURCE_CHANGED:
		spec = malloc(sizeof(*spec));
		if (!spec || to_spec(&m->resource, spec) || tcl_add_resource(&d->tcl, spec, now))
			LOG_WARN("tunnel", "resource refused",
				 LOG_UUID("resource", &m->resource.id));
		free(spec);
		break;
	case PMSG_RESOURCE_DELETED:
		LOG_INFO("tunnel", "resource deleted", LOG_UUID("resource", &m->resource_deleted));
		tcl_remove_resource(&d->tcl, &m->resource_deleted, now);
		break;
	case PMSG_FLOW_CREATED:
		on_flow_created(d, &m->flow_created, now);
		break;
	case PMSG_FLOW_CREATION_FAILED:
		LOG_INFO("tunnel", "flow creation failed",
			 LOG_UUID("resource", &m->flow_creation_failed.resource_id),
			 LOG_STR("reason", m->flow_creation_failed.reason_text));
		tcl_flow_failed(&d->tcl, &m->flow_creation_failed.resource_id,
				m->flow_creation_failed.reason == PMSG_FLOW_OFFLINE
					? TCL_FAILURE_OFFLINE
					: TCL_FAILURE_OTHER,
				now);
		break;
	case PMSG_RELAYS_PRESENCE:
		role_relays(d, m->relays_presence.disconnected, m->relays_presence.connected, now);
		break;
	case PMSG_CANDIDATES:
	case PMSG_INVALIDATED_CANDIDATES:
		role_candidates(d, tcl_find_gateway(&d->tcl, &m->candidates.peer_id),
				&m->candidates, m->kind == PMSG_INVALIDATED_CANDIDATES, now);
		break;
	case PMSG_UNKNOWN:
	case PMSG_GATEWAY_INIT:
	case PMSG_AUTHORIZE_FLOW:
	case PMSG_REJECT_ACCESS:
	case PMSG_EXPIRY_UPDATED:
	case PMSG_RESOURCE_UPDATED:
	case PMSG_DISCONNECT:
		break;
	}
	cl_drain(d, now);
}

static enum ps_reason_id cl_check_in(struct daemon *d, uint32_t slot, const uint8_t *pkt,
				     const struct ip_meta *m, struct tunnel_flow_grant *out,
				     uint64_t now)
{
	return tcl_check_in(&d->tcl, slot, pkt, m, out, now);
}

static enum ps_reason_id cl_check_out(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
				      struct tunnel_flow_grant *out, uint64_t now)
{
	return tcl_route_out(&d->tcl, pkt, m, out, now);
}

static enum ps_reason_id cl_control(struct daemon *d, uint32_t slot, const struct p2p_ctl *ctl,
				    uint64_t now)
{
	struct p2p_domain_status status;
	bool known;

	if (ctl->type != P2P_CTL_DOMAIN_STATUS)
		return PS_R_URX_CONTROL_UNKNOWN;
	if (p2p_domain_status_decode(ctl->payload, ctl->payload_len, &status))
		return PS_R_URX_CONTROL_MALFORMED;
	known = tcl_domain_status(&d->tcl, slot, &status);
	cl_drain(d, now);
	return known ? PS_R_URX_CONTROL : PS_R_URX_CONTROL_REFUSED;
}

static void cl_established(struct daemon *d, uint32_t slot, uint64_t now)
{
	tcl_gateway_established(&d->tcl, slot, now);
}

static void cl_gone(struct daemon *d, uint32_t slot, uint64_t now)
{
	tcl_gateway_gone(&d->tcl, slot, now);
}

static struct deadline cl_deadline(const struct daemon *d)
{
	return tcl_deadline(&d->tcl);
}

static void cl_timeout(struct daemon *d, uint64_t now)
{
	tcl_timeout(&d->tcl, now);
	cl_drain(d, now);
}

/* ---- view ---- */

static bool cl_peer_info(const struct daemon *d, uint32_t slot, struct uuid *id, struct ipaddr *v4,
			 struct ipaddr *v6, uint32_t *resources)
{
	const struct tcl_gateway *g = tcl_gateway_at(&d->tcl, slot);

	if (!g)
		return false;
	*id = g->id;
	*v4 = g->tun4;
	*v6 = g->tun6;
	*resources = 0;
	for (uint32_t r = tcl_resource_next(&d->tcl, TUNNEL_NO_SLOT); r != TUNNEL_NO_SLOT;
	     r = tcl_resource_next(&d->tcl, r))
		*resources += tcl_resource_at(&d->tcl, r)->gateway == slot;
	return true;
}

static bool cl_resource_info(const struct daemon *d, uint32_t resource, struct uuid *id,
			     const char **name)
{
	const struct tcl_resource *r = resource == TUNNEL_NO_RESOURCE
					       ? NULL
					       : tcl_resource_at(&d->tcl, resource);

	if (!r)
		return false;
	*id = r->r.id;
	*name = r->r.name;
	return true;
}

static void cl_view_flow(const struct daemon *d, uint32_t peer, const struct ipaddr *far,
			 json_t *out)
{
	const struct tcl_gateway *g = tcl_gateway_at(&d->tcl, peer);
	const char *site = g ? tcl_site_name(&d->tcl, &g->site) : NULL;
	const struct dns_assigned *e = dns_names_at(&d->stub->names,
						    dns_names_by_address(&d->stub->names, far));

	put(out, "gateway", g ? uuid(&g->id) : json_null());
	put(out, "gateway_name", json_null()); /* the portal does not tell clients */
	put(out, "site",
	    g ? json_pack("{s:o,s:s?}", "id", uuid(&g->site), "name", site) : json_null());
	put(out, "name", e ? json_string(e->domain) : json_null());
}

static void cl_view_resources(const struct daemon *d, json_t *out)
{
	static const char *const status[] = {[TCL_STATUS_UNKNOWN] = "unknown",
					     [TCL_STATUS_ONLINE] = "online",
					     [TCL_STATUS_OFFLINE] = "offline"};
	char id[UUID_STRLEN];

	for (uint32_t i = tcl_resource_next(&d->tcl, TUNNEL_NO_SLOT); i != TUNNEL_NO_SLOT;
	     i = tcl_resource_next(&d->tcl, i)) {
		const struct tcl_resource *r = tcl_resource_at(&d->tcl, i);
		const struct tcl_gateway *g = r->gateway == TUNNEL_NO_SLOT
						      ? NULL
						      : tcl_gateway_at(&d->tcl, r->gateway);
		json_t *o = view_resource(&r->r), *sites = json_array();

		for (uint32_t s = 0; s < r->site_count; s++) {
			const struct tcl_site *site = &d->tcl.mem.sites[r->sites[s]];

			json_array_append_new(sites,
					      json_pack("{s:s,s:s}", "id", uuid_fmt(&site->id, id),
							"name", site->name));
		}
		json_object_set_new(o, "status",
				    json_string(status[tcl_resource_status(&d->tcl, i)]));
		json_object_set_new(o, "supported",
				    json_boolean(tcl_resource_supported(&d->tcl, i)));
		json_object_set_new(o, "enabled", json_boolean(r->enabled));
		json_object_set_new(o, "sites", sites);
		json_object_set_new(o, "gateway",
				    g ? json_string(uuid_fmt(&g->id, id)) : json_null());
		json_object_set_new(o, "held_packets", json_integer(r->held.count));
		json_array_append_new(out, o);
	}
}

const struct role role_client = {
	.name = "client",
	.log_name = "penstock-client",
	.pmsg = PMSG_ROLE_CLIENT,
	.gateway = false,
	.init = cl_init,
	.fini = cl_fini,
	.message = cl_message,
	.check_in = cl_check_in,
	.check_out = cl_check_out,
	.drain = cl_drain,
	.control = cl_control,
	.established = cl_established,
	.gone = cl_gone,
	.deadline = cl_deadline,
	.timeout = cl_timeout,
	.peer_info = cl_peer_info,
	.resource_info = cl_resource_info,
	.view_flow = cl_view_flow,
	.view_resources = cl_view_resources,
};
