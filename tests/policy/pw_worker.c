/* SPDX-License-Identifier: Apache-2.0
 *
 * One packet at a time through what workers do; contract in pw_worker.h. */
#include "tests/policy/pw_worker.h"
#include "fwd/fwd_fast.h"

/* It is carried. */
static void put_out(struct pw_node *n, const struct pkt *p, const struct fwd_fast *f,
		    enum ps_nat_dir dir, struct pw_out *out)
{
	*out = (struct pw_out){.node = n->index, .len = (uint16_t)p->len};
	memcpy(out->b, p->b, p->len);
	if (f->nat.on)
		ps_nat_apply(out->b, &f->in.ip, dir, &f->nat);
	fwd_flow_carried(f->e, &f->in.key, 1, p->len, n->w->now);
}

enum ps_reason_id pw_worker_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
			       struct pw_out *out)
{
	const struct ps_session *s = fwd_session(&n->d->fwd, n->conn[slot].idx);
	struct pkt opened = *p;
	struct fwd_opened o = {.idx = n->conn[slot].idx, .peer = slot, .inner = opened.b};
	enum ps_reason_id id;
	struct fwd_fast f = {0};

	if (!s)
		return PS_R_XDP_NO_SESSION;
	o.inner_len = p->len;
	o.confirms = !(s->flags & PS_SESS_CONFIRMED);
	id = fwd_fast_in(&n->d->fwd, &n->d->flows, &o, &f, n->w->now);
	if (id != PS_GO_ON)
		return id;
	put_out(n, p, &f, PS_NAT_TO, out);
	return PS_R_XDP_DELIVERED;
}

enum ps_reason_id pw_worker_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
				struct pw_out *out)
{
	uint8_t sealed[sizeof(p->b) + FWD_DATA_OVERHEAD];
	struct fwd_tx tx = {.inner = p->b, .inner_len = p->len, .out = sealed};
	enum ps_reason_id id;
	struct fwd_fast f = {0};
	struct fwd_counters c;

	id = fwd_fast_out(&n->d->fwd, &n->d->flows, p->b, p->len, false, &f, n->w->now);
	if (id != PS_GO_ON)
		return id;
	id = fwd_seal_reserve(&n->d->fwd, f.peer, f.path.tx_slot, 1, &c, n->w->now);
	if (id != PS_R_UTX_SENT)
		return id;
	fwd_seal_next(&c, &tx);
	*slot = f.peer;
	put_out(n, p, &f, PS_NAT_FROM, out);
	return PS_R_TX_SENT;
}
