/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocations in the tables, the ports they own or have reserved, and who holds how many. */
#include <assert.h>
#include <string.h>

#include "core/relay/relay_state.h"

_Static_assert(RELAY_NAME_MAX == RELAY_USERNAME_MAX, "any username fits a holder");

/* ---- holders ---- */

static uint32_t name_hash(const struct relay_table *t, const void *name, size_t len)
{
	return idx_hash(t->seed, name, len);
}

static uint32_t holder_find(const struct relay_table *t, const struct relay_holders *h,
			    const void *name, size_t len)
{
	uint32_t hash = name_hash(t, name, len), pos = 0, i;

	while ((i = idx_next(&h->idx, hash, &pos)) != IDX_NONE)
		if (h->slots[i].len == len && !memcmp(h->slots[i].name, name, len))
			return i;
	return RELAY_NONE;
}

/* There are as many slots as allocations, so there is one. */
static uint32_t holder_add(const struct relay_table *t, struct relay_holders *h, const void *name,
			   size_t len, uint32_t alloc)
{
	uint32_t i = holder_find(t, h, name, len);

	if (i == RELAY_NONE) {
		i = h->free;
		assert(i != RELAY_NONE && len <= RELAY_NAME_MAX);
		h->free = h->slots[i].next_free;
		h->slots[i] = (struct relay_holder){.len = (uint8_t)len};
		memcpy(h->slots[i].name, name, len);
		idx_insert(&h->idx, name_hash(t, name, len), i);
	}
	h->slots[i].count++;
	h->slots[i].alloc = alloc;
	return i;
}

static void holder_drop(const struct relay_table *t, struct relay_holders *h, uint32_t i)
{
	struct relay_holder *s = &h->slots[i];

	if (--s->count)
		return;
	idx_remove(&h->idx, name_hash(t, s->name, s->len), i);
	*s = (struct relay_holder){.next_free = h->free};
	h->free = i;
}

/* A source is one IPv4 address, or one IPv6 /64: within that a host chooses freely. */
static size_t source_name(const struct ipaddr *ip, uint8_t out[9])
{
	size_t len = ip->family == 4 ? 4 : 8;

	out[0] = ip->family;
	memcpy(out + 1, ip->b, len);
	return 1 + len;
}

const struct relay_holder *relay_user_find(const struct relay_table *t, const void *user,
					   size_t len)
{
	uint32_t i = holder_find(t, &t->users, user, len);

	return i == RELAY_NONE ? NULL : &t->users.slots[i];
}

const struct relay_holder *relay_source_find(const struct relay_table *t, const struct ipaddr *ip)
{
	uint8_t name[9];
	size_t len = source_name(ip, name);
	uint32_t i = holder_find(t, &t->sources, name, len);

	return i == RELAY_NONE ? NULL : &t->sources.slots[i];
}

/* ---- reservations ---- */

uint16_t relay_resv_find(const struct relay_table *t, const uint8_t token[RELAY_TOKEN_LEN])
{
	uint16_t port = 0;

	for (uint32_t i = 0; i < RELAY_RESVS; i++)
		if (t->resvs[i].port && crypto_equal(t->resvs[i].token, token, RELAY_TOKEN_LEN))
			port = t->resvs[i].port;
	return port;
}

static uint32_t resv_free(const struct relay_table *t)
{
	for (uint32_t i = 0; i < RELAY_RESVS; i++)
		if (!t->resvs[i].port)
			return i;
	return RELAY_NONE;
}

bool relay_resv_room(const struct relay_table *t)
{
	return resv_free(t) != RELAY_NONE;
}

static void resv_add(struct relay_table *t, uint32_t i, uint16_t port,
		     uint8_t token[RELAY_TOKEN_LEN], uint64_t now)
{
	rng_bytes(&t->rng, token, RELAY_TOKEN_LEN);
	t->resvs[i].port = port;
	memcpy(t->resvs[i].token, token, RELAY_TOKEN_LEN);
	relay_ports_take(&t->ports, port, RELAY_PORT_RESV | i);
	due_heap_set(&t->heap, relay_due_id(t, RELAY_DUE_RESV, i), time_add(now, RELAY_RESV_NS));
}

/* Forget the reservation; its port is the caller's. */
static void resv_forget(struct relay_table *t, uint32_t i)
{
	due_heap_del(&t->heap, relay_due_id(t, RELAY_DUE_RESV, i));
	crypto_wipe(&t->resvs[i], sizeof(t->resvs[i]));
}

void relay_resv_del(struct relay_table *t, uint32_t i)
{
	relay_ports_give(&t->ports, t->resvs[i].port);
	resv_forget(t, i);
}

/* ---- allocations ---- */

uint32_t relay_alloc_of_client(const struct relay_table *t, const struct endpoint *client)
{
	uint32_t hash = relay_hash(t, &client->ip, client->port, 0), pos = 0, i;

	while ((i = idx_next(&t->by_client, hash, &pos)) != IDX_NONE)
		if (endpoint_eq(&t->allocs[i].client, client))
			return i;
	return RELAY_NONE;
}

uint32_t relay_alloc_of_port(const struct relay_table *t, uint16_t port)
{
	uint32_t owner = t->ports.owner[port];

	return owner & RELAY_PORT_RESV ? RELAY_NONE : owner;
}

bool relay_alloc_is_live(const struct relay_table *t, uint32_t i, uint64_t now)
{
	return i != RELAY_NONE && t->allocs[i].state == RELAY_LIVE && now < t->allocs[i].expires_ns;
}

bool relay_alloc_is_user(const struct relay_table *t, uint32_t i, const void *user, size_t len)
{
	const struct relay_holder *h = &t->users.slots[t->allocs[i].user];

	return h->len == len && !memcmp(h->name, user, len);
}

uint32_t relay_alloc_add(struct relay_table *t, const struct relay_alloc_new *n, uint64_t now)
{
	uint32_t i = t->free_alloc, resv = n->reserve ? resv_free(t) : 0;
	uint32_t owner = t->ports.owner[n->port];
	struct relay_alloc *a;
	uint8_t source[9];
	size_t source_len = source_name(&n->client->ip, source);

	if (i == RELAY_NONE || resv == RELAY_NONE)
		return RELAY_NONE;
	a = &t->allocs[i];
	t->free_alloc = a->next_free;
	*a = (struct relay_alloc){.expires_ns = time_add(now, n->lifetime_s * NS_PER_SEC),
				  .client = *n->client,
				  .local = *n->local,
				  .port = n->port,
				  .families = n->families,
				  .state = RELAY_LIVE,
				  .next_free = RELAY_NONE,
				  .first_bind = RELAY_NONE,
				  .first_perm = RELAY_NONE,
				  .tid = n->tid,
				  .lifetime_s = n->lifetime_s,
				  .portal = n->portal};
	a->user = holder_add(t, &t->users, n->user, n->user_len, i);
	a->source = holder_add(t, &t->sources, source, source_len, i);
	if (owner != RELAY_NONE)
		resv_forget(t, owner & ~RELAY_PORT_RESV);
	relay_ports_take(&t->ports, n->port, i);
	if (n->reserve) {
		resv_add(t, resv, (uint16_t)(n->port + 1), a->token, now);
		a->has_token = true;
	}
	idx_insert(&t->by_client, relay_hash(t, &a->client.ip, a->client.port, 0), i);
	due_heap_set(&t->heap, relay_due_id(t, RELAY_DUE_ALLOC, i), a->expires_ns);
	t->n_allocs++;
	relay_event_push(t, RELAY_EV_ALLOC_ADD, i);
	return i;
}

void relay_alloc_del(struct relay_table *t, uint32_t i)
{
	struct relay_alloc *a = &t->allocs[i];

	assert(a->state == RELAY_LIVE);
	while (a->first_bind != RELAY_NONE)
		relay_bind_del(t, a->first_bind);
	while (a->first_perm != RELAY_NONE)
		relay_perm_del(t, a->first_perm);
	idx_remove(&t->by_client, relay_hash(t, &a->client.ip, a->client.port, 0), i);
	due_heap_del(&t->heap, relay_due_id(t, RELAY_DUE_ALLOC, i));
	relay_ports_give(&t->ports, a->port);
	holder_drop(t, &t->users, a->user);
	holder_drop(t, &t->sources, a->source);
	a->state = RELAY_DYING;
	t->n_allocs--;
	relay_event_push(t, RELAY_EV_ALLOC_DEL, i);
}

void relay_alloc_refresh(struct relay_table *t, uint32_t i, uint64_t expires_ns)
{
	assert(t->allocs[i].state == RELAY_LIVE);
	t->allocs[i].expires_ns = expires_ns;
	due_heap_set(&t->heap, relay_due_id(t, RELAY_DUE_ALLOC, i), expires_ns);
}
