/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's half of the model, packets: what passes, as what, and the sessions that follow
 * (spec tunnel §2.3-2.6, §2.10, §6.5). */
#include "tests/policy/pm.h"

#define SURE_NS (62 * NS_PER_SEC) /* a session whose time is over is gone by then */

/* Without an authorisation a client is nobody. */
static bool any_live(const struct pm_gateway *g, uint8_t c)
{
	for (uint32_t i = 0; i < PM_GRANTS; i++)
		if (g->grants[i].live && g->grants[i].c == c)
			return true;
	return false;
}

/* Its own address: the resolver for its clients, and echo. */
static bool own_serves(const struct ip_meta *pkt)
{
	switch ((enum ip_l4)pkt->l4) {
	case IP_L4_TCP:
	case IP_L4_UDP:
		return pkt->dport == 53535;
	case IP_L4_ICMP_ECHO:
	case IP_L4_ICMP_ERROR:
		return true;
	case IP_L4_ICMP_OTHER:
	case IP_L4_OTHER:
		break;
	}
	return false;
}

static bool own_permits(const struct pm *m, const struct pm_gateway *g, uint8_t c)
{
	for (uint32_t i = 0; i < PM_GRANTS; i++)
		if (g->grants[i].c == c && pm_holds(m, &g->grants[i]))
			return true;
	return false;
}

/* Names of the client that list proxy, or have real. */
static bool names_permit(struct pm *m, struct pm_gateway *g, uint8_t c, const struct ipaddr *proxy,
			 const struct ipaddr *real, const struct ip_meta *pkt, bool to)
{
	for (uint32_t i = 0; i < PM_ENTRIES; i++) {
		const struct pm_entry *e = &g->entries[i];
		const struct pm_grant *grant;
		bool has = false;

		if (!e->used || e->c != c)
			continue;
		has = proxy && pm_listed(e, proxy) >= 0;
		for (uint8_t k = 0; real && k < e->real_count; k++)
			has |= ipaddr_eq(&e->reals[k], real);
		grant = has ? pm_grant_of(g, c, e->r) : NULL;
		if (grant && pm_holds(m, grant) && pm_permits(&grant->def, pkt, to))
			return true;
	}
	return false;
}

static bool nets_permit(struct pm *m, struct pm_gateway *g, uint8_t c, const struct ipaddr *far,
			const struct ip_meta *pkt, bool to)
{
	bool host = false;

	if (pm_reserved(far) || ipaddr_is_multicast(far) || ipaddr_is_loopback(far) ||
	    ipaddr_is_unspecified(far))
		return false;
	for (uint32_t i = 0; i < PM_GRANTS; i++) {
		const struct pm_grant *e = &g->grants[i];

		if (e->c != c || !pm_holds(m, e) || !pm_covers(&e->def, far))
			continue;
		if (pm_permits(&e->def, pkt, to))
			return true;
		host |= pm_prefix(&e->def) == (far->family == 4 ? 32 : 128);
	}
	return host && names_permit(m, g, c, NULL, far, pkt, to);
}

enum life { ALIVE, MAYBE, OVER };

static uint64_t span_of(const struct pm_session *s, bool confirmed)
{
	return (!confirmed ? 60 : s->kind == IP_PROTO_TCP ? 7440 : 120) * NS_PER_SEC;
}

static enum life life_of(const struct pm *m, const struct pm_session *s)
{
	uint64_t last = s->in_ns > s->out_ns ? s->in_ns : s->out_ns, end, late;

	if (s->dead_ns)
		return OVER;
	end = last + span_of(s, s->in_ns != 0);
	if (m->w->now < end - NS_PER_SEC && !s->closing)
		return ALIVE;
	late = (s->maybe_ns > last ? s->maybe_ns : last) + span_of(s, s->maybe_ns || s->in_ns);
	return m->w->timers_ns < late + SURE_NS ? MAYBE : OVER;
}

void pm_gateway_unseen(struct pm *m, const struct pm_verdict *v)
{
	if (v->allowed && v->session)
		v->session->maybe_ns = m->w->now;
}

/* By its inside, or (proxy NULL) by its outside: the one that lives, else the last one. */
static struct pm_session *session_of(struct pm *m, struct pm_gateway *g, uint8_t c, uint8_t kind,
				     const struct ipaddr *proxy, const struct ipaddr *real,
				     uint16_t port)
{
	struct pm_session *found = NULL;

	for (uint32_t i = 0; i < PM_SESSIONS; i++) {
		struct pm_session *s = &g->sessions[i];

		if (!s->used || s->c != c || s->kind != kind ||
		    (proxy ? s->inside != port || !ipaddr_eq(&s->proxy, proxy)
			   : s->outside != port || !ipaddr_eq(&s->real, real)))
			continue;
		if (!found || life_of(m, s) < life_of(m, found) ||
		    (life_of(m, s) == life_of(m, found) && s->out_ns > found->out_ns))
			found = s;
	}
	return found;
}

static struct pm_verdict in_proxy(struct pm *m, struct pm_gateway *g, uint8_t c,
				  const struct ip_meta *pkt)
{
	struct pm_mapping *map = pm_mapping_of(g, c, &pkt->dst);
	struct pm_verdict v = {.nat = true};
	enum life life;
	uint16_t port;
	uint8_t kind = pm_kind(pkt, true, &port);

	if (!kind || pkt->is_fragment || !map || !names_permit(m, g, c, &pkt->dst, NULL, pkt, true))
		return v;
	v.session = session_of(m, g, c, kind, &pkt->dst, NULL, port);
	life = v.session ? life_of(m, v.session) : OVER;
	v.port_free = life != ALIVE;
	if (life != OVER) {
		v.allowed = true;
		v.addr = v.session->real;
		v.port = v.session->outside;
		v.maybe = life == MAYBE && !map->real.family;
	} else {
		v.session = NULL;
		v.allowed = map->real.family != 0;
		v.addr = map->real;
		v.port = port;
	}
	return v;
}

struct pm_verdict pm_gateway_in(struct pm *m, uint8_t number, uint8_t c, const struct ip_meta *pkt)
{
	const struct pw_node *me = &m->w->node[PW_CLIENTS + number], *it = &m->w->node[c];
	struct pm_gateway *g = &m->gateway[number];
	struct pm_verdict v = {0};

	if (!any_live(g, c) || !ipaddr_eq(&pkt->src, pkt->family == 4 ? &it->tun4 : &it->tun6))
		return v;
	if (ipaddr_eq(&pkt->dst, pkt->family == 4 ? &me->tun4 : &me->tun6)) {
		v.allowed = own_serves(pkt) && own_permits(m, g, c);
		return v;
	}
	if (pkt->l4 == IP_L4_ICMP_ERROR)
		return v;
	if (pm_proxy_range(&pkt->dst))
		return in_proxy(m, g, c, pkt);
	v.allowed = nets_permit(m, g, c, &pkt->dst, pkt, true);
	return v;
}

struct pm_verdict pm_gateway_out(struct pm *m, uint8_t number, uint8_t c, const struct ip_meta *pkt)
{
	const struct pw_node *me = &m->w->node[PW_CLIENTS + number];
	struct pm_gateway *g = &m->gateway[number];
	struct pm_verdict v = {0};
	bool plain;
	uint16_t port;
	uint8_t kind = pm_kind(pkt, false, &port);

	if (!any_live(g, c))
		return v;
	if (ipaddr_eq(&pkt->src, pkt->family == 4 ? &me->tun4 : &me->tun6)) {
		v.allowed = own_permits(m, g, c);
		return v;
	}
	plain = nets_permit(m, g, c, &pkt->src, pkt, false);
	v.session = kind ? session_of(m, g, c, kind, NULL, &pkt->src, port) : NULL;
	v.plain = plain;
	if (!v.session) {
		v.allowed = plain;
		return v;
	}
	/* Late for a session that has ended: dropped, for as long as that is remembered. */
	v.maybe = life_of(m, v.session) != ALIVE;
	if (life_of(m, v.session) == OVER) {
		v.session = NULL;
		v.allowed = v.maybe = plain;
		return v;
	}
	v.nat = true;
	v.allowed = names_permit(m, g, c, &v.session->proxy, NULL, pkt, false);
	v.plain_ok = v.maybe && plain;
	v.addr = v.session->proxy;
	v.port = v.session->inside;
	return v;
}

/* Is the outside another living session's? */
static bool taken(struct pm *m, struct pm_gateway *g, const struct pm_session *me)
{
	for (uint32_t i = 0; i < PM_SESSIONS; i++) {
		const struct pm_session *s = &g->sessions[i];

		if (s->used && s != me && s->c == me->c && s->kind == me->kind &&
		    s->outside == me->outside && ipaddr_eq(&s->real, &me->real) &&
		    life_of(m, s) == ALIVE)
			return true;
	}
	return false;
}

static struct pm_session *session_room(struct pm *m, struct pm_gateway *g)
{
	struct pm_session *oldest = NULL;

	for (uint32_t i = 0; i < PM_SESSIONS; i++) {
		struct pm_session *s = &g->sessions[i];

		if (!s->used)
			return s;
		if (life_of(m, s) == OVER && (!oldest || s->out_ns < oldest->out_ns))
			oldest = s;
	}
	T(oldest != NULL);
	return oldest ? oldest : &g->sessions[0];
}

static const char *noted_new(struct pm *m, struct pm_gateway *g, uint8_t c,
			     const struct ip_meta *pkt, uint16_t port)
{
	struct pm_mapping *map = pm_mapping_of(g, c, &pkt->dst);
	struct pm_session *s = session_of(m, g, c, pm_kind(pkt, true, &(uint16_t){0}), &pkt->dst,
					  NULL, pkt->icmp_id ? pkt->icmp_id : pkt->sport);

	if (s && life_of(m, s) == MAYBE)
		s->dead_ns = m->w->now; /* it had ended */
	s = session_room(m, g);
	*s = (struct pm_session){.used = true,
				 .c = c,
				 .outside = port,
				 .proxy = pkt->dst,
				 .real = map->real,
				 .far = pkt->dport,
				 .out_ns = m->w->now};
	s->kind = pm_kind(pkt, true, &s->inside);
	s->closing = (pkt->tcp_flags & (IP_TCP_FIN | IP_TCP_RST)) != 0;
	return taken(m, g, s) ? "two sessions with one outside" : NULL;
}

const char *pm_gateway_noted(struct pm *m, uint8_t number, uint8_t c, const struct ip_meta *pkt,
			     const struct pm_verdict *v, bool in, const struct ipaddr *addr,
			     uint16_t port)
{
	struct pm_gateway *g = &m->gateway[number];
	struct pm_session *s = v->session;
	struct pm_mapping *map;

	if (!v->allowed)
		return "denied";
	if (!v->nat)
		return addr ? "translated" : NULL;
	if (!addr)
		return v->plain_ok ? NULL : "not translated";
	if (s && ipaddr_eq(&s->real, in ? addr : &pkt->src) &&
	    (in ? s->outside == port : s->inside == port && ipaddr_eq(&s->proxy, addr))) {
		if (in && v->port_free) { /* it, or the next one just like it */
			s->in_ns = 0;
			s->maybe_ns = m->w->now;
		}
		*(in ? &s->out_ns : &s->in_ns) = m->w->now;
		s->far = in ? pkt->dport : s->far;
		s->closing |= (pkt->tcp_flags & (IP_TCP_FIN | IP_TCP_RST)) != 0;
		return NULL;
	}
	if (!in || !v->port_free)
		return "translated otherwise";
	map = pm_mapping_of(g, c, &pkt->dst);
	if (!map || !ipaddr_eq(&map->real, addr))
		return "translated to another address";
	return noted_new(m, g, c, pkt, port);
}
