/* SPDX-License-Identifier: Apache-2.0
 *
 * Who owns which port of the relay: an allocation, a reservation (EVEN-PORT with the R bit), or
 * nobody. Free ports lie in one array in no particular order, so a uniform draw is one step however
 * full the range is. */
#ifndef PENSTOCK_CORE_RELAY_PORTS_H
#define PENSTOCK_CORE_RELAY_PORTS_H
#include <stdbool.h>
#include <stdint.h>

#include "crypto/rng.h"

#define RELAY_NONE	UINT32_MAX
#define RELAY_PORT_RESV UINT32_C(0x80000000) /* | index of the reservation */
#define RELAY_PORTS	65536

struct relay_ports {
	uint32_t *owner; /* RELAY_PORTS */
	uint16_t *free;	 /* RELAY_PORTS, the first n_free count */
	uint16_t *pos;	 /* RELAY_PORTS: place in free, of free ports */
	uint32_t n_free;
};

/* All of lo..hi are free but `except` (the control port). */
void relay_ports_init(struct relay_ports *p, uint32_t *owner, uint16_t *free_ports, uint16_t *pos,
		      uint16_t lo, uint16_t hi, uint16_t except);
bool relay_ports_is_free(const struct relay_ports *p, uint32_t port);
/* A free port, uniformly; even: an even one; pair: an even one whose successor is free, too. 0:
 * there is none. */
uint16_t relay_ports_draw(const struct relay_ports *p, struct rng *rng, bool even, bool pair);
/* port must be free; a taken one may change hands. */
void relay_ports_take(struct relay_ports *p, uint16_t port, uint32_t owner);
void relay_ports_give(struct relay_ports *p, uint16_t port);
#endif
