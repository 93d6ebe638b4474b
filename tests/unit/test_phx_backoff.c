/* SPDX-License-Identifier: Apache-2.0
 *
 * Back-off: the steps and their jitter over many seeds, Retry-After, the budget. */
#include "tests/t.h"
#include "core/phx/phx_backoff.h"

#define S(n) ((n) * NS_PER_SEC)

static struct phx_backoff b;

static void test_steps(void)
{
	static const uint64_t steps_ms[] = {0,	  500,	 750,	1125,  1687,  2531,  3796, 5695,
					    8542, 12814, 19221, 28832, 43248, 60000, 60000};
	uint64_t delay, distinct = 0, last = 0;

	for (uint64_t seed = 1; seed < 200; seed++) {
		phx_backoff_init(&b, TIME_NEVER, seed);
		for (size_t i = 0; i < sizeof(steps_ms) / sizeof(steps_ms[0]); i++) {
			uint64_t step = steps_ms[i] * NS_PER_MS;

			T(phx_backoff_next(&b, 0, &delay, S(100)));
			T(delay >= step / 2 && delay <= step + step / 2 + 2 * NS_PER_MS);
			if (i == 5) {
				distinct += delay != last;
				last = delay;
			}
		}
	}
	T(distinct > 190); /* it does jitter */
}

static void test_same_seed_same_delays(void)
{
	struct phx_backoff c;
	uint64_t x, y;

	phx_backoff_init(&b, TIME_NEVER, 7);
	phx_backoff_init(&c, TIME_NEVER, 7);
	for (int i = 0; i < 20; i++) {
		T(phx_backoff_next(&b, 0, &x, 0) && phx_backoff_next(&c, 0, &y, 0));
		T_EQ(x, y);
	}
}

static void test_retry_after(void)
{
	uint64_t delay;

	phx_backoff_init(&b, TIME_NEVER, 7);
	T(phx_backoff_next(&b, S(7), &delay, 0));
	T_EQ(delay, S(7));
	T(phx_backoff_next(&b, 0, &delay, 0)); /* it took no step */
	T_EQ(delay, 0);
	T(phx_backoff_next(&b, S(1000000), &delay, 0));
	T_EQ(delay, PHX_BACKOFF_RETRY_AFTER_MAX_NS);
}

static void test_budget(void)
{
	uint64_t delay, at = S(50);

	phx_backoff_init(&b, S(60), 7);
	T(phx_backoff_next(&b, 0, &delay, at));
	T(phx_backoff_next(&b, S(59), &delay, at + S(1)));
	T(!phx_backoff_next(&b, S(60), &delay, at + S(1)));
	T(!phx_backoff_next(&b, 0, &delay, at + S(60)));
	phx_backoff_reset(&b);
	T(phx_backoff_next(&b, 0, &delay, at + S(60)));
	T_EQ(delay, 0);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_steps);
	T_RUN(test_same_seed_same_delays);
	T_RUN(test_retry_after);
	T_RUN(test_budget);
	return t_done();
}
