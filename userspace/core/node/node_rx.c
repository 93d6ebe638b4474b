/* SPDX-License-Identifier: Apache-2.0
 * Telling datagrams apart, and giving each to the connection it belongs to: STUN by ufrag or
 * transaction tag, handshakes by index or by the initiator's public key, never by source address
 * (NATs reuse ports). What a relay delivers goes through here twice: framed, then as what the peer
 * sent. */
#include "core/node/node_priv.h"

#include <string.h>

#include "wire/wg.h"

static enum node_rx stun_to(struct node *n, uint32_t slot, const struct ice_dgram *in, uint64_t now)
{
	struct node_conn *c = &n->mem.conns[slot];
	unsigned known = ice_n_remotes(&c->ice);

	if (ice_input(&c->ice, in, now) != ICE_RX_OK)
		return NODE_RX_STUN_REJECTED;
	if (ice_n_remotes(&c->ice))
		c->candidate_by_ns = TIME_NEVER;
	if (ice_n_remotes(&c->ice) > known)
		node_home_bind(n, slot, now); /* nobody signals a peer-reflexive address */
	node_conn_wake(n, slot);
	return NODE_RX_STUN;
}

static enum node_rx rx_stun(struct node *n, const struct ice_dgram *in, const struct ice_peek *peek,
			    bool relayed, uint64_t now)
{
	uint32_t slot;

	if (peek->response) {
		slot = peek->tag & 0xfffff;
		if (!node_conn(n, slot) || n->mem.conns[slot].ice.tag != peek->tag)
			return NODE_RX_STUN_REJECTED;
		return stun_to(n, slot, in, now);
	}
	slot = *node_bucket(n, NODE_BY_UFRAG, node_hash(n, peek->ufrag, strlen(peek->ufrag)));
	for (; slot != NODE_NONE; slot = n->mem.conns[slot].next[NODE_BY_UFRAG]) {
		struct node_conn *c = &n->mem.conns[slot];

		if (!node_conn_open(c) || strcmp(c->ice.local_creds.ufrag, peek->ufrag))
			continue;
		/* Our own address, from the kernel: a candidate even if no interface listing had
		 * it. */
		if (!relayed)
			node_learn_host(n, &in->local, now);
		if (stun_to(n, slot, in, now) == NODE_RX_STUN)
			return NODE_RX_STUN;
	}
	return NODE_RX_STUN_REJECTED;
}

static enum node_rx owe_reply(struct node *n, const struct ice_dgram *in, bool relayed,
			      const struct wg_tx *tx)
{
	struct node_reply *r;

	if (n->n_replies == NODE_REPLIES_MAX) {
		n->acct.replies_dropped++;
		return NODE_RX_UNDER_LOAD;
	}
	r = &n->replies[(n->reply_head + n->n_replies++) % NODE_REPLIES_MAX];
	*r = (struct node_reply){
		.local = in->local, .remote = in->remote, .relayed = relayed, .tx = *tx};
	return NODE_RX_UNDER_LOAD;
}

static enum node_rx rx_initiation(struct node *n, const struct ice_dgram *in, uint64_t now)
{
	enum node_rx verdict = NODE_RX_HANDSHAKE_REJECTED;
	struct noise_opened opened;
	uint32_t slot;

	if (wg_initiation_open(&n->wg, in->data, in->len, &opened) != WG_RX_OK)
		goto out;
	slot = *node_bucket(n, NODE_BY_KEY,
			    node_hash(n, opened.remote_static, sizeof(opened.remote_static)));
	for (; slot != NODE_NONE; slot = n->mem.conns[slot].next[NODE_BY_KEY]) {
		struct node_conn *c = &n->mem.conns[slot];

		if (!node_conn_open(c) ||
		    memcmp(c->remote_pub, opened.remote_static, sizeof(c->remote_pub)))
			continue;
		if (wg_peer_rx_initiation(&c->wg, &opened, now) == WG_RX_OK) {
			node_conn_wake(n, slot);
			verdict = NODE_RX_HANDSHAKE;
			break;
		}
	}
out:
	noise_opened_wipe(&opened);
	return verdict;
}

static enum node_rx rx_answer(struct node *n, const struct ice_dgram *in, enum wg_msg_type kind,
			      uint64_t now)
{
	uint32_t idx = wg_msg_receiver(kind, in->data);
	uint32_t slot = n->mem.conn_of_slot[idx & (n->mem.n_slots - 1)];
	struct node_conn *c;
	enum wg_rx rc;

	if (slot == NODE_NONE || !node_conn(n, slot))
		return NODE_RX_HANDSHAKE_REJECTED;
	c = &n->mem.conns[slot];
	rc = kind == WG_MSG_RESPONSE ? wg_peer_rx_response(&c->wg, &n->wg, in->data, in->len, now)
				     : wg_peer_rx_cookie(&c->wg, in->data, in->len, now);
	if (rc != WG_RX_OK)
		return NODE_RX_HANDSHAKE_REJECTED;
	node_conn_wake(n, slot);
	return NODE_RX_HANDSHAKE;
}

static enum node_rx rx_handshake(struct node *n, const struct ice_dgram *in, enum wg_msg_type kind,
				 bool relayed, uint64_t now)
{
	struct wg_tx reply = {0};

	switch (wg_local_admit(&n->wg, in->data, in->len, &in->remote.ip, &reply, now)) {
	case WG_RX_OK:
		break;
	case WG_RX_COOKIE:
		return owe_reply(n, in, relayed, &reply);
	case WG_RX_LIMITED:
		return NODE_RX_UNDER_LOAD;
	case WG_RX_NOT_HANDSHAKE:
	case WG_RX_BAD_MAC1:
	case WG_RX_BAD_AUTH:
	case WG_RX_REPLAY:
	case WG_RX_FLOOD:
	case WG_RX_UNEXPECTED:
	case WG_RX_WRONG_PEER:
	case WG_RX_BUSY:
		return NODE_RX_HANDSHAKE_REJECTED;
	}
	return kind == WG_MSG_INITIATION ? rx_initiation(n, in, now) : rx_answer(n, in, kind, now);
}

/* What a peer sent; relayed: in->local is a relayed address. */
static enum node_rx rx_peer(struct node *n, const struct ice_dgram *in, bool relayed, uint64_t now)
{
	enum wg_msg_type kind = wg_msg_classify(in->data, (uint32_t)in->len);
	struct ice_peek peek;

	switch (kind) {
	case WG_MSG_DATA:
		return NODE_RX_DATA;
	case WG_MSG_INITIATION:
	case WG_MSG_RESPONSE:
	case WG_MSG_COOKIE:
		return rx_handshake(n, in, kind, relayed, now);
	case WG_MSG_NONE:
		break;
	}
	if (!ice_peek(in->data, in->len, &peek))
		return NODE_RX_MALFORMED;
	return rx_stun(n, in, &peek, relayed, now);
}

enum node_rx node_input(struct node *n, const struct ice_dgram *in, struct node_rx_view *view,
			uint64_t now)
{
	struct ice_dgram inner = *in;
	bool relayed = false;
	enum node_rx verdict;

	switch (node_relay_input(n, in, &inner, now)) {
	case NODE_RELAY_RX_NOT:
		break;
	case NODE_RELAY_RX_INNER:
		relayed = true;
		break;
	case NODE_RELAY_RX_TAKEN:
		return NODE_RX_RELAY;
	case NODE_RELAY_RX_REJECTED:
		return NODE_RX_RELAY_REJECTED;
	case NODE_RELAY_RX_LATE:
		return NODE_RX_RELAY_LATE;
	}
	verdict = rx_peer(n, &inner, relayed, now);
	if (verdict == NODE_RX_DATA)
		*view = (struct node_rx_view){inner.local, inner.remote,
					      (size_t)(inner.data - in->data), inner.len, relayed};
	return verdict;
}
