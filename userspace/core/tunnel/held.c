/* SPDX-License-Identifier: Apache-2.0
 *
 * Held packets; contracts in held.h. */
#include "core/tunnel/held.h"

#include <string.h>
#include "base/idx.h"

void held_pool_init(struct held_pool *p, struct held_packet *cells, uint32_t cap)
{
	*p = (struct held_pool){.cells = cells, .free = HELD_NONE};
	for (uint32_t i = cap; i-- > 0; p->free = i)
		cells[i].next = p->free;
}

void held_ring_init(struct held_ring *r)
{
	*r = (struct held_ring){.head = HELD_NONE, .tail = HELD_NONE};
}

static uint32_t cell_take(struct held_pool *p)
{
	uint32_t i = p->free;

	if (i != HELD_NONE)
		p->free = p->cells[i].next;
	return i;
}

static void cell_give(struct held_pool *p, uint32_t i)
{
	p->cells[i].next = p->free;
	p->free = i;
}

static uint32_t ring_pop(struct held_pool *p, struct held_ring *r)
{
	uint32_t i = r->head;

	if (i == HELD_NONE)
		return i;
	r->head = p->cells[i].next;
	if (r->head == HELD_NONE)
		r->tail = HELD_NONE;
	r->count--;
	return i;
}

static void ring_push(struct held_pool *p, struct held_ring *r, uint32_t i)
{
	p->cells[i].next = HELD_NONE;
	if (r->tail == HELD_NONE)
		r->head = i;
	else
		p->cells[r->tail].next = i;
	r->tail = i;
	r->count++;
}

static bool is_syn(const struct ip_meta *m)
{
	return m->l4 == IP_L4_TCP && (m->tcp_flags & (IP_TCP_SYN | IP_TCP_ACK)) == IP_TCP_SYN;
}

static bool same_syn(const struct held_packet *h, const struct ip_meta *m)
{
	struct ip_meta have;

	return h->syn && h->tcp_seq == m->tcp_seq && !ip_packet_parse(h->data, h->len, &have) &&
	       have.sport == m->sport && have.dport == m->dport && ipaddr_eq(&have.src, &m->src) &&
	       ipaddr_eq(&have.dst, &m->dst);
}

static void cell_fill(struct held_packet *h, const uint8_t *pkt, const struct ip_meta *m,
		      uint32_t hash)
{
	h->hash = hash;
	h->len = m->total_len;
	h->tcp_seq = m->tcp_seq;
	h->syn = is_syn(m);
	memmove(h->data, pkt, m->total_len); /* a popped packet may come back to its own cell */
}

/* Is the packet, or the SYN it repeats, already there? A repeated SYN takes the place of the older
 * one. */
static bool absorbed(struct held_pool *p, const struct held_ring *r, const uint8_t *pkt,
		     const struct ip_meta *m, uint32_t hash)
{
	for (uint32_t i = r->head; i != HELD_NONE; i = p->cells[i].next) {
		struct held_packet *h = &p->cells[i];

		if (h->hash == hash && h->len == m->total_len && !memcmp(h->data, pkt, h->len))
			return true;
		if (!is_syn(m) || !same_syn(h, m))
			continue;
		cell_fill(h, pkt, m, hash);
		return true;
	}
	return false;
}

enum held_verdict held_add(struct held_pool *p, struct held_ring *r, uint32_t cap,
			   const uint8_t *pkt, const struct ip_meta *m)
{
	uint32_t hash = idx_hash(0, pkt, m->total_len), cell = HELD_NONE;
	enum held_verdict v = HELD_KEPT;

	if (m->total_len > HELD_PACKET_CAP)
		return HELD_TOO_LONG;
	if (absorbed(p, r, pkt, m, hash))
		return HELD_DUPLICATE;
	if (r->count < cap)
		cell = cell_take(p);
	if (cell == HELD_NONE) { /* ring or pool is full: the oldest of this ring gives way */
		v = r->count >= cap ? HELD_OVERFLOW : HELD_POOL_FULL;
		cell = ring_pop(p, r);
	}
	if (cell == HELD_NONE)
		return v;
	cell_fill(&p->cells[cell], pkt, m, hash);
	ring_push(p, r, cell);
	return v;
}

uint32_t held_discard(struct held_pool *p, struct held_ring *r)
{
	uint32_t count = 0;

	for (uint32_t i; (i = ring_pop(p, r)) != HELD_NONE; count++)
		cell_give(p, i);
	return count;
}

uint16_t held_pop(struct held_pool *p, struct held_ring *r, const uint8_t **pkt)
{
	uint32_t i = ring_pop(p, r);

	if (i == HELD_NONE)
		return 0;
	cell_give(p, i);
	*pkt = p->cells[i].data;
	return p->cells[i].len;
}
