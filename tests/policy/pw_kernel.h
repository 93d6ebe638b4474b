/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's kernel in the policy world: its flow maps, and what the programs on its WAN and tunnel
 * devices would make of a packet now. Two kinds: the plan (include/plan) run natively over maps in
 * memory, with the world's time; or the real maps and programs by BPF_PROG_TEST_RUN. */
#ifndef PENSTOCK_TESTS_PW_KERNEL_H
#define PENSTOCK_TESTS_PW_KERNEL_H
#include "tests/policy/pw.h"

struct pw_kernel;

/* NULL: bpf was asked for and is not to be had; why then says more. */
struct pw_kernel *pw_kernel_open(bool bpf, char *why, size_t cap);
void pw_kernel_close(struct pw_kernel *k);
/* The shared tables, PW_SESSIONS and PW_PEERS long, for fwd_init. */
struct ps_session *pw_kernel_sessions(struct pw_kernel *k);
struct ps_replay *pw_kernel_replays(struct pw_kernel *k);
struct ps_peer *pw_kernel_peers(struct pw_kernel *k);
int pw_kernel_key(struct pw_kernel *k, uint32_t slot, const uint8_t *recv, const uint8_t *send);

/* As io/bpf_sync. */
int pw_flow_put(struct pw_kernel *k, enum bpf_dir dir, const struct ps_flow_key *key,
		const struct ps_flow *f);
int pw_flow_get(struct pw_kernel *k, enum bpf_dir dir, const struct ps_flow_key *key,
		struct ps_flow *out);
void pw_flow_del(struct pw_kernel *k, enum bpf_dir dir, const struct ps_flow_key *key);
int pw_flow_each(struct pw_kernel *k, enum bpf_dir dir, bpf_flow_fn fn, void *arg, bool keep_all);

/* Inner packet p as the peer in that slot sends it: PS_R_XDP_DELIVERED and what reaches the tunnel
 * device in out, or why the kernel leaves it alone. Nothing else has changed then. */
enum ps_reason_id pw_kernel_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
			       struct pw_out *out);
/* Packet p routed into the tunnel device: PS_R_TX_SENT, the peer's slot and what is sealed to it.
 */
enum ps_reason_id pw_kernel_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
				struct pw_out *out);
#endif
