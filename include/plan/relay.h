/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * What becomes of a packet at the relay, decided from values alone: no map, no clock; and the bytes
 * it becomes. bpf/relay.bpf.h strings these steps together in the order of this file; the tests run
 * them natively beside the program.
 *
 *   link, IP -> UDP -> (port) -> channel header | plain datagram -> route -> plan -> write
 *
 * Every step but the last returns the fate of the packet or PS_GO_ON, and changes nothing; after
 * the plan only the driver can refuse, and writing cannot fail.
 *
 * One rewrite serves all combinations: what comes in is described by ps_relay_pkt, what goes out by
 * the last route. Between channels of two clients of this relay there are two routes, and what they
 * add to the checksum adds up: the datagram between them exists in no frame. */
#ifndef PENSTOCK_PLAN_RELAY_H
#define PENSTOCK_PLAN_RELAY_H
#include "abi/turn_maps.h"
#include "plan/verdict.h"
#include "wire/csum.h"
#include "wire/eth.h"
#include "wire/ip.h"
#include "wire/turn.h"
#include "wire/udp.h"

/* A packet as it came. Words named _raw are as they lie in memory. */
struct ps_relay_pkt {
	__u32 link_len;	   /* Ethernet and VLAN headers */
	__u32 head_len;	   /* all headers in front of the application data */
	__u32 data_len;	   /* application data */
	__u32 pad_len;	   /* ChannelData padding behind it */
	__u32 id_frag_raw; /* IPv4: identification and fragment word; IPv6: what to send in IPv4 */
	__u16 udp_len_raw;
	__u16 check_raw;
	__u16 chan_len_raw; /* 0: plain datagram */
	__u16 pad_sum;	    /* of the padding; whoever can read it fills it in */
	__be16 sport;
	__be16 dport;
	__be16 channel; /* 0: plain datagram */
	__u8 family;
	__u8 tos;
	__u8 ttl;
	__u8 joined;	 /* told before parsing: several datagrams, data_len is of all of them */
	__u8 unfinished; /* ps_relay_unfinished, where it is asked */
	__u8 pad;
};

/* What it becomes. */
struct ps_relay_plan {
	int head;     /* by so much the start of the packet moves: negative, it grows */
	__u16 ip_len; /* IPv4's total length, IPv6's with its header */
	__u16 udp_len;
	__u16 check_raw;
	__u16 pad;
};

/* Link header, kept across the move. */
struct ps_relay_link {
	__u32 dst_hi, src_hi; /* the first four bytes of the addresses, as in memory */
	__u16 dst_lo, src_lo; /* the last two */
	__u32 tag[2];	      /* VLAN tags */
};

static __always_inline enum ps_reason_id ps_relay_alive(const struct ps_turn_cfg *cfg, __u64 now)
{
	return now < PS_READ_ONCE(cfg->alive_until_ns) ? PS_GO_ON : PS_R_RXDP_DAEMON_GONE;
}

/* ---- parsing ------------------------------------------------------------------------------------
 */

static __always_inline enum ps_reason_id ps_relay_of_ip(enum ps_ip_result r)
{
	switch (r) {
	case PS_IP_OK:
		return PS_GO_ON;
	case PS_IP_VERSION:
		return PS_R_RXDP_NOT_IP;
	case PS_IP_OPTIONS:
		return PS_R_RXDP_IP_OPTIONS;
	case PS_IP_FRAGMENT:
		return PS_R_RXDP_FRAGMENT;
	case PS_IP_TRUNCATED:
		break;
	}
	return PS_R_RXDP_TRUNCATED;
}

/* UDP header at p, behind an IP header that leaves it `room` bytes. */
static __always_inline enum ps_reason_id ps_relay_udp(const __u8 *p, const __u8 *end,
						      const struct ps_ip *ip,
						      struct ps_relay_pkt *k)
{
	if (ip->proto != PS_IPPROTO_UDP)
		return PS_R_RXDP_NOT_UDP;
	if (!ps_udp_parse(p, end, ip->len - ip->hlen, &k->data_len))
		return PS_R_RXDP_TRUNCATED;
	k->tos = ip->tos;
	k->head_len = k->link_len + ip->hlen + PS_UDP_HLEN;
	k->sport = ps_be16_at(p + PS_UDP_SPORT);
	k->dport = ps_be16_at(p + PS_UDP_DPORT);
	k->udp_len_raw = PS_LOAD(__u16, p + PS_UDP_LEN);
	k->check_raw = PS_LOAD(__u16, p + PS_UDP_CSUM);
	return PS_GO_ON;
}

/* IPv4 at p. The header's checksum is verified: a wrong one would be made right on the way out. */
static __always_inline enum ps_reason_id ps_relay_ip4(const __u8 *p, const __u8 *end,
						      struct ps_relay_pkt *k)
{
	struct ps_ip ip = {0};
	enum ps_reason_id id = ps_relay_of_ip(ps_ip4_parse(p, end, &ip));
	__u64 sum = 0;

	if (id != PS_GO_ON)
		return id;
	id = ps_relay_udp(p + PS_IP4_HLEN, end, &ip, k);
	if (id != PS_GO_ON)
		return id;
	for (unsigned int i = 0; i < PS_IP4_HLEN; i += 4)
		sum += PS_LOAD(__u32, p + i);
	if (ps_csum_fold(sum) != 0xffff)
		return PS_R_RXDP_BAD_SUM;
	k->family = 4;
	k->ttl = p[PS_IP4_TTL];
	k->id_frag_raw = PS_LOAD(__u32, p + PS_IP4_ID);
	return PS_GO_ON;
}

static __always_inline enum ps_reason_id ps_relay_ip6(const __u8 *p, const __u8 *end,
						      struct ps_relay_pkt *k)
{
	struct ps_ip ip = {0};
	enum ps_reason_id id = ps_relay_of_ip(ps_ip6_parse(p, end, &ip));

	if (id != PS_GO_ON)
		return id;
	id = ps_relay_udp(p + PS_IP6_HLEN, end, &ip, k);
	if (id != PS_GO_ON)
		return id;
	k->family = 6;
	k->ttl = p[PS_IP6_HOPS];
	k->id_frag_raw = (__u32)ps_be16(PS_IP4_DF) << 16; /* IPv6 is never fragmented on the way */
	return PS_GO_ON;
}

/* May the checksum of the packet at p, which has been parsed, be left to a device to complete? Its
 * field then holds the sum of the pseudo-header, and the kernel remembers beside the packet where
 * the rest belongs: a place that moves away from it when the switch moves the headers. Of the
 * finished ones one in 65,536 looks like that. */
static __always_inline int ps_relay_unfinished(const __u8 *p, const struct ps_relay_pkt *k)
{
	__u64 sum = (__u64)k->udp_len_raw + ps_be16(PS_IPPROTO_UDP);
	unsigned int at = k->family == 4 ? PS_IP4_SADDR : PS_IP6_SADDR;
	unsigned int len = k->family == 4 ? 8 : 32;

	for (unsigned int i = 0; i < 32; i += 4)
		if (i < len)
			sum += PS_LOAD(__u32, p + at + i);
	return ps_csum_fold(sum) == k->check_raw;
}

/* UDP payload at p, addressed to the relay's own port. */
static __always_inline enum ps_reason_id ps_relay_channel(const __u8 *p, const __u8 *end,
							  struct ps_relay_pkt *k)
{
	struct turn_chan_hdr h = {0};

	if (k->data_len < TURN_CHAN_HDR_LEN || p + TURN_CHAN_HDR_LEN > end ||
	    !turn_is_channel(ps_host16_at(p)))
		return PS_R_RXDP_NOT_CHANNEL;
	if (!turn_chan_parse(p, k->data_len, &h) && !k->joined)
		return PS_R_RXDP_CHANNEL_LENGTH;
	k->head_len += TURN_CHAN_HDR_LEN;
	k->channel = ps_be16_at(p);
	k->chan_len_raw = PS_LOAD(__u16, p + 2);
	k->data_len = h.len;
	k->pad_len = h.pad;
	return PS_GO_ON;
}

/* What the padding bytes (pad_len of them) contribute to the checksum. */
static __always_inline __u16 ps_relay_pad_sum(const struct ps_relay_pkt *k, const __u8 pad[3])
{
	__u32 sum = 0;

	for (__u32 i = 0; i < TURN_CHAN_PAD_MAX; i++)
		if (i < k->pad_len)
			sum += (k->data_len + i) & 1 ? (__u32)pad[i] << 8 : pad[i];
	return ps_csum_fold(sum);
}

/* ---- judging ------------------------------------------------------------------------------------
 */

#define PS_TURN_PAUSE_NS 15000000ull /* longer than user space takes over a datagram */

/* Is this datagram user space's, and why? id: PS_GO_ON, or what the kernel cannot do with it. Those
 * that follow joined ones on their channel take the same way, or they would overtake them; a pause
 * gives them back. A sender that leaves one checksum to others leaves all: nothing has to follow
 * those. s: of the direction. Changes s only. */
static __always_inline enum ps_reason_id ps_relay_users(struct ps_turn_stat *s,
							enum ps_reason_id id, __u64 now)
{
	__u64 last = PS_READ_ONCE(s->passed_ns);

	if (id != PS_R_RXDP_GSO) {
		if (!last)
			return id;
		if (now >= last + PS_TURN_PAUSE_NS) {
			PS_WRITE_ONCE(s->passed_ns, 0);
			return id;
		}
	}
	PS_WRITE_ONCE(s->passed_ns, now);
	return id == PS_GO_ON ? PS_R_RXDP_BULK : id;
}

/* r: where the key led, not NULL; daddr: the packet's destination. */
static __always_inline enum ps_reason_id ps_relay_route(const struct ps_turn_route *r,
							const struct ps_relay_pkt *k,
							const __u8 *daddr, __u64 now)
{
	if (now >= r->expires_ns)
		return PS_R_RXDP_EXPIRED;
	if (!ps_words_equal(r->local, daddr, k->family == 4 ? 4 : 16))
		return PS_R_RXDP_OTHER_ADDRESS;
	if (!k->channel && (r->flags & PS_TURN_SELF))
		return PS_R_RXDP_FROM_SELF;
	return PS_GO_ON;
}

/* A peer's packet that no channel awaits. open: the port's bit. */
static __always_inline enum ps_reason_id ps_relay_no_peer(const struct ps_turn_cfg *cfg,
							  const __u8 *daddr, int family, int open)
{
	if (!ps_words_equal(family == 4 ? cfg->own4 : cfg->own6, daddr, family == 4 ? 4 : 16))
		return PS_R_RXDP_OTHER_ADDRESS;
	return open ? PS_R_RXDP_NO_PEER : PS_R_RXDP_PROBE;
}

/* self: where the datagram that `first` makes would lead on this relay, NULL for nowhere. */
static __always_inline enum ps_reason_id ps_relay_self(const struct ps_turn_route *first,
						       const struct ps_turn_route *self, __u64 now)
{
	if (!self || !ps_words_equal(self->local, first->saddr, 16))
		return PS_R_RXDP_NO_SELF;
	return now < self->expires_ns ? PS_GO_ON : PS_R_RXDP_EXPIRED;
}

/* The UDP checksum going out: RFC 1624's update over what changed, which is lengths, padding and
 * what the routes know. IPv4's "none" stays. */
static __always_inline __u16 ps_relay_check(const struct ps_relay_pkt *k,
					    const struct ps_relay_plan *plan, __u32 route_sum,
					    int chan_out)
{
	__u32 sum = (__u16)~k->check_raw + route_sum + (__u16)~k->pad_sum;
	__u16 check;

	if (!k->check_raw)
		return 0;
	sum += 2u * (__u16)~k->udp_len_raw + 2u * ps_be16(plan->udp_len) + (__u16)~k->chan_len_raw;
	if (chan_out)
		sum += ps_be16(k->data_len);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	check = (__u16)~sum;
	return check ? check : 0xffff;
}

/* first, out: the packet's route, and the one it leaves by: the same, but between two clients. */
static __always_inline enum ps_reason_id ps_relay_plan(const struct ps_relay_pkt *k,
						       const struct ps_turn_cfg *cfg,
						       const struct ps_turn_route *first,
						       const struct ps_turn_route *out,
						       struct ps_relay_plan *plan)
{
	__u32 hlen = out->family == 4 ? PS_IP4_HLEN : PS_IP6_HLEN;
	__u32 udp_len = PS_UDP_HLEN + k->data_len + (out->channel ? TURN_CHAN_HDR_LEN : 0);
	__u32 route_sum = first->udp_sum;

	if (k->ttl <= 1)
		return PS_R_RXDP_TTL;
	if (hlen + udp_len > cfg->mtu)
		return PS_R_RXDP_TOO_BIG;
	if (!k->check_raw && (k->family != 4 || out->family != 4))
		return PS_R_RXDP_NO_SUM;
	if (out != first)
		route_sum += out->udp_sum;
	plan->head = (int)(k->head_len - k->link_len) - (int)(hlen + udp_len - k->data_len);
	plan->ip_len = (__u16)(hlen + udp_len);
	plan->udp_len = (__u16)udp_len;
	plan->check_raw = ps_relay_check(k, plan, route_sum, out->channel != 0);
	return PS_GO_ON;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

/* Keep the link header of the frame at p, which has been parsed. */
static __always_inline void ps_relay_link_get(const __u8 *p, const struct ps_relay_pkt *k,
					      struct ps_relay_link *l)
{
	l->dst_hi = PS_LOAD(__u32, p);
	l->dst_lo = PS_LOAD(__u16, p + 4);
	l->src_hi = PS_LOAD(__u32, p + 6);
	l->src_lo = PS_LOAD(__u16, p + 10);
	l->tag[0] = l->tag[1] = 0;
	if (k->link_len > PS_ETH_HLEN)
		l->tag[0] = PS_LOAD(__u32, p + PS_ETH_TYPE_OFF);
	if (k->link_len > PS_ETH_HLEN + PS_VLAN_HLEN)
		l->tag[1] = PS_LOAD(__u32, p + PS_ETH_TYPE_OFF + PS_VLAN_HLEN);
}

/* To the station it came from, or, with mac, to that one; from the address it was sent to. */
static __always_inline void ps_relay_link_turn(struct ps_relay_link *l, const __u8 *mac)
{
	__u32 hi = l->dst_hi;
	__u16 lo = l->dst_lo;

	l->dst_hi = mac ? PS_LOAD(__u32, mac) : l->src_hi;
	l->dst_lo = mac ? PS_LOAD(__u16, mac + 4) : l->src_lo;
	l->src_hi = hi;
	l->src_lo = lo;
}

static __always_inline void ps_relay_link_put(__u8 *p, const struct ps_relay_pkt *k,
					      const struct ps_relay_link *l, int family)
{
	__u16 type = (__u16)ps_be16(family == 4 ? PS_ETHERTYPE_IP4 : PS_ETHERTYPE_IP6);

	PS_STORE(__u32, p, l->dst_hi);
	PS_STORE(__u16, p + 4, l->dst_lo);
	PS_STORE(__u32, p + 6, l->src_hi);
	PS_STORE(__u16, p + 10, l->src_lo);
	if (k->link_len == PS_ETH_HLEN) {
		PS_STORE(__u16, p + PS_ETH_TYPE_OFF, type);
		return;
	}
	PS_STORE(__u32, p + PS_ETH_TYPE_OFF, l->tag[0]);
	if (k->link_len == PS_ETH_HLEN + PS_VLAN_HLEN) {
		PS_STORE(__u16, p + PS_ETH_TYPE_OFF + PS_VLAN_HLEN, type);
		return;
	}
	PS_STORE(__u32, p + PS_ETH_TYPE_OFF + PS_VLAN_HLEN, l->tag[1]);
	PS_STORE(__u16, p + PS_ETH_TYPE_OFF + 2 * PS_VLAN_HLEN, type);
}

static __always_inline void ps_relay_put_ip4(__u8 *p, const struct ps_relay_pkt *k,
					     const struct ps_relay_plan *plan,
					     const struct ps_turn_route *out)
{
	__u32 len = ps_be16(plan->ip_len), ttl = (__u32)k->ttl - 1;
	__u32 sum = out->ip_sum + ((__u32)k->tos << 8) + len + (k->id_frag_raw & 0xffff) +
		    (k->id_frag_raw >> 16) + ttl;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	PS_STORE(__u32, p, len << 16 | (__u32)k->tos << 8 | 0x45);
	PS_STORE(__u32, p + PS_IP4_ID, k->id_frag_raw);
	PS_STORE(__u32, p + PS_IP4_TTL, (~sum & 0xffff) << 16 | PS_IPPROTO_UDP << 8 | ttl);
	PS_STORE(__u32, p + PS_IP4_SADDR, PS_LOAD(__u32, out->saddr));
	PS_STORE(__u32, p + PS_IP4_DADDR, PS_LOAD(__u32, out->daddr));
}

static __always_inline void ps_relay_put_ip6(__u8 *p, const struct ps_relay_pkt *k,
					     const struct ps_relay_plan *plan,
					     const struct ps_turn_route *out)
{
	__u32 ttl = (__u32)k->ttl - 1;

	PS_STORE(__u32, p, (__u32)ps_be32(6u << 28 | (__u32)k->tos << 20));
	PS_STORE(__u32, p + PS_IP6_LEN, ttl << 24 | PS_IPPROTO_UDP << 16 | ps_be16(plan->udp_len));
	for (unsigned int i = 0; i < 16; i += 8) {
		PS_STORE(__u64, p + PS_IP6_SADDR + i, PS_LOAD(__u64, out->saddr + i));
		PS_STORE(__u64, p + PS_IP6_DADDR + i, PS_LOAD(__u64, out->daddr + i));
	}
}

/* UDP header, and a channel header behind it when there is one. */
static __always_inline void ps_relay_put_udp(__u8 *p, const struct ps_relay_plan *plan,
					     const struct ps_turn_route *out)
{
	PS_STORE(__u16, p + PS_UDP_SPORT, out->sport);
	PS_STORE(__u16, p + PS_UDP_DPORT, out->dport);
	PS_STORE(__u16, p + PS_UDP_LEN, (__u16)ps_be16(plan->udp_len));
	PS_STORE(__u16, p + PS_UDP_CSUM, plan->check_raw);
}

static __always_inline int ps_relay_put_channel(__u8 *p, const __u8 *end,
						const struct ps_relay_pkt *k,
						const struct ps_turn_route *out)
{
	if (!out->channel)
		return 1;
	if (p + TURN_CHAN_HDR_LEN > end)
		return 0;
	PS_STORE(__u32, p, (__u32)ps_be16(k->data_len) << 16 | out->channel);
	return 1;
}

/* Write all headers into the frame at p, whose start has been moved as planned. 0: it is shorter
 * than planned, which cannot be; the verifier wants to hear it. */
static __always_inline int ps_relay_write(__u8 *p, const __u8 *end, const struct ps_relay_pkt *k,
					  const struct ps_relay_plan *plan,
					  const struct ps_relay_link *l,
					  const struct ps_turn_route *out)
{
	__u8 *ip = p + k->link_len;

	if (p + PS_ETH_HLEN + 2 * PS_VLAN_HLEN > end)
		return 0;
	if (out->family == 4) {
		if (ip + PS_IP4_HLEN + PS_UDP_HLEN > end)
			return 0;
		ps_relay_link_put(p, k, l, 4);
		ps_relay_put_ip4(ip, k, plan, out);
		ps_relay_put_udp(ip + PS_IP4_HLEN, plan, out);
		return ps_relay_put_channel(ip + PS_IP4_HLEN + PS_UDP_HLEN, end, k, out);
	}
	if (ip + PS_IP6_HLEN + PS_UDP_HLEN > end)
		return 0;
	ps_relay_link_put(p, k, l, 6);
	ps_relay_put_ip6(ip, k, plan, out);
	ps_relay_put_udp(ip + PS_IP6_HLEN, plan, out);
	return ps_relay_put_channel(ip + PS_IP6_HLEN + PS_UDP_HLEN, end, k, out);
}
#endif
