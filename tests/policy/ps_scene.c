/* SPDX-License-Identifier: Apache-2.0
 *
 * What the scenarios have in common; contracts in ps.h. */
#include "base/uuid.h"
#include "tests/policy/ps.h"

struct pw_world pw;
struct ps_said ps_said[PS_SAID];
uint32_t ps_said_count;
static uint32_t seen; /* of pw.out */

/* ---- life ---- */
static void on_heard(void *ctx, uint8_t node, const char *event, const char *payload)
{
	struct ps_said *s = &ps_said[ps_said_count];
	json_t *o = json_loads(payload, 0, NULL);
	const char *id = json_string_value(json_object_get(o, "resource_id"));
	struct uuid u = {0};

	(void)ctx;
	if (T(ps_said_count < PS_SAID)) {
		ps_said_count++;
		*s = (struct ps_said){.at = pw.now, .node = node};
		if (id && T_EQ(uuid_parse(id, &u), 0))
			s->r = u.b[15];
		tunnel_text_copy(s->event, sizeof(s->event), event);
	}
	json_decref(o);
}

void ps_open(uint8_t clients, uint8_t gateways, uint8_t sites)
{
	const struct pw_cfg cfg = {.clients = clients,
				   .gateways = gateways,
				   .sites = sites,
				   .hooks = {.heard = on_heard}};

	T(pw_open(&pw, &cfg, t_seed()));
	seen = ps_said_count = 0;
}

void ps_close(void)
{
	ps_quiet();
	pw_close(&pw);
}

void ps_deliver(void)
{
	for (uint8_t n = PW_NODES; n-- > 0;)
		pw_deliver(&pw, n, PW_INBOX);
}

void ps_define(struct pw_resource def)
{
	if (!def.sites)
		def.sites = 1;
	pw_resource_put(&pw, &def);
	for (uint8_t c = 0; c < pw.cfg.clients; c++)
		pw_policy_set(&pw, c, def.r, true, TUNNEL_NEVER_EXPIRES);
	ps_deliver();
}

void ps_permit(uint8_t r, enum tunnel_resource_type type, const char *address)
{
	struct pw_resource def = {.r = r, .type = type};

	tunnel_text_copy(def.address, sizeof(def.address), address);
	ps_define(def);
}

void ps_serve(void)
{
	pw.easy = true;
	pw_settle(&pw);
	pw.easy = false;
}

void ps_answer(void)
{
	if (T(pw.intent_count > 0))
		pw_answer_intent(&pw, 0);
}

uint32_t ps_slot(uint8_t node, uint8_t peer)
{
	uint32_t slot = pw_slot(&pw, node, peer);

	return T(slot != TUNNEL_NO_SLOT) ? slot : 0;
}

void ps_flow(uint8_t c, uint8_t g)
{
	uint32_t authorized = ps_heard(pw_gw(&pw, g), PMSG_EV_FLOW_AUTHORIZED);

	if (!T_EQ(pw.intent_count, 1))
		return;
	T_EQ(pw.intents[0].c, c);
	ps_answer();
	T_EQ(pw.node[c].inbox_count, 0); /* the gateway first */
	pw_deliver(&pw, pw_gw(&pw, g), PW_INBOX);
	T_EQ(ps_heard(pw_gw(&pw, g), PMSG_EV_FLOW_AUTHORIZED), authorized + 1);
	T_EQ(pw.node[c].inbox_count, 1);
	pw_deliver(&pw, c, PW_INBOX);
}

/* ---- the portal heard ---- */
static uint32_t asked(uint8_t c, uint8_t r, uint32_t nth, uint64_t *at)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ps_said_count; i++)
		if (ps_said[i].node == c && ps_said[i].r == r &&
		    !strcmp(ps_said[i].event, PMSG_EV_CREATE_FLOW) && n++ == nth)
			*at = ps_said[i].at;
	return n;
}

uint32_t ps_asked(uint8_t c, uint8_t r)
{
	uint64_t at;

	return asked(c, r, 0, &at);
}

uint64_t ps_asked_at(uint8_t c, uint8_t r, uint32_t i)
{
	uint64_t at = 0;

	T(asked(c, r, i, &at) > i);
	return at;
}

uint32_t ps_heard(uint8_t node, const char *event)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ps_said_count; i++)
		n += ps_said[i].node == node && !strcmp(ps_said[i].event, event);
	return n;
}

/* ---- packets ---- */
struct pkt ps_packet(uint8_t c, const struct ipaddr *far, uint8_t proto, uint16_t sport,
		     uint16_t dport)
{
	return pkt_make(far->family == 4 ? &pw.node[c].tun4 : &pw.node[c].tun6, far, proto, sport,
			dport, 4);
}

struct pkt ps_udp(uint8_t c, const struct ipaddr *far, uint16_t sport, uint16_t dport)
{
	return ps_packet(c, far, IP_PROTO_UDP, sport, dport);
}

/* The transport checksum anew. */
static void sum_anew(struct pkt *p, size_t at)
{
	uint8_t *l4 = p->b + p->m.l4_off;

	be16_put(l4 + at, 0);
	be16_put(l4 + at, ip_csum_l4(p->b, &p->m));
}

void ps_tcp_flags(struct pkt *p, uint8_t flags, uint32_t seq)
{
	uint8_t *l4 = p->b + p->m.l4_off;

	be32_put(l4 + 4, seq);
	l4[13] = flags;
	sum_anew(p, 16);
	T_EQ(ip_packet_parse(p->b, p->len, &p->m), 0);
}

struct pkt ps_mirror(const struct pkt *p)
{
	bool echo = p->m.l4 == IP_L4_ICMP_ECHO;
	struct pkt back = pkt_make(&p->m.dst, &p->m.src, p->m.proto, echo ? 129 : p->m.dport,
				   echo ? p->m.icmp_id : p->m.sport, 4);

	if (echo && p->m.family == 4) {
		back.b[back.m.l4_off] = 0;
		sum_anew(&back, 2);
		T_EQ(ip_packet_parse(back.b, back.len, &back.m), 0);
	}
	return back;
}

uint64_t ps_count(uint8_t node, enum ps_reason_id reason)
{
	return pw.node[node].d->reasons[reason].packets;
}

struct pkt ps_took(uint8_t node)
{
	const struct pw_out *o = &pw.out[seen % PW_OUT];
	struct pkt p = {0};

	if (!T(seen < pw.out_count))
		return p;
	seen++;
	T_EQ(o->node, node);
	p.len = o->len;
	memcpy(p.b, o->b, o->len);
	if (!T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0))
		return p;
	T_EQ(p.m.total_len, p.len);
	T_EQ(ip_csum_l4(p.b, &p.m), 0);
	if (p.m.family == 4)
		T_EQ(ip_csum(p.b, p.m.l4_off), 0);
	return p;
}

void ps_quiet(void)
{
	T_EQ(seen, pw.out_count);
	seen = pw.out_count;
}

void ps_same(const struct pkt *got, const struct pkt *want)
{
	if (T_EQ(got->len, want->len))
		T_MEM(got->b, want->b, want->len);
}

struct pkt ps_reaches(uint8_t c, const struct pkt *p, uint8_t g, const struct ipaddr *real)
{
	struct pkt got;

	ps_quiet();
	T_EQ(pw_app_send(&pw, c, p), PS_R_UTX_SENT);
	got = ps_took(pw_gw(&pw, g));
	T(ipaddr_eq(&got.m.src, &p->m.src));
	T(ipaddr_eq(&got.m.dst, real));
	T_EQ(got.m.proto, p->m.proto);
	T_EQ(got.m.dport, p->m.dport);
	ps_quiet();
	return got;
}

void ps_replies(uint8_t g, const struct pkt *at_lan, uint8_t c, const struct pkt *p)
{
	struct pkt back = ps_mirror(at_lan), want = ps_mirror(p), got;

	ps_quiet();
	T_EQ(pw_lan_send(&pw, g, &back), PS_R_UTX_SENT);
	got = ps_took(c);
	ps_same(&got, &want);
	ps_quiet();
}

struct pkt ps_exchange(uint8_t c, const struct pkt *p, uint8_t g, const struct ipaddr *real)
{
	struct pkt got = ps_reaches(c, p, g, real);

	ps_replies(g, &got, c, p);
	return got;
}

static struct pkt of_out(const struct pw_out *o)
{
	struct pkt p = {.len = o->len};

	memcpy(p.b, o->b, o->len);
	T_EQ(ip_packet_parse(p.b, p.len, &p.m), 0);
	return p;
}

/* What is not a matter of time is the same for both. */
static bool agree(enum ps_reason_id kernel, enum ps_reason_id worker, const struct pw_out *a,
		  const struct pw_out *b)
{
	bool carried = kernel == PS_R_XDP_DELIVERED || kernel == PS_R_TX_SENT;

	return T_EQ(carried, worker == PS_R_XDP_DELIVERED || worker == PS_R_TX_SENT) &&
	       (!carried || (T_EQ(a->len, b->len) && T_MEM(a->b, b->b, b->len)));
}

enum ps_reason_id ps_cached_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
			       struct pw_out *out)
{
	enum ps_reason_id id = pw_kernel_in(n, slot, p, out);
	struct pw_out other = {0};

	agree(id, pw_worker_in(n, slot, p, &other), out, &other);
	return id;
}

enum ps_reason_id ps_cached_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
				struct pw_out *out)
{
	enum ps_reason_id id;
	struct pw_out other = {0};
	uint32_t to = TUNNEL_NO_SLOT;

	*slot = TUNNEL_NO_SLOT;
	id = pw_kernel_out(n, p, slot, out);
	agree(id, pw_worker_out(n, p, &to, &other), out, &other);
	T_EQ(to, *slot);
	return id;
}

void ps_carried(uint8_t c, const struct pkt *p, uint8_t g, const struct pkt *at_lan)
{
	struct pw_node *a = &pw.node[c], *b = &pw.node[pw_gw(&pw, g)];
	struct pkt back = ps_mirror(at_lan), want = ps_mirror(p), got;
	uint32_t slot = TUNNEL_NO_SLOT;
	struct pw_out out = {0};

	pw_advance(&pw, 50 * NS_PER_MS); /* no longer new */
	if (!T_EQ(ps_cached_out(a, p, &slot, &out), PS_R_TX_SENT))
		return;
	T_EQ(slot, pw_slot(&pw, c, b->index));
	got = of_out(&out);
	ps_same(&got, p);
	if (!T_EQ(ps_cached_in(b, ps_slot(b->index, c), &got, &out), PS_R_XDP_DELIVERED))
		return;
	got = of_out(&out);
	ps_same(&got, at_lan);
	if (!T_EQ(ps_cached_out(b, &back, &slot, &out), PS_R_TX_SENT))
		return;
	T_EQ(slot, pw_slot(&pw, b->index, c));
	got = of_out(&out);
	ps_same(&got, &want);
	if (!T_EQ(ps_cached_in(a, ps_slot(c, b->index), &got, &out), PS_R_XDP_DELIVERED))
		return;
	got = of_out(&out);
	ps_same(&got, &want);
}

enum ps_reason_id ps_lets_in(uint8_t c, const struct pkt *p, uint8_t g)
{
	struct pw_node *b = &pw.node[pw_gw(&pw, g)];
	struct pw_out out;

	return ps_cached_in(b, ps_slot(b->index, c), p, &out);
}

void ps_is_error(const struct pkt *got, const struct pkt *p, enum icmp_error kind)
{
	const uint8_t *h = got->b + got->m.l4_off;
	bool v4 = p->m.family == 4, prohibited = kind == ICMP_ERROR_PROHIBITED;
	size_t quote = v4 ? 28 : p->len;

	T(ipaddr_eq(&got->m.src, &p->m.dst));
	T(ipaddr_eq(&got->m.dst, &p->m.src));
	T_EQ(got->m.l4, IP_L4_ICMP_ERROR);
	T_EQ(got->b[v4 ? 8 : 7], 20);
	T_EQ(h[0], v4 ? 3 : 1);
	T_EQ(h[1], v4 ? (prohibited ? 13 : 0) : (prohibited ? 1 : 3));
	if (T_EQ(got->len, got->m.l4_off + 8 + quote))
		T_MEM(h + 8, p->b, quote);
}

void ps_refused(uint8_t c, const struct pkt *p, uint8_t g, enum ps_reason_id why,
		enum icmp_error kind)
{
	uint64_t before = ps_count(pw_gw(&pw, g), why);
	struct pkt got;

	ps_quiet();
	T_EQ(pw_rogue_send(&pw, c, pw_gw(&pw, g), p->b, p->len), why);
	T_EQ(ps_count(pw_gw(&pw, g), why), before + 1);
	T(ps_lets_in(c, p, g) != PS_R_XDP_DELIVERED);
	if (kind != ICMP_ERROR_NONE) {
		got = ps_took(c);
		ps_is_error(&got, p, kind);
	}
	ps_quiet();
}

/* ---- names ---- */
void ps_ask(uint8_t c, const char *name, uint16_t type, struct ipaddr out[8])
{
	T_EQ(pw_query(&pw, c, name, type, out), 4);
	for (int i = 0; i < 4; i++) {
		T_EQ(out[i].family, type == DNS_TYPE_A ? 4 : 6);
		T(tunnel_in_proxy_range(&out[i]));
	}
}

const struct pw_control *ps_on_its_way(uint8_t from, uint8_t to, uint8_t type)
{
	static struct pw_control c;

	if (!T(pw.control_count > 0))
		return &c;
	c = pw.controls[0];
	T_EQ(c.from, from);
	T_EQ(c.to, to);
	T_EQ(c.type, type);
	return &c;
}

void ps_arrives(uint32_t i, bool keep)
{
	if (T(i < pw.control_count))
		pw_control_deliver(&pw, i, keep);
}

void ps_lost(void)
{
	if (T(pw.control_count > 0))
		pw_control_drop(&pw, 0);
}

void ps_name_arrives(uint8_t c, uint8_t g, const char *name)
{
	struct pw_node *b = &pw.node[pw_gw(&pw, g)];

	ps_on_its_way(c, b->index, P2P_CTL_ASSIGNED_IPS);
	ps_arrives(0, false);
	if (!T_EQ(b->question_count, 1))
		return;
	T_STR(b->questions[0].name, name);
	pw_question_answer(&pw, g, 0);
}
