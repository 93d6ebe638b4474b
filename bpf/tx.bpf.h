/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * ps_tun_out: from an inner packet on the tunnel device to a WireGuard packet on the WAN. The
 * judgements and headers are plan/egress.h; here are the lookups, the cipher and the skb.
 *
 * Until the counter is taken and the packet is sealed in scratch the skb is untouched, and passing
 * it on leaves it as it was. After that it is sent or lost (no memory for the headers).
 *
 * Checksums. TC egress comes before the stack completes L4 checksums, so TCP from this host and
 * what GRO or a virtual link handed over have CHECKSUM_PARTIAL: the field holds the pseudo header's
 * sum and the skb says where to sum from. The sum is completed in scratch, exactly as the device
 * would have; checksums of other packets are never touched, a corrupt one stays corrupt. The mark
 * on the skb must go as well, or the WAN device would write a sum into ciphertext: no helper does
 * that as such, but pulling data beyond the place where the sum starts makes the kernel drop it
 * (skb_postpull_rcsum), and what bpf_skb_adjust_room removes is rewritten afterwards anyway. */
#ifndef PENSTOCK_TX_BPF_H
#define PENSTOCK_TX_BPF_H
#include "account.bpf.h"
#include "aead.bpf.h"
#include "plan/egress.h"

/* <linux/bpf.h> from 6.3 on; the build's may be older. */
#define DECAP_L3_IP4 (1ULL << 7)
#define DECAP_L3_IP6 (1ULL << 8)

/* Link header of the tunnel device: none, it carries IP. BPF_PROG_TEST_RUN has Ethernet skbs only:
 * tests set 14 before load. */
const volatile __u32 ps_tun_l2_len = 0;

struct tx {
	struct ps_flow *flow;
	struct ps_session *session;
	struct ps_scratch *scratch;
	__u64 now; /* up to a tick ago, which is good enough but where something is held */
	__u32 peer_id;
	__u32 fwmark;
	__u32 l2_len;
	__u32 len; /* of the inner packet */
};

/* 0: no such peer, or somebody is writing it. */
static __always_inline int tx_peer_read(struct tx *t)
{
	struct ps_peer *p = bpf_map_lookup_elem(&ps_peer, &t->peer_id);
	struct ps_path_view *v = &t->scratch->path;
	__u32 seq;

	if (!p)
		return 0;
	seq = PS_READ_ONCE(p->seq);
	if (seq & 1)
		return 0;
	v->flags = PS_READ_ONCE(p->flags);
	v->generation = PS_READ_ONCE(p->generation);
	v->tx_slot = PS_READ_ONCE(p->tx_slot);
	v->ifindex = PS_READ_ONCE(p->path_ifindex);
	v->family = PS_READ_ONCE(p->path_family);
	v->channel = PS_READ_ONCE(p->path_channel);
	v->local_port = PS_READ_ONCE(p->path_local_port);
	v->remote_port = PS_READ_ONCE(p->path_remote_port);
	v->mtu = PS_READ_ONCE(p->mtu);
	ps_words_copy(v->local, p->path_local, 16);
	ps_words_copy(v->remote, p->path_remote, 16);
	return PS_READ_ONCE(p->seq) == seq;
}

/* Parse the headers, find the flow. */
static __always_inline enum ps_reason_id tx_flow(struct __sk_buff *ctx, struct tx *t)
{
	__u32 which = PS_SCRATCH_TX;
	__u64 head = t->len;
	enum ps_reason_id id;
	struct ps_inner *in;

	t->scratch = bpf_map_lookup_elem(&ps_scratch, &which);
	if (!t->scratch)
		return PS_R_TX_NOT_IP;
	/* All of it, but for what user space will take: then its headers are enough. */
	if (ctx->gso_size || head > PS_INNER_MAX)
		CLAMP(head, PS_INNER_HEAD);
	CLAMP(head, PS_INNER_MAX);
	if (bpf_skb_load_bytes(ctx, t->l2_len, t->scratch->buf, head))
		return PS_R_TX_NOT_IP;
	in = &t->scratch->inner;
	id = ps_tx_inner(t->scratch->buf, t->scratch->buf + t->len, in);
	if (id != PS_GO_ON)
		return id;
	t->flow = bpf_map_lookup_elem(&ps_flow_out, &in->key);
	id = ps_tx_flow(t->flow, t->now);
	if (id != PS_GO_ON || !t->flow)
		return id;
	t->peer_id = t->flow->peer;
	return PS_GO_ON;
}

/* As rx_nat. */
static __always_inline enum ps_reason_id tx_nat(struct tx *t)
{
	struct ps_nat *to = &t->scratch->nat;

	ps_nat_of_flow(t->flow, to);
	if (to->on && bpf_map_lookup_elem(&ps_flow_out, &t->scratch->inner.key) != t->flow)
		return PS_R_TX_NO_FLOW;
	return ps_tx_nat(to, t->scratch->buf, &t->scratch->inner.ip);
}

/* Peer, path and kind of packet. */
static __always_inline enum ps_reason_id tx_judge(struct __sk_buff *ctx, struct tx *t,
						  const struct ps_config *cfg)
{
	enum ps_reason_id id;

	if (!tx_peer_read(t))
		return PS_R_TX_USER_MODE;
	id = ps_tx_peer(&t->scratch->path, t->flow);
	if (id == PS_R_TX_USER_MODE) {
		t->now = bpf_ktime_get_ns();
		ps_flow_hold(t->flow, t->now, t->now);
	}
	if (id != PS_GO_ON)
		return id;
	if (!SKB_FAMILY_SWITCH && t->scratch->path.family != t->scratch->inner.ip.family)
		return PS_R_TX_NO_PATH;
	if (ctx->gso_size || PS_READ_ONCE(t->flow->bulk_until_ns)) {
		t->now = bpf_ktime_get_ns();
		id = ps_tx_bulk(t->flow, ctx->gso_size != 0, t->now, cfg);
	}
	if (id == PS_GO_ON)
		id = ps_tx_size(&t->scratch->path, t->len);
	if (id != PS_GO_ON)
		return id;
	/* Bytes behind the IP packet: not what a stack sends. */
	if (t->scratch->inner.ip.len != t->len)
		return PS_R_TX_INNER_OTHER;
	id = tx_nat(t);
	if (id != PS_GO_ON)
		return id;
	t->session = bpf_map_lookup_elem(&ps_session, &t->scratch->path.tx_slot);
	return ps_tx_session(t->session, t->peer_id, t->now);
}

/* Sum of the buffer's bytes from off (even) to len, in 32-bit words; the bytes behind are zeroed.
 */
__noinline int scratch_sum(struct ps_scratch *sc, __u32 off, __u32 len)
{
	__u64 sum = 0;

	if (!sc || len > PS_INNER_MAX || off > PS_IP6_HLEN)
		return 0;
	PS_STORE(__u32, sc->buf + len, 0);
	OPAQUE(len);
	for (__u32 i = 0; i < PS_INNER_MAX / 4; i++) {
		__u32 at = off + i * 4;

		OPAQUE(at);
		if (at >= len || at > PS_INNER_MAX)
			break;
		sum += PS_LOAD(__u32, sc->buf + at);
	}
	return ps_csum_fold(sum);
}

/* Finish a checksum the stack has left to the device. 0: it is not where a plain TCP or UDP packet
 * has it. */
static __always_inline int tx_complete(struct tx *t, __u32 start, __u32 field)
{
	__u64 at = t->scratch->inner.ip.hlen +
		   (t->scratch->inner.ip.proto == PS_IPPROTO_TCP ? PS_TCP_CSUM : PS_UDP_CSUM);
	__u16 check;

	if (start != t->l2_len + t->scratch->inner.ip.hlen || field != t->l2_len + at ||
	    (t->scratch->inner.ip.proto != PS_IPPROTO_TCP &&
	     t->scratch->inner.ip.proto != PS_IPPROTO_UDP))
		return 0;
	check = (__u16)~scratch_sum(t->scratch, t->scratch->inner.ip.hlen, t->len);
	if (!check && t->scratch->inner.ip.proto == PS_IPPROTO_UDP)
		check = 0xffff;
	CLAMP(at, PS_INNER_HEAD);
	PS_STORE(__u16, t->scratch->buf + at, check);
	return 1;
}

/* Take a counter and seal the packet in scratch. The order is what keeps a nonce from being used
 * with another session's key: the slot's keys are wiped before its session is rewritten, so a
 * counter taken while the key's sequence stands belongs to that key. */
static __always_inline enum ps_reason_id tx_seal(struct tx *t, struct ps_tx_plan *plan)
{
	struct key_slot *slot = bpf_map_lookup_elem(&ps_key, &t->scratch->path.tx_slot);
	struct chacha c;
	__u32 seq;

	if (!slot || !keys_load(slot, 1, chacha_key(&c), &seq))
		return PS_R_TX_NO_KEY;
	plan->remote_idx = PS_READ_ONCE(t->session->remote_idx);
	if (PS_READ_ONCE(t->session->peer) != t->peer_id)
		return PS_R_TX_NO_PATH;
	plan->counter = __sync_fetch_and_add(&t->session->tx_counter, 1);
	if (!keys_still(slot, seq))
		return PS_R_TX_NO_KEY;
	if (plan->counter >= PS_REPLAY_LIMIT)
		return PS_R_TX_EXPIRED;
	chacha_init(&c, plan->counter);
	if (!aead_seal(&c, t->scratch, t->len, &plan->sealed_sum))
		return PS_R_TX_TOO_BIG;
	plan->sealed_len = t->len + AEAD_TAG_LEN;
	plan->ecn = t->scratch->inner.ip.tos & PS_ECN_MASK;
	return PS_GO_ON;
}

/* Make the skb as long as the outer packet, free of the inner one's offloads, and of its family. */
static __always_inline int tx_reshape(struct __sk_buff *ctx, const struct tx *t, int partial)
{
	__u32 head = PS_ETH_HLEN + ps_tx_outer_len(&t->scratch->path) - t->l2_len;
	__u32 pull = 0, room = skb_headroom(ctx);
	__u64 flags = 0;

	if (t->scratch->path.family != t->scratch->inner.ip.family)
		flags = t->scratch->path.family == 4 ? DECAP_L3_IP4 : DECAP_L3_IP6;
	if (partial || flags)
		pull = t->l2_len + t->scratch->inner.ip.hlen + 4;
	/* All is rewritten, so the tag's room may as well come in front, which is one call less.
	 * Not if just that would make the kernel look for a longer headroom. */
	if (!pull && (room < head || room >= head + AEAD_TAG_LEN))
		return !bpf_skb_change_head(ctx, head + AEAD_TAG_LEN, 0);
	if (bpf_skb_change_tail(ctx, t->l2_len + t->len + AEAD_TAG_LEN + pull, 0))
		return 0;
	if (pull && bpf_skb_adjust_room(ctx, -(__s32)pull, BPF_ADJ_ROOM_MAC, flags))
		return 0;
	return !bpf_skb_change_head(ctx, head, 0);
}

/* Write the sealed packet with its headers over the skb. ip_len and chan are the path's, known to
 * the compiler: every offset in scratch is then a constant. */
static __always_inline int tx_put(struct __sk_buff *ctx, const struct tx *t,
				  const struct ps_tx_plan *plan, __u32 ip_len, __u32 chan)
{
	const __u32 head = PS_ETH_HLEN + ip_len + PS_UDP_HLEN + chan + WG_DATA_HDR_LEN;
	const struct ps_path_view *v = &t->scratch->path;
	__u8 *at = t->scratch->buf - head;
	__u64 size = plan->sealed_len + head;

	ps_tx_put_eth(at, v);
	if (ip_len == PS_IP4_HLEN)
		ps_tx_put_outer4(at + PS_ETH_HLEN, v, plan, chan);
	else
		ps_tx_put_outer6(at + PS_ETH_HLEN, v, plan, chan);
	CLAMP(size, PS_INNER_MAX + AEAD_TAG_LEN + head);
	return !bpf_skb_store_bytes(ctx, 0, at, size, 0);
}

static __always_inline int tx_write(struct __sk_buff *ctx, const struct tx *t,
				    const struct ps_tx_plan *plan)
{
	const struct ps_path_view *v = &t->scratch->path;

	if (v->family == 4)
		return v->channel ? tx_put(ctx, t, plan, PS_IP4_HLEN, TURN_CHAN_HDR_LEN)
				  : tx_put(ctx, t, plan, PS_IP4_HLEN, 0);
	return v->channel ? tx_put(ctx, t, plan, PS_IP6_HLEN, TURN_CHAN_HDR_LEN)
			  : tx_put(ctx, t, plan, PS_IP6_HLEN, 0);
}

static __always_inline void tx_bump(const struct tx *t)
{
	__sync_fetch_and_add(&t->session->tx_kernel_packets, 1);
	__sync_fetch_and_add(&t->session->tx_kernel_bytes, t->len);
	PS_WRITE_ONCE(t->session->last_tx_ns, t->now);
	__sync_fetch_and_add(&t->flow->packets, 1);
	__sync_fetch_and_add(&t->flow->bytes, t->len);
	PS_WRITE_ONCE(t->flow->last_ns, t->now);
}

static __always_inline enum ps_reason_id tx_send(struct __sk_buff *ctx, struct tx *t)
{
	__u32 start = 0, field = 0;
	struct ps_tx_plan plan = {0};
	enum ps_reason_id id;
	int partial;

	if (t->len == 0 || t->len > PS_INNER_MAX)
		return PS_R_TX_TOO_BIG;
	partial = skb_partial(ctx, &start, &field);
	if (partial && !tx_complete(t, start, field))
		return PS_R_TX_INNER_OTHER;
	if (t->scratch->nat.on)
		ps_nat_apply(t->scratch->buf, &t->scratch->inner.ip, PS_NAT_FROM, &t->scratch->nat);
	id = tx_seal(t, &plan);
	if (id != PS_GO_ON)
		return id;
	if (!tx_reshape(ctx, t, partial) || !tx_write(ctx, t, &plan))
		return PS_R_TX_NO_ROOM;
	tx_bump(t);
	return PS_R_TX_SENT;
}

/* *ifindex: where to send the packet, when it is PS_R_TX_SENT. */
static __always_inline enum ps_reason_id tx_packet(struct __sk_buff *ctx, __u32 *ifindex)
{
	struct ps_config *cfg = config_get();
	enum ps_reason_id id;
	struct tx t = {0};

	t.l2_len = ps_tun_l2_len;
	if (!cfg || !(cfg->flags & PS_CFG_TX))
		return PS_R_TX_USER_MODE;
	if (ctx->len <= t.l2_len)
		return PS_R_TX_NOT_IP;
	t.len = ctx->len - t.l2_len;
	t.fwmark = cfg->fwmark;
	t.now = bpf_ktime_get_coarse_ns();
	id = tx_flow(ctx, &t);
	if (id != PS_GO_ON || !t.flow)
		return id;
	id = tx_judge(ctx, &t, cfg);
	if (id != PS_GO_ON || !t.session)
		return id;
	id = tx_send(ctx, &t);
	if (id == PS_R_TX_SENT) {
		ctx->mark = t.fwmark;
		*ifindex = t.scratch->path.ifindex;
	}
	return id;
}
#endif
