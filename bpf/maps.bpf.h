/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The forwarding table (abi/maps.h, docs/bpf-maps.md) as the kernel holds it. Sizes are defaults;
 * the loader sets max_entries. ps_key is in the keys header, whose layout is private to BPF. */
#ifndef PENSTOCK_MAPS_BPF_H
#define PENSTOCK_MAPS_BPF_H
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi/maps.h"
#include "plan/egress.h"
#include "plan/ingress.h"
#include "plan/nat.h"

#define PS_DEF_SESSIONS 1024
#define PS_DEF_PEERS	1024
#define PS_DEF_FLOWS	65536
#define PS_DEF_CHANNELS 1024
#define PS_DEF_CPUS	1 /* the daemon knows how many there are */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PS_DEF_SESSIONS);
	__type(key, __u32);
	__type(value, struct ps_session);
} ps_session SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PS_DEF_SESSIONS);
	__type(key, __u32);
	__type(value, struct ps_replay);
} ps_replay SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PS_DEF_PEERS);
	__type(key, __u32);
	__type(value, struct ps_peer);
} ps_peer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ps_config);
} ps_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PS_DEF_FLOWS);
	__type(key, struct ps_flow_key);
	__type(value, struct ps_flow);
} ps_flow_in SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PS_DEF_FLOWS);
	__type(key, struct ps_flow_key);
	__type(value, struct ps_flow);
} ps_flow_out SEC(".maps");

/* Written by the daemon alone, so it need not have its entries in advance. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PS_DEF_CHANNELS);
	__type(key, struct ps_channel_key);
	__type(value, struct ps_channel);
} ps_channel SEC(".maps");

/* [0]: ifindex of the tunnel device. The kernel empties the entry when that device goes, which it
 * does with the daemon's last descriptor: the programs then find no one to deliver to. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ps_alive SEC(".maps");

/* Working space for one packet: headers in front, then text and tag. Longest text, then up to 15
 * bytes of padding, the length block and a tag; rounded up to whole cipher blocks. Never holds
 * anything derived from a key but the packet itself. */
#define PS_SCRATCH_HEAD 96
#define PS_SCRATCH_BUF	1600
struct ps_scratch {
	__u8 head[PS_SCRATCH_HEAD];
	__u8 buf[PS_SCRATCH_BUF];
	struct ps_inner inner; /* too large for the stack beside the cipher */
	struct ps_path_view path;
	struct ps_peer_view view;
	struct ps_nat nat; /* what the packet is translated to */
};
_Static_assert(PS_SCRATCH_BUF >= ((PS_INNER_MAX + 63) / 64) * 64 + 32, "scratch buffer");

enum { PS_SCRATCH_RX, PS_SCRATCH_TX, PS_SCRATCH_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PS_SCRATCH_COUNT);
	__type(key, __u32);
	__type(value, struct ps_scratch);
} ps_scratch SEC(".maps");

static __always_inline struct ps_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ps_config, &zero);
}

/* The live tunnel device's ifindex, 0 when there is none. */
static __always_inline __u32 alive_ifindex(void)
{
	__u32 zero = 0;
	__u32 *ifindex = bpf_map_lookup_elem(&ps_alive, &zero);

	return ifindex ? *ifindex : 0;
}
#endif
