/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan of the kernel's programs (include/plan) over plain memory, in the world's time; the
 * steps are those of bpf/rx.bpf.h and bpf/tx.bpf.h. */
#include <errno.h>
#include <stdlib.h>
#include "plan/egress.h"
#include "plan/ingress.h"
#include "plan/nat.h"
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
};

struct pw_kernel *pw_kernel_open(bool bpf, char *why, size_t cap)
{
	(void)bpf;
	(void)why;
	(void)cap;
	return calloc(1, sizeof(struct pw_kernel));
}

void pw_kernel_close(struct pw_kernel *k)
{
	free(k);
}

struct ps_session *pw_kernel_sessions(struct pw_kernel *k)
{
	return k->session;
}

struct ps_replay *pw_kernel_replays(struct pw_kernel *k)
{
	return k->replay;
}

struct ps_peer *pw_kernel_peers(struct pw_kernel *k)
{
	return k->peer;
}

int pw_kernel_key(struct pw_kernel *k, uint32_t slot, const uint8_t *recv, const uint8_t *send)
{
	(void)k;
	(void)slot;
	(void)recv;
	(void)send;
	return 0;
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
	*e = (struct entry){.used = true, .at = ++k->writes, .key = *key, .f = *f};
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

int pw_flow_each(struct pw_kernel *k, enum bpf_dir dir, bpf_flow_fn fn, void *arg, bool keep_all)
{
	for (uint32_t i = 0; i < PW_FLOWS; i++) {
		struct entry *e = &k->flow[dir][i];

		if (e->used && !fn(arg, &e->key, &e->f) && !keep_all)
			e->used = false;
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

enum ps_reason_id pw_kernel_in(struct pw_node *n, uint32_t slot, const struct pkt *p,
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
		id = ps_rx_peer(&v, &outer);
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
	if (ps_flow_held(&e->f, now))
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

enum ps_reason_id pw_kernel_out(struct pw_node *n, const struct pkt *p, uint32_t *slot,
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
		id = ps_tx_bulk(&e->f, 0, now);
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
