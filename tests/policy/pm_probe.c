/* SPDX-License-Identifier: Apache-2.0
 *
 * Probes: random packets in at every door, and what comes out of every other held against the
 * model. Whatever a node writes to its tunnel device is judged when it is written (wrote), whoever
 * sent it and whenever; a probe then asks whether what should have arrived did. */
#include "tests/policy/pm_test.h"

enum { TOLD_MAX = 12, WARM_OVER_MS = 25 };

static const char magic[4] = {'P', 'M', 'I', 'D'};

static void tell(struct pmt *t, const char *what, const char *why, const struct ip_meta *m,
		 unsigned c, unsigned g)
{
	char src[IPADDR_STRLEN], dst[IPADDR_STRLEN];

	if (t->quiet || t->told++ >= TOLD_MAX)
		return;
	t_note("step %llu: %s: %s: %s:%u > %s:%u proto %u id %u, client %u gateway %u, now "
	       "%llu.%03llu",
	       (unsigned long long)t->n.steps, what, why, ipaddr_fmt(&m->src, src), m->sport,
	       ipaddr_fmt(&m->dst, dst), m->dport, m->proto, m->icmp_id, c, g,
	       (unsigned long long)pw_unix(&t->w) - PW_UNIX0,
	       (unsigned long long)(t->w.wall_ns / NS_PER_MS % 1000));
}

static void denied(struct pmt *t, const char *where, const char *why, const struct ip_meta *m,
		   unsigned c, unsigned g)
{
	t->n.denied_delivered++;
	tell(t, where, why, m, c, g);
}

/* ---- packets with numbers ---- */
/* The packet gets the next number, and is remembered. */
static struct pmt_sent *numbered(struct pmt *t, uint8_t from, bool rogue, struct pkt *p)
{
	uint32_t id = ++t->next_id;
	struct pmt_sent *s = &t->sent[id % PMT_SENT];
	size_t csum = p->m.proto == IP_PROTO_TCP ? 16 : p->m.proto == IP_PROTO_UDP ? 6 : 2;
	uint8_t *h = p->b + p->m.l4_off;

	*s = (struct pmt_sent){.id = id, .from = from, .rogue = rogue, .m = p->m};
	memcpy(p->b + p->len - 8, magic, 4);
	be32_put(p->b + p->len - 4, id);
	if (p->m.l4 != IP_L4_OTHER) {
		be16_put(h + csum, 0);
		be16_put(h + csum, ip_csum_l4(p->b, &p->m));
	}
	return s;
}

static struct pmt_sent *sent_of(struct pmt *t, const uint8_t *b, size_t len)
{
	uint32_t id;

	if (len < 28 || memcmp(b + len - 8, magic, 4) != 0)
		return NULL;
	id = be32_get(b + len - 4);
	return t->sent[id % PMT_SENT].id == id ? &t->sent[id % PMT_SENT] : NULL;
}

static uint16_t port_of(const struct ip_meta *m, bool in)
{
	return m->l4 == IP_L4_ICMP_ECHO ? m->icmp_id : in ? m->sport : m->dport;
}

static bool same_endpoint(const struct ip_meta *a, const struct ip_meta *b, bool in)
{
	return ipaddr_eq(in ? &a->dst : &a->src, in ? &b->dst : &b->src) &&
	       port_of(a, in) == port_of(b, in);
}

static bool sum_ok(const struct pw_out *o, const struct ip_meta *m)
{
	return m->l4 == IP_L4_OTHER || m->l4 == IP_L4_ICMP_ERROR || !ip_csum_l4(o->b, m);
}

/* ---- judging what came out ---- */
/* Gateway g lets orig, of client c, out to the LAN as m. */
static void judge_gateway_in(struct pmt *t, const char *where, uint8_t g, uint8_t c,
			     const struct ip_meta *orig, const struct ip_meta *m, bool kernel)
{
	struct pm_verdict v = pm_gateway_in(&t->m, g, c, orig);
	bool translated = !same_endpoint(orig, m, true) || (v.nat && !kernel);
	const char *why;

	if (kernel && v.nat && v.allowed && !v.session)
		why = "a session that is over";
	else
		why = pm_gateway_noted(&t->m, g, c, orig, &v, true, translated ? &m->dst : NULL,
				       port_of(m, true));
	t->n.translated += translated && !why;
	if (why)
		denied(t, where, why, orig, c, g);
	else if (!ipaddr_eq(&m->src, &orig->src) || m->dport != orig->dport)
		denied(t, where, "another sender or port", orig, c, g);
}

static void judge_gateway_out(struct pmt *t, const char *where, uint8_t g, uint8_t c,
			      const struct ip_meta *orig, const struct ip_meta *m, bool kernel)
{
	struct pm_verdict v = pm_gateway_out(&t->m, g, c, orig);
	bool same = same_endpoint(orig, m, false), translated = !same || (v.nat && !v.plain_ok);
	const char *why;

	/* Another port of an address the client talks to both by itself and by a name, from one
	 * port: whose answer it is nobody can say, and the kernel goes on as it began. */
	if (kernel && same && v.nat && v.plain && orig->sport != v.session->far) {
		t->n.ambiguous++;
		return;
	}
	why = pm_gateway_noted(&t->m, g, c, orig, &v, false, translated ? &m->src : NULL,
			       port_of(m, false));

	t->n.translated += translated && !why;
	if (why)
		denied(t, where, why, orig, c, g);
	else if (!ipaddr_eq(&m->dst, &orig->dst) || m->sport != orig->sport)
		denied(t, where, "another receiver or port", orig, c, g);
}

static void judge_client_out(struct pmt *t, const char *where, uint8_t c, uint8_t g,
			     const struct ip_meta *m)
{
	struct pm_out o = pm_client_out(&t->m, c, m);

	if (o.fate == PM_DENY)
		denied(t, where, "denied", m, c, g);
	else if (o.fate == PM_HELD)
		denied(t, where, "has to wait", m, c, g);
	else if (o.gateway != g)
		denied(t, where, "by another gateway", m, c, g);
}

static void judge_client_in(struct pmt *t, const char *where, uint8_t c, uint8_t g,
			    const struct ip_meta *m)
{
	if (!pm_client_in(&t->m, c, g, m))
		denied(t, where, "denied", m, c, g);
}

static void wrote_error(struct pmt *t, const struct pw_out *o, const struct ip_meta *m)
{
	const struct pw_node *n = &t->w.node[o->node];
	struct ip_meta quoted;

	t->n.refused_icmp++;
	if (n->gateway || ip_packet_parse_quoted(o->b, m, &quoted) ||
	    !ipaddr_eq(&quoted.src, quoted.family == 4 ? &n->tun4 : &n->tun6))
		denied(t, "ICMP error", "about no packet of the client's", m, o->node, PW_NONE);
}

static void wrote(void *ctx, const struct pw_out *o)
{
	struct pmt *t = ctx;
	struct pmt_sent *s = sent_of(t, o->b, o->len);
	uint8_t number = t->w.node[o->node].number;
	struct ip_meta m;

	if (!T_EQ(ip_packet_parse(o->b, o->len, &m), 0))
		return;
	if (m.l4 == IP_L4_ICMP_ERROR) {
		wrote_error(t, o, &m);
		return;
	}
	if (!s) {
		denied(t, "unknown packet", "nobody has sent it", &m, number, PW_NONE);
		return;
	}
	t->n.twice += s->arrived++ > 0;
	if (!sum_ok(o, &m))
		denied(t, "checksum", "wrong", &m, number, PW_NONE);
	if (o->node >= PW_CLIENTS) {
		judge_gateway_in(t, "gateway, in", number, s->from, &s->m, &m, false);
		if (!s->rogue)
			judge_client_out(t, "client, out", s->from, number, &s->m);
	} else {
		uint8_t g = (uint8_t)(s->from - PW_CLIENTS);

		if (!s->rogue)
			judge_gateway_out(t, "gateway, out", g, number, &s->m, &m, false);
		judge_client_in(t, "client, in", number, g, &m);
	}
}

/* ---- the kernel ---- */
static bool is_bound(const struct ip_meta *m)
{
	return m->proto == IP_PROTO_TCP && m->tcp_flags & (IP_TCP_SYN | IP_TCP_FIN | IP_TCP_RST);
}

/* Its reason; XDP_DELIVERED or TX_SENT: it carried it. */
static enum ps_reason_id kernel_probe(struct pmt *t, const struct pmt_flow *f)
{
	bool in = f->where == PMT_GATEWAY_IN || f->where == PMT_CLIENT_IN;
	bool client = f->where == PMT_CLIENT_OUT || f->where == PMT_CLIENT_IN;
	uint8_t node = client ? f->c : pw_gw(&t->w, f->g),
		peer = client ? pw_gw(&t->w, f->g) : f->c;
	struct pw_node *n = &t->w.node[node];
	uint32_t slot = pw_slot(&t->w, node, peer);
	enum ps_reason_id id;
	struct pw_out out;
	struct ip_meta m;

	t->n.kernel_probes++;
	if (in && slot == TUNNEL_NO_SLOT)
		return PS_R_XDP_NO_SESSION;
	id = in ? pw_kernel_in(n, slot, &f->p, &out) : pw_kernel_out(n, &f->p, &slot, &out);
	if (id != (in ? PS_R_XDP_DELIVERED : PS_R_TX_SENT))
		return id;
	t->n.kernel_carried++;
	t->n.kernel_by[f->where]++;
	if (!T_EQ(ip_packet_parse(out.b, out.len, &m), 0))
		return id;
	if (!sum_ok(&out, &m))
		denied(t, "kernel", "checksum", &m, f->c, f->g);
	if (is_bound(&m) && !client && !same_endpoint(&m, &f->p.m, in))
		denied(t, "kernel", "where a translated connection begins or ends", &m, f->c, f->g);
	if (!in && n->conn[slot].peer != peer) {
		/* the flow is another peer's by now: judge it as that */
		if (!n->conn[slot].used || n->conn[slot].peer == PW_NONE) {
			denied(t, "kernel", "to nobody", &m, f->c, f->g);
			return id;
		}
		peer = n->conn[slot].peer;
	}
	if (f->where == PMT_CLIENT_OUT)
		judge_client_out(t, "kernel, client, out", f->c, (uint8_t)(peer - PW_CLIENTS), &m);
	else if (f->where == PMT_GATEWAY_IN)
		judge_gateway_in(t, "kernel, gateway, in", f->g, f->c, &f->p.m, &m, true);
	else if (f->where == PMT_GATEWAY_OUT)
		judge_gateway_out(t, "kernel, gateway, out", f->g, peer, &f->p.m, &m, true);
	else
		judge_client_in(t, "kernel, client, in", f->c, f->g, &m);
	return id;
}

void pmt_kernel(struct pmt *t)
{
	for (uint32_t i = 0; i < PMT_FLOWS; i++)
		if (t->flows[i].used)
			kernel_probe(t, &t->flows[i]);
}

static bool has_flow(const struct pkt *p)
{
	return p->m.l4 == IP_L4_TCP || p->m.l4 == IP_L4_UDP || p->m.l4 == IP_L4_ICMP_ECHO;
}

/* User space has just let it pass: from now on the kernel does. */
static void flow_was_carried(struct pmt *t, enum pmt_where where, uint8_t c, uint8_t g,
			     const struct pkt *p)
{
	struct pmt_flow f = {.used = true, .where = where, .c = c, .g = g, .p = *p};
	enum ps_reason_id id;

	if (!has_flow(p))
		return;
	if (is_bound(&p->m)) { /* of a translated flow user space's, else whoever's */
		kernel_probe(t, &f);
		return;
	}
	t->flows[pmt_roll(t, PMT_FLOWS)] = f;
	id = kernel_probe(t, &f);
	/* expired: one of several authorisations ends just now */
	if (id == PS_R_XDP_DELIVERED || id == PS_R_TX_SENT || id == PS_R_XDP_FLOW_EXPIRED ||
	    id == PS_R_TX_FLOW_EXPIRED)
		return;
	t->n.kernel_missed++;
	tell(t, "kernel", "leaves what user space has let pass", &p->m, c, g);
}

/* ---- random packets ---- */
static struct ipaddr far_address(struct pmt *t)
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

/* A proxy address some client has given out: as often one of c's own as of any. */
static struct ipaddr proxy_address(struct pmt *t, uint8_t c)
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

static struct ipaddr own_address(const struct pmt *t, uint8_t node, uint8_t family)
{
	return family == 4 ? t->w.node[node].tun4 : t->w.node[node].tun6;
}

static uint16_t far_port(struct pmt *t)
{
	static const uint16_t ports[] = {0,   52,  53,	54,   79,    80,   81,
					 442, 443, 444, 8080, 53535, 65535};

	return ports[pmt_roll(t, sizeof(ports) / sizeof(*ports))];
}

/* near: the client's port, or identifier. */
static struct pkt packet(struct pmt *t, const struct ipaddr *src, const struct ipaddr *dst,
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
	struct ipaddr a = far_address(t);

	while (r < PW_RESOURCES && !k->has[r].present)
		r++;
	if (r == PW_RESOURCES)
		return a;
	if (k->has[r].def.type == TUNNEL_RESOURCE_DNS)
		return proxy_address(t, c);
	for (int i = 0; i < 12 && !pm_covers(&k->has[r].def, &a); i++)
		a = far_address(t);
	return a;
}

/* From a client to somewhere, perhaps under a name that is not its own. */
static struct pkt from_client(struct pmt *t, uint8_t c)
{
	uint32_t kind = pmt_roll(t, 20);
	struct ipaddr dst, src;

	if (kind < 13)
		dst = hopeful_address(t, c);
	else if (kind < 16)
		dst = proxy_address(t, c);
	else if (kind < 19)
		dst = far_address(t);
	else
		dst = own_address(t, pw_gw(&t->w, (uint8_t)pmt_roll(t, PMT_GATEWAYS)),
				  pmt_roll(t, 2) ? 4 : 6);
	src = own_address(t, pmt_roll(t, 16) ? c : (uint8_t)pmt_roll(t, PMT_CLIENTS), dst.family);
	if (!pmt_roll(t, 40))
		src.b[3] ^= 1;
	return packet(t, &src, &dst, true, near_port(t, &dst));
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
		dst = own_address(t, c, e->real.family);
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

/* From the LAN behind g to client c: a reply, or anything. */
static struct pkt from_lan(struct pmt *t, uint8_t g, uint8_t c)
{
	struct ipaddr src = far_address(t), dst;
	struct pkt p;

	if (pmt_roll(t, 4) && reply(t, g, c, &p))
		return p;
	if (!pmt_roll(t, 20))
		src = own_address(t, pw_gw(&t->w, g), pmt_roll(t, 2) ? 4 : 6);
	dst = own_address(t, c, src.family);
	return packet(t, &src, &dst, false,
		      (uint16_t)((pmt_roll(t, 2) ? 7000 : 5000) + pmt_roll(t, 3)));
}

/* Now and then a connection begins or ends with it. */
static void roll_flags(struct pmt *t, struct pkt *p)
{
	static const uint8_t flags[] = {IP_TCP_SYN, IP_TCP_SYN | IP_TCP_ACK,
					IP_TCP_FIN | IP_TCP_ACK, IP_TCP_RST};

	if (p->m.proto != IP_PROTO_TCP || pmt_roll(t, 16))
		return;
	p->b[p->m.l4_off + 13] = flags[pmt_roll(t, sizeof(flags))];
	T_EQ(ip_packet_parse(p->b, p->len, &p->m), 0);
}

/* ---- probes ---- */
static void expect(struct pmt *t, const char *what, const struct pmt_sent *s, bool allowed,
		   bool maybe, unsigned c, unsigned g)
{
	t->n.probes++;
	t->n.allowed += allowed;
	t->n.denied += !allowed;
	if (allowed && !maybe && !s->arrived) {
		t->n.allowed_dropped++;
		tell(t, what, "should have arrived", &s->m, c, g);
	}
}

static void probe_app(struct pmt *t, uint8_t c)
{
	struct pkt p = from_client(t, c);
	struct pm_out o = pm_client_out(&t->m, c, &p.m);
	bool pass = o.fate == PM_PASS && pw_link_ok(&t->w, c, o.gateway);
	struct pm_verdict v = {0};
	struct pmt_sent *s;

	if (o.fate == PM_PASS) /* of two SYNs only one would be held */
		roll_flags(t, &p);
	s = numbered(t, c, false, &p);
	if (pass)
		v = pm_gateway_in(&t->m, o.gateway, c, &p.m);
	t->n.held += o.fate == PM_HELD;
	pm_client_sent(&t->m, c, &o, &p.m);
	pw_app_send(&t->w, c, &p);
	expect(t, "from an application", s, pass && v.allowed, v.maybe, c, o.gateway);
	if (!s->arrived || o.fate != PM_PASS)
		return;
	pw_jump(&t->w, WARM_OVER_MS * NS_PER_MS);
	o = pm_client_out(&t->m, c, &p.m);
	if (o.fate == PM_PASS &&
	    (o.name < 0 || t->m.client[c].names[o.name].at[o.gateway].state == PM_NAME_CONFIRMED))
		flow_was_carried(t, PMT_CLIENT_OUT, c, o.gateway, &p);
	if (pm_gateway_in(&t->m, o.gateway, c, &p.m).allowed)
		flow_was_carried(t, PMT_GATEWAY_IN, c, o.gateway, &p);
}

/* A client that keeps no rules, on its session with a gateway. */
static void probe_rogue_client(struct pmt *t, uint8_t c, uint8_t g)
{
	struct pkt p = from_client(t, c);
	struct pmt_sent *s;
	struct pm_verdict v;

	if (!pw_link_ok(&t->w, c, g))
		return;
	roll_flags(t, &p);
	s = numbered(t, c, true, &p);
	v = pm_gateway_in(&t->m, g, c, &p.m);
	pw_rogue_send(&t->w, c, pw_gw(&t->w, g), p.b, p.len);
	expect(t, "from a client", s, v.allowed, v.maybe, c, g);
	if (!s->arrived)
		return;
	pw_jump(&t->w, WARM_OVER_MS * NS_PER_MS);
	if (pm_gateway_in(&t->m, g, c, &p.m).allowed)
		flow_was_carried(t, PMT_GATEWAY_IN, c, g, &p);
}

static void probe_lan(struct pmt *t, uint8_t g, uint8_t c)
{
	struct pkt p = from_lan(t, g, c), got = {0};
	struct pm_verdict v = pm_gateway_out(&t->m, g, c, &p.m);
	bool ok = v.allowed && pw_link_ok(&t->w, c, g);
	uint32_t before = t->w.out_count;
	struct ip_meta m = p.m;
	struct pmt_sent *s;

	roll_flags(t, &p);
	s = numbered(t, pw_gw(&t->w, g), false, &p);
	if (v.nat)
		m.src = v.addr;
	pw_lan_send(&t->w, g, &p);
	expect(t, "from the LAN", s, ok && pm_client_in(&t->m, c, g, &m), v.maybe, c, g);
	if (!s->arrived) {
		pm_gateway_unseen(&t->m, &v);
		return;
	}
	got.len = t->w.out[before % PW_OUT].len;
	memcpy(got.b, t->w.out[before % PW_OUT].b, got.len);
	T_EQ(ip_packet_parse(got.b, got.len, &got.m), 0);
	pw_jump(&t->w, WARM_OVER_MS * NS_PER_MS);
	if (pm_gateway_out(&t->m, g, c, &p.m).allowed)
		flow_was_carried(t, PMT_GATEWAY_OUT, c, g, &p);
	if (pm_client_in(&t->m, c, g, &got.m))
		flow_was_carried(t, PMT_CLIENT_IN, c, g, &got);
}

static void probe_rogue_gateway(struct pmt *t, uint8_t g, uint8_t c)
{
	struct ipaddr src = pmt_roll(t, 2) ? proxy_address(t, c) : far_address(t), dst;
	struct pmt_sent *s;
	struct pkt p;

	if (!pw_link_ok(&t->w, c, g))
		return;
	dst = own_address(t, pmt_roll(t, 12) ? c : (uint8_t)pmt_roll(t, PMT_CLIENTS), src.family);
	p = packet(t, &src, &dst, false, 5000);
	s = numbered(t, pw_gw(&t->w, g), true, &p);
	pw_rogue_send(&t->w, pw_gw(&t->w, g), c, p.b, p.len);
	expect(t, "from a gateway", s, pm_client_in(&t->m, c, g, &p.m), false, c, g);
	if (!s->arrived)
		return;
	pw_jump(&t->w, WARM_OVER_MS * NS_PER_MS);
	if (pm_client_in(&t->m, c, g, &p.m))
		flow_was_carried(t, PMT_CLIENT_IN, c, g, &p);
}

void pmt_probe(struct pmt *t)
{
	uint8_t c = (uint8_t)pmt_roll(t, PMT_CLIENTS), g = (uint8_t)pmt_roll(t, PMT_GATEWAYS);
	uint32_t kind = pmt_roll(t, 10);

	if (kind < 4)
		probe_app(t, c);
	else if (kind < 6)
		probe_rogue_client(t, c, g);
	else if (kind < 9)
		probe_lan(t, g, c);
	else
		probe_rogue_gateway(t, g, c);
}

void pmt_hooks(struct pmt *t)
{
	t->w.cfg.hooks.ctx = t;
	t->w.cfg.hooks.wrote = wrote;
}
