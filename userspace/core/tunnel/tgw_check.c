/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's decision about one packet: a pure function of grants, packet and time. Overlapping
 * resources are additive: any live grant that covers the far address and permits the packet lets it
 * pass; among several the most specific is named (then the larger id), so that attribution is
 * stable. */
#include "core/tunnel/gateway.h"

#include <string.h>
#include "core/tunnel/tgw_table.h"

/* Strongest explanation first: what the operator wants to read when several apply. Expired and
 * revoked mean that the packet would have passed. */
enum verdict { V_ALLOWED, V_EXPIRED, V_REVOKED, V_FILTERED, V_POLICY };

struct outcome {
	enum verdict verdict;
	const struct tgw_grant *grant; /* V_ALLOWED */
	bool private_refused;	       /* the Internet resource does not reach there */
};

static bool more_specific(const struct tgw *g, const struct tgw_grant *a, const struct tgw_grant *b)
{
	const struct tunnel_resource *ra = &g->mem.resources[a->resource].r;
	const struct tunnel_resource *rb = &g->mem.resources[b->resource].r;
	uint8_t la = tunnel_resource_prefix_len(ra), lb = tunnel_resource_prefix_len(rb);

	return la != lb ? la > lb : memcmp(ra->id.b, rb->id.b, sizeof(ra->id.b)) > 0;
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

/* May the client exchange packet m with the far address? */
static struct outcome judge(const struct tgw *g, const struct tgw_client *c,
			    const struct ipaddr *far, const struct ip_meta *m,
			    enum filter_side side, uint64_t now_unix)
{
	struct outcome out = {.verdict = V_POLICY};

	if (tunnel_in_reserved_range(far) || ipaddr_is_multicast(far) || ipaddr_is_loopback(far) ||
	    ipaddr_is_unspecified(far) || m->source_routed)
		return out;
	for (uint32_t i = c->grants; i != TGW_NONE; i = g->mem.grants[i].next) {
		const struct tgw_grant *e = &g->mem.grants[i];
		const struct tunnel_resource *r = &g->mem.resources[e->resource].r;
		enum verdict v;

		if (r->type == TUNNEL_RESOURCE_INTERNET && e->state == TGW_GRANT_LIVE)
			out.private_refused |= !tunnel_is_internet(far);
		if (!tunnel_resource_covers(r, far))
			continue;
		v = judge_grant(r, e, m, side, now_unix);
		if (v == V_ALLOWED && (!out.grant || more_specific(g, e, out.grant)))
			out.grant = e;
		if (v < out.verdict)
			out.verdict = v;
	}
	return out;
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
		if (!out.grant || e->expires_at > out.grant->expires_at)
			out.grant = e;
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
	out->expires_at = o->grant->expires_at;
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

enum ps_reason_id tgw_check_in(const struct tgw *g, uint32_t slot, const struct ip_meta *m,
			       uint64_t now_unix, struct tunnel_flow_grant *out)
{
	const struct tgw_client *c = tgw_client_at(g, slot);
	bool own = is_own(g, &m->dst);
	struct outcome o;

	*out = (struct tunnel_flow_grant){.slot = slot, .resource = TUNNEL_NO_RESOURCE};
	if (!c || c->state == TGW_CLIENT_LEAVING)
		return PS_R_URX_POLICY;
	if (!ipaddr_eq(&m->src, client_address(c, m->family))) {
		out->reply = ICMP_ERROR_PROHIBITED;
		return PS_R_URX_BAD_SOURCE;
	}
	/* An error from a client about a flow of somebody else is an attack, about its own not
	 * needed. */
	if (m->l4 == IP_L4_ICMP_ERROR && !own)
		return PS_R_URX_FILTERED;
	o = own ? judge_own(g, c, m, now_unix)
		: judge(g, c, &m->dst, m, FILTER_TO_RESOURCE, now_unix);
	fill(&o, m, own, out);
	return in_reason(o.verdict);
}

/* An ICMP error may come from any router on the way; it passes when it quotes a packet the client
 * may send. */
static struct outcome judge_error(const struct tgw *g, const struct tgw_client *c,
				  const uint8_t *pkt, const struct ip_meta *m, uint64_t now_unix)
{
	struct ip_meta quoted;

	if (ip_packet_parse_quoted(pkt, m, &quoted) ||
	    !ipaddr_eq(&quoted.src, client_address(c, m->family)))
		return (struct outcome){.verdict = V_POLICY};
	return judge(g, c, &quoted.dst, &quoted, FILTER_TO_RESOURCE, now_unix);
}

enum ps_reason_id tgw_check_out(const struct tgw *g, const uint8_t *pkt, const struct ip_meta *m,
				uint64_t now_unix, struct tunnel_flow_grant *out)
{
	uint32_t slot = tgw_find_address(g, &m->dst);
	const struct tgw_client *c = tgw_client_at(g, slot);
	bool own = is_own(g, &m->src);
	struct outcome o;

	*out = (struct tunnel_flow_grant){.slot = slot, .resource = TUNNEL_NO_RESOURCE};
	if (ipaddr_is_multicast(&m->dst) || ipaddr_is_link_local(&m->dst))
		return PS_R_UTX_IGNORED;
	if (!c)
		return PS_R_UTX_NO_PEER;
	if (own)
		o = judge_own(g, c, m, now_unix);
	else if (m->l4 == IP_L4_ICMP_ERROR)
		o = judge_error(g, c, pkt, m, now_unix);
	else
		o = judge(g, c, &m->src, m, FILTER_FROM_RESOURCE, now_unix);
	fill(&o, m, own, out);
	out->reply = ICMP_ERROR_NONE; /* the LAN side is refused silently */
	return out_reason(o.verdict);
}
