/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries that wait; contracts in dns_pending.h. A doubly linked list by age over slots, and the
 * free slots as a singly linked one. */
#include "core/tunnel/dns_pending.h"

#include <string.h>
#include "base/idx.h"

#define NONE DNS_PENDING_NONE

void dns_pendings_init(struct dns_pendings *t, struct dns_pending *list, uint32_t cap)
{
	*t = (struct dns_pendings){.list = list,
				   .cap = cap,
				   .oldest = NONE,
				   .newest = NONE,
				   .free = NONE,
				   .life_ns = DNS_PENDING_NS};
	for (uint32_t i = cap; i-- > 0;) {
		list[i] = (struct dns_pending){.next = t->free, .generation = 1};
		t->free = i;
	}
}

static uint32_t hash_of(const struct dns_asker *who, const struct dns_query *q)
{
	struct dns_name name = q->q.name;
	uint32_t mix[3] = {q->id, who->src.port, q->q.type};
	uint64_t seed;

	dns_name_lower(&name);
	seed = idx_hash(0, mix, sizeof(mix));
	return idx_hash(seed, name.b, name.len);
}

static bool same_asker(const struct dns_asker *a, const struct dns_asker *b)
{
	return a->tcp == b->tcp && a->conn == b->conn && endpoint_eq(&a->src, &b->src) &&
	       ipaddr_eq(&a->sentinel, &b->sentinel);
}

uint32_t dns_pendings_same(const struct dns_pendings *t, const struct dns_asker *who,
			   const struct dns_query *q)
{
	uint32_t hash = hash_of(who, q);

	for (uint32_t i = t->newest; i != NONE; i = t->list[i].prev) {
		const struct dns_pending *e = &t->list[i];

		if (e->hash == hash && e->query.id == q->id && same_asker(&e->asker, who) &&
		    dns_question_eq(&e->query.q, &q->q))
			return i;
	}
	return NONE;
}

uint32_t dns_pendings_of_conn(const struct dns_pendings *t, uint64_t conn)
{
	uint32_t i = t->oldest;

	while (i != NONE && !(t->list[i].asker.tcp && t->list[i].asker.conn == conn))
		i = t->list[i].next;
	return i;
}

/* ---- the list by age ---- */
static void append(struct dns_pendings *t, uint32_t slot, uint64_t now)
{
	struct dns_pending *e = &t->list[slot];

	e->until_ns = time_add(now, t->life_ns);
	e->prev = t->newest;
	e->next = NONE;
	if (t->newest != NONE)
		t->list[t->newest].next = slot;
	else
		t->oldest = slot;
	t->newest = slot;
}

static void take_out(struct dns_pendings *t, uint32_t slot)
{
	const struct dns_pending *e = &t->list[slot];

	if (e->prev != NONE)
		t->list[e->prev].next = e->next;
	else
		t->oldest = e->next;
	if (e->next != NONE)
		t->list[e->next].prev = e->prev;
	else
		t->newest = e->prev;
}

uint32_t dns_pendings_add(struct dns_pendings *t, const struct dns_asker *who,
			  const struct dns_query *q, uint16_t id, uint64_t now)
{
	uint32_t slot = t->free;
	struct dns_pending *e;

	if (slot == NONE)
		return NONE;
	e = &t->list[slot];
	t->free = e->next;
	*e = (struct dns_pending){.query = *q,
				  .asker = *who,
				  .hash = hash_of(who, q),
				  .generation = e->generation,
				  .id = id,
				  .state = DNS_PENDING_HELD};
	append(t, slot, now);
	t->count++;
	return slot;
}

void dns_pendings_sent(struct dns_pendings *t, uint32_t slot, const struct endpoint *upstream)
{
	t->list[slot].upstream = *upstream;
	t->list[slot].state = DNS_PENDING_SENT;
}

void dns_pendings_renew(struct dns_pendings *t, uint32_t slot, uint64_t now)
{
	take_out(t, slot);
	append(t, slot, now);
}

void dns_pendings_remove(struct dns_pendings *t, uint32_t slot)
{
	struct dns_pending *e = &t->list[slot];

	take_out(t, slot);
	e->state = DNS_PENDING_FREE;
	e->generation++;
	e->next = t->free;
	t->free = slot;
	t->count--;
}

uint64_t dns_pendings_token(const struct dns_pendings *t, uint32_t slot)
{
	return (uint64_t)t->list[slot].generation << 32 | (slot + 1);
}

uint32_t dns_pendings_by_token(const struct dns_pendings *t, uint64_t token)
{
	uint32_t slot = (uint32_t)token - 1;

	if (slot >= t->cap || t->list[slot].state == DNS_PENDING_FREE ||
	    t->list[slot].generation != token >> 32)
		return NONE;
	return slot;
}

enum dns_belief dns_pendings_judge(const struct dns_pendings *t, uint64_t token,
				   const struct endpoint *src, const uint8_t *p, size_t len,
				   struct dns_msg *m, enum dns_verdict *why)
{
	uint32_t slot = dns_pendings_by_token(t, token);
	const struct dns_pending *e;

	*why = DNS_OK;
	if (slot == NONE || t->list[slot].state != DNS_PENDING_SENT)
		return DNS_NOT_PENDING;
	e = &t->list[slot];
	if (!endpoint_eq(&e->upstream, src))
		return DNS_BAD_SOURCE;
	*why = dns_msg_open(p, len, m);
	if (*why != DNS_OK)
		return DNS_BAD_MESSAGE;
	if (m->id != e->id)
		return DNS_BAD_ID;
	if (!m->qr || m->opcode != e->query.opcode || m->question_count != 1 ||
	    !dns_question_eq(&m->q, &e->query.q))
		return DNS_BAD_QUESTION;
	return DNS_BELIEVED;
}

uint64_t dns_pendings_deadline(const struct dns_pendings *t)
{
	return t->oldest == NONE ? TIME_NEVER : t->list[t->oldest].until_ns;
}
