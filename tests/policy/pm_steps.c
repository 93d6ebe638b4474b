/* SPDX-License-Identifier: Apache-2.0
 *
 * Random steps of the property test of policy, and the model kept informed of what they do. */
#include "codec/p2p_ctl.h"
#include "tests/policy/pm_test.h"

enum { RESOURCES = 12 };

static const char *const nets[] = {"10.0.0.0/8",  "10.1.0.0/16",   "10.1.2.0/24",
				   "10.1.2.3",	  "172.16.0.0/12", "192.168.7.0/24",
				   "8.8.0.0/16",  "8.0.0.0/7",	   "fd12::/16",
				   "fd12:3::/32", "fd12:3::1/128", "2001:db8::/32"};
static const char *const patterns[] = {"*.one.test",  "**.one.test",   "a.one.test",
				       "**.test",     "?.two.test",    "*.test",
				       "b*.one.test", "**.a.one.test", "c*?.two.test"};
static const char *const domains[] = {"a.one.test", "b.one.test", "x.a.one.test",
				      "one.test",   "c.two.test", "dd.two.test"};
static const char *const reals[] = {"10.1.2.3",	  "10.9.9.9",	 "8.8.8.8",	  "172.16.5.5",
				    "fd12:3::1",  "2001:db8::1", "fd12::1",	  "127.0.0.1",
				    "100.64.1.9", "192.168.7.7", "::ffff:8.8.8.8"};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

const char *pmt_domain(struct pmt *t)
{
	return domains[pmt_roll(t, COUNT(domains))];
}

/* ---- the model is told ---- */
static void on_message(void *ctx, uint8_t node, const struct pw_msg *msg)
{
	pm_message(&((struct pmt *)ctx)->m, node, msg);
}

static void on_established(void *ctx, uint8_t c, uint8_t g)
{
	pm_client_established(&((struct pmt *)ctx)->m, c, g);
}

static void on_gone(void *ctx, uint8_t c, uint8_t g)
{
	pm_client_gone(&((struct pmt *)ctx)->m, c, g);
}

static void on_timers(void *ctx, uint8_t node)
{
	pm_gateway_sweep(&((struct pmt *)ctx)->m, (uint8_t)(node - PW_CLIENTS));
}

static void on_asked(void *ctx, uint8_t g, const struct pw_question *q)
{
	pm_gateway_asked(&((struct pmt *)ctx)->m, g, q);
}

static void on_resolved(void *ctx, uint8_t g, const struct pw_question *q,
			const struct ipaddr *addrs, uint32_t n)
{
	pm_gateway_resolved(&((struct pmt *)ctx)->m, g, q->id, addrs, n);
}

static void on_control(void *ctx, const struct pw_control *p)
{
	struct pmt *t = ctx;
	struct p2p_domain_status status;
	struct p2p_assigned_ips ips;
	struct p2p_ctl ctl;

	if (p2p_ctl_decode(p->inner, p->inner_len, &ctl) != P2P_CTL_EVENT)
		return;
	if (p->to >= PW_CLIENTS && ctl.type == P2P_CTL_ASSIGNED_IPS &&
	    !p2p_assigned_ips_decode(ctl.payload, ctl.payload_len, &ips))
		pm_gateway_assigned(&t->m, (uint8_t)(p->to - PW_CLIENTS), p->from, &ips);
	if (p->to < PW_CLIENTS && ctl.type == P2P_CTL_DOMAIN_STATUS &&
	    !p2p_domain_status_decode(ctl.payload, ctl.payload_len, &status))
		pm_client_status(&t->m, p->to, (uint8_t)(p->from - PW_CLIENTS), &status);
}

/* ---- portal ---- */
static void roll_filters(struct pmt *t, struct pw_resource *r)
{
	static const uint16_t edges[] = {0, 53, 80, 443, 8080, 65535};

	r->filter_count = 0;
	if (pmt_roll(t, 2))
		return;
	for (uint32_t n = 1 + pmt_roll(t, 3); n--;) {
		struct pw_filter *f = &r->filters[r->filter_count++];
		uint32_t a = pmt_roll(t, COUNT(edges)), b = pmt_roll(t, COUNT(edges));

		*f = (struct pw_filter){.proto = IP_PROTO_ICMP};
		if (!pmt_roll(t, 3))
			continue;
		f->proto = pmt_roll(t, 2) ? IP_PROTO_TCP : IP_PROTO_UDP;
		f->first = edges[a < b ? a : b];
		f->last = edges[a < b ? b : a];
	}
}

static struct pw_resource roll_resource(struct pmt *t, uint8_t r)
{
	struct pw_resource def = {.r = r, .sites = (uint8_t)(1 + pmt_roll(t, 3))};
	uint32_t kind = pmt_roll(t, 10);

	def.type = !kind      ? TUNNEL_RESOURCE_INTERNET
		   : kind < 5 ? TUNNEL_RESOURCE_CIDR
			      : TUNNEL_RESOURCE_DNS;
	if (def.type == TUNNEL_RESOURCE_CIDR)
		tunnel_text_copy(def.address, sizeof(def.address), nets[pmt_roll(t, COUNT(nets))]);
	if (def.type == TUNNEL_RESOURCE_DNS) {
		tunnel_text_copy(def.address, sizeof(def.address),
				 patterns[pmt_roll(t, COUNT(patterns))]);
		def.stack = (enum dns_stack)(pmt_roll(t, 3) ? 0 : pmt_roll(t, 3));
	}
	roll_filters(t, &def);
	return def;
}

static void step_resource(struct pmt *t)
{
	uint8_t r = (uint8_t)pmt_roll(t, RESOURCES);
	struct pw_resource def = t->w.res[r];

	if (def.used && !pmt_roll(t, 5)) {
		pw_resource_del(&t->w, r);
	} else if (def.used && pmt_roll(t, 2)) {
		roll_filters(t, &def);
		if (!pmt_roll(t, 4))
			def.sites = (uint8_t)(1 + pmt_roll(t, 3));
		pw_resource_put(&t->w, &def);
	} else {
		def = roll_resource(t, r);
		pw_resource_put(&t->w, &def);
	}
}

static uint64_t roll_until(struct pmt *t)
{
	return pmt_roll(t, 2) ? TUNNEL_NEVER_EXPIRES : pw_unix(&t->w) + 1 + pmt_roll(t, 90);
}

static void step_policy(struct pmt *t)
{
	uint8_t c = (uint8_t)pmt_roll(t, PMT_CLIENTS), r = (uint8_t)pmt_roll(t, RESOURCES);

	pw_policy_set(&t->w, c, r, pmt_roll(t, 6) != 0, roll_until(t));
}

static void step_cut_or_join(struct pmt *t)
{
	uint8_t node = (uint8_t)pmt_roll(t, PMT_CLIENTS + PMT_GATEWAYS);

	node = (uint8_t)(node < PMT_CLIENTS ? node : node - PMT_CLIENTS + PW_CLIENTS);
	if (t->w.node[node].portal && !pmt_roll(t, 4))
		pw_portal_cut(&t->w, node);
	else
		pw_portal_join(&t->w, node);
}

static void step_off(struct pmt *t)
{
	uint8_t c = (uint8_t)pmt_roll(t, PMT_CLIENTS);
	struct daemon *d = t->w.node[c].d;
	struct uuid ids[PW_RESOURCES];
	uint16_t bits = 0;
	uint32_t n = 0;

	for (uint8_t r = 0; r < RESOURCES; r++)
		if (!pmt_roll(t, 12)) {
			bits |= (uint16_t)(1u << r);
			ids[n++] = pw_resource_id(r);
		}
	pm_client_set_off(&t->m, c, bits);
	T_EQ(tcl_set_disabled(&d->tcl, ids, n, t->w.now), 0);
	pw_settle(&t->w);
}

/* ---- connections ---- */
static void step_lost(struct pmt *t)
{
	uint32_t who = 1 + pmt_roll(t, 3);

	pw_link_lost(&t->w, (uint8_t)pmt_roll(t, PMT_CLIENTS), (uint8_t)pmt_roll(t, PMT_GATEWAYS),
		     who & 1, who & 2);
}

static void step_roam(struct pmt *t)
{
	uint8_t c = (uint8_t)pmt_roll(t, PMT_CLIENTS);

	pm_client_reset(&t->m, c);
	pw_roam(&t->w, c);
}

static void step_restart(struct pmt *t)
{
	uint8_t g = (uint8_t)pmt_roll(t, PMT_GATEWAYS);

	pm_gateway_restart(&t->m, g);
	pw_restart(&t->w, pw_gw(&t->w, g));
	pw_portal_join(&t->w, pw_gw(&t->w, g));
}

/* ---- names ---- */
static void step_query(struct pmt *t)
{
	uint8_t c = (uint8_t)pmt_roll(t, PMT_CLIENTS);
	uint16_t type = pmt_roll(t, 2) ? DNS_TYPE_A : DNS_TYPE_AAAA;
	struct ipaddr want[4], got[8];
	const char *name = pmt_domain(t);
	uint32_t n = pm_client_query(&t->m, c, name, type, want);

	t->n.differs += pw_query(&t->w, c, name, type, got) != n;
	for (uint32_t i = 0; i < n; i++)
		t->n.differs += !ipaddr_eq(&want[i], &got[i]);
}

static void step_zone(struct pmt *t)
{
	struct ipaddr list[4];
	uint8_t n = (uint8_t)pmt_roll(t, 5);

	for (uint8_t i = 0; i < n; i++)
		list[i] = pkt_ip(reals[pmt_roll(t, COUNT(reals))]);
	pw_zone_set(&t->w, pmt_domain(t), list, n);
}

static void send_control(struct pmt *t, uint8_t from, uint8_t to, uint8_t type, const char *json,
			 size_t len)
{
	struct pw_control p = {.from = from, .to = to, .type = type};
	size_t n;

	if (p2p_ctl_encode(type, json, len, p.inner, sizeof(p.inner), &n))
		return;
	p.inner_len = (uint16_t)n;
	on_control(t, &p);
	pw_rogue_send(&t->w, from, to, p.inner, n);
}

/* A client that sets up what it likes. */
static void step_rogue_names(struct pmt *t)
{
	uint8_t c = (uint8_t)pmt_roll(t, PMT_CLIENTS), g = (uint8_t)pmt_roll(t, PMT_GATEWAYS);
	struct p2p_assigned_ips ips = {.resource = pw_resource_id((uint8_t)pmt_roll(t, RESOURCES))};
	char json[P2P_CTL_PAYLOAD_CAP];
	size_t len;

	if (!pw_link_ok(&t->w, c, g))
		return;
	tunnel_text_copy(ips.domain, sizeof(ips.domain), pmt_domain(t));
	ips.count = (uint8_t)(1 + pmt_roll(t, 4));
	for (uint8_t i = 0; i < ips.count; i++) {
		ips.ips[i] = pmt_roll(t, 2) ? pkt_ip("100.96.0.1")
					    : pkt_ip("fd00:2021:1111:8000::");
		ips.ips[i].b[ips.ips[i].family == 4 ? 3 : 15] ^= (uint8_t)pmt_roll(t, 16);
		if (!pmt_roll(t, 30))
			ips.ips[i] = pkt_ip("10.1.2.3");
	}
	if (!p2p_assigned_ips_encode(&ips, json, sizeof(json), &len))
		send_control(t, c, pw_gw(&t->w, g), P2P_CTL_ASSIGNED_IPS, json, len);
}

static void step_rogue_status(struct pmt *t)
{
	uint8_t c = (uint8_t)pmt_roll(t, PMT_CLIENTS), g = (uint8_t)pmt_roll(t, PMT_GATEWAYS);
	struct p2p_domain_status s = {.resource = pw_resource_id((uint8_t)pmt_roll(t, RESOURCES)),
				      .active = pmt_roll(t, 2)};
	char json[P2P_CTL_PAYLOAD_CAP];
	size_t len;

	if (!pw_link_ok(&t->w, c, g))
		return;
	tunnel_text_copy(s.domain, sizeof(s.domain), pmt_domain(t));
	if (!p2p_domain_status_encode(&s, json, sizeof(json), &len))
		send_control(t, pw_gw(&t->w, g), c, P2P_CTL_DOMAIN_STATUS, json, len);
}

/* ---- time ---- */
/* To the instant an authorisation ends, or just beside it; nobody's timers run. */
static void to_expiry(struct pmt *t)
{
	static const int64_t beside[] = {-1000000000, -1, 0, 1, 1000000000};
	const struct pm_gateway *g = &t->m.gateway[pmt_roll(t, PMT_GATEWAYS)];
	uint64_t soonest = TUNNEL_NEVER_EXPIRES, at;

	for (uint32_t i = 0; i < PM_GRANTS; i++)
		if (g->grants[i].live && g->grants[i].expires > pw_unix(&t->w) &&
		    g->grants[i].expires < soonest)
			soonest = g->grants[i].expires;
	if (soonest > pw_unix(&t->w) + 120)
		return;
	at = soonest * NS_PER_SEC + (uint64_t)beside[pmt_roll(t, COUNT(beside))];
	if (at > t->w.wall_ns)
		pw_jump(&t->w, at - t->w.wall_ns);
}

static void step_time(struct pmt *t)
{
	uint32_t r = pmt_roll(t, 100);

	if (r < 40)
		to_expiry(t);
	else if (r < 60)
		pw_jump(&t->w, pmt_roll(t, 2000) * NS_PER_MS);
	else if (r < 92)
		pw_advance(&t->w, pmt_roll(t, 4000) * NS_PER_MS);
	else if (r < 97)
		pw_advance(&t->w, (50 + pmt_roll(t, 100)) * NS_PER_SEC);
	else if (r < 99)
		pw_advance(&t->w, 300 * NS_PER_SEC);
	else
		pw_timers(&t->w);
}

/* ---- what is on the way goes on ---- */
static void some_controls(struct pmt *t)
{
	for (uint32_t i = 0; i < t->w.control_count;) {
		uint32_t before = t->w.control_count, fate = pmt_roll(t, 20);

		if (fate < 4) { /* later */
			i++;
		} else if (fate < 6) {
			pw_control_drop(&t->w, i);
		} else if (fate < 8) {
			pw_control_deliver(&t->w, i, true); /* and once more */
			i++;
		} else {
			pw_control_deliver(&t->w, i, false);
		}
		if (t->w.control_count > before + 8)
			break;
	}
}

static void some_of_everything(struct pmt *t)
{
	for (uint8_t i = 0; i < PW_NODES; i++)
		if (t->w.node[i].running && pmt_roll(t, 3))
			pw_deliver(&t->w, i,
				   t->w.node[i].inbox_count > 60 ? 60 : 1 + pmt_roll(t, 6));
	while (t->w.intent_count && pmt_roll(t, 8)) {
		if (pmt_roll(t, 12))
			pw_answer_intent(&t->w, 0);
		else
			pw_drop_intent(&t->w, 0);
	}
	for (uint8_t c = 0; c < PMT_CLIENTS; c++)
		for (uint8_t g = 0; g < PMT_GATEWAYS; g++)
			if (pmt_roll(t, 4))
				pw_link_up(&t->w, c, g);
	some_controls(t);
	for (uint8_t g = 0; g < PMT_GATEWAYS; g++)
		while (t->w.node[pw_gw(&t->w, g)].question_count && pmt_roll(t, 4))
			pw_question_answer(&t->w, g, 0);
}

static void step(struct pmt *t)
{
	static const struct {
		uint32_t weight;
		void (*fn)(struct pmt *t);
	} steps[] = {
		{30, step_resource},	{80, step_policy},	{12, step_cut_or_join},
		{8, step_off},		{12, step_lost},	{5, step_roam},
		{4, step_restart},	{60, step_query},	{20, step_zone},
		{16, step_rogue_names}, {4, step_rogue_status}, {90, step_time},
	};
	uint32_t sum = 0, at;

	for (size_t i = 0; i < COUNT(steps); i++)
		sum += steps[i].weight;
	at = pmt_roll(t, sum);
	for (size_t i = 0; i < COUNT(steps); at -= steps[i++].weight)
		if (at < steps[i].weight) {
			steps[i].fn(t);
			return;
		}
}

void pmt_step(struct pmt *t)
{
	t->n.steps++;
	if (pmt_roll(t, 4))
		pw_timers(&t->w);
	step(t);
	pmt_cached(t);
	some_of_everything(t);
	pmt_cached(t);
}

bool pmt_open(struct pmt *t, uint64_t seed, bool bpf)
{
	struct pw_cfg cfg = {.clients = PMT_CLIENTS,
			     .gateways = PMT_GATEWAYS,
			     .sites = PMT_SITES,
			     .bpf = bpf,
			     .hooks = {.ctx = t,
				       .message = on_message,
				       .established = on_established,
				       .gone = on_gone,
				       .control = on_control,
				       .asked = on_asked,
				       .resolved = on_resolved,
				       .timers = on_timers}};

	memset(t, 0, sizeof(*t));
	t->rnd = seed * 2654435761u + 1;
	pm_init(&t->m, &t->w);
	pmt_hooks(t);
	if (!pw_open(&t->w, &cfg, seed))
		return false;
	pmt_hooks(t);
	return true;
}
