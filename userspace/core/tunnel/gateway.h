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
 * DNS resources: a client says which proxy addresses it has given to a name (tgw_assigned_ips); the
 * shell is asked to resolve it and answers with addresses or none (tgw_resolved). From then on
 * packets to the proxy addresses are translated (core/tunnel/nat.h). A name is held once for every
 * resource it was set up for; overlapping resources share its proxy addresses, and what any of them
 * permits passes. Names, mappings and sessions go with the grant.
 *
 * Invariants
 *  - whether a packet passes never depends on the order of packets: it is a function of grants,
 * names, packet and now_unix; where a translated one goes depends on its session as well
 *  - a proxy address of a client stands for one name at a time, the one it was last said to
 *  - expiry is checked in every decision, not only when the sweep runs
 *  - whatever could make an allowed flow forbidden raises PEER_CHANGED for every client concerned:
 * the shell then bumps the peer's generation before it handles the next packet
 *  - a resource's filters are one truth for all its grants: the portal's latest word, whichever
 * message brought it; grants to another network under the same resource id stay separate until they
 * are renewed
 *
 * Source: spec tunnel §2.1–2.7, §2.10. */
#ifndef PENSTOCK_CORE_TUNNEL_GATEWAY_H
#define PENSTOCK_CORE_TUNNEL_GATEWAY_H
#include "base/idx.h"
#include "codec/p2p_json.h"
#include "core/tunnel/nat.h"
#include "core/tunnel/tunnel.h"

#define TGW_TICK_NS   (1 * NS_PER_SEC) /* expiry sweep while anything can expire */
#define TGW_LINGER_NS (3 * NS_PER_SEC) /* from the last grant's end to PEER_REMOVED */
#define TGW_TOMBSTONE_NS \
	(30 * NS_PER_SEC) /* how long an ended grant is remembered to name the drop */

#define TGW_REALS_MAX 8 /* addresses of one family kept of a name; four are ever used */

/* Index entries a domain takes at most: its name and its proxy addresses. */
#define TGW_DOMAIN_CELLS (1 + P2P_PROXIES_MAX)

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
	uint32_t domains, domains_last; /* list, the last one set up first */
	uint32_t domain_count;
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

enum tgw_domain_state {
	TGW_DOMAIN_FREE,
	TGW_DOMAIN_ASKED, /* its RESOLVE was not polled yet */
	TGW_DOMAIN_RESOLVING,
	TGW_DOMAIN_READY, /* resolved at least once and nothing under way */
};

/* A name a client has set up for one DNS resource it holds. */
struct tgw_domain {
	uint64_t asked_ns; /* by the client, last */
	uint32_t client, resource;
	uint32_t next, prev; /* of the client; next of the free list */
	uint32_t next_asked; /* of those with a RESOLVE to poll */
	uint32_t number;     /* the same for one name of one client, in whatever resource */
	uint32_t ticket;     /* of the resolution under way or last done */
	uint8_t state;	     /* enum tgw_domain_state */
	uint8_t proxy_count;
	uint8_t real4_count, real6_count;
	struct ipaddr proxies[P2P_PROXIES_MAX];			  /* ascending, v4 first */
	struct ipaddr real4[TGW_REALS_MAX], real6[TGW_REALS_MAX]; /* ascending */
	char name[P2P_DOMAIN_CAP];				  /* as last sent */
};

/* Memory: arrays of the shell, cleared by tgw_init. */
struct tgw_mem {
	struct tgw_client *clients;
	struct tgw_resource *resources;
	struct tgw_grant *grants;
	struct tgw_domain *domains;
	struct idx_cell *cells; /* tgw_cells_for() of them */
	uint32_t client_cap, resource_cap, grant_cap, domain_cap, cell_cap;
	uint32_t client_domains_max; /* a client's share of the domains; 0: all of them */
	struct nat_mem nat;	     /* client_cap of it: the same */
};

struct tgw_counters {
	uint64_t client_table_full, resource_table_full,
		grant_table_full; /* refused authorisations */
	/* AssignedIps refused: a resource the client does not hold, a name not of its pattern (or
	 * none), addresses that are no proxy addresses. */
	uint64_t refused_resource, refused_name, refused_proxies;
	uint64_t domain_table_full, domain_share_full; /* and nothing could give way */
	uint64_t domain_evicted;		       /* the client's least recent one gave way */
	uint64_t reals_refused; /* addresses of names that no resource may have */
	uint64_t resolved_late; /* answers nobody waits for any more */
};

struct tgw {
	struct tgw_mem mem;
	struct idx idx;
	uint64_t seed;
	struct ipaddr own4, own6;
	uint64_t swept_ns; /* last expiry sweep */
	uint32_t free_client, free_grant, free_resource, free_domain;
	uint32_t event_head, event_tail;
	uint32_t asked_head, asked_tail;
	uint32_t client_count, grant_count, resource_count, domain_count;
	uint32_t last_number, last_ticket;
	bool timed; /* something can expire: finite grants, tombstones, lingering clients */
	struct tgw_counters counters;
	struct nat nat;		       /* the shell shows it the kernel's flows and sweeps it */
	uint8_t instead[NAT_ICMP_MAX]; /* what a grant's instead points to */
};

enum tgw_event_kind {
	TGW_EVENT_NONE,
	TGW_EVENT_PEER_ADDED,
	TGW_EVENT_PEER_CHANGED, /* bump its generation, read its addresses again */
	TGW_EVENT_PEER_REMOVED,
	TGW_EVENT_RESOLVE, /* look the name up, then tgw_resolved */
};

struct tgw_event {
	enum tgw_event_kind kind;
	uint32_t slot;
	struct uuid client;
	enum tgw_why why; /* PEER_REMOVED: say goodbye, close the connection, free the peer */
	/* RESOLVE; the name is valid until the policy's next call. */
	uint32_t domain, ticket;
	struct uuid resource;
	const char *name;
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

/* Cells of the index for tables of these sizes. */
uint32_t tgw_cells_for(const struct tgw_mem *mem);
/* seed salts the index hashes. */
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
 * -ENOENT: nobody holds it; -EINVAL: all there is of it is of another type. */
int tgw_resource_updated(struct tgw *g, const struct tunnel_resource *r);
/* -ENOENT: no such live grant. */
int tgw_expiry_update(struct tgw *g, const struct uuid *client, const struct uuid *resource,
		      uint64_t expires_at);
/* The portal's `init`: every live grant of every client that is not listed is revoked; listed ones
 * take the listed expiry. */
void tgw_retain(struct tgw *g, const struct tgw_retained *list, uint32_t count, uint64_t now);

/* A client's AssignedIps. True: answer at once with *reply (Inactive). False: it is resolved, and
 * answered with what tgw_resolved says; a repetition starts over without disturbing what works. */
bool tgw_assigned_ips(struct tgw *g, uint32_t slot, const struct p2p_assigned_ips *m,
		      uint64_t now_unix, struct p2p_domain_status *reply, uint64_t now);
/* The answer to a RESOLVE: all addresses of both families; packets to a family without addresses
 * are answered "unreachable". addrs NULL: resolving failed, and the name keeps what it had. True:
 * send *reply to *slot. False: nobody waits for it any more. */
bool tgw_resolved(struct tgw *g, uint32_t domain, uint32_t ticket, const struct ipaddr *addrs,
		  size_t count, uint32_t *slot, struct p2p_domain_status *reply, uint64_t now);

/* May the holder of that tunnel address have a name (without trailing dot) looked up in the site?
 * Its slot: it has a live DNS resource with the name; TUNNEL_NO_SLOT: no. */
uint32_t tgw_may_ask(const struct tgw *g, const struct ipaddr *tun, const char *name,
		     uint64_t now_unix);

/* Judge a decapsulated packet of peer `slot` (pkt is what m was parsed from).
 * PS_R_URX_DELIVERED: write it to the TUN device, translated as out->nat says, or out->instead in
 * its place; else a URX_ drop reason. out is always set. */
enum ps_reason_id tgw_check_in(struct tgw *g, uint32_t slot, const uint8_t *pkt,
			       const struct ip_meta *m, uint64_t now_unix,
			       struct tunnel_flow_grant *out, uint64_t now);
/* Judge a packet read from the TUN device. PS_R_UTX_SENT: encrypt it to out->slot, translated or
 * replaced likewise; else a UTX_ drop reason (out->slot then is the addressed client or
 * TUNNEL_NO_SLOT). */
enum ps_reason_id tgw_check_out(struct tgw *g, const uint8_t *pkt, const struct ip_meta *m,
				uint64_t now_unix, struct tunnel_flow_grant *out, uint64_t now);

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
const struct tgw_domain *tgw_domain_at(const struct tgw *g, uint32_t i);
uint32_t tgw_domain_next(const struct tgw *g, uint32_t slot, uint32_t i); /* of a client */
#endif
