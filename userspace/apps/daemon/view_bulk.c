/* SPDX-License-Identifier: Apache-2.0
 *
 * How user space carries packets, for status: cipher, offloads of the tunnel device and of the
 * sockets, and how much of what went by went joined. */
#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"
#include "crypto/aead_batch.h"

static json_t *view_tun(const struct daemon *d)
{
	const struct tun *t = d->tun;
	const struct tun_offload *o = tun_offload(t);
	struct tun_stats sum = *tun_stats(t), *s = &sum;
	json_t *v = json_object();

	workers_tun_stats(d, s);

	put(v, "tso", json_boolean(o->tso));
	put(v, "uso", json_boolean(o->uso));
	put(v, "joins_tcp", json_boolean(tun_joins_tcp(t)));
	put(v, "joins_udp", json_boolean(tun_joins_udp(t)));
	put(v, "rx_super", num(s->rx_super));
	put(v, "rx_malformed", num(s->rx_malformed));
	put(v, "tx_super", num(s->tx_super));
	put(v, "tx_refused", num(s->tx_refused));
	return v;
}

static json_t *view_udp(const struct daemon *d)
{
	const struct udp *u = d->udp;
	struct udp_stats sum = *udp_stats(u), *s = &sum;
	int family = udp_fd(u, 4) >= 0 ? 4 : 6;
	json_t *v = json_object();

	workers_udp_stats(d, s);

	put(v, "gro", json_boolean(udp_gro(u, family)));
	put(v, "gso", json_boolean(udp_gso(u, family)));
	put(v, "rx_merged", num(s->rx_merged));
	put(v, "rx_segments", num(s->rx_segments));
	put(v, "tx_merged", num(s->tx_merged));
	put(v, "tx_segments", num(s->tx_segments));
	put(v, "tx_fallbacks", num(s->tx_fallbacks));
	return v;
}

json_t *view_bulk(const struct daemon *d)
{
	json_t *o = json_object();

	put(o, "aead", json_string(aead_backend()));
	put(o, "workers", workers_view(d));
	put(o, "tun", view_tun(d));
	put(o, "udp", view_udp(d));
	return o;
}
