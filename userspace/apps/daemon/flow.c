/* SPDX-License-Identifier: Apache-2.0
 *
 * Established flows offered to the other executors: after the control thread has decided about a
 * packet, the same decision is cached under its 5-tuple with the peer's present generation, so that
 * any later revocation makes it a miss. It goes into the table of what user space carries, for the
 * workers and the operator, and, if the peer's flows are the kernel's, into the kernel's. A
 * translation goes with the flow; the table it comes from learns here what the others did with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "apps/daemon/daemon.h"
#include "io/entropy.h"

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
 * the answers as they come, and the control thread translates them. */
static void forget_plain_reply(struct daemon *d, const struct ps_flow_key *k,
			       const struct tunnel_nat *nat)
{
	struct ps_flow_key back = reply_key(k, nat);
	struct ps_flow old;

	if (!bpf_flow_get(d->bpf, BPF_FLOW_OUT, &back, &old) && !old.nat)
		bpf_flow_del(d->bpf, BPF_FLOW_OUT, &back);
}

static void hide_plain_reply(struct daemon *d, const struct ps_flow_key *k,
			     const struct tunnel_nat *nat)
{
	struct ps_flow_key back = reply_key(k, nat);
	struct fwd_flow_entry *e = fwd_flows_find(&d->flows, FWD_FLOW_OUT, &back);

	if (e && !e->flow.nat)
		fwd_flow_hide(e);
}

/* The decision as the tables hold it; nothing is carried yet. */
static struct ps_flow decision(const struct ps_peer *p, uint32_t slot,
			       const struct tunnel_flow_grant *g, uint64_t now)
{
	struct wall wall = loop_wall();
	struct ps_flow f = {
		.peer = slot,
		.generation = p->generation,
		.expires_ns = tunnel_expiry_ns(g->expires_at, &wall, now),
		.resource = g->resource,
	};

	if (g->nat.on) {
		f.nat = 1;
		f.nat_port = ps_be16(g->nat.port);
		memcpy(f.nat_addr, g->nat.addr.b, sizeof(f.nat_addr));
	}
	return f;
}

/* To the kernel. */
static void offer(struct daemon *d, enum bpf_dir dir, const struct ps_flow_key *key,
		  const struct ps_flow *decided, const struct tunnel_nat *nat, uint64_t now)
{
	struct flow_memo *memo = memo_of(d, dir, key);
	struct ps_flow flow = *decided;

	if (nat_eq(&memo->nat, nat) && !memcmp(&memo->key, key, sizeof(*key)) &&
	    memo->generation == flow.generation &&
	    memo->expires_ns / NS_PER_SEC == flow.expires_ns / NS_PER_SEC &&
	    time_since(memo->at_ns, now) < REOFFER_NS)
		return;
	*memo = (struct flow_memo){.key = *key,
				   .generation = flow.generation,
				   .expires_ns = flow.expires_ns,
				   .at_ns = now,
				   .nat = *nat};
	flow.last_ns = flow.bulk_until_ns = now;
	if (!flow_merge(d, dir, key, &flow))
		return;
	if (bpf_flow_put(d->bpf, dir, key, &flow))
		data_count(d, PS_R_CTL_TABLE_FULL, 0);
	if (dir == BPF_FLOW_IN && nat->on)
		forget_plain_reply(d, key, nat);
}

/* ---- what user space carries ---- */

static enum fwd_flow_dir cache_dir(enum bpf_dir dir)
{
	return dir == BPF_FLOW_IN ? FWD_FLOW_IN : FWD_FLOW_OUT;
}

/* Whose flow it is is kept as it is known now: the slots may be others' when somebody asks. */
static void name(struct daemon *d, struct fwd_flow_entry *e, const struct ps_flow *f)
{
	struct ipaddr v4, v6;
	const char *text;
	uint32_t n;

	if (e->flow.packets && e->flow.peer == f->peer && e->flow.generation == f->generation &&
	    e->flow.resource == f->resource)
		return;
	e->has_resource = d->role->resource_info(d, f->resource, &e->resource_id, &text);
	d->role->peer_info(d, f->peer, &e->peer_id, &v4, &v6, &n);
}

/* What may not be cached is shown only, and takes away what workers have by another decision. */
static void see(struct daemon *d, enum bpf_dir dir, const struct ps_flow_key *key,
		const struct ps_flow *f, const struct tunnel_flow_grant *g, uint64_t packets,
		uint64_t bytes, uint64_t now)
{
	struct fwd_flow_entry *e = fwd_flows_take(&d->flows, cache_dir(dir), key);

	name(d, e, f);
	e->expires_at = g->expires_at;
	if (dir == BPF_FLOW_IN && g->nat.on)
		hide_plain_reply(d, key, &g->nat);
	if (g->cacheable)
		fwd_flow_publish(e, f);
	else
		fwd_flow_note(e, f);
	PS_WRITE_ONCE(e->again_ns, now + REOFFER_NS);
	fwd_flow_carried(e, key, packets, bytes, now);
}

void flow_carried(struct daemon *d, enum bpf_dir dir, uint32_t slot, const struct ip_meta *m,
		  const struct tunnel_flow_grant *g, uint64_t packets, uint64_t bytes, uint64_t now)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);
	struct ps_flow_key key;
	struct ps_flow f;

	if (!p || !flow_key(&key, dir, slot, m))
		return;
	f = decision(p, slot, g, now);
	if (d->flows.cap)
		see(d, dir, &key, &f, g, packets, bytes, now);
	if (g->cacheable && d->bpf && (p->flags & PS_PEER_KERNEL))
		offer(d, dir, &key, &f, &g->nat, now);
}

int flow_init(struct daemon *d)
{
	/* max_flows each way, as in the kernel's two tables */
	uint32_t cap = fwd_flows_cap_for(d->max_flows < 1u << 28 ? 2 * d->max_flows : d->max_flows);
	struct fwd_flow_entry *list;
	uint64_t seed;

	if (entropy_get(&seed, sizeof(seed)))
		return -EIO;
	list = mmap(NULL, cap * sizeof(*list), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (list == MAP_FAILED)
		return -ENOMEM;
	fwd_flows_init(&d->flows, list, cap, seed);
	return 0;
}

void flow_fini(struct daemon *d)
{
	if (d->flows.list)
		munmap(d->flows.list, d->flows.cap * sizeof(*d->flows.list));
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

/* True: some are the workers' no more. */
static bool nat_show_cached(struct daemon *d)
{
	bool hidden = false;

	for (uint32_t i = 0; i < d->flows.cap && d->flows.used; i++) {
		struct fwd_flow_entry *e = &d->flows.list[i];
		struct ps_flow f;

		if (!e->cached || !e->flow.nat)
			continue;
		f = e->flow;
		if (nat_flow_seen(d->nat, e->dir == FWD_FLOW_IN, &e->key, &f))
			continue;
		fwd_flow_hide(e);
		hidden = true;
	}
	return hidden;
}

/* The outside of a session that is over is another's next: nobody goes on with what it was. */
static void nat_show_flows(struct daemon *d)
{
	if (nat_show_cached(d))
		fwd_quiesce(&d->fwd);
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
