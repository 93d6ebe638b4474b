/* SPDX-License-Identifier: Apache-2.0
 *
 * From the UDP sockets to the tunnel device. Datagrams are told apart as they come; WireGuard data
 * waits until there is a batch for the cipher, is then judged in the order it came, and delivered
 * joined with its flow's neighbours. */
#include "apps/daemon/data.h"
#include "codec/icmp_error.h"
#include "fwd/fwd_ahead.h"

static void refuse(struct daemon *d, uint32_t slot, const uint8_t *pkt, const struct ip_meta *m,
		   enum icmp_error kind, uint64_t now)
{
	uint8_t out[ICMP_ERROR_LEN_MAX];
	size_t len = data_refusal(d, pkt, m, kind, out, now);

	if (len)
		data_send(d, slot, out, len, 0, now);
}

/* ---- to the tunnel device ---- */

/* Nothing waits any more: before policy or sessions may change, and behind the last packet. */
static void settle(struct daemon *d, uint64_t now)
{
	lane_settle(&d->data->lane);
	data_run_end(d, &d->data->rx.run, now);
}

static enum ps_reason_id rx_control(struct daemon *d, uint32_t slot, const struct p2p_ctl *ctl,
				    uint64_t now)
{
	enum ps_reason_id reason;

	settle(d, now);
	if (mtu_control(d, slot, ctl, &reason, now))
		return reason;
	if (ctl->type != P2P_CTL_GOODBYE)
		return d->role->control(d, slot, ctl, now);
	LOG_INFO("tunnel", "peer said goodbye", LOG_UUID("cid", &d->node.mem.conns[slot].cid));
	link_close(d, slot, now);
	d->role->gone(d, slot, now);
	d->role->drain(d, now);
	return PS_R_URX_CONTROL;
}

static enum ps_reason_id deliver(struct daemon *d, uint8_t *pkt, const struct ip_meta *m,
				 const struct tunnel_flow_grant *g, uint8_t ecn)
{
	if (g->instead)
		return tun_write(d->tun, g->instead, g->instead_len) ? PS_R_URX_TUN_FULL
								     : PS_R_URX_DELIVERED;
	if (!ip_packet_merge_ecn(pkt, m, ecn))
		return PS_R_URX_ECN;
	data_translate(pkt, m, &g->nat, PS_NAT_TO);
	lane_deliver(&d->data->lane, pkt, m->total_len);
	return PS_R_URX_DELIVERED;
}

static enum ps_reason_id rx_packet(struct daemon *d, const struct fwd_opened *o, uint8_t ecn,
				   uint64_t now)
{
	struct data_run *run = &d->data->rx.run;
	struct tunnel_flow_grant grant;
	enum ps_reason_id reason;
	struct ip_meta m;

	if (ip_packet_parse(o->inner, o->inner_len, &m))
		return PS_R_URX_INNER_MALFORMED;
	if (!data_run_has(run, o->peer, &m)) {
		reason = d->role->check_in(d, o->peer, o->inner, &m, &grant, now);
		if (reason != PS_R_URX_DELIVERED) {
			refuse(d, o->peer, o->inner, &m, grant.reply, now);
			return reason;
		}
		data_run_begin(d, run, BPF_FLOW_IN, o->peer, &m, &grant, now);
	}
	reason = deliver(d, o->inner, &m, &run->grant, ecn);
	if (reason == PS_R_URX_DELIVERED)
		data_run_add(run, 1, m.total_len);
	return reason;
}

static enum ps_reason_id rx_inner(struct daemon *d, const struct fwd_opened *o, uint8_t ecn,
				  uint64_t now)
{
	struct p2p_ctl ctl;

	switch (p2p_ctl_decode(o->inner, o->inner_len, &ctl)) {
	case P2P_CTL_EVENT:
		return rx_control(d, o->peer, &ctl, now);
	case P2P_CTL_UNKNOWN:
		return PS_R_URX_CONTROL_UNKNOWN;
	case P2P_CTL_MALFORMED:
		return PS_R_URX_CONTROL_MALFORMED;
	case P2P_CTL_NOT:
		break;
	}
	return rx_packet(d, o, ecn, now);
}

/* An authenticated packet. One before it in the batch may have ended its session. */
static enum ps_reason_id rx_opened(struct daemon *d, const struct fwd_opened *o, uint8_t ecn,
				   uint64_t now)
{
	const struct ps_session *s = fwd_session(&d->fwd, o->idx);

	if (!s)
		return PS_R_URX_NO_SESSION;
	if (!(s->flags & PS_SESS_CONFIRMED) || !o->inner_len) {
		settle(d, now);
		fwd_session_confirm(&d->fwd, o->idx);
		node_on_data(&d->node, o->peer, o->idx, true, !o->inner_len, now, now);
		link_drain(d, now);
	}
	return o->inner_len ? rx_inner(d, o, ecn, now) : PS_R_URX_KEEPALIVE;
}

/* Open what waits, and see each packet to its end. */
static void rx_flush(struct daemon *d, uint64_t now)
{
	struct data_rx *rx = &d->data->rx;
	size_t n = rx->n;

	rx->n = 0;
	for (size_t i = 0; i < n; i++)
		fwd_ahead_open(&d->fwd, rx->job[i].msg, rx->job[i].len);
	fwd_open_batch(&d->fwd, rx->job, n, now);
	for (size_t i = 0; i < n; i++) {
		struct fwd_rx *job = &rx->job[i];

		if (job->reason == PS_R_URX_DELIVERED)
			job->reason = rx_opened(d, &job->o, rx->ecn[i], now);
		data_count(d, job->reason, job->len);
	}
}

/* PS_R_URX_DELIVERED: it is data, and waits. */
static enum ps_reason_id rx_datagram(struct daemon *d, const struct udp_dgram *g, uint64_t now)
{
	const struct ice_dgram in = {
		.local = g->local, .remote = g->remote, .data = g->data, .len = g->len};
	struct data_rx *rx = &d->data->rx;
	struct node_rx_view view;

	if (g->truncated)
		return PS_R_URX_TOO_LONG;
	/* What comes to a tunnel address came through the tunnel: no tunnel within the tunnel. */
	if (tunnel_in_peer_range(&g->local.ip))
		return PS_R_URX_MALFORMED;
	switch (node_input(&d->node, &in, &view, now)) {
	case NODE_RX_DATA: /* without the channel's framing, when it came in one */
		rx->ecn[rx->n] = g->ecn;
		rx->job[rx->n++] = (struct fwd_rx){.msg = g->data + view.off, .len = view.len};
		return PS_R_URX_DELIVERED;
	case NODE_RX_STUN:
		link_drain(d, now);
		return PS_R_URX_STUN;
	case NODE_RX_RELAY:
		link_drain(d, now);
		return PS_R_URX_RELAY;
	case NODE_RX_HANDSHAKE:
		link_drain(d, now);
		return PS_R_URX_HANDSHAKE;
	case NODE_RX_MALFORMED:
		return PS_R_URX_MALFORMED;
	case NODE_RX_STUN_REJECTED:
		return PS_R_URX_STUN_REJECTED;
	case NODE_RX_RELAY_REJECTED:
		return PS_R_URX_RELAY_REJECTED;
	case NODE_RX_RELAY_LATE:
		return PS_R_URX_RELAY_LATE;
	case NODE_RX_HANDSHAKE_REJECTED:
		return PS_R_URX_HANDSHAKE_REJECTED;
	case NODE_RX_UNDER_LOAD:
		return PS_R_URX_UNDER_LOAD;
	}
	return PS_R_URX_MALFORMED;
}

void data_take_datagram(struct daemon *d, const struct udp_dgram *g, uint64_t now)
{
	enum ps_reason_id reason;

	data_moves(d);
	lane_begin(&d->data->lane);
	reason = rx_datagram(d, g, now);
	if (reason != PS_R_URX_DELIVERED)
		data_count(d, reason, g->len);
	rx_flush(d, now);
	settle(d, now);
}

void data_take_opened(struct daemon *d, const struct fwd_opened *o, uint8_t ecn, size_t wire_len,
		      uint64_t now)
{
	data_moves(d);
	lane_begin(&d->data->lane);
	data_count(d, rx_opened(d, o, ecn, now), wire_len);
	settle(d, now);
}

void data_udp_readable(struct daemon *d, int family, uint64_t now)
{
	struct udp_dgram *g;
	int batch = 0;
	bool more;

	data_moves(d);
	lane_begin(&d->data->lane);
	do {
		size_t n = udp_recv(d->udp, family, &g, &more);

		for (size_t i = 0; i < n; i++) {
			enum ps_reason_id reason = rx_datagram(d, &g[i], now);

			if (reason != PS_R_URX_DELIVERED)
				data_count(d, reason, g[i].len);
			if (d->data->rx.n == FWD_BATCH)
				rx_flush(d, now);
		}
		rx_flush(d, now);
		settle(d, now);
	} while (more && !d->stopping && (++batch < DATA_BATCHES || udp_rx_held(d->udp, family)));
	udp_flush(d->udp);
}
