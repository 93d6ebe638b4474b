/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference model of policy: who may send what where, now; through which gateway; what it
 * becomes on the way, and which reply comes back. Plain lists, walked from one end to the other: no
 * hashes, no caches, no generations. It is told what the nodes are told (messages of the portal,
 * control packets, answers of resolvers, connections), and asked about single packets. Written from
 * the specification; of the code under test it shares nothing but address and packet parsing.
 *
 * Two halves that know nothing of each other: pm_client_* what a client sends where and takes from
 * whom; pm_gateway_* what a gateway lets pass for a client. A packet arrives when both say so and
 * the connection between them stands.
 *
 * Where the specification leaves a choice (the outside port of a new translation, whether a session
 * whose time is nearly over still lives) the verdict says so, and what the gateway does is noted
 * (pm_gateway_noted) and must stay so. */
#ifndef PENSTOCK_TESTS_PM_H
#define PENSTOCK_TESTS_PM_H
#include "tests/policy/pw.h"

enum {
	PM_NAMES = 256,
	PM_ENTRIES = 256,
	PM_SESSIONS = 2048,
	PM_HELD_MAX = 1024,
	PM_GRANTS = PW_CLIENTS * PW_RESOURCES
};

/* ---- a client ---- */
struct pm_has {
	bool present, off;
	bool pending; /* the portal was asked, or would have been */
	uint8_t gateway;
	uint64_t mapped; /* order in which gateways were given */
	struct pw_resource def;
};

enum pm_name_state { PM_NAME_NONE, PM_NAME_PENDING, PM_NAME_CONFIRMED, PM_NAME_FAILED };

struct pm_name {
	uint8_t r;
	char domain[64];
	bool has[2]; /* IPv4, IPv6 */
	struct ipaddr proxy[2][4];
	struct {
		enum pm_name_state state;
		bool hold;
		uint64_t sent_ns;
	} at[PW_GATEWAYS];
};

/* A packet that waits: for a flow of r, or (name) for gateway g to know the name. */
struct pm_held {
	uint8_t r, g;
	int name; /* -1: none */
	struct ip_meta pkt;
};

struct pm_client {
	struct pm_held held[PM_HELD_MAX]; /* oldest first */
	uint32_t held_count;
	struct pm_has has[PW_RESOURCES];
	struct pm_name names[PM_NAMES];
	uint32_t name_count, next[2];
	uint64_t mapped;
	bool known[PW_GATEWAYS], up[PW_GATEWAYS];
	uint8_t life[PW_GATEWAYS];  /* the process that is known */
	bool replaced[PW_GATEWAYS]; /* by another one: that the old one is gone is no news */
};

enum pm_fate {
	PM_DENY,
	PM_HELD, /* waits for a flow, or for the gateway to know the name */
	PM_PASS,
};

struct pm_out {
	enum pm_fate fate;
	uint8_t gateway; /* PASS */
	int r;		 /* resource; -1: none */
	int name;	 /* -1: none */
};

/* ---- a gateway ---- */
struct pm_grant {
	bool live;
	uint8_t c;
	uint64_t expires;
	struct pw_resource def;
};

/* A name a client has set up. */
struct pm_entry {
	bool used;
	uint8_t c, r;
	char domain[P2P_DOMAIN_CAP];
	uint8_t proxy_count, real_count;
	struct ipaddr proxies[P2P_PROXIES_MAX], reals[PW_ADDRS]; /* ascending */
	uint32_t question; /* the one whose answer counts; 0: none */
};

struct pm_mapping {
	bool used;
	uint8_t c;
	struct ipaddr proxy, real; /* family 0: none */
};

struct pm_session {
	bool used;
	uint8_t c, kind; /* protocol, families alike */
	uint16_t inside, outside;
	uint16_t far; /* port of the resource, last */
	struct ipaddr proxy, real;
	uint64_t out_ns, in_ns; /* in: 0, nothing came back yet */
	uint64_t maybe_ns;	/* something may have come back */
	uint64_t dead_ns;	/* 0: lives */
	bool closing;		/* a FIN or RST has passed: it may end any time */
};

struct pm_gateway {
	struct pm_grant grants[PM_GRANTS];
	struct pm_entry entries[PM_ENTRIES];
	struct pm_mapping mappings[PM_ENTRIES * P2P_PROXIES_MAX];
	struct pm_session sessions[PM_SESSIONS];
};

struct pm_verdict {
	bool allowed;
	bool maybe;    /* allowed, and may be dropped as well: its session is about to end */
	bool plain_ok; /* with nat: may also pass untranslated (maybe, and there is a network) */
	bool plain;    /* by its addresses alone it might pass as well */
	bool nat;
	bool port_free; /* nat: a new session, its port is to be noted */
	struct ipaddr addr;
	uint16_t port;
	struct pm_session *session;
};

struct pm {
	const struct pw_world *w; /* clocks and addresses */
	struct pm_client client[PW_CLIENTS];
	struct pm_gateway gateway[PW_GATEWAYS];
	uint32_t unexpected; /* questions of gateways that no AssignedIps explains */
};

void pm_init(struct pm *m, const struct pw_world *w);
/* A message the node is about to be given. */
void pm_message(struct pm *m, uint8_t node, const struct pw_msg *msg);

/* ---- client ---- */
void pm_client_set_off(struct pm *m, uint8_t c, uint16_t bits);
void pm_client_established(struct pm *m, uint8_t c, uint8_t g);
void pm_client_gone(struct pm *m, uint8_t c, uint8_t g);
void pm_client_reset(struct pm *m, uint8_t c);
void pm_client_message(struct pm *m, uint8_t c, const struct pw_msg *msg);
/* A name is asked for: the addresses the answer must have. */
uint32_t pm_client_query(struct pm *m, uint8_t c, const char *name, uint16_t type,
			 struct ipaddr out[4]);
void pm_client_status(struct pm *m, uint8_t c, uint8_t g, const struct p2p_domain_status *s);
/* What becomes of an application's packet. Changes nothing. */
struct pm_out pm_client_out(const struct pm *m, uint8_t c, const struct ip_meta *pkt);
/* It was sent to user space: what follows from that. */
void pm_client_sent(struct pm *m, uint8_t c, const struct pm_out *o, const struct ip_meta *pkt);
/* May the packet of gateway g reach applications? */
bool pm_client_in(const struct pm *m, uint8_t c, uint8_t g, const struct ip_meta *pkt);

/* ---- gateway ---- */
void pm_gateway_message(struct pm *m, uint8_t g, const struct pw_msg *msg);
void pm_gateway_restart(struct pm *m, uint8_t g);
/* Its sweep of authorisations runs. */
void pm_gateway_sweep(struct pm *m, uint8_t g);
/* True: it will be resolved by the next question the gateway asks. */
bool pm_gateway_assigned(struct pm *m, uint8_t g, uint8_t c, const struct p2p_assigned_ips *a);
void pm_gateway_asked(struct pm *m, uint8_t g, const struct pw_question *q);
void pm_gateway_resolved(struct pm *m, uint8_t g, uint32_t question, const struct ipaddr *addrs,
			 uint32_t n);
/* A packet of client c, decrypted; and one from the LAN to client c. */
struct pm_verdict pm_gateway_in(struct pm *m, uint8_t g, uint8_t c, const struct ip_meta *pkt);
struct pm_verdict pm_gateway_out(struct pm *m, uint8_t g, uint8_t c, const struct ip_meta *pkt);
/* The packet of the LAN has not arrived at the client, for whatever reason. */
void pm_gateway_unseen(struct pm *m, const struct pm_verdict *v);
/* The packet passed, and became addr and port: 0, or why it must not have. */
const char *pm_gateway_noted(struct pm *m, uint8_t g, uint8_t c, const struct ip_meta *pkt,
			     const struct pm_verdict *v, bool in, const struct ipaddr *addr,
			     uint16_t port);

/* ---- inside the gateway's half ---- */
bool pm_holds(const struct pm *m, const struct pm_grant *e); /* live, and its time not over */
struct pm_grant *pm_grant_of(struct pm_gateway *g, uint8_t c, uint8_t r);
struct pm_mapping *pm_mapping_of(struct pm_gateway *g, uint8_t c, const struct ipaddr *proxy);
/* Which of the entry's proxy addresses it is; -1. */
int pm_listed(const struct pm_entry *e, const struct ipaddr *proxy);

/* ---- what both need (pm_match.c) ---- */
bool pm_pattern_match(const char *pattern, const char *name);
/* Below 0: a is looked at first. */
int pm_pattern_order(const char *a, const char *b);
bool pm_in(const char *net, const struct ipaddr *a);
bool pm_covers(const struct pw_resource *r, const struct ipaddr *a);
int pm_prefix(const struct pw_resource *r);
bool pm_reserved(const struct ipaddr *a);
bool pm_proxy_range(const struct ipaddr *a);
bool pm_permits(const struct pw_resource *r, const struct ip_meta *pkt, bool to_resource);
/* Protocol and port (or identifier) as translations see them; kind 0: cannot be translated. */
uint8_t pm_kind(const struct ip_meta *pkt, bool from_client, uint16_t *port);
#endif
