/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Trains, and the order of what is in them. A train is a frame with several datagrams, as a
 * sender's segmentation offload or receive offload leaves them to a program in generic mode. It is
 * user space's, whole and unopened, and whatever comes behind it of the flows in it must not
 * overtake it. So each of its messages is looked into: the first block of the cipher tells its
 * flow, and the flow is held (plan/flow.h). What is not in the train stays the kernel's.
 *
 * Nothing of that look is authenticated. It steers packets to user space, which judges every case
 * by itself, and does nothing else: who forges a train can at most send flows that way whose
 * addresses and ports come out of the cipher by chance.
 *
 * The look costs a fifth of a microsecond a message. A session that has nothing but bulk saves it,
 * and is held whole; the first packet that is none goes to user space with the rest, and from then
 * on trains are looked into.
 *
 * Long packets that come alone while there are trains are most likely of a flow that is in them,
 * and dear to decrypt only to learn that: those are trains of one.
 *
 * bpf/rx.bpf.h leaves trains alone, bpf/train.bpf.h looks into them on the same processor before
 * the next frame is received there. */
#ifndef PENSTOCK_PLAN_TRAIN_H
#define PENSTOCK_PLAN_TRAIN_H
#include "plan/ingress.h"

#define PS_TRAIN_MAX 128 /* UDP_MAX_SEGMENTS of Linux */
/* So long after a packet that is no bulk trains are looked into. */
#define PS_TRAIN_LOOK_NS 1000000000ull
/* Of a message, for ps_train_message: channel header, data header. */
#define PS_TRAIN_HEAD (TURN_CHAN_HDR_LEN + WG_DATA_HDR_LEN)
/* A lone packet that was passed as a train of one is looked into even if the trains are just over
 * by then. */
#define PS_TRAIN_LATE_NS 1000000000ull

#define PS_TRAIN_OUTER (PS_ETH_HLEN + PS_IP6_HLEN + PS_UDP_HLEN)

/* Where the first datagram begins in a frame, of which the PS_TRAIN_OUTER bytes from p to end are
 * there; 0: it is not for our port. (VLAN tags are off by then.) */
static __always_inline __u32 ps_train_payload(const __u8 *p, const __u8 *end,
					      const struct ps_config *cfg)
{
	__be16 port = 0;
	__u32 hlen = 0;
	__u16 type;

	if (ps_eth_parse(p, end, &type) != PS_ETH_HLEN)
		return 0;
	p += PS_ETH_HLEN;
	if (type == PS_ETHERTYPE_IP4 && p[0] == 0x45 && p[PS_IP4_PROTO] == PS_IPPROTO_UDP) {
		hlen = PS_IP4_HLEN;
		port = cfg->port4;
	} else if (type == PS_ETHERTYPE_IP6 && p[PS_IP6_NEXT] == PS_IPPROTO_UDP) {
		hlen = PS_IP6_HLEN;
		port = cfg->port6;
	}
	if (!port || ps_be16_at(p + hlen + PS_UDP_DPORT) != port)
		return 0;
	return PS_ETH_HLEN + hlen + PS_UDP_HLEN;
}

/* A data message in a train. */
struct ps_train_msg {
	__u32 receiver;
	__u32 text_off; /* of the ciphertext, from the start of the datagram */
	__u32 text_len; /* and at most three bytes of a channel's padding */
	__u32 pad;
	__u64 counter;
};

/* Does the datagram of len bytes, of which PS_TRAIN_HEAD are at p, hold a packet? What else there
 * is (keepalives, handshakes, STUN) is no flow's. */
static __always_inline int ps_train_message(const __u8 *p, __u32 len, struct ps_train_msg *m)
{
	__u32 chan = 0;

	if (len < PS_TRAIN_HEAD)
		return 0;
	if (turn_is_channel(ps_host16_at(p))) {
		chan = TURN_CHAN_HDR_LEN;
		p += chan;
	}
	if (len <= chan + WG_DATA_OVERHEAD || ps_le32_at(p) != WG_MSG_DATA)
		return 0;
	m->receiver = ps_le32_at(p + 4);
	m->counter = ps_le64_at(p + 8);
	m->text_off = chan + WG_DATA_HDR_LEN;
	m->text_len = len - chan - WG_DATA_OVERHEAD;
	return 1;
}

/* A message for the session comes in a train. 1: it is to be looked into. 0: there is no need to,
 * all that the session receives is held. */
static __always_inline int ps_train_session(struct ps_session *s, __u32 peer_flags, __u64 now,
					    const struct ps_train_msg *m,
					    const struct ps_config *cfg)
{
	if (!(s->flags & PS_SESS_CONFIRMED) || now >= s->rx_until_ns ||
	    !(peer_flags & PS_PEER_KERNEL)) {
		ps_session_hold(s, now, now);
		return 0;
	}
	if (m->text_len > PS_INNER_MAX || now >= PS_READ_ONCE(s->rx_alone_ns) + PS_TRAIN_LOOK_NS) {
		ps_session_hold(s, now, now + cfg->bulk_hold_ns);
		return 0;
	}
	PS_WRITE_ONCE(s->rx_trains_until_ns, now + cfg->bulk_hold_ns);
	return 1;
}

/* A message that came alone and was passed: were there trains when it was judged? Then it is to be
 * looked into as well. */
static __always_inline int ps_train_alone(const struct ps_session *s, __u64 now,
					  const struct ps_train_msg *m)
{
	return m->text_len <= PS_INNER_MAX &&
	       now < PS_READ_ONCE(s->rx_trains_until_ns) + PS_TRAIN_LATE_NS;
}

/* Is the lone data packet one of the bulk? */
static __always_inline int ps_train_of_one(const struct ps_session *s, __u32 text_len, __u64 now)
{
	return text_len > PS_RX_LONG && now < PS_READ_ONCE(s->rx_trains_until_ns);
}
#endif
