/* SPDX-License-Identifier: Apache-2.0
 *
 * Truth tables of the timer policies. */
#include "base/time.h"
#include "core/wg/wg_timers.h"
#include "tests/t.h"

#define S NS_PER_SEC

struct row {
	bool initiator;
	uint64_t age_ns, counter;
	bool may_send, dead, rekey_send, rekey_recv;
};

static void test_session_policies(void)
{
	static const struct row rows[] = {
		/* initiator, age, counter,              send,  dead, rekey on send, on receive */
		{true, 0, 0, true, false, false, false},
		{true, 120 * S - 1, 0, true, false, false, false},
		{true, 120 * S, 0, true, false, true, false},
		{true, 165 * S - 1, 0, true, false, true, false},
		{true, 165 * S, 0, true, false, true, true},
		{true, 170 * S - 1, 0, true, false, true, true},
		{true, 170 * S, 0, false, false, true, true},
		{true, 180 * S - 1, 0, false, false, true, true},
		{true, 180 * S, 0, false, true, true, true},
		{false, 0, 0, true, false, false, false},
		{false, 120 * S, 0, true, false, false, false},
		{false, 170 * S, 0, true, false, false, false},
		{false, 180 * S - 1, 0, true, false, false, false},
		{false, 180 * S, 0, false, true, false, false},
		{true, 1, WG_REKEY_AFTER_MESSAGES - 1, true, false, false, false},
		{true, 1, WG_REKEY_AFTER_MESSAGES, true, false, true, false},
		{false, 1, WG_REKEY_AFTER_MESSAGES, true, false, true, false},
		{false, 1, WG_REJECT_AFTER_MESSAGES - 1, true, false, true, false},
		{false, 1, WG_REJECT_AFTER_MESSAGES, false, false, true, false},
	};
	const struct wg_times t = wg_times_default();
	const uint64_t birth = 777 * S;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		const struct wg_age a = {
			.initiator = r->initiator, .birth_ns = birth, .counter = r->counter};
		const uint64_t now = birth + r->age_ns;

		t_note("row %zu", i);
		T_EQ(wg_may_send(&t, &a, now), r->may_send);
		T_EQ(wg_is_dead(&t, &a, now), r->dead);
		T_EQ(wg_rekey_due_on_send(&t, &a, now), r->rekey_send);
		T_EQ(wg_rekey_due_on_recv(&t, &a, now), r->rekey_recv);
	}
}

static void test_points_in_time(void)
{
	const struct wg_times t = wg_times_default();

	T_EQ(wg_keepalive_at(&t, 5 * S), 15 * S);
	T_EQ(wg_silence_at(&t, 5 * S), 20 * S);
	T_EQ(wg_give_up_at(&t, 5 * S), 25 * S);
	T_EQ(wg_keepalive_at(&t, TIME_NEVER), TIME_NEVER);
	T_EQ(wg_silence_at(&t, TIME_NEVER), TIME_NEVER);
}

/* The relations the design leans on, whatever the numbers. */
static void test_relations(void)
{
	const struct wg_times t = wg_times_default();

	T(t.rekey_after_ns < t.rekey_recv_ns);
	T(t.rekey_recv_ns < t.initiator_stop_ns);
	T(t.initiator_stop_ns < t.reject_after_ns);
	T_EQ(t.rekey_recv_ns, t.reject_after_ns - t.keepalive_ns - t.retry_ns);
	T_EQ(t.dead_after_ns, 3 * t.reject_after_ns);
	T(t.attempt_ns >
	  16500 * NS_PER_MS); /* ICE on the active side fails in 16.5 s at the latest */
	T_EQ(WG_REJECT_AFTER_MESSAGES, UINT64_C(0xffffffffffffdfff));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_session_policies);
	T_RUN(test_points_in_time);
	T_RUN(test_relations);
	return t_done();
}
