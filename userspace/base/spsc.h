/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue between two threads: the records of a byte_ring, and how many of them there were. The
 * counts let the producer ask whether the consumer is done with all it was handed: a record that
 * spsc_popped() counts has been seen to its end, effects included. No memory of its own, no system
 * call; waking the consumer is the caller's. */
#ifndef PENSTOCK_BASE_SPSC_H
#define PENSTOCK_BASE_SPSC_H
#include "base/byte_ring.h"

struct spsc {
	struct byte_ring ring;
	_Alignas(64) uint64_t pushed; /* written by the producer */
	uint32_t reserved;	      /* the producer's: length of the open reservation */
	_Alignas(64) uint64_t popped; /* written by the consumer */
};

/* mem: cap bytes, 8-byte aligned, outliving the queue. 0, or -EINVAL: cap is no power of two from
 * 64 to 2^31, or mem is not aligned. */
int spsc_init(struct spsc *r, uint8_t *mem, size_t cap) __attribute__((warn_unused_result));

/* Producer: len contiguous bytes, 8-byte aligned, to fill; NULL: no room now, or (more than half
 * the memory) ever. A reservation that is not committed is free again at the next one. */
void *spsc_reserve(struct spsc *r, size_t len);
/* Producer: publish the reservation, once. */
void spsc_commit(struct spsc *r);
/* Records ever committed. */
uint64_t spsc_pushed(const struct spsc *r);

/* Consumer: the oldest record, NULL: there is none. It stays in place until spsc_pop. */
void *spsc_peek(struct spsc *r, size_t *len);
/* Consumer: done with the record spsc_peek returned; its memory is the producer's again. */
void spsc_pop(struct spsc *r);
/* Records ever popped. Whoever reads a number here sees what the consumer did before that pop. */
uint64_t spsc_popped(const struct spsc *r);
#endif
