/* SPDX-License-Identifier: Apache-2.0
 * See relay_ports.h. */
#include "core/relay/relay_ports.h"

#include <assert.h>
#include <string.h>

#define DRAWS_MAX 32 /* of random tries for a constrained port, before all are looked at */

void relay_ports_init(struct relay_ports *p, uint32_t *owner, uint16_t *free_ports, uint16_t *pos,
		      uint16_t lo, uint16_t hi, uint16_t except)
{
	*p = (struct relay_ports){.owner = owner, .free = free_ports, .pos = pos};
	memset(owner, 0xff, sizeof(*owner) * RELAY_PORTS); /* RELAY_NONE */
	memset(free_ports, 0, sizeof(*free_ports) * RELAY_PORTS);
	memset(pos, 0, sizeof(*pos) * RELAY_PORTS);
	for (uint32_t port = lo; port <= hi; port++) {
		if (port == except)
			continue;
		pos[port] = (uint16_t)p->n_free;
		free_ports[p->n_free++] = (uint16_t)port;
	}
}

bool relay_ports_is_free(const struct relay_ports *p, uint32_t port)
{
	return port < RELAY_PORTS && p->pos[port] < p->n_free && p->free[p->pos[port]] == port;
}

static bool fits(const struct relay_ports *p, uint16_t port, bool even, bool pair)
{
	if (!even && !pair)
		return true;
	return !(port & 1) && (!pair || relay_ports_is_free(p, port + 1U));
}

uint16_t relay_ports_draw(const struct relay_ports *p, struct rng *rng, bool even, bool pair)
{
	uint32_t start;

	if (!p->n_free)
		return 0;
	for (unsigned i = 0; i < DRAWS_MAX; i++) {
		uint16_t port = p->free[rng_below(rng, p->n_free)];

		if (fits(p, port, even, pair))
			return port;
	}
	start = (uint32_t)rng_below(rng, p->n_free);
	for (uint32_t i = 0; i < p->n_free; i++) {
		uint16_t port = p->free[(start + i) % p->n_free];

		if (fits(p, port, even, pair))
			return port;
	}
	return 0;
}

void relay_ports_take(struct relay_ports *p, uint16_t port, uint32_t owner)
{
	if (relay_ports_is_free(p, port)) {
		uint16_t last = p->free[--p->n_free];

		p->free[p->pos[port]] = last;
		p->pos[last] = p->pos[port];
	}
	p->owner[port] = owner;
}

void relay_ports_give(struct relay_ports *p, uint16_t port)
{
	assert(!relay_ports_is_free(p, port));
	p->owner[port] = RELAY_NONE;
	p->pos[port] = (uint16_t)p->n_free;
	p->free[p->n_free++] = port;
}
