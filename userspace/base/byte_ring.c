/* SPDX-License-Identifier: Apache-2.0
 *
 * A record is an 8-byte header holding its length, then the bytes, rounded up to 8. Where a record
 * does not fit before the end, a header of REC_SKIP sends the reader back to the start. */
#include "base/byte_ring.h"
#include <string.h>

#define REC_HDR	 8u
#define REC_SKIP UINT32_MAX

static uint32_t rec_size(uint32_t len)
{
	return REC_HDR + ((len + 7) & ~7u);
}

void byte_ring_init(struct byte_ring *r, void *mem, uint32_t cap)
{
	*r = (struct byte_ring){.mem = mem, .cap = cap};
}

uint8_t *byte_ring_reserve(struct byte_ring *r, uint32_t len)
{
	uint32_t used = r->head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
	uint32_t pos = r->head & (r->cap - 1), to_end = r->cap - pos, need;

	if (len > r->cap / 2)
		return NULL;
	need = rec_size(len);
	r->skip = need > to_end ? to_end : 0;
	if (need + r->skip > r->cap - used)
		return NULL;
	return r->mem + (r->skip ? 0 : pos) + REC_HDR;
}

void byte_ring_commit(struct byte_ring *r, uint32_t len)
{
	const uint32_t skip = REC_SKIP;
	uint32_t pos = r->head & (r->cap - 1);

	if (r->skip) {
		memcpy(r->mem + pos, &skip, sizeof(skip));
		pos = 0;
	}
	memcpy(r->mem + pos, &len, sizeof(len));
	__atomic_store_n(&r->head, r->head + r->skip + rec_size(len), __ATOMIC_RELEASE);
	r->skip = 0;
}

const uint8_t *byte_ring_peek(struct byte_ring *r, uint32_t *len)
{
	uint32_t pos = r->tail & (r->cap - 1);

	if (__atomic_load_n(&r->head, __ATOMIC_ACQUIRE) == r->tail)
		return NULL;
	memcpy(len, r->mem + pos, sizeof(*len));
	if (*len == REC_SKIP) {
		__atomic_store_n(&r->tail, r->tail + (r->cap - pos), __ATOMIC_RELEASE);
		pos = 0;
		memcpy(len, r->mem, sizeof(*len));
	}
	return r->mem + pos + REC_HDR;
}

void byte_ring_pop(struct byte_ring *r)
{
	uint32_t len;

	memcpy(&len, r->mem + (r->tail & (r->cap - 1)), sizeof(len));
	__atomic_store_n(&r->tail, r->tail + rec_size(len), __ATOMIC_RELEASE);
}
