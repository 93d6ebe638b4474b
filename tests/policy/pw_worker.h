/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's workers in the policy world: what one of them would make of a packet now, by the real
 * cache of flows and the real judgement (fwd_flows, fwd_fast), without the threads. */
#ifndef PENSTOCK_TESTS_PW_WORKER_H
#define PENSTOCK_TESTS_PW_WORKER_H
#include "tests/policy/pw.h"

/* As pw_kernel_in and pw_kernel_out: PS_R_XDP_DELIVERED or PS_R_TX_SENT, else why it is left to the
 * control thread, and nothing has changed. */
enum ps_reason_id pw_worker_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
			       struct pw_out *out);
enum ps_reason_id pw_worker_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
				struct pw_out *out);
#endif
