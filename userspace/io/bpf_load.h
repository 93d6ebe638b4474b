/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel executor's life: load the programs, size and map the forwarding table, attach, pin,
 * and leave nothing behind. bpf_sync writes the table's entries; which session or flow goes there
 * is the control thread's decision.
 *
 * Order: ps_wan_in is attached before ps_wan_rx and detached after it, so that no decrypted packet
 * ever enters the WAN interface's own receive path. Everything that delivers checks ps_alive, which
 * the kernel clears when the tunnel device goes: a killed daemon forwards nothing. Where frames are
 * steered (bpf_steer.h) ps_wan_steer or ps_wan_busy with ps_wan_cpu, or ps_wan_xsk, are in the
 * place of ps_wan_rx.
 */
#ifndef PENSTOCK_IO_BPF_LOAD_H
#define PENSTOCK_IO_BPF_LOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi/maps.h"
#include "io/bpf_steer.h"
#include "io/err.h"

#define BPF_WAN_MAX  4
#define BPF_PIN_ROOT "/sys/fs/bpf/penstock"

enum bpf_xdp_mode {
	BPF_XDP_AUTO,	 /* native; generic when the driver cannot, or the interface is a veth */
	BPF_XDP_NATIVE,	 /* native or fail */
	BPF_XDP_GENERIC, /* generic */
	BPF_XDP_OFF,	 /* no receive path in the kernel; sending still is */
};

struct bpf_load_cfg {
	const char *instance; /* [a-z0-9_-]{1,31} */
	int wan_ifindex[BPF_WAN_MAX];
	size_t wan_len;
	int tun_ifindex;
	enum bpf_xdp_mode xdp_mode;
	enum bpf_steer steer; /* one program for all interfaces: what suits each */
	bool workers;	      /* AF_XDP sockets would have readers (bpf_steer_socket) */
	bool user_only; /* nothing is en- or decrypted here, what is loaded hands packets to AF_XDP
			   sockets; -EOPNOTSUPP when that cannot be */
	bool force_plain;  /* keys in a plain map, as on kernels without kptrs (also: environment
			      PENSTOCK_BPF_PLAIN=1) */
	bool force_single; /* no libxdp dispatcher (also: PENSTOCK_XDP_SINGLE=1) */
	uint32_t sessions; /* table sizes; sessions is a power of two */
	uint32_t peers;
	uint32_t flows;	   /* that each of the two flow maps holds at once */
	uint32_t channels; /* of relays */
};

struct bpf_wan_info {
	int ifindex;
	char ifname[16];
	char xdp_mode[16];   /* "native", "generic", "off" */
	char xdp_attach[16]; /* "dispatcher", "single", "none" */
	char tc_attach[16];  /* "tcx", "clsact" */
	char why[120];	     /* what was tried before and refused; "" when nothing was */
	enum bpf_steer steer;
	char steer_why[BPF_STEER_WHY];
};

struct bpf_prog_stat {
	char name[16];
	uint32_t id;
	uint32_t verified_insns;
	uint32_t jited_len; /* bytes */
};

#define BPF_PROGS_MAX 5

/* For `status`. Strings are for people and for JSON alike. */
struct bpf_load_info {
	bool keys_hidden;
	char shown_why[120]; /* why they are not */
	struct bpf_wan_info wan[BPF_WAN_MAX];
	size_t wan_len;
	char tun_attach[16]; /* "tcx", "clsact" */
	struct bpf_prog_stat prog[BPF_PROGS_MAX];
	size_t prog_len;
	char pin_dir[128];
	uint64_t memory_bytes; /* of all maps, as the kernel accounts them; 0: it does not say */
	uint64_t flow_bytes;   /* of the two flow maps among them */
};

/* The shared part of the table, mapped read-write; written under the rules of abi/maps.h. */
struct bpf_tables {
	struct ps_session *session; /* [sessions] */
	struct ps_replay *replay;   /* [sessions] */
	struct ps_peer *peer;	    /* [peers] */
	struct ps_config *config;
	uint32_t sessions, peers, flows, channels;
};

struct bpf_load;

/* Entries of a flow map that is to hold so many: an LRU map has each CPU keep some of its free
 * ones, and forgets flows while others have them left. */
uint32_t bpf_flow_entries(uint32_t flows);

/* Load, size, map, pin and attach TC; clean what a dead run of this instance left before. Fills
 * config's abi, slot_mask, tun_ifindex and fwmark; its flags are 0 and ps_alive is empty: nothing
 * is handled yet. 0 or -errno; nothing is left on failure. -EOPNOTSUPP: this kernel cannot; -EPERM:
 * not allowed to.
 * The instance must not be running already: the operator's socket, opened before, sees to that. */
int bpf_load_open(struct bpf_load **out, const struct bpf_load_cfg *cfg, struct io_err *err);
/* Set ps_alive and attach XDP. From now packets are handled as config->flags says: the caller fills
 * in ports and bulk_hold_ns before, and the flags when it wants. */
int bpf_load_start(struct bpf_load *b, struct io_err *err);
/* Detach, unpin, free. Safe on NULL and after a failed start. */
void bpf_load_close(struct bpf_load *b);
/* Remove pins and attachments a dead run left, without loading anything (for --mode=user). */
int bpf_load_clean(const char *instance, struct io_err *err);

struct bpf_tables *bpf_load_tables(struct bpf_load *b);
const struct bpf_load_info *bpf_load_info(const struct bpf_load *b);
/* With the steering xsk: the AF_XDP socket of an interface's receive queue; fd -1: none any more. 0
 * or -errno, -ENOSPC when the queue's number is out of bounds. */
int bpf_steer_socket(struct bpf_load *b, size_t wan, uint32_t queue, int fd);
/* Descriptors, for bpf_sync and tests; -1 when there is none of that name. */
int bpf_load_map_fd(const struct bpf_load *b, const char *map_name);
int bpf_load_prog_fd(const struct bpf_load *b, const char *prog_name);
#endif
