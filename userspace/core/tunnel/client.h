/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's policy: which resources exist, which gateway serves each, and what happens to a
 * packet for which there is no gateway yet. It asks the portal for flows by INTENT events, holds
 * packets meanwhile, and checks that what a gateway sends belongs to a resource mapped to it. It
 * owns no connection and sends nothing.
 *
 * Life of a resource's traffic: first packet → held, INTENT → tcl_flow_created (a gateway slot; the
 * shell starts the connection) → tcl_gateway_established → FLUSH → packets go straight out. Intents
 * are at least TCL_INTENT_GAP_NS apart per resource and raised only by new traffic; when a gateway
 * is lost that served it, one comes early. The gateway's slot is its slot in ps_peer and is not
 * reused before its PEER_REMOVED was polled.
 *
 * Invariants
 *  - a packet leaves at most once: routed, held (and later flushed) or dropped with a reason
 *  - whatever could make an allowed flow forbidden raises PEER_CHANGED of that gateway: the shell
 * then bumps the peer's generation before it handles the next packet
 *  - held packets per resource are bounded by TCL_HELD_CAP, altogether by the pool; the oldest go
 * first
 *
 * DNS resources: with a stub resolver (tcl_mem.stub) they are active by their patterns, which this
 * module puts in the stub and takes out; packets to proxy addresses belong to the resource of the
 * name and wait, once a gateway serves it, until that has confirmed the name (dns_nat: AssignedIps
 * out, DomainStatus in). Life of a name's traffic:
 *     dns_stub_query → tcl_dns_answered → first packet → held, INTENT → … → established →
 *     CONTROL (AssignedIps) and FLUSH → tcl_route_out holds it for the name → tcl_domain_status →
 *     NAME_FLUSH → packets go straight out
 * Without a stub DNS resources are listed and carry nothing, and the proxy and sentinel ranges are
 * not routed: that would only blackhole addresses nobody was given.
 *
 * Source: spec tunnel §1.1, §1.7, §1.9–1.15. */
#ifndef PENSTOCK_CORE_TUNNEL_CLIENT_H
#define PENSTOCK_CORE_TUNNEL_CLIENT_H
#include "codec/p2p_ctl.h"
#include "core/tunnel/dns_nat.h"
#include "core/tunnel/dns_stub.h"
#include "core/tunnel/held.h"
#include "core/tunnel/tunnel.h"

#define TCL_INTENT_GAP_NS      (2 * NS_PER_SEC)
#define TCL_HELD_CAP	       128 /* packets held per resource */
#define TCL_RECENT_CAP	       100 /* gateways remembered as recently connected, or about to be */
#define TCL_RESOURCE_SITES_CAP 16
#define TCL_DISABLED_CAP       64
#define TCL_GONE_CAP	       32
#define TCL_GONE_NS \
	(30 * NS_PER_SEC) /* how long a removed resource is remembered to name the drop */
#define TCL_OFFLINE_DECAY_NS (300 * NS_PER_SEC) /* an offline site is unknown again */
#define TCL_FIXED_ROUTES     8 /* peers, proxies, sentinels and Internet, each v4 + v6 */

enum tcl_status { TCL_STATUS_UNKNOWN, TCL_STATUS_ONLINE, TCL_STATUS_OFFLINE };
enum tcl_gateway_state {
	TCL_GATEWAY_FREE,
	TCL_GATEWAY_CONNECTING,
	TCL_GATEWAY_ESTABLISHED,
	TCL_GATEWAY_LEAVING
};

struct tcl_site_ref {
	struct uuid id;
	char name[TUNNEL_NAME_CAP];
};

/* A resource as the portal sends it to clients. */
struct tcl_resource_spec {
	struct tunnel_resource r;
	enum dns_stack stack; /* DNS; else zero */
	uint32_t site_count;
	struct tcl_site_ref sites[TCL_RESOURCE_SITES_CAP];
};

struct tcl_site {
	struct uuid id;
	char name[TUNNEL_NAME_CAP];
	uint64_t since_ns;
	uint32_t users; /* resources in it; 0: free */
	uint8_t status; /* enum tcl_status */
	uint8_t pad[3];
};

struct tcl_resource {
	struct tunnel_resource r;
	enum dns_stack stack;
	uint32_t sites[TCL_RESOURCE_SITES_CAP]; /* slots */
	uint32_t site_count;
	uint32_t gateway; /* slot, TUNNEL_NO_SLOT */
	struct held_ring held;
	uint64_t intent_ns;  /* last intent; 0: none yet, or the next one need not wait */
	uint64_t excused_ns; /* when the next one last was excused from waiting; 0: never */
	uint64_t mapped_seq; /* order of the mappings: of equal networks the first one stays in
				charge */
	bool used;
	bool enabled;		      /* not switched off by the user, and usable */
	bool pending;		      /* an intent is unanswered */
	bool want_intent, want_flush; /* events to deliver */
	bool listed;		      /* scratch of tcl_set_resources */
	bool named;		      /* DNS: applications were given addresses of it */
};

struct tcl_gateway {
	struct uuid id;
	struct uuid site;
	struct ipaddr tun4, tun6;
	uint8_t state;		      /* enum tcl_gateway_state */
	bool added, changed, removed; /* events to deliver */
};

struct tcl_gone {
	struct uuid id;
	enum tunnel_resource_type type;
	struct ipnet net;
	uint32_t gateway;
	uint64_t until_ns;
};

struct tcl_mem {
	struct tcl_resource *resources;
	struct tcl_site *sites;
	struct tcl_gateway *gateways;
	struct held_packet *held;
	struct ipnet *routes; /* 2 * (resource_cap + TCL_FIXED_ROUTES) of them */
	uint32_t resource_cap, site_cap, gateway_cap, held_cap;
	/* The caller's, initialised before tcl_init; NULL: no DNS resources, nat is unused. Queries
	 * are the caller's to give to it, its resources are this module's. */
	struct dns_stub *stub;
	struct dns_nat_mem nat;
};

struct tcl_counters {
	uint64_t resource_table_full, site_table_full, gateway_table_full;
	uint64_t held_overflow;	  /* oldest packet of a full ring gave way */
	uint64_t held_pool_full;  /* the pool had no cell: a packet was lost */
	uint64_t held_duplicate;  /* retransmission of a held packet, not stored twice */
	uint64_t held_discarded;  /* held packets whose flow never came to be */
	uint64_t pattern_refused; /* DNS resource not activated: pattern unusable, or no room */
	uint64_t control_refused; /* a name that cannot be said in AssignedIps */
};

struct tcl {
	struct tcl_mem mem;
	struct ipaddr own4, own6;
	struct uuid recent[TCL_RECENT_CAP]; /* most recent first */
	struct uuid disabled[TCL_DISABLED_CAP];
	struct tcl_gone gone[TCL_GONE_CAP];
	uint32_t recent_count, disabled_count, gone_next;
	uint32_t resource_high, site_high, gateway_high; /* slots in use lie below */
	uint32_t resource_count, gateway_count;
	struct held_pool held;
	struct dns_nat nat;
	uint8_t control[P2P_CTL_HEADER_LEN + P2P_CTL_PAYLOAD_CAP]; /* of the last CONTROL event */
	uint64_t mapped_seq;					   /* last one given */
	uint32_t routes_count; /* of mem.routes, as last announced */
	bool routes_dirty, routes_known, resources_dirty, wake; /* something to poll */
	bool internet_off;
	struct tcl_counters counters;
};

enum tcl_event_kind {
	TCL_EVENT_NONE,
	TCL_EVENT_PEER_ADDED,	  /* slot: a new gateway; its connection is the shell's to start */
	TCL_EVENT_PEER_CHANGED,	  /* slot: bump its generation */
	TCL_EVENT_PEER_REMOVED,	  /* slot: bump, close the connection, free the peer */
	TCL_EVENT_CONTROL,	  /* slot: send pkt through the tunnel (AssignedIps) */
	TCL_EVENT_NAME_FLUSH,	  /* slot, name: take its held packets now: tcl_name_pop */
	TCL_EVENT_INTENT,	  /* ask the portal for a flow: resource_id, connected ids */
	TCL_EVENT_FLUSH,	  /* take the held packets of resource now: tcl_held_pop; and, of a
				     DNS resource, the in-site queries: tcl_in_site */
	TCL_EVENT_ROUTES_CHANGED, /* tcl_routes differs from what was last announced */
	TCL_EVENT_RESOURCES_CHANGED, /* list or statuses, for the view */
};

struct tcl_event {
	enum tcl_event_kind kind;
	uint32_t slot;	   /* gateway */
	uint32_t resource; /* slot */
	struct uuid id;	   /* of the resource (INTENT, FLUSH) or of the gateway (PEER_*) */
	const struct uuid *connected; /* INTENT: most recent first; valid until the next call */
	uint32_t connected_count;
	uint32_t name;	    /* CONTROL, NAME_FLUSH: slot in the stub's names */
	const uint8_t *pkt; /* CONTROL: a whole control packet; valid until the next call */
	size_t pkt_len;
};

/* `flow_created` without what belongs to the connection (keys, ICE credentials). */
struct tcl_flow {
	struct uuid resource, gateway, site;
	struct ipaddr tun4, tun6;
};

enum tcl_failure { TCL_FAILURE_OFFLINE, TCL_FAILURE_OTHER };

void tcl_init(struct tcl *c, const struct tcl_mem *mem);
/* Own tunnel addresses. */
void tcl_set_interface(struct tcl *c, const struct ipaddr *v4, const struct ipaddr *v6);

/* The portal's `init`: resources that are not listed go, the others are added or updated. Returns
 * how many were refused because a table was full or they were unusable (counted). */
uint32_t tcl_set_resources(struct tcl *c, const struct tcl_resource_spec *list, uint32_t count,
			   uint64_t now);
/* Add or update. Another type, address or site set under the same id interrupts its traffic,
 * everything else is replaced in place. 0; -EINVAL: not usable (address inside the tunnel's ranges,
 * no site); -ENOSPC (counted). */
int tcl_add_resource(struct tcl *c, const struct tcl_resource_spec *spec, uint64_t now);
void tcl_remove_resource(struct tcl *c, const struct uuid *id, uint64_t now);
/* The user's switches, as the whole list of what is off. -ENOSPC: more than TCL_DISABLED_CAP,
 * nothing changed. */
int tcl_set_disabled(struct tcl *c, const struct uuid *ids, uint32_t count, uint64_t now);
/* The same for resources of type Internet, whatever their ids: they are on after tcl_init. */
void tcl_set_internet(struct tcl *c, bool on, uint64_t now);
/* One resource: Internet by its type, others by id, which the list remembers also while the portal
 * does not name them. 0; -ENOENT: no such slot; -ENOSPC as above. Poll events before the next
 * packet. */
int tcl_switch(struct tcl *c, uint32_t resource, bool on, uint64_t now);

/* Where a packet from the TUN device goes. PS_R_UTX_SENT: encrypt to out->slot now.
 * PS_R_UTX_BUFFERED: held (a copy); PS_R_UTX_BUFFER_FULL: held or not, one packet was lost. Else a
 * UTX_ drop reason. Poll events afterwards. */
enum ps_reason_id tcl_route_out(struct tcl *c, const uint8_t *pkt, const struct ip_meta *m,
				struct tunnel_flow_grant *out, uint64_t now);
/* Judge a decapsulated packet of gateway `slot`: PS_R_URX_DELIVERED, else a URX_ drop reason. */
enum ps_reason_id tcl_check_in(const struct tcl *c, uint32_t slot, const uint8_t *pkt,
			       const struct ip_meta *m, struct tunnel_flow_grant *out,
			       uint64_t now);
/* Oldest held packet of the resource: its length (0: none left) and a pointer that is valid until
 * the next call. */
uint16_t tcl_held_pop(struct tcl *c, uint32_t resource, const uint8_t **pkt);

/* The same for a name's packets after NAME_FLUSH. Judge each anew with tcl_route_out. */
uint16_t tcl_name_pop(struct tcl *c, uint32_t slot, uint32_t name, const uint8_t **pkt);
/* Is the resource served, so that its held packets can go? Flush while it is. */
bool tcl_resource_served(const struct tcl *c, uint32_t resource);

/* ---- names: to be called by whoever asks the stub ---- */
/* dns_stub_query answered with proxy addresses (dns_action.name is not DNS_NAMES_NONE): the
 * gateway that serves the resource, if one does, hears of the name anew. Poll events. */
void tcl_dns_answered(struct tcl *c, uint32_t name, uint64_t now);
/* DNS_ACT_IN_SITE of that resource, or one that is held at FLUSH. 0 and *gateway, its address of
 * that family: dns_stub_in_site now. -EAGAIN: wait for FLUSH, an intent was raised if one is due.
 * -ENOENT: no such active resource: dns_stub_failed. Poll events. */
int tcl_in_site(struct tcl *c, const struct uuid *resource, uint8_t family, struct ipaddr *gateway,
		uint64_t now);
/* After dns_stub_set_upstreams: which of them are reached through the tunnel. (After changes of
 * resources this happens by itself.) */
void tcl_dns_cover(struct tcl *c);
/* DomainStatus from gateway `slot`. Poll events before the next packet. False: about nothing it was
 * told. */
bool tcl_domain_status(struct tcl *c, uint32_t slot, const struct p2p_domain_status *status);

/* Is an intent of that resource unanswered? Else tcl_flow_created says -ENOENT or -EALREADY. */
bool tcl_flow_awaited(const struct tcl *c, const struct uuid *resource);
/* 0 and *slot: the shell now starts or reuses the connection to that gateway. -ENOENT: unknown
 * resource; -EALREADY: no flow is pending for it (ignore the message); -EINVAL: addresses unusable;
 * -EADDRINUSE: another gateway has them; -ENOSPC (counted; the flow stays pending). If the
 * connection cannot be started, call tcl_gateway_gone. */
int tcl_flow_created(struct tcl *c, const struct tcl_flow *f, uint32_t *slot, uint64_t now);
void tcl_flow_failed(struct tcl *c, const struct uuid *resource, enum tcl_failure why,
		     uint64_t now);
/* From the connection: usable; or failed, closed or said goodbye (its mappings and held packets
 * go). */
void tcl_gateway_established(struct tcl *c, uint32_t slot, uint64_t now);
void tcl_gateway_gone(struct tcl *c, uint32_t slot, uint64_t now);
/* Roaming: all gateways go, resources, switches and held packets stay. */
void tcl_reset(struct tcl *c, uint64_t now);

struct deadline tcl_deadline(const struct tcl *c);
void tcl_timeout(struct tcl *c, uint64_t now);
/* Next event; false when there is none. Order: peers, names, flushes, intents,
 * routes, resources. */
bool tcl_poll_event(struct tcl *c, struct tcl_event *out);

/* What to route into the TUN device, sorted and without duplicates; as of the last ROUTES_CHANGED.
 */
const struct ipnet *tcl_routes(const struct tcl *c, uint32_t *count);

/* How long packets by one of the routes may be, when mtu_of says how long those to a gateway (slot)
 * may be. */
#define TCL_MTU_BASE 1280
typedef uint16_t (*tcl_mtu_fn)(void *arg, uint32_t gateway);
uint16_t tcl_route_mtu(const struct tcl *c, const struct ipnet *net, tcl_mtu_fn mtu_of, void *arg);

/* Reading for the operator's view; NULL and TUNNEL_NO_SLOT when there is none. Walk with next(…,
 * TUNNEL_NO_SLOT). */
const struct tcl_resource *tcl_resource_at(const struct tcl *c, uint32_t resource);
uint32_t tcl_resource_next(const struct tcl *c, uint32_t resource);
/* Can it be active at all? Not a DNS resource without a stub or with an unusable pattern. */
bool tcl_resource_supported(const struct tcl *c, uint32_t resource);
const char *tcl_site_name(const struct tcl *c, const struct uuid *site);
enum tcl_status tcl_resource_status(const struct tcl *c, uint32_t resource);
const struct tcl_gateway *tcl_gateway_at(const struct tcl *c, uint32_t slot);
uint32_t tcl_gateway_next(const struct tcl *c, uint32_t slot);
uint32_t tcl_find_gateway(const struct tcl *c, const struct uuid *id);
#endif
