/* SPDX-License-Identifier: Apache-2.0
 *
 * May a worker carry this packet by itself? The judgements are those of the kernel's programs
 * (include/plan), in their order, asked of the same peers and of the cache of flows (fwd_flows):
 * one policy for all executors. What is the kernel's own is left out: whether the peer's flows are
 * its (PS_PEER_KERNEL), over which interface it sends, and when a flow or session changes hands
 * between it and user space (plan/flow.h).
 *
 * PS_GO_ON: the worker may, and *out says what the packet becomes. Anything else is no refusal: it
 * is why the control thread decides. Nothing is changed or counted here; who has carried the packet
 * tells fwd_flow_carried.
 *
 * Any thread, within a section of fwd_table.h: what is found here holds until the section ends. So
 * does *out: left as it was for the next packet it spares looking the same flow up again. Its
 * `known` is to be false before the first packet of a section. */
#ifndef PENSTOCK_FWD_FAST_H
#define PENSTOCK_FWD_FAST_H
#include "fwd/fwd_flows.h"
#include "fwd/fwd_table.h"
#include "plan/egress.h"
#include "plan/ingress.h"
#include "plan/nat.h"

struct fwd_fast {
	struct ps_inner in; /* its key is the flow's, peer included */
	struct ps_nat nat;  /* to translate by: PS_NAT_TO when it came in, PS_NAT_FROM going out */
	struct fwd_flow_entry *e;
	uint32_t peer;	     /* who sent it, or whom it goes to */
	uint32_t generation; /* of the peer and the flow */
	bool known;	     /* all this is of a packet judged PS_GO_ON in this section */
	bool again;	     /* the kernel, whose the peer's flows are, is to be offered it anew */
	struct ps_path_view path; /* fwd_fast_out only */
};

/* A packet that fwd_open has authenticated. out->in.ip.len is its length without padding. */
enum ps_reason_id fwd_fast_in(const struct fwd_table *t, const struct fwd_flows *f,
			      const struct fwd_opened *o, struct fwd_fast *out, uint64_t now);

/* A packet from the tunnel device. is_super: of several segments, whose size the caller holds
 * against out->path.mtu; a single one is no longer than that. Whether its session may be sent on
 * says fwd_seal_reserve. */
enum ps_reason_id fwd_fast_out(const struct fwd_table *t, const struct fwd_flows *f,
			       const uint8_t *pkt, size_t len, bool is_super, struct fwd_fast *out,
			       uint64_t now);
#endif
