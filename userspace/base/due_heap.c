/* SPDX-License-Identifier: Apache-2.0
 * See due_heap.h. */
#include "base/due_heap.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void due_heap_init(struct due_heap *h, struct due *due, uint32_t *pos, uint32_t cap)
{
	memset(pos, 0, sizeof(*pos) * cap);
	*h = (struct due_heap){.due = due, .pos = pos, .cap = cap};
}

static void place(struct due_heap *h, uint32_t i, struct due d)
{
	h->due[i] = d;
	h->pos[d.id] = i + 1;
}

/* d belongs at i or nearer to the root. */
static void sift_up(struct due_heap *h, uint32_t i, struct due d)
{
	while (i && h->due[(i - 1) / 2].at > d.at) {
		place(h, i, h->due[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(h, i, d);
}

/* d belongs at i or further from it. */
static void sift_down(struct due_heap *h, uint32_t i, struct due d)
{
	for (;;) {
		uint32_t kid = 2 * i + 1;

		if (kid >= h->n)
			break;
		if (kid + 1 < h->n && h->due[kid + 1].at < h->due[kid].at)
			kid++;
		if (h->due[kid].at >= d.at)
			break;
		place(h, i, h->due[kid]);
		i = kid;
	}
	place(h, i, d);
}

void due_heap_set(struct due_heap *h, uint32_t id, uint64_t at)
{
	struct due d = {.at = at, .id = id};
	uint32_t i;

	assert(id < h->cap);
	if (!h->pos[id]) {
		sift_up(h, h->n++, d);
		return;
	}
	i = h->pos[id] - 1;
	if (at < h->due[i].at)
		sift_up(h, i, d);
	else
		sift_down(h, i, d);
}

void due_heap_del(struct due_heap *h, uint32_t id)
{
	struct due last;
	uint32_t i;

	assert(id < h->cap);
	if (!h->pos[id])
		return;
	i = h->pos[id] - 1;
	h->pos[id] = 0;
	last = h->due[--h->n];
	if (last.id == id)
		return;
	if (i && last.at < h->due[(i - 1) / 2].at)
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}

const struct due *due_heap_first(const struct due_heap *h)
{
	return h->n ? &h->due[0] : NULL;
}
