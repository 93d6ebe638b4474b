/* SPDX-License-Identifier: Apache-2.0
 * What a simulated node does for its connections: events of the node, messages of the portal. See
 * sim_node.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "tests/sim/sim_node_priv.h"

static uint32_t slot_of(const struct sim_node *n, unsigned peer)
{
	for (uint32_t i = 0; i < n->n_conns; i++)
		if (n->conns[i].used && n->conns[i].peer == peer)
			return i;
	return NODE_NONE;
}

static uint32_t slot_for(struct sim_node *n, unsigned peer)
{
	uint32_t slot = slot_of(n, peer);

	if (slot != NODE_NONE)
		return slot;
	for (slot = 0; slot < n->n_conns; slot++)
		if (!n->conns[slot].used)
			break;
	if (slot == n->n_conns || fwd_peer_use(&n->fwd, slot))
		abort();
	n->conns[slot] = (struct sim_conn){.used = true, .peer = peer, .ask_at = TIME_NEVER};
	return slot;
}

struct sim_conn *sim_node_conn(struct sim_node *n, const struct sim_node *peer)
{
	uint32_t slot = slot_of(n, peer->number);

	return slot == NODE_NONE ? NULL : &n->conns[slot];
}

const struct node_conn *sim_node_inner(const struct sim_node *n, const struct sim_node *peer)
{
	uint32_t slot = slot_of(n, peer->number);

	return slot == NODE_NONE ? NULL : node_conn(&n->node, slot);
}

static bool knows(const struct ice *ice, const struct ice_cand *c)
{
	for (unsigned i = 0; i < ice_n_remotes(ice); i++) {
		const struct ice_cand *r = ice_remote(ice, i);

		if (!r->discarded && r->kind == c->kind && endpoint_eq(&r->addr, &c->addr))
			return true;
	}
	return false;
}

bool sim_node_knows_all(const struct sim_node *n, const struct sim_node *peer)
{
	const struct node_conn *mine = sim_node_inner(n, peer), *its = sim_node_inner(peer, n);
	bool all = mine && its;

	for (unsigned i = 0; all && i < ice_n_locals(&its->ice); i++) {
		const struct ice_cand *c = ice_local(&its->ice, i);
		char text[ENDPOINT_STRLEN];

		if (c->discarded || knows(&mine->ice, c))
			continue;
		endpoint_fmt(&c->addr, text);
		printf("# node %u does not know %s of node %u (kind %d)\n", n->number, text,
		       peer->number, (int)c->kind);
		all = false;
	}
	return all;
}

enum sim_outcome sim_node_path(const struct sim_node *n, const struct sim_node *peer)
{
	uint32_t slot = slot_of(n, peer->number);
	struct node_path p;

	if (slot == NODE_NONE || !node_conn_path(&n->node, slot, &p, sim_now(n->sim)))
		return SIM_OUT_NONE;
	for (unsigned i = 0; i < n->portal->n_relays; i++)
		if (ipaddr_eq(&p.ice.remote.ip, &n->portal->relays[i].addr4.ip) ||
		    ipaddr_eq(&p.ice.remote.ip, &n->portal->relays[i].addr6.ip))
			return SIM_OUT_RELAYED;
	return p.relayed ? SIM_OUT_RELAYED : SIM_OUT_DIRECT;
}

/* ---- to the portal ---- */

static struct sim_msg message(const struct sim_node *n, enum sim_msg_kind kind, unsigned about)
{
	struct sim_msg m;

	memset(&m, 0, sizeof(m));
	m.kind = kind;
	m.about = about;
	m.epoch = n->epoch;
	return m;
}

static void tell(struct sim_node *n, const struct sim_msg *m)
{
	sim_msg_send(n->sim, n->host, n->portal->host, m);
}

static void signal_cand(struct sim_node *n, unsigned peer, bool gone, const char *text)
{
	struct sim_msg m = message(n, gone ? SIM_MSG_CAND_GONE : SIM_MSG_CAND, peer);

	memcpy(m.text, text, strlen(text));
	tell(n, &m);
}

static void candidate(struct sim_node *n, uint32_t slot, bool gone, const char *text)
{
	struct sim_conn *c = &n->conns[slot];
	struct uuid id = sim_node_uuid(c->peer);

	c->n_signalled += !gone;
	if (n->joined)
		signal_cand(n, c->peer, gone, text);
	else if ((gone ? cand_hold_remove : cand_hold_add)(&n->hold, &id, text))
		sim_fail(n->sim, "node %u: candidates do not fit", n->number);
}

static void flush_held(struct sim_node *n)
{
	struct cand_hold_batch b;

	while (cand_hold_pop(&n->hold, &b))
		for (size_t i = 0; i < b.n; i++)
			signal_cand(n, (unsigned)b.peer.b[1] << 8 | b.peer.b[2], b.removed,
				    b.lines[i]);
}

void sim_node_online(struct sim_node *n)
{
	struct sim_msg m = message(n, SIM_MSG_HELLO, n->number);

	memcpy(m.pub, node_public_key(&n->node), sizeof(m.pub));
	n->online = true;
	tell(n, &m);
}

void sim_node_offline(struct sim_node *n)
{
	sim_portal_cut(n->portal, n->number);
	n->epoch = n->portal->nodes[n->number].epoch;
	n->online = n->joined = false;
}

/* ---- asking for connections ---- */

void sim_node_want(struct sim_node *client, const struct sim_node *gateway)
{
	struct sim_conn *c = &client->conns[slot_for(client, gateway->number)];

	c->wanted = true;
	c->wanted_at = c->ask_at = sim_now(client->sim);
	sim_kick(client->sim, client->host);
}

void sim_node_want_again(struct sim_node *client, const struct sim_node *gateway)
{
	struct sim_msg m = message(client, SIM_MSG_WANT, gateway->number);

	tell(client, &m);
}

uint64_t sim_node_ask_at(const struct sim_node *n)
{
	uint64_t at = TIME_NEVER;

	for (uint32_t i = 0; n->joined && i < n->n_conns; i++)
		if (n->conns[i].wanted && !node_conn(&n->node, i) && n->conns[i].ask_at < at)
			at = n->conns[i].ask_at;
	/* due while the portal was away */
	return at < sim_now(n->sim) ? sim_now(n->sim) : at;
}

void sim_node_ask(struct sim_node *n, uint64_t now)
{
	for (uint32_t i = 0; n->joined && i < n->n_conns; i++) {
		struct sim_conn *c = &n->conns[i];
		struct sim_msg m = message(n, SIM_MSG_WANT, c->peer);

		if (!c->wanted || node_conn(&n->node, i) || !time_reached(c->ask_at, now))
			continue;
		c->ask_at = now + SIM_REASK_NS;
		tell(n, &m);
	}
}

/* ---- from the portal ---- */

static void relays(struct sim_node *n, const struct sim_msg *m, uint64_t now)
{
	struct node_relay add[SIM_PORTAL_SENT];

	memset(add, 0, sizeof(add));
	for (unsigned i = 0; i < m->n_add; i++) {
		add[i].id = m->add[i].id;
		add[i].addr4 = m->add[i].addr4;
		add[i].addr6 = m->add[i].addr6;
		memcpy(add[i].username, m->add[i].username, sizeof(m->add[i].username));
		memcpy(add[i].password, m->add[i].password, sizeof(m->add[i].password));
	}
	node_update_relays(&n->node, m->gone, m->n_gone, add, m->n_add, now);
}

static void flow(struct sim_node *n, const struct sim_msg *m, uint64_t now)
{
	uint32_t slot = slot_for(n, m->about);

	if (node_upsert(&n->node, slot, &m->peer, now) == NODE_UPSERT_BUSY) {
		node_close(&n->node, slot, now);
		sim_node_events(n, now);
		if (node_upsert(&n->node, slot, &m->peer, now) != NODE_UPSERT_CREATED)
			sim_fail(n->sim, "node %u: slot is not free", n->number);
	}
	if (n->gateway) {
		struct sim_msg yes = message(n, SIM_MSG_FLOW, m->about);

		tell(n, &yes); /* ahead of the candidates */
	}
}

static void peer_candidate(struct sim_node *n, const struct sim_msg *m, uint64_t now)
{
	uint32_t slot = slot_of(n, m->about);
	bool gone = m->kind == SIM_MSG_CAND_GONE;

	if (slot == NODE_NONE || !node_conn(&n->node, slot))
		return;
	n->conns[slot].n_heard += !gone;
	if (!(gone ? node_remove_candidate : node_add_candidate)(&n->node, slot, m->text,
								 strlen(m->text), now))
		n->conns[slot].n_refused++;
}

void sim_node_portal(void *self, unsigned from, const void *msg, size_t len, uint64_t now)
{
	struct sim_node *n = self;
	struct sim_msg m;

	(void)from;
	(void)len;
	memcpy(&m, msg, sizeof(m));
	if (!n->online || m.epoch != n->epoch)
		return;
	switch (m.kind) {
	case SIM_MSG_INIT:
		n->joined = true;
		relays(n, &m, now);
		flush_held(n);
		break;
	case SIM_MSG_PRESENCE:
		relays(n, &m, now);
		break;
	case SIM_MSG_FLOW:
		flow(n, &m, now);
		break;
	case SIM_MSG_CAND:
	case SIM_MSG_CAND_GONE:
		peer_candidate(n, &m, now);
		break;
	case SIM_MSG_RELAY_UP:
	case SIM_MSG_RELAY_GONE:
	case SIM_MSG_HELLO:
	case SIM_MSG_NO_RELAYS:
	case SIM_MSG_WANT:
		abort();
	}
	sim_node_events(n, now);
}

/* ---- the node's events ---- */

static void session(struct sim_node *n, uint32_t slot, const struct wg_event *ev, uint64_t now)
{
	const struct wg_times *t = &n->node.cfg.wg_times;
	struct fwd_session_new s = {.local_idx = ev->local_idx,
				    .remote_idx = ev->remote_idx,
				    .peer = slot,
				    .initiator = ev->initiator,
				    .rx_until_ns = ev->birth_ns + t->reject_after_ns};
	struct fwd_keys keys;

	s.tx_until_ns = ev->birth_ns + (ev->initiator ? t->initiator_stop_ns : t->reject_after_ns);
	s.keys = &keys;
	memcpy(keys.recv, ev->keys.recv, sizeof(keys.recv));
	memcpy(keys.send, ev->keys.send, sizeof(keys.send));
	fwd_session_install(&n->fwd, &s, now);
	crypto_wipe(&keys, sizeof(keys));
	n->conns[slot].sessions++;
}

static void wg_event(struct sim_node *n, uint32_t slot, const struct wg_event *ev, uint64_t now)
{
	switch (ev->type) {
	case WG_EV_SESSION:
		session(n, slot, ev, now);
		break;
	case WG_EV_SESSION_CURRENT:
		fwd_peer_set_tx(&n->fwd, slot, ev->local_idx);
		break;
	case WG_EV_SESSION_IDLE:
		fwd_peer_set_tx(&n->fwd, slot, 0);
		break;
	case WG_EV_SESSION_DEAD:
	case WG_EV_INDEX_RELEASED:
		fwd_index_free(&n->fwd, ev->local_idx);
		break;
	case WG_EV_HANDSHAKE_DONE:
		n->conns[slot].handshakes++;
		break;
	case WG_EV_KEEPALIVE:
		sim_node_seal(n, slot, NULL, 0, now);
		break;
	case WG_EV_NONE:
	case WG_EV_EXPIRED:
		break;
	}
}

static void of_node(struct sim_node *n, const struct node_event *ev)
{
	struct sim_msg m = message(n, SIM_MSG_NO_RELAYS, n->number);

	n->relay_gone += ev->kind == NODE_EV_RELAY_GONE;
	if (ev->kind != NODE_EV_NO_RELAYS)
		return;
	n->no_relays++;
	if (n->joined)
		tell(n, &m);
}

/* SIM_TRACE=1: what nodes tell, for looking at one seed. */
static void trace(const struct sim_node *n, const struct node_event *ev, uint64_t now)
{
	static const char *const names[] = {
		[NODE_EV_CANDIDATE] = "candidate",
		[NODE_EV_CANDIDATE_GONE] = "candidate gone",
		[NODE_EV_PATH] = "path",
		[NODE_EV_ESTABLISHED] = "established",
		[NODE_EV_FAILED] = "failed",
		[NODE_EV_CLOSED] = "closed",
		[NODE_EV_CHANNEL_UP] = "channel up",
		[NODE_EV_CHANNEL_DOWN] = "channel down",
		[NODE_EV_RELAY_GONE] = "relay gone",
		[NODE_EV_NO_RELAYS] = "no relays",
	};
	char a[ENDPOINT_STRLEN], b[ENDPOINT_STRLEN];
	bool chan = ev->kind == NODE_EV_CHANNEL_UP || ev->kind == NODE_EV_CHANNEL_DOWN;

	if (ev->kind == NODE_EV_WANT_INDEX || ev->kind == NODE_EV_WG || !getenv("SIM_TRACE"))
		return;
	printf("# %10.3f node %u %s", (double)now / 1e9, n->number, names[ev->kind]);
	if (ev->kind == NODE_EV_CANDIDATE || ev->kind == NODE_EV_CANDIDATE_GONE)
		printf(" %s", ev->text);
	else if (ev->kind == NODE_EV_PATH)
		printf(" %s -> %s relayed=%d channel=%x", endpoint_fmt(&ev->path.ice.local, a),
		       endpoint_fmt(&ev->path.ice.remote, b), ev->path.relayed, ev->path.channel);
	else if (chan)
		printf(" %x %s for %s", ev->channel.number, endpoint_fmt(&ev->channel.relay, a),
		       endpoint_fmt(&ev->channel.peer, b));
	printf(" %s\n",
	       ev->kind == NODE_EV_FAILED || ev->kind == NODE_EV_RELAY_GONE ? ev->why : "");
}

static void apply(struct sim_node *n, struct node_event *ev, uint64_t now)
{
	struct sim_conn *c = ev->conn == NODE_NONE ? NULL : &n->conns[ev->conn];

	switch (ev->kind) {
	case NODE_EV_CANDIDATE:
	case NODE_EV_CANDIDATE_GONE:
		candidate(n, ev->conn, ev->kind == NODE_EV_CANDIDATE_GONE, ev->text);
		break;
	case NODE_EV_PATH:
		c->paths++;
		c->has_path = true;
		c->path = ev->path;
		if (!c->first_path_at)
			c->first_path_at = now;
		break;
	case NODE_EV_WANT_INDEX:
		node_give_index(&n->node, ev->conn, fwd_index_alloc(&n->fwd));
		break;
	case NODE_EV_WG:
		wg_event(n, ev->conn, &ev->wg, now);
		break;
	case NODE_EV_ESTABLISHED:
		c->established++;
		c->established_at = now;
		break;
	case NODE_EV_FAILED: {
		struct uuid id = sim_node_uuid(c->peer);

		c->failed++;
		c->failed_at = now;
		c->fail_why = ev->why;
		cand_hold_drop_peer(&n->hold, &id);
		node_close(&n->node, ev->conn, now);
		break;
	}
	case NODE_EV_CLOSED:
		c->closed++;
		c->has_path = false;
		break;
	case NODE_EV_CHANNEL_UP:
	case NODE_EV_CHANNEL_DOWN:
	case NODE_EV_RELAY_GONE:
	case NODE_EV_NO_RELAYS:
		of_node(n, ev);
		break;
	}
}

/* Note what became of the agents. */
static void watch(struct sim_node *n, uint64_t now)
{
	for (uint32_t i = 0; i < n->n_conns; i++) {
		const struct node_conn *inner = n->conns[i].used ? node_conn(&n->node, i) : NULL;
		struct sim_conn *c = &n->conns[i];
		enum ice_state was = c->ice_state;

		c->ice_state = inner ? ice_state(&inner->ice) : ICE_NEW;
		if (c->ice_state == was)
			continue;
		c->n_checking_again += was == ICE_DISCONNECTED && c->ice_state == ICE_CHECKING;
		if (c->ice_state != ICE_DISCONNECTED)
			continue;
		c->n_disconnected++;
		c->disconnected_at = now;
	}
}

void sim_node_events(struct sim_node *n, uint64_t now)
{
	struct node_event ev;

	while (node_poll_event(&n->node, &ev, now)) {
		trace(n, &ev, now);
		apply(n, &ev, now);
	}
	watch(n, now);
}
