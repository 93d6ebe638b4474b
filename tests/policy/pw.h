/* SPDX-License-Identifier: Apache-2.0
 *
 * A policy world: several clients and gateways, each a real daemon without its operating system,
 * and a portal, in one process and in virtual time. What runs is the daemons' own code: roles,
 * data path, flows offered to the kernel, links, the resolver's shell, all of core/ and fwd/,
 * sealing included. What is replaced, at link time (tests/policy/wraps, --wrap=…), are clocks,
 * sockets, devices, and the node below link.c: a connection here is a pair of sessions that
 * pw_link_up makes (no ICE, no handshakes, no rekeying). The kernel's flow maps are pw_kernel.h.
 *
 *     portal   pw_resource_put, pw_policy_set, …   messages wait in each node's inbox
 *     inbox    pw_deliver                          as JSON, through the portal codec, to the role
 *     intents  pw_answer_intent                    authorize_flow, flow_authorized, flow_created
 *     links    pw_link_up, pw_link_lost
 *     packets  pw_app_send, pw_lan_send, …         data goes through at once, control packets wait
 *     control  pw_control_*                        AssignedIps, DomainStatus, Goodbye in flight
 *     names    pw_query; pw_question_answer        applications ask clients, gateways ask the site
 *     time     pw_jump (no timers), pw_timers, pw_advance
 *
 * Whoever wants everything at once sets w->easy: inboxes, intents, links, control packets and
 * questions (answered from w->zone) then go through by themselves in pw_settle, which most calls
 * end with. There is one world at a time. Reports of what happens: struct pw_hooks; each comes
 * before the daemon acts on it. */
#ifndef PENSTOCK_TESTS_PW_H
#define PENSTOCK_TESTS_PW_H
#include "apps/daemon/daemon.h"
#include "tests/pkt.h"

enum {
	PW_CLIENTS = 4,
	PW_GATEWAYS = 4,
	PW_NODES = PW_CLIENTS + PW_GATEWAYS, /* clients first */
	PW_SITES = 4,
	PW_RESOURCES = 16,
	PW_FILTERS = 4,
	PW_PEERS = 16, /* of a node */
	PW_INBOX = 128,
	PW_CONTROLS = 64,
	PW_INTENTS = 64,
	PW_QUESTIONS = 64,
	PW_ZONE = 16,
	PW_ADDRS = 12,
	PW_OUT = 256,
	PW_UPSTREAMS = 16,
	PW_FLOWS = 512, /* entries of each of a node's flow maps */
	PW_ROUTES = 2 * (PW_RESOURCES + TCL_FIXED_ROUTES),
	PW_NONE = 255,
};

#define PW_UNIX0 UINT64_C(1900000000) /* the wall clock when the world begins */

/* ---- the portal's truth ---- */
struct pw_filter {
	uint8_t proto; /* IP_PROTO_TCP, _UDP, _ICMP */
	uint16_t first, last;
};

/* A resource as it is now; r, its number, is its id for good. */
struct pw_resource {
	bool used;
	uint8_t r;
	enum tunnel_resource_type type;
	char address[64]; /* network or pattern */
	enum dns_stack stack;
	uint8_t sites; /* bits */
	uint8_t filter_count;
	struct pw_filter filters[PW_FILTERS];
};

struct pw_grant { /* what the portal believes a gateway was told and holds */
	bool used;
	uint8_t c, g, r;
	uint64_t expires;
};

enum pw_msg_kind {
	PW_MSG_NONE,
	PW_CLIENT_INIT,
	PW_RESOURCE_SET,
	PW_RESOURCE_DEL,
	PW_FLOW_CREATED,
	PW_FLOW_FAILED, /* offline */
	PW_GATEWAY_INIT,
	PW_AUTHORIZE,
	PW_REJECT,
	PW_EXPIRY,
	PW_RESOURCE_UPDATED,
};

/* A message of the portal. res is what a single resource looks like, or of init all of them. */
struct pw_msg {
	enum pw_msg_kind kind;
	uint8_t c, g, r;
	uint64_t expires; /* TUNNEL_NEVER_EXPIRES */
	uint8_t count;
	struct pw_resource res[PW_RESOURCES];
	struct pw_grant grants[PW_CLIENTS * PW_RESOURCES]; /* PW_GATEWAY_INIT */
	uint8_t grant_count;
};

struct pw_intent {
	uint8_t c, r;
	uint8_t connected; /* bits of gateways */
};

/* ---- on the way ---- */
struct pw_control {
	uint8_t from, to; /* nodes */
	uint8_t type;	  /* enum p2p_ctl_type */
	uint16_t len;
	uint8_t msg[UDP_BUF_LEN]; /* sealed */
	uint8_t inner[P2P_CTL_HEADER_LEN + P2P_CTL_PAYLOAD_CAP];
	uint16_t inner_len;
};

struct pw_question {
	uint64_t cookie;
	uint32_t id; /* counts up, over all nodes */
	char name[P2P_DOMAIN_CAP];
};

/* A query of a client's stub to a resolver, here or in the site. */
struct pw_upstream {
	uint64_t token;
	struct endpoint to;
	bool tcp, via_tunnel;
	uint16_t len;
	uint8_t msg[DNS_QUERY_CAP];
};

/* A packet a node has written to its tunnel device: for the LAN behind a gateway, for an
 * application at a client. */
struct pw_out {
	uint8_t node;
	uint16_t len;
	uint8_t b[1500];
};

struct pw_name {
	char name[64];
	uint8_t count;
	struct ipaddr addrs[PW_ADDRS];
};

/* ---- nodes ---- */
struct pw_conn {
	bool used, closing;
	struct ice_creds local, remote;
	uint8_t peer;  /* node */
	uint32_t idx;  /* our session; 0: none */
	uint32_t link; /* both ends of a connection have the same; 0: not established */
};

struct pw_node {
	struct pw_world *w;
	uint8_t index;
	bool gateway, running, portal;
	uint8_t number; /* among clients or gateways */
	uint8_t life;	/* another key each time it starts or roams */
	struct uuid id;
	struct ipaddr tun4, tun6;
	struct endpoint at;
	struct daemon *d;
	struct pw_conn conn[PW_PEERS];
	struct node_event events[64];
	uint32_t event_count;
	struct pw_msg *inbox;
	uint32_t inbox_count;
	/* what the replaced functions work on */
	struct udp_dgram rx;
	bool has_rx;
	uint8_t tx[UDP_BUF_LEN], rx_buf[UDP_BUF_LEN];
	struct tun_pkt tun;
	bool has_tun;
	uint8_t tun_buf[TUN_HEADROOM + TUN_PKT_MAX + TUN_TAILROOM];
	struct dns_server_cfg dns;
	struct dns_upstream_cfg up;
	struct resolver_cfg resolver;
	struct pw_question questions[PW_QUESTIONS];
	uint32_t question_count;
	struct loop_timer *dns_timer;
	/* The last answer of its resolver (client: the stub, gateway: the site's), and to whom. */
	uint8_t answer[DNS_MSG_CAP];
	size_t answer_len;
	struct dns_asker answer_to;
	struct ipnet routes[PW_ROUTES]; /* into its tunnel device */
	uint32_t route_count;
	struct pw_socket *socket; /* its websocket, where a test opened it: pw_socket_open */
	struct pw_upstream upstreams[PW_UPSTREAMS]; /* queries passed on and not ended */
	uint32_t upstream_count;
	uint64_t tick_ns;
	struct pw_kernel *kernel;
};

struct pw_hooks {
	void *ctx;
	void (*message)(void *ctx, uint8_t node, const struct pw_msg *m);
	/* At the client. */
	void (*established)(void *ctx, uint8_t c, uint8_t g);
	void (*gone)(void *ctx, uint8_t c, uint8_t g);
	void (*control)(void *ctx, const struct pw_control *p);
	void (*resolved)(void *ctx, uint8_t g, const struct pw_question *q,
			 const struct ipaddr *addrs, uint32_t n);
	void (*asked)(void *ctx, uint8_t g, const struct pw_question *q);
	void (*wrote)(void *ctx, const struct pw_out *p); /* to its tunnel device */
	void (*timers)(void *ctx, uint8_t node);	  /* a gateway's sweep of authorisations */
	void (*heard)(void *ctx, uint8_t node, const char *event, const char *payload); /* portal */
};

/* What can be broken on purpose, to see that a test notices. */
enum pw_fault {
	PW_FAULT_NONE,
	PW_FAULT_NO_BUMP,	 /* at gateways a changed peer's cached flows stay valid */
	PW_FAULT_NO_BUMP_CLIENT, /* at clients they do */
	PW_FAULT_KERNEL_EXPIRY,	 /* the kernel's flows never expire, nor does anything end them */
	PW_FAULT_STOPPED_WALL,	 /* gateways' wall clocks stand still */
	PW_FAULT_FILTERS,	 /* filters permit everything */
	PW_FAULT_NAT_SWEEP,	 /* the kernel's translated flows outlive their sessions */
	PW_FAULT_RETAIN,	 /* what init does not list stays */
	PW_FAULT_PATTERN,	 /* gateways set up names of any pattern */
	PW_FAULT_CLIENT_IN,	 /* clients take whatever a gateway sends */
	PW_FAULT_WORKER_STALE,	 /* workers take flows of any generation */
	PW_FAULT_WORKER_EXPIRY,	 /* workers' flows never expire */
	PW_FAULT_WORKER_HIDE,	 /* what workers have is taken from them by nothing else */
	PW_FAULTS,
};

struct pw_cfg {
	uint8_t clients, gateways, sites; /* gateway g is in site g % sites */
	bool bpf; /* the kernel's maps and programs; else their plan natively */
	struct pw_hooks hooks;
};

struct pw_world {
	struct pw_cfg cfg;
	uint64_t now, wall_ns; /* monotonic; unix, in ns */
	uint64_t timers_ns;    /* when all timers that were due have last run */
	bool easy;
	uint8_t at; /* the node that handles a datagram now; PW_NONE */
	enum pw_fault fault;
	struct pw_node node[PW_NODES];
	/* portal */
	struct pw_resource res[PW_RESOURCES];
	bool may[PW_CLIENTS][PW_RESOURCES]; /* policy */
	uint64_t until[PW_CLIENTS][PW_RESOURCES];
	struct pw_grant grants[PW_CLIENTS * PW_GATEWAYS * PW_RESOURCES];
	struct pw_intent intents[PW_INTENTS];
	uint32_t intent_count;
	/* the site's resolver */
	struct pw_name zone[PW_ZONE];
	uint32_t zone_count;
	/* on the way */
	struct pw_control controls[PW_CONTROLS];
	uint32_t control_count;
	struct pw_out out[PW_OUT]; /* the last ones */
	uint32_t out_count;	   /* ever */
	uint32_t links, question_ids;
	uint64_t rnd;
	struct {
		uint64_t messages, datagrams, controls, lost, undecodable;
	} n;
};

/* ---- life ---- */
/* All nodes run and have joined the portal; nothing is permitted. False: cfg.bpf, and there is none
 * (t_skip was not called). */
bool pw_open(struct pw_world *w, const struct pw_cfg *cfg, uint64_t seed);
void pw_close(struct pw_world *w);
/* The node's process is gone and another one starts: nothing is left in it; it has yet to be told
 * init (pw_portal_join). Peers notice when their links are lost. */
void pw_restart(struct pw_world *w, uint8_t node);
/* The client changes networks: all its connections go, the portal is joined anew. */
void pw_roam(struct pw_world *w, uint8_t c);
static inline uint8_t pw_gw(const struct pw_world *w, uint8_t g)
{
	(void)w;
	return (uint8_t)(PW_CLIENTS + g);
}

/* ---- time ---- */
static inline uint64_t pw_unix(const struct pw_world *w)
{
	return w->wall_ns / NS_PER_SEC;
}
/* Both clocks go on and nobody's timers run: the instant around an expiry. */
void pw_jump(struct pw_world *w, uint64_t ns);
/* What is due now, on all nodes. */
void pw_timers(struct pw_world *w);
/* Forward with all timers on the way. */
void pw_advance(struct pw_world *w, uint64_t ns);
/* Each machine speaks, what is on the wire arrives; with w->easy until nothing is left to do. */
void pw_settle(struct pw_world *w);

/* ---- portal ---- */
/* Define or change resource def->r, and tell whom it concerns as the portal does: another type or
 * address revokes what gateways hold, other filters are an update. */
void pw_resource_put(struct pw_world *w, const struct pw_resource *def);
void pw_resource_del(struct pw_world *w, uint8_t r);
/* May the client use it, until when? Told to the client, and revoked at gateways when not. A later
 * or earlier end is told to the gateways that hold it. */
void pw_policy_set(struct pw_world *w, uint8_t c, uint8_t r, bool may, uint64_t until);
/* The node's portal connection breaks: its inbox is lost. It joins: init, and what changed. */
void pw_portal_cut(struct pw_world *w, uint8_t node);
void pw_portal_join(struct pw_world *w, uint8_t node);
/* Hand over the first n messages of the inbox. */
void pw_deliver(struct pw_world *w, uint8_t node, uint32_t n);
/* Any message, past the portal's truth. */
void pw_say(struct pw_world *w, uint8_t node, const struct pw_msg *m);
/* The same as text; rc is what the codec says. */
int pw_say_json(struct pw_world *w, uint8_t node, const char *event, const char *payload);
/* Intent i: a gateway of the resource's sites, a connected one if there is, gets authorize_flow,
 * the client flow_created; else flow_failed (offline, or nothing at all when not permitted). */
void pw_answer_intent(struct pw_world *w, uint32_t i);
void pw_drop_intent(struct pw_world *w, uint32_t i);

/* ---- links ---- */
/* Both sides want it and have the same credentials: sessions on both sides. False: not so. */
bool pw_link_up(struct pw_world *w, uint8_t c, uint8_t g);
/* One side, or both, find out that it is gone. */
void pw_link_lost(struct pw_world *w, uint8_t c, uint8_t g, bool at_client, bool at_gateway);
/* Can data pass? Both ends hold the sessions of one link. */
bool pw_link_ok(const struct pw_world *w, uint8_t c, uint8_t g);
/* The node's slot of another node; TUNNEL_NO_SLOT. */
uint32_t pw_slot(const struct pw_world *w, uint8_t node, uint8_t peer);

/* ---- packets: what becomes of them is in w->out and in hooks.wrote ---- */
/* Written by an application at the client. */
enum ps_reason_id pw_app_send(struct pw_world *w, uint8_t c, const struct pkt *p);
/* From the LAN, routed to the gateway's tunnel device. */
enum ps_reason_id pw_lan_send(struct pw_world *w, uint8_t g, const struct pkt *p);
/* By a node that keeps no rules: sealed as it is on the session to peer. Returns what the peer made
 * of it. PS_R_COUNT: there is no session. */
enum ps_reason_id pw_rogue_send(struct pw_world *w, uint8_t from, uint8_t to, const uint8_t *pkt,
				size_t len);
/* keep: and it stays, to be delivered again (sealed anew, or it would be a replay and no more). */
void pw_control_deliver(struct pw_world *w, uint32_t i, bool keep);
void pw_control_drop(struct pw_world *w, uint32_t i);

/* ---- names ---- */
void pw_zone_set(struct pw_world *w, const char *name, const struct ipaddr *addrs, uint8_t n);
const struct pw_name *pw_zone_find(const struct pw_world *w, const char *name);
/* An application asks the client's resolver. Addresses of the answer into out; how many. */
uint32_t pw_query(struct pw_world *w, uint8_t c, const char *name, uint16_t type,
		  struct ipaddr out[8]);
/* The answer to query i of the client's upstreams, from where it went. */
void pw_upstream_answer(struct pw_world *w, uint8_t c, uint32_t i, const uint8_t *msg, size_t len);
/* Answer question i of the gateway from the zone; drop: it is never answered. */
void pw_question_answer(struct pw_world *w, uint8_t g, uint32_t i);
void pw_question_drop(struct pw_world *w, uint8_t g, uint32_t i);

/* ---- inside ---- */
struct uuid pw_resource_id(uint8_t r);
extern struct pw_world *pw_the;
/* As before the daemon's loop sleeps: it and its connections speak. */
void pw_rest(struct pw_node *n);
void pw_node_out(struct pw_node *n, const void *pkt, size_t len);
void pw_node_datagram(struct pw_node *n, const struct endpoint *to, size_t len);
void pw_portal_heard(struct pw_node *n, const char *event, const char *payload);
void pw_event_push(struct pw_node *n, const struct node_event *ev);
struct pw_node *pw_node_of(const struct node *n);
#endif
