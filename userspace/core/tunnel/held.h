/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets held until somebody says they may go: rings in a common pool of cells, oldest first. An
 * identical packet is kept once, and a retransmitted TCP SYN replaces its first copy, so that an
 * application that keeps knocking neither fills the ring nor arrives twice. When ring or pool is
 * full the ring's oldest packet gives way. */
#ifndef PENSTOCK_CORE_TUNNEL_HELD_H
#define PENSTOCK_CORE_TUNNEL_HELD_H
#include <stdbool.h>
#include <stdint.h>
#include "codec/ip_packet.h"

#define HELD_NONE	0xffffffffu
#define HELD_PACKET_CAP 1500

struct held_packet {
	uint32_t next;
	uint32_t hash; /* of data */
	uint16_t len;
	uint32_t tcp_seq;
	bool syn; /* TCP SYN without ACK: a retransmission replaces it */
	uint8_t data[HELD_PACKET_CAP];
};

struct held_pool {
	struct held_packet *cells; /* the caller's memory */
	uint32_t free;
};

struct held_ring {
	uint32_t head, tail, count;
};

enum held_verdict {
	HELD_KEPT,
	HELD_DUPLICATE, /* it is there already; kept once */
	HELD_OVERFLOW,	/* kept; the oldest of a full ring is gone */
	HELD_POOL_FULL, /* no cell: the ring's oldest is gone, or, if it had none, this packet */
	HELD_TOO_LONG,	/* not kept */
};

void held_pool_init(struct held_pool *p, struct held_packet *cells, uint32_t cap);
void held_ring_init(struct held_ring *r);
/* cap: most packets of this ring. */
enum held_verdict held_add(struct held_pool *p, struct held_ring *r, uint32_t cap,
			   const uint8_t *pkt, const struct ip_meta *m);
/* Oldest packet: its length (0: none) and a pointer that is valid until the pool's next use. */
uint16_t held_pop(struct held_pool *p, struct held_ring *r, const uint8_t **pkt);
/* Empties the ring; how many there were. */
uint32_t held_discard(struct held_pool *p, struct held_ring *r);
#endif
