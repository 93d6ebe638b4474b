/* SPDX-License-Identifier: Apache-2.0
 *
 * The hash-to-slot index against a plain list: every lookup agrees through insertions and removals,
 * at colliding hashes and at wrap-around. */
#include <errno.h>
#include "base/idx.h"
#include "tests/t.h"

enum { CAP = 64, LIST = 63 };

static struct idx_cell cells[CAP];
static struct idx x;
static struct {
	uint32_t hash, slot;
} list[LIST];
static uint32_t count;

static uint32_t found(uint32_t hash, uint32_t slot)
{
	uint32_t pos = 0, s, n = 0;

	while ((s = idx_next(&x, hash, &pos)) != IDX_NONE)
		n += s == slot;
	return n;
}

static void check_all(void)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t pos = 0, want = 0, have = 0;

		T_EQ(found(list[i].hash, list[i].slot), 1);
		for (uint32_t j = 0; j < count; j++)
			want += list[j].hash == list[i].hash;
		while (idx_next(&x, list[i].hash, &pos) != IDX_NONE)
			have++;
		T_EQ(have, want);
	}
	T_EQ(x.used, count);
}

static void test_against_a_list(void)
{
	uint64_t rnd = t_seed();

	idx_init(&x, cells, CAP);
	count = 0;
	for (uint32_t step = 0; step < 4000; step++) {
		uint32_t r = (uint32_t)t_rand(&rnd);

		if (count && (r & 1 || count == LIST)) {
			uint32_t i = (r >> 8) % count;

			idx_remove(&x, list[i].hash, list[i].slot);
			T_EQ(found(list[i].hash, list[i].slot), 0);
			list[i] = list[--count];
		} else {
			list[count].hash = (r >> 8) % 24 +
					   (r & 2 ? CAP - 12 : 0); /* few, and at the end */
			list[count].slot = step;
			T_EQ(idx_insert(&x, list[count].hash, step), 0);
			count++;
		}
		if (step % 16 == 0)
			check_all();
	}
}

static void test_full(void)
{
	idx_init(&x, cells, CAP);
	for (uint32_t i = 0; i < CAP - 1; i++)
		T_EQ(idx_insert(&x, i * 7, i), 0);
	T_EQ(idx_insert(&x, 1, 1), -ENOSPC);
	T_EQ(found(12345, 1), 0); /* ends although no cell but one is free */
	idx_remove(&x, 99999, 5);
	T_EQ(x.used, CAP - 1);
}

static void test_caps(void)
{
	T_EQ(idx_cap_for(0), 8);
	T_EQ(idx_cap_for(4), 8);
	T_EQ(idx_cap_for(5), 16);
	T_EQ(idx_cap_for(40000), 131072);
}

/* Similar keys spread: no bucket of a half-full table gets long. */
static void test_hash_spreads(void)
{
	static uint16_t load[65536];
	uint32_t max = 0;

	for (uint32_t i = 0; i < 32768; i++) {
		uint8_t ip[4] = {100, (uint8_t)(64 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i};
		uint16_t at = (uint16_t)idx_hash(42, ip, sizeof(ip));

		load[at]++;
		max = load[at] > max ? load[at] : max;
	}
	T(max < 12);
	T(idx_hash(1, "abc", 3) != idx_hash(2, "abc", 3));
	T(idx_hash(1, "abc", 3) != idx_hash(1, "abc\0", 4));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_against_a_list);
	T_RUN(test_full);
	T_RUN(test_caps);
	T_RUN(test_hash_spreads);
	return t_done();
}
