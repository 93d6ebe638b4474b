/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries of the forwarding table that are not plain memory: session keys, cached flows, relays'
 * channels, counters. Keys go in and never come out. */
#ifndef PENSTOCK_IO_BPF_SYNC_H
#define PENSTOCK_IO_BPF_SYNC_H
#include "base/addr.h"
#include "io/bpf_load.h"

enum bpf_dir {
	BPF_FLOW_IN,
	BPF_FLOW_OUT,
};

/* Install a session's keys into its slot (any old ones are wiped). 0 or -errno. The copy made for
 * the call is wiped; the caller wipes its own. */
int bpf_key_set(struct bpf_load *b, uint32_t slot, const uint8_t recv[32], const uint8_t send[32]);
int bpf_key_wipe(struct bpf_load *b, uint32_t slot);

/* key: unused bytes zero. Replaces an existing entry, its counters with it. */
int bpf_flow_put(struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key,
		 const struct ps_flow *flow);
/* 0 or -ENOENT. */
int bpf_flow_get(struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key,
		 struct ps_flow *out);
/* One that is not there is fine. */
int bpf_flow_del(struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key);
/* Called for each entry; returning false deletes it. */
typedef bool (*bpf_flow_fn)(void *arg, const struct ps_flow_key *key, const struct ps_flow *flow);
/* Walk all entries. Entries that come or go meanwhile may or may not be seen. 0 or -errno. */
int bpf_flow_each(struct bpf_load *b, enum bpf_dir dir, bpf_flow_fn fn, void *arg);

/* A relay's channel with peer: from now on the kernel takes channel data of it. Again for the same
 * one: its counters begin anew. 0; -E2BIG: the table is full, user space takes it; -errno.
 * The table begins empty and goes with the programs. */
int bpf_channel_set(struct bpf_load *b, const struct ps_channel_key *key,
		    const struct endpoint *peer);
/* One that is not there is fine. */
int bpf_channel_del(struct bpf_load *b, const struct ps_channel_key *key);
/* 0 or -ENOENT. */
int bpf_channel_get(struct bpf_load *b, const struct ps_channel_key *key, struct ps_channel *out);
/* None is left: every allocation is gone. 0 or -errno. */
int bpf_channel_clear(struct bpf_load *b);

/* The counters by reason, summed over processors. 0 or -errno (out is then zero). */
int bpf_reasons_read(struct bpf_load *b, struct ps_reason_count out[PS_R_COUNT]);
#endif
