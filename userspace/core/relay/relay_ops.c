/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client does with its allocation: Refresh (RFC 8656 §8.2), CreatePermission (§10.2),
 * ChannelBind (§12.2). Each decides everything before it changes anything. */
#include "core/relay/relay_req.h"
#include "core/relay/relay_state.h"

/* The client's allocation, or the error: 437, or 441 when another user made it. A portal's users
 * are exempt: one that starts anew behind the same socket, with a new key and so another name, has
 * to be able to delete what its former life left. */
static uint16_t own_alloc(const struct relay *r, const struct relay_req *q, uint32_t *i)
{
	*i = relay_alloc_of_client(&r->table, &q->in->client);
	if (*i == RELAY_NONE)
		return 437;
	if (relay_alloc_is_user(&r->table, *i, q->user, q->user_len) ||
	    (q->key.cred == RELAY_CRED_STAMP && r->table.allocs[*i].portal))
		return 0;
	return 441;
}

/* Success without attributes of its own. */
static uint16_t done(const struct relay *r, const struct relay_req *q, uint32_t alloc,
		     struct relay_tx *tx)
{
	struct stun_enc e;

	relay_msg_open(r, q, STUN_SUCCESS, &e, tx);
	relay_msg_close(q, &e, tx);
	tx->alloc = alloc;
	return 0;
}

uint16_t relay_do_refresh(struct relay *r, struct relay_req *q, struct relay_tx *tx, uint64_t now)
{
	struct relay_table *t = &r->table;
	uint32_t i, family, lifetime_s = relay_lifetime_s(q);
	uint16_t code = own_alloc(r, q, &i);
	struct stun_enc e;

	if (code)
		return code;
	if (stun_u32(&q->m, STUN_A_REQUESTED_ADDRESS_FAMILY, &family)) {
		uint8_t bit = family >> 24 == STUN_FAMILY_IPV4	 ? RELAY_F4
			      : family >> 24 == STUN_FAMILY_IPV6 ? RELAY_F6
								 : 0;

		/* Beyond this check it is ignored: both families live and die together. */
		if (!(t->allocs[i].families & bit))
			return 443;
	}
	if (lifetime_s) {
		relay_alloc_refresh(t, i, time_add(now, lifetime_s * NS_PER_SEC));
	} else {
		relay_alloc_del(t, i);
		r->acct.allocs_deleted++;
		i = RELAY_NONE;
	}
	relay_msg_open(r, q, STUN_SUCCESS, &e, tx);
	stun_put_u32(&e, STUN_A_LIFETIME, lifetime_s);
	relay_msg_close(q, &e, tx);
	tx->alloc = i;
	return 0;
}

uint16_t relay_do_permission(struct relay *r, struct relay_req *q, struct relay_tx *tx,
			     uint64_t now)
{
	struct relay_table *t = &r->table;
	unsigned n = stun_count(&q->m, STUN_A_XOR_PEER_ADDRESS);
	struct endpoint peers[STUN_ATTRS_MAX];
	uint32_t i, fresh = 0, limit = r->cfg.perms_per_alloc;
	uint16_t code;

	for (unsigned k = 0; k < n; k++)
		if (!stun_xor_addr_nth(&q->m, STUN_A_XOR_PEER_ADDRESS, k, &peers[k]))
			return 400;
	if (!n)
		return 400;
	code = own_alloc(r, q, &i);
	if (code)
		return code;
	for (unsigned k = 0; k < n; k++)
		if (!(t->allocs[i].families & relay_family_bit(&peers[k].ip)))
			return 443;
	for (unsigned k = 0; k < n; k++) {
		if (!relay_peer_ip_ok(r, &peers[k].ip))
			return 403;
		fresh += relay_perm_find(t, i, &peers[k].ip) == RELAY_NONE;
	}
	if (fresh > t->size.n_perms - t->n_perms ||
	    (fresh && limit && t->allocs[i].n_perms + fresh > limit)) {
		r->acct.perms_full++;
		return 508;
	}
	for (unsigned k = 0; k < n; k++)
		relay_perm_put(t, i, &peers[k].ip, now);
	return done(r, q, i, tx);
}

/* Is there room for another channel of this allocation? */
static bool bind_room(const struct relay *r, const struct relay_alloc *a)
{
	uint32_t limit = r->cfg.binds_per_alloc;

	return r->table.free_bind != RELAY_NONE && (!limit || a->n_binds < limit);
}

uint16_t relay_do_channel(struct relay *r, struct relay_req *q, struct relay_tx *tx, uint64_t now)
{
	struct relay_table *t = &r->table;
	uint32_t i, number, of_channel, of_peer;
	struct endpoint peer;
	uint16_t code;

	if (!stun_u32(&q->m, STUN_A_CHANNEL_NUMBER, &number) ||
	    !turn_is_channel((uint16_t)(number >> 16)) ||
	    !stun_xor_addr(&q->m, STUN_A_XOR_PEER_ADDRESS, &peer) || !peer.port)
		return 400;
	number >>= 16;
	code = own_alloc(r, q, &i);
	if (code)
		return code;
	if (!(t->allocs[i].families & relay_family_bit(&peer.ip)))
		return 443;
	if (!relay_peer_ok(r, &t->allocs[i].local, &peer))
		return 403;
	of_channel = relay_bind_of_channel(t, &q->in->client, (uint16_t)number);
	of_peer = relay_bind_of_peer(t, t->allocs[i].port, &peer);
	if (of_channel != of_peer)
		return 400;
	if (of_channel != RELAY_NONE) {
		relay_bind_refresh(t, of_channel, now);
		r->acct.binds_refreshed++;
	} else {
		if (!bind_room(r, &t->allocs[i])) {
			r->acct.binds_full++;
			return 508;
		}
		relay_bind_add(t, i, (uint16_t)number, &peer, now);
		r->acct.binds_made++;
	}
	/* §12.2: it permits the peer's address, too. The channel works without. */
	if ((r->cfg.perms_per_alloc && t->allocs[i].n_perms >= r->cfg.perms_per_alloc &&
	     relay_perm_find(t, i, &peer.ip) == RELAY_NONE) ||
	    !relay_perm_put(t, i, &peer.ip, now))
		r->acct.perms_full++;
	return done(r, q, i, tx);
}
