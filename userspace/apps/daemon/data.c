/* SPDX-License-Identifier: Apache-2.0
 *
 * The user-space executor: packets between the UDP sockets and the tunnel device, complete on any
 * kernel. With the kernel executor active it sees what that passes up: first packets of a flow,
 * everything unusual, and all control traffic. */
#include <string.h>

#include "apps/daemon/daemon.h"
#include "codec/icmp_error.h"
#include "codec/p2p_ctl.h"
#include "crypto/crypto.h"
#include "plan/nat.h"
#include "wire/turn.h"

#define RX_BATCHES	4   /* batches a wake-up takes before it lets timers and signals in */
#define ICMP_PER_SECOND 100 /* errors we answer refused packets with, all peers together */

void data_count(struct daemon *d, enum ps_reason_id reason, size_t bytes)
{
	d->reasons[reason].packets++;
	d->reasons[reason].bytes += bytes;
}

/* Seal into the socket's buffer, behind the channel's header when the path is a relay's. */
static enum ps_reason_id seal_to(struct daemon *d, uint32_t slot, const struct ps_peer *p,
				 const uint8_t *pkt, size_t len, uint8_t ecn, uint64_t now)
{
	const struct ipaddr local = ipaddr_from(p->path_family, p->path_local);
	const struct endpoint remote = {.ip = ipaddr_from(p->path_family, p->path_remote),
					.port = ps_host16(p->path_remote_port)};
	size_t head = p->path_channel ? TURN_CHAN_HDR_LEN : 0, out_len;
	enum ps_reason_id reason;
	uint8_t *out;

	if (head + len + FWD_DATA_OVERHEAD > UDP_BUF_LEN)
		return PS_R_UTX_MALFORMED;
	out = udp_reserve(d->udp, p->path_family);
	if (!out)
		return PS_R_UTX_SOCKET;
	reason = fwd_seal(&d->fwd, slot, pkt, len, out + head, &out_len, now);
	if (reason != PS_R_UTX_SENT)
		return reason;
	if (head)
		turn_chan_put(out, ps_host16(p->path_channel), (uint16_t)out_len);
	udp_commit(d->udp, &local, &remote, ecn, head + out_len);
	return PS_R_UTX_SENT;
}

enum ps_reason_id data_send_any(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
				uint8_t ecn, uint64_t now)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);

	if (!p || !p->path_family || !node_conn(&d->node, slot))
		return PS_R_UTX_NO_PATH;
	return seal_to(d, slot, p, pkt, len, ecn, now);
}

static bool too_big(const struct daemon *d, uint32_t slot, size_t len)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);

	return p && len > p->mtu;
}

enum ps_reason_id data_send(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
			    uint8_t ecn, uint64_t now)
{
	enum ps_reason_id reason;

	if (too_big(d, slot, len))
		return PS_R_UTX_TOO_BIG;
	reason = data_send_any(d, slot, pkt, len, ecn, now);
	if (reason == PS_R_UTX_NO_SESSION)
		node_wants_send(&d->node, slot, now);
	return reason;
}

void data_goodbye(struct daemon *d, uint32_t slot, uint64_t now)
{
	uint8_t pkt[P2P_CTL_GOODBYE_LEN];

	p2p_ctl_encode_goodbye(pkt);
	data_send(d, slot, pkt, sizeof(pkt), 0, now);
}

static bool icmp_token(struct daemon *d, uint64_t now)
{
	if (time_since(d->icmp_at_ns, now) >= NS_PER_SEC) {
		d->icmp_at_ns = now;
		d->icmp_tokens = ICMP_PER_SECOND;
	}
	if (!d->icmp_tokens)
		return false;
	d->icmp_tokens--;
	return true;
}

void data_too_big(struct daemon *d, uint32_t slot, const uint8_t *pkt, const struct ip_meta *m,
		  uint64_t now)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);
	uint8_t out[ICMP_ERROR_LEN_MAX];
	size_t len;

	if (!p || !icmp_token(d, now))
		return;
	len = icmp_too_big_build(p->mtu, pkt, m, out, sizeof(out));
	if (len && tun_write(d->tun, out, len))
		data_count(d, PS_R_URX_TUN_FULL, len);
}

/* What to tell the sender of a refused packet, at a bounded rate; 0: nothing. */
static size_t refusal(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
		      enum icmp_error kind, uint8_t *out, uint64_t now)
{
	return kind != ICMP_ERROR_NONE && icmp_token(d, now)
		       ? icmp_error_build(kind, pkt, m, out, ICMP_ERROR_LEN_MAX)
		       : 0;
}

static void refuse(struct daemon *d, uint32_t slot, const uint8_t *pkt, const struct ip_meta *m,
		   enum icmp_error kind, uint64_t now)
{
	uint8_t out[ICMP_ERROR_LEN_MAX];
	size_t len = refusal(d, pkt, m, kind, out, now);

	if (len)
		data_send(d, slot, out, len, 0, now);
}

/* The sender is a program on this host, or behind it. */
static void refuse_here(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
			enum icmp_error kind, uint64_t now)
{
	uint8_t out[ICMP_ERROR_LEN_MAX];
	size_t len = refusal(d, pkt, m, kind, out, now);

	if (len && tun_write(d->tun, out, len))
		data_count(d, PS_R_URX_TUN_FULL, len);
}

static enum ps_reason_id rx_control(struct daemon *d, uint32_t slot, const struct p2p_ctl *ctl,
				    uint64_t now)
{
	enum ps_reason_id reason;

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

/* Rewrite the packet as its grant says. */
static void translate(uint8_t *pkt, const struct ip_meta *m, const struct tunnel_nat *nat,
		      enum ps_nat_dir dir)
{
	struct ps_nat to = {.port = ps_be16(nat->port), .on = 1};

	if (!nat->on)
		return;
	memcpy(to.addr, nat->addr.b, sizeof(to.addr));
	ps_nat_rewrite(pkt, pkt + m->l4_off, (uint32_t)(m->total_len - m->l4_off), m->family,
		       m->proto, dir, &to);
}

static enum ps_reason_id rx_inner(struct daemon *d, const struct fwd_opened *o, uint8_t ecn,
				  uint64_t now)
{
	struct tunnel_flow_grant grant;
	enum ps_reason_id reason;
	struct p2p_ctl ctl;
	struct ip_meta m;

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
	if (ip_packet_parse(o->inner, o->inner_len, &m))
		return PS_R_URX_INNER_MALFORMED;
	reason = d->role->check_in(d, o->peer, o->inner, &m, &grant, now);
	if (reason != PS_R_URX_DELIVERED) {
		refuse(d, o->peer, o->inner, &m, grant.reply, now);
		return reason;
	}
	ip_packet_merge_ecn(o->inner, &m, ecn);
	translate(o->inner, &m, &grant.nat, PS_NAT_TO);
	if (grant.instead ? tun_write(d->tun, grant.instead, grant.instead_len)
			  : tun_write(d->tun, o->inner, m.total_len))
		return PS_R_URX_TUN_FULL;
	flow_carried(d, BPF_FLOW_IN, o->peer, &m, &grant, now);
	return reason;
}

static enum ps_reason_id rx_data(struct daemon *d, struct udp_dgram *g, uint64_t now)
{
	struct fwd_opened o;
	enum ps_reason_id reason = fwd_open(&d->fwd, g->data, g->len, &o, now);
	uint32_t idx;

	if (reason != PS_R_URX_DELIVERED)
		return reason;
	idx = d->fwd.mem.session[o.slot].local_idx;
	if (o.confirms || !o.inner_len) {
		fwd_session_confirm(&d->fwd, idx);
		node_on_data(&d->node, o.peer, idx, true, !o.inner_len, now, now);
		link_drain(d, now);
	}
	return o.inner_len ? rx_inner(d, &o, g->ecn, now) : PS_R_URX_KEEPALIVE;
}

static enum ps_reason_id rx_datagram(struct daemon *d, struct udp_dgram *g, uint64_t now)
{
	const struct ice_dgram in = {
		.local = g->local, .remote = g->remote, .data = g->data, .len = g->len};
	struct node_rx_view view;

	if (g->truncated)
		return PS_R_URX_TOO_LONG;
	/* What comes to a tunnel address came through the tunnel: no tunnel within the tunnel. */
	if (tunnel_in_peer_range(&g->local.ip))
		return PS_R_URX_MALFORMED;
	switch (node_input(&d->node, &in, &view, now)) {
	case NODE_RX_DATA: /* without the channel's framing, when it came in one */
		g->data += view.off;
		g->len = view.len;
		return rx_data(d, g, now);
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

void data_udp_readable(struct daemon *d, int family, uint64_t now)
{
	struct udp_dgram *g;
	size_t n;

	for (int batch = 0; batch < RX_BATCHES && !d->stopping; batch++) {
		n = udp_recv(d->udp, family, &g);
		for (size_t i = 0; i < n; i++)
			data_count(d, rx_datagram(d, &g[i], now), g[i].len);
		if (n < UDP_BATCH)
			break;
	}
	udp_flush(d->udp);
}

static enum ps_reason_id tx_packet(struct daemon *d, const struct tun_pkt *p, uint64_t now)
{
	struct tunnel_flow_grant grant;
	enum ps_reason_id reason;
	struct ip_meta m;

	if (ip_packet_parse(p->data, p->len, &m) || m.total_len != p->len)
		return PS_R_UTX_MALFORMED;
	reason = d->role->check_out(d, p->data, &m, &grant, now);
	if (reason != PS_R_UTX_SENT) {
		refuse_here(d, p->data, &m, grant.reply, now);
		return reason;
	}
	if (!grant.instead && too_big(d, grant.slot, p->len)) {
		data_too_big(d, grant.slot, p->data, &m, now);
		return PS_R_UTX_TOO_BIG;
	}
	translate(p->data, &m, &grant.nat, PS_NAT_FROM);
	if (grant.instead)
		return data_send(d, grant.slot, grant.instead, grant.instead_len, 0, now);
	reason = data_send(d, grant.slot, p->data, p->len, m.ecn, now);
	if (reason == PS_R_UTX_SENT)
		flow_carried(d, BPF_FLOW_OUT, grant.slot, &m, &grant, now);
	return reason;
}

void data_tun_readable(struct daemon *d, uint64_t now)
{
	struct tun_pkt *p;
	size_t n;

	for (int batch = 0; batch < RX_BATCHES && !d->stopping; batch++) {
		n = tun_read(d->tun, &p);
		for (size_t i = 0; i < n; i++)
			data_count(d, tx_packet(d, &p[i], now), p[i].len);
		d->role->drain(d, now);
		if (n < TUN_BATCH)
			break;
	}
	udp_flush(d->udp);
}
