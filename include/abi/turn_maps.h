/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The relay's switching tables as the kernel holds them: keys and values of the ps_turn_* maps.
 * docs/bpf-maps.md explains them to operators. The relay's control thread is the only writer of
 * everything but the fields marked [data path].
 *
 * A key has the family of the address in it, and is small because hashing it is most of a lookup:
 * each family has its own pair of maps. What goes out, of whichever family, is in the value.
 *
 * Times are CLOCK_MONOTONIC nanoseconds, read by the data path at the scheduler's tick
 * (bpf_ktime_get_coarse_ns). Addresses and ports are in network order; IPv4 occupies the first 4
 * bytes of 16, the rest is zero. Fixed-width types only, padding explicit, keys zeroed before use.
 */
#ifndef PENSTOCK_ABI_TURN_MAPS_H
#define PENSTOCK_ABI_TURN_MAPS_H
#include "compat/target.h"
#include "abi/reasons.h"

#define PS_TURN_ABI_VERSION 2

/* ps_turn_chan4, ps_turn_chan6: channel data of a client. */
struct ps_turn_chan4 {
	__u8 client[4];
	__be16 client_port;
	__be16 channel;
};

struct ps_turn_chan6 {
	__u8 client[16];
	__be16 client_port;
	__be16 channel;
};

/* ps_turn_peer4, ps_turn_peer6: a datagram of a peer for a relayed address. */
struct ps_turn_peer4 {
	__u8 peer[4];
	__be16 peer_port;
	__be16 port; /* the allocation's */
};

struct ps_turn_peer6 {
	__u8 peer[16];
	__be16 peer_port;
	__be16 port;
};

enum ps_turn_route_flags {
	PS_TURN_SELF = 1, /* the peer is a relayed address of this relay: look there as well */
	PS_TURN_NEAR =
		2, /* no router leads there, whatever the routes are: loopback and the like */
};

/* What a packet that meets the key becomes. Sums are one's complement sums of 16-bit words as they
 * lie in memory, folded; everything that is the same for all packets of the binding is in them. */
struct ps_turn_route {
	__u64 expires_ns; /* forward before this only */
	__u32 stat;	  /* index in ps_turn_stat */
	__u8 family;	  /* of what goes out: 4, 6 */
	__u8 flags;	  /* enum ps_turn_route_flags */
	__u16 udp_sum;	  /* addresses, ports and channel number going out less those coming in */
	__u16 ip_sum;	  /* IPv4 out: version, protocol, addresses; else 0 */
	__be16 channel;	  /* going out; 0: a plain datagram, to a peer */
	__be16 sport;
	__be16 dport;
	__u8 local[16]; /* what the packet coming in is addressed to, in the key's family */
	__u8 saddr[16];
	__u8 daddr[16];
};

/* ps_turn_stat[route.stat], mmapable array. A binding with index i counts client to peer in [i] and
 * peer to client in [n / 2 + i], n the array's length. */
struct ps_turn_stat {
	__u64 packets; /* [data path] */
	__u64 bytes;   /* [data path] application data */
	__u64 last_ns; /* [data path] */
	/* [data path] joined datagrams were passed to user space, and others behind them, the last
	 * one then; 0: none waits there */
	__u64 passed_ns;
};

/* Of ps_turn_port's bitmaps. */
enum ps_turn_family { PS_TURN_V4, PS_TURN_V6, PS_TURN_FAMILIES };

#define PS_TURN_PORT_WORDS 1024

/* ps_turn_port[0], mmapable array: bit `port & 63` of word `port >> 6`, port in host order. */
struct ps_turn_port {
	__u64 own[PS_TURN_FAMILIES][PS_TURN_PORT_WORDS]; /* the port is an allocation's */
	/* and somebody without a channel may send to it: such a packet is user space's. Else it is
	 * a probe, and dropped. */
	__u64 open[PS_TURN_FAMILIES][PS_TURN_PORT_WORDS];
};

/* How the switch finds the MAC addresses of the frame it sends. */
enum ps_turn_hop {
	PS_TURN_HOP_SWAP, /* back to the station it came from: one router leads everywhere */
	PS_TURN_HOP_MAC,  /* to the configured station */
	PS_TURN_HOP_FIB,  /* as the kernel's routes and neighbours say, perhaps by another device */
	PS_TURN_HOP_AUTO, /* to the default router, as ps_turn_way says; what is not behind it as
			     FIB */
};

#define PS_TURN_NEAR_MAX  8
#define PS_TURN_PORTS_MAX 4

/* The way to the default router of one family. */
struct ps_turn_router {
	__u32 ifindex;	/* 0: not known */
	__u32 near_len; /* prefixes in near4, near6 */
	__u8 dst[6];	/* the router's */
	__u8 src[6];	/* the interface's */
	__u32 pad;
};

/* Prefixes that are not behind the router: on the link, or routed otherwise. Words as they lie in
 * memory. */
struct ps_turn_near4 {
	__u32 net;
	__u32 mask;
};

struct ps_turn_near6 {
	__u64 net[2];
	__u64 mask[2];
};

/* ps_turn_way[ps_turn_cfg.way & 1], mmapable array of two: one is used while the other is written.
 */
struct ps_turn_way {
	struct ps_turn_router v4, v6;
	__u32 ports[PS_TURN_PORTS_MAX]; /* interfaces that frames which came by another one may be
					   sent out of; 0: none */
	struct ps_turn_near4 near4[PS_TURN_NEAR_MAX];
	struct ps_turn_near6 near6[PS_TURN_NEAR_MAX];
};

/* Of ps_turn_cfg.flags. */
#define PS_TURN_GENERIC 1 /* ps_relay runs as generic XDP somewhere: frames may be joined */
#define PS_TURN_LOCAL	2 /* a sender on this machine may have left the checksum to a device */

/* ps_turn_cfg[0], mmapable array. */
struct ps_turn_cfg {
	__u32 abi; /* PS_TURN_ABI_VERSION */
	__u16 mtu; /* longest IP packet the switch sends */
	__be16 listen_port;
	__u64 alive_until_ns; /* the daemon lives at least until then: nothing is done later */
	__u8 own4[4];	      /* relayed addresses as packets from the network carry them; zero:
				 none */
	__u8 own6[16];
	__u8 hop; /* enum ps_turn_hop */
	__u8 flags;
	__u8 hop_mac[6];
	__u32 way; /* which ps_turn_way is the valid one */
};

_Static_assert(sizeof(struct ps_turn_chan4) == 8, "ps_turn_chan4");
_Static_assert(sizeof(struct ps_turn_chan6) == 20, "ps_turn_chan6");
_Static_assert(sizeof(struct ps_turn_peer4) == 8, "ps_turn_peer4");
_Static_assert(sizeof(struct ps_turn_peer6) == 20, "ps_turn_peer6");
_Static_assert(sizeof(struct ps_turn_route) == 72, "ps_turn_route");
_Static_assert(__builtin_offsetof(struct ps_turn_route, udp_sum) == 14, "ps_turn_route.udp_sum");
_Static_assert(__builtin_offsetof(struct ps_turn_route, local) == 24, "ps_turn_route.local");
_Static_assert(sizeof(struct ps_turn_stat) == 32, "ps_turn_stat");
_Static_assert(sizeof(struct ps_turn_port) == 32768, "ps_turn_port");
_Static_assert(sizeof(struct ps_turn_router) == 24, "ps_turn_router");
_Static_assert(sizeof(struct ps_turn_way) == 384, "ps_turn_way");
_Static_assert(sizeof(struct ps_turn_cfg) == 48, "ps_turn_cfg");
_Static_assert(__builtin_offsetof(struct ps_turn_cfg, own4) == 16, "ps_turn_cfg.own4");
#endif
