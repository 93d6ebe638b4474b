/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway policy's tables: clients, resources and grants in the shell's arrays, their free
 * lists, the common index, the queue of clients that have events. Private to
 * core/tunnel/{gateway,tgw_*}.c; no policy here. */
#ifndef PENSTOCK_CORE_TUNNEL_TGW_TABLE_H
#define PENSTOCK_CORE_TUNNEL_TGW_TABLE_H
#include "core/tunnel/gateway.h"

#define TGW_NONE TUNNEL_NO_SLOT

/* Like tgw_find_client, and finds clients that wait for their PEER_REMOVED to be polled. */
uint32_t tgw_find_any_client(const struct tgw *g, const struct uuid *id);
uint32_t tgw_find_resource(const struct tgw *g,
			   const struct tunnel_resource *r); /* same id, type and network */

/* A free slot, or TGW_NONE. Inserting it in the index is part of it; it cannot fail when the cells
 * were sized as gateway.h says. */
uint32_t tgw_client_alloc(struct tgw *g, const struct uuid *id, const struct ipaddr *tun4,
			  const struct ipaddr *tun6);
uint32_t tgw_resource_alloc(struct tgw *g, const struct tunnel_resource *r);
/* Address change of a client in place. */
void tgw_client_readdress(struct tgw *g, uint32_t slot, const struct ipaddr *tun4,
			  const struct ipaddr *tun6);
/* Its grants and its slot are free again. */
void tgw_client_free(struct tgw *g, uint32_t slot);

/* A free grant linked to both, not live yet: TGW_GRANT_REVOKED. When the table is full the client's
 * or another's oldest tombstone gives way; TGW_NONE when there is none. */
uint32_t tgw_grant_alloc(struct tgw *g, uint32_t client, uint32_t resource);
/* Unlink and free; the resource goes with its last grant. */
void tgw_grant_free(struct tgw *g, uint32_t i);
/* The client's grant of exactly that resource slot, any state; TGW_NONE. */
uint32_t tgw_grant_find(const struct tgw *g, uint32_t client, uint32_t resource);

void tgw_event_queue(struct tgw *g, uint32_t slot, enum tgw_event_kind kind);
#endif
