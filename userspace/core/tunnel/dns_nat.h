/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's half of a DNS resource's NAT: has the gateway been told which proxy addresses stand
 * for a name (AssignedIps), and has it said that it translates them (DomainStatus)? Until then
 * packets to the name wait here. One entry a (gateway, name); a name is a slot of dns_names and so
 * stands for (domain, resource). It sends nothing: SEND events say when AssignedIps is due.
 *
 *                 dns_nat_update           status active
 *     (no entry) ───────────────▶ PENDING ──────────────▶ CONFIRMED
 *                  SEND           │  ▲  ▲                     │
 *                   status inactive  │  └──── RECREATING ◀────┤ dns_nat_requery
 *                                 ▼  │ update     ▲          (packets pass meanwhile)
 *                                FAILED ──────────┘ dns_nat_requery (packets wait meanwhile)
 *
 * PENDING sends again when a packet or an update comes DNS_NAT_RESEND_NS after the last time; there
 * is no timer. Packets pass in every state but PENDING, and there only if the entry does not hold.
 *
 * Source: spec tunnel §1.9. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_NAT_H
#define PENSTOCK_CORE_TUNNEL_DNS_NAT_H
#include "base/idx.h"
#include "base/time.h"
#include "codec/p2p_json.h"
#include "core/tunnel/dns_names.h"
#include "core/tunnel/held.h"

#define DNS_NAT_RESEND_NS (2 * NS_PER_SEC)
#define DNS_NAT_HELD_CAP  32 /* packets that wait for one name */
#define DNS_NAT_NONE	  0xffffffffu

enum dns_nat_state {
	DNS_NAT_FREE,
	DNS_NAT_PENDING,
	DNS_NAT_RECREATING,
	DNS_NAT_CONFIRMED,
	DNS_NAT_FAILED,
};

struct dns_nat_entry {
	uint64_t sent_ns; /* last AssignedIps */
	uint32_t gateway; /* slot */
	uint32_t name;	  /* slot in dns_names */
	uint32_t next;	  /* free list */
	struct held_ring held;
	uint8_t state;		    /* enum dns_nat_state */
	bool hold;		    /* PENDING, RECREATING: packets wait while PENDING */
	bool want_send, want_flush; /* events to deliver */
};

struct dns_nat_mem {
	struct dns_nat_entry *entries;
	struct idx_cell *cells; /* idx_cap_for(entry_cap) */
	struct held_packet *held;
	uint32_t entry_cap, cell_cap, held_cap;
};

struct dns_nat_counters {
	uint64_t full;			     /* no entry: packets pass without AssignedIps */
	uint64_t resent;		     /* AssignedIps once more */
	uint64_t confirmed, failed, unknown; /* DomainStatus; unknown: of no entry */
	uint64_t held_duplicate, held_lost, held_discarded;
};

struct dns_nat {
	struct dns_nat_mem mem;
	struct idx idx;
	struct held_pool held;
	uint64_t seed;
	uint32_t high, free; /* slots in use lie below high */
	bool wake;	     /* something to poll */
	struct dns_nat_counters counters;
};

enum dns_nat_verdict {
	DNS_NAT_PASS, /* send it now */
	DNS_NAT_HELD, /* kept (a copy), or a copy of it is */
	DNS_NAT_LOST, /* as HELD, but a packet was lost for want of room */
};

enum dns_nat_event_kind {
	DNS_NAT_EVENT_SEND,  /* AssignedIps of name to gateway */
	DNS_NAT_EVENT_FLUSH, /* take what is held with dns_nat_pop and send it */
};

struct dns_nat_event {
	enum dns_nat_event_kind kind;
	uint32_t gateway, name;
};

void dns_nat_init(struct dns_nat *n, const struct dns_nat_mem *mem, uint64_t seed);

/* A name whose resource the gateway serves, whenever that became so and after every query for it
 * that was answered. (All names of a resource: dns_nat_update_resource.) */
void dns_nat_update(struct dns_nat *n, uint32_t gateway, uint32_t name, uint64_t now);
void dns_nat_update_resource(struct dns_nat *n, const struct dns_names *names, uint32_t gateway,
			     const struct uuid *resource, uint64_t now);
/* An application resolved the name anew: gateways resolve it anew, too. Then update. */
void dns_nat_requery(struct dns_nat *n, uint32_t name);
/* A packet to an address of name, whose resource the gateway serves. Poll events afterwards. */
enum dns_nat_verdict dns_nat_out(struct dns_nat *n, uint32_t gateway, uint32_t name,
				 const uint8_t *pkt, const struct ip_meta *m, uint64_t now);
/* DomainStatus from the gateway. Poll events before the next packet: what was held goes first.
 * False: about nothing it was told (counted). */
bool dns_nat_status(struct dns_nat *n, const struct dns_names *names, uint32_t gateway,
		    const struct p2p_domain_status *status);

/* What ends: the gateway's connection, the resource (off, removed, served by another gateway), all
 * of it. */
void dns_nat_gateway_gone(struct dns_nat *n, uint32_t gateway);
void dns_nat_resource_gone(struct dns_nat *n, const struct dns_names *names,
			   const struct uuid *resource);
void dns_nat_reset(struct dns_nat *n);

bool dns_nat_poll(struct dns_nat *n, struct dns_nat_event *out);
/* What AssignedIps says for a SEND event: all addresses of the name, IPv4 first. */
void dns_nat_assigned_ips(const struct dns_names *names, uint32_t name,
			  struct p2p_assigned_ips *out);
/* Oldest packet held: its length (0: none) and a pointer that is valid until the next call. */
uint16_t dns_nat_pop(struct dns_nat *n, uint32_t gateway, uint32_t name, const uint8_t **pkt);

/* Reading; DNS_NAT_FREE: no entry. */
enum dns_nat_state dns_nat_state(const struct dns_nat *n, uint32_t gateway, uint32_t name);
#endif
