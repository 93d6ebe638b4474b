/* SPDX-License-Identifier: Apache-2.0
 *
 * From the tunnel device to the UDP sockets. A super-packet is judged once, cut into the packets it
 * stands for straight into the socket's buffers, and sealed there. */
#include "apps/daemon/data.h"
#include "codec/icmp_error.h"
#include "fwd/off_split.h"
#include "wire/turn.h"

/* ---- into the UDP queue ---- */

/* A peer's path as the socket takes it. */
struct way {
	struct ipaddr local;
	struct endpoint remote;
	uint16_t channel;
};

static struct way way_of(const struct ps_peer *p)
{
	return (struct way){.local = ipaddr_from(p->path_family, p->path_local),
			    .remote = {.ip = ipaddr_from(p->path_family, p->path_remote),
				       .port = ps_host16(p->path_remote_port)},
			    .channel = ps_host16(p->path_channel)};
}

static void commit(struct daemon *d, const struct fwd_tx *job, const struct way *w, uint8_t ecn)
{
	size_t len = job->inner_len + FWD_DATA_OVERHEAD;

	if (w->channel) {
		turn_chan_put(job->out - TURN_CHAN_HDR_LEN, w->channel, (uint16_t)len);
		len += TURN_CHAN_HDR_LEN;
	}
	udp_commit(d->udp, &w->local, &w->remote, ecn, len);
}

void data_tx_flush(struct daemon *d)
{
	struct data_tx *tx = &d->data->tx;
	struct way way = {0};

	fwd_seal_batch(&d->fwd, tx->job, tx->n);
	for (size_t i = 0; i < tx->n; i++) {
		if (!i || tx->to[i].slot != tx->to[i - 1].slot)
			way = way_of(fwd_peer(&d->fwd, tx->to[i].slot));
		commit(d, &tx->job[i], &way, tx->to[i].ecn);
	}
	tx->n = tx->room = 0;
	tx->family = 0;
}

/* Where the next packet to the peer may be written, TURN_CHAN_HDR_LEN and FWD_DATA_HEADER bytes
 * from the buffer's start when it is relayed, else the latter alone; NULL: the socket is full. */
static struct fwd_tx *place(struct daemon *d, const struct ps_peer *p)
{
	struct data_tx *tx = &d->data->tx;
	uint8_t *buf;

	if (tx->n == FWD_BATCH || (tx->n && (tx->family != p->path_family || tx->n == tx->room)))
		data_tx_flush(d);
	if (!tx->n) {
		tx->family = p->path_family;
		tx->room = udp_room(d->udp, p->path_family, FWD_BATCH);
		if (!tx->room)
			return NULL;
	}
	buf = udp_room_at(d->udp, p->path_family, tx->n);
	tx->job[tx->n] = (struct fwd_tx){.out = buf + (p->path_channel ? TURN_CHAN_HDR_LEN : 0)};
	return &tx->job[tx->n];
}

/* The packet at place() is its slot's and goes out with the batch. */
static enum ps_reason_id send_placed(struct daemon *d, uint32_t slot, uint8_t ecn, uint64_t now)
{
	struct data_tx *tx = &d->data->tx;
	enum ps_reason_id reason = fwd_seal_begin(&d->fwd, slot, &tx->job[tx->n], now);

	if (reason == PS_R_UTX_SENT)
		tx->to[tx->n++] = (struct data_tx_to){slot, ecn};
	return reason;
}

static const struct ps_peer *reachable(const struct daemon *d, uint32_t slot)
{
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);

	return p && p->path_family && node_conn(&d->node, slot) ? p : NULL;
}

/* pkt stays as it is until data_tx_flush. */
static enum ps_reason_id put(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
			     uint8_t ecn, uint64_t now)
{
	const struct ps_peer *p = reachable(d, slot);
	struct fwd_tx *job;

	if (!p)
		return PS_R_UTX_NO_PATH;
	if (TURN_CHAN_HDR_LEN + len + FWD_DATA_OVERHEAD > UDP_BUF_LEN)
		return PS_R_UTX_MALFORMED;
	job = place(d, p);
	if (!job)
		return PS_R_UTX_SOCKET;
	job->inner = pkt;
	job->inner_len = len;
	return send_placed(d, slot, ecn, now);
}

enum ps_reason_id data_send_any(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
				uint8_t ecn, uint64_t now)
{
	enum ps_reason_id reason = put(d, slot, pkt, len, ecn, now);

	data_tx_flush(d);
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

	data_tx_flush(d);
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
	struct data_run *run = &d->data->tx.run;
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

/* One packet as it is on the wire; it stays as it is until data_tx_flush. */
static enum ps_reason_id tx_packet(struct daemon *d, uint8_t *pkt, size_t len, struct ip_meta *m,
				   uint64_t now)
{
	struct data_run *run = &d->data->tx.run;
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
	struct data_run *run = &d->data->tx.run;
	const struct ps_peer *p = reachable(d, run->slot);
	struct fwd_tx *job = p ? place(d, p) : NULL;
	enum ps_reason_id reason;
	uint8_t *pkt;

	if (!job)
		return p ? PS_R_UTX_SOCKET : PS_R_UTX_NO_PATH;
	pkt = job->out + FWD_DATA_HEADER;
	m->total_len = (uint16_t)off_split_next(s, pkt, PS_INNER_MAX);
	data_translate(pkt, m, &run->grant.nat, PS_NAT_FROM);
	job->inner = pkt;
	job->inner_len = m->total_len;
	reason = send_placed(d, run->slot, m->ecn, now);
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
	const struct data_run *run = &d->data->tx.run;
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
		data_tx_flush(d); /* `first` is used again */
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

void data_tun_readable(struct daemon *d, uint64_t now)
{
	struct tun_pkt *p;
	size_t n;

	d->data->moved = true;
	for (int batch = 0; batch < DATA_BATCHES && !d->stopping; batch++) {
		n = tun_read(d->tun, &p);
		for (size_t i = 0; i < n; i++)
			tx_device(d, &p[i], now);
		data_tx_flush(d);
		data_run_end(d, &d->data->tx.run, now);
		d->role->drain(d, now);
		if (n < TUN_BATCH && !tun_more(d->tun))
			break;
	}
	udp_flush(d->udp);
}
