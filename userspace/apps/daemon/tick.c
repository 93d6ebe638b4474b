/* SPDX-License-Identifier: Apache-2.0
 *
 * Once a second: what either executor did to a session becomes news for its timers (rekey,
 * keepalive, idle), so that neither has to report packet by packet; who executes is decided anew;
 * captures are noticed. A large table's sessions are looked at in parts over the second: ten
 * thousand busy ones at once would hold up everything else for milliseconds. */
#include <stdio.h>
#include <string.h>

#include "apps/daemon/daemon.h"

#define TICK_SESSIONS 2048 /* looked at in one go */

static struct fwd_moved kernel_total(const struct ps_session *s)
{
	return (struct fwd_moved){s->rx_kernel_packets + s->tx_kernel_packets,
				  s->rx_kernel_bytes + s->tx_kernel_bytes};
}

static struct fwd_moved session_total(const struct ps_session *s)
{
	struct fwd_moved k = kernel_total(s);

	return (struct fwd_moved){k.packets + s->rx_user_packets + s->tx_user_packets,
				  k.bytes + s->rx_user_bytes + s->tx_user_bytes};
}

/* *sum grows by what has passed since *seen was so much. */
static void moved_since(struct fwd_moved *sum, struct fwd_moved *seen, struct fwd_moved total)
{
	sum->packets += total.packets - seen->packets;
	sum->bytes += total.bytes - seen->bytes;
	*seen = total;
}

static void session_tick(struct daemon *d, uint32_t i, uint64_t now)
{
	struct ps_session *s = &d->fwd.mem.session[i];
	struct session_seen *seen = &d->seen[i];
	uint64_t rx = PS_READ_ONCE(s->last_rx_ns), tx = PS_READ_ONCE(s->last_tx_ns);
	uint64_t tx_bytes = s->tx_kernel_bytes + s->tx_user_bytes;
	struct fwd_pace none = {0};
	struct fwd_pace *pace = s->peer < d->max_peers ? &d->pace[s->peer] : &none;

	if (seen->idx != s->local_idx)
		*seen = (struct session_seen){.idx = s->local_idx};
	moved_since(&pace->kernel, &seen->kernel, kernel_total(s));
	moved_since(&pace->all, &seen->all, session_total(s));
	mtu_sent(d, s->peer, tx_bytes - seen->tx_bytes);
	seen->tx_bytes = tx_bytes;
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

static void choose_executor(struct daemon *d, uint32_t slot)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);
	bool kernel = p && (p->flags & PS_PEER_KERNEL);

	if (!p) {
		d->pace[slot] = (struct fwd_pace){0};
		return;
	}
	if (!fwd_pace_tick(&d->pace[slot], kernel))
		return;
	fwd_peer_set_kernel(&d->fwd, slot, !kernel);
	LOG_DEBUG("kernel",
		  kernel ? "peer moves to user space: bulk"
			 : "peer moves to the kernel: small packets",
		  LOG_U64("slot", slot));
}

/* Is somebody capturing on the tunnel device (or on all)? What the kernel executor takes at the
 * device's egress no capture would see, so while one runs user space sends. */
static bool captured(const struct daemon *d)
{
	FILE *f = fopen("/proc/thread-self/net/packet", "r");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned proto;
		int ifindex;

		if (sscanf(line, "%*s %*s %*s %x %d", &proto, &ifindex) == 2 &&
		    proto == 3 /* ETH_P_ALL */)
			found = !ifindex || ifindex == tun_ifindex(d->tun);
	}
	if (f)
		fclose(f);
	return found;
}

static void follow_captures(struct daemon *d)
{
	struct ps_config *c = bpf_load_tables(d->bpf)->config;
	bool on = captured(d);

	if (on == d->captured)
		return;
	d->captured = on;
	PS_WRITE_ONCE(c->flags, on ? c->flags & ~(uint32_t)PS_CFG_TX : c->flags | PS_CFG_TX);
	LOG_INFO("kernel", on ? "capture on the tunnel device: user space sends meanwhile"
			      : "capture ended: the kernel sends again");
}

/* After all sessions have been looked at. */
static void second(struct daemon *d, uint64_t now)
{
	mtu_tick(d, now);
	flow_nat_tick(d, now);
	if (d->bpf && !d->kernel_why[0]) {
		follow_captures(d);
		for (uint32_t slot = 0; d->opt.mode == OPT_MODE_AUTO && slot < d->max_peers; slot++)
			choose_executor(d, slot);
	}
	portal_tick(d, now);
	dns_host_tick(d, now);
}

void tick(void *ctx, uint64_t now)
{
	struct daemon *d = ctx;
	const uint32_t n = d->n_sessions, each = d->tick_each ? d->tick_each : TICK_SESSIONS;
	const uint32_t end = n - d->tick_at > each ? d->tick_at + each : n;

	for (uint32_t i = d->tick_at; i < end; i++)
		if (d->fwd.mem.session[i].flags & PS_SESS_USED)
			session_tick(d, i, now);
	link_drain(d, now);
	d->tick_at = end == n ? 0 : end;
	if (!d->tick_at)
		second(d, now);
	d->tick_due_ns = now + NS_PER_SEC / ((n + each - 1) / each);
	loop_timer_arm(&d->tick, d->tick_due_ns);
}
