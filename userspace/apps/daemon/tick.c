/* SPDX-License-Identifier: Apache-2.0
 *
 * Once a second: what either executor did to a session becomes news for its timers (rekey,
 * keepalive, idle), so that neither has to report packet by packet. */
#include "apps/daemon/daemon.h"

static void session_tick(struct daemon *d, uint32_t i, uint64_t now)
{
	struct ps_session *s = &d->fwd.mem.session[i];
	struct session_seen *seen = &d->seen[i];
	uint64_t rx = PS_READ_ONCE(s->last_rx_ns), tx = PS_READ_ONCE(s->last_tx_ns);

	if (seen->idx != s->local_idx)
		*seen = (struct session_seen){.idx = s->local_idx};
	if (rx > seen->rx_ns) {
		seen->rx_ns = rx;
		node_on_data(&d->node, s->peer, s->local_idx, true, false, rx < now ? rx : now,
			     now);
	}
	if (tx > seen->tx_ns) {
		seen->tx_ns = tx;
		node_on_data(&d->node, s->peer, s->local_idx, false, false, tx < now ? tx : now,
			     now);
		node_on_counter(&d->node, s->peer, s->local_idx, PS_READ_ONCE(s->tx_counter), now);
	}
}

void tick(void *ctx, uint64_t now)
{
	struct daemon *d = ctx;

	for (uint32_t i = 0; i < d->n_sessions; i++)
		if (d->fwd.mem.session[i].flags & PS_SESS_USED)
			session_tick(d, i, now);
	link_drain(d, now);
	loop_timer_arm(&d->tick, now + NS_PER_SEC);
}
