/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap of deadlines beside a plain list. */
#include "base/due_heap.h"

#include "base/time.h"
#include "tests/t.h"

static void test_heap_against_a_list(void)
{
	enum { N = 50 };
	static struct due due[N];
	static uint32_t pos[N];
	uint64_t at[N], seed = t_seed();
	struct due_heap h;

	for (unsigned i = 0; i < N; i++)
		at[i] = TIME_NEVER;
	due_heap_init(&h, due, pos, N);
	T(!due_heap_first(&h));
	for (unsigned step = 0; step < 20000; step++) {
		uint32_t id = (uint32_t)(t_rand(&seed) % N);
		uint64_t first = TIME_NEVER;

		if (t_rand(&seed) % 3) {
			at[id] = t_rand(&seed) % 100;
			due_heap_set(&h, id, at[id]);
		} else {
			at[id] = TIME_NEVER;
			due_heap_del(&h, id);
		}
		for (unsigned i = 0; i < N; i++)
			first = at[i] < first ? at[i] : first;
		if (due_heap_first(&h))
			T_EQ(due_heap_first(&h)->at, first);
		else
			T_EQ(first, TIME_NEVER);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_heap_against_a_list);
	return t_done();
}
