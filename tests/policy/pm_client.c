/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's half of the model (spec tunnel §1.1, §1.5, §1.9-1.12, §1.15). */
#include "tests/policy/pm.h"

enum { NOBODY = PW_NONE };

#define RESEND_NS (2 * NS_PER_SEC)

void pm_init(struct pm *m, const struct pw_world *w)
{
	memset(m, 0, sizeof(*m));
	m->w = w;
	for (uint8_t c = 0; c < PW_CLIENTS; c++)
		for (uint8_t r = 0; r < PW_RESOURCES; r++)
			m->client[c].has[r].gateway = NOBODY;
}

void pm_message(struct pm *m, uint8_t node, const struct pw_msg *msg)
{
	if (node < PW_CLIENTS)
		pm_client_message(m, node, msg);
	else
		pm_gateway_message(m, (uint8_t)(node - PW_CLIENTS), msg);
}

static bool active(const struct pm_has *h)
{
	return h->present && !h->off;
}

/* ---- what waits ---- */
static void held_remove(struct pm_client *c, uint32_t i)
{
	c->held_count--;
	memmove(&c->held[i], &c->held[i + 1], (c->held_count - i) * sizeof(*c->held));
}

static bool waits_for(const struct pm_held *h, int r, int name, uint8_t g)
{
	return name < 0 ? h->name < 0 && h->r == r : h->name == name && h->g == g;
}

/* Of more than so many the oldest is lost. */
static void hold(struct pm_client *c, const struct pm_out *o, bool for_name,
		 const struct ip_meta *pkt)
{
	struct pm_held h = {
		.r = (uint8_t)o->r, .g = o->gateway, .name = for_name ? o->name : -1, .pkt = *pkt};
	uint32_t count = 0, oldest = 0;

	for (uint32_t i = c->held_count; i-- > 0;)
		if (waits_for(&c->held[i], h.r, h.name, h.g)) {
			count++;
			oldest = i;
		}
	if (count == (for_name ? 32 : 128))
		held_remove(c, oldest);
	if (T(c->held_count < PM_HELD_MAX))
		c->held[c->held_count++] = h;
}

static void discard(struct pm_client *c, uint8_t r)
{
	for (uint32_t i = c->held_count; i-- > 0;)
		if (c->held[i].name < 0 && c->held[i].r == r)
			held_remove(c, i);
}

static void discard_name(struct pm_client *c, int name, uint8_t g)
{
	for (uint32_t i = c->held_count; i-- > 0;)
		if (c->held[i].name == name && (g == NOBODY || c->held[i].g == g))
			held_remove(c, i);
}

/* They are judged anew, in order; what has to wait again waits behind the others. */
static void let_go(struct pm *m, uint8_t number, int r, int name, uint8_t g)
{
	struct pm_client *c = &m->client[number];
	uint32_t left = c->held_count;

	for (uint32_t i = 0; left--;) {
		struct pm_held h = c->held[i];
		struct pm_out o;

		if (!waits_for(&h, r, name, g)) {
			i++;
			continue;
		}
		held_remove(c, i);
		o = pm_client_out(m, number, &h.pkt);
		pm_client_sent(m, number, &o, &h.pkt);
	}
}

/* ---- names at gateways ---- */
static void say(const struct pm *m, struct pm_name *n, uint8_t g)
{
	n->at[g].sent_ns = m->w->now;
}

static void say_again(const struct pm *m, struct pm_name *n, uint8_t g)
{
	if (m->w->now - n->at[g].sent_ns >= RESEND_NS)
		say(m, n, g);
}

/* Its resource is served by g. */
static void name_update(const struct pm *m, struct pm_name *n, uint8_t g)
{
	if (n->at[g].state == PM_NAME_NONE) {
		n->at[g].state = PM_NAME_PENDING;
		n->at[g].hold = true;
		say(m, n, g);
	} else if (n->at[g].state == PM_NAME_PENDING) {
		say_again(m, n, g);
	}
}

static bool served(const struct pm_client *c, uint8_t r)
{
	return c->has[r].gateway != NOBODY && c->up[c->has[r].gateway];
}

static void now_served(struct pm *m, uint8_t number, uint8_t r)
{
	struct pm_client *c = &m->client[number];

	for (uint32_t i = 0; i < c->name_count && c->has[r].def.type == TUNNEL_RESOURCE_DNS; i++)
		if (c->names[i].r == r)
			name_update(m, &c->names[i], c->has[r].gateway);
	let_go(m, number, r, -1, NOBODY);
}

static void unmap(struct pm_client *c, uint8_t r)
{
	for (uint32_t i = 0; i < c->name_count; i++)
		if (c->names[i].r == r) {
			memset(c->names[i].at, 0, sizeof(c->names[i].at));
			discard_name(c, (int)i, NOBODY);
		}
	c->has[r].gateway = NOBODY;
}

static void unserve(struct pm_client *c, uint8_t r)
{
	unmap(c, r);
	c->has[r].pending = false;
	discard(c, r);
}

/* ---- what changes ---- */
static void set_resource(struct pm_client *c, const struct pw_resource *def)
{
	struct pm_has *h = &c->has[def->r];

	if (h->present && (h->def.type != def->type || strcmp(h->def.address, def->address) != 0 ||
			   h->def.sites != def->sites ||
			   (def->type == TUNNEL_RESOURCE_DNS && h->def.stack != def->stack)))
		unserve(c, def->r);
	h->present = true;
	h->def = *def;
}

static void drop_resource(struct pm_client *c, uint8_t r)
{
	unserve(c, r);
	c->has[r].present = false;
}

/* What a gateway's process held for the client is gone with it. */
static void flow_created(struct pm *m, uint8_t number, const struct pw_msg *msg)
{
	uint8_t life = m->w->node[PW_CLIENTS + msg->g].life;
	struct pm_client *c = &m->client[number];
	struct pm_has *h = &c->has[msg->r];

	if (!h->present || !h->pending)
		return;
	if (c->known[msg->g] && c->life[msg->g] != life) {
		pm_client_gone(m, number, msg->g);
		c->replaced[msg->g] = true;
	}
	c->life[msg->g] = life;
	h->gateway = msg->g;
	h->mapped = ++c->mapped;
	h->pending = false;
	c->known[msg->g] = true;
	if (c->up[msg->g])
		now_served(m, number, msg->r);
}

void pm_client_message(struct pm *m, uint8_t number, const struct pw_msg *msg)
{
	struct pm_client *c = &m->client[number];
	bool listed[PW_RESOURCES] = {0};

	switch (msg->kind) {
	case PW_CLIENT_INIT:
		for (uint8_t i = 0; i < msg->count; i++)
			listed[msg->res[i].r] = true;
		for (uint8_t r = 0; r < PW_RESOURCES; r++)
			if (c->has[r].present && !listed[r])
				drop_resource(c, r);
		for (uint8_t i = 0; i < msg->count; i++)
			set_resource(c, &msg->res[i]);
		break;
	case PW_RESOURCE_SET:
		set_resource(c, &msg->res[0]);
		break;
	case PW_RESOURCE_DEL:
		if (c->has[msg->r].present)
			drop_resource(c, msg->r);
		break;
	case PW_FLOW_CREATED:
		flow_created(m, number, msg);
		break;
	case PW_FLOW_FAILED:
		if (!c->has[msg->r].present)
			break;
		if (c->has[msg->r].gateway != NOBODY)
			pm_client_gone(m, number, c->has[msg->r].gateway);
		unserve(c, msg->r);
		break;
	case PW_MSG_NONE:
	case PW_GATEWAY_INIT:
	case PW_AUTHORIZE:
	case PW_REJECT:
	case PW_EXPIRY:
	case PW_RESOURCE_UPDATED:
		break;
	}
}

void pm_client_set_off(struct pm *m, uint8_t number, uint16_t bits)
{
	struct pm_client *c = &m->client[number];

	for (uint8_t r = 0; r < PW_RESOURCES; r++) {
		bool off = bits & 1u << r;

		if (off && !c->has[r].off)
			unserve(c, r);
		c->has[r].off = off;
	}
}

void pm_client_established(struct pm *m, uint8_t number, uint8_t g)
{
	struct pm_client *c = &m->client[number];

	if (!c->known[g])
		return;
	c->up[g] = true;
	for (uint8_t r = 0; r < PW_RESOURCES; r++)
		if (c->has[r].gateway == g)
			now_served(m, number, r);
}

void pm_client_gone(struct pm *m, uint8_t number, uint8_t g)
{
	struct pm_client *c = &m->client[number];

	if (c->replaced[g]) {
		c->replaced[g] = false;
		return;
	}
	c->known[g] = c->up[g] = false;
	for (uint8_t r = 0; r < PW_RESOURCES; r++)
		if (c->has[r].gateway == g)
			unserve(c, r);
}

/* What was asked of the portal, and what waits for it, stays. */
void pm_client_reset(struct pm *m, uint8_t number)
{
	struct pm_client *c = &m->client[number];

	for (uint8_t r = 0; r < PW_RESOURCES; r++)
		unmap(c, r);
	memset(c->known, 0, sizeof(c->known));
	memset(c->up, 0, sizeof(c->up));
}

/* ---- names ---- */
static int best_pattern(const struct pm_client *c, const char *name)
{
	int best = -1;

	for (uint8_t r = 0; r < PW_RESOURCES; r++) {
		const struct pm_has *h = &c->has[r];
		int order;

		if (!active(h) || h->def.type != TUNNEL_RESOURCE_DNS ||
		    !pm_pattern_match(h->def.address, name))
			continue;
		order = best < 0 ? -1 : pm_pattern_order(h->def.address, c->has[best].def.address);
		if (order <= 0) /* of equal ones the larger id */
			best = r;
	}
	return best;
}

static struct ipaddr nth_proxy(int family, uint32_t n)
{
	struct ipaddr a = pkt_ip(family ? "fd00:2021:1111:8000::" : "100.96.0.1");

	be32_put(a.b + (family ? 12 : 0), be32_get(a.b + (family ? 12 : 0)) + n);
	return a;
}

static struct pm_name *assign(struct pm_client *c, const char *domain, uint8_t r)
{
	static const bool lacks[2][3] = {
		{[DNS_STACK_V6] = true},
		{[DNS_STACK_V4] = true},
	};
	struct pm_name *n = c->names;

	while (n < c->names + c->name_count && (n->r != r || strcasecmp(n->domain, domain) != 0))
		n++;
	if (n == c->names + PM_NAMES)
		return NULL;
	if (n == c->names + c->name_count) {
		c->name_count++;
		n->r = r;
		tunnel_text_copy(n->domain, sizeof(n->domain), domain);
	}
	for (int f = 0; f < 2; f++) {
		if (n->has[f] || lacks[f][c->has[r].def.stack])
			continue;
		n->has[f] = true;
		for (int i = 0; i < 4; i++)
			n->proxy[f][i] = nth_proxy(f, c->next[f]++);
	}
	return n;
}

uint32_t pm_client_query(struct pm *m, uint8_t number, const char *name, uint16_t type,
			 struct ipaddr out[4])
{
	struct pm_client *c = &m->client[number];
	int r = best_pattern(c, name), f = type == DNS_TYPE_AAAA;
	enum dns_stack stack;
	struct pm_name *n;

	if (r < 0)
		return 0;
	n = assign(c, name, (uint8_t)r);
	if (!T(n != NULL))
		return 0;
	for (uint8_t g = 0; g < PW_GATEWAYS; g++)
		if (n->at[g].state == PM_NAME_CONFIRMED || n->at[g].state == PM_NAME_FAILED) {
			n->at[g].hold = n->at[g].state == PM_NAME_FAILED;
			n->at[g].state = PM_NAME_PENDING;
			say(m, n, g);
		} else if (c->has[r].gateway == g && c->up[g]) {
			name_update(m, n, g);
		}
	stack = c->has[r].def.stack;
	if (stack == (f ? DNS_STACK_V4 : DNS_STACK_V6))
		return 0;
	for (int i = 0; i < 4; i++)
		out[i] = n->proxy[f][i];
	return 4;
}

void pm_client_status(struct pm *m, uint8_t number, uint8_t g, const struct p2p_domain_status *s)
{
	struct pm_client *c = &m->client[number];

	for (uint32_t i = 0; i < c->name_count; i++) {
		struct pm_name *n = &c->names[i];

		if (n->r == s->resource.b[15] && !strcasecmp(n->domain, s->domain) &&
		    n->at[g].state != PM_NAME_NONE) {
			n->at[g].state = s->active ? PM_NAME_CONFIRMED : PM_NAME_FAILED;
			if (s->active)
				let_go(m, number, -1, (int)i, g);
			else
				discard_name(c, (int)i, g);
		}
	}
}

static int name_of(const struct pm_client *c, const struct ipaddr *a)
{
	int f = a->family == 6;

	for (uint32_t i = 0; i < c->name_count; i++) {
		const struct pm_name *n = &c->names[i];
		const struct pm_has *h = &c->has[n->r];

		for (int k = 0; n->has[f] && k < 4; k++)
			if (ipaddr_eq(&n->proxy[f][k], a))
				return active(h) && h->def.type == TUNNEL_RESOURCE_DNS &&
						       pm_pattern_match(h->def.address, n->domain)
					       ? (int)i
					       : -1;
	}
	return -1;
}

/* ---- packets ---- */
static bool before(const struct pm_has *a, const struct pm_has *b)
{
	int la = pm_prefix(&a->def), lb = pm_prefix(&b->def);
	uint64_t ma = a->gateway == NOBODY ? UINT64_MAX : a->mapped,
		 mb = b->gateway == NOBODY ? UINT64_MAX : b->mapped;

	return la != lb ? la > lb : ma != mb ? ma < mb : a->def.r > b->def.r;
}

/* Longest prefix; of equal ones the one that has a gateway, the first of those; the larger id. */
static int match(const struct pm_client *c, const struct ipaddr *a, uint8_t gateway)
{
	int best = -1;

	for (uint8_t r = 0; r < PW_RESOURCES; r++) {
		const struct pm_has *h = &c->has[r];

		if (!active(h) || !pm_covers(&h->def, a) ||
		    (gateway != NOBODY && h->gateway != gateway))
			continue;
		if (best < 0 || before(h, &c->has[best]))
			best = r;
	}
	return best;
}

static bool is_own(const struct pm *m, uint8_t c, const struct ipaddr *a)
{
	const struct pw_node *n = &m->w->node[c];

	return ipaddr_eq(a, a->family == 4 ? &n->tun4 : &n->tun6);
}

static bool is_gateway(const struct pm *m, uint8_t g, const struct ipaddr *a)
{
	const struct pw_node *n = &m->w->node[PW_CLIENTS + g];

	return ipaddr_eq(a, a->family == 4 ? &n->tun4 : &n->tun6);
}

static struct pm_out to_reserved(const struct pm *m, uint8_t c, const struct ipaddr *dst)
{
	for (uint8_t g = 0; g < PW_GATEWAYS; g++)
		if (m->client[c].up[g] && is_gateway(m, g, dst))
			return (struct pm_out){.fate = PM_PASS, .gateway = g, .r = -1, .name = -1};
	return (struct pm_out){.fate = PM_DENY, .r = -1, .name = -1};
}

struct pm_out pm_client_out(const struct pm *m, uint8_t number, const struct ip_meta *pkt)
{
	const struct pm_client *c = &m->client[number];
	struct pm_out o = {.fate = PM_DENY, .gateway = NOBODY, .r = -1, .name = -1};

	if (!is_own(m, number, &pkt->src) || pkt->l4 == IP_L4_ICMP_ERROR)
		return o;
	o.name = name_of(c, &pkt->dst);
	if (o.name < 0 && pm_reserved(&pkt->dst))
		return to_reserved(m, number, &pkt->dst);
	o.r = o.name >= 0 ? c->names[o.name].r : match(c, &pkt->dst, NOBODY);
	if (o.r < 0)
		return o;
	o.fate = PM_HELD;
	o.gateway = c->has[o.r].gateway;
	if (!served(c, (uint8_t)o.r))
		return o;
	if (o.name >= 0 && c->names[o.name].at[o.gateway].state == PM_NAME_PENDING &&
	    c->names[o.name].at[o.gateway].hold)
		return o;
	o.fate = PM_PASS;
	return o;
}

void pm_client_sent(struct pm *m, uint8_t number, const struct pm_out *o, const struct ip_meta *pkt)
{
	struct pm_client *c = &m->client[number];

	if (o->r < 0)
		return;
	if (c->has[o->r].gateway == NOBODY)
		c->has[o->r].pending = true;
	else if (o->name >= 0 && served(c, (uint8_t)o->r) &&
		 c->names[o->name].at[o->gateway].state == PM_NAME_PENDING)
		say_again(m, &c->names[o->name], o->gateway);
	if (o->fate == PM_HELD)
		hold(c, o, served(c, (uint8_t)o->r), pkt);
}

bool pm_client_in(const struct pm *m, uint8_t number, uint8_t g, const struct ip_meta *pkt)
{
	const struct pm_client *c = &m->client[number];
	int name = name_of(c, &pkt->src);

	if (!c->known[g] || !is_own(m, number, &pkt->dst))
		return false;
	if (is_gateway(m, g, &pkt->src))
		return true;
	if (name >= 0)
		return c->has[c->names[name].r].gateway == g;
	return !pm_reserved(&pkt->src) && match(c, &pkt->src, g) >= 0;
}
