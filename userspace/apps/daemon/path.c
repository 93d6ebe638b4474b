/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a peer's packets go and come from, as both executors see it: the node's paths become the
 * path fields of ps_peer, the relays' channels entries of ps_channel. A path is written whole,
 * under the peer's seq, so a packet takes the old one or the new one and never a mixture. */
#include <string.h>

#include "apps/daemon/daemon.h"

/* The datagrams on the wire: between us and the peer, or us and the relay. */
struct wire {
	struct endpoint local, remote;
	uint16_t channel;
};

/* Which interface the kernel sends by, 0: none of those it serves. A source that nobody has told
 * yet is the one the route says, as it is for user space's datagrams. */
static uint32_t choose_ifindex(struct daemon *d, const struct nl_hop *hop, struct wire *w)
{
	if (!d->bpf || !hop->ifindex)
		return 0;
	if (ipaddr_is_unspecified(&w->local.ip))
		w->local.ip = hop->src;
	if (w->local.ip.family != w->remote.ip.family || ipaddr_is_unspecified(&w->local.ip))
		return 0;
	for (size_t i = 0; i < d->wan_len; i++)
		if (d->wan_ifindex[i] == hop->ifindex)
			return (uint32_t)hop->ifindex;
	return 0;
}

/* Do packets to the peer go this way already? */
static bool is_same(const struct ps_peer *p, const struct wire *w)
{
	return p && p->path_family == w->remote.ip.family &&
	       p->path_channel == ps_be16(w->channel) &&
	       p->path_remote_port == ps_be16(w->remote.port) &&
	       p->path_local_port == ps_be16(w->local.port) &&
	       !memcmp(p->path_remote, w->remote.ip.b, sizeof(p->path_remote)) &&
	       !memcmp(p->path_local, w->local.ip.b, sizeof(p->path_local));
}

void path_set(struct daemon *d, uint32_t slot, const struct node_path *path, uint64_t now)
{
	struct wire w = {.local = path->ice.local, .remote = path->ice.remote};
	struct mtu_way way;
	struct nl_hop hop;
	uint32_t ifindex;

	if (path->relayed && !path->channel) {
		path_clear(d, slot, now);
		return;
	}
	if (path->relayed)
		w = (struct wire){path->relay_local, path->relay, path->channel};
	if (!w.local.port)
		w.local.port = udp_port(d->udp, w.remote.ip.family);
	if (nl_link_route_to(d->nl, &w.remote.ip, NL_FWMARK, &hop, NULL))
		hop.ifindex = 0;
	ifindex = choose_ifindex(d, &hop, &w);
	w.local.ip.family = w.remote.ip.family;
	way = (struct mtu_way){.ifindex = hop.ifindex,
			       .family = w.remote.ip.family,
			       .relayed = path->relayed || path->peer_relayed,
			       .changed = !is_same(fwd_peer(&d->fwd, slot), &w)};
	fwd_peer_set_path(&d->fwd, slot, &w.local, &w.remote, w.channel, ifindex);
	mtu_path(d, slot, &way, now);
}

void path_clear(struct daemon *d, uint32_t slot, uint64_t now)
{
	fwd_peer_set_path(&d->fwd, slot, NULL, NULL, 0, 0);
	mtu_no_path(d, slot, now);
}

void path_refresh(struct daemon *d, uint64_t now)
{
	for (uint32_t slot = 0; slot < d->max_peers; slot++) {
		struct node_path path;

		if (node_conn(&d->node, slot) && node_conn_path(&d->node, slot, &path, now))
			path_set(d, slot, &path, now);
	}
}

void path_channel(struct daemon *d, const struct node_channel *c, bool up)
{
	uint16_t port = c->relay_local.port ? c->relay_local.port
					    : udp_port(d->udp, c->relay.ip.family);
	struct ps_channel_key key = {
		.family = c->relay.ip.family,
		.number = ps_be16(c->number),
		.relay_port = ps_be16(c->relay.port),
		.local_port = ps_be16(port),
	};

	memcpy(key.relay, c->relay.ip.b, sizeof(key.relay));
	workers_channel(d, &key, up);
	if (!d->bpf)
		return;
	if (!up)
		bpf_channel_del(d->bpf, &key);
	else if (bpf_channel_set(d->bpf, &key, &c->peer))
		data_count(d, PS_R_CTL_TABLE_FULL, 0);
}
