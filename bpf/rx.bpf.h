/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * ps_wan_rx: from a frame on the WAN to the inner packet it carries. The judgements are
 * plan/ingress.h; here are the lookups, the cipher and the one place that changes the frame.
 *
 * The packet is decrypted into scratch, judged there, and only then touched: moving the start of
 * the packet comes before the replay commit because it can fail, and is undone when the rest of it
 * does; the commit comes before the first byte is written, because it decides. A frame that is
 * passed on is therefore as it came. */
#ifndef PENSTOCK_RX_BPF_H
#define PENSTOCK_RX_BPF_H
#include "account.bpf.h"
#include "aead.bpf.h"
#include "plan/ecn.h"
#include "plan/ingress.h"
#include "plan/train.h"
#include "skb.bpf.h"

/* Everything about one packet on its way through the steps. */
struct rx {
	struct ps_outer outer;
	struct ps_channel *channel; /* NULL: came directly */
	struct ps_session *session;
	struct ps_peer *peer;
	struct ps_scratch *scratch;
	__u64 now; /* up to a tick ago, which is good enough but where something is held */
	__u32 slot;
	__u32 peer_id;
	__u32 peer_seq;
	__u32 text_len; /* inner packet and padding */
	__u32 tun_ifindex;
	enum ps_reason_id early; /* see rx_early */
};

/* Copy what judging takes from the peer. 0: somebody is writing it. */
static __always_inline int rx_peer_read(struct rx *r)
{
	struct ps_peer_view *v = &r->scratch->view;
	struct ps_peer *p = r->peer;

	r->peer_seq = PS_READ_ONCE(p->seq);
	if (r->peer_seq & 1)
		return 0;
	v->flags = PS_READ_ONCE(p->flags);
	v->generation = PS_READ_ONCE(p->generation);
	ps_words_copy(v->tun4, p->tun4, 4);
	ps_words_copy(v->tun6, p->tun6, 16);
	return PS_READ_ONCE(p->seq) == r->peer_seq;
}

/* What key and window have to say, for when it is asked for: looked at with the session, so that
 * the processor waits for all their cache lines at once. PS_GO_ON: the key is in place. */
static __always_inline enum ps_reason_id rx_early(const struct rx *r, struct chacha *c,
						  struct ps_replay *replay, struct key_slot *key,
						  __u32 *key_seq)
{
	if (!keys_load(key, 0, chacha_key(c), key_seq))
		return PS_R_XDP_NO_KEY;
	return ps_replay_check(replay, r->outer.counter) ? PS_GO_ON : PS_R_XDP_REPLAY;
}

static __always_inline enum ps_reason_id rx_lookup(struct xdp_md *ctx, struct rx *r,
						   const struct ps_config *cfg, struct chacha *c)
{
	__u32 which = PS_SCRATCH_RX;
	struct ps_replay *replay;
	enum ps_reason_id id;
	struct key_slot *key;
	__u32 key_seq;
	int held;

	if (!(cfg->flags & PS_CFG_RX))
		return PS_R_XDP_USER_MODE;
	if (r->outer.via.word[0]) {
		r->channel = bpf_map_lookup_elem(&ps_channel, &r->outer.via);
		id = ps_rx_channel(r->channel);
		if (id != PS_GO_ON)
			return id;
	}
	r->slot = r->outer.receiver & cfg->slot_mask;
	r->session = bpf_map_lookup_elem(&ps_session, &r->slot);
	replay = bpf_map_lookup_elem(&ps_replay, &r->slot);
	key = bpf_map_lookup_elem(&ps_key, &r->slot);
	if (!replay || !key)
		return PS_R_XDP_NO_SESSION;
	r->early = rx_early(r, c, replay, key, &key_seq);
	held = r->session && PS_READ_ONCE(r->session->rx_held_until_ns);
	r->now = held ? bpf_ktime_get_ns() : bpf_ktime_get_coarse_ns();
	id = ps_rx_session(r->session, r->outer.receiver, r->now);
	if (id == PS_R_XDP_UNCONFIRMED && r->session)
		ps_rx_passed(r->session, id, bpf_ktime_get_ns(), cfg);
	if (id != PS_GO_ON || !r->session)
		return id;
	if (!keys_still(key, key_seq)) /* now it is known to be this session's */
		r->early = PS_R_XDP_NO_KEY;
	r->peer_id = r->session->peer;
	r->peer = bpf_map_lookup_elem(&ps_peer, &r->peer_id);
	r->scratch = bpf_map_lookup_elem(&ps_scratch, &which);
	if (!r->peer || !r->scratch || !rx_peer_read(r))
		return PS_R_XDP_USER_MODE;
	id = ps_rx_peer(&r->scratch->view, &r->outer,
			(cfg->flags & PS_CFG_GENERIC) && xdp_is_gso(ctx));
	if (id == PS_GO_ON && (cfg->flags & PS_CFG_GENERIC) &&
	    ps_train_of_one(r->session, r->outer.payload_len - WG_DATA_OVERHEAD, r->now))
		id = PS_R_XDP_BULK;
	if (id == PS_GO_ON && held)
		id = ps_rx_order(r->session, r->outer.payload_len - WG_DATA_OVERHEAD, r->now, cfg);
	if (id != PS_GO_ON && !held)
		r->now = bpf_ktime_get_ns();
	ps_rx_passed(r->session, id, r->now, cfg);
	return id;
}

/* Decrypt into scratch. */
static __always_inline enum ps_reason_id rx_open(struct xdp_md *ctx, struct rx *r, struct chacha *c)
{
	__u32 len = r->outer.payload_len - WG_DATA_HDR_LEN;

	if (r->early != PS_GO_ON)
		return r->early;
	if (len < AEAD_TAG_LEN || len > PS_INNER_MAX + AEAD_TAG_LEN)
		return PS_R_XDP_TOO_BIG;
	if (bpf_xdp_load_bytes(ctx, r->outer.wg_off + WG_DATA_HDR_LEN, r->scratch->buf, len))
		return PS_R_XDP_TRUNCATED;
	r->text_len = len - AEAD_TAG_LEN;
	chacha_init(c, r->outer.counter);
	if (!aead_open(c, r->scratch, r->text_len))
		return PS_R_XDP_BAD_TAG;
	return PS_GO_ON;
}

/* Copy what the flow is translated to. The map reuses an entry's memory at once for another flow:
 * one that is no longer found under its key may have been that, and is not taken. */
static __always_inline enum ps_reason_id rx_nat(struct rx *r, const struct ps_inner *in,
						const struct ps_flow *flow)
{
	struct ps_nat *to = &r->scratch->nat;

	ps_nat_of_flow(flow, to);
	if (to->on && bpf_map_lookup_elem(&ps_flow_in, &in->key) != flow)
		return PS_R_XDP_NO_FLOW;
	return ps_rx_nat(to, r->scratch->buf, &in->ip);
}

/* Does policy let the decrypted packet through here? */
static __always_inline enum ps_reason_id rx_judge(struct rx *r, struct ps_inner *in,
						  struct ps_flow **flow)
{
	const __u8 *p = r->scratch->buf;
	const struct ps_config *cfg;
	enum ps_reason_id id;

	id = ps_rx_inner(p, p + r->text_len, in);
	if (id != PS_GO_ON)
		return id;
	id = ps_rx_source(&r->scratch->view, in);
	if (id != PS_GO_ON)
		return id;
	in->key.peer = r->peer_id;
	*flow = bpf_map_lookup_elem(&ps_flow_in, &in->key);
	id = ps_rx_flow(*flow, r->peer_id, r->scratch->view.generation, r->now);
	if (id != PS_GO_ON)
		return id;
	if (PS_READ_ONCE(r->peer->seq) != r->peer_seq)
		return PS_R_XDP_USER_MODE;
	if (!PS_READ_ONCE((*flow)->bulk_until_ns))
		return rx_nat(r, in, *flow);
	cfg = config_get();
	r->now = bpf_ktime_get_ns();
	if (!cfg || ps_flow_held(*flow, r->now, PS_READ_ONCE(cfg->drained_ns)))
		return PS_R_XDP_FLOW_WARM;
	return rx_nat(r, in, *flow);
}

/* Build the new frame's header in front of the inner packet in scratch: MAC addresses stay. */
static __always_inline int rx_put_eth(struct xdp_md *ctx, struct rx *r, const struct ps_ip *ip)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;
	__u8 *eth = r->scratch->buf - PS_ETH_HLEN;

	if (data + PS_ETH_HLEN > end)
		return 0;
	ps_words_copy(eth, data, 12);
	ps_be16_put(eth + PS_ETH_TYPE_OFF, ip->family == 4 ? PS_ETHERTYPE_IP4 : PS_ETHERTYPE_IP6);
	return 1;
}

/* Move the start of the frame to where an inner packet must begin that ends where the frame does,
 * with room for the metadata: so its end need not move. Bytes are left alone. On failure the frame
 * is as it was. */
static __always_inline int rx_reshape(struct xdp_md *ctx, __u32 len)
{
	__u64 frame_len = (__u64)((long)ctx->data_end - (long)ctx->data);
	int head;

	OPAQUE(frame_len); /* or the compiler takes a pointer for a number of 32 bits */
	head = (int)frame_len - PS_ETH_HLEN - (int)len;
	if (bpf_xdp_adjust_head(ctx, head))
		return 0;
	if (!bpf_xdp_adjust_meta(ctx, -(int)sizeof(struct ps_meta)))
		return 1;
	bpf_xdp_adjust_head(ctx, -head);
	return 0;
}

static __always_inline void rx_bump(const struct rx *r, struct ps_flow *flow, __u64 len)
{
	__sync_fetch_and_add(&r->session->rx_kernel_packets, 1);
	__sync_fetch_and_add(&r->session->rx_kernel_bytes, len);
	PS_WRITE_ONCE(r->session->last_rx_ns, r->now);
	if (len <= PS_RX_LONG)
		PS_WRITE_ONCE(r->session->rx_alone_ns, r->now);
	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->bytes, len);
	PS_WRITE_ONCE(flow->last_ns, r->now);
	if (r->channel) {
		/* One flow of the network, so one processor at a time. */
		PS_WRITE_ONCE(r->channel->packets, r->channel->packets + 1);
		PS_WRITE_ONCE(r->channel->bytes, r->channel->bytes + len);
	}
}

/* The point of no return. */
static __always_inline enum ps_reason_id rx_deliver(struct xdp_md *ctx, struct rx *r,
						    const struct ps_ip *ip, struct ps_flow *flow)
{
	struct ps_replay *replay = bpf_map_lookup_elem(&ps_replay, &r->slot);
	__u32 len = ip->len;
	__u64 frame;
	struct ps_meta *meta;
	__u8 ecn;

	if (!replay || len == 0 || len > PS_INNER_MAX || !flow || !rx_put_eth(ctx, r, ip) ||
	    !rx_reshape(ctx, len))
		return PS_R_XDP_ADJUST_FAILED;
	meta = (void *)(long)ctx->data_meta;
	if (meta + 1 > (struct ps_meta *)(long)ctx->data)
		return PS_R_XDP_REPLAY; /* cannot be: the room was just made */
	if (!ps_replay_commit(replay, r->outer.counter))
		return PS_R_XDP_REPLAY;
	meta->magic = PS_META_MAGIC;
	meta->tun_ifindex = r->tun_ifindex;
	ecn = ps_ecn_decap(ip->tos & PS_ECN_MASK, r->outer.ecn);
	if (ecn != (ip->tos & PS_ECN_MASK))
		ps_ecn_put(r->scratch->buf, ip->family, ecn);
	if (r->scratch->nat.on)
		ps_nat_apply(r->scratch->buf, ip, PS_NAT_TO, &r->scratch->nat);
	frame = (__u64)len + PS_ETH_HLEN;
	CLAMP(frame, PS_INNER_MAX + PS_ETH_HLEN);
	bpf_xdp_store_bytes(ctx, 0, r->scratch->buf - PS_ETH_HLEN, frame);
	rx_bump(r, flow, len);
	return PS_R_XDP_DELIVERED;
}

/* From the decrypted packet to its end. */
static __always_inline enum ps_reason_id rx_inner(struct xdp_md *ctx, struct rx *r)
{
	struct ps_flow *flow = 0;
	struct ps_inner *in = &r->scratch->inner;
	enum ps_reason_id id = rx_judge(r, in, &flow);

	if (id != PS_GO_ON)
		return id;
	if (ps_ecn_decap(in->ip.tos & PS_ECN_MASK, r->outer.ecn) == PS_ECN_DROP)
		return PS_R_XDP_ECN; /* as if it had been lost on its way */
	return rx_deliver(ctx, r, &in->ip, flow);
}

/* Is it ours to decrypt? Then *cfg and *tun_ifindex are set, and *o tells what it is. */
static __always_inline enum ps_reason_id rx_outer(struct xdp_md *ctx, struct ps_config **cfg,
						  __u32 *tun_ifindex, struct ps_outer *o)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;

	*cfg = config_get();
	*tun_ifindex = alive_ifindex();
	if (!*cfg || !*tun_ifindex)
		return PS_R_XDP_DAEMON_GONE;
	return ps_rx_classify(data, end, *cfg, o);
}

static __always_inline enum ps_reason_id rx_begin(struct xdp_md *ctx, struct rx *r,
						  struct ps_config **cfg)
{
	return rx_outer(ctx, cfg, &r->tun_ifindex, &r->outer);
}

static __always_inline enum ps_reason_id rx_rest(struct xdp_md *ctx, struct rx *r,
						 const struct ps_config *cfg)
{
	enum ps_reason_id id;
	struct chacha c;

	id = rx_lookup(ctx, r, cfg, &c);
	if (id != PS_GO_ON)
		return id;
	id = rx_open(ctx, r, &c);
	return id == PS_GO_ON ? rx_inner(ctx, r) : id;
}

static __always_inline enum ps_reason_id rx_packet(struct xdp_md *ctx)
{
	struct ps_config *cfg;
	struct rx r = {0};
	enum ps_reason_id id = rx_begin(ctx, &r, &cfg);

	return id == PS_GO_ON ? rx_rest(ctx, &r, cfg) : id;
}
#endif
