/* SPDX-License-Identifier: Apache-2.0
 *
 * Random packets for the property test: mostly ones that somebody might send, some that nobody
 * should. */
#include "tests/policy/pm_test.h"

struct ipaddr pmt_far_address(struct pmt *t)
{
	static const char *const pool[] = {"10.9.9.9",	  "10.1.9.9",	 "10.1.2.9",
					   "10.1.2.3",	  "172.16.5.5",	 "192.168.7.7",
					   "192.168.8.8", "8.8.8.8",	 "8.9.9.9",
					   "1.1.1.1",	  "127.0.0.1",	 "100.64.1.11",
					   "100.64.1.10", "100.64.2.12", "100.100.111.1",
					   "fd12::1",	  "fd12:3::1",	 "fd12:3::2",
					   "2001:db8::1", "2002::1",	 "fd00:2021:1111::10b"};

	return pkt_ip(pool[pmt_roll(t, sizeof(pool) / sizeof(*pool))]);
}

struct ipaddr pmt_proxy_address(struct pmt *t, uint8_t c)
{
	const struct pm_client *k = &t->m.client[pmt_roll(t, 4) ? c : pmt_roll(t, PMT_CLIENTS)];
	const struct pm_name *n;
	int f = pmt_roll(t, 2) != 0;

	if (!k->name_count)
		return pkt_ip("100.96.0.77");
	n = &k->names[pmt_roll(t, k->name_count)];
	f = n->has[f] ? f : !f;
	return n->proxy[f][pmt_roll(t, 4)];
}

struct ipaddr pmt_own_address(const struct pmt *t, uint8_t node, uint8_t family)
{
	return family == 4 ? t->w.node[node].tun4 : t->w.node[node].tun6;
}

static uint16_t far_port(struct pmt *t)
{
	static const uint16_t ports[] = {0,   52,  53,	54,   79,    80,   81,
					 442, 443, 444, 8080, 53535, 65535};

	return ports[pmt_roll(t, sizeof(ports) / sizeof(*ports))];
}

struct pkt pmt_packet(struct pmt *t, const struct ipaddr *src, const struct ipaddr *dst,
		      bool to_far, uint16_t near)
{
	static const uint8_t protos[] = {IP_PROTO_TCP, IP_PROTO_TCP,  IP_PROTO_UDP,
					 IP_PROTO_UDP, IP_PROTO_ICMP, 47};
	uint8_t proto = protos[pmt_roll(t, sizeof(protos))];
	uint16_t far = far_port(t);

	if (proto == IP_PROTO_ICMP && src->family == 6)
		proto = IP_PROTO_ICMPV6;
	if (proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6) {
		uint16_t other = proto == IP_PROTO_ICMP ? 13 : 139;

		/* requests to there, replies from there, seldom something else */
		if (!pmt_roll(t, 8))
			return pkt_make(src, dst, proto, other, near, 8);
		return pkt_make(src, dst, proto, to_far || src->family == 4 ? 0 : 129, near, 8);
	}
	return pkt_make(src, dst, proto, to_far ? near : far, to_far ? far : near, 8);
}

static uint16_t near_port(struct pmt *t, const struct ipaddr *far)
{
	return (uint16_t)((pm_proxy_range(far) ? 7000 : 5000) + pmt_roll(t, 3));
}

/* An address the client may hope for: of one of its resources. */
static struct ipaddr hopeful_address(struct pmt *t, uint8_t c)
{
	const struct pm_client *k = &t->m.client[c];
	uint8_t r = (uint8_t)pmt_roll(t, PW_RESOURCES);
	struct ipaddr a = pmt_far_address(t);

	while (r < PW_RESOURCES && !k->has[r].present)
		r++;
	if (r == PW_RESOURCES)
		return a;
	if (k->has[r].def.type == TUNNEL_RESOURCE_DNS)
		return pmt_proxy_address(t, c);
	for (int i = 0; i < 12 && !pm_covers(&k->has[r].def, &a); i++)
		a = pmt_far_address(t);
	return a;
}

struct pkt pmt_from_client(struct pmt *t, uint8_t c)
{
	uint32_t kind = pmt_roll(t, 20);
	struct ipaddr dst, src;

	if (kind < 13)
		dst = hopeful_address(t, c);
	else if (kind < 16)
		dst = pmt_proxy_address(t, c);
	else if (kind < 19)
		dst = pmt_far_address(t);
	else
		dst = pmt_own_address(t, pw_gw(&t->w, (uint8_t)pmt_roll(t, PMT_GATEWAYS)),
				      pmt_roll(t, 2) ? 4 : 6);
	src = pmt_own_address(t, pmt_roll(t, 16) ? c : (uint8_t)pmt_roll(t, PMT_CLIENTS),
			      dst.family);
	if (!pmt_roll(t, 40))
		src.b[3] ^= 1;
	return pmt_packet(t, &src, &dst, true, near_port(t, &dst));
}

/* The answer to something that went out at g; false: nothing did lately. */
static bool reply(struct pmt *t, uint8_t g, uint8_t c, struct pkt *out)
{
	const struct pm_session *s = t->m.gateway[g].sessions;
	uint32_t at = pmt_roll(t, PM_SESSIONS);
	const struct pmt_flow *f;
	struct ipaddr dst;

	for (uint32_t i = 0; i < PM_SESSIONS && pmt_roll(t, 400); i++) {
		const struct pm_session *e = &s[(at + i) % PM_SESSIONS];
		uint8_t proto = e->kind;

		if (!e->used || e->c != c || (e->dead_ns && pmt_roll(t, 8)))
			continue;
		dst = pmt_own_address(t, c, e->real.family);
		if (proto == IP_PROTO_ICMP && dst.family == 6)
			proto = IP_PROTO_ICMPV6;
		*out = proto == e->kind && proto != IP_PROTO_ICMP
			       ? pkt_make(&e->real, &dst, proto, far_port(t), e->outside, 8)
			       : pkt_make(&e->real, &dst, proto, dst.family == 4 ? 0 : 129,
					  e->outside, 8);
		return true;
	}
	at = pmt_roll(t, PMT_FLOWS);
	for (uint32_t i = 0; i < PMT_FLOWS; i++) {
		const struct ip_meta *m;

		f = &t->flows[(at + i) % PMT_FLOWS];
		m = &f->p.m;
		if (!f->used || f->where != PMT_GATEWAY_IN || f->c != c || f->g != g ||
		    pm_proxy_range(&m->dst))
			continue;
		*out = m->l4 == IP_L4_ICMP_ECHO
			       ? pkt_make(&m->dst, &m->src, m->proto, m->family == 4 ? 0 : 129,
					  m->icmp_id, 8)
			       : pkt_make(&m->dst, &m->src, m->proto, m->dport, m->sport, 8);
		return true;
	}
	return false;
}

struct pkt pmt_from_lan(struct pmt *t, uint8_t g, uint8_t c)
{
	struct ipaddr src = pmt_far_address(t), dst;
	struct pkt p;

	if (pmt_roll(t, 4) && reply(t, g, c, &p))
		return p;
	if (!pmt_roll(t, 20))
		src = pmt_own_address(t, pw_gw(&t->w, g), pmt_roll(t, 2) ? 4 : 6);
	dst = pmt_own_address(t, c, src.family);
	return pmt_packet(t, &src, &dst, false,
			  (uint16_t)((pmt_roll(t, 2) ? 7000 : 5000) + pmt_roll(t, 3)));
}

void pmt_roll_flags(struct pmt *t, struct pkt *p)
{
	static const uint8_t flags[] = {IP_TCP_SYN, IP_TCP_SYN | IP_TCP_ACK,
					IP_TCP_FIN | IP_TCP_ACK, IP_TCP_RST};

	if (p->m.proto != IP_PROTO_TCP || pmt_roll(t, 16))
		return;
	p->b[p->m.l4_off + 13] = flags[pmt_roll(t, sizeof(flags))];
	T_EQ(ip_packet_parse(p->b, p->len, &p->m), 0);
}
