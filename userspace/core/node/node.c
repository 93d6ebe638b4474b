/* SPDX-License-Identifier: Apache-2.0
 * Connections come and go, and the addresses they may use; see node.h. */
#include "core/node/node_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crypto/crypto.h"

const char *node_state_name(enum node_state s)
{
	static const char *const names[] = {
		[NODE_FREE] = "free",		[NODE_CONNECTING] = "connecting",
		[NODE_CONNECTED] = "connected", [NODE_IDLE] = "idle",
		[NODE_FAILED] = "failed",	[NODE_CLOSING] = "closing",
	};

	return names[s];
}

void node_conn_set_state(struct node_conn *c, enum node_state to)
{
	static const uint8_t legal[] = {
		[NODE_FREE] = 1 << NODE_CONNECTING,
		[NODE_CONNECTING] = 1 << NODE_CONNECTED | 1 << NODE_FAILED | 1 << NODE_CLOSING,
		[NODE_CONNECTED] = 1 << NODE_IDLE | 1 << NODE_FAILED | 1 << NODE_CLOSING,
		[NODE_IDLE] = 1 << NODE_CONNECTED | 1 << NODE_FAILED | 1 << NODE_CLOSING,
		[NODE_FAILED] = 1 << NODE_CLOSING,
		[NODE_CLOSING] = 1 << NODE_FREE,
	};

	assert(legal[c->state] >> to & 1);
	c->state = to;
}

bool node_conn_open(const struct node_conn *c)
{
	return c->state == NODE_CONNECTING || c->state == NODE_CONNECTED || c->state == NODE_IDLE;
}

/* ---- chains ---- */

uint32_t node_hash(const struct node *n, const void *key, size_t len)
{
	const uint8_t *p = key;
	uint64_t h = n->hash_seed;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return (uint32_t)(h ^ h >> 32);
}

uint32_t node_hash_peer(const struct node *n, const struct endpoint *e)
{
	return node_hash(n, e->ip.b, sizeof(e->ip.b)) ^ e->port * UINT32_C(0x9e3779b1);
}

uint32_t *node_bucket(const struct node *n, enum node_chain chain, uint32_t hash)
{
	return &n->mem.buckets[(uint32_t)chain * n->mem.n_buckets +
			       (hash & (n->mem.n_buckets - 1))];
}

static uint32_t chain_hash(const struct node *n, const struct node_conn *c, enum node_chain chain)
{
	switch (chain) {
	case NODE_BY_CID:
		return node_hash(n, c->cid.b, sizeof(c->cid.b));
	case NODE_BY_UFRAG:
		return node_hash(n, c->ice.local_creds.ufrag, strlen(c->ice.local_creds.ufrag));
	case NODE_BY_KEY:
		return node_hash(n, c->remote_pub, sizeof(c->remote_pub));
	case NODE_BY_PEER:
		return node_hash_peer(n, &c->path.remote);
	case NODE_CHAINS:
		break;
	}
	return 0;
}

void node_chain_link(struct node *n, uint32_t slot, enum node_chain chain)
{
	struct node_conn *c = &n->mem.conns[slot];
	uint32_t *head = node_bucket(n, chain, chain_hash(n, c, chain));

	c->next[chain] = *head;
	*head = slot;
}

void node_chain_unlink(struct node *n, uint32_t slot, enum node_chain chain)
{
	struct node_conn *c = &n->mem.conns[slot];
	uint32_t *at = node_bucket(n, chain, chain_hash(n, c, chain));

	while (*at != slot && *at != NODE_NONE)
		at = &n->mem.conns[*at].next[chain];
	if (*at == slot)
		*at = c->next[chain];
}

uint32_t node_find(const struct node *n, const struct uuid *cid)
{
	uint32_t slot = *node_bucket(n, NODE_BY_CID, node_hash(n, cid->b, sizeof(cid->b)));

	for (; slot != NODE_NONE; slot = n->mem.conns[slot].next[NODE_BY_CID])
		if (node_conn_open(&n->mem.conns[slot]) && uuid_eq(&n->mem.conns[slot].cid, cid))
			return slot;
	return NODE_NONE;
}

const struct node_conn *node_conn(const struct node *n, uint32_t slot)
{
	const struct node_conn *c = slot < n->mem.n_conns ? &n->mem.conns[slot] : NULL;

	return c && node_conn_open(c) ? c : NULL;
}

/* ---- the node ---- */

int node_init(struct node *n, const struct node_cfg *cfg, const struct node_mem *mem,
	      const uint8_t priv[32], const uint8_t seed[32], struct wall wall, uint64_t now)
{
	uint8_t sub[32];

	if (!mem->n_conns || !mem->n_buckets || (mem->n_buckets & (mem->n_buckets - 1)) ||
	    !mem->n_slots || (mem->n_slots & (mem->n_slots - 1)) ||
	    mem->n_relays > NODE_RELAYS_MAX || (mem->n_relays && !mem->relays))
		return -EINVAL;
	memset(n, 0, sizeof(*n));
	n->cfg = *cfg;
	n->mem = *mem;
	n->hot_head = n->hot_tail = NODE_NONE;
	n->ask_head = n->ask_tail = NODE_NONE;
	rng_init(&n->rng, seed);
	n->hash_seed = rng_u64(&n->rng);
	for (uint32_t i = 0; i < NODE_CHAINS * mem->n_buckets; i++)
		mem->buckets[i] = NODE_NONE;
	for (uint32_t i = 0; i < mem->n_slots; i++)
		mem->conn_of_slot[i] = NODE_NONE;
	due_heap_init(&n->due, mem->due, mem->due_pos, mem->n_conns);
	rng_fork(&n->rng, sub);
	wg_local_init(&n->wg, priv, sub, wall, now);
	crypto_wipe(sub, sizeof(sub));
	return 0;
}

void node_fini(struct node *n)
{
	for (uint32_t i = 0; i < n->mem.n_conns; i++) {
		struct node_conn *c = &n->mem.conns[i];

		if (c->state == NODE_FREE)
			continue;
		wg_peer_fini(&c->wg);
		ice_fini(&c->ice);
		crypto_wipe(c->psk, sizeof(c->psk));
		c->state = NODE_FREE;
	}
	node_relays_fini(n);
	wg_local_fini(&n->wg);
	rng_wipe(&n->rng);
}

void node_rekey(struct node *n, const uint8_t priv[32], struct wall wall, uint64_t now)
{
	uint8_t sub[32];

	assert(!n->n_used);
	wg_local_fini(&n->wg);
	rng_fork(&n->rng, sub);
	wg_local_init(&n->wg, priv, sub, wall, now);
	crypto_wipe(sub, sizeof(sub));
}

const uint8_t *node_public_key(const struct node *n)
{
	return n->wg.key.pub;
}

/* ---- local addresses ---- */

/* Announce it, or tell of its end: one of two masks. */
static void conn_signal(struct node *n, uint32_t slot, const struct ice_cand *cand, uint32_t *set,
			uint32_t *clear)
{
	const struct ice *ice = &n->mem.conns[slot].ice;

	for (unsigned i = 0; i < ice_n_locals(ice); i++)
		if (ice_cand_same(ice_local(ice, i), cand)) {
			*set |= UINT32_C(1) << i;
			*clear &= ~(UINT32_C(1) << i);
		}
	node_conn_wake(n, slot);
}

void node_conn_add_local(struct node *n, uint32_t slot, const struct ice_cand *cand, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	enum ice_add rc = ice_add_local(&c->ice, cand, NULL, now);

	if (rc == ICE_ADD_NEW || rc == ICE_ADD_REENABLED || rc == ICE_ADD_REPLACED)
		conn_signal(n, slot, cand, &c->signal_mask, &c->gone_mask);
}

void node_conn_drop_local(struct node *n, uint32_t slot, const struct ice_cand *cand, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];

	if (ice_remove_local(&c->ice, cand, now))
		conn_signal(n, slot, cand, &c->gone_mask, &c->signal_mask);
}

static bool has_endpoint(const struct endpoint *set, uint32_t n, const struct endpoint *e)
{
	for (uint32_t i = 0; i < n; i++)
		if (endpoint_eq(&set[i], e))
			return true;
	return false;
}

static void add_host(struct node *n, const struct endpoint *e, uint64_t now)
{
	struct ice_cand cand = ice_cand_host(e);

	n->hosts[n->n_hosts++] = *e;
	for (uint32_t slot = 0; slot < n->mem.n_conns; slot++)
		if (node_conn_open(&n->mem.conns[slot])) {
			node_conn_add_local(n, slot, &cand, now);
			node_conn_touch(n, slot, now);
		}
}

bool node_learn_host(struct node *n, const struct endpoint *local, uint64_t now)
{
	if (has_endpoint(n->hosts, n->n_hosts, local))
		return true;
	if (!ice_addr_usable(local))
		return false;
	if (n->n_hosts == NODE_HOSTS_MAX) {
		n->acct.hosts_full++;
		return false;
	}
	add_host(n, local, now);
	return true;
}

void node_set_hosts(struct node *n, const struct endpoint *hosts, uint32_t n_hosts, uint64_t now)
{
	for (uint32_t i = 0; i < n->n_hosts;) {
		struct endpoint gone = n->hosts[i];
		struct ice_cand cand = ice_cand_host(&gone);

		if (has_endpoint(hosts, n_hosts, &gone)) {
			i++;
			continue;
		}
		n->hosts[i] = n->hosts[--n->n_hosts];
		node_relays_moved(n, &gone, now);
		for (uint32_t slot = 0; slot < n->mem.n_conns; slot++)
			if (node_conn_open(&n->mem.conns[slot])) {
				node_conn_drop_local(n, slot, &cand, now);
				node_home_drop_base(n, slot, &gone, now);
			}
	}
	for (uint32_t i = 0; i < n_hosts; i++)
		node_learn_host(n, &hosts[i], now);
}

/* ---- connections ---- */

static bool creds_eq(const struct ice_creds *a, const struct ice_creds *b)
{
	return !strcmp(a->ufrag, b->ufrag) && crypto_equal(a->pwd, b->pwd, sizeof(a->pwd));
}

static bool same_peer(const struct node_conn *c, const struct node_peer *p)
{
	return creds_eq(&c->ice.local_creds, &p->local) &&
	       creds_eq(&c->ice.remote_creds, &p->remote) &&
	       !memcmp(c->remote_pub, p->remote_pub, sizeof(c->remote_pub)) &&
	       crypto_equal(c->psk, p->psk, sizeof(c->psk));
}

void node_conn_announce(struct node_conn *c)
{
	for (unsigned i = 0; i < ice_n_locals(&c->ice); i++)
		if (!ice_local(&c->ice, i)->discarded)
			c->signal_mask |= 1u << i;
}

/* The same authorisation again: the peer may have lost what it knew, so tell it everything once
 * more. */
static void reuse(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];

	node_conn_announce(c);
	node_conn_touch(n, slot, now);
	if (c->controlling && c->has_path && time_since(c->rolled_ns, now) >= NODE_ROLL_MIN_NS) {
		c->rolled_ns = now;
		wg_peer_initiate(&c->wg, now);
	}
	node_conn_wake(n, slot);
}

static int conn_init(struct node *n, uint32_t slot, const struct node_peer *p, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	struct ice_cfg icfg = {
		.controlling = !n->cfg.gateway,
		.local = p->local,
		.remote = p->remote,
		.timing = n->cfg.gateway ? ICE_TIMING_GATEWAY_ACTIVE : ICE_TIMING_ACTIVE,
		/* the slot in the low bits makes a response's agent an array access */
		.tag = (rng_u32(&n->rng) & ~UINT32_C(0xfffff)) | slot,
	};
	struct wg_peer_cfg wcfg = {
		.may_initiate = !n->cfg.gateway,
		.rekey_idle = true,
		.times = n->cfg.wg_times,
	};
	uint8_t sub[32];
	int rc;

	memcpy(wcfg.remote_pub, p->remote_pub, sizeof(wcfg.remote_pub));
	memcpy(wcfg.psk, p->psk, sizeof(wcfg.psk));
	*c = (struct node_conn){
		.state = NODE_FREE,
		.controlling = icfg.controlling,
		.hot = c->hot, /* the slot may still stand in the queues from its former life */
		.hot_next = c->hot_next,
		.asked = c->asked,
		.ask_next = c->ask_next,
		.relay = NODE_RELAY_NONE,
		.path_relay = NODE_RELAY_NONE,
		.cid = p->cid,
		.created_ns = now,
		.last_activity_ns = now,
		.rolled_ns = now,
		.candidate_by_ns = time_add(now, NODE_CANDIDATE_TIMEOUT_NS),
		.retell_at = TIME_NEVER,
	};
	memcpy(c->remote_pub, p->remote_pub, sizeof(c->remote_pub));
	memcpy(c->psk, p->psk, sizeof(c->psk));
	ice_grace_init(&c->grace);
	rng_fork(&n->rng, sub);
	rc = ice_init(&c->ice, &icfg, sub, now);
	if (!rc) {
		rng_fork(&n->rng, sub);
		rc = wg_peer_init(&c->wg, &n->wg, &wcfg, sub, now);
	}
	crypto_wipe(sub, sizeof(sub));
	crypto_wipe(&wcfg, sizeof(wcfg));
	return rc;
}

enum node_upsert node_upsert(struct node *n, uint32_t slot, const struct node_peer *p, uint64_t now)
{
	struct node_conn *c = slot < n->mem.n_conns ? &n->mem.conns[slot] : NULL;

	if (!c)
		return NODE_UPSERT_INVALID;
	if (node_conn_open(c) && uuid_eq(&c->cid, &p->cid) && same_peer(c, p)) {
		reuse(n, slot, now);
		return NODE_UPSERT_REUSED;
	}
	if (c->state != NODE_FREE)
		return NODE_UPSERT_BUSY;
	if (conn_init(n, slot, p, now)) {
		wg_peer_fini(&c->wg);
		ice_fini(&c->ice);
		crypto_wipe(c->psk, sizeof(c->psk));
		return NODE_UPSERT_INVALID;
	}
	node_conn_set_state(c, NODE_CONNECTING);
	n->n_used++;
	node_chain_link(n, slot, NODE_BY_CID);
	node_chain_link(n, slot, NODE_BY_UFRAG);
	node_chain_link(n, slot, NODE_BY_KEY);
	node_home_init(n, slot, now);
	node_conn_wake(n, slot);
	return NODE_UPSERT_CREATED;
}

void node_close(struct node *n, uint32_t slot, uint64_t now)
{
	struct node_conn *c = slot < n->mem.n_conns ? &n->mem.conns[slot] : NULL;

	if (!c || c->state == NODE_FREE || c->state == NODE_CLOSING)
		return;
	wg_peer_reset(&c->wg, now);
	node_chain_unlink(n, slot, NODE_BY_CID);
	node_chain_unlink(n, slot, NODE_BY_UFRAG);
	node_chain_unlink(n, slot, NODE_BY_KEY);
	node_path_forget(n, slot);
	node_home_fini(n, slot);
	node_conn_set_state(c, NODE_CLOSING);
	node_conn_wake(n, slot);
}

/* ---- signalled candidates ---- */

bool node_add_candidate(struct node *n, uint32_t slot, const char *text, size_t len, uint64_t now)
{
	struct node_conn *c;
	enum ice_add rc;

	if (!node_conn(n, slot))
		return false;
	c = &n->mem.conns[slot];
	rc = ice_add_remote_text(&c->ice, text, len, now);
	if (rc == ICE_ADD_REJECTED)
		return false;
	ice_add_optimistic(&c->ice, now);
	node_home_bind(n, slot, now);
	c->candidate_by_ns = TIME_NEVER;
	if (rc != ICE_ADD_REDUNDANT)
		node_conn_touch(n, slot, now);
	node_conn_wake(n, slot);
	return true;
}

bool node_remove_candidate(struct node *n, uint32_t slot, const char *text, size_t len,
			   uint64_t now)
{
	if (!node_conn(n, slot))
		return false;
	if (!ice_remove_remote_text(&n->mem.conns[slot].ice, text, len, now))
		return false;
	node_conn_touch(n, slot, now);
	node_conn_wake(n, slot);
	return true;
}
