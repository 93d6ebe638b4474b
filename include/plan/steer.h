/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Which processor serves a frame, decided from values alone: a hash of the path it came by (its
 * source address and port, or a relay's and the channel), so that one path is one processor. And
 * whether a frame's UDP checksum is one that a sender left to its device: bpf/steer.bpf.h asks. And
 * which frames of user space's go there by AF_XDP: bpf/xsk.bpf.h. */
#ifndef PENSTOCK_PLAN_STEER_H
#define PENSTOCK_PLAN_STEER_H
#include "plan/flow.h"
#include "plan/ingress.h"
#include "wire/csum.h"
#include "wire/ip.h"
#include "wire/udp.h"

#define PS_STEER_SLOTS 256 /* of ps_steer; a power of two, and no more processors than that */

static __always_inline __u64 ps_steer_mix(__u64 h)
{
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/* The slot in ps_steer of a frame that ps_rx_classify has let go on with *o. */
static __always_inline __u32 ps_steer_slot(const __u8 *p, const __u8 *end, const struct ps_outer *o)
{
	__u64 w0 = o->via.word[0], w1 = o->via.word[1], w2 = o->via.word[2];
	__u32 link = o->link_len == PS_ETH_HLEN ? PS_ETH_HLEN : PS_ETH_HLEN + PS_VLAN_HLEN;

	p += link;
	if (!w0 && p + PS_IP4_HLEN + PS_UDP_HLEN <= end && *p >> 4 == 4) {
		w0 = PS_LOAD(__u16, p + PS_IP4_HLEN + PS_UDP_SPORT);
		w1 = PS_LOAD(__u32, p + PS_IP4_SADDR);
	} else if (!w0 && p + PS_IP6_HLEN + PS_UDP_HLEN <= end) {
		w0 = PS_LOAD(__u16, p + PS_IP6_HLEN + PS_UDP_SPORT);
		w1 = ps_le64_at(p + PS_IP6_SADDR);
		w2 = ps_le64_at(p + PS_IP6_SADDR + 8);
	}
	w0 = ps_steer_mix(ps_steer_mix(ps_steer_mix(w0) ^ w1) ^ w2);
	return (__u32)(w0 >> 16) & (PS_STEER_SLOTS - 1);
}

/* ---- AF_XDP: sockets by receive queue ---- */

#define PS_XSK_WANS   4	 /* interfaces */
#define PS_XSK_QUEUES 64 /* receive queues of each that may have a socket */

/* The socket's place in ps_xsk; PS_NO_SLOT: it has none. */
static __always_inline __u32 ps_xsk_slot(__u32 wan, __u32 queue)
{
	return wan < PS_XSK_WANS && queue < PS_XSK_QUEUES ? wan * PS_XSK_QUEUES + queue
							  : PS_NO_SLOT;
}

/* May a frame that ps_rx_classify has let go on, and that is user space's, go there by AF_XDP? All
 * direct data of a session of ours, or none of it, whatever else is the matter with it: what came
 * by two ways could overtake. What names no session may be another machine's, on its way through
 * this one; it stays with the stack, as do a relay's channels and tagged frames.
 * s: the session in the slot that the receiver index names, NULL: none. */
static __always_inline int ps_xsk_takes(const struct ps_session *s, const struct ps_outer *o)
{
	return !o->via.word[0] && o->link_len == PS_ETH_HLEN && s && o->receiver &&
	       PS_READ_ONCE(s->local_idx) == o->receiver && s->flags & PS_SESS_USED;
}

/* ---- CPUMAP: busy paths ---- */

#define PS_BUSY_RUN 128	    /* packets that are timed together */
#define PS_BUSY_NS  2000000 /* faster than this they are busy */

/* Of the path, before it changes. What was decrypted where it arrived waits there once more, for
 * the tunnel device's receive path: for microseconds, unless that processor is not let run its
 * softirq. Then packets of a sender that moves to another processor overtake each other as well,
 * with or without us. */
#define PS_BUSY_PAUSE_NS 1000000

/* What is known of the paths of one slot. The first line is written where they arrive, `done` where
 * they are handed to. */
struct ps_busy {
	__u64 last_ns; /* of the last one */
	__u64 since;   /* when the run at hand began */
	__u32 packets; /* of the run at hand */
	__u32 fast;    /* the last run was */
	__u32 to;      /* the processor they are handed to, plus one; 0: none */
	__u32 sent;    /* handed to it */
	__u32 passed;  /* of the run at hand, user space's; by either processor, roughly */
	__u8 pad[20];
	__u32 done; /* of these, begun there */
	__u8 pad2[60];
};

/* A packet has come: the processor it is handed to, plus one, or 0 when it stays. `other` is what
 * there is for a choice. That changes in a pause only, when nothing of the path is under way: of
 * what was handed on the other processor keeps count. A frame that found no room there is under way
 * for ever, so that a long silence will do as well. */
static __always_inline __u32 ps_busy_to(struct ps_busy *b, __u64 now, __u32 other)
{
	__u32 to = PS_READ_ONCE(b->to), n = PS_READ_ONCE(b->packets) + 1;
	__u32 sent = PS_READ_ONCE(b->sent);
	__u64 last = PS_READ_ONCE(b->last_ns), since = PS_READ_ONCE(b->since);
	__u64 silence = last < now ? now - last : 0;

	PS_WRITE_ONCE(b->last_ns, now);
	if (silence >= PS_FORCE_NS ||
	    (silence >= PS_BUSY_PAUSE_NS && (!to || sent == PS_READ_ONCE(b->done)))) {
		to = PS_READ_ONCE(b->fast) && silence < PS_FORCE_NS ? other + 1 : 0;
		sent = 0;
		PS_WRITE_ONCE(b->done, 0);
		PS_WRITE_ONCE(b->to, to);
	}
	if (n >= PS_BUSY_RUN) {
		PS_WRITE_ONCE(b->fast, since < now && now - since < PS_BUSY_NS &&
					       PS_READ_ONCE(b->passed) < PS_BUSY_RUN / 4);
		PS_WRITE_ONCE(b->passed, 0);
		PS_WRITE_ONCE(b->since, now);
		n = 0;
	}
	PS_WRITE_ONCE(b->packets, n);
	if (to)
		PS_WRITE_ONCE(b->sent, sent + 1);
	return to;
}

/* The packet was not decrypted: of a path that is user space's, whose threads need the other
 * processor, nothing is to be handed on. */
static __always_inline void ps_busy_passed(struct ps_busy *b)
{
	PS_WRITE_ONCE(b->passed, PS_READ_ONCE(b->passed) + 1);
}

/* ---- CPUMAP: checksums ---- */

#define PS_STEER_SUM_MAX 9216 /* UDP bytes that are summed: a jumbo frame */

enum ps_steer_sum {
	PS_STEER_SUM_DONE, /* somebody's checksum, right or wrong, or none */
	PS_STEER_SUM_4,	   /* unfinished: IPv4 may go without */
	PS_STEER_SUM_6,	   /* unfinished: IPv6 must have it */
};

/* Is the UDP checksum the bare sum of the pseudo header, as a stack writes it that leaves the rest
 * to the device? *at: of the UDP header in the frame, *len: its bytes. A finished checksum looks so
 * by chance once in 65536; finishing it again then makes it right again. */
static __always_inline enum ps_steer_sum ps_steer_unfinished(const __u8 *p, const __u8 *end,
							     __u32 *at, __u32 *len)
{
	__u16 type, have;
	__u32 off = ps_eth_parse(p, end, &type);
	const __u8 *ip = p + (off == PS_ETH_HLEN ? PS_ETH_HLEN : PS_ETH_HLEN + PS_VLAN_HLEN), *udp;
	__u32 hlen = type == PS_ETHERTYPE_IP4 ? PS_IP4_HLEN : PS_IP6_HLEN;
	__u64 sum;

	if (!off || (type != PS_ETHERTYPE_IP4 && type != PS_ETHERTYPE_IP6))
		return PS_STEER_SUM_DONE;
	udp = ip + hlen;
	if (udp + PS_UDP_HLEN > end)
		return PS_STEER_SUM_DONE;
	*at = off + hlen;
	*len = ps_host16_at(udp + PS_UDP_LEN);
	sum = (__u64)PS_LOAD(__u16, udp + PS_UDP_LEN) + ps_be16(PS_IPPROTO_UDP);
	if (hlen == PS_IP4_HLEN)
		sum += ps_csum_words(ip + PS_IP4_SADDR, 8);
	else
		sum += ps_csum_words(ip + PS_IP6_SADDR, 32);
	have = PS_LOAD(__u16, udp + PS_UDP_CSUM);
	if (have == 0 || have != ps_csum_fold(sum))
		return PS_STEER_SUM_DONE;
	return hlen == PS_IP4_HLEN ? PS_STEER_SUM_4 : PS_STEER_SUM_6;
}
#endif
