/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay's XDP switch: load it, attach it, mirror bound channels into its tables, read its
 * counters, leave nothing behind. Which bindings exist is the relay machine's decision; the switch
 * is a cache of them, and everything it does not know goes to the relay's sockets unmodified.
 *
 * The switch forwards only while bpf_relay_alive has been called within the last
 * BPF_RELAY_ALIVE_NS, and a binding only until its own expiry: a killed or stuck daemon relays
 * nothing for longer than that.
 *
 * Order: bpf_relay_port_set, then bpf_relay_bind_set, both before the response that tells the
 * client leaves; bpf_relay_bind_del for all bindings of an allocation before its port goes. */
#ifndef PENSTOCK_IO_BPF_RELAY_H
#define PENSTOCK_IO_BPF_RELAY_H
#include "abi/turn_maps.h"
#include "base/addr.h"
#include "io/bpf_load.h"

#define BPF_RELAY_ALIVE_NS 3000000000u

struct bpf_relay_cfg {
	const char *instance; /* [A-Za-z0-9_-]{1,31}; not that of a gateway or client */
	int ifindex[BPF_WAN_MAX];
	size_t if_len;
	/* Not BPF_XDP_OFF: do not open it then. AUTO: native, generic where the driver cannot, and
	 * on a veth, whose native mode loses what is sent to a peer without a program. */
	enum bpf_xdp_mode xdp_mode;
	bool force_single; /* no libxdp dispatcher (also: PENSTOCK_XDP_SINGLE=1) */
	enum ps_turn_hop hop;
	uint8_t hop_mac[6];   /* PS_TURN_HOP_MAC */
	uint16_t listen_port; /* host order */
	uint16_t mtu;	      /* 0: the smallest of the interfaces' */
	/* Relayed addresses as packets carry them on these interfaces: behind a cloud's NAT the
	 * private ones. Family 0: none. */
	struct ipaddr own4, own6;
	/* The same as clients and peers know them. Family 0: as own. */
	struct ipaddr public4, public6;
	uint32_t bindings; /* table size; binding indices are below it */
};

/* One bound channel. Everything but the expiry is the binding's identity. */
struct bpf_relay_bind {
	struct endpoint client; /* as its packets' source */
	struct endpoint local;	/* what the client talks to, as its packets' destination; an
				   unspecified address means own4 or own6 */
	struct endpoint peer;
	uint16_t channel; /* 0x4000..0x7fff */
	uint16_t port;	  /* of the allocation */
	uint32_t index;	  /* names its counters; below cfg.bindings, unique among live bindings */
	uint64_t expires_ns;
};

/* For `status`. */
struct bpf_relay_info {
	struct bpf_wan_info wan[BPF_WAN_MAX]; /* tc_attach is unused */
	size_t wan_len;
	struct bpf_prog_stat prog;
	char pin_dir[128];
	uint64_t memory_bytes;
	const char *hop; /* "swap", "mac", "fib", "auto" */
	uint16_t mtu;
};

/* PS_TURN_HOP_AUTO: the default router of one family. */
struct bpf_relay_way {
	int ifindex;	/* 0: not known: nothing is sent to it */
	uint8_t dst[6]; /* the router's */
	uint8_t src[6]; /* the interface's */
	/* What is not behind it, of its family. */
	struct ipnet near[PS_TURN_NEAR_MAX];
	size_t near_len;
};

/* Counted here, not by the kernel. */
struct bpf_relay_totals {
	uint64_t bound;	    /* bindings that are in the tables now */
	uint64_t no_room;   /* refused because a table was full: they are relayed by user space */
	uint64_t no_family; /* refused because the relay has no address of that family */
};

struct bpf_relay;

/* Load, size, map, pin, attach. Not alive yet. Cleans what a dead run of this instance left. 0 or
 * -errno; nothing is left on failure. -EOPNOTSUPP: this kernel or driver cannot; -EPERM: not
 * allowed to. */
int bpf_relay_open(struct bpf_relay **out, const struct bpf_relay_cfg *cfg, struct io_err *err);
/* Detach, unpin, free. Safe on NULL. */
void bpf_relay_close(struct bpf_relay *r);

/* The daemon is alive: call at least once a second. Memory only, no system call. */
void bpf_relay_alive(struct bpf_relay *r, uint64_t now);
/* Stop switching at once (drain, reconfiguration) until bpf_relay_alive is called again. */
void bpf_relay_pause(struct bpf_relay *r);

/* Where next hop `auto` sends from now on; with all prefixes at once, for the next packet. Nothing
 * is known until the first call. At most once a second: a packet may still be using the values
 * before the last ones. Returns whether anything changed. Memory only. */
bool bpf_relay_way_set(struct bpf_relay *r, const struct bpf_relay_way *v4,
		       const struct bpf_relay_way *v6);

/* An allocation's port exists for these families (both false: it is gone). open4, open6: somebody
 * who has no channel may send to it (a permission), so packets without a channel are user
 * space's; else they are dropped by the kernel and counted. A port that has a binding which the
 * tables did not take is open whatever is said here, until it is gone. Memory only. */
void bpf_relay_port_set(struct bpf_relay *r, uint16_t port, bool own4, bool own6, bool open4,
			bool open6);

/* Insert, or refresh with a new expiry; counters are kept on refresh, zeroed on insert. Peer to
 * client first, then client to peer. 0 or -errno with neither direction in the tables: -ENOSPC
 * table full, -EAFNOSUPPORT no own address of the peer's family, -EINVAL; user space relays such a
 * binding. */
int bpf_relay_bind_set(struct bpf_relay *r, const struct bpf_relay_bind *bind);
/* In reverse. One that is not there is fine. */
int bpf_relay_bind_del(struct bpf_relay *r, const struct bpf_relay_bind *bind);

/* What the kernel relayed for a binding: client to peer, peer to client. Memory only. */
void bpf_relay_stat(const struct bpf_relay *r, uint32_t index, struct ps_turn_stat *to_peer,
		    struct ps_turn_stat *to_client);
/* Counters by reason, summed over processors. Rows of the RXDP_ block are this program's. */
int bpf_relay_reasons(struct bpf_relay *r, struct ps_reason_count out[PS_R_COUNT]);
struct bpf_relay_totals bpf_relay_totals(const struct bpf_relay *r);
const struct bpf_relay_info *bpf_relay_info(const struct bpf_relay *r);
#endif
