/* SPDX-License-Identifier: Apache-2.0
 *
 * From the tunnel device to the UDP sockets. A super-packet is judged once, cut into the packets it
 * stands for straight into the socket's buffers, and sealed there. */
#include "apps/daemon/data.h"
#include "codec/icmp_error.h"
#include "fwd/off_split.h"
#include "wire/turn.h"

/* ---- into the UDP queue ---- */

/* The packet at lane_place() is its slot's and goes out with the batch. */
static enum ps_reason_id send_placed(struct daemon *d, uint32_t slot, const struct ps_path_view *v,
				     struct fwd_tx *job, uint8_t ecn, uint64_t now)
{
	enum ps_reason_id reason = fwd_seal_begin(&d->fwd, slot, job, now);

	if (reason == PS_R_UTX_SENT)
		lane_placed(&d->data->lane, v, ecn);
	return reason;
}

static bool reachable(const struct daemon *d, uint32_t slot, struct ps_path_view *v)
{
	return fwd_path_view(&d->fwd, slot, v) && v->family && node_conn(&d->node, slot);
}

/* pkt stays as it is until lane_flush. */
static enum ps_reason_id put(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
			     uint8_t ecn, uint64_t now)
{
	struct ps_path_view v;
	struct fwd_tx *job;

	if (!reachable(d, slot, &v))
		return PS_R_UTX_NO_PATH;
	if (TURN_CHAN_HDR_LEN + len + FWD_DATA_OVERHEAD > UDP_BUF_LEN)
		return PS_R_UTX_MALFORMED;
	job = lane_place(&d->data->lane, &v);
	if (!job)
		return PS_R_UTX_SOCKET;
	job->inner = pkt;
	job->inner_len = len;
	return send_placed(d, slot, &v, job, ecn, now);
}

enum ps_reason_id data_send_any(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
				uint8_t ecn, uint64_t now)
{
	enum ps_reason_id reason = put(d, slot, pkt, len, ecn, now);

	lane_flush(&d->data->lane);
	return reason;
}

static bool too_big(const struct daemon *d, uint32_t slot, size_t len)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);

	return p && len > p->mtu;
}

/* put, for what programs send. */
static enum ps_reason_id put_data(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
				  uint8_t ecn, uint64_t now)
{
	enum ps_reason_id reason;

	if (too_big(d, slot, len))
		return PS_R_UTX_TOO_BIG;
	reason = put(d, slot, pkt, len, ecn, now);
	if (reason == PS_R_UTX_NO_SESSION)
		node_wants_send(&d->node, slot, now);
	return reason;
}

enum ps_reason_id data_send(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
			    uint8_t ecn, uint64_t now)
{
	enum ps_reason_id reason = put_data(d, slot, pkt, len, ecn, now);

	lane_flush(&d->data->lane);
	return reason;
}

/* ---- from the tunnel device ---- */

/* The sender is a program on this host, or behind it. */
static void refuse_here(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
			enum icmp_error kind, uint64_t now)
{
	uint8_t out[ICMP_ERROR_LEN_MAX];
	size_t len = data_refusal(d, pkt, m, kind, out, now);

	if (len && tun_write(d->tun, out, len))
		data_count(d, PS_R_URX_TUN_FULL, len);
}

/* May it go, and to whom? The run's grant says it. */
static enum ps_reason_id judge(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
			       uint64_t now)
{
	struct data_run *run = &d->data->tx_run;
	struct tunnel_flow_grant grant;
	enum ps_reason_id reason;

	if (data_run_has(run, run->slot, m))
		return PS_R_UTX_SENT;
	reason = d->role->check_out(d, pkt, m, &grant, now);
	if (reason != PS_R_UTX_SENT) {
		refuse_here(d, pkt, m, grant.reply, now);
		return reason;
	}
	data_run_begin(d, run, BPF_FLOW_OUT, grant.slot, m, &grant, now);
	return PS_R_UTX_SENT;
}

/* One packet as it is on the wire; it stays as it is until lane_flush. */
static enum ps_reason_id tx_packet(struct daemon *d, uint8_t *pkt, size_t len, struct ip_meta *m,
				   uint64_t now)
{
	struct data_run *run = &d->data->tx_run;
	const struct tunnel_flow_grant *g = &run->grant;
	enum ps_reason_id reason;

	if (ip_packet_parse(pkt, len, m) || m->total_len != len)
		return PS_R_UTX_MALFORMED;
	reason = judge(d, pkt, m, now);
	if (reason != PS_R_UTX_SENT)
		return reason;
	if (g->instead)
		return data_send(d, g->slot, g->instead, g->instead_len, 0, now);
	if (too_big(d, g->slot, len)) {
		data_too_big(d, g->slot, pkt, m, now);
		return PS_R_UTX_TOO_BIG;
	}
	data_translate(pkt, m, &g->nat, PS_NAT_FROM);
	reason = put_data(d, g->slot, pkt, len, m->ecn, now);
	if (reason == PS_R_UTX_SENT)
		data_run_add(run, 1, len);
	return reason;
}

/* The next packet of a super-packet, of the run, cut into the socket's buffer. m: the first's. */
static enum ps_reason_id tx_segment(struct daemon *d, struct off_split *s, struct ip_meta *m,
				    uint64_t now)
{
	struct data_run *run = &d->data->tx_run;
	enum ps_reason_id reason;
	struct ps_path_view v;
	struct fwd_tx *job;
	uint8_t *pkt;

	if (!reachable(d, run->slot, &v))
		return PS_R_UTX_NO_PATH;
	job = lane_place(&d->data->lane, &v);
	if (!job)
		return PS_R_UTX_SOCKET;
	pkt = job->out + FWD_DATA_HEADER;
	m->total_len = (uint16_t)off_split_next(s, pkt, PS_INNER_MAX);
	data_translate(pkt, m, &run->grant.nat, PS_NAT_FROM);
	job->inner = pkt;
	job->inner_len = m->total_len;
	reason = send_placed(d, run->slot, &v, job, m->ecn, now);
	if (reason == PS_R_UTX_NO_SESSION)
		node_wants_send(&d->node, run->slot, now);
	if (reason == PS_R_UTX_SENT)
		data_run_add(run, 1, m->total_len);
	return reason;
}

/* Does the last packet end a connection? Policy sees it then. */
static bool ends(const uint8_t *pkt, const struct ip_meta *m)
{
	return m->l4 == IP_L4_TCP && pkt[m->l4_off + 13] & DATA_TCP_ENDS;
}

/* Those behind the first, up to one that policy wants to see itself or that finds no way out. m:
 * the first's. */
static void tx_rest(struct daemon *d, const struct tun_pkt *p, struct off_split *s,
		    struct ip_meta *m, uint64_t now)
{
	uint32_t end = s->count - ends(p->data, m);
	enum ps_reason_id reason = PS_R_UTX_SENT;

	while (s->next < end && reason != PS_R_UTX_SOCKET && reason != PS_R_UTX_NO_PATH) {
		reason = tx_segment(d, s, m, now);
		data_count(d, reason, off_split_max(s));
	}
}

/* The first packet is judged for all of them. While it does not go, each is on its own. */
static void tx_super(struct daemon *d, const struct tun_pkt *p, uint64_t now)
{
	const struct data_run *run = &d->data->tx_run;
	uint8_t first[PS_INNER_MAX];
	enum ps_reason_id reason;
	struct off_split s;
	struct ip_meta m;
	size_t len;

	if (off_split_begin(&s, p->data, p->len, &p->gso) || off_split_max(&s) > sizeof(first)) {
		data_count(d, PS_R_UTX_MALFORMED, p->len);
		return;
	}
	while ((len = off_split_next(&s, first, sizeof(first)))) {
		reason = tx_packet(d, first, len, &m, now);
		data_count(d, reason, len);
		if (reason == PS_R_UTX_SENT && data_run_has(run, run->slot, &m))
			tx_rest(d, p, &s, &m, now);
		lane_flush(&d->data->lane); /* `first` is used again */
	}
}

static void tx_device(struct daemon *d, const struct tun_pkt *p, uint64_t now)
{
	enum ps_reason_id reason = PS_R_UTX_MALFORMED;
	struct off_split one;
	struct ip_meta m;

	if (p->gso.kind != OFF_NONE) {
		tx_super(d, p, now);
		return;
	}
	/* The device's checksum to complete. */
	if (!p->gso.csum || (!off_split_begin(&one, p->data, p->len, &p->gso) &&
			     off_split_next(&one, p->data, p->len)))
		reason = tx_packet(d, p->data, p->len, &m, now);
	data_count(d, reason, p->len);
}

void data_take_packet(struct daemon *d, const struct tun_pkt *p, uint64_t now)
{
	data_moves(d);
	tx_device(d, p, now);
	lane_flush(&d->data->lane);
	data_run_end(d, &d->data->tx_run, now);
	d->role->drain(d, now);
}

void data_tun_readable(struct daemon *d, uint64_t now)
{
	struct tun_pkt *p;
	size_t n;

	data_moves(d);
	for (int batch = 0; batch < DATA_BATCHES && !d->stopping; batch++) {
		n = tun_read(d->tun, &p);
		for (size_t i = 0; i < n; i++)
			tx_device(d, &p[i], now);
		lane_flush(&d->data->lane);
		data_run_end(d, &d->data->tx_run, now);
		d->role->drain(d, now);
		if (n < TUN_BATCH && !tun_more(d->tun))
			break;
	}
	udp_flush(d->udp);
}
