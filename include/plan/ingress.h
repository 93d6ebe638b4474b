/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * What becomes of a packet that arrived on the WAN interface, decided from values alone: no map, no
 * clock, nothing is changed. bpf/rx.bpf.h strings these steps together in the order of this file;
 * the tests run them natively beside the program.
 *
 *   classify outer -> (channel) -> session -> peer -> order -> (replay check, decrypt) ->
 *   inner -> source -> flow -> (replay commit)
 *
 * Every step returns the fate of the packet or PS_GO_ON. */
#ifndef PENSTOCK_PLAN_INGRESS_H
#define PENSTOCK_PLAN_INGRESS_H
#include "plan/flow.h"
#include "abi/maps.h"
#include "plan/inner.h"
#include "plan/verdict.h"
#include "wire/eth.h"
#include "wire/stun.h"
#include "wire/turn.h"
#include "wire/wg.h"

/* The key by words as well: written so, a lookup's wider loads need not wait for small stores. */
union ps_via {
	struct ps_channel_key key;
	__u64 word[3];
};
_Static_assert(sizeof(struct ps_channel_key) == 24 &&
		       __builtin_offsetof(struct ps_channel_key, number) == 2 &&
		       __builtin_offsetof(struct ps_channel_key, relay_port) == 4 &&
		       __builtin_offsetof(struct ps_channel_key, local_port) == 6,
	       "words of ps_channel_key");

/* A WireGuard data packet for our port, perhaps in a relay's channel. */
struct ps_outer {
	__u32 link_len;	   /* Ethernet and VLAN headers */
	__u32 wg_off;	   /* of the data header, from the start of the frame */
	__u32 payload_len; /* of UDP or the channel: data header, ciphertext, tag */
	__u32 receiver;
	__u64 counter;
	__u8 ecn;
	__u8 surplus; /* more lies behind the channel's message than belongs to it */
	__u8 pad[6];
	union ps_via via; /* all zero: came directly */
};

/* The fields of ps_peer that judging takes, read under its seq. */
struct ps_peer_view {
	__u32 flags;
	__u32 generation;
	__u8 tun4[4];
	__u8 tun6[16];
};

static __always_inline enum ps_reason_id ps_rx_of_ip(enum ps_ip_result r)
{
	switch (r) {
	case PS_IP_OK:
		return PS_GO_ON;
	case PS_IP_VERSION:
		return PS_R_XDP_NOT_IP;
	case PS_IP_OPTIONS:
		return PS_R_XDP_IP_OPTIONS;
	case PS_IP_FRAGMENT:
		return PS_R_XDP_FRAGMENT;
	case PS_IP_TRUNCATED:
		break;
	}
	return PS_R_XDP_TRUNCATED;
}

/* The header of channel data at p: what is in the channel has the length it says, up to three bytes
 * of padding aside; or others follow, joined on their way, and all of it is the payload then. Its
 * sender's address and port are before it, with `hlen` bytes of IP header. */
static __always_inline enum ps_reason_id ps_rx_unwrap(const __u8 *p, __u32 hlen, struct ps_outer *o)
{
	const __u8 *udp = p - PS_UDP_HLEN, *ip;
	struct turn_chan_hdr h = {0};

	o->surplus = !turn_chan_parse(p, o->payload_len, &h);
	if (o->surplus && h.pad <= TURN_CHAN_PAD_MAX)
		return PS_R_XDP_CHANNEL_LEN; /* it says more than there is */
	o->payload_len = o->surplus ? o->payload_len - TURN_CHAN_HDR_LEN : h.len;
	ip = udp - hlen;
	/* Both ports, source first, are the second half of the first word. */
	o->via.word[0] = (hlen == PS_IP4_HLEN ? 4u : 6u) | (__u32)PS_LOAD(__u16, p) << 16 |
			 (__u64)PS_LOAD(__u32, udp + PS_UDP_SPORT) << 32;
	if (hlen == PS_IP4_HLEN) {
		o->via.word[1] = PS_LOAD(__u32, ip + PS_IP4_SADDR);
	} else {
		o->via.word[1] = ps_le64_at(ip + PS_IP6_SADDR);
		o->via.word[2] = ps_le64_at(ip + PS_IP6_SADDR + 8);
	}
	return PS_GO_ON;
}

/* The data header at p, o->payload_len bytes with what it seals. */
static __always_inline enum ps_reason_id ps_rx_classify_payload(const __u8 *p, const __u8 *end,
								struct ps_outer *o)
{
	if (o->payload_len < 8 || p + 8 > end)
		return PS_R_XDP_NOT_DATA;
	if (wg_msg_classify_word(ps_le32_at(p), o->payload_len) != WG_MSG_DATA ||
	    p + WG_DATA_HDR_LEN > end)
		return stun_is_message(p, o->payload_len) ? PS_R_XDP_STUN : PS_R_XDP_NOT_DATA;
	o->receiver = ps_le32_at(p + 4);
	o->counter = ps_le64_at(p + 8);
	return PS_GO_ON;
}

/* UDP and what it carries at p, after `off` bytes of link and IP header, hlen of them IP. */
static __always_inline enum ps_reason_id ps_rx_classify_udp(const __u8 *p, const __u8 *end,
							    const struct ps_ip *ip, __u32 off,
							    __u32 hlen, __be16 our_port,
							    struct ps_outer *o)
{
	enum ps_reason_id id;

	if (ip->proto != PS_IPPROTO_UDP)
		return PS_R_XDP_NOT_UDP;
	if (!ps_udp_parse(p, end, ip->len - hlen, &o->payload_len))
		return PS_R_XDP_TRUNCATED;
	if (!our_port || ps_be16_at(p + PS_UDP_DPORT) != our_port)
		return PS_R_XDP_OTHER_PORT;
	p += PS_UDP_HLEN;
	o->wg_off = off + PS_UDP_HLEN;
	o->ecn = ip->tos & PS_ECN_MASK;
	if (o->payload_len < TURN_CHAN_HDR_LEN || p + TURN_CHAN_HDR_LEN > end)
		return PS_R_XDP_NOT_DATA;
	if (!turn_is_channel(ps_host16_at(p)))
		return ps_rx_classify_payload(p, end, o);
	id = ps_rx_unwrap(p, hlen, o);
	if (id != PS_GO_ON)
		return id;
	o->wg_off += TURN_CHAN_HDR_LEN;
	return ps_rx_classify_payload(p + TURN_CHAN_HDR_LEN, end, o);
}

/* Is the frame at p a WireGuard data packet for our port? Fills *o when it is. */
static __always_inline enum ps_reason_id ps_rx_classify(const __u8 *p, const __u8 *end,
							const struct ps_config *cfg,
							struct ps_outer *o)
{
	enum ps_reason_id id;
	struct ps_ip ip = {0};
	__u16 type;
	__u32 link = ps_eth_parse(p, end, &type);

	__builtin_memset(&o->via, 0, sizeof(o->via));
	o->surplus = 0;
	o->link_len = link;
	if (!link)
		return PS_R_XDP_TRUNCATED;
	if (type == PS_ETHERTYPE_IP4) {
		id = ps_rx_of_ip(ps_ip4_parse(p + link, end, &ip));
		if (id != PS_GO_ON)
			return id;
		return ps_rx_classify_udp(p + link + PS_IP4_HLEN, end, &ip, link + PS_IP4_HLEN,
					  PS_IP4_HLEN, cfg->port4, o);
	}
	if (type == PS_ETHERTYPE_IP6) {
		id = ps_rx_of_ip(ps_ip6_parse(p + link, end, &ip));
		if (id != PS_GO_ON)
			return id;
		return ps_rx_classify_udp(p + link + PS_IP6_HLEN, end, &ip, link + PS_IP6_HLEN,
					  PS_IP6_HLEN, cfg->port6, o);
	}
	return PS_R_XDP_NOT_IP;
}

/* c: the entry of ps_channel for o->via, NULL when there is none; asked only if via is set.
 */
static __always_inline enum ps_reason_id ps_rx_channel(const struct ps_channel *c)
{
	return c ? PS_GO_ON : PS_R_XDP_NO_CHANNEL;
}

/* s: the session in the slot that the receiver index names; NULL when there is no such slot. */
static __always_inline enum ps_reason_id ps_rx_session(const struct ps_session *s, __u32 receiver,
						       __u64 now)
{
	if (!s || !receiver || PS_READ_ONCE(s->local_idx) != receiver || !(s->flags & PS_SESS_USED))
		return PS_R_XDP_NO_SESSION;
	if (!(s->flags & PS_SESS_CONFIRMED))
		return PS_R_XDP_UNCONFIRMED;
	if (now >= s->rx_until_ns)
		return PS_R_XDP_EXPIRED;
	return PS_GO_ON;
}

/* What the kernel takes from a session it serves: payloads that hold a packet and fit the cipher.
 *
 * is_gso: the frame holds several datagrams, as a sender's segmentation offload or receive offload
 * leaves them to generic XDP: their messages lie one behind the other, and judged as one message
 * they would be a forgery or a replay. No driver's frame is one: what has a surplus there is no
 * channel data. What follows a train: plan/train.h. */
static __always_inline enum ps_reason_id ps_rx_peer(const struct ps_peer_view *v,
						    const struct ps_outer *o, int is_gso)
{
	if (!(v->flags & PS_PEER_USED) || !(v->flags & PS_PEER_KERNEL))
		return PS_R_XDP_USER_MODE;
	if (is_gso)
		return PS_R_XDP_GSO;
	if (o->payload_len == WG_DATA_OVERHEAD)
		return PS_R_XDP_KEEPALIVE;
	if (o->payload_len - WG_DATA_OVERHEAD > PS_INNER_MAX)
		return PS_R_XDP_TOO_BIG;
	return o->surplus ? PS_R_XDP_CHANNEL_LEN : PS_GO_ON;
}

/* Inner bytes from which on a packet that comes alone is taken for one of the bulk. */
#define PS_RX_LONG 512

/* Whose packet it is, as far as the order of the session's packets goes. */
static __always_inline enum ps_reason_id ps_rx_order(struct ps_session *s, __u32 text_len,
						     __u64 now, const struct ps_config *cfg)
{
	if (!ps_session_held(s, now, PS_READ_ONCE(cfg->drained_ns)))
		return PS_GO_ON;
	if (text_len <= PS_RX_LONG)
		PS_WRITE_ONCE(s->rx_alone_ns, now);
	return PS_R_XDP_BULK;
}

/* The packet goes to user space for this reason: what follows it in the session must not overtake
 * it. More of what is too long will follow. A train holds back the flows in it, not its session. */
static __always_inline void ps_rx_passed(struct ps_session *s, enum ps_reason_id id, __u64 now,
					 const struct ps_config *cfg)
{
	if (id == PS_R_XDP_TOO_BIG)
		ps_session_hold(s, now, now + cfg->bulk_hold_ns);
	else if (id == PS_R_XDP_USER_MODE || id == PS_R_XDP_UNCONFIRMED)
		ps_session_hold(s, now, now);
}

/* The decrypted packet, len bytes with padding. */
static __always_inline enum ps_reason_id ps_rx_inner(const __u8 *p, const __u8 *end,
						     struct ps_inner *in)
{
	switch (ps_inner_parse(p, end, in)) {
	case PS_INNER_FLOW:
		return PS_GO_ON;
	case PS_INNER_OTHER:
		return PS_R_XDP_INNER_OTHER;
	case PS_INNER_MALFORMED:
		break;
	}
	return PS_R_XDP_INNER_MALFORMED;
}

static __always_inline enum ps_reason_id ps_rx_source(const struct ps_peer_view *v,
						      const struct ps_inner *in)
{
	int same;

	if (!(v->flags & PS_PEER_CHECK_SOURCE))
		return PS_GO_ON;
	if (in->key.family == 4)
		same = ps_words_equal(in->key.saddr, v->tun4, 4);
	else
		same = ps_words_equal(in->key.saddr, v->tun6, 16);
	return same ? PS_GO_ON : PS_R_XDP_BAD_SOURCE;
}

/* f: the entry of ps_flow_in, NULL when there is none. */
static __always_inline enum ps_reason_id ps_rx_flow(const struct ps_flow *f, __u32 peer,
						    __u32 generation, __u64 now)
{
	if (!f || f->peer != peer)
		return PS_R_XDP_NO_FLOW;
	if (f->generation != generation)
		return PS_R_XDP_FLOW_STALE;
	if (now >= f->expires_ns)
		return PS_R_XDP_FLOW_EXPIRED;
	return PS_GO_ON;
}
#endif
