/* SPDX-License-Identifier: Apache-2.0
 * When a peer changes hands between the executors under --mode=auto. */
#include "fwd/fwd_pace.h"
#include "tests/t.h"

#define FEW  (FWD_PACE_PACKETS - 1)
#define MANY (FWD_PACE_MUCH - 1)

/* A second in which the executors carried so many packets of so many bytes. */
static bool second(struct fwd_pace *p, bool in_kernel, uint64_t k, uint64_t k_len, uint64_t u,
		   uint64_t u_len)
{
	p->kernel = (struct fwd_moved){k, k * k_len};
	p->all = (struct fwd_moved){k + u, k * k_len + u * u_len};
	return fwd_pace_tick(p, in_kernel);
}

static void test_bulk_in_the_kernel_moves_it(void)
{
	struct fwd_pace p = {0};

	T(!second(&p, true, MANY, 1280, 0, 0));
	T(second(&p, true, MANY, 1280, 0, 0));
	T(!second(&p, false, 0, 0, MANY, 1280));
}

static void test_much_of_it_moves_at_once(void)
{
	struct fwd_pace p = {0};

	T(!second(&p, true, FWD_PACE_MUCH, FWD_PACE_LEN - 1, 0, 0));
	T(second(&p, true, FWD_PACE_MUCH, FWD_PACE_LEN, 0, 0));
	for (int i = 0; i < FWD_PACE_TICKS_BACK - 1; i++)
		T(!second(&p, false, 0, 0, 0, 0));
	T(second(&p, false, 0, 0, 0, 0));
}

/* What user space carries by itself, in trains, is no reason: small packets stay in the kernel. */
static void test_trains_in_user_space_move_nothing(void)
{
	struct fwd_pace p = {0};

	for (int i = 0; i < 10; i++)
		T(!second(&p, true, MANY, 64, MANY, 1400));
	for (int i = 0; i < 10; i++)
		T(!second(&p, true, 0, 0, MANY, 1400));
}

static void test_small_or_few_packets_move_nothing(void)
{
	struct fwd_pace p = {0};

	for (int i = 0; i < 10; i++) {
		T(!second(&p, true, MANY, FWD_PACE_LEN - 1, 0, 0));
		T(!second(&p, true, FEW, 1400, 0, 0));
	}
}

static void test_seconds_must_follow_each_other(void)
{
	struct fwd_pace p = {0};

	for (int i = 0; i < 10; i++)
		T(!second(&p, true, i & 1 ? MANY : 0, 1400, 0, 0));
}

/* It comes back when neither executor carries bulk, trains or not. */
static void test_it_comes_back_without_bulk(void)
{
	struct fwd_pace p = {0};

	for (int i = 0; i < 10; i++)
		T(!second(&p, false, 0, 0, MANY, 1400));
	for (int i = 0; i < FWD_PACE_TICKS_BACK - 1; i++)
		T(!second(&p, false, 0, 0, 100, 64));
	T(!second(&p, false, 0, 0, MANY, 1400));
	for (int i = 0; i < FWD_PACE_TICKS_BACK - 1; i++)
		T(!second(&p, false, 0, 0, MANY, 64));
	T(second(&p, false, 0, 0, 0, 0));
}

int main(void)
{
	T_RUN(test_bulk_in_the_kernel_moves_it);
	T_RUN(test_much_of_it_moves_at_once);
	T_RUN(test_trains_in_user_space_move_nothing);
	T_RUN(test_small_or_few_packets_move_nothing);
	T_RUN(test_seconds_must_follow_each_other);
	T_RUN(test_it_comes_back_without_bulk);
	return t_done();
}
