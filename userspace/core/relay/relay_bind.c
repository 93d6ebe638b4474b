/* SPDX-License-Identifier: Apache-2.0
 *
 * Channel bindings and permissions in the tables: found by their keys, listed by their allocation.
 */
#include <assert.h>

#include "core/relay/relay_state.h"

/* ---- channels ---- */

/* FREE → LIVE → HELD → FREE; HELD → LIVE; LIVE or HELD → DYING → FREE. */
static void bind_set_state(struct relay_bind *b, enum relay_state to)
{
	static const uint8_t from[] = {
		[RELAY_FREE] = 1 << RELAY_HELD | 1 << RELAY_DYING,
		[RELAY_LIVE] = 1 << RELAY_FREE | 1 << RELAY_LIVE | 1 << RELAY_HELD,
		[RELAY_HELD] = 1 << RELAY_LIVE,
		[RELAY_DYING] = 1 << RELAY_LIVE | 1 << RELAY_HELD,
	};

	assert(from[to] & 1 << b->state);
	b->state = to;
}

static void event_push(struct relay_table *t, enum relay_event_kind kind, uint32_t i)
{
	t->binds[i].n_events++;
	relay_event_push(t, kind, i);
}

static void bind_free(struct relay_table *t, uint32_t i)
{
	bind_set_state(&t->binds[i], RELAY_FREE);
	t->binds[i] = (struct relay_bind){.next = t->free_bind};
	t->free_bind = i;
}

static uint32_t channel_hash(const struct relay_table *t, const struct relay_alloc *a,
			     uint16_t channel)
{
	return relay_hash(t, &a->client.ip, a->client.port, channel);
}

static uint32_t peer_hash(const struct relay_table *t, uint16_t port, const struct endpoint *peer)
{
	return relay_hash(t, &peer->ip, peer->port, port);
}

uint32_t relay_bind_of_channel(const struct relay_table *t, const struct endpoint *client,
			       uint16_t channel)
{
	uint32_t hash = relay_hash(t, &client->ip, client->port, channel), pos = 0, i;

	while ((i = idx_next(&t->by_channel, hash, &pos)) != IDX_NONE)
		if (t->binds[i].channel == channel &&
		    endpoint_eq(&t->allocs[t->binds[i].alloc].client, client))
			return i;
	return RELAY_NONE;
}

uint32_t relay_bind_of_peer(const struct relay_table *t, uint16_t port, const struct endpoint *peer)
{
	uint32_t hash = peer_hash(t, port, peer), pos = 0, i;

	while ((i = idx_next(&t->by_peer, hash, &pos)) != IDX_NONE)
		if (t->allocs[t->binds[i].alloc].port == port &&
		    endpoint_eq(&t->binds[i].peer, peer))
			return i;
	return RELAY_NONE;
}

bool relay_bind_is_live(const struct relay_table *t, uint32_t i, uint64_t now)
{
	return i != RELAY_NONE && t->binds[i].state == RELAY_LIVE && now < t->binds[i].expires_ns &&
	       relay_alloc_is_live(t, t->binds[i].alloc, now);
}

uint32_t relay_bind_add(struct relay_table *t, uint32_t alloc, uint16_t channel,
			const struct endpoint *peer, uint64_t now)
{
	struct relay_alloc *a = &t->allocs[alloc];
	uint32_t i = t->free_bind;
	struct relay_bind *b;

	if (i == RELAY_NONE)
		return RELAY_NONE;
	b = &t->binds[i];
	t->free_bind = b->next;
	*b = (struct relay_bind){.peer = *peer,
				 .alloc = alloc,
				 .next = a->first_bind,
				 .prev = RELAY_NONE,
				 .channel = channel};
	if (a->first_bind != RELAY_NONE)
		t->binds[a->first_bind].prev = i;
	a->first_bind = i;
	a->n_binds++;
	t->n_binds++;
	idx_insert(&t->by_channel, channel_hash(t, a, channel), i);
	idx_insert(&t->by_peer, peer_hash(t, a->port, peer), i);
	relay_bind_refresh(t, i, now);
	return i;
}

void relay_bind_refresh(struct relay_table *t, uint32_t i, uint64_t now)
{
	struct relay_bind *b = &t->binds[i];

	bind_set_state(b, RELAY_LIVE);
	b->expires_ns = time_add(now, RELAY_BIND_NS);
	due_heap_set(&t->heap, relay_due_id(t, RELAY_DUE_BIND, i), b->expires_ns);
	event_push(t, RELAY_EV_BIND_ADD, i);
}

void relay_bind_hold(struct relay_table *t, uint32_t i)
{
	struct relay_bind *b = &t->binds[i];

	bind_set_state(b, RELAY_HELD);
	due_heap_set(&t->heap, relay_due_id(t, RELAY_DUE_BIND, i),
		     time_add(b->expires_ns, RELAY_BIND_HOLD_NS));
	event_push(t, RELAY_EV_BIND_DEL, i);
}

void relay_bind_del(struct relay_table *t, uint32_t i)
{
	struct relay_bind *b = &t->binds[i];
	struct relay_alloc *a = &t->allocs[b->alloc];

	idx_remove(&t->by_channel, channel_hash(t, a, b->channel), i);
	idx_remove(&t->by_peer, peer_hash(t, a->port, &b->peer), i);
	due_heap_del(&t->heap, relay_due_id(t, RELAY_DUE_BIND, i));
	if (b->prev != RELAY_NONE)
		t->binds[b->prev].next = b->next;
	else
		a->first_bind = b->next;
	if (b->next != RELAY_NONE)
		t->binds[b->next].prev = b->prev;
	a->n_binds--;
	t->n_binds--;
	if (b->state == RELAY_LIVE)
		event_push(t, RELAY_EV_BIND_DEL, i);
	bind_set_state(b, RELAY_DYING);
	if (!b->n_events)
		bind_free(t, i);
}

void relay_bind_event_popped(struct relay_table *t, uint32_t i)
{
	if (!--t->binds[i].n_events && t->binds[i].state == RELAY_DYING)
		bind_free(t, i);
}

/* ---- permissions ---- */

static uint32_t perm_hash(const struct relay_table *t, uint32_t alloc, const struct ipaddr *ip)
{
	return relay_hash(t, ip, 0, alloc);
}

uint32_t relay_perm_find(const struct relay_table *t, uint32_t alloc, const struct ipaddr *ip)
{
	uint32_t hash = perm_hash(t, alloc, ip), pos = 0, i;

	while ((i = idx_next(&t->by_perm, hash, &pos)) != IDX_NONE)
		if (t->perms[i].alloc == alloc && ipaddr_eq(&t->perms[i].ip, ip))
			return i;
	return RELAY_NONE;
}

bool relay_perm_is_live(const struct relay_table *t, uint32_t alloc, const struct ipaddr *ip,
			uint64_t now)
{
	uint32_t i = relay_perm_find(t, alloc, ip);

	return i != RELAY_NONE && now < t->perms[i].expires_ns;
}

bool relay_perm_put(struct relay_table *t, uint32_t alloc, const struct ipaddr *ip, uint64_t now)
{
	struct relay_alloc *a = &t->allocs[alloc];
	uint32_t i = relay_perm_find(t, alloc, ip);
	struct relay_perm *p;

	if (i == RELAY_NONE) {
		i = t->free_perm;
		if (i == RELAY_NONE)
			return false;
		p = &t->perms[i];
		t->free_perm = p->next;
		*p = (struct relay_perm){
			.ip = *ip, .alloc = alloc, .next = a->first_perm, .prev = RELAY_NONE};
		if (a->first_perm != RELAY_NONE)
			t->perms[a->first_perm].prev = i;
		a->first_perm = i;
		a->n_perms++;
		t->n_perms++;
		idx_insert(&t->by_perm, perm_hash(t, alloc, ip), i);
	}
	t->perms[i].expires_ns = time_add(now, RELAY_PERM_NS);
	due_heap_set(&t->heap, relay_due_id(t, RELAY_DUE_PERM, i), t->perms[i].expires_ns);
	return true;
}

void relay_perm_del(struct relay_table *t, uint32_t i)
{
	struct relay_perm *p = &t->perms[i];
	struct relay_alloc *a = &t->allocs[p->alloc];

	idx_remove(&t->by_perm, perm_hash(t, p->alloc, &p->ip), i);
	due_heap_del(&t->heap, relay_due_id(t, RELAY_DUE_PERM, i));
	if (p->prev != RELAY_NONE)
		t->perms[p->prev].next = p->next;
	else
		a->first_perm = p->next;
	if (p->next != RELAY_NONE)
		t->perms[p->next].prev = p->prev;
	a->n_perms--;
	t->n_perms--;
	*p = (struct relay_perm){.alloc = RELAY_NONE, .next = t->free_perm};
	t->free_perm = i;
}
