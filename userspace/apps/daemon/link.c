/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the node and the world: sessions into the forwarding table and the kernel, datagrams to
 * sockets, candidates towards the portal. Paths and channels: path.c. */
#include <string.h>

#include "apps/daemon/daemon.h"
#include "crypto/crypto.h"

static const struct ipnet tunnel_ranges[] = {
	{.ip = {.family = 4, .b = {100, 64}}, .len = 10},
	{.ip = {.family = 6, .b = {0xfd, 0, 0x20, 0x21, 0x11, 0x11}}, .len = 48},
};

/* ---- sessions ---- */

static void session_install(struct daemon *d, uint32_t slot, struct wg_event *ev, uint64_t now)
{
	const struct wg_times *t = &d->node.cfg.wg_times;
	struct fwd_keys keys;
	struct fwd_session_new s = {
		.local_idx = ev->local_idx,
		.remote_idx = ev->remote_idx,
		.peer = slot,
		.initiator = ev->initiator,
		.rx_until_ns = time_add(ev->birth_ns, t->reject_after_ns),
		.tx_until_ns = time_add(ev->birth_ns,
					ev->initiator ? t->initiator_stop_ns : t->reject_after_ns),
		.keys = &keys,
	};

	memcpy(keys.recv, ev->keys.recv, sizeof(keys.recv));
	memcpy(keys.send, ev->keys.send, sizeof(keys.send));
	fwd_session_install(&d->fwd, &s, now);
	/* After the session's counters were set: a kernel that finds the keys must not take a nonce
	 * from the slot's former life. */
	if (d->bpf && d->opt.mode != OPT_MODE_USER &&
	    bpf_key_set(d->bpf, fwd_slot(&d->fwd, ev->local_idx), keys.recv, keys.send)) {
		/* What the slot holds now is unknown: the kernel may not use it. */
		fwd_peer_set_kernel(&d->fwd, slot, false);
		LOG_WARN("kernel", "session keys not installed; user space serves the peer");
	}
	/* The responder's answer has proved the session; the initiator's first packet has yet to.
	 */
	if (ev->initiator)
		fwd_session_confirm(&d->fwd, ev->local_idx);
	crypto_wipe(&keys, sizeof(keys));
}

static void session_free(struct daemon *d, uint32_t idx)
{
	const struct ps_session *s = fwd_session(&d->fwd, idx);

	if (s)
		fwd_session_sum(&d->retired, s);
	if (d->bpf && s)
		bpf_key_wipe(d->bpf, fwd_slot(&d->fwd, idx));
	fwd_index_free(&d->fwd, idx);
}

static void on_wg(struct daemon *d, struct node_event *ev, uint64_t now)
{
	struct wg_event *w = &ev->wg;

	switch (w->type) {
	case WG_EV_SESSION:
		session_install(d, ev->conn, w, now);
		break;
	case WG_EV_SESSION_CURRENT:
		fwd_peer_set_tx(&d->fwd, ev->conn, w->local_idx);
		break;
	case WG_EV_SESSION_IDLE:
		fwd_peer_set_tx(&d->fwd, ev->conn, 0);
		break;
	case WG_EV_SESSION_DEAD:
	case WG_EV_INDEX_RELEASED:
		session_free(d, w->local_idx);
		break;
	case WG_EV_KEEPALIVE:
		if (data_send(d, ev->conn, NULL, 0, 0, now) == PS_R_UTX_SENT)
			node_on_data(&d->node, ev->conn, w->local_idx, false, true, now, now);
		break;
	case WG_EV_HANDSHAKE_DONE:
		LOG_DEBUG("wireguard", "completed handshake", LOG_UUID("cid", &ev->cid),
			  LOG_NS("rtt", w->rtt_ns), LOG_BOOL("first", w->first));
		break;
	case WG_EV_EXPIRED:
	case WG_EV_NONE:
		break;
	}
}

/* ---- events ---- */

/* A new address is news to every peer at once; the table of what waits is smaller than that. */
static void flush_if_many(struct daemon *d, uint64_t now)
{
	if (d->held.count >= CAND_HOLD_MAX / 2)
		portal_flush(d, now);
}

static void log_path(const struct node_event *ev, uint64_t since_start_ns)
{
	const struct node_path *p = &ev->path;
	const char *kind = cand_kind_name(p->ice.remote_kind);

	if (p->relayed)
		LOG_INFO("ice", p->channel ? "new path" : "new path, its relay's channel pending",
			 LOG_UUID("cid", &ev->cid), LOG_ENDPOINT("local", &p->ice.local),
			 LOG_ENDPOINT("remote", &p->ice.remote), LOG_STR("kind", kind),
			 LOG_ENDPOINT("relay", &p->relay), LOG_U64("channel", p->channel),
			 LOG_NS("since_start", since_start_ns));
	else
		LOG_INFO("ice", "new path", LOG_UUID("cid", &ev->cid),
			 LOG_ENDPOINT("local", &p->ice.local),
			 LOG_ENDPOINT("remote", &p->ice.remote), LOG_STR("kind", kind),
			 LOG_NS("since_start", since_start_ns));
}

static void on_event(struct daemon *d, struct node_event *ev, uint64_t now)
{
	const struct node_conn *c = node_conn(&d->node, ev->conn);

	switch (ev->kind) {
	case NODE_EV_CANDIDATE:
		LOG_DEBUG("ice", "signalling candidate", LOG_UUID("cid", &ev->cid),
			  LOG_STR("candidate", ev->text));
		cand_hold_add(&d->held, &ev->cid, ev->text);
		flush_if_many(d, now);
		break;
	case NODE_EV_CANDIDATE_GONE:
		LOG_DEBUG("ice", "invalidating candidate", LOG_UUID("cid", &ev->cid),
			  LOG_STR("candidate", ev->text));
		cand_hold_remove(&d->held, &ev->cid, ev->text);
		flush_if_many(d, now);
		break;
	case NODE_EV_PATH:
		log_path(ev, c ? time_since(c->created_ns, now) : 0);
		path_set(d, ev->conn, &ev->path, now);
		break;
	case NODE_EV_WANT_INDEX: {
		uint32_t idx = fwd_index_alloc(&d->fwd);

		if (!idx)
			data_count(d, PS_R_CTL_TABLE_FULL, 0);
		node_give_index(&d->node, ev->conn, idx);
		break;
	}
	case NODE_EV_WG:
		on_wg(d, ev, now);
		break;
	case NODE_EV_ESTABLISHED:
		LOG_INFO("tunnel", "connection established", LOG_UUID("cid", &ev->cid),
			 LOG_NS("duration", c ? time_since(c->created_ns, now) : 0));
		d->role->established(d, ev->conn, now);
		mtu_established(d, ev->conn, now);
		break;
	case NODE_EV_FAILED:
		LOG_INFO("tunnel", "connection failed", LOG_UUID("cid", &ev->cid),
			 LOG_STR("why", ev->why));
		node_close(&d->node, ev->conn, now);
		d->role->gone(d, ev->conn, now);
		break;
	case NODE_EV_CLOSED:
		path_clear(d, ev->conn, now);
		cand_hold_drop_peer(&d->held, &ev->cid);
		break;
	case NODE_EV_CHANNEL_UP:
	case NODE_EV_CHANNEL_DOWN:
		path_channel(d, &ev->channel, ev->kind == NODE_EV_CHANNEL_UP);
		break;
	case NODE_EV_RELAY_GONE:
		LOG_WARN("relay", "relay given up", LOG_UUID("rid", &ev->cid),
			 LOG_STR("why", ev->why));
		break;
	case NODE_EV_NO_RELAYS:
		portal_ask_relays(d, now);
		break;
	}
	crypto_wipe(&ev->wg.keys, sizeof(ev->wg.keys));
}

void link_drain(struct daemon *d, uint64_t now)
{
	struct node_event ev;
	struct node_tx tx;

	while (node_poll_event(&d->node, &ev, now))
		on_event(d, &ev, now);
	while (node_poll_tx(&d->node, &tx, now)) {
		while (node_poll_event(&d->node, &ev, now))
			on_event(d, &ev, now);
		udp_send(d->udp, &tx.local.ip, &tx.remote, 0, tx.buf, tx.len);
	}
}

void link_close(struct daemon *d, uint32_t slot, uint64_t now)
{
	node_close(&d->node, slot, now);
	link_drain(d, now);
}

/* ---- peers ---- */

void link_peer_added(struct daemon *d, uint32_t slot, const struct ipaddr *v4,
		     const struct ipaddr *v6)
{
	/* -EEXIST: the same peer got other addresses */
	if (fwd_peer_use(&d->fwd, slot) == -EINVAL)
		return;
	fwd_peer_set_tunnel(&d->fwd, slot, v4, v6, d->role->gateway);
	fwd_peer_set_kernel(&d->fwd, slot, d->bpf && d->opt.mode != OPT_MODE_USER);
}

void link_peer_changed(struct daemon *d, uint32_t slot)
{
	fwd_peer_revoke(&d->fwd, slot);
}

void link_peer_removed(struct daemon *d, uint32_t slot, uint64_t now)
{
	fwd_peer_revoke(&d->fwd, slot);
	if (node_conn(&d->node, slot))
		data_goodbye(d, slot, now);
	link_close(d, slot, now);
	fwd_peer_free(&d->fwd, slot);
}

bool link_connect(struct daemon *d, uint32_t slot, const struct node_peer *p, uint64_t now)
{
	enum node_upsert rc = node_upsert(&d->node, slot, p, now);

	if (rc == NODE_UPSERT_BUSY) {
		LOG_INFO("tunnel", "replacing connection", LOG_UUID("cid", &p->cid));
		link_close(d, slot, now);
		rc = node_upsert(&d->node, slot, p, now);
	}
	if (rc != NODE_UPSERT_CREATED && rc != NODE_UPSERT_REUSED) {
		LOG_WARN("tunnel", "connection refused: keys or credentials are unusable",
			 LOG_UUID("cid", &p->cid));
		return false;
	}
	LOG_INFO("tunnel",
		 rc == NODE_UPSERT_CREATED ? "created new connection" : "reusing connection",
		 LOG_UUID("cid", &p->cid));
	link_drain(d, now);
	return true;
}

/* ---- host candidates ---- */

/* Has the first set an address that the second lacks? */
static bool hosts_lost(const struct endpoint *from, uint32_t n_from, const struct endpoint *to,
		       uint32_t n_to)
{
	for (uint32_t i = 0; i < n_from; i++) {
		uint32_t k = 0;

		while (k < n_to && !ipaddr_eq(&to[k].ip, &from[i].ip))
			k++;
		if (k == n_to)
			return true;
	}
	return false;
}

bool link_refresh_hosts(struct daemon *d, uint64_t now)
{
	const struct nl_addr_filter filter = {
		.skip_ifindex = tun_ifindex(d->tun),
		.loopback = d->opt.loopback,
		.exclude = tunnel_ranges,
		.exclude_len = sizeof(tunnel_ranges) / sizeof(*tunnel_ranges),
	};
	struct nl_addr addrs[NODE_HOSTS_MAX];
	struct endpoint hosts[NODE_HOSTS_MAX];
	struct io_err err = {""};
	uint32_t n = 0;
	bool moved;
	size_t len;

	if (nl_addr_list(d->nl, &filter, addrs, NODE_HOSTS_MAX, &len, &err)) {
		LOG_WARN("ice", "cannot list host addresses", LOG_STR("error", err.msg));
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		uint16_t port = udp_port(d->udp, addrs[i].ip.family);

		if (port && !addrs[i].temporary)
			hosts[n++] = (struct endpoint){.ip = addrs[i].ip, .port = port};
	}
	moved = hosts_lost(d->node.hosts, d->node.n_hosts, hosts, n) ||
		(d->portal == PORTAL_BACKOFF &&
		 hosts_lost(hosts, n, d->node.hosts, d->node.n_hosts));
	node_set_hosts(&d->node, hosts, n, now);
	link_drain(d, now);
	return moved;
}
