/* SPDX-License-Identifier: Apache-2.0
 *
 * The real maps and programs behind a node's kernel (pw_kernel.h), by BPF_PROG_TEST_RUN. The
 * programs read the machine's clock, the world has its own: entries are written with the world's
 * times in pw_kernel.c and brought to the machine's here (pw_bpf_flow) just before they are asked.
 */
#ifndef PENSTOCK_TESTS_PW_BPF_H
#define PENSTOCK_TESTS_PW_BPF_H
#include "tests/policy/pw.h"

struct pw_bpf;

/* Emptied tables; loaded programs are kept for the next node. NULL: there are none here, see why.
 */
struct pw_bpf *pw_bpf_open(char *why, size_t cap);
void pw_bpf_close(struct pw_bpf *b);
struct ps_session *pw_bpf_sessions(struct pw_bpf *b);
struct ps_replay *pw_bpf_replays(struct pw_bpf *b);
struct ps_peer *pw_bpf_peers(struct pw_bpf *b);
int pw_bpf_key(struct pw_bpf *b, uint32_t slot, const uint8_t *recv, const uint8_t *send);
/* f: in the world's time, which is now; NULL deletes. */
void pw_bpf_flow(struct pw_bpf *b, enum bpf_dir dir, const struct ps_flow_key *key,
		 const struct ps_flow *f, uint64_t now);

/* True: the kernel carried it. len bytes of inner packet in out, room for 2048. */
bool pw_bpf_in(struct pw_bpf *b, const struct pw_node *n, uint32_t slot, const struct pkt *p,
	       uint8_t *out, size_t *len);
bool pw_bpf_out(struct pw_bpf *b, const struct pkt *p, uint32_t *slot, uint8_t *out, size_t *len,
		const struct pw_node *n);
#endif
