/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing and reading the tables of a relay. Nobody outside core/relay includes this. Lookups say
 * what is indexed; `live` ones also look at the clock. */
#ifndef PENSTOCK_CORE_RELAY_STATE_H
#define PENSTOCK_CORE_RELAY_STATE_H
#include "core/relay/relay.h"

/* ---- relay_table.c ---- */
/* Lay the arrays out in mem (NULL: only count) for t->size; returns the bytes. */
size_t relay_table_layout(struct relay_table *t, void *mem);
/* After the layout: empty, with these ports. */
void relay_table_init(struct relay_table *t, const struct relay_cfg *cfg, const uint8_t seed[32]);
void relay_event_push(struct relay_table *t, enum relay_event_kind kind, uint32_t slot);
/* Takes the oldest off the ring and frees the slot it was the last to need. */
bool relay_event_pop(struct relay_table *t, struct relay_event *out);
/* Let everything happen that is due. */
void relay_table_expire(struct relay_table *t, struct relay_acct *acct, uint64_t now);
/* What an id of the heap stands for. */
enum relay_due_kind { RELAY_DUE_ALLOC, RELAY_DUE_BIND, RELAY_DUE_PERM, RELAY_DUE_RESV };
enum relay_due_kind relay_due_kind(const struct relay_table *t, uint32_t id, uint32_t *slot);
uint32_t relay_due_id(const struct relay_table *t, enum relay_due_kind kind, uint32_t slot);

/* ---- relay_alloc.c: allocations and who holds them ---- */
struct relay_alloc_new {
	const struct endpoint *client, *local;
	uint16_t port;
	uint8_t families;
	const char *user;
	size_t user_len;
	struct stun_tid tid;
	uint32_t lifetime_s;
	bool reserve; /* the next port, which must be free */
	bool portal;
};
/* Index, or RELAY_NONE: no slot, or no room to reserve. The port must be free or reserved. */
uint32_t relay_alloc_add(struct relay_table *t, const struct relay_alloc_new *n, uint64_t now);
void relay_alloc_del(struct relay_table *t, uint32_t i);
void relay_alloc_refresh(struct relay_table *t, uint32_t i, uint64_t expires_ns);
uint32_t relay_alloc_of_client(const struct relay_table *t, const struct endpoint *client);
/* The allocation at a port, RELAY_NONE for none or a reservation. */
uint32_t relay_alloc_of_port(const struct relay_table *t, uint16_t port);
bool relay_alloc_is_live(const struct relay_table *t, uint32_t i, uint64_t now);
bool relay_alloc_is_user(const struct relay_table *t, uint32_t i, const void *user, size_t len);
/* Whose allocations are counted together; NULL: it has none. */
const struct relay_holder *relay_user_find(const struct relay_table *t, const void *user,
					   size_t len);
const struct relay_holder *relay_source_find(const struct relay_table *t, const struct ipaddr *ip);
/* The port reserved under a token, 0: none. The reservation is used up by relay_alloc_add. */
uint16_t relay_resv_find(const struct relay_table *t, const uint8_t token[RELAY_TOKEN_LEN]);
bool relay_resv_room(const struct relay_table *t);
void relay_resv_del(struct relay_table *t, uint32_t i);

/* ---- relay_bind.c: channels and permissions ---- */
uint32_t relay_bind_of_channel(const struct relay_table *t, const struct endpoint *client,
			       uint16_t channel);
uint32_t relay_bind_of_peer(const struct relay_table *t, uint16_t port,
			    const struct endpoint *peer);
bool relay_bind_is_live(const struct relay_table *t, uint32_t i, uint64_t now);
/* Index, or RELAY_NONE when the table is full. */
uint32_t relay_bind_add(struct relay_table *t, uint32_t alloc, uint16_t channel,
			const struct endpoint *peer, uint64_t now);
void relay_bind_refresh(struct relay_table *t, uint32_t i, uint64_t now);
/* No longer bound; number and peer stay reserved. */
void relay_bind_hold(struct relay_table *t, uint32_t i);
/* With its allocation, or after the hold. Leaves the DEL event if it was bound; the slot is free
 * once no event speaks of it. */
void relay_bind_del(struct relay_table *t, uint32_t i);
void relay_bind_event_popped(struct relay_table *t, uint32_t i);
uint32_t relay_perm_find(const struct relay_table *t, uint32_t alloc, const struct ipaddr *ip);
bool relay_perm_is_live(const struct relay_table *t, uint32_t alloc, const struct ipaddr *ip,
			uint64_t now);
/* Install or refresh. false: the table is full. */
bool relay_perm_put(struct relay_table *t, uint32_t alloc, const struct ipaddr *ip, uint64_t now);
void relay_perm_del(struct relay_table *t, uint32_t i);
/* Of an address, a port and a number. */
uint32_t relay_hash(const struct relay_table *t, const struct ipaddr *ip, uint16_t port,
		    uint32_t extra);
#endif
