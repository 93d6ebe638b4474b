/* SPDX-License-Identifier: Apache-2.0
 *
 * `flows` of the operator's view: the kernel's table and what user space has carried, each flow
 * once. What a slot meant when the flow was decided is user space's to know (fwd_flows); of a flow
 * it has forgotten the slots are believed only while the policy is still the same. */
#include <string.h>

#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX     10000

struct walk {
	const struct daemon *d;
	enum bpf_dir dir;
	json_t *list;
	uint64_t total, limit, now;
	struct wall wall;
};

/* One flow, put together from either table or both. */
struct row {
	enum bpf_dir dir;
	const struct ps_flow_key *key;
	const struct ps_flow *kernel;	   /* NULL: not in the kernel's table */
	const struct fwd_flow_entry *user; /* NULL: user space has not seen it, or forgotten */
	uint32_t peer, generation;
	uint64_t expires_ns, last_ns;
	struct tunnel_nat nat;
};

static enum fwd_flow_dir cache_dir(enum bpf_dir dir)
{
	return dir == BPF_FLOW_IN ? FWD_FLOW_IN : FWD_FLOW_OUT;
}

static const char *proto_name(uint8_t proto)
{
	switch (proto) {
	case IP_PROTO_TCP:
		return "tcp";
	case IP_PROTO_UDP:
		return "udp";
	case IP_PROTO_ICMP:
		return "icmp";
	case IP_PROTO_ICMPV6:
		return "icmpv6";
	default:
		return "other";
	}
}

static json_t *flow_end(const struct ps_flow_key *k, const uint8_t *addr, __be16 port)
{
	struct endpoint e = {.ip = ipaddr_from(k->family, addr), .port = ps_host16(port)};

	return endpoint(&e);
}

/* Does the flow lead from the client to the resource? */
static bool to_resource(const struct walk *w, const struct row *r)
{
	return (r->dir == BPF_FLOW_IN) == w->d->role->gateway;
}

/* The resource's side, as the client sees it. */
static struct ipaddr far_side(const struct walk *w, const struct row *r)
{
	if (to_resource(w, r))
		return ipaddr_from(r->key->family, r->key->daddr);
	return r->nat.on ? r->nat.addr : ipaddr_from(r->key->family, r->key->saddr);
}

static json_t *view_nat(const struct walk *w, const struct row *r)
{
	const struct ps_flow_key *k = r->key;
	bool to = to_resource(w, r),
	     echo = k->proto == IP_PROTO_ICMP || k->proto == IP_PROTO_ICMPV6;
	struct ipaddr own = ipaddr_from(k->family, to ? k->daddr : k->saddr);
	uint16_t port = ps_host16(to || echo ? k->sport : k->dport);
	json_t *o;

	if (!r->nat.on)
		return json_null();
	o = json_object();
	put(o, "proxy", ip(to ? &own : &r->nat.addr));
	put(o, "real", ip(to ? &r->nat.addr : &own));
	put(o, "client_port", num(to ? port : r->nat.port));
	put(o, "outside_port", num(to ? r->nat.port : port));
	return o;
}

static void put_resource(const struct walk *w, const struct row *r, bool stale, json_t *o)
{
	uint32_t slot = r->user ? r->user->flow.resource : r->kernel->resource;
	struct uuid id = {0}, was = r->user ? r->user->resource_id : id;
	const char *name = NULL;
	bool known = w->d->role->resource_info(w->d, slot, &id, &name);

	if (r->user && r->user->has_resource) {
		put(o, "resource", uuid(&was));
		known = known && uuid_eq(&was, &id);
	} else {
		known = known && !r->user && !stale;
		put(o, "resource", known ? uuid(&id) : json_null());
	}
	put(o, "resource_name", known ? json_string(name) : json_null());
}

/* The slot if it is still the peer's that had the flow, else TUNNEL_NO_SLOT. */
static uint32_t put_peer(const struct walk *w, const struct row *r, bool stale, json_t *o)
{
	struct ipaddr v4, v6;
	struct uuid id;
	uint32_t n;
	bool known = w->d->role->peer_info(w->d, r->peer, &id, &v4, &v6, &n) &&
		     (r->user ? uuid_eq(&id, &r->user->peer_id) : !stale);

	put(o, "peer", r->user ? uuid(&r->user->peer_id) : known ? uuid(&id) : json_null());
	put(o, "peer_slot", num(r->peer));
	return known ? r->peer : TUNNEL_NO_SLOT;
}

static void put_counters(const struct row *r, json_t *o)
{
	uint64_t kp = r->kernel ? r->kernel->packets : 0, kb = r->kernel ? r->kernel->bytes : 0;
	uint64_t up = r->user ? PS_READ_ONCE(r->user->flow.packets) : 0;
	uint64_t ub = r->user ? PS_READ_ONCE(r->user->flow.bytes) : 0;

	put(o, "packets", num(kp + up));
	put(o, "bytes", num(kb + ub));
	put(o, "kernel_packets", num(kp));
	put(o, "kernel_bytes", num(kb));
	put(o, "user_packets", num(up));
	put(o, "user_bytes", num(ub));
}

static bool is_kernels(const struct walk *w, const struct row *r)
{
	const struct ps_peer *p = fwd_peer(&w->d->fwd, r->peer);

	return r->kernel && p && (p->flags & PS_PEER_KERNEL) && !r->kernel->bulk_until_ns &&
	       !(r->dir == BPF_FLOW_OUT && w->d->captured);
}

static void view_row(struct walk *w, const struct row *r)
{
	const struct ps_peer *p = fwd_peer(&w->d->fwd, r->peer);
	bool stale = !p || p->generation != r->generation;
	bool expired = r->expires_ns <= w->now;
	struct ipaddr far = far_side(w, r);
	json_t *o;

	if (w->total++ >= w->limit)
		return;
	o = json_pack("{s:s}", "direction", r->dir == BPF_FLOW_IN ? "in" : "out");
	put(o, "proto", json_string(proto_name(r->key->proto)));
	put(o, "src", flow_end(r->key, r->key->saddr, r->key->sport));
	put(o, "dst", flow_end(r->key, r->key->daddr, r->key->dport));
	put(o, "nat", view_nat(w, r));
	put_resource(w, r, stale, o);
	w->d->role->view_flow(w->d, put_peer(w, r, stale, o), &far, o);
	put(o, "executor", json_string(is_kernels(w, r) ? "kernel" : "user"));
	put_counters(r, o);
	put(o, "idle_s", num(time_since(r->last_ns, w->now) / NS_PER_SEC));
	put(o, "expires_in_s",
	    r->expires_ns == TIME_NEVER ? json_null()
					: num((expired ? 0 : r->expires_ns - w->now) / NS_PER_SEC));
	put(o, "verdict", json_string(stale ? "stale" : expired ? "expired" : "allow"));
	json_array_append_new(w->list, o);
}

static struct tunnel_nat nat_of(const struct ps_flow_key *k, const struct ps_flow *f)
{
	if (!f->nat)
		return (struct tunnel_nat){.on = false};
	return (struct tunnel_nat){.on = true,
				   .addr = ipaddr_from(k->family, f->nat_addr),
				   .port = ps_host16(f->nat_port)};
}

static bool kernel_flow(void *arg, const struct ps_flow_key *k, const struct ps_flow *f)
{
	struct walk *w = arg;
	const struct fwd_flow_entry *user = fwd_flows_find(&w->d->flows, cache_dir(w->dir), k);
	struct row r = {
		.dir = w->dir,
		.key = k,
		.kernel = f,
		.user = user && user->flow.peer == f->peer ? user : NULL,
		.peer = f->peer,
		.generation = f->generation,
		.expires_ns = f->expires_ns,
		.last_ns = f->last_ns,
		.nat = nat_of(k, f),
	};

	if (r.user && r.user->flow.last_ns > r.last_ns)
		r.last_ns = r.user->flow.last_ns;
	view_row(w, &r);
	return true;
}

static void user_flow(struct walk *w, const struct fwd_flow_entry *f)
{
	struct row r = {
		.dir = f->dir == FWD_FLOW_IN ? BPF_FLOW_IN : BPF_FLOW_OUT,
		.key = &f->key,
		.user = f,
		.peer = f->flow.peer,
		.generation = f->flow.generation,
		.last_ns = f->flow.last_ns,
		.nat = nat_of(&f->key, &f->flow),
	};
	struct ps_flow there;

	if (f->dir == FWD_FLOW_FREE || fwd_flow_is_over(f, w->now) ||
	    (w->d->bpf && !bpf_flow_get(w->d->bpf, r.dir, &f->key, &there)))
		return;
	r.expires_ns = tunnel_expiry_ns(f->expires_at, &w->wall, w->now);
	view_row(w, &r);
}

json_t *view_flows(const struct daemon *d, const json_t *req, uint64_t now)
{
	json_t *o = answer("flows");
	json_int_t limit = json_integer_value(json_object_get(req, "limit"));
	struct walk w = {.d = d, .list = json_array(), .now = now, .wall = loop_wall()};

	w.limit = limit > 0 && limit <= LIMIT_MAX ? (uint64_t)limit : LIMIT_DEFAULT;
	for (w.dir = BPF_FLOW_IN; d->bpf && w.dir <= BPF_FLOW_OUT; w.dir++)
		bpf_flow_each(d->bpf, w.dir, kernel_flow, &w);
	for (uint32_t i = 0; i < d->flows.cap; i++)
		user_flow(&w, &d->flows.list[i]);
	put(o, "total", num(w.total));
	put(o, "flows", w.list);
	return o;
}
