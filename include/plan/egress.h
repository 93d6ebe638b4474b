/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * What becomes of a packet that the host routes into the tunnel device, and the outer headers it
 * gets: values in, values out, like plan/ingress.h. bpf/tx.bpf.h strings the steps together:
 *
 *   inner -> flow -> peer -> bulk -> size -> session -> (key, counter, encrypt) -> outer headers
 */
#ifndef PENSTOCK_PLAN_EGRESS_H
#define PENSTOCK_PLAN_EGRESS_H
#include "plan/flow.h"
#include "abi/maps.h"
#include "plan/inner.h"
#include "plan/verdict.h"
#include "wire/eth.h"
#include "wire/turn.h"
#include "wire/wg.h"

#define PS_OUTER_TTL 64
/* Longest prefix before the ciphertext: Ethernet, IPv6, UDP, channel header, data header. */
#define PS_OUTER_MAX (PS_ETH_HLEN + PS_IP6_HLEN + PS_UDP_HLEN + TURN_CHAN_HDR_LEN + WG_DATA_HDR_LEN)

/* The fields of ps_peer that sending takes, read under its seq. */
struct ps_path_view {
	__u32 flags;
	__u32 generation;
	__u32 tx_slot;
	__u32 ifindex;
	__u8 family;
	__u8 pad;
	__be16 channel; /* 0: direct */
	__u8 local[16];
	__u8 remote[16];
	__be16 local_port;
	__be16 remote_port;
	__u16 mtu;
	__u16 pad2;
};

static __always_inline enum ps_reason_id ps_tx_inner(const __u8 *p, const __u8 *end,
						     struct ps_inner *in)
{
	switch (ps_inner_parse(p, end, in)) {
	case PS_INNER_FLOW:
		return PS_GO_ON;
	case PS_INNER_OTHER:
		return PS_R_TX_INNER_OTHER;
	case PS_INNER_MALFORMED:
		break;
	}
	return PS_R_TX_NOT_IP;
}

/* f: the entry of ps_flow_out, NULL when there is none. Its peer's generation is judged with the
 * peer. */
static __always_inline enum ps_reason_id ps_tx_flow(const struct ps_flow *f, __u64 now)
{
	if (!f)
		return PS_R_TX_NO_FLOW;
	if (now >= f->expires_ns)
		return PS_R_TX_FLOW_EXPIRED;
	return PS_GO_ON;
}

static __always_inline enum ps_reason_id ps_tx_peer(const struct ps_path_view *v,
						    const struct ps_flow *f)
{
	if (!(v->flags & PS_PEER_USED) || !(v->flags & PS_PEER_KERNEL))
		return PS_R_TX_USER_MODE;
	if (f->generation != v->generation)
		return PS_R_TX_FLOW_STALE;
	if (!v->ifindex || v->tx_slot == PS_NO_SLOT || (v->family != 4 && v->family != 6))
		return PS_R_TX_NO_PATH;
	return PS_GO_ON;
}

/* Segmentation-offload packets are user space's, and for a while all packets of their flow with
 * them, or they would overtake each other. */
static __always_inline enum ps_reason_id ps_tx_bulk(struct ps_flow *f, int is_gso, __u64 now,
						    const struct ps_config *cfg)
{
	if (is_gso) {
		ps_flow_hold(f, now, now + cfg->bulk_hold_ns);
		return PS_R_TX_GSO;
	}
	return ps_flow_held(f, now, PS_READ_ONCE(cfg->drained_ns)) ? PS_R_TX_BULK : PS_GO_ON;
}

/* Longer than the connection carries: user space tells the sender. */
static __always_inline enum ps_reason_id ps_tx_size(const struct ps_path_view *v, __u32 len)
{
	return len > v->mtu || len > PS_INNER_MAX ? PS_R_TX_TOO_BIG : PS_GO_ON;
}

/* s: the session in the peer's tx_slot, NULL when there is no such slot. A session that user space
 * has not seen confirmed is not the kernel's to send on. */
static __always_inline enum ps_reason_id ps_tx_session(const struct ps_session *s, __u32 peer,
						       __u64 now)
{
	if (!s || !(s->flags & PS_SESS_USED) || !(s->flags & PS_SESS_CONFIRMED) || s->peer != peer)
		return PS_R_TX_NO_PATH;
	if (now >= s->tx_until_ns || PS_READ_ONCE(s->tx_counter) >= PS_REPLAY_LIMIT)
		return PS_R_TX_EXPIRED;
	return PS_GO_ON;
}

/* Bytes between the UDP header and the data header. */
static __always_inline __u32 ps_tx_chan_len(const struct ps_path_view *v)
{
	return v->channel ? (__u32)TURN_CHAN_HDR_LEN : 0;
}

/* Bytes before the ciphertext, without Ethernet. */
static __always_inline __u32 ps_tx_outer_len(const struct ps_path_view *v)
{
	return (v->family == 4 ? (__u32)PS_IP4_HLEN : (__u32)PS_IP6_HLEN) + PS_UDP_HLEN +
	       ps_tx_chan_len(v) + WG_DATA_HDR_LEN;
}

/* An outer packet about to be written. */
struct ps_tx_plan {
	__u32 sealed_len; /* ciphertext and tag */
	__u32 remote_idx;
	__u64 counter;
	__u64 sealed_sum; /* one's complement sum of ciphertext and tag, for the UDP checksum */
	__u8 ecn;	  /* of the inner packet, copied out (RFC 6040 §4.1, normal mode) */
	__u8 pad[7];
};

/* What comes between UDP header and ciphertext, at p: in a channel its header (RFC 8656 §12.4, no
 * padding), then the data header. `chan` here and below: ps_tx_chan_len, known to the compiler. */
static __always_inline void ps_tx_put_wg(__u8 *p, const struct ps_path_view *v,
					 const struct ps_tx_plan *t, __u32 chan)
{
	if (chan)
		turn_chan_put(p, ps_host16(v->channel), (__u16)(WG_DATA_HDR_LEN + t->sealed_len));
	PS_STORE(__u32, p + chan, WG_MSG_DATA);
	PS_STORE(__u32, p + chan + 4, t->remote_idx);
	PS_STORE(__u64, p + chan + 8, t->counter);
}

/* UDP header at p, before what ps_tx_put_wg has written; pseudo: sum over addresses. */
static __always_inline void ps_tx_put_udp(__u8 *p, const struct ps_path_view *v,
					  const struct ps_tx_plan *t, __u32 chan, __u64 pseudo)
{
	__u32 len = PS_UDP_HLEN + chan + WG_DATA_HDR_LEN + t->sealed_len;
	__u16 check;

	PS_STORE(__u16, p + PS_UDP_SPORT, (__u16)v->local_port);
	PS_STORE(__u16, p + PS_UDP_DPORT, (__u16)v->remote_port);
	ps_be16_put(p + PS_UDP_LEN, (__u16)len);
	PS_STORE(__u16, p + PS_UDP_CSUM, 0);
	pseudo += (__u16)ps_be16(len) + (__u16)ps_be16(PS_IPPROTO_UDP) + t->sealed_sum;
	pseudo += ps_csum_words(p, PS_UDP_HLEN + chan + WG_DATA_HDR_LEN);
	check = (__u16)~ps_csum_fold(pseudo);
	PS_STORE(__u16, p + PS_UDP_CSUM, check ? check : 0xffff);
}

/* IPv4, UDP and what follows up to the ciphertext at p: ps_tx_outer_len bytes. */
static __always_inline void ps_tx_put_outer4(__u8 *p, const struct ps_path_view *v,
					     const struct ps_tx_plan *t, __u32 chan)
{
	__u32 len = PS_IP4_HLEN + PS_UDP_HLEN + chan + WG_DATA_HDR_LEN + t->sealed_len;

	p[0] = 0x45;
	p[PS_IP4_TOS] = t->ecn;
	ps_be16_put(p + PS_IP4_LEN, (__u16)len);
	ps_be16_put(p + 4, 0);
	ps_be16_put(p + PS_IP4_FRAG, PS_IP4_DF);
	p[8] = PS_OUTER_TTL;
	p[PS_IP4_PROTO] = PS_IPPROTO_UDP;
	PS_STORE(__u16, p + PS_IP4_CSUM, 0);
	ps_words_copy(p + PS_IP4_SADDR, v->local, 4);
	ps_words_copy(p + PS_IP4_DADDR, v->remote, 4);
	PS_STORE(__u16, p + PS_IP4_CSUM, (__u16)~ps_csum_fold(ps_csum_words(p, PS_IP4_HLEN)));
	ps_tx_put_wg(p + PS_IP4_HLEN + PS_UDP_HLEN, v, t, chan);
	ps_tx_put_udp(p + PS_IP4_HLEN, v, t, chan, ps_csum_words(p + PS_IP4_SADDR, 8));
}

/* The same for IPv6. The flow label is 0: the path is nominated, there is nothing to balance. */
static __always_inline void ps_tx_put_outer6(__u8 *p, const struct ps_path_view *v,
					     const struct ps_tx_plan *t, __u32 chan)
{
	p[0] = 0x60;
	p[1] = (__u8)(t->ecn << 4);
	ps_be16_put(p + 2, 0);
	ps_be16_put(p + PS_IP6_LEN, (__u16)(PS_UDP_HLEN + chan + WG_DATA_HDR_LEN + t->sealed_len));
	p[PS_IP6_NEXT] = PS_IPPROTO_UDP;
	p[7] = PS_OUTER_TTL;
	ps_words_copy(p + PS_IP6_SADDR, v->local, 16);
	ps_words_copy(p + PS_IP6_DADDR, v->remote, 16);
	ps_tx_put_wg(p + PS_IP6_HLEN + PS_UDP_HLEN, v, t, chan);
	ps_tx_put_udp(p + PS_IP6_HLEN, v, t, chan, ps_csum_words(p + PS_IP6_SADDR, 32));
}

/* Ethernet header for bpf_redirect_neigh, which overwrites the addresses. */
static __always_inline void ps_tx_put_eth(__u8 *p, const struct ps_path_view *v)
{
	__builtin_memset(p, 0, PS_ETH_TYPE_OFF);
	ps_be16_put(p + PS_ETH_TYPE_OFF, v->family == 4 ? PS_ETHERTYPE_IP4 : PS_ETHERTYPE_IP6);
}
#endif
