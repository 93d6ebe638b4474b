/* SPDX-License-Identifier: Apache-2.0
 *
 * The seams of the policy world: functions the daemons call and get these instead of (the linker's
 * --wrap, listed in wraps). Handles the daemons pass around are nodes of the world in disguise. The
 * faults that can be switched on are here, too. */
#include <errno.h>
#include "tests/policy/pw_kernel.h"

#define WRAP(type, name, ...)            \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)
#define REAL(type, name, ...) type __real_##name(__VA_ARGS__)

static struct pw_node *node_at(const void *handle)
{
	return (struct pw_node *)(uintptr_t)handle;
}

static bool fault(enum pw_fault f)
{
	return pw_the && pw_the->fault == f;
}

static struct pw_node *by_loop(const struct loop *l)
{
	for (uint32_t i = 0; i < PW_NODES; i++)
		if (pw_the->node[i].d && &pw_the->node[i].d->loop == l)
			return &pw_the->node[i];
	return NULL;
}

/* ---- clocks and chance ---- */
WRAP(uint64_t, loop_now, void)
{
	return pw_the->now;
}

WRAP(struct wall, loop_wall, void)
{
	uint64_t ns = fault(PW_FAULT_STOPPED_WALL) ? PW_UNIX0 * NS_PER_SEC : pw_the->wall_ns;

	return (struct wall){.sec = ns / NS_PER_SEC, .nsec = (uint32_t)(ns % NS_PER_SEC)};
}

WRAP(int, entropy_get, void *out, size_t len)
{
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)t_rand(&pw_the->rnd);
	return 0;
}

WRAP(int, loop_timer_init, struct loop_timer *t, struct loop *l,
     void (*cb)(void *ctx, uint64_t now), void *ctx)
{
	t->cb = cb;
	t->ctx = ctx;
	t->at = TIME_NEVER;
	by_loop(l)->dns_timer = t;
	return 0;
}

WRAP(void, loop_timer_arm, struct loop_timer *t, uint64_t at)
{
	t->at = at;
}

WRAP(void, loop_timer_fini, struct loop_timer *t)
{
	t->at = TIME_NEVER;
}

/* ---- devices ---- */
/* One at a time: what is committed goes out at once. */
WRAP(size_t, udp_room, struct udp *u, int family, size_t want)
{
	(void)u;
	(void)family;
	return want ? 1 : 0;
}

WRAP(uint8_t *, udp_room_at, struct udp *u, int family, size_t i)
{
	(void)family;
	return T(i == 0) ? node_at(u)->tx : NULL;
}

WRAP(void, udp_commit, struct udp *u, const struct ipaddr *src, const struct endpoint *remote,
     uint8_t ecn, size_t len)
{
	(void)src;
	(void)ecn;
	pw_node_datagram(node_at(u), remote, len);
}

WRAP(size_t, udp_recv, struct udp *u, int family, struct udp_dgram **out, bool *more)
{
	struct pw_node *n = node_at(u);

	(void)family;
	*out = &n->rx;
	*more = false;
	if (!n->has_rx)
		return 0;
	n->has_rx = false;
	return 1;
}

WRAP(bool, udp_rx_held, const struct udp *u, int family)
{
	(void)u;
	(void)family;
	return false;
}

WRAP(void, udp_flush, struct udp *u)
{
	(void)u;
}

WRAP(int, dev_set_interface, struct daemon *d, const struct ipaddr *v4, const struct ipaddr *v6)
{
	bool fresh = !ipaddr_eq(&d->tun4, v4) || !ipaddr_eq(&d->tun6, v6);

	d->tun4 = *v4;
	d->tun6 = *v6;
	return fresh;
}

WRAP(int, dev_set_routes, struct daemon *d, const struct ipnet *nets, uint32_t n)
{
	struct pw_node *at = node_at(d->tun);

	if (T(n <= PW_ROUTES))
		memcpy(at->routes, nets, n * sizeof(*nets));
	at->route_count = n <= PW_ROUTES ? n : 0;
	return 0;
}

WRAP(int, nl_link_addr_add, struct nl *nl, int ifindex, const struct ipaddr *a, uint8_t len,
     struct io_err *err)
{
	(void)nl;
	(void)ifindex;
	(void)a;
	(void)len;
	(void)err;
	return 0;
}

WRAP(int, nl_link_addr_del, struct nl *nl, int ifindex, const struct ipaddr *a, uint8_t len,
     struct io_err *err)
{
	return __wrap_nl_link_addr_add(nl, ifindex, a, len, err);
}

/* ---- the portal ---- */
WRAP(bool, phx_is_joined, const struct phx *p)
{
	for (uint32_t i = 0; i < PW_NODES; i++)
		if (pw_the->node[i].d && &pw_the->node[i].d->phx == p)
			return pw_the->node[i].portal;
	return false;
}

WRAP(int, portal_send, struct daemon *d, const char *event, const char *payload, uint64_t now)
{
	(void)now;
	pw_portal_heard(node_at(d->tun), event, payload);
	return 0;
}

/* ---- names ---- */
WRAP(int, resolver_open, struct resolver **out, struct loop *l, const struct resolver_cfg *cfg)
{
	struct pw_node *n = by_loop(l);

	n->resolver = *cfg;
	n->question_count = 0;
	*out = (struct resolver *)n;
	return 0;
}

WRAP(void, resolver_ask, struct resolver *r, const char *name, uint64_t cookie, uint64_t now)
{
	struct pw_node *n = node_at(r);
	struct pw_question *q = &n->questions[n->question_count];

	(void)now;
	if (!T(n->question_count < PW_QUESTIONS))
		return;
	n->question_count++;
	*q = (struct pw_question){.cookie = cookie, .id = ++pw_the->question_ids};
	tunnel_text_copy(q->name, sizeof(q->name), name);
	if (pw_the->cfg.hooks.asked)
		pw_the->cfg.hooks.asked(pw_the->cfg.hooks.ctx, n->number, q);
}

WRAP(void, resolver_close, struct resolver *r)
{
	(void)r;
}

WRAP(int, dns_server_open, struct dns_server **out, const struct dns_server_cfg *cfg,
     struct io_err *err)
{
	struct pw_node *n = by_loop(cfg->loop);

	(void)err;
	n->dns = *cfg;
	*out = (struct dns_server *)n;
	return 0;
}

WRAP(int, dns_server_listen, struct dns_server *s, const struct ipaddr *list, uint32_t n,
     uint64_t now, struct io_err *err)
{
	(void)s;
	(void)list;
	(void)n;
	(void)now;
	(void)err;
	return 0;
}

WRAP(bool, dns_server_listens, const struct dns_server *s, const struct ipaddr *a)
{
	(void)s;
	(void)a;
	return true;
}

/* The host this runs on keeps its resolver: tests say what the system's are (dns_set_system). */
WRAP(void, dns_host_open, struct daemon *d)
{
	(void)d;
}

WRAP(void, dns_server_answer, struct dns_server *s, const struct dns_asker *to, const uint8_t *msg,
     size_t len, uint64_t now)
{
	struct pw_node *n = node_at(s);

	(void)now;
	n->answer_to = *to;
	n->answer_len = len <= (to->tcp ? DNS_MSG_CAP : DNS_UDP_CAP) ? len : 0;
	memcpy(n->answer, msg, n->answer_len);
}

WRAP(void, dns_server_close, struct dns_server *s)
{
	(void)s;
}

WRAP(int, dns_upstreams_open, struct dns_upstreams **out, const struct dns_upstream_cfg *cfg,
     struct io_err *err)
{
	struct pw_node *n = by_loop(cfg->loop);

	(void)err;
	n->up = *cfg;
	*out = (struct dns_upstreams *)n;
	return 0;
}

WRAP(void, dns_upstreams_set_own, struct dns_upstreams *u, const struct ipaddr *v4,
     const struct ipaddr *v6)
{
	(void)u;
	(void)v4;
	(void)v6;
}

WRAP(void, dns_upstreams_set_scopes, struct dns_upstreams *u, const struct dns_scope *list,
     uint32_t n)
{
	(void)u;
	(void)list;
	(void)n;
}

WRAP(void, dns_upstreams_end, struct dns_upstreams *u, uint64_t token)
{
	struct pw_node *n = node_at(u);

	for (uint32_t i = n->upstream_count; i-- > 0;)
		if (n->upstreams[i].token == token)
			n->upstreams[i] = n->upstreams[--n->upstream_count];
}

WRAP(int, dns_upstreams_send, struct dns_upstreams *u, uint64_t token, const struct endpoint *to,
     bool tcp, bool via_tunnel, const uint8_t *msg, size_t len)
{
	struct pw_node *n = node_at(u);
	struct pw_upstream *p;

	__wrap_dns_upstreams_end(u, token);
	if (n->upstream_count == PW_UPSTREAMS || len > DNS_QUERY_CAP)
		return -EMFILE;
	p = &n->upstreams[n->upstream_count++];
	*p = (struct pw_upstream){.token = token,
				  .to = *to,
				  .tcp = tcp,
				  .via_tunnel = via_tunnel,
				  .len = (uint16_t)len};
	memcpy(p->msg, msg, len);
	return 0;
}

WRAP(void, dns_upstreams_close, struct dns_upstreams *u)
{
	(void)u;
}

/* ---- connections ---- */
static struct pw_conn *conn_of(const struct node *nd, uint32_t slot)
{
	struct pw_node *n = pw_node_of(nd);

	return n && slot < PW_PEERS && n->conn[slot].used ? &n->conn[slot] : NULL;
}

WRAP(const struct node_conn *, node_conn, const struct node *nd, uint32_t slot)
{
	struct pw_conn *c = conn_of(nd, slot);

	return c && !c->closing ? &nd->mem.conns[slot] : NULL;
}

WRAP(enum node_upsert, node_upsert, struct node *nd, uint32_t slot, const struct node_peer *p,
     uint64_t now)
{
	struct pw_node *n = pw_node_of(nd);
	struct node_conn *nc = &nd->mem.conns[slot];
	struct pw_conn *c = &n->conn[slot];

	(void)now;
	if (c->used && !c->closing && uuid_eq(&nc->cid, &p->cid) &&
	    !memcmp(nc->remote_pub, p->remote_pub, 32) && !memcmp(nc->psk, p->psk, 32) &&
	    !memcmp(&c->local, &p->local, sizeof(p->local)) &&
	    !memcmp(&c->remote, &p->remote, sizeof(p->remote)))
		return NODE_UPSERT_REUSED;
	if (c->used)
		return NODE_UPSERT_BUSY;
	*c = (struct pw_conn){.used = true, .local = p->local, .remote = p->remote};
	c->peer = PW_NONE;
	for (uint8_t i = 0; i < PW_NODES; i++)
		if (uuid_eq(&pw_the->node[i].id, &p->cid))
			c->peer = i;
	nc->state = NODE_CONNECTING;
	nc->established = false;
	nc->cid = p->cid;
	memcpy(nc->remote_pub, p->remote_pub, 32);
	memcpy(nc->psk, p->psk, 32);
	return NODE_UPSERT_CREATED;
}

WRAP(void, node_close, struct node *nd, uint32_t slot, uint64_t now)
{
	struct pw_node *n = pw_node_of(nd);
	struct pw_conn *c = conn_of(nd, slot);

	(void)now;
	if (!c || c->closing)
		return;
	c->closing = true;
	c->link = 0;
	nd->mem.conns[slot].established = false;
	if (c->idx)
		pw_event_push(n, &(struct node_event){
					 .kind = NODE_EV_WG,
					 .conn = slot,
					 .wg = {.type = WG_EV_SESSION_DEAD, .local_idx = c->idx}});
	pw_event_push(n, &(struct node_event){.kind = NODE_EV_CLOSED,
					      .conn = slot,
					      .cid = nd->mem.conns[slot].cid});
}

WRAP(bool, node_poll_event, struct node *nd, struct node_event *out, uint64_t now)
{
	struct pw_node *n = pw_node_of(nd);

	(void)now;
	if (!n->event_count)
		return false;
	*out = n->events[0];
	memmove(n->events, n->events + 1, --n->event_count * sizeof(*out));
	if (out->kind == NODE_EV_CLOSED)
		n->conn[out->conn].used = false;
	if (out->kind == NODE_EV_ESTABLISHED && !n->gateway && pw_the->cfg.hooks.established)
		pw_the->cfg.hooks.established(pw_the->cfg.hooks.ctx, n->number,
					      (uint8_t)(n->conn[out->conn].peer - PW_CLIENTS));
	return true;
}

WRAP(bool, node_poll_tx, struct node *nd, struct node_tx *out, uint64_t now)
{
	(void)nd;
	(void)out;
	(void)now;
	return false;
}

WRAP(enum node_rx, node_input, struct node *nd, const struct ice_dgram *in,
     struct node_rx_view *view, uint64_t now)
{
	(void)nd;
	(void)now;
	*view = (struct node_rx_view){.off = 0, .len = in->len};
	return NODE_RX_DATA;
}

WRAP(void, node_on_data, struct node *nd, uint32_t slot, uint32_t idx, bool received,
     bool keepalive, uint64_t at, uint64_t now)
{
	(void)nd;
	(void)slot;
	(void)idx;
	(void)received;
	(void)keepalive;
	(void)at;
	(void)now;
}

WRAP(void, node_on_counter, struct node *nd, uint32_t slot, uint32_t idx, uint64_t counter,
     uint64_t now)
{
	(void)nd;
	(void)slot;
	(void)idx;
	(void)counter;
	(void)now;
}

WRAP(bool, node_wants_send, struct node *nd, uint32_t slot, uint64_t now)
{
	(void)nd;
	(void)slot;
	(void)now;
	return false;
}

WRAP(void, node_update_relays, struct node *nd, const struct uuid *gone, uint32_t n_gone,
     const struct node_relay *add, uint32_t n_add, uint64_t now)
{
	(void)nd;
	(void)gone;
	(void)n_gone;
	(void)add;
	(void)n_add;
	(void)now;
}

/* The end of a gateway at its client, whoever began it. */
REAL(void, tcl_gateway_gone, struct tcl *c, uint32_t slot, uint64_t now);
WRAP(void, tcl_gateway_gone, struct tcl *c, uint32_t slot, uint64_t now)
{
	for (uint8_t i = 0; i < PW_CLIENTS; i++) {
		const struct pw_node *n = &pw_the->node[i];
		const struct tcl_gateway *g = tcl_gateway_at(c, slot);

		if (n->d && &n->d->tcl == c && g && pw_the->cfg.hooks.gone)
			pw_the->cfg.hooks.gone(pw_the->cfg.hooks.ctx, i, g->id.b[15]);
	}
	__real_tcl_gateway_gone(c, slot, now);
}

REAL(void, tgw_timeout, struct tgw *g, uint64_t now_unix, uint64_t now);
WRAP(void, tgw_timeout, struct tgw *g, uint64_t now_unix, uint64_t now)
{
	for (uint8_t i = PW_CLIENTS; i < PW_NODES; i++)
		if (pw_the->node[i].d && &pw_the->node[i].d->tgw == g && pw_the->cfg.hooks.timers)
			pw_the->cfg.hooks.timers(pw_the->cfg.hooks.ctx, i);
	__real_tgw_timeout(g, now_unix, now);
}

/* ---- the kernel ---- */
WRAP(int, bpf_key_set, struct bpf_load *b, uint32_t slot, const uint8_t recv[32],
     const uint8_t send[32])
{
	return pw_kernel_key(node_at(b)->kernel, slot, recv, send);
}

WRAP(int, bpf_key_wipe, struct bpf_load *b, uint32_t slot)
{
	return pw_kernel_key(node_at(b)->kernel, slot, NULL, NULL);
}

WRAP(int, bpf_flow_put, struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key,
     const struct ps_flow *f)
{
	return pw_flow_put(node_at(b)->kernel, dir, key, f);
}

WRAP(int, bpf_flow_get, struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key,
     struct ps_flow *out)
{
	return pw_flow_get(node_at(b)->kernel, dir, key, out);
}

WRAP(int, bpf_flow_del, struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key)
{
	pw_flow_del(node_at(b)->kernel, dir, key);
	return 0;
}

WRAP(int, bpf_flow_each, struct bpf_load *b, enum bpf_dir dir, bpf_flow_fn fn, void *arg)
{
	return pw_flow_each(node_at(b)->kernel, dir, fn, arg, fault(PW_FAULT_NAT_SWEEP));
}

/* ---- faults ---- */
REAL(void, fwd_peer_revoke, struct fwd_table *t, uint32_t slot);
WRAP(void, fwd_peer_revoke, struct fwd_table *t, uint32_t slot)
{
	for (uint8_t i = 0; i < PW_NODES; i++) {
		const struct pw_node *n = &pw_the->node[i];

		if (n->d && &n->d->fwd == t &&
		    fault(n->gateway ? PW_FAULT_NO_BUMP : PW_FAULT_NO_BUMP_CLIENT))
			return;
	}
	__real_fwd_peer_revoke(t, slot);
}

REAL(uint64_t, tunnel_expiry_ns, uint64_t expires_at, const struct wall *wall, uint64_t now);
WRAP(uint64_t, tunnel_expiry_ns, uint64_t expires_at, const struct wall *wall, uint64_t now)
{
	return fault(PW_FAULT_KERNEL_EXPIRY) ? TIME_NEVER
					     : __real_tunnel_expiry_ns(expires_at, wall, now);
}

REAL(bool, filter_set_permits, const struct filter_set *f, const struct ip_meta *m,
     enum filter_side side);
WRAP(bool, filter_set_permits, const struct filter_set *f, const struct ip_meta *m,
     enum filter_side side)
{
	return fault(PW_FAULT_FILTERS) || __real_filter_set_permits(f, m, side);
}

REAL(void, tgw_retain, struct tgw *g, const struct tgw_retained *list, uint32_t count,
     uint64_t now);
WRAP(void, tgw_retain, struct tgw *g, const struct tgw_retained *list, uint32_t count, uint64_t now)
{
	if (!fault(PW_FAULT_RETAIN))
		__real_tgw_retain(g, list, count, now);
}

REAL(bool, dns_pattern_match, const char *pattern, const char *name);
WRAP(bool, dns_pattern_match, const char *pattern, const char *name)
{
	bool gateway = pw_the && pw_the->at != PW_NONE && pw_the->node[pw_the->at].gateway;

	return (gateway && fault(PW_FAULT_PATTERN)) || __real_dns_pattern_match(pattern, name);
}

REAL(enum ps_reason_id, tcl_check_in, const struct tcl *c, uint32_t slot, const uint8_t *pkt,
     const struct ip_meta *m, struct tunnel_flow_grant *out, uint64_t now);
WRAP(enum ps_reason_id, tcl_check_in, const struct tcl *c, uint32_t slot, const uint8_t *pkt,
     const struct ip_meta *m, struct tunnel_flow_grant *out, uint64_t now)
{
	enum ps_reason_id r = __real_tcl_check_in(c, slot, pkt, m, out, now);

	return fault(PW_FAULT_CLIENT_IN) ? PS_R_URX_DELIVERED : r;
}

REAL(bool, fwd_flows_get, const struct fwd_flows *t, enum fwd_flow_dir dir,
     const struct ps_flow_key *key, struct ps_flow *copy, struct fwd_flow_entry **e);
WRAP(bool, fwd_flows_get, const struct fwd_flows *t, enum fwd_flow_dir dir,
     const struct ps_flow_key *key, struct ps_flow *copy, struct fwd_flow_entry **e)
{
	if (!__real_fwd_flows_get(t, dir, key, copy, e))
		return false;
	for (uint8_t i = 0; fault(PW_FAULT_WORKER_STALE) && i < PW_NODES; i++)
		if (pw_the->node[i].d && &pw_the->node[i].d->flows == t)
			copy->generation = pw_the->node[i].d->fwd.mem.peer[copy->peer].generation;
	if (fault(PW_FAULT_WORKER_EXPIRY))
		copy->expires_ns = PS_NEVER;
	return true;
}

REAL(void, fwd_flow_hide, struct fwd_flow_entry *e);
WRAP(void, fwd_flow_hide, struct fwd_flow_entry *e)
{
	if (!fault(PW_FAULT_WORKER_HIDE))
		__real_fwd_flow_hide(e);
}
