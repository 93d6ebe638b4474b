/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * ps_relay: from a frame that reaches the relay to the frame that leaves it. The judgements and the
 * bytes are plan/relay.h; here are the lookups, the way to the next hop, and the order: everything
 * is decided before anything is changed, the driver's consent to move the packet's start last.
 *
 * A frame that is passed on is as it came. */
#ifndef PENSTOCK_RELAY_BPF_H
#define PENSTOCK_RELAY_BPF_H
#include "account.bpf.h"
#include "plan/relay.h"
#include "plan/relay_way.h"
#include "skb.bpf.h"
#include "relay_maps.bpf.h"
#include "verifier.bpf.h"

#define AF_INET	 2
#define AF_INET6 10

struct relay {
	struct ps_relay_pkt pkt;
	struct ps_relay_plan plan;
	struct ps_relay_link link;
	const struct ps_turn_cfg *cfg;
	const struct ps_turn_route *first, *out; /* differ between two clients of the relay */
	__u64 now;
	__u32 frame_len;
	int action;
};

/* ---- lookups ------------------------------------------------------------------------------------
 */

/* The port's bit in one of the bitmaps; which: offset of the bitmap in words. */
static __always_inline int relay_port_bit(__u32 which, __be16 port)
{
	__u32 zero = 0, host = ps_host16(port), word = host >> 6;
	const struct ps_turn_port *map = bpf_map_lookup_elem(&ps_turn_port, &zero);

	if (!map)
		return 0;
	OPAQUE(word);
	word &= PS_TURN_PORT_WORDS - 1;
	return (int)(((const __u64 *)map)[which + word] >> (host & 63) & 1);
}

#define RELAY_OWN(f)  ((f) * PS_TURN_PORT_WORDS)
#define RELAY_OPEN(f) ((PS_TURN_FAMILIES + (f)) * PS_TURN_PORT_WORDS)

static __always_inline const struct ps_turn_route *relay_chan4(const __u8 *ip,
							       const struct ps_relay_pkt *k)
{
	struct ps_turn_chan4 key = {.client_port = k->sport, .channel = k->channel};

	ps_words_copy(key.client, ip + PS_IP4_SADDR, 4);
	return bpf_map_lookup_elem(&ps_turn_chan4, &key);
}

static __always_inline const struct ps_turn_route *relay_chan6(const __u8 *ip,
							       const struct ps_relay_pkt *k)
{
	struct ps_turn_chan6 key = {.client_port = k->sport, .channel = k->channel};

	ps_words_copy(key.client, ip + PS_IP6_SADDR, 16);
	return bpf_map_lookup_elem(&ps_turn_chan6, &key);
}

static __always_inline const struct ps_turn_route *relay_peer4(const __u8 *peer, __be16 peer_port,
							       __be16 port)
{
	struct ps_turn_peer4 key = {.peer_port = peer_port, .port = port};

	ps_words_copy(key.peer, peer, 4);
	return bpf_map_lookup_elem(&ps_turn_peer4, &key);
}

static __always_inline const struct ps_turn_route *relay_peer6(const __u8 *peer, __be16 peer_port,
							       __be16 port)
{
	struct ps_turn_peer6 key = {.peer_port = peer_port, .port = port};

	ps_words_copy(key.peer, peer, 16);
	return bpf_map_lookup_elem(&ps_turn_peer6, &key);
}

static __always_inline enum ps_reason_id relay_find4(const __u8 *ip, const __u8 *end,
						     struct relay *r)
{
	struct ps_relay_pkt *k = &r->pkt;
	enum ps_reason_id id = ps_relay_ip4(ip, end, k);

	if (id != PS_GO_ON)
		return id;
	if (r->cfg->flags)
		k->unfinished = (__u8)ps_relay_unfinished(ip, k);
	if (k->dport == r->cfg->listen_port) {
		id = ps_relay_channel(ip + PS_IP4_HLEN + PS_UDP_HLEN, end, k);
		if (id != PS_GO_ON)
			return id;
		r->first = relay_chan4(ip, k);
		if (!r->first)
			return PS_R_RXDP_NO_CHANNEL;
	} else {
		if (!relay_port_bit(RELAY_OWN(PS_TURN_V4), k->dport))
			return PS_R_RXDP_OTHER_PORT;
		r->first = relay_peer4(ip + PS_IP4_SADDR, k->sport, k->dport);
		if (!r->first)
			return ps_relay_no_peer(r->cfg, ip + PS_IP4_DADDR, 4,
						relay_port_bit(RELAY_OPEN(PS_TURN_V4), k->dport));
	}
	return ps_relay_route(r->first, k, ip + PS_IP4_DADDR, r->now);
}

static __always_inline enum ps_reason_id relay_find6(const __u8 *ip, const __u8 *end,
						     struct relay *r)
{
	struct ps_relay_pkt *k = &r->pkt;
	enum ps_reason_id id = ps_relay_ip6(ip, end, k);

	if (id != PS_GO_ON)
		return id;
	if (r->cfg->flags)
		k->unfinished = (__u8)ps_relay_unfinished(ip, k);
	if (k->dport == r->cfg->listen_port) {
		id = ps_relay_channel(ip + PS_IP6_HLEN + PS_UDP_HLEN, end, k);
		if (id != PS_GO_ON)
			return id;
		r->first = relay_chan6(ip, k);
		if (!r->first)
			return PS_R_RXDP_NO_CHANNEL;
	} else {
		if (!relay_port_bit(RELAY_OWN(PS_TURN_V6), k->dport))
			return PS_R_RXDP_OTHER_PORT;
		r->first = relay_peer6(ip + PS_IP6_SADDR, k->sport, k->dport);
		if (!r->first)
			return ps_relay_no_peer(r->cfg, ip + PS_IP6_DADDR, 6,
						relay_port_bit(RELAY_OPEN(PS_TURN_V6), k->dport));
	}
	return ps_relay_route(r->first, k, ip + PS_IP6_DADDR, r->now);
}

/* The peer is a relayed address of this relay: whose channel is it? */
static __always_inline enum ps_reason_id relay_self(struct relay *r)
{
	const struct ps_turn_route *f = r->first;

	r->out = f->family == 4 ? relay_peer4(f->daddr, f->sport, f->dport)
				: relay_peer6(f->daddr, f->sport, f->dport);
	return ps_relay_self(f, r->out, r->now);
}

static __always_inline enum ps_reason_id relay_lookup(const __u8 *p, const __u8 *end,
						      struct relay *r)
{
	enum ps_reason_id id;
	__u16 type;

	r->pkt.link_len = ps_eth_parse_tags(p, end, &type);
	if (!r->pkt.link_len)
		return PS_R_RXDP_TRUNCATED;
	if (type == PS_ETHERTYPE_IP4)
		id = relay_find4(p + r->pkt.link_len, end, r);
	else if (type == PS_ETHERTYPE_IP6)
		id = relay_find6(p + r->pkt.link_len, end, r);
	else
		return PS_R_RXDP_NOT_IP;
	if (id != PS_GO_ON || !r->first)
		return id;
	r->out = r->first;
	return r->first->flags & PS_TURN_SELF ? relay_self(r) : PS_GO_ON;
}

#define RELAY_SUM_CHUNK	 64
#define RELAY_SUM_CHUNKS 64

/* Does what lies from there on, with what was summed before it, add up? 0 as well when it is longer
 * than is worth it. A function of its own: the verifier walks it once. */
__noinline int relay_adds_up(struct xdp_md *ctx, __u32 from, __u32 len, __u32 sum)
{
	__u8 buf[RELAY_SUM_CHUNK] = {0};

	for (int i = 0; i < RELAY_SUM_CHUNKS && len >= RELAY_SUM_CHUNK; i++) {
		if (bpf_xdp_load_bytes(ctx, from, buf, RELAY_SUM_CHUNK))
			return 0;
		sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)buf, RELAY_SUM_CHUNK, sum);
		from += RELAY_SUM_CHUNK;
		len -= RELAY_SUM_CHUNK;
	}
	if (len >= RELAY_SUM_CHUNK)
		return 0;
	if (len) {
		__builtin_memset(buf, 0, sizeof(buf));
		if (bpf_xdp_load_bytes(ctx, from, buf, len))
			return 0;
		sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)buf, RELAY_SUM_CHUNK, sum);
	}
	return ps_csum_fold(sum) == 0xffff;
}

/* What looks unfinished, and is: the field holds the pseudo-header's sum, and the whole does not
 * add up with it. */
static __always_inline int relay_unfinished(struct xdp_md *ctx, const struct relay *r)
{
	const struct ps_relay_pkt *k = &r->pkt;

	return k->unfinished &&
	       !relay_adds_up(ctx, k->link_len + (k->family == 4 ? PS_IP4_HLEN : PS_IP6_HLEN),
			      ps_host16(k->udp_len_raw), k->check_raw);
}

/* Frames of a driver are the kernel's. Others may be several datagrams, which framed together would
 * be one, or without their checksum. */
static __always_inline enum ps_reason_id relay_users(struct xdp_md *ctx, const struct relay *r)
{
	__u32 index = r->first->stat;
	enum ps_reason_id id = PS_GO_ON;
	struct ps_turn_stat *s;

	if (!r->cfg->flags)
		return PS_GO_ON;
	if (r->pkt.joined)
		id = PS_R_RXDP_GSO;
	else if (relay_unfinished(ctx, r))
		id = PS_R_RXDP_UNFINISHED;
	s = bpf_map_lookup_elem(&ps_turn_stat, &index);
	return s ? ps_relay_users(s, id, r->now) : id;
}

/* ---- next hop -----------------------------------------------------------------------------------
 */

/* What the kernel would do with the packet. Tagged frames are left to it: the tags of another
 * interface are not these. way: another interface must be among its ports; NULL: any is good. */
static __always_inline enum ps_reason_id relay_fib(struct xdp_md *ctx, struct relay *r,
						   const struct ps_turn_way *way)
{
	const struct ps_turn_route *o = r->out;
	struct bpf_fib_lookup f = {0};
	long rc;

	if (r->pkt.link_len != PS_ETH_HLEN)
		return PS_R_RXDP_NO_HOP;
	f.family = o->family == 4 ? AF_INET : AF_INET6;
	f.l4_protocol = PS_IPPROTO_UDP;
	f.sport = o->sport;
	f.dport = o->dport;
	f.tot_len = r->plan.ip_len;
	f.ifindex = ctx->ingress_ifindex;
	if (o->family == 4) {
		f.tos = r->pkt.tos;
		f.ipv4_src = PS_LOAD(__u32, o->saddr);
		f.ipv4_dst = PS_LOAD(__u32, o->daddr);
	} else {
		f.flowinfo = (__u32)ps_be32((__u32)r->pkt.tos << 20);
		ps_words_copy((__u8 *)f.ipv6_src, o->saddr, 16);
		ps_words_copy((__u8 *)f.ipv6_dst, o->daddr, 16);
	}
	rc = bpf_fib_lookup(ctx, &f, sizeof(f), 0);
	if (rc == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return PS_R_RXDP_TOO_BIG;
	if (rc != BPF_FIB_LKUP_RET_SUCCESS)
		return PS_R_RXDP_NO_HOP;
	if (way && f.ifindex != ctx->ingress_ifindex && !ps_relay_way_open(way, f.ifindex))
		return PS_R_RXDP_NO_HOP;
	r->link.dst_hi = PS_LOAD(__u16, f.dmac) | (__u32)PS_LOAD(__u16, f.dmac + 2) << 16;
	r->link.dst_lo = PS_LOAD(__u16, f.dmac + 4);
	r->link.src_hi = PS_LOAD(__u32, f.smac);
	r->link.src_lo = PS_LOAD(__u16, f.smac + 4);
	if (f.ifindex != ctx->ingress_ifindex)
		r->action = (int)bpf_redirect(f.ifindex, 0);
	return PS_GO_ON;
}

/* To the default router; else, where forwarding is on, as the kernel would. */
static __always_inline enum ps_reason_id relay_auto(struct xdp_md *ctx, struct relay *r)
{
	__u32 key = PS_READ_ONCE(r->cfg->way) & 1;
	const struct ps_turn_way *w = bpf_map_lookup_elem(&ps_turn_way, &key);
	const struct ps_turn_router *to;
	enum ps_reason_id id, fib;

	if (!w)
		return PS_R_RXDP_NO_ROUTER;
	id = ps_relay_way(w, &r->pkt, r->out, &to);
	if (id != PS_GO_ON) {
		fib = relay_fib(ctx, r, w);
		return fib == PS_R_RXDP_NO_HOP ? id : fib;
	}
	if (to->ifindex != ctx->ingress_ifindex) {
		if (!ps_relay_way_open(w, to->ifindex))
			return PS_R_RXDP_NO_HOP;
		r->action = (int)bpf_redirect(to->ifindex, 0);
	}
	ps_relay_link_to(&r->link, to->dst, to->src);
	return PS_GO_ON;
}

static __always_inline enum ps_reason_id relay_hop(struct xdp_md *ctx, struct relay *r)
{
	if (r->cfg->hop == PS_TURN_HOP_AUTO)
		return relay_auto(ctx, r);
	if (r->cfg->hop == PS_TURN_HOP_FIB)
		return relay_fib(ctx, r, NULL);
	ps_relay_link_turn(&r->link, r->cfg->hop == PS_TURN_HOP_MAC ? r->cfg->hop_mac : 0);
	return PS_GO_ON;
}

/* ---- the change ---------------------------------------------------------------------------------
 */

static __always_inline void relay_pad(struct xdp_md *ctx, struct relay *r)
{
	__u8 pad[TURN_CHAN_PAD_MAX] = {0};
	__u32 at = r->pkt.head_len + r->pkt.data_len;

	for (__u32 i = 0; i < TURN_CHAN_PAD_MAX; i++)
		if (i < r->pkt.pad_len)
			bpf_xdp_load_bytes(ctx, at + i, pad + i, 1);
	r->pkt.pad_sum = ps_relay_pad_sum(&r->pkt, pad);
}

/* Start and end of the frame to where they are planned. On failure it is as it was. */
static __always_inline int relay_reshape(struct xdp_md *ctx, const struct relay *r)
{
	int surplus = (int)(r->frame_len - r->pkt.head_len - r->pkt.data_len);

	if (r->plan.head && bpf_xdp_adjust_head(ctx, r->plan.head))
		return 0;
	if (surplus <= 0 || !bpf_xdp_adjust_tail(ctx, -surplus))
		return 1;
	if (r->plan.head)
		bpf_xdp_adjust_head(ctx, -r->plan.head);
	return 0;
}

/* Not atomic: one direction of a binding is one flow, which its network card gives to one
 * processor. Two locked additions would be a fifth of the packet's cost. */
static __always_inline void relay_bump(__u32 index, const struct relay *r)
{
	struct ps_turn_stat *s = bpf_map_lookup_elem(&ps_turn_stat, &index);

	if (!s)
		return;
	PS_WRITE_ONCE(s->packets, s->packets + 1);
	PS_WRITE_ONCE(s->bytes, s->bytes + r->pkt.data_len);
	PS_WRITE_ONCE(s->last_ns, r->now);
}

/* The point of no return. */
static __always_inline enum ps_reason_id relay_send(struct xdp_md *ctx, struct relay *r)
{
	if (!relay_reshape(ctx, r)) {
		r->action = XDP_PASS;
		return PS_R_RXDP_ADJUST_FAILED;
	}
	if (!ps_relay_write((__u8 *)(long)ctx->data, (const __u8 *)(long)ctx->data_end, &r->pkt,
			    &r->plan, &r->link, r->out)) {
		r->action = XDP_ABORTED; /* cannot be: it is as long as planned */
		return PS_R_RXDP_ADJUST_FAILED;
	}
	relay_bump(r->first->stat, r);
	if (r->out != r->first) {
		relay_bump(r->out->stat, r);
		return PS_R_RXDP_TO_SELF;
	}
	return r->out->channel ? PS_R_RXDP_TO_CLIENT : PS_R_RXDP_TO_PEER;
}

static __always_inline enum ps_reason_id relay_packet(struct xdp_md *ctx, struct relay *r)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;
	__u32 zero = 0;
	enum ps_reason_id id;

	r->cfg = bpf_map_lookup_elem(&ps_turn_cfg, &zero);
	if (!r->cfg)
		return PS_R_RXDP_DAEMON_GONE;
	r->now = bpf_ktime_get_coarse_ns();
	id = ps_relay_alive(r->cfg, r->now);
	if (id != PS_GO_ON)
		return id;
	if (r->cfg->flags & PS_TURN_GENERIC)
		r->pkt.joined = (__u8)xdp_is_gso(ctx);
	id = relay_lookup(data, end, r);
	if (id != PS_GO_ON || !r->first || !r->out)
		return id;
	id = relay_users(ctx, r);
	if (id != PS_GO_ON)
		return id;
	if (r->pkt.pad_len)
		relay_pad(ctx, r);
	id = ps_relay_plan(&r->pkt, r->cfg, r->first, r->out, &r->plan);
	if (id != PS_GO_ON)
		return id;
	ps_relay_link_get(data, &r->pkt, &r->link);
	id = relay_hop(ctx, r);
	return id == PS_GO_ON ? relay_send(ctx, r) : id;
}
#endif
