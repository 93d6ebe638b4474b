/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's half of a DNS resource's NAT; contracts and states in dns_nat.h. */
#include "core/tunnel/dns_nat.h"

#include <assert.h>
#include <string.h>

void dns_nat_init(struct dns_nat *n, const struct dns_nat_mem *mem, uint64_t seed)
{
	*n = (struct dns_nat){.mem = *mem, .seed = seed, .free = DNS_NAT_NONE};
	idx_init(&n->idx, mem->cells, mem->cell_cap);
	held_pool_init(&n->held, mem->held, mem->held_cap);
}

/* ---- entries ---- */
static uint32_t hash_of(const struct dns_nat *n, uint32_t gateway, uint32_t name)
{
	uint32_t key[2] = {gateway, name};

	return idx_hash(n->seed, key, sizeof(key));
}

static struct dns_nat_entry *find(const struct dns_nat *n, uint32_t gateway, uint32_t name)
{
	uint32_t pos = 0, i, hash = hash_of(n, gateway, name);

	while ((i = idx_next(&n->idx, hash, &pos)) != IDX_NONE)
		if (n->mem.entries[i].gateway == gateway && n->mem.entries[i].name == name)
			return &n->mem.entries[i];
	return NULL;
}

static bool transition_ok(enum dns_nat_state from, enum dns_nat_state to)
{
	switch (to) {
	case DNS_NAT_FREE:
		return from != DNS_NAT_FREE;
	case DNS_NAT_PENDING:
		return from == DNS_NAT_FREE || from == DNS_NAT_RECREATING;
	case DNS_NAT_RECREATING:
		return from == DNS_NAT_CONFIRMED || from == DNS_NAT_FAILED;
	case DNS_NAT_CONFIRMED:
	case DNS_NAT_FAILED:
		return from != DNS_NAT_FREE;
	}
	return false;
}

static void entry_set_state(struct dns_nat_entry *e, enum dns_nat_state to)
{
	assert(transition_ok((enum dns_nat_state)e->state, to));
	e->state = (uint8_t)to;
}

/* A new entry, not yet in any state; NULL (counted): no room. */
static struct dns_nat_entry *entry_new(struct dns_nat *n, uint32_t gateway, uint32_t name)
{
	uint32_t i = n->free != DNS_NAT_NONE ? n->free : n->high;
	struct dns_nat_entry *e = &n->mem.entries[i];

	if (i == n->mem.entry_cap || idx_insert(&n->idx, hash_of(n, gateway, name), i)) {
		n->counters.full++;
		return NULL;
	}
	if (i == n->high)
		n->high++;
	else
		n->free = e->next;
	*e = (struct dns_nat_entry){.gateway = gateway, .name = name};
	held_ring_init(&e->held);
	return e;
}

static void discard(struct dns_nat *n, struct dns_nat_entry *e)
{
	n->counters.held_discarded += held_discard(&n->held, &e->held);
	e->want_flush = false;
}

static void entry_free(struct dns_nat *n, struct dns_nat_entry *e)
{
	uint32_t i = (uint32_t)(e - n->mem.entries);

	discard(n, e);
	idx_remove(&n->idx, hash_of(n, e->gateway, e->name), i);
	entry_set_state(e, DNS_NAT_FREE);
	e->next = n->free;
	n->free = i;
}

/* ---- what the client does ---- */
static void want_send(struct dns_nat *n, struct dns_nat_entry *e, uint64_t now)
{
	e->sent_ns = now;
	e->want_send = n->wake = true;
}

static void resend_if_due(struct dns_nat *n, struct dns_nat_entry *e, uint64_t now)
{
	if (time_since(e->sent_ns, now) < DNS_NAT_RESEND_NS)
		return;
	n->counters.resent++;
	want_send(n, e, now);
}

void dns_nat_update(struct dns_nat *n, uint32_t gateway, uint32_t name, uint64_t now)
{
	struct dns_nat_entry *e = find(n, gateway, name);

	if (!e) {
		e = entry_new(n, gateway, name);
		if (!e)
			return;
		entry_set_state(e, DNS_NAT_PENDING);
		e->hold = true;
		want_send(n, e, now);
	} else if (e->state == DNS_NAT_RECREATING) {
		entry_set_state(e, DNS_NAT_PENDING);
		want_send(n, e, now);
	} else if (e->state == DNS_NAT_PENDING) {
		resend_if_due(n, e, now);
	}
}

void dns_nat_update_resource(struct dns_nat *n, const struct dns_names *names, uint32_t gateway,
			     const struct uuid *resource, uint64_t now)
{
	const struct dns_assigned *a;

	for (uint32_t i = 0; (a = dns_names_at(names, i)); i++)
		if (uuid_eq(&a->resource, resource))
			dns_nat_update(n, gateway, i, now);
}

void dns_nat_requery(struct dns_nat *n, uint32_t name)
{
	for (uint32_t i = 0; i < n->high; i++) {
		struct dns_nat_entry *e = &n->mem.entries[i];

		if (e->name != name ||
		    (e->state != DNS_NAT_CONFIRMED && e->state != DNS_NAT_FAILED))
			continue;
		e->hold = e->state == DNS_NAT_FAILED;
		entry_set_state(e, DNS_NAT_RECREATING);
	}
}

static enum dns_nat_verdict hold(struct dns_nat *n, struct dns_nat_entry *e, const uint8_t *pkt,
				 const struct ip_meta *m)
{
	switch (held_add(&n->held, &e->held, DNS_NAT_HELD_CAP, pkt, m)) {
	case HELD_KEPT:
		return DNS_NAT_HELD;
	case HELD_DUPLICATE:
		n->counters.held_duplicate++;
		return DNS_NAT_HELD;
	case HELD_OVERFLOW:
	case HELD_POOL_FULL:
	case HELD_TOO_LONG:
		break;
	}
	n->counters.held_lost++;
	return DNS_NAT_LOST;
}

enum dns_nat_verdict dns_nat_out(struct dns_nat *n, uint32_t gateway, uint32_t name,
				 const uint8_t *pkt, const struct ip_meta *m, uint64_t now)
{
	struct dns_nat_entry *e = find(n, gateway, name);

	if (!e || e->state != DNS_NAT_PENDING)
		return DNS_NAT_PASS;
	resend_if_due(n, e, now);
	return e->hold ? hold(n, e, pkt, m) : DNS_NAT_PASS;
}

/* ---- what the gateway says ---- */
bool dns_nat_status(struct dns_nat *n, const struct dns_names *names, uint32_t gateway,
		    const struct p2p_domain_status *status)
{
	uint32_t name = dns_names_find(names, status->domain, &status->resource);
	struct dns_nat_entry *e = name == DNS_NAMES_NONE ? NULL : find(n, gateway, name);

	if (!e) {
		n->counters.unknown++;
		return false;
	}
	e->want_send = false;
	if (status->active) {
		n->counters.confirmed++;
		entry_set_state(e, DNS_NAT_CONFIRMED);
		e->want_flush = e->held.count > 0;
		n->wake = n->wake || e->want_flush;
	} else {
		n->counters.failed++;
		entry_set_state(e, DNS_NAT_FAILED);
		discard(n, e);
	}
	return true;
}

/* ---- ends ---- */
void dns_nat_gateway_gone(struct dns_nat *n, uint32_t gateway)
{
	for (uint32_t i = 0; i < n->high; i++)
		if (n->mem.entries[i].state != DNS_NAT_FREE && n->mem.entries[i].gateway == gateway)
			entry_free(n, &n->mem.entries[i]);
}

void dns_nat_resource_gone(struct dns_nat *n, const struct dns_names *names,
			   const struct uuid *resource)
{
	for (uint32_t i = 0; i < n->high; i++) {
		struct dns_nat_entry *e = &n->mem.entries[i];
		const struct dns_assigned *a = dns_names_at(names, e->name);

		if (e->state != DNS_NAT_FREE && a && uuid_eq(&a->resource, resource))
			entry_free(n, e);
	}
}

void dns_nat_reset(struct dns_nat *n)
{
	for (uint32_t i = 0; i < n->high; i++)
		if (n->mem.entries[i].state != DNS_NAT_FREE)
			entry_free(n, &n->mem.entries[i]);
}

/* ---- events ---- */
bool dns_nat_poll(struct dns_nat *n, struct dns_nat_event *out)
{
	for (uint32_t i = 0; n->wake && i < n->high; i++) {
		struct dns_nat_entry *e = &n->mem.entries[i];

		if (e->state == DNS_NAT_FREE || (!e->want_send && !e->want_flush))
			continue;
		*out = (struct dns_nat_event){.kind = e->want_flush ? DNS_NAT_EVENT_FLUSH
								    : DNS_NAT_EVENT_SEND,
					      .gateway = e->gateway,
					      .name = e->name};
		if (e->want_flush)
			e->want_flush = false;
		else
			e->want_send = false;
		return true;
	}
	n->wake = false;
	return false;
}

void dns_nat_assigned_ips(const struct dns_names *names, uint32_t name,
			  struct p2p_assigned_ips *out)
{
	const struct dns_assigned *a = dns_names_at(names, name);

	_Static_assert(P2P_PROXIES_MAX == DNS_NAME_PROXIES, "all addresses of a name fit");
	*out = (struct p2p_assigned_ips){0};
	if (!a)
		return;
	out->resource = a->resource;
	tunnel_text_copy(out->domain, sizeof(out->domain), a->domain);
	out->count = (uint8_t)dns_names_addresses(names, name, 0, out->ips);
}

uint16_t dns_nat_pop(struct dns_nat *n, uint32_t gateway, uint32_t name, const uint8_t **pkt)
{
	struct dns_nat_entry *e = find(n, gateway, name);

	return e ? held_pop(&n->held, &e->held, pkt) : 0;
}

enum dns_nat_state dns_nat_state(const struct dns_nat *n, uint32_t gateway, uint32_t name)
{
	const struct dns_nat_entry *e = find(n, gateway, name);

	return e ? (enum dns_nat_state)e->state : DNS_NAT_FREE;
}
