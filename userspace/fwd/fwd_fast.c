/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of bpf/rx.bpf.h and bpf/tx.bpf.h for workers; contract in fwd_fast.h. */
#include "fwd/fwd_fast.h"

#include <string.h>

/* The kernel's table forgets flows (it is an LRU), and has none of a peer that was user space's. */
static bool wants_offer(uint32_t peer_flags, const struct fwd_flow_entry *e, uint64_t now)
{
	return (peer_flags & PS_PEER_KERNEL) && now >= PS_READ_ONCE(e->again_ns);
}

/* From whom, and is it a packet at all? Not whether the kernel serves the peer. */
static enum ps_reason_id in_peer(uint32_t flags, const struct fwd_opened *o)
{
	const struct ps_peer_view any = {.flags = flags | PS_PEER_KERNEL};
	const struct ps_outer outer = {.payload_len = (uint32_t)o->inner_len + WG_DATA_OVERHEAD};

	return ps_rx_peer(&any, &outer, 0);
}

static enum ps_reason_id in_first(const struct fwd_table *t, const struct fwd_flows *f,
				  const struct fwd_opened *o, struct fwd_fast *out, uint64_t now)
{
	struct ps_peer_view v;
	enum ps_reason_id id;
	struct ps_flow flow;

	if (o->confirms)
		return PS_R_XDP_UNCONFIRMED;
	if (!fwd_peer_view(t, o->peer, &v))
		return PS_R_XDP_USER_MODE;
	id = in_peer(v.flags, o);
	if (id == PS_GO_ON)
		id = ps_rx_inner(o->inner, o->inner + o->inner_len, &out->in);
	if (id == PS_GO_ON)
		id = ps_rx_source(&v, &out->in);
	if (id != PS_GO_ON)
		return id;
	out->in.key.peer = o->peer;
	if (!fwd_flows_get(f, FWD_FLOW_IN, &out->in.key, &flow, &out->e))
		return PS_R_XDP_NO_FLOW;
	id = ps_rx_flow(&flow, o->peer, v.generation, now);
	if (id != PS_GO_ON)
		return id;
	out->peer = o->peer;
	out->generation = v.generation;
	out->again = wants_offer(v.flags, out->e, now);
	ps_nat_of_flow(&flow, &out->nat);
	return ps_rx_nat(&out->nat, o->inner, &out->in.ip);
}

/* Is a packet that ps_inner_parse has taken for one of a flow one of this? Asked of the packet: a
 * key that was just put together from it would be waited for. */
static inline bool same_flow(const uint8_t *p, const struct ps_flow_key *k)
{
	const uint8_t *l4 = p + (k->family == 4 ? PS_IP4_HLEN : PS_IP6_HLEN);

	if (p[0] >> 4 != k->family)
		return false;
	if (k->family == 4 &&
	    (p[PS_IP4_PROTO] != k->proto || !ps_words_equal(p + PS_IP4_SADDR, k->saddr, 4) ||
	     !ps_words_equal(p + PS_IP4_DADDR, k->daddr, 4)))
		return false;
	if (k->family == 6 &&
	    (p[PS_IP6_NEXT] != k->proto || !ps_words_equal(p + PS_IP6_SADDR, k->saddr, 16) ||
	     !ps_words_equal(p + PS_IP6_DADDR, k->daddr, 16)))
		return false;
	if (k->proto == PS_IPPROTO_TCP || k->proto == PS_IPPROTO_UDP)
		return ps_be16_at(l4) == k->sport && ps_be16_at(l4 + 2) == k->dport;
	return ps_be16_at(l4 + PS_ICMP_ID) == k->sport;
}

/* What differs between packets of one flow. */
static inline void ip_again(struct ps_ip *was, const struct ps_ip *ip)
{
	was->tos = ip->tos;
	was->len = ip->len;
}

/* One more packet of the flow that *out is of? Then only what differs from packet to packet is
 * asked. */
static bool in_again(const struct fwd_opened *o, struct fwd_fast *out, enum ps_reason_id *id)
{
	struct ps_inner in;

	if (!out->known || o->confirms || o->peer != out->peer ||
	    in_peer(PS_PEER_USED, o) != PS_GO_ON ||
	    ps_rx_inner(o->inner, o->inner + o->inner_len, &in) != PS_GO_ON ||
	    !same_flow(o->inner, &out->in.key))
		return false;
	ip_again(&out->in.ip, &in.ip);
	*id = ps_rx_nat(&out->nat, o->inner, &in.ip);
	return true;
}

enum ps_reason_id fwd_fast_in(const struct fwd_table *t, const struct fwd_flows *f,
			      const struct fwd_opened *o, struct fwd_fast *out, uint64_t now)
{
	enum ps_reason_id id;

	if (!in_again(o, out, &id)) {
		memset(&out->in.key, 0, sizeof(out->in.key));
		id = in_first(t, f, o, out, now);
	}
	out->known = id == PS_GO_ON;
	return id;
}

/* May the flow go to this peer, and is there a way? Not whether it is the kernel's. */
static enum ps_reason_id out_peer(const struct ps_path_view *v, const struct ps_flow *f)
{
	const struct ps_path_view any = {
		.flags = v->flags | PS_PEER_KERNEL,
		.generation = v->generation,
		.tx_slot = v->tx_slot,
		.ifindex = 1,
		.family = v->family,
	};

	return ps_tx_peer(&any, f);
}

static enum ps_reason_id out_first(const struct fwd_table *t, const struct fwd_flows *f,
				   const uint8_t *pkt, size_t len, bool is_super,
				   struct fwd_fast *out, uint64_t now)
{
	enum ps_reason_id id;
	struct ps_flow flow;

	id = ps_tx_inner(pkt, pkt + len, &out->in);
	if (id != PS_GO_ON)
		return id;
	if (!fwd_flows_get(f, FWD_FLOW_OUT, &out->in.key, &flow, &out->e))
		return PS_R_TX_NO_FLOW;
	id = ps_tx_flow(&flow, now);
	if (id != PS_GO_ON)
		return id;
	if (!fwd_path_view(t, flow.peer, &out->path))
		return PS_R_TX_USER_MODE;
	id = out_peer(&out->path, &flow);
	if (id == PS_GO_ON && !is_super)
		id = ps_tx_size(&out->path, (uint32_t)len);
	if (id != PS_GO_ON)
		return id;
	if (out->in.ip.len != len)
		return PS_R_TX_INNER_OTHER;
	out->peer = flow.peer;
	out->generation = flow.generation;
	out->again = wants_offer(out->path.flags, out->e, now);
	ps_nat_of_flow(&flow, &out->nat);
	return ps_tx_nat(&out->nat, pkt, &out->in.ip);
}

static bool out_again(const uint8_t *pkt, size_t len, bool is_super, struct fwd_fast *out,
		      enum ps_reason_id *id)
{
	struct ps_inner in;

	if (!out->known || ps_tx_inner(pkt, pkt + len, &in) != PS_GO_ON ||
	    !same_flow(pkt, &out->in.key) || in.ip.len != len ||
	    (!is_super && ps_tx_size(&out->path, (uint32_t)len) != PS_GO_ON))
		return false;
	ip_again(&out->in.ip, &in.ip);
	*id = ps_tx_nat(&out->nat, pkt, &in.ip);
	return true;
}

enum ps_reason_id fwd_fast_out(const struct fwd_table *t, const struct fwd_flows *f,
			       const uint8_t *pkt, size_t len, bool is_super, struct fwd_fast *out,
			       uint64_t now)
{
	enum ps_reason_id id;

	if (!out_again(pkt, len, is_super, out, &id)) {
		memset(&out->in.key, 0, sizeof(out->in.key));
		id = out_first(t, f, pkt, len, is_super, out, now);
	}
	out->known = id == PS_GO_ON;
	return id;
}
