/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's translation of DNS resources: a client sends to a proxy address that means
 * something in its session alone, the packet goes on to a real address of the name. Mappings say
 * which; sessions remember a flow's choice, so that it ends on the real address it began with,
 * whatever the name resolves to meanwhile, and so that what comes back finds its way.
 *
 *   inside  = protocol, client's port or echo identifier, proxy address     as the client sees it
 *   outside = protocol, chosen port or identifier, real address             as the resource sees it
 *
 * The far port is not part of either: one client port that talks to several ports behind one proxy
 * address is one session. Port and identifier change only when two sessions of one client would
 * otherwise be the same outside.
 *
 * A session lives NAT_TCP_NS, NAT_UDP_NS or NAT_ICMP_NS from the last packet in either direction,
 * as long as nothing has come back only NAT_UNCONFIRMED_NS; after a FIN in both directions
 * NAT_CLOSED_NS, after a RST until the next sweep. Ports that served several connections at once do
 * not end with one of them. Packets the kernel carried count as well: nat_flow_seen. What still
 * arrives for a session that has ended is known by its tombstone and dropped, instead of passing as
 * traffic of the real address itself.
 *
 * Invariants
 *  - at most one session per inside and one per outside of a client; clients do not see each other
 *  - a session belongs to a mapping and goes with it; a mapping that comes to mean another domain
 *    ends its sessions, one that only gets another real address does not
 *  - memory is the caller's; a full table refuses what is new (counted) and changes nothing, but
 * for tombstones, whose oldest gives way (counted)
 *  - the outside of an ended session is not given to another one before the kernel's flows have
 * been swept: nat_timeout says when (drops of policy make them misses by the peer's generation)
 *
 * Here nothing is decided about policy and no packet is changed but ICMP errors (nat_icmp.c): the
 * rewrite is include/plan/nat.h. Source: spec tunnel §2.4-2.6, §3.3; RFC 4787, 5382, 5508. */
#ifndef PENSTOCK_CORE_TUNNEL_NAT_H
#define PENSTOCK_CORE_TUNNEL_NAT_H
#include "abi/maps.h"
#include "base/idx.h"
#include "core/tunnel/tunnel.h"

#define NAT_NONE 0xffffffffu

#define NAT_TCP_NS	   (7440 * NS_PER_SEC) /* RFC 5382 REQ-5: two hours and four minutes */
#define NAT_UDP_NS	   (120 * NS_PER_SEC)  /* RFC 4787 REQ-5 */
#define NAT_ICMP_NS	   (120 * NS_PER_SEC)
#define NAT_UNCONFIRMED_NS (60 * NS_PER_SEC)
#define NAT_CLOSED_NS	   (5 * NS_PER_SEC)
#define NAT_SWEEP_NS	   (1 * NS_PER_SEC)   /* sweeps are at least so far apart */
#define NAT_SWEEP_MAX_NS   (60 * NS_PER_SEC)  /* and at most, while there are sessions */
#define NAT_TOMBSTONE_NS   (900 * NS_PER_SEC) /* as long as a TCP goes on retransmitting */
#define NAT_ICMP_MAX	   1500		      /* longest translated ICMP error */

enum nat_kind { NAT_TCP = 1, NAT_UDP, NAT_ECHO };

/* Towards the resource. */
enum nat_out {
	NAT_OUT_OK,
	NAT_OUT_NO_MAPPING,  /* nothing is known of the destination */
	NAT_OUT_UNREACHABLE, /* the name has no address of that family */
	NAT_OUT_EXHAUSTED,   /* no free port, or the table or the client's share of it is full */
	NAT_OUT_OTHER,	     /* a fragment (not reassembled here), or a protocol without ports */
};

/* From the resource. */
enum nat_in {
	NAT_IN_OK,
	NAT_IN_EXPIRED, /* of a session that has ended: drop */
	NAT_IN_NONE,	/* nothing of ours: traffic of the address itself */
};

/* ICMP errors, either way. */
enum nat_icmp {
	NAT_ICMP_OK,
	NAT_ICMP_EXPIRED, /* about a session that has ended: drop */
	NAT_ICMP_REFUSED, /* about a session, but of a kind that is not translated, or damaged: drop
			   */
	NAT_ICMP_NONE,	  /* about nothing of ours */
};

/* What a packet's session says. */
struct nat_hit {
	struct tunnel_nat nat;
	struct ipaddr proxy;
	uint32_t resource, domain; /* of the mapping, as last set */
	uint32_t mapping, session; /* slots, for the view */
};

struct nat_client {
	uint32_t mappings; /* list head */
	uint32_t mapping_count, session_count;
};

struct nat_mapping {
	uint32_t client, resource, domain;
	uint32_t next, prev; /* of the client; next of the free list */
	uint32_t sessions;   /* list head */
	uint8_t family;	     /* of proxy; 0: free */
	uint8_t real_family; /* 0: the name has no address of that family */
	uint8_t pad[2];
	uint8_t proxy[16], real[16];
};

enum nat_session_flag {
	NAT_S_FIN_OUT = 1,
	NAT_S_FIN_IN = 2,
	NAT_S_RST = 4,
	NAT_S_SHARED = 8, /* several far ports: no one connection's end is the session's */
};

struct nat_session {
	uint64_t began_ns; /* it, or the connection it serves now */
	uint64_t last_out_ns;
	uint64_t last_in_ns; /* 0: nothing came back yet */
	uint32_t mapping;
	uint32_t next, prev; /* of the mapping; next of the free list */
	uint16_t inside, outside;
	uint16_t far;  /* the first far port */
	uint8_t kind;  /* enum nat_kind; 0: free */
	uint8_t flags; /* enum nat_session_flag */
	uint8_t real[16];
};

/* The outside of an ended session. */
struct nat_tomb {
	uint64_t at_ns; /* when it ended; 0: not in use any more */
	uint32_t client;
	uint16_t port;
	uint8_t kind, family;
	uint8_t real[16];
};

/* Memory, cleared by nat_init. Cells: idx_cap_for(the table's size). */
struct nat_mem {
	struct nat_client *clients; /* by the policy's client slot */
	struct nat_mapping *mappings;
	struct nat_session *sessions;
	struct nat_tomb *tombs;
	struct idx_cell *mapping_cells, *inside_cells, *outside_cells, *tomb_cells;
	uint32_t client_cap, mapping_cap, session_cap, tomb_cap;
	uint32_t client_mappings_max, client_sessions_max; /* a client's share; 0: all of it */
};

struct nat_counters {
	uint64_t mapping_table_full, mapping_share_full;
	uint64_t session_table_full, session_share_full;
	uint64_t ports_exhausted;
	uint64_t tomb_evicted;			      /* forgotten before its time */
	uint64_t made, port_changed, expired, closed; /* sessions: by silence, by FIN or RST */
	uint64_t icmp_translated, icmp_refused;
};

struct nat {
	struct nat_mem mem;
	struct idx by_proxy, by_inside, by_outside, by_tomb;
	uint64_t seed;
	uint32_t free_mapping, free_session;
	uint32_t mapping_count, session_count, session_high; /* sessions in use lie below */
	uint32_t tomb_first, tomb_count;		     /* a ring, oldest first */
	uint32_t tomb_fresh; /* the newest ones: since the last sweep */
	uint64_t swept_ns;
	uint64_t due_ns; /* no session ends by itself before */
	bool ended;	 /* sessions have ended since the last sweep */
	struct nat_counters counters;
};

/* seed: of the hashes, unknown to clients. */
void nat_init(struct nat *n, const struct nat_mem *mem, uint64_t seed);

/* May a name have this address, or none (family 0)? Not tunnel ranges, loopback, link-local,
 * multicast, unspecified. */
bool nat_real_usable(const struct ipaddr *a);
/* The client's proxy address means this real address from now on; real->family is 0, or the other
 * one, when the name has none of that family. A domain is whatever number the caller has for a
 * name: another one ends the sessions. 0; 1: and sessions have ended by it, so that the client's
 * cached flows must be misses before its next packet. -EINVAL: not a proxy address, or the real one
 * is of a kind that no resource may have (tunnel ranges, loopback, link-local, multicast,
 * unspecified); -ENOSPC (counted). After an error nothing has changed. */
int nat_translate_set(struct nat *n, uint32_t client, const struct ipaddr *proxy,
		      const struct ipaddr *real, uint32_t resource, uint32_t domain, uint64_t now);
/* Mapping and sessions go; one that is not there is fine. */
void nat_proxy_drop(struct nat *n, uint32_t client, const struct ipaddr *proxy, uint64_t now);
/* All mappings of the client that belong to the resource. */
void nat_resource_drop(struct nat *n, uint32_t client, uint32_t resource, uint64_t now);
/* Everything of the client, tombstones too: its slot may be another's next. */
void nat_client_drop(struct nat *n, uint32_t client);

/* A packet of the client to a proxy address; *hit is filled in with OK. Policy is asked first: a
 * session is made here. */
enum nat_out nat_out(struct nat *n, uint32_t client, const struct ip_meta *m, struct nat_hit *hit,
		     uint64_t now);
/* Which resource and domain the proxy address belongs to, without making anything; false: none. */
bool nat_lookup(const struct nat *n, uint32_t client, const struct ipaddr *proxy,
		struct nat_hit *hit);
/* A packet of the client to a real address by itself: what comes back from there is no late packet
 * of a session that used the same port. */
void nat_direct_out(struct nat *n, uint32_t client, const struct ip_meta *m);
/* A packet to the client from outside the tunnel; *hit is filled in with OK. Policy is asked with
 * the hit; when it lets the packet pass, the session hears of it by nat_in_passed. nat_in is both
 * at once. */
enum nat_in nat_in_look(const struct nat *n, uint32_t client, const struct ip_meta *m,
			struct nat_hit *hit);
void nat_in_passed(struct nat *n, uint32_t session, const struct ip_meta *m, uint64_t now);
enum nat_in nat_in(struct nat *n, uint32_t client, const struct ip_meta *m, struct nat_hit *hit,
		   uint64_t now);

/* An ICMP error (m->l4 == IP_L4_ICMP_ERROR), about a packet that went to the resource: with OK
 * out[*len] is what the client is to get in its place, from the proxy address (a tunnel address as
 * its source stays: the gateway's own), quoting what the client has sent. cap: NAT_ICMP_MAX always
 * does. Sessions are not refreshed (RFC 5508 REQ-6). */
enum nat_icmp nat_icmp_in(struct nat *n, uint32_t client, const uint8_t *pkt,
			  const struct ip_meta *m, uint8_t *out, size_t cap, size_t *len,
			  struct nat_hit *hit);
/* The same from the client, to a proxy address, about a packet that came from there; it goes on to
 * the real one. */
enum nat_icmp nat_icmp_out(struct nat *n, uint32_t client, const uint8_t *pkt,
			   const struct ip_meta *m, uint8_t *out, size_t cap, size_t *len,
			   struct nat_hit *hit);

/* An entry with f->nat of the kernel's ps_flow_in (to_resource) or ps_flow_out. True: a session
 * says the same, and takes over when the kernel last carried a packet, unless that was before it
 * began: entries outlive their session, and the next one may be like it. False: none does, the
 * entry must go. */
bool nat_flow_seen(struct nat *n, bool to_resource, const struct ps_flow_key *k,
		   const struct ps_flow *f);

/* Sweeps. By the time of the deadline the caller shows all translated flows of the kernel to
 * nat_flow_seen, then calls nat_timeout; when that says true, sessions the kernel may know have
 * ended since the last time, and it shows them again, to delete what is stale, before it looks at
 * another packet. */
struct deadline nat_deadline(const struct nat *n);
bool nat_timeout(struct nat *n, uint64_t now);

/* Reading for the operator's view. Walk with next(…, NAT_NONE). */
uint32_t nat_mapping_next(const struct nat *n, uint32_t mapping);
uint32_t nat_session_next(const struct nat *n, uint32_t session);
struct ipaddr nat_mapping_proxy(const struct nat_mapping *m);
struct ipaddr nat_mapping_real(const struct nat_mapping *m); /* family 0: none */
struct ipaddr nat_session_real(const struct nat *n, const struct nat_session *s);
/* When the session ends if nothing comes any more. */
uint64_t nat_session_deadline(const struct nat_session *s);
#endif
