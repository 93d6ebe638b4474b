/* SPDX-License-Identifier: Apache-2.0
 * The portal model. See sim_portal.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/relay/relay_auth.h"
#include "crypto/crypto.h"
#include "tests/sim/sim_portal.h"

struct uuid sim_node_uuid(unsigned node)
{
	return (struct uuid){{0x40, (uint8_t)(node >> 8), (uint8_t)node}};
}

void sim_msg_send(struct sim *s, unsigned from, unsigned to, const struct sim_msg *m)
{
	sim_portal_send(s, from, to, m, sizeof(*m));
}

/* ---- relays told to a node ---- */

static bool selectable(const struct sim_portal *p, const struct sim_portal_node *n, unsigned relay)
{
	return p->relays[relay].online && n->relay_mask >> relay & 1;
}

/* Those it knows stay; free places are drawn. */
static unsigned pick(struct sim_portal *p, const struct sim_portal_node *n,
		     unsigned out[SIM_PORTAL_SENT])
{
	unsigned pool[SIM_PORTAL_RELAYS_MAX], n_pool = 0, n_out = 0;

	for (unsigned r = 0; r < p->n_relays; r++) {
		bool known = false;

		for (unsigned i = 0; i < n->n_sent; i++)
			known |= n->sent[i].relay == r;
		if (!selectable(p, n, r))
			continue;
		if (known)
			out[n_out++] = r;
		else
			pool[n_pool++] = r;
	}
	while (n_out < SIM_PORTAL_SENT && n_pool) {
		unsigned i = (unsigned)sim_rand(p->sim, n_pool);

		out[n_out++] = pool[i];
		pool[i] = pool[--n_pool];
	}
	return n_out;
}

/* Ids told before that are not the same relay any more: away, or with another secret. */
static void list_gone(const struct sim_portal *p, const struct sim_portal_node *n,
		      struct sim_msg *m)
{
	for (unsigned i = 0; i < n->n_sent; i++) {
		const struct sim_portal_relay *r = &p->relays[n->sent[i].relay];

		if (!r->online || strcmp(r->secret, n->sent[i].secret))
			m->gone[m->n_gone++] = r->id;
	}
}

static void fill_relay(const struct sim_portal_node *n, const struct sim_portal_relay *r,
		       struct sim_msg_relay *out)
{
	char salt[9], password[RELAY_PASSWORD_CAP];

	out->id = r->id;
	out->addr4 = r->addr4;
	out->addr6 = r->addr6;
	for (unsigned i = 0; i < 4; i++)
		snprintf(salt + 2 * i, 3, "%02x", n->pub[i]);
	snprintf(out->username, sizeof(out->username), "%u:%s", SIM_UNIX_BASE + 30 * 86400, salt);
	if (relay_stamp_password(r->secret, out->username, strlen(out->username), password))
		abort();
	snprintf(out->password, sizeof(out->password), "%s", password);
}

static void tell_relays(struct sim_portal *p, unsigned node, enum sim_msg_kind kind)
{
	struct sim_portal_node *n = &p->nodes[node];
	struct sim_msg m;
	unsigned picked[SIM_PORTAL_SENT];

	memset(&m, 0, sizeof(m));
	m.kind = kind;
	m.epoch = n->epoch;
	if (kind == SIM_MSG_PRESENCE)
		list_gone(p, n, &m);
	m.n_add = pick(p, n, picked);
	n->n_sent = m.n_add;
	for (unsigned i = 0; i < m.n_add; i++) {
		const struct sim_portal_relay *r = &p->relays[picked[i]];

		fill_relay(n, r, &m.add[i]);
		n->sent[i].relay = picked[i];
		memcpy(n->sent[i].secret, r->secret, sizeof(r->secret));
	}
	sim_msg_send(p->sim, p->host, n->host, &m);
}

/* Has this node to hear of what changed? */
static bool concerned(const struct sim_portal *p, const struct sim_portal_node *n)
{
	struct sim_msg m = {0};
	bool more = false;

	list_gone(p, n, &m);
	for (unsigned r = 0; r < p->n_relays; r++)
		more |= selectable(p, n, r);
	return m.n_gone || (n->n_sent < SIM_PORTAL_SENT && more);
}

/* ---- introducing ---- */

/* Credentials follow from the two keys: the same as long as both nodes keep theirs (and the portal
 * its generation). */
static void fill_peer(const struct sim_portal_node *client, const struct sim_portal_node *gateway,
		      uint8_t generation, bool to_gateway, struct node_peer *np)
{
	struct ice_creds c = {"cccc", "cccccccccccccccccccccc"},
			 g = {"gggg", "gggggggggggggggggggggg"};
	uint8_t both[65], d[32];

	memcpy(both, client->pub, 32);
	memcpy(both + 32, gateway->pub, 32);
	both[64] = generation;
	sha256(both, sizeof(both), d);
	for (unsigned i = 0; i < 4; i++) {
		c.ufrag[i] = (char)('a' + d[i] % 26);
		g.ufrag[i] = (char)('a' + d[4 + i] % 26);
		c.pwd[i] = (char)('a' + d[8 + i] % 26);
		g.pwd[i] = (char)('a' + d[12 + i] % 26);
	}
	memcpy(np->psk, d, sizeof(np->psk));
	np->local = to_gateway ? g : c;
	np->remote = to_gateway ? c : g;
	memcpy(np->remote_pub, to_gateway ? client->pub : gateway->pub, 32);
}

/* One half of an introduction: node `to` hears of node `about`. */
static void introduce(struct sim_portal *p, unsigned to, unsigned about, bool to_gateway)
{
	struct sim_portal_node *n = &p->nodes[to];
	struct sim_msg m;

	memset(&m, 0, sizeof(m));
	m.kind = SIM_MSG_FLOW;
	m.epoch = n->epoch;
	m.about = about;
	m.peer.cid = sim_node_uuid(about);
	fill_peer(to_gateway ? &p->nodes[about] : n, to_gateway ? n : &p->nodes[about],
		  p->generation, to_gateway, &m.peer);
	sim_msg_send(p->sim, p->host, n->host, &m);
}

/* ---- messages ---- */

static void from_relay(struct sim_portal *p, const struct sim_msg *m, uint64_t now)
{
	struct sim_portal_relay *r = &p->relays[m->about];

	r->online = m->kind == SIM_MSG_RELAY_UP;
	if (r->online)
		memcpy(r->secret, m->secret, sizeof(r->secret));
	p->settle_at = now + p->settle_ns;
}

static void from_node(struct sim_portal *p, unsigned from, const struct sim_msg *m)
{
	struct sim_portal_node *n = &p->nodes[from], *other = &p->nodes[m->about];
	struct sim_msg fwd = *m;

	if (m->kind == SIM_MSG_HELLO && m->epoch == n->epoch) {
		n->online = true;
		memcpy(n->pub, m->pub, sizeof(n->pub));
		tell_relays(p, from, SIM_MSG_INIT);
		return;
	}
	if (!n->online || m->epoch != n->epoch)
		return;
	if (m->kind == SIM_MSG_NO_RELAYS) {
		tell_relays(p, from, SIM_MSG_PRESENCE);
	} else if (m->kind == SIM_MSG_WANT) {
		/* the gateway first: its answer is what brings the client's half */
		if (other->online)
			introduce(p, m->about, from, true);
	} else if (m->kind == SIM_MSG_FLOW) {
		if (other->online)
			introduce(p, m->about, from, false);
	} else if (other->online) {
		fwd.about = from;
		fwd.epoch = other->epoch;
		sim_msg_send(p->sim, p->host, other->host, &fwd);
	}
}

static void input(void *self, unsigned from, const void *msg, size_t len, uint64_t now)
{
	struct sim_portal *p = self;
	struct sim_msg m;

	(void)len;
	memcpy(&m, msg, sizeof(m));
	if (m.kind == SIM_MSG_RELAY_UP || m.kind == SIM_MSG_RELAY_GONE) {
		from_relay(p, &m, now);
		return;
	}
	for (unsigned i = 0; i < p->n_nodes; i++)
		if (p->nodes[i].host == from)
			from_node(p, i, &m);
}

static struct deadline deadline(const void *self)
{
	const struct sim_portal *p = self;

	return (struct deadline){p->hold ? TIME_NEVER : p->settle_at, "relays changed"};
}

static void timeout(void *self, uint64_t now)
{
	struct sim_portal *p = self;

	if (p->hold || !time_reached(p->settle_at, now))
		return;
	p->settle_at = TIME_NEVER;
	for (unsigned i = 0; i < p->n_nodes; i++)
		if (p->nodes[i].online && concerned(p, &p->nodes[i]))
			tell_relays(p, i, SIM_MSG_PRESENCE);
}

static const struct sim_ops ops = {.portal = input, .deadline = deadline, .timeout = timeout};

void sim_portal_init(struct sim_portal *p, struct sim *sim)
{
	const struct sim_link none = {0};

	memset(p, 0, sizeof(*p));
	p->sim = sim;
	p->settle_ns = NS_PER_SEC;
	p->settle_at = TIME_NEVER;
	p->host = sim_host_add(sim, &ops, p, &none);
}

unsigned sim_portal_relay_add(struct sim_portal *p, const struct uuid *id,
			      const struct endpoint *addr4, const struct endpoint *addr6)
{
	p->relays[p->n_relays] = (struct sim_portal_relay){
		.id = *id, .addr4 = *addr4, .addr6 = *addr6};
	return p->n_relays++;
}

unsigned sim_portal_node_add(struct sim_portal *p, unsigned host)
{
	p->nodes[p->n_nodes] = (struct sim_portal_node){.host = host, .relay_mask = UINT32_MAX};
	return p->n_nodes++;
}

void sim_portal_relay_mask(struct sim_portal *p, unsigned node, uint32_t mask)
{
	p->nodes[node].relay_mask = mask;
}

void sim_portal_hold(struct sim_portal *p, bool hold)
{
	p->hold = hold;
	if (!hold && p->settle_at < sim_now(p->sim))
		p->settle_at = sim_now(p->sim);
}

void sim_portal_cut(struct sim_portal *p, unsigned node)
{
	p->nodes[node].online = false;
	p->nodes[node].epoch++;
}
