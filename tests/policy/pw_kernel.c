/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan of the kernel's programs (include/plan) over plain memory, in the world's time; the
 * steps are those of bpf/rx.bpf.h and bpf/tx.bpf.h. */
#include <errno.h>
#include <stdlib.h>
#include "plan/egress.h"
#include "plan/ingress.h"
#include "plan/nat.h"
#include "tests/policy/pw_bpf.h"
#include "tests/policy/pw_kernel.h"

enum { SESSIONS = 16 };

struct entry {
	bool used;
	uint64_t at; /* written; the oldest gives way */
	struct ps_flow_key key;
	struct ps_flow f;
};

struct pw_kernel {
	struct ps_session session[SESSIONS];
	struct ps_replay replay[SESSIONS];
	struct ps_peer peer[PW_PEERS];
	struct entry flow[2][PW_FLOWS];
	uint64_t writes;
	struct pw_bpf *bpf; /* NULL: natively */
};

struct pw_kernel *pw_kernel_open(bool bpf, char *why, size_t cap)
{
	struct pw_kernel *k = calloc(1, sizeof(struct pw_kernel));

	snprintf(why, cap, "no memory");
	if (k && bpf)
		k->bpf = pw_bpf_open(why, cap);
	if (!k || !bpf || k->bpf)
		return k;
	free(k);
	return NULL;
}

void pw_kernel_close(struct pw_kernel *k)
{
	if (k && k->bpf)
		pw_bpf_close(k->bpf);
	free(k);
}

struct ps_session *pw_kernel_sessions(struct pw_kernel *k)
{
	return k->bpf ? pw_bpf_sessions(k->bpf) : k->session;
}

struct ps_replay *pw_kernel_replays(struct pw_kernel *k)
{
	return k->bpf ? pw_bpf_replays(k->bpf) : k->replay;
}

struct ps_peer *pw_kernel_peers(struct pw_kernel *k)
{
	return k->bpf ? pw_bpf_peers(k->bpf) : k->peer;
}

int pw_kernel_key(struct pw_kernel *k, uint32_t slot, const uint8_t *recv, const uint8_t *send)
{
	return k->bpf ? pw_bpf_key(k->bpf, slot, recv, send) : 0;
}

/* ---- maps ---- */
static struct entry *find(struct pw_kernel *k, enum bpf_dir dir, const struct ps_flow_key *key)
{
	for (uint32_t i = 0; i < PW_FLOWS; i++)
		if (k->flow[dir][i].used && !memcmp(&k->flow[dir][i].key, key, sizeof(*key)))
			return &k->flow[dir][i];
	return NULL;
}

int pw_flow_put(struct pw_kernel *k, enum bpf_dir dir, const struct ps_flow_key *key,
		const struct ps_flow *f)
{
	struct entry *e = find(k, dir, key);

	for (uint32_t i = 0; !e && i < PW_FLOWS; i++)
		if (!k->flow[dir][i].used)
			e = &k->flow[dir][i];
	if (!e) {
		e = &k->flow[dir][0];
		for (uint32_t i = 1; i < PW_FLOWS; i++)
			if (k->flow[dir][i].at < e->at)
				e = &k->flow[dir][i];
	}
	if (k->bpf && e->used && memcmp(&e->key, key, sizeof(*key)) != 0)
		pw_bpf_flow(k->bpf, dir, &e->key, NULL, 0);
	*e = (struct entry){.used = true, .at = ++k->writes, .key = *key, .f = *f};
	if (k->bpf)
		pw_bpf_flow(k->bpf, dir, key, f, pw_the->now);
	return 0;
}

int pw_flow_get(struct pw_kernel *k, enum bpf_dir dir, const struct ps_flow_key *key,
		struct ps_flow *out)
{
	struct entry *e = find(k, dir, key);

	if (!e)
		return -ENOENT;
	*out = e->f;
	return 0;
}

void pw_flow_del(struct pw_kernel *k, enum bpf_dir dir, const struct ps_flow_key *key)
{
	struct entry *e = find(k, dir, key);

	if (e)
		e->used = false;
	if (k->bpf)
		pw_bpf_flow(k->bpf, dir, key, NULL, 0);
}

int pw_flow_each(struct pw_kernel *k, enum bpf_dir dir, bpf_flow_fn fn, void *arg, bool keep_all)
{
	for (uint32_t i = 0; i < PW_FLOWS; i++) {
		struct entry *e = &k->flow[dir][i];

		if (!e->used || fn(arg, &e->key, &e->f) || keep_all)
			continue;
		e->used = false;
		if (k->bpf)
			pw_bpf_flow(k->bpf, dir, &e->key, NULL, 0);
	}
	return 0;
}

/* ---- programs ---- */
static void carried(struct ps_flow *f, uint64_t now, size_t len)
{
	f->packets++;
	f->bytes += len;
	f->last_ns = now;
}

static void put_out(struct pw_node *n, const struct pkt *p, struct pw_out *out)
{
	*out = (struct pw_out){.node = n->index, .len = (uint16_t)p->len};
	memcpy(out->b, p->b, p->len);
}

static enum ps_reason_id plan_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
				 struct pw_out *out)
{
	const struct ps_peer *peer = &n->kernel->peer[slot];
	const struct ps_session *s = fwd_session(&n->d->fwd, n->conn[slot].idx);
	struct ps_outer outer = {.payload_len = (uint32_t)p->len + WG_DATA_OVERHEAD};
	struct ps_peer_view v = {.flags = peer->flags, .generation = peer->generation};
	uint64_t now = n->w->now;
	enum ps_reason_id id;
	struct ps_inner in;
	struct ps_nat nat;
	struct entry *e;

	memcpy(v.tun4, peer->tun4, sizeof(v.tun4));
	memcpy(v.tun6, peer->tun6, sizeof(v.tun6));
	id = ps_rx_session(s, n->conn[slot].idx, now);
	if (id == PS_GO_ON)
		id = ps_rx_peer(&v, &outer, 0);
	if (id == PS_GO_ON)
		id = ps_rx_inner(p->b, p->b + p->len, &in);
	if (id == PS_GO_ON)
		id = ps_rx_source(&v, &in);
	if (id != PS_GO_ON)
		return id;
	in.key.peer = slot;
	e = find(n->kernel, BPF_FLOW_IN, &in.key);
	id = ps_rx_flow(e ? &e->f : NULL, slot, v.generation, now);
	if (id != PS_GO_ON)
		return id;
	if (ps_flow_held(&e->f, now, PS_NEVER))
		return PS_R_XDP_FLOW_WARM;
	ps_nat_of_flow(&e->f, &nat);
	id = ps_rx_nat(&nat, p->b, &in.ip);
	if (id != PS_GO_ON)
		return id;
	put_out(n, p, out);
	if (nat.on)
		ps_nat_apply(out->b, &in.ip, PS_NAT_TO, &nat);
	carried(&e->f, now, p->len);
	return PS_R_XDP_DELIVERED;
}

static enum ps_reason_id plan_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
				  struct pw_out *out)
{
	uint64_t now = n->w->now;
	struct ps_path_view v = {0};
	const struct ps_peer *peer;
	enum ps_reason_id id;
	struct ps_inner in;
	struct ps_nat nat;
	struct entry *e;

	id = ps_tx_inner(p->b, p->b + p->len, &in);
	if (id != PS_GO_ON)
		return id;
	e = find(n->kernel, BPF_FLOW_OUT, &in.key);
	id = ps_tx_flow(e ? &e->f : NULL, now);
	if (id != PS_GO_ON)
		return id;
	peer = &n->kernel->peer[e->f.peer];
	v.flags = peer->flags;
	v.generation = peer->generation;
	v.tx_slot = peer->tx_slot;
	v.ifindex = peer->path_ifindex;
	v.family = peer->path_family;
	v.mtu = peer->mtu;
	id = ps_tx_peer(&v, &e->f);
	if (id == PS_GO_ON)
		id = ps_tx_bulk(&e->f, 0, now, &(struct ps_config){.drained_ns = PS_NEVER});
	if (id == PS_GO_ON)
		id = ps_tx_size(&v, (uint32_t)p->len);
	if (id != PS_GO_ON)
		return id;
	ps_nat_of_flow(&e->f, &nat);
	id = ps_tx_nat(&nat, p->b, &in.ip);
	if (id == PS_GO_ON)
		id = ps_tx_session(v.tx_slot < SESSIONS ? &n->kernel->session[v.tx_slot] : NULL,
				   e->f.peer, now);
	if (id != PS_GO_ON)
		return id;
	*slot = e->f.peer;
	put_out(n, p, out);
	if (nat.on)
		ps_nat_apply(out->b, &in.ip, PS_NAT_FROM, &nat);
	carried(&e->f, now, p->len);
	return PS_R_TX_SENT;
}

/* ---- programs, really ---- */
/* The entry the packet's flow has, with the machine's times in the map; NULL: none. */
static struct entry *shown(struct pw_node *n, enum bpf_dir dir, uint32_t slot, const struct pkt *p)
{
	struct ps_inner in;
	struct entry *e;

	if (ps_inner_parse(p->b, p->b + p->len, &in) != PS_INNER_FLOW)
		return NULL;
	in.key.peer = dir == BPF_FLOW_IN ? slot : 0;
	e = find(n->kernel, dir, &in.key);
	if (e)
		pw_bpf_flow(n->kernel->bpf, dir, &in.key, &e->f, n->w->now);
	return e;
}

static enum ps_reason_id ran(struct pw_node *n, struct entry *e, bool passed, size_t len,
			     enum ps_reason_id yes, struct pw_out *out)
{
	if (!passed)
		return e && e->f.expires_ns <= n->w->now ? PS_R_TX_FLOW_EXPIRED : PS_R_TX_NO_FLOW;
	out->node = n->index;
	out->len = (uint16_t)len;
	if (e)
		carried(&e->f, n->w->now, len);
	return yes;
}

enum ps_reason_id pw_kernel_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
			       struct pw_out *out)
{
	struct entry *e;
	size_t len = 0;
	bool passed;

	if (!n->kernel->bpf)
		return plan_in(n, slot, p, out);
	e = shown(n, BPF_FLOW_IN, slot, p);
	passed = pw_bpf_in(n->kernel->bpf, n, slot, p, out->b, &len);
	return ran(n, e, passed, len, PS_R_XDP_DELIVERED, out);
}

enum ps_reason_id pw_kernel_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
				struct pw_out *out)
{
	struct entry *e;
	size_t len = 0;
	bool passed;

	if (!n->kernel->bpf)
		return plan_out(n, p, slot, out);
	e = shown(n, BPF_FLOW_OUT, 0, p);
	passed = pw_bpf_out(n->kernel->bpf, p, slot, out->b, &len, n);
	return ran(n, e, passed, len, PS_R_TX_SENT, out);
}
