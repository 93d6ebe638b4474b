/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's decision about one packet: a function of grants, names, packet and time.
 * Overlapping resources are additive: any live grant that covers the far address and permits the
 * packet lets it pass; among several the most specific is named (then the larger id), so that
 * attribution is stable. A DNS resource covers the proxy addresses set up for it, and, where the
 * client holds a network of just one address, that address while a name of the resource has it.
 *
 * Policy comes first, on the client's side of the translation; then the translation is asked, which
 * may make a session or refuse. */
#include "core/tunnel/gateway.h"

#include <string.h>
#include "core/tunnel/dns_pattern.h"
#include "core/tunnel/tgw_table.h"

/* Strongest explanation first: what the operator wants to read when several apply. Expired and
 * revoked mean that the packet would have passed. */
enum verdict { V_ALLOWED, V_EXPIRED, V_REVOKED, V_FILTERED, V_POLICY };

struct outcome {
	enum verdict verdict;
	const struct tgw_grant *grant; /* V_ALLOWED */
	uint64_t expires_at;	       /* V_ALLOWED */
	bool private_refused;	       /* the Internet resource does not reach there */
};

static bool more_specific(const struct tgw *g, const struct tgw_grant *a, const struct tgw_grant *b)
{
	const struct tunnel_resource *ra = &g->mem.resources[a->resource].r;
	const struct tunnel_resource *rb = &g->mem.resources[b->resource].r;
	uint8_t la = tunnel_resource_prefix_len(ra), lb = tunnel_resource_prefix_len(rb);

	if (la != lb)
		return la > lb;
	if (ra->type == TUNNEL_RESOURCE_DNS && rb->type == TUNNEL_RESOURCE_DNS &&
	    strcmp(ra->address, rb->address) != 0)
		return dns_pattern_cmp(ra->address, rb->address) < 0;
	return memcmp(ra->id.b, rb->id.b, sizeof(ra->id.b)) > 0;
}

static enum verdict judge_grant(const struct tunnel_resource *r, const struct tgw_grant *e,
				const struct ip_meta *m, enum filter_side side, uint64_t now_unix)
{
	bool live = e->state == TGW_GRANT_LIVE && e->expires_at > now_unix;

	if (!filter_set_permits(&r->filters, m, side))
		return live ? V_FILTERED : V_POLICY;
	if (live)
		return V_ALLOWED;
	return e->state == TGW_GRANT_REVOKED ? V_REVOKED : V_EXPIRED;
}

/* One more grant that covers the packet. */
static void consider(const struct tgw *g, const struct tgw_grant *e, const struct ip_meta *m,
		     enum filter_side side, uint64_t now_unix, struct outcome *out)
{
	enum verdict v = judge_grant(&g->mem.resources[e->resource].r, e, m, side, now_unix);

	if (v == V_ALLOWED && (!out->grant || more_specific(g, e, out->grant))) {
		out->grant = e;
		out->expires_at = e->expires_at;
	}
	if (v < out->verdict)
		out->verdict = v;
}

static const struct tgw_grant *grant_of(const struct tgw *g, const struct tgw_domain *d)
{
	uint32_t i = tgw_grant_find(g, d->client, d->resource);

	return i == TGW_NONE ? NULL : &g->mem.grants[i];
}

static bool has_real(const struct tgw_domain *d, const struct ipaddr *real)
{
	const struct ipaddr *list = real->family == 4 ? d->real4 : d->real6;
	uint8_t count = real->family == 4 ? d->real4_count : d->real6_count;

	for (uint8_t k = 0; k < count; k++)
		if (ipaddr_eq(&list[k], real))
			return true;
	return false;
}

/* The client holds the network `far` alone, until host_expires: names that have the address add
 * what they permit. */
static void consider_names(const struct tgw *g, uint32_t slot, const struct ipaddr *far,
			   const struct ip_meta *m, enum filter_side side, uint64_t host_expires,
			   uint64_t now_unix, struct outcome *out)
{
	for (uint32_t i = tgw_domain_next(g, slot, TGW_NONE); i != TGW_NONE;
	     i = tgw_domain_next(g, slot, i)) {
		const struct tgw_domain *d = &g->mem.domains[i];
		const struct tgw_grant *e = grant_of(g, d);

		if (e && has_real(d, far))
			consider(g, e, m, side, now_unix, out);
	}
	if (out->verdict == V_ALLOWED && out->expires_at > host_expires)
		out->expires_at = host_expires;
}

/* May the client exchange packet m with the far address? */
static struct outcome judge(const struct tgw *g, uint32_t slot, const struct ipaddr *far,
			    const struct ip_meta *m, enum filter_side side, uint64_t now_unix)
{
	struct outcome out = {.verdict = V_POLICY};
	uint64_t host_expires = 0;

	if (tunnel_in_reserved_range(far) || ipaddr_is_multicast(far) || ipaddr_is_loopback(far) ||
	    ipaddr_is_unspecified(far) || m->source_routed)
		return out;
	for (uint32_t i = g->mem.clients[slot].grants; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];
		const struct tunnel_resource *r = &g->mem.resources[e->resource].r;

		if (r->type == TUNNEL_RESOURCE_INTERNET && e->state == TGW_GRANT_LIVE)
			out.private_refused |= !tunnel_is_internet(far);
		if (!tunnel_resource_covers(r, far))
			continue;
		consider(g, e, m, side, now_unix, &out);
		if (r->type == TUNNEL_RESOURCE_CIDR && r->net.len == 8 * ipaddr_size(far) &&
		    e->state == TGW_GRANT_LIVE && e->expires_at > host_expires)
			host_expires = e->expires_at;
	}
	if (out.verdict != V_ALLOWED && host_expires > now_unix)
		consider_names(g, slot, far, m, side, host_expires, now_unix, &out);
	return out;
}

/* The same for a proxy address. For one that is not (any longer) set up, DNS resources the client
 * has lost are the likely explanation. */
static struct outcome judge_proxy(const struct tgw *g, uint32_t slot, const struct ipaddr *proxy,
				  const struct ip_meta *m, enum filter_side side, uint64_t now_unix)
{
	struct outcome out = {.verdict = V_POLICY};
	uint32_t pos = 0, i;
	bool known = false;

	if (m->source_routed)
		return out;
	while ((i = tgw_proxy_next(g, slot, proxy, &pos)) != TGW_NONE) {
		const struct tgw_grant *e = grant_of(g, &g->mem.domains[i]);

		known = true;
		if (e)
			consider(g, e, m, side, now_unix, &out);
	}
	i = known ? TGW_NONE : g->mem.clients[slot].grants;
	for (; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (e->state != TGW_GRANT_LIVE &&
		    g->mem.resources[e->resource].r.type == TUNNEL_RESOURCE_DNS)
			consider(g, e, m, side, now_unix, &out);
	}
	return out;
}

/* What a client may want of the gateway itself: its resolver, echoes, news of the path. Whatever
 * else listens on the host listens for others. */
static bool own_serves(const struct ip_meta *m)
{
	if (m->l4 == IP_L4_TCP || m->l4 == IP_L4_UDP)
		return m->dport == TUNNEL_DNS_PORT;
	return m->l4 == IP_L4_ICMP_ECHO || m->l4 == IP_L4_ICMP_ERROR;
}

/* Traffic with the gateway itself: open to whoever holds anything live. */
static struct outcome judge_own(const struct tgw *g, const struct tgw_client *c,
				const struct ip_meta *m, uint64_t now_unix)
{
	struct outcome out = {.verdict = V_POLICY};

	if (m->source_routed)
		return out;
	out.verdict = c->state == TGW_CLIENT_LINGERING && c->why != TGW_WHY_EXPIRED ? V_REVOKED
										    : V_EXPIRED;
	for (uint32_t i = c->grants; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];

		if (e->state != TGW_GRANT_LIVE || e->expires_at <= now_unix)
			continue;
		out.verdict = V_ALLOWED;
		if (!out.grant || e->expires_at > out.expires_at) {
			out.grant = e;
			out.expires_at = e->expires_at;
		}
	}
	return out;
}

static bool is_own(const struct tgw *g, const struct ipaddr *a)
{
	return a->family && ipaddr_eq(a, a->family == 4 ? &g->own4 : &g->own6);
}

static const struct ipaddr *client_address(const struct tgw_client *c, uint8_t family)
{
	return family == 4 ? &c->tun4 : &c->tun6;
}

static void fill(const struct outcome *o, const struct ip_meta *m, bool own,
		 struct tunnel_flow_grant *out)
{
	if (o->verdict != V_ALLOWED) {
		out->reply = o->private_refused && o->verdict == V_POLICY ? ICMP_ERROR_UNREACHABLE
									  : ICMP_ERROR_PROHIBITED;
		return;
	}
	out->allowed = true;
	out->resource = own ? TUNNEL_NO_RESOURCE : o->grant->resource;
	out->expires_at = o->expires_at;
	out->cacheable = !m->has_ext &&
			 (m->l4 == IP_L4_TCP || m->l4 == IP_L4_UDP || m->l4 == IP_L4_ICMP_ECHO);
}

static enum ps_reason_id in_reason(enum verdict v)
{
	switch (v) {
	case V_ALLOWED:
		return PS_R_URX_DELIVERED;
	case V_FILTERED:
		return PS_R_URX_FILTERED;
	case V_EXPIRED:
		return PS_R_URX_AUTH_EXPIRED;
	case V_REVOKED:
		return PS_R_URX_REVOKED;
	case V_POLICY:
		break;
	}
	return PS_R_URX_POLICY;
}

/* A fragment that filters refuse was not looked into. */
static enum ps_reason_id in_refused(enum verdict v, const struct ip_meta *m)
{
	return v == V_FILTERED && m->is_fragment ? PS_R_URX_FRAGMENT : in_reason(v);
}

static enum ps_reason_id out_reason(enum verdict v)
{
	switch (v) {
	case V_ALLOWED:
		return PS_R_UTX_SENT;
	case V_FILTERED:
		return PS_R_UTX_FILTERED;
	case V_EXPIRED:
		return PS_R_UTX_AUTH_EXPIRED;
	case V_REVOKED:
		return PS_R_UTX_REVOKED;
	case V_POLICY:
		break;
	}
	return PS_R_UTX_POLICY;
}

/* ---- from the client ---- */

static enum ps_reason_id refuse(struct tunnel_flow_grant *out, enum icmp_error reply,
				enum ps_reason_id why)
{
	out->reply = reply;
	return why;
}

/* A packet to a proxy address. */
static enum ps_reason_id check_in_proxy(struct tgw *g, uint32_t slot, const struct ip_meta *m,
					uint64_t now_unix, struct tunnel_flow_grant *out,
					uint64_t now)
{
	struct outcome o = judge_proxy(g, slot, &m->dst, m, FILTER_TO_RESOURCE, now_unix);
	struct nat_hit hit;

	if (o.verdict == V_POLICY)
		return refuse(out, ICMP_ERROR_PROHIBITED, PS_R_URX_NAT_UNKNOWN);
	if (o.verdict != V_ALLOWED) {
		fill(&o, m, false, out);
		return in_refused(o.verdict, m);
	}
	switch (nat_out(&g->nat, slot, m, &hit, now)) {
	case NAT_OUT_OK:
		break;
	case NAT_OUT_NO_MAPPING: /* not resolved yet */
		return refuse(out, ICMP_ERROR_PROHIBITED, PS_R_URX_NAT_UNKNOWN);
	case NAT_OUT_UNREACHABLE:
		return refuse(out, ICMP_ERROR_UNREACHABLE, PS_R_URX_NAT_UNREACHABLE);
	case NAT_OUT_EXHAUSTED:
		return refuse(out, ICMP_ERROR_UNREACHABLE, PS_R_URX_NAT_EXHAUSTED);
	case NAT_OUT_OTHER:
		return refuse(out, ICMP_ERROR_PROHIBITED,
			      m->is_fragment ? PS_R_URX_FRAGMENT : PS_R_URX_NAT_OTHER);
	}
	fill(&o, m, false, out);
	out->nat = hit.nat;
	return PS_R_URX_DELIVERED;
}

/* An ICMP error of the client: about a translated flow of its own it is needed (path MTU), about
 * others it would be an attack or no use. */
static enum ps_reason_id check_in_error(struct tgw *g, uint32_t slot, const uint8_t *pkt,
					const struct ip_meta *m, uint64_t now_unix,
					struct tunnel_flow_grant *out)
{
	struct ip_meta quoted;
	struct nat_hit hit;
	struct outcome o;
	size_t len;

	if (!tunnel_in_proxy_range(&m->dst))
		return PS_R_URX_FILTERED;
	if (nat_icmp_out(&g->nat, slot, pkt, m, g->instead, sizeof(g->instead), &len, &hit) !=
		    NAT_ICMP_OK ||
	    ip_packet_parse_quoted(pkt, m, &quoted))
		return PS_R_URX_NAT_ERROR;
	o = judge_proxy(g, slot, &quoted.src, &quoted, FILTER_FROM_RESOURCE, now_unix);
	if (o.verdict != V_ALLOWED)
		return in_reason(o.verdict);
	fill(&o, m, false, out);
	out->instead = g->instead;
	out->instead_len = (uint16_t)len;
	return PS_R_URX_DELIVERED;
}

enum ps_reason_id tgw_check_in(struct tgw *g, uint32_t slot, const uint8_t *pkt,
			       const struct ip_meta *m, uint64_t now_unix,
			       struct tunnel_flow_grant *out, uint64_t now)
{
	const struct tgw_client *c = tgw_client_at(g, slot);
	bool own = is_own(g, &m->dst);
	struct outcome o;

	*out = (struct tunnel_flow_grant){.slot = slot, .resource = TUNNEL_NO_RESOURCE};
	if (!c || c->state == TGW_CLIENT_LEAVING)
		return PS_R_URX_POLICY;
	if (!ipaddr_eq(&m->src, client_address(c, m->family)))
		return refuse(out, ICMP_ERROR_PROHIBITED, PS_R_URX_BAD_SOURCE);
	if (m->l4 == IP_L4_ICMP_ERROR && !own)
		return check_in_error(g, slot, pkt, m, now_unix, out);
	if (!own && tunnel_in_proxy_range(&m->dst))
		return check_in_proxy(g, slot, m, now_unix, out, now);
	o = own ? judge_own(g, c, m, now_unix)
		: judge(g, slot, &m->dst, m, FILTER_TO_RESOURCE, now_unix);
	if (own && o.verdict == V_ALLOWED && !own_serves(m))
		o.verdict = V_FILTERED;
	fill(&o, m, own, out);
	if (out->allowed && !own)
		nat_direct_out(&g->nat, slot, m);
	return in_refused(o.verdict, m);
}

/* ---- to the client ---- */

/* An ICMP error may come from any router on the way; it passes when it quotes a packet the client
 * may send. */
static struct outcome judge_error(const struct tgw *g, uint32_t slot, const uint8_t *pkt,
				  const struct ip_meta *m, uint64_t now_unix)
{
	struct ip_meta quoted;

	if (ip_packet_parse_quoted(pkt, m, &quoted) ||
	    !ipaddr_eq(&quoted.src, client_address(&g->mem.clients[slot], m->family)))
		return (struct outcome){.verdict = V_POLICY};
	return judge(g, slot, &quoted.dst, &quoted, FILTER_TO_RESOURCE, now_unix);
}

/* own: it comes from the gateway itself, which is the first router behind the tunnel. */
static enum ps_reason_id check_out_error(struct tgw *g, uint32_t slot, const uint8_t *pkt,
					 const struct ip_meta *m, bool own, uint64_t now_unix,
					 struct tunnel_flow_grant *out)
{
	struct outcome o = {.verdict = V_POLICY};
	struct ip_meta quoted;
	struct nat_hit hit;
	size_t len;

	switch (nat_icmp_in(&g->nat, slot, pkt, m, g->instead, sizeof(g->instead), &len, &hit)) {
	case NAT_ICMP_OK:
		if (!ip_packet_parse_quoted(pkt, m, &quoted))
			o = judge_proxy(g, slot, &hit.proxy, &quoted, FILTER_TO_RESOURCE, now_unix);
		break;
	case NAT_ICMP_EXPIRED:
		return PS_R_UTX_NAT_EXPIRED;
	case NAT_ICMP_REFUSED:
		return PS_R_UTX_NAT_ERROR;
	case NAT_ICMP_NONE:
		o = own ? judge_own(g, &g->mem.clients[slot], m, now_unix)
			: judge_error(g, slot, pkt, m, now_unix);
		len = 0;
		break;
	}
	fill(&o, m, own && !len, out);
	if (out->allowed && len) {
		out->instead = g->instead;
		out->instead_len = (uint16_t)len;
	}
	return out_reason(o.verdict);
}

/* Does a name of the client have the address? */
static bool is_of_name(const struct tgw *g, uint32_t slot, const struct ipaddr *real)
{
	for (uint32_t i = tgw_domain_next(g, slot, TGW_NONE); i != TGW_NONE;
	     i = tgw_domain_next(g, slot, i))
		if (has_real(&g->mem.domains[i], real))
			return true;
	return false;
}

/* Fragments are not translated: one that belongs to a name comes from an address that policy does
 * not know. */
static enum ps_reason_id out_refused(const struct tgw *g, uint32_t slot, enum verdict v,
				     const struct ip_meta *m)
{
	if (m->is_fragment && (v == V_FILTERED || (v == V_POLICY && is_of_name(g, slot, &m->src))))
		return PS_R_UTX_FRAGMENT;
	return out_reason(v);
}

static enum ps_reason_id check_out_data(struct tgw *g, uint32_t slot, const struct ip_meta *m,
					uint64_t now_unix, struct tunnel_flow_grant *out,
					uint64_t now)
{
	struct nat_hit hit = {0};
	struct outcome o = {.verdict = V_POLICY};

	switch (nat_in_look(&g->nat, slot, m, &hit)) {
	case NAT_IN_OK:
		o = judge_proxy(g, slot, &hit.proxy, m, FILTER_FROM_RESOURCE, now_unix);
		break;
	case NAT_IN_EXPIRED:
		return PS_R_UTX_NAT_EXPIRED;
	case NAT_IN_NONE:
		o = judge(g, slot, &m->src, m, FILTER_FROM_RESOURCE, now_unix);
		break;
	}
	fill(&o, m, false, out);
	if (out->allowed && hit.nat.on)
		nat_in_passed(&g->nat, hit.session, m, now);
	if (out->allowed)
		out->nat = hit.nat;
	return out_refused(g, slot, o.verdict, m);
}

enum ps_reason_id tgw_check_out(struct tgw *g, const uint8_t *pkt, const struct ip_meta *m,
				uint64_t now_unix, struct tunnel_flow_grant *out, uint64_t now)
{
	uint32_t slot = tgw_find_address(g, &m->dst);
	const struct tgw_client *c = tgw_client_at(g, slot);
	bool own = is_own(g, &m->src);
	enum ps_reason_id reason;
	struct outcome o;

	*out = (struct tunnel_flow_grant){.slot = slot, .resource = TUNNEL_NO_RESOURCE};
	if (ipaddr_is_multicast(&m->dst) || ipaddr_is_link_local(&m->dst))
		return PS_R_UTX_IGNORED;
	if (!c)
		return PS_R_UTX_NO_PEER;
	if (m->l4 == IP_L4_ICMP_ERROR) {
		reason = check_out_error(g, slot, pkt, m, own, now_unix, out);
	} else if (own) {
		o = judge_own(g, c, m, now_unix);
		fill(&o, m, true, out);
		reason = out_reason(o.verdict);
	} else {
		reason = check_out_data(g, slot, m, now_unix, out, now);
	}
	out->reply = ICMP_ERROR_NONE; /* the LAN side is refused silently */
	return reason;
}
