/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The relay's switching tables (abi/turn_maps.h, docs/bpf-maps.md) as the kernel holds them. Sizes
 * are defaults; the loader sets max_entries. */
#ifndef PENSTOCK_RELAY_MAPS_BPF_H
#define PENSTOCK_RELAY_MAPS_BPF_H
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi/turn_maps.h"

#define PS_DEF_BINDINGS 16384

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PS_DEF_BINDINGS);
	__type(key, struct ps_turn_chan4);
	__type(value, struct ps_turn_route);
} ps_turn_chan4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PS_DEF_BINDINGS);
	__type(key, struct ps_turn_chan6);
	__type(value, struct ps_turn_route);
} ps_turn_chan6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PS_DEF_BINDINGS);
	__type(key, struct ps_turn_peer4);
	__type(value, struct ps_turn_route);
} ps_turn_peer4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PS_DEF_BINDINGS);
	__type(key, struct ps_turn_peer6);
	__type(value, struct ps_turn_route);
} ps_turn_peer6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * PS_DEF_BINDINGS);
	__type(key, __u32);
	__type(value, struct ps_turn_stat);
} ps_turn_stat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ps_turn_port);
} ps_turn_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ps_turn_cfg);
} ps_turn_cfg SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct ps_turn_way);
} ps_turn_way SEC(".maps");
#endif
