/* SPDX-License-Identifier: Apache-2.0
 *
 * An index from hash to slot: open addressing with linear probing in memory the caller provides. It
 * holds no keys: whoever looks up walks the slots of equal hash and compares the key in its own
 * table. Several key kinds can share one index by salting the hash. Removal shifts back, so there
 * are no tombstones and a long life does not slow it down. */
#ifndef PENSTOCK_BASE_IDX_H
#define PENSTOCK_BASE_IDX_H
#include <stddef.h>
#include <stdint.h>

#define IDX_NONE 0xffffffffu

struct idx_cell {
	uint32_t hash;
	uint32_t slot1; /* slot + 1; 0: the cell is free */
};

struct idx {
	struct idx_cell *cells;
	uint32_t cap; /* a power of two */
	uint32_t used;
};

/* Cells that hold n entries at no more than half load: a power of two, at least 8. */
uint32_t idx_cap_for(uint32_t n);
/* cells[cap] is cleared; cap as idx_cap_for() says. */
void idx_init(struct idx *x, struct idx_cell *cells, uint32_t cap);
/* 0, or -ENOSPC when the index is full (one cell always stays free). slot < UINT32_MAX. */
int idx_insert(struct idx *x, uint32_t hash, uint32_t slot);
/* Removes the entry (hash, slot); no entry, no effect. */
void idx_remove(struct idx *x, uint32_t hash, uint32_t slot);
/* Next slot of that hash, IDX_NONE at the end. Start with *pos = 0; do not change the index
 * meanwhile. */
uint32_t idx_next(const struct idx *x, uint32_t hash, uint32_t *pos);
/* A seeded hash for keys a remote cannot choose freely. */
uint32_t idx_hash(uint64_t seed, const void *key, size_t len);
#endif
