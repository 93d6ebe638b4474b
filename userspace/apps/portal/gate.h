/* SPDX-License-Identifier: Apache-2.0
 *
 * Admission before anything is read: how often may one address connect? A token bucket per address
 * in a fixed table; colliding addresses share one, which only ever makes it stricter. IPv6 counts
 * per /64. Pure. */
#ifndef PENSTOCK_PORTAL_GATE_H
#define PENSTOCK_PORTAL_GATE_H
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define GATE_SLOTS   1024
#define GATE_BURST   100 /* handshakes at once: a site behind one NAT coming back after an outage */
#define GATE_PER_SEC 20
#define GATE_MILLI   1000u

struct gate {
	struct {
		uint64_t at;	/* ns of the last refill */
		uint32_t milli; /* tokens used up, in thousandths */
	} slot[GATE_SLOTS];
	uint64_t seed; /* keeps strangers from aiming at a neighbour's slot */
};

void gate_init(struct gate *g, uint64_t seed);
/* May this address open a connection now? Takes a token if so. */
bool gate_admit(struct gate *g, const struct ipaddr *ip, uint64_t now);
/* The part of the address that counts as one party: all of IPv4, the /64 of IPv6. */
struct ipaddr gate_party(const struct ipaddr *ip);
#endif
