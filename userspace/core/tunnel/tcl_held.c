/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets held for a resource until its gateway's connection stands: one ring a resource in a
 * common pool of cells. An identical packet is kept once, and a retransmitted TCP SYN replaces its
 * first copy, so that an application that keeps knocking neither fills the ring nor arrives twice.
 */
#include "core/tunnel/tcl_table.h"

#include <string.h>
#include "base/idx.h"

void tcl_held_init(struct tcl *c)
{
	c->held_free = TCL_NONE;
	for (uint32_t i = c->mem.held_cap; i-- > 0; c->held_free = i)
		c->mem.held[i].next = c->held_free;
}

static uint32_t cell_take(struct tcl *c)
{
	uint32_t i = c->held_free;

	if (i != TCL_NONE)
		c->held_free = c->mem.held[i].next;
	return i;
}

static void cell_give(struct tcl *c, uint32_t i)
{
	c->mem.held[i].next = c->held_free;
	c->held_free = i;
}

static uint32_t ring_pop(struct tcl *c, struct tcl_resource *r)
{
	uint32_t i = r->held_head;

	if (i == TCL_NONE)
		return i;
	r->held_head = c->mem.held[i].next;
	if (r->held_head == TCL_NONE)
		r->held_tail = TCL_NONE;
	r->held_count--;
	return i;
}

static void ring_push(struct tcl *c, struct tcl_resource *r, uint32_t i)
{
	c->mem.held[i].next = TCL_NONE;
	if (r->held_tail == TCL_NONE)
		r->held_head = i;
	else
		c->mem.held[r->held_tail].next = i;
	r->held_tail = i;
	r->held_count++;
}

static bool is_syn(const struct ip_meta *m)
{
	return m->l4 == IP_L4_TCP && (m->tcp_flags & (IP_TCP_SYN | IP_TCP_ACK)) == IP_TCP_SYN;
}

static bool same_syn(const struct tcl_held *h, const struct ip_meta *m)
{
	struct ip_meta have;

	return h->syn && h->tcp_seq == m->tcp_seq && !ip_packet_parse(h->data, h->len, &have) &&
	       have.sport == m->sport && have.dport == m->dport && ipaddr_eq(&have.src, &m->src) &&
	       ipaddr_eq(&have.dst, &m->dst);
}

static void cell_fill(struct tcl_held *h, const uint8_t *pkt, const struct ip_meta *m,
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
static bool absorbed(struct tcl *c, const struct tcl_resource *r, const uint8_t *pkt,
		     const struct ip_meta *m, uint32_t hash)
{
	for (uint32_t i = r->held_head; i != TCL_NONE; i = c->mem.held[i].next) {
		struct tcl_held *h = &c->mem.held[i];

		if (h->hash == hash && h->len == m->total_len && !memcmp(h->data, pkt, h->len))
			return true;
		if (!is_syn(m) || !same_syn(h, m))
			continue;
		cell_fill(h, pkt, m, hash);
		return true;
	}
	return false;
}

enum ps_reason_id tcl_held_add(struct tcl *c, struct tcl_resource *r, const uint8_t *pkt,
			       const struct ip_meta *m)
{
	uint32_t hash = idx_hash(0, pkt, m->total_len), cell = TCL_NONE;
	bool lost = false;

	if (absorbed(c, r, pkt, m, hash)) {
		c->counters.held_duplicate++;
		return PS_R_UTX_BUFFERED;
	}
	if (m->total_len > TCL_PACKET_CAP) {
		c->counters.held_discarded++;
		return PS_R_UTX_BUFFER_FULL;
	}
	if (r->held_count < TCL_HELD_CAP)
		cell = cell_take(c);
	if (cell == TCL_NONE) { /* ring or pool is full: the oldest of this resource gives way */
		lost = true;
		if (r->held_count == TCL_HELD_CAP)
			c->counters.held_overflow++;
		else
			c->counters.held_pool_full++;
		cell = ring_pop(c, r);
	}
	if (cell == TCL_NONE)
		return PS_R_UTX_BUFFER_FULL;
	cell_fill(&c->mem.held[cell], pkt, m, hash);
	ring_push(c, r, cell);
	return lost ? PS_R_UTX_BUFFER_FULL : PS_R_UTX_BUFFERED;
}

void tcl_held_discard(struct tcl *c, struct tcl_resource *r)
{
	for (uint32_t i; (i = ring_pop(c, r)) != TCL_NONE;) {
		cell_give(c, i);
		c->counters.held_discarded++;
	}
}

uint16_t tcl_held_pop(struct tcl *c, uint32_t resource, const uint8_t **pkt)
{
	struct tcl_resource *r;
	uint32_t i;

	if (!tcl_resource_at(c, resource))
		return 0;
	r = &c->mem.resources[resource];
	i = ring_pop(c, r);
	if (i == TCL_NONE)
		return 0;
	cell_give(c, i);
	*pkt = c->mem.held[i].data;
	return c->mem.held[i].len;
}
