/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The forwarding table as both executors see it: keys and values of the BPF maps, and nothing else.
 * docs/bpf-maps.md explains them to operators. The control thread is the only writer of everything
 * but the fields marked [data path], which either executor bumps atomically.
 *
 * Times are CLOCK_MONOTONIC nanoseconds (bpf_ktime_get_ns); 0 never occurs; ~0 is "never".
 * Addresses are in network order; IPv4 occupies the first 4 bytes of 16, the rest is zero.
 * Fixed-width types only, padding explicit, keys zeroed before use. */
#ifndef PENSTOCK_ABI_MAPS_H
#define PENSTOCK_ABI_MAPS_H
#include "compat/target.h"
#include "abi/reasons.h"
#include "abi/replay.h"

#define PS_ABI_VERSION 6

#define PS_NO_SLOT 0xffffffffu
#define PS_NEVER   (~(__u64)0)

/* Largest inner packet either executor carries (bytes), and takes from a peer at any time. What is
 * sent is bounded by ps_peer.mtu: 1280, which every peer takes, until a probe has shown more. */
#define PS_INNER_MAX 1500

enum ps_session_flags {
	PS_SESS_USED = 1,
	PS_SESS_CONFIRMED =
		2, /* user space has seen an authenticated packet: the kernel may take over */
	PS_SESS_INITIATOR = 4,
};

/* ps_session[slot], mmapable array. Our 32-bit WireGuard index carries the slot in its low bits
 * (ps_config.slot_mask); the whole index is compared. */
struct ps_session {
	/* What both directions read. */
	__u32 local_idx; /* 0: slot is free */
	__u32 remote_idx;
	__u32 peer;  /* slot in ps_peer */
	__u32 flags; /* enum ps_session_flags */
	__u64 born_ns;
	__u64 rx_until_ns;	  /* receive no later than this */
	__u64 tx_until_ns;	  /* send no later than this */
	__u64 rx_held_until_ns;	  /* [data path] what is received is user space's until then, and
				     until it has none left; 0: the kernel's */
	__u64 rx_passed_ns;	  /* [data path] while it is held: last passed to user space */
	__u64 rx_trains_until_ns; /* [data path] trains came; long packets go with them until then
				   */
	/* What receiving writes. */
	__u64 rx_kernel_packets; /* [data path] authenticated data packets, by executor; bytes are
				    inner */
	__u64 rx_kernel_bytes;
	__u64 last_rx_ns; /* [data path] last authenticated packet that was not a keepalive */
	__u64 rx_user_packets;
	__u64 rx_user_bytes;
	__u64 rx_alone_ns; /* [data path] last packet that is no bulk and came alone */
	__u64 pad_rx[2];
	/* What sending writes. */
	__u64 tx_counter; /* [data path] next nonce, taken by atomic fetch-add */
	__u64 tx_kernel_packets;
	__u64 tx_kernel_bytes;
	__u64 last_tx_ns;
	__u64 tx_user_packets;
	__u64 tx_user_bytes;
	__u64 pad_tx[2];
};

enum ps_peer_flags {
	PS_PEER_USED = 1,
	PS_PEER_CHECK_SOURCE =
		2,	    /* inner source must be tun4/tun6 (gateway); else flows alone decide */
	PS_PEER_KERNEL = 4, /* mode: this peer's established flows are the kernel's */
};

/* ps_peer[slot], mmapable array. Written under `seq` (odd while writing): a reader that sees it odd
 * or changed treats the packet as user space's. */
struct ps_peer {
	__u32 seq;
	__u32 flags;	  /* enum ps_peer_flags */
	__u32 generation; /* bumped on any revocation: flows with an older one are misses */
	__u32 tx_slot;	  /* session to send on, PS_NO_SLOT: none */
	__u8 tun4[4];
	__u8 tun6[16];
	__u32 path_ifindex; /* 0: user space sends */
	__u8 path_family;   /* 4, 6, 0: none */
	__u8 pad;
	__be16 path_channel; /* 0: direct; else path_remote is a relay, path_local ours towards it
			      */
	__be16 path_local_port;
	__be16 path_remote_port;
	__u16 mtu; /* longest inner packet sent to the peer, at most PS_INNER_MAX */
	__u8 pad2[14];
	__u8 path_local[16]; /* a cache line of its own from here */
	__u8 path_remote[16];
	__u8 pad3[32];
};

/* Key of ps_channel: a TURN channel (RFC 8656 §12) as its data arrives. */
struct ps_channel_key {
	__u8 family; /* of the packets between the relay and us: 4, 6 */
	__u8 pad;
	__be16 number;	   /* 0x4000..0x7fff */
	__be16 relay_port; /* the relay's listening address, where its packets come from */
	__be16 local_port; /* ours */
	__u8 relay[16];
};

/* ps_channel, hash: the channels on which a relay sends us what peers say. Being here opens the
 * framing, no more: whose packet it is says the session inside. */
struct ps_channel {
	__u8 peer_family; /* the address it was bound to, for display */
	__u8 pad;
	__be16 peer_port;
	__u32 pad2;
	__u8 peer[16];
	__u64 packets; /* [data path] received on it by the kernel; bytes are inner */
	__u64 bytes;
};

/* Key of ps_flow_in and ps_flow_out: the inner packet as it is in that direction.
 * ICMP and ICMPv6 echo: sport is the identifier, dport 0. */
struct ps_flow_key {
	__u32 peer; /* ps_flow_in: who sent it (ps_peer slot); ps_flow_out: 0 */
	__u8 family;
	__u8 proto;
	__u16 pad;
	__u8 saddr[16];
	__u8 daddr[16];
	__be16 sport;
	__be16 dport;
};

/* Only established, authorised flows are here. Both maps: BPF_MAP_TYPE_LRU_HASH. */
struct ps_flow {
	__u32 peer;	  /* ps_peer slot */
	__u32 generation; /* must equal the peer's */
	__u64 expires_ns; /* authorisation ends; PS_NEVER */
	__u64 packets;	  /* [data path] carried by the kernel */
	__u64 bytes;
	__u64 last_ns;
	__u64 bulk_until_ns; /* [data path] the flow's packets are user space's until then, and
				until it has none left (include/plan/flow.h); 0: the kernel's */
	__u32 resource;	     /* for display: slot in the daemon's resource table */
	__u32 pad0;
	__u8 nat; /* 1: translate (include/plan/nat.h): ps_flow_in the destination address and
		     source port, ps_flow_out the source address and destination port */
	__u8 pad;
	__be16 nat_port; /* or echo identifier */
	__u32 pad2;
	__u8 nat_addr[16]; /* of the key's family */
};

enum ps_config_flags {
	PS_CFG_RX = 1,	    /* ps_wan_rx may decrypt */
	PS_CFG_TX = 2,	    /* ps_tun_out may encrypt */
	PS_CFG_GENERIC = 4, /* ps_wan_rx runs as generic XDP somewhere */
};

/* ps_config[0], mmapable array. */
struct ps_config {
	__u32 abi; /* PS_ABI_VERSION */
	__u32 flags;
	__be16 port4; /* our UDP ports, 0: none */
	__be16 port6;
	__u32 slot_mask; /* session slots - 1, a power of two minus one */
	__u32 tun_ifindex;
	__u32 fwmark;	    /* set on packets the kernel sends */
	__u64 bulk_hold_ns; /* how long a flow stays user space's after a GSO packet, and a session
			       after a joined datagram */
	__u64 drained_ns; /* what was passed to user space before then is not on its way any more */
};

/* ps_key[slot]: how the kernel holds the two 32-byte session keys is private to bpf/keys.bpf.h.
 * This is the argument of the SEC("syscall") program ps_key_set: install (or, with set = 0, wipe)
 * one slot's keys. */
struct ps_key_args {
	__u32 slot;
	__u32 set;
	__u8 recv[32];
	__u8 send[32];
};

/* XDP metadata from ps_wan_rx to ps_wan_in: the same for every packet, or GRO would not merge them.
 */
struct ps_meta {
	__u32 magic;
	__u32 tun_ifindex;
};
#define PS_META_MAGIC 0x70734d31u

_Static_assert(sizeof(struct ps_session) == 192, "ps_session");
_Static_assert(sizeof(struct ps_peer) == 128, "ps_peer");
_Static_assert(__builtin_offsetof(struct ps_peer, path_ifindex) == 36, "ps_peer.path_ifindex");
_Static_assert(__builtin_offsetof(struct ps_peer, path_channel) == 42, "ps_peer.path_channel");
_Static_assert(__builtin_offsetof(struct ps_peer, mtu) == 48, "ps_peer.mtu");
_Static_assert(sizeof(struct ps_channel_key) == 24, "ps_channel_key");
_Static_assert(sizeof(struct ps_channel) == 40, "ps_channel");
_Static_assert(sizeof(struct ps_flow_key) == 44, "ps_flow_key");
_Static_assert(sizeof(struct ps_flow) == 80, "ps_flow");
_Static_assert(__builtin_offsetof(struct ps_flow, nat) == 56, "ps_flow.nat");
_Static_assert(__builtin_offsetof(struct ps_flow, nat_addr) == 64, "ps_flow.nat_addr");
_Static_assert(sizeof(struct ps_config) == 40, "ps_config");
_Static_assert(sizeof(struct ps_replay) == 1032, "ps_replay");
#endif
