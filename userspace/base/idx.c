/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear probing over cells of (hash, slot); see idx.h for what it is for. */
#include "base/idx.h"

#include <errno.h>
#include <string.h>

uint32_t idx_cap_for(uint32_t n)
{
	uint32_t cap = 8;

	while (cap / 2 < n && cap < UINT32_C(1) << 31)
		cap *= 2;
	return cap;
}

void idx_init(struct idx *x, struct idx_cell *cells, uint32_t cap)
{
	memset(cells, 0, cap * sizeof(*cells));
	*x = (struct idx){.cells = cells, .cap = cap};
}

int idx_insert(struct idx *x, uint32_t hash, uint32_t slot)
{
	uint32_t mask = x->cap - 1, i = hash & mask;

	if (x->used + 1 >= x->cap)
		return -ENOSPC;
	while (x->cells[i].slot1)
		i = (i + 1) & mask;
	x->cells[i] = (struct idx_cell){.hash = hash, .slot1 = slot + 1};
	x->used++;
	return 0;
}

/* Close the gap at i: every later entry of the run that may stand there moves up. */
static void shift_back(struct idx *x, uint32_t i)
{
	uint32_t mask = x->cap - 1;

	for (uint32_t j = (i + 1) & mask; x->cells[j].slot1; j = (j + 1) & mask) {
		uint32_t home = x->cells[j].hash & mask;

		if (((j - home) & mask) < ((j - i) & mask))
			continue; /* its home lies behind the gap */
		x->cells[i] = x->cells[j];
		i = j;
	}
	x->cells[i] = (struct idx_cell){0};
}

void idx_remove(struct idx *x, uint32_t hash, uint32_t slot)
{
	uint32_t mask = x->cap - 1;

	for (uint32_t i = hash & mask; x->cells[i].slot1; i = (i + 1) & mask) {
		if (x->cells[i].hash != hash || x->cells[i].slot1 != slot + 1)
			continue;
		shift_back(x, i);
		x->used--;
		return;
	}
}

uint32_t idx_next(const struct idx *x, uint32_t hash, uint32_t *pos)
{
	uint32_t mask = x->cap - 1;

	for (;;) {
		const struct idx_cell *c = &x->cells[(hash + *pos) & mask];

		if (!c->slot1)
			return IDX_NONE;
		++*pos;
		if (c->hash == hash)
			return c->slot1 - 1;
	}
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	return h ^ h >> 32;
}

uint32_t idx_hash(uint64_t seed, const void *key, size_t len)
{
	const uint8_t *p = key;
	uint64_t h = mix(seed ^ len);

	while (len) {
		size_t n = len < 8 ? len : 8;
		uint64_t word = 0;

		memcpy(&word, p, n);
		h = mix(h ^ word) + UINT64_C(0x9e3779b97f4a7c15);
		p += n;
		len -= n;
	}
	return (uint32_t)mix(h);
}
