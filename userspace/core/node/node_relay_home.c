/* SPDX-License-Identifier: Apache-2.0
 * Which relay a connection has, and the candidates that come from relays (snownet: candidate
 * kinds).
 *
 * A connection is at home at a relay that holds an allocation. One whose relay has none is moved as
 * soon as another relay has one; until then it stays, for its relay may allocate again. There is no
 * retry timer: every way to become an eligible relay passes through node_home_cand. */
#include "core/node/node_priv.h"

#include <string.h>

/* ---- choosing ---- */

/* A relay with an allocation, near enough and at random; NODE_RELAY_NONE when there is none. */
static unsigned sample(struct node *n)
{
	uint64_t rtt[NODE_RELAYS_MAX] = {0};
	uint32_t mask, pick;

	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].ready) {
			rtt[r] = turn_rtt_ns(&n->mem.relays[r]);
			rtt[r] += !rtt[r];
		}
	mask = node_relays_near(rtt, n->mem.n_relays);
	if (!mask)
		return NODE_RELAY_NONE;
	pick = (uint32_t)rng_below(&n->rng, (uint64_t)__builtin_popcount(mask));
	while (pick--)
		mask &= mask - 1;
	return (unsigned)__builtin_ctz(mask);
}

static bool at_home(const struct node *n, const struct node_conn *c)
{
	return c->relay != NODE_RELAY_NONE && n->relays.at[c->relay].ready;
}

static void leave(struct node *n, struct node_conn *c)
{
	if (c->relay != NODE_RELAY_NONE)
		n->relays.at[c->relay].n_conns--;
	c->relay = NODE_RELAY_NONE;
}

/* ---- candidates ---- */

static struct ice_cand relay_cand(const struct endpoint *addr, uint8_t via_family)
{
	const struct endpoint via = {.ip.family = via_family};

	return ice_cand_relay(addr, &via);
}

static void add_relay_cands(struct node *n, uint32_t slot, unsigned r, uint64_t now)
{
	const struct turn *t = &n->mem.relays[r];
	struct endpoint local, server, addr;

	if (!turn_route(t, &local, &server))
		return;
	for (uint8_t family = 4; family <= 6; family += 2)
		if (turn_relayed(t, family, &addr)) {
			struct ice_cand c = relay_cand(&addr, server.ip.family);

			node_conn_add_local(n, slot, &c, now);
		}
}

/* Mappings change: of one family an agent keeps the last few, and is told of no end. */
static void add_srflx(struct node *n, uint32_t slot, const struct ice_cand *cand, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	const struct ice_cand *oldest = NULL;
	unsigned n_same = 0, at = 0;

	for (unsigned i = 0; i < ice_n_locals(&c->ice); i++) {
		const struct ice_cand *l = ice_local(&c->ice, i);

		if (l->discarded || l->kind != CAND_SRFLX ||
		    l->addr.ip.family != cand->addr.ip.family)
			continue;
		if (ice_cand_same(l, cand))
			return;
		if (!n_same++) {
			oldest = l;
			at = i;
		}
	}
	if (n_same >= NODE_SRFLX_KEPT) {
		struct ice_cand gone = *oldest;

		ice_remove_local(&c->ice, &gone, now);
		c->signal_mask &= ~(UINT32_C(1) << at);
	}
	node_conn_add_local(n, slot, cand, now);
}

void node_home_drop_base(struct node *n, uint32_t slot, const struct endpoint *base, uint64_t now)
{
	const struct ice *ice = &n->mem.conns[slot].ice;

	for (unsigned i = 0; i < ice_n_locals(ice); i++) {
		const struct ice_cand l = *ice_local(ice, i);

		if (l.kind == CAND_SRFLX && !l.discarded && endpoint_eq(&l.base, base))
			node_conn_drop_local(n, slot, &l, now);
	}
}

void node_home_bind(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (c->relay == NODE_RELAY_NONE)
		return;
	for (unsigned i = 0; i < ice_n_remotes(&c->ice); i++) {
		const struct ice_cand *r = ice_remote(&c->ice, i);

		if (!r->discarded && r->kind != CAND_HOST)
			turn_bind(&n->mem.relays[c->relay], &r->addr, now);
	}
}

/* ---- a connection's relay ---- */

/* Give it a relay that can be used at once, when it has none such. */
static void find_home(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	unsigned r;

	if (at_home(n, c))
		return;
	r = sample(n);
	if (r == NODE_RELAY_NONE)
		return;
	leave(n, c);
	c->relay = (uint8_t)r;
	n->relays.at[r].n_conns++;
	add_relay_cands(n, slot, r, now);
	node_home_bind(n, slot, now);
	node_conn_touch(n, slot, now);
}

void node_home_init(struct node *n, uint32_t slot, uint64_t now)
{
	for (uint32_t i = 0; i < n->n_hosts; i++) {
		struct ice_cand c = ice_cand_host(&n->hosts[i]);

		node_conn_add_local(n, slot, &c, now);
	}
	for (unsigned f = 0; f < 2; f++)
		if (n->relays.has_srflx[f])
			node_conn_add_local(n, slot, &n->relays.srflx[f], now);
	find_home(n, slot, now);
}

void node_home_fini(struct node *n, uint32_t slot)
{
	leave(n, &n->mem.conns[slot]);
}

void node_home_all(struct node *n, uint64_t now)
{
	for (uint32_t slot = 0; slot < n->mem.n_conns; slot++)
		if (node_conn_open(&n->mem.conns[slot]))
			find_home(n, slot, now);
}

/* ---- news ---- */

static void srflx_news(struct node *n, unsigned r, const struct turn_cand *cand, uint64_t now)
{
	unsigned f = cand->addr.ip.family == 6;

	n->relays.srflx[f] = ice_cand_srflx(&cand->addr, &cand->base);
	n->relays.has_srflx[f] = true;
	/* Each relay may see another mapping: those it is for, and those that have no relay. */
	for (uint32_t slot = 0; slot < n->mem.n_conns; slot++) {
		const struct node_conn *c = &n->mem.conns[slot];

		if (!node_conn_open(c) || (c->relay != r && at_home(n, c)))
			continue;
		add_srflx(n, slot, &n->relays.srflx[f], now);
		node_conn_touch(n, slot, now);
	}
}

static void relay_news(struct node *n, unsigned r, const struct turn_cand *cand, uint64_t now)
{
	struct ice_cand add = relay_cand(&cand->addr, cand->via_family);

	n->relays.at[r].ready = turn_state(&n->mem.relays[r]) == TURN_READY;
	for (uint32_t slot = 0; slot < n->mem.n_conns; slot++) {
		const struct node_conn *c = &n->mem.conns[slot];

		if (!node_conn_open(c))
			continue;
		if (c->relay == r) {
			node_conn_add_local(n, slot, &add, now);
			node_home_bind(n, slot, now);
			node_conn_touch(n, slot, now);
		} else {
			find_home(n, slot, now);
		}
	}
}

void node_home_cand(struct node *n, unsigned r, const struct turn_cand *cand, uint64_t now)
{
	switch (cand->kind) {
	case TURN_CAND_HOST:
		node_learn_host(n, &cand->addr, now);
		break;
	case TURN_CAND_SRFLX:
		srflx_news(n, r, cand, now);
		break;
	case TURN_CAND_RELAY:
		relay_news(n, r, cand, now);
		break;
	}
}

void node_home_cand_gone(struct node *n, unsigned r, const struct turn_cand *cand, uint64_t now)
{
	struct ice_cand gone = relay_cand(&cand->addr, 0);

	if (cand->kind != TURN_CAND_RELAY)
		return;
	n->relays.at[r].ready = false;
	for (uint32_t slot = 0; slot < n->mem.n_conns; slot++) {
		const struct node_conn *c = &n->mem.conns[slot];

		if (!node_conn_open(c))
			continue;
		node_conn_drop_local(n, slot, &gone, now);
		if (c->path_relay == r && endpoint_eq(&c->path.local, &cand->addr))
			node_path_lost(n, slot);
		find_home(n, slot, now);
	}
}
