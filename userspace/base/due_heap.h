/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines of many things, each known by a number below a fixed bound: a binary heap that knows
 * where everything is, so that a deadline moves or goes in O(log n). In memory the caller gives. */
#ifndef PENSTOCK_BASE_DUE_HEAP_H
#define PENSTOCK_BASE_DUE_HEAP_H
#include <stdbool.h>
#include <stdint.h>

struct due {
	uint64_t at;
	uint32_t id;
	uint32_t pad;
};

struct due_heap {
	struct due *due; /* cap */
	uint32_t *pos;	 /* cap: place in due + 1, 0: none */
	uint32_t n, cap;
};

void due_heap_init(struct due_heap *h, struct due *due, uint32_t *pos, uint32_t cap);
/* Set or move the deadline of id < cap. */
void due_heap_set(struct due_heap *h, uint32_t id, uint64_t at);
/* No deadline, no effect. */
void due_heap_del(struct due_heap *h, uint32_t id);
/* The earliest, or NULL. */
const struct due *due_heap_first(const struct due_heap *h);
#endif
