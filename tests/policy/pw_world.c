/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes, time, links and packets of the policy world; see pw.h. */
#include <stdlib.h>
#include "crypto/crypto.h"
#include "tests/policy/pw_kernel.h"

enum { WIRE = 512, SESSIONS = 16, FLOWS = 1024, PORT0 = 10000, EASY_ROUNDS = 64 };

struct pw_world *pw_the;

/* Sealed data between nodes, first in first out; empty whenever the world is at rest. */
static struct wire {
	uint8_t from, to;
	uint16_t len;
	uint8_t msg[UDP_BUF_LEN];
} wire[WIRE];
static uint32_t wire_head, wire_count;

struct pw_node *pw_node_of(const struct node *nd)
{
	for (uint32_t i = 0; i < PW_NODES; i++)
		if (pw_the->node[i].d && &pw_the->node[i].d->node == nd)
			return &pw_the->node[i];
	return NULL;
}

void pw_event_push(struct pw_node *n, const struct node_event *ev)
{
	if (T(n->event_count < sizeof(n->events) / sizeof(*n->events)))
		n->events[n->event_count++] = *ev;
}

/* ---- life ---- */
static void *take(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		abort();
	return p;
}

static bool start(struct pw_node *n)
{
	struct daemon *d = take(1, sizeof(*d));
	uint8_t seed[32];
	char why[160];

	n->d = d;
	n->kernel = pw_kernel_open(n->w->cfg.bpf, why, sizeof(why));
	if (!n->kernel) {
		t_note("%s", why);
		return false;
	}
	d->role = n->gateway ? &role_gateway : &role_client;
	d->opt.mode = OPT_MODE_KERNEL;
	d->opt.internet = true;
	d->opt.tunnel_mtu = TCL_MTU_BASE; /* nobody probes for more */
	d->tun = (struct tun *)n;
	d->udp = (struct udp *)n;
	d->bpf = (struct bpf_load *)n;
	d->kernel_why[0] = '-'; /* there are no devices whose captures to follow */
	d->max_peers = PW_PEERS;
	d->n_sessions = SESSIONS;
	d->max_flows = FLOWS;
	d->started_ns = n->w->now;
	d->memo = take(FLOW_MEMO_CAP, sizeof(*d->memo));
	d->seen = take(SESSIONS, sizeof(*d->seen));
	d->pace = take(PW_PEERS, sizeof(*d->pace));
	d->node_mem.conns = take(PW_PEERS, sizeof(struct node_conn));
	d->node_mem.n_conns = PW_PEERS;
	d->node.mem = d->node_mem;
	/* sessions last: nobody renews them */
	d->node.cfg.wg_times.reject_after_ns = d->node.cfg.wg_times.initiator_stop_ns = TIME_NEVER;
	d->fwd_mem = (struct fwd_mem){.session = pw_kernel_sessions(n->kernel),
				      .replay = pw_kernel_replays(n->kernel),
				      .peer = pw_kernel_peers(n->kernel),
				      .keys = take(SESSIONS, sizeof(struct fwd_keys)),
				      .session_free = take(SESSIONS, sizeof(uint32_t)),
				      .n_sessions = SESSIONS,
				      .n_peers = PW_PEERS};
	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)t_rand(&n->w->rnd);
	cand_hold_init(&d->held);
	n->running = true;
	n->event_count = n->question_count = n->upstream_count = 0;
	memset(n->conn, 0, sizeof(n->conn));
	n->tick_ns = n->w->now + NS_PER_SEC;
	return T_EQ(fwd_init(&d->fwd, &d->fwd_mem, seed), 0) && T_EQ(mtu_open(d), 0) &&
	       T_EQ(flow_init(d), 0) && T_EQ(data_open(d), 0) && T_EQ(d->role->init(d), 0);
}

static void stop(struct pw_node *n)
{
	struct daemon *d = n->d;

	if (!d)
		return;
	if (n->running) {
		fwd_fini(&d->fwd);
		d->role->fini(d);
	}
	mtu_close(d);
	flow_fini(d);
	data_close(d);
	free(d->memo);
	free(d->seen);
	free(d->pace);
	free(d->node_mem.conns);
	free(d->fwd_mem.keys);
	free(d->fwd_mem.session_free);
	free(d);
	pw_kernel_close(n->kernel);
	n->d = NULL;
	n->kernel = NULL;
	n->running = false;
}

static void identify(struct pw_node *n, uint8_t index)
{
	uint8_t number = (uint8_t)(index < PW_CLIENTS ? index : index - PW_CLIENTS);

	n->index = index;
	n->gateway = index >= PW_CLIENTS;
	n->number = number;
	n->id = (struct uuid){.b = {n->gateway ? 0x9a : 0xc1, [15] = number}};
	n->tun4 = ipaddr_v4(100, 64, n->gateway ? 2 : 1, (uint8_t)(10 + number));
	n->tun6 = (struct ipaddr){
		.family = 6,
		.b = {0xfd, 0, 0x20, 0x21, 0x11,
		      0x11, [14] = n->gateway ? 2 : 1, [15] = (uint8_t)(10 + number)}};
	n->at = (struct endpoint){.ip = ipaddr_v4(192, 0, 2, (uint8_t)(1 + index)),
				  .port = (uint16_t)(PORT0 + index)};
	n->inbox = take(PW_INBOX, sizeof(*n->inbox));
}

bool pw_open(struct pw_world *w, const struct pw_cfg *cfg, uint64_t seed)
{
	const char *bad;

	memset(w, 0, sizeof(*w));
	w->cfg = *cfg;
	w->at = PW_NONE;
	w->now = 1000 * NS_PER_SEC;
	w->wall_ns = PW_UNIX0 * NS_PER_SEC;
	w->rnd = seed ? seed : 1;
	pw_the = w;
	wire_count = 0;
	log_init(&(struct log_cfg){.filter = getenv("PW_LOG") ? getenv("PW_LOG") : "off"}, &bad);
	crypto_init();
	for (uint8_t i = 0; i < PW_NODES; i++) {
		struct pw_node *n = &w->node[i];

		n->w = w;
		identify(n, i);
		if (n->number >= (n->gateway ? cfg->gateways : cfg->clients))
			continue;
		if (!start(n))
			return false;
		pw_portal_join(w, i);
		pw_deliver(w, i, PW_INBOX);
	}
	return true;
}

void pw_close(struct pw_world *w)
{
	for (uint8_t i = 0; i < PW_NODES; i++) {
		stop(&w->node[i]);
		free(w->node[i].inbox);
		w->node[i].inbox = NULL;
	}
	pw_the = NULL;
}

static void drop_controls(struct pw_world *w, uint8_t node)
{
	for (uint32_t i = w->control_count; i-- > 0;)
		if (w->controls[i].from == node || w->controls[i].to == node)
			pw_control_drop(w, i);
}

void pw_restart(struct pw_world *w, uint8_t node)
{
	struct pw_node *n = &w->node[node];

	pw_portal_cut(w, node);
	drop_controls(w, node);
	stop(n);
	n->life++;
	for (uint32_t i = 0; n->gateway && i < sizeof(w->grants) / sizeof(*w->grants); i++)
		if (w->grants[i].g == n->number)
			w->grants[i].used = false;
	T(start(n));
}

/* As the daemon's reset (apps/daemon/run.c). */
void pw_roam(struct pw_world *w, uint8_t c)
{
	struct pw_node *n = &w->node[c];
	struct daemon *d = n->d;

	tcl_reset(&d->tcl, w->now);
	dns_resolver_reset(d->stub_io, w->now);
	d->role->drain(d, w->now);
	for (uint32_t slot = 0; slot < d->max_peers; slot++)
		link_close(d, slot, w->now);
	n->life++;
	pw_settle(w);
	pw_portal_cut(w, c);
	pw_portal_join(w, c);
}

/* ---- what is written and sent ---- */
void pw_node_out(struct pw_node *n, const void *pkt, size_t len)
{
	struct pw_world *w = n->w;
	struct pw_out *o = &w->out[w->out_count % PW_OUT];

	if (!T(len <= sizeof(o->b)))
		return;
	w->out_count++;
	*o = (struct pw_out){.node = n->index, .len = (uint16_t)len};
	memcpy(o->b, pkt, len);
	if (w->cfg.hooks.wrote)
		w->cfg.hooks.wrote(w->cfg.hooks.ctx, o);
}

/* What `to` would find in the datagram; 0: nothing, it has no such session. */
static size_t peek(const struct pw_node *to, const uint8_t *msg, size_t len, uint8_t *inner)
{
	const struct ps_session *s;

	if (!to->d || len < FWD_DATA_OVERHEAD)
		return 0;
	s = fwd_session(&to->d->fwd, le32_get(msg + 4));
	if (!s ||
	    aead_open(inner, to->d->fwd.mem.keys[fwd_slot(&to->d->fwd, s->local_idx)].recv,
		      le64_get(msg + 8), NULL, 0, msg + FWD_DATA_HEADER, len - FWD_DATA_HEADER))
		return 0;
	return len - FWD_DATA_OVERHEAD;
}

static void keep_control(struct pw_world *w, const struct wire *p, const uint8_t *inner, size_t len,
			 uint8_t type)
{
	struct pw_control *c;

	if (w->control_count == PW_CONTROLS)
		pw_control_drop(w, 0);
	c = &w->controls[w->control_count++];
	*c = (struct pw_control){.from = p->from,
				 .to = p->to,
				 .type = type,
				 .len = p->len,
				 .inner_len = (uint16_t)len};
	memcpy(c->msg, p->msg, p->len);
	memcpy(c->inner, inner, len);
	w->n.controls++;
}

void pw_node_datagram(struct pw_node *n, const struct endpoint *to, size_t len)
{
	struct pw_world *w = n->w;
	struct wire *p = &wire[(wire_head + wire_count) % WIRE];
	uint8_t inner[UDP_BUF_LEN];
	struct p2p_ctl ctl;
	size_t got;

	if (to->port < PORT0 || to->port >= PORT0 + PW_NODES || !T(wire_count < WIRE))
		return;
	*p = (struct wire){
		.from = n->index, .to = (uint8_t)(to->port - PORT0), .len = (uint16_t)len};
	memcpy(p->msg, n->tx, len);
	got = peek(&w->node[p->to], p->msg, len, inner);
	if (got && got <= sizeof(w->controls[0].inner) &&
	    p2p_ctl_decode(inner, got, &ctl) == P2P_CTL_EVENT)
		keep_control(w, p, inner, got, ctl.type);
	else
		wire_count++;
}

/* As before the daemon's loop sleeps. */
void pw_rest(struct pw_node *n)
{
	n->d->role->drain(n->d, n->w->now);
	link_drain(n->d, n->w->now);
}

static void receive(struct pw_world *w, uint8_t from, uint8_t to, const uint8_t *msg, size_t len)
{
	struct pw_node *n = &w->node[to];

	if (!n->running)
		return;
	w->n.datagrams++;
	memcpy(n->rx_buf, msg, len);
	n->rx = (struct udp_dgram){
		.local = n->at, .remote = w->node[from].at, .data = n->rx_buf, .len = len};
	n->has_rx = true;
	w->at = to;
	data_udp_readable(n->d, 4, w->now);
	w->at = PW_NONE;
	pw_rest(n);
}

static void wire_run(struct pw_world *w)
{
	while (wire_count) {
		static struct wire p;

		p = wire[wire_head];
		wire_head = (wire_head + 1) % WIRE;
		wire_count--;
		receive(w, p.from, p.to, p.msg, p.len);
	}
}

/* Easily: one round of whatever waits; false when nothing did. */
static bool easy_round(struct pw_world *w)
{
	bool any = w->control_count || w->intent_count;

	while (w->control_count)
		pw_control_deliver(w, 0, false);
	while (w->intent_count)
		pw_answer_intent(w, 0);
	for (uint8_t i = 0; i < PW_NODES; i++) {
		struct pw_node *n = &w->node[i];

		any |= n->inbox_count || n->question_count;
		pw_deliver(w, i, PW_INBOX);
		while (n->question_count)
			pw_question_answer(w, n->number, 0);
	}
	for (uint8_t c = 0; c < w->cfg.clients; c++)
		for (uint8_t g = 0; g < w->cfg.gateways; g++)
			any |= pw_link_up(w, c, g);
	return any;
}

void pw_settle(struct pw_world *w)
{
	static bool busy;
	uint32_t rounds = 0;

	if (busy)
		return;
	busy = true;
	do {
		for (uint8_t i = 0; i < PW_NODES; i++)
			if (w->node[i].running)
				pw_rest(&w->node[i]);
		wire_run(w);
	} while (w->easy && rounds++ < EASY_ROUNDS && easy_round(w));
	busy = false;
}

static enum ps_reason_id reason_since(const struct daemon *d, const struct ps_reason_count *before)
{
	enum ps_reason_id found = PS_R_COUNT;

	for (uint32_t i = 0; i < PS_R_COUNT; i++)
		if (d->reasons[i].packets != before[i].packets) {
			if (found != PS_R_COUNT)
				return PS_R_COUNT; /* it set others free */
			found = (enum ps_reason_id)i;
		}
	return found;
}

static enum ps_reason_id tun_send(struct pw_world *w, uint8_t node, const struct pkt *p)
{
	struct pw_node *n = &w->node[node];
	struct ps_reason_count before[PS_R_COUNT];
	enum ps_reason_id r;

	memcpy(before, n->d->reasons, sizeof(before));
	memcpy(n->tun_buf + TUN_HEADROOM, p->b, p->len);
	n->tun = (struct tun_pkt){.data = n->tun_buf + TUN_HEADROOM, .len = p->len};
	n->has_tun = true;
	data_tun_readable(n->d, w->now);
	r = reason_since(n->d, before);
	pw_settle(w);
	return r;
}

enum ps_reason_id pw_app_send(struct pw_world *w, uint8_t c, const struct pkt *p)
{
	return tun_send(w, c, p);
}

enum ps_reason_id pw_lan_send(struct pw_world *w, uint8_t g, const struct pkt *p)
{
	return tun_send(w, pw_gw(w, g), p);
}

enum ps_reason_id pw_rogue_send(struct pw_world *w, uint8_t from, uint8_t to, const uint8_t *pkt,
				size_t len)
{
	struct pw_node *a = &w->node[from], *b = &w->node[to];
	struct ps_reason_count before[PS_R_COUNT];
	uint32_t slot = pw_slot(w, from, to);
	uint8_t msg[UDP_BUF_LEN];
	enum ps_reason_id r;
	size_t out_len;

	if (slot == TUNNEL_NO_SLOT || !b->running ||
	    fwd_seal(&a->d->fwd, slot, pkt, len, msg, &out_len, w->now) != PS_R_UTX_SENT)
		return PS_R_COUNT;
	memcpy(before, b->d->reasons, sizeof(before));
	receive(w, from, to, msg, out_len);
	r = reason_since(b->d, before);
	pw_settle(w);
	return r;
}

void pw_control_drop(struct pw_world *w, uint32_t i)
{
	w->control_count--;
	memmove(&w->controls[i], &w->controls[i + 1],
		(w->control_count - i) * sizeof(*w->controls));
}

void pw_control_deliver(struct pw_world *w, uint32_t i, bool keep)
{
	static struct pw_control p;
	uint8_t inner[UDP_BUF_LEN];

	p = w->controls[i];
	keep = keep && pw_link_ok(w, p.from < p.to ? p.from : p.to,
				  (uint8_t)((p.from < p.to ? p.to : p.from) - PW_CLIENTS));
	if (!keep)
		pw_control_drop(w, i);
	if (!peek(&w->node[p.to], p.msg, p.len, inner)) {
		w->n.lost++; /* of a session that is gone */
		return;
	}
	if (w->cfg.hooks.control)
		w->cfg.hooks.control(w->cfg.hooks.ctx, &p);
	if (keep)
		pw_rogue_send(w, p.from, p.to, p.inner, p.inner_len);
	else
		receive(w, p.from, p.to, p.msg, p.len);
	pw_settle(w);
}

/* ---- links ---- */
uint32_t pw_slot(const struct pw_world *w, uint8_t node, uint8_t peer)
{
	const struct pw_node *n = &w->node[node];

	for (uint32_t s = 0; n->running && s < PW_PEERS; s++)
		if (n->conn[s].used && !n->conn[s].closing && n->conn[s].peer == peer)
			return s;
	return TUNNEL_NO_SLOT;
}

bool pw_link_ok(const struct pw_world *w, uint8_t c, uint8_t g)
{
	uint32_t a = pw_slot(w, c, pw_gw(w, g)), b = pw_slot(w, pw_gw(w, g), c);

	return a != TUNNEL_NO_SLOT && b != TUNNEL_NO_SLOT && w->node[c].conn[a].link &&
	       w->node[c].conn[a].link == w->node[pw_gw(w, g)].conn[b].link;
}

static void session_events(struct pw_node *n, uint32_t slot, uint32_t remote_idx, bool initiator,
			   const uint8_t send[32], const uint8_t recv[32])
{
	struct pw_conn *c = &n->conn[slot];
	struct node_event ev = {.kind = NODE_EV_WG,
				.conn = slot,
				.cid = n->d->node.mem.conns[slot].cid,
				.wg = {.type = WG_EV_SESSION,
				       .local_idx = c->idx,
				       .remote_idx = remote_idx,
				       .initiator = initiator,
				       .birth_ns = n->w->now}};

	memcpy(ev.wg.keys.send, send, 32);
	memcpy(ev.wg.keys.recv, recv, 32);
	pw_event_push(n, &ev);
	ev.wg = (struct wg_event){.type = WG_EV_SESSION_CURRENT, .local_idx = c->idx};
	pw_event_push(n, &ev);
	if (n->d->node.mem.conns[slot].established)
		return;
	n->d->node.mem.conns[slot].established = true;
	ev.kind = NODE_EV_ESTABLISHED;
	pw_event_push(n, &ev);
}

/* A fresh index in place of the connection's old session, if any. */
static uint32_t fresh_index(struct pw_node *n, uint32_t slot)
{
	struct pw_conn *c = &n->conn[slot];

	if (c->idx)
		pw_event_push(n, &(struct node_event){
					 .kind = NODE_EV_WG,
					 .conn = slot,
					 .wg = {.type = WG_EV_SESSION_DEAD, .local_idx = c->idx}});
	c->idx = fwd_index_alloc(&n->d->fwd);
	T(c->idx != 0);
	return c->idx;
}

bool pw_link_up(struct pw_world *w, uint8_t c, uint8_t g)
{
	struct pw_node *a = &w->node[c], *b = &w->node[pw_gw(w, g)];
	uint32_t sa = pw_slot(w, c, b->index), sb = pw_slot(w, b->index, c);
	uint8_t to[32], from[32];

	if (sa == TUNNEL_NO_SLOT || sb == TUNNEL_NO_SLOT || pw_link_ok(w, c, g) ||
	    memcmp(&a->conn[sa].local, &b->conn[sb].remote, sizeof(a->conn[sa].local)) != 0 ||
	    memcmp(&a->conn[sa].remote, &b->conn[sb].local, sizeof(a->conn[sa].local)) != 0)
		return false;
	for (int i = 0; i < 32; i++) {
		to[i] = (uint8_t)t_rand(&w->rnd);
		from[i] = (uint8_t)t_rand(&w->rnd);
	}
	fresh_index(a, sa);
	fresh_index(b, sb);
	a->conn[sa].link = b->conn[sb].link = ++w->links;
	fwd_peer_set_path(&a->d->fwd, sa, &a->at, &b->at, 0, 1);
	fwd_peer_set_path(&b->d->fwd, sb, &b->at, &a->at, 0, 1);
	session_events(b, sb, a->conn[sa].idx, false, from, to);
	pw_rest(b);
	session_events(a, sa, b->conn[sb].idx, true, to, from);
	link_drain(a->d, w->now);
	/* the initiator's first packet proves the session to the responder */
	pw_rogue_send(w, c, b->index, NULL, 0);
	pw_rest(a);
	pw_settle(w);
	return true;
}

static void lose(struct pw_world *w, uint8_t node, uint8_t peer)
{
	uint32_t slot = pw_slot(w, node, peer);
	struct pw_node *n = &w->node[node];

	if (slot == TUNNEL_NO_SLOT)
		return;
	pw_event_push(n, &(struct node_event){.kind = NODE_EV_FAILED,
					      .conn = slot,
					      .cid = n->d->node.mem.conns[slot].cid,
					      .why = "test"});
	link_drain(n->d, w->now);
	pw_rest(n);
}

void pw_link_lost(struct pw_world *w, uint8_t c, uint8_t g, bool at_client, bool at_gateway)
{
	if (at_client)
		lose(w, c, pw_gw(w, g));
	if (at_gateway)
		lose(w, pw_gw(w, g), c);
	pw_settle(w);
}
