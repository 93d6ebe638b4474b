/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's policy: which client may reach what, until when. Fed by the portal's messages,
 * asked about every packet that is not an established flow of the forwarding table. It owns no
 * connection and sends nothing.
 *
 * A client is known while it holds an authorisation ("grant") and a moment longer: when the last
 * one goes, its packets are refused under their reason for TGW_LINGER_NS before PEER_REMOVED asks
 * the shell to say goodbye. A lost connection does not end it: a roaming client finds its grants
 * again. The client's slot is at the same time its slot in ps_peer; it is not reused before its
 * PEER_REMOVED was polled.
 *
 * Invariants
 *  - a decision never depends on the order of packets: it is a function of grants, packet and
 * now_unix
 *  - expiry is checked in every decision, not only when the sweep runs
 *  - whatever could make an allowed flow forbidden raises PEER_CHANGED for every client concerned:
 * the shell then bumps the peer's generation before it handles the next packet
 *  - a resource's filters are one truth for all its grants: the portal's latest word, whichever
 * message brought it; grants to another network under the same resource id stay separate until they
 * are renewed
 *
 * Source: spec tunnel §2.1–2.5, §2.10. DNS resources are accepted and listed but permit no packet
 * yet. */
#ifndef PENSTOCK_CORE_TUNNEL_GATEWAY_H
#define PENSTOCK_CORE_TUNNEL_GATEWAY_H
#include "base/idx.h"
#include "core/tunnel/tunnel.h"

#define TGW_TICK_NS   (1 * NS_PER_SEC) /* expiry sweep while anything can expire */
#define TGW_LINGER_NS (3 * NS_PER_SEC) /* from the last grant's end to PEER_REMOVED */
#define TGW_TOMBSTONE_NS \
	(30 * NS_PER_SEC) /* how long an ended grant is remembered to name the drop */

enum tgw_grant_state {
	TGW_GRANT_FREE,
	TGW_GRANT_LIVE,
	TGW_GRANT_EXPIRED, /* tombstones: they permit nothing */
	TGW_GRANT_REVOKED,
};

enum tgw_client_state {
	TGW_CLIENT_FREE,
	TGW_CLIENT_ACTIVE,    /* holds a live grant */
	TGW_CLIENT_LINGERING, /* holds none any more */
	TGW_CLIENT_LEAVING,   /* removed; waits for its event to be polled */
};

enum tgw_why { TGW_WHY_REJECTED, TGW_WHY_EXPIRED, TGW_WHY_RETAIN };

struct tgw_grant {
	uint64_t expires_at; /* unix seconds */
	uint64_t ended_ns;   /* tombstones: when it ended */
	uint32_t client;
	uint32_t resource;
	uint32_t next; /* of the client, or of the free list */
	uint8_t state; /* enum tgw_grant_state */
	bool kept;     /* scratch of tgw_retain */
	uint8_t pad[2];
};

struct tgw_client {
	struct uuid id;
	struct ipaddr tun4, tun6;
	uint64_t lingers_until_ns;
	uint32_t grants; /* list head */
	uint32_t live_count;
	uint32_t next;	/* free list, or list of clients with events */
	uint8_t state;	/* enum tgw_client_state */
	uint8_t why;	/* enum tgw_why of the last grant's end */
	uint8_t events; /* bits by enum tgw_event_kind */
	bool queued;
};

struct tgw_resource {
	struct tunnel_resource r;
	uint32_t grants; /* live ones and tombstones; 0: free */
	uint32_t next_free;
};

/* Memory: arrays of the shell, cleared by tgw_init. */
struct tgw_mem {
	struct tgw_client *clients;
	struct tgw_resource *resources;
	struct tgw_grant *grants;
	struct idx_cell *cells; /* idx_cap_for(3 * client_cap + resource_cap) of them */
	uint32_t client_cap, resource_cap, grant_cap, cell_cap;
};

struct tgw_counters {
	uint64_t client_table_full, resource_table_full,
		grant_table_full; /* refused authorisations */
};

struct tgw {
	struct tgw_mem mem;
	struct idx idx;
	uint64_t seed;
	struct ipaddr own4, own6;
	uint64_t swept_ns; /* last expiry sweep */
	uint32_t free_client, free_grant, free_resource;
	uint32_t event_head, event_tail;
	uint32_t client_count, grant_count, resource_count;
	bool timed; /* something can expire: finite grants, tombstones, lingering clients */
	struct tgw_counters counters;
};

enum tgw_event_kind {
	TGW_EVENT_NONE,
	TGW_EVENT_PEER_ADDED,
	TGW_EVENT_PEER_CHANGED, /* bump its generation, read its addresses again */
	TGW_EVENT_PEER_REMOVED
};

struct tgw_event {
	enum tgw_event_kind kind;
	uint32_t slot;
	struct uuid client;
	enum tgw_why why; /* PEER_REMOVED: say goodbye, close the connection, free the peer */
};

struct tgw_authorization {
	struct uuid client;
	struct ipaddr tun4, tun6;
	const struct tunnel_resource *resource;
	uint64_t expires_at; /* unix seconds, TUNNEL_NEVER_EXPIRES */
};

/* One line of the portal's list of what stays valid. */
struct tgw_retained {
	struct uuid client, resource;
	bool has_expiry; /* false: keep the expiry we know */
	uint64_t expires_at;
};

/* seed salts the index hash. */
void tgw_init(struct tgw *g, const struct tgw_mem *mem, uint64_t seed);
/* Own tunnel addresses; cached flows of all clients are invalidated when they change. */
void tgw_set_interface(struct tgw *g, const struct ipaddr *v4, const struct ipaddr *v6);

/* Grant or renew: filters, network and expiry are replaced by what is given. 0 and *slot; -EINVAL:
 * addresses or resource are not usable; -EADDRINUSE: another client with live grants has the
 * address; -ENOSPC: a table is full (counted). On error nothing changed. An expiry in the past is
 * accepted and grants nothing. */
int tgw_authorize(struct tgw *g, const struct tgw_authorization *a, uint32_t *slot, uint64_t now);
/* Revoke one resource from one client; unknown ids are ignored. */
void tgw_reject(struct tgw *g, const struct uuid *client, const struct uuid *resource,
		uint64_t now);
/* New filters (and name) of a resource for everyone who holds it; address and type are not applied.
 * -ENOENT: nobody holds it; -EINVAL: its type differs. */
int tgw_resource_updated(struct tgw *g, const struct tunnel_resource *r);
/* -ENOENT: no such live grant. */
int tgw_expiry_update(struct tgw *g, const struct uuid *client, const struct uuid *resource,
		      uint64_t expires_at);
/* The portal's `init`: every live grant of every client that is not listed is revoked; listed ones
 * take the listed expiry. */
void tgw_retain(struct tgw *g, const struct tgw_retained *list, uint32_t count, uint64_t now);

/* Judge a decapsulated packet of peer `slot`.
 * PS_R_URX_DELIVERED: write it to the TUN device; else a URX_ drop reason. out is always set. */
enum ps_reason_id tgw_check_in(const struct tgw *g, uint32_t slot, const struct ip_meta *m,
			       uint64_t now_unix, struct tunnel_flow_grant *out);
/* Judge a packet read from the TUN device (pkt is what m was parsed from). PS_R_UTX_SENT: encrypt
 * it to out->slot; else a UTX_ drop reason (out->slot then is the addressed client or
 * TUNNEL_NO_SLOT). */
enum ps_reason_id tgw_check_out(const struct tgw *g, const uint8_t *pkt, const struct ip_meta *m,
				uint64_t now_unix, struct tunnel_flow_grant *out);

/* Lookups: TUNNEL_NO_SLOT when there is none (lingering clients are found, leaving ones are not).
 */
uint32_t tgw_find_client(const struct tgw *g, const struct uuid *id);
uint32_t tgw_find_address(const struct tgw *g, const struct ipaddr *tun);

/* Expiry sweep and the end of lingering. */
struct deadline tgw_deadline(const struct tgw *g);
void tgw_timeout(struct tgw *g, uint64_t now_unix, uint64_t now);
/* Next event; false when there is none. The queue cannot overflow: events of one client collapse.
 */
bool tgw_poll_event(struct tgw *g, struct tgw_event *out);

/* Reading for the operator's view. Walk: slot = tgw_client_next(g, TUNNEL_NO_SLOT) … until
 * TUNNEL_NO_SLOT; grants likewise: i = tgw_grant_next(g, slot, TUNNEL_NO_SLOT). */
const struct tgw_client *tgw_client_at(const struct tgw *g, uint32_t slot);
uint32_t tgw_client_next(const struct tgw *g, uint32_t slot);
const struct tgw_grant *tgw_grant_at(const struct tgw *g, uint32_t i);
uint32_t tgw_grant_next(const struct tgw *g, uint32_t slot, uint32_t i); /* live ones only */
const struct tunnel_resource *tgw_resource_at(const struct tgw *g, uint32_t resource);
#endif
