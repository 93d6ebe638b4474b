/* SPDX-License-Identifier: Apache-2.0
 * When a cached flow, or a session, changes hands: pauses, what user space still has, the cap for
 * what never pauses, holds by segmentation offload. */
#include "base/time.h"
#include "plan/flow.h"
#include "tests/t.h"

#define AT(us) (NS_PER_SEC + (us) * 1000ull)

static struct ps_flow warm(void)
{
	return (struct ps_flow){.last_ns = AT(0), .bulk_until_ns = AT(0)};
}

static void test_pause_ends_warmth(void)
{
	struct ps_flow f = warm();

	T(ps_flow_held(&f, AT(0), PS_NEVER));
	T(ps_flow_held(&f, AT(150), PS_NEVER));
	T(ps_flow_held(&f, AT(300), PS_NEVER)); /* 150 us after the last */
	T(!ps_flow_held(&f, AT(600), PS_NEVER));
	T(!ps_flow_held(&f, AT(601), 0)); /* and stays ended */
}

/* However long the pause: while user space may still have a packet of it, it waits. */
static void test_waits_for_user_space(void)
{
	struct ps_flow f = warm();

	T(ps_flow_held(&f, AT(500), AT(0) - 1));
	T(ps_flow_held(&f, AT(100000), AT(499)));
	T(ps_flow_held(&f, AT(200000), AT(99999)));
	T(!ps_flow_held(&f, AT(300000), AT(200000)));
}

static void test_cap_without_pause(void)
{
	struct ps_flow f = warm();

	for (unsigned us = 0; us < 1000000; us += 40)
		T(ps_flow_held(&f, AT(us), PS_NEVER));
	T(!ps_flow_held(&f, AT(1000000), 0));
	T(!ps_flow_held(&f, AT(1000001), 0));
}

static void test_offload_hold_knows_no_pause(void)
{
	struct ps_flow f = warm();

	ps_flow_hold(&f, AT(0), AT(200000));
	T(ps_flow_held(&f, AT(100000), PS_NEVER));
	T(ps_flow_held(&f, AT(199999), PS_NEVER));
	T(ps_flow_held(&f, AT(200000), PS_NEVER)); /* the one before may still be there */
	T(ps_flow_held(&f, AT(200200), AT(199999)));
	T(!ps_flow_held(&f, AT(200600), AT(200200)));
}

/* The daemon's clock reading may be a little ahead of the program's. */
static void test_entry_from_the_future(void)
{
	struct ps_flow f = warm();

	f.last_ns = AT(5);
	T(ps_flow_held(&f, AT(1), PS_NEVER));
	T_EQ(f.last_ns, AT(1));
}

static void test_session(void)
{
	struct ps_session s = {0};

	T(!ps_session_held(&s, AT(0), 0)); /* the kernel's from the start */
	ps_session_hold(&s, AT(0), AT(200));
	T(ps_session_held(&s, AT(199), PS_NEVER));
	T(ps_session_held(&s, AT(240), PS_NEVER));
	T(ps_session_held(&s, AT(400), AT(239)));
	T(!ps_session_held(&s, AT(700), AT(400)));
	T(!ps_session_held(&s, AT(701), 0));
	ps_session_hold(&s, AT(800), AT(800)); /* user space's for another reason */
	T(ps_session_held(&s, AT(801), PS_NEVER));
	T(!ps_session_held(&s, AT(1100), PS_NEVER));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_pause_ends_warmth);
	T_RUN(test_waits_for_user_space);
	T_RUN(test_cap_without_pause);
	T_RUN(test_offload_hold_knows_no_pause);
	T_RUN(test_entry_from_the_future);
	T_RUN(test_session);
	return t_done();
}
