/* SPDX-License-Identifier: Apache-2.0
 *
 * The user-space executor: packets between the UDP sockets and the tunnel device, complete on any
 * kernel. With the kernel executor active it sees what that passes up: first packets of a flow,
 * bulk, everything unusual, and all control traffic. Here is what both directions share. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "apps/daemon/data.h"
#include "codec/icmp_error.h"
#include "codec/p2p_ctl.h"

#define ICMP_PER_SECOND 100 /* errors we answer refused packets with, all peers together */

void data_count(struct daemon *d, enum ps_reason_id reason, size_t bytes)
{
	d->reasons[reason].packets++;
	d->reasons[reason].bytes += bytes;
}

void data_goodbye(struct daemon *d, uint32_t slot, uint64_t now)
{
	uint8_t pkt[P2P_CTL_GOODBYE_LEN];

	p2p_ctl_encode_goodbye(pkt);
	data_send(d, slot, pkt, sizeof(pkt), 0, now);
}

/* ---- errors that we tell ---- */

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

size_t data_refusal(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
		    enum icmp_error kind, uint8_t *out, uint64_t now)
{
	return kind != ICMP_ERROR_NONE && icmp_token(d, now)
		       ? icmp_error_build(kind, pkt, m, out, ICMP_ERROR_LEN_MAX)
		       : 0;
}

/* ---- translation ---- */

void data_translate(uint8_t *pkt, const struct ip_meta *m, const struct tunnel_nat *nat,
		    enum ps_nat_dir dir)
{
	struct ps_nat to = {.port = ps_be16(nat->port), .on = 1};

	if (!nat->on)
		return;
	memcpy(to.addr, nat->addr.b, sizeof(to.addr));
	ps_nat_rewrite(pkt, pkt + m->l4_off, (uint32_t)(m->total_len - m->l4_off), m->family,
		       m->proto, dir, &to);
}

/* ---- runs ---- */

bool data_run_has(const struct data_run *r, uint32_t slot, const struct ip_meta *m)
{
	const struct ip_meta *f = &r->first;

	return r->on && r->slot == slot && r->grant.cacheable && !r->grant.instead &&
	       (m->l4 == IP_L4_TCP || m->l4 == IP_L4_UDP) && m->l4 == f->l4 &&
	       m->sport == f->sport && m->dport == f->dport && !m->is_fragment && !m->has_ext &&
	       !f->is_fragment && !f->has_ext && !(m->tcp_flags & DATA_TCP_ENDS) &&
	       !(f->tcp_flags & DATA_TCP_ENDS) && ipaddr_eq(&m->src, &f->src) &&
	       ipaddr_eq(&m->dst, &f->dst);
}

void data_run_end(struct daemon *d, struct data_run *r, uint64_t now)
{
	if (r->on && r->packets)
		flow_carried(d, r->dir, r->slot, &r->first, &r->grant, r->packets, r->bytes, now);
	r->on = false;
}

void data_run_begin(struct daemon *d, struct data_run *r, enum bpf_dir dir, uint32_t slot,
		    const struct ip_meta *m, const struct tunnel_flow_grant *g, uint64_t now)
{
	data_run_end(d, r, now);
	*r = (struct data_run){.on = true, .dir = dir, .slot = slot, .first = *m, .grant = *g};
}

void data_run_add(struct data_run *r, uint64_t packets, uint64_t bytes)
{
	r->packets += packets;
	r->bytes += bytes;
}

/* ---- the order of packets between the executors ---- */

void data_moves(struct daemon *d)
{
	d->data->moved = true;
	workers_busy(d);
}

void data_drained(struct daemon *d)
{
	struct pollfd p[] = {{.fd = tun_fd(d->tun), .events = POLLIN},
			     {.fd = udp_fd(d->udp, 4), .events = POLLIN},
			     {.fd = udp_fd(d->udp, 6), .events = POLLIN}};
	uint64_t at;

	if (!d->bpf || d->kernel_why[0] || !d->data->moved || udp_pending(d->udp, 4) ||
	    udp_pending(d->udp, 6))
		return;
	if (d->workers) {
		d->data->moved = false;
		workers_drained(d);
		return;
	}
	at = loop_now(); /* before we look: what comes after this is not spoken of */
	if (poll(p, 3, 0))
		return;
	d->data->moved = false;
	PS_WRITE_ONCE(bpf_load_tables(d->bpf)->config->drained_ns, at);
}

/* ---- life ---- */

int data_open(struct daemon *d)
{
	d->data = calloc(1, sizeof(*d->data));
	if (!d->data)
		return -ENOMEM;
	lane_init(&d->data->lane, &d->fwd, d->tun, d->udp, d->reasons);
	return 0;
}

void data_close(struct daemon *d)
{
	free(d->data);
	d->data = NULL;
}
