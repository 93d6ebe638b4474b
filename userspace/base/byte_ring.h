/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring of byte records between one writing and one reading thread, in memory the caller provides.
 * Records lie in one piece, so the writer fills them and the reader reads them in place. A full
 * ring refuses; it never blocks and never overwrites. Not here: waking the reader. */
#ifndef PENSTOCK_BASE_BYTE_RING_H
#define PENSTOCK_BASE_BYTE_RING_H
#include <stddef.h>
#include <stdint.h>

struct byte_ring {
	uint8_t *mem;
	uint32_t cap;  /* bytes, a power of two */
	uint32_t skip; /* writer's: bytes passed over at the end by the open reservation */
	_Alignas(64) uint32_t head; /* written by the writer, never wraps back: a count of bytes */
	_Alignas(64) uint32_t tail; /* written by the reader */
};

/* mem: cap bytes, 8-byte aligned; cap a power of two, at least 64. */
void byte_ring_init(struct byte_ring *r, void *mem, uint32_t cap);
/* Writer: len contiguous bytes to fill, or NULL: no room. A reservation not committed is free
 * again at the next one. */
uint8_t *byte_ring_reserve(struct byte_ring *r, uint32_t len);
/* Writer: publish the reservation's first len bytes (no more than were reserved). */
void byte_ring_commit(struct byte_ring *r, uint32_t len);
/* Reader: the oldest record, or NULL. It stays in place until byte_ring_pop. */
const uint8_t *byte_ring_peek(struct byte_ring *r, uint32_t *len);
/* Reader: done with the record byte_ring_peek returned. */
void byte_ring_pop(struct byte_ring *r);
#endif
