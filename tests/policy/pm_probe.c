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

/* ---- the executors that have what user space has let pass ---- */
static bool is_bound(const struct ip_meta *m)
{
	return m->proto == IP_PROTO_TCP && m->tcp_flags & (IP_TCP_SYN | IP_TCP_FIN | IP_TCP_RST);
}

/* What the kernel, or a worker, makes of the packet there. */
static enum ps_reason_id carry(struct pw_node *n, bool worker, bool in, uint32_t *slot,
			       const struct pkt *p, struct pw_out *out)
{
	if (worker)
		return in ? pw_worker_in(n, *slot, p, out) : pw_worker_out(n, p, slot, out);
	return in ? pw_kernel_in(n, *slot, p, out) : pw_kernel_out(n, p, slot, out);
}

static void count_carried(struct pmt *t, bool worker, enum pmt_where where)
{
	if (worker) {
		t->n.worker_carried++;
		t->n.worker_by[where]++;
	} else {
		t->n.kernel_carried++;
		t->n.kernel_by[where]++;
	}
}

/* It came out of a cache as out: was that right? */
static void judge_cached(struct pmt *t, const struct pmt_flow *f, bool worker, uint32_t slot,
			 const struct pw_out *out)
{
	bool in = f->where == PMT_GATEWAY_IN || f->where == PMT_CLIENT_IN;
	bool client = f->where == PMT_CLIENT_OUT || f->where == PMT_CLIENT_IN;
	const struct pw_node *n = &t->w.node[client ? f->c : pw_gw(&t->w, f->g)];
	uint8_t peer = client ? pw_gw(&t->w, f->g) : f->c;
	const char *who = worker ? "worker" : "kernel";
	struct ip_meta m;

	if (!T_EQ(ip_packet_parse(out->b, out->len, &m), 0))
		return;
	if (!sum_ok(out, &m))
		denied(t, who, "checksum", &m, f->c, f->g);
	if (is_bound(&m) && !client && !same_endpoint(&m, &f->p.m, in))
		denied(t, who, "where a translated connection begins or ends", &m, f->c, f->g);
	if (!in && n->conn[slot].peer != peer) {
		/* the flow is another peer's by now: judge it as that */
		if (!n->conn[slot].used || n->conn[slot].peer == PW_NONE) {
			denied(t, who, "to nobody", &m, f->c, f->g);
			return;
		}
		peer = n->conn[slot].peer;
	}
	if (f->where == PMT_CLIENT_OUT)
		judge_client_out(t, worker ? "worker, client, out" : "kernel, client, out", f->c,
				 (uint8_t)(peer - PW_CLIENTS), &m);
	else if (f->where == PMT_GATEWAY_IN)
		judge_gateway_in(t, worker ? "worker, gateway, in" : "kernel, gateway, in", f->g,
				 f->c, &f->p.m, &m, true);
	else if (f->where == PMT_GATEWAY_OUT)
		judge_gateway_out(t, worker ? "worker, gateway, out" : "kernel, gateway, out", f->g,
				  peer, &f->p.m, &m, true);
	else
		judge_client_in(t, worker ? "worker, client, in" : "kernel, client, in", f->c, f->g,
				&m);
}

/* Its reason; XDP_DELIVERED or TX_SENT: it carried it. */
static enum ps_reason_id cached_probe(struct pmt *t, const struct pmt_flow *f, bool worker)
{
	bool in = f->where == PMT_GATEWAY_IN || f->where == PMT_CLIENT_IN;
	bool client = f->where == PMT_CLIENT_OUT || f->where == PMT_CLIENT_IN;
	uint8_t node = client ? f->c : pw_gw(&t->w, f->g),
		peer = client ? pw_gw(&t->w, f->g) : f->c;
	uint32_t slot = pw_slot(&t->w, node, peer);
	enum ps_reason_id id;
	struct pw_out out;

	t->n.kernel_probes += !worker;
	if (in && slot == TUNNEL_NO_SLOT)
		return PS_R_XDP_NO_SESSION;
	id = carry(&t->w.node[node], worker, in, &slot, &f->p, &out);
	if (id != (in ? PS_R_XDP_DELIVERED : PS_R_TX_SENT))
		return id;
	count_carried(t, worker, f->where);
	judge_cached(t, f, worker, slot, &out);
	return id;
}

void pmt_cached(struct pmt *t)
{
	for (uint32_t i = 0; i < PMT_FLOWS; i++)
		for (int worker = 0; t->flows[i].used && worker < 2; worker++)
			cached_probe(t, &t->flows[i], worker);
}

static bool has_flow(const struct pkt *p)
{
	return p->m.l4 == IP_L4_TCP || p->m.l4 == IP_L4_UDP || p->m.l4 == IP_L4_ICMP_ECHO;
}

/* Did it, or was there a reason not to? Expired: one of several authorisations ends just now. */
static bool was_right(enum ps_reason_id id)
{
	return id == PS_R_XDP_DELIVERED || id == PS_R_TX_SENT || id == PS_R_XDP_FLOW_EXPIRED ||
	       id == PS_R_TX_FLOW_EXPIRED;
}

/* User space has just let it pass: from now on the others do. */
static void flow_was_carried(struct pmt *t, enum pmt_where where, uint8_t c, uint8_t g,
			     const struct pkt *p)
{
	struct pmt_flow f = {.used = true, .where = where, .c = c, .g = g, .p = *p};

	if (!has_flow(p))
		return;
	if (!is_bound(&p->m)) /* else of a translated flow user space's, else whoever's */
		t->flows[pmt_roll(t, PMT_FLOWS)] = f;
	for (int worker = 0; worker < 2; worker++) {
		if (was_right(cached_probe(t, &f, worker)) || is_bound(&p->m))
			continue;
		t->n.kernel_missed += !worker;
		t->n.worker_missed += worker != 0;
		tell(t, worker ? "worker" : "kernel", "leaves what user space has let pass", &p->m,
		     c, g);
	}
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
	struct pkt p = pmt_from_client(t, c);
	struct pm_out o = pm_client_out(&t->m, c, &p.m);
	bool pass = o.fate == PM_PASS && pw_link_ok(&t->w, c, o.gateway);
	struct pm_verdict v = {0};
	struct pmt_sent *s;

	if (o.fate == PM_PASS) /* of two SYNs only one would be held */
		pmt_roll_flags(t, &p);
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
	struct pkt p = pmt_from_client(t, c);
	struct pmt_sent *s;
	struct pm_verdict v;

	if (!pw_link_ok(&t->w, c, g))
		return;
	pmt_roll_flags(t, &p);
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
	struct pkt p = pmt_from_lan(t, g, c), got = {0};
	struct pm_verdict v = pm_gateway_out(&t->m, g, c, &p.m);
	bool ok = v.allowed && pw_link_ok(&t->w, c, g);
	uint32_t before = t->w.out_count;
	struct ip_meta m = p.m;
	struct pmt_sent *s;

	pmt_roll_flags(t, &p);
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
	struct ipaddr src = pmt_roll(t, 2) ? pmt_proxy_address(t, c) : pmt_far_address(t), dst;
	struct pmt_sent *s;
	struct pkt p;

	if (!pw_link_ok(&t->w, c, g))
		return;
	dst = pmt_own_address(t, pmt_roll(t, 12) ? c : (uint8_t)pmt_roll(t, PMT_CLIENTS),
			      src.family);
	p = pmt_packet(t, &src, &dst, false, 5000);
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
