/* SPDX-License-Identifier: Apache-2.0
 * The set of relays: added, replaced, removed, remembered, sampled; see node_relay.h. */
#include "core/node/node_priv.h"

#include <string.h>

#include "crypto/crypto.h"

#define DEFAULT_REALM "firezone"
#define MAD_FLOOR_NS  (2 * NS_PER_MS)

void node_relays_fini(struct node *n)
{
	for (unsigned r = 0; r < n->mem.n_relays; r++) {
		if (n->relays.at[r].state != NODE_RELAY_FREE)
			turn_fini(&n->mem.relays[r]);
		n->relays.at[r].state = NODE_RELAY_FREE;
	}
}

/* ---- finding ---- */

unsigned node_relay_of_server(const struct node *n, const struct endpoint *remote)
{
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN &&
		    turn_is_server(&n->mem.relays[r], remote))
			return r;
	return NODE_RELAY_NONE;
}

unsigned node_relay_of_local(const struct node *n, const struct endpoint *local)
{
	struct endpoint relayed;

	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN &&
		    turn_relayed(&n->mem.relays[r], local->ip.family, &relayed) &&
		    endpoint_eq(&relayed, local))
			return r;
	return NODE_RELAY_NONE;
}

bool node_relay_was(const struct node *n, const struct endpoint *remote)
{
	for (uint32_t i = 0; i < n->relays.n_former; i++)
		if (endpoint_eq(&n->relays.former[i], remote))
			return true;
	return false;
}

bool node_relay_host(const struct node *n, const struct ipaddr *ip)
{
	for (unsigned r = 0; r < n->mem.n_relays; r++) {
		const struct turn_cfg *cfg = &n->mem.relays[r].cfg;

		if (n->relays.at[r].state == NODE_RELAY_OPEN &&
		    (ipaddr_eq(&cfg->addr4.ip, ip) || ipaddr_eq(&cfg->addr6.ip, ip)))
			return true;
	}
	for (uint32_t i = 0; i < n->relays.n_former; i++)
		if (ipaddr_eq(&n->relays.former[i].ip, ip))
			return true;
	return false;
}

static unsigned relay_by_id(const struct node *n, const struct uuid *id)
{
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN && uuid_eq(&n->relays.at[r].id, id))
			return r;
	return NODE_RELAY_NONE;
}

/* ---- removing ---- */

static void remember(struct node *n, const struct endpoint *addr)
{
	struct node_relays *s = &n->relays;

	if (!addr->ip.family || node_relay_was(n, addr))
		return;
	s->former[s->former_next] = *addr;
	s->former_next = (s->former_next + 1) % NODE_FORMER_MAX;
	if (s->n_former < NODE_FORMER_MAX)
		s->n_former++;
}

void node_relay_drop(struct node *n, unsigned r, const char *why, uint64_t now)
{
	struct node_relay_slot *s = &n->relays.at[r];
	struct turn *t = &n->mem.relays[r];
	struct turn_cand cand = {.kind = TURN_CAND_RELAY};

	remember(n, &t->cfg.addr4);
	remember(n, &t->cfg.addr6);
	for (uint8_t family = 4; family <= 6; family += 2)
		if (turn_relayed(t, family, &cand.addr)) {
			cand.base = cand.addr;
			node_home_cand_gone(n, r, &cand, now);
		}
	s->state = NODE_RELAY_CLOSING;
	s->ready = false;
	s->gone_why = why;
	n->relays.n_open--;
	for (uint32_t slot = 0; slot < n->mem.n_conns; slot++) {
		struct node_conn *c = &n->mem.conns[slot];

		/* failed ones as well: they are still to be closed */
		if (c->state == NODE_FREE || c->state == NODE_CLOSING)
			continue;
		if (c->path_relay == r)
			node_path_lost(n, slot);
		if (c->relay == r)
			c->relay = NODE_RELAY_NONE;
	}
	s->n_conns = 0;
	/* forgets its channels, and tells of their end */
	turn_restart(t, now);
}

void node_relays_count(struct node *n)
{
	n->relays.none_news |= !n->relays.n_open;
}

/* ---- the portal's news ---- */

static bool terminated(const char *text, size_t cap)
{
	return memchr(text, 0, cap) != NULL;
}

/* As the TURN client wants it; bytes after the strings are zero, so that memcmp is equality. */
static bool turn_cfg_make(const struct node_relay *a, struct turn_cfg *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	if (!terminated(a->username, sizeof(a->username)) ||
	    !terminated(a->password, sizeof(a->password)) ||
	    !terminated(a->realm, sizeof(a->realm)))
		return false;
	cfg->addr4 = a->addr4;
	cfg->addr6 = a->addr6;
	memcpy(cfg->username, a->username, strlen(a->username));
	memcpy(cfg->password, a->password, strlen(a->password));
	if (a->realm[0])
		memcpy(cfg->realm, a->realm, strlen(a->realm));
	else
		memcpy(cfg->realm, DEFAULT_REALM, sizeof(DEFAULT_REALM));
	return true;
}

static bool cfg_same(const struct turn_cfg *a, const struct turn_cfg *b)
{
	return endpoint_eq(&a->addr4, &b->addr4) && endpoint_eq(&a->addr6, &b->addr6) &&
	       !memcmp(a->username, b->username, sizeof(a->username)) &&
	       crypto_equal(a->password, b->password, sizeof(a->password)) &&
	       !memcmp(a->realm, b->realm, sizeof(a->realm));
}

static unsigned free_slot(const struct node *n)
{
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_FREE)
			return r;
	return NODE_RELAY_NONE;
}

/* The slot it has now, or NODE_RELAY_NONE. */
static unsigned relay_put(struct node *n, const struct node_relay *a, uint64_t now)
{
	unsigned r = relay_by_id(n, &a->id);
	struct turn_cfg cfg;
	uint8_t seed[32];

	if (!turn_cfg_make(a, &cfg)) {
		r = NODE_RELAY_NONE;
		goto out;
	}
	if (r != NODE_RELAY_NONE) {
		if (cfg_same(&n->mem.relays[r].cfg, &cfg))
			goto out;
		node_relay_drop(n, r, NULL, now);
	}
	r = free_slot(n);
	if (r == NODE_RELAY_NONE)
		goto out;
	rng_fork(&n->rng, seed);
	if (turn_init(&n->mem.relays[r], &cfg, seed, now)) {
		turn_fini(&n->mem.relays[r]);
		r = NODE_RELAY_NONE;
	} else {
		n->relays.at[r] = (struct node_relay_slot){.state = NODE_RELAY_OPEN, .id = a->id};
		n->relays.n_open++;
	}
	crypto_wipe(seed, sizeof(seed));
out:
	crypto_wipe(&cfg, sizeof(cfg));
	return r;
}

void node_update_relays(struct node *n, const struct uuid *gone, uint32_t n_gone,
			const struct node_relay *add, uint32_t n_add, uint64_t now)
{
	bool had = n->relays.n_open != 0, named[NODE_RELAYS_MAX] = {false};

	/* nobody moves from one that goes to another that goes */
	for (uint32_t i = 0; i < n_gone; i++) {
		unsigned r = relay_by_id(n, &gone[i]);

		if (r != NODE_RELAY_NONE)
			n->relays.at[r].ready = false;
	}
	for (uint32_t i = 0; i < n_gone; i++) {
		unsigned r = relay_by_id(n, &gone[i]);

		if (r != NODE_RELAY_NONE)
			node_relay_drop(n, r, NULL, now);
	}
	for (uint32_t i = 0; i < n_add; i++) {
		unsigned r = relay_put(n, &add[i], now);

		if (r == NODE_RELAY_NONE)
			n->acct.relays_refused++;
		else
			named[r] = true;
	}
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN && !named[r])
			turn_refresh(&n->mem.relays[r], now);
	node_home_all(n, now);
	if (had)
		node_relays_count(n);
}

void node_restart_relays(struct node *n, uint64_t now)
{
	memset(n->relays.has_srflx, 0, sizeof(n->relays.has_srflx));
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN)
			turn_restart(&n->mem.relays[r], now);
}

void node_relays_moved(struct node *n, const struct endpoint *host, uint64_t now)
{
	struct endpoint local, server;

	for (unsigned f = 0; f < 2; f++)
		if (endpoint_eq(&n->relays.srflx[f].base, host))
			n->relays.has_srflx[f] = false;
	for (unsigned r = 0; r < n->mem.n_relays; r++)
		if (n->relays.at[r].state == NODE_RELAY_OPEN &&
		    turn_route(&n->mem.relays[r], &local, &server) && endpoint_eq(&local, host))
			turn_restart(&n->mem.relays[r], now);
}

/* ---- looking in ---- */

uint32_t node_n_relays(const struct node *n)
{
	return n->relays.n_open;
}

bool node_relay_view(const struct node *n, uint32_t i, struct node_relay_view *out)
{
	const struct turn *t;

	if (i >= n->mem.n_relays || n->relays.at[i].state != NODE_RELAY_OPEN)
		return false;
	t = &n->mem.relays[i];
	*out = (struct node_relay_view){
		.id = n->relays.at[i].id,
		.addr4 = t->cfg.addr4,
		.addr6 = t->cfg.addr6,
		.mapped4 = t->srflx[0].now.addr,
		.mapped6 = t->srflx[1].now.addr,
		.rtt_ns = turn_rtt_ns(t),
		.expires_ns = t->expires_at,
		.state = turn_state(t),
		.why = t->why,
		.n_channels = turn_n_channels(t),
		.n_conns = n->relays.at[i].n_conns,
	};
	turn_route(t, &out->local, &out->server);
	turn_relayed(t, 4, &out->relayed4);
	turn_relayed(t, 6, &out->relayed6);
	return true;
}

/* ---- sampling ---- */

/* Sorts; the mean of the two in the middle when there is no middle. */
static uint64_t median(uint64_t *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		for (uint32_t k = i; k && v[k - 1] > v[k]; k--) {
			uint64_t x = v[k];

			v[k] = v[k - 1];
			v[k - 1] = x;
		}
	return n & 1 ? v[n / 2] : v[n / 2 - 1] / 2 + v[n / 2] / 2;
}

uint32_t node_relays_near(const uint64_t *rtt_ns, uint32_t n)
{
	uint64_t v[NODE_RELAYS_MAX], mid, mad, limit;
	uint32_t n_known = 0, mask = 0;

	for (uint32_t i = 0; i < n && i < NODE_RELAYS_MAX; i++)
		if (rtt_ns[i])
			v[n_known++] = rtt_ns[i];
	if (!n_known)
		return 0;
	mid = median(v, n_known);
	limit = v[0] + v[0] / 2;
	if (n_known > 2) {
		for (uint32_t i = 0; i < n_known; i++)
			v[i] = v[i] > mid ? v[i] - mid : mid - v[i];
		mad = median(v, n_known);
		limit = mid + 3 * (mad < MAD_FLOOR_NS ? MAD_FLOOR_NS : mad);
	}
	for (uint32_t i = 0; i < n && i < NODE_RELAYS_MAX; i++)
		if (rtt_ns[i] && rtt_ns[i] <= limit)
			mask |= UINT32_C(1) << i;
	return mask;
}
