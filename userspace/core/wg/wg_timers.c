/* SPDX-License-Identifier: Apache-2.0
 *
 * The default periods and the policies over them. No state: periods and a session's age in, answers
 * out, each with a row in the truth tables of test_wg_timers.c. */
#include "base/time.h"
#include "core/wg/wg_timers.h"

struct wg_times wg_times_default(void)
{
	return (struct wg_times){
		.rekey_after_ns = 120 * NS_PER_SEC,
		.rekey_recv_ns = 165 * NS_PER_SEC,
		.initiator_stop_ns = 170 * NS_PER_SEC,
		.reject_after_ns = 180 * NS_PER_SEC,
		.retry_ns = 5 * NS_PER_SEC,
		.jitter_ns = 333 * NS_PER_MS,
		.attempt_ns = 20 * NS_PER_SEC,
		.keepalive_ns = 10 * NS_PER_SEC,
		.dead_after_ns = 540 * NS_PER_SEC,
		.cookie_ns = 120 * NS_PER_SEC,
	};
}

bool wg_may_send(const struct wg_times *t, const struct wg_age *s, uint64_t now)
{
	uint64_t stop = s->initiator ? t->initiator_stop_ns : t->reject_after_ns;

	return time_since(s->birth_ns, now) < stop && s->counter < WG_REJECT_AFTER_MESSAGES;
}

bool wg_is_dead(const struct wg_times *t, const struct wg_age *s, uint64_t now)
{
	return time_since(s->birth_ns, now) >= t->reject_after_ns;
}

bool wg_rekey_due_on_send(const struct wg_times *t, const struct wg_age *s, uint64_t now)
{
	if (s->counter >= WG_REKEY_AFTER_MESSAGES)
		return true;
	return s->initiator && time_since(s->birth_ns, now) >= t->rekey_after_ns;
}

bool wg_rekey_due_on_recv(const struct wg_times *t, const struct wg_age *s, uint64_t now)
{
	return s->initiator && time_since(s->birth_ns, now) >= t->rekey_recv_ns;
}

uint64_t wg_keepalive_at(const struct wg_times *t, uint64_t recv_at)
{
	return time_add(recv_at, t->keepalive_ns);
}

uint64_t wg_silence_at(const struct wg_times *t, uint64_t sent_at)
{
	return time_add(sent_at, t->keepalive_ns + t->retry_ns);
}

uint64_t wg_give_up_at(const struct wg_times *t, uint64_t began)
{
	return time_add(began, t->attempt_ns);
}
