/* SPDX-License-Identifier: Apache-2.0
 *
 * What one client may make the gateway do by its control packets: so many packets a second, and so
 * many names being resolved at a time, so that a client that floods harms no other one. A packet
 * over either is dropped unanswered, like one the network has lost: clients say it again.
 *
 * A resolution counts from tgw_asks_open to tgw_asks_close, whatever becomes of the name meanwhile.
 *
 * Not here: what the packets mean (gateway.h). */
#ifndef PENSTOCK_CORE_TUNNEL_TGW_ASKS_H
#define PENSTOCK_CORE_TUNNEL_TGW_ASKS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/time.h"

#define TGW_ASKS_RATE  256 /* control packets a second: a client's start with all its names */
#define TGW_ASKS_BURST 512
#define TGW_ASKS_OPEN  64 /* of one client; the shell resolves 1000 at a time for all of them */

struct tgw_ask {
	uint32_t slot, domain, ticket;
	uint32_t next; /* free list */
	bool open;
};

struct tgw_asker {
	uint64_t full_at_ns; /* when its whole burst is there again */
	uint32_t open;
};

/* Memory is the caller's, cleared by tgw_asks_init. */
struct tgw_asks {
	struct tgw_ask *asks;
	struct tgw_asker *askers; /* by client slot */
	uint32_t ask_cap, asker_cap, free, open;
	struct {
		uint64_t over_rate, over_open;
	} counters;
};

void tgw_asks_init(struct tgw_asks *a, struct tgw_ask *asks, uint32_t ask_cap,
		   struct tgw_asker *askers, uint32_t asker_cap);
/* A control packet of the client. False: over its rate (counted). */
bool tgw_asks_admit(struct tgw_asks *a, uint32_t slot, uint64_t now);
/* May it have another name resolved? False: counted. */
bool tgw_asks_has_room(struct tgw_asks *a, uint32_t slot);
/* A resolution begins; its cookie. False: more are under way than there is memory for. */
bool tgw_asks_open(struct tgw_asks *a, uint32_t slot, uint32_t domain, uint32_t ticket,
		   uint32_t *cookie);
/* It is over. False: there is none with that cookie. */
bool tgw_asks_close(struct tgw_asks *a, uint32_t cookie, uint32_t *domain, uint32_t *ticket);
#endif
