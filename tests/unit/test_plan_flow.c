/* SPDX-License-Identifier: Apache-2.0
 * When a cached flow changes hands: pauses, the cap for flows that never pause, holds by
 * segmentation offload. */
#include "base/time.h"
#include "plan/flow.h"
#include "tests/t.h"

#define AT(ms) (NS_PER_SEC + (ms) * NS_PER_MS)

static struct ps_flow warm(void)
{
	return (struct ps_flow){.last_ns = AT(0), .bulk_until_ns = AT(20), .flags = PS_FLOW_WARM};
}

static void test_pause_ends_warmth(void)
{
	struct ps_flow f = warm();

	T(ps_flow_held(&f, AT(0)));
	T(ps_flow_held(&f, AT(1)));
	T(ps_flow_held(&f, AT(2))); /* 1 ms after the last */
	T(!ps_flow_held(&f, AT(4)));
	T(!ps_flow_held(&f, AT(4))); /* and stays ended */
}

static void test_cap_without_pause(void)
{
	struct ps_flow f = warm();

	for (unsigned ms = 0; ms < 20; ms++)
		T(ps_flow_held(&f, AT(ms)));
	T(!ps_flow_held(&f, AT(20)));
}

static void test_offload_hold_knows_no_pause(void)
{
	struct ps_flow f = warm();

	ps_flow_hold(&f, AT(200));
	T(ps_flow_held(&f, AT(100)));
	T(ps_flow_held(&f, AT(199)));
	T(!ps_flow_held(&f, AT(200)));
}

/* The daemon's clock reading may be a little ahead of the program's. */
static void test_entry_from_the_future(void)
{
	struct ps_flow f = warm();

	f.last_ns = AT(5);
	T(ps_flow_held(&f, AT(1)));
	T_EQ(f.last_ns, AT(1));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_pause_ends_warmth);
	T_RUN(test_cap_without_pause);
	T_RUN(test_offload_hold_knows_no_pause);
	T_RUN(test_entry_from_the_future);
	return t_done();
}
