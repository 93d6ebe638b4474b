/* SPDX-License-Identifier: Apache-2.0
 *
 * Established flows offered to the kernel: after user space has decided about a packet, the same
 * decision is cached under its 5-tuple with the peer's present generation, so that any later
 * revocation makes it a miss. A translation goes with the flow; the table it comes from learns here
 * what the kernel did with it. What user space carries itself is noted for the operator. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apps/daemon/daemon.h"

#define REOFFER_NS (5 * NS_PER_SEC) /* the kernel's table is an LRU: an entry may have gone */

static bool flow_key(struct ps_flow_key *k, enum bpf_dir dir, uint32_t slot,
		     const struct ip_meta *m)
{
	*k = (struct ps_flow_key){
		.peer = dir == BPF_FLOW_IN ? slot : 0,
		.family = m->family,
		.proto = m->proto,
	};
	memcpy(k->saddr, m->src.b, sizeof(k->saddr));
	memcpy(k->daddr, m->dst.b, sizeof(k->daddr));
	if (m->is_fragment || m->has_ext)
		return false;
	switch ((enum ip_l4)m->l4) {
	case IP_L4_TCP:
	case IP_L4_UDP:
		k->sport = ps_be16(m->sport);
		k->dport = ps_be16(m->dport);
		return true;
	case IP_L4_ICMP_ECHO:
		k->sport = ps_be16(m->icmp_id);
		return true;
	case IP_L4_OTHER:
	case IP_L4_ICMP_ERROR:
	case IP_L4_ICMP_OTHER:
		break;
	}
	return false;
}

static struct flow_memo *memo_of(struct daemon *d, enum bpf_dir dir, const struct ps_flow_key *k)
{
	const uint8_t *p = (const uint8_t *)k;
	uint32_t h = 2166136261u + (uint32_t)dir;

	for (size_t i = 0; i < sizeof(*k); i++)
		h = (h ^ p[i]) * 16777619u;
	return &d->memo[(h ^ h >> 15) & (FLOW_MEMO_CAP - 1)];
}

static bool same_nat(const struct ps_flow *a, const struct ps_flow *b)
{
	return a->nat == b->nat && a->nat_port == b->nat_port &&
	       !memcmp(a->nat_addr, b->nat_addr, sizeof(a->nat_addr));
}

static bool nat_eq(const struct tunnel_nat *a, const struct tunnel_nat *b)
{
	return a->on == b->on && (!a->on || (a->port == b->port && ipaddr_eq(&a->addr, &b->addr)));
}

/* Re-offering keeps what the data path wrote, above all which executor holds the flow. False: the
 * entry there says the same already. */
static bool flow_merge(struct daemon *d, enum bpf_dir dir, const struct ps_flow_key *key,
		       struct ps_flow *flow)
{
	struct ps_flow old;

	if (bpf_flow_get(d->bpf, dir, key, &old) || old.generation != flow->generation ||
	    old.peer != flow->peer || !same_nat(&old, flow))
		return true;
	flow->packets = old.packets;
	flow->bytes = old.bytes;
	flow->bulk_until_ns = old.bulk_until_ns;
	flow->flags = old.flags;
	return old.expires_ns / NS_PER_SEC != flow->expires_ns / NS_PER_SEC;
}

/* The key of what comes back to a flow that goes to the resource under this translation. */
static struct ps_flow_key reply_key(const struct ps_flow_key *k, const struct tunnel_nat *nat)
{
	struct ps_flow_key r = {.family = k->family, .proto = k->proto};
	bool echo = k->proto == IP_PROTO_ICMP || k->proto == IP_PROTO_ICMPV6;

	memcpy(r.saddr, nat->addr.b, sizeof(r.saddr));
	memcpy(r.daddr, k->saddr, sizeof(r.daddr));
	r.sport = echo ? ps_be16(nat->port) : k->dport;
	r.dport = echo ? 0 : ps_be16(nat->port);
	return r;
}

/* The client may have used that address and port by itself before: an entry from then would pass
 * the answers as they come, and user space translates them. */
static void forget_plain_reply(struct daemon *d, const struct ps_flow_key *k,
			       const struct tunnel_nat *nat)
{
	struct ps_flow_key back = reply_key(k, nat);
	struct ps_flow old;

	if (!bpf_flow_get(d->bpf, BPF_FLOW_OUT, &back, &old) && !old.nat)
		bpf_flow_del(d->bpf, BPF_FLOW_OUT, &back);
}

static void offer(struct daemon *d, enum bpf_dir dir, uint32_t slot, const struct ps_flow_key *key,
		  const struct tunnel_flow_grant *g, uint64_t now)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);
	struct wall wall;
	struct flow_memo *memo;
	struct ps_flow flow;

	if (!d->bpf || !p || !(p->flags & PS_PEER_KERNEL))
		return;
	wall = loop_wall();
	flow = (struct ps_flow){
		.peer = slot,
		.generation = p->generation,
		.expires_ns = tunnel_expiry_ns(g->expires_at, &wall, now),
		.last_ns = now,
		.bulk_until_ns = now,
		.flags = PS_FLOW_WARM,
		.resource = g->resource,
	};
	if (g->nat.on) {
		flow.nat = 1;
		flow.nat_port = ps_be16(g->nat.port);
		memcpy(flow.nat_addr, g->nat.addr.b, sizeof(flow.nat_addr));
	}
	memo = memo_of(d, dir, key);
	if (nat_eq(&memo->nat, &g->nat) && !memcmp(&memo->key, key, sizeof(*key)) &&
	    memo->generation == p->generation &&
	    memo->expires_ns / NS_PER_SEC == flow.expires_ns / NS_PER_SEC &&
	    time_since(memo->at_ns, now) < REOFFER_NS)
		return;
	*memo = (struct flow_memo){.key = *key,
				   .generation = p->generation,
				   .expires_ns = flow.expires_ns,
				   .at_ns = now,
				   .nat = g->nat};
	if (!flow_merge(d, dir, key, &flow))
		return;
	if (bpf_flow_put(d->bpf, dir, key, &flow))
		data_count(d, PS_R_CTL_TABLE_FULL, 0);
	if (dir == BPF_FLOW_IN && g->nat.on)
		forget_plain_reply(d, key, &g->nat);
}

/* ---- what user space carries ---- */

static void see(struct daemon *d, enum bpf_dir dir, uint32_t slot, const struct ps_flow_key *key,
		const struct tunnel_flow_grant *g, uint64_t packets, uint64_t bytes, uint64_t now)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);
	struct fwd_seen_flow *f;
	struct ipaddr v4, v6;
	const char *name;
	uint32_t n;

	if (!p)
		return;
	f = fwd_seen_take(&d->flows, dir == BPF_FLOW_IN ? FWD_SEEN_IN : FWD_SEEN_OUT, key);
	if (!f->packets || f->peer != slot || f->generation != p->generation ||
	    f->resource != g->resource) {
		f->peer = slot;
		f->generation = p->generation;
		f->resource = g->resource;
		f->has_resource = d->role->resource_info(d, g->resource, &f->resource_id, &name);
		d->role->peer_info(d, slot, &f->peer_id, &v4, &v6, &n);
	}
	f->nat = g->nat;
	f->expires_at = g->expires_at;
	f->packets += packets;
	f->bytes += bytes;
	f->last_ns = now;
}

void flow_carried(struct daemon *d, enum bpf_dir dir, uint32_t slot, const struct ip_meta *m,
		  const struct tunnel_flow_grant *g, uint64_t packets, uint64_t bytes, uint64_t now)
{
	struct ps_flow_key key;

	if (!flow_key(&key, dir, slot, m))
		return;
	if (d->flows.cap)
		see(d, dir, slot, &key, g, packets, bytes, now);
	if (g->cacheable)
		offer(d, dir, slot, &key, g, now);
}

int flow_init(struct daemon *d)
{
	uint32_t cap = fwd_seen_cap_for(d->max_flows);
	struct fwd_seen_flow *list = calloc(cap, sizeof(*list));

	if (!list)
		return -ENOMEM;
	fwd_seen_init(&d->flows, list, cap);
	return 0;
}

void flow_fini(struct daemon *d)
{
	free(d->flows.list);
}

/* ---- translations ---- */

static bool nat_keep_in(void *arg, const struct ps_flow_key *k, const struct ps_flow *f)
{
	return !f->nat || nat_flow_seen(arg, true, k, f);
}

static bool nat_keep_out(void *arg, const struct ps_flow_key *k, const struct ps_flow *f)
{
	return !f->nat || nat_flow_seen(arg, false, k, f);
}

static void nat_show_flows(struct daemon *d)
{
	if (!d->bpf)
		return;
	bpf_flow_each(d->bpf, BPF_FLOW_IN, nat_keep_in, d->nat);
	bpf_flow_each(d->bpf, BPF_FLOW_OUT, nat_keep_out, d->nat);
}

void flow_nat_tick(struct daemon *d, uint64_t now)
{
	if (!d->nat || !time_reached(nat_deadline(d->nat).at, now))
		return;
	nat_show_flows(d);
	if (nat_timeout(d->nat, now))
		nat_show_flows(d);
}
