/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts around a byte_ring; contract in spsc.h. */
#include "base/spsc.h"

#include <errno.h>

int spsc_init(struct spsc *r, uint8_t *mem, size_t cap)
{
	if (cap < 64 || cap > (size_t)1 << 31 || (cap & (cap - 1)) || (uintptr_t)mem % 8)
		return -EINVAL;
	*r = (struct spsc){0};
	byte_ring_init(&r->ring, mem, (uint32_t)cap);
	return 0;
}

void *spsc_reserve(struct spsc *r, size_t len)
{
	if (len > r->ring.cap / 2)
		return NULL;
	r->reserved = (uint32_t)len;
	return byte_ring_reserve(&r->ring, r->reserved);
}

/* Counted first: nobody may see more records popped than pushed. */
void spsc_commit(struct spsc *r)
{
	__atomic_store_n(&r->pushed, r->pushed + 1, __ATOMIC_RELEASE);
	byte_ring_commit(&r->ring, r->reserved);
}

uint64_t spsc_pushed(const struct spsc *r)
{
	return __atomic_load_n(&r->pushed, __ATOMIC_ACQUIRE);
}

void *spsc_peek(struct spsc *r, size_t *len)
{
	uint32_t n = 0;
	const uint8_t *p = byte_ring_peek(&r->ring, &n);

	*len = n;
	/* the ring lends its reader the memory; here the reader may write to it as well */
	return (void *)(uintptr_t)p;
}

/* The memory goes back first: who sees the count may rely on the room. */
void spsc_pop(struct spsc *r)
{
	byte_ring_pop(&r->ring);
	__atomic_store_n(&r->popped, r->popped + 1, __ATOMIC_RELEASE);
}

uint64_t spsc_popped(const struct spsc *r)
{
	return __atomic_load_n(&r->popped, __ATOMIC_ACQUIRE);
}
