/* SPDX-License-Identifier: Apache-2.0
 * See relay_table.h: memory, events, expiry. */
#include "core/relay/relay_table.h"

#include <assert.h>
#include <string.h>

#include "core/relay/relay_state.h"

#define ALIGN	    64
#define EVENTS_MORE 8 /* beyond one for each thing that can end: what is added by one request */

/* n elements at the next aligned offset; a NULL base only counts. */
static void *take(uint8_t *base, size_t *off, size_t n, size_t size)
{
	uint8_t *p = base ? base + *off : NULL;

	*off += (n * size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	return p;
}

static void take_idx(struct idx *x, uint8_t *base, size_t *off, uint32_t n)
{
	uint32_t cap = idx_cap_for(n);
	struct idx_cell *cells = take(base, off, cap, sizeof(*cells));

	if (base)
		idx_init(x, cells, cap);
}

static uint32_t due_cap(const struct relay_table *t)
{
	return t->size.n_allocs + 1 + t->size.n_binds + t->size.n_perms + RELAY_RESVS;
}

size_t relay_table_layout(struct relay_table *t, void *mem)
{
	const struct relay_size *z = &t->size;
	uint8_t *base = mem;
	uint32_t n_allocs = z->n_allocs + 1;
	size_t off = 0;

	t->allocs = take(base, &off, n_allocs, sizeof(*t->allocs));
	t->binds = take(base, &off, z->n_binds, sizeof(*t->binds));
	t->perms = take(base, &off, z->n_perms, sizeof(*t->perms));
	t->users.slots = take(base, &off, n_allocs, sizeof(*t->users.slots));
	t->sources.slots = take(base, &off, n_allocs, sizeof(*t->sources.slots));
	take_idx(&t->by_client, base, &off, n_allocs);
	take_idx(&t->by_channel, base, &off, z->n_binds);
	take_idx(&t->by_peer, base, &off, z->n_binds);
	take_idx(&t->by_perm, base, &off, z->n_perms);
	take_idx(&t->users.idx, base, &off, n_allocs);
	take_idx(&t->sources.idx, base, &off, n_allocs);
	t->ports.owner = take(base, &off, RELAY_PORTS, sizeof(*t->ports.owner));
	t->ports.free = take(base, &off, RELAY_PORTS, sizeof(*t->ports.free));
	t->ports.pos = take(base, &off, RELAY_PORTS, sizeof(*t->ports.pos));
	t->heap.due = take(base, &off, due_cap(t), sizeof(*t->heap.due));
	t->heap.pos = take(base, &off, due_cap(t), sizeof(*t->heap.pos));
	t->ev_cap = z->n_binds + n_allocs + EVENTS_MORE;
	t->events = take(base, &off, t->ev_cap, sizeof(*t->events));
	return off;
}

static void slots_init(struct relay_table *t)
{
	const struct relay_size *z = &t->size;

	/* Chains of free slots: in order, so that an index is small while few are used. */
	for (uint32_t i = 0; i <= z->n_allocs; i++) {
		uint32_t next = i < z->n_allocs ? i + 1 : RELAY_NONE;

		t->allocs[i] = (struct relay_alloc){.next_free = next};
		t->users.slots[i] = (struct relay_holder){.next_free = next};
		t->sources.slots[i] = (struct relay_holder){.next_free = next};
	}
	for (uint32_t i = 0; i < z->n_binds; i++)
		t->binds[i] = (struct relay_bind){.next = i + 1 < z->n_binds ? i + 1 : RELAY_NONE};
	for (uint32_t i = 0; i < z->n_perms; i++)
		t->perms[i] = (struct relay_perm){.next = i + 1 < z->n_perms ? i + 1 : RELAY_NONE,
						  .alloc = RELAY_NONE};
}

void relay_table_init(struct relay_table *t, const struct relay_cfg *cfg, const uint8_t seed[32])
{
	rng_init(&t->rng, seed);
	t->seed = rng_u64(&t->rng);
	slots_init(t);
	relay_ports_init(&t->ports, t->ports.owner, t->ports.free, t->ports.pos, cfg->port_lo,
			 cfg->port_hi, cfg->listen_port);
	due_heap_init(&t->heap, t->heap.due, t->heap.pos, due_cap(t));
}

uint32_t relay_hash(const struct relay_table *t, const struct ipaddr *ip, uint16_t port,
		    uint32_t extra)
{
	uint8_t key[16 + 1 + 2 + 4];

	memcpy(key, ip->b, 16);
	key[16] = ip->family;
	memcpy(key + 17, &port, 2);
	memcpy(key + 19, &extra, 4);
	return idx_hash(t->seed, key, sizeof(key));
}

/* ---- events ---- */

void relay_event_push(struct relay_table *t, enum relay_event_kind kind, uint32_t slot)
{
	assert(t->n_events < t->ev_cap);
	t->events[(t->ev_head + t->n_events++) % t->ev_cap] = (struct relay_ev){.kind = kind,
										.slot = slot};
}

static void alloc_event(const struct relay_table *t, uint32_t i, struct relay_event *out)
{
	const struct relay_alloc *a = &t->allocs[i];

	out->alloc = i;
	out->bind = RELAY_NONE;
	out->port = a->port;
	out->families = a->families;
	out->expires_ns = a->expires_ns;
	out->client = a->client;
	out->local = a->local;
}

bool relay_event_pop(struct relay_table *t, struct relay_event *out)
{
	struct relay_ev e;

	if (!t->n_events)
		return false;
	e = t->events[t->ev_head];
	t->ev_head = (t->ev_head + 1) % t->ev_cap;
	t->n_events--;
	*out = (struct relay_event){.kind = (enum relay_event_kind)e.kind};
	if (e.kind == RELAY_EV_ALLOC_ADD || e.kind == RELAY_EV_ALLOC_DEL) {
		alloc_event(t, e.slot, out);
	} else {
		const struct relay_bind *b = &t->binds[e.slot];

		alloc_event(t, b->alloc, out);
		out->bind = e.slot;
		out->channel = b->channel;
		out->peer = b->peer;
		out->expires_ns = b->expires_ns;
	}
	if (e.kind == RELAY_EV_BIND_ADD || e.kind == RELAY_EV_BIND_DEL)
		relay_bind_event_popped(t, e.slot);
	if (e.kind == RELAY_EV_ALLOC_DEL) {
		t->allocs[e.slot] = (struct relay_alloc){.next_free = t->free_alloc};
		t->free_alloc = e.slot;
	}
	return true;
}

/* ---- time ---- */

uint32_t relay_due_id(const struct relay_table *t, enum relay_due_kind kind, uint32_t slot)
{
	switch (kind) {
	case RELAY_DUE_ALLOC:
		return slot;
	case RELAY_DUE_BIND:
		return t->size.n_allocs + 1 + slot;
	case RELAY_DUE_PERM:
		return t->size.n_allocs + 1 + t->size.n_binds + slot;
	case RELAY_DUE_RESV:
		break;
	}
	return t->size.n_allocs + 1 + t->size.n_binds + t->size.n_perms + slot;
}

enum relay_due_kind relay_due_kind(const struct relay_table *t, uint32_t id, uint32_t *slot)
{
	const uint32_t n[] = {t->size.n_allocs + 1, t->size.n_binds, t->size.n_perms};

	*slot = id;
	for (unsigned i = 0; i < sizeof(n) / sizeof(*n); i++) {
		if (*slot < n[i])
			return (enum relay_due_kind)i;
		*slot -= n[i];
	}
	return RELAY_DUE_RESV;
}

static void expire_one(struct relay_table *t, struct relay_acct *acct, uint32_t id)
{
	uint32_t slot;

	switch (relay_due_kind(t, id, &slot)) {
	case RELAY_DUE_ALLOC:
		relay_alloc_del(t, slot);
		acct->allocs_expired++;
		break;
	case RELAY_DUE_BIND:
		if (t->binds[slot].state == RELAY_LIVE) {
			relay_bind_hold(t, slot);
			acct->binds_expired++;
		} else {
			relay_bind_del(t, slot);
		}
		break;
	case RELAY_DUE_PERM:
		relay_perm_del(t, slot);
		break;
	case RELAY_DUE_RESV:
		relay_resv_del(t, slot);
		break;
	}
}

void relay_table_expire(struct relay_table *t, struct relay_acct *acct, uint64_t now)
{
	const struct due *d;

	while ((d = due_heap_first(&t->heap)) && time_reached(d->at, now))
		expire_one(t, acct, d->id);
}
