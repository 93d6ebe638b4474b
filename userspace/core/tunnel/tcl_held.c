/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets held for a resource until its gateway's connection stands: one ring a resource, counted
 * and bounded (core/tunnel/held). */
#include "core/tunnel/tcl_table.h"

void tcl_held_init(struct tcl *c)
{
	held_pool_init(&c->held, c->mem.held, c->mem.held_cap);
}

enum ps_reason_id tcl_held_add(struct tcl *c, struct tcl_resource *r, const uint8_t *pkt,
			       const struct ip_meta *m)
{
	switch (held_add(&c->held, &r->held, TCL_HELD_CAP, pkt, m)) {
	case HELD_KEPT:
		return PS_R_UTX_BUFFERED;
	case HELD_DUPLICATE:
		c->counters.held_duplicate++;
		return PS_R_UTX_BUFFERED;
	case HELD_OVERFLOW:
		c->counters.held_overflow++;
		break;
	case HELD_POOL_FULL:
		c->counters.held_pool_full++;
		break;
	case HELD_TOO_LONG:
		c->counters.held_discarded++;
		break;
	}
	return PS_R_UTX_BUFFER_FULL;
}

void tcl_held_discard(struct tcl *c, struct tcl_resource *r)
{
	c->counters.held_discarded += held_discard(&c->held, &r->held);
}

uint16_t tcl_held_pop(struct tcl *c, uint32_t resource, const uint8_t **pkt)
{
	if (!tcl_resource_at(c, resource))
		return 0;
	return held_pop(&c->held, &c->mem.resources[resource].held, pkt);
}
