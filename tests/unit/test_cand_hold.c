/* SPDX-License-Identifier: Apache-2.0
 *
 * Candidates held while the portal is away: order of the flush, merging, bounds. */
#include "tests/t.h"
#include <errno.h>
#include "core/phx/cand_hold.h"

static struct cand_hold h;
static struct cand_hold_batch b;
static const struct uuid A = {{1}}, B = {{2}};

static void test_additions_before_removals_per_peer(void)
{
	cand_hold_init(&h);
	T_EQ(cand_hold_remove(&h, &A, "old"), 0);
	T_EQ(cand_hold_add(&h, &B, "b1"), 0);
	T_EQ(cand_hold_add(&h, &A, "new1"), 0);
	T_EQ(cand_hold_add(&h, &A, "new2"), 0);
	T(cand_hold_pop(&h, &b));
	T(uuid_eq(&b.peer, &A) && !b.removed);
	T_EQ(b.n, 2);
	T_STR(b.lines[0], "new1");
	T_STR(b.lines[1], "new2");
	T(cand_hold_pop(&h, &b));
	T(uuid_eq(&b.peer, &A) && b.removed && b.n == 1);
	T_STR(b.lines[0], "old");
	T(cand_hold_pop(&h, &b));
	T(uuid_eq(&b.peer, &B) && !b.removed && b.n == 1);
	T(!cand_hold_pop(&h, &b));
}

static void test_merging(void)
{
	cand_hold_init(&h);
	cand_hold_add(&h, &A, "x");
	cand_hold_add(&h, &A, "x");
	T_EQ(h.count, 1);
	cand_hold_remove(&h, &B, "x"); /* another peer's */
	T_EQ(h.count, 2);
	cand_hold_remove(&h, &A, "x"); /* never seen by A */
	T_EQ(h.count, 1);
	cand_hold_add(&h, &B, "x"); /* B may know it */
	T(cand_hold_pop(&h, &b) && !b.removed && uuid_eq(&b.peer, &B));
	cand_hold_remove(&h, &B, "x");
	cand_hold_add(&h, &B, "x");
	cand_hold_remove(&h, &B, "x"); /* and must hear that it is gone */
	T(cand_hold_pop(&h, &b) && b.removed && uuid_eq(&b.peer, &B));
	T(!cand_hold_pop(&h, &b));
	cand_hold_remove(&h, &A, "y");
	cand_hold_remove(&h, &A, "y");
	T_EQ(h.count, 1);
	cand_hold_add(&h, &B, "z");
	cand_hold_drop_peer(&h, &A);
	T_EQ(h.count, 1);
	cand_hold_clear(&h);
	T(!cand_hold_pop(&h, &b));
}

static void test_bounds(void)
{
	char line[CAND_HOLD_LINE_CAP + 1];
	size_t popped = 0;

	cand_hold_init(&h);
	for (int i = 0; i < CAND_HOLD_MAX + 3; i++) {
		snprintf(line, sizeof(line), "c%d", i);
		T_EQ(cand_hold_add(&h, &A, line), i < CAND_HOLD_MAX ? 0 : -ENOSPC);
	}
	T_EQ(h.overflow, 3);
	memset(line, 'l', CAND_HOLD_LINE_CAP);
	line[CAND_HOLD_LINE_CAP] = '\0';
	T_EQ(cand_hold_add(&h, &A, line), -EMSGSIZE);
	T_EQ(h.overflow, 4);
	while (cand_hold_pop(&h, &b)) {
		T(b.n > 0 && b.n <= CAND_HOLD_BATCH);
		popped += b.n;
	}
	T_EQ(popped, CAND_HOLD_MAX);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_additions_before_removals_per_peer);
	T_RUN(test_merging);
	T_RUN(test_bounds);
	return t_done();
}
