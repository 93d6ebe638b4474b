/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway policy's tables: clients, resources, grants and domains (tgw_domain.c) in the shell's
 * arrays, their free lists, the common index, the queue of clients that have events. Private to
 * core/tunnel/{gateway,tgw_*}.c; no policy here. */
#ifndef PENSTOCK_CORE_TUNNEL_TGW_TABLE_H
#define PENSTOCK_CORE_TUNNEL_TGW_TABLE_H
#include "core/tunnel/gateway.h"

#define TGW_NONE TUNNEL_NO_SLOT

/* Like tgw_find_client, and finds clients that wait for their PEER_REMOVED to be polled. */
uint32_t tgw_find_any_client(const struct tgw *g, const struct uuid *id);
uint32_t tgw_find_resource(
	const struct tgw *g,
	const struct tunnel_resource *r); /* same id, type, network and pattern */

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

/* A domain of the client without proxy addresses, or TGW_NONE: no room (counted). The name is put
 * in the index; one that gives way raises PEER_CHANGED. */
uint32_t tgw_domain_alloc(struct tgw *g, uint32_t client, uint32_t resource, const char *name,
			  uint64_t now);
/* It goes with its mappings as far as no other domain shares them; PEER_CHANGED. */
void tgw_domain_free(struct tgw *g, uint32_t i, uint64_t now);
/* All domains of the client; of one resource only, or TGW_NONE: of all. */
void tgw_domains_drop(struct tgw *g, uint32_t client, uint32_t resource, uint64_t now);
/* These proxy addresses (ascending, none twice) from now on: what it had besides goes, and other
 * names of the client lose them. PEER_CHANGED if anything was taken. */
void tgw_domain_set_proxies(struct tgw *g, uint32_t i, const struct ipaddr *list, uint8_t count,
			    uint64_t now);
/* It was set up anew: the last of its client to give way. */
void tgw_domain_touch(struct tgw *g, uint32_t i);
/* The client's domain of that name in that resource; TGW_NONE. */
uint32_t tgw_domain_find(const struct tgw *g, uint32_t client, uint32_t resource, const char *name);
/* Domains of the client that list the proxy address: start with *pos = 0; TGW_NONE at the end. */
uint32_t tgw_proxy_next(const struct tgw *g, uint32_t client, const struct ipaddr *proxy,
			uint32_t *pos);
/* Queue a RESOLVE with a new ticket. */
void tgw_domain_ask(struct tgw *g, uint32_t i);
/* The next domain to resolve, off the queue; TGW_NONE. */
uint32_t tgw_asked_pop(struct tgw *g);
/* Index of the table's free list at the start, and index keys: see tgw_table.c. */
void tgw_domains_init(struct tgw *g);

void tgw_event_queue(struct tgw *g, uint32_t slot, enum tgw_event_kind kind);
#endif
